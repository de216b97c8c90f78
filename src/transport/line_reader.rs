//! Lines of a stream, and messages that a server prints in another way than on one line: pretty-printed over several
//! lines, or with a `Content-Length` header as in the Language Server Protocol.

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};

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

/// Reads lines of limited length.
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
    buffer: Vec<u8>,
    limit: usize,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(stream: R, limit: usize) -> Self {
        LineReader { reader: BufReader::with_capacity(16 * 1024, stream), buffer: Vec::new(), limit }
    }

    /// The next line.
    pub(super) async fn next_line(&mut self) -> InputText {
        self.buffer.clear();
        let limit = self.limit as u64 + 1;
        match (&mut self.reader).take(limit).read_until(b'\n', &mut self.buffer).await {
            Ok(0) | Err(_) => return InputText::End,
            Ok(_) => {}
        }
        let is_cut = self.buffer.last() != Some(&b'\n');
        if !is_cut {
            self.buffer.pop();
        } else if self.buffer.len() > self.limit {
            return InputText::TooLong;
        }
        into_text(std::mem::take(&mut self.buffer), is_cut)
    }

    /// The next `length` bytes, if they begin like JSON; the header before them is a log line otherwise.
    pub(super) async fn body(&mut self, length: usize) -> Option<InputText> {
        let next = self.reader.fill_buf().await.ok()?.first().copied();
        if !matches!(next, Some(b'{' | b'[')) {
            return None;
        }
        if length > self.limit {
            return Some(InputText::TooLong);
        }
        self.buffer.clear();
        // An incomplete body at the end is returned as it is.
        let _ = (&mut self.reader).take(length as u64).read_to_end(&mut self.buffer).await;
        let is_cut = self.buffer.len() < length;
        Some(into_text(std::mem::take(&mut self.buffer), is_cut))
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
    let (name, value) = line.trim().split_once(':')?;
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

    #[test]
    fn the_length_of_a_body_is_read_from_its_header() {
        assert_eq!(content_length("Content-Length: 12\r"), Some(12));
        assert_eq!(content_length("content-length:0"), Some(0));
        assert_eq!(content_length("Content-Length: many"), None);
        assert_eq!(content_length("INFO: 3"), None);
    }
}
