//! Suites: references to secrets, arguments that the schema refuses, and the requests that are sent.

use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox};

#[test]
fn stored_secrets_and_outputs_of_commands_are_sent_and_not_shown() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    sandbox.config("[defaults]\ncredential_store = \"file\"\n");
    sandbox.mcpipe(["config", "secret", "set", "API"]).stdin("s3cret-of-the-day").run().exits(0);
    let words = server.words();
    sandbox.file(
        "suite.toml",
        format!(
            "command = {:?}\nargs = {:?}\nenv = {{ API_KEY = \"${{keychain:API}}\" }}\n\
             [[test]]\nname = \"both\"\ncall = \"echo\"\nargs = {{ text = \"${{keychain:API}} ${{command:printf other-secret}}\" }}\n\
             text = \"else\"\n",
            words[0],
            &words[1..]
        ),
    );
    let run = sandbox.mcpipe(["test", "suite.toml", "-v", "--html", "r.html", "--junit", "r.xml"]).run();
    run.exits(9).hides("s3cret-of-the-day").hides("other-secret").stdout_contains("[redacted]");
    for report in ["r.html", "r.xml"] {
        let text = std::fs::read_to_string(sandbox.work().join(report)).unwrap();
        assert!(!text.contains("s3cret") && !text.contains("other-secret"), "{report}: {text}");
    }
    let process = server.single_process();
    assert_eq!(process.env["API_KEY"], "s3cret-of-the-day");
    let calls = process.messages().into_iter().filter(|message| message["method"] == "tools/call");
    let sent: Vec<Value> = calls.map(|call| call["params"]["arguments"].clone()).collect();
    assert_eq!(sent, [json!({"text": "s3cret-of-the-day other-secret"})]);
}

#[test]
fn a_secret_that_is_missing_is_found_before_anything_is_started() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config("[defaults]\ncredential_store = \"file\"\n");
    let test = "[[test]]\ncall = \"echo\"\nargs = { text = \"${keychain:GONE}\" }\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
    let run = sandbox.mcpipe(["test", "suite.toml"]).run();
    run.exits(3).stderr_contains("suite.toml:4").stderr_contains("GONE");
    assert!(server.processes().is_empty());
}

#[test]
fn what_the_schemas_refuse_is_sent_and_accepted_without_validation() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let tools = json!([{"name": "count", "inputSchema": schema, "outputSchema": schema}]);
    let server = Mcp::modern().tools(tools).on("tools/call", |call| {
        call.result(
            json!({"content": [{"type": "text", "text": "odd"}], "structuredContent": {"n": call.argument("n")}}),
        )
    });
    let server = server.stdio();
    let sandbox = Sandbox::new();
    let test = |validate: &str| {
        let test = format!("[[test]]\ncall = \"count\"\nargs = {{ n = \"x\" }}\ntext = \"odd\"\n{validate}");
        sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
        sandbox.mcpipe(["test", "suite.toml"]).run()
    };
    test("validate = false\n").exits(0);
    let calls = |methods: Vec<String>| methods.into_iter().filter(|method| method == "tools/call").count();
    assert_eq!(calls(server.wait_until_all_ended()[0].methods()), 1);
    test("").exits(9).stdout_contains("n: ");
    assert_eq!(calls(server.wait_until_all_ended()[1].methods()), 0);
}

#[test]
fn a_suite_sends_one_request_for_each_call() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let test = "[[test]]\ncall = \"echo\"\nargs = { text = \"x\" }\ntext = \"x\"\n".repeat(200);
    sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
    sandbox.mcpipe(["test", "suite.toml"]).run().exits(0).stderr_contains("200 ok");
    let methods = server.single_process().methods();
    let others: Vec<&String> = methods.iter().filter(|method| *method != "tools/call").collect();
    assert_eq!(methods.len() - others.len(), 200);
    assert_eq!(others, ["server/discover", "initialize", "notifications/initialized", "tools/list"]);
}

/// The name that a test has without `name` is printed, and is that of its snapshot.
#[test]
fn the_default_name_of_a_test_is_that_of_the_file() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let tests = "[[test]]\nname = \"first\"\ncall = \"add\"\nargs = { a = 2, b = 3 }\ncapture = { id = '.structuredContent.total' }\n\
        [[test]]\nread = \"demo://item/${API_TOKEN}\"\nsnapshot = true\n\
        [[test]]\nread = \"demo://item/${id}\"\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{tests}", server.target()));
    let files = ["--junit", "r.xml", "--markdown", "r.md", "--html", "r.html"];
    for options in [&["--update"][..], &["--json"], &["--tap"], &files] {
        let run = sandbox.mcpipe(["test", "suite.toml"]).args(options).env("API_TOKEN", "secret-token-123").run();
        run.exits(0).hides("secret-token-123").stdout_contains("2: read demo://item/${API_TOKEN}");
        run.stdout_contains("3: read demo://item/${id}");
    }
    for file in ["r.xml", "r.md", "r.html"] {
        let text = std::fs::read_to_string(sandbox.work().join(file)).unwrap();
        assert!(!text.contains("secret-token") && !text.contains('\u{fffd}'), "{file}: {text}");
    }
    let names = std::fs::read_dir(sandbox.work().join("suite.snapshots")).unwrap();
    let names: Vec<String> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names, ["2--read-demo---item---API-TOKEN.json"]);
}

#[test]
fn what_is_expected_of_a_result_fails_without_one() {
    let server = Mcp::modern()
        .on("tools/call", |call| call.error(-32000, "out of paper"))
        .on("resources/read", |call| call.error(-32002, "not found"))
        .stdio();
    let sandbox = Sandbox::new();
    let test = |lines: &str| {
        let text = format!(
            "target = \"{}\"\n[[test]]\nname = \"a\"\ncall = \"echo\"\nvalidate = false\nargs = {{ text = \"x\" }}\nfails = \"failed\"\n{lines}\n",
            server.target()
        );
        sandbox.file("suite.toml", text);
        sandbox.mcpipe(["test", "suite.toml"]).run()
    };
    test("message = \"out of paper\"").exits(0).prints("suite.toml\tok\ta\t-\n");
    for line in [
        "contains = \"out of stock\"",
        "text = \"x\"",
        "matches = \"paper\"",
        "structured = { a = 1 }",
        "expect = '.isError'",
        "capture = { id = '.id' }",
        "snapshot = true",
    ] {
        let run = test(&format!("message = \"paper\"\n{line}"));
        run.exits(9).stdout_contains("      suite.toml:9: there is no result to compare: ");
        run.stdout_contains("out of paper")
            .stdout_contains("hint: compare the message with 'message', which needs no result\n");
    }
    // A failure of another class is the only problem.
    let run = test("contains = \"x\"");
    run.exits(9).stdout_contains("suite.toml:8: there is no result to compare: ");
    let text = std::fs::read_to_string(sandbox.work().join("suite.toml")).unwrap().replace("\"failed\"", "\"timeout\"");
    sandbox.file("suite.toml", text);
    let run = sandbox.mcpipe(["test", "suite.toml"]).run();
    run.exits(9).stdout_contains("it failed as 'failed', not as 'timeout'");
    assert!(!run.stdout().contains("no result"), "{run:?}");
}

#[test]
fn a_suite_runs_against_a_recording_of_every_transport() {
    let sandbox = Sandbox::new();
    let socket = sandbox.path().join("s");
    let (http, session) = (Mcp::modern().http(), Mcp::legacy("2025-11-25").http());
    let (sse, websocket) = (Mcp::legacy("2024-11-05").sse(), Mcp::modern().websocket());
    let _seen = Mcp::legacy("2025-11-25").unix(&socket);
    let targets = [
        http.url("/mcp"),
        session.url("/mcp"),
        sse.url("/sse"),
        websocket.url("/ws"),
        format!("unix:{}", socket.display()),
    ];
    let tests = "[[test]]\nname = \"adds\"\ncall = \"add\"\nargs = { a = 2, b = 3 }\nstructured = { total = 5 }\n\
        [[test]]\nname = \"reads\"\nread = \"demo://hello\"\ntext = \"hello\\n\"\n\
        [[test]]\nname = \"breaks\"\ncall = \"fail\"\nfails = \"failed\"\n";
    for target in targets {
        sandbox.file("suite.toml", format!("target = \"{target}\"\n{tests}"));
        let recorded = sandbox.mcpipe(["test", "suite.toml", "--record", "run.rec"]).run();
        recorded
            .exits(0)
            .prints(&["adds", "reads", "breaks"].map(|name| format!("suite.toml\tok\t{name}\t-\n")).concat());
        let replayed = sandbox.mcpipe(["test", "suite.toml", "--target", "replay:run.rec"]).run();
        replayed.exits(0).prints(recorded.stdout());
    }
}

#[test]
fn a_suite_runs_against_a_recording_of_the_configuration() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let test = "[[test]]\nname = \"adds\"\ncall = \"add\"\nargs = { a = 2, b = 3 }\nstructured = { total = 5 }\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
    sandbox.mcpipe(["test", "suite.toml", "--record", "run.rec"]).run().exits(0);
    sandbox.config("[servers.offline]\nurl = \"replay:../../../work/run.rec\"\n");
    let started = server.processes().len();
    sandbox.mcpipe(["test", "suite.toml", "--target", "offline"]).run().exits(0).prints("suite.toml\tok\tadds\t-\n");
    sandbox
        .mcpipe(["test", "suite.toml", "--target", "replay:run.rec"])
        .run()
        .exits(0)
        .prints("suite.toml\tok\tadds\t-\n");
    sandbox.mcpipe(["call", "offline", "add", "a=2", "b=3"]).run().exits(0).prints("5\n");
    sandbox.file("entry.toml", format!("url = \"replay:run.rec\"\n{test}"));
    sandbox.mcpipe(["test", "entry.toml"]).run().exits(0).prints("entry.toml\tok\tadds\t-\n");
    assert_eq!(server.processes().len(), started);
    sandbox.mcpipe(["config", "list"]).run().exits(0).stdout_contains("offline\treplay\t");
    sandbox.config("[servers.offline]\nurl = \"replay:gone.rec\"\nheaders = { A = \"b\" }\n");
    sandbox
        .mcpipe(["config", "check"])
        .run()
        .exits(3)
        .stdout_contains("'headers' in [servers.offline] does not apply to a recording");
}

#[test]
fn snapshots_are_equal_whatever_the_order_of_members() {
    let sandbox = Sandbox::new();
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| {
            let text = call.argument("text");
            call.result(serde_json::from_str(text.as_str().unwrap()).unwrap())
        })
        .stdio();
    let run = |structured: &str, more: &str, words: &[&str]| {
        let text = format!("{{\"content\":[],\"structuredContent\":{structured}}}");
        let suite =
            format!("[[test]]\nname = \"x\"\ncall = \"echo\"\nargs = {{ text = '{text}' }}\nsnapshot = true\n{more}");
        sandbox.file("suite.toml", format!("target = \"{}\"\n{suite}", server.target()));
        sandbox.mcpipe(["test", "suite.toml"]).args(words.iter().copied()).run()
    };
    run(r#"{"id":1,"b":{"x":1,"y":2},"c":1.0}"#, "", &["--update"]).exits(0);
    run(r#"{"c":1.0,"b":{"y":2,"x":1},"id":1}"#, "", &[]).exits(0);
    run(r#"{"c":1.0,"b":{"y":3,"x":1},"id":1}"#, "", &[])
        .exits(9)
        .stdout_contains("accept it with --update\n        -       \"y\": 2\n        +       \"y\": 3\n");
    // A path that becomes volatile later is left out of what is stored too.
    let volatile = "volatile = ['.structuredContent.id']\n";
    run(r#"{"id":7,"b":{"x":1,"y":2},"c":1.0}"#, volatile, &[]).exits(0);
    run(r#"{"id":7,"b":{"x":1,"y":2},"c":1.0}"#, volatile, &["--update"]).exits(0);
    let stored = std::fs::read_to_string(sandbox.work().join("suite.snapshots/x.json")).unwrap();
    let members: Vec<_> = stored.lines().filter(|line| line.starts_with("    \"")).collect();
    assert_eq!(members, ["    \"b\": {", "    \"c\": 1.0"]);
}

#[test]
fn a_faulty_suite_shows_no_secret_and_may_have_a_blank_in_its_path() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.work().join("my suites")).unwrap();
    let test = "[[test]]\ncall = \"echo\"\nmatches = \"(${MY_API_TOKEN}\"\nexpect = '${MY_API_TOKEN}'\n";
    sandbox.file("my suites/a.toml", format!("target = \"none\"\n{test}"));
    std::os::unix::fs::symlink(".", sandbox.work().join("my suites/loop")).unwrap();
    for word in ["my suites/a.toml", "my suites"] {
        let run = sandbox.mcpipe(["test", word]).env("MY_API_TOKEN", "s3cret-abc-12345").run();
        run.exits(3).hides("s3cret-abc").hides("loop");
        run.stderr_contains("my suites/a.toml:4: '(${MY_API_TOKEN}' is not a valid regular expression\n");
    }
}

#[test]
fn the_text_of_a_prompt_has_what_is_embedded_and_expressions_see_the_environment() {
    let server = Mcp::modern()
        .on("prompts/get", |call| {
            let resource = json!({"uri": "x://a", "text": "embedded"});
            call.result(json!({"messages": [
                {"role": "user", "content": {"type": "text", "text": "plain"}},
                {"role": "user", "content": {"type": "resource", "resource": resource}}]}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    let test = "[[test]]\nprompt = \"hello\"\ntext = \"plain\\nembedded\"\nexpect = '.messages[0].content.text == $ENV.WANTED'\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
    sandbox.mcpipe(["test", "suite.toml"]).env("WANTED", "plain").run().exits(0);
    let words = ["call", &server.target(), "echo", "text=hi", "--expect", ".content[0].text == $ENV.MY_TOKEN"];
    sandbox.mcpipe(words).env("MY_TOKEN", "s3cret-abc").run().exits(9).hides("s3cret-abc");
}

/// A server whose tools return the argument `text`, which is JSON, as the result.
fn returning() -> crate::support::StdioServer {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| {
        let text = call.argument("text");
        call.result(serde_json::from_str(text.as_str().unwrap()).unwrap())
    });
    server.stdio()
}

#[test]
fn what_follows_a_volatile_element_is_compared() {
    let (server, sandbox) = (returning(), Sandbox::new());
    let run = |first: &str, second: &str, volatile: &str, words: &[&str]| {
        let text = format!("{{\"content\":[],\"all\":[{{\"a\":\"{first}\"}},{{\"a\":\"{second}\"}}]}}");
        let test = format!(
            "[[test]]\nname = \"x\"\ncall = \"echo\"\nargs = {{ text = '{text}' }}\nsnapshot = true\nvolatile = [{volatile}]\n"
        );
        sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
        sandbox.mcpipe(["test", "suite.toml"]).args(words.iter().copied()).run()
    };
    for volatile in ["'.all[0]'", "'.all[-2]'", "'.all[:1]'", "'.all[0]', '.all[0].a'", "'.none', '.all[0]'"] {
        run("1", "before", volatile, &["--update"]).exits(0);
        run("2", "before", volatile, &[]).exits(0);
        run("2", "after", volatile, &[])
            .exits(9)
            .stdout_contains("        -       \"a\": \"before\"\n        +       \"a\": \"after\"\n");
    }
}

#[test]
fn a_snapshot_has_no_secret() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let test = "[[test]]\nname = \"x\"\ncall = \"echo\"\nargs = { text = \"a ${API_TOKEN}\" }\nsnapshot = true\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
    let run = |token: &str, words: &[&str]| {
        sandbox.mcpipe(["test", "suite.toml"]).args(words.iter().copied()).env("API_TOKEN", token).run()
    };
    run("first-token-123", &["--update"]).exits(0);
    let stored = std::fs::read_to_string(sandbox.work().join("suite.snapshots/x.json")).unwrap();
    assert!(stored.contains("\"text\": \"a [redacted]\""), "{stored}");
    run("other-token-456", &[]).exits(0);
}

#[test]
fn a_secret_in_the_default_of_a_reference_is_not_shown() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let test = "[[test]]\ncall = \"echo\"\nargs = { text = \"${OVERRIDE:-${MY_API_TOKEN}}\" }\ntext = \"else\"\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
    let words = ["test", "suite.toml", "--html", "r.html", "--junit", "r.xml"];
    let run = sandbox.mcpipe(words).env("MY_API_TOKEN", "s3cret-of-the-day").run();
    run.exits(9).hides("s3cret-of-the-day").stdout_contains("[redacted]");
    for report in ["r.html", "r.xml"] {
        let text = std::fs::read_to_string(sandbox.work().join(report)).unwrap();
        assert!(!text.contains("s3cret"), "{report}: {text}");
    }
}

#[test]
fn a_reference_to_a_capture_may_have_a_default() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let run = |text: &str, expected: &str, options: &[&str]| {
        let suite = format!(
            "target = \"{}\"\n[[test]]\nname = \"first\"\nrequires = \"effects\"\ncall = \"add\"\nargs = {{ a = 3, b = 4 }}\n\
             capture = {{ id = '.structuredContent.total' }}\n\
             [[test]]\nname = \"second\"\ncall = \"echo\"\nargs = {{ text = \"{text}\" }}\ntext = \"{expected}\"\n\
             expect = '.content[0].text == \"{text}\"'\n",
            server.target()
        );
        sandbox.file("suite.toml", suite);
        sandbox.mcpipe(["test", "suite.toml"]).args(options).env("WORD", "w\u{1}id\u{1}").run()
    };
    let ok = |text: &str, expected: &str, options: &[&str]| {
        run(text, expected, options).exits(0).stdout_contains("\tok\tsecond\t-\n");
    };
    ok("x${id:-none}", "xnone", &[]);
    ok("x${id:-none}", "x7", &["--effects"]);
    ok("x${id:-${id:-a ${WORD:-b}}}y", "xa w\\u0001id\\u0001y", &[]);
    ok("x${NONE:-${id}}", "x7", &["--effects"]);
    run("${NONE:-${id}}", "", &[]).exits(0).stdout_contains("\tskip\tsecond\t${id} was not captured\n");
    ok("a\\u0001id\\u0001b", "a\\u0001id\\u0001b", &["--effects"]);
    // The variable applies too if there is no capture.
    let suite = std::fs::read_to_string(sandbox.work().join("suite.toml")).unwrap();
    sandbox.file("suite.toml", suite.replace("{ id =", "{ WORD =").replace("a\\u0001id\\u0001b", "${WORD}"));
    let run = sandbox.mcpipe(["test", "suite.toml", "--filter", "second"]).env("WORD", "a\u{1}id\u{1}b").run();
    run.exits(0).prints("suite.toml\tok\tsecond\t-\n");
}

#[test]
fn only_what_is_used_of_a_suite_is_expanded() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let test = "[[test]]\nname = \"a ${command:touch ran-1}\"\nlist = \"tools\"\nsnapshot = true\n\
        volatile = ['.x[\"${command:touch ran-2}\"]']\n";
    sandbox.file("suite.toml", format!("target = \"${{MCP_URL}}\"\n{test}"));
    let run = sandbox.mcpipe(["test", "suite.toml"]).run();
    run.exits(3).stderr_is("mcpipe: error: suite.toml:1: the variable MCP_URL is not set\n");
    sandbox.mcpipe(["test", "suite.toml", "--update", "--target", &server.target()]).run().exits(0);
    let names = std::fs::read_dir(sandbox.work()).unwrap();
    let ran = names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("ran"));
    assert_eq!(ran.count(), 0);
}

#[test]
fn a_captured_value_is_json_outside_of_strings() {
    let (server, sandbox) = (returning(), Sandbox::new());
    let first = |value: &str| {
        let result = format!(r#"{{"content":[],"structuredContent":{{"id":{value}}}}}"#);
        format!("call = \"echo\"\nargs = {{ text = '''{result}''' }}\n")
    };
    for value in ["7", "-1.5", r#""a\"b""#, "[1,{}]", r#""7 or true""#] {
        for expression in [
            ".structuredContent.id == ${id}",
            "\"\\(.structuredContent.id == ${id}) )\" == \"true )\"",
            "# \"\n(.structuredContent.id | tostring) == (\"a${id}\" | .[1:])",
        ] {
            let test = format!(
                "[[test]]\n{0}capture = {{ id = '.structuredContent.id' }}\n[[test]]\n{0}expect = '''{expression}'''\n",
                first(value)
            );
            sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
            let run = sandbox.mcpipe(["test", "suite.toml"]).run();
            run.exits(0);
        }
    }
}

#[test]
fn json_has_no_infinity() {
    let sandbox = Sandbox::new();
    sandbox.file("suite.toml", "target = \"none\"\n[[test]]\ncall = \"x\"\nargs = { a = [1.5, inf, -nan] }\n");
    sandbox.mcpipe(["test", "suite.toml"]).run().exits(3).stderr_is(
        "mcpipe: error: suite.toml has 2 errors\n  suite.toml:4: JSON has no value for inf and nan\n  \
         suite.toml:4: JSON has no value for inf and nan\n",
    );
}

#[test]
fn a_snapshot_that_cannot_be_written_fails_its_test() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let test = |name: &str, more: &str| format!("[[test]]\nname = \"{name}\"\nread = \"demo://hello\"\n{more}");
    let tests = [test("a", "snapshot = true\n"), test("b", "")].concat();
    sandbox.file("suite.toml", format!("target = \"{}\"\n{tests}", server.target()));
    sandbox.file("suite.snapshots", "");
    let run = sandbox.mcpipe(["test", "suite.toml", "--update", "--junit", "r.xml"]).run();
    run.exits(9).stdout_contains("      suite.toml:5: cannot write the snapshot suite.snapshots/a.json: ");
    run.stdout_contains("suite.toml\tok\tb\t-\n");
    assert!(sandbox.work().join("r.xml").exists());
}

#[test]
#[cfg(unix)]
fn a_failed_start_is_repeated_with_retries() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let body = "n=$(cat count 2>/dev/null || echo 0)\necho $((n + 1)) >count\n[ $n -ge 2 ] || exit 1\n";
    sandbox.script("flaky", &format!("{body}exec {}", server.target()));
    sandbox.file("suite.toml", "target = \"./flaky\"\n[[test]]\nname = \"a\"\nlist = \"tools\"\n");
    let run = sandbox.mcpipe(["test", "suite.toml", "--retries", "5"]).run();
    run.exits(0).prints("suite.toml\tok\ta\tpassed at attempt 2\n");
}
