//! One request on the wire: what is sent, how its wait ends, and how it ended.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::questions::Questions;
use crate::error::Failure;
use crate::protocol::rpc::{Raw, RpcError};
use crate::transport::Refusal;

/// How one request ended.
#[derive(Debug)]
pub enum Reply {
    /// A result, as the server sent it.
    Result(Raw),
    /// A JSON-RPC error, and the HTTP status it came under.
    Error(RpcError, Option<u16>),
    /// An HTTP answer without a JSON-RPC message.
    Refused(Refusal),
    /// No answer: the connection broke, time ran out, the user stopped it.
    Failed(Failure),
}

/// How a server is told that an answer is no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancel {
    /// Not at all (`initialize` is never cancelled, `MSG-05`).
    Never,
    /// By `notifications/cancelled` (`STD-05`, `HTL-09`).
    Notify,
    /// By closing the stream of its answer (`HTM-09`).
    Close,
}

/// One request, ready to go.
pub struct Ask {
    /// Its id, from [`next_id`](super::link::Link::next_id).
    pub id: u64,
    /// The method.
    pub method: &'static str,
    /// The parameters, raw JSON.
    pub params: Option<String>,
    /// Headers that mirror it, over HTTP.
    pub headers: Vec<(String, String)>,
    /// How long to wait; progress starts the clock again, within limits. `None` waits for ever.
    pub timeout: Option<Duration>,
    /// What to do when the wait ends without an answer.
    pub cancel: Cancel,
    /// Its own account of what the server asks meanwhile.
    pub questions: Option<Arc<Questions>>,
}

/// How much longer than the time-out a request is waited for whose server reports progress all the while.
const MOST: u32 = 60;

/// The time that one request is given (`MSG-04`).
pub(super) struct Clock {
    timeout: Option<Duration>,
    due: Option<Instant>,
    last: Option<Instant>,
}

impl Clock {
    /// A clock that starts now. `None` never runs out.
    pub(super) fn new(timeout: Option<Duration>, now: Instant) -> Self {
        let mut clock = Clock { timeout, due: None, last: None };
        clock.restart(now);
        clock
    }

    /// All the time begins anew: it was not the server who let us wait.
    pub(super) fn restart(&mut self, now: Instant) {
        self.last = self.timeout.and_then(|time| now.checked_add(time.saturating_mul(MOST)));
        self.progress(now);
    }

    /// The server reports progress.
    pub(super) fn progress(&mut self, now: Instant) {
        let due = self.timeout.and_then(|time| now.checked_add(time));
        self.due = due.map(|due| self.last.map_or(due, |last| due.min(last)));
    }

    /// When the time is over.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// How long was waited when the time is over, and whether that was in spite of progress.
    pub(super) fn waited(&self) -> (Duration, bool) {
        let time = self.timeout.unwrap_or_default();
        let endless = self.due.is_some() && self.due == self.last;
        (if endless { time.saturating_mul(MOST) } else { time }, endless)
    }
}

/// What happens to the clock of a request that waits.
#[derive(Default)]
pub(super) struct Pulse {
    /// There is progress.
    pub(super) progress: Notify,
    /// Somebody on our side was asked, and has answered.
    pub(super) answered: Notify,
    /// What named no request was most likely its answer.
    pub(super) strayed: Notify,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_starts_the_clock_again_but_not_for_ever() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut clock = Clock::new(Some(second), start);
        assert_eq!((clock.due(), clock.waited()), (Some(start + second), (second, false)));
        for half in 1..=118 {
            let now = start + second * half / 2;
            clock.progress(now);
            assert_eq!((clock.due(), clock.waited().1), (Some(now + second), half == 118));
        }
        clock.progress(start + second * 599 / 10);
        assert_eq!((clock.due(), clock.waited()), (Some(start + second * 60), (second * 60, true)));
        clock.restart(start + second * 59);
        assert_eq!((clock.due(), clock.waited()), (Some(start + second * 60), (second, false)));
        clock.progress(start + second * 100);
        assert_eq!(clock.due(), Some(start + second * 101));
    }

    #[test]
    fn no_clock_and_one_beyond_all_time_never_run_out() {
        for timeout in [None, Some(Duration::MAX)] {
            let mut clock = Clock::new(timeout, Instant::now());
            clock.progress(Instant::now());
            assert_eq!((clock.due(), clock.waited().1), (None, false));
        }
    }
}
