//! `test FILE.toml`: suites, what they report, and what is wrong with them.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::stdio::{ProcessEvent, StdioServer};
use crate::support::{Mcp, Run, Sandbox, ServerAction, StdioServer as Server};

fn run_suite(server: &Server, text: &str, options: &[&str]) -> Run {
    let sandbox = Sandbox::new();
    suite_in(&sandbox, server, text, options)
}

fn suite_in(sandbox: &Sandbox, server: &Server, text: &str, options: &[&str]) -> Run {
    sandbox.file("suite.toml", format!("target = \"{}\"\n{text}", server.target()));
    sandbox.mcpipe(["test", "suite.toml"]).args(options).run()
}

fn shown(run: &Run, server: &Server) -> String {
    run.snapshot_with(&[(&server.target(), "SERVER")])
}

const PASSING: &str = r#"
[[test]]
name = "adds"
call = "add"
args = { a = 2, b = 3 }
text = "5"
contains = "5"
matches = "^[0-9]$"
structured = { total = 5 }
expect = ['.content | length == 1', '.structuredContent.total > 4']
max_time = "30s"

[[test]]
name = "refuses text"
call = "add"
args = { a = "x", b = 3 }
fails = "usage"
message = "a: .*integer"

[[test]]
name = "an error of the tool"
call = "fail"
fails = "failed"
message = "broken"

[[test]]
name = "captures"
call = "add"
args = { a = 40, b = 2 }
capture = { answer = ".structuredContent.total" }

[[test]]
call = "add"
args = { a = "${answer}", b = 0 }
expect = '.content[0].text == "${answer}"'

[[test]]
read = "demo://hello"
text = "hello\n"

[[test]]
prompt = "greet"
args = { who = "${WHO:-Ada}" }
contains = "Say hello to Ada"

[[test]]
list = "tools"
expect = '.tools | map(.name) | index("echo") == 0'

[[test]]
request = "resources/list"
expect = '.resources | length == 2'

[[test]]
name = "with effects"
call = "echo"
args = { text = "x" }
requires = "effects"
"#;

#[test]
fn a_suite_that_passes() {
    let server = Mcp::modern().stdio();
    let run = run_suite(&server, PASSING, &[]);
    expect![[r#"
        exit: 0
        --- stdout
        suite.toml\tok\tadds\t-
        suite.toml\tok\trefuses text\t-
        suite.toml\tok\tan error of the tool\t-
        suite.toml\tok\tcaptures\t-
        suite.toml\tok\t5: call add\t-
        suite.toml\tok\t6: read demo://hello\t-
        suite.toml\tok\t7: prompt greet\t-
        suite.toml\tok\t8: list tools\t-
        suite.toml\tok\t9: request resources/list\t-
        suite.toml\tskip\twith effects\tit changes something: add --effects
        --- stderr
        9 ok, 1 skipped
    "#]]
    .assert_eq(&shown(&run, &server));
    assert_eq!(server.processes().len(), 1, "one connection for the whole suite");
    run_suite(&server, PASSING, &["--effects", "--filter", "effects"])
        .exits(0)
        .prints("suite.toml\tok\twith effects\t-\n");
}

#[test]
fn a_run_without_any_test_is_a_usage_error() {
    let server = Mcp::modern().stdio();
    let error = |suite: &str, words: &[&str]| run_suite(&server, suite, words).exits(2).prints("").stderr().to_owned();
    assert_eq!(
        error(PASSING, &["--filter", "refuss txt"]),
        "mcpipe: error: no test has a name that contains 'refuss txt'\nhint: did you mean --filter 'refuses text'?\n"
    );
    assert_eq!(
        error(PASSING, &["--filter", "refusess"]),
        "mcpipe: error: no test has a name that contains 'refusess'\nhint: did you mean --filter refuses?\n"
    );
    assert_eq!(
        error(PASSING, &["--filter", "zzz"]),
        "mcpipe: error: no test has a name that contains 'zzz'\n\
        hint: use a part of the name of a test, in the same case\n"
    );
    let empty = error("", &[]);
    assert!(empty.starts_with("mcpipe: error: no tests in "), "{empty}");
    assert!(empty.ends_with("\nhint: add one: [[test]], with call, read, prompt, list or request\n"), "{empty}");
    assert!(server.processes().is_empty(), "nothing was started");
}

const FAILING: &str = r#"
[[test]]
name = "wrong"
call = "add"
args = { a = 2, b = 3 }
text = "6"
structured = { total = 6, more = 1 }
expect = [
    '.content | length == 2',
    '.isError',
]

[[test]]
name = "unexpected failure"
call = "fail"

[[test]]
name = "does not fail"
call = "echo"
args = { text = "x" }
fails = "failed"

[[test]]
name = "fails otherwise"
call = "nope"
fails = "timeout"

[[test]]
name = "captures nothing"
call = "echo"
args = { text = "x" }
capture = { id = ".structuredContent.id" }

[[test]]
name = "uses it"
call = "echo"
args = { text = "${id}" }
"#;

#[test]
fn failures_show_what_was_seen_where_and_how_to_repeat_it() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let run = run_suite(&server, FAILING, &[]);
    expect![[r#"
        exit: 9
        --- stdout
        suite.toml\tFAIL\twrong\t-
              suite.toml:7: the text is not equal
                expected: "6"
                   found: "5"
                suite.toml:8: structured.total is not equal
                  expected: 6
                     found: 5
                suite.toml:8: structured.more is missing
                  expected: 1
                suite.toml:10: not true: .content | length == 2
                   left: 1
                  right: 2
                suite.toml:11: not true: .isError
                  it is null
              to repeat it: mcpipe call 'SERVER' add --args '{"a":2,"b":3}'
        suite.toml\tFAIL\tunexpected failure\t-
              suite.toml:14: the tool reported an error
                it is broken
              to repeat it: mcpipe call 'SERVER' fail
        suite.toml\tFAIL\tdoes not fail\t-
              suite.toml:22: it succeeded, but was expected to fail (failed)
                text: x
              to repeat it: mcpipe call 'SERVER' echo --args '{"text":"x"}'
        suite.toml\tFAIL\tfails otherwise\t-
              suite.toml:27: it failed as 'failed', not as 'timeout'
                the server has no tool 'nope'
              hint: list its tools: mcpipe list 'SERVER' (some servers list a tool only if an option is given: --elicit, --sampling-command, --root)
              to repeat it: mcpipe call 'SERVER' nope
        suite.toml\tFAIL\tcaptures nothing\t-
              suite.toml:33: 'id' captured null
              to repeat it: mcpipe call 'SERVER' echo --args '{"text":"x"}'
        suite.toml\tskip\tuses it\t${id} was not captured
        --- stderr
        5 failed, 1 skipped
        mcpipe: error: 5 tests failed, the first at suite.toml:3
    "#]]
    .assert_eq(&shown(&run, &server));
    let lines = run_suite(&server, FAILING, &["--json"]);
    let lines: Vec<Value> = lines.exits(9).stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let first = &lines[0];
    assert_eq!((&first["file"], &first["line"], &first["test"]), (&json!("suite.toml"), &json!(3), &json!("wrong")));
    assert_eq!((&first["outcome"], &first["error"]["class"]), (&json!("fail"), &json!("mismatch")));
    let fast = run_suite(&server, FAILING, &["--fail-fast"]);
    let outcomes: Vec<&str> = fast.exits(9).stdout().lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert_eq!(outcomes, ["FAIL", "skip", "skip", "skip", "skip", "skip"]);
}

/// A test that is declined input fails with that, and the next one has its own failure.
#[test]
fn declined_input_counts_for_the_test_that_it_was_asked_for() {
    let ask = json!({"q": {"method": "elicitation/create", "params": {"message": "Who?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}}});
    let server = Mcp::modern()
        .on("resources/read", move |call| match (call.params()["uri"].as_str(), call.params().get("inputResponses")) {
            (Some("demo://a"), None) => call.result(json!({"resultType": "input_required", "inputRequests": ask})),
            (Some("demo://a"), Some(_)) => call.result(json!({"contents": [{"uri": "demo://a", "text": "without"}]})),
            _ => call.error(-32602, "Resource not found"),
        })
        .stdio();
    let suite = r#"
[[test]]
read = "demo://a"
fails = "refused"
message = "was declined"

[[test]]
read = "demo://b"
fails = "failed"
message = "Resource not found"

[[test]]
request = "resources/read"
args = { uri = "demo://a" }
fails = "refused"
message = "was declined"

[[test]]
call = "echo"
args = { text = "x" }
"#;
    let run = run_suite(&server, suite, &["--elicit", "decline"]);
    run.exits(0);
    assert!(!run.stderr().contains("which of the running calls"), "{}", run.stderr());
}

/// Also of a list, and in a handshake era, in which a request of the server does not say what it is about.
#[test]
fn declined_input_during_a_list_is_a_failure_of_its_test() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/list", |call| {
            let form = json!({"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}});
            let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": form});
            let response = call.response(json!({"tools": []}));
            vec![ServerAction::Request(request, Box::new(|_| vec![ServerAction::Send(response)]))]
        })
        .stdio();
    let suite = r#"
[[test]]
list = "tools"
fails = "refused"
message = "was declined"

[[test]]
read = "demo://hello"
"#;
    run_suite(&server, suite, &["--elicit", "decline"]).exits(0).stderr_is("2 ok\n");
}

#[test]
fn an_expression_with_a_captured_value_is_shown_with_it() {
    let server = Mcp::modern().on("tools/call", |call| match call.tool() {
        "echo" => call.text(call.argument("text").as_str().unwrap_or_default()),
        _ => call.error(-32603, "it is broken"),
    });
    let (server, sandbox) = (server.stdio(), Sandbox::new());
    let suite = r#"
[[test]]
call = "echo"
args = { text = "a(b" }
capture = { id = ".content[0].text" }

[[test]]
call = "echo"
args = { text = "x" }
matches = "^${id}"

[[test]]
call = "echo"
args = { text = "abc" }
capture = { id = ".content[0].text" }

[[test]]
call = "fail"
fails = "failed"
message = "^${id}$"

[[test]]
prompt = "greet"
args = { who = "@alice" }
contains = "nobody"
"#;
    let run = suite_in(&sandbox, &server, suite, &[]);
    run.exits(9).stdout_contains(":11: /^a(b/ is not a valid regular expression\n");
    run.stdout_contains(":21: the message does not match /^abc$/\n");
    run.stdout_contains(&format!("to repeat it: mcpipe prompt '{}' greet 'who=@@alice'\n", server.target()));
}

/// The command that repeats a test is not the advice: that has a line of its own, in every report.
#[test]
fn a_failed_test_has_the_hint_of_its_failure_and_the_command_that_repeats_it() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let suite = "[[test]]\nname = \"a\"\ncall = \"ecko\"\n\
        [[test]]\nname = \"b\"\ncall = \"ecko\"\nfails = \"timeout\"\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{suite}", server.target()));
    let repeat = format!("mcpipe call '{}' ecko", server.target());
    let run = sandbox.mcpipe(["test", "suite.toml", "--html", "r.html", "--junit", "r.xml", "--markdown", "r.md"]);
    let run = run.env("GITHUB_ACTIONS", "true").run();
    run.exits(9).stdout_contains(&format!("\n      hint: did you mean echo?\n      to repeat it: {repeat}\n"));
    assert_eq!(run.stdout().matches("hint: did you mean echo?").count(), 2, "{run:?}");
    run.stderr_contains(&format!("%0Ahint: did you mean echo?%0Ato repeat it: {repeat}\n"));
    for (file, end) in [("r.html", "\n"), ("r.xml", "&#10;"), ("r.md", "<br>")] {
        let text = std::fs::read_to_string(sandbox.work().join(file)).unwrap();
        assert!(text.contains(&format!("hint: did you mean echo?{end}to repeat it: mcpipe call")), "{file}: {text}");
    }
    let lines = sandbox.mcpipe(["test", "suite.toml", "--json"]).run();
    let line: Value = serde_json::from_str(lines.exits(9).stdout().lines().next().unwrap()).unwrap();
    assert_eq!((&line["error"]["hint"], &line["repeat"]), (&json!("did you mean echo?"), &json!(repeat)));
}

#[test]
fn a_faulty_suite_is_refused_before_anything_is_started() {
    let server = Mcp::modern().stdio();
    let run = run_suite(
        &server,
        r#"timeot = "3s"
[[test]]
nam = "x"
call = "echo"
args = 3
[[test]]
call = "echo"
expect = '.content ['
[[test]]
call = "echo"
args = { text = "${later}" }
fails = "never"
[[test]]
name = "both"
call = "echo"
read = "demo://hello"
[[test]]
name = "both"
matches = "("
list = "tols"
[[test]]
prompt = "triage"
args = { issue = 3 }
"#,
        &[],
    );
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: suite.toml has 9 errors
          suite.toml:2: unknown key 'timeot' in the suite; did you mean 'timeout'?
          suite.toml:4: unknown key 'nam' in [[test]]; did you mean 'name'?
          suite.toml:6: 'args' must be a table, not a whole number
          suite.toml:9: '.content [' is not a valid jq expression: expected closing bracket at the end
          suite.toml:12: '${later}' is neither captured by an earlier test nor an environment variable; capture it: capture = { later = '.structuredContent.id' }
          suite.toml:13: 'fails' must be one of failed, usage, auth, unreachable, timeout, protocol, refused, not 'never'
          suite.toml:17: the test has both 'call' and 'read'
          suite.toml:21: 'list' must be one of tools, resources, templates, prompts, not 'tols'
          suite.toml:24: 'issue' must be a string, as every argument of a prompt
    "#]].assert_eq(&shown(&run, &server));
    let syntax = run_suite(&server, "[[test]\n", &[]);
    syntax.exits(3).stderr_contains("suite.toml:2:").stderr_contains(": this is not TOML\n");
    assert!(server.processes().is_empty(), "nothing is started");
    let sandbox = Sandbox::new();
    let hint = "\nhint: write a suite: mcpipe test --init TARGET > gone.toml\n";
    let gone = sandbox.mcpipe(["test", "gone.toml"]).run();
    gone.exits(3).stderr_contains("cannot read gone.toml").stderr_contains(hint);
    sandbox.file("none.toml", "[[test]]\ncall = \"echo\"\n");
    sandbox.mcpipe(["test", "none.toml"]).run().exits(3).stderr_contains("none.toml: the suite names no server");
    sandbox
        .mcpipe(["test", &server.target(), "--effects"])
        .run()
        .exits(2)
        .stderr_contains("--effects applies only to suites");
}

#[test]
fn a_target_or_a_time_that_cannot_be_used_is_named_with_its_line() {
    let sandbox = Sandbox::new();
    let run = |text: &str| {
        sandbox.file("suite.toml", format!("{text}[[test]]\ncall = \"echo\"\nmax_time = 1\n"));
        sandbox.mcpipe(["test", "suite.toml"]).run()
    };
    run("target = \"gone\"\n").exits(3).stderr_contains("suite.toml:1: no server named 'gone' is configured");
    let several = run("\ntarget = [\"unix:/s\",\n\"\"]\n");
    several.exits(3).stderr_contains("error: suite.toml:3: the target is empty");
    run("target = \"ftp://x\"\n").exits(3).stderr_contains("error: suite.toml:1: unsupported URL scheme 'ftp'");
    for (time, shown) in [("\"soon\"", "'soon'"), ("-1", "-1"), ("-0.5", "-0.5"), ("true", "a boolean")] {
        let run = run(&format!("target = \"unix:/s\"\ntimeout = {time}\n"));
        let expected = format!("suite.toml:2: 'timeout' must be a time such as \"2s\", not {shown}");
        run.exits(3).stderr_contains(&expected);
    }
    // The target of the command line is no fault of the suite.
    run("target = \"gone\"\n");
    let run = sandbox.mcpipe(["test", "suite.toml", "--target", "also-gone"]).run();
    run.exits(3).stderr_contains("error: no server named 'also-gone' is configured");
}

#[test]
fn snapshots_are_written_and_compared() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| {
            let time = call.n;
            call.result(json!({"content": [{"type": "text", "text": call.argument("text")}],
                "structuredContent": {"time": time}}))
        })
        .stdio();
    let suite = |text: &str| {
        format!(
            "[[test]]\nname = \"says: it\"\ncall = \"echo\"\nargs = {{ text = \"{text}\" }}\nsnapshot = true\n\
             volatile = ['.structuredContent.time']\n"
        )
    };
    let sandbox = Sandbox::new();
    let missing = suite_in(&sandbox, &server, &suite("one"), &[]);
    missing
        .exits(9)
        .stdout_contains("the snapshot suite.snapshots/says--it.json does not exist; write it with --update");
    let snapshot = sandbox.file("suite.snapshots/says--it.json", "");
    std::fs::remove_file(&snapshot).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &snapshot).unwrap();
    suite_in(&sandbox, &server, &suite("one"), &[]).exits(9).stdout_contains(
        "the snapshot suite.snapshots/says--it.json cannot be read (it is longer than 256 MiB); write it with --update",
    );
    std::fs::remove_file(&snapshot).unwrap();
    // What is absent is not volatile: a parent of a path, and a position in an array.
    let absent = suite("one").replace("['", "['.structuredContent.no.such', '.content[7]', '.content[].no.such', '");
    let written = suite_in(&sandbox, &server, &absent, &["--update"]);
    written.exits(0).prints("suite.toml\tok\tsays: it\tsnapshot written\n");
    let stored = std::fs::read_to_string(sandbox.work().join("suite.snapshots/says--it.json")).unwrap();
    assert!(stored.contains("\"text\": \"one\"") && !stored.contains("time"), "{stored}");
    suite_in(&sandbox, &server, &suite("one"), &[]).exits(0).prints("suite.toml\tok\tsays: it\t-\n");
    let changed = suite_in(&sandbox, &server, &suite("two"), &[]);
    expect![[r#"
        exit: 9
        --- stdout
        suite.toml\tFAIL\tsays: it\t-
              suite.toml:6: the result differs from suite.snapshots/says--it.json; accept it with --update
                -       "text": "one",
                +       "text": "two",
              to repeat it: mcpipe call 'SERVER' echo --args '{"text":"two"}'
        --- stderr
        1 failed
        mcpipe: error: 1 test failed, the first at suite.toml:2
    "#]]
    .assert_eq(&shown(&changed, &server));
    suite_in(&sandbox, &server, &suite("two"), &["--update"]).exits(0);
    suite_in(&sandbox, &server, &suite("two"), &[]).exits(0);
}

#[test]
fn a_server_that_dies_fails_its_test_and_is_started_again() {
    let mcp = std::sync::Arc::new(Mcp::legacy("2025-11-25"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) if line.contains("crash") => {
            process.write_stderr("out of memory\n");
            process.exit(1);
        }
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let test = |name: &str, text: &str| {
        format!("[[test]]\nname = \"{name}\"\ncall = \"echo\"\nargs = {{ text = \"{text}\" }}\ntext = \"{text}\"\n")
    };
    let suite = [test("a", "1"), test("b", "crash"), test("c", "3")].concat();
    let run = run_suite(&server, &suite, &[]);
    expect![[r#"
        exit: 9
        --- stdout
        suite.toml\tok\ta\t-
        suite.toml\tFAIL\tb\t-
              suite.toml:7: the server process ended (exit status: 1)
                the tool may have run
              last lines of the server's stderr:
              | out of memory
              to repeat it: mcpipe call 'SERVER' echo --args '{"text":"crash"}'
        suite.toml\tok\tc\t-
        --- stderr
        2 ok, 1 failed
        mcpipe: error: 1 test failed, the first at suite.toml:7
    "#]]
    .assert_eq(&shown(&run, &server));
    assert_eq!(server.wait_until_all_ended().len(), 2);
    run_suite(&server, &suite, &["--retries", "1", "--filter", "a"]).exits(0);
    assert_eq!(server.wait_until_all_ended().len(), 3);
}

#[test]
fn a_failed_test_is_repeated_with_retries() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| if call.n == 0 { call.text("not yet") } else { call.text("ready") })
        .stdio();
    let suite = "[[test]]\nname = \"flaky\"\ncall = \"echo\"\nargs = { text = \"x\" }\ntext = \"ready\"\n";
    run_suite(&server, suite, &["--retries", "2"]).exits(0).prints("suite.toml\tok\tflaky\tpassed at attempt 2\n");
}

#[test]
fn directories_several_targets_and_entries_in_the_suite() {
    let (one, two) = (Mcp::modern().stdio(), Mcp::legacy("2025-06-18").stdio());
    let sandbox = Sandbox::new();
    let test = "[[test]]\nname = \"says\"\ncall = \"echo\"\nargs = { text = \"hi\" }\ntext = \"hi\"\n";
    sandbox.file("suites/a.toml", format!("target = [\"{}\", \"{}\"]\n{test}", one.target(), two.target()));
    let words = two.words();
    sandbox.file(
        "suites/deep/b.toml",
        format!("command = \"{}\"\nargs = [\"{}\"]\nenv = {{ A = \"b\" }}\n{test}", words[0], words[1]),
    );
    sandbox.file("suites/notes.txt", "not a suite");
    let run = sandbox.mcpipe(["test", "suites"]).run();
    let titles = [&one, &two].map(|server| format!("suites/a.toml ({})", server.target()));
    let [first, second] = &titles;
    run.exits(0).prints(&format!("{first}\tok\tsays\t-\n{second}\tok\tsays\t-\nsuites/deep/b.toml\tok\tsays\t-\n"));
    let reports = ["--junit", "r.xml", "--markdown", "r.md", "--html", "r.html", "--tap"];
    let tap = sandbox.mcpipe(["test", "suites/a.toml"]).args(reports).run();
    tap.exits(0).prints(&format!("TAP version 14\n1..2\nok 1 - {first}: says\nok 2 - {second}: says\n"));
    for report in ["r.xml", "r.md", "r.html"] {
        let text = std::fs::read_to_string(sandbox.work().join(report)).unwrap();
        assert!(titles.iter().all(|title| text.contains(title)), "{report}: {text}");
    }
    assert!(two.wait_until_all_ended().iter().any(|process| process.env.get("A").is_some_and(|value| value == "b")));
    let count = two.processes().len();
    let run = sandbox.mcpipe(["test", "suites/deep", "--target", &one.target()]).run();
    run.exits(0).prints("suites/deep/b.toml\tok\tsays\t-\n");
    assert_eq!(two.processes().len(), count);
    std::fs::create_dir(sandbox.work().join("empty")).unwrap();
    sandbox.mcpipe(["test", "empty"]).run().exits(2).stderr_contains("there are no suites in empty");
    sandbox.mcpipe(["test", "empty/"]).run().exits(2).stderr_contains("> empty/server.toml\n");
}

#[test]
fn reports_for_other_programs() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let suite = "[[test]]\nname = \"a <b>\"\ncall = \"echo\"\nargs = { text = \"${API_TOKEN}\" }\ntext = \"no\"\n\
        [[test]]\nname = \"later\"\ncall = \"echo\"\nargs = { text = \"x\" }\nrequires = \"effects\"\n";
    sandbox.file("suite.toml", format!("target = \"{}\"\n{suite}", server.target()));
    let run = sandbox
        .mcpipe(["test", "suite.toml", "--junit", "r.xml", "--markdown", "r.md"])
        .env("API_TOKEN", "secret-token-123")
        .env("GITHUB_ACTIONS", "true")
        .env("GITHUB_STEP_SUMMARY", sandbox.work().join("summary.md"))
        .run();
    run.exits(9).hides("secret-token-123");
    run.stderr_contains(
        "::error file=suite.toml,line=2,title=suite.toml%3A a <b>::suite.toml:6: the text is not equal%0A",
    );
    let read = |name: &str| std::fs::read_to_string(sandbox.work().join(name)).unwrap();
    let (junit, markdown) = (read("r.xml"), read("r.md"));
    assert_eq!(markdown, read("summary.md"));
    assert!(!junit.contains("secret-token") && !markdown.contains("secret-token"));
    let fixed = |text: &str| {
        let text = text.replace(&server.target(), "SERVER");
        regex::Regex::new("time=\"[0-9.]+\"").unwrap().replace_all(&text, "time=\"T\"").into_owned()
    };
    expect![[r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="mcpipe" tests="2" failures="1" errors="0" time="T">
          <testsuite name="suite.toml" tests="2" failures="1" errors="0" skipped="1" time="T">
            <testcase name="a &lt;b&gt;" classname="suite.toml" time="T">
              <failure message="suite.toml:6: the text is not equal" type="mismatch">suite.toml:6: the text is not equal&#10;  expected: &quot;no&quot;&#10;     found: &quot;[redacted]&quot;&#10;to repeat it: mcpipe call 'SERVER' echo --args '{&quot;text&quot;:&quot;[redacted]&quot;}'</failure>
            </testcase>
            <testcase name="later" classname="suite.toml" time="T">
              <skipped message="it changes something: add --effects"/>
            </testcase>
          </testsuite>
        </testsuites>
    "#]].assert_eq(&fixed(&junit));
    expect![[r####"
        ### mcpipe test

        | suite | ok | warn | failed | skipped |
        |---|---:|---:|---:|---:|
        | suite.toml | 0 | 0 | 1 | 1 |

        | failed | why |
        |---|---|
        | suite.toml: a &lt;b> | suite.toml:6: the text is not equal<br>expected: "no"<br>found: "\[redacted\]"<br>to repeat it: mcpipe call 'SERVER' echo --args '{"text":"\[redacted\]"}' |

    "####]].assert_eq(&fixed(&markdown));
    let tap = sandbox.mcpipe(["test", "suite.toml", "--tap"]).env("API_TOKEN", "secret-token-123").run();
    expect![[r#"
        TAP version 14
        1..2
        not ok 1 - a <b>
          ---
          message: |
            suite.toml:6: the text is not equal
              expected: "no"
                 found: "[redacted]"
            to repeat it: mcpipe call 'SERVER' echo --args '{"text":"[redacted]"}'
          ...
        ok 2 - later # SKIP it changes something: add --effects
    "#]]
    .assert_eq(&fixed(tap.exits(9).stdout()));
    tap.hides("secret-token-123");
}

#[test]
fn init_writes_a_suite_that_passes() {
    for server in [Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio()] {
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["test", "--init", &server.target()]).run();
        let text = run.succeeds().stdout().to_owned();
        sandbox.file("new.toml", &text);
        let calls = server.wait_until_all_ended()[0].text().matches("\"tools/call\"").count();
        assert_eq!(calls, 1, "only the tool that is read-only is called");
        let run = sandbox.mcpipe(["test", "new.toml"]).run();
        let names = ["lists tools", "calls echo", "lists resources", "lists templates", "lists prompts"];
        run.exits(0).prints(&names.map(|name| format!("new.toml\tok\t{name}\t-\n")).concat());
    }
    Sandbox::new().mcpipe(["test", "--init", "a", "b"]).run().exits(3);
}

#[test]
#[cfg(unix)]
fn init_writes_a_program_of_one_word_as_a_command() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.script("one-word", &format!("exec {}", server.target()));
    let path = format!("{}:/usr/bin:/bin", sandbox.work().display());
    let run = sandbox.mcpipe(["test", "--init", "--", "one-word"]).env("PATH", &path).run();
    let text = run.succeeds().stdout().to_owned();
    assert_eq!(text.lines().nth(1), Some("command = \"one-word\""));
    sandbox.file("new.toml", &text);
    sandbox.mcpipe(["test", "new.toml"]).env("PATH", &path).run().exits(0);
}

/// What a server refuses is marked, so that the error about a placeholder does not stay a test that passes.
#[test]
fn init_marks_calls_that_failed() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/list", |call| {
            let schema = json!({"type": "object", "properties": {"zone": {"type": "string"}}, "required": ["zone"]});
            let read_only = json!({"readOnlyHint": true});
            call.result(json!({"tools": [
                {"name": "time", "inputSchema": schema, "annotations": read_only},
                {"name": "broken", "inputSchema": {"type": "object"}, "annotations": read_only}
            ]}))
        })
        .on("tools/call", |call| call.result(json!({"content": [], "isError": true})))
        .stdio();
    let run = Sandbox::new().mcpipe(["test", "--init", &server.target()]).run();
    run.succeeds().stdout_contains(
        "call = \"time\"\n\
         # The call failed with these placeholders: replace them with real values, and remove 'fails'.\n\
         args = { zone = \"text\" }\nfails = \"failed\"\n",
    );
    run.stdout_contains(
        "call = \"broken\"\n# The call failed. If it is expected to succeed, remove 'fails'.\nfails = \"failed\"\n",
    );
}

#[test]
fn a_suite_from_init_has_no_secret_and_names_the_options_that_it_needs() {
    let server = Mcp::legacy("2025-11-25").http();
    let sandbox = Sandbox::new();
    let url = server.url("/mcp?api_key=s3cret-in-the-url");
    let options = ["--header", "X-Api-Key: s3cret-in-a-header"];
    let text = sandbox.mcpipe(["test", "--init", &url]).args(options).run().succeeds().stdout().to_owned();
    let head: Vec<&str> = text.lines().skip(1).take(3).collect();
    assert_eq!(
        head,
        [
            "# Run it with the same options: mcpipe test FILE -H 'X-Api-Key: …'",
            "# The URL has a secret, so it is not here: set the variable MCP_URL to it.",
            "target = \"${MCP_URL}\"",
        ]
    );
    assert!(!text.contains("s3cret"), "{text}");
    sandbox.file("new.toml", &text);
    let run = sandbox.mcpipe(["test", "new.toml"]).args(options).env("MCP_URL", &url).run();
    run.exits(0).hides("s3cret").stdout_contains("\tok\tcalls echo\t-\n");
    sandbox.mcpipe(["test", "new.toml"]).run().exits(3).stderr_contains("new.toml:4: the variable MCP_URL is not set");
}

#[test]
fn a_suite_from_init_has_no_secret_of_its_target() {
    let (http, stdio) = (Mcp::legacy("2025-11-25").http(), Mcp::legacy("2025-11-25").stdio());
    let with_key = http.url("/s/NjU4OWY3ZGUtNWYxMC00YzE5LWFi/mcp");
    let with_user = http.url("/mcp").replace("http://", "http://u:s3cret@");
    let with_option = format!("{} --token s3cret", stdio.target());
    for (target, what, variable) in
        [(with_key, "URL", "MCP_URL"), (with_user, "URL", "MCP_URL"), (with_option, "command line", "MCP_COMMAND")]
    {
        let sandbox = Sandbox::new();
        let text = sandbox.mcpipe(["test", "--init", &target]).run().succeeds().stdout().to_owned();
        let head: Vec<&str> = text.lines().skip(1).take(2).collect();
        assert_eq!(
            head,
            [
                format!("# The {what} has a secret, so it is not here: set the variable {variable} to it."),
                format!("target = \"${{{variable}}}\""),
            ]
        );
        assert!(!text.contains("s3cret") && !text.contains("NjU4"), "{text}");
        sandbox.file("new.toml", &text);
        sandbox.mcpipe(["test", "new.toml"]).env(variable, &target).run().exits(0).hides("s3cret");
    }
}

#[test]
fn the_schema_accepts_the_suites_of_these_tests() {
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["test", "--schema"]).run();
    let schema: Value = serde_json::from_slice(&run.succeeds().stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let to_json = |text: &str| -> Value {
        let document: toml_edit::DocumentMut = format!("target = \"x\"\n{text}").parse().unwrap();
        toml_to_json(document.as_item())
    };
    for text in [PASSING, FAILING] {
        let errors: Vec<String> = validator.iter_errors(&to_json(text)).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    }
    assert!(!validator.is_valid(&to_json("[[test]]\ncall = \"x\"\nread = \"y\"\n")));
    assert!(!validator.is_valid(&to_json("[[test]]\ncall = \"x\"\nexpct = \"y\"\n")));
}

fn toml_to_json(item: &toml_edit::Item) -> Value {
    if let Some(table) = item.as_table_like() {
        return table.iter().map(|(key, item)| (key.to_owned(), toml_to_json(item))).collect();
    }
    if let Some(tables) = item.as_array_of_tables() {
        return tables.iter().map(|table| toml_to_json(&toml_edit::Item::Table(table.clone()))).collect();
    }
    if let Some(items) = item.as_array() {
        return items.iter().map(|item| toml_to_json(&toml_edit::Item::Value(item.clone()))).collect();
    }
    item.as_str()
        .map(Value::from)
        .or_else(|| item.as_integer().map(Value::from))
        .or_else(|| item.as_bool().map(Value::from))
        .or_else(|| item.as_float().map(Value::from))
        .unwrap()
}

#[test]
fn a_suite_from_init_passes_with_results_and_names_that_are_wrong() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let server = Mcp::legacy("2025-11-25")
        .tools(json!([{"name": "odd", "inputSchema": {"type": "object"}, "outputSchema": schema,
            "annotations": {"readOnlyHint": true}}]))
        .on("resources/list", |call| call.result(json!({"resources": [{"uri": "demo://nameless"}]})))
        .on("tools/call", |call| call.result(json!({"content": [], "structuredContent": {"n": "x"}})))
        .stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["test", "--init", &server.target()]).run();
    run.succeeds().stdout_contains("fails = \"protocol\"\n").stdout_contains("[.resources[].name] == [null]");
    sandbox.file("new.toml", run.stdout());
    sandbox.mcpipe(["test", "new.toml"]).run().exits(0);
}
