//! Example arguments: the words of a call that fits a schema, to be pasted into a POSIX shell.

use std::cell::Cell;

use serde_json::{Map, Number, Value};

use super::check::accepts;
use super::describe::choices;
use super::document::{Document, Property, spend};
use super::kinds::Kinds;
use super::number;

/// How deep an invented value goes.
const DEEPEST: usize = 6;
/// The most values that are invented for one example.
const MOST_SAMPLES: usize = 500;

/// The words of an example call with the required parameters only, each quoted for a POSIX shell.
///
/// Values come from `examples`, `default`, `enum`, `const` and the limits before they are invented; a `pattern`
/// cannot be honoured without one of those.
#[must_use]
pub fn example_args(schema: &Value) -> Vec<String> {
    let document = Document::new(schema);
    let steps = Cell::new(MOST_SAMPLES);
    let always = named(document, schema, None, &steps);
    let fits = |samples: &[Sample<'_>]| {
        let object = samples.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
        accepts(document, schema, &Value::Object(object)) == Some(true)
    };
    let mut chosen = None;
    if !fits(&always) {
        // What is required may hang on a choice: the first that works is shown.
        let branches = ["oneOf", "anyOf"].into_iter().filter_map(|keyword| schema.get(keyword)?.as_array()).flatten();
        chosen = branches.map(|branch| named(document, schema, Some(branch), &steps)).find(|samples| fits(samples));
    }
    let mut words = Vec::new();
    for (name, parts, value) in chosen.unwrap_or(always) {
        if parts.is_empty() {
            words.push(text_word(name, "text"));
        } else {
            word(document, &parts, name, &value, &mut words);
        }
    }
    words
}

/// A required parameter: its name, what is declared of it, a value for it.
type Sample<'a> = (&'a str, Vec<&'a Value>, Value);

/// The required parameters of a schema, and of one branch of a choice in it, whose declarations come first.
fn named<'a>(
    document: Document<'a>,
    schema: &'a Value,
    branch: Option<&'a Value>,
    steps: &Cell<usize>,
) -> Vec<Sample<'a>> {
    let branch = branch.map(|branch| document.target(branch).unwrap_or(branch));
    let mut names = document.required(schema);
    for name in branch.map(|branch| document.required(branch)).unwrap_or_default() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let one = |name: &'a str| {
        for place in branch.into_iter().chain([schema]) {
            if let Property::Declared(parts) | Property::Allowed(parts) = document.property(place, name)
                && let Some(part) = parts.first()
            {
                let value = sample(document, part, DEEPEST, steps);
                return (name, parts, value);
            }
        }
        (name, Vec::new(), Value::from("text"))
    };
    names.into_iter().map(one).collect()
}

/// Writes one value as the words that `args` reads back as that value.
fn word<'a>(document: Document<'a>, parts: &[&'a Value], name: &str, value: &Value, words: &mut Vec<String>) {
    let plain = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) | Value::Null => Some(value.to_string()),
        _ => None,
    };
    if let Some(text) = plain
        && super::coerce(document, parts, &text).as_ref() == Ok(value)
    {
        words.push(text_word(name, &text));
        return;
    }
    if let Value::Array(items) = value
        && let [Value::String(only)] = items.as_slice()
        && super::coerce(document, parts, only).as_ref() == Ok(value)
    {
        words.push(text_word(name, only));
        return;
    }
    words.push(format!("{}:={}", quoted(name), quoted(&value.to_string())));
}

fn text_word(name: &str, text: &str) -> String {
    let escape = if text.starts_with('@') { "@" } else { "" };
    format!("{}={}", quoted(name), if text.is_empty() { String::new() } else { quoted(&format!("{escape}{text}")) })
}

/// A word quoted for a POSIX shell. A NUL, which no argument can hold, is left out.
#[must_use]
pub fn quoted(word: &str) -> String {
    let word = word.replace('\0', "");
    shlex::try_quote(&word).map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// A value that fits, as far as one can tell.
fn sample<'a>(document: Document<'a>, schema: &'a Value, depth: usize, steps: &Cell<usize>) -> Value {
    let fits = |value: &&Value| accepts(document, schema, value) == Some(true);
    let listed = schema.get("examples").and_then(Value::as_array).into_iter().flatten();
    let given = schema.get("default").into_iter().filter(|value| !value.is_null());
    let declined = || schema.get("pattern").and(schema.get("examples")).and_then(|list| list.get(0));
    if let Some(value) = listed.chain(given).find(fits).or_else(declined) {
        return value.clone();
    }
    if let Some(value) = choices(document, schema).into_iter().flatten().find(|value| !value.is_null()) {
        return value;
    }
    if depth == 0 || !spend(steps) {
        return Value::Null;
    }
    if let Some(target) = document.target(schema) {
        return sample(document, target, depth - 1, steps);
    }
    for keyword in ["anyOf", "oneOf", "allOf"] {
        let branches = schema.get(keyword).and_then(Value::as_array).into_iter().flatten();
        let samples = branches.map(|branch| sample(document, branch, depth - 1, steps));
        if let Some(value) = samples.into_iter().filter(|value| !value.is_null()).find(|value| fits(&value)) {
            return value;
        }
    }
    let kinds = document.kinds_for(schema, steps);
    if kinds.holds(Kinds::STRING) {
        return Value::String(text(schema));
    }
    if kinds.holds(Kinds::INTEGER) {
        return Value::Number(amount(schema));
    }
    if kinds.holds(Kinds::BOOLEAN) {
        return Value::Bool(true);
    }
    if kinds.holds(Kinds::ARRAY) {
        let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(1).clamp(1, 5);
        let item = |position: usize| {
            document.items(schema, position).first().map(|item| sample(document, item, depth - 1, steps))
        };
        let items =
            (0..usize::try_from(count).unwrap_or(1)).map(|position| item(position).unwrap_or_else(|| "text".into()));
        return Value::Array(items.collect());
    }
    if kinds.holds(Kinds::OBJECT) {
        let member = |name: &&'a str| match document.property(schema, name) {
            Property::Declared(parts) => Some(((*name).to_owned(), sample(document, parts.first()?, depth - 1, steps))),
            _ => Some(((*name).to_owned(), Value::from("text"))),
        };
        return Value::Object(document.required(schema).iter().filter_map(member).collect::<Map<_, _>>());
    }
    Value::Null
}

fn text(schema: &Value) -> String {
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

/// A whole number within the limits, where there is one near them.
fn amount(schema: &Value) -> Number {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64).filter(|bound| bound.abs() < 1e15);
    #[allow(clippy::cast_possible_truncation, reason = "bounds beyond 1e15 are left out above")]
    let whole = |bound: f64| bound as i64;
    let least = bound("minimum").map(|bound| whole(bound.ceil()));
    let least = least.max(bound("exclusiveMinimum").map(|bound| whole(bound.floor()) + 1));
    let most = bound("maximum").map(|bound| whole(bound.floor()));
    let most = [most, bound("exclusiveMaximum").map(|bound| whole(bound.ceil()) - 1)].into_iter().flatten().min();
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_required_and_quoted_for_a_shell() {
        let schema = json!({
            "type": "object", "required": ["query", "limit", "when", "state", "labels", "point", "deep", "at", "on", "even"],
            "properties": {
                "query": {"type": "string", "examples": ["it's a test"]},
                "limit": {"type": "integer", "minimum": 10, "maximum": 20},
                "when": {"type": "string", "format": "date"},
                "state": {"enum": ["open", "closed"]},
                "labels": {"type": "array", "items": {"type": "string"}},
                "point": {"type": "array", "items": {"type": "number"}, "minItems": 2},
                "deep": {"$ref": "#/$defs/deep"},
                "at": {"type": "string", "default": "@home"},
                "on": {"type": "boolean"},
                "even": {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 2},
                "other": {"type": "string"},
            },
            "$defs": {"deep": {"type": "object", "required": ["by"], "properties": {"by": {"type": "string"}}}},
        });
        assert_eq!(
            example_args(&schema),
            [
                r#"query="it's a test""#,
                "limit=10",
                "when=2026-01-31",
                "state=open",
                "labels=text",
                "point:='[1,1]'",
                r#"deep:='{"by":"text"}'"#,
                "at=@@home",
                "on=true",
                "even=6",
            ]
        );
        assert!(example_args(&json!({"type": "object", "properties": {"a": {}}})).is_empty());
    }

    #[test]
    fn odd_schemas_still_give_words() {
        let one = |part: Value| example_args(&json!({"required": ["x"], "properties": {"x": part}})).join(" ");
        assert_eq!(one(json!({"type": ["string", "null"], "default": null})), "x=text");
        assert_eq!(one(json!({"type": "string", "minLength": 6})), "x=textxx");
        assert_eq!(one(json!({"type": "string", "maxLength": 2})), "x=te");
        assert_eq!(one(json!({"type": "integer", "maximum": -5})), "x=-5");
        assert_eq!(one(json!({"type": "integer", "exclusiveMaximum": 1})), "x=0");
        assert_eq!(one(json!({"type": "null"})), "x=null");
        assert_eq!(one(json!({"type": "integer", "default": "wrong"})), "x=1");
        assert_eq!(one(json!({"type": "string", "pattern": "^a", "examples": ["abc"]})), "x=abc");
        assert_eq!(one(json!({"oneOf": [{"type": "null"}, {"type": "integer", "minimum": 3}]})), "x=3");
        assert_eq!(one(json!({"const": {"a": 1}})), r#"x:='{"a":1}'"#);
        assert_eq!(one(json!({"$ref": "#/properties/x"})), "x:=null");
        assert_eq!(example_args(&json!({"required": ["a b"]})), ["'a b'=text"]);
    }
}
