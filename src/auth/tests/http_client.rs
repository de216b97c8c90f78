//! Where the requests of a login may go.

use url::Url;

use super::super::testing::http_client;
use crate::error::ErrorKind;

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
