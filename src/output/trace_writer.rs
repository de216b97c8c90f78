//! Shows the exchanged messages: `-v` and `-vv` on standard error, `--trace FILE` as NDJSON.
//!
//! Message bodies are redacted here, value by value, before they are written to either.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::value::RawValue;

use super::Ui;
use super::redact::{redact_members, redact_url as safe_url};
use super::save::before_writing;
use super::style::Style;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::join_lines;
use crate::protocol::json_string::encode_string;
use crate::secret::REDACTED;
use crate::transport::trace::{Trace, TraceEvent, TraceSink};
use crate::util::lock::lock;
use crate::util::secret_names::is_secret_name;

impl Ui {
    /// Receives the events of the transports; costs nothing if neither `-v` nor `--trace` was given.
    ///
    /// # Errors
    /// If the trace file cannot be created.
    pub fn trace(self: &Arc<Self>) -> Result<Trace> {
        let file =
            self.options.trace_file.as_deref().map(|path| create_private_file(path, "trace", "--trace")).transpose()?;
        if file.is_none() && self.options.verbose == 0 {
            return Ok(Trace::default());
        }
        let sink = TraceWriter {
            ui: Arc::clone(self),
            file: file.map(Mutex::new),
            failed: AtomicBool::new(false),
            clock: SystemTime::now,
        };
        Ok(Trace::new(Arc::new(sink)))
    }

    /// A message without secrets: JSON if it was JSON.
    pub(super) fn redacted_message<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let known = lock(&self.known_secrets);
        match redact_members(text) {
            Cow::Borrowed(text) => known.hide_json(text),
            Cow::Owned(text) => known.hide_json(&text).into_owned().into(),
        }
    }
}

/// Creates the file for an exchange, which is private even without secrets: only its owner may read it.
pub(super) fn create_private_file(path: &Path, what: &str, option: &str) -> Result<File> {
    if path == Path::new("-") {
        return Err(Failure::new(
            ErrorKind::Usage,
            format!("{option} needs a file: standard output is for the result"),
        )
        .hint("-v and -vv show the exchange on standard error"));
    }
    before_writing(path);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path).map_err(|error| {
        Failure::new(ErrorKind::Usage, format!("cannot write the {what} to '{}'", path.display()))
            .caused_by(&error)
            .hint(format!("choose a writable file: {option} FILE"))
    })?;
    // A file that already existed keeps its mode, unless it is changed.
    #[cfg(unix)]
    if file.metadata().is_ok_and(|data| data.is_file()) {
        let _ = file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600));
    }
    Ok(file)
}

struct TraceWriter {
    ui: Arc<Ui>,
    file: Option<Mutex<File>>,
    failed: AtomicBool,
    clock: fn() -> SystemTime,
}

impl TraceSink for TraceWriter {
    fn record(&self, event: TraceEvent<'_>) {
        match event {
            TraceEvent::Sent(text) => self.record_message("sent", Style::CYAN.paint("→", self.uses_color()), text),
            TraceEvent::Received(text) => {
                self.record_message("received", Style::GREEN.paint("←", self.uses_color()), text);
            }
            event => {
                if self.file.is_some() {
                    self.write_to_file(&[&self.file_members(event)]);
                }
                if self.ui.options.verbose > 0 {
                    let lines = self.stderr_lines(event);
                    if !lines.is_empty() {
                        self.ui.write_err(&[&lines]);
                    }
                }
            }
        }
    }
}

impl TraceWriter {
    fn uses_color(&self) -> bool {
        self.ui.uses_color_on_stderr()
    }

    /// Writes a line to the file, given the parts of its members after `time`.
    fn write_to_file(&self, members: &[&str]) {
        let Some(file) = &self.file else { return };
        let time = format!("{{\"time\":{},", encode_string(&rfc3339((self.clock)())));
        // The lock is held for the whole line: lines of several servers do not mix.
        let mut file = lock(file);
        let mut parts = [time.as_str()].into_iter().chain(members.iter().copied()).chain(["}\n"]);
        if parts.try_for_each(|part| file.write_all(part.as_bytes())).is_err()
            && !self.failed.swap(true, Ordering::Relaxed)
        {
            self.ui.warn("the trace file is incomplete: it cannot be written");
        }
    }

    /// Records a message, which may be long: it is not copied if there is nothing to redact.
    fn record_message(&self, direction: &str, arrow: Cow<'_, str>, text: &str) {
        let body = self.ui.redacted_message(text);
        if self.file.is_some() {
            let is_json = serde_json::from_str::<&RawValue>(body.trim()).is_ok();
            let value = if is_json { join_lines(body.trim()) } else { encode_string(&body).into() };
            self.write_to_file(&[&format!(r#""dir":"{direction}","message":"#), &value]);
        }
        if self.ui.options.verbose > 0 {
            self.ui.write_err(&[&arrow, " ", &self.ui.escape_for_stderr(&join_lines(body.trim()))]);
        }
    }

    /// The text as a JSON string, without secrets.
    fn quoted(&self, text: &str) -> String {
        encode_string(&lock(&self.ui.known_secrets).redact(text))
    }

    /// As pairs, not as an object: a header may come twice.
    fn header_pairs(&self, headers: &[(String, String)]) -> String {
        let pairs: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("[{},{}]", self.quoted(name), self.quoted(redact_header(name, value))))
            .collect();
        format!("[{}]", pairs.join(","))
    }

    /// The members of a line in the trace file, after `time`.
    fn file_members(&self, event: TraceEvent<'_>) -> String {
        match event {
            // Recorded elsewhere.
            TraceEvent::Sent(_) | TraceEvent::Received(_) => String::new(),
            TraceEvent::RequestHead { method, url, headers } => format!(
                r#""dir":"sent","http":{{"method":{},"url":{},"headers":{}}}"#,
                self.quoted(method),
                self.quoted(&safe_url(url)),
                self.header_pairs(headers)
            ),
            TraceEvent::ResponseHead { status, headers } => {
                format!(r#""dir":"received","http":{{"status":{status},"headers":{}}}"#, self.header_pairs(headers))
            }
            TraceEvent::Stderr(line) => format!(r#""dir":"received","stderr":{}"#, self.quoted(line)),
            TraceEvent::Note(text) => format!(r#""note":{}"#, self.quoted(text)),
        }
    }

    /// The text for standard error; empty if this event is not shown at this level of `-v`.
    fn stderr_lines(&self, event: TraceEvent<'_>) -> String {
        let color = self.ui.uses_color_on_stderr();
        let shown = |text: &str| self.ui.redact_for_stderr(text.trim_end_matches(['\n', '\r']));
        let more = self.ui.options.verbose > 1;
        let head = |arrow: &str, first: String, headers: &[(String, String)]| {
            let mut out = format!("{arrow} {}", shown(&first));
            for (name, value) in headers {
                out += &format!("\n{arrow} {}: {}", shown(name), shown(redact_header(name, value)));
            }
            Style::DIM.paint(&out, color).into_owned()
        };
        match event {
            TraceEvent::Note(text) => format!("{} {}", Style::YELLOW.paint("note:", color), shown(text)),
            TraceEvent::RequestHead { method, url, headers } if more => {
                head(">", format!("{method} {}", safe_url(url)), headers)
            }
            TraceEvent::ResponseHead { status, headers } if more => head("<", status.to_string(), headers),
            TraceEvent::Stderr(line) if more => Style::DIM.paint(&format!("| {}", shown(line)), color).into_owned(),
            _ => String::new(),
        }
    }
}

/// The transport hides what it knows to be secret; this also covers what it does not know.
fn redact_header<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret_name(name) { REDACTED } else { value }
}

/// A moment in UTC, to the millisecond: `2026-11-21T05:46:17.123Z`.
pub fn rfc3339(time: SystemTime) -> String {
    format!("{:.3}", Timestamp::try_from(time).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::testing::*;
    use super::super::{Terminal, UiOptions};
    use super::*;

    fn events(sink: &dyn TraceSink) {
        let headers = [("Accept".to_owned(), "a".to_owned()), ("authorization".to_owned(), "Bearer x".to_owned())];
        sink.record(TraceEvent::RequestHead { method: "POST", url: "http://h/", headers: &headers });
        sink.record(TraceEvent::Sent(r#"{"id":1,"requestState":"st"}"#));
        sink.record(TraceEvent::ResponseHead { status: 200, headers: &[] });
        sink.record(TraceEvent::Received("{\"id\":1,\n\"result\":\"\u{1b}[2J hunter22\"}"));
        sink.record(TraceEvent::Received("INFO \x1b[31mready"));
        sink.record(TraceEvent::Stderr("warn\x1b[2J"));
        sink.record(TraceEvent::Note("odd"));
    }

    fn shown(verbose: u8, terminal: Terminal) -> String {
        let seen = ui(UiOptions { verbose, ..UiOptions::default() }, terminal);
        seen.ui.redact("hunter22");
        let sink =
            TraceWriter { ui: seen.ui.clone(), file: None, failed: AtomicBool::new(false), clock: SystemTime::now };
        events(&sink);
        assert_eq!(seen.out.text(), "");
        seen.err.text()
    }

    #[test]
    fn one_v_shows_messages() {
        assert_eq!(
            shown(1, at_terminal()),
            "→ {\"id\":1,\"requestState\":\"[redacted]\"}\n\
             ← {\"id\":1, \"result\":\"\\x1b[2J [redacted]\"}\n\
             ← INFO \\x1b[31mready\n\
             note: odd\n"
        );
    }

    #[test]
    fn two_show_heads_and_the_servers_stderr() {
        assert_eq!(
            shown(2, Terminal::default()),
            "> POST http://h/\n> Accept: a\n> authorization: [redacted]\n\
             → {\"id\":1,\"requestState\":\"[redacted]\"}\n\
             < 200\n\
             ← {\"id\":1, \"result\":\"\x1b[2J [redacted]\"}\n\
             ← INFO \x1b[31mready\n\
             | warn\x1b[2J\n\
             note: odd\n"
        );
    }

    #[test]
    fn the_file_holds_all_as_ndjson_for_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("trace");
        std::fs::write(&path, "old").unwrap();
        let seen = ui(UiOptions { trace_file: Some(path.clone()), ..UiOptions::default() }, Terminal::default());
        seen.ui.redact("hunter22");
        seen.ui.redact("123456");
        let sink = TraceWriter {
            ui: seen.ui.clone(),
            file: Some(Mutex::new(create_private_file(&path, "trace", "--trace").unwrap())),
            failed: AtomicBool::new(false),
            clock: || UNIX_EPOCH + Duration::from_millis(1_795_239_977_123),
        };
        events(&sink);
        sink.record(TraceEvent::Sent(r#"{"pin":123456}"#));
        let time = r#"{"time":"2026-11-21T05:46:17.123Z","#;
        let lines = [
            r#""dir":"sent","http":{"method":"POST","url":"http://h/","headers":[["Accept","a"],["authorization","[redacted]"]]}}"#,
            r#""dir":"sent","message":{"id":1,"requestState":"[redacted]"}}"#,
            r#""dir":"received","http":{"status":200,"headers":[]}}"#,
            r#""dir":"received","message":"{\"id\":1,\n\"result\":\"\u001b[2J [redacted]\"}"}"#,
            r#""dir":"received","message":"INFO \u001b[31mready"}"#,
            r#""dir":"received","stderr":"warn\u001b[2J"}"#,
            r#""note":"odd"}"#,
            r#""dir":"sent","message":{"pin":"[redacted]"}}"#,
        ];
        let expected: String = lines.iter().map(|line| format!("{time}{line}\n")).collect();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, expected);
        for line in text.lines() {
            assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "{line}");
        }
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777, 0o600);
        assert_eq!(seen.err.text(), "");
    }

    #[test]
    fn nothing_is_traced_without_an_option() {
        let quiet = ui(UiOptions::default(), Terminal::default());
        assert!(!quiet.ui.trace().unwrap().is_enabled());
        let loud = ui(UiOptions { verbose: 1, ..UiOptions::default() }, Terminal::default());
        assert!(loud.ui.trace().unwrap().is_enabled());
        let trace_file = Some("/nowhere/at/all".into());
        let lost = ui(UiOptions { trace_file, ..UiOptions::default() }, Terminal::default());
        assert_eq!(lost.ui.trace().err().map(|failure| failure.kind()), Some(ErrorKind::Usage));
    }

    #[test]
    fn dates_are_right_in_leap_years() {
        let at = |seconds| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59.000Z");
        assert_eq!(at(1_735_689_599), "2024-12-31T23:59:59.000Z");
    }
}
