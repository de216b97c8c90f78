//! Example arguments: the words of a valid call, to be pasted into a POSIX shell.

use std::cell::Cell;

use serde_json::{Map, Value};

use crate::schema::coerce::coerce;
use crate::schema::defaults::with_defaults;
use crate::schema::document::{Property, SchemaDocument};
use crate::schema::fast_validator::quick_accepts;
use crate::schema::sample::{sample_member_names, sample_value};
use crate::schema::validator::SchemaValidator;
use crate::util::quoting::quote;

/// The most values that are made up for one example.
const MAX_SAMPLES: usize = 500;
/// The most choices of a schema that are tried.
const MAX_BRANCHES: usize = 16;

/// The arguments of an example call.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleArguments {
    /// The words, each quoted for a POSIX shell.
    pub words: Vec<String>,
    /// Whether the schema accepts them; if not, it has requirements that cannot be met automatically, such as a
    /// `pattern`.
    pub is_accepted: bool,
}

/// An example call with only the required parameters.
///
/// Values come from `examples`, `default`, `enum`, `const` and the limits before they are made up; a `pattern` cannot
/// be satisfied without one of those.
pub async fn example_arguments(validator: &SchemaValidator) -> ExampleArguments {
    let document = SchemaDocument::new(validator.schema());
    let (samples, is_accepted) = sample_arguments(validator, document).await;
    ExampleArguments { words: argument_words(document, samples), is_accepted }
}

/// The same as JSON; `None` if no valid example was found.
pub async fn example_values(validator: &SchemaValidator) -> Option<Map<String, Value>> {
    let (samples, is_accepted) = sample_arguments(validator, SchemaDocument::new(validator.schema())).await;
    is_accepted.then(|| samples.into_iter().map(|(name, _, value)| (name.to_owned(), value)).collect())
}

/// Values for the required parameters, and whether the schema accepts them.
async fn sample_arguments<'a>(
    validator: &'a SchemaValidator,
    document: SchemaDocument<'a>,
) -> (Vec<SampledParameter<'a>>, bool) {
    let schema = validator.schema();
    let steps = Cell::new(MAX_SAMPLES);
    let always = sample_required_parameters(document, schema, None, &steps);
    if is_accepted(validator, document, &always).await {
        return (always, true);
    }
    // What is required may depend on a choice: the first branch that is accepted is shown.
    let listed = |keyword: &str| schema.get(keyword).and_then(Value::as_array).into_iter().flatten();
    let conditional =
        std::iter::once(schema).chain(listed("allOf")).flat_map(|part| [part.get("then"), part.get("else")]);
    for branch in listed("oneOf").chain(listed("anyOf")).chain(conditional.flatten()).take(MAX_BRANCHES) {
        let samples = sample_required_parameters(document, schema, Some(branch), &steps);
        if is_accepted(validator, document, &samples).await {
            return (samples, true);
        }
    }
    (always, false)
}

/// Whether a call with these parameters is valid.
async fn is_accepted(
    validator: &SchemaValidator,
    document: SchemaDocument<'_>,
    samples: &[SampledParameter<'_>],
) -> bool {
    let object = samples.iter().map(|(name, _, value)| ((*name).to_owned(), value.clone())).collect();
    let object = Value::Object(with_defaults(document, object));
    match quick_accepts(document, document.root(), &object) {
        Some(is_accepted) => is_accepted,
        None => validator.validate_leniently(&object).await.0.is_empty(),
    }
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

/// Whether `NAME=` is read as this parameter.
fn is_assignable_name(document: SchemaDocument<'_>, name: &str) -> bool {
    let declared = matches!(document.property(document.root(), name), Property::Declared(_));
    !(name.is_empty() || name.starts_with('-') || name.contains('=') || name.ends_with(':'))
        && (declared || !name.contains(['.', '[']))
}

/// Adds the words that `args` reads as this value.
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
        && coerce(document, parts, &text).as_ref() == Ok(value)
    {
        words.push(text_argument(name, &text));
        return;
    }
    if let Value::Array(items) = value
        && let [Value::String(only)] = items.as_slice()
        && coerce(document, parts, only).as_ref() == Ok(value)
    {
        words.push(text_argument(name, only));
        return;
    }
    words.push(format!("{}:={}", quote(name), quote(&value.to_string())));
}

fn text_argument(name: &str, text: &str) -> String {
    format!("{}={}", quote(name), if text.is_empty() { String::new() } else { quote(&literal_value(text)) })
}

/// A text as the value of `NAME=`, where one at sign stands for a file.
#[must_use]
pub fn literal_value(text: &str) -> String {
    format!("{}{text}", if text.starts_with('@') { "@" } else { "" })
}

// The words are quoted for POSIX shells.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::tests::block_on;

    fn example_words(schema: &Value) -> Vec<String> {
        block_on(example_arguments(&SchemaValidator::new(schema))).words
    }

    #[test]
    fn examples_have_only_required_parameters_and_are_quoted() {
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
                "css": {"type": "string", "default": "omitted"},
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
    fn unusual_schemas_have_examples_too() {
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
