//! The lines of the client.

use std::io::{BufRead, BufReader, Read};

use tokio::sync::mpsc;

use crate::transport::MAX_MESSAGE;

/// How many lines are read ahead.
const QUEUED_LINES: usize = 4;

/// The lines of the client on standard input.
pub struct ClientInput(mpsc::Receiver<InputLine>);

/// A line of the client.
pub enum InputLine {
    /// A line, with its line end.
    Line(Vec<u8>),
    /// A line beyond the limit, whose rest was skipped.
    TooLong,
}

impl ClientInput {
    /// Starts to read, on a thread of its own: a blocking read cannot be canceled.
    #[must_use]
    pub fn start() -> Self {
        let (sender, lines) = mpsc::channel(QUEUED_LINES);
        std::thread::spawn(move || {
            let mut stdin = BufReader::with_capacity(64 << 10, std::io::stdin());
            while let Some(line) = read_line(&mut stdin, MAX_MESSAGE) {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        ClientInput(lines)
    }

    /// The next line; `None` at the end of the input.
    pub async fn next(&mut self) -> Option<InputLine> {
        self.0.recv().await
    }
}

fn read_line(stdin: &mut impl BufRead, limit: usize) -> Option<InputLine> {
    let mut line = Vec::new();
    if stdin.by_ref().take(limit as u64).read_until(b'\n', &mut line).ok()? == 0 {
        return None;
    }
    if line.last() == Some(&b'\n') || line.len() < limit {
        return Some(InputLine::Line(line));
    }
    drop(line);
    stdin.skip_until(b'\n').ok()?;
    Some(InputLine::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_beyond_the_limit_is_skipped() {
        let mut input: &[u8] = b"a\n123456789\nb";
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input, 5) {
            lines.push(match line {
                InputLine::Line(line) => String::from_utf8_lossy(&line).into_owned(),
                InputLine::TooLong => "too long".to_owned(),
            });
        }
        assert_eq!(lines, ["a\n", "too long", "b"]);
    }
}
