//! Sample values: the simplest value that a schema accepts.

use std::cell::Cell;

use serde_json::{Map, Number, Value};

use crate::schema::defaults::{required_without_default, value_with_defaults};
use crate::schema::document::{Property, SchemaDocument, allowed_values, spend_step};
use crate::schema::fast_validator::quick_accepts;
use crate::schema::number;
use crate::schema::types::TypeSet;

/// The deepest nesting of a sample value.
const MAX_DEPTH: usize = 6;
/// The most items and members that are made up.
const MAX_ELEMENTS: usize = 5;
/// Names for members that the schema does not name.
const PLACEHOLDER_NAMES: [&str; MAX_ELEMENTS] = ["name", "name2", "name3", "name4", "name5"];
/// How many values are tried to find an item that differs from the others.
const MAX_VARIANTS: usize = 60;
/// The most decimal places of a number between bounds.
const MAX_DECIMALS: usize = 6;

/// A value that the schema accepts, as far as a quick check can tell.
pub(super) fn sample_value<'a>(document: SchemaDocument<'a>, schema: &'a Value, steps: &Cell<usize>) -> Value {
    SampleGenerator { document, steps_left: steps }.sample(schema, MAX_DEPTH)
}

/// The required members of an object by its schema and one branch of a choice in it, without those that have a
/// default.
pub(super) fn sample_member_names<'a>(
    document: SchemaDocument<'a>,
    schema: &'a Value,
    branch: Option<&'a Value>,
) -> Vec<&'a str> {
    let mut names = required_without_default(document, schema);
    let add = |names: &mut Vec<&'a str>, name: &'a str| {
        if !names.contains(&name) {
            names.push(name);
        }
    };
    for name in branch.map(|branch| required_without_default(document, branch)).unwrap_or_default() {
        add(&mut names, name);
    }
    // Members that are required if others are present.
    let mut at = 0;
    while let Some(name) = names.get(at).copied() {
        at += 1;
        for place in branch.into_iter().chain([schema]) {
            for keyword in ["dependentRequired", "dependencies"] {
                let beside = place.get(keyword).and_then(|all| all.get(name)?.as_array());
                for name in beside.into_iter().flatten().filter_map(Value::as_str) {
                    add(&mut names, name);
                }
            }
        }
    }
    let least = count_keyword(schema, "minProperties").unwrap_or(0).min(MAX_ELEMENTS);
    if names.len() < least {
        let invented =
            PLACEHOLDER_NAMES.into_iter().filter(|name| document.property(schema, name) != Property::Undeclared);
        for name in document.property_names(schema).into_iter().chain(invented) {
            if names.len() < least {
                add(&mut names, name);
            }
        }
    }
    names
}

/// A keyword that counts something.
fn count_keyword(schema: &Value, keyword: &str) -> Option<usize> {
    schema.get(keyword).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok())
}

struct SampleGenerator<'a, 's> {
    document: SchemaDocument<'a>,
    /// How many values may still be made up.
    steps_left: &'s Cell<usize>,
}

impl<'a> SampleGenerator<'a, '_> {
    fn accepts(&self, schema: &'a Value, value: &Value) -> bool {
        self.accepts_with_defaults(schema, value) == Some(true)
    }

    /// Whether the schema accepts the value after its defaults are filled in.
    fn accepts_with_defaults(&self, schema: &'a Value, value: &Value) -> Option<bool> {
        if value.is_object() || value.is_array() {
            return quick_accepts(self.document, schema, &value_with_defaults(self.document, schema, value.clone()));
        }
        quick_accepts(self.document, schema, value)
    }

    fn sample(&self, schema: &'a Value, depth: usize) -> Value {
        let fits = |value: &&Value| self.accepts(schema, value);
        let listed = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
        let given = schema.get("default").into_iter().filter(|value| !value.is_null());
        let declined = || schema.get("pattern").and(schema.get("examples")).and_then(|list| list.get(0));
        if let Some(value) = listed.chain(given).find(fits).or_else(declined) {
            return value.clone();
        }
        if let Some(value) = allowed_values(self.document, schema).into_iter().flatten().find(|value| !value.is_null())
        {
            return value;
        }
        if depth == 0 || !spend_step(self.steps_left) {
            return Value::Null;
        }
        if let Some(target) = self.document.ref_target(schema) {
            return self.sample(target, depth - 1);
        }
        for keyword in ["anyOf", "oneOf", "allOf"] {
            let branches = schema.get(keyword).and_then(Value::as_array).into_iter().flatten();
            let samples = branches.map(|branch| self.sample(branch, depth - 1));
            if let Some(value) = samples.into_iter().filter(|value| !value.is_null()).find(|value| fits(&value)) {
                return value;
            }
        }
        let value = self.sample_of_type(schema, depth);
        // This is how a schema that contains itself ends.
        if self.accepts_with_defaults(schema, &value) == Some(false) && self.accepts(schema, &Value::Null) {
            return Value::Null;
        }
        value
    }

    fn sample_of_type(&self, schema: &'a Value, depth: usize) -> Value {
        let kinds = self.document.types_within_budget(schema, self.steps_left);
        if kinds.contains(TypeSet::STRING) {
            return Value::String(sample_text(schema));
        }
        if kinds.contains(TypeSet::INTEGER) {
            return self.sample_number(schema, kinds);
        }
        if kinds.contains(TypeSet::BOOLEAN) {
            return Value::Bool(true);
        }
        if kinds.contains(TypeSet::ARRAY) {
            return self.sample_array(schema, depth);
        }
        if kinds.contains(TypeSet::OBJECT) {
            let member = |name: &'a str| {
                let value = self.member_schema(schema, name).map(|part| self.sample(part, depth - 1));
                (name.to_owned(), value.unwrap_or_else(|| "text".into()))
            };
            return sample_member_names(self.document, schema, None)
                .into_iter()
                .map(member)
                .collect::<Map<_, _>>()
                .into();
        }
        Value::Null
    }

    /// What describes a member.
    fn member_schema(&self, schema: &'a Value, name: &str) -> Option<&'a Value> {
        match self.document.property(schema, name) {
            Property::Declared(parts) | Property::Allowed(parts) => parts.first().copied(),
            Property::Undeclared => None,
        }
    }

    fn sample_array(&self, schema: &'a Value, depth: usize) -> Value {
        let contains = schema.get("contains");
        let wanted = contains.map_or(0, |_| count_keyword(schema, "minContains").unwrap_or(1));
        let least = count_keyword(schema, "minItems").unwrap_or(1).max(wanted).clamp(1, MAX_ELEMENTS);
        let distinct = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let mut items: Vec<Value> = Vec::new();
        for position in 0..least.min(count_keyword(schema, "maxItems").unwrap_or(MAX_ELEMENTS)) {
            let part = self.document.item_schemas(schema, position).first().copied();
            let contained = contains.filter(|_| position < wanted);
            let mut item = match (contained.map(|part| self.sample(part, depth - 1)), part) {
                (Some(item), None) => item,
                (Some(item), Some(part)) if self.accepts(part, &item) => item,
                (_, Some(part)) => self.sample(part, depth - 1),
                (None, None) => "text".into(),
            };
            if distinct && items.contains(&item) {
                let takes = |other: &Value| !items.contains(other) && part.is_none_or(|part| self.accepts(part, other));
                let others = (2..MAX_VARIANTS).filter_map(|number| self.variant(part, &item, number));
                item = { others }.find(takes).unwrap_or(item);
            }
            items.push(item);
        }
        Value::Array(items)
    }

    /// Another value like this one.
    fn variant(&self, schema: Option<&'a Value>, value: &Value, number: usize) -> Option<Value> {
        if let Some(listed) = schema.and_then(|schema| allowed_values(self.document, schema)) {
            return listed.into_iter().nth(number - 1);
        }
        let format = schema.and_then(|schema| schema.get("format")?.as_str());
        match value {
            Value::String(text) if format.is_none() => Some(format!("{text}{number}").into()),
            Value::String(text) if text.contains("://") => Some(format!("{text}/{number}").into()),
            Value::String(text) => text.split_once('@').map(|(name, host)| format!("{name}{number}@{host}").into()),
            Value::Number(amount) => Some((amount.as_i64()? + i64::try_from(number).ok()? - 1).into()),
            Value::Bool(yes) => Some((!yes).into()),
            Value::Object(members) => members.iter().find_map(|(name, inner)| {
                let part = schema
                    .and_then(|schema| self.member_schema(self.document.ref_target(schema).unwrap_or(schema), name));
                let mut other = members.clone();
                other.insert(name.clone(), self.variant(part, inner, number)?);
                Some(Value::Object(other))
            }),
            Value::Array(_) | Value::Null => None,
        }
    }

    /// A number within the limits: a whole one, where that can be had.
    fn sample_number(&self, schema: &'a Value, kinds: TypeSet) -> Value {
        let whole = Value::Number(sample_integer(schema));
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
        let step = bound("multipleOf").filter(|step| *step > 0.0);
        // What divides a fraction evenly a short look does not tell.
        let fraction = step.filter(|step| step.fract() != 0.0);
        let mut limits = schema.clone();
        if let (Value::Object(members), Some(_)) = (&mut limits, fraction) {
            members.remove("multipleOf");
        }
        let divides = |number: f64, step: f64| (number / step - (number / step).round()).abs() < 1e-9;
        let fits = |number: &Value| match quick_accepts(self.document, &limits, number) {
            Some(true) => fraction.is_none_or(|step| number.as_f64().is_some_and(|number| divides(number, step))),
            Some(false) => false,
            None => fraction.is_none() && *number == whole,
        };
        if !kinds.contains(TypeSet::NUMBER) || fits(&whole) {
            return whole;
        }
        let least = [bound("minimum"), bound("exclusiveMinimum")].into_iter().flatten().reduce(f64::max);
        let most = [bound("maximum"), bound("exclusiveMaximum")].into_iter().flatten().reduce(f64::min);
        let middle = match (least, most) {
            (Some(least), Some(most)) => least.midpoint(most),
            (Some(least), None) => least + 0.5,
            (None, Some(most)) => most - 0.5,
            (None, None) => 0.5,
        };
        let multiple = step.map(|step| (middle / step).floor() * step);
        let candidates = [Some(middle), multiple, least, most].into_iter().flatten();
        let written = candidates.flat_map(|number| (1..=MAX_DECIMALS).map(move |digits| format!("{number:.digits$}")));
        let numbers = written.filter_map(|text| text.parse::<Number>().ok()).map(Value::Number);
        { numbers }.find(fits).unwrap_or(whole)
    }
}

fn sample_text(schema: &Value) -> String {
    let sample = match schema.get("format").and_then(Value::as_str) {
        Some("date") => "2026-01-31",
        Some("date-time") => "2026-01-31T12:00:00Z",
        Some("time") => "12:00:00Z",
        Some("duration") => "PT1H",
        Some("email") => "name@example.com",
        Some("uri" | "url" | "iri" | "uri-reference") => "https://example.com",
        Some("uuid") => "123e4567-e89b-12d3-a456-426614174000",
        Some("hostname") => "example.com",
        Some("ipv4") => "192.0.2.1",
        Some("ipv6") => "2001:db8::1",
        _ => "text",
    };
    let length =
        |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|limit| usize::try_from(limit).ok());
    let least = length("minLength").unwrap_or(0).min(200);
    let most = length("maxLength").unwrap_or(usize::MAX);
    sample.chars().chain(std::iter::repeat('x')).take(sample.len().max(least).min(most)).collect()
}

/// An integer within the limits, if there is one near them.
fn sample_integer(schema: &Value) -> Number {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64).filter(|bound| bound.abs() < 1e15);
    #[allow(clippy::cast_possible_truncation, reason = "bounds beyond 1e15 are left out above")]
    let floor = |bound: f64| bound as i64;
    let least = bound("minimum").map(|bound| floor(bound.ceil()));
    let least = least.max(bound("exclusiveMinimum").map(|bound| floor(bound.floor()) + 1));
    let most = bound("maximum").map(|bound| floor(bound.floor()));
    let most = [most, bound("exclusiveMaximum").map(|bound| floor(bound.ceil()) - 1)].into_iter().flatten().min();
    let mut amount = least.unwrap_or(1);
    if least.is_none()
        && let Some(most) = most
    {
        amount = amount.min(most);
    }
    if let Some(step) = schema.get("multipleOf").and_then(Value::as_number).and_then(number::plain_integer)
        && let Ok(step @ 1..) = step.parse::<i64>()
    {
        amount = amount.checked_add(step - 1).map_or(amount, |next| next.div_euclid(step) * step);
    }
    Number::from(amount)
}
