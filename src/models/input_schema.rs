//! Input schemas as the APIs accept them: invalid parts are repaired, unsupported parts are rewritten.
//!
//! An API refuses a whole request because of one schema. Every change is reported, and arguments are checked against
//! the server's own schema when the tool is called.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::RangeFrom;

use serde_json::{Map, Value, json};

use super::ModelApi;
use super::tool_names::anthropic_parameter_name;
use crate::schema::{SCHEMA_LIST_KEYWORDS, SINGLE_SCHEMA_KEYWORDS, SchemaDocument, has_named_schemas, is_schema};
use crate::util::suggest::nearest_name;
use crate::util::unique::unique;

/// Deeper schemas are kept as they are.
const MAX_DEPTH: usize = 100;
/// The most schemas, properties and required names that are merged: references can multiply without end.
const MAX_MERGED: usize = 50_000;
/// How many bytes of the targets of references are copied for a tool.
const MAX_COPIED_BYTES: usize = 4 << 20;
/// What the APIs do not accept at the top level.
const COMPOSITIONS: [&str; 4] = ["allOf", "anyOf", "oneOf", "$ref"];
/// The types of JSON Schema.
const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "object", "array", "null"];

/// Rewrites a tool's input schema for this API, and returns what was changed.
pub fn adapt(api: ModelApi, schema: &mut Value) -> Vec<String> {
    if !schema.is_object() {
        *schema = json!({"type": "object", "properties": {}});
        return Vec::new();
    }
    let root = schema.clone();
    let mut adapter = Adapter { api, root: &root, changes: Vec::new() };
    if let Value::Object(words) = schema {
        adapter.adapt_top(words);
    }
    adapter.adapt_schema(schema, "", 0);
    if !adapter.changes.is_empty() {
        adapter.copy_moved_targets(schema);
    }
    adapter.changes
}

/// The parameters that [`adapt`] renames: the name for the model, and the tool's own.
#[must_use]
pub fn renamed_properties(api: ModelApi, schema: &Value) -> Vec<(String, String)> {
    let (Some(words), ModelApi::Anthropic) = (schema.as_object(), api) else { return Vec::new() };
    let mut merged = words.clone();
    Adapter { api, root: schema, changes: Vec::new() }.merge_alternatives(&mut merged);
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

struct Adapter<'a> {
    api: ModelApi,
    /// The schema as it came, which references are resolved against.
    root: &'a Value,
    changes: Vec<String>,
}

/// What a schema says about an object, with its alternatives and references.
#[derive(Default)]
struct ObjectMembers<'a> {
    properties: Vec<(&'a str, &'a Value)>,
    required: Vec<&'a str>,
}

impl<'a> Adapter<'a> {
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
        let (root, mut steps) = (self.root, MAX_MERGED);
        for word in COMPOSITIONS {
            let Some(value) = root.get(word) else { continue };
            words.shift_remove(word);
            let members = self.members_of(word, value, &mut vec![root], &mut steps);
            for (name, property) in members.properties {
                add_property(words, name, property);
            }
            if !members.required.is_empty()
                && let Value::Array(all) = words.entry("required").or_insert_with(|| json!([]))
            {
                let mut known: HashSet<Value> = all.iter().cloned().collect();
                let names = members.required.into_iter().map(Value::from);
                all.extend(names.filter(|name| known.insert(name.clone())));
            }
            self.report("", format!("'{word}' at the top level was merged into its properties"));
        }
    }

    /// The members that a keyword of [`COMPOSITIONS`] adds to an object. A name is required if every alternative
    /// requires it, or one of the schemas that all apply. `open` has the schemas that are being read.
    fn members_of(
        &self,
        word: &str,
        value: &'a Value,
        open: &mut Vec<&'a Value>,
        steps: &mut usize,
    ) -> ObjectMembers<'a> {
        let branches: Vec<&Value> = match value {
            Value::Array(all) => all.iter().collect(),
            Value::String(target) => self.local(target).into_iter().collect(),
            _ => Vec::new(),
        };
        let mut all = ObjectMembers::default();
        for (at, branch) in branches.into_iter().enumerate() {
            let one = self.members_of_schema(branch, open, steps);
            all.properties.extend(one.properties);
            if at > 0 && matches!(word, "anyOf" | "oneOf") {
                let required: HashSet<&str> = one.required.into_iter().collect();
                all.required.retain(|name| required.contains(name));
            } else {
                all.required.extend(one.required);
            }
        }
        all
    }

    fn members_of_schema(&self, schema: &'a Value, open: &mut Vec<&'a Value>, steps: &mut usize) -> ObjectMembers<'a> {
        let mut all = ObjectMembers::default();
        if open.len() > MAX_DEPTH || open.iter().any(|one| std::ptr::eq(*one, schema)) {
            return all;
        }
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
        all.properties.extend(properties.map(|(name, property)| (name.as_str(), property)).take(*steps));
        all.required.extend(required.filter_map(Value::as_str).take(*steps));
        *steps = steps.saturating_sub(1 + all.properties.len() + all.required.len());
        open.push(schema);
        for word in COMPOSITIONS {
            if let Some(value) = schema.get(word).filter(|_| *steps > 0) {
                let more = self.members_of(word, value, open, steps);
                all.properties.extend(more.properties);
                all.required.extend(more.required);
            }
        }
        open.pop();
        all
    }

    fn local(&self, target: &str) -> Option<&'a Value> {
        local_target(self.root, target)
    }

    /// Copies the targets of references that a change has moved into `$defs`.
    fn copy_moved_targets(&mut self, schema: &mut Value) {
        let adapted = schema.clone();
        let mut copies = TargetCopies {
            root: self.root,
            adapted: &adapted,
            has_renamed: !renamed_properties(self.api, self.root).is_empty(),
            names: HashMap::new(),
            numbers: 1..,
            open: VecDeque::new(),
            room: MAX_COPIED_BYTES,
            changes: Vec::new(),
        };
        copies.redirect(schema, 0);
        let mut defs = Map::new();
        while let Some((name, mut target)) = copies.open.pop_front() {
            self.adapt_schema(&mut target, &name, 0);
            copies.redirect(&mut target, 0);
            defs.insert(name, target);
        }
        self.changes.append(&mut copies.changes);
        if !defs.is_empty()
            && let Value::Object(words) = schema
            && let Value::Object(all) = words.entry("$defs").or_insert_with(|| json!({}))
        {
            all.extend(defs);
        }
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
        for (step, inner) in inner_schemas(words) {
            let step = step.strip_prefix('.').filter(|_| place.is_empty()).unwrap_or(&step);
            self.adapt_schema(inner, &format!("{place}{step}"), depth + 1);
        }
    }

    /// Types that JSON Schema does not have: `int` becomes `integer`, `strng` becomes `string`. None may be named twice.
    fn repair_type(&mut self, words: &mut Map<String, Value>, place: &str) {
        let invalid = |kind: &Value| kind.as_str().is_none_or(|kind| !TYPES.contains(&kind));
        match words.get("type") {
            None => {}
            Some(Value::Array(kinds)) => {
                let known = unique(kinds.iter().filter_map(|kind| known_type(kind.as_str()?)).collect());
                if !known.is_empty() && *kinds == known {
                    return;
                }
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
        let kept: Vec<Value> = unique(names.iter().filter(|name| name.is_string()).cloned().collect());
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
                word if has_named_schemas(word) => {
                    if let Value::Object(all) = value {
                        // `dependencies` also has lists of names.
                        all.retain(|_, inner| is_schema(inner) || (word == "dependencies" && inner.is_array()));
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
        let properties = words.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        if let Some(Value::Array(required)) = words.get_mut("required") {
            let before = required.len();
            required.retain(|name| name.as_str().is_some_and(|name| properties.contains_key(name)));
            if required.len() < before {
                self.report(place, "names without a property were removed from 'required'");
            }
        }
    }
}

/// The targets of references that are no longer where they were, for `$defs`.
struct TargetCopies<'a> {
    /// The schema as it came.
    root: &'a Value,
    /// The schema as it is now.
    adapted: &'a Value,
    /// Whether parameters were renamed. Only a model's names at the top level are restored, so that a reference to the
    /// whole schema needs a copy with the own names.
    has_renamed: bool,
    /// The names of the copies.
    names: HashMap<*const Value, String>,
    /// Those of the next copies.
    numbers: RangeFrom<u32>,
    /// Copies that are not adapted yet.
    open: VecDeque<(String, Value)>,
    /// How many bytes may still be copied.
    room: usize,
    changes: Vec<String>,
}

impl TargetCopies<'_> {
    /// Lets the references in a schema refer to copies if their targets were moved.
    fn redirect(&mut self, schema: &mut Value, depth: usize) {
        let Value::Object(words) = schema else { return };
        if depth > MAX_DEPTH {
            return;
        }
        if let Some(Value::String(target)) = words.get_mut("$ref")
            && let Some(found) = local_target(self.root, target)
            && (local_target(self.adapted, target).is_none() || (self.has_renamed && std::ptr::eq(found, self.root)))
            && let Some(name) = self.copy(target, found)
        {
            *target = format!("#/$defs/{name}");
        }
        for (_, inner) in inner_schemas(words) {
            self.redirect(inner, depth + 1);
        }
    }

    /// The name of the copy of a target; `None` if there is too much to copy.
    fn copy(&mut self, reference: &str, target: &Value) -> Option<String> {
        if let Some(name) = self.names.get(&std::ptr::from_ref(target)) {
            return Some(name.clone());
        }
        self.room = self.room.checked_sub(target.to_string().len())?;
        let is_free = |name: &String| self.adapted.pointer(&format!("/$defs/{name}")).is_none();
        let name = self.numbers.by_ref().map(|number| format!("moved{number}")).find(is_free)?;
        self.changes.push(format!("the target of the '$ref' {reference:?} was copied to '#/$defs/{name}'"));
        self.names.insert(target, name.clone());
        let mut copied = target.clone();
        if let Value::Object(words) = &mut copied
            && std::ptr::eq(target, self.root)
        {
            words.retain(|word, _| !matches!(word.as_str(), "$defs" | "definitions"));
        }
        self.open.push_back((name.clone(), copied));
        Some(name)
    }
}

/// The schema that a reference within a schema refers to.
fn local_target<'a>(root: &'a Value, reference: &str) -> Option<&'a Value> {
    SchemaDocument::new(root).resolve_reference(reference).filter(|found| is_schema(found))
}

/// The schemas within a schema, each with its place in it as messages name it.
fn inner_schemas(words: &mut Map<String, Value>) -> Vec<(String, &mut Value)> {
    let mut all = Vec::new();
    for (word, value) in words {
        match (word.as_str(), value) {
            ("items", inner) => all.push(("[]".to_owned(), inner)),
            (word, inner) if SINGLE_SCHEMA_KEYWORDS.contains(&word) => all.push((String::new(), inner)),
            (word, Value::Array(list)) if SCHEMA_LIST_KEYWORDS.contains(&word) => {
                all.extend(list.iter_mut().map(|inner| (String::new(), inner)));
            }
            ("properties", Value::Object(named)) => {
                all.extend(named.iter_mut().map(|(name, inner)| (format!(".{name}"), inner)));
            }
            (word, Value::Object(named)) if has_named_schemas(word) => {
                all.extend(named.values_mut().map(|inner| (String::new(), inner)));
            }
            _ => {}
        }
    }
    all
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
            (
                json!({"type": ["int", "float", "integer"]}),
                json!({"type": ["integer", "number"]}),
                "a: the types [\"int\",\"float\",\"integer\"] were replaced by [\"integer\",\"number\"]",
            ),
            (
                json!({"type": ["string", "string"]}),
                json!({"type": ["string"]}),
                "a: the types [\"string\",\"string\"] were replaced by [\"string\"]",
            ),
            (
                json!({"dependencies": {"b": {"type": "int"}, "c": ["d"], "e": "no"}}),
                json!({"dependencies": {"b": {"type": "integer"}, "c": ["d"]}}),
                "a: the unknown type \"int\" was replaced by 'integer'",
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
    fn alternatives_and_references_within_alternatives_become_properties() {
        let text = json!({"type": "string"});
        let defs = json!({
            "In": {"anyOf": [{"properties": {"a": text, "b": text}, "required": ["a", "b"]}, {"$ref": "#/$defs/B"}]},
            "A": {"allOf": [{"$ref": "#/$defs/B"}, {"properties": {"c": text}, "required": ["c"]}]},
            "B": {"properties": {"b": text}, "required": ["b"]},
            "C": {"$ref": "#/$defs/C", "properties": {"d": text}, "anyOf": [{"$ref": "#/$defs/C"}]},
        });
        for (own, properties, required) in [
            (json!({"$ref": "#/$defs/In"}), json!({"a": text, "b": text}), json!(["b"])),
            (json!({"allOf": [{"$ref": "#/$defs/A"}]}), json!({"c": text, "b": text}), json!(["b", "c"])),
            (
                json!({"oneOf": [{"$ref": "#/$defs/B", "properties": {"$e": text}, "required": ["$e"]}]}),
                json!({"$e": text, "b": text}),
                json!(["$e", "b"]),
            ),
            (json!({"$ref": "#/$defs/C"}), json!({"d": text}), Value::Null),
        ] {
            let mut schema = own.clone();
            schema["$defs"] = defs.clone();
            let renamed = renamed_properties(ModelApi::Anthropic, &schema);
            assert_eq!(renamed.len(), usize::from(properties.get("$e").is_some()), "{own}");
            let (schema, changes) = adapted(ModelApi::OpenAiChat, schema);
            assert_eq!((&schema["properties"], &schema["required"]), (&properties, &required), "{own}");
            assert_eq!(changes.len(), 1, "{changes:?}");
        }
    }

    #[test]
    fn references_whose_target_was_moved_are_kept() {
        let tree = json!({"type": "object", "properties": {"next": {"$ref": "#/anyOf/0/properties/tree"}}});
        let (schema, changes) = adapted(
            ModelApi::OpenAiChat,
            json!({"type": "object", "$defs": {"moved1": true}, "anyOf": [{"properties": {
                "tree": tree, "again": {"$ref": "#/anyOf/0/properties/tree"}, "$ref": {"enum": ["#/anyOf/0"]}}}]}),
        );
        let moved = json!({"$ref": "#/$defs/moved2"});
        let tree = json!({"type": "object", "properties": {"next": moved}});
        assert_eq!(
            schema,
            json!({"type": "object", "$defs": {"moved1": true, "moved2": tree}, "properties": {
                "tree": tree, "again": moved, "$ref": {"enum": ["#/anyOf/0"]}}})
        );
        assert_eq!(
            changes,
            [
                "'anyOf' at the top level was merged into its properties",
                "the target of the '$ref' \"#/anyOf/0/properties/tree\" was copied to '#/$defs/moved2'"
            ]
        );
        let (schema, _) = adapted(
            ModelApi::Anthropic,
            json!({"type": "object", "properties": {
                "$a": {"type": "array", "items": [{"type": "Int"}, {"$ref": "#/properties/$a/items/0"}]},
                "b": {"$ref": "#/properties/$a"}, "c": {"$ref": "#/properties/$a/items/1"}}}),
        );
        let first = json!({"$ref": "#/$defs/moved1"});
        let list = json!({"type": "array", "prefixItems": [{"type": "integer"}, first]});
        assert_eq!(schema["$defs"]["moved1"], json!({"type": "integer"}));
        assert_eq!(schema["$defs"]["moved2"], list);
        assert_eq!(schema["$defs"]["moved3"], first);
        assert_eq!(schema["properties"]["b"], json!({"$ref": "#/$defs/moved2"}));
        assert_eq!(schema["properties"]["c"], json!({"$ref": "#/$defs/moved3"}));
        let (schema, _) = adapted(
            ModelApi::Anthropic,
            json!({"type": "object", "properties": {"$a": {}}, "dependencies": {"b": {"$ref": "#/properties/$a"}}}),
        );
        assert_eq!((&schema["dependencies"]["b"], &schema["$defs"]["moved1"]), (&first, &json!({})));
    }

    /// Only the names of the top level are restored.
    #[test]
    fn nested_references_to_the_whole_schema_keep_the_names() {
        let own = json!({"type": "object", "properties": {
            "$and": {"type": "array", "items": {"$ref": "#"}}, "x": {"$ref": "#/properties/$and"}}, "$defs": {"n": {}}});
        let (schema, _) = adapted(ModelApi::Anthropic, own.clone());
        let renamed = renamed_properties(ModelApi::Anthropic, &own);
        let list = json!({"type": "array", "items": {"$ref": "#/$defs/moved1"}});
        let moved = json!({"$ref": "#/$defs/moved2"});
        assert_eq!(
            schema,
            json!({"type": "object", "properties": {&renamed[0].0: list, "x": moved}, "$defs": {"n": {},
                "moved1": {"type": "object", "properties": {"$and": list, "x": moved}}, "moved2": list}})
        );
        let whole = json!({"type": "object", "properties": {"and": {"items": {"$ref": "#"}}}});
        assert_eq!(adapted(ModelApi::Anthropic, whole.clone()), (whole, Vec::new()));
    }

    #[test]
    fn references_are_percent_encoded() {
        let schema = json!({"type": "object", "properties": {"a": {"$ref": "#/definitions/Page%3CItem%3E"}},
            "definitions": {"Page<Item>": {"type": "string"}}});
        assert_eq!(adapted(ModelApi::OpenAiChat, schema.clone()), (schema, Vec::new()));
    }

    #[test]
    fn references_that_multiply_end() {
        let level = |n: usize| json!({"allOf": [{"$ref": format!("#/$defs/{n}")}, {"$ref": format!("#/$defs/{n}")}]});
        let defs: Map<String, Value> = (0..60).map(|n| (n.to_string(), level(n + 1))).collect();
        let (schema, _) = adapted(ModelApi::Anthropic, json!({"$ref": "#/$defs/0", "$defs": defs}));
        assert_eq!(schema["type"], "object");
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
        let schema = json!({"type": "object", "required": ["a"]});
        assert_eq!(adapted(ModelApi::Gemini, schema).0, json!({"type": "object", "required": []}));
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
