//! A large message is held once: neither its parts nor what is only printed is copied.

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

const SIZE: usize = 16 << 20;
/// What a run takes with a small message: the binary of the tests.
const BASE: u64 = 32 << 20;

/// A server whose tool and resource are a text with escapes.
fn server() -> Mcp {
    let line = "a line with \"quotes\" of a long text that a server sends at once ....................\n";
    let text = line.repeat(SIZE / (line.len() + 3));
    let resource = text.clone();
    Mcp::legacy("2025-11-25")
        .on("tools/call", move |call| call.text(&text))
        .on("resources/read", move |call| call.result(json!({"contents": [{"uri": "test://a", "text": resource}]})))
}

/// Runs this and checks how much memory it takes: at most one and a half times the message.
#[track_caller]
fn runs_in_bounds(target: &str, words: &[&str]) {
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe([words[0], target]).args(words[1..].to_vec()).timeout(std::time::Duration::from_secs(60));
    let (run, peak) = run.start().wait_measuring_memory();
    run.exits(0);
    let message = (SIZE as u64).max(run.stdout.len() as u64);
    let limit = BASE + message + message / 2;
    assert!(peak < limit, "{words:?} at {target}: {} MiB of at most {} were used", peak >> 20, limit >> 20);
}

#[test]
fn a_large_result_over_stdio_takes_one_and_a_half_times_its_size() {
    let server = server().stdio();
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi"]);
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi", "--json"]);
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi", "-v"]);
}

#[test]
fn a_large_resource_over_stdio_takes_one_and_a_half_times_its_size() {
    let server = server().stdio();
    runs_in_bounds(&server.target(), &["read", "test://a"]);
    runs_in_bounds(&server.target(), &["read", "test://a", "-o", "file"]);
    runs_in_bounds(&server.target(), &["read", "test://a", "--save", "files"]);
}

#[test]
fn a_large_blob_takes_one_and_a_half_times_its_size() {
    let blob = "QUJD".repeat(SIZE / 4);
    let image = json!({"content": [{"type": "image", "mimeType": "image/png", "data": blob}]});
    let contents = json!({"contents": [{"uri": "test://a", "mimeType": "image/png", "blob": blob}]});
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", move |call| call.result(image.clone()))
        .on("resources/read", move |call| call.result(contents.clone()))
        .stdio();
    for words in [
        &["call", "echo", "text=hi"][..],
        &["call", "echo", "text=hi", "--save", "files"],
        &["call", "echo", "text=hi", "-o", "file"],
        &["read", "test://a", "-o", "file"],
        &["read", "test://a", "--save", "files"],
        &["read", "test://a"],
    ] {
        runs_in_bounds(&server.target(), words);
    }
}

#[test]
fn a_large_message_over_a_websocket_takes_one_and_a_half_times_its_size() {
    let blob = "QUJD".repeat(SIZE / 4);
    let mcp = server().on("resources/read", move |call| {
        call.result(json!({"contents": [{"uri": "test://a", "mimeType": "image/png", "blob": blob}]}))
    });
    let server = mcp.websocket();
    runs_in_bounds(&server.url("/mcp"), &["call", "echo", "text=hi"]);
    runs_in_bounds(&server.url("/mcp"), &["read", "test://a"]);
}

#[test]
fn a_large_result_over_http_takes_one_and_a_half_times_its_size() {
    let json = HttpServer::start(server().http_script(LegacyHttpOptions::default()));
    runs_in_bounds(&json.url("/mcp"), &["call", "echo", "text=hi"]);
    let script = server().http_script(LegacyHttpOptions::default());
    let mcp = server();
    let events = HttpServer::start(move |request| {
        if request.method == "POST" && request.rpc_method() == "tools/call" {
            let answers = mcp.handle(&request.json());
            let send = |reply: Reply, answer| match answer {
                crate::support::ServerAction::Send(message) => reply.event(&message),
                _ => reply,
            };
            return answers.into_iter().fold(Reply::sse(), send);
        }
        script(request)
    });
    runs_in_bounds(&events.url("/mcp"), &["call", "echo", "text=hi"]);
}

#[test]
fn little_is_read_of_an_error_response() {
    let body = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "x".repeat(64 << 20)}});
    let (body, script) = (body.to_string(), server().http_script(LegacyHttpOptions::default()));
    let server = HttpServer::start(move |request| {
        let is_call = request.method == "POST" && request.rpc_method() == "tools/call";
        if is_call { Reply::text("application/json", body.clone()).with_status(500) } else { script(request) }
    });
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--json"]).start();
    let (run, peak) = run.wait_measuring_memory();
    let error: Value = run.json_error();
    assert_eq!(error["message"], "the server failed (HTTP 500)", "{error}");
    assert!(error["causes"][0].as_str().unwrap().starts_with("response: {\"jsonrpc\""), "{error}");
    assert!(peak < BASE + (8 << 20), "{} MiB were used", peak >> 20);
}
