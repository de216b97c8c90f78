//! Locks of credential stores.

use std::path::Path;
use std::time::Duration;

use crate::auth::store::private_file;
use crate::error::{ErrorKind, Failure, Result};
use crate::util::file_lock::FileLock;
use crate::util::home::shown_path;

/// How long a change waits for those of other processes. Each takes milliseconds.
pub(super) const UPDATE_TIMEOUT: Duration = Duration::from_secs(20);

/// Takes the lock at `path`; `what` describes to users what it protects.
///
/// # Errors
/// [`ErrorKind::Timeout`] if it is still held after `timeout`; [`ErrorKind::Config`] if the lock file cannot be used.
pub(super) async fn acquire(path: &Path, timeout: Duration, what: &str) -> Result<FileLock> {
    match FileLock::acquire(path, timeout).await {
        Ok(Some(lock)) => Ok(lock),
        Ok(None) => Err(Failure::new(
            ErrorKind::Timeout,
            format!("waited {} s for another mcpipe process that holds the lock on {what}", timeout.as_secs()),
        )
        .cause(format!("the lock file is {}", shown_path(path)))
        .hint("try again; if that does not help, find the mcpipe process that hangs and end it")),
        Err(error) => {
            let hint = match path.parent().and_then(private_file::blocking_path) {
                Some(path) => private_file::move_away(path),
                None => "make its directory writable, on a file system that supports locks".to_owned(),
            };
            Err(Failure::new(ErrorKind::Config, format!("cannot lock {}", shown_path(path)))
                .caused_by(&error)
                .hint(hint))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_lock_that_stays_held_is_a_timeout() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let _held = acquire(&path, Duration::ZERO, "the tokens of x").await.unwrap();
        let failure = acquire(&path, Duration::from_millis(10), "the tokens of x").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Timeout);
        assert!(failure.to_string().contains("the tokens of x"), "{failure}");
    }

    #[tokio::test]
    async fn a_lock_file_that_cannot_be_opened_is_a_failure() {
        let dir = tempfile::tempdir().unwrap();
        let failure = acquire(dir.path(), Duration::ZERO, "x").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config);
    }
}
