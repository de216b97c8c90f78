//! A directory of files that a server names: written to a temporary directory, and renamed when it is complete.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use tempfile::TempDir;

use super::escape::is_harmful;
use crate::error::{ErrorKind, Failure, Result};
use crate::util::atomic_write::temporary_in;

/// The maximum depth of a file in the directory.
const MAX_DEPTH: usize = 32;
/// The longest name that file systems support, in bytes.
const MAX_NAME_LENGTH: usize = 255;

/// The part of a URI after the URI of the directory, as a relative path.
///
/// # Errors
/// Why it is not allowed: it would leave the directory, or mean something else on some systems.
pub fn relative_path(below: &str) -> std::result::Result<PathBuf, String> {
    if below.contains(['?', '#']) {
        return Err("its URI has a query or a fragment".to_owned());
    }
    let mut path = PathBuf::new();
    for (depth, segment) in below.split('/').enumerate() {
        let name = percent_decode_str(segment).decode_utf8().map_err(|_| "its name is not UTF-8".to_owned())?;
        if depth >= MAX_DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        check_file_name(&name)?;
        path.push(&*name);
    }
    Ok(path)
}

/// Checks one name.
fn check_file_name(name: &str) -> std::result::Result<(), String> {
    let odd = |c: char| c.is_control() || is_harmful(c) || r#"/\:*?"<>|"#.contains(c);
    let base = name.split('.').next().unwrap_or_default().trim_end().to_ascii_lowercase();
    let numbered = base.len() == 4
        && (base.starts_with("com") || base.starts_with("lpt"))
        && base.ends_with(|c: char| c.is_ascii_digit());
    if name.is_empty() || name == "." || name == ".." {
        Err("its path leaves the directory".to_owned())
    } else if name.contains(odd) || name.ends_with(['.', ' ']) {
        Err("its name contains an invalid character".to_owned())
    } else if matches!(base.as_str(), "con" | "prn" | "aux" | "nul") || numbered {
        Err("its name is a device name".to_owned())
    } else if name.len() > MAX_NAME_LENGTH {
        Err("its name is too long".to_owned())
    } else {
        Ok(())
    }
}

/// A directory that is being written.
#[derive(Debug)]
pub struct FolderExport {
    staging: TempDir,
    target: PathBuf,
}

impl FolderExport {
    /// Starts a directory `name` in `directory`, which is created if it does not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`] for a name that is not allowed; [`ErrorKind::Usage`] if the directory already exists or
    /// nothing can be written there.
    pub fn new(directory: &Path, name: &str) -> Result<Self> {
        check_file_name(name).map_err(|why| {
            Failure::new(ErrorKind::Refused, format!("'{name}' is not a valid directory name")).cause(why)
        })?;
        let target = directory.join(name);
        if target.symlink_metadata().is_ok() {
            return Err(Failure::new(ErrorKind::Usage, format!("'{}' already exists", target.display()))
                .hint("remove it first, or choose another directory"));
        }
        let staging = fs::create_dir_all(directory)
            .and_then(|()| temporary_in(directory).tempdir_in(directory))
            .and_then(|staging| fs::create_dir(staging.path().join(name)).map(|()| staging));
        let staging = staging.map_err(|error| {
            Failure::new(ErrorKind::Usage, format!("cannot write into '{}'", directory.display())).caused_by(&error)
        })?;
        Ok(FolderExport { staging, target })
    }

    fn staging_root(&self) -> PathBuf {
        self.staging.path().join(self.target.file_name().unwrap_or_default())
    }

    /// Writes one file; `path` comes from [`relative_path`].
    ///
    /// # Errors
    /// When it cannot be written; also if the file system considers its name equal to another one.
    pub fn add(&mut self, path: &Path, bytes: &[u8]) -> Result<()> {
        let file = self.staging_root().join(path);
        let written = file
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::OpenOptions::new().write(true).create_new(true).open(&file))
            .and_then(|mut file| file.write_all(bytes));
        written.map_err(|error| {
            Failure::new(ErrorKind::Failed, format!("cannot write the file '{}'", self.target.join(path).display()))
                .caused_by(&error)
        })
    }

    /// Renames the directory to its final name, and returns its path.
    ///
    /// # Errors
    /// If that name has been taken in the meantime.
    pub fn finish(self) -> Result<PathBuf> {
        fs::rename(self.staging_root(), &self.target).map_err(|error| {
            Failure::new(ErrorKind::Failed, format!("cannot create the directory '{}'", self.target.display()))
                .caused_by(&error)
        })?;
        Ok(self.target)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn paths_stay_below_the_folder() {
        assert_eq!(relative_path("SKILL.md").unwrap(), Path::new("SKILL.md"));
        assert_eq!(relative_path("a%20b/.hidden/gr%C3%B6%C3%9Fe.md").unwrap(), Path::new("a b/.hidden/größe.md"));
        for bad in [
            "",
            "/etc/passwd",
            "a//b",
            "a/",
            "..",
            "../x",
            "a/../../x",
            "%2e%2e/x",
            "a/%2E%2E/x",
            "..%2fx",
            "a%2f..%2f..",
            ".",
            "a\\..\\b",
            "%5c",
            "C:x",
            "a:b",
            "x?y",
            "x#y",
            "%00",
            "a\u{202e}b",
            "con",
            "NUL.txt",
            "com1",
            "x.",
            "x ",
            "%ff",
        ] {
            assert!(relative_path(bad).is_err(), "{bad:?}");
        }
        assert!(relative_path(&"a/".repeat(40)).is_err());
        assert!(relative_path(&"a".repeat(300)).is_err());
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let inside = |path: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let mut export = FolderExport::new(directory.path(), "pdf").unwrap();
        export.add(Path::new("a/b.txt"), b"b").unwrap();
        assert_eq!(export.add(Path::new("a/b.txt"), b"c").unwrap_err().kind(), ErrorKind::Failed);
        drop(export);
        assert!(inside(directory.path()).is_empty());

        let mut export = FolderExport::new(directory.path(), "pdf").unwrap();
        export.add(Path::new("a/b.txt"), b"b").unwrap();
        let folder = export.finish().unwrap();
        assert_eq!(fs::read(folder.join("a/b.txt")).unwrap(), b"b");
        assert_eq!(inside(directory.path()), ["pdf"]);
        assert_eq!(FolderExport::new(directory.path(), "pdf").unwrap_err().kind(), ErrorKind::Usage);
        assert_eq!(FolderExport::new(directory.path(), "..").unwrap_err().kind(), ErrorKind::Refused);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("pdf")).unwrap();
        assert_eq!(FolderExport::new(directory.path(), "pdf").unwrap_err().kind(), ErrorKind::Usage);
    }
}
