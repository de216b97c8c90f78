//! Files with secrets, and the index of the keychain: checked when read, replaced in one step.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{ErrorKind, Failure, Result};
use crate::util::atomic_write;
use crate::util::home::shown_path;
use crate::util::private_files::create_private_dir;
use crate::util::quoting::quote_path;

/// Shows a message to the user, on standard error.
pub type Notifier = Arc<dyn Fn(&str) + Send + Sync>;

/// The longest file that is read, in bytes (`SEC-07`).
const MAX_FILE_BYTES: u64 = 16 << 20;

/// The text of a file; `None` if there is no file, or it is empty.
///
/// On Unix it must be a regular file that belongs to this user or to root. If others can read it, its permissions are
/// tightened, and the user is told.
///
/// # Errors
/// [`ErrorKind::Config`], naming the file and what is wrong with it.
pub fn read_file(path: &Path, notifier: &Notifier) -> Result<Option<String>> {
    let broken = |error: &io::Error| unreadable(path).caused_by(error).hint("make it readable, or move it away");
    let real = match resolve_symlink(path) {
        Ok(real) => real,
        Err(ResolveError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_failure(unreadable(path), path)),
    };
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(crate::util::private_files::NO_FOLLOW);
    }
    let file = match options.open(&real) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| broken(&error))?,
    };
    check_permissions(&file, path, notifier)?;
    let mut text = String::new();
    let length = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| broken(&error))?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(unreadable(path).cause(format!("it is longer than {MAX_FILE_BYTES} bytes")).hint("move it away"));
    }
    Ok(Some(text).filter(|text| !text.trim().is_empty()))
}

/// Replaces the file at `path` by one with this text, in one step; on Unix with mode 0600.
///
/// A concurrent reader sees the old file or the new one. The caller holds the lock of this file.
///
/// # Errors
/// [`ErrorKind::Config`], naming the file.
pub fn replace_file(path: &Path, text: &str) -> Result<()> {
    let unwritable = || Failure::new(ErrorKind::Config, format!("cannot write {}", shown_path(path)));
    let real = match resolve_symlink(path) {
        Ok(real) => real,
        Err(ResolveError::Io(error)) if error.kind() == io::ErrorKind::NotFound && !is_symlink(path) => path.to_owned(),
        Err(error) => return Err(error.to_failure(unwritable(), path)),
    };
    write_atomically(&real, text).map_err(|error| {
        let dir = real.parent().unwrap_or(Path::new("."));
        unwritable().caused_by(&error).hint(write_hint(&error, dir))
    })
}

/// What to do about a file that cannot be written in `dir`.
fn write_hint(error: &io::Error, dir: &Path) -> String {
    let remedy =
        atomic_write::write_failure_hint(error, nearest_existing(dir)).unwrap_or_else(|| match blocking_path(dir) {
            Some(path) => move_away(path),
            None => format!("make {} writable", shown_path(nearest_existing(dir))),
        });
    format!("{remedy}, or name another file in MCPIPE_CREDENTIALS_FILE")
}

/// What to do about a file that cannot be read.
fn read_hint(path: &Path) -> String {
    match path.parent().and_then(blocking_path) {
        Some(path) => move_away(path),
        None => "make it readable, or move it away".to_owned(),
    }
}

/// What to do about a path where there should be a directory.
pub(super) fn move_away(path: &Path) -> String {
    format!("move {} away, since it is not a directory", shown_path(path))
}

/// The part of the path of a directory that exists and is not a directory.
pub(super) fn blocking_path(dir: &Path) -> Option<&Path> {
    Some(nearest_existing(dir)).filter(|path| !path.is_dir())
}

/// The longest part of a path that exists.
fn nearest_existing(path: &Path) -> &Path {
    let mut parts = path.ancestors().filter(|part| !part.as_os_str().is_empty());
    parts.find(|part| fs::symlink_metadata(part).is_ok()).unwrap_or(Path::new("."))
}

fn write_atomically(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (prefix, suffix) = (format!(".{name}."), ".new");
    create_private_dir(dir)?;
    remove_leftovers(dir, &prefix, suffix);
    // `tempfile` creates it with mode 0600, under an unpredictable name.
    let mut file = tempfile::Builder::new().prefix(&prefix).suffix(suffix).tempfile_in(dir)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    atomic_write::replace_file(file, path)?;
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

/// Removes the temporary files of writers that were killed. The caller holds the lock, so none is in use.
fn remove_leftovers(dir: &Path, prefix: &str, suffix: &str) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && name.ends_with(suffix) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Creates a directory that only this user can access, or removes the access of others.
pub fn ensure_private_dir(dir: &Path) -> Result<()> {
    let failure = |error: io::Error| {
        Failure::new(ErrorKind::Config, format!("cannot use the directory {}", shown_path(dir)))
            .caused_by(&error)
            .hint(write_hint(&error, dir))
    };
    create_private_dir(dir).map_err(failure)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, PermissionsExt};
        let there = fs::metadata(dir).map_err(failure)?;
        if there.mode() & 0o077 != 0 {
            // Some file systems have no modes; the files inside have their own.
            let _ = fs::set_permissions(dir, fs::Permissions::from_mode(0o700));
        }
    }
    Ok(())
}

/// Why a path cannot be resolved.
enum ResolveError {
    Io(io::Error),
    #[cfg_attr(not(unix), allow(dead_code))]
    ForeignLink,
}

impl ResolveError {
    /// `path` is the path that was resolved.
    fn to_failure(&self, failure: Failure, path: &Path) -> Failure {
        match self {
            ResolveError::Io(error) => failure.caused_by(error).hint(read_hint(path)),
            ResolveError::ForeignLink => {
                failure.cause("it is a symbolic link that another user created").hint("name the file itself")
            }
        }
    }
}

fn is_symlink(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| there.is_symlink())
}

/// The target of a symbolic link, if this user or root created it: mounted secrets and managed home directories use
/// such links.
fn resolve_symlink(path: &Path) -> Result<PathBuf, ResolveError> {
    let there = fs::symlink_metadata(path).map_err(ResolveError::Io)?;
    if !there.is_symlink() {
        return Ok(path.to_owned());
    }
    #[cfg(unix)]
    if !is_trusted_owner(std::os::unix::fs::MetadataExt::uid(&there)) {
        return Err(ResolveError::ForeignLink);
    }
    fs::canonicalize(path).map_err(ResolveError::Io)
}

#[cfg(unix)]
fn is_trusted_owner(owner: u32) -> bool {
    is_owner_trusted_by(rustix::process::geteuid().as_raw(), owner)
}

/// Root trusts all files: in a container it has no special role, and mounted files belong to others.
#[cfg(unix)]
fn is_owner_trusted_by(us: u32, owner: u32) -> bool {
    us == 0 || owner == us || owner == 0
}

#[cfg(unix)]
fn check_permissions(file: &File, path: &Path, notifier: &Notifier) -> Result<()> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    let there = file.metadata().map_err(|error| unreadable(path).caused_by(&error))?;
    if !there.is_file() {
        return Err(unreadable(path).cause("it is not a regular file").hint("move it away, or name another"));
    }
    if !is_trusted_owner(there.uid()) {
        return Err(unreadable(path)
            .cause(format!("it belongs to another user (uid {})", there.uid()))
            .hint("copy it to a file of your own and use that"));
    }
    if there.mode() & 0o077 != 0 {
        let path = shown_path(path);
        match file.set_permissions(fs::Permissions::from_mode(0o600)) {
            Ok(()) => notifier(&format!("{path} was accessible to other users; its mode is now 0600")),
            Err(error) => {
                notifier(&format!("{path} is accessible to other users, and its mode cannot be changed: {error}"))
            }
        }
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_permissions(file: &File, path: &Path, _notifier: &Notifier) -> Result<()> {
    let there = file.metadata().map_err(|error| unreadable(path).caused_by(&error))?;
    if !there.is_file() {
        return Err(unreadable(path).cause("it is not a regular file").hint("move it away, or name another"));
    }
    Ok(())
}

fn unreadable(path: &Path) -> Failure {
    Failure::new(ErrorKind::Config, format!("cannot read {}", shown_path(path)))
}

/// Parses one of mcpipe's own JSON files, if its format version is at most `known`.
///
/// # Errors
/// [`ErrorKind::Config`] if it is not valid. The error of the parser may quote a secret, so only its position is shown.
pub fn parse_versioned<T: DeserializeOwned>(path: &Path, text: &str, known: u32) -> Result<T> {
    #[derive(Deserialize)]
    struct VersionField {
        version: u32,
    }
    let failure = |error: serde_json::Error| {
        corrupt_file_failure(path, &format!("it is not valid (line {}, column {})", error.line(), error.column()))
    };
    let form: VersionField = serde_json::from_str(text).map_err(failure)?;
    if form.version > known {
        return Err(corrupt_file_failure(
            path,
            &format!("a later version of mcpipe wrote it (format {})", form.version),
        ));
    }
    serde_json::from_str(text).map_err(failure)
}

/// The failure for a file that cannot be parsed. The file is not touched, since it may contain credentials.
fn corrupt_file_failure(path: &Path, why: &str) -> Failure {
    Failure::new(ErrorKind::Config, format!("{} is broken", shown_path(path)))
        .cause(why)
        .hint(format!("move it away and log in again: mv {0} {0}.broken", quote_path(&shown_path(path))))
}

/// The failure for a file that cannot be serialized: a defect.
pub fn serialization_failure(error: &serde_json::Error) -> Failure {
    Failure::new(ErrorKind::Bug, "cannot serialize the credentials").caused_by(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[cfg(unix)]
    #[test]
    fn only_our_own_files_and_those_of_root_are_trusted() {
        assert!(is_owner_trusted_by(1000, 1000));
        assert!(is_owner_trusted_by(1000, 0));
        assert!(is_owner_trusted_by(0, 1000));
        assert!(!is_owner_trusted_by(1000, 1001));
    }

    #[test]
    fn an_oversized_file_is_not_read_into_memory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("long.json");
        File::create(&path).unwrap().set_len(MAX_FILE_BYTES * 64).unwrap();
        let failure = read_file(&path, &super::super::tests::recording_notifier().0).unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Config);
        assert!(failure.to_string().contains("longer than"), "{failure}");
    }

    #[test]
    fn a_reader_sees_a_whole_file_while_writers_replace_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.json");
        let texts = ["a".repeat(50_000), "b".repeat(70_000)];
        replace_file(&path, &texts[0]).unwrap();
        let (writer, written) = (path.clone(), texts.clone());
        let writing = std::thread::spawn(move || {
            (0..40).for_each(|turn| replace_file(&writer, &written[turn % 2]).unwrap());
        });
        while !writing.is_finished() {
            if cfg!(windows) {
                // A file that is read without a pause is never replaced there.
                std::thread::sleep(std::time::Duration::from_millis(3));
            }
            let text = read_file(&path, &super::super::tests::recording_notifier().0).unwrap().unwrap();
            assert!(texts.contains(&text), "{} bytes", text.len());
        }
        writing.join().unwrap();
    }
}
