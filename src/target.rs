//! What a target is: a word of the command line, resolved to an endpoint and the rules that go with it.
//!
//! A word is a URL, a command line or a configured name (contract §1). Only a name opens
//! configuration files.

mod build;
pub mod parse;
mod typed;
mod words;

use std::path::PathBuf;
use std::time::Duration;

pub use crate::config::policy::{Confirm, Policy};
use crate::config::secrets::Secrets;
pub use crate::config::settings::Auth;
use crate::config::{Config, Lookup};
use crate::env::Environment;
use crate::error::{Class, Failure, Result};
use crate::protocol::revision::Pin;
use crate::transport::{Endpoint, HttpMode};
pub use typed::Typed;
pub use words::{Word, Words, not_configured, split, unknown, word};

/// A server, ready to be connected to.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the user named it: a configured name, a URL (without password and fragment), or a command line.
    pub name: String,
    /// Whether the name is one of the configuration.
    pub configured: bool,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Which revisions may be spoken.
    pub protocol: Pin,
    /// The configured time to wait for an answer; `Some(ZERO)` waits for ever.
    pub timeout: Option<Duration>,
    /// The configured time for start and negotiation; `Some(ZERO)` waits for ever.
    pub connect_timeout: Option<Duration>,
    /// Configured roots: directories or `file://` URIs.
    pub roots: Vec<String>,
    /// Which tools may be seen and called, and when to ask.
    pub policy: Policy,
    /// How to log in, where the configuration says something about it.
    pub auth: Auth,
    /// Where credentials rest: `auto`, `keyring` or `file`, where the configuration says it.
    pub credential_store: Option<String>,
    /// What the user must be told on stderr before anything is sent, a sentence each.
    pub warnings: Vec<String>,
    /// The options that led here, for command lines to paste.
    pub typed: Typed,
}

/// The target options of a command line, as typed.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs, reason = "each field is the option it is named after")]
pub struct Overrides {
    pub headers: Vec<String>,
    pub env: Vec<String>,
    pub cwd: Option<PathBuf>,
    pub bearer_env: Option<String>,
    pub transport: Option<HttpMode>,
    pub protocol: Option<String>,
    pub cacert: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    pub proxy: Option<String>,
    pub insecure: bool,
    pub allow_http: bool,
    pub unix_socket: Option<PathBuf>,
}

/// A target and the words after it.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The target.
    pub target: Target,
    /// The words that follow: the tool first, where the command takes one.
    pub rest: Vec<String>,
}

/// Resolves the words of a command line. What of `secrets` is wanted afterwards has to be fetched first.
///
/// # Errors
/// [`Class::Usage`] for a word that cannot be a target, a URL that cannot be used and flags that do not fit;
/// [`Class::Config`] for an unknown name and an entry that is wrong, incomplete or not trusted.
pub fn resolve(words: Words, overrides: &Overrides, lookup: &Lookup<'_>, secrets: &Secrets<'_>) -> Result<Resolved> {
    let environment = lookup.environment();
    let Words { target, rest, command, splits } = words;
    if !command.is_empty() {
        let rest = target.into_iter().chain(rest).collect();
        let target = build::command(command, overrides, environment, lookup.ad_hoc_defaults()?)?;
        return Ok(Resolved { target, rest });
    }
    let Some(word) = target else {
        return Err(Failure::new(Class::Usage, "no target was given")
            .hint("name a configured server, a URL or a command line; `mcpipe config list` shows the servers"));
    };
    match words::word(&word)? {
        words::Word::Url(url) => {
            let target = build::url(&url, overrides, environment, lookup.ad_hoc_defaults()?)?;
            Ok(Resolved { target, rest })
        }
        words::Word::Command(line) => {
            let argv = words::split(&line, environment)?;
            let target = build::command(argv, overrides, environment, lookup.ad_hoc_defaults()?)?;
            Ok(Resolved { target, rest })
        }
        words::Word::Name(name) => named(&name, rest, splits, overrides, lookup, secrets),
    }
}

/// Resolves one configured server, for commands that go through all of them.
///
/// # Errors
/// As [`resolve`].
pub fn configured(
    config: &Config,
    name: &str,
    overrides: &Overrides,
    environment: &Environment,
    secrets: &Secrets<'_>,
) -> Result<Target> {
    let Some(server) = config.get(name) else { return Err(words::unknown(config, name, environment)) };
    server.usable().map_err(|failure| failure.server(name))?;
    let settings = server.settings(environment, &config.defaults, secrets)?;
    let mut target =
        build::configured(name, settings, overrides, environment, config).map_err(|failure| failure.server(name))?;
    target.credential_store.clone_from(&config.defaults.credential_store);
    Ok(target)
}

/// A name, or `SERVER.TOOL`: an exact name wins over a split, and the dot after the longest known name splits.
fn named(
    name: &str,
    mut rest: Vec<String>,
    splits: bool,
    overrides: &Overrides,
    lookup: &Lookup<'_>,
    secrets: &Secrets<'_>,
) -> Result<Resolved> {
    let config = lookup.config()?;
    let mut server = name;
    if splits && config.get(name).is_none() {
        let dots = words::head(name).rmatch_indices('.').map(|(at, _)| at);
        let known = dots.filter(|at| *at + 1 < name.len()).find(|at| config.get(&name[..*at]).is_some());
        if let Some(at) = known {
            server = &name[..at];
            rest.insert(0, name[at + 1..].to_owned());
        }
    }
    Ok(Resolved { target: configured(config, server, overrides, lookup.environment(), secrets)?, rest })
}

#[cfg(test)]
mod tests;
