//! The channel to the session, and the tasks that feed it.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;

use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::{MessageText, RpcMessage};
use crate::transport::charset::NOT_UTF8_WARNING;
use crate::transport::malformed::{self, Recovered};
use crate::transport::message::{Incoming, IncomingItem, UnexpectedResponse};
use crate::transport::trace::{Trace, TraceEvent};
use crate::util::lock::lock;

/// Hands over what came back, and waits until the session takes it. It is not an error if the session has stopped
/// listening.
pub(super) struct MessageSender {
    pub(super) incoming: Sender<Incoming>,
    pub(super) trace: Trace,
    /// The longest body or event, in bytes, after decompression (`SEC-07`).
    pub(super) max_message_size: usize,
    pub(super) has_warned_of_encoding: AtomicBool,
}

impl MessageSender {
    /// Sends the messages of one body or event.
    pub(super) async fn send_messages(&self, id: Option<u64>, found: MessageText, status: Option<u16>) {
        self.trace.record(TraceEvent::Received(found.text()));
        for message in found.into_messages() {
            self.send_item(id, IncomingItem::Message(message, status)).await;
        }
    }

    /// Sends what can be recovered from a text that does not consist of messages. Returns whether the response to `id`
    /// was in it, even if it cannot be read.
    pub(super) async fn send_recovered(&self, id: Option<u64>, text: &str, status: Option<u16>) -> bool {
        let Recovered { leading, trailing, broken } = malformed::recover(text);
        let is_response = |message: &RpcMessage| matches!(message, RpcMessage::Response(response) if response.id == id);
        let mut has_response = id.is_some() && leading.iter().chain(&trailing).any(is_response);
        if !(leading.is_empty() && trailing.is_empty()) {
            self.trace.note("the server put other text before or after a message");
            self.send_messages(id, MessageText::new(text.to_owned(), leading), status).await;
            for message in trailing {
                self.send_item(id, IncomingItem::EmbeddedResponse(message)).await;
            }
        }
        match broken {
            // On its own stream it cannot be a log line.
            Some(broken) if id.is_some() && broken.id == id => {
                self.trace.record(TraceEvent::Received(text.trim()));
                self.send_failure(id, broken.failure).await;
                has_response = true;
            }
            Some(broken) => self.send_item(id, IncomingItem::BrokenResponse(broken)).await,
            None => {}
        }
        has_response
    }

    /// Warns, once, that the server's text could not be decoded.
    pub(super) async fn warn_not_utf8(&self) {
        if !self.has_warned_of_encoding.swap(true, Ordering::Relaxed) {
            self.send_item(None, IncomingItem::Warning(NOT_UTF8_WARNING.to_owned())).await;
        }
    }

    pub(super) async fn send_unexpected_response(&self, id: u64, response: UnexpectedResponse) {
        self.send_item(Some(id), IncomingItem::UnexpectedResponse(response.into())).await;
    }

    pub(super) async fn send_failure(&self, id: Option<u64>, failure: Failure) {
        self.send_item(id, IncomingItem::Failed(failure)).await;
    }

    async fn send_item(&self, request_id: Option<u64>, item: IncomingItem) {
        let _ = self.incoming.send(Incoming { request_id, item }).await;
    }
}

/// The running tasks of one connection.
#[derive(Default)]
pub(super) struct ConnectionTasks(Mutex<RunningTasks>);

#[derive(Default)]
struct RunningTasks {
    requests: HashMap<u64, AbortHandle>,
    background: Vec<AbortHandle>,
    is_closed: bool,
}

impl ConnectionTasks {
    /// Starts a task for a request. It must call [`ConnectionTasks::finished`] at its end.
    ///
    /// # Errors
    /// If the connection was closed.
    pub(super) fn spawn_for_request(&self, id: u64, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let mut tasks = lock(&self.0);
        if tasks.is_closed {
            return Err(Failure::new(ErrorKind::Unreachable, "the connection was closed"));
        }
        // The lock is held, so that the task cannot finish before it is registered.
        let handle = tokio::spawn(work).abort_handle();
        tasks.requests.insert(id, handle);
        Ok(())
    }

    /// Starts a task that belongs to no request; `None` if the connection was closed.
    pub(super) fn spawn_background(&self, work: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let mut tasks = lock(&self.0);
        if tasks.is_closed {
            return None;
        }
        tasks.background.retain(|handle| !handle.is_finished());
        let handle = tokio::spawn(work).abort_handle();
        tasks.background.push(handle.clone());
        Some(handle)
    }

    /// Unregisters the task of this request.
    pub(super) fn finished(&self, id: u64) {
        lock(&self.0).requests.remove(&id);
    }

    /// Aborts the task of this request.
    pub(super) fn abort(&self, id: u64) {
        if let Some(handle) = lock(&self.0).requests.remove(&id) {
            handle.abort();
        }
    }

    /// Aborts all tasks. No more can be started.
    pub(super) fn abort_all(&self) {
        let mut tasks = lock(&self.0);
        tasks.is_closed = true;
        let requests: Vec<AbortHandle> = tasks.requests.drain().map(|(_, handle)| handle).collect();
        for handle in requests.into_iter().chain(tasks.background.drain(..)) {
            handle.abort();
        }
    }
}
