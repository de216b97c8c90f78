//! Sloppy, broken and malicious servers over HTTP: the era is detected safely, streams in any form are read, and nothing
//! hangs.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp_http::{LegacyHttpOptions, to_reply};
use crate::support::{Feed, HttpServer, Mcp, Reply, Request, Run, Sandbox};

fn echo(server: &HttpServer) -> Run {
    Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--timeout", "5s"]).run()
}

/// A legacy server that refuses the probe in this way.
fn refusing(probe: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> HttpServer {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    HttpServer::start(
        move |request| if request.header("mcp-method").is_some() { probe(request) } else { script(request) },
    )
}

/// Rejections that real servers send instead of a proper error all lead to the handshake.
#[test]
fn any_rejection_of_the_probe_leads_to_initialize() {
    let rpc = |code: i64, text: &str, id: Value| json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": text}});
    type Probe = Box<dyn Fn(&Request) -> Reply + Send + Sync>;
    let cases: Vec<(&str, Probe)> = vec![
        ("404 text", Box::new(|_| Reply::text("text/plain", "Invalid session ID").with_status(404))),
        ("405", Box::new(|_| Reply::status(405).header("Allow", "GET"))),
        ("400 empty", Box::new(|_| Reply::status(400))),
        ("400 text", Box::new(|_| Reply::text("text/plain", "Bad Request: session header required").with_status(400))),
        (
            "400 -32000, id null",
            Box::new(move |_| Reply::json(&rpc(-32000, "Unsupported protocol version", Value::Null)).with_status(400)),
        ),
        ("400 -32602", Box::new(move |request| Reply::json(&rpc(-32602, "bad", request.id())).with_status(400))),
        ("406", Box::new(|_| Reply::status(406))),
        ("415", Box::new(|_| Reply::status(415))),
        ("422", Box::new(|_| Reply::json(&json!({"detail": "x"})).with_status(422))),
        ("200 -32601", Box::new(move |request| Reply::json(&rpc(-32601, "Method not found", request.id())))),
        ("200 -32600", Box::new(move |request| Reply::json(&rpc(-32600, "Invalid Request", request.id())))),
        ("200 -32603 over a stream", Box::new(move |request| Reply::sse().event(&rpc(-32603, "boom", request.id())))),
        ("200 {}", Box::new(|request| Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "result": {}})))),
    ];
    for (name, probe) in cases {
        let server = refusing(probe);
        let run = echo(&server);
        assert!(run.code() == 0 && run.stdout() == "hi\n", "{name}: {run:?}\n{:?}", server.exchanges());
        assert!(run.stderr.is_empty(), "{name}: {run:?}");
    }
}

/// ERA-11: overload, failures and rejected credentials do not show a legacy server.
#[test]
fn an_error_is_not_taken_for_a_legacy_server() {
    for (status, code) in [(401, 4), (403, 4), (429, 5), (500, 5), (502, 5), (503, 5), (504, 5)] {
        let server = refusing(move |_| Reply::text("text/plain", "not now").with_status(status));
        let run = echo(&server);
        run.exits(code);
        assert!(!server.exchanges().contains(&"POST initialize".to_owned()), "{status}: {:?}", server.exchanges());
    }
}

/// A lenient legacy server may respond to the probe; the tool must not be called in the wrong era.
#[test]
fn an_unmarked_answer_does_not_make_a_server_modern() {
    let mcp = Arc::new(Mcp::legacy("2025-03-26"));
    let server = HttpServer::start(move |request| match (request.method.as_str(), request.rpc_method().as_str()) {
        ("POST", "initialize") => to_reply(&mcp, &request.json(), false).header("Mcp-Session-Id", "s"),
        ("POST", "notifications/initialized") => Reply::accepted(),
        ("POST", "tools/call") => {
            assert_eq!(request.header("mcp-session-id"), Some("s"), "the call comes within the session");
            to_reply(&mcp, &request.json(), false)
        }
        ("POST", _) => to_reply(&mcp, &request.json(), false),
        ("DELETE", _) => Reply::status(200),
        _ => Reply::status(405),
    });
    echo(&server).succeeds().prints("hi\n");
}

/// The response of a modern server, in the form of a stream that this makes of it.
fn streaming(stream: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> HttpServer {
    let script = Mcp::modern().http_script(LegacyHttpOptions::default());
    HttpServer::start(move |request| {
        if request.rpc_method() == "tools/call" {
            let content = json!([{"type": "text", "text": "hi"}]);
            let result = json!({"resultType": "complete", "content": content});
            return stream(&json!({"jsonrpc": "2.0", "id": request.id(), "result": result}));
        }
        script(request)
    })
}

#[test]
fn streams_in_any_form_are_read() {
    type Stream = fn(&Value) -> Reply;
    let cases: &[(&str, Stream)] = &[
        ("byte by byte", |message| Reply::sse().event(message).in_pieces(1)),
        ("CRLF", |message| Reply::sse().write(format!("event: message\r\ndata: {message}\r\n\r\n"))),
        ("CR", |message| Reply::sse().write(format!("event: message\rdata: {message}\r\r"))),
        ("CRLF, byte by byte", |message| Reply::sse().write(format!("data: {message}\r\n\r\n")).in_pieces(1)),
        ("a byte order mark", |message| Reply::sse().write(format!("\u{feff}data: {message}\n\n"))),
        ("comments", |message| Reply::sse().write(format!(": hello\n\n:\n: more\ndata: {message}\n: in it\n\n"))),
        ("no blank after the colon", |message| Reply::sse().write(format!("data:{message}\n\n"))),
        ("no event name", |message| Reply::sse().write(format!("data: {message}\n\n"))),
        ("id and retry", |message| Reply::sse().write(format!("id: 7\nretry: 10\ndata: {message}\n\n"))),
        ("a priming event", |message| Reply::sse().write(format!("id: 0\ndata:\n\ndata: {message}\n\n"))),
        ("unknown fields", |message| Reply::sse().write(format!("colour: red\nnothing\ndata: {message}\n\n"))),
        ("data over several lines", |message| {
            Reply::sse().write(format!("data: {}\n\n", format!("{message:#}").replace('\n', "\ndata: ")))
        }),
        ("events of other names before", |message| {
            Reply::sse().write(format!("event: ping\ndata: {{}}\n\nevent: message\ndata: {message}\n\n"))
        }),
        ("a charset", |message| {
            Reply::sse()
                .without_header("content-type")
                .header("content-type", "Text/Event-Stream; charset=utf-8")
                .event(message)
        }),
        ("until the connection closes", |message| Reply::sse().until_close().event(message)),
        ("held open after the answer", |message| Reply::sse().event(message).then_stall()),
        ("keep-alives in between", |message| {
            Reply::sse().write(":\n\n").pause(Duration::from_millis(100)).write(":\n\n").event(message)
        }),
        ("JSON with a charset", |message| {
            Reply::json(message)
                .without_header("content-type")
                .header("content-type", "application/json; charset=utf-8")
        }),
        ("JSON without a type", |message| Reply::json(message).without_header("content-type")),
        ("JSON in chunks", |message| Reply::json(message).chunked().in_pieces(3)),
        ("JSON with a byte order mark", |message| Reply::text("application/json", format!("\u{feff}{message}\n"))),
        ("JSON until the connection closes", |message| Reply::json(message).until_close()),
        ("JSON as text", |message| Reply::text("text/plain", format!("\u{feff}{message}\n"))),
        ("JSON of another type", |message| Reply::text("application/vnd.api+json", message.to_string())),
        ("JSON of an empty type", |message| Reply::text("", message.to_string())),
        ("JSON as events", |message| Reply::text("text/event-stream", format!("{message}\n"))),
        ("events as JSON", |message| Reply::text("application/json", format!("data: {message}\n\n"))),
        ("events as text", |message| Reply::text("text/plain", format!(": hello\r\n\r\ndata: {message}\n\n"))),
        ("events without a type", |message| Reply::sse().without_header("content-type").event(message)),
        ("an array", |message| Reply::json(&json!([{"jsonrpc": "2.0", "method": "notifications/x"}, message]))),
    ];
    for (name, stream) in cases {
        let server = streaming(stream);
        let run = echo(&server);
        assert!(run.code() == 0 && run.stdout() == "hi\n", "{name}: {run:?}");
        assert!(run.elapsed < Duration::from_secs(3), "{name}: {run:?}");
    }
}

/// Compressed without being requested, and as requested.
#[test]
fn compressed_bodies_are_read() {
    let server = streaming(|message| {
        Reply::text("application/json", gzip(&message.to_string())).header("Content-Encoding", "gzip")
    });
    echo(&server).succeeds().prints("hi\n");
}

/// gzip by the system's program, since the test needs no compressor of its own.
fn gzip(text: &str) -> Vec<u8> {
    let mut child = std::process::Command::new("gzip")
        .arg("-c")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap().stdout
}

#[test]
fn unusable_responses_fail_at_once() {
    type Stream = fn(&Value) -> Reply;
    let cases: &[(&str, Stream, i32)] = &[
        ("202 without a body", |_| Reply::accepted(), 7),
        ("204", |_| Reply::status(204), 7),
        ("an empty 200", |_| Reply::text("application/json", ""), 7),
        ("HTML", |_| Reply::text("text/html", "<html>Please log in</html>"), 7),
        ("half a message", |_| Reply::text("application/json", "{\"jsonrpc\":\"2.0\","), 7),
        ("a foreign id", |_| Reply::json(&json!({"jsonrpc": "2.0", "id": 4711, "result": {}})), 7),
        ("a stale id", |_| Reply::json(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})), 7),
        ("a stale id in a stream", |_| Reply::sse().event(&json!({"jsonrpc": "2.0", "id": 1, "result": {}})), 7),
        ("a stream without an answer", |_| Reply::sse().write(": nothing\n\n"), 5),
        ("a stream that breaks", |_| Reply::sse().write("data: {\"jsonrpc\"").then_disconnect(), 5),
        (
            "a body that breaks",
            |message| {
                let half = message.to_string()[..20].to_owned();
                Reply::raw(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n{half}"
                ))
            },
            5,
        ),
        ("no HTTP", |_| Reply::raw("SSH-2.0-OpenSSH_9.2\r\n"), 7),
        ("a cut connection", |_| Reply::disconnect(), 5),
        ("500", |_| Reply::text("text/plain", "boom").with_status(500), 5),
        ("a notification", |_| Reply::json(&json!({"jsonrpc": "2.0", "method": "notifications/x"})), 7),
        ("a modern stream with an ID that ends", |_| Reply::sse().write("id: 7\ndata:\n\n"), 5),
    ];
    for (name, stream, code) in cases {
        let server = streaming(stream);
        let run = echo(&server);
        // Waiting for it would make it 6.
        assert_eq!(run.code(), *code, "{name}: {run:?}");
        run.stderr_contains("mcpipe: error:").prints("");
        run.stderr_contains(if *name == "a stale id" { "the ID of another request" } else { "" });
        let calls = server.exchanges().iter().filter(|title| *title == "POST tools/call").count();
        assert_eq!(calls, 1, "{name}: a call is never sent twice silently");
    }
}

#[test]
fn redirects_do_not_send_secrets_to_other_hosts() {
    for status in [307, 308] {
        let script = Mcp::modern().http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.target.as_str() {
            "/old" => Reply::status(status).header("Location", "/mcp"),
            _ => script(request),
        });
        let words = ["call", &server.url("/old"), "echo", "text=hi", "-H", "X-Key: k"];
        Sandbox::new().mcpipe(words).run().exits(0).prints("hi\n");
        assert_eq!(server.requests().last().unwrap().header("x-key"), Some("k"), "the same origin may have them");
    }
    let other = HttpServer::start(|_| Reply::text("text/plain", "caught").with_status(200));
    let location = other.url("/mcp");
    let server = HttpServer::start(move |_| Reply::status(307).header("Location", &location));
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "-H", "X-Key: k", "--bearer-env", "T"];
    let run = Sandbox::new().mcpipe(words).env("T", "secret-token").run();
    assert_ne!(run.code(), 0, "{run:?}");
    run.hides("secret-token");
    for request in other.requests() {
        assert_eq!((request.header("x-key"), request.header("authorization")), (None, None), "{}", request.head);
    }
}

/// HTL-04: a session that the server forgot is replaced; the request, which was not executed, is repeated once.
#[test]
fn a_forgotten_session() {
    let forgets = |method: &'static str| {
        let script = Mcp::legacy("2025-11-25")
            .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
        let seen = std::sync::atomic::AtomicUsize::new(0);
        HttpServer::start(move |request| {
            if request.rpc_method() == method && seen.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                return Reply::text("text/plain", "Session not found").with_status(404);
            }
            script(request)
        })
    };
    let server = forgets("tools/list");
    Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--protocol", "legacy"]).run().exits(0);
    assert_eq!(server.exchanges().iter().filter(|title| *title == "POST initialize").count(), 2);

    let server = forgets("tools/call");
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(words).run();
    let calls = server.exchanges().iter().filter(|title| *title == "POST tools/call").count();
    run.succeeds().prints("hi\n");
    assert_eq!(calls, 2, "{:?}", server.exchanges());
    assert_eq!(server.exchanges().iter().filter(|title| *title == "POST initialize").count(), 2);
}

/// The stream for the server's own messages belongs to the session, and so does the position in it.
#[test]
fn a_session_that_is_opened_again_has_a_stream_of_its_own() {
    for is_open in [true, false] {
        let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
        let forgets = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let sessions = std::sync::atomic::AtomicUsize::new(0);
        let server = HttpServer::start({
            let forgets = forgets.clone();
            move |request| {
                if request.method == "GET" {
                    let stream = Reply::sse().write("id: ev-1\nretry: 30000\ndata:\n\n");
                    return if is_open { stream.then_stall() } else { stream };
                }
                if request.rpc_method() == "initialize" {
                    let session = format!("s{}", sessions.fetch_add(1, std::sync::atomic::Ordering::SeqCst));
                    return script(request).header("Mcp-Session-Id", &session);
                }
                if request.rpc_method() == "tools/call" && forgets.swap(false, std::sync::atomic::Ordering::SeqCst) {
                    return Reply::text("text/plain", "no such session").with_status(404);
                }
                script(&request.without_header("Mcp-Session-Id"))
            }
        });
        let sandbox = Sandbox::new();
        let words = ["call", &server.url("/mcp"), "--protocol", "legacy", "--elicit", "accept", "--batch", "-"];
        let mut batch = sandbox.mcpipe(words).stdin_open().start();
        let line = "{\"tool\": \"echo\", \"arguments\": {\"text\": \"hi\"}}\n";
        batch.write(line);
        server.wait_for("a stream", |request| request.method == "GET");
        server.wait_for("the first call", |request| request.rpc_method() == "tools/call");
        forgets.store(true, std::sync::atomic::Ordering::SeqCst);
        batch.write(line);
        let again = server.wait_for("a stream of the second session", |request| {
            request.method == "GET" && request.header("mcp-session-id") == Some("s1")
        });
        assert_eq!(again.header("last-event-id"), None);
        batch.end_stdin();
        batch.wait().exits(0);
    }
}

#[test]
fn a_session_behind_a_redirect_is_ended() {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let server = HttpServer::start(move |request| match request.target.as_str() {
        "/mcp" => Reply::status(307).header("Location", "/mcp/"),
        _ => script(request),
    });
    Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--protocol", "legacy"]).run().exits(0);
    let last = server.requests().pop().unwrap();
    assert_eq!(
        (last.method.as_str(), last.target.as_str(), last.header("mcp-session-id")),
        ("DELETE", "/mcp/", Some("s"))
    );
}

/// HTL-07: a broken stream with an id is resumed after the time that the server asked for.
#[test]
fn a_broken_stream_is_resumed_if_possible() {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let attempts = std::sync::atomic::AtomicUsize::new(0);
    let server = HttpServer::start(move |request| {
        if request.rpc_method() == "tools/call" {
            return Reply::sse().write("id: ev-1\nretry: 200\ndata:\n\n").then_disconnect();
        }
        if request.method == "GET" && request.header("last-event-id").is_some() {
            let attempt = attempts.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert_eq!(request.header("last-event-id"), Some(if attempt < 2 { "ev-1" } else { "ev-2" }));
            match attempt {
                0 => return Reply::status(503),
                1 => return Reply::sse().write("id: ev-2\ndata:\n\n").then_disconnect(),
                _ => {}
            }
            let result = json!({"content": [{"type": "text", "text": "resumed"}]});
            return Reply::sse().event(&json!({"jsonrpc": "2.0", "id": 3, "result": result}));
        }
        script(request)
    });
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "2025-11-25"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(0).prints("resumed\n");
    let requests = server.requests();
    let call = requests.iter().find(|request| request.rpc_method() == "tools/call").unwrap();
    let resumed = requests.iter().find(|request| request.header("last-event-id").is_some()).unwrap();
    assert!(resumed.at - call.at >= Duration::from_millis(190), "it waited as it was told");
    assert_eq!(resumed.header("accept"), Some("text/event-stream"));
    assert_eq!(resumed.header("mcp-protocol-version"), Some("2025-11-25"));
    assert_eq!(requests.iter().filter(|request| request.rpc_method() == "tools/call").count(), 1);
    // A server that does not resume it has not refused the call.
    for status in [405, 404, 400] {
        let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match (request.method.as_str(), request.rpc_method().as_str()) {
            ("GET", _) => Reply::status(status),
            (_, "tools/call") => Reply::sse().write("id: ev-1\nretry: 1\ndata:\n\n").then_disconnect(),
            _ => script(request),
        });
        let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "2025-11-25"];
        Sandbox::new().mcpipe(words).run().exits(5).prints("").stderr_contains("cannot resume it");
    }
}

/// A server may delay the head of its own stream until it has something to send.
#[test]
fn a_standalone_stream_that_says_nothing_does_not_block() {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let server =
        HttpServer::start(move |request| if request.method == "GET" { Reply::never() } else { script(request) });
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "legacy", "--elicit", "accept"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(0).prints("hi\n");
    assert!(run.elapsed < Duration::from_secs(3), "{run:?}");
}

#[test]
fn a_server_request_on_the_standalone_stream_is_answered() {
    let feed = Feed::default();
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions {
        session_id: Some("s"),
        get_stream: Some(feed.clone()),
        always_streams: false,
    });
    let server = HttpServer::start(move |request| {
        if request.rpc_method() == "tools/call" {
            let params = json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {
                "name": {"type": "string", "default": "nobody"}}}});
            feed.event(&json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params}));
            let answer = Feed::default();
            *ANSWER.lock().unwrap() = Some((answer.clone(), request.id()));
            return Reply::sse().feed(&answer);
        }
        if let (Some((answer, id)), "q") = (ANSWER.lock().unwrap().take(), request.id().as_str().unwrap_or_default()) {
            let text = request.json()["result"].to_string();
            let result = json!({"content": [{"type": "text", "text": text}]});
            answer.event(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
            answer.end();
            return Reply::accepted();
        }
        script(request)
    });
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "legacy", "--elicit", "accept"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(0).prints("{\"action\":\"accept\",\"content\":{\"name\":\"nobody\"}}\n");
}

/// The stream that the call waits on, and its id.
static ANSWER: std::sync::Mutex<Option<(Feed, Value)>> = std::sync::Mutex::new(None);

#[test]
fn http_sse_is_found_by_fallback() {
    // The URL of a legacy server only supports GET; the POSTs go to the URL of its first event.
    let server = Mcp::legacy("2024-11-05").sse();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.url("/sse"), "echo", "text=hi"]).run();
    run.succeeds().prints("hi\n");
    assert_eq!(sandbox.mcpipe(["list", &server.url("/sse"), "--info", "--json"]).run().json()["transport"], "sse");
}

#[test]
fn http_sse_does_not_send_secrets_elsewhere() {
    let other = HttpServer::start(|_| Reply::accepted());
    let endpoint = other.url("/messages");
    let server = HttpServer::start(move |request| match request.method.as_str() {
        "GET" => Reply::sse().write(format!("event: endpoint\ndata: {endpoint}\n\n")).then_stall(),
        _ => Reply::status(405),
    });
    let words = ["list", &server.url("/sse"), "--transport", "sse", "--bearer-env", "T", "--timeout", "2s"];
    let run = Sandbox::new().mcpipe(words).env("T", "secret-token").run();
    assert_ne!(run.code(), 0, "{run:?}");
    assert!(other.requests().is_empty(), "{:?}", other.requests());
}

/// A server that sends a banner on connecting: it may arrive before or after the request is written; in both cases the
/// error shows it, over both HTTP implementations (a file of certificate authorities selects the general one).
#[test]
fn a_server_that_sends_first_is_not_an_http_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let _ = socket.write_all(b"SSH-2.0-OpenSSH_9.2\r\n");
            std::thread::spawn(move || std::io::copy(&mut socket, &mut std::io::sink()));
        }
    });
    let authorities = concat!(env!("CARGO_MANIFEST_DIR"), "/src/transport/http/tests/pem/ca.pem");
    for way in [&[] as &[&str], &["--cacert", authorities]] {
        for _ in 0..15 {
            let sandbox = Sandbox::new();
            let run = sandbox.mcpipe(["list", &url, "--timeout", "5s"]).args(way.iter().copied()).run();
            let told = ["it sent data before the request", "invalid HTTP version parsed"]
                .map(|why| format!("mcpipe: error: {url} is not an HTTP server\n  {why}\nhint: check the port\n"));
            run.exits(7).prints("");
            assert!(told.iter().any(|told| told == run.stderr()), "{way:?} {run:?}");
        }
    }
}

/// A retry would not help, and the connection was not lost.
#[test]
fn an_invalid_http_response_is_reported() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    for (rest, why) in [
        ("Content-Length: 1\r\nContent-Length: 2\r\n".to_owned(), "invalid content-length parsed"),
        (format!("X-Huge: {}\r\n", "x".repeat(600_000)), "message head is too large"),
    ] {
        let server = HttpServer::start(move |_| Reply::raw(format!("{head}{rest}\r\n{{}}")));
        let url = server.url("/mcp");
        let run = Sandbox::new().mcpipe(["list", &url]).run();
        run.exits(7).prints("");
        assert_eq!(run.stderr(), format!("mcpipe: error: invalid HTTP response from {url}\n  {why}\n"));
        assert_eq!(server.requests().len(), 1);
    }
}

/// What `python3 -m http.server` answers to POST, and a page that was not found.
#[test]
fn a_web_server_without_mcp_gets_a_hint_and_only_the_title_of_its_page() {
    let page = |status, head: &'static str| {
        let page = format!("<!DOCTYPE HTML>\n<html>\n<head>{head}</head><body>long</body>");
        HttpServer::start(move |_| Reply::text("text/html", page.clone()).with_status(status))
    };
    let error = |server: &HttpServer| {
        let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--retries", "0"]).run();
        run.exits(5).hides("DOCTYPE").stderr().replace(&server.url("/mcp"), "URL")
    };
    assert_eq!(
        error(&page(501, "<title>Error response</title>")),
        "mcpipe: error: the server failed (HTTP 501)\n  response: Error response\n\
         hint: check that the URL is that of an MCP server\n"
    );
    assert_eq!(
        error(&page(404, "")),
        "mcpipe: error: no MCP server at URL (HTTP 404)\n\
         hint: check the path of the URL; servers often listen at /mcp or /sse\n"
    );
}

/// The status is known, whatever follows.
#[test]
fn an_error_response_that_goes_on_is_ended() {
    let script = Mcp::modern().http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| {
        if request.rpc_method() != "tools/call" {
            return script(request);
        }
        let start = Reply::sse().with_status(503).write("data: busy\n\n");
        (0..20).fold(start, |reply, _| reply.write(": ping\n\n").pause(Duration::from_secs(1)))
    });
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--timeout", "12s", "--retries", "0"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(5).prints("").stderr_contains("the server failed (HTTP 503)\n");
}
