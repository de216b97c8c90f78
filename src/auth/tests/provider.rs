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
use crate::auth::credentials::ClientOrigin;
use crate::error::ErrorKind;
use crate::secret::Secret;
use crate::transport::{Authorize, UnexpectedResponse};
use crate::util::when::When;

/// The redirect URI of an authorization request.
fn redirect_uri_in(line: String) -> Option<String> {
    Some(line.strip_prefix("GET /authorize?")?.split("redirect_uri=").nth(1)?.split('&').next()?.to_owned())
}

#[tokio::test]
async fn a_login_is_stored_and_its_token_sent_from_then_on() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::LogIn);
    let gate = world.provider(When::Always, &person);
    assert_eq!(world.authorization_header(&gate).await, None);
    assert!(world.reject(&gate, &world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-1"));
    assert!(!gate.login_in_progress());
    let next = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    assert_eq!(world.authorization_header(&next).await.as_deref(), Some("Bearer access-1"));
    assert!(next.login_id().unwrap().is_some());
    // Every secret is to be hidden in what is printed.
    let hidden = person.secrets.lock().unwrap().clone();
    for secret in ["access-1", "refresh-1", "c0de"] {
        assert!(hidden.iter().any(|one| one == secret), "{secret}");
    }
    let authorize = world.server.requests().into_iter().find(|asked| asked.path.starts_with("/authorize")).unwrap();
    assert!(authorize.path.contains("scope=a+b"), "{}", authorize.path);
}

#[tokio::test]
async fn aut_20_a_token_goes_to_its_server_only() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    for elsewhere in ["http://127.0.0.1:9/mcp", "https://127.0.0.1/mcp", "http://localhost/mcp"] {
        assert_eq!(authorization_header(&gate, &elsewhere.parse().unwrap()).await.unwrap(), None, "{elsewhere}");
    }
    assert!(authorization_header(&gate, &world.server.url("/messages?x")).await.unwrap().is_some(), "the same origin");
}

#[tokio::test]
async fn a_login_starts_only_if_a_user_can_answer() {
    let world = AuthTestEnv::new().await;
    let person = TestUser::new(UserAction::LogIn);
    for login in [When::Auto, When::Never] {
        let failure =
            world.provider(login, &person).handle_rejection(None, &world.refusal(401, BEARER)).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert!(failure.details().hint.as_deref().unwrap().ends_with("mcpipe auth login srv"));
    }
    assert_eq!(person.login_count(), 0);
    assert!(world.server.requests().is_empty(), "nobody was asked anything");
    let gate = world.provider(When::Always, &person);
    assert!(!world.reject(&gate, &world.refusal(401, "Basic realm=\"x\"")).await.unwrap(), "another kind of login");
    assert!(!world.reject(&gate, &world.refusal(403, "Bearer error=\"invalid_token\"")).await.unwrap());
}

#[tokio::test]
async fn aut_23_a_token_is_refreshed_before_it_expires_and_the_old_refresh_token_is_kept() {
    let world = AuthTestEnv::new().await;
    world.script.reuses_refresh_token.store(true, Ordering::SeqCst);
    world.log_in().await;
    world.expire_tokens().await;
    let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(world.grant_types(), ["authorization_code", "refresh_token"]);
    let tokens = world.stored_credentials().await.unwrap().tokens.unwrap();
    assert_eq!((tokens.access.reveal(), tokens.refresh.unwrap().reveal()), ("access-2", "refresh-1"));
    let asked = world.server.requests().pop().unwrap();
    assert_eq!(asked.form()["resource"], world.url().as_str(), "AUT-14");
}

#[tokio::test]
async fn aut_23_a_rejected_token_is_refreshed_once_then_a_login_is_tried_once() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    let person = TestUser::new(UserAction::LogIn);
    let gate = world.provider(When::Always, &person);
    let refusal = world.refusal(401, "Bearer error=\"invalid_token\", error_description=\"because\"");
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-1"));
    assert!(world.reject(&gate, &refusal).await.unwrap());
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(person.login_count(), 0);
    assert!(world.reject(&gate, &refusal).await.unwrap());
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-3"));
    assert_eq!(person.login_count(), 1);
    let failure = world.reject(&gate, &refusal).await.unwrap_err();
    assert!(failure.to_string().contains("because"), "{failure}");
    assert_eq!(world.grant_types(), ["authorization_code", "refresh_token", "authorization_code"]);
    // The registration is used again, unless its port is in use by now.
    let redirects: std::collections::HashSet<String> =
        world.server.request_lines().into_iter().filter_map(redirect_uri_in).collect();
    assert_eq!(world.server.request_count("POST /register"), redirects.len());
}

#[tokio::test]
async fn a_token_that_expires_in_transit_is_refreshed_again() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
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
async fn aut_23_twenty_runs_refresh_an_expired_token_once() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    world.expire_tokens().await;
    world.script.token_delay_ms.store(200, Ordering::SeqCst);
    let person = TestUser::new(UserAction::Ignore);
    let runs = (0..20).map(|_| {
        let gate = world.provider(When::Never, &person);
        let url = world.url();
        tokio::spawn(async move { authorization_header(&gate, &url).await })
    });
    for run in runs.collect::<Vec<_>>() {
        assert_eq!(run.await.unwrap().unwrap().as_deref(), Some("Bearer access-2"));
    }
    assert_eq!(world.grant_types(), ["authorization_code", "refresh_token"]);
}

#[tokio::test]
async fn aut_23_a_canceled_refresh_is_still_stored() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    world.script.token_delay_ms.store(300, Ordering::SeqCst);
    let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    world.authorization_header(&gate).await;
    let refusal = world.refusal(401, BEARER);
    let before = world.server.request_count("POST /token");
    tokio::select! {
        _ = world.reject(&gate, &refusal) => panic!("the refresh takes longer"),
        () = async {
            while world.server.request_count("POST /token") == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    gate.wait_for_refresh().await;
    assert_eq!(world.stored_credentials().await.unwrap().tokens.unwrap().access.reveal(), "access-2");
    // The gate itself has the old token, and finds the new one instead of using the old refresh token again.
    assert!(world.reject(&gate, &refusal).await.unwrap());
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(world.grant_types().len(), 2);
}

#[tokio::test]
async fn aut_23_invalid_grant_deletes_the_tokens_and_invalid_client_the_registration() {
    for (error, registered) in [("invalid_grant", true), ("invalid_client", false)] {
        let world = AuthTestEnv::new().await;
        world.log_in().await;
        *world.script.refresh_error.lock().unwrap() =
            Some((400, json!({"error": error, "error_description": "no more"})));
        let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
        world.authorization_header(&gate).await;
        let failure = world.reject(&gate, &world.refusal(401, BEARER)).await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Auth);
        assert!(failure.to_string().contains("no more"), "{failure}");
        let record = world.stored_credentials().await;
        assert_eq!(record.is_some(), registered, "{error}");
        assert!(
            record.is_none_or(|record| record.tokens.is_none() && record.client.origin == ClientOrigin::Registered)
        );
        assert_eq!(world.authorization_header(&gate).await, None);
    }
}

#[tokio::test]
async fn a_transient_error_of_the_issuer_keeps_the_tokens() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    *world.script.refresh_error.lock().unwrap() = Some((503, json!({})));
    let gate = world.provider(When::Always, &TestUser::new(UserAction::Ignore));
    world.authorization_header(&gate).await;
    let failure = world.reject(&gate, &world.refusal(401, BEARER)).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Unreachable);
    assert_eq!(world.stored_credentials().await.unwrap().tokens.unwrap().refresh.unwrap().reveal(), "refresh-1");
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

/// The refused request was sent with the earlier token, and its refusal arrives after the next token has been accepted.
#[tokio::test]
async fn a_late_refusal_of_an_earlier_token_is_not_about_the_new_one() {
    for (status, challenge) in [(401, BEARER), (403, "Bearer error=\"insufficient_scope\", scope=\"b\"")] {
        let world = AuthTestEnv::new().await;
        world.log_in().await;
        let person = TestUser::new(UserAction::LogIn);
        let gate = world.provider(When::Always, &person);
        assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-1"));
        let (refusal, sent) = (world.refusal(status, challenge), Secret::new("Bearer access-1"));
        for _ in 0..3 {
            assert!(gate.handle_rejection(Some(&sent), &refusal).await.unwrap());
            assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-2"));
        }
        assert_eq!((world.grant_types().len(), person.login_count()), (2, usize::from(status == 403)));
    }
}

/// `AUT-23`: a refused token is refreshed once, whichever run obtained it.
#[tokio::test]
async fn aut_23_a_token_of_another_run_is_refreshed_if_it_is_refused() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
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
async fn non_interactive_grants_log_in_without_a_user() {
    let world = AuthTestEnv::new().await;
    let settings = OAuthSettings {
        client_id: Some("ci".into()),
        client_secret: Some(Secret::new("s3cret")),
        grant: Some(Grant::ClientCredentials),
        ..OAuthSettings::default()
    };
    let person = TestUser::new(UserAction::Ignore);
    let gate = world.provider_with(settings, When::Never, &person);
    assert!(world.reject(&gate, &world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(world.authorization_header(&gate).await.as_deref(), Some("Bearer access-1"));
    let asked = world.server.requests().pop().unwrap();
    assert_eq!(asked.headers["authorization"], "Basic Y2k6czNjcmV0");
    assert_eq!(asked.form()["grant_type"], "client_credentials");
    world.expire_tokens().await;
    // Another run without settings uses those of the stored login.
    *world.script.refresh_error.lock().unwrap() = Some((400, json!({"error": "invalid_grant"})));
    let plain = world.provider(When::Never, &person);
    assert_eq!(world.authorization_header(&plain).await, None);
    assert!(world.reject(&plain, &world.refusal(401, BEARER)).await.unwrap());
    assert_eq!(world.authorization_header(&plain).await.as_deref(), Some("Bearer access-2"));
    assert_eq!(world.grant_types(), ["client_credentials", "refresh_token", "client_credentials"]);
    assert_eq!(world.server.request_count("POST /register"), 0);
}

#[tokio::test]
async fn tokens_of_another_run_are_used_with_their_dpop_key() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
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
async fn a_dpop_nonce_is_sent_to_the_origin_that_issued_it() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    let mut record = world.stored_credentials().await.unwrap();
    record.dpop_key = Some(DpopKey::generate().unwrap().encoded().clone());
    record.tokens.as_mut().unwrap().dpop = true;
    world.store.put(&record.store_key(), &record.summary(None), &record.to_stored().unwrap()).await.unwrap();
    let gate = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
    let nonce = async || {
        let headers = gate.headers("POST", &world.url()).await.unwrap();
        *world.last_sent.lock().unwrap() = Some(headers[0].1.clone());
        let claims = headers[1].1.reveal().split('.').nth(1).map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        serde_json::from_slice::<serde_json::Value>(&claims.unwrap()).unwrap()["nonce"].clone()
    };
    let wants = || world.refusal(401, "DPoP error=\"use_dpop_nonce\"");
    assert_eq!(nonce().await, json!(null));
    gate.store_nonce(&"https://127.0.0.1/mcp".parse().unwrap(), "of-another");
    assert_eq!(nonce().await, json!(null));
    // Told before the refusal, as the transport does.
    gate.store_nonce(&world.url(), "n-1");
    assert!(world.reject(&gate, &UnexpectedResponse { dpop_nonce: Some("n-1".into()), ..wants() }).await.unwrap());
    assert_eq!(nonce().await, json!("n-1"));
    gate.store_nonce(&world.server.url("/elsewhere?x"), "n-2");
    assert_eq!(nonce().await, json!("n-2"));
    // A refusal without a nonce is about the token, which this server cannot bind to a key.
    let failure = world.reject(&gate, &wants()).await.unwrap_err();
    assert_eq!(failure.details().causes, ["the token is not bound to the DPoP key"]);
    assert_eq!(world.grant_types(), ["authorization_code", "refresh_token"]);
    assert_eq!(nonce().await, json!("n-2"), "a renewal keeps what was learned");
}

#[tokio::test]
async fn credentials_of_another_client_id_are_not_used() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    let settings = OAuthSettings { client_id: Some("mine".into()), ..OAuthSettings::default() };
    let gate = world.provider_with(settings, When::Never, &TestUser::new(UserAction::Ignore));
    assert_eq!(world.authorization_header(&gate).await, None);
}

#[tokio::test]
async fn damaged_credentials_are_reported_without_their_content() {
    let world = AuthTestEnv::new().await;
    world.log_in().await;
    let about = world.store.list().unwrap().pop().unwrap();
    world.store.put(&about.key, &about, &Secret::new("{\"server\": \"hunter2")).await.unwrap();
    let gate = world.provider(When::Always, &TestUser::new(UserAction::LogIn));
    let failure = authorization_header(&gate, &world.url()).await.unwrap_err();
    assert_eq!(failure.kind(), ErrorKind::Config);
    assert!(!format!("{failure:?}").contains("hunter2"));
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
    let world = AuthTestEnv::new().await;
    world.log_in().await;
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
