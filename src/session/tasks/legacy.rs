//! Tasks of 2025-11-25: asked for by the client; `tasks/result` waits for the end.

use serde_json::Value;

use super::{ATTEMPTS, POLL, Task, Tasks, Told, Wish, ask_about, got_lost};
use crate::protocol::revision::Revision;
use crate::protocol::rpc::Raw;
use crate::protocol::views::member;
use crate::protocol::{code, method};
use crate::session::era::Era;
use crate::session::legacy::Legacy;
use crate::session::link::{Ask, Cancel, Link, Reply};
use crate::transport::Boxed;

impl Tasks for Legacy {
    fn would_detach(&self, wish: Wish) -> Option<bool> {
        Some(self.takes_task(wish))
    }

    fn created(&self, result: &Raw) -> Option<Task> {
        // A server that knows no tasks answers with the result itself.
        let task = member(result, "task")?;
        if member(result, "content").is_some() { None } else { Task::read(task) }
    }

    fn outcome<'a>(&'a self, link: &'a Link, id: &'a str, seen: Option<Task>, told: Told<'a>) -> Boxed<'a, Reply> {
        Box::pin(self.follow(link, id, seen, told))
    }

    fn lists_tasks(&self) -> bool {
        self.declared("/tasks/list")
    }
}

impl Legacy {
    /// Whether a call with this wish is sent as a task (`TOL-10`).
    pub(in crate::session) fn takes_task(&self, wish: Wish) -> bool {
        wish.wants_task() && self.revision() >= Revision::V2025_11_25 && self.declared("/tasks/requests/tools/call")
    }

    fn declared(&self, capability: &str) -> bool {
        let capabilities = self.server().capabilities.unwrap_or(Value::Null);
        capabilities.pointer(capability).is_some_and(|value| !value.is_null() && *value != false)
    }

    /// Waits for the result, which may need input of ours on the way, and asks how it stands meanwhile.
    async fn follow(&self, link: &Link, id: &str, seen: Option<Task>, told: Told<'_>) -> Reply {
        let mut pause = seen.as_ref().map_or(POLL, |task| task.poll);
        if let Some(task) = &seen {
            told(task);
        }
        let mut result = std::pin::pin!(self.result(link, id, pause));
        let mut asked = true;
        loop {
            let state = async {
                if !asked {
                    return std::future::pending().await;
                }
                if let Err(failure) = link.sleep(pause).await {
                    return Reply::Failed(failure);
                }
                self.request(link, &ask_about(method::TASKS_GET, id)).await
            };
            tokio::select! {
                biased;
                reply = &mut result => return reply,
                state = state => match state {
                    Reply::Result(state) => {
                        if let Some(task) = Task::read(&state) {
                            told(&task);
                            pause = task.poll;
                            asked = !task.is_over();
                        }
                    }
                    reply if got_lost(&reply, link) => {}
                    // It need not be told how it stands, where the result will come all the same.
                    Reply::Error(error, _) if error.code == code::METHOD_NOT_FOUND => asked = false,
                    reply => return reply,
                },
            }
        }
    }

    /// `tasks/result`, which blocks until the task is over; asked again where the answer got lost.
    async fn result(&self, link: &Link, id: &str, pause: std::time::Duration) -> Reply {
        let call = ask_about(method::TASKS_RESULT, id);
        for _ in 0..ATTEMPTS {
            // To stop waiting does not stop the task, and the server need not hear of it.
            let reply = link.ask(Ask { timeout: None, cancel: Cancel::Close, ..self.worded(link, &call) }).await;
            if !got_lost(&reply, link) {
                return reply;
            }
            if let Err(failure) = link.sleep(pause).await {
                return Reply::Failed(failure);
            }
        }
        link.ask(Ask { timeout: None, cancel: Cancel::Close, ..self.worded(link, &call) }).await
    }
}
