//! One response body that is an event stream, read to its end or to the answer that was waited for.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Response, Url};

use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::protocol::rpc::{self, RpcMessage};
use crate::transport::MAX_MESSAGE;
use crate::transport::http::incoming::MessageSender;
use crate::transport::http::{error, unexpected_response};
use crate::transport::sse::{SseDecoder, SseEvent};

/// How long to look for the regular end of a stream after the answer, so that its connection can be used
/// again (a new one costs a TLS handshake).
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);
/// How much of a body that does not look like an event stream is kept for a second look, in bytes.
const MAX_RAW_BODY: usize = 1024 * 1024;
/// How long to wait before reconnecting where the server does not say.
const DEFAULT_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// The longest wait before reconnecting that nobody asked for.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(30);

/// Where a stream stands, over all the responses that continue it.
#[derive(Default)]
pub(super) struct StreamPosition {
    pub(super) last_event_id: Option<String>,
    retry_delay: Option<Duration>,
    /// Whether the latest response brought anything.
    pub(super) has_progressed: bool,
    /// The first event that should have been a message and was none.
    first_non_message: Option<String>,
}

impl StreamPosition {
    /// How long to wait before reconnecting, `fruitless` attempts after the last one that brought anything. Never less
    /// than the server asks for (`HTL-08`), however long that is: the time-out of the request is what bounds it.
    pub(super) fn reconnect_delay(&self, fruitless: u32) -> Duration {
        let base = self.retry_delay.unwrap_or(DEFAULT_RECONNECT_DELAY);
        match fruitless {
            0 => base,
            n => base
                .max(Duration::from_millis(50))
                .saturating_mul(2_u32.pow(n.min(9)))
                .min(MAX_RECONNECT_DELAY)
                .max(base),
        }
    }
}

/// How reading a stream ended.
pub(super) enum StreamEnd {
    /// With the answer.
    Answered,
    /// Before it; broken off where there is a failure.
    Incomplete(Option<Failure>),
    /// It cannot be read on.
    Unreadable(Failure),
}

/// The events of one response.
pub(super) struct EventStream {
    response: Response,
    url: Url,
    decoder: SseDecoder,
    queued_events: VecDeque<SseEvent>,
    /// The bytes so far, where they look like JSON rather than events.
    raw_body: Option<Vec<u8>>,
    has_ended: bool,
}

impl EventStream {
    pub(super) fn new(response: Response, url: Url, limit: usize) -> Self {
        let decoder = SseDecoder::new(limit);
        EventStream {
            response,
            url,
            decoder,
            queued_events: VecDeque::new(),
            raw_body: Some(Vec::new()),
            has_ended: false,
        }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or an event is longer than allowed ([`ErrorKind::Protocol`]).
    pub(super) async fn next_event(&mut self) -> Result<Option<SseEvent>> {
        while !self.has_ended && self.queued_events.is_empty() {
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.push_bytes(&chunk)?,
                Ok(None) => self.has_ended = true,
                Err(error) => {
                    self.has_ended = true;
                    return Err(error::request_failure(error, &self.url));
                }
            }
        }
        Ok(self.queued_events.pop_front())
    }

    /// Takes bytes that were read before.
    pub(super) fn push_bytes(&mut self, bytes: &Bytes) -> Result<()> {
        let first = |bytes: &[u8]| bytes.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
        if let Some(raw) = &mut self.raw_body {
            raw.extend_from_slice(bytes);
            if raw.len() > MAX_RAW_BODY || first(raw).is_some_and(|byte| !matches!(byte, b'{' | b'[')) {
                self.raw_body = None;
            }
        }
        match self.decoder.push(bytes) {
            Ok(events) => self.queued_events.extend(events),
            Err(_) => {
                self.has_ended = true;
                return Err(too_long_failure(&self.url));
            }
        }
        Ok(())
    }

    fn update_position(&self, cursor: &mut StreamPosition) {
        if let Some(id) = self.decoder.last_event_id() {
            cursor.last_event_id = Some(id.to_owned());
        }
        cursor.retry_delay = self.decoder.retry_delay().or(cursor.retry_delay);
    }

    /// What a stream that ended in order still holds: an event without its blank line, or plain JSON.
    fn unfinished_message(self) -> Option<String> {
        let raw = self.raw_body.filter(|raw| !raw.is_empty());
        match raw {
            Some(raw) => Some(String::from_utf8_lossy(&raw).into_owned()),
            None => self.decoder.finish().filter(SseEvent::is_message).map(|event| event.data),
        }
    }

    async fn drain(mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
    }
}

/// Passes on the messages of a stream until the answer to `on` has come, or to the stream's end.
pub(super) async fn forward_messages(
    sink: &MessageSender,
    mut events: EventStream,
    on: Option<u64>,
    cursor: &mut StreamPosition,
) -> StreamEnd {
    cursor.has_progressed = false;
    loop {
        let next = events.next_event().await;
        events.update_position(cursor);
        match next {
            Ok(Some(event)) => {
                cursor.has_progressed = true;
                if event.is_message() && forward_event(sink, &event.data, on, cursor) {
                    events.drain().await;
                    return StreamEnd::Answered;
                }
            }
            Ok(None) => {
                let answered = events.unfinished_message().is_some_and(|text| match rpc::parse(&text) {
                    Ok(messages) => {
                        sink.trace.note("the event stream ended without a blank line");
                        let answered = messages.iter().any(|message| is_answer_to(message, on));
                        sink.send_messages(on, &text, messages, None);
                        answered
                    }
                    Err(_) => false,
                });
                return if answered { StreamEnd::Answered } else { StreamEnd::Incomplete(None) };
            }
            Err(failure) if failure.kind() == ErrorKind::Protocol => return StreamEnd::Unreadable(failure),
            Err(failure) => return StreamEnd::Incomplete(Some(failure)),
        }
    }
}

/// Passes on what one event holds, and tells whether the answer was in it.
fn forward_event(sink: &MessageSender, data: &str, on: Option<u64>, cursor: &mut StreamPosition) -> bool {
    match rpc::parse(data) {
        Ok(messages) => {
            let answered = messages.iter().any(|message| is_answer_to(message, on));
            sink.send_messages(on, data, messages, None);
            answered
        }
        Err(_) => {
            sink.trace.note("skipped an event that is no JSON-RPC message");
            cursor.first_non_message.get_or_insert_with(|| data.chars().take(200).collect());
            false
        }
    }
}

/// Whether a message is the answer to `on`. An error without an id belongs to the request on whose stream
/// it comes: the server could not read the request (digest §2.6).
fn is_answer_to(message: &RpcMessage, on: Option<u64>) -> bool {
    match (message, on) {
        (RpcMessage::Response(response), Some(on)) => response.id == Some(on) || !response.has_id,
        _ => false,
    }
}

/// Why a stream that ended without the answer is a failure: one that may pass, unless what came was nonsense.
pub(super) fn missing_answer_failure(url: &Url, why: Option<Failure>, cursor: &StreamPosition) -> Failure {
    let shown = unexpected_response::redacted_url(url);
    match (why, &cursor.first_non_message) {
        (Some(why), _) => {
            let details = why.details();
            let mut failure = Failure::new(details.kind, format!("the stream from {shown} broke before the answer"));
            failure.details_mut().causes.clone_from(&details.causes);
            failure.retry_advice((details.kind == ErrorKind::Unreachable).then(RetryAdvice::default))
        }
        (None, Some(noise)) => {
            Failure::new(ErrorKind::Protocol, format!("the stream from {shown} held no answer that can be read"))
                .cause(format!("an event that is no JSON-RPC message: {noise}"))
        }
        (None, None) => {
            Failure::new(ErrorKind::Unreachable, format!("the stream from {shown} ended before the answer"))
                .retry_advice(RetryAdvice::default())
        }
    }
}

/// The failure for a body or event beyond the limit.
pub(super) fn too_long_failure(url: &Url) -> Failure {
    Failure::new(
        ErrorKind::Protocol,
        format!("{} sent a message that is too long", unexpected_response::redacted_url(url)),
    )
    .cause(format!("{} MiB are allowed", MAX_MESSAGE >> 20))
    .hint("ask for less at a time, where the tool has an argument for that")
}

/// Whether the start of a body looks like an event stream.
pub(super) fn looks_like_event_stream(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|field| bytes.starts_with(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_the_servers_and_grows_when_nothing_comes() {
        // HTL-08
        let cursor =
            |millis| StreamPosition { retry_delay: Some(Duration::from_millis(millis)), ..StreamPosition::default() };
        assert_eq!(StreamPosition::default().reconnect_delay(0), Duration::from_secs(1));
        assert_eq!(cursor(500).reconnect_delay(0), Duration::from_millis(500));
        assert_eq!(cursor(0).reconnect_delay(0), Duration::ZERO);
        assert_eq!(cursor(0).reconnect_delay(1), Duration::from_millis(100));
        assert_eq!(cursor(500).reconnect_delay(2), Duration::from_secs(2));
        assert_eq!(cursor(20_000).reconnect_delay(u32::MAX), MAX_RECONNECT_DELAY);
        // What the server asks for is never cut short.
        assert_eq!(cursor(40_000).reconnect_delay(0), Duration::from_secs(40));
        assert_eq!(cursor(40_000).reconnect_delay(3), Duration::from_secs(40));
        assert_eq!(cursor(u64::MAX).reconnect_delay(9), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn recognises_events() {
        assert!(looks_like_event_stream(b"\xef\xbb\xbf\nevent: message\n"));
        assert!(looks_like_event_stream(b": ping\n"));
        assert!(!looks_like_event_stream(b"{\"data:\":1}"));
        assert!(!looks_like_event_stream(b"<html>"));
    }
}
