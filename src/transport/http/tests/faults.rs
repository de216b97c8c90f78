//! Servers that cannot be reached, and servers that break off.

use std::net::TcpListener;

use super::*;
use crate::error::Class;
use crate::transport::http::testing::{Server, Step, json, request};

async fn fault(url: &str, options: &Options) -> Failure {
    let mut connection = connect(&endpoint(url), options).await.unwrap();
    connection.transport.send(request(1, "ping")).await.unwrap();
    broken(&mut connection).await
}

#[tokio::test]
async fn nobody_listens() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let failure = fault(&format!("http://127.0.0.1:{port}/mcp?key=hunter2"), &Options::default()).await;
    let details = failure.details();
    assert_eq!(details.class, Class::Unreachable);
    assert_eq!(details.message, format!("cannot connect to http://127.0.0.1:{port}/mcp"));
    assert!(details.causes.last().unwrap().contains("refused"), "{details:?}");
    assert_eq!(details.hint.as_deref(), Some("check that the server is running, and its port"));
    assert!(!format!("{details:?}").contains("hunter2"));
}

#[tokio::test]
async fn no_such_host() {
    let failure = fault("http://nowhere.invalid/mcp", &Options::default()).await;
    let details = failure.details();
    assert_eq!(details.class, Class::Unreachable);
    assert!(details.causes.len() >= 2 && details.causes[0] == "dns error", "{details:?}");
    assert!(details.hint.as_ref().unwrap().contains("nowhere.invalid"));
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://127.0.0.1:{}/mcp", listener.local_addr().unwrap().port());
    let options = Options { connect_timeout: Some(Duration::from_millis(100)), ..Options::default() };
    let failure = fault(&url, &options).await;
    assert_eq!(failure.class(), Class::Timeout, "{failure:?}");
    assert_eq!(failure.details().message, format!("cannot connect to {url} in time"));
}

#[tokio::test]
async fn a_cut_connection_is_no_silence() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{\"id\":1".to_vec();
    for steps in [
        vec![Step::Close],
        vec![Step::Write(b"HTTP/1.1 2".to_vec()), Step::Close],
        vec![Step::Write(half), Step::Close],
    ] {
        let server = Server::start(move |_, _| steps.clone());
        let failure = fault(&server.url(), &Options::default()).await;
        assert_eq!(failure.class(), Class::Unreachable, "{failure:?}");
        assert_eq!(failure.details().message, format!("the connection to {} broke off", server.url()));
        assert!(!failure.details().causes.is_empty());
        // A call is never sent twice silently.
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn something_that_is_not_http() {
    let server = Server::start(|_, _| vec![Step::Write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec()), Step::Close]);
    let failure = fault(&server.url(), &Options::default()).await;
    assert_eq!(failure.class(), Class::Protocol, "{failure:?}");
    assert_eq!(failure.details().message, format!("{} does not speak HTTP", server.url()));
}

#[tokio::test]
async fn a_plain_server_behind_https() {
    let server = Server::start(|_, _| json("200 OK", "{}"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let failure = fault(&format!("https://127.0.0.1:{port}/mcp"), &Options::default()).await;
    assert_eq!(failure.class(), Class::Unreachable);
    let hint = failure.details().hint.clone().unwrap();
    assert!(hint.contains(&format!("http://127.0.0.1:{port}/mcp")), "{failure:?}");
    drop(server);
}

#[tokio::test]
async fn a_failed_one_way_message_is_told_to_its_sender() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connection = open(&format!("http://127.0.0.1:{port}/mcp")).await;
    let message = crate::transport::http::testing::notification("notifications/cancelled");
    assert_eq!(connection.transport.send(message).await.unwrap_err().class(), Class::Unreachable);
}
