//! Marks the time in which the user is busy with a login or a question: no time limit applies then.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counts as one busy user until it is dropped.
pub struct BusyGuard<'a>(&'a AtomicUsize);

impl<'a> BusyGuard<'a> {
    /// Increments the count.
    #[must_use]
    pub fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        BusyGuard(count)
    }
}

impl Drop for BusyGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
