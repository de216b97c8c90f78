//! The requests that a server sends while it works on one of ours, and how they were answered.
//!
//! A session has one log. If several requests are in progress at once, each has its own
//! (`Operation::server_requests`), so that a failure is reported with the right request.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{ErrorKind, Failure};
use crate::util::lock::lock;

/// The maximum number of input requests for one request of ours (`MRT-04`).
pub const MAX_INPUT_ROUNDS: usize = 10;

/// Counts the server's requests and records failed answers.
#[derive(Debug, Default)]
pub struct ServerRequestLog {
    /// The number of concurrent requests of ours that share this log.
    concurrency: AtomicUsize,
    /// The number answered since the server last answered us.
    elicitation_count: AtomicUsize,
    /// The number of sampling requests in the current operation.
    sampling_count: AtomicUsize,
    // Kept as the cause of the exit code after the user declined (error kind `Refused`).
    declined: Mutex<Option<Failure>>,
    // An answer that could not be given as configured.
    unanswered: Mutex<Option<Failure>>,
}

impl ServerRequestLog {
    /// Sets how many of our requests share this log.
    pub(crate) fn set_concurrency(&self, count: usize) {
        self.concurrency.store(count, Ordering::Relaxed);
    }

    fn limit(&self) -> usize {
        MAX_INPUT_ROUNDS * self.concurrency.load(Ordering::Relaxed).max(1)
    }

    /// Counts an input request; true if it exceeds the limit.
    pub(crate) fn count_elicitation(&self) -> bool {
        self.elicitation_count.fetch_add(1, Ordering::Relaxed) >= self.limit()
    }

    /// Counts a sampling request; true if it exceeds the limit.
    pub(crate) fn count_sampling(&self) -> bool {
        self.sampling_count.fetch_add(1, Ordering::Relaxed) >= self.limit()
    }

    /// Resets the count after the server answered a request of ours.
    pub(crate) fn reset_elicitations(&self) {
        self.elicitation_count.store(0, Ordering::Relaxed);
    }

    /// Resets the count of sampling requests at the end of an operation.
    pub(crate) fn reset_sampling(&self) {
        self.sampling_count.store(0, Ordering::Relaxed);
    }

    /// The failure after the user declined, if that happened since the last call.
    #[must_use]
    pub(crate) fn take_declined(&self) -> Option<Failure> {
        lock(&self.declined).take()
    }

    /// Records that the user declined.
    pub(crate) fn set_declined(&self, message: &str) {
        lock(&self.declined).get_or_insert(Failure::new(ErrorKind::Refused, message));
    }

    /// Why an answer could not be given as configured, if that happened since the last call.
    #[must_use]
    pub(crate) fn take_unanswered(&self) -> Option<Failure> {
        lock(&self.unanswered).take()
    }

    /// Why a request of the server was not answered, if that happened since the last call: it could not be, or the user
    /// declined.
    #[must_use]
    pub fn take_failure(&self) -> Option<Failure> {
        self.take_unanswered().or_else(|| self.take_declined())
    }

    /// Records that an answer could not be given.
    pub(crate) fn set_unanswered(&self, failure: Failure) {
        lock(&self.unanswered).get_or_insert(failure);
    }
}
