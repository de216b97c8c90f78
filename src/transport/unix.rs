//! A Unix socket of a running server: one JSON-RPC message per line, as over stdio.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::connection::{
    BoxFuture, CloseOutcome, ConnectedTransport, Diagnostics, END_DETECTION_TIMEOUT, Transport, TransportKind,
    TransportOptions,
};
use crate::transport::endpoint::UnixEndpoint;
use crate::transport::message::{OutgoingMessage, incoming_channel};
use crate::transport::message_reader::MessageReader;
use crate::transport::message_writer::{LineFrameWriter, MessageWriter};
use crate::util::quoting::quote;

/// How long the server may take to close the connection after mcpipe has closed its side.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Connects to the socket.
///
/// # Errors
/// [`ErrorKind::Unreachable`] if no server is listening, [`ErrorKind::Timeout`] if connecting takes too long.
pub(super) async fn connect(endpoint: &UnixEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    let path = &endpoint.path;
    let connecting = async {
        match options.connect_timeout {
            Some(limit) => {
                timeout(limit, UnixStream::connect(path)).await.map_err(|_| connect_timeout_failure(path))?
            }
            None => UnixStream::connect(path).await,
        }
        .map_err(|error| connect_failure(path, &error))
    };
    let (read_half, write_half) = options.interrupt.run_until_interrupted(connecting).await??.into_split();
    let (sender, incoming) = incoming_channel();
    let message_reader = Arc::new(MessageReader::new(options.trace.clone(), sender, "sent"));
    let (shared, shown) = (message_reader.clone(), path.display().to_string());
    let reader_task = tokio::spawn(async move {
        let end = shared.read_stream(read_half).await.err();
        let failure = end.unwrap_or_else(|| {
            Failure::new(ErrorKind::Unreachable, format!("the server at {shown} closed the connection"))
                .retry_advice(RetryAdvice::default())
        });
        shared.report_end(failure).await;
    });
    let transport = UnixTransport {
        message_writer: MessageWriter::spawn(LineFrameWriter::new(write_half), options.trace.clone()),
        reader_task,
        message_reader,
    };
    Ok(ConnectedTransport { transport: Arc::new(transport), incoming })
}

fn connect_timeout_failure(path: &Path) -> Failure {
    Failure::new(ErrorKind::Timeout, format!("connecting to {} timed out", path.display()))
        .wait_hint("wait longer with --connect-timeout TIME")
}

fn connect_failure(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display();
    let failure = Failure::new(ErrorKind::Unreachable, format!("cannot connect to {shown}")).caused_by(error);
    let unsent = RetryAdvice { is_unprocessed: true, ..RetryAdvice::default() };
    match error.kind() {
        io::ErrorKind::NotFound => failure.retry_advice(unsent).hint("check the path, and that the server is running"),
        io::ErrorKind::ConnectionRefused => {
            failure.hint("no server is listening on that socket: check that it is running")
        }
        io::ErrorKind::PermissionDenied => {
            failure.hint(format!("check its permissions: ls -l {}", quote(&shown.to_string())))
        }
        _ => failure,
    }
}

struct UnixTransport {
    message_writer: MessageWriter<std::io::Error>,
    reader_task: JoinHandle<()>,
    message_reader: Arc<MessageReader>,
}

impl Transport for UnixTransport {
    fn kind(&self) -> TransportKind {
        TransportKind::Unix
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let Some(error) = self.message_writer.send(message).await? else { return Ok(()) };
            if self.message_reader.ends_within(END_DETECTION_TIMEOUT).await {
                return Ok(());
            }
            Err(Failure::new(ErrorKind::Unreachable, "the server does not read its input").caused_by(&*error))
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
