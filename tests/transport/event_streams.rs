//! Event streams that break, end early or carry server requests: what is retried, what is not, and how long.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{ClientMessage, Feed, HttpServer, Mcp, Reply, Sandbox, ServerAction};

type StreamScript = fn() -> Reply;

/// A stream that breaks, one that ends normally, and one that breaks within a message.
const EARLY: [StreamScript; 3] = [
    || Reply::sse().write(": soon\n\n").then_disconnect(),
    || Reply::sse().write(": soon\n\n"),
    || Reply::sse().write("data: {\"jsonrpc\":\"2.0\",").then_disconnect(),
];

/// A server whose first response to this method is such a stream.
fn server_with_early_end(mcp: Mcp, method: &'static str, stream: StreamScript) -> HttpServer {
    let (good, count) = (
        mcp.http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() }),
        AtomicUsize::new(0),
    );
    HttpServer::start(move |request| {
        // The era probe of a legacy server has no such stream.
        let ours =
            request.rpc_method() == method && (request.header("mcp-session-id").is_some() || method_is_modern(request));
        if ours && count.fetch_add(1, Ordering::SeqCst) == 0 { stream() } else { good(request) }
    })
}

fn method_is_modern(request: &crate::support::Request) -> bool {
    request.header("mcp-method").is_some()
}

fn count(server: &HttpServer, title: &str) -> usize {
    server.exchanges().iter().filter(|one| *one == title).count()
}

#[test]
fn a_read_only_request_is_retried_after_its_stream_broke() {
    for stream in EARLY {
        let server = server_with_early_end(Mcp::modern(), "tools/list", stream);
        let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--json"]).run();
        assert_eq!(run.succeeds().json()["tools"].as_array().unwrap().len(), 5);
        assert_eq!(count(&server, "POST tools/list"), 2);

        for pin in ["2026-07-28", "2025-11-25"] {
            for (words, method) in
                [(&["read", "demo://hello"][..], "resources/read"), (&["prompt", "greet"], "prompts/get")]
            {
                let mcp = if pin == "2026-07-28" { Mcp::modern() } else { Mcp::legacy("2025-11-25") };
                let server = server_with_early_end(mcp, method, stream);
                let run = Sandbox::new().mcpipe([words[0], &server.url("/mcp")]).args(&words[1..]);
                let run = if words[0] == "prompt" { run.arg("who=you") } else { run };
                let run = run.args(["--protocol", pin, "-v"]).run();
                run.exits(0)
                    .stderr_contains(&format!("the connection was lost: trying {method} again in 0."))
                    .stderr_contains("(1 of 2)");
                assert_eq!(count(&server, &format!("POST {method}")), 2, "{:?}", server.exchanges());
            }
        }
    }
    // Retries are limited, and can be disabled.
    let script = Mcp::modern().http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/list" => EARLY[0](),
        _ => script(request),
    });
    Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run().exits(5).stderr_contains("broke before the response");
    assert_eq!(count(&server, "POST tools/list"), 3);
    Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--retries", "0"]).run().exits(5);
    assert_eq!(count(&server, "POST tools/list"), 4);
}

/// A tool call is not retried: it may have been executed.
#[test]
fn a_call_is_not_retried_after_its_stream_broke() {
    for stream in EARLY {
        for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
            for words in [&[][..], &["--retries", "3"], &["--wait", "2s"], &["--no-validate"]] {
                let pin = mcp.revision;
                let mcp = if mcp.modern { Mcp::modern() } else { Mcp::legacy("2025-11-25") };
                let server = server_with_early_end(mcp, "tools/call", stream);
                let call = ["call", &server.url("/mcp"), "add", "a:=1", "b:=2", "--protocol", pin];
                let run = Sandbox::new().mcpipe(call).args(words.iter().copied()).run();
                run.exits(5).prints("").stderr_contains("before the response");
                assert_eq!(count(&server, "POST tools/call"), 1, "{pin} {words:?}: {:?}", server.exchanges());
            }
        }
    }
}

/// The same over HTTP+SSE, where the stream is the connection.
#[test]
fn a_lost_http_sse_connection_is_reopened_for_read_only_requests() {
    let start = |method: &'static str| {
        let (mcp, lost, feed) = (Mcp::legacy("2024-11-05"), AtomicUsize::new(0), Mutex::new(Feed::default()));
        HttpServer::start(move |request| match (request.method.as_str(), request.target.as_str()) {
            ("GET", "/sse") => {
                let fresh = Feed::default();
                *feed.lock().unwrap() = fresh.clone();
                Reply::sse().write("event: endpoint\ndata: /messages\n\n").feed(&fresh)
            }
            ("POST", "/messages") => {
                let feed = feed.lock().unwrap().clone();
                if request.rpc_method() == method && lost.fetch_add(1, Ordering::SeqCst) == 0 {
                    feed.end();
                } else {
                    for out in mcp.handle(&request.json()) {
                        if let ServerAction::Send(message) = out {
                            feed.event(&message);
                        }
                    }
                }
                Reply::accepted()
            }
            _ => Reply::status(405),
        })
    };
    let server = start("tools/list");
    let run = Sandbox::new().mcpipe(["list", &server.url("/sse"), "--transport", "sse", "--json"]).run();
    assert_eq!(run.succeeds().json()["tools"].as_array().unwrap().len(), 5);
    assert_eq!((count(&server, "POST tools/list"), count(&server, "GET")), (2, 2));

    let server = start("tools/call");
    let words = ["call", &server.url("/sse"), "echo", "text=x", "--transport", "sse", "--retries", "3"];
    Sandbox::new().mcpipe(words).args(["--no-validate"]).run().exits(5).prints("").stderr_contains("ended");
    assert_eq!(count(&server, "POST tools/call"), 1);
}

/// HTL-08: the client waits as long as the server asks before it resumes the stream, within the time limit of the
/// request.
#[test]
fn a_long_pause_requested_by_the_server_is_limited_by_the_timeout() {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" => Reply::sse().write("id: ev-1\nretry: 3600000\ndata:\n\n").then_disconnect(),
        _ => script(request),
    });
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "2025-11-25", "--timeout", "1s"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(6).prints("").stderr_contains("no response to tools/call within 1 s");
    assert!(run.elapsed < Duration::from_secs(5), "{run:?}");
    assert!(!server.requests().iter().any(|request| request.header("last-event-id").is_some()));
}

/// HTL-08: a stream that brings nothing is opened again less and less often, however short the server's `retry` is.
#[test]
fn a_stream_that_ends_at_once_is_not_opened_in_a_loop() {
    let slow = |call: &ClientMessage| {
        let mut all = vec![ServerAction::Pause(Duration::from_millis(1500))];
        all.extend(call.text("late"));
        all
    };
    // The second one brings an event without a message each time.
    for stream in ["retry: 0\n\n", "id: 1\nretry: 0\ndata:\n\n"] {
        let script = Mcp::legacy("2025-11-25").on("tools/call", slow).http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.method.as_str() {
            "GET" => Reply::sse().write(stream),
            _ => script(request),
        });
        let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "legacy", "--root", "."];
        Sandbox::new().mcpipe(words).run().exits(0).prints("late\n");
        let opened = count(&server, "GET");
        assert!((2..=40).contains(&opened), "opened {opened} times");
    }
}

/// HTL-10: a server request in a response stream, or on the server's own stream, is answered by a separate POST.
#[test]
fn a_server_request_on_a_stream_is_answered_by_a_post() {
    let ask = |id: &str, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method});
    let feed = Feed::default();
    let own = feed.clone();
    let asks = move |call: &ClientMessage| {
        own.event(&ask("on its own", "ping"));
        let id = call.id();
        let then = move |answer: Value| {
            let text = answer["result"]["roots"][0]["uri"].as_str().unwrap().to_owned();
            let result = json!({"content": [{"type": "text", "text": text}]});
            let answer = json!({"jsonrpc": "2.0", "id": id, "result": result});
            // Time for the other stream.
            vec![ServerAction::Pause(Duration::from_millis(300)), ServerAction::Send(answer)]
        };
        vec![
            ServerAction::Send(ask("unknown", "fashion/advice")),
            ServerAction::Request(ask("in its course", "roots/list"), Box::new(then)),
        ]
    };
    let behave = LegacyHttpOptions { session_id: Some("s"), get_stream: Some(feed), always_streams: false };
    let server = Mcp::legacy("2025-11-25").on("tools/call", asks).http_as(behave);
    let sandbox = Sandbox::new();
    let words = ["call", &server.url("/mcp"), "fail", "--root", ".", "--protocol", "2025-11-25"];
    let run = sandbox.mcpipe(words).run();
    let root = format!("file://{}", sandbox.work().canonicalize().unwrap().display());
    run.exits(0).prints(&format!("{root}\n"));
    let pong = server.wait_for("the answer on its own stream", |request| request.json()["id"] == "on its own");
    assert_eq!(pong.json(), json!({"jsonrpc": "2.0", "id": "on its own", "result": {}}));
    let answers: Vec<_> = server.requests().into_iter().filter(|request| request.title() == "POST answer").collect();
    assert_eq!(answers.len(), 3, "{:?}", server.exchanges());
    for answer in &answers {
        assert_eq!(answer.header("mcp-session-id"), Some("s"));
        assert_eq!(answer.header("mcp-protocol-version"), Some("2025-11-25"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("accept"), Some("application/json, text/event-stream"));
    }
    let of = |id: &str| answers.iter().find(|answer| answer.json()["id"] == id).unwrap().json();
    assert_eq!(of("in its course")["result"]["roots"][0]["uri"], Value::from(root));
    assert_eq!(of("unknown")["error"]["code"], -32601);
}
