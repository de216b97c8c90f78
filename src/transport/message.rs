//! What goes out over a transport and what comes back.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::error::Failure;
use crate::protocol::rpc::RpcMessage;

/// The longest message accepted, in bytes (`STD-09`, `SEC-07`).
pub const MAX_MESSAGE: usize = 256 << 20;

/// Whether an outgoing message expects a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingKind {
    /// A request with this ID.
    Request(u64),
    /// A notification, or a response to a request from the server.
    OneWay,
}

/// One message to send.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// Request or not.
    pub kind: OutgoingKind,
    /// The method, empty for a response; `initialize` opens a session over HTTP.
    pub method: &'static str,
    /// The JSON-RPC message, on one line.
    pub body: String,
    /// Headers that mirror the message, over HTTP (`HTM-02` to `HTM-05`).
    pub headers: Vec<(String, String)>,
}

/// Something that came back.
#[derive(Debug)]
pub struct Incoming {
    /// The request on whose own stream it came (HTTP); `None` on a stream shared by all requests.
    pub request_id: Option<u64>,
    /// What it is.
    pub item: IncomingItem,
}

/// The channel from a transport to the session.
///
/// It holds one message. Until the session has taken that one, the transport does not read the next from the server,
/// so that a server that sends faster than the session works is slowed down and does not fill the memory.
#[must_use]
pub fn incoming_channel() -> (mpsc::Sender<Incoming>, mpsc::Receiver<Incoming>) {
    mpsc::channel(1)
}

/// What came back.
#[derive(Debug)]
pub enum IncomingItem {
    /// A JSON-RPC message; with the HTTP status if it was a plain response body.
    Message(RpcMessage, Option<u16>),
    /// A response that came after other text on its line: the answer to a request that waits for it, otherwise a log.
    EmbeddedResponse(RpcMessage),
    /// A response that cannot be read.
    BrokenResponse(BrokenResponse),
    /// Something about the connection that the user should know.
    Warning(String),
    /// An HTTP response without a JSON-RPC message.
    UnexpectedResponse(Box<UnexpectedResponse>),
    /// Nothing more will come: for the request `request_id`, or for all.
    Failed(Failure),
}

/// How certain it is that a text is a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It cannot be anything else: no other response will come.
    Certain,
    /// It could also be a log line about the response, which then follows.
    Likely,
    /// It does not show which request it answers.
    Possible,
}

/// Text that is recognizably the response to a request, but not valid JSON.
#[derive(Clone, Debug)]
pub struct BrokenResponse {
    /// The request, if it is named.
    pub id: Option<u64>,
    /// Whether it may be something else.
    pub certainty: Certainty,
    /// Where and why it cannot be read.
    pub failure: Failure,
}

/// An HTTP response other than the expected one.
#[derive(Clone, Debug)]
pub struct UnexpectedResponse {
    /// The requested URL.
    pub url: String,
    /// The status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// All `WWW-Authenticate` lines.
    pub challenges: Vec<String>,
    /// `Retry-After`, as a delay.
    pub retry_after: Option<Duration>,
    /// `Location`, as an absolute URL.
    pub location: Option<String>,
    /// `DPoP-Nonce` (RFC 9449 §8).
    pub dpop_nonce: Option<String>,
    /// The address that responded: the server's, or that of a proxy before it.
    pub remote_ip: Option<IpAddr>,
    /// The first part of the body, as text.
    pub body: String,
    /// Whether the request carried a session ID.
    pub had_session_id: bool,
}
