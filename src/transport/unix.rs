//! A Unix socket: one JSON-RPC message a line, as over standard streams, to a server that runs already.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{BoxFuture, ConnectedTransport, OutgoingMessage, Transport, TransportKind, TransportOptions, UnixEndpoint};
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::message_reader::MessageReader;
use crate::transport::message_writer::{LineFrameWriter, MessageWriter};

/// How long after a failed write the end of the connection may take to show.
const END_DETECTION_TIMEOUT: Duration = Duration::from_millis(500);
/// How long the server may take to hang up once we have said that nothing more comes.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(200);

/// Connects to the socket.
///
/// # Errors
/// [`ErrorKind::Unreachable`] when nobody listens there, [`ErrorKind::Timeout`] when the connection does not stand
/// in time.
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
    let (reading, writing) = options.interrupt.run_until_interrupted(connecting).await??.into_split();
    let (sender, incoming) = mpsc::unbounded_channel();
    let inbox = Arc::new(MessageReader::new(options.trace.clone(), sender, "sent"));
    let (shared, shown) = (inbox.clone(), path.display().to_string());
    let reader = tokio::spawn(async move {
        shared.read_stream(reading).await;
        shared.report_end(
            Failure::new(ErrorKind::Unreachable, format!("the server at {shown} closed the connection"))
                .retry_advice(RetryAdvice::default()),
        );
    });
    let transport = UnixTransport {
        message_writer: MessageWriter::spawn(LineFrameWriter(writing), options.trace.clone()),
        reader_task: std::sync::Mutex::new(Some(reader)),
        message_reader: inbox,
    };
    Ok(ConnectedTransport { transport: Arc::new(transport), incoming })
}

fn connect_timeout_failure(path: &Path) -> Failure {
    Failure::new(ErrorKind::Timeout, format!("cannot connect to {} in time", path.display()))
        .hint("wait longer with --connect-timeout TIME")
}

fn connect_failure(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display();
    let failure = Failure::new(ErrorKind::Unreachable, format!("cannot connect to {shown}")).caused_by(error);
    let unsent = RetryAdvice { is_unprocessed: true, ..RetryAdvice::default() };
    match error.kind() {
        io::ErrorKind::NotFound => failure.retry_advice(unsent).hint("check the path, and that the server is running"),
        io::ErrorKind::ConnectionRefused => {
            failure.hint("nobody listens on that socket: check that the server is running")
        }
        io::ErrorKind::PermissionDenied => failure.hint(format!("check who may use it: ls -l {shown}")),
        _ => failure,
    }
}

struct UnixTransport {
    message_writer: MessageWriter<std::io::Error>,
    reader_task: std::sync::Mutex<Option<JoinHandle<()>>>,
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
            Err(Failure::new(ErrorKind::Unreachable, "the server does not read what it is sent").caused_by(&error))
        })
    }

    fn abandon(&self, _id: u64) {}

    fn diagnostics(&self) -> (Vec<String>, Option<String>) {
        (Vec::new(), self.message_reader.first_non_message())
    }

    fn close(&self, patient: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.message_writer.close().await;
            if patient {
                self.message_reader.ends_within(CLOSE_TIMEOUT).await;
            }
            let reader = self.reader_task.lock().ok().and_then(|mut reader| reader.take());
            if let Some(reader) = reader {
                reader.abort();
            }
        })
    }
}
