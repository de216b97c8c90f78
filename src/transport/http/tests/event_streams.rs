//! Answers that come as event streams: reading, ending, resuming, listening.

use super::*;
use crate::error::ErrorKind;
use crate::protocol::revision::Revision;
use crate::transport::http::scripted_server::{
    ScriptStep, ScriptedServer, event_stream_chunk, event_stream_end, event_stream_head, http_response, json_response,
    outgoing_request,
};

const PONG: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
const PROGRESS_EVENT: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";

#[tokio::test]
async fn messages_come_as_they_are_sent_and_the_answer_ends_the_stream() {
    // HTL-01, HTM-08
    let server = ScriptedServer::start(|_, _| {
        let ask = "data: {\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"roots/list\"}\n\n";
        vec![
            event_stream_head(),
            event_stream_chunk(": hi\n\nid: 1\ndata:\n\n"),
            event_stream_chunk(&PROGRESS_EVENT[..20]),
            ScriptStep::Sleep(20),
            event_stream_chunk(&PROGRESS_EVENT[20..]),
            event_stream_chunk(ask),
            event_stream_chunk("event: ping\ndata: x\n\n"),
            event_stream_chunk("data: no JSON\n\n"),
            event_stream_chunk(PONG),
            event_stream_chunk(PROGRESS_EVENT),
            ScriptStep::Hold,
        ]
    });
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    let (on, first, status) = message(&mut connection).await;
    assert!(matches!(first, RpcMessage::Notification { .. }));
    assert_eq!((on, status), (Some(1), None));
    assert!(matches!(message(&mut connection).await.1, RpcMessage::Request { .. }));
    assert_eq!(response(&mut connection).await.1.id, Some(1));
    assert!(is_silent(&mut connection).await);
    assert!(server.wait_closed(1).await);
}

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
async fn bodies_with_a_missing_or_wrong_content_type_are_read() {
    let plain = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let bodies = [
        format!("{plain}\r\n{PONG}"),
        format!("{plain}Content-Type: text/plain\r\n\r\n: hello\r\n\r\n{PONG}"),
        format!("{plain}Content-Type: application/json\r\n\r\n{PONG}"),
        format!("{plain}Content-Type: Text/Event-Stream;charset=utf-8\r\n\r\n{}", PONG.trim_end()),
        format!("{plain}Content-Type: text/event-stream\r\n\r\n{{\"id\":1,\"result\":\n{{}}}}\n"),
    ];
    for body in bodies {
        let bytes = body.clone().into_bytes();
        let server = ScriptedServer::start(move |_, _| vec![ScriptStep::Write(bytes.clone()), ScriptStep::Close]);
        let mut connection = open(&server.url()).await;
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        assert_eq!(response(&mut connection).await.1.id, Some(1), "{body}");
    }
}

#[tokio::test]
async fn a_stream_without_a_valid_response_is_a_failure() {
    // HTM-08. An id is of no use where nothing was agreed upon: a modern server resumes nothing.
    let invalid = event_stream_chunk("data: {\"jsonrpc\":\"2.0\",\"id\":1,\n\n");
    let progress = event_stream_chunk(PROGRESS_EVENT);
    let ends = [
        (vec![event_stream_chunk("id: 7\ndata:\n\n"), progress.clone(), event_stream_end()], ErrorKind::Unreachable),
        (vec![progress.clone(), ScriptStep::Close], ErrorKind::Unreachable),
        (vec![progress.clone(), event_stream_chunk(&PONG[..40]), event_stream_end()], ErrorKind::Unreachable),
        (vec![progress, invalid, event_stream_end()], ErrorKind::Protocol),
    ];
    for (mut steps, kind) in ends {
        steps.insert(0, event_stream_head());
        let server = ScriptedServer::start(move |_, _| steps.clone());
        let mut connection = open(&server.url()).await;
        connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
        message(&mut connection).await;
        let failure = next_failure(&mut connection).await;
        assert_eq!(failure.kind(), kind, "{failure}");
        assert!(is_silent(&mut connection).await);
        assert_eq!(server.requests().len(), 1, "sent again");
    }
}

#[tokio::test]
async fn a_legacy_stream_is_resumed() {
    // HTL-07, HTL-08
    let server = ScriptedServer::start(|n, _| match n {
        0 => vec![
            event_stream_head(),
            event_stream_chunk("id: e-1\nretry: 120\ndata:\n\n"),
            event_stream_chunk(PROGRESS_EVENT),
            event_stream_end(),
        ],
        1 => vec![
            event_stream_head(),
            event_stream_chunk("id: e-2\ndata: {\"method\":\"notifications/x\"}\n\n"),
            ScriptStep::Close,
        ],
        2 => http_response("503 Service Unavailable", &[], ""),
        _ => vec![event_stream_head(), event_stream_chunk(PONG), event_stream_end()],
    });
    let mut connection = open(&server.url()).await;
    legacy_session(&connection).set_revision(Revision::V2025_11_25);
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    assert!(matches!(message(&mut connection).await, (Some(1), RpcMessage::Notification { .. }, None)));
    assert!(matches!(message(&mut connection).await, (Some(1), RpcMessage::Notification { .. }, None)));
    assert_eq!(response(&mut connection).await.0, Some(1));
    let seen = server.requests();
    assert_eq!(seen.iter().filter(|seen| seen.request_line().starts_with("POST")).count(), 1);
    let ids: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(ids, [None, Some("e-1"), Some("e-2"), Some("e-2")]);
    assert_eq!(seen[1].request_line(), "GET /mcp HTTP/1.1");
    assert_eq!(seen[1].header("accept"), Some("text/event-stream"));
    assert_eq!(seen[1].header("mcp-protocol-version"), Some("2025-11-25"));
    assert!(seen[1].received_at - seen[0].received_at >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_server_that_does_not_resume_fails_the_request() {
    for status in ["405 Method Not Allowed", "404 Not Found", "400 Bad Request"] {
        let server = ScriptedServer::start(move |n, _| match n {
            0 => vec![event_stream_head(), event_stream_chunk("id: 1\nretry: 1\ndata:\n\n"), event_stream_end()],
            _ => http_response(status, &[], ""),
        });
        let mut connection = open(&server.url()).await;
        legacy_session(&connection).set_revision(Revision::V2025_06_18);
        connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
        // Never as a refusal, which could be taken for one of the request itself.
        let failure = next_failure(&mut connection).await;
        assert_eq!(failure.kind(), ErrorKind::Unreachable);
        assert!(failure.details().causes[0].starts_with("cannot resume it"), "{failure}");
        assert_eq!(server.requests().len(), 2);
    }
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
async fn listening_waits_for_the_stream_and_reconnects() {
    // HTL-06
    let server = ScriptedServer::start(|n, _| match n {
        0 => vec![
            ScriptStep::Sleep(50),
            event_stream_head(),
            event_stream_chunk("id: g1\nretry: 10\ndata: {\"method\":\"notifications/a\"}\n\n"),
            event_stream_end(),
        ],
        1 => {
            vec![event_stream_head(), event_stream_chunk("data: {\"id\":1,\"method\":\"ping\"}\n\n"), ScriptStep::Close]
        }
        _ => http_response("405 Method Not Allowed", &[], ""),
    });
    let mut connection = open(&server.url()).await;
    legacy_session(&connection).set_revision(Revision::V2025_06_18);
    let start = std::time::Instant::now();
    legacy_session(&connection).listen().await;
    assert!((Duration::from_millis(50)..Duration::from_secs(5)).contains(&start.elapsed()));
    assert!(matches!(message(&mut connection).await, (None, RpcMessage::Notification { .. }, None)));
    assert!(matches!(message(&mut connection).await, (None, RpcMessage::Request { .. }, None)));
    assert!(is_silent(&mut connection).await);
    let seen = server.requests();
    let ids: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(ids, [None, Some("g1"), Some("g1")]);
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
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

#[tokio::test]
async fn listening_waits_briefly_and_ends_if_no_stream_is_offered() {
    for (steps, least, most) in [
        (http_response("405 X", &[], ""), 0, 5000),
        (vec![ScriptStep::Hold], 300, 5000),
        (json_response("200 OK", "{}"), 0, 5000),
    ] {
        let server = ScriptedServer::start(move |_, _| steps.clone());
        let mut connection = open(&server.url()).await;
        let start = std::time::Instant::now();
        legacy_session(&connection).listen().await;
        let range = Duration::from_millis(least)..Duration::from_millis(most);
        assert!(range.contains(&start.elapsed()), "{:?}", start.elapsed());
        assert!(is_silent(&mut connection).await);
        assert_eq!(server.requests().len(), 1);
    }
}
