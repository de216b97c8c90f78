//! The lines of a batch that were read and wait for their turn.

use std::collections::VecDeque;

use crate::commands::call::batch::done_lines::DoneLines;
use crate::commands::call::batch::line::{BatchLine, LineAction};
use crate::commands::call::batch::servers::BatchServers;
use crate::commands::call::input_stream::LineStream;
use crate::error::Result;

/// If the lines that wait have at least this many bytes, no further line is read ahead.
const LARGE_LINES: usize = 64 << 10;

/// Lines that were read and not started. What can be prepared is, so that they are sent as soon as it is their turn.
pub(super) struct WaitingLines<'a> {
    lines: LineStream,
    servers: &'a BatchServers<'a>,
    /// What an earlier run has done.
    done: DoneLines,
    waiting: VecDeque<WaitingLine>,
    /// How many bytes the lines that wait have.
    bytes: usize,
    /// How many lines were read.
    count: u64,
    /// How many of them were done before.
    pub skipped: usize,
}

struct WaitingLine {
    line: BatchLine,
    action: Result<LineAction>,
    bytes: usize,
}

impl<'a> WaitingLines<'a> {
    /// Nothing is read yet.
    pub fn new(lines: LineStream, servers: &'a BatchServers<'a>, done: DoneLines) -> Self {
        WaitingLines { lines, servers, done, waiting: VecDeque::new(), bytes: 0, count: 0, skipped: 0 }
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether this many lines wait, or fewer that are large: not many of those must be in memory.
    pub fn is_full(&self, count: usize) -> bool {
        self.waiting.len() >= count || self.bytes >= LARGE_LINES
    }

    /// Reads one more line. Returns whether there may be others.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(&mut self) -> Result<bool> {
        let Some(line) = self.lines.next().await.transpose()? else { return Ok(false) };
        self.count += 1;
        if line.trim_ascii().is_empty() {
            return Ok(true);
        }
        let bytes = line.len();
        let (line, mut action) = BatchLine::parse(&line, self.count);
        match &mut action {
            Ok(_) if self.done.contains(&line.id) => self.skipped += 1,
            parsed => {
                if let Ok(action) = parsed {
                    self.servers.prepare_ahead(&line, action);
                }
                self.bytes += bytes;
                self.waiting.push_back(WaitingLine { line, action, bytes });
            }
        }
        Ok(true)
    }

    /// The line whose turn it is.
    pub fn take(&mut self) -> Option<(BatchLine, Result<LineAction>)> {
        let WaitingLine { line, action, bytes } = self.waiting.pop_front()?;
        self.bytes -= bytes;
        Some((line, action))
    }

    /// Forgets the lines that wait: they are not started.
    pub fn discard(&mut self) {
        self.waiting.clear();
        self.bytes = 0;
    }
}
