//! The credentials of one endpoint: shown with every request, renewed before they expire, obtained when the
//! server refuses (digest §5.3). This is what the transport sees of `auth`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use url::Url;

use super::challenge::{self, Challenge};
use super::discovery::{self, Found};
use super::dpop::{self, Prover};
use super::flow::{self, Means, Renewed, now};
use super::http::Http;
use super::record::{Record, Tokens, name_of};
use super::scopes;
use super::settings::{Browser, Grant, Login, Person, Settings};
use super::store::{About, Store};
use crate::error::{Class, Failure, Result};
use crate::secret::Secret;
use crate::transport::{Authorize, Boxed, Refusal};

/// How long before it expires a token is renewed, in seconds.
const MARGIN: u64 = 30;
/// How often somebody is asked to authorise within one run (`AUT-21`).
const MAX_LOGINS: usize = 3;
/// A token that is refused so soon after it was obtained will not get better by being renewed.
const FRESH: Duration = Duration::from_secs(10);
/// How long the end of a renewal under way is awaited: to lose its outcome may be to lose the login.
const SETTLE: Duration = Duration::from_secs(10);

/// How a gate treats the person.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The target, as the user names it.
    pub name: String,
    /// Its name in the configuration, where it has one.
    pub configured: Option<String>,
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
    /// [`Class::Auth`] where somebody has to log in first.
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
    fn server(&self) -> String {
        name_of(self.http.server())
    }

    /// Loads the record, where the index says that there is one.
    async fn load(&self, state: &mut State) -> Result<()> {
        if state.loaded {
            return Ok(());
        }
        if let Some(about) = self.choose()?
            && let Some(secret) = self.store.get(&about.key).await?
        {
            let mut record = Record::read(&secret)?;
            self.hide(&record);
            if self.settings.is_plain() {
                state.inherited = Some(record.settings());
            }
            if self.manner.anew || !self.fits(&record) {
                record.tokens = None;
            }
            state.held = Some(Held::new(record)?);
        }
        state.loaded = true;
        Ok(())
    }

    /// The record to use: of this server, of the configured issuer, the one that is good for longest.
    fn choose(&self) -> Result<Option<About>> {
        let server = self.server();
        let issuer = self.settings.issuer.as_deref();
        let of = |about: &About| {
            about.resource == server && issuer.is_none_or(|issuer| super::metadata::same_issuer(issuer, &about.issuer))
        };
        let mut all: Vec<About> = self.store.list()?.into_iter().filter(of).collect();
        all.sort_by_key(|about| (about.expires_at, about.has_refresh));
        Ok(all.pop())
    }

    /// Whether the tokens of a record were obtained as the settings say.
    fn fits(&self, record: &Record) -> bool {
        self.settings.client_id.as_ref().is_none_or(|id| *id == record.client.id)
    }

    fn hide(&self, record: &Record) {
        let tokens = record.tokens.iter().flat_map(|tokens| [Some(&tokens.access), tokens.refresh.as_ref()]);
        for secret in tokens.chain([record.client.secret.as_ref(), record.dpop_key.as_ref()]).flatten() {
            self.person.hide(secret);
        }
    }

    /// Makes the tokens ready for use: loaded, and renewed where they are due.
    async fn ready(self: &Arc<Self>, state: &mut State) -> Result<()> {
        self.load(state).await?;
        let Some(tokens) = state.tokens() else { return Ok(()) };
        let (due, expired) = (tokens.due(now(), MARGIN), tokens.expired(now()));
        if due && tokens.refresh.is_some() {
            if let Err(failure) = self.renew(state).await {
                if expired {
                    return Err(failure);
                }
                // There is still time: the next run may have more luck.
                self.http.trace().note(&format!("the token could not be renewed yet: {failure}"));
            }
        } else if expired {
            if let Some(held) = &mut state.held {
                held.record.tokens = None;
            }
            state.ended = Some(Failure::new(Class::Auth, "the token has expired"));
        }
        Ok(())
    }

    /// Renews the tokens in hand, or takes those that another process has renewed meanwhile (`AUT-23`).
    /// Tells whether they were; why not, where the issuer refused, is kept.
    async fn renew(self: &Arc<Self>, state: &mut State) -> Result<bool> {
        let Some(before) = state.held.as_ref().map(|held| held.record.clone()) else { return Ok(false) };
        let (inner, settings) = (self.clone(), self.settings(state).clone());
        let (sender, receiver) = tokio::sync::oneshot::channel();
        // A task of its own: once the refresh token has been sent, its successor must be stored, even if
        // whoever wanted it has gone.
        let task = tokio::spawn(async move {
            let _ = sender.send(inner.renew_locked(&settings, before).await);
        });
        self.renewals.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        let lost = || Failure::new(Class::Bug, "the renewal of the token was lost");
        match receiver.await.map_err(|_| lost()).flatten()? {
            Exchange::New(record) => {
                // The same key keeps the nonces that it was told.
                if let Some(held) = &mut state.held {
                    held.record = *record;
                }
                state.obtained(By::Renewal);
                Ok(true)
            }
            Exchange::Refused(record, failure) => {
                match (record, &mut state.held) {
                    (Some(record), Some(held)) => held.record = *record,
                    (_, held) => *held = None,
                }
                state.ended = Some(failure);
                Ok(false)
            }
        }
    }

    async fn renew_locked(&self, settings: &Settings, before: Record) -> Result<Exchange> {
        let key = before.key();
        let _guard = self.store.lock(&key).await?;
        // Whoever held the lock before us may have done it already.
        let Some(stored) = self.store.get(&key).await? else {
            return Ok(Exchange::Refused(None, Failure::new(Class::Auth, "the credentials have been removed")));
        };
        let mut record = Record::read(&stored)?;
        self.hide(&record);
        let access = |record: &Record| record.tokens.as_ref().map(|tokens| tokens.access.clone());
        if access(&record) != access(&before) {
            match &record.tokens {
                Some(tokens) if !tokens.due(now(), MARGIN) => return Ok(Exchange::New(Box::new(record))),
                Some(_) => {}
                None => {
                    let failure = Failure::new(Class::Auth, "the login was refused to another run of mcpipe");
                    return Ok(Exchange::Refused(Some(Box::new(record)), failure));
                }
            }
        }
        match flow::renew(&self.http, settings, &*self.person, &record).await? {
            Renewed::Tokens(tokens) => {
                record.tokens = Some(tokens);
                let about = record.about(self.manner.configured.as_deref());
                if let Err(failure) = self.store.put(&key, &about, &record.write()?).await {
                    self.person.say(&format!("mcpipe: the renewed login could not be stored: {failure}"));
                }
                Ok(Exchange::New(Box::new(record)))
            }
            Renewed::Refused(failure) => {
                record.tokens = None;
                let about = record.about(self.manner.configured.as_deref());
                self.store.put(&key, &about, &record.write()?).await?;
                Ok(Exchange::Refused(Some(Box::new(record)), failure))
            }
            Renewed::Unregistered(failure) => {
                self.store.delete(&key).await?;
                Ok(Exchange::Refused(None, failure))
            }
        }
    }

    /// What the user says, now or at an earlier login.
    fn settings<'a>(&'a self, state: &'a State) -> &'a Settings {
        state.inherited.as_ref().unwrap_or(&self.settings)
    }

    async fn discover(&self, state: &State, challenge: Option<&Challenge>) -> Result<Found> {
        let settings = self.settings(state);
        let wants_pkce = settings.grant == Grant::AuthorizationCode;
        discovery::discover(&self.http, settings, challenge, wants_pkce).await
    }

    /// Logs in, if that is allowed here.
    async fn log_in(&self, state: &mut State, need: Need, challenge: Option<&Challenge>) -> Result<()> {
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

    async fn obtain(&self, state: &mut State, need: Need, challenge: Option<&Challenge>, found: Found) -> Result<()> {
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
            browser: self.manner.browser,
            patience: self.manner.patience,
            name: &self.manner.name,
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
            Some(about) => match self.store.get(&about.key).await? {
                Some(secret) => Record::read(&secret).map(Some),
                None => Ok(held),
            },
            None => Ok(held),
        }
    }

    /// Stores a new login, and drops what it replaces (`AUT-13`): tokens of another issuer are of no use any
    /// more.
    async fn keep(&self, record: &Record) -> Result<()> {
        let key = record.key();
        let _guard = self.store.lock(&key).await?;
        self.store.put(&key, &record.about(self.manner.configured.as_deref()), &record.write()?).await?;
        for about in self.store.list()? {
            if about.resource == record.server && about.key != key {
                self.store.delete(&about.key).await?;
            }
        }
        Ok(())
    }

    /// The failure that tells to log in.
    fn must_log_in(&self, need: &Need, challenge: Option<&Challenge>) -> Failure {
        let name = &self.manner.name;
        let word = shlex::try_quote(name).map_or_else(|_| name.clone(), std::borrow::Cow::into_owned);
        let hint = format!("mcpipe auth login {word}");
        match need {
            Need::First => {
                let failure = Failure::new(Class::Auth, format!("{name} requires a login"));
                // Without metadata, the server may want something else than a login.
                if challenge.is_none_or(|one| one.resource_metadata().is_none()) {
                    failure.hint(format!("{hint}, or give it a token from a variable with --bearer-env VAR"))
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
                    .hint(format!("{hint} --scope '{}'", all.join(" ")))
            }
        }
    }

    async fn refused(self: &Arc<Self>, refusal: &Refusal) -> Result<bool> {
        let arrived = Instant::now();
        self.http.answered_from(refusal.peer);
        let challenges = challenge::parse(&refusal.challenges);
        let challenge = challenge::oauth(&challenges);
        let mut state = self.state.lock().await;
        // Another request was refused for the same reason, and saw to it: while this one waited here, or before
        // the new token was shown even once.
        if state.obtained.is_some_and(|(_, when)| when > arrived || !state.shown) {
            return Ok(true);
        }
        if refusal.status == 401 && self.take_nonce(&state, refusal, challenge) {
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

    /// Keeps the nonce of a refusal. Tells whether the lack of it was the reason.
    fn take_nonce(&self, state: &State, refusal: &Refusal, challenge: Option<&Challenge>) -> bool {
        let prover = state.held.as_ref().and_then(|held| held.prover.as_ref());
        let (Some(prover), Some(nonce), Ok(url)) = (prover, &refusal.dpop_nonce, Url::parse(&refusal.url)) else {
            return false;
        };
        prover.take_nonce(&url, nonce) && challenge.and_then(Challenge::error) == Some(dpop::USE_NONCE)
    }

    /// The server takes no token, or none of those it was shown: renew once, then log in, then give up.
    async fn unauthorized(self: &Arc<Self>, state: &mut State, challenge: Option<&Challenge>) -> Result<bool> {
        self.load(state).await?;
        let need = match state.tokens() {
            None => state.need(),
            Some(_) if state.fresh(By::Login) => {
                let failure =
                    Failure::new(Class::Auth, format!("{} refuses the token of this login", self.manner.name));
                let why = challenge.and_then(|one| one.param("error_description").or(one.error()));
                return Err(match why {
                    Some(why) => failure.cause(format!("it said: {}", super::callback::short(why, 300))),
                    None => failure,
                });
            }
            Some(tokens) if tokens.refresh.is_some() && !state.fresh(By::Renewal) => {
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

    /// The headers that show the token.
    async fn headers(self: &Arc<Self>, method: &str, url: &Url) -> Result<Vec<(String, Secret)>> {
        // The token is for this server and nobody else (`AUT-20`).
        if url.origin() != self.http.server().origin() {
            return Ok(Vec::new());
        }
        let mut state = self.state.lock().await;
        self.ready(&mut state).await?;
        state.shown = true;
        let Some(held) = &state.held else { return Ok(Vec::new()) };
        let Some(tokens) = &held.record.tokens else { return Ok(Vec::new()) };
        match (&held.prover, tokens.dpop) {
            (Some(prover), true) => Ok(vec![
                ("authorization".to_owned(), Secret::new(format!("DPoP {}", tokens.access.reveal()))),
                (dpop::HEADER.to_owned(), prover.proof(method, url, Some(&tokens.access), now())?),
            ]),
            _ => Ok(vec![("authorization".to_owned(), Secret::new(format!("Bearer {}", tokens.access.reveal())))]),
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

/// How a renewal ended.
enum Exchange {
    New(Box<Record>),
    /// The issuer refused; what is left of the record.
    Refused(Option<Box<Record>>, Failure),
}

/// Somebody is logging in for as long as this lives.
struct Busy<'a>(&'a AtomicUsize);

impl<'a> Busy<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Busy(count)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Authorize for Gate {
    fn headers<'a>(&'a self, method: &'a str, url: &'a Url) -> Boxed<'a, Result<Vec<(String, Secret)>>> {
        Box::pin(self.0.headers(method, url))
    }

    fn refused<'a>(&'a self, refusal: &'a Refusal) -> Boxed<'a, Result<bool>> {
        Box::pin(self.0.refused(refusal))
    }

    fn busy(&self) -> bool {
        self.0.busy.load(Ordering::Relaxed) > 0
    }

    fn settle(&self) -> Boxed<'_, ()> {
        let tasks = std::mem::take(&mut *self.0.renewals.lock().unwrap_or_else(PoisonError::into_inner));
        Box::pin(async move {
            let all = async {
                for task in tasks {
                    let _ = task.await;
                }
            };
            let _ = tokio::time::timeout(SETTLE, all).await;
        })
    }
}
