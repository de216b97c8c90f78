//! Parameters that are repeated in HTTP headers: `x-mcp-header` (2026-07-28, basic/transports/streamable-http §Custom
//! Headers; HTM-04..06).

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value};

use crate::protocol::headers;
use crate::schema::document::SchemaDocument;
use crate::schema::number;
use crate::schema::subschemas::has_named_schemas;
use crate::schema::types::TypeSet;

const ANNOTATION: &str = "x-mcp-header";

/// A parameter whose value is also sent in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderParam {
    /// The member names down to the value.
    pub path: Vec<String>,
    /// The header's name: `Mcp-Param-Region`.
    pub header: String,
}

impl HeaderParam {
    /// The value of the header for these arguments; `None` if there must be no header.
    #[must_use]
    pub fn value(&self, arguments: &Map<String, Value>) -> Option<String> {
        let (first, rest) = self.path.split_first()?;
        header_value(rest.iter().try_fold(arguments.get(first)?, |value, name| value.get(name))?)
    }
}

/// Why a tool must not be used over HTTP: one of its annotations violates the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAnnotation {
    /// What is wrong and where, for a warning.
    pub reason: String,
}

impl fmt::Display for InvalidAnnotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for InvalidAnnotation {}

/// The parameters of a tool that are sent in headers; `tool` is the tool as the server lists it.
///
/// # Errors
/// An annotation that violates the specification: over HTTP the tool must be left out (HTM-06).
pub fn collect_header_params(tool: &Value) -> Result<Vec<HeaderParam>, InvalidAnnotation> {
    let mut found = Vec::new();
    if let Some(schema) = tool.get("inputSchema") {
        let mut names = HashSet::new();
        let mut walk =
            HeaderParamCollector { document: SchemaDocument::new(schema), found: &mut found, seen_names: &mut names };
        walk.visit(schema, &mut Vec::new(), true)?;
    }
    Ok(found)
}

struct HeaderParamCollector<'a, 'w> {
    document: SchemaDocument<'a>,
    found: &'w mut Vec<HeaderParam>,
    /// Names seen so far, in lower case.
    seen_names: &'w mut HashSet<String>,
}

impl<'a> HeaderParamCollector<'a, '_> {
    /// Visits one schema. `reachable`: from the root through `properties` only.
    fn visit(&mut self, schema: &'a Value, path: &mut Vec<String>, reachable: bool) -> Result<(), InvalidAnnotation> {
        let members = match schema {
            Value::Object(members) => members,
            Value::Array(items) => return items.iter().try_for_each(|item| self.visit(item, path, false)),
            _ => return Ok(()),
        };
        if let Some(annotation) = members.get(ANNOTATION) {
            if !reachable || path.is_empty() {
                return Err(invalid_annotation(path, "is not reachable from the root through `properties` only"));
            }
            self.add_annotation(schema, annotation, path)?;
        }
        for (keyword, value) in members {
            match keyword.as_str() {
                // Values, not schemas.
                "enum" | "const" | "default" | "examples" | "example" => {}
                // Maps from names to schemas: their keys are not keywords.
                keyword if has_named_schemas(keyword) => {
                    for (name, part) in value.as_object().into_iter().flatten() {
                        path.push(name.clone());
                        self.visit(part, path, reachable && keyword == "properties")?;
                        path.pop();
                    }
                }
                _ => self.visit(value, path, false)?,
            }
        }
        Ok(())
    }

    fn add_annotation(&mut self, schema: &'a Value, name: &Value, path: &[String]) -> Result<(), InvalidAnnotation> {
        let Value::String(name) = name else { return Err(invalid_annotation(path, "is not a string")) };
        if name.is_empty() {
            return Err(invalid_annotation(path, "is empty"));
        }
        if !name.bytes().all(is_token_byte) {
            return Err(invalid_annotation(path, "is not a header name"));
        }
        if !self.seen_names.insert(name.to_ascii_lowercase()) {
            return Err(invalid_annotation(path, &format!("uses the name {name} again")));
        }
        let kinds = self.document.types(schema);
        let mirrored = TypeSet::STRING.union(TypeSet::INTEGER).union(TypeSet::BOOLEAN);
        // A nullable parameter is accepted: no header is sent for null.
        if !mirrored.union(TypeSet::NULL).contains(kinds) || kinds.intersection(mirrored) == TypeSet::NONE {
            return Err(invalid_annotation(path, "is on a parameter that is not a string, integer or boolean"));
        }
        self.found.push(HeaderParam { path: path.to_vec(), header: format!("Mcp-Param-{name}") });
        Ok(())
    }
}

fn invalid_annotation(path: &[String], reason: &str) -> InvalidAnnotation {
    let place = if path.is_empty() { "the root of the schema".to_owned() } else { path.join(".") };
    InvalidAnnotation { reason: format!("{ANNOTATION} at {place} {reason}") }
}

/// `tchar` of RFC 9110 §5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value of a parameter in a header; `None` if there must be no header: for null, objects and arrays.
#[must_use]
pub fn header_value(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(headers::encode_value(text)),
        Value::Bool(value) => Some(value.to_string()),
        // Integers in plain digits; any other number as in the body.
        Value::Number(number) => Some(number::plain_integer(number).unwrap_or_else(|| number.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(properties: Value) -> Value {
        json!({"name": "t", "inputSchema": {"type": "object", "properties": properties}})
    }

    fn reason(tool: &Value) -> String {
        match collect_header_params(tool) {
            Ok(found) => format!("valid: {found:?}"),
            Err(invalid) => invalid.reason,
        }
    }

    #[test]
    fn htm_04_annotations_are_found_at_any_depth_of_properties() {
        let tool = tool(json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "opts": {"type": "object", "properties": {
                "level": {"type": "integer", "x-mcp-header": "Level"},
                "x-mcp-header": {"type": "string"},
            }},
            "dry": {"type": "boolean", "x-mcp-header": "Method"},
            "maybe": {"anyOf": [{"type": "string"}, {"type": "null"}], "x-mcp-header": "Maybe"},
            "other": {"type": "string", "default": {"x-mcp-header": "no"}},
        }));
        let found = collect_header_params(&tool).unwrap_or_default();
        let headers: Vec<(String, &str)> =
            found.iter().map(|param| (param.path.join("."), param.header.as_str())).collect();
        assert_eq!(
            headers,
            [
                ("region".to_owned(), "Mcp-Param-Region"),
                ("opts.level".to_owned(), "Mcp-Param-Level"),
                ("dry".to_owned(), "Mcp-Param-Method"),
                ("maybe".to_owned(), "Mcp-Param-Maybe"),
            ]
        );
        let arguments = json!({"region": "", "opts": {"level": 42.0}, "dry": true, "maybe": null});
        let values: Vec<Option<String>> =
            found.iter().map(|param| arguments.as_object().and_then(|arguments| param.value(arguments))).collect();
        assert_eq!(values, [Some(String::new()), Some("42".into()), Some("true".into()), None]);
        let none = Map::new();
        assert!(found.iter().all(|param| param.value(&none).is_none()));
    }

    #[test]
    fn htm_06_every_violation_makes_the_tool_invalid() {
        let one = |annotation: Value, kind: &str| tool(json!({"p": {"type": kind, "x-mcp-header": annotation}}));
        for name in ["", " ", "My Region", "Region\r\nX: y", "Region\t1", "Région", "a:b", "a/b", "(a)", "\u{7f}"] {
            assert!(collect_header_params(&one(json!(name), "string")).is_err(), "{name:?}");
        }
        for name in [json!(null), json!(5), json!(true), json!(["a"])] {
            assert!(collect_header_params(&one(name, "string")).is_err());
        }
        for kind in ["object", "array", "null", "number"] {
            assert!(reason(&one(json!("A"), kind)).contains("not a string, integer or boolean"), "{kind}");
        }
        for kind in ["string", "integer", "boolean"] {
            assert!(collect_header_params(&one(json!("A!#$%&'*+-.^_`|~9"), kind)).is_ok(), "{kind}");
        }
        assert!(reason(&tool(json!({"p": {"x-mcp-header": "A"}}))).contains("not a string"));
        let twice = json!({"a": {"type": "string", "x-mcp-header": "A"}, "b": {"type": "string", "x-mcp-header": "a"}});
        assert_eq!(reason(&tool(twice)), "x-mcp-header at b uses the name a again");
    }

    #[test]
    fn htm_06_annotations_elsewhere_make_the_tool_invalid() {
        let mark = json!({"type": "string", "x-mcp-header": "A"});
        for properties in [
            json!({"p": {"type": "array", "items": mark}}),
            json!({"p": {"type": "array", "prefixItems": [mark]}}),
            json!({"p": {"anyOf": [mark, {"type": "null"}]}}),
            json!({"p": {"oneOf": [{"properties": {"q": mark}}]}}),
            json!({"p": {"type": "object", "additionalProperties": mark}}),
            json!({"p": {"type": "object", "patternProperties": {"^a": mark}}}),
            json!({"p": {"if": mark}}),
            json!({"p": {"not": mark}}),
            json!({"p": {"unknownKeyword": [{"deep": mark}]}}),
        ] {
            assert!(reason(&tool(properties)).contains("`properties` only"));
        }
        let defined = json!({"inputSchema": {"properties": {"p": {"$ref": "#/$defs/m"}}, "$defs": {"m": mark}}});
        assert!(collect_header_params(&defined).is_err());
        assert!(collect_header_params(&json!({"inputSchema": mark})).is_err());
        assert_eq!(collect_header_params(&json!({"name": "t"})), Ok(Vec::new()));
        assert_eq!(collect_header_params(&json!({"inputSchema": null})), Ok(Vec::new()));
    }

    #[test]
    fn htm_05_values_are_encoded_as_the_specification_shows() {
        for (text, header) in [
            ("us-west1", "us-west1"),
            ("", ""),
            ("a b", "a b"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
            ("=?BASE64?x?=", "=?BASE64?x?="),
            ("a\tb", "=?base64?YQli?="),
        ] {
            assert_eq!(headers::encode_value(text), header);
        }
        assert_eq!(header_value(&json!(-7)).as_deref(), Some("-7"));
        assert_eq!(header_value(&json!(1e3)).as_deref(), Some("1000"));
        assert_eq!(header_value(&json!(1.5)).as_deref(), Some("1.5"));
        assert_eq!(header_value(&json!(false)).as_deref(), Some("false"));
        assert_eq!(header_value(&json!(null)), None);
        assert_eq!(header_value(&json!([])), None);
    }
}
