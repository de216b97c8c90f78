//! What a task is, and how an era handles tasks.

use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::{ErrorKind, is_temporary_status};
use crate::protocol::extension;
use crate::protocol::json::{member, parse_truncated};
use crate::protocol::rpc::RawJson;
use crate::session::failure::retry_advice;
use crate::session::operation::{Operation, TaskRequest};
use crate::session::request::RequestOutcome;
use crate::session::rpc_client::RpcClient;
use crate::session::server_requests::ServerRequestLog;
use crate::transport::BoxFuture;

/// The poll interval if the server does not set one.
pub(super) const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// The minimum poll interval, whatever the server says.
pub(super) const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How many polls in a row may get no response before that is the outcome.
pub(super) const MAX_LOST_REQUESTS: u32 = 5;

/// The state of a task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// `working`, `input_required`, `completed`, `failed`, `cancelled`, or another value of the server.
    pub status: String,
    /// What the server says about it.
    pub message: Option<String>,
    /// How long to wait before asking again.
    pub poll_interval: Duration,
    /// How long the server keeps it, from its creation; `None` if it does not say, or without limit.
    pub ttl: Option<Duration>,
    /// The whole state, as it came.
    pub raw: RawJson,
}

impl Task {
    /// Parses a task, by either era's names, bare or as `{"task":…}`; `None` if it is not one.
    #[must_use]
    pub fn parse(raw: &RawValue) -> Option<Self> {
        let raw = member(raw, "task").unwrap_or(raw);
        let (value, _) = parse_truncated(raw.get())?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let time = |names: [&str; 2]| {
            let millis = names.iter().find_map(|name| value.get(*name)).and_then(Value::as_f64)?;
            Duration::try_from_secs_f64(millis / 1000.0).ok()
        };
        Some(Task {
            id: text("taskId")?,
            status: text("status").unwrap_or_else(|| "working".to_owned()),
            message: text("statusMessage").filter(|text| !text.trim().is_empty()),
            poll_interval: time(["pollIntervalMs", "pollInterval"])
                .unwrap_or(DEFAULT_POLL_INTERVAL)
                .max(MIN_POLL_INTERVAL),
            ttl: time(["ttlMs", "ttl"]),
            raw: raw.to_owned(),
        })
    }

    /// Whether the state is final.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }
}

/// Receives the states of a task.
pub type ProgressCallback<'a> = &'a (dyn Fn(&Task) + Send + Sync);

/// How an era handles tasks.
pub trait TaskProtocol {
    /// Whether the server would create a task for such a call; `None` if only the server decides.
    fn would_create_task(&self, task_request: TaskRequest) -> Option<bool>;

    /// The task that a call returned.
    fn created_task(&self, result: &RawJson) -> Option<Task>;

    /// Follows a task to its end: the result of its call, or why there is none. `seen` is its last known state, `log`
    /// that of the server's requests during its call.
    fn await_task<'a>(
        &'a self,
        rpc: &'a RpcClient,
        id: &'a str,
        seen: Option<Task>,
        told: ProgressCallback<'a>,
        log: Option<&'a Arc<ServerRequestLog>>,
    ) -> BoxFuture<'a, RequestOutcome>;

    /// Whether the server can list its tasks.
    fn supports_task_list(&self) -> bool;
}

/// A request about one task.
pub(super) fn task_operation(method: &'static str, id: &str) -> Operation {
    let mut params = Map::new();
    params.insert("taskId".into(), id.into());
    // Servers refuse an unknown ID with the same message as an unknown era, so this request must not be the one that
    // detects the era.
    let call =
        Operation::read_only(method, params).with_mcp_name(id).with_extensions(&[extension::TASKS]).with_effects();
    Operation { is_idempotent: true, ..call }
}

/// The same with the log of the call that created the task.
pub(super) fn followed_task_operation(
    method: &'static str,
    id: &str,
    log: Option<&Arc<ServerRequestLog>>,
) -> Operation {
    Operation { server_requests: log.cloned(), ..task_operation(method, id) }
}

/// Whether the request may be repeated: it was lost on the way.
pub(super) fn was_lost(reply: &RequestOutcome, rpc: &RpcClient) -> bool {
    match reply {
        RequestOutcome::Failed(failure) => failure.kind() == ErrorKind::Unreachable && rpc.closed_reason().is_none(),
        RequestOutcome::UnexpectedResponse(refusal) => is_temporary_status(refusal.status),
        RequestOutcome::Error(..) | RequestOutcome::Result(_) => retry_advice(reply).is_some(),
    }
}
