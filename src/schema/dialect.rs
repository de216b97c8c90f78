//! A schema's dialect, and a bounded survey of it before anything is validated (TOL-06, TOL-07).

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use super::document::{SchemaDocument, local_pointer};
use crate::schema::types::TypeSet;

/// The most subschemas that are looked at.
const MAX_SUBSCHEMAS: usize = 20_000;
/// The deepest nesting that is looked at.
const MAX_DEPTH: usize = 100;

/// A dialect of JSON Schema.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// draft-04.
    Draft4,
    /// draft-06.
    Draft6,
    /// draft-07.
    Draft7,
    /// 2019-09.
    Draft201909,
    /// 2020-12: what a schema without `$schema` is written in.
    #[default]
    Draft202012,
}

impl Dialect {
    /// The dialect that a schema declares, or the default one.
    ///
    /// # Errors
    /// A declared dialect that is none of these.
    pub fn from_schema(schema: &Value) -> Result<Dialect, SchemaError> {
        let declared = match schema.get("$schema") {
            None | Some(Value::Null) => return Ok(Dialect::default()),
            Some(Value::String(uri)) => uri,
            Some(other) => return Err(SchemaError::UnknownDialect(other.to_string())),
        };
        let name = declared.trim_end_matches('#');
        let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
        match name.trim_end_matches('/') {
            "json-schema.org/draft-04/schema" => Ok(Dialect::Draft4),
            "json-schema.org/draft-06/schema" => Ok(Dialect::Draft6),
            "json-schema.org/draft-07/schema" => Ok(Dialect::Draft7),
            "json-schema.org/draft/2019-09/schema" => Ok(Dialect::Draft201909),
            "json-schema.org/draft/2020-12/schema" | "json-schema.org/schema" => Ok(Dialect::Draft202012),
            _ => Err(SchemaError::UnknownDialect(declared.clone())),
        }
    }

    /// Whether `$ref` hides the keywords beside it.
    #[must_use]
    pub fn ref_ignores_siblings(self) -> bool {
        matches!(self, Dialect::Draft4 | Dialect::Draft6 | Dialect::Draft7)
    }
}

/// Why a schema cannot judge an instance. The server may still accept the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// `$schema` names a dialect that mcpipe does not know.
    UnknownDialect(String),
    /// A `$ref` leads out of the schema; it is never followed (TOL-07).
    ExternalRef(String),
    /// A `$ref` leads nowhere.
    DanglingRef(String),
    /// Not a valid schema of its dialect.
    Invalid(String),
    /// Larger, deeper or slower than mcpipe goes along with.
    TooCostly(&'static str),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SchemaError::UnknownDialect(uri) => write!(f, "the schema is written in an unknown dialect, {uri}"),
            SchemaError::ExternalRef(uri) => write!(f, "the schema refers to {uri}, which mcpipe does not fetch"),
            SchemaError::DanglingRef(reference) => {
                write!(f, "the schema refers to {reference}, which it does not hold")
            }
            SchemaError::Invalid(why) => write!(f, "the schema is not valid: {why}"),
            SchemaError::TooCostly(why) => write!(f, "the schema is too costly to check: {why}"),
        }
    }
}

impl std::error::Error for SchemaError {}

/// What a survey found.
#[derive(Clone, Debug)]
pub(super) struct SchemaSurvey {
    /// The dialect.
    pub dialect: Dialect,
    /// Whether the schema is well-formed in all that `check` reads. Keywords that `check` leaves to the full
    /// validator do not count here: they matter only where an instance meets them.
    pub fits_fast_validator: bool,
    /// References that lead out of the schema or nowhere, by the address of the keyword's value.
    pub unresolved_references: Vec<(*const Value, SchemaError)>,
}

/// Walks the whole schema once: dialect, bounds, references, well-formedness.
pub(super) fn survey_schema(schema: &Value) -> Result<SchemaSurvey, SchemaError> {
    let dialect = Dialect::from_schema(schema)?;
    if !schema.is_object() && !schema.is_boolean() {
        return Err(SchemaError::Invalid("neither an object nor a boolean".to_owned()));
    }
    let mut walk = SchemaSurveyor {
        document: SchemaDocument::with_dialect(schema, dialect),
        visited: HashSet::new(),
        references: Vec::new(),
        unresolved_references: Vec::new(),
        has_ids: false,
        fits_fast_validator: dialect != Dialect::Draft4,
    };
    walk.visit_schema(schema, 0)?;
    walk.check_references();
    Ok(SchemaSurvey {
        dialect,
        fits_fast_validator: walk.fits_fast_validator,
        unresolved_references: walk.unresolved_references,
    })
}

struct SchemaSurveyor<'a> {
    document: SchemaDocument<'a>,
    /// Subschemas by address: every place that a reference may lead to.
    visited: HashSet<*const Value>,
    references: Vec<(&'a str, &'a Value)>,
    /// What is wrong with some of them.
    unresolved_references: Vec<(*const Value, SchemaError)>,
    /// Whether an `$id` or anchor below the root makes references that only the full validator resolves.
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

    fn check_references(&mut self) {
        for (reference, value) in std::mem::take(&mut self.references) {
            let error = match local_pointer(reference) {
                Some(_) => match self.document.resolve_reference(reference) {
                    // A place that is no subschema: the full validator must judge what it means.
                    Some(schema) => {
                        self.fits_fast_validator &= self.visited.contains(&std::ptr::from_ref(schema));
                        continue;
                    }
                    None if self.has_ids => None,
                    None => Some(SchemaError::DanglingRef(reference.to_owned())),
                },
                // An anchor, or a reference to an `$id` inside the schema: the full validator resolves them, and
                // refuses what it cannot resolve.
                None if reference.starts_with('#') || self.has_ids => None,
                None => Some(SchemaError::ExternalRef(reference.to_owned())),
            };
            match error {
                Some(error) => self.unresolved_references.push((std::ptr::from_ref(value), error)),
                None => self.fits_fast_validator = false,
            }
        }
    }
}

/// The subschemas under a keyword.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subschemas<'a> {
    /// It holds none.
    Empty,
    /// It is one.
    Single(&'a Value),
    /// A list of them.
    List(&'a [Value]),
    /// Each has a name.
    Named(&'a Map<String, Value>),
}

impl<'a> Subschemas<'a> {
    /// All of them.
    pub fn iter(self) -> impl Iterator<Item = &'a Value> {
        let (one, list, named) = match self {
            Subschemas::Empty => (None, None, None),
            Subschemas::Single(schema) => (Some(schema), None, None),
            Subschemas::List(schemas) => (None, Some(schemas), None),
            Subschemas::Named(schemas) => (None, None, Some(schemas)),
        };
        // A member of `dependencies` may be a list of names.
        let named = named.into_iter().flat_map(Map::values).filter(|schema| !schema.is_array());
        one.into_iter().chain(list.into_iter().flatten()).chain(named)
    }
}

/// The subschemas that a keyword holds.
pub(super) fn subschemas<'a>(keyword: &str, value: &'a Value) -> Subschemas<'a> {
    match keyword {
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" | "dependencies" => {
            value.as_object().map_or(Subschemas::Empty, Subschemas::Named)
        }
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => {
            value.as_array().map_or(Subschemas::Empty, |all| Subschemas::List(all))
        }
        "items" if value.is_array() => value.as_array().map_or(Subschemas::Empty, |all| Subschemas::List(all)),
        "items"
        | "additionalProperties"
        | "not"
        | "if"
        | "then"
        | "else"
        | "contains"
        | "propertyNames"
        | "unevaluatedItems"
        | "unevaluatedProperties"
        | "additionalItems" => Subschemas::Single(value),
        _ => Subschemas::Empty,
    }
}

/// Whether a keyword that `check` reads has the value that every dialect since draft-06 wants.
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
