//! Expectations of `test` and `call --expect`: whether they hold of a result, and what was seen if they do not.

use std::cmp::Ordering;
use std::fmt::{self, Write};

use serde_json::{Map, Value};

use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::document::JsonDocument;
use crate::output::jq::{JqFilter, JqOutput};
use crate::protocol::json_string::encode_string;
use crate::schema::compare_numbers;
use crate::util::shorten::shorten;

/// The most characters of a value that are shown.
const MAX_SHOWN: usize = 400;

/// Whether a text matches a regular expression.
///
/// # Errors
/// If it is not a regular expression.
pub(crate) fn matches(regex: &str, text: &str) -> Result<bool> {
    let filter = JqFilter::new(".[0] as $regex | .[1] | test($regex)", Vec::new)?;
    let mut holds = false;
    filter.run(JsonDocument::from_strings([regex, text]), |output| {
        holds = output.is_true();
        Ok(())
    })?;
    Ok(holds)
}

fn compile(expression: &str) -> Result<JqFilter> {
    JqFilter::new(expression, || Environment::from_process().to_pairs())
}

/// The outputs of an expression over a document.
fn outputs(filter: &JqFilter, document: &mut JsonDocument<'_>) -> Result<Vec<JqOutput>, String> {
    let mut all = Vec::new();
    let run = filter.run(document.shared_copy(), |output| {
        all.push(output);
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
pub(crate) fn first_output(expression: &str, document: &mut JsonDocument<'_>) -> Result<Value, String> {
    let filter = compile(expression).map_err(|failure| failure.to_string())?;
    match outputs(&filter, document)?.into_iter().next().ok_or("it has no output")? {
        JqOutput::Text(bytes) => Ok(Value::String(String::from_utf8_lossy(&bytes).into_owned())),
        JqOutput::Json(json) => {
            let text = json.to_string();
            Ok(serde_json::from_str(&text).unwrap_or(Value::String(text)))
        }
    }
}

/// The first output of an expression, as text: numbers keep every digit.
///
/// # Errors
/// Why there is none.
pub(crate) fn first_output_text(expression: &str, document: &mut JsonDocument<'_>) -> Result<String, String> {
    let filter = compile(expression).map_err(|failure| failure.to_string())?;
    let first = outputs(&filter, document)?.into_iter().find_map(|output| match output {
        JqOutput::Json(json) => Some(json.to_string()),
        JqOutput::Text(_) => None,
    });
    first.ok_or_else(|| "it has no output".to_owned())
}

/// Whether an expression is true of a document; if not, what it saw, a line each.
pub(crate) fn check_expression(expression: &str, document: &mut JsonDocument<'_>) -> Option<Vec<String>> {
    let filter = match compile(expression) {
        Ok(filter) => filter,
        Err(failure) => return Some(vec![failure.to_string()]),
    };
    let seen = match outputs(&filter, document) {
        Ok(seen) => seen,
        Err(why) => return Some(vec![format!("the expression failed: {why}")]),
    };
    if !seen.is_empty() && seen.iter().all(JqOutput::is_true) {
        return None;
    }
    if let Some([left, right]) = compared_values(expression, document).as_deref() {
        return Some(lines_of_both([("left", show_output(left)), ("right", show_output(right))]));
    }
    let shown: Vec<String> = seen.iter().map(show_output).collect();
    Some(vec![if shown.is_empty() { "it has no output".to_owned() } else { format!("it is {}", shown.join(", ")) }])
}

/// How two values differ, a line for each.
pub(crate) fn difference(left: &Value, right: &Value, left_name: &str, right_name: &str) -> Vec<String> {
    lines_of_both([(left_name, show(left)), (right_name, show(right))])
}

fn lines_of_both(both: [(&str, String); 2]) -> Vec<String> {
    let width = both.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    both.into_iter().map(|(name, shown)| format!("{name:>width$}: {shown}")).collect()
}

/// An output on one line, shortened. Not much more than what is shown is copied.
fn show_output(output: &JqOutput) -> String {
    match output {
        JqOutput::Text(bytes) => {
            let most = bytes.len().min(MAX_SHOWN * char::MAX_LEN_UTF8);
            let end = if most < bytes.len() { "…" } else { "" };
            show_text(&encode_string(&(String::from_utf8_lossy(&bytes[..most]) + end)))
        }
        JqOutput::Json(json) => {
            let mut beginning = ShownBeginning(String::new());
            // It refuses more than what is shown.
            let _ = write!(beginning, "{json}");
            show_text(&beginning.0)
        }
    }
}

/// The beginning of a text: one character more than what is shown.
struct ShownBeginning(String);

impl fmt::Write for ShownBeginning {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = (MAX_SHOWN + 1).saturating_sub(self.0.chars().count());
        self.0.extend(text.chars().take(room));
        if room == 0 { Err(fmt::Error) } else { Ok(()) }
    }
}

/// A value on one line, shortened.
pub(crate) fn show(value: &Value) -> String {
    show_text(&value.to_string())
}

pub(crate) fn show_text(text: &str) -> String {
    shorten(text, MAX_SHOWN)
}

/// Both sides of an expression that compares two values last, for the first input for which it is not true.
fn compared_values(expression: &str, document: &mut JsonDocument<'_>) -> Option<Vec<JqOutput>> {
    let (pipe, at, length) = last_comparison(expression)?;
    let (prefix, left) = match pipe {
        Some(pipe) => (&expression[..pipe], &expression[pipe + 1..at]),
        None => (".", &expression[..at]),
    };
    let (operator, right) = expression[at..].split_at(length);
    let both = format!("first(({prefix}) | select([{left} {operator} {right}] | all|not)) | ({left}), ({right})");
    outputs(&compile(&both).ok()?, document).ok()
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
            b'/' if rest.starts_with(b"//") => return None,
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
        (Value::Number(a), Value::Number(b)) => a == b || compare_numbers(a, b) == Some(Ordering::Equal),
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
pub(crate) fn check_options(expressions: &[String], result: &mut JsonDocument<'_>) -> Result<()> {
    let unmet: Vec<(&String, Vec<String>)> =
        expressions.iter().filter_map(|expression| Some((expression, check_expression(expression, result)?))).collect();
    let failure = match unmet.as_slice() {
        [] => return Ok(()),
        [(expression, seen)] => {
            let failure = Failure::new(ErrorKind::Mismatch, format!("not true: {expression}"));
            return Err(seen.iter().cloned().fold(failure, Failure::cause));
        }
        several => {
            Failure::new(ErrorKind::Mismatch, format!("{} of {} expectations failed", several.len(), expressions.len()))
        }
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
    match compile(expression) {
        Ok(_) => Ok(()),
        Err(failure) => {
            let message = format!("--expect: '{expression}' is not a valid jq expression");
            let causes = failure.details().causes.iter().cloned();
            let failure = causes.fold(Failure::new(ErrorKind::Usage, message), Failure::cause);
            Err(failure.hint("expressions use jq syntax, for example '.content | length > 0'"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::borrow::Cow;

    use serde_json::json;

    use super::*;

    fn check(expression: &str, document: &str) -> Option<Vec<String>> {
        check_expression(expression, &mut JsonDocument::from(Cow::from(document)))
    }

    #[test]
    fn long_values_are_shortened() {
        let long = |count| "é\n".repeat(count);
        let document = json!({"a": long(300), "b": long(10_000), "c": [long(10_000)]}).to_string();
        let shown = |expression: &str| check(expression, &document).unwrap().remove(0);
        let text = format!("it is {}…", &json!(long(300)).to_string().chars().take(MAX_SHOWN).collect::<String>());
        assert_eq!(shown(".a"), text);
        assert_eq!(shown(".b"), text);
        assert_eq!(shown(".c").replace("[", ""), format!("{}…", text.chars().take(MAX_SHOWN + 5).collect::<String>()));
        assert_eq!(shown(".b == 1"), text.replace("it is", " left:"));
    }

    #[test]
    fn both_sides_of_a_comparison_are_shown() {
        let document = r#"{"a":[1,2],"b":"x == y"}"#;
        for (expression, left, right) in [
            (".a | length == 3", "2", "3"),
            (".a == [1]", "[1,2]", "[1]"),
            (".a | map(. + 1) | .[0] >= 4", "2", "4"),
            (r#".b == "x""#, r#""x == y""#, r#""x""#),
            (".a[0] != 1", "1", "1"),
            (".a[] | . < 2", "2", "2"),
        ] {
            let seen = check(expression, document).unwrap();
            assert_eq!(seen, [format!(" left: {left}"), format!("right: {right}")], "{expression}");
        }
        assert_eq!(check(".a | length == 2", document), None);
        assert_eq!(check(".a[] > 0", document), None);
        assert_eq!(check(".a[0] == 1 and .a[1] == 3", document).unwrap(), ["it is false"]);
        assert_eq!(check(".c // 1 == 2", document).unwrap(), ["it is false"]);
        assert_eq!(check(".a[] < 2", document).unwrap(), ["it is true, false"]);
        assert_eq!(check("empty", document).unwrap(), ["it has no output"]);
        assert!(check(".b | keys", document).unwrap()[0].starts_with("the expression failed: "));
    }

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(is_equal(&json!({"a": [1, 2.0]}), &json!({"a": [1.0, 2]})));
        assert!(!is_equal(&json!([1]), &json!([1, 2])));
        for (one, other) in
            [("1234567890123456788", "1234567890123456789"), ("1e400", "1e500"), ("0.1", "0.10000000000000000001")]
        {
            let [one, other] = [one, other].map(|text| serde_json::from_str::<Value>(text).unwrap());
            assert!(!is_equal(&one, &other), "{one} {other}");
        }
    }
}
