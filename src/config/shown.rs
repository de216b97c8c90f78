//! What of a configured value may be shown: never a secret, always enough to recognise it.

use super::expand::{self, Piece};
use crate::env::Environment;
use crate::env::programs::{begins_as_path, behind_drive};
use crate::secret::REDACTED;
use crate::shell::words;

/// A value as it may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The text, secrets hidden.
    pub text: String,
    /// Whether something was hidden.
    pub hidden: bool,
}

/// How much of a value is a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Care {
    /// It is none, but what a variable of a telling name holds is.
    Plain,
    /// It may be one: the value of a header or a variable. Only what cannot be one is shown.
    Named,
    /// It is one.
    Secret,
}

/// Whether what goes by this name is probably a secret.
#[must_use]
pub fn speaks_of_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let inside = ["auth", "token", "key", "secret", "passw", "passphrase", "pwd", "credential", "cookie", "session"];
    let whole = ["pass", "sig", "signature", "jwt", "pat", "pin", "creds", "dsn"];
    inside.iter().any(|word| name.contains(word))
        || name.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| whole.contains(&part))
}

/// A string as it may be shown: references are resolved where that gives nothing away, and stand as
/// they are written otherwise. Without `environment` none is resolved.
#[must_use]
pub fn value(text: &str, name: &str, care: Care, environment: Option<&Environment>) -> Shown {
    let mut out = Shown { text: String::new(), hidden: false };
    let Ok(pieces) = expand::pieces(text) else { return literal(text, name, care) };
    let alone = pieces.len() == 1;
    let telling = care == Care::Secret || (care == Care::Named && speaks_of_secret(name));
    for piece in pieces {
        match piece {
            Piece::Literal(part) if !alone && is_scheme(part) => out.text.push_str(part),
            Piece::Literal(part) => {
                let shown = literal(part, name, care);
                out.text.push_str(&shown.text);
                out.hidden |= shown.hidden;
            }
            // A reference says where a secret is, and nothing about it.
            Piece::Keychain(secret) => out.text.push_str(&format!("${{keychain:{secret}}}")),
            Piece::Command(line) => {
                let shown = command(line);
                out.text.push_str(&format!("${{command:{}}}", shown.text));
                out.hidden |= shown.hidden;
            }
            Piece::Variable(variable, default) => {
                let resolved = environment
                    .filter(|_| !telling && !speaks_of_secret(variable))
                    .and_then(|environment| environment.raw(variable));
                let resolved = resolved.map(|held| literal(held, name, care)).filter(|shown| !shown.hidden);
                match (resolved, default) {
                    (Some(shown), None) => out.text.push_str(&shown.text),
                    (Some(shown), Some(_)) if !shown.text.is_empty() => out.text.push_str(&shown.text),
                    (_, None) => out.text.push_str(&format!("${{{variable}}}")),
                    (_, Some(default)) => {
                        let shown = value(default, name, care, None);
                        out.text.push_str(&format!("${{{variable}:-{}}}", shown.text));
                        out.hidden |= shown.hidden;
                    }
                }
            }
        }
    }
    out
}

/// A command line as it is written, unless one of its words is a secret itself.
fn command(line: &str) -> Shown {
    let words = words(line).unwrap_or_default();
    let shown = arguments(&words.iter().map(String::as_str).collect::<Vec<_>>(), None);
    if shown.iter().any(|word| word.hidden) {
        let words: Vec<String> = shown.into_iter().map(|word| word.text).collect();
        Shown { text: words.join(" "), hidden: true }
    } else {
        Shown { text: line.to_owned(), hidden: false }
    }
}

fn literal(text: &str, name: &str, care: Care) -> Shown {
    let safe = match care {
        Care::Plain => return Shown { hidden: false, text: text.to_owned() }.masked(),
        Care::Named => !speaks_of_secret(name) && is_harmless(text),
        Care::Secret => text.is_empty(),
    };
    if safe { Shown { text: text.to_owned(), hidden: false } } else { Shown { text: REDACTED.into(), hidden: true } }
}

impl Shown {
    /// Hides the password and telling parameters of a URL.
    fn masked(self) -> Self {
        let text = url(&self.text);
        Shown { hidden: self.hidden || text != self.text, text }
    }
}

/// The word that comes before a token in `Authorization`.
fn is_scheme(text: &str) -> bool {
    ["bearer", "basic", "token", "apikey", "digest"].contains(&text.trim().to_ascii_lowercase().as_str())
}

/// What no secret looks like: a switch, a small number, a plain word or a path.
fn is_harmless(text: &str) -> bool {
    let short_number = text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let word = text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let switch = ["true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    text.is_empty() || short_number || word || is_path(text) || switch
}

/// What names a file or a directory, and holds nothing else.
#[must_use]
pub fn is_path(text: &str) -> bool {
    let place = behind_drive(text).filter(|_| cfg!(windows)).unwrap_or(text);
    begins_as_path(text) && !place.contains(['@', '?', '=', ':', '&'])
}

/// A URL (or any text) without password and without the values of telling parameters.
#[must_use]
pub fn url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) => format!("{REDACTED}@{host}"),
        None => authority.to_owned(),
    };
    let Some((path, query)) = tail.split_once('?') else { return format!("{scheme}://{authority}{tail}") };
    let parts: Vec<String> = query
        .split('&')
        .map(|part| match part.split_once('=') {
            Some((name, held)) if speaks_of_secret(name) && !held.starts_with("${") => format!("{name}={REDACTED}"),
            _ => part.to_owned(),
        })
        .collect();
    format!("{scheme}://{authority}{path}?{}", parts.join("&"))
}

/// The arguments of a program: hides what follows a telling option, a telling `NAME=VALUE` or `Name: value`.
#[must_use]
pub fn arguments(args: &[&str], environment: Option<&Environment>) -> Vec<Shown> {
    let mut secret_next = false;
    let mut all = Vec::new();
    for arg in args {
        let care = if std::mem::take(&mut secret_next) { Care::Secret } else { Care::Plain };
        let shown = match arg.split_once(['=', ':']) {
            Some((name, _)) if care == Care::Plain && speaks_of_secret(name) && !name.contains(['/', ' ', '{']) => {
                let (head, held) = arg.split_at(name.len() + 1);
                let blank = held.len() - held.trim_start().len();
                let shown = value(&held[blank..], name, Care::Secret, environment);
                Shown { text: format!("{head}{}{}", &held[..blank], shown.text), hidden: shown.hidden }
            }
            _ => value(arg, "", care, environment),
        };
        secret_next = arg.starts_with('-') && !arg.contains('=') && speaks_of_secret(arg);
        all.push(shown);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn run(text: &str, name: &str, care: Care) -> String {
        let environment = Environment::new([("TEAM", "core"), ("API_TOKEN", "s3cret")], Path::new("/"));
        value(text, name, care, Some(&environment)).text
    }

    #[test]
    fn references_are_resolved_unless_they_hold_a_secret() {
        assert_eq!(run("https://${TEAM}.example/", "url", Care::Plain), "https://core.example/");
        assert_eq!(run("https://a/${API_TOKEN}", "url", Care::Plain), "https://a/${API_TOKEN}");
        assert_eq!(run("${TEAM}", "X-Team", Care::Named), "core");
        assert_eq!(run("Bearer ${API_TOKEN}", "Authorization", Care::Named), "Bearer ${API_TOKEN}");
        assert_eq!(run("Bearer ${TEAM}", "Authorization", Care::Named), "Bearer ${TEAM}");
        assert_eq!(run("${NOPE}", "X-Team", Care::Named), "${NOPE}");
        assert_eq!(run("${NOPE:-dflt}", "X-Team", Care::Named), "${NOPE:-dflt}");
        assert_eq!(run("${NOPE:-hunter2}", "client_secret", Care::Secret), "${NOPE:-[redacted]}");
        let command = "Bearer ${command:op read 'op://a b'}";
        assert_eq!(run(command, "Authorization", Care::Named), command);
        assert_eq!(run("${keychain:k}", "client_secret", Care::Secret), "${keychain:k}");
        assert_eq!(run("${command:x --token abc}", "X", Care::Named), "${command:x --token [redacted]}");
    }

    #[test]
    fn literals_are_shown_only_where_they_can_be_no_secret() {
        for (text, name, shown) in [
            ("1", "DEBUG", true),
            ("debug", "LOG_LEVEL", true),
            ("/srv/data", "DATA_DIR", true),
            ("true", "X_ON", true),
            ("ghp_abcdef123456", "GITHUB", false),
            ("debug", "API_KEY", false),
            ("postgres://u:p@h/db", "DATABASE_URL", false),
            ("Bearer abc", "Authorization", false),
        ] {
            let expected = if shown { text } else { REDACTED };
            assert_eq!(run(text, name, Care::Named), expected, "{name}");
        }
        assert_eq!(run("x", "client_secret", Care::Secret), REDACTED);
    }

    #[test]
    fn urls_and_arguments_lose_their_secrets() {
        assert_eq!(
            url("https://u:p@h:1/x?a=1&api_key=k&token=${T}"),
            "https://[redacted]@h:1/x?a=1&api_key=[redacted]&token=${T}"
        );
        assert_eq!(url("https://h/x@y"), "https://h/x@y");
        let args = [
            "-y",
            "--api-key",
            "k",
            "--token=t",
            "--header",
            "Authorization: Bearer x",
            "GH_TOKEN=y",
            "${API_TOKEN}",
            "z",
            "postgres://u:p@h/d",
        ];
        let shown: Vec<String> = arguments(&args, None).into_iter().map(|shown| shown.text).collect();
        assert_eq!(
            shown,
            [
                "-y",
                "--api-key",
                REDACTED,
                "--token=[redacted]",
                "--header",
                "Authorization: [redacted]",
                "GH_TOKEN=[redacted]",
                "${API_TOKEN}",
                "z",
                "postgres://[redacted]@h/d"
            ]
        );
    }

    #[test]
    fn telling_names_are_told_from_others() {
        for name in ["Authorization", "X-API-Key", "GITHUB_TOKEN", "db_pass", "GH_PAT", "Cookie", "PASSWORD"] {
            assert!(speaks_of_secret(name), "{name}");
        }
        for name in ["PATH", "X-Team", "DEBUG", "compass", "pattern", "design", "spin"] {
            assert!(!speaks_of_secret(name), "{name}");
        }
    }
}
