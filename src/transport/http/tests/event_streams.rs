//! Answers that come as event streams: reading, ending, resuming, listening.

use super::*;
use crate::error::ErrorKind;
use crate::protocol::revision::Revision;
use crate::transport::http::scripted_server::{
    ScriptStep, ScriptedServer, event_stream_chunk, event_stream_end, event_stream_head, outgoing_request,
};

const PONG: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
const PROGRESS_EVENT: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";

#[tokio::test]
async fn an_error_without_an_id_is_the_answer() {
    let server = ScriptedServer::start(|_, _| {
        vec![event_stream_head(), event_stream_chunk("data: {\"error\":{\"code\":-32700}}\n\n"), ScriptStep::Hold]
    });
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    assert!(response(&mut connection).await.1.outcome.is_err());
    assert!(server.wait_closed(1).await);
}

#[tokio::test]
async fn a_finished_stream_leaves_its_connection_usable() {
    let server = ScriptedServer::start(|_, _| {
        vec![event_stream_head(), event_stream_chunk(PONG), ScriptStep::Sleep(5), event_stream_end()]
    });
    let mut connection = open(&server.url()).await;
    for _ in 0..3 {
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        response(&mut connection).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(server.requests().iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn resuming_is_limited() {
    let server = ScriptedServer::start(|n, _| match n {
        0 => vec![event_stream_head(), event_stream_chunk("id: 1\nretry: 0\ndata:\n\n"), ScriptStep::Close],
        _ => vec![ScriptStep::Close],
    });
    let mut connection = open(&server.url()).await;
    legacy_session(&connection).set_revision(Revision::V2025_06_18);
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    assert_eq!(next_failure(&mut connection).await.kind(), ErrorKind::Unreachable);
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn abandoning_a_request_closes_its_stream() {
    // HTM-09
    let server =
        ScriptedServer::start(|_, _| vec![event_stream_head(), event_stream_chunk(PROGRESS_EVENT), ScriptStep::Hold]);
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    message(&mut connection).await;
    connection.transport.abandon(1);
    tokio::task::yield_now().await;
    assert!(is_silent(&mut connection).await);
    assert!(server.wait_closed(1).await);
    // Also before the head of the answer has come.
    let server = ScriptedServer::start(|_, _| vec![ScriptStep::Hold]);
    let connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    while server.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.transport.abandon(1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.wait_closed(1).await);
}

#[tokio::test]
async fn closing_ends_every_stream() {
    let server =
        ScriptedServer::start(|_, _| vec![event_stream_head(), event_stream_chunk(PROGRESS_EVENT), ScriptStep::Hold]);
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "a")).await.unwrap();
    connection.transport.send(outgoing_request(2, "b")).await.unwrap();
    legacy_session(&connection).listen().await;
    for _ in 0..3 {
        message(&mut connection).await;
    }
    connection.transport.close(true).await;
    assert_eq!(connection.transport.send(outgoing_request(4, "c")).await.unwrap_err().kind(), ErrorKind::Unreachable);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.wait_closed(3).await);
}

#[tokio::test]
async fn a_stream_fails_beyond_the_limit_of_a_message() {
    // SEC-07
    let server = ScriptedServer::start(|_, _| {
        let mut steps = vec![event_stream_head(), event_stream_chunk("id: 1\ndata:\n\ndata: ")];
        steps.extend(vec![event_stream_chunk(&"a".repeat(100)); 20]);
        steps
    });
    let mut connection =
        super::super::streamable::connect_with_limit(&endpoint(&server.url()), &TransportOptions::default(), 1000)
            .unwrap();
    legacy_session(&connection).set_revision(Revision::V2025_06_18);
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    assert_eq!(next_failure(&mut connection).await.kind(), ErrorKind::Protocol);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_quiet_stream_that_ends_after_a_while_is_opened_again_soon_and_the_gap_is_reported() {
    let server = ScriptedServer::start(|_, _| {
        vec![event_stream_head(), event_stream_chunk("retry: 20\n\n"), ScriptStep::Sleep(150), event_stream_end()]
    });
    let connection = open(&server.url()).await;
    legacy_session(&connection).set_revision(Revision::V2025_06_18);
    let mut gaps = legacy_session(&connection).stream_gaps().unwrap();
    legacy_session(&connection).listen().await;
    // The pause before the last of them would be more than six seconds if it doubled each time.
    for _ in 0..7 {
        tokio::time::timeout(Duration::from_secs(5), gaps.changed()).await.unwrap().unwrap();
    }
}
