//! Tasks of the extension `io.modelcontextprotocol/tasks`: asked after from time to time (ext-tasks).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::{ATTEMPTS, Task, Tasks, Told, Wish, ask_about, got_lost};
use crate::error::{Class, Failure, Result};
use crate::protocol::method;
use crate::protocol::rpc::{Raw, RpcError, parse_value};
use crate::protocol::views::member;
use crate::session::era::Era;
use crate::session::input::MAX_ROUNDS;
use crate::session::link::{Link, Reply};
use crate::session::modern::Modern;
use crate::transport::Boxed;

impl Tasks for Modern {
    fn would_detach(&self, _wish: Wish) -> Option<bool> {
        None
    }

    fn created(&self, result: &Raw) -> Option<Task> {
        let kind = member(result, "resultType").and_then(|raw| parse_value(raw.get()));
        if kind.as_ref().and_then(Value::as_str) == Some("task") { Task::read(result) } else { None }
    }

    fn outcome<'a>(&'a self, link: &'a Link, id: &'a str, seen: Option<Task>, told: Told<'a>) -> Boxed<'a, Reply> {
        Box::pin(async move { self.poll(link, id, seen, told).await.unwrap_or_else(|why| why) })
    }

    fn lists_tasks(&self) -> bool {
        false
    }
}

impl Modern {
    /// Asks until the task is over; the error is why there is no result.
    async fn poll(&self, link: &Link, id: &str, seen: Option<Task>, told: Told<'_>) -> Result<Reply, Reply> {
        let mut answered = HashSet::new();
        let (mut lost, mut rounds) = (0, 0);
        let mut task = seen;
        loop {
            if let Some(task) = &task {
                told(task);
                match task.status.as_str() {
                    "completed" => return Ok(result(task)),
                    "failed" => return Err(Reply::Error(error(task), None)),
                    "cancelled" => return Err(Reply::Failed(cancelled(task))),
                    "input_required" => self.provide(link, task, &mut answered, &mut rounds).await?,
                    _ => {}
                }
                link.sleep(task.poll).await.map_err(Reply::Failed)?;
            }
            match self.request(link, &ask_about(method::TASKS_GET, id)).await {
                Reply::Result(state) => {
                    lost = 0;
                    let broken = || Failure::new(Class::Protocol, "the server's answer to tasks/get is no task");
                    task = Some(Task::read(&state).ok_or_else(broken).map_err(Reply::Failed)?);
                }
                reply if got_lost(&reply, link) && lost < ATTEMPTS => {
                    lost += 1;
                    let pause = task.as_ref().map_or(super::POLL, |task| task.poll);
                    link.sleep(pause).await.map_err(Reply::Failed)?;
                }
                reply => return Err(reply),
            }
        }
    }

    /// Answers what a task waits for. A key stays in the list until the server has caught up; what was
    /// answered is not asked again.
    async fn provide(
        &self,
        link: &Link,
        task: &Task,
        answered: &mut HashSet<String>,
        rounds: &mut usize,
    ) -> Result<(), Reply> {
        let requests = member(&task.raw, "inputRequests").and_then(|raw| parse_value(raw.get()));
        let Some(Value::Object(requests)) = requests else {
            let what = "the task needs input, but the server does not say which";
            return Err(Reply::Failed(Failure::new(Class::Protocol, what)));
        };
        let mut responses = Map::new();
        for (key, request) in requests {
            if answered.contains(&key) {
                continue;
            }
            let name = request.get("method").and_then(Value::as_str).unwrap_or_default();
            let params = request.get("params").unwrap_or(&Value::Null);
            let answer = self.peer.fulfil(name, params, &self.peer.questions).await;
            responses.insert(key, answer.map_err(|refusal| Reply::Failed(refusal.failure()))?);
        }
        if responses.is_empty() {
            return Ok(());
        }
        *rounds += 1;
        if *rounds > MAX_ROUNDS {
            return Err(Reply::Failed(self.peer.questions.endless()));
        }
        answered.extend(responses.keys().cloned());
        let mut call = ask_about(method::TASKS_UPDATE, &task.id);
        call.params.insert("inputResponses".into(), Value::Object(responses));
        match self.request(link, &call).await {
            Reply::Result(_) => Ok(()),
            reply => Err(reply),
        }
    }
}

fn result(task: &Task) -> Reply {
    match member(&task.raw, "result") {
        Some(result) => Reply::Result(result.to_owned()),
        None => Reply::Failed(Failure::new(Class::Protocol, "the task is completed, but has no result")),
    }
}

/// The JSON-RPC error with which the call behind a task failed.
fn error(task: &Task) -> RpcError {
    let found = member(&task.raw, "error");
    let value = found.and_then(|raw| parse_value(raw.get())).unwrap_or(Value::Null);
    let message = value.get("message").and_then(Value::as_str).map(ToOwned::to_owned);
    RpcError {
        code: value.get("code").and_then(Value::as_i64).unwrap_or_default(),
        message: message.or_else(|| task.message.clone()).unwrap_or_default(),
        data: found.and_then(|raw| member(raw, "data")).map(ToOwned::to_owned),
        retry_after: None,
    }
}

fn cancelled(task: &Task) -> Failure {
    let failure = Failure::new(Class::Failed, "the task was cancelled");
    match &task.message {
        Some(message) => failure.cause(message.clone()),
        None => failure,
    }
}
