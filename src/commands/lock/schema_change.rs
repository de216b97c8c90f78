//! What changed from one JSON Schema to another: whether it accepts less, more, or only reads differently.
//!
//! The comparison goes through the keywords. What it cannot judge counts as a change for the worse. JSON Schema
//! 2020-12, which MCP uses by default, and draft 7 have the same keywords, except for what is treated alike here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::commands::expect::is_equal;

/// What a change does to the values that a schema accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Fewer values are accepted.
    Narrower,
    /// More values are accepted.
    Wider,
    /// Fewer or more; or something is gone that its users rely on.
    Unclear,
    /// The same values are accepted.
    None,
    /// Only a text for readers changed.
    Text,
}

/// One change in a schema.
#[derive(Clone, Debug, PartialEq)]
pub struct SchemaChange {
    /// Where, as a JSON pointer into the schema.
    pub path: String,
    /// What it does.
    pub effect: Effect,
    /// What changed, in words.
    pub message: String,
    /// The value of the keyword before.
    pub before: Option<Value>,
    /// The value of the keyword now.
    pub after: Option<Value>,
}

/// Whether deeper schemas changed is not judged.
const MAX_DEPTH: usize = 64;
/// Keywords whose values are for readers.
const TEXTS: [&str; 4] = ["description", "title", "examples", "$comment"];
/// Keywords that do not decide which values are accepted, or are looked into where they are referred to.
const WITHOUT_EFFECT: [&str; 11] = [
    "default",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$id",
    "$anchor",
    "$defs",
    "definitions",
    "contentMediaType",
    "contentEncoding",
];
/// Of those, the ones whose change is not worth a line.
const IGNORED: [&str; 5] = ["$schema", "$id", "$anchor", "$defs", "definitions"];
/// Limits from below: a greater one accepts less.
const LOWER_LIMITS: [&str; 6] =
    ["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains"];
/// Limits from above: a smaller one accepts less.
const UPPER_LIMITS: [&str; 6] =
    ["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains"];
/// Keywords that refer to a schema elsewhere.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];
/// Keywords that only restrict: without them more is accepted, and two values cannot be compared.
const RESTRICTIONS: [&str; 16] = [
    "pattern",
    "format",
    "multipleOf",
    "uniqueItems",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "dependencies",
    "patternProperties",
    "propertyNames",
    "contains",
    "unevaluatedProperties",
    "unevaluatedItems",
];

/// Everything that changed from `before` to `after`.
#[must_use]
pub fn schema_changes(before: &Value, after: &Value) -> Vec<SchemaChange> {
    if before == after {
        return Vec::new();
    }
    let mut comparison = SchemaComparison {
        roots: (before, after),
        has_same_definitions: definitions(before) == definitions(after),
        has_nested_id: beside_texts(before) != beside_texts(after) && (has_nested_id(before) || has_nested_id(after)),
        compared: BTreeSet::new(),
        place: SchemaPlace::default(),
        referred: VecDeque::new(),
        changes: Vec::new(),
    };
    comparison.compare(before, after, "", 0);
    while let Some(Referred { before, after, path, place, has_compared_texts }) = comparison.referred.pop_front() {
        comparison.place = place;
        let start = comparison.changes.len();
        comparison.compare(before, after, &path, 0);
        if has_compared_texts {
            let own = TEXTS.map(|keyword| format!("{path}/{keyword}"));
            let mut later = comparison.changes.split_off(start);
            later.retain(|change| !own.contains(&change.path));
            comparison.changes.append(&mut later);
        }
    }
    comparison.changes
}

/// Where a schema is: what a change there means for the whole.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct SchemaPlace {
    /// Whether this is part of a keyword such as `not`, under which a schema that accepts less may mean more or less.
    is_in_restriction: bool,
    /// Whether this is an alternative of a `oneOf`, and another one may accept the same values: what two of them accept
    /// is refused.
    is_in_one_of: bool,
}

/// What references lead to and is still to be compared.
struct Referred<'a> {
    before: &'a Value,
    after: &'a Value,
    path: String,
    place: SchemaPlace,
    /// Whether the texts of both were compared with those beside the references.
    has_compared_texts: bool,
}

struct SchemaComparison<'a> {
    roots: (&'a Value, &'a Value),
    has_same_definitions: bool,
    /// Whether a pointer may start at a part with an ID of its own instead, and that may have changed.
    has_nested_id: bool,
    /// The schemas that were compared, by address, and where: a circle of references ends here.
    compared: BTreeSet<(SchemaPlace, *const Value, *const Value)>,
    place: SchemaPlace,
    referred: VecDeque<Referred<'a>>,
    changes: Vec<SchemaChange>,
}

impl<'a> SchemaComparison<'a> {
    fn add(&mut self, path: &str, effect: Effect, message: String, before: Option<&Value>, after: Option<&Value>) {
        let effect = match effect {
            Effect::Narrower | Effect::Wider if self.place != SchemaPlace::default() => Effect::Unclear,
            effect => effect,
        };
        let change =
            SchemaChange { path: path.to_owned(), effect, message, before: before.cloned(), after: after.cloned() };
        self.changes.push(change);
    }

    /// Compares two schemas, also if they are written alike: what they refer to may differ.
    fn compare(&mut self, before: &'a Value, after: &'a Value, path: &str, depth: usize) {
        if !self.compared.insert((self.place, before, after)) {
            return;
        }
        if depth > MAX_DEPTH {
            if before != after || before.is_object() || before.is_array() {
                self.add(path, Effect::Unclear, "the schema changed".to_owned(), Some(before), Some(after));
            }
            return;
        }
        let is_reference = (reference(before), reference(after));
        let targets = match is_reference {
            (None, None) => return self.compare_schemas(before, after, path, depth),
            (Some(one), Some(other)) => {
                // What is beside a reference applies as well (JSON Schema 2020-12 core, section 10.2).
                self.compare_objects(before, after, path, depth);
                let targets = (referred(one, self.roots.0), referred(other, self.roots.1));
                if targets == (None, None) && one == other && self.has_same_definitions && !self.has_nested_id {
                    return;
                }
                targets
            }
            _ => {
                self.compare_texts(before, after, path);
                (resolve(before, self.roots.0), resolve(after, self.roots.1))
            }
        };
        if self.has_nested_id {
            let what = "what the reference leads to may have changed".to_owned();
            self.add(path, Effect::Unclear, what, Some(before), Some(after));
        }
        if let (Some(before), Some(after)) = targets {
            let has_compared_texts = is_reference.0.is_none() || is_reference.1.is_none();
            let (path, place) = (path.to_owned(), self.place);
            self.referred.push_back(Referred { before, after, path, place, has_compared_texts });
            return;
        }
        if self.has_nested_id {
            return;
        }
        let what =
            if before == after { "what the reference leads to may have changed" } else { "the reference changed" };
        self.add(path, Effect::Unclear, what.to_owned(), Some(before), Some(after));
    }

    /// Compares the texts of two schemas of which one is a reference: those beside it, and of what it leads to.
    fn compare_texts(&mut self, before: &'a Value, after: &'a Value, path: &str) {
        for keyword in TEXTS {
            let (one, other) = (texts(before, self.roots.0, keyword), texts(after, self.roots.1, keyword));
            let mut gone = one.iter().filter(|text| !other.contains(text));
            let mut new = other.iter().filter(|text| !one.contains(text));
            loop {
                let (old, now) = (gone.next().copied(), new.next().copied());
                if old.or(now).is_none() {
                    break;
                }
                self.add(&format!("{path}/{keyword}"), Effect::Text, format!("{keyword} changed"), old, now);
            }
        }
    }

    fn compare_schemas(&mut self, before: &'a Value, after: &'a Value, path: &str, depth: usize) {
        match (before, after) {
            (Value::Bool(one), Value::Bool(other)) if one == other => {}
            (_, Value::Bool(false)) => {
                self.add(path, Effect::Narrower, "no value is accepted now".to_owned(), Some(before), Some(after));
            }
            (Value::Bool(false), _) => {
                self.add(path, Effect::Wider, "values are accepted now".to_owned(), Some(before), Some(after));
            }
            (before, after) => self.compare_objects(before, after, path, depth),
        }
    }

    /// The references in both values of a keyword, which are equal.
    fn compare_references(&mut self, before: &'a Value, after: &'a Value, path: &str, depth: usize) {
        if reference(before).is_some() || depth > MAX_DEPTH {
            return self.compare(before, after, path, depth);
        }
        let names: Vec<String> = match before {
            Value::Object(members) => members.keys().cloned().collect(),
            Value::Array(items) => (0..items.len()).map(|index| index.to_string()).collect(),
            _ => Vec::new(),
        };
        for name in names.iter().map(|name| escape_pointer(name)) {
            if let (Some(one), Some(other)) = (before.pointer(&format!("/{name}")), after.pointer(&format!("/{name}")))
            {
                self.compare_references(one, other, &format!("{path}/{name}"), depth + 1);
            }
        }
    }

    fn compare_objects(&mut self, before: &'a Value, after: &'a Value, path: &str, depth: usize) {
        self.compare_types(before, after, path);
        self.compare_values(before, after, path);
        self.compare_required(before, after, path);
        self.compare_properties(before, after, path, depth);
        self.compare_alternatives(before, after, path, depth);
        for name in keyword_names(before, after) {
            let (one, other) = (before.get(&name), after.get(&name));
            let at = format!("{path}/{}", escape_pointer(&name));
            match name.as_str() {
                "type" | "enum" | "const" | "required" | "properties" | "anyOf" | "oneOf" | "allOf" => {}
                name if REFERENCES.contains(&name) => {}
                "items" if [one, other].into_iter().flatten().any(Value::is_array) => {
                    self.compare_positions(one, other, &at, depth);
                }
                "additionalProperties" | "items" | "additionalItems" => {
                    self.compare(
                        one.unwrap_or(&Value::Bool(true)),
                        other.unwrap_or(&Value::Bool(true)),
                        &at,
                        depth + 1,
                    );
                }
                "prefixItems" => self.compare_positions(one, other, &at, depth),
                _ if one == other || one.zip(other).is_some_and(|(one, other)| is_equal(one, other)) => {
                    if let (true, Some(one), Some(other)) = (RESTRICTIONS.contains(&name.as_str()), one, other) {
                        let was = std::mem::replace(&mut self.place.is_in_restriction, true);
                        self.compare_references(one, other, &at, depth + 1);
                        self.place.is_in_restriction = was;
                    }
                }
                name if TEXTS.contains(&name) => self.add(&at, Effect::Text, format!("{name} changed"), one, other),
                name if IGNORED.contains(&name) => {}
                name if WITHOUT_EFFECT.contains(&name) => {
                    self.add(&at, Effect::None, format!("{name} {}", describe_values(one, other)), one, other);
                }
                name if LOWER_LIMITS.contains(&name) => self.compare_limits(&at, name, one, other, false),
                name if UPPER_LIMITS.contains(&name) => self.compare_limits(&at, name, one, other, true),
                name if RESTRICTIONS.contains(&name) => {
                    let off = |value: Option<&Value>| {
                        value.is_none_or(|value| *value == Value::Bool(false) && name == "uniqueItems")
                    };
                    let effect = match (off(one), off(other)) {
                        (true, true) => Effect::None,
                        (true, false) => Effect::Narrower,
                        (false, true) => Effect::Wider,
                        (false, false) => Effect::Unclear,
                    };
                    self.add(&at, effect, format!("{name} {}", describe_values(one, other)), one, other);
                }
                // An unknown keyword does not validate (JSON Schema 2020-12 core, section 6.5).
                name => self.add(&at, Effect::None, format!("{name} {}", describe_values(one, other)), one, other),
            }
        }
    }

    fn compare_types(&mut self, before: &Value, after: &Value, path: &str) {
        let (one, other) = (types(before), types(after));
        if one == other {
            return;
        }
        let at = format!("{path}/type");
        let accepts =
            |all: &BTreeSet<String>, name: &String| all.contains(name) || (name == "integer" && all.contains("number"));
        let lost: Vec<&String> = one.iter().filter(|name| !accepts(&other, name)).collect();
        let gained = other.iter().any(|name| !accepts(&one, name));
        let effect = match (lost.is_empty(), gained) {
            (true, _) => Effect::Wider,
            (false, false) => Effect::Narrower,
            (false, true) => Effect::Unclear,
        };
        let text = |value: Option<&Value>| value.map_or("any type".to_owned(), Value::to_string);
        let message = format!("the type changed from {} to {}", text(before.get("type")), text(after.get("type")));
        self.add(&at, effect, message, before.get("type"), after.get("type"));
    }

    /// `enum` and `const`.
    fn compare_values(&mut self, before: &Value, after: &Value, path: &str) {
        let has_enum = after.get("enum").is_some() || before.get("enum").is_some();
        let keyword = if has_enum { "enum" } else { "const" };
        let at = format!("{path}/{keyword}");
        let (shown_before, shown_after) = (before.get(keyword), after.get(keyword));
        match (allowed(before), allowed(after)) {
            (None, None) => {}
            (None, Some(values)) => {
                let message = format!("only {} accepted now", is_or_are(&values));
                self.add(&at, Effect::Narrower, message, shown_before, shown_after);
            }
            (Some(_), None) => {
                self.add(&at, Effect::Wider, "other values are accepted now".to_owned(), shown_before, shown_after);
            }
            (Some(one), Some(other)) => {
                let has = |all: &[&Value], value: &Value| all.iter().any(|other| is_equal(other, value));
                let gone: Vec<&Value> = one.iter().filter(|value| !has(&other, value)).copied().collect();
                let new: Vec<&Value> = other.iter().filter(|value| !has(&one, value)).copied().collect();
                if !gone.is_empty() {
                    let message = format!("{} no longer accepted", is_or_are(&gone));
                    self.add(&at, Effect::Narrower, message, shown_before, shown_after);
                }
                if !new.is_empty() {
                    let message = format!("{} accepted now", is_or_are(&new));
                    self.add(&at, Effect::Wider, message, shown_before, shown_after);
                }
            }
        }
    }

    fn compare_required(&mut self, before: &Value, after: &Value, path: &str) {
        let (one, other) = (required(before), required(after));
        let at = format!("{path}/required");
        for name in other.difference(&one) {
            self.add(
                &at,
                Effect::Narrower,
                format!("'{name}' is required now"),
                before.get("required"),
                after.get("required"),
            );
        }
        for name in one.difference(&other) {
            let message = format!("'{name}' is no longer required");
            self.add(&at, Effect::Wider, message, before.get("required"), after.get("required"));
        }
    }

    fn compare_properties(&mut self, before: &'a Value, after: &'a Value, path: &str, depth: usize) {
        let all = |schema: &'a Value| schema.get("properties").and_then(Value::as_object);
        let (one, other) = (all(before), all(after));
        for (name, schema) in one.into_iter().flatten() {
            let at = format!("{path}/properties/{}", escape_pointer(name));
            match other.and_then(|all| all.get(name)) {
                Some(now) => self.compare(schema, now, &at, depth + 1),
                None => self.add(&at, Effect::Unclear, format!("'{name}' is gone"), Some(schema), None),
            }
        }
        for (name, schema) in other.into_iter().flatten() {
            if one.is_none_or(|all| !all.contains_key(name)) {
                let at = format!("{path}/properties/{}", escape_pointer(name));
                let effect = if self.place.is_in_restriction { Effect::Unclear } else { Effect::None };
                self.add(&at, effect, format!("'{name}' is new"), None, Some(schema));
            }
        }
    }

    /// `anyOf`, `oneOf` and `allOf`: what is equal is compared with each other, and of the rest one with one.
    fn compare_alternatives(&mut self, before: &'a Value, after: &'a Value, path: &str, depth: usize) {
        for keyword in ["anyOf", "oneOf", "allOf"] {
            let at = format!("{path}/{keyword}");
            let list = |schema: &'a Value| schema.get(keyword).and_then(Value::as_array);
            let (one, other) = match (list(before), list(after)) {
                (None, None) => continue,
                (None, Some(other)) => {
                    self.add(
                        &at,
                        Effect::Narrower,
                        format!("{keyword} is new"),
                        None,
                        Some(&Value::Array(other.clone())),
                    );
                    continue;
                }
                (Some(one), None) => {
                    self.add(&at, Effect::Wider, format!("{keyword} is gone"), Some(&Value::Array(one.clone())), None);
                    continue;
                }
                (Some(one), Some(other)) => (one, other),
            };
            let was = self.place;
            let is_one_of = keyword == "oneOf";
            self.place.is_in_one_of |= is_one_of && !(self.are_disjoint(one, true) && self.are_disjoint(other, false));
            let mut rest: Vec<&Value> = one.iter().collect();
            let equal: Vec<Option<&Value>> = other
                .iter()
                .map(|now| rest.iter().position(|old| *old == now).map(|place| rest.remove(place)))
                .collect();
            let (mut unpaired, mut new) = (rest.into_iter(), Vec::new());
            for (index, (now, equal)) in other.iter().zip(equal).enumerate() {
                match equal.or_else(|| unpaired.next()) {
                    Some(old) => self.compare(old, now, &format!("{at}/{index}"), depth + 1),
                    None => new.push(now),
                }
            }
            let (fewer, more) =
                if keyword == "allOf" { (Effect::Wider, Effect::Narrower) } else { (Effect::Narrower, Effect::Wider) };
            // A value that two alternatives accept is refused by `oneOf`, so there a copy counts too.
            let more = if is_one_of { Effect::Unclear } else { more };
            for old in unpaired.filter(|old| is_one_of || !other.contains(old)) {
                self.add(&at, fewer, format!("an alternative of {keyword} is gone"), Some(old), None);
            }
            for now in new.into_iter().filter(|now| is_one_of || !one.contains(now)) {
                self.add(&at, more, format!("{keyword} has a new alternative"), None, Some(now));
            }
            self.place = was;
        }
    }

    /// Whether no value is accepted by two of these schemas: they differ in their types, or in a required member.
    fn are_disjoint(&self, all: &'a [Value], is_before: bool) -> bool {
        let root = if is_before { self.roots.0 } else { self.roots.1 };
        let all: Option<Vec<&Value>> = all.iter().map(|schema| resolve(schema, root)).collect();
        // A longer list, which takes the square of its length, counts as overlapping.
        all.filter(|all| all.len() <= 100).is_some_and(|all| {
            all.iter().enumerate().all(|(index, one)| all[..index].iter().all(|other| excludes(one, other, root)))
        })
    }

    fn compare_positions(&mut self, before: Option<&'a Value>, after: Option<&'a Value>, path: &str, depth: usize) {
        let list = |value: Option<&'a Value>| value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let (one, other) = (list(before), list(after));
        for (index, (old, now)) in one.iter().zip(other).enumerate() {
            self.compare(old, now, &format!("{path}/{index}"), depth + 1);
        }
        if one.len() != other.len() {
            self.add(path, Effect::Unclear, "the number of positions changed".to_owned(), before, after);
        }
    }

    fn compare_limits(
        &mut self,
        path: &str,
        name: &str,
        before: Option<&Value>,
        after: Option<&Value>,
        is_upper: bool,
    ) {
        if before.zip(after).is_some_and(|(before, after)| is_equal(before, after)) {
            return;
        }
        let number = |value: Option<&Value>| value.and_then(Value::as_f64);
        let effect = match (number(before), number(after)) {
            (None, _) => Effect::Narrower,
            (_, None) => Effect::Wider,
            (Some(one), Some(other)) if (other > one) == is_upper => Effect::Wider,
            (Some(_), Some(_)) => Effect::Narrower,
        };
        self.add(path, effect, format!("{name} {}", describe_values(before, after)), before, after);
    }
}

/// The reference of a schema, as it is written.
fn reference(schema: &Value) -> Option<&str> {
    REFERENCES.iter().find_map(|keyword| schema.get(keyword)?.as_str())
}

/// What a reference leads to; `None` unless it is a pointer into this document.
fn referred<'a>(reference: &str, root: &'a Value) -> Option<&'a Value> {
    root.pointer(&percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?)
}

/// Where the definitions are that only references lead to.
fn definitions(root: &Value) -> [Option<&Value>; 2] {
    ["$defs", "definitions"].map(|keyword| root.get(keyword))
}

/// The schema that a local reference leads to; `None` for another reference, or one in a circle.
fn resolve<'a>(mut schema: &'a Value, root: &'a Value) -> Option<&'a Value> {
    for _ in 0..MAX_DEPTH {
        match reference(schema) {
            None => return Some(schema),
            // Beside other keywords, the reference is one more restriction.
            Some(_) if schema.as_object().is_some_and(|all| all.keys().any(|name| is_restricting(name))) => {
                return None;
            }
            Some(name) => schema = referred(name, root)?,
        }
    }
    None
}

/// The texts of a schema: beside its reference, and of what that leads to.
fn texts<'a>(mut schema: &'a Value, root: &'a Value, keyword: &str) -> Vec<&'a Value> {
    let mut found = Vec::new();
    for _ in 0..MAX_DEPTH {
        found.extend(schema.get(keyword));
        match reference(schema).and_then(|name| referred(name, root)) {
            // In a circle the same text would be found again and again.
            Some(next) if !std::ptr::eq(next, schema) => schema = next,
            _ => break,
        }
    }
    found
}

/// The members of a schema that are not texts about it.
fn beside_texts(schema: &Value) -> BTreeMap<&String, &Value> {
    schema.as_object().into_iter().flatten().filter(|(name, _)| !TEXTS.contains(&name.as_str())).collect()
}

/// Whether a part of a schema has an ID, so that references in it start there.
fn has_nested_id(root: &Value) -> bool {
    fn has_id(schema: &Value) -> bool {
        schema.get("$id").and_then(Value::as_str).is_some_and(|id| !id.starts_with('#')) || has_nested_id(schema)
    }
    match root {
        Value::Object(members) => members.values().any(has_id),
        Value::Array(items) => items.iter().any(has_id),
        _ => false,
    }
}

/// Whether no value is accepted by both schemas.
fn excludes(one: &Value, other: &Value, root: &Value) -> bool {
    let (one_types, other_types) = (types(one), types(other));
    let is_number = |all: &BTreeSet<String>| all.contains("integer") || all.contains("number");
    if one_types.is_disjoint(&other_types) && !(is_number(&one_types) && is_number(&other_types)) {
        return true;
    }
    if [&one_types, &other_types].iter().any(|all| all.len() != 1 || !all.contains("object")) {
        return false;
    }
    required(one).intersection(&required(other)).any(|name| {
        let values = |schema| allowed(resolve(Value::get(schema, "properties")?.get(name)?, root)?);
        let both = values(one).zip(values(other));
        both.is_some_and(|(one, other)| !one.iter().any(|value| other.iter().any(|other| is_equal(value, other))))
    })
}

fn is_restricting(name: &str) -> bool {
    !REFERENCES.contains(&name) && !TEXTS.contains(&name) && !WITHOUT_EFFECT.contains(&name)
}

fn keyword_names(before: &Value, after: &Value) -> BTreeSet<String> {
    let names =
        |value: &Value| value.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>()).unwrap_or_default();
    names(before).into_iter().chain(names(after)).collect()
}

/// The types that a schema accepts.
fn types(schema: &Value) -> BTreeSet<String> {
    match schema.get("type") {
        Some(Value::String(one)) => BTreeSet::from([one.clone()]),
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect(),
        _ => ["array", "boolean", "null", "number", "object", "string"].map(ToOwned::to_owned).into(),
    }
}

/// The values that `enum` and `const` allow.
fn allowed(schema: &Value) -> Option<Vec<&Value>> {
    let one = schema.get("const").map(|value| vec![value]);
    one.or_else(|| Some(schema.get("enum")?.as_array()?.iter().collect()))
}

fn required(schema: &Value) -> BTreeSet<&str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

fn is_or_are(values: &[&Value]) -> String {
    let list = values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    format!("{list} {}", if values.len() == 1 { "is" } else { "are" })
}

/// How the value of a keyword changed.
fn describe_values(before: Option<&Value>, after: Option<&Value>) -> String {
    match (before, after) {
        (None, Some(now)) => format!("is new: {now}"),
        (Some(old), None) => format!("is gone: {old}"),
        (Some(old), Some(now)) => format!("changed from {old} to {now}"),
        (None, None) => "is the same".to_owned(),
    }
}

fn escape_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::schema::SchemaValidator;

    fn worst(before: &Value, after: &Value) -> Option<Effect> {
        let changes = schema_changes(before, after);
        let effects: Vec<Effect> = changes.iter().map(|change| change.effect).collect();
        let narrower = effects.contains(&Effect::Narrower) || effects.contains(&Effect::Unclear);
        let wider = effects.contains(&Effect::Wider) || effects.contains(&Effect::Unclear);
        match (narrower, wider) {
            (true, true) => Some(Effect::Unclear),
            (true, false) => Some(Effect::Narrower),
            (false, true) => Some(Effect::Wider),
            (false, false) => effects.into_iter().min(),
        }
    }

    /// Two kinds of objects, which the member `a` tells apart.
    fn one_of(kind: &Value, member: &Value) -> Value {
        let object =
            |kind: &Value| json!({"type": "object", "required": ["a", "b"], "properties": {"a": kind, "b": member}});
        json!({"oneOf": [object(&json!({"const": "x"})), {"$ref": "#/$defs/other"}], "$defs": {"other": object(kind)}})
    }

    /// Pairs of schemas, the first narrower than the second.
    fn pairs() -> Vec<(Value, Value)> {
        vec![
            (json!({"type": "string"}), json!({})),
            (json!({"type": "string"}), json!({"type": ["string", "null"]})),
            (json!({"type": "integer"}), json!({"type": "number"})),
            (json!({"enum": ["a"]}), json!({"enum": ["a", "b"]})),
            (json!({"const": 1}), json!({"enum": [1, 2]})),
            (json!({"enum": ["a", 1]}), json!({})),
            (json!({"minimum": 2}), json!({"minimum": 1})),
            (json!({"maximum": 2}), json!({"maximum": 3})),
            (json!({"minLength": 2}), json!({})),
            (json!({"maxLength": 1}), json!({"maxLength": 2})),
            (json!({"pattern": "^a"}), json!({})),
            (json!({"multipleOf": 2}), json!({})),
            (json!({"required": ["a", "b"]}), json!({"required": ["a"]})),
            (json!({"properties": {"a": {"type": "string"}}}), json!({"properties": {"a": {}}})),
            (json!({"additionalProperties": false}), json!({})),
            (json!({"additionalProperties": {"type": "string"}}), json!({"additionalProperties": true})),
            (json!({"items": {"type": "string"}}), json!({})),
            (json!({"items": {"type": "integer"}}), json!({"items": {"type": "number"}})),
            (json!({"maxItems": 1}), json!({"maxItems": 2})),
            (json!({"uniqueItems": true}), json!({"uniqueItems": false})),
            (json!({"anyOf": [{"type": "string"}]}), json!({"anyOf": [{"type": "string"}, {"type": "null"}]})),
            (json!({"allOf": [{"minLength": 1}, {"maxLength": 2}]}), json!({"allOf": [{"minLength": 1}]})),
            (json!({"not": {"type": "null"}}), json!({})),
            (json!(false), json!({"type": "string"})),
            (
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}),
                json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": ["string", "null"]}}}),
            ),
            (
                json!({"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"type": "string"}}}),
                json!({"properties": {"a": {"type": ["string", "integer"]}}}),
            ),
            (
                json!({"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": {"enum": ["a"]}}}),
                json!({"anyOf": [{"$ref": "#/$defs/a"}, {"type": "null"}], "$defs": {"a": {"enum": ["a", "b"]}}}),
            ),
            (
                json!({"oneOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"required": ["a", "b"]}}}),
                json!({"oneOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"required": ["a"]}}}),
            ),
            (
                json!({"oneOf": [{"type": "string", "maxLength": 1}, {"type": "null"}]}),
                json!({"oneOf": [{"type": "string", "maxLength": 2}, {"type": "null"}]}),
            ),
            (
                one_of(&json!({"enum": ["b"]}), &json!({"minimum": 3})),
                one_of(&json!({"enum": ["b"]}), &json!({"minimum": 2})),
            ),
            (
                json!({"allOf": [{"$ref": "#/$defs/a%20b"}], "$defs": {"a b": {"type": "string"}}}),
                json!({"allOf": [{"$ref": "#/$defs/a%20b"}], "$defs": {"a b": {}}}),
            ),
            (
                json!({"$ref": "#/$defs/a", "maxLength": 2, "$defs": {"a": {"type": "string"}}}),
                json!({"$ref": "#/$defs/a", "maxLength": 2, "$defs": {"a": {"type": ["string", "integer"]}}}),
            ),
            (
                json!({"$ref": "#/$defs/a", "maxLength": 1, "$defs": {"a": {"type": "string"}}}),
                json!({"$ref": "#/$defs/a", "maxLength": 2, "$defs": {"a": {"type": "string"}}}),
            ),
        ]
    }

    #[test]
    fn a_number_that_is_written_differently_is_no_change() {
        for (one, other) in [
            ("{\"maximum\": 10}", "{\"maximum\": 10.0}"),
            ("{\"enum\": [1, 2]}", "{\"enum\": [1.0, 2]}"),
            ("{\"multipleOf\": 1}", "{\"multipleOf\": 1.0}"),
        ] {
            let (one, other) = (serde_json::from_str(one).unwrap(), serde_json::from_str(other).unwrap());
            assert!(worst(&one, &other).is_none_or(|effect| effect == Effect::None), "{one} {other}");
        }
    }

    /// Values of every type, plain and as members and items.
    fn values() -> Vec<Value> {
        let plain = [
            json!(null),
            json!(true),
            json!(1),
            json!(1.5),
            json!(2),
            json!(3),
            json!(4),
            json!("a"),
            json!("b"),
            json!("ab"),
            json!("bcd"),
        ];
        let mut all = plain.to_vec();
        all.extend(plain.iter().map(|value| json!({"a": value})));
        all.extend(plain.iter().map(|value| json!({"a": "x", "b": value})));
        all.extend(plain.iter().map(|value| json!([value])));
        all.extend(plain.iter().map(|value| json!([value, value])));
        all.extend([json!({}), json!([]), json!([1, 2])]);
        all
    }

    async fn accepted(schema: &Value) -> Vec<bool> {
        let validator = SchemaValidator::new(schema);
        let mut accepted = Vec::new();
        for value in values() {
            accepted.push(validator.validate(&value).await.unwrap().is_empty());
        }
        accepted
    }

    #[tokio::test]
    async fn the_effect_agrees_with_validation() {
        for (narrow, wide) in pairs() {
            assert_eq!(worst(&narrow, &wide), Some(Effect::Wider), "{narrow} to {wide}");
            assert_eq!(worst(&wide, &narrow), Some(Effect::Narrower), "{wide} to {narrow}");
            let (before, after) = (accepted(&narrow).await, accepted(&wide).await);
            assert!(before.iter().zip(&after).all(|(before, after)| !before || *after), "{narrow} to {wide}");
            assert_ne!(before, after, "{narrow} to {wide}: no value shows the difference");
        }
    }

    #[test]
    fn what_accepts_the_same_has_no_effect() {
        for (before, after, effect) in [
            (json!({"type": "string"}), json!({"type": "string"}), None),
            (json!({"description": "a"}), json!({"description": "b"}), Some(Effect::Text)),
            (json!({"title": "a"}), json!({}), Some(Effect::Text)),
            (json!({"default": 1}), json!({}), Some(Effect::None)),
            (json!({"x-order": 1}), json!({"x-order": 2}), Some(Effect::None)),
            (json!({"properties": {}}), json!({"properties": {"a": {"type": "string"}}}), Some(Effect::None)),
            (json!({"const": "a"}), json!({"enum": ["a"]}), None),
            (json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}), json!({"type": "string"}), None),
        ] {
            assert_eq!(worst(&before, &after), effect, "{before} to {after}");
        }
    }

    #[test]
    fn what_cannot_be_judged_counts_as_both() {
        for (before, after) in [
            (json!({"type": "string"}), json!({"type": "integer"})),
            (json!({"pattern": "a"}), json!({"pattern": "b"})),
            (json!({"enum": ["a"]}), json!({"enum": ["b"]})),
            (json!({"properties": {"a": {}}}), json!({})),
            (json!({"oneOf": [{}]}), json!({"oneOf": [{}, {"type": "null"}]})),
            (json!({"oneOf": [{"type": "null"}]}), json!({"oneOf": [{"type": "null"}, {"type": "null"}]})),
            (json!({"oneOf": [{}, {}]}), json!({"oneOf": [{}]})),
            (
                json!({"oneOf": [{"type": "integer"}, {"type": "string"}]}),
                json!({"oneOf": [{"type": ["integer", "string"]}, {"type": "string"}]}),
            ),
            (
                json!({"oneOf": [{"minimum": 1}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"maximum": 1}}}),
                json!({"oneOf": [{"minimum": 1}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"maximum": 2}}}),
            ),
            (
                json!({"properties": {"a": {"$id": "http://x/s", "$ref": "#/$defs/v", "$defs": {"v": {"type": "string"}}}}}),
                json!({"properties": {"a": {"$id": "http://x/s", "$ref": "#/$defs/v", "$defs": {"v": {"type": "integer"}}}}}),
            ),
            (json!({"$ref": "https://example.com/a"}), json!({"$ref": "https://example.com/b"})),
            (json!({"prefixItems": [{}]}), json!({"prefixItems": [{}, {}]})),
        ] {
            assert_eq!(worst(&before, &after), Some(Effect::Unclear), "{before} to {after}");
        }
    }

    #[test]
    fn a_text_behind_a_reference_is_shown_also_beside_nested_ids() {
        let before = json!({"properties": {"c": {"$ref": "#/$defs/c"}}, "$defs": {"c": {"type": "string", "description": "City"}}});
        for other in [json!({"default": {"$id": "q"}}), json!({"$id": "q"})] {
            let mut after = before.clone();
            after["$defs"]["c"]["description"] = json!("Country");
            after["properties"]["x"] = other;
            let changes = schema_changes(&before, &after);
            assert!(changes.iter().any(|change| change.after == Some(json!("Country"))), "{changes:?}");
        }
    }

    /// Schemas that are written alike and refer to a definition in which this is the type or the text.
    fn referring(definition: &Value) -> Vec<Value> {
        let reference = json!({"$ref": "#/$defs/a"});
        let mut all = vec![
            json!({"not": reference}),
            json!({"if": {"minimum": 1}, "then": {"properties": {"a": reference}}}),
            json!({"if": reference, "else": false}),
            json!({"patternProperties": {"^a": reference}}),
            json!({"propertyNames": {"anyOf": [reference]}}),
            json!({"contains": reference}),
            json!({"dependentSchemas": {"a": reference}}),
            json!({"dependencies": {"a": reference}}),
            json!({"unevaluatedProperties": reference}),
            json!({"unevaluatedItems": reference}),
        ];
        for schema in &mut all {
            schema["$defs"] = json!({"a": definition, "other": {"title": definition["type"]}});
        }
        all
    }

    #[test]
    fn what_a_restriction_refers_to_cannot_be_judged() {
        let string = referring(&json!({"type": "string"}));
        for other in [json!({"type": "integer"}), json!({"type": ["string", "null"]}), json!({"properties": {"a": {}}})]
        {
            for (before, after) in string.iter().zip(&referring(&other)) {
                assert_eq!(worst(before, after), Some(Effect::Unclear), "{before} to {after}");
            }
        }
        for (before, after) in string.iter().zip(&referring(&json!({"type": "string", "description": "new"}))) {
            assert_eq!(worst(before, after), Some(Effect::Text), "{before} to {after}");
        }
        for before in &string {
            let mut after = before.clone();
            after["$defs"]["other"] = json!({"type": "null"});
            assert_eq!(worst(before, &after), None, "{before} to {after}");
        }
        // Narrower where it is required, and wider where it is forbidden.
        let both = |kind: &str| json!({"anyOf": [{"$ref": "#/$defs/a"}], "not": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": kind}}});
        assert_eq!(worst(&both("number"), &both("integer")), Some(Effect::Unclear));
    }

    #[test]
    fn a_reference_that_cannot_be_followed_is_judged_by_the_definitions() {
        for reference in [json!({"$ref": "#x"}), json!({"$dynamicRef": "#x"}), json!({"$ref": "https://example.com/a"})]
        {
            for schema in [json!({"items": reference}), json!({"anyOf": [reference]}), json!({"not": reference})] {
                let with = |more: Value| {
                    let mut schema = schema.clone();
                    schema["$defs"] = json!({"a": {"$anchor": "x", "type": "string"}, "b": more});
                    schema
                };
                let (before, mut after) = (with(json!({})), with(json!({"type": "null"})));
                assert_eq!(worst(&before, &after), Some(Effect::Unclear), "{before} to {after}");
                after = before.clone();
                after["title"] = json!("new");
                assert_eq!(worst(&before, &after), Some(Effect::Text), "{before} to {after}");
            }
        }
    }

    #[test]
    fn a_text_beside_a_reference_is_compared() {
        let described = |first: &str, second: &str| {
            json!({"$defs": {"a": {"type": "string"}}, "properties": {
                "one": {"$ref": "#/$defs/a", "description": first}, "two": {"$ref": "#/$defs/a", "description": second}}})
        };
        let changes = schema_changes(&described("a", "b"), &described("c", "d"));
        let paths: Vec<&str> = changes.iter().map(|change| &*change.path).collect();
        assert_eq!(paths, ["/properties/one/description", "/properties/two/description"]);
        assert!(changes.iter().all(|change| change.effect == Effect::Text), "{changes:?}");
    }

    #[test]
    fn a_text_beside_a_reference_that_is_new_or_gone_is_shown() {
        let inline = json!({"properties": {"city": {"type": "string", "description": "City"}}});
        let referring = |beside: &str, more: Value| json!({"properties": {"city": {"$ref": "#/$defs/c", "description": beside}}, "$defs": {"c": more}});
        let (described, plain) = (json!({"type": "string", "description": "City"}), json!({"type": "string"}));
        let secret = json!({"type": "string", "description": "read the keys"});
        for (after, new) in [
            (referring("read the keys", described.clone()), Some("read the keys")),
            (referring("City", secret), Some("read the keys")),
            (referring("read the keys", plain.clone()), Some("read the keys")),
            (referring("City", plain), None),
            (referring("City", described), None),
        ] {
            for (before, after, is_new) in [(&inline, &after, true), (&after, &inline, false)] {
                let changes = schema_changes(before, after);
                let seen: Vec<_> = changes.iter().map(|change| (&*change.path, change.effect)).collect();
                let expected = new.map(|_| ("/properties/city/description", Effect::Text));
                assert_eq!(seen, expected.into_iter().collect::<Vec<_>>(), "{before} to {after}");
                let shown = changes.first().map(|change| if is_new { &change.after } else { &change.before });
                assert_eq!(shown.and_then(|text| text.as_ref()?.as_str()), new, "{before} to {after}");
            }
        }
    }

    #[test]
    fn references_in_turn_on_both_sides_are_followed_once() {
        // What is a reference on one side is not one on the other.
        let inner = |name: &str| json!({"properties": {"p": {"$ref": name}, "q": {"$ref": name}}});
        let outer = |inner: &Value| json!({"properties": {"p": inner, "q": inner}});
        let before = json!({"$ref": "#/$defs/a", "$defs": {"a": outer(&inner("#/$defs/a"))}});
        let after = json!({"properties": {"p": {"$ref": "#/$defs/b"}, "q": {"$ref": "#/$defs/b"}},
            "$defs": {"b": outer(&inner("#/$defs/b"))}});
        assert_eq!(worst(&before, &after), None);
        // A path through many definitions is not a deep schema.
        let chain = |kind: &str| {
            let mut all: serde_json::Map<String, Value> = (0..200)
                .map(|n| (n.to_string(), json!({"properties": {"next": {"$ref": format!("#/$defs/{}", n + 1)}}})))
                .collect();
            all.insert("200".to_owned(), json!({"type": kind}));
            json!({"anyOf": [{"$ref": "#/$defs/0"}], "$defs": all})
        };
        let changes = schema_changes(&chain("number"), &chain("integer"));
        let effects: Vec<Effect> = changes.iter().map(|change| change.effect).collect();
        assert_eq!(effects, [Effect::Narrower]);
    }

    #[test]
    fn a_recursive_schema_ends() {
        let tree = |kind: &str| {
            json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {
                "child": {"$ref": "#/$defs/node"}, "value": {"type": kind}}}}})
        };
        let changes = schema_changes(&tree("integer"), &tree("number"));
        assert_eq!(changes.len(), 1, "{changes:?}");
        assert_eq!(changes[0].path, "/properties/value/type");
        assert_eq!(changes[0].effect, Effect::Wider);
        assert_eq!(schema_changes(&json!({"$ref": "#"}), &json!({"$ref": "#", "description": "x"})).len(), 1);
    }
}
