//! The way back to the session, and the tasks that fill it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::error::{Class, Failure, Result};
use crate::protocol::rpc::Message;
use crate::transport::trace::{Event, Trace};
use crate::transport::{Incoming, Item, Refusal};

/// Hands over what came back. That nobody listens any more is no failure.
pub(super) struct Sink {
    pub(super) incoming: UnboundedSender<Incoming>,
    pub(super) trace: Trace,
    /// The longest body or event, in bytes, after decompression (`SEC-07`).
    pub(super) limit: usize,
}

impl Sink {
    /// The messages of one body or event, which `text` is.
    pub(super) fn messages(&self, on: Option<u64>, text: &str, messages: Vec<Message>, status: Option<u16>) {
        self.trace.record(Event::Received(text));
        for message in messages {
            self.item(on, Item::Message(message, status));
        }
    }

    pub(super) fn refused(&self, on: u64, refusal: Refusal) {
        self.item(Some(on), Item::Refused(refusal));
    }

    pub(super) fn broken(&self, on: Option<u64>, failure: Failure) {
        self.item(on, Item::Broken(failure));
    }

    fn item(&self, on: Option<u64>, item: Item) {
        let _ = self.incoming.send(Incoming { on, item });
    }
}

/// Locks, whatever became of an earlier holder: all that is guarded here is whole at every moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tasks at work for one connection.
#[derive(Default)]
pub(super) struct Tasks(Mutex<Handles>);

#[derive(Default)]
struct Handles {
    requests: HashMap<u64, AbortHandle>,
    others: Vec<AbortHandle>,
    closed: bool,
}

impl Tasks {
    /// Starts work that belongs to a request; its end must be told with [`Tasks::done`].
    ///
    /// # Errors
    /// When the connection has been closed.
    pub(super) fn start(&self, id: u64, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let mut handles = lock(&self.0);
        if handles.closed {
            return Err(Failure::new(Class::Unreachable, "the connection has been closed"));
        }
        // Under the lock, so that the work cannot be done before it is known.
        let handle = tokio::spawn(work).abort_handle();
        handles.requests.insert(id, handle);
        Ok(())
    }

    /// Starts work that belongs to no request.
    pub(super) fn start_other(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut handles = lock(&self.0);
        if !handles.closed {
            handles.others.retain(|handle| !handle.is_finished());
            handles.others.push(tokio::spawn(work).abort_handle());
        }
    }

    /// The work for this request has ended.
    pub(super) fn done(&self, id: u64) {
        lock(&self.0).requests.remove(&id);
    }

    /// Ends the work for this request.
    pub(super) fn abandon(&self, id: u64) {
        if let Some(handle) = lock(&self.0).requests.remove(&id) {
            handle.abort();
        }
    }

    /// Ends all work and starts no more.
    pub(super) fn close(&self) {
        let mut handles = lock(&self.0);
        handles.closed = true;
        let all: Vec<AbortHandle> = handles.requests.drain().map(|(_, handle)| handle).collect();
        for handle in all.into_iter().chain(handles.others.drain(..)) {
            handle.abort();
        }
    }
}
