//! The syntax of TARGET, and the errors for words that are not a server.

use std::path::Path;

use crate::config::Config;
use crate::config::file::mcp_json;
use crate::env::Environment;
use crate::env::programs::{is_program, looks_like_path};
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::replay::may_be_recording;
use crate::util::loopback::is_loopback_host;
use crate::util::quoting::{self, HIDDEN};
use crate::util::secret_words::{hide_in_likely_url, hide_in_url};
use crate::util::suggest::did_you_mean_one_of;

/// The kind of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetWord {
    /// A URL, not checked yet.
    Url(String),
    /// A command line, not split yet.
    Command(String),
    /// A name.
    Name(String),
}

/// Determines the kind of a word from its syntax alone.
///
/// # Errors
/// [`ErrorKind::Usage`] for an empty word.
pub fn classify_word(text: &str) -> Result<TargetWord> {
    if text.trim().is_empty() {
        return Err(Failure::new(ErrorKind::Usage, "the target is empty")
            .hint("name a configured server, a URL or a command line; perhaps a variable is not set"));
    }
    let owned = text.to_owned();
    let is_place = super::parse::unix_socket_path(text).is_some() || super::parse::recording_path(text).is_some();
    Ok(if url_scheme(text).is_some() || is_place {
        TargetWord::Url(owned)
    } else if is_call_form(text) {
        TargetWord::Name(owned)
    } else if text.contains(char::is_whitespace) || looks_like_path(text) {
        TargetWord::Command(owned)
    } else {
        TargetWord::Name(owned)
    })
}

/// The scheme of a word with a scheme and an authority.
fn url_scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let letters = scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    (letters && scheme.starts_with(|c: char| c.is_ascii_alphabetic())).then_some(scheme)
}

/// Whether this is `SERVER.TOOL(name: "a value")`: white space occurs only inside the parentheses.
fn is_call_form(text: &str) -> bool {
    let head = before_parenthesis(text);
    head.len() < text.len()
        && text.trim_end().ends_with(')')
        && head.contains('.')
        && head.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-'))
}

/// The word up to the first parenthesis, which ends the tool's name.
pub(super) fn before_parenthesis(text: &str) -> &str {
    text.split('(').next().unwrap_or(text)
}

/// Splits a command line by the rules of POSIX shells, or on Windows by those of its programs. No shell is run, so
/// only `~/` is expanded.
///
/// # Errors
/// [`ErrorKind::Usage`] if a quote is not closed or there is no program.
pub fn split_command_line(line: &str, environment: &Environment) -> Result<Vec<String>> {
    let shown = quoting::without_secret(None, line);
    let Some(words) = quoting::split(line) else {
        return Err(Failure::new(ErrorKind::Usage, format!("cannot split the command line '{shown}'"))
            .cause("it has a quote that is not closed, or ends with a backslash")
            .hint("put the command after `--` instead, where it needs no quotes"));
    };
    if words.first().is_none_or(String::is_empty) {
        return Err(Failure::new(ErrorKind::Usage, format!("the command line '{shown}' has no program")));
    }
    Ok(words.into_iter().map(|word| environment.expand_tilde(&word)).collect())
}

/// The failure for a target that is not configured: similar names, else a program of that name, or how to add it.
#[must_use]
pub fn unknown_server(config: &Config, name: &str, environment: &Environment) -> Failure {
    let near = nearest_servers(config, name);
    let failure = no_such_server(config, name);
    if let Some(url) = guess_url(name, near.is_empty()) {
        return failure
            .cause("a URL begins with https:// or http://")
            .hint(format!("did you mean {} ?", hide_in_url(&url, HIDDEN)));
    }
    let file = environment.cwd().map(|directory| directory.join(name)).unwrap_or_default();
    if let Some(meant) = named_file(name, &file) {
        return failure.hint(format!("did you mean {}?", quoting::quote(&meant)));
    }
    if let Some(hint) = did_you_mean_one_of(&near) {
        return failure.hint(hint);
    }
    let failure = if config.servers().is_empty() { failure.cause("no servers are configured") } else { failure };
    if let Some(path) = environment.find_program(name) {
        let shown = environment.abbreviate_home(&path);
        return failure
            .cause(format!("there is a program of that name, {shown}"))
            .hint(format!("to start it as the server, remove '{name}' and add at the end of the line: -- {name}"));
    }
    if is_program(&file) {
        return failure.hint(format!("did you mean {}?", quoting::quote(&format!("./{name}"))));
    }
    let (add, list) = (
        config.append_config_flag(&format!("mcpipe config add {} URL", quoting::quote(name))),
        config.append_config_flag("mcpipe config list"),
    );
    failure.hint(match config.servers().is_empty() {
        _ if !mcp_json::sanitize_name(name).eq(name) => format!("list the configured servers: {list}"),
        true => format!("add it: {add}"),
        false => format!("list the configured servers: {list}; or add it: {add}"),
    })
}

/// How to write a word that names a recording or a bundle in the working directory as a target.
fn named_file(name: &str, path: &Path) -> Option<String> {
    match path.is_file() {
        true if may_be_recording(path) => Some(format!("replay:{name}")),
        true if super::bundle::is_bundle(path) => Some(format!("./{name}")),
        _ => None,
    }
}

/// The failure for a name that is not configured, if only a configured one is allowed.
#[must_use]
pub fn server_not_configured(config: &Config, name: &str) -> Failure {
    let hint = did_you_mean_one_of(&nearest_servers(config, name));
    let list = || format!("list the configured servers: {}", config.append_config_flag("mcpipe config list"));
    no_such_server(config, name).hint(hint.unwrap_or_else(list))
}

/// The server does not exist, or it is in a file that could not be read.
fn no_such_server(config: &Config, name: &str) -> Failure {
    let name = hide_in_likely_url(name, HIDDEN);
    let failure = Failure::new(ErrorKind::Config, format!("no server named '{name}' is configured")).server(&name);
    config.skip_warnings().fold(failure, Failure::cause)
}

/// The configured names that are similar to a name, or to the server in `SERVER.TOOL`.
fn nearest_servers<'a>(config: &'a Config, name: &str) -> Vec<&'a str> {
    let near = config.suggest(name);
    match name.split_once('.').filter(|(server, _)| !server.is_empty() && near.is_empty()) {
        Some((server, _)) => config.suggest(server),
        None => near,
    }
}

/// Last labels that make a word of two labels a host name rather than `SERVER.TOOL`.
const COMMON_TOP_LEVEL_DOMAINS: [&str; 8] = ["com", "net", "org", "io", "dev", "ai", "app", "cloud"];

/// For a word that looks like a URL without a scheme: the word with the scheme. A bare host counts only if no
/// configured name is similar (`alone`).
#[must_use]
pub fn guess_url(name: &str, alone: bool) -> Option<String> {
    // One slash or none after the scheme.
    for scheme in ["http:", "https:"] {
        if let Some(rest) =
            name.strip_prefix(scheme).map(|rest| rest.trim_start_matches('/')).filter(|rest| !rest.is_empty())
        {
            return Some(format!("{scheme}//{rest}"));
        }
    }
    let host = name.split(['/', '?']).next()?;
    let bare = host.rsplit_once(':').map_or(host, |(bare, port)| {
        if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) { bare } else { host }
    });
    let (path, port) = (host.len() < name.len(), bare.len() < host.len());
    let labels: Vec<&str> = bare.split('.').collect();
    let ends = labels.last().is_some_and(|last| last.len() > 1 && last.bytes().all(|byte| byte.is_ascii_lowercase()));
    let common = labels.last().is_some_and(|last| COMMON_TOP_LEVEL_DOMAINS.contains(last));
    let host_alone = alone && ends && labels.iter().all(|label| !label.is_empty()) && (labels.len() > 2 || common);
    if !(path || port || host_alone) || bare.is_empty() || bare.contains(':') {
        return None;
    }
    let local = url::Host::parse(bare).is_ok_and(|host| is_loopback_host(&host));
    (local || labels.len() > 1).then(|| format!("{}://{name}", if local { "http" } else { "https" }))
}
