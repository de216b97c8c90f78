//! The values of `${keychain:NAME}` and `${command:LINE}`: fetched when an entry that is used refers to them, once
//! a run, within a time, and never shown.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use url::Url;

use super::Context;
use crate::auth::store::{Store, named};
use crate::config::secrets::{Outcome, Reference, Request, Secrets, Unavailable};
use crate::config::settings::Defaults;
use crate::env::Environment;
use crate::env::programs::{is_path, is_program};
use crate::error::{Failure, Result};
use crate::near::did_you_mean;
use crate::secret::Secret;
use crate::session::link::human;
use crate::target;
use crate::transport::process;

/// How long a command may take where nobody said.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same, where somebody may have to confirm it.
const PATIENCE_WITH_PERSON: Duration = Duration::from_secs(60);
/// When a person is told what we wait for.
const SILENCE: Duration = Duration::from_millis(1500);
/// How much later than a command we may learn of a signal that both were sent.
const ECHO: Duration = Duration::from_millis(100);
/// How long the output of a command that has ended may be held open by something that it started.
const LINGER: Duration = Duration::from_millis(500);
/// The longest secret, in bytes.
const LONGEST: usize = 64 * 1024;
/// How much is read of what a command says on standard error.
const LONGEST_COMPLAINT: u64 = 64 * 1024;

/// What was fetched in this run: each secret once, however many refer to it.
#[derive(Default)]
pub struct Fetched(Mutex<HashMap<Request, Arc<OnceCell<Outcome>>>>);

impl Context {
    /// Reads entries, fetches the secrets that were wanted, and reads again until none is. `defaults` says where
    /// secrets rest and how long they may take; it is asked for only where one is wanted.
    ///
    /// # Errors
    /// Those of reading, in which a secret that cannot be had is named; and when a stop was asked for meanwhile.
    pub async fn with_secrets<T>(
        &self,
        defaults: impl Fn() -> Defaults,
        mut read: impl FnMut(&Secrets<'_>) -> Result<T>,
    ) -> Result<T> {
        let secrets = Secrets::default();
        loop {
            let outcome = read(&secrets);
            let wanted = secrets.wanted();
            if wanted.is_empty() {
                return outcome;
            }
            let defaults = defaults();
            let fetching = wanted.iter().map(|request| self.secret(request, &defaults));
            let outcomes = self.interrupt.guard(join_all(fetching)).await?;
            for (request, outcome) in wanted.into_iter().zip(outcomes) {
                secrets.tell(request, outcome);
            }
        }
    }

    /// One secret; fetched where nobody has fetched it yet.
    async fn secret(&self, request: &Request, defaults: &Defaults) -> Outcome {
        let cell = {
            let mut all = self.fetched.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(request.clone()).or_default())
        };
        let fetch = async || match &request.reference {
            Reference::Keychain(name) => self.stored(name, defaults.credential_store.as_deref()).await,
            Reference::Command(line) => self.printed(line, request, defaults.connect_timeout).await,
        };
        let outcome = cell.get_or_init(fetch).await.clone();
        if let Ok(secret) = &outcome {
            let secret = secret.reveal();
            self.ui.hide(secret);
            // In a URL it looks otherwise.
            if let Ok(mut url) = Url::parse("http://x/") {
                url.set_query(Some(secret));
                self.ui.hide(url.query().unwrap_or_default());
                url.set_path(secret);
                self.ui.hide(url.path().trim_start_matches('/'));
            }
        }
        outcome
    }

    async fn stored(&self, name: &str, choice: Option<&str>) -> Outcome {
        let unreadable = |failure: Failure| {
            let details = failure.details();
            let causes: Vec<&str> =
                std::iter::once(&details.message).chain(&details.causes).map(String::as_str).collect();
            let why = Unavailable::new(format!("the secret '{name}' cannot be read")).cause(causes.join(": "));
            Unavailable { hint: details.hint.clone(), ..why }
        };
        let store = self.store(choice).map_err(unreadable)?;
        match named::get(&*store, name).await.map_err(unreadable)? {
            Some(secret) => Ok(secret),
            None => Err(missing(&*store, name)),
        }
    }

    async fn printed(&self, line: &str, request: &Request, configured: Option<Duration>) -> Outcome {
        let person = self.ui.terminal().interactive() && !self.global.no_input;
        let usual = if person { PATIENCE_WITH_PERSON } else { PATIENCE };
        let patience = super::limit(self.global.connect_timeout, configured, usual);
        let words = words(line, &self.env)?;
        let mut running = std::pin::pin!(run(&words, request, &self.env, person));
        let first = if person { SILENCE.min(patience.unwrap_or(SILENCE)) } else { Duration::ZERO };
        if person {
            if let Ok(outcome) = timeout(first, &mut running).await {
                return outcome;
            }
            self.ui.note(&format!("waiting for '{}', which has a secret of the configuration", words[0]));
        }
        let running = async {
            let outcome = running.await;
            if person && outcome.is_err() {
                // ^C ends it and is meant for us: it may be seen there a moment earlier than here.
                tokio::time::sleep(ECHO).await;
            }
            outcome
        };
        let Some(patience) = patience else { return running.await };
        timeout(patience.saturating_sub(first), running).await.unwrap_or_else(|_| {
            let message = format!("the command '{}' did not end within {}", words[0], human(patience));
            Err(Unavailable::new(message).hint("--connect-timeout 2m gives it more time"))
        })
    }
}

/// Runs the command and takes what it prints, without the line feeds at its end. Whatever way this ends, nothing that
/// it started is left running; with a person at the terminal, who may be asked for something there, it stays in
/// our own group of processes, and is ended alone.
async fn run(words: &[String], request: &Request, environment: &Environment, person: bool) -> Outcome {
    let (name, program) = (&words[0], program(&words[0], &request.base, environment));
    let failed = |why: String| Unavailable::new(format!("the command '{name}' failed")).cause(why);
    let mut command = Command::new(program);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    if let Some(directory) = &request.cwd {
        command.current_dir(directory);
    }
    let spawned = if person { command.spawn() } else { process::spawn(&mut command) };
    let mut child = spawned.map_err(|error| match absent(name, &request.base, environment) {
        Some(why) => why,
        None => Unavailable::new(format!("the command '{name}' cannot be started")).cause(error.to_string()),
    })?;
    let _group = child.id().filter(|_| !person).map(process::Group::of);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut output, mut complaint) = (Vec::new(), Vec::new());
    let status = {
        let longest = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_add(1);
        let reading =
            async { tokio::join!(take(stdout, longest, &mut output), take(stderr, LONGEST_COMPLAINT, &mut complaint)) };
        let mut reading = std::pin::pin!(reading);
        tokio::select! {
            _ = &mut reading => child.wait().await,
            status = child.wait() => {
                let _ = timeout(LINGER, &mut reading).await;
                status
            }
        }
    };
    if output.len() > LONGEST {
        return Err(failed(format!("it printed more than {LONGEST} bytes")));
    }
    let text = String::from_utf8(output).map_err(|_| failed("it printed something that is no text".to_owned()))?;
    let text = text.trim_end_matches(['\n', '\r']);
    match status {
        Err(error) => Err(failed(error.to_string())),
        Ok(status) if !status.success() => {
            // What it says may help; what it printed may be a secret nevertheless.
            let said = String::from_utf8_lossy(&complaint);
            let last = said.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
            let hidden = !text.is_empty() && text.lines().any(|part| !part.is_empty() && last.contains(part));
            let said = if last.is_empty() || hidden { String::new() } else { format!(": {last}") };
            Err(failed(format!("{status}{said}")))
        }
        Ok(_) if text.is_empty() => Err(failed("it printed nothing".to_owned())),
        Ok(_) => Ok(Secret::new(text)),
    }
}

/// Reads so much at most and closes the stream then, so that nobody waits for a writer without end.
async fn take(stream: Option<impl AsyncRead + Unpin>, most: u64, into: &mut Vec<u8>) {
    if let Some(stream) = stream {
        let _ = stream.take(most).read_to_end(into).await;
    }
}

fn words(line: &str, environment: &Environment) -> std::result::Result<Vec<String>, Unavailable> {
    target::split(line, environment).map_err(|failure| Unavailable::new(failure.details().message.clone()))
}

/// A program with a slash is a path, relative to the file; one without is looked up in `PATH`.
fn program(name: &str, base: &Path, environment: &Environment) -> PathBuf {
    if is_path(name) && cfg!(unix) { base.join(name) } else { environment.started(name, Some(base)) }
}

/// What is wrong with a program that is not there.
fn absent(name: &str, base: &Path, environment: &Environment) -> Option<Unavailable> {
    if is_path(name) {
        return (!is_program(&base.join(name)))
            .then(|| Unavailable::new(format!("the command '{name}' is not a program that can be run")));
    }
    environment.find_program(name).is_none().then(|| {
        Unavailable::new(format!("the command '{name}' is not found in PATH"))
            .hint(format!("install {name}, or write its path"))
    })
}

/// What is wrong with a secret that nobody has stored.
fn missing(store: &dyn Store, name: &str) -> Unavailable {
    let names = named::names(store).unwrap_or_default();
    let near = did_you_mean(name, names.iter().map(String::as_str));
    let why = Unavailable::new(format!("there is no secret '{name}' in {}", store.place()));
    let why = Unavailable { cause: near, ..why };
    why.hint(format!("mcpipe config secret set {name}"))
}

/// Says what is wrong with references as far as it can be seen without opening a keychain and without running a
/// command. `store` is asked only where a secret of it is referred to.
pub fn judge(
    request: &Request,
    environment: &Environment,
    store: impl FnOnce() -> Result<Arc<dyn Store>>,
) -> std::result::Result<(), Unavailable> {
    match &request.reference {
        Reference::Command(line) => match absent(&words(line, environment)?[0], &request.base, environment) {
            Some(why) => Err(why),
            None => Ok(()),
        },
        Reference::Keychain(name) => {
            let unreadable = |failure: Failure| {
                Unavailable::new(format!("the secret '{name}' cannot be looked up")).cause(failure.to_string())
            };
            let store = store().map_err(unreadable)?;
            let names = named::names(&*store).map_err(unreadable)?;
            if names.contains(name) { Ok(()) } else { Err(missing(&*store, name)) }
        }
    }
}
