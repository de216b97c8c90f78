//! Streamable HTTP, including the parts of it that only legacy servers have: the session (`HTL-02` to `HTL-05`), the
//! stream for the server's own messages (`HTL-06`), and responses that are resumed after a break (`HTL-07`, `HTL-08`).

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::event_stream::{self, EventStream, StreamEnd, StreamPosition};
use super::incoming::{ConnectionTasks, MessageSender};
use super::post::{post_headers, send_one_way};
use super::request::{EndpointClient, HttpRequest, PROTOCOL_VERSION_HEADER, SESSION_ID_HEADER, SendOutcome};
use super::response;
use super::tls::HttpVersions;
use super::unexpected_response;
use crate::error::{ErrorKind, Failure, Result, is_temporary_status};
use crate::protocol::{method, revision::Revision};
use crate::secret::Secret;
use crate::transport::connection::{
    BoxFuture, CloseOutcome, ConnectedTransport, LegacyHttpSession, Transport, TransportKind, TransportOptions,
};
use crate::transport::endpoint::HttpEndpoint;
use crate::transport::message::{MAX_MESSAGE, OutgoingKind, OutgoingMessage, incoming_channel};
use crate::util::lock::lock;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How many attempts to reconnect may fail in a row.
const MAX_RECONNECTS: u32 = 5;
/// How long the server may take to show whether it offers a stream for its own messages (`HTL-06`).
const LISTEN_TIMEOUT: Duration = Duration::from_millis(300);
/// How long the DELETE that ends a session may take; its outcome does not matter (`HTL-05`).
const DELETE_TIMEOUT: Duration = Duration::from_millis(300);

/// Creates the client. Nothing is sent before the first message.
///
/// # Errors
/// [`ErrorKind::Config`] if a PEM file, the proxy or a header cannot be used.
pub(super) fn connect(endpoint: &HttpEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    connect_with_limit(endpoint, options, MAX_MESSAGE)
}

/// The same with a limit for the size of one message, for tests.
pub(super) fn connect_with_limit(
    endpoint: &HttpEndpoint,
    options: &TransportOptions,
    limit: usize,
) -> Result<ConnectedTransport> {
    let client = EndpointClient::new(endpoint, options, HttpVersions::Any)?;
    let (sender, incoming) = incoming_channel();
    let connection = StreamableConnection {
        client,
        message_sender: MessageSender {
            incoming: sender,
            trace: options.trace.clone(),
            max_message_size: limit,
            has_warned_of_encoding: AtomicBool::new(false),
        },
        tasks: ConnectionTasks::default(),
        state: Mutex::default(),
        listen_changed: Notify::new(),
        stream_gaps: watch::Sender::default(),
    };
    Ok(ConnectedTransport { transport: Arc::new(StreamableTransport(Arc::new(connection))), incoming })
}

/// Streamable HTTP.
struct StreamableTransport(Arc<StreamableConnection>);

/// What the tasks of one connection share.
struct StreamableConnection {
    client: EndpointClient,
    message_sender: MessageSender,
    tasks: ConnectionTasks,
    state: Mutex<LegacyState>,
    /// Notified when the stream for the server's own messages is open, and when it has ended and is not opened again.
    listen_changed: Notify,
    /// Changed when that stream is open again, and what the server sent in the meantime may be lost.
    stream_gaps: watch::Sender<()>,
}

/// What is known about a legacy server's session.
#[derive(Default)]
struct LegacyState {
    session_id: Option<HeaderValue>,
    /// The negotiated revision.
    revision: Option<Revision>,
    /// The task that reads the stream for the server's own messages, while there is one.
    listener: Option<AbortHandle>,
    /// Whether that stream was opened.
    has_stream_opened: bool,
    /// Whether that stream was requested before in this session, by a task that may have ended.
    was_stream_requested: bool,
    /// Whether the server refused it, so that it has none.
    is_stream_refused: bool,
}

/// The result of a GET for a stream.
enum StreamOpening {
    Stream(Box<EventStream>),
    /// Not now, perhaps later.
    RetryLater(Failure),
    /// Not any more, and whether the server refused it: otherwise the session has ended, say.
    Unavailable(Failure, bool),
}

impl StreamableConnection {
    /// Adds the headers that tie a legacy request to its session and revision (`HTL-02`, `HTL-03`).
    fn add_legacy_headers(&self, headers: &mut HeaderMap) {
        let state = lock(&self.state);
        if let Some(session) = &state.session_id {
            headers.insert(SESSION_ID_HEADER, session.clone());
        }
        if let Some(revision) = state.revision.filter(|revision| *revision >= Revision::V2025_06_18) {
            headers.insert(PROTOCOL_VERSION_HEADER, HeaderValue::from_static(revision.as_str()));
        }
    }

    /// Whether broken streams may be resumed: only legacy servers support it (`HTL-07`, `HTM-10`).
    fn may_resume(&self) -> bool {
        lock(&self.state).revision.is_some()
    }

    fn post_request(&self, message: OutgoingMessage) -> Result<HttpRequest> {
        let mut headers = post_headers(&message)?;
        // A modern message has its own revision header and no session; `initialize` begins a session.
        if message.method != method::INITIALIZE && !headers.contains_key(PROTOCOL_VERSION_HEADER) {
            self.add_legacy_headers(&mut headers);
        }
        Ok(HttpRequest {
            method: Method::POST,
            url: self.client.url.clone(),
            headers,
            body: Some(message.body),
            may_log_in: true,
        })
    }

    /// Stores the session ID from the response to `initialize`.
    fn store_session_id(&self, response: &Response) {
        let Some(id) = response.headers().get(SESSION_ID_HEADER).filter(|_| response.status().is_success()) else {
            return;
        };
        if !id.is_empty() && id.as_bytes().iter().all(u8::is_ascii_graphic) {
            let mut id = id.clone();
            id.set_sensitive(true);
            lock(&self.state).session_id = Some(id);
        } else {
            self.message_sender.trace.note("ignored a session ID with characters other than visible ASCII");
        }
    }

    /// Sends a request and forwards its response.
    async fn send_request(&self, id: u64, is_initialize: bool, request: HttpRequest) {
        let in_session = request.headers.contains_key(SESSION_ID_HEADER);
        match self.client.send(request).await {
            Ok(SendOutcome::Response(response, url)) => {
                if is_initialize {
                    self.store_session_id(&response);
                }
                if let Some(events) = response::read_response(&self.message_sender, id, in_session, response, url).await
                {
                    self.forward_response(id, events).await;
                }
            }
            Ok(SendOutcome::Unauthorized(unexpected)) => {
                self.message_sender.send_unexpected_response(id, unexpected).await
            }
            Err(failure) => self.message_sender.send_failure(Some(id), failure).await,
        }
    }

    /// Forwards the response to a request from its stream, and from those that resume it.
    async fn forward_response(&self, id: u64, events: EventStream) {
        let mut position = StreamPosition::default();
        let mut end = event_stream::forward_messages(&self.message_sender, events, Some(id), &mut position).await;
        let url = &self.client.url;
        let (mut failed, mut fruitless) = (0, 0);
        loop {
            let why = match end {
                StreamEnd::Answered => return,
                StreamEnd::Unreadable(failure) => return self.message_sender.send_failure(Some(id), failure).await,
                StreamEnd::Incomplete(why) => why,
            };
            if position.last_event_id.is_none() || !self.may_resume() || failed >= MAX_RECONNECTS {
                let failure = event_stream::missing_response_failure(url, why, &position);
                return self.message_sender.send_failure(Some(id), failure).await;
            }
            tokio::time::sleep(position.reconnect_delay(fruitless)).await;
            end = match self.open_stream(&position).await {
                StreamOpening::Stream(events) => {
                    failed = 0;
                    let end =
                        event_stream::forward_messages(&self.message_sender, *events, Some(id), &mut position).await;
                    fruitless = if position.has_progressed { 0 } else { fruitless + 1 };
                    end
                }
                StreamOpening::RetryLater(failure) => {
                    failed += 1;
                    fruitless += 1;
                    StreamEnd::Incomplete(Some(failure))
                }
                // Not reported as the response to the request: the server accepted that long ago, and the session
                // might send it again.
                StreamOpening::Unavailable(why, _) => {
                    let message = &why.details().message;
                    let failure = event_stream::missing_response_failure(url, None, &position)
                        .cause(format!("cannot resume it: {message}"));
                    return self.message_sender.send_failure(Some(id), failure).await;
                }
            };
        }
    }

    /// Keeps the stream for the server's own messages open as long as the server offers one.
    async fn keep_listening(&self) {
        let trace = &self.message_sender.trace;
        let mut position = StreamPosition::default();
        let (mut failed, mut fruitless) = (0, 0);
        let mut is_first = !std::mem::replace(&mut lock(&self.state).was_stream_requested, true);
        while failed < MAX_RECONNECTS {
            match self.open_stream(&position).await {
                StreamOpening::Stream(events) => {
                    lock(&self.state).has_stream_opened = true;
                    self.listen_changed.notify_waiters();
                    // With the ID of the last event, the server sends those that followed it.
                    if !is_first && position.last_event_id.is_none() {
                        self.stream_gaps.send_replace(());
                    }
                    failed = 0;
                    let opened = Instant::now();
                    if let StreamEnd::Unreadable(failure) =
                        event_stream::forward_messages(&self.message_sender, *events, None, &mut position).await
                    {
                        trace.note(&format!("stopped listening: {failure}"));
                        return;
                    }
                    // A proxy, say, ends streams on which nothing comes for a minute.
                    let was_stable = opened.elapsed() > position.reconnect_delay(fruitless);
                    fruitless = if position.has_progressed || was_stable { 0 } else { fruitless + 1 };
                }
                StreamOpening::RetryLater(failure) => {
                    trace.note(&format!("cannot open the stream for the server's own messages: {failure}"));
                    failed += 1;
                    fruitless += 1;
                }
                StreamOpening::Unavailable(failure, is_refused) => {
                    trace.note(&format!("the server has no stream for its own messages: {failure}"));
                    let mut state = lock(&self.state);
                    state.is_stream_refused = is_refused && !state.has_stream_opened;
                    return;
                }
            }
            is_first = false;
            tokio::time::sleep(position.reconnect_delay(fruitless)).await;
        }
    }

    /// Requests a stream: a new one, or the rest of one from `position`.
    async fn open_stream(&self, position: &StreamPosition) -> StreamOpening {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.add_legacy_headers(&mut headers);
        if let Some(id) = &position.last_event_id {
            match HeaderValue::from_str(id) {
                Ok(id) => drop(headers.insert(LAST_EVENT_ID, id)),
                // A header cannot carry this ID, so the stream cannot be resumed.
                Err(error) => {
                    return StreamOpening::Unavailable(Failure::new(ErrorKind::Protocol, error.to_string()), false);
                }
            }
        }
        // Do not start a login for a stream that the server need not even offer.
        let is_resumption = position.last_event_id.is_some();
        match self.request_stream(headers, is_resumption).await {
            Ok(opened) => opened,
            Err(failure) if matches!(failure.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) => {
                StreamOpening::RetryLater(failure)
            }
            Err(failure) => StreamOpening::Unavailable(failure, false),
        }
    }

    async fn request_stream(&self, headers: HeaderMap, may_log_in: bool) -> Result<StreamOpening> {
        let in_session = headers.contains_key(SESSION_ID_HEADER);
        let request =
            HttpRequest { method: Method::GET, url: self.client.url.clone(), headers, body: None, may_log_in };
        let (response, url) = match self.client.send(request).await? {
            SendOutcome::Response(response, url) => (response, url),
            SendOutcome::Unauthorized(unexpected) => {
                return Ok(StreamOpening::Unavailable(unexpected.to_failure(), true));
            }
        };
        if response.status().is_success() && response::media_type(&response) == "text/event-stream" {
            let events = EventStream::new(response, url, self.message_sender.max_message_size);
            return Ok(StreamOpening::Stream(Box::new(events)));
        }
        let unexpected = unexpected_response::from_response(response, &url, in_session).await;
        let failure = unexpected.to_failure();
        Ok(if is_temporary_status(unexpected.status) {
            StreamOpening::RetryLater(failure)
        } else {
            // The server may have forgotten the session (`HTL-04`).
            StreamOpening::Unavailable(failure, !(in_session && unexpected.status == 404))
        })
    }
}

impl Transport for StreamableTransport {
    fn kind(&self) -> TransportKind {
        TransportKind::Http
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let connection = &self.0;
            let (kind, is_initialize) = (message.kind, message.method == method::INITIALIZE);
            let request = connection.post_request(message)?;
            match kind {
                OutgoingKind::OneWay => send_one_way(&connection.client, &connection.tasks, request).await,
                OutgoingKind::Request(id) => {
                    let shared = connection.clone();
                    connection.tasks.spawn_for_request(id, async move {
                        shared.send_request(id, is_initialize, request).await;
                        shared.tasks.finished(id);
                    })
                }
            }
        })
    }

    fn abandon(&self, id: u64) {
        self.0.tasks.abort(id);
    }

    fn login_in_progress(&self) -> bool {
        self.0.client.login_in_progress()
    }

    fn legacy_session(&self) -> Option<&dyn LegacyHttpSession> {
        Some(self)
    }

    fn close(&self, _patient: bool) -> BoxFuture<'_, CloseOutcome> {
        Box::pin(async move {
            let connection = &self.0;
            connection.tasks.abort_all();
            let mut headers = HeaderMap::new();
            connection.add_legacy_headers(&mut headers);
            if self.forget_session() {
                let (client, url) = (&connection.client, connection.client.url.clone());
                let request = HttpRequest { method: Method::DELETE, url, headers, body: None, may_log_in: false };
                let delete = Box::pin(client.send(request));
                let _ = tokio::time::timeout(DELETE_TIMEOUT, delete).await;
            } else {
                // Lets the aborted tasks drop their connections.
                tokio::task::yield_now().await;
            }
            CloseOutcome::Closed
        })
    }
}

impl LegacyHttpSession for StreamableTransport {
    fn set_revision(&self, revision: Revision) {
        if !revision.is_modern() {
            lock(&self.0.state).revision = Some(revision);
        }
    }

    fn listen(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            {
                let mut state = lock(&self.0.state);
                if state.listener.is_none() {
                    let shared = self.0.clone();
                    (state.has_stream_opened, state.is_stream_refused) = (false, false);
                    state.listener = self.0.tasks.spawn_background(async move {
                        shared.keep_listening().await;
                        lock(&shared.state).listener = None;
                        shared.listen_changed.notify_waiters();
                    });
                }
            }
            // Also if another caller has begun to open it.
            let opened = async {
                loop {
                    let changed = self.0.listen_changed.notified();
                    let is_settled = {
                        let state = lock(&self.0.state);
                        state.has_stream_opened || state.listener.is_none()
                    };
                    if is_settled {
                        return;
                    }
                    changed.await;
                }
            };
            let _ = tokio::time::timeout(LISTEN_TIMEOUT, opened).await;
        })
    }

    fn is_listening(&self) -> bool {
        lock(&self.0.state).listener.is_some()
    }

    fn listen_stream_closed(&self) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            loop {
                let ended = self.0.listen_changed.notified();
                if !self.is_listening() {
                    return !lock(&self.0.state).is_stream_refused;
                }
                ended.await;
            }
        })
    }

    fn stream_gaps(&self) -> Option<watch::Receiver<()>> {
        Some(self.0.stream_gaps.subscribe())
    }

    fn session_id(&self) -> Option<Secret> {
        let state = lock(&self.0.state);
        state.session_id.as_ref()?.to_str().ok().map(Secret::new)
    }

    fn resume_session(&self, session: &Secret) {
        if let Ok(mut id) = HeaderValue::from_str(session.reveal()) {
            id.set_sensitive(true);
            lock(&self.0.state).session_id = Some(id);
        }
    }

    fn forget_session(&self) -> bool {
        let mut state = lock(&self.0.state);
        state.was_stream_requested = false;
        // The stream belongs to the session: the next session has another one.
        if let Some(listener) = state.listener.take() {
            listener.abort();
            self.0.listen_changed.notify_waiters();
        }
        state.session_id.take().is_some()
    }
}

impl Drop for StreamableTransport {
    fn drop(&mut self) {
        self.0.tasks.abort_all();
    }
}
