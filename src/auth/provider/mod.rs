//! The credentials of one endpoint: shown with every request, renewed before they expire, obtained when the
//! server refuses (digest §5.3). This is what the transport sees of `auth`.

pub(crate) mod login;
pub(crate) mod refresh;
pub(crate) mod rejection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use url::Url;

use super::dpop::{self, DpopKey, ProofTarget};
use super::settings::{BrowserMode, LoginMode, OAuthSettings, UserInteraction};
use super::store::CredentialStore;
use crate::auth::credentials::{Credentials, TokenSet};
use crate::auth::flows::unix_seconds;
use crate::auth::http_client::OAuthHttpClient;
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::transport::{Authorize, BoxFuture, UnexpectedResponse};
use crate::util::lock::lock;

/// A token that is refused so soon after it was obtained will not get better by being renewed.
const RECENTLY_OBTAINED: Duration = Duration::from_secs(10);
/// How long the end of a renewal under way is awaited: to lose its outcome may be to lose the login.
const REFRESH_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

/// How a gate treats the person.
#[derive(Clone, Debug)]
pub struct LoginContext {
    /// The target, as the user names it.
    pub target_name: String,
    /// The command that logs in there.
    pub login_command: String,
    /// The command that forgets the login and the registration.
    pub logout_command: String,
    /// Its name in the configuration, where it has one.
    pub config_name: Option<String>,
    /// The client's secret that stands in the configuration.
    pub configured_secret: Option<Secret>,
    /// When to log in on the spot.
    pub login_mode: LoginMode,
    /// Whether a person is at the terminal.
    pub has_terminal: bool,
    /// Where their browser is.
    pub browser: BrowserMode,
    /// How long they have.
    pub timeout: Duration,
    /// Log in even where good tokens are stored.
    pub force_login: bool,
}

/// The credentials of one endpoint.
#[derive(Clone)]
pub struct TokenProvider(Arc<ProviderInner>);

struct ProviderInner {
    http: OAuthHttpClient,
    settings: OAuthSettings,
    context: LoginContext,
    user: Arc<dyn UserInteraction>,
    store: Arc<dyn CredentialStore>,
    state: tokio::sync::Mutex<ProviderState>,
    busy_count: AtomicUsize,
    refresh_tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// What is known in this run.
#[derive(Default)]
struct ProviderState {
    is_loaded: bool,
    loaded: Option<LoadedCredentials>,
    /// What holds in place of the gate's settings where those say nothing: how the record was obtained.
    stored_settings: Option<OAuthSettings>,
    /// How the tokens in hand were obtained in this run, if they were, and when.
    last_obtained: Option<(TokenSource, Instant)>,
    /// Whether the tokens in hand have been shown: a refusal before that is about others.
    is_token_used: bool,
    login_count: usize,
    /// Why the tokens that were in hand are good no more.
    ended_reason: Option<Failure>,
    /// A request went out without them, and nobody has refused it yet.
    sent_without_token: bool,
    /// That this is so has been said.
    has_warned: bool,
    /// The new credentials could not be stored.
    store_failure: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TokenSource {
    Refresh,
    Login,
}

/// A record in hand.
struct LoadedCredentials {
    credentials: Credentials,
    dpop_key: Option<DpopKey>,
}

impl LoadedCredentials {
    fn new(record: Credentials) -> Result<Self> {
        let prover = record.dpop_key.clone().map(DpopKey::from_encoded).transpose()?;
        Ok(LoadedCredentials { credentials: record, dpop_key: prover })
    }
}

impl ProviderState {
    fn tokens(&self) -> Option<&TokenSet> {
        self.loaded.as_ref().and_then(|held| held.credentials.tokens.as_ref())
    }

    /// Why somebody has to log in, where there are no tokens.
    fn login_reason(&self) -> LoginReason {
        self.ended_reason.clone().map_or(LoginReason::NotLoggedIn, LoginReason::LoginEnded)
    }

    fn is_recently_obtained(&self, by: TokenSource) -> bool {
        self.last_obtained.is_some_and(|(how, when)| how == by && when.elapsed() < RECENTLY_OBTAINED)
    }

    fn mark_obtained(&mut self, by: TokenSource) {
        self.last_obtained = Some((by, Instant::now()));
        self.is_token_used = false;
        self.ended_reason = None;
    }
}

/// Why somebody has to log in.
enum LoginReason {
    /// Nothing is stored.
    NotLoggedIn,
    /// What is stored is good no more.
    LoginEnded(Failure),
    /// It is good, but not for this: these scopes are to be asked for, because the server wants those.
    InsufficientScope { requested_scopes: Vec<String>, required_scopes: Vec<String> },
}

impl TokenProvider {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(
        http: OAuthHttpClient,
        settings: OAuthSettings,
        manner: LoginContext,
        person: Arc<dyn UserInteraction>,
        store: Arc<dyn CredentialStore>,
    ) -> Self {
        TokenProvider(Arc::new(ProviderInner {
            http,
            settings,
            context: manner,
            user: person,
            store,
            state: tokio::sync::Mutex::default(),
            busy_count: AtomicUsize::new(0),
            refresh_tasks: Mutex::default(),
        }))
    }

    /// The tokens, renewed where they are due; obtained where that needs no person.
    ///
    /// # Errors
    /// [`ErrorKind::Auth`](crate::error::ErrorKind::Auth) where somebody has to log in first.
    pub async fn tokens(&self) -> Result<TokenSet> {
        let mut state = self.0.state.lock().await;
        self.0.ensure_fresh(&mut state).await?;
        if state.tokens().is_none() {
            if self.0.effective_settings(&state).grant.is_interactive() {
                return Err(self.0.login_required_failure(&state.login_reason(), None));
            }
            self.0.log_in(&mut state, LoginReason::NotLoggedIn, None).await?;
        }
        state.tokens().cloned().ok_or_else(|| self.0.login_required_failure(&LoginReason::NotLoggedIn, None))
    }

    /// Tells this login from others, without opening the keychain; `None` where there is none.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn login_id(&self) -> Result<Option<String>> {
        Ok(self.0.select_stored()?.and_then(|about| about.login))
    }

    /// Logs in although the server asked for nothing. `None` where nobody says that it knows logins.
    ///
    /// # Errors
    /// As the flows.
    pub async fn log_in(&self) -> Result<Option<Credentials>> {
        let mut state = self.0.state.lock().await;
        self.0.load_credentials(&mut state).await?;
        let found = self.0.discover(&state, None).await?;
        if !found.is_advertised && self.0.effective_settings(&state).client_id.is_none() {
            return Ok(None);
        }
        self.0.run_login(&mut state, LoginReason::NotLoggedIn, None, found).await?;
        Ok(state.loaded.as_ref().map(|held| held.credentials.clone()))
    }

    /// The record of a login in this run.
    pub async fn credentials_from_this_run(&self) -> Option<Credentials> {
        let state = self.0.state.lock().await;
        state.last_obtained.and_then(|_| state.loaded.as_ref().map(|held| held.credentials.clone()))
    }

    /// Why new credentials could not be stored, if so.
    pub async fn store_failure(&self) -> Option<Failure> {
        self.0.state.lock().await.store_failure.clone()
    }
}

impl ProviderInner {
    /// The headers that show the token.
    async fn authorization_headers(self: &Arc<Self>, method: &str, url: &Url) -> Result<Vec<(String, Secret)>> {
        // The token is for this server and nobody else (`AUT-20`).
        if url.origin() != self.http.server().origin() {
            return Ok(Vec::new());
        }
        let mut state = self.state.lock().await;
        self.ensure_fresh(&mut state).await?;
        state.is_token_used = true;
        self.warn_if_unauthenticated(&mut state);
        state.sent_without_token = state.ended_reason.is_some() && state.tokens().is_none();
        let Some(held) = &state.loaded else { return Ok(Vec::new()) };
        let Some(tokens) = &held.credentials.tokens else { return Ok(Vec::new()) };
        match (&held.dpop_key, tokens.dpop) {
            (Some(prover), true) => {
                let shown = ProofTarget { method, url, access_token: Some(&tokens.access) };
                let proof = prover.dpop_proof(shown, &self.http.dpop_nonces, unix_seconds())?;
                let token = Secret::new(format!("DPoP {}", tokens.access.reveal()));
                Ok(vec![("authorization".to_owned(), token), (dpop::HEADER.to_owned(), proof)])
            }
            _ => Ok(vec![("authorization".to_owned(), Secret::new(format!("Bearer {}", tokens.access.reveal())))]),
        }
    }
}

impl Authorize for TokenProvider {
    fn headers<'a>(&'a self, method: &'a str, url: &'a Url) -> BoxFuture<'a, Result<Vec<(String, Secret)>>> {
        Box::pin(self.0.authorization_headers(method, url))
    }

    fn handle_unauthorized<'a>(&'a self, refusal: &'a UnexpectedResponse) -> BoxFuture<'a, Result<bool>> {
        Box::pin(self.0.handle_rejection(refusal))
    }

    fn store_nonce(&self, url: &Url, nonce: &str) {
        self.0.http.dpop_nonces.remember(url, nonce);
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
