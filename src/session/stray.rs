//! Answers that name no request of ours, where one stream carries everything.
//!
//! JSON-RPC 2.0 (section 5) gives an error `"id": null` where the request could not be read. In practice servers
//! also send such an error, or a result without an ID, for a notification, which must not be answered at all
//! (section 4.1). The rules here:
//!
//! * A result without an ID answers nothing. If a request gets no answer in time, and no error came that explains it,
//!   such a result is the failure: the server broke the protocol.
//! * A notification accounts for one answer that names no request, until a request sent after it is answered: servers
//!   mostly work in order.
//! * Any other error, and a result with an unknown ID, is held. An answer by its ID wins over it. Once as many are
//!   held as requests wait, each request is given [`STRAY_WAIT`] for its answer and then fails with what was held.
//! * Text that is probably the response to a request, but not valid JSON, is held for that request in the same way.
//! * Progress of a request shows that the server read it: no error before that was about it.
//! * Where a wait ends for another reason, what came is shown as the cause. A held result with an unknown ID is more:
//!   the server broke the protocol, and the end of the wait is the consequence.

use std::time::Duration;

use crate::error::{ErrorKind, Failure, FailureDetails};
use crate::protocol::rpc::{RpcError, RpcResponse};
use crate::session::request::RequestOutcome;

/// How long a request waits for its own answer after one that names no request. As long as a silent server is given at
/// the first probe: a server that refuses every request this way still connects in seconds.
pub(crate) const STRAY_WAIT: Duration = Duration::from_secs(2);

/// The failure of a result whose id is not one of ours.
pub(crate) const UNKNOWN_ID: &str = "the server answered with an ID that was never sent";
/// The failure of a result without an ID.
pub(crate) const WITHOUT_ID: &str = "the server answered with a result without an ID";

/// What an answer that names no request of ours means for a request that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StrayMeaning {
    /// It may be the answer: any error, and a result with a wrong id.
    MayBeAnswer,
    /// It answers nothing, but it breaks the protocol: if no answer comes in time, this is why.
    Malformed,
    /// It is about something else, and only mentioned if the wait ends without an answer.
    Mentioned,
}

/// An answer that names no request of ours.
#[derive(Clone, Debug)]
pub(crate) struct Stray {
    has_id: bool,
    error: Option<Box<RpcError>>,
    /// Why a response cannot be read.
    broken: Option<Failure>,
}

impl Stray {
    pub(crate) fn new(response: RpcResponse) -> Self {
        Stray { has_id: response.has_id, error: response.outcome.err(), broken: None }
    }

    /// A response that cannot be read.
    pub(crate) fn broken(failure: Failure) -> Self {
        Stray { has_id: true, error: None, broken: Some(failure) }
    }

    pub(crate) fn is_error(&self) -> bool {
        self.error.is_some()
    }

    /// What it may mean for a request that waits, on a stream that all requests share.
    pub(crate) fn meaning(&self) -> StrayMeaning {
        match (&self.error, self.has_id) {
            (None, false) => StrayMeaning::Malformed,
            _ => StrayMeaning::MayBeAnswer,
        }
    }

    /// How a request ends that it is taken for the answer to.
    pub(crate) fn reply(self) -> RequestOutcome {
        match self.error {
            Some(error) => RequestOutcome::Error(error, None),
            None => RequestOutcome::Failed(self.violation()),
        }
    }

    /// How a result breaks the protocol.
    fn violation(&self) -> Failure {
        let text = if self.has_id { UNKNOWN_ID } else { WITHOUT_ID };
        self.broken.clone().unwrap_or_else(|| Failure::new(ErrorKind::Protocol, text))
    }

    /// Makes a failure that ended a wait the consequence of this result.
    fn with_consequence(&self, mut failure: Failure) -> Failure {
        let violation = self.violation();
        let FailureDetails { message, mut causes, hint, .. } = violation.details().clone();
        let details = failure.details_mut();
        details.kind = ErrorKind::Protocol;
        causes.push(std::mem::replace(&mut details.message, message));
        causes.append(&mut details.causes);
        (details.causes, details.hint) = (causes, hint);
        (details.retry_advice, details.maybe_starting, details.unanswered) = (None, false, None);
        failure
    }

    /// Adds it to a failure that ended a wait.
    fn explain(self, mut failure: Failure) -> Failure {
        failure.details_mut().causes.insert(0, format!("the server sent {self}"));
        match self.error {
            Some(error) if failure.details().rpc.is_none() => failure.rpc(error),
            _ => failure,
        }
    }
}

impl std::fmt::Display for Stray {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let id = if self.has_id { "with an unknown ID" } else { "without an ID" };
        match &self.error {
            Some(error) => write!(f, "an error {id}: {}", error),
            None if self.broken.is_some() => f.write_str("a response that is not valid JSON"),
            None => write!(f, "a result {id}"),
        }
    }
}

/// What came without an ID of ours while one request waited.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    /// The first that may be meant for the request.
    held: Option<Stray>,
    /// How many of those came.
    count: usize,
    /// What is shown where the wait ends without an answer.
    cause: Option<Stray>,
    /// Whether a result without an ID came.
    has_malformed: bool,
}

impl Strays {
    /// Adds one.
    pub(crate) fn add(&mut self, stray: &Stray, meaning: StrayMeaning) {
        let hold = meaning == StrayMeaning::MayBeAnswer;
        self.has_malformed |= meaning == StrayMeaning::Malformed;
        let says_more = match &self.cause {
            None => true,
            Some(cause) => self.held.is_none() && (hold || (stray.is_error() && !cause.is_error())),
        };
        if says_more {
            self.cause = Some(stray.clone());
        }
        if hold {
            self.count = self.count.saturating_add(1);
            self.held.get_or_insert_with(|| stray.clone());
        }
    }

    /// Adds one that can only be meant for this request.
    pub(crate) fn add_own(&mut self, stray: &Stray) {
        self.add(stray, StrayMeaning::MayBeAnswer);
        self.count = usize::MAX;
    }

    /// Whether one of them is the answer, if nothing else comes: there is one for each of `waiting` requests.
    pub(crate) fn is_one_for_each(&self, waiting: usize) -> bool {
        self.count > 0 && self.count >= waiting
    }

    /// The one that is taken for the answer. None is held after that.
    pub(crate) fn take_held(&mut self) -> Option<Stray> {
        self.count = 0;
        self.held.take()
    }

    /// Adds what came to a failure that ended the wait from outside.
    pub(crate) fn explain(self, failure: Failure) -> Failure {
        match (failure.kind(), self.held, self.cause) {
            (ErrorKind::Timeout | ErrorKind::Unreachable, Some(held), _) if !held.is_error() => {
                held.with_consequence(failure)
            }
            (ErrorKind::Timeout, _, Some(stray)) if self.has_malformed && !stray.is_error() => {
                stray.with_consequence(failure)
            }
            (ErrorKind::Timeout | ErrorKind::Unreachable, _, Some(stray)) => stray.explain(failure),
            (kind, _, Some(stray)) if kind.is_interrupt() => stray.explain(failure),
            _ => failure,
        }
    }
}

/// The notifications that a server may still answer by mistake.
#[derive(Debug, Default)]
pub(crate) struct PossiblyAnsweredNotifications {
    count: usize,
    /// The id of the first request after the last of them.
    next_id: u64,
}

impl PossiblyAnsweredNotifications {
    /// One was sent before the request with this id.
    pub(crate) fn sent(&mut self, next_id: u64) {
        self.count += 1;
        self.next_id = next_id;
    }

    /// The server answered the request with this id.
    pub(crate) fn mark_answered(&mut self, id: u64) {
        if id >= self.next_id {
            self.count = 0;
        }
    }

    /// Whether one of them accounts for an answer that names no request; it accounts for no other then.
    pub(crate) fn takes_answer(&mut self) -> bool {
        let accounts = self.count > 0;
        self.count = self.count.saturating_sub(1);
        accounts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::protocol::rpc::{self, RpcMessage};

    fn stray(text: &str) -> Stray {
        match rpc::parse(text).unwrap().remove(0) {
            RpcMessage::Response(response) => Stray::new(response),
            other => panic!("{other:?}"),
        }
    }

    fn error(message: &str) -> Stray {
        stray(&format!(r#"{{"error":{{"code":-1,"message":"{message}"}}}}"#))
    }

    #[test]
    fn a_stray_answer_says_what_it_is() {
        assert_eq!(error("no").to_string(), "an error without an ID: no (code -1)");
        assert_eq!(
            stray(r#"{"id":"x","error":{"code":-1,"message":"no"}}"#).to_string(),
            "an error with an unknown ID: no (code -1)"
        );
        assert_eq!(stray(r#"{"id":null,"result":{}}"#).to_string(), "a result without an ID");
        assert_eq!(stray(r#"{"id":99,"result":{}}"#).to_string(), "a result with an unknown ID");
    }

    #[test]
    fn it_takes_as_many_as_there_are_waiting_requests() {
        let mut strays = Strays::default();
        strays.add(&error("a notification's"), StrayMeaning::Mentioned);
        assert!(!strays.is_one_for_each(1));
        strays.add(&error("first"), StrayMeaning::MayBeAnswer);
        assert!(strays.is_one_for_each(1) && !strays.is_one_for_each(2));
        strays.add(&error("second"), StrayMeaning::MayBeAnswer);
        assert!(strays.is_one_for_each(2) && !strays.is_one_for_each(3));
        assert_eq!(strays.take_held().unwrap().to_string(), "an error without an ID: first (code -1)");
        assert!(!strays.is_one_for_each(1));
    }

    #[test]
    fn what_came_explains_only_the_failures_that_have_no_cause_of_their_own() {
        let strays = |all: &[&Stray]| {
            let mut strays = Strays::default();
            all.iter().for_each(|stray| strays.add(stray, stray.meaning()));
            strays
        };
        let result = stray(r#"{"result":{}}"#);
        let explained = strays(&[&result, &error("no")]).explain(Failure::new(ErrorKind::Timeout, "late").cause("b"));
        assert_eq!(explained.to_string(), "late: the server sent an error without an ID: no (code -1): b");
        assert_eq!(explained.details().rpc.as_ref().unwrap().code, Some(-1));
        let explained = strays(&[&result]).explain(Failure::new(ErrorKind::Unreachable, "gone"));
        assert_eq!(explained.to_string(), "gone: the server sent a result without an ID");
        assert!(explained.details().rpc.is_none());
        let explained = strays(&[&result]).explain(Failure::new(ErrorKind::Timeout, "late").wait_hint("wait"));
        assert_eq!((explained.kind(), explained.to_string()), (ErrorKind::Protocol, format!("{WITHOUT_ID}: late")));
        assert!(explained.details().hint.is_none());
        let wrong_id = strays(&[&stray(r#"{"id":99,"result":{}}"#)]);
        let explained =
            wrong_id.explain(Failure::new(ErrorKind::Timeout, "late").cause("b").hint("wait").maybe_starting());
        assert_eq!((explained.kind(), explained.to_string()), (ErrorKind::Protocol, format!("{UNKNOWN_ID}: late: b")));
        assert!(explained.details().hint.is_none() && !explained.may_become_ready());
        let refused = strays(&[&error("no")]).explain(Failure::new(ErrorKind::Refused, "declined"));
        assert_eq!(refused.to_string(), "declined");
        assert_eq!(Strays::default().explain(Failure::new(ErrorKind::Timeout, "late")).to_string(), "late");
    }

    #[test]
    fn a_notification_accounts_for_one_answer_until_a_later_request_is_answered() {
        let mut notifications = PossiblyAnsweredNotifications::default();
        assert!(!notifications.takes_answer());
        notifications.sent(3);
        assert!(notifications.takes_answer() && !notifications.takes_answer());
        notifications.sent(3);
        notifications.mark_answered(2);
        assert!(notifications.takes_answer(), "the request before it says nothing");
        notifications.sent(3);
        notifications.mark_answered(3);
        assert!(!notifications.takes_answer());
    }
}
