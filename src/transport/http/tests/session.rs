//! Sessions and revisions of legacy servers.

use super::*;
use crate::transport::http::scripted_server::{
    ReceivedRequest, ScriptStep, ScriptedServer, http_response, json_response, outgoing_request,
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
