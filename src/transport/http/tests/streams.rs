//! Answers that come as event streams: reading, ending, resuming, listening.

use super::*;
use crate::error::Class;
use crate::protocol::revision::Revision;
use crate::transport::http::testing::{Server, Step, chunk, end, json, reply, request, stream};

const PONG: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";
const NOTE: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n";

#[tokio::test]
async fn messages_come_as_they_are_sent_and_the_answer_ends_the_stream() {
    // HTL-01, HTM-08
    let server = Server::start(|_, _| {
        let ask = "data: {\"jsonrpc\":\"2.0\",\"id\":\"s1\",\"method\":\"roots/list\"}\n\n";
        vec![
            stream(),
            chunk(": hi\n\nid: 1\ndata:\n\n"),
            chunk(&NOTE[..20]),
            Step::Sleep(20),
            chunk(&NOTE[20..]),
            chunk(ask),
            chunk("event: ping\ndata: x\n\n"),
            chunk("data: no JSON\n\n"),
            chunk(PONG),
            chunk(NOTE),
            Step::Hold,
        ]
    });
    let mut connection = open(&server.url()).await;
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    let (on, first, status) = message(&mut connection).await;
    assert!(matches!(first, Message::Notification { .. }));
    assert_eq!((on, status), (Some(1), None));
    assert!(matches!(message(&mut connection).await.1, Message::Request { .. }));
    assert_eq!(response(&mut connection).await.1.id, Some(1));
    assert!(silent(&mut connection).await);
    assert!(server.wait_closed(1).await);
}

#[tokio::test]
async fn an_error_without_an_id_is_the_answer() {
    let server = Server::start(|_, _| vec![stream(), chunk("data: {\"error\":{\"code\":-32700}}\n\n"), Step::Hold]);
    let mut connection = open(&server.url()).await;
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    assert!(response(&mut connection).await.1.outcome.is_err());
    assert!(server.wait_closed(1).await);
}

#[tokio::test]
async fn a_finished_stream_leaves_its_connection_usable() {
    let server = Server::start(|_, _| vec![stream(), chunk(PONG), Step::Sleep(5), end()]);
    let mut connection = open(&server.url()).await;
    for _ in 0..3 {
        connection.transport.send(request(1, "ping")).await.unwrap();
        response(&mut connection).await;
        tokio::time::sleep(Duration::from_millis(60)).await;
    }
    assert!(server.seen().iter().all(|seen| seen.connection == 0));
}

#[tokio::test]
async fn odd_streams_are_read_too() {
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
        let server = Server::start(move |_, _| vec![Step::Write(bytes.clone()), Step::Close]);
        let mut connection = open(&server.url()).await;
        connection.transport.send(request(1, "ping")).await.unwrap();
        assert_eq!(response(&mut connection).await.1.id, Some(1), "{body}");
    }
}

#[tokio::test]
async fn an_early_end_is_a_failure() {
    // HTM-08. An id is of no use where nothing was agreed upon: a modern server resumes nothing.
    let ends: [(&[Step], Class); 4] = [
        (&[chunk("id: 7\ndata:\n\n"), chunk(NOTE), end()], Class::Unreachable),
        (&[chunk(NOTE), Step::Close], Class::Unreachable),
        (&[chunk(NOTE), chunk(&PONG[..40]), end()], Class::Unreachable),
        (&[chunk(NOTE), chunk("data: {\"jsonrpc\":\"2.0\",\"id\":1,\n\n"), end()], Class::Protocol),
    ];
    for (steps, class) in ends {
        let steps = [&[stream()], steps].concat();
        let server = Server::start(move |_, _| steps.clone());
        let mut connection = open(&server.url()).await;
        connection.transport.send(request(1, "tools/call")).await.unwrap();
        message(&mut connection).await;
        let failure = broken(&mut connection).await;
        assert_eq!(failure.class(), class, "{failure}");
        assert!(silent(&mut connection).await);
        assert_eq!(server.seen().len(), 1, "sent again");
    }
}

#[tokio::test]
async fn a_legacy_stream_is_resumed() {
    // HTL-07, HTL-08
    let server = Server::start(|n, _| match n {
        0 => vec![stream(), chunk("id: e-1\nretry: 120\ndata:\n\n"), chunk(NOTE), end()],
        1 => vec![stream(), chunk("id: e-2\ndata: {\"method\":\"notifications/x\"}\n\n"), Step::Close],
        2 => reply("503 Service Unavailable", &[], ""),
        _ => vec![stream(), chunk(PONG), end()],
    });
    let mut connection = open(&server.url()).await;
    connection.transport.agreed(Revision::V2025_11_25);
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    assert!(matches!(message(&mut connection).await, (Some(1), Message::Notification { .. }, None)));
    assert!(matches!(message(&mut connection).await, (Some(1), Message::Notification { .. }, None)));
    assert_eq!(response(&mut connection).await.0, Some(1));
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|seen| seen.line().starts_with("POST")).count(), 1);
    let ids: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(ids, [None, Some("e-1"), Some("e-2"), Some("e-2")]);
    assert_eq!(seen[1].line(), "GET /mcp HTTP/1.1");
    assert_eq!(seen[1].header("accept"), Some("text/event-stream"));
    assert_eq!(seen[1].header("mcp-protocol-version"), Some("2025-11-25"));
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_server_that_does_not_resume_fails_the_request() {
    for status in ["405 Method Not Allowed", "404 Not Found", "400 Bad Request"] {
        let server = Server::start(move |n, _| match n {
            0 => vec![stream(), chunk("id: 1\nretry: 1\ndata:\n\n"), end()],
            _ => reply(status, &[], ""),
        });
        let mut connection = open(&server.url()).await;
        connection.transport.agreed(Revision::V2025_06_18);
        connection.transport.send(request(1, "tools/call")).await.unwrap();
        // Never as a refusal, which could be taken for one of the request itself.
        let failure = broken(&mut connection).await;
        assert_eq!(failure.class(), Class::Unreachable);
        assert!(failure.details().causes[0].starts_with("cannot resume it"), "{failure}");
        assert_eq!(server.seen().len(), 2);
    }
}

#[tokio::test]
async fn resuming_is_not_tried_for_ever() {
    let server = Server::start(|n, _| match n {
        0 => vec![stream(), chunk("id: 1\nretry: 0\ndata:\n\n"), Step::Close],
        _ => vec![Step::Close],
    });
    let mut connection = open(&server.url()).await;
    connection.transport.agreed(Revision::V2025_06_18);
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    assert_eq!(broken(&mut connection).await.class(), Class::Unreachable);
    assert_eq!(server.seen().len(), 6);
}

#[tokio::test]
async fn abandoning_a_request_closes_its_stream() {
    // HTM-09
    let server = Server::start(|_, _| vec![stream(), chunk(NOTE), Step::Hold]);
    let mut connection = open(&server.url()).await;
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    message(&mut connection).await;
    connection.transport.abandon(1);
    tokio::task::yield_now().await;
    assert!(silent(&mut connection).await);
    assert!(server.wait_closed(1).await);
    // Also before the head of the answer has come.
    let server = Server::start(|_, _| vec![Step::Hold]);
    let connection = open(&server.url()).await;
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    while server.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.transport.abandon(1);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.wait_closed(1).await);
}

#[tokio::test]
async fn closing_ends_every_stream() {
    let server = Server::start(|_, _| vec![stream(), chunk(NOTE), Step::Hold]);
    let mut connection = open(&server.url()).await;
    connection.transport.send(request(1, "a")).await.unwrap();
    connection.transport.send(request(2, "b")).await.unwrap();
    connection.transport.listen().await;
    for _ in 0..3 {
        message(&mut connection).await;
    }
    connection.transport.close(true).await;
    assert_eq!(connection.transport.send(request(4, "c")).await.unwrap_err().class(), Class::Unreachable);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(server.wait_closed(3).await);
}

#[tokio::test]
async fn a_stream_has_a_limit() {
    // SEC-07
    let server = Server::start(|_, _| {
        let mut steps = vec![stream(), chunk("id: 1\ndata:\n\ndata: ")];
        steps.extend(vec![chunk(&"a".repeat(100)); 20]);
        steps
    });
    let mut connection = super::super::streamable(&endpoint(&server.url()), &Options::default(), 1000).unwrap();
    connection.transport.agreed(Revision::V2025_06_18);
    connection.transport.send(request(1, "tools/call")).await.unwrap();
    assert_eq!(broken(&mut connection).await.class(), Class::Protocol);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn listening_waits_for_the_stream_and_reconnects() {
    // HTL-06
    let server = Server::start(|n, _| match n {
        0 => vec![
            Step::Sleep(50),
            stream(),
            chunk("id: g1\nretry: 10\ndata: {\"method\":\"notifications/a\"}\n\n"),
            end(),
        ],
        1 => vec![stream(), chunk("data: {\"id\":1,\"method\":\"ping\"}\n\n"), Step::Close],
        _ => reply("405 Method Not Allowed", &[], ""),
    });
    let mut connection = open(&server.url()).await;
    connection.transport.agreed(Revision::V2025_06_18);
    let start = std::time::Instant::now();
    connection.transport.listen().await;
    assert!((Duration::from_millis(50)..Duration::from_secs(5)).contains(&start.elapsed()));
    assert!(matches!(message(&mut connection).await, (None, Message::Notification { .. }, None)));
    assert!(matches!(message(&mut connection).await, (None, Message::Request { .. }, None)));
    assert!(silent(&mut connection).await);
    let seen = server.seen();
    let ids: Vec<Option<&str>> = seen.iter().map(|seen| seen.header("last-event-id")).collect();
    assert_eq!(ids, [None, Some("g1"), Some("g1")]);
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
}

#[tokio::test]
async fn listening_waits_neither_long_nor_for_a_refusal() {
    for (steps, least, most) in
        [(reply("405 X", &[], ""), 0, 5000), (vec![Step::Hold], 300, 5000), (json("200 OK", "{}"), 0, 5000)]
    {
        let server = Server::start(move |_, _| steps.clone());
        let mut connection = open(&server.url()).await;
        let start = std::time::Instant::now();
        connection.transport.listen().await;
        let range = Duration::from_millis(least)..Duration::from_millis(most);
        assert!(range.contains(&start.elapsed()), "{:?}", start.elapsed());
        assert!(silent(&mut connection).await);
        assert_eq!(server.seen().len(), 1);
    }
}
