//! The keys of a configuration file: one table, from which checking, reading, the JSON Schema and
//! `config get` all follow.

use std::sync::Arc;

use super::expand::{self, Problem};
use super::origins::{Fault, Source};
use super::tree::{Node, Value};
use crate::protocol::revision::Pin;

/// What a key may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string that names a file or directory, relative to the configuration file.
    Path,
    /// An array of strings.
    Texts,
    /// A table of strings.
    Pairs,
    /// True or false.
    Flag,
    /// A time: `"30s"`, or a number of seconds.
    Time,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A revision of the protocol, or `auto` or `legacy`.
    Revision,
    /// A whole number from the first to the second.
    Whole(i64, i64),
    /// True, false, or an array of names.
    Inherit,
    /// A table with these keys.
    Section(&'static [Key]),
}

/// For which servers a key has a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fits {
    /// All.
    Both,
    /// Those started as a command.
    Command,
    /// Those behind a URL.
    Url,
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Where it has a meaning.
    pub fits: Fits,
    /// Whether a project file may set it without being trusted: it starts nothing, sends nothing.
    pub harmless: bool,
    /// What it is for, in one sentence.
    pub help: &'static str,
}

const fn key(name: &'static str, kind: Kind, fits: Fits, help: &'static str) -> Key {
    Key { name, kind, fits, harmless: false, help }
}

const fn harmless(name: &'static str, kind: Kind, fits: Fits, help: &'static str) -> Key {
    Key { name, kind, fits, harmless: true, help }
}

/// The words of `confirm`.
pub const CONFIRM: &[&str] = &["never", "destructive", "always"];

/// The words of `grant`.
pub const GRANTS: &[&str] = &["authorization_code", "device_code", "client_credentials", "jwt_bearer", "enterprise"];

/// The keys of a file.
pub const FILE: &[Key] = &[
    key("servers", Kind::Section(&[]), Fits::Both, "The servers, by name."),
    key("defaults", Kind::Section(DEFAULTS), Fits::Both, "What holds for every configured server."),
];

/// The keys of `[servers.NAME]`.
pub const SERVER: &[Key] = &[
    harmless("url", Kind::Text, Fits::Url, "The server's URL: https, http, wss, ws, or unix:PATH."),
    key("command", Kind::Text, Fits::Command, "The program that is the server."),
    key("args", Kind::Texts, Fits::Command, "The program's arguments."),
    key("env", Kind::Pairs, Fits::Command, "Variables of the program's environment."),
    key("cwd", Kind::Path, Fits::Command, "The directory in which the program is started."),
    key(
        "inherit_env",
        Kind::Inherit,
        Fits::Command,
        "Whether the program inherits the environment: true, false, or the names of variables.",
    ),
    key("headers", Kind::Pairs, Fits::Url, "Headers sent with every request."),
    key("bearer_env", Kind::Text, Fits::Url, "The variable that holds the bearer token."),
    harmless("transport", Kind::Choice(&["auto", "http", "sse"]), Fits::Url, "How to speak to the URL."),
    harmless(
        "protocol",
        Kind::Revision,
        Fits::Both,
        "The revision of the protocol: auto, legacy, or one such as 2026-07-28.",
    ),
    key("cacert", Kind::Path, Fits::Url, "Trust the certificate authorities in this PEM file too."),
    key("cert", Kind::Path, Fits::Url, "Show this client certificate (PEM)."),
    key("key", Kind::Path, Fits::Url, "The key of the client certificate (PEM)."),
    key("proxy", Kind::Text, Fits::Url, "Use this proxy: http://, https://, socks5:// or socks5h://."),
    key("insecure", Kind::Flag, Fits::Url, "Check no certificate (dangerous)."),
    key("allow_http", Kind::Flag, Fits::Url, "Allow plain http or ws to another host than this one."),
    key("unix_socket", Kind::Path, Fits::Url, "Connect to this Unix socket instead of the URL's host and port."),
    harmless("allow_tools", Kind::Texts, Fits::Both, "Globs of the tools that may be used; all where it is left out."),
    harmless("deny_tools", Kind::Texts, Fits::Both, "Globs of the tools that may not be used."),
    key("confirm", Kind::Choice(CONFIRM), Fits::Both, "Which calls need consent."),
    harmless("timeout", Kind::Time, Fits::Both, "How long to wait for an answer; 0 waits for ever."),
    harmless("connect_timeout", Kind::Time, Fits::Both, "How long start and negotiation may take; 0 waits for ever."),
    key("roots", Kind::Texts, Fits::Both, "Directories offered to the server as roots."),
    harmless("disabled", Kind::Flag, Fits::Both, "Keep the entry but do not use it."),
    key("auth", Kind::Section(AUTH), Fits::Url, "How to log in."),
];

/// The keys of `[servers.NAME.auth]`.
pub const AUTH: &[Key] = &[
    key("client_id", Kind::Text, Fits::Url, "The registered client."),
    key("client_secret", Kind::Text, Fits::Url, "Its secret; better a reference such as ${VAR}."),
    key("scopes", Kind::Texts, Fits::Url, "The scopes to ask for."),
    key("grant", Kind::Choice(GRANTS), Fits::Url, "How tokens are obtained."),
    key("issuer", Kind::Text, Fits::Url, "The authorization server, where discovery does not find it."),
    key("client_metadata_url", Kind::Text, Fits::Url, "A client ID metadata document used in place of registration."),
    key(
        "redirect_port",
        Kind::Whole(1, 65535),
        Fits::Url,
        "The loopback port of the redirect, where it is registered.",
    ),
    key(
        "token_endpoint_auth_method",
        Kind::Choice(&["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]),
        Fits::Url,
        "How the client shows who it is at the token endpoint.",
    ),
    key("private_key_file", Kind::Path, Fits::Url, "The key (PEM) that signs client assertions."),
    key(
        "signing_algorithm",
        Kind::Choice(&["RS256", "PS256", "ES256", "ES384", "EdDSA"]),
        Fits::Url,
        "The algorithm of client assertions.",
    ),
    key("assertion_file", Kind::Path, Fits::Url, "The file with the assertion of the grant jwt_bearer."),
    key(
        "idp_token_endpoint",
        Kind::Text,
        Fits::Url,
        "The identity provider's token endpoint, for enterprise-managed authorization.",
    ),
    key("idp_client_id", Kind::Text, Fits::Url, "The client at the identity provider."),
    key("id_token_file", Kind::Path, Fits::Url, "A file that holds the identity provider's ID token."),
    key("dpop", Kind::Flag, Fits::Url, "Bind tokens to a key (DPoP)."),
    key(
        "allow_unadvertised_pkce",
        Kind::Flag,
        Fits::Url,
        "Go on where the authorization server does not say that it supports PKCE.",
    ),
];

/// The keys of `[defaults]`.
pub const DEFAULTS: &[Key] = &[
    key("credential_store", Kind::Choice(&["auto", "keyring", "file"]), Fits::Both, "Where credentials rest."),
    key("confirm", Kind::Choice(CONFIRM), Fits::Both, "Which calls need consent."),
    harmless("timeout", Kind::Time, Fits::Both, "How long to wait for an answer; 0 waits for ever."),
    harmless("connect_timeout", Kind::Time, Fits::Both, "How long start and negotiation may take; 0 waits for ever."),
    harmless("color", Kind::Choice(&["auto", "always", "never"]), Fits::Both, "When a terminal gets colours."),
    harmless("jobs", Kind::Whole(1, 65535), Fits::Both, "How many servers `list` asks at a time."),
];

/// The key of this name.
#[must_use]
pub fn find<'a>(keys: &'a [Key], name: &str) -> Option<&'a Key> {
    keys.iter().find(|key| key.name == name)
}

/// The nearest of these words, where one is near enough to be a slip.
pub fn nearest<'a>(word: &str, all: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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
pub fn check(source: &Arc<Source>, node: &Node, keys: &[Key], section: &str, faults: &mut Vec<Fault>) {
    if !matches!(node.value, Value::Table(_)) {
        faults.push(Fault::new(source, node.at, format!("{section} must be a table, and is {}", node.kind())));
        return;
    }
    for member in node.members() {
        match find(keys, &member.key) {
            None => faults.push(unknown(source, member.at, &member.key, keys, section)),
            Some(key) => {
                if let Err((at, message)) = check_value(key, &member.value, source, section, faults) {
                    faults.push(Fault::new(source, at, format!("'{}' in {section} {message}", key.name)));
                }
            }
        }
    }
}

/// The name of a table inside another, for messages.
#[must_use]
pub fn inside(section: &str, name: &str) -> String {
    match section.strip_suffix(']') {
        Some(open) => format!("{open}.{name}]"),
        None => format!("{section}.{name}"),
    }
}

/// The fault of a key that does not exist, with the nearest that does.
pub fn unknown(source: &Source, at: usize, name: &str, keys: &[Key], section: &str) -> Fault {
    let place = if section.is_empty() { String::new() } else { format!(" in {section}") };
    let message = format!("unknown key '{name}'{place}");
    match nearest(name, keys.iter().map(|key| key.name)) {
        Some(near) => Fault::new(source, at, format!("{message}; did you mean '{near}'?")),
        None => {
            let all: Vec<&str> = keys.iter().map(|key| key.name).collect();
            Fault::new(source, at, message).hint(format!("the keys are {}", all.join(", ")))
        }
    }
}

type Wrong = (usize, String);

fn check_value(
    key: &Key,
    node: &Node,
    source: &Arc<Source>,
    section: &str,
    faults: &mut Vec<Fault>,
) -> Result<(), Wrong> {
    let must = |what: &str| Err((node.at, format!("must be {what}, and is {}", node.kind())));
    match (key.kind, &node.value) {
        (Kind::Section(keys), _) => {
            check(source, node, keys, &inside(section, key.name), faults);
            Ok(())
        }
        (Kind::Texts, Value::List(items)) => items.iter().try_for_each(|item| match item.as_text() {
            Some(text) => well_formed(text, item.at),
            None => Err((item.at, format!("must hold strings only, and here is {}", item.kind()))),
        }),
        (Kind::Texts, _) => must("an array of strings"),
        (Kind::Pairs, Value::Table(members)) => members.iter().try_for_each(|member| match member.value.as_text() {
            Some(text) => well_formed(text, member.value.at),
            None => Err((
                member.value.at,
                format!("must hold strings only, and '{}' is {}: put it in quotes", member.key, member.value.kind()),
            )),
        }),
        (Kind::Pairs, _) => must("a table of strings"),
        (Kind::Flag, Value::Flag(_)) | (Kind::Inherit, Value::Flag(_)) => Ok(()),
        (Kind::Flag, _) => must("true or false"),
        (Kind::Inherit, Value::List(items)) if items.iter().all(|item| item.as_text().is_some()) => Ok(()),
        (Kind::Inherit, _) => must("true, false or an array of names"),
        (Kind::Whole(least, most), Value::Whole(number)) if (least..=most).contains(number) => Ok(()),
        (Kind::Whole(least, most), Value::Whole(number)) => {
            Err((node.at, format!("must be from {least} to {most}, and is {number}")))
        }
        (Kind::Whole(..), _) => must("a whole number"),
        (Kind::Time, Value::Whole(number)) if *number >= 0 => Ok(()),
        (Kind::Time, Value::Decimal(number)) if number.is_finite() && *number >= 0.0 => Ok(()),
        (Kind::Time, Value::Whole(_) | Value::Decimal(_)) => Err((node.at, "must not be negative".to_owned())),
        (_, Value::Text(text)) => {
            well_formed(text, node.at)?;
            // A word that rules something is no secret, and is read before anything is fetched.
            if !matches!(key.kind, Kind::Text | Kind::Path) && !expand::secrets(text).is_empty() {
                return Err((node.at, "cannot be a secret".to_owned()));
            }
            // What holds a reference can only be judged when it is used.
            if text.contains("${") { Ok(()) } else { check_text(key.kind, text).map_err(|wrong| (node.at, wrong)) }
        }
        (Kind::Time, _) => must("a time such as \"30s\""),
        (Kind::Text | Kind::Path | Kind::Choice(_) | Kind::Revision, _) => must("a string"),
    }
}

/// Judges a string without references.
///
/// # Errors
/// What it should be, to follow the key's name.
pub fn check_text(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Choice(words) if !words.contains(&text) => {
            let near = nearest(text, words.iter().copied());
            let more = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
            Err(format!("must be one of {}, and is '{text}'{more}", words.join(", ")))
        }
        Kind::Revision => Pin::parse(text).map(|_| ()).map_err(|why| format!("names an {why}")),
        Kind::Time => parse_time(text).map(|_| ()).map_err(|why| format!("is no time: {why}")),
        Kind::Text | Kind::Path if text.is_empty() => Err("is empty".to_owned()),
        _ => Ok(()),
    }
}

fn well_formed(text: &str, at: usize) -> Result<(), Wrong> {
    expand::pieces(text).map(|_| ()).map_err(|problem: Problem| (at, format!("cannot be read: {problem}")))
}

/// Reads `500ms`, `30s`, `2m`, `1h`, or a bare number of seconds.
///
/// # Errors
/// What is allowed.
pub fn parse_time(text: &str) -> Result<std::time::Duration, String> {
    let wrong = || "use a number and ms, s, m or h, such as 500ms, 30s or 2m".to_owned();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.trim().parse().map_err(|_| wrong())?;
    std::time::Duration::try_from_secs_f64(number * factor).map_err(|_| wrong())
}
