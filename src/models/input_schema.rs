//! Input schemas as the APIs accept them: invalid parts are repaired, unsupported parts are rewritten.
//!
//! An API refuses a whole request because of one schema. Every change is reported, and arguments are checked against
//! the server's own schema when the tool is called.

use serde_json::{Map, Value, json};

use super::ModelApi;
use super::tool_names::anthropic_parameter_name;
use crate::schema::{SCHEMA_LIST_KEYWORDS, SCHEMA_MAP_KEYWORDS, SINGLE_SCHEMA_KEYWORDS, is_schema};
use crate::util::suggest::nearest_name;

/// Deeper schemas are kept as they are.
const MAX_DEPTH: usize = 100;
/// The types of JSON Schema.
const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];

/// Rewrites a tool's input schema for this API, and returns what was changed.
pub fn adapt(api: ModelApi, schema: &mut Value) -> Vec<String> {
    if !schema.is_object() {
        *schema = json!({"type": "object", "properties": {}});
        return Vec::new();
    }
    let mut adapter = Adapter { api, root: schema.clone(), changes: Vec::new() };
    if let Value::Object(words) = schema {
        adapter.adapt_top(words);
    }
    adapter.adapt_schema(schema, "", 0);
    adapter.changes
}

/// The parameters that [`adapt`] renames: the name for the model, and the tool's own.
#[must_use]
pub fn renamed_properties(api: ModelApi, schema: &Value) -> Vec<(String, String)> {
    let (Some(words), ModelApi::Anthropic) = (schema.as_object(), api) else { return Vec::new() };
    let mut merged = words.clone();
    Adapter { api, root: schema.clone(), changes: Vec::new() }.merge_alternatives(&mut merged);
    let names = merged.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
    names.map(|name| (anthropic_parameter_name(name), name.clone())).filter(|(exposed, name)| exposed != name).collect()
}

/// A model's arguments, as JSON text, under the tool's own parameter names (see [`renamed_properties`]).
#[must_use]
pub fn restore_property_names(arguments: String, renamed: &[(String, String)]) -> String {
    if renamed.is_empty() {
        return arguments;
    }
    let Ok(Value::Object(members)) = serde_json::from_str(&arguments) else { return arguments };
    let own_name = |name: String| match renamed.iter().find(|(exposed, _)| *exposed == name) {
        Some((_, own)) => own.clone(),
        None => name,
    };
    Value::Object(members.into_iter().map(|(name, value)| (own_name(name), value)).collect()).to_string()
}

struct Adapter {
    api: ModelApi,
    /// The schema as it came, which references are resolved against.
    root: Value,
    changes: Vec<String>,
}

impl Adapter {
    fn report(&mut self, place: &str, change: impl AsRef<str>) {
        let change = change.as_ref();
        self.changes.push(if place.is_empty() { change.to_owned() } else { format!("{place}: {change}") });
    }

    /// What applies only to the top level of the schema.
    fn adapt_top(&mut self, words: &mut Map<String, Value>) {
        match words.get("type") {
            Some(Value::String(kind)) if kind == "object" => {}
            None => {
                let rest = std::mem::take(words);
                words.insert("type".to_owned(), "object".into());
                words.extend(rest);
            }
            Some(other) => {
                let other = other.to_string();
                words.insert("type".to_owned(), "object".into());
                self.report("", format!("the type {other} was replaced by 'object'"));
            }
        }
        if self.api != ModelApi::Gemini {
            self.merge_alternatives(words);
        }
        if self.is_openai() {
            for word in ["enum", "not"] {
                if words.shift_remove(word).is_some() {
                    self.report("", format!("'{word}' was removed from the top level"));
                }
            }
            if !words.get("properties").is_some_and(Value::is_object) {
                words.insert("properties".to_owned(), json!({}));
            }
        }
        if self.api == ModelApi::Anthropic {
            self.rename_properties(words);
        }
    }

    fn is_openai(&self) -> bool {
        matches!(self.api, ModelApi::OpenAiChat | ModelApi::OpenAiResponses)
    }

    /// Merges `anyOf`, `oneOf`, `allOf` and a reference at the top level into `properties` and `required`: Anthropic
    /// and OpenAI refuse them there.
    fn merge_alternatives(&mut self, words: &mut Map<String, Value>) {
        for word in ["allOf", "anyOf", "oneOf", "$ref"] {
            let Some(value) = words.shift_remove(word) else { continue };
            let branches: Vec<Value> = match value {
                Value::Array(all) => all.iter().map(|branch| self.resolve(branch)).collect(),
                Value::String(_) => vec![self.resolve(&json!({"$ref": value}))],
                _ => continue,
            };
            // A parameter is required if every alternative requires it, or one of the schemas that all apply.
            let mut required: Option<Vec<Value>> = None;
            for branch in &branches {
                let names = branch.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
                required = Some(match required {
                    None => names,
                    Some(before) if matches!(word, "anyOf" | "oneOf") => {
                        before.into_iter().filter(|name| names.contains(name)).collect()
                    }
                    Some(before) => before.into_iter().chain(names).collect(),
                });
                let properties = branch.get("properties").and_then(Value::as_object);
                for (name, property) in properties.into_iter().flatten() {
                    add_property(words, name, property);
                }
                for defs in ["$defs", "definitions"] {
                    if let (Some(Value::Object(all)), false) = (branch.get(defs), words.contains_key(defs)) {
                        words.insert(defs.to_owned(), Value::Object(all.clone()));
                    }
                }
            }
            let required = required.unwrap_or_default();
            if !required.is_empty()
                && let Value::Array(all) = words.entry("required").or_insert_with(|| json!([]))
            {
                required.into_iter().for_each(|name| {
                    if !all.contains(&name) {
                        all.push(name);
                    }
                });
            }
            self.report("", format!("'{word}' at the top level was merged into its properties"));
        }
    }

    /// A schema, or the one that it refers to.
    fn resolve(&self, schema: &Value) -> Value {
        let mut found = schema;
        for _ in 0..MAX_DEPTH {
            match found.get("$ref").and_then(Value::as_str).and_then(|target| self.local(target)) {
                Some(target) => found = target,
                None => break,
            }
        }
        found.clone()
    }

    fn local(&self, target: &str) -> Option<&Value> {
        self.root.pointer(target.strip_prefix('#')?).filter(|found| is_schema(found))
    }

    /// Anthropic accepts property names of 64 characters at most, without spaces and most punctuation.
    fn rename_properties(&mut self, words: &mut Map<String, Value>) {
        let Some(Value::Object(properties)) = words.get_mut("properties") else { return };
        let renamed: Vec<(String, String)> = properties
            .keys()
            .filter(|name| !(*name == "required" && properties[*name].is_array()))
            .map(|name| (name.clone(), anthropic_parameter_name(name)))
            .filter(|(name, exposed)| name != exposed)
            .collect();
        if renamed.is_empty() {
            return;
        }
        let exposed = |name: &str| renamed.iter().find(|(own, _)| own == name).map(|(_, exposed)| exposed.clone());
        *properties = std::mem::take(properties)
            .into_iter()
            .map(|(name, property)| (exposed(&name).unwrap_or(name), property))
            .collect();
        if let Some(Value::Array(required)) = words.get_mut("required") {
            for name in required {
                if let Some(new) = name.as_str().and_then(exposed) {
                    *name = new.into();
                }
            }
        }
        for (name, exposed) in &renamed {
            self.report("", format!("the parameter '{name}' was renamed to '{exposed}'"));
        }
    }

    fn adapt_schema(&mut self, schema: &mut Value, place: &str, depth: usize) {
        let Value::Object(words) = schema else { return };
        if depth > MAX_DEPTH {
            return;
        }
        self.repair_type(words, place);
        self.repair_properties(words, place);
        self.repair_required(words, place);
        self.repair_items(words, place);
        self.repair_bounds(words, place);
        self.remove_invalid_keywords(words, place);
        self.adapt_keywords(words, place);
        for word in SINGLE_SCHEMA_KEYWORDS {
            if let Some(inner) = words.get_mut(word) {
                let place = if word == "items" { format!("{place}[]") } else { place.to_owned() };
                self.adapt_schema(inner, &place, depth + 1);
            }
        }
        for word in SCHEMA_LIST_KEYWORDS {
            if let Some(Value::Array(all)) = words.get_mut(word) {
                all.iter_mut().for_each(|inner| self.adapt_schema(inner, place, depth + 1));
            }
        }
        for word in SCHEMA_MAP_KEYWORDS {
            if let Some(Value::Object(all)) = words.get_mut(word) {
                for (name, inner) in all {
                    let place = match word {
                        "properties" if place.is_empty() => name.clone(),
                        "properties" => format!("{place}.{name}"),
                        _ => place.to_owned(),
                    };
                    self.adapt_schema(inner, &place, depth + 1);
                }
            }
        }
    }

    /// Types that JSON Schema does not have: `int` becomes `integer`, `strng` becomes `string`.
    fn repair_type(&mut self, words: &mut Map<String, Value>, place: &str) {
        let invalid = |kind: &Value| kind.as_str().is_none_or(|kind| !TYPES.contains(&kind));
        match words.get("type") {
            None => {}
            Some(Value::Array(kinds)) if !kinds.is_empty() && !kinds.iter().any(invalid) => {}
            Some(Value::Array(kinds)) => {
                let known: Vec<Value> =
                    kinds.iter().filter_map(|kind| Some(known_type(kind.as_str()?)?.into())).collect();
                self.report(
                    place,
                    format!("the types {} were replaced by {}", Value::from(kinds.clone()), json!(known)),
                );
                words.insert("type".to_owned(), known.into());
                if words["type"] == json!([]) {
                    words.shift_remove("type");
                }
            }
            Some(kind) if !invalid(kind) => {}
            Some(kind) => match kind.as_str().and_then(known_type) {
                Some(known) => {
                    self.report(place, format!("the unknown type {kind} was replaced by '{known}'"));
                    words.insert("type".to_owned(), known.into());
                }
                None => {
                    self.report(place, format!("the unknown type {kind} was removed"));
                    words.shift_remove("type");
                }
            },
        }
    }

    /// Properties that have no schema, and those that say `required: true` themselves (draft 3).
    fn repair_properties(&mut self, words: &mut Map<String, Value>, place: &str) {
        let Some(properties) = words.get_mut("properties") else { return };
        let Value::Object(properties) = properties else {
            words.shift_remove("properties");
            return self.report(place, "'properties' was removed, because it is not an object");
        };
        let mut required = Vec::new();
        if properties.get("required").is_some_and(Value::is_array) {
            let names = properties.shift_remove("required").unwrap_or_default();
            required.extend(names.as_array().into_iter().flatten().filter(|name| name.is_string()).cloned());
            self.report(place, "'required' was moved out of 'properties'");
        }
        for (name, property) in properties.iter_mut() {
            if let Some(flag) = property.get("required").and_then(Value::as_bool) {
                if let Value::Object(inner) = property {
                    inner.shift_remove("required");
                }
                if flag {
                    required.push(name.as_str().into());
                }
                self.report(place, format!("'required' was moved out of the parameter '{name}'"));
            }
            if !is_schema(property) {
                let kind = property.as_str().and_then(known_type);
                *property = kind.map_or_else(|| json!({}), |kind| json!({"type": kind}));
                self.report(place, format!("the parameter '{name}' has no schema, and may be anything"));
            }
        }
        if !required.is_empty() {
            let all = words.entry("required").or_insert_with(|| json!([]));
            match all {
                Value::Array(all) => all.extend(required),
                other => *other = required.into(),
            }
        }
    }

    fn repair_required(&mut self, words: &mut Map<String, Value>, place: &str) {
        let Some(required) = words.get_mut("required") else { return };
        let Value::Array(names) = required else {
            words.shift_remove("required");
            return self.report(place, "'required' was removed, because it is not a list");
        };
        let mut kept: Vec<Value> = Vec::new();
        for name in names.iter().filter(|name| name.is_string()) {
            if !kept.contains(name) {
                kept.push(name.clone());
            }
        }
        if kept.len() < names.len() {
            self.report(place, "invalid and repeated names were removed from 'required'");
        }
        words.insert("required".to_owned(), kept.into());
    }

    /// A list in `items` (until draft 2019-09) is `prefixItems`.
    fn repair_items(&mut self, words: &mut Map<String, Value>, place: &str) {
        if words.get("items").is_some_and(Value::is_array) {
            let list = words.shift_remove("items").unwrap_or_default();
            if !words.contains_key("prefixItems") && list != json!([]) {
                words.insert("prefixItems".to_owned(), list);
            }
            if let Some(more) = words.shift_remove("additionalItems") {
                words.insert("items".to_owned(), more);
            }
            self.report(place, "the list in 'items' was moved to 'prefixItems'");
        }
    }

    /// `exclusiveMinimum: true` beside `minimum` (draft 4) is a number now.
    fn repair_bounds(&mut self, words: &mut Map<String, Value>, place: &str) {
        for (word, bound) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
            let Some(flag) = words.get(word).and_then(Value::as_bool) else { continue };
            words.shift_remove(word);
            if flag && let Some(number) = words.shift_remove(bound) {
                words.insert(word.to_owned(), number);
            }
            self.report(place, format!("'{word}' was replaced by its number"));
        }
    }

    fn remove_invalid_keywords(&mut self, words: &mut Map<String, Value>, place: &str) {
        let mut removed = Vec::new();
        for (word, value) in words.iter_mut() {
            let is_valid = match word.as_str() {
                "$ref" => value.as_str().is_some_and(|target| self.local(target).is_some()),
                "enum" => value.as_array().is_some_and(|values| !values.is_empty()),
                word if SINGLE_SCHEMA_KEYWORDS.contains(&word) => is_schema(value),
                word if SCHEMA_LIST_KEYWORDS.contains(&word) => {
                    if let Value::Array(all) = value {
                        all.retain(is_schema);
                    }
                    value.as_array().is_some_and(|all| !all.is_empty())
                }
                word if SCHEMA_MAP_KEYWORDS.contains(&word) => {
                    if let Value::Object(all) = value {
                        all.retain(|_, inner| is_schema(inner));
                    }
                    value.is_object()
                }
                _ => true,
            };
            if !is_valid {
                removed.push(word.clone());
            }
        }
        for word in removed {
            let what = words.shift_remove(&word).filter(|_| word == "$ref").map(|target| format!(" {target}"));
            self.report(place, format!("the invalid '{word}'{} was removed", what.unwrap_or_default()));
        }
    }

    /// What is valid, but not accepted by the API.
    fn adapt_keywords(&mut self, words: &mut Map<String, Value>, place: &str) {
        let is_array = match words.get("type") {
            Some(Value::String(kind)) => kind == "array",
            Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "array"),
            _ => false,
        };
        if is_array && self.api != ModelApi::Anthropic && !words.contains_key("items") {
            words.insert("items".to_owned(), json!({}));
            self.report(place, "'items' was added");
        }
        if self.api != ModelApi::Gemini {
            return;
        }
        if let Some(Value::Array(values)) = words.get_mut("enum") {
            let before = values.len();
            values.retain(|value| value != "");
            if values.len() < before {
                self.report(place, "the empty string was removed from 'enum'");
            }
            if words["enum"] == json!([]) {
                words.shift_remove("enum");
            }
        }
        let properties = words.get("properties").and_then(Value::as_object).cloned();
        if let (Some(Value::Array(required)), Some(properties)) = (words.get_mut("required"), properties) {
            let before = required.len();
            required.retain(|name| name.as_str().is_some_and(|name| properties.contains_key(name)));
            if required.len() < before {
                self.report(place, "names without a property were removed from 'required'");
            }
        }
    }
}

/// The type that is meant by a name.
fn known_type(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase();
    if let Some(known) = TYPES.iter().find(|kind| **kind == name) {
        return Some(known);
    }
    match name.as_str() {
        "text" | "date" | "datetime" | "uri" | "url" | "uuid" => Some("string"),
        "int" | "long" => Some("integer"),
        "float" | "double" | "decimal" => Some("number"),
        "list" | "tuple" | "set" => Some("array"),
        "dict" | "map" | "record" => Some("object"),
        "none" | "nil" => Some("null"),
        _ => nearest_name(&name, TYPES),
    }
}

/// Adds a property; one that exists with another schema may match either of them.
fn add_property(words: &mut Map<String, Value>, name: &str, property: &Value) {
    let properties = words.entry("properties").or_insert_with(|| json!({}));
    let Value::Object(properties) = properties else { return };
    match properties.get_mut(name) {
        None => {
            properties.insert(name.to_owned(), property.clone());
        }
        Some(before) if before == property => {}
        Some(before) => {
            let is_merged = before.as_object().is_some_and(|all| all.len() == 1 && all.contains_key("anyOf"));
            match before.get_mut("anyOf") {
                Some(Value::Array(all)) if is_merged => {
                    if !all.contains(property) {
                        all.push(property.clone());
                    }
                }
                _ => *before = json!({"anyOf": [before.take(), property]}),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapted(api: ModelApi, mut schema: Value) -> (Value, Vec<String>) {
        let changes = adapt(api, &mut schema);
        (schema, changes)
    }

    #[test]
    fn valid_schemas_are_kept() {
        let schema = json!({"type": "object", "required": ["a", "items"], "properties": {
            "a": {"$ref": "#/$defs/a"}, "items": {"type": ["array", "null"], "items": {"enum": [1, "x"]}},
            "type": {"type": "string"}, "any": true}, "$defs": {"a": {"anyOf": [{"type": "string"}, {"const": 1}]}}});
        for api in [ModelApi::Anthropic, ModelApi::OpenAiChat, ModelApi::OpenAiResponses, ModelApi::Gemini] {
            assert_eq!(adapted(api, schema.clone()), (schema.clone(), Vec::new()));
        }
    }

    #[test]
    fn invalid_parts_are_repaired_and_reported() {
        for (property, repaired, change) in [
            (
                json!({"type": "strng"}),
                json!({"type": "string"}),
                "a: the unknown type \"strng\" was replaced by 'string'",
            ),
            (
                json!({"type": "Int"}),
                json!({"type": "integer"}),
                "a: the unknown type \"Int\" was replaced by 'integer'",
            ),
            (json!({"type": "whatever"}), json!({}), "a: the unknown type \"whatever\" was removed"),
            (
                json!({"type": ["string", "nope"]}),
                json!({"type": ["string"]}),
                "a: the types [\"string\",\"nope\"] were replaced by [\"string\"]",
            ),
            (json!("string"), json!({"type": "string"}), "the parameter 'a' has no schema, and may be anything"),
            (json!({"enum": []}), json!({}), "a: the invalid 'enum' was removed"),
            (json!({"$ref": "#/$defs/no"}), json!({}), "a: the invalid '$ref' \"#/$defs/no\" was removed"),
            (json!({"anyOf": []}), json!({}), "a: the invalid 'anyOf' was removed"),
            (
                json!({"items": [{"type": "string"}], "additionalItems": false}),
                json!({"prefixItems": [{"type": "string"}], "items": false}),
                "a: the list in 'items' was moved to 'prefixItems'",
            ),
            (
                json!({"minimum": 3, "exclusiveMinimum": true}),
                json!({"exclusiveMinimum": 3}),
                "a: 'exclusiveMinimum' was replaced by its number",
            ),
        ] {
            let of = |property: &Value| json!({"type": "object", "properties": {"a": property}});
            let expected = (of(&repaired), vec![change.to_owned()]);
            assert_eq!(adapted(ModelApi::Anthropic, of(&property)), expected, "{property}");
        }
        let (schema, changes) = adapted(
            ModelApi::OpenAiChat,
            json!({"type": "object", "properties": {"a": {"type": "string", "required": true}, "b": {}, "required": ["b", "b"]}}),
        );
        let expected =
            json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {}}, "required": ["b", "a"]});
        assert_eq!(schema, expected);
        assert_eq!(
            changes,
            [
                "'required' was moved out of 'properties'",
                "'required' was moved out of the parameter 'a'",
                "invalid and repeated names were removed from 'required'"
            ]
        );
    }

    #[test]
    fn openai_gets_items_for_every_array() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "array"},
            "b": {"type": "object", "properties": {"c": {"type": ["array", "null"]}}}}});
        let (openai, changes) = adapted(ModelApi::OpenAiResponses, schema.clone());
        assert_eq!(openai["properties"]["a"], json!({"type": "array", "items": {}}));
        assert_eq!(openai["properties"]["b"]["properties"]["c"]["items"], json!({}));
        assert_eq!(changes, ["a: 'items' was added", "b.c: 'items' was added"]);
        assert_eq!(adapted(ModelApi::Anthropic, schema.clone()), (schema, Vec::new()));
    }

    #[test]
    fn alternatives_at_the_top_level_become_properties() {
        let schema = json!({"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"], "anyOf": [
            {"properties": {"a": {"type": "string"}, "n": {"type": "string"}}, "required": ["a", "n"]},
            {"properties": {"b": {"type": "string"}, "n": {"type": "integer"}}, "required": ["b", "n"]}]});
        for api in [ModelApi::Anthropic, ModelApi::OpenAiChat] {
            let (schema, changes) = adapted(api, schema.clone());
            assert_eq!(
                schema,
                json!({"type": "object", "required": ["id", "n"], "properties": {"id": {"type": "string"},
                    "a": {"type": "string"}, "b": {"type": "string"},
                    "n": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}})
            );
            assert_eq!(changes, ["'anyOf' at the top level was merged into its properties"]);
        }
        assert_eq!(adapted(ModelApi::Gemini, schema.clone()), (schema, Vec::new()));
        let referred = json!({"$ref": "#/$defs/in", "$defs": {"in": {"type": "object",
            "properties": {"a": {"$ref": "#/$defs/in"}}, "required": ["a"]}}});
        let (schema, _) = adapted(ModelApi::OpenAiChat, referred);
        assert_eq!((&schema["properties"]["a"], &schema["required"]), (&json!({"$ref": "#/$defs/in"}), &json!(["a"])));
    }

    #[test]
    fn gemini_gets_required_properties_and_values_that_exist() {
        let schema = json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"enum": ["", "x"]}}});
        let (schema, changes) = adapted(ModelApi::Gemini, schema);
        assert_eq!(schema, json!({"type": "object", "required": ["a"], "properties": {"a": {"enum": ["x"]}}}));
        assert_eq!(
            changes,
            ["names without a property were removed from 'required'", "a: the empty string was removed from 'enum'"]
        );
    }

    #[test]
    fn anthropic_gets_parameter_names_that_can_be_restored() {
        let own = json!({"type": "object", "required": ["$top"], "properties": {"$top": {"type": "integer"}, "a": {}}});
        let (schema, changes) = adapted(ModelApi::Anthropic, own.clone());
        let renamed = renamed_properties(ModelApi::Anthropic, &own);
        let [(exposed, name)] = renamed.as_slice() else { panic!("{renamed:?}") };
        assert_eq!(name, "$top");
        assert_eq!(schema["required"], json!([exposed]));
        assert_eq!(schema["properties"][exposed], json!({"type": "integer"}));
        assert_eq!(changes, [format!("the parameter '$top' was renamed to '{exposed}'")]);
        let restored = restore_property_names(format!(r#"{{"{exposed}":1,"a":2}}"#), &renamed);
        assert_eq!(restored, r#"{"$top":1,"a":2}"#);
        assert!(renamed_properties(ModelApi::OpenAiChat, &own).is_empty());
    }
}
