//! What the session sees of a transport: the traits, and the options that all connections of one run share.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderName;
use tokio::sync::{mpsc, watch};

use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RawJson;
use crate::secret::Secret;
use crate::transport::cookies::CookieJar;
#[cfg(unix)]
use crate::transport::kept::files::KeptSession;
use crate::transport::message::{Incoming, OutgoingMessage, UnexpectedResponse};
use crate::transport::recorder::Recorder;
use crate::transport::trace::Trace;

pub use futures_util::future::BoxFuture;

/// How long to wait for the end of the connection after a failed write.
pub(super) const END_DETECTION_TIMEOUT: Duration = Duration::from_millis(500);

/// The options that all connections of one run share.
#[derive(Clone, Default)]
pub struct TransportOptions {
    /// The time limit for starting, name look-up, connecting and TLS; `None` for no limit.
    pub connect_timeout: Option<Duration>,
    /// The same for the connections of HTTP+SSE that follow its stream, which may have less time.
    pub post_connect_timeout: Option<Duration>,
    /// Ends every wait.
    pub interrupt: Interrupt,
    /// Sees the messages.
    pub trace: Trace,
    /// Supplies credentials, for HTTP.
    pub authorize: Option<Arc<dyn Authorize>>,
    /// The server's cookies, for HTTP.
    pub cookies: CookieJar,
    /// Records the exchange.
    pub recorder: Recorder,
    /// The session that is used in place of a connection of one's own.
    #[cfg(unix)]
    pub kept: Option<Arc<KeptSession>>,
}

impl TransportOptions {
    /// At exit: waits until no token is being refreshed. The refresh may have been begun for a connection that was
    /// never opened.
    pub async fn wait_for_refresh(&self) {
        if let Some(authorize) = &self.authorize {
            authorize.wait_for_refresh().await;
        }
    }
}

/// Supplies the credentials of HTTP requests, and handles responses that require authentication.
///
/// Implemented by `auth`; the transport knows nothing else about logins.
pub trait Authorize: Send + Sync {
    /// The headers that authorize one request. Called for each request, since every DPoP proof is different.
    fn headers<'a>(
        &'a self,
        method: &'a str,
        url: &'a reqwest::Url,
    ) -> BoxFuture<'a, Result<Vec<(HeaderName, Secret)>>>;

    /// The server responded with 401, or with 403 and a challenge, to a request with this `Authorization` header; it
    /// may be an older one than [`Authorize::headers`] returns now. `Ok(true)`: there are new credentials, send the
    /// request again; `Ok(false)`: report the response.
    fn handle_rejection<'a>(
        &'a self,
        authorization: Option<&'a Secret>,
        refusal: &'a UnexpectedResponse,
    ) -> BoxFuture<'a, Result<bool>>;

    /// A response with another error status brought these challenges (RFC 9110 §11.6.1).
    fn store_challenges<'a>(&'a self, _challenges: &'a [String]) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// A response brought a nonce for the next proof to this origin (RFC 9449 §8.2). Called for responses to requests
    /// that carried a proof, and for 401 responses before [`Authorize::handle_rejection`].
    fn store_nonce(&self, _url: &reqwest::Url, _nonce: &str) {}

    /// Waits, for a limited time, until a token refresh that must not be interrupted has ended.
    fn wait_for_refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Whether the user is logging in right now: no time limit runs for the request that waits for it.
    fn login_in_progress(&self) -> bool {
        false
    }
}

/// Which transport it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// Standard streams of a child process.
    Stdio,
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// WebSocket.
    WebSocket,
    /// A Unix socket.
    Unix,
}

impl TransportKind {
    /// All of them.
    pub const ALL: [TransportKind; 5] =
        [TransportKind::Stdio, TransportKind::Http, TransportKind::Sse, TransportKind::WebSocket, TransportKind::Unix];

    /// Whether each message is an HTTP request with its own headers and its own response; otherwise one stream
    /// carries everything.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, TransportKind::Http | TransportKind::Sse)
    }

    /// The name in messages and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TransportKind::Stdio => "stdio",
            TransportKind::Http => "http",
            TransportKind::Sse => "sse",
            TransportKind::WebSocket => "websocket",
            TransportKind::Unix => "unix",
        }
    }
}

/// A connection to one server: what every transport does.
pub trait Transport: Send + Sync {
    /// Which it is.
    fn kind(&self) -> TransportKind;

    /// Sends one message.
    ///
    /// When this resolves, a request has been sent; its response, or why there is none, comes over the
    /// channel. A one-way message has been accepted: written, or over HTTP answered with 2xx.
    ///
    /// # Errors
    /// If the message cannot be delivered.
    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>>;

    /// The ID of the first request: others belong to other users of the same connection to the server.
    fn first_id(&self) -> u64 {
        1
    }

    /// The result of `initialize`, if another user of the same connection to the server has completed the handshake.
    fn handshake_result(&self) -> Option<&RawJson> {
        None
    }

    /// Stops waiting for the response to this request; over HTTP its stream is closed (`HTM-09`).
    fn abandon(&self, _id: u64) {}

    /// Closes the connection: ends the session over HTTP, and the child with its whole process group over stdio.
    ///
    /// The time is limited, and nothing is left running. If `patient` is false (the server did not respond, the user
    /// interrupted, or the server is known to ignore the end of its input), a child gets little time to exit.
    fn close(&self, patient: bool) -> BoxFuture<'_, CloseOutcome>;

    /// What the server printed or sent outside the protocol, for errors and time-outs.
    fn diagnostics(&self) -> Diagnostics {
        Diagnostics::default()
    }

    /// Whether the user is logging in, so that a request only seems to get no response.
    fn login_in_progress(&self) -> bool {
        false
    }

    /// The legacy session, over Streamable HTTP only.
    fn legacy_session(&self) -> Option<&dyn LegacyHttpSession> {
        None
    }
}

/// How a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseOutcome {
    /// The server closed its side, or there was no process to wait for.
    Closed,
    /// A child did not exit after its standard input was closed, and was terminated.
    Killed,
}

/// What a server printed or sent outside the protocol.
#[derive(Debug, Default)]
pub struct Diagnostics {
    /// The last lines of its stderr.
    pub stderr_tail: Vec<String>,
    /// The first thing it sent that was not a JSON-RPC message.
    pub first_non_message: Option<String>,
}

/// What a legacy server ties to one session over Streamable HTTP.
pub trait LegacyHttpSession: Send + Sync {
    /// Sets the negotiated revision: from now on a header names it (`HTL-02`), and broken streams are
    /// resumed (`HTL-07`).
    fn set_revision(&self, revision: Revision);

    /// Opens the stream for the server's own requests and notifications (`HTL-06`), and waits for a limited time until
    /// it is open. It is not an error if the server has none.
    fn listen(&self) -> BoxFuture<'_, ()>;

    /// Whether the stream of [`LegacyHttpSession::listen`] is open or being opened.
    fn is_listening(&self) -> bool;

    /// Waits until [`LegacyHttpSession::is_listening`] becomes false. Returns whether the server has such a stream: false
    /// if it refused to open one.
    fn listen_stream_closed(&self) -> BoxFuture<'_, bool>;

    /// Is changed when that stream is open again, and what the server sent in the meantime may be lost.
    fn stream_gaps(&self) -> Option<watch::Receiver<()>> {
        None
    }

    /// The session ID. A secret: a request that carries it is treated as ours.
    fn session_id(&self) -> Option<Secret>;

    /// Continues a session that an earlier run left open.
    fn resume_session(&self, session: &Secret);

    /// Forgets the session, so that a new one can be opened (`HTL-04`). Returns whether there was one.
    fn forget_session(&self) -> bool;
}

/// Waits for the next change of [`LegacyHttpSession::stream_gaps`]. Waits forever without such a stream.
pub async fn next_gap(gaps: &mut Option<watch::Receiver<()>>) {
    let changed = match gaps {
        Some(gaps) => gaps.changed().await.is_ok(),
        None => false,
    };
    if !changed {
        std::future::pending().await
    }
}

/// A transport and what comes back over it.
pub struct ConnectedTransport {
    /// Sends.
    pub transport: Arc<dyn Transport>,
    /// Receives.
    pub incoming: mpsc::Receiver<Incoming>,
}
