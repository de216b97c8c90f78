//! A connection that is one stream for everything, to a server that is not a child process.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::error::{Failure, Result};
use crate::transport::connection::{
    BoxFuture, CloseOutcome, Diagnostics, END_DETECTION_TIMEOUT, Transport, TransportKind,
};
use crate::transport::message::OutgoingMessage;
use crate::transport::message_reader::MessageReader;
use crate::transport::message_writer::MessageWriter;

/// How long the server may take to close the connection after mcpipe has closed its side.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(300);

/// The two directions of the stream. `E` is why a message cannot be written.
pub(super) struct StreamTransport<E> {
    pub(super) kind: TransportKind,
    pub(super) message_writer: MessageWriter<E>,
    pub(super) message_reader: Arc<MessageReader>,
    pub(super) reader_task: JoinHandle<()>,
    pub(super) write_failure: fn(&E) -> Failure,
}

impl<E: Send + Sync + 'static> Transport for StreamTransport<E> {
    fn kind(&self) -> TransportKind {
        self.kind
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(error) = self.message_writer.send(message).await? else { return Ok(()) };
            // How the connection ended is more informative than the failed write.
            if self.message_reader.ends_within(END_DETECTION_TIMEOUT).await {
                return Ok(());
            }
            Err((self.write_failure)(&error))
        })
    }

    fn diagnostics(&self) -> Diagnostics {
        Diagnostics { first_non_message: self.message_reader.first_non_message(), ..Diagnostics::default() }
    }

    fn close(&self, patient: bool) -> BoxFuture<'_, CloseOutcome> {
        Box::pin(async move {
            self.message_writer.close().await;
            if patient {
                self.message_reader.ends_within(CLOSE_TIMEOUT).await;
            }
            self.reader_task.abort();
            CloseOutcome::Closed
        })
    }
}
