//! How messages reach a server and come back: the one factory that every command goes through.
//!
//! A transport carries JSON-RPC messages and nothing more: it knows neither methods' meaning nor
//! eras. What comes back arrives on one channel, tagged with the request on whose stream it came.

pub mod http;
mod message_reader;
mod message_writer;
pub mod process;
pub mod sse;
pub mod stdio;
pub mod trace;
#[cfg(unix)]
mod unix;
mod websocket;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

#[cfg(not(unix))]
use crate::error::ErrorKind;
use crate::error::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RpcMessage;
use crate::secret::Secret;
use trace::Trace;

/// A boxed future, for the traits that are used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The longest message accepted, in bytes (`STD-09`, `SEC-07`).
pub const MAX_MESSAGE: usize = 256 * 1024 * 1024;

/// Where a server is.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// A child process that speaks over its standard streams.
    Stdio(StdioEndpoint),
    /// A URL whose scheme is `http` or `https`.
    Http(HttpEndpoint),
    /// A URL whose scheme is `ws` or `wss`; its mode has no meaning.
    WebSocket(HttpEndpoint),
    /// A Unix socket on which messages are lines, as on the standard streams of a child.
    Unix(UnixEndpoint),
}

impl Endpoint {
    /// The transport that is tried first.
    #[must_use]
    pub fn transport_kind(&self) -> TransportKind {
        match self {
            Endpoint::Stdio(_) => TransportKind::Stdio,
            Endpoint::Http(endpoint) if endpoint.mode == HttpMode::Sse => TransportKind::Sse,
            Endpoint::Http(_) => TransportKind::Http,
            Endpoint::WebSocket(_) => TransportKind::WebSocket,
            Endpoint::Unix(_) => TransportKind::Unix,
        }
    }

    /// Where the first request over HTTP goes, if one does: a web socket begins with one, too.
    #[must_use]
    pub fn http_endpoint(&self) -> Option<HttpEndpoint> {
        match self {
            Endpoint::Http(endpoint) => Some(endpoint.clone()),
            Endpoint::WebSocket(endpoint) => {
                let url = http::http_url_of(&endpoint.url).ok()?;
                Some(HttpEndpoint { url, ..endpoint.clone() })
            }
            Endpoint::Stdio(_) | Endpoint::Unix(_) => None,
        }
    }
}

/// A server that is started as a child process.
#[derive(Clone, Debug, Default)]
pub struct StdioEndpoint {
    /// The program; looked up in the child's `CALLBACK_PATH` when it has no slash.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// What it inherits of our environment.
    pub inherited_env: InheritedEnv,
    /// The variables that are set for this server, over what it inherits.
    pub env: BTreeMap<String, Secret>,
    /// Its working directory; ours where `None`.
    pub cwd: Option<PathBuf>,
}

/// What a child inherits of our environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InheritedEnv {
    /// Everything but these variables. With none to leave out, nothing is copied.
    AllBut(Vec<String>),
    /// These variables and nothing else.
    Only(BTreeMap<String, Secret>),
}

impl Default for InheritedEnv {
    fn default() -> Self {
        InheritedEnv::AllBut(Vec::new())
    }
}

/// Which of the HTTP transports to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpMode {
    /// Streamable HTTP; HTTP+SSE (2024-11-05) where the server turns out to speak only that.
    #[default]
    Auto,
    /// Streamable HTTP only.
    Streamable,
    /// HTTP+SSE only.
    Sse,
}

/// A server behind a URL.
#[derive(Clone, Debug)]
pub struct HttpEndpoint {
    /// The URL.
    pub url: reqwest::Url,
    /// Configured headers. They belong to this endpoint only and never follow a redirect to another origin.
    pub headers: Vec<(String, Secret)>,
    /// Which transport.
    pub mode: HttpMode,
    /// Trust and identity.
    pub tls: TlsOptions,
    /// A proxy for this endpoint; the usual variables where `None`.
    pub proxy: Option<Secret>,
    /// The Unix socket to connect to, in place of the URL's host and port, and of any proxy.
    pub unix_socket: Option<PathBuf>,
}

/// A server that listens on a Unix socket.
#[derive(Clone, Debug)]
pub struct UnixEndpoint {
    /// The socket.
    pub path: PathBuf,
}

/// How TLS peers are checked and how we show who we are.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Trust these authorities (PEM) besides the system's.
    pub cacert: Option<PathBuf>,
    /// Our certificate chain (PEM).
    pub cert: Option<PathBuf>,
    /// Its key (PEM); may be in the same file.
    pub key: Option<PathBuf>,
    /// Check nothing.
    pub insecure: bool,
}

/// What every connection of one run shares.
#[derive(Clone, Default)]
pub struct TransportOptions {
    /// How long start, name look-up, connection and TLS may take; `None` waits for ever.
    pub connect_timeout: Option<Duration>,
    /// Ends every wait.
    pub interrupt: Interrupt,
    /// Sees the exchange.
    pub trace: Trace,
    /// Supplies credentials, for HTTP.
    pub authorize: Option<Arc<dyn Authorize>>,
}

/// Supplies the credentials of HTTP requests, and answers a server's demand for them.
///
/// Implemented by `auth`; the transport asks it and never sees what lies behind.
pub trait Authorize: Send + Sync {
    /// The headers that authorise one request, asked for before each (DPoP proofs differ each time).
    fn headers<'a>(&'a self, method: &'a str, url: &'a reqwest::Url) -> BoxFuture<'a, Result<Vec<(String, Secret)>>>;

    /// The server refused with 401, or with 403 and a challenge. `Ok(true)`: new credentials are there,
    /// send the request once more; `Ok(false)`: nothing to be done, report the refusal.
    fn handle_unauthorized<'a>(&'a self, refusal: &'a UnexpectedResponse) -> BoxFuture<'a, Result<bool>>;

    /// An answer brought a nonce for the next proof to this origin (RFC 9449 §8.2). Told of answers to requests that
    /// carried a proof, and of refusals, before [`Authorize::handle_unauthorized`].
    fn store_nonce(&self, _url: &reqwest::Url, _nonce: &str) {}

    /// Waits, not for long, until what must not be cut off has ended: a token that is being renewed.
    fn wait_for_refresh(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Whether a person is logging in right now, so that no clock runs against the request that waits for it.
    fn login_in_progress(&self) -> bool {
        false
    }
}

/// What one outgoing message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutgoingKind {
    /// A request with this id; an answer is awaited.
    Request(u64),
    /// A notification, or our answer to a request of the server.
    OneWay,
}

/// One message to be sent.
#[derive(Clone, Debug)]
pub struct OutgoingMessage {
    /// Request or not.
    pub kind: OutgoingKind,
    /// The method, where it has one; `initialize` opens a session over HTTP.
    pub method: &'static str,
    /// The JSON-RPC message, on one line.
    pub body: String,
    /// Headers that mirror the message, over HTTP (`HTM-02` to `HTM-05`).
    pub headers: Vec<(String, String)>,
}

/// Something that came back.
#[derive(Debug)]
pub struct Incoming {
    /// The request on whose own stream it came (HTTP); `None` on a stream shared by all.
    pub request_id: Option<u64>,
    /// What it is.
    pub item: IncomingItem,
}

/// What came back.
#[derive(Debug)]
pub enum IncomingItem {
    /// A JSON-RPC message, and the HTTP status it came under where it came as a plain body.
    Message(RpcMessage, Option<u16>),
    /// An HTTP answer without a JSON-RPC message.
    UnexpectedResponse(UnexpectedResponse),
    /// The way back is gone: for the request `on`, or for all.
    Failed(Failure),
}

/// An HTTP answer that is not what was asked for.
#[derive(Clone, Debug)]
pub struct UnexpectedResponse {
    /// The URL asked.
    pub url: String,
    /// The status.
    pub status: u16,
    /// `Content-Type`, where there is one.
    pub content_type: Option<String>,
    /// All `WWW-Authenticate` lines.
    pub challenges: Vec<String>,
    /// `Retry-After` as a delay, where there is one.
    pub retry_after: Option<Duration>,
    /// `Location` as a whole URL, where there is one.
    pub location: Option<String>,
    /// `DPoP-Nonce`, where there is one (RFC 9449 §8).
    pub dpop_nonce: Option<String>,
    /// The address that answered: the server's, or that of a proxy before it.
    pub remote_ip: Option<IpAddr>,
    /// The first part of the body, as text.
    pub body: String,
    /// Whether the request carried a session id.
    pub had_session_id: bool,
}

/// Which transport it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportKind {
    /// Standard streams of a child.
    Stdio,
    /// Streamable HTTP.
    Http,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// WebSocket.
    WebSocket,
    /// Lines over a Unix socket.
    Unix,
}

impl TransportKind {
    /// All of them.
    pub const ALL: [TransportKind; 5] =
        [TransportKind::Stdio, TransportKind::Http, TransportKind::Sse, TransportKind::WebSocket, TransportKind::Unix];

    /// Whether requests are HTTP requests, each with headers and an end of its own; otherwise one stream
    /// carries everything.
    #[must_use]
    pub fn is_http(self) -> bool {
        matches!(self, TransportKind::Http | TransportKind::Sse)
    }

    /// The name for people and JSON.
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

/// A way to one server.
pub trait Transport: Send + Sync {
    /// Which it is.
    fn kind(&self) -> TransportKind;

    /// Sends one message.
    ///
    /// A request is on its way when this resolves; its answer, or why there is none, comes over the
    /// channel. A one-way message has been accepted (written; over HTTP, answered with 2xx).
    ///
    /// # Errors
    /// When the message cannot be delivered.
    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>>;

    /// Stops waiting for the answer to this request; over HTTP its stream is closed (`HTM-09`).
    fn abandon(&self, id: u64);

    /// Tells the legacy revision agreed upon: from now on HTTP says it in a header (`HTL-02`) and resumes
    /// broken streams (`HTL-07`).
    fn set_revision(&self, _revision: Revision) {}

    /// Opens the stream on which a legacy server may send requests of its own (`HTL-06`), and waits until
    /// it stands, but not for long. A server without one is no failure.
    fn listen(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }

    /// Whether what a server says of its own accord can arrive. Over HTTP in the legacy era that takes the
    /// stream of [`Transport::listen`].
    fn is_listening(&self) -> bool {
        true
    }

    /// Waits until [`Transport::is_listening`] has become untrue.
    fn listen_stream_closed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// The session that a legacy server has given us over HTTP. Who knows it is taken for us: a secret.
    fn session_id(&self) -> Option<Secret> {
        None
    }

    /// Goes on with a session that was left open earlier.
    fn resume_session(&self, _session: &Secret) {}

    /// Forgets the session, so that a new one can be opened (`HTL-04`). Tells whether there was one.
    fn forget_session(&self) -> bool {
        false
    }

    /// Whether a person is logging in, on whom a request waits that seems to get no answer.
    fn login_in_progress(&self) -> bool {
        false
    }

    /// What the server said beside the protocol: the tail of its stderr, and the first line on its stdout
    /// that was no message. Said when it fails or stays silent.
    fn diagnostics(&self) -> (Vec<String>, Option<String>) {
        (Vec::new(), None)
    }

    /// Ends it in order: the session over HTTP, the child and its whole process group over stdio, the
    /// connection elsewhere.
    ///
    /// Bounded in time; nothing is left running when it resolves. With `patient` false (a server that did
    /// not answer, an interrupt, one that is known to take no notice) a child gets little time to end by itself.
    fn close(&self, patient: bool) -> BoxFuture<'_, ()>;

    /// Whether [`Transport::close`] had to terminate a child that did not end when its input did.
    fn was_killed(&self) -> bool {
        false
    }
}

/// A transport and what comes back over it.
pub struct ConnectedTransport {
    /// The way out.
    pub transport: Arc<dyn Transport>,
    /// The way back.
    pub incoming: mpsc::UnboundedReceiver<Incoming>,
}

/// Opens the way to a server: the one factory.
///
/// # Errors
/// When the child cannot be started, the client cannot be set up (a certificate file, a proxy), or the
/// socket cannot be connected to.
pub async fn connect(endpoint: &Endpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    match endpoint {
        Endpoint::Stdio(endpoint) => stdio::connect(endpoint, options),
        Endpoint::Http(endpoint) => http::connect(endpoint, options).await,
        Endpoint::WebSocket(endpoint) => websocket::connect(endpoint, options).await,
        #[cfg(unix)]
        Endpoint::Unix(endpoint) => unix::connect(endpoint, options).await,
        #[cfg(not(unix))]
        Endpoint::Unix(_) => Err(Failure::new(Class::Usage, "this system has no Unix sockets")),
    }
}
