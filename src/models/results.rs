//! The results of tools as messages for the model that asked for them.

use serde_json::{Value, json};

use super::ModelApi;
use super::reply::ModelToolCall;
use crate::output::content::{BinaryContent, ContentBlock, content_blocks};
use crate::protocol::rpc::{RawJson, parse_value};
use crate::protocol::views::member;

/// What came of a tool that a model asked for.
pub struct CompletedToolCall {
    /// What it asked for.
    pub call: ModelToolCall,
    /// The result, or what to tell the model instead.
    pub outcome: Result<RawJson, String>,
}

impl CompletedToolCall {
    /// Whether the tool failed, or could not be called.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match &self.outcome {
            Ok(result) => member(result, "isError").is_some_and(|raw| raw.get() == "true"),
            Err(_) => true,
        }
    }

    fn blocks(&self) -> Vec<ContentBlock> {
        let result = match &self.outcome {
            Ok(result) => result,
            Err(text) => return vec![ContentBlock::Text(text.clone())],
        };
        let found = content_blocks(result).unwrap_or_default();
        match self.structured_content() {
            Some(value) if found.is_empty() => vec![ContentBlock::Text(value.to_string())],
            _ => found,
        }
    }

    fn structured_content(&self) -> Option<Value> {
        parse_value(member(self.outcome.as_ref().ok()?, "structuredContent")?.get())
    }
}

/// What is to be added to the conversation, as a JSON array: of messages, of items, of contents.
#[must_use]
pub fn result_messages(api: ModelApi, done: &[CompletedToolCall]) -> Value {
    match api {
        // All results of one reply belong into one message.
        ModelApi::Anthropic => {
            json!([{"role": "user", "content": done.iter().map(anthropic_result).collect::<Vec<_>>()}])
        }
        ModelApi::OpenAiChat => done.iter().map(openai_result).collect(),
        ModelApi::OpenAiResponses => done.iter().map(responses_result).collect(),
        ModelApi::Gemini => json!([{"role": "user", "parts": done.iter().map(gemini_result).collect::<Vec<_>>()}]),
    }
}

fn anthropic_result(done: &CompletedToolCall) -> Value {
    // An empty text is refused there.
    let said = |block: &&ContentBlock| !matches!(block, ContentBlock::Text(text) if text.is_empty());
    let content: Vec<Value> = done.blocks().iter().filter(said).map(anthropic_block).collect();
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
pub(super) fn anthropic_block(block: &ContentBlock) -> Value {
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

fn responses_block(block: &ContentBlock) -> Value {
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
    let said = texts.join("\n");
    let response = if done.has_failed() {
        json!({ "error": said })
    } else {
        json!({ "output": done.structured_content().unwrap_or(Value::String(said)) })
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
pub(super) fn gemini_inline_data(binary: &BinaryContent) -> Value {
    json!({"inlineData": {"mimeType": binary.mime, "data": binary.data}})
}

/// A result as one text, for an API that takes nothing else and does not know failures.
fn result_text(done: &CompletedToolCall) -> String {
    let said = done.blocks().iter().map(block_text).collect::<Vec<_>>().join("\n");
    if done.has_failed() { format!("Error: {said}") } else { said }
}

/// A block as text; what is none is named.
pub(super) fn block_text(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) | ContentBlock::Unparsed(text) => text.clone(),
        ContentBlock::Link(line) => line.clone(),
        ContentBlock::Unknown(kind) => format!("[content of type {kind}]"),
        ContentBlock::Binary(binary) => format!("[{}, which cannot be passed on]", binary.description()),
    }
}

pub(super) fn is_image(binary: &BinaryContent) -> bool {
    binary.mime.as_deref().is_some_and(|mime| mime.starts_with("image/"))
}

/// `data:image/png;base64,…`
pub(super) fn data_url(binary: &BinaryContent) -> String {
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
        assert!(made(ModelApi::Anthropic, Ok(&svg)).contains("[image/svg+xml, 3 B, which cannot be passed on]"));
    }

    #[test]
    fn openai_gets_a_message_a_call() {
        assert_eq!(made(ModelApi::OpenAiChat, Ok(TEXT)), r#"[{"role":"tool","tool_call_id":"1","content":"a\nb"}]"#);
        assert_eq!(
            made(ModelApi::OpenAiChat, Ok(FAILED)),
            r#"[{"role":"tool","tool_call_id":"1","content":"Error: no"}]"#
        );
        assert!(made(ModelApi::OpenAiChat, Ok(IMAGE)).contains("see\\n[image/png, 3 B, which cannot be passed on]"));
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
