//! What is wrong with an argument, and all problems of one call as one failure.

use std::fmt;

use serde_json::Value;

use crate::error::{ErrorKind, Failure};
use crate::schema::types::TypeSet;
use crate::schema::value_path::{PathStep, path_text};
use crate::util::quoting::{HIDDEN, without_secret};
use crate::util::secret_names::looks_secret;
use crate::util::shorten::shorten;
use crate::util::suggest::did_you_mean;

/// The most problems that are reported for one value.
pub(super) const MAX_PROBLEMS: usize = 100;
/// The longest value that a problem shows, in characters.
const MAX_VALUE_CHARS: usize = 60;
/// The most allowed values that a problem lists.
const MAX_LISTED_CHOICES: usize = 20;

/// What is wrong with one value: an argument, a field of a form, a part of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueProblem {
    /// Where. Empty: the whole object.
    pub path: Vec<PathStep>,
    /// What is wrong, without the value.
    pub message: String,
    /// The value, shortened. `None` if it must not be shown: it may be a secret, or came from a file.
    pub got: Option<String>,
    /// What to type instead.
    pub suggestion: Option<String>,
    /// What kind of problem it is.
    kind: ProblemKind,
}

/// The kinds of problems that decide which alternative of an `anyOf` or `oneOf` was meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ProblemKind {
    /// A required value is missing.
    Missing,
    /// The value has none of these types.
    WrongType(TypeSet),
    /// The value is not one of the listed values.
    NotInEnum,
    /// Any other problem.
    Other,
}

impl ValueProblem {
    /// A problem with the value at `path`.
    pub fn new(path: &[PathStep], message: impl Into<String>) -> Self {
        ValueProblem {
            path: path.to_vec(),
            message: message.into(),
            got: None,
            suggestion: None,
            kind: ProblemKind::Other,
        }
    }

    /// A problem with one top-level parameter.
    pub fn for_parameter(parameter: &str, message: impl Into<String>) -> Self {
        ValueProblem::new(&[PathStep::member(parameter)], message)
    }

    /// Whether it is in this member of the whole object.
    #[must_use]
    pub fn is_about(&self, member: &str) -> bool {
        self.path.first().is_some_and(|step| step.is_member(member))
    }

    /// A word without a name, which may be the value of `parameter`.
    pub fn stray_word(word: &str, parameter: Option<&str>) -> Self {
        let shown = if parameter.is_some_and(looks_secret) { HIDDEN.to_owned() } else { without_secret(None, word) };
        ValueProblem::new(&[], format!("'{shown}' is not an argument"))
    }

    /// A value of the wrong type.
    pub fn wrong_type(path: &[PathStep], expected: TypeSet, value: &Value) -> Self {
        let problem = ValueProblem::new(path, format!("expected {expected}")).with_value(value);
        ValueProblem { kind: ProblemKind::WrongType(expected), ..problem }
    }

    /// A value that is not one of the allowed ones.
    pub fn not_in_enum(path: &[PathStep], allowed: &[Value], value: &Value) -> Self {
        let listed: Vec<String> = allowed.iter().take(MAX_LISTED_CHOICES).map(Value::to_string).collect();
        let more = if allowed.len() > MAX_LISTED_CHOICES { ", …" } else { "" };
        let message = match listed.as_slice() {
            [only] => format!("expected {only}"),
            _ => format!("expected one of {}{more}", listed.join(", ")),
        };
        let near = value.as_str().and_then(|word| did_you_mean(word, allowed.iter().filter_map(Value::as_str)));
        ValueProblem {
            kind: ProblemKind::NotInEnum,
            ..ValueProblem::new(path, message).with_value(value).with_suggestion(near)
        }
    }

    /// A string that does not match a pattern.
    pub(super) fn pattern_mismatch(path: &[PathStep], pattern: &str) -> Self {
        ValueProblem::new(path, format!("must match the pattern {pattern}"))
    }

    /// A string, array or object with fewer than `limit` parts.
    pub(super) fn too_few(path: &[PathStep], limit: u64, unit: CountUnit) -> Self {
        ValueProblem::new(path, format!("must have at least {limit} {}", unit.name(limit)))
    }

    /// A string, array or object with more than `limit` parts.
    pub(super) fn too_many(path: &[PathStep], limit: u64, unit: CountUnit) -> Self {
        ValueProblem::new(path, format!("must have at most {limit} {}", unit.name(limit)))
    }

    /// An array with duplicate items.
    pub(super) fn duplicate_items(path: &[PathStep]) -> Self {
        ValueProblem::new(path, "has duplicate items")
    }

    /// A value where the schema allows none.
    pub(super) fn not_allowed(path: &[PathStep]) -> Self {
        ValueProblem::new(path, "no value is allowed here")
    }

    /// A value that matches the schema under `not`.
    pub(super) fn excluded(path: &[PathStep], value: &Value) -> Self {
        ValueProblem::new(path, "this value is not allowed").with_value(value)
    }

    /// A value that matches several branches of a `oneOf`.
    pub(super) fn several_branches_match(path: &[PathStep], value: &Value) -> Self {
        ValueProblem::new(path, "matches more than one of the alternatives; only one is allowed").with_value(value)
    }

    /// A required member that is missing. `path` is that of the member.
    pub fn missing(path: &[PathStep]) -> Self {
        ValueProblem { kind: ProblemKind::Missing, ..ValueProblem::new(path, "required value is missing") }
    }

    /// Whether a required value is missing.
    #[must_use]
    pub fn is_missing_value(&self) -> bool {
        self.kind == ProblemKind::Missing
    }

    /// A member that the schema does not declare. `path` is that of the member; `known` are the declared names.
    pub fn unknown_parameter<'a>(path: &[PathStep], known: impl IntoIterator<Item = &'a str>) -> Self {
        let near = match path.last() {
            Some(PathStep::Member(word)) => did_you_mean(word, known),
            _ => None,
        };
        ValueProblem::new(path, "no such parameter").with_suggestion(near)
    }

    /// The problems of a value that matches no branch of an `anyOf` or `oneOf`: those of the branch that was probably
    /// meant, else one problem for the whole.
    pub(super) fn no_branch_matches(
        path: &[PathStep],
        value: &Value,
        branches: Vec<Vec<ValueProblem>>,
    ) -> Vec<ValueProblem> {
        let expected_type = |problem: &ValueProblem| match problem.kind {
            ProblemKind::WrongType(expected) if problem.path == path => Some(expected),
            _ => None,
        };
        let expected = branches.iter().flatten().filter_map(expected_type).fold(TypeSet::NONE, TypeSet::union);
        let mut candidates: Vec<Vec<ValueProblem>> =
            branches.into_iter().filter(|branch| branch.iter().all(|one| expected_type(one).is_none())).collect();
        match candidates.len() {
            0 => return vec![ValueProblem::wrong_type(path, expected, value)],
            1 => return candidates.remove(0),
            _ => {}
        }
        if candidates.iter().flatten().all(|problem| problem.kind == ProblemKind::Missing) {
            let names = |branch: &Vec<ValueProblem>| {
                branch.iter().map(|problem| path_text(&problem.path)).collect::<Vec<_>>().join(" and ")
            };
            let choices: Vec<String> = candidates.iter().map(names).collect();
            let message = format!("one of these is required: {}", choices.join(", or "));
            return vec![ValueProblem { kind: ProblemKind::Missing, ..ValueProblem::new(path, message) }];
        }
        // A member with listed values (`kind: "a"`) shows which branch was not meant.
        let is_excluded = |branch: &Vec<ValueProblem>| {
            branch.iter().any(|one| one.kind == ProblemKind::NotInEnum && one.path.len() == path.len() + 1)
        };
        if candidates.iter().filter(|branch| !is_excluded(branch)).count() == 1 {
            candidates.retain(|branch| !is_excluded(branch));
            return candidates.remove(0);
        }
        let closest =
            candidates.into_iter().min_by_key(|branch| (is_excluded(branch), branch.len())).unwrap_or_default();
        // Without values: once this is text, secret values can no longer be removed from it.
        let shown = |problem: ValueProblem| ValueProblem { got: None, suggestion: None, ..problem }.to_string();
        let closest: Vec<String> = closest.into_iter().map(shown).collect();
        let closest =
            (value.is_object() && !closest.is_empty()).then(|| format!("for the closest one: {}", closest.join("; ")));
        vec![ValueProblem::new(path, "matches none of the alternatives").with_value(value).with_suggestion(closest)]
    }

    /// Shows the value.
    #[must_use]
    pub fn with_value(mut self, value: &Value) -> Self {
        self.got = Some(display_value(value));
        self
    }

    /// Shows a word as it was typed.
    #[must_use]
    pub fn with_text(mut self, text: &str) -> Self {
        self.got = Some(format!("'{}'", shorten(text, MAX_VALUE_CHARS)));
        self
    }

    /// Adds what to type instead.
    #[must_use]
    pub fn with_suggestion(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }
}

/// What a limit of length counts.
#[derive(Clone, Copy, Debug)]
pub(super) enum CountUnit {
    Characters,
    Items,
    Members,
}

impl CountUnit {
    fn name(self, count: u64) -> &'static str {
        match (self, count) {
            (CountUnit::Characters, 1) => "character",
            (CountUnit::Characters, _) => "characters",
            (CountUnit::Items, 1) => "item",
            (CountUnit::Items, _) => "items",
            (CountUnit::Members, 1) => "member",
            (CountUnit::Members, _) => "members",
        }
    }
}

impl fmt::Display for ValueProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", path_text(&self.path))?;
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
        Value::String(text) => format!("'{}'", shorten(text, MAX_VALUE_CHARS)),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "an object".to_owned(),
        other => shorten(&other.to_string(), MAX_VALUE_CHARS),
    }
}

/// All problems with the arguments of one call as one usage error, each problem a cause.
///
/// `hint` is the command that shows what can be passed.
#[must_use]
pub fn invalid_arguments_failure(hint: &str, tool: &str, problems: &[ValueProblem]) -> Failure {
    let failure = Failure::new(ErrorKind::Usage, format!("{tool}: invalid arguments"));
    problems.iter().fold(failure, |failure, problem| failure.cause(problem.to_string())).hint(hint)
}
