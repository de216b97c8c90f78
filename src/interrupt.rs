//! The wish to stop: set once by a signal, seen by everything that waits.
//!
//! A signal never ends the process by itself. It makes the waiting operation fail, so that the
//! request is cancelled in its era's way and the child process is ended on the ordinary path.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::error::{ErrorKind, Failure, Result};

static ON_BLOCKING: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Says who listens for signals while the thread that usually does may be stuck. Only the first answer counts.
pub fn on_blocking(action: impl Fn() + Send + Sync + 'static) {
    let _ = ON_BLOCKING.set(Box::new(action));
}

/// To be called before a read, a write or a computation that may take for ever, and waits for nobody.
pub fn enter_blocking() {
    if let Some(action) = ON_BLOCKING.get() {
        action();
    }
}

/// A handle to the wish to stop; cheap to clone.
#[derive(Clone, Debug)]
pub struct Interrupt {
    sender: Arc<watch::Sender<Option<ErrorKind>>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Interrupt { sender: Arc::new(watch::Sender::new(None)) }
    }
}

impl Interrupt {
    /// Asks everything that waits to stop; the first class given is the one that counts.
    pub fn raise(&self, class: ErrorKind) {
        self.sender.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(class);
            first
        });
    }

    /// The failure to report, if a stop was asked for.
    #[must_use]
    pub fn raised_failure(&self) -> Option<Failure> {
        (*self.sender.borrow()).map(interrupt_failure)
    }

    /// Waits until a stop is asked for.
    pub async fn interrupted(&self) -> Failure {
        let mut receiver = self.sender.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(class) => interrupt_failure(class.unwrap_or(ErrorKind::Interrupted)),
            // The sender lives in `self`, so the channel cannot close while this waits.
            Err(_) => interrupt_failure(ErrorKind::Interrupted),
        }
    }

    /// Waits for `future`, but no longer than until a stop is asked for.
    ///
    /// # Errors
    /// The failure of class [`ErrorKind::Interrupted`] or [`ErrorKind::Terminated`].
    pub async fn run_until_interrupted<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        // Boxed, since it would lie in this future twice: as it was given, and where it is polled.
        let mut future = Box::pin(future);
        tokio::select! {
            biased;
            failure = self.interrupted() => Err(failure),
            value = &mut future => Ok(value),
        }
    }
}

fn interrupt_failure(class: ErrorKind) -> Failure {
    let message = if class == ErrorKind::Terminated { "terminated" } else { "interrupted" };
    Failure::new(class, message)
}
