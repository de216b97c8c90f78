//! Messages of a protocol on standard output, for commands that are servers themselves.
//!
//! A thread of its own writes them, since a client that does not read would otherwise stop everything else.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::sync::{Arc, Mutex};

use memchr::memchr2;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};

use crate::error::{ErrorKind, Failure, Result};
use crate::util::lock::lock;

/// How many messages wait for the thread.
const QUEUED_MESSAGES: usize = 64;
/// How many bytes wait for the thread. A longer message waits alone.
const QUEUED_BYTES: u32 = 1 << 20;
/// How much is written at once, in bytes.
const BUFFER_SIZE: usize = 64 << 10;

struct QueuedOutput {
    parts: Vec<Cow<'static, str>>,
    /// Its place among the waiting bytes.
    _room: OwnedSemaphorePermit,
}

/// Writes messages to standard output, one on each line, in the order in which they come.
pub struct ProtocolOutput {
    queue: mpsc::Sender<QueuedOutput>,
    room: Arc<Semaphore>,
    end: Arc<OutputEnd>,
}

/// Why nothing more can be written.
#[derive(Default)]
struct OutputEnd {
    failure: Mutex<Option<Failure>>,
    notify: Notify,
}

impl ProtocolOutput {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`ErrorKind::Output`] if standard output is closed.
    pub fn start() -> Result<Self> {
        if super::closed_stdout::was_closed_at_start() {
            return Err(Failure::new(ErrorKind::Output, "cannot write to standard output").cause("it is closed"));
        }
        let stdout = stdout_file().map_err(|error| write_failure(&error))?;
        let (queue, messages) = mpsc::channel(QUEUED_MESSAGES);
        let end = Arc::<OutputEnd>::default();
        let reported = end.clone();
        // Not awaited: a write to a client that does not read must not delay the exit.
        std::thread::spawn(move || {
            if let Err(error) = write_messages(messages, BufWriter::with_capacity(BUFFER_SIZE, stdout)) {
                *lock(&reported.failure) = Some(write_failure(&error));
                reported.notify.notify_waiters();
            }
        });
        Ok(ProtocolOutput { queue, room: Arc::new(Semaphore::new(QUEUED_BYTES as usize)), end })
    }

    /// Writes one message, given in parts without a line end. Resolves when there is room for it, which is how a client
    /// that reads slowly slows down its server.
    pub async fn write(&self, parts: Vec<Cow<'static, str>>) {
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let size = u32::try_from(size).unwrap_or(QUEUED_BYTES).clamp(1, QUEUED_BYTES);
        // Neither is ever closed while this exists, except after a failed write, which `failed` reports.
        let Ok(room) = self.room.clone().acquire_many_owned(size).await else { return };
        let _ = self.queue.send(QueuedOutput { parts, _room: room }).await;
    }

    /// Waits until the messages so far are written, as long as they are being read.
    pub async fn flush(&self) {
        tokio::select! {
            _ = self.room.acquire_many(QUEUED_BYTES) => {}
            _ = self.failed() => {}
        }
    }

    /// Waits until nothing more can be written. [`ErrorKind::ClosedPipe`] if the reader is gone.
    pub async fn failed(&self) -> Failure {
        loop {
            let notified = self.end.notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(failure) = lock(&self.end.failure).clone() {
                return failure;
            }
            notified.await;
        }
    }
}

/// Standard output without the line buffer of the standard library.
fn stdout_file() -> io::Result<File> {
    #[cfg(unix)]
    let owned = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned();
    #[cfg(windows)]
    let owned = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned();
    owned.map(File::from)
}

fn write_failure(error: &io::Error) -> Failure {
    let kind = if error.kind() == io::ErrorKind::BrokenPipe { ErrorKind::ClosedPipe } else { ErrorKind::Output };
    Failure::new(kind, "cannot write to standard output").caused_by(error)
}

/// Writes the messages; flushes when no other is ready.
fn write_messages(mut messages: mpsc::Receiver<QueuedOutput>, mut stdout: impl Write) -> io::Result<()> {
    while let Some(first) = messages.blocking_recv() {
        let mut next = Some(first);
        while let Some(message) = next {
            for part in &message.parts {
                write_on_one_line(&mut stdout, part)?;
            }
            stdout.write_all(b"\n")?;
            // Its room becomes free after it was written, so that `flush` sees it.
            let following = messages.try_recv().ok();
            if following.is_none() {
                stdout.flush()?;
            }
            next = following;
        }
    }
    Ok(())
}

/// Writes JSON without line breaks: outside of strings they are white space, and inside they are not allowed (RFC 8259
/// §7).
fn write_on_one_line(stdout: &mut impl Write, mut text: &str) -> io::Result<()> {
    while let Some(at) = memchr2(b'\n', b'\r', text.as_bytes()) {
        stdout.write_all(&text.as_bytes()[..at])?;
        stdout.write_all(b" ")?;
        text = &text[at + 1..];
    }
    stdout.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_is_written_on_one_line() {
        let mut written = Vec::new();
        write_on_one_line(&mut written, "{\r\n \"a\":\n1}").unwrap();
        write_on_one_line(&mut written, "[2]\r").unwrap();
        assert_eq!(written, b"{   \"a\": 1}[2] ");
    }
}
