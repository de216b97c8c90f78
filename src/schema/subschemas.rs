//! Which keywords contain subschemas, and where values are within a schema.

use serde_json::{Map, Value};

/// Keywords with one schema; before 2020-12, `items` may have a list instead.
pub const SINGLE_SCHEMA_KEYWORDS: [&str; 11] = [
    "items",
    "additionalItems",
    "additionalProperties",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
];
/// Keywords with a list of schemas.
pub const SCHEMA_LIST_KEYWORDS: [&str; 4] = ["anyOf", "oneOf", "allOf", "prefixItems"];
/// Keywords with schemas by name.
const SCHEMA_MAP_KEYWORDS: [&str; 6] =
    ["properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"];

/// The subschemas that a keyword contains.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subschemas<'a> {
    /// None.
    Empty,
    /// One schema.
    Single(&'a Value),
    /// A list of schemas.
    List(&'a [Value]),
    /// Schemas by name.
    Named(&'a Map<String, Value>),
}

impl<'a> Subschemas<'a> {
    /// Iterates over all of them.
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

/// The subschemas that a keyword contains.
pub(super) fn subschemas<'a>(keyword: &str, value: &'a Value) -> Subschemas<'a> {
    match keyword {
        _ if has_named_schemas(keyword) => value.as_object().map_or(Subschemas::Empty, Subschemas::Named),
        _ if SCHEMA_LIST_KEYWORDS.contains(&keyword) => {
            value.as_array().map_or(Subschemas::Empty, |all| Subschemas::List(all))
        }
        "items" if value.is_array() => value.as_array().map_or(Subschemas::Empty, |all| Subschemas::List(all)),
        _ if SINGLE_SCHEMA_KEYWORDS.contains(&keyword) => Subschemas::Single(value),
        _ => Subschemas::Empty,
    }
}

/// Whether the members of a keyword's value are schemas; of `dependencies`, some may be lists of names.
#[must_use]
pub fn has_named_schemas(keyword: &str) -> bool {
    SCHEMA_MAP_KEYWORDS.contains(&keyword)
}

/// The paths of all values for which `is_sought` returns true, given the value and its member name.
pub(super) fn find_paths(schema: &Value, is_sought: &dyn Fn(&Value, &str) -> bool) -> Vec<Vec<String>> {
    fn visit(
        value: &Value,
        path: &mut Vec<String>,
        is_sought: &dyn Fn(&Value, &str) -> bool,
        found: &mut Vec<Vec<String>>,
    ) {
        if is_sought(value, path.last().map_or("", String::as_str)) {
            found.push(path.clone());
        }
        let members = value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value));
        let items = value.as_array().into_iter().flatten().enumerate().map(|(at, value)| (at.to_string(), value));
        for (step, value) in members.chain(items) {
            path.push(step);
            visit(value, path, is_sought, found);
            path.pop();
        }
    }
    let mut found = Vec::new();
    visit(schema, &mut Vec::new(), is_sought, &mut found);
    found
}
