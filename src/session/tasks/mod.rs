//! Tasks: calls whose result comes later (digest §6).
//!
//! In 2025-11-25 the client asks for a task and the server keeps the result until `tasks/result`; in the
//! extension of 2026-07-28 the server answers with a task when it likes, and `tasks/get` brings all. What
//! a task is, how it is looked at and how it is stopped is the same in both.

mod legacy;
mod modern;

use std::sync::Mutex;
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::era::Operation;
use super::{CachePolicy, Session};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::{RawJson, parse_value};
use crate::protocol::views::member;
use crate::protocol::{code, extension, method};
use crate::session::era::legacy::DetachedSession;
use crate::session::rpc_client::{RequestOutcome, RpcClient};
use crate::transport::{BoxFuture, TransportKind};
use crate::util::duration::format_duration;
use crate::util::lock::lock;

/// How often to ask where the server does not say.
const DEFAULT_POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Never more often than this, whatever the server says.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How often in a row a question about a task may get lost before that is the outcome.
const MAX_LOST_REQUESTS: u32 = 5;

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
        let value = parse_value(raw.get())?;
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
fn task_operation(method: &'static str, id: &str) -> Operation {
    let mut params = Map::new();
    params.insert("taskId".into(), id.into());
    // An unknown id is refused in the same words as an unknown era: it must not be what finds the era out.
    let call =
        Operation::read_only(method, params).with_mcp_name(id).with_extensions(&[extension::TASKS]).with_effects();
    Operation { is_idempotent: true, ..call }
}

/// Whether the question may just be asked again: it was lost on the way.
fn was_lost(reply: &RequestOutcome, link: &RpcClient) -> bool {
    match reply {
        RequestOutcome::Failed(failure) => failure.kind() == ErrorKind::Unreachable && link.closed_reason().is_none(),
        RequestOutcome::UnexpectedResponse(refusal) => matches!(refusal.status, 408 | 425 | 429 | 500..),
        RequestOutcome::Error(_, status) => matches!(status, Some(429 | 502..=504)),
        RequestOutcome::Result(_) => false,
    }
}

impl Session {
    /// The task that a call was answered with, if any.
    pub async fn created_task(&self, result: &RawJson) -> Option<Task> {
        self.connection.lock().await.as_ref()?.era.created_task(result)
    }

    /// Whether the server would make a task of such a call; `None` where only it decides. Opens the connection.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn would_create_task(&self, call: &Operation) -> Result<Option<bool>> {
        let (live, _) = self.connection_for(call).await?;
        Ok(live.era.would_create_task(call.task_request.unwrap_or_default()))
    }

    /// Follows a task to its end: the result of the call behind it. With `patience`, no longer than that
    /// without any news of it.
    ///
    /// # Errors
    /// When it failed, was cancelled, cannot be asked after, or patience ran out; the task goes on then.
    pub async fn await_task(
        &self,
        id: &str,
        seen: Option<Task>,
        patience: Option<Duration>,
        told: ProgressCallback<'_>,
    ) -> Result<RawJson> {
        let (live, _) = self.connection_for(&task_operation(method::TASKS_GET, id)).await?;
        let latest = Mutex::new((String::new(), None, Instant::now()));
        let fresh = || lock(&latest);
        let note = |task: &Task| {
            let mut latest = fresh();
            if (&latest.0, &latest.1) != (&task.status, &task.message) {
                *latest = (task.status.clone(), task.message.clone(), Instant::now());
            }
            drop(latest);
            told(task);
        };
        let mut notices = self.client_handler.notifications().subscribe();
        let mut outcome = live.era.await_task(&live.rpc, id, seen, &note);
        let reply = loop {
            let deadline = patience.map(|patience| fresh().2 + patience);
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reply = &mut outcome => break reply,
                Some(notice) = notices.recv() => {
                    if notice.method == method::PROGRESS {
                        fresh().2 = Instant::now();
                    }
                }
                () = late => {
                    // A person who is being asked takes the time they need.
                    if self.client_handler.is_awaiting_input() {
                        fresh().2 = Instant::now();
                    }
                    if deadline < patience.map(|patience| fresh().2 + patience) {
                        continue;
                    }
                    let time = format_duration(patience.unwrap_or_default());
                    break RequestOutcome::Failed(Failure::new(ErrorKind::Timeout, format!("no news of the task within {time}")));
                }
            }
        };
        match reply {
            RequestOutcome::Result(result) => Ok(result),
            reply => Err(self.task_failure(reply, id)),
        }
    }

    /// How a task stands.
    ///
    /// # Errors
    /// When the server does not know it or cannot be asked.
    pub async fn get_task(&self, id: &str) -> Result<Task> {
        let result = self.send_task_operation(method::TASKS_GET, id).await?;
        Task::parse(&result).ok_or_else(|| {
            Failure::new(ErrorKind::Protocol, "the server's answer to tasks/get is no task").server(&self.target.name)
        })
    }

    /// Asks the server to stop a task; its answer as it came.
    ///
    /// # Errors
    /// As [`Session::get_task`], and when the task is over already.
    pub async fn cancel_task(&self, id: &str) -> Result<RawJson> {
        self.send_task_operation(method::TASKS_CANCEL, id).await
    }

    async fn send_task_operation(&self, method: &'static str, id: &str) -> Result<RawJson> {
        match self.send(&task_operation(method, id)).await? {
            RequestOutcome::Result(result) => Ok(result),
            reply => Err(self.task_failure(reply, id)),
        }
    }

    /// Tells the server to stop a task although the user has asked to stop; nobody waits for its answer long.
    pub async fn cancel_task_on_exit(&self, id: &str) {
        let live = self.connection.lock().await.clone();
        let Some(live) = live else { return };
        let ask = live.era.encode_request(&live.rpc, &task_operation(method::TASKS_CANCEL, id));
        live.rpc.send_final_request(ask).await;
    }

    /// The server's own list of tasks, as it came; `None` where it keeps none.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn list_tasks(&self) -> Result<Option<Vec<RawJson>>> {
        let first = Operation::read_only(method::TASKS_LIST, Map::new()).with_effects();
        let (live, _) = self.connection_for(&first).await?;
        if !live.era.supports_task_list() {
            return Ok(None);
        }
        let page = self.request(&first).await?;
        self.fetch_all_pages(&first, "tasks", page, CachePolicy::Bypass, |_| {}).await.map(Some)
    }

    /// Keeps the server's session alive when the connection ends, for the sake of the tasks in it, and says
    /// how to go on with it.
    pub async fn detach(&self) -> Option<DetachedSession> {
        let open = self.connection.lock().await;
        let live = open.as_ref()?;
        let http = live.rpc.transport().legacy_session()?;
        let session_id = http.session_id()?;
        http.forget_session();
        Some(DetachedSession { session_id, revision: live.era.revision() })
    }

    /// Whether what the server keeps ends with this connection.
    pub async fn ends_with_connection(&self) -> bool {
        self.connection.lock().await.as_ref().is_some_and(|live| live.rpc.transport_kind() != TransportKind::Http)
    }

    fn task_failure(&self, reply: RequestOutcome, id: &str) -> Failure {
        match reply {
            RequestOutcome::Error(error, _) if error.code == code::METHOD_NOT_FOUND => {
                Failure::new(ErrorKind::Failed, "the server knows nothing of tasks").rpc(error)
            }
            RequestOutcome::Failed(failure) => failure,
            reply => self.failure_from(reply, &format!("the task '{id}'")),
        }
        .server(&self.target.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn raw(value: Value) -> RawJson {
        RawValue::from_string(value.to_string()).unwrap()
    }

    #[test]
    fn a_task_is_read_by_either_eras_names() {
        let modern = Task::parse(&raw(json!({"resultType": "task", "taskId": "a", "status": "working",
            "statusMessage": " ", "pollIntervalMs": 5000, "ttlMs": null})))
        .unwrap();
        assert_eq!((modern.id.as_str(), modern.poll_interval, modern.ttl), ("a", Duration::from_secs(5), None));
        assert_eq!(modern.message, None);
        let nested = json!({"task": {"taskId": "b", "status": "failed", "pollInterval": 0, "ttl": 60000}});
        let legacy = Task::parse(&raw(nested)).unwrap();
        assert_eq!((legacy.poll_interval, legacy.ttl), (MIN_POLL_INTERVAL, Some(Duration::from_secs(60))));
        assert!(legacy.is_finished() && !modern.is_finished());
        assert!(Task::parse(&raw(json!({"content": []}))).is_none());
    }

    #[test]
    fn tol_10_a_task_is_asked_for_only_where_the_tool_allows_it() {
        let support = |value: &str| TaskSupport::of_tool(&json!({"execution": {"taskSupport": value}}));
        let wants = |support, detach| TaskRequest { support, is_detached: detach }.wants_task();
        assert!(wants(support("required"), false) && wants(support("required"), true));
        assert!(wants(support("optional"), true) && !wants(support("optional"), false));
        for never in [support("forbidden"), support("x"), TaskSupport::of_tool(&json!({}))] {
            assert!(!wants(never, true) && !wants(never, false));
        }
    }
}
