//! Schemas that are valid, but that some clients refuse or misread.
//!
//! Which those are comes from the Inspector, which collected them (its `--strict`): Claude Code refuses `true` and
//! `false` as the schema of a value, and model APIs that take one type for a value misread a list of types.

use serde_json::Value;

use crate::commands::test::report::Finding;
use crate::protocol::views::ListItem;
use crate::schema::{SCHEMA_LIST_KEYWORDS, SINGLE_SCHEMA_KEYWORDS, has_named_schemas};
use crate::util::count::counted;

/// The most places that are listed.
const MAX_PLACES: usize = 10;
/// How deep schemas are searched.
const MAX_DEPTH: usize = 64;
/// Of the keywords with one schema, those where it is usually `true` or `false`.
const BOOLEAN_KEYWORDS: [&str; 4] =
    ["additionalProperties", "unevaluatedProperties", "additionalItems", "unevaluatedItems"];
/// Keywords that say nothing about the value, whatever stands beside them.
const ANNOTATIONS: [&str; 13] = [
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "$schema",
    "$id",
    "$anchor",
    "$defs",
    "definitions",
];

/// Whether all clients can be expected to accept the schemas of these tools.
pub(super) fn portability(tools: &[ListItem]) -> Finding {
    let mut places = Vec::new();
    let mut count = 0;
    for tool in tools {
        for member in ["inputSchema", "outputSchema"] {
            if let Some(schema) = tool.value().get(member) {
                count += 1;
                search(schema, &format!("{} {member}", tool.name()), SchemaPosition::Root, 0, &mut places);
            }
        }
    }
    match (count, places.len()) {
        (0, _) => Finding::Skip("there are no schemas".to_owned()),
        (_, 0) => Finding::ok("nothing that clients are known to refuse"),
        (_, found) => {
            let first = places[0].clone();
            places.truncate(MAX_PLACES);
            Finding::Warn(format!("some clients refuse {}: {first}", counted(found, "schema")), places)
        }
    }
}

/// Where a schema is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SchemaPosition {
    /// The whole schema.
    Root,
    /// The schema of a value.
    Value,
    /// A place where `true` and `false` are common, or where a schema without keywords has a use.
    Unrestricted,
}

fn search(schema: &Value, at: &str, position: SchemaPosition, depth: usize, places: &mut Vec<String>) {
    let members = match schema {
        Value::Bool(value) if position != SchemaPosition::Unrestricted => {
            places.push(format!("{at} is {value} instead of an object"));
            return;
        }
        Value::Object(members) if depth < MAX_DEPTH => members,
        _ => return,
    };
    if let Some(types) = members.get("type").and_then(Value::as_array)
        && types.len() > 1
    {
        places.push(format!("{at} has a list of types instead of one"));
    }
    if position == SchemaPosition::Value && members.keys().all(|name| ANNOTATIONS.contains(&name.as_str())) {
        places.push(format!("{at} accepts any value"));
    }
    for (name, value) in members {
        let name = name.as_str();
        let (schemas, position): (Vec<(String, &Value)>, SchemaPosition) = if BOOLEAN_KEYWORDS.contains(&name) {
            (vec![(name.to_owned(), value)], SchemaPosition::Unrestricted)
        } else if SINGLE_SCHEMA_KEYWORDS.contains(&name) || name == "contentSchema" {
            let position =
                if name == "not" || name == "if" { SchemaPosition::Unrestricted } else { SchemaPosition::Value };
            match value.as_array() {
                Some(list) => (indexed_names(name, list), SchemaPosition::Value),
                None => (vec![(name.to_owned(), value)], position),
            }
        } else if SCHEMA_LIST_KEYWORDS.contains(&name) {
            (value.as_array().map(|list| indexed_names(name, list)).unwrap_or_default(), SchemaPosition::Value)
        } else if has_named_schemas(name) {
            let named = value.as_object().into_iter().flatten();
            (named.map(|(key, schema)| (format!("{name}/{key}"), schema)).collect(), SchemaPosition::Value)
        } else {
            continue;
        };
        for (step, schema) in schemas {
            search(schema, &format!("{at}/{step}"), position, depth + 1, places);
        }
    }
}

fn indexed_names<'a>(name: &str, list: &'a [Value]) -> Vec<(String, &'a Value)> {
    list.iter().enumerate().map(|(n, schema)| (format!("{name}/{n}"), schema)).collect()
}
