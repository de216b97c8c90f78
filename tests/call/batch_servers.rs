//! `call --batch` over several servers: lines of every kind, the rate, failing and busy servers, and resuming.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Run, Running, Sandbox, StdioServer};

fn lines(run: &Run) -> Vec<Value> {
    run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn echo(text: &str) -> String {
    json!({"tool": "echo", "arguments": {"text": text}, "id": text}).to_string() + "\n"
}

/// A sandbox with these servers in its configuration.
fn configured(servers: &[(&str, &StdioServer)]) -> Sandbox {
    let sandbox = Sandbox::new();
    let entry = |(name, server): &(&str, &StdioServer)| {
        let words = server.words();
        format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..])
    };
    sandbox.config(&servers.iter().map(entry).collect::<String>());
    sandbox
}

#[test]
fn each_line_may_name_its_server() {
    let (one, two, unused) = (Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio(), Mcp::modern().stdio());
    let sandbox = configured(&[("one", &one), ("two", &two), ("unused", &unused)]);
    let input = [
        json!({"server": "one", "tool": "add", "arguments": {"a": 1, "b": 2}, "id": "a"}),
        json!({"server": "two", "tool": "add", "arguments": {"a": 3, "b": 4}}),
        json!({"server": "two", "tool": "fail"}),
        json!({"server": "three", "tool": "add"}),
        json!({"server": 7, "tool": "add"}),
        json!({"tool": "add"}),
    ];
    let input = input.map(|line| line.to_string() + "\n").concat();
    let run = sandbox.mcpipe(["call", "--batch", "-", "--ordered"]).stdin(input.clone()).run();
    let all = lines(run.exits(1));
    assert!(run.stdout().starts_with(r#"{"id":"a","server":"one","tool":"add","result":{"#), "{run:?}");
    let total = |line: &Value| line["result"]["structuredContent"]["total"].clone();
    assert_eq!((total(&all[0]), total(&all[1]), &all[2]["result"]["isError"]), (json!(3), json!(7), &json!(true)));
    assert_eq!((&all[3]["server"], &all[3]["error"]["code"]), (&json!("three"), &json!(3)), "{run:?}");
    assert_eq!(all[4]["error"]["message"], "line 5 has a server that is not a string");
    assert_eq!(all[5]["error"]["message"], "the line names no server, and the command has no TARGET");
    assert_eq!(run.stderr(), "4 of 6 calls failed\n");
    let calls = |server: &StdioServer| {
        server
            .processes()
            .iter()
            .map(|process| process.methods().iter().filter(|m| *m == "tools/call").count())
            .collect()
    };
    let (one, two, unused): (Vec<usize>, Vec<usize>, Vec<usize>) = (calls(&one), calls(&two), calls(&unused));
    assert_eq!((one, two, unused), (vec![1], vec![2], vec![]), "one connection to each server that is named");
    // With a target, it is the server of the lines that name none.
    let run = sandbox.mcpipe(["call", "two", "--batch", "-", "--ordered"]).stdin(input).run();
    let all = lines(run.exits(1));
    assert_eq!((total(&all[0]), total(&all[1])), (json!(3), json!(7)));
    assert_eq!((&all[5]["error"]["server"], all[5].get("server")), (&json!("two"), None), "{run:?}");
}

#[test]
fn lines_read_resources_get_prompts_and_send_requests() {
    for server in [Mcp::legacy("2025-11-25").stdio(), Mcp::modern().stdio()] {
        let input = concat!(
            r#"{"read":"demo://hello","id":1}"#,
            "\n",
            r#"{"prompt":"greet","arguments":{"who":"Ann"},"id":2}"#,
            "\n",
            r#"{"request":"tools/call","params":{"name":"add","arguments":{"a":1,"b":1}},"id":3}"#,
            "\n",
            r#"{"prompt":"greet","id":4}"#,
            "\n",
            r#"{"read":"demo://nothing","id":5}"#,
            "\n",
        );
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["call", &server.target(), "--batch", "-", "--ordered"]).stdin(input).run();
        let all = lines(run.exits(1));
        assert_eq!(
            (&all[0]["read"], &all[0]["result"]["contents"][0]["text"]),
            (&json!("demo://hello"), &json!("hello\n"))
        );
        assert_eq!(all[1]["result"]["messages"][0]["content"]["text"], "Say hello to Ann");
        assert_eq!(all[1]["prompt"], "greet");
        assert_eq!(
            (&all[2]["request"], &all[2]["result"]["structuredContent"]["total"]),
            (&json!("tools/call"), &json!(2))
        );
        assert_eq!(all[3]["error"]["class"], "usage", "the required argument is missing: {run:?}");
        assert_eq!(all[4]["error"]["class"], "failed");
        server.single_process();
        // Nothing is sent in a dry run.
        let run =
            sandbox.mcpipe(["call", &server.target(), "--batch", "-", "--dry-run", "--no-validate"]).stdin(input).run();
        run.succeeds().prints(concat!(
            r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"demo://hello"}}"#,
            "\n",
            r#"{"jsonrpc":"2.0","id":2,"method":"prompts/get","params":{"name":"greet","arguments":{"who":"Ann"}}}"#,
            "\n",
            r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":1}}}"#,
            "\n",
            r#"{"jsonrpc":"2.0","id":4,"method":"prompts/get","params":{"name":"greet","arguments":{}}}"#,
            "\n",
            r#"{"jsonrpc":"2.0","id":5,"method":"resources/read","params":{"uri":"demo://nothing"}}"#,
            "\n",
        ));
        assert_eq!(server.processes().len(), 1);
    }
}

#[test]
fn a_line_that_says_two_things_is_refused() {
    let server = Mcp::modern().stdio();
    let input = [
        r#"{"tool":"echo","read":"demo://hello"}"#,
        r#"{"read":"demo://hello","arguments":{}}"#,
        r#"{"request":"ping","arguments":{}}"#,
        r#"{"tool":"echo","params":{}}"#,
        r#"{"prompt":"greet","arguments":{"who":1}}"#,
        r#"{"request":"ping","params":[]}"#,
        r#"{"id":7}"#,
    ];
    let run =
        Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--ordered"]).stdin(input.join("\n")).run();
    let messages: Vec<String> =
        lines(run.exits(1)).iter().map(|line| line["error"]["message"].as_str().unwrap().to_owned()).collect();
    assert_eq!(
        messages,
        [
            "line 1 has both tool and read",
            "line 2 has arguments, which read does not take",
            "line 3 has arguments, which request does not take",
            "line 4 has params, which tool does not take",
            "line 5 has an argument 'who' that is not a string",
            "line 6 has params that are not a JSON object",
            "line 7 has no tool",
        ]
    );
    assert_eq!(server.processes().len(), 0);
}

#[test]
fn a_read_only_server_is_protected_from_requests_too() {
    let server = Mcp::modern().stdio();
    let input = r#"{"request":"tools/call","params":{"name":"add","arguments":{"a":1,"b":1}}}"#;
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--read-only"]).stdin(input).run();
    assert_eq!(lines(run.exits(1))[0]["error"]["class"], "refused");
}

#[test]
fn a_rate_spaces_the_starts() {
    let server = Mcp::modern().stdio();
    let input = (0..4).map(|n| echo(&n.to_string())).collect::<String>();
    let words = ["call", &server.target(), "--batch", "-", "--rate", "20/s"];
    let run = Sandbox::new().mcpipe(words).stdin(input).run();
    assert_eq!(lines(run.succeeds()).len(), 4);
    assert!(run.elapsed >= Duration::from_millis(150), "{run:?}");
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--tool-use", "-", "--rate", "1/s"]).run();
    run.exits(2).stderr_contains("cannot be used with");
}

/// Waits until standard output has this text.
fn wait_for(running: &Running, text: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    while !running.stdout_so_far().contains(text) {
        assert!(Instant::now() < end, "no {text} in: {}", running.stdout_so_far());
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// An HTTP server whose tool calls are refused while `is_busy`.
fn busy_server(is_busy: &Arc<AtomicBool>, refusal: impl Fn() -> Reply + Send + Sync + 'static) -> HttpServer {
    let (good, is_busy) = (Mcp::modern().http_script(LegacyHttpOptions::default()), is_busy.clone());
    HttpServer::start(move |request| {
        if request.rpc_method() == "tools/call" && is_busy.load(Ordering::SeqCst) { refusal() } else { good(request) }
    })
}

fn calls(server: &HttpServer) -> usize {
    server.requests().iter().filter(|request| request.rpc_method() == "tools/call").count()
}

/// One request finds out whether a pause was long enough, and the server's answer to it counts for all that wait.
#[test]
fn a_pause_that_a_server_asks_for_is_kept_by_all_jobs() {
    let is_busy = Arc::new(AtomicBool::new(true));
    let server = busy_server(&is_busy, || Reply::status(429).header("Retry-After", "0"));
    let sandbox = Sandbox::new();
    let input = (0..12).map(|n| echo(&n.to_string())).collect::<String>();
    let words = ["call", &server.url("/"), "--batch", "-", "--jobs", "12", "--quiet"];
    let run = sandbox.mcpipe(words).stdin(input.clone()).run();
    let failed = lines(run.exits(1));
    assert!(failed.len() == 12 && failed.iter().all(|line| line["error"]["class"] == "unreachable"), "{run:?}");
    // Each line by itself would be sent three times.
    assert_eq!(calls(&server), 12 + 2);
    is_busy.store(false, Ordering::SeqCst);
    assert_eq!(lines(sandbox.mcpipe(words).stdin(input).run().succeeds()).len(), 12);
}

#[test]
fn after_failures_in_a_row_the_other_lines_fail_at_once_until_the_server_recovers() {
    let is_busy = Arc::new(AtomicBool::new(true));
    let server = busy_server(&is_busy, || Reply::status(500));
    let other = Mcp::modern().stdio();
    let sandbox = configured(&[("other", &other)]);
    let url = server.url("/");
    let words = ["call", &url, "--batch", "-", "--max-failures", "2", "--jobs", "1"];
    let mut running = sandbox.mcpipe(words).stdin_open().start();
    for n in 0..6 {
        running.write(&echo(&n.to_string()));
    }
    running.write("{\"server\":\"other\",\"tool\":\"echo\",\"arguments\":{\"text\":\"x\"},\"id\":\"other\"}\n");
    wait_for(&running, "\"id\":\"other\"");
    assert_eq!(calls(&server), 2);
    is_busy.store(false, Ordering::SeqCst);
    for number in 100.. {
        let id = number.to_string();
        running.write(&echo(&id));
        wait_for(&running, &format!("\"id\":\"{id}\""));
        if running.stdout_so_far().contains(&format!("\"id\":\"{id}\",\"tool\":\"echo\",\"result\"")) {
            break;
        }
    }
    running.write(&echo("last"));
    running.end_stdin();
    let run = running.wait();
    let all = lines(run.exits(1));
    let failure = &all[2]["error"];
    assert_eq!((&failure["class"], &failure["code"]), (&json!("unreachable"), &json!(5)));
    assert_eq!(
        (&failure["message"], &failure["causes"][0]),
        (&json!("not sent: the server keeps failing"), &json!("2 failures in a row"))
    );
    assert_eq!(all[6]["result"]["content"][0]["text"], "x", "the other server is not affected");
    assert_eq!(all.last().unwrap()["result"]["content"][0]["text"], "last");
    assert_eq!(calls(&server), 2 + 2, "{run:?}");
    run.stderr_contains("2 failures in a row; skipping its lines for now");
}

#[test]
fn reported_errors_are_not_failures_of_the_server() {
    let server = Mcp::modern().stdio();
    let words = ["call", &server.target(), "--batch", "-", "--max-failures", "1", "--jobs", "1"];
    let run =
        Sandbox::new().mcpipe(words).stdin("{\"tool\":\"fail\"}\n{\"tool\":\"none\"}\n".to_owned() + &echo("a")).run();
    let all = lines(run.exits(1));
    assert!(
        all[0]["result"]["isError"] == true && all[1]["error"]["message"] == "the server has no tool 'none'",
        "{run:?}"
    );
    assert_eq!(all[2]["result"]["content"][0]["text"], "a", "{run:?}");
}

#[test]
fn lines_that_are_done_are_skipped() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let input = echo("a")
        + &echo("b")
        + "{\"tool\":\"fail\",\"id\":[1, 2]}\n{\"tool\":\"add\",\"arguments\":{\"a\":1}}\n"
        + &echo("c");
    let calls = sandbox.file("calls.ndjson", &input);
    let calls = calls.to_str().unwrap();
    let words = ["call", &server.target(), "--batch", calls, "--ordered", "--skip-done", "done.ndjson"];
    sandbox.mcpipe(words).run().exits(2).prints("").stderr_contains("cannot read done.ndjson");
    sandbox.file("-", "");
    let dash = sandbox.mcpipe(words.map(|word| if word == "done.ndjson" { "-" } else { word })).run();
    dash.exits(2).prints("").stderr_is(
        "mcpipe: error: --skip-done needs a file, not standard input\n\
         hint: name the file with the output of an earlier run: --skip-done FILE\n",
    );
    assert_eq!(server.processes().len(), 0);
    sandbox.file("done.ndjson", "");
    let first = sandbox.mcpipe(words).run();
    assert_eq!(lines(first.exits(1)).len(), 5);
    // Killed in the middle of a line: "a" is done, and a tool that reported an error, a failed call and "c" are not.
    let output = first.stdout();
    let done = output.lines().filter(|line| !line.contains("\"id\":\"c\"") && !line.contains("\"id\":\"b\""));
    let done = done.collect::<Vec<_>>().join("\n") + "\n{\"id\":\"b\",\"tool\":\"ec";
    sandbox.file("done.ndjson", &done);
    let second = sandbox.mcpipe(words).run();
    let ids: Vec<Value> = lines(second.exits(1)).iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, [json!("b"), json!([1, 2]), json!(4), json!("c")]);
    assert_eq!(second.stderr(), "1 line skipped: done before\n2 of 4 calls failed\n");
    // The number of a line is its ID if it has no other.
    sandbox.file("done.ndjson", "{\"id\": 4, \"tool\":\"add\",\"result\":{}}\n{\"id\":[1,2],\"result\":{}}\n");
    let third = sandbox.mcpipe(words).run();
    let ids: Vec<Value> = lines(third.exits(0)).iter().map(|line| line["id"].clone()).collect();
    assert_eq!(ids, [json!("a"), json!("b"), json!("c")]);
}

#[test]
fn a_line_that_cannot_be_read_is_not_skipped_for_the_id_of_another_one() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let input = "not json\n{\"tool\":\"echo\",\"arguments\":{\"text\":\"x\"},\"id\":1}\n";
    let calls = sandbox.file("calls.ndjson", input);
    sandbox.file("done.ndjson", "{\"id\":1,\"tool\":\"echo\",\"result\":{}}\n");
    let words = ["call", &server.target(), "--batch", calls.to_str().unwrap(), "--skip-done", "done.ndjson"];
    let run = sandbox.mcpipe(words).run();
    run.exits(1).stderr_contains("1 line skipped: done before\n");
    let all = lines(&run);
    assert!(all.len() == 1 && all[0]["error"]["message"] == "line 1 is not JSON", "{run:?}");
}
