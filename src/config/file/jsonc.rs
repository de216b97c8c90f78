//! JSON as other clients write it, with comments and trailing commas, parsed into the common configuration tree.

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue, SyntaxError};

/// The extensions of JSON that are allowed: comments and trailing commas, as in the settings of editors.
const PARSE_OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

/// Parses a file; an empty one is an empty object, since clients leave such files behind. Of two equal keys the last
/// one counts.
///
/// # Errors
/// The position and the reason if it is not valid JSON with these extensions.
pub fn parse(text: &str) -> Result<ConfigNode, SyntaxError> {
    parse_noting_duplicates(text, &mut Vec::new())
}

/// The duplicate keys in one object, and the position of each duplicate; none in a file that is not valid.
#[must_use]
pub fn duplicate_keys(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let _ = parse_noting_duplicates(text, &mut found);
    found.sort_by_key(|(offset, _)| *offset);
    found
}

fn parse_noting_duplicates(text: &str, duplicates: &mut Vec<(usize, String)>) -> Result<ConfigNode, SyntaxError> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &PARSE_OPTIONS)
        .map_err(|error| SyntaxError { offset: error.range().start, message: fault(error.kind()) })?;
    let empty = ConfigNode { value: ConfigValue::Table(Vec::new()), offset: 0 };
    Ok(parsed.value.map_or(empty, |value| to_node(value, duplicates)))
}

/// What is wrong, worded like other causes.
fn fault(kind: &ParseErrorKind) -> String {
    let mut message = kind.to_string();
    if let Some(first) = message.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    message
}

fn to_node(value: ast::Value<'_>, duplicates: &mut Vec<(usize, String)>) -> ConfigNode {
    let at = value.range().start;
    let value = match value {
        ast::Value::StringLit(text) => ConfigValue::String(text.value.into_owned()),
        ast::Value::NumberLit(number) => match number.value.parse::<i64>() {
            Ok(whole) => ConfigValue::Integer(whole),
            Err(_) => ConfigValue::Float(number.value.parse().unwrap_or(f64::NAN)),
        },
        ast::Value::BooleanLit(flag) => ConfigValue::Bool(flag.value),
        ast::Value::NullKeyword(_) => ConfigValue::Unsupported("null"),
        ast::Value::Array(array) => {
            ConfigValue::Array(array.elements.into_iter().map(|element| to_node(element, duplicates)).collect())
        }
        ast::Value::Object(object) => {
            let mut members: Vec<ConfigMember> = Vec::new();
            for property in object.properties {
                let at = property.range.start;
                let key = property.name.into_string();
                if let Some(earlier) = members.iter().position(|member| member.key == key) {
                    members.remove(earlier);
                    duplicates.push((at, key.clone()));
                }
                members.push(ConfigMember { key, offset: at, value: to_node(property.value, duplicates) });
            }
            ConfigValue::Table(members)
        }
    };
    ConfigNode { value, offset: at }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_skipped_and_offsets_kept() {
        let text = "// a\n{\n  /* b */ \"x\": [1, 2.5, \"é\",], // c\n  \"y\": {\"z\": null,},\n}\n";
        let tree = parse(text).unwrap();
        let y = tree.get("y").unwrap();
        assert_eq!(text[..y.offset].matches('\n').count() + 1, 4);
        assert_eq!(y.value.get("z").unwrap().value.value, ConfigValue::Unsupported("null"));
        let ConfigValue::Array(items) = &tree.get("x").unwrap().value.value else { panic!("no list") };
        assert_eq!(&text[items[2].offset..items[2].offset + 4], "\"é\"");
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let text = r#"{"a": {"b": 1}, "n": [{"c": true, "\u0063": 12345678901234567890}], "a": "q\"\u0041"}"#;
        let tree = parse(text).unwrap();
        assert_eq!(tree.get("a").unwrap().value.as_str(), Some("q\"A"));
        assert_eq!(tree.members().iter().map(|member| member.key.as_str()).collect::<Vec<_>>(), ["n", "a"]);
        assert_eq!(duplicate_keys(text), [(34, "c".to_owned()), (68, "a".to_owned())]);
        assert!(duplicate_keys("{\"a\": 1, \"a\": 2").is_empty());
        assert_eq!(parse("  \n").unwrap().members().len(), 0);
    }

    #[test]
    fn other_extensions_of_json_are_rejected() {
        for text in
            ["{a: 1}", "{'a': 1}", "{\"a\": 1 \"b\": 2}", "{\"a\": 0x1}", "{\"a\": +1}", "{\"a\": NaN}", "{} {}", "{"]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        let error = parse("{\n \"a\": tru\n}").unwrap_err();
        assert_eq!(error.offset, 8);
        assert!(parse(&"[".repeat(100_000)).is_err(), "depth is bounded");
    }
}
