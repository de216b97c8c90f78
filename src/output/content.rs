//! Content as servers send it: blocks of results, entries of resources, structured content.
//!
//! Read leniently; what cannot be read is kept as JSON.

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::escape::flat;
use super::json::unquote;
use super::save::{Naming, Saver, decode, write_file};
use crate::error::{Class, Failure, Result};
use crate::protocol::views::{member, members};

/// A content block, or one entry of a resource's `contents`.
#[derive(Clone, Debug)]
pub enum Block {
    /// Text.
    Text(String),
    /// An image, audio, or the blob of a resource.
    Binary(Binary),
    /// A `resource_link`, as the line that stands for it.
    Link(String),
    /// A type that mcpipe does not know.
    Unknown(String),
    /// No content block at all: its raw JSON.
    Odd(String),
}

/// Binary content, still encoded.
#[derive(Clone, Debug, Default)]
pub struct Binary {
    /// `image`, `audio` or `file`.
    pub kind: &'static str,
    /// `mimeType`.
    pub mime: Option<String>,
    /// `name`.
    pub name: Option<String>,
    /// `uri`.
    pub uri: Option<String>,
    /// Base64.
    pub data: String,
}

impl Binary {
    /// The bytes.
    ///
    /// # Errors
    /// [`Class::Protocol`] where it is not base64.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        decode(&self.data).ok_or_else(|| {
            Failure::new(Class::Protocol, format!("the data of the {} is not base64", self.label()))
                .hint("--json shows what came")
        })
    }

    /// Writes it into a file of its own.
    ///
    /// # Errors
    /// When it is not base64, or cannot be written.
    pub fn save(&self, saver: &mut Saver) -> Result<PathBuf> {
        let naming = Naming {
            name: self.name.as_deref(),
            uri: self.uri.as_deref(),
            kind: self.kind,
            mime: self.mime.as_deref(),
        };
        saver.save(naming, &self.bytes()?)
    }

    fn label(&self) -> String {
        flat(self.uri.as_deref().or(self.mime.as_deref()).unwrap_or(self.kind))
    }

    /// URI, type and size.
    #[must_use]
    pub fn line(&self) -> String {
        let mut parts: Vec<String> = self.uri.iter().map(|uri| flat(uri)).collect();
        parts.push(flat(self.mime.as_deref().unwrap_or(self.kind)));
        parts.push(size(decode(&self.data).map_or(self.data.len(), |bytes| bytes.len()) as u64));
        parts.join(", ")
    }
}

/// A number of bytes for people: `950 B`, `12.3 kB`, `4.0 MB`.
#[must_use]
pub fn size(bytes: u64) -> String {
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

/// The members of a JSON object, to be picked from.
pub(super) struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    pub(super) fn new(raw: &'a RawValue) -> Option<Self> {
        members(raw).map(Object)
    }

    pub(super) fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        unquote(self.raw(name)?.get())
    }
}

impl Block {
    /// Reads a content block of a tool result or prompt message.
    #[must_use]
    pub fn read(raw: &RawValue) -> Self {
        Self::known(raw).unwrap_or_else(|| Block::Odd(raw.get().to_owned()))
    }

    fn known(raw: &RawValue) -> Option<Self> {
        let block = Object::new(raw)?;
        Some(match block.text("type")?.as_str() {
            "text" => Block::Text(block.text("text")?),
            "image" => Block::Binary(binary(&block, "image", "data")?),
            "audio" => Block::Binary(binary(&block, "audio", "data")?),
            "resource" => Block::of_resource(block.raw("resource")?)?,
            "resource_link" => Block::Link(link(&block)?),
            other => Block::Unknown(other.to_owned()),
        })
    }

    /// Reads an entry of `contents`, or the resource of an embedded one.
    fn of_resource(raw: &RawValue) -> Option<Self> {
        let resource = Object::new(raw)?;
        match resource.text("text") {
            Some(text) => Some(Block::Text(text)),
            None => Some(Block::Binary(binary(&resource, "file", "blob")?)),
        }
    }
}

fn binary(block: &Object<'_>, kind: &'static str, data: &str) -> Option<Binary> {
    Some(Binary {
        kind,
        mime: block.text("mimeType"),
        name: block.text("name"),
        uri: block.text("uri"),
        data: block.text(data)?,
    })
}

fn link(block: &Object<'_>) -> Option<String> {
    let uri = flat(&block.text("uri")?);
    let mut line = match block.text("title").or_else(|| block.text("name")) {
        Some(name) => format!("link {} {uri}", flat(&name)),
        None => format!("link {uri}"),
    };
    if let Some(mime) = block.text("mimeType") {
        line += &format!(", {}", flat(&mime));
    }
    if let Some(bytes) = block.raw("size").and_then(|raw| raw.get().parse().ok()) {
        line += &format!(", {}", size(bytes));
    }
    Some(format!("[{line}]"))
}

/// The blocks of a tool result; `None` where its `content` is not a list.
#[must_use]
pub fn blocks(result: &RawValue) -> Option<Vec<Block>> {
    list(result, "content").map(|all| all.into_iter().map(Block::read).collect())
}

pub(super) fn list<'a>(result: &'a RawValue, name: &str) -> Option<Vec<&'a RawValue>> {
    serde_json::from_str(member(result, name)?.get()).ok()
}

/// The entries of a `resources/read` result; `None` where it has no list of them.
#[must_use]
pub fn contents(result: &RawValue) -> Option<Vec<Block>> {
    let read = |raw: &RawValue| Block::of_resource(raw).unwrap_or_else(|| Block::Odd(raw.get().to_owned()));
    list(result, "contents").map(|all| all.into_iter().map(read).collect())
}

/// Whether a tool result holds nothing that could be shown.
#[must_use]
pub fn says_nothing(result: &RawValue) -> bool {
    let silent = |block: &Block| matches!(block, Block::Text(text) if text.trim().is_empty());
    let more = members(result).unwrap_or_default().into_iter().any(|(name, value)| {
        !["content", "isError", "_meta", "resultType"].contains(&name.as_str()) && value.get() != "null"
    });
    !more && blocks(result).unwrap_or_default().iter().all(silent)
}

/// Structured content as its own JSON text: `structuredContent`, present even where it is `null`
/// (`TOL-03`), else the only text, where that is JSON.
///
/// # Errors
/// [`Class::Protocol`] where there is neither.
pub fn structured(result: &RawValue) -> Result<String> {
    if let Some(raw) = member(result, "structuredContent") {
        return Ok(raw.get().to_owned());
    }
    if let Some([Block::Text(text)]) = blocks(result).as_deref()
        && serde_json::from_str::<&RawValue>(text.trim()).is_ok()
    {
        return Ok(text.trim().to_owned());
    }
    Err(Failure::new(Class::Protocol, "the result has no structured content, and its text is not JSON")
        .hint("leave out --structured, or see all that came with --json"))
}

/// Writes the binary blocks of a tool result into files.
///
/// # Errors
/// When one is not base64 or cannot be written; those before it are there.
pub fn save_blocks(result: &RawValue, directory: &Path) -> Result<Vec<PathBuf>> {
    let mut saver = Saver::new(directory)?;
    let mut paths = Vec::new();
    for block in blocks(result).unwrap_or_default() {
        if let Block::Binary(binary) = block {
            paths.push(binary.save(&mut saver)?);
        }
    }
    Ok(paths)
}

/// A resource into the one file that the user named.
///
/// # Errors
/// When something is not base64 or cannot be written.
pub fn write_contents(result: &RawValue, path: &Path) -> Result<()> {
    write_file(path, &bytes_of_contents(result)?)
}

/// The bytes of a resource.
///
/// # Errors
/// When something is not base64, or neither text nor blob.
pub fn bytes_of_contents(result: &RawValue) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for raw in entries(result)? {
        bytes.extend(bytes_of(raw)?);
    }
    Ok(bytes)
}

pub(super) fn entries(result: &RawValue) -> Result<Vec<&RawValue>> {
    list(result, "contents").ok_or_else(|| {
        Failure::new(Class::Protocol, "the result has no list of contents").hint("--json shows what came")
    })
}

pub(super) fn bytes_of(raw: &RawValue) -> Result<Vec<u8>> {
    match Block::of_resource(raw) {
        Some(Block::Text(text)) => Ok(text.into_bytes()),
        Some(Block::Binary(binary)) => binary.bytes(),
        _ => Err(Failure::new(Class::Protocol, "an entry of the contents has neither text nor blob")
            .hint("--json shows what came")),
    }
}
