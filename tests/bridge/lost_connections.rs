//! Servers that end, are not there or forget their session: a clear error, and on with the next request.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{BridgeClient, call, text_of};
use crate::support::http::Request;
use crate::support::oauth::ProtectedServer;
use crate::support::{HttpServer, LegacyHttpOptions, Mcp, ProcessEvent, Reply, Sandbox, StdioServer};

/// A legacy server over stdio that exits at `vendor/exit` and at a call of `crash`.
fn exiting() -> StdioServer {
    let mcp = Arc::new(
        Mcp::legacy("2025-11-25")
            .capabilities(json!({"tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true}})),
    );
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "vendor/exit"
                || message["params"]["name"] == "crash"
                || (process.n == 0 && message["method"] == "prompts/list")
            {
                process.write_stderr("out of memory\n");
                process.exit(3);
            } else if matches!(message["method"].as_str(), Some("resources/subscribe" | "logging/setLevel")) {
                process.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": {}}));
            } else {
                crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    })
}

#[test]
fn a_call_during_which_the_server_exits_is_not_repeated() {
    let server = exiting();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.request("level", "logging/setLevel", json!({"level": "debug"}));
    client.request("subscribe", "resources/subscribe", json!({"uri": "demo://hello"}));
    let error = client.error(1, "tools/call", call("crash", json!({})));
    assert_eq!(error["code"], -32603);
    assert_eq!(error["message"], "the server process ended (exit status: 3): the tool may have run");
    assert_eq!(error["data"]["class"], "unreachable");
    assert_eq!(error["data"]["stderr"], json!(["out of memory"]));
    // The next request starts it again, and restores the session.
    client.ask(2, "tools/call", call("echo", json!({"text": "hi"})));
    assert_eq!(client.next(), json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    assert_eq!(text_of(&client.response(2)["result"]), "hi");
    let run = client.end();
    run.stderr_is(
        "mcpipe: warning: lost the connection to the server: the server process ended (exit status: 3)\nmcpipe: warning: connected to the server again\n",
    );
    let processes = server.wait_until_all_ended();
    assert_eq!(processes.len(), 2);
    let expected = ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe", "tools/call"];
    assert_eq!(processes[1].methods()[1..], expected[1..]);
    let (first, second) = (processes[0].messages(), processes[1].messages());
    assert_eq!(
        (&first[0]["params"], first[2]["params"]["level"].as_str()),
        (&second[0]["params"], second[2]["params"]["level"].as_str())
    );
}

#[test]
fn a_request_without_effects_is_repeated_once() {
    let server = exiting();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.ask(1, "prompts/list", json!({}));
    assert_eq!(client.next()["method"], "notifications/tools/list_changed");
    assert_eq!(client.response(1)["result"]["prompts"][0]["name"], "greet");
    let error = client.error(2, "vendor/exit", json!({}));
    assert_eq!(error["message"], "the server process ended (exit status: 3)");
    client.end();
    assert_eq!(server.wait_until_all_ended().len(), 2);
}

#[test]
fn a_server_that_cannot_be_started_is_named_in_each_error() {
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &["./gone"]);
    for id in 1..=2 {
        let error = client.error(
            id,
            "initialize",
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("cannot start './gone'"), "{message}");
    }
    client.end();
}

/// An HTTP server that can be stopped and started at the same address.
fn echo_at(address: &str) -> HttpServer {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    // Connections that are open already would be served on.
    HttpServer::start_at(address, move |request| script(request).until_close())
}

#[test]
fn a_server_that_is_back_is_used_again() {
    let server = echo_at("127.0.0.1:0");
    let (address, url) = (server.address(), server.url("/mcp"));
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&url]);
    client.initialize(json!({}));
    assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "a"})))), "a");
    drop(server);
    for id in 2..=3 {
        let error = client.error(id, "tools/call", call("echo", json!({"text": "b"})));
        assert_eq!((&error["code"], &error["data"]["class"]), (&json!(-32603), &json!("unreachable")));
    }
    let server = echo_at(&address.to_string());
    assert_eq!(text_of(&client.request(4, "tools/call", call("echo", json!({"text": "c"})))), "c");
    client.end();
    let called = |request: &&Request| request.rpc_method() == "tools/call";
    assert_eq!(server.requests().iter().filter(called).count(), 1);
}

#[test]
fn a_forgotten_session_is_opened_again_and_the_refused_call_repeated() {
    let sessions = Arc::new(AtomicUsize::new(1));
    let counted = sessions.clone();
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| {
        let current = format!("s{}", counted.load(Ordering::SeqCst));
        if request.method == "POST" && request.rpc_method() == "initialize" {
            return script(request).header("Mcp-Session-Id", &current);
        }
        if request.header("mcp-session-id") != Some(&current) {
            return Reply::text("text/plain", "no such session").with_status(404);
        }
        let mut request = request.clone();
        request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("mcp-session-id"));
        script(&request)
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    client.request(1, "tools/call", call("echo", json!({"text": "a"})));
    sessions.store(2, Ordering::SeqCst);
    assert_eq!(text_of(&client.request(2, "tools/call", call("echo", json!({"text": "b"})))), "b");
    client.end();
}

/// Logs in with what calls require.
fn log_in(server: &ProtectedServer, sandbox: &Sandbox) {
    sandbox.mcpipe(["auth", "login", &server.url(), "--scope", "read call"]).with_browser().run().exits(0);
}

#[test]
fn a_token_that_is_rejected_in_between_is_renewed_once() {
    let server = ProtectedServer::start();
    let sandbox = Sandbox::new();
    log_in(&server, &sandbox);
    let mut client = BridgeClient::start(&sandbox, &[&server.url()]);
    client.initialize(json!({}));
    client.request(1, "tools/call", call("add", json!({"a": 1, "b": 2})));
    let grants = server.requested_grants().len();
    let is_first = std::sync::atomic::AtomicBool::new(true);
    server.at_server(move |request| {
        let rejects = request.rpc_method() == "tools/call" && is_first.swap(false, Ordering::SeqCst);
        rejects.then(|| Reply::status(401).header("WWW-Authenticate", "Bearer error=\"invalid_token\""))
    });
    let result = client.request(2, "tools/call", call("add", json!({"a": 1, "b": 2})));
    assert_eq!(result["structuredContent"]["total"], 3);
    client.end();
    assert_eq!(server.requested_grants()[grants..], ["refresh_token"]);
}

#[test]
fn an_expired_token_is_renewed_once_for_requests_at_the_same_time() {
    let server = ProtectedServer::start();
    let sandbox = Sandbox::new();
    let before = server.log_in_with_expired_token_by(|| log_in(&server, &sandbox));
    let mut client = BridgeClient::start(&sandbox, &[&server.url()]);
    client.initialize(json!({}));
    for id in 1..=20 {
        client.ask(id, "tools/call", call("add", json!({"a": id, "b": 0})));
    }
    let mut totals: Vec<i64> =
        (0..20).map(|_| client.next()["result"]["structuredContent"]["total"].as_i64().unwrap()).collect();
    totals.sort_unstable();
    assert_eq!(totals, (1..=20).collect::<Vec<i64>>());
    client.end();
    assert_eq!(server.requested_grants()[before..], ["refresh_token"]);
}

#[test]
fn without_a_login_the_error_names_the_command_for_it() {
    let server = ProtectedServer::start();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.api]\nurl = \"{}\"\n", server.url()));
    let mut client = BridgeClient::start(&sandbox, &["api"]);
    let error = client.error(
        1,
        "initialize",
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
    );
    assert_eq!(error["data"]["class"], "auth");
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("mcpipe auth login api"), "{message}");
    client.end();
}
