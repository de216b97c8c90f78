//! The connection pool: connections are reused, and a request is never sent twice.

use std::collections::BTreeSet;
use std::net::TcpListener;

use super::*;
use crate::transport::http::scripted_server::{ScriptStep, ScriptedServer, json_response, outgoing_request};

const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

#[tokio::test]
async fn a_name_of_this_machine_is_tried_at_all_its_addresses() {
    // The server is at 127.0.0.1 alone; `localhost` may be ::1 first.
    let server = ScriptedServer::start(|_, _| json_response("200 OK", PONG));
    let mut connection = open(&format!("http://localhost:{}/mcp", server.port)).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert_eq!(response(&mut connection).await.1.id, Some(1));
    assert_eq!(server.requests()[0].header("host"), Some(format!("localhost:{}", server.port).as_str()));
}

/// Some say good-bye to an idle connection in words: they are nobody's answer.
#[tokio::test]
async fn what_comes_over_an_idle_connection_answers_nothing() {
    let bye = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    for stays in [true, false] {
        let server = ScriptedServer::start(move |number, _| {
            let mut steps = json_response("200 OK", PONG);
            if number == 0 {
                steps.extend([ScriptStep::Sleep(30), ScriptStep::Write(bye.to_vec())]);
                steps.push(if stays { ScriptStep::Hold } else { ScriptStep::Close });
            }
            steps
        });
        {
            let mut connection = open(&server.url()).await;
            for pause in [400, 0] {
                connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
                assert_eq!(response(&mut connection).await.2, Some(200));
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        }
        assert_eq!(server.requests().len(), 2, "each request was sent once");
        assert!(!stays || server.wait_closed(1).await);
    }
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_leave_none_unused() {
    let server = ScriptedServer::start(|number, seen| {
        let id = if seen.body.contains("\"id\":1") { 1 } else { 2 };
        let mut steps = json_response("200 OK", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        if number == 0 {
            steps.insert(0, ScriptStep::Sleep(100));
        }
        steps
    });
    let mut connection = open(&server.url()).await;
    for round in 0..2 {
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        connection.transport.send(outgoing_request(2, "ping")).await.unwrap();
        for _ in 0..2 {
            response(&mut connection).await;
        }
        let used: BTreeSet<usize> = server.requests().iter().map(|seen| seen.connection).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), [0, 1], "round {round}");
    }
}

/// What was written may have been read: it never goes out again, over whatever connection.
#[tokio::test]
async fn a_request_goes_out_once_however_its_connection_ends() {
    let cut = ScriptedServer::start(
        |number, _| if number == 0 { json_response("200 OK", PONG) } else { vec![ScriptStep::Close] },
    );
    let mut connection = open(&cut.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    response(&mut connection).await;
    connection.transport.send(outgoing_request(1, "tools/call")).await.unwrap();
    let failure = next_failure(&mut connection).await;
    assert!(
        !failure.details().is_unsent && failure.details().retry_advice.is_some_and(|again| !again.is_unprocessed),
        "{failure:?}"
    );
    assert_eq!(cut.requests().iter().map(|seen| seen.connection).collect::<Vec<_>>(), [0, 0]);

    // Connections that end just when the next request goes out: before, while and after it is written.
    let server = ScriptedServer::start(|number, seen| {
        let id = seen.body.split("\"id\":").nth(1).unwrap().split([',', '}']).next().unwrap().to_owned();
        let mut steps = json_response("200 OK", &format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#));
        if number % 2 == 1 {
            steps.push(ScriptStep::Close);
        }
        steps
    });
    let mut connection = open(&server.url()).await;
    let mut answered = BTreeSet::new();
    for id in 0..400 {
        connection.transport.send(outgoing_request(id, "tools/call")).await.unwrap();
        match next(&mut connection).await.item {
            IncomingItem::Message(..) => _ = answered.insert(id),
            IncomingItem::Failed(failure) => assert!(!failure.details().is_unsent, "{failure:?}"),
            other => panic!("{other:?}"),
        }
        if id % 3 == 0 {
            tokio::time::sleep(Duration::from_micros(id)).await;
        }
    }
    let seen: Vec<String> = server.requests().into_iter().map(|seen| seen.body).collect();
    let different: BTreeSet<&String> = seen.iter().collect();
    assert_eq!(seen.len(), different.len(), "one went out twice");
    assert_eq!(seen.len(), answered.len(), "each that was read was answered");
    assert!(answered.len() >= 200, "{}", answered.len());
}

/// A server may answer before it has read the whole request, and keep the connection open (RFC 9110 §10.1.1).
#[tokio::test]
async fn a_response_that_comes_before_the_request_is_written_counts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://127.0.0.1:{}/mcp", listener.local_addr().unwrap().port());
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::io::Read::read_exact(&mut socket, &mut [0; 1000]).unwrap();
            let answer = b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 4\r\n\r\nlong";
            std::io::Write::write_all(&mut socket, answer).unwrap();
            open.push(socket);
        }
    });
    let mut connection = open(&url).await;
    let mut long = outgoing_request(1, "tools/call");
    long.body.push_str(&" ".repeat(20_000_000));
    for _ in 0..5 {
        connection.transport.send(long.clone()).await.unwrap();
        let refusal = refusal(&mut connection).await;
        assert_eq!((refusal.status, refusal.body.as_str()), (413, "long"));
    }
}
