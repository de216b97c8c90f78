//! Tokens from first use to last: shown, renewed, replaced, given up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::super::dpop::{Nonces, Prover, Shown};
use super::super::record::Origin;
use super::super::testing::{Does, Somebody};
use super::super::{Grant, Login, Settings};
use super::{BEARER, World, shown};
use crate::error::Class;
use crate::secret::Secret;
use crate::transport::{Authorize, Refusal};

/// The redirect URI of an authorization request.
fn redirect_of(line: String) -> Option<String> {
    Some(line.strip_prefix("GET /authorize?")?.split("redirect_uri=").nth(1)?.split('&').next()?.to_owned())
}

#[tokio::test]
async fn a_login_is_kept_and_shown_from_then_on() {
    let world = World::new().await;
    let person = Somebody::who(Does::LogsIn);
    let gate = world.gate(Login::Always, &person);
    assert_eq!(world.shown(&gate).await, None);
    assert!(gate.refused(&world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-1"));
    assert!(!gate.busy());
    let next = world.gate(Login::Never, &Somebody::who(Does::Nothing));
    assert_eq!(world.shown(&next).await.as_deref(), Some("Bearer access-1"));
    assert!(next.identity().unwrap().is_some());
    // What must not be shown was said before it could turn up anywhere.
    let hidden = person.hidden.lock().unwrap().clone();
    for secret in ["access-1", "refresh-1", "c0de"] {
        assert!(hidden.iter().any(|one| one == secret), "{secret}");
    }
    let authorize = world.fake.seen().into_iter().find(|asked| asked.path.starts_with("/authorize")).unwrap();
    assert!(authorize.path.contains("scope=a+b"), "{}", authorize.path);
}

#[tokio::test]
async fn aut_20_a_token_goes_to_its_server_only() {
    let world = World::new().await;
    world.logged_in().await;
    let gate = world.gate(Login::Never, &Somebody::who(Does::Nothing));
    for elsewhere in ["http://127.0.0.1:9/mcp", "https://127.0.0.1/mcp", "http://localhost/mcp"] {
        assert_eq!(shown(&gate, &elsewhere.parse().unwrap()).await.unwrap(), None, "{elsewhere}");
    }
    assert!(shown(&gate, &world.fake.url("/messages?x")).await.unwrap().is_some(), "the same origin");
}

#[tokio::test]
async fn a_login_is_asked_for_only_where_somebody_can_answer() {
    let world = World::new().await;
    let person = Somebody::who(Does::LogsIn);
    for login in [Login::Auto, Login::Never] {
        let failure = world.gate(login, &person).refused(&world.refusal(401, BEARER)).await.unwrap_err();
        assert_eq!(failure.class(), Class::Auth);
        assert!(failure.details().hint.as_deref().unwrap().ends_with("mcpipe auth login srv"));
    }
    assert_eq!(person.logins(), 0);
    assert!(world.fake.seen().is_empty(), "nobody was asked anything");
    let gate = world.gate(Login::Always, &person);
    assert!(!gate.refused(&world.refusal(401, "Basic realm=\"x\"")).await.unwrap(), "another kind of login");
    assert!(!gate.refused(&world.refusal(403, "Bearer error=\"invalid_token\"")).await.unwrap());
}

#[tokio::test]
async fn aut_23_a_token_is_renewed_before_it_expires_and_the_old_refresh_token_stands() {
    let world = World::new().await;
    world.script.life.store(1, Ordering::SeqCst);
    world.script.keeps.store(true, Ordering::SeqCst);
    world.logged_in().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let gate = world.gate(Login::Never, &Somebody::who(Does::Nothing));
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(world.grants(), ["authorization_code", "refresh_token"]);
    let tokens = world.record().await.unwrap().tokens.unwrap();
    assert_eq!((tokens.access.reveal(), tokens.refresh.unwrap().reveal()), ("access-2", "refresh-1"));
    let asked = world.fake.seen().pop().unwrap();
    assert_eq!(asked.form()["resource"], world.url().as_str(), "AUT-14");
}

#[tokio::test]
async fn aut_23_a_refused_token_is_renewed_once_then_somebody_logs_in_then_it_ends() {
    let world = World::new().await;
    world.logged_in().await;
    let person = Somebody::who(Does::LogsIn);
    let gate = world.gate(Login::Always, &person);
    let refusal = world.refusal(401, "Bearer error=\"invalid_token\", error_description=\"because\"");
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-1"));
    assert!(gate.refused(&refusal).await.unwrap());
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(person.logins(), 0);
    assert!(gate.refused(&refusal).await.unwrap());
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-3"));
    assert_eq!(person.logins(), 1);
    let failure = gate.refused(&refusal).await.unwrap_err();
    assert!(failure.to_string().contains("because"), "{failure}");
    assert_eq!(world.grants(), ["authorization_code", "refresh_token", "authorization_code"]);
    // The registration serves again, unless somebody else took its port meanwhile.
    let redirects: std::collections::HashSet<String> = world.fake.lines().into_iter().filter_map(redirect_of).collect();
    assert_eq!(world.fake.count("POST /register"), redirects.len());
}

#[tokio::test]
async fn a_renewed_token_that_expires_on_its_way_is_renewed_once_more() {
    let world = World::new().await;
    world.script.life.store(1, Ordering::SeqCst);
    world.logged_in().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let gate = world.gate(Login::Never, &Somebody::who(Does::Nothing));
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-2"));
    let refusal = world.refusal(401, BEARER);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert!(gate.refused(&refusal).await.unwrap());
    world.script.life.store(3600, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-4"));
    assert!(gate.refused(&refusal).await.is_err(), "one that is good for an hour will not get better");
    assert_eq!(world.grants().len(), 4);
}

#[tokio::test]
async fn aut_23_twenty_runs_with_one_expired_token_renew_it_once() {
    let world = World::new().await;
    world.script.life.store(1, Ordering::SeqCst);
    world.logged_in().await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.script.life.store(3600, Ordering::SeqCst);
    world.script.thinks.store(200, Ordering::SeqCst);
    let person = Somebody::who(Does::Nothing);
    let runs = (0..20).map(|_| {
        let gate = world.gate(Login::Never, &person);
        let url = world.url();
        tokio::spawn(async move { shown(&gate, &url).await })
    });
    for run in runs.collect::<Vec<_>>() {
        assert_eq!(run.await.unwrap().unwrap().as_deref(), Some("Bearer access-2"));
    }
    assert_eq!(world.grants(), ["authorization_code", "refresh_token"]);
}

#[tokio::test]
async fn aut_23_a_renewal_that_nobody_waits_for_any_more_is_stored_all_the_same() {
    let world = World::new().await;
    world.logged_in().await;
    world.script.thinks.store(300, Ordering::SeqCst);
    let gate = world.gate(Login::Never, &Somebody::who(Does::Nothing));
    world.shown(&gate).await;
    let refusal = world.refusal(401, BEARER);
    let given_up = tokio::time::timeout(Duration::from_millis(100), gate.refused(&refusal)).await;
    assert!(given_up.is_err());
    gate.settle().await;
    assert_eq!(world.record().await.unwrap().tokens.unwrap().access.reveal(), "access-2");
    // The gate itself has the old token, and finds the new one instead of using the old refresh token again.
    assert!(gate.refused(&refusal).await.unwrap());
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(world.grants().len(), 2);
}

#[tokio::test]
async fn aut_23_invalid_grant_drops_the_tokens_and_invalid_client_the_registration() {
    for (error, registered) in [("invalid_grant", true), ("invalid_client", false)] {
        let world = World::new().await;
        world.logged_in().await;
        *world.script.denies.lock().unwrap() = Some((400, json!({"error": error, "error_description": "no more"})));
        let gate = world.gate(Login::Never, &Somebody::who(Does::Nothing));
        world.shown(&gate).await;
        let failure = gate.refused(&world.refusal(401, BEARER)).await.unwrap_err();
        assert_eq!(failure.class(), Class::Auth);
        assert!(failure.to_string().contains("no more"), "{failure}");
        let record = world.record().await;
        assert_eq!(record.is_some(), registered, "{error}");
        assert!(record.is_none_or(|record| record.tokens.is_none() && record.client.origin == Origin::Registered));
        assert_eq!(world.shown(&gate).await, None);
    }
}

#[tokio::test]
async fn a_passing_failure_of_the_issuer_costs_nothing() {
    let world = World::new().await;
    world.logged_in().await;
    *world.script.denies.lock().unwrap() = Some((503, json!({})));
    let gate = world.gate(Login::Always, &Somebody::who(Does::Nothing));
    world.shown(&gate).await;
    let failure = gate.refused(&world.refusal(401, BEARER)).await.unwrap_err();
    assert_eq!(failure.class(), Class::Unreachable);
    assert_eq!(world.record().await.unwrap().tokens.unwrap().refresh.unwrap().reveal(), "refresh-1");
}

#[tokio::test]
async fn requests_that_are_refused_together_ask_one_person_once() {
    let world = World::new().await;
    let person = Somebody::who(Does::LogsIn);
    let gate = world.gate(Login::Always, &person);
    for _ in 0..5 {
        world.shown(&gate).await;
    }
    let refusal = world.refusal(401, BEARER);
    let all = futures_util::future::join_all((0..5).map(|_| gate.refused(&refusal))).await;
    assert!(all.into_iter().all(|one| one.unwrap()));
    assert_eq!(person.logins(), 1);
    // One that was under way with no token, and is refused only now.
    assert!(gate.refused(&refusal).await.unwrap());
    assert_eq!(person.logins(), 1);
}

#[tokio::test]
async fn aut_21_a_step_up_asks_for_the_union_and_few_times() {
    let world = World::new().await;
    let person = Somebody::who(Does::LogsIn);
    let gate = world.gate(Login::Always, &person);
    assert!(gate.refused(&world.refusal(401, "Bearer scope=\"a\"")).await.unwrap());
    world.shown(&gate).await;
    assert!(gate.refused(&world.refusal(403, "Bearer error=\"insufficient_scope\", scope=\"b a\"")).await.unwrap());
    let asked = person.opened.lock().unwrap().clone();
    assert!(asked[0].contains("&scope=a") && asked[1].contains("&scope=a+b"), "{asked:?}");
    world.shown(&gate).await;
    let again = gate.refused(&world.refusal(403, "Bearer error=\"insufficient_scope\", scope=\"b\"")).await;
    assert_eq!(again.unwrap_err().class(), Class::Auth);
    assert!(!gate.refused(&world.refusal(403, "Bearer error=\"insufficient_scope\"")).await.unwrap());
    let scripted = world.gate(Login::Auto, &person);
    world.shown(&scripted).await;
    let told = scripted.refused(&world.refusal(403, "Bearer error=\"insufficient_scope\", scope=\"c\"")).await;
    let login = format!("mcpipe auth login srv --scope {}", crate::shell::quoted("a b c"));
    assert_eq!(told.unwrap_err().details().hint.as_ref(), Some(&login));
    assert_eq!(person.logins(), 2);
}

#[tokio::test]
async fn aut_21_ever_new_scopes_end_after_a_few_attempts() {
    let world = World::new().await;
    let person = Somebody::who(Does::LogsIn);
    let gate = world.gate(Login::Always, &person);
    let mut ended = false;
    for number in 0..10 {
        world.shown(&gate).await;
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"s{number}\"");
        if gate.refused(&world.refusal(403, &challenge)).await.is_err() {
            ended = true;
            break;
        }
    }
    assert!(ended && person.logins() == 3, "{}", person.logins());
}

#[tokio::test]
async fn machines_log_in_by_themselves_again_and_again() {
    let world = World::new().await;
    world.script.life.store(1, Ordering::SeqCst);
    let settings = Settings {
        client_id: Some("ci".into()),
        client_secret: Some(Secret::new("s3cret")),
        grant: Grant::ClientCredentials,
        ..Settings::default()
    };
    let person = Somebody::who(Does::Nothing);
    let gate = world.gate_with(settings, Login::Never, &person);
    assert!(gate.refused(&world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(world.shown(&gate).await.as_deref(), Some("Bearer access-1"));
    let asked = world.fake.seen().pop().unwrap();
    assert_eq!(asked.headers["authorization"], "Basic Y2k6czNjcmV0");
    assert_eq!(asked.form()["grant_type"], "client_credentials");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    // Another run, which is told nothing, does as the record says.
    *world.script.denies.lock().unwrap() = Some((400, json!({"error": "invalid_grant"})));
    let plain = world.gate(Login::Never, &person);
    assert_eq!(world.shown(&plain).await, None);
    assert!(plain.refused(&world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(world.shown(&plain).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(world.grants(), ["client_credentials", "refresh_token", "client_credentials"]);
    assert_eq!(world.fake.count("POST /register"), 0);
}

#[tokio::test]
async fn tokens_of_a_login_elsewhere_come_with_the_key_that_they_are_bound_to() {
    let world = World::new().await;
    world.logged_in().await;
    let bound = async |access: &str| {
        let mut record = world.record().await.unwrap();
        let prover = Prover::generate().unwrap();
        record.dpop_key = Some(prover.secret().clone());
        let tokens = record.tokens.as_mut().unwrap();
        (tokens.access, tokens.dpop) = (Secret::new(access), true);
        world.store.put(&record.key(), &record.about(None), &record.write().unwrap()).await.unwrap();
        prover
    };
    let jwk = |proof: &Secret| {
        let header = URL_SAFE_NO_PAD.decode(proof.reveal().split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&header).unwrap()["jwk"].clone()
    };
    bound("access-8").await;
    let gate = world.gate(Login::Never, &Somebody::who(Does::Nothing));
    assert_eq!(world.shown(&gate).await.as_deref(), Some("DPoP access-8"));
    let other = bound("access-9").await;
    assert!(gate.refused(&world.refusal(401, BEARER)).await.unwrap());
    let headers = gate.headers("POST", &world.url()).await.unwrap();
    assert_eq!(headers[0].1.reveal(), "DPoP access-9");
    let url = world.url();
    let about = Shown { method: "POST", url: &url, token: None };
    assert_eq!(jwk(&headers[1].1), jwk(&other.proof(about, &Nonces::default(), 0).unwrap()));
    assert_eq!(world.grants(), ["authorization_code"], "what is there is not renewed");
}

#[tokio::test]
async fn a_nonce_is_shown_to_the_origin_that_gave_it_from_then_on() {
    let world = World::new().await;
    world.logged_in().await;
    let mut record = world.record().await.unwrap();
    record.dpop_key = Some(Prover::generate().unwrap().secret().clone());
    record.tokens.as_mut().unwrap().dpop = true;
    world.store.put(&record.key(), &record.about(None), &record.write().unwrap()).await.unwrap();
    let gate = world.gate(Login::Never, &Somebody::who(Does::Nothing));
    let nonce = async || {
        let headers = gate.headers("POST", &world.url()).await.unwrap();
        let claims = headers[1].1.reveal().split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        serde_json::from_slice::<serde_json::Value>(&claims.unwrap()).unwrap()["nonce"].clone()
    };
    let wants = || world.refusal(401, "DPoP error=\"use_dpop_nonce\"");
    assert_eq!(nonce().await, json!(null));
    gate.nonce(&"https://127.0.0.1/mcp".parse().unwrap(), "of-another");
    assert_eq!(nonce().await, json!(null));
    // Told before the refusal, as the transport does.
    gate.nonce(&world.url(), "n-1");
    assert!(gate.refused(&Refusal { dpop_nonce: Some("n-1".into()), ..wants() }).await.unwrap());
    assert_eq!(nonce().await, json!("n-1"));
    gate.nonce(&world.fake.url("/elsewhere?x"), "n-2");
    assert_eq!(nonce().await, json!("n-2"));
    // One that names none asks for something else.
    assert!(!gate.refused(&wants()).await.is_ok_and(|again| again && world.grants().len() == 1));
    assert_eq!(nonce().await, json!("n-2"), "a renewal keeps what was learned");
}

#[tokio::test]
async fn a_record_of_another_client_is_not_used() {
    let world = World::new().await;
    world.logged_in().await;
    let settings = Settings { client_id: Some("mine".into()), ..Settings::default() };
    let gate = world.gate_with(settings, Login::Never, &Somebody::who(Does::Nothing));
    assert_eq!(world.shown(&gate).await, None);
}

#[tokio::test]
async fn damaged_credentials_are_named_and_not_shown() {
    let world = World::new().await;
    world.logged_in().await;
    let about = world.store.list().unwrap().pop().unwrap();
    world.store.put(&about.key, &about, &Secret::new("{\"server\": \"hunter2")).await.unwrap();
    let gate = world.gate(Login::Always, &Somebody::who(Does::LogsIn));
    let failure = shown(&gate, &world.url()).await.unwrap_err();
    assert_eq!(failure.class(), Class::Config);
    assert!(!format!("{failure:?}").contains("hunter2"));
}
