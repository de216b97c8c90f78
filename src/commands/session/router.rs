//! Keeps the commands that use one session apart: what each of them sends, and to which of them what comes back
//! belongs.
//!
//! Every command has a range of request IDs of its own, so that a response, a progress notification and a cancellation
//! show whose they are. A request from the server goes to the command whose request it belongs to. Over a stream that
//! all share that is known only if a single command is waiting for something that lets the server ask; otherwise it is
//! refused.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use crate::cli::LogLevel;
use crate::commands::session::kept_connection::KeptConnection;
use crate::commands::session::shared_handshake::{SharedHandshake, initialize_request, object};
use crate::commands::session::shared_settings::SharedSettings;
use crate::error::{ErrorKind, Failure, RetryAdvice};
use crate::protocol::json::member;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::{self, RawJson, RpcError, RpcMessage, RpcResponse};
use crate::protocol::{code, method};
use crate::session::client_handler::Root;
use crate::transport::kept::{StreamState, item_line, stream_line};
use crate::transport::{Certainty, Incoming, IncomingItem, OutgoingKind, OutgoingMessage, TransportKind, next_gap};
use crate::util::lock::lock;

/// The bits of a request ID that count the requests of one command. IDs stay below 2^53, which every JSON library
/// reads.
const ID_BITS: u32 = 28;
/// How much may wait to be read by one command, in bytes.
const MAX_QUEUED: u32 = 8 << 20;
/// How long the others wait for a command that does not read. Then its connection is closed.
const STUCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How many messages of one command may be on their way to the server.
const MAX_SENDING: usize = 64;

/// Why commands are disconnected whose server has forgotten its session.
const SESSION_EXPIRED: &str = "the session has expired";

/// Names and values.
type HttpHeaders = Vec<(String, String)>;

/// Something to write to a command.
pub(super) struct QueuedLine {
    pub(super) text: String,
    /// Its share of [`MAX_QUEUED`].
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A command that was added.
pub(super) struct AddedClient {
    pub(super) number: u64,
    /// What to write to it.
    pub(super) lines: mpsc::UnboundedReceiver<QueuedLine>,
    /// Notified when it is disconnected because it does not read.
    pub(super) stuck: Arc<Notify>,
}

struct Client {
    queue: mpsc::UnboundedSender<QueuedLine>,
    stuck: Arc<Notify>,
    room: Arc<Semaphore>,
    sending: Arc<Semaphore>,
    /// The HTTP headers of the next message.
    headers: HttpHeaders,
}

#[derive(Default)]
struct RouterState {
    clients: BTreeMap<u64, Client>,
    /// Those that were there when the server forgot its session.
    expired: BTreeSet<u64>,
    /// How many things that came from the server are being passed on.
    arriving: usize,
    last_client: u64,
    /// The methods of the requests without a response.
    pending: HashMap<u64, String>,
    /// Who was asked by the requests from the server, by their IDs.
    asked: HashMap<String, u64>,
    /// For which commands notifications were sent that the server may answer by mistake (`session/stray.rs`), and the
    /// requests without a response that were sent before the last of them.
    notifiers: VecDeque<u64>,
    sent_before: HashSet<u64>,
    settings: SharedSettings,
    /// How many requests were sent for no command.
    own_requests: u64,
    was_ready: bool,
    requests: u64,
}

impl RouterState {
    /// Forgets a request, and what it should have set at the server. Returns whether it had no response.
    fn end_request(&mut self, id: u64, has_succeeded: bool) -> bool {
        let name = self.pending.remove(&id);
        if !has_succeeded && name.as_deref() == Some(method::LOGGING_SET_LEVEL) {
            self.settings.forget_level();
        }
        name.is_some()
    }

    /// Notes that a notification is sent for a command.
    fn note_notification(&mut self, client: u64) {
        self.notifiers.push_back(client);
        self.sent_before = self.pending.keys().copied().collect();
    }

    /// Disconnects the commands of a session that the server has forgotten, each when it has no request in progress:
    /// what they set at the server is lost. What still arrives may be a response to them.
    fn disconnect_expired(&mut self) {
        if self.expired.is_empty() || self.arriving > 0 {
            return;
        }
        let (pending, expired) = (&self.pending, &self.expired);
        let is_idle = |number: &u64| expired.contains(number) && !pending.keys().any(|id| client_of(*id) == *number);
        let idle: Vec<(u64, Client)> = self.clients.extract_if(.., |number, _| is_idle(number)).collect();
        self.expired.retain(|number| self.clients.contains_key(number));
        // What they still wait for was not sent.
        let advice = RetryAdvice { is_unprocessed: true, ..RetryAdvice::default() };
        let mut failure = Failure::new(ErrorKind::Unreachable, SESSION_EXPIRED).retry_advice(advice);
        failure.details_mut().is_unsent = true;
        disconnect(idle.into_iter().map(|(_, client)| client), &failure);
    }
}

/// Tells commands why they are disconnected. Their connections are closed when that is written.
fn disconnect(clients: impl IntoIterator<Item = Client>, why: &Failure) {
    let end = item_line(&Incoming { request_id: None, item: IncomingItem::Failed(why.clone()) });
    for client in clients {
        let _ = client.queue.send(QueuedLine { text: end.clone(), permit: None });
    }
}

pub(super) struct Router {
    state: Mutex<RouterState>,
    roots: Vec<Root>,
}

/// A line of a command.
#[derive(Deserialize)]
struct ReceivedLine<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    headers: Option<HttpHeaders>,
    abandon: Option<u64>,
    #[serde(default)]
    listen: bool,
}

/// What to do with a message of a command.
enum RouterAction {
    Send(OutgoingMessage),
    /// Answer it with what is known.
    Answer(String),
    Nothing,
}

fn client_of(id: u64) -> u64 {
    id >> ID_BITS
}

impl Router {
    pub(super) fn new(roots: Vec<Root>) -> Self {
        Router { state: Mutex::default(), roots }
    }

    pub(super) fn first_id(client: u64) -> u64 {
        client << ID_BITS
    }

    /// Whether the server has answered a request.
    pub(super) fn was_ready(&self) -> bool {
        lock(&self.state).was_ready
    }

    pub(super) fn client_count(&self) -> usize {
        lock(&self.state).clients.len()
    }

    pub(super) fn request_count(&self) -> u64 {
        lock(&self.state).requests
    }

    /// Adds a command.
    pub(super) fn add_client(&self) -> AddedClient {
        let (queue, lines) = mpsc::unbounded_channel();
        let stuck = Arc::new(Notify::new());
        let mut state = lock(&self.state);
        state.last_client += 1;
        let number = state.last_client;
        let client = Client {
            queue,
            stuck: stuck.clone(),
            room: Arc::new(Semaphore::new(MAX_QUEUED as usize)),
            sending: Arc::new(Semaphore::new(MAX_SENDING)),
            headers: Vec::new(),
        };
        state.clients.insert(number, client);
        AddedClient { number, lines, stuck }
    }

    /// Removes a command that has disconnected: its requests are cancelled, and what the server asked it is refused.
    pub(super) async fn remove_client(&self, client: u64, upstream: &Arc<KeptConnection>) {
        let (handshakes, requests, asked, cancels, unsubscribed) = {
            let mut state = lock(&self.state);
            // If the connection to the server has ended, or the command did not read, it is already removed.
            state.clients.remove(&client);
            let requests = state.pending.extract_if(|id, _| client_of(*id) == client);
            let (handshakes, requests): (Vec<_>, Vec<_>) = requests.partition(|(_, name)| name == method::INITIALIZE);
            if requests.iter().any(|(_, name)| name == method::LOGGING_SET_LEVEL) {
                state.settings.forget_level();
            }
            let asked: Vec<(String, u64)> = state.asked.extract_if(|_, other| *other == client).collect();
            let unsubscribed = state.settings.remove(client);
            let is_legacy = matches!(*lock(&upstream.handshake), SharedHandshake::Done { .. });
            let cancels = is_legacy || !upstream.transport.kind().is_http();
            requests.iter().filter(|_| cancels).for_each(|_| state.note_notification(client));
            (handshakes, requests, asked, cancels, unsubscribed)
        };
        for (id, _) in handshakes {
            self.abandon(upstream, id);
        }
        for (id, name) in requests {
            if cancels {
                let params = rpc::cancelled_params(id, Some(&format!("{name}: the client disconnected")));
                upstream.send_one_way(method::CANCELLED, rpc::notification(method::CANCELLED, Some(&params)));
            }
            upstream.transport.abandon(id);
        }
        for (id, _) in asked {
            if let Ok(id) = serde_json::from_str::<&RawValue>(&id) {
                let body = rpc::error_response(id, code::INTERNAL_ERROR, "the client disconnected");
                upstream.send_one_way("", body);
            }
        }
        for uri in unsubscribed {
            self.unsubscribe(upstream, &uri).await;
        }
    }

    /// Notes that a command no longer waits for the response to a request, which is abandoned unless it is the
    /// handshake and its result is still wanted.
    fn abandon(&self, upstream: &KeptConnection, id: u64) {
        let mut state = lock(&self.state);
        state.end_request(id, false);
        let mut handshake = lock(&upstream.handshake);
        let ended = if handshake.concerns(id) {
            handshake.leave(id, upstream.transport.kind() == TransportKind::Http)
        } else {
            Some(id)
        };
        match (&*handshake, ended) {
            (_, Some(id)) => {
                state.pending.remove(&id);
                upstream.transport.abandon(id);
            }
            // Its response is still wanted.
            (SharedHandshake::Running { id, .. }, None) => {
                state.pending.insert(*id, method::INITIALIZE.to_owned());
            }
            _ => {}
        }
        state.disconnect_expired();
    }

    /// Ends a subscription that a command left behind.
    async fn unsubscribe(&self, upstream: &KeptConnection, uri: &str) {
        let id = {
            let mut state = lock(&self.state);
            state.own_requests += 1;
            let id = state.own_requests;
            state.pending.insert(id, method::RESOURCES_UNSUBSCRIBE.to_owned());
            id
        };
        let body = rpc::request(id, method::RESOURCES_UNSUBSCRIBE, Some(&json!({ "uri": uri }).to_string()));
        let kind = OutgoingKind::Request(id);
        let message = OutgoingMessage { kind, method: method::RESOURCES_UNSUBSCRIBE, body, headers: Vec::new() };
        if upstream.transport.send(message).await.is_err() {
            lock(&self.state).pending.remove(&id);
        }
    }

    /// Handles one line of a command.
    pub(super) async fn handle_client_line(
        self: &Arc<Self>,
        client: u64,
        upstream: &Arc<KeptConnection>,
        line: String,
    ) {
        // After the end of its connection to the server, what it still sends is dropped.
        let Some((headers, sending)) = self.sending(client) else { return };
        let Ok(parsed) = serde_json::from_str::<ReceivedLine<'_>>(&line) else { return };
        if let Some(id) = parsed.abandon.filter(|id| client_of(*id) == client) {
            return self.abandon(upstream, id);
        }
        if parsed.listen {
            tokio::spawn(self.clone().watch_stream(client, upstream.clone()));
            return;
        }
        if let Some(headers) = parsed.headers {
            // Only of the next line, also if that is not sent.
            if let Some(client) = lock(&self.state).clients.get_mut(&client) {
                client.headers = headers;
            }
            return;
        }
        let id = parsed.id.and_then(|id| id.get().parse::<u64>().ok());
        let ReceivedLine { method: name, params, id: raw_id, .. } = parsed;
        let name = name.map(Cow::into_owned);
        let params = params.map(ToOwned::to_owned);
        let raw_id = raw_id.map(|id| id.get().to_owned());
        let action = match (name, id) {
            (Some(name), Some(id)) if client_of(id) == client => self.take_request(upstream, id, &name, params, line),
            (Some(name), None) => self.take_notification(client, upstream, &name, params.as_deref(), line),
            (None, _) => self.take_response(client, raw_id.as_deref(), line),
            (Some(_), Some(_)) => RouterAction::Nothing,
        };
        match action {
            RouterAction::Nothing => {}
            RouterAction::Answer(text) => self.deliver(client, text).await,
            RouterAction::Send(mut message) => {
                message.headers = headers;
                let permit = sending.acquire_owned().await;
                let (router, upstream) = (self.clone(), upstream.clone());
                tokio::spawn(async move {
                    let kind = message.kind;
                    if let OutgoingKind::Request(id) = kind {
                        upstream.wait_initialized().await;
                        // It may have been given up meanwhile.
                        if !lock(&router.state).pending.contains_key(&id) {
                            return;
                        }
                    }
                    if let (Err(failure), OutgoingKind::Request(id)) = (upstream.transport.send(message).await, kind) {
                        let item = IncomingItem::Failed(failure);
                        router.route(&upstream, Incoming { request_id: Some(id), item }).await;
                    }
                    drop(permit);
                });
            }
        }
    }

    /// Opens the stream for the server's own messages, if it is not open, and tells a command whether there is one, and
    /// when it is closed.
    async fn watch_stream(self: Arc<Self>, client: u64, upstream: Arc<KeptConnection>) {
        upstream.wait_initialized().await;
        let mut state = StreamState::Missing;
        if let Some(http) = upstream.transport.legacy_session() {
            http.listen().await;
            if http.is_listening() {
                self.deliver(client, stream_line(StreamState::Open)).await;
                let queue = lock(&self.state).clients.get(&client).map(|client| client.queue.clone());
                let Some(queue) = queue else { return };
                let mut gaps = http.stream_gaps();
                let has_stream = loop {
                    tokio::select! {
                        has_stream = http.listen_stream_closed() => break has_stream,
                        () = next_gap(&mut gaps) => self.deliver(client, stream_line(StreamState::Open)).await,
                        () = queue.closed() => return,
                    }
                };
                if has_stream {
                    state = StreamState::Closed;
                }
            }
        }
        self.deliver(client, stream_line(state)).await;
    }

    /// The headers of a message of a command, and the limit for those that are sent at the same time. `None` if it is
    /// disconnected.
    fn sending(&self, client: u64) -> Option<(HttpHeaders, Arc<Semaphore>)> {
        let mut state = lock(&self.state);
        let client = state.clients.get_mut(&client)?;
        Some((std::mem::take(&mut client.headers), client.sending.clone()))
    }

    fn take_request(
        &self,
        upstream: &KeptConnection,
        id: u64,
        name: &str,
        params: Option<RawJson>,
        mut line: String,
    ) -> RouterAction {
        let mut state = lock(&self.state);
        let mut handshake = lock(&upstream.handshake);
        let kind = OutgoingKind::Request(id);
        let message = |method, body| RouterAction::Send(OutgoingMessage { kind, method, body, headers: Vec::new() });
        match (&mut *handshake, name) {
            (SharedHandshake::Done { result, .. }, method::INITIALIZE) => {
                let response = RpcResponse { id: Some(id), has_id: true, outcome: Ok(result.clone()) };
                return RouterAction::Answer(response_lines(response));
            }
            // A server with a handshake; it may exit at a method that it does not know.
            (SharedHandshake::Done { .. }, method::DISCOVER) => {
                let error = RpcError {
                    code: Some(code::METHOD_NOT_FOUND),
                    message: "Method not found".to_owned(),
                    ..RpcError::default()
                };
                return RouterAction::Answer(response_lines(RpcResponse {
                    id: Some(id),
                    has_id: true,
                    outcome: Err(error.into()),
                }));
            }
            (handshake, method::INITIALIZE) => {
                state.pending.insert(id, name.to_owned());
                if handshake.join(id) {
                    return message(method::INITIALIZE, initialize_request(id, params));
                }
                return RouterAction::Nothing;
            }
            _ => {}
        }
        if state.expired.contains(&client_of(id)) {
            // Not outside of a session, nor in that of others: it fails when the command is disconnected.
            return RouterAction::Nothing;
        }
        state.requests += 1;
        let text = |name: &str| serde_json::from_str::<String>(member(params.as_ref()?, name)?.get()).ok();
        let is_for_server = match (name, text("uri"), text("level")) {
            (method::RESOURCES_SUBSCRIBE, Some(uri), _) => {
                state.settings.subscribe(client_of(id), &uri);
                true
            }
            (method::RESOURCES_UNSUBSCRIBE, Some(uri), _) => state.settings.unsubscribe(client_of(id), &uri),
            (method::LOGGING_SET_LEVEL, _, Some(level)) => {
                let needed = state.settings.set_level(client_of(id), LogLevel::from_name(&level));
                if let Some(needed) = needed.filter(|needed| needed.as_str() != level) {
                    let mut params = object(params.as_ref());
                    params.insert("level".to_owned(), needed.as_str().into());
                    line = rpc::request(id, method::LOGGING_SET_LEVEL, Some(&Value::Object(params).to_string()));
                }
                needed.is_some()
            }
            _ => true,
        };
        if !is_for_server {
            return RouterAction::Answer(response_lines(RpcResponse {
                id: Some(id),
                has_id: true,
                outcome: Ok(empty_result()),
            }));
        }
        state.pending.insert(id, name.to_owned());
        message("", line)
    }

    fn take_notification(
        &self,
        client: u64,
        upstream: &Arc<KeptConnection>,
        name: &str,
        params: Option<&RawValue>,
        line: String,
    ) -> RouterAction {
        let mut state = lock(&self.state);
        match (name, &mut *lock(&upstream.handshake)) {
            (method::INITIALIZED, SharedHandshake::Done { is_confirmed, .. }) => {
                if std::mem::replace(is_confirmed, true) {
                    return RouterAction::Nothing;
                }
                state.note_notification(client);
                upstream.send_initialized(line);
                return RouterAction::Nothing;
            }
            (method::CANCELLED, _) => {
                let id = params.and_then(|params| member(params, "requestId")?.get().parse::<u64>().ok());
                let is_own = id.is_some_and(|id| client_of(id) == client && state.end_request(id, false));
                if !is_own {
                    return RouterAction::Nothing;
                }
                state.disconnect_expired();
            }
            _ => {}
        }
        state.note_notification(client);
        RouterAction::Send(OutgoingMessage { kind: OutgoingKind::OneWay, method: "", body: line, headers: Vec::new() })
    }

    /// A response to a request from the server, if the server asked this command.
    fn take_response(&self, client: u64, id: Option<&str>, line: String) -> RouterAction {
        let mut state = lock(&self.state);
        let was_asked = id.is_some_and(|id| state.asked.get(id) == Some(&client) && state.asked.remove(id).is_some());
        if !was_asked {
            return RouterAction::Nothing;
        }
        RouterAction::Send(OutgoingMessage { kind: OutgoingKind::OneWay, method: "", body: line, headers: Vec::new() })
    }

    /// Passes on something that came back from the server.
    pub(super) async fn route(&self, upstream: &Arc<KeptConnection>, arrived: Incoming) {
        lock(&self.state).arriving += 1;
        self.pass_on(upstream, arrived).await;
        let mut state = lock(&self.state);
        state.arriving -= 1;
        state.disconnect_expired();
    }

    async fn pass_on(&self, upstream: &Arc<KeptConnection>, arrived: Incoming) {
        let on = arrived.request_id;
        let receivers = match &arrived.item {
            IncomingItem::Message(RpcMessage::Response(response), status) => match self.answered(response.id, on) {
                Some(id) => self.finish_with_response(upstream, id, response, *status).await,
                None => {
                    let notifier = lock(&self.state).notifiers.pop_front();
                    notifier.map_or_else(|| self.note_possible_response(upstream, None), |client| vec![client])
                }
            },
            IncomingItem::Message(RpcMessage::Request { id, method, .. }, _) => {
                return self.route_request(upstream, on, id, method, &arrived).await;
            }
            IncomingItem::Message(RpcMessage::Notification { method, params }, _) => {
                self.notified_clients(on, method, params.as_deref())
            }
            IncomingItem::EmbeddedResponse(RpcMessage::Response(response @ RpcResponse { id: Some(id), .. })) => {
                // Without a request that waits for it, it is a log.
                let is_awaited = lock(&self.state).pending.contains_key(id);
                if is_awaited {
                    self.finish_with_response(upstream, *id, response, None).await
                } else {
                    vec![client_of(*id)]
                }
            }
            IncomingItem::BrokenResponse(broken) => match (broken.id.or(on), broken.certainty) {
                (Some(id), Certainty::Certain) => {
                    self.finish_with_failure(upstream, id, &IncomingItem::Failed(broken.failure.clone())).await
                }
                (id, _) => self.note_possible_response(upstream, id),
            },
            IncomingItem::UnexpectedResponse(_) | IncomingItem::Failed(_) => {
                let Some(id) = on else { return };
                self.finish_with_failure(upstream, id, &arrived.item).await
            }
            IncomingItem::EmbeddedResponse(_) | IncomingItem::Warning(_) => self.all_clients(),
        };
        let text = item_line(&arrived);
        // The memory of a large result is not held twice.
        drop(arrived);
        self.deliver_to_all(&receivers, text).await;
    }

    /// Notes that a request has its response, which is passed on to the other commands that wait for the same one.
    /// Returns the command that it belongs to.
    async fn finish_with_response(
        &self,
        upstream: &Arc<KeptConnection>,
        id: u64,
        response: &RpcResponse,
        status: Option<u16>,
    ) -> Vec<u64> {
        for id in self.finish(upstream, id, &response.outcome, status) {
            let response = RpcResponse { id: Some(id), ..response.clone() };
            self.deliver(client_of(id), response_lines(response)).await;
        }
        vec![client_of(id)]
    }

    /// As [`Router::finish_with_response`], for a request that has failed.
    async fn finish_with_failure(&self, upstream: &Arc<KeptConnection>, id: u64, item: &IncomingItem) -> Vec<u64> {
        let status = match item {
            IncomingItem::UnexpectedResponse(response) => Some(response.status),
            _ => None,
        };
        for id in self.finish(upstream, id, &Err(RpcError::default().into()), status) {
            let item = match item {
                IncomingItem::UnexpectedResponse(response) => IncomingItem::UnexpectedResponse(response.clone()),
                IncomingItem::Failed(failure) => IncomingItem::Failed(failure.clone()),
                _ => continue,
            };
            self.deliver(client_of(id), item_line(&Incoming { request_id: Some(id), item })).await;
        }
        vec![client_of(id)]
    }

    /// Notes that something came which a request may take for its response. Returns the commands that it may be for.
    fn note_possible_response(&self, upstream: &KeptConnection, id: Option<u64>) -> Vec<u64> {
        lock(&upstream.handshake).note_possible_response(id);
        id.map_or_else(|| self.waiting_clients(), |id| vec![client_of(id)])
    }

    async fn deliver_to_all(&self, receivers: &[u64], text: String) {
        if let Some((last, others)) = receivers.split_last() {
            for client in others {
                self.deliver(*client, text.clone()).await;
            }
            self.deliver(*last, text).await;
        }
    }

    /// The request that a response with this ID answers, which came as the response to `on`. A late one shows whose it
    /// is as well, also if that command has gone.
    fn answered(&self, id: Option<u64>, on: Option<u64>) -> Option<u64> {
        let state = lock(&self.state);
        let is_known = |id: &u64| (1..=state.last_client).contains(&client_of(*id));
        id.filter(|id| state.pending.contains_key(id)).or(on).or(id.filter(is_known))
    }

    /// Notes that a request has its response. Returns the other requests that wait for the same one.
    fn finish(
        &self,
        upstream: &Arc<KeptConnection>,
        id: u64,
        outcome: &Result<RawJson, Box<RpcError>>,
        status: Option<u16>,
    ) -> Vec<u64> {
        let mut state = lock(&self.state);
        if state.end_request(id, outcome.is_ok()) && !state.sent_before.contains(&id) {
            state.notifiers.clear();
        }
        state.was_ready |= outcome.is_ok();
        let mut handshake = lock(&upstream.handshake);
        let Some(mut waiting) = handshake.finish(id, outcome.as_ref().ok()) else {
            // The server has forgotten its session (2025-11-25, basic/transports, "Session Management"). The next
            // command opens another one.
            // A late response to a request of the session before is not about this one.
            let is_about_this = client_of(id) != 0 && !state.expired.contains(&client_of(id));
            let is_lost = status == Some(404) && is_about_this && matches!(*handshake, SharedHandshake::Done { .. });
            if is_lost && upstream.transport.legacy_session().is_some_and(|http| http.forget_session()) {
                *handshake = SharedHandshake::New;
                state.settings.forget_server();
                state.expired = state.clients.keys().copied().collect();
            }
            return Vec::new();
        };
        if let (Ok(result), Some(http)) = (outcome, upstream.transport.legacy_session()) {
            let name = member(result, "protocolVersion").and_then(|raw| serde_json::from_str::<String>(raw.get()).ok());
            http.set_revision(name.and_then(|name| Revision::parse(&name)).unwrap_or(Revision::LATEST_LEGACY));
        }
        state.pending.retain(|id, _| !waiting.contains(id));
        waiting.retain(|other| *other != id);
        waiting
    }

    /// Answers a request from the server, or passes it to the command that it is about.
    async fn route_request(
        &self,
        upstream: &Arc<KeptConnection>,
        on: Option<u64>,
        id: &RawValue,
        name: &str,
        arrived: &Incoming,
    ) {
        // A server without a handshake must not send requests, and gets no response (`STD-02`). The command that may be
        // concerned notes it in its trace.
        let may_ask = !matches!(*lock(&upstream.handshake), SharedHandshake::New);
        match name {
            _ if !may_ask => {}
            method::PING => return upstream.answer(rpc::response(id, "{}")).await,
            method::ROOTS_LIST => {
                let roots: Vec<Value> = self.roots.iter().map(root_json).collect();
                let response = rpc::response(id, &json!({ "roots": roots }).to_string());
                return upstream.answer(response).await;
            }
            _ => {}
        }
        let receiver = {
            let mut state = lock(&self.state);
            let asking = |name: &String| {
                [method::TOOLS_CALL, method::PROMPTS_GET, method::RESOURCES_READ, method::TASKS_RESULT]
                    .contains(&name.as_str())
            };
            let candidates: HashSet<u64> = match on {
                Some(on) => HashSet::from([client_of(on)]),
                None => state.pending.iter().filter(|(_, name)| asking(name)).map(|(id, _)| client_of(*id)).collect(),
            };
            let mut present = candidates.into_iter().filter(|client| state.clients.contains_key(client));
            let receiver = match (present.next(), present.next()) {
                (Some(client), None) => Ok(client),
                (None, _) => Err("this request belongs to no command that is running"),
                (Some(_), Some(_)) => Err("this request could belong to any of several commands that are running"),
            };
            if let Ok(client) = receiver
                && may_ask
            {
                state.asked.insert(id.get().to_owned(), client);
            }
            receiver
        };
        match receiver {
            Ok(client) => self.deliver(client, item_line(arrived)).await,
            Err(why) if may_ask => upstream.answer(rpc::error_response(id, code::INTERNAL_ERROR, why)).await,
            Err(_) => {}
        }
    }

    /// The commands that a notification is for.
    fn notified_clients(&self, on: Option<u64>, name: &str, params: Option<&RawValue>) -> Vec<u64> {
        let number = |name: &str| {
            let raw = member(params?, name)?;
            raw.get().trim_matches('"').parse::<u64>().ok()
        };
        match name {
            method::PROGRESS => number("progressToken").or(on).map(client_of).into_iter().collect(),
            method::CANCELLED => {
                let id = params.and_then(|params| member(params, "requestId")).map(RawValue::get);
                let mut state = lock(&self.state);
                if let Some(client) = id.and_then(|id| state.asked.remove(id)) {
                    return vec![client];
                }
                // A modern server ends a subscription with its ID (2026-07-28, basic/patterns/subscriptions).
                let subscription = number("requestId")
                    .filter(|id| state.pending.get(id).is_some_and(|name| name == method::SUBSCRIPTIONS_LISTEN));
                subscription.inspect(|id| drop(state.pending.remove(id))).map(client_of).into_iter().collect()
            }
            method::LOG_MESSAGE => {
                let level = params.and_then(|params| member(params, "level")).map(RawValue::get);
                let level = LogLevel::from_name(level.unwrap_or_default().trim_matches('"'));
                let mut clients = on.map_or_else(|| self.waiting_clients(), |on| vec![client_of(on)]);
                let state = lock(&self.state);
                clients.retain(|client| state.settings.wants_log(*client, level));
                clients
            }
            _ => self.all_clients(),
        }
    }

    fn all_clients(&self) -> Vec<u64> {
        lock(&self.state).clients.keys().copied().collect()
    }

    /// The commands with a request that has no response.
    fn waiting_clients(&self) -> Vec<u64> {
        let mut clients: Vec<u64> = lock(&self.state).pending.keys().map(|id| client_of(*id)).collect();
        clients.sort_unstable();
        clients.dedup();
        clients
    }

    /// Queues lines for a command. One that does not read is disconnected, since it would hold up all others.
    async fn deliver(&self, client: u64, text: String) {
        let Some((queue, room)) =
            lock(&self.state).clients.get(&client).map(|client| (client.queue.clone(), client.room.clone()))
        else {
            return;
        };
        let size = u32::try_from(text.len()).unwrap_or(u32::MAX).min(MAX_QUEUED);
        match timeout(STUCK_TIMEOUT, room.acquire_many_owned(size)).await {
            Ok(permit) => drop(queue.send(QueuedLine { text, permit: permit.ok() })),
            Err(_) => {
                if let Some(client) = lock(&self.state).clients.remove(&client) {
                    client.stuck.notify_one();
                }
            }
        }
    }

    /// The connection to the server has ended: every command learns why, and is disconnected.
    pub(super) async fn fail_all(&self, failure: &Failure) {
        let clients = {
            let mut state = lock(&self.state);
            state.settings = SharedSettings::default();
            state.pending.clear();
            state.asked.clear();
            state.notifiers.clear();
            std::mem::take(&mut state.clients)
        };
        disconnect(clients.into_values(), failure);
        tokio::task::yield_now().await;
    }
}

fn empty_result() -> RawJson {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn response_lines(response: RpcResponse) -> String {
    item_line(&Incoming { request_id: None, item: IncomingItem::Message(RpcMessage::Response(response), None) })
}

fn root_json(root: &Root) -> Value {
    match &root.name {
        Some(name) => json!({ "uri": root.uri, "name": name }),
        None => json!({ "uri": root.uri }),
    }
}
