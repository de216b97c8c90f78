//! Which images a terminal can show.

/// A format in which terminals accept images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageFormat {
    /// The graphics protocol of kitty (<https://sw.kovidgoyal.net/kitty/graphics-protocol/>): PNG.
    Kitty,
    /// Inline images of iTerm2 (<https://iterm2.com/documentation-images.html>): PNG, JPEG and GIF.
    Iterm,
    /// Sixel graphics of the VT340: pixels.
    Sixel,
}

impl ImageFormat {
    /// The format that a terminal accepts, by the variables that it sets. No query is sent: its answer would arrive as
    /// input.
    #[must_use]
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let term = variable("TERM").unwrap_or_default();
        // Multiplexers do not pass images on, but the variables of the terminal around them.
        if term.starts_with("screen") || term.starts_with("tmux") {
            return None;
        }
        match variable("TERM_PROGRAM").as_deref() {
            Some("iTerm.app" | "WezTerm" | "mintty" | "rio") => return Some(ImageFormat::Iterm),
            Some("ghostty") => return Some(ImageFormat::Kitty),
            _ => {}
        }
        if ["xterm-kitty", "xterm-ghostty"].contains(&term.as_str()) || variable("KITTY_WINDOW_ID").is_some() {
            Some(ImageFormat::Kitty)
        } else if ["foot", "mlterm", "contour"].iter().any(|name| term.starts_with(name)) {
            Some(ImageFormat::Sixel)
        } else if variable("LC_TERMINAL").as_deref() == Some("iTerm2") {
            Some(ImageFormat::Iterm)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(variables: &[(&str, &str)]) -> Option<ImageFormat> {
        ImageFormat::detect(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn a_terminal_is_recognized_by_its_variables() {
        let program = |name| detected(&[("TERM", "xterm-256color"), ("TERM_PROGRAM", name)]);
        assert_eq!(program("iTerm.app"), Some(ImageFormat::Iterm));
        assert_eq!(program("WezTerm"), Some(ImageFormat::Iterm));
        assert_eq!(program("ghostty"), Some(ImageFormat::Kitty));
        assert_eq!(program("Apple_Terminal"), None);
        assert_eq!(detected(&[("TERM", "xterm-kitty")]), Some(ImageFormat::Kitty));
        assert_eq!(detected(&[("TERM", "xterm"), ("KITTY_WINDOW_ID", "1")]), Some(ImageFormat::Kitty));
        assert_eq!(detected(&[("TERM", "foot-extra")]), Some(ImageFormat::Sixel));
        assert_eq!(detected(&[("TERM", "xterm"), ("LC_TERMINAL", "iTerm2")]), Some(ImageFormat::Iterm));
        assert_eq!(detected(&[("TERM", "xterm-256color")]), None);
        assert_eq!(detected(&[("TERM", "tmux-256color"), ("KITTY_WINDOW_ID", "1")]), None);
        assert_eq!(detected(&[("TERM", "screen"), ("LC_TERMINAL", "iTerm2")]), None);
    }
}
