//! Tool definitions for the APIs, for the `tools` of a request.

use std::borrow::Cow;

use serde_json::Value;

use super::{ModelApi, input_schema};
use crate::protocol::json::{member, replace_lone_surrogates};
use crate::protocol::json_string::encode_string;
use crate::protocol::views::ListItem;
use crate::util::shorten::shorten;

/// The most tools in one request to OpenAI ("array too long. Expected an array with maximum length 128").
const OPENAI_MAX_TOOLS: usize = 128;
/// How many changes of one schema a warning lists.
const MAX_LISTED_CHANGES: usize = 5;

/// A tool and its name for the model.
pub struct NamedTool<'a> {
    /// From [`crate::models::tool_names::exposed_name`].
    pub name: String,
    /// The tool.
    pub tool: &'a ListItem,
}

/// The `tools` of a request, as JSON text, and warnings about what was changed or may be rejected.
///
/// Descriptions are cut at `max_description` characters.
#[must_use]
pub fn tool_definitions(
    api: ModelApi,
    tools: &[NamedTool<'_>],
    max_description: Option<usize>,
) -> (String, Vec<String>) {
    let mut changes = Vec::new();
    let all: Vec<String> =
        tools.iter().map(|named| tool_definition(api, named, max_description, &mut changes)).collect();
    if all.len() > OPENAI_MAX_TOOLS && matches!(api, ModelApi::OpenAiChat | ModelApi::OpenAiResponses) {
        changes.push(format!("OpenAI accepts {OPENAI_MAX_TOOLS} tools in a request, and these are {}", all.len()));
    }
    let all = all.join(",");
    let text = match api {
        ModelApi::Gemini => format!(r#"[{{"functionDeclarations":[{all}]}}]"#),
        _ => format!("[{all}]"),
    };
    (text, changes)
}

fn tool_definition(
    api: ModelApi,
    named: &NamedTool<'_>,
    max_description: Option<usize>,
    changes: &mut Vec<String>,
) -> String {
    let name = encode_string(&named.name);
    let description = description(named, max_description, changes);
    let described =
        description.as_ref().map(|text| format!(r#","description":{}"#, encode_string(text))).unwrap_or_default();
    let schema = schema_text(api, named, changes);
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
            let text = encode_string(&description.unwrap_or_else(|| named.name.clone().into()));
            format!(r#"{{"name":{name},"description":{text},"parametersJsonSchema":{schema}}}"#)
        }
    }
}

fn description<'a>(
    named: &NamedTool<'a>,
    max_length: Option<usize>,
    changes: &mut Vec<String>,
) -> Option<Cow<'a, str>> {
    let text = Some(named.tool.description()).filter(|text| !text.is_empty()).or(named.tool.title())?;
    match max_length {
        Some(max) if text.char_indices().nth(max).is_some() => {
            changes.push(format!("the description of '{}' was cut to {max} characters", named.name));
            Some(shorten(text, max.saturating_sub(1)).into())
        }
        _ => Some(text.into()),
    }
}

/// The input schema: as the server sent it, unless the API requires changes.
fn schema_text(api: ModelApi, named: &NamedTool<'_>, changes: &mut Vec<String>) -> String {
    let raw = member(named.tool.raw(), "inputSchema").filter(|raw| raw.get().starts_with('{'));
    let Some(raw) = raw else { return r#"{"type":"object","properties":{}}"#.to_owned() };
    // The APIs refuse half of a surrogate pair.
    let text = replace_lone_surrogates(raw.get());
    let Ok(mut schema) = serde_json::from_str::<Value>(&text) else { return text.into_owned() };
    let before = schema.clone();
    let made = input_schema::adapt(api, &mut schema);
    if !made.is_empty() {
        let more = made.len().saturating_sub(MAX_LISTED_CHANGES);
        let listed = made[..made.len() - more].join("; ");
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        changes.push(format!("the schema of '{}' was changed for {}: {listed}{more}", named.name, api.vendor()));
    }
    if schema == before { text.into_owned() } else { schema.to_string() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::value::RawValue;

    use super::*;

    fn converted(api: ModelApi, tool: &str) -> (String, Vec<String>) {
        let entry = ListItem::new(&RawValue::from_string(tool.to_owned()).unwrap());
        tool_definitions(api, &[NamedTool { name: entry.name().to_owned(), tool: &entry }], None)
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
        assert_eq!(schema(ModelApi::OpenAiChat, bare), r#"{"type":"object","properties":{}}"#);
        let gemini = converted(ModelApi::Gemini, none).0;
        assert!(gemini.contains(r#""name":"t","description":"t""#), "{gemini}");
        assert_eq!(
            converted(ModelApi::Anthropic, none).0,
            r#"[{"name":"t","input_schema":{"type":"object","properties":{}}}]"#
        );
    }

    #[test]
    fn a_description_is_cut_only_on_request() {
        let tool = format!(r#"{{"name":"t","description":"{}"}}"#, "é".repeat(1025));
        let entry = ListItem::new(&RawValue::from_string(tool).unwrap());
        let of = |max| tool_definitions(ModelApi::OpenAiChat, &[NamedTool { name: "t".into(), tool: &entry }], max);
        let (text, changes) = of(Some(1024));
        assert!(text.contains(&format!("\"{}…\"", "é".repeat(1023))));
        assert_eq!(changes, ["the description of 't' was cut to 1024 characters"]);
        let (text, changes) = of(None);
        assert!(text.contains(&"é".repeat(1025)) && changes.is_empty());
    }

    #[test]
    fn more_tools_than_openai_accepts_are_reported() {
        let entry = ListItem::new(&RawValue::from_string(r#"{"name":"t"}"#.to_owned()).unwrap());
        let tools: Vec<_> = (0..129).map(|n| NamedTool { name: format!("t{n}"), tool: &entry }).collect();
        let warnings = |api, count: usize| tool_definitions(api, &tools[..count], None).1;
        let expected = ["OpenAI accepts 128 tools in a request, and these are 129"];
        assert_eq!(warnings(ModelApi::OpenAiChat, 129), expected);
        assert_eq!(warnings(ModelApi::OpenAiResponses, 129), expected);
        assert!(warnings(ModelApi::OpenAiChat, 128).is_empty() && warnings(ModelApi::Anthropic, 129).is_empty());
    }
}
