//! Opens the connection when the first request needs it; with `--wait`, repeatedly until the server is ready.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Map;

use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::protocol::method;
use crate::protocol::views::ListKind;
use crate::session::era::Era;
use crate::session::failure::failure_from_outcome;
use crate::session::mcp_session::{Connection, Session};
use crate::session::negotiate::classify::may_indicate_wrong_era;
use crate::session::negotiate::{MIN_ATTEMPT_TIMEOUT, NegotiatedConnection, Negotiator};
use crate::session::operation::Operation;
use crate::session::request::RequestOutcome;
use crate::session::retry::{FailedAttempt, RetryDecision, RetryState, poll_delay, random_fraction};
use crate::session::server_pause::{SendPermit, Turn};
use crate::util::duration::format_duration;

impl Session {
    pub(crate) fn negotiator(&self) -> Negotiator<'_> {
        let (target, options, client_handler) = (&self.target, &self.options, self.client_handler.clone());
        let (started_at, last_offer) = (Instant::now(), Arc::default());
        Negotiator { target, options, client_handler, wait_deadline: None, started_at, last_offer }
    }

    /// The connection, opened for `first` if it is not open, with the response if opening it took the request.
    pub(crate) async fn connection_for(&self, first: &Operation) -> Result<(Arc<Connection>, Option<RequestOutcome>)> {
        let mut open = self.connection.lock().await;
        if let Some(connection) = &*open {
            // A session disconnects its commands when the server has forgotten its own; nothing was sent since.
            if !(self.is_kept_by_keeper() && connection.rpc.closed_reason().is_some()) {
                return Ok((connection.clone(), None));
            }
        }
        if let Some(closed) = open.take() {
            closed.rpc.close(false).await;
        }
        // Boxed, since it runs once and would enlarge the future of every request.
        let opened = match self.options.retry.ready_timeout.filter(|_| !self.has_answered.load(Ordering::Relaxed)) {
            Some(wait) => Box::pin(self.open_when_ready(first, wait)).await,
            None => Box::pin(self.open_connection(first, self.negotiator())).await,
        };
        let (opened, reply) = opened.map_err(|failure| failure.server(&self.target.name))?;
        let connection = Arc::new(Connection::from(opened));
        self.store_profile(&connection);
        self.options.transport.recorder.record_revision(connection.era.revision());
        *open = Some(connection.clone());
        Ok((connection, reply))
    }

    /// Repeats an operation until it succeeds or the retry policy is exhausted. `advice_on_success` decides whether a
    /// success has to be repeated.
    pub(crate) async fn with_retries<T>(
        &self,
        operation: &Operation,
        attempt: impl AsyncFn() -> Result<T>,
        advice_on_success: impl Fn(&T) -> Option<RetryAdvice>,
    ) -> Result<T> {
        let mut attempts = self.options.retry.start(operation);
        let began = *self.waiting_since.get_or_init(Instant::now);
        let mut permit = self.permission_to_send().await?;
        loop {
            let outcome = attempt().await;
            let was_ready = self.has_answered.load(Ordering::Relaxed);
            let (advice, kind) = match &outcome {
                Ok(value) => (advice_on_success(value), ErrorKind::Unreachable),
                // The wait for the server is already over.
                Err(_) if self.options.retry.ready_timeout.is_some() && !was_ready => return outcome,
                // The connection was not opened, so nothing with effects was sent.
                Err(failure) => {
                    let advice = failure.details().retry_advice;
                    (
                        advice.map(|advice| RetryAdvice {
                            is_unprocessed: advice.is_unprocessed || operation.has_effects,
                            ..advice
                        }),
                        failure.kind(),
                    )
                }
            };
            let Some(advice) = advice else {
                self.has_answered.fetch_or(outcome.is_ok(), Ordering::Relaxed);
                return outcome;
            };
            let failed = FailedAttempt { retry_advice: advice, kind, was_ready };
            match self.options.retry.accepted_pause(advice) {
                Some(pause) => permit.refused(pause),
                None => drop(permit),
            }
            match self.permission_to_retry(operation, &mut attempts, failed, began).await? {
                Some(next) => permit = next,
                None => return outcome,
            }
            self.discard_closed_connection().await;
        }
    }

    /// Waits until the next attempt may be sent, by the retry policy and by the pause that the server asked for; `None`
    /// if the policy allows no further attempt.
    async fn permission_to_retry(
        &self,
        operation: &Operation,
        attempts: &mut RetryState<'_>,
        failed: FailedAttempt,
        began: Instant,
    ) -> Result<Option<SendPermit<'_>>> {
        let interrupt = &self.options.transport.interrupt;
        let mut known_refusals = self.pause.refusals();
        let mut count = 1;
        loop {
            let decisions = (0..count).map(|_| attempts.decide(failed, began.elapsed(), random_fraction()));
            let next = decisions.reduce(|last, next| if last == RetryDecision::Stop { last } else { next });
            let Some(RetryDecision::Poll(pause) | RetryDecision::Retry(pause, _)) = next else { return Ok(None) };
            if let Some(RetryDecision::Retry(pause, n)) = next {
                let trace = &self.options.transport.trace;
                self.options.retry.report_retry(operation, failed.retry_advice, pause, n, trace);
            }
            interrupt.run_until_interrupted(tokio::time::sleep(pause)).await?;
            match interrupt.run_until_interrupted(self.pause.turn(Some(known_refusals))).await? {
                Turn::Send(permit) => return Ok(Some(permit)),
                // The server would have refused this one too.
                Turn::Refused(others) => {
                    known_refusals += others;
                    count = others;
                }
            }
        }
    }

    /// Waits while the server has asked for a pause.
    async fn permission_to_send(&self) -> Result<SendPermit<'_>> {
        loop {
            let turn = self.options.transport.interrupt.run_until_interrupted(self.pause.turn(None)).await?;
            if let Turn::Send(permit) = turn {
                return Ok(permit);
            }
        }
    }

    /// Drops a closed connection.
    async fn discard_closed_connection(&self) {
        let mut open = self.connection.lock().await;
        if let Some(connection) = open.take_if(|connection| connection.rpc.closed_reason().is_some()) {
            connection.rpc.close(false).await;
        }
    }

    async fn open_connection(
        &self,
        first: &Operation,
        negotiator: Negotiator<'_>,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        self.cache.capture_fingerprint();
        let opened = match &self.detached_session {
            Some(left) => negotiator.resume(left).await.map(|open| (open, None)),
            None => negotiator.negotiate(first, self.cache.profile()).await,
        };
        opened.inspect_err(|failure| {
            self.invalidate_cache(failure);
            if failure.details().is_process_end {
                // The next run may find another server here, so its profile is fetched again.
                self.cache.clear();
            }
        })
    }

    /// Opens the connection as soon as the server is ready, within the given time.
    async fn open_when_ready(
        &self,
        first: &Operation,
        wait: Duration,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let until = *self.waiting_since.get_or_init(Instant::now) + wait;
        let mut polls = 0;
        loop {
            let failure = match self.open_and_check(first, until).await {
                Err(failure) if failure.may_become_ready() => failure,
                done => return done,
            };
            let left = until.saturating_duration_since(Instant::now());
            // A server that has been silent so far is not given the remaining time.
            let silent = failure.kind() == ErrorKind::Timeout && left < MIN_ATTEMPT_TIMEOUT;
            if left.is_zero() || silent {
                let failure = failure.cause(format!("it was not ready within {}", format_duration(wait)));
                let has_other_hint = failure.details().hint.is_some() && !failure.details().suggests_waiting;
                return Err(if has_other_hint { failure } else { failure.wait_hint("wait longer with --wait TIME") });
            }
            let retry_after = failure.details().retry_advice.and_then(|advice| advice.retry_after);
            let pause = poll_delay(polls, retry_after, left, random_fraction());
            polls += 1;
            self.options.transport.trace.note(&format!("not ready yet: {failure}"));
            self.options.transport.interrupt.run_until_interrupted(tokio::time::sleep(pause)).await?;
        }
    }

    /// Connects to a server that responds. If opening the connection sent no request, a harmless one is sent: a
    /// request with effects must not be repeated if the server turns out not to be ready.
    async fn open_and_check(
        &self,
        first: &Operation,
        until: Instant,
    ) -> Result<(NegotiatedConnection, Option<RequestOutcome>)> {
        let hurried = || Negotiator { wait_deadline: Some(until), ..self.negotiator() };
        let (open, reply) = self.open_connection(first, hurried()).await?;
        if !open.is_unused {
            return Ok((open, reply));
        }
        let discover = Operation::read_only(method::DISCOVER, Map::new());
        let answer = hurried().probe_era().request(&open.rpc, &discover).await;
        if matches!(answer, RequestOutcome::Result(_)) {
            return Ok((open, reply));
        }
        let about_era = may_indicate_wrong_era(&answer, &open.rpc);
        let failure = failure_from_outcome(answer, discover.method, &self.target);
        if !failure.may_become_ready() {
            // The server responds; its answer to the request itself is checked later.
            return Ok((open, reply));
        }
        open.rpc.close(false).await;
        if about_era {
            self.cache.clear();
        }
        Err(failure)
    }

    /// Removes the cached lists after they turned out to be wrong.
    pub fn expire_cached_lists(&self) {
        self.cache.expire_lists(&ListKind::ALL);
    }

    /// Clears the profile if a time-out or a malformed response may come from a wrong profile: some servers ignore
    /// what they do not understand.
    pub(crate) fn invalidate_cache(&self, failure: &Failure) {
        if matches!(failure.kind(), ErrorKind::Timeout | ErrorKind::Protocol) {
            self.cache.clear();
        }
    }
}
