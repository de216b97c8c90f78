//! Tasks of the extension `io.modelcontextprotocol/tasks`: polled (ext-tasks).

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::task::{
    DEFAULT_POLL_INTERVAL, MAX_LOST_REQUESTS, ProgressCallback, Task, TaskProtocol, followed_task_operation, was_lost,
};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{JsonText, MAX_DEPTH, member, parse_value};
use crate::protocol::json_cursor::find_member;
use crate::protocol::method;
use crate::protocol::rpc::{RawJson, RpcError};
use crate::session::era::Era;
use crate::session::era::modern::ModernEra;
use crate::session::input_requests::InputRounds;
use crate::session::operation::TaskRequest;
use crate::session::request::RequestOutcome;
use crate::session::rpc_client::RpcClient;
use crate::session::server_requests::ServerRequestLog;
use crate::transport::BoxFuture;

impl TaskProtocol for ModernEra {
    fn would_create_task(&self, _task_request: TaskRequest) -> Option<bool> {
        None
    }

    fn created_task(&self, result: &RawJson) -> Option<Task> {
        let kind = find_member(result.get(), "resultType").and_then(JsonText::new);
        if kind.is_some_and(|kind| kind.decode() == "task") { Task::parse(result) } else { None }
    }

    fn await_task<'a>(
        &'a self,
        rpc: &'a RpcClient,
        id: &'a str,
        seen: Option<Task>,
        told: ProgressCallback<'a>,
        log: Option<&'a Arc<ServerRequestLog>>,
    ) -> BoxFuture<'a, RequestOutcome> {
        Box::pin(async move { self.poll_until_finished(rpc, id, seen, told, log).await.unwrap_or_else(|why| why) })
    }

    fn supports_task_list(&self) -> bool {
        false
    }
}

impl ModernEra {
    /// Polls until the task is finished; the error is why there is no result.
    async fn poll_until_finished(
        &self,
        rpc: &RpcClient,
        id: &str,
        seen: Option<Task>,
        told: ProgressCallback<'_>,
        log: Option<&Arc<ServerRequestLog>>,
    ) -> Result<RequestOutcome, RequestOutcome> {
        let query = followed_task_operation(method::TASKS_GET, id, log);
        let mut answered = HashSet::new();
        let (mut lost, mut rounds) = (0, InputRounds::default());
        let mut task = seen;
        loop {
            if let Some(task) = &task {
                told(task);
                match task.status.as_str() {
                    "completed" => return Ok(task_result(task)),
                    "failed" => return Err(RequestOutcome::Error(task_error(task).into(), None)),
                    "cancelled" => return Err(RequestOutcome::Failed(cancelled_failure(task))),
                    "input_required" => self.answer_task_inputs(rpc, task, &mut answered, &mut rounds, log).await?,
                    _ => {}
                }
                rpc.sleep(task.poll_interval).await.map_err(RequestOutcome::Failed)?;
            }
            match self.request(rpc, &query).await {
                RequestOutcome::Result(state) => {
                    lost = 0;
                    let broken =
                        || Failure::new(ErrorKind::Protocol, "the server's response to tasks/get is not a task");
                    task = Some(Task::parse(&state).ok_or_else(broken).map_err(RequestOutcome::Failed)?);
                }
                reply if was_lost(&reply, rpc) && lost < MAX_LOST_REQUESTS => {
                    lost += 1;
                    let pause = task.as_ref().map_or(DEFAULT_POLL_INTERVAL, |task| task.poll_interval);
                    rpc.sleep(pause).await.map_err(RequestOutcome::Failed)?;
                }
                reply => return Err(reply),
            }
        }
    }

    /// Answers the input requests of a task. A key stays in the list until the server has processed the answer;
    /// answered keys are not answered again.
    async fn answer_task_inputs(
        &self,
        rpc: &RpcClient,
        task: &Task,
        answered: &mut HashSet<String>,
        rounds: &mut InputRounds,
        log: Option<&Arc<ServerRequestLog>>,
    ) -> Result<(), RequestOutcome> {
        let requests = member(&task.raw, "inputRequests").map(|raw| parse_value(raw.get()));
        let requests = match requests {
            Some(Some(Value::Object(requests))) => requests,
            Some(None) => {
                let what = format!("the task's request for input is nested more than {MAX_DEPTH} levels deep");
                return Err(RequestOutcome::Failed(Failure::new(ErrorKind::Protocol, what)));
            }
            None | Some(Some(_)) => {
                let what = "the task needs input, but the server does not say which";
                return Err(RequestOutcome::Failed(Failure::new(ErrorKind::Protocol, what)));
            }
        };
        let questions = self.client_handler.request_log(log);
        let requests: Vec<(String, Value)> = requests.into_iter().filter(|(key, _)| !answered.contains(key)).collect();
        if requests.is_empty() {
            return Ok(());
        }
        let news = requests.iter().map(|(_, request)| request);
        rounds.count(news, &self.client_handler, questions).map_err(RequestOutcome::Failed)?;
        let mut responses = Map::new();
        for (key, request) in requests {
            let name = request.get("method").and_then(Value::as_str).unwrap_or_default();
            let params = request.get("params").unwrap_or(&Value::Null);
            let answer = self.client_handler.handle_server_request(name, params, questions).await;
            responses.insert(key, answer.map_err(|refusal| RequestOutcome::Failed(refusal.into_failure()))?);
        }
        answered.extend(responses.keys().cloned());
        let mut call = followed_task_operation(method::TASKS_UPDATE, &task.id, log);
        call.params.insert("inputResponses", Value::Object(responses));
        let mut lost = 0;
        loop {
            match self.request(rpc, &call).await {
                RequestOutcome::Result(_) => return Ok(()),
                reply if was_lost(&reply, rpc) && lost < MAX_LOST_REQUESTS => {
                    lost += 1;
                    rpc.sleep(task.poll_interval).await.map_err(RequestOutcome::Failed)?;
                }
                reply => return Err(reply),
            }
        }
    }
}

fn task_result(task: &Task) -> RequestOutcome {
    match member(&task.raw, "result") {
        Some(result) => RequestOutcome::Result(result.to_owned()),
        None => RequestOutcome::Failed(Failure::new(ErrorKind::Protocol, "the task is completed, but has no result")),
    }
}

/// The JSON-RPC error with which the call behind a task failed.
fn task_error(task: &Task) -> RpcError {
    let error = member(&task.raw, "error").filter(|raw| raw.get() != "null");
    let mut error = error.map_or_else(RpcError::default, RpcError::parse);
    if error.message.is_empty() {
        error.message = task.message.clone().unwrap_or_default();
    }
    error
}

fn cancelled_failure(task: &Task) -> Failure {
    let failure = Failure::new(ErrorKind::Failed, "the task was canceled");
    match &task.message {
        Some(message) => failure.cause(message.clone()),
        None => failure,
    }
}
