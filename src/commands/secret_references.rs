//! The values of `${keychain:NAME}` and `${command:LINE}`: fetched if a used entry refers to them, once per run,
//! within a time limit, and never shown.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::time::timeout;
use url::Url;

use crate::auth::store::{CredentialStore, named_secrets};
use crate::commands::context::Context;
use crate::commands::timeouts::effective_timeout;
use crate::config::settings::Defaults;
use crate::config::value::secrets::{SecretError, SecretReference, SecretRequest, SecretResult, Secrets};
use crate::env::Environment;
use crate::env::programs::{is_path, is_program};
use crate::error::{Failure, Result};
use crate::secret::Secret;
use crate::target;
use crate::transport::process;
use crate::util::duration::format_duration;
use crate::util::home::shown_location;
use crate::util::limit::Limit;
use crate::util::lock::lock;
use crate::util::suggest::did_you_mean;

/// The time limit for a command, unless one is configured.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit if the user may have to confirm access.
const INTERACTIVE_COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
/// When to tell the user what mcpipe is waiting for.
const NOTICE_DELAY: Duration = Duration::from_millis(1500);
/// How much later than a command mcpipe may receive a signal that was sent to both.
const SIGNAL_GRACE: Duration = Duration::from_millis(100);
/// How long a process that the command started may hold the output open after the command has exited.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);
/// The longest secret, in bytes: a certificate with its chain fits.
pub(crate) const MAX_SECRET_LENGTH: usize = 64 << 10;
/// How much of a command's standard error is read.
const MAX_STDERR_LENGTH: u64 = 64 << 10;

impl Context {
    /// Reads entries, fetches the secrets that were needed, and reads again until none is missing. `defaults` gives
    /// the store and the time limit for secrets; it is called only if one is needed.
    ///
    /// # Errors
    /// Those of reading, which name a secret that cannot be fetched; and an interrupt.
    pub async fn with_secrets<T>(
        &self,
        defaults: impl Fn() -> Defaults,
        mut read: impl FnMut(&Secrets<'_>) -> Result<T>,
    ) -> Result<T> {
        let secrets = Secrets::default();
        loop {
            let outcome = read(&secrets);
            let wanted = secrets.take_missing();
            if wanted.is_empty() {
                return outcome;
            }
            let defaults = defaults();
            let fetching = wanted.iter().map(|request| self.fetch_secret(request, &defaults));
            let outcomes = self.interrupt.run_until_interrupted(join_all(fetching)).await?;
            for (request, outcome) in wanted.into_iter().zip(outcomes) {
                secrets.set_result(request, outcome);
            }
        }
    }

    /// One secret, fetched unless it was fetched before.
    async fn fetch_secret(&self, request: &SecretRequest, defaults: &Defaults) -> SecretResult {
        let cell = {
            let mut all = lock(&self.secret_cache.0);
            Arc::clone(all.entry(request.clone()).or_default())
        };
        let fetch = async || match &request.reference {
            SecretReference::Keychain(name) => {
                self.read_stored_secret(name, defaults.credential_store.as_deref()).await
            }
            SecretReference::Command(line) => self.run_secret_command(line, request, defaults.connect_timeout).await,
        };
        let outcome = cell.get_or_init(fetch).await.clone();
        if let Ok(secret) = &outcome {
            let secret = secret.reveal();
            self.ui.redact(secret);
            // In a URL it is percent-encoded.
            if let Ok(mut url) = Url::parse("http://x/") {
                url.set_query(Some(secret));
                self.ui.redact(url.query().unwrap_or_default());
                url.set_path(secret);
                self.ui.redact(url.path().trim_start_matches('/'));
            }
        }
        outcome
    }

    async fn read_stored_secret(&self, name: &str, choice: Option<&str>) -> SecretResult {
        let unreadable = |failure: Failure| {
            let details = failure.details();
            let causes: Vec<&str> =
                std::iter::once(&details.message).chain(&details.causes).map(String::as_str).collect();
            let why = SecretError::new(format!("cannot read the secret '{name}'")).cause(causes.join(": "));
            SecretError { hint: details.hint.clone(), ..why }
        };
        let store = self.credential_store(choice).map_err(unreadable)?;
        match named_secrets::get_secret(&*store, name).await.map_err(unreadable)? {
            Some(secret) => Ok(secret),
            None => Err(missing_secret_error(&*store, name)),
        }
    }

    async fn run_secret_command(
        &self,
        line: &str,
        request: &SecretRequest,
        configured: Option<Limit<Duration>>,
    ) -> SecretResult {
        let person = self.ui.terminal().is_interactive() && !self.global.no_input;
        let usual = if person { INTERACTIVE_COMMAND_TIMEOUT } else { COMMAND_TIMEOUT };
        let patience = effective_timeout(self.global.connect_timeout, configured, usual);
        let words = split_command(line, &self.env)?;
        let mut running = std::pin::pin!(run_command(&words, request, &self.env, person));
        let first = if person { NOTICE_DELAY.min(patience.unwrap_or(NOTICE_DELAY)) } else { Duration::ZERO };
        if person {
            if let Ok(outcome) = timeout(first, &mut running).await {
                return outcome;
            }
            self.ui.note(&format!("waiting for '{}', which prints a secret", words[0]));
        }
        let running = async {
            let outcome = running.await;
            if person && outcome.is_err() {
                // Ctrl-C ends the command and is meant for mcpipe; the command may receive it a moment earlier.
                tokio::time::sleep(SIGNAL_GRACE).await;
            }
            outcome
        };
        let Some(patience) = patience else { return running.await };
        timeout(patience.saturating_sub(first), running).await.unwrap_or_else(|_| {
            let message = format!("the command '{}' did not exit within {}", words[0], format_duration(patience));
            Err(SecretError::new(message).hint("allow more time: --connect-timeout 2m"))
        })
    }
}

/// Runs the command and returns its output without the line feeds at its end. However this ends, no process that it
/// started is left running. At a terminal, where the command may prompt the user, it stays in mcpipe's process group,
/// and only the command itself is ended.
async fn run_command(
    words: &[String],
    request: &SecretRequest,
    environment: &Environment,
    person: bool,
) -> SecretResult {
    let (name, program) = (&words[0], program_path(&words[0], &request.config_dir, environment));
    let failed = |why: String| SecretError::new(format!("the command '{name}' failed")).cause(why);
    let mut command = Command::new(program);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.kill_on_drop(true);
    if let Some(directory) = &request.working_dir {
        command.current_dir(directory);
    }
    let spawned = if person { command.spawn() } else { process::spawn(&mut command) };
    let mut child = spawned.map_err(|error| match missing_program(name, &request.config_dir, environment) {
        Some(why) => why,
        None => SecretError::new(format!("cannot start the command '{name}'")).cause(error.to_string()),
    })?;
    // Agents, such as that of GnuPG, outlive the command on purpose.
    process::exclude_child(child.id());
    let _group = child.id().filter(|_| !person).map(process::ProcessGroup::led_by);
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (mut output, mut complaint) = (Vec::new(), Vec::new());
    let status = {
        let longest = MAX_SECRET_LENGTH as u64 + 1;
        let reading = async {
            tokio::join!(
                read_limited(stdout, longest, &mut output),
                read_limited(stderr, MAX_STDERR_LENGTH, &mut complaint)
            )
        };
        let mut reading = std::pin::pin!(reading);
        tokio::select! {
            _ = &mut reading => child.wait().await,
            status = child.wait() => {
                let _ = timeout(OUTPUT_GRACE, &mut reading).await;
                status
            }
        }
    };
    if output.len() > MAX_SECRET_LENGTH {
        return Err(failed(format!("it printed more than {MAX_SECRET_LENGTH} bytes")));
    }
    let text = String::from_utf8(output).map_err(|_| failed("its output is not text".to_owned()))?;
    let text = text.trim_end_matches(['\n', '\r']);
    match status {
        Err(error) => Err(failed(error.to_string())),
        Ok(status) if !status.success() => {
            // Its standard error may help; its output may be a secret even so.
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

/// Reads at most this much and then closes the stream, so that an endless writer is not waited for.
async fn read_limited(stream: Option<impl AsyncRead + Unpin>, most: u64, into: &mut Vec<u8>) {
    if let Some(stream) = stream {
        let _ = stream.take(most).read_to_end(into).await;
    }
}

fn split_command(line: &str, environment: &Environment) -> std::result::Result<Vec<String>, SecretError> {
    target::split_command_line(line, environment).map_err(|failure| SecretError::new(failure.details().message.clone()))
}

/// A program with a slash is a path, relative to the file; one without is looked up in `PATH`.
fn program_path(name: &str, base: &Path, environment: &Environment) -> PathBuf {
    if is_path(name) && cfg!(unix) { base.join(name) } else { environment.resolve_program(name, Some(base)) }
}

/// The error for a program that does not exist.
fn missing_program(name: &str, base: &Path, environment: &Environment) -> Option<SecretError> {
    if is_path(name) {
        return (!is_program(&base.join(name))).then(|| SecretError::new(format!("'{name}' is not executable")));
    }
    environment.find_program(name).is_none().then(|| {
        SecretError::new(format!("program '{name}' not found in PATH"))
            .hint(format!("install {name}, or give its full path"))
    })
}

/// What is said about a secret that is not stored, and the name that was probably meant.
pub(crate) fn missing_secret(name: &str, place: Option<&str>, names: &[String]) -> (String, Option<String>) {
    let place = place.map(|place| format!(" in {}", shown_location(place))).unwrap_or_default();
    let near = did_you_mean(name, names.iter().map(String::as_str));
    (format!("there is no secret '{name}'{place}"), near)
}

/// The error for a secret that is referred to and not stored.
fn missing_secret_error(store: &dyn CredentialStore, name: &str) -> SecretError {
    let names = named_secrets::secret_names(store).unwrap_or_default();
    // An empty keychain does not show whether the file beside it is used instead.
    let is_place_known = !(names.is_empty() && store.has_fallback());
    let place = is_place_known.then(|| store.location());
    let (message, near) = missing_secret(name, place.as_deref(), &names);
    SecretError { cause: near, ..SecretError::new(message) }.hint(format!("store it: mcpipe config secret set {name}"))
}

/// Checks references without opening a keychain and without running a command. `store` is called only if a secret in
/// it is referred to.
pub fn validate_reference(
    request: &SecretRequest,
    environment: &Environment,
    store: impl FnOnce() -> Result<Arc<dyn CredentialStore>>,
) -> std::result::Result<(), SecretError> {
    match &request.reference {
        SecretReference::Command(line) => {
            match missing_program(&split_command(line, environment)?[0], &request.config_dir, environment) {
                Some(why) => Err(why),
                None => Ok(()),
            }
        }
        SecretReference::Keychain(name) => {
            let unreadable = |failure: Failure| {
                SecretError::new(format!("cannot look up the secret '{name}'")).cause(failure.to_string())
            };
            let store = store().map_err(unreadable)?;
            let names = named_secrets::secret_names(&*store).map_err(unreadable)?;
            if names.contains(name) { Ok(()) } else { Err(missing_secret_error(&*store, name)) }
        }
    }
}
