//! Servers that cannot be reached.

use std::net::TcpListener;

use super::*;
use crate::error::ErrorKind;
use crate::transport::http::scripted_server::{ScriptedServer, json_response, outgoing_request};

async fn request_failure(url: &str, options: &TransportOptions) -> Failure {
    let mut connection = connect(&endpoint(url), options).await.unwrap();
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    next_failure(&mut connection).await
}

#[tokio::test]
async fn no_such_host() {
    let failure = request_failure("http://nowhere.invalid/mcp", &TransportOptions::default()).await;
    let details = failure.details();
    assert_eq!(details.kind, ErrorKind::Unreachable);
    // WSAHOST_NOT_FOUND of Winsock.
    let reason = if cfg!(windows) { "os error 11001" } else { "lookup" };
    assert!(details.causes.len() == 1 && details.causes[0].contains(reason), "{details:?}");
    assert!(details.hint.as_ref().unwrap().contains("nowhere.invalid"));
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_a_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://127.0.0.1:{}/mcp", listener.local_addr().unwrap().port());
    let options = TransportOptions { connect_timeout: Some(Duration::from_millis(100)), ..TransportOptions::default() };
    let failure = request_failure(&url, &options).await;
    assert_eq!(failure.kind(), ErrorKind::Timeout, "{failure:?}");
    assert_eq!(failure.details().message, format!("connecting to {url} timed out"));
}

#[tokio::test]
async fn plain_http_on_an_https_url() {
    let server = ScriptedServer::start(|_, _| json_response("200 OK", "{}"));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let failure = request_failure(&format!("https://127.0.0.1:{port}/mcp"), &TransportOptions::default()).await;
    assert_eq!(failure.kind(), ErrorKind::Unreachable);
    let hint = failure.details().hint.clone().unwrap();
    assert!(hint.contains(&format!("http://127.0.0.1:{port}/mcp")), "{failure:?}");
    drop(server);
}

#[tokio::test]
async fn a_failed_notification_is_an_error_for_its_sender() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let connection = open(&format!("http://127.0.0.1:{port}/mcp")).await;
    let message = crate::transport::http::scripted_server::outgoing_notification("notifications/cancelled");
    assert_eq!(connection.transport.send(message).await.unwrap_err().kind(), ErrorKind::Unreachable);
}
