//! A replayed recording leads to the output of the recorded run, byte for byte.

use std::time::Duration;

use serde_json::json;

use crate::support::mcp::ClientMessage;
use crate::support::real::{
    ListeningServer, everything_server, node_package_file, node_program, parts_dir, python_program, real_test_file,
    typescript_server,
};
use crate::support::sockets::serve_processes;
use crate::support::{HttpServer, LegacyHttpOptions, Mcp, Reply, Run, Sandbox, ServerAction};

/// Both runs of a command: against the server, and against the recording of that run. The target is the word `TARGET`.
fn both(sandbox: &Sandbox, target: &str, words: &[&str]) -> (Run, Run) {
    let with = |target: &str, more: &[&str]| {
        let words = words.iter().map(|word| if *word == "TARGET" { target } else { word });
        // A server of a Python package takes seconds to start.
        sandbox.mcpipe(words.chain(more.iter().copied())).timeout(Duration::from_secs(90)).run()
    };
    let recorded = with(target, &["--record", "run.rec"]);
    (recorded, with("replay:run.rec", &[]))
}

/// The text without the numbers of progress tokens, which are those of the requests of a run.
fn without_tokens(text: &str) -> String {
    let mut parts = text.split(r#""progressToken":"#);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + r#""progressToken":"# + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

/// The replayed run prints the same, apart from the name of the target.
#[track_caller]
fn prints_the_same(sandbox: &Sandbox, target: &str, words: &[&str]) {
    let (recorded, replayed) = both(sandbox, target, words);
    let quoted = format!("'{target}'");
    let named = |text: &str| {
        without_tokens(text).replace(&quoted, "TARGET").replace(target, "TARGET").replace("replay:run.rec", "TARGET")
    };
    let seen = |run: &Run| (run.code(), named(run.stdout()), named(run.stderr()));
    let file = std::fs::read_to_string(sandbox.work().join("run.rec")).unwrap_or_default();
    assert_eq!(seen(&replayed), seen(&recorded), "{words:?}\n{recorded:?}\n{replayed:?}\n{file}");
}

const BATCH: &str = r#"{"tool":"echo","arguments":{"text":"1"},"id":1}
{"tool":"add","arguments":{"a":1,"b":2},"id":2}
{"tool":"fail","arguments":{},"id":3}
{"tool":"echo","arguments":{"text":"1"},"id":4}
"#;

/// Commands of every kind.
fn commands() -> Vec<Vec<&'static str>> {
    vec![
        vec!["list", "TARGET"],
        vec!["list", "TARGET", "--all"],
        vec!["list", "TARGET", "--all", "--json"],
        vec!["list", "TARGET", "--resources", "--templates", "--prompts"],
        vec!["list", "TARGET", "--info"],
        vec!["list", "TARGET", "echo"],
        vec!["list", "TARGET", "echo", "--schema"],
        vec!["list", "TARGET", "nothing"],
        vec!["list", "TARGET", "--for", "openai"],
        vec!["call", "TARGET", "echo", "text=hi"],
        vec!["call", "TARGET", "echo", "text=hi", "--json"],
        vec!["call", "TARGET", "echo", "wrong=hi"],
        vec!["call", "TARGET", "add", "a=1", "b=2"],
        vec!["call", "TARGET", "add", "a=1", "b=2", "--structured"],
        vec!["call", "TARGET", "fail"],
        vec!["call", "TARGET", "image"],
        vec!["call", "TARGET", "slow", "steps=3", "--events", "-"],
        vec!["call", "TARGET", "nothing"],
        vec!["call", "TARGET", "nothing", "--no-validate"],
        vec!["call", "TARGET", "--batch", "calls"],
        vec!["call", "TARGET", "--batch", "calls", "--ordered", "--jobs", "1"],
        vec!["read", "TARGET"],
        vec!["read", "TARGET", "demo://hello"],
        vec!["read", "TARGET", "demo://hello", "demo://item/1", "demo://item/2"],
        vec!["read", "TARGET", "demo://gone"],
        vec!["read", "TARGET", "demo://item/{id}", "id=7"],
        vec!["prompt", "TARGET"],
        vec!["prompt", "TARGET", "greet", "name=Ada"],
        vec!["prompt", "TARGET", "nothing"],
        vec!["request", "TARGET", "tools/list"],
        vec!["request", "TARGET", "nothing"],
        vec!["lock", "TARGET", "-o", "mcp.lock"],
        vec!["test", "--init", "TARGET"],
    ]
}

#[track_caller]
fn every_command(target: &str) {
    let sandbox = Sandbox::new();
    sandbox.file("calls", BATCH);
    for words in commands() {
        prints_the_same(&sandbox, target, &words);
    }
}

#[test]
fn every_command_prints_the_same_over_stdio_without_a_handshake() {
    every_command(&Mcp::modern().stdio().target());
}

#[test]
fn every_command_prints_the_same_over_stdio_with_a_handshake() {
    every_command(&Mcp::legacy("2025-06-18").stdio().target());
}

#[test]
fn every_command_prints_the_same_over_http_without_a_handshake() {
    every_command(&Mcp::modern().http().url("/mcp"));
}

#[test]
fn every_command_prints_the_same_over_http_with_a_session() {
    every_command(&Mcp::legacy("2025-11-25").http().url("/mcp"));
}

#[test]
fn every_command_prints_the_same_over_http_and_sse() {
    every_command(&Mcp::legacy("2024-11-05").sse().url("/sse"));
}

#[test]
fn every_command_prints_the_same_over_a_websocket() {
    every_command(&Mcp::modern().websocket().url("/ws"));
    every_command(&Mcp::legacy("2025-03-26").websocket().url("/ws"));
}

#[test]
fn every_command_prints_the_same_over_a_unix_socket() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("s");
    let _seen = Mcp::legacy("2025-11-25").unix(&path);
    every_command(&format!("unix:{}", path.display()));
}

#[test]
fn a_list_in_pages_prints_the_same() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let server = mcp.page_size(2).stdio();
        prints_the_same(&Sandbox::new(), &server.target(), &["list", "TARGET"]);
    }
}

/// Asks for input during each call.
fn asking(mcp: Mcp) -> Mcp {
    mcp.on("tools/call", |call| {
        let id = call.id();
        let schema = json!({"type": "object", "properties": {"name": {"type": "string", "default": "Ada"}}});
        let params = json!({"message": "Who?", "requestedSchema": schema});
        let ask = json!({"jsonrpc": "2.0", "id": "ask-1", "method": "elicitation/create", "params": params});
        vec![ServerAction::Request(
            ask,
            Box::new(move |answer| {
                let text = answer["result"].to_string();
                let content = json!([{"type": "text", "text": text}]);
                vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": {"content": content}}))]
            }),
        )]
    })
}

#[test]
fn a_call_during_which_the_server_asks_for_input_prints_the_same() {
    let words = ["call", "TARGET", "echo", "text=hi", "--elicit", "accept"];
    prints_the_same(&Sandbox::new(), &asking(Mcp::legacy("2025-11-25")).stdio().target(), &words);
    prints_the_same(&Sandbox::new(), &asking(Mcp::legacy("2025-11-25")).http().url("/mcp"), &words);
}

#[test]
fn another_answer_than_the_recorded_one_gets_an_error() {
    let sandbox = Sandbox::new();
    let server = asking(Mcp::legacy("2025-11-25")).stdio();
    let call = |target: &str, how: &str| {
        sandbox.mcpipe(["call", target, "echo", "text=hi", "--elicit", how]).arg("--record").arg("out.rec").run()
    };
    call(&server.target(), "accept").succeeds();
    std::fs::rename(sandbox.work().join("out.rec"), sandbox.work().join("run.rec")).unwrap();
    let run = call("replay:run.rec", r#"{"name": "Grace"}"#);
    run.exits(1).prints("").stderr_contains("the recording continues after another answer to elicitation/create");
}

#[test]
fn failures_of_a_server_print_the_same() {
    let target = "sh -c 'echo starting >&2; exit 3'";
    prints_the_same(&Sandbox::new(), target, &["list", "TARGET"]);
    prints_the_same(&Sandbox::new(), "./missing/server", &["list", "TARGET"]);
    let refused = HttpServer::start(|_| Reply::text("text/html", "<html>maintenance</html>").with_status(500));
    prints_the_same(&Sandbox::new(), &refused.url("/mcp"), &["list", "TARGET", "--retries", "0"]);
    let missing = HttpServer::start(|_| Reply::status(404));
    prints_the_same(&Sandbox::new(), &missing.url("/mcp"), &["list", "TARGET"]);
}

#[test]
fn a_result_that_is_not_for_the_request_prints_the_same() {
    let behave = Mcp::modern().http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method() == "tools/call" {
        true => {
            let result = json!({"resultType": "complete", "content": [{"type": "text", "text": "hi"}]});
            Reply::json(&json!({"jsonrpc": "2.0", "id": "x", "result": result}))
        }
        false => behave(request),
    });
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi"]).run();
    run.exits(7).prints("");
    prints_the_same(&sandbox, &server.url("/mcp"), &["call", "TARGET", "echo", "text=hi"]);
}

#[test]
fn failures_of_a_call_print_the_same() {
    let words = ["call", "TARGET", "echo", "text=hi", "--timeout", "300ms"];
    let ended =
        Mcp::legacy("2025-11-25").on("tools/call", |_| vec![ServerAction::RawText("{\"id\":2,\"result\":".into())]);
    prints_the_same(&Sandbox::new(), &ended.stdio().target(), &words);
    let silent = || Mcp::legacy("2025-11-25").on("tools/call", |_| Vec::new());
    prints_the_same(&Sandbox::new(), &silent().stdio().target(), &words);
    let wrong = Mcp::modern().on("tools/call", |call| call.error_with(-32000, "no", json!({"why": 1})));
    prints_the_same(&Sandbox::new(), &wrong.http().url("/mcp"), &words);
    for error in [json!(5), json!({"code": 1.5, "message": "no", "more": true})] {
        let answer = move |call: &ClientMessage| {
            vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": call.id(), "error": error}))]
        };
        let odd = Mcp::modern().on("tools/call", answer);
        prints_the_same(&Sandbox::new(), &odd.stdio().target(), &words);
    }
}

#[test]
fn a_repeated_request_gets_the_recorded_responses_in_order() {
    let server = Mcp::modern().on("tools/call", |call| {
        if call.n == 0 {
            call.text("first")
        } else {
            vec![ServerAction::Pause(Duration::from_millis(1))].into_iter().chain(call.text("later")).collect()
        }
    });
    let sandbox = Sandbox::new();
    let line = r#"{"tool":"echo","arguments":{"text":"x"}}"#;
    sandbox.file("calls", format!("{line}\n{line}\n{line}\n"));
    prints_the_same(&sandbox, &server.stdio().target(), &["call", "TARGET", "--batch", "calls", "--jobs", "1"]);
}

/// The words of every command for the reference server, which has other tools than the scripted ones.
const REAL_COMMANDS: &[&[&str]] = &[
    &["list", "TARGET", "--all"],
    &["list", "TARGET", "--all", "--json"],
    &["list", "TARGET", "--info"],
    &["list", "TARGET", "get-sum"],
    &["call", "TARGET", "get-sum", "a=2", "b=3"],
    &["call", "TARGET", "get-sum", "a=x", "b=3", "--no-validate"],
    &["call", "TARGET", "get-tiny-image"],
    &["call", "TARGET", "get-structured-content", "location=Chicago", "--json"],
    &["call", "TARGET", "get-resource-links", "count=2"],
    &["call", "TARGET", "trigger-long-running-operation", "duration=1", "steps=4"],
    &["call", "TARGET", "trigger-elicitation-request", "--elicit", "{\"name\":\"Ada\",\"check\":true}"],
    &["read", "TARGET"],
    &["read", "TARGET", "demo://resource/static/document/features.md"],
    &["prompt", "TARGET", "args-prompt", "city=Oslo"],
    &["prompt", "TARGET", "simple-prompt", "--json"],
];

#[test]
fn every_command_prints_the_same_for_the_reference_server() {
    let sandbox = Sandbox::new();
    let server = everything_server();
    let target = server.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    for words in REAL_COMMANDS {
        prints_the_same(&sandbox, &target, words);
    }
    let script = node_package_file("@modelcontextprotocol/server-everything/dist/index.js");
    for (kind, path) in [("streamableHttp", "/mcp"), ("sse", "/sse")] {
        let words =
            [node_program(), "--require".to_owned(), real_test_file("loopback.cjs"), script.clone(), kind.to_owned()];
        let server = ListeningServer::start(&sandbox, &words, &[("PORT", "PORT")]);
        for words in REAL_COMMANDS {
            prints_the_same(&sandbox, &server.url(path), words);
        }
    }
}

/// Runs commands of every kind, with a call of this tool, for a server. Starting one takes a second.
#[track_caller]
fn every_kind_of_command(sandbox: &Sandbox, target: &str, call: &[&str]) {
    prints_the_same(sandbox, target, &["list", "TARGET", "--all"]);
    prints_the_same(sandbox, target, &[&["call", "TARGET"], call, &["--json"]].concat());
    prints_the_same(sandbox, target, &["call", "TARGET", "there-is-none", "--no-validate"]);
    prints_the_same(sandbox, target, &["read", "TARGET"]);
    prints_the_same(sandbox, target, &["prompt", "TARGET"]);
}

#[test]
fn every_command_prints_the_same_for_the_other_node_servers() {
    let sandbox = Sandbox::new();
    let package = |name: &str| {
        let file = node_package_file(&format!("@modelcontextprotocol/{name}/dist/index.js"));
        format!("{} {file}", node_program())
    };
    every_kind_of_command(&sandbox, &package("server-memory"), &["read_graph"]);
    let work = sandbox.work().canonicalize().unwrap().display().to_string();
    let target = format!("{} {work}", package("server-filesystem"));
    every_kind_of_command(&sandbox, &target, &["get_file_info", &format!("path={work}")]);
    let sdk = typescript_server(&sandbox).join(" ");
    every_kind_of_command(&sandbox, &format!("{sdk} stdio"), &["add", "a=2", "b=3"]);
    let words = [typescript_server(&sandbox), vec!["http".to_owned(), "PORT".to_owned()]].concat();
    let server = ListeningServer::start(&sandbox, &words, &[]);
    every_kind_of_command(&sandbox, &server.url("/mcp"), &["add", "a=2", "b=3"]);
}

#[test]
fn every_command_prints_the_same_for_the_python_servers() {
    let sandbox = Sandbox::new();
    let script = |name: &str| format!("{} {} stdio", python_program("python"), real_test_file(name));
    every_kind_of_command(&sandbox, &script("sdk.py"), &["add", "a=2", "b=3"]);
    let time = format!("{} --local-timezone UTC", python_program("mcp-server-time"));
    every_kind_of_command(&sandbox, &time, &["get_current_time", "timezone=UTC"]);
    every_kind_of_command(&sandbox, &python_program("mcp-server-git"), &["git_status", "repo_path=."]);
    let words = [python_program("python"), real_test_file("sdk.py"), "streamable-http".to_owned(), "PORT".to_owned()];
    let server = ListeningServer::start(&sandbox, &words, &[]);
    every_kind_of_command(&sandbox, &server.url("/mcp"), &["add", "a=2", "b=3"]);
}

/// The same for a Python server that listens on a port, written in its words as `PORT`.
#[track_caller]
fn every_kind_of_command_over_the_network(words: &[&str], scheme: &str, path: &str, call: &[&str]) {
    let sandbox = Sandbox::new();
    let server = ListeningServer::start(&sandbox, words, &[]);
    let target = server.url(path).replace("http://", &format!("{scheme}://"));
    every_kind_of_command(&sandbox, &target, call);
    prints_the_same(&sandbox, &target, &["call", "TARGET", "break_down"]);
}

#[test]
fn every_command_prints_the_same_for_the_python_servers_over_each_transport() {
    let (python, add) = (python_program("python"), ["add", "a=2", "b=3"]);
    let (paged, sdk) = (real_test_file("paged.py"), real_test_file("sdk.py"));
    every_kind_of_command_over_the_network(&[&python, &paged, "http", "PORT"], "http", "/mcp", &["tool_24"]);
    every_kind_of_command_over_the_network(&[&python, &sdk, "sse", "PORT"], "http", "/sse", &add);
}

#[test]
fn every_command_prints_the_same_for_version_1_of_the_python_sdk() {
    let python = parts_dir().join("python-websocket/bin/python").display().to_string();
    let (sdk, websocket, add) = (real_test_file("sdk1.py"), real_test_file("websocket.py"), ["add", "a=2", "b=3"]);
    for words in [&["streamable-http", "PORT"][..], &["streamable-http", "PORT", "stateless", "json"]] {
        every_kind_of_command_over_the_network(
            &[&[python.as_str(), sdk.as_str()][..], words].concat(),
            "http",
            "/mcp",
            &add,
        );
    }
    every_kind_of_command_over_the_network(&[&python, &sdk, "sse", "PORT"], "http", "/sse", &add);
    every_kind_of_command_over_the_network(&[&python, &websocket, "PORT"], "ws", "/ws", &add);
}

#[test]
fn every_command_prints_the_same_for_a_real_server_on_a_unix_socket() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("s");
    serve_processes(&path, &everything_server());
    every_kind_of_command(&sandbox, &format!("unix:{}", path.display()), &["get-sum", "a=2", "b=3"]);
}

#[test]
fn reading_skills_prints_and_saves_the_same() {
    let sandbox = Sandbox::new();
    let main = "---\nname: pdf\ndescription: Reads PDF files\n---\n\n# PDF\n";
    sandbox.file("source/pdf/SKILL.md", main);
    sandbox.file("source/pdf/forms/one.txt", "a form");
    sandbox.file("source/pdf/picture.bin", [0, 159, 146, 150]);
    let target = format!("{} {} source", python_program("python"), real_test_file("skills.py"));
    prints_the_same(&sandbox, &target, &["list", "TARGET", "--skills", "--json"]);
    let save = |target: &str, options: &[&str]| {
        let words = [&["read", target, "skill://pdf/SKILL.md", "--save", "out"], options].concat();
        sandbox.mcpipe(words).timeout(Duration::from_secs(90)).run()
    };
    let recorded = save(&target, &["--record", "run.rec"]);
    std::fs::rename(sandbox.work().join("out"), sandbox.work().join("recorded")).unwrap();
    save("replay:run.rec", &[]).succeeds().prints(recorded.succeeds().stdout());
    let read = |name: &str| std::fs::read(sandbox.work().join(name)).unwrap();
    for name in ["SKILL.md", "forms/one.txt", "picture.bin"] {
        for directory in ["recorded/pdf", "out/pdf"] {
            assert_eq!(read(&format!("{directory}/{name}")), read(&format!("source/pdf/{name}")), "{directory} {name}");
        }
    }
}
