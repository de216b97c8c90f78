//! Expectations of `test` and `call --expect`: whether they hold of a result, and what was seen if they do not.

use serde_json::{Map, Value, json};

use crate::error::{ErrorKind, Failure, Result};
use crate::output::jq::{JqFilter, JqOutput};

/// The most characters of a value that are shown.
const MAX_SHOWN: usize = 400;

/// Whether a text matches a regular expression.
///
/// # Errors
/// If it is not a regular expression.
pub(crate) fn matches(regex: &str, text: &str) -> Result<bool> {
    let filter = JqFilter::new(".[0] as $regex | .[1] | test($regex)", Vec::new)?;
    let mut holds = false;
    filter.run(&json!([regex, text]).to_string(), |output| {
        holds = output == JqOutput::Json("true".to_owned());
        Ok(())
    })?;
    Ok(holds)
}

/// The outputs of an expression over a document.
fn outputs(filter: &JqFilter, document: &str) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    let run = filter.run(document, |output| {
        all.push(match output {
            JqOutput::Text(bytes) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
            JqOutput::Json(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        });
        Ok(())
    });
    match run {
        Ok(()) => Ok(all),
        Err(failure) => Err(failure.details().causes.first().cloned().unwrap_or_else(|| failure.to_string())),
    }
}

/// The first output of an expression.
///
/// # Errors
/// Why there is none.
pub(crate) fn first_output(expression: &str, document: &str) -> Result<Value, String> {
    let filter = JqFilter::new(expression, Vec::new).map_err(|failure| failure.to_string())?;
    outputs(&filter, document)?.into_iter().next().ok_or_else(|| "it has no output".to_owned())
}

/// The first output of an expression, as text: numbers keep every digit.
///
/// # Errors
/// Why there is none.
pub(crate) fn first_output_text(expression: &str, document: &str) -> Result<String, String> {
    let filter = JqFilter::new(expression, Vec::new).map_err(|failure| failure.to_string())?;
    let mut first = None;
    let run = filter.run(document, |output| {
        if let JqOutput::Json(text) = output {
            first.get_or_insert(text);
        }
        Ok(())
    });
    run.map_err(|failure| failure.details().causes.first().cloned().unwrap_or_else(|| failure.to_string()))?;
    first.ok_or_else(|| "it has no output".to_owned())
}

/// Whether an expression is true of a document; if not, what it saw, a line each.
pub(crate) fn check_expression(expression: &str, document: &str) -> Option<Vec<String>> {
    let filter = match JqFilter::new(expression, Vec::new) {
        Ok(filter) => filter,
        Err(failure) => return Some(vec![failure.to_string()]),
    };
    let seen = match outputs(&filter, document) {
        Ok(seen) => seen,
        Err(why) => return Some(vec![format!("the expression failed: {why}")]),
    };
    if !seen.is_empty() && seen.iter().all(|value| *value == Value::Bool(true)) {
        return None;
    }
    if let Some((left, right)) = compared_values(expression, document) {
        return Some(difference(&left, &right, "left", "right"));
    }
    let shown: Vec<String> = seen.iter().map(show).collect();
    Some(vec![if shown.is_empty() { "it has no output".to_owned() } else { format!("it is {}", shown.join(", ")) }])
}

/// How two values differ, a line for each.
pub(crate) fn difference(left: &Value, right: &Value, left_name: &str, right_name: &str) -> Vec<String> {
    let width = left_name.len().max(right_name.len());
    vec![format!("{left_name:>width$}: {}", show(left)), format!("{right_name:>width$}: {}", show(right))]
}

/// A value on one line, shortened.
pub(crate) fn show(value: &Value) -> String {
    shorten(&value.to_string())
}

pub(crate) fn shorten(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Both sides of an expression that compares two values last.
fn compared_values(expression: &str, document: &str) -> Option<(Value, Value)> {
    let (pipe, at, length) = last_comparison(expression)?;
    let (prefix, left) = match pipe {
        Some(pipe) => (&expression[..pipe], &expression[pipe + 1..at]),
        None => (".", &expression[..at]),
    };
    let both = format!("{prefix} | [({left}), ({})]", &expression[at + length..]);
    match first_output(&both, document).ok()? {
        Value::Array(mut both) if both.len() == 2 => {
            let right = both.pop()?;
            Some((both.pop()?, right))
        }
        _ => None,
    }
}

/// The only comparison outside of parentheses and strings: the last pipe before it, its position and its length. `None`
/// if there is another operator of low precedence.
fn last_comparison(expression: &str) -> Option<(Option<usize>, usize, usize)> {
    let bytes = expression.as_bytes();
    let (mut depth, mut in_string, mut pipe, mut found) = (0i32, false, None, None);
    let mut at = 0;
    while at < bytes.len() {
        let rest = &expression.as_bytes()[at..];
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth -= 1,
            _ if depth > 0 => {}
            b'|' if found.is_some() || rest.starts_with(b"|=") => return None,
            b'|' => pipe = Some(at),
            b'=' | b'!' | b'<' | b'>' => {
                let length = if rest.get(1) == Some(&b'=') { 2 } else { 1 };
                if found.is_some() || (length == 1 && matches!(bytes[at], b'=' | b'!')) {
                    return None;
                }
                found = Some((at, length));
                at += length - 1;
            }
            b',' => return None,
            _ if is_word(bytes, at, b"and") || is_word(bytes, at, b"or") || is_word(bytes, at, b"as") => return None,
            _ => {}
        }
        at += 1;
    }
    found.map(|(at, length)| (pipe, at, length))
}

fn is_word(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    let is_letter =
        |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$'));
    bytes[at..].starts_with(word)
        && !is_letter(at.checked_sub(1).and_then(|before| bytes.get(before)))
        && !is_letter(bytes.get(at + word.len()))
}

/// The members of `wanted` that `found` does not have like that: the path, what was expected, and what is there.
pub(crate) fn missing_members(
    wanted: &Map<String, Value>,
    found: Option<&Value>,
) -> Vec<(String, Value, Option<Value>)> {
    wanted
        .iter()
        .filter_map(|(name, value)| {
            let there = found.and_then(|found| found.get(name));
            let is_equal = there.is_some_and(|there| is_equal(there, value));
            (!is_equal).then(|| (name.clone(), value.clone(), there.cloned()))
        })
        .collect()
}

/// Whether two values are equal; numbers by their value.
pub(crate) fn is_equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| is_equal(a, b)))
        }
        _ => one == other,
    }
}

/// The failure for those of `--expect` that are not true of a result.
///
/// # Errors
/// [`ErrorKind::Mismatch`].
pub(crate) fn check_options(expressions: &[String], result: &str) -> Result<()> {
    let unmet: Vec<(&String, Vec<String>)> =
        expressions.iter().filter_map(|expression| Some((expression, check_expression(expression, result)?))).collect();
    let failure = match unmet.as_slice() {
        [] => return Ok(()),
        [(expression, seen)] => {
            let failure = Failure::new(ErrorKind::Mismatch, format!("not true: {expression}"));
            return Err(seen.iter().cloned().fold(failure, Failure::cause));
        }
        several => Failure::new(
            ErrorKind::Mismatch,
            format!("{} of {} expectations do not hold", several.len(), expressions.len()),
        ),
    };
    Err(unmet.into_iter().fold(failure, |failure, (expression, seen)| {
        seen.into_iter().fold(failure.cause(format!("not true: {expression}")), Failure::cause)
    }))
}

/// The failure of an option `--expect`: an expression that does not compile.
///
/// # Errors
/// [`ErrorKind::Usage`].
pub(crate) fn check_option(expression: &str) -> Result<()> {
    match JqFilter::new(expression, Vec::new) {
        Ok(_) => Ok(()),
        Err(failure) => {
            let message = format!("--expect: '{expression}' is not a valid jq expression");
            let causes = failure.details().causes.iter().cloned();
            Err(causes.fold(Failure::new(ErrorKind::Usage, message), Failure::cause))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn both_sides_of_a_comparison_are_shown() {
        let document = r#"{"a":[1,2],"b":"x == y"}"#;
        for (expression, left, right) in [
            (".a | length == 3", "2", "3"),
            (".a == [1]", "[1,2]", "[1]"),
            (".a | map(. + 1) | .[0] >= 4", "2", "4"),
            (r#".b == "x""#, r#""x == y""#, r#""x""#),
            (".a[0] != 1", "1", "1"),
        ] {
            let seen = check_expression(expression, document).unwrap();
            assert_eq!(seen, [format!(" left: {left}"), format!("right: {right}")], "{expression}");
        }
        assert_eq!(check_expression(".a | length == 2", document), None);
        assert_eq!(check_expression(".a[] > 0", document), None);
        assert_eq!(check_expression(".a[0] == 1 and .a[1] == 3", document).unwrap(), ["it is false"]);
        assert_eq!(check_expression("empty", document).unwrap(), ["it has no output"]);
        assert!(check_expression(".b | keys", document).unwrap()[0].starts_with("the expression failed: "));
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(is_equal(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        assert!(!is_equal(&json!([1]), &json!([1, 2])));
    }
}
