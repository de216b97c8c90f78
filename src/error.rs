//! The closed set of failure classes, their exit codes, and the one error type that carries them.
//!
//! Every failure a user can see is a [`Failure`]: what failed, why (outermost cause first), and the
//! command to try next. The class decides the exit code (contract §4), in one exhaustive match.

use std::fmt;
use std::time::Duration;

use crate::protocol::rpc::RpcError;

/// Shorthand for a result whose error is a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What kind of failure it was; the exit code and the `class` of the JSON error follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The server answered, and the answer is a failure.
    Failed,
    /// The command line is wrong, or the tool's schema refuses an argument.
    Usage,
    /// The configuration is wrong or incomplete.
    Config,
    /// Authentication is needed or was refused.
    Auth,
    /// The server could not be reached, or went away.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The server broke the protocol, or no common revision exists.
    Protocol,
    /// Refused by policy or by the person.
    Refused,
    /// A defect of mcpipe itself.
    Bug,
    /// What came of it could not be written here: a full disk, say.
    Output,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM or SIGHUP.
    Terminated,
    /// The reader of standard output went away; not an error for the user.
    ClosedPipe,
}

impl Class {
    /// The process exit code, as promised in contract §4.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Class::ClosedPipe => 0,
            Class::Failed => 1,
            Class::Usage => 2,
            Class::Config => 3,
            Class::Auth => 4,
            Class::Unreachable => 5,
            Class::Timeout => 6,
            Class::Protocol => 7,
            Class::Refused => 8,
            Class::Bug => 70,
            Class::Output => 74,
            Class::Interrupted => 130,
            Class::Terminated => 143,
        }
    }

    /// The name under `class` in the JSON error line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Class::ClosedPipe => "closed_pipe",
            Class::Failed => "failed",
            Class::Usage => "usage",
            Class::Config => "config",
            Class::Auth => "auth",
            Class::Unreachable => "unreachable",
            Class::Timeout => "timeout",
            Class::Protocol => "protocol",
            Class::Refused => "refused",
            Class::Bug => "bug",
            Class::Output => "output",
            Class::Interrupted => "interrupted",
            Class::Terminated => "terminated",
        }
    }
}

/// What is known about asking once more, after a failure that may pass by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Whether the server certainly did not act on the request: it never arrived, or was turned away unread.
    pub unsent: bool,
    /// Whether the server, or who stands before it, said so itself by an HTTP status.
    pub answered: bool,
    /// How long the server asks to wait before.
    pub after: Option<Duration>,
}

impl Again {
    /// What an HTTP status says: too many requests (429) turn a request away unread, and so does a server that is
    /// unavailable (503) and says until when; one that does not say may have failed in the midst of it, as a
    /// gateway (502, 504) may have passed it on. `None` where asking once more would not help.
    #[must_use]
    pub fn of_status(status: u16, after: Option<Duration>) -> Option<Self> {
        match status {
            429 => Some(Again { unsent: true, answered: true, after }),
            503 => Some(Again { unsent: after.is_some(), answered: true, after }),
            502 | 504 => Some(Again { unsent: false, answered: true, after }),
            _ => None,
        }
    }
}

/// A failure on its way to the user.
///
/// Boxed inside, so that `Result<T>` stays small on the paths that succeed.
#[derive(Clone, Debug)]
pub struct Failure(Box<Details>);

/// What a [`Failure`] says.
#[derive(Clone, Debug)]
pub struct Details {
    /// Decides the exit code.
    pub class: Class,
    /// What failed, without a final period.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// The next step, usually a command to try.
    pub hint: Option<String>,
    /// The target as the user named it.
    pub server: Option<String>,
    /// The JSON-RPC error behind it.
    pub rpc: Option<RpcError>,
    /// The last lines of the server's own stderr.
    pub stderr_tail: Vec<String>,
    /// Whether it may pass by itself.
    pub again: Option<Again>,
    /// Whether the request certainly never left, so that nothing can have come of it.
    pub unsent: bool,
    /// Whether a server that is still starting may fail so, though asking once more would not help else.
    pub early: bool,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Failure(Box::new(Details {
            class,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            server: None,
            rpc: None,
            stderr_tail: Vec::new(),
            again: None,
            unsent: false,
            early: false,
        }))
    }

    /// Adds one cause below those already there.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }

    /// Adds an error and every error behind it as causes.
    ///
    /// A cause that only repeats the tail of the one before it says nothing new and is left out.
    #[must_use]
    pub fn source(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            let repeated = self.0.causes.last().is_some_and(|last| last.ends_with(&text));
            if !repeated && !text.is_empty() {
                self.0.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// Sets the hint: the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Names the server, unless an inner layer already did.
    #[must_use]
    pub fn server(mut self, server: &str) -> Self {
        self.0.server.get_or_insert_with(|| server.to_owned());
        self
    }

    /// Attaches the JSON-RPC error.
    #[must_use]
    pub fn rpc(mut self, rpc: RpcError) -> Self {
        self.0.rpc = Some(rpc);
        self
    }

    /// Attaches the last lines of the server's stderr, unless an inner layer already did.
    #[must_use]
    pub fn stderr_tail(mut self, lines: Vec<String>) -> Self {
        if self.0.stderr_tail.is_empty() {
            self.0.stderr_tail = lines;
        }
        self
    }

    /// Says that it may pass by itself.
    #[must_use]
    pub fn again(mut self, again: impl Into<Option<Again>>) -> Self {
        self.0.again = again.into();
        self
    }

    /// Says that a server which is still starting may fail so.
    #[must_use]
    pub fn early(mut self) -> Self {
        self.0.early = true;
        self
    }

    /// Whether the server may not be ready yet.
    #[must_use]
    pub fn may_be_starting(&self) -> bool {
        self.0.early || self.0.again.is_some()
    }

    /// The class.
    #[must_use]
    pub fn class(&self) -> Class {
        self.0.class
    }

    /// Everything it says.
    #[must_use]
    pub fn details(&self) -> &Details {
        &self.0
    }

    /// Everything it says, to be changed.
    pub fn details_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for cause in &self.0.causes {
            write!(f, ": {cause}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}
