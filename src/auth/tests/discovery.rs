//! What is asked to find an authorization server, in which order, and what is not believed.

use serde_json::{Map, Value, json};

use super::super::discovery::{DiscoveryResult, discover};
use super::super::testing::{AuthTestRequest, AuthTestResponse, AuthTestServer, http_client};
use super::OAuthSettings;
use crate::error::{ErrorKind, Failure};
use crate::protocol::challenge::{Challenge, parse_challenges};

/// Serves these documents; `ORIGIN` in them is the server's own. A number is a status.
async fn serve_documents(documents: Value) -> AuthTestServer {
    AuthTestServer::start(|origin| {
        let documents: Map<String, Value> =
            serde_json::from_str(&documents.to_string().replace("ORIGIN", origin)).unwrap();
        move |asked: &AuthTestRequest| match documents.get(&asked.path) {
            Some(Value::Number(status)) => AuthTestResponse::status(status.as_u64().unwrap() as u16),
            Some(Value::String(html)) => AuthTestResponse { body: html.clone(), ..AuthTestResponse::status(200) },
            Some(document) => AuthTestResponse::json(200, document),
            None => AuthTestResponse::status(404),
        }
    })
    .await
}

fn metadata(issuer: &str) -> Value {
    json!({"issuer": issuer, "token_endpoint": "ORIGIN/token", "code_challenge_methods_supported": ["S256"]})
}

async fn discover_with(
    fake: &AuthTestServer,
    settings: OAuthSettings,
    challenge: Option<&str>,
) -> Result<DiscoveryResult, Failure> {
    let challenges: Vec<Challenge> =
        parse_challenges(&challenge.map(|text| text.replace("ORIGIN", &fake.origin)).into_iter().collect::<Vec<_>>());
    discover(&http_client(fake.url("/a/mcp")), "mcpipe auth login srv", &settings, challenges.first(), true).await
}

async fn discover_default(fake: &AuthTestServer) -> Result<DiscoveryResult, Failure> {
    discover_with(fake, OAuthSettings::default(), None).await
}

const RESOURCE_METADATA_PATH: &str = "/.well-known/oauth-protected-resource";
const SERVER_METADATA_PATH: &str = "/.well-known/oauth-authorization-server";
const OPENID_CONFIGURATION_PATH: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn aut_03_aut_05_the_well_known_addresses_are_asked_in_order_and_no_others() {
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN/t", "https://other"]});
    let fake = serve_documents(
        json!({RESOURCE_METADATA_PATH: prm, format!("/t{OPENID_CONFIGURATION_PATH}"): metadata("ORIGIN/t")}),
    )
    .await;
    let found = discover_default(&fake).await.unwrap();
    assert_eq!(found.resource, fake.origin, "not as a URL library writes it");
    assert!(found.is_advertised);
    let wanted = [
        format!("GET {RESOURCE_METADATA_PATH}/a/mcp"),
        format!("GET {RESOURCE_METADATA_PATH}"),
        format!("GET {SERVER_METADATA_PATH}/t"),
        format!("GET {OPENID_CONFIGURATION_PATH}/t"),
        format!("GET /t{OPENID_CONFIGURATION_PATH}"),
    ];
    assert_eq!(fake.request_lines(), wanted);
}

#[tokio::test]
async fn aut_02_the_challenge_says_where_to_look() {
    let prm = json!({"resource": "ORIGIN/a", "authorization_servers": ["ORIGIN"], "scopes_supported": ["s"]});
    let fake = serve_documents(json!({"/custom": prm, SERVER_METADATA_PATH: metadata("ORIGIN")})).await;
    let found = discover_with(&fake, OAuthSettings::default(), Some("Bearer resource_metadata=\"ORIGIN/custom\""))
        .await
        .unwrap();
    assert_eq!(found.resource_scopes, ["s"]);
    assert_eq!(fake.request_lines(), ["GET /custom".to_owned(), format!("GET {SERVER_METADATA_PATH}")]);
    // An address that is good only behind the server's proxy.
    let prm = json!({"resource": "ORIGIN/a", "authorization_servers": ["ORIGIN"]});
    let fake = serve_documents(
        json!({format!("{RESOURCE_METADATA_PATH}/a/mcp"): prm, SERVER_METADATA_PATH: metadata("ORIGIN")}),
    )
    .await;
    for inside in ["http://10.0.0.1/prm", "ORIGIN/gone", "nonsense"] {
        discover_with(&fake, OAuthSettings::default(), Some(&format!("Bearer resource_metadata=\"{inside}\"")))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn aut_04_a_mismatched_resource_stops_discovery() {
    for resource in [json!("https://evil.example.com/mcp"), json!("ORIGIN/other"), Value::Null] {
        let prm = json!({"resource": resource, "authorization_servers": ["ORIGIN"]});
        let fake = serve_documents(
            json!({format!("{RESOURCE_METADATA_PATH}/a/mcp"): prm, SERVER_METADATA_PATH: metadata("ORIGIN")}),
        )
        .await;
        assert_eq!(discover_default(&fake).await.unwrap_err().kind(), ErrorKind::Auth, "{resource}");
        assert_eq!(fake.request_lines().len(), 1, "{resource}");
    }
}

#[tokio::test]
async fn aut_06_metadata_of_another_issuer_is_not_used() {
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN"]});
    for issuer in ["https://evil", "ORIGIN/t", "origin"] {
        let fake = serve_documents(json!({RESOURCE_METADATA_PATH: prm, SERVER_METADATA_PATH: metadata(issuer), OPENID_CONFIGURATION_PATH: metadata("ORIGIN")})).await;
        assert_eq!(discover_default(&fake).await.unwrap_err().kind(), ErrorKind::Auth, "{issuer}");
    }
    // The slash of an empty path; the metadata's own string counts from here on.
    let fake = serve_documents(json!({RESOURCE_METADATA_PATH: prm, SERVER_METADATA_PATH: metadata("ORIGIN/")})).await;
    assert_eq!(discover_default(&fake).await.unwrap().authorization_server.issuer, format!("{}/", fake.origin));
}

#[tokio::test]
async fn aut_09_pkce_must_be_advertised_unless_the_user_allows_otherwise() {
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN"]});
    let silent = json!({"issuer": "ORIGIN"});
    let fake = serve_documents(
        json!({RESOURCE_METADATA_PATH: prm, SERVER_METADATA_PATH: silent, OPENID_CONFIGURATION_PATH: silent}),
    )
    .await;
    let failure = discover_default(&fake).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(failure.details().hint.as_deref().unwrap().contains("allow_unadvertised_pkce"));
    let knows = OAuthSettings { allow_unadvertised_pkce: true, ..OAuthSettings::default() };
    assert!(discover_with(&fake, knows.clone(), None).await.is_ok());
    // The other document may say it.
    let fake = serve_documents(json!({RESOURCE_METADATA_PATH: prm, SERVER_METADATA_PATH: silent, OPENID_CONFIGURATION_PATH: metadata("ORIGIN")})).await;
    assert!(discover_default(&fake).await.unwrap().authorization_server.token_endpoint.is_some());
    // Who offers something else offers too little, whatever the user says.
    let weak = json!({"issuer": "ORIGIN", "code_challenge_methods_supported": ["plain"]});
    let fake = serve_documents(json!({RESOURCE_METADATA_PATH: prm, SERVER_METADATA_PATH: weak})).await;
    assert!(discover_with(&fake, knows, None).await.is_err());
}

#[tokio::test]
async fn aut_07_without_resource_metadata_the_origin_is_asked() {
    let fake = serve_documents(json!({SERVER_METADATA_PATH: metadata("ORIGIN")})).await;
    let found = discover_default(&fake).await.unwrap();
    assert!(found.is_advertised && !found.authorization_server.is_assumed);
    assert_eq!(found.resource, format!("{}/a/mcp", fake.origin));
    let fake = serve_documents(json!({})).await;
    let found = discover_default(&fake).await.unwrap();
    assert!(!found.is_advertised && found.authorization_server.is_assumed);
    assert_eq!(found.authorization_server.token_endpoint, Some(format!("{}/token", fake.origin)));
}

#[tokio::test]
async fn html_pages_are_not_metadata_and_server_errors_are_reported() {
    let html = "<!doctype html>";
    let fake = serve_documents(json!({format!("{RESOURCE_METADATA_PATH}/a/mcp"): html, RESOURCE_METADATA_PATH: html, SERVER_METADATA_PATH: html, OPENID_CONFIGURATION_PATH: html})).await;
    assert!(!discover_default(&fake).await.unwrap().is_advertised);
    let fake = serve_documents(json!({format!("{RESOURCE_METADATA_PATH}/a/mcp"): 503})).await;
    assert_eq!(discover_default(&fake).await.unwrap_err().kind(), ErrorKind::Unreachable);
    assert_eq!(fake.request_lines().len(), 2, "the next address is tried");
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN/t"]});
    let fake = serve_documents(json!({RESOURCE_METADATA_PATH: prm})).await;
    assert_eq!(discover_default(&fake).await.unwrap_err().kind(), ErrorKind::Auth, "an issuer without metadata");
}

#[tokio::test]
async fn the_configured_issuer_is_asked_where_the_server_names_none() {
    let fake = serve_documents(json!({format!("{SERVER_METADATA_PATH}/mine"): metadata("ORIGIN/mine")})).await;
    let issuer = Some(format!("{}/mine", fake.origin));
    let found = discover_with(&fake, OAuthSettings { issuer, ..OAuthSettings::default() }, None).await.unwrap();
    assert!(found.is_advertised);
    let bad = OAuthSettings { issuer: Some("https://h/?x".into()), ..OAuthSettings::default() };
    assert_eq!(discover_with(&fake, bad, None).await.unwrap_err().kind(), ErrorKind::Auth);
}
