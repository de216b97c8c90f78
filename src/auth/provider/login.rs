//! Logging in through a gate: whether it is allowed here, for which scopes, and how often.

use std::time::Duration;

use super::super::challenge::Challenge;
use super::super::discovery::{self, DiscoveryResult};
use super::super::scopes;
use super::super::settings::{Grant, LoginMode, OAuthSettings};
use super::super::store::CredentialSummary;
use super::{LoadedCredentials, LoginReason, ProviderInner, ProviderState, TokenSource};
use crate::auth::credentials::Credentials;
use crate::auth::flows;
use crate::auth::flows::FlowContext;
use crate::error::{ErrorKind, Failure, Result};
use crate::util::busy_guard::BusyGuard;
use crate::util::quoting::quote;

/// How often somebody is asked to authorise in a row (`AUT-21`).
const MAX_CONSECUTIVE_LOGINS: usize = 3;
/// After so long a login is no attempt at the same thing any more.
const CONSECUTIVE_LOGIN_WINDOW: Duration = Duration::from_secs(120);

impl ProviderInner {
    /// What the user says, now or at an earlier login.
    pub(super) fn effective_settings<'a>(&'a self, state: &'a ProviderState) -> &'a OAuthSettings {
        state.stored_settings.as_ref().unwrap_or(&self.settings)
    }

    pub(super) async fn discover(
        &self,
        state: &ProviderState,
        challenge: Option<&Challenge>,
    ) -> Result<DiscoveryResult> {
        let settings = self.effective_settings(state);
        let wants_pkce = settings.grant == Grant::AuthorizationCode;
        discovery::discover(&self.http, settings, challenge, wants_pkce).await
    }

    /// Logs in, if that is allowed here.
    pub(super) async fn log_in(
        &self,
        state: &mut ProviderState,
        need: LoginReason,
        challenge: Option<&Challenge>,
    ) -> Result<()> {
        if self.effective_settings(state).grant.is_interactive() {
            let allowed = match self.context.login_mode {
                LoginMode::Always => true,
                LoginMode::Auto => self.context.has_terminal,
                LoginMode::Never => false,
            };
            if !allowed {
                return Err(self.login_required_failure(&need, challenge));
            }
        }
        let _busy = BusyGuard::new(&self.busy_count);
        let found = self.discover(state, challenge).await?;
        self.run_login(state, need, challenge, found).await
    }

    pub(super) async fn run_login(
        &self,
        state: &mut ProviderState,
        need: LoginReason,
        challenge: Option<&Challenge>,
        found: DiscoveryResult,
    ) -> Result<()> {
        if state.last_obtained.is_some_and(|(_, when)| when.elapsed() > CONSECUTIVE_LOGIN_WINDOW) {
            state.login_count = 0;
        }
        if state.login_count >= MAX_CONSECUTIVE_LOGINS {
            return Err(Failure::new(
                ErrorKind::Auth,
                format!("{} is not content with any login", self.context.target_name),
            )
            .cause(format!("it was tried {MAX_CONSECUTIVE_LOGINS} times")));
        }
        state.login_count += 1;
        let _busy = BusyGuard::new(&self.busy_count);
        let known = self.reusable_credentials(state, &found).await?;
        let settings = self.effective_settings(state).clone();
        let scopes = scopes_to_request(&settings, &need, challenge, &found, known.as_ref());
        let means = FlowContext {
            http: &self.http,
            settings: &settings,
            user: &self.user,
            has_terminal: self.context.has_terminal,
            browser: self.context.browser,
            timeout: self.context.timeout,
            target_name: &self.context.target_name,
            login_command: &self.context.login_command,
            logout_command: &self.context.logout_command,
        };
        let record = flows::log_in(means, &found, scopes, known.as_ref()).await?;
        state.store_failure = self.replace_login(&record).await.err();
        if let Some(failure) = &state.store_failure {
            self.user.show(&format!("mcpipe: the login could not be stored, and is good for this run only: {failure}"));
        }
        state.loaded = Some(LoadedCredentials::new(record)?);
        state.mark_obtained(TokenSource::Login);
        Ok(())
    }

    /// The record of an earlier login whose registration may serve again: that with the same issuer, else
    /// the one in hand.
    async fn reusable_credentials(
        &self,
        state: &ProviderState,
        found: &DiscoveryResult,
    ) -> Result<Option<Credentials>> {
        let held = state.loaded.as_ref().map(|held| held.credentials.clone());
        if held.as_ref().is_some_and(|record| record.issuer == found.authorization_server.issuer) {
            return Ok(held);
        }
        let server = self.server_id();
        let of =
            |about: &CredentialSummary| about.resource == server && about.issuer == found.authorization_server.issuer;
        match self.store.list()?.into_iter().find(of) {
            Some(about) => Ok(self.read_stored(&about.key).await?.or(held)),
            None => Ok(held),
        }
    }

    /// Says, once, that the server answers somebody whom it does not know, since the login has ended.
    pub(super) fn warn_if_unauthenticated(&self, state: &mut ProviderState) {
        if !state.sent_without_token || state.has_warned {
            return;
        }
        let Some(why) = &state.ended_reason else { return };
        state.has_warned = true;
        let (name, command) = (&self.context.target_name, &self.context.login_command);
        self.user.warn(&format!(
            "the login to {name} has ended ({why}); the server is asked without it. To log in again: {command}"
        ));
    }

    /// The failure that tells to log in.
    pub(super) fn login_required_failure(&self, need: &LoginReason, challenge: Option<&Challenge>) -> Failure {
        let name = &self.context.target_name;
        let hint = self.context.login_command.clone();
        match need {
            LoginReason::NotLoggedIn => {
                let failure = Failure::new(ErrorKind::Auth, format!("{name} requires a login"));
                // Without metadata, the server may want something else than a login.
                if challenge.is_none_or(|one| one.resource_metadata().is_none()) {
                    failure.hint(format!("give it a token from a variable with --bearer-env VAR, or log in: {hint}"))
                } else {
                    failure.hint(hint)
                }
            }
            LoginReason::LoginEnded(why) => {
                let mut failure = Failure::new(ErrorKind::Auth, format!("the login to {name} has ended"));
                failure = failure.cause(why.details().message.clone());
                failure.details_mut().causes.extend(why.details().causes.iter().cloned());
                failure.hint(hint)
            }
            LoginReason::InsufficientScope { requested_scopes: all, required_scopes: wanted } => {
                Failure::new(ErrorKind::Auth, format!("{name} requires more rights than the login has"))
                    .cause(format!("it asks for the scope {}", wanted.join(" ")))
                    .hint(format!("{hint} --scope {}", quote(&all.join(" "))))
            }
        }
    }
}

/// The scopes to ask for.
fn scopes_to_request(
    settings: &OAuthSettings,
    need: &LoginReason,
    challenge: Option<&Challenge>,
    found: &DiscoveryResult,
    known: Option<&Credentials>,
) -> Vec<String> {
    match need {
        LoginReason::InsufficientScope { requested_scopes: all, .. } => {
            let before =
                known.filter(|record| record.issuer == found.authorization_server.issuer).map(|record| &*record.asked);
            scopes::union(before.unwrap_or_default(), all)
        }
        LoginReason::NotLoggedIn | LoginReason::LoginEnded(_) => {
            let challenged = challenge.map(Challenge::scopes).unwrap_or_default();
            scopes::initial_scopes(settings.scopes.as_deref(), &challenged, &found.resource_scopes)
        }
    }
}
