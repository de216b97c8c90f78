//! What the two protocol families have in common: one small trait, implemented once each.

pub mod legacy;
pub mod modern;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::tasks::{TaskProtocol, TaskRequest};
use crate::protocol::meta;
use crate::protocol::revision::Revision;
use crate::protocol::views::ServerInfo;
use crate::session::rpc_client::{OutgoingRequest, RequestOutcome, RpcClient};
use crate::session::server_requests::ServerRequestLog;
use crate::session::watch::Subscribe;
use crate::transport::BoxFuture;

/// One operation to be asked of a server, in neither era's words.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The method.
    pub method: &'static str,
    /// The members of `params`, without `_meta`.
    pub params: Map<String, Value>,
    /// What `Mcp-Name` mirrors, over modern HTTP (`HTM-03`).
    pub mcp_name: Option<String>,
    /// The `Mcp-Param-*` headers, over modern HTTP (`HTM-04`).
    pub param_headers: Vec<(String, String)>,
    /// Whether the server may change something: such a request is never a probe and never repeated silently.
    pub has_effects: bool,
    /// Whether the tool says that it may be called twice for once: it changes nothing, or nothing more.
    pub is_idempotent: bool,
    /// Whether progress is wanted.
    pub wants_progress: bool,
    /// The extensions that are declared with it, in the modern era (`EXT-01`).
    pub extensions: &'static [&'static str],
    /// Whether it may become a task, where the era leaves that to the client (`TOL-10`).
    pub task_request: Option<TaskRequest>,
    /// Its own account of what the server asks meanwhile, where other requests are under way beside it.
    pub server_requests: Option<Arc<ServerRequestLog>>,
}

impl Operation {
    /// A request that changes nothing.
    #[must_use]
    pub fn read_only(method: &'static str, params: Map<String, Value>) -> Self {
        Operation {
            method,
            params,
            mcp_name: None,
            param_headers: Vec::new(),
            has_effects: false,
            is_idempotent: false,
            wants_progress: false,
            extensions: &[],
            task_request: None,
            server_requests: None,
        }
    }

    /// Keeps its own account of what the server asks meanwhile: other requests are under way beside it.
    #[must_use]
    pub fn with_server_request_log(mut self, questions: &Arc<ServerRequestLog>) -> Self {
        self.server_requests = Some(questions.clone());
        self
    }

    /// Sets what `Mcp-Name` mirrors.
    #[must_use]
    pub fn with_mcp_name(mut self, name: &str) -> Self {
        self.mcp_name = Some(name.to_owned());
        self
    }

    /// Declares these extensions with it.
    #[must_use]
    pub fn with_extensions(mut self, extensions: &'static [&'static str]) -> Self {
        self.extensions = extensions;
        self
    }

    /// Says that the server may change something.
    #[must_use]
    pub fn with_effects(mut self) -> Self {
        self.has_effects = true;
        self
    }

    /// Asks for progress.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        self.wants_progress = true;
        self
    }
}

/// One of the two families, for one connection.
pub trait Era: Subscribe + TaskProtocol + Send + Sync {
    /// The revision spoken.
    fn revision(&self) -> Revision;

    /// Who the server is, as far as it has said.
    fn server_info(&self) -> ServerInfo;

    /// One request in this era's words, ready to go.
    fn encode_request(&self, link: &RpcClient, call: &Operation) -> OutgoingRequest;

    /// Asks one operation and follows it to its end.
    fn request<'a>(&'a self, link: &'a RpcClient, call: &'a Operation) -> BoxFuture<'a, RequestOutcome>;

    /// Whether the server bears a request beside `initialized` (legacy over HTTP); `None` where it was not tried.
    fn pipelines_first_request(&self) -> Option<bool> {
        None
    }
}

/// Who we are, on the wire.
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
