//! Sends messages to a server and receives what comes back. Every command connects with [`connect`].
//!
//! A transport carries JSON-RPC messages. It knows neither what methods mean nor in which era the server is.
//! Everything that comes back arrives on one channel, tagged with the request on whose stream it came.

mod charset;
mod connection;
mod cookies;
mod endpoint;
pub mod http;
mod line_reader;
pub mod malformed;
mod message;
mod message_reader;
mod message_writer;
pub mod process;
pub mod sse;
pub mod stdio;
pub mod trace;
#[cfg(unix)]
mod unix;
mod url;
mod websocket;

pub use connection::{
    Authorize, BoxFuture, CloseOutcome, ConnectedTransport, Diagnostics, LegacyHttpSession, Transport, TransportKind,
    TransportOptions,
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
/// If the child cannot be started, the client cannot be set up (a certificate file, a proxy), or the
/// socket cannot be connected to.
pub async fn connect(endpoint: &Endpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    match endpoint {
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
    }
}
