//! The way out over one stream for everything: each message whole, in order, whoever stops waiting for it meanwhile.
//!
//! A request that is given up while it is half written must not leave the half behind: the next line would be glued to
//! it. So a task of its own owns the stream.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::trace::{Trace, TraceEvent};
use super::{OutgoingKind, OutgoingMessage};
use crate::error::{ErrorKind, Failure};

/// How long what is still to be written may take at the end.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

/// How messages are put on a stream.
pub(super) trait FrameWriter: Send + 'static {
    /// Why one cannot be.
    type Error: Send + 'static;

    /// Puts one message on the stream, all of it.
    fn write_frame(&mut self, text: String) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Says that no more comes, where the stream's own end does not say it.
    fn write_end(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// One message a line.
pub(super) struct LineFrameWriter<S>(pub(super) S);

impl<S: AsyncWrite + Unpin + Send + 'static> FrameWriter for LineFrameWriter<S> {
    type Error = std::io::Error;

    async fn write_frame(&mut self, mut text: String) -> std::io::Result<()> {
        text.push('\n');
        self.0.write_all(text.as_bytes()).await?;
        self.0.flush().await
    }
}

struct QueuedMessage<E> {
    text: String,
    /// Whether it is written though nobody waits for it: what tells that a request is given up, say.
    must_send: bool,
    done: oneshot::Sender<Result<(), E>>,
}

/// The way out.
pub(super) struct MessageWriter<E> {
    queue: Mutex<Option<mpsc::UnboundedSender<QueuedMessage<E>>>>,
    writer_task: Mutex<Option<JoinHandle<()>>>,
}

impl<E: Send + 'static> MessageWriter<E> {
    /// Messages are put on the stream of this pen from now on.
    pub(super) fn spawn(pen: impl FrameWriter<Error = E>, trace: Trace) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write_queued(pen, messages, trace));
        MessageWriter { queue: Mutex::new(Some(queue)), writer_task: Mutex::new(Some(writer)) }
    }

    /// Writes one message and waits until that is done; what kept it from being written, where something did. A request
    /// that nobody waits for any more is left out where not a byte of it was written yet.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] where the connection was closed before.
    pub(super) async fn send(&self, message: OutgoingMessage) -> Result<Option<E>, Failure> {
        let (written, done) = oneshot::channel();
        let message =
            QueuedMessage { text: message.body, must_send: message.kind == OutgoingKind::OneWay, done: written };
        let queued = {
            let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.as_ref().is_some_and(|queue| queue.send(message).is_ok())
        };
        if !queued {
            return Err(closed_failure());
        }
        done.await.map(Result::err).map_err(|_| closed_failure())
    }

    /// Ends the stream, after what was to be written where the other side takes it at once: a writer that is stuck
    /// must not keep the stream open.
    pub(super) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let writer = self.writer_task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut writer) = writer
            && timeout(FLUSH_TIMEOUT, &mut writer).await.is_err()
        {
            writer.abort();
            // Gone only when it has ended, and the stream with it.
            let _ = writer.await;
        }
    }
}

/// The failure of whoever sends after the end.
pub(super) fn closed_failure() -> Failure {
    Failure::new(ErrorKind::Bug, "the connection is closed already")
}

impl<E> Drop for MessageWriter<E> {
    fn drop(&mut self) {
        if let Ok(Some(writer)) = self.writer_task.get_mut().map(Option::take) {
            writer.abort();
        }
    }
}

async fn write_queued<P: FrameWriter>(
    mut pen: P,
    mut messages: mpsc::UnboundedReceiver<QueuedMessage<P::Error>>,
    trace: Trace,
) {
    while let Some(QueuedMessage { text, must_send: kept, done: written }) = messages.recv().await {
        if !kept && written.is_closed() {
            continue;
        }
        trace.record(TraceEvent::Sent(&text));
        let _ = written.send(pen.write_frame(text).await);
    }
    pen.write_end().await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt;

    use super::*;

    fn message(text: &str, what: OutgoingKind) -> OutgoingMessage {
        OutgoingMessage { kind: what, method: "", body: text.to_owned(), headers: Vec::new() }
    }

    /// Gives up after a moment; tells whether it was written by then.
    async fn send_briefly(outbox: &MessageWriter<std::io::Error>, text: &str, what: OutgoingKind) -> bool {
        timeout(Duration::from_millis(20), outbox.send(message(text, what))).await.is_ok()
    }

    #[tokio::test]
    async fn a_started_write_is_finished_and_an_abandoned_one_is_skipped() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let outbox = MessageWriter::spawn(LineFrameWriter(ours), Trace::default());
        let long = "x".repeat(100);
        assert!(!send_briefly(&outbox, &long, OutgoingKind::Request(1)).await);
        assert!(!send_briefly(&outbox, "never", OutgoingKind::Request(2)).await);
        assert!(!send_briefly(&outbox, "cancelled", OutgoingKind::OneWay).await);
        let read = async {
            let mut text = String::new();
            theirs.read_to_string(&mut text).await.unwrap();
            text
        };
        let rest = async {
            assert!(outbox.send(message("next", OutgoingKind::Request(3))).await.unwrap().is_none());
            outbox.close().await;
            assert_eq!(outbox.send(message("late", OutgoingKind::OneWay)).await.unwrap_err().kind(), ErrorKind::Bug);
        };
        let (text, ()) = tokio::join!(read, rest);
        assert_eq!(text, format!("{long}\ncancelled\nnext\n"));
    }

    #[tokio::test]
    async fn a_reader_that_is_stuck_does_not_keep_the_stream_open() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let outbox = MessageWriter::spawn(LineFrameWriter(ours), Trace::default());
        assert!(!send_briefly(&outbox, "longer than the pipe", OutgoingKind::Request(1)).await);
        outbox.close().await;
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "longer t", "its end is seen");
    }
}
