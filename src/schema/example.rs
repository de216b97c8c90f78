//! Example arguments: the words of a call that fits a schema, to be pasted into a POSIX shell.

use std::cell::Cell;

use serde_json::{Map, Value};

use super::document::{Property, SchemaDocument};
use crate::schema::defaults::with_defaults;
use crate::schema::fast_validator::quick_accepts;
use crate::schema::sample::{sample_member_names, sample_value};
use crate::util::quoting::quote;

/// The most values that are invented for one example.
const MAX_SAMPLES: usize = 500;
/// The most choices of a schema that are tried.
const MAX_BRANCHES: usize = 16;

/// The arguments of an example call.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleArguments {
    /// The words, each quoted for a POSIX shell.
    pub words: Vec<String>,
    /// Whether the schema takes them; else there is more in it than can be made up, a `pattern` say.
    pub is_accepted: bool,
}

/// An example call with the parameters only that must be given.
///
/// Values come from `examples`, `default`, `enum`, `const` and the limits before they are invented; a `pattern`
/// cannot be honoured without one of those.
#[must_use]
pub fn example_arguments(schema: &Value) -> ExampleArguments {
    let document = SchemaDocument::new(schema);
    let steps = Cell::new(MAX_SAMPLES);
    let always = sample_required_parameters(document, schema, None, &steps);
    let fits = |samples: &[SampledParameter<'_>]| {
        let object = samples.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
        let object = Value::Object(with_defaults(document, object));
        quick_accepts(document, schema, &object)
            .unwrap_or_else(|| super::validate_leniently(schema, &object).0.is_empty())
    };
    if fits(&always) {
        return ExampleArguments { words: argument_words(document, always), is_accepted: true };
    }
    // What is required may hang on a choice: the first that works is shown.
    let listed = |keyword: &str| schema.get(keyword).and_then(Value::as_array).into_iter().flatten();
    let conditional =
        std::iter::once(schema).chain(listed("allOf")).flat_map(|part| [part.get("then"), part.get("else")]);
    let mut branches = listed("oneOf").chain(listed("anyOf")).chain(conditional.flatten()).take(MAX_BRANCHES);
    let chosen = branches.find_map(|branch| {
        let samples = sample_required_parameters(document, schema, Some(branch), &steps);
        fits(&samples).then_some(samples)
    });
    let fits = chosen.is_some();
    ExampleArguments { words: argument_words(document, chosen.unwrap_or(always)), is_accepted: fits }
}

/// A required parameter: its name, what is declared of it, a value for it.
type SampledParameter<'a> = (&'a str, Vec<&'a Value>, Value);

/// The required parameters of a schema, and of one branch of a choice in it, whose declarations come first.
fn sample_required_parameters<'a>(
    document: SchemaDocument<'a>,
    schema: &'a Value,
    branch: Option<&'a Value>,
    steps: &Cell<usize>,
) -> Vec<SampledParameter<'a>> {
    let branch = branch.map(|branch| document.ref_target(branch).unwrap_or(branch));
    let one = |name: &'a str| {
        for place in branch.into_iter().chain([schema]) {
            if let Property::Declared(parts) | Property::Allowed(parts) = document.property(place, name)
                && let Some(part) = parts.first()
            {
                let value = sample_value(document, part, steps);
                return (name, parts, value);
            }
        }
        (name, Vec::new(), Value::from("text"))
    };
    sample_member_names(document, schema, branch).into_iter().map(one).collect()
}

/// The words that give these parameters.
fn argument_words<'a>(document: SchemaDocument<'a>, samples: Vec<SampledParameter<'a>>) -> Vec<String> {
    let mut words = Vec::new();
    let mut whole = Map::new();
    for (name, parts, value) in samples {
        if !is_assignable_name(document, name) {
            whole.insert(name.to_owned(), value);
        } else if parts.is_empty() {
            words.push(text_argument(name, "text"));
        } else {
            push_argument(document, &parts, name, &value, &mut words);
        }
    }
    if !whole.is_empty() {
        words.insert(0, format!("--args {}", quote(&Value::Object(whole).to_string())));
    }
    words
}

/// Whether a name can stand before `=` and means this parameter then.
fn is_assignable_name(document: SchemaDocument<'_>, name: &str) -> bool {
    let declared = matches!(document.property(document.root(), name), Property::Declared(_));
    !(name.is_empty() || name.starts_with('-') || name.contains('=') || name.ends_with(':'))
        && (declared || !name.contains(['.', '[']))
}

/// Writes one value as the words that `args` reads back as that value.
fn push_argument<'a>(
    document: SchemaDocument<'a>,
    parts: &[&'a Value],
    name: &str,
    value: &Value,
    words: &mut Vec<String>,
) {
    let plain = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) | Value::Null => Some(value.to_string()),
        _ => None,
    };
    if let Some(text) = plain
        && super::coerce(document, parts, &text).as_ref() == Ok(value)
    {
        words.push(text_argument(name, &text));
        return;
    }
    if let Value::Array(items) = value
        && let [Value::String(only)] = items.as_slice()
        && super::coerce(document, parts, only).as_ref() == Ok(value)
    {
        words.push(text_argument(name, only));
        return;
    }
    words.push(format!("{}:={}", quote(name), quote(&value.to_string())));
}

fn text_argument(name: &str, text: &str) -> String {
    let escape = if text.starts_with('@') { "@" } else { "" };
    format!("{}={}", quote(name), if text.is_empty() { String::new() } else { quote(&format!("{escape}{text}")) })
}

// The words are quoted as POSIX shells take them.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn example_words(schema: &Value) -> Vec<String> {
        example_arguments(schema).words
    }

    #[test]
    fn only_what_is_required_and_quoted_for_a_shell() {
        let schema = json!({
            "type": "object", "required": ["query", "limit", "when", "state", "labels", "point", "deep", "at", "css", "on", "even"],
            "properties": {
                "query": {"type": "string", "examples": ["it's a test"]},
                "limit": {"type": "integer", "minimum": 10, "maximum": 20},
                "when": {"type": "string", "format": "date"},
                "state": {"enum": ["open", "closed"]},
                "labels": {"type": "array", "items": {"type": "string"}},
                "point": {"type": "array", "items": {"type": "number"}, "minItems": 2},
                "deep": {"$ref": "#/$defs/deep"},
                "at": {"type": "string", "examples": ["@home"]},
                "css": {"type": "string", "default": "left out"},
                "on": {"type": "boolean"},
                "even": {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 2},
                "other": {"type": "string"},
            },
            "$defs": {"deep": {"type": "object", "required": ["by"], "properties": {"by": {"type": "string"}}}},
        });
        assert_eq!(
            example_words(&schema),
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
        assert!(example_words(&json!({"type": "object", "properties": {"a": {}}})).is_empty());
    }

    #[test]
    fn odd_schemas_still_give_words() {
        let one = |part: Value| example_words(&json!({"required": ["x"], "properties": {"x": part}})).join(" ");
        assert_eq!(one(json!({"type": ["string", "null"], "default": null})), "");
        assert_eq!(one(json!({"type": "string", "default": null})), "x=text");
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
        assert_eq!(example_words(&json!({"required": ["a b"]})), ["'a b'=text"]);
    }
}
