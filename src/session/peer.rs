//! Our side of what a server may ask and tell: what is declared, what comes of notifications, what is answered.
//!
//! In a legacy session a server asks by requests of its own, answered one by one; in the modern era its
//! questions are embedded in an `input_required` result (MRTR). Both end in [`input`](super::input). Every
//! request gets an answer; what was not declared is refused in the protocol's own way (`MSG-13`, `ELI-02`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use url::Url;

use super::input::Refusal;
use super::notices::Notices;
use super::questions::Questions;
use crate::error::{Class, Failure, Result};
use crate::protocol::revision::Revision;
use crate::protocol::rpc::{self, parse_value};
use crate::protocol::{code, method};
use crate::transport::Boxed;

/// How a wish for input was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Agreed, with the values of a form.
    Accept(Map<String, Value>),
    /// Agreed to visit a page.
    Agreed,
    /// Said no.
    Decline,
    /// Went away without an answer.
    Cancel,
}

impl Answer {
    /// The `ElicitResult`.
    #[must_use]
    pub fn result(&self) -> Value {
        match self {
            Answer::Accept(content) => json!({"action": "accept", "content": content}),
            Answer::Agreed => json!({"action": "accept"}),
            Answer::Decline => json!({"action": "decline"}),
            Answer::Cancel => json!({"action": "cancel"}),
        }
    }
}

/// A page that a server wants the person to visit.
pub struct Page<'a> {
    /// Why, in the server's words.
    pub message: &'a str,
    /// The page; one that may be opened.
    pub url: Url,
    /// Until when to wait once the person has agreed: until they say that they are done, or this resolves.
    /// `None` does not wait.
    pub until: Option<Boxed<'a, ()>>,
}

/// Answers a server's wish for input; implemented where the person is.
pub trait Inputs: Send + Sync {
    /// Whether a person is there, so that pages can be shown: URL mode is declared only then (`ELI-01`).
    fn person(&self) -> bool;

    /// Answers an elicitation in form mode.
    fn form<'a>(&'a self, message: &'a str, schema: &'a Value) -> Boxed<'a, Result<Answer>>;

    /// Asks whether a page may be opened, and opens it (`ELI-06`).
    fn page<'a>(&'a self, page: Page<'a>) -> Boxed<'a, Result<Answer>>;
}

/// Answers a server's wish for a model's words.
pub trait Sampler: Send + Sync {
    /// The `CreateMessageResult` for the parameters of `sampling/createMessage`.
    fn sample<'a>(&'a self, params: &'a Value) -> Boxed<'a, Result<Value>>;
}

/// Is told what a server reports while it works.
pub trait Observer: Send + Sync {
    /// Any notification, before it is looked at, in the order in which they come.
    fn notification(&self, method: &str, params: Option<&RawValue>);
    /// `notifications/progress`.
    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>);
    /// `notifications/message`.
    fn log(&self, level: &str, logger: Option<&str>, data: &Value);
    /// Something the person should know about the session itself.
    fn warn(&self, text: &str);
}

/// A directory offered to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// A `file://` URI.
    pub uri: String,
    /// The name for people.
    pub name: Option<String>,
}

/// What we can do for a server. Declared only where it is usable (`ELI-01`).
#[derive(Clone, Default)]
pub struct Abilities {
    /// Roots; declared only when there are some.
    pub roots: Vec<Root>,
    /// Who answers elicitations; not declared where `None`.
    pub inputs: Option<Arc<dyn Inputs>>,
    /// Who answers sampling; not declared where `None`.
    pub sampler: Option<Arc<dyn Sampler>>,
    /// Who is told of progress and logs.
    pub observer: Option<Arc<dyn Observer>>,
    /// The least level of logs to ask for; nothing is asked for where `None`.
    pub log_level: Option<&'static str>,
}

/// Our side of one connection.
pub struct Peer {
    pub(super) abilities: Abilities,
    /// How many questions are being answered right now.
    pub(super) busy: AtomicUsize,
    /// The pages that are being visited, by their `elicitationId`.
    pub(super) visits: Mutex<HashMap<String, Arc<Notify>>>,
    lists_changed: AtomicBool,
    notices: Notices,
    /// The questions that belong to no request that keeps its own.
    pub(super) questions: Questions,
}

impl Peer {
    /// Our side, with these abilities.
    #[must_use]
    pub fn new(abilities: Abilities) -> Self {
        Peer {
            abilities,
            busy: AtomicUsize::new(0),
            visits: Mutex::default(),
            lists_changed: AtomicBool::new(false),
            notices: Notices::default(),
            questions: Questions::default(),
        }
    }

    /// Whether a server may send requests of its own (so that its stream must stand before the first call).
    #[must_use]
    pub fn may_be_asked(&self) -> bool {
        self.abilities.inputs.is_some() || self.abilities.sampler.is_some() || !self.abilities.roots.is_empty()
    }

    /// The capabilities to declare in this revision.
    #[must_use]
    pub fn capabilities(&self, revision: Revision) -> Value {
        let mut all = Map::new();
        if !self.abilities.roots.is_empty() {
            all.insert("roots".into(), json!({}));
        }
        if self.abilities.sampler.is_some() {
            all.insert("sampling".into(), json!({}));
        }
        if let Some(inputs) = &self.abilities.inputs
            && revision >= Revision::V2025_06_18
        {
            let mut modes = Map::new();
            // In 2025-06-18 there is one mode and no name for it.
            if revision > Revision::V2025_06_18 {
                modes.insert("form".into(), json!({}));
                if inputs.person() {
                    modes.insert("url".into(), json!({}));
                }
            }
            all.insert("elicitation".into(), Value::Object(modes));
        }
        Value::Object(all)
    }

    /// Whether a request of the server goes to a person or a model, who take their time.
    pub(super) fn takes_time(&self, name: &str) -> bool {
        match name {
            method::ELICIT => self.abilities.inputs.is_some(),
            method::SAMPLING => self.abilities.sampler.is_some(),
            _ => false,
        }
    }

    /// The least level of logs to ask for.
    #[must_use]
    pub fn log_level(&self) -> Option<&'static str> {
        self.abilities.log_level
    }

    /// Tells the person something about the session.
    pub fn warn(&self, text: &str) {
        if let Some(observer) = &self.abilities.observer {
            observer.warn(text);
        }
    }

    /// Whether a person is being asked right now.
    #[must_use]
    pub fn busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed) > 0
    }

    /// Where what the server says of its own accord can be listened to.
    #[must_use]
    pub fn notices(&self) -> &Notices {
        &self.notices
    }

    /// Whether the server said that one of its lists changed (`MSG-11`).
    #[must_use]
    pub fn lists_changed(&self) -> bool {
        self.lists_changed.load(Ordering::Relaxed)
    }

    /// Takes note of a fresh list, or of a change of one.
    pub fn set_lists_changed(&self, changed: bool) {
        self.lists_changed.store(changed, Ordering::Relaxed);
    }

    /// The questions of a request: its own, where it keeps some.
    pub(super) fn questions<'a>(&'a self, own: Option<&'a Arc<Questions>>) -> &'a Questions {
        own.map_or(&self.questions, |own| own)
    }

    /// Takes note that a request has come to its end, and with it what the server asked in its course.
    pub(super) fn finished(&self, own: Option<&Arc<Questions>>) {
        self.questions(own).finished();
        self.questions.finished();
    }

    /// Handles a notification; unknown ones are ignored.
    pub fn notified(&self, name: &str, params: Option<&RawValue>, value: &Value) {
        if name.ends_with("/list_changed") {
            self.set_lists_changed(true);
        }
        self.notices.tell(name, value);
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        if name == method::ELICITED
            && let Some(visit) = text("elicitationId").and_then(|id| lock(&self.visits).get(id).cloned())
        {
            visit.notify_one();
        }
        let Some(observer) = &self.abilities.observer else { return };
        observer.notification(name, params);
        match name {
            method::PROGRESS => {
                let number = |key: &str| value.get(key).and_then(Value::as_f64);
                observer.progress(number("progress").unwrap_or_default(), number("total"), text("message"));
            }
            method::LOG => {
                let data = value.get("data").unwrap_or(&Value::Null);
                observer.log(text("level").unwrap_or("info"), text("logger"), data);
            }
            _ => {}
        }
    }

    /// The whole answer to a request of a legacy server, ready to be sent; none where the user stopped it,
    /// since then the request it belongs to is cancelled. With a failure, nothing more is to be awaited.
    /// `questions` are those of the request of ours in whose course it came.
    pub async fn answer(
        &self,
        id: &RawValue,
        name: &str,
        params: Option<&RawValue>,
        questions: &Questions,
    ) -> (Option<String>, Option<Failure>) {
        let params = params.and_then(|raw| parse_value(raw.get())).unwrap_or(Value::Null);
        if name == method::PING {
            return (Some(rpc::response(id, "{}")), None);
        }
        let failed = |failure: &Failure| match name {
            method::ELICIT => rpc::response(id, &Answer::Cancel.result().to_string()),
            _ => rpc::error_response(id, code::INTERNAL, &failure.details().message),
        };
        match self.fulfil(name, &params, questions).await {
            Ok(result) => (Some(rpc::response(id, &result.to_string())), None),
            Err(Refusal::Unfit { code, message, .. }) => (Some(rpc::error_response(id, code, &message)), None),
            Err(Refusal::Unanswered(failure)) => {
                if matches!(failure.class(), Class::Interrupted | Class::Terminated) {
                    return (None, None);
                }
                let answer = failed(&failure);
                questions.set_unanswered(failure);
                (Some(answer), None)
            }
            Err(Refusal::Endless(failure)) => (Some(failed(&failure)), Some(failure)),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
