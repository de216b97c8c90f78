//! What a recording consists of, in memory.

use serde_json::Value;

use crate::error::Failure;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::ServerInfo;
use crate::transport::connection::TransportKind;
use crate::transport::message::{BrokenResponse, UnexpectedResponse};

/// The exchange with one server.
#[derive(Debug)]
pub(super) struct Script {
    /// What was sent and received, in order.
    pub events: Vec<Event>,
    /// What came of each attempt to connect, in order: a failure, or a connection.
    pub connections: Vec<Option<Failure>>,
    /// Over which transport.
    pub transport: TransportKind,
    /// Which revision was agreed on; `None` if none was.
    pub revision: Option<Revision>,
    /// What a server without a handshake says about itself.
    pub server_info: ServerInfo,
    /// What the server printed outside the protocol.
    pub stderr_tail: Vec<String>,
    /// The first thing it sent that is not a message.
    pub first_non_message: Option<String>,
    /// Whether there was a stream for the server's own messages (legacy Streamable HTTP).
    pub is_listening: bool,
    /// Whether there was a session (legacy Streamable HTTP).
    pub had_session: bool,
    /// Whether a request without a response really got none; a trace does not tell.
    pub silence_is_recorded: bool,
}

/// Something that happened on a connection.
#[derive(Debug)]
pub(super) enum Event {
    /// mcpipe sent something.
    Sent(SentMessage),
    /// Something came back.
    Received(ReceivedItem),
}

/// A message that was sent.
#[derive(Debug)]
pub(super) struct SentMessage {
    /// The connection.
    pub connection: u64,
    /// What it is.
    pub kind: SentKind,
}

/// What a sent message is.
#[derive(Debug)]
pub(super) enum SentKind {
    /// A request.
    Request {
        /// Its ID, as JSON.
        id: String,
        /// The method.
        method: String,
        /// The parameters without what differs from run to run.
        params: Value,
        /// The token of its progress notifications, as JSON.
        progress_token: Option<String>,
    },
    /// A notification.
    Notification {
        /// The method.
        method: String,
    },
    /// A response to a request from the server.
    Answer {
        /// The ID of that request, as JSON.
        id: String,
        /// The result or error.
        outcome: Value,
    },
}

/// Something that came back.
#[derive(Debug)]
pub(super) struct ReceivedItem {
    /// The connection.
    pub connection: u64,
    /// The request that it answers or on whose stream it came, by its place in [`Script::events`].
    pub request: Option<usize>,
    /// Whether nothing more is expected for the request after it.
    pub is_final: bool,
    /// Whether the request's own stream carried it.
    pub on_stream: bool,
    /// The last thing that was sent before it on the same connection.
    pub after: Option<usize>,
    /// What it is.
    pub content: RecordedContent,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) enum RecordedContent {
    /// A message.
    Message {
        /// The message.
        raw: RawJson,
        /// The HTTP status if it was a plain response body.
        status: Option<u16>,
        /// How long to wait before the next request, in milliseconds.
        retry_after_ms: Option<u64>,
        /// Whether it came after other text on its line.
        is_embedded: bool,
    },
    /// A response that cannot be read.
    Broken(BrokenResponse),
    /// A warning about the connection.
    Warning(String),
    /// An HTTP response without a message.
    Response(UnexpectedResponse),
    /// Nothing more comes.
    Failed(Failure),
}
