//! Interruption by a signal: set once, seen by everything that waits.
//!
//! A signal does not end the process. It makes the waiting operation fail, so that the request is cancelled
//! and the child process is ended in the usual way.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::Poll;

use tokio::sync::Notify;

use crate::error::{ErrorKind, Failure, Result};

static ON_BLOCKING: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Sets what [`enter_blocking`] calls: the action that lets another thread handle signals. Only the first call counts.
pub fn on_blocking(action: impl Fn() + Send + Sync + 'static) {
    let _ = ON_BLOCKING.set(Box::new(action));
}

/// Call this before a read, a write or a computation that blocks the thread and may take long.
pub fn enter_blocking() {
    if let Some(action) = ON_BLOCKING.get() {
        action();
    }
}

/// A handle to the interruption; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<InterruptState>);

#[derive(Debug, Default)]
struct InterruptState {
    raised: OnceLock<ErrorKind>,
    changed: Notify,
}

impl Interrupt {
    /// Interrupts everything that waits. Only the first call counts.
    pub fn raise(&self, kind: ErrorKind) {
        if self.0.raised.set(kind).is_ok() {
            self.0.changed.notify_waiters();
        }
    }

    /// The failure to report, after an interruption.
    #[must_use]
    pub fn raised_failure(&self) -> Option<Failure> {
        self.0.raised.get().copied().map(interrupt_failure)
    }

    /// Waits for an interruption.
    pub async fn interrupted(&self) -> Failure {
        loop {
            // Created before the check: it completes even if the interruption comes before it is polled.
            let changed = self.0.changed.notified();
            if let Some(failure) = self.raised_failure() {
                return failure;
            }
            changed.await;
        }
    }

    /// Waits for `future` or an interruption.
    ///
    /// # Errors
    /// Of a kind for which [`ErrorKind::is_interrupt`] is true.
    pub async fn run_until_interrupted<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        if let Some(failure) = self.raised_failure() {
            return Err(failure);
        }
        // Boxed: otherwise this future would contain it twice, as the argument and pinned.
        let mut future = Box::pin(future);
        // Often it is ready at once, and nothing has to be waited for.
        if let Poll::Ready(value) = poll_once(&mut future).await {
            return Ok(value);
        }
        tokio::select! {
            biased;
            failure = self.interrupted() => Err(failure),
            value = &mut future => Ok(value),
        }
    }
}

/// Polls a future once.
async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|task| Poll::Ready(Pin::new(&mut *future).poll(task))).await
}

fn interrupt_failure(kind: ErrorKind) -> Failure {
    let message = match kind {
        ErrorKind::Terminated => "terminated",
        ErrorKind::Hangup => "terminated (SIGHUP)",
        _ => "interrupted",
    };
    Failure::new(kind, message)
}
