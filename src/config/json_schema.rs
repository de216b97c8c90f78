//! The JSON Schema of a configuration file, for editors; made from the table of keys.

use serde_json::{Map, Value, json};

use crate::config::keys::{AppliesTo, ConfigKey, DEFAULTS_KEYS, KeyType, SERVER_KEYS};
use crate::protocol::revision::Revision;

/// The schema (draft 7, which is what the editors of TOML understand).
#[must_use]
pub fn config_schema() -> Value {
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of mcpipe",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "$schema": { "type": "string", "description": "The URL or path of this schema, for editors." },
            "servers": {
                "type": "object",
                "description": "The servers, by name.",
                "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]*$" },
                "additionalProperties": server_schema(),
            },
            "defaults": section_schema(DEFAULTS_KEYS, "Settings that apply to every configured server."),
        },
    })
}

/// The schemas of the keys of a server, by name.
#[must_use]
pub fn server_properties() -> Map<String, Value> {
    match section_schema(SERVER_KEYS, "").get_mut("properties").map(Value::take) {
        Some(Value::Object(properties)) => properties,
        _ => Map::new(),
    }
}

/// A server is a URL or a command, each with its own keys.
fn server_schema() -> Value {
    let mut schema = section_schema(SERVER_KEYS, "A server: a URL to connect to, or a command to start.");
    let only = |fits: AppliesTo| -> Vec<Value> {
        SERVER_KEYS.iter().filter(|key| key.applies_to == fits).map(|key| json!({ "required": [key.name] })).collect()
    };
    if let Value::Object(members) = &mut schema {
        members.insert(
            "oneOf".to_owned(),
            json!([
                { "required": ["url"], "not": { "anyOf": only(AppliesTo::Command) } },
                { "required": ["command"], "not": { "anyOf": only(AppliesTo::Url) } },
                { "required": ["disabled"], "not": { "anyOf": [{ "required": ["url"] }, { "required": ["command"] }] } },
            ]),
        );
    }
    schema
}

fn section_schema(keys: &[ConfigKey], help: &str) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut schema = value_schema(key.key_type);
            if let Value::Object(members) = &mut schema {
                members.insert("description".to_owned(), json!(key.description()));
            }
            (key.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "description": help, "additionalProperties": false, "properties": properties })
}

fn value_schema(kind: KeyType) -> Value {
    // A reference may stand for any word.
    let reference = json!({ "type": "string", "pattern": "\\$\\{" });
    match kind {
        KeyType::String | KeyType::Path => json!({ "type": "string", "minLength": 1 }),
        KeyType::StringList => json!({ "type": "array", "items": { "type": "string" } }),
        KeyType::StringMap => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        KeyType::Bool => json!({ "type": "boolean" }),
        KeyType::Duration => json!({ "anyOf": [
            { "type": "number", "minimum": 0 },
            { "type": "string", "pattern": "^\\s*[0-9.]+\\s*(ms|s|m|h)?$" },
            reference,
        ] }),
        KeyType::Choice(words) => json!({ "anyOf": [{ "enum": words }, reference] }),
        KeyType::RedirectUri => {
            json!({ "anyOf": [{ "type": "string", "pattern": "^http://" }, reference] })
        }
        KeyType::BearerSource => {
            json!({ "anyOf": [{ "type": "string", "pattern": "^(file|github-oidc|gitlab-oidc):." }, reference] })
        }
        KeyType::Revision => {
            let dated = Revision::ALL.iter().map(|revision| revision.as_str());
            let words: Vec<&str> = ["auto", "legacy"].into_iter().chain(dated).collect();
            json!({ "anyOf": [{ "enum": words }, reference] })
        }
        KeyType::Integer(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        KeyType::StringOrFalse => json!({ "anyOf": [{ "type": "string", "minLength": 1 }, { "const": false }] }),
        KeyType::InheritEnv => {
            json!({ "anyOf": [{ "type": "boolean" }, { "type": "array", "items": { "type": "string" } }] })
        }
        KeyType::Section(keys) => section_schema(keys, "OAuth settings."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys::AUTH_KEYS;

    #[test]
    fn every_key_is_in_the_schema_and_described() {
        let document = config_schema();
        for (pointer, keys) in [
            ("/properties/servers/additionalProperties/properties", SERVER_KEYS),
            ("/properties/defaults/properties", DEFAULTS_KEYS),
            ("/properties/servers/additionalProperties/properties/auth/properties", AUTH_KEYS),
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
