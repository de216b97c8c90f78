//! A server of another client while it is translated: what all clients have in common.

use std::path::Path;
use std::time::Duration;

use super::variables::{VariableContext, escape, translate_references};
use crate::config::file::client_forms::{OAUTH_KEYS, issuer_of, split_command};
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::import::clients::ImportClient;
use crate::config::oauth::RedirectUri;
use crate::config::value::expand::is_variable_name;
use crate::protocol::revision::RevisionPin;
use crate::util::duration::duration_literal;

/// A server while its members are read.
pub(crate) struct ServerDraft<'a> {
    /// Where it comes from.
    pub context: &'a VariableContext,
    /// The client.
    pub client: ImportClient,
    pub(crate) url: Option<String>,
    pub(crate) transport: Option<&'static str>,
    pub(crate) program: Option<String>,
    /// The arguments, if they were in one array with the program.
    pub(crate) leading_args: Vec<String>,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// The names of its variables, which `${NAME}` in its other values may refer to.
    own_variables: Vec<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) cwd: Option<String>,
    /// The value of `type`: whether it is a command.
    pub(crate) declared_as_command: Option<bool>,
    /// Further keys, ready to be written.
    pub(crate) extra_keys: Vec<(&'static str, ConfigValue)>,
    pub(crate) auth: Vec<(&'static str, ConfigValue)>,
    /// Whether the client has it disabled.
    pub is_disabled: bool,
    /// What was changed in the translation, one sentence each.
    pub notes: Vec<String>,
    pub(crate) ignored_keys: Vec<String>,
    pub(crate) rejection: Option<String>,
}

/// Keys that only concern the client itself: its display, its own permissions, its own start.
const SILENTLY_IGNORED_KEYS: &[&str] =
    &["$schema", "description", "name", "title", "icon", "version", "gallery", "dev"];

impl<'a> ServerDraft<'a> {
    /// A server with these variables of its own; nothing else has been read yet.
    pub fn new(client: ImportClient, around: &'a VariableContext, own_variables: Vec<String>) -> Self {
        ServerDraft {
            context: around,
            client,
            url: None,
            transport: None,
            program: None,
            leading_args: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            own_variables,
            headers: Vec::new(),
            cwd: None,
            declared_as_command: None,
            extra_keys: Vec::new(),
            auth: Vec::new(),
            is_disabled: false,
            notes: Vec::new(),
            ignored_keys: Vec::new(),
            rejection: None,
        }
    }

    /// The keys that nearly every client has.
    pub fn common_key(&mut self, member: &ConfigMember) {
        match member.key.as_str() {
            _ if matches!(member.value.value, ConfigValue::Unsupported("null")) => {}
            "command" => self.read_command(member),
            "args" => self.read_args(member),
            "env" => self.read_env(member),
            "url" | "serverUrl" => self.read_url(member, None),
            "httpUrl" => self.read_url(member, Some("http")),
            "headers" => self.read_headers(member),
            "cwd" => self.cwd = self.string(member),
            "type" | "transport" => self.read_transport_type(member),
            "disabled" => self.is_disabled |= self.boolean(member) == Some(true),
            "enabled" => self.is_disabled |= self.boolean(member) == Some(false),
            "oauth" => self.read_oauth(member),
            _ => self.ignore_key(&member.key),
        }
    }

    /// Notes that a key has no meaning here.
    pub fn ignore_key(&mut self, key: &str) {
        if !SILENTLY_IGNORED_KEYS.contains(&key) {
            self.ignored_keys.push(key.to_owned());
        }
    }

    /// Records why mcpipe cannot reach this server; the first reason is reported.
    pub fn reject(&mut self, why: impl Into<String>) {
        self.rejection.get_or_insert(why.into());
    }

    fn note_wrong_type(&mut self, member: &ConfigMember, what: &str) {
        self.notes.push(format!("'{}' is ignored: it must be {what}, not {}", member.key, member.value.type_name()));
    }

    fn translate(&mut self, text: &str) -> String {
        translate_references(text, self.context, &self.own_variables, &mut self.notes)
    }

    /// A string in mcpipe's form.
    pub fn string(&mut self, member: &ConfigMember) -> Option<String> {
        match member.value.as_str() {
            Some(text) => Some(self.translate(text)),
            None => {
                self.note_wrong_type(member, "a string");
                None
            }
        }
    }

    /// A boolean; `"true"` and `"false"` are accepted too.
    pub fn boolean(&mut self, member: &ConfigMember) -> Option<bool> {
        match (&member.value.value, member.value.as_str()) {
            (ConfigValue::Bool(flag), _) => Some(*flag),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
            _ => {
                self.note_wrong_type(member, "true or false");
                None
            }
        }
    }

    /// A string, or another value that clients accept in its place.
    fn scalar_string(&mut self, node: &ConfigNode) -> Option<String> {
        match &node.value {
            ConfigValue::String(text) => Some(self.translate(text)),
            ConfigValue::Integer(number) => Some(number.to_string()),
            ConfigValue::Float(number) => Some(number.to_string()),
            ConfigValue::Bool(flag) => Some(flag.to_string()),
            ConfigValue::Array(_) | ConfigValue::Table(_) | ConfigValue::Unsupported(_) => None,
        }
    }

    fn string_list(&mut self, member: &ConfigMember) -> Vec<String> {
        let ConfigValue::Array(items) = &member.value.value else {
            self.note_wrong_type(member, "an array of strings");
            return Vec::new();
        };
        let words: Vec<String> = items.iter().filter_map(|item| self.scalar_string(item)).collect();
        if words.len() < items.len() {
            // Arguments are positional: a missing one would shift the others.
            self.reject(format!("'{}' contains something other than a string", member.key));
        }
        words
    }

    fn string_map(&mut self, member: &ConfigMember) -> Vec<(String, String)> {
        let ConfigValue::Table(members) = &member.value.value else {
            self.note_wrong_type(member, "a table of strings");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for pair in members {
            match self.scalar_string(&pair.value) {
                Some(value) => pairs.push((pair.key.clone(), value)),
                None => self.notes.push(format!(
                    "'{}' in '{}' is ignored: it is {}",
                    pair.key,
                    member.key,
                    pair.value.type_name()
                )),
            }
        }
        pairs
    }

    /// The program, a whole command line, or an array of the program and its arguments.
    pub fn read_command(&mut self, member: &ConfigMember) {
        let directory = self.context.project.as_deref().unwrap_or(Path::new(""));
        let line = member.value.as_str().and_then(|line| split_command(line, directory));
        let mut words = match (&member.value.value, line) {
            (ConfigValue::Array(_), _) => self.string_list(member),
            (_, Some(words)) => {
                self.notes.push("'command' is a command line: it was split into the program and arguments".to_owned());
                words.iter().map(|word| self.translate(word)).collect()
            }
            _ => self.string(member).filter(|text| !text.trim().is_empty()).into_iter().collect(),
        };
        if !words.is_empty() {
            self.program = Some(words.remove(0));
            self.leading_args = words;
        }
    }

    /// The program's arguments.
    pub fn read_args(&mut self, member: &ConfigMember) {
        self.args = self.string_list(member);
    }

    /// Variables of the program's environment.
    pub fn read_env(&mut self, member: &ConfigMember) {
        // They refer to the environment, not to each other.
        let own = std::mem::take(&mut self.own_variables);
        self.env = self.string_map(member);
        self.own_variables = own;
    }

    /// The URL; `transport` if the key determines the transport.
    pub fn read_url(&mut self, member: &ConfigMember, transport: Option<&'static str>) {
        if let Some(url) = self.string(member).filter(|url| !url.trim().is_empty()) {
            if self.url.is_some() {
                self.notes.push(format!("'{}' is ignored: it differs from the URL that is used", member.key));
                return;
            }
            self.url = Some(url.trim().to_owned());
            self.transport = transport.or(self.transport);
        }
    }

    /// A file of variables, which is not read: its secrets would be copied.
    pub fn note_env_file(&mut self, member: &ConfigMember) {
        if let Some(file) = self.string(member) {
            self.notes.push(format!("the variables in '{file}' are not imported: set them, or add them to env"));
        }
    }

    /// A program that prints headers, which is not run.
    pub fn note_headers_helper(&mut self, member: &ConfigMember) {
        self.ignore_key(&member.key);
        let client = self.context.client_title;
        self.notes
            .push(format!("a program creates headers in {client}; set them as headers here, with ${{command:…}}"));
    }

    /// Headers of every request.
    pub fn read_headers(&mut self, member: &ConfigMember) {
        let pairs = self.string_map(member);
        self.headers.extend(pairs);
    }

    /// One header, the value in our form already.
    pub fn add_header(&mut self, name: &str, value: String) {
        self.headers.push((name.to_owned(), value));
    }

    /// The names of headers and the variables that contain their values.
    pub fn read_headers_from_variables(&mut self, member: &ConfigMember) {
        if !matches!(member.value.value, ConfigValue::Table(_)) {
            self.note_wrong_type(member, "a table of strings");
        }
        for pair in member.value.members() {
            if let Some(variable) = self.variable_name(pair) {
                self.add_header(&pair.key, format!("${{{variable}}}"));
            }
        }
    }

    /// The name of a variable. It is not translated: only a name may become a reference.
    pub fn variable_name(&mut self, member: &ConfigMember) -> Option<String> {
        let name = member.value.as_str().filter(|name| is_variable_name(name));
        if name.is_none() {
            self.notes.push(format!("'{}' is ignored: it is not a variable name", member.key));
        }
        name.map(str::to_owned)
    }

    /// How the server is reached.
    fn read_transport_type(&mut self, member: &ConfigMember) {
        let Some(word) = member.value.as_str() else { return self.note_wrong_type(member, "a string") };
        match word.to_lowercase().replace(['-', '_'], "").as_str() {
            "stdio" | "local" | "command" => self.declared_as_command = Some(true),
            // The scheme of the URL says it too.
            "ws" | "websocket" => {
                self.declared_as_command = Some(false);
                self.transport = None;
            }
            "http" | "streamablehttp" => {
                self.declared_as_command = Some(false);
                self.transport = Some("http");
            }
            "sse" => {
                self.declared_as_command = Some(false);
                self.transport = Some("sse");
            }
            "remote" | "url" | "auto" => self.declared_as_command = Some(false),
            _ => self.reject(format!("its {} is '{word}', which mcpipe does not support", member.key)),
        }
    }

    /// One of mcpipe's keys with a text in final form.
    pub fn set_key(&mut self, key: &'static str, value: ConfigValue) {
        self.extra_keys.retain(|(other, _)| *other != key);
        self.extra_keys.push((key, value));
    }

    /// A time in milliseconds or seconds.
    pub fn read_duration(&mut self, key: &'static str, member: &ConfigMember, millis_each: f64) {
        let millis = match member.value.value {
            ConfigValue::Integer(number) => number as f64 * millis_each,
            ConfigValue::Float(number) => number * millis_each,
            _ => return self.note_wrong_type(member, "a number"),
        };
        if !(millis.is_finite() && millis >= 1.0) {
            self.notes.push(format!("'{}' is ignored: it is not a duration", member.key));
            return;
        }
        let text = duration_literal(Duration::from_millis(millis.round() as u64));
        self.set_key(key, ConfigValue::String(text));
    }

    /// Names of tools that may or may not be used, converted to globs.
    pub fn read_tool_list(&mut self, key: &'static str, member: &ConfigMember) {
        let ConfigValue::Array(items) = &member.value.value else {
            return self.note_wrong_type(member, "an array of strings");
        };
        let names: Option<Vec<ConfigNode>> =
            items.iter().map(|item| Some(string_node(escape(&exact_glob(item.as_str()?)), item.offset))).collect();
        match names {
            Some(names) => self.set_key(key, ConfigValue::Array(names)),
            // Dropping the list would allow what was forbidden.
            None => self.reject(format!("'{}' contains something other than a string", member.key)),
        }
    }

    /// A revision of the protocol.
    pub fn read_protocol(&mut self, member: &ConfigMember) {
        match self.string(member) {
            Some(word) if RevisionPin::parse(&word).is_ok() => self.set_key("protocol", ConfigValue::String(word)),
            Some(word) => {
                self.notes.push(format!("'{word}' is ignored: it is not a protocol revision that mcpipe supports"))
            }
            None => {}
        }
    }

    /// Notes that a setting has a value that cannot be used here.
    fn note_unusable(&mut self, member: &ConfigMember, why: &str) {
        let value = member.value.as_str().map(|text| format!(" '{text}'")).unwrap_or_default();
        self.notes.push(format!("'{}'{value} is ignored: {why}", member.key));
    }

    /// The redirect URI of the login.
    fn set_redirect_uri(&mut self, uri: RedirectUri) {
        self.set_auth_key("redirect_uri", ConfigValue::String(escape(uri.uri())));
    }

    /// A key of `auth`.
    pub fn set_auth_key(&mut self, key: &'static str, value: ConfigValue) {
        self.auth.retain(|(other, _)| *other != key);
        self.auth.push((key, value));
    }

    /// A table of OAuth settings with the client's names; settings without a counterpart are noted.
    pub fn read_oauth(&mut self, member: &ConfigMember) {
        let ConfigValue::Table(members) = &member.value.value else {
            if self.boolean(member) == Some(false) {
                self.notes
                    .push("login is disabled in the client; mcpipe logs in only if the server requires it".to_owned());
            }
            return;
        };
        for inner in members {
            match OAUTH_KEYS.iter().find(|(theirs, _)| *theirs == inner.key) {
                Some((_, ours)) => self.read_oauth_key(ours, inner),
                None if inner.key == "enabled" => {}
                None => self.ignore_key(&format!("{}.{}", member.key, inner.key)),
            }
        }
    }

    /// One OAuth setting.
    pub fn read_oauth_key(&mut self, ours: &'static str, member: &ConfigMember) {
        match ours {
            "scopes" => {
                let scopes = match &member.value.value {
                    ConfigValue::String(text) => {
                        text.split([' ', ',']).filter(|word| !word.is_empty()).map(escape).collect()
                    }
                    _ => self.string_list(member),
                };
                if !scopes.is_empty() {
                    self.set_auth_key(ours, string_array(scopes, member.offset));
                }
            }
            "redirect_port" => match member.value.value {
                ConfigValue::Integer(port) if (1..=65535).contains(&port) => {
                    let uri = self.client.redirect_uri(u16::try_from(port).unwrap_or_default());
                    self.set_redirect_uri(uri);
                }
                _ => self.ignore_key(&member.key),
            },
            "redirect_uri" => match member.value.as_str().and_then(|text| RedirectUri::parse(text).ok()) {
                Some(uri) => self.set_redirect_uri(uri),
                None => self.note_unusable(member, "the redirect URI of a login must be on this machine"),
            },
            "metadata_url" => match member.value.as_str().and_then(issuer_of) {
                Some(issuer) => {
                    let issuer = self.translate(&issuer);
                    self.set_auth_key("issuer", ConfigValue::String(issuer));
                }
                None => self.note_unusable(member, "no issuer has its metadata there"),
            },
            _ => {
                if let Some(text) = self.string(member).filter(|text| !text.is_empty()) {
                    self.set_auth_key(ours, ConfigValue::String(text));
                }
            }
        }
    }
}

/// A glob that matches only this name.
fn exact_glob(name: &str) -> String {
    let mut made = String::new();
    for c in name.chars() {
        match c {
            '*' | '?' | '[' | '{' | '}' | ']' | '\\' => made.extend(['[', c, ']']),
            _ => made.push(c),
        }
    }
    made
}

fn string_node(text: String, at: usize) -> ConfigNode {
    ConfigNode { value: ConfigValue::String(text), offset: at }
}

/// An array of strings.
pub(crate) fn string_array(words: Vec<String>, at: usize) -> ConfigValue {
    ConfigValue::Array(words.into_iter().map(|word| string_node(word, at)).collect())
}
