//! `--events FILE|-`: every notification of the servers as a line of NDJSON, in the order in which they come.
//!
//! Each line is written as soon as its notification arrives. On standard output the result follows the notifications
//! that arrived before it, on its own line.

use std::io::Write;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::value::RawValue;

use super::trace_writer::create_private_file;
use super::ui::{EventOutput, Ui};
use crate::error::Result;
use crate::protocol::json::join_lines;
use crate::protocol::rpc;
use crate::util::lock::lock;

/// Whether this value of `--events` stands for standard output, where the result goes as well.
#[must_use]
pub fn events_go_to_stdout(events: Option<&Path>) -> bool {
    events == Some(Path::new("-"))
}

impl Ui {
    /// Whether notifications and the result are both written to standard output.
    pub(super) fn events_to_stdout(&self) -> bool {
        events_go_to_stdout(self.options.events.as_deref())
    }

    /// Creates the file of `--events`, once. Whether notifications are wanted at all.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) if it cannot be created.
    pub fn open_events(&self) -> Result<bool> {
        let Some(path) = &self.options.events else { return Ok(false) };
        if self.events.get().is_some() {
            return Ok(true);
        }
        let events = if self.events_to_stdout() {
            EventOutput::Stdout
        } else {
            let file = create_private_file(path, "events", "--events")?;
            EventOutput::File(Mutex::new(file), AtomicBool::new(false))
        };
        let _ = self.events.set(events);
        Ok(true)
    }

    /// Writes one notification.
    pub fn write_event(&self, method: &str, params: Option<&RawValue>) {
        let Some(events) = self.events.get() else { return };
        let line = rpc::notification(method, params.map(RawValue::get));
        match events {
            // A closed pipe is reported when the result is written.
            EventOutput::Stdout => drop(self.print_json_line(&line)),
            EventOutput::File(file, failed) => {
                // One write for each line: a reader never sees half of one.
                let line = format!("{}\n", join_lines(line));
                if lock(file).write_all(line.as_bytes()).is_err() && !failed.swap(true, Ordering::Relaxed) {
                    self.warn("the events file is incomplete: it cannot be written");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::testing::*;
    use super::super::{Terminal, UiOptions};
    use super::*;
    use crate::error::ErrorKind;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn standard_output_gets_lines_and_the_answer_is_one_too() {
        for terminal in [Terminal::default(), at_terminal()] {
            let options = UiOptions { events: Some("-".into()), json: true, ..UiOptions::default() };
            let seen = ui(options, terminal);
            assert!(seen.ui.open_events().unwrap());
            seen.ui.write_event("notifications/progress", Some(&raw("{\"progress\":\n1E2}")));
            seen.ui.write_event("notifications/x", None);
            seen.ui.print_raw_json(&raw("{\"content\":\n[]}")).unwrap();
            let lines = "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progress\": 1E2}}\n\
                         {\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}\n{\"content\": []}\n";
            assert_eq!(seen.out.text(), lines);
        }
    }

    #[test]
    fn a_file_is_made_once_and_one_that_cannot_be_made_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events");
        let with = |path: &Path| ui(UiOptions { events: Some(path.to_owned()), ..UiOptions::default() }, at_terminal());
        let seen = with(&path);
        seen.ui.open_events().unwrap();
        seen.ui.write_event("a", None);
        seen.ui.open_events().unwrap();
        seen.ui.write_event("b", None);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"jsonrpc\":\"2.0\",\"method\":\"a\"}\n{\"jsonrpc\":\"2.0\",\"method\":\"b\"}\n");
        assert_eq!(with(dir.path()).ui.open_events().unwrap_err().kind(), ErrorKind::Usage);
        assert!(!ui(UiOptions::default(), at_terminal()).ui.open_events().unwrap());
    }
}
