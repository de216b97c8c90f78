//! The record of a gate: loaded when it is first wanted, renewed under a lock that holds across processes
//! (`AUT-23`), stored.

use std::sync::Arc;

use super::super::metadata::{is_same_issuer, resource_covers_server};
use super::super::settings::OAuthSettings;
use super::super::store::CredentialSummary;
use super::{LoadedCredentials, LoginContext, ProviderInner, ProviderState, TokenSource};
use crate::auth::credentials::{Credentials, match_server, server_id};
use crate::auth::flows;
use crate::auth::flows::{RefreshOutcome, unix_seconds};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::util::busy_guard::BusyGuard;
use crate::util::lock::lock;

/// How long before it expires a token is renewed, in seconds.
const REFRESH_MARGIN_SECS: u64 = 30;

impl ProviderInner {
    pub(super) fn server_id(&self) -> String {
        server_id(self.http.server())
    }

    /// Waits for the store: a keychain that somebody is unlocking, or another process that renews the same login. Both
    /// end in time by themselves and say what they are; no deadline that is meant for a server runs out meanwhile.
    async fn without_deadline<T>(&self, waiting: impl Future<Output = T>) -> T {
        let _busy = BusyGuard::new(&self.busy_count);
        waiting.await
    }

    /// Loads the record, where the index says that there is one.
    pub(super) async fn load_credentials(&self, state: &mut ProviderState) -> Result<()> {
        if state.is_loaded {
            return Ok(());
        }
        if let Some(about) = self.select_stored()?
            && let Some(mut record) = self.read_stored(&about.key).await?
            // An earlier version did not tell queries apart.
            && resource_covers_server(&record.resource, self.http.server())
        {
            self.register_secrets(&record);
            if self.settings.is_default() {
                state.stored_settings = Some(record.effective_settings());
            }
            if self.context.force_login || !self.matches_settings(&record) {
                record.tokens = None;
            }
            state.loaded = Some(LoadedCredentials::new(record)?);
        }
        state.is_loaded = true;
        Ok(())
    }

    /// The record under this key.
    ///
    /// A login anew replaces it: one that cannot be read does not stand in its way, if there is a place for the
    /// new one.
    pub(super) async fn read_stored(&self, key: &str) -> Result<Option<Credentials>> {
        let read = match self.without_deadline(self.store.get(key)).await {
            Ok(secret) => secret.as_ref().map(|secret| self.parse_stored(secret)).transpose(),
            Err(failure) if !self.store.has_fallback() => return Err(failure),
            Err(failure) => Err(failure),
        };
        match read {
            Err(failure) if self.context.force_login => {
                self.http.trace().note(&format!("the login that is replaced cannot be read: {failure}"));
                Ok(None)
            }
            read => read,
        }
    }

    fn parse_stored(&self, stored: &Secret) -> Result<Credentials> {
        let LoginContext { logout_command: logout, login_command: command, .. } = &self.context;
        Credentials::from_stored(stored)
            .map_err(|failure| failure.hint(format!("remove them, and log in again: {logout} && {command}")))
    }

    /// The record to use: of this server, of the configured issuer, the one that is good for longest.
    pub(super) fn select_stored(&self) -> Result<Option<CredentialSummary>> {
        let issuer = self.settings.issuer.as_deref();
        let of = |about: CredentialSummary| {
            let own = match_server(&about, self.http.server())?;
            issuer.is_none_or(|issuer| is_same_issuer(issuer, &about.issuer)).then_some((own, about))
        };
        let mut all: Vec<(bool, CredentialSummary)> = self.store.list()?.into_iter().filter_map(of).collect();
        all.sort_by_key(|(own, about)| (*own, about.expires_at, about.has_refresh));
        Ok(all.pop().map(|(_, about)| about))
    }

    /// Whether the tokens of a record were obtained as the settings say.
    fn matches_settings(&self, record: &Credentials) -> bool {
        self.settings.client_id.as_ref().is_none_or(|id| *id == record.client.id)
    }

    fn register_secrets(&self, record: &Credentials) {
        let tokens = record.tokens.iter().flat_map(|tokens| [Some(&tokens.access), tokens.refresh.as_ref()]);
        for secret in tokens.chain([record.client.secret.as_ref(), record.dpop_key.as_ref()]).flatten() {
            self.user.register_secret(secret);
        }
    }

    /// Makes the tokens ready for use: loaded, and renewed where they are due.
    pub(super) async fn ensure_fresh(self: &Arc<Self>, state: &mut ProviderState) -> Result<()> {
        self.load_credentials(state).await?;
        let Some(tokens) = state.tokens() else { return Ok(()) };
        let (due, expired) =
            (tokens.needs_refresh(unix_seconds(), REFRESH_MARGIN_SECS), tokens.is_expired(unix_seconds()));
        if due && tokens.refresh.is_some() {
            match self.refresh(state).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(failure) if expired => return Err(failure),
                // There is still time: the next run may have more luck.
                Err(failure) => self.http.trace().note(&format!("the token could not be renewed yet: {failure}")),
            }
        } else if expired {
            state.ended_reason = Some(Failure::new(ErrorKind::Auth, "the token has expired"));
        }
        if expired && let Some(held) = &mut state.loaded {
            held.credentials.tokens = None;
        }
        Ok(())
    }

    /// Renews the tokens in hand, or takes those that another process has renewed meanwhile (`AUT-23`).
    /// Tells whether they were; why not, where the issuer refused, is kept. Those in hand go where it said that the
    /// refresh token is good no more.
    pub(super) async fn refresh(self: &Arc<Self>, state: &mut ProviderState) -> Result<bool> {
        let Some(before) = state.loaded.as_ref().map(|held| held.credentials.clone()) else { return Ok(false) };
        let (inner, settings) = (self.clone(), self.effective_settings(state).clone());
        let unstored = state.store_failure.is_some();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A task of its own: once the refresh token has been sent, its successor must be stored, even if
        // whoever wanted it has gone.
        let task = tokio::spawn(async move {
            let _ = sender.send(match unstored {
                // What is stored, if anything is, is older.
                true => inner.request_refresh(&settings, before, false).await,
                false => inner.refresh_locked(&settings, before).await,
            });
        });
        lock(&self.refresh_tasks).push(task);
        let lost = || Failure::new(ErrorKind::Bug, "the renewal of the token was lost");
        match receiver.await.map_err(|_| lost()).flatten()? {
            TokenOutcome::Refreshed(record, failure) => {
                if failure.is_some() {
                    state.store_failure = failure;
                }
                match &mut state.loaded {
                    // A login elsewhere brought another key.
                    Some(held) if held.credentials.dpop_key == record.dpop_key => held.credentials = *record,
                    held => *held = Some(LoadedCredentials::new(*record)?),
                }
                state.mark_obtained(TokenSource::Refresh);
                Ok(true)
            }
            TokenOutcome::LoginRequired(record, failure) => {
                match (record, &mut state.loaded) {
                    (Some(record), Some(held)) => held.credentials = *record,
                    (_, held) => *held = None,
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

    async fn refresh_locked(&self, settings: &OAuthSettings, before: Credentials) -> Result<TokenOutcome> {
        let key = before.store_key();
        let _guard = self.without_deadline(self.store.lock(&key)).await?;
        // Whoever held the lock before us may have done it already.
        let Some(stored) = self.without_deadline(self.store.get(&key)).await? else {
            return Ok(TokenOutcome::LoginRequired(
                None,
                Failure::new(ErrorKind::Auth, "the credentials have been removed"),
            ));
        };
        let record = self.parse_stored(&stored)?;
        self.register_secrets(&record);
        let access = |record: &Credentials| record.tokens.as_ref().map(|tokens| tokens.access.clone());
        if access(&record) != access(&before) {
            match &record.tokens {
                Some(tokens) if !tokens.needs_refresh(unix_seconds(), REFRESH_MARGIN_SECS) => {
                    return Ok(TokenOutcome::Refreshed(Box::new(record), None));
                }
                Some(_) => {}
                None => {
                    let failure = Failure::new(ErrorKind::Auth, "the login was refused to another run of mcpipe");
                    return Ok(TokenOutcome::LoginRequired(Some(Box::new(record)), failure));
                }
            }
        }
        self.request_refresh(settings, record, true).await
    }

    /// Asks for new tokens; what comes of it is stored, if the record is.
    async fn request_refresh(
        &self,
        settings: &OAuthSettings,
        mut record: Credentials,
        stored: bool,
    ) -> Result<TokenOutcome> {
        let put = async |record: &Credentials| match stored {
            true => self.store_credentials(record).await,
            false => Ok(()),
        };
        match flows::refresh_tokens(&self.http, settings, &*self.user, &record).await? {
            RefreshOutcome::Refreshed(tokens) => {
                record.tokens = Some(tokens);
                let failed = put(&record).await.err();
                if let Some(failure) = &failed {
                    self.user.show(&format!("mcpipe: the renewed login could not be stored: {failure}"));
                }
                Ok(TokenOutcome::Refreshed(Box::new(record), failed))
            }
            RefreshOutcome::LoginRequired(failure) => {
                record.tokens = None;
                put(&record).await?;
                Ok(TokenOutcome::LoginRequired(Some(Box::new(record)), failure))
            }
            RefreshOutcome::Retryable(failure) => Ok(TokenOutcome::Retryable(failure)),
            RefreshOutcome::ClientUnknown(failure) => {
                if stored {
                    self.without_deadline(self.store.delete(&record.store_key())).await?;
                }
                Ok(TokenOutcome::LoginRequired(None, failure))
            }
        }
    }

    async fn store_credentials(&self, record: &Credentials) -> Result<()> {
        let about = record.summary(self.context.config_name.as_deref());
        let text = record.to_stored_omitting_secret(self.context.configured_secret.as_ref())?;
        self.without_deadline(self.store.put(&record.store_key(), &about, &text)).await
    }

    /// Stores a new login, and drops what it replaces (`AUT-13`): tokens of another issuer are of no use any
    /// more.
    pub(super) async fn replace_login(&self, record: &Credentials) -> Result<()> {
        let key = record.store_key();
        let _guard = self.store.lock(&key).await?;
        self.store_credentials(record).await?;
        let place = |about: &CredentialSummary| match_server(about, self.http.server());
        let own = place(&record.summary(None));
        for about in self.store.list()? {
            if about.key != key && own.is_some() && place(&about) == own {
                self.store.delete(&about.key).await?;
            }
        }
        Ok(())
    }
}

/// How a renewal ended.
enum TokenOutcome {
    /// New tokens; why they could not be stored, if so.
    Refreshed(Box<Credentials>, Option<Failure>),
    /// The issuer refused; what is left of the record.
    LoginRequired(Option<Box<Credentials>>, Failure),
    /// It refused this time; the record stays as it is.
    Retryable(Failure),
}
