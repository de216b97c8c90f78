//! Tool results as messages for the model that requested the calls.

use serde_json::{Value, json};

use super::ModelApi;
use super::reply::ModelToolCall;
use crate::output::content::{BinaryContent, ContentBlock, content_blocks};
use crate::protocol::json::{member, parse_value};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::is_error_result;

/// The type of PDF documents.
const PDF: &str = "application/pdf";

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

    /// Its content without blank texts, which some APIs reject. If no text is left, the structured content is added.
    /// That of a failure is never empty: "tool_result: content cannot be empty if `is_error` is true" (Anthropic).
    fn blocks(&self) -> Vec<ContentBlock<'_>> {
        let result = match &self.outcome {
            Ok(result) => result,
            Err(text) => return vec![ContentBlock::Unparsed(text.into())],
        };
        let mut found = content_blocks(result).unwrap_or_default();
        found.retain(|block| !block.is_blank());
        if !found.iter().any(|block| matches!(block, ContentBlock::Text(_))) {
            found.extend(self.structured_content().map(|value| ContentBlock::Unparsed(value.to_string().into())));
        }
        if found.is_empty() && self.has_failed() {
            found.push(ContentBlock::Unparsed("the tool failed without a message".into()));
        }
        found
    }

    fn structured_content(&self) -> Option<Value> {
        parse_value(member(self.outcome.as_ref().ok()?, "structuredContent")?.get()).filter(|value| !value.is_null())
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
    // "all content must be type `text` if `is_error` is true"
    let block = if done.has_failed() { anthropic_text } else { anthropic_block };
    let content: Vec<Value> = done.blocks().iter().map(block).collect();
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
        let (kind, mime) = match image_type(binary) {
            Some(mime) => ("image", mime),
            None if binary.mime.as_deref() == Some(PDF) => ("document", PDF),
            None => return anthropic_text(block),
        };
        let source = json!({"type": "base64", "media_type": mime, "data": binary.data});
        return json!({"type": kind, "source": source});
    }
    anthropic_text(block)
}

/// A content block for Anthropic, as text.
pub(super) fn anthropic_text(block: &ContentBlock<'_>) -> Value {
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

/// A content block for OpenAI's Responses: images and PDF documents as they are.
pub(super) fn responses_block(block: &ContentBlock<'_>) -> Value {
    if let ContentBlock::Binary(binary) = block {
        if let Some(url) = image_url(binary) {
            return json!({"type": "input_image", "image_url": url, "detail": "auto"});
        }
        if binary.mime.as_deref() == Some(PDF) {
            let name = binary.name.as_deref().unwrap_or("document.pdf");
            return json!({"type": "input_file", "filename": name, "file_data": data_url(PDF, binary)});
        }
    }
    json!({"type": "input_text", "text": block_text(block)})
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

/// The type of an image that Anthropic and OpenAI accept; they refuse a request with any other.
fn image_type(binary: &BinaryContent<'_>) -> Option<&'static str> {
    match binary.mime.as_deref()?.to_ascii_lowercase().as_str() {
        "image/png" => Some("image/png"),
        "image/jpeg" | "image/jpg" => Some("image/jpeg"),
        "image/gif" => Some("image/gif"),
        "image/webp" => Some("image/webp"),
        _ => None,
    }
}

/// An image as a URL for OpenAI.
pub(super) fn image_url(binary: &BinaryContent<'_>) -> Option<String> {
    image_type(binary).map(|mime| data_url(mime, binary))
}

/// `data:image/png;base64,…`
fn data_url(mime: &str, binary: &BinaryContent<'_>) -> String {
    format!("data:{mime};base64,{}", binary.data)
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

    const APIS: [ModelApi; 4] =
        [ModelApi::Anthropic, ModelApi::OpenAiChat, ModelApi::OpenAiResponses, ModelApi::Gemini];

    #[test]
    fn structured_content_is_sent_if_there_is_no_text() {
        for api in APIS {
            for blank in ["", " \\n"] {
                let blank =
                    format!(r#"{{"content":[{{"type":"text","text":"{blank}"}}],"structuredContent":{{"n":1}}}}"#);
                assert_eq!(made(api, Ok(&blank)), made(api, Ok(r#"{"structuredContent":{"n":1}}"#)), "{api:?}");
            }
            let null = IMAGE.replace("}]}", r#"}],"structuredContent":null}"#);
            assert_eq!(made(api, Ok(&null)), made(api, Ok(IMAGE)), "{api:?}");
        }
        let image = IMAGE.replace("see", "").replace("}]}", r#"}],"structuredContent":{"n":1}}"#);
        assert_eq!(
            made(ModelApi::OpenAiChat, Ok(&image)),
            r#"[{"role":"tool","tool_call_id":"1","content":"[image/png, 3 B omitted: not supported by the API]\n{\"n\":1}"}]"#
        );
        assert_eq!(
            made(ModelApi::Gemini, Ok(&image)),
            r#"[{"role":"user","parts":[{"functionResponse":{"name":"t","response":{"output":{"n":1}},"id":"1","parts":[{"inlineData":{"mimeType":"image/png","data":"iVBO"}}]}}]}]"#
        );
    }

    #[test]
    fn anthropic_gets_no_blank_text_and_only_text_of_a_failure() {
        let failed = IMAGE.replace("}]}", r#"},{"type":"text","text":"\n"}],"isError":true}"#);
        assert_eq!(
            made(ModelApi::Anthropic, Ok(&failed)),
            r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"see"},{"type":"text","text":"[image/png, 3 B omitted: not supported by the API]"}],"is_error":true}]}]"#
        );
    }

    #[test]
    fn a_failure_always_has_a_text() {
        for content in ["", r#"{"type":"text","text":" "}"#] {
            let failed = format!(r#"{{"content":[{content}],"isError":true}}"#);
            assert_eq!(
                made(ModelApi::Anthropic, Ok(&failed)),
                r#"[{"role":"user","content":[{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"the tool failed without a message"}],"is_error":true}]}]"#
            );
            for api in APIS {
                assert!(made(api, Ok(&failed)).contains("the tool failed without a message"), "{api:?}");
            }
        }
    }

    #[test]
    fn images_of_a_type_that_no_api_accepts_are_described() {
        let of = |mime: &str| made(ModelApi::OpenAiResponses, Ok(&IMAGE.replace("image/png", mime)));
        for mime in ["image/svg+xml", "image/bmp", "image/heic"] {
            let text = format!(
                r#"{{"type":"function_call_output","call_id":"1","output":"see\n[{mime}, 3 B omitted: not supported by the API]"}}"#
            );
            assert_eq!(of(mime), format!("[{text}]"));
        }
        assert!(of("image/jpg").contains("data:image/jpeg;base64,iVBO"));
        assert!(of("IMAGE/GIF").contains("data:image/gif;base64,iVBO"));
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
