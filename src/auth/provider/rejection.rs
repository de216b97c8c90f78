//! What to do when the server refuses: renew once, log in, step up, give up (digest §5.3).

use std::sync::Arc;
use std::time::Instant;

use url::Url;

use super::super::challenge::{self, Challenge};
use super::super::{dpop, scopes};
use super::{LoginReason, ProviderInner, ProviderState, TokenSource};
use crate::auth::authorization_request::truncate;
use crate::auth::flows::unix_seconds;
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::UnexpectedResponse;

impl ProviderInner {
    pub(super) async fn handle_rejection(self: &Arc<Self>, refusal: &UnexpectedResponse) -> Result<bool> {
        let arrived = Instant::now();
        self.http.record_peer_address(refusal.remote_ip);
        let challenges = challenge::parse_challenges(&refusal.challenges);
        let challenge = challenge::select_oauth_challenge(&challenges);
        let mut state = self.state.lock().await;
        state.sent_without_token = false;
        // Another request was refused for the same reason, and saw to it: while this one waited here, or before
        // the new token was shown even once.
        if state.last_obtained.is_some_and(|(_, when)| when > arrived || !state.is_token_used) {
            return Ok(true);
        }
        if refusal.status == 401 && self.is_nonce_retry(&state, refusal, challenge) {
            return Ok(true);
        }
        match (refusal.status, challenge) {
            (401, None) if !challenges.is_empty() => Ok(false),
            (401, challenge) => self.handle_unauthorized(&mut state, challenge).await,
            (403, Some(challenge)) if challenge.error() == Some("insufficient_scope") => {
                self.handle_insufficient_scope(&mut state, challenge).await
            }
            _ => Ok(false),
        }
    }

    /// Whether the lack of a nonce was the reason, and there is one now.
    fn is_nonce_retry(
        &self,
        state: &ProviderState,
        refusal: &UnexpectedResponse,
        challenge: Option<&Challenge>,
    ) -> bool {
        let known = || Url::parse(&refusal.url).is_ok_and(|url| self.http.dpop_nonces.for_url(&url).is_some());
        challenge.and_then(Challenge::error) == Some(dpop::USE_DPOP_NONCE)
            && state.loaded.as_ref().is_some_and(|held| held.dpop_key.is_some())
            && refusal.dpop_nonce.is_some()
            && known()
    }

    /// The server takes no token, or none of those it was shown: renew once, then log in, then give up.
    async fn handle_unauthorized(
        self: &Arc<Self>,
        state: &mut ProviderState,
        challenge: Option<&Challenge>,
    ) -> Result<bool> {
        self.load_credentials(state).await?;
        // Some tokens live for a second: good when they were sent, and over when they arrived.
        let over = state.tokens().is_some_and(|tokens| tokens.is_expired(unix_seconds()));
        let need = match state.tokens() {
            None => state.login_reason(),
            Some(_)
                if !over
                    && state.is_recently_obtained(TokenSource::Login)
                    && !self.has_issuer_changed(state, challenge).await? =>
            {
                let failure = Failure::new(
                    ErrorKind::Auth,
                    format!("{} refuses the token of this login", self.context.target_name),
                );
                let why = challenge.and_then(|one| one.param("error_description").or(one.error()));
                return Err(match why {
                    Some(why) => failure.cause(format!("it said: {}", truncate(why, 300))),
                    None => failure,
                });
            }
            Some(tokens) if tokens.refresh.is_some() && (over || !state.is_recently_obtained(TokenSource::Refresh)) => {
                if self.refresh(state).await? {
                    return Ok(true);
                }
                state.login_reason()
            }
            Some(_) => LoginReason::LoginEnded(Failure::new(ErrorKind::Auth, "the server refuses the token")),
        };
        self.log_in(state, need, challenge).await?;
        Ok(true)
    }

    /// Whether the server takes tokens of another issuer now (`AUT-13`).
    async fn has_issuer_changed(&self, state: &ProviderState, challenge: Option<&Challenge>) -> Result<bool> {
        let found = self.discover(state, challenge).await?;
        Ok(state.loaded.as_ref().is_some_and(|held| held.credentials.issuer != found.authorization_server.issuer))
    }

    /// The token is good, but not for this (`AUT-21`).
    async fn handle_insufficient_scope(
        self: &Arc<Self>,
        state: &mut ProviderState,
        challenge: &Challenge,
    ) -> Result<bool> {
        self.load_credentials(state).await?;
        let wanted = challenge.scopes();
        if wanted.is_empty() {
            return Ok(false);
        }
        let asked = state.loaded.as_ref().map(|held| held.credentials.asked.clone()).unwrap_or_default();
        let all = scopes::union(&asked, &wanted);
        if all.len() == asked.len() && state.is_recently_obtained(TokenSource::Login) {
            return Err(Failure::new(
                ErrorKind::Auth,
                format!("the login to {} does not give enough rights", self.context.target_name),
            )
            .cause(format!("the server wants the scope {}, which was asked for already", wanted.join(" "))));
        }
        self.log_in(
            state,
            LoginReason::InsufficientScope { requested_scopes: all, required_scopes: wanted },
            Some(challenge),
        )
        .await?;
        Ok(true)
    }
}
