//! JSON documents that are printed, written into files and filtered.
//!
//! A document is text until a filter reads it. Then it becomes a value in the memory of the text, so that a large
//! result is not held twice.

use std::borrow::Cow;

use bytes::Bytes;
use jaq_json::Val;
use serde_json::value::RawValue;

use super::content::{ContentBlock, content_blocks};
use super::jq_value::{self, ReadError};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json_cursor::find_member;
use crate::protocol::json_string::decode_in_place;
use crate::protocol::rpc::RawJson;

/// A JSON document.
pub struct JsonDocument<'a>(DocumentContent<'a>);

enum DocumentContent<'a> {
    /// What a server sent.
    Raw(Cow<'a, RawValue>),
    /// A document of mcpipe.
    Text(Cow<'a, str>),
    /// What a filter read.
    Value(Val),
    /// Why a filter cannot read it.
    Unreadable(Failure),
}

impl<'a> From<&'a RawValue> for JsonDocument<'a> {
    fn from(raw: &'a RawValue) -> Self {
        JsonDocument(DocumentContent::Raw(Cow::Borrowed(raw)))
    }
}

impl From<RawJson> for JsonDocument<'_> {
    fn from(raw: RawJson) -> Self {
        JsonDocument(DocumentContent::Raw(Cow::Owned(raw)))
    }
}

impl<'a> From<Cow<'a, str>> for JsonDocument<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        JsonDocument(DocumentContent::Text(text))
    }
}

impl<'a> JsonDocument<'a> {
    /// An array of strings.
    #[must_use]
    pub fn from_strings<'s>(strings: impl IntoIterator<Item = &'s str>) -> Self {
        let values = strings.into_iter().map(|text| Val::utf8_str(Bytes::copy_from_slice(text.as_bytes())));
        JsonDocument(DocumentContent::Value(values.collect()))
    }

    /// What a server sent, unless a filter has read it.
    pub(super) fn raw(&self) -> Option<&RawValue> {
        match &self.0 {
            DocumentContent::Raw(raw) => Some(raw),
            _ => None,
        }
    }

    /// The text.
    ///
    /// # Errors
    /// If a filter could not read it.
    pub fn into_text(self) -> Result<Cow<'a, str>> {
        match self.0 {
            DocumentContent::Raw(Cow::Borrowed(raw)) => Ok(raw.get().into()),
            DocumentContent::Raw(Cow::Owned(raw)) => Ok(Box::<str>::from(raw).into_string().into()),
            DocumentContent::Text(text) => Ok(text),
            DocumentContent::Value(value) => Ok(jq_value::to_json(&value).into()),
            DocumentContent::Unreadable(failure) => Err(failure),
        }
    }

    /// The value, in the memory of the text if the document owns it.
    ///
    /// # Errors
    /// [`ErrorKind::Failed`] if it is nested too deeply, [`ErrorKind::Protocol`] if it is not JSON.
    pub(super) fn into_value(self) -> Result<Val> {
        if let DocumentContent::Value(value) = self.0 {
            return Ok(value);
        }
        jq_value::parse(self.into_text()?.into_owned()).map_err(|error| match error {
            ReadError::TooDeep => {
                Failure::new(ErrorKind::Failed, "the document is nested too deeply for a jq expression")
                    .hint("use --json without --jq or --expect")
            }
            ReadError::NotJson => Failure::new(ErrorKind::Protocol, "the document for a jq expression is not JSON"),
        })
    }

    /// The document for one of several filters. All of them share the value.
    #[must_use]
    pub fn shared_copy(&mut self) -> JsonDocument<'static> {
        let content = std::mem::replace(&mut self.0, DocumentContent::Value(Val::Null));
        match JsonDocument(content).into_value() {
            Ok(value) => {
                self.0 = DocumentContent::Value(value.clone());
                JsonDocument(DocumentContent::Value(value))
            }
            Err(failure) => {
                self.0 = DocumentContent::Unreadable(failure.clone());
                JsonDocument(DocumentContent::Unreadable(failure))
            }
        }
    }

    /// The structured content of this tool result, as its own JSON text: `structuredContent`, present even if it is
    /// `null` (`TOL-03`), else the only text, if that is JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if there is neither.
    pub fn into_structured(self) -> Result<Self> {
        let none = || {
            Failure::new(ErrorKind::Protocol, "the result has no structured content, and its text is not JSON")
                .hint("omit --structured, or use --json to see the whole result")
        };
        match self.0 {
            DocumentContent::Raw(Cow::Borrowed(raw)) => match find_structured(raw).ok_or_else(none)? {
                (json, false) => Ok(JsonDocument(DocumentContent::Text(json.into()))),
                (content, true) => decode(content.to_owned()).ok_or_else(none),
            },
            DocumentContent::Raw(Cow::Owned(raw)) => {
                let (part, is_encoded) = find_structured(&raw).ok_or_else(none)?;
                let (start, length) = (part.as_ptr().addr() - raw.get().as_ptr().addr(), part.len());
                let part = cut(Box::<str>::from(raw).into_string(), start, length);
                if is_encoded {
                    decode(part).ok_or_else(none)
                } else {
                    Ok(JsonDocument(DocumentContent::Text(part.into())))
                }
            }
            DocumentContent::Text(_) | DocumentContent::Value(_) | DocumentContent::Unreadable(_) => Err(none()),
        }
    }
}

/// The part of a tool result with its structured content, and whether that is the content of a JSON string.
fn find_structured(result: &RawValue) -> Option<(&str, bool)> {
    if let Some(json) = find_member(result.get(), "structuredContent") {
        return Some((json, false));
    }
    match content_blocks(result).as_deref() {
        Some([ContentBlock::Text(text)]) => Some((text.encoded(), true)),
        _ => None,
    }
}

/// The JSON document in the content of a JSON string, without copying it.
fn decode(content: String) -> Option<JsonDocument<'static>> {
    let mut bytes = content.into_bytes();
    let length = decode_in_place(&mut bytes)?;
    bytes.truncate(length);
    let text = String::from_utf8(bytes).ok()?;
    let json = text.trim();
    serde_json::from_str::<&RawValue>(json).ok()?;
    let (start, length) = (json.as_ptr().addr() - text.as_ptr().addr(), json.len());
    Some(JsonDocument(DocumentContent::Text(cut(text, start, length).into())))
}

/// A part of a text, in its memory.
fn cut(mut text: String, start: usize, length: usize) -> String {
    text.truncate(start + length);
    text.drain(..start);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn tol_03_structured_is_exact_and_present_by_key() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let structured = |text: &str| {
            let borrowed = raw(text);
            let borrowed = JsonDocument::from(&*borrowed).into_structured()?.into_text()?.into_owned();
            let owned = JsonDocument::from(raw(text)).into_structured()?.into_text()?.into_owned();
            assert_eq!(owned, borrowed);
            Ok::<_, Failure>(owned)
        };
        assert_eq!(structured(r#"{"structuredContent":null}"#).unwrap(), "null");
        assert_eq!(structured(r#"{"structuredContent":false,"content":[]}"#).unwrap(), "false");
        assert_eq!(structured(r#"{"structuredContent":{"a": 1E2, "a":2}}"#).unwrap(), r#"{"a": 1E2, "a":2}"#);
        assert_eq!(structured(r#"{"content":[{"type":"text","text":" {\"a\":1.0}\n"}]}"#).unwrap(), r#"{"a":1.0}"#);
        assert_eq!(structured(r#"{"content":[{"type":"text","text":"[\"\\ud83d\"]"}]}"#).unwrap(), r#"["\ud83d"]"#);
        for none in [
            r#"{"content":[{"type":"text","text":"no"}]}"#,
            r#"{"content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]}"#,
            "{}",
        ] {
            assert_eq!(structured(none).unwrap_err().kind(), ErrorKind::Protocol, "{none}");
        }
    }
}
