//! The way out over one stream of lines: each whole, in order, whoever stops waiting for it meanwhile.
//!
//! A request that is given up while its line is half written must not leave the half behind: the next line would be
//! glued to it. So a task of its own owns the stream.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::trace::{Event, Trace};
use super::{Envelope, Outgoing};

/// How long what is still to be written may take at the end.
const LAST_LINES: Duration = Duration::from_millis(50);

struct Line {
    text: String,
    /// Whether it is written though nobody waits for it: what tells that a request is given up, say.
    kept: bool,
    written: oneshot::Sender<std::io::Result<()>>,
}

/// How a line was taken.
pub(super) enum Taken {
    /// It is written.
    Written,
    /// It cannot be.
    Failed(std::io::Error),
    /// The connection was closed before.
    Closed,
}

/// The way out.
pub(super) struct Outbox {
    queue: Mutex<Option<mpsc::UnboundedSender<Line>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Outbox {
    /// Lines go out over this stream from now on.
    pub(super) fn over(stream: impl AsyncWrite + Unpin + Send + 'static, trace: Trace) -> Self {
        let (queue, lines) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write(stream, lines, trace));
        Outbox { queue: Mutex::new(Some(queue)), writer: Mutex::new(Some(writer)) }
    }

    /// Writes one message as a line and waits until that is done. A request that nobody waits for any more is left
    /// out where not a byte of it was written yet.
    pub(super) async fn send(&self, message: Envelope) -> Taken {
        let (written, done) = oneshot::channel();
        let line = Line { text: message.body, kept: message.what == Outgoing::OneWay, written };
        let queued = {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().is_some_and(|queue| queue.send(line).is_ok())
        };
        if !queued {
            return Taken::Closed;
        }
        match done.await {
            Ok(Ok(())) => Taken::Written,
            Ok(Err(error)) => Taken::Failed(error),
            Err(_) => Taken::Closed,
        }
    }

    /// Ends the stream, after what was to be written where the other side takes it at once: a writer that is stuck
    /// must not keep the stream open.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut writer) = writer
            && timeout(LAST_LINES, &mut writer).await.is_err()
        {
            writer.abort();
            // Gone only when it has ended, and the stream with it.
            let _ = writer.await;
        }
    }
}

impl Drop for Outbox {
    fn drop(&mut self) {
        if let Ok(Some(writer)) = self.writer.get_mut().map(Option::take) {
            writer.abort();
        }
    }
}

async fn write(mut stream: impl AsyncWrite + Unpin, mut lines: mpsc::UnboundedReceiver<Line>, trace: Trace) {
    while let Some(mut line) = lines.recv().await {
        if !line.kept && line.written.is_closed() {
            continue;
        }
        trace.record(Event::Sent(&line.text));
        line.text.push('\n');
        let written = async {
            stream.write_all(line.text.as_bytes()).await?;
            stream.flush().await
        };
        let _ = line.written.send(written.await);
    }
}
