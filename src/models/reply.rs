//! A model's reply: which tools it asks for, and in which API's words.
//!
//! Taken whole (the body of an HTTP answer), as the message in it, or as the bare list of what is asked for.

use serde_json::{Map, Value};

use super::Api;
use crate::error::{Class, Failure, Result};

/// A tool that a model asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What ties the result to the request; Gemini may leave it out.
    pub id: Option<String>,
    /// The tool, as the model knows it.
    pub name: String,
    /// The arguments object, as JSON text; or what the model wrote that is none.
    pub arguments: Result<String, String>,
}

/// What a reply asks for, in its order.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The API it comes from; `None` where it asks for nothing, so that it may be any.
    pub api: Option<Api>,
    /// The tools.
    pub asked: Vec<Asked>,
}

/// Reads a reply.
///
/// # Errors
/// [`Class::Usage`] where it is not JSON, or no reply of an API that is known.
pub fn read(text: &str) -> Result<Reply> {
    let bad = |cause: String| {
        Failure::new(Class::Usage, "this is no reply of a model").cause(cause).hint(
            "give the body of the API's answer, or the message in it: Anthropic, OpenAI (Chat Completions or \
             Responses), Gemini",
        )
    };
    let value: Value = serde_json::from_str(text.trim()).map_err(|error| bad(format!("it is not JSON: {error}")))?;
    if let Some(error) = value.get("error").filter(|error| !error.is_null()) {
        let said = error.get("message").and_then(Value::as_str).map_or_else(|| error.to_string(), ToOwned::to_owned);
        return Err(bad(format!("it is an error: {said}")));
    }
    if ["delta", "response.created"].iter().any(|word| value.get(word).is_some()) {
        return Err(bad("it is a piece of a stream; ask without `stream`".to_owned()));
    }
    // What was asked for earlier has been done: it must not be done again.
    if value.as_array().is_some_and(|items| items.iter().any(is_from_us)) {
        return Err(bad("it is a conversation; give what the model said last, alone".to_owned()));
    }
    // Of several alternatives at most one is to be followed, and which is not for us to say.
    for name in ["choices", "candidates"] {
        let count = value.get(name).and_then(Value::as_array).map_or(0, Vec::len);
        if count > 1 {
            return Err(bad(format!("it holds {count} {name}; give the one that is to be followed")));
        }
    }
    let Some(items) = items(&value) else {
        return Err(bad("it holds neither content, choices, output, tool_calls nor candidates".to_owned()));
    };
    let found: Vec<(Api, Asked)> = items.iter().filter_map(|item| asked(item)).collect();
    let api = found.first().map(|(api, _)| *api);
    if found.iter().any(|(other, _)| Some(*other) != api) {
        return Err(bad("it mixes the forms of several APIs".to_owned()));
    }
    Ok(Reply { api, asked: found.into_iter().map(|(_, asked)| asked).collect() })
}

/// Whether a message, an item or a block is from our side of the conversation.
fn is_from_us(item: &Value) -> bool {
    let text = |name: &str| item.get(name).and_then(Value::as_str);
    text("role").is_some_and(|role| !matches!(role, "assistant" | "model"))
        || matches!(text("type"), Some("tool_result" | "function_call_output"))
        || item.get("functionResponse").is_some()
}

/// The parts of a reply, some of which ask for tools; `None` where it has no such parts.
fn items(value: &Value) -> Option<Vec<&Value>> {
    if let Value::Array(items) = value {
        // A list of messages, of output items, of content blocks or of parts.
        return Some(items.iter().flat_map(|item| self::items(item).unwrap_or_else(|| vec![item])).collect());
    }
    let list = |value: &'_ Value, name: &str| value.get(name).and_then(Value::as_array).is_some();
    for name in ["choices", "candidates", "output", "tool_calls", "content", "parts"] {
        if list(value, name) {
            let items = value[name].as_array().into_iter().flatten();
            return Some(items.flat_map(|item| inner(name, item)).collect());
        }
    }
    // One message, or one part, by itself.
    for name in ["message", "content"] {
        if let Some(message) = value.get(name).filter(|message| message.is_object()) {
            return items_or_none(message);
        }
    }
    if asked(value).is_some() {
        return Some(vec![value]);
    }
    let is_message = value.get("role").is_some() || value.get("content").is_some_and(Value::is_string);
    is_message.then(Vec::new)
}

/// A message that says something and asks for nothing has no parts.
fn items_or_none(message: &Value) -> Option<Vec<&Value>> {
    Some(items(message).unwrap_or_default())
}

fn inner<'a>(name: &str, item: &'a Value) -> Vec<&'a Value> {
    match name {
        "choices" | "candidates" => items(item).unwrap_or_default(),
        _ => vec![item],
    }
}

/// The tool that one part of a reply asks for.
fn asked(item: &Value) -> Option<(Api, Asked)> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
    if let Some(call) = item.get("functionCall") {
        let arguments = object(call.get("args"));
        return Some((Api::Gemini, Asked { id: text(call, "id"), name: text(call, "name")?, arguments }));
    }
    match item.get("type").and_then(Value::as_str) {
        Some("tool_use") => {
            let arguments = object(item.get("input"));
            Some((Api::Anthropic, Asked { id: text(item, "id"), name: text(item, "name")?, arguments }))
        }
        Some("function_call") => {
            let arguments = written(item.get("arguments"));
            let id = text(item, "call_id").or_else(|| text(item, "id"));
            Some((Api::Responses, Asked { id, name: text(item, "name")?, arguments }))
        }
        // Some who speak this API leave the type out.
        Some("function") | None => {
            let function = item.get("function")?;
            let arguments = written(function.get("arguments"));
            Some((Api::OpenAi, Asked { id: text(item, "id"), name: text(function, "name")?, arguments }))
        }
        Some(_) => None,
    }
}

/// Arguments given as an object.
fn object(value: Option<&Value>) -> Result<String, String> {
    match value {
        None | Some(Value::Null) => Ok("{}".to_owned()),
        Some(value @ Value::Object(_)) => Ok(value.to_string()),
        Some(other) => Err(format!("the arguments are not an object: {other}")),
    }
}

/// Arguments given as a text that holds an object, as the model wrote it.
fn written(value: Option<&Value>) -> Result<String, String> {
    let Some(Value::String(text)) = value else { return object(value) };
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

    /// The API, and each call: its id, name and arguments.
    type Seen = (Option<Api>, Vec<(Option<String>, String, String)>);

    fn asks(text: &str) -> Seen {
        let reply = read(text).unwrap();
        let one = |asked: Asked| (asked.id, asked.name, asked.arguments.unwrap_or_else(|error| format!("! {error}")));
        (reply.api, reply.asked.into_iter().map(one).collect())
    }

    fn one(api: Api, id: Option<&str>, name: &str, arguments: &str) -> Seen {
        (Some(api), vec![(id.map(ToOwned::to_owned), name.to_owned(), arguments.to_owned())])
    }

    #[test]
    fn anthropic() {
        let block = r#"{"type":"tool_use","id":"toolu_1","name":"add","input":{"b":2,"a":12345678901234567890123}}"#;
        let expected = one(Api::Anthropic, Some("toolu_1"), "add", r#"{"b":2,"a":12345678901234567890123}"#);
        let content = format!(r#"[{{"type":"text","text":"Let me add."}},{block}]"#);
        let message = format!(
            r#"{{"id":"msg_1","type":"message","role":"assistant","content":{content},"stop_reason":"tool_use"}}"#
        );
        for text in [block, &content, &message, &format!("[{message}]")] {
            assert_eq!(asks(text), expected, "{text}");
        }
        // What the API's own side runs is not for us.
        let server = r#"[{"type":"server_tool_use","id":"s","name":"web_search","input":{}}]"#;
        assert_eq!(asks(server), (None, vec![]));
    }

    #[test]
    fn openai_chat_completions() {
        let call = r#"{"id":"call_1","type":"function","function":{"name":"add","arguments":"{\"a\": 1,\n\"b\":2}"}}"#;
        let expected = one(Api::OpenAi, Some("call_1"), "add", "{\"a\": 1,\n\"b\":2}");
        let message = format!(r#"{{"role":"assistant","content":null,"tool_calls":[{call}]}}"#);
        let whole = format!(
            r#"{{"object":"chat.completion","choices":[{{"index":0,"message":{message},"finish_reason":"tool_calls"}}]}}"#
        );
        for text in [call, &format!("[{call}]"), &message, &whole] {
            assert_eq!(asks(text), expected, "{text}");
        }
        let bad = call.replace(r#""{\"a\": 1,\n\"b\":2}""#, r#""{\"a\": ""#);
        assert!(asks(&bad).1[0].2.starts_with("! the arguments are not a JSON object (EOF"), "{bad}");
        let empty = call.replace(r#""{\"a\": 1,\n\"b\":2}""#, r#""""#);
        assert_eq!(asks(&empty).1[0].2, "{}");
    }

    #[test]
    fn openai_responses() {
        let item = r#"{"type":"function_call","id":"fc_1","call_id":"call_1","name":"add","arguments":"{\"a\":1}","status":"completed"}"#;
        let expected = one(Api::Responses, Some("call_1"), "add", r#"{"a":1}"#);
        let whole = format!(
            r#"{{"object":"response","error":null,"output":[{{"type":"reasoning","summary":[]}},{{"type":"message","role":"assistant","content":[{{"type":"output_text","text":"x"}}]}},{item}]}}"#
        );
        for text in [item, &format!("[{item}]"), &whole] {
            assert_eq!(asks(text), expected, "{text}");
        }
    }

    #[test]
    fn gemini() {
        let part = r#"{"functionCall":{"name":"add","args":{"a":1}}}"#;
        let expected = one(Api::Gemini, None, "add", r#"{"a":1}"#);
        let content = format!(r#"{{"role":"model","parts":[{{"text":"Let me."}},{part}]}}"#);
        let whole = format!(r#"{{"candidates":[{{"content":{content},"finishReason":"STOP"}}]}}"#);
        for text in [part, &content, &whole] {
            assert_eq!(asks(text), expected, "{text}");
        }
        assert_eq!(asks(r#"{"functionCall":{"id":"1","name":"now"}}"#), one(Api::Gemini, Some("1"), "now", "{}"));
    }

    #[test]
    fn a_reply_may_ask_for_nothing() {
        for text in [
            r#"{"role":"assistant","content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn"}"#,
            r#"{"choices":[{"message":{"role":"assistant","content":"Done."}}]}"#,
            r#"{"output":[]}"#,
            r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Done."}]}}]}"#,
            r#"{"role":"assistant","content":"Done."}"#,
            "[]",
        ] {
            assert_eq!(asks(text), (None, vec![]), "{text}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for (text, why) in [
            ("", "it is not JSON"),
            ("data: {}", "it is not JSON"),
            ("7", "neither content"),
            (r#"{"tools":[]}"#, "neither content"),
            (r#"{"type":"error","error":{"type":"x","message":"overloaded"}}"#, "it is an error: overloaded"),
            (r#"{"type":"content_block_delta","delta":{}}"#, "a piece of a stream"),
            (
                r#"[{"role":"user","content":"hi"},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"b","input":{}}]}]"#,
                "it is a conversation",
            ),
            (
                r#"[{"type":"function_call","call_id":"1","name":"b","arguments":"{}"},{"type":"function_call_output","call_id":"1","output":""}]"#,
                "it is a conversation",
            ),
            (
                r#"{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}]}"#,
                "it holds 2 choices; give the one that is to be followed",
            ),
            (r#"[{"functionCall":{"name":"a"}},{"type":"tool_use","id":"1","name":"b","input":{}}]"#, "several APIs"),
        ] {
            let failure = read(text).unwrap_err();
            assert_eq!(failure.class(), Class::Usage);
            assert!(failure.to_string().contains(why), "{text}: {failure}");
        }
    }
}
