//! A server that another mcpipe process keeps running: a session of `mcpipe session`, behind a Unix socket of the user.
//!
//! The keeper of a session (`commands/session/keeper.rs`) has the real connection. A command connects to its socket and
//! uses the server as if it had connected itself: it sees the transport of the real connection, and everything that
//! this transport reports. The IDs of its requests begin at a number that the keeper chose, so that no two commands use
//! the same ID and messages need no translation.

pub mod files;
mod frame;
mod launch;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::files::{KeptSession, SessionFiles};
use self::frame::PassedOn;
pub use self::frame::{FirstLine, FrameReader, Greeting, SessionStatus, StreamState, item_line, stream_line, to_line};
pub use self::launch::end_dead_session;
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RawJson;
use crate::secret::Secret;
use crate::transport::connection::{
    BoxFuture, CloseOutcome, ConnectedTransport, END_DETECTION_TIMEOUT, LegacyHttpSession, Transport, TransportKind,
    TransportOptions,
};
use crate::transport::http::SseConnectError;
use crate::transport::message::{Incoming, IncomingItem, OutgoingKind, OutgoingMessage, incoming_channel};
use crate::transport::message_writer::{LineFrameWriter, MessageWriter};
use crate::transport::trace::{Trace, TraceEvent};
use crate::util::lock::lock;

/// How many times to connect to a keeper that ends at the same moment.
const MAX_ATTEMPTS: usize = 3;

/// What the first line of a connection asks for.
pub const CONNECT: &str = "connect";
/// As [`CONNECT`]: what the keeper knows about its session, as one line of JSON.
pub const STATUS: &str = "status";
/// As [`CONNECT`]: end the session. The connection ends with the keeper.
pub const STOP: &str = "stop";

/// Connects to the keeper of a session, which is started if it is not running. Returns `None` if the session was stopped
/// after this command had used it.
///
/// # Errors
/// The keeper's own failure to reach the server; [`ErrorKind::Unreachable`] if there is no keeper and none can be
/// started.
pub(super) async fn connect(session: &KeptSession, options: &TransportOptions) -> Result<Option<ConnectedTransport>> {
    let Some(open) = connect_to_keeper(session, options, &FirstLine::new(CONNECT)).await? else { return Ok(None) };
    match open.0.failure()? {
        Some(failure) => Err(failure),
        None => use_connection(session, options, open).map(Some),
    }
}

/// As [`connect`], over HTTP+SSE. The keeper opens its stream, unless the session has one.
///
/// # Errors
/// As [`connect`]; [`SseConnectError::NoStream`] also if the session uses another transport.
pub(super) async fn connect_sse(
    session: &KeptSession,
    options: &TransportOptions,
) -> Result<Option<ConnectedTransport>, SseConnectError> {
    let connect_timeout_ms = options.connect_timeout.and_then(|limit| u64::try_from(limit.as_millis()).ok());
    let first = FirstLine { needs_sse: true, connect_timeout_ms, ..FirstLine::new(CONNECT) };
    let Some(open) = connect_to_keeper(session, options, &first).await? else { return Ok(None) };
    match open.0.failure()? {
        Some(failure) if open.0.has_no_stream => Err(SseConnectError::NoStream(failure)),
        Some(failure) => Err(SseConnectError::Failed(failure)),
        None => Ok(use_connection(session, options, open).map(Some)?),
    }
}

async fn connect_to_keeper(
    session: &KeptSession,
    options: &TransportOptions,
    first: &FirstLine,
) -> Result<Option<OpenConnection>> {
    let connecting = async {
        let limited = open_connection(session, first);
        match options.connect_timeout {
            // The keeper has the same limit for reaching the server, and its failure says more.
            Some(limit) => timeout(limit + Duration::from_secs(1), limited).await.map_err(|_| {
                Failure::new(ErrorKind::Timeout, format!("the session '{}' does not respond", session.spec.name))
                    .wait_hint("wait longer with --connect-timeout TIME")
            })?,
            None => limited.await,
        }
    };
    let open = options.interrupt.run_until_interrupted(connecting).await??;
    if open.is_none() {
        options.trace.note(&format!("the session {} has ended: connecting without it", session.spec.name));
    }
    Ok(open)
}

fn use_connection(
    session: &KeptSession,
    options: &TransportOptions,
    (greeting, reader, writer): OpenConnection,
) -> Result<ConnectedTransport> {
    let kind = greeting.kind()?;
    session.was_used.store(true, Ordering::Relaxed);
    options.trace.note(&format!("using the session {} (process {})", session.spec.name, greeting.pid));
    let (sender, incoming) = incoming_channel();
    let ended = Arc::new(Notify::new());
    let (stream_sender, stream) = watch::channel(None);
    let (gap_sender, stream_gaps) = watch::channel(());
    let receivers = Receivers { items: sender, stream: stream_sender, stream_gaps: gap_sender, ended: ended.clone() };
    let reader_task = tokio::spawn(forward(reader, receivers, options.trace.clone()));
    let transport = KeptTransport {
        kind,
        first_id: greeting.first_id,
        handshake: greeting.handshake,
        // Written messages are recorded before they get their headers.
        message_writer: MessageWriter::spawn(LineFrameWriter::new(writer), Trace::default()),
        reader_task,
        stream,
        stream_gaps,
        ended,
        trace: options.trace.clone(),
    };
    Ok(ConnectedTransport { transport: Arc::new(transport), incoming })
}

type OpenConnection = (Greeting, FrameReader<OwnedReadHalf>, tokio::net::unix::OwnedWriteHalf);

/// Opens a connection to the keeper, and starts it if need be; for `None` see [`connect`].
async fn open_connection(session: &KeptSession, first: &FirstLine) -> Result<Option<OpenConnection>> {
    let unreachable = |error: &io::Error| {
        Failure::new(ErrorKind::Unreachable, format!("cannot use the session '{}'", session.spec.name))
            .caused_by(error)
            .hint(launch::WITHOUT_SESSION)
    };
    let mut attempt = 1;
    loop {
        let early = lock(&session.connecting).take();
        let requested = match early {
            Some(connecting) => send_first_line(connecting.await, first).await,
            None => request(&session.files, first).await,
        };
        let greeted = match requested {
            Ok(stream) => greet(stream).await,
            Err(error) => Err(error),
        };
        match greeted {
            Ok(connection) => return Ok(Some(connection)),
            // It is not running, or it is ending.
            Err(error) if attempt < MAX_ATTEMPTS && is_missing(&error) => {
                if !launch::launch(session).await? {
                    return Ok(None);
                }
                attempt += 1;
            }
            Err(error) => return Err(unreachable(&error)),
        }
    }
}

/// Whether no keeper answers.
#[must_use]
pub fn is_missing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}

/// Connects to the keeper behind a socket and sends the first line.
///
/// # Errors
/// If nothing listens there, or another user does.
pub async fn request(files: &SessionFiles, first: &FirstLine) -> io::Result<UnixStream> {
    send_first_line(UnixStream::connect(files.socket()).await, first).await
}

async fn send_first_line(connected: io::Result<UnixStream>, first: &FirstLine) -> io::Result<UnixStream> {
    let mut stream = connected?;
    check_peer(&stream)?;
    stream.write_all(format!("{}\n", serde_json::to_string(first)?).as_bytes()).await?;
    Ok(stream)
}

/// Accepts only processes of this user (`SO_PEERCRED`): the socket's directory may have been changed.
///
/// # Errors
/// [`io::ErrorKind::PermissionDenied`] for another user.
pub fn check_peer(stream: &UnixStream) -> io::Result<()> {
    if stream.peer_cred()?.uid() == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "the socket belongs to another user"))
}

async fn greet(stream: UnixStream) -> io::Result<OpenConnection> {
    let (read_half, write_half) = stream.into_split();
    let mut reader = FrameReader::new(read_half);
    let line = reader.next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((serde_json::from_str(&line)?, reader, write_half))
}

/// Where what the keeper sends is handed over.
struct Receivers {
    items: mpsc::Sender<Incoming>,
    stream: watch::Sender<Option<StreamState>>,
    stream_gaps: watch::Sender<()>,
    ended: Arc<Notify>,
}

/// Hands over what the keeper sends, until it closes the connection.
async fn forward(mut reader: FrameReader<OwnedReadHalf>, receivers: Receivers, trace: Trace) {
    let end = loop {
        let items = match reader.next_passed_on(&trace).await {
            Ok(Some(PassedOn::Items(items))) => items,
            Ok(Some(PassedOn::Stream(state))) => {
                let before = receivers.stream.send_replace(Some(state));
                if (before, state) == (Some(StreamState::Open), StreamState::Open) {
                    receivers.stream_gaps.send_replace(());
                }
                continue;
            }
            Ok(None) => break Failure::new(ErrorKind::Unreachable, "the session ended"),
            Err(error) => break Failure::new(ErrorKind::Unreachable, "the session ended").caused_by(&error),
        };
        for item in items {
            if receivers.items.send(item).await.is_err() {
                return;
            }
        }
    };
    receivers.ended.notify_waiters();
    let failure = end.retry_advice(RetryAdvice::default());
    let _ = receivers.items.send(Incoming { request_id: None, item: IncomingItem::Failed(failure) }).await;
}

struct KeptTransport {
    kind: TransportKind,
    first_id: u64,
    handshake: Option<RawJson>,
    message_writer: MessageWriter<io::Error>,
    reader_task: JoinHandle<()>,
    /// What the keeper said about the stream for the server's own messages.
    stream: watch::Receiver<Option<StreamState>>,
    stream_gaps: watch::Receiver<()>,
    ended: Arc<Notify>,
    trace: Trace,
}

impl KeptTransport {
    async fn write(&self, text: String, kind: OutgoingKind) -> Result<()> {
        let ended = self.ended.notified();
        let message = OutgoingMessage { kind, method: "", body: text, headers: Vec::new() };
        let Some(error) = self.message_writer.send(message).await? else { return Ok(()) };
        // The reason for the end arrives on the other half.
        if self.reader_task.is_finished() || timeout(END_DETECTION_TIMEOUT, ended).await.is_ok() {
            return Ok(());
        }
        Err(Failure::new(ErrorKind::Unreachable, "the session does not read its input").caused_by(&*error))
    }
}

impl Transport for KeptTransport {
    fn kind(&self) -> TransportKind {
        self.kind
    }

    fn first_id(&self) -> u64 {
        self.first_id
    }

    fn handshake_result(&self) -> Option<&RawJson> {
        self.handshake.as_ref()
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        self.trace.record(TraceEvent::Sent(&message.body));
        let OutgoingMessage { kind, body, headers, .. } = message;
        let text = if headers.is_empty() { body } else { format!("{}\n{body}", json!({ "headers": headers })) };
        Box::pin(self.write(text, kind))
    }

    fn abandon(&self, id: u64) {
        // Only over HTTP does a request have a stream of its own that can be closed.
        if self.kind.is_http() {
            let line = json!({ "abandon": id }).to_string();
            self.message_writer.push(line);
        }
    }

    fn legacy_session(&self) -> Option<&dyn LegacyHttpSession> {
        (self.kind == TransportKind::Http).then_some(self as &dyn LegacyHttpSession)
    }

    fn close(&self, _patient: bool) -> BoxFuture<'_, CloseOutcome> {
        Box::pin(async move {
            self.message_writer.close().await;
            self.reader_task.abort();
            CloseOutcome::Closed
        })
    }
}

/// The keeper has the session: it knows the revision, and forgets the session ID if the server has done so.
impl LegacyHttpSession for KeptTransport {
    fn set_revision(&self, _revision: Revision) {}

    fn listen(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if !self.is_listening() {
                let mut state = self.stream.clone();
                state.mark_unchanged();
                self.message_writer.push(json!({ "listen": true }).to_string());
                // The keeper answers within a limited time. If it ends, so do the requests that follow.
                let _ = state.changed().await;
            }
        })
    }

    fn is_listening(&self) -> bool {
        *self.stream.borrow() == Some(StreamState::Open)
    }

    fn listen_stream_closed(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            let mut stream = self.stream.clone();
            let is_over =
                |state: &Option<StreamState>| matches!(state, Some(StreamState::Closed | StreamState::Missing));
            let end = stream.wait_for(is_over).await.map(|state| *state == Some(StreamState::Closed));
            match end {
                Ok(has_stream) => has_stream,
                // The end of the connection is reported otherwise.
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn stream_gaps(&self) -> Option<watch::Receiver<()>> {
        let mut gaps = self.stream_gaps.clone();
        // Earlier ones are known.
        gaps.mark_unchanged();
        Some(gaps)
    }

    fn session_id(&self) -> Option<Secret> {
        None
    }

    fn resume_session(&self, _session: &Secret) {}

    fn forget_session(&self) -> bool {
        false
    }
}
