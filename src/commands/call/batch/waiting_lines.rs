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
    waiting: LineQueue,
    /// How many lines were read.
    count: u64,
    /// How many of them were done before.
    pub skipped: usize,
}

/// Lines in their order, each with its length.
#[derive(Default)]
struct LineQueue {
    lines: VecDeque<(usize, BatchLine, Result<LineAction>)>,
    /// How many bytes they have together.
    bytes: usize,
}

impl LineQueue {
    fn is_full(&self, count: usize) -> bool {
        self.lines.len() >= count || self.bytes >= LARGE_LINES
    }

    fn push(&mut self, bytes: usize, line: BatchLine, action: Result<LineAction>) {
        self.bytes += bytes;
        self.lines.push_back((bytes, line, action));
    }

    fn pop(&mut self) -> Option<(BatchLine, Result<LineAction>)> {
        let (bytes, line, action) = self.lines.pop_front()?;
        self.bytes -= bytes;
        Some((line, action))
    }
}

impl<'a> WaitingLines<'a> {
    /// Nothing is read yet.
    pub fn new(lines: LineStream, servers: &'a BatchServers<'a>, done: DoneLines) -> Self {
        WaitingLines { lines, servers, done, waiting: LineQueue::default(), count: 0, skipped: 0 }
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.lines.is_empty()
    }

    /// Whether this many lines wait, or fewer that are large: not many of those must be in memory.
    pub fn is_full(&self, count: usize) -> bool {
        self.waiting.is_full(count)
    }

    /// Reads one more line, and those that have arrived with it until this many wait. Returns whether there may be
    /// others.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn read(&mut self, count: usize) -> Result<bool> {
        let mut may_have_more = self.read_line().await?;
        while self.lines.is_at_hand() && !self.is_full(count) {
            may_have_more = self.read_line().await?;
        }
        Ok(may_have_more)
    }

    async fn read_line(&mut self) -> Result<bool> {
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
                self.waiting.push(bytes, line, action);
            }
        }
        Ok(true)
    }

    /// The line whose turn it is.
    pub fn take(&mut self) -> Option<(BatchLine, Result<LineAction>)> {
        self.waiting.pop()
    }

    /// Forgets the lines that wait: they are not started.
    pub fn discard(&mut self) {
        self.waiting = LineQueue::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut LineQueue, bytes: usize) {
        let (line, action) = BatchLine::parse(br#"{"tool":"t"}"#, 1);
        queue.push(bytes, line, action);
    }

    #[test]
    fn large_lines_fill_the_queue_before_their_number_does() {
        let mut queue = LineQueue::default();
        push(&mut queue, LARGE_LINES - 1);
        assert!(!queue.is_full(8) && queue.is_full(1));
        push(&mut queue, 1);
        assert!(queue.is_full(8));
        assert!(queue.pop().is_some());
        assert!(!queue.is_full(8) && queue.bytes == 1);
        for _ in 1..8 {
            assert!(!queue.is_full(8));
            push(&mut queue, 1);
        }
        assert!(queue.is_full(8));
    }
}
