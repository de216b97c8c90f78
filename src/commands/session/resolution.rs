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
use crate::target::{GivenOption, OptionValue, TargetName, TargetOptions, TargetReference};
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
        global.connect_timeout.iter().for_each(|time| add("--connect-timeout", duration_literal(time.as_written())));
        global.roots.iter().for_each(|root| add("--root", path(root)));
        for GivenOption { name, value, .. } in reference.options.given() {
            match value {
                OptionValue::Switch => words.push(name.to_owned()),
                OptionValue::Path(file) => words.push(format!("{name}={}", file.display())),
                OptionValue::Header(text)
                | OptionValue::Variable(text)
                | OptionValue::Proxy(text)
                | OptionValue::Text(text) => words.push(format!("{name}={text}")),
            }
        }
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
