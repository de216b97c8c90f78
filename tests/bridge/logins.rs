//! Logins of the servers behind a bridge: tokens that end while it runs, and logins in other processes.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{BridgeClient, call};
use crate::support::oauth::ProtectedServer;
use crate::support::{Reply, Sandbox};

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
    let is_first = AtomicBool::new(true);
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
    let before = server.log_in_with_expired_token_by(&sandbox, || log_in(&server, &sandbox));
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

/// The failure of the handshake.
#[track_caller]
fn refused_initialize(client: &mut BridgeClient) -> String {
    let client_info = json!({"name": "t", "version": "1"});
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client_info});
    let error = client.error("refused", "initialize", params);
    assert_eq!(error["data"]["class"], "auth", "{error}");
    error["message"].as_str().unwrap().to_owned()
}

/// The server under the name `api`, and a bridge to it with these options.
fn bridge_to_api(server: &ProtectedServer, sandbox: &Sandbox, options: &[&str]) -> BridgeClient {
    sandbox.config(&format!("[servers.api]\nurl = \"{}\"\n", server.url()));
    BridgeClient::start_with(sandbox.mcpipe([&["bridge", "api"], options].concat()).with_browser())
}

/// Logs in to `api` in another process.
fn log_in_to_api(sandbox: &Sandbox, options: &[&str]) {
    let login = sandbox.mcpipe([&["auth", "login", "api"], options].concat());
    login.with_browser().allow_leftovers().run().exits(0);
}

#[test]
fn a_login_by_another_process_is_used_by_the_next_request() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let mut client = bridge_to_api(&server, &sandbox, &[]);
    assert!(refused_initialize(&mut client).contains("mcpipe auth login api"));
    log_in_to_api(&sandbox, &[]);
    client.initialize(json!({}));
    client.end();
    assert_eq!(server.requested_grants(), ["authorization_code"]);
}

#[test]
fn after_a_login_has_ended_one_by_another_process_is_used() {
    for refreshable in [true, false] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let mut client = bridge_to_api(&server, &sandbox, &[]);
        if !refreshable {
            server.queue_replies(
                "/token",
                vec![Reply::json(&json!({"access_token": "access-0", "token_type": "bearer"}))],
            );
        }
        log_in_to_api(&sandbox, &[]);
        client.initialize(json!({}));
        server.ledger.revoked.lock().unwrap().extend(["access-0".to_owned(), "access-1".to_owned()]);
        if refreshable {
            server.deny_token_requests(400, "invalid_grant");
        }
        let error = client.error(1, "tools/list", json!({}));
        assert!(error["message"].as_str().unwrap().contains("mcpipe auth login api"), "{error}");
        server.ledger.issued.store(1, Ordering::SeqCst);
        log_in_to_api(&sandbox, &[]);
        assert!(client.request(2, "tools/list", json!({}))["tools"].is_array());
        client.end();
    }
}

#[test]
fn scopes_that_another_process_has_requested_are_used() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let mut client = bridge_to_api(&server, &sandbox, &[]);
    log_in_to_api(&sandbox, &[]);
    client.initialize(json!({}));
    let error = client.error(1, "tools/call", call("add", json!({"a": 1, "b": 2})));
    assert!(error["message"].as_str().unwrap().contains("mcpipe auth login api --scope"), "{error}");
    log_in_to_api(&sandbox, &["--scope", "read call"]);
    let result = client.request(2, "tools/call", call("add", json!({"a": 1, "b": 2})));
    assert_eq!(result["structuredContent"]["total"], 3);
    client.end();
    assert_eq!(server.requested_grants(), ["authorization_code", "authorization_code"]);
}

/// Only `invalid_grant` means that the refresh token is no longer valid (RFC 6749 §5.2).
#[test]
fn a_refresh_that_was_refused_for_another_reason_is_tried_again() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let before = server.log_in_with_expired_token(&sandbox);
    let mut client = BridgeClient::start(&sandbox, &[&server.url()]);
    server.deny_token_requests(400, "unauthorized_client");
    assert!(refused_initialize(&mut client).contains("said unauthorized_client"));
    client.initialize(json!({}));
    client.end();
    assert_eq!(server.requested_grants()[before..], ["refresh_token", "refresh_token"]);
}

#[test]
fn logins_that_fail_do_not_prevent_later_ones() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let mut client = bridge_to_api(&server, &sandbox, &["--login", "always"]);
    for _ in 0..4 {
        server.deny_token_requests(400, "access_denied");
        let message = refused_initialize(&mut client);
        assert!(message.contains("said access_denied"), "{message}");
    }
    client.initialize(json!({}));
    client.end();
    assert_eq!(server.requested_grants(), ["authorization_code"; 5]);
}
