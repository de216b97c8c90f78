//! Parses a model's response: the tool calls in it, and which API it comes from.
//!
//! Accepts the whole body of an HTTP response, the message in it, or just the list of tool calls.

use serde_json::{Map, Value};

use super::ModelApi;
use crate::error::{ErrorKind, Failure, Result};
use crate::util::json_error::json_fault_at;

/// A tool call that a model requests.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelToolCall {
    /// Identifies the call in its result; optional in Gemini.
    pub id: Option<String>,
    /// The name under which the model knows the tool.
    pub name: String,
    /// The arguments object, as JSON text; or why what the model wrote is not one.
    pub arguments: Result<String, String>,
}

/// The tool calls of a response, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelReply {
    /// The API it comes from; `None` if there are no tool calls to recognize it by.
    pub api: Option<ModelApi>,
    /// The tool calls.
    pub tool_calls: Vec<ModelToolCall>,
}

/// Parses a response.
///
/// # Errors
/// [`ErrorKind::Usage`] if it is not JSON, or not a response of a known API.
pub fn parse_reply(text: &str) -> Result<ModelReply> {
    let bad = |cause: String| {
        Failure::new(ErrorKind::Usage, "not a model response").cause(cause).hint(
            "pass the API's response body, or the message inside it: Anthropic, OpenAI (Chat Completions or \
             Responses) or Gemini",
        )
    };
    let value: Value =
        serde_json::from_str(text.trim()).map_err(|error| bad(format!("it is not JSON: {}", json_fault_at(&error))))?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let said = error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), ToOwned::to_owned);
        return Err(bad(format!("it is an error response: {said}")));
    }
    if ["delta", "response.created"].iter().any(|word| value.get(word).is_some()) {
        return Err(bad("it is one event of a stream; request the response without `stream`".to_owned()));
    }
    // Earlier tool calls of a conversation have been executed: they must not be executed again.
    if value.as_array().is_some_and(|items| items.iter().any(is_not_from_model)) {
        return Err(bad("it is a whole conversation; pass only the last message of the model".to_owned()));
    }
    // Only one of several alternatives may be executed, and mcpipe cannot know which one.
    for name in ["choices", "candidates"] {
        let count = value.get(name).and_then(Value::as_array).map_or(0, Vec::len);
        if count > 1 {
            return Err(bad(format!("it has {count} {name}; pass only one of them")));
        }
    }
    let Some(items) = reply_items(&value) else {
        return Err(bad("it has no content, choices, output, tool_calls or candidates".to_owned()));
    };
    let found: Vec<(ModelApi, ModelToolCall)> = items.iter().filter_map(|item| tool_call(item)).collect();
    let api = found.first().map(|(api, _)| *api);
    if found.iter().any(|(other, _)| Some(*other) != api) {
        return Err(bad("it has tool calls in the formats of several APIs".to_owned()));
    }
    Ok(ModelReply { api, tool_calls: found.into_iter().map(|(_, asked)| asked).collect() })
}

/// Whether a message, an item or a block comes from the user's side of the conversation.
fn is_not_from_model(item: &Value) -> bool {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    text("role").is_some_and(|role| !matches!(role, "assistant" | "model"))
        || matches!(text("type"), Some("tool_result" | "function_call_output"))
        || item.get("functionResponse").is_some()
}

/// The parts of a response that may be tool calls; `None` if it has no such parts.
fn reply_items(value: &Value) -> Option<Vec<&Value>> {
    if let Value::Array(items) = value {
        // A list of messages, of output items, of content blocks or of parts.
        return Some(items.iter().flat_map(|item| self::reply_items(item).unwrap_or_else(|| vec![item])).collect());
    }
    let list = |value: &'_ Value, name: &str| value.get(name).and_then(Value::as_array).is_some();
    for name in ["choices", "candidates", "output", "tool_calls", "content", "parts"] {
        if list(value, name) {
            let items = value[name].as_array().into_iter().flatten();
            return Some(items.flat_map(|item| nested_items(name, item)).collect());
        }
    }
    // One message, or one part, by itself.
    for name in ["message", "content"] {
        if let Some(message) = value.get(name).filter(|message| message.is_object()) {
            return message_items(message);
        }
    }
    if tool_call(value).is_some() {
        return Some(vec![value]);
    }
    let is_message = value.get("role").is_some() || value.get("content").is_some_and(Value::is_string);
    is_message.then(Vec::new)
}

/// The parts of a message; a message of plain text has none.
fn message_items(message: &Value) -> Option<Vec<&Value>> {
    Some(reply_items(message).unwrap_or_default())
}

fn nested_items<'a>(name: &str, item: &'a Value) -> Vec<&'a Value> {
    match name {
        "choices" | "candidates" => reply_items(item).unwrap_or_default(),
        _ => vec![item],
    }
}

/// The tool call in one part of a response.
fn tool_call(item: &Value) -> Option<(ModelApi, ModelToolCall)> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    if let Some(call) = item.get("functionCall") {
        let arguments = object_arguments(call.get("args"));
        return Some((ModelApi::Gemini, ModelToolCall { id: text(call, "id"), name: text(call, "name")?, arguments }));
    }
    match item.get("type").and_then(Value::as_str) {
        Some("tool_use") => {
            let arguments = object_arguments(item.get("input"));
            Some((ModelApi::Anthropic, ModelToolCall { id: text(item, "id"), name: text(item, "name")?, arguments }))
        }
        Some("function_call") => {
            let arguments = text_arguments(item.get("arguments"));
            let id = text(item, "call_id").or_else(|| text(item, "id"));
            Some((ModelApi::OpenAiResponses, ModelToolCall { id, name: text(item, "name")?, arguments }))
        }
        // Some providers of this API omit the type.
        Some("function") | None => {
            let function = item.get("function")?;
            let arguments = text_arguments(function.get("arguments"));
            Some((
                ModelApi::OpenAiChat,
                ModelToolCall { id: text(item, "id"), name: text(function, "name")?, arguments },
            ))
        }
        Some(_) => None,
    }
}

/// Arguments given as an object.
fn object_arguments(value: Option<&Value>) -> Result<String, String> {
    match value {
        None | Some(Value::Null) => Ok("{}".to_owned()),
        Some(value @ Value::Object(_)) => Ok(value.to_string()),
        Some(other) => Err(format!("the arguments are not an object: {other}")),
    }
}

/// Arguments given as a text that holds an object, as the model wrote it.
fn text_arguments(value: Option<&Value>) -> Result<String, String> {
    let Some(Value::String(text)) = value else { return object_arguments(value) };
    if text.trim().is_empty() {
        return Ok("{}".to_owned());
    }
    match serde_json::from_str::<Map<String, Value>>(text) {
        Ok(_) => Ok(text.clone()),
        Err(error) => Err(format!("the arguments are not a JSON object ({error}): {text}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The API, and each call: its ID, name and arguments.
    type ParsedCalls = (Option<ModelApi>, Vec<(Option<String>, String, String)>);

    fn parsed_calls(text: &str) -> ParsedCalls {
        let reply = parse_reply(text).unwrap();
        let one =
            |asked: ModelToolCall| (asked.id, asked.name, asked.arguments.unwrap_or_else(|error| format!("! {error}")));
        (reply.api, reply.tool_calls.into_iter().map(one).collect())
    }

    fn one_call(api: ModelApi, id: Option<&str>, name: &str, arguments: &str) -> ParsedCalls {
        (Some(api), vec![(id.map(ToOwned::to_owned), name.to_owned(), arguments.to_owned())])
    }

    #[test]
    fn anthropic() {
        let block = r#"{"type":"tool_use","id":"toolu_1","name":"add","input":{"b":2,"a":12345678901234567890123}}"#;
        let expected = one_call(ModelApi::Anthropic, Some("toolu_1"), "add", r#"{"b":2,"a":12345678901234567890123}"#);
        let content = format!(r#"[{{"type":"text","text":"Let me add."}},{block}]"#);
        let message = format!(
            r#"{{"id":"msg_1","type":"message","role":"assistant","content":{content},"stop_reason":"tool_use"}}"#
        );
        for text in [block, &content, &message, &format!("[{message}]")] {
            assert_eq!(parsed_calls(text), expected, "{text}");
        }
        // Tools that the API itself runs are not for mcpipe.
        let server = r#"[{"type":"server_tool_use","id":"s","name":"web_search","input":{}}]"#;
        assert_eq!(parsed_calls(server), (None, vec![]));
    }

    #[test]
    fn openai_chat_completions() {
        let call = r#"{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\": 1,\n\"b\":2}"}}"#;
        let expected = one_call(ModelApi::OpenAiChat, Some("call_1"), "add", "{\"a\": 1,\n\"b\":2}");
        let message = format!(r#"{{"role":"assistant","content":null,"tool_calls":[{call}]}}"#);
        let whole = format!(
            r#"{{"object":"chat.completion","choices":[{{"index":0,"message":{message},"finish_reason":"tool_calls"}}]}}"#
        );
        for text in [call, &format!("[{call}]"), &message, &whole] {
            assert_eq!(parsed_calls(text), expected, "{text}");
        }
        let bad = call.replace(r#""{\"a\": 1,\n\"b\":2}""#, r#""{\"a\": ""#);
        assert!(parsed_calls(&bad).1[0].2.starts_with("! the arguments are not a JSON object (EOF"), "{bad}");
        let empty = call.replace(r#""{\"a\": 1,\n\"b\":2}""#, r#""""#);
        assert_eq!(parsed_calls(&empty).1[0].2, "{}");
    }

    #[test]
    fn openai_responses() {
        let item = r#"{"type":"function_call","id":"fc_1","call_id":"call_1","name":"add","arguments":"{\"a\":1}","status":"completed"}"#;
        let expected = one_call(ModelApi::OpenAiResponses, Some("call_1"), "add", r#"{"a":1}"#);
        let whole = format!(
            r#"{{"object":"response","error":null,"output":[{{"type":"reasoning","summary":[]}},{{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"x"}}]}},{item}]}}"#
        );
        for text in [item, &format!("[{item}]"), &whole] {
            assert_eq!(parsed_calls(text), expected, "{text}");
        }
    }

    #[test]
    fn gemini() {
        let part = r#"{"functionCall":{"name":"add","args":{"a":1}}}"#;
        let expected = one_call(ModelApi::Gemini, None, "add", r#"{"a":1}"#);
        let content = format!(r#"{{"role":"model","parts":[{{"text":"Let me."}},{part}]}}"#);
        let whole = format!(r#"{{"candidates":[{{"content":{content},"finishReason":"STOP"}}]}}"#);
        for text in [part, &content, &whole] {
            assert_eq!(parsed_calls(text), expected, "{text}");
        }
        assert_eq!(
            parsed_calls(r#"{"functionCall":{"id":"1","name":"now"}}"#),
            one_call(ModelApi::Gemini, Some("1"), "now", "{}")
        );
    }

    #[test]
    fn a_response_may_have_no_tool_calls() {
        for text in [
            r#"{"role":"assistant","content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn"}"#,
            r#"{"choices":[{"message":{"role":"assistant","content":"Done."}}]}"#,
            r#"{"output":[]}"#,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Done."}]}}]}"#,
            r#"{"role":"assistant","content":"Done."}"#,
            "[]",
        ] {
            assert_eq!(parsed_calls(text), (None, vec![]), "{text}");
        }
    }

    #[test]
    fn other_input_is_rejected() {
        for (text, why) in [
            ("", "it is not JSON"),
            ("data: {}", "it is not JSON"),
            ("7", "it has no content"),
            (r#"{"tools":[]}"#, "it has no content"),
            (r#"{"type":"error","error":{"type":"x","message":"overloaded"}}"#, "it is an error response: overloaded"),
            (r#"{"type":"content_block_delta","delta":{}}"#, "one event of a stream"),
            (
                r#"[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"b","input":{}}]}]"#,
                "it is a whole conversation",
            ),
            (
                r#"[{"type":"function_call","call_id":"1","name":"b","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":""}]"#,
                "it is a whole conversation",
            ),
            (
                r#"{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}"#,
                "it has 2 choices; pass only one of them",
            ),
            (
                r#"[{"functionCall":{"name":"a"}},{"type":"tool_use","id":"1","name":"b","input":{}}]"#,
                "formats of several APIs",
            ),
        ] {
            let failure = parse_reply(text).unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Usage);
            assert!(failure.to_string().contains(why), "{text}: {failure}");
        }
    }
}
