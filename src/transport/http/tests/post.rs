//! One POST and its plain answer: heads, bodies, credentials.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{AUTHORIZATION, HeaderName};

use super::*;
use crate::error::{ErrorKind, Result};
use crate::secret::Secret;
use crate::transport::http::scripted_server::{
    ScriptStep, ScriptedServer, http_response, json_response, outgoing_request,
};
use crate::transport::{Authorize, BoxFuture};

const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"a":1E2}}"#;

#[tokio::test]
async fn mirrored_headers_win_over_configured_ones() {
    // HTM-02, HTM-03
    let server = ScriptedServer::start(|_, _| json_response("200 OK", PONG));
    let mut endpoint = endpoint(&server.url());
    endpoint.headers = vec![
        ("Accept".into(), Secret::new("text/plain")),
        ("mcp-method".into(), Secret::new("configured")),
        ("User-Agent".into(), Secret::new("mine")),
        ("X-Team".into(), Secret::new("blue")),
        ("Host".into(), Secret::new("mcp.example")),
    ];
    let mut connection = connect(&endpoint, &TransportOptions::default()).await.unwrap();
    let mut message = outgoing_request(1, "tools/call");
    message.headers = vec![
        ("MCP-Protocol-Version".into(), "2026-07-28".into()),
        ("Mcp-Method".into(), "tools/call".into()),
        ("Mcp-Param-Empty".into(), String::new()),
    ];
    connection.transport.send(message).await.unwrap();
    response(&mut connection).await;
    let seen = &server.requests()[0];
    assert_eq!(seen.header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(seen.header("mcp-method"), Some("tools/call"));
    assert_eq!(seen.header("mcp-protocol-version"), Some("2026-07-28"));
    assert!(seen.head.lines().any(|line| line.trim_end() == "mcp-param-empty:"), "{}", seen.head);
    assert_eq!(seen.header("user-agent"), Some("mine"));
    assert_eq!(seen.header("x-team"), Some("blue"));
    assert_eq!(seen.header("host"), Some("mcp.example"));
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_fails_before_anything_is_sent() {
    let server = ScriptedServer::start(|_, _| json_response("200 OK", PONG));
    let connection = open(&server.url()).await;
    let mut message = outgoing_request(1, "tools/call");
    message.headers = vec![("Mcp-Param-X".into(), "a\r\nb".into())];
    assert_eq!(connection.transport.send(message).await.unwrap_err().kind(), ErrorKind::Protocol);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn bodies_are_decompressed_and_limited() {
    // SEC-07: 31 bytes of gzip that become 1100.
    let gzip = gzip_of(&[b"{\"id\":1,\"result\":\"", &[b'a'; 1080][..], b"\"}"].concat());
    for (limit, fits) in [(2000, true), (1000, false)] {
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            gzip.len()
        );
        let bytes = [head.as_bytes(), &gzip].concat();
        let server = ScriptedServer::start(move |_, _| vec![ScriptStep::Write(bytes.clone())]);
        let mut connection =
            super::super::streamable::connect_with_limit(&endpoint(&server.url()), &TransportOptions::default(), limit)
                .unwrap();
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        if fits {
            assert_eq!(response(&mut connection).await.1.outcome.unwrap().get().len(), 1082);
        } else {
            let failure = next_failure(&mut connection).await;
            assert_eq!(failure.kind(), ErrorKind::Protocol);
            assert!(failure.details().message.ends_with("sent a message that is too long"), "{failure}");
        }
    }
}

/// Gzip without compression: stored blocks, and a checksum worked out bit by bit.
fn gzip_of(data: &[u8]) -> Vec<u8> {
    let mut crc = !0_u32;
    for byte in data {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    let length = u16::try_from(data.len()).unwrap();
    let mut out = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255, 1];
    out.extend(length.to_le_bytes());
    out.extend((!length).to_le_bytes());
    out.extend(data);
    out.extend((!crc).to_le_bytes());
    out.extend(u32::from(length).to_le_bytes());
    out
}

/// Hands out `token-0`, `token-1` and so on, each after a refusal; `logins` times.
struct ScriptedTokens {
    logins: usize,
    refusal_count: AtomicUsize,
}

impl ScriptedTokens {
    fn options(logins: usize) -> (Arc<ScriptedTokens>, TransportOptions) {
        let tokens = Arc::new(ScriptedTokens { logins, refusal_count: AtomicUsize::new(0) });
        (tokens.clone(), TransportOptions { authorize: Some(tokens), ..TransportOptions::default() })
    }
}

impl Authorize for ScriptedTokens {
    fn headers<'a>(
        &'a self,
        method: &'a str,
        url: &'a reqwest::Url,
    ) -> BoxFuture<'a, Result<Vec<(HeaderName, Secret)>>> {
        assert!(matches!(method, "POST" | "GET") && url.path() == "/mcp");
        let value = format!("Bearer token-{}", self.refusal_count.load(Ordering::SeqCst));
        Box::pin(async move {
            Ok(vec![(AUTHORIZATION, value.into()), (HeaderName::from_static("dpop"), "proof-1".to_owned().into())])
        })
    }

    fn handle_rejection<'a>(
        &'a self,
        authorization: Option<&'a Secret>,
        refusal: &'a UnexpectedResponse,
    ) -> BoxFuture<'a, Result<bool>> {
        assert!(matches!(refusal.status, 401 | 403));
        let before = self.refusal_count.fetch_add(1, Ordering::SeqCst);
        assert_eq!(authorization.map(Secret::reveal), Some(format!("Bearer token-{before}").as_str()));
        Box::pin(async move { Ok(before < self.logins) })
    }
}

#[tokio::test]
async fn an_unauthorized_response_without_new_credentials_is_reported() {
    for (logins, asked, sent) in [(0, 1, 1), (99, 3, 4)] {
        let server = ScriptedServer::start(|_, _| {
            let body = r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"x"},"id":null}"#;
            http_response("401 Unauthorized", &["WWW-Authenticate: Bearer", "Content-Type: application/json"], body)
        });
        let (tokens, options) = ScriptedTokens::options(logins);
        let mut connection = connect(&endpoint(&server.url()), &options).await.unwrap();
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        let refusal = refusal(&mut connection).await;
        assert_eq!((refusal.status, refusal.challenges.len()), (401, 1));
        assert_eq!((tokens.refusal_count.load(Ordering::SeqCst), server.requests().len()), (asked, sent));
    }
}

#[tokio::test]
async fn the_listen_stream_never_triggers_a_login() {
    let server = ScriptedServer::start(|_, _| http_response("401 Unauthorized", &[], ""));
    let (tokens, options) = ScriptedTokens::options(9);
    let connection = connect(&endpoint(&server.url()), &options).await.unwrap();
    legacy_session(&connection).listen().await;
    assert_eq!((tokens.refusal_count.load(Ordering::SeqCst), server.requests().len()), (0, 1));
}
