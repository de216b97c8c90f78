//! Requests and their answers over one connection: ids, correlation, deadlines, cancellation.
//!
//! What comes back is taken by a task of its own (`pump.rs`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use super::ask::{Ask, Cancel, Reply};
use super::ask::{Clock, Pulse};
use super::peer::Peer;
use super::pump::{Pending, Shared, lock, pump};
use super::stray::{PATIENCE, Strays};
use crate::error::{Again, Class, Details, Failure};
use crate::interrupt::Interrupt;
use crate::protocol::{method, rpc};
use crate::transport::trace::Trace;
use crate::transport::{Connection, Envelope, Outgoing, Transport, Wire};

/// How long a server is given for what it is told at the end.
const FAREWELL: Duration = Duration::from_millis(500);

/// How the failure begins that tells of a request that got no answer in time.
pub(super) const SILENT: &str = "no answer to ";
/// What is said of a call that got no answer, whose tool cannot be at work any more.
const MAY_HAVE_RUN: &str = "the tool may have run";
/// What is said of any other call that got no answer.
pub(super) const MAY_RUN: &str = "the tool may have run, or may still be running";

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
        let shared = Arc::new(Shared::new(connection.transport, peer, trace));
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

    /// Says whether requests of the server are answered: once a handshake was begun, unless the server turns out to be
    /// modern all the same (`STD-02`, `HTM-01`).
    pub fn answer_requests(&self, answers: bool) {
        self.shared.answers.store(answers, Ordering::Relaxed);
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
        let mut place = Place { shared: &self.shared, id: ask.id, ended: false };
        let envelope = Envelope {
            what: Outgoing::Request(ask.id),
            method: ask.method,
            body: rpc::request(ask.id, ask.method, ask.params.as_deref()),
            headers: ask.headers,
        };
        let (sender, pulse) = waiting;
        let was_gone = self.gone().is_some();
        let answer = async {
            if let Err(failure) = self.shared.transport.send(envelope).await {
                return Reply::Failed(failure);
            }
            match sender.await.unwrap_or_else(|_| Reply::Failed(self.lost())) {
                Reply::Failed(failure) if ask.method == method::TOOLS_CALL && !was_gone => {
                    Reply::Failed(self.may_have_run(failure))
                }
                reply => reply,
            }
        };
        tokio::pin!(answer);
        let mut clock = Clock::new(ask.timeout, Instant::now());
        let mut strayed_at: Option<Instant> = None;
        let until = async |due: Option<Instant>| match due {
            Some(due) => tokio::time::sleep_until(due).await,
            None => std::future::pending().await,
        };
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut answer => break reply,
                failure = self.interrupt.wait() => {
                    let failure = self.shared.explained(ask.id, failure);
                    self.cancel(ask.id, ask.cancel, "interrupted").await;
                    break Reply::Failed(failure);
                }
                () = pulse.answered.notified() => {
                    clock.restart(Instant::now());
                    strayed_at = strayed_at.map(|_| Instant::now());
                }
                () = pulse.progress.notified() => {
                    clock.progress(Instant::now());
                    strayed_at = None;
                }
                () = pulse.strayed.notified() => strayed_at = strayed_at.or(Some(Instant::now())),
                () = until(strayed_at.map(|at| at + PATIENCE)) => {
                    strayed_at = None;
                    if self.is_busy() {
                        strayed_at = Some(Instant::now());
                    } else {
                        self.shared.settle(ask.id, ask.method);
                    }
                }
                () = until(clock.due()) => {
                    if self.is_busy() {
                        clock.restart(Instant::now());
                        continue;
                    }
                    let failure = self.shared.explained(ask.id, self.timed_out(ask.method, &clock));
                    self.cancel(ask.id, ask.cancel, "timed out").await;
                    break Reply::Failed(failure);
                }
            }
        };
        place.ended = true;
        reply
    }

    /// Whether a person is being asked, who takes the time they need.
    fn is_busy(&self) -> bool {
        self.shared.peer.busy() || self.shared.transport.busy()
    }

    fn begin(&self, ask: &Ask) -> (oneshot::Receiver<Reply>, Arc<Pulse>) {
        let (sender, receiver) = oneshot::channel();
        let pulse = Arc::<Pulse>::default();
        // Under the lock under which all who wait are told that nothing will come: nobody is too late for that.
        let mut waiting = lock(&self.shared.pending);
        match self.gone() {
            Some(failure) => drop(sender.send(Reply::Failed(failure))),
            None => {
                let (pulse, questions) = (pulse.clone(), ask.questions.clone());
                drop(waiting.insert(ask.id, Pending { sender, pulse, questions, strays: Strays::default() }));
            }
        }
        drop(waiting);
        (receiver, pulse)
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
        self.shared.notify(method, params, headers).await
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

    /// A call that was on its way when this happened.
    fn may_have_run(&self, failure: Failure) -> Failure {
        let Details { class, unsent, .. } = failure.details();
        match class {
            Class::Unreachable | Class::Protocol if !unsent => {
                // With the process ends what it did.
                let ended = self.wire() == Wire::Stdio && self.gone().is_some();
                failure.cause(if ended { MAY_HAVE_RUN } else { MAY_RUN })
            }
            _ => failure,
        }
    }

    fn timed_out(&self, method: &str, clock: &Clock) -> Failure {
        let (tail, noise) = self.shared.transport.last_words();
        let (time, endless) = clock.waited();
        let in_spite = if endless { ", in spite of its progress" } else { "" };
        let what = format!("{SILENT}{method} within {}{in_spite}", human(time));
        let mut failure = Failure::new(Class::Timeout, what).early();
        if let Some(noise) = noise {
            let did = if self.wire() == Wire::Stdio { "printed on stdout" } else { "sent" };
            failure = failure.cause(format!("the server {did}, which is no message: {noise}"));
        }
        if method == method::TOOLS_CALL {
            failure = failure.cause(MAY_RUN);
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

/// The place of a request among those that wait; it is given up with the request, however that ends.
struct Place<'a> {
    shared: &'a Shared,
    id: u64,
    ended: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        lock(&self.shared.pending).remove(&self.id);
        if !self.ended {
            // Nobody wants the answer any more.
            self.shared.transport.abandon(self.id);
        }
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
