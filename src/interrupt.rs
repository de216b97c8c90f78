//! The wish to stop: set once by a signal, seen by everything that waits.
//!
//! A signal never ends the process by itself. It makes the waiting operation fail, so that the
//! request is cancelled in its era's way and the child process is ended on the ordinary path.

use std::future::Future;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use crate::error::{Class, Failure, Result};

static BEFORE_STALLING: OnceLock<Box<dyn Fn() + Send + Sync>> = OnceLock::new();

/// Says who listens for signals while the thread that usually does may be stuck. Only the first answer counts.
pub fn before_stalling(action: impl Fn() + Send + Sync + 'static) {
    let _ = BEFORE_STALLING.set(Box::new(action));
}

/// To be called before a read, a write or a computation that may take for ever, and waits for nobody.
pub fn may_stall() {
    if let Some(action) = BEFORE_STALLING.get() {
        action();
    }
}

/// A handle to the wish to stop; cheap to clone.
#[derive(Clone, Debug)]
pub struct Interrupt {
    sender: Arc<watch::Sender<Option<Class>>>,
}

impl Default for Interrupt {
    fn default() -> Self {
        Interrupt { sender: Arc::new(watch::Sender::new(None)) }
    }
}

impl Interrupt {
    /// Asks everything that waits to stop; the first class given is the one that counts.
    pub fn raise(&self, class: Class) {
        self.sender.send_if_modified(|now| {
            let first = now.is_none();
            now.get_or_insert(class);
            first
        });
    }

    /// The failure to report, if a stop was asked for.
    #[must_use]
    pub fn raised(&self) -> Option<Failure> {
        (*self.sender.borrow()).map(failure)
    }

    /// Waits until a stop is asked for.
    pub async fn wait(&self) -> Failure {
        let mut receiver = self.sender.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(class) => failure(class.unwrap_or(Class::Interrupted)),
            // The sender lives in `self`, so the channel cannot close while this waits.
            Err(_) => failure(Class::Interrupted),
        }
    }

    /// Waits for `future`, but no longer than until a stop is asked for.
    ///
    /// # Errors
    /// The failure of class [`Class::Interrupted`] or [`Class::Terminated`].
    pub async fn guard<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        // Boxed, since it would lie in this future twice: as it was given, and where it is polled.
        let mut future = Box::pin(future);
        tokio::select! {
            biased;
            failure = self.wait() => Err(failure),
            value = &mut future => Ok(value),
        }
    }
}

fn failure(class: Class) -> Failure {
    let message = if class == Class::Terminated { "terminated" } else { "interrupted" };
    Failure::new(class, message)
}
