//! MCP over HTTP: Streamable HTTP (legacy: 2025-03-26 to 2025-11-25, modern: 2026-07-28, each basic/transports) and
//! HTTP+SSE (2024-11-05, basic/transports).
//!
//! A request is a POST in a task of its own, which forwards the response to the session's channel. To
//! abandon the request is to abort that task, which closes the stream.

mod client;
mod dns;
mod error;
mod event_stream;
mod incoming;
mod library_errors;
mod post;
mod proxy;
mod request;
mod response;
#[cfg(test)]
mod scripted_server;
mod sse_transport;
mod streamable;
#[cfg(test)]
mod tests;
mod tls;
mod unexpected_response;
mod upgrade;

use super::connection::{ConnectedTransport, TransportOptions};
use super::endpoint::{HttpEndpoint, HttpMode};
use crate::error::{ErrorKind, Result};

pub(crate) use self::client::{AuxiliaryClient, credentials_header_value};
pub(crate) use self::dns::look_up;
pub(crate) use self::error::request_failure;
pub(crate) use self::proxy::is_proxied;
pub(crate) use self::request::DPOP_HEADER;
pub use self::sse_transport::{SseConnectError, connect as connect_sse};
pub(super) use self::upgrade::{UpgradeRequest, upgrade};
pub(crate) use super::url::redacted_url;

/// Connects to a URL. Nothing is sent before the first message, except in mode [`HttpMode::Sse`],
/// which begins by opening the stream.
///
/// # Errors
/// [`ErrorKind::Config`] if a PEM file, the proxy or a header cannot be used;
/// in mode `Sse` also the errors of [`connect_sse`].
pub async fn connect(endpoint: &HttpEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    match endpoint.mode {
        HttpMode::Sse => connect_sse(endpoint, options).await.map_err(|error| match error {
            SseConnectError::NoStream(failure) => {
                let may_be_streamable = failure.kind() == ErrorKind::Protocol || failure.details().maybe_starting;
                match may_be_streamable && failure.details().hint.is_none() {
                    true => failure.hint("omit --transport: the server may support the newer transport"),
                    false => failure,
                }
            }
            SseConnectError::Failed(failure) => failure,
        }),
        HttpMode::Auto | HttpMode::Streamable => streamable::connect(endpoint, options),
    }
}
