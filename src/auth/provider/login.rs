//! Starting a login from a provider: whether it is allowed, with which scopes, and how often.

use super::state::{LoginReason, ProviderInner, ProviderState, TokenSource};
use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{ClientRegistration, Credentials, Ownership, TokenSet};
use crate::auth::discovery::{self, DiscoveryResult};
use crate::auth::flows;
use crate::auth::login_context::{LoginRequest, RegistrationKeeper};
use crate::auth::metadata::is_same_issuer;
use crate::auth::scopes;
use crate::auth::store::CredentialSummary;
use crate::config::oauth::{Grant, OAuthSettings};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::challenge::Challenge;
use crate::transport::BoxFuture;
use crate::util::busy_guard::BusyGuard;
use crate::util::quoting::quote;
use crate::util::when::When;

/// The most logins in a row (`AUT-21`).
const MAX_CONSECUTIVE_LOGINS: usize = 3;
/// Logins further apart than this, in seconds, are not in a row.
const CONSECUTIVE_LOGIN_WINDOW_SECS: u64 = 120;

impl ProviderInner {
    pub(super) async fn discover(
        &self,
        state: &ProviderState,
        challenge: Option<&Challenge>,
    ) -> Result<DiscoveryResult> {
        let settings = self.effective_settings(state);
        let wants_pkce = settings.grant() == Grant::AuthorizationCode;
        let (http, command) = (&self.context.http, &self.context.login_command);
        let mut found = discovery::discover(http, command, settings, challenge, wants_pkce).await?;
        found.requires_dpop |= state.requires_dpop;
        found.warning.iter().for_each(|warning| self.context.user.warn(warning));
        Ok(found)
    }

    /// Takes the tokens that another process has obtained in the meantime, or logs in, if the login mode allows it.
    pub(super) async fn log_in(
        &self,
        state: &mut ProviderState,
        reason: LoginReason,
        challenge: Option<&Challenge>,
    ) -> Result<()> {
        if self.load_other_tokens_if_readable(state).await {
            return Ok(());
        }
        if self.effective_settings(state).grant().is_interactive() {
            let allowed = match self.context.login_mode {
                When::Always => true,
                When::Auto => self.context.has_terminal,
                When::Never => false,
            };
            if !allowed {
                return Err(self.login_required_failure(&reason, challenge));
            }
        }
        let _busy = BusyGuard::new(&self.busy_count);
        state.has_tried_login = true;
        let outcome = match self.discover(state, challenge).await {
            Ok(discovery) => self.run_login(state, reason, challenge, discovery).await,
            Err(failure) => Err(failure),
        };
        outcome.map_err(|failure| match failure.kind() {
            // The user typed another command than `auth login`.
            ErrorKind::Auth if !self.context.force_login => {
                failure.cause(format!("{} requires a login, which was tried", self.context.target_name))
            }
            _ => failure,
        })
    }

    pub(super) async fn run_login(
        &self,
        state: &mut ProviderState,
        reason: LoginReason,
        challenge: Option<&Challenge>,
        discovery: DiscoveryResult,
    ) -> Result<()> {
        let recent = state.consecutive_logins.filter(|(_, until)| unix_seconds() < *until);
        let recent_logins = recent.map_or(0, |(count, _)| count);
        if recent_logins >= MAX_CONSECUTIVE_LOGINS {
            return Err(Failure::new(
                ErrorKind::Auth,
                format!("{} still requires a login after {MAX_CONSECUTIVE_LOGINS} logins", self.context.target_name),
            ));
        }
        let _busy = BusyGuard::new(&self.busy_count);
        let known = self.reusable_credentials(state, &discovery).await?;
        let settings = self.effective_settings(state).clone();
        let scopes = scopes_to_request(&settings, &reason, challenge, &discovery, known.as_ref());
        let keeper = ClientKeeper { inner: self, discovery: &discovery, scopes: &scopes };
        let request = LoginRequest {
            settings: &settings,
            discovery: &discovery,
            scopes: &scopes,
            known: known.as_ref(),
            registrations: &keeper,
        };
        let credentials = flows::log_in(&self.context, request).await?;
        state.store_failure = self.store_login(&credentials).await.err();
        // `auth login` fails with it.
        if let Some(failure) = state.store_failure.as_ref().filter(|_| !self.context.force_login) {
            let why = failure.with_hint();
            self.context.user.warn_always(&format!("could not store the login, it is valid for this run only: {why}"));
        }
        if state.store_failure.is_none()
            && let Err(failure) = self.remove_replaced_logins(&credentials).await
        {
            self.context.user.warn(&format!("could not remove the login that the new one replaces: {failure}"));
        }
        // A login after the tokens have expired is not one because the server refused them; but tokens that are never
        // valid do not start another login for each request.
        let lived = |tokens: &TokenSet| tokens.expires_at.filter(|at| *at > tokens.obtained_at);
        let expiry = credentials.tokens.as_ref().and_then(lived).unwrap_or(u64::MAX);
        self.replace_tokens(state, credentials, TokenSource::Login)?;
        state.consecutive_logins =
            Some((recent_logins + 1, expiry.min(unix_seconds().saturating_add(CONSECUTIVE_LOGIN_WINDOW_SECS))));
        Ok(())
    }

    /// The credentials of an earlier login whose client registration may be used again: those of the same issuer, else
    /// the loaded ones.
    async fn reusable_credentials(
        &self,
        state: &ProviderState,
        discovery: &DiscoveryResult,
    ) -> Result<Option<Credentials>> {
        let issuer = &discovery.authorization_server.issuer;
        let loaded = state.loaded.as_ref().map(|loaded| loaded.credentials.clone());
        if loaded.as_ref().is_some_and(|credentials| is_same_issuer(&credentials.issuer, issuer)) {
            return Ok(loaded);
        }
        let (server, owner) = (self.server_id(), &self.context.owner);
        let matches = |summary: &CredentialSummary| {
            let is_own = owner.ownership(summary) == Some(Ownership::Own);
            is_own && summary.resource == server && is_same_issuer(&summary.issuer, issuer)
        };
        match self.store.list()?.into_iter().find(matches) {
            Some(summary) => Ok(self.read_stored(&summary.key).await?.or(loaded)),
            None => Ok(loaded),
        }
    }

    /// Warns, once, that the login has ended and the server also accepts requests without it.
    pub(super) fn warn_if_unauthenticated(&self, state: &mut ProviderState) {
        if state.sent_without_token.is_none() || state.has_warned_of_ended_login {
            return;
        }
        let Some(why) = &state.ended_reason else { return };
        state.has_warned_of_ended_login = true;
        let (name, command) = (&self.context.target_name, &self.context.login_command);
        self.context.user.warn(&format!(
            "the login to {name} has ended ({why}); sending requests without it. To log in again: {command}"
        ));
    }

    /// The failure of a command that needs a login that was stored before.
    pub(super) fn not_logged_in_failure(&self) -> Failure {
        Failure::new(ErrorKind::Auth, format!("not logged in to {}", self.context.target_name))
            .hint(self.context.login_command.clone())
    }

    /// The failure that asks the user to log in.
    pub(super) fn login_required_failure(&self, reason: &LoginReason, challenge: Option<&Challenge>) -> Failure {
        let name = &self.context.target_name;
        let command = self.context.login_command.clone();
        match reason {
            LoginReason::NotLoggedIn => {
                let failure = Failure::new(ErrorKind::Auth, format!("{name} requires a login"));
                // Without metadata, the server may require something other than an OAuth login.
                if challenge.is_none_or(|challenge| challenge.resource_metadata().is_none()) {
                    failure.hint(format!(
                        "pass its credentials with -H 'Authorization: …' or --bearer-env VAR; if it supports OAuth: {command}"
                    ))
                } else {
                    failure.hint(command)
                }
            }
            LoginReason::LoginEnded(why) => {
                let mut failure = Failure::new(ErrorKind::Auth, format!("the login to {name} has ended"));
                failure = failure.cause(why.details().message.clone());
                failure.details_mut().causes.extend(why.details().causes.iter().cloned());
                failure.hint(command)
            }
            LoginReason::InsufficientScope { requested_scopes, required_scopes } => {
                Failure::new(ErrorKind::Auth, format!("{name} requires scopes that the login does not have"))
                    .cause(format!("required: {}", required_scopes.join(" ")))
                    .hint(format!("{command} --scope {}", quote(&requested_scopes.join(" "))))
            }
        }
    }
}

/// Stores registrations of this login.
struct ClientKeeper<'a> {
    inner: &'a ProviderInner,
    discovery: &'a DiscoveryResult,
    scopes: &'a [String],
}

impl ClientKeeper<'_> {
    async fn store(&self, client: &ClientRegistration) -> Result<()> {
        let unfinished = Credentials::unfinished(
            self.inner.context.http.server(),
            &self.inner.context.owner,
            self.discovery,
            client.clone(),
            self.scopes.to_vec(),
        );
        let store = &self.inner.store;
        let key = unfinished.store_key();
        let _guard = store.lock(&key).await?;
        // The tokens of an earlier login belong to its own client, and are valid until this login is finished.
        let stored = store.get(&key).await?.and_then(|secret| Credentials::from_stored(&secret).ok());
        let record = match stored.filter(|stored| stored.tokens.is_some()) {
            Some(stored) => Credentials { unused_client: Some(client.clone()), ..stored },
            None => unfinished,
        };
        self.inner.store_credentials(&record).await
    }
}

impl RegistrationKeeper for ClientKeeper<'_> {
    fn save<'a>(&'a self, client: &'a ClientRegistration) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            client.secrets().for_each(|secret| self.inner.context.user.register_secret(secret));
            if let Err(failure) = self.inner.without_deadline(self.store(client)).await {
                self.inner.context.http.trace().note(&format!("could not store the client registration: {failure}"));
            }
        })
    }
}

/// The scopes to request.
fn scopes_to_request(
    settings: &OAuthSettings,
    reason: &LoginReason,
    challenge: Option<&Challenge>,
    discovery: &DiscoveryResult,
    known: Option<&Credentials>,
) -> Vec<String> {
    match reason {
        LoginReason::InsufficientScope { requested_scopes, .. } => {
            let before = known
                .filter(|known| is_same_issuer(&known.issuer, &discovery.authorization_server.issuer))
                .map(|known| known.asked.as_slice());
            scopes::union(before.unwrap_or_default(), requested_scopes)
        }
        LoginReason::NotLoggedIn | LoginReason::LoginEnded(_) => {
            let challenged = challenge.map(Challenge::scopes).unwrap_or_default();
            scopes::initial_scopes(settings.scopes.as_deref(), &challenged, &discovery.resource_scopes)
        }
    }
}
