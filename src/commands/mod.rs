//! The commands: one file an operation, each from parsed arguments to printed result.

pub mod call;
pub mod complete;
pub mod config;
pub mod dashboard;
pub mod generated;
pub mod inputs;
pub mod list;
pub mod prompt;
pub mod read;
pub mod skills;
pub mod task;
pub mod tools;
pub mod watch;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::args::Reader;
use crate::cli::{GlobalOptions, HttpTransport, TargetOptions};
use crate::config::Lookup;
use crate::env::Environment;
use crate::error::{Class, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::{Progress, Ui};
use crate::session::peer::{Abilities, Observer, Root};
use crate::session::{self, Session};
use crate::target::{self, Overrides, Resolved, Target, Words};
use crate::transport::{self, HttpMode, process};

/// How long start and negotiation may take, unless told otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long an answer may take, unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What every command is given.
pub struct Context {
    /// Where it prints.
    pub ui: Arc<Ui>,
    /// Variables, home, working directory.
    pub env: Environment,
    /// The wish to stop.
    pub interrupt: Interrupt,
    /// The options of every command.
    pub global: GlobalOptions,
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
    /// A session with a target: nothing is sent yet.
    ///
    /// # Errors
    /// When a root is no directory.
    pub fn session(&self, target: Target, progress: Option<Arc<Progress>>) -> Result<Session> {
        let time = |flag: Option<Duration>, configured: Option<Duration>, usual: Duration| {
            let time = flag.or(configured).unwrap_or(usual);
            (time != Duration::ZERO).then_some(time)
        };
        let transport = transport::Options {
            connect_timeout: time(self.global.connect_timeout, target.connect_timeout, CONNECT_TIMEOUT),
            interrupt: self.interrupt.clone(),
            trace: self.ui.trace()?,
            authorize: None,
        };
        let abilities = Abilities {
            roots: self.roots(&target)?,
            inputs: inputs::answerer(self, &target.name),
            observer: progress.map(|progress| Arc::new(Reporter(progress)) as Arc<dyn Observer>),
        };
        let options = session::Options {
            timeout: time(self.global.timeout, target.timeout, TIMEOUT),
            cache_dir: if self.global.no_cache { None } else { self.env.cache_dir() },
            identity: None,
            transport,
            abilities,
        };
        Ok(Session::new(target, options))
    }

    fn roots(&self, target: &Target) -> Result<Vec<Root>> {
        let flags = self.global.roots.iter().map(|root| root.to_string_lossy().into_owned());
        let words: Vec<String> = if self.global.roots.is_empty() { target.roots.clone() } else { flags.collect() };
        words.iter().map(|word| self.root(word)).collect()
    }

    fn root(&self, word: &str) -> Result<Root> {
        if word.starts_with("file://") {
            return Ok(Root { uri: word.to_owned(), name: None });
        }
        let path = self.env.cwd().unwrap_or_else(|| std::path::Path::new("/")).join(self.env.expand_tilde(word));
        let broken =
            |cause: String| Failure::new(Class::Usage, format!("--root {word} cannot be offered")).cause(cause);
        let path = std::fs::canonicalize(&path).map_err(|error| broken(error.to_string()))?;
        let uri = url::Url::from_directory_path(&path).map_err(|()| broken("it is no directory".into()))?;
        let uri = uri.as_str().trim_end_matches('/').to_owned();
        Ok(Root { uri, name: path.file_name().map(|name| name.to_string_lossy().into_owned()) })
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
    pub fn target(
        &self,
        words: Vec<String>,
        command: &[String],
        splits: bool,
        reach: &TargetOptions,
    ) -> Result<Resolved> {
        let lookup = Lookup::new(&self.env, self.global.config.as_deref());
        let mut words = words.into_iter();
        let words = Words { target: words.next(), rest: words.collect(), command: command.to_vec(), splits };
        let resolved = target::resolve(words, &overrides(reach), &lookup)?;
        for warning in &resolved.target.warnings {
            self.ui.warn(warning);
        }
        Ok(resolved)
    }

    /// Every configured server that is not disabled, resolved one by one: a broken one is its own failure.
    ///
    /// # Errors
    /// When the configuration cannot be read.
    pub fn configured(&self, reach: &TargetOptions) -> Result<Vec<(String, Result<Target>)>> {
        let lookup = Lookup::new(&self.env, self.global.config.as_deref());
        let config = lookup.config()?;
        let overrides = overrides(reach);
        let one = |name: &str| (name.to_owned(), target::configured(config, name, &overrides, &self.env));
        Ok(config
            .servers()
            .iter()
            .filter(|server| server.disabled().is_none())
            .map(|server| one(&server.name))
            .collect())
    }
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
    }
}

/// Shows what a server reports on the progress line.
struct Reporter(Arc<Progress>);

impl Observer for Reporter {
    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>) {
        self.0.update(progress, total, message);
    }

    fn log(&self, level: &str, logger: Option<&str>, data: &Value) {
        let text = data.as_str().map_or_else(|| data.to_string(), ToOwned::to_owned);
        let logger = logger.map(|logger| format!(" {logger}:")).unwrap_or_default();
        self.0.message(&format!("{level}:{logger} {text}"));
    }
}

/// A word as a POSIX shell takes it back, for the commands that hints show.
#[must_use]
pub fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

/// Reads what arguments name; standard input is read once and remembered.
#[derive(Default)]
pub struct Files {
    stdin: Option<Vec<u8>>,
}

impl Reader for Files {
    fn file(&mut self, path: &str) -> std::io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn stdin(&mut self) -> std::io::Result<Vec<u8>> {
        if let Some(all) = &self.stdin {
            return Ok(all.clone());
        }
        let mut all = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut all)?;
        self.stdin = Some(all.clone());
        Ok(all)
    }
}

/// Turns the first signal into the wish to stop; the second ends everything at once.
pub async fn signals(interrupt: Interrupt) {
    loop {
        let class = next_signal().await;
        if interrupt.raised().is_some() {
            process::kill_all();
            #[expect(clippy::exit, reason = "the user asked twice: nothing is awaited any more")]
            std::process::exit(i32::from(class.code()));
        }
        interrupt.raise(class);
    }
}

#[cfg(unix)]
async fn next_signal() -> Class {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Class::Interrupted,
        _ = terminate.recv() => Class::Terminated,
        _ = hangup.recv() => Class::Terminated,
    }
}

#[cfg(not(unix))]
async fn next_signal() -> Class {
    match tokio::signal::ctrl_c().await {
        Ok(()) => Class::Interrupted,
        Err(_) => std::future::pending().await,
    }
}
