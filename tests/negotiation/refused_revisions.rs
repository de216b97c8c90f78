//! `initialize` is rejected because of its revision: another one is tried; and the message if none is accepted.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Request, Sandbox, StdioServer};

/// The offered revisions, in order.
fn offered(server: &HttpServer) -> Vec<String> {
    let requests = server.requests();
    let initialize = requests.iter().filter(|request| request.rpc_method() == "initialize");
    initialize.map(|request| request.json()["params"]["protocolVersion"].as_str().unwrap().to_owned()).collect()
}

/// A server of 2025-03-26 that rejects any other revision.
fn strict(refusal: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> HttpServer {
    let script = Mcp::legacy("2025-03-26").http_script(LegacyHttpOptions::default());
    HttpServer::start(move |request| match request.rpc_method().as_str() {
        "initialize" if request.json()["params"]["protocolVersion"] != "2025-03-26" => refusal(request),
        _ => script(request),
    })
}

fn error(request: &Request, code: i64, message: &str, data: Value) -> Reply {
    let mut error = json!({"code": code, "message": message});
    if !data.is_null() {
        error["data"] = data;
    }
    Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "error": error}))
}

#[test]
fn the_revision_that_the_refusal_names_is_offered_next() {
    type Refusal = fn(&Request) -> Reply;
    let cases: &[(&str, Refusal)] = &[
        ("data", |request| {
            error(request, -32602, "Unsupported protocol version", json!({"supported": ["2025-03-26"]}))
        }),
        ("message", |request| error(request, -32000, "Bad version 2025-11-25 (supported: 2025-03-26)", Value::Null)),
        ("data as text", |request| error(request, -32600, "Bad Request", json!("use 2025-03-26"))),
        ("400", |request| error(request, -32000, "supported versions: 2025-03-26", Value::Null).with_status(400)),
        ("text", |_| Reply::text("text/plain", "Unsupported version (supported: 2025-03-26)").with_status(400)),
    ];
    for (name, refusal) in cases {
        let server = strict(refusal);
        let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=hi"]).run();
        assert!(run.code() == 0 && run.stdout() == "hi\n", "{name}: {run:?}");
        assert_eq!(offered(&server), ["2025-11-25", "2025-03-26"], "{name}");
    }
}

#[test]
fn the_next_older_revision_is_offered_if_the_refusal_names_none() {
    type Refusal = fn(&Request) -> Reply;
    let cases: &[(&str, Refusal)] = &[
        ("-32602", |request| error(request, -32602, "Unsupported protocol version", Value::Null)),
        ("-32000", |request| error(request, -32000, "Unsupported protocol version", Value::Null).with_status(400)),
        ("the offered one", |request| {
            let offer = request.json()["params"]["protocolVersion"].as_str().unwrap().to_owned();
            error(request, -32600, &format!("Unsupported protocol version: {offer}"), json!({"requested": offer}))
        }),
        ("text", |_| Reply::text("text/plain", "Bad Request: Unsupported protocol version").with_status(400)),
        ("400 without words", |_| Reply::status(400)),
    ];
    for (name, refusal) in cases {
        for options in [&[][..], &["--protocol", "legacy"]] {
            let server = strict(refusal);
            let url = server.url("/mcp");
            let run = Sandbox::new().mcpipe(["call", &url, "echo", "text=hi"]).args(options.to_vec()).run();
            assert!(run.code() == 0 && run.stdout() == "hi\n", "{name}: {run:?}");
            assert_eq!(offered(&server), ["2025-11-25", "2025-06-18", "2025-03-26"], "{name}");
        }
    }
}

#[test]
fn the_last_offer_is_used_if_the_server_names_no_revision() {
    let script = Mcp::legacy("2025-06-18").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "initialize" if request.json()["params"]["protocolVersion"] == "2025-06-18" => {
            let result = json!({"capabilities": {"tools": {}}, "serverInfo": {"name": "fake", "version": "1"}});
            Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "result": result}))
        }
        "initialize" => error(request, -32602, "Unsupported protocol version", Value::Null),
        _ => script(request),
    });
    let args = ["call", &server.url("/mcp"), "echo", "text=hi", "--protocol", "legacy"];
    Sandbox::new().mcpipe(args).run().succeeds().prints("hi\n");
    let call = server.requests().into_iter().find(|request| request.rpc_method() == "tools/call").unwrap();
    assert_eq!(call.header("mcp-protocol-version"), Some("2025-06-18"));
}

#[test]
fn an_older_revision_is_offered_over_stdio_too() {
    let legacy = Arc::new(Mcp::legacy("2024-11-05"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            let is_new = message["method"] == "initialize" && message["params"]["protocolVersion"] != "2024-11-05";
            if is_new {
                let error = json!({"code": -32602, "message": "Unsupported protocol version"});
                process.send(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
            } else {
                play_actions(&legacy, process, legacy.handle(&message));
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi"]).run().succeeds().prints("hi\n");
    let methods = server.single_process().methods();
    assert_eq!(methods.iter().filter(|method| *method == "initialize").count(), 4, "{methods:?}");
}

#[test]
fn a_server_that_refuses_all_revisions_is_an_error_with_a_hint() {
    type Refusal = fn(&Request) -> Reply;
    let refuses: [(Refusal, &str); 3] = [
        (
            |request| error(request, -32602, "Unsupported protocol version", Value::Null),
            "error: the server refused initialize: Unsupported protocol version (code -32602)\n",
        ),
        (
            |request| error(request, -32000, "only 2023-01-01 is supported", Value::Null).with_status(400),
            "error: the server refused initialize: only 2023-01-01 is supported (code -32000)\n",
        ),
        (
            |_| Reply::text("text/plain", "Unsupported protocol version").with_status(400),
            "error: the server refused initialize (HTTP 400)\n  response: Unsupported protocol version\n",
        ),
    ];
    for (refusal, message) in refuses {
        let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
            "initialize" => refusal(request),
            _ if request.method == "GET" => Reply::status(405),
            _ => Reply::text("text/plain", "Bad Request").with_status(400),
        });
        let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
        run.exits(7).prints("").stderr_contains(message);
        run.stderr_contains("  mcpipe offered 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25\n");
        run.stderr_contains("hint: if you know which revision it supports, name it: --protocol REVISION\n");
        assert_eq!(offered(&server), ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]);
    }
}

#[test]
fn a_pinned_revision_is_the_only_one_offered() {
    let server = strict(|request| error(request, -32602, "supported: 2025-03-26", Value::Null));
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--protocol", "2025-06-18"]).run();
    run.exits(7)
        .prints("")
        .stderr_contains("error: the server refused initialize: supported: 2025-03-26 (code -32602)\n")
        .stderr_contains("  it may not support 2025-06-18, and no other revision is allowed\n")
        .stderr_contains("hint: omit --protocol: mcpipe finds out which revision the server supports\n");
    assert_eq!(offered(&server), ["2025-06-18"]);
}
