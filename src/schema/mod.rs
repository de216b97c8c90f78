//! JSON Schema as a tool's parameters need it: validation, coercion of typed words, descriptions for people,
//! example arguments, elicitation forms, and the parameters that HTTP headers mirror.
//!
//! Schemas come from servers and are never trusted: nothing is fetched, size and time are bounded, and
//! text that stems from them must be escaped by `output` before it reaches a terminal.

mod check;
mod coerce;
mod describe;
mod dialect;
mod document;
mod example;
mod fill;
mod form;
mod full;
mod invent;
mod kinds;
mod mend;
mod mirror;
mod number;
mod problem;

pub use coerce::{Misfit, coerce, coerce_text};
pub use describe::{Parameter, output_shape, parameters, signature, type_text};
pub use dialect::{Dialect, SchemaError};
pub use document::{Document, Property};
pub use example::{Example, example};
pub use fill::{completed, needed, stands_in};
pub use form::{check_form, defaults};
pub use kinds::Kinds;
pub use mend::{Doubt, Extent};
pub use mirror::{HeaderParam, InvalidAnnotation, encode_header, header_value, mirror};
pub use number::number_text;
pub use problem::{Problem, failure};

use std::borrow::Cow;

use mend::Spot;
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
pub fn validate(schema: &Value, instance: &Value) -> Result<Vec<Problem>, SchemaError> {
    let survey = dialect::survey(schema)?;
    match survey.bad.into_iter().next() {
        Some((_, error)) => Err(error),
        None => validate_with(schema, instance, survey.dialect, survey.everyday).map_err(|refusal| refusal.error),
    }
}

/// Validates as far as the schema can be judged by: a bad spot in it keeps nothing else from being checked.
///
/// The doubts tell what went unchecked.
#[must_use]
pub fn judge(schema: &Value, instance: &Value) -> (Vec<Problem>, Vec<Doubt>) {
    let mut mended = Cow::Borrowed(schema);
    let mut doubts = Vec::new();
    for _ in 0..MOST_SPOTS {
        let attempt = |schema: &Value| {
            let survey = dialect::survey(schema).map_err(|error| (error, Vec::new(), Dialect::default()))?;
            let spot = |(at, why): (*const Value, SchemaError)| Some(Spot { path: mend::path_to(schema, at)?, why });
            if let Some((_, first)) = survey.bad.first().cloned() {
                return Err((first, survey.bad.into_iter().filter_map(spot).collect(), survey.dialect));
            }
            validate_with(schema, instance, survey.dialect, survey.everyday).map_err(
                |full::Refusal { error, place }| {
                    let spots = match place {
                        Some(path) => vec![Spot { path, why: error.clone() }],
                        None => mend::references(schema, &error),
                    };
                    (error, spots, survey.dialect)
                },
            )
        };
        let (error, spots, dialect): (SchemaError, Vec<Spot>, Dialect) = match attempt(&mended) {
            Ok(problems) => return (problems, doubts),
            Err(refused) => refused,
        };
        let better = if spots.is_empty() { None } else { mend::mend(&mended, dialect, &spots) };
        let Some((better, more)) = better.filter(|(better, _)| *better != *mended) else {
            return (Vec::new(), vec![Doubt { extent: Extent::All, why: error }]);
        };
        mended = Cow::Owned(better);
        doubts.extend(more);
    }
    let why = SchemaError::Invalid("too much of it cannot be read".to_owned());
    (Vec::new(), vec![Doubt { extent: Extent::All, why }])
}

/// The most times that a schema is mended before it is given up.
const MOST_SPOTS: usize = 16;

fn validate_with(
    schema: &Value,
    instance: &Value,
    dialect: Dialect,
    everyday: bool,
) -> Result<Vec<Problem>, full::Refusal> {
    let document = Document::with_dialect(schema, dialect);
    if everyday && let Some(problems) = check::check(document, schema, instance) {
        return Ok(redacted(document, problems));
    }
    full::validate(schema, instance, dialect).map(|problems| redacted(document, problems))
}

/// The most schemas for one place that are asked whether it is secret.
const MOST_PLACES: usize = 64;

/// Takes the values of secret parameters out of the problems.
fn redacted(document: Document<'_>, mut problems: Vec<Problem>) -> Vec<Problem> {
    for problem in problems.iter_mut().filter(|problem| problem.got.is_some()) {
        let mut places = vec![document.root()];
        for step in &problem.path {
            places = places
                .iter()
                .flat_map(|place| match (document.property(place, step), step.parse()) {
                    (Property::Declared(parts) | Property::Allowed(parts), _) if !parts.is_empty() => parts,
                    (_, Ok(position)) => document.items(place, position),
                    _ => Vec::new(),
                })
                .take(MOST_PLACES)
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
pub fn accepts_nothing(schema: &Value) -> bool {
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
