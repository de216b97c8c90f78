//! Checks that a result has the structure that the protocol defines, and describes what is wrong with it.
//!
//! Lenient about frequent deviations that lose nothing: optional members that are missing or `null`, unknown content
//! types, a prompt's content as a list or a bare string.

use serde_json::value::RawValue;

use super::json_cursor::{JsonCursor, find_members, type_name};
use super::json_string::JsonText;
use super::method;
use crate::util::shorten::shorten;

/// The maximum number of malformed blocks that are listed.
const MAX_SHOWN_BLOCKS: usize = 5;
/// The maximum number of characters shown of each.
const MAX_SHOWN_LENGTH: usize = 200;

/// What is wrong with the result of this method; `None` if nothing is, or results of this method are not checked.
#[must_use]
pub fn shape_error(asked: &str, result: &RawValue) -> Option<String> {
    match asked {
        method::INITIALIZE => check_initialize_result(result.get()),
        method::TOOLS_CALL => ToolResultShape::read(result).errors.into_iter().next(),
        method::RESOURCES_READ => check_list_result(result.get(), "contents", check_resource),
        method::PROMPTS_GET => check_list_result(result.get(), "messages", check_prompt_message),
        _ => None,
    }
}

/// Servers omit one member or the other; a result without any of them says nothing about a server.
fn check_initialize_result(result: &str) -> Option<String> {
    if let Some(wrong) = type_error(JsonCursor::new(result).type_name(), "the result", "an object") {
        return Some(wrong);
    }
    let all = find_members(result, ["protocolVersion", "capabilities", "serverInfo"]);
    let [version, rest @ ..] = all.map(|value| value.filter(|value| *value != "null"));
    match version {
        Some(version) => type_error(JsonCursor::new(version).type_name(), "protocolVersion", "a string"),
        None if rest.iter().all(Option::is_none) => {
            Some("protocolVersion, capabilities and serverInfo are missing".to_owned())
        }
        None => None,
    }
}

/// What the result of a tool shows without being read as a value.
#[derive(Debug, PartialEq, Eq)]
pub struct ToolResultShape {
    /// Whether the tool reported an error (2025-11-25, server/tools, error handling).
    pub is_error: bool,
    /// Everything that is wrong with it; the first blocks are also shown as they came.
    pub errors: Vec<String>,
}

impl ToolResultShape {
    /// The shape of this result.
    #[must_use]
    pub fn read(result: &RawValue) -> Self {
        let mut cursor = JsonCursor::new(result.get());
        if !cursor.enter_object() {
            let wrong = type_error(cursor.type_name(), "the result", "an object");
            return ToolResultShape { is_error: false, errors: wrong.into_iter().collect() };
        }
        let (mut is_error, mut content_errors) = (None, None);
        while let Some(name) = cursor.next_member() {
            match &*name {
                "isError" if is_error.is_none() => is_error = Some(cursor.take()),
                "content" if content_errors.is_none() => content_errors = Some(check_content(&mut cursor)),
                _ => {
                    cursor.take();
                }
            }
        }
        let flag = is_error.filter(|flag| *flag != "null");
        let wrong = flag.and_then(|flag| type_error(type_name(flag), "isError", "a boolean"));
        let errors = wrong.into_iter().chain(content_errors.unwrap_or_default()).collect();
        ToolResultShape { is_error: flag == Some("true"), errors }
    }
}

/// What is wrong with the `content` of a tool result.
fn check_content(cursor: &mut JsonCursor<'_>) -> Vec<String> {
    let kind = cursor.type_name();
    if !cursor.enter_list() {
        cursor.take();
        return type_error(kind, "content", "a list").filter(|_| kind != "null").into_iter().collect();
    }
    let mut errors = Vec::new();
    let mut position = 0;
    while cursor.next_item() {
        let start = *cursor;
        if let Some(wrong) = check_content_block(cursor)
            && errors.len() < 2 * MAX_SHOWN_BLOCKS
        {
            errors.push(format!("content[{position}]{wrong}"));
            errors.push(format!("content[{position}] came as {}", shorten(start.text_to(cursor), MAX_SHOWN_LENGTH)));
        }
        position += 1;
    }
    errors
}

/// The first thing that is wrong with a result that must have a list of this name. `check` is called for each item,
/// moves behind it, and says what is wrong after the name of the item.
fn check_list_result(
    result: &str,
    list: &str,
    check: impl Fn(&mut JsonCursor<'_>) -> Option<String>,
) -> Option<String> {
    let mut cursor = JsonCursor::new(result);
    if !cursor.enter_object() {
        return type_error(cursor.type_name(), "the result", "an object");
    }
    while let Some(name) = cursor.next_member() {
        if name != list {
            cursor.take();
        } else if cursor.type_name() == "null" {
            break;
        } else {
            return check_items(&mut cursor, list, check);
        }
    }
    Some(format!("{list} is missing"))
}

fn check_items(
    cursor: &mut JsonCursor<'_>,
    list: &str,
    check: impl Fn(&mut JsonCursor<'_>) -> Option<String>,
) -> Option<String> {
    if !cursor.enter_list() {
        return type_error(cursor.type_name(), list, "a list");
    }
    let mut wrong = None;
    let mut position = 0;
    while cursor.next_item() {
        let found = check(cursor);
        wrong = wrong.or_else(|| found.map(|found| format!("{list}[{position}]{found}")));
        position += 1;
    }
    wrong
}

/// A message of a prompt.
fn check_prompt_message(cursor: &mut JsonCursor<'_>) -> Option<String> {
    let kind = cursor.type_name();
    if !cursor.enter_object() {
        cursor.take();
        return type_error(kind, "", "an object");
    }
    let (mut role, mut content) = (None, None);
    while let Some(name) = cursor.next_member() {
        match &*name {
            "content" if content.is_none() => content = Some(check_prompt_content(cursor)),
            "role" if role.is_none() => {
                role = Some(cursor.type_name());
                cursor.take();
            }
            _ => {
                cursor.take();
            }
        }
    }
    string_error(role, "role").or_else(|| content.unwrap_or_else(|| Some(".content is missing".to_owned())))
}

/// The content of a message: one block, a list of them, or a bare string.
fn check_prompt_content(cursor: &mut JsonCursor<'_>) -> Option<String> {
    match cursor.type_name() {
        "a list" => check_items(cursor, ".content", check_content_block),
        kind @ ("a string" | "null") => {
            cursor.take();
            (kind == "null").then(|| ".content is missing".to_owned())
        }
        _ => check_content_block(cursor).map(|wrong| format!(".content{wrong}")),
    }
}

/// A content block.
fn check_content_block(cursor: &mut JsonCursor<'_>) -> Option<String> {
    let kind = cursor.type_name();
    if !cursor.enter_object() {
        cursor.take();
        return type_error(kind, "", "an object");
    }
    const STRINGS: [&str; 3] = ["text", "data", "uri"];
    let (mut block_type, mut strings, mut resource) = (None, [None; 3], None);
    while let Some(name) = cursor.next_member() {
        let kind = cursor.type_name();
        if name == "resource" && resource.is_none() {
            resource = Some((kind, check_resource(cursor)));
            continue;
        }
        let value = cursor.take();
        if name == "type" {
            block_type.get_or_insert((kind, value));
        } else if let Some(place) = STRINGS.iter().position(|string| *string == name) {
            strings[place].get_or_insert(kind);
        }
    }
    if let Some(wrong) = string_error(block_type.map(|(kind, _)| kind), "type") {
        return Some(wrong);
    }
    let (_, token) = block_type?;
    let [text, data, uri] = strings;
    match &*JsonText::new(token).map(JsonText::decode).unwrap_or_default() {
        "text" => string_error(text, "text"),
        "image" | "audio" => string_error(data, "data"),
        "resource_link" => string_error(uri, "uri"),
        "resource" => match resource {
            None | Some(("null", _)) => Some(".resource is missing".to_owned()),
            Some((_, wrong)) => wrong.map(|wrong| format!(".resource{wrong}")),
        },
        _ => None,
    }
}

/// An entry of `contents`, or an embedded resource.
fn check_resource(cursor: &mut JsonCursor<'_>) -> Option<String> {
    let kind = cursor.type_name();
    if !cursor.enter_object() {
        cursor.take();
        return type_error(kind, "", "an object");
    }
    let (mut text, mut blob) = (None, None);
    while let Some(name) = cursor.next_member() {
        let kind = cursor.type_name();
        match &*name {
            "text" => text = text.or(Some(kind)),
            "blob" => blob = blob.or(Some(kind)),
            _ => {}
        }
        cursor.take();
    }
    match (text, blob) {
        (None | Some("null"), None | Some("null")) => Some(" has neither text nor blob".to_owned()),
        (None | Some("null"), blob) => string_error(blob, "blob"),
        (text, _) => string_error(text, "text"),
    }
}

/// What is wrong with the type of a member that must be a string.
fn string_error(kind: Option<&'static str>, name: &str) -> Option<String> {
    match kind {
        // The usual case first.
        Some("a string") => None,
        None | Some("null") => Some(format!(".{name} is missing")),
        Some(kind) => type_error(kind, &format!(".{name}"), "a string"),
    }
}

fn type_error(is: &str, at: &str, wanted: &str) -> Option<String> {
    (is != wanted).then(|| format!("{at} is {is}, not {wanted}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn error_of(asked: &str, text: &str) -> Option<String> {
        shape_error(asked, &RawValue::from_string(text.to_owned()).unwrap())
    }

    #[test]
    fn results_of_tools() {
        for (text, wrong) in [
            ("null", "the result is null, not an object"),
            (r#""x""#, "the result is a string, not an object"),
            ("[1]", "the result is a list, not an object"),
            (r#"{"content":"x"}"#, "content is a string, not a list"),
            (r#"{"content":[],"isError":"yes"}"#, "isError is a string, not a boolean"),
            (r#"{"content":[{"type":"text","text":5}]}"#, "content[0].text is a number, not a string"),
            (r#"{"content":[{"type":"text"}]}"#, "content[0].text is missing"),
            (r#"{"content":[{"type":"text","text":""},{}]}"#, "content[1].type is missing"),
            (r#"{"content":[7]}"#, "content[0] is a number, not an object"),
            (r#"{"content":[{"type":"image","mimeType":"a/b"}]}"#, "content[0].data is missing"),
            (r#"{"content":[{"type":"resource","resource":{}}]}"#, "content[0].resource has neither text nor blob"),
            (r#"{"content":[{"type":"resource"}]}"#, "content[0].resource is missing"),
            (r#"{"content":[{"type":"resource_link","uri":true}]}"#, "content[0].uri is a boolean, not a string"),
        ] {
            assert_eq!(error_of(method::TOOLS_CALL, text).as_deref(), Some(wrong), "{text}");
        }
        for sloppy in [
            "{}",
            r#"{"structuredContent":1}"#,
            r#"{"content":null,"structuredContent":null,"isError":null}"#,
            r#"{"content":[{"type":"hologram","x":1}],"more":1}"#,
            r#"{"content":[{"type":"te\u0078t","text":"a"}]}"#,
            r#"{"content":[{"type":"image","data":"%%"}]}"#,
        ] {
            assert_eq!(error_of(method::TOOLS_CALL, sloppy), None, "{sloppy}");
        }
        assert_eq!(error_of(method::TOOLS_LIST, "null"), None);
        let several = r#"{"isError":"x","content":[{"type":"text","text":"good"},7,{"type":"text","text":null}]}"#;
        assert_eq!(
            ToolResultShape::read(&RawValue::from_string(several.to_owned()).unwrap()).errors,
            [
                "isError is a string, not a boolean",
                "content[1] is a number, not an object",
                "content[1] came as 7",
                "content[2].text is missing",
                r#"content[2] came as {"type":"text","text":null}"#,
            ]
        );
    }

    #[test]
    fn results_of_initialize() {
        for (text, wrong) in [
            ("null", "the result is null, not an object"),
            ("[1]", "the result is a list, not an object"),
            ("{}", "protocolVersion, capabilities and serverInfo are missing"),
            (r#"{"capabilities":null}"#, "protocolVersion, capabilities and serverInfo are missing"),
            (r#"{"protocolVersion":1,"capabilities":{}}"#, "protocolVersion is a number, not a string"),
        ] {
            assert_eq!(error_of(method::INITIALIZE, text).as_deref(), Some(wrong), "{text}");
        }
        for sloppy in [r#"{"protocolVersion":"x"}"#, r#"{"capabilities":{}}"#, r#"{"serverInfo":{}}"#] {
            assert_eq!(error_of(method::INITIALIZE, sloppy), None, "{sloppy}");
        }
    }

    #[test]
    fn resources_and_prompts() {
        let (read, get) = (method::RESOURCES_READ, method::PROMPTS_GET);
        for (asked, text, wrong) in [
            (read, "{}", "contents is missing"),
            (read, r#"{"contents":{}}"#, "contents is an object, not a list"),
            (read, r#"{"contents":[{"uri":"a"}]}"#, "contents[0] has neither text nor blob"),
            (read, r#"{"contents":[{"text":"a"},{"blob":1}]}"#, "contents[1].blob is a number, not a string"),
            (get, "7", "the result is a number, not an object"),
            (get, r#"{"messages":[{"content":"x"}]}"#, "messages[0].role is missing"),
            (get, r#"{"messages":[{"role":"user"}]}"#, "messages[0].content is missing"),
            (get, r#"{"messages":[{"role":"user","content":{"type":"text"}}]}"#, "messages[0].content.text is missing"),
            (
                get,
                r#"{"messages":[{"role":"user","content":[1]}]}"#,
                "messages[0].content[0] is a number, not an object",
            ),
        ] {
            assert_eq!(error_of(asked, text).as_deref(), Some(wrong), "{text}");
        }
        assert_eq!(error_of(read, r#"{"contents":[{"text":"a"},{"text":null,"blob":"AA"}]}"#), None);
        assert_eq!(error_of(get, r#"{"messages":[{"role":"user","content":"bare"},{"role":"x","content":[]}]}"#), None);
    }
}
