//! `--max-failures N`: after N failures in a row, the other lines for a server fail at once, until one that is tried
//! after a pause succeeds.

use std::time::Duration;

use tokio::time::Instant;

use crate::commands::call::concurrent::FinishedCall;
use crate::error::{ErrorKind, Failure};
use crate::util::count::counted;

/// The pause before the first line that is tried again; it doubles with each that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Whether lines are sent to one server.
#[derive(Default)]
pub(super) struct Circuit {
    failures: u32,
    /// Since when no lines are sent, and for how long.
    open: Option<(Instant, Duration)>,
    /// Whether a line is tried after the pause.
    is_trying: bool,
}

/// What is done with a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// It is sent.
    Send,
    /// It is sent to find out whether the server has recovered.
    Try,
    /// It is not sent.
    Fail,
}

impl Circuit {
    /// What is done with the next line.
    pub fn next(&mut self, now: Instant) -> Permission {
        match self.open {
            None => Permission::Send,
            Some((since, pause)) if !self.is_trying && now >= since + pause => {
                self.is_trying = true;
                Permission::Try
            }
            Some(_) => Permission::Fail,
        }
    }

    /// Counts what came of a line that was sent. Returns whether the server has failed `limit` times in a row now.
    pub fn count(&mut self, permission: Permission, ended: &FinishedCall, limit: u32, now: Instant) -> bool {
        match is_server_failure(ended) {
            Some(true) => {
                self.failures += 1;
                let pause = match (permission, self.open) {
                    (Permission::Try, Some((_, pause))) => (pause * 2).min(MAX_PAUSE),
                    (_, Some(_)) => return false,
                    (_, None) if self.failures < limit => return false,
                    (_, None) => FIRST_PAUSE,
                };
                let is_first = self.open.is_none();
                *self = Circuit { failures: self.failures, open: Some((now, pause)), is_trying: false };
                is_first
            }
            Some(false) if permission == Permission::Try || self.open.is_none() => {
                *self = Circuit::default();
                false
            }
            _ => {
                // Nothing was sent, so the next line is tried.
                self.is_trying &= permission != Permission::Try;
                false
            }
        }
    }

    /// The failure of a line that is not sent.
    pub fn failure(&self, server: &str) -> Failure {
        Failure::new(ErrorKind::Unreachable, "not sent: the server keeps failing")
            .cause(format!("{} in a row", counted(self.failures, "failure")))
            .hint("run the failed lines again later: --skip-done FILE")
            .server(server)
    }
}

/// Whether the server failed: it did not respond, or not as it should. `None` if nothing was sent. An error that the
/// tool or the server reports is a response.
fn is_server_failure(ended: &FinishedCall) -> Option<bool> {
    match &ended.failure {
        _ if ended.result.is_some() => Some(false),
        Some(failure) => match failure.kind() {
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol | ErrorKind::Auth => Some(true),
            ErrorKind::Failed => Some(false),
            _ => None,
        },
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn failed(kind: ErrorKind) -> FinishedCall {
        FinishedCall::from_failure(Failure::new(kind, "x"))
    }

    fn succeeded() -> FinishedCall {
        FinishedCall::from_result(RawValue::TRUE.to_owned())
    }

    #[test]
    fn failures_in_a_row_stop_the_lines_until_one_succeeds() {
        let mut circuit = Circuit::default();
        let now = Instant::now();
        let gone = failed(ErrorKind::Unreachable);
        assert!(!circuit.count(Permission::Send, &gone, 2, now));
        circuit.count(Permission::Send, &succeeded(), 2, now);
        assert!(!circuit.count(Permission::Send, &gone, 2, now), "not in a row");
        assert!(!circuit.count(Permission::Send, &failed(ErrorKind::Usage), 2, now), "nothing was sent");
        assert_eq!(circuit.next(now), Permission::Send);
        assert!(circuit.count(Permission::Send, &gone, 2, now));
        assert_eq!(circuit.next(now), Permission::Fail);
        // Those that were sent before do not change it.
        assert!(!circuit.count(Permission::Send, &gone, 2, now));
        circuit.count(Permission::Send, &succeeded(), 2, now);
        assert_eq!(circuit.next(now), Permission::Fail);
        let now = now + FIRST_PAUSE;
        assert_eq!((circuit.next(now), circuit.next(now)), (Permission::Try, Permission::Fail));
        assert!(!circuit.count(Permission::Try, &gone, 2, now), "reported once");
        let now = now + FIRST_PAUSE;
        assert_eq!(circuit.next(now), Permission::Fail, "the second pause is longer");
        let now = now + FIRST_PAUSE;
        assert_eq!(circuit.next(now), Permission::Try);
        circuit.count(Permission::Try, &failed(ErrorKind::Usage), 2, now);
        assert_eq!(circuit.next(now), Permission::Try, "the last one was not sent");
        circuit.count(Permission::Try, &succeeded(), 2, now);
        assert_eq!(circuit.next(now), Permission::Send);
    }
}
