//! The keys of a configuration file: one table, from which checking, reading, the JSON Schema and
//! `config get` all follow.

use std::sync::Arc;

use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::origin::{ConfigDiagnostic, ConfigFile};
use crate::config::value::expand;
use crate::config::value::expand::ExpandError;
use crate::protocol::revision::RevisionPin;
use crate::transport::HttpMode;
use crate::util::duration::parse_duration;

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    /// A string.
    String,
    /// A string that names a file or directory, relative to the configuration file.
    Path,
    /// An array of strings.
    StringList,
    /// A table of strings.
    StringMap,
    /// True or false.
    Bool,
    /// A time: `"30s"`, or a number of seconds.
    Duration,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A revision of the protocol, or `auto` or `legacy`.
    Revision,
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// True, false, or an array of names.
    InheritEnv,
    /// A table with these keys.
    Section(&'static [ConfigKey]),
}

/// For which servers a key has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppliesTo {
    /// All.
    Both,
    /// Those started as a command.
    Command,
    /// Those behind a URL.
    Url,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigKey {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub key_type: KeyType,
    /// Where it has a meaning.
    pub applies_to: AppliesTo,
    /// Whether a project file may set it without being trusted: it starts nothing, sends nothing.
    pub allowed_untrusted: bool,
    /// What it is for, in one sentence.
    pub help: &'static str,
}

const fn key(name: &'static str, kind: KeyType, fits: AppliesTo, help: &'static str) -> ConfigKey {
    ConfigKey { name, key_type: kind, applies_to: fits, allowed_untrusted: false, help }
}

const fn untrusted_key(name: &'static str, kind: KeyType, fits: AppliesTo, help: &'static str) -> ConfigKey {
    ConfigKey { name, key_type: kind, applies_to: fits, allowed_untrusted: true, help }
}

/// The words of `confirm`.
pub const CONFIRM_VALUES: &[&str] = &["never", "destructive", "always"];

/// The words of `transport`.
const TRANSPORT_VALUES: &[&str] = &[HttpMode::Auto.name(), HttpMode::Streamable.name(), HttpMode::Sse.name()];

/// The words of `grant`.
pub const GRANT_VALUES: &[&str] =
    &["authorization_code", "device_code", "client_credentials", "jwt_bearer", "enterprise"];

/// The keys of a file.
pub const FILE_KEYS: &[ConfigKey] = &[
    key("servers", KeyType::Section(&[]), AppliesTo::Both, "The servers, by name."),
    key("defaults", KeyType::Section(DEFAULTS_KEYS), AppliesTo::Both, "What holds for every configured server."),
];

/// The keys of `[servers.NAME]`.
pub const SERVER_KEYS: &[ConfigKey] = &[
    untrusted_key("url", KeyType::String, AppliesTo::Url, "The server's URL: https, http, wss, ws, or unix:PATH."),
    key("command", KeyType::String, AppliesTo::Command, "The program that is the server."),
    key("args", KeyType::StringList, AppliesTo::Command, "The program's arguments."),
    key("env", KeyType::StringMap, AppliesTo::Command, "Variables of the program's environment."),
    key("cwd", KeyType::Path, AppliesTo::Command, "The directory in which the program is started."),
    key(
        "inherit_env",
        KeyType::InheritEnv,
        AppliesTo::Command,
        "Whether the program inherits the environment: true, false, or the names of variables.",
    ),
    key("headers", KeyType::StringMap, AppliesTo::Url, "Headers sent with every request."),
    key("bearer_env", KeyType::String, AppliesTo::Url, "The variable that holds the bearer token."),
    untrusted_key("transport", KeyType::Choice(TRANSPORT_VALUES), AppliesTo::Url, "How to speak to the URL."),
    untrusted_key(
        "protocol",
        KeyType::Revision,
        AppliesTo::Both,
        "The revision of the protocol: auto, legacy, or one such as 2026-07-28.",
    ),
    key("cacert", KeyType::Path, AppliesTo::Url, "Trust the certificate authorities in this PEM file too."),
    key("cert", KeyType::Path, AppliesTo::Url, "Show this client certificate (PEM)."),
    key("key", KeyType::Path, AppliesTo::Url, "The key of the client certificate (PEM)."),
    key("proxy", KeyType::String, AppliesTo::Url, "Use this proxy: http://, https://, socks5:// or socks5h://."),
    key("insecure", KeyType::Bool, AppliesTo::Url, "Check no certificate (dangerous)."),
    key("allow_http", KeyType::Bool, AppliesTo::Url, "Allow plain http or ws to another host than this one."),
    key(
        "unix_socket",
        KeyType::Path,
        AppliesTo::Url,
        "Connect to this Unix socket instead of the URL's host and port.",
    ),
    untrusted_key(
        "allow_tools",
        KeyType::StringList,
        AppliesTo::Both,
        "Globs of the tools that may be used; all where it is left out.",
    ),
    untrusted_key("deny_tools", KeyType::StringList, AppliesTo::Both, "Globs of the tools that may not be used."),
    key("confirm", KeyType::Choice(CONFIRM_VALUES), AppliesTo::Both, "Which calls need consent."),
    untrusted_key("timeout", KeyType::Duration, AppliesTo::Both, "How long to wait for an answer; 0 waits for ever."),
    untrusted_key(
        "connect_timeout",
        KeyType::Duration,
        AppliesTo::Both,
        "How long start and negotiation may take; 0 waits for ever.",
    ),
    key("roots", KeyType::StringList, AppliesTo::Both, "Directories offered to the server as roots."),
    untrusted_key("disabled", KeyType::Bool, AppliesTo::Both, "Keep the entry but do not use it."),
    key("auth", KeyType::Section(AUTH_KEYS), AppliesTo::Url, "How to log in."),
];

/// The keys of `[servers.NAME.auth]`.
pub const AUTH_KEYS: &[ConfigKey] = &[
    key("client_id", KeyType::String, AppliesTo::Url, "The registered client."),
    key("client_secret", KeyType::String, AppliesTo::Url, "Its secret; better a reference such as ${VAR}."),
    key("scopes", KeyType::StringList, AppliesTo::Url, "The scopes to ask for."),
    key("grant", KeyType::Choice(GRANT_VALUES), AppliesTo::Url, "How tokens are obtained."),
    key("issuer", KeyType::String, AppliesTo::Url, "The authorization server, where discovery does not find it."),
    key(
        "client_metadata_url",
        KeyType::String,
        AppliesTo::Url,
        "A client ID metadata document used in place of registration.",
    ),
    key(
        "redirect_port",
        KeyType::Integer(1, 65535),
        AppliesTo::Url,
        "The loopback port of the redirect, where it is registered.",
    ),
    key(
        "token_endpoint_auth_method",
        KeyType::Choice(&["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]),
        AppliesTo::Url,
        "How the client shows who it is at the token endpoint.",
    ),
    key("private_key_file", KeyType::Path, AppliesTo::Url, "The key (PEM) that signs client assertions."),
    key(
        "signing_algorithm",
        KeyType::Choice(&["RS256", "PS256", "ES256", "ES384", "EdDSA"]),
        AppliesTo::Url,
        "The algorithm of client assertions.",
    ),
    key("assertion_file", KeyType::Path, AppliesTo::Url, "The file with the assertion of the grant jwt_bearer."),
    key(
        "idp_token_endpoint",
        KeyType::String,
        AppliesTo::Url,
        "The identity provider's token endpoint, for enterprise-managed authorization.",
    ),
    key("idp_client_id", KeyType::String, AppliesTo::Url, "The client at the identity provider."),
    key("id_token_file", KeyType::Path, AppliesTo::Url, "A file that holds the identity provider's ID token."),
    key("dpop", KeyType::Bool, AppliesTo::Url, "Bind tokens to a key (DPoP)."),
    key(
        "allow_unadvertised_pkce",
        KeyType::Bool,
        AppliesTo::Url,
        "Go on where the authorization server does not say that it supports PKCE.",
    ),
];

/// The keys of `[defaults]`.
pub const DEFAULTS_KEYS: &[ConfigKey] = &[
    key("credential_store", KeyType::Choice(&["auto", "keyring", "file"]), AppliesTo::Both, "Where credentials rest."),
    key("confirm", KeyType::Choice(CONFIRM_VALUES), AppliesTo::Both, "Which calls need consent."),
    untrusted_key("timeout", KeyType::Duration, AppliesTo::Both, "How long to wait for an answer; 0 waits for ever."),
    untrusted_key(
        "connect_timeout",
        KeyType::Duration,
        AppliesTo::Both,
        "How long start and negotiation may take; 0 waits for ever.",
    ),
    untrusted_key(
        "color",
        KeyType::Choice(&["auto", "always", "never"]),
        AppliesTo::Both,
        "When a terminal gets colours.",
    ),
    untrusted_key("jobs", KeyType::Integer(1, 65535), AppliesTo::Both, "How many servers `list` asks at a time."),
];

/// The key of this name.
#[must_use]
pub fn find_key<'a>(keys: &'a [ConfigKey], name: &str) -> Option<&'a ConfigKey> {
    keys.iter().find(|key| key.name == name)
}

/// The nearest of these words, where one is near enough to be a slip.
pub fn nearest_match<'a>(word: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = word.chars().count().div_ceil(3).max(1);
    all.into_iter()
        .map(|other| (strsim::damerau_levenshtein(&word.to_lowercase(), &other.to_lowercase()), other))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

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
            format!("{section} must be a table, and is {}", node.type_name()),
        ));
        return;
    }
    for member in node.members() {
        match find_key(keys, &member.key) {
            None => faults.push(unknown_key(source, member.offset, &member.key, keys, section)),
            Some(key) => {
                if let Err((at, message)) = check_value(key, &member.value, source, section, faults) {
                    faults.push(ConfigDiagnostic::at(source, at, format!("'{}' in {section} {message}", key.name)));
                }
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

/// The fault of a key that does not exist, with the nearest that does.
pub fn unknown_key(source: &ConfigFile, at: usize, name: &str, keys: &[ConfigKey], section: &str) -> ConfigDiagnostic {
    let place = if section.is_empty() { String::new() } else { format!(" in {section}") };
    let message = format!("unknown key '{name}'{place}");
    match nearest_match(name, keys.iter().map(|key| key.name)) {
        Some(near) => ConfigDiagnostic::at(source, at, format!("{message}; did you mean '{near}'?")),
        None => {
            let all: Vec<&str> = keys.iter().map(|key| key.name).collect();
            ConfigDiagnostic::at(source, at, message).hint(format!("the keys are {}", all.join(", ")))
        }
    }
}

type ValueError = (usize, String);

fn check_value(
    key: &ConfigKey,
    node: &ConfigNode,
    source: &Arc<ConfigFile>,
    section: &str,
    faults: &mut Vec<ConfigDiagnostic>,
) -> Result<(), ValueError> {
    let must = |what: &str| Err((node.offset, format!("must be {what}, and is {}", node.type_name())));
    match (key.key_type, &node.value) {
        (KeyType::Section(keys), _) => {
            check_table(source, node, keys, &subsection_name(section, key.name), faults);
            Ok(())
        }
        (KeyType::StringList, ConfigValue::Array(items)) => items.iter().try_for_each(|item| match item.as_str() {
            Some(text) => check_references(text, item.offset),
            None => Err((item.offset, format!("must hold strings only, and here is {}", item.type_name()))),
        }),
        (KeyType::StringList, _) => must("an array of strings"),
        (KeyType::StringMap, ConfigValue::Table(members)) => {
            members.iter().try_for_each(|member| match member.value.as_str() {
                Some(text) => check_references(text, member.value.offset),
                None => Err((
                    member.value.offset,
                    format!(
                        "must hold strings only, and '{}' is {}: put it in quotes",
                        member.key,
                        member.value.type_name()
                    ),
                )),
            })
        }
        (KeyType::StringMap, _) => must("a table of strings"),
        (KeyType::Bool, ConfigValue::Bool(_)) | (KeyType::InheritEnv, ConfigValue::Bool(_)) => Ok(()),
        (KeyType::Bool, _) => must("true or false"),
        (KeyType::InheritEnv, ConfigValue::Array(items)) if items.iter().all(|item| item.as_str().is_some()) => Ok(()),
        (KeyType::InheritEnv, _) => must("true, false or an array of names"),
        (KeyType::Integer(least, most), ConfigValue::Integer(number)) if (least..=most).contains(number) => Ok(()),
        (KeyType::Integer(least, most), ConfigValue::Integer(number)) => {
            Err((node.offset, format!("must be from {least} to {most}, and is {number}")))
        }
        (KeyType::Integer(..), _) => must("a whole number"),
        (KeyType::Duration, ConfigValue::Integer(number)) if *number >= 0 => Ok(()),
        (KeyType::Duration, ConfigValue::Float(number)) if number.is_finite() && *number >= 0.0 => Ok(()),
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
        (KeyType::String | KeyType::Path | KeyType::Choice(_) | KeyType::Revision, _) => must("a string"),
    }
}

/// Judges a string without references.
///
/// # Errors
/// What it should be, to follow the key's name.
pub fn check_string(kind: KeyType, text: &str) -> Result<(), String> {
    match kind {
        KeyType::Choice(words) if !words.contains(&text) => {
            let near = nearest_match(text, words.iter().copied());
            let more = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
            Err(format!("must be one of {}, and is '{text}'{more}", words.join(", ")))
        }
        KeyType::Revision => RevisionPin::parse(text).map(|_| ()).map_err(|why| format!("names an {why}")),
        KeyType::Duration => parse_duration(text).map(|_| ()).map_err(|why| format!("is not a duration: {why}")),
        KeyType::String | KeyType::Path if text.is_empty() => Err("is empty".to_owned()),
        _ => Ok(()),
    }
}

fn check_references(text: &str, at: usize) -> Result<(), ValueError> {
    expand::parse_template(text).map(|_| ()).map_err(|problem: ExpandError| (at, format!("cannot be read: {problem}")))
}
