//! The exact bytes and headers that go out: one call in each revision, over stdio and over HTTP.

use expect_test::{Expect, expect};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::stdio::ServerProcessLog;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

/// Everything the client wrote to a server's standard input.
fn stdin_of(server: &crate::support::StdioServer) -> String {
    let ServerProcessLog { stdin, .. } = server.single_process();
    steady(&String::from_utf8(stdin).unwrap())
}

/// What is ours to change at each release is not part of the promise.
fn steady(text: &str) -> String {
    text.replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"VERSION\"")
        .replace(&format!("mcpipe/{}", env!("CARGO_PKG_VERSION")), "mcpipe/VERSION")
}

fn stdio(server: Mcp, pin: &str, expected: Expect) {
    let server = server.stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "add", "a=1", "b=2", "--protocol", pin]).run();
    run.succeeds().prints("3\n");
    expected.assert_eq(&stdin_of(&server));
}

/// Requests as they were on the wire, headers in their order; the port is left out.
fn requests_of(server: &HttpServer) -> String {
    let port = server.address().port().to_string();
    let one = |request: crate::support::Request| {
        let body = if request.body.is_empty() { String::new() } else { format!("{}\n", request.text()) };
        format!("{}{body}\n", request.head.replace("\r\n", "\n").trim_end().to_owned() + "\n")
    };
    let text: String = server.requests().into_iter().map(one).collect();
    let text = text.replace(&port, "PORT");
    // The length says nothing that the body does not.
    let lines: Vec<&str> =
        text.lines().filter(|line| !line.to_ascii_lowercase().starts_with("content-length:")).collect();
    steady(&lines.join("\n"))
}

fn http(server: Mcp, behave: LegacyHttpOptions, pin: &str, expected: Expect) {
    let server = server.http_as(behave);
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "add", "a=1", "b=2", "--protocol", pin]).run();
    run.succeeds().prints("3\n");
    assert_eq!(server.connections(), 1, "one connection does");
    expected.assert_eq(&requests_of(&server));
}

fn session() -> LegacyHttpOptions {
    LegacyHttpOptions { session_id: Some("s-1"), ..LegacyHttpOptions::default() }
}

#[test]
fn stdio_2024_11_05() {
    stdio(
        Mcp::legacy("2024-11-05"),
        "2024-11-05",
        expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2024-11-05","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}
        {"jsonrpc":"2.0","method":"notifications/initialized"}
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}
    "#]],
    );
}

#[test]
fn stdio_2025_03_26() {
    stdio(
        Mcp::legacy("2025-03-26"),
        "2025-03-26",
        expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}
        {"jsonrpc":"2.0","method":"notifications/initialized"}
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}
    "#]],
    );
}

#[test]
fn stdio_2025_06_18() {
    stdio(
        Mcp::legacy("2025-06-18"),
        "2025-06-18",
        expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}
        {"jsonrpc":"2.0","method":"notifications/initialized"}
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}
    "#]],
    );
}

#[test]
fn stdio_2025_11_25() {
    stdio(
        Mcp::legacy("2025-11-25"),
        "2025-11-25",
        expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}
        {"jsonrpc":"2.0","method":"notifications/initialized"}
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}
    "#]],
    );
}

#[test]
fn stdio_2026_07_28() {
    stdio(
        Mcp::modern(),
        "2026-07-28",
        expect![[r#"
            {"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{}}}}
            {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":2,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}
        "#]],
    );
}

#[test]
fn http_2025_03_26() {
    http(
        Mcp::legacy("2025-03-26"),
        session(),
        "2025-03-26",
        expect![[r#"
        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","method":"notifications/initialized"}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}

        DELETE /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        mcp-session-id: s-1
        accept: */*
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
    "#]],
    );
}

#[test]
fn http_2025_06_18() {
    http(
        Mcp::legacy("2025-06-18"),
        session(),
        "2025-06-18",
        expect![[r#"
        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        mcp-protocol-version: 2025-06-18
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","method":"notifications/initialized"}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        mcp-protocol-version: 2025-06-18
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        mcp-protocol-version: 2025-06-18
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}

        DELETE /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        mcp-session-id: s-1
        mcp-protocol-version: 2025-06-18
        accept: */*
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
    "#]],
    );
}

#[test]
fn http_2025_11_25() {
    http(
        Mcp::legacy("2025-11-25"),
        session(),
        "2025-11-25",
        expect![[r#"
        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        mcp-protocol-version: 2025-11-25
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","method":"notifications/initialized"}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        mcp-protocol-version: 2025-11-25
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}

        POST /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        mcp-session-id: s-1
        mcp-protocol-version: 2025-11-25
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}

        DELETE /mcp HTTP/1.1
        user-agent: mcpipe/VERSION
        mcp-session-id: s-1
        mcp-protocol-version: 2025-11-25
        accept: */*
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
    "#]],
    );
}

#[test]
fn http_2026_07_28() {
    http(
        Mcp::modern(),
        LegacyHttpOptions::default(),
        "2026-07-28",
        expect![[r#"
            POST /mcp HTTP/1.1
            user-agent: mcpipe/VERSION
            accept: application/json, text/event-stream
            content-type: application/json
            mcp-protocol-version: 2026-07-28
            mcp-method: tools/list
            accept-encoding: zstd,gzip,br
            host: 127.0.0.1:PORT
            {"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{}}}}

            POST /mcp HTTP/1.1
            user-agent: mcpipe/VERSION
            accept: application/json, text/event-stream
            content-type: application/json
            mcp-protocol-version: 2026-07-28
            mcp-method: tools/call
            mcp-name: add
            accept-encoding: zstd,gzip,br
            host: 127.0.0.1:PORT
            {"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":2,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}
        "#]],
    );
}

#[test]
fn http_sse_2024_11_05() {
    let server = Mcp::legacy("2024-11-05").sse();
    let run = Sandbox::new().mcpipe(["call", &server.url("/sse"), "add", "a=1", "b=2", "--transport", "sse"]).run();
    run.succeeds().prints("3\n");
    expect![[r#"
        GET /sse HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: text/event-stream
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT

        POST /messages?session=7 HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}

        POST /messages?session=7 HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","method":"notifications/initialized"}

        POST /messages?session=7 HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}

        POST /messages?session=7 HTTP/1.1
        user-agent: mcpipe/VERSION
        accept: application/json, text/event-stream
        content-type: application/json
        accept-encoding: zstd,gzip,br
        host: 127.0.0.1:PORT
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"add","arguments":{"a":1,"b":2},"_meta":{"progressToken":3}}}
    "#]].assert_eq(&requests_of(&server));
}

/// A known server costs the fewest round trips that its era allows.
#[test]
fn the_cached_era_saves_round_trips() {
    let sandbox = Sandbox::new();
    let modern = Mcp::modern().on("tools/list", |call| {
        let tools = crate::support::mcp::tools();
        call.result(serde_json::json!({"tools": tools, "ttlMs": 600_000, "cacheScope": "private"}))
    });
    let modern = modern.http();
    let call = |url: &str| sandbox.mcpipe(["call", url, "echo", "text=hi"]).run();
    call(&modern.url("/mcp")).succeeds().prints("hi\n");
    assert_eq!(modern.exchanges(), ["POST tools/list", "POST tools/call"]);
    call(&modern.url("/mcp")).succeeds().prints("hi\n");
    assert_eq!(modern.exchanges()[2..], ["POST tools/call"], "a known modern server costs one request");

    let legacy = Mcp::legacy("2025-11-25").http();
    call(&legacy.url("/mcp")).succeeds().prints("hi\n");
    let first = ["POST tools/list", "POST initialize", "POST notifications/initialized", "POST tools/list"];
    assert_eq!(legacy.exchanges(), [&first[..], &["POST tools/call", "DELETE"]].concat());
    call(&legacy.url("/mcp")).succeeds().prints("hi\n");
    let again = ["POST initialize", "POST notifications/initialized", "POST tools/call", "DELETE"];
    assert_eq!(legacy.exchanges()[6..], again, "a known legacy server is not probed");
}

/// Servers register tools when `notifications/initialized` arrives, once they know what the client supports. Over HTTP
/// nothing keeps two requests in order but the response to the first.
#[test]
fn the_first_request_follows_the_response_to_initialized_over_http() {
    let good = Mcp::legacy("2025-11-25").http_script(session());
    let (is_registered, early) = (std::sync::Mutex::new(true), std::sync::Condvar::new());
    let server = HttpServer::start(move |request| {
        let mut ready = is_registered.lock().unwrap();
        match request.rpc_method().as_str() {
            "initialize" => *ready = false,
            "notifications/initialized" => {
                let wait = std::time::Duration::from_millis(200);
                (ready, _) = early.wait_timeout(ready, wait).unwrap();
                *ready = true;
            }
            "tools/list" | "tools/call" if !*ready => {
                early.notify_all();
                let error = serde_json::json!({"code": -32602, "message": "Tool echo not found"});
                return Reply::json(&serde_json::json!({"jsonrpc": "2.0", "id": request.id(), "error": error}));
            }
            _ => {}
        }
        drop(ready);
        good(request)
    });
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi"]).run().succeeds().prints("hi\n");
    }
}

#[test]
fn no_cache_probes_again() {
    let sandbox = Sandbox::new();
    let server = Mcp::modern().http();
    for _ in 0..2 {
        sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--no-cache"]).run().succeeds();
    }
    assert_eq!(server.exchanges(), ["POST tools/list", "POST tools/call", "POST tools/list", "POST tools/call"]);
    let cache = sandbox.path().join("home/.cache");
    assert!(!cache.exists(), "nothing is kept either");
}

/// `Mcp-Param-*` mirrors annotated parameters (HTM-03 to HTM-05).
#[test]
fn annotated_parameters_become_headers() {
    let tool = serde_json::json!({"name": "where", "inputSchema": {"type": "object", "properties": {
        "region": {"type": "string", "x-mcp-header": "Region"},
        "count": {"type": "integer", "x-mcp-header": "Count"},
        "dry": {"type": "boolean", "x-mcp-header": "Dry"},
        "umlaut": {"type": "string", "x-mcp-header": "Umlaut"},
        "edge": {"type": "string", "x-mcp-header": "Edge"},
        "empty": {"type": "string", "x-mcp-header": "Empty"},
        "absent": {"type": "string", "x-mcp-header": "Absent"},
        "plain": {"type": "string"},
    }}});
    let server = Mcp::modern().tools(serde_json::json!([tool])).on("tools/call", |call| call.text("here")).http();
    let words = ["region=eu west", "count=7", "dry=true", "umlaut=ä", "edge= x", "empty=", "plain=p"];
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "where"]).args(words).run();
    run.succeeds().prints("here\n");
    let request = server.requests().pop().unwrap();
    let sent = |name: &str| request.header(&format!("mcp-param-{name}"));
    assert_eq!(sent("region"), Some("eu west"));
    assert_eq!(sent("count"), Some("7"));
    assert_eq!(sent("dry"), Some("true"));
    assert_eq!(sent("umlaut"), Some("=?base64?w6Q=?="));
    assert_eq!(sent("edge"), Some("=?base64?IHg=?="));
    assert_eq!(sent("empty"), Some(""));
    assert_eq!((sent("absent"), sent("plain")), (None, None));
}
