//! The lines of a batch that were read and wait for their turn.

use std::collections::VecDeque;

use crate::commands::call::batch::done_lines::DoneLines;
use crate::commands::call::batch::line::{BatchLine, LineAction};
use crate::commands::call::batch::servers::BatchServers;
use crate::commands::call::input_stream::LineStream;
use crate::error::Result;

/// Lines that were read and not started. What can be prepared is, so that they are sent as soon as it is their turn.
pub(super) struct WaitingLines<'a> {
    lines: LineStream,
    servers: &'a BatchServers<'a>,
    /// What an earlier run has done.
    done: DoneLines,
    waiting: VecDeque<(BatchLine, Result<LineAction>)>,
    /// How many lines were read.
    count: u64,
    /// How many of them were done before.
    pub skipped: usize,
}

impl<'a> WaitingLines<'a> {
    /// Nothing is read yet.
    pub fn new(lines: LineStream, servers: &'a BatchServers<'a>, done: DoneLines) -> Self {
        WaitingLines { lines, servers, done, waiting: VecDeque::new(), count: 0, skipped: 0 }
    }

    /// How many lines wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
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
        let (line, mut action) = BatchLine::parse(&line, self.count);
        match &mut action {
            Ok(_) if self.done.contains(&line.id) => self.skipped += 1,
            parsed => {
                if let Ok(action) = parsed {
                    self.servers.prepare_ahead(&line, action);
                }
                self.waiting.push_back((line, action));
            }
        }
        Ok(true)
    }

    /// The line whose turn it is.
    pub fn take(&mut self) -> Option<(BatchLine, Result<LineAction>)> {
        self.waiting.pop_front()
    }

    /// Forgets the lines that wait: they are not started.
    pub fn discard(&mut self) {
        self.waiting.clear();
    }
}
