//! Requests and their answers over one connection: ids, correlation, deadlines, cancellation.
//!
//! One task takes everything that comes back and hands it to whoever waits for it: answers to the
//! request they belong to, requests and notifications of the server to the [`Peer`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use super::ask::{Ask, Cancel, Reply};
use super::peer::Peer;
use super::questions::Questions;
use crate::error::{Again, Class, Failure};
use crate::interrupt::Interrupt;
use crate::protocol::rpc::{self, Message, Raw, Response};
use crate::protocol::{method, rpc::parse_value};
use crate::transport::trace::Trace;
use crate::transport::{Connection, Envelope, Incoming, Item, Outgoing, Transport, Wire};

/// How long a server is given for what it is told at the end.
const FAREWELL: Duration = Duration::from_millis(500);

struct Pending {
    sender: oneshot::Sender<Reply>,
    alive: Arc<Notify>,
    questions: Option<Arc<Questions>>,
}

/// What the waiting requests and the task share.
struct Shared {
    pending: Mutex<HashMap<u64, Pending>>,
    gone: Mutex<Option<Failure>>,
    over: Notify,
    next_id: AtomicU64,
    peer: Arc<Peer>,
    transport: Arc<dyn Transport>,
    trace: Trace,
}

/// A connection on which requests can be asked.
pub struct Link {
    shared: Arc<Shared>,
    pump: JoinHandle<()>,
    interrupt: Interrupt,
}

impl Link {
    /// Starts to take what comes back over `connection`.
    #[must_use]
    pub fn new(connection: Connection, peer: Arc<Peer>, interrupt: Interrupt, trace: Trace) -> Self {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            gone: Mutex::default(),
            over: Notify::new(),
            next_id: AtomicU64::new(1),
            peer,
            transport: connection.transport,
            trace,
        });
        let pump = tokio::spawn(pump(shared.clone(), connection.incoming));
        Link { shared, pump, interrupt }
    }

    /// The transport below.
    #[must_use]
    pub fn transport(&self) -> &dyn Transport {
        &*self.shared.transport
    }

    /// Which transport it is.
    #[must_use]
    pub fn wire(&self) -> Wire {
        self.shared.transport.wire()
    }

    /// A fresh request id: integers from 1, never used again (`MSG-01`).
    #[must_use]
    pub fn next_id(&self) -> u64 {
        self.shared.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Why nothing can come back any more, if so.
    #[must_use]
    pub fn gone(&self) -> Option<Failure> {
        lock(&self.shared.gone).clone()
    }

    /// Waits until nothing can come back any more, and says why.
    pub async fn ended(&self) -> Failure {
        loop {
            let over = self.shared.over.notified();
            if let Some(failure) = self.gone() {
                return failure;
            }
            over.await;
        }
    }

    /// Waits until the user asks to stop.
    pub async fn interrupted(&self) -> Failure {
        self.interrupt.wait().await
    }

    /// Sends a last request although the user has asked to stop; its answer is awaited, but not for long.
    pub async fn farewell(&self, mut ask: Ask) {
        ask.timeout = None;
        let (answer, _) = self.begin(&ask);
        let said = async {
            let what = Outgoing::Request(ask.id);
            let body = rpc::request(ask.id, ask.method, ask.params.as_deref());
            let envelope = Envelope { what, method: ask.method, body, headers: ask.headers };
            if self.shared.transport.send(envelope).await.is_ok() {
                let _ = answer.await;
            }
        };
        let _ = tokio::time::timeout(FAREWELL, said).await;
        lock(&self.shared.pending).remove(&ask.id);
    }

    /// Sends one request and waits for its answer.
    pub async fn ask(&self, ask: Ask) -> Reply {
        let waiting = self.begin(&ask);
        let envelope = Envelope {
            what: Outgoing::Request(ask.id),
            method: ask.method,
            body: rpc::request(ask.id, ask.method, ask.params.as_deref()),
            headers: ask.headers,
        };
        let (sender, alive) = waiting;
        let answer = async {
            if let Err(failure) = self.shared.transport.send(envelope).await {
                return Reply::Failed(failure);
            }
            sender.await.unwrap_or_else(|_| Reply::Failed(self.lost()))
        };
        tokio::pin!(answer);
        let mut deadline = ask.timeout.map(|time| Instant::now() + time);
        let reply = loop {
            let expired = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                reply = &mut answer => break reply,
                failure = self.interrupt.wait() => {
                    self.cancel(ask.id, ask.cancel, "interrupted").await;
                    break Reply::Failed(failure);
                }
                () = alive.notified() => deadline = ask.timeout.map(|time| Instant::now() + time),
                () = expired => {
                    // A person who is being asked takes the time they need.
                    if self.shared.peer.busy() || self.shared.transport.busy() {
                        deadline = ask.timeout.map(|time| Instant::now() + time);
                        continue;
                    }
                    self.cancel(ask.id, ask.cancel, "timed out").await;
                    break Reply::Failed(self.timed_out(ask.method, ask.timeout.unwrap_or_default()));
                }
            }
        };
        lock(&self.shared.pending).remove(&ask.id);
        reply
    }

    fn begin(&self, ask: &Ask) -> (oneshot::Receiver<Reply>, Arc<Notify>) {
        let (sender, receiver) = oneshot::channel();
        let alive = Arc::new(Notify::new());
        // Under the lock under which all who wait are told that nothing will come: nobody is too late for that.
        let mut waiting = lock(&self.shared.pending);
        match self.gone() {
            Some(failure) => drop(sender.send(Reply::Failed(failure))),
            None => {
                let pending = Pending { sender, alive: alive.clone(), questions: ask.questions.clone() };
                drop(waiting.insert(ask.id, pending));
            }
        }
        drop(waiting);
        (receiver, alive)
    }

    /// Sends a notification; over HTTP it has been accepted when this resolves.
    ///
    /// # Errors
    /// When it cannot be delivered.
    pub async fn tell(
        &self,
        method: &'static str,
        params: Option<&str>,
        headers: Vec<(String, String)>,
    ) -> crate::error::Result<()> {
        let body = rpc::notification(method, params);
        self.shared.transport.send(Envelope { what: Outgoing::OneWay, method, body, headers }).await
    }

    /// Tells the server that the answer to a request is no longer wanted, and waits for none.
    pub async fn cancel(&self, id: u64, how: Cancel, reason: &str) {
        lock(&self.shared.pending).remove(&id);
        if how == Cancel::Notify {
            let params = format!(r#"{{"requestId":{id},"reason":"{reason}"}}"#);
            // The server may be stuck: telling it must not take long.
            let tell = self.tell(method::CANCELLED, Some(&params), Vec::new());
            let _ = tokio::time::timeout(FAREWELL, tell).await;
        }
        self.shared.transport.abandon(id);
    }

    /// Waits for so long, but no longer than until a stop is asked for.
    ///
    /// # Errors
    /// When a stop is asked for.
    pub async fn sleep(&self, time: Duration) -> crate::error::Result<()> {
        self.interrupt.guard(tokio::time::sleep(time)).await
    }

    fn timed_out(&self, method: &str, time: Duration) -> Failure {
        let (tail, noise) = self.shared.transport.last_words();
        let mut failure = Failure::new(Class::Timeout, format!("no answer to {method} within {}", human(time))).early();
        if let Some(noise) = noise {
            let did = if self.wire() == Wire::Stdio { "printed on stdout" } else { "sent" };
            failure = failure.cause(format!("the server {did}, which is no message: {noise}"));
        }
        if method == method::TOOLS_CALL {
            failure = failure.cause("the tool may have run, or may still be running");
        }
        failure.hint("wait longer with --timeout TIME").stderr_tail(tail)
    }

    fn lost(&self) -> Failure {
        self.gone().unwrap_or_else(|| Failure::new(Class::Unreachable, "the connection is gone"))
    }

    /// Ends the connection; nothing is left running, and whoever still waits for an answer is told so.
    pub async fn close(&self, patient: bool) {
        let failure = Failure::new(Class::Unreachable, "the connection was given up").again(Again::default());
        if self.gone().is_none() {
            self.shared.broken(&failure);
        }
        self.shared.transport.close(patient).await;
        self.pump.abort();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// A duration as people write it.
#[must_use]
pub fn human(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        format!("{millis} ms")
    } else if millis.is_multiple_of(1000) {
        format!("{} s", millis / 1000)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn pump(shared: Arc<Shared>, mut incoming: mpsc::UnboundedReceiver<Incoming>) {
    while let Some(Incoming { on, item }) = incoming.recv().await {
        match item {
            Item::Message(Message::Response(response), status) => shared.answered(on, response, status),
            Item::Message(Message::Notification { method, params }, _) => shared.notified(&method, params),
            Item::Message(Message::Request { id, method, params }, _) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let own = shared.asked_for(on);
                    let questions = shared.peer.questions(own.as_ref());
                    let (body, end) = shared.peer.answer(&id, &method, params.as_deref(), questions).await;
                    // The server had to wait for us: its time begins anew.
                    shared.stir();
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
    fn complete(&self, id: u64, reply: Reply) {
        if let Some(pending) = lock(&self.pending).remove(&id) {
            let _ = pending.sender.send(reply);
        }
    }

    /// Starts the clock of every waiting request again.
    fn stir(&self) {
        for pending in lock(&self.pending).values() {
            pending.alive.notify_one();
        }
    }

    fn broken(&self, failure: &Failure) {
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
        let id = match response.id {
            Some(id) if id < self.next_id.load(Ordering::Relaxed) => Some(id),
            // An error without an id belongs to the POST it answers (digest §2.6), or to the only request.
            None if !response.named => on.or_else(only),
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
            if let Some(pending) = id.and_then(|id| lock(&self.pending).get(&id).map(|pending| pending.alive.clone())) {
                pending.notify_one();
            }
        }
        self.peer.notified(method, params.as_deref(), &value);
    }
}
