//! Tool definitions for the APIs, for the `tools` of a request: schemas are kept as the servers sent them.

use std::borrow::Cow;

use serde_json::Value;

use super::ModelApi;
use crate::protocol::json::{member, replace_lone_surrogates};
use crate::protocol::views::ListItem;

/// The longest description that OpenAI accepts, in characters.
const OPENAI_MAX_DESCRIPTION: usize = 1024;

/// A tool and its name for the model.
pub struct NamedTool<'a> {
    /// From [`crate::models::tool_names::exposed_name`].
    pub name: String,
    /// The tool.
    pub tool: &'a ListItem,
}

/// The `tools` of a request, as JSON text, and warnings about what was changed or may be rejected.
#[must_use]
pub fn tool_definitions(api: ModelApi, tools: &[NamedTool<'_>]) -> (String, Vec<String>) {
    let mut changes = Vec::new();
    let all: Vec<String> = tools.iter().map(|named| tool_definition(api, named, &mut changes)).collect();
    let all = all.join(",");
    let text = match api {
        ModelApi::Gemini => format!(r#"[{{"functionDeclarations":[{all}]}}]"#),
        _ => format!("[{all}]"),
    };
    (text, changes)
}

fn tool_definition(api: ModelApi, named: &NamedTool<'_>, changes: &mut Vec<String>) -> String {
    let name = json_string(&named.name);
    let description = description(api, named, changes);
    let described =
        description.as_ref().map(|text| format!(r#","description":{}"#, json_string(text))).unwrap_or_default();
    if let Some(word) = refused_keyword(api, named.tool) {
        changes.push(format!("the API may reject '{}': its schema has '{word}' at the top level", named.name));
    }
    let schema = input_schema(named.tool, matches!(api, ModelApi::OpenAiChat | ModelApi::OpenAiResponses));
    match api {
        ModelApi::Anthropic => format!(r#"{{"name":{name}{described},"input_schema":{schema}}}"#),
        ModelApi::OpenAiChat => {
            format!(r#"{{"type":"function","function":{{"name":{name}{described},"parameters":{schema}}}}}"#)
        }
        // The default, `strict: true`, requires schemas in which every property is required.
        ModelApi::OpenAiResponses => {
            format!(r#"{{"type":"function","name":{name}{described},"parameters":{schema},"strict":false}}"#)
        }
        // Gemini requires a description.
        ModelApi::Gemini => {
            let text = json_string(&description.unwrap_or_else(|| named.name.clone().into()));
            format!(r#"{{"name":{name},"description":{text},"parametersJsonSchema":{schema}}}"#)
        }
    }
}

/// The keyword at the top level of the schema that this API does not support.
fn refused_keyword(api: ModelApi, tool: &ListItem) -> Option<&'static str> {
    let words: &[&'static str] = match api {
        ModelApi::Anthropic => &["oneOf", "anyOf", "allOf"],
        ModelApi::OpenAiChat | ModelApi::OpenAiResponses => &["oneOf", "anyOf", "allOf", "enum", "not"],
        ModelApi::Gemini => &[],
    };
    words.iter().copied().find(|word| tool.input_schema().is_some_and(|schema| schema.get(word).is_some()))
}

fn description<'a>(api: ModelApi, named: &NamedTool<'a>, changes: &mut Vec<String>) -> Option<Cow<'a, str>> {
    let text = Some(named.tool.description()).filter(|text| !text.is_empty()).or(named.tool.title())?;
    let limited = matches!(api, ModelApi::OpenAiChat | ModelApi::OpenAiResponses);
    match text.char_indices().nth(OPENAI_MAX_DESCRIPTION) {
        Some(_) if limited => {
            changes.push(format!(
                "the description of '{}' is cut to {OPENAI_MAX_DESCRIPTION} characters, the limit of OpenAI",
                named.name
            ));
            let head: String = text.chars().take(OPENAI_MAX_DESCRIPTION - 1).collect();
            Some(format!("{head}…").into())
        }
        _ => Some(text.into()),
    }
}

/// The input schema as it is, with a `type`; OpenAI also requires `properties`, even if empty.
fn input_schema(tool: &ListItem, requires_properties: bool) -> String {
    let raw = member(tool.raw(), "inputSchema").filter(|raw| raw.get().starts_with('{'));
    let Some(raw) = raw else { return r#"{"type":"object","properties":{}}"#.to_owned() };
    // The APIs refuse half of a surrogate pair.
    let text = replace_lone_surrogates(raw.get());
    let mut missing = Vec::new();
    if member(raw, "type").is_none() {
        missing.push(r#""type":"object""#);
    }
    if requires_properties && member(raw, "properties").is_none() {
        missing.push(r#""properties":{}"#);
    }
    if missing.is_empty() {
        return text.into_owned();
    }
    let rest = text[1..].trim_start();
    let comma = if rest.starts_with('}') { "" } else { "," };
    format!("{{{}{comma}{rest}", missing.join(","))
}

fn json_string(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::value::RawValue;

    use super::*;

    fn converted(api: ModelApi, tool: &str) -> (String, Vec<String>) {
        let entry = ListItem::new(&RawValue::from_string(tool.to_owned()).unwrap());
        tool_definitions(api, &[NamedTool { name: entry.name().to_owned(), tool: &entry }])
    }

    const ADD: &str = r#"{"name":"add","description":"Adds","inputSchema":{"type":"object","properties":{"a":{"type":"integer","maximum":12345678901234567890123}},"required":["a"]}}"#;

    #[test]
    fn each_api_has_its_format() {
        let schema = r#"{"type":"object","properties":{"a":{"type":"integer","maximum":12345678901234567890123}},"required":["a"]}"#;
        let of = |api| converted(api, ADD).0;
        assert_eq!(
            of(ModelApi::Anthropic),
            format!(r#"[{{"name":"add","description":"Adds","input_schema":{schema}}}]"#)
        );
        assert_eq!(
            of(ModelApi::OpenAiChat),
            format!(
                r#"[{{"type":"function","function":{{"name":"add","description":"Adds","parameters":{schema}}}}}]"#
            )
        );
        assert_eq!(
            of(ModelApi::OpenAiResponses),
            format!(
                r#"[{{"type":"function","name":"add","description":"Adds","parameters":{schema},"strict":false}}]"#
            )
        );
        assert_eq!(
            of(ModelApi::Gemini),
            format!(
                r#"[{{"functionDeclarations":[{{"name":"add","description":"Adds","parametersJsonSchema":{schema}}}]}}]"#
            )
        );
    }

    #[test]
    fn only_missing_keywords_are_added() {
        let schema = |api, tool: &str| {
            let value: Value = serde_json::from_str(&converted(api, tool).0).unwrap();
            let found = ["/0/input_schema", "/0/function/parameters"].iter().find_map(|place| value.pointer(place));
            found.unwrap().to_string()
        };
        let none = r#"{"name":"t"}"#;
        let empty = r#"{"name":"t","inputSchema":{ }}"#;
        let bare = r#"{"name":"t","inputSchema":{"type":"object"}}"#;
        assert_eq!(schema(ModelApi::Anthropic, none), r#"{"type":"object","properties":{}}"#);
        assert_eq!(schema(ModelApi::Anthropic, empty), r#"{"type":"object"}"#);
        assert_eq!(schema(ModelApi::OpenAiChat, empty), r#"{"type":"object","properties":{}}"#);
        assert_eq!(schema(ModelApi::Anthropic, bare), r#"{"type":"object"}"#);
        assert_eq!(schema(ModelApi::OpenAiChat, bare), r#"{"properties":{},"type":"object"}"#);
        let gemini = converted(ModelApi::Gemini, none).0;
        assert!(gemini.contains(r#""name":"t","description":"t""#), "{gemini}");
        assert_eq!(
            converted(ModelApi::Anthropic, none).0,
            r#"[{"name":"t","input_schema":{"type":"object","properties":{}}}]"#
        );
    }

    #[test]
    fn unsupported_keywords_are_reported() {
        let tool = r#"{"name":"t","inputSchema":{"type":"object","anyOf":[{"required":["a"]}]}}"#;
        assert_eq!(
            converted(ModelApi::Anthropic, tool).1,
            ["the API may reject 't': its schema has 'anyOf' at the top level"]
        );
        assert!(converted(ModelApi::Gemini, tool).1.is_empty());
    }

    #[test]
    fn a_description_that_is_too_long_for_openai_is_cut_and_reported() {
        let tool = format!(r#"{{"name":"t","description":"{}"}}"#, "é".repeat(1025));
        let (text, changes) = converted(ModelApi::OpenAiChat, &tool);
        assert!(text.contains(&format!("\"{}…\"", "é".repeat(1023))));
        assert_eq!(changes.len(), 1);
        assert!(converted(ModelApi::Anthropic, &tool).1.is_empty());
    }
}
