//! Tasks of 2025-11-25: asked for by the client; `tasks/result` waits for the end.

use serde_json::Value;

use super::task::{
    DEFAULT_POLL_INTERVAL, MAX_LOST_REQUESTS, ProgressCallback, Task, TaskProtocol, task_operation, was_lost,
};
use crate::protocol::json::member;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RawJson;
use crate::protocol::{code, method};
use crate::session::era::Era;
use crate::session::era::legacy::LegacyEra;
use crate::session::operation::TaskRequest;
use crate::session::rpc_client::{CancelMode, OutgoingRequest, RequestOutcome, RpcClient};
use crate::transport::BoxFuture;

impl TaskProtocol for LegacyEra {
    fn would_create_task(&self, wish: TaskRequest) -> Option<bool> {
        Some(self.sends_as_task(wish))
    }

    fn created_task(&self, result: &RawJson) -> Option<Task> {
        // A server that knows no tasks answers with the result itself.
        let task = member(result, "task")?;
        if member(result, "content").is_some() { None } else { Task::parse(task) }
    }

    fn await_task<'a>(
        &'a self,
        link: &'a RpcClient,
        id: &'a str,
        seen: Option<Task>,
        told: ProgressCallback<'a>,
    ) -> BoxFuture<'a, RequestOutcome> {
        Box::pin(self.poll_until_result(link, id, seen, told))
    }

    fn supports_task_list(&self) -> bool {
        self.has_capability("/tasks/list")
    }
}

impl LegacyEra {
    /// Whether a call with this wish is sent as a task (`TOL-10`).
    pub(in crate::session) fn sends_as_task(&self, wish: TaskRequest) -> bool {
        wish.wants_task()
            && self.revision() >= Revision::V2025_11_25
            && self.has_capability("/tasks/requests/tools/call")
    }

    fn has_capability(&self, capability: &str) -> bool {
        let capabilities = self.server_info().capabilities.unwrap_or(Value::Null);
        capabilities.pointer(capability).is_some_and(|value| !value.is_null() && *value != false)
    }

    /// Waits for the result, which may need input of ours on the way, and asks how it stands meanwhile.
    async fn poll_until_result(
        &self,
        link: &RpcClient,
        id: &str,
        seen: Option<Task>,
        told: ProgressCallback<'_>,
    ) -> RequestOutcome {
        let mut pause = seen.as_ref().map_or(DEFAULT_POLL_INTERVAL, |task| task.poll_interval);
        if let Some(task) = &seen {
            told(task);
        }
        let mut result = std::pin::pin!(self.fetch_task_result(link, id, pause));
        let mut asked = true;
        loop {
            let state = async {
                if !asked {
                    return std::future::pending().await;
                }
                if let Err(failure) = link.sleep(pause).await {
                    return RequestOutcome::Failed(failure);
                }
                self.request(link, &task_operation(method::TASKS_GET, id)).await
            };
            tokio::select! {
                biased;
                reply = &mut result => return reply,
                state = state => match state {
                    RequestOutcome::Result(state) => {
                        if let Some(task) = Task::parse(&state) {
                            told(&task);
                            pause = task.poll_interval;
                            asked = !task.is_finished();
                        }
                    }
                    reply if was_lost(&reply, link) => {}
                    // It need not be told how it stands, where the result will come all the same.
                    RequestOutcome::Error(error, _) if error.code == Some(code::METHOD_NOT_FOUND) => asked = false,
                    reply => return reply,
                },
            }
        }
    }

    /// `tasks/result`, which blocks until the task is over; asked again where the answer got lost.
    async fn fetch_task_result(&self, link: &RpcClient, id: &str, pause: std::time::Duration) -> RequestOutcome {
        let call = task_operation(method::TASKS_RESULT, id);
        for _ in 0..MAX_LOST_REQUESTS {
            // To stop waiting does not stop the task, and the server need not hear of it.
            let reply = link
                .request(OutgoingRequest {
                    timeout: None,
                    cancel_mode: CancelMode::CloseStream,
                    ..self.encode_request(link, &call)
                })
                .await;
            if !was_lost(&reply, link) {
                return reply;
            }
            if let Err(failure) = link.sleep(pause).await {
                return RequestOutcome::Failed(failure);
            }
        }
        link.request(OutgoingRequest {
            timeout: None,
            cancel_mode: CancelMode::CloseStream,
            ..self.encode_request(link, &call)
        })
        .await
    }
}
