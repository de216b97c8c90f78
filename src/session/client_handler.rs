//! The client's side of a session: the capabilities it declares, and the notifications it receives.
//!
//! A legacy server sends requests of its own; in the modern era they are part of an `input_required` result.
//! `input_requests.rs` handles both. Every request is answered; one that needs an undeclared capability is refused
//! with the error that the protocol defines (`MSG-13`, `ELI-02`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use url::Url;

use crate::error::Result;
use crate::protocol::revision::Revision;
use crate::protocol::views::ListKind;
use crate::protocol::{meta, method};
use crate::session::notifications::NotificationBroadcaster;
use crate::session::server_requests::ServerRequestLog;
use crate::transport::BoxFuture;
use crate::util::hex::hex;
use crate::util::lock::lock;

/// The user's answer to an elicitation.
#[derive(Clone, Debug, PartialEq)]
pub enum ElicitationAnswer {
    /// Accepted, with the values of the form.
    Accept(Map<String, Value>),
    /// Accepted: the user visits the page.
    AcceptUrl,
    /// Declined.
    Decline,
    /// Canceled without an answer.
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

/// A page that the server asks the user to visit.
pub struct UrlElicitation<'a> {
    /// The reason, in the server's words.
    pub message: &'a str,
    /// The URL, already checked to be one that may be opened.
    pub url: Url,
    /// Resolves when the wait for the page is over, unless the user confirms earlier. `None` does not wait.
    pub completion: Option<BoxFuture<'a, ()>>,
}

/// Answers elicitations.
pub trait ElicitationResponder: Send + Sync {
    /// Whether a user can be shown pages; URL mode is declared only then (`ELI-01`).
    fn is_interactive(&self) -> bool;

    /// Answers an elicitation in form mode.
    fn answer_form<'a>(&'a self, message: &'a str, schema: &'a Value) -> BoxFuture<'a, Result<ElicitationAnswer>>;

    /// Asks whether the page may be opened, and opens it (`ELI-06`).
    fn visit_page<'a>(&'a self, page: UrlElicitation<'a>) -> BoxFuture<'a, Result<ElicitationAnswer>>;
}

/// Answers sampling requests.
pub trait SamplingHandler: Send + Sync {
    /// The `CreateMessageResult` for the parameters of `sampling/createMessage`.
    fn sample<'a>(&'a self, params: &'a Value) -> BoxFuture<'a, Result<Value>>;
}

/// Receives what a server reports during a request.
pub trait SessionObserver: Send + Sync {
    /// Called for every notification before it is handled, in order of arrival.
    fn notification(&self, method: &str, params: Option<&RawValue>);
    /// `notifications/progress`.
    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>);
    /// `notifications/message`.
    fn log(&self, level: &str, logger: Option<&str>, data: &Value);
    /// A warning to the user about the session.
    fn warn(&self, text: &str);
}

/// A directory offered to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// A `file://` URI.
    pub uri: String,
    /// The name to display.
    pub name: Option<String>,
}

/// A capability of the client by which servers choose the tools that they list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCapability {
    /// Answers requests for input.
    Elicitation,
    /// Answers sampling requests.
    Sampling,
    /// Offers directories.
    Roots,
}

impl ClientCapability {
    /// All of them.
    pub const ALL: [ClientCapability; 3] =
        [ClientCapability::Elicitation, ClientCapability::Sampling, ClientCapability::Roots];

    /// The option that declares it.
    #[must_use]
    pub fn option(self) -> &'static str {
        match self {
            ClientCapability::Elicitation => "--elicit",
            ClientCapability::Sampling => "--sampling-command",
            ClientCapability::Roots => "--root",
        }
    }
}

/// The capabilities of the client. One is declared if it is usable, or if servers choose what they list by it
/// (`ELI-01`).
#[derive(Clone, Default)]
pub struct ClientCapabilities {
    /// The roots; declared only if there are any.
    pub roots: Vec<Root>,
    /// Answers elicitations; not declared if `None`.
    pub elicitation: Option<Arc<dyn ElicitationResponder>>,
    /// Answers sampling requests; not declared if `None`.
    pub sampling: Option<Arc<dyn SamplingHandler>>,
    /// Receives progress and log messages.
    pub observer: Option<Arc<dyn SessionObserver>>,
    /// The minimum level of log messages to request; `None` requests none.
    pub log_level: Option<&'static str>,
    /// What is declared even without a handler, for sessions that only list: servers choose the tools they list by the
    /// client's capabilities.
    pub declared_for_lists: Vec<ClientCapability>,
    /// The members that every request has in `_meta`.
    pub request_meta: Map<String, Value>,
}

impl ClientCapabilities {
    pub(crate) fn declares(&self, capability: ClientCapability) -> bool {
        let has_handler = match capability {
            ClientCapability::Elicitation => self.elicitation.is_some(),
            ClientCapability::Sampling => self.sampling.is_some(),
            ClientCapability::Roots => !self.roots.is_empty(),
        };
        has_handler || self.declared_for_lists.contains(&capability)
    }

    pub(crate) fn declares_pages(&self) -> bool {
        let is_listed = self.declared_for_lists.contains(&ClientCapability::Elicitation);
        is_listed || self.elicitation.as_ref().is_some_and(|inputs| inputs.is_interactive())
    }

    /// The declared capabilities as a short code, for the names of cached lists.
    pub(crate) fn key(&self) -> String {
        let all = [
            (self.declares(ClientCapability::Elicitation), 'e'),
            (self.declares_pages(), 'u'),
            (self.declares(ClientCapability::Sampling), 's'),
            (self.declares(ClientCapability::Roots), 'r'),
        ];
        let declared: String = all.into_iter().filter_map(|(yes, letter)| yes.then_some(letter)).collect();
        let declared = if declared.is_empty() { "0".to_owned() } else { declared };
        // A server may choose what it lists by them. The trace context differs in each run.
        let mut meta = self.request_meta.clone();
        meta.retain(|name, _| ![meta::TRACEPARENT, meta::TRACESTATE, meta::BAGGAGE].contains(&name.as_str()));
        if meta.is_empty() {
            return declared;
        }
        let digest = Sha256::digest(Value::Object(meta).to_string());
        format!("{declared}-{}", hex(&digest[..8]))
    }
}

/// The client's side of one connection.
pub struct ClientHandler {
    pub(crate) capabilities: ClientCapabilities,
    /// The number of server requests that are being answered.
    pub(crate) active_inputs: AtomicUsize,
    /// The pages that are being visited, by `elicitationId`.
    pub(crate) page_visits: Mutex<HashMap<String, Arc<Notify>>>,
    /// The lists that changed since they were last fetched.
    changed_lists: Mutex<Vec<ListKind>>,
    notifications: NotificationBroadcaster,
    /// The log of server requests that belong to no request with a log of its own.
    pub(crate) server_requests: ServerRequestLog,
}

impl ClientHandler {
    /// A handler with these capabilities.
    #[must_use]
    pub fn new(abilities: ClientCapabilities) -> Self {
        ClientHandler {
            capabilities: abilities,
            active_inputs: AtomicUsize::new(0),
            page_visits: Mutex::default(),
            changed_lists: Mutex::default(),
            notifications: NotificationBroadcaster::default(),
            server_requests: ServerRequestLog::default(),
        }
    }

    /// Whether a server may send requests, so that its stream must be open before the first call.
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
        if self.capabilities.declares(ClientCapability::Roots) {
            all.insert("roots".into(), json!({}));
        }
        if self.capabilities.declares(ClientCapability::Sampling) {
            all.insert("sampling".into(), json!({}));
        }
        if self.capabilities.declares(ClientCapability::Elicitation) && revision >= Revision::V2025_06_18 {
            let mut modes = Map::new();
            // 2025-06-18 has one mode, without a name.
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

    /// Whether a request from the server needs a user or a model, which takes time.
    pub(crate) fn waits_for_input(&self, name: &str) -> bool {
        match name {
            method::ELICITATION_CREATE => self.capabilities.elicitation.is_some(),
            method::SAMPLING_CREATE_MESSAGE => self.capabilities.sampling.is_some(),
            _ => false,
        }
    }

    /// The members that every request has in `_meta`.
    #[must_use]
    pub fn request_meta(&self) -> &Map<String, Value> {
        &self.capabilities.request_meta
    }

    /// The minimum level of log messages to request.
    #[must_use]
    pub fn log_level(&self) -> Option<&'static str> {
        self.capabilities.log_level
    }

    /// Prints a warning about the session.
    pub fn warn(&self, text: &str) {
        if let Some(observer) = &self.capabilities.observer {
            observer.warn(text);
        }
    }

    /// Whether the user is being asked for input now.
    #[must_use]
    pub fn is_awaiting_input(&self) -> bool {
        self.active_inputs.load(Ordering::Relaxed) > 0
    }

    /// The notifications that the server sends on its own.
    #[must_use]
    pub fn notifications(&self) -> &NotificationBroadcaster {
        &self.notifications
    }

    /// The lists that the server said have changed since they were last fetched (`MSG-11`).
    #[must_use]
    pub fn changed_lists(&self) -> Vec<ListKind> {
        lock(&self.changed_lists).clone()
    }

    /// Records that a list is fetched again.
    pub fn clear_list_change(&self, kind: ListKind) {
        lock(&self.changed_lists).retain(|changed| *changed != kind);
    }

    /// The log of a request: its own, or the shared one.
    pub(crate) fn request_log<'a>(&'a self, own: Option<&'a Arc<ServerRequestLog>>) -> &'a ServerRequestLog {
        own.map_or(&self.server_requests, |own| own)
    }

    /// Called at the end of a request: clears what the server asked during it.
    pub(crate) fn reset_sampling(&self, own: Option<&Arc<ServerRequestLog>>) {
        self.request_log(own).reset_sampling();
        self.server_requests.reset_sampling();
    }

    /// Handles a notification; unknown ones are ignored.
    pub fn handle_notification(&self, name: &str, params: Option<&RawValue>, value: &Value) {
        for kind in ListKind::changed_by(name) {
            self.clear_list_change(*kind);
            lock(&self.changed_lists).push(*kind);
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
