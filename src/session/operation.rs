//! A request to a server, independent of the protocol era.

use std::ops::Deref;
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::{Map, Value};

use crate::protocol::json::parse_value;
use crate::protocol::json_string::{encode_value, push_quoted};
use crate::protocol::rpc::RawJson;
use crate::session::server_requests::ServerRequestLog;
use crate::util::lock::lock;

/// An operation for a server, independent of the era.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The method.
    pub method: &'static str,
    /// The members of `params`.
    pub params: Params,
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
    /// Where another attempt goes on, in the modern era.
    pub(crate) refused_round: RefusedRound,
}

/// What a retry contains in addition to the request.
#[derive(Debug, Default)]
pub(crate) struct InputRound {
    pub(crate) input_responses: Option<Map<String, Value>>,
    pub(crate) request_state: Option<RawJson>,
}

/// The round that the server did not process, after those that it did. A copy of an operation is another request, which
/// starts over.
#[derive(Debug, Default)]
pub(crate) struct RefusedRound(Mutex<Option<InputRound>>);

impl RefusedRound {
    pub(crate) fn take(&self) -> InputRound {
        lock(&self.0).take().unwrap_or_default()
    }

    pub(crate) fn keep(&self, round: InputRound) {
        *lock(&self.0) = Some(round);
    }
}

impl Clone for RefusedRound {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Operation {
    /// A request without effects.
    #[must_use]
    pub fn read_only(method: &'static str, params: impl Into<Params>) -> Self {
        Operation {
            method,
            params: params.into(),
            mcp_name: None,
            param_headers: Vec::new(),
            has_effects: false,
            is_idempotent: false,
            wants_progress: false,
            extensions: &[],
            task_request: None,
            ignores_capabilities: false,
            server_requests: None,
            refused_round: RefusedRound::default(),
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

/// The members of an operation's `params`. Clones share them and their text, so that repeated calls encode them once.
#[derive(Clone, Debug, Default)]
pub struct Params(Arc<SharedParams>);

/// Members and their text; each is made from the other when it is needed.
#[derive(Debug, Default)]
struct SharedParams {
    members: OnceLock<Map<String, Value>>,
    /// What [`Params::unclosed_object_text`] returns.
    text: OnceLock<String>,
}

impl From<Map<String, Value>> for Params {
    fn from(members: Map<String, Value>) -> Self {
        Params(Arc::new(SharedParams { members: members.into(), text: OnceLock::new() }))
    }
}

impl Deref for Params {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        self.0.members.get_or_init(|| match parse_value(&format!("{}}}", self.unclosed_object_text())) {
            Some(Value::Object(members)) => members,
            _ => Map::new(),
        })
    }
}

impl Params {
    /// Those of a `tools/call`.
    #[must_use]
    pub fn of_tool_call(name: &str, arguments: &Map<String, Value>) -> Self {
        let mut text = String::with_capacity(256);
        text.push_str(r#"{"name":"#);
        push_quoted(&mut text, name);
        push_member(&mut text, "arguments", &encode_value(arguments));
        Params(Arc::new(SharedParams { members: OnceLock::new(), text: text.into() }))
    }

    /// Adds or replaces a member.
    pub fn insert(&mut self, name: &str, value: Value) {
        let mut members = Map::clone(self);
        members.insert(name.to_owned(), value);
        *self = members.into();
    }

    /// The member `_meta`.
    #[must_use]
    pub fn meta(&self) -> Option<&Value> {
        // Members that are made from the text have none.
        self.0.members.get()?.get("_meta")
    }

    /// The members as a JSON object without its closing brace and without `_meta`, which differs between requests.
    #[must_use]
    pub fn unclosed_object_text(&self) -> &str {
        self.0.text.get_or_init(|| {
            let mut text = String::with_capacity(256);
            text.push('{');
            for (name, value) in self.iter().filter(|(name, _)| *name != "_meta") {
                push_member(&mut text, name, &encode_value(value));
            }
            text
        })
    }
}

/// Adds a member to the text of an object that is not closed yet.
pub(crate) fn push_member(text: &mut String, name: &str, value: &str) {
    push_name(text, name);
    text.push_str(value);
}

/// Adds the name of a member, whose value follows, to the text of an object that is not closed yet.
pub(crate) fn push_name(text: &mut String, name: &str) {
    if !text.ends_with('{') {
        text.push(',');
    }
    push_quoted(text, name);
    text.push(':');
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
        match tool["execution"]["taskSupport"].as_str() {
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
