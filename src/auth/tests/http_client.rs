//! Where requests go, and how much of an answer is read.

use std::time::{Duration, Instant};

use super::super::testing::{AuthTestRequest, AuthTestResponse, AuthTestServer, http_client, http_client_with_limits};
use crate::auth::http_client::ResponseLimits;
use crate::error::ErrorKind;
use crate::secret::Secret;
use crate::transport::http::redacted_url;
use url::Url;

#[tokio::test]
async fn metadata_redirects_are_followed_up_to_a_limit() {
    let fake = AuthTestServer::start(|_| {
        |asked: &AuthTestRequest| match asked.path.as_str() {
            "/a" => AuthTestResponse::status(307).with_header("location", "/b"),
            "/b" => AuthTestResponse::json(200, &serde_json::json!({"x": 1})),
            "/out" => AuthTestResponse::status(302).with_header("location", "http://10.0.0.1/x"),
            "/file" => AuthTestResponse::status(302).with_header("location", "file:///etc/passwd"),
            "/nowhere" => AuthTestResponse::status(302),
            _ => AuthTestResponse::status(302).with_header("location", "/loop"),
        }
    })
    .await;
    let http = http_client(fake.url("/mcp"));
    let get = async |path: &str| http.get(&format!("{}{path}", fake.origin)).await;
    let found = get("/a").await.unwrap();
    assert_eq!((found.url.path(), found.json_object().unwrap()["x"].as_u64()), ("/b", Some(1)));
    assert_eq!(get("/loop").await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(get("/out").await.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(get("/file").await.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(get("/nowhere").await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert!(fake.requests().len() < 12);
}

#[tokio::test]
async fn posts_do_not_follow_redirects() {
    let fake = AuthTestServer::start(|_| {
        |_: &AuthTestRequest| AuthTestResponse::status(307).with_header("location", "/elsewhere")
    })
    .await;
    let failure = http_client(fake.url("/mcp"))
        .post(&format!("{}/token", fake.origin), "text/plain", "secret".into(), &[("authorization", Secret::new("s"))])
        .await
        .unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert_eq!(fake.request_lines(), ["POST /token"]);
}

#[tokio::test]
async fn sec_07_huge_and_slow_answers_are_cut_off() {
    let fake = AuthTestServer::start(|_| {
        |asked: &AuthTestRequest| match asked.path.as_str() {
            "/huge" => AuthTestResponse { body: "x".repeat(70_000), ..AuthTestResponse::status(200) },
            _ => AuthTestResponse::status(200).with_delay(Duration::from_secs(30)),
        }
    })
    .await;
    let http = http_client_with_limits(
        fake.url("/mcp"),
        ResponseLimits { max_body_bytes: 65_536, timeout: Duration::from_millis(300) },
    );
    let huge = http.get(&format!("{}/huge", fake.origin)).await.unwrap_err();
    assert_eq!(huge.kind(), ErrorKind::Protocol);
    let started = Instant::now();
    let slow = http.get(&format!("{}/slow?secret", fake.origin)).await.unwrap_err();
    assert_eq!(slow.kind(), ErrorKind::Timeout);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!format!("{slow:?}").contains("secret"));
}

#[tokio::test]
async fn sec_02_a_public_server_points_to_public_places_over_https_only() {
    let server = || http_client(Url::parse("https://93.184.216.34/mcp").unwrap());
    for url in [
        "http://93.184.216.34/x",
        "http://127.0.0.1:1/x",
        "https://127.0.0.1:1/x",
        "https://localhost:1/x",
        "https://[::1]:1/x",
        "https://[::ffff:10.0.0.1]/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/meta-data/",
        "https://0.0.0.0/x",
        "ftp://93.184.216.34/x",
        "file:///etc/passwd",
    ] {
        let failure = server().get(url).await.unwrap_err();
        assert!(matches!(failure.kind(), ErrorKind::Auth | ErrorKind::Protocol), "{url}: {failure:?}");
    }
}

#[tokio::test]
async fn sec_02_the_peer_address_decides_the_address_space_of_the_server() {
    let server = http_client(Url::parse("https://mcp.invalid/mcp").unwrap());
    server.record_peer_address(Some("10.1.2.3".parse().unwrap()));
    let failure = server.get("https://127.0.0.1:1/x").await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth, "a private server does not point to this machine: {failure:?}");
    let local = http_client(Url::parse("http://127.0.0.1:9/mcp").unwrap());
    assert_eq!(local.get("http://127.0.0.1:1/x").await.unwrap_err().kind(), ErrorKind::Unreachable);
}

#[tokio::test]
async fn sec_04_headers_of_the_mcp_endpoint_are_not_sent() {
    let fake = AuthTestServer::start(|_| |_: &AuthTestRequest| AuthTestResponse::status(200)).await;
    let mut endpoint = super::testing::endpoint(fake.url("/mcp"));
    endpoint.headers = vec![("X-Key".into(), Secret::new("hunter2"))];
    let http =
        crate::auth::http_client::OAuthHttpClient::new(&endpoint, None, ResponseLimits::default(), Default::default());
    http.get(&format!("{}/x", fake.origin)).await.unwrap();
    let asked = fake.requests().remove(0);
    assert!(!format!("{asked:?}").contains("hunter2"));
    assert_eq!(asked.headers["accept"], "application/json");
    assert!(asked.headers.contains_key("mcp-protocol-version"));
    let bad = http.get("https://user:hunter2@127.0.0.1/x").await.unwrap_err();
    assert!(!format!("{bad:?} {}", redacted_url(&endpoint.url)).contains("hunter2"));
}
