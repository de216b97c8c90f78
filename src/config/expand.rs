//! `${VAR}`, `${VAR:-default}`, `${keychain:NAME}` and `${command:LINE}` in configured strings, expanded only
//! when a value is used.
//!
//! `$${` is a literal `${`. A default counts where the variable is unset or empty, as in a shell,
//! and may itself hold references. A command line is taken as it is, and its braces must be in pairs.

use super::secrets::{Reference, Unavailable};
use crate::env::Environment;
use crate::shell::words;

/// What came of expanding a string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expanded {
    /// The text.
    pub text: String,
    /// The variables whose values it holds.
    pub variables: Vec<String>,
}

/// Why a string cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The variable is not set, and there is no default.
    Unset(String),
    /// `${` without `}`.
    Unclosed,
    /// None of the forms that there are.
    Unknown(String),
    /// What stands after `keychain:` cannot be the name of a secret.
    Name(String),
    /// What stands after `command:` is no command line.
    Line,
    /// The secret cannot be had.
    Secret(Unavailable),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Unset(name) => write!(f, "the variable {name} is not set"),
            Problem::Unclosed => f.write_str("'${' is never closed by '}'"),
            Problem::Unknown(form) => write!(
                f,
                "'${{{form}}}' is none of ${{VAR}}, ${{VAR:-default}}, ${{keychain:NAME}} and ${{command:LINE}}"
            ),
            Problem::Name(name) => write!(
                f,
                "'{name}' cannot be the name of a secret, which has letters, digits, '_' and '-', and begins with a \
                 letter or digit"
            ),
            Problem::Line => {
                f.write_str("'${command:…}' holds no command line: no program, or a quote that never closes")
            }
            Problem::Secret(why) => f.write_str(&why.message),
        }
    }
}

/// A piece of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it is.
    Literal(&'a str),
    /// A variable and its default.
    Variable(&'a str, Option<&'a str>),
    /// The name of a secret in the credential store.
    Keychain(&'a str),
    /// A command line that prints a secret.
    Command(&'a str),
}

const KEYCHAIN: &str = "keychain:";
const COMMAND: &str = "command:";

/// Takes a string apart.
///
/// # Errors
/// The first thing that is no reference.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, Problem> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            // `$${`: the first dollar goes, the rest is text.
            found.push(Piece::Literal(&rest[..start - 1]));
            found.push(Piece::Literal("${"));
            rest = &rest[start + 2..];
            continue;
        }
        found.push(Piece::Literal(&rest[..start]));
        let inner = &rest[start + 2..];
        let end = closing(inner).ok_or(Problem::Unclosed)?;
        found.push(reference(&inner[..end])?);
        rest = &inner[end + 1..];
    }
    found.push(Piece::Literal(rest));
    found.retain(|piece| *piece != Piece::Literal(""));
    Ok(found)
}

/// Where the brace that was opened before `text` closes, past those opened in between: every one in a command
/// line, elsewhere those of references.
fn closing(text: &str) -> Option<usize> {
    let command = text.starts_with(COMMAND);
    let (mut at, mut depth) = (0, 0usize);
    while at < text.len() {
        let opens = text[at..].starts_with("${");
        match text.as_bytes()[at] {
            _ if opens && !command => at += 2 + closing(&text[at + 2..])?,
            b'{' if command => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
        at += text[at..].chars().next().map_or(1, char::len_utf8);
    }
    None
}

fn reference(inner: &str) -> Result<Piece<'_>, Problem> {
    if let Some(name) = inner.strip_prefix(KEYCHAIN) {
        return if is_secret_name(name) { Ok(Piece::Keychain(name)) } else { Err(Problem::Name(name.to_owned())) };
    }
    if let Some(line) = inner.strip_prefix(COMMAND) {
        let words = words(line).unwrap_or_default();
        return if words.first().is_some_and(|word| !word.is_empty()) {
            Ok(Piece::Command(line))
        } else {
            Err(Problem::Line)
        };
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if is_name(name) { Ok(Piece::Variable(name, default)) } else { Err(Problem::Unknown(inner.to_owned())) }
}

/// Whether a secret can be stored under this name; it is also the name of an entry in keychains of any kind.
#[must_use]
pub fn is_secret_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) && text.len() <= 100
}

/// Whether this can be the name of a variable.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| plain(c) && !c.is_ascii_digit()) && text.chars().all(plain)
}

/// Expands a string; `secret` has the values of secrets.
///
/// # Errors
/// The first problem, naming the variable or the secret.
pub fn expand(
    text: &str,
    environment: &Environment,
    secret: &mut dyn FnMut(Reference) -> Result<String, Unavailable>,
) -> Result<Expanded, Problem> {
    let mut out = Expanded { text: String::new(), variables: Vec::new() };
    for piece in pieces(text)? {
        match piece {
            Piece::Literal(literal) => out.text.push_str(literal),
            Piece::Variable(name, default) => match (environment.raw(name), default) {
                (Some(value), None) => {
                    out.text.push_str(value);
                    out.variables.push(name.to_owned());
                }
                (Some(value), Some(_)) if !value.is_empty() => {
                    out.text.push_str(value);
                    out.variables.push(name.to_owned());
                }
                (_, Some(default)) => {
                    let inner = expand(default, environment, secret)?;
                    out.text.push_str(&inner.text);
                    out.variables.extend(inner.variables);
                }
                (None, None) => return Err(Problem::Unset(name.to_owned())),
            },
            Piece::Keychain(name) => {
                let held = secret(Reference::Keychain(name.to_owned())).map_err(Problem::Secret)?;
                out.text.push_str(&held);
            }
            Piece::Command(line) => {
                let held = secret(Reference::Command(line.to_owned())).map_err(Problem::Secret)?;
                out.text.push_str(&held);
            }
        }
    }
    Ok(out)
}

/// The variables that a string refers to, those in defaults included; none where it is malformed.
#[must_use]
pub fn references(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for piece in pieces(text).unwrap_or_default() {
        if let Piece::Variable(name, default) = piece {
            found.push(name.to_owned());
            found.extend(default.map(references).unwrap_or_default());
        }
    }
    found
}

/// The secrets that a string refers to, those in defaults included; none where it is malformed.
#[must_use]
pub fn secrets(text: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    for piece in pieces(text).unwrap_or_default() {
        match piece {
            Piece::Keychain(name) => found.push(Reference::Keychain(name.to_owned())),
            Piece::Command(line) => found.push(Reference::Command(line.to_owned())),
            Piece::Variable(_, default) => found.extend(default.map(secrets).unwrap_or_default()),
            Piece::Literal(_) => {}
        }
    }
    found
}

/// Whether a string refers to nothing.
#[must_use]
pub fn is_literal(text: &str) -> bool {
    pieces(text).is_ok_and(|pieces| pieces.iter().all(|piece| matches!(piece, Piece::Literal(_))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    fn run(text: &str) -> Result<String, Problem> {
        let environment = Environment::new([("A", "1"), ("EMPTY", ""), ("B_2", "${A}")], Path::new("/"));
        let mut secret = |reference: Reference| match reference {
            Reference::Keychain(name) if name == "gone" => Err(Unavailable::new("there is no secret 'gone'")),
            Reference::Keychain(name) => Ok(format!("<{name}>")),
            Reference::Command(line) => Ok(format!("[{line}]")),
        };
        expand(text, &environment, &mut secret).map(|expanded| expanded.text)
    }

    #[test]
    fn references_anywhere_in_a_string_are_expanded_once() {
        for (text, expected) in [
            ("plain $A $ {A}", "plain $A $ {A}"),
            ("pre-${A}-post", "pre-1-post"),
            ("${A}${A}", "11"),
            ("${B_2}", "${A}"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${NONE:-x y}", "x y"),
            ("${NONE:-}", ""),
            ("${NONE:-a${A}b}c", "a1bc"),
            ("${NONE:-{}}", "{}"),
            ("$${A} ${A}", "${A} 1"),
            ("$$ $", "$$ $"),
            ("é${A}é", "é1é"),
            ("Bearer ${keychain:a-B_1}!", "Bearer <a-B_1>!"),
            ("${command:op read 'op://a/b'}", "[op read 'op://a/b']"),
            ("${command:awk '{print $1}' f}x", "[awk '{print $1}' f]x"),
            ("${command:sh -c 'echo ${HOME}'}", "[sh -c 'echo ${HOME}']"),
            ("${NONE:-${keychain:k}}", "<k>"),
            ("${NONE:-${command:awk '{print}'}}y", "[awk '{print}']y"),
            ("${A:-${keychain:gone}}", "1"),
            ("$${keychain:k} $${command:x}", "${keychain:k} ${command:x}"),
        ] {
            // A brace that no dollar opened closes the reference: what follows stands as it is.
            assert_eq!(run(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn problems_name_what_is_wrong() {
        assert_eq!(run("${NONE}"), Err(Problem::Unset("NONE".into())));
        assert_eq!(run("${NONE:-${ALSO}}"), Err(Problem::Unset("ALSO".into())));
        assert_eq!(run("x${A"), Err(Problem::Unclosed));
        assert_eq!(run("${keychain:gone}"), Err(Problem::Secret(Unavailable::new("there is no secret 'gone'"))));
        for name in ["", "a b", "a.b", "../a", "-a", "ä"] {
            assert_eq!(run(&format!("${{keychain:{name}}}")), Err(Problem::Name(name.into())), "{name}");
        }
        for line in ["", " ", "'a", "'' b"] {
            assert_eq!(run(&format!("${{command:{line}}}")), Err(Problem::Line), "{line}");
        }
        assert_eq!(run("${command:a {b}"), Err(Problem::Unclosed));
        for form in ["", "1A", "input:x", "env:A", "A:x", "A-x", "A b", "Keychain:x"] {
            assert_eq!(run(&format!("${{{form}}}")), Err(Problem::Unknown(form.into())), "{form}");
        }
        // The default is not looked at where it is not needed.
        assert_eq!(run("${A:-${NONE}}").unwrap(), "1");
    }

    #[test]
    fn any_mixture_is_taken_apart_or_refused() {
        let atoms = ["${command:a", "${keychain:k", "${A", ":-", "{", "}", "'", "$", "é", " ", "x"];
        let environment = Environment::new([("A", "1")], Path::new("/"));
        let mut state = 7u64;
        let mut good = 0;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..6 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                text.push_str(atoms[usize::try_from(state >> 33).unwrap() % atoms.len()]);
            }
            let mut asked = Vec::new();
            let expanded = expand(&text, &environment, &mut |secret| {
                asked.push(secret);
                Ok(String::new())
            });
            // Nothing is asked for that a file's reader would not see there, and shown to whoever has to trust it.
            assert!(asked.iter().all(|secret| secrets(&text).contains(secret)), "{text}");
            assert_eq!(
                is_literal(&text),
                expanded.is_ok() && asked.is_empty() && references(&text).is_empty() && secrets(&text).is_empty()
            );
            good += usize::from(expanded.is_ok() && !asked.is_empty());
        }
        assert!(good > 100, "the mixture holds references: {good}");
    }

    #[test]
    fn all_references_are_found() {
        assert_eq!(references("Bearer ${A} ${B:-${C}} $${D} ${keychain:E}"), ["A", "B", "C"]);
        assert_eq!(
            secrets("${keychain:a} ${B:-${command:c d}} $${keychain:e}"),
            [Reference::Keychain("a".into()), Reference::Command("c d".into())]
        );
        assert!(is_literal("a $${b}") && !is_literal("${keychain:a}") && !is_literal("${"));
    }
}
