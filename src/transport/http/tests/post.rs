//! One POST and its plain answer: heads, bodies, credentials, redirects.

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{AUTHORIZATION, HeaderName};

use super::*;
use crate::error::{ErrorKind, Result};
use crate::secret::Secret;
use crate::transport::http::scripted_server::{
    ScriptStep, ScriptedServer, http_response, json_response, outgoing_notification, outgoing_request,
};
use crate::transport::{Authorize, BoxFuture};

const PONG: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"a":1E2}}"#;

#[tokio::test]
async fn a_request_is_one_post_and_its_answer_a_message() {
    let server = ScriptedServer::start(|_, _| json_response("200 OK", PONG));
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    let (on, answer, status) = response(&mut connection).await;
    assert_eq!((on, answer.id, status), (Some(1), Some(1), Some(200)));
    assert_eq!(answer.outcome.unwrap().get(), r#"{"a":1E2}"#);

    let seen = server.requests();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].body, r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#);
    let mut head: Vec<&str> = seen[0].head.lines().collect();
    head[1..].sort_unstable();
    // HTL-01, HTM-01: both kinds are accepted; no cookie, no referrer, and nothing of a session.
    assert_eq!(
        head,
        [
            "POST /mcp HTTP/1.1",
            "accept-encoding: zstd,gzip,br",
            "accept: application/json, text/event-stream",
            "content-length: 40",
            "content-type: application/json",
            &format!("host: 127.0.0.1:{}", server.port),
            concat!("user-agent: mcpipe/", env!("CARGO_PKG_VERSION")),
        ]
    );
}

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
async fn an_error_body_that_is_json_rpc_is_a_message() {
    let body = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Bad Request"}}"#;
    let server = ScriptedServer::start(move |_, _| json_response("400 Bad Request", body));
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    let (on, answer, status) = response(&mut connection).await;
    assert_eq!((on, answer.id, status), (Some(1), None, Some(400)));
    assert_eq!(answer.outcome.unwrap_err().code, Some(-32000));
}

#[tokio::test]
async fn a_response_without_a_message_is_unexpected() {
    let cases: [(Vec<ScriptStep>, u16, Option<&str>, &str); 6] = [
        (json_response("403 Forbidden", r#"{"error":"nope"}"#), 403, Some("application/json"), r#"{"error":"nope"}"#),
        (http_response("202 Accepted", &[], ""), 202, None, ""),
        (vec![ScriptStep::Write(b"HTTP/1.1 204 No Content\r\n\r\n".to_vec())], 204, None, ""),
        (json_response("200 OK", ""), 200, Some("application/json"), ""),
        (
            http_response("200 OK", &["Content-Type: text/html"], "<html>hi</html>"),
            200,
            Some("text/html"),
            "<html>hi</html>",
        ),
        (http_response("502 Bad Gateway", &["Content-Type: text/plain"], "down\r\n"), 502, Some("text/plain"), "down"),
    ];
    for (steps, status, kind, body) in cases {
        let server = ScriptedServer::start(move |_, _| steps.clone());
        let mut connection = open(&server.url()).await;
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        let refusal = refusal(&mut connection).await;
        let seen = (refusal.status, refusal.content_type.as_deref(), refusal.body.as_str());
        assert_eq!(seen, (status, kind, body));
        assert_eq!(refusal.url, server.url());
        assert!(!refusal.had_session_id);
    }
}

#[tokio::test]
async fn an_unexpected_response_keeps_its_headers() {
    let headers = [
        "WWW-Authenticate: Bearer resource_metadata=\"http://x/\"",
        "WWW-Authenticate: Basic",
        "Retry-After: 7",
        "Content-Type: text/html",
    ];
    let body = "é".repeat(4000);
    let server = ScriptedServer::start(move |_, _| http_response("503 Service Unavailable", &headers, &body));
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    let refusal = refusal(&mut connection).await;
    assert_eq!(refusal.challenges, ["Bearer resource_metadata=\"http://x/\"", "Basic"]);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(refusal.body.len(), 4096);
}

#[tokio::test]
async fn a_json_answer_needs_no_content_type() {
    for kind in ["text/plain", "application/vnd.api+json", ""] {
        let header = format!("Content-Type: {kind}");
        let server =
            ScriptedServer::start(move |_, _| http_response("200 OK", &[&header], &format!("\u{feff}{PONG}\n")));
        let mut connection = open(&server.url()).await;
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        assert_eq!(response(&mut connection).await.1.id, Some(1), "{kind}");
    }
    let server = ScriptedServer::start(|_, _| http_response("200 OK", &[], PONG));
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert_eq!(response(&mut connection).await.1.id, Some(1));
}

#[tokio::test]
async fn a_batch_is_several_messages() {
    // STD-08 holds over HTTP too.
    let body = r#"[{"jsonrpc":"2.0","method":"notifications/x"},{"jsonrpc":"2.0","id":1,"result":{}}]"#;
    let server = ScriptedServer::start(move |_, _| json_response("200 OK", body));
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert!(matches!(message(&mut connection).await.1, RpcMessage::Notification { .. }));
    assert_eq!(response(&mut connection).await.1.id, Some(1));
}

#[tokio::test]
async fn a_body_without_the_answer_is_an_unexpected_response() {
    let server =
        ScriptedServer::start(|_, _| json_response("200 OK", r#"{"jsonrpc":"2.0","method":"notifications/x"}"#));
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert!(matches!(message(&mut connection).await.1, RpcMessage::Notification { .. }));
    assert_eq!(refusal(&mut connection).await.status, 200);
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

#[tokio::test]
async fn a_one_way_message_is_accepted_by_any_2xx() {
    let server = ScriptedServer::start(|n, _| match n {
        0 => http_response("202 Accepted", &[], ""),
        1 => http_response("200 OK", &["Content-Type: text/plain"], "thanks"),
        2 => http_response("400 Bad Request", &[], "what?"),
        _ => http_response("401 Unauthorized", &[], ""),
    });
    let mut connection = open(&server.url()).await;
    for _ in 0..2 {
        connection.transport.send(outgoing_notification("notifications/initialized")).await.unwrap();
    }
    let failure = connection.transport.send(outgoing_notification("notifications/cancelled")).await.unwrap_err();
    assert_eq!((failure.kind(), failure.details().causes.as_slice()), (ErrorKind::Protocol, &["what?".to_owned()][..]));
    let failure = connection.transport.send(outgoing_notification("notifications/cancelled")).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(is_silent(&mut connection).await);
    assert_eq!(server.requests()[0].body, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    // One connection served them all.
    assert!(server.requests().iter().all(|seen| seen.connection == 0));
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
async fn new_credentials_repeat_the_same_message() {
    let server = ScriptedServer::start(|_, seen| match seen.header("authorization") {
        Some("Bearer token-2") => json_response("200 OK", PONG),
        Some("Bearer token-1") => {
            http_response("403 Forbidden", &["WWW-Authenticate: Bearer error=\"insufficient_scope\""], "")
        }
        _ => json_response("401 Unauthorized", r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"x"},"id":null}"#),
    });
    let (_, options) = ScriptedTokens::options(9);
    let mut connection = connect(&endpoint(&server.url()), &options).await.unwrap();
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert_eq!(response(&mut connection).await.2, Some(200));
    let seen = server.requests();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|one| one.body == seen[0].body && one.header("dpop") == Some("proof-1")));
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

#[tokio::test]
async fn configured_credentials_are_used_and_no_others() {
    let server = ScriptedServer::start(|_, _| http_response("401 Unauthorized", &[], ""));
    let (tokens, options) = ScriptedTokens::options(9);
    let mut endpoint = endpoint(&server.url());
    endpoint.headers = vec![("authorization".into(), Secret::new("Bearer mine"))];
    let mut connection = connect(&endpoint, &options).await.unwrap();
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert_eq!(refusal(&mut connection).await.status, 401);
    assert_eq!(tokens.refusal_count.load(Ordering::SeqCst), 0);
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer mine"));
}

#[tokio::test]
async fn redirects_are_followed_within_the_origin_only() {
    // SEC-04
    let server = ScriptedServer::start(|_, seen| match seen.request_line() {
        "POST /mcp HTTP/1.1" => http_response("307 Temporary Redirect", &["Location: /mcp/"], ""),
        "POST /mcp/ HTTP/1.1" => http_response("308 Permanent Redirect", &["Location: /mcp/v1?x=1"], ""),
        _ => json_response("200 OK", PONG),
    });
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    response(&mut connection).await;
    let lines: Vec<String> = server.requests().iter().map(|seen| seen.request_line().to_owned()).collect();
    assert_eq!(lines, ["POST /mcp HTTP/1.1", "POST /mcp/ HTTP/1.1", "POST /mcp/v1?x=1 HTTP/1.1"]);
    assert!(server.requests().iter().all(|seen| seen.body == server.requests()[0].body));

    let elsewhere = ScriptedServer::start(|_, _| json_response("200 OK", PONG));
    let target = elsewhere.url();
    for (status, location) in
        [("307 X", target.as_str()), ("308 X", "https://127.0.0.1/"), ("302 Found", "/mcp/"), ("303 X", "/x")]
    {
        let header = format!("Location: {location}");
        let server = ScriptedServer::start(move |_, _| http_response(status, &[&header], ""));
        let mut connection = open(&server.url()).await;
        connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
        let there = reqwest::Url::parse(&server.url()).unwrap().join(location).unwrap();
        assert_eq!(refusal(&mut connection).await.location.as_deref(), Some(there.as_str()));
        assert_eq!(server.requests().len(), 1);
    }
    assert!(elsewhere.requests().is_empty());
}

#[tokio::test]
async fn redirects_are_limited() {
    let server = ScriptedServer::start(|_, _| http_response("307 X", &["Location: /mcp"], ""));
    let mut connection = open(&server.url()).await;
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    assert_eq!(refusal(&mut connection).await.status, 307);
    assert_eq!(server.requests().len(), 6);
}

#[tokio::test]
async fn the_trace_shows_the_exchange_without_secrets() {
    let server = ScriptedServer::start(|_, _| {
        http_response(
            "200 OK",
            &["Content-Type: application/json", "Mcp-Session-Id: secret-4", "Set-Cookie: a=secret-5"],
            PONG,
        )
    });
    let (log, options) = TraceLog::options();
    let mut endpoint = endpoint(&server.url().replace("http://", "http://me:secret-1@"));
    endpoint.url.set_query(Some("key=secret-2"));
    endpoint.headers = vec![("X-Key".into(), Secret::new("secret-3"))];
    let mut connection = connect(&endpoint, &options).await.unwrap();
    connection.transport.send(outgoing_request(1, "initialize")).await.unwrap();
    response(&mut connection).await;
    connection.transport.close(true).await;
    let text = log.text();
    assert!(!text.contains("secret"), "{text}");
    for part in
        [r#"method: "POST""#, "/mcp?key=[redacted]", r#"("x-key", "[redacted]")"#, "status: 200", r#"method: "DELETE""#]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(text.contains(&format!("{:?}", TraceEvent::Sent(r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#))));
    assert!(text.contains(&format!("{:?}", TraceEvent::Received(PONG))));
    // The password is sent, of course.
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic bWU6c2VjcmV0LTE="));
    assert_eq!(server.requests()[0].request_line(), "POST /mcp?key=secret-2 HTTP/1.1");
}

#[tokio::test]
async fn an_explicit_proxy_is_used_even_for_loopback() {
    let proxy = ScriptedServer::start(|_, _| json_response("200 OK", PONG));
    let mut endpoint = endpoint("http://127.0.0.1:9/mcp");
    endpoint.proxy = Some(Secret::new(format!("http://u:pw@127.0.0.1:{}", proxy.port)));
    let mut connection = connect(&endpoint, &TransportOptions::default()).await.unwrap();
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    response(&mut connection).await;
    assert_eq!(proxy.requests()[0].request_line(), "POST http://127.0.0.1:9/mcp HTTP/1.1");
    assert_eq!(proxy.requests()[0].header("proxy-authorization"), Some("Basic dTpwdw=="));

    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    endpoint.proxy = Some(Secret::new(format!("u:hunter2@127.0.0.1:{port}")));
    let mut connection = connect(&endpoint, &TransportOptions::default()).await.unwrap();
    connection.transport.send(outgoing_request(1, "ping")).await.unwrap();
    let failure = next_failure(&mut connection).await;
    let said = format!("cannot connect to http://127.0.0.1:9/mcp through the proxy http://127.0.0.1:{port}");
    assert_eq!(failure.details().message, said);
    assert!(!format!("{failure:?}").contains("hunter2"));
}
