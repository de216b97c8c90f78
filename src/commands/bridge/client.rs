//! The side of the client: what is written to it, and what it is asked.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::wire::ClientMessage;
use crate::error::Failure;
use crate::output::{ProtocolOutput, Ui, failure_json};
use crate::protocol::rpc::{self, RawJson};
use crate::protocol::{code, meta, method};
use crate::util::lock::lock;

/// How many requests from servers the client may have to answer at once.
const MAX_ASKED: usize = 1024;

/// The connection to the client.
pub struct ClientLink {
    output: ProtocolOutput,
    /// The requests from servers that the client has not answered yet.
    asked: Mutex<HashMap<u64, oneshot::Sender<ClientMessage>>>,
    next_id: AtomicU64,
    /// The subscriptions of a modern client, by the ID of the request as JSON.
    pub subscriptions: Mutex<HashMap<String, SubscribedItems>>,
    /// Knows the secrets, which no failure may show.
    ui: Arc<Ui>,
}

/// What the client wants to be notified of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscribedItems {
    /// Members of the filter of `subscriptions/listen`: `toolsListChanged` and so on.
    pub lists: BTreeSet<String>,
    /// Resources, by URI.
    pub uris: BTreeSet<String>,
}

/// A request from a server that the client was asked.
pub struct Asked {
    /// Its ID at the client.
    pub id: u64,
    /// Resolves with the client's response; closed if the client cannot be asked.
    pub answer: oneshot::Receiver<ClientMessage>,
}

impl ClientLink {
    /// A client that reads this output.
    #[must_use]
    pub fn new(output: ProtocolOutput, ui: Arc<Ui>) -> Self {
        ClientLink { output, asked: Mutex::default(), next_id: AtomicU64::new(1), subscriptions: Mutex::default(), ui }
    }

    /// The stream to the client.
    #[must_use]
    pub fn output(&self) -> &ProtocolOutput {
        &self.output
    }

    /// Answers a request with this result. `id` is the client's, as JSON.
    pub async fn send_result(&self, id: &str, result: RawJson) {
        self.send_result_text(id, String::from(Box::<str>::from(result)).into()).await;
    }

    /// As [`ClientLink::send_result`], with the result as text.
    pub async fn send_result_text(&self, id: &str, result: Cow<'static, str>) {
        let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
        self.output.write(vec![start.into(), result, "}".into()]).await;
    }

    /// Answers a request with this error object.
    pub async fn send_error_object(&self, id: &str, error: String) {
        let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":"#);
        self.output.write(vec![start.into(), error.into(), "}".into()]).await;
    }

    /// Answers a request with an error of mcpipe's own.
    pub async fn send_error(&self, id: &str, code: i64, message: &str) {
        let message = Value::from(message);
        self.send_error_object(id, format!(r#"{{"code":{code},"message":{message}}}"#)).await;
    }

    /// Answers a request with a failure: its text in the message, all of it in the data. An error of the server is
    /// passed on as it came.
    pub async fn send_failure(&self, id: &str, failure: &Failure) {
        if let Some(raw) = failure.details().rpc.as_ref().and_then(|error| error.raw.as_deref()) {
            return self.send_error_object(id, raw.get().to_owned()).await;
        }
        self.send_error_object(id, self.failure_object(code::INTERNAL_ERROR, failure)).await;
    }

    /// Answers a call of a tool that must not be used.
    pub async fn send_refusal(&self, id: &str, failure: &Failure) {
        self.send_error_object(id, self.failure_object(code::INVALID_PARAMS, failure)).await;
    }

    fn failure_object(&self, code: i64, failure: &Failure) -> String {
        let failure = self.ui.without_secrets(failure);
        let mut message = failure.to_string();
        if let Some(hint) = &failure.details().hint {
            message += &format!(" (hint: {hint})");
        }
        format!(r#"{{"code":{code},"message":{},"data":{}}}"#, Value::from(message), failure_json(&failure))
    }

    /// Passes a notification on.
    pub async fn notify(&self, method: &str, params: Option<RawJson>) {
        let start = format!(r#"{{"jsonrpc":"2.0","method":{}"#, Value::from(method));
        let parts = match params {
            Some(params) => {
                let params = String::from(Box::<str>::from(params));
                vec![start.into(), r#","params":"#.into(), params.into(), "}".into()]
            }
            None => vec![start.into(), "}".into()],
        };
        self.output.write(parts).await;
    }

    /// Asks the client what a server asks.
    pub async fn ask(&self, method: &str, params: Option<&RawValue>) -> Asked {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        let is_full = {
            let mut asked = lock(&self.asked);
            let is_full = asked.len() >= MAX_ASKED;
            if !is_full {
                asked.insert(id, sender);
            }
            is_full
        };
        if !is_full {
            let params = params.map(|params| format!(r#","params":{}"#, params.get())).unwrap_or_default();
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{}{params}}}"#, Value::from(method));
            self.output.write(vec![text.into()]).await;
        }
        Asked { id, answer }
    }

    /// Gives the client's response to whoever has asked; a response to nothing is ignored.
    pub fn take_answer(&self, message: ClientMessage) {
        let waiting = message.id().parse().ok().and_then(|id: u64| lock(&self.asked).remove(&id));
        if let Some(waiting) = waiting {
            let _ = waiting.send(message);
        }
    }

    /// Acknowledges a subscription of a modern client, which stays open until it is canceled (2026-07-28,
    /// basic/patterns/subscriptions).
    pub async fn acknowledge(&self, id: &str, subscribed: &SubscribedItems) {
        lock(&self.subscriptions).insert(id.to_owned(), subscribed.clone());
        let mut filter: Map<String, Value> = subscribed.lists.iter().map(|list| (list.clone(), true.into())).collect();
        if !subscribed.uris.is_empty() {
            filter.insert("resourceSubscriptions".to_owned(), json!(subscribed.uris));
        }
        let params =
            format!(r#"{{"notifications":{},"_meta":{{"{}":{id}}}}}"#, Value::Object(filter), meta::SUBSCRIPTION_ID);
        self.notify(method::SUBSCRIPTIONS_ACKNOWLEDGED, RawValue::from_string(params).ok()).await;
    }

    /// What the client's subscriptions want together.
    pub fn wanted(&self) -> SubscribedItems {
        let mut all = SubscribedItems::default();
        for subscribed in lock(&self.subscriptions).values() {
            all.lists.extend(subscribed.lists.iter().cloned());
            all.uris.extend(subscribed.uris.iter().cloned());
        }
        all
    }

    /// Ends the subscription that a cancellation names. Returns whether there was one.
    pub fn end_subscription(&self, cancellation: &ClientMessage) -> bool {
        let id = cancellation.param(&["requestId"]);
        id.is_some_and(|id| lock(&self.subscriptions).remove(id).is_some())
    }

    /// Cancels a request to the client.
    pub async fn cancel_asked(&self, id: u64) {
        if lock(&self.asked).remove(&id).is_some() {
            let params = RawValue::from_string(rpc::cancelled_params(id, None)).ok();
            self.notify(method::CANCELLED, params).await;
        }
    }
}
