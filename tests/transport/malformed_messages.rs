//! Answers that are not one JSON-RPC message: what can be read without a guess is read, and everything else is reported
//! at once, with the place and the reason.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{
    ClientMessage, HttpServer, Mcp, ProcessEvent, Reply, Run, Sandbox, ServerAction, StdioServer, WebSocketEvent,
    WebSocketServer, sockets,
};

/// Writes the responses to calls in a special form.
type Distort = fn(&str) -> String;

/// A server whose responses to `tools/call` are distorted; `then` follows each.
fn distorted(mcp: Mcp, distort: Distort, then: Option<&'static str>) -> Mcp {
    mcp.tools(json!([{"name": "t", "inputSchema": {"type": "object"}}])).on("tools/call", move |call| {
        let [ServerAction::Send(message)] = &call.text("ok")[..] else { unreachable!() };
        let mut actions = vec![ServerAction::RawText(distort(&message.to_string()))];
        actions.extend(then.map(|text| ServerAction::RawText(text.replace("ID", &call.id().to_string()))));
        actions
    })
}

fn call(target: &str) -> Run {
    let started = Instant::now();
    let run = Sandbox::new().mcpipe(["call", target, "t", "--no-validate"]).run();
    assert!(started.elapsed() < Duration::from_secs(20), "it was waited for: {run:?}");
    run
}

/// Runs the same call over the streams of a child process, a Unix socket and a WebSocket.
fn over_streams(mcp: impl Fn() -> Mcp, check: impl Fn(&str, Run)) {
    check("stdio", call(&mcp().stdio().target()));
    check("WebSocket", call(&mcp().websocket().url("/")));
    let directory = tempfile::tempdir().unwrap();
    let (path, served) = (directory.path().join("s"), Arc::new(mcp()));
    sockets::serve_lines(&path, move |_, line, message| {
        play_actions(&served, line, served.handle(&serde_json::from_str(message).unwrap()));
    });
    check("Unix socket", call(&format!("unix:{}", path.display())));
}

/// The same over HTTP: as a JSON body, in an event stream, and over HTTP+SSE.
fn over_http(mcp: impl Fn() -> Mcp, distort: Distort, check: impl Fn(&str, Run)) {
    let script = mcp().on("tools/call", |call| call.text("ok")).http_script(LegacyHttpOptions::default());
    let body = HttpServer::start(move |request| {
        let reply = script(request);
        if request.rpc_method() != "tools/call" {
            return reply;
        }
        let id = &request.json()["id"];
        let message = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "ok"}]}});
        Reply::text("application/json", distort(&message.to_string()))
    });
    check("JSON body", call(&body.url("/mcp")));
    let options = LegacyHttpOptions { always_streams: true, ..LegacyHttpOptions::default() };
    check("event stream", call(&mcp().http_as(options).url("/mcp")));
    check("HTTP+SSE", call(&mcp().sse().url("/sse")));
}

#[test]
fn a_complete_answer_beside_other_text_is_read() {
    let cases: [(&str, Distort); 7] = [
        ("with two ids", |line| line.replacen('{', "{\"id\":null,", 1)),
        ("with the method", |line| line.replacen('{', "{\"method\":\"tools/call\",", 1)),
        ("after a log", |line| format!("Progress... {line}")),
        ("after a log with braces", |line| format!("{{a: 1}} {{\"x\": {{}}}} {line}")),
        ("before a log", |line| format!("{line}done")),
        ("after another message", |line| format!("{}{line}", json!({"jsonrpc": "2.0", "method": "notifications/x"}))),
        ("after a quoted request", |line| format!("got {{\"id\":1,\"method\":\"tools/call\"}}: {line}")),
    ];
    for (name, distort) in cases {
        let mcp = || distorted(Mcp::legacy("2025-06-18"), distort, None);
        let check = |wire: &str, run: Run| {
            assert_eq!((run.code(), run.stdout(), run.stderr()), (0, "ok\n", ""), "{name} over {wire}");
        };
        over_streams(mcp, check);
        over_http(mcp, distort, check);
    }
}

#[test]
fn an_answer_over_several_lines_is_read() {
    let pretty: Distort = |line| format!("{:#}", serde_json::from_str::<Value>(line).unwrap());
    let cases: [(&str, Distort); 4] = [
        ("pretty-printed", pretty),
        ("with CRLF", |line| format!("{:#}", serde_json::from_str::<Value>(line).unwrap()).replace('\n', "\r\n")),
        ("after a log", |line| format!("Progress... {:#}", serde_json::from_str::<Value>(line).unwrap())),
        ("as a batch", |line| format!("[\n{:#}\n]", serde_json::from_str::<Value>(line).unwrap())),
    ];
    for (name, distort) in cases {
        let mcp = || distorted(Mcp::legacy("2025-06-18"), distort, None);
        over_streams(mcp, |wire, run| {
            assert_eq!((run.code(), run.stdout(), run.stderr()), (0, "ok\n", ""), "{name} over {wire}");
        });
    }
    let server = distorted(Mcp::modern(), pretty, None).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "t", "-v"]).run();
    run.exits(0).prints("ok\n").stderr_contains("note: the server sent a message over several lines, not on one\n");
}

#[test]
fn messages_with_content_length_headers_are_read() {
    for extra in ["", "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\n"] {
        let mcp = Mcp::legacy("2024-11-05");
        let server = StdioServer::start(move |process, event| match event {
            ProcessEvent::Line(line) => {
                for action in mcp.handle(&serde_json::from_str(&line).unwrap()) {
                    if let ServerAction::Send(message) = action {
                        let body = message.to_string();
                        process.write(format!("Content-Length: {}\r\n{extra}\r\n{body}", body.len()));
                    }
                }
            }
            ProcessEvent::Eof => process.exit(0),
            _ => {}
        });
        let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hä"]).run();
        assert_eq!((run.code(), run.stdout(), run.stderr()), (0, "hä\n", ""), "{extra}");
    }
}

/// The same text in a log is not a header.
#[test]
fn log_lines_that_look_like_headers_are_skipped() {
    let noise = "Content-Length: 5\nServer: x\n\nContent-Length: 7\n\nhello\n";
    let mcp = distorted(Mcp::legacy("2025-06-18"), |line| format!("Content-Length: 5\n\nhi\n{line}"), None).on(
        "initialize",
        move |call| {
            let mut actions = vec![ServerAction::RawText(noise.to_owned())];
            actions.extend(call.result(json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}})));
            actions
        },
    );
    call(&mcp.stdio().target()).exits(0).prints("ok\n").stderr_is("");
}

/// JSON in a log is not an answer, whatever its id, and neither is a request that was logged.
#[test]
fn json_in_a_log_is_not_taken_for_the_answer() {
    let cases: [Distort; 6] = [
        |line| format!("{{\"status\":\"ok\",\"id\":1}}\n{line}"),
        |line| format!("{{\n  level: 'info',\n  id: 1\n}}\n{line}"),
        |line| format!("{{\n  \"level\": \"info\",\n  \"id\": 3\n}}\n{line}"),
        |line| format!("sent {} to the client\n{line}", line.replace("ok", "no")),
        |line| format!("{{'jsonrpc': '2.0', 'result': None, 'id': 3}}\n{line}"),
        |line| format!("sending {}...\n{line}", &line[..60]),
    ];
    for distort in cases {
        let mcp = distorted(Mcp::legacy("2025-06-18"), distort, None);
        call(&mcp.stdio().target()).exits(0).prints("ok\n").stderr_is("");
    }
}

const INVALID: &str = "mcpipe: error: the server's response is not valid JSON\n";

#[test]
fn an_answer_that_is_not_json_is_reported_at_once() {
    let cases: [(&str, Distort, &str); 9] = [
        ("NaN", |line| line.replace("\"ok\"", "NaN"), "NaN is not allowed in JSON, near: "),
        ("Infinity", |line| line.replace("\"ok\"", "Infinity"), "Infinity is not allowed in JSON, near: "),
        ("-Infinity", |line| line.replace("\"ok\"", "-Infinity"), "-Infinity is not allowed in JSON, near: "),
        ("undefined", |line| line.replace("\"ok\"", "undefined"), "undefined is not allowed in JSON, near: "),
        ("None", |line| line.replace("\"ok\"", "None"), "None is not allowed in JSON, near: "),
        ("a control character", |line| line.replace("ok", "o\u{1}k"), "control character in a string, near: "),
        ("a trailing comma", |line| line.replace("}]", "},]"), "trailing comma, near: "),
        ("an unescaped quote", |line| line.replace("ok", "o\"k"), "expected `,` or `}`, near: "),
        ("half of it", |line| line[..line.len() - 1].to_owned(), "the message is incomplete, near: "),
    ];
    for (name, distort, reason) in cases {
        let mcp = || distorted(Mcp::legacy("2025-06-18"), distort, None);
        let check = |wire: &str, run: Run| {
            assert_eq!((run.code(), run.stdout()), (7, ""), "{name} over {wire}: {run:?}");
            assert!(run.stderr().starts_with(INVALID), "{name} over {wire}: {run:?}");
            let cause = run.stderr().lines().nth(1).unwrap();
            assert!(cause.trim_start().starts_with("column ") && cause.contains(reason), "{name} over {wire}: {run:?}");
            assert!(run.stderr().contains("hint: use -v to see what it sent"), "{name} over {wire}: {run:?}");
        };
        // The rest of half a message might follow in the next line.
        if name != "half of it" {
            over_streams(mcp, check);
        }
        over_http(mcp, distort, check);
    }
}

#[test]
fn an_answer_without_result_and_error_is_reported_at_once() {
    let cases: [Distort; 2] = [
        |line| without_result(line).to_string(),
        |line| {
            let mut message = without_result(line);
            message["error"] = Value::Null;
            message.to_string()
        },
    ];
    for distort in cases {
        let mcp = || distorted(Mcp::legacy("2025-06-18"), distort, None);
        let check = |wire: &str, run: Run| {
            assert_eq!((run.code(), run.stdout()), (7, ""), "{wire}: {run:?}");
            let expected = "mcpipe: error: the server's response has neither a result nor an error\n  it came as {";
            assert!(run.stderr().starts_with(expected), "{wire}: {run:?}");
            assert!(run.stderr().contains("the tool may have run\n"), "{wire}: {run:?}");
        };
        over_streams(mcp, check);
        over_http(mcp, distort, check);
    }
}

fn without_result(line: &str) -> Value {
    let mut message: Value = serde_json::from_str(line).unwrap();
    message.as_object_mut().unwrap().remove("result");
    message
}

#[test]
fn a_line_break_in_a_string_is_reported_at_once() {
    let cases: [Distort; 2] = [
        |line| line.replace("ok", "o\nk"),
        |line| {
            let message: Value = serde_json::from_str(line).unwrap();
            let result = message["result"].to_string().replace("ok", "o\nk");
            format!("{{\"jsonrpc\":\"2.0\",\"result\":{result},\"id\":{}}}", message["id"])
        },
    ];
    for distort in cases {
        let mcp = || distorted(Mcp::legacy("2025-06-18"), distort, None);
        over_streams(mcp, |wire, run| {
            assert_eq!((run.code(), run.stdout()), (7, ""), "{wire}: {run:?}");
            assert!(run.stderr().starts_with(INVALID), "{wire}: {run:?}");
        });
    }
}

/// It may be a log line about the answer, so the answer gets a moment to follow.
#[test]
fn an_answer_in_another_notation_is_reported_soon() {
    let distort: Distort = |line| line.replace('"', "'").replace("'ok'", "None");
    let mcp = || distorted(Mcp::legacy("2025-06-18"), distort, None);
    over_streams(mcp, |wire, run| {
        assert_eq!((run.code(), run.stdout()), (7, ""), "{wire}: {run:?}");
        assert!(run.stderr().starts_with(INVALID), "{wire}: {run:?}");
    });
}

/// The message is not wrong, it is the stream that broke.
#[test]
fn a_stream_that_ends_in_the_middle_of_a_message_is_a_lost_connection() {
    let mcp = || Arc::new(Mcp::legacy("2025-06-18").tools(json!([{"name": "t", "inputSchema": {}}])));
    // The beginning of the answer to a call.
    let half = |message: &Value, start: &str| {
        let is_call = message["method"] == "tools/call";
        is_call
            .then(|| format!("{start}\"jsonrpc\":\"2.0\",\"id\":{},\"result\":{{\"content\":[{{\"type", message["id"]))
    };
    let cause = "\n  it ended in the middle of a message, after: ";
    for start in ["{", "loading {", "{\n"] {
        let served = mcp();
        let server = StdioServer::start(move |process, event| {
            let ProcessEvent::Line(line) = event else { return };
            let message = serde_json::from_str(&line).unwrap();
            match half(&message, start) {
                None => play_actions(&served, process, served.handle(&message)),
                Some(text) => {
                    process.write(text);
                    process.exit(3);
                }
            }
        });
        let run = call(&server.target());
        run.exits(5).prints("").stderr_contains("mcpipe: error: the server process ended (exit status: 3)\n");
        run.stderr_contains(cause).stderr_contains("\"result\":{\"content\":[{\"type\n  the tool may have run\n");

        let (sandbox, served) = (Sandbox::new(), mcp());
        let path = sandbox.path().join("socket");
        sockets::serve_lines(&path, move |_, line, text| {
            let message = serde_json::from_str(text).unwrap();
            match half(&message, start) {
                None => play_actions(&served, line, served.handle(&message)),
                Some(text) => {
                    line.write(text.as_bytes());
                    line.hang_up();
                }
            }
        });
        let run = call(&format!("unix:{}", path.display()));
        run.exits(5).prints("").stderr_contains(cause);
        run.stderr_contains("[{\"type\n  the tool may have run, or may still be running\n");
    }
}

#[test]
fn half_a_message_in_a_complete_line_body_or_event_is_a_protocol_error() {
    let half: Distort = |line| line[..line.len() - 1].to_owned();
    let check = |wire: &str, run: Run| {
        assert_eq!((run.code(), run.stdout()), (7, ""), "{wire}: {run:?}");
        assert!(run.stderr().starts_with(INVALID), "{wire}: {run:?}");
        assert!(run.stderr().contains("\n  the tool may have run\n"), "the answer came: {wire}: {run:?}");
    };
    over_http(|| distorted(Mcp::legacy("2025-06-18"), half, None), half, check);
    let next: Distort = |line| format!("{}\nready", &line[..line.len() - 1]);
    over_streams(|| distorted(Mcp::legacy("2025-06-18"), next, None), check);
}

#[test]
fn an_answer_without_an_id_that_is_not_json_is_the_cause_of_the_time_out() {
    let distort: Distort = |_| r#"{"jsonrpc":"2.0","result":NaN}"#.to_owned();
    let server = distorted(Mcp::legacy("2025-06-18"), distort, None).stdio();
    let words = ["call", &server.target(), "t", "--timeout", "300ms"];
    Sandbox::new().mcpipe(words).run().exits(7).prints("").stderr_is(
        "mcpipe: error: the server's response is not valid JSON\n  \
         column 27: NaN is not allowed in JSON, near: {\"jsonrpc\":\"2.0\",\"result\":NaN}\n  \
         no response to tools/call within 300 ms\n  \
         the server printed on stdout, which is not a message: {\"jsonrpc\":\"2.0\",\"result\":NaN}\n  \
         the tool may have run, or may still be running\n\
         hint: use -v to see what it sent\n",
    );
}

#[test]
fn other_events_of_a_broken_stream_are_named_when_it_ends() {
    let mcp = Mcp::modern();
    let script = mcp.http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" => Reply::sse().write("data: ready\n\ndata: {\"a\": [1,]}\n\n"),
        _ => script(request),
    });
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=x"]).run();
    run.exits(7).stderr_contains("\n  event 1, column 1: expected value, near: ready\n");
}

#[test]
fn text_that_is_not_utf8_is_shown_with_a_warning() {
    const WARNING: &str =
        "mcpipe: warning: the server's output is not UTF-8; characters that cannot be read are shown as U+FFFD\n";
    let latin1 = |message: &Value| -> Vec<u8> {
        let text = message.to_string().replace("ok", "caf#").into_bytes();
        text.into_iter().map(|byte| if byte == b'#' { 0xe9 } else { byte }).collect()
    };
    let mcp = || Mcp::legacy("2025-06-18").on("tools/call", |call: &ClientMessage| call.text("ok"));
    let served = mcp();
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            for action in served.handle(&serde_json::from_str(&line).unwrap()) {
                if let ServerAction::Send(message) = action {
                    process.write([latin1(&message), b"\n".to_vec()].concat());
                }
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let echo = |target: &str| Sandbox::new().mcpipe(["call", target, "echo", "text=x"]).run();
    echo(&server.target()).exits(0).prints("caf\u{fffd}\n").stderr_is(WARNING);

    for (content_type, text, warning) in [
        ("application/json", "caf\u{fffd}\n", WARNING),
        ("application/json; charset=klingon", "caf\u{fffd}\n", WARNING),
        ("application/json; charset=iso-8859-1", "café\n", ""),
        ("text/event-stream; charset=ISO-8859-1", "café\n", ""),
        ("text/event-stream", "caf\u{fffd}\n", WARNING),
    ] {
        let script = mcp().http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| {
            if request.rpc_method() != "tools/call" {
                return script(request);
            }
            let result = json!({"content": [{"type": "text", "text": "ok"}]});
            let body = latin1(&json!({"jsonrpc": "2.0", "id": request.json()["id"], "result": result}));
            match content_type.starts_with("text/") {
                true => Reply::text(content_type, [b"data: ".to_vec(), body, b"\n\n".to_vec()].concat()),
                false => Reply::text(content_type, body),
            }
        });
        let run = echo(&server.url("/mcp"));
        assert_eq!((run.code(), run.stdout(), run.stderr()), (0, text, warning), "{content_type}");
    }
}

/// The server keeps the TCP connection open.
#[test]
fn a_close_frame_ends_the_connection_at_once() {
    for (code, reason, exit, words) in [
        (1000, "", 5, "the server closed the connection with 1000 (normal closure)\n"),
        (1011, "out of memory", 5, "the server closed the connection with 1011 (internal error)\n  out of memory\n"),
        (1008, "no tenant", 5, "the server closed the connection with 1008 (policy violation)\n  no tenant\n"),
        (1010, "", 5, "the server closed the connection with 1010 (extension missing)\n"),
        (3000, "", 4, "the server closed the connection with 3000 (unauthorized)\n"),
    ] {
        let mcp = Mcp::legacy("2025-06-18");
        let server = WebSocketServer::start(move |connection, event| {
            if let WebSocketEvent::Text(text) = event {
                let message: Value = serde_json::from_str(text).unwrap();
                match message["method"].as_str() {
                    Some("tools/call") => connection.send_close(code, reason),
                    _ => play_actions(&Arc::new(Mcp::legacy("2025-06-18")), connection, mcp.handle(&message)),
                }
            }
        });
        let run = Sandbox::new().mcpipe(["call", &server.url("/"), "echo", "text=x"]).run();
        run.exits(exit).prints("").stderr_contains(words);
        let events = server.wait_until_all_disconnected();
        let is_answered = events.iter().any(|(_, event)| matches!(event, WebSocketEvent::Close(..)));
        assert!(is_answered, "the close frame was not answered: {events:?}");
    }
}

/// A line without an end, on standard output.
#[test]
fn a_line_beyond_the_limit_is_reported_at_once() {
    let run = Sandbox::new().mcpipe(["list", "--", "sh", "-c", "head -c 300000000 /dev/zero; sleep 300"]).run();
    run.exits(7).prints("").stderr_contains(
        "mcpipe: error: the server sent a message that is too long\n  the limit is 256 MiB without a line break\n",
    );
}

/// Only its end is kept; half a gigabyte would show in the time.
#[test]
fn a_long_line_on_standard_error_is_shortened_to_its_end() {
    let script = "head -c 50000000 /dev/zero | tr '\\0' x >&2; echo THE END >&2";
    let run = Sandbox::new().mcpipe(["list", "-vv", "--", "sh", "-c", script]).run();
    run.exits(5).stderr_contains("xxxTHE END\n");
    assert!(run.stderr().len() < 200_000, "{} bytes of stderr", run.stderr().len());
}
