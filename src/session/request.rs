//! One request on the wire: what is sent, when the wait ends, and the outcome.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Failure, FailureDetails};
use crate::protocol::code;
use crate::protocol::rpc::{RawJson, RpcError};
use crate::session::server_requests::ServerRequestLog;
use crate::transport::UnexpectedResponse;

/// The outcome of one request. It is moved often, so what is rare and large in it is boxed.
#[derive(Debug)]
pub enum RequestOutcome {
    /// A result, as the server sent it.
    Result(RawJson),
    /// A JSON-RPC error, and its HTTP status.
    Error(Box<RpcError>, Option<u16>),
    /// An HTTP response without a JSON-RPC message.
    UnexpectedResponse(Box<UnexpectedResponse>),
    /// No response: the connection broke, the time is over, or the user interrupted it.
    Failed(Failure),
}

impl RequestOutcome {
    /// Whether the outcome shows that the request was not carried out: an error code or HTTP status for something that
    /// is not a request or that the server does not know. Errors of the tool itself have other codes.
    #[must_use]
    pub fn was_not_processed(&self) -> bool {
        match self {
            RequestOutcome::Error(error, status) => match error.code {
                Some(
                    code::PARSE_ERROR | code::INVALID_REQUEST | code::METHOD_NOT_FOUND | code::UNSUPPORTED_VERSION,
                ) => true,
                Some(code::INTERNAL_ERROR) => false,
                _ => status.is_some_and(is_refusal_of_message),
            },
            RequestOutcome::UnexpectedResponse(refusal) => is_refusal_of_request(refusal.status),
            RequestOutcome::Result(_) | RequestOutcome::Failed(_) => false,
        }
    }
}

/// Whether a server that sent this status with an error did not take the message.
pub(crate) fn is_refusal_of_message(status: u16) -> bool {
    matches!(status, 400 | 404 | 405)
}

/// Whether a server that sent this status, and no message, did not take the request: it may also be for what it accepts
/// or for the type of the body.
pub(crate) fn is_refusal_of_request(status: u16) -> bool {
    is_refusal_of_message(status) || matches!(status, 406 | 415)
}

/// The note for a call without a response.
pub(crate) const MAY_STILL_RUN: &str = "the tool may have run, or may still be running";

/// The note for a call that has ended, whether or not it was carried out.
pub(crate) const MAY_HAVE_RUN: &str = "the tool may have run";

/// The note for a call that failed in this way: it has ended if a response came, or the server's process has ended.
pub(crate) fn may_have_run_note(details: &FailureDetails, has_process_ended: bool) -> &'static str {
    if details.has_response || has_process_ended { MAY_HAVE_RUN } else { MAY_STILL_RUN }
}

/// How to inform a server that a response is no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelMode {
    /// Not at all (`initialize` is never canceled, `MSG-05`).
    Never,
    /// By `notifications/cancelled` (`STD-05`, `HTL-09`).
    SendNotification,
    /// By closing the stream of its response (`HTM-09`).
    CloseStream,
}

/// One encoded request.
pub struct OutgoingRequest {
    /// Its id, from `RpcClient::next_id`.
    pub id: u64,
    /// The method.
    pub method: &'static str,
    /// The parameters, raw JSON.
    pub params: Option<String>,
    /// Additional HTTP headers.
    pub headers: Vec<(String, String)>,
    /// The time limit; progress extends it up to a limit. `None` waits without limit.
    pub timeout: Option<Duration>,
    /// What to do if the wait ends without a response.
    pub cancel_mode: CancelMode,
    /// The log of the server's requests during this one.
    pub server_requests: Option<Arc<ServerRequestLog>>,
}

/// How much longer than the time limit to wait for a server that reports progress all the time.
const MAX_TIMEOUTS_WITH_PROGRESS: u32 = 60;

/// The time limit of one request (`MSG-04`).
pub(crate) struct RequestDeadline {
    timeout: Option<Duration>,
    deadline: Option<Instant>,
    latest_deadline: Option<Instant>,
}

impl RequestDeadline {
    /// A time limit that starts now. `None` never ends.
    pub(crate) fn new(timeout: Option<Duration>, now: Instant) -> Self {
        let mut clock = RequestDeadline { timeout, deadline: None, latest_deadline: None };
        clock.restart(now);
        clock
    }

    /// Starts all limits again: the client caused the delay, not the server.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.latest_deadline =
            self.timeout.and_then(|time| now.checked_add(time.saturating_mul(MAX_TIMEOUTS_WITH_PROGRESS)));
        self.extend(now);
    }

    /// Handles a progress notification.
    pub(crate) fn extend(&mut self, now: Instant) {
        let due = self.timeout.and_then(|time| now.checked_add(time));
        self.deadline = due.map(|due| self.latest_deadline.map_or(due, |last| due.min(last)));
    }

    /// When the time is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time limit that is over, and whether it is the one that progress does not extend.
    pub(crate) fn expired_limit(&self) -> (Duration, bool) {
        let time = self.timeout.unwrap_or_default();
        let endless = self.deadline.is_some() && self.deadline == self.latest_deadline;
        (if endless { time.saturating_mul(MAX_TIMEOUTS_WITH_PROGRESS) } else { time }, endless)
    }
}

/// The minimum time between two identical notifications for both to count.
const SAME_PROGRESS_INTERVAL: Duration = Duration::from_millis(100);
/// The maximum number of different notifications per second that count.
const MAX_PROGRESS_PER_SECOND: u32 = 1000;

/// The cause of a time-out despite progress.
pub(crate) const TOO_MUCH_PROGRESS: &str = "it sends progress too fast to count: more than 1,000 notifications a \
     second, or the same one again within 100 ms";

/// Separates progress that shows work, and extends the time limit, from a flood that would only prolong the wait.
///
/// 2025-11-25, basic/utilities/progress: the value must increase, and both sides should limit the rate. Some servers
/// report a constant value with a changing message, or repeat both as a sign of life.
#[derive(Default)]
pub(crate) struct ProgressPace {
    /// When the last notification came, and a hash of its value and message.
    last: Option<(Instant, u64)>,
    /// The second that is being counted.
    second: Option<Instant>,
    count: u32,
    is_too_fast: bool,
    /// Whether the last notification did not count.
    is_discounted: bool,
}

impl ProgressPace {
    /// Whether a notification with these parameters extends the time limit.
    pub(crate) fn counts(&mut self, params: &Value, now: Instant) -> bool {
        let mut hasher = DefaultHasher::new();
        for member in ["progress", "message"] {
            params.get(member).hash(&mut hasher);
        }
        let said = hasher.finish();
        match self.second {
            Some(start) if now < start + Duration::from_secs(1) => self.count += 1,
            _ => {
                self.is_too_fast = self.count > MAX_PROGRESS_PER_SECOND;
                (self.second, self.count) = (Some(now), 1);
            }
        }
        let is_new = self.last.is_none_or(|(at, before)| before != said || now >= at + SAME_PROGRESS_INTERVAL);
        self.last = Some((now, said));
        let counts = is_new && !self.is_too_fast && self.count <= MAX_PROGRESS_PER_SECOND;
        self.is_discounted = !counts;
        counts
    }

    /// Whether there is progress that does not count.
    pub(crate) fn has_uncounted_progress(&self, now: Instant) -> bool {
        self.is_discounted && self.last.is_some_and(|(at, _)| now < at + Duration::from_secs(1))
    }
}

/// What happens to the time limit of a waiting request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum DeadlineEvent {
    /// The user or a model answered a request from the server.
    InputAnswered,
    /// There was progress.
    Progress,
    /// A message without a request ID was most likely its response.
    Strayed,
}

/// The [`DeadlineEvent`]s of a waiting request: the last of each kind until it is taken.
#[derive(Default)]
pub(crate) struct DeadlineEvents {
    happened: [AtomicBool; 3],
    notify: Notify,
}

impl DeadlineEvents {
    /// Reports an event.
    pub(crate) fn report(&self, event: DeadlineEvent) {
        self.happened[event as usize].store(true, Ordering::Relaxed);
        self.notify.notify_one();
    }

    /// Waits for events. [`DeadlineEvents::take`] returns them.
    pub(crate) async fn wait(&self) {
        self.notify.notified().await;
    }

    /// Whether such an event happened since the last call.
    pub(crate) fn take(&self, event: DeadlineEvent) -> bool {
        self.happened[event as usize].swap(false, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_extends_the_deadline_up_to_a_limit() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut clock = RequestDeadline::new(Some(second), start);
        assert_eq!((clock.deadline(), clock.expired_limit()), (Some(start + second), (second, false)));
        for half in 1..=118 {
            let now = start + second * half / 2;
            clock.extend(now);
            assert_eq!((clock.deadline(), clock.expired_limit().1), (Some(now + second), half == 118));
        }
        clock.extend(start + second * 599 / 10);
        assert_eq!((clock.deadline(), clock.expired_limit()), (Some(start + second * 60), (second * 60, true)));
        clock.restart(start + second * 59);
        assert_eq!((clock.deadline(), clock.expired_limit()), (Some(start + second * 60), (second, false)));
        clock.extend(start + second * 100);
        assert_eq!(clock.deadline(), Some(start + second * 101));
    }

    #[test]
    fn progress_counts_unless_it_repeats_itself_or_comes_too_fast() {
        let (start, millis) = (Instant::now(), Duration::from_millis);
        let said = |progress: u32, message: &str| serde_json::json!({"progress": progress, "message": message});
        let mut pace = ProgressPace::default();
        assert!(pace.counts(&said(1, "a"), start));
        assert!(!pace.counts(&said(1, "a"), start + millis(99)));
        assert!(!pace.counts(&said(1, "a"), start + millis(198)), "it is measured from the last one");
        assert!(pace.counts(&said(1, "a"), start + millis(298)));
        assert!(pace.counts(&said(2, "a"), start + millis(299)));
        assert!(pace.counts(&said(2, "b"), start + millis(300)));
        // Ten seconds at 1,000 a second count; at 2,000 only the first half second does.
        let counted = |per_second: u32| {
            let mut pace = ProgressPace::default();
            let all = 0..10 * per_second;
            all.filter(|n| pace.counts(&said(*n, ""), start + Duration::from_secs(1) * *n / per_second)).count()
        };
        assert_eq!((counted(1000), counted(2000)), (10_000, 1000));
    }

    #[test]
    fn no_timeout_and_a_huge_timeout_never_expire() {
        for timeout in [None, Some(Duration::MAX)] {
            let mut clock = RequestDeadline::new(timeout, Instant::now());
            clock.extend(Instant::now());
            assert_eq!((clock.deadline(), clock.expired_limit().1), (None, false));
        }
    }
}
