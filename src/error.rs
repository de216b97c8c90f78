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
pub enum ErrorKind {
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

impl ErrorKind {
    /// The process exit code, as promised in contract §4.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorKind::ClosedPipe => 0,
            ErrorKind::Failed => 1,
            ErrorKind::Usage => 2,
            ErrorKind::Config => 3,
            ErrorKind::Auth => 4,
            ErrorKind::Unreachable => 5,
            ErrorKind::Timeout => 6,
            ErrorKind::Protocol => 7,
            ErrorKind::Refused => 8,
            ErrorKind::Bug => 70,
            ErrorKind::Output => 74,
            ErrorKind::Interrupted => 130,
            ErrorKind::Terminated => 143,
        }
    }

    /// The name under `class` in the JSON error line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ErrorKind::ClosedPipe => "closed_pipe",
            ErrorKind::Failed => "failed",
            ErrorKind::Usage => "usage",
            ErrorKind::Config => "config",
            ErrorKind::Auth => "auth",
            ErrorKind::Unreachable => "unreachable",
            ErrorKind::Timeout => "timeout",
            ErrorKind::Protocol => "protocol",
            ErrorKind::Refused => "refused",
            ErrorKind::Bug => "bug",
            ErrorKind::Output => "output",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Terminated => "terminated",
        }
    }
}

/// What is known about asking once more, after a failure that may pass by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryAdvice {
    /// Whether the server certainly did not act on the request: it never arrived, or was turned away unread.
    pub is_unprocessed: bool,
    /// Whether the server, or who stands before it, said so itself by an HTTP status.
    pub is_http_status: bool,
    /// How long the server asks to wait before.
    pub retry_after: Option<Duration>,
}

impl RetryAdvice {
    /// What an HTTP status says: too many requests (429) turn a request away unread, and so does a server that is
    /// unavailable (503) and says until when; one that does not say may have failed in the midst of it, as a
    /// gateway (502, 504) may have passed it on. `None` where asking once more would not help.
    #[must_use]
    pub fn from_status(status: u16, after: Option<Duration>) -> Option<Self> {
        match status {
            429 => Some(RetryAdvice { is_unprocessed: true, is_http_status: true, retry_after: after }),
            503 => Some(RetryAdvice { is_unprocessed: after.is_some(), is_http_status: true, retry_after: after }),
            502 | 504 => Some(RetryAdvice { is_unprocessed: false, is_http_status: true, retry_after: after }),
            _ => None,
        }
    }
}

/// A failure on its way to the user.
///
/// Boxed inside, so that `Result<T>` stays small on the paths that succeed.
#[derive(Clone, Debug)]
pub struct Failure(Box<FailureDetails>);

/// What a [`Failure`] says.
#[derive(Clone, Debug)]
pub struct FailureDetails {
    /// Decides the exit code.
    pub kind: ErrorKind,
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
    pub retry_advice: Option<RetryAdvice>,
    /// Whether the request certainly never left, so that nothing can have come of it.
    pub is_unsent: bool,
    /// Whether a server that is still starting may fail so, though asking once more would not help else.
    pub maybe_starting: bool,
}

impl Failure {
    /// A failure of this class.
    pub fn new(class: ErrorKind, message: impl Into<String>) -> Self {
        Failure(Box::new(FailureDetails {
            kind: class,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            server: None,
            rpc: None,
            stderr_tail: Vec::new(),
            retry_advice: None,
            is_unsent: false,
            maybe_starting: false,
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
    pub fn caused_by(mut self, error: &(dyn std::error::Error + 'static)) -> Self {
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
    pub fn retry_advice(mut self, again: impl Into<Option<RetryAdvice>>) -> Self {
        self.0.retry_advice = again.into();
        self
    }

    /// Says that a server which is still starting may fail so.
    #[must_use]
    pub fn maybe_starting(mut self) -> Self {
        self.0.maybe_starting = true;
        self
    }

    /// Whether the server may not be ready yet.
    #[must_use]
    pub fn may_become_ready(&self) -> bool {
        self.0.maybe_starting || self.0.retry_advice.is_some()
    }

    /// The class.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Everything it says.
    #[must_use]
    pub fn details(&self) -> &FailureDetails {
        &self.0
    }

    /// Everything it says, to be changed.
    pub fn details_mut(&mut self) -> &mut FailureDetails {
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
