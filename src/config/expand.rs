//! `${VAR}` and `${VAR:-default}` in configured strings, expanded only when a value is used.
//!
//! `$${` is a literal `${`. A default counts where the variable is unset or empty, as in a shell,
//! and may itself hold references.

use crate::env::Environment;

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
    /// Neither `${VAR}` nor `${VAR:-default}`.
    Unknown(String),
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Problem::Unset(name) => write!(f, "the variable {name} is not set"),
            Problem::Unclosed => f.write_str("'${' is never closed by '}'"),
            Problem::Unknown(form) => write!(f, "'${{{form}}}' is neither ${{VAR}} nor ${{VAR:-default}}"),
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
}

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

/// Where the brace that was opened before `text` closes, past those opened in between.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' if text[..at].ends_with('$') => depth += 1,
            b'}' if depth == 0 => return Some(at),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn reference(inner: &str) -> Result<Piece<'_>, Problem> {
    let (name, default) = match inner.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inner, None),
    };
    if is_name(name) { Ok(Piece::Variable(name, default)) } else { Err(Problem::Unknown(inner.to_owned())) }
}

/// Whether this can be the name of a variable.
#[must_use]
pub fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(|c: char| plain(c) && !c.is_ascii_digit()) && text.chars().all(plain)
}

/// Expands a string.
///
/// # Errors
/// The first problem, naming the variable.
pub fn expand(text: &str, environment: &Environment) -> Result<Expanded, Problem> {
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
                    let inner = expand(default, environment)?;
                    out.text.push_str(&inner.text);
                    out.variables.extend(inner.variables);
                }
                (None, None) => return Err(Problem::Unset(name.to_owned())),
            },
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    fn run(text: &str) -> Result<String, Problem> {
        let environment = Environment::new([("A", "1"), ("EMPTY", ""), ("B_2", "${A}")], Path::new("/"));
        expand(text, &environment).map(|expanded| expanded.text)
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
        for form in ["", "1A", "input:x", "env:A", "A:x", "A-x", "A b"] {
            assert_eq!(run(&format!("${{{form}}}")), Err(Problem::Unknown(form.into())), "{form}");
        }
        // The default is not looked at where it is not needed.
        assert_eq!(run("${A:-${NONE}}").unwrap(), "1");
    }

    #[test]
    fn all_references_are_found() {
        assert_eq!(references("Bearer ${A} ${B:-${C}} $${D}"), ["A", "B", "C"]);
    }
}
