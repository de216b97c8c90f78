//! The messages of the Model Context Protocol: JSON-RPC, revisions, names. No input or output.

pub mod challenge;
pub mod headers;
pub mod json;
pub mod json_cursor;
pub mod json_string;
pub mod result_shape;
pub mod revision;
pub mod rpc;
pub mod views;

/// Methods and notifications, named as in the specification.
pub mod method {
    #![allow(missing_docs, reason = "each constant is the method it names")]
    pub const INITIALIZE: &str = "initialize";
    pub const INITIALIZED: &str = "notifications/initialized";
    pub const DISCOVER: &str = "server/discover";
    pub const PING: &str = "ping";
    pub const TOOLS_LIST: &str = "tools/list";
    pub const TOOLS_CALL: &str = "tools/call";
    pub const RESOURCES_LIST: &str = "resources/list";
    pub const TEMPLATES_LIST: &str = "resources/templates/list";
    pub const RESOURCES_READ: &str = "resources/read";
    pub const PROMPTS_LIST: &str = "prompts/list";
    pub const PROMPTS_GET: &str = "prompts/get";
    pub const COMPLETION_COMPLETE: &str = "completion/complete";
    pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
    pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
    pub const SUBSCRIPTIONS_LISTEN: &str = "subscriptions/listen";
    pub const SUBSCRIPTIONS_ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";
    pub const RESOURCE_UPDATED: &str = "notifications/resources/updated";
    pub const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
    pub const RESOURCES_CHANGED: &str = "notifications/resources/list_changed";
    pub const PROMPTS_CHANGED: &str = "notifications/prompts/list_changed";
    pub const TASKS_GET: &str = "tasks/get";
    pub const TASKS_RESULT: &str = "tasks/result";
    pub const TASKS_LIST: &str = "tasks/list";
    pub const TASKS_CANCEL: &str = "tasks/cancel";
    pub const TASKS_UPDATE: &str = "tasks/update";
    /// The state of a task (2025-11-25, basic/utilities/tasks, task status notification).
    pub const TASK_STATUS: &str = "notifications/tasks/status";
    /// The status notification of the tasks extension of 2026-07-28.
    pub const TASK_STATE: &str = "notifications/tasks";
    pub const SKILLS_LIST: &str = "skills/list";
    pub const SKILLS_GET: &str = "skills/get";
    pub const LOGGING_SET_LEVEL: &str = "logging/setLevel";
    pub const ROOTS_LIST: &str = "roots/list";
    pub const SAMPLING_CREATE_MESSAGE: &str = "sampling/createMessage";
    pub const ELICITATION_CREATE: &str = "elicitation/create";
    pub const CANCELLED: &str = "notifications/cancelled";
    pub const PROGRESS: &str = "notifications/progress";
    pub const LOG_MESSAGE: &str = "notifications/message";
    pub const ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";

    /// The requests that a user may send.
    pub const REQUESTS: [&str; 16] = [
        PING,
        DISCOVER,
        TOOLS_LIST,
        TOOLS_CALL,
        RESOURCES_LIST,
        TEMPLATES_LIST,
        RESOURCES_READ,
        PROMPTS_LIST,
        PROMPTS_GET,
        COMPLETION_COMPLETE,
        LOGGING_SET_LEVEL,
        TASKS_GET,
        TASKS_RESULT,
        TASKS_LIST,
        TASKS_CANCEL,
        SKILLS_LIST,
    ];

    /// A name that lives as long as the process; each is stored once.
    #[must_use]
    pub fn intern(name: &str) -> &'static str {
        static NAMES: std::sync::Mutex<std::collections::BTreeSet<&'static str>> =
            std::sync::Mutex::new(std::collections::BTreeSet::new());
        let mut names = NAMES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(known) = names.get(name) {
            return known;
        }
        let name: &'static str = Box::leak(name.into());
        names.insert(name);
        name
    }

    /// Whether a request with this method changes nothing, so that it may be repeated.
    #[must_use]
    pub fn is_read_only(name: &str) -> bool {
        matches!(
            name,
            DISCOVER
                | PING
                | TOOLS_LIST
                | RESOURCES_LIST
                | TEMPLATES_LIST
                | RESOURCES_READ
                | PROMPTS_LIST
                | PROMPTS_GET
                | COMPLETION_COMPLETE
                | TASKS_GET
                | TASKS_RESULT
                | TASKS_LIST
                | SKILLS_LIST
                | SKILLS_GET
        )
    }
}

/// Keys of `_meta` in the modern revision (2026-07-28, basic/index §`_meta`).
pub mod meta {
    #![allow(missing_docs, reason = "each constant is the key it names")]
    pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
    pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
    pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
    pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
    pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
    pub const PROGRESS_TOKEN: &str = "progressToken";
    /// The trace context (2026-07-28, basic/index, "OpenTelemetry trace context"; SEP-414).
    pub const TRACEPARENT: &str = "traceparent";
    pub const TRACESTATE: &str = "tracestate";
    pub const BAGGAGE: &str = "baggage";
    pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
}

/// Extensions of the protocol, by the names that declare them (`EXT-01`).
pub mod extension {
    #![allow(missing_docs, reason = "each constant is the extension it names")]
    pub const TASKS: &str = "io.modelcontextprotocol/tasks";
    pub const SKILLS: &str = "io.modelcontextprotocol/skills";
}

/// Error codes that the protocol defines (2026-07-28, basic/index, error codes).
pub mod code {
    #![allow(missing_docs, reason = "each constant is the code it names")]
    pub const PARSE_ERROR: i64 = -32700;
    pub const INVALID_REQUEST: i64 = -32600;
    pub const INVALID_PARAMS: i64 = -32602;
    pub const METHOD_NOT_FOUND: i64 = -32601;
    pub const INTERNAL_ERROR: i64 = -32603;
    pub const HEADER_MISMATCH: i64 = -32020;
    pub const MISSING_CAPABILITY: i64 = -32021;
    pub const UNSUPPORTED_VERSION: i64 = -32022;
    pub const RESOURCE_NOT_FOUND: i64 = -32002;
    pub const URL_ELICITATION_REQUIRED: i64 = -32042;
    /// The codes that the modern revision leaves to servers (`MSG-03`; 2026-07-28, basic, "Error Codes").
    pub const LEFT_TO_SERVERS: std::ops::RangeInclusive<i64> = -32019..=-32000;
}
