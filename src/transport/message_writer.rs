//! Writes messages to a stream that carries everything: each one completely and in order, even if its sender stops
//! waiting for it.
//!
//! A request that is cancelled while half of it is written would otherwise run into the next one. So a task of its own
//! owns the stream.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::{ErrorKind, Failure};
use crate::transport::message::{OutgoingKind, OutgoingMessage};
use crate::transport::trace::{Trace, TraceEvent};
use crate::util::lock::lock;

/// How many bytes of messages that are ready together are written together.
const BUFFER_SIZE: usize = 16 << 10;
/// How long writing the queued messages may take when the connection is closed.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(50);

/// Writes messages to one kind of stream.
pub(super) trait FrameWriter: Send + 'static {
    /// Why one cannot be written.
    type Error: Send + Sync + 'static;

    /// Writes one message completely, or buffers it until [`FrameWriter::flush`].
    fn write_frame(&mut self, text: String) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Writes what is buffered.
    fn flush(&mut self) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Announces the end, if closing the stream does not.
    fn write_end(&mut self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

/// One message per line.
pub(super) struct LineFrameWriter<S>(BufWriter<S>);

impl<S: AsyncWrite> LineFrameWriter<S> {
    pub(super) fn new(stream: S) -> Self {
        LineFrameWriter(BufWriter::with_capacity(BUFFER_SIZE, stream))
    }
}

impl<S: AsyncWrite + Unpin + Send + 'static> FrameWriter for LineFrameWriter<S> {
    type Error = std::io::Error;

    async fn write_frame(&mut self, mut text: String) -> std::io::Result<()> {
        text.push('\n');
        self.0.write_all(text.as_bytes()).await
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush().await
    }
}

struct QueuedMessage<E> {
    text: String,
    /// Whether it is written even if its sender stopped waiting: notifications, such as a cancellation, and responses.
    must_send: bool,
    done: oneshot::Sender<Result<(), Arc<E>>>,
}

/// Hands messages to the task that writes them.
pub(super) struct MessageWriter<E> {
    queue: Mutex<Option<mpsc::UnboundedSender<QueuedMessage<E>>>>,
    writer_task: Mutex<Option<JoinHandle<()>>>,
}

impl<E: Send + Sync + 'static> MessageWriter<E> {
    /// Starts the task that owns the stream.
    pub(super) fn spawn(frames: impl FrameWriter<Error = E>, trace: Trace) -> Self {
        let (queue, messages) = mpsc::unbounded_channel();
        let writer = tokio::spawn(write_queued(frames, messages, trace));
        MessageWriter { queue: Mutex::new(Some(queue)), writer_task: Mutex::new(Some(writer)) }
    }

    /// Writes one message and waits until that is done. Returns the error of a failed write. A request whose sender
    /// stops waiting is not written unless writing has begun.
    ///
    /// # Errors
    /// [`ErrorKind::Bug`] if the connection was closed.
    pub(super) async fn send(&self, message: OutgoingMessage) -> Result<Option<Arc<E>>, Failure> {
        let (done, written) = oneshot::channel();
        let message = QueuedMessage { text: message.body, must_send: message.kind == OutgoingKind::OneWay, done };
        let is_queued = lock(&self.queue).as_ref().is_some_and(|queue| queue.send(message).is_ok());
        if !is_queued {
            return Err(sent_after_close_failure());
        }
        written.await.map(Result::err).map_err(|_| sent_after_close_failure())
    }

    /// Writes a text after the queued messages, without waiting for it.
    #[cfg(unix)]
    pub(super) fn push(&self, text: String) {
        let (done, _) = oneshot::channel();
        if let Some(queue) = lock(&self.queue).as_ref() {
            let _ = queue.send(QueuedMessage { text, must_send: true, done });
        }
    }

    /// Closes the stream, after writing the queued messages if the other side reads them at once. A stuck write must
    /// not keep the stream open.
    pub(super) async fn close(&self) {
        drop(lock(&self.queue).take());
        let writer = lock(&self.writer_task).take();
        if let Some(mut writer) = writer
            && timeout(FLUSH_TIMEOUT, &mut writer).await.is_err()
        {
            writer.abort();
            // The stream is closed only when the task has ended.
            let _ = writer.await;
        }
    }
}

/// The failure of sending after [`MessageWriter::close`].
pub(super) fn sent_after_close_failure() -> Failure {
    Failure::new(ErrorKind::Bug, "the connection was closed")
}

impl<E> Drop for MessageWriter<E> {
    fn drop(&mut self) {
        if let Ok(Some(writer)) = self.writer_task.get_mut().map(Option::take) {
            writer.abort();
        }
    }
}

async fn write_queued<W: FrameWriter>(
    mut frames: W,
    mut messages: mpsc::UnboundedReceiver<QueuedMessage<W::Error>>,
    trace: Trace,
) {
    let mut waiting = Vec::new();
    while let Some(first) = messages.recv().await {
        let mut written = Ok(());
        let mut next = Some(first);
        while let Some(QueuedMessage { text, must_send, done }) = next {
            if must_send || !done.is_closed() {
                trace.record(TraceEvent::Sent(&text));
                written = frames.write_frame(text).await;
                waiting.push(done);
            }
            next = if written.is_ok() { messages.try_recv().ok() } else { None };
        }
        if written.is_ok() && !waiting.is_empty() {
            written = frames.flush().await;
        }
        let written = written.map_err(Arc::new);
        for done in waiting.drain(..) {
            let _ = done.send(written.clone());
        }
    }
    frames.write_end().await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::AsyncReadExt;

    use super::*;

    fn message(text: &str, kind: OutgoingKind) -> OutgoingMessage {
        OutgoingMessage { kind, method: "", body: text.to_owned(), headers: Vec::new() }
    }

    /// Stops waiting after 20 ms. Returns whether the message had been written.
    async fn send_briefly(writer: &MessageWriter<std::io::Error>, text: &str, kind: OutgoingKind) -> bool {
        timeout(Duration::from_millis(20), writer.send(message(text, kind))).await.is_ok()
    }

    #[tokio::test]
    async fn a_started_write_is_finished_and_an_abandoned_one_is_skipped() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let writer = MessageWriter::spawn(LineFrameWriter::new(ours), Trace::default());
        let long = "x".repeat(100);
        assert!(!send_briefly(&writer, &long, OutgoingKind::Request(1)).await);
        assert!(!send_briefly(&writer, "never", OutgoingKind::Request(2)).await);
        assert!(!send_briefly(&writer, "cancelled", OutgoingKind::OneWay).await);
        let read = async {
            let mut text = String::new();
            theirs.read_to_string(&mut text).await.unwrap();
            text
        };
        let rest = async {
            assert!(writer.send(message("next", OutgoingKind::Request(3))).await.unwrap().is_none());
            writer.close().await;
            assert_eq!(writer.send(message("late", OutgoingKind::OneWay)).await.unwrap_err().kind(), ErrorKind::Bug);
        };
        let (text, ()) = tokio::join!(read, rest);
        assert_eq!(text, format!("{long}\ncancelled\nnext\n"));
    }

    #[tokio::test]
    async fn a_stuck_reader_does_not_keep_the_stream_open() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let writer = MessageWriter::spawn(LineFrameWriter::new(ours), Trace::default());
        assert!(!send_briefly(&writer, "longer than the pipe", OutgoingKind::Request(1)).await);
        writer.close().await;
        let mut text = String::new();
        theirs.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "longer t", "the stream has ended");
    }
}
