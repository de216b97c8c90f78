//! Tasks: calls whose result comes later (2025-11-25, basic/utilities/tasks; the tasks extension of 2026-07-28).
//!
//! In 2025-11-25 the client requests a task and the server keeps the result until `tasks/result`; in the extension of
//! 2026-07-28 the server decides, and `tasks/get` returns everything. What a task is, how it is queried and how it is
//! canceled is the same in both.

mod legacy;
mod modern;
pub(crate) mod task;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Map;
use serde_json::value::RawValue;
use tokio::time::Instant;

use self::task::task_operation;
pub use self::task::{ProgressCallback, Task, TaskProtocol};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::RawJson;
use crate::protocol::{code, method};
use crate::session::era::legacy::DetachedSession;
use crate::session::lists::CachePolicy;
use crate::session::mcp_session::Session;
use crate::session::notifications::{Received, ServerNotification};
use crate::session::operation::Operation;
pub use crate::session::operation::{TaskRequest, TaskSupport};
use crate::session::request::RequestDeadline;
use crate::session::request::RequestOutcome;
use crate::session::server_requests::ServerRequestLog;
use crate::transport::TransportKind;
use crate::util::duration::format_duration;
use crate::util::lock::lock;

impl Session {
    /// The task that a call returned, if any.
    pub async fn created_task(&self, result: &RawJson) -> Option<Task> {
        self.connection.lock().await.as_ref()?.era.created_task(result)
    }

    /// Whether the server would create a task for such a call; `None` if only the server decides. Opens the
    /// connection.
    ///
    /// # Errors
    /// If the server cannot be reached.
    pub async fn would_create_task(&self, operation: &Operation) -> Result<Option<bool>> {
        let (connection, _) = self.connection_for(operation).await?;
        Ok(connection.era.would_create_task(operation.task_request.unwrap_or_default()))
    }

    /// Follows a task to its end and returns the result of its call. `patience` limits the time without a sign of
    /// life, up to the limit for requests with progress. `log` is that of the call that created the task.
    ///
    /// # Errors
    /// If it failed, was canceled, cannot be queried, or `patience` is over; the task continues then.
    pub async fn await_task(
        &self,
        id: &str,
        seen: Option<Task>,
        patience: Option<Duration>,
        told: ProgressCallback<'_>,
        log: Option<&Arc<ServerRequestLog>>,
    ) -> Result<RawJson> {
        let (connection, _) = self.connection_for(&task_operation(method::TASKS_GET, id)).await?;
        // Any message about the task shows that it is alive, even if its status is unchanged.
        let clock = Mutex::new(RequestDeadline::new(patience, Instant::now()));
        let note = |task: &Task| {
            lock(&clock).extend(Instant::now());
            told(task);
        };
        let mut notices = self.client_handler.notifications().subscribe();
        let mut outcome = connection.era.await_task(&connection.rpc, id, seen, &note, log);
        let reply = loop {
            let deadline = lock(&clock).deadline();
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reply = &mut outcome => break reply,
                Some(received) = notices.recv() => match received {
                    Received::Notification(notice) if notice.method == method::PROGRESS => {
                        lock(&clock).extend(Instant::now());
                    }
                    Received::Notification(ServerNotification { method, params })
                        if [method::TASK_STATUS, method::TASK_STATE].contains(&method.as_str()) =>
                    {
                        let state = RawValue::from_string(params.to_string()).ok();
                        let task = state.and_then(|state| Task::parse(&state));
                        task.filter(|task| task.id == id).iter().for_each(&note);
                    }
                    // The state of the task is polled too.
                    Received::Notification(_) | Received::Missed => {}
                },
                () = late => {
                    // A user who is being asked takes as long as they need.
                    if self.client_handler.is_awaiting_input() {
                        lock(&clock).restart(Instant::now());
                    }
                    let clock = lock(&clock);
                    if deadline < clock.deadline() {
                        continue;
                    }
                    let (time, has_signs_of_life) = clock.expired_limit();
                    let what = if has_signs_of_life { "the task did not end" } else { "no update of the task" };
                    let message = format!("{what} within {}", format_duration(time));
                    break RequestOutcome::Failed(Failure::new(ErrorKind::Timeout, message));
                }
            }
        };
        match reply {
            RequestOutcome::Result(result) => Ok(result),
            reply => Err(self.task_failure(reply, id, log)),
        }
    }

    /// The state of a task.
    ///
    /// # Errors
    /// If the server does not know it or the request fails.
    pub async fn get_task(&self, id: &str) -> Result<Task> {
        let result = self.send_task_operation(method::TASKS_GET, id).await?;
        Task::parse(&result).ok_or_else(|| {
            Failure::new(ErrorKind::Protocol, "the server's response to tasks/get is not a task")
                .server(&self.target.name)
        })
    }

    /// Cancels a task; returns the response as it came.
    ///
    /// # Errors
    /// As [`Session::get_task`], and if the task is already finished.
    pub async fn cancel_task(&self, id: &str) -> Result<RawJson> {
        self.send_task_operation(method::TASKS_CANCEL, id).await
    }

    async fn send_task_operation(&self, method: &'static str, id: &str) -> Result<RawJson> {
        match self.send(&task_operation(method, id)).await? {
            RequestOutcome::Result(result) => Ok(result),
            reply => Err(self.task_failure(reply, id, None)),
        }
    }

    /// Cancels a task after the user interrupted the run; waits only a short time for the response.
    pub async fn cancel_task_on_exit(&self, id: &str) {
        let connection = self.connection.lock().await.clone();
        let Some(connection) = connection else { return };
        let ask = connection.era.encode_request(&connection.rpc, &task_operation(method::TASKS_CANCEL, id));
        connection.rpc.send_final_request(ask).await;
    }

    /// The server's list of tasks, as it came; `None` if it keeps none.
    ///
    /// # Errors
    /// If the request fails.
    pub async fn list_tasks(&self) -> Result<Option<Vec<RawJson>>> {
        let first = Operation::read_only(method::TASKS_LIST, Map::new()).with_effects();
        let (connection, _) = self.connection_for(&first).await?;
        if !connection.era.supports_task_list() {
            return Ok(None);
        }
        let page = self.request(&first).await?;
        self.fetch_all_pages(&first, "tasks", page, CachePolicy::Bypass, |_| {}).await.map(Some)
    }

    /// Leaves the server's session open when the connection ends, because of the tasks in it, and returns how to
    /// continue it.
    pub async fn detach(&self) -> Option<DetachedSession> {
        let open = self.connection.lock().await;
        let connection = open.as_ref()?;
        let http = connection.rpc.transport().legacy_session()?;
        let session_id = http.session_id()?;
        http.forget_session();
        Some(DetachedSession { session_id, revision: connection.era.revision() })
    }

    /// Whether the server is found again only with the ID of the HTTP session that was opened: a legacy server may know
    /// a task only there.
    pub async fn has_http_session(&self) -> bool {
        let open = self.connection.lock().await;
        let http = open.as_ref().and_then(|connection| connection.rpc.transport().legacy_session());
        http.is_some_and(|http| http.session_id().is_some())
    }

    /// Whether the server's tasks end with this connection.
    pub async fn ends_with_connection(&self) -> bool {
        !self.is_kept_by_keeper()
            && self
                .connection
                .lock()
                .await
                .as_ref()
                .is_some_and(|connection| connection.rpc.transport_kind() != TransportKind::Http)
    }

    fn task_failure(&self, reply: RequestOutcome, id: &str, log: Option<&Arc<ServerRequestLog>>) -> Failure {
        match reply {
            RequestOutcome::Error(error, _) if error.code == Some(code::METHOD_NOT_FOUND) => {
                Failure::new(ErrorKind::Failed, "the server does not support tasks").rpc(error)
            }
            RequestOutcome::Failed(failure) => failure,
            reply => self.failure_with_server_requests(
                reply,
                &format!("the task '{id}'"),
                self.client_handler.request_log(log),
            ),
        }
        .server(&self.target.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::task::MIN_POLL_INTERVAL;
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
