//! A server on this machine is asked without the general client; nobody can tell.

use std::net::TcpListener;

use super::*;
use crate::error::Details;
use crate::transport::HttpEndpoint;
use crate::transport::http::testing::{Seen, Server, Step, chunk, end, json, notification, reply, request, stream};

const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

/// The two ways to one URL: the direct one, and the general client, which a file of authorities calls for.
fn ways(url: &str) -> [HttpEndpoint; 2] {
    let mut general = endpoint(url);
    general.tls.cacert = Some(concat!(env!("CARGO_MANIFEST_DIR"), "/src/transport/http/tests/pem/ca.pem").into());
    [endpoint(url), general]
}

/// Everything of a failure that anybody sees or decides by.
fn all_of(failure: &Failure) -> String {
    let Details { class, message, causes, hint, unsent, again, .. } = failure.details();
    format!("{class:?}\n{message}\n{causes:#?}\n{hint:?}\n{unsent} {again:?}")
}

async fn failed(endpoint: &HttpEndpoint, options: &Options) -> Failure {
    let mut connection = connect(endpoint, options).await.unwrap();
    connection.transport.send(request(1, "ping")).await.unwrap();
    broken(&mut connection).await
}

#[tokio::test]
async fn the_two_ways_put_the_same_bytes_on_the_wire() {
    let answer = |_: usize, seen: &Seen| match seen.line() {
        line if line.starts_with("POST") && seen.body.contains("initialize") => {
            reply("200 OK", &["Content-Type: application/json", "Mcp-Session-Id: s1"], PONG)
        }
        line if line.starts_with("POST") && seen.body.contains("\"id\"") => json("200 OK", PONG),
        line if line.starts_with("POST") => reply("202 Accepted", &[], ""),
        line if line.starts_with("GET") => reply("405 Method Not Allowed", &[], ""),
        _ => reply("200 OK", &[], ""),
    };
    let mut written = Vec::new();
    let server = Server::start(answer);
    for mut endpoint in ways(&format!("{}?a=%20b|c&d#e", server.url())) {
        endpoint.headers = vec![("X-Team".into(), crate::secret::Secret::new("grün"))];
        let mut connection = connect(&endpoint, &Options::default()).await.unwrap();
        let before = server.seen().len();
        connection.transport.send(request(1, "initialize")).await.unwrap();
        response(&mut connection).await;
        connection.transport.agreed(crate::protocol::revision::Revision::V2025_11_25);
        connection.transport.send(notification("notifications/initialized")).await.unwrap();
        connection.transport.listen().await;
        connection.transport.send(request(1, "ping")).await.unwrap();
        response(&mut connection).await;
        connection.transport.close(true).await;
        let seen = server.seen().split_off(before);
        // One connection does for what comes one after the other.
        assert!(seen.iter().all(|one| one.connection == seen[0].connection), "{seen:#?}");
        written.push(seen.into_iter().map(|one| (one.head, one.body)).collect::<Vec<_>>());
    }
    let methods: Vec<&str> = written[0].iter().map(|(head, _)| head.split(' ').next().unwrap()).collect();
    assert_eq!(methods, ["POST", "POST", "GET", "POST", "DELETE"]);
    assert_eq!(written[0], written[1]);
}

#[tokio::test]
async fn the_two_ways_fail_in_the_same_words() {
    let wrong: [&[u8]; 10] = [
        b"",
        b"HTTP/1.1 2",
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"{\"jsonrpc\":\"2.0\"}\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"id\":1",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 99\r\n\r\ndata: ",
    ];
    for bytes in wrong {
        let server = Server::start(move |_, _| vec![Step::Write(bytes.to_vec()), Step::Close]);
        let [direct, general] = ways(&server.url());
        let options = Options::default();
        let failures = (failed(&direct, &options).await, failed(&general, &options).await);
        let shown = String::from_utf8_lossy(bytes);
        assert_eq!(all_of(&failures.0), all_of(&failures.1), "{shown}");
        // A request is never sent twice unasked.
        assert_eq!(server.seen().len(), 2, "{shown}");
    }
}

#[tokio::test]
async fn the_two_ways_find_nobody_in_the_same_words() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let [direct, general] = ways(&format!("http://{host}:{port}/mcp"));
        let options = Options::default();
        let failures = (failed(&direct, &options).await, failed(&general, &options).await);
        assert_eq!(all_of(&failures.0), all_of(&failures.1), "{host}");
    }
}

#[tokio::test]
async fn the_two_ways_read_the_same_answers() {
    let body = format!("{}{PONG}", " ".repeat(300_000));
    let streamed = vec![stream(), chunk(": hello\r\n"), chunk("\r\ndata: "), chunk(PONG), chunk("\n\n"), end()];
    let cases: Vec<Vec<Step>> = vec![
        json("200 OK", &body),
        json("200 OK", PONG).into_iter().chain([Step::Close]).collect(),
        vec![Step::Write(format!("HTTP/1.0 200 OK\r\n\r\n{PONG}").into_bytes()), Step::Close],
        vec![
            Step::Write(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{PONG}").into_bytes()),
            Step::Close,
        ],
        streamed,
    ];
    for steps in cases {
        let server = Server::start(move |_, _| steps.clone());
        for endpoint in ways(&server.url()) {
            let mut connection = connect(&endpoint, &Options::default()).await.unwrap();
            connection.transport.send(request(1, "ping")).await.unwrap();
            assert_eq!(response(&mut connection).await.1.id, Some(1));
        }
    }
}

#[tokio::test]
async fn a_name_of_this_machine_is_tried_at_all_its_addresses() {
    // The server is at 127.0.0.1 alone; `localhost` may be ::1 first.
    let server = Server::start(|_, _| json("200 OK", PONG));
    let mut connection = open(&format!("http://localhost:{}/mcp", server.port)).await;
    connection.transport.send(request(1, "ping")).await.unwrap();
    assert_eq!(response(&mut connection).await.1.id, Some(1));
    assert_eq!(server.seen()[0].header("host"), Some(format!("localhost:{}", server.port).as_str()));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_meanwhile_is_replaced() {
    let server = Server::start(|number, _| {
        let mut steps = json("200 OK", PONG);
        if number == 1 {
            steps.push(Step::Close);
        }
        steps
    });
    let mut connection = open(&server.url()).await;
    for _ in 0..4 {
        connection.transport.send(request(1, "ping")).await.unwrap();
        response(&mut connection).await;
        // Time for the end of the connection to arrive.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let used: Vec<usize> = server.seen().iter().map(|seen| seen.connection).collect();
    assert_eq!(used, [0, 0, 1, 1]);
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_leave_none_unused() {
    let server = Server::start(|number, seen| {
        let id = if seen.body.contains("\"id\":1") { 1 } else { 2 };
        let mut steps = json("200 OK", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        if number == 0 {
            steps.insert(0, Step::Sleep(100));
        }
        steps
    });
    let mut connection = open(&server.url()).await;
    for round in 0..2 {
        connection.transport.send(request(1, "ping")).await.unwrap();
        connection.transport.send(request(2, "ping")).await.unwrap();
        for _ in 0..2 {
            response(&mut connection).await;
        }
        let used: std::collections::BTreeSet<usize> = server.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), [0, 1], "round {round}");
    }
}

#[tokio::test]
async fn an_abandoned_request_closes_its_connection() {
    let server = Server::start(|_, _| vec![Step::Hold]);
    let connection = open(&server.url()).await;
    connection.transport.send(request(1, "ping")).await.unwrap();
    while server.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    connection.transport.abandon(1);
    assert!(server.wait_closed(1).await);
}
