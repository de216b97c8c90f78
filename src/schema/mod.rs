//! JSON Schema as a tool's parameters need it: validation, coercion of typed words, descriptions for people,
//! example arguments, elicitation forms, and the parameters that HTTP headers mirror.
//!
//! Schemas come from servers and are never trusted: nothing is fetched, size and time are bounded, and
//! text that stems from them must be escaped by `output` before it reaches a terminal.

mod coerce;
mod defaults;
mod describe;
mod dialect;
mod document;
mod elicitation;
mod example;
mod fast_validator;
mod full_validator;
mod header_params;
mod number;
mod problem;
mod relax;
mod sample;
mod types;

pub use crate::schema::defaults::{has_default, required_without_default, with_defaults};
pub use crate::schema::elicitation::{check_form_content, form_defaults};
pub use crate::schema::header_params::{
    HeaderParam, InvalidAnnotation, collect_header_params, encode_header_value, header_value,
};
pub use crate::schema::relax::{UncheckedArguments, UncheckedExtent};
pub use crate::schema::types::TypeSet;
pub use coerce::{CoercionError, coerce, coerce_text};
pub use describe::{Parameter, output_shape, parameters, signature, type_text};
pub use dialect::{Dialect, SchemaError};
pub use document::{Property, SchemaDocument};
pub use example::{ExampleArguments, example_arguments};
pub use number::parse_json_number;
pub use problem::{ArgumentProblem, invalid_arguments_failure};

use std::borrow::Cow;

use crate::schema::relax::Unjudgeable;
use serde_json::Value;

/// Validates an instance; an empty list means that it is valid.
///
/// The dialect is that of `$schema`, else 2020-12 (TOL-06). `format` is an annotation. A schema made of the
/// everyday keywords is judged by `check`; any other one by the `jsonschema` crate (`docs/dependencies.md`
/// has the measurement behind this).
///
/// # Errors
/// The schema cannot be judged by: an unknown dialect, an external or dangling `$ref` (never fetched, TOL-07),
/// an invalid schema, or one beyond the bounds.
pub fn validate(schema: &Value, instance: &Value) -> Result<Vec<ArgumentProblem>, SchemaError> {
    let survey = dialect::survey_schema(schema)?;
    match survey.unresolved_references.into_iter().next() {
        Some((_, error)) => Err(error),
        None => validate_in_dialect(schema, instance, survey.dialect, survey.fits_fast_validator)
            .map_err(|refusal| refusal.error),
    }
}

/// Validates as far as the schema can be judged by: a bad spot in it keeps nothing else from being checked.
///
/// The doubts tell what went unchecked.
#[must_use]
pub fn validate_leniently(schema: &Value, instance: &Value) -> (Vec<ArgumentProblem>, Vec<UncheckedArguments>) {
    let mut mended = Cow::Borrowed(schema);
    let mut doubts = Vec::new();
    for _ in 0..MAX_RELAXATIONS {
        let attempt = |schema: &Value| {
            let survey = dialect::survey_schema(schema).map_err(|error| (error, Vec::new(), Dialect::default()))?;
            let spot = |(at, why): (*const Value, SchemaError)| {
                Some(Unjudgeable { path: relax::find_path(schema, at)?, reason: why })
            };
            if let Some((_, first)) = survey.unresolved_references.first().cloned() {
                return Err((
                    first,
                    survey.unresolved_references.into_iter().filter_map(spot).collect(),
                    survey.dialect,
                ));
            }
            validate_in_dialect(schema, instance, survey.dialect, survey.fits_fast_validator).map_err(
                |full_validator::UnusableSchema { error, path: place }| {
                    let spots = match place {
                        Some(path) => vec![Unjudgeable { path, reason: error.clone() }],
                        None => relax::find_references(schema, &error),
                    };
                    (error, spots, survey.dialect)
                },
            )
        };
        let (error, spots, dialect): (SchemaError, Vec<Unjudgeable>, Dialect) = match attempt(&mended) {
            Ok(problems) => return (problems, doubts),
            Err(refused) => refused,
        };
        let better = if spots.is_empty() { None } else { relax::relax(&mended, dialect, &spots) };
        let Some((better, more)) = better.filter(|(better, _)| *better != *mended) else {
            return (Vec::new(), vec![UncheckedArguments { extent: UncheckedExtent::All, reason: error }]);
        };
        mended = Cow::Owned(better);
        doubts.extend(more);
    }
    let why = SchemaError::Invalid("too much of it cannot be read".to_owned());
    (Vec::new(), vec![UncheckedArguments { extent: UncheckedExtent::All, reason: why }])
}

/// The most times that a schema is mended before it is given up.
const MAX_RELAXATIONS: usize = 16;

fn validate_in_dialect(
    schema: &Value,
    instance: &Value,
    dialect: Dialect,
    everyday: bool,
) -> Result<Vec<ArgumentProblem>, full_validator::UnusableSchema> {
    let document = SchemaDocument::with_dialect(schema, dialect);
    if everyday && let Some(problems) = fast_validator::validate_fast(document, schema, instance) {
        return Ok(redact_secrets(document, problems));
    }
    full_validator::validate(schema, instance, dialect).map(|problems| redact_secrets(document, problems))
}

/// The most schemas for one place that are asked whether it is secret.
const MAX_REDACTION_SCHEMAS: usize = 64;

/// Takes the values of secret parameters out of the problems.
fn redact_secrets(document: SchemaDocument<'_>, mut problems: Vec<ArgumentProblem>) -> Vec<ArgumentProblem> {
    for problem in problems.iter_mut().filter(|problem| problem.got.is_some()) {
        let mut places = vec![document.root()];
        for step in &problem.path {
            places = places
                .iter()
                .flat_map(|place| match (document.property(place, step), step.parse()) {
                    (Property::Declared(parts) | Property::Allowed(parts), _) if !parts.is_empty() => parts,
                    (_, Ok(position)) => document.item_schemas(place, position),
                    _ => Vec::new(),
                })
                .take(MAX_REDACTION_SCHEMAS)
                .collect();
            if places.iter().any(|place| document.is_secret(place)) {
                problem.got = None;
                break;
            }
        }
    }
    problems
}

/// Whether no argument at all certainly satisfies the schema, so that nothing needs to be validated.
#[must_use]
pub fn accepts_empty_object(schema: &Value) -> bool {
    match schema {
        Value::Bool(accepts) => *accepts,
        Value::Object(members) => members.iter().all(|(key, value)| match key.as_str() {
            "type" => value == "object",
            "required" => value.as_array().is_some_and(Vec::is_empty),
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "$defs"
            | "definitions"
            | "title"
            | "description"
            | "$schema"
            | "$id"
            | "$comment"
            | "default"
            | "examples" => true,
            _ => false,
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
