//! The credentials of a provider: loaded on first use, refreshed under a lock across processes (`AUT-23`), stored.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::{LoadedCredentials, ProviderInner, ProviderState, Refreshed, TokenSource};
use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{ClientRegistration, Credentials, TokenSet, match_server, server_id};
use crate::auth::flows::{TokenOutcome, refresh_tokens};
use crate::auth::metadata::{is_same_issuer, resource_covers_server};
use crate::auth::store::CredentialSummary;
use crate::config::oauth::OAuthSettings;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::busy_guard::BusyGuard;
use crate::util::lock::lock;

/// How long before it expires a token is refreshed, in seconds.
const REFRESH_MARGIN_SECS: u64 = 30;
/// How long requests are sent without a token, if the server accepts that, until an ended login is tried again.
const ENDED_LOGIN_RETRY_DELAY: Duration = Duration::from_secs(30);
/// How many replaced tokens are still redacted: until it expires, a replaced token may still be valid.
const MAX_REPLACED_TOKENS: usize = 8;

impl ProviderInner {
    pub(super) fn server_id(&self) -> String {
        server_id(self.context.http.server())
    }

    /// The settings of this run over those of the stored login.
    pub(super) fn effective_settings<'a>(&'a self, state: &'a ProviderState) -> &'a OAuthSettings {
        state.merged_settings.as_ref().unwrap_or(&self.settings)
    }

    /// Waits for the store: a keychain that is being unlocked, or another process that refreshes the same login. Both
    /// have their own time limits; meanwhile no deadline for the server expires.
    pub(super) async fn without_deadline<T>(&self, waiting: impl Future<Output = T>) -> T {
        let _busy = BusyGuard::new(&self.busy_count);
        waiting.await
    }

    /// Loads the credentials, if the index lists any.
    pub(super) async fn load_credentials(&self, state: &mut ProviderState) -> Result<()> {
        if state.is_loaded {
            return Ok(());
        }
        if let Some(credentials) = self.find_stored().await? {
            state.merged_settings = Some(credentials.settings_under(&self.settings));
            state.loaded = Some(LoadedCredentials::new(credentials)?);
        }
        state.is_loaded = true;
        Ok(())
    }

    /// Loads the credentials again if another process has stored other tokens. Returns whether it has.
    pub(super) async fn load_other_tokens(&self, state: &mut ProviderState) -> Result<bool> {
        // A keychain need not be opened to find none.
        if self.select_stored()?.is_none_or(|summary| summary.lacks_tokens) {
            return Ok(false);
        }
        let Some(stored) = self.find_stored().await? else { return Ok(false) };
        let is_usable = |tokens: &&TokenSet| tokens.refresh.is_some() || !tokens.is_expired(unix_seconds());
        let Some(tokens) = stored.tokens.as_ref().filter(is_usable) else { return Ok(false) };
        let is_other = state.loaded.as_ref().is_none_or(|LoadedCredentials { credentials: known, .. }| {
            // Tokens that could not be stored are newer than those that are.
            let is_older = state.store_failure.is_some() && stored.logged_in_at <= known.logged_in_at;
            !is_older && known.tokens.as_ref().is_none_or(|known| known.access != tokens.access)
        });
        if is_other {
            state.merged_settings = Some(stored.settings_under(&self.settings));
            self.replace_tokens(state, stored, TokenSource::Store)?;
            state.store_failure = None;
        }
        Ok(is_other)
    }

    /// Reads the stored credentials, without tokens that this run does not use.
    async fn find_stored(&self) -> Result<Option<Credentials>> {
        let Some(summary) = self.select_stored()? else { return Ok(None) };
        let Some(mut credentials) = self.read_stored(&summary.key).await? else { return Ok(None) };
        // An earlier version of mcpipe did not distinguish queries.
        if !resource_covers_server(&credentials.resource, self.context.http.server()) {
            return Ok(None);
        }
        self.register_secrets(&credentials);
        if self.context.force_login || !credentials.is_of_client(&self.settings) {
            credentials.tokens = None;
        }
        Ok(Some(credentials))
    }

    /// Reads the credentials stored under this key.
    ///
    /// A new login replaces them, so it does not fail if they cannot be read.
    pub(super) async fn read_stored(&self, key: &str) -> Result<Option<Credentials>> {
        let read = match self.without_deadline(self.store.get(key)).await {
            Ok(secret) => secret.as_ref().map(|secret| self.parse_stored(secret)).transpose(),
            // Without a fallback, the new login could not be stored either.
            Err(failure) if !self.store.has_fallback() => return Err(failure),
            Err(failure) => Err(failure),
        };
        match read {
            Err(failure) if self.context.force_login => {
                self.context.http.trace().note(&format!("cannot read the login that is replaced: {failure}"));
                Ok(None)
            }
            read => read,
        }
    }

    fn parse_stored(&self, stored: &Secret) -> Result<Credentials> {
        let (logout, login) = (&self.context.logout_command, &self.context.login_command);
        Credentials::from_stored(stored)
            .map_err(|failure| failure.hint(format!("remove them and log in again: {logout} && {login}")))
    }

    /// The stored credentials to use: of this server, this owner and the configured issuer, those of the newest login.
    pub(super) fn select_stored(&self) -> Result<Option<CredentialSummary>> {
        let issuer = self.settings.issuer.as_deref();
        let candidate = |summary: CredentialSummary| {
            let is_for_query = match_server(&summary, self.context.http.server())?;
            let ownership = self.context.owner.ownership(&summary)?;
            let is_wanted = issuer.is_none_or(|issuer| is_same_issuer(issuer, &summary.issuer));
            is_wanted.then_some(((is_for_query, ownership), summary))
        };
        let mut all: Vec<_> = self.store.list()?.into_iter().filter_map(candidate).collect();
        all.sort_by_key(|(rank, summary)| {
            (*rank, !summary.lacks_tokens, summary.logged_in_at, summary.expires_at, summary.has_refresh)
        });
        Ok(all.pop().map(|(_, summary)| summary))
    }

    fn register_secrets(&self, credentials: &Credentials) {
        let tokens = credentials.tokens.iter().flat_map(secrets);
        let clients =
            credentials.unused_client.iter().chain([&credentials.client]).flat_map(ClientRegistration::secrets);
        for secret in tokens.chain(clients).chain(&credentials.dpop_key) {
            self.context.user.register_secret(secret);
        }
    }

    /// Loads the tokens, and refreshes them if they are about to expire. Those that could not be refreshed remain in
    /// `state`, for a later attempt. Returns whether they are new.
    pub(super) async fn ensure_fresh(self: &Arc<Self>, state: &mut ProviderState) -> Result<bool> {
        self.load_credentials(state).await?;
        let Some(since) = state.sent_without_token else { return self.refresh_if_due(state, true).await };
        if since.elapsed() < ENDED_LOGIN_RETRY_DELAY {
            return Ok(false);
        }
        self.load_other_tokens_if_readable(state).await;
        let refreshed = self.refresh_if_due(state, false).await;
        // After the attempt, which may take long.
        state.sent_without_token = Some(Instant::now());
        refreshed
    }

    /// As [`ProviderInner::load_other_tokens`], where a request may do without a login: it does not fail if the store
    /// cannot be read.
    pub(super) async fn load_other_tokens_if_readable(&self, state: &mut ProviderState) -> bool {
        self.load_other_tokens(state).await.unwrap_or_else(|failure| {
            self.context.http.trace().note(&format!("cannot read the stored login again: {failure}"));
            false
        })
    }

    /// Refreshes tokens that are about to expire. It fails only if the request `needs` a token and has none that is
    /// valid.
    async fn refresh_if_due(self: &Arc<Self>, state: &mut ProviderState, needs: bool) -> Result<bool> {
        let Some(tokens) = state.tokens() else { return Ok(false) };
        let now = unix_seconds();
        let (needs_refresh, expired) = (tokens.needs_refresh(now, REFRESH_MARGIN_SECS), tokens.is_expired(now));
        if needs_refresh && tokens.refresh.is_some() {
            match self.refresh(state).await {
                Ok(is_new) => return Ok(is_new),
                Err(failure) if expired && needs => return Err(failure),
                // The token is still valid, or the server accepts requests without one; a later refresh may succeed.
                Err(failure) => self.context.http.trace().note(&format!("could not refresh the token yet: {failure}")),
            }
        } else if expired {
            state.ended_reason = Some(Failure::new(ErrorKind::Auth, "the token has expired"));
        }
        Ok(false)
    }

    /// Refreshes the current tokens, or takes those that another process has refreshed (`AUT-23`). Returns whether
    /// there are new tokens; if the issuer refused, the reason is kept in `state`. The current tokens are dropped if
    /// the refresh token is no longer valid.
    pub(super) async fn refresh(self: &Arc<Self>, state: &mut ProviderState) -> Result<bool> {
        // The request that began a refresh may have been canceled before it got the new tokens, which are perhaps not
        // stored.
        if let Some(pending) = &mut state.pending_refresh {
            let earlier = pending.await;
            state.pending_refresh = None;
            if let Ok(Ok(earlier @ Refreshed { outcome: TokenOutcome::Granted(_), .. })) = earlier {
                self.use_refreshed(state, earlier)?;
                if state.tokens().is_some_and(|tokens| !tokens.needs_refresh(unix_seconds(), REFRESH_MARGIN_SECS)) {
                    return Ok(true);
                }
            }
        }
        let Some(before) = state.loaded.as_ref().map(|loaded| loaded.credentials.clone()) else { return Ok(false) };
        let (inner, settings) = (self.clone(), self.effective_settings(state).clone());
        let unstored = state.store_failure.clone();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A separate task: once the refresh token has been sent, its successor must be stored, even if the request
        // that needed it has been cancelled.
        let task = tokio::spawn(async move {
            let _ = sender.send(match unstored {
                // The stored credentials, if any, are older.
                Some(why) => inner.refresh_unstored(&settings, before, why).await,
                None => inner.refresh_locked(&settings, before).await,
            });
        });
        {
            let mut tasks = lock(&self.refresh_tasks);
            // The handle of a task keeps its memory.
            tasks.retain(|task| !task.is_finished());
            tasks.push(task);
        }
        let lost = || Failure::new(ErrorKind::Bug, "the task that refreshes the token ended early");
        let refreshed = state.pending_refresh.insert(receiver).await;
        state.pending_refresh = None;
        self.use_refreshed(state, refreshed.map_err(|_| lost()).flatten()?)
    }

    /// Takes the outcome of a refresh over. Returns whether there are new tokens.
    fn use_refreshed(&self, state: &mut ProviderState, refreshed: Refreshed) -> Result<bool> {
        state.store_failure = refreshed.store_failure;
        match refreshed.outcome {
            TokenOutcome::Granted(credentials) => {
                self.replace_tokens(state, *credentials, refreshed.source)?;
                Ok(true)
            }
            TokenOutcome::LoginRequired(credentials, failure) => {
                match (credentials, &mut state.loaded) {
                    (Some(credentials), Some(loaded)) => loaded.credentials = *credentials,
                    (_, loaded) => *loaded = None,
                }
                state.ended_reason = Some(failure);
                Ok(false)
            }
            TokenOutcome::Retryable(failure) => {
                state.ended_reason = Some(failure);
                Ok(false)
            }
        }
    }

    /// Uses these credentials, which have new tokens, from now on.
    pub(super) fn replace_tokens(
        &self,
        state: &mut ProviderState,
        credentials: Credentials,
        source: TokenSource,
    ) -> Result<()> {
        let replaced = state.loaded.replace(LoadedCredentials::new(credentials)?);
        state.pending_refresh = None;
        state.mark_obtained(source);
        state.replaced_tokens.extend(replaced.and_then(|replaced| replaced.credentials.tokens));
        self.forget_old_tokens(state);
        Ok(())
    }

    /// Forgets tokens that were replaced several refreshes ago: a bridge or a session may run for months.
    fn forget_old_tokens(&self, state: &mut ProviderState) {
        if state.replaced_tokens.len() <= MAX_REPLACED_TOKENS {
            return;
        }
        let Some(old) = state.replaced_tokens.pop_front() else { return };
        let in_use = || state.replaced_tokens.iter().chain(state.tokens()).flat_map(secrets);
        for secret in secrets(&old).filter(|secret| !in_use().any(|other| other == *secret)) {
            self.context.user.forget_secret(secret);
        }
    }

    async fn refresh_locked(&self, settings: &OAuthSettings, before: Credentials) -> Result<Refreshed> {
        let key = before.store_key();
        let _guard = self.without_deadline(self.store.lock(&key)).await?;
        // The previous holder of the lock may have refreshed the tokens already.
        let Some(stored) = self.without_deadline(self.store.get(&key)).await? else {
            let failure = Failure::new(ErrorKind::Auth, "the credentials have been removed");
            return Ok(Refreshed::from_store(TokenOutcome::LoginRequired(None, failure)));
        };
        let stored = self.parse_stored(&stored)?;
        self.register_secrets(&stored);
        let access = |credentials: &Credentials| credentials.tokens.as_ref().map(|tokens| tokens.access.clone());
        if access(&stored) != access(&before) {
            match &stored.tokens {
                Some(tokens) if !tokens.needs_refresh(unix_seconds(), REFRESH_MARGIN_SECS) => {
                    return Ok(Refreshed::from_store(TokenOutcome::Granted(Box::new(stored))));
                }
                Some(_) => {}
                None => {
                    let failure = Failure::new(ErrorKind::Auth, "another mcpipe process found the login invalid");
                    return Ok(Refreshed::from_store(TokenOutcome::LoginRequired(Some(Box::new(stored)), failure)));
                }
            }
        }
        let outcome = refresh_tokens(&self.context.http, settings, &*self.context.user, stored).await?;
        let mut store_failure = None;
        match &outcome {
            TokenOutcome::Granted(credentials) => {
                store_failure = self.store_credentials(credentials).await.err();
                if let Some(failure) = &store_failure {
                    self.context
                        .user
                        .warn_always(&format!("could not store the refreshed login: {}", failure.with_hint()));
                }
            }
            // What the user must know is that the login has ended.
            TokenOutcome::LoginRequired(Some(credentials), _) => {
                store_failure = self.store_credentials(credentials).await.err();
            }
            TokenOutcome::LoginRequired(None, _) => {
                store_failure = self.without_deadline(self.store.delete(&key)).await.err();
            }
            TokenOutcome::Retryable(_) => {}
        }
        Ok(Refreshed { outcome, source: TokenSource::Refresh, store_failure })
    }

    /// Refreshes tokens that could not be stored because of `why`. The new ones may be stored by now: with rotation,
    /// those that are stored are no longer valid.
    async fn refresh_unstored(&self, settings: &OAuthSettings, before: Credentials, why: Failure) -> Result<Refreshed> {
        let outcome = refresh_tokens(&self.context.http, settings, &*self.context.user, before).await?;
        let is_stored = match &outcome {
            // The user has been warned.
            TokenOutcome::Granted(credentials) => self.store_again(credentials).await.unwrap_or_default(),
            _ => false,
        };
        let store_failure = Some(why).filter(|_| !is_stored);
        Ok(Refreshed { outcome, source: TokenSource::Refresh, store_failure })
    }

    /// Stores refreshed tokens if those of the same login are stored: not after a logout, nor in place of another
    /// login. Returns whether it did.
    async fn store_again(&self, credentials: &Credentials) -> Result<bool> {
        let key = credentials.store_key();
        let _guard = self.without_deadline(self.store.lock(&key)).await?;
        let Some(stored) = self.without_deadline(self.store.get(&key)).await? else { return Ok(false) };
        let is_same_login = self.parse_stored(&stored)?.login == credentials.login;
        if is_same_login {
            self.store_credentials(credentials).await?;
        }
        Ok(is_same_login)
    }

    pub(super) async fn store_credentials(&self, credentials: &Credentials) -> Result<()> {
        let summary = credentials.summary(self.context.owner.config_name.as_deref());
        let text = credentials.to_stored_without(&self.context.configured)?;
        self.without_deadline(self.store.put(&credentials.store_key(), &summary, &text)).await
    }

    pub(super) async fn store_login(&self, credentials: &Credentials) -> Result<()> {
        let _guard = self.store.lock(&credentials.store_key()).await?;
        self.store_credentials(credentials).await
    }

    /// Removes the logins that this one, which is stored, replaces (`AUT-13`): the server no longer accepts tokens of
    /// another issuer.
    ///
    /// Two logins at once that each held their own lock would wait for the lock of the other.
    pub(super) async fn remove_replaced_logins(&self, credentials: &Credentials) -> Result<()> {
        let key = credentials.store_key();
        let server = self.context.http.server();
        let own = match_server(&credentials.summary(None), server);
        for summary in self.store.list()? {
            let is_same_server = own.is_some() && match_server(&summary, server) == own;
            if summary.key != key && is_same_server && self.context.owner.replaces(&summary) {
                // A process that refreshes it stores it again at the end.
                let _guard = self.store.lock(&summary.key).await.ok();
                self.store.delete(&summary.key).await?;
            }
        }
        Ok(())
    }
}

/// The access token and the refresh token.
fn secrets(tokens: &TokenSet) -> impl Iterator<Item = &Secret> {
    std::iter::once(&tokens.access).chain(&tokens.refresh)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Instant;

    use serde_json::json;

    use super::ENDED_LOGIN_RETRY_DELAY;
    use crate::auth::testing::{TestUser, UserAction};
    use crate::auth::tests::AuthTestEnv;
    use crate::util::lock::lock;
    use crate::util::when::When;

    #[tokio::test]
    async fn many_refreshes_keep_nothing_but_the_last_tokens() {
        let world = AuthTestEnv::logged_in().await;
        let user = TestUser::new(UserAction::Ignore);
        let provider = world.provider(When::Never, &user);
        let mut state = provider.0.state.lock().await;
        provider.0.load_credentials(&mut state).await.unwrap();
        for _ in 0..30 {
            assert!(provider.0.refresh(&mut state).await.unwrap());
        }
        assert_eq!(lock(&provider.0.refresh_tasks).len(), 1);
        let known = user.secrets.lock().unwrap().clone();
        for number in [1, 22, 23, 31] {
            for secret in [format!("access-{number}"), format!("refresh-{number}")] {
                assert_eq!(known.contains(&secret), number > 22, "{secret}");
            }
        }
    }

    #[tokio::test]
    async fn an_ended_login_is_tried_again_if_the_server_accepts_requests_without_it() {
        let world = AuthTestEnv::logged_in().await;
        world.expire_tokens().await;
        let provider = world.provider(When::Never, &TestUser::new(UserAction::Ignore));
        for (number, answer) in [(1, (400, json!({"error": "unauthorized_client"}))), (2, (503, json!({})))] {
            *world.script.refresh_error.lock().unwrap() = Some(answer);
            for _ in 0..3 {
                assert_eq!(world.authorization_header(&provider).await, None);
            }
            assert_eq!(world.grant_types().len(), 1 + number);
            let mut state = provider.0.state.lock().await;
            state.sent_without_token = Instant::now().checked_sub(ENDED_LOGIN_RETRY_DELAY);
        }
        *world.script.refresh_error.lock().unwrap() = None;
        assert_eq!(world.authorization_header(&provider).await.as_deref(), Some("Bearer access-2"));
    }

    #[tokio::test]
    async fn the_end_of_each_login_is_reported_once() {
        let world = AuthTestEnv::new().await;
        let user = TestUser::new(UserAction::Ignore);
        let provider = world.provider(When::Never, &user);
        for ended in 1..=2 {
            world.log_in().await;
            world.expire_tokens().await;
            *world.script.refresh_error.lock().unwrap() = Some((400, json!({"error": "unauthorized_client"})));
            provider.0.state.lock().await.sent_without_token = Instant::now().checked_sub(ENDED_LOGIN_RETRY_DELAY);
            for _ in 0..3 {
                assert_eq!(world.authorization_header(&provider).await, None);
            }
            let warnings = user.messages.lock().unwrap().clone();
            assert_eq!(warnings.iter().filter(|text| text.contains("has ended")).count(), ended, "{warnings:?}");
        }
    }
}
