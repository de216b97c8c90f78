//! One connection to a server, and the requests that wait for its responses.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use super::wire::ClientMessage;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::method;
use crate::protocol::rpc::{self, RawJson};
use crate::session::dispatch::UnansweredRequests;
use crate::session::request::RequestOutcome;
use crate::transport::{OutgoingKind, OutgoingMessage, Transport};
use crate::util::duration::format_duration;
use crate::util::lock::lock;

/// How long a server may take to accept a cancellation.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(10);

/// How a server introduced itself when the connection was opened, which shows its era.
#[derive(Clone)]
pub enum ServerIntroduction {
    /// By a handshake: the result of `initialize`.
    Legacy(RawJson),
    /// Without one: the result of `server/discover`.
    Modern(RawJson),
}

/// A request of the client that is under way.
pub struct ClientRequest {
    /// Its ID at the client, as JSON.
    pub client_id: String,
    /// Its method.
    pub method: String,
    /// The message, to be sent again if it was certainly not carried out; `None` if it is too large for that.
    pub kept: Option<ClientMessage>,
    /// How many times it was sent.
    pub attempts: u32,
    /// How many times the client was asked for input during it.
    pub rounds: u32,
    /// The number of the session over HTTP in which it was sent.
    pub session: u64,
    /// Whether it named a session.
    pub is_in_session: bool,
}

/// Who waits for a response.
pub enum Pending {
    /// The bridge itself.
    Own(oneshot::Sender<RequestOutcome>),
    /// The client.
    Client(ClientRequest),
}

/// A request of the client during which a legacy server asks for input, and which a modern client continues with its
/// next request.
pub struct HeldRequest {
    /// The server.
    pub connection: Arc<ServerConnection>,
    /// The ID of the client's request at the server.
    pub request_id: u64,
    /// The ID, as JSON, of the server's request that the client has been sent; `None` if the server has canceled it.
    pub asked: Option<String>,
    /// Other requests from the server meanwhile.
    pub further: VecDeque<ServerRequest>,
    /// What the client's request ended with meanwhile.
    pub ended: Option<(ClientRequest, RequestOutcome)>,
    /// When the client was sent the question.
    pub since: Instant,
}

impl HeldRequest {
    /// How many questions it holds, and how many bytes the server has filled for it.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let asked = self.asked.as_ref().map_or(0, String::len);
        let further: usize = self.further.iter().map(ServerRequest::size).sum();
        let ended = match &self.ended {
            Some((_, RequestOutcome::Result(result))) => result.get().len(),
            _ => 0,
        };
        (1 + self.further.len(), asked + further + ended)
    }
}

/// A request of a legacy server that the client has not been sent yet.
pub struct ServerRequest {
    /// Its ID, as JSON.
    pub id: String,
    /// Its method.
    pub method: String,
    /// Its parameters.
    pub params: Option<RawJson>,
}

impl ServerRequest {
    /// Its size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.id.len() + self.method.len() + self.params.as_ref().map_or(0, |params| params.get().len())
    }
}

/// One connection to a server.
pub struct ServerConnection {
    transport: Arc<dyn Transport>,
    pending: Mutex<HashMap<u64, Pending>>,
    closed: Mutex<Option<Failure>>,
    closed_notify: Notify,
    introduction: OnceLock<ServerIntroduction>,
    reader: OnceLock<AbortHandle>,
    /// Counts the sessions over HTTP; held while a new one is opened.
    pub session_number: tokio::sync::Mutex<u64>,
    /// Whether it was closed since the client began again, so that nothing is repeated on another connection.
    pub is_abandoned: AtomicBool,
    /// The requests from the server that are not answered yet.
    pub unanswered: UnansweredRequests,
    /// Whether the server was told that the handshake is complete.
    pub is_initialized: AtomicBool,
    /// Whether a task keeps the stream for the server's own messages open, over HTTP.
    pub keeps_stream: AtomicBool,
    /// Whether changes may have been missed, because a subscription ended.
    pub may_have_missed_changes: AtomicBool,
    /// The minimum level of log messages, as JSON, that a legacy server was told last.
    pub log_level: Mutex<Option<String>>,
}

impl ServerConnection {
    /// A connection whose era is not known yet.
    #[must_use]
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        ServerConnection {
            transport,
            pending: Mutex::default(),
            closed: Mutex::default(),
            closed_notify: Notify::new(),
            introduction: OnceLock::new(),
            reader: OnceLock::new(),
            session_number: tokio::sync::Mutex::new(0),
            is_abandoned: AtomicBool::new(false),
            unanswered: UnansweredRequests::default(),
            is_initialized: AtomicBool::new(false),
            keeps_stream: AtomicBool::new(false),
            may_have_missed_changes: AtomicBool::new(false),
            log_level: Mutex::default(),
        }
    }

    /// The transport.
    #[must_use]
    pub fn transport(&self) -> &dyn Transport {
        &*self.transport
    }

    /// Sets the task that reads from it.
    pub fn set_reader(&self, reader: AbortHandle) {
        let _ = self.reader.set(reader);
    }

    /// How the server introduced itself; `None` until then.
    #[must_use]
    pub fn introduction(&self) -> Option<&ServerIntroduction> {
        self.introduction.get()
    }

    /// Sets how the server introduced itself.
    pub fn set_introduction(&self, introduction: ServerIntroduction) {
        let _ = self.introduction.set(introduction);
    }

    /// Whether the server is of the modern era.
    #[must_use]
    pub fn is_modern(&self) -> bool {
        matches!(self.introduction.get(), Some(ServerIntroduction::Modern(_)))
    }

    /// Whether messages carry headers.
    #[must_use]
    pub fn is_http(&self) -> bool {
        self.transport.kind().is_http()
    }

    /// Why it is closed, if it is.
    #[must_use]
    pub fn closed_reason(&self) -> Option<Failure> {
        lock(&self.closed).clone()
    }

    /// Waits until it is closed.
    pub async fn wait_closed(&self) -> Failure {
        loop {
            let notified = self.closed_notify.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if let Some(failure) = self.closed_reason() {
                return failure;
            }
            notified.await;
        }
    }

    /// Registers a request. If the connection is closed, returns the reason and the request.
    ///
    /// # Errors
    /// If the connection is closed.
    pub fn register(&self, id: u64, waiting: Pending) -> Result<(), Box<(Failure, Pending)>> {
        // Under one lock, so that every request either fails here or is among those that `mark_closed` returns.
        let mut pending = lock(&self.pending);
        match self.closed_reason() {
            Some(failure) => Err(Box::new((failure, waiting))),
            None => {
                pending.insert(id, waiting);
                Ok(())
            }
        }
    }

    /// Takes the request with this ID.
    #[must_use]
    pub fn take(&self, id: u64) -> Option<Pending> {
        lock(&self.pending).remove(&id)
    }

    /// The only request that waits, if there is one.
    #[must_use]
    pub fn only_pending(&self) -> Option<u64> {
        let pending = lock(&self.pending);
        pending.keys().next().copied().filter(|_| pending.len() == 1)
    }

    /// How many requests wait.
    #[must_use]
    pub fn pending_count(&self) -> usize {
        lock(&self.pending).len()
    }

    /// The ID at the client of the request with this ID.
    #[must_use]
    pub fn client_id(&self, id: u64) -> Option<String> {
        match lock(&self.pending).get(&id) {
            Some(Pending::Client(request)) => Some(request.client_id.clone()),
            _ => None,
        }
    }

    /// Whether a request with this ID waits.
    #[must_use]
    pub fn is_pending(&self, id: u64) -> bool {
        lock(&self.pending).contains_key(&id)
    }

    /// The request of the client with this ID.
    #[must_use]
    pub fn find_client_request(&self, client_id: &str) -> Option<u64> {
        let is_it = |waiting: &Pending| matches!(waiting, Pending::Client(request) if request.client_id == client_id);
        lock(&self.pending).iter().find(|(_, waiting)| is_it(waiting)).map(|(id, _)| *id)
    }

    /// The request `on` if its method is one of these, else the newest request of the client whose method is.
    #[must_use]
    pub fn newest_client_request(&self, on: Option<u64>, methods: &[&str]) -> Option<u64> {
        let pending = lock(&self.pending);
        let fits = |waiting: &Pending| matches!(waiting, Pending::Client(request) if methods.contains(&request.method.as_str()));
        match on {
            Some(on) if pending.get(&on).is_some_and(fits) => Some(on),
            _ => pending.iter().filter(|(_, waiting)| fits(waiting)).map(|(id, _)| *id).max(),
        }
    }

    /// Gives a request of the client another ID at the client, and returns the old one.
    pub fn reassign(&self, id: u64, client_id: String) -> Option<String> {
        match lock(&self.pending).get_mut(&id) {
            Some(Pending::Client(request)) => Some(std::mem::replace(&mut request.client_id, client_id)),
            _ => None,
        }
    }

    /// The IDs of the client's requests.
    #[must_use]
    pub fn client_requests(&self) -> Vec<u64> {
        let pending = lock(&self.pending);
        pending.iter().filter(|(_, waiting)| matches!(waiting, Pending::Client(_))).map(|(id, _)| *id).collect()
    }

    /// Marks the connection as closed, and returns the requests that get no response.
    #[must_use]
    pub fn mark_closed(&self, failure: &Failure) -> Vec<(u64, Pending)> {
        let mut pending = lock(&self.pending);
        lock(&self.closed).get_or_insert_with(|| failure.clone());
        self.closed_notify.notify_waiters();
        self.unanswered.close();
        pending.drain().collect()
    }

    /// Sends a request of the bridge itself, and waits for its response.
    pub async fn own_request(
        &self,
        id: u64,
        name: &str,
        params: Option<&str>,
        headers: Vec<(String, String)>,
        limit: Option<Duration>,
    ) -> RequestOutcome {
        let (sender, answer) = oneshot::channel();
        if let Err(refused) = self.register(id, Pending::Own(sender)) {
            return RequestOutcome::Failed(refused.0);
        }
        let _place = OwnRequest { connection: self, id };
        let message = OutgoingMessage {
            kind: OutgoingKind::Request(id),
            method: transport_method(name),
            body: rpc::request(id, name, params),
            headers,
        };
        let exchange = async {
            if let Err(failure) = self.transport.send(message).await {
                return RequestOutcome::Failed(failure);
            }
            answer.await.unwrap_or_else(|_| {
                let closed = || Failure::new(ErrorKind::Unreachable, "the connection was closed");
                RequestOutcome::Failed(self.closed_reason().unwrap_or_else(closed))
            })
        };
        tokio::pin!(exchange);
        let Some(limit) = limit else { return exchange.await };
        loop {
            match tokio::time::timeout(limit, &mut exchange).await {
                Ok(outcome) => return outcome,
                Err(_) if self.transport.login_in_progress() => {}
                Err(_) => {
                    let message = format!("no response to {name} within {}", format_duration(limit));
                    let failure = Failure::new(ErrorKind::Timeout, message);
                    return RequestOutcome::Failed(failure.stderr_tail(self.transport.diagnostics().stderr_tail));
                }
            }
        }
    }

    /// Sends a notification or a response.
    ///
    /// # Errors
    /// If it cannot be delivered.
    pub async fn send_one_way(&self, body: String) -> Result<()> {
        self.transport.send(OutgoingMessage { kind: OutgoingKind::OneWay, method: "", body, headers: Vec::new() }).await
    }

    /// Sends the cancellation of a request.
    pub async fn send_cancellation(&self, request_id: u64, body: String) {
        // The server may be stuck.
        let _ = tokio::time::timeout(CANCEL_TIMEOUT, self.send_one_way(body)).await;
        self.transport.abandon(request_id);
    }

    /// Closes it. A server process gets little time, since the client has ended.
    pub async fn close(&self) {
        self.transport.close(false).await;
        if let Some(reader) = self.reader.get() {
            reader.abort();
        }
    }
}

/// The entry of a request of the bridge, removed with it.
struct OwnRequest<'a> {
    connection: &'a ServerConnection,
    id: u64,
}

impl Drop for OwnRequest<'_> {
    fn drop(&mut self) {
        if self.connection.take(self.id).is_some() {
            self.connection.transport.abandon(self.id);
        }
    }
}

/// The method as the transport needs it: it opens a session at `initialize`.
#[must_use]
pub fn transport_method(name: &str) -> &'static str {
    if name == method::INITIALIZE { method::INITIALIZE } else { "" }
}
