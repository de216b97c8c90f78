//! Locks between processes, which wait for a limited time.
//!
//! A lock is the kernel's lock on an open file or directory. It also excludes other callers in the same process, and it
//! ends with its holder, killed or not. On Unix a lock file is deleted by its holder. Who opened it before and locks it
//! afterwards sees that it is not the file at this path, and tries again; otherwise two processes could hold the same
//! lock on two files.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::util::private_files::create_private_dir;

/// The pauses between attempts to take a lock: short at first, since most locks are held for milliseconds.
const MIN_RETRY_DELAY: Duration = Duration::from_millis(2);
const MAX_RETRY_DELAY: Duration = Duration::from_millis(40);

/// After this time, a lock file that is not locked was left by a killed run.
const ABANDONED_AGE: Duration = Duration::from_secs(24 * 3600);

/// A lock that is held; dropping it releases it.
#[derive(Debug)]
pub struct FileLock {
    /// `None` if it excludes nobody.
    file: Option<File>,
    /// The file to delete on release.
    path: Option<PathBuf>,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // Elsewhere an open file cannot be deleted, or is not recognized as deleted.
        if let (true, Some(file), Some(path)) = (cfg!(unix), &self.file, &self.path)
            && is_same_file(file, path)
        {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl FileLock {
    /// A lock that excludes nobody, for a file system without locks.
    #[must_use]
    pub fn noop() -> Self {
        FileLock { file: None, path: None }
    }

    /// Takes the lock at `path` if it is free, and creates the file and its directory if they do not exist.
    ///
    /// # Errors
    /// If the file cannot be created, opened or locked.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        let file = match open_lock_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                path.parent().map_or(Ok(()), create_private_dir)?;
                open_lock_file(path)?
            }
            other => other?,
        };
        match file.try_lock() {
            Ok(()) if is_same_file(&file, path) => Ok(Some(FileLock { file: Some(file), path: Some(path.to_owned()) })),
            // If the file was deleted in the meantime, the valid lock is on the next one.
            Ok(()) | Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Waits for the lock at `path` until `timeout` has passed; `None` if it is still held then.
    ///
    /// # Errors
    /// As [`FileLock::try_acquire`].
    pub async fn acquire(path: &Path, timeout: Duration) -> io::Result<Option<Self>> {
        let started = Instant::now();
        let mut pause = MIN_RETRY_DELAY;
        loop {
            if let Some(lock) = FileLock::try_acquire(path)? {
                return Ok(Some(lock));
            }
            if started.elapsed() >= timeout {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(MAX_RETRY_DELAY);
        }
    }

    /// Blocks until the lock for changes in `directory` is free, until `timeout` has passed; `None` if it is still held
    /// then. On a file system without locks it excludes nobody.
    ///
    /// On Unix the directory itself is locked, so that no file is left behind and replacing a file in it does not lose
    /// the lock. On Windows a file in it is locked.
    #[must_use]
    pub fn acquire_for_directory(directory: &Path, timeout: Duration) -> Option<Self> {
        let started = Instant::now();
        let mut pause = MIN_RETRY_DELAY;
        loop {
            let Ok(file) = open_directory_lock(directory) else { return Some(FileLock::noop()) };
            match file.try_lock() {
                Ok(()) => return Some(FileLock { file: Some(file), path: None }),
                Err(TryLockError::Error(_)) => return Some(FileLock::noop()),
                Err(TryLockError::WouldBlock) if started.elapsed() >= timeout => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(MAX_RETRY_DELAY);
        }
    }
}

/// Removes the lock files in `directory` that killed runs left: those that are old, and not locked.
pub fn remove_abandoned_locks(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        let written = entry.metadata().and_then(|metadata| metadata.modified());
        let is_old = written.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > ABANDONED_AGE));
        if is_old && path.extension().is_some_and(|extension| extension == "lock") {
            // Its release deletes the file.
            drop(FileLock::try_acquire(&path));
        }
    }
}

#[cfg(unix)]
fn open_directory_lock(directory: &Path) -> io::Result<File> {
    File::open(directory)
}

#[cfg(not(unix))]
fn open_directory_lock(directory: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(directory.join(".mcpipe.lock"))
}

fn open_lock_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600).custom_flags(crate::util::private_files::NO_FOLLOW);
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

// Lock files are not deleted, and there is no stable file number to compare.
#[cfg(not(unix))]
fn is_same_file(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_lock_excludes_callers_of_the_same_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/er/a.lock");
        let short = Duration::from_millis(60);
        let first = FileLock::acquire(&path, short).await.unwrap();
        assert!(first.is_some());
        assert!(FileLock::acquire(&path, short).await.unwrap().is_none());
        drop(first);
        assert!(FileLock::acquire(&path, short).await.unwrap().is_some());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_lock_file_is_deleted_on_release_and_still_excludes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let holders = std::sync::atomic::AtomicUsize::new(0);
        let hold = async || {
            for _ in 0..50 {
                let lock = FileLock::acquire(&path, Duration::from_secs(20)).await.unwrap();
                assert!(lock.is_some());
                assert_eq!(holders.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                tokio::task::yield_now().await;
                holders.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
            }
        };
        tokio::join!(hold(), hold(), hold());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_lock_of_a_directory_excludes_callers_of_the_same_process() {
        let dir = tempfile::tempdir().unwrap();
        let first = FileLock::acquire_for_directory(dir.path(), Duration::ZERO);
        assert!(first.is_some());
        assert!(FileLock::acquire_for_directory(dir.path(), Duration::ZERO).is_none());
        drop(first);
        assert!(FileLock::acquire_for_directory(dir.path(), Duration::ZERO).is_some());
    }

    #[cfg(unix)]
    #[test]
    fn a_deleted_lock_file_is_not_a_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.lock");
        let old = File::create(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        File::create(&path).unwrap();
        assert!(!is_same_file(&old, &path));
        assert!(is_same_file(&File::open(&path).unwrap(), &path));
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_to_a_lock_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        let path = dir.path().join("a.lock");
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(FileLock::try_acquire(&path).is_err());
        assert!(!victim.exists());
    }
}
