//! Results of calls, reads and prompts, formatted for people.
//!
//! Other content is shown as JSON; a malformed content block is omitted, since the failure describes it.

use std::path::Path;

use serde_json::value::RawValue;

use super::content::{
    ContentBlock, JsonObject, content_blocks, contents_entries, entry_data, list_items, parse_blocks,
    resource_contents, shown_blocks, write_resource,
};
use super::document::JsonDocument;
use super::escape::collapse_whitespace;
use super::json::{JsonStyle, escape_unsafe, pretty};
use super::save::{FileData, FileNaming, FileSaver, write_file};
use super::{Style, Ui};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::JsonText;
use crate::protocol::json_string::encode_string;

impl Ui {
    /// Prints a tool result: with `--json` as the server sent it, otherwise for people: text unchanged, each block
    /// with a line end; binary blocks as one line, or written into files in `save`, whose names are printed;
    /// structured content if there is no text.
    ///
    /// # Errors
    /// When it cannot be written, or a block to be saved is not base64 (after all others were printed).
    pub fn print_tool_result(&self, result: JsonDocument<'_>, save: Option<&Path>) -> Result<()> {
        let made = save.map(FileSaver::new).transpose();
        let Some(raw) = result.raw().filter(|_| !self.is_json()) else {
            return self.save_and_print_json(result, made);
        };
        let (saver, not_made) = match made {
            Ok(saver) => (saver, Ok(())),
            Err(failure) => (None, Err(failure)),
        };
        self.print_blocks(&shown_blocks(raw), saver, "--save DIR writes it")?;
        not_made
    }

    /// The JSON document, and its binary content in files. The result is printed even if a file cannot be written.
    fn save_and_print_json(&self, result: JsonDocument<'_>, saver: Result<Option<FileSaver>>) -> Result<()> {
        let mut outcome = Ok(());
        match saver {
            Ok(Some(mut saver)) => {
                for block in result.raw().and_then(content_blocks).unwrap_or_default() {
                    let ContentBlock::Binary(binary) = block else { continue };
                    match binary.save(&mut saver) {
                        Ok(path) => self.print_saved_path(&path)?,
                        Err(failure) => outcome = outcome.and(Err(failure)),
                    }
                }
            }
            Ok(None) => {}
            Err(failure) => outcome = Err(failure),
        }
        self.print_document(result)?;
        outcome
    }

    /// Only the structured content, unchanged.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if there is none.
    pub fn print_structured(&self, result: JsonDocument<'_>) -> Result<()> {
        self.print_document(result.into_structured()?)
    }

    /// Prints a prompt for people: each message after its role.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn print_prompt(&self, result: &RawValue) -> Result<()> {
        let Some(messages) = list_items(result, "messages") else { return self.print_json_pretty(result.get()) };
        for (index, message) in messages.into_iter().enumerate() {
            if index > 0 {
                self.print_text("\n")?;
            }
            let read = JsonObject::new(message);
            let Some((role, content)) = read.as_ref().and_then(|all| Some((all.text("role")?, all.member("content")?)))
            else {
                self.print_json_pretty(message)?;
                continue;
            };
            let role = collapse_whitespace(&role);
            self.write_line(&self.paint(Style::BOLD, &format!("[{}]", self.escape_for_stdout(&role))))?;
            self.print_blocks(&parse_blocks(content), None, "--json shows it")?;
        }
        Ok(())
    }

    /// Prints a resource: text and bytes unchanged. At a terminal images are shown, and other bytes are not written.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if there are bytes and standard output is a terminal; nothing is printed then.
    pub fn print_resource(&self, result: &RawValue) -> Result<()> {
        self.print_contents(result, |text| self.print_json_string(text, ""))
    }

    /// Prints a resource as one of several: text gets a line end.
    ///
    /// # Errors
    /// As [`Ui::print_resource`].
    pub fn print_resource_document(&self, result: &RawValue) -> Result<()> {
        self.print_contents(result, |text| self.print_json_string(text, "\n"))
    }

    fn print_contents(&self, result: &RawValue, print: impl Fn(JsonText<'_>) -> Result<()>) -> Result<()> {
        let Some(contents) = resource_contents(result) else { return self.print_json_pretty(result.get()) };
        let shown = |block: &ContentBlock| match block {
            ContentBlock::Binary(binary) => self.render_image(binary),
            _ => None,
        };
        if let Some(ContentBlock::Binary(binary)) =
            contents.iter().find(|block| matches!(block, ContentBlock::Binary(_)) && shown(block).is_none())
            && self.terminal.stdout_is_tty
        {
            let message = format!("binary content is not written to a terminal ({})", binary.description());
            return Err(
                Failure::new(ErrorKind::Usage, message).hint("use --save DIR or -o FILE, or redirect the output")
            );
        }
        if contents.is_empty() {
            self.warn("the server sent no content for this resource");
        }
        for block in contents {
            match block {
                ContentBlock::Text(text) => print(text)?,
                ContentBlock::Binary(binary) if self.terminal.stdout_is_tty => {
                    self.print_blocks(&[ContentBlock::Binary(binary)], None, "--save DIR writes it")?;
                }
                ContentBlock::Binary(binary) => self.print_binary(&binary)?,
                ContentBlock::Unparsed(json) => self.print_json_pretty(&json)?,
                // No entry of `contents` is read as one.
                ContentBlock::Link(_) | ContentBlock::Unknown(_) => {}
            }
        }
        Ok(())
    }

    /// A tool result into the one file that the user named: what standard output would get, but binary content as
    /// bytes; with `--json` the document, or what the filter makes of it.
    ///
    /// # Errors
    /// When something is not base64, the filter fails, or the file cannot be written.
    pub fn write_tool_result_to(&self, result: JsonDocument<'_>, file: &Path, structured_only: bool) -> Result<()> {
        if structured_only {
            return self.write_json_to(result.into_structured()?, file);
        }
        let Some(result) = result.raw().filter(|_| !self.is_json()) else {
            return self.write_json_to(result, file);
        };
        let line = |text: String| FileData::Bytes((text + "\n").into_bytes().into());
        let pretty = |json: &str| line(pretty(json, JsonStyle { color: false, escape_unsafe: false }));
        let mut blocks = shown_blocks(result);
        let has_binary = blocks.iter().any(|block| matches!(block, ContentBlock::Binary(_)));
        if has_binary {
            // An image with the structured content behind it would be no image.
            blocks.retain(|block| !matches!(block, ContentBlock::Unparsed(_)));
        }
        if blocks.len() > 1 && has_binary {
            self.warn(&format!(
                "{} has all parts of the result, one after the other; --save DIR writes each image or other binary content \
                 into a file of its own",
                file.display()
            ));
        }
        let mut parts = Vec::new();
        for block in blocks {
            match block {
                ContentBlock::Text(text) => {
                    let is_complete = text.decode().ends_with('\n');
                    parts.push(FileData::Text(text));
                    parts.extend((!is_complete).then(|| line(String::new())));
                }
                ContentBlock::Binary(binary) => parts.push(binary.into_file_data()?),
                ContentBlock::Link(text) => parts.push(line(text)),
                ContentBlock::Unknown(kind) => parts.push(line(describe_unknown(&kind))),
                ContentBlock::Unparsed(json) => parts.push(pretty(&json)),
            }
        }
        write_file(file, &parts)
    }

    /// A JSON document, or what the filter makes of it, into a file.
    fn write_json_to(&self, document: JsonDocument<'_>, file: &Path) -> Result<()> {
        let Some(filter) = &self.options.jq else {
            let text = document.into_text()?;
            return write_file(file, &[text.as_bytes(), b"\n"].map(|part| FileData::Bytes(part.into())));
        };
        let mut outputs = Vec::new();
        filter.run(document, |output| {
            outputs.push(FileData::Filtered(output));
            Ok(())
        })?;
        write_file(file, &outputs)
    }

    /// A resource into the one file that the user named; with `--json` the document, or what the filter makes of it.
    ///
    /// # Errors
    /// When something is not base64, the filter fails, or the file cannot be written.
    pub fn write_resource_to(&self, result: JsonDocument<'_>, file: &Path) -> Result<()> {
        match result.raw() {
            Some(raw) if !self.is_json() => write_resource(raw, file),
            _ => self.write_json_to(result, file),
        }
    }

    /// A resource into files in `directory`, whose names are printed.
    ///
    /// # Errors
    /// When something is not base64 or cannot be written.
    pub fn save_resource_in_directory(&self, result: &RawValue, directory: &Path) -> Result<()> {
        let mut saver = FileSaver::new(directory)?;
        for json in contents_entries(result)? {
            let entry = JsonObject::new(json);
            let text = |name: &str| entry.as_ref().and_then(|entry| entry.text(name));
            let (name, uri, mime) = (text("name"), text("uri"), text("mimeType"));
            let has_text = entry.as_ref().is_some_and(|entry| entry.member_text("text").is_some());
            let mime = mime.as_deref().or(has_text.then_some("text/plain"));
            let naming = FileNaming { name: name.as_deref(), uri: uri.as_deref(), kind: "file", mime };
            self.print_saved_path(&saver.save(naming, &entry_data(json)?)?)?;
        }
        Ok(())
    }

    fn print_blocks(&self, blocks: &[ContentBlock<'_>], mut saver: Option<FileSaver>, how: &str) -> Result<()> {
        let mut failed = None;
        for block in blocks {
            match block {
                ContentBlock::Text(text) if text.is_empty() => {}
                ContentBlock::Text(text) => self.print_json_string(*text, "\n")?,
                ContentBlock::Link(line) => self.print_annotation(line)?,
                ContentBlock::Unknown(kind) => self.print_annotation(&describe_unknown(kind))?,
                ContentBlock::Unparsed(json) => self.print_json_pretty(json)?,
                ContentBlock::Binary(binary) => match saver.as_mut().map(|saver| binary.save(saver)) {
                    None => {
                        if let Some(image) = self.render_image(binary) {
                            self.print_bytes(image.as_bytes())?;
                        }
                        self.print_annotation(&format!("[{}; {how}]", binary.description()))?;
                    }
                    Some(Ok(path)) => self.print_saved_path(&path)?,
                    Some(Err(failure)) => failed = failed.or(Some(failure)),
                },
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// A line of mcpipe between lines of the server.
    fn print_annotation(&self, line: &str) -> Result<()> {
        self.write_line(&self.paint(Style::DIM, &self.escape_for_stdout(line)))
    }

    /// The name of a file that was written; with `--json`, where standard output has only the document, a line
    /// `{"saved":"…"}` on standard error.
    ///
    /// # Errors
    /// When it cannot be printed.
    pub fn print_saved_path(&self, path: &Path) -> Result<()> {
        let text = path.to_string_lossy();
        if self.is_json() {
            if !self.options.quiet {
                let line = format!(r#"{{"saved":{}}}"#, encode_string(&text));
                self.write_err(&[&if self.terminal.stderr_is_tty { escape_unsafe(&line) } else { line }]);
            }
            return Ok(());
        }
        if self.terminal.stdout_is_tty {
            self.print_line(&text)
        } else {
            self.print_bytes(&[path.as_os_str().as_encoded_bytes(), b"\n"].concat())
        }
    }
}

/// The line that stands for content of a type that mcpipe does not know.
fn describe_unknown(kind: &str) -> String {
    format!("[unknown content type '{}'; --json shows it]", collapse_whitespace(kind))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::content::format_rounded_size;
    use super::super::testing::*;
    use super::super::{Terminal, UiOptions};
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    /// A tool result as it is written to a pipe.
    fn piped(result: &str) -> String {
        render_both(|ui| ui.print_tool_result(raw(result).into(), None)).0
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
            [demo://b, application/pdf, 4 B; --save DIR writes it]\n[unknown content type 'hologram'; --json shows it]\n";
        let (pipe, terminal) = render_both(|ui| ui.print_tool_result(raw(result).into(), None));
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
    fn odd_results_have_a_form() {
        assert_eq!(piped(r#"{"content":"x"}"#), "x\n");
        assert_eq!(piped(r#"{"content":{"a":1},"structuredContent":2}"#), "2\n");
        assert_eq!(piped(r#"{"toolResult":1}"#), "{\n  \"toolResult\": 1\n}\n");
        assert_eq!(piped(r#"{"content":[],"toolResult":1}"#).lines().count(), 4);
        assert_eq!(piped(r#"{"content":[],"isError":false,"_meta":{}}"#), "");
        assert_eq!(piped("[1]"), "[\n  1\n]\n");
        assert_eq!(piped("null"), "");
        assert_eq!(piped(r#""x""#), "x\n");
    }

    #[test]
    fn save_writes_files_and_prints_their_names() {
        let directory = tempfile::tempdir().unwrap();
        let seen = ui(UiOptions::default(), Terminal::default());
        let result =
            raw(r#"{"content":[{"type":"image","data":"AAEC","mimeType":"image/png"},{"type":"image","data":"%"},
                {"type":"text","text":"t"},{"type":"resource","resource":{"uri":"x://h/../b.bin","blob":"AA"}}]}"#);
        let failure = seen.ui.print_tool_result(result.into(), Some(directory.path())).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Protocol);
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
        let (pipe, terminal) = render_both(|ui| ui.print_prompt(&result));
        assert_eq!(pipe, expected);
        assert_eq!(terminal, expected.replace('\x1b', "\\x1b"));
        assert_eq!(render_both(|ui| ui.print_prompt(&raw("{}"))).0, "{}\n");
    }

    #[test]
    fn resources_are_exact_and_no_bytes_reach_a_terminal() {
        let text = raw(r#"{"contents":[{"uri":"a","text":"one"},{"uri":"b","text":"two\n"}]}"#);
        assert_eq!(render_both(|ui| ui.print_resource(&text)).0, "onetwo\n");
        let blob = raw(r#"{"contents":[{"uri":"a","text":"x"},{"uri":"b","mimeType":"image/png","blob":"AAEC"}]}"#);
        let seen = ui(UiOptions::default(), Terminal::default());
        seen.ui.print_resource(&blob).unwrap();
        assert_eq!(seen.out.text(), "x\0\x01\x02");
        let seen = ui(UiOptions::default(), at_terminal());
        let failure = seen.ui.print_resource(&blob).unwrap_err();
        assert_eq!((failure.kind(), seen.out.text().as_str()), (ErrorKind::Usage, ""));
        assert!(failure.to_string().contains("(b, image/png, 3 B)"), "{failure}");
    }

    #[test]
    fn resources_go_into_files() {
        let directory = tempfile::tempdir().unwrap();
        let result = raw(r#"{"contents":[{"uri":"demo://notes","text":"é"},{"uri":"demo://b","blob":"AAEC"}]}"#);
        let seen = ui(UiOptions::default(), Terminal::default());
        seen.ui.save_resource_in_directory(&result, directory.path()).unwrap();
        assert_eq!(std::fs::read_to_string(directory.path().join("notes.txt")).unwrap(), "é");
        assert_eq!(std::fs::read(directory.path().join("b")).unwrap(), [0, 1, 2]);
        let one = directory.path().join("one");
        write_resource(&result, &one).unwrap();
        assert_eq!(std::fs::read(&one).unwrap(), [0xc3, 0xa9, 0, 1, 2]);
        assert_eq!(write_resource(&raw("{}"), &one).unwrap_err().kind(), ErrorKind::Protocol);
    }

    #[test]
    fn sizes_read_well() {
        let sizes = [0, 999, 1000, 12_345, 999_949, 999_950, 4_000_000, 5_000_000_000].map(format_rounded_size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "12.3 kB", "999.9 kB", "1.0 MB", "4.0 MB", "5.0 GB"]);
    }
}
