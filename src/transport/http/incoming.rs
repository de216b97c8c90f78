//! The way back to the session, and the tasks that fill it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::RpcMessage;
use crate::transport::trace::{Trace, TraceEvent};
use crate::transport::{Incoming, IncomingItem, UnexpectedResponse};

/// Hands over what came back. That nobody listens any more is no failure.
pub(super) struct MessageSender {
    pub(super) incoming: UnboundedSender<Incoming>,
    pub(super) trace: Trace,
    /// The longest body or event, in bytes, after decompression (`SEC-07`).
    pub(super) max_message_size: usize,
}

impl MessageSender {
    /// The messages of one body or event, which `text` is.
    pub(super) fn send_messages(&self, on: Option<u64>, text: &str, messages: Vec<RpcMessage>, status: Option<u16>) {
        self.trace.record(TraceEvent::Received(text));
        for message in messages {
            self.send_item(on, IncomingItem::Message(message, status));
        }
    }

    pub(super) fn send_unexpected_response(&self, on: u64, refusal: UnexpectedResponse) {
        self.send_item(Some(on), IncomingItem::UnexpectedResponse(refusal));
    }

    pub(super) fn send_failure(&self, on: Option<u64>, failure: Failure) {
        self.send_item(on, IncomingItem::Failed(failure));
    }

    fn send_item(&self, on: Option<u64>, item: IncomingItem) {
        let _ = self.incoming.send(Incoming { request_id: on, item });
    }
}

/// Locks, whatever became of an earlier holder: all that is guarded here is whole at every moment.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The tasks at work for one connection.
#[derive(Default)]
pub(super) struct ConnectionTasks(Mutex<RunningTasks>);

#[derive(Default)]
struct RunningTasks {
    requests: HashMap<u64, AbortHandle>,
    background: Vec<AbortHandle>,
    is_closed: bool,
}

impl ConnectionTasks {
    /// Starts work that belongs to a request; its end must be told with [`ConnectionTasks::finished`].
    ///
    /// # Errors
    /// When the connection has been closed.
    pub(super) fn spawn_for_request(&self, id: u64, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let mut handles = lock(&self.0);
        if handles.is_closed {
            return Err(Failure::new(ErrorKind::Unreachable, "the connection has been closed"));
        }
        // Under the lock, so that the work cannot be done before it is known.
        let handle = tokio::spawn(work).abort_handle();
        handles.requests.insert(id, handle);
        Ok(())
    }

    /// Starts work that belongs to no request.
    pub(super) fn spawn_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut handles = lock(&self.0);
        if !handles.is_closed {
            handles.background.retain(|handle| !handle.is_finished());
            handles.background.push(tokio::spawn(work).abort_handle());
        }
    }

    /// The work for this request has ended.
    pub(super) fn finished(&self, id: u64) {
        lock(&self.0).requests.remove(&id);
    }

    /// Ends the work for this request.
    pub(super) fn abort(&self, id: u64) {
        if let Some(handle) = lock(&self.0).requests.remove(&id) {
            handle.abort();
        }
    }

    /// Ends all work and starts no more.
    pub(super) fn abort_all(&self) {
        let mut handles = lock(&self.0);
        handles.is_closed = true;
        let all: Vec<AbortHandle> = handles.requests.drain().map(|(_, handle)| handle).collect();
        for handle in all.into_iter().chain(handles.background.drain(..)) {
            handle.abort();
        }
    }
}
