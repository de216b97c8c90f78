//! How a keeper resolves the same target as the command that starts it: the words and options, and the secrets that
//! were fetched, so that no keychain asks twice.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::cli::{Command, GlobalOptions, SessionCommand};
use crate::commands::context::{Context, SecretCache};
use crate::config::value::secrets::{SecretReference, SecretRequest};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::target::{TargetName, TargetOptions, TargetReference};
use crate::util::duration::duration_literal;
use crate::util::lock::lock;

/// What a keeper was started with.
pub(super) struct Resolution {
    pub(super) target: Vec<String>,
    pub(super) command: Vec<String>,
    pub(super) options: TargetOptions,
    pub(super) global: GlobalOptions,
    pub(super) secrets: SecretCache,
}

impl Context {
    /// What a keeper needs to resolve this target again.
    pub(super) fn resolution_json(&self, reference: &TargetReference) -> Value {
        let mut words = vec!["mcpipe".to_owned(), "session".to_owned(), "start".to_owned()];
        let mut add = |option: &str, value: String| words.push(format!("{option}={value}"));
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let global = &self.global;
        global.config.iter().for_each(|file| add("--config", path(file)));
        global.connect_timeout.iter().for_each(|time| add("--connect-timeout", duration_literal(*time)));
        global.roots.iter().for_each(|root| add("--root", path(root)));
        let options = &reference.options;
        options.headers.iter().for_each(|header| add("--header", header.clone()));
        options.env.iter().for_each(|variable| add("--env", variable.clone()));
        options.cwd.iter().for_each(|dir| add("--cwd", path(dir)));
        options.bearer_env.iter().for_each(|name| add("--bearer-env", name.clone()));
        options.transport.iter().for_each(|mode| add("--transport", mode.name().to_owned()));
        options.protocol.iter().for_each(|pin| add("--protocol", pin.clone()));
        options.cacert.iter().for_each(|file| add("--cacert", path(file)));
        options.cert.iter().for_each(|file| add("--cert", path(file)));
        options.key.iter().for_each(|file| add("--key", path(file)));
        options.proxy.iter().for_each(|proxy| add("--proxy", proxy.clone()));
        options.unix_socket.iter().for_each(|socket| add("--unix-socket", path(socket)));
        let switches = [
            ("--insecure", options.insecure),
            ("--allow-http", options.allow_http),
            ("--no-cookies", options.no_cookies),
        ];
        words.extend(switches.iter().filter(|(_, given)| *given).map(|(name, _)| (*name).to_owned()));
        match &reference.name {
            TargetName::Url(word) | TargetName::Configured(word) => words.push(word.clone()),
            TargetName::Command(command) => {
                words.push("--".to_owned());
                words.extend(command.iter().cloned());
            }
        }
        let secrets: Vec<Value> = lock(&self.secret_cache.0)
            .iter()
            .filter_map(|(request, cell)| {
                let secret = cell.get()?.as_ref().ok()?;
                let (kind, name) = match &request.reference {
                    SecretReference::Keychain(name) => ("keychain", name),
                    SecretReference::Command(line) => ("command", line),
                };
                Some(json!([kind, name, request.config_dir, request.working_dir, secret.reveal()]))
            })
            .collect();
        json!({ "words": words, "secrets": secrets })
    }
}

impl Resolution {
    /// Reads what [`Context::resolution_json`] made.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] if it is something else.
    pub(super) fn from_json(json: &Value) -> Result<Self> {
        let bug = |why: &str| Failure::new(ErrorKind::Bug, "the session cannot be started").cause(why);
        let words: Vec<OsString> = json
            .get("words")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|word| word.as_str().map(OsString::from))
            .collect();
        let mut cli = crate::cli::parse(&words).map_err(|error| bug(&error.to_string()))?;
        let global = cli.take_global_options();
        let Command::Session(session) = cli.command else { return Err(bug("not a session")) };
        let SessionCommand::Start(start) = session.command else { return Err(bug("not a start")) };
        type SecretEntry = (String, String, PathBuf, Option<PathBuf>, String);
        let secrets: Vec<SecretEntry> = serde_json::from_value(json.get("secrets").cloned().unwrap_or_default())
            .map_err(|e| bug(&e.to_string()))?;
        let secrets: HashMap<_, _> = secrets
            .into_iter()
            .map(|(kind, name, config_dir, working_dir, value)| {
                let reference =
                    if kind == "keychain" { SecretReference::Keychain(name) } else { SecretReference::Command(name) };
                let request = SecretRequest { reference, config_dir, working_dir };
                (request, Arc::new(OnceCell::from(Ok(Secret::new(value)))))
            })
            .collect();
        Ok(Resolution {
            target: start.target.into_iter().collect(),
            command: start.command,
            options: start.target_options,
            global,
            secrets: SecretCache(Mutex::new(secrets)),
        })
    }
}
