//! Requests and responses over one connection: IDs, correlation, time limits, cancellation.
//!
//! A separate task receives the messages (`dispatch.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::stray::{STRAY_WAIT, Strays};
use crate::error::{ErrorKind, Failure, RetryAdvice};
use crate::interrupt::Interrupt;
use crate::protocol::{method, rpc};
use crate::session::client_handler::ClientHandler;
use crate::session::dispatch::{PendingRequest, RpcState, dispatch_incoming};
use crate::session::request::{CancelMode, OutgoingRequest, RequestOutcome};
use crate::session::request::{
    DeadlineEvent, DeadlineEvents, MAY_STILL_RUN, ProgressPace, RequestDeadline, TOO_MUCH_PROGRESS, may_have_run_note,
};
use crate::transport::trace::Trace;
use crate::transport::{
    CloseOutcome, ConnectedTransport, Diagnostics, OutgoingKind, OutgoingMessage, Transport, TransportKind,
};
use crate::util::duration::format_duration;
use crate::util::lock::lock;

/// The time limit for the last messages to a server.
const FINAL_MESSAGE_TIMEOUT: Duration = Duration::from_millis(500);
/// A connection for requests.
pub struct RpcClient {
    state: Arc<RpcState>,
    dispatcher: JoinHandle<()>,
    interrupt: Interrupt,
}

impl RpcClient {
    /// Starts to receive messages from `connection`.
    #[must_use]
    pub fn new(
        connection: ConnectedTransport,
        client_handler: Arc<ClientHandler>,
        interrupt: Interrupt,
        trace: Trace,
    ) -> Self {
        let state = Arc::new(RpcState::new(connection.transport, client_handler, trace));
        let dispatcher = tokio::spawn(dispatch_incoming(state.clone(), connection.incoming));
        RpcClient { state, dispatcher, interrupt }
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> &dyn Transport {
        &*self.state.transport
    }

    /// The kind of the transport.
    #[must_use]
    pub fn transport_kind(&self) -> TransportKind {
        self.state.transport.kind()
    }

    /// A new request ID: integers from 1, never reused (`MSG-01`).
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.state.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Sets whether requests from the server are answered: from `initialize` on, unless the server turns out to be
    /// modern (`STD-02`, `HTM-01`).
    pub fn accept_server_requests(&self, answers: bool) {
        self.state.accepts_server_requests.store(answers, Ordering::Relaxed);
    }

    /// How many requests were sent.
    #[must_use]
    pub fn request_count(&self) -> u64 {
        self.state.next_id.load(Ordering::Relaxed) - self.state.transport.first_id()
    }

    /// Why the connection is closed, if it is.
    #[must_use]
    pub fn closed_reason(&self) -> Option<Failure> {
        lock(&self.state.closed_reason).clone()
    }

    /// Waits until the connection is closed, and returns the reason.
    pub async fn wait_closed(&self) -> Failure {
        loop {
            let over = self.state.closed.notified();
            if let Some(failure) = self.closed_reason() {
                return failure;
            }
            over.await;
        }
    }

    /// Waits until the user interrupts the run.
    pub async fn wait_interrupted(&self) -> Failure {
        self.interrupt.interrupted().await
    }

    /// Sends a last request after the user interrupted the run; waits only a short time for its response.
    pub async fn send_final_request(&self, mut request: OutgoingRequest) {
        request.timeout = None;
        let (receiver, _) = self.register_pending(&request);
        let exchange = async {
            let kind = OutgoingKind::Request(request.id);
            let body = rpc::request(request.id, request.method, request.params.as_deref());
            let envelope = OutgoingMessage { kind, method: request.method, body, headers: request.headers };
            if self.state.transport.send(envelope).await.is_ok() {
                let _ = receiver.await;
            }
        };
        let _ = tokio::time::timeout(FINAL_MESSAGE_TIMEOUT, exchange).await;
        lock(&self.state.pending).remove(&request.id);
    }

    /// Sends one request and waits for its response.
    pub async fn request(&self, request: OutgoingRequest) -> RequestOutcome {
        let (receiver, events) = self.register_pending(&request);
        let mut guard = PendingGuard { state: &self.state, id: request.id, is_done: false };
        let envelope = OutgoingMessage {
            kind: OutgoingKind::Request(request.id),
            method: request.method,
            body: rpc::request(request.id, request.method, request.params.as_deref()),
            headers: request.headers,
        };
        let was_gone = self.closed_reason().is_some();
        let response = async {
            tokio::pin!(receiver);
            // The server may answer, or end the connection, before it has read the whole request.
            let received = tokio::select! {
                biased;
                outcome = &mut receiver => outcome,
                sent = self.state.transport.send(envelope) => match sent {
                    Ok(()) => receiver.await,
                    Err(failure) => return RequestOutcome::Failed(failure),
                },
            };
            match received.unwrap_or_else(|_| RequestOutcome::Failed(self.connection_lost())) {
                RequestOutcome::Failed(failure) if request.method == method::TOOLS_CALL && !was_gone => {
                    RequestOutcome::Failed(self.with_may_have_run(failure))
                }
                outcome => outcome,
            }
        };
        tokio::pin!(response);
        let mut clock = RequestDeadline::new(request.timeout, Instant::now());
        let mut strayed_at: Option<Instant> = None;
        let until = async |due: Option<Instant>| match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        };
        let outcome = loop {
            tokio::select! {
                biased;
                outcome = &mut response => break outcome,
                failure = self.interrupt.interrupted() => {
                    let failure = self.state.take_explained(request.id, failure);
                    self.cancel(request.id, request.cancel_mode, "interrupted").await;
                    break RequestOutcome::Failed(failure);
                }
                () = events.wait() => {
                    let now = Instant::now();
                    if events.take(DeadlineEvent::InputAnswered) {
                        clock.restart(now);
                        strayed_at = strayed_at.map(|_| now);
                    }
                    if events.take(DeadlineEvent::Progress) {
                        clock.extend(now);
                        strayed_at = None;
                    }
                    if events.take(DeadlineEvent::Strayed) {
                        strayed_at = strayed_at.or(Some(now));
                    }
                }
                () = until(strayed_at.map(|at| at + STRAY_WAIT)) => {
                    strayed_at = None;
                    if self.is_busy() {
                        strayed_at = Some(Instant::now());
                    } else {
                        self.state.complete_with_stray(request.id, request.method);
                    }
                }
                () = until(clock.deadline()) => {
                    if self.is_busy() {
                        clock.restart(Instant::now());
                        continue;
                    }
                    let failure = self.timeout_failure(request.id, request.method, &clock);
                    let failure = self.state.take_explained(request.id, failure);
                    self.cancel(request.id, request.cancel_mode, "timed out").await;
                    break RequestOutcome::Failed(failure);
                }
            }
        };
        guard.is_done = true;
        outcome
    }

    /// Whether the user is being asked, which takes as long as they need.
    fn is_busy(&self) -> bool {
        self.state.client_handler.is_awaiting_input() || self.state.transport.login_in_progress()
    }

    fn register_pending(&self, request: &OutgoingRequest) -> (oneshot::Receiver<RequestOutcome>, Arc<DeadlineEvents>) {
        let (sender, receiver) = oneshot::channel();
        let events = Arc::<DeadlineEvents>::default();
        // Under the same lock as the end of the connection, so that every request either fails here or is notified
        // there.
        let mut pending = lock(&self.state.pending);
        match self.closed_reason() {
            Some(failure) => drop(sender.send(RequestOutcome::Failed(failure))),
            None => {
                let (deadline_events, server_requests) = (events.clone(), request.server_requests.clone());
                drop(pending.insert(
                    request.id,
                    PendingRequest {
                        sender,
                        deadline_events,
                        progress_pace: ProgressPace::default(),
                        server_requests,
                        strays: Strays::default(),
                    },
                ));
            }
        }
        drop(pending);
        (receiver, events)
    }

    /// Sends a notification; over HTTP it has been accepted when this resolves.
    ///
    /// # Errors
    /// If it cannot be delivered.
    pub async fn notify(
        &self,
        method: &'static str,
        params: Option<&str>,
        headers: Vec<(String, String)>,
    ) -> crate::error::Result<()> {
        self.state.notify(method, params, headers).await
    }

    /// Informs the server that the response to a request is no longer wanted, without waiting for an answer.
    pub async fn cancel(&self, id: u64, how: CancelMode, reason: &str) {
        lock(&self.state.pending).remove(&id);
        if how == CancelMode::SendNotification {
            let params = rpc::cancelled_params(id, Some(reason));
            // The server may be stuck, so the time for this message is limited.
            let tell = self.notify(method::CANCELLED, Some(&params), Vec::new());
            let _ = tokio::time::timeout(FINAL_MESSAGE_TIMEOUT, tell).await;
        }
        self.state.transport.abandon(id);
    }

    /// Sleeps, but not longer than until an interrupt.
    ///
    /// # Errors
    /// On an interrupt.
    pub async fn sleep(&self, time: Duration) -> crate::error::Result<()> {
        self.interrupt.run_until_interrupted(tokio::time::sleep(time)).await
    }

    /// Adds to the failure that the call may have been carried out.
    fn with_may_have_run(&self, failure: Failure) -> Failure {
        let details = failure.details();
        match details.kind {
            ErrorKind::Unreachable | ErrorKind::Protocol if !details.is_unsent => {
                let has_ended = self.transport_kind() == TransportKind::Stdio && self.closed_reason().is_some();
                let note = may_have_run_note(details, has_ended);
                failure.cause(note)
            }
            _ => failure,
        }
    }

    fn timeout_failure(&self, id: u64, method: &'static str, clock: &RequestDeadline) -> Failure {
        let Diagnostics { stderr_tail: tail, first_non_message: noise } = self.state.transport.diagnostics();
        let (time, endless) = clock.expired_limit();
        let in_spite = if endless { ", despite its progress" } else { "" };
        let what = format!("no response to {method} within {}{in_spite}", format_duration(time));
        let mut failure = Failure::new(ErrorKind::Timeout, what).maybe_starting();
        failure.details_mut().unanswered = Some((method, time));
        if let Some(noise) = noise {
            let did = if self.transport_kind() == TransportKind::Stdio { "printed on stdout" } else { "sent" };
            failure = failure.cause(format!("the server {did}, which is not a message: {noise}"));
        }
        let now = Instant::now();
        if lock(&self.state.pending).get(&id).is_some_and(|pending| pending.progress_pace.has_uncounted_progress(now)) {
            failure = failure.cause(TOO_MUCH_PROGRESS);
        }
        if method == method::TOOLS_CALL {
            failure = failure.cause(MAY_STILL_RUN);
        }
        failure.wait_hint("wait longer with --timeout TIME").stderr_tail(tail)
    }

    fn connection_lost(&self) -> Failure {
        self.closed_reason().unwrap_or_else(|| Failure::new(ErrorKind::Unreachable, "the connection was closed"))
    }

    /// Closes the connection; no process is left running, and waiting requests fail.
    pub async fn close(&self, patient: bool) -> CloseOutcome {
        let failure =
            Failure::new(ErrorKind::Unreachable, "the connection was abandoned").retry_advice(RetryAdvice::default());
        if self.closed_reason().is_none() {
            self.state.mark_closed(&failure);
        }
        self.state.stop_answering();
        let outcome = self.state.transport.close(patient).await;
        self.dispatcher.abort();
        outcome
    }
}

/// The entry of a request among the pending ones; removed with the request, however it ends.
struct PendingGuard<'a> {
    state: &'a RpcState,
    id: u64,
    is_done: bool,
}

impl Drop for PendingGuard<'_> {
    fn drop(&mut self) {
        lock(&self.state.pending).remove(&self.id);
        if !self.is_done {
            // The response is no longer wanted.
            self.state.transport.abandon(self.id);
        }
    }
}

impl Drop for RpcClient {
    fn drop(&mut self) {
        self.dispatcher.abort();
    }
}
