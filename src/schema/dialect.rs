//! A schema's dialect, and a bounded survey of it before anything is validated (TOL-06, TOL-07).

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use super::document::{Document, pointer};
use super::kinds::Kinds;

/// The most subschemas that are looked at.
const MOST_SUBSCHEMAS: usize = 20_000;
/// The deepest nesting that is looked at.
const DEEPEST: usize = 100;

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
    pub fn of(schema: &Value) -> Result<Dialect, SchemaError> {
        let declared = match schema.get("$schema") {
            None | Some(Value::Null) => return Ok(Dialect::default()),
            Some(Value::String(uri)) => uri,
            Some(other) => return Err(SchemaError::Dialect(other.to_string())),
        };
        let name = declared.trim_end_matches('#');
        let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
        match name.trim_end_matches('/') {
            "json-schema.org/draft-04/schema" => Ok(Dialect::Draft4),
            "json-schema.org/draft-06/schema" => Ok(Dialect::Draft6),
            "json-schema.org/draft-07/schema" => Ok(Dialect::Draft7),
            "json-schema.org/draft/2019-09/schema" => Ok(Dialect::Draft201909),
            "json-schema.org/draft/2020-12/schema" | "json-schema.org/schema" => Ok(Dialect::Draft202012),
            _ => Err(SchemaError::Dialect(declared.clone())),
        }
    }

    /// Whether `$ref` hides the keywords beside it.
    #[must_use]
    pub fn ref_stands_alone(self) -> bool {
        matches!(self, Dialect::Draft4 | Dialect::Draft6 | Dialect::Draft7)
    }
}

/// Why a schema cannot judge an instance. The server may still accept the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaError {
    /// `$schema` names a dialect that mcpipe does not know.
    Dialect(String),
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
            SchemaError::Dialect(uri) => write!(f, "the schema is written in an unknown dialect, {uri}"),
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
pub(super) struct Survey {
    /// The dialect.
    pub dialect: Dialect,
    /// Whether the schema is well-formed in all that `check` reads. Keywords that `check` leaves to the full
    /// validator do not count here: they matter only where an instance meets them.
    pub everyday: bool,
    /// References that lead out of the schema or nowhere, by the address of the keyword's value.
    pub bad: Vec<(*const Value, SchemaError)>,
}

/// Walks the whole schema once: dialect, bounds, references, well-formedness.
pub(super) fn survey(schema: &Value) -> Result<Survey, SchemaError> {
    let dialect = Dialect::of(schema)?;
    if !schema.is_object() && !schema.is_boolean() {
        return Err(SchemaError::Invalid("neither an object nor a boolean".to_owned()));
    }
    let mut walk = Walk {
        document: Document::with_dialect(schema, dialect),
        seen: HashSet::new(),
        references: Vec::new(),
        bad: Vec::new(),
        identified: false,
        everyday: dialect != Dialect::Draft4,
    };
    walk.schema(schema, 0)?;
    walk.references();
    Ok(Survey { dialect, everyday: walk.everyday, bad: walk.bad })
}

struct Walk<'a> {
    document: Document<'a>,
    /// Subschemas by address: every place that a reference may lead to.
    seen: HashSet<*const Value>,
    references: Vec<(&'a str, &'a Value)>,
    /// What is wrong with some of them.
    bad: Vec<(*const Value, SchemaError)>,
    /// Whether an `$id` or anchor below the root makes references that only the full validator resolves.
    identified: bool,
    everyday: bool,
}

impl<'a> Walk<'a> {
    fn schema(&mut self, schema: &'a Value, depth: usize) -> Result<(), SchemaError> {
        if self.seen.len() >= MOST_SUBSCHEMAS {
            return Err(SchemaError::TooCostly("it has too many parts"));
        }
        if depth > DEEPEST {
            return Err(SchemaError::TooCostly("it is nested too deeply"));
        }
        self.seen.insert(std::ptr::from_ref(schema));
        let members = match schema {
            Value::Object(members) => members,
            Value::Bool(_) => return Ok(()),
            _ => {
                self.everyday = false;
                return Ok(());
            }
        };
        for (keyword, value) in members {
            self.everyday &= well_formed(keyword, value);
            for schema in below(keyword, value).schemas() {
                self.schema(schema, depth + 1)?;
            }
            match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => match value {
                    Value::String(reference) => self.references.push((reference, value)),
                    _ => self.everyday = false,
                },
                "$id" | "$schema" if depth > 0 => {
                    self.identified |= keyword == "$id";
                    self.everyday = false;
                }
                "$id" => self.identified = true,
                "$anchor" | "$dynamicAnchor" | "$recursiveAnchor" | "$vocabulary" => self.everyday = false,
                _ => {}
            }
        }
        Ok(())
    }

    fn references(&mut self) {
        for (reference, value) in std::mem::take(&mut self.references) {
            let error = match pointer(reference) {
                Some(_) => match self.document.at(reference) {
                    // A place that is no subschema: the full validator must judge what it means.
                    Some(schema) => {
                        self.everyday &= self.seen.contains(&std::ptr::from_ref(schema));
                        continue;
                    }
                    None if self.identified => None,
                    None => Some(SchemaError::DanglingRef(reference.to_owned())),
                },
                // An anchor, or a reference to an `$id` inside the schema: the full validator resolves them, and
                // refuses what it cannot resolve.
                None if reference.starts_with('#') || self.identified => None,
                None => Some(SchemaError::ExternalRef(reference.to_owned())),
            };
            match error {
                Some(error) => self.bad.push((std::ptr::from_ref(value), error)),
                None => self.everyday = false,
            }
        }
    }
}

/// The subschemas under a keyword.
#[derive(Clone, Copy, Debug)]
pub(super) enum Below<'a> {
    /// It holds none.
    Nothing,
    /// It is one.
    One(&'a Value),
    /// A list of them.
    List(&'a [Value]),
    /// Each has a name.
    Named(&'a Map<String, Value>),
}

impl<'a> Below<'a> {
    /// All of them.
    pub fn schemas(self) -> impl Iterator<Item = &'a Value> {
        let (one, list, named) = match self {
            Below::Nothing => (None, None, None),
            Below::One(schema) => (Some(schema), None, None),
            Below::List(schemas) => (None, Some(schemas), None),
            Below::Named(schemas) => (None, None, Some(schemas)),
        };
        // A member of `dependencies` may be a list of names.
        let named = named.into_iter().flat_map(Map::values).filter(|schema| !schema.is_array());
        one.into_iter().chain(list.into_iter().flatten()).chain(named)
    }
}

/// The subschemas that a keyword holds.
pub(super) fn below<'a>(keyword: &str, value: &'a Value) -> Below<'a> {
    match keyword {
        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas" | "dependencies" => {
            value.as_object().map_or(Below::Nothing, Below::Named)
        }
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => value.as_array().map_or(Below::Nothing, |all| Below::List(all)),
        "items" if value.is_array() => value.as_array().map_or(Below::Nothing, |all| Below::List(all)),
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
        | "additionalItems" => Below::One(value),
        _ => Below::Nothing,
    }
}

/// Whether a keyword that `check` reads has the value that every dialect since draft-06 wants.
fn well_formed(keyword: &str, value: &Value) -> bool {
    let schema = |value: &Value| value.is_object() || value.is_boolean();
    let strings = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    match keyword {
        "type" => Kinds::of_keyword(value).is_some() && unrepeated(value),
        "enum" => value.is_array(),
        "properties" | "$defs" | "definitions" => value.as_object().is_some_and(|members| members.values().all(schema)),
        "additionalProperties" | "not" => schema(value),
        "items" => schema(value) || value.is_array(),
        "required" => strings(value) && unrepeated(value),
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

fn unrepeated(value: &Value) -> bool {
    let mut seen = HashSet::new();
    value.as_array().is_none_or(|items| items.iter().filter_map(Value::as_str).all(|item| seen.insert(item)))
}
