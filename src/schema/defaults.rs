//! Fills in the defaults of required properties that are missing.
//!
//! Schema generators that describe the parsed value instead of the input (zod's output mode) list properties with a
//! default as required. Some servers fill in the default themselves, others fail: a call with the default works with
//! both. A default is used only if the schema accepts it.

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::schema::document::{SchemaDocument, property_declarations};
use crate::schema::fast_validator::quick_accepts;
use crate::schema::types::TypeSet;

/// The deepest nesting of values.
const MAX_DEPTH: usize = 128;
/// The budget of steps: visiting a value costs one, trying a default or a branch costs more.
const MAX_STEPS: usize = 200_000;
/// What one default costs, and one with members or items.
const SCALAR_COST: usize = 10;
const COMPOUND_COST: usize = 100;
/// What one branch of a choice costs.
const BRANCH_COST: usize = 50;
/// The most steps to find the types that a branch allows.
const MAX_TYPE_STEPS: usize = 200;
/// The most bytes of JSON that are filled in.
const MAX_FILLED_BYTES: usize = 1 << 20;

/// An object with the defaults of required members that are missing in it and in the objects within it.
#[must_use]
pub fn with_defaults(document: SchemaDocument<'_>, members: Map<String, Value>) -> Map<String, Value> {
    match value_with_defaults(document, document.root(), Value::Object(members)) {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// The same for any value, by a subschema of the document.
pub(super) fn value_with_defaults<'a>(document: SchemaDocument<'a>, schema: &'a Value, mut value: Value) -> Value {
    DefaultFiller::new(document).fill(schema, &mut value, 0);
    value
}

/// The required members without a default: a call has to give them.
#[must_use]
pub fn required_without_default<'a>(document: SchemaDocument<'a>, schema: &'a Value) -> Vec<&'a str> {
    let parts = document.unconditional_subschemas(schema);
    let filler = DefaultFiller::new(document);
    let names = document.required(schema).into_iter();
    names.filter(|name| filler.usable_default(property_declarations(&parts, name), 0).is_none()).collect()
}

/// Whether a required property can be omitted because it has a default.
#[must_use]
pub fn has_default<'a>(document: SchemaDocument<'a>, property: &'a Value) -> bool {
    DefaultFiller::new(document).usable_default(std::iter::once(property), 0).is_some()
}

/// The schema of a member, in one part of an object's schema.
fn member_schema<'a>(part: &'a Value, name: &str) -> Option<&'a Value> {
    part.get("properties").and_then(|properties| properties.get(name)).or_else(|| part.get("additionalProperties"))
}

/// The schema of an item, in one part of an array's schema.
fn item_schema(part: &Value, position: usize) -> Option<&Value> {
    let listed = |keyword: &str| part.get(keyword)?.as_array()?.get(position);
    let rest = |keyword: &str| part.get(keyword).filter(|schema| schema.is_object());
    listed("prefixItems").or_else(|| listed("items")).or_else(|| rest("items")).or_else(|| rest("additionalItems"))
}

struct DefaultFiller<'a> {
    document: SchemaDocument<'a>,
    /// How many steps are left.
    steps_left: Cell<usize>,
    /// How many bytes may still be filled in.
    bytes_left: Cell<usize>,
}

impl<'a> DefaultFiller<'a> {
    fn new(document: SchemaDocument<'a>) -> Self {
        DefaultFiller { document, steps_left: Cell::new(MAX_STEPS), bytes_left: Cell::new(MAX_FILLED_BYTES) }
    }

    /// Spends a part of a budget; `false` if too little is left, which is spent too.
    fn spend(budget: &Cell<usize>, cost: usize) -> bool {
        let left = budget.get().checked_sub(cost);
        budget.set(left.unwrap_or_default());
        left.is_some()
    }

    fn fill(&self, schema: &'a Value, value: &mut Value, depth: usize) {
        let compound = value.is_object() || value.is_array();
        if !compound || !schema.is_object() || depth > MAX_DEPTH || !Self::spend(&self.steps_left, 1) {
            return;
        }
        let parts = self.document.unconditional_subschemas(schema);
        match value {
            Value::Object(members) => self.fill_members(schema, &parts, members, depth),
            Value::Array(items) => {
                for (position, value) in items.iter_mut().enumerate() {
                    for schema in parts.iter().filter_map(|part| item_schema(part, position)) {
                        self.fill(schema, value, depth + 1);
                    }
                }
            }
            _ => {}
        }
        for part in parts {
            for choice in ["anyOf", "oneOf"].into_iter().filter_map(|keyword| part.get(keyword)?.as_array()) {
                self.fill_branch(choice, value, depth);
            }
        }
    }

    fn fill_members(&self, schema: &'a Value, parts: &[&'a Value], members: &mut Map<String, Value>, depth: usize) {
        for (name, value) in members.iter_mut() {
            for schema in parts.iter().filter_map(|part| member_schema(part, name)) {
                self.fill(schema, value, depth + 1);
            }
        }
        for name in self.document.required(schema) {
            if !members.contains_key(name)
                && let Some(value) = self.usable_default(property_declarations(parts, name), depth)
            {
                members.insert(name.to_owned(), value);
            }
        }
    }

    /// The first default of a property, if the schema accepts it.
    fn usable_default(&self, mut declared: impl Iterator<Item = &'a Value>, depth: usize) -> Option<Value> {
        let own = |property: &'a Value| {
            self.document
                .unconditional_subschemas(property)
                .into_iter()
                .find_map(|part| part.get("default"))
                .map(|value| (property, value))
        };
        let (property, default) = declared.find_map(own)?;
        let cost = if default.is_object() || default.is_array() { COMPOUND_COST } else { SCALAR_COST };
        if self.bytes_left.get() == 0
            || !Self::spend(&self.steps_left, cost)
            || !Self::spend(&self.bytes_left, default.to_string().len())
        {
            return None;
        }
        let mut value = default.clone();
        self.fill(property, &mut value, depth + 1);
        // What a quick check cannot decide is left to the validation of the whole object.
        (quick_accepts(self.document, property, &value) != Some(false)).then_some(value)
    }

    /// Fills by the only branch that can apply to the value; of several, by the first that accepts the filled value.
    fn fill_branch(&self, choice: &'a [Value], value: &mut Value, depth: usize) {
        if !Self::spend(&self.steps_left, choice.len().saturating_mul(BRANCH_COST)) {
            return;
        }
        let kind = TypeSet::of_value(value);
        let nothing = Map::new();
        let members = value.as_object().unwrap_or(&nothing);
        let possible = |branch: &&'a Value| {
            let kinds = self.document.types_within_budget(branch, &Cell::new(MAX_TYPE_STEPS));
            kinds.contains(kind) && !self.document.excludes_object(branch, members)
        };
        let possible: Vec<&'a Value> = choice.iter().filter(possible).collect();
        if let [only] = possible.as_slice() {
            return self.fill(only, value, depth + 1);
        }
        if possible.iter().any(|branch| quick_accepts(self.document, branch, value) != Some(false)) {
            return;
        }
        for branch in possible {
            if !Self::spend(&self.steps_left, COMPOUND_COST) {
                return;
            }
            let mut tried = value.clone();
            self.fill(branch, &mut tried, depth + 1);
            if quick_accepts(self.document, branch, &tried) == Some(true) {
                *value = tried;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn whole(schema: &Value, value: Value) -> String {
        value_with_defaults(SchemaDocument::new(schema), schema, value).to_string()
    }

    #[test]
    fn required_members_with_a_default_are_filled_in() {
        let schema: Value = serde_json::from_str(
            r##"{"type": "object", "required": ["a", "b", "c", "d"], "properties": {
                "a": {"type": "string"}, "b": {"type": "number", "default": 1.50},
                "c": {"$ref": "#/$defs/c"}, "d": {"allOf": [{"default": [9007199254740993, {}]}]},
                "e": {"type": "integer", "default": 5}},
                "$defs": {"c": {"type": ["string", "null"], "default": null}}}"##,
        )
        .unwrap();
        assert_eq!(whole(&schema, json!({})), r#"{"b":1.50,"c":null,"d":[9007199254740993,{}]}"#);
        assert_eq!(
            whole(&schema, json!({"b": 2, "d": null, "a": "x", "c": "y"})),
            r#"{"b":2,"d":null,"a":"x","c":"y"}"#
        );
        assert_eq!(required_without_default(SchemaDocument::new(&schema), &schema), ["a"]);
    }

    #[test]
    fn invalid_defaults_are_not_used() {
        let of = |property: Value| {
            let schema = json!({"required": ["x"], "properties": {"x": property}});
            let missing = required_without_default(SchemaDocument::new(&schema), &schema).len();
            (whole(&schema, json!({})), missing)
        };
        let nothing = ("{}".to_owned(), 1);
        assert_eq!(of(json!({"type": "integer", "default": "wrong"})), nothing);
        assert_eq!(of(json!({"type": "string", "default": null})), nothing);
        assert_eq!(of(json!({"enum": ["a"], "default": "b"})), nothing);
        assert_eq!(of(json!({"type": "object", "required": ["y"], "default": {}})), nothing);
        assert_eq!(of(json!({"enum": ["a"]})), nothing);
        assert_eq!(of(json!(true)), nothing);
        // A quick check cannot decide this: the validation of the whole object does.
        let unsure = json!({"type": "object", "propertyNames": {"minLength": 1}, "default": {"k": 1}});
        assert_eq!(of(unsure), (r#"{"x":{"k":1}}"#.to_owned(), 0));
    }

    #[test]
    fn given_objects_are_filled_and_missing_ones_are_not_created() {
        let inner = json!({"type": "object", "required": ["s", "t"], "properties": {
            "s": {"enum": ["css", "device"], "default": "css"}, "t": {"type": "string"}}});
        let schema = json!({"type": "object", "required": ["must"], "properties": {
            "must": inner, "o": inner, "maybe": {"anyOf": [inner, {"type": "null"}]},
            "many": {"type": "array", "items": {"$ref": "#/properties/o"}},
            "pair": {"prefixItems": [{"type": "integer"}, inner]}, "map": {"additionalProperties": inner}}});
        assert_eq!(whole(&schema, json!({})), "{}");
        for (given, full) in [
            (json!({"o": {}}), r#"{"o":{"s":"css"}}"#),
            (json!({"o": {"s": "device"}}), r#"{"o":{"s":"device"}}"#),
            (json!({"maybe": {}}), r#"{"maybe":{"s":"css"}}"#),
            (json!({"maybe": null}), r#"{"maybe":null}"#),
            (json!({"many": [{}, 5, {"t": "x"}]}), r#"{"many":[{"s":"css"},5,{"t":"x","s":"css"}]}"#),
            (json!({"pair": [1, {}]}), r#"{"pair":[1,{"s":"css"}]}"#),
            (json!({"map": {"k": {}}}), r#"{"map":{"k":{"s":"css"}}}"#),
        ] {
            assert_eq!(whole(&schema, given), full);
        }
    }

    #[test]
    fn defaults_are_filled_in_too() {
        let schema = json!({"required": ["o"], "properties": {"o": {"type": "object", "default": {}, "required": ["s"],
            "properties": {"s": {"default": 1}, "other": {"default": 2}}}}});
        assert_eq!(whole(&schema, json!({})), r#"{"o":{"s":1}}"#);
    }

    #[test]
    fn the_given_members_select_the_branch() {
        let form = |kind: &str, name: &str| {
            json!({"type": "object", "required": ["kind", name], "properties": {
                "kind": {"const": kind}, name: {"type": "integer", "default": 7}}})
        };
        let selected = json!({"oneOf": [form("a", "x"), form("b", "y")]});
        assert_eq!(whole(&selected, json!({"kind": "b"})), r#"{"kind":"b","y":7}"#);
        assert_eq!(whole(&selected, json!({"kind": "c"})), r#"{"kind":"c"}"#);
        let ambiguous = json!({"anyOf": [
            {"required": ["p", "q"], "properties": {"p": {"type": "integer"}, "q": {"default": 1}}},
            {"required": ["r", "s"], "properties": {"r": {"type": "integer"}, "s": {"default": 2}}}]});
        assert_eq!(whole(&ambiguous, json!({"r": 1})), r#"{"r":1,"s":2}"#);
        assert_eq!(whole(&ambiguous, json!({"z": 1})), r#"{"z":1}"#);
        let fitting = json!({"anyOf": [form("a", "x"), {"required": ["kind"]}]});
        assert_eq!(whole(&fitting, json!({"kind": "a"})), r#"{"kind":"a"}"#);
    }

    #[test]
    fn recursive_schemas_end() {
        let started = std::time::Instant::now();
        let half = json!({"$ref": "#", "default": {}});
        let twice = json!({"type": "object", "required": ["l", "r"], "properties": {"l": half, "r": half}});
        assert_eq!(whole(&twice, json!({})), "{}");
        assert_eq!(required_without_default(SchemaDocument::new(&twice), &twice), ["l", "r"]);
        let choice = json!({"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"required": ["x"]}], "allOf": [{"$ref": "#"}]});
        assert_eq!(whole(&choice, json!({})), "{}");
        let large = json!({"type": "array", "items": {"required": ["x"], "properties": {
            "x": {"default": "x".repeat(MAX_FILLED_BYTES / 3)}}}});
        assert!(whole(&large, json!(vec![json!({}); 1000])).len() < 2 * MAX_FILLED_BYTES);
        assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
    }
}
