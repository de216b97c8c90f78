//! The full validator: every keyword of every dialect, by the `jsonschema` crate, within bounds.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, JsonType, PatternOptions, ReferencingError, ValidationError};
use serde_json::Value;

use super::dialect::{Dialect, SchemaError};
use super::kinds::Kinds;
use super::problem::Problem;

/// How long one validation may take, whatever the schema and its patterns are made of.
const LONGEST: Duration = Duration::from_secs(2);
/// The stack of the validating thread: chains of references nest deeply before the bounds stop them.
const STACK: usize = 64 << 20;
/// The most steps back that one pattern may take.
const MOST_BACKTRACKS: usize = 200_000;
/// The largest compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 4 << 20;
/// The most problems that are reported.
const MOST_PROBLEMS: usize = 100;

/// Validates on a thread of its own, because neither compiling nor matching can be interrupted.
///
/// A thread that overruns is left to end with the process.
///
/// # Errors
/// See [`super::validate`].
pub(super) fn validate(schema: &Value, instance: &Value, dialect: Dialect) -> Result<Vec<Problem>, Refusal> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let (schema, instance) = (schema.clone(), instance.clone());
    let judge = move || {
        // Nobody listens any more where the deadline has passed.
        let _ = sender.send(judge(&schema, &instance, dialect));
    };
    thread::Builder::new()
        .name("schema".to_owned())
        .stack_size(STACK)
        .spawn(judge)
        .map_err(|_| Refusal::from(SchemaError::TooCostly("no thread is left for it")))?;
    match receiver.recv_timeout(LONGEST) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(SchemaError::TooCostly("it took more than two seconds").into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(SchemaError::Invalid("the validator gave up".to_owned()).into())
        }
    }
}

fn judge(schema: &Value, instance: &Value, dialect: Dialect) -> Result<Vec<Problem>, Refusal> {
    let draft = match dialect {
        Dialect::Draft4 => Draft::Draft4,
        Dialect::Draft6 => Draft::Draft6,
        Dialect::Draft7 => Draft::Draft7,
        Dialect::Draft201909 => Draft::Draft201909,
        Dialect::Draft202012 => Draft::Draft202012,
    };
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(MOST_BACKTRACKS)
        .size_limit(LARGEST_PATTERN)
        .dfa_size_limit(LARGEST_PATTERN);
    let validator = jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(false)
        .without_content_media_type_support("application/json")
        .without_content_encoding_support("base64")
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| refusal(&error))?;
    let mut problems = Vec::new();
    for error in validator.iter_errors(instance).take(MOST_PROBLEMS) {
        if matches!(error.kind(), ValidationErrorKind::BacktrackLimitExceeded { .. }) {
            let why = SchemaError::TooCostly("a pattern takes too long");
            return Err(Refusal { error: why, place: Some(steps(error.schema_path())) });
        }
        for problem in describe(&error) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    Ok(problems)
}

/// Why the schema cannot be judged by, and where in it that is, if one place is to blame.
#[derive(Debug)]
pub(super) struct Refusal {
    /// What is wrong.
    pub error: SchemaError,
    /// Names and positions down from the schema's root.
    pub place: Option<Vec<String>>,
}

impl From<SchemaError> for Refusal {
    fn from(error: SchemaError) -> Self {
        Refusal { error, place: None }
    }
}

/// Why the schema itself is refused.
fn refusal(error: &ValidationError<'_>) -> Refusal {
    let error = match error.kind() {
        ValidationErrorKind::Referencing(ReferencingError::Unretrievable { uri, .. }) => {
            SchemaError::ExternalRef(uri.clone())
        }
        ValidationErrorKind::Referencing(ReferencingError::PointerToNowhere { pointer }) => {
            SchemaError::DanglingRef(format!("#{pointer}"))
        }
        ValidationErrorKind::Referencing(
            ReferencingError::NoSuchAnchor { anchor } | ReferencingError::InvalidAnchor { anchor },
        ) => SchemaError::DanglingRef(format!("#{anchor}")),
        ValidationErrorKind::Referencing(ReferencingError::UnknownSpecification { specification }) => {
            SchemaError::Dialect(specification.clone())
        }
        _ => {
            let place = steps(error.instance_path());
            let why = match (place.last().map(String::as_str), error.instance().as_str()) {
                (Some("pattern"), Some(pattern)) => {
                    format!("{}: '{pattern}' is no regular expression that mcpipe can read", place.join("."))
                }
                _ => {
                    let mut why = describe(error).into_iter().map(|problem| problem.to_string());
                    why.next().unwrap_or_else(|| error.to_string())
                }
            };
            return Refusal { error: SchemaError::Invalid(why), place: Some(place) };
        }
    };
    error.into()
}

fn steps(location: &Location) -> Vec<String> {
    let step = |segment| match segment {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(position) => position.to_string(),
    };
    location.iter().map(step).collect()
}

/// One error in mcpipe's words.
fn describe(error: &ValidationError<'_>) -> Vec<Problem> {
    use ValidationErrorKind as Kind;
    let path = steps(error.instance_path());
    let value = error.instance();
    let member = |name: &str| -> Vec<String> { path.iter().cloned().chain([name.to_owned()]).collect() };
    let plain = |message: String| vec![Problem::new(&path, message)];
    let echoed = |message: String| vec![Problem::new(&path, message).got(value)];
    let units = |limit: u64, one: &str, many: &str| format!("{limit} {}", if limit == 1 { one } else { many });
    match error.kind() {
        Kind::Type { kind } => vec![Problem::mistyped(&path, kinds(kind), value)],
        Kind::Constant { expected_value } => {
            vec![Problem::not_among(&path, std::slice::from_ref(expected_value.as_ref()), value)]
        }
        Kind::Enum { options } => {
            vec![Problem::not_among(&path, options.as_array().map_or(&[][..], Vec::as_slice), value)]
        }
        Kind::Required { property } => vec![Problem::missing(&member(property.as_str().unwrap_or_default()))],
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| Problem::unknown(&member(name), [])).collect()
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let branches = context.iter().map(|errors| errors.iter().flat_map(describe).collect()).collect();
            Problem::no_branch(&path, value, branches)
        }
        Kind::OneOfMultipleValid { .. } => echoed("fits several forms that exclude each other".to_owned()),
        Kind::Minimum { limit } => echoed(format!("must be at least {limit}")),
        Kind::Maximum { limit } => echoed(format!("must be at most {limit}")),
        Kind::ExclusiveMinimum { limit } => echoed(format!("must be more than {limit}")),
        Kind::ExclusiveMaximum { limit } => echoed(format!("must be less than {limit}")),
        Kind::MultipleOf { multiple_of } => echoed(format!("must be a multiple of {multiple_of}")),
        Kind::MinLength { limit } => echoed(format!("needs at least {}", units(*limit, "character", "characters"))),
        Kind::MaxLength { limit } => echoed(format!("takes at most {}", units(*limit, "character", "characters"))),
        Kind::Pattern { pattern } => vec![Problem::not_matching(&path, pattern).got(value)],
        Kind::MinItems { limit } => plain(format!("needs at least {}", units(*limit, "item", "items"))),
        Kind::MaxItems { limit } => plain(format!("takes at most {}", units(*limit, "item", "items"))),
        Kind::AdditionalItems { limit } => plain(format!("takes at most {}", units(*limit as u64, "item", "items"))),
        Kind::MinProperties { limit } => plain(format!("needs at least {}", units(*limit, "member", "members"))),
        Kind::MaxProperties { limit } => plain(format!("takes at most {}", units(*limit, "member", "members"))),
        Kind::UniqueItems => plain("holds the same item twice".to_owned()),
        Kind::Contains => plain("lacks an item that is required".to_owned()),
        Kind::UnevaluatedItems { .. } => plain("holds items that are not accepted".to_owned()),
        Kind::FalseSchema => plain("nothing is accepted here".to_owned()),
        Kind::Not { .. } => echoed("must not have this form".to_owned()),
        Kind::PropertyNames { error } => {
            plain(format!("has a member whose name is not accepted: {}", error.instance().as_str().unwrap_or_default()))
        }
        // The rest (format, content) is switched off, or says nothing about the value.
        _ => plain("does not fit the schema".to_owned()),
    }
}

fn kinds(kind: &TypeKind) -> Kinds {
    let one = |kind: JsonType| Kinds::named(&kind.to_string()).unwrap_or(Kinds::NONE);
    match kind {
        TypeKind::Single(kind) => one(*kind),
        TypeKind::Multiple(kinds) => kinds.iter().fold(Kinds::NONE, |all, kind| all.or(one(kind))),
    }
}
