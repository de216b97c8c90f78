//! Queries on a schema: local references, the allowed types, properties and items.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use crate::schema::dialect::Dialect;
use crate::schema::types::TypeSet;

/// The most subschemas of one place that are considered.
const MAX_APPLICABLE_SUBSCHEMAS: usize = 256;
/// The longest chain of references and compositions that is followed.
const MAX_DEPTH: usize = 32;

/// The most subschemas that one query considers.
pub(super) const MAX_STEPS: usize = 5_000;

/// A whole schema: the root that local references are resolved against.
#[derive(Clone, Copy, Debug)]
pub struct SchemaDocument<'a> {
    root: &'a Value,
    dialect: Dialect,
}

/// What a schema says about a member.
#[derive(Clone, Debug, PartialEq)]
pub enum Property<'a> {
    /// The property is declared, by these schemas (several if branches differ).
    Declared(Vec<&'a Value>),
    /// The property is not declared, but allowed; these schemas may describe it.
    Allowed(Vec<&'a Value>),
    /// The property is neither declared nor allowed.
    Undeclared,
}

impl<'a> SchemaDocument<'a> {
    /// A whole schema; an unknown dialect is treated as the default one.
    #[must_use]
    pub fn new(root: &'a Value) -> Self {
        SchemaDocument { root, dialect: Dialect::from_schema(root).unwrap_or_default() }
    }

    /// A whole schema of a known dialect.
    #[must_use]
    pub fn with_dialect(root: &'a Value, dialect: Dialect) -> Self {
        SchemaDocument { root, dialect }
    }

    /// The schema itself.
    #[must_use]
    pub fn root(&self) -> &'a Value {
        self.root
    }

    /// Its dialect.
    #[must_use]
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The target of a reference by JSON Pointer (`#/$defs/a`); `None` for any other reference.
    #[must_use]
    pub fn resolve_reference(&self, reference: &str) -> Option<&'a Value> {
        self.root.pointer(&local_pointer(reference)?)
    }

    /// The target of the schema's own `$ref`.
    #[must_use]
    pub fn ref_target(&self, schema: &'a Value) -> Option<&'a Value> {
        self.resolve_reference(schema.get("$ref")?.as_str()?)
    }

    /// All subschemas that may apply to the same value: the schema, what it refers to, and its compositions.
    ///
    /// The flag is set if a reference could not be resolved, so that unknown subschemas may apply as well.
    fn applicable_subschemas(&self, schema: &'a Value) -> (Vec<&'a Value>, bool) {
        self.applicable_subschemas_without_branches(schema, &|_| false)
    }

    /// The same without the branches that `is_excluded` selects.
    fn applicable_subschemas_without_branches(
        &self,
        schema: &'a Value,
        is_excluded: &dyn Fn(&'a Value) -> bool,
    ) -> (Vec<&'a Value>, bool) {
        let (mut views, mut opaque): (Vec<&'a Value>, bool) = (vec![schema], false);
        let mut next = 0;
        while next < views.len() {
            let view = views[next];
            next += 1;
            let Some(members) = view.as_object() else { continue };
            let mut found: Vec<&'a Value> = Vec::new();
            for (keyword, value) in members {
                match keyword.as_str() {
                    "$ref" => match self.ref_target(view) {
                        Some(target) => found.push(target),
                        None => opaque = true,
                    },
                    "$dynamicRef" | "$recursiveRef" => opaque = true,
                    "allOf" => found.extend(value.as_array().into_iter().flatten()),
                    "anyOf" | "oneOf" => {
                        found.extend(value.as_array().into_iter().flatten().filter(|branch| !is_excluded(branch)));
                    }
                    "if" | "then" | "else" => found.push(value),
                    // `dependencies` (up to draft 7) also has lists of names.
                    "dependentSchemas" | "dependencies" => {
                        let all = value.as_object().into_iter().flat_map(Map::values);
                        found.extend(all.filter(|value| is_schema(value)));
                    }
                    _ => {}
                }
            }
            for view in found {
                if !views.iter().any(|known| std::ptr::eq(*known, view)) && views.len() < MAX_APPLICABLE_SUBSCHEMAS {
                    views.push(view);
                }
            }
        }
        (views, opaque)
    }

    /// How many subschemas may apply to the same value.
    pub(super) fn applicable_subschema_count(&self, schema: &'a Value) -> usize {
        self.applicable_subschemas(schema).0.len()
    }

    /// The types that the schema allows.
    #[must_use]
    pub fn types(&self, schema: &'a Value) -> TypeSet {
        self.types_within_budget(schema, &Cell::new(MAX_STEPS))
    }

    /// The same, within a budget.
    pub(super) fn types_within_budget(&self, schema: &'a Value, steps: &Cell<usize>) -> TypeSet {
        self.types_to_depth(schema, MAX_DEPTH, steps)
    }

    /// The types that any of these schemas allows.
    #[must_use]
    pub fn types_of_any(&self, schemas: &[&'a Value]) -> TypeSet {
        schemas.iter().fold(TypeSet::NONE, |all, schema| all.union(self.types(schema)))
    }

    fn types_to_depth(&self, schema: &'a Value, depth: usize, steps: &Cell<usize>) -> TypeSet {
        if !spend_step(steps) {
            return TypeSet::ALL;
        }
        let members = match schema {
            Value::Bool(false) => return TypeSet::NONE,
            Value::Object(members) if depth > 0 => members,
            _ => return TypeSet::ALL,
        };
        let mut kinds = members.get("type").and_then(TypeSet::from_keyword).unwrap_or(TypeSet::ALL);
        let union = |schemas: &'a [Value], of: &dyn Fn(&'a Value) -> TypeSet| {
            schemas.iter().fold(TypeSet::NONE, |all, schema| all.union(of(schema)))
        };
        if let Some(values) = members.get("enum").and_then(Value::as_array) {
            kinds = kinds.intersection(union(values, &TypeSet::of_value));
        }
        if let Some(value) = members.get("const") {
            kinds = kinds.intersection(TypeSet::of_value(value));
        }
        if let Some(target) = self.ref_target(schema) {
            kinds = kinds.intersection(self.types_to_depth(target, depth - 1, steps));
        }
        for schema in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            kinds = kinds.intersection(self.types_to_depth(schema, depth - 1, steps));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(schemas) = members.get(keyword).and_then(Value::as_array).filter(|schemas| !schemas.is_empty())
            {
                kinds = kinds.intersection(union(schemas, &|schema| self.types_to_depth(schema, depth - 1, steps)));
            }
        }
        kinds
    }

    /// What the schema says about the member with this name.
    #[must_use]
    pub fn property(&self, schema: &'a Value, name: &str) -> Property<'a> {
        self.property_except(schema, name, &|_| false)
    }

    /// What the schema says about a member of an object with these other members: branches of `anyOf` and `oneOf` that
    /// list the allowed values of one of those, but not its actual value, are ignored.
    #[must_use]
    pub fn property_with_siblings(&self, schema: &'a Value, name: &str, siblings: &Map<String, Value>) -> Property<'a> {
        self.property_except(schema, name, &|branch| self.excludes_object(branch, siblings))
    }

    /// Whether the schema certainly rejects an object with these members. Values are compared as text, since they may
    /// not have their final type yet.
    pub(super) fn excludes_object(&self, schema: &'a Value, members: &Map<String, Value>) -> bool {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let parts = self.unconditional_subschemas(schema);
        members.iter().filter(|(_, value)| !value.is_array() && !value.is_object()).any(|(name, value)| {
            let given = text(value);
            property_declarations(&parts, name)
                .filter_map(|declared| allowed_values(*self, declared))
                .any(|listed| !listed.iter().any(|one| text(one) == given))
        })
    }

    /// Whether a schema requires the name, always or under a condition, or says what it requires: then it is allowed.
    fn may_require(view: &Value, name: &str) -> bool {
        let lists = |list: &Value| list.as_array().is_some_and(|names| names.iter().any(|one| one == name));
        let dependent = |keyword: &str| view.get(keyword).and_then(Value::as_object);
        view.get("required").is_some_and(lists)
            || ["dependentRequired", "dependentSchemas", "dependencies"]
                .into_iter()
                .filter_map(dependent)
                .any(|all| all.contains_key(name) || all.values().any(lists))
    }

    fn property_except(&self, schema: &'a Value, name: &str, is_excluded: &dyn Fn(&'a Value) -> bool) -> Property<'a> {
        let (views, opaque) = self.applicable_subschemas_without_branches(schema, is_excluded);
        let declared: Vec<&Value> = views
            .iter()
            .filter_map(|view| view.get("properties")?.get(name))
            .filter(|value| is_schema(value))
            .collect();
        if !declared.is_empty() {
            return Property::Declared(declared);
        }
        let mut described = Vec::new();
        let mut open = opaque || schema == &Value::Bool(true);
        let mut closed = false;
        let mut names_some = false;
        let mut required = false;
        for view in &views {
            names_some |= view.get("properties").is_some();
            required |= Self::may_require(view, name);
            for keyword in ["additionalProperties", "unevaluatedProperties"] {
                match view.get(keyword) {
                    Some(Value::Bool(allowed)) => {
                        open |= *allowed;
                        closed |= !*allowed;
                    }
                    Some(schema @ Value::Object(_)) => {
                        open = true;
                        described.push(schema);
                    }
                    _ => {}
                }
            }
            if let Some(patterns) = view.get("patternProperties").and_then(Value::as_object) {
                open |= !patterns.is_empty();
                described.extend(patterns.values().filter(|value| is_schema(value)));
            }
        }
        // A schema that declares no property and forbids none ({"type":"object"}) allows any name, and every schema
        // allows the names that it requires.
        if open || ((!names_some || required) && !closed) { Property::Allowed(described) } else { Property::Undeclared }
    }

    /// The names of all declared properties, in the schema's order, then the names that are only required.
    #[must_use]
    pub fn property_names(&self, schema: &'a Value) -> Vec<&'a str> {
        let mut seen: HashSet<&'a str> = HashSet::new();
        let views = self.applicable_subschemas(schema).0.into_iter();
        let names = views.filter_map(|view| view.get("properties")?.as_object()).flat_map(Map::keys);
        let mut names: Vec<&str> = names.map(String::as_str).filter(|name| seen.insert(name)).collect();
        let only = self.required(schema).into_iter().filter(|name| seen.insert(name));
        names.extend(only.filter(|name| self.property(schema, name) != Property::Undeclared));
        names
    }

    /// The names that are always required.
    #[must_use]
    pub fn required(&self, schema: &'a Value) -> Vec<&'a str> {
        let mut seen: HashSet<&'a str> = HashSet::new();
        let parts = self.unconditional_subschemas(schema).into_iter();
        let names = parts.filter_map(|part| part.get("required")?.as_array()).flatten().filter_map(Value::as_str);
        names.filter(|name| seen.insert(name)).collect()
    }

    /// The subschemas that apply to every value: the schema, what it refers to, and all of `allOf`.
    pub(super) fn unconditional_subschemas(&self, schema: &'a Value) -> Vec<&'a Value> {
        let mut parts = vec![schema];
        let mut next = 0;
        while let Some(part) = parts.get(next).copied() {
            next += 1;
            let all_of = part.get("allOf").and_then(Value::as_array).into_iter().flatten();
            for part in self.ref_target(part).into_iter().chain(all_of) {
                if parts.len() < MAX_APPLICABLE_SUBSCHEMAS && !parts.iter().any(|known| std::ptr::eq(*known, part)) {
                    parts.push(part);
                }
            }
        }
        parts
    }

    /// The schemas of the item at this position of an array.
    #[must_use]
    pub fn item_schemas(&self, schema: &'a Value, position: usize) -> Vec<&'a Value> {
        let item = |view: &&'a Value| {
            let listed = |keyword: &str| view.get(keyword)?.as_array()?.get(position);
            let one = |keyword: &str| view.get(keyword).filter(|value| is_schema(value));
            let rest = || one("items").or_else(|| one("additionalItems"));
            listed("prefixItems").or_else(|| listed("items")).or_else(rest)
        };
        self.applicable_subschemas(schema).0.iter().filter_map(item).collect()
    }

    /// Whether the value is binary data in base64 (JSON Schema, `contentEncoding`; OpenAPI 3.0, `format: byte`).
    #[must_use]
    pub fn is_base64(&self, schema: &'a Value) -> bool {
        let encoded = |view: &&Value| {
            let text = |name: &str| view.get(name).and_then(Value::as_str);
            text("contentEncoding").is_some_and(|encoding| encoding.eq_ignore_ascii_case("base64"))
                || text("format") == Some("byte")
        };
        self.applicable_subschemas(schema).0.iter().any(encoded)
    }

    /// Whether the schema marks the value as secret: messages must not show it.
    #[must_use]
    pub fn is_secret(&self, schema: &'a Value) -> bool {
        let secret = |view: &&Value| {
            view.get("format") == Some(&Value::from("password")) || view.get("writeOnly") == Some(&Value::Bool(true))
        };
        self.applicable_subschemas(schema).0.iter().any(secret)
    }
}

/// The declarations of a member in the parts of an object's schema.
pub(super) fn property_declarations<'a, 'p>(
    parts: &'p [&'a Value],
    name: &'p str,
) -> impl Iterator<Item = &'a Value> + use<'a, 'p> {
    parts.iter().filter_map(move |part| part.get("properties")?.get(name))
}

/// How deep compositions are searched for listed values.
const MAX_CHOICE_DEPTH: usize = 5;

/// The values that `enum`, `const` or a choice of constants (as in elicitation forms) lists.
pub(super) fn allowed_values<'a>(document: SchemaDocument<'a>, schema: &'a Value) -> Option<Vec<Value>> {
    fn search<'a>(
        document: SchemaDocument<'a>,
        schema: &'a Value,
        depth: usize,
        steps: &Cell<usize>,
    ) -> Option<Vec<Value>> {
        if depth == 0 || !spend_step(steps) {
            return None;
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return Some(values.clone());
        }
        if let Some(value) = schema.get("const") {
            return Some(vec![value.clone()]);
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(branches) = schema.get(keyword).and_then(Value::as_array).filter(|list| !list.is_empty()) {
                let lists = branches.iter().map(|branch| search(document, branch, depth - 1, steps));
                return Some(lists.collect::<Option<Vec<_>>>()?.concat());
            }
        }
        let all_of = schema.get("allOf").and_then(Value::as_array).into_iter().flatten();
        let mut parts = document.ref_target(schema).into_iter().chain(all_of);
        parts.find_map(|part| search(document, part, depth - 1, steps))
    }
    search(document, schema, MAX_CHOICE_DEPTH, &Cell::new(MAX_STEPS))
}

/// Whether the schema certainly accepts an empty object, so that nothing needs to be validated.
#[must_use]
pub fn accepts_empty_object(schema: &Value) -> bool {
    match schema {
        Value::Bool(accepts) => *accepts,
        Value::Object(members) => members.iter().all(|(key, value)| match key.as_str() {
            "type" => value == "object",
            "required" => value.as_array().is_some_and(Vec::is_empty),
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "$defs"
            | "definitions"
            | "title"
            | "description"
            | "$schema"
            | "$id"
            | "$comment"
            | "default"
            | "examples" => true,
            _ => false,
        }),
        _ => false,
    }
}

/// Spends one step of a budget; `false` if none is left.
pub(super) fn spend_step(steps: &Cell<usize>) -> bool {
    let left = steps.get();
    steps.set(left.saturating_sub(1));
    left > 0
}

/// Whether a value can be a schema.
#[must_use]
pub fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

/// The JSON Pointer of a reference within the document, percent-decoded; `None` for any other reference.
pub(super) fn local_pointer(reference: &str) -> Option<Cow<'_, str>> {
    let pointer = reference.strip_prefix('#')?;
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return None;
    }
    percent_decode_str(pointer).decode_utf8().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_are_decoded() {
        let schema = json!({"$defs": {"a b": {"type": "string"}, "c/d": true, "%": false}});
        let document = SchemaDocument::new(&schema);
        assert_eq!(document.resolve_reference("#"), Some(&schema));
        assert_eq!(document.resolve_reference("#/$defs/a%20b"), Some(&json!({"type": "string"})));
        assert_eq!(document.resolve_reference("#/$defs/c~1d"), Some(&json!(true)));
        assert_eq!(document.resolve_reference("#/$defs/%"), Some(&json!(false)));
        assert_eq!(document.resolve_reference("#anchor"), None);
        assert_eq!(document.resolve_reference("other.json#/a"), None);
        assert_eq!(document.resolve_reference("#/none"), None);
    }

    #[test]
    fn kinds_follow_every_way_to_name_a_type() {
        let root = json!({"$defs": {"s": {"type": "string"}, "loop": {"$ref": "#/$defs/loop"}}});
        let kinds = |schema: Value| {
            let document = json!({"$defs": root["$defs"], "x": schema});
            SchemaDocument::new(&document).types(&document["x"]).to_string()
        };
        assert_eq!(kinds(json!({"type": "integer"})), "integer");
        assert_eq!(kinds(json!({"type": ["string", "null"]})), "string or null");
        assert_eq!(kinds(json!({"enum": ["a", 1, null]})), "string or integer or null");
        assert_eq!(kinds(json!({"const": 1.5, "type": "number"})), "number");
        assert_eq!(kinds(json!({"$ref": "#/$defs/s"})), "string");
        assert_eq!(kinds(json!({"anyOf": [{"type": "integer"}, {"$ref": "#/$defs/s"}]})), "string or integer");
        assert_eq!(
            kinds(json!({"allOf": [{"type": ["integer", "null"]}, {"type": ["integer", "string"]}]})),
            "integer"
        );
        assert_eq!(kinds(json!({"type": ["number", "integer"]})), "number");
        let document = json!({"$defs": root["$defs"]});
        assert_eq!(SchemaDocument::new(&document).types(&document["$defs"]["loop"]), TypeSet::ALL);
        assert_eq!(kinds(json!(false)), "nothing");
    }

    #[test]
    fn properties_are_found_through_references_and_compositions() {
        let schema = json!({
            "$ref": "#/$defs/base", "properties": {"a": {"type": "string"}},
            "anyOf": [{"properties": {"b": {"type": "integer"}}}, {"properties": {"b": {"type": "null"}}}],
            "$defs": {"base": {"properties": {"c": {}}, "required": ["c"]}}, "required": ["a"],
        });
        let document = SchemaDocument::new(&schema);
        assert_eq!(document.property_names(&schema), ["a", "c", "b"]);
        assert_eq!(document.required(&schema), ["a", "c"]);
        assert_eq!(
            document.property(&schema, "b"),
            Property::Declared(vec![&json!({"type": "integer"}), &json!({"type": "null"})])
        );
        assert_eq!(document.property(&schema, "d"), Property::Undeclared);
    }

    #[test]
    fn undeclared_names() {
        let property = |schema: Value| match SchemaDocument::new(&schema).property(&schema, "x") {
            Property::Undeclared => "unknown".to_owned(),
            other => format!("{other:?}").chars().take_while(|c| *c != '(').collect(),
        };
        assert_eq!(property(json!({"type": "object"})), "Allowed");
        assert_eq!(property(json!(true)), "Allowed");
        assert_eq!(property(json!({"type": "object", "properties": {}})), "unknown");
        assert_eq!(property(json!({"type": "object", "additionalProperties": false})), "unknown");
        assert_eq!(property(json!({"properties": {}, "additionalProperties": true})), "Allowed");
        assert_eq!(property(json!({"properties": {}, "additionalProperties": {"type": "integer"}})), "Allowed");
        assert_eq!(property(json!({"properties": {}, "patternProperties": {"^y": true}})), "Allowed");
        assert_eq!(property(json!({"properties": {}, "$ref": "https://example.com/x"})), "Allowed");
        let declaring = json!({"properties": {"b": {}}});
        for dependent in ["dependencies", "dependentSchemas"] {
            assert_eq!(property(json!({dependent: {"x": declaring}})), "Allowed", "{dependent}");
            assert_eq!(property(json!({dependent: {"y": declaring}})), "unknown", "{dependent}");
        }
        assert_eq!(property(json!({"properties": {}, "dependentRequired": {"x": ["y"]}})), "Allowed");
        assert_eq!(property(json!({"dependencies": {"x": declaring}, "additionalProperties": false})), "unknown");
    }

    #[test]
    fn items_by_position() {
        let tuple = json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}});
        let old = json!({"items": [{"type": "string"}], "additionalItems": {"type": "integer"}});
        for schema in [&tuple, &old] {
            assert_eq!(SchemaDocument::new(schema).item_schemas(schema, 0), [&json!({"type": "string"})]);
            assert_eq!(SchemaDocument::new(schema).item_schemas(schema, 1), [&json!({"type": "integer"})]);
        }
    }
}
