//! MCP over a URL: Streamable HTTP in its legacy and its modern shape (digest §2.2, §2.3), and HTTP+SSE
//! of 2024-11-05 (`legacy`).
//!
//! A request is a POST in a task of its own, which pumps the answer into the session's channel; to
//! abandon the request is to end that task, and with it the stream. Proxies are those of the endpoint,
//! else of the usual variables, but requests to a loopback host (`util/loopback.rs`) never go through a
//! proxy from the environment.

mod answer;
mod client;
mod detour;
mod events;
mod exchange;
mod exempt;
mod fault;
mod legacy;
mod names;
mod refusal;
mod resume;
mod sink;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tls;
mod upgrade;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, Url};
use tokio::sync::{Notify, mpsc, oneshot};

use self::client::Versions;
use self::exchange::{Answer, Ask, Core, SESSION, VERSION};
use self::sink::{Sink, Tasks, lock};
use super::{Boxed, Connection, Envelope, HttpEndpoint, HttpMode, MAX_MESSAGE, Options, Outgoing, Transport, Wire};
use crate::error::{Class, Result};
use crate::protocol::{method, revision::Revision};
use crate::secret::Secret;

pub use self::legacy::connect as connect_sse;
pub use self::refusal::failure as refusal_failure;
pub(super) use self::upgrade::{Asked, carrier, upgrade};

pub(crate) use self::client::Beside;
pub(crate) use self::exempt::proxied;
pub(crate) use self::fault::failure as fault;
pub(crate) use self::names::look_up;
pub(crate) use self::refusal::shown;

/// How long the server may take to show whether it offers a stream for its own requests (`HTL-06`).
const LISTEN: Duration = Duration::from_millis(300);
/// How long the end of a session may take; its outcome does not matter (`HTL-05`).
const FAREWELL: Duration = Duration::from_millis(300);
/// How long, and how much, of the body of an accepted one-way message is read, so that its connection
/// can be used again.
const DRAIN: (Duration, usize) = (Duration::from_millis(100), 64 * 1024);

/// Opens the way to a URL. Nothing is sent until the first message, except in mode [`HttpMode::Sse`],
/// where the stream comes first.
///
/// # Errors
/// [`Class::Config`] where a PEM file, the proxy or a header cannot be used;
/// in mode `Sse` also what [`connect_sse`] reports.
pub async fn connect(endpoint: &HttpEndpoint, options: &Options) -> Result<Connection> {
    match endpoint.mode {
        HttpMode::Sse => connect_sse(endpoint, options).await.map_err(|failure| {
            let refused = failure.class() == Class::Protocol || failure.details().early;
            let open = failure.details().hint.is_none();
            match refused && open {
                true => failure.hint("leave --transport out: it may speak the newer transport"),
                false => failure,
            }
        }),
        HttpMode::Auto | HttpMode::Streamable => streamable(endpoint, options, MAX_MESSAGE),
    }
}

fn streamable(endpoint: &HttpEndpoint, options: &Options, limit: usize) -> Result<Connection> {
    let core = Core::new(endpoint, options, Versions::Any)?;
    let (sender, incoming) = mpsc::unbounded_channel();
    let sink = Sink { incoming: sender, trace: options.trace.clone(), limit };
    let shared = Shared { core, sink, tasks: Tasks::default(), state: Mutex::default(), deaf: Notify::new() };
    Ok(Connection { transport: Arc::new(Streamable(Arc::new(shared))), incoming })
}

/// Streamable HTTP.
struct Streamable(Arc<Shared>);

/// What the tasks of one connection share.
struct Shared {
    core: Core,
    sink: Sink,
    tasks: Tasks,
    state: Mutex<State>,
    /// Told when the stream for the server's own messages has ended for good.
    deaf: Notify,
}

#[derive(Default)]
struct State {
    /// The session id of a legacy server.
    session: Option<HeaderValue>,
    /// The legacy revision agreed upon.
    revision: Option<Revision>,
    listening: bool,
}

impl Shared {
    /// The headers that tie a legacy request to its session and revision (`HTL-02`, `HTL-03`).
    fn legacy_headers(&self, headers: &mut HeaderMap) {
        let state = lock(&self.state);
        if let Some(session) = &state.session {
            headers.insert(SESSION, session.clone());
        }
        if let Some(revision) = state.revision.filter(|revision| *revision >= Revision::V2025_06_18) {
            headers.insert(VERSION, HeaderValue::from_static(revision.as_str()));
        }
    }

    /// Whether broken streams may be resumed: only a legacy server knows how (`HTL-07`, `HTM-10`).
    fn may_resume(&self) -> bool {
        lock(&self.state).revision.is_some()
    }

    fn post(&self, message: Envelope) -> Result<Ask> {
        let mut headers = post_headers(&message)?;
        // A modern message says its revision itself and belongs to no session; `initialize` begins one.
        if message.method != method::INITIALIZE && !headers.contains_key(VERSION) {
            self.legacy_headers(&mut headers);
        }
        Ok(Ask { method: Method::POST, url: self.core.url.clone(), headers, body: Some(message.body), insist: true })
    }

    /// Takes the session id from the answer to `initialize`.
    fn take_session(&self, response: &Response) {
        let Some(id) = response.headers().get(SESSION).filter(|_| response.status().is_success()) else { return };
        if !id.is_empty() && id.as_bytes().iter().all(u8::is_ascii_graphic) {
            let mut id = id.clone();
            id.set_sensitive(true);
            lock(&self.state).session = Some(id);
        } else {
            self.sink.trace.note("ignored a session id with other than visible ASCII characters");
        }
    }

    /// Sends a request and pumps its answer.
    async fn request(&self, id: u64, begins: bool, ask: Ask) {
        let in_session = ask.headers.contains_key(SESSION);
        match self.core.exchange(ask).await {
            Ok(Answer::Head(response, url)) => {
                if begins {
                    self.take_session(&response);
                }
                if let Some(events) = answer::read(&self.sink, id, in_session, response, url).await {
                    self.follow(id, events).await;
                }
            }
            Ok(Answer::Refused(refusal)) => self.sink.refused(id, refusal),
            Err(failure) => self.sink.broken(Some(id), failure),
        }
    }
}

/// The headers of a message: the transport's own, and those that mirror the message.
fn post_headers(message: &Envelope) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(message.headers.len() + 4);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &message.headers {
        let (name, value) = exchange::header(name, value)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

/// Sends a one-way message and waits until it is accepted.
///
/// # Errors
/// When it is not answered with 2xx.
async fn one_way(core: &Core, tasks: &Tasks, ask: Ask) -> Result<()> {
    let in_session = ask.headers.contains_key(SESSION);
    match core.exchange(ask).await? {
        Answer::Head(response, _) if response.status().is_success() => {
            drain(tasks, response);
            Ok(())
        }
        Answer::Head(response, url) => Err(refusal::failure(&refusal::read(response, &url, in_session).await)),
        Answer::Refused(refusal) => Err(refusal::failure(&refusal)),
    }
}

/// Reads what little may follow an acceptance.
fn drain(tasks: &Tasks, mut response: Response) {
    if response.content_length() == Some(0) {
        return;
    }
    tasks.start_other(async move {
        let (time, size) = DRAIN;
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

impl Transport for Streamable {
    fn wire(&self) -> Wire {
        Wire::Http
    }

    fn send(&self, message: Envelope) -> Boxed<'_, Result<()>> {
        Box::pin(async move {
            let shared = &self.0;
            let (what, begins) = (message.what, message.method == method::INITIALIZE);
            let ask = shared.post(message)?;
            match what {
                Outgoing::OneWay => one_way(&shared.core, &shared.tasks, ask).await,
                Outgoing::Request(id) => {
                    let worker = shared.clone();
                    shared.tasks.start(id, async move {
                        worker.request(id, begins, ask).await;
                        worker.tasks.done(id);
                    })
                }
            }
        })
    }

    fn abandon(&self, id: u64) {
        self.0.tasks.abandon(id);
    }

    fn agreed(&self, revision: Revision) {
        if !revision.is_modern() {
            lock(&self.0.state).revision = Some(revision);
        }
    }

    fn listen(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            if std::mem::replace(&mut lock(&self.0.state).listening, true) {
                return;
            }
            let (opened, stands) = oneshot::channel();
            let worker = self.0.clone();
            self.0.tasks.start_other(async move {
                worker.listen(opened).await;
                lock(&worker.state).listening = false;
                worker.deaf.notify_waiters();
            });
            let _ = tokio::time::timeout(LISTEN, stands).await;
        })
    }

    fn hears(&self) -> bool {
        lock(&self.0.state).listening
    }

    fn deaf(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            loop {
                let ended = self.0.deaf.notified();
                if !self.hears() {
                    return;
                }
                ended.await;
            }
        })
    }

    fn session(&self) -> Option<Secret> {
        let state = lock(&self.0.state);
        state.session.as_ref()?.to_str().ok().map(Secret::new)
    }

    fn resume(&self, session: &Secret) {
        if let Ok(mut id) = HeaderValue::from_str(session.reveal()) {
            id.set_sensitive(true);
            lock(&self.0.state).session = Some(id);
        }
    }

    fn busy(&self) -> bool {
        self.0.core.busy()
    }

    fn forget_session(&self) -> bool {
        lock(&self.0.state).session.take().is_some()
    }

    fn close(&self, _patient: bool) -> Boxed<'_, ()> {
        Box::pin(async move {
            let shared = &self.0;
            shared.tasks.close();
            let mut headers = HeaderMap::new();
            shared.legacy_headers(&mut headers);
            if lock(&shared.state).session.take().is_some() {
                let url: &Url = &shared.core.url;
                let goodbye = shared.core.once(&Method::DELETE, url, &headers, None);
                let _ = tokio::time::timeout(FAREWELL, goodbye).await;
            } else {
                // Lets the ended tasks drop their connections.
                tokio::task::yield_now().await;
            }
            shared.core.settle().await;
        })
    }
}

impl Drop for Streamable {
    fn drop(&mut self) {
        self.0.tasks.close();
    }
}
