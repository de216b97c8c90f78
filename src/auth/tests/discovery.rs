//! What is asked to find an authorization server, in which order, and what is not believed.

use serde_json::{Map, Value, json};

use super::super::challenge::{Challenge, parse};
use super::super::discovery::{Found, discover};
use super::super::testing::{Asked, Fake, Told, http};
use super::Settings;
use crate::error::{Class, Failure};

/// Serves these documents; `ORIGIN` in them is the server's own. A number is a status.
async fn serve(documents: Value) -> Fake {
    Fake::start(|origin| {
        let documents: Map<String, Value> =
            serde_json::from_str(&documents.to_string().replace("ORIGIN", origin)).unwrap();
        move |asked: &Asked| match documents.get(&asked.path) {
            Some(Value::Number(status)) => Told::status(status.as_u64().unwrap() as u16),
            Some(Value::String(html)) => Told { body: html.clone(), ..Told::status(200) },
            Some(document) => Told::json(200, document),
            None => Told::status(404),
        }
    })
    .await
}

fn metadata(issuer: &str) -> Value {
    json!({"issuer": issuer, "token_endpoint": "ORIGIN/token", "code_challenge_methods_supported": ["S256"]})
}

async fn find(fake: &Fake, settings: Settings, challenge: Option<&str>) -> Result<Found, Failure> {
    let challenges: Vec<Challenge> =
        parse(&challenge.map(|text| text.replace("ORIGIN", &fake.origin)).into_iter().collect::<Vec<_>>());
    discover(&http(fake.url("/a/mcp")), &settings, challenges.first(), true).await
}

async fn plain(fake: &Fake) -> Result<Found, Failure> {
    find(fake, Settings::default(), None).await
}

const PRM: &str = "/.well-known/oauth-protected-resource";
const AS: &str = "/.well-known/oauth-authorization-server";
const OIDC: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn aut_03_aut_05_the_well_known_addresses_are_asked_in_order_and_no_others() {
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN/t", "https://other"]});
    let fake = serve(json!({PRM: prm, format!("/t{OIDC}"): metadata("ORIGIN/t")})).await;
    let found = plain(&fake).await.unwrap();
    assert_eq!(found.resource, fake.origin, "not as a URL library writes it");
    assert!(found.told);
    let wanted = [
        format!("GET {PRM}/a/mcp"),
        format!("GET {PRM}"),
        format!("GET {AS}/t"),
        format!("GET {OIDC}/t"),
        format!("GET /t{OIDC}"),
    ];
    assert_eq!(fake.lines(), wanted);
}

#[tokio::test]
async fn aut_02_the_challenge_says_where_to_look() {
    let prm = json!({"resource": "ORIGIN/a", "authorization_servers": ["ORIGIN"], "scopes_supported": ["s"]});
    let fake = serve(json!({"/custom": prm, AS: metadata("ORIGIN")})).await;
    let found = find(&fake, Settings::default(), Some("Bearer resource_metadata=\"ORIGIN/custom\"")).await.unwrap();
    assert_eq!(found.scopes, ["s"]);
    assert_eq!(fake.lines(), ["GET /custom".to_owned(), format!("GET {AS}")]);
    // An address that is good only behind the server's proxy.
    let prm = json!({"resource": "ORIGIN/a", "authorization_servers": ["ORIGIN"]});
    let fake = serve(json!({format!("{PRM}/a/mcp"): prm, AS: metadata("ORIGIN")})).await;
    for inside in ["http://10.0.0.1/prm", "ORIGIN/gone", "nonsense"] {
        find(&fake, Settings::default(), Some(&format!("Bearer resource_metadata=\"{inside}\""))).await.unwrap();
    }
}

#[tokio::test]
async fn aut_04_a_foreign_resource_ends_it_before_anybody_else_is_asked() {
    for resource in [json!("https://evil.example.com/mcp"), json!("ORIGIN/other"), Value::Null] {
        let prm = json!({"resource": resource, "authorization_servers": ["ORIGIN"]});
        let fake = serve(json!({format!("{PRM}/a/mcp"): prm, AS: metadata("ORIGIN")})).await;
        assert_eq!(plain(&fake).await.unwrap_err().class(), Class::Auth, "{resource}");
        assert_eq!(fake.lines().len(), 1, "{resource}");
    }
}

#[tokio::test]
async fn aut_06_metadata_of_another_issuer_is_not_used() {
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN"]});
    for issuer in ["https://evil", "ORIGIN/t", "origin"] {
        let fake = serve(json!({PRM: prm, AS: metadata(issuer), OIDC: metadata("ORIGIN")})).await;
        assert_eq!(plain(&fake).await.unwrap_err().class(), Class::Auth, "{issuer}");
    }
    // The slash of an empty path; the metadata's own string counts from here on.
    let fake = serve(json!({PRM: prm, AS: metadata("ORIGIN/")})).await;
    assert_eq!(plain(&fake).await.unwrap().server.issuer, format!("{}/", fake.origin));
}

#[tokio::test]
async fn aut_09_pkce_must_be_offered_unless_the_user_knows_better() {
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN"]});
    let silent = json!({"issuer": "ORIGIN"});
    let fake = serve(json!({PRM: prm, AS: silent, OIDC: silent})).await;
    let failure = plain(&fake).await.unwrap_err();
    assert_eq!(failure.class(), Class::Auth);
    assert!(failure.details().hint.as_deref().unwrap().contains("allow_unadvertised_pkce"));
    let knows = Settings { allow_unadvertised_pkce: true, ..Settings::default() };
    assert!(find(&fake, knows.clone(), None).await.is_ok());
    // The other document may say it.
    let fake = serve(json!({PRM: prm, AS: silent, OIDC: metadata("ORIGIN")})).await;
    assert!(plain(&fake).await.unwrap().server.token_endpoint.is_some());
    // Who offers something else offers too little, whatever the user says.
    let weak = json!({"issuer": "ORIGIN", "code_challenge_methods_supported": ["plain"]});
    let fake = serve(json!({PRM: prm, AS: weak})).await;
    assert!(find(&fake, knows, None).await.is_err());
}

#[tokio::test]
async fn aut_07_without_resource_metadata_the_origin_is_asked() {
    let fake = serve(json!({AS: metadata("ORIGIN")})).await;
    let found = plain(&fake).await.unwrap();
    assert!(found.told && !found.server.assumed);
    assert_eq!(found.resource, format!("{}/a/mcp", fake.origin));
    let fake = serve(json!({})).await;
    let found = plain(&fake).await.unwrap();
    assert!(!found.told && found.server.assumed);
    assert_eq!(found.server.token_endpoint, Some(format!("{}/token", fake.origin)));
}

#[tokio::test]
async fn a_page_for_every_address_is_no_metadata_and_a_broken_server_is_no_answer() {
    let html = "<!doctype html>";
    let fake = serve(json!({format!("{PRM}/a/mcp"): html, PRM: html, AS: html, OIDC: html})).await;
    assert!(!plain(&fake).await.unwrap().told);
    let fake = serve(json!({format!("{PRM}/a/mcp"): 503})).await;
    assert_eq!(plain(&fake).await.unwrap_err().class(), Class::Unreachable);
    assert_eq!(fake.lines().len(), 1);
    let prm = json!({"resource": "ORIGIN", "authorization_servers": ["ORIGIN/t"]});
    let fake = serve(json!({PRM: prm})).await;
    assert_eq!(plain(&fake).await.unwrap_err().class(), Class::Auth, "an issuer without metadata");
}

#[tokio::test]
async fn the_configured_issuer_is_asked_where_the_server_names_none() {
    let fake = serve(json!({format!("{AS}/mine"): metadata("ORIGIN/mine")})).await;
    let issuer = Some(format!("{}/mine", fake.origin));
    let found = find(&fake, Settings { issuer, ..Settings::default() }, None).await.unwrap();
    assert!(found.told);
    let bad = Settings { issuer: Some("https://h/?x".into()), ..Settings::default() };
    assert_eq!(find(&fake, bad, None).await.unwrap_err().class(), Class::Auth);
}
