//! One request to a server, independent of the protocol era.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::session::server_requests::ServerRequestLog;

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

/// Whether a tool runs as a task, by its `execution.taskSupport`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskSupport {
    /// Not known: nobody has looked at the tool.
    #[default]
    Unknown,
    /// Never.
    Forbidden,
    /// If the client likes.
    Optional,
    /// Always.
    Required,
}

impl TaskSupport {
    /// What a tool says of itself; nothing said is `forbidden`.
    #[must_use]
    pub fn of_tool(tool: &Value) -> Self {
        match tool.pointer("/execution/taskSupport").and_then(Value::as_str) {
            Some("required") => TaskSupport::Required,
            Some("optional") => TaskSupport::Optional,
            _ => TaskSupport::Forbidden,
        }
    }
}

/// Whether a call is to become a task, where the era leaves that to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskRequest {
    /// What the tool says.
    pub support: TaskSupport,
    /// Whether nobody is going to wait for it.
    pub is_detached: bool,
}

impl TaskRequest {
    /// Whether a task is to be asked for of a server that knows tasks (`TOL-10`).
    #[must_use]
    pub fn wants_task(self) -> bool {
        match self.support {
            TaskSupport::Required => true,
            TaskSupport::Optional | TaskSupport::Unknown => self.is_detached,
            TaskSupport::Forbidden => false,
        }
    }
}
