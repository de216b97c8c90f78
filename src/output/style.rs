//! Colors: one small set of ANSI styles, and the decision whether to use them.
//!
//! No color carries a meaning of its own: the text says the same without it.

use std::borrow::Cow;

use crate::util::when::When;

/// Whether a stream gets colors: `terminal` is whether it is one, `plain` whether the environment asks for none.
#[must_use]
pub fn has_colors(when: When, terminal: bool, plain: bool) -> bool {
    match when {
        When::Auto => terminal && !plain,
        When::Always => true,
        When::Never => false,
    }
}

/// A way to paint a piece of text: the parameters of an ANSI `SGR` sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style(&'static str);

#[allow(missing_docs, reason = "each constant is the style it names")]
impl Style {
    pub const PLAIN: Style = Style("");
    pub const BOLD: Style = Style("1");
    pub const DIM: Style = Style("2");
    pub const RED: Style = Style("31");
    pub const GREEN: Style = Style("32");
    pub const YELLOW: Style = Style("33");
    pub const CYAN: Style = Style("36");
    pub const BOLD_RED: Style = Style("1;31");
    pub const BOLD_YELLOW: Style = Style("1;33");
    pub const BOLD_BLUE: Style = Style("1;34");

    /// The style of the state of a server, a file, a login or a task: green if all is well, red if something failed,
    /// yellow if something is to be done.
    #[must_use]
    pub fn of_state(state: &str) -> Style {
        match state {
            "ok" | "enabled" | "read" | "valid" | "refreshable" | "completed" => Style::GREEN,
            "error" | "invalid" | "unreadable" | "expired" | "ended" | "failed" => Style::RED,
            "warning" | "untrusted" | "input_required" => Style::YELLOW,
            "disabled" | "missing" | "not logged in" | "cancelled" => Style::DIM,
            _ => Style::PLAIN,
        }
    }

    /// Paints `text` if `on`; empty text stays empty.
    #[must_use]
    pub fn paint(self, text: &str, on: bool) -> Cow<'_, str> {
        if !on || text.is_empty() || self == Style::PLAIN {
            return Cow::Borrowed(text);
        }
        Cow::Owned(format!("\x1b[{}m{text}\x1b[0m", self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paints_only_where_wanted() {
        assert_eq!(Style::BOLD.paint("a", true), "\x1b[1ma\x1b[0m");
        assert_eq!(Style::BOLD.paint("a", false), "a");
        assert_eq!(Style::BOLD.paint("", true), "");
        assert_eq!(Style::PLAIN.paint("a", true), "a");
    }

    #[test]
    fn auto_follows_the_terminal_and_the_environment() {
        assert!(has_colors(When::Auto, true, false));
        assert!(!has_colors(When::Auto, true, true));
        assert!(!has_colors(When::Auto, false, false));
        assert!(has_colors(When::Always, false, true));
        assert!(!has_colors(When::Never, true, false));
    }
}
