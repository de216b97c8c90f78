//! The last step from a server of another client to one of ours: command or URL, paths, order.

use url::Url;

use super::draft::{Draft, texts};
use super::places::{Client, Platform};
use super::variables::literal;
use crate::config::schema;
use crate::config::tree::{Member, Node, Value};
use crate::util::loopback::is_loopback;

impl Draft<'_> {
    /// Ends the reading: the entry under our keys, in their usual order.
    ///
    /// # Errors
    /// Why there is nothing mcpipe could reach.
    pub fn finish(&mut self, at: usize) -> Result<Node, String> {
        if let Some(why) = self.refused.take() {
            return Err(why);
        }
        let is_command = match (&self.url, &self.program, self.is_command) {
            (None, None, _) => return Err("it has neither a URL nor a command".to_owned()),
            (Some(_), Some(_), said) => {
                // Where both are there, Gemini CLI takes the URL and the others start the command.
                let command = said.unwrap_or(self.client != Client::Gemini);
                let (kept, other) = if command { ("command", "URL") } else { ("URL", "command") };
                self.notes.push(format!("it has a URL and a command: the {kept} is taken, the {other} left out"));
                command
            }
            (_, program, _) => program.is_some(),
        };
        let mut members = if is_command { self.finish_command() } else { self.finish_url()? };
        members.append(&mut self.ready);
        if self.disabled {
            members.push(("disabled", Value::Flag(true)));
        }
        if !self.auth.is_empty() && !is_command {
            let auth = self.auth.drain(..).map(|(key, value)| member(key, value, at)).collect();
            members.push(("auth", Value::Table(auth)));
        }
        if !self.left_out.is_empty() {
            let keys = self.left_out.join(", ");
            self.notes.push(format!("left out, since it means nothing to mcpipe: {keys}"));
        }
        let mut members: Vec<Member> = members.into_iter().map(|(key, value)| member(key, value, at)).collect();
        let order = |name: &str| schema::SERVER.iter().position(|key| key.name == name);
        members.sort_by_key(|member| order(&member.key));
        Ok(Node { value: Value::Table(members), at })
    }

    fn finish_command(&mut self) -> Vec<(&'static str, Value)> {
        if !self.headers.is_empty() || !self.auth.is_empty() {
            self.notes.push("headers and login are for URLs, and this is a command: they are left out".to_owned());
        }
        self.ready.retain(|(key, _)| *key != "bearer_env");
        let project = self.around.project.as_deref().map(path_text);
        let cwd = match self.cwd.take() {
            Some(cwd) => Some(self.anchored(cwd, project.as_deref(), "cwd")),
            None => project.clone(),
        };
        let mut members = Vec::new();
        if let Some(program) = self.program.take() {
            let separators: &[char] = if self.around.platform == Platform::Windows { &['/', '\\'] } else { &['/'] };
            let path = program.contains(separators);
            let program = if path { self.anchored(program, cwd.as_deref(), "command") } else { program };
            members.push(("command", Value::Text(program)));
        }
        self.first.append(&mut self.args);
        if !self.first.is_empty() {
            members.push(("args", texts(std::mem::take(&mut self.first), 0)));
        }
        if !self.env.is_empty() {
            members.push(("env", table(std::mem::take(&mut self.env))));
        }
        if let Some(cwd) = cwd {
            members.push(("cwd", Value::Text(cwd)));
        }
        members
    }

    /// A path that does not depend on which file it is written in.
    fn anchored(&mut self, path: String, base: Option<&str>, key: &str) -> String {
        let drive = path.as_bytes().get(1) == Some(&b':') || path.starts_with('\\');
        if path.starts_with(['/', '~']) || path.starts_with("${") || drive {
            return path;
        }
        let rest = path.strip_prefix("./").or_else(|| path.strip_prefix(".\\")).unwrap_or(&path);
        let rest = if rest == "." { "" } else { rest };
        let base = match base {
            Some(base) => base.to_owned(),
            None => {
                self.notes.push(format!("'{key}' is relative, and taken from the directory in which mcpipe is run"));
                "${PWD:-.}".to_owned()
            }
        };
        let separator = self.around.platform.separator();
        if rest.is_empty() { base } else { format!("{}{separator}{rest}", base.trim_end_matches(['/', '\\'])) }
    }

    fn finish_url(&mut self) -> Result<Vec<(&'static str, Value)>, String> {
        let url = self.url.take().unwrap_or_default();
        let scheme = url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        match scheme.as_deref() {
            Some("http" | "https") => {}
            _ if url.starts_with("${") => {}
            _ => return Err("its URL is not http or https".to_owned()),
        }
        if !self.env.is_empty() || !self.args.is_empty() || self.cwd.is_some() {
            self.notes.push("env, args and cwd are for commands, and this is a URL: they are left out".to_owned());
        }
        if scheme.as_deref() == Some("http") && Url::parse(&url).is_ok_and(|url| !is_loopback(&url)) {
            self.notes.push("plain http to another host is used only with allow_http = true".to_owned());
        }
        let mut members = vec![("url", Value::Text(url))];
        if let Some(transport) = self.transport {
            members.push(("transport", Value::Text(transport.to_owned())));
        }
        if !self.headers.is_empty() {
            let mut headers: Vec<(String, String)> = Vec::new();
            for (name, value) in self.headers.drain(..) {
                headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
                headers.push((name, value));
            }
            members.push(("headers", table(headers)));
        }
        Ok(members)
    }
}

fn member(key: &str, value: Value, at: usize) -> Member {
    Member { key: key.to_owned(), at, value: Node { value, at } }
}

fn table(pairs: Vec<(String, String)>) -> Value {
    Value::Table(pairs.into_iter().map(|(key, value)| member(&key, Value::Text(value), 0)).collect())
}

/// A path as it is written into an entry.
pub(super) fn path_text(path: &std::path::Path) -> String {
    literal(&path.display().to_string())
}
