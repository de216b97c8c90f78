//! The commands: one file an operation, each from parsed arguments to printed result.

pub mod argument_completion;
pub mod assets;
pub mod auth;
pub mod call;
pub mod client_features;
pub mod config;
pub mod credentials;
pub mod list;
pub mod model_formats;
pub mod notifications;
pub mod prompt;
pub mod read;
mod redaction;
pub mod secret_references;
pub mod signals;
pub mod task;
pub mod tools;
pub mod watch;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::args::ArgumentReader;
use crate::auth::TokenProvider;
use crate::cli::{ElicitMode, GlobalOptions, HttpTransport, LogLevel, TargetOptions};
use crate::commands::secret_references::SecretCache;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, LazyConfig};
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt::{self, Interrupt};
use crate::output::{Progress, Ui};
use crate::session::client_handler::{ClientCapabilities, ElicitationResponder, SessionObserver};
use crate::session::{self, Session, retry};
use crate::target::{self, PositionalWords, ResolvedTarget, Target, TargetFlags, TargetOverrides};
use crate::transport::trace::Trace;
use crate::transport::{self, Authorize, Endpoint, HttpMode};
use credentials::{CredentialStores, LoginOptions};

/// How long start and negotiation may take, unless told otherwise.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may take, unless told otherwise.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

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
    pub credential_stores: CredentialStores,
    /// The secrets of the configuration that were fetched.
    pub secret_cache: SecretCache,
    /// The trace of the run, once there is one.
    pub trace: OnceLock<Trace>,
}

/// How a command ended that has said everything itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Not, and why was printed already; the class gives the exit code.
    Reported(ErrorKind),
}

impl Context {
    /// A session with a target: nothing is sent yet. With a progress line somebody waits for it, and may be
    /// asked to log in.
    ///
    /// # Errors
    /// When an option cannot be used: a root that is no directory, a file that cannot be read or written; or when
    /// the index of the credentials cannot be read.
    pub fn session(&self, target: Target, progress: Option<Arc<Progress>>) -> Result<Session> {
        let login = self.login_mode(progress.is_some());
        let gate = self.token_provider(&target, LoginOptions { mode: login, ..LoginOptions::default() })?;
        self.session_with_provider(target, gate.as_ref(), progress)
    }

    /// A session whose credentials come from this gate.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn session_with_provider(
        &self,
        target: Target,
        gate: Option<&TokenProvider>,
        progress: Option<Arc<Progress>>,
    ) -> Result<Session> {
        let observer = notifications::notification_observer(self, progress)?;
        let inputs = client_features::elicitation_handler(self, &target.name)?;
        self.build_session(target, gate, observer, inputs)
    }

    /// A session in which several calls are under way at once: what they report would mix on a progress line.
    /// Where standard input is read for something else, nobody is asked at the terminal.
    ///
    /// # Errors
    /// As [`Context::session`].
    pub fn session_for_concurrent_calls(&self, target: Target, stdin_taken: bool) -> Result<Session> {
        let gate =
            self.token_provider(&target, LoginOptions { mode: self.login_mode(true), ..LoginOptions::default() })?;
        let observer = notifications::notification_observer(self, None)?;
        let asks = matches!(self.global.elicit, None | Some(ElicitMode::Ask));
        let inputs = if stdin_taken && asks { None } else { client_features::elicitation_handler(self, &target.name)? };
        self.build_session(target, gate.as_ref(), observer, inputs)
    }

    fn build_session(
        &self,
        target: Target,
        gate: Option<&TokenProvider>,
        observer: Option<Arc<dyn SessionObserver>>,
        inputs: Option<Arc<dyn ElicitationResponder>>,
    ) -> Result<Session> {
        let transport = transport::TransportOptions {
            connect_timeout: self.connect_timeout(&target),
            interrupt: self.interrupt.clone(),
            trace: self.trace()?,
            authorize: gate.map(|gate| Arc::new(gate.clone()) as Arc<dyn Authorize>),
        };
        let timeout = effective_timeout(self.global.timeout, target.timeout, DEFAULT_TIMEOUT);
        let abilities = ClientCapabilities {
            roots: client_features::roots(self, &target)?,
            elicitation: inputs,
            sampling: client_features::sampler(self, timeout)?,
            observer,
            log_level: self.global.log_level.map(LogLevel::as_str),
        };
        let options = session::SessionOptions {
            timeout,
            retry: self.retry_policy(&target),
            cache_dir: if self.global.no_cache { None } else { self.env.cache_dir() },
            identity: gate.map(TokenProvider::login_id).transpose()?.flatten(),
            transport,
            capabilities: abilities,
        };
        Ok(Session::new(target, options))
    }

    /// When to ask once more. A process that ended is not started again unasked.
    fn retry_policy(&self, target: &Target) -> retry::RetryPolicy {
        let usual = if matches!(target.endpoint, Endpoint::Stdio(_)) { 0 } else { 2 };
        let ui = self.ui.clone();
        let notice = move |text: &str| ui.warn(text);
        retry::RetryPolicy {
            max_retries: self.global.retries.unwrap_or(usual),
            is_explicit: self.global.retries.is_some(),
            ready_timeout: self.global.wait,
            max_retry_after: self.global.timeout.filter(|time| !time.is_zero()),
            on_retry: Some(Arc::new(notice)),
        }
    }

    /// How long start and negotiation with this target may take.
    #[must_use]
    pub fn connect_timeout(&self, target: &Target) -> Option<Duration> {
        effective_timeout(self.global.connect_timeout, target.connect_timeout, DEFAULT_CONNECT_TIMEOUT)
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
    pub async fn with_session<T>(
        &self,
        session: Session,
        operation: impl AsyncFnOnce(&Session) -> Result<T>,
    ) -> Result<T> {
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
    pub async fn resolve_target(
        &self,
        words: Vec<String>,
        command: &[String],
        splits: bool,
        reach: &TargetOptions,
    ) -> Result<ResolvedTarget> {
        let lookup = LazyConfig::new(&self.env, self.global.config.as_deref());
        let words = positional_words(words, command, splits);
        let overrides = overrides(reach);
        let resolve = |secrets: &Secrets<'_>| target::resolve_target(words.clone(), &overrides, &lookup, secrets);
        // Secrets are wanted only where the configuration was read.
        let defaults = || lookup.config().map(|config| config.defaults.clone()).unwrap_or_default();
        let mut resolved = self.with_secrets(defaults, resolve).await?;
        self.redact_credentials(&resolved.target);
        resolved.target.flags = self.target_flags(&overrides);
        let unchecked = skips_certificate_check(&resolved.target);
        for warning in &resolved.target.warnings {
            if unchecked { self.ui.warn_always(warning) } else { self.ui.warn(warning) }
        }
        Ok(resolved)
    }

    /// The options that lead to a target.
    fn target_flags(&self, overrides: &TargetOverrides) -> TargetFlags {
        TargetFlags::new(self.global.config.as_deref(), overrides)
    }

    /// The same without fetching a secret: the target says what there is, and cannot be connected to.
    #[must_use]
    pub fn resolve_with_placeholders(
        &self,
        words: Vec<String>,
        command: &[String],
        splits: bool,
        reach: &TargetOptions,
    ) -> Option<ResolvedTarget> {
        let lookup = LazyConfig::new(&self.env, self.global.config.as_deref());
        let words = positional_words(words, command, splits);
        target::resolve_target(words, &overrides(reach), &lookup, &Secrets::placeholders()).ok()
    }

    /// A configured server, for a command that goes through all of them. With `pretend` no secret is fetched: the
    /// target says what there is, and cannot be connected to.
    ///
    /// # Errors
    /// When it cannot be resolved.
    pub async fn resolve_configured(
        &self,
        config: &Config,
        name: &str,
        overrides: &TargetOverrides,
        pretend: bool,
    ) -> Result<Target> {
        let resolve = |secrets: &Secrets<'_>| target::resolve_configured(config, name, overrides, &self.env, secrets);
        if pretend {
            return resolve(&Secrets::placeholders());
        }
        let mut target = self.with_secrets(|| config.defaults.clone(), resolve).await?;
        self.redact_credentials(&target);
        target.flags = self.target_flags(overrides);
        // What is said of the files is no matter of one server.
        for warning in target.warnings.iter().skip(config.skipped_files.len() + config.warnings.len()) {
            let warning = format!("{name}: {warning}");
            if skips_certificate_check(&target) { self.ui.warn_always(&warning) } else { self.ui.warn(&warning) }
        }
        Ok(target)
    }
}

/// Whether no certificate is checked there: that is said even where nothing else is.
fn skips_certificate_check(target: &Target) -> bool {
    match &target.endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => endpoint.tls.insecure,
        Endpoint::Stdio(_) | Endpoint::Unix(_) => false,
    }
}

/// All positional words, TARGET first.
fn positional_words(words: Vec<String>, command: &[String], splits: bool) -> PositionalWords {
    let mut words = words.into_iter();
    PositionalWords { target: words.next(), rest: words.collect(), command: command.to_vec(), takes_tool: splits }
}

/// The flag's time, else the configured one, else the usual one; `None` (written as 0) waits for ever.
fn effective_timeout(flag: Option<Duration>, configured: Option<Duration>, usual: Duration) -> Option<Duration> {
    Some(flag.or(configured).unwrap_or(usual)).filter(|time| !time.is_zero())
}

/// The target options of the command line as plain values.
#[must_use]
pub fn overrides(reach: &TargetOptions) -> TargetOverrides {
    let reach = reach.clone();
    TargetOverrides {
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
pub struct ArgumentFiles {
    stdin: Option<Vec<u8>>,
}

impl ArgumentReader for ArgumentFiles {
    fn read_file(&mut self, path: &str) -> std::io::Result<Vec<u8>> {
        // A pipe with a name may be as silent as standard input.
        if !std::fs::metadata(path)?.is_file() {
            interrupt::enter_blocking();
        }
        std::fs::read(path)
    }

    fn read_stdin(&mut self) -> std::io::Result<Vec<u8>> {
        if let Some(all) = &self.stdin {
            return Ok(all.clone());
        }
        interrupt::enter_blocking();
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut all)?;
        self.stdin = Some(all.clone());
        Ok(all)
    }
}

/// The runtime of this process, of one thread. It is never dropped: a name look-up or a read of standard input that hangs
/// must not delay the exit.
static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();

fn runtime() -> Result<&'static tokio::runtime::Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // The default of 1024 events would allocate memory that every start pays for.
        .max_io_events_per_tick(64)
        .build()
        .map_err(|error| Failure::new(ErrorKind::Bug, "cannot start the runtime").caused_by(&error))?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// Runs a future to completion on the process's runtime; signals raise the interrupt.
///
/// # Errors
/// [`ErrorKind::Bug`] if the runtime cannot be started.
pub fn block_on<T>(interrupt: &Interrupt, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T> {
    Ok(runtime()?.block_on(async {
        let signals = tokio::spawn(signals::listen(interrupt.clone()));
        // It listens before anything is changed that a signal would leave behind: a terminal that shows nothing, say.
        tokio::task::yield_now().await;
        let outcome = future.as_mut().await;
        signals.abort();
        outcome
    }))
}

/// Turns the end of standard output's reader into the wish to stop.
pub async fn interrupt_on_closed_stdout(interrupt: Interrupt) {
    crate::output::reader_gone().await;
    interrupt.raise(ErrorKind::ClosedPipe);
}
