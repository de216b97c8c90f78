//! What a task is, and how an era handles tasks.

use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::error::ErrorKind;
use crate::protocol::extension;
use crate::protocol::json::{member, parse_truncated};
use crate::protocol::rpc::RawJson;
use crate::session::operation::{Operation, TaskRequest};
use crate::session::rpc_client::{RequestOutcome, RpcClient};
use crate::transport::BoxFuture;

/// How often to ask where the server does not say.
pub(super) const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Never more often than this, whatever the server says.
pub(super) const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How often in a row a question about a task may get lost before that is the outcome.
pub(super) const MAX_LOST_REQUESTS: u32 = 5;

/// The state of a task.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// `working`, `input_required`, `completed`, `failed`, `cancelled`, or what else the server says.
    pub status: String,
    /// What the server says about it.
    pub message: Option<String>,
    /// How long to wait before asking again.
    pub poll_interval: Duration,
    /// How long the server keeps it, from its creation; `None` where it does not say, or for ever.
    pub ttl: Option<Duration>,
    /// The whole state, as it came.
    pub raw: RawJson,
}

impl Task {
    /// Reads a task, by either era's names, bare or as `{"task":…}`; `None` where it is none.
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

    /// Whether it will never change again.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }
}

/// Who is told how a task stands.
pub type ProgressCallback<'a> = &'a (dyn Fn(&Task) + Send + Sync);

/// How an era has tasks.
pub trait TaskProtocol {
    /// Whether the server would make a task of such a call; `None` where only it decides.
    fn would_create_task(&self, wish: TaskRequest) -> Option<bool>;

    /// The task that a call was answered with.
    fn created_task(&self, result: &RawJson) -> Option<Task>;

    /// Follows a task to its end: the result of the call behind it, or why there is none. `seen` is its state
    /// as far as it is known already.
    fn await_task<'a>(
        &'a self,
        link: &'a RpcClient,
        id: &'a str,
        seen: Option<Task>,
        told: ProgressCallback<'a>,
    ) -> BoxFuture<'a, RequestOutcome>;

    /// Whether the server may be asked which tasks there are.
    fn supports_task_list(&self) -> bool;
}

/// A question about one task.
pub(super) fn task_operation(method: &'static str, id: &str) -> Operation {
    let mut params = Map::new();
    params.insert("taskId".into(), id.into());
    // An unknown id is refused in the same words as an unknown era: it must not be what finds the era out.
    let call =
        Operation::read_only(method, params).with_mcp_name(id).with_extensions(&[extension::TASKS]).with_effects();
    Operation { is_idempotent: true, ..call }
}

/// Whether the question may just be asked again: it was lost on the way.
pub(super) fn was_lost(reply: &RequestOutcome, link: &RpcClient) -> bool {
    match reply {
        RequestOutcome::Failed(failure) => failure.kind() == ErrorKind::Unreachable && link.closed_reason().is_none(),
        RequestOutcome::UnexpectedResponse(refusal) => matches!(refusal.status, 408 | 425 | 429 | 500..),
        RequestOutcome::Error(_, status) => matches!(status, Some(429 | 502..=504)),
        RequestOutcome::Result(_) => false,
    }
}
