//! What to do when the server refuses a request: refresh once, log in, request more scopes, or give up
//! (2026-07-28, basic/authorization; RFC 6750 §3.1).

use std::sync::Arc;
use std::time::Instant;

use url::Url;

use super::state::{LoginReason, ProviderInner, ProviderState, TokenSource};
use crate::auth::clock::unix_seconds;
use crate::auth::metadata::is_same_issuer;
use crate::auth::{dpop, scopes};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::challenge::{self, Challenge};
use crate::secret::Secret;
use crate::transport::UnexpectedResponse;
use crate::util::shorten::shorten;

/// Why the server refused the request, in its own words.
fn server_words(response: &UnexpectedResponse, challenge: Option<&Challenge>) -> Option<String> {
    let description = challenge.and_then(|challenge| challenge.param("error_description"));
    match description {
        Some(words) => Some(shorten(words, 300)),
        None => response.body_summary(),
    }
}

impl ProviderInner {
    pub(super) async fn handle_rejection(
        self: &Arc<Self>,
        authorization: Option<&Secret>,
        response: &UnexpectedResponse,
    ) -> Result<bool> {
        let arrived = Instant::now();
        self.context.http.record_peer_address(response.remote_ip);
        let challenges = challenge::parse_challenges(&response.challenges);
        let challenge = challenge::select_oauth_challenge(&challenges);
        let mut state = self.state.lock().await;
        state.sent_without_token = None;
        let names = |scheme: &str| challenges.iter().any(|challenge| challenge.scheme == scheme);
        state.requires_dpop |= names("dpop") && !names("bearer");
        state.store_metadata_challenge(challenge);
        // The refusal is about earlier tokens: another request was refused for the same reason and obtained new ones.
        // An authorization server may issue the same token again; then it was while this one waited for the lock.
        if state.has_other_tokens(authorization) || state.last_obtained.is_some_and(|(_, when)| when > arrived) {
            return Ok(true);
        }
        if response.status == 401 && self.is_nonce_retry(&state, response, challenge) {
            return Ok(true);
        }
        let handled = match (response.status, challenge) {
            // A server of another scheme; but one that a login exists for uses OAuth, whatever it names.
            (401, None) if !challenges.is_empty() && state.tokens().is_none() => Ok(false),
            (401, challenge) => self.handle_unauthorized(&mut state, challenge).await,
            (403, Some(challenge)) if challenge.error() == Some("insufficient_scope") => {
                self.handle_insufficient_scope(&mut state, challenge).await
            }
            _ => Ok(false),
        };
        handled.map_err(|failure| match server_words(response, challenge) {
            Some(words) if failure.kind() == ErrorKind::Auth && failure.details().causes.is_empty() => {
                failure.cause(format!("response: {words}"))
            }
            _ => failure,
        })
    }

    /// Whether the server refused the proof because it lacked a nonce, and there is one now.
    fn is_nonce_retry(
        &self,
        state: &ProviderState,
        response: &UnexpectedResponse,
        challenge: Option<&Challenge>,
    ) -> bool {
        let known = || Url::parse(&response.url).is_ok_and(|url| self.context.http.dpop_nonces.for_url(&url).is_some());
        challenge.and_then(Challenge::error) == Some(dpop::USE_DPOP_NONCE)
            && state.loaded.as_ref().is_some_and(|loaded| loaded.dpop_key.is_some())
            && response.dpop_nonce.is_some()
            && known()
    }

    /// The server requires a token, or refused the one that was sent: refresh once, then log in, then give up.
    async fn handle_unauthorized(
        self: &Arc<Self>,
        state: &mut ProviderState,
        challenge: Option<&Challenge>,
    ) -> Result<bool> {
        self.load_credentials(state).await?;
        // A token with a short lifetime may expire between sending and arrival.
        let expired = state.tokens().is_some_and(|tokens| tokens.is_expired(unix_seconds()));
        let reason = match state.tokens() {
            None => state.login_reason(),
            // It was not sent: refreshing it has failed just now.
            Some(_) if expired && state.ended_reason.is_some() => state.login_reason(),
            Some(_)
                if !expired
                    && state.is_recently_obtained(TokenSource::Login)
                    && !self.has_issuer_changed(state, challenge).await? =>
            {
                state.is_login_refused = true;
                let failure = Failure::new(
                    ErrorKind::Auth,
                    format!("{} refuses the token of the new login", self.context.target_name),
                );
                let why = challenge.and_then(|challenge| challenge.param("error_description").or(challenge.error()));
                return Err(match why {
                    Some(why) => failure.cause(format!("response: {}", shorten(why, 300))),
                    None => failure,
                });
            }
            Some(tokens)
                if tokens.refresh.is_some() && (expired || !state.is_recently_obtained(TokenSource::Refresh)) =>
            {
                if self.refresh(state).await? {
                    return Ok(true);
                }
                state.login_reason()
            }
            Some(_) => LoginReason::LoginEnded(Failure::new(ErrorKind::Auth, "the server refuses the token")),
        };
        self.log_in(state, reason, challenge).await?;
        Ok(true)
    }

    /// Whether the server now accepts tokens of another issuer (`AUT-13`).
    async fn has_issuer_changed(&self, state: &ProviderState, challenge: Option<&Challenge>) -> Result<bool> {
        let discovery = self.discover(state, challenge).await?;
        let issuer = &discovery.authorization_server.issuer;
        Ok(state.loaded.as_ref().is_some_and(|loaded| !is_same_issuer(&loaded.credentials.issuer, issuer)))
    }

    /// The token is valid, but lacks scopes for this request (`AUT-21`).
    async fn handle_insufficient_scope(
        self: &Arc<Self>,
        state: &mut ProviderState,
        challenge: &Challenge,
    ) -> Result<bool> {
        self.load_credentials(state).await?;
        let required = challenge.scopes();
        if required.is_empty() {
            return Ok(false);
        }
        let before = state.loaded.as_ref().map(|loaded| loaded.credentials.asked.clone()).unwrap_or_default();
        let requested = scopes::union(&before, &required);
        if requested.len() == before.len() && state.is_recently_obtained(TokenSource::Login) {
            return Err(Failure::new(
                ErrorKind::Auth,
                format!("{} still requires scopes that were already requested", self.context.target_name),
            )
            .cause(format!("required: {}", required.join(" "))));
        }
        self.log_in(
            state,
            LoginReason::InsufficientScope { requested_scopes: requested, required_scopes: required },
            Some(challenge),
        )
        .await?;
        Ok(true)
    }
}
