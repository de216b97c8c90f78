//! The results of tools as messages for the model that asked for them.

use serde_json::{Value, json};

use super::Api;
use super::reply::Asked;
use crate::output::content::{Binary, Block, blocks};
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::member;

/// What came of a tool that a model asked for.
pub struct Done {
    /// What it asked for.
    pub asked: Asked,
    /// The result, or what to tell the model instead.
    pub outcome: Result<Raw, String>,
}

impl Done {
    /// Whether the tool failed, or could not be called.
    #[must_use]
    pub fn failed(&self) -> bool {
        match &self.outcome {
            Ok(result) => member(result, "isError").is_some_and(|raw| raw.get() == "true"),
            Err(_) => true,
        }
    }

    fn blocks(&self) -> Vec<Block> {
        let result = match &self.outcome {
            Ok(result) => result,
            Err(text) => return vec![Block::Text(text.clone())],
        };
        let found = blocks(result).unwrap_or_default();
        match self.structured() {
            Some(value) if found.is_empty() => vec![Block::Text(value.to_string())],
            _ => found,
        }
    }

    fn structured(&self) -> Option<Value> {
        parse_value(member(self.outcome.as_ref().ok()?, "structuredContent")?.get())
    }
}

/// What is to be added to the conversation, as a JSON array: of messages, of items, of contents.
#[must_use]
pub fn messages(api: Api, done: &[Done]) -> Value {
    match api {
        // All results of one reply belong into one message.
        Api::Anthropic => json!([{"role": "user", "content": done.iter().map(anthropic).collect::<Vec<_>>()}]),
        Api::OpenAi => done.iter().map(openai).collect(),
        Api::Responses => done.iter().map(responses).collect(),
        Api::Gemini => json!([{"role": "user", "parts": done.iter().map(gemini).collect::<Vec<_>>()}]),
    }
}

fn anthropic(done: &Done) -> Value {
    // An empty text is refused there.
    let said = |block: &&Block| !matches!(block, Block::Text(text) if text.is_empty());
    let content: Vec<Value> = done.blocks().iter().filter(said).map(anthropic_block).collect();
    let mut result = json!({"type": "tool_result", "tool_use_id": done.asked.id});
    if !content.is_empty() {
        result["content"] = content.into();
    }
    if done.failed() {
        result["is_error"] = true.into();
    }
    result
}

/// A content block for Anthropic: images and PDF documents as they are.
pub(super) fn anthropic_block(block: &Block) -> Value {
    if let Block::Binary(binary) = block {
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
    json!({"type": "text", "text": text(block)})
}

fn openai(done: &Done) -> Value {
    json!({"role": "tool", "tool_call_id": done.asked.id, "content": told(done)})
}

fn responses(done: &Done) -> Value {
    let found = done.blocks();
    let all: Vec<Value> = found.iter().map(responses_part).collect();
    let only_text = all.iter().all(|part| part["type"] == "input_text");
    let output = if only_text { told(done).into() } else { Value::from(all) };
    json!({"type": "function_call_output", "call_id": done.asked.id, "output": output})
}

fn responses_part(block: &Block) -> Value {
    match block {
        Block::Binary(binary) if is_image(binary) => {
            json!({"type": "input_image", "image_url": data_url(binary), "detail": "auto"})
        }
        Block::Binary(binary) if binary.mime.as_deref() == Some("application/pdf") => {
            let name = binary.name.as_deref().unwrap_or("document.pdf");
            json!({"type": "input_file", "filename": name, "file_data": data_url(binary)})
        }
        other => json!({"type": "input_text", "text": text(other)}),
    }
}

fn gemini(done: &Done) -> Value {
    let mut parts = Vec::new();
    let mut texts = Vec::new();
    for block in done.blocks() {
        match &block {
            Block::Binary(binary) if binary.mime.is_some() => parts.push(inline(binary)),
            other => texts.push(text(other)),
        }
    }
    let said = texts.join("\n");
    let response = if done.failed() {
        json!({ "error": said })
    } else {
        json!({ "output": done.structured().unwrap_or(Value::String(said)) })
    };
    let mut answer = json!({"name": done.asked.name, "response": response});
    if let Some(id) = &done.asked.id {
        answer["id"] = id.clone().into();
    }
    if !parts.is_empty() {
        answer["parts"] = parts.into();
    }
    json!({ "functionResponse": answer })
}

/// Binary content for Gemini.
pub(super) fn inline(binary: &Binary) -> Value {
    json!({"inlineData": {"mimeType": binary.mime, "data": binary.data}})
}

/// A result as one text, for an API that takes nothing else and does not know failures.
fn told(done: &Done) -> String {
    let said = done.blocks().iter().map(text).collect::<Vec<_>>().join("\n");
    if done.failed() { format!("Error: {said}") } else { said }
}

/// A block as text; what is none is named.
pub(super) fn text(block: &Block) -> String {
    match block {
        Block::Text(text) | Block::Odd(text) => text.clone(),
        Block::Link(line) => line.clone(),
        Block::Unknown(kind) => format!("[content of type {kind}]"),
        Block::Binary(binary) => format!("[{}, which cannot be passed on]", binary.line()),
    }
}

pub(super) fn is_image(binary: &Binary) -> bool {
    binary.mime.as_deref().is_some_and(|mime| mime.starts_with("image/"))
}

/// `data:image/png;base64,…`
pub(super) fn data_url(binary: &Binary) -> String {
    format!("data:{};base64,{}", binary.mime.as_deref().unwrap_or("application/octet-stream"), binary.data)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::value::RawValue;

    use super::*;

    fn done(id: Option<&str>, outcome: Result<&str, &str>) -> Done {
        let asked = Asked { id: id.map(ToOwned::to_owned), name: "t".into(), arguments: Ok("{}".into()) };
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        Done { asked, outcome: outcome.map(raw).map_err(ToOwned::to_owned) }
    }

    const TEXT: &str = r#"{"content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}"#;
    const IMAGE: &str =
        r#"{"content":[{"type":"text","text":"see"},{"type":"image","mimeType":"image/png","data":"iVBO"}]}"#;
    const FAILED: &str = r#"{"content":[{"type":"text","text":"no"}],"isError":true}"#;
    const STRUCTURED: &str = r#"{"content":[],"structuredContent":{"n":12345678901234567890123}}"#;

    fn made(api: Api, outcome: Result<&str, &str>) -> String {
        messages(api, &[done(Some("1"), outcome)]).to_string()
    }

    #[test]
    fn anthropic_gets_one_message_with_blocks() {
        let all = [done(Some("1"), Ok(TEXT)), done(Some("2"), Err("unknown tool"))];
        assert_eq!(
            messages(Api::Anthropic, &all),
            json!([{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {"type": "tool_result", "tool_use_id": "2", "content": [{"type": "text", "text": "unknown tool"}], "is_error": true},
            ]}])
        );
        let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}});
        assert!(made(Api::Anthropic, Ok(IMAGE)).contains(&image.to_string()));
        assert!(made(Api::Anthropic, Ok(FAILED)).contains(r#""is_error":true"#));
        assert_eq!(
            made(Api::Anthropic, Ok(r#"{"content":[]}"#)),
            r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]"#
        );
        assert_eq!(
            made(Api::Anthropic, Ok(r#"{"content":[{"type":"text","text":""}]}"#)),
            r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1"}]}]"#
        );
        assert!(made(Api::Anthropic, Ok(STRUCTURED)).contains(r#"{\"n\":12345678901234567890123}"#));
        let svg = IMAGE.replace("image/png", "image/svg+xml");
        assert!(made(Api::Anthropic, Ok(&svg)).contains("[image/svg+xml, 3 B, which cannot be passed on]"));
    }

    #[test]
    fn openai_gets_a_message_a_call() {
        assert_eq!(made(Api::OpenAi, Ok(TEXT)), r#"[{"role":"tool","tool_call_id":"1","content":"a\nb"}]"#);
        assert_eq!(made(Api::OpenAi, Ok(FAILED)), r#"[{"role":"tool","tool_call_id":"1","content":"Error: no"}]"#);
        assert!(made(Api::OpenAi, Ok(IMAGE)).contains("see\\n[image/png, 3 B, which cannot be passed on]"));
        assert_eq!(
            made(Api::Responses, Ok(TEXT)),
            r#"[{"type":"function_call_output","call_id":"1","output":"a\nb"}]"#
        );
        assert_eq!(
            made(Api::Responses, Ok(IMAGE)),
            r#"[{"type":"function_call_output","call_id":"1","output":[{"type":"input_text","text":"see"},{"type":"input_image","image_url":"data:image/png;base64,iVBO","detail":"auto"}]}]"#
        );
    }

    #[test]
    fn gemini_gets_one_content_with_responses() {
        assert_eq!(
            messages(Api::Gemini, &[done(None, Ok(TEXT)), done(Some("7"), Ok(FAILED))]),
            json!([{"role": "user", "parts": [
                {"functionResponse": {"name": "t", "response": {"output": "a\nb"}}},
                {"functionResponse": {"name": "t", "response": {"error": "no"}, "id": "7"}},
            ]}])
        );
        assert!(made(Api::Gemini, Ok(STRUCTURED)).contains(r#""output":{"n":12345678901234567890123}"#));
        assert!(
            made(Api::Gemini, Ok(IMAGE)).contains(r#""parts":[{"inlineData":{"mimeType":"image/png","data":"iVBO"}}]"#)
        );
    }
}
