//! Tool results as messages for the model that requested the calls.

use serde_json::{Value, json};

use super::ModelApi;
use super::reply::ModelToolCall;
use crate::output::content::{BinaryContent, ContentBlock, content_blocks};
use crate::protocol::json::{member, parse_value};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::is_error_result;

/// A tool call of a model, and its outcome.
pub struct CompletedToolCall {
    /// The call.
    pub call: ModelToolCall,
    /// The result, or an error message for the model.
    pub outcome: Result<RawJson, String>,
}

impl CompletedToolCall {
    /// Whether the tool failed, or could not be called.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match &self.outcome {
            Ok(result) => is_error_result(result),
            Err(_) => true,
        }
    }

    fn blocks(&self) -> Vec<ContentBlock<'_>> {
        let result = match &self.outcome {
            Ok(result) => result,
            Err(text) => return vec![ContentBlock::Unparsed(text.into())],
        };
        let found = content_blocks(result).unwrap_or_default();
        match self.structured_content() {
            Some(value) if found.is_empty() => vec![ContentBlock::Unparsed(value.to_string().into())],
            _ => found,
        }
    }

    fn structured_content(&self) -> Option<Value> {
        parse_value(member(self.outcome.as_ref().ok()?, "structuredContent")?.get())
    }
}

/// What to append to the conversation, as a JSON array: messages, items or contents.
#[must_use]
pub fn result_messages(api: ModelApi, done: &[CompletedToolCall]) -> Value {
    match api {
        // All results of one response go into one message.
        ModelApi::Anthropic => {
            json!([{"role": "user", "content": done.iter().map(anthropic_result).collect::<Vec<_>>()}])
        }
        ModelApi::OpenAiChat => done.iter().map(openai_result).collect(),
        ModelApi::OpenAiResponses => done.iter().map(responses_result).collect(),
        ModelApi::Gemini => json!([{"role": "user", "parts": done.iter().map(gemini_result).collect::<Vec<_>>()}]),
    }
}

fn anthropic_result(done: &CompletedToolCall) -> Value {
    // The API rejects empty text blocks.
    let is_not_empty = |block: &&ContentBlock<'_>| !matches!(block, ContentBlock::Text(text) if text.is_empty());
    let content: Vec<Value> = done.blocks().iter().filter(is_not_empty).map(anthropic_block).collect();
    let mut result = json!({"type": "tool_result", "tool_use_id": done.call.id});
    if !content.is_empty() {
        result["content"] = content.into();
    }
    if done.has_failed() {
        result["is_error"] = true.into();
    }
    result
}

/// A content block for Anthropic: images and PDF documents as they are.
pub(super) fn anthropic_block(block: &ContentBlock<'_>) -> Value {
    if let ContentBlock::Binary(binary) = block {
        let kind = match binary.mime.as_deref() {
            Some("image/png" | "image/jpeg" | "image/gif" | "image/webp") => Some("image"),
            Some("application/pdf") => Some("document"),
            _ => None,
        };
        if let Some(kind) = kind {
            let source = json!({"type": "base64", "media_type": binary.mime, "data": binary.data});
            return json!({"type": kind, "source": source});
        }
    }
    json!({"type": "text", "text": block_text(block)})
}

fn openai_result(done: &CompletedToolCall) -> Value {
    json!({"role": "tool", "tool_call_id": done.call.id, "content": result_text(done)})
}

fn responses_result(done: &CompletedToolCall) -> Value {
    let found = done.blocks();
    let all: Vec<Value> = found.iter().map(responses_block).collect();
    let only_text = all.iter().all(|part| part["type"] == "input_text");
    let output = if only_text { result_text(done).into() } else { Value::from(all) };
    json!({"type": "function_call_output", "call_id": done.call.id, "output": output})
}

fn responses_block(block: &ContentBlock<'_>) -> Value {
    match block {
        ContentBlock::Binary(binary) if is_image(binary) => {
            json!({"type": "input_image", "image_url": data_url(binary), "detail": "auto"})
        }
        ContentBlock::Binary(binary) if binary.mime.as_deref() == Some("application/pdf") => {
            let name = binary.name.as_deref().unwrap_or("document.pdf");
            json!({"type": "input_file", "filename": name, "file_data": data_url(binary)})
        }
        other => json!({"type": "input_text", "text": block_text(other)}),
    }
}

fn gemini_result(done: &CompletedToolCall) -> Value {
    let mut parts = Vec::new();
    let mut texts = Vec::new();
    for block in done.blocks() {
        match &block {
            ContentBlock::Binary(binary) if binary.mime.is_some() => parts.push(gemini_inline_data(binary)),
            other => texts.push(block_text(other)),
        }
    }
    let text = texts.join("\n");
    let response = if done.has_failed() {
        json!({ "error": text })
    } else {
        json!({ "output": done.structured_content().unwrap_or(Value::String(text)) })
    };
    let mut answer = json!({"name": done.call.name, "response": response});
    if let Some(id) = &done.call.id {
        answer["id"] = id.clone().into();
    }
    if !parts.is_empty() {
        answer["parts"] = parts.into();
    }
    json!({ "functionResponse": answer })
}

/// Binary content for Gemini.
pub(super) fn gemini_inline_data(binary: &BinaryContent<'_>) -> Value {
    json!({"inlineData": {"mimeType": binary.mime, "data": binary.data}})
}

/// A result as one text, for an API that accepts only text and has no error flag.
fn result_text(done: &CompletedToolCall) -> String {
    let text = done.blocks().iter().map(block_text).collect::<Vec<_>>().join("\n");
    if done.has_failed() { format!("Error: {text}") } else { text }
}

/// A block as text; content of other types is described.
pub(super) fn block_text(block: &ContentBlock<'_>) -> String {
    match block {
        ContentBlock::Text(text) => text.decode().into_owned(),
        ContentBlock::Unparsed(text) => text.clone().into_owned(),
        ContentBlock::Link(line) => line.clone(),
        ContentBlock::Unknown(kind) => format!("[content of type {kind}]"),
        ContentBlock::Binary(binary) => format!("[{} omitted: not supported by the API]", binary.description()),
    }
}

pub(super) fn is_image(binary: &BinaryContent<'_>) -> bool {
    binary.mime.as_deref().is_some_and(|mime| mime.starts_with("image/"))
}

/// `data:image/png;base64,…`
pub(super) fn data_url(binary: &BinaryContent<'_>) -> String {
    format!("data:{};base64,{}", binary.mime.as_deref().unwrap_or("application/octet-stream"), binary.data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::value::RawValue;

    use super::*;

    fn done(id: Option<&str>, outcome: Result<&str, &str>) -> CompletedToolCall {
        let asked = ModelToolCall { id: id.map(ToOwned::to_owned), name: "t".into(), arguments: Ok("{}".into()) };
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        CompletedToolCall { call: asked, outcome: outcome.map(raw).map_err(ToOwned::to_owned) }
    }

    const TEXT: &str = r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#;
    const IMAGE: &str =
        r#"{"content":[{"type":"text","text":"see"},{"type":"image","mimeType":"image/png","data":"iVBO"}]}"#;
    const FAILED: &str = r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#;
    const STRUCTURED: &str = r#"{"content":[],"structuredContent":{"n":12345678901234567890123}}"#;

    fn made(api: ModelApi, outcome: Result<&str, &str>) -> String {
        result_messages(api, &[done(Some("1"), outcome)]).to_string()
    }

    #[test]
    fn anthropic_gets_one_message_with_blocks() {
        let all = [done(Some("1"), Ok(TEXT)), done(Some("2"), Err("unknown tool"))];
        assert_eq!(
            result_messages(ModelApi::Anthropic, &all),
            json!([{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "unknown tool"}], "is_error": true},
            ]}])
        );
        let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}});
        assert!(made(ModelApi::Anthropic, Ok(IMAGE)).contains(&image.to_string()));
        assert!(made(ModelApi::Anthropic, Ok(FAILED)).contains(r#""is_error":true"#));
        assert_eq!(
            made(ModelApi::Anthropic, Ok(r#"{"content":[]}"#)),
            r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]"#
        );
        assert_eq!(
            made(ModelApi::Anthropic, Ok(r#"{"content":[{"type":"text","text":""}]}"#)),
            r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]"#
        );
        assert!(made(ModelApi::Anthropic, Ok(STRUCTURED)).contains(r#"{\"n\":12345678901234567890123}"#));
        let svg = IMAGE.replace("image/png", "image/svg+xml");
        assert!(made(ModelApi::Anthropic, Ok(&svg)).contains("[image/svg+xml, 3 B omitted: not supported by the API]"));
    }

    #[test]
    fn openai_gets_one_message_per_call() {
        assert_eq!(made(ModelApi::OpenAiChat, Ok(TEXT)), r#"[{"role":"tool","tool_call_id":"1","content":"a\nb"}]"#);
        assert_eq!(
            made(ModelApi::OpenAiChat, Ok(FAILED)),
            r#"[{"role":"tool","tool_call_id":"1","content":"Error: no"}]"#
        );
        assert!(
            made(ModelApi::OpenAiChat, Ok(IMAGE)).contains("see\\n[image/png, 3 B omitted: not supported by the API]")
        );
        assert_eq!(
            made(ModelApi::OpenAiResponses, Ok(TEXT)),
            r#"[{"type":"function_call_output","call_id":"1","output":"a\nb"}]"#
        );
        assert_eq!(
            made(ModelApi::OpenAiResponses, Ok(IMAGE)),
            r#"[{"type":"function_call_output","call_id":"1","output":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"data:image/png;base64,iVBO","detail":"auto"}]}]"#
        );
    }

    #[test]
    fn gemini_gets_one_content_with_responses() {
        assert_eq!(
            result_messages(ModelApi::Gemini, &[done(None, Ok(TEXT)), done(Some("7"), Ok(FAILED))]),
            json!([{"role": "user", "parts": [
                {"functionResponse": {"name": "t", "response": {"output": "a\nb"}}},
                {"functionResponse": {"name": "t", "response": {"error": "no"}, "id": "7"}},
            ]}])
        );
        assert!(made(ModelApi::Gemini, Ok(STRUCTURED)).contains(r#""output":{"n":12345678901234567890123}"#));
        assert!(
            made(ModelApi::Gemini, Ok(IMAGE))
                .contains(r#""parts":[{"inlineData":{"mimeType":"image/png","data":"iVBO"}}]"#)
        );
    }
}
