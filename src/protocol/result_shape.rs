//! Checks that a result has the structure that the protocol defines, and describes what is wrong with it.
//!
//! Lenient about frequent deviations that lose nothing: optional members that are missing or `null`, unknown content
//! types, a prompt's content as a list or a bare string.

use serde_json::value::RawValue;

use super::json::{member, parse_string, type_name};
use super::method;

/// The maximum number of malformed blocks that are listed.
const MAX_SHOWN_BLOCKS: usize = 5;
/// The maximum number of characters shown of each.
const MAX_SHOWN_LENGTH: usize = 200;

/// What is wrong with the result of this method; `None` if nothing is, or results of this method are not checked.
#[must_use]
pub fn shape_error(asked: &str, result: &RawValue) -> Option<String> {
    match asked {
        method::INITIALIZE => check_initialize_result(result),
        method::TOOLS_CALL => tool_result_errors(result).into_iter().next(),
        method::RESOURCES_READ => check_read_result(result),
        method::PROMPTS_GET => check_prompt_result(result),
        _ => None,
    }
}

/// Servers omit one member or the other; a result without any of them says nothing about a server.
fn check_initialize_result(result: &RawValue) -> Option<String> {
    if let Some(wrong) = type_error(result, "the result", "an object") {
        return Some(wrong);
    }
    match non_null_member(result, "protocolVersion") {
        Some(version) => type_error(version, "protocolVersion", "a string"),
        None => {
            let any = ["capabilities", "serverInfo"].iter().any(|name| non_null_member(result, name).is_some());
            (!any).then(|| "protocolVersion, capabilities and serverInfo are missing".to_owned())
        }
    }
}

/// Everything that is wrong with the result of a tool; the first blocks are also shown as they came.
#[must_use]
pub fn tool_result_errors(result: &RawValue) -> Vec<String> {
    if let Some(wrong) = type_error(result, "the result", "an object") {
        return vec![wrong];
    }
    let failed = non_null_member(result, "isError").and_then(|failed| type_error(failed, "isError", "a boolean"));
    let mut errors: Vec<String> = failed.into_iter().collect();
    let Some(content) = non_null_member(result, "content") else { return errors };
    let Some(blocks) = parse_list(content) else {
        errors.extend(type_error(content, "content", "a list"));
        return errors;
    };
    let wrong = blocks.iter().enumerate().filter_map(|(n, block)| {
        let at = format!("content[{n}]");
        Some([check_content_block(block, &at)?, format!("{at} came as {}", shorten(block.get()))])
    });
    errors.extend(wrong.take(MAX_SHOWN_BLOCKS).flatten());
    errors
}

fn shorten(json: &str) -> String {
    let head: String = json.chars().take(MAX_SHOWN_LENGTH).collect();
    if head.len() < json.len() { head + "…" } else { head }
}

fn check_read_result(result: &RawValue) -> Option<String> {
    let entry =
        |entry: &RawValue, at: &str| type_error(entry, at, "an object").or_else(|| check_text_or_blob(entry, at));
    match required_list(result, "contents") {
        Ok(contents) => check_each(&contents, "contents", entry),
        Err(wrong) => Some(wrong),
    }
}

fn check_prompt_result(result: &RawValue) -> Option<String> {
    let message = |message: &RawValue, at: &str| {
        if let Some(wrong) = type_error(message, at, "an object").or_else(|| check_string_member(message, at, "role")) {
            return Some(wrong);
        }
        let at = format!("{at}.content");
        let Some(content) = non_null_member(message, "content") else { return Some(format!("{at} is missing")) };
        match (parse_list(content), type_name(content)) {
            (Some(blocks), _) => check_each(&blocks, &at, check_content_block),
            (None, "a string") => None,
            _ => check_content_block(content, &at),
        }
    };
    match required_list(result, "messages") {
        Ok(messages) => check_each(&messages, "messages", message),
        Err(wrong) => Some(wrong),
    }
}

/// A content block.
fn check_content_block(block: &RawValue, at: &str) -> Option<String> {
    if let Some(wrong) = type_error(block, at, "an object").or_else(|| check_string_member(block, at, "type")) {
        return Some(wrong);
    }
    let kind: String = parse_string(member(block, "type")?.get()).unwrap_or_default();
    match kind.as_str() {
        "text" => check_string_member(block, at, "text"),
        "image" | "audio" => check_string_member(block, at, "data"),
        "resource_link" => check_string_member(block, at, "uri"),
        "resource" => {
            let at = format!("{at}.resource");
            match non_null_member(block, "resource") {
                None => Some(format!("{at} is missing")),
                Some(resource) => type_error(resource, &at, "an object").or_else(|| check_text_or_blob(resource, &at)),
            }
        }
        _ => None,
    }
}

fn check_text_or_blob(entry: &RawValue, at: &str) -> Option<String> {
    let given = ["text", "blob"].into_iter().find(|name| non_null_member(entry, name).is_some());
    given.map_or_else(|| Some(format!("{at} has neither text nor blob")), |name| check_string_member(entry, at, name))
}

/// A member that must be a string.
fn check_string_member(object: &RawValue, at: &str, name: &str) -> Option<String> {
    match non_null_member(object, name) {
        None => Some(format!("{at}.{name} is missing")),
        // The usual case first: naming the place takes longer than the check.
        Some(value) if type_name(value) == "a string" => None,
        Some(value) => type_error(value, &format!("{at}.{name}"), "a string"),
    }
}

/// The items of a required list.
fn required_list<'a>(result: &'a RawValue, name: &str) -> Result<Vec<&'a RawValue>, String> {
    if let Some(wrong) = type_error(result, "the result", "an object") {
        return Err(wrong);
    }
    let Some(value) = non_null_member(result, name) else { return Err(format!("{name} is missing")) };
    parse_list(value).ok_or_else(|| type_error(value, name, "a list").unwrap_or_default())
}

fn check_each(all: &[&RawValue], name: &str, judge: impl Fn(&RawValue, &str) -> Option<String>) -> Option<String> {
    all.iter().enumerate().find_map(|(n, one)| judge(one, &format!("{name}[{n}]")))
}

/// A member that is neither missing nor `null`.
fn non_null_member<'a>(object: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    member(object, name).filter(|raw| raw.get() != "null")
}

fn parse_list(value: &RawValue) -> Option<Vec<&RawValue>> {
    serde_json::from_str(value.get()).ok()
}

fn type_error(value: &RawValue, at: &str, wanted: &str) -> Option<String> {
    let is = type_name(value);
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
            tool_result_errors(&RawValue::from_string(several.to_owned()).unwrap()),
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
