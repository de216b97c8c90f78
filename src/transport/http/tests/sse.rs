//! HTTP+SSE of 2024-11-05.

use super::*;
use crate::error::{ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::transport::http::scripted_server::{
    ScriptStep, ScriptedServer, event_stream_chunk, event_stream_end, event_stream_head, http_response, json_response,
    outgoing_notification, outgoing_request,
};
use crate::transport::{HttpEndpoint, HttpMode};

const ENDPOINT: &str = "event: endpoint\ndata: /messages?sessionId=a%20b\n\n";
const PONG: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";

fn sse_endpoint(server: &ScriptedServer) -> HttpEndpoint {
    HttpEndpoint { mode: HttpMode::Sse, ..endpoint(&server.url()) }
}

async fn connect_failure(server: &ScriptedServer, options: &TransportOptions) -> Failure {
    let result: Result<ConnectedTransport> = connect(&sse_endpoint(server), options).await;
    result.err().expect("a failure")
}

#[tokio::test]
async fn a_rejected_message_is_reported() {
    let server = ScriptedServer::start(|n, seen| match (seen.request_line().split(' ').next(), n) {
        (Some("GET"), _) => vec![event_stream_head(), event_stream_chunk(ENDPOINT), ScriptStep::Hold],
        (_, 1) => http_response("500 Oops", &[], "no"),
        (_, 2) => json_response("400 Bad Request", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600}}"#),
        _ => http_response("404 Not Found", &[], ""),
    });
    let mut connection = connect(&sse_endpoint(&server), &TransportOptions::default()).await.unwrap();
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert_eq!(refusal(&mut connection).await.status, 500);
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert_eq!(response(&mut connection).await.2, Some(400));
    assert_eq!(connection.transport.send(outgoing_notification("x")).await.unwrap_err().kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn an_event_that_was_skipped_does_not_explain_the_end_of_a_stream_with_messages() {
    let server = ScriptedServer::start(|_, _| {
        vec![
            event_stream_head(),
            event_stream_chunk(ENDPOINT),
            event_stream_chunk("data: ping\n\n"),
            event_stream_chunk(PONG),
            event_stream_end(),
        ]
    });
    let mut connection = connect(&sse_endpoint(&server), &TransportOptions::default()).await.unwrap();
    assert_eq!(response(&mut connection).await.1.id, Some(1));
    match next(&mut connection).await {
        Incoming { request_id: None, item: IncomingItem::Failed(failure) } => {
            assert_eq!(failure.kind(), ErrorKind::Unreachable);
            assert!(failure.details().causes.is_empty() && failure.details().retry_advice.is_some());
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn waiting_for_the_endpoint_event_is_bounded() {
    let server = ScriptedServer::start(|_, _| vec![event_stream_head(), ScriptStep::Hold]);
    let options = TransportOptions { connect_timeout: Some(Duration::from_millis(100)), ..TransportOptions::default() };
    assert_eq!(connect_failure(&server, &options).await.kind(), ErrorKind::Timeout);
    assert!(server.wait_closed(1).await);
    let interrupt = Interrupt::default();
    interrupt.raise(ErrorKind::Interrupted);
    assert_eq!(
        connect_failure(&server, &TransportOptions { interrupt, ..TransportOptions::default() }).await.kind(),
        ErrorKind::Interrupted
    );
}
