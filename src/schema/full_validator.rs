//! The full validator: every keyword of every dialect, by the `jsonschema` crate, within bounds.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, JsonType, PatternOptions, ReferencingError, ValidationError};
use serde_json::Value;

use super::dialect::{Dialect, SchemaError};
use super::problem::ArgumentProblem;
use crate::schema::types::TypeSet;

/// How long one validation may take, whatever the schema and its patterns are made of.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The stack of the validating thread: chains of references nest deeply before the bounds stop them.
const STACK_BYTES: usize = 64 << 20;
/// The most steps back that one pattern may take.
const MAX_BACKTRACKS: usize = 200_000;
/// The largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 4 << 20;
/// The most problems that are reported.
const MAX_PROBLEMS: usize = 100;

/// Validates on a thread of its own, because neither compiling nor matching can be interrupted.
///
/// A thread that overruns is left to end with the process.
///
/// # Errors
/// See [`super::validate`].
pub(super) fn validate(
    schema: &Value,
    instance: &Value,
    dialect: Dialect,
) -> Result<Vec<ArgumentProblem>, UnusableSchema> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let (schema, instance) = (schema.clone(), instance.clone());
    let judge = move || {
        // Nobody listens any more where the deadline has passed.
        let _ = sender.send(run_validator(&schema, &instance, dialect));
    };
    thread::Builder::new()
        .name("schema".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(judge)
        .map_err(|_| UnusableSchema::from(SchemaError::TooCostly("no thread is left for it")))?;
    match receiver.recv_timeout(TIME_LIMIT) {
        Ok(result) => result,
        Err(mpsc::RecvTimeoutError::Timeout) => Err(SchemaError::TooCostly("it took more than two seconds").into()),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            Err(SchemaError::Invalid("the validator gave up".to_owned()).into())
        }
    }
}

fn run_validator(schema: &Value, instance: &Value, dialect: Dialect) -> Result<Vec<ArgumentProblem>, UnusableSchema> {
    let draft = match dialect {
        Dialect::Draft4 => Draft::Draft4,
        Dialect::Draft6 => Draft::Draft6,
        Dialect::Draft7 => Draft::Draft7,
        Dialect::Draft201909 => Draft::Draft201909,
        Dialect::Draft202012 => Draft::Draft202012,
    };
    let patterns = PatternOptions::fancy_regex()
        .backtrack_limit(MAX_BACKTRACKS)
        .size_limit(MAX_PATTERN_BYTES)
        .dfa_size_limit(MAX_PATTERN_BYTES);
    let validator = jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(false)
        .without_content_media_type_support("application/json")
        .without_content_encoding_support("base64")
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| unusable_schema(&error))?;
    let mut problems = Vec::new();
    for error in validator.iter_errors(instance).take(MAX_PROBLEMS) {
        if matches!(error.kind(), ValidationErrorKind::BacktrackLimitExceeded { .. }) {
            let why = SchemaError::TooCostly("a pattern takes too long");
            return Err(UnusableSchema { error: why, path: Some(path_segments(error.schema_path())) });
        }
        for problem in problems_from_error(&error) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    Ok(problems)
}

/// Why the schema cannot be judged by, and where in it that is, if one place is to blame.
#[derive(Debug)]
pub(super) struct UnusableSchema {
    /// What is wrong.
    pub error: SchemaError,
    /// Names and positions down from the schema's root.
    pub path: Option<Vec<String>>,
}

impl From<SchemaError> for UnusableSchema {
    fn from(error: SchemaError) -> Self {
        UnusableSchema { error, path: None }
    }
}

/// Why the schema itself is refused.
fn unusable_schema(error: &ValidationError<'_>) -> UnusableSchema {
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
            SchemaError::UnknownDialect(specification.clone())
        }
        _ => {
            let place = path_segments(error.instance_path());
            let why = match (place.last().map(String::as_str), error.instance().as_str()) {
                (Some("pattern"), Some(pattern)) => {
                    format!("{}: '{pattern}' is no regular expression that mcpipe can read", place.join("."))
                }
                _ => {
                    let mut why = problems_from_error(error).into_iter().map(|problem| problem.to_string());
                    why.next().unwrap_or_else(|| error.to_string())
                }
            };
            return UnusableSchema { error: SchemaError::Invalid(why), path: Some(place) };
        }
    };
    error.into()
}

fn path_segments(location: &Location) -> Vec<String> {
    let step = |segment| match segment {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(position) => position.to_string(),
    };
    location.iter().map(step).collect()
}

/// One error in mcpipe's words.
fn problems_from_error(error: &ValidationError<'_>) -> Vec<ArgumentProblem> {
    use ValidationErrorKind as Kind;
    let path = path_segments(error.instance_path());
    let value = error.instance();
    let member = |name: &str| -> Vec<String> { path.iter().cloned().chain([name.to_owned()]).collect() };
    let plain = |message: String| vec![ArgumentProblem::new(&path, message)];
    let echoed = |message: String| vec![ArgumentProblem::new(&path, message).with_value(value)];
    let units = |limit: u64, one: &str, many: &str| format!("{limit} {}", if limit == 1 { one } else { many });
    match error.kind() {
        Kind::Type { kind } => vec![ArgumentProblem::wrong_type(&path, type_set(kind), value)],
        Kind::Constant { expected_value } => {
            vec![ArgumentProblem::not_in_enum(&path, std::slice::from_ref(expected_value.as_ref()), value)]
        }
        Kind::Enum { options } => {
            vec![ArgumentProblem::not_in_enum(&path, options.as_array().map_or(&[][..], Vec::as_slice), value)]
        }
        Kind::Required { property } => vec![ArgumentProblem::missing(&member(property.as_str().unwrap_or_default()))],
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| ArgumentProblem::unknown_parameter(&member(name), [])).collect()
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let branches = context.iter().map(|errors| errors.iter().flat_map(problems_from_error).collect()).collect();
            ArgumentProblem::no_branch_matches(&path, value, branches)
        }
        Kind::OneOfMultipleValid { .. } => echoed("fits several forms that exclude each other".to_owned()),
        Kind::Minimum { limit } => echoed(format!("must be at least {limit}")),
        Kind::Maximum { limit } => echoed(format!("must be at most {limit}")),
        Kind::ExclusiveMinimum { limit } => echoed(format!("must be more than {limit}")),
        Kind::ExclusiveMaximum { limit } => echoed(format!("must be less than {limit}")),
        Kind::MultipleOf { multiple_of } => echoed(format!("must be a multiple of {multiple_of}")),
        Kind::MinLength { limit } => echoed(format!("needs at least {}", units(*limit, "character", "characters"))),
        Kind::MaxLength { limit } => echoed(format!("takes at most {}", units(*limit, "character", "characters"))),
        Kind::Pattern { pattern } => vec![ArgumentProblem::pattern_mismatch(&path, pattern).with_value(value)],
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

fn type_set(kind: &TypeKind) -> TypeSet {
    let one = |kind: JsonType| TypeSet::from_name(&kind.to_string()).unwrap_or(TypeSet::NONE);
    match kind {
        TypeKind::Single(kind) => one(*kind),
        TypeKind::Multiple(kinds) => kinds.iter().fold(TypeSet::NONE, |all, kind| all.union(one(kind))),
    }
}
