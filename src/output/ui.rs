//! The output of all commands: the two standard streams, the output options and the known secrets.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;
use serde_json::value::RawValue;

use super::closed_stdout;
use super::content::BinaryContent;
use super::document::JsonDocument;
use super::escape;
use super::jq::{JqFilter, JqOutput};
use super::json;
use super::progress_line::ProgressSlot;
use super::redact;
use super::style::{Style, has_colors};
use super::table::Table;
use super::terminal::{OutputStream, Terminal};
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt;
use crate::protocol::json::{JsonText, join_lines};
use crate::protocol::json_string::encode_string;
use crate::util::lock::lock;
use crate::util::when::When;

/// The output options of the user.
#[derive(Clone, Debug, Default)]
pub struct UiOptions {
    /// `--json`: results and messages are JSON.
    pub json: bool,
    /// `--jq`: results are JSON and filtered, messages stay text.
    pub jq: Option<Arc<JqFilter>>,
    /// `--quiet`: no notes and no warnings.
    pub quiet: bool,
    /// How many times `-v` was given.
    pub verbose: u8,
    /// `--color`.
    pub color: When,
    /// `--images`.
    pub images: When,
    /// `--trace FILE`.
    pub trace_file: Option<PathBuf>,
    /// `--events FILE`, or `-` for standard output.
    pub events: Option<PathBuf>,
}

/// More bytes than this may not fit into a pipe at once.
const PIPE_CAPACITY: usize = 32 << 10;

/// The destination of `--events`.
pub(super) enum EventOutput {
    /// Standard output.
    Stdout,
    /// A file, and whether writing to it has failed.
    File(Mutex<File>, AtomicBool),
}

/// The two streams of a run and how they are written to. Cheap to make; shared as `Arc<Ui>`.
pub struct Ui {
    pub(super) options: UiOptions,
    pub(super) terminal: Terminal,
    out: Mutex<OutputStream>,
    /// What is printed while its size is limited.
    pub(super) held_output: Mutex<Option<Vec<u8>>>,
    pub(super) err: Arc<Mutex<OutputStream>>,
    pub(super) known_secrets: Mutex<redact::KnownSecrets>,
    pub(super) progress: ProgressSlot,
    pub(super) events: OnceLock<EventOutput>,
}

impl Ui {
    /// Writes to the streams of this process.
    #[must_use]
    pub fn new(options: UiOptions, terminal: Terminal) -> Self {
        // Several short results are written together, and the progress line is drawn in many small pieces.
        let out: OutputStream = if closed_stdout::was_closed_at_start() {
            Box::new(closed_stdout::ClosedStdout)
        } else {
            Box::new(BufWriter::new(io::stdout()))
        };
        Ui::with_writers(options, terminal, out, Box::new(BufWriter::new(io::stderr())))
    }

    /// Writes to these streams.
    #[must_use]
    pub fn with_writers(options: UiOptions, terminal: Terminal, out: OutputStream, err: OutputStream) -> Self {
        Ui {
            options,
            terminal,
            out: Mutex::new(out),
            held_output: Mutex::default(),
            err: Arc::new(Mutex::new(err)),
            known_secrets: Mutex::default(),
            progress: ProgressSlot::default(),
            events: OnceLock::new(),
        }
    }

    /// What is known about the terminal.
    #[must_use]
    pub fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Whether results are JSON: with `--json`, and with `--jq`, which filters them.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.options.json || self.options.jq.is_some()
    }

    /// Whether documents are filtered (`--jq`).
    #[must_use]
    pub fn has_filter(&self) -> bool {
        self.options.jq.is_some()
    }

    /// Never shows this text in messages, errors or traces. Results stay as they are.
    pub fn redact(&self, secret: &str) {
        lock(&self.known_secrets).add(secret);
    }

    /// Stops redacting a text that is no longer a secret.
    pub fn forget_secret(&self, secret: &str) {
        lock(&self.known_secrets).remove(secret);
    }

    /// The text without known secrets.
    #[must_use]
    pub fn redacted(&self, text: &str) -> String {
        lock(&self.known_secrets).redact(text).into_owned()
    }

    /// A JSON text without known secrets; it stays JSON.
    #[must_use]
    pub fn redacted_json(&self, text: &str) -> String {
        lock(&self.known_secrets).hide_json(text).into_owned()
    }

    /// Whether standard output gets colors; what may be cut has none.
    #[must_use]
    pub fn uses_color(&self) -> bool {
        has_colors(self.options.color, self.terminal.stdout_is_tty, self.terminal.no_color || self.terminal.is_dumb)
            && lock(&self.held_output).is_none()
    }

    pub(super) fn uses_color_on_stderr(&self) -> bool {
        has_colors(self.options.color, self.terminal.stderr_is_tty, self.terminal.no_color || self.terminal.is_dumb)
    }

    // ---- standard output ----

    /// Prints a server's text: unchanged, but escaped at a terminal.
    ///
    /// # Errors
    /// [`ErrorKind::ClosedPipe`] if the reader is gone; [`ErrorKind::Output`] if it cannot be written.
    pub fn print_text(&self, text: &str) -> Result<()> {
        self.write(&[self.escape_for_stdout(text).as_bytes()])
    }

    /// Like [`Ui::print_text`], with a line feed after it unless it ends in one.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_line(&self, text: &str) -> Result<()> {
        self.write_line(&self.escape_for_stdout(text))
    }

    /// The text of a JSON string, with `end` after it unless it ends in that. In a pipe a long text is never copied as
    /// a whole.
    pub(super) fn print_json_string(&self, text: JsonText<'_>, end: &str) -> Result<()> {
        if self.terminal.stdout_is_tty {
            let text = text.decode();
            let end = if text.ends_with(end) { "" } else { end };
            return self.write(&[self.escape_for_stdout(&text).as_bytes(), end.as_bytes()]);
        }
        if text.max_len() > PIPE_CAPACITY {
            interrupt::enter_blocking();
        }
        let mut is_complete = end.is_empty();
        for piece in text.pieces() {
            self.write(&[piece.as_bytes()])?;
            is_complete = piece.ends_with(end);
        }
        if is_complete { Ok(()) } else { self.write(&[end.as_bytes()]) }
    }

    /// Text for people, such as a description: like [`Ui::print_line`], at a terminal wrapped at words.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_prose(&self, text: &str) -> Result<()> {
        if !self.terminal.stdout_is_tty {
            return self.print_line(text);
        }
        let columns = self.terminal.columns();
        let text = escape::make_visible(text);
        let lines: Vec<String> = text.lines().flat_map(|line| escape::wrap(line, columns)).collect();
        self.write_line(&lines.join("\n"))
    }

    /// A line that is already escaped for standard output.
    pub(super) fn write_line(&self, text: &str) -> Result<()> {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        self.write(&[text.as_bytes(), end.as_bytes()])
    }

    /// A line of which the caller has made harmless and painted the parts.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_painted_line(&self, text: &str) -> Result<()> {
        self.write_line(text)
    }

    /// Bytes, as they are.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_bytes(&self, bytes: &[u8]) -> Result<()> {
        self.write(&[bytes])
    }

    /// The bytes of binary content. They are never held as a whole beside their base64.
    pub(super) fn print_binary(&self, binary: &BinaryContent<'_>) -> Result<()> {
        if binary.data.len() > PIPE_CAPACITY {
            interrupt::enter_blocking();
        }
        binary.write_bytes(|piece| self.print_bytes(piece))
    }

    /// A JSON document as the server sent it, and a line feed; at a terminal the same, indented and colored.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_raw_json(&self, raw: &RawValue) -> Result<()> {
        self.print_document(raw.into())
    }

    /// A JSON document of mcpipe, in the same way.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_json_value(&self, value: &Value) -> Result<()> {
        self.print_json_text(value.to_string())
    }

    /// A JSON document given as text, in the same way.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_json_text<'a>(&self, text: impl Into<Cow<'a, str>>) -> Result<()> {
        self.print_document(text.into().into())
    }

    /// A JSON document, in the same way. One that owns its text is filtered in the memory of the text.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_document(&self, document: JsonDocument<'_>) -> Result<()> {
        if let Some(filter) = &self.options.jq {
            return self.print_filtered(filter, document);
        }
        let text = document.into_text()?;
        match self.terminal.stdout_is_tty {
            _ if self.events_to_stdout() => self.print_json_lines([&*text]),
            true => self.print_json_pretty(&text),
            false => self.write(&[text.as_bytes(), b"\n"]),
        }
    }

    /// The output of the filter for a JSON document: strings as they are, everything else as JSON.
    fn print_filtered(&self, filter: &JqFilter, document: JsonDocument<'_>) -> Result<()> {
        filter.run(document, |output| match &output {
            JqOutput::Json(json) if self.terminal.stdout_is_tty => self.print_json_pretty(&json.to_string()),
            JqOutput::Text(bytes) if self.terminal.stdout_is_tty => match std::str::from_utf8(bytes) {
                Ok(text) => self.write(&[self.escape_for_stdout(text).as_bytes(), b"\n"]),
                Err(_) => self.print_line(&String::from_utf8_lossy(bytes)),
            },
            output => output.write_line(|piece| self.write(&[piece])),
        })
    }

    /// A JSON document for people, indented wherever it goes.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_json_pretty(&self, text: &str) -> Result<()> {
        let text = json::pretty(
            text,
            json::JsonStyle { color: self.uses_color(), escape_unsafe: self.terminal.stdout_is_tty },
        );
        self.write(&[text.as_bytes(), b"\n"])
    }

    /// One line of NDJSON, on one line wherever it goes.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_json_line<'a>(&self, text: impl Into<Cow<'a, str>>) -> Result<()> {
        let text = text.into();
        match &self.options.jq {
            Some(filter) => self.print_filtered(filter, text.into()),
            None => self.print_json_lines([&*text]),
        }
    }

    /// Several JSON documents, each as one line, written together and without the filter.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_json_lines<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let mut parts = Vec::new();
        for text in texts {
            let line = join_lines(text.trim());
            let is_escaped = self.terminal.stdout_is_tty;
            parts.extend([if is_escaped { json::escape_unsafe(&line).into() } else { line }, Cow::Borrowed("\n")]);
        }
        self.write_keeping_progress(&parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>())
    }

    /// More bytes than this are never printed at once.
    pub const MAX_AT_ONCE: usize = closed_stdout::PIPE_BUF;

    /// Whether this many bytes of lines can be printed without waiting for a reader or a terminal.
    #[must_use]
    pub fn can_print_at_once(&self, length: usize) -> bool {
        !self.terminal.stdout_is_tty && closed_stdout::is_ready_for(length)
    }

    /// A table; nothing if it has no rows.
    ///
    /// # Errors
    /// As [`Ui::print_text`].
    pub fn print_table(&self, table: &Table) -> Result<()> {
        let text = if self.terminal.stdout_is_tty {
            table.render_for_terminal(self.terminal.columns(), self.uses_color())
        } else {
            table.render_tsv()
        };
        self.write(&[text.as_bytes()])
    }

    /// `text` in this style if standard output has colors. The text must be escaped already.
    #[must_use]
    pub fn paint<'a>(&self, style: Style, text: &'a str) -> Cow<'a, str> {
        style.paint(text, self.uses_color())
    }

    /// Server text as standard output may take it.
    #[must_use]
    pub fn escape_for_stdout<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.terminal.stdout_is_tty { escape::make_visible(text) } else { Cow::Borrowed(text) }
    }

    /// Writes and flushes what is already escaped for standard output, and ends the progress line.
    fn write(&self, parts: &[&[u8]]) -> Result<()> {
        self.progress.end();
        self.write_parts(parts).map_err(|error| write_failure(&error))
    }

    /// The same for one result of many: the progress line continues after it.
    fn write_keeping_progress(&self, parts: &[&[u8]]) -> Result<()> {
        // Two streams, one screen: the progress line makes room.
        let written = if self.terminal.stdout_is_tty {
            self.progress.suspend(|| self.write_parts(parts))
        } else {
            self.progress.clear();
            self.write_parts(parts)
        };
        written.map_err(|error| write_failure(&error))
    }

    fn write_parts(&self, parts: &[&[u8]]) -> io::Result<()> {
        if parts.iter().map(|part| part.len()).sum::<usize>() > PIPE_CAPACITY {
            interrupt::enter_blocking();
        }
        if let Some(held) = &mut *lock(&self.held_output) {
            parts.iter().for_each(|part| held.extend_from_slice(part));
            return Ok(());
        }
        let mut out = lock(&self.out);
        for part in parts {
            out.write_all(part)?;
        }
        out.flush()
    }

    // ---- standard error ----

    /// Something that the user must see, such as a URL to open. Printed even with `--quiet` and `--json`.
    pub fn prompt_text(&self, text: &str) {
        self.write_err(&[&self.redact_for_stderr(text)]);
    }

    /// Additional information; omitted with `--quiet` and `--json`.
    pub fn note(&self, text: &str) {
        if !self.options.quiet && !self.options.json {
            self.write_err(&[&self.wrap_err(&self.redact_for_stderr(text), 0, 2)]);
        }
    }

    /// A command that the user may want to run next; omitted with `--quiet` and `--json`.
    pub fn suggest_next(&self, command: &str) {
        if !self.options.quiet && !self.options.json {
            let label = Style::CYAN.paint("next:", self.uses_color_on_stderr());
            self.write_err(&[&format!("{label} {}", self.redact_for_stderr(command))]);
        }
    }

    /// A warning; omitted with `--quiet`. With `--json` a line `{"warning":"…"}`.
    pub fn warn(&self, text: &str) {
        if !self.options.quiet {
            self.warn_always(text);
        }
    }

    /// A warning about safety, printed even with `--quiet`.
    pub fn warn_always(&self, text: &str) {
        if self.options.json {
            let line = serde_json::json!({ "warning": lock(&self.known_secrets).redact(text) }).to_string();
            self.write_err(&[&if self.terminal.stderr_is_tty { json::escape_unsafe(&line) } else { line }]);
        } else {
            let label = Style::BOLD_YELLOW.paint("warning:", self.uses_color_on_stderr());
            let text = self.wrap_err(&self.redact_for_stderr(text), "mcpipe: warning: ".len(), 2);
            self.write_err(&[&format!("mcpipe: {label} {text}")]);
        }
    }

    /// A log message of a server; omitted with `--quiet`. With `--json` a line `{"log":{…}}`.
    pub fn print_log(&self, level: &str, logger: Option<&str>, data: &Value) {
        if self.options.quiet {
        } else if self.options.json {
            let known = lock(&self.known_secrets);
            let string = |text: &str| encode_string(&known.redact(text));
            let line = format!(
                r#"{{"log":{{"level":{},"logger":{},"data":{}}}}}"#,
                string(level),
                logger.map_or("null".to_owned(), string),
                known.hide_json(&data.to_string())
            );
            drop(known);
            self.write_err(&[&if self.terminal.stderr_is_tty { json::escape_unsafe(&line) } else { line }]);
        } else {
            let style = if matches!(level, "debug" | "info" | "notice") { Style::DIM } else { Style::YELLOW };
            let from = logger.map(|logger| format!(" {}", escape::collapse_whitespace(logger))).unwrap_or_default();
            let text = data.as_str().map_or_else(|| data.to_string(), ToOwned::to_owned);
            // Before the lines are indented: a secret may have several.
            let text = lock(&self.known_secrets).redact(&text).replace('\n', "\n  ");
            let label = format!("{}{from}:", escape::collapse_whitespace(level));
            self.prompt_spans(&[(style, &label), (Style::PLAIN, " "), (Style::PLAIN, &text)]);
        }
    }

    /// The help for a command line without a command.
    pub fn print_help(&self, text: &str) {
        self.write_err(&[text]);
    }

    /// Server or user text as standard error may take it, without known secrets.
    pub(super) fn redact_for_stderr(&self, text: &str) -> String {
        self.escape_for_stderr(&lock(&self.known_secrets).redact(text)).into_owned()
    }

    /// Text without secrets as standard error may take it.
    pub(super) fn escape_for_stderr<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.terminal.stderr_is_tty { escape::make_visible(text) } else { Cow::Borrowed(text) }
    }

    /// Sentences behind `used` columns of a line: at a terminal wrapped at words, further lines indented by `indent`.
    pub(super) fn wrap_err(&self, text: &str, used: usize, indent: usize) -> String {
        if !self.terminal.stderr_is_tty {
            return text.to_owned();
        }
        let columns = self.terminal.columns();
        let room = columns.saturating_sub(indent);
        let mut out = String::new();
        for (number, line) in text.split('\n').enumerate() {
            let first = if number == 0 { columns.saturating_sub(used) } else { columns };
            let separator = format!("\n{}", " ".repeat(indent));
            out.push_str(if number == 0 { "" } else { "\n" });
            out.push_str(&escape::wrap_sentence(line, first, room).join(&separator));
        }
        out
    }

    /// Writes a line to standard error, given its parts. A failure cannot be reported anywhere.
    pub(super) fn write_err(&self, line: &[&str]) {
        let write = || {
            let mut err = lock(&self.err);
            let end = if line.last().is_some_and(|last| last.ends_with('\n')) { "" } else { "\n" };
            let mut parts = line.iter().copied().chain([end]);
            let _ = parts.try_for_each(|part| err.write_all(part.as_bytes())).and_then(|()| err.flush());
        };
        self.progress.suspend(write);
    }
}

fn write_failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::new(ErrorKind::ClosedPipe, "standard output was closed");
    }
    Failure::new(ErrorKind::Output, "cannot write to standard output").caused_by(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::*;
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn a_pipe_gets_the_exact_text_and_a_terminal_a_harmless_one() {
        let (pipe, terminal) = render_both(|ui| ui.print_text("a\x1b[2J\u{202e}b"));
        assert_eq!((pipe.as_str(), terminal.as_str()), ("a\x1b[2J\u{202e}b", "a\\x1b[2J<U+202E>b"));
        let (pipe, terminal) = render_both(|ui| ui.print_line("a\n"));
        assert_eq!((pipe.as_str(), terminal.as_str()), ("a\n", "a\n"));
    }

    #[test]
    fn json_is_exact_in_a_pipe_and_complete_at_a_terminal() {
        let sent = raw("{\"a\": 1E400, \"a\":\"\u{202e}\\u00e9\"}");
        let (pipe, terminal) = render_both(|ui| ui.print_raw_json(&sent));
        assert_eq!(pipe, "{\"a\": 1E400, \"a\":\"\u{202e}\\u00e9\"}\n");
        assert_eq!(terminal, "{\n  \"a\": 1E400,\n  \"a\": \"\\u202e\\u00e9\"\n}\n");
        let (pipe, terminal) = render_both(|ui| ui.print_json_line("{\n\"a\":\"\u{202e}\"}"));
        assert_eq!((pipe.as_str(), terminal.as_str()), ("{ \"a\":\"\u{202e}\"}\n", "{ \"a\":\"\\u202e\"}\n"));
    }

    #[test]
    fn piped_json_has_no_colors_even_when_they_are_forced() {
        let options = UiOptions { color: When::Always, ..UiOptions::default() };
        let seen = ui(options, Terminal::default());
        seen.ui.print_raw_json(&raw("[1]")).unwrap();
        assert_eq!(seen.out.text(), "[1]\n");
    }

    struct FailingWriter(io::ErrorKind);

    impl Write for FailingWriter {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_quiet_and_a_full_disk_is_not() {
        let class = |kind| {
            let ui = Ui::with_writers(
                UiOptions::default(),
                Terminal::default(),
                Box::new(BufWriter::new(FailingWriter(kind))),
                Box::new(io::sink()),
            );
            ui.print_text("x").unwrap_err().kind()
        };
        assert_eq!(class(io::ErrorKind::BrokenPipe), ErrorKind::ClosedPipe);
        assert_eq!(class(io::ErrorKind::StorageFull), ErrorKind::Output);
    }

    #[test]
    fn quiet_silences_notes_and_warnings_but_not_what_must_be_seen() {
        let speak = |options| {
            let seen = ui(options, Terminal::default());
            seen.ui.redact("hunter22");
            seen.ui.prompt_text("say hunter22");
            seen.ui.note("note");
            seen.ui.warn("warn");
            assert_eq!(seen.out.text(), "");
            seen.err.text()
        };
        assert_eq!(speak(UiOptions::default()), "say [redacted]\nnote\nmcpipe: warning: warn\n");
        assert_eq!(speak(UiOptions { quiet: true, ..UiOptions::default() }), "say [redacted]\n");
        assert_eq!(speak(UiOptions { json: true, ..UiOptions::default() }), "say [redacted]\n{\"warning\":\"warn\"}\n");
    }
}
