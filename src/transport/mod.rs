//! Sends messages to a server and receives what comes back. Every command connects with [`connect`].
//!
//! A transport carries JSON-RPC messages. It knows neither what methods mean nor in which era the server is.
//! Everything that comes back arrives on one channel, tagged with the request on whose stream it came.

mod charset;
mod connection;
mod cookies;
mod endpoint;
mod frame_splitter;
pub mod http;
#[cfg(unix)]
pub mod kept;
mod line_reader;
pub mod malformed;
mod message;
mod message_reader;
mod message_writer;
pub mod process;
mod recorded_transport;
pub mod recorder;
pub mod replay;
pub mod sse;
pub mod stdio;
mod stream_transport;
pub mod trace;
#[cfg(unix)]
mod unix;
mod url;
mod websocket;

pub use connection::{
    Authorize, BoxFuture, CloseOutcome, ConnectedTransport, Diagnostics, LegacyHttpSession, Transport, TransportKind,
    TransportOptions, next_gap,
};
pub use cookies::CookieJar;
pub use endpoint::{Endpoint, HttpEndpoint, HttpMode, InheritedEnv, StdioEndpoint, TlsOptions, UnixEndpoint};
pub use message::{
    BrokenResponse, Certainty, Incoming, IncomingItem, MAX_MESSAGE, OutgoingKind, OutgoingMessage, UnexpectedResponse,
    incoming_channel,
};

use crate::error::Result;

/// Connects to a server.
///
/// # Errors
/// If the child cannot be started, the client cannot be set up (a certificate file, a proxy), the
/// socket cannot be connected to, or the recording has a connection that failed.
pub async fn connect(endpoint: &Endpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    #[cfg(unix)]
    if let Some(session) = &options.kept {
        // Boxed, since most commands use no session.
        if let Some(connected) = Box::pin(kept::connect(session, options)).await.transpose() {
            let kind = connected.as_ref().map_or(endpoint.transport_kind(), |connected| connected.transport.kind());
            return recorded_transport::record(&options.recorder, kind, connected);
        }
    }
    let connected = match endpoint {
        Endpoint::Stdio(endpoint) => stdio::connect(endpoint, options),
        Endpoint::Http(endpoint) => http::connect(endpoint, options).await,
        Endpoint::WebSocket(endpoint) => websocket::connect(endpoint, options).await,
        #[cfg(unix)]
        Endpoint::Unix(endpoint) => unix::connect(endpoint, options).await,
        #[cfg(not(unix))]
        Endpoint::Unix(_) => {
            use crate::error::{ErrorKind, Failure};
            Err(Failure::new(ErrorKind::Usage, "this system does not support Unix sockets"))
        }
        Endpoint::Replay(recording) => replay::connect(recording, options),
    };
    recorded_transport::record(&options.recorder, endpoint.transport_kind(), connected)
}

/// Connects over HTTP+SSE to a URL at which another transport was tried.
///
/// # Errors
/// If there is no event stream, or it cannot be used.
pub async fn connect_sse(
    endpoint: &HttpEndpoint,
    options: &TransportOptions,
) -> Result<ConnectedTransport, http::SseConnectError> {
    #[cfg(unix)]
    if let Some(session) = &options.kept
        && let Some(connected) = Box::pin(kept::connect_sse(session, options)).await?
    {
        return Ok(recorded_transport::record(&options.recorder, TransportKind::Sse, Ok(connected))?);
    }
    let connected = http::connect_sse(endpoint, options).await?;
    Ok(recorded_transport::record(&options.recorder, TransportKind::Sse, Ok(connected))?)
}
