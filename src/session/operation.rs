//! A request to a server, independent of the protocol era.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::session::server_requests::ServerRequestLog;

/// An operation for a server, independent of the era.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The method.
    pub method: &'static str,
    /// The members of `params`, without `_meta`.
    pub params: Map<String, Value>,
    /// The value of the `Mcp-Name` header, over modern HTTP (`HTM-03`).
    pub mcp_name: Option<String>,
    /// The `Mcp-Param-*` headers, over modern HTTP (`HTM-04`).
    pub param_headers: Vec<(String, String)>,
    /// Whether the server may change something: such a request is never a probe, and never repeated silently.
    pub has_effects: bool,
    /// Whether the tool declares that a repeated call has no additional effect.
    pub is_idempotent: bool,
    /// Whether progress is requested.
    pub wants_progress: bool,
    /// The extensions that this request declares, in the modern era (`EXT-01`).
    pub extensions: &'static [&'static str],
    /// Whether it may become a task, if the client decides that in this era (`TOL-10`).
    pub task_request: Option<TaskRequest>,
    /// Whether it is sent even if the server did not declare the capability.
    pub ignores_capabilities: bool,
    /// The log of the server's requests during this one, if other requests are in progress at the same time.
    pub server_requests: Option<Arc<ServerRequestLog>>,
}

impl Operation {
    /// A request without effects.
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
            ignores_capabilities: false,
            server_requests: None,
        }
    }

    /// Sets the value of the `Mcp-Name` header.
    #[must_use]
    pub fn with_mcp_name(mut self, name: &str) -> Self {
        self.mcp_name = Some(name.to_owned());
        self
    }

    /// Declares these extensions with the request.
    #[must_use]
    pub fn with_extensions(mut self, extensions: &'static [&'static str]) -> Self {
        self.extensions = extensions;
        self
    }

    /// Marks the request as one that may change something.
    #[must_use]
    pub fn with_effects(mut self) -> Self {
        self.has_effects = true;
        self
    }

    /// Requests progress.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        self.wants_progress = true;
        self
    }
}

/// Whether a tool runs as a task, by its `execution.taskSupport`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TaskSupport {
    /// Unknown: the tool's definition was not read.
    #[default]
    Unknown,
    /// Never.
    Forbidden,
    /// If the client wants.
    Optional,
    /// Always.
    Required,
}

impl TaskSupport {
    /// What the tool declares; absent means `forbidden`.
    #[must_use]
    pub fn of_tool(tool: &Value) -> Self {
        match tool.pointer("/execution/taskSupport").and_then(Value::as_str) {
            Some("required") => TaskSupport::Required,
            Some("optional") => TaskSupport::Optional,
            _ => TaskSupport::Forbidden,
        }
    }
}

/// Whether a call is sent as a task, if the client decides that in this era.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskRequest {
    /// What the tool declares.
    pub support: TaskSupport,
    /// Whether the client does not wait for the result.
    pub is_detached: bool,
}

impl TaskRequest {
    /// Whether to request a task from a server that supports tasks (`TOL-10`).
    #[must_use]
    pub fn wants_task(self) -> bool {
        match self.support {
            TaskSupport::Required => true,
            TaskSupport::Optional | TaskSupport::Unknown => self.is_detached,
            TaskSupport::Forbidden => false,
        }
    }
}
