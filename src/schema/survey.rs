//! A bounded survey of a schema before it is used: size, references, and which validator can take it
//! (TOL-06, TOL-07).

use std::collections::HashSet;

use serde_json::Value;

use crate::schema::dialect::Dialect;
use crate::schema::document::{SchemaDocument, local_pointer};
use crate::schema::error::{SchemaError, UnusableKeyword, UnusableSchema};
use crate::schema::subschemas::{find_paths, subschemas};
use crate::schema::types::TypeSet;

/// The most subschemas in a schema.
const MAX_SUBSCHEMAS: usize = 20_000;
/// The deepest nesting of subschemas.
const MAX_DEPTH: usize = 100;

/// What a survey found.
#[derive(Clone, Copy, Debug)]
pub(super) struct SchemaSurvey {
    /// The dialect.
    pub dialect: Dialect,
    /// Whether all keywords that the fast validator reads are well-formed. Keywords that it leaves to the full
    /// validator do not count: they matter only if the validated value reaches them.
    pub fits_fast_validator: bool,
}

/// Walks the whole schema once: dialect, bounds, references, well-formedness.
///
/// # Errors
/// An unknown dialect, a schema beyond the bounds, or references that cannot be resolved.
pub(super) fn survey_schema(schema: &Value) -> Result<SchemaSurvey, UnusableSchema> {
    let dialect = Dialect::from_schema(schema)?;
    if !schema.is_object() && !schema.is_boolean() {
        return Err(SchemaError::Invalid("neither an object nor a boolean".to_owned()).into());
    }
    let mut surveyor = SchemaSurveyor {
        document: SchemaDocument::with_dialect(schema, dialect),
        visited: HashSet::new(),
        references: Vec::new(),
        has_ids: false,
        fits_fast_validator: dialect != Dialect::Draft4,
    };
    surveyor.visit_schema(schema, 0)?;
    let unresolved = surveyor.unresolved_references();
    match unresolved.first() {
        None => Ok(SchemaSurvey { dialect, fits_fast_validator: surveyor.fits_fast_validator }),
        Some((_, error)) => {
            let path_of =
                |reference: &Value| find_paths(schema, &|value, _| std::ptr::eq(value, reference)).into_iter().next();
            let keyword = |(reference, reason): &(&Value, SchemaError)| {
                Some(UnusableKeyword { path: path_of(reference)?, reason: reason.clone() })
            };
            Err(UnusableSchema { error: error.clone(), keywords: unresolved.iter().filter_map(keyword).collect() })
        }
    }
}

struct SchemaSurveyor<'a> {
    document: SchemaDocument<'a>,
    /// Addresses of all subschemas: the valid targets of references.
    visited: HashSet<*const Value>,
    /// Each reference, and the value of its keyword.
    references: Vec<(&'a str, &'a Value)>,
    /// Whether there is an `$id` or anchor, so that only the full validator can resolve some references.
    has_ids: bool,
    fits_fast_validator: bool,
}

impl<'a> SchemaSurveyor<'a> {
    fn visit_schema(&mut self, schema: &'a Value, depth: usize) -> Result<(), SchemaError> {
        if self.visited.len() >= MAX_SUBSCHEMAS {
            return Err(SchemaError::TooCostly("it has too many parts"));
        }
        if depth > MAX_DEPTH {
            return Err(SchemaError::TooCostly("it is nested too deeply"));
        }
        self.visited.insert(std::ptr::from_ref(schema));
        let members = match schema {
            Value::Object(members) => members,
            Value::Bool(_) => return Ok(()),
            _ => {
                self.fits_fast_validator = false;
                return Ok(());
            }
        };
        for (keyword, value) in members {
            self.fits_fast_validator &= is_well_formed(keyword, value);
            for schema in subschemas(keyword, value).iter() {
                self.visit_schema(schema, depth + 1)?;
            }
            match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => match value {
                    Value::String(reference) => self.references.push((reference, value)),
                    _ => self.fits_fast_validator = false,
                },
                "$id" | "$schema" if depth > 0 => {
                    self.has_ids |= keyword == "$id";
                    self.fits_fast_validator = false;
                }
                "$id" => self.has_ids = true,
                "$anchor" | "$dynamicAnchor" | "$recursiveAnchor" | "$vocabulary" => self.fits_fast_validator = false,
                _ => {}
            }
        }
        Ok(())
    }

    /// The references that point outside the schema or nowhere.
    fn unresolved_references(&mut self) -> Vec<(&'a Value, SchemaError)> {
        let mut unresolved = Vec::new();
        for (reference, value) in std::mem::take(&mut self.references) {
            let error = match local_pointer(reference) {
                Some(_) => match self.document.resolve_reference(reference) {
                    // Only the full validator can interpret a target that is not a subschema.
                    Some(schema) => {
                        self.fits_fast_validator &= self.visited.contains(&std::ptr::from_ref(schema));
                        continue;
                    }
                    None if self.has_ids => None,
                    None => Some(SchemaError::DanglingRef(reference.to_owned())),
                },
                // An anchor, or a reference to an `$id` inside the schema: the full validator resolves it or
                // rejects the schema.
                None if reference.starts_with('#') || self.has_ids => None,
                None => Some(SchemaError::ExternalRef(reference.to_owned())),
            };
            match error {
                Some(error) => unresolved.push((value, error)),
                None => self.fits_fast_validator = false,
            }
        }
        unresolved
    }
}

/// Whether a keyword has a value that is valid in every dialect since draft-06; only keywords that the fast
/// validator reads are checked.
fn is_well_formed(keyword: &str, value: &Value) -> bool {
    let schema = |value: &Value| value.is_object() || value.is_boolean();
    let strings = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    match keyword {
        "type" => TypeSet::from_keyword(value).is_some() && has_unique_strings(value),
        "enum" => value.is_array(),
        "properties" | "$defs" | "definitions" => value.as_object().is_some_and(|members| members.values().all(schema)),
        "additionalProperties" | "not" => schema(value),
        "items" => schema(value) || value.is_array(),
        "required" => strings(value) && has_unique_strings(value),
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => value.is_number(),
        "multipleOf" => value.as_f64().is_some_and(|step| step > 0.0),
        "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => value.is_u64(),
        "uniqueItems" => value.is_boolean(),
        "pattern" => value.is_string(),
        "allOf" | "anyOf" | "oneOf" => {
            value.as_array().is_some_and(|schemas| !schemas.is_empty() && schemas.iter().all(schema))
        }
        _ => true,
    }
}

fn has_unique_strings(value: &Value) -> bool {
    let mut seen = HashSet::new();
    value.as_array().is_none_or(|items| items.iter().filter_map(Value::as_str).all(|item| seen.insert(item)))
}
