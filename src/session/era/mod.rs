//! The trait that both protocol families implement.

pub mod legacy;
pub mod modern;

use serde_json::{Map, Value, json};

use crate::protocol::meta;
use crate::protocol::revision::Revision;
use crate::protocol::views::ServerInfo;
pub use crate::session::operation::Operation;
use crate::session::rpc_client::{OutgoingRequest, RequestOutcome, RpcClient};
use crate::session::subscription::Subscribe;
use crate::session::tasks::task::TaskProtocol;
use crate::transport::BoxFuture;

/// One of the two protocol families, for one connection.
pub trait Era: Subscribe + TaskProtocol + Send + Sync {
    /// The revision in use.
    fn revision(&self) -> Revision;

    /// The identity of the server, as far as it is known.
    fn server_info(&self) -> ServerInfo;

    /// Encodes a request for this era.
    fn encode_request(&self, rpc: &RpcClient, call: &Operation) -> OutgoingRequest;

    /// Sends a request and follows it to its end.
    fn request<'a>(&'a self, rpc: &'a RpcClient, call: &'a Operation) -> BoxFuture<'a, RequestOutcome>;
}

/// mcpipe's name and version for the protocol.
#[must_use]
pub fn client_info() -> Value {
    json!({"name": "mcpipe", "version": env!("CARGO_PKG_VERSION")})
}

/// `params` with a `_meta` that asks for progress under the request's own id (`MSG-07`).
#[must_use]
pub fn meta_with_progress(id: u64, call: &Operation) -> Map<String, Value> {
    let mut all = Map::new();
    if call.wants_progress {
        all.insert(meta::PROGRESS_TOKEN.into(), id.into());
    }
    all
}
