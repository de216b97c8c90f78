//! The life of tokens: sent, refreshed, replaced, removed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::super::dpop::{DpopKey, DpopNonces, ProofTarget};
use super::super::testing::{TestUser, UserAction};
use super::super::{Grant, OAuthSettings};
use super::{AuthTestEnv, BEARER, authorization_header};
use crate::error::ErrorKind;
use crate::secret::Secret;
use crate::transport::Authorize;
use crate::util::when::When;

#[tokio::test]
async fn aut_20_a_token_goes_to_its_server_only() {
    let world = AuthTestEnv::logged_in().await;
    let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    for elsewhere in ["http://127.0.0.1:9/mcp", "https://127.0.0.1/mcp", "http://localhost/mcp"] {
        assert_eq!(authorization_header(&gate, &elsewhere.parse().unwrap()).await.unwrap(), None, "{elsewhere}");
    }
    assert!(authorization_header(&gate, &world.server.url("/messages?x")).await.unwrap().is_some(), "the same origin");
}

#[tokio::test]
async fn a_token_that_expires_in_transit_is_refreshed_again() {
    let world = AuthTestEnv::logged_in().await;
    world.expire_tokens().await;
    world.script.lifetime_secs.store(1, Ordering::SeqCst);
    let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-2"));
    // It is sent, and expires before the server has it.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.script.lifetime_secs.store(3600, Ordering::SeqCst);
    let refusal = world.refusal(401, BEARER);
    assert!(world.reject(&gate, &refusal).await.unwrap());
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-3"));
    assert!(world.reject(&gate, &refusal).await.is_err(), "one that is good for an hour will not get better");
    assert_eq!(world.grant_types(), ["authorization_code", "refresh_token", "refresh_token"]);
}

#[tokio::test]
async fn concurrent_rejected_requests_start_one_login() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::LogIn);
    let gate = world.provider(When::Always, &person);
    for _ in 0..5 {
        world.authorization_header(&gate).await;
    }
    let refusal = world.refusal(401, BEARER);
    let all = futures_util::future::join_all((0..5).map(|_| world.reject(&gate, &refusal))).await;
    assert!(all.into_iter().all(|one| one.unwrap()));
    assert_eq!(person.login_count(), 1);
    // One that was under way with no token, and is refused only now.
    assert!(world.reject(&gate, &refusal).await.unwrap());
    assert_eq!(person.login_count(), 1);
}

/// `AUT-23`: a refused token is refreshed once, whichever run obtained it.
#[tokio::test]
async fn aut_23_a_token_of_another_run_is_refreshed_if_it_is_refused() {
    let world = AuthTestEnv::logged_in().await;
    let user = TestUser::new(UserAction::Ignore);
    let (gate, other) = (world.provider(When::Never, &user), world.provider(When::Never, &user));
    let refusal = world.refusal(401, BEARER);
    for provider in [&gate, &other] {
        assert_eq!(world.authorization_header(provider).await.as_deref(), Some("Bearer access-1"));
    }
    assert!(world.reject(&other, &refusal).await.unwrap());
    for token in ["Bearer access-2", "Bearer access-3"] {
        assert!(world.reject(&gate, &refusal).await.unwrap());
        assert_eq!(world.authorization_header(&gate).await.as_deref(), Some(token));
    }
    assert!(world.reject(&gate, &refusal).await.is_err(), "it was refreshed once");
    assert_eq!(world.grant_types(), ["authorization_code", "refresh_token", "refresh_token"]);
}

#[tokio::test]
async fn aut_21_logins_after_expired_tokens_are_not_limited() {
    let world = AuthTestEnv::new().await;
    world.script.lifetime_secs.store(1, Ordering::SeqCst);
    world.script.omits_refresh_token.store(true, Ordering::SeqCst);
    let settings = OAuthSettings {
        client_id: Some("ci".into()),
        client_secret: Some(Secret::new("s3cret")),
        grant: Some(Grant::ClientCredentials),
        ..OAuthSettings::default()
    };
    let gate = world.provider_with(settings, When::Never, &TestUser::new(UserAction::Ignore));
    for round in 0..5 {
        if round > 0 {
            // The token expires.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        assert_eq!(world.authorization_header(&gate).await, None);
        assert!(world.reject(&gate, &world.refusal(401, BEARER)).await.unwrap());
    }
    assert_eq!(world.grant_types(), ["client_credentials"; 5]);
}

#[tokio::test]
async fn aut_21_a_step_up_requests_the_union_of_scopes_a_limited_number_of_times() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::LogIn);
    let gate = world.provider(When::Always, &person);
    assert!(world.reject(&gate, &world.refusal(401, "Bearer scope=\"a\"")).await.unwrap());
    world.authorization_header(&gate).await;
    assert!(
        world.reject(&gate, &world.refusal(403, "Bearer error=\"insufficient_scope\", scope=\"b a\"")).await.unwrap()
    );
    let asked = person.opened_urls.lock().unwrap().clone();
    assert!(asked[0].contains("&scope=a") && asked[1].contains("&scope=a+b"), "{asked:?}");
    world.authorization_header(&gate).await;
    let again = world.reject(&gate, &world.refusal(403, "Bearer error=\"insufficient_scope\", scope=\"b\"")).await;
    assert_eq!(again.unwrap_err().kind(), ErrorKind::Auth);
    assert!(!world.reject(&gate, &world.refusal(403, "Bearer error=\"insufficient_scope\"")).await.unwrap());
    let scripted = world.provider(When::Auto, &person);
    world.authorization_header(&scripted).await;
    let told = world.reject(&scripted, &world.refusal(403, "Bearer error=\"insufficient_scope\", scope=\"c\"")).await;
    let login = format!("mcpipe auth login srv --scope {}", crate::util::quoting::quote("a b c"));
    assert_eq!(told.unwrap_err().details().hint.as_ref(), Some(&login));
    assert_eq!(person.login_count(), 2);
}

#[tokio::test]
async fn aut_21_repeated_step_ups_end_after_a_few_attempts() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::LogIn);
    let gate = world.provider(When::Always, &person);
    let mut ended = false;
    for number in 0..10 {
        world.authorization_header(&gate).await;
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"s{number}\"");
        if world.reject(&gate, &world.refusal(403, &challenge)).await.is_err() {
            ended = true;
            break;
        }
    }
    assert!(ended && person.login_count() == 3, "{}", person.login_count());
}

#[tokio::test]
async fn tokens_of_another_run_are_used_with_their_dpop_key() {
    let world = AuthTestEnv::logged_in().await;
    let bound = async |access: &str| {
        let mut record = world.stored_credentials().await.unwrap();
        let prover = DpopKey::generate().unwrap();
        record.dpop_key = Some(prover.encoded().clone());
        let tokens = record.tokens.as_mut().unwrap();
        (tokens.access, tokens.dpop) = (Secret::new(access), true);
        world.store.put(&record.store_key(), &record.summary(None), &record.to_stored().unwrap()).await.unwrap();
        prover
    };
    let jwk = |proof: &Secret| {
        let header = URL_SAFE_NO_PAD.decode(proof.reveal().split('.').next().unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&header).unwrap()["jwk"].clone()
    };
    bound("access-8").await;
    let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("DPoP access-8"));
    let other = bound("access-9").await;
    assert!(world.reject(&gate, &world.refusal(401, BEARER)).await.unwrap());
    let headers = gate.headers("POST", &world.url()).await.unwrap();
    assert_eq!(headers[0].1.reveal(), "DPoP access-9");
    let url = world.url();
    let about = ProofTarget { method: "POST", url: &url, access_token: None };
    assert_eq!(jwk(&headers[1].1), jwk(&other.dpop_proof(about, &DpopNonces::default(), 0).unwrap()));
    assert_eq!(world.grant_types(), ["authorization_code"], "what is there is not renewed");
}

#[tokio::test]
async fn an_issuer_with_a_final_slash_is_the_same_one() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::LogIn);
    let gate = world.provider(When::Always, &person);
    assert!(world.reject(&gate, &world.refusal(401, "Bearer scope=\"a\"")).await.unwrap());
    *world.script.metadata.lock().unwrap() = json!({"issuer": format!("{}/", world.server.origin)});
    world.authorization_header(&gate).await;
    let failure = world.reject(&gate, &world.refusal(401, BEARER)).await.unwrap_err();
    assert!(failure.to_string().contains("refuses the token of the new login"), "{failure}");
    let step_up = world.refusal(403, "Bearer error=\"insufficient_scope\", scope=\"b\"");
    assert!(world.reject(&gate, &step_up).await.unwrap());
    let opened = person.opened_urls.lock().unwrap().clone();
    assert!(opened.len() == 2 && opened[1].contains("&scope=a+b"), "{opened:?}");
    assert_eq!(world.store.list().unwrap().len(), 1, "the earlier login is replaced");
}

/// A process that refreshes the replaced login stores it again.
#[tokio::test]
async fn aut_13_a_replaced_login_is_removed_when_no_other_process_refreshes_it() {
    let world = AuthTestEnv::logged_in().await;
    let mut old = world.stored_credentials().await.unwrap();
    assert!(world.store.delete(&old.store_key()).await.unwrap());
    old.issuer = "https://old.example".into();
    let (key, record) = (old.store_key(), old.to_stored().unwrap());
    let refreshed = old.summary(Some("srv"));
    old.tokens = None;
    world.store.put(&key, &old.summary(Some("srv")), &old.to_stored().unwrap()).await.unwrap();

    let refreshing = world.store.lock(&key).await.unwrap();
    let gate = world.provider(When::Always, &TestUser::new(UserAction::LogIn));
    let refusal = world.refusal(401, BEARER);
    let refresh = async {
        while world.store.list().unwrap().iter().all(|stored| stored.key == key || stored.lacks_tokens) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.store.put(&key, &refreshed, &record).await.unwrap();
        drop(refreshing);
    };
    let (login, ()) = tokio::join!(world.reject(&gate, &refusal), refresh);
    assert!(login.unwrap());
    let left = world.store.list().unwrap();
    assert!(left.len() == 1 && left[0].issuer == world.server.origin, "{left:?}");
}
