//! What comes back over one connection, handed to whoever waits for it: answers to the request they belong to,
//! requests and notifications of the server to the [`Peer`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use super::ask::{Pulse, Reply};
use super::peer::Peer;
use super::questions::Questions;
use crate::error::{Class, Failure};
use crate::protocol::rpc::{self, Message, Raw, Response};
use crate::protocol::{method, rpc::parse_value};
use crate::transport::trace::Trace;
use crate::transport::{Envelope, Incoming, Item, Outgoing, Transport};

/// A request that waits for its answer.
pub(super) struct Pending {
    pub(super) sender: oneshot::Sender<Reply>,
    pub(super) pulse: Arc<Pulse>,
    pub(super) questions: Option<Arc<Questions>>,
}

/// What the waiting requests and the task share.
pub(super) struct Shared {
    pub(super) pending: Mutex<HashMap<u64, Pending>>,
    /// Why nothing can come back any more, and who is to be told when that happens.
    pub(super) gone: Mutex<Option<Failure>>,
    pub(super) over: Notify,
    pub(super) next_id: AtomicU64,
    pub(super) peer: Arc<Peer>,
    pub(super) transport: Arc<dyn Transport>,
    /// Whether requests of the server are answered: after a handshake they are, in the modern era there are none.
    pub(super) answers: AtomicBool,
    trace: Trace,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes what comes back until nothing more can.
pub(super) async fn pump(shared: Arc<Shared>, mut incoming: mpsc::UnboundedReceiver<Incoming>) {
    while let Some(Incoming { on, item }) = incoming.recv().await {
        match item {
            Item::Message(Message::Response(response), status) => shared.answered(on, response, status),
            Item::Message(Message::Notification { method, params }, _) => shared.notified(&method, params),
            Item::Message(Message::Request { method, .. }, _) if !shared.answers.load(Ordering::Relaxed) => {
                shared.trace.note(&format!("ignored the server's request {method}: in this era it has none"));
            }
            Item::Message(Message::Request { id, method, params }, _) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let own = shared.asked_for(on);
                    let questions = shared.peer.questions(own.as_ref());
                    let (body, end) = shared.peer.answer(&id, &method, params.as_deref(), questions).await;
                    if shared.peer.takes_time(&method) {
                        // The server had to wait for us: its time begins anew.
                        shared.stir();
                    }
                    let Some(body) = body else { return };
                    let envelope = Envelope { what: Outgoing::OneWay, method: "", body, headers: Vec::new() };
                    if let Err(failure) = shared.transport.send(envelope).await {
                        shared.trace.note(&format!("could not answer the server's {method}: {failure}"));
                    }
                    if let Some(failure) = end {
                        shared.give_up(&failure, own.and(on)).await;
                    }
                });
            }
            Item::Refused(refusal) => {
                if let Some(on) = on {
                    shared.complete(on, Reply::Refused(refusal));
                }
            }
            Item::Broken(failure) => match on {
                Some(on) => shared.complete(on, Reply::Failed(failure)),
                None => shared.broken(&failure),
            },
        }
    }
}

impl Shared {
    pub(super) fn new(transport: Arc<dyn Transport>, peer: Arc<Peer>, trace: Trace) -> Self {
        Shared {
            pending: Mutex::default(),
            gone: Mutex::default(),
            over: Notify::new(),
            next_id: AtomicU64::new(1),
            peer,
            transport,
            answers: AtomicBool::new(false),
            trace,
        }
    }

    fn complete(&self, id: u64, reply: Reply) {
        if let Some(pending) = lock(&self.pending).remove(&id) {
            let _ = pending.sender.send(reply);
        }
    }

    /// Starts the clock of every waiting request again.
    fn stir(&self) {
        for pending in lock(&self.pending).values() {
            pending.pulse.answered.notify_one();
        }
    }

    /// Nothing will come back any more: everybody who waits is told.
    pub(super) fn broken(&self, failure: &Failure) {
        *lock(&self.gone) = Some(failure.clone());
        self.over.notify_waiters();
        self.fail_all(failure);
    }

    /// The account of the request in whose course the server asks: over HTTP it asks in the answer to it, else
    /// there may be but one. `None` where that request keeps none, or nobody can tell.
    fn asked_for(&self, on: Option<u64>) -> Option<Arc<Questions>> {
        let pending = lock(&self.pending);
        self.peer.questions.among(pending.len());
        let known = on.and_then(|on| pending.get(&on));
        known.or_else(|| pending.values().next().filter(|_| pending.len() == 1))?.questions.clone()
    }

    /// Cancels whatever a legacy server is asked for, or only that one request, and fails it.
    async fn give_up(&self, failure: &Failure, only: Option<u64>) {
        let ids: Vec<u64> =
            lock(&self.pending).keys().copied().filter(|id| only.is_none_or(|only| *id == only)).collect();
        for id in &ids {
            let params = format!(r#"{{"requestId":{id},"reason":"given up"}}"#);
            let body = rpc::notification(method::CANCELLED, Some(&params));
            let envelope = Envelope { what: Outgoing::OneWay, method: method::CANCELLED, body, headers: Vec::new() };
            let _ = tokio::time::timeout(Duration::from_millis(500), self.transport.send(envelope)).await;
        }
        for id in ids {
            self.complete(id, Reply::Failed(failure.clone()));
        }
    }

    fn fail_all(&self, failure: &Failure) {
        for (_, pending) in lock(&self.pending).drain() {
            let _ = pending.sender.send(Reply::Failed(failure.clone()));
        }
    }

    fn answered(&self, on: Option<u64>, response: Response, status: Option<u16>) {
        let only = || {
            let pending = lock(&self.pending);
            if pending.len() == 1 { pending.keys().next().copied() } else { None }
        };
        let waits = |id: u64| lock(&self.pending).contains_key(&id);
        // Errors of a server's HTTP layer have an id of its own making (the Python SDK before 2.0 says "server-error" to
        // whatever it refuses): one that comes to a request, and is nobody else's, is its error. A result is no result.
        let refused = response.outcome.is_err();
        let id = match response.id {
            // In the answer to one request, what belongs to no request that waits was meant for that one.
            Some(id) if id < self.next_id.load(Ordering::Relaxed) => match on {
                Some(on) if on != id && !waits(id) && refused => Some(on),
                Some(on) if on != id && !waits(id) => {
                    let what = format!("the server answered with the id of another request ({id}, not {on})");
                    return self.complete(on, Reply::Failed(Failure::new(Class::Protocol, what)));
                }
                _ => Some(id),
            },
            // An error without an id belongs to the POST it answers (digest §2.6), or to the only request.
            None if !response.named => on.or_else(only),
            _ if refused => on.or_else(only),
            _ => {
                if let Some(waiting) = on.or_else(only) {
                    let failure = Failure::new(Class::Protocol, "the server answered with an id that was never asked");
                    self.complete(waiting, Reply::Failed(failure));
                }
                return;
            }
        };
        let Some(id) = id else { return };
        match lock(&self.pending).get(&id) {
            Some(Pending { questions: Some(own), .. }) => own.settled(),
            Some(_) => {}
            None => self.trace.note(&format!("ignored an answer nobody waits for (id {id})")),
        }
        self.peer.questions.settled();
        match response.outcome {
            Ok(result) => self.complete(id, Reply::Result(result)),
            Err(error) => self.complete(id, Reply::Error(error, status)),
        }
    }

    fn notified(&self, method: &str, params: Option<Raw>) {
        let value = params.as_ref().and_then(|raw| parse_value(raw.get())).unwrap_or(Value::Null);
        if method == method::PROGRESS {
            let token = value.get("progressToken");
            let id = token.and_then(|token| token.as_u64().or_else(|| token.as_str()?.parse().ok()));
            if let Some(pulse) = id.and_then(|id| lock(&self.pending).get(&id).map(|pending| pending.pulse.clone())) {
                pulse.progress.notify_one();
            }
        }
        self.peer.notified(method, params.as_deref(), &value);
    }
}
