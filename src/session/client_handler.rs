//! The client's side of a session: the capabilities it declares, and the notifications it receives.
//!
//! In a legacy session a server sends requests of its own, which are answered one by one; in the modern era they are
//! part of an `input_required` result. `input_requests.rs` handles both. Every request gets an answer; one that needs
//! an undeclared capability is refused with the protocol's error (`MSG-13`, `ELI-02`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;
use url::Url;

use crate::error::Result;
use crate::protocol::method;
use crate::protocol::revision::Revision;
use crate::session::notifications::NotificationBroadcaster;
use crate::session::server_requests::ServerRequestLog;
use crate::transport::BoxFuture;
use crate::util::lock::lock;

/// How a wish for input was answered.
#[derive(Clone, Debug, PartialEq)]
pub enum ElicitationAnswer {
    /// Agreed, with the values of a form.
    Accept(Map<String, Value>),
    /// Agreed to visit a page.
    AcceptUrl,
    /// Said no.
    Decline,
    /// Went away without an answer.
    Cancel,
}

impl ElicitationAnswer {
    /// The `ElicitResult`.
    #[must_use]
    pub fn to_result(&self) -> Value {
        match self {
            ElicitationAnswer::Accept(content) => json!({"action": "accept", "content": content}),
            ElicitationAnswer::AcceptUrl => json!({"action": "accept"}),
            ElicitationAnswer::Decline => json!({"action": "decline"}),
            ElicitationAnswer::Cancel => json!({"action": "cancel"}),
        }
    }
}

/// A page that a server wants the person to visit.
pub struct UrlElicitation<'a> {
    /// Why, in the server's words.
    pub message: &'a str,
    /// The page; one that may be opened.
    pub url: Url,
    /// Until when to wait once the person has agreed: until they say that they are done, or this resolves.
    /// `None` does not wait.
    pub completion: Option<BoxFuture<'a, ()>>,
}

/// Answers a server's wish for input; implemented where the person is.
pub trait ElicitationResponder: Send + Sync {
    /// Whether a person is there, so that pages can be shown: URL mode is declared only then (`ELI-01`).
    fn is_interactive(&self) -> bool;

    /// Answers an elicitation in form mode.
    fn answer_form<'a>(&'a self, message: &'a str, schema: &'a Value) -> BoxFuture<'a, Result<ElicitationAnswer>>;

    /// Asks whether a page may be opened, and opens it (`ELI-06`).
    fn visit_page<'a>(&'a self, page: UrlElicitation<'a>) -> BoxFuture<'a, Result<ElicitationAnswer>>;
}

/// Answers a server's wish for a model's words.
pub trait SamplingHandler: Send + Sync {
    /// The `CreateMessageResult` for the parameters of `sampling/createMessage`.
    fn sample<'a>(&'a self, params: &'a Value) -> BoxFuture<'a, Result<Value>>;
}

/// Is told what a server reports while it works.
pub trait SessionObserver: Send + Sync {
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
pub struct ClientCapabilities {
    /// Roots; declared only when there are some.
    pub roots: Vec<Root>,
    /// Who answers elicitations; not declared where `None`.
    pub elicitation: Option<Arc<dyn ElicitationResponder>>,
    /// Who answers sampling; not declared where `None`.
    pub sampling: Option<Arc<dyn SamplingHandler>>,
    /// Who is told of progress and logs.
    pub observer: Option<Arc<dyn SessionObserver>>,
    /// The least level of logs to ask for; nothing is asked for where `None`.
    pub log_level: Option<&'static str>,
    /// Declare roots, sampling and elicitation although nobody answers them. For sessions that only list: servers show
    /// tools by what a client declares.
    pub declares_all: bool,
}

impl ClientCapabilities {
    pub(crate) fn declares_roots(&self) -> bool {
        self.declares_all || !self.roots.is_empty()
    }

    pub(crate) fn declares_sampling(&self) -> bool {
        self.declares_all || self.sampling.is_some()
    }

    pub(crate) fn declares_elicitation(&self) -> bool {
        self.declares_all || self.elicitation.is_some()
    }

    pub(crate) fn declares_pages(&self) -> bool {
        self.declares_all || self.elicitation.as_ref().is_some_and(|inputs| inputs.is_interactive())
    }

    /// The declared capabilities in a few letters, for the names of cached lists.
    pub(crate) fn key(&self) -> String {
        let all = [
            (self.declares_elicitation(), 'e'),
            (self.declares_pages(), 'u'),
            (self.declares_sampling(), 's'),
            (self.declares_roots(), 'r'),
        ];
        let declared: String = all.into_iter().filter_map(|(yes, letter)| yes.then_some(letter)).collect();
        if declared.is_empty() { "0".to_owned() } else { declared }
    }
}

/// Our side of one connection.
pub struct ClientHandler {
    pub(crate) capabilities: ClientCapabilities,
    /// How many questions are being answered right now.
    pub(crate) active_inputs: AtomicUsize,
    /// The pages that are being visited, by their `elicitationId`.
    pub(crate) page_visits: Mutex<HashMap<String, Arc<Notify>>>,
    lists_changed: AtomicBool,
    notifications: NotificationBroadcaster,
    /// The questions that belong to no request that keeps its own.
    pub(crate) server_requests: ServerRequestLog,
}

impl ClientHandler {
    /// Our side, with these abilities.
    #[must_use]
    pub fn new(abilities: ClientCapabilities) -> Self {
        ClientHandler {
            capabilities: abilities,
            active_inputs: AtomicUsize::new(0),
            page_visits: Mutex::default(),
            lists_changed: AtomicBool::new(false),
            notifications: NotificationBroadcaster::default(),
            server_requests: ServerRequestLog::default(),
        }
    }

    /// Whether a server may send requests of its own (so that its stream must stand before the first call).
    #[must_use]
    pub fn accepts_server_requests(&self) -> bool {
        self.capabilities.elicitation.is_some()
            || self.capabilities.sampling.is_some()
            || !self.capabilities.roots.is_empty()
    }

    /// The capabilities to declare in this revision.
    #[must_use]
    pub fn declared_capabilities(&self, revision: Revision) -> Value {
        let mut all = Map::new();
        if self.capabilities.declares_roots() {
            all.insert("roots".into(), json!({}));
        }
        if self.capabilities.declares_sampling() {
            all.insert("sampling".into(), json!({}));
        }
        if self.capabilities.declares_elicitation() && revision >= Revision::V2025_06_18 {
            let mut modes = Map::new();
            // In 2025-06-18 there is one mode and no name for it.
            if revision > Revision::V2025_06_18 {
                modes.insert("form".into(), json!({}));
                if self.capabilities.declares_pages() {
                    modes.insert("url".into(), json!({}));
                }
            }
            all.insert("elicitation".into(), Value::Object(modes));
        }
        Value::Object(all)
    }

    /// Whether a request of the server goes to a person or a model, who take their time.
    pub(crate) fn waits_for_input(&self, name: &str) -> bool {
        match name {
            method::ELICITATION_CREATE => self.capabilities.elicitation.is_some(),
            method::SAMPLING_CREATE_MESSAGE => self.capabilities.sampling.is_some(),
            _ => false,
        }
    }

    /// The least level of logs to ask for.
    #[must_use]
    pub fn log_level(&self) -> Option<&'static str> {
        self.capabilities.log_level
    }

    /// Tells the person something about the session.
    pub fn warn(&self, text: &str) {
        if let Some(observer) = &self.capabilities.observer {
            observer.warn(text);
        }
    }

    /// Whether a person is being asked right now.
    #[must_use]
    pub fn is_awaiting_input(&self) -> bool {
        self.active_inputs.load(Ordering::Relaxed) > 0
    }

    /// Where what the server says of its own accord can be listened to.
    #[must_use]
    pub fn notifications(&self) -> &NotificationBroadcaster {
        &self.notifications
    }

    /// Whether the server said that one of its lists changed (`MSG-11`).
    #[must_use]
    pub fn have_lists_changed(&self) -> bool {
        self.lists_changed.load(Ordering::Relaxed)
    }

    /// Takes note of a fresh list, or of a change of one.
    pub fn set_lists_changed(&self, changed: bool) {
        self.lists_changed.store(changed, Ordering::Relaxed);
    }

    /// The questions of a request: its own, where it keeps some.
    pub(crate) fn request_log<'a>(&'a self, own: Option<&'a Arc<ServerRequestLog>>) -> &'a ServerRequestLog {
        own.map_or(&self.server_requests, |own| own)
    }

    /// Takes note that a request has come to its end, and with it what the server asked in its course.
    pub(crate) fn reset_sampling(&self, own: Option<&Arc<ServerRequestLog>>) {
        self.request_log(own).reset_sampling();
        self.server_requests.reset_sampling();
    }

    /// Handles a notification; unknown ones are ignored.
    pub fn handle_notification(&self, name: &str, params: Option<&RawValue>, value: &Value) {
        if name.ends_with("/list_changed") {
            self.set_lists_changed(true);
        }
        self.notifications.publish(name, value);
        let text = |key: &str| value.get(key).and_then(Value::as_str);
        if name == method::ELICITATION_COMPLETE
            && let Some(visit) = text("elicitationId").and_then(|id| lock(&self.page_visits).get(id).cloned())
        {
            visit.notify_one();
        }
        let Some(observer) = &self.capabilities.observer else { return };
        observer.notification(name, params);
        match name {
            method::PROGRESS => {
                let number = |key: &str| value.get(key).and_then(Value::as_f64);
                observer.progress(number("progress").unwrap_or_default(), number("total"), text("message"));
            }
            method::LOG_MESSAGE => {
                let data = value.get("data").unwrap_or(&Value::Null);
                observer.log(text("level").unwrap_or("info"), text("logger"), data);
            }
            _ => {}
        }
    }
}
