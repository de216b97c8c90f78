//! Which request a response belongs to: only its ID decides if one stream carries everything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{
    ClientMessage, Feed, HttpServer, Mcp, ProcessEvent, Reply, Sandbox, ServerAction, StdioServer, sockets,
};

/// What servers send in response to `notifications/initialized`, although notifications have no response.
const NEEDLESS: [&str; 9] = [
    r#"{"jsonrpc":"2.0","result":null}"#,
    r#"{"jsonrpc":"2.0","result":{}}"#,
    r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
    r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32601,"message":"Method not found"}}"#,
    r#"{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"}}"#,
    r#"{"jsonrpc":"2.0","id":"","error":{"code":-32601,"message":"Method not found"}}"#,
    r#"{"jsonrpc":"2.0","id":0,"result":{}}"#,
    r#"{"jsonrpc":"2.0","id":4711,"result":{}}"#,
    r#"[{"jsonrpc":"2.0","result":{}},{"jsonrpc":"2.0","id":"x","result":{}}]"#,
];

fn needless(text: &'static str) -> Mcp {
    Mcp::legacy("2025-06-18")
        .tools(json!([{"name": "t", "inputSchema": {"type": "object"}}]))
        .on("notifications/initialized", move |_| vec![ServerAction::RawText(text.to_owned())])
        .on("tools/call", |call| call.text("ok"))
}

/// Runs each kind of command against a new server at `target`; the superfluous responses must have no effect.
fn is_unharmed(target: &str, shown: &str) {
    let sandbox = Sandbox::new();
    let result = "{\"content\":[{\"type\":\"text\",\"text\":\"ok\"}]}";
    for (words, stdin, expected) in [
        (&["list", target][..], "", "t\t-\t-\n".to_owned()),
        (&["call", target, "t", "--no-validate", "--json"], "", format!("{result}\n")),
        (&["call", target, "t"], "", "ok\n".to_owned()),
        (
            &["call", target, "--batch", "-"],
            "{\"tool\":\"t\"}\n{\"tool\":\"t\"}\n",
            format!(
                "{{\"id\":1,\"tool\":\"t\",\"result\":{result}}}\n{{\"id\":2,\"tool\":\"t\",\"result\":{result}}}\n"
            ),
        ),
    ] {
        let run = sandbox.mcpipe(words).stdin(stdin).run();
        // The lines of a batch are in the order of the responses.
        let mut lines: Vec<&str> = run.stdout().split_inclusive('\n').collect();
        lines.sort_unstable();
        assert_eq!((run.code(), lines.concat(), run.stderr()), (0, expected, ""), "{shown} {words:?}");
    }
}

#[test]
fn an_answer_to_a_notification_is_no_answer_to_a_request() {
    for text in NEEDLESS {
        is_unharmed(&needless(text).stdio().target(), text);
    }
}

#[test]
fn the_same_holds_over_every_stream() {
    for text in [NEEDLESS[1], NEEDLESS[4]] {
        is_unharmed(&needless(text).websocket().url("/"), text);
        is_unharmed(&needless(text).sse().url("/sse"), text);
        let directory = tempfile::tempdir().unwrap();
        let (path, mcp) = (directory.path().join("s"), Arc::new(needless(text)));
        sockets::serve_lines(&path, move |_, line, message| {
            play_actions(&mcp, line, mcp.handle(&serde_json::from_str(message).unwrap()));
        });
        is_unharmed(&format!("unix:{}", path.display()), text);
        // Over HTTP the response to a notification is the body of its own POST.
        let script = needless(text).http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
            "notifications/initialized" => Reply::text("application/json", text),
            _ => script(request),
        });
        is_unharmed(&server.url("/mcp"), text);
    }
}

/// The tool takes longer than an error without an ID is held.
#[test]
fn the_result_of_a_slow_tool_is_not_lost_to_the_answer_to_a_notification() {
    for text in [NEEDLESS[2], NEEDLESS[3]] {
        let slow = |call: &ClientMessage| {
            let mut outs = vec![ServerAction::Pause(Duration::from_millis(2500))];
            outs.extend(call.text("ok"));
            outs
        };
        let server = needless(text).on("tools/call", slow).stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "t", "--no-validate"]).run();
        assert_eq!((run.code(), run.stdout(), run.stderr()), (0, "ok\n", ""), "{text}");
    }
}

/// A tool that sends this before its result.
fn before_the_result(text: &'static str) -> StdioServer {
    let early = move |call: &ClientMessage| {
        let mut outs = vec![ServerAction::RawText(text.to_owned()), ServerAction::Pause(Duration::from_millis(300))];
        outs.extend(call.text("ok"));
        outs
    };
    Mcp::legacy("2025-11-25")
        .tools(json!([{"name": "t", "inputSchema": {"type": "object"}}]))
        .on("tools/call", early)
        .stdio()
}

#[test]
fn the_answer_with_the_right_id_wins_over_what_came_before() {
    for (text, note) in [
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, "note: ignored a result without an ID\n"),
        (r#"{"jsonrpc":"2.0","id":4711,"result":{}}"#, "note: held a result with an unknown ID\n"),
        (r#"{"jsonrpc":"2.0","id":"4711","result":{}}"#, "note: held a result with an unknown ID\n"),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, "note: ignored a response that no request waits for (ID 1)\n"),
        (
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#,
            "note: ignored a response that no request waits for (ID 1)\n",
        ),
        (
            r#"{"jsonrpc":"2.0","error":{"code":-1,"message":"no"}}"#,
            "note: held an error without an ID: no (code -1)\n",
        ),
        (
            r#"{"jsonrpc":"2.0","id":"x","error":{"code":-1,"message":"no"}}"#,
            "note: held an error with an unknown ID: no (code -1)\n",
        ),
    ] {
        let server = before_the_result(text);
        let run = Sandbox::new().mcpipe(["call", &server.target(), "t"]).run();
        assert_eq!((run.code(), run.stdout(), run.stderr()), (0, "ok\n", ""), "{text}");
        let run = Sandbox::new().mcpipe(["call", &server.target(), "t", "-v"]).run();
        run.exits(0).prints("ok\n").stderr_contains(note);
    }
}

#[test]
fn sloppy_ids_second_answers_and_batches_of_answers_are_understood() {
    let result = |text: &str| json!({"content": [{"type": "text", "text": text}]});
    type Answer = fn(Value, Value, Value) -> Vec<String>;
    let answers: [Answer; 5] = [
        |id, first, _| vec![json!({"jsonrpc": "2.0", "id": id.to_string(), "result": first}).to_string()],
        |id, first, _| vec![format!(r#"{{"jsonrpc":"2.0","id":{id}.0,"result":{first}}}"#)],
        |id, first, second| {
            [first, second].map(|result| json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()).to_vec()
        },
        |id, first, _| {
            let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -1, "message": "no"}});
            vec![
                json!([error, {"jsonrpc": "2.0", "result": {}}, {"jsonrpc": "2.0", "id": id, "result": first}])
                    .to_string(),
            ]
        },
        |id, first, second| {
            let all = [(first, &id), (second, &json!(null))];
            vec![
                Value::from(all.map(|(result, id)| json!({"jsonrpc": "2.0", "id": id, "result": result})).to_vec())
                    .to_string(),
            ]
        },
    ];
    for (n, answer) in answers.into_iter().enumerate() {
        let texts = move |call: &ClientMessage| {
            answer(call.id(), result("first"), result("second")).into_iter().map(ServerAction::RawText).collect()
        };
        let server = Mcp::legacy("2025-11-25").on("tools/call", texts).stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=x"]).run();
        assert_eq!((run.code(), run.stdout(), run.stderr()), (0, "first\n", ""), "{n}");
    }
}

fn refusing(id: Option<Value>) -> impl Fn(&ClientMessage) -> Vec<ServerAction> {
    move |_| {
        let mut error = json!({"jsonrpc": "2.0", "error": {"code": -32603, "message": "lost it"}});
        if let Some(id) = id.clone() {
            error["id"] = id;
        }
        vec![ServerAction::Send(error)]
    }
}

/// Nothing else arrives: the error ends the wait long before the time-out.
#[test]
fn an_error_without_an_id_ends_the_wait_of_the_only_request() {
    for id in [None, Some(Value::Null), Some(json!("server-error"))] {
        let server = Mcp::legacy("2025-11-25").on("tools/call", refusing(id.clone())).stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=x"]).run();
        run.exits(1).prints("");
        assert_eq!(run.stderr(), "mcpipe: error: the server refused tools/call: lost it (code -32603)\n", "{id:?}");
        let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=x", "-v"]).run();
        run.exits(1).stderr_contains("note: no other response to tools/call arrived: used an error with");
    }
}

#[test]
fn a_result_with_an_unknown_id_is_a_broken_protocol_where_no_other_comes() {
    let wrong = json!({"jsonrpc": "2.0", "id": 4711, "result": {"content": []}});
    let server = Mcp::legacy("2025-11-25").on("tools/call", move |_| vec![ServerAction::Send(wrong.clone())]).stdio();
    let words = ["call", &server.target(), "echo", "text=x", "--timeout", "1s"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(7).prints("").stderr_contains(
        "error: the server answered with an ID that was never sent\n  no response to tools/call within 1 s\n",
    );
    let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=x"]).run();
    run.exits(7).prints("");
    let says = "mcpipe: error: the server answered with an ID that was never sent\n  \
        the tool may have run, or may still be running\n";
    assert_eq!(run.stderr(), says);
}

/// As many errors as requests: each of them was rejected.
#[test]
fn errors_without_an_id_end_the_waits_of_as_many_requests() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", refusing(None)).stdio();
    let line = "{\"tool\":\"echo\",\"arguments\":{\"text\":\"x\"}}\n";
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-"]).stdin(line.repeat(3)).run();
    run.exits(1);
    assert_eq!(run.stdout().matches("the server refused tools/call: lost it (code -32603)").count(), 3, "{run:?}");
}

/// The probe and the handshake, rejected by a server that never reads an ID.
#[test]
fn a_server_that_refuses_everything_without_an_id_is_not_waited_for() {
    let refusal = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "no API key"}});
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(_) => process.send(&refusal),
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let run = Sandbox::new().mcpipe(["list", &server.target()]).run();
    run.exits(1).prints("").stderr_contains("error: the server refused initialize: no API key (code -32600)");
    assert!(run.elapsed < Duration::from_secs(20), "{run:?}");
}

#[test]
fn what_came_without_an_id_is_the_cause_where_the_wait_ends() {
    let error = r#"{"jsonrpc":"2.0","error":{"code":-32603,"message":"lost it"}}"#;
    let late = "no response to tools/call within 1 s";
    // An error may be about something else; a result without an ID is itself a violation of the protocol.
    for (text, (code, class), message, cause, rpc) in [
        (
            error,
            (6, "timeout"),
            late,
            "the server sent an error without an ID: lost it (code -32603)",
            json!({"code": -32603, "message": "lost it"}),
        ),
        (
            r#"{"jsonrpc":"2.0","id":null,"result":{}}"#,
            (7, "protocol"),
            "the server answered with a result without an ID",
            late,
            Value::Null,
        ),
        (
            r#"{"jsonrpc":"2.0","result":{}}"#,
            (7, "protocol"),
            "the server answered with a result without an ID",
            late,
            Value::Null,
        ),
    ] {
        let server =
            Mcp::legacy("2025-11-25").on("tools/call", |_| vec![ServerAction::RawText(text.to_owned())]).stdio();
        let words = ["call", &server.target(), "echo", "text=x", "--timeout", "1s", "--json"];
        let run = Sandbox::new().mcpipe(words).run();
        run.exits(code).prints("");
        let shown = run.json_error();
        let causes = json!([cause, "the tool may have run, or may still be running"]);
        assert_eq!((&shown["message"], &shown["causes"]), (&json!(message), &causes));
        assert_eq!((&shown["class"], &shown["rpc"]), (&json!(class), &rpc));
    }
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) if line.contains("tools/call") => {
            process.write(format!("{error}\n"));
            process.exit(3);
        }
        ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=x"]).run();
    run.exits(5).prints("").stderr_contains(
        "error: the server process ended (exit status: 3)\n  the server sent an error without an ID: lost it (code -32603)\n",
    );
}

#[test]
fn what_came_without_an_id_is_shown_after_an_interrupt() {
    let answer = refusing(None);
    let server = Mcp::legacy("2025-11-25")
        .on("notifications/initialized", move |call| answer(call))
        .on("tools/call", |_| vec![])
        .stdio();
    let running = Sandbox::new()
        .mcpipe(["call", &server.target(), "echo", "--args", "{\"text\":\"x\"}", "--no-validate", "-v"])
        .start();
    let end = Instant::now() + Duration::from_secs(20);
    while !running.stderr_so_far().contains("as a response to a notification") {
        assert!(Instant::now() < end, "the error never came: {}", running.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    server.wait_for("the call", |seen| seen.iter().any(|one| one.text().contains("tools/call")));
    running.signal(rustix::process::Signal::INT);
    let run = running.wait();
    run.exits(130).stderr_contains("the server sent an error without an ID: lost it (code -32603)");
}

/// Over HTTP an error without an ID belongs to the POST that it answers (tests/probes.rs); a result does not.
#[test]
fn a_result_without_an_id_in_the_answer_to_a_post_is_a_protocol_error() {
    for (body, wrong) in [
        (r#"{"jsonrpc":"2.0","id":null,"result":{"content":[]}}"#, "the server answered with a result without an ID"),
        (r#"{"jsonrpc":"2.0","result":{"content":[]}}"#, "the server answered with a result without an ID"),
        (r#"{"jsonrpc":"2.0","id":"x","result":{"content":[]}}"#, "the server answered with an ID that was never sent"),
        (r#"{"jsonrpc":"2.0","id":0,"result":{"content":[]}}"#, "the server answered with an ID that was never sent"),
    ] {
        for events in [false, true] {
            let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
            let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
                "tools/call" if events => Reply::sse().write(format!("data: {body}\n\n")),
                "tools/call" => Reply::text("application/json", body),
                _ => script(request),
            });
            let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=x"]).run();
            run.exits(7).prints("").stderr_contains(&format!("error: {wrong}\n"));
        }
    }
}

/// The stream for server requests carries no responses.
#[test]
fn what_comes_over_the_listening_stream_ends_no_request() {
    for text in [NEEDLESS[2], NEEDLESS[3]] {
        let feed = Feed::default();
        let (behave, early) =
            (LegacyHttpOptions { get_stream: Some(feed.clone()), ..LegacyHttpOptions::default() }, feed.clone());
        let script = Mcp::legacy("2025-11-25").http_script(behave);
        let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
            "tools/call" => {
                early.send(format!("data: {text}\n\n"));
                let answer = json!({"jsonrpc": "2.0", "id": request.id(), "result": {"content": [{"type": "text", "text": "ok"}]}});
                Reply::sse().write(": wait\n\n").pause(Duration::from_millis(2500)).event(&answer)
            }
            _ => script(request),
        });
        let words = ["call", &server.url("/mcp"), "echo", "text=x", "--elicit", "decline"];
        let run = Sandbox::new().mcpipe(words).run();
        assert_eq!((run.code(), run.stdout()), (0, "ok\n"), "{text} {run:?}");
        feed.end();
    }
}
