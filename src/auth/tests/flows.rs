//! The ways to a token, as an authorization server sees them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::flow::{Means, log_in};
use super::super::http::Http;
use super::super::random;
use super::super::testing::{Asked, Does, Fake, Somebody, Told, http};
use super::super::{Browser, Grant, Login, Person, Settings, discovery};
use super::{BEARER, World};
use crate::auth::record::Record;
use crate::error::{Class, Failure};
use crate::secret::Secret;
use crate::transport::Authorize;
use std::sync::Arc;

#[tokio::test]
async fn aut_08_aut_14_aut_18_the_code_goes_with_its_verifier_its_redirect_and_its_resource() {
    let world = World::new().await;
    world.logged_in().await;
    let seen = world.fake.seen();
    let query: std::collections::HashMap<String, String> = {
        let line = seen.iter().find(|asked| asked.path.starts_with("/authorize")).unwrap().path.clone();
        url::Url::parse(&format!("http://h{line}")).unwrap().query_pairs().into_owned().collect()
    };
    let form = seen.iter().find(|asked| asked.path == "/token").unwrap().form();
    assert_eq!(query["code_challenge"], random::sha256(&form["code_verifier"]));
    assert_eq!(query["redirect_uri"], form["redirect_uri"]);
    assert_eq!((query["resource"].as_str(), form["resource"].as_str()), (world.url().as_str(), world.url().as_str()));
    assert_eq!(form["client_id"], "registered");
    let registered: Value =
        serde_json::from_str(&seen.iter().find(|asked| asked.path == "/register").unwrap().body).unwrap();
    assert_eq!(registered["redirect_uris"], json!([query["redirect_uri"]]), "registered as it was used");
    assert!(query["redirect_uri"].starts_with("http://127.0.0.1:"));
}

#[tokio::test]
async fn aut_16_no_code_leaves_when_the_issuer_does_not_name_itself_as_it_promised() {
    let world = World::new().await;
    *world.script.metadata.lock().unwrap() = json!({"authorization_response_iss_parameter_supported": true});
    let gate = world.gate(Login::Always, &Somebody::who(Does::LogsIn));
    let failure = gate.refused(&world.refusal(401, BEARER)).await.unwrap_err();
    assert_eq!(failure.class(), Class::Auth);
    assert!(world.grants().is_empty());
    assert!(world.record().await.is_none(), "nothing half-stored");
}

#[tokio::test]
async fn a_browser_elsewhere_is_carried_back() {
    let world = World::new().await;
    let person = Somebody::who(Does::Pastes("http://127.0.0.1:1/callback?code=c0de&state=STATE".into()));
    assert!(world.gate(Login::Always, &person).refused(&world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(person.logins(), 0, "no browser is opened");
    assert!(person.said.lock().unwrap()[0].contains("/authorize?"));
    for wrong in ["http://127.0.0.1:1/callback?code=c0de&state=other", "what?", "code=c0de"] {
        let world = World::new().await;
        let person = Somebody::who(Does::Pastes(wrong.into()));
        let failure = world.gate(Login::Always, &person).refused(&world.refusal(401, BEARER)).await.unwrap_err();
        assert_eq!(failure.class(), Class::Auth, "{wrong}");
        assert!(world.grants().is_empty());
    }
}

fn means<'a>(http: &'a Http, settings: &'a Settings, person: &'a Arc<dyn Person>, patience: Duration) -> Means<'a> {
    Means {
        http,
        settings,
        person,
        terminal: true,
        browser: Browser::Open,
        patience,
        name: "srv",
        command: "mcpipe auth login srv",
        logout: "mcpipe auth logout srv",
    }
}

async fn run(world: &World, settings: Settings, person: &Arc<Somebody>, patience: Duration) -> Result<Record, Failure> {
    let http = http(world.url());
    let found = discovery::discover(&http, &settings, None, false).await?;
    let person: Arc<dyn Person> = person.clone();
    let means = means(&http, &settings, &person, patience);
    log_in(means, &found, vec!["a".into()], None).await
}

#[tokio::test]
async fn a_browser_that_never_comes_back_ends_in_time() {
    let world = World::new().await;
    let person = Somebody::who(Does::Nothing);
    let failure = run(&world, Settings::default(), &person, Duration::from_millis(200)).await.unwrap_err();
    assert_eq!(failure.class(), Class::Timeout);
    assert!(failure.details().hint.is_some());
    assert!(world.grants().is_empty() && world.record().await.is_none());
}

#[tokio::test]
async fn aut_10_aut_12_a_metadata_document_is_used_where_the_server_takes_it() {
    let settings = Settings { client_metadata_url: Some("https://h/client.json".into()), ..Settings::default() };
    for (takes, id) in [(true, "https://h/client.json"), (false, "registered")] {
        let world = World::new().await;
        *world.script.metadata.lock().unwrap() = json!({"client_id_metadata_document_supported": takes});
        let record = run(&world, settings.clone(), &Somebody::who(Does::LogsIn), Duration::from_secs(9)).await.unwrap();
        assert_eq!(record.client.id, id);
    }
}

#[tokio::test]
async fn aut_10_without_any_way_to_a_client_one_is_asked_for() {
    let world = World::new().await;
    *world.script.metadata.lock().unwrap() = json!({"registration_endpoint": null});
    let failure =
        run(&world, Settings::default(), &Somebody::who(Does::LogsIn), Duration::from_secs(9)).await.unwrap_err();
    assert_eq!(failure.class(), Class::Auth);
    assert!(failure.details().hint.as_deref().unwrap().contains("client_id"));
}

#[tokio::test]
async fn aut_11_the_reason_of_a_refused_registration_is_told() {
    let fake = Fake::start(|origin| {
        let metadata = json!({"issuer": origin, "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"), "registration_endpoint": format!("{origin}/register"),
            "code_challenge_methods_supported": ["S256"]});
        move |asked: &Asked| match asked.path.as_str() {
            "/.well-known/oauth-authorization-server" => Told::json(200, &metadata),
            "/register" => {
                Told::json(400, &json!({"error": "invalid_client_metadata", "error_description": "no natives"}))
            }
            _ => Told::status(404),
        }
    })
    .await;
    let (settings, client) = (Settings::default(), http(fake.url("/mcp")));
    let found = discovery::discover(&client, &settings, None, true).await.unwrap();
    let person: Arc<dyn Person> = Somebody::who(Does::LogsIn);
    let means = means(&client, &settings, &person, Duration::from_secs(9));
    let failure = log_in(means, &found, Vec::new(), None).await.unwrap_err();
    assert!(failure.to_string().contains("no natives"), "{failure}");
}

#[tokio::test]
async fn a_server_that_knows_no_logins_is_told_from_one_that_refuses() {
    let fake = Fake::start(|_| |_: &Asked| Told::status(404)).await;
    let (settings, client) = (Settings::default(), http(fake.url("/mcp")));
    let found = discovery::discover(&client, &settings, None, true).await.unwrap();
    let person: Arc<dyn Person> = Somebody::who(Does::LogsIn);
    let means = means(&client, &settings, &person, Duration::from_secs(9));
    let failure = log_in(means, &found, Vec::new(), None).await.unwrap_err();
    assert!(failure.to_string().contains("does not say how"), "{failure}");
    assert!(failure.details().hint.as_deref().unwrap().contains("--bearer-env"));
}

/// A server whose token endpoint answers these in turn, then tokens.
async fn answering(answers: Vec<Told>) -> Fake {
    let count = std::sync::atomic::AtomicUsize::new(0);
    Fake::start(|origin| {
        let metadata = json!({"issuer": origin, "token_endpoint": format!("{origin}/token"),
            "device_authorization_endpoint": format!("{origin}/device")});
        move |asked: &Asked| match asked.path.as_str() {
            "/.well-known/oauth-authorization-server" => Told::json(200, &metadata),
            "/device" => Told::json(
                200,
                &json!({"device_code": "dev", "user_code": "AB", "verification_uri": "https://as/d", "interval": 1}),
            ),
            "/token" | "/idp" => {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let granted = Told::json(200, &json!({"access_token": "t", "token_type": "Bearer"}));
                answers.get(number).cloned().unwrap_or(granted)
            }
            _ => Told::status(404),
        }
    })
    .await
}

async fn obtain(fake: &Fake, settings: Settings) -> (Result<Record, Failure>, Arc<Somebody>) {
    let client = http(fake.url("/mcp"));
    let found = discovery::discover(&client, &settings, None, false).await.unwrap();
    let somebody = Somebody::who(Does::Nothing);
    let person: Arc<dyn Person> = somebody.clone();
    let means = means(&client, &settings, &person, Duration::from_secs(9));
    (log_in(means, &found, vec!["a".into()], None).await, somebody)
}

fn device() -> Settings {
    Settings { client_id: Some("id".into()), grant: Grant::DeviceCode, ..Settings::default() }
}

#[tokio::test]
async fn a_device_waits_until_the_person_has_logged_in_elsewhere() {
    let pending = Told::json(400, &json!({"error": "authorization_pending"}));
    let fake = answering(vec![pending]).await;
    let (record, person) = obtain(&fake, device()).await;
    assert_eq!(record.unwrap().tokens.unwrap().access.reveal(), "t");
    let said = person.said.lock().unwrap().join("");
    assert!(said.contains("https://as/d") && said.contains("AB") && !said.contains("dev\n"), "{said}");
    let started = fake.seen().into_iter().find(|asked| asked.path == "/device").unwrap().form();
    assert_eq!((started["client_id"].as_str(), started["scope"].as_str()), ("id", "a"));
    let polled = fake.seen().pop().unwrap().form();
    assert_eq!(polled["grant_type"], "urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(polled["device_code"], "dev");
}

#[tokio::test]
async fn a_device_is_told_why_it_gets_nothing() {
    for (error, class) in
        [("access_denied", Class::Auth), ("expired_token", Class::Timeout), ("invalid_grant", Class::Auth)]
    {
        let fake = answering(vec![Told::json(400, &json!({"error": error}))]).await;
        assert_eq!(obtain(&fake, device()).await.0.unwrap_err().class(), class, "{error}");
    }
}

#[tokio::test]
async fn aut_25_an_enterprise_vouches_and_the_grant_is_exchanged() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("id-token");
    std::fs::write(&file, "id.token\n").unwrap();
    let grant = Told::json(200, &json!({"access_token": "jag", "token_type": "N_A"}));
    let fake = answering(vec![grant]).await;
    let settings = Settings {
        client_id: Some("id".into()),
        client_secret: Some(Secret::new("s")),
        grant: Grant::Enterprise,
        idp_token_endpoint: Some(format!("{}/idp", fake.origin)),
        idp_client_id: Some("at-idp".into()),
        id_token_file: Some(file.clone()),
        ..Settings::default()
    };
    let (record, person) = obtain(&fake, settings.clone()).await;
    assert_eq!(record.unwrap().tokens.unwrap().access.reveal(), "t");
    let forms: Vec<_> =
        fake.seen().into_iter().filter(|asked| asked.method == "POST").map(|asked| asked.form()).collect();
    assert_eq!(forms[0]["requested_token_type"], "urn:ietf:params:oauth:token-type:id-jag");
    assert_eq!(forms[0]["audience"], fake.origin);
    assert_eq!((forms[0]["client_id"].as_str(), forms[0]["subject_token"].as_str()), ("at-idp", "id.token"));
    assert_eq!(forms[1]["assertion"], "jag");
    let hidden = person.hidden.lock().unwrap().clone();
    assert!(["id.token", "jag"].iter().all(|secret| hidden.iter().any(|one| one == secret)));
    std::fs::write(&file, "two tokens").unwrap();
    let failure = obtain(&fake, settings.clone()).await.0.unwrap_err();
    assert_eq!(failure.class(), Class::Config);
    assert!(!failure.to_string().contains("two tokens"));
    let incomplete = Settings { idp_client_id: None, ..settings };
    assert!(obtain(&fake, incomplete).await.0.unwrap_err().to_string().contains("idp_client_id"));
}

#[tokio::test]
async fn a_refused_assertion_is_not_tried_in_another_way() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwt");
    std::fs::write(&file, "a.b.c").unwrap();
    let fake = answering(vec![Told::json(400, &json!({"error": "invalid_grant"})); 5]).await;
    let settings = Settings {
        client_id: Some("id".into()),
        grant: Grant::JwtBearer,
        assertion_file: Some(file),
        ..Settings::default()
    };
    assert_eq!(obtain(&fake, settings).await.0.unwrap_err().class(), Class::Auth);
    assert_eq!(fake.count("POST /token"), 1);
}

#[tokio::test]
async fn dpop_is_asked_for_and_insisted_on() {
    let wants = Told::json(400, &json!({"error": "use_dpop_nonce"})).header("dpop-nonce", "n1");
    let bound = Told::json(200, &json!({"access_token": "t", "token_type": "DPoP"}));
    let settings = Settings { dpop: true, grant: Grant::ClientCredentials, ..device() };
    let fake = answering(vec![wants, bound]).await;
    let record = obtain(&fake, settings.clone()).await.0.unwrap();
    assert!(record.tokens.as_ref().unwrap().dpop && record.dpop_key.is_some());
    let proofs: Vec<String> = fake.seen().iter().filter_map(|asked| asked.headers.get("dpop").cloned()).collect();
    assert_eq!(proofs.len(), 2);
    assert_ne!(proofs[0], proofs[1]);
    // A token that anybody could use is not what was asked for.
    let fake = answering(Vec::new()).await;
    assert!(obtain(&fake, settings).await.0.unwrap_err().to_string().contains("DPoP"));
    // One that is bound to a key that nobody showed is of no use.
    let bound = Told::json(200, &json!({"access_token": "t", "token_type": "DPoP"}));
    let fake = answering(vec![bound]).await;
    let plain = Settings { grant: Grant::ClientCredentials, ..device() };
    assert!(obtain(&fake, plain).await.0.unwrap_err().to_string().contains("DPoP"));
}
