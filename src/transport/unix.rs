//! A Unix socket of a running server: one JSON-RPC message per line, as over stdio.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::connection::{ConnectedTransport, TransportKind, TransportOptions};
use crate::transport::endpoint::UnixEndpoint;
use crate::transport::message_reader::{MessageReader, stream_channel};
use crate::transport::message_writer::{LineFrameWriter, MessageWriter};
use crate::transport::stream_transport::StreamTransport;
use crate::util::quoting::quote;

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
    let (sender, incoming) = stream_channel();
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
    let transport = StreamTransport {
        kind: TransportKind::Unix,
        message_writer: MessageWriter::spawn(LineFrameWriter::new(write_half), options.trace.clone()),
        message_reader,
        reader_task,
        write_failure: |error: &io::Error| {
            Failure::new(ErrorKind::Unreachable, "the server does not read its input").caused_by(error)
        },
    };
    Ok(ConnectedTransport { transport: Arc::new(transport), incoming })
}

/// A server that is not ready may become so.
const NOT_SENT: RetryAdvice =
    RetryAdvice { is_unprocessed: true, is_http_status: false, is_proxy: false, retry_after: None };

fn connect_timeout_failure(path: &Path) -> Failure {
    Failure::new(ErrorKind::Timeout, format!("connecting to {} timed out", path.display()))
        .retry_advice(NOT_SENT)
        .wait_hint("wait longer with --connect-timeout TIME")
}

fn connect_failure(path: &Path, error: &std::io::Error) -> Failure {
    let shown = path.display();
    let failure = Failure::new(ErrorKind::Unreachable, format!("cannot connect to {shown}")).caused_by(error);
    match error.kind() {
        io::ErrorKind::NotFound => {
            failure.retry_advice(NOT_SENT).hint("check the path, and that the server is running")
        }
        io::ErrorKind::ConnectionRefused => {
            failure.retry_advice(NOT_SENT).hint("check that the server is running and listens on this socket")
        }
        // Too many connections wait to be accepted.
        io::ErrorKind::WouldBlock => failure.retry_advice(NOT_SENT),
        io::ErrorKind::PermissionDenied => {
            failure.hint(format!("check its permissions: ls -l {}", quote(&shown.to_string())))
        }
        _ => failure,
    }
}
