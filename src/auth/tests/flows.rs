//! The ways to a token, as an authorization server sees them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::testing::{AuthTestRequest, AuthTestResponse, AuthTestServer, TestUser, UserAction, http_client};
use super::super::{BrowserMode, Grant, LoginContext, OAuthSettings, discovery};
use super::{AuthTestEnv, BEARER};
use crate::auth::credentials::ClientRegistration;
use crate::auth::credentials::Credentials;
use crate::auth::crypto;
use crate::auth::discovery::DiscoveryResult;
use crate::auth::flows::log_in;
use crate::auth::login_context::{LoginRequest, RegistrationKeeper};
use crate::error::{ErrorKind, Failure};
use crate::secret::Secret;
use crate::transport::{Authorize, BoxFuture};
use crate::util::when::When;
use std::sync::Arc;

#[tokio::test]
async fn aut_08_aut_14_aut_18_the_token_request_has_verifier_redirect_uri_and_resource() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    let seen = world.server.requests();
    let query: std::collections::HashMap<String, String> = {
        let line = seen.iter().find(|asked| asked.path.starts_with("/authorize")).unwrap().path.clone();
        url::Url::parse(&format!("http://h{line}")).unwrap().query_pairs().into_owned().collect()
    };
    let form = seen.iter().find(|asked| asked.path == "/token").unwrap().form();
    assert_eq!(query["code_challenge"], crypto::sha256_base64url(&form["code_verifier"]));
    assert_eq!(query["redirect_uri"], form["redirect_uri"]);
    assert_eq!((query["resource"].as_str(), form["resource"].as_str()), (world.url().as_str(), world.url().as_str()));
    assert_eq!(form["client_id"], "registered");
    let registered: Value =
        serde_json::from_str(&seen.iter().find(|asked| asked.path == "/register").unwrap().body).unwrap();
    assert_eq!(registered["redirect_uris"], json!([query["redirect_uri"]]), "registered as it was used");
    assert!(query["redirect_uri"].starts_with("http://127.0.0.1:"));
}

#[tokio::test]
async fn aut_16_the_code_is_not_sent_if_the_promised_iss_is_missing() {
    let world = AuthTestEnv::new().await;
    *world.script.metadata.lock().unwrap() = json!({"authorization_response_iss_parameter_supported": true});
    let gate = world.provider(When::Always, &TestUser::new(UserAction::LogIn));
    let failure = gate.handle_rejection(None, &world.refusal(401, BEARER)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(world.grant_types().is_empty());
    let stored = world.stored_credentials().await.unwrap();
    assert!(stored.tokens.is_none() && stored.login.is_empty(), "only the registration is stored");
}

#[tokio::test]
async fn a_redirect_url_can_be_pasted() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::Paste("http://127.0.0.1:1/callback?code=c0de&state=STATE".into()));
    assert!(world.provider(When::Always, &person).handle_rejection(None, &world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(person.login_count(), 0, "no browser is opened");
    assert!(person.messages.lock().unwrap()[0].contains("/authorize?"));
    for wrong in ["http://127.0.0.1:1/callback?code=c0de&state=other", "what?", "code=c0de"] {
        let world = AuthTestEnv::new().await;
        let person = TestUser::new(UserAction::Paste(wrong.into()));
        let failure = world
            .provider(When::Always, &person)
            .handle_rejection(None, &world.refusal(401, BEARER))
            .await
            .unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth, "{wrong}");
        assert!(world.grant_types().is_empty());
    }
}

fn login_context(url: url::Url, user: &Arc<TestUser>, timeout: Duration) -> LoginContext {
    LoginContext {
        http: http_client(url),
        user: user.clone(),
        target_name: "srv".into(),
        login_command: "mcpipe auth login srv".into(),
        logout_command: "mcpipe auth logout srv".into(),
        owner: crate::auth::credentials::LoginOwner { config_name: Some("srv".into()), client_id: None },
        configured: OAuthSettings::default(),
        login_mode: When::Always,
        has_terminal: true,
        browser: BrowserMode::Launch,
        timeout,
        force_login: false,
    }
}

async fn log_in_with(
    world: &AuthTestEnv,
    settings: OAuthSettings,
    person: &Arc<TestUser>,
    patience: Duration,
) -> Result<Credentials, Failure> {
    let context = login_context(world.url(), person, patience);
    let found = discovery::discover(&context.http, &context.login_command, &settings, None, false).await?;
    log_in(&context, login_request(&settings, &found, &["a".into()])).await
}

/// Registrations are not kept.
struct NoRegistrations;

impl RegistrationKeeper for NoRegistrations {
    fn save<'a>(&'a self, _: &'a ClientRegistration) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

fn login_request<'a>(
    settings: &'a OAuthSettings,
    found: &'a DiscoveryResult,
    scopes: &'a [String],
) -> LoginRequest<'a> {
    LoginRequest { settings, discovery: found, scopes, known: None, registrations: &NoRegistrations }
}

#[tokio::test]
async fn a_login_that_is_never_finished_times_out() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::Ignore);
    let failure = log_in_with(&world, OAuthSettings::default(), &person, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Timeout);
    assert!(failure.details().hint.is_some());
    assert!(world.grant_types().is_empty() && world.stored_credentials().await.is_none());
}

#[tokio::test]
async fn aut_10_aut_12_a_metadata_document_is_used_where_the_server_takes_it() {
    let settings =
        OAuthSettings { client_metadata_url: Some("https://h/client.json".into()), ..OAuthSettings::default() };
    for (takes, id) in [(true, "https://h/client.json"), (false, "registered")] {
        let world = AuthTestEnv::new().await;
        *world.script.metadata.lock().unwrap() = json!({"client_id_metadata_document_supported": takes});
        let record = log_in_with(&world, settings.clone(), &TestUser::new(UserAction::LogIn), Duration::from_secs(9))
            .await
            .unwrap();
        assert_eq!(record.client.id, id);
    }
}

#[tokio::test]
async fn aut_10_without_a_client_the_user_is_asked_to_register_one() {
    let world = AuthTestEnv::new().await;
    *world.script.metadata.lock().unwrap() = json!({"registration_endpoint": null});
    let failure =
        log_in_with(&world, OAuthSettings::default(), &TestUser::new(UserAction::LogIn), Duration::from_secs(9))
            .await
            .unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Auth);
    assert!(failure.details().hint.as_deref().unwrap().contains("client_id"));
}

#[tokio::test]
async fn aut_11_the_reason_for_a_failed_registration_is_reported() {
    let fake = AuthTestServer::start(|origin| {
        let metadata = json!({"issuer": origin, "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"), "registration_endpoint": format!("{origin}/register"),
            "code_challenge_methods_supported": ["S256"]});
        move |asked: &AuthTestRequest| match asked.path.as_str() {
            "/.well-known/oauth-authorization-server" => AuthTestResponse::json(200, &metadata),
            "/register" => AuthTestResponse::json(
                400,
                &json!({"error": "invalid_client_metadata", "error_description": "no natives"}),
            ),
            _ => AuthTestResponse::status(404),
        }
    })
    .await;
    let settings = OAuthSettings::default();
    let context = login_context(fake.url("/mcp"), &TestUser::new(UserAction::LogIn), Duration::from_secs(9));
    let found = discovery::discover(&context.http, &context.login_command, &settings, None, true).await.unwrap();
    let failure = log_in(&context, login_request(&settings, &found, &[])).await.unwrap_err();
    assert!(failure.to_string().contains("no natives"), "{failure}");
}

#[tokio::test]
async fn a_server_without_oauth_differs_from_one_that_refuses_registration() {
    let fake = AuthTestServer::start(|_| |_: &AuthTestRequest| AuthTestResponse::status(404)).await;
    let settings = OAuthSettings::default();
    let context = login_context(fake.url("/mcp"), &TestUser::new(UserAction::LogIn), Duration::from_secs(9));
    let found = discovery::discover(&context.http, &context.login_command, &settings, None, true).await.unwrap();
    let failure = log_in(&context, login_request(&settings, &found, &[])).await.unwrap_err();
    assert!(failure.to_string().contains("does not say how"), "{failure}");
    assert!(failure.details().hint.as_deref().unwrap().contains("--bearer-env"));
}

/// A server whose token endpoint answers these in turn, then tokens.
async fn serve_token_responses(answers: Vec<AuthTestResponse>) -> AuthTestServer {
    let count = std::sync::atomic::AtomicUsize::new(0);
    AuthTestServer::start(|origin| {
        let metadata = json!({"issuer": origin, "token_endpoint": format!("{origin}/token"),
            "device_authorization_endpoint": format!("{origin}/device")});
        move |asked: &AuthTestRequest| match asked.path.as_str() {
            "/.well-known/oauth-authorization-server" => AuthTestResponse::json(200, &metadata),
            "/device" => AuthTestResponse::json(
                200,
                &json!({"device_code": "dev", "user_code": "AB", "verification_uri": "https://as/d", "interval": 1}),
            ),
            "/token" | "/idp" => {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let granted = AuthTestResponse::json(200, &json!({"access_token": "t", "token_type": "Bearer"}));
                answers.get(number).cloned().unwrap_or(granted)
            }
            _ => AuthTestResponse::status(404),
        }
    })
    .await
}

async fn log_in_at(fake: &AuthTestServer, settings: OAuthSettings) -> (Result<Credentials, Failure>, Arc<TestUser>) {
    let user = TestUser::new(UserAction::Ignore);
    let context = login_context(fake.url("/mcp"), &user, Duration::from_secs(9));
    let found = discovery::discover(&context.http, &context.login_command, &settings, None, false).await.unwrap();
    (log_in(&context, login_request(&settings, &found, &["a".into()])).await, user)
}

fn device_settings() -> OAuthSettings {
    OAuthSettings { client_id: Some("id".into()), grant: Some(Grant::DeviceCode), ..OAuthSettings::default() }
}

#[tokio::test]
async fn the_device_flow_polls_until_the_user_has_logged_in() {
    let pending = AuthTestResponse::json(400, &json!({"error": "authorization_pending"}));
    let fake = serve_token_responses(vec![pending]).await;
    let (record, person) = log_in_at(&fake, device_settings()).await;
    assert_eq!(record.unwrap().tokens.unwrap().access.reveal(), "t");
    let said = person.messages.lock().unwrap().join("");
    assert!(said.contains("https://as/d") && said.contains("AB") && !said.contains("dev\n"), "{said}");
    let started = fake.requests().into_iter().find(|asked| asked.path == "/device").unwrap().form();
    assert_eq!((started["client_id"].as_str(), started["scope"].as_str()), ("id", "a"));
    let polled = fake.requests().pop().unwrap().form();
    assert_eq!(polled["grant_type"], "urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(polled["device_code"], "dev");
}

#[tokio::test]
async fn the_device_flow_reports_why_it_failed() {
    for (error, class) in
        [("access_denied", ErrorKind::Auth), ("expired_token", ErrorKind::Timeout), ("invalid_grant", ErrorKind::Auth)]
    {
        let fake = serve_token_responses(vec![AuthTestResponse::json(400, &json!({"error": error}))]).await;
        assert_eq!(log_in_at(&fake, device_settings()).await.0.unwrap_err().kind(), class, "{error}");
    }
}

#[tokio::test]
async fn aut_25_the_enterprise_grant_exchanges_an_id_token_for_an_id_jag() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("id-token");
    std::fs::write(&file, "id.token\n").unwrap();
    let grant = AuthTestResponse::json(200, &json!({"access_token": "jag", "token_type": "N_A"}));
    let fake = serve_token_responses(vec![grant]).await;
    let settings = OAuthSettings {
        client_id: Some("id".into()),
        client_secret: Some(Secret::new("s")),
        grant: Some(Grant::Enterprise),
        idp_token_endpoint: Some(format!("{}/idp", fake.origin)),
        idp_client_id: Some("at-idp".into()),
        id_token_file: Some(file.clone()),
        ..OAuthSettings::default()
    };
    let (record, person) = log_in_at(&fake, settings.clone()).await;
    assert_eq!(record.unwrap().tokens.unwrap().access.reveal(), "t");
    let forms: Vec<_> =
        fake.requests().into_iter().filter(|asked| asked.method == "POST").map(|asked| asked.form()).collect();
    assert_eq!(forms[0]["requested_token_type"], "urn:ietf:params:oauth:token-type:id-jag");
    assert_eq!(forms[0]["audience"], fake.origin);
    assert_eq!((forms[0]["client_id"].as_str(), forms[0]["subject_token"].as_str()), ("at-idp", "id.token"));
    assert_eq!(forms[1]["assertion"], "jag");
    let hidden = person.secrets.lock().unwrap().clone();
    assert!(["id.token", "jag"].iter().all(|secret| hidden.iter().any(|one| one == secret)));
    std::fs::write(&file, "two tokens").unwrap();
    let failure = log_in_at(&fake, settings.clone()).await.0.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Config);
    assert!(!failure.to_string().contains("two tokens"));
    let incomplete = OAuthSettings { idp_client_id: None, ..settings };
    assert!(log_in_at(&fake, incomplete).await.0.unwrap_err().to_string().contains("idp_client_id"));
}

#[tokio::test]
async fn a_rejected_assertion_is_not_retried_with_another_grant() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwt");
    std::fs::write(&file, "a.b.c").unwrap();
    let fake = serve_token_responses(vec![AuthTestResponse::json(400, &json!({"error": "invalid_grant"})); 5]).await;
    let settings = OAuthSettings {
        client_id: Some("id".into()),
        grant: Some(Grant::JwtBearer),
        assertion_file: Some(file),
        ..OAuthSettings::default()
    };
    assert_eq!(log_in_at(&fake, settings).await.0.unwrap_err().kind(), ErrorKind::Auth);
    assert_eq!(fake.request_count("POST /token"), 1);
}

#[tokio::test]
async fn dpop_bound_tokens_are_required_if_configured() {
    let wants = AuthTestResponse::json(400, &json!({"error": "use_dpop_nonce"})).with_header("dpop-nonce", "n1");
    let bound = AuthTestResponse::json(200, &json!({"access_token": "t", "token_type": "DPoP"}));
    let settings = OAuthSettings { dpop: true, grant: Some(Grant::ClientCredentials), ..device_settings() };
    let fake = serve_token_responses(vec![wants, bound]).await;
    let record = log_in_at(&fake, settings.clone()).await.0.unwrap();
    assert!(record.tokens.as_ref().unwrap().dpop && record.dpop_key.is_some());
    let proofs: Vec<String> = fake.requests().iter().filter_map(|asked| asked.headers.get("dpop").cloned()).collect();
    assert_eq!(proofs.len(), 2);
    assert_ne!(proofs[0], proofs[1]);
    // A token that anybody could use is not what was asked for.
    let fake = serve_token_responses(Vec::new()).await;
    assert!(log_in_at(&fake, settings).await.0.unwrap_err().to_string().contains("DPoP"));
    // A token bound to an unknown key is refused.
    let bound = AuthTestResponse::json(200, &json!({"access_token": "t", "token_type": "DPoP"}));
    let fake = serve_token_responses(vec![bound]).await;
    let plain = OAuthSettings { grant: Some(Grant::ClientCredentials), ..device_settings() };
    assert!(log_in_at(&fake, plain).await.0.unwrap_err().to_string().contains("DPoP"));
}
