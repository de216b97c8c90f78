//! Checks the tables of a configuration file against the keys that they may have.

use std::sync::Arc;
use std::time::Duration;

use crate::config::bearer::BearerSource;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::keys::{ConfigKey, KeyType, find_key};
use crate::config::oauth::RedirectUri;
use crate::config::origin::{ConfigDiagnostic, ConfigFile};
use crate::config::value::expand;
use crate::config::value::expand::ExpandError;
use crate::protocol::revision::RevisionPin;
use crate::util::duration::parse_duration;
use crate::util::suggest::nearest_name;

/// Checks the members of a table against its keys.
///
/// `section` names the table for messages: `[servers.x]`.
pub fn check_table(
    source: &Arc<ConfigFile>,
    node: &ConfigNode,
    keys: &[ConfigKey],
    section: &str,
    faults: &mut Vec<ConfigDiagnostic>,
) {
    if !matches!(node.value, ConfigValue::Table(_)) {
        faults.push(ConfigDiagnostic::at(
            source,
            node.offset,
            format!("{section} must be a table, not {}", node.type_name()),
        ));
        return;
    }
    for member in node.members() {
        match find_key(keys, &member.key) {
            None => faults.push(unknown_key(source, member.offset, &member.key, keys, section)),
            Some(key) => {
                let errors = value_errors(key, &member.value, source, section, faults);
                faults.extend(errors.into_iter().map(|(at, message)| {
                    ConfigDiagnostic::at(source, at, format!("'{}' in {section} {message}", key.name))
                }));
            }
        }
    }
}

/// The name of a table inside another, for messages.
#[must_use]
pub fn subsection_name(section: &str, name: &str) -> String {
    match section.strip_suffix(']') {
        Some(open) => format!("{open}.{name}]"),
        None => format!("{section}.{name}"),
    }
}

/// Keys of other clients, and what they are here.
const FOREIGN_KEYS: [(&str, &str); 24] = [
    ("enabled", "disabled = true for a server that is not to be used"),
    ("type", "url for a server on the network, command for a program"),
    ("serverUrl", "url"),
    ("httpUrl", "url"),
    ("http_headers", "headers"),
    ("requestInit", "headers"),
    ("environment", "env"),
    ("bearer_token_env_var", "bearer_env"),
    ("bearerTokenEnv", "bearer_env"),
    ("startup_timeout_sec", "connect_timeout"),
    ("startup_timeout_ms", "connect_timeout"),
    ("initTimeout", "connect_timeout"),
    ("tool_timeout_sec", "timeout"),
    ("enabled_tools", "allow_tools"),
    ("includeTools", "allow_tools"),
    ("allowedTools", "allow_tools"),
    ("tools", "allow_tools"),
    ("disabled_tools", "deny_tools"),
    ("disabledTools", "deny_tools"),
    ("excludeTools", "deny_tools"),
    ("alwaysAllow", "confirm = \"never\", which is the default"),
    ("autoApprove", "confirm = \"never\", which is the default"),
    ("trust", "confirm = \"never\", which is the default"),
    ("lifecycle", "keep_alive"),
];

/// The fault of a key that does not exist, with the nearest that does.
pub fn unknown_key(source: &ConfigFile, at: usize, name: &str, keys: &[ConfigKey], section: &str) -> ConfigDiagnostic {
    let place = if section.is_empty() { String::new() } else { format!(" in {section}") };
    let message = format!("unknown key '{name}'{place}");
    if let Some((_, own)) = FOREIGN_KEYS.iter().find(|(foreign, _)| *foreign == name) {
        let key = own.split(' ').next().unwrap_or(own);
        if find_key(keys, key).is_some() {
            return ConfigDiagnostic::at(source, at, message).hint(format!("use {own}"));
        }
    }
    match nearest_name(name, keys.iter().map(|key| key.name)) {
        Some(near) => ConfigDiagnostic::at(source, at, format!("{message}; did you mean '{near}'?")),
        None => {
            let all: Vec<&str> = keys.iter().map(|key| key.name).collect();
            ConfigDiagnostic::at(source, at, message).hint(format!("the keys are {}", all.join(", ")))
        }
    }
}

type ValueError = (usize, String);

/// All errors of a value, of which each item of a list or table may have one.
fn value_errors(
    key: &ConfigKey,
    node: &ConfigNode,
    source: &Arc<ConfigFile>,
    section: &str,
    faults: &mut Vec<ConfigDiagnostic>,
) -> Vec<ValueError> {
    let errors: Vec<Result<(), ValueError>> = match (key.key_type, &node.value) {
        (KeyType::StringList, ConfigValue::Array(items)) => items
            .iter()
            .map(|item| match item.as_str() {
                Some(text) => check_references(text, item.offset),
                None => Err((item.offset, format!("must contain only strings, not {}", item.type_name()))),
            })
            .collect(),
        (KeyType::StringMap, ConfigValue::Table(members)) => members
            .iter()
            .map(|ConfigMember { key, value, .. }| match value.as_str() {
                Some(text) => check_references(text, value.offset),
                None => {
                    let kind = value.type_name();
                    Err((value.offset, format!("must contain only strings, but '{key}' is {kind}: put it in quotes")))
                }
            })
            .collect(),
        _ => vec![check_value(key, node, source, section, faults)],
    };
    errors.into_iter().filter_map(Result::err).collect()
}

fn check_value(
    key: &ConfigKey,
    node: &ConfigNode,
    source: &Arc<ConfigFile>,
    section: &str,
    faults: &mut Vec<ConfigDiagnostic>,
) -> Result<(), ValueError> {
    let must = |what: &str| Err((node.offset, format!("must be {what}, not {}", node.type_name())));
    match (key.key_type, &node.value) {
        (KeyType::Section(keys), _) => {
            check_table(source, node, keys, &subsection_name(section, key.name), faults);
            Ok(())
        }
        (KeyType::StringList, _) => must("an array of strings"),
        (KeyType::StringMap, _) => must("a table of strings"),
        (KeyType::StringOrFalse, ConfigValue::Bool(false)) => Ok(()),
        (KeyType::Bool, ConfigValue::Bool(_)) | (KeyType::InheritEnv, ConfigValue::Bool(_)) => Ok(()),
        (KeyType::Bool, _) => must("true or false"),
        (KeyType::InheritEnv, ConfigValue::Array(items)) if items.iter().all(|item| item.as_str().is_some()) => Ok(()),
        (KeyType::InheritEnv, _) => must("true, false or an array of names"),
        (KeyType::Integer(least, most), ConfigValue::Integer(number)) if (least..=most).contains(number) => Ok(()),
        (KeyType::Integer(least, most), ConfigValue::Integer(number)) => {
            Err((node.offset, format!("must be from {least} to {most}, not {number}")))
        }
        (KeyType::Integer(..), _) => must("a whole number"),
        (KeyType::Duration, ConfigValue::Integer(number)) if *number >= 0 => Ok(()),
        (KeyType::Duration, ConfigValue::Float(number)) if Duration::try_from_secs_f64(*number).is_ok() => Ok(()),
        (KeyType::Duration, ConfigValue::Float(number)) if *number > 0.0 => {
            Err((node.offset, "is too long".to_owned()))
        }
        (KeyType::Duration, ConfigValue::Integer(_) | ConfigValue::Float(_)) => {
            Err((node.offset, "must not be negative".to_owned()))
        }
        (_, ConfigValue::String(text)) => {
            check_references(text, node.offset)?;
            // A word that rules something is no secret, and is read before anything is fetched.
            if !matches!(key.key_type, KeyType::String | KeyType::Path) && !expand::secret_references(text).is_empty() {
                return Err((node.offset, "cannot be a secret".to_owned()));
            }
            // What holds a reference can only be judged when it is used.
            if text.contains("${") {
                Ok(())
            } else {
                check_string(key.key_type, text).map_err(|wrong| (node.offset, wrong))
            }
        }
        (KeyType::Duration, _) => must("a time such as \"30s\""),
        (KeyType::StringOrFalse, _) => must("a string, or false"),
        (
            KeyType::String
            | KeyType::Path
            | KeyType::Choice(_)
            | KeyType::Revision
            | KeyType::RedirectUri
            | KeyType::BearerSource,
            _,
        ) => must("a string"),
    }
}

/// Judges a string without references.
///
/// # Errors
/// What it should be, to follow the key's name.
pub fn check_string(kind: KeyType, text: &str) -> Result<(), String> {
    match kind {
        KeyType::Choice(words) if !words.contains(&text) => {
            let near = nearest_name(text, words.iter().copied());
            let more = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
            Err(format!("must be one of {}, not '{text}'{more}", words.join(", ")))
        }
        KeyType::RedirectUri => RedirectUri::parse(text).map(|_| ()),
        KeyType::BearerSource => BearerSource::parse(text).map(|_| ()),
        KeyType::Revision => RevisionPin::parse(text).map(|_| ()).map_err(|why| format!("names an {why}")),
        KeyType::Duration => parse_duration(text).map(|_| ()).map_err(|why| format!("is not a duration: {why}")),
        KeyType::String | KeyType::Path | KeyType::StringOrFalse if text.is_empty() => Err("is empty".to_owned()),
        _ => Ok(()),
    }
}

fn check_references(text: &str, at: usize) -> Result<(), ValueError> {
    expand::parse_template(text).map(|_| ()).map_err(|problem: ExpandError| (at, format!("is invalid: {problem}")))
}
