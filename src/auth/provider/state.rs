//! What a token provider knows in this run.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::auth::clock::unix_seconds;
use crate::auth::credentials::{Credentials, TokenSet, is_token_of};
use crate::auth::dpop::DpopKey;
use crate::auth::flows::TokenOutcome;
use crate::auth::login_context::LoginContext;
use crate::auth::store::CredentialStore;
use crate::config::oauth::OAuthSettings;
use crate::error::{Failure, Result};
use crate::protocol::challenge::Challenge;
use crate::secret::Secret;

/// A token that is refused this soon after it was obtained would be refused again after a refresh.
const RECENTLY_OBTAINED: Duration = Duration::from_secs(10);

pub(super) struct ProviderInner {
    pub context: LoginContext,
    pub settings: OAuthSettings,
    pub store: Arc<dyn CredentialStore>,
    pub state: tokio::sync::Mutex<ProviderState>,
    pub busy_count: AtomicUsize,
    pub refresh_tasks: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
pub(super) struct ProviderState {
    pub is_loaded: bool,
    pub loaded: Option<LoadedCredentials>,
    /// The settings of this run over those of the stored login, if there is one.
    pub merged_settings: Option<OAuthSettings>,
    /// How and when the current tokens were obtained, if it was in this run.
    pub last_obtained: Option<(TokenSource, Instant)>,
    /// How many logins were completed in a row, each while the token of the one before had not expired, and until when
    /// another one belongs to the same row, in seconds since 1970.
    pub consecutive_logins: Option<(usize, u64)>,
    /// Whether the server refused the token of a login of this run.
    pub is_login_refused: bool,
    /// Whether a login was begun; the user has seen its outcome.
    pub has_tried_login: bool,
    /// Whether the server challenged for tokens that are bound to a key, and for no others.
    pub requires_dpop: bool,
    /// The last challenge with the address of metadata.
    pub metadata_challenge: Option<Challenge>,
    /// Why the earlier tokens are no longer valid, or could not be refreshed when they were needed.
    pub ended_reason: Option<Failure>,
    /// When a request was sent without a token after the login ended, if none has been refused yet.
    pub sent_without_token: Option<Instant>,
    /// Whether the user has been warned that the login of the current tokens ended.
    pub has_warned_of_ended_login: bool,
    /// The tokens that were replaced by a refresh, the newest last.
    pub replaced_tokens: VecDeque<TokenSet>,
    /// Why the new credentials could not be stored.
    pub store_failure: Option<Failure>,
    /// The outcome of the refresh in progress, or of one whose request was canceled.
    pub pending_refresh: Option<oneshot::Receiver<Result<Refreshed>>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenSource {
    Refresh,
    Login,
    /// Another process obtained them in the meantime.
    Store,
}

/// How tokens were refreshed.
pub(super) struct Refreshed {
    pub outcome: TokenOutcome,
    /// Where new tokens come from.
    pub source: TokenSource,
    /// Why the outcome could not be stored.
    pub store_failure: Option<Failure>,
}

impl Refreshed {
    /// What another process has stored.
    pub fn from_store(outcome: TokenOutcome) -> Self {
        Refreshed { outcome, source: TokenSource::Store, store_failure: None }
    }
}

/// Credentials with their DPoP key, parsed.
pub(super) struct LoadedCredentials {
    pub credentials: Credentials,
    pub dpop_key: Option<DpopKey>,
}

impl LoadedCredentials {
    pub fn new(credentials: Credentials) -> Result<Self> {
        let dpop_key = credentials.dpop_key.clone().map(DpopKey::from_encoded).transpose()?;
        Ok(LoadedCredentials { credentials, dpop_key })
    }
}

/// Why a login is required.
pub(super) enum LoginReason {
    /// No credentials are stored.
    NotLoggedIn,
    /// The stored credentials are no longer valid.
    LoginEnded(Failure),
    /// The server requires scopes that the token does not have; these are to be requested.
    InsufficientScope { requested_scopes: Vec<String>, required_scopes: Vec<String> },
}

impl ProviderState {
    pub fn tokens(&self) -> Option<&TokenSet> {
        self.loaded.as_ref().and_then(|loaded| loaded.credentials.tokens.as_ref())
    }

    /// The tokens, unless they have expired.
    pub fn valid_tokens(&self) -> Option<&TokenSet> {
        self.tokens().filter(|tokens| !tokens.is_expired(unix_seconds()))
    }

    /// Why a login is required if there are no valid tokens.
    pub fn login_reason(&self) -> LoginReason {
        self.ended_reason.clone().map_or(LoginReason::NotLoggedIn, LoginReason::LoginEnded)
    }

    /// Keeps a challenge with the address of metadata.
    pub fn store_metadata_challenge(&mut self, challenge: Option<&Challenge>) {
        if let Some(challenge) = challenge.filter(|challenge| challenge.resource_metadata().is_some()) {
            self.metadata_challenge = Some(challenge.clone());
        }
    }

    /// Whether a request with this `Authorization` header would be sent with other tokens now.
    pub fn has_other_tokens(&self, sent: Option<&Secret>) -> bool {
        match sent {
            Some(sent) => self.tokens().is_some_and(|tokens| !is_token_of(sent, &tokens.access)),
            None => self.valid_tokens().is_some(),
        }
    }

    pub fn is_recently_obtained(&self, by: TokenSource) -> bool {
        self.last_obtained.is_some_and(|(source, when)| source == by && when.elapsed() < RECENTLY_OBTAINED)
    }

    pub fn mark_obtained(&mut self, by: TokenSource) {
        self.last_obtained = Some((by, Instant::now()));
        self.ended_reason = None;
        self.has_warned_of_ended_login = false;
    }
}
