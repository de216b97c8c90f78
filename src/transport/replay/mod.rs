//! Replays a recorded exchange in place of a server. `docs/recording.md` describes the file.

mod file;
mod matching;
mod player;
mod script;
mod server;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

#[cfg(unix)]
use self::file::RecordingLine;
use self::player::{Delivery, Player};
use self::script::RecordedContent;
use crate::error::Result;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::{self, RpcError, RpcMessage};
use crate::protocol::views::ServerInfo;
use crate::secret::Secret;
use crate::transport::connection::{
    BoxFuture, CloseOutcome, ConnectedTransport, Diagnostics, LegacyHttpSession, Transport, TransportKind,
    TransportOptions,
};
use crate::transport::message::{Incoming, IncomingItem, OutgoingMessage, incoming_channel};
use crate::transport::trace::{Trace, TraceEvent};

#[cfg(unix)]
pub(super) use self::file::FailureLine;
pub use self::file::{RECORDING_FORMAT, RECORDING_VERSION, may_be_recording};
pub use self::server::{ReplayServer, ReplayedOutput};

/// Whether this error says that the request is not in the recording.
#[must_use]
pub fn is_not_recorded(error: &RpcError) -> bool {
    error.data_value().get(player::NOT_RECORDED).and_then(Value::as_bool) == Some(true)
}

/// A recording, loaded from its file. Clones share which of its requests were used.
#[derive(Clone, Debug)]
pub struct Recording(Arc<Player>);

impl Recording {
    /// Reads the exchange with one server from FILE, or from `FILE#SERVER` the one with that server. FILE may be a pipe
    /// or a device if `allows_stream`.
    ///
    /// # Errors
    /// [`crate::error::ErrorKind::Config`] if the file cannot be read or used, with the line.
    pub fn open(text: &str, allows_stream: bool) -> Result<Self> {
        let script = match text.rsplit_once('#').filter(|_| !Path::new(text).exists()) {
            Some((file, server)) => file::load(Path::new(file), Some(server), allows_stream),
            None => file::load(Path::new(text), None, allows_stream),
        };
        Ok(Recording(Arc::new(Player::new(script?))))
    }

    /// The transport that was recorded.
    #[must_use]
    pub fn transport_kind(&self) -> TransportKind {
        self.0.script().transport
    }

    /// The revision that was agreed on; `None` if none was.
    #[must_use]
    pub fn revision(&self) -> Option<Revision> {
        self.0.script().revision
    }

    /// Answers one client, which is not mcpipe itself.
    ///
    /// # Errors
    /// If the recording shows that the server could not be connected to.
    pub fn serve(&self) -> Result<ReplayServer> {
        ReplayServer::start(self.0.clone())
    }

    /// What a server without a handshake said about itself.
    #[must_use]
    pub fn server_info(&self) -> ServerInfo {
        self.0.script().server_info.clone()
    }
}

/// Connects to a recording.
pub(super) fn connect(recording: &Recording, options: &TransportOptions) -> Result<ConnectedTransport> {
    let player = recording.0.clone();
    let (outlet, deliveries) = player.connect()?;
    let (sender, incoming) = incoming_channel();
    let forwarder = tokio::spawn(forward(deliveries, sender, options.trace.clone()));
    let transport = ReplayTransport { player, outlet, forwarder, trace: options.trace.clone() };
    Ok(ConnectedTransport { transport: Arc::new(transport), incoming })
}

/// Hands what is played to the session.
async fn forward(mut deliveries: mpsc::UnboundedReceiver<Delivery>, sender: mpsc::Sender<Incoming>, trace: Trace) {
    while let Some(Delivery { request, on_stream, content }) = deliveries.recv().await {
        let Some(item) = incoming_item(content, &trace) else { continue };
        let request_id = request.filter(|_| on_stream).and_then(|id| id.parse().ok());
        if sender.send(Incoming { request_id, item }).await.is_err() {
            return;
        }
    }
}

/// What a line of a recording says came back.
///
/// # Errors
/// If the line is not one of a recording.
#[cfg(unix)]
pub(super) fn parse_received_line(line: &str, trace: &Trace) -> Result<Option<Incoming>, String> {
    let line: RecordingLine<'_> = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let request_id = line.request;
    let Some(content) = line.received()? else { return Ok(None) };
    let item = incoming_item(content, trace).ok_or("not a message")?;
    Ok(Some(Incoming { request_id, item }))
}

fn incoming_item(content: RecordedContent, trace: &Trace) -> Option<IncomingItem> {
    Some(match content {
        RecordedContent::Message { raw, status, retry_after_ms, is_embedded } => {
            trace.record(TraceEvent::Received(raw.get()));
            let mut message = rpc::parse(raw.get()).ok()?.into_iter().next()?;
            if let RpcMessage::Response(response) = &mut message
                && let Err(error) = &mut response.outcome
            {
                error.retry_after = retry_after_ms.map(Duration::from_millis);
            }
            if is_embedded { IncomingItem::EmbeddedResponse(message) } else { IncomingItem::Message(message, status) }
        }
        RecordedContent::Broken(broken) => IncomingItem::BrokenResponse(broken),
        RecordedContent::Warning(text) => IncomingItem::Warning(text),
        RecordedContent::Response(response) => IncomingItem::UnexpectedResponse(response.into()),
        RecordedContent::Failed(failure) => IncomingItem::Failed(failure),
    })
}

struct ReplayTransport {
    player: Arc<Player>,
    outlet: usize,
    forwarder: JoinHandle<()>,
    trace: Trace,
}

impl Transport for ReplayTransport {
    fn kind(&self) -> TransportKind {
        self.player.script().transport
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        self.trace.record(TraceEvent::Sent(&message.body));
        if let Ok(raw) = serde_json::from_str::<&RawValue>(&message.body)
            && let Some(generation) = self.player.take(self.outlet, raw)
        {
            tokio::spawn(player::play_when_idle(self.player.clone(), generation));
        }
        Box::pin(async { Ok(()) })
    }

    fn close(&self, _patient: bool) -> BoxFuture<'_, CloseOutcome> {
        self.forwarder.abort();
        Box::pin(async { CloseOutcome::Closed })
    }

    fn diagnostics(&self) -> Diagnostics {
        let script = self.player.script();
        Diagnostics { stderr_tail: script.stderr_tail.clone(), first_non_message: script.first_non_message.clone() }
    }

    fn legacy_session(&self) -> Option<&dyn LegacyHttpSession> {
        (self.kind() == TransportKind::Http).then_some(self as &dyn LegacyHttpSession)
    }
}

impl LegacyHttpSession for ReplayTransport {
    fn set_revision(&self, _revision: Revision) {}

    fn listen(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    fn is_listening(&self) -> bool {
        self.player.script().is_listening
    }

    fn listen_stream_closed(&self) -> BoxFuture<'_, bool> {
        Box::pin(std::future::pending())
    }

    fn session_id(&self) -> Option<Secret> {
        None
    }

    fn resume_session(&self, _session: &Secret) {}

    fn forget_session(&self) -> bool {
        self.player.script().had_session
    }
}
