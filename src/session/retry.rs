//! Retries: after failures that may be temporary, and only if a repetition does no harm.
//!
//! A request that the server did not process, and one without effects, may be sent again. Any other is repeated only if
//! the tool declares that it may be and the user asks for it. No request is repeated silently.

use std::sync::Arc;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};

use crate::error::{ErrorKind, RetryAdvice};
use crate::session::operation::Operation;
use crate::transport::trace::Trace;

/// The pause before the first retry; it doubles with each.
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(300);
/// The longest pause that was not requested by anyone.
const MAX_RETRY_DELAY: Duration = Duration::from_secs(20);
/// The pause between attempts to reach a server that is not ready; it doubles up to the second value.
const POLL_DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// The longest pause that a server may request, without `--wait`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Reports that a request that may have effects is sent again.
type RetryCallback = Arc<dyn Fn(&str) + Send + Sync>;

/// When to retry.
#[derive(Clone, Default)]
pub struct RetryPolicy {
    /// The maximum number of retries.
    pub max_retries: u32,
    /// Whether the user set the number: then requests that may be repeated are retried, not only those that were never
    /// sent.
    pub is_explicit: bool,
    /// How long a server may take to become ready.
    pub ready_timeout: Option<Duration>,
    /// The longest pause that a server may request, if the user limited the time for a response; a minute at most.
    pub max_retry_after: Option<Duration>,
    /// Receives the reports of retries.
    pub on_retry: Option<RetryCallback>,
}

/// One failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt {
    /// What is known about a retry.
    pub retry_advice: RetryAdvice,
    /// The error kind.
    pub kind: ErrorKind,
    /// Whether the server has responded to anything yet.
    pub was_ready: bool,
}

/// The attempts at one operation.
pub struct RetryState<'a> {
    policy: &'a RetryPolicy,
    /// Whether the operation may be carried out twice.
    is_read_only: bool,
    /// Whether the tool declares that it may.
    is_idempotent: bool,
    retries: u32,
    polls: u32,
}

/// The decision after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDecision {
    /// Report the failure.
    Stop,
    /// The server is not ready: try again after this pause.
    Poll(Duration),
    /// Try again after this pause; the number of the retry.
    Retry(Duration, u32),
}

impl RetryPolicy {
    /// The state for a new operation.
    #[must_use]
    pub fn start(&self, operation: &Operation) -> RetryState<'_> {
        RetryState {
            policy: self,
            is_read_only: !operation.has_effects,
            is_idempotent: operation.is_idempotent,
            retries: 0,
            polls: 0,
        }
    }

    /// The pause that the server asked for, unless it is too long to wait for.
    #[must_use]
    pub fn accepted_pause(&self, advice: RetryAdvice) -> Option<Duration> {
        let longest = self.max_retry_after.unwrap_or(MAX_RETRY_AFTER).min(MAX_RETRY_AFTER);
        advice.retry_after.filter(|after| *after <= longest)
    }

    /// Reports the n-th retry: to the user, or only to the trace if the operation has no effects.
    pub fn report_retry(&self, operation: &Operation, advice: RetryAdvice, pause: Duration, n: u32, trace: &Trace) {
        let why = match advice {
            RetryAdvice { retry_after: Some(_), .. } => "the server asked to retry later",
            RetryAdvice { is_http_status: true, .. } => "the server could not accept the request",
            RetryAdvice { is_proxy: true, .. } => "the proxy could not be reached",
            RetryAdvice { is_unprocessed: true, .. } => "the server could not be reached",
            RetryAdvice { is_unprocessed: false, .. } => "the connection was lost",
        };
        let text = format!(
            "{why}: trying {} again in {} ({n} of {})",
            operation.method,
            format_delay(pause),
            self.max_retries
        );
        match &self.on_retry {
            Some(notice) if operation.has_effects => notice(&text),
            _ => trace.note(&text),
        }
    }
}

impl RetryState<'_> {
    /// The decision after a failure, `elapsed` after the start of the first attempt. `chance` is a random number from
    /// 0 to 1.
    pub fn decide(&mut self, attempt: FailedAttempt, elapsed: Duration, chance: f64) -> RetryDecision {
        let FailedAttempt { retry_advice: advice, kind, was_ready } = attempt;
        let safe = advice.is_unprocessed || self.is_read_only;
        if let Some(wait) = self.policy.ready_timeout.filter(|_| safe && !was_ready) {
            let left = wait.saturating_sub(elapsed);
            self.polls += 1;
            let pause = poll_delay(self.polls - 1, advice.retry_after, left, chance);
            return if left.is_zero() { RetryDecision::Stop } else { RetryDecision::Poll(pause) };
        }
        let allowed = safe || (self.policy.is_explicit && self.is_idempotent);
        // After a time-out there is no retry unless the user asked for retries.
        let late = kind == ErrorKind::Timeout && !self.policy.is_explicit;
        if !allowed || late || self.retries >= self.policy.max_retries {
            return RetryDecision::Stop;
        }
        let pause = jittered(exponential(FIRST_RETRY_DELAY, self.retries).min(MAX_RETRY_DELAY), chance);
        self.retries += 1;
        match advice.retry_after {
            Some(_) if self.policy.accepted_pause(advice).is_none() => RetryDecision::Stop,
            // Clients that got the same pause must not all come back at the same moment.
            Some(after) => RetryDecision::Retry(after + jittered(FIRST_RETRY_DELAY / 2, chance), self.retries),
            None => RetryDecision::Retry(pause, self.retries),
        }
    }
}

/// The pause after `polls` attempts to reach a server that is not ready. `left` is the rest of the time of `--wait`,
/// the only limit of a pause that the server asks for; the last attempt is made at its end.
#[must_use]
pub fn poll_delay(polls: u32, retry_after: Option<Duration>, left: Duration, chance: f64) -> Duration {
    let usual = jittered(exponential(POLL_DELAYS.0, polls).min(POLL_DELAYS.1), chance);
    usual.max(retry_after.unwrap_or_default()).min(left)
}

fn exponential(time: Duration, times: u32) -> Duration {
    time.saturating_mul(2_u32.saturating_pow(times))
}

/// A random time between half of `time` and all of it.
fn jittered(time: Duration, chance: f64) -> Duration {
    time.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0)
}

/// A pause as text.
fn format_delay(pause: Duration) -> String {
    format!("{:.1} s", pause.as_secs_f64())
}

/// A random number from 0 to 1.
#[must_use]
pub fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without random numbers the pauses are the longest, which does no harm.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    const UNSENT: RetryAdvice =
        RetryAdvice { is_unprocessed: true, is_http_status: false, is_proxy: false, retry_after: None };
    const CONNECTION_LOST: RetryAdvice =
        RetryAdvice { is_unprocessed: false, is_http_status: false, is_proxy: false, retry_after: None };

    fn after(seconds: u64) -> RetryAdvice {
        RetryAdvice { is_http_status: true, retry_after: Some(Duration::from_secs(seconds)), ..UNSENT }
    }

    fn read_only_operation() -> Operation {
        Operation::read_only("tools/list", Map::new())
    }

    fn operation_with_effects(repeatable: bool) -> Operation {
        Operation { has_effects: true, is_idempotent: repeatable, ..read_only_operation() }
    }

    fn policy_with(times: u32, asked: bool) -> RetryPolicy {
        RetryPolicy { max_retries: times, is_explicit: asked, ..RetryPolicy::default() }
    }

    /// The pauses before each retry, in milliseconds.
    fn retry_delays(policy: &RetryPolicy, operation: &Operation, advice: RetryAdvice, chance: f64) -> Vec<u128> {
        let mut attempts = policy.start(operation);
        let attempt = FailedAttempt { retry_advice: advice, kind: ErrorKind::Unreachable, was_ready: true };
        let next = std::iter::from_fn(|| match attempts.decide(attempt, Duration::ZERO, chance) {
            RetryDecision::Retry(pause, _) => Some(pause.as_millis()),
            RetryDecision::Stop => None,
            RetryDecision::Poll(_) => panic!("nobody waits"),
        });
        next.take(20).collect()
    }

    #[test]
    fn delays_double_and_are_jittered() {
        assert_eq!(retry_delays(&policy_with(4, true), &read_only_operation(), UNSENT, 1.0), [300, 600, 1200, 2400]);
        assert_eq!(retry_delays(&policy_with(4, true), &read_only_operation(), UNSENT, 0.0), [150, 300, 600, 1200]);
        assert_eq!(retry_delays(&policy_with(9, true), &read_only_operation(), UNSENT, 1.0)[7..], [20000, 20000]);
        assert_eq!(retry_delays(&policy_with(0, true), &read_only_operation(), UNSENT, 1.0), [0_u128; 0]);
    }

    #[test]
    fn a_call_is_retried_only_if_unsent_or_idempotent_and_requested() {
        let (usual, asked) = (policy_with(2, false), policy_with(3, true));
        for (policy, operation, lost, unsent) in [
            (&usual, read_only_operation(), 2, 2),
            (&usual, operation_with_effects(false), 0, 2),
            (&usual, operation_with_effects(true), 0, 2),
            (&asked, operation_with_effects(false), 0, 3),
            (&asked, operation_with_effects(true), 3, 3),
        ] {
            let count = |advice| retry_delays(policy, &operation, advice, 0.5).len();
            let retries = (count(CONNECTION_LOST), count(UNSENT));
            assert_eq!(retries, (lost, unsent), "explicit: {}, {operation:?}", policy.is_explicit);
        }
    }

    #[test]
    fn retry_after_is_honored_up_to_a_limit() {
        assert_eq!(retry_delays(&policy_with(2, false), &operation_with_effects(false), after(7), 1.0), [7150, 7150]);
        assert_eq!(retry_delays(&policy_with(2, false), &read_only_operation(), after(0), 0.0), [75, 75]);
        assert_eq!(retry_delays(&policy_with(2, false), &read_only_operation(), after(61), 1.0), [0_u128; 0]);
    }

    #[test]
    fn a_timeout_is_retried_only_on_request() {
        let next = |policy: &RetryPolicy| {
            let attempt = FailedAttempt { retry_advice: UNSENT, kind: ErrorKind::Timeout, was_ready: false };
            policy.start(&read_only_operation()).decide(attempt, Duration::ZERO, 1.0)
        };
        assert_eq!(next(&policy_with(2, false)), RetryDecision::Stop);
        assert_eq!(next(&policy_with(2, true)), RetryDecision::Retry(Duration::from_millis(300), 1));
    }

    #[test]
    fn a_server_that_is_not_ready_is_polled_until_the_deadline() {
        let policy = RetryPolicy { ready_timeout: Some(Duration::from_secs(5)), ..policy_with(0, true) };
        let mut attempts = policy.start(&operation_with_effects(false));
        let mut next = |advice, was_ready, elapsed| {
            let attempt = FailedAttempt { retry_advice: advice, kind: ErrorKind::Unreachable, was_ready };
            attempts.decide(attempt, Duration::from_millis(elapsed), 1.0)
        };
        let look = |millis| RetryDecision::Poll(Duration::from_millis(millis));
        assert_eq!(next(UNSENT, false, 0), look(100));
        assert_eq!(next(UNSENT, false, 100), look(200));
        assert_eq!(next(after(2), false, 300), look(2000));
        assert_eq!(next(UNSENT, false, 2300), look(800));
        assert_eq!(next(UNSENT, false, 3100), look(1000));
        assert_eq!(next(UNSENT, false, 4900), look(100), "the last look is at the end");
        assert_eq!(next(UNSENT, false, 5000), RetryDecision::Stop);
        assert_eq!(
            next(CONNECTION_LOST, false, 0),
            RetryDecision::Stop,
            "a call that may have arrived is not sent again"
        );
        assert_eq!(next(UNSENT, true, 0), RetryDecision::Stop, "it was ready");
    }

    #[test]
    fn random_fraction_is_between_zero_and_one() {
        let all: Vec<f64> = (0..50).map(|_| random_fraction()).collect();
        assert!(all.iter().all(|one| (0.0..=1.0).contains(one)));
        assert!(all.iter().any(|one| one != &all[0]));
    }
}
