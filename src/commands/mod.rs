//! The commands: one file an operation, each from parsed arguments to printed result.

pub mod auth;
pub mod batch;
pub mod call;
pub mod calling;
pub mod complete;
pub mod config;
pub mod credentials;
pub mod dashboard;
pub mod generated;
mod hiding;
pub mod inputs;
pub mod list;
pub mod models;
pub mod outcome;
pub mod prompt;
pub mod read;
pub mod reports;
pub mod secrets;
pub mod signals;
pub mod skills;
pub mod source;
pub mod task;
pub mod tool_use;
pub mod tools;
pub mod watch;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::args::Reader;
use crate::auth::Gate;
use crate::cli::{Elicit, GlobalOptions, HttpTransport, LogLevel, TargetOptions};
use crate::config::secrets::Secrets;
use crate::config::{Config, Lookup};
use crate::env::Environment;
use crate::error::{Class, Failure, Result};
use crate::interrupt::{self, Interrupt};
use crate::output::{Progress, Ui};
use crate::session::peer::{Abilities, Inputs, Observer};
use crate::session::{self, Session, retry};
use crate::target::{self, Overrides, Resolved, Target, Typed, Words};
use crate::transport::trace::Trace;
use crate::transport::{self, Authorize, Endpoint, HttpMode};
use credentials::{Entry, Stores};
use secrets::Fetched;

/// How long start and negotiation may take, unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may take, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What every command is given.
pub struct Context {
    /// Where it prints.
    pub ui: Arc<Ui>,
    /// Variables, home, working directory.
    pub env: Arc<Environment>,
    /// The wish to stop.
    pub interrupt: Interrupt,
    /// The options of every command.
    pub global: GlobalOptions,
    /// Where credentials rest, once it was asked.
    pub stores: Stores,
    /// The secrets of the configuration that were fetched.
    pub fetched: Fetched,
    /// The trace of the run, once there is one.
    pub trace: OnceLock<Trace>,
}

/// How a command ended that has said everything itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Not, and why was printed already; the class gives the exit code.
    Said(Class),
}

impl Context {
    /// A session with a target: nothing is sent yet. With a progress line somebody waits for it, and may be
    /// asked to log in.
    ///
    /// # Errors
    /// When an option cannot be used: a root that is no directory, a file that cannot be read or written; or when
    /// the index of the credentials cannot be read.
    pub fn session(&self, target: Target, progress: Option<Arc<Progress>>) -> Result<Session> {
        let login = self.login(progress.is_some());
        let gate = self.gate(&target, Entry { login, ..Entry::default() })?;
        self.session_through(target, gate.as_ref(), progress)
    }

    /// A session whose credentials come from this gate.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn session_through(
        &self,
        target: Target,
        gate: Option<&Gate>,
        progress: Option<Arc<Progress>>,
    ) -> Result<Session> {
        let observer = reports::observer(self, progress)?;
        let inputs = inputs::answerer(self, &target.name)?;
        self.session_with(target, gate, observer, inputs)
    }

    /// A session in which several calls are under way at once: what they report would mix on a progress line.
    /// Where standard input is read for something else, nobody is asked at the terminal.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn session_for_many(&self, target: Target, stdin_taken: bool) -> Result<Session> {
        let gate = self.gate(&target, Entry { login: self.login(true), ..Entry::default() })?;
        let observer = reports::observer(self, None)?;
        let asks = matches!(self.global.elicit, None | Some(Elicit::Ask));
        let inputs = if stdin_taken && asks { None } else { inputs::answerer(self, &target.name)? };
        self.session_with(target, gate.as_ref(), observer, inputs)
    }

    fn session_with(
        &self,
        target: Target,
        gate: Option<&Gate>,
        observer: Option<Arc<dyn Observer>>,
        inputs: Option<Arc<dyn Inputs>>,
    ) -> Result<Session> {
        let transport = transport::Options {
            connect_timeout: self.connect_timeout(&target),
            interrupt: self.interrupt.clone(),
            trace: self.trace()?,
            authorize: gate.map(|gate| Arc::new(gate.clone()) as Arc<dyn Authorize>),
        };
        let timeout = limit(self.global.timeout, target.timeout, TIMEOUT);
        let abilities = Abilities {
            roots: inputs::roots(self, &target)?,
            inputs,
            sampler: inputs::sampler(self, timeout)?,
            observer,
            log_level: self.global.log_level.map(LogLevel::as_str),
        };
        let options = session::Options {
            timeout,
            retry: self.retry(&target),
            cache_dir: if self.global.no_cache { None } else { self.env.cache_dir() },
            identity: gate.map(Gate::identity).transpose()?.flatten(),
            transport,
            abilities,
        };
        Ok(Session::new(target, options))
    }

    /// When to ask once more. A process that ended is not started again unasked.
    fn retry(&self, target: &Target) -> retry::Policy {
        let usual = if matches!(target.endpoint, Endpoint::Stdio(_)) { 0 } else { 2 };
        let ui = self.ui.clone();
        let notice = move |text: &str| ui.warn(text);
        retry::Policy {
            times: self.global.retries.unwrap_or(usual),
            asked: self.global.retries.is_some(),
            wait: self.global.wait,
            patience: self.global.timeout.filter(|time| !time.is_zero()),
            notice: Some(Arc::new(notice)),
        }
    }

    /// How long start and negotiation with this target may take.
    #[must_use]
    pub fn connect_timeout(&self, target: &Target) -> Option<Duration> {
        limit(self.global.connect_timeout, target.connect_timeout, CONNECT_TIMEOUT)
    }

    /// Where every connection of this run shows what it exchanges: one place, however many there are.
    ///
    /// # Errors
    /// When the trace file cannot be made.
    pub fn trace(&self) -> Result<Trace> {
        if let Some(trace) = self.trace.get() {
            return Ok(trace.clone());
        }
        let trace = self.ui.trace()?;
        Ok(self.trace.get_or_init(|| trace).clone())
    }

    /// The line on stderr that shows that something is under way.
    #[must_use]
    pub fn progress(&self, message: &str) -> Arc<Progress> {
        Arc::new(self.ui.progress(message))
    }

    /// Runs an operation on a session and ends the session in order, whatever came of it.
    ///
    /// # Errors
    /// Those of the operation.
    pub async fn with<T>(&self, session: Session, operation: impl AsyncFnOnce(&Session) -> Result<T>) -> Result<T> {
        let outcome = operation(&session).await;
        session.close().await;
        outcome.map_err(|failure| failure.server(&session.target().name))
    }

    /// The target of a command and the words that follow it.
    ///
    /// `words` are all positional words, TARGET first; `command` is what stood behind `--`; `splits` tells
    /// whether the command takes a tool, so that `SERVER.TOOL` may be written.
    ///
    /// # Errors
    /// When there is no target, or it cannot be resolved.
    pub async fn target(
        &self,
        words: Vec<String>,
        command: &[String],
        splits: bool,
        reach: &TargetOptions,
    ) -> Result<Resolved> {
        let lookup = Lookup::new(&self.env, self.global.config.as_deref());
        let words = in_order(words, command, splits);
        let overrides = overrides(reach);
        let resolve = |secrets: &Secrets<'_>| target::resolve(words.clone(), &overrides, &lookup, secrets);
        // Secrets are wanted only where the configuration was read.
        let defaults = || lookup.config().map(|config| config.defaults.clone()).unwrap_or_default();
        let mut resolved = self.with_secrets(defaults, resolve).await?;
        self.hide_credentials(&resolved.target);
        resolved.target.typed = self.typed(&overrides);
        let unchecked = is_unchecked(&resolved.target);
        for warning in &resolved.target.warnings {
            if unchecked { self.ui.alarm(warning) } else { self.ui.warn(warning) }
        }
        Ok(resolved)
    }

    /// The options that lead to a target.
    fn typed(&self, overrides: &Overrides) -> Typed {
        Typed::new(self.global.config.as_deref(), overrides)
    }

    /// The same without fetching a secret: the target says what there is, and cannot be connected to.
    #[must_use]
    pub fn pretended(
        &self,
        words: Vec<String>,
        command: &[String],
        splits: bool,
        reach: &TargetOptions,
    ) -> Option<Resolved> {
        let lookup = Lookup::new(&self.env, self.global.config.as_deref());
        let words = in_order(words, command, splits);
        target::resolve(words, &overrides(reach), &lookup, &Secrets::pretended()).ok()
    }

    /// A configured server, for a command that goes through all of them. With `pretend` no secret is fetched: the
    /// target says what there is, and cannot be connected to.
    ///
    /// # Errors
    /// When it cannot be resolved.
    pub async fn configured(
        &self,
        config: &Config,
        name: &str,
        overrides: &Overrides,
        pretend: bool,
    ) -> Result<Target> {
        let resolve = |secrets: &Secrets<'_>| target::configured(config, name, overrides, &self.env, secrets);
        if pretend {
            return resolve(&Secrets::pretended());
        }
        let mut target = self.with_secrets(|| config.defaults.clone(), resolve).await?;
        self.hide_credentials(&target);
        target.typed = self.typed(overrides);
        // What is said of the files is no matter of one server.
        for warning in target.warnings.iter().skip(config.passed_over.len() + config.warnings.len()) {
            let warning = format!("{name}: {warning}");
            if is_unchecked(&target) { self.ui.alarm(&warning) } else { self.ui.warn(&warning) }
        }
        Ok(target)
    }
}

/// Whether no certificate is checked there: that is said even where nothing else is.
fn is_unchecked(target: &Target) -> bool {
    match &target.endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => endpoint.tls.insecure,
        Endpoint::Stdio(_) | Endpoint::Unix(_) => false,
    }
}

/// All positional words, TARGET first.
fn in_order(words: Vec<String>, command: &[String], splits: bool) -> Words {
    let mut words = words.into_iter();
    Words { target: words.next(), rest: words.collect(), command: command.to_vec(), splits }
}

/// The flag's time, else the configured one, else the usual one; `None` (written as 0) waits for ever.
fn limit(flag: Option<Duration>, configured: Option<Duration>, usual: Duration) -> Option<Duration> {
    Some(flag.or(configured).unwrap_or(usual)).filter(|time| !time.is_zero())
}

/// The target options of the command line as plain values.
#[must_use]
pub fn overrides(reach: &TargetOptions) -> Overrides {
    let reach = reach.clone();
    Overrides {
        headers: reach.headers,
        env: reach.env,
        cwd: reach.cwd,
        bearer_env: reach.bearer_env,
        transport: reach.transport.map(|kind| match kind {
            HttpTransport::Auto => HttpMode::Auto,
            HttpTransport::Http => HttpMode::Streamable,
            HttpTransport::Sse => HttpMode::Sse,
        }),
        protocol: reach.protocol,
        cacert: reach.cacert,
        cert: reach.cert,
        key: reach.key,
        proxy: reach.proxy,
        insecure: reach.insecure,
        allow_http: reach.allow_http,
        unix_socket: reach.unix_socket,
    }
}

/// Reads what arguments name; standard input is read once and remembered.
#[derive(Default)]
pub struct Files {
    stdin: Option<Vec<u8>>,
}

impl Reader for Files {
    fn file(&mut self, path: &str) -> std::io::Result<Vec<u8>> {
        // A pipe with a name may be as silent as standard input.
        if !std::fs::metadata(path)?.is_file() {
            interrupt::may_stall();
        }
        std::fs::read(path)
    }

    fn stdin(&mut self) -> std::io::Result<Vec<u8>> {
        if let Some(all) = &self.stdin {
            return Ok(all.clone());
        }
        interrupt::may_stall();
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut all)?;
        self.stdin = Some(all.clone());
        Ok(all)
    }
}

/// Waits for something, on a runtime of one thread, with signals turned into the wish to stop.
///
/// # Errors
/// When there can be no runtime.
pub fn wait<T>(interrupt: &Interrupt, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A handful of descriptors at a time: the usual thousand would be room that every start pays for.
        .max_io_events_per_tick(64)
        .build()
        .map_err(|error| Failure::new(Class::Bug, "cannot start the runtime").source(&error))?;
    let outcome = runtime.block_on(async {
        let signals = tokio::spawn(signals::listen(interrupt.clone()));
        // It listens before anything is changed that a signal would leave behind: a terminal that shows nothing, say.
        tokio::task::yield_now().await;
        let outcome = future.as_mut().await;
        signals.abort();
        outcome
    });
    // A name look-up or a read of standard input that hangs must not hold up the end, and the end of the process, which
    // is next, takes down the rest in one go.
    std::mem::forget(runtime);
    Ok(outcome)
}

/// Turns the end of standard output's reader into the wish to stop.
pub async fn reader(interrupt: Interrupt) {
    crate::output::reader_gone().await;
    interrupt.raise(Class::ClosedPipe);
}
