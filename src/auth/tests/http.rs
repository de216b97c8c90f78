//! Where requests go, and how much of an answer is read.

use std::time::{Duration, Instant};

use super::super::http::Limits;
use super::super::testing::{Asked, Fake, Told, http, limited};
use crate::error::Class;
use crate::secret::Secret;
use crate::transport::http::shown;
use url::Url;

#[tokio::test]
async fn redirects_of_metadata_are_followed_one_by_one_and_not_for_long() {
    let fake = Fake::start(|_| {
        |asked: &Asked| match asked.path.as_str() {
            "/a" => Told::status(307).header("location", "/b"),
            "/b" => Told::json(200, &serde_json::json!({"x": 1})),
            "/out" => Told::status(302).header("location", "http://10.0.0.1/x"),
            "/file" => Told::status(302).header("location", "file:///etc/passwd"),
            "/nowhere" => Told::status(302),
            _ => Told::status(302).header("location", "/loop"),
        }
    })
    .await;
    let http = http(fake.url("/mcp"));
    let get = async |path: &str| http.get(&format!("{}{path}", fake.origin)).await;
    let found = get("/a").await.unwrap();
    assert_eq!((found.url.path(), found.document().unwrap()["x"].as_u64()), ("/b", Some(1)));
    assert_eq!(get("/loop").await.unwrap_err().class(), Class::Unreachable);
    assert_eq!(get("/out").await.unwrap_err().class(), Class::Auth);
    assert_eq!(get("/file").await.unwrap_err().class(), Class::Auth);
    assert_eq!(get("/nowhere").await.unwrap_err().class(), Class::Unreachable);
    assert!(fake.seen().len() < 12);
}

#[tokio::test]
async fn what_is_posted_does_not_follow_a_redirect() {
    let fake = Fake::start(|_| |_: &Asked| Told::status(307).header("location", "/elsewhere")).await;
    let failure = http(fake.url("/mcp"))
        .post(&format!("{}/token", fake.origin), "text/plain", "secret".into(), &[("authorization", Secret::new("s"))])
        .await
        .unwrap_err();
    assert_eq!(failure.class(), Class::Auth);
    assert_eq!(fake.lines(), ["POST /token"]);
}

#[tokio::test]
async fn sec_07_huge_and_slow_answers_are_cut_off() {
    let fake = Fake::start(|_| {
        |asked: &Asked| match asked.path.as_str() {
            "/huge" => Told { body: "x".repeat(70_000), ..Told::status(200) },
            _ => Told::status(200).after(Duration::from_secs(30)),
        }
    })
    .await;
    let http = limited(fake.url("/mcp"), Limits { size: 65_536, time: Duration::from_millis(300) });
    let huge = http.get(&format!("{}/huge", fake.origin)).await.unwrap_err();
    assert_eq!(huge.class(), Class::Protocol);
    let started = Instant::now();
    let slow = http.get(&format!("{}/slow?secret", fake.origin)).await.unwrap_err();
    assert_eq!(slow.class(), Class::Timeout);
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!format!("{slow:?}").contains("secret"));
}

#[tokio::test]
async fn sec_02_a_public_server_points_to_public_places_over_https_only() {
    let server = || http(Url::parse("https://93.184.216.34/mcp").unwrap());
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
        assert!(matches!(failure.class(), Class::Auth | Class::Protocol), "{url}: {failure:?}");
    }
}

#[tokio::test]
async fn sec_02_the_address_that_answered_counts_for_the_server() {
    let server = http(Url::parse("https://mcp.invalid/mcp").unwrap());
    server.answered_from(Some("10.1.2.3".parse().unwrap()));
    let failure = server.get("https://127.0.0.1:1/x").await.unwrap_err();
    assert_eq!(failure.class(), Class::Auth, "a private server does not point to this machine: {failure:?}");
    let local = http(Url::parse("http://127.0.0.1:9/mcp").unwrap());
    assert_eq!(local.get("http://127.0.0.1:1/x").await.unwrap_err().class(), Class::Unreachable);
}

#[tokio::test]
async fn sec_04_nothing_of_the_endpoint_goes_along() {
    let fake = Fake::start(|_| |_: &Asked| Told::status(200)).await;
    let mut endpoint = super::testing::endpoint(fake.url("/mcp"));
    endpoint.headers = vec![("X-Key".into(), Secret::new("hunter2"))];
    let http = super::super::http::Http::new(&endpoint, None, Limits::default(), Default::default());
    http.get(&format!("{}/x", fake.origin)).await.unwrap();
    let asked = fake.seen().remove(0);
    assert!(!format!("{asked:?}").contains("hunter2"));
    assert_eq!(asked.headers["accept"], "application/json");
    assert!(asked.headers.contains_key("mcp-protocol-version"));
    let bad = http.get("https://user:hunter2@127.0.0.1/x").await.unwrap_err();
    assert!(!format!("{bad:?} {}", shown(&endpoint.url)).contains("hunter2"));
}
