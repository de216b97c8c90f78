//! The kinds of errors, their exit codes, and the one error type of mcpipe.
//!
//! Every error that a user can see is a [`Failure`]: what failed, why (outermost cause first), and what to do next. Its
//! kind decides the exit code, in one exhaustive match.

use std::fmt;
use std::time::Duration;

use crate::protocol::rpc::RpcError;

/// A result whose error is a [`Failure`].
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// The kind of an error. It decides the exit code and the `class` of the JSON error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The server, or a command that answers for the user, reported a failure.
    Failed,
    /// The command line is invalid, or an argument does not match the tool's schema.
    Usage,
    /// The configuration is invalid or incomplete.
    Config,
    /// Authentication is required or failed.
    Auth,
    /// The server could not be reached, or the connection was lost.
    Unreachable,
    /// No response in time.
    Timeout,
    /// The server violated the protocol, or there is no common revision.
    Protocol,
    /// Refused by policy or by the user.
    Refused,
    /// The server answered, but not as a test, an expectation or a lock file says.
    Mismatch,
    /// A bug in mcpipe.
    Bug,
    /// The output could not be written, for example because the disk is full.
    Output,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGHUP: the terminal was closed.
    Hangup,
    /// Ended by SIGTERM.
    Terminated,
    /// Standard output was closed by its reader; not an error for the user.
    ClosedPipe,
}

impl ErrorKind {
    /// Every kind. The last one gives the length, so that none can be missing.
    pub const ALL: [Self; Self::ClosedPipe as usize + 1] = [
        Self::Failed,
        Self::Usage,
        Self::Config,
        Self::Auth,
        Self::Unreachable,
        Self::Timeout,
        Self::Protocol,
        Self::Refused,
        Self::Mismatch,
        Self::Bug,
        Self::Output,
        Self::Interrupted,
        Self::Hangup,
        Self::Terminated,
        Self::ClosedPipe,
    ];

    /// The exit code of the process (`EXIT STATUS` in mcpipe(1)).
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
            ErrorKind::Mismatch => 9,
            ErrorKind::Bug => 70,
            ErrorKind::Output => 74,
            ErrorKind::Hangup => 129,
            ErrorKind::Interrupted => 130,
            ErrorKind::Terminated => 143,
        }
    }

    /// The kind of this [name](ErrorKind::as_str).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// What an HTTP response other than the expected one means by its status: 401 and 403 concern credentials; 404,
    /// 407, 501, redirects and temporary errors mean that the server was not reached.
    #[must_use]
    pub fn from_http_status(status: u16) -> Self {
        match status {
            401 | 403 => ErrorKind::Auth,
            300..=399 | 404 | 407 | 501 => ErrorKind::Unreachable,
            _ if is_temporary_status(status) => ErrorKind::Unreachable,
            _ => ErrorKind::Protocol,
        }
    }

    /// Whether the user or a signal ended the command.
    #[must_use]
    pub fn is_interrupt(self) -> bool {
        matches!(self, ErrorKind::Interrupted | ErrorKind::Hangup | ErrorKind::Terminated)
    }

    /// The name under `class` in the JSON error line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
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
            ErrorKind::Mismatch => "mismatch",
            ErrorKind::Bug => "bug",
            ErrorKind::Output => "output",
            ErrorKind::Interrupted => "interrupted",
            ErrorKind::Hangup => "hangup",
            ErrorKind::Terminated => "terminated",
        }
    }
}

/// Whether the same request may succeed later: the server or a proxy before it was too slow (408, RFC 9110 §15.5.9),
/// too early (425, RFC 8470 §5.2), overloaded (429, RFC 6585 §4) or broken (5xx, RFC 9110 §15.6). 501 is about the
/// method of the request (§15.6.2).
#[must_use]
pub const fn is_temporary_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502..)
}

/// What is known about retrying after a transient error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryAdvice {
    /// Whether the server certainly did not process the request: it was not sent, or rejected before processing.
    pub is_unprocessed: bool,
    /// Whether this is based on an HTTP status, of the server or of a proxy before it.
    pub is_http_status: bool,
    /// Whether it is the proxy that could not be reached.
    pub is_proxy: bool,
    /// How long the server asks to wait before a retry.
    pub retry_after: Option<Duration>,
}

impl RetryAdvice {
    /// The advice for an HTTP status; `None` if a retry would not help.
    ///
    /// A request that gets 429, or 503 with `Retry-After`, was not processed (RFC 6585 §4, RFC 9110 §15.6.4). With 503
    /// alone the server may have failed while processing it, and with 502 or 504 a gateway may have forwarded it.
    #[must_use]
    pub fn from_status(status: u16, retry_after: Option<Duration>) -> Option<Self> {
        match status {
            429 => {
                Some(RetryAdvice { is_unprocessed: true, is_http_status: true, retry_after, ..RetryAdvice::default() })
            }
            503 => Some(RetryAdvice {
                is_unprocessed: retry_after.is_some(),
                is_http_status: true,
                retry_after,
                ..RetryAdvice::default()
            }),
            502 | 504 => {
                Some(RetryAdvice { is_unprocessed: false, is_http_status: true, retry_after, ..RetryAdvice::default() })
            }
            _ => None,
        }
    }
}

/// The cause in failures, and the beginning of notes, if there is no home directory.
pub const NO_HOME_DIRECTORY: &str = "there is no home directory";

/// An error for the user. Boxed inside, so that `Result<T>` is small.
#[derive(Clone, Debug)]
pub struct Failure(Box<FailureDetails>);

/// The content of a [`Failure`].
#[derive(Clone, Debug)]
pub struct FailureDetails {
    /// The kind, which decides the exit code.
    pub kind: ErrorKind,
    /// What failed, without a final period.
    pub message: String,
    /// Why, outermost first.
    pub causes: Vec<String>,
    /// What to do next, usually a command.
    pub hint: Option<String>,
    /// Whether the hint is only to wait longer: a caller that knows the option for it replaces the hint.
    pub suggests_waiting: bool,
    /// Whether the hint only names what was probably meant, which also helps a model.
    pub is_name_hint: bool,
    /// The target as the user named it.
    pub server: Option<String>,
    /// Whether the text begins with the server, since the user named several.
    pub shows_server: bool,
    /// The JSON-RPC error that caused it.
    pub rpc: Option<Box<RpcError>>,
    /// The last lines of the server's stderr.
    pub stderr_tail: Vec<String>,
    /// Present if the error may be transient.
    pub retry_advice: Option<RetryAdvice>,
    /// Whether the request was certainly not sent.
    pub is_unsent: bool,
    /// Whether a server that is still starting may cause it; otherwise a retry would not help.
    pub maybe_starting: bool,
    /// The method of the request that got no answer in time, and how long it was waited for.
    pub unanswered: Option<(&'static str, Duration)>,
    /// Whether the response came and cannot be read.
    pub has_response: bool,
    /// Whether the server's process ended by itself.
    pub is_process_end: bool,
    /// The step at which connecting to a URL failed.
    pub connect_step: Option<ConnectStep>,
}

/// A step of connecting to a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectStep {
    /// The host name is resolved.
    Resolve,
    /// The TCP connection is opened, to the server or to a proxy.
    Connect,
    /// The TLS handshake.
    Tls,
    /// The server speaks HTTP.
    Http,
}

impl Failure {
    /// Something is to be stored, and there is no home directory; `instead` is what helps besides setting it.
    #[must_use]
    pub fn no_home_directory(message: impl Into<String>, instead: &str) -> Self {
        let home = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        Failure::new(ErrorKind::Config, message).cause(NO_HOME_DIRECTORY).hint(format!("set {home}, or {instead}"))
    }

    /// An error of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Failure(Box::new(FailureDetails {
            kind,
            message: message.into(),
            causes: Vec::new(),
            hint: None,
            suggests_waiting: false,
            is_name_hint: false,
            server: None,
            shows_server: false,
            rpc: None,
            stderr_tail: Vec::new(),
            retry_advice: None,
            is_unsent: false,
            maybe_starting: false,
            unanswered: None,
            has_response: false,
            is_process_end: false,
            connect_step: None,
        }))
    }

    /// Adds a cause after the existing ones.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.0.causes.push(cause.into());
        self
    }

    /// Adds an error and its sources as causes.
    ///
    /// A source whose text is already at the end of the previous cause is omitted.
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

    /// Sets the hint: what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self.0.suggests_waiting = false;
        self.0.is_name_hint = false;
        self
    }

    /// Sets a hint that only names what was probably meant.
    #[must_use]
    pub fn name_hint(self, hint: impl Into<String>) -> Self {
        let mut failure = self.hint(hint);
        failure.0.is_name_hint = true;
        failure
    }

    /// The message, its causes and the hint, for a warning of one line.
    #[must_use]
    pub fn with_hint(&self) -> String {
        match &self.0.hint {
            Some(hint) => format!("{self}; {hint}"),
            None => self.to_string(),
        }
    }

    /// Sets a hint that is only to wait longer.
    #[must_use]
    pub fn wait_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self.0.suggests_waiting = true;
        self
    }

    /// Names the server, unless an inner layer already did.
    #[must_use]
    pub fn server(mut self, server: &str) -> Self {
        self.0.server.get_or_insert_with(|| server.to_owned());
        self
    }

    /// Names one of several servers, also in the text of the message.
    #[must_use]
    pub fn one_of_several(self, server: &str) -> Self {
        let mut failure = self.server(server);
        failure.0.shows_server = !failure.0.kind.is_interrupt();
        failure
    }

    /// Attaches the JSON-RPC error.
    #[must_use]
    pub fn rpc(mut self, rpc: impl Into<Box<RpcError>>) -> Self {
        self.0.rpc = Some(rpc.into());
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

    /// Marks the error as transient.
    #[must_use]
    pub fn retry_advice(mut self, advice: impl Into<Option<RetryAdvice>>) -> Self {
        self.0.retry_advice = advice.into();
        self
    }

    /// Marks an error that a server which is still starting may cause.
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

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Its content.
    #[must_use]
    pub fn details(&self) -> &FailureDetails {
        &self.0
    }

    /// Whether it is a JSON-RPC error with this code.
    #[must_use]
    pub fn has_rpc_code(&self, code: i64) -> bool {
        self.0.rpc.as_ref().is_some_and(|error| error.code == Some(code))
    }

    /// Its content, to change it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for (position, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, position);
            assert_eq!(ErrorKind::parse(kind.as_str()), Some(kind));
        }
    }
}
