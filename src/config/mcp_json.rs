//! The `.mcp.json` of a project, and any JSON file with `mcpServers` or `servers`.
//!
//! Its entries become entries of mcpipe's own keys, each still knowing its line. Such files belong to
//! other clients too, so keys that mean nothing here are noted, never a fault.

use super::origins::Fault;
use super::origins::Source;
use super::tree::{Member, Node, Value};

/// The servers of a JSON file and what was passed over.
#[derive(Debug, Default)]
pub struct Translated {
    /// The servers under their keys.
    pub servers: Vec<Member>,
    /// What was passed over.
    pub notes: Vec<Fault>,
}

/// The member that holds the servers.
const CONTAINERS: [&str; 2] = ["mcpServers", "servers"];

/// Words of `type` and `transport` and what they mean here; `None` where the command or the URL says it all.
const TYPES: [(&str, Option<&str>); 9] = [
    ("stdio", None),
    ("local", None),
    ("ws", None),
    ("websocket", None),
    ("http", Some("http")),
    ("streamable-http", Some("http")),
    ("streamableHttp", Some("http")),
    ("remote", Some("auto")),
    ("sse", Some("sse")),
];

/// Translates a file.
///
/// # Errors
/// Where there is no object of servers in it.
pub fn translate(source: &Source, root: &Node) -> Result<Translated, Fault> {
    if !matches!(root.value, Value::Table(_)) {
        return Err(Fault::new(source, root.at, format!("the file must hold an object, and holds {}", root.kind())));
    }
    let mut out = Translated::default();
    let Some(container) = CONTAINERS.iter().find_map(|name| root.get(name)) else {
        if root.members().is_empty() {
            return Ok(out);
        }
        return Err(Fault::new(source, root.at, "there is neither 'mcpServers' nor 'servers' in the file"));
    };
    if !matches!(container.value.value, Value::Table(_)) {
        let message = format!("'{}' must be an object, and is {}", container.key, container.value.kind());
        return Err(Fault::new(source, container.value.at, message));
    }
    for entry in container.value.members() {
        let name = valid_name(&entry.key);
        if out.servers.iter().any(|server| server.key == name) {
            let message = format!("'{}' is left out, since another entry is called '{name}' here", entry.key);
            out.notes.push(Fault::new(source, entry.at, message));
            continue;
        }
        let value = server(source, &entry.key, &entry.value, &mut out.notes);
        out.servers.push(Member { key: name, at: entry.at, value });
    }
    Ok(out)
}

/// A name that can be typed as a target: letters, digits, `_`, `-` and `.`, beginning with a letter or digit.
#[must_use]
pub fn valid_name(name: &str) -> String {
    let mut made = String::new();
    for c in name.trim().chars() {
        if c.is_alphanumeric() || matches!(c, '_' | '-' | '.') {
            made.push(c);
        } else if !made.ends_with('-') {
            made.push('-');
        }
    }
    let made = made.trim_matches(|c| matches!(c, '-' | '.')).to_owned();
    if made.is_empty() { "server".to_owned() } else { made }
}

fn server(source: &Source, name: &str, entry: &Node, notes: &mut Vec<Fault>) -> Node {
    if !matches!(entry.value, Value::Table(_)) {
        return entry.clone();
    }
    let is_url = ["url", "serverUrl", "httpUrl"].iter().any(|key| entry.get(key).is_some());
    let mut members: Vec<Member> = Vec::new();
    for member in entry.members() {
        if matches!(member.value.value, Value::Other("null")) {
            continue;
        }
        let put = |key: &str, value: Node| Member { key: key.to_owned(), at: member.at, value };
        match member.key.as_str() {
            "command" => command(member, &mut members),
            "args" => match members.iter_mut().find(|other| other.key == "args") {
                Some(Member { value: Node { value: Value::List(first), .. }, .. }) => {
                    if let Value::List(more) = texts(&member.value).value {
                        first.extend(more);
                    }
                }
                _ => members.push(put("args", texts(&member.value))),
            },
            "url" | "serverUrl" => members.push(put("url", member.value.clone())),
            "httpUrl" => {
                members.push(put("url", member.value.clone()));
                members.push(put("transport", Node { value: Value::Text("http".into()), at: member.value.at }));
            }
            // An empty table for the other kind of server is common and says nothing.
            "env" | "headers" if member.value.members().is_empty() && is_url == (member.key == "env") => {}
            "env" | "headers" => members.push(put(&member.key, pairs(&member.value))),
            "cwd" | "disabled" => members.push(put(&member.key, member.value.clone())),
            "enabled" => {
                if member.value.value == Value::Flag(false) {
                    members.push(put("disabled", Node { value: Value::Flag(true), at: member.value.at }));
                }
            }
            "type" | "transport" => kind(source, name, member, &mut members, notes),
            "oauth" => members.push(put("auth", oauth(source, name, &member.value, notes))),
            "description" | "name" | "alwaysAllow" | "autoApprove" | "trust" | "$schema" => {}
            other => {
                notes.push(Fault::new(source, member.at, format!("'{other}' of '{name}' means nothing to mcpipe")));
            }
        }
    }
    Node { value: Value::Table(members), at: entry.at }
}

/// A command is a string, or an array of the program and its arguments.
fn command(member: &Member, members: &mut Vec<Member>) {
    let Value::List(words) = &member.value.value else {
        members.push(member.clone());
        return;
    };
    let mut words = words.clone();
    if words.is_empty() {
        members.push(member.clone());
        return;
    }
    members.push(Member { key: "command".into(), at: member.at, value: words.remove(0) });
    match members.iter_mut().find(|other| other.key == "args") {
        Some(Member { value: Node { value: Value::List(after), .. }, .. }) => {
            words.append(after);
            *after = words;
        }
        _ if words.is_empty() => {}
        _ => {
            let value = Node { value: Value::List(words), at: member.value.at };
            members.push(Member { key: "args".into(), at: member.at, value });
        }
    }
}

fn kind(source: &Source, name: &str, member: &Member, members: &mut Vec<Member>, notes: &mut Vec<Fault>) {
    let word = member.value.as_text().unwrap_or_default();
    match TYPES.iter().find(|(known, _)| *known == word) {
        Some((_, None)) => {}
        Some((_, Some(transport))) => {
            members.retain(|other| other.key != "transport");
            let value = Node { value: Value::Text((*transport).to_owned()), at: member.value.at };
            members.push(Member { key: "transport".into(), at: member.at, value });
        }
        None => {
            let message = format!("'{}' of '{name}' is '{word}', which mcpipe does not speak", member.key);
            notes.push(Fault::new(source, member.at, message));
        }
    }
}

/// `oauth = {clientId, clientSecret, callbackPort, scopes}` as Claude Code writes it.
fn oauth(source: &Source, name: &str, entry: &Node, notes: &mut Vec<Fault>) -> Node {
    if !matches!(entry.value, Value::Table(_)) {
        return entry.clone();
    }
    let mut members = Vec::new();
    for member in entry.members() {
        let mut value = member.value.clone();
        let key = match member.key.as_str() {
            "clientId" => "client_id",
            "clientSecret" => "client_secret",
            "callbackPort" => "redirect_port",
            "clientMetadataUrl" => "client_metadata_url",
            "scopes" | "scope" => {
                if let Value::Text(text) = &value.value {
                    let at = value.at;
                    let each = text.split_whitespace().map(|word| Node { value: Value::Text(word.to_owned()), at });
                    value = Node { value: Value::List(each.collect()), at };
                }
                "scopes"
            }
            other => {
                let message = format!("'oauth.{other}' of '{name}' means nothing to mcpipe");
                notes.push(Fault::new(source, member.at, message));
                continue;
            }
        };
        members.push(Member { key: key.to_owned(), at: member.at, value });
    }
    Node { value: Value::Table(members), at: entry.at }
}

/// Numbers and booleans where strings belong, as JSON files often have them.
fn loose(node: &Node) -> Node {
    let value = match &node.value {
        Value::Whole(number) => Value::Text(number.to_string()),
        Value::Decimal(number) => Value::Text(number.to_string()),
        Value::Flag(flag) => Value::Text(flag.to_string()),
        other => other.clone(),
    };
    Node { value, at: node.at }
}

fn texts(node: &Node) -> Node {
    match &node.value {
        Value::List(items) => Node { value: Value::List(items.iter().map(loose).collect()), at: node.at },
        _ => node.clone(),
    }
}

fn pairs(node: &Node) -> Node {
    match &node.value {
        Value::Table(members) => {
            let loosened =
                members.iter().map(|member| Member { value: loose(&member.value), ..member.clone() }).collect();
            Node { value: Value::Table(loosened), at: node.at }
        }
        _ => node.clone(),
    }
}
