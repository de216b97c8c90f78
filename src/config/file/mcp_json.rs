//! The `.mcp.json` of a project, and any JSON file with `mcpServers`, `servers` or servers at its top level.
//!
//! Its entries become entries with mcpipe's own keys that keep their lines. Other clients use such files too, so
//! unknown keys are noted and are not errors.

use std::time::Duration;

use super::client_forms::{OAUTH_KEYS, issuer_of, server_container, split_command};
use super::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::oauth::RedirectUri;
use crate::config::origin::ConfigDiagnostic;
use crate::config::origin::ConfigFile;
use crate::env::programs::looks_like_path;
use crate::util::duration::duration_literal;

/// The servers of a JSON file, and what was ignored.
#[derive(Debug, Default)]
pub struct TranslatedServers {
    /// The servers with their keys.
    pub servers: Vec<ConfigMember>,
    /// What was ignored.
    pub notes: Vec<ConfigDiagnostic>,
}

/// Values of `type` and `transport`, and what they mean here; `None` if the command or the URL already implies it.
const TRANSPORT_TYPES: [(&str, Option<&str>); 9] = [
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
/// If it contains no object of servers.
pub fn translate_file(source: &ConfigFile, root: &ConfigNode) -> Result<TranslatedServers, ConfigDiagnostic> {
    if !matches!(root.value, ConfigValue::Table(_)) {
        return Err(ConfigDiagnostic::at(
            source,
            root.offset,
            format!("expected an object, found {}", root.type_name()),
        ));
    }
    let mut out = TranslatedServers::default();
    let Some(container) = server_container(root) else {
        if root.members().is_empty() {
            return Ok(out);
        }
        return Err(ConfigDiagnostic::at(source, root.offset, "the file has neither 'mcpServers' nor 'servers'"));
    };
    if !matches!(container.value.value, ConfigValue::Table(_)) {
        let message = format!("'{}' must be an object, not {}", container.key, container.value.type_name());
        return Err(ConfigDiagnostic::at(source, container.value.offset, message));
    }
    for entry in container.value.members() {
        let name = if is_typeable(&entry.key) { entry.key.clone() } else { sanitize_name(&entry.key) };
        if out.servers.iter().any(|server| server.key == name) {
            let message = format!("'{}' is ignored: another entry already has the name '{name}'", entry.key);
            out.notes.push(ConfigDiagnostic::at(source, entry.offset, message));
            continue;
        }
        let value = translate_server(source, &entry.key, &entry.value, &mut out.notes);
        out.servers.push(ConfigMember { key: name, offset: entry.offset, value });
    }
    Ok(out)
}

/// Whether a server of this name is found by it: it is neither a URL, nor a path, nor an option, and quotes suffice to
/// type it.
#[must_use]
pub fn is_typeable(name: &str) -> bool {
    !name.is_empty()
        && name.trim() == name
        && !name.contains(char::is_control)
        && !name.contains("://")
        && !name.starts_with("unix:")
        && !name.starts_with('-')
        && !looks_like_path(name)
}

/// A name that can be typed without quotes as a target: letters, digits, `_`, `-`, `.` and `/`, beginning with
/// a letter or digit.
#[must_use]
pub fn sanitize_name(name: &str) -> String {
    let mut made = String::new();
    for c in name.trim().chars() {
        if c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '/') {
            made.push(c);
        } else if !made.ends_with('-') {
            made.push('-');
        }
    }
    let made = made.trim_matches(|c| matches!(c, '-' | '.' | '/')).to_owned();
    if made.is_empty() { "server".to_owned() } else { made }
}

fn translate_server(
    source: &ConfigFile,
    name: &str,
    entry: &ConfigNode,
    notes: &mut Vec<ConfigDiagnostic>,
) -> ConfigNode {
    if !matches!(entry.value, ConfigValue::Table(_)) {
        return entry.clone();
    }
    let is_url = ["url", "serverUrl", "httpUrl"].iter().any(|key| entry.get(key).is_some());
    let mut members: Vec<ConfigMember> = Vec::new();
    for member in entry.members() {
        if matches!(member.value.value, ConfigValue::Unsupported("null")) {
            continue;
        }
        let put = |key: &str, value: ConfigNode| ConfigMember { key: key.to_owned(), offset: member.offset, value };
        match member.key.as_str() {
            "command" => translate_command(source, name, member, &mut members, notes),
            "args" => match members.iter_mut().find(|other| other.key == "args") {
                Some(ConfigMember { value: ConfigNode { value: ConfigValue::Array(first), .. }, .. }) => {
                    if let ConfigValue::Array(more) = stringify_list(&member.value).value {
                        first.extend(more);
                    }
                }
                _ => members.push(put("args", stringify_list(&member.value))),
            },
            // Gemini CLI prefers `httpUrl`.
            "url" | "serverUrl" if entry.get("httpUrl").is_some_and(|other| other.value.as_str().is_some()) => {}
            "url" | "serverUrl" => members.push(put("url", member.value.clone())),
            "httpUrl" => {
                members.push(put("url", member.value.clone()));
                members.push(put(
                    "transport",
                    ConfigNode { value: ConfigValue::String("http".into()), offset: member.value.offset },
                ));
            }
            // An empty table for the other kind of server is common and means nothing.
            "env" | "headers" if member.value.members().is_empty() && is_url == (member.key == "env") => {}
            "env" | "headers" => members.push(put(&member.key, stringify_map(&member.value))),
            // In milliseconds; Claude Code ignores less than a second.
            "timeout" if let ConfigValue::Integer(millis @ 1000..) = member.value.value => {
                let literal = duration_literal(Duration::from_millis(millis.unsigned_abs()));
                let value = ConfigValue::String(literal);
                members.push(put("timeout", ConfigNode { value, offset: member.value.offset }));
            }
            "cwd" | "disabled" => members.push(put(&member.key, member.value.clone())),
            "enabled" => {
                if member.value.value == ConfigValue::Bool(false) {
                    members.push(put(
                        "disabled",
                        ConfigNode { value: ConfigValue::Bool(true), offset: member.value.offset },
                    ));
                }
            }
            "type" | "transport" => translate_transport(source, name, member, &mut members, notes),
            "oauth" | "auth" if !matches!(member.value.value, ConfigValue::Table(_)) => {
                // `false` and `"oauth"` say what happens anyway: mcpipe logs in if the server requires it.
            }
            "oauth" | "auth" => members.push(put("auth", translate_oauth(source, name, member, notes))),
            "description" | "name" | "alwaysAllow" | "autoApprove" | "trust" | "$schema" => {}
            other => {
                notes.push(ConfigDiagnostic::at(
                    source,
                    member.offset,
                    format!("'{other}' of '{name}' is ignored: mcpipe does not support it"),
                ));
            }
        }
    }
    ConfigNode { value: ConfigValue::Table(members), offset: entry.offset }
}

/// A command is a program, a whole command line, or an array of the program and its arguments.
fn translate_command(
    source: &ConfigFile,
    name: &str,
    member: &ConfigMember,
    members: &mut Vec<ConfigMember>,
    notes: &mut Vec<ConfigDiagnostic>,
) {
    let line = member.value.as_str().and_then(|line| split_command(line, source.directory()));
    let mut words = match (&member.value.value, line) {
        (ConfigValue::Array(words), _) if !words.is_empty() => words.clone(),
        (_, Some(words)) => {
            let message =
                format!("'command' of '{name}' is a command line: it is split into the program and arguments");
            notes.push(ConfigDiagnostic::at(source, member.offset, message));
            let node = |word| ConfigNode { value: ConfigValue::String(word), offset: member.value.offset };
            words.into_iter().map(node).collect()
        }
        _ => return members.push(member.clone()),
    };
    members.push(ConfigMember { key: "command".into(), offset: member.offset, value: words.remove(0) });
    match members.iter_mut().find(|other| other.key == "args") {
        Some(ConfigMember { value: ConfigNode { value: ConfigValue::Array(after), .. }, .. }) => {
            words.append(after);
            *after = words;
        }
        _ if words.is_empty() => {}
        _ => {
            let value = ConfigNode { value: ConfigValue::Array(words), offset: member.value.offset };
            members.push(ConfigMember { key: "args".into(), offset: member.offset, value });
        }
    }
}

fn translate_transport(
    source: &ConfigFile,
    name: &str,
    member: &ConfigMember,
    members: &mut Vec<ConfigMember>,
    notes: &mut Vec<ConfigDiagnostic>,
) {
    let word = member.value.as_str().unwrap_or_default();
    match TRANSPORT_TYPES.iter().find(|(known, _)| *known == word) {
        Some((_, None)) => {}
        Some((_, Some(transport))) => {
            members.retain(|other| other.key != "transport");
            let value = ConfigNode { value: ConfigValue::String((*transport).to_owned()), offset: member.value.offset };
            members.push(ConfigMember { key: "transport".into(), offset: member.offset, value });
        }
        None => {
            let message = format!("'{}' of '{name}' is '{word}', which mcpipe does not support", member.key);
            notes.push(ConfigDiagnostic::at(source, member.offset, message));
        }
    }
}

/// The OAuth settings of Claude Code (`oauth`) and Cursor (`auth`).
fn translate_oauth(
    source: &ConfigFile,
    name: &str,
    section: &ConfigMember,
    notes: &mut Vec<ConfigDiagnostic>,
) -> ConfigNode {
    let mut members: Vec<ConfigMember> = Vec::new();
    for member in section.value.members() {
        let key = OAUTH_KEYS.iter().find(|(theirs, _)| *theirs == member.key).map(|(_, ours)| *ours);
        let translated = match key {
            _ if member.key == "enabled" || matches!(member.value.value, ConfigValue::Unsupported("null")) => continue,
            Some(key) => translate_oauth_value(key, &member.value),
            None => None,
        };
        let Some((key, value)) = translated else {
            let message =
                format!("'{}.{}' of '{name}' is ignored: mcpipe does not support it", section.key, member.key);
            notes.push(ConfigDiagnostic::at(source, member.offset, message));
            continue;
        };
        members.retain(|other| other.key != key);
        members.push(ConfigMember { key: key.to_owned(), offset: member.offset, value });
    }
    ConfigNode { value: ConfigValue::Table(members), offset: section.value.offset }
}

/// A setting with mcpipe's key; `None` if its value has no counterpart here.
fn translate_oauth_value(key: &'static str, node: &ConfigNode) -> Option<(&'static str, ConfigNode)> {
    let at = node.offset;
    let string = |text: String| ConfigNode { value: ConfigValue::String(text), offset: at };
    match (key, &node.value) {
        ("scopes", ConfigValue::String(text)) => {
            let words = text.split([' ', ',']).filter(|word| !word.is_empty()).map(|word| string(word.to_owned()));
            Some((key, ConfigNode { value: ConfigValue::Array(words.collect()), offset: at }))
        }
        ("redirect_port", ConfigValue::Integer(port)) => {
            let port = u16::try_from(*port).ok().filter(|port| *port > 0)?;
            Some(("redirect_uri", string(RedirectUri::localhost(port).uri().to_owned())))
        }
        ("redirect_uri", ConfigValue::String(text)) => RedirectUri::parse(text).is_ok().then(|| (key, node.clone())),
        ("metadata_url", node) => {
            let ConfigValue::String(url) = node else { return None };
            issuer_of(url).map(|issuer| ("issuer", string(issuer)))
        }
        _ => Some((key, node.clone())),
    }
}

/// Numbers and booleans instead of strings, which are common in JSON files.
fn scalar_to_string(node: &ConfigNode) -> ConfigNode {
    let value = match &node.value {
        ConfigValue::Integer(number) => ConfigValue::String(number.to_string()),
        ConfigValue::Float(number) => ConfigValue::String(number.to_string()),
        ConfigValue::Bool(flag) => ConfigValue::String(flag.to_string()),
        other => other.clone(),
    };
    ConfigNode { value, offset: node.offset }
}

fn stringify_list(node: &ConfigNode) -> ConfigNode {
    match &node.value {
        ConfigValue::Array(items) => {
            ConfigNode { value: ConfigValue::Array(items.iter().map(scalar_to_string).collect()), offset: node.offset }
        }
        _ => node.clone(),
    }
}

fn stringify_map(node: &ConfigNode) -> ConfigNode {
    match &node.value {
        ConfigValue::Table(members) => {
            let loosened = members
                .iter()
                .map(|member| ConfigMember { value: scalar_to_string(&member.value), ..member.clone() })
                .collect();
            ConfigNode { value: ConfigValue::Table(loosened), offset: node.offset }
        }
        _ => node.clone(),
    }
}
