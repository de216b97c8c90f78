//! A response body that is an event stream, read to its end or to the expected JSON-RPC response.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Response, Url};

use super::error::request_failure;
use super::incoming::MessageSender;
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::protocol::rpc::{MessageText, RpcMessage};
use crate::transport::charset::Charset;
use crate::transport::malformed;
use crate::transport::message::MAX_MESSAGE;
use crate::transport::sse::{SseDecoder, SseEvent};
use crate::transport::url::redacted_url;

/// How long to wait for the end of a stream after the response, so that its connection can be reused (a new one
/// costs a TLS handshake).
const DRAIN_TIMEOUT: Duration = Duration::from_millis(50);
/// How many bytes of a body are kept in case it turns out to be plain JSON.
const MAX_RAW_BODY: usize = 1 << 20;
/// How long to wait before reconnecting if the server does not specify it.
const DEFAULT_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// The shortest delay: a server that asks for none and ends its streams at once would be sent requests in a loop.
const MIN_RECONNECT_DELAY: Duration = Duration::from_millis(100);
/// The longest wait before reconnecting, unless the server asks for more.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(30);

/// How far a stream has been read, over all responses that resume it.
#[derive(Default)]
pub(super) struct StreamPosition {
    pub(super) last_event_id: Option<String>,
    retry_delay: Option<Duration>,
    /// Whether the latest response contained an event.
    pub(super) has_progressed: bool,
    event_count: u64,
    /// The first event that should have been a message and was not: which one, and why.
    pub(super) first_non_message: Option<String>,
}

impl StreamPosition {
    /// How long to wait before reconnecting, `fruitless` attempts after the last one that brought an event. Never less
    /// than the server asks for (`HTL-08`), however long: the timeout of the request limits it.
    pub(super) fn reconnect_delay(&self, fruitless: u32) -> Duration {
        let base = self.retry_delay.unwrap_or(DEFAULT_RECONNECT_DELAY).max(MIN_RECONNECT_DELAY);
        base.saturating_mul(2_u32.pow(fruitless.min(9))).min(MAX_RECONNECT_DELAY).max(base)
    }
}

/// How reading a stream ended.
pub(super) enum StreamEnd {
    /// With the response.
    Answered,
    /// Before the response; with a failure if the connection broke.
    Incomplete(Option<Failure>),
    /// The rest cannot be read.
    Unreadable(Failure),
}

/// The events of one response.
pub(super) struct EventStream {
    response: Response,
    url: Url,
    decoder: SseDecoder,
    queued_events: VecDeque<SseEvent>,
    /// The bytes so far, as long as they look like JSON rather than events.
    raw_body: Option<Vec<u8>>,
    has_ended: bool,
}

impl EventStream {
    pub(super) fn new(response: Response, url: Url, limit: usize) -> Self {
        let decoder = SseDecoder::new(limit).with_charset(declared_charset(&response));
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
    /// If the connection breaks, or an event is longer than allowed ([`ErrorKind::Protocol`]).
    pub(super) async fn next_event(&mut self) -> Result<Option<SseEvent>> {
        while !self.has_ended && self.queued_events.is_empty() {
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.push_bytes(&chunk)?,
                Ok(None) => self.has_ended = true,
                Err(error) => {
                    self.has_ended = true;
                    return Err(request_failure(error, &self.url));
                }
            }
        }
        Ok(self.queued_events.pop_front())
    }

    /// Decodes bytes that have been read already.
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

    fn update_position(&self, position: &mut StreamPosition) {
        if let Some(id) = self.decoder.last_event_id() {
            position.last_event_id = Some(id.to_owned());
        }
        position.retry_delay = self.decoder.retry_delay().or(position.retry_delay);
    }

    /// What is left when a stream ends normally: an event without its blank line, or plain JSON.
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

/// Forwards the messages of a stream until the response to `id` has come, or until the stream ends.
pub(super) async fn forward_messages(
    sink: &MessageSender,
    mut events: EventStream,
    id: Option<u64>,
    position: &mut StreamPosition,
) -> StreamEnd {
    position.has_progressed = false;
    loop {
        let next = events.next_event().await;
        events.update_position(position);
        match next {
            Ok(Some(event)) => {
                position.has_progressed = true;
                position.event_count += 1;
                if events.decoder.is_lossy() {
                    sink.warn_not_utf8().await;
                }
                if event.is_message() && forward_event(sink, event.data, id, position).await {
                    events.drain().await;
                    return StreamEnd::Answered;
                }
            }
            Ok(None) => {
                let Some(text) = events.unfinished_message() else { return StreamEnd::Incomplete(None) };
                // The connection was cut.
                let answered = !malformed::is_incomplete(&text) && {
                    sink.trace.note("the event stream ended without a blank line");
                    forward_event(sink, text, id, position).await
                };
                return if answered { StreamEnd::Answered } else { StreamEnd::Incomplete(None) };
            }
            Err(failure) if failure.kind() == ErrorKind::Protocol => return StreamEnd::Unreadable(failure),
            Err(failure) => return StreamEnd::Incomplete(Some(failure)),
        }
    }
}

/// The encoding that a response declares.
pub(super) fn declared_charset(response: &Response) -> Charset {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.map(Charset::from_content_type).unwrap_or_default()
}

/// Forwards the messages of one event. Returns whether the response was among them.
async fn forward_event(sink: &MessageSender, data: String, id: Option<u64>, position: &mut StreamPosition) -> bool {
    match MessageText::parse(data) {
        Ok(mut found) => {
            let answered = found.messages().iter().any(|message| is_response_to(message, id));
            // It does not explain the end of a stream of many messages.
            if id.is_none() {
                position.first_non_message = None;
            }
            sink.send_messages(id, found, None).await;
            answered
        }
        Err(data) if sink.send_recovered(id, &data, None).await => true,
        Err(data) => {
            let description = format!("event {}, {}", position.event_count, malformed::describe(&data));
            sink.trace.note(&format!("skipped an event: {description}"));
            position.first_non_message.get_or_insert(description);
            false
        }
    }
}

/// Whether a message is the response to `id`. An error without an ID belongs to the request on whose stream
/// it comes: the server could not parse the request (JSON-RPC 2.0 §5).
fn is_response_to(message: &RpcMessage, id: Option<u64>) -> bool {
    match (message, id) {
        (RpcMessage::Response(response), Some(id)) => response.id == Some(id) || !response.has_id,
        _ => false,
    }
}

/// The failure for a stream that ended without the response. Retrying may help, unless the stream was not JSON-RPC.
pub(super) fn missing_response_failure(url: &Url, why: Option<Failure>, position: &StreamPosition) -> Failure {
    let shown = redacted_url(url);
    match (why, &position.first_non_message) {
        (Some(why), _) => {
            let details = why.details();
            let mut failure = Failure::new(details.kind, format!("the stream from {shown} broke before the response"));
            failure.details_mut().causes.clone_from(&details.causes);
            failure.retry_advice((details.kind == ErrorKind::Unreachable).then(RetryAdvice::default))
        }
        (None, Some(text)) => {
            Failure::new(ErrorKind::Protocol, format!("the stream from {shown} contained no valid response"))
                .cause(text.clone())
        }
        (None, None) => {
            Failure::new(ErrorKind::Unreachable, format!("the stream from {shown} ended before the response"))
                .retry_advice(RetryAdvice::default())
        }
    }
}

/// The failure for a body or event beyond the limit.
pub(super) fn too_long_failure(url: &Url) -> Failure {
    Failure::new(ErrorKind::Protocol, format!("{} sent a message that is too long", redacted_url(url)))
        .cause(format!("the limit is {} MiB", MAX_MESSAGE >> 20))
        .hint("request less data at once, if the tool has an argument for that")
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
    fn the_reconnect_delay_is_the_servers_and_grows_without_events() {
        // HTL-08
        let position =
            |millis| StreamPosition { retry_delay: Some(Duration::from_millis(millis)), ..StreamPosition::default() };
        assert_eq!(StreamPosition::default().reconnect_delay(0), Duration::from_secs(1));
        assert_eq!(position(500).reconnect_delay(0), Duration::from_millis(500));
        assert_eq!(position(0).reconnect_delay(0), MIN_RECONNECT_DELAY);
        assert_eq!(position(0).reconnect_delay(1), Duration::from_millis(200));
        assert_eq!(position(500).reconnect_delay(2), Duration::from_secs(2));
        assert_eq!(position(20_000).reconnect_delay(u32::MAX), MAX_RECONNECT_DELAY);
        // The server's delay is never shortened.
        assert_eq!(position(40_000).reconnect_delay(0), Duration::from_secs(40));
        assert_eq!(position(40_000).reconnect_delay(3), Duration::from_secs(40));
        assert_eq!(position(u64::MAX).reconnect_delay(9), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn event_streams_are_recognized() {
        assert!(looks_like_event_stream(b"\xef\xbb\xbf\nevent: message\n"));
        assert!(looks_like_event_stream(b": ping\n"));
        assert!(!looks_like_event_stream(b"{\"data:\":1}"));
        assert!(!looks_like_event_stream(b"<html>"));
    }
}
