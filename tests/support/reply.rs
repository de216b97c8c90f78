//! The responses of a scripted HTTP server: exact bytes at defined times.

use std::collections::VecDeque;
use std::io::Write;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::Value;

/// One piece of a response.
pub(super) enum ReplyStep {
    /// Body bytes, framed as the response defines.
    Body(Vec<u8>),
    /// Raw bytes.
    Raw(Vec<u8>),
    Pause(Duration),
    /// Body bytes from a feed, until it ends.
    Feed(Feed),
    /// Body bytes that are generated when they are sent.
    Later(Box<dyn FnOnce() -> Vec<u8> + Send>),
    /// Body bytes, repeated until the client closes the connection.
    Repeat(Box<dyn FnOnce() -> Vec<u8> + Send>),
    /// Nothing more, and the connection stays open until the client closes it.
    Stall,
    /// Closes the connection, whatever was announced.
    Disconnect,
    /// The connection is reset (TCP RST).
    Reset,
}

/// How the length of the body is announced.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    Length,
    Chunked,
    Close,
    /// No head: only raw steps.
    RawOnly,
}

/// A response.
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    pub(super) steps: Vec<ReplyStep>,
}

impl Reply {
    /// An empty response with this status.
    pub fn status(status: u16) -> Self {
        Reply { status, headers: Vec::new(), framing: Framing::Length, steps: Vec::new() }
    }

    /// 202 without a body.
    pub fn accepted() -> Self {
        Self::status(202)
    }

    /// A JSON body.
    pub fn json(value: &Value) -> Self {
        Self::text("application/json", value.to_string())
    }

    /// A body with this content type.
    pub fn text(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(200).header("Content-Type", content_type);
        reply.steps.push(ReplyStep::Body(body.into()));
        reply
    }

    /// An event stream, still empty.
    pub fn sse() -> Self {
        let mut reply = Self::status(200).header("Content-Type", "text/event-stream");
        reply.framing = Framing::Chunked;
        reply
    }

    /// Exactly these bytes, then the end of the connection.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(0);
        reply.framing = Framing::RawOnly;
        reply.steps = vec![ReplyStep::Raw(bytes.into()), ReplyStep::Disconnect];
        reply
    }

    /// The connection is closed without a byte.
    pub fn disconnect() -> Self {
        Self::raw(Vec::new())
    }

    /// The connection is reset; no byte is sent.
    pub fn reset() -> Self {
        let mut reply = Self::raw(Vec::new());
        reply.steps = vec![ReplyStep::Reset];
        reply
    }

    /// No byte is sent, and the connection stays open.
    pub fn never() -> Self {
        let mut reply = Self::raw(Vec::new());
        reply.steps = vec![ReplyStep::Stall];
        reply
    }

    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The status.
    pub fn status_code(&self) -> u16 {
        self.status
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        self
    }

    /// The body ends with the connection, and no length is announced.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    pub fn chunked(mut self) -> Self {
        self.framing = Framing::Chunked;
        self
    }

    /// One SSE event with this message as its data.
    pub fn event(self, message: &Value) -> Self {
        self.write(format!("event: message\ndata: {message}\n\n"))
    }

    /// Raw body bytes.
    pub fn write(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.steps.push(ReplyStep::Body(bytes.into()));
        self
    }

    /// Waits before the next step.
    pub fn pause(mut self, time: Duration) -> Self {
        self.steps.push(ReplyStep::Pause(time));
        self
    }

    /// Body bytes from the feed.
    pub fn feed(mut self, feed: &Feed) -> Self {
        self.steps.push(ReplyStep::Feed(feed.clone()));
        self
    }

    /// Body bytes that are generated when they are sent.
    pub fn later(mut self, make: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        self.steps.push(ReplyStep::Later(Box::new(make)));
        self
    }

    /// Closes the connection in the middle, whatever was announced.
    pub fn then_disconnect(mut self) -> Self {
        self.steps.push(ReplyStep::Disconnect);
        self
    }

    /// Sends body bytes, generated when they are sent, again and again until the client closes the connection.
    pub fn then_repeat(mut self, make: impl FnOnce() -> Vec<u8> + Send + 'static) -> Self {
        self.steps.push(ReplyStep::Repeat(Box::new(make)));
        self
    }

    /// Sends nothing more and keeps the connection open.
    pub fn then_stall(mut self) -> Self {
        self.steps.push(ReplyStep::Stall);
        self
    }

    /// Sends the body in pieces of this many bytes.
    pub fn in_pieces(mut self, size: usize) -> Self {
        let mut pieces = Vec::new();
        for step in std::mem::take(&mut self.steps) {
            match step {
                ReplyStep::Body(bytes) => pieces.extend(bytes.chunks(size).map(|part| ReplyStep::Body(part.to_vec()))),
                other => pieces.push(other),
            }
        }
        self.steps = pieces;
        self
    }

    pub(super) fn closes_connection(&self) -> bool {
        let close = |(name, value): &(String, String)| {
            name.eq_ignore_ascii_case("connection") && value.eq_ignore_ascii_case("close")
        };
        self.framing == Framing::Close || self.headers.iter().any(close)
    }

    /// The bytes of the head.
    pub(super) fn head(&self, body_length: usize) -> Vec<u8> {
        let mut head = Vec::new();
        write!(head, "HTTP/1.1 {} {}\r\n", self.status, reason(self.status)).unwrap();
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        match self.framing {
            // RFC 9110 forbids a length on 204 and 304, and 1xx.
            Framing::Length if matches!(self.status, 100..=199 | 204 | 304) => {}
            Framing::Length => write!(head, "Content-Length: {body_length}\r\n").unwrap(),
            Framing::Chunked => head.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
            Framing::Close => head.extend_from_slice(b"Connection: close\r\n"),
            Framing::RawOnly => return Vec::new(),
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Bytes that a test sends into a running response, from any thread.
#[derive(Clone, Default)]
pub struct Feed(Arc<(Mutex<FeedState>, Condvar)>);

#[derive(Default)]
struct FeedState {
    queue: VecDeque<Vec<u8>>,
    ended: bool,
}

impl Feed {
    pub fn send(&self, bytes: impl Into<Vec<u8>>) {
        self.0.0.lock().unwrap().queue.push_back(bytes.into());
        self.0.1.notify_all();
    }

    /// One SSE event.
    pub fn event(&self, message: &Value) {
        self.send(format!("event: message\ndata: {message}\n\n"));
    }

    /// Ends the feed.
    pub fn end(&self) {
        self.0.0.lock().unwrap().ended = true;
        self.0.1.notify_all();
    }

    /// The next bytes; `Err(true)` at the end, `Err(false)` if nothing arrived in time.
    pub(super) fn next(&self, wait: Duration) -> Result<Vec<u8>, bool> {
        let mut state = self.0.0.lock().unwrap();
        if state.queue.is_empty() && !state.ended {
            state = self.0.1.wait_timeout(state, wait).unwrap().0;
        }
        state.queue.pop_front().ok_or(state.ended)
    }
}
