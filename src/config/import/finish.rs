//! The last step of translating a server of another client: command or URL, paths, order.

use url::Url;

use super::draft::{ServerDraft, string_array};
use super::variables::escape;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::import::clients::{ImportClient, Platform};
use crate::config::keys;
use crate::config::value::expand::variable_references;
use crate::util::loopback::is_loopback;

impl ServerDraft<'_> {
    /// Finishes the translation: the entry with mcpipe's keys, in their usual order.
    ///
    /// # Errors
    /// Why there is nothing that mcpipe could connect to.
    pub fn finish(&mut self, at: usize) -> Result<ConfigNode, String> {
        if let Some(why) = self.rejection.take() {
            return Err(why);
        }
        let is_command = match (&self.url, &self.program, self.declared_as_command) {
            (None, None, _) => return Err("it has neither a URL nor a command".to_owned()),
            (Some(_), Some(_), said) => {
                // If both are set, Gemini CLI uses the URL and the others start the command.
                let command = said.unwrap_or(self.client != ImportClient::Gemini);
                let (kept, other) = if command { ("command", "URL") } else { ("URL", "command") };
                self.notes.push(format!("it has a URL and a command: the {kept} is used, the {other} is ignored"));
                command
            }
            (_, program, _) => program.is_some(),
        };
        let mut members = if is_command { self.finish_command() } else { self.finish_url()? };
        members.append(&mut self.extra_keys);
        if self.is_disabled {
            members.push(("disabled", ConfigValue::Bool(true)));
        }
        if !self.auth.is_empty() && !is_command {
            let auth = self.auth.drain(..).map(|(key, value)| new_member(key, value, at)).collect();
            members.push(("auth", ConfigValue::Table(auth)));
        }
        if !self.ignored_keys.is_empty() {
            let keys = self.ignored_keys.join(", ");
            self.notes.push(format!("ignored, because mcpipe does not support it: {keys}"));
        }
        let mut members: Vec<ConfigMember> =
            members.into_iter().map(|(key, value)| new_member(key, value, at)).collect();
        let order = |name: &str| keys::SERVER_KEYS.iter().position(|key| key.name == name);
        members.sort_by_key(|member| order(&member.key));
        Ok(ConfigNode { value: ConfigValue::Table(members), offset: at })
    }

    fn finish_command(&mut self) -> Vec<(&'static str, ConfigValue)> {
        if !self.headers.is_empty() || !self.auth.is_empty() {
            self.notes.push("headers and login are ignored: they apply only to URLs".to_owned());
        }
        self.extra_keys.retain(|(key, _)| *key != "bearer_env");
        let project = self.context.project.as_deref().map(escaped_path);
        let cwd = match self.cwd.take() {
            Some(cwd) => Some(self.absolute_path(cwd, project.as_deref(), "cwd")),
            None => project.clone(),
        };
        let mut members = Vec::new();
        if let Some(program) = self.program.take() {
            let separators: &[char] = if self.context.platform == Platform::Windows { &['/', '\\'] } else { &['/'] };
            let path = program.contains(separators);
            let program = if path { self.absolute_path(program, cwd.as_deref(), "command") } else { program };
            members.push(("command", ConfigValue::String(program)));
        }
        self.leading_args.append(&mut self.args);
        if !self.leading_args.is_empty() {
            members.push(("args", string_array(std::mem::take(&mut self.leading_args), 0)));
        }
        if !self.env.is_empty() {
            members.push(("env", string_table(std::mem::take(&mut self.env))));
        }
        if let Some(cwd) = cwd {
            members.push(("cwd", ConfigValue::String(cwd)));
        }
        members
    }

    /// A path that does not depend on the file that it is written in.
    fn absolute_path(&mut self, path: String, base: Option<&str>, key: &str) -> String {
        let drive = path.as_bytes().get(1) == Some(&b':') || path.starts_with('\\');
        if path.starts_with(['/', '~']) || path.starts_with("${") || drive {
            return path;
        }
        let rest = path.strip_prefix("./").or_else(|| path.strip_prefix(".\\")).unwrap_or(&path);
        let rest = if rest == "." { "" } else { rest };
        let base = match base {
            Some(base) => base.to_owned(),
            None => {
                self.notes.push(format!("'{key}' is relative to the directory in which mcpipe runs"));
                "${PWD:-.}".to_owned()
            }
        };
        let separator = self.context.platform.separator();
        if rest.is_empty() { base } else { format!("{}{separator}{rest}", base.trim_end_matches(['/', '\\'])) }
    }

    fn finish_url(&mut self) -> Result<Vec<(&'static str, ConfigValue)>, String> {
        let url = self.url.take().unwrap_or_default();
        let declared = self.env.len();
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => {}
            Some("ws" | "wss") => self.transport = None,
            _ if url.starts_with("${") => {}
            _ => return Err("its URL is not one of http, https, ws and wss".to_owned()),
        }
        let values = self.headers.iter().map(|(_, value)| value).chain([&url]);
        let referenced: Vec<String> = values.flat_map(|value| variable_references(value)).collect();
        let env: Vec<_> = self.env.drain(..).filter(|(name, _)| referenced.contains(name)).collect();
        if !self.args.is_empty() || self.cwd.is_some() || env.len() < declared {
            self.notes.push("env, args and cwd are ignored: they apply only to commands".to_owned());
        }
        if matches!(scheme.as_deref(), Some("http" | "ws")) && Url::parse(&url).is_ok_and(|url| !is_loopback(&url)) {
            let scheme = scheme.unwrap_or_default();
            self.notes.push(format!("unencrypted {scheme} to another host requires allow_http = true"));
        }
        let mut members = vec![("url", ConfigValue::String(url))];
        if let Some(transport) = self.transport {
            members.push(("transport", ConfigValue::String(transport.to_owned())));
        }
        if !self.headers.is_empty() {
            let mut headers: Vec<(String, String)> = Vec::new();
            for (name, value) in self.headers.drain(..) {
                headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
                headers.push((name, value));
            }
            members.push(("headers", string_table(headers)));
        }
        if !env.is_empty() {
            members.push(("env", string_table(env)));
        }
        Ok(members)
    }
}

fn new_member(key: &str, value: ConfigValue, at: usize) -> ConfigMember {
    ConfigMember { key: key.to_owned(), offset: at, value: ConfigNode { value, offset: at } }
}

fn string_table(pairs: Vec<(String, String)>) -> ConfigValue {
    ConfigValue::Table(pairs.into_iter().map(|(key, value)| new_member(&key, ConfigValue::String(value), 0)).collect())
}

/// A path as it is written into an entry.
pub(crate) fn escaped_path(path: &std::path::Path) -> String {
    escape(&path.display().to_string())
}
