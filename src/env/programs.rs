//! How programs are found by what people call them.
//!
//! On Unix the system looks them up. Windows knows endings that are left out (`npx` is `npx.cmd`, and the `npx` beside
//! it is a script for another system), and its own search adds only `.exe`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What is left out of a program's name, in the order in which it is tried. What else stands in `PATHEXT` are scripts
/// that only a shell can run.
const EXECUTABLE_EXTENSIONS: &[&str] = if cfg!(windows) { &["com", "exe", "bat", "cmd"] } else { &[] };

/// Whether a word says where a program is, and not only what it is called.
#[must_use]
pub fn is_path(word: &str) -> bool {
    word.contains(std::path::is_separator)
}

/// Whether a word is a path by its beginning: no name begins so.
#[must_use]
pub fn looks_like_path(word: &str) -> bool {
    looks_like_path_on(cfg!(windows), word)
}

fn looks_like_path_on(windows: bool, word: &str) -> bool {
    let begins = |places: &[&str]| places.iter().any(|place| word.starts_with(place));
    begins(&["./", "../", "~/", "/"])
        || windows && (begins(&[".\\", "..\\", "~\\", "\\"]) || strip_drive(word).is_some())
}

/// What stands behind the drive of an absolute path of Windows.
#[must_use]
pub fn strip_drive(word: &str) -> Option<&str> {
    match word.as_bytes() {
        [letter, b':', b'\\' | b'/', ..] if letter.is_ascii_alphabetic() => word.get(2..),
        _ => None,
    }
}

/// The files that a path may mean where a program is wanted, the first that is there counts.
#[must_use]
pub fn executable_candidates(place: &Path) -> Vec<PathBuf> {
    with_extensions(place, EXECUTABLE_EXTENSIONS)
}

fn with_extensions(place: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let has_one = |extension: &OsStr| endings.iter().any(|ending| extension.eq_ignore_ascii_case(ending));
    if endings.is_empty() || place.extension().is_some_and(has_one) {
        return vec![place.to_owned()];
    }
    let with = |ending: &&str| {
        let mut file = place.as_os_str().to_owned();
        file.push(".");
        file.push(ending);
        PathBuf::from(file)
    };
    endings.iter().map(with).collect()
}

/// The file of a program where the system would not find it by itself, else the word as it is: what is to be started.
///
/// A path is relative to `directory`, where it is a known one; a name is looked up in `path`.
#[must_use]
pub fn resolve_program(program: &str, directory: Option<&Path>, path: Option<&OsStr>) -> PathBuf {
    if cfg!(windows) {
        find_with_extension(program, directory, path, EXECUTABLE_EXTENSIONS)
    } else {
        PathBuf::from(program)
    }
}

fn find_with_extension(program: &str, directory: Option<&Path>, path: Option<&OsStr>, endings: &[&str]) -> PathBuf {
    let places: Vec<PathBuf> = if is_path(program) {
        // The system would look from where we are, and not from where the program will be.
        vec![directory.unwrap_or(Path::new("")).join(program)]
    } else {
        let all = path.into_iter().flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>());
        all.filter(|directory| directory.is_absolute()).map(|directory| directory.join(program)).collect()
    };
    let mut files = places.iter().flat_map(|place| with_extensions(place, endings));
    files.find(|file| file.is_file()).unwrap_or_else(|| PathBuf::from(program))
}

/// Whether this file can be run.
#[cfg(unix)]
#[must_use]
pub fn is_program(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    file.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Whether this file can be run, perhaps under one of the endings that programs have.
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
    fn a_path_is_told_by_its_beginning() {
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
    fn on_windows_a_name_means_the_first_file_with_an_ending() {
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
            "the first directory counts, and a script without ending is none"
        );
        assert_eq!(found("npx.exe"), two.join("npx.exe"));
        assert_eq!(found("x.EXE"), two.join("x.EXE"));
        assert_eq!(found("x.cmd"), Path::new("x.cmd"), "a directory is no program");
        assert_eq!(found("a.b"), one.join("a.b.exe"), "a dot in a name is no ending");
        assert_eq!(found("npx.ps1"), Path::new("npx.ps1"), "only a shell runs it");
        assert_eq!(found("nowhere"), Path::new("nowhere"));
        assert_eq!(find_with_extension("npx", None, None, WINDOWS), Path::new("npx"));
    }

    #[test]
    fn on_windows_a_path_is_relative_to_where_the_program_will_be() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("srv.bat"), "").unwrap();
        let found = |program: &str| find_with_extension(program, Some(dir.path()), None, WINDOWS);
        assert_eq!(found("./srv"), dir.path().join("./srv.bat"));
        assert_eq!(found("./srv.bat"), dir.path().join("./srv.bat"));
        assert_eq!(found("./none"), Path::new("./none"), "and the failure names what was given");
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
