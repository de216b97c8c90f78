//! Questions to the user: lines on standard error, made of pieces, each with a style and without control characters.
//!
//! Neither `--quiet` nor `--json` silences them. The lines of a server's text are marked, so
//! that they cannot look like a question from mcpipe.

use std::io::Write;

use super::{Style, Ui, escape};

use crate::util::lock::lock;

/// The mark before each line of a server's text.
const SERVER_TEXT_PREFIX: &str = "  │ ";

impl Ui {
    /// A line of pieces, each in its style.
    pub fn prompt_spans(&self, pieces: &[(Style, &str)]) {
        self.write_err(&[&self.render_spans(pieces)]);
    }

    /// As [`Ui::prompt_spans`], cut at the width of the terminal: a server's text that the terminal continues on the next
    /// line could look like a line of mcpipe.
    pub fn prompt_one_line(&self, pieces: &[(Style, &str)]) {
        let mut room = if self.terminal.stderr_is_tty { self.terminal.line_width() } else { usize::MAX };
        let pieces: Vec<(Style, String)> = pieces
            .iter()
            .map(|(style, text)| {
                let text = escape::truncate(&self.redact_for_stderr(text), room).into_owned();
                room = room.saturating_sub(escape::display_width(&text));
                (*style, text)
            })
            .collect();
        let pieces: Vec<(Style, &str)> = pieces.iter().map(|(style, text)| (*style, text.as_str())).collect();
        self.prompt_spans(&pieces);
    }

    /// A server's text with a mark before each line, also where the terminal would begin one; nothing if it is empty.
    pub fn prompt_server_text(&self, text: &str) {
        let prefix = escape::display_width(SERVER_TEXT_PREFIX);
        let room =
            if self.terminal.stderr_is_tty { self.terminal.line_width().saturating_sub(prefix) } else { usize::MAX };
        for line in self.redact_for_stderr(&text.replace('\t', "    ")).lines() {
            for piece in escape::break_at_width(line, room) {
                self.prompt_spans(&[(Style::DIM, SERVER_TEXT_PREFIX), (Style::PLAIN, piece)]);
            }
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
        pieces.iter().map(|(style, text)| style.paint(&self.redact_for_stderr(text), color).into_owned()).collect()
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
    fn server_text_cannot_pose_as_ours_where_the_terminal_would_break_a_line() {
        let terminal = Terminal { width: Some(24), ..at_terminal() };
        let seen = ui(UiOptions::default(), terminal);
        seen.ui.prompt_server_text(&format!("Confirm{}  Send it? [Y]es: ", " ".repeat(13)));
        seen.ui.prompt_one_line(&[(Style::DIM, "  1/1 "), (Style::PLAIN, "Name              > ")]);
        assert_eq!(seen.err.text(), "  │ Confirm             \n  │   Send it? [Y]es: \n  1/1 Name             …\n");
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
