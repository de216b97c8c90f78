//! Prompts as the messages of a conversation.

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::ModelApi;
use super::results::{anthropic_block, anthropic_text, block_text, gemini_inline_data, image_url, responses_block};
use crate::output::content::{BinaryContent, ContentBlock};
use crate::protocol::json::{JsonText, member, parse_value};

/// The messages of a `prompts/get` result, as a JSON array for this API; `None` if it has no list of messages.
#[must_use]
pub fn prompt_messages(api: ModelApi, result: &RawValue) -> Option<Value> {
    let all: Vec<&RawValue> = serde_json::from_str(member(result, "messages")?.get()).ok()?;
    let mut messages: Vec<(bool, Vec<Value>)> = Vec::new();
    for message in all {
        let role = member(message, "role").and_then(|raw| parse_value(raw.get()));
        let from_model = role.is_some_and(|role| role == "assistant");
        let content = member(message, "content");
        // All revisions: one block. Some servers send several blocks, or a plain string.
        let blocks: Vec<ContentBlock<'_>> = match content.map(RawValue::get) {
            None => Vec::new(),
            Some(list) if list.starts_with('[') => {
                let items: Vec<&RawValue> = serde_json::from_str(list).unwrap_or_default();
                items.into_iter().map(|item| ContentBlock::parse(item.get())).collect()
            }
            Some(text) if text.starts_with('"') => JsonText::new(text).map(ContentBlock::Text).into_iter().collect(),
            Some(block) => vec![ContentBlock::parse(block)],
        };
        // Some APIs refuse a blank text, or a message without content.
        let blocks = blocks.iter().filter(|block| !block.is_blank());
        let parts: Vec<Value> = blocks.map(|block| content_part(api, from_model, block)).collect();
        match messages.last_mut() {
            _ if parts.is_empty() => {}
            // Consecutive messages of the same role are merged: some APIs require alternating roles.
            Some((role, before)) if *role == from_model => before.extend(parts),
            _ => messages.push((from_model, parts)),
        }
    }
    Some(messages.into_iter().map(|(from_model, parts)| model_message(api, from_model, parts)).collect())
}

fn model_message(api: ModelApi, from_model: bool, parts: Vec<Value>) -> Value {
    let role = match (from_model, api) {
        (false, _) => "user",
        (true, ModelApi::Gemini) => "model",
        (true, _) => "assistant",
    };
    match api {
        ModelApi::Gemini => json!({"role": role, "parts": parts}),
        // The parts of the model's own messages have ids, which a prompt does not have; text needs none.
        ModelApi::OpenAiResponses if from_model => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            json!({"role": role, "content": texts.join("\n")})
        }
        _ => json!({"role": role, "content": parts}),
    }
}

fn content_part(api: ModelApi, from_model: bool, block: &ContentBlock<'_>) -> Value {
    match api {
        // The API accepts only text in the model's own messages.
        ModelApi::Anthropic if from_model => anthropic_text(block),
        ModelApi::Anthropic => anthropic_block(block),
        ModelApi::OpenAiChat => chat_part(from_model, block),
        ModelApi::OpenAiResponses if from_model => json!({"type": "input_text", "text": block_text(block)}),
        ModelApi::OpenAiResponses => responses_block(block),
        ModelApi::Gemini => match block {
            ContentBlock::Binary(binary) if binary.mime.is_some() => gemini_inline_data(binary),
            other => json!({"text": block_text(other)}),
        },
    }
}

fn chat_part(from_model: bool, block: &ContentBlock<'_>) -> Value {
    if let ContentBlock::Binary(binary) = block
        && !from_model
    {
        if let Some(url) = image_url(binary) {
            return json!({"type": "image_url", "image_url": {"url": url}});
        }
        if let Some(format) = audio_format(binary) {
            return json!({"type": "input_audio", "input_audio": {"data": binary.data, "format": format}});
        }
    }
    json!({"type": "text", "text": block_text(block)})
}

/// OpenAI's name for an audio format.
fn audio_format(binary: &BinaryContent<'_>) -> Option<&'static str> {
    match binary.mime.as_deref()? {
        "audio/wav" | "audio/x-wav" | "audio/wave" => Some("wav"),
        "audio/mpeg" | "audio/mp3" => Some("mp3"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PROMPT: &str = r#"{"messages":[
        {"role":"user","content":{"type":"text","text":"Look:"}},
        {"role":"user","content":{"type":"image","mimeType":"image/png","data":"iVBO"}},
        {"role":"assistant","content":{"type":"text","text":"I see."}},
        {"role":"user","content":{"type":"resource","resource":{"uri":"file:///a","text":"body"}}}]}"#;

    fn converted(api: ModelApi, result: &str) -> Option<Value> {
        prompt_messages(api, &RawValue::from_string(result.to_owned()).unwrap())
    }

    #[test]
    fn each_api_gets_its_messages() {
        let text = |kind: &str, text: &str| json!({"type": kind, "text": text});
        assert_eq!(
            converted(ModelApi::Anthropic, PROMPT).unwrap(),
            json!([
                {"role": "user", "content": [text("text", "Look:"),
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}]},
                {"role": "assistant", "content": [text("text", "I see.")]},
                {"role": "user", "content": [text("text", "body")]},
            ])
        );
        assert_eq!(
            converted(ModelApi::OpenAiChat, PROMPT).unwrap(),
            json!([
                {"role": "user", "content": [text("text", "Look:"),
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]},
                {"role": "assistant", "content": [text("text", "I see.")]},
                {"role": "user", "content": [text("text", "body")]},
            ])
        );
        assert_eq!(
            converted(ModelApi::OpenAiResponses, PROMPT).unwrap(),
            json!([
                {"role": "user", "content": [text("input_text", "Look:"),
                    {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "auto"}]},
                {"role": "assistant", "content": "I see."},
                {"role": "user", "content": [text("input_text", "body")]},
            ])
        );
        assert_eq!(
            converted(ModelApi::Gemini, PROMPT).unwrap(),
            json!([
                {"role": "user", "parts": [{"text": "Look:"}, {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}]},
                {"role": "model", "parts": [{"text": "I see."}]},
                {"role": "user", "parts": [{"text": "body"}]},
            ])
        );
    }

    #[test]
    fn blank_texts_and_messages_without_content_are_left_out() {
        let prompt = r#"{"messages":[
            {"role":"user","content":{"type":"text","text":"a"}},
            {"role":"assistant","content":{"type":"text","text":"\n"}},
            {"role":"assistant"},
            {"role":"user","content":[{"type":"text","text":""},{"type":"text","text":"b"}]}]}"#;
        let text = |kind: &str, text: &str| json!({"type": kind, "text": text});
        for (api, kind) in
            [(ModelApi::Anthropic, "text"), (ModelApi::OpenAiChat, "text"), (ModelApi::OpenAiResponses, "input_text")]
        {
            let expected = json!([{"role": "user", "content": [text(kind, "a"), text(kind, "b")]}]);
            assert_eq!(converted(api, prompt).unwrap(), expected);
        }
        let parts = json!([{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]);
        assert_eq!(converted(ModelApi::Gemini, prompt).unwrap(), parts);
    }

    #[test]
    fn unusual_content_is_kept_and_audio_is_converted() {
        let of = |content: &str| {
            converted(ModelApi::OpenAiChat, &format!(r#"{{"messages":[{{"role":"user","content":{content}}}]}}"#))
        };
        let part = |content: &str| of(content).unwrap()[0]["content"][0].clone();
        assert_eq!(part(r#""bare""#), json!({"type": "text", "text": "bare"}));
        assert_eq!(part(r#"[{"type":"text","text":"a"}]"#), json!({"type": "text", "text": "a"}));
        let wav = json!({"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}});
        assert_eq!(part(r#"{"type":"audio","mimeType":"audio/wav","data":"UklG"}"#), wav);
        assert_eq!(converted(ModelApi::OpenAiChat, r#"{"messages":7}"#), None);
        assert_eq!(converted(ModelApi::OpenAiChat, "{}"), None);
    }
}
