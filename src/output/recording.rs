//! Writes a recording: the lines of `--record`, without secrets.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use super::Ui;
use super::redact::{KnownSecrets, redact_members};
use super::trace_writer::{create_private_file, rfc3339};
use crate::error::Result;
use crate::protocol::json::join_lines;
use crate::protocol::json_string::encode_string;
use crate::transport::recorder::RecordSink;
use crate::transport::replay::{RECORDING_FORMAT, RECORDING_VERSION};
use crate::util::lock::lock;

/// A recording that is being written.
pub struct RecordingWriter {
    ui: Arc<Ui>,
    file: Mutex<File>,
    /// Secrets that may be shown to the user, but not to whoever gets the recording.
    secrets: Mutex<KnownSecrets>,
    connections: AtomicU64,
    has_failed: AtomicBool,
}

impl Ui {
    /// Creates a recording.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn create_recording(self: &Arc<Self>, path: &Path) -> Result<RecordingWriter> {
        let file = create_private_file(path, "recording", "--record")?;
        let recording = RecordingWriter {
            ui: self.clone(),
            file: Mutex::new(file),
            secrets: Mutex::default(),
            connections: AtomicU64::new(0),
            has_failed: AtomicBool::new(false),
        };
        let version = env!("CARGO_PKG_VERSION");
        recording.write_line(&format!(
            "{{\"format\":{},\"version\":{RECORDING_VERSION},\"mcpipe\":{},\"time\":{}}}\n",
            encode_string(RECORDING_FORMAT),
            encode_string(version),
            encode_string(&rfc3339(SystemTime::now())),
        ));
        Ok(recording)
    }
}

impl RecordingWriter {
    /// Redacts a secret in this recording.
    pub fn redact(&self, secret: &str) {
        lock(&self.secrets).add(secret);
    }

    /// One write for each line: nothing is lost in a crash.
    fn write_line(&self, line: &str) {
        if lock(&self.file).write_all(line.as_bytes()).is_err() && !self.has_failed.swap(true, Ordering::Relaxed) {
            self.ui.warn("the recording is incomplete: its file cannot be written");
        }
    }
}

impl RecordSink for RecordingWriter {
    fn write(&self, members: &str) {
        let line = format!("{{{members}}}");
        let line = redact_members(&line);
        let line = lock(&self.ui.known_secrets).hide_in_recorded_line(&line);
        let line = lock(&self.secrets).hide_in_recorded_line(&line);
        // After the others are redacted: a time has no secrets, and begins the line as in a trace.
        let rest = join_lines(line);
        let rest = rest.strip_prefix('{').unwrap_or(&rest);
        self.write_line(&format!("{{\"time\":{},{rest}\n", encode_string(&rfc3339(SystemTime::now()))));
    }

    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }
}
