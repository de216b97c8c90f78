//! A fingerprint of a server that mcpipe starts: the size and modification time of the files on its command line. A
//! server under development changes between two calls without any notification.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use crate::env::programs;
use crate::transport::{Endpoint, StdioEndpoint};

/// The fingerprint of the files on a command line; `None` for servers that mcpipe does not start.
#[must_use]
pub fn server_fingerprint(endpoint: &Endpoint) -> Option<String> {
    let Endpoint::Stdio(endpoint) = endpoint else { return None };
    let program = find_program(endpoint);
    let words = endpoint.args.iter().map(|word| resolve_path(endpoint, word));
    let files = program.into_iter().chain(words).filter_map(|path| file_fingerprint(&path));
    Some(files.collect::<Vec<_>>().join(" "))
}

/// Resolves a path from the working directory of the child process.
fn resolve_path(endpoint: &StdioEndpoint, word: &str) -> PathBuf {
    endpoint.cwd.as_deref().unwrap_or(Path::new("")).join(word)
}

/// Finds the program as the child process will find it.
fn find_program(endpoint: &StdioEndpoint) -> Option<PathBuf> {
    let name = &endpoint.program;
    let is_file = |path: &PathBuf| path.is_file();
    if programs::is_path(name) {
        return programs::executable_candidates(&resolve_path(endpoint, name)).into_iter().find(is_file);
    }
    let directories = endpoint.search_path()?;
    std::env::split_paths(&directories).flat_map(|dir| programs::executable_candidates(&dir.join(name))).find(is_file)
}

/// The size and modification time of a file; `None` if it does not exist.
fn file_fingerprint(path: &Path) -> Option<String> {
    let meta = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let changed = meta.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(format!("{}@{}.{:09}", meta.len(), changed.as_secs(), changed.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::secret::Secret;

    #[test]
    fn a_changed_file_changes_the_fingerprint() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let tool = if cfg!(windows) { "tool.exe" } else { "tool" };
        write(tool, "one");
        write("server.py", "one");
        let mut endpoint = StdioEndpoint {
            program: "tool".into(),
            args: vec!["server.py".into(), "--port".into(), ".".into()],
            cwd: Some(dir.path().to_owned()),
            ..StdioEndpoint::default()
        };
        endpoint.env.insert("PATH".into(), Secret::new(dir.path().to_str().unwrap()));
        let stamp = || server_fingerprint(&Endpoint::Stdio(endpoint.clone())).unwrap();
        let first = stamp();
        assert_eq!(first.split(' ').count(), 2, "{first}");
        assert_eq!(stamp(), first);
        write("server.py", "other");
        let second = stamp();
        assert_ne!(second, first);
        write(tool, "other");
        assert_ne!(stamp(), second);
    }
}
