//! What is wrong with one argument, and all of it as one failure.

use std::fmt;

use serde_json::Value;

use crate::error::{ErrorKind, Failure};
use crate::schema::types::TypeSet;
use crate::util::suggest::did_you_mean;

/// The longest value that a problem repeats, in characters.
const MAX_VALUE_CHARS: usize = 60;
/// The most allowed values that a problem lists.
const MAX_LISTED_CHOICES: usize = 20;

/// One mistake in the arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgumentProblem {
    /// Where: the member names down to the value, array positions as digits. Empty: the whole object.
    pub path: Vec<String>,
    /// What is wrong, without the value.
    pub message: String,
    /// The value as it was given, shortened. Left out where it may be a secret (it came from a file).
    pub got: Option<String>,
    /// What to type instead.
    pub suggestion: Option<String>,
    /// The types that would have fitted, where the type is what is wrong.
    pub expected: Option<TypeSet>,
    /// Whether the value is none of those that are listed.
    pub is_outside_enum: bool,
}

/// The message of a problem with a required argument that was not given.
pub(crate) const MISSING_MESSAGE: &str = "required, but not given";

impl ArgumentProblem {
    /// A problem with the value at `path`.
    pub fn new(path: &[String], message: impl Into<String>) -> Self {
        ArgumentProblem {
            path: path.to_vec(),
            message: message.into(),
            got: None,
            suggestion: None,
            expected: None,
            is_outside_enum: false,
        }
    }

    /// A problem with one top-level parameter.
    pub fn for_parameter(parameter: &str, message: impl Into<String>) -> Self {
        ArgumentProblem::new(&[parameter.to_owned()], message)
    }

    /// A value of the wrong type.
    pub fn wrong_type(path: &[String], expected: TypeSet, value: &Value) -> Self {
        let mut problem = ArgumentProblem::new(path, format!("expected {expected}")).with_value(value);
        problem.expected = Some(expected);
        problem
    }

    /// A value that is none of the allowed ones.
    pub fn not_in_enum(path: &[String], allowed: &[Value], value: &Value) -> Self {
        let listed: Vec<String> = allowed.iter().take(MAX_LISTED_CHOICES).map(Value::to_string).collect();
        let more = if allowed.len() > MAX_LISTED_CHOICES { ", …" } else { "" };
        let message = match listed.as_slice() {
            [only] => format!("expected {only}"),
            _ => format!("expected one of {}{more}", listed.join(", ")),
        };
        let near = value.as_str().and_then(|word| did_you_mean(word, allowed.iter().filter_map(Value::as_str)));
        ArgumentProblem {
            is_outside_enum: true,
            ..ArgumentProblem::new(path, message).with_value(value).with_suggestion(near)
        }
    }

    /// A text that a pattern does not find.
    pub(super) fn pattern_mismatch(path: &[String], pattern: &str) -> Self {
        ArgumentProblem::new(path, format!("must match the pattern {pattern}"))
    }

    /// A required member that is not there. `path` leads to the member.
    pub fn missing(path: &[String]) -> Self {
        ArgumentProblem::new(path, MISSING_MESSAGE)
    }

    /// A member that the schema does not know. `path` leads to the member; `known` are the names it knows.
    pub fn unknown_parameter<'a>(path: &[String], known: impl IntoIterator<Item = &'a str>) -> Self {
        let word = path.last().map_or("", String::as_str);
        ArgumentProblem::new(path, "no such parameter").with_suggestion(did_you_mean(word, known))
    }

    /// One problem, or several, for a value that fits no branch of an `anyOf` or `oneOf`.
    pub(super) fn no_branch_matches(
        path: &[String],
        value: &Value,
        branches: Vec<Vec<ArgumentProblem>>,
    ) -> Vec<ArgumentProblem> {
        let mistyped = |problem: &ArgumentProblem| if problem.path == path { problem.expected } else { None };
        let expected = branches.iter().flatten().filter_map(mistyped).fold(TypeSet::NONE, TypeSet::union);
        let mut fitting: Vec<Vec<ArgumentProblem>> =
            branches.into_iter().filter(|branch| branch.iter().all(|problem| mistyped(problem).is_none())).collect();
        match fitting.len() {
            0 => return vec![ArgumentProblem::wrong_type(path, expected, value)],
            1 => return fitting.remove(0),
            _ => {}
        }
        if fitting.iter().flatten().all(|problem| problem.message == MISSING_MESSAGE) {
            let names = |branch: &Vec<ArgumentProblem>| {
                branch.iter().map(ArgumentProblem::dotted_name).collect::<Vec<_>>().join(" and ")
            };
            let choices: Vec<String> = fitting.iter().map(names).collect();
            return vec![ArgumentProblem::new(path, format!("one of these is required: {}", choices.join(", or ")))];
        }
        // A member of listed values tells which form is meant.
        let told_apart = |branch: &Vec<ArgumentProblem>| {
            branch.iter().any(|problem| problem.is_outside_enum && problem.path.len() == path.len() + 1)
        };
        if fitting.iter().filter(|branch| !told_apart(branch)).count() == 1 {
            fitting.retain(|branch| !told_apart(branch));
            return fitting.remove(0);
        }
        let nearest = fitting.into_iter().min_by_key(|branch| (told_apart(branch), branch.len())).unwrap_or_default();
        // Without values: this text outlives what knows which of them are secret.
        let shown = |problem: ArgumentProblem| ArgumentProblem { got: None, suggestion: None, ..problem }.to_string();
        let nearest: Vec<String> = nearest.into_iter().map(shown).collect();
        let nearest =
            (value.is_object() && !nearest.is_empty()).then(|| format!("for the nearest one, {}", nearest.join("; ")));
        vec![ArgumentProblem::new(path, "fits none of the allowed forms").with_value(value).with_suggestion(nearest)]
    }

    /// Repeats the value.
    #[must_use]
    pub fn with_value(mut self, value: &Value) -> Self {
        self.got = Some(display_value(value));
        self
    }

    /// Repeats a word as it was typed.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.got = Some(format!("'{}'", truncated(text)));
        self
    }

    /// Says what to type instead.
    #[must_use]
    pub fn with_suggestion(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    /// The parameter as a person types it: `filters.page`.
    #[must_use]
    pub fn dotted_name(&self) -> String {
        self.path.join(".")
    }
}

impl fmt::Display for ArgumentProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.dotted_name())?;
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
fn display_value(value: &Value) -> String {
    match value {
        Value::String(text) => format!("'{}'", truncated(text)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => truncated(&other.to_string()),
    }
}

fn truncated(text: &str) -> String {
    if text.chars().count() <= MAX_VALUE_CHARS {
        return text.to_owned();
    }
    text.chars().take(MAX_VALUE_CHARS - 1).chain(['…']).collect()
}

/// All mistakes in the arguments of one call as one usage error, a cause for each.
///
/// `look` is the command that shows the tool, and the hint.
#[must_use]
pub fn invalid_arguments_failure(look: &str, tool: &str, problems: &[ArgumentProblem]) -> Failure {
    let what = match problems.len() {
        0 | 1 => format!("{tool}: an argument does not fit the tool"),
        many => format!("{tool}: {many} arguments do not fit the tool"),
    };
    let failure = problems
        .iter()
        .fold(Failure::new(ErrorKind::Usage, what), |failure, problem| failure.cause(problem.to_string()));
    failure.hint(look)
}
