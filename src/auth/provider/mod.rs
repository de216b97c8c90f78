//! The tokens for one server: sent with each request, refreshed before they expire, obtained when the server refuses
//! (2026-07-28, basic/authorization). The transport sees no other part of `auth`.

mod login;
mod refresh;
mod rejection;
mod state;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, HeaderName};
use url::Url;

use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{Credentials, TokenSet};
use crate::auth::dpop::ProofTarget;
use crate::auth::login_context::LoginContext;
use crate::auth::store::CredentialStore;
use crate::config::oauth::OAuthSettings;
use crate::error::{Failure, Result};
use crate::protocol::challenge;
use crate::secret::Secret;
use crate::transport::http::DPOP_HEADER;
use crate::transport::{Authorize, BoxFuture, UnexpectedResponse};
use crate::util::lock::lock;
use state::{LoginReason, ProviderInner};

/// How long to wait at exit for a refresh in progress: with a rotated refresh token, losing the response may lose the
/// login.
const REFRESH_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// Provides the tokens for one server.
#[derive(Clone)]
pub struct TokenProvider(Arc<ProviderInner>);

impl TokenProvider {
    /// Creates a provider. Neither the store nor the network is used yet.
    #[must_use]
    pub fn new(context: LoginContext, settings: OAuthSettings, store: Arc<dyn CredentialStore>) -> Self {
        TokenProvider(Arc::new(ProviderInner {
            context,
            settings,
            store,
            state: tokio::sync::Mutex::default(),
            busy_count: AtomicUsize::new(0),
            refresh_tasks: Mutex::default(),
        }))
    }

    /// The login and its tokens, refreshed if they are about to expire; obtained if that needs no user.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::error::ErrorKind::Auth) if the user must log in first.
    pub async fn tokens(&self) -> Result<(Credentials, TokenSet)> {
        let mut state = self.0.state.lock().await;
        self.0.ensure_fresh(&mut state).await?;
        if state.valid_tokens().is_none() {
            if self.0.effective_settings(&state).grant().is_interactive() {
                return Err(match state.login_reason() {
                    // The server was not asked: it may accept requests without a login.
                    LoginReason::NotLoggedIn => self.0.not_logged_in_failure(),
                    reason => self.0.login_required_failure(&reason, None),
                });
            }
            self.0.log_in(&mut state, LoginReason::NotLoggedIn, None).await?;
        }
        let found = state.loaded.as_ref().zip(state.valid_tokens());
        let found = found.map(|(loaded, tokens)| (loaded.credentials.clone(), tokens.clone()));
        found.ok_or_else(|| self.0.not_logged_in_failure())
    }

    /// An ID that differs for each login; `None` without a login. Does not open the keychain.
    ///
    /// # Errors
    /// If the index cannot be read.
    pub fn login_id(&self) -> Result<Option<String>> {
        Ok(self.0.select_stored()?.and_then(|summary| summary.login))
    }

    /// Whether a login was begun in this run, with or without success.
    pub async fn has_tried_login(&self) -> bool {
        self.0.state.lock().await.has_tried_login
    }

    /// Whether the server refused the token of a login of this run.
    pub async fn is_login_refused(&self) -> bool {
        self.0.state.lock().await.is_login_refused
    }

    /// Logs in although the server did not ask for it. `None` if the server advertises no authorization server.
    ///
    /// # Errors
    /// If the login fails.
    pub async fn log_in(&self) -> Result<Option<Credentials>> {
        let mut state = self.0.state.lock().await;
        self.0.load_credentials(&mut state).await?;
        let challenge = state.metadata_challenge.clone();
        let found = self.0.discover(&state, challenge.as_ref()).await?;
        if !found.is_advertised && self.0.effective_settings(&state).client_id.is_none() {
            return Ok(None);
        }
        state.has_tried_login = true;
        self.0.run_login(&mut state, LoginReason::NotLoggedIn, challenge.as_ref(), found).await?;
        Ok(state.loaded.as_ref().map(|loaded| loaded.credentials.clone()))
    }

    /// The issuer of the authorization server that the server names, from its metadata; `None` if it names none.
    ///
    /// # Errors
    /// If metadata cannot be fetched, fails verification, or names no endpoint for tokens.
    pub async fn authorization_server(&self) -> Result<Option<String>> {
        let state = self.0.state.lock().await;
        let found = self.0.discover(&state, state.metadata_challenge.as_ref()).await?;
        if found.is_advertised && found.authorization_server.token_endpoint.is_none() {
            return Err(found.missing_endpoint("token endpoint"));
        }
        Ok(found.is_advertised.then_some(found.authorization_server.issuer))
    }

    /// The credentials, if they were obtained in this run.
    pub async fn credentials_from_this_run(&self) -> Option<Credentials> {
        let state = self.0.state.lock().await;
        state.last_obtained.and_then(|_| state.loaded.as_ref().map(|loaded| loaded.credentials.clone()))
    }

    /// Why new credentials could not be stored, if they could not.
    pub async fn store_failure(&self) -> Option<Failure> {
        self.0.state.lock().await.store_failure.clone()
    }
}

impl ProviderInner {
    /// The headers that carry the token.
    async fn authorization_headers(self: &Arc<Self>, method: &str, url: &Url) -> Result<Vec<(HeaderName, Secret)>> {
        // The token is sent to this server only (`AUT-20`).
        if url.origin() != self.context.http.server().origin() {
            return Ok(Vec::new());
        }
        let mut state = self.state.lock().await;
        // New tokens are sent however short they live.
        let is_new = self.ensure_fresh(&mut state).await?;
        self.warn_if_unauthenticated(&mut state);
        if is_new || state.valid_tokens().is_some() {
            (state.ended_reason, state.sent_without_token) = (None, None);
        } else if state.ended_reason.is_some() {
            state.sent_without_token.get_or_insert_with(Instant::now);
        }
        let Some(tokens) = state.tokens().filter(|_| is_new).or_else(|| state.valid_tokens()) else {
            return Ok(Vec::new());
        };
        match state.loaded.as_ref().and_then(|loaded| loaded.dpop_key.as_ref()) {
            Some(key) if tokens.dpop => {
                let target = ProofTarget { method, url, access_token: Some(&tokens.access) };
                let proof = key.dpop_proof(target, &self.context.http.dpop_nonces, unix_seconds())?;
                let token = Secret::new(format!("DPoP {}", tokens.access.reveal()));
                Ok(vec![(AUTHORIZATION, token), (DPOP_HEADER, proof)])
            }
            _ => Ok(vec![(AUTHORIZATION, Secret::new(format!("Bearer {}", tokens.access.reveal())))]),
        }
    }
}

impl Authorize for TokenProvider {
    fn headers<'a>(&'a self, method: &'a str, url: &'a Url) -> BoxFuture<'a, Result<Vec<(HeaderName, Secret)>>> {
        Box::pin(self.0.authorization_headers(method, url))
    }

    fn handle_rejection<'a>(
        &'a self,
        authorization: Option<&'a Secret>,
        response: &'a UnexpectedResponse,
    ) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.0.handle_rejection(authorization, response))
    }

    fn store_challenges<'a>(&'a self, challenges: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let challenges = challenge::parse_challenges(challenges);
            self.0.state.lock().await.store_metadata_challenge(challenge::select_oauth_challenge(&challenges));
        })
    }

    fn store_nonce(&self, url: &Url, nonce: &str) {
        self.0.context.http.dpop_nonces.remember(url, nonce);
    }

    fn login_in_progress(&self) -> bool {
        self.0.busy_count.load(Ordering::Relaxed) > 0
    }

    fn wait_for_refresh(&self) -> BoxFuture<'_, ()> {
        let tasks = std::mem::take(&mut *lock(&self.0.refresh_tasks));
        Box::pin(async move {
            if let Ok(mut state) = self.0.state.try_lock() {
                self.0.warn_if_unauthenticated(&mut state);
            }
            let all = async {
                for task in tasks {
                    let _ = task.await;
                }
            };
            let _ = tokio::time::timeout(REFRESH_SHUTDOWN_TIMEOUT, all).await;
        })
    }
}
