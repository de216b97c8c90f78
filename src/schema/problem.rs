//! What is wrong with one argument, and all of it as one failure.

use std::fmt;

use serde_json::Value;

use super::kinds::Kinds;
use crate::error::{Class, Failure};
use crate::near::did_you_mean;

/// The longest value that a problem repeats, in characters.
const LONGEST_ECHO: usize = 60;
/// The most allowed values that a problem lists.
const MOST_CHOICES: usize = 20;

/// One mistake in the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where: the member names down to the value, array positions as digits. Empty: the whole object.
    pub path: Vec<String>,
    /// What is wrong, without the value.
    pub message: String,
    /// The value as it was given, shortened. Left out where it may be a secret (it came from a file).
    pub got: Option<String>,
    /// What to type instead.
    pub suggestion: Option<String>,
    /// The types that would have fitted, where the type is what is wrong.
    pub expected: Option<Kinds>,
    /// Whether the value is none of those that are listed.
    pub unlisted: bool,
}

/// The message of a problem with a required argument that was not given.
pub(crate) const MISSING: &str = "required, but not given";

impl Problem {
    /// A problem with the value at `path`.
    pub fn new(path: &[String], message: impl Into<String>) -> Self {
        Problem {
            path: path.to_vec(),
            message: message.into(),
            got: None,
            suggestion: None,
            expected: None,
            unlisted: false,
        }
    }

    /// A problem with one top-level parameter.
    pub fn of(parameter: &str, message: impl Into<String>) -> Self {
        Problem::new(&[parameter.to_owned()], message)
    }

    /// A value of the wrong type.
    pub fn mistyped(path: &[String], expected: Kinds, value: &Value) -> Self {
        let mut problem = Problem::new(path, format!("expected {expected}")).got(value);
        problem.expected = Some(expected);
        problem
    }

    /// A value that is none of the allowed ones.
    pub fn not_among(path: &[String], allowed: &[Value], value: &Value) -> Self {
        let listed: Vec<String> = allowed.iter().take(MOST_CHOICES).map(Value::to_string).collect();
        let more = if allowed.len() > MOST_CHOICES { ", …" } else { "" };
        let message = match listed.as_slice() {
            [only] => format!("expected {only}"),
            _ => format!("expected one of {}{more}", listed.join(", ")),
        };
        let near = value.as_str().and_then(|word| did_you_mean(word, allowed.iter().filter_map(Value::as_str)));
        Problem { unlisted: true, ..Problem::new(path, message).got(value).suggest(near) }
    }

    /// A text that a pattern does not find.
    pub(super) fn not_matching(path: &[String], pattern: &str) -> Self {
        Problem::new(path, format!("must match the pattern {pattern}"))
    }

    /// A required member that is not there. `path` leads to the member.
    pub fn missing(path: &[String]) -> Self {
        Problem::new(path, MISSING)
    }

    /// A member that the schema does not know. `path` leads to the member; `known` are the names it knows.
    pub fn unknown<'a>(path: &[String], known: impl IntoIterator<Item = &'a str>) -> Self {
        let word = path.last().map_or("", String::as_str);
        Problem::new(path, "no such parameter").suggest(did_you_mean(word, known))
    }

    /// One problem, or several, for a value that fits no branch of an `anyOf` or `oneOf`.
    pub(super) fn no_branch(path: &[String], value: &Value, branches: Vec<Vec<Problem>>) -> Vec<Problem> {
        let mistyped = |problem: &Problem| if problem.path == path { problem.expected } else { None };
        let expected = branches.iter().flatten().filter_map(mistyped).fold(Kinds::NONE, Kinds::or);
        let mut fitting: Vec<Vec<Problem>> =
            branches.into_iter().filter(|branch| branch.iter().all(|problem| mistyped(problem).is_none())).collect();
        match fitting.len() {
            0 => return vec![Problem::mistyped(path, expected, value)],
            1 => return fitting.remove(0),
            _ => {}
        }
        if fitting.iter().flatten().all(|problem| problem.message == MISSING) {
            let names = |branch: &Vec<Problem>| branch.iter().map(Problem::parameter).collect::<Vec<_>>().join(" and ");
            let choices: Vec<String> = fitting.iter().map(names).collect();
            return vec![Problem::new(path, format!("one of these is required: {}", choices.join(", or ")))];
        }
        // A member of listed values tells which form is meant.
        let told_apart = |branch: &Vec<Problem>| {
            branch.iter().any(|problem| problem.unlisted && problem.path.len() == path.len() + 1)
        };
        if fitting.iter().filter(|branch| !told_apart(branch)).count() == 1 {
            fitting.retain(|branch| !told_apart(branch));
            return fitting.remove(0);
        }
        let nearest = fitting.into_iter().min_by_key(|branch| (told_apart(branch), branch.len())).unwrap_or_default();
        // Without values: this text outlives what knows which of them are secret.
        let shown = |problem: Problem| Problem { got: None, suggestion: None, ..problem }.to_string();
        let nearest: Vec<String> = nearest.into_iter().map(shown).collect();
        let nearest =
            (value.is_object() && !nearest.is_empty()).then(|| format!("for the nearest one, {}", nearest.join("; ")));
        vec![Problem::new(path, "fits none of the allowed forms").got(value).suggest(nearest)]
    }

    /// Repeats the value.
    #[must_use]
    pub fn got(mut self, value: &Value) -> Self {
        self.got = Some(echo(value));
        self
    }

    /// Repeats a word as it was typed.
    #[must_use]
    pub fn got_text(mut self, text: &str) -> Self {
        self.got = Some(format!("'{}'", shortened(text)));
        self
    }

    /// Says what to type instead.
    #[must_use]
    pub fn suggest(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    /// The parameter as a person types it: `filters.page`.
    #[must_use]
    pub fn parameter(&self) -> String {
        self.path.join(".")
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.parameter())?;
        }
        f.write_str(&self.message)?;
        if let Some(got) = &self.got {
            write!(f, ", got {got}")?;
        }
        if let Some(suggestion) = &self.suggestion {
            write!(f, "; {suggestion}")?;
        }
        Ok(())
    }
}

/// A value as a problem shows it: strings in single quotes, as they are typed; the rest as JSON.
fn echo(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", shortened(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => shortened(&other.to_string()),
    }
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= LONGEST_ECHO {
        return text.to_owned();
    }
    text.chars().take(LONGEST_ECHO - 1).chain(['…']).collect()
}

/// All mistakes in the arguments of one call as one usage error, a cause for each.
///
/// `look` is the command that shows the tool, and the hint.
#[must_use]
pub fn failure(look: &str, tool: &str, problems: &[Problem]) -> Failure {
    let what = match problems.len() {
        0 | 1 => format!("{tool}: an argument does not fit the tool"),
        many => format!("{tool}: {many} arguments do not fit the tool"),
    };
    let failure =
        problems.iter().fold(Failure::new(Class::Usage, what), |failure, problem| failure.cause(problem.to_string()));
    failure.hint(look)
}
