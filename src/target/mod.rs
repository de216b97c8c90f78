//! Targets: a word of the command line, resolved to an endpoint and its settings.
//!
//! A word is a URL, a command line or a configured name. For a URL, no configuration file is opened unless --config or
//! MCPIPE_CONFIG names one; a command line works whatever is in a file.

mod build;
pub mod bundle;
mod options;
pub mod parse;
mod syntax;
mod types;

use crate::config::origin::ConfigDiagnostic;
pub use crate::config::policy::{ConfirmPolicy, ToolPolicy};
use crate::config::settings::ServerSettings;
use crate::config::value::secrets::Secrets;
use crate::config::{Config, ConfiguredServer, LazyConfig};
use crate::env::Environment;
use crate::env::programs::looks_like_path;
use crate::error::{ErrorKind, Failure, Result};
use crate::target::build::EntryError;
pub use crate::target::options::{GivenOption, OptionValue, TargetOptions};
pub use crate::target::syntax::{
    TargetWord, classify_word, guess_url, server_not_configured, split_command_line, unknown_server,
};
pub use crate::target::types::{Target, TargetFlags, TargetName, TargetReference};

impl TargetName {
    /// The target of a command line and the words that follow it: the tool first, if the command takes one.
    ///
    /// `words` are all positional arguments, TARGET first; `command` is what followed `--`, in place of TARGET. With
    /// `takes_tool`, `SERVER.TOOL` is a configured server and the first of the words that follow.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there is no target or its command line cannot be split; [`ErrorKind::Config`] if the
    /// configuration has to be read and cannot be.
    pub fn split_off<'a>(
        words: impl IntoIterator<Item = &'a String>,
        command: &[String],
        takes_tool: bool,
        lookup: &LazyConfig<'_>,
    ) -> Result<(Self, Vec<String>)> {
        let mut words = words.into_iter().cloned();
        if !command.is_empty() {
            return Ok((TargetName::Command(command.to_vec()), words.collect()));
        }
        let Some(word) = words.next() else {
            return Err(Failure::new(ErrorKind::Usage, "no target was given")
                .hint("name a configured server, a URL or a command line; list the servers: mcpipe config list"));
        };
        match syntax::classify_word(&word)? {
            TargetWord::Url(url) => Ok((TargetName::Url(url), words.collect())),
            TargetWord::Command(line) => {
                // A configured name may contain spaces. A configuration that cannot be read does not matter here.
                if let Some(config) = lookup.config().ok().filter(|_| !looks_like_path(&line)) {
                    let (server, tool) = split_name(&line, takes_tool, config);
                    // In an untrusted file, it does not replace what the user types.
                    if config.server(server).is_some_and(|server| server.source.is_trusted) {
                        let server = TargetName::Configured(server.to_owned());
                        return Ok((server, tool.into_iter().chain(words).collect()));
                    }
                }
                let command = syntax::split_command_line(&line, lookup.environment())?;
                Ok((TargetName::Command(command), words.collect()))
            }
            TargetWord::Name(name) => {
                let (server, tool) =
                    if takes_tool { split_name(&name, true, lookup.config()?) } else { (&*name, None) };
                Ok((TargetName::Configured(server.to_owned()), tool.into_iter().chain(words).collect()))
            }
        }
    }

    /// The server with its settings. References to secrets that `secrets` does not contain have to be fetched first.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] for a URL that cannot be used and for options that do not fit; [`ErrorKind::Config`] for an
    /// unknown name and for an entry that is wrong, incomplete or not trusted.
    pub fn resolve(&self, options: &TargetOptions, lookup: &LazyConfig<'_>, secrets: &Secrets<'_>) -> Result<Target> {
        let environment = lookup.environment();
        match self {
            TargetName::Url(url) => build::target_from_url(url, options, environment, lookup.ad_hoc_defaults()?),
            TargetName::Command(words) => {
                build::target_from_command(words, options, environment, lookup.ad_hoc_defaults()?)
            }
            TargetName::Configured(name) => resolve_configured(lookup.config()?, name, options, environment, secrets),
        }
    }
}

/// The server of a word, and the tool of `SERVER.TOOL`.
fn split_name<'a>(word: &'a str, takes_tool: bool, config: &Config) -> (&'a str, Option<String>) {
    match tool_position(word, config).filter(|_| takes_tool) {
        Some(at) => (&word[..at], Some(word[at + 1..].to_owned())),
        None => (word, None),
    }
}

/// The position of the dot in `SERVER.TOOL`: after the longest configured name, unless the whole word is configured.
/// Names in an untrusted file come last, so that they hide no tool of the user's own servers.
fn tool_position(word: &str, config: &Config) -> Option<usize> {
    let dots = syntax::before_parenthesis(word).rmatch_indices('.').map(|(at, _)| at);
    let ends = std::iter::once(word.len()).chain(dots.filter(|at| *at + 1 < word.len()));
    let named = ends.filter_map(|at| Some((at, config.server(&word[..at])?.source.is_trusted)));
    let (mut trusted, untrusted): (Vec<_>, Vec<_>) = named.partition(|(_, is_trusted)| *is_trusted);
    trusted.extend(untrusted);
    trusted.first().map(|(at, _)| *at).filter(|at| *at < word.len())
}

/// Resolves one configured server, for commands that process all of them.
///
/// # Errors
/// As [`TargetName::resolve`].
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
    build::target_from_config(name, settings, options, environment, config).map_err(|error| match error {
        EntryError::Entry(diagnostic) => Failure::from(diagnostic).server(name),
        EntryError::Other(failure) => failure.server(name),
    })
}

/// What is wrong with an entry whose settings could be read, regardless of command-line options.
#[must_use]
pub fn entry_diagnostic(
    config: &Config,
    server: &ConfiguredServer,
    settings: ServerSettings,
    environment: &Environment,
) -> Option<ConfigDiagnostic> {
    let options = TargetOptions::default();
    match build::target_from_config(&server.name, settings, &options, environment, config) {
        Ok(_) => None,
        Err(EntryError::Entry(diagnostic)) => Some(diagnostic),
        Err(EntryError::Other(failure)) => {
            let details = failure.details();
            let diagnostic = ConfigDiagnostic::at(&server.source, server.offset, details.message.clone());
            let cause = (!details.causes.is_empty()).then(|| details.causes.join(": "));
            Some(ConfigDiagnostic { cause, hint: details.hint.clone(), ..diagnostic })
        }
    }
}

#[cfg(test)]
mod tests;
