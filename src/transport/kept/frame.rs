//! What a keeper and a command write to each other, in lines.
//!
//! A command writes JSON-RPC messages, each on one line. Over HTTP there are three other lines: the headers of the next
//! message (`headers`), the ID of a request whose response is no longer wanted (`abandon`), and a request to open the
//! stream for the server's own messages (`listen`). The keeper first greets, then writes what its transport reports: a message
//! as it is, anything else as a line of a recording (`docs/recording.md`). After `listen` it also writes whether that
//! stream is open ([`StreamState`]).

use std::io;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::join_lines;
use crate::protocol::rpc::{MessageText, RawJson, RpcMessage};
use crate::transport::connection::TransportKind;
use crate::transport::message::{Incoming, IncomingItem, MAX_MESSAGE};
use crate::transport::recorded_transport::{item_members, message_json, recorded_failure};
use crate::transport::replay::{FailureLine, parse_received_line};
use crate::transport::trace::{Trace, TraceEvent};

/// How every message that the keeper passes on begins.
const MESSAGE_PREFIX: &str = r#"{"jsonrpc":"#;
/// What a keeper says about the stream for the server's own messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StreamState {
    /// It is open or being opened. Said again: it is open again, and what the server sent in the meantime may be lost.
    Open,
    /// It has ended, and may be opened again.
    Closed,
    /// The server has none.
    Missing,
}

/// The line of a keeper about the stream for the server's own messages.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamLine {
    stream: StreamState,
}

/// How such a line begins.
const STREAM_LINE_PREFIX: &str = r#"{"stream":"#;
/// How much is read at once.
const BUFFER_SIZE: usize = 8 << 10;

/// What a keeper passed on.
pub(super) enum PassedOn {
    /// What its transport reported.
    Items(Vec<Incoming>),
    /// What became of the stream for the server's own messages.
    Stream(StreamState),
}

/// The first line of a command.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct FirstLine {
    /// What it wants: [`super::CONNECT`], [`super::STATUS`] or [`super::STOP`].
    pub command: String,
    /// It connects only over HTTP+SSE.
    #[serde(default)]
    pub needs_sse: bool,
    /// The time limit for that, in milliseconds.
    pub connect_timeout_ms: Option<u64>,
}

impl FirstLine {
    /// A line with this command.
    #[must_use]
    pub fn new(command: &str) -> Self {
        FirstLine { command: command.to_owned(), ..FirstLine::default() }
    }
}

/// The first line of a keeper.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Greeting {
    /// The process of the keeper.
    pub pid: u32,
    /// The ID of the first request.
    pub first_id: u64,
    /// The transport of the connection to the server.
    pub transport: String,
    /// The result of `initialize`, if the handshake is complete. A keeper that does not send it answers `initialize`.
    #[serde(default)]
    pub handshake: Option<RawJson>,
    /// Why the server cannot be reached.
    pub failure: Option<Value>,
    /// Whether the failure is that the URL has no event stream.
    #[serde(default)]
    pub has_no_stream: bool,
}

impl Greeting {
    /// Sets why the server cannot be reached.
    #[must_use]
    pub fn with_failure(self, failure: &Failure) -> Self {
        Greeting { failure: Some(recorded_failure(failure)), ..self }
    }

    pub(super) fn failure(&self) -> Result<Option<Failure>> {
        let Some(failure) = &self.failure else { return Ok(None) };
        let line = FailureLine::deserialize(failure).map_err(|error| invalid(&error.to_string()))?;
        line.parse().map(Some).map_err(|why| invalid(&why))
    }

    pub(super) fn kind(&self) -> Result<TransportKind> {
        let kind = TransportKind::ALL.into_iter().find(|kind| kind.as_str() == self.transport);
        kind.ok_or_else(|| invalid(&format!("unknown transport '{}'", self.transport)))
    }
}

/// What a keeper says about its session. `docs/json.md` shows it.
#[derive(Serialize, Deserialize)]
pub struct SessionStatus {
    /// The name of the session.
    pub name: String,
    /// The target, without secrets.
    pub target: String,
    /// The transport of the connection to the server.
    pub transport: String,
    /// The process of the keeper.
    pub pid: u32,
    /// The processes of the server.
    pub server_pids: Vec<u32>,
    /// How many commands are using it.
    pub commands: usize,
    /// How many requests commands have sent.
    pub requests: u64,
    /// After which time without commands it ends, in milliseconds.
    pub idle_ms: u64,
    /// When it was started, in seconds since 1970.
    pub started: u64,
}

fn invalid(why: &str) -> Failure {
    Failure::new(ErrorKind::Bug, "the session sent something other than expected").cause(why.to_owned())
}

/// What came back from the server, as the line that a command reads.
#[must_use]
pub fn item_line(incoming: &Incoming) -> String {
    to_line(match &incoming.item {
        IncomingItem::Message(message, None) if incoming.request_id.is_none() && !has_retry_after(message) => {
            message_json(message)
        }
        item => {
            let request = incoming.request_id.map(|id| format!(r#""request":{id},"#)).unwrap_or_default();
            format!("{{{request}{}}}", item_members(item))
        }
    })
}

/// The line that tells a command about the stream for the server's own messages.
#[must_use]
pub fn stream_line(stream: StreamState) -> String {
    to_line(serde_json::to_string(&StreamLine { stream }).unwrap_or_default())
}

/// A JSON text as one line, with its end. Servers may send messages over several lines.
#[must_use]
pub fn to_line(json: String) -> String {
    join_lines(json).into_owned() + "\n"
}

fn has_retry_after(message: &RpcMessage) -> bool {
    matches!(message, RpcMessage::Response(response)
        if response.outcome.as_ref().is_err_and(|error| error.retry_after.is_some()))
}

/// Reads lines from the other side.
pub struct FrameReader<R> {
    reader: BufReader<R>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Reads from this stream.
    pub fn new(stream: R) -> Self {
        FrameReader { reader: BufReader::with_capacity(BUFFER_SIZE, stream) }
    }

    /// The stream.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.reader.into_inner()
    }

    /// The next line, without its end; `None` at the end of the stream. A line that was begun is dropped: its writer
    /// died.
    ///
    /// # Errors
    /// If the stream cannot be read, or a line is longer than a message may be.
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        let mut line = Vec::new();
        loop {
            let chunk = self.reader.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default());
            let length = end.map_or(chunk.len(), |end| end + 1);
            self.reader.consume(length);
            // A frame is a little longer than its message.
            if line.len() > MAX_MESSAGE + (1 << 20) {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"));
            }
            if end.is_some() {
                return String::from_utf8(line).map(Some).map_err(io::Error::other);
            }
        }
    }

    /// What the keeper passes on next; `None` at the end.
    ///
    /// # Errors
    /// If the stream cannot be read, or what is read is not what a keeper writes.
    pub(super) async fn next_passed_on(&mut self, trace: &Trace) -> io::Result<Option<PassedOn>> {
        let Some(line) = self.next_line().await? else { return Ok(None) };
        if line.starts_with(MESSAGE_PREFIX) {
            trace.record(TraceEvent::Received(&line));
            let text = MessageText::parse(line).map_err(|_| io::Error::other("not a message"))?;
            let arrived = |message| Incoming { request_id: None, item: IncomingItem::Message(message, None) };
            return Ok(Some(PassedOn::Items(text.into_messages().into_iter().map(arrived).collect())));
        }
        if line.starts_with(STREAM_LINE_PREFIX) {
            let StreamLine { stream } = serde_json::from_str(&line)?;
            return Ok(Some(PassedOn::Stream(stream)));
        }
        let item = parse_received_line(&line, trace).map_err(io::Error::other)?;
        Ok(Some(PassedOn::Items(item.into_iter().collect())))
    }
}
