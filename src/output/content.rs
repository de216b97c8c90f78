//! Results of calls, reads and prompts in their form for people (contract §2).
//!
//! Nothing is lost: what has no form of its own is shown as JSON.

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use super::escape::flat;
use super::json::unquote;
use super::save::{Naming, Saver, decode, write_file};
use super::{Style, Ui};
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
    fn line(&self) -> String {
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
struct Object<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Object<'a> {
    fn new(raw: &'a RawValue) -> Option<Self> {
        members(raw).map(Object)
    }

    fn raw(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<String> {
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

fn list<'a>(result: &'a RawValue, name: &str) -> Option<Vec<&'a RawValue>> {
    serde_json::from_str(member(result, name)?.get()).ok()
}

/// The entries of a `resources/read` result; `None` where it has no list of them.
#[must_use]
pub fn contents(result: &RawValue) -> Option<Vec<Block>> {
    let read = |raw: &RawValue| Block::of_resource(raw).unwrap_or_else(|| Block::Odd(raw.get().to_owned()));
    list(result, "contents").map(|all| all.into_iter().map(read).collect())
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

impl Ui {
    /// A tool result for people: text as it is, each block ending its line; binary blocks as one line,
    /// or written into files in `save`, whose names are printed; structured content where there is no text.
    ///
    /// # Errors
    /// When it cannot be written, or a block to be saved is not base64 (after all others were printed).
    pub fn tool_result(&self, result: &RawValue, save: Option<&Path>) -> Result<()> {
        let Some(blocks) = blocks(result) else {
            // No list of content, but structured content alone is common enough.
            let only = if member(result, "content").is_none() { member(result, "structuredContent") } else { None };
            return self.json_pretty(only.unwrap_or(result).get());
        };
        self.blocks(&blocks, save.map(Saver::new).transpose()?, "--save DIR writes it")?;
        if blocks.iter().any(|block| matches!(block, Block::Text(text) if !text.trim().is_empty())) {
            return Ok(());
        }
        if let Some(structured) = member(result, "structuredContent") {
            return self.json_pretty(structured.get());
        }
        let known = ["content", "isError", "_meta", "resultType"];
        let more = members(result).is_some_and(|all| all.iter().any(|(key, _)| !known.contains(&key.as_str())));
        if blocks.is_empty() && more { self.json_pretty(result.get()) } else { Ok(()) }
    }

    /// The structured content alone, exact.
    ///
    /// # Errors
    /// [`Class::Protocol`] where there is none.
    pub fn structured(&self, result: &RawValue) -> Result<()> {
        self.json_text(&structured(result)?)
    }

    /// A prompt for people: each message under its role.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn prompt_result(&self, result: &RawValue) -> Result<()> {
        let Some(messages) = list(result, "messages") else { return self.json_pretty(result.get()) };
        for (index, message) in messages.into_iter().enumerate() {
            if index > 0 {
                self.text("\n")?;
            }
            let read = Object::new(message);
            let Some((role, content)) = read.as_ref().and_then(|all| Some((all.text("role")?, all.raw("content")?)))
            else {
                self.json_pretty(message.get())?;
                continue;
            };
            let role = flat(&role);
            self.put_line(&self.paint(Style::BOLD, &format!("[{}]", self.shown(&role))))?;
            // One block by the specification, a list or a bare string by some servers.
            let blocks = match (serde_json::from_str::<Vec<&RawValue>>(content.get()), unquote(content.get())) {
                (Ok(all), _) => all.into_iter().map(Block::read).collect(),
                (_, Some(text)) => vec![Block::Text(text)],
                _ => vec![Block::read(content)],
            };
            self.blocks(&blocks, None, "--json shows it")?;
        }
        Ok(())
    }

    /// A resource: text and bytes exactly, nothing added. Bytes are not written to a terminal.
    ///
    /// # Errors
    /// [`Class::Usage`] where there are bytes and standard output is a terminal; nothing is printed then.
    pub fn read_result(&self, result: &RawValue) -> Result<()> {
        let Some(contents) = contents(result) else { return self.json_pretty(result.get()) };
        if let Some(Block::Binary(binary)) = contents.iter().find(|block| matches!(block, Block::Binary(_)))
            && self.terminal.stdout
        {
            let message = format!("binary content is not written to a terminal ({})", binary.line());
            return Err(Failure::new(Class::Usage, message).hint("add '--save DIR' or '-o FILE', or pipe it"));
        }
        if contents.is_empty() {
            self.warn("the server sent no content for this resource");
        }
        for block in contents {
            match block {
                Block::Text(text) => self.text(&text)?,
                Block::Binary(binary) => self.bytes(&binary.bytes()?)?,
                Block::Link(text) | Block::Unknown(text) | Block::Odd(text) => self.json_pretty(&text)?,
            }
        }
        Ok(())
    }

    /// A resource into files in `directory`, whose names are printed.
    ///
    /// # Errors
    /// When something is not base64 or cannot be written.
    pub fn read_result_saved(&self, result: &RawValue, directory: &Path) -> Result<()> {
        let mut saver = Saver::new(directory)?;
        for raw in entries(result)? {
            let entry = Object::new(raw);
            let text = |name: &str| entry.as_ref().and_then(|entry| entry.text(name));
            let (name, uri, mime) = (text("name"), text("uri"), text("mimeType"));
            let mime = mime.as_deref().or(text("text").is_some().then_some("text/plain"));
            let naming = Naming { name: name.as_deref(), uri: uri.as_deref(), kind: "file", mime };
            self.path(&saver.save(naming, &bytes_of(raw)?)?)?;
        }
        Ok(())
    }

    fn blocks(&self, blocks: &[Block], mut saver: Option<Saver>, how: &str) -> Result<()> {
        let mut failed = None;
        for block in blocks {
            match block {
                Block::Text(text) if text.is_empty() => {}
                Block::Text(text) => self.line(text)?,
                Block::Link(line) => self.put_line(&self.paint(Style::DIM, &self.shown(line)))?,
                Block::Unknown(kind) => {
                    self.put_line(&self.paint(
                        Style::DIM,
                        &format!("[unknown content type '{}'; --json shows it]", self.shown(&flat(kind))),
                    ))?;
                }
                Block::Odd(json) => self.json_pretty(json)?,
                Block::Binary(binary) => match saver.as_mut().map(|saver| binary.save(saver)) {
                    None => {
                        self.put_line(&self.paint(Style::DIM, &format!("[{}; {how}]", self.shown(&binary.line()))))?
                    }
                    Some(Ok(path)) => self.path(&path)?,
                    Some(Err(failure)) => failed = failed.or(Some(failure)),
                },
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn path(&self, path: &Path) -> Result<()> {
        let text = path.to_string_lossy();
        if self.terminal.stdout {
            self.line(&text)
        } else {
            self.bytes(&[path.as_os_str().as_encoded_bytes(), b"\n"].concat())
        }
    }
}

/// A resource into the one file that the user named.
///
/// # Errors
/// When something is not base64 or cannot be written.
pub fn write_contents(result: &RawValue, path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    for raw in entries(result)? {
        bytes.extend(bytes_of(raw)?);
    }
    write_file(path, &bytes)
}

fn entries(result: &RawValue) -> Result<Vec<&RawValue>> {
    list(result, "contents").ok_or_else(|| {
        Failure::new(Class::Protocol, "the result has no list of contents").hint("--json shows what came")
    })
}

fn bytes_of(raw: &RawValue) -> Result<Vec<u8>> {
    match Block::of_resource(raw) {
        Some(Block::Text(text)) => Ok(text.into_bytes()),
        Some(Block::Binary(binary)) => binary.bytes(),
        _ => Err(Failure::new(Class::Protocol, "an entry of the contents has neither text nor blob")
            .hint("--json shows what came")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::*;
    use super::super::{Terminal, UiOptions};
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    /// What a tool result looks like in a pipe.
    fn piped(result: &str) -> String {
        both(|ui| ui.tool_result(&raw(result), None)).0
    }

    #[test]
    fn tol_04_every_type_has_a_form() {
        let result = r#"{"content":[
            {"type":"text","text":"one\n"},{"type":"text","text":"two\u001b[2J"},
            {"type":"image","data":"AAAA","mimeType":"image/png"},{"type":"audio","data":"%%"},
            {"type":"resource_link","uri":"demo://a","name":"a b","mimeType":"x/y","size":12345},
            {"type":"resource_link","uri":"demo://a"},
            {"type":"resource","resource":{"uri":"demo://t","text":"embedded"}},
            {"type":"resource","resource":{"uri":"demo://b","mimeType":"application/pdf","blob":"AAAAAA=="}},
            {"type":"hologram","x":1},{"type":"text","text":7},5
        ],"structuredContent":{"a":1}}"#;
        let expected = "one\ntwo\x1b[2J\n[image/png, 3 B; --save DIR writes it]\n[audio, 2 B; --save DIR writes it]\n\
            [link a b demo://a, x/y, 12.3 kB]\n[link demo://a]\nembedded\n\
            [demo://b, application/pdf, 4 B; --save DIR writes it]\n[unknown content type 'hologram'; --json shows it]\n\
            {\n  \"type\": \"text\",\n  \"text\": 7\n}\n5\n";
        let (pipe, terminal) = both(|ui| ui.tool_result(&raw(result), None));
        assert_eq!(pipe, expected);
        assert_eq!(terminal, expected.replace('\x1b', "\\x1b"));
    }

    #[test]
    fn structured_content_stands_in_for_text_to_the_digit() {
        let big = r#"{"content":[],"structuredContent":{"n":12345678901234567890}}"#;
        assert_eq!(piped(big), "{\n  \"n\": 12345678901234567890\n}\n");
        assert_eq!(piped(r#"{"content":[{"type":"text","text":""}],"structuredContent":null}"#), "null\n");
        assert_eq!(piped(r#"{"structuredContent":0}"#), "0\n");
        assert_eq!(piped(r#"{"content":[{"type":"text","text":"x"}],"structuredContent":42}"#), "x\n");
    }

    #[test]
    fn odd_results_are_shown_as_json() {
        assert_eq!(piped(r#"{"content":"x"}"#), "{\n  \"content\": \"x\"\n}\n");
        assert_eq!(piped(r#"{"content":{"a":1},"structuredContent":2}"#).lines().count(), 6);
        assert_eq!(piped(r#"{"toolResult":1}"#), "{\n  \"toolResult\": 1\n}\n");
        assert_eq!(piped(r#"{"content":[],"toolResult":1}"#).lines().count(), 4);
        assert_eq!(piped(r#"{"content":[],"isError":false,"_meta":{}}"#), "");
        assert_eq!(piped("[1]"), "[\n  1\n]\n");
        assert_eq!(piped("null"), "null\n");
    }

    #[test]
    fn half_a_surrogate_pair_loses_nothing_else() {
        assert_eq!(piped(r#"{"content":[{"type":"text","text":"a\ud800b"}]}"#), "a\u{fffd}b\n");
    }

    #[test]
    fn tol_03_structured_is_exact_and_present_by_key() {
        let structured = |text: &str| structured(&raw(text));
        assert_eq!(structured(r#"{"structuredContent":null}"#).unwrap(), "null");
        assert_eq!(structured(r#"{"structuredContent":false,"content":[]}"#).unwrap(), "false");
        assert_eq!(structured(r#"{"structuredContent":{"a": 1E2, "a":2}}"#).unwrap(), r#"{"a": 1E2, "a":2}"#);
        assert_eq!(structured(r#"{"content":[{"type":"text","text":" {\"a\":1.0}\n"}]}"#).unwrap(), r#"{"a":1.0}"#);
        for none in [
            r#"{"content":[{"type":"text","text":"no"}]}"#,
            r#"{"content":[{"type":"text","text":"1"},{"type":"text","text":"2"}]}"#,
            "{}",
        ] {
            assert_eq!(structured(none).unwrap_err().class(), Class::Protocol, "{none}");
        }
    }

    #[test]
    fn save_writes_files_and_prints_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let seen = ui(UiOptions::default(), Terminal::default());
        let result =
            raw(r#"{"content":[{"type":"image","data":"AAEC","mimeType":"image/png"},{"type":"image","data":"%"},
                {"type":"text","text":"t"},{"type":"resource","resource":{"uri":"x://h/../b.bin","blob":"AA"}}]}"#);
        let failure = seen.ui.tool_result(&result, Some(directory.path())).unwrap_err();
        assert_eq!(failure.class(), Class::Protocol);
        let path = |name: &str| directory.path().join(name);
        assert_eq!(seen.out.text(), format!("{}\nt\n{}\n", path("image-1.png").display(), path("b.bin").display()));
        assert_eq!(std::fs::read(path("image-1.png")).unwrap(), [0, 1, 2]);
        assert_eq!(std::fs::read(path("b.bin")).unwrap(), [0]);
    }

    #[test]
    fn prompts_show_messages_under_their_roles() {
        let result = raw(r#"{"messages":[{"role":"user","content":{"type":"text","text":"a"}},
                {"role":"assistant","content":[{"type":"text","text":"b"},{"type":"image","data":"AA","mimeType":"i/p"}]},
                {"role":"us\u001ber","content":"bare"},{"role":"x"}]}"#);
        let expected =
            "[user]\na\n\n[assistant]\nb\n[i/p, 1 B; --json shows it]\n\n[us\x1ber]\nbare\n\n{\n  \"role\": \"x\"\n}\n";
        let (pipe, terminal) = both(|ui| ui.prompt_result(&result));
        assert_eq!(pipe, expected);
        assert_eq!(terminal, expected.replace('\x1b', "\\x1b"));
        assert_eq!(both(|ui| ui.prompt_result(&raw("{}"))).0, "{}\n");
    }

    #[test]
    fn resources_are_exact_and_no_bytes_reach_a_terminal() {
        let text = raw(r#"{"contents":[{"uri":"a","text":"one"},{"uri":"b","text":"two\n"}]}"#);
        assert_eq!(both(|ui| ui.read_result(&text)).0, "onetwo\n");
        let blob = raw(r#"{"contents":[{"uri":"a","text":"x"},{"uri":"b","mimeType":"image/png","blob":"AAEC"}]}"#);
        let seen = ui(UiOptions::default(), Terminal::default());
        seen.ui.read_result(&blob).unwrap();
        assert_eq!(seen.out.text(), "x\0\x01\x02");
        let seen = ui(UiOptions::default(), at_terminal());
        let failure = seen.ui.read_result(&blob).unwrap_err();
        assert_eq!((failure.class(), seen.out.text().as_str()), (Class::Usage, ""));
        assert!(failure.to_string().contains("(b, image/png, 3 B)"), "{failure}");
    }

    #[test]
    fn resources_go_into_files() {
        let directory = tempfile::tempdir().unwrap();
        let result = raw(r#"{"contents":[{"uri":"demo://notes","text":"é"},{"uri":"demo://b","blob":"AAEC"}]}"#);
        let seen = ui(UiOptions::default(), Terminal::default());
        seen.ui.read_result_saved(&result, directory.path()).unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("notes.txt")).unwrap(), "é");
        assert_eq!(std::fs::read(directory.path().join("b")).unwrap(), [0, 1, 2]);
        let one = directory.path().join("one");
        write_contents(&result, &one).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), [0xc3, 0xa9, 0, 1, 2]);
        assert_eq!(write_contents(&raw("{}"), &one).unwrap_err().class(), Class::Protocol);
    }

    #[test]
    fn sizes_read_well() {
        let sizes = [0, 999, 1000, 12_345, 999_949, 999_950, 4_000_000, 5_000_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "12.3 kB", "999.9 kB", "1.0 MB", "4.0 MB", "5.0 GB"]);
    }
}
