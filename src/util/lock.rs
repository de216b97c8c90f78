//! Locks a mutex.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`, even if a holder has panicked. That happens in tests only: the released program aborts on panic.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
