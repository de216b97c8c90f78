//! What to do when the server refuses: renew once, log in, step up, give up (digest §5.3).

use std::sync::Arc;
use std::time::Instant;

use url::Url;

use super::super::callback::short;
use super::super::challenge::{self, Challenge};
use super::super::flow::now;
use super::super::{dpop, scopes};
use super::{By, Inner, Need, State};
use crate::error::{Class, Failure, Result};
use crate::transport::Refusal;

impl Inner {
    pub(super) async fn refused(self: &Arc<Self>, refusal: &Refusal) -> Result<bool> {
        let arrived = Instant::now();
        self.http.answered_from(refusal.peer);
        let challenges = challenge::parse(&refusal.challenges);
        let challenge = challenge::oauth(&challenges);
        let mut state = self.state.lock().await;
        state.bare = false;
        // Another request was refused for the same reason, and saw to it: while this one waited here, or before
        // the new token was shown even once.
        if state.obtained.is_some_and(|(_, when)| when > arrived || !state.shown) {
            return Ok(true);
        }
        if refusal.status == 401 && self.lacked_nonce(&state, refusal, challenge) {
            return Ok(true);
        }
        match (refusal.status, challenge) {
            (401, None) if !challenges.is_empty() => Ok(false),
            (401, challenge) => self.unauthorized(&mut state, challenge).await,
            (403, Some(challenge)) if challenge.error() == Some("insufficient_scope") => {
                self.insufficient(&mut state, challenge).await
            }
            _ => Ok(false),
        }
    }

    /// Whether the lack of a nonce was the reason, and there is one now.
    fn lacked_nonce(&self, state: &State, refusal: &Refusal, challenge: Option<&Challenge>) -> bool {
        let known = || Url::parse(&refusal.url).is_ok_and(|url| self.http.nonces.of(&url).is_some());
        challenge.and_then(Challenge::error) == Some(dpop::USE_NONCE)
            && state.held.as_ref().is_some_and(|held| held.prover.is_some())
            && refusal.dpop_nonce.is_some()
            && known()
    }

    /// The server takes no token, or none of those it was shown: renew once, then log in, then give up.
    async fn unauthorized(self: &Arc<Self>, state: &mut State, challenge: Option<&Challenge>) -> Result<bool> {
        self.load(state).await?;
        // Some tokens live for a second: good when they were sent, and over when they arrived.
        let over = state.tokens().is_some_and(|tokens| tokens.expired(now()));
        let need = match state.tokens() {
            None => state.need(),
            Some(_) if !over && state.fresh(By::Login) && !self.moved(state, challenge).await? => {
                let failure =
                    Failure::new(Class::Auth, format!("{} refuses the token of this login", self.manner.name));
                let why = challenge.and_then(|one| one.param("error_description").or(one.error()));
                return Err(match why {
                    Some(why) => failure.cause(format!("it said: {}", short(why, 300))),
                    None => failure,
                });
            }
            Some(tokens) if tokens.refresh.is_some() && (over || !state.fresh(By::Renewal)) => {
                if self.renew(state).await? {
                    return Ok(true);
                }
                state.need()
            }
            Some(_) => Need::Again(Failure::new(Class::Auth, "the server refuses the token")),
        };
        self.log_in(state, need, challenge).await?;
        Ok(true)
    }

    /// Whether the server takes tokens of another issuer now (`AUT-13`).
    async fn moved(&self, state: &State, challenge: Option<&Challenge>) -> Result<bool> {
        let found = self.discover(state, challenge).await?;
        Ok(state.held.as_ref().is_some_and(|held| held.record.issuer != found.server.issuer))
    }

    /// The token is good, but not for this (`AUT-21`).
    async fn insufficient(self: &Arc<Self>, state: &mut State, challenge: &Challenge) -> Result<bool> {
        self.load(state).await?;
        let wanted = challenge.scopes();
        if wanted.is_empty() {
            return Ok(false);
        }
        let asked = state.held.as_ref().map(|held| held.record.asked.clone()).unwrap_or_default();
        let all = scopes::union(&asked, &wanted);
        if all.len() == asked.len() && state.fresh(By::Login) {
            return Err(Failure::new(
                Class::Auth,
                format!("the login to {} does not give enough rights", self.manner.name),
            )
            .cause(format!("the server wants the scope {}, which was asked for already", wanted.join(" "))));
        }
        self.log_in(state, Need::More { all, wanted }, Some(challenge)).await?;
        Ok(true)
    }
}
