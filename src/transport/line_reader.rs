//! Lines of a stream, and messages that a server prints in another way than on one line: pretty-printed over several
//! lines, or with a `Content-Length` header as in the Language Server Protocol.

use memchr::memchr;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::malformed::{begins_like_message, names_request};

/// A piece of the stream.
#[derive(Debug)]
pub(super) enum InputText {
    /// A line without its line feed, or a body.
    Text {
        text: String,
        /// Whether bytes that are not UTF-8 were replaced.
        is_lossy: bool,
        /// Whether the stream ended before the line feed.
        is_cut: bool,
    },
    /// It exceeds the limit; the rest of the stream cannot be read.
    TooLong,
    End,
}

/// How many bytes are read at once: as many as a pipe holds on Linux.
const CHUNK: usize = 64 << 10;

/// Reads lines of limited length.
pub(super) struct LineReader<R> {
    stream: R,
    /// What was read; what is before `start` was returned, and the next line does not end before `searched`.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    limit: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(stream: R, limit: usize) -> Self {
        LineReader { stream, buffer: Vec::new(), start: 0, searched: 0, limit }
    }

    /// The next line.
    pub(super) async fn next_line(&mut self) -> InputText {
        // A full buffer may hold thousands of short lines, and reading them without a pause would stop all timers.
        tokio::task::consume_budget().await;
        let (end, is_cut) = loop {
            if let Some(found) = memchr(b'\n', &self.buffer[self.searched..]) {
                break (self.searched + found, false);
            }
            self.searched = self.buffer.len();
            if self.searched - self.start > self.limit {
                return InputText::TooLong;
            }
            if !self.read_more().await {
                break (self.buffer.len(), true);
            }
        };
        match end - self.start {
            0 if is_cut => InputText::End,
            length if length > self.limit => InputText::TooLong,
            length => {
                let line = self.take(length);
                // The line feed.
                self.start += usize::from(!is_cut);
                self.searched = self.start;
                into_text(line, is_cut)
            }
        }
    }

    /// The next `length` bytes, if they begin like JSON; the header before them is a log line otherwise.
    pub(super) async fn body(&mut self, length: usize) -> Option<InputText> {
        if self.start == self.buffer.len() {
            self.read_more().await;
        }
        if !matches!(self.buffer.get(self.start), Some(b'{' | b'[')) {
            return None;
        }
        if length > self.limit {
            return Some(InputText::TooLong);
        }
        while self.buffer.len() - self.start < length && self.read_more().await {}
        // An incomplete body at the end is returned as it is.
        let available = length.min(self.buffer.len() - self.start);
        let body = self.take(available);
        self.searched = self.start;
        Some(into_text(body, available < length))
    }

    /// Reads more after what was not returned yet; `false` at the end of the stream.
    async fn read_more(&mut self) -> bool {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        if self.buffer.capacity() - self.buffer.len() < CHUNK / 2 {
            self.buffer.reserve(CHUNK);
        }
        matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// Removes the next `length` bytes. The memory of many bytes is passed on, so that they are not copied.
    fn take(&mut self, length: usize) -> Vec<u8> {
        let end = self.start + length;
        if self.start > 0 || length < CHUNK {
            let taken = self.buffer[self.start..end].to_vec();
            self.start = end;
            return taken;
        }
        let rest = self.buffer[end..].to_vec();
        self.buffer.truncate(end);
        std::mem::replace(&mut self.buffer, rest)
    }
}

fn into_text(bytes: Vec<u8>, is_cut: bool) -> InputText {
    match String::from_utf8(bytes) {
        Ok(text) => InputText::Text { text, is_lossy: false, is_cut },
        Err(error) => {
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            InputText::Text { text, is_lossy: true, is_cut }
        }
    }
}

/// The length in a line `Content-Length: N`.
pub(super) fn content_length(line: &str) -> Option<usize> {
    // Nearly every line is a message; it is not searched for a colon.
    let (name, value) = if line.starts_with('{') { None } else { line.trim().split_once(':') }?;
    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
}

/// Whether a line may stand between `Content-Length` and the body.
pub(super) fn is_other_header(line: &str) -> bool {
    line.trim().split_once(':').is_some_and(|(name, _)| name.eq_ignore_ascii_case("content-type"))
}

/// The beginning of a message that goes on in the next line.
#[derive(Debug, Default)]
pub(super) struct PartialMessage {
    text: String,
    /// Where it begins; before it is other text, such as a log line without a line feed.
    start: usize,
    depth: usize,
    in_string: bool,
    after_backslash: bool,
    is_lossy: bool,
}

/// What a line after the first makes of the message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Continuation {
    /// It goes on.
    Incomplete,
    /// It is complete.
    Complete,
    /// The line does not continue it.
    Unrelated,
}

impl PartialMessage {
    /// A message that begins in this line and does not end in it.
    pub(super) fn begin(line: &str, is_lossy: bool) -> Option<Self> {
        let line = line.trim_start_matches('\u{feff}').trim();
        let start = match line.chars().next()? {
            '{' | '[' => 0,
            _ => line.strip_suffix('{')?.len(),
        };
        let mut partial =
            PartialMessage { text: line[..start].to_owned(), start, is_lossy, ..PartialMessage::default() };
        let goes_on = partial.add(&line[start..]) == Continuation::Incomplete;
        // A string does not go on in the next line: this is a broken message, unless what it answers is named there.
        (goes_on && (!partial.in_string || !names_request(&partial.text[start..]))).then_some(partial)
    }

    /// Adds a line.
    pub(super) fn push(&mut self, line: &str, is_lossy: bool, limit: usize) -> Continuation {
        let starts_like_json = |line: &str| {
            line.starts_with(['"', '{', '}', '[', ']', ',', ':', '-'])
                || line.starts_with(|first: char| first.is_ascii_digit())
                || ["true", "false", "null", "NaN", "Infinity", "undefined"].iter().any(|word| line.starts_with(word))
        };
        let trimmed = line.trim();
        if self.text.len() + line.len() >= limit || !(self.in_string || trimmed.is_empty() || starts_like_json(trimmed))
        {
            return Continuation::Unrelated;
        }
        self.is_lossy |= is_lossy;
        self.text.push('\n');
        self.add(line)
    }

    fn add(&mut self, line: &str) -> Continuation {
        for byte in line.bytes() {
            match byte {
                _ if self.after_backslash => self.after_backslash = false,
                b'\\' if self.in_string => self.after_backslash = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.text.push_str(line);
        let object = self.text[self.start..].trim_start_matches('[').trim_start();
        let is_plausible = object.is_empty() || object.trim() == "{" || begins_like_message(object);
        match () {
            () if !is_plausible => Continuation::Unrelated,
            () if self.depth == 0 => Continuation::Complete,
            () => Continuation::Incomplete,
        }
    }

    /// What was added, with the other text before it.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether there is other text before it.
    pub(super) fn has_prefix(&self) -> bool {
        self.start > 0
    }

    pub(super) fn is_lossy(&self) -> bool {
        self.is_lossy
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The message of these lines, and how many of them it took.
    fn assemble(lines: &[&str]) -> Option<(String, usize)> {
        let mut partial = PartialMessage::begin(lines[0], false)?;
        for (n, line) in lines.iter().enumerate().skip(1) {
            match partial.push(line, false, 1000) {
                Continuation::Incomplete => {}
                Continuation::Complete => return Some((partial.text().to_owned(), n + 1)),
                Continuation::Unrelated => return None,
            }
        }
        None
    }

    #[test]
    fn messages_over_several_lines_are_joined() {
        for lines in [
            &["{", "  \"jsonrpc\": \"2.0\",", "  \"result\": {\"a\": \"}\\\"\"}", "}"][..],
            &["{\"id\": 1,", "", "\"result\": -1", "}\r"],
            &["[", "{", "\"id\": 1, \"result\": [", "1", "]", "}", "]"],
            &["{\"result\": \"a", "b\", \"id\": 1}"],
        ] {
            assert_eq!(assemble(lines), Some((lines.join("\n"), lines.len())), "{lines:?}");
        }
        let glued = ["loading {", "\"id\": 1, \"result\": 1}"];
        assert_eq!(assemble(&glued), Some((glued.join("\n"), 2)));
    }

    #[test]
    fn log_lines_are_not_joined() {
        for lines in [
            &["INFO"][..],
            &["[MCP] ready"],
            &["{", "  level: 'info'", "}"],
            &["{", "  \"level\": \"info\"", "}"],
            &["{\"jsonrpc\":\"2.0\",", "INFO", "\"id\":1,\"result\":1}"],
            &["{\"a\":\"", "b\"}"],
            &["{\"id\": 1, \"result\": \"a", "b\"}"],
            &["Response: [", "{ \"id\": 1, \"result\": 1 }", "]"],
        ] {
            assert_eq!(assemble(lines), None, "{lines:?}");
        }
    }

    #[tokio::test]
    async fn a_line_beyond_the_limit_ends_the_stream_at_once() {
        let (stream, mut server) = tokio::io::duplex(64);
        let mut reader = LineReader::new(stream, 5);
        tokio::io::AsyncWriteExt::write_all(&mut server, b"12345\n123456").await.unwrap();
        assert!(matches!(reader.next_line().await, InputText::Text { text, .. } if text == "12345"));
        assert!(matches!(reader.next_line().await, InputText::TooLong), "without waiting for the end of the line");
    }

    async fn write_in_pieces(mut server: tokio::io::DuplexStream, text: &str, length: usize) {
        for piece in text.as_bytes().chunks(length) {
            tokio::io::AsyncWriteExt::write_all(&mut server, piece).await.unwrap();
        }
    }

    #[tokio::test]
    async fn lines_are_the_same_however_they_arrive() {
        let long = "x".repeat(3 * CHUNK);
        let text = format!("a\n\nb{long}\nc\n{long}\n{long}d\nlast");
        for piece in [97, CHUNK - 1, CHUNK, text.len()] {
            let (stream, server) = tokio::io::duplex(CHUNK * 2);
            let mut reader = LineReader::new(stream, 4 * CHUNK);
            let written = write_in_pieces(server, &text, piece);
            let read = async {
                let mut lines = Vec::new();
                while let InputText::Text { text, is_cut, .. } = reader.next_line().await {
                    lines.push((text, is_cut));
                }
                lines
            };
            let ((), lines) = tokio::join!(written, read);
            let expected: Vec<_> = text.split('\n').map(|line| (line.to_owned(), line == "last")).collect();
            assert!(lines == expected, "{piece}");
        }
    }

    #[tokio::test]
    async fn a_body_is_read_by_its_length() {
        let long = format!("[{}]", "1,".repeat(CHUNK));
        let text = format!("header\n{{\n}}{long}rest\n{{}}");
        for piece in [97, text.len()] {
            let (stream, server) = tokio::io::duplex(CHUNK);
            let mut reader = LineReader::new(stream, 4 * CHUNK);
            let written = write_in_pieces(server, &text, piece);
            let read = async {
                let is = |got: &InputText, expected: &str, cut: bool| {
                    assert!(matches!(got, InputText::Text { text, is_cut, .. } if text == expected && *is_cut == cut));
                };
                is(&reader.next_line().await, "header", false);
                is(&reader.body(3).await.unwrap(), "{\n}", false);
                is(&reader.body(long.len()).await.unwrap(), &long, false);
                assert!(reader.body(4).await.is_none(), "it does not begin like JSON");
                is(&reader.next_line().await, "rest", false);
                is(&reader.body(3).await.unwrap(), "{}", true);
                assert!(matches!(reader.next_line().await, InputText::End));
            };
            tokio::join!(written, read);
        }
    }

    #[tokio::test]
    async fn short_lines_do_not_stop_timers() {
        /// A stream that always has more line feeds.
        struct LineFeeds;

        impl AsyncRead for LineFeeds {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buffer: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<std::io::Result<()>> {
                buffer.put_slice(&vec![b'\n'; buffer.remaining()]);
                std::task::Poll::Ready(Ok(()))
            }
        }

        let mut reader = LineReader::new(LineFeeds, 5);
        let read_all = async { while let InputText::Text { .. } = reader.next_line().await {} };
        let ended = tokio::time::timeout(std::time::Duration::from_millis(1), read_all).await;
        assert!(ended.is_err(), "the stream has no end");
    }

    #[test]
    fn the_length_of_a_body_is_read_from_its_header() {
        assert_eq!(content_length("Content-Length: 12\r"), Some(12));
        assert_eq!(content_length("content-length:0"), Some(0));
        assert_eq!(content_length("Content-Length: many"), None);
        assert_eq!(content_length("INFO: 3"), None);
    }
}
