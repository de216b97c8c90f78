//! A server that can be connected to, and the command lines that reach it, for hints and examples.
//!
//! The command lines contain the options for the target in their short form. Possible secrets (values of headers and
//! variables, the user and password of a proxy) are replaced by a placeholder.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::options::{GivenOption, OptionValue, TargetOptions};
use super::syntax::{TargetWord, classify_word};
use crate::config::bearer::BearerSource;
use crate::config::oauth::OAuthSettings;
use crate::config::policy::ToolPolicy;
use crate::env::launchers::started_program;
use crate::protocol::revision::RevisionPin;
use crate::target::bundle::Bundle;
use crate::transport::{Endpoint, HttpEndpoint};
use crate::util::limit::Limit;
use crate::util::quoting::{quote, quote_without_secrets};

/// Placeholder for a value.
const PLACEHOLDER: &str = "…";

/// A server, ready to be connected to.
#[derive(Clone, Debug)]
pub struct Target {
    /// As the user named it: a configured name, a URL (without password and fragment), or a command line.
    pub name: String,
    /// Whether it is a configured name.
    pub is_configured: bool,
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The bundle that the server is in, which has to be unpacked before it is started.
    pub bundle: Option<Arc<Bundle>>,
    /// The revisions that may be used.
    pub protocol: RevisionPin,
    /// The configured time limit of a request.
    pub timeout: Option<Limit<Duration>>,
    /// The configured time limit for starting and negotiating.
    pub connect_timeout: Option<Limit<Duration>>,
    /// Configured roots: directories or `file://` URIs.
    pub roots: Vec<String>,
    /// The tools that may be listed and called, and when to ask for confirmation.
    pub policy: ToolPolicy,
    /// The configured login settings, if any.
    pub auth: OAuthSettings,
    /// The configured source of a bearer token that changes; an `Authorization` header of the endpoint overrides it.
    pub bearer: Option<BearerSource>,
    /// The configured credential store: `auto`, `keyring` or `file`.
    pub credential_store: Option<String>,
    /// Warnings to print before anything is sent, one sentence each.
    pub warnings: Vec<String>,
    /// The options for this target, for command lines to paste.
    pub flags: TargetFlags,
    /// The configured time for which a session with the server stays without being used; `Some(ZERO)` means none.
    pub keep_alive: Option<Duration>,
    /// How the user named it, if another process may have to resolve it again.
    pub reference: Option<Arc<TargetReference>>,
}

/// The server that a command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetName {
    /// A URL.
    Url(String),
    /// A command line.
    Command(Vec<String>),
    /// A configured server.
    Configured(String),
}

/// How the user named a target.
#[derive(Clone, Debug)]
pub struct TargetReference {
    /// The server.
    pub name: TargetName,
    /// The options.
    pub options: TargetOptions,
}

/// The options for a target, each as one or two quoted words of a POSIX shell.
#[derive(Clone, Debug, Default)]
pub struct TargetFlags {
    /// `--config FILE`.
    config_flag: Vec<String>,
    /// The target options.
    target_options: Vec<String>,
}

impl TargetFlags {
    /// The options that were given, in their short form and without secrets.
    #[must_use]
    pub fn new(config: Option<&Path>, options: &TargetOptions) -> Self {
        let path = |path: &Path| quote(&path.to_string_lossy());
        let config = config.map(|file| vec!["--config".to_owned(), path(file)]).unwrap_or_default();
        let mut words = Vec::new();
        for GivenOption { name, value, .. } in options.given() {
            let short = match name {
                "--header" => "-H",
                "--env" => "-e",
                name => name,
            };
            let value = match value {
                OptionValue::Switch => None,
                // `@FILE` and `Name;` have no value that could be a secret.
                OptionValue::Header(text) if text.starts_with('@') => Some(quote(text)),
                OptionValue::Header(text) => Some(quote(&match text.split_once(':') {
                    Some((name, _)) => format!("{}: {PLACEHOLDER}", name.trim()),
                    None if text.trim().ends_with(';') => text.to_owned(),
                    None => PLACEHOLDER.to_owned(),
                })),
                OptionValue::Variable(text) => {
                    let name = text.split('=').next().unwrap_or_default();
                    Some(format!("{}={PLACEHOLDER}", quote(name)))
                }
                OptionValue::Path(file) => Some(path(file)),
                OptionValue::Proxy(proxy) => Some(quote(&redact_proxy_credentials(proxy))),
                OptionValue::Text(text) => Some(quote(text)),
            };
            match value {
                Some(value) if value.trim_start_matches(['\'', '"']).starts_with('-') => {
                    words.push(format!("{name}={value}"))
                }
                value => words.extend(std::iter::once(short.to_owned()).chain(value)),
            }
        }
        TargetFlags { config_flag: config, target_options: words }
    }
}

fn has_authorization_header(endpoint: &HttpEndpoint) -> bool {
    endpoint.headers.iter().any(|(name, _)| name.trim().eq_ignore_ascii_case("authorization"))
}

impl Target {
    /// Whether the user configured credentials that are sent to the target.
    #[must_use]
    pub fn has_own_credentials(&self) -> bool {
        let endpoint = self.endpoint.http_endpoint();
        endpoint.is_some_and(|endpoint| self.bearer.is_some() || has_authorization_header(&endpoint))
    }

    /// What to do if the server refuses the token of `bearer`; `None` if that is not sent, since a header overrides it.
    #[must_use]
    pub fn bearer_hint(&self) -> Option<String> {
        let endpoint = self.endpoint.http_endpoint()?;
        self.bearer.as_ref().filter(|_| !has_authorization_header(&endpoint)).map(BearerSource::check_hint)
    }

    /// Whether it is a single word that names a program: that is a target only after `--`.
    #[must_use]
    pub fn needs_separator(&self) -> bool {
        !self.is_configured
            && matches!(self.endpoint, Endpoint::Stdio(_))
            && matches!(classify_word(&self.name), Ok(TargetWord::Name(_)))
    }

    /// The target as one word of a command line, quoted, without what may be secrets.
    #[must_use]
    pub fn quoted_name(&self) -> String {
        let Some(TargetName::Command(words)) = self.reference.as_ref().map(|reference| &reference.name) else {
            return quote(&self.name);
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let line = quote_without_secrets(&words).join(" ");
        if self.needs_separator() { line } else { quote(&line) }
    }

    /// `mcpipe COMMAND TARGET WORDS` with the options for the target. The words are not quoted again.
    #[must_use]
    pub fn command_line(&self, command: &str, words: &[&str]) -> String {
        let follows_separator = self.needs_separator();
        let name = self.quoted_name();
        let mut line = vec!["mcpipe", command];
        line.extend((!follows_separator).then_some(name.as_str()));
        line.extend(words);
        line.extend(self.flags.config_flag.iter().chain(&self.flags.target_options).map(String::as_str));
        line.extend(follows_separator.then_some(["--", name.as_str()]).into_iter().flatten());
        line.join(" ")
    }

    /// `mcpipe config COMMAND NAME`, for the configuration that the target comes from.
    #[must_use]
    pub fn config_command_line(&self, command: &str) -> String {
        let name = quote(&self.name);
        let line = ["mcpipe", "config", command, &name].into_iter();
        line.chain(self.flags.config_flag.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// A command line that does not name the target but something that belongs to it, with the same options.
    #[must_use]
    pub fn append_flags(&self, line: &str) -> String {
        let options = self.flags.config_flag.iter().chain(&self.flags.target_options).map(String::as_str);
        std::iter::once(line).chain(options).collect::<Vec<_>>().join(" ")
    }

    /// A name without paths and secrets: the configured name, the host of a URL, or the package or file that a command
    /// line runs.
    #[must_use]
    pub fn short_name(&self) -> String {
        match &self.endpoint {
            _ if self.is_configured => self.name.clone(),
            Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => {
                endpoint.url.host_str().unwrap_or("server").to_owned()
            }
            Endpoint::Stdio(endpoint) => started_program(&endpoint.program, &endpoint.args),
            Endpoint::Unix(_) => "socket".to_owned(),
            Endpoint::Replay(_) => "replay".to_owned(),
        }
    }

    /// How a shell would start the server without mcpipe.
    #[must_use]
    pub fn shell_command(&self) -> String {
        let Endpoint::Stdio(endpoint) = &self.endpoint else { return self.name.clone() };
        let place = endpoint.cwd.as_ref().map(|cwd| format!("cd {} && ", quote(&cwd.to_string_lossy())));
        let variables = endpoint.env.keys().map(|name| format!("{name}={PLACEHOLDER} "));
        place.into_iter().chain(variables).chain([self.name.clone()]).collect()
    }
}

fn redact_proxy_credentials(proxy: &str) -> String {
    let Some((before, host)) = proxy.rsplit_once('@') else { return proxy.to_owned() };
    let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
    format!("{scheme}{PLACEHOLDER}@{host}")
}
