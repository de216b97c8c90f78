//! Changes files: under a lock, atomically, preserving links and permissions.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::env::Environment;
use crate::error::{ErrorKind, Failure, Result};
use crate::util::atomic_write::{replace_file, temporary_in, write_failure_hint};
use crate::util::file_lock::FileLock;
use crate::util::home::shown_path;
use crate::util::private_files::create_private_dir;
use crate::util::quoting;

/// How long another mcpipe process may hold the lock; an edit takes milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for the lock for changing `file`, and creates its directory if it does not exist.
///
/// # Errors
/// [`ErrorKind::Config`] if the directory cannot be created, or another process holds the lock.
pub fn lock_for_edit(file: &Path) -> Result<FileLock> {
    let target = resolve_links(file);
    let directory = parent_dir(&target);
    create_config_dir(directory)?;
    FileLock::acquire_for_directory(directory, LOCK_TIMEOUT).ok_or_else(|| {
        Failure::new(ErrorKind::Config, format!("cannot change {}", shown_path(file)))
            .cause("another mcpipe process has locked it")
    })
}

/// Rejects a file that its owner made read-only: replacing it would not need permission to write it.
///
/// # Errors
/// [`ErrorKind::Config`] for such a file, but not if it does not exist yet.
pub fn check_writable(environment: &Environment, file: &Path) -> Result<()> {
    if !fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().readonly()) {
        return Ok(());
    }
    let shown = environment.abbreviate_home(file);
    let linked =
        fs::read_link(file).and_then(|_| file.canonicalize()).ok().map(|real| environment.abbreviate_home(&real));
    let why = linked
        .as_ref()
        .map_or("it is read-only".to_owned(), |real| format!("it is a link to {real}, which is read-only"));
    let unlock = if cfg!(windows) { "attrib -R" } else { "chmod u+w" };
    Err(Failure::new(ErrorKind::Config, format!("cannot change {shown}"))
        .cause(why)
        .hint(format!("make it writable: {unlock} {}", quoting::quote_path(linked.as_ref().unwrap_or(&shown)))))
}

/// Replaces a file with this text atomically.
///
/// A link stays a link, and its file keeps its permissions; a new file is readable by its owner only, since it may
/// contain secrets. Take the lock ([`lock_for_edit`]) before reading the content to change.
///
/// # Errors
/// [`ErrorKind::Config`] if it cannot be written; the old content is then unchanged.
pub fn write_config_file(file: &Path, text: &str) -> Result<()> {
    let target = resolve_links(file);
    let fail = |error: std::io::Error| {
        let failure = Failure::new(ErrorKind::Config, format!("cannot write {}", shown_path(file))).caused_by(&error);
        match write_failure_hint(&error, parent_dir(&target)) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    };
    create_config_dir(parent_dir(&target))?;
    let mut new = temporary_in(parent_dir(&target)).tempfile_in(parent_dir(&target)).map_err(fail)?;
    new.write_all(text.as_bytes()).map_err(fail)?;
    match fs::metadata(&target) {
        Ok(old) => new.as_file().set_permissions(old.permissions()).map_err(fail)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(fail(error)),
    }
    new.as_file().sync_all().map_err(fail)?;
    replace_file(new, &target).map_err(fail)?;
    Ok(())
}

/// The file behind a link, even if that file does not exist yet.
fn resolve_links(file: &Path) -> PathBuf {
    let mut now = file.to_owned();
    // The kernel's limit before it reports a loop.
    for _ in 0..40 {
        match fs::read_link(&now) {
            Ok(next) => now = parent_dir(&now).join(next),
            Err(_) => break,
        }
    }
    now
}

fn parent_dir(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn create_config_dir(directory: &Path) -> Result<()> {
    create_private_dir(directory).map_err(|error| {
        Failure::new(ErrorKind::Config, format!("cannot create the directory {}", shown_path(directory)))
            .caused_by(&error)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_and_permissions_are_kept_and_new_files_are_private() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("sub/real.toml"), dir.path().join("link.toml"));
        symlink("sub/real.toml", &link).unwrap();
        write_config_file(&link, "one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("one", 0o600));
        fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
        write_config_file(&link, "two").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!((fs::read_to_string(&real).unwrap().as_str(), mode(&real)), ("two", 0o640));
        assert_eq!(fs::read_dir(real.parent().unwrap()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn concurrent_changes_under_the_lock_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("new/counter");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let _lock = lock_for_edit(&file).unwrap();
                        let now: u32 =
                            fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
                        write_config_file(&file, &(now + 1).to_string()).unwrap();
                    }
                });
            }
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "40");
    }
}
