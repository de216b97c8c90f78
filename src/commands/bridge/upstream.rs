//! The side of one server: its connection, opened when it is needed and again after it was lost.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::{Notify, Semaphore};

use super::client::{ClientLink, SubscribedItems};
use super::client_introduction::ClientIntroduction;
use super::connection::{HeldRequest, Pending, ServerConnection, ServerIntroduction};
use super::guard::ToolGuard;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::Ui;
use crate::protocol::rpc::{self, RawJson};
use crate::protocol::{headers, meta, method};
use crate::session::failure::failure_from_outcome;
use crate::session::lists::MAX_PAGES;
use crate::session::request::RequestOutcome;
use crate::target::Target;
use crate::transport::{self, ConnectedTransport, TransportOptions};
use crate::util::count::counted;
use crate::util::lock::lock;
use crate::util::size::format_size;

/// How long a failed connection is not tried again: requests that came together get the same error.
const FAILURE_LIFETIME: Duration = Duration::from_millis(500);
/// How long the last messages to a server may take.
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(300);
/// How many cancellations may be under way over HTTP.
const MAX_CANCELLATIONS: usize = 16;

/// One server behind the bridge.
pub struct Upstream {
    /// The name under which it is joined with others.
    pub name: String,
    /// The target.
    pub target: Target,
    /// How to connect.
    pub options: TransportOptions,
    /// Where warnings go.
    pub ui: Arc<Ui>,
    /// The client.
    pub client: Arc<ClientLink>,
    /// What the client said about itself.
    pub client_introduction: Arc<ClientIntroduction>,
    /// The rules for its tools.
    pub guard: ToolGuard,
    max_list_size: Option<u64>,
    /// Whether it is one of several servers.
    pub is_joined: bool,
    /// What the client wants to be notified of.
    pub subscribed: Mutex<SubscribedItems>,
    /// The resources that a modern server has accepted in a subscription.
    pub accepted: Mutex<BTreeSet<String>>,
    /// Notified when [`Upstream::subscribed`] changes.
    pub wanted_changed: Notify,
    /// The requests that a modern client continues with an answer to the server's question, by their state.
    pub held: Mutex<HashMap<String, HeldRequest>>,
    /// Whether a task drops those that are not continued in time.
    pub drops_held: AtomicBool,
    /// Requests from the server that the client is being asked: their ID at the client, by the ID at the server.
    pub asked: Mutex<HashMap<String, u64>>,
    /// The client's requests that wait for its task, by their ID at the client.
    pub queued: Mutex<Vec<String>>,
    /// The client's requests that are going to be sent, by their ID at the client. Each is notified if it is canceled.
    pub unsent: Mutex<HashMap<String, Arc<Notify>>>,
    /// One permit for each cancellation that the server has not accepted yet, over HTTP.
    pub cancellations: Arc<Semaphore>,
    /// Held while the server is told what the client's subscriptions want.
    pub wanted_turn: tokio::sync::Mutex<()>,
    next_id: AtomicU64,
    connection: tokio::sync::Mutex<Slot>,
    /// Every connection that is not closed.
    open: Mutex<Vec<Arc<ServerConnection>>>,
    was_connected: AtomicBool,
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<ServerConnection>>,
    failed: Option<(Instant, Failure)>,
}

/// What an upstream is made from.
pub struct UpstreamParts {
    /// The name under which it is joined with others.
    pub name: String,
    /// The target.
    pub target: Target,
    /// How to connect.
    pub options: TransportOptions,
    /// The rules for its tools.
    pub guard: ToolGuard,
    /// How large a list may be over all its pages, in bytes.
    pub max_list_size: Option<u64>,
    /// Whether it is one of several servers.
    pub is_joined: bool,
}

impl Upstream {
    /// A server that is not connected yet.
    #[must_use]
    pub fn new(
        parts: UpstreamParts,
        ui: Arc<Ui>,
        client: Arc<ClientLink>,
        client_introduction: Arc<ClientIntroduction>,
    ) -> Arc<Self> {
        let UpstreamParts { name, target, options, guard, max_list_size, is_joined } = parts;
        Arc::new(Upstream {
            name,
            target,
            options,
            ui,
            client,
            client_introduction,
            guard,
            max_list_size,
            is_joined,
            subscribed: Mutex::default(),
            accepted: Mutex::default(),
            wanted_changed: Notify::new(),
            held: Mutex::default(),
            drops_held: AtomicBool::new(false),
            asked: Mutex::default(),
            queued: Mutex::default(),
            unsent: Mutex::default(),
            cancellations: Arc::new(Semaphore::new(MAX_CANCELLATIONS)),
            wanted_turn: tokio::sync::Mutex::default(),
            next_id: AtomicU64::new(1),
            connection: tokio::sync::Mutex::default(),
            open: Mutex::default(),
            was_connected: AtomicBool::new(false),
        })
    }

    /// A new request ID, unique over all connections.
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Prints a warning.
    pub fn warn(&self, text: &str) {
        if self.is_joined { self.ui.warn(&format!("{}: {text}", self.name)) } else { self.ui.warn(text) }
    }

    /// The connection, opened if it is not open.
    ///
    /// # Errors
    /// If the server cannot be reached, or refuses the client.
    pub async fn connect(self: &Arc<Self>) -> Result<Arc<ServerConnection>> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &slot.connection {
            if connection.closed_reason().is_none() {
                return Ok(connection.clone());
            }
            let lost = connection.clone();
            slot.connection = None;
            self.close_connection(&lost).await;
        }
        if let Some((at, failure)) = &slot.failed
            && at.elapsed() < FAILURE_LIFETIME
        {
            return Err(failure.clone());
        }
        let opened = Box::pin(self.open()).await;
        let connection = match opened {
            Ok(connection) => connection,
            Err(failure) => {
                let failure = failure.server(&self.target.name);
                slot.failed = Some((Instant::now(), failure.clone()));
                return Err(failure);
            }
        };
        (slot.connection, slot.failed) = (Some(connection.clone()), None);
        self.guard.forget_table();
        let is_again = self.was_connected.swap(true, Ordering::Relaxed);
        // Other requests wait until the handshake is complete.
        Box::pin(self.prepare(&connection, is_again)).await;
        Ok(connection)
    }

    /// The open connection, if there is one.
    pub async fn connected(&self) -> Option<Arc<ServerConnection>> {
        let slot = self.connection.lock().await;
        slot.connection.clone().filter(|connection| connection.closed_reason().is_none())
    }

    /// Whether a connection is open.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        let is_usable = |one: &Arc<ServerConnection>| one.introduction().is_some() && one.closed_reason().is_none();
        lock(&self.open).iter().any(is_usable)
    }

    /// Closes the connection, and fails all requests: the client begins again.
    pub async fn reset(self: &Arc<Self>) {
        let mut slot = self.connection.lock().await;
        slot.failed = None;
        let unsent = std::mem::take(&mut *lock(&self.unsent));
        for (client_id, canceled) in unsent {
            canceled.notify_one();
            self.client.send_failure(&client_id, &connection_closed()).await;
        }
        if let Some(connection) = slot.connection.take() {
            connection.is_abandoned.store(true, Ordering::Relaxed);
            self.close_connection(&connection).await;
        }
        self.was_connected.store(false, Ordering::Relaxed);
        *lock(&self.subscribed) = SubscribedItems::default();
    }

    /// Counts a connection that failed as one that was lost: the client is notified when there is one again.
    pub fn set_lost(&self) {
        self.was_connected.store(true, Ordering::Relaxed);
    }

    /// Connects the transport and starts to read from it.
    pub(super) async fn connect_transport(self: &Arc<Self>) -> Result<Arc<ServerConnection>> {
        let connected = transport::connect(&self.target.endpoint, &self.options).await?;
        Ok(self.start_reading(connected))
    }

    /// Starts to read from a transport.
    pub(super) fn start_reading(self: &Arc<Self>, connected: ConnectedTransport) -> Arc<ServerConnection> {
        let connection = Arc::new(ServerConnection::new(connected.transport));
        lock(&self.open).push(connection.clone());
        let reader = tokio::spawn(self.clone().read_messages(connection.clone(), connected.incoming));
        connection.set_reader(reader.abort_handle());
        connection
    }

    /// Closes a connection; its requests fail.
    pub(super) async fn close_connection(self: &Arc<Self>, connection: &Arc<ServerConnection>) {
        connection.close().await;
        lock(&self.open).retain(|other| !Arc::ptr_eq(other, connection));
        self.fail_pending(connection, &connection_closed()).await;
    }

    /// Ends everything: cancels the client's requests, and closes all connections.
    pub async fn shut_down(&self) {
        let open = std::mem::take(&mut *lock(&self.open));
        for connection in open {
            let cancels = connection.introduction().is_some() && !(connection.is_modern() && connection.is_http());
            let farewell = async {
                for id in connection.client_requests().into_iter().filter(|_| cancels) {
                    let params = rpc::cancelled_params(id, Some("the client has ended"));
                    let _ = connection.send_one_way(rpc::notification(method::CANCELLED, Some(&params))).await;
                }
            };
            let _ = tokio::time::timeout(FAREWELL_TIMEOUT, farewell).await;
            connection.close().await;
        }
        self.options.wait_for_refresh().await;
    }

    /// The headers of a request over HTTP (2026-07-28, basic/transports/streamable-http, "Standard Request Headers").
    #[must_use]
    pub fn headers(&self, connection: &ServerConnection, name: &str, subject: Option<&str>) -> Vec<(String, String)> {
        if !(connection.is_http() && (connection.is_modern() || connection.introduction().is_none())) {
            return Vec::new();
        }
        if name == method::INITIALIZE {
            return Vec::new();
        }
        let mut all = vec![
            ("MCP-Protocol-Version".to_owned(), self.client_introduction.modern_revision()),
            ("Mcp-Method".to_owned(), name.to_owned()),
        ];
        all.extend(subject.map(|subject| ("Mcp-Name".to_owned(), headers::encode_value(subject))));
        all
    }

    /// The parameters of a request of the bridge itself, in the form of the server's era.
    #[must_use]
    pub fn own_params(&self, is_modern: bool, members: &str) -> Option<String> {
        match (is_modern, members) {
            (false, "") => None,
            (false, members) => Some(format!("{{{members}}}")),
            (true, members) => {
                let comma = if members.is_empty() { "" } else { "," };
                Some(format!(r#"{{{members}{comma}"_meta":{{{}}}}}"#, self.client_introduction.identity()))
            }
        }
    }

    /// Sends a request of the bridge itself. `members` are those of its parameters, as JSON. A request that got no
    /// response since the connection was lost is sent again.
    ///
    /// # Errors
    /// If the server returns an error, or cannot be reached.
    pub async fn request(self: &Arc<Self>, name: &str, members: &str) -> Result<RawJson> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let connection = self.connect().await?;
            let session = *connection.session_number.lock().await;
            let params = self.own_params(connection.is_modern(), members);
            let headers = self.headers(&connection, name, None);
            let limit = self.options.connect_timeout;
            let outcome = connection.own_request(self.next_id(), name, params.as_deref(), headers, limit).await;
            let again = match &outcome {
                RequestOutcome::Result(_) => false,
                outcome if is_session_lost(outcome) => self.renew_session(&connection, session).await?,
                _ => connection.closed_reason().is_some() && !connection.is_abandoned.load(Ordering::Relaxed),
            };
            if again && attempts < 2 {
                continue;
            }
            return match outcome {
                RequestOutcome::Result(result) => Ok(result),
                outcome => Err(failure_from_outcome(outcome, name, &self.target)),
            };
        }
    }

    /// All pages of a list.
    ///
    /// # Errors
    /// If a page cannot be fetched, or the list does not end.
    pub async fn list_pages(self: &Arc<Self>, name: &str) -> Result<Vec<RawJson>> {
        let mut pages: Vec<RawJson> = Vec::new();
        let mut cursors = HashSet::from([String::new()]);
        let (mut cursor, mut size) = (String::new(), 0);
        while cursors.len() <= MAX_PAGES {
            let page = self.request(name, &cursor).await?;
            size += page.get().len() as u64;
            if let Some(limit) = self.max_list_size.filter(|limit| size > *limit) {
                let what = format!("{name} is larger than {} over all its pages", format_size(limit));
                if pages.is_empty() {
                    let failure = Failure::new(ErrorKind::Protocol, what).server(&self.target.name);
                    return Err(failure.hint("accept more with --max-list-size SIZE"));
                }
                self.warn(&format!("{what}; what comes after {} is not used", counted(pages.len(), "page")));
                return Ok(pages);
            }
            let next = super::wire::member_text(page.get(), "nextCursor").filter(|next| *next != "null");
            let next = next.map(|next| format!(r#""cursor":{next}"#));
            pages.push(page);
            let Some(next) = next else { return Ok(pages) };
            if !cursors.insert(next.clone()) {
                break;
            }
            cursor = next;
        }
        self.warn(&format!("{name} does not end; what comes after {} is not used", counted(pages.len(), "page")));
        Ok(pages)
    }

    /// What the server said about itself when the connection was opened.
    #[must_use]
    pub fn introduction(&self, connection: &ServerConnection) -> Value {
        match connection.introduction() {
            Some(ServerIntroduction::Legacy(result) | ServerIntroduction::Modern(result)) => {
                serde_json::from_str(result.get()).unwrap_or_default()
            }
            None => Value::Null,
        }
    }

    /// The identity of a server from its introduction, in either era.
    #[must_use]
    pub fn server_info(introduction: &Value) -> Value {
        let of_meta = introduction.get("_meta").and_then(|all| all.get(meta::SERVER_INFO));
        of_meta.or_else(|| introduction.get("serverInfo")).cloned().unwrap_or_default()
    }

    /// Fails the requests that waited on a lost connection, or sends them again.
    pub(super) async fn fail_pending(self: &Arc<Self>, connection: &Arc<ServerConnection>, failure: &Failure) {
        for (id, waiting) in connection.mark_closed(failure) {
            match waiting {
                Pending::Own(sender) => drop(sender.send(RequestOutcome::Failed(failure.clone()))),
                Pending::Client(request) => {
                    self.finish(connection, id, request, RequestOutcome::Failed(failure.clone())).await;
                }
            }
        }
    }
}

/// The failure of requests whose connection was closed.
#[must_use]
pub fn connection_closed() -> Failure {
    Failure::new(ErrorKind::Unreachable, "the connection was closed")
}

/// Whether a legacy server no longer knows its session over HTTP (2025-11-25, basic/transports, "Session Management").
#[must_use]
pub fn is_session_lost(outcome: &RequestOutcome) -> bool {
    match outcome {
        RequestOutcome::UnexpectedResponse(response) => response.status == 404 && response.had_session_id,
        RequestOutcome::Error(_, status) => *status == Some(404),
        RequestOutcome::Result(_) | RequestOutcome::Failed(_) => false,
    }
}
