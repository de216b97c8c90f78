//! Logging in through a gate: whether it is allowed here, for which scopes, and how often.

use std::time::Duration;

use super::super::challenge::Challenge;
use super::super::discovery::{self, Found};
use super::super::flow::{self, Means};
use super::super::record::Record;
use super::super::scopes;
use super::super::settings::{Grant, Login, Settings};
use super::super::store::About;
use super::{By, Held, Inner, Need, State};
use crate::busy::Busy;
use crate::error::{Class, Failure, Result};
use crate::shell::quoted;

/// How often somebody is asked to authorise in a row (`AUT-21`).
const MAX_LOGINS: usize = 3;
/// After so long a login is no attempt at the same thing any more.
const IN_A_ROW: Duration = Duration::from_secs(120);

impl Inner {
    /// What the user says, now or at an earlier login.
    pub(super) fn settings<'a>(&'a self, state: &'a State) -> &'a Settings {
        state.inherited.as_ref().unwrap_or(&self.settings)
    }

    pub(super) async fn discover(&self, state: &State, challenge: Option<&Challenge>) -> Result<Found> {
        let settings = self.settings(state);
        let wants_pkce = settings.grant == Grant::AuthorizationCode;
        discovery::discover(&self.http, settings, challenge, wants_pkce).await
    }

    /// Logs in, if that is allowed here.
    pub(super) async fn log_in(&self, state: &mut State, need: Need, challenge: Option<&Challenge>) -> Result<()> {
        if self.settings(state).grant.needs_person() {
            let allowed = match self.manner.login {
                Login::Always => true,
                Login::Auto => self.manner.terminal,
                Login::Never => false,
            };
            if !allowed {
                return Err(self.must_log_in(&need, challenge));
            }
        }
        let _busy = Busy::new(&self.busy);
        let found = self.discover(state, challenge).await?;
        self.obtain(state, need, challenge, found).await
    }

    pub(super) async fn obtain(
        &self,
        state: &mut State,
        need: Need,
        challenge: Option<&Challenge>,
        found: Found,
    ) -> Result<()> {
        if state.obtained.is_some_and(|(_, when)| when.elapsed() > IN_A_ROW) {
            state.logins = 0;
        }
        if state.logins >= MAX_LOGINS {
            return Err(Failure::new(Class::Auth, format!("{} is not content with any login", self.manner.name))
                .cause(format!("it was tried {MAX_LOGINS} times")));
        }
        state.logins += 1;
        let _busy = Busy::new(&self.busy);
        let known = self.known(state, &found).await?;
        let settings = self.settings(state).clone();
        let scopes = scopes_for(&settings, &need, challenge, &found, known.as_ref());
        let means = Means {
            http: &self.http,
            settings: &settings,
            person: &self.person,
            terminal: self.manner.terminal,
            browser: self.manner.browser,
            patience: self.manner.patience,
            name: &self.manner.name,
            command: &self.manner.command,
            logout: &self.manner.logout,
        };
        let record = flow::log_in(means, &found, scopes, known.as_ref()).await?;
        state.unstored = self.keep(&record).await.err();
        if let Some(failure) = &state.unstored {
            self.person
                .say(&format!("mcpipe: the login could not be stored, and is good for this run only: {failure}"));
        }
        state.held = Some(Held::new(record)?);
        state.obtained(By::Login);
        Ok(())
    }

    /// The record of an earlier login whose registration may serve again: that with the same issuer, else
    /// the one in hand.
    async fn known(&self, state: &State, found: &Found) -> Result<Option<Record>> {
        let held = state.held.as_ref().map(|held| held.record.clone());
        if held.as_ref().is_some_and(|record| record.issuer == found.server.issuer) {
            return Ok(held);
        }
        let server = self.server();
        let of = |about: &About| about.resource == server && about.issuer == found.server.issuer;
        match self.store.list()?.into_iter().find(of) {
            Some(about) => Ok(self.stored(&about.key).await?.or(held)),
            None => Ok(held),
        }
    }

    /// Says, once, that the server answers somebody whom it does not know, since the login has ended.
    pub(super) fn without(&self, state: &mut State) {
        if !state.bare || state.warned {
            return;
        }
        let Some(why) = &state.ended else { return };
        state.warned = true;
        let (name, command) = (&self.manner.name, &self.manner.command);
        self.person.warn(&format!(
            "the login to {name} has ended ({why}); the server is asked without it. To log in again: {command}"
        ));
    }

    /// The failure that tells to log in.
    pub(super) fn must_log_in(&self, need: &Need, challenge: Option<&Challenge>) -> Failure {
        let name = &self.manner.name;
        let hint = self.manner.command.clone();
        match need {
            Need::First => {
                let failure = Failure::new(Class::Auth, format!("{name} requires a login"));
                // Without metadata, the server may want something else than a login.
                if challenge.is_none_or(|one| one.resource_metadata().is_none()) {
                    failure.hint(format!("give it a token from a variable with --bearer-env VAR, or log in: {hint}"))
                } else {
                    failure.hint(hint)
                }
            }
            Need::Again(why) => {
                let mut failure = Failure::new(Class::Auth, format!("the login to {name} has ended"));
                failure = failure.cause(why.details().message.clone());
                failure.details_mut().causes.extend(why.details().causes.iter().cloned());
                failure.hint(hint)
            }
            Need::More { all, wanted } => {
                Failure::new(Class::Auth, format!("{name} requires more rights than the login has"))
                    .cause(format!("it asks for the scope {}", wanted.join(" ")))
                    .hint(format!("{hint} --scope {}", quoted(&all.join(" "))))
            }
        }
    }
}

/// The scopes to ask for.
fn scopes_for(
    settings: &Settings,
    need: &Need,
    challenge: Option<&Challenge>,
    found: &Found,
    known: Option<&Record>,
) -> Vec<String> {
    match need {
        Need::More { all, .. } => {
            let before = known.filter(|record| record.issuer == found.server.issuer).map(|record| &*record.asked);
            scopes::union(before.unwrap_or_default(), all)
        }
        Need::First | Need::Again(_) => {
            let challenged = challenge.map(Challenge::scopes).unwrap_or_default();
            scopes::first(settings.scopes.as_deref(), &challenged, &found.scopes)
        }
    }
}
