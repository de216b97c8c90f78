//! How messages show a path: `~/…` below the user's home directory.
//!
//! Documents for programs have whole paths, and a path that the user typed is shown as typed.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

static HOME: OnceLock<PathBuf> = OnceLock::new();

/// Sets the home directory of this run. Only the first call counts.
pub fn set_home(home: &Path) {
    let _ = HOME.set(home.to_owned());
}

/// A path for messages, with the home directory of this run.
#[must_use]
pub fn shown_path(path: &Path) -> String {
    abbreviate(path, HOME.get().map(PathBuf::as_path))
}

/// The same for a text that ends with a path: where credentials are stored.
#[must_use]
pub fn shown_location(location: &str) -> String {
    let (before, path) = location.split_at(location.rfind(" in ").map_or(0, |at| at + " in ".len()));
    if Path::new(path).is_absolute() { format!("{before}{}", shown_path(Path::new(path))) } else { location.to_owned() }
}

/// A path for messages of a user with this home directory.
#[must_use]
pub fn abbreviate(path: &Path, home: Option<&Path>) -> String {
    match home.filter(|home| home.parent().is_some()).and_then(|home| path.strip_prefix(home).ok()) {
        Some(rest) if rest.as_os_str().is_empty() => "~".to_owned(),
        Some(rest) => format!("~/{}", with_forward_slashes(rest)),
        None => path.display().to_string(),
    }
}

/// A relative path for files and messages: with forward slashes, which all systems accept.
#[must_use]
pub fn with_forward_slashes(path: &Path) -> String {
    let text = path.display().to_string();
    if cfg!(windows) { text.replace('\\', "/") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn only_paths_below_the_home_directory_are_abbreviated() {
        let shown = |path: &str, home: &str| abbreviate(Path::new(path), Some(Path::new(home)));
        assert_eq!(shown("/home/ada/a b/c", "/home/ada"), "~/a b/c");
        assert_eq!(shown("/home/ada", "/home/ada"), "~");
        assert_eq!(shown("/home/adam/c", "/home/ada"), "/home/adam/c");
        assert_eq!(shown("/etc/c", "/"), "/etc/c");
        set_home(Path::new("/home/ada"));
        for (location, expected) in [
            ("the keychain", "the keychain"),
            ("/home/ada/c.json", "~/c.json"),
            ("the keychain, and some in /home/ada/c.json", "the keychain, and some in ~/c.json"),
            ("the keychain, which cannot be used: locked in /x", "the keychain, which cannot be used: locked in /x"),
        ] {
            assert_eq!(shown_location(location), expected);
        }
    }
}
