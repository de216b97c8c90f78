//! Locks across processes, bounded in time.
//!
//! A lock is the kernel's lock on a small file. It belongs to the open file, so it also excludes other callers in the
//! same process, and it ends with its holder, killed or not. Lock files are never deleted: two processes could otherwise
//! hold the same lock on two files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::auth::store::private_file;
use crate::error::{ErrorKind, Failure, Result};

/// The pauses between attempts to take a lock: short at first, since most locks are held for milliseconds.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(2);
const MAX_RETRY_DELAY: Duration = Duration::from_millis(40);

/// A lock that is held; dropping it releases it.
#[derive(Debug)]
pub struct StoreLock {
    _file: Option<File>,
}

impl StoreLock {
    /// A lock that excludes nothing.
    pub(super) fn noop() -> Self {
        StoreLock { _file: None }
    }
}

/// Takes the lock at `path`; `what` describes to users what it protects.
///
/// # Errors
/// [`ErrorKind::Timeout`] if it is still held after `timeout`; [`ErrorKind::Config`] if the lock file cannot be used.
pub async fn acquire(path: &Path, timeout: Duration, what: &str) -> Result<StoreLock> {
    let started = Instant::now();
    let mut pause = MIN_RETRY_DELAY;
    loop {
        if let Some(guard) = try_acquire(path).map_err(|error| lock_failure(path, &error))? {
            return Ok(guard);
        }
        if started.elapsed() >= timeout {
            return Err(lock_timeout_failure(path, timeout, what));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(MAX_RETRY_DELAY);
    }
}

/// Takes the lock at `path` if it is free.
pub fn try_acquire(path: &Path) -> io::Result<Option<StoreLock>> {
    let file = match open_lock_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(dir) = path.parent() {
                private_file::create_private_dir(dir)?;
            }
            open_lock_file(path)?
        }
        other => other?,
    };
    match file.try_lock() {
        Ok(()) if is_same_file(&file, path) => Ok(Some(StoreLock { _file: Some(file) })),
        // The file was deleted in the meantime: the valid lock is on the next one.
        Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(private_file::NO_FOLLOW);
    }
    options.open(path)
}

#[cfg(unix)]
fn is_same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => open.ino() == there.ino() && open.dev() == there.dev(),
        _ => false,
    }
}

// Nothing deletes lock files, and there is no stable file number to compare.
#[cfg(not(unix))]
fn is_same_file(_file: &File, _path: &Path) -> bool {
    true
}

fn lock_timeout_failure(path: &Path, timeout: Duration, what: &str) -> Failure {
    Failure::new(
        ErrorKind::Timeout,
        format!("waited {} s for another mcpipe process that locks {what}", timeout.as_secs()),
    )
    .cause(format!("the lock file is {}", path.display()))
    .hint("try again; if that does not help, find the mcpipe process that hangs and end it")
}

fn lock_failure(path: &Path, error: &io::Error) -> Failure {
    Failure::new(ErrorKind::Config, format!("cannot lock {}", path.display()))
        .caused_by(error)
        .hint("make its directory writable, on a file system that supports locks")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    const SHORT: Duration = Duration::from_millis(60);

    #[tokio::test]
    async fn a_lock_excludes_callers_of_the_same_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/a.lock");
        let first = acquire(&path, SHORT, "the tokens of x").await.unwrap();
        let refused = acquire(&path, SHORT, "the tokens of x").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Timeout);
        assert!(refused.to_string().contains("the tokens of x"), "{refused}");
        drop(first);
        acquire(&path, SHORT, "the tokens of x").await.unwrap();
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_deleted_lock_file_is_not_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let old = File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        File::create(&path).unwrap();
        assert!(!is_same_file(&old, &path));
        assert!(is_same_file(&File::open(&path).unwrap(), &path));
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_symbolic_link_in_its_place_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        let path = dir.path().join("a.lock");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        let failure = acquire(&path, SHORT, "x").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config);
        assert!(!victim.exists());
    }
}
