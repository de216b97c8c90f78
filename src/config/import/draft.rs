//! One server of another client on its way to one of ours: what every client writes alike, and the last step.

use super::places::Client;
use super::variables::{Surroundings, literal, translate};
use crate::config::tree::{Member, Node, Value};
use crate::protocol::revision::Pin;
use crate::shell;
use crate::util::loopback::is_loopback;

/// A server while its members are read.
pub(super) struct Draft<'a> {
    /// Where it comes from.
    pub around: &'a Surroundings,
    /// The client.
    pub client: Client,
    pub(super) url: Option<String>,
    pub(super) transport: Option<&'static str>,
    pub(super) program: Option<String>,
    /// The arguments that stood in one array with the program.
    pub(super) first: Vec<String>,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) cwd: Option<String>,
    /// What `type` says: whether it is a command.
    pub(super) is_command: Option<bool>,
    /// Further keys that are ready as they are.
    pub(super) ready: Vec<(&'static str, Value)>,
    pub(super) auth: Vec<(&'static str, Value)>,
    /// Whether the client has it switched off.
    pub disabled: bool,
    /// What changed on the way, a sentence each.
    pub notes: Vec<String>,
    pub(super) left_out: Vec<String>,
    pub(super) refused: Option<String>,
}

/// Keys that only say something to the client itself: its looks, its own consent, its own start.
const NONE_OF_OURS: &[&str] = &["$schema", "description", "name", "title", "icon", "version", "gallery", "dev"];

impl<'a> Draft<'a> {
    pub fn new(client: Client, around: &'a Surroundings) -> Self {
        Draft {
            around,
            client,
            url: None,
            transport: None,
            program: None,
            first: Vec::new(),
            args: Vec::new(),
            env: Vec::new(),
            headers: Vec::new(),
            cwd: None,
            is_command: None,
            ready: Vec::new(),
            auth: Vec::new(),
            disabled: false,
            notes: Vec::new(),
            left_out: Vec::new(),
            refused: None,
        }
    }

    /// The keys that nearly every client has.
    pub fn usual(&mut self, member: &Member) {
        match member.key.as_str() {
            _ if matches!(member.value.value, Value::Other("null")) => {}
            "command" => self.command(member),
            "args" => self.args(member),
            "env" => self.env(member),
            "url" | "serverUrl" => self.url(member, None),
            "httpUrl" => self.url(member, Some("http")),
            "headers" => self.headers(member),
            "cwd" => self.cwd = self.text(member),
            "type" | "transport" => self.kind(member),
            "disabled" => self.disabled |= self.flag(member) == Some(true),
            "enabled" => self.disabled |= self.flag(member) == Some(false),
            "oauth" => self.oauth(member, OAUTH),
            _ => self.leave_out(&member.key),
        }
    }

    /// Says that a key means nothing here.
    pub fn leave_out(&mut self, key: &str) {
        if !NONE_OF_OURS.contains(&key) {
            self.left_out.push(key.to_owned());
        }
    }

    /// Says that this server cannot be reached by mcpipe; the first reason counts.
    pub fn refuse(&mut self, why: impl Into<String>) {
        self.refused.get_or_insert(why.into());
    }

    fn wrong(&mut self, member: &Member, what: &str) {
        self.notes.push(format!("'{}' must be {what}, and is {}: it is left out", member.key, member.value.kind()));
    }

    fn ours(&mut self, text: &str) -> String {
        translate(text, self.around, &mut self.notes)
    }

    /// A string in our form.
    pub fn text(&mut self, member: &Member) -> Option<String> {
        match member.value.as_text() {
            Some(text) => Some(self.ours(text)),
            None => {
                self.wrong(member, "a string");
                None
            }
        }
    }

    /// A flag; `"true"` and `"false"` are flags too.
    pub fn flag(&mut self, member: &Member) -> Option<bool> {
        match (&member.value.value, member.value.as_text()) {
            (Value::Flag(flag), _) => Some(*flag),
            (_, Some("true")) => Some(true),
            (_, Some("false")) => Some(false),
            _ => {
                self.wrong(member, "true or false");
                None
            }
        }
    }

    /// A string, or what clients accept in its place.
    fn loose(&mut self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Text(text) => Some(self.ours(text)),
            Value::Whole(number) => Some(number.to_string()),
            Value::Decimal(number) => Some(number.to_string()),
            Value::Flag(flag) => Some(flag.to_string()),
            Value::List(_) | Value::Table(_) | Value::Other(_) => None,
        }
    }

    fn words(&mut self, member: &Member) -> Vec<String> {
        let Value::List(items) = &member.value.value else {
            self.wrong(member, "an array of strings");
            return Vec::new();
        };
        let words: Vec<String> = items.iter().filter_map(|item| self.loose(item)).collect();
        if words.len() < items.len() {
            // Arguments have places: one less would shift the others.
            self.refuse(format!("'{}' holds something that is no string", member.key));
        }
        words
    }

    fn pairs(&mut self, member: &Member) -> Vec<(String, String)> {
        let Value::Table(members) = &member.value.value else {
            self.wrong(member, "a table of strings");
            return Vec::new();
        };
        let mut pairs = Vec::new();
        for pair in members {
            match self.loose(&pair.value) {
                Some(value) => pairs.push((pair.key.clone(), value)),
                None => self.notes.push(format!(
                    "'{}' in '{}' is {}: it is left out",
                    pair.key,
                    member.key,
                    pair.value.kind()
                )),
            }
        }
        pairs
    }

    /// The program, or an array of the program and its arguments.
    pub fn command(&mut self, member: &Member) {
        match &member.value.value {
            Value::List(_) => {
                let mut words = self.words(member);
                if !words.is_empty() {
                    self.program = Some(words.remove(0));
                    self.first = words;
                }
            }
            _ => self.program = self.text(member).filter(|text| !text.trim().is_empty()),
        }
    }

    /// Splits a program that is a whole command line, where the client does.
    pub fn split_command(&mut self) {
        let Some(line) = self.program.as_ref().filter(|_| self.args.is_empty() && self.first.is_empty()) else {
            return;
        };
        if let Some(mut words) = shell::words(line).filter(|words| words.len() > 1) {
            self.program = Some(words.remove(0));
            self.first = words;
        }
    }

    /// The program's arguments.
    pub fn args(&mut self, member: &Member) {
        self.args = self.words(member);
    }

    /// Variables of the program's environment.
    pub fn env(&mut self, member: &Member) {
        self.env = self.pairs(member);
    }

    /// The URL; `transport` where the key says how to speak to it.
    pub fn url(&mut self, member: &Member, transport: Option<&'static str>) {
        if let Some(url) = self.text(member).filter(|url| !url.trim().is_empty()) {
            if self.url.is_some() {
                self.notes.push(format!("'{}' is another URL than the one taken: it is left out", member.key));
                return;
            }
            self.url = Some(url.trim().to_owned());
            self.transport = transport.or(self.transport);
        }
    }

    /// A file of variables, which is not read: it would be copied, secrets and all.
    pub fn env_file(&mut self, member: &Member) {
        if let Some(file) = self.text(member) {
            self.notes.push(format!("the variables in '{file}' are not read: set them, or add them to env"));
        }
    }

    /// Headers of every request.
    pub fn headers(&mut self, member: &Member) {
        let pairs = self.pairs(member);
        self.headers.extend(pairs);
    }

    /// One header, the value in our form already.
    pub fn header(&mut self, name: &str, value: String) {
        self.headers.push((name.to_owned(), value));
    }

    /// The names of headers and the variables that hold their values.
    pub fn headers_from_variables(&mut self, member: &Member) {
        for (name, variable) in self.pairs(member) {
            self.header(&name, format!("${{{variable}}}"));
        }
    }

    /// How the server is reached.
    pub fn kind(&mut self, member: &Member) {
        let Some(word) = member.value.as_text() else { return self.wrong(member, "a string") };
        match word.to_lowercase().replace(['-', '_'], "").as_str() {
            "stdio" | "local" | "command" => self.is_command = Some(true),
            "http" | "streamablehttp" => {
                self.is_command = Some(false);
                self.transport = Some("http");
            }
            "sse" => {
                self.is_command = Some(false);
                self.transport = Some("sse");
            }
            "remote" | "url" | "auto" => self.is_command = Some(false),
            _ => self.refuse(format!("its {} is '{word}', which mcpipe does not speak", member.key)),
        }
    }

    /// A key of ours with a text that is ready.
    pub fn put(&mut self, key: &'static str, value: Value) {
        self.ready.retain(|(other, _)| *other != key);
        self.ready.push((key, value));
    }

    /// A time in milliseconds or seconds.
    pub fn time(&mut self, key: &'static str, member: &Member, millis_each: f64) {
        let millis = match member.value.value {
            Value::Whole(number) => number as f64 * millis_each,
            Value::Decimal(number) => number * millis_each,
            _ => return self.wrong(member, "a number"),
        };
        if !(millis.is_finite() && millis >= 1.0) {
            self.notes.push(format!("'{}' is no time to wait: it is left out", member.key));
            return;
        }
        let millis = millis.round();
        let text = if millis % 1000.0 == 0.0 { format!("{}s", millis / 1000.0) } else { format!("{millis}ms") };
        self.put(key, Value::Text(text));
    }

    /// Names of tools that may or may not be used, which here are globs.
    pub fn tools(&mut self, key: &'static str, member: &Member) {
        let Value::List(items) = &member.value.value else { return self.wrong(member, "an array of strings") };
        let names: Option<Vec<Node>> =
            items.iter().map(|item| Some(text_node(literal(&exactly(item.as_text()?)), item.at))).collect();
        match names {
            Some(names) => self.put(key, Value::List(names)),
            // Dropping the list would open what was closed.
            None => self.refuse(format!("'{}' holds something that is no string", member.key)),
        }
    }

    /// A revision of the protocol.
    pub fn protocol(&mut self, member: &Member) {
        match self.text(member) {
            Some(word) if Pin::parse(&word).is_ok() => self.put("protocol", Value::Text(word)),
            Some(word) => self.notes.push(format!("'{word}' is no revision mcpipe speaks: it is left out")),
            None => {}
        }
    }

    /// A key of `auth`.
    pub fn auth(&mut self, key: &'static str, value: Value) {
        self.auth.retain(|(other, _)| *other != key);
        self.auth.push((key, value));
    }

    /// A table of OAuth settings under the client's names; what is not among `names` is left out and said.
    pub fn oauth(&mut self, member: &Member, names: &[(&str, &'static str)]) {
        let Value::Table(members) = &member.value.value else {
            if self.flag(member) == Some(false) {
                self.notes
                    .push("the client is told not to log in; mcpipe logs in only when the server asks".to_owned());
            }
            return;
        };
        for inner in members {
            match names.iter().find(|(theirs, _)| *theirs == inner.key) {
                Some((_, ours)) => self.oauth_key(ours, inner),
                None if inner.key == "enabled" => {}
                None => self.leave_out(&format!("{}.{}", member.key, inner.key)),
            }
        }
    }

    /// One OAuth setting.
    pub fn oauth_key(&mut self, ours: &'static str, member: &Member) {
        match ours {
            "scopes" => {
                let scopes = match &member.value.value {
                    Value::Text(text) => text.split([' ', ',']).filter(|word| !word.is_empty()).map(literal).collect(),
                    _ => self.words(member),
                };
                if !scopes.is_empty() {
                    self.auth(ours, texts(scopes, member.at));
                }
            }
            "redirect_port" => match redirect_port(&member.value) {
                Some(port) => self.auth(ours, Value::Whole(i64::from(port))),
                None => self.leave_out(&member.key),
            },
            _ => {
                if let Some(text) = self.text(member).filter(|text| !text.is_empty()) {
                    self.auth(ours, Value::Text(text));
                }
            }
        }
    }
}

/// OAuth settings as most clients name them.
pub(super) const OAUTH: &[(&str, &str)] = &[
    ("clientId", "client_id"),
    ("client_id", "client_id"),
    ("clientSecret", "client_secret"),
    ("client_secret", "client_secret"),
    ("scope", "scopes"),
    ("scopes", "scopes"),
    ("callbackPort", "redirect_port"),
    ("callback_port", "redirect_port"),
    ("redirectUri", "redirect_port"),
    ("redirect_uri", "redirect_port"),
    ("clientMetadataUrl", "client_metadata_url"),
];

/// A glob that matches this name alone.
fn exactly(name: &str) -> String {
    let mut made = String::new();
    for c in name.chars() {
        match c {
            '*' | '?' | '[' | '{' | '}' | ']' | '\\' => made.extend(['[', c, ']']),
            _ => made.push(c),
        }
    }
    made
}

/// A port, or the port of a redirect to this machine.
fn redirect_port(node: &Node) -> Option<u16> {
    match &node.value {
        Value::Whole(port) => u16::try_from(*port).ok().filter(|port| *port > 0),
        Value::Text(text) => url::Url::parse(text).ok().filter(is_loopback)?.port(),
        _ => None,
    }
}

fn text_node(text: String, at: usize) -> Node {
    Node { value: Value::Text(text), at }
}

/// An array of strings.
pub(super) fn texts(words: Vec<String>, at: usize) -> Value {
    Value::List(words.into_iter().map(|word| text_node(word, at)).collect())
}
