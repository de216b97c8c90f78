//! The JSON Schema of a configuration file, for editors; made from the table of keys.

use serde_json::{Map, Value, json};

use super::schema::{AUTH, DEFAULTS, Fits, Key, Kind, SERVER};
use crate::protocol::revision::Revision;

/// The schema (draft 7, which is what the editors of TOML understand).
#[must_use]
pub fn document() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of mcpipe",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "$schema": { "type": "string", "description": "Where this schema is." },
            "servers": {
                "type": "object",
                "description": "The servers, by name.",
                "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$" },
                "additionalProperties": server(),
            },
            "defaults": section(DEFAULTS, "What holds for every configured server."),
        },
    })
}

/// A server is a URL or a command, each with its own keys.
fn server() -> Value {
    let mut schema = section(SERVER, "A server behind a URL, or one that is started as a command.");
    let only = |fits: Fits| -> Vec<Value> {
        SERVER.iter().filter(|key| key.fits == fits).map(|key| json!({ "required": [key.name] })).collect()
    };
    if let Value::Object(members) = &mut schema {
        members.insert(
            "oneOf".to_owned(),
            json!([
                { "required": ["url"], "not": { "anyOf": only(Fits::Command) } },
                { "required": ["command"], "not": { "anyOf": only(Fits::Url) } },
                { "required": ["disabled"], "not": { "anyOf": [{ "required": ["url"] }, { "required": ["command"] }] } },
            ]),
        );
    }
    schema
}

fn section(keys: &[Key], help: &str) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut schema = value(key.kind);
            if let Value::Object(members) = &mut schema {
                members.entry("description").or_insert_with(|| json!(key.help));
            }
            (key.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "description": help, "additionalProperties": false, "properties": properties })
}

fn value(kind: Kind) -> Value {
    // A reference may stand for any word.
    let reference = json!({ "type": "string", "pattern": "\\$\\{" });
    match kind {
        Kind::Text | Kind::Path => json!({ "type": "string", "minLength": 1 }),
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::Pairs => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Time => json!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": "^\\s*[0-9.]+\\s*(ms|s|m|h)?$" },
            reference,
        ] }),
        Kind::Choice(words) => json!({ "anyOf": [{ "enum": words }, reference] }),
        Kind::Revision => {
            let dated = Revision::ALL.iter().map(|revision| revision.as_str());
            let words: Vec<&str> = ["auto", "legacy"].into_iter().chain(dated).collect();
            json!({ "anyOf": [{ "enum": words }, reference] })
        }
        Kind::Whole(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Inherit => {
            json!({ "anyOf": [{ "type": "boolean" }, { "type": "array", "items": { "type": "string" } }] })
        }
        Kind::Section(_) => section(AUTH, "How to log in."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_in_the_schema_and_described() {
        let document = document();
        for (pointer, keys) in [
            ("/properties/servers/additionalProperties/properties", SERVER),
            ("/properties/defaults/properties", DEFAULTS),
            ("/properties/servers/additionalProperties/properties/auth/properties", AUTH),
        ] {
            let properties = document.pointer(pointer).and_then(Value::as_object);
            for key in keys {
                let schema = properties.and_then(|all| all.get(key.name));
                let described = schema.and_then(|schema| schema.get("description")).and_then(Value::as_str);
                assert!(described.is_some_and(|text| text.ends_with('.')), "{pointer}/{}", key.name);
            }
        }
    }
}
