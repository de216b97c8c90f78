//! Command lines with a target in them, for hints and examples: whoever pastes one reaches the same server.
//!
//! The options that led to the target stand behind it as they were typed, but for what may be a secret: the values
//! of headers and variables, and the password of a proxy, are left to be filled in.

use std::path::Path;

use super::{Overrides, Target, Word, word};
use crate::shell::quoted;
use crate::transport::{Endpoint, HttpMode};

/// Stands where a value is to be filled in.
const BLANK: &str = "…";

/// The options that led to a target, each a word or two as a POSIX shell takes them.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// `--config FILE`.
    config: Vec<String>,
    /// The target options.
    reach: Vec<String>,
}

impl Typed {
    /// What was typed.
    #[must_use]
    pub fn new(config: Option<&Path>, overrides: &Overrides) -> Self {
        let path = |path: &Path| quoted(&path.to_string_lossy());
        let config = config.map(|file| vec!["--config".to_owned(), path(file)]).unwrap_or_default();
        let mut reach = Vec::new();
        let mut add = |option: &str, value: Option<String>| {
            if let Some(value) = value {
                reach.extend([option.to_owned(), value]);
            }
        };
        for header in &overrides.headers {
            let name = header.split(':').next().unwrap_or_default().trim();
            add("-H", Some(quoted(&format!("{name}: {BLANK}"))));
        }
        for variable in &overrides.env {
            let name = variable.split('=').next().unwrap_or_default();
            add("-e", Some(format!("{}={BLANK}", quoted(name))));
        }
        add("--cwd", overrides.cwd.as_deref().map(path));
        add("--bearer-env", overrides.bearer_env.as_deref().map(quoted));
        add("--transport", overrides.transport.map(|mode| mode_word(mode).to_owned()));
        add("--protocol", overrides.protocol.as_deref().map(quoted));
        add("--cacert", overrides.cacert.as_deref().map(path));
        add("--cert", overrides.cert.as_deref().map(path));
        add("--key", overrides.key.as_deref().map(path));
        add("--proxy", overrides.proxy.as_deref().map(|proxy| quoted(&without_password(proxy))));
        add("--unix-socket", overrides.unix_socket.as_deref().map(path));
        for (flag, given) in [("--insecure", overrides.insecure), ("--allow-http", overrides.allow_http)] {
            reach.extend(given.then(|| flag.to_owned()));
        }
        Typed { config, reach }
    }
}

impl Target {
    /// `mcpipe COMMAND TARGET WORDS` with the options that led to the target. The words stand there as they are.
    #[must_use]
    pub fn line(&self, command: &str, words: &[&str]) -> String {
        // One word that names a program is a target only behind `--`.
        let behind = !self.configured
            && matches!(self.endpoint, Endpoint::Stdio(_))
            && matches!(word(&self.name), Ok(Word::Name(_)));
        let name = quoted(&self.name);
        let mut line = vec!["mcpipe", command];
        line.extend((!behind).then_some(name.as_str()));
        line.extend(words);
        line.extend(self.typed.config.iter().chain(&self.typed.reach).map(String::as_str));
        line.extend(behind.then_some(["--", name.as_str()]).into_iter().flatten());
        line.join(" ")
    }

    /// `mcpipe config COMMAND NAME`, of the configuration that the target comes from.
    #[must_use]
    pub fn config_line(&self, command: &str) -> String {
        let name = quoted(&self.name);
        let line = ["mcpipe", "config", command, &name].into_iter();
        line.chain(self.typed.config.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
    }

    /// A command line about something at this target that is known without naming it, with the options that led there.
    #[must_use]
    pub fn followed(&self, line: &str) -> String {
        let options = self.typed.config.iter().chain(&self.typed.reach).map(String::as_str);
        std::iter::once(line).chain(options).collect::<Vec<_>>().join(" ")
    }

    /// How a shell starts the server of a command line without mcpipe.
    #[must_use]
    pub fn by_itself(&self) -> String {
        let Endpoint::Stdio(endpoint) = &self.endpoint else { return self.name.clone() };
        let place = endpoint.cwd.as_ref().map(|cwd| format!("cd {} && ", quoted(&cwd.to_string_lossy())));
        let variables = endpoint.env.keys().map(|name| format!("{name}={BLANK} "));
        place.into_iter().chain(variables).chain([self.name.clone()]).collect()
    }
}

fn mode_word(mode: HttpMode) -> &'static str {
    match mode {
        HttpMode::Auto => "auto",
        HttpMode::Streamable => "http",
        HttpMode::Sse => "sse",
    }
}

fn without_password(proxy: &str) -> String {
    let Some((before, host)) = proxy.rsplit_once('@') else { return proxy.to_owned() };
    let scheme = before.split_once("://").map_or(String::new(), |(scheme, _)| format!("{scheme}://"));
    format!("{scheme}{BLANK}@{host}")
}
