//! The requests that a server sends while it works on one of ours, and how they were answered.
//!
//! A session has one log. If several requests are in progress at once, each has its own
//! (`Operation::server_requests`), so that a failure is reported with the right request.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{ErrorKind, Failure};
use crate::util::lock::lock;

/// How many requests for input one request of ours may lead to (`MRT-04`).
pub const MAX_INPUT_ROUNDS: usize = 10;

/// The questions, counted, and what came of them.
#[derive(Debug, Default)]
pub struct ServerRequestLog {
    /// Among how many requests of ours they are, where that is more than one.
    concurrency: AtomicUsize,
    /// How many were answered since the server last answered us.
    elicitation_count: AtomicUsize,
    /// How many requests for sampling there were in the operation that goes on.
    sampling_count: AtomicUsize,
    // Kept to be the cause of the exit code when the person declined (class `Refused`).
    declined: Mutex<Option<Failure>>,
    // An answer that could not be given as it was told to be.
    unanswered: Mutex<Option<Failure>>,
}

impl ServerRequestLog {
    /// Says for how many requests of ours the questions are.
    pub(crate) fn set_concurrency(&self, count: usize) {
        self.concurrency.store(count, Ordering::Relaxed);
    }

    fn limit(&self) -> usize {
        MAX_INPUT_ROUNDS * self.concurrency.load(Ordering::Relaxed).max(1)
    }

    /// Counts a question; whether it is one too many.
    pub(crate) fn count_elicitation(&self) -> bool {
        self.elicitation_count.fetch_add(1, Ordering::Relaxed) >= self.limit()
    }

    /// Counts a request for sampling; whether it is one too many.
    pub(crate) fn count_sampling(&self) -> bool {
        self.sampling_count.fetch_add(1, Ordering::Relaxed) >= self.limit()
    }

    /// Takes note that the server answered a request of ours: what it asks from now on belongs to the next.
    pub(crate) fn reset_elicitations(&self) {
        self.elicitation_count.store(0, Ordering::Relaxed);
    }

    /// Takes note that an operation has come to its end.
    pub(crate) fn reset_sampling(&self) {
        self.sampling_count.store(0, Ordering::Relaxed);
    }

    /// The refusal of the person, where there was one since this was last asked.
    #[must_use]
    pub fn take_declined(&self) -> Option<Failure> {
        lock(&self.declined).take()
    }

    /// Remembers that the person said no.
    pub(crate) fn set_declined(&self, message: &str) {
        lock(&self.declined).get_or_insert(Failure::new(ErrorKind::Refused, message));
    }

    /// Why an answer could not be given as it was told to be, where that happened since this was last asked.
    #[must_use]
    pub fn take_unanswered(&self) -> Option<Failure> {
        lock(&self.unanswered).take()
    }

    /// Remembers that an answer could not be given.
    pub(crate) fn set_unanswered(&self, failure: Failure) {
        lock(&self.unanswered).get_or_insert(failure);
    }
}
