//! A person is busy, at a login or with a question: while one is, no deadline of ours runs out.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Counted for as long as it lives.
pub struct BusyGuard<'a>(&'a AtomicUsize);

impl<'a> BusyGuard<'a> {
    /// One more who is busy.
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
