//! Our side of what a server may ask and tell: roots, elicitation, progress, logs.
//!
//! In a legacy session these are requests of the server, answered one by one; in the modern era they
//! are embedded in an `input_required` result (MRTR). Both end here. Every request gets an answer;
//! what was not declared is refused in the protocol's own way (`MSG-13`, `ELI-02`).

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use crate::error::{Class, Failure, Result};
use crate::protocol::revision::Revision;
use crate::protocol::rpc::{self, parse_value};
use crate::protocol::{code, method};
use crate::transport::Boxed;

use super::notices::Notices;

/// Answers a server's wish for input; implemented where the person is.
pub trait Inputs: Send + Sync {
    /// Answers an elicitation in form mode with an `ElicitResult`: `action`, and `content` on accept.
    fn elicit<'a>(&'a self, message: &'a str, schema: &'a Value) -> Boxed<'a, Result<Value>>;
}

/// Is told what a server reports while it works.
pub trait Observer: Send + Sync {
    /// `notifications/progress`.
    fn progress(&self, progress: f64, total: Option<f64>, message: Option<&str>);
    /// `notifications/message`.
    fn log(&self, level: &str, logger: Option<&str>, data: &Value);
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
    /// Who is told of progress and logs.
    pub observer: Option<Arc<dyn Observer>>,
}

/// Our side of one connection.
pub struct Peer {
    abilities: Abilities,
    busy: AtomicUsize,
    lists_changed: AtomicBool,
    notices: Notices,
    // Kept to be the cause of the exit code when the person declined (class `Refused`).
    declined: Mutex<Option<Failure>>,
}

impl Peer {
    /// Our side, with these abilities.
    #[must_use]
    pub fn new(abilities: Abilities) -> Self {
        Peer {
            abilities,
            busy: AtomicUsize::new(0),
            lists_changed: AtomicBool::new(false),
            notices: Notices::default(),
            declined: Mutex::new(None),
        }
    }

    /// Whether a server may send requests of its own (so that its stream must stand before the first call).
    #[must_use]
    pub fn may_be_asked(&self) -> bool {
        self.abilities.inputs.is_some() || !self.abilities.roots.is_empty()
    }

    /// The capabilities to declare in this revision.
    #[must_use]
    pub fn capabilities(&self, revision: Revision) -> Value {
        let mut all = Map::new();
        if !self.abilities.roots.is_empty() {
            all.insert("roots".into(), json!({}));
        }
        if self.abilities.inputs.is_some() && revision >= Revision::V2025_06_18 {
            // In 2025-06-18 there is one mode and no name for it.
            let modes = if revision == Revision::V2025_06_18 { json!({}) } else { json!({"form": {}}) };
            all.insert("elicitation".into(), modes);
        }
        Value::Object(all)
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

    /// The refusal of the person, where there was one.
    #[must_use]
    pub fn declined(&self) -> Option<Failure> {
        self.declined.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Handles a notification; unknown ones are ignored.
    pub fn notified(&self, name: &str, params: &Value) {
        if name.ends_with("/list_changed") {
            self.set_lists_changed(true);
        }
        self.notices.tell(name, params);
        let Some(observer) = &self.abilities.observer else { return };
        match name {
            method::PROGRESS => {
                let number = |key: &str| params.get(key).and_then(Value::as_f64);
                let message = params.get("message").and_then(Value::as_str);
                observer.progress(number("progress").unwrap_or_default(), number("total"), message);
            }
            method::LOG => {
                let text = |key: &str| params.get(key).and_then(Value::as_str);
                observer.log(
                    text("level").unwrap_or("info"),
                    text("logger"),
                    params.get("data").unwrap_or(&Value::Null),
                );
            }
            _ => {}
        }
    }

    /// The whole answer to a request of a legacy server, ready to be sent.
    pub async fn answer(&self, id: &RawValue, name: &str, params: Option<&RawValue>) -> String {
        let params = params.and_then(|raw| parse_value(raw.get())).unwrap_or(Value::Null);
        if name == method::PING {
            return rpc::response(id, "{}");
        }
        match self.fulfil(name, &params).await {
            Ok(result) => rpc::response(id, &result.to_string()),
            Err(refusal) => rpc::error_response(id, refusal.code, &refusal.message),
        }
    }

    /// Fulfils one request for input, by either era's way: the bare result, or why not.
    ///
    /// # Errors
    /// The JSON-RPC error to answer with.
    pub async fn fulfil(&self, name: &str, params: &Value) -> Result<Value, rpc::RpcError> {
        let refuse = |code: i64, message: String| rpc::RpcError { code, message, data: None };
        match name {
            method::ROOTS_LIST if !self.abilities.roots.is_empty() => Ok(self.roots()),
            method::ELICIT => match &self.abilities.inputs {
                Some(inputs) => self.elicit(&**inputs, params).await,
                None => Err(refuse(code::METHOD_NOT_FOUND, "elicitation is not supported".into())),
            },
            other => Err(refuse(code::METHOD_NOT_FOUND, format!("{other} is not supported"))),
        }
    }

    fn roots(&self) -> Value {
        let roots: Vec<Value> = self
            .abilities
            .roots
            .iter()
            .map(|root| match &root.name {
                Some(name) => json!({"uri": root.uri, "name": name}),
                None => json!({"uri": root.uri}),
            })
            .collect();
        json!({ "roots": roots })
    }

    async fn elicit(&self, inputs: &dyn Inputs, params: &Value) -> Result<Value, rpc::RpcError> {
        // A missing mode means form (ELI-02).
        let mode = params.get("mode").and_then(Value::as_str).unwrap_or("form");
        if mode != "form" {
            let message = format!("elicitation in {mode} mode is not supported");
            return Err(rpc::RpcError { code: code::INVALID_PARAMS, message, data: None });
        }
        let empty = json!({"type": "object", "properties": {}});
        let schema = params.get("requestedSchema").unwrap_or(&empty);
        let message = params.get("message").and_then(Value::as_str).unwrap_or_default();
        self.busy.fetch_add(1, Ordering::Relaxed);
        let answer = inputs.elicit(message, schema).await;
        self.busy.fetch_sub(1, Ordering::Relaxed);
        let answer = answer.unwrap_or_else(|failure| {
            *self.declined.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            json!({"action": "cancel"})
        });
        if answer.get("action").and_then(Value::as_str) == Some("decline") {
            let failure = Failure::new(Class::Refused, "the server's request for input was declined");
            self.declined.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
        }
        Ok(answer)
    }
}
