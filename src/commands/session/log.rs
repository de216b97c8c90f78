//! The log of a session: what its server prints on stderr, the newest part of it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::output::Ui;
use crate::transport::trace::{TraceEvent, TraceSink};
use crate::util::lock::lock;

/// The size at which the older part is dropped, in bytes.
const MAX_LOG: u64 = 1 << 20;
/// How much is kept then.
const KEPT_LOG: u64 = MAX_LOG / 2;

/// A file with the newest lines.
pub(super) struct LogFile {
    file: Mutex<Option<File>>,
    /// It knows the secrets that the lines must not show.
    ui: Arc<Ui>,
}

impl LogFile {
    /// Opens the log. If that fails, nothing is logged.
    pub(super) fn open(path: PathBuf, ui: Arc<Ui>) -> Self {
        let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path);
        LogFile { file: Mutex::new(file.ok()), ui }
    }
}

impl TraceSink for LogFile {
    fn record(&self, event: TraceEvent<'_>) {
        let line = match event {
            TraceEvent::Stderr(line) => format!("{line}\n"),
            TraceEvent::Note(text) => format!("mcpipe: note: {text}\n"),
            _ => return,
        };
        let mut file = lock(&self.file);
        let Some(log) = file.as_mut() else { return };
        if append(log, self.ui.redacted(&line).as_bytes()).is_err() {
            *file = None;
        }
    }
}

fn append(log: &mut File, line: &[u8]) -> std::io::Result<()> {
    log.write_all(line)?;
    let size = log.metadata()?.len();
    if size <= MAX_LOG {
        return Ok(());
    }
    let mut rest = Vec::new();
    log.seek(SeekFrom::Start(size - KEPT_LOG))?;
    log.read_to_end(&mut rest)?;
    let start = rest.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    log.set_len(0)?;
    log.write_all(rest.get(start..).unwrap_or_default())
}
