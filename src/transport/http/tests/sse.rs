//! HTTP+SSE of 2024-11-05.

use super::*;
use crate::error::{Class, Result};
use crate::interrupt::Interrupt;
use crate::transport::http::connect_sse;
use crate::transport::http::testing::{Seen, Server, Step, chunk, end, json, notification, reply, request, stream};
use crate::transport::{HttpMode, Wire};

const ENDPOINT: &str = "event: endpoint\ndata: /messages?sessionId=a%20b\n\n";
const PONG: &str = "event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n\n";

async fn refused(server: &Server, options: &Options) -> Failure {
    let result: Result<Connection> = connect_sse(&endpoint(&server.url()), options).await;
    result.err().expect("a failure")
}

#[tokio::test]
async fn answers_come_over_the_one_stream() {
    // SSE-01
    let server = Server::start(|_, seen| match seen.line().split(' ').next() {
        Some("GET") => vec![stream(), chunk(ENDPOINT), Step::Sleep(100), chunk(PONG), Step::Hold],
        _ => reply("202 Accepted", &[], "Accepted"),
    });
    let mut endpoint = endpoint(&server.url());
    endpoint.mode = HttpMode::Sse;
    let mut connection = connect(&endpoint, &Options::default()).await.unwrap();
    assert_eq!(connection.transport.wire(), Wire::Sse);
    connection.transport.send(request(1, "initialize")).await.unwrap();
    let (on, answer, status) = response(&mut connection).await;
    assert_eq!((on, answer.id, status), (None, Some(1), None));
    connection.transport.send(notification("notifications/initialized")).await.unwrap();
    let seen = server.seen();
    let lines: Vec<&str> = seen.iter().map(Seen::line).collect();
    let post = "POST /messages?sessionId=a%20b HTTP/1.1";
    assert_eq!(lines, ["GET /mcp HTTP/1.1", post, post]);
    assert_eq!(seen[0].header("accept"), Some("text/event-stream"));
    assert_eq!(seen[1].header("content-type"), Some("application/json"));
    assert_eq!(seen[1].body, r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
    connection.transport.close(true).await;
    assert!(server.wait_closed(1).await);
}

#[tokio::test]
async fn a_refused_message_is_told() {
    let server = Server::start(|n, seen| match (seen.line().split(' ').next(), n) {
        (Some("GET"), _) => vec![stream(), chunk(ENDPOINT), Step::Hold],
        (_, 1) => reply("500 Oops", &[], "no"),
        (_, 2) => json("400 Bad Request", r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32600}}"#),
        _ => reply("404 Not Found", &[], ""),
    });
    let mut connection = connect_sse(&endpoint(&server.url()), &Options::default()).await.unwrap();
    connection.transport.send(request(1, "ping")).await.unwrap();
    assert_eq!(refusal(&mut connection).await.status, 500);
    connection.transport.send(request(1, "ping")).await.unwrap();
    assert_eq!(response(&mut connection).await.2, Some(400));
    assert_eq!(connection.transport.send(notification("x")).await.unwrap_err().class(), Class::Unreachable);
}

#[tokio::test]
async fn losing_the_stream_breaks_everything() {
    for last in [end(), Step::Close] {
        let server =
            Server::start(move |_, _| vec![stream(), chunk(ENDPOINT), Step::Sleep(30), last.clone(), Step::Close]);
        let mut connection = connect_sse(&endpoint(&server.url()), &Options::default()).await.unwrap();
        match next(&mut connection).await {
            Incoming { on: None, item: Item::Broken(failure) } => assert_eq!(failure.class(), Class::Unreachable),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_stream_without_a_fit_address_is_refused() {
    let cases: [(Vec<Step>, Class); 6] = [
        (vec![stream(), chunk("event: endpoint\ndata: http://example.com/m\n\n"), Step::Hold], Class::Protocol),
        (vec![stream(), chunk("data: hello\n\n"), end()], Class::Protocol),
        (vec![stream(), Step::Close], Class::Unreachable),
        (json("200 OK", "{}"), Class::Protocol),
        (reply("405 Method Not Allowed", &[], ""), Class::Protocol),
        (reply("401 Unauthorized", &[], ""), Class::Auth),
    ];
    for (steps, class) in cases {
        let server = Server::start(move |_, _| steps.clone());
        let failure = refused(&server, &Options::default()).await;
        assert_eq!(failure.class(), class, "{failure:?}");
    }
}

#[tokio::test]
async fn waiting_for_the_address_ends() {
    let server = Server::start(|_, _| vec![stream(), Step::Hold]);
    let options = Options { connect_timeout: Some(Duration::from_millis(100)), ..Options::default() };
    assert_eq!(refused(&server, &options).await.class(), Class::Timeout);
    assert!(server.wait_closed(1).await);
    let interrupt = Interrupt::default();
    interrupt.raise(Class::Interrupted);
    assert_eq!(refused(&server, &Options { interrupt, ..Options::default() }).await.class(), Class::Interrupted);
}
