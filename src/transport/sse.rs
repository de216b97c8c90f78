//! Decodes `text/event-stream` (WHATWG HTML §9.2.6): bytes in, events out.
//!
//! Lines end with LF, CR or CRLF and may be split at any byte; a byte-order mark at the start and comments are
//! ignored; an event is complete at its blank line.

use std::time::Duration;

use super::charset::Charset;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SseEvent {
    /// The value of `event:`; empty if there is none, which means `message`.
    pub event_type: String,
    /// The `data:` lines, joined by line feeds; empty for a priming event (`HTL-08`).
    pub data: String,
}

impl SseEvent {
    /// Whether it carries a message: its type is `message` and its data is not blank.
    #[must_use]
    pub fn is_message(&self) -> bool {
        matches!(self.event_type.as_str(), "" | "message") && !self.data.trim().is_empty()
    }
}

/// An event is longer than allowed (`SEC-07`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SseTooLong;

const BOM: &[u8] = b"\xef\xbb\xbf";

/// Turns the bytes of one stream into events.
#[derive(Debug)]
pub struct SseDecoder {
    limit: usize,
    /// The beginning of an incomplete line.
    line: Vec<u8>,
    /// The previous line ended with CR, so that a following LF belongs to it.
    after_cr: bool,
    first_line: bool,
    event_type: String,
    data: Vec<u8>,
    has_data: bool,
    /// The ID of the current event; it takes effect when the event is complete.
    pending_event_id: Option<String>,
    last_event_id: Option<String>,
    retry_delay: Option<Duration>,
    charset: Charset,
    is_lossy: bool,
}

impl SseDecoder {
    /// A decoder that rejects events of more than `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        SseDecoder {
            limit,
            line: Vec::new(),
            after_cr: false,
            first_line: true,
            event_type: String::new(),
            data: Vec::new(),
            has_data: false,
            pending_event_id: None,
            last_event_id: None,
            retry_delay: None,
            charset: Charset::Utf8,
            is_lossy: false,
        }
    }

    /// Decodes events that are not UTF-8 as the server declares them.
    pub(super) fn with_charset(self, charset: Charset) -> Self {
        SseDecoder { charset, ..self }
    }

    /// Whether bytes of an event could not be decoded.
    pub(super) fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    /// The last event ID, for `Last-Event-ID`.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// How long the server asks to wait before reconnecting.
    #[must_use]
    pub fn retry_delay(&self) -> Option<Duration> {
        self.retry_delay
    }

    /// Decodes the next bytes and returns the events that they complete.
    ///
    /// # Errors
    /// [`SseTooLong`] if an event exceeds the limit; the rest of the stream cannot be decoded then.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<Vec<SseEvent>, SseTooLong> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            if self.after_cr {
                self.after_cr = false;
                if let Some(rest) = bytes.strip_prefix(b"\n") {
                    bytes = rest;
                    continue;
                }
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
                self.check_limit(bytes.len())?;
                self.line.extend_from_slice(bytes);
                break;
            };
            let (head, rest) = bytes.split_at(end);
            self.check_limit(head.len())?;
            self.after_cr = rest.first() == Some(&b'\r');
            bytes = rest.get(1..).unwrap_or_default();
            if self.line.is_empty() {
                events.extend(self.take_line(head));
            } else {
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(head);
                events.extend(self.take_owned_line(line));
            }
        }
        Ok(events)
    }

    /// The last event, if the stream ended before its blank line.
    ///
    /// The specification discards it; mcpipe uses it if its data is a whole JSON-RPC message.
    #[must_use]
    pub fn finish(mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        self.take_owned_line(line).or_else(|| self.take_line(b""))
    }

    fn check_limit(&self, more: usize) -> Result<(), SseTooLong> {
        if self.line.len() + self.data.len() + more > self.limit { Err(SseTooLong) } else { Ok(()) }
    }

    /// Takes a line that came in pieces. Usually it is all the data of its event, and is not copied.
    fn take_owned_line(&mut self, mut line: Vec<u8>) -> Option<SseEvent> {
        let name = [&b"data: "[..], b"data:"].into_iter().find(|name| line.starts_with(name));
        match name.filter(|_| !self.has_data) {
            Some(name) => {
                line.drain(..name.len());
                (self.data, self.has_data, self.first_line) = (line, true, false);
                None
            }
            None => self.take_line(&line),
        }
    }

    fn take_line(&mut self, mut line: &[u8]) -> Option<SseEvent> {
        if self.first_line {
            self.first_line = false;
            line = line.strip_prefix(BOM).unwrap_or(line);
        }
        if line.is_empty() {
            return self.complete_event();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            // A comment; servers send them to keep connections open (`HTM-08`).
            Some(0) => return None,
            Some(colon) => {
                let (field, value) = line.split_at(colon);
                let value = value.get(1..).unwrap_or_default();
                (field, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"event" => self.event_type = lossy(value),
            b"id" if !value.contains(&0) => self.pending_event_id = Some(lossy(value)),
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                let millis = lossy(value).parse().unwrap_or(u64::MAX);
                self.retry_delay = Some(Duration::from_millis(millis));
            }
            _ => {}
        }
        None
    }

    fn decode(&mut self, data: Vec<u8>) -> String {
        let (text, is_lossy) = self.charset.decode_owned(data);
        self.is_lossy |= is_lossy;
        text
    }

    fn complete_event(&mut self) -> Option<SseEvent> {
        if let Some(id) = self.pending_event_id.take() {
            // An empty ID resets it.
            self.last_event_id = Some(id).filter(|id| !id.is_empty());
        }
        let name = std::mem::take(&mut self.event_type);
        let data = std::mem::take(&mut self.data);
        let complete = std::mem::take(&mut self.has_data);
        complete.then(|| SseEvent { event_type: name, data: self.decode(data) })
    }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn event(name: &str, data: &str) -> SseEvent {
        SseEvent { event_type: name.into(), data: data.into() }
    }

    fn decode(bytes: &[u8]) -> Vec<SseEvent> {
        SseDecoder::new(1 << 20).push(bytes).unwrap()
    }

    /// All events, the last event ID and the delay, if the bytes come in these pieces.
    fn decode_pieces(pieces: &[&[u8]]) -> (Vec<SseEvent>, Option<String>, Option<Duration>) {
        let mut decoder = SseDecoder::new(1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(decoder.push(piece).unwrap());
        }
        (events, decoder.last_event_id().map(ToOwned::to_owned), decoder.retry_delay())
    }

    const STREAM: &str = "\u{feff}: hello\nid: 1\nretry: 500\ndata:\n\nevent: message\ndata: {\"a\":\ndata: \"ü€😀\"}\nid: zwei\n\nevent: ping\ndata: x\n\n\n";

    #[test]
    fn every_kind_of_line_is_read() {
        let (events, id, retry) = decode_pieces(&[STREAM.as_bytes()]);
        assert_eq!(events, [event("", ""), event("message", "{\"a\":\n\"ü€😀\"}"), event("ping", "x")]);
        assert_eq!(id.as_deref(), Some("zwei"));
        assert_eq!(retry, Some(Duration::from_millis(500)));
    }

    #[test]
    fn any_split_and_any_line_end_gives_the_same() {
        let whole = decode_pieces(&[STREAM.as_bytes()]);
        for end in ["\n", "\r", "\r\n"] {
            let text = STREAM.replace('\n', end);
            let bytes = text.as_bytes();
            assert_eq!(decode_pieces(&[bytes]), whole, "{end:?}");
            for at in 0..=bytes.len() {
                let (head, tail) = bytes.split_at(at);
                assert_eq!(decode_pieces(&[head, tail]), whole, "{end:?} at {at}");
            }
            let singles: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(decode_pieces(&singles), whole, "{end:?} byte by byte");
        }
    }

    #[test]
    fn line_ends_may_be_mixed() {
        assert_eq!(decode(b"data: a\r\ndata: b\rdata: c\n\r\ndata: d\r\r"), [event("", "a\nb\nc"), event("", "d")]);
    }

    #[test]
    fn an_event_ends_with_a_bare_cr_at_once() {
        // Waiting for a possible LF would delay the response until the next keep-alive.
        let mut decoder = SseDecoder::new(100);
        assert_eq!(decoder.push(b"data: a\r\r").unwrap(), [event("", "a")]);
        assert_eq!(decoder.push(b"\ndata: b\n\n").unwrap(), [event("", "b")]);
    }

    #[test]
    fn a_priming_event_has_an_id_and_no_message() {
        // HTL-08
        let (events, id, _) = decode_pieces(&[b"id: 7\ndata: \n\n"]);
        assert_eq!(events, [event("", "")]);
        assert!(!events[0].is_message());
        assert_eq!(id.as_deref(), Some("7"));
        assert_eq!(decode_pieces(&[b"id: 8\n\n"]), (vec![], Some("8".into()), None));
    }

    #[test]
    fn an_id_takes_effect_at_the_blank_line() {
        assert_eq!(decode_pieces(&[b"id: 1\ndata: a\n\nid: 2\ndata: b\n"]).1.as_deref(), Some("1"));
        assert_eq!(decode_pieces(&[b"id: 1\ndata: a\n\nid\ndata: b\n\n"]).1, None);
        assert_eq!(decode_pieces(&[b"id: 1\ndata: a\n\nid: 2\x003\ndata: b\n\n"]).1.as_deref(), Some("1"));
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let (events, _, retry) =
            decode_pieces(&[b"retry: 1x\nretry\nfoo: bar\ndatax: no\n data: no\ndata\n:data: no\n\n"]);
        assert_eq!((events, retry), (vec![event("", "")], None));
        assert_eq!(decode(b"data:a\n\ndata:  b\n\n"), [event("", "a"), event("", " b")]);
        assert_eq!(decode_pieces(&[b"retry: 99999999999999999999\n"]).2, Some(Duration::from_millis(u64::MAX)));
    }

    #[test]
    fn an_event_type_applies_to_one_event() {
        assert_eq!(decode(b"event: ping\n\ndata: a\n\n"), [event("", "a")]);
        assert!(decode(b"data: a\n\n")[0].is_message());
        assert!(!decode(b"event: error\ndata: a\n\n")[0].is_message());
    }

    #[test]
    fn invalid_utf8_does_not_end_the_stream() {
        assert_eq!(decode(b"data: a\xffb\n\n"), [event("", "a\u{fffd}b")]);
    }

    #[test]
    fn a_byte_order_mark_is_ignored_only_at_the_start() {
        assert_eq!(decode(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n"), [event("", "a")]);
    }

    #[test]
    fn finish_returns_an_event_without_its_blank_line() {
        let mut decoder = SseDecoder::new(100);
        assert_eq!(decoder.push(b"data: {\ndata: }").unwrap(), []);
        assert_eq!(decoder.finish(), Some(event("", "{\n}")));
        let mut decoder = SseDecoder::new(100);
        assert_eq!(decoder.push(b"data: a\n\nid: 3\n").unwrap(), [event("", "a")]);
        assert_eq!(decoder.finish(), None);
    }

    #[test]
    fn lines_and_events_have_a_limit() {
        // SEC-07
        let mut decoder = SseDecoder::new(10);
        assert_eq!(decoder.push(b"data: 1234"), Ok(vec![]));
        assert_eq!(decoder.push(b"5"), Err(SseTooLong));
        let mut decoder = SseDecoder::new(10);
        let mut result = Ok(vec![]);
        for _ in 0..20 {
            result = result.and_then(|_| decoder.push(b"data:a\n"));
        }
        assert_eq!(result, Err(SseTooLong));
        let mut decoder = SseDecoder::new(10);
        for _ in 0..20 {
            assert_eq!(decoder.push(b"data: abc\n\n"), Ok(vec![event("", "abc")]));
        }
    }
}
