//! Content as servers send it: blocks of results, entries of resources, structured content.
//!
//! Read leniently; what cannot be read is kept as JSON.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::escape::collapse_whitespace;
use super::save::{FileData, FileNaming, FileSaver, decode_base64, decoded_length, write_decoded, write_file};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::JsonText;
use crate::protocol::json_cursor::{JsonCursor, find_member};

/// A content block, or one entry of a resource's `contents`.
#[derive(Clone, Debug)]
pub enum ContentBlock<'a> {
    /// Text.
    Text(JsonText<'a>),
    /// An image, audio, or the blob of a resource.
    Binary(BinaryContent<'a>),
    /// A `resource_link`, as the line that is shown for it.
    Link(String),
    /// A type that mcpipe does not know.
    Unknown(String),
    /// No content block at all: its raw JSON.
    Unparsed(Cow<'a, str>),
}

/// Binary content, still encoded.
#[derive(Clone, Debug, Default)]
pub struct BinaryContent<'a> {
    /// `image`, `audio` or `file`.
    pub kind: &'static str,
    /// `mimeType`.
    pub mime: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// `uri`.
    pub uri: Option<String>,
    /// Base64.
    pub data: Cow<'a, str>,
}

impl<'a> BinaryContent<'a> {
    /// The bytes as a whole.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        decode_base64(&self.data).ok_or_else(|| self.not_base64())
    }

    /// Writes the bytes, piece by piece.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it is not base64; nothing is written then. The first error of `write`.
    pub(super) fn write_bytes(&self, write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        decoded_length(&self.data).ok_or_else(|| self.not_base64())?;
        write_decoded(&self.data, write)
    }

    /// The data for a file.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if it is not base64.
    pub fn into_file_data(self) -> Result<FileData<'a>> {
        decoded_length(&self.data).ok_or_else(|| self.not_base64())?;
        Ok(FileData::Base64(self.data))
    }

    fn not_base64(&self) -> Failure {
        Failure::new(ErrorKind::Protocol, format!("the data of the {} is not base64", self.label()))
            .hint("use --json to see the whole result")
    }

    /// Writes it into a file of its own.
    ///
    /// # Errors
    /// When it is not base64, or cannot be written.
    pub fn save(&self, saver: &mut FileSaver) -> Result<PathBuf> {
        let naming = FileNaming {
            name: self.name.as_deref(),
            uri: self.uri.as_deref(),
            kind: self.kind,
            mime: self.mime.as_deref(),
        };
        decoded_length(&self.data).ok_or_else(|| self.not_base64())?;
        saver.save(naming, &FileData::Base64(Cow::Borrowed(&*self.data)))
    }

    fn label(&self) -> String {
        collapse_whitespace(self.uri.as_deref().or(self.mime.as_deref()).unwrap_or(self.kind))
    }

    /// URI, type and size.
    #[must_use]
    pub fn description(&self) -> String {
        let mut parts: Vec<String> = self.uri.iter().map(|uri| collapse_whitespace(uri)).collect();
        parts.push(collapse_whitespace(self.mime.as_deref().unwrap_or(self.kind)));
        parts.push(format_rounded_size(decoded_length(&self.data).unwrap_or(self.data.len()) as u64));
        parts.join(", ")
    }
}

/// A number of bytes for people: `950 B`, `12.3 kB`, `4.0 MB`.
#[must_use]
pub fn format_rounded_size(bytes: u64) -> String {
    let mut number = bytes as f64;
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    for unit in ["kB", "MB", "GB"] {
        number /= 1000.0;
        if number < 999.95 {
            return format!("{number:.1} {unit}");
        }
    }
    format!("{:.1} TB", number / 1000.0)
}

/// The members of a JSON object, as JSON.
pub(super) struct JsonObject<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> JsonObject<'a> {
    pub(super) fn new(json: &'a str) -> Option<Self> {
        Self::read(&mut JsonCursor::new(json))
    }

    /// Reads an object and moves behind it, or behind any other value.
    fn read(cursor: &mut JsonCursor<'a>) -> Option<Self> {
        if !cursor.enter_object() {
            cursor.take();
            return None;
        }
        let mut members = Vec::new();
        while let Some(name) = cursor.next_member() {
            members.push((name, cursor.take()));
        }
        Some(JsonObject(members))
    }

    pub(super) fn member(&self, name: &str) -> Option<&'a str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    /// Whether it has a member besides those of every tool result, for which `is_counted` is true.
    pub(super) fn has_more(&self, is_counted: impl Fn(&str) -> bool) -> bool {
        const KNOWN: [&str; 4] = ["content", "isError", "_meta", "resultType"];
        self.0.iter().any(|(name, value)| !KNOWN.contains(&&**name) && is_counted(value))
    }

    pub(super) fn member_text(&self, name: &str) -> Option<JsonText<'a>> {
        JsonText::new(self.member(name)?)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        Some(self.member_text(name)?.decode().into_owned())
    }
}

impl<'a> ContentBlock<'a> {
    /// Reads a content block of a tool result or prompt message.
    #[must_use]
    pub fn parse(json: &'a str) -> Self {
        Self::read(&mut JsonCursor::new(json))
    }

    /// Reads a block and moves behind it.
    fn read(cursor: &mut JsonCursor<'a>) -> Self {
        let start = *cursor;
        let block = JsonObject::read(cursor).and_then(|block| Self::from_members(&block));
        block.unwrap_or_else(|| ContentBlock::Unparsed(start.text_to(cursor).into()))
    }

    fn from_members(block: &JsonObject<'a>) -> Option<Self> {
        Some(match block.text("type")?.as_str() {
            "text" => ContentBlock::Text(block.member_text("text")?),
            "image" => ContentBlock::Binary(parse_binary(block, "image", "data")?),
            "audio" => ContentBlock::Binary(parse_binary(block, "audio", "data")?),
            "resource" => ContentBlock::parse_resource(block.member("resource")?)?,
            "resource_link" => ContentBlock::Link(link_text(block)?),
            other => ContentBlock::Unknown(other.to_owned()),
        })
    }

    /// Whether it is a text of white space only.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        matches!(self, ContentBlock::Text(text) if text.is_blank())
    }

    /// Reads an entry of `contents`, or the resource of an embedded one.
    fn parse_resource(json: &'a str) -> Option<Self> {
        let resource = JsonObject::new(json)?;
        match resource.member_text("text") {
            Some(text) => Some(ContentBlock::Text(text)),
            None => Some(ContentBlock::Binary(parse_binary(&resource, "file", "blob")?)),
        }
    }
}

fn parse_binary<'a>(block: &JsonObject<'a>, kind: &'static str, data: &str) -> Option<BinaryContent<'a>> {
    Some(BinaryContent {
        kind,
        mime: block.text("mimeType"),
        name: block.text("name"),
        uri: block.text("uri"),
        data: block.member_text(data)?.decode(),
    })
}

fn link_text(block: &JsonObject<'_>) -> Option<String> {
    let uri = collapse_whitespace(&block.text("uri")?);
    let mut line = match block.text("title").or_else(|| block.text("name")) {
        Some(name) => format!("link {} {uri}", collapse_whitespace(&name)),
        None => format!("link {uri}"),
    };
    if let Some(mime) = block.text("mimeType") {
        line += &format!(", {}", collapse_whitespace(&mime));
    }
    if let Some(bytes) = block.member("size").and_then(|size| size.parse().ok()) {
        line += &format!(", {}", format_rounded_size(bytes));
    }
    Some(format!("[{line}]"))
}

/// What is shown of a tool result, on standard output or in a file: its blocks, and as JSON its structured content if
/// there is no text, or all of it if there is nothing else. A malformed block is omitted: the failure that follows names
/// it.
pub(super) fn shown_blocks(result: &RawValue) -> Vec<ContentBlock<'_>> {
    let result_json = result.get();
    if let Some(text) = JsonText::new(result_json) {
        return vec![ContentBlock::Text(text)];
    }
    let structured = find_member(result_json, "structuredContent");
    let Some(mut blocks) = content_blocks(result) else {
        // Results with structured content only are common.
        let json = Some(structured.unwrap_or(result_json)).filter(|_| result_json != "null");
        return json.map(|json| ContentBlock::Unparsed(json.into())).into_iter().collect();
    };
    let malformed = blocks.extract_if(.., |block| matches!(block, ContentBlock::Unparsed(_))).count();
    let is_empty = blocks.is_empty() && malformed == 0;
    blocks.retain(|block| !matches!(block, ContentBlock::Text(text) if text.is_empty()));
    if blocks.iter().any(|block| matches!(block, ContentBlock::Text(text) if !text.is_blank())) {
        return blocks;
    }
    let has_more = || JsonObject::new(result_json).is_some_and(|all| all.has_more(|_| true));
    let json = structured.or_else(|| (is_empty && has_more()).then_some(result_json));
    blocks.extend(json.map(|json| ContentBlock::Unparsed(json.into())));
    blocks
}

/// The blocks of a tool result; `None` if it has no `content`.
#[must_use]
pub fn content_blocks(result: &RawValue) -> Option<Vec<ContentBlock<'_>>> {
    let mut cursor = find_value(result.get(), "content")?;
    (cursor.type_name() != "null").then(|| read_blocks(&mut cursor))
}

/// Content: a list of blocks; one block, as in prompts, or a bare string from some servers.
pub(super) fn parse_blocks(content: &str) -> Vec<ContentBlock<'_>> {
    read_blocks(&mut JsonCursor::new(content))
}

fn read_blocks<'a>(cursor: &mut JsonCursor<'a>) -> Vec<ContentBlock<'a>> {
    let mut blocks = Vec::new();
    if cursor.enter_list() {
        while cursor.next_item() {
            blocks.push(ContentBlock::read(cursor));
        }
    } else if cursor.type_name() == "a string" {
        blocks.extend(JsonText::new(cursor.take()).map(ContentBlock::Text));
    } else {
        blocks.push(ContentBlock::read(cursor));
    }
    blocks
}

/// At the value of the first member with this name.
fn find_value<'a>(object: &'a str, name: &str) -> Option<JsonCursor<'a>> {
    let mut cursor = JsonCursor::new(object);
    if !cursor.enter_object() {
        return None;
    }
    while let Some(member) = cursor.next_member() {
        if member == name {
            return Some(cursor);
        }
        cursor.take();
    }
    None
}

/// The items of a list in a result, as JSON.
pub(super) fn list_items<'a>(result: &'a RawValue, name: &str) -> Option<Vec<&'a str>> {
    let mut cursor = find_value(result.get(), name)?;
    if !cursor.enter_list() {
        return None;
    }
    let mut items = Vec::new();
    while cursor.next_item() {
        items.push(cursor.take());
    }
    Some(items)
}

/// The entries of a `resources/read` result; `None` if it has no list of them.
#[must_use]
pub fn resource_contents(result: &RawValue) -> Option<Vec<ContentBlock<'_>>> {
    fn read(json: &str) -> ContentBlock<'_> {
        ContentBlock::parse_resource(json).unwrap_or_else(|| ContentBlock::Unparsed(json.into()))
    }
    list_items(result, "contents").map(|all| all.into_iter().map(read).collect())
}

/// The blocks of all messages of a `prompts/get` result; `None` if it has no list of them.
#[must_use]
pub fn prompt_blocks(result: &RawValue) -> Option<Vec<ContentBlock<'_>>> {
    let contents =
        list_items(result, "messages")?.into_iter().filter_map(|message| JsonObject::new(message)?.member("content"));
    Some(contents.flat_map(parse_blocks).collect())
}

/// Whether a tool result holds nothing that could be shown.
#[must_use]
pub fn is_empty_result(result: &RawValue) -> bool {
    let more = JsonObject::new(result.get()).is_some_and(|all| all.has_more(|value| value != "null"));
    !more && content_blocks(result).unwrap_or_default().iter().all(ContentBlock::is_blank)
}

/// Whether a tool result has images, audio or other binary content.
#[must_use]
pub fn has_binary(result: &RawValue) -> bool {
    content_blocks(result).unwrap_or_default().iter().any(|block| matches!(block, ContentBlock::Binary(_)))
}

/// Writes a resource into the file that the user named.
///
/// # Errors
/// When something is not base64 or cannot be written.
pub fn write_resource(result: &RawValue, path: &Path) -> Result<()> {
    let all: Vec<FileData<'_>> = contents_entries(result)?.into_iter().map(entry_data).collect::<Result<_>>()?;
    write_file(path, &all)
}

/// The bytes of a resource.
///
/// # Errors
/// When something is not base64, or neither text nor blob.
pub fn resource_bytes(result: &RawValue) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for entry in contents_entries(result)? {
        entry_data(entry)?.write_pieces(|piece| -> Result<()> {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
    }
    Ok(bytes)
}

/// The MIME type of the first content of a resource.
#[must_use]
pub fn resource_mime(result: &RawValue) -> Option<String> {
    JsonObject::new(contents_entries(result).ok()?.first()?)?.text("mimeType")
}

pub(super) fn contents_entries(result: &RawValue) -> Result<Vec<&str>> {
    list_items(result, "contents").ok_or_else(|| {
        Failure::new(ErrorKind::Protocol, "the result has no array 'contents'")
            .hint("use --json to see the whole result")
    })
}

pub(super) fn entry_data(json: &str) -> Result<FileData<'_>> {
    match ContentBlock::parse_resource(json) {
        Some(ContentBlock::Text(text)) => Ok(FileData::Text(text)),
        Some(ContentBlock::Binary(binary)) => binary.into_file_data(),
        _ => Err(Failure::new(ErrorKind::Protocol, "an entry of the contents has neither text nor blob")
            .hint("use --json to see the whole result")),
    }
}
