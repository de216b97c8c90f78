//! Tasks: calls whose result comes later (digest §6).
//!
//! In 2025-11-25 the client asks for a task and the server keeps the result until `tasks/result`; in the
//! extension of 2026-07-28 the server answers with a task when it likes, and `tasks/get` brings all. What
//! a task is, how it is looked at and how it is stopped is the same in both.

mod legacy;
mod modern;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::era::Call;
use super::legacy::Left;
use super::link::{Link, Reply, human};
use super::{Session, Use};
use crate::error::{Class, Failure, Result};
use crate::protocol::rpc::{Raw, parse_value};
use crate::protocol::views::member;
use crate::protocol::{code, extension, method};
use crate::transport::{Boxed, Wire};

/// How often to ask where the server does not say.
const POLL: Duration = Duration::from_secs(1);
/// Never more often than this, whatever the server says.
const FASTEST: Duration = Duration::from_millis(20);
/// How often in a row a question about a task may get lost before that is the outcome.
const ATTEMPTS: u32 = 5;

/// Whether a tool runs as a task, by its `execution.taskSupport`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Support {
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

impl Support {
    /// What a tool says of itself; nothing said is `forbidden`.
    #[must_use]
    pub fn of(tool: &Value) -> Self {
        match tool.pointer("/execution/taskSupport").and_then(Value::as_str) {
            Some("required") => Support::Required,
            Some("optional") => Support::Optional,
            _ => Support::Forbidden,
        }
    }
}

/// Whether a call is to become a task, where the era leaves that to the client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What the tool says.
    pub support: Support,
    /// Whether nobody is going to wait for it.
    pub detach: bool,
}

impl Wish {
    /// Whether a task is to be asked for of a server that knows tasks (`TOL-10`).
    #[must_use]
    pub fn wants_task(self) -> bool {
        match self.support {
            Support::Required => true,
            Support::Optional | Support::Unknown => self.detach,
            Support::Forbidden => false,
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
    pub poll: Duration,
    /// How long the server keeps it, from its creation; `None` where it does not say, or for ever.
    pub ttl: Option<Duration>,
    /// The whole state, as it came.
    pub raw: Raw,
}

impl Task {
    /// Reads a task, by either era's names, bare or as `{"task":…}`; `None` where it is none.
    #[must_use]
    pub fn read(raw: &RawValue) -> Option<Self> {
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
            poll: time(["pollIntervalMs", "pollInterval"]).unwrap_or(POLL).max(FASTEST),
            ttl: time(["ttlMs", "ttl"]),
            raw: raw.to_owned(),
        })
    }

    /// Whether it will never change again.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "completed" | "failed" | "cancelled")
    }
}

/// Who is told how a task stands.
pub type Told<'a> = &'a (dyn Fn(&Task) + Send + Sync);

/// How an era has tasks.
pub trait Tasks {
    /// Whether the server would make a task of such a call; `None` where only it decides.
    fn would_detach(&self, wish: Wish) -> Option<bool>;

    /// The task that a call was answered with.
    fn created(&self, result: &Raw) -> Option<Task>;

    /// Follows a task to its end: the result of the call behind it, or why there is none. `seen` is its state
    /// as far as it is known already.
    fn outcome<'a>(&'a self, link: &'a Link, id: &'a str, seen: Option<Task>, told: Told<'a>) -> Boxed<'a, Reply>;

    /// Whether the server may be asked which tasks there are.
    fn lists_tasks(&self) -> bool;
}

/// A question about one task.
fn ask_about(method: &'static str, id: &str) -> Call {
    let mut params = Map::new();
    params.insert("taskId".into(), id.into());
    // An unknown id is refused in the same words as an unknown era: it must not be what finds the era out.
    let call = Call::read_only(method, params).named(id).declaring(&[extension::TASKS]).with_effects();
    Call { repeatable: true, ..call }
}

/// Whether the question may just be asked again: it was lost on the way.
fn got_lost(reply: &Reply, link: &Link) -> bool {
    match reply {
        Reply::Failed(failure) => failure.class() == Class::Unreachable && link.gone().is_none(),
        Reply::Refused(refusal) => matches!(refusal.status, 408 | 425 | 429 | 500..),
        Reply::Error(_, status) => matches!(status, Some(429 | 502..=504)),
        Reply::Result(_) => false,
    }
}

impl Session {
    /// The task that a call was answered with, if any.
    pub async fn created(&self, result: &Raw) -> Option<Task> {
        self.open.lock().await.as_ref()?.era.created(result)
    }

    /// Whether the server would make a task of such a call; `None` where only it decides. Opens the connection.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn would_detach(&self, call: &Call) -> Result<Option<bool>> {
        let (live, _) = self.live(call).await?;
        Ok(live.era.would_detach(call.task.unwrap_or_default()))
    }

    /// Follows a task to its end: the result of the call behind it. With `patience`, no longer than that
    /// without any news of it.
    ///
    /// # Errors
    /// When it failed, was cancelled, cannot be asked after, or patience ran out; the task goes on then.
    pub async fn outcome(
        &self,
        id: &str,
        seen: Option<Task>,
        patience: Option<Duration>,
        told: Told<'_>,
    ) -> Result<Raw> {
        let (live, _) = self.live(&ask_about(method::TASKS_GET, id)).await?;
        let latest = Mutex::new((String::new(), None, Instant::now()));
        let fresh = || latest.lock().unwrap_or_else(PoisonError::into_inner);
        let note = |task: &Task| {
            let mut latest = fresh();
            if (&latest.0, &latest.1) != (&task.status, &task.message) {
                *latest = (task.status.clone(), task.message.clone(), Instant::now());
            }
            drop(latest);
            told(task);
        };
        let mut notices = self.peer.notices().listen();
        let mut outcome = live.era.outcome(&live.link, id, seen, &note);
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
                    if self.peer.busy() {
                        fresh().2 = Instant::now();
                    }
                    if deadline < patience.map(|patience| fresh().2 + patience) {
                        continue;
                    }
                    let time = human(patience.unwrap_or_default());
                    break Reply::Failed(Failure::new(Class::Timeout, format!("no news of the task within {time}")));
                }
            }
        };
        match reply {
            Reply::Result(result) => Ok(result),
            reply => Err(self.task_failure(reply, id)),
        }
    }

    /// How a task stands.
    ///
    /// # Errors
    /// When the server does not know it or cannot be asked.
    pub async fn task(&self, id: &str) -> Result<Task> {
        let result = self.about_task(method::TASKS_GET, id).await?;
        Task::read(&result).ok_or_else(|| {
            Failure::new(Class::Protocol, "the server's answer to tasks/get is no task").server(&self.target.name)
        })
    }

    /// Asks the server to stop a task; its answer as it came.
    ///
    /// # Errors
    /// As [`Session::task`], and when the task is over already.
    pub async fn cancel_task(&self, id: &str) -> Result<Raw> {
        self.about_task(method::TASKS_CANCEL, id).await
    }

    async fn about_task(&self, method: &'static str, id: &str) -> Result<Raw> {
        match self.reply(&ask_about(method, id)).await? {
            Reply::Result(result) => Ok(result),
            reply => Err(self.task_failure(reply, id)),
        }
    }

    /// Tells the server to stop a task although the user has asked to stop; nobody waits for its answer long.
    pub async fn stop_task(&self, id: &str) {
        let live = self.open.lock().await.clone();
        let Some(live) = live else { return };
        let ask = live.era.worded(&live.link, &ask_about(method::TASKS_CANCEL, id));
        live.link.farewell(ask).await;
    }

    /// The server's own list of tasks, as it came; `None` where it keeps none.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub async fn tasks(&self) -> Result<Option<Vec<Raw>>> {
        let first = Call::read_only(method::TASKS_LIST, Map::new()).with_effects();
        let (live, _) = self.live(&first).await?;
        if !live.era.lists_tasks() {
            return Ok(None);
        }
        let page = self.request(&first).await?;
        self.whole_list(&first, "tasks", page, Use::Server, |_| {}).await.map(Some)
    }

    /// Keeps the server's session alive when the connection ends, for the sake of the tasks in it, and says
    /// how to go on with it.
    pub async fn leave_open(&self) -> Option<Left> {
        let open = self.open.lock().await;
        let live = open.as_ref()?;
        let session = live.link.transport().session()?;
        live.link.transport().forget_session();
        Some(Left { session, revision: live.era.revision() })
    }

    /// Whether what the server keeps ends with this connection.
    pub async fn ends_with_us(&self) -> bool {
        self.open.lock().await.as_ref().is_some_and(|live| live.link.wire() != Wire::Http)
    }

    fn task_failure(&self, reply: Reply, id: &str) -> Failure {
        match reply {
            Reply::Error(error, _) if error.code == code::METHOD_NOT_FOUND => {
                Failure::new(Class::Failed, "the server knows nothing of tasks").rpc(error)
            }
            Reply::Failed(failure) => failure,
            reply => self.failure(reply, &format!("the task '{id}'")),
        }
        .server(&self.target.name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn raw(value: Value) -> Raw {
        RawValue::from_string(value.to_string()).unwrap()
    }

    #[test]
    fn a_task_is_read_by_either_eras_names() {
        let modern = Task::read(&raw(json!({"resultType": "task", "taskId": "a", "status": "working",
            "statusMessage": " ", "pollIntervalMs": 5000, "ttlMs": null})))
        .unwrap();
        assert_eq!((modern.id.as_str(), modern.poll, modern.ttl), ("a", Duration::from_secs(5), None));
        assert_eq!(modern.message, None);
        let nested = json!({"task": {"taskId": "b", "status": "failed", "pollInterval": 0, "ttl": 60000}});
        let legacy = Task::read(&raw(nested)).unwrap();
        assert_eq!((legacy.poll, legacy.ttl), (FASTEST, Some(Duration::from_secs(60))));
        assert!(legacy.is_over() && !modern.is_over());
        assert!(Task::read(&raw(json!({"content": []}))).is_none());
    }

    #[test]
    fn tol_10_a_task_is_asked_for_only_where_the_tool_allows_it() {
        let support = |value: &str| Support::of(&json!({"execution": {"taskSupport": value}}));
        let wants = |support, detach| Wish { support, detach }.wants_task();
        assert!(wants(support("required"), false) && wants(support("required"), true));
        assert!(wants(support("optional"), true) && !wants(support("optional"), false));
        for never in [support("forbidden"), support("x"), Support::of(&json!({}))] {
            assert!(!wants(never, true) && !wants(never, false));
        }
    }
}
