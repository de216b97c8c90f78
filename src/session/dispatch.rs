//! What comes back over one connection, handed to whoever waits for it: answers to the request they belong to,
//! requests and notifications from the server to the [`ClientHandler`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::stray::{PossiblyAnsweredNotifications, Stray, StrayMeaning, Strays, UNKNOWN_ID, WITHOUT_ID};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::parse_truncated;
use crate::protocol::method;
use crate::protocol::rpc::{self, RawJson, RpcMessage, RpcResponse};
use crate::session::client_handler::ClientHandler;
use crate::session::request::{DeadlineEvent, DeadlineEvents, ProgressPace, RequestOutcome};
use crate::session::server_requests::ServerRequestLog;
use crate::transport::trace::Trace;
use crate::transport::{
    BrokenResponse, Certainty, Incoming, IncomingItem, OutgoingKind, OutgoingMessage, Transport, TransportKind,
};
use crate::util::lock::lock;

/// The maximum size in bytes of unanswered server requests. Beyond that, nothing more is read from the server until
/// one of them is answered.
const MAX_UNANSWERED_BYTES: u32 = 8 << 20;
/// The memory that one request takes in addition to its text: the task that answers it.
const UNANSWERED_OVERHEAD: usize = 8 << 10;

/// The requests from a server that are not answered yet: one permit for each byte of [`MAX_UNANSWERED_BYTES`].
pub(crate) struct UnansweredRequests(Arc<Semaphore>);

impl Default for UnansweredRequests {
    fn default() -> Self {
        UnansweredRequests(Arc::new(Semaphore::new(MAX_UNANSWERED_BYTES as usize)))
    }
}

impl UnansweredRequests {
    /// Waits until a request of this size fits into the limit. `None` after the end of the connection.
    pub(crate) async fn permit(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.0.clone().acquire_many_owned(size.min(MAX_UNANSWERED_BYTES)).await.ok()
    }

    /// Lets no further requests in: the connection has ended.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// A request that waits for its answer.
pub(crate) struct PendingRequest {
    pub(crate) sender: oneshot::Sender<RequestOutcome>,
    pub(crate) deadline_events: Arc<DeadlineEvents>,
    pub(crate) progress_pace: ProgressPace,
    pub(crate) server_requests: Option<Arc<ServerRequestLog>>,
    pub(crate) strays: Strays,
}

/// The state shared by the waiting requests and the reader task.
pub(crate) struct RpcState {
    pub(crate) pending: Mutex<BTreeMap<u64, PendingRequest>>,
    /// Why the connection is closed, and who is notified.
    pub(crate) closed_reason: Mutex<Option<Failure>>,
    pub(crate) closed: Notify,
    /// Whether anything came that may be the answer to a request that it does not name.
    has_strays: AtomicBool,
    pub(crate) next_id: AtomicU64,
    pub(crate) client_handler: Arc<ClientHandler>,
    pub(crate) transport: Arc<dyn Transport>,
    /// Whether requests from the server are answered: only after a handshake; the modern era has none.
    pub(crate) accepts_server_requests: AtomicBool,
    notifications: Mutex<PossiblyAnsweredNotifications>,
    unanswered: UnansweredRequests,
    trace: Trace,
}

/// Reads messages until the end of the connection.
pub(crate) async fn dispatch_incoming(shared: Arc<RpcState>, mut incoming: mpsc::Receiver<Incoming>) {
    while let Some(Incoming { request_id: on, item }) = incoming.recv().await {
        match item {
            IncomingItem::Message(RpcMessage::Response(response), status) => {
                shared.handle_response(on, response, status)
            }
            IncomingItem::Message(RpcMessage::Notification { method, params }, _) => {
                shared.handle_notification(&method, params)
            }
            // Only clients send these.
            IncomingItem::Message(RpcMessage::Request { method, .. }, _)
                if matches!(method.as_str(), method::DISCOVER | method::INITIALIZE) =>
            {
                let failure = Failure::new(ErrorKind::Protocol, "the server sends back the requests that it gets");
                shared.mark_closed(&failure.cause("it is not an MCP server"));
            }
            IncomingItem::Message(RpcMessage::Request { method, .. }, _)
                if !shared.accepts_server_requests.load(Ordering::Relaxed) =>
            {
                shared.trace.note(&format!(
                    "ignored the server's request {method}: servers send no requests in this protocol revision"
                ));
            }
            IncomingItem::Message(RpcMessage::Request { id, method, params }, _) => {
                let size = id.get().len() + method.len() + params.as_ref().map_or(0, |params| params.get().len());
                // After the end of the connection no answer can be sent.
                let Some(permit) = shared.unanswered.permit(size + UNANSWERED_OVERHEAD).await else { continue };
                let shared = shared.clone();
                tokio::spawn(async move {
                    shared.answer_server_request(on, &id, &method, params.as_deref()).await;
                    drop(permit);
                });
            }
            IncomingItem::EmbeddedResponse(message) => shared.handle_embedded_response(on, message),
            IncomingItem::BrokenResponse(broken) => shared.handle_broken_response(on, broken),
            IncomingItem::Warning(text) => shared.client_handler.warn(&text),
            IncomingItem::UnexpectedResponse(refusal) => {
                if let Some(on) = on {
                    shared.complete(on, RequestOutcome::UnexpectedResponse(refusal));
                }
            }
            IncomingItem::Failed(failure) => match on {
                Some(on) => shared.complete(on, RequestOutcome::Failed(failure)),
                None => shared.mark_closed(&failure),
            },
        }
    }
}

impl RpcState {
    pub(crate) fn new(transport: Arc<dyn Transport>, peer: Arc<ClientHandler>, trace: Trace) -> Self {
        RpcState {
            pending: Mutex::default(),
            closed_reason: Mutex::default(),
            closed: Notify::new(),
            has_strays: AtomicBool::new(false),
            next_id: AtomicU64::new(transport.first_id()),
            client_handler: peer,
            transport,
            accepts_server_requests: AtomicBool::new(false),
            notifications: Mutex::default(),
            unanswered: UnansweredRequests::default(),
            trace,
        }
    }

    /// Stops answering requests from the server.
    pub(crate) fn stop_answering(&self) {
        self.unanswered.close();
    }

    /// Answers one request from the server. `on` is our request on whose stream it came, if known.
    async fn answer_server_request(&self, on: Option<u64>, id: &RawValue, method: &str, params: Option<&RawValue>) {
        let own = self.server_request_log(on);
        let questions = self.client_handler.request_log(own.as_ref());
        let (body, end) = self.client_handler.answer_request(id, method, params, questions).await;
        if self.client_handler.waits_for_input(method) {
            // The server waited for this answer, so its time limit starts again.
            self.restart_deadlines();
        }
        let Some(body) = body else { return };
        let envelope = OutgoingMessage { kind: OutgoingKind::OneWay, method: "", body, headers: Vec::new() };
        if let Err(failure) = self.transport.send(envelope).await {
            self.trace.note(&format!("could not answer the server's {method}: {failure}"));
        }
        if let Some(failure) = end {
            self.cancel_pending(&failure, own.and(on)).await;
        }
    }

    fn complete(&self, id: u64, reply: RequestOutcome) {
        let mut pending = lock(&self.pending);
        if let Some(done) = pending.remove(&id) {
            let _ = done.sender.send(reply);
            if self.has_strays.load(Ordering::Relaxed) {
                hurry_stray_answers(&pending);
            }
        }
    }

    /// Ends a request with a message that came while it waited and named no request.
    pub(crate) fn complete_with_stray(&self, id: u64, method: &str) {
        let held = lock(&self.pending).get_mut(&id).and_then(|pending| pending.strays.take_held());
        if let Some(stray) = held {
            self.trace.note(&format!("no other response to {method} arrived: used {stray}"));
            self.complete(id, stray.reply());
        }
    }

    /// A failure that ends the wait of a request, caused by what came without its ID.
    pub(crate) fn take_explained(&self, id: u64, failure: Failure) -> Failure {
        match lock(&self.pending).remove(&id) {
            Some(pending) => pending.strays.explain(failure),
            None => failure,
        }
    }

    /// Sends a notification.
    pub(crate) async fn notify(
        &self,
        method: &'static str,
        params: Option<&str>,
        headers: Vec<(String, String)>,
    ) -> Result<()> {
        lock(&self.notifications).sent(self.next_id.load(Ordering::Relaxed));
        let body = rpc::notification(method, params);
        self.transport.send(OutgoingMessage { kind: OutgoingKind::OneWay, method, body, headers }).await
    }

    /// Restarts the time limits of all waiting requests.
    fn restart_deadlines(&self) {
        for pending in lock(&self.pending).values() {
            pending.deadline_events.report(DeadlineEvent::InputAnswered);
        }
    }

    /// Closes the connection state and notifies everyone who waits. The first reason is the one that counts.
    pub(crate) fn mark_closed(&self, failure: &Failure) {
        lock(&self.closed_reason).get_or_insert_with(|| failure.clone());
        self.closed.notify_waiters();
        self.fail_all(failure);
    }

    /// The log of the request that the server request belongs to: over HTTP the request on whose stream it came,
    /// otherwise that of all pending ones. `None` if they have none, or not the same.
    fn server_request_log(&self, on: Option<u64>) -> Option<Arc<ServerRequestLog>> {
        let pending = lock(&self.pending);
        self.client_handler.server_requests.set_concurrency(pending.len());
        if let Some(known) = on.and_then(|on| pending.get(&on)) {
            return known.server_requests.clone();
        }
        let mut logs = pending.values().map(|pending| pending.server_requests.as_ref());
        let log = logs.next()??;
        logs.all(|other| other.is_some_and(|other| Arc::ptr_eq(other, log))).then(|| log.clone())
    }

    /// Cancels all pending requests at a legacy server, or only that one, and fails them.
    async fn cancel_pending(&self, failure: &Failure, only: Option<u64>) {
        let ids: Vec<u64> =
            lock(&self.pending).keys().copied().filter(|id| only.is_none_or(|only| *id == only)).collect();
        for id in &ids {
            let params = rpc::cancelled_params(id, Some("given up"));
            let tell = self.notify(method::CANCELLED, Some(&params), Vec::new());
            let _ = tokio::time::timeout(Duration::from_millis(500), tell).await;
        }
        for id in ids {
            self.complete(id, RequestOutcome::Failed(failure.clone()));
        }
    }

    fn fail_all(&self, failure: &Failure) {
        for pending in std::mem::take(&mut *lock(&self.pending)).into_values() {
            let _ = pending.sender.send(RequestOutcome::Failed(pending.strays.explain(failure.clone())));
        }
    }

    fn handle_response(&self, on: Option<u64>, response: RpcResponse, status: Option<u16>) {
        let asked =
            response.id.filter(|id| (self.transport.first_id()..self.next_id.load(Ordering::Relaxed)).contains(id));
        let id = match (asked, on) {
            (Some(id), None) => id,
            (None, None) => return self.handle_stray(Stray::new(response)),
            (Some(id), Some(on)) if id == on || lock(&self.pending).contains_key(&id) => id,
            // Errors of a server's HTTP layer have an ID of their own (the Python SDK before 2.0 uses "server-error")
            // or none. Such an error belongs to the POST that it answers.
            (_, Some(on)) if response.outcome.is_err() => on,
            (other, Some(on)) => {
                let what = match other {
                    Some(id) => format!("the server responded with the ID of another request ({id}, not {on})"),
                    None if response.has_id => UNKNOWN_ID.to_owned(),
                    None => WITHOUT_ID.to_owned(),
                };
                return self.complete(on, RequestOutcome::Failed(Failure::new(ErrorKind::Protocol, what)));
            }
        };
        lock(&self.notifications).mark_answered(id);
        match lock(&self.pending).get(&id) {
            Some(PendingRequest { server_requests: Some(own), .. }) => own.reset_elicitations(),
            Some(_) => {}
            None => return self.trace.note(&format!("ignored a response that no request waits for (ID {id})")),
        }
        self.client_handler.server_requests.reset_elicitations();
        match response.outcome {
            Ok(result) => self.complete(id, RequestOutcome::Result(result)),
            Err(error) => self.complete(id, RequestOutcome::Error(error, status)),
        }
    }

    /// Handles a response that followed other text on its line, if a request waits for it.
    fn handle_embedded_response(&self, on: Option<u64>, message: RpcMessage) {
        match message {
            RpcMessage::Response(response) if response.id.is_some_and(|id| lock(&self.pending).contains_key(&id)) => {
                self.handle_response(on, response, None);
            }
            _ => self.trace.note("ignored a response in a log line: no request waits for it"),
        }
    }

    /// Ends the wait for a response that cannot be read; immediately if it can be nothing else.
    fn handle_broken_response(&self, on: Option<u64>, broken: BrokenResponse) {
        let id = broken.id.or(on);
        self.trace.note(&broken.failure.to_string());
        if let (Certainty::Certain, Some(id)) = (broken.certainty, id) {
            return self.complete(id, RequestOutcome::Failed(broken.failure));
        }
        self.has_strays.store(true, Ordering::Relaxed);
        let mut pending = lock(&self.pending);
        let stray = Stray::broken(broken.failure);
        for (_, request) in pending.iter_mut().filter(|(pending, _)| id.is_none_or(|id| id == **pending)) {
            match broken.certainty {
                Certainty::Possible => request.strays.add(&stray, StrayMeaning::Malformed),
                Certainty::Certain | Certainty::Likely => request.strays.add_own(&stray),
            }
        }
        hurry_stray_answers(&pending);
    }

    /// Handles a response that names no pending request, on a stream that all requests share.
    fn handle_stray(&self, stray: Stray) {
        if lock(&self.notifications).takes_answer() {
            self.trace.note(&format!("treated {stray} as a response to a notification"));
            if !stray.is_error() {
                return;
            }
            // It may still have been about a request; then it becomes the cause of the time-out.
            lock(&self.pending).values_mut().for_each(|pending| pending.strays.add(&stray, StrayMeaning::Mentioned));
            return;
        }
        // Over HTTP each request still gets the response to its own POST.
        let meaning = match self.transport.kind() {
            TransportKind::Http => StrayMeaning::Mentioned,
            _ => stray.meaning(),
        };
        self.trace.note(&format!("{} {stray}", if meaning == StrayMeaning::MayBeAnswer { "held" } else { "ignored" }));
        self.has_strays.store(true, Ordering::Relaxed);
        let mut pending = lock(&self.pending);
        pending.values_mut().for_each(|pending| pending.strays.add(&stray, meaning));
        hurry_stray_answers(&pending);
    }

    fn handle_notification(&self, method: &str, params: Option<RawJson>) {
        let value = params.as_ref().and_then(|raw| parse_truncated(raw.get())).map_or(Value::Null, |(value, _)| value);
        if method == method::PROGRESS {
            let token = value.get("progressToken");
            let id = token.and_then(|token| token.as_u64().or_else(|| token.as_str()?.parse().ok()));
            let mut waiting = lock(&self.pending);
            if let Some(pending) = id.and_then(|id| waiting.get_mut(&id)) {
                pending.strays.take_held();
                if pending.progress_pace.counts(&value, Instant::now()) {
                    pending.deadline_events.report(DeadlineEvent::Progress);
                }
            }
        }
        self.client_handler.handle_notification(method, params.as_deref(), &value);
    }
}

/// Shortens the wait of the requests that were most likely answered without their id.
fn hurry_stray_answers(pending: &BTreeMap<u64, PendingRequest>) {
    for one in pending.values().filter(|one| one.strays.is_one_for_each(pending.len())) {
        one.deadline_events.report(DeadlineEvent::Strayed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::interrupt::Interrupt;
    use crate::session::client_handler::ClientCapabilities;
    use crate::session::request::{CancelMode, OutgoingRequest};
    use crate::session::rpc_client::RpcClient;
    use crate::transport::{BoxFuture, CloseOutcome, ConnectedTransport, incoming_channel};

    /// A connection that discards what is sent.
    struct Nowhere(TransportKind);

    impl Transport for Nowhere {
        fn kind(&self) -> TransportKind {
            self.0
        }

        fn send(&self, _: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
            Box::pin(async { Ok(()) })
        }

        fn close(&self, _: bool) -> BoxFuture<'_, CloseOutcome> {
            Box::pin(async { CloseOutcome::Closed })
        }
    }

    /// A connection and its incoming channel: the request on whose stream a message comes, and the message.
    struct Wired {
        link: RpcClient,
        incoming: mpsc::Sender<Incoming>,
    }

    impl Wired {
        fn new(wire: TransportKind) -> Self {
            let (sender, incoming) = incoming_channel();
            let connection = ConnectedTransport { transport: Arc::new(Nowhere(wire)), incoming };
            let peer = Arc::new(ClientHandler::new(ClientCapabilities::default()));
            Wired { link: RpcClient::new(connection, peer, Interrupt::default(), Trace::default()), incoming: sender }
        }

        async fn says(&self, on: Option<u64>, texts: &[&str]) {
            for message in texts.iter().flat_map(|text| rpc::parse(text).unwrap()) {
                let item = IncomingItem::Message(message, None);
                self.incoming.send(Incoming { request_id: on, item }).await.unwrap();
            }
        }

        fn ask(&self, timeout: Duration) -> (u64, impl Future<Output = String>) {
            let ask = OutgoingRequest {
                id: self.link.next_id(),
                method: method::TOOLS_LIST,
                params: None,
                headers: Vec::new(),
                timeout: Some(timeout),
                cancel_mode: CancelMode::Never,
                server_requests: None,
            };
            (ask.id, async {
                match self.link.request(ask).await {
                    RequestOutcome::Result(result) => result.get().to_owned(),
                    RequestOutcome::Error(error, _) => format!("error {}", error.message),
                    RequestOutcome::UnexpectedResponse(refusal) => format!("{refusal:?}"),
                    RequestOutcome::Failed(failure) => failure.to_string(),
                }
            })
        }

        /// Sends a request, and lets the server send all this while it waits.
        async fn asked(&self, own_stream: bool, timeout: Duration, texts: &[&str]) -> String {
            let (id, reply) = self.ask(timeout);
            let says = async {
                tokio::task::yield_now().await;
                let texts: Vec<String> = texts.iter().map(|text| text.replace("ID", &id.to_string())).collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                self.says(own_stream.then_some(id), &texts).await;
            };
            tokio::join!(reply, says).0
        }
    }

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(200);
    const ERROR: &str = r#"{"error":{"code":-1,"message":"no"}}"#;
    const RESULT: &str = r#"{"id":null,"result":0}"#;
    const UNKNOWN: &str = r#"{"id":99,"result":0}"#;
    const ANSWER: &str = r#"{"id":ID,"result":1}"#;

    #[tokio::test]
    async fn what_came_is_the_cause_where_the_time_is_up() {
        let late = "no response to tools/list within 200 ms";
        for wire in TransportKind::ALL {
            let wired = Wired::new(wire);
            let (unknown, without) = match wire {
                TransportKind::Http => (
                    format!("{late}: the server sent a result with an unknown ID"),
                    format!("{late}: the server sent a result without an ID"),
                ),
                _ => (format!("{UNKNOWN_ID}: {late}"), format!("{WITHOUT_ID}: {late}")),
            };
            for (text, said) in [
                (ERROR, format!("{late}: the server sent an error without an ID: no (code -1)")),
                (RESULT, without),
                (UNKNOWN, unknown.clone()),
                (r#"{"id":0,"result":0}"#, unknown),
            ] {
                assert_eq!(wired.asked(false, SHORT, &[text]).await, said, "{wire:?}");
            }
            // What came for another request does not explain this one.
            assert_eq!(wired.asked(false, SHORT, &[]).await, late);
        }
    }

    #[tokio::test]
    async fn an_error_without_an_id_ends_the_wait_of_the_only_request_but_over_http() {
        for wire in TransportKind::ALL {
            let wired = Wired::new(wire);
            let expected = match wire {
                TransportKind::Http => {
                    "no response to tools/list within 3 s: the server sent an error without an ID: no (code -1)"
                }
                _ => "error no",
            };
            assert_eq!(wired.asked(false, Duration::from_secs(3), &[RESULT, ERROR]).await, expected, "{wire:?}");
        }
    }

    #[tokio::test]
    async fn progress_shows_that_the_error_was_about_something_else() {
        let progress = r#"{"method":"notifications/progress","params":{"progressToken":ID,"progress":1}}"#;
        let late = "no response to tools/list within 3 s: the server sent an error without an ID: no (code -1)";
        let reply = Wired::new(TransportKind::Stdio).asked(false, Duration::from_secs(3), &[ERROR, progress]).await;
        assert_eq!(reply, late);
    }

    #[tokio::test]
    async fn a_notification_accounts_for_one_error() {
        let wired = Wired::new(TransportKind::Stdio);
        let late = "no response to tools/list within 3 s: the server sent an error without an ID: no (code -1)";
        wired.link.notify(method::INITIALIZED, None, Vec::new()).await.unwrap();
        assert_eq!(wired.asked(false, Duration::from_secs(3), &[ERROR]).await, late);
        assert_eq!(wired.asked(false, LONG, &[ERROR]).await, "error no");
        wired.link.notify(method::INITIALIZED, None, Vec::new()).await.unwrap();
        assert_eq!(wired.asked(false, LONG, &[ANSWER]).await, "1");
        assert_eq!(wired.asked(false, LONG, &[ERROR]).await, "error no");
        // A result for it is not even the cause.
        wired.link.notify(method::INITIALIZED, None, Vec::new()).await.unwrap();
        assert_eq!(wired.asked(false, SHORT, &[RESULT]).await, "no response to tools/list within 200 ms");
    }

    /// Which of several requests an error is about is known when all others are answered.
    #[tokio::test]
    async fn an_error_among_several_requests_is_the_last_ones() {
        let wired = Wired::new(TransportKind::Stdio);
        let ((_, first), (second, other)) = (wired.ask(LONG), wired.ask(LONG));
        let says = async {
            tokio::task::yield_now().await;
            wired.says(None, &[ERROR]).await;
            tokio::time::sleep(Duration::from_millis(2500)).await;
            wired.says(None, &[&format!(r#"{{"id":{second},"result":2}}"#)]).await;
        };
        let (first, other, ()) = tokio::join!(first, other, says);
        assert_eq!((first.as_str(), other.as_str()), ("error no", "2"));
        let all = [wired.ask(LONG).1, wired.ask(LONG).1, wired.ask(LONG).1];
        let [a, b, c] = all;
        let says = async {
            tokio::task::yield_now().await;
            wired.says(None, &[ERROR, ERROR, ERROR]).await;
        };
        let (a, b, c, ()) = tokio::join!(a, b, c, says);
        assert_eq!([a, b, c], ["error no"; 3]);
    }
}
