//! The trait that both protocol families implement.

pub mod legacy;
pub mod modern;

use serde_json::{Map, Value, json};

use crate::protocol::meta;
use crate::protocol::revision::Revision;
use crate::protocol::views::ServerInfo;
use crate::session::client_handler::ClientHandler;
use crate::session::operation::Operation;
use crate::session::request::{OutgoingRequest, RequestOutcome};
use crate::session::rpc_client::RpcClient;
use crate::session::subscription::Subscribe;
use crate::session::tasks::task::TaskProtocol;
use crate::transport::BoxFuture;

/// One of the two protocol families, for one connection.
pub trait Era: Subscribe + TaskProtocol + Send + Sync {
    /// The revision in use.
    fn revision(&self) -> Revision;

    /// The identity of the server, as far as it is known.
    fn server_info(&self) -> ServerInfo;

    /// Whether the server declared this capability; `None` if its capabilities are unknown.
    fn declares(&self, capability: &str) -> Option<bool> {
        self.server_info().declares(capability)
    }

    /// Encodes a request for this era.
    fn encode_request(&self, rpc: &RpcClient, operation: &Operation) -> OutgoingRequest;

    /// Sends a request and follows it to its end.
    fn request<'a>(&'a self, rpc: &'a RpcClient, call: &'a Operation) -> BoxFuture<'a, RequestOutcome>;
}

/// mcpipe's name and version for the protocol.
#[must_use]
pub fn client_info() -> Value {
    json!({"name": "mcpipe", "version": env!("CARGO_PKG_VERSION")})
}

/// The `_meta` of a request: the members that every request has, those of the request itself, and the request for
/// progress under its own id (`MSG-07`).
#[must_use]
pub fn request_meta(handler: &ClientHandler, id: u64, operation: &Operation) -> Map<String, Value> {
    let mut all = handler.request_meta().clone();
    if let Some(Value::Object(own)) = operation.params.meta() {
        all.extend(own.clone());
    }
    if operation.wants_progress {
        all.entry(meta::PROGRESS_TOKEN).or_insert(id.into());
    }
    all
}
