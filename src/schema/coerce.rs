//! Turns a word of the command line into a value of the type that the schema requires.
//!
//! The rules, for `name=value`:
//! * If the schema declares no type, or only string, the word is a string: `007` and `true` stay as they are.
//! * If it declares other types, the word must be one of them: a JSON number, `true` or `false`, `null`, or the JSON
//!   text of an array or object.
//! * If it allows strings and other types, a word that can be read as one of the others is that (`5` for
//!   `integer | string`) if the schema accepts it, else a string. `null` is a string then, unless the schema lists its
//!   values and null is one of them; a null literal is written `name:=null`.
//! * If it requires an integer, `1e3` and `1.0` are sent as 1000 and 1: strict servers reject the other notations.
//! * If it requires an array, a word that is not a JSON array becomes the only item.

use serde_json::{Number, Value};

use crate::schema::describe::type_text;
use crate::schema::document::SchemaDocument;
use crate::schema::fast_validator::quick_accepts;
use crate::schema::number::{is_integer, parse_json_number, plain_integer};
use crate::schema::types::TypeSet;
use crate::util::json_error::json_fault_at;

/// In how many arrays a word can be the only item. The items of an array may be described by its own schema.
const MAX_ARRAY_DEPTH: usize = 8;

/// The most schemas of items that are considered.
const MAX_SCHEMAS: usize = 64;

/// Why a word cannot become a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoercionError {
    /// The expected type: `integer`, `string[]`.
    pub expected: String,
    /// More about the word, for example what was probably meant.
    pub detail: Option<String>,
}

/// Converts a word by the schemas of its place, any of which may apply.
///
/// # Errors
/// The word cannot be read as any type that the schemas allow.
pub fn coerce<'a>(document: SchemaDocument<'a>, schemas: &[&'a Value], word: &str) -> Result<Value, CoercionError> {
    coerce_with(document, schemas, word, false, 0)
}

/// Converts a whole text (the content of a file) the same way, but prefers a string over every other allowed type.
///
/// For other types, white space around the text is ignored (usually the last line end).
///
/// # Errors
/// As [`coerce`].
pub fn coerce_text<'a>(
    document: SchemaDocument<'a>,
    schemas: &[&'a Value],
    text: &str,
) -> Result<Value, CoercionError> {
    coerce_with(document, schemas, text, true, 0)
}

fn coerce_with<'a>(
    document: SchemaDocument<'a>,
    schemas: &[&'a Value],
    text: &str,
    whole: bool,
    depth: usize,
) -> Result<Value, CoercionError> {
    let string = || Ok(Value::String(text.to_owned()));
    let kinds = document.types_of_any(schemas);
    let may = |kind: TypeSet| kinds.contains(kind);
    if schemas.is_empty() || kinds == TypeSet::ALL || kinds == TypeSet::STRING || (whole && may(TypeSet::STRING)) {
        return string();
    }
    let word = if whole { text.trim() } else { text };
    let mut readings: Vec<Value> = Vec::new();
    let number = parse_json_number(word);
    if let Some(number) = number.filter(|number| may(TypeSet::of_value(&Value::Number(number.clone())))) {
        readings.push(Value::Number(if may(TypeSet::NUMBER) { number } else { normalize_integer(number) }));
    }
    match word {
        "true" | "false" if may(TypeSet::BOOLEAN) => readings.push(Value::Bool(word == "true")),
        "null" if may(TypeSet::NULL) && !may(TypeSet::STRING) => readings.push(Value::Null),
        _ => {}
    }
    let mut why = None;
    for (kind, open, close, name) in [(TypeSet::ARRAY, '[', ']', "array"), (TypeSet::OBJECT, '{', '}', "object")] {
        let trimmed = word.trim();
        if !may(kind) || !trimmed.starts_with(open) {
            continue;
        }
        match serde_json::from_str::<Value>(trimmed) {
            Ok(value) => readings.push(value),
            // `[a,b]` is a mistake, not a string that is the only item. An object is one also without its end.
            Err(error) if trimmed.ends_with(close) || kind == TypeSet::OBJECT => {
                why = Some(format!("not a JSON {name}: {}", json_fault_at(&error)))
            }
            Err(_) => {}
        }
    }
    if may(TypeSet::STRING) {
        readings.push(Value::String(text.to_owned()));
        if word == "null" && may(TypeSet::NULL) {
            readings.push(Value::Null);
        }
    } else if may(TypeSet::ARRAY) && why.is_none() && depth < MAX_ARRAY_DEPTH {
        let items: Vec<&Value> =
            schemas.iter().flat_map(|schema| document.item_schemas(schema, 0)).take(MAX_SCHEMAS).collect();
        if let Ok(item) = coerce_with(document, &items, text, whole, depth + 1) {
            readings.push(Value::Array(vec![item]));
        }
    }
    let fits = |value: &Value| schemas.iter().any(|schema| quick_accepts(document, schema, value) != Some(false));
    let best = readings.iter().position(fits).unwrap_or(0);
    if best < readings.len() {
        return Ok(readings.swap_remove(best));
    }
    let mut expected: Vec<String> = Vec::new();
    for text in schemas.iter().map(|schema| type_text(document, schema)) {
        if !expected.contains(&text) {
            expected.push(text);
        }
    }
    Err(CoercionError { expected: expected.join(" | "), detail: why.or_else(|| typo_hint(word, kinds)) })
}

/// An integer in plain digits, if they are not too many.
fn normalize_integer(number: Number) -> Number {
    match plain_integer(&number).as_deref() {
        Some("-0") => 0.into(),
        Some(digits) => parse_json_number(digits).unwrap_or(number),
        None => number,
    }
}

/// What was probably meant by a word that is almost right.
fn typo_hint(word: &str, kinds: TypeSet) -> Option<String> {
    let lower = word.to_ascii_lowercase();
    if kinds.contains(TypeSet::BOOLEAN) && !matches!(word, "true" | "false") {
        let meant = match lower.as_str() {
            "true" | "yes" | "y" | "on" | "1" | "t" => "true",
            "false" | "no" | "n" | "off" | "0" | "f" => "false",
            _ => return None,
        };
        return Some(format!("did you mean {meant}?"));
    }
    if kinds.contains(TypeSet::INTEGER) {
        let meant = parse_loose_number(word)?;
        if kinds.contains(TypeSet::NUMBER) || is_integer(&meant) {
            return Some(format!("did you mean {meant}?"));
        }
    }
    None
}

/// The JSON number that is meant by a common notation: `+5`, `007`, `1_000`, `.5`.
fn parse_loose_number(word: &str) -> Option<Number> {
    let word = word.trim();
    let (sign, digits) = match word.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let digits = digits.replace('_', "");
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || digits == "." {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    let lead = if digits.is_empty() || digits.starts_with('.') { "0" } else { "" };
    parse_json_number(&format!("{sign}{lead}{}", digits.strip_suffix('.').unwrap_or(digits)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read(schema: &Value, word: &str) -> Result<Value, String> {
        coerce(SchemaDocument::new(schema), &[schema], word)
            .map_err(|error| [Some(error.expected), error.detail].into_iter().flatten().collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn strings_are_not_converted() {
        for word in ["007", "true", "null", "5", "", "[1]", "{}", "1e5"] {
            for schema in [
                json!({"type": "string"}),
                json!({}),
                json!(true),
                json!({"description": "anything"}),
                json!({"$ref": "#/$defs/s", "$defs": {"s": {"type": "string"}}}),
                json!({"enum": ["a", "b"]}),
            ] {
                assert_eq!(read(&schema, word), Ok(json!(word)), "{schema}");
            }
        }
        assert_eq!(read(&json!({"type": ["string", "null"]}), "null"), Ok(json!("null")));
        assert_eq!(read(&json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), "5"), Ok(json!("5")));
    }

    #[test]
    fn numbers_keep_their_digits_and_other_notations_are_rejected() {
        let integer = json!({"type": "integer"});
        let number = json!({"type": "number"});
        assert_eq!(read(&integer, "5"), Ok(json!(5)));
        assert_eq!(
            read(&integer, "123456789012345678901234567890").unwrap().to_string(),
            "123456789012345678901234567890"
        );
        assert_eq!(read(&number, "1.10").unwrap().to_string(), "1.10");
        assert_eq!(read(&number, "1e400").unwrap().to_string(), "1e+400");
        for (word, sent) in [
            ("5.0", "5"),
            ("1e3", "1000"),
            ("-1.50e1", "-15"),
            ("-0", "0"),
            ("9007199254740993.0", "9007199254740993"),
            ("12345678901234567890e3", "12345678901234567890000"),
        ] {
            assert_eq!(read(&integer, word).unwrap().to_string(), sent);
            assert_eq!(read(&json!({"type": ["integer", "string"]}), word).unwrap().to_string(), sent);
        }
        assert_eq!(read(&number, "1e3").unwrap().to_string(), "1e+3");
        assert_eq!(read(&number, "5.0").unwrap().to_string(), "5.0");
        assert_eq!(read(&json!({"enum": [1, 2]}), "2.0").unwrap().to_string(), "2");
        assert_eq!(read(&integer, "abc"), Err("integer".to_owned()));
        assert_eq!(read(&integer, "1.5"), Err("integer".to_owned()));
        assert_eq!(read(&integer, "007"), Err("integer; did you mean 7?".to_owned()));
        assert_eq!(read(&integer, "+5"), Err("integer; did you mean 5?".to_owned()));
        assert_eq!(read(&integer, "-1_000"), Err("integer; did you mean -1000?".to_owned()));
        assert_eq!(read(&number, ".5"), Err("number; did you mean 0.5?".to_owned()));
        assert_eq!(read(&integer, ""), Err("integer".to_owned()));
        for word in ["0x10", "1,000", "NaN", "5 apples"] {
            assert!(read(&number, word).is_err(), "{word}");
        }
    }

    #[test]
    fn booleans_and_null() {
        let boolean = json!({"type": "boolean"});
        assert_eq!(read(&boolean, "true"), Ok(json!(true)));
        assert_eq!(read(&boolean, "yes"), Err("boolean; did you mean true?".to_owned()));
        assert_eq!(read(&boolean, "False"), Err("boolean; did you mean false?".to_owned()));
        assert_eq!(read(&boolean, "maybe"), Err("boolean".to_owned()));
        assert_eq!(read(&json!({"type": ["integer", "null"]}), "null"), Ok(json!(null)));
        assert_eq!(read(&json!({"type": "null"}), "nil"), Err("null".to_owned()));
    }

    #[test]
    fn unions_with_string_use_the_first_accepted_reading() {
        let union = json!({"type": ["string", "integer", "boolean"]});
        assert_eq!(read(&union, "5"), Ok(json!(5)));
        assert_eq!(read(&union, "true"), Ok(json!(true)));
        assert_eq!(read(&union, "007"), Ok(json!("007")));
        assert_eq!(read(&union, "5.5"), Ok(json!("5.5")));
        // The first reading that the schema accepts is used.
        let narrow = json!({"anyOf": [{"type": "integer", "maximum": 9}, {"type": "string"}]});
        assert_eq!(read(&narrow, "9"), Ok(json!(9)));
        assert_eq!(read(&narrow, "10"), Ok(json!("10")));
        let choice = json!({"enum": ["a", null]});
        assert_eq!(read(&choice, "null"), Ok(json!(null)));
        assert_eq!(read(&choice, "b"), Ok(json!("b")));
        assert_eq!(read(&json!({"enum": ["null", null]}), "null"), Ok(json!("null")));
        let mixed = json!({"enum": ["a", 1, null, true]});
        assert_eq!(read(&mixed, "1"), Ok(json!(1)));
        assert_eq!(read(&mixed, "true"), Ok(json!(true)));
        assert_eq!(read(&mixed, "null"), Ok(json!(null)));
        let choice = json!({"enum": ["1", 2]});
        assert_eq!(read(&choice, "1"), Ok(json!("1")));
        assert_eq!(read(&choice, "2"), Ok(json!(2)));
    }

    #[test]
    fn arrays_and_objects() {
        let strings = json!({"type": "array", "items": {"type": "string"}});
        assert_eq!(read(&strings, r#"["a","b"]"#), Ok(json!(["a", "b"])));
        assert_eq!(read(&strings, "a"), Ok(json!(["a"])));
        assert_eq!(read(&strings, "[ci"), Ok(json!(["[ci"])));
        assert!(read(&strings, "[a,b]").unwrap_err().starts_with("string[]; not a JSON array"));
        let integers = json!({"type": "array", "items": {"type": "integer"}});
        assert_eq!(read(&integers, "5"), Ok(json!([5])));
        assert_eq!(read(&integers, "x"), Err("integer[]".to_owned()));
        let matrix = json!({"type": "array", "items": {"type": "array", "items": {"type": "integer"}}});
        assert_eq!(read(&matrix, "[1,2]"), Ok(json!([[1, 2]])));
        assert_eq!(read(&matrix, "[[1],[2]]"), Ok(json!([[1], [2]])));
        let object = json!({"type": "object"});
        assert_eq!(read(&object, r#"{"a":1}"#), Ok(json!({"a": 1})));
        assert!(read(&object, "{a:1}").unwrap_err().contains("not a JSON object"));
        assert_eq!(read(&object, "x"), Err("object".to_owned()));
        let cut_short = "object; not a JSON object: it ends too early, at column 6";
        assert_eq!(read(&object, r#"{"x":1"#), Err(cut_short.to_owned()));
        let either = json!({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]});
        assert_eq!(read(&either, "a"), Ok(json!("a")));
        assert_eq!(read(&either, r#"["a"]"#), Ok(json!(["a"])));
    }

    #[test]
    fn whole_texts_are_strings_if_allowed() {
        let read = |schema: &Value, text: &str| coerce_text(SchemaDocument::new(schema), &[schema], text).ok();
        assert_eq!(read(&json!({"type": ["string", "integer"]}), "5\n"), Some(json!("5\n")));
        assert_eq!(read(&json!({"type": "integer"}), "5\n"), Some(json!(5)));
        assert_eq!(read(&json!({"type": "array", "items": {"type": "string"}}), "a\n"), Some(json!(["a\n"])));
        assert_eq!(read(&json!({"type": "array"}), "[1]\n"), Some(json!([1])));
        assert_eq!(read(&json!({"type": "integer"}), "five"), None);
    }
}
