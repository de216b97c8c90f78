//! Limits as users write them: 0 means that there is none.

use std::time::Duration;

use super::duration::parse_duration;
use super::size::parse_size;

/// A limit as an option or a key sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit<T>(T);

impl<T: Copy + Default + PartialEq> Limit<T> {
    /// The limit, or none if it is 0.
    #[must_use]
    pub fn get(self) -> Option<T> {
        Some(self.0).filter(|limit| *limit != T::default())
    }

    /// The number as it was written.
    #[must_use]
    pub fn as_written(self) -> T {
        self.0
    }
}

impl<T> From<T> for Limit<T> {
    fn from(limit: T) -> Self {
        Limit(limit)
    }
}

/// As [`parse_duration`], for a limit.
///
/// # Errors
/// What is expected.
pub fn parse_time_limit(text: &str) -> Result<Limit<Duration>, String> {
    parse_duration(text).map(Limit)
}

/// As [`parse_size`], for a limit.
///
/// # Errors
/// What is expected.
pub fn parse_size_limit(text: &str) -> Result<Limit<u64>, String> {
    parse_size(text).map(Limit)
}
