//! The displayable form of a configured value: without secrets, but recognizable.

use crate::config::value::expand;
use crate::config::value::expand::TemplatePart;
use crate::env::Environment;
use crate::env::programs::{looks_like_path, strip_drive};
use crate::secret::REDACTED;
use crate::util::quoting::split_leniently;
use crate::util::secret_names::{looks_like_key, looks_secret};
use crate::util::secret_words::{has_secret_member, hide_in_likely_url, hide_in_url, secret_pair_start, secret_start};

/// A value in displayable form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted {
    /// The text without secrets.
    pub text: String,
    /// Whether something was hidden.
    pub has_redactions: bool,
}

/// Whether a value is secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sensitivity {
    /// It is not, but a variable with a secret name in it is.
    Plain,
    /// It may be: the value of a header or a variable. Only what cannot be a secret is shown.
    MaybeSecret,
    /// It is.
    Secret,
}

/// The displayable form of a string: references are resolved if that reveals nothing, and otherwise shown as they are
/// written. Without `environment` none is resolved.
#[must_use]
pub fn redact_value(text: &str, name: &str, care: Sensitivity, environment: Option<&Environment>) -> Redacted {
    let Ok(pieces) = expand::parse_template(text) else { return redact_literal(text, name, care) };
    if care == Sensitivity::Plain {
        // The arguments may be in the same string.
        let line = Some(text).filter(|_| name == "command").map(redact_command).filter(|line| line.has_redactions);
        return line.unwrap_or_else(|| redact_plain(&pieces, name, environment));
    }
    let mut out = Redacted { text: String::new(), has_redactions: false };
    let alone = pieces.len() == 1;
    let environment = environment.filter(|_| care == Sensitivity::MaybeSecret && !looks_secret(name));
    for piece in pieces {
        let shown = match piece {
            TemplatePart::Literal(part) if !alone && is_auth_scheme(part) => visible(part),
            TemplatePart::Literal(part) => redact_literal(part, name, care),
            _ => resolve_variable(piece, environment)
                .map(|held| redact_literal(held, name, care))
                .filter(|shown| !shown.has_redactions)
                .unwrap_or_else(|| redact_reference(piece, name, care)),
        };
        out.text.push_str(&shown.text);
        out.has_redactions |= shown.has_redactions;
    }
    out
}

/// Text in which only parts of URLs are secrets. Whether a reference is such a part depends on where it stands, so the
/// text is judged as a whole. References are resolved if that adds no secret.
fn redact_plain(pieces: &[TemplatePart<'_>], name: &str, environment: Option<&Environment>) -> Redacted {
    // It has the form of a reference, and cannot be one.
    let placeholder = |at: usize| format!("${{\0{at}}}");
    let join = |held: &dyn Fn(TemplatePart<'_>) -> Option<String>| {
        let texts = pieces.iter().enumerate().map(|(at, piece)| match piece {
            TemplatePart::Literal(part) => (*part).to_owned(),
            _ => held(*piece).unwrap_or_else(|| placeholder(at)),
        });
        redact_literal(&texts.collect::<String>(), name, Sensitivity::Plain)
    };
    let written = join(&|_| None);
    let count = |one: &Redacted| one.text.matches(REDACTED).count();
    let adds_secret = |other: &Redacted| count(other) > count(&written);
    let with_defaults = join(&|piece| match piece {
        // What is a secret wherever it stands does not count.
        TemplatePart::Variable(_, Some(default)) => {
            Some(redact_value(default, "", Sensitivity::Plain, None).text.replace(REDACTED, "${_}"))
        }
        _ => None,
    });
    let care = if adds_secret(&with_defaults) { Sensitivity::Secret } else { Sensitivity::Plain };
    let resolved = join(&|piece| resolve_variable(piece, environment).map(str::to_owned));
    // What a variable holds may hide that it, or what is beside it, is a password: `a/b` seems to end the name of the host.
    let neutral = join(&|piece| resolve_variable(piece, environment).map(|_| "x".to_owned()));
    let mut out = if count(&resolved) != count(&written) || adds_secret(&neutral) { written } else { resolved };
    for (at, piece) in pieces.iter().enumerate().filter(|(_, piece)| !matches!(piece, TemplatePart::Literal(_))) {
        let place = placeholder(at);
        if out.text.contains(&place) {
            let shown = redact_reference(*piece, name, care);
            out.text = out.text.replace(&place, &shown.text);
            out.has_redactions |= shown.has_redactions;
        }
    }
    out
}

/// What a variable holds, if that may be shown and is not the default.
fn resolve_variable<'a>(piece: TemplatePart<'_>, environment: Option<&'a Environment>) -> Option<&'a str> {
    let TemplatePart::Variable(variable, default) = piece else { return None };
    let held = environment.filter(|_| !looks_secret(variable))?.get_raw(variable);
    held.filter(|held| default.is_none() || !held.is_empty())
}

/// A reference as it is written, which only says where a secret is stored, without secrets in what it contains.
fn redact_reference(piece: TemplatePart<'_>, name: &str, care: Sensitivity) -> Redacted {
    let around = |before: &str, shown: Redacted| Redacted { text: format!("${{{before}{}}}", shown.text), ..shown };
    match piece {
        TemplatePart::Literal(part) => redact_literal(part, name, care),
        TemplatePart::Keychain(secret) => around("keychain:", visible(secret)),
        TemplatePart::Command(line) => around("command:", redact_command(line)),
        TemplatePart::Variable(variable, None) => around(variable, visible("")),
        TemplatePart::Variable(variable, Some(default)) => {
            around(&format!("{variable}:-"), redact_value(default, name, care, None))
        }
    }
}

fn visible(text: &str) -> Redacted {
    Redacted { text: text.to_owned(), has_redactions: false }
}

/// A command line as it is written, unless one of its words is a secret.
#[must_use]
pub fn redact_command(line: &str) -> Redacted {
    let words = split_leniently(line);
    let shown = redact_arguments(&words.iter().map(String::as_str).collect::<Vec<_>>(), None);
    if shown.iter().any(|word| word.has_redactions) {
        let words: Vec<String> = shown.into_iter().map(|word| word.text).collect();
        Redacted { text: words.join(" "), has_redactions: true }
    } else {
        visible(line)
    }
}

fn redact_literal(text: &str, name: &str, care: Sensitivity) -> Redacted {
    let safe = match care {
        Sensitivity::Plain => {
            let shown = match name {
                "url" => hide_in_likely_url(text, REDACTED),
                "proxy" => match hide_in_likely_url(text, REDACTED) {
                    shown if text.contains("://") => shown,
                    // Its scheme can be omitted.
                    shown => hide_in_url(&format!("://{shown}"), REDACTED).split_off("://".len()),
                },
                _ => hide_in_url(text, REDACTED),
            };
            let shown = redact_url_path(&shown);
            return Redacted { has_redactions: shown != text, text: shown };
        }
        Sensitivity::MaybeSecret => !looks_secret(name) && is_clearly_not_secret(text),
        Sensitivity::Secret => text.is_empty(),
    };
    if safe { visible(text) } else { Redacted { text: REDACTED.into(), has_redactions: true } }
}

/// A URL (or any text) in displayable form, where only parts of URLs are secrets.
#[must_use]
pub fn redact_url(text: &str) -> Redacted {
    redact_setting(text, "")
}

/// As [`redact_url`], for the value of a setting, whose name says what it is.
#[must_use]
pub fn redact_setting(text: &str, name: &str) -> Redacted {
    redact_literal(text, name, Sensitivity::Plain)
}

/// The scheme before a token in `Authorization`.
fn is_auth_scheme(text: &str) -> bool {
    ["bearer", "basic", "token", "apikey", "digest"].contains(&text.trim().to_ascii_lowercase().as_str())
}

/// Text that cannot be a secret: a boolean, a small number, a plain word or a path.
#[must_use]
pub fn is_clearly_not_secret(text: &str) -> bool {
    let short_number = text.len() <= 6 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let word = text.len() <= 12 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    let switch = ["true", "false", "yes", "no", "on", "off"].contains(&text.to_ascii_lowercase().as_str());
    text.is_empty() || short_number || word || is_plain_path(text) || switch
}

/// The name of a file or a directory, and nothing else.
#[must_use]
pub fn is_plain_path(text: &str) -> bool {
    let place = strip_drive(text).filter(|_| cfg!(windows)).unwrap_or(text);
    looks_like_path(text) && !place.contains(['@', '?', '=', ':', '&'])
}

/// A URL without the segments of its path that look like keys.
fn redact_url_path(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, tail) = rest.split_at(end);
    // The first segment is the host.
    let segments = path.split('/').enumerate();
    let shown: Vec<&str> =
        segments.map(|(at, segment)| if at > 0 && looks_like_key(segment) { REDACTED } else { segment }).collect();
    format!("{scheme}://{}{tail}", shown.join("/"))
}

/// The arguments of a program without what may be secrets ([`secret_start`], [`has_secret_member`]).
#[must_use]
pub fn redact_arguments(args: &[&str], environment: Option<&Environment>) -> Vec<Redacted> {
    let previous = |at: usize| at.checked_sub(1).map(|at| args[at]);
    let start = |at, arg: &str| secret_start(previous(at), arg).or_else(|| has_secret_member(arg).then_some(0));
    let redact = |(at, arg): (usize, &&str)| match start(at, arg) {
        Some(start) => {
            let (visible, secret) = arg.split_at(start);
            let shown = redact_value(secret, visible, Sensitivity::Secret, environment);
            Redacted { text: format!("{visible}{}", shown.text), has_redactions: shown.has_redactions }
        }
        None => match secret_pair_start(arg) {
            Some(start) => {
                let before = redact_value(&arg[..start], "", Sensitivity::Plain, environment);
                let secret = redact_value(&arg[start..], &arg[..start], Sensitivity::Secret, environment);
                let has_redactions = before.has_redactions || secret.has_redactions;
                Redacted { text: before.text + &secret.text, has_redactions }
            }
            None => redact_value(arg, "", Sensitivity::Plain, environment),
        },
    };
    args.iter().enumerate().map(redact).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn redact(text: &str, name: &str, care: Sensitivity) -> String {
        let key = "550e8400-e29b-41d4-a716-446655440000";
        let known = [
            ("TEAM", "core"),
            ("API_TOKEN", "s3cret"),
            ("WS", key),
            ("LINK", "https://u:p@h/"),
            ("NONE", ""),
            ("PW", "a/b#1"),
        ];
        let environment = Environment::new(known, Path::new("/"));
        redact_value(text, name, care, Some(&environment)).text
    }

    #[test]
    fn references_are_resolved_unless_they_hold_a_secret() {
        assert_eq!(redact("https://${TEAM}.example/", "url", Sensitivity::Plain), "https://core.example/");
        assert_eq!(redact("https://a/${API_TOKEN}", "url", Sensitivity::Plain), "https://a/${API_TOKEN}");
        assert_eq!(redact("${TEAM}", "X-Team", Sensitivity::MaybeSecret), "core");
        assert_eq!(redact("Bearer ${API_TOKEN}", "Authorization", Sensitivity::MaybeSecret), "Bearer ${API_TOKEN}");
        assert_eq!(redact("Bearer ${TEAM}", "Authorization", Sensitivity::MaybeSecret), "Bearer ${TEAM}");
        assert_eq!(redact("${NOPE}", "X-Team", Sensitivity::MaybeSecret), "${NOPE}");
        assert_eq!(redact("${NOPE:-dflt}", "X-Team", Sensitivity::MaybeSecret), "${NOPE:-dflt}");
        assert_eq!(redact("${NOPE:-hunter2}", "client_secret", Sensitivity::Secret), "${NOPE:-[redacted]}");
        let command = "Bearer ${command:op read 'op://a b'}";
        assert_eq!(redact(command, "Authorization", Sensitivity::MaybeSecret), command);
        assert_eq!(redact("${keychain:k}", "client_secret", Sensitivity::Secret), "${keychain:k}");
        assert_eq!(
            redact("${command:x --token abc}", "X", Sensitivity::MaybeSecret),
            "${command:x --token [redacted]}"
        );
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
            assert_eq!(redact(text, name, Sensitivity::MaybeSecret), expected, "{name}");
        }
        assert_eq!(redact("x", "client_secret", Sensitivity::Secret), REDACTED);
    }

    #[test]
    fn a_variable_is_not_resolved_where_only_a_secret_can_stand() {
        for (text, shown) in [
            ("https://h/mcp?api_key=${TEAM}", "https://h/mcp?api_key=${TEAM}"),
            ("https://h/mcp?api_key=${TEAM}&a=${TEAM}", "https://h/mcp?api_key=${TEAM}&a=${TEAM}"),
            ("https://me:${TEAM}@h/", "https://me:${TEAM}@h/"),
            ("https://${TEAM}@h/", "https://${TEAM}@h/"),
            ("https://me:${PW}@h/", "https://me:${PW}@h/"),
            ("https://h/${PW}", "https://h/a/b#1"),
            ("https://${TEAM}:${keychain:p}@h/${TEAM}", "https://core:${keychain:p}@h/core"),
            ("https://me:pw@${TEAM}.h/", "https://[redacted]@core.h/"),
            ("https://h/s/${WS}/mcp", "https://h/s/${WS}/mcp"),
            ("https://h/${TEAM}/mcp?a=${TEAM}", "https://h/core/mcp?a=core"),
            ("${LINK}mcp", "${LINK}mcp"),
            ("https://h/?token=${NOPE:-hunter2}", "https://h/?token=${NOPE:-[redacted]}"),
            ("https://h/?a=${NOPE:-b}", "https://h/?a=${NOPE:-b}"),
            ("${NOPE:-https://h/?token=x}", "${NOPE:-https://h/?token=[redacted]}"),
            ("https://h/?key=${command:op read 'op://a/b?c=d'}", "https://h/?key=${command:op read 'op://a/b?c=d'}"),
            ("https://h/?a=x${NONE}${NONE:-y}", "https://h/?a=x${NONE:-y}"),
        ] {
            assert_eq!(redact(text, "url", Sensitivity::Plain), shown, "{text}");
        }
    }

    #[test]
    fn a_setting_is_read_as_it_is_used() {
        for (name, text, shown) in [
            ("proxy", "u:p@h:1", "[redacted]@h:1"),
            ("proxy", "t0ken@h:1", "[redacted]@h:1"),
            ("proxy", "u:${P}@h:1", "u:${P}@h:1"),
            ("proxy", "h:1", "h:1"),
            ("proxy", "http:/u:p@h:1", "http:/[redacted]@h:1"),
            ("proxy", "http:///u:p@h:1", "http:///[redacted]@h:1"),
            ("proxy", "socks5://u:p@h:1", "socks5://[redacted]@h:1"),
            ("url", "https:/u:p@h/", "https:/[redacted]@h/"),
            ("url", "https:/u:${P}@h/", "https:/u:${P}@h/"),
            ("command", "npx srv --api-key k", "npx srv --api-key [redacted]"),
            ("command", "npx srv --api-key 'k k", "npx srv --api-key [redacted]"),
            ("command", "${TEAM} srv --token=${API_TOKEN}", "core srv --token=${API_TOKEN}"),
            ("command", "/my  servers/x", "/my  servers/x"),
            ("cwd", "npm:p@1", "npm:p@1"),
        ] {
            assert_eq!(redact(text, name, Sensitivity::Plain), shown, "{text}");
        }
    }

    #[test]
    fn urls_and_arguments_lose_their_secrets() {
        let key = "https://h/s/550e8400-e29b-41d4-a716-446655440000/mcp?a=1";
        assert_eq!(redact(key, "url", Sensitivity::Plain), "https://h/s/[redacted]/mcp?a=1");
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
            r#"{"apiKey":"k"}"#,
            r#"{"apiKey":"${K}"}"#,
            "Server=h;User Id=u;Password=p;",
            "https://u:p@h/;jsessionid=1",
            "srv --scopes read,write --token=s3cret",
        ];
        let shown: Vec<String> = redact_arguments(&args, None).into_iter().map(|shown| shown.text).collect();
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
                "postgres://[redacted]@h/d",
                REDACTED,
                r#"{"apiKey":"${K}"}"#,
                "Server=h;User Id=u;Password=[redacted]",
                "https://[redacted]@h/;jsessionid=[redacted]",
                "srv --scopes read,write --token=[redacted]"
            ]
        );
    }
}
