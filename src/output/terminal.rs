//! The properties of the terminal, determined once and passed on.

use std::io::{IsTerminal, Write};

use super::image_format::ImageFormat;

/// A stream to write to.
pub(super) type OutputStream = Box<dyn Write + Send>;

/// The width if it is unknown.
const DEFAULT_WIDTH: usize = 80;
/// Tables do not get narrower than this.
const MIN_WIDTH: usize = 20;

/// Properties of the standard streams and the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Standard input is a terminal.
    pub stdin_is_tty: bool,
    /// Standard output is one.
    pub stdout_is_tty: bool,
    /// Standard error is one.
    pub stderr_is_tty: bool,
    /// The columns as reported; `Some(0)` from terminals that do not know their width.
    pub width: Option<usize>,
    /// The rows as reported.
    pub rows: Option<usize>,
    /// Width and height of a character in pixels, if the terminal reports them.
    pub cell: Option<(u16, u16)>,
    /// The format of images that it is known to accept.
    pub images: Option<ImageFormat>,
    /// `NO_COLOR` is set and not empty.
    pub no_color: bool,
    /// `TERM=dumb`: the cursor cannot be moved.
    pub is_dumb: bool,
}

impl Terminal {
    /// Determines them. `variable` reads the environment: `COLUMNS`, `NO_COLOR`, `TERM`, and what identifies a
    /// terminal.
    #[must_use]
    pub fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let stdout = std::io::stdout().is_terminal();
        let stderr = std::io::stderr().is_terminal();
        let columns = variable("COLUMNS").and_then(|text| text.trim().parse().ok()).filter(|&columns| columns > 0);
        let size = reported_size(stdout, stderr).unwrap_or_default();
        Terminal {
            stdin_is_tty: std::io::stdin().is_terminal(),
            stdout_is_tty: stdout,
            stderr_is_tty: stderr,
            width: columns.or(size.columns),
            rows: size.rows,
            cell: size.cell,
            images: stdout.then(|| ImageFormat::detect(&variable)).flatten(),
            no_color: variable("NO_COLOR").is_some_and(|text| !text.is_empty()),
            is_dumb: variable("TERM").as_deref() == Some("dumb") || !understands_escapes(stdout, stderr),
        }
    }

    /// The columns that text may use; at least the minimum width.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.line_width().max(MIN_WIDTH)
    }

    /// The columns after which the terminal continues a text on the next line.
    #[must_use]
    pub fn line_width(&self) -> usize {
        match self.width {
            None | Some(0) => DEFAULT_WIDTH,
            Some(width) => width.min(usize::from(u16::MAX)),
        }
    }

    /// Whether the user can be prompted: standard input and standard error are terminals.
    #[must_use]
    pub fn is_interactive(&self) -> bool {
        self.stdin_is_tty && self.stderr_is_tty
    }
}

/// Whether the terminal understands escape sequences; on Windows this has to be enabled.
fn understands_escapes(stdout: bool, stderr: bool) -> bool {
    #[cfg(windows)]
    {
        use super::console::{Stream, understand_escapes};
        (!stdout || understand_escapes(Stream::Stdout)) && (!stderr || understand_escapes(Stream::Stderr))
    }
    #[cfg(not(windows))]
    {
        let _ = (stdout, stderr);
        true
    }
}

/// The size of a terminal.
#[derive(Default)]
struct ReportedSize {
    columns: Option<usize>,
    rows: Option<usize>,
    cell: Option<(u16, u16)>,
}

#[cfg(unix)]
fn reported_size(stdout: bool, stderr: bool) -> Option<ReportedSize> {
    let size = if stdout {
        rustix::termios::tcgetwinsize(std::io::stdout())
    } else if stderr {
        rustix::termios::tcgetwinsize(std::io::stderr())
    } else {
        return None;
    };
    let size = size.ok()?;
    let side = |pixels: u16, count: u16| pixels.checked_div(count).filter(|&side| side > 0);
    Some(ReportedSize {
        columns: Some(usize::from(size.ws_col)),
        rows: Some(usize::from(size.ws_row)),
        cell: side(size.ws_xpixel, size.ws_col).zip(side(size.ws_ypixel, size.ws_row)),
    })
}

#[cfg(windows)]
fn reported_size(stdout: bool, stderr: bool) -> Option<ReportedSize> {
    use super::console::{Stream, width};
    let columns = match (stdout, stderr) {
        (true, _) => width(Stream::Stdout),
        (false, true) => width(Stream::Stderr),
        (false, false) => None,
    };
    Some(ReportedSize { columns, ..ReportedSize::default() })
}

#[cfg(not(any(unix, windows)))]
fn reported_size(_stdout: bool, _stderr: bool) -> Option<ReportedSize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_width_of_zero_or_none_is_eighty() {
        let columns = |width| Terminal { width, ..Terminal::default() }.columns();
        assert_eq!(columns(None), 80);
        assert_eq!(columns(Some(0)), 80);
        assert_eq!(columns(Some(1)), 20);
        assert_eq!(columns(Some(100)), 100);
        assert_eq!(columns(Some(1_000_000)), 65535);
    }

    #[test]
    fn the_environment_speaks_first() {
        let facts = Terminal::detect(|name| match name {
            "COLUMNS" => Some("132".into()),
            "NO_COLOR" => Some("1".into()),
            "TERM" => Some("dumb".into()),
            _ => None,
        });
        assert_eq!((facts.width, facts.no_color, facts.is_dumb), (Some(132), true, true));
        let facts = Terminal::detect(|name| Some(if name == "COLUMNS" { "x" } else { "" }.to_owned()));
        assert!(!facts.no_color && !facts.is_dumb);
    }
}
