//! Replaces a file in one step, and removes the temporary files of runs that were killed meanwhile.

use std::fs::{self, DirEntry};
use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::{Builder, NamedTempFile};

use crate::util::home::shown_path;

/// The name of a temporary file or directory: this prefix, random letters and digits, and the suffix.
const TEMPORARY_PREFIX: &str = ".mcpipe-";
const TEMPORARY_SUFFIX: &str = ".tmp";
const RANDOM_LENGTH: usize = 6;
/// After this time, no run is still writing a temporary file.
const LEFTOVER_AGE: Duration = Duration::from_secs(24 * 3600);

/// How many times to try: on Windows, a file that is open for reading cannot be replaced.
const MAX_ATTEMPTS: u32 = if cfg!(windows) { 100 } else { 1 };
/// How long to wait between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// The Windows error codes for a file in use: access denied, and sharing violation.
const FILE_IN_USE_ERRORS: [i32; 2] = [5, 32];

/// Names what is created in `directory` until it gets its final name. What killed runs left there is removed.
#[must_use]
pub fn temporary_in(directory: &Path) -> Builder<'static, 'static> {
    fs::read_dir(directory).into_iter().flatten().flatten().for_each(|entry| remove_if_leftover(&entry));
    let mut builder = Builder::new();
    builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX).rand_bytes(RANDOM_LENGTH);
    builder
}

/// Removes what this program created under a temporary name, if it is old. Symbolic links are neither removed nor
/// followed.
fn remove_if_leftover(entry: &DirEntry) {
    let name = entry.file_name();
    let random = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX)?.strip_suffix(TEMPORARY_SUFFIX));
    if !random.is_some_and(|it| it.len() == RANDOM_LENGTH && it.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        return;
    }
    let Ok(metadata) = entry.metadata() else { return };
    let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
    #[cfg(unix)]
    let is_ours = std::os::unix::fs::MetadataExt::uid(&metadata) == rustix::process::geteuid().as_raw();
    #[cfg(not(unix))]
    let is_ours = true;
    if is_ours && age.is_some_and(|age| age > LEFTOVER_AGE) {
        let _ = match () {
            () if metadata.is_file() => fs::remove_file(entry.path()),
            () if metadata.is_dir() => fs::remove_dir_all(entry.path()),
            () => Ok(()),
        };
    }
}

/// Renames `file` to `path`. Whoever opens `path` sees either the old content or the new one.
///
/// # Errors
/// If it cannot be renamed. Then the old file is unchanged, and the new one is deleted.
pub fn replace_file(file: NamedTempFile, path: &Path) -> io::Result<()> {
    let mut file = file;
    let mut attempt = 1;
    loop {
        match file.persist(path) {
            Ok(_) => return Ok(()),
            Err(failed)
                if attempt < MAX_ATTEMPTS
                    && failed.error.raw_os_error().is_some_and(|it| FILE_IN_USE_ERRORS.contains(&it)) =>
            {
                attempt += 1;
                file = failed.file;
                std::thread::sleep(RETRY_DELAY);
            }
            Err(failed) => return Err(failed.error),
        }
    }
}

/// What to do about a write in `directory` for which there is no space; `None` for other errors.
#[must_use]
pub fn write_failure_hint(error: &io::Error, directory: &Path) -> Option<String> {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Some(format!("free some space on the file system of {}", shown_path(directory)))
        }
        io::ErrorKind::FileTooLarge => Some("raise the file size limit (ulimit -f)".to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read as _, Write as _};

    use super::*;

    #[test]
    fn a_file_is_replaced_while_it_is_read_and_its_reader_sees_the_old_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, "old").unwrap();
        let mut reader = std::fs::File::open(&path).unwrap();
        let reading = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            let mut text = String::new();
            reader.read_to_string(&mut text).unwrap();
            text
        });
        let mut file = NamedTempFile::new_in(dir.path()).unwrap();
        file.write_all(b"new").unwrap();
        replace_file(file, &path).unwrap();
        assert_eq!(reading.join().unwrap(), "old");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no other file is left");
    }

    #[test]
    fn a_failed_replacement_leaves_no_file_behind() {
        let dir = tempfile::tempdir().unwrap();
        let file = NamedTempFile::new_in(dir.path()).unwrap();
        assert!(replace_file(file, &dir.path().join("none").join("x")).is_err());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_old_temporary_files_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = ["x.tmp", ".mcpipe-ab.tmp", ".mcpipe-abcdefg.tmp", ".mcpipe-ab_def.tmp", ".mcpipe-abcdef", "link"];
        for name in kept.iter().chain(&[".mcpipe-abcdef.tmp", ".mcpipe-A1b2C3.tmp/deep/er/x"]) {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "").unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(dir.path().join("link"), dir.path().join(".mcpipe-linked.tmp")).unwrap();
        let names = || {
            let names =
                fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.collect::<std::collections::BTreeSet<_>>()
        };
        let before = names();
        let _ = temporary_in(dir.path());
        assert_eq!(names(), before, "new ones may be in use");
        let old = std::time::SystemTime::now() - 2 * LEFTOVER_AGE;
        let make_old = |path: &Path| {
            let mut options = fs::OpenOptions::new();
            #[cfg(unix)]
            options.read(true);
            // FILE_WRITE_ATTRIBUTES and FILE_FLAG_BACKUP_SEMANTICS, which opens directories.
            #[cfg(windows)]
            std::os::windows::fs::OpenOptionsExt::custom_flags(
                std::os::windows::fs::OpenOptionsExt::access_mode(&mut options, 0x100),
                0x0200_0000,
            );
            options.open(path).unwrap().set_modified(old).unwrap();
        };
        before.iter().for_each(|name| make_old(&dir.path().join(name)));
        let file = temporary_in(dir.path()).tempfile_in(dir.path()).unwrap();
        let new = file.path().file_name().unwrap().to_str().unwrap().to_owned();
        let mut expected: std::collections::BTreeSet<String> = kept.iter().map(|name| (*name).to_owned()).collect();
        expected.insert(new);
        if cfg!(unix) {
            expected.insert(".mcpipe-linked.tmp".to_owned());
        }
        assert_eq!(names(), expected);
        // Windows keeps the name of a file until it is closed.
        let path = file.into_temp_path();
        make_old(&path);
        let _ = temporary_in(dir.path());
        assert!(!path.exists(), "the pattern is that of the names that are given");
    }
}
