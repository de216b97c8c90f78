//! Finds programs by name.
//!
//! On Unix the system does that. On Windows the extension may be omitted (`npx` means `npx.cmd`; the file `npx` next to
//! it is a shell script), but the system's own search adds only `.exe`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The extensions that may be omitted, in the order in which they are tried. The others in `PATHEXT` belong to scripts
/// that only a shell can run.
const EXECUTABLE_EXTENSIONS: &[&str] = if cfg!(windows) { &["com", "exe", "bat", "cmd"] } else { &[] };

/// Whether a word is a path rather than only a name.
#[must_use]
pub fn is_path(word: &str) -> bool {
    word.contains(std::path::is_separator)
}

/// Whether a word begins like a path: no name does.
#[must_use]
pub fn looks_like_path(word: &str) -> bool {
    looks_like_path_on(cfg!(windows), word)
}

fn looks_like_path_on(windows: bool, word: &str) -> bool {
    let begins = |places: &[&str]| places.iter().any(|place| word.starts_with(place));
    begins(&["./", "../", "~/", "/"])
        || windows && (begins(&[".\\", "..\\", "~\\", "\\"]) || strip_drive(word).is_some())
}

/// The part of an absolute Windows path after its drive.
#[must_use]
pub fn strip_drive(word: &str) -> Option<&str> {
    match word.as_bytes() {
        [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic() => word.get(2..),
        _ => None,
    }
}

/// The files that a program's path may mean; the first that exists is used.
#[must_use]
pub fn executable_candidates(path: &Path) -> Vec<PathBuf> {
    with_extensions(path, EXECUTABLE_EXTENSIONS)
}

fn with_extensions(path: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let has_one = |extension: &OsStr| extensions.iter().any(|known| extension.eq_ignore_ascii_case(known));
    if extensions.is_empty() || path.extension().is_some_and(has_one) {
        return vec![path.to_owned()];
    }
    let with = |extension: &&str| {
        let mut file = path.as_os_str().to_owned();
        file.push(".");
        file.push(extension);
        PathBuf::from(file)
    };
    extensions.iter().map(with).collect()
}

/// The file to start: on Windows the one that is found, otherwise the unchanged word, which the system looks up.
///
/// A path is relative to `directory`, if that is given; a name is looked up in `path`.
#[must_use]
pub fn resolve_program(program: &str, directory: Option<&Path>, path: Option<&OsStr>) -> PathBuf {
    if cfg!(windows) {
        find_with_extension(program, directory, path, EXECUTABLE_EXTENSIONS)
    } else {
        PathBuf::from(program)
    }
}

fn find_with_extension(program: &str, directory: Option<&Path>, path: Option<&OsStr>, extensions: &[&str]) -> PathBuf {
    let places: Vec<PathBuf> = if is_path(program) {
        // The system would resolve it from mcpipe's working directory instead of the program's.
        vec![directory.unwrap_or(Path::new("")).join(program)]
    } else {
        let all = path.into_iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>());
        all.filter(|directory| directory.is_absolute()).map(|directory| directory.join(program)).collect()
    };
    let mut files = places.iter().flat_map(|place| with_extensions(place, extensions));
    files.find(|file| file.is_file()).unwrap_or_else(|| PathBuf::from(program))
}

/// Whether this file can be run.
#[cfg(unix)]
#[must_use]
pub fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this file can be run, with or without one of the known extensions.
#[cfg(not(unix))]
#[must_use]
pub fn is_program(file: &Path) -> bool {
    executable_candidates(file).iter().any(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const WINDOWS: &[&str] = &["com", "exe", "bat", "cmd"];

    #[test]
    fn a_path_is_recognized_by_its_beginning() {
        for place in ["./x", "../x", "~/x", "/x"] {
            assert!(looks_like_path_on(false, place) && looks_like_path_on(true, place), "{place}");
        }
        for place in [r".\x", r"..\x", r"~\x", r"C:\x.exe", "d:/x", r"\\host\share\x", r"\x"] {
            assert!(looks_like_path_on(true, place) && !looks_like_path_on(false, place), "{place}");
        }
        for name in ["x", "x.y", "c:x", "ab:/x", "1:/x", "~x", r"x\y", "x/y", ""] {
            assert!(!looks_like_path_on(true, name), "{name}");
        }
    }

    #[test]
    fn on_windows_a_name_means_the_first_file_with_a_known_extension() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        for (place, names) in [(&one, &["npx", "npx.cmd", "npx.ps1", "a.b.exe"][..]), (&two, &["npx.exe", "x.EXE"])] {
            std::fs::create_dir(place).unwrap();
            names.iter().for_each(|name| std::fs::write(place.join(name), "").unwrap());
        }
        std::fs::create_dir(one.join("x.cmd")).unwrap();
        let path = std::env::join_paths([Path::new("."), &one, &two]).unwrap();
        let found = |program: &str| find_with_extension(program, None, Some(&path), WINDOWS);
        assert_eq!(
            found("npx"),
            one.join("npx.cmd"),
            "the first directory is used, and the script without extension ignored"
        );
        assert_eq!(found("npx.exe"), two.join("npx.exe"));
        assert_eq!(found("x.EXE"), two.join("x.EXE"));
        assert_eq!(found("x.cmd"), Path::new("x.cmd"), "a directory is not a program");
        assert_eq!(found("a.b"), one.join("a.b.exe"), "the part after a dot need not be an extension");
        assert_eq!(found("npx.ps1"), Path::new("npx.ps1"), "only a shell runs it");
        assert_eq!(found("nowhere"), Path::new("nowhere"));
        assert_eq!(find_with_extension("npx", None, None, WINDOWS), Path::new("npx"));
    }

    #[test]
    fn on_windows_a_path_is_relative_to_the_working_directory_of_the_program() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("srv.bat"), "").unwrap();
        let found = |program: &str| find_with_extension(program, Some(dir.path()), None, WINDOWS);
        assert_eq!(found("./srv"), dir.path().join("./srv.bat"));
        assert_eq!(found("./srv.bat"), dir.path().join("./srv.bat"));
        assert_eq!(found("./none"), Path::new("./none"), "unchanged, for the error message");
        let full = dir.path().join("srv");
        assert_eq!(find_with_extension(full.to_str().unwrap(), None, None, WINDOWS), dir.path().join("srv.bat"));
    }

    #[cfg(unix)]
    #[test]
    fn on_unix_the_system_itself_looks_programs_up() {
        let path = std::env::var_os("PATH");
        assert_eq!(resolve_program("sh", Some(Path::new("/")), path.as_deref()), Path::new("sh"));
        assert_eq!(resolve_program("./sh", Some(Path::new("/bin")), None), Path::new("./sh"));
        assert_eq!(executable_candidates(Path::new("/bin/sh")), [Path::new("/bin/sh")]);
    }
}
