//! One response body that is an event stream, read to its end or to the answer that was waited for.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Response, Url};

use super::{fault, refusal, sink::Sink};
use crate::error::{Again, Class, Failure, Result};
use crate::protocol::rpc::{self, Message};
use crate::transport::MAX_MESSAGE;
use crate::transport::sse::{Decoder, Event};

/// How long to look for the regular end of a stream after the answer, so that its connection can be used
/// again (a new one costs a TLS handshake).
const LINGER: Duration = Duration::from_millis(50);
/// How much of a body that does not look like an event stream is kept for a second look, in bytes.
const RAW: usize = 1024 * 1024;
/// How long to wait before reconnecting where the server does not say.
const RETRY: Duration = Duration::from_secs(1);
/// The longest wait before reconnecting that nobody asked for.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// Where a stream stands, over all the responses that continue it.
#[derive(Default)]
pub(super) struct Cursor {
    pub(super) last_id: Option<String>,
    retry: Option<Duration>,
    /// Whether the latest response brought anything.
    pub(super) fruitful: bool,
    /// The first event that should have been a message and was none.
    noise: Option<String>,
}

impl Cursor {
    /// How long to wait before reconnecting, `fruitless` attempts after the last one that brought anything. Never less
    /// than the server asks for (`HTL-08`), however long that is: the time-out of the request is what bounds it.
    pub(super) fn delay(&self, fruitless: u32) -> Duration {
        let base = self.retry.unwrap_or(RETRY);
        match fruitless {
            0 => base,
            n => base.max(Duration::from_millis(50)).saturating_mul(2_u32.pow(n.min(9))).min(MAX_RETRY).max(base),
        }
    }
}

/// How reading a stream ended.
pub(super) enum End {
    /// With the answer.
    Answered,
    /// Before it; broken off where there is a failure.
    Early(Option<Failure>),
    /// It cannot be read on.
    Unfit(Failure),
}

/// The events of one response.
pub(super) struct Events {
    response: Response,
    url: Url,
    decoder: Decoder,
    ready: VecDeque<Event>,
    /// The bytes so far, where they look like JSON rather than events.
    raw: Option<Vec<u8>>,
    ended: bool,
}

impl Events {
    pub(super) fn new(response: Response, url: Url, limit: usize) -> Self {
        let decoder = Decoder::new(limit);
        Events { response, url, decoder, ready: VecDeque::new(), raw: Some(Vec::new()), ended: false }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or an event is longer than allowed ([`Class::Protocol`]).
    pub(super) async fn next(&mut self) -> Result<Option<Event>> {
        while !self.ended && self.ready.is_empty() {
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.push(&chunk)?,
                Ok(None) => self.ended = true,
                Err(error) => {
                    self.ended = true;
                    return Err(fault::failure(error, &self.url));
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Takes bytes that were read before.
    pub(super) fn push(&mut self, bytes: &Bytes) -> Result<()> {
        let first = |bytes: &[u8]| bytes.iter().find(|byte| !byte.is_ascii_whitespace()).copied();
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(bytes);
            if raw.len() > RAW || first(raw).is_some_and(|byte| !matches!(byte, b'{' | b'[')) {
                self.raw = None;
            }
        }
        match self.decoder.push(bytes) {
            Ok(events) => self.ready.extend(events),
            Err(_) => {
                self.ended = true;
                return Err(too_long(&self.url));
            }
        }
        Ok(())
    }

    fn note(&self, cursor: &mut Cursor) {
        if let Some(id) = self.decoder.last_id() {
            cursor.last_id = Some(id.to_owned());
        }
        cursor.retry = self.decoder.retry().or(cursor.retry);
    }

    /// What a stream that ended in order still holds: an event without its blank line, or plain JSON.
    fn leftover(self) -> Option<String> {
        let raw = self.raw.filter(|raw| !raw.is_empty());
        match raw {
            Some(raw) => Some(String::from_utf8_lossy(&raw).into_owned()),
            None => self.decoder.finish().filter(Event::is_message).map(|event| event.data),
        }
    }

    async fn linger(mut self) {
        let rest = async { while let Ok(Some(_)) = self.response.chunk().await {} };
        let _ = tokio::time::timeout(LINGER, rest).await;
    }
}

/// Passes on the messages of a stream until the answer to `on` has come, or to the stream's end.
pub(super) async fn pump(sink: &Sink, mut events: Events, on: Option<u64>, cursor: &mut Cursor) -> End {
    cursor.fruitful = false;
    loop {
        let next = events.next().await;
        events.note(cursor);
        match next {
            Ok(Some(event)) => {
                cursor.fruitful = true;
                if event.is_message() && pass_on(sink, &event.data, on, cursor) {
                    events.linger().await;
                    return End::Answered;
                }
            }
            Ok(None) => {
                let answered = events.leftover().is_some_and(|text| match rpc::parse(&text) {
                    Ok(messages) => {
                        sink.trace.note("the event stream ended without a blank line");
                        let answered = messages.iter().any(|message| answers(message, on));
                        sink.messages(on, &text, messages, None);
                        answered
                    }
                    Err(_) => false,
                });
                return if answered { End::Answered } else { End::Early(None) };
            }
            Err(failure) if failure.class() == Class::Protocol => return End::Unfit(failure),
            Err(failure) => return End::Early(Some(failure)),
        }
    }
}

/// Passes on what one event holds, and tells whether the answer was in it.
fn pass_on(sink: &Sink, data: &str, on: Option<u64>, cursor: &mut Cursor) -> bool {
    match rpc::parse(data) {
        Ok(messages) => {
            let answered = messages.iter().any(|message| answers(message, on));
            sink.messages(on, data, messages, None);
            answered
        }
        Err(_) => {
            sink.trace.note("skipped an event that is no JSON-RPC message");
            cursor.noise.get_or_insert_with(|| data.chars().take(200).collect());
            false
        }
    }
}

/// Whether a message is the answer to `on`. An error without an id belongs to the request on whose stream
/// it comes: the server could not read the request (digest §2.6).
fn answers(message: &Message, on: Option<u64>) -> bool {
    match (message, on) {
        (Message::Response(response), Some(on)) => response.id == Some(on) || !response.named,
        _ => false,
    }
}

/// Why a stream that ended without the answer is a failure: one that may pass, unless what came was nonsense.
pub(super) fn unanswered(url: &Url, why: Option<Failure>, cursor: &Cursor) -> Failure {
    let shown = refusal::shown(url);
    match (why, &cursor.noise) {
        (Some(why), _) => {
            let details = why.details();
            let mut failure = Failure::new(details.class, format!("the stream from {shown} broke before the answer"));
            failure.details_mut().causes.clone_from(&details.causes);
            failure.again((details.class == Class::Unreachable).then(Again::default))
        }
        (None, Some(noise)) => {
            Failure::new(Class::Protocol, format!("the stream from {shown} held no answer that can be read"))
                .cause(format!("an event that is no JSON-RPC message: {noise}"))
        }
        (None, None) => Failure::new(Class::Unreachable, format!("the stream from {shown} ended before the answer"))
            .again(Again::default()),
    }
}

/// The failure for a body or event beyond the limit.
pub(super) fn too_long(url: &Url) -> Failure {
    Failure::new(Class::Protocol, format!("{} sent a message that is too long", refusal::shown(url)))
        .cause(format!("{} MiB are allowed", MAX_MESSAGE >> 20))
        .hint("ask for less at a time, where the tool has an argument for that")
}

/// Whether the start of a body looks like an event stream.
pub(super) fn looks_like_events(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start();
    [&b"data:"[..], b"event:", b"id:", b"retry:", b":"].iter().any(|field| bytes.starts_with(field))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_is_the_servers_and_grows_when_nothing_comes() {
        // HTL-08
        let cursor = |millis| Cursor { retry: Some(Duration::from_millis(millis)), ..Cursor::default() };
        assert_eq!(Cursor::default().delay(0), Duration::from_secs(1));
        assert_eq!(cursor(500).delay(0), Duration::from_millis(500));
        assert_eq!(cursor(0).delay(0), Duration::ZERO);
        assert_eq!(cursor(0).delay(1), Duration::from_millis(100));
        assert_eq!(cursor(500).delay(2), Duration::from_secs(2));
        assert_eq!(cursor(20_000).delay(u32::MAX), MAX_RETRY);
        // What the server asks for is never cut short.
        assert_eq!(cursor(40_000).delay(0), Duration::from_secs(40));
        assert_eq!(cursor(40_000).delay(3), Duration::from_secs(40));
        assert_eq!(cursor(u64::MAX).delay(9), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn recognises_events() {
        assert!(looks_like_events(b"\xef\xbb\xbf\nevent: message\n"));
        assert!(looks_like_events(b": ping\n"));
        assert!(!looks_like_events(b"{\"data:\":1}"));
        assert!(!looks_like_events(b"<html>"));
    }
}
