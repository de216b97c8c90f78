//! What a server asks us in the course of one request of ours, and how that was answered.
//!
//! A session has one of these for all that is asked in it. Where several requests are under way at once, each
//! brings its own ([`Call::asking`](super::era::Call::asking)), so that no request is blamed for another's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::input::MAX_ROUNDS;
use super::peer::lock;
use crate::error::{Class, Failure};

/// The questions, counted, and what came of them.
#[derive(Debug, Default)]
pub struct Questions {
    /// Among how many requests of ours they are, where that is more than one.
    among: AtomicUsize,
    /// How many were answered since the server last answered us.
    asked: AtomicUsize,
    /// How many requests for sampling there were in the operation that goes on.
    sampled: AtomicUsize,
    // Kept to be the cause of the exit code when the person declined (class `Refused`).
    declined: Mutex<Option<Failure>>,
    // An answer that could not be given as it was told to be.
    unanswered: Mutex<Option<Failure>>,
}

impl Questions {
    /// Says for how many requests of ours the questions are.
    pub(super) fn among(&self, count: usize) {
        self.among.store(count, Ordering::Relaxed);
    }

    fn most(&self) -> usize {
        MAX_ROUNDS * self.among.load(Ordering::Relaxed).max(1)
    }

    /// Counts a question; whether it is one too many.
    pub(super) fn ask(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) >= self.most()
    }

    /// Counts a request for sampling; whether it is one too many.
    pub(super) fn sample(&self) -> bool {
        self.sampled.fetch_add(1, Ordering::Relaxed) >= self.most()
    }

    /// Takes note that the server answered a request of ours: what it asks from now on belongs to the next.
    pub(super) fn settled(&self) {
        self.asked.store(0, Ordering::Relaxed);
    }

    /// Takes note that an operation has come to its end.
    pub(super) fn finished(&self) {
        self.sampled.store(0, Ordering::Relaxed);
    }

    /// The refusal of the person, where there was one since this was last asked.
    #[must_use]
    pub fn declined(&self) -> Option<Failure> {
        lock(&self.declined).take()
    }

    /// Remembers that the person said no.
    pub(super) fn set_declined(&self, message: &str) {
        lock(&self.declined).get_or_insert(Failure::new(Class::Refused, message));
    }

    /// Why an answer could not be given as it was told to be, where that happened since this was last asked.
    #[must_use]
    pub fn unanswered(&self) -> Option<Failure> {
        lock(&self.unanswered).take()
    }

    /// Remembers that an answer could not be given.
    pub(super) fn set_unanswered(&self, failure: Failure) {
        lock(&self.unanswered).get_or_insert(failure);
    }
}
