//! The full validator: all keywords of all dialects, by the `jsonschema` crate, within a time limit.

use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{Draft, JsonType, PatternOptions, ReferencingError, ValidationError, Validator};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::schema::dialect::Dialect;
use crate::schema::error::{SchemaError, UnusableKeyword, UnusableSchema};
use crate::schema::problem::{CountUnit, MAX_PROBLEMS, ValueProblem};
use crate::schema::subschemas::find_paths;
use crate::schema::types::TypeSet;
use crate::schema::value_path::PathStep;

/// How long one validation may take, whatever the schema and its patterns are made of.
const TIME_LIMIT: Duration = Duration::from_secs(2);
/// The stack of the validating thread: chains of references nest deeply before the bounds stop them.
const STACK_BYTES: usize = 64 << 20;
/// The most backtracking steps of one pattern.
const MAX_BACKTRACKS: usize = 200_000;
/// The largest compiled pattern, in bytes.
const MAX_PATTERN_BYTES: usize = 4 << 20;

type ValidationResult = Result<Vec<ValueProblem>, UnusableSchema>;

/// The time that is left for one validation, with all forms of its schema.
pub(super) struct TimeBudget {
    left: Duration,
}

impl Default for TimeBudget {
    fn default() -> Self {
        TimeBudget { left: TIME_LIMIT }
    }
}

/// The time budget is used up.
pub(super) struct TimedOut;

/// A schema, compiled when it is first needed.
#[derive(Debug, Default)]
pub(super) struct FullValidator {
    compiled: Arc<OnceLock<Result<Validator, UnusableSchema>>>,
}

impl FullValidator {
    /// Validates on a thread of its own, because neither compiling nor matching can be interrupted.
    ///
    /// A thread that is not waited for any more ends after the problem that it is looking for, or with the process.
    ///
    /// # Errors
    /// [`TimedOut`] if it takes longer than the budget; inside, why the schema cannot be used.
    pub(super) async fn validate(
        &self,
        schema: &Arc<Value>,
        dialect: Dialect,
        value: &Value,
        budget: &mut TimeBudget,
    ) -> Result<ValidationResult, TimedOut> {
        let (sender, receiver) = oneshot::channel();
        let (schema, value, compiled) = (schema.clone(), value.clone(), self.compiled.clone());
        let work = move || {
            let result = match compiled.get_or_init(|| compile(&schema, dialect)) {
                Ok(validator) => find_problems(validator, &value, || sender.is_closed()),
                Err(unusable) => Err(unusable.clone()),
            };
            let _ = sender.send(result);
        };
        let started = Instant::now();
        let spawned = thread::Builder::new().name("schema".to_owned()).stack_size(STACK_BYTES).spawn(work);
        if spawned.is_err() {
            return Ok(Err(SchemaError::TooCostly("no thread is available").into()));
        }
        let result = tokio::time::timeout(budget.left, receiver).await.map_err(|_| TimedOut)?;
        budget.left = budget.left.saturating_sub(started.elapsed());
        // The sender is only dropped without a result if the validator panics.
        Ok(result.unwrap_or_else(|_| Err(SchemaError::Invalid("the validator failed".to_owned()).into())))
    }
}

fn compile(schema: &Value, dialect: Dialect) -> Result<Validator, UnusableSchema> {
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
    jsonschema::options()
        .with_draft(draft)
        .offline()
        .should_validate_formats(false)
        .without_content_media_type_support("application/json")
        .without_content_encoding_support("base64")
        .with_pattern_options(patterns)
        .build(schema)
        .map_err(|error| unusable_schema(schema, &error))
}

fn find_problems(validator: &Validator, value: &Value, is_abandoned: impl Fn() -> bool) -> ValidationResult {
    let mut problems = Vec::new();
    for error in validator.iter_errors(value).take(MAX_PROBLEMS).take_while(|_| !is_abandoned()) {
        if matches!(error.kind(), ValidationErrorKind::BacktrackLimitExceeded { .. }) {
            let reason = SchemaError::TooCostly("a pattern takes too long");
            let path = path_segments(error.schema_path());
            return Err(UnusableSchema { error: reason.clone(), keywords: vec![UnusableKeyword { path, reason }] });
        }
        for problem in problems_from_error(&error, value) {
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    Ok(problems)
}

/// Why the schema itself is rejected.
fn unusable_schema(schema: &Value, error: &ValidationError<'_>) -> UnusableSchema {
    let reason = match error.kind() {
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
            let path = path_segments(error.instance_path());
            let reason = SchemaError::Invalid(match (path.last().map(String::as_str), error.instance().as_str()) {
                (Some("pattern"), Some(pattern)) => {
                    format!("{}: '{pattern}' is not a regular expression that mcpipe supports", path.join("."))
                }
                _ => match problems_from_error(error, schema).first() {
                    Some(problem) => problem.to_string(),
                    None => error.to_string(),
                },
            });
            return UnusableSchema { error: reason.clone(), keywords: vec![UnusableKeyword { path, reason }] };
        }
    };
    UnusableSchema { keywords: unresolved_references(schema, &reason), error: reason }
}

/// The references that an error is about; the `jsonschema` crate does not report where they are.
fn unresolved_references(schema: &Value, error: &SchemaError) -> Vec<UnusableKeyword> {
    let is_meant = |value: &Value, keyword: &str| {
        let Some(reference) = value.as_str().filter(|_| keyword == "$ref" || keyword == "$dynamicRef") else {
            return false;
        };
        match error {
            SchemaError::ExternalRef(_) => !reference.starts_with('#'),
            SchemaError::DanglingRef(target) => reference.ends_with(target.trim_start_matches('#')),
            _ => false,
        }
    };
    let paths = find_paths(schema, &is_meant).into_iter();
    paths.map(|path| UnusableKeyword { path, reason: error.clone() }).collect()
}

fn path_segments(location: &Location) -> Vec<String> {
    let step = |segment| match segment {
        LocationSegment::Property(name) => name.into_owned(),
        LocationSegment::Index(position) => position.to_string(),
    };
    location.iter().map(step).collect()
}

/// The path to a value in `root`. The text of a location does not say whether a number is the position of an item.
fn value_path(location: &Location, root: &Value) -> Vec<PathStep> {
    let mut here = Some(root);
    let step = |segment: &str| {
        let name = segment.replace("~1", "/").replace("~0", "~");
        let step = match (here, name.parse()) {
            (Some(Value::Array(_)), Ok(position)) => PathStep::Item(position),
            _ => PathStep::Member(name),
        };
        here = here.and_then(|here| step.get_from(here));
        step
    };
    location.as_str().split('/').skip(1).map(step).collect()
}

/// One error of the `jsonschema` crate as problems; `root` is what was validated.
fn problems_from_error(error: &ValidationError<'_>, root: &Value) -> Vec<ValueProblem> {
    use ValidationErrorKind as Kind;
    let path = value_path(error.instance_path(), root);
    let value = error.instance();
    let member = |name: &str| -> Vec<PathStep> { path.iter().cloned().chain([PathStep::member(name)]).collect() };
    let plain = |message: String| vec![ValueProblem::new(&path, message)];
    let echoed = |message: String| vec![ValueProblem::new(&path, message).with_value(value)];
    match error.kind() {
        Kind::Type { kind } => vec![ValueProblem::wrong_type(&path, type_set(kind), value)],
        Kind::Constant { expected_value } => {
            vec![ValueProblem::not_in_enum(&path, std::slice::from_ref(expected_value.as_ref()), value)]
        }
        Kind::Enum { options } => {
            vec![ValueProblem::not_in_enum(&path, options.as_array().map_or(&[][..], Vec::as_slice), value)]
        }
        Kind::Required { property } => vec![ValueProblem::missing(&member(property.as_str().unwrap_or_default()))],
        Kind::AdditionalProperties { unexpected } | Kind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| ValueProblem::unknown_parameter(&member(name), [])).collect()
        }
        Kind::AnyOf { context } | Kind::OneOfNotValid { context } => {
            let branches =
                context.iter().map(|errors| errors.iter().flat_map(|error| problems_from_error(error, root)).collect());
            ValueProblem::no_branch_matches(&path, value, branches.collect())
        }
        Kind::OneOfMultipleValid { .. } => vec![ValueProblem::several_branches_match(&path, value)],
        Kind::Minimum { limit } => echoed(format!("must be at least {limit}")),
        Kind::Maximum { limit } => echoed(format!("must be at most {limit}")),
        Kind::ExclusiveMinimum { limit } => echoed(format!("must be more than {limit}")),
        Kind::ExclusiveMaximum { limit } => echoed(format!("must be less than {limit}")),
        Kind::MultipleOf { multiple_of } => echoed(format!("must be a multiple of {multiple_of}")),
        Kind::MinLength { limit } => {
            vec![ValueProblem::too_few(&path, *limit, CountUnit::Characters).with_value(value)]
        }
        Kind::MaxLength { limit } => {
            vec![ValueProblem::too_many(&path, *limit, CountUnit::Characters).with_value(value)]
        }
        Kind::Pattern { pattern } => vec![ValueProblem::pattern_mismatch(&path, pattern).with_value(value)],
        Kind::MinItems { limit } => vec![ValueProblem::too_few(&path, *limit, CountUnit::Items)],
        Kind::MaxItems { limit } => vec![ValueProblem::too_many(&path, *limit, CountUnit::Items)],
        Kind::AdditionalItems { limit } => vec![ValueProblem::too_many(&path, *limit as u64, CountUnit::Items)],
        Kind::MinProperties { limit } => vec![ValueProblem::too_few(&path, *limit, CountUnit::Members)],
        Kind::MaxProperties { limit } => vec![ValueProblem::too_many(&path, *limit, CountUnit::Members)],
        Kind::UniqueItems => vec![ValueProblem::duplicate_items(&path)],
        Kind::Contains => plain("a required item is missing".to_owned()),
        Kind::UnevaluatedItems { .. } => plain("has items that are not allowed".to_owned()),
        Kind::FalseSchema => vec![ValueProblem::not_allowed(&path)],
        Kind::Not { .. } => vec![ValueProblem::excluded(&path, value)],
        Kind::PropertyNames { error } => {
            plain(format!("has a member with an invalid name: {}", error.instance().as_str().unwrap_or_default()))
        }
        // Formats and content are not checked; the rest is not about the value.
        _ => plain("does not match the schema".to_owned()),
    }
}

fn type_set(kind: &TypeKind) -> TypeSet {
    let one = |kind: JsonType| TypeSet::from_name(&kind.to_string()).unwrap_or(TypeSet::NONE);
    match kind {
        TypeKind::Single(kind) => one(*kind),
        TypeKind::Multiple(kinds) => kinds.iter().fold(TypeSet::NONE, |all, kind| all.union(one(kind))),
    }
}
