//! Tasks of 2025-11-25: requested by the client; `tasks/result` waits for the end.

use std::sync::Arc;

use serde_json::Value;

use super::task::{
    DEFAULT_POLL_INTERVAL, MAX_LOST_REQUESTS, ProgressCallback, Task, TaskProtocol, followed_task_operation, was_lost,
};
use crate::protocol::json::member;
use crate::protocol::revision::Revision;
use crate::protocol::rpc::RawJson;
use crate::protocol::{code, method};
use crate::session::era::Era;
use crate::session::era::legacy::LegacyEra;
use crate::session::operation::{Operation, TaskRequest};
use crate::session::request::{CancelMode, OutgoingRequest, RequestOutcome};
use crate::session::rpc_client::RpcClient;
use crate::session::server_requests::ServerRequestLog;
use crate::transport::BoxFuture;

impl TaskProtocol for LegacyEra {
    fn would_create_task(&self, task_request: TaskRequest) -> Option<bool> {
        Some(self.sends_as_task(task_request))
    }

    fn created_task(&self, result: &RawJson) -> Option<Task> {
        // A server without tasks returns the result itself.
        let task = member(result, "task")?;
        if member(result, "content").is_some() { None } else { Task::parse(task) }
    }

    fn await_task<'a>(
        &'a self,
        rpc: &'a RpcClient,
        id: &'a str,
        seen: Option<Task>,
        told: ProgressCallback<'a>,
        log: Option<&'a Arc<ServerRequestLog>>,
    ) -> BoxFuture<'a, RequestOutcome> {
        Box::pin(self.poll_until_result(rpc, id, seen, told, log))
    }

    fn supports_task_list(&self) -> bool {
        self.has_capability("/tasks/list")
    }
}

impl LegacyEra {
    /// Whether a call with this setting is sent as a task (`TOL-10`).
    pub(in crate::session) fn sends_as_task(&self, task_request: TaskRequest) -> bool {
        task_request.wants_task()
            && self.revision() >= Revision::V2025_11_25
            && self.has_capability("/tasks/requests/tools/call")
    }

    fn has_capability(&self, capability: &str) -> bool {
        let capabilities = self.server_info().capabilities.unwrap_or(Value::Null);
        capabilities.pointer(capability).is_some_and(|value| !value.is_null() && *value != false)
    }

    /// Waits for the result, answers requests for input, and polls the status of the task meanwhile.
    ///
    /// `tasks/result` should block until the task is finished (2025-11-25, basic/utilities/tasks, result retrieval). A
    /// server that rejects it earlier is asked again once the task is completed or needs input.
    async fn poll_until_result(
        &self,
        rpc: &RpcClient,
        id: &str,
        seen: Option<Task>,
        told: ProgressCallback<'_>,
        log: Option<&Arc<ServerRequestLog>>,
    ) -> RequestOutcome {
        let operation = |method| followed_task_operation(method, id, log);
        let (fetch, query) = (operation(method::TASKS_RESULT), operation(method::TASKS_GET));
        let mut pause = seen.as_ref().map_or(DEFAULT_POLL_INTERVAL, |task| task.poll_interval);
        if let Some(task) = &seen {
            told(task);
        }
        let mut result = std::pin::pin!(self.fetch_task_result(rpc, &fetch, pause));
        let mut polls = true;
        let mut refusal: Option<RequestOutcome> = None;
        loop {
            let state = async {
                if !polls {
                    return std::future::pending().await;
                }
                if let Err(failure) = rpc.sleep(pause).await {
                    return RequestOutcome::Failed(failure);
                }
                self.request(rpc, &query).await
            };
            tokio::select! {
                biased;
                reply = &mut result, if refusal.is_none() => match &reply {
                    RequestOutcome::Error(error, _) if polls && error.code != Some(code::METHOD_NOT_FOUND) => {
                        refusal = Some(reply);
                    }
                    _ => return reply,
                },
                state = state => match state {
                    RequestOutcome::Result(state) => {
                        let Some(task) = Task::parse(&state) else { continue };
                        told(&task);
                        pause = task.poll_interval;
                        polls = !task.is_finished();
                        if matches!(task.status.as_str(), "completed" | "input_required") && refusal.take().is_some() {
                            result.set(self.fetch_task_result(rpc, &fetch, pause));
                        }
                        if let Some(refusal) = refusal.take_if(|_| !polls) {
                            return refusal;
                        }
                    }
                    reply if was_lost(&reply, rpc) => {}
                    // A server that does not answer this supports only `tasks/result`.
                    RequestOutcome::Error(error, _) if error.code == Some(code::METHOD_NOT_FOUND) => {
                        match refusal.take() {
                            Some(refusal) => return refusal,
                            None => polls = false,
                        }
                    }
                    reply => return refusal.unwrap_or(reply),
                },
            }
        }
    }

    /// `tasks/result`, which blocks until the task is finished; sent again if the response was lost.
    async fn fetch_task_result(
        &self,
        rpc: &RpcClient,
        fetch: &Operation,
        pause: std::time::Duration,
    ) -> RequestOutcome {
        for _ in 0..MAX_LOST_REQUESTS {
            // The task continues when the wait ends, so the server is not informed.
            let reply = rpc
                .request(OutgoingRequest {
                    timeout: None,
                    cancel_mode: CancelMode::CloseStream,
                    ..self.encode_request(rpc, fetch)
                })
                .await;
            if !was_lost(&reply, rpc) {
                return reply;
            }
            if let Err(failure) = rpc.sleep(pause).await {
                return RequestOutcome::Failed(failure);
            }
        }
        rpc.request(OutgoingRequest {
            timeout: None,
            cancel_mode: CancelMode::CloseStream,
            ..self.encode_request(rpc, fetch)
        })
        .await
    }
}
