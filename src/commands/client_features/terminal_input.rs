//! Prompts at the terminal, and the lines typed in response.
//!
//! Line by line on purpose: it works at dumb terminals, over slow connections and with screen readers, keeps what was
//! typed in the scrollback, and needs neither raw mode nor a crate.

use std::io;
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::{Style, Ui};

/// The pending read. If its question was abandoned, the next question takes it over: two reads would compete for the
/// same line.
static PENDING_READ: Mutex<Option<JoinHandle<io::Result<Option<String>>>>> = Mutex::const_new(None);

/// Where the user is prompted.
#[derive(Clone)]
pub struct Prompter {
    /// Where text is shown.
    pub ui: Arc<Ui>,
    /// Ends everything that waits for the user.
    pub interrupt: Interrupt,
}

impl Prompter {
    /// Prompts on stderr, reads standard input.
    #[must_use]
    pub fn new(ui: Arc<Ui>, interrupt: Interrupt) -> Self {
        Prompter { ui, interrupt }
    }

    /// Prompts and reads a line, without its line end; `None` at the end of input.
    ///
    /// # Errors
    /// When standard input cannot be read, or mcpipe is interrupted.
    pub async fn ask(&self, question: &[(Style, &str)]) -> Result<Option<String>> {
        self.ui.prompt_question_spans(question);
        let line = self.interrupt.run_until_interrupted(read_stdin_line()).await;
        let ended = !matches!(&line, Ok(Ok(Some(_))));
        if ended || !self.ui.terminal().stdin_is_tty {
            // No line end was echoed.
            self.ui.prompt_question("\n");
        }
        match line? {
            Ok(line) => Ok(line.map(|line| line.trim_end_matches(['\n', '\r']).to_owned())),
            Err(error) => {
                Err(Failure::new(ErrorKind::Refused, "cannot read the answer from standard input").caused_by(&error))
            }
        }
    }
}

/// On its own thread, so that signals are handled while it waits.
async fn read_stdin_line() -> io::Result<Option<String>> {
    let mut reading = PENDING_READ.lock().await;
    let read = reading.get_or_insert_with(|| {
        tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().read_line(&mut line).map(|count| (count > 0).then_some(line))
        })
    });
    let line = read.await;
    *reading = None;
    line.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// Prompts on stderr and reads one line from standard input; `None` at its end.
///
/// # Errors
/// When standard input cannot be read, or mcpipe is interrupted.
pub async fn ask_line(ui: &Arc<Ui>, interrupt: &Interrupt, question: &str) -> Result<Option<String>> {
    Prompter::new(ui.clone(), interrupt.clone()).ask(&[(Style::PLAIN, question)]).await
}

/// Asks a question that only `y` and `yes` agree to.
///
/// # Errors
/// As [`ask_line`].
pub async fn ask_yes_no(ui: &Arc<Ui>, interrupt: &Interrupt, question: &str) -> Result<bool> {
    let answer = ask_line(ui, interrupt, &format!("{question} [y/N] ")).await?;
    Ok(answer.is_some_and(|line| matches!(line.trim().to_lowercase().as_str(), "y" | "yes")))
}

/// As [`ask_line`], for a secret, typed without echo.
///
/// # Errors
/// As [`ask_line`]; also if echo cannot be turned off.
pub async fn ask_hidden_line(ui: &Arc<Ui>, interrupt: &Interrupt, question: &str) -> Result<Option<String>> {
    let _unseen = echo::off().map_err(|error| {
        Failure::new(ErrorKind::Refused, "cannot turn off echo at this terminal")
            .caused_by(&error)
            .hint("pipe it in instead")
    })?;
    ask_line(ui, interrupt, question).await
}

/// Turns the echo of the terminal off.
mod echo {
    use std::io;

    /// Turns echo on again when dropped.
    #[cfg(unix)]
    pub struct Off(rustix::termios::Termios);

    #[cfg(unix)]
    pub fn off() -> io::Result<Off> {
        use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
        let before = tcgetattr(io::stdin())?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        // The line end is echoed, so that the next output begins on a new line.
        now.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(io::stdin(), OptionalActions::Flush, &now)?;
        Ok(Off(before))
    }

    #[cfg(unix)]
    impl Drop for Off {
        fn drop(&mut self) {
            use rustix::termios::{OptionalActions, tcsetattr};
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        }
    }

    #[cfg(windows)]
    pub use crate::output::console::HiddenInput as Off;

    #[cfg(windows)]
    pub fn off() -> io::Result<Off> {
        Off::begin()
    }

    #[cfg(not(any(unix, windows)))]
    pub struct Off;

    #[cfg(not(any(unix, windows)))]
    pub fn off() -> io::Result<Off> {
        Err(io::Error::other("not supported on this system"))
    }
}
