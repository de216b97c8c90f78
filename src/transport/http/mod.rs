//! MCP over a URL: Streamable HTTP in its legacy and its modern shape (digest §2.2, §2.3), and HTTP+SSE
//! of 2024-11-05 (`legacy`).
//!
//! A request is a POST in a task of its own, which pumps the answer into the session's channel; to
//! abandon the request is to end that task, and with it the stream. Proxies are those of the endpoint,
//! else of the usual variables, but requests to a loopback host (`util/loopback.rs`) never go through a
//! proxy from the environment.

mod client;
mod error;
mod event_stream;
mod incoming;
mod names;
mod no_proxy;
mod proxy_env;
mod request;
mod response;
mod resume;
#[cfg(test)]
mod scripted_server;
mod sse_transport;
#[cfg(test)]
mod tests;
mod tls;
mod unexpected_response;
mod upgrade;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, Url};
use tokio::sync::{Notify, mpsc, oneshot};

use self::client::HttpVersions;
use super::{
    BoxFuture, ConnectedTransport, HttpEndpoint, HttpMode, MAX_MESSAGE, OutgoingKind, OutgoingMessage, Transport,
    TransportKind, TransportOptions,
};
use crate::error::{ErrorKind, Result};
use crate::protocol::{method, revision::Revision};
use crate::secret::Secret;
use crate::transport::http::incoming::{ConnectionTasks, MessageSender, lock};
use crate::transport::http::request::{
    EndpointClient, HttpRequest, HttpResponse, PROTOCOL_VERSION_HEADER, SESSION_ID_HEADER,
};

pub(super) use self::upgrade::{UpgradeRequest, http_url_of, upgrade};
pub use crate::transport::http::sse_transport::connect as connect_sse;
pub use crate::transport::http::unexpected_response::unexpected_response_failure;

pub(crate) use self::client::AuxiliaryClient;
pub(crate) use self::names::look_up;
pub(crate) use crate::transport::http::error::request_failure;
pub(crate) use crate::transport::http::no_proxy::is_proxied;
pub(crate) use crate::transport::http::unexpected_response::redacted_url;

/// How long the server may take to show whether it offers a stream for its own requests (`HTL-06`).
const LISTEN_TIMEOUT: Duration = Duration::from_millis(300);
/// How long the end of a session may take; its outcome does not matter (`HTL-05`).
const DELETE_TIMEOUT: Duration = Duration::from_millis(300);
/// How long, and how much, of the body of an accepted one-way message is read, so that its connection
/// can be used again.
const DRAIN_LIMITS: (Duration, usize) = (Duration::from_millis(100), 64 * 1024);

/// Opens the way to a URL. Nothing is sent until the first message, except in mode [`HttpMode::Sse`],
/// where the stream comes first.
///
/// # Errors
/// [`ErrorKind::Config`] where a PEM file, the proxy or a header cannot be used;
/// in mode `Sse` also what [`connect_sse`] reports.
pub async fn connect(endpoint: &HttpEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    match endpoint.mode {
        HttpMode::Sse => connect_sse(endpoint, options).await.map_err(|failure| {
            let refused = failure.kind() == ErrorKind::Protocol || failure.details().maybe_starting;
            let open = failure.details().hint.is_none();
            match refused && open {
                true => failure.hint("leave --transport out: it may speak the newer transport"),
                false => failure,
            }
        }),
        HttpMode::Auto | HttpMode::Streamable => connect_streamable(endpoint, options, MAX_MESSAGE),
    }
}

fn connect_streamable(endpoint: &HttpEndpoint, options: &TransportOptions, limit: usize) -> Result<ConnectedTransport> {
    let core = EndpointClient::new(endpoint, options, HttpVersions::Any)?;
    let (sender, incoming) = mpsc::unbounded_channel();
    let sink = MessageSender { incoming: sender, trace: options.trace.clone(), max_message_size: limit };
    let shared = StreamableConnection {
        client: core,
        message_sender: sink,
        tasks: ConnectionTasks::default(),
        state: Mutex::default(),
        listen_ended: Notify::new(),
    };
    Ok(ConnectedTransport { transport: Arc::new(StreamableTransport(Arc::new(shared))), incoming })
}

/// Streamable HTTP.
struct StreamableTransport(Arc<StreamableConnection>);

/// What the tasks of one connection share.
struct StreamableConnection {
    client: EndpointClient,
    message_sender: MessageSender,
    tasks: ConnectionTasks,
    state: Mutex<StreamableSession>,
    /// Told when the stream for the server's own messages has ended for good.
    listen_ended: Notify,
}

#[derive(Default)]
struct StreamableSession {
    /// The session id of a legacy server.
    session_id: Option<HeaderValue>,
    /// The legacy revision agreed upon.
    revision: Option<Revision>,
    is_listening: bool,
}

impl StreamableConnection {
    /// The headers that tie a legacy request to its session and revision (`HTL-02`, `HTL-03`).
    fn add_legacy_headers(&self, headers: &mut HeaderMap) {
        let state = lock(&self.state);
        if let Some(session) = &state.session_id {
            headers.insert(SESSION_ID_HEADER, session.clone());
        }
        if let Some(revision) = state.revision.filter(|revision| *revision >= Revision::V2025_06_18) {
            headers.insert(PROTOCOL_VERSION_HEADER, HeaderValue::from_static(revision.as_str()));
        }
    }

    /// Whether broken streams may be resumed: only a legacy server knows how (`HTL-07`, `HTM-10`).
    fn may_resume(&self) -> bool {
        lock(&self.state).revision.is_some()
    }

    fn post_request(&self, message: OutgoingMessage) -> Result<HttpRequest> {
        let mut headers = post_headers(&message)?;
        // A modern message says its revision itself and belongs to no session; `initialize` begins one.
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

    /// Takes the session id from the answer to `initialize`.
    fn store_session_id(&self, response: &Response) {
        let Some(id) = response.headers().get(SESSION_ID_HEADER).filter(|_| response.status().is_success()) else {
            return;
        };
        if !id.is_empty() && id.as_bytes().iter().all(u8::is_ascii_graphic) {
            let mut id = id.clone();
            id.set_sensitive(true);
            lock(&self.state).session_id = Some(id);
        } else {
            self.message_sender.trace.note("ignored a session id with other than visible ASCII characters");
        }
    }

    /// Sends a request and pumps its answer.
    async fn send_request(&self, id: u64, begins: bool, ask: HttpRequest) {
        let in_session = ask.headers.contains_key(SESSION_ID_HEADER);
        match self.client.send(ask).await {
            Ok(HttpResponse::Head(response, url)) => {
                if begins {
                    self.store_session_id(&response);
                }
                if let Some(events) = response::read_response(&self.message_sender, id, in_session, response, url).await
                {
                    self.forward_response(id, events).await;
                }
            }
            Ok(HttpResponse::Unauthorized(refusal)) => self.message_sender.send_unexpected_response(id, refusal),
            Err(failure) => self.message_sender.send_failure(Some(id), failure),
        }
    }
}

/// The headers of a message: the transport's own, and those that mirror the message.
fn post_headers(message: &OutgoingMessage) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(message.headers.len() + 4);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &message.headers {
        let (name, value) = request::parse_header(name, value)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Sends a one-way message and waits until it is accepted.
///
/// # Errors
/// When it is not answered with 2xx.
async fn send_one_way(core: &EndpointClient, tasks: &ConnectionTasks, ask: HttpRequest) -> Result<()> {
    let in_session = ask.headers.contains_key(SESSION_ID_HEADER);
    match core.send(ask).await? {
        HttpResponse::Head(response, _) if response.status().is_success() => {
            drain_body(tasks, response);
            Ok(())
        }
        HttpResponse::Head(response, url) => Err(unexpected_response::unexpected_response_failure(
            &unexpected_response::from_response(response, &url, in_session).await,
        )),
        HttpResponse::Unauthorized(refusal) => Err(unexpected_response::unexpected_response_failure(&refusal)),
    }
}

/// Reads what little may follow an acceptance.
fn drain_body(tasks: &ConnectionTasks, mut response: Response) {
    if response.content_length() == Some(0) {
        return;
    }
    tasks.spawn_background(async move {
        let (time, size) = DRAIN_LIMITS;
        let rest = async {
            let mut read = 0;
            while let Ok(Some(chunk)) = response.chunk().await {
                read += chunk.len();
                if read > size {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(time, rest).await;
    });
}

impl Transport for StreamableTransport {
    fn kind(&self) -> TransportKind {
        TransportKind::Http
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let shared = &self.0;
            let (what, begins) = (message.kind, message.method == method::INITIALIZE);
            let ask = shared.post_request(message)?;
            match what {
                OutgoingKind::OneWay => send_one_way(&shared.client, &shared.tasks, ask).await,
                OutgoingKind::Request(id) => {
                    let worker = shared.clone();
                    shared.tasks.spawn_for_request(id, async move {
                        worker.send_request(id, begins, ask).await;
                        worker.tasks.finished(id);
                    })
                }
            }
        })
    }

    fn abandon(&self, id: u64) {
        self.0.tasks.abort(id);
    }

    fn set_revision(&self, revision: Revision) {
        if !revision.is_modern() {
            lock(&self.0.state).revision = Some(revision);
        }
    }

    fn listen(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if std::mem::replace(&mut lock(&self.0.state).is_listening, true) {
                return;
            }
            let (opened, stands) = oneshot::channel();
            let worker = self.0.clone();
            self.0.tasks.spawn_background(async move {
                worker.keep_listening(opened).await;
                lock(&worker.state).is_listening = false;
                worker.listen_ended.notify_waiters();
            });
            let _ = tokio::time::timeout(LISTEN_TIMEOUT, stands).await;
        })
    }

    fn is_listening(&self) -> bool {
        lock(&self.0.state).is_listening
    }

    fn listen_stream_closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let ended = self.0.listen_ended.notified();
                if !self.is_listening() {
                    return;
                }
                ended.await;
            }
        })
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

    fn login_in_progress(&self) -> bool {
        self.0.client.login_in_progress()
    }

    fn forget_session(&self) -> bool {
        lock(&self.0.state).session_id.take().is_some()
    }

    fn close(&self, _patient: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let shared = &self.0;
            shared.tasks.abort_all();
            let mut headers = HeaderMap::new();
            shared.add_legacy_headers(&mut headers);
            if lock(&shared.state).session_id.take().is_some() {
                let url: &Url = &shared.client.url;
                let goodbye = shared.client.send_once(&Method::DELETE, url, &headers, None);
                let _ = tokio::time::timeout(DELETE_TIMEOUT, goodbye).await;
            } else {
                // Lets the ended tasks drop their connections.
                tokio::task::yield_now().await;
            }
            shared.client.wait_for_refresh().await;
        })
    }
}

impl Drop for StreamableTransport {
    fn drop(&mut self) {
        self.0.tasks.abort_all();
    }
}
