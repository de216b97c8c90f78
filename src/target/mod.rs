//! What a target is: a word of the command line, resolved to an endpoint and the rules that go with it.
//!
//! A word is a URL, a command line or a configured name. Only a name opens
//! configuration files.

mod build;
mod flags;
mod options;
pub mod parse;
mod syntax;

use std::time::Duration;

use crate::config::oauth::OAuthSettings;
pub use crate::config::policy::{ConfirmPolicy, ToolPolicy};
use crate::config::value::secrets::Secrets;
use crate::config::{Config, LazyConfig};
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::revision::RevisionPin;
pub use crate::target::flags::TargetFlags;
pub use crate::target::options::TargetOptions;
pub use crate::target::syntax::{
    PositionalWords, TargetWord, classify_word, server_not_configured, split_command_line, unknown_server,
};
use crate::transport::Endpoint;

/// A server, ready to be connected to.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the user named it: a configured name, a URL (without password and fragment), or a command line.
    pub name: String,
    /// Whether the name is one of the configuration.
    pub is_configured: bool,
    /// Where it is.
    pub endpoint: Endpoint,
    /// Which revisions may be spoken.
    pub protocol: RevisionPin,
    /// The configured time to wait for an answer; `Some(ZERO)` waits for ever.
    pub timeout: Option<Duration>,
    /// The configured time for start and negotiation; `Some(ZERO)` waits for ever.
    pub connect_timeout: Option<Duration>,
    /// Configured roots: directories or `file://` URIs.
    pub roots: Vec<String>,
    /// Which tools may be seen and called, and when to ask.
    pub policy: ToolPolicy,
    /// How to log in, where the configuration says something about it.
    pub auth: OAuthSettings,
    /// Where credentials rest: `auto`, `keyring` or `file`, where the configuration says it.
    pub credential_store: Option<String>,
    /// What the user must be told on stderr before anything is sent, a sentence each.
    pub warnings: Vec<String>,
    /// The options that led here, for command lines to paste.
    pub flags: TargetFlags,
}

/// A target and the words after it.
#[derive(Clone, Debug)]
pub struct ResolvedTarget {
    /// The target.
    pub target: Target,
    /// The words that follow: the tool first, where the command takes one.
    pub rest: Vec<String>,
}

/// Resolves the words of a command line. What of `secrets` is wanted afterwards has to be fetched first.
///
/// # Errors
/// [`ErrorKind::Usage`] for a word that cannot be a target, a URL that cannot be used and flags that do not fit;
/// [`ErrorKind::Config`] for an unknown name and an entry that is wrong, incomplete or not trusted.
pub fn resolve_target(
    words: PositionalWords,
    options: &TargetOptions,
    lookup: &LazyConfig<'_>,
    secrets: &Secrets<'_>,
) -> Result<ResolvedTarget> {
    let environment = lookup.environment();
    let PositionalWords { target, rest, command, takes_tool: splits } = words;
    if !command.is_empty() {
        let rest = target.into_iter().chain(rest).collect();
        let target = build::target_from_command(command, options, environment, lookup.ad_hoc_defaults()?)?;
        return Ok(ResolvedTarget { target, rest });
    }
    let Some(word) = target else {
        return Err(Failure::new(ErrorKind::Usage, "no target was given")
            .hint("name a configured server, a URL or a command line; `mcpipe config list` shows the servers"));
    };
    match syntax::classify_word(&word)? {
        syntax::TargetWord::Url(url) => {
            let target = build::target_from_url(&url, options, environment, lookup.ad_hoc_defaults()?)?;
            Ok(ResolvedTarget { target, rest })
        }
        syntax::TargetWord::Command(line) => {
            let argv = syntax::split_command_line(&line, environment)?;
            let target = build::target_from_command(argv, options, environment, lookup.ad_hoc_defaults()?)?;
            Ok(ResolvedTarget { target, rest })
        }
        syntax::TargetWord::Name(name) => resolve_name(&name, rest, splits, options, lookup, secrets),
    }
}

/// Resolves one configured server, for commands that go through all of them.
///
/// # Errors
/// As [`resolve_target`].
pub fn resolve_configured(
    config: &Config,
    name: &str,
    options: &TargetOptions,
    environment: &Environment,
    secrets: &Secrets<'_>,
) -> Result<Target> {
    let Some(server) = config.server(name) else { return Err(syntax::unknown_server(config, name, environment)) };
    server.check_usable().map_err(|failure| failure.server(name))?;
    let settings = server.settings(environment, &config.defaults, secrets)?;
    let mut target = build::target_from_config(name, settings, options, environment, config)
        .map_err(|failure| failure.server(name))?;
    target.credential_store.clone_from(&config.defaults.credential_store);
    Ok(target)
}

/// A name, or `SERVER.TOOL`: an exact name wins over a split, and the dot after the longest known name splits.
fn resolve_name(
    name: &str,
    mut rest: Vec<String>,
    splits: bool,
    options: &TargetOptions,
    lookup: &LazyConfig<'_>,
    secrets: &Secrets<'_>,
) -> Result<ResolvedTarget> {
    let config = lookup.config()?;
    let mut server = name;
    if splits && config.server(name).is_none() {
        let dots = syntax::before_parenthesis(name).rmatch_indices('.').map(|(at, _)| at);
        let known = dots.filter(|at| *at + 1 < name.len()).find(|at| config.server(&name[..*at]).is_some());
        if let Some(at) = known {
            server = &name[..at];
            rest.insert(0, name[at + 1..].to_owned());
        }
    }
    Ok(ResolvedTarget { target: resolve_configured(config, server, options, lookup.environment(), secrets)?, rest })
}

#[cfg(test)]
mod tests;
