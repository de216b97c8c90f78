//! Lines of a file, a pipe or standard input, passed on as they arrive.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use memchr::memchr;
use tokio::sync::mpsc;

use crate::commands::context::Context;
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::MAX_MESSAGE;
use crate::util::bounded_read;

/// How many bytes are read at once; lines that are read together are passed on together.
const BUFFER_SIZE: usize = 64 << 10;

/// Whether this names standard input.
#[must_use]
pub fn is_stdin(source: &Path) -> bool {
    source == Path::new("-")
}

fn read_failure(source: &Path, error: &io::Error) -> Failure {
    let name = if is_stdin(source) { "standard input".to_owned() } else { source.display().to_string() };
    Failure::new(ErrorKind::Usage, format!("cannot read {name}")).caused_by(error)
}

async fn open_input(context: &Context, source: &Path, what: &str) -> Result<BufReader<Box<dyn Read + Send>>> {
    if is_stdin(source) {
        context.note_awaited_input(what);
        return Ok(BufReader::with_capacity(BUFFER_SIZE, Box::new(io::stdin())));
    }
    // A named pipe opens when its other end does: signals must be handled until then.
    let path = source.to_owned();
    let opened = context.interrupt.run_until_interrupted(tokio::task::spawn_blocking(move || File::open(path))).await?;
    let opened = opened.unwrap_or_else(|error| Err(io::Error::other(error)));
    let file = opened.map_err(|error| read_failure(source, &error))?;
    Ok(BufReader::with_capacity(BUFFER_SIZE, Box::new(file)))
}

/// All of a source, as text. `what` is what it should have.
///
/// # Errors
/// [`ErrorKind::Usage`] if it cannot be read or is not UTF-8; when mcpipe is interrupted.
pub async fn read_to_string(context: &Context, source: &Path, what: &str) -> Result<String> {
    let reader = open_input(context, source, what).await?;
    let read = tokio::task::spawn_blocking(move || {
        bounded_read::read_all(reader, MAX_MESSAGE as u64, 0).and_then(bounded_read::into_text)
    });
    let text =
        context.interrupt.run_until_interrupted(read).await?.unwrap_or_else(|error| Err(io::Error::other(error)));
    text.map_err(|error| read_failure(source, &error))
}

/// The lines of a source, as they arrive.
pub struct LineStream {
    receiver: mpsc::Receiver<Result<Vec<u8>>>,
    /// The next lines, after `start`.
    received: Vec<u8>,
    start: usize,
}

impl LineStream {
    /// Starts to read. `what` is what the source should have.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] if it cannot be opened; when mcpipe is interrupted.
    pub async fn open(context: &Context, source: &Path, what: &str) -> Result<Self> {
        let mut reader = open_input(context, source, what).await?;
        let source = source.to_owned();
        // One set of lines waits: a fast writer must wait too instead of filling the memory.
        let (sender, receiver) = mpsc::channel(1);
        // On its own detached thread: a blocking read cannot be canceled.
        std::thread::spawn(move || {
            let mut number = 0;
            loop {
                let lines = match read_available_lines(&mut reader, &mut number) {
                    Ok(lines) if lines.is_empty() => return,
                    Ok(lines) => Ok(lines),
                    Err(error) => Err(read_failure(&source, &error)),
                };
                let ends = lines.is_err();
                if sender.blocking_send(lines).is_err() || ends {
                    return;
                }
            }
        });
        Ok(LineStream { receiver, received: Vec::new(), start: 0 })
    }

    /// The next line, including its line end; `None` at the end of the input.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn next(&mut self) -> Option<Result<Cow<'_, [u8]>>> {
        while !self.is_at_hand() {
            (self.received, self.start) = (Vec::new(), 0);
            match self.receiver.recv().await? {
                Ok(lines) => self.received = lines,
                Err(failure) => return Some(Err(failure)),
            }
        }
        let rest = &self.received[self.start..];
        let length = memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        if length == self.received.len() {
            // The memory of a long line is not kept.
            return Some(Ok(std::mem::take(&mut self.received).into()));
        }
        self.start += length;
        Some(Ok(self.received[self.start - length..self.start].into()))
    }

    /// Whether the next line has arrived.
    #[must_use]
    pub fn is_at_hand(&self) -> bool {
        self.start < self.received.len()
    }
}

/// The next line, after waiting for it, and all that came with it, unless it is long; none at the end of the input.
fn read_available_lines(reader: &mut BufReader<Box<dyn Read + Send>>, number: &mut usize) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    loop {
        bounded_read::read_line(reader, MAX_MESSAGE as u64, number, &mut lines)?;
        if lines.len() >= BUFFER_SIZE || !reader.buffer().contains(&b'\n') {
            return Ok(lines);
        }
    }
}
