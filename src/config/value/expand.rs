//! `${VAR}`, `${VAR:-default}`, `${keychain:NAME}` and `${command:LINE}` in configured strings, expanded only when a
//! value is used.
//!
//! `$${` is a literal `${`. A default is used if the variable is unset or empty, as in a shell, and may itself contain
//! references; the `}` of a `$${` does not end it, as in Compose files. A command line is taken as it is, and its
//! braces must be balanced.

use super::secrets::{SecretError, SecretReference};
use crate::env::{Environment, is_same_variable};
use crate::util::quoting::{HIDDEN, split};

/// Where `${VAR}` gets its value: first from an entry's own variables, then from the environment.
#[derive(Clone, Copy, Debug)]
pub struct VariableScope<'a> {
    /// The environment.
    pub environment: &'a Environment,
    /// The variables of the entry, names and values.
    pub own: &'a [(String, String)],
}

impl<'a> VariableScope<'a> {
    /// Only the environment.
    #[must_use]
    pub fn environment_only(environment: &'a Environment) -> Self {
        VariableScope { environment, own: &[] }
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let own = self.own.iter().find(|(known, _)| is_same_variable(known, name));
        own.map(|(_, value)| value.as_str()).or_else(|| self.environment.get_raw(name))
    }
}

/// Why a string cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpandError {
    /// The variable is not set, and there is no default.
    UnsetVariable(String),
    /// `${` without `}`.
    Unclosed,
    /// Defaults within defaults.
    TooDeep,
    /// None of the supported forms; without the default, which may be a secret.
    UnknownForm(String),
    /// The text after `keychain:` cannot be the name of a secret.
    InvalidSecretName(String),
    /// The text after `command:` is not a command line.
    InvalidCommand,
    /// The secret is not available.
    Secret(SecretError),
}

impl std::fmt::Display for ExpandError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ExpandError::UnsetVariable(name) => write!(f, "the variable {name} is not set"),
            ExpandError::Unclosed => f.write_str("'${' has no closing '}'"),
            ExpandError::TooDeep => {
                write!(f, "more than {MAX_NESTED_REFERENCES} references are nested in the default of one")
            }
            ExpandError::UnknownForm(form) => write!(
                f,
                "'${{{form}}}' is not a reference; use ${{VAR}}, ${{VAR:-default}}, ${{keychain:NAME}} or ${{command:LINE}}"
            ),
            ExpandError::InvalidSecretName(name) => write!(
                f,
                "'{name}' is not a valid secret name: use up to 100 letters, digits, '_' and '-', beginning with a letter or digit"
            ),
            ExpandError::InvalidCommand => f.write_str(
                "'${command:…}' has no valid command line: the program is missing, or a quote is not closed",
            ),
            ExpandError::Secret(why) => f.write_str(&why.message),
        }
    }
}

/// A piece of a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplatePart<'a> {
    /// Literal text.
    Literal(&'a str),
    /// A variable and its default.
    Variable(&'a str, Option<&'a str>),
    /// The name of a secret in the credential store.
    Keychain(&'a str),
    /// A command line that prints a secret.
    Command(&'a str),
}

const KEYCHAIN_PREFIX: &str = "keychain:";
const COMMAND_PREFIX: &str = "command:";
/// How many references may be within each other, as defaults.
const MAX_NESTED_REFERENCES: usize = 16;

/// Splits a string into its pieces.
///
/// # Errors
/// The first invalid reference.
pub fn parse_template(text: &str) -> Result<Vec<TemplatePart<'_>>, ExpandError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        if rest[..start].ends_with('$') {
            // `$${`: the first dollar is dropped, the rest is text.
            found.push(TemplatePart::Literal(&rest[..start - 1]));
            found.push(TemplatePart::Literal("${"));
            rest = &rest[start + 2..];
            continue;
        }
        found.push(TemplatePart::Literal(&rest[..start]));
        let inner = &rest[start + 2..];
        let end = closing_brace(inner, MAX_NESTED_REFERENCES)?;
        found.push(parse_reference(&inner[..end])?);
        rest = &inner[end + 1..];
    }
    found.push(TemplatePart::Literal(rest));
    found.retain(|piece| *piece != TemplatePart::Literal(""));
    Ok(found)
}

/// The position of the brace that closes the one before `text`. In a command line all braces are matched, elsewhere
/// only those of references and of `$${`, which contain up to `levels` more within each other.
fn closing_brace(text: &str, levels: usize) -> Result<usize, ExpandError> {
    let command = text.starts_with(COMMAND_PREFIX);
    let (mut at, mut depth) = (0, 0usize);
    while at < text.len() {
        let opens = text[at..].starts_with("${");
        match text.as_bytes()[at] {
            _ if opens && !command => {
                let levels = levels.checked_sub(1).ok_or(ExpandError::TooDeep)?;
                at += 2 + closing_brace(&text[at + 2..], levels)?;
            }
            b'{' if command => depth += 1,
            b'}' if depth == 0 => return Ok(at),
            b'}' => depth -= 1,
            _ => {}
        }
        at += text[at..].chars().next().map_or(1, char::len_utf8);
    }
    Err(ExpandError::Unclosed)
}

fn parse_reference(inner: &str) -> Result<TemplatePart<'_>, ExpandError> {
    if let Some(name) = inner.strip_prefix(KEYCHAIN_PREFIX) {
        return if is_valid_secret_name(name) {
            Ok(TemplatePart::Keychain(name))
        } else {
            Err(ExpandError::InvalidSecretName(name.to_owned()))
        };
    }
    if let Some(line) = inner.strip_prefix(COMMAND_PREFIX) {
        let words = split(line).unwrap_or_default();
        return if words.first().is_some_and(|word| !word.is_empty()) {
            Ok(TemplatePart::Command(line))
        } else {
            Err(ExpandError::InvalidCommand)
        };
    }
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if is_variable_name(name) {
        Ok(TemplatePart::Variable(name, default))
    } else {
        Err(ExpandError::UnknownForm(default.map_or_else(|| name.to_owned(), |_| format!("{name}:-{HIDDEN}"))))
    }
}

/// Whether a secret can be stored under this name; it is also the name of the entry in a keychain.
#[must_use]
pub fn is_valid_secret_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(plain) && text.len() <= 100
}

/// Whether this can be the name of a variable.
#[must_use]
pub fn is_variable_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| plain(c) && !c.is_ascii_digit()) && text.chars().all(plain)
}

/// Expands a string; `secret` returns the values of secrets.
///
/// # Errors
/// The first problem, naming the variable or the secret.
pub fn expand(
    text: &str,
    scope: VariableScope<'_>,
    secret: &mut dyn FnMut(SecretReference) -> Result<String, SecretError>,
) -> Result<String, ExpandError> {
    let mut out = String::new();
    for piece in parse_template(text)? {
        match piece {
            TemplatePart::Literal(literal) => out.push_str(literal),
            TemplatePart::Variable(name, default) => match (scope.get(name), default) {
                (Some(value), None) => out.push_str(value),
                (Some(value), Some(_)) if !value.is_empty() => out.push_str(value),
                (_, Some(default)) => out.push_str(&expand(default, scope, secret)?),
                (None, None) => return Err(ExpandError::UnsetVariable(name.to_owned())),
            },
            TemplatePart::Keychain(name) => {
                out.push_str(&secret(SecretReference::Keychain(name.to_owned())).map_err(ExpandError::Secret)?);
            }
            TemplatePart::Command(line) => {
                out.push_str(&secret(SecretReference::Command(line.to_owned())).map_err(ExpandError::Secret)?);
            }
        }
    }
    Ok(out)
}

/// The variables that a string refers to, including those in defaults; none if it is malformed.
#[must_use]
pub fn variable_references(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for piece in parse_template(text).unwrap_or_default() {
        if let TemplatePart::Variable(name, default) = piece {
            found.push(name.to_owned());
            found.extend(default.map(variable_references).unwrap_or_default());
        }
    }
    found
}

/// The secrets that a string refers to, including those in defaults; none if it is malformed.
#[must_use]
pub fn secret_references(text: &str) -> Vec<SecretReference> {
    let mut found = Vec::new();
    for piece in parse_template(text).unwrap_or_default() {
        match piece {
            TemplatePart::Keychain(name) => found.push(SecretReference::Keychain(name.to_owned())),
            TemplatePart::Command(line) => found.push(SecretReference::Command(line.to_owned())),
            TemplatePart::Variable(_, default) => found.extend(default.map(secret_references).unwrap_or_default()),
            TemplatePart::Literal(_) => {}
        }
    }
    found
}

/// Whether a string contains no references.
#[must_use]
pub fn is_literal(text: &str) -> bool {
    parse_template(text).is_ok_and(|pieces| pieces.iter().all(|piece| matches!(piece, TemplatePart::Literal(_))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    fn expand_text(text: &str) -> Result<String, ExpandError> {
        let environment = Environment::new([("A", "1"), ("EMPTY", ""), ("B_2", "${A}")], Path::new("/"));
        let mut secret = |reference: SecretReference| match reference {
            SecretReference::Keychain(name) if name == "gone" => Err(SecretError::new("there is no secret 'gone'")),
            SecretReference::Keychain(name) => Ok(format!("<{name}>")),
            SecretReference::Command(line) => Ok(format!("[{line}]")),
        };
        expand(text, VariableScope::environment_only(&environment), &mut secret)
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
            // A brace without a dollar closes the reference: the rest is literal text.
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
            ("${NONE:-$${A}}x", "${A}x"),
            ("${A:-$${B}}x", "1x"),
            ("${NONE:-$${x${A}}}", "${x1}"),
            ("${NONE:-$$${A}}", "$${A}"),
        ] {
            assert_eq!(expand_text(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn an_entrys_own_variables_come_first() {
        let environment = Environment::new([("A", "outer"), ("B", "outer")], Path::new("/"));
        let own = [("A".to_owned(), "own ${B}".to_owned()), ("EMPTY".to_owned(), String::new())];
        let scope = VariableScope { environment: &environment, own: &own };
        for (text, expected) in
            [("${A}", "own ${B}"), ("${B}", "outer"), ("${EMPTY:-x}", "x"), ("${C:-${A}}", "own ${B}")]
        {
            assert_eq!(expand(text, scope, &mut |_| Ok(String::new())).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        assert_eq!(expand_text("${NONE}"), Err(ExpandError::UnsetVariable("NONE".into())));
        assert_eq!(expand_text("${NONE:-${ALSO}}"), Err(ExpandError::UnsetVariable("ALSO".into())));
        for text in ["x${A", "${A:-$${B}", "${A:-$${}"] {
            assert_eq!(expand_text(text), Err(ExpandError::Unclosed), "{text}");
        }
        assert_eq!(
            expand_text("${keychain:gone}"),
            Err(ExpandError::Secret(SecretError::new("there is no secret 'gone'")))
        );
        for name in ["", "a b", "a.b", "../a", "-a", "ä"] {
            assert_eq!(
                expand_text(&format!("${{keychain:{name}}}")),
                Err(ExpandError::InvalidSecretName(name.into())),
                "{name}"
            );
        }
        for line in ["", " ", "'a", "'' b"] {
            assert_eq!(expand_text(&format!("${{command:{line}}}")), Err(ExpandError::InvalidCommand), "{line}");
        }
        assert_eq!(expand_text("${command:a {b}"), Err(ExpandError::Unclosed));
        assert_eq!(expand_text("${A-B:-s3cret}"), Err(ExpandError::UnknownForm("A-B:-…".into())));
        for form in ["", "1A", "input:x", "env:A", "A:x", "A-x", "A b", "Keychain:x"] {
            assert_eq!(expand_text(&format!("${{{form}}}")), Err(ExpandError::UnknownForm(form.into())), "{form}");
        }
        // The default is not evaluated if it is not needed.
        assert_eq!(expand_text("${A:-${NONE}}").unwrap(), "1");
    }

    #[test]
    fn random_templates_are_parsed_or_rejected() {
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
            let expanded = expand(&text, VariableScope::environment_only(&environment), &mut |secret| {
                asked.push(secret);
                Ok(String::new())
            });
            // Everything that is fetched is visible in the file, and shown to the user who has to trust it.
            assert!(asked.iter().all(|secret| secret_references(&text).contains(secret)), "{text}");
            assert_eq!(
                is_literal(&text),
                expanded.is_ok()
                    && asked.is_empty()
                    && variable_references(&text).is_empty()
                    && secret_references(&text).is_empty()
            );
            good += usize::from(expanded.is_ok() && !asked.is_empty());
        }
        assert!(good > 100, "the mixture holds references: {good}");
    }

    #[test]
    fn all_references_are_found() {
        assert_eq!(variable_references("Bearer ${A} ${B:-${C}} $${D} ${keychain:E}"), ["A", "B", "C"]);
        assert_eq!(
            secret_references("${keychain:a} ${B:-${command:c d}} $${keychain:e}"),
            [SecretReference::Keychain("a".into()), SecretReference::Command("c d".into())]
        );
        assert!(is_literal("a $${b}") && !is_literal("${keychain:a}") && !is_literal("${"));
    }
}
