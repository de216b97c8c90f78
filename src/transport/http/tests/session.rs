//! Sessions and revisions of legacy servers.

use super::*;
use crate::protocol::revision::Revision;
use crate::transport::http::scripted_server::{
    ReceivedRequest, ScriptStep, ScriptedServer, http_response, json_response, outgoing_notification, outgoing_request,
};

/// Opens a session with every `initialize`, and answers everything else.
fn script(_: usize, seen: &ReceivedRequest) -> Vec<ScriptStep> {
    let id = if seen.body.contains("\"id\":1,") { 1 } else { 2 };
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
    let session = if seen.body.contains("initialize\"") { "Mcp-Session-Id: s-~!1" } else { "Mcp-Session-Id: other" };
    http_response("200 OK", &["Content-Type: application/json", session], &body)
}

async fn initialized(server: &ScriptedServer) -> ConnectedTransport {
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "initialize")).await.unwrap();
    response(&mut connection).await;
    connection
}

#[tokio::test]
async fn session_and_revision_are_sent_after_initialize() {
    // HTL-02, HTL-03, HTL-05
    let server = ScriptedServer::start(script);
    let mut connection = initialized(&server).await;
    legacy_session(&connection).set_revision(Revision::V2025_11_25);
    connection.transport.send(outgoing_notification("notifications/initialized")).await.unwrap();
    connection.transport.send(outgoing_request(2, "ping")).await.unwrap();
    response(&mut connection).await;
    connection.transport.close(true).await;
    let seen = server.requests();
    let lines: Vec<&str> =
        seen.iter().map(ReceivedRequest::request_line).map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["POST", "POST", "POST", "DELETE"]);
    assert_eq!((seen[0].header("mcp-session-id"), seen[0].header("mcp-protocol-version")), (None, None));
    for seen in &seen[1..] {
        assert_eq!(seen.header("mcp-session-id"), Some("s-~!1"), "{seen:?}");
        assert_eq!(seen.header("mcp-protocol-version"), Some("2025-11-25"), "{seen:?}");
    }
}

#[tokio::test]
async fn older_revisions_have_no_version_header() {
    let server = ScriptedServer::start(script);
    let mut connection = initialized(&server).await;
    legacy_session(&connection).set_revision(Revision::V2025_03_26);
    connection.transport.send(outgoing_request(2, "ping")).await.unwrap();
    response(&mut connection).await;
    assert_eq!(server.requests()[1].header("mcp-session-id"), Some("s-~!1"));
    assert_eq!(server.requests()[1].header("mcp-protocol-version"), None);
}

#[tokio::test]
async fn a_modern_message_carries_no_session() {
    // HTM-10
    let server = ScriptedServer::start(script);
    let mut connection = initialized(&server).await;
    let mut message = outgoing_request(2, "server/discover");
    message.headers = vec![("MCP-Protocol-Version".into(), "2026-07-28".into())];
    connection.transport.send(message).await.unwrap();
    response(&mut connection).await;
    assert_eq!(server.requests()[1].header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(server.requests()[1].header("mcp-session-id"), None);
}

#[tokio::test]
async fn without_a_session_nothing_is_deleted() {
    let server = ScriptedServer::start(script);
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "server/discover")).await.unwrap();
    response(&mut connection).await;
    connection.transport.close(true).await;
    assert_eq!(server.requests().len(), 1);
    assert!(!legacy_session(&connection).forget_session());
}

#[tokio::test]
async fn a_session_id_must_be_visible_ascii() {
    for id in ["a b", "sch\u{f6}n", ""] {
        let header = format!("Mcp-Session-Id: {id}");
        let server = ScriptedServer::start(move |_, seen| {
            let id = if seen.body.contains("\"id\":1,") { 1 } else { 2 };
            let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#);
            http_response("200 OK", &["Content-Type: application/json", &header], &body)
        });
        let mut connection = initialized(&server).await;
        connection.transport.send(outgoing_request(2, "ping")).await.unwrap();
        response(&mut connection).await;
        assert_eq!(server.requests()[1].header("mcp-session-id"), None, "{id}");
    }
}

#[tokio::test]
async fn a_lost_session_is_reported_and_can_be_replaced() {
    // HTL-04
    let gone = r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}"#;
    let server = ScriptedServer::start(
        move |n, seen| if n == 1 { json_response("404 Not Found", gone) } else { script(n, seen) },
    );
    let mut connection = initialized(&server).await;
    legacy_session(&connection).set_revision(Revision::V2025_06_18);
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    let refusal = refusal(&mut connection).await;
    assert!(refusal.had_session_id && refusal.status == 404, "{refusal:?}");
    assert!(legacy_session(&connection).forget_session());
    connection.transport.send(outgoing_request(1, "initialize")).await.unwrap();
    response(&mut connection).await;
    assert_eq!(server.requests()[2].header("mcp-session-id"), None);
    assert_eq!(server.requests()[2].header("mcp-protocol-version"), None);
}

#[tokio::test]
async fn a_404_without_a_session_keeps_its_json_rpc_error() {
    let server = ScriptedServer::start(|_, _| {
        json_response("404 Not Found", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601}}"#)
    });
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "server/discover")).await.unwrap();
    assert_eq!(response(&mut connection).await.2, Some(404));
}

#[tokio::test]
async fn session_delete_has_a_short_timeout() {
    let server = ScriptedServer::start(|n, seen| if n == 0 { script(n, seen) } else { vec![ScriptStep::Hold] });
    let connection = initialized(&server).await;
    let start = std::time::Instant::now();
    connection.transport.close(true).await;
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!(server.requests()[1].request_line(), "DELETE /mcp HTTP/1.1");
}
