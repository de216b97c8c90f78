//! The credentials of one endpoint: shown with every request, renewed before they expire, obtained when the
//! server refuses (digest §5.3). This is what the transport sees of `auth`.

mod keep;
mod login;
mod refusal;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use url::Url;

use super::dpop::{self, Prover, Shown};
use super::flow::now;
use super::http::Http;
use super::record::{Record, Tokens};
use super::settings::{Browser, Login, Person, Settings};
use super::store::Store;
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::transport::{Authorize, Boxed, Refusal};

/// A token that is refused so soon after it was obtained will not get better by being renewed.
const FRESH: Duration = Duration::from_secs(10);
/// How long the end of a renewal under way is awaited: to lose its outcome may be to lose the login.
const SETTLE: Duration = Duration::from_secs(10);

/// How a gate treats the person.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The target, as the user names it.
    pub name: String,
    /// The command that logs in there.
    pub command: String,
    /// The command that forgets the login and the registration.
    pub logout: String,
    /// Its name in the configuration, where it has one.
    pub configured: Option<String>,
    /// The client's secret that stands in the configuration.
    pub secret: Option<Secret>,
    /// When to log in on the spot.
    pub login: Login,
    /// Whether a person is at the terminal.
    pub terminal: bool,
    /// Where their browser is.
    pub browser: Browser,
    /// How long they have.
    pub patience: Duration,
    /// Log in even where good tokens are stored.
    pub anew: bool,
}

/// The credentials of one endpoint.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    http: Http,
    settings: Settings,
    manner: Manner,
    person: Arc<dyn Person>,
    store: Arc<dyn Store>,
    state: tokio::sync::Mutex<State>,
    busy: AtomicUsize,
    renewals: Mutex<Vec<JoinHandle<()>>>,
}

/// What is known in this run.
#[derive(Default)]
struct State {
    loaded: bool,
    held: Option<Held>,
    /// What holds in place of the gate's settings where those say nothing: how the record was obtained.
    inherited: Option<Settings>,
    /// How the tokens in hand were obtained in this run, if they were, and when.
    obtained: Option<(By, Instant)>,
    /// Whether the tokens in hand have been shown: a refusal before that is about others.
    shown: bool,
    logins: usize,
    /// Why the tokens that were in hand are good no more.
    ended: Option<Failure>,
    /// A request went out without them, and nobody has refused it yet.
    bare: bool,
    /// That this is so has been said.
    warned: bool,
    /// The new credentials could not be stored.
    unstored: Option<Failure>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Renewal,
    Login,
}

/// A record in hand.
struct Held {
    record: Record,
    prover: Option<Prover>,
}

impl Held {
    fn new(record: Record) -> Result<Self> {
        let prover = record.dpop_key.clone().map(Prover::stored).transpose()?;
        Ok(Held { record, prover })
    }
}

impl State {
    fn tokens(&self) -> Option<&Tokens> {
        self.held.as_ref().and_then(|held| held.record.tokens.as_ref())
    }

    /// Why somebody has to log in, where there are no tokens.
    fn need(&self) -> Need {
        self.ended.clone().map_or(Need::First, Need::Again)
    }

    fn fresh(&self, by: By) -> bool {
        self.obtained.is_some_and(|(how, when)| how == by && when.elapsed() < FRESH)
    }

    fn obtained(&mut self, by: By) {
        self.obtained = Some((by, Instant::now()));
        self.shown = false;
        self.ended = None;
    }
}

/// Why somebody has to log in.
enum Need {
    /// Nothing is stored.
    First,
    /// What is stored is good no more.
    Again(Failure),
    /// It is good, but not for this: these scopes are to be asked for, because the server wants those.
    More { all: Vec<String>, wanted: Vec<String> },
}

impl Gate {
    /// Opens nothing yet.
    #[must_use]
    pub fn new(http: Http, settings: Settings, manner: Manner, person: Arc<dyn Person>, store: Arc<dyn Store>) -> Self {
        Gate(Arc::new(Inner {
            http,
            settings,
            manner,
            person,
            store,
            state: tokio::sync::Mutex::default(),
            busy: AtomicUsize::new(0),
            renewals: Mutex::default(),
        }))
    }

    /// The tokens, renewed where they are due; obtained where that needs no person.
    ///
    /// # Errors
    /// [`Class::Auth`](crate::error::Class::Auth) where somebody has to log in first.
    pub async fn tokens(&self) -> Result<Tokens> {
        let mut state = self.0.state.lock().await;
        self.0.ready(&mut state).await?;
        if state.tokens().is_none() {
            if self.0.settings(&state).grant.needs_person() {
                return Err(self.0.must_log_in(&state.need(), None));
            }
            self.0.log_in(&mut state, Need::First, None).await?;
        }
        state.tokens().cloned().ok_or_else(|| self.0.must_log_in(&Need::First, None))
    }

    /// Tells this login from others, without opening the keychain; `None` where there is none.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn identity(&self) -> Result<Option<String>> {
        Ok(self.0.choose()?.and_then(|about| about.login))
    }

    /// Logs in although the server asked for nothing. `None` where nobody says that it knows logins.
    ///
    /// # Errors
    /// As the flows.
    pub async fn log_in(&self) -> Result<Option<Record>> {
        let mut state = self.0.state.lock().await;
        self.0.load(&mut state).await?;
        let found = self.0.discover(&state, None).await?;
        if !found.told && self.0.settings(&state).client_id.is_none() {
            return Ok(None);
        }
        self.0.obtain(&mut state, Need::First, None, found).await?;
        Ok(state.held.as_ref().map(|held| held.record.clone()))
    }

    /// The record of a login in this run.
    pub async fn logged_in(&self) -> Option<Record> {
        let state = self.0.state.lock().await;
        state.obtained.and_then(|_| state.held.as_ref().map(|held| held.record.clone()))
    }

    /// Why new credentials could not be stored, if so.
    pub async fn unstored(&self) -> Option<Failure> {
        self.0.state.lock().await.unstored.clone()
    }
}

impl Inner {
    /// The headers that show the token.
    async fn headers(self: &Arc<Self>, method: &str, url: &Url) -> Result<Vec<(String, Secret)>> {
        // The token is for this server and nobody else (`AUT-20`).
        if url.origin() != self.http.server().origin() {
            return Ok(Vec::new());
        }
        let mut state = self.state.lock().await;
        self.ready(&mut state).await?;
        state.shown = true;
        self.without(&mut state);
        state.bare = state.ended.is_some() && state.tokens().is_none();
        let Some(held) = &state.held else { return Ok(Vec::new()) };
        let Some(tokens) = &held.record.tokens else { return Ok(Vec::new()) };
        match (&held.prover, tokens.dpop) {
            (Some(prover), true) => {
                let shown = Shown { method, url, token: Some(&tokens.access) };
                let proof = prover.proof(shown, &self.http.nonces, now())?;
                let token = Secret::new(format!("DPoP {}", tokens.access.reveal()));
                Ok(vec![("authorization".to_owned(), token), (dpop::HEADER.to_owned(), proof)])
            }
            _ => Ok(vec![("authorization".to_owned(), Secret::new(format!("Bearer {}", tokens.access.reveal())))]),
        }
    }
}

impl Authorize for Gate {
    fn headers<'a>(&'a self, method: &'a str, url: &'a Url) -> Boxed<'a, Result<Vec<(String, Secret)>>> {
        Box::pin(self.0.headers(method, url))
    }

    fn refused<'a>(&'a self, refusal: &'a Refusal) -> Boxed<'a, Result<bool>> {
        Box::pin(self.0.refused(refusal))
    }

    fn nonce(&self, url: &Url, nonce: &str) {
        self.0.http.nonces.take(url, nonce);
    }

    fn busy(&self) -> bool {
        self.0.busy.load(Ordering::Relaxed) > 0
    }

    fn settle(&self) -> Boxed<'_, ()> {
        let tasks = std::mem::take(&mut *self.0.renewals.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(async move {
            if let Ok(mut state) = self.0.state.try_lock() {
                self.0.without(&mut state);
            }
            let all = async {
                for task in tasks {
                    let _ = task.await;
                }
            };
            let _ = tokio::time::timeout(SETTLE, all).await;
        })
    }
}
