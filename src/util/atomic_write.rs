//! Replaces a file in one step.

use std::io;
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;

/// How many times to try: on Windows, a file that is open for reading cannot be replaced.
const MAX_ATTEMPTS: u32 = if cfg!(windows) { 100 } else { 1 };
/// How long to wait between two attempts.
const RETRY_DELAY: Duration = Duration::from_millis(5);
/// The Windows error codes for a file in use: access denied, and sharing violation.
const FILE_IN_USE_ERRORS: [i32; 2] = [5, 32];

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
}
