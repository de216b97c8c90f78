//! A schema and the way through it: local references, the types it allows, its properties and items.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::HashSet;

use serde_json::{Map, Value};

use super::describe::choices;
use super::dialect::Dialect;
use super::kinds::Kinds;

/// The most subschemas that apply to one place and are looked at.
const MOST_VIEWS: usize = 256;
/// The longest chain of references and compositions that is followed.
const DEEPEST: usize = 32;

/// The most subschemas that one question looks at.
pub(super) const MOST_STEPS: usize = 5_000;

/// A whole schema, to which local references lead back.
#[derive(Clone, Copy, Debug)]
pub struct Document<'a> {
    root: &'a Value,
    dialect: Dialect,
}

/// What a schema says of a member's name.
#[derive(Clone, Debug, PartialEq)]
pub enum Property<'a> {
    /// It has that property; these schemas describe it (several, where branches differ).
    Declared(Vec<&'a Value>),
    /// It does not name it, but accepts it; these schemas may describe it.
    Allowed(Vec<&'a Value>),
    /// It neither names nor invites it.
    Unknown,
}

impl<'a> Document<'a> {
    /// A whole schema; an unknown dialect is read as the default one.
    #[must_use]
    pub fn new(root: &'a Value) -> Self {
        Document { root, dialect: Dialect::of(root).unwrap_or_default() }
    }

    /// A whole schema of a known dialect.
    #[must_use]
    pub fn with_dialect(root: &'a Value, dialect: Dialect) -> Self {
        Document { root, dialect }
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

    /// What a reference by JSON pointer (`#/$defs/a`) leads to; `None` for any other reference.
    #[must_use]
    pub fn at(&self, reference: &str) -> Option<&'a Value> {
        self.root.pointer(&pointer(reference)?)
    }

    /// What a schema's own `$ref` leads to.
    #[must_use]
    pub fn target(&self, schema: &'a Value) -> Option<&'a Value> {
        self.at(schema.get("$ref")?.as_str()?)
    }

    /// All subschemas that speak of the same place: the schema, what it refers to, and its compositions.
    ///
    /// The flag tells whether a reference could not be followed, so that more may be true than is seen here.
    fn views(&self, schema: &'a Value) -> (Vec<&'a Value>, bool) {
        self.views_but(schema, &|_| false)
    }

    /// The same without the branches that do not count.
    fn views_but(&self, schema: &'a Value, left_out: &dyn Fn(&'a Value) -> bool) -> (Vec<&'a Value>, bool) {
        let (mut views, mut opaque): (Vec<&'a Value>, bool) = (vec![schema], false);
        let mut next = 0;
        while next < views.len() {
            let view = views[next];
            next += 1;
            let Some(members) = view.as_object() else { continue };
            let mut found: Vec<&'a Value> = Vec::new();
            for (keyword, value) in members {
                match keyword.as_str() {
                    "$ref" => match self.target(view) {
                        Some(target) => found.push(target),
                        None => opaque = true,
                    },
                    "$dynamicRef" | "$recursiveRef" => opaque = true,
                    "allOf" => found.extend(value.as_array().into_iter().flatten()),
                    "anyOf" | "oneOf" => {
                        found.extend(value.as_array().into_iter().flatten().filter(|branch| !left_out(branch)));
                    }
                    "if" | "then" | "else" => found.push(value),
                    "dependentSchemas" => found.extend(value.as_object().into_iter().flat_map(Map::values)),
                    _ => {}
                }
            }
            for view in found {
                if !views.iter().any(|known| std::ptr::eq(*known, view)) && views.len() < MOST_VIEWS {
                    views.push(view);
                }
            }
        }
        (views, opaque)
    }

    /// How many subschemas speak of the same place.
    pub(super) fn breadth(&self, schema: &'a Value) -> usize {
        self.views(schema).0.len()
    }

    /// The types that a value may have here, as far as the schema names them.
    #[must_use]
    pub fn kinds(&self, schema: &'a Value) -> Kinds {
        self.kinds_for(schema, &Cell::new(MOST_STEPS))
    }

    /// The same, within a budget.
    pub(super) fn kinds_for(&self, schema: &'a Value, steps: &Cell<usize>) -> Kinds {
        self.kinds_within(schema, DEEPEST, steps)
    }

    /// The types that any of these schemas allows.
    #[must_use]
    pub fn kinds_of_any(&self, schemas: &[&'a Value]) -> Kinds {
        schemas.iter().fold(Kinds::NONE, |all, schema| all.or(self.kinds(schema)))
    }

    fn kinds_within(&self, schema: &'a Value, depth: usize, steps: &Cell<usize>) -> Kinds {
        if !spend(steps) {
            return Kinds::ALL;
        }
        let members = match schema {
            Value::Bool(false) => return Kinds::NONE,
            Value::Object(members) if depth > 0 => members,
            _ => return Kinds::ALL,
        };
        let mut kinds = members.get("type").and_then(Kinds::of_keyword).unwrap_or(Kinds::ALL);
        let union = |schemas: &'a [Value], of: &dyn Fn(&'a Value) -> Kinds| {
            schemas.iter().fold(Kinds::NONE, |all, schema| all.or(of(schema)))
        };
        if let Some(values) = members.get("enum").and_then(Value::as_array) {
            kinds = kinds.and(union(values, &Kinds::of));
        }
        if let Some(value) = members.get("const") {
            kinds = kinds.and(Kinds::of(value));
        }
        if let Some(target) = self.target(schema) {
            kinds = kinds.and(self.kinds_within(target, depth - 1, steps));
        }
        for schema in members.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            kinds = kinds.and(self.kinds_within(schema, depth - 1, steps));
        }
        for keyword in ["anyOf", "oneOf"] {
            if let Some(schemas) = members.get(keyword).and_then(Value::as_array).filter(|schemas| !schemas.is_empty())
            {
                kinds = kinds.and(union(schemas, &|schema| self.kinds_within(schema, depth - 1, steps)));
            }
        }
        kinds
    }

    /// What the schema says of a member of that name.
    #[must_use]
    pub fn property(&self, schema: &'a Value, name: &str) -> Property<'a> {
        self.property_but(schema, name, &|_| false)
    }

    /// What the schema says of a member, given others beside it: the branches of `anyOf` and `oneOf` that list the
    /// values of one of those, and not the one that it has, do not count.
    #[must_use]
    pub fn property_beside(&self, schema: &'a Value, name: &str, beside: &Map<String, Value>) -> Property<'a> {
        self.property_but(schema, name, &|branch| self.excludes(branch, beside))
    }

    /// Whether an object with these members is certainly of another form. What they are is known by their text only.
    pub(super) fn excludes(&self, schema: &'a Value, members: &Map<String, Value>) -> bool {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        members.iter().filter(|(_, value)| !value.is_array() && !value.is_object()).any(|(name, value)| {
            let Property::Declared(parts) = self.property(schema, name) else { return false };
            let given = text(value);
            parts
                .iter()
                .any(|part| choices(*self, part).is_some_and(|listed| !listed.iter().any(|one| text(one) == given)))
        })
    }

    /// Whether a name must be given, if only under a condition: then it can be given.
    fn requires(view: &Value, name: &str) -> bool {
        let lists = |list: &Value| list.as_array().is_some_and(|names| names.iter().any(|one| one == name));
        view.get("required").is_some_and(lists)
            || view.get("dependentRequired").and_then(Value::as_object).is_some_and(|all| all.values().any(lists))
    }

    fn property_but(&self, schema: &'a Value, name: &str, left_out: &dyn Fn(&'a Value) -> bool) -> Property<'a> {
        let (views, opaque) = self.views_but(schema, left_out);
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
            required |= Self::requires(view, name);
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
        // A schema that names no property at all and forbids none ({"type":"object"}) takes anything, and any takes
        // what it requires.
        if open || ((!names_some || required) && !closed) { Property::Allowed(described) } else { Property::Unknown }
    }

    /// The names of all properties, in the schema's order, and then of those that are only required.
    #[must_use]
    pub fn names(&self, schema: &'a Value) -> Vec<&'a str> {
        let mut seen: HashSet<&'a str> = HashSet::new();
        let views = self.views(schema).0.into_iter();
        let names = views.filter_map(|view| view.get("properties")?.as_object()).flat_map(Map::keys);
        let mut names: Vec<&str> = names.map(String::as_str).filter(|name| seen.insert(name)).collect();
        let only = self.required(schema).into_iter().filter(|name| seen.insert(name));
        names.extend(only.filter(|name| self.property(schema, name) != Property::Unknown));
        names
    }

    /// The names that are required whatever the other arguments are.
    #[must_use]
    pub fn required(&self, schema: &'a Value) -> Vec<&'a str> {
        let mut seen: HashSet<&'a str> = HashSet::new();
        let parts = self.parts(schema).into_iter();
        let names = parts.filter_map(|part| part.get("required")?.as_array()).flatten().filter_map(Value::as_str);
        names.filter(|name| seen.insert(name)).collect()
    }

    /// What holds here whatever the value is: the schema, what it refers to, and all of `allOf`.
    pub(super) fn parts(&self, schema: &'a Value) -> Vec<&'a Value> {
        let mut parts = vec![schema];
        let mut next = 0;
        while let Some(part) = parts.get(next).copied() {
            next += 1;
            let all_of = part.get("allOf").and_then(Value::as_array).into_iter().flatten();
            for part in self.target(part).into_iter().chain(all_of) {
                if parts.len() < MOST_VIEWS && !parts.iter().any(|known| std::ptr::eq(*known, part)) {
                    parts.push(part);
                }
            }
        }
        parts
    }

    /// The schemas that describe the item at that position of an array.
    #[must_use]
    pub fn items(&self, schema: &'a Value, position: usize) -> Vec<&'a Value> {
        let item = |view: &&'a Value| {
            let listed = |keyword: &str| view.get(keyword)?.as_array()?.get(position);
            let one = |keyword: &str| view.get(keyword).filter(|value| is_schema(value));
            let rest = || one("items").or_else(|| one("additionalItems"));
            listed("prefixItems").or_else(|| listed("items")).or_else(rest)
        };
        self.views(schema).0.iter().filter_map(item).collect()
    }

    /// Whether the schema says that values here are secret: messages must not repeat them.
    #[must_use]
    pub fn is_secret(&self, schema: &'a Value) -> bool {
        let secret = |view: &&Value| {
            view.get("format") == Some(&Value::from("password")) || view.get("writeOnly") == Some(&Value::Bool(true))
        };
        self.views(schema).0.iter().any(secret)
    }
}

/// Spends one step of a budget; `false` where none is left, because a schema branches without end.
pub(super) fn spend(steps: &Cell<usize>) -> bool {
    let left = steps.get();
    steps.set(left.saturating_sub(1));
    left > 0
}

/// Whether a value may stand where a schema is wanted.
fn is_schema(value: &Value) -> bool {
    value.is_object() || value.is_boolean()
}

/// The JSON pointer of a reference within the document, percent-decoded; `None` for any other reference.
pub(super) fn pointer(reference: &str) -> Option<Cow<'_, str>> {
    let pointer = reference.strip_prefix('#')?;
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return None;
    }
    if !pointer.contains('%') {
        return Some(Cow::Borrowed(pointer));
    }
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let decoded = (*byte == b'%').then(|| std::str::from_utf8(after.get(..2)?).ok()).flatten();
        match decoded.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) => {
                bytes.push(value);
                rest = &after[2..];
            }
            None => {
                bytes.push(*byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pointers_are_decoded() {
        let schema = json!({"$defs": {"a b": {"type": "string"}, "c/d": true, "%": false}});
        let document = Document::new(&schema);
        assert_eq!(document.at("#"), Some(&schema));
        assert_eq!(document.at("#/$defs/a%20b"), Some(&json!({"type": "string"})));
        assert_eq!(document.at("#/$defs/c~1d"), Some(&json!(true)));
        assert_eq!(document.at("#/$defs/%"), Some(&json!(false)));
        assert_eq!(document.at("#anchor"), None);
        assert_eq!(document.at("other.json#/a"), None);
        assert_eq!(document.at("#/none"), None);
    }

    #[test]
    fn kinds_follow_every_way_to_name_a_type() {
        let root = json!({"$defs": {"s": {"type": "string"}, "loop": {"$ref": "#/$defs/loop"}}});
        let kinds = |schema: Value| {
            let document = json!({"$defs": root["$defs"], "x": schema});
            Document::new(&document).kinds(&document["x"]).to_string()
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
        assert_eq!(Document::new(&document).kinds(&document["$defs"]["loop"]), Kinds::ALL);
        assert_eq!(kinds(json!(false)), "nothing");
    }

    #[test]
    fn properties_are_found_through_references_and_compositions() {
        let schema = json!({
            "$ref": "#/$defs/base", "properties": {"a": {"type": "string"}},
            "anyOf": [{"properties": {"b": {"type": "integer"}}}, {"properties": {"b": {"type": "null"}}}],
            "$defs": {"base": {"properties": {"c": {}}, "required": ["c"]}}, "required": ["a"],
        });
        let document = Document::new(&schema);
        assert_eq!(document.names(&schema), ["a", "c", "b"]);
        assert_eq!(document.required(&schema), ["a", "c"]);
        assert_eq!(
            document.property(&schema, "b"),
            Property::Declared(vec![&json!({"type": "integer"}), &json!({"type": "null"})])
        );
        assert_eq!(document.property(&schema, "d"), Property::Unknown);
    }

    #[test]
    fn what_an_undeclared_name_meets() {
        let property = |schema: Value| match Document::new(&schema).property(&schema, "x") {
            Property::Unknown => "unknown".to_owned(),
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
    }

    #[test]
    fn items_by_position() {
        let tuple = json!({"prefixItems": [{"type": "string"}], "items": {"type": "integer"}});
        let old = json!({"items": [{"type": "string"}], "additionalItems": {"type": "integer"}});
        for schema in [&tuple, &old] {
            assert_eq!(Document::new(schema).items(schema, 0), [&json!({"type": "string"})]);
            assert_eq!(Document::new(schema).items(schema, 1), [&json!({"type": "integer"})]);
        }
    }
}
