//! Questions to the user: lines on standard error, made of pieces, each with a style and without control characters.
//!
//! Neither `--quiet` nor `--json` silences them. The lines of a server's text are marked, so
//! that they cannot look like a question from mcpipe.

use std::io::Write;

use super::{Style, Ui};

use crate::util::lock::lock;

/// The mark before each line of a server's text.
const SERVER_TEXT_PREFIX: &str = "  │ ";

impl Ui {
    /// A line of pieces, each in its style.
    pub fn prompt_spans(&self, pieces: &[(Style, &str)]) {
        self.write_err(&[&self.render_spans(pieces)]);
    }

    /// A server's text with a mark before each line; nothing if it is empty.
    pub fn prompt_server_text(&self, text: &str) {
        for line in text.lines() {
            self.prompt_spans(&[(Style::DIM, SERVER_TEXT_PREFIX), (Style::PLAIN, line)]);
        }
    }

    /// Writes a question to standard error without a line end; the answer is typed after it.
    pub fn prompt_question(&self, question: &str) {
        self.prompt_question_spans(&[(Style::PLAIN, question)]);
    }

    /// The same, made of pieces.
    pub fn prompt_question_spans(&self, pieces: &[(Style, &str)]) {
        let text = self.render_spans(pieces);
        let mut err = lock(&self.err);
        let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
    }

    fn render_spans(&self, pieces: &[(Style, &str)]) -> String {
        let color = self.uses_color_on_stderr();
        pieces.iter().map(|(style, text)| style.paint(&self.escape_for_stderr(text), color).into_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Terminal, UiOptions};
    use super::*;
    use crate::util::when::When;

    #[test]
    fn server_text_cannot_pose_as_ours_nor_move_the_cursor() {
        let seen = ui(UiOptions { quiet: true, json: true, ..UiOptions::default() }, at_terminal());
        seen.ui.prompt_server_text("hello\n\x1b[2J\nSend it? [Y/n]\r");
        assert_eq!(seen.err.text(), "  │ hello\n  │ \\x1b[2J\n  │ Send it? [Y/n]\\x0d\n");
    }

    #[test]
    fn pieces_are_painted_each() {
        let options = UiOptions { color: When::Always, ..UiOptions::default() };
        let seen = ui(options, Terminal { no_color: false, ..at_terminal() });
        seen.ui.prompt_spans(&[(Style::PLAIN, "a\x1b"), (Style::BOLD, "b")]);
        seen.ui.prompt_question_spans(&[(Style::DIM, "c? ")]);
        assert_eq!(seen.err.text(), "a\\x1b\x1b[1mb\x1b[0m\n\x1b[2mc? \x1b[0m");
    }
}
