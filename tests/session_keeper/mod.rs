//! Sessions: servers that keep running between commands.

mod crashes;
mod http;
mod identity;
mod lifecycle;
mod routing;

use crate::support::{Run, Sandbox, process};
use std::time::Duration;

/// A sandbox whose sessions are stopped at the end; nothing may be left then.
struct Sessions {
    sandbox: Sandbox,
}

impl Sessions {
    fn new() -> Self {
        Sessions { sandbox: Sandbox::new() }
    }

    /// Runs a command while a session may be running.
    fn run(&self, words: &[&str]) -> Run {
        self.sandbox.mcpipe(words).allow_leftovers().run()
    }

    #[track_caller]
    fn start(&self, target: &str) {
        self.run(&["session", "start", target, "--quiet"]).succeeds();
    }

    /// Stops all sessions, and checks that nothing is left of them.
    #[track_caller]
    fn stop_all(&self) {
        self.sandbox.mcpipe(["session", "stop", "--all", "--quiet"]).run().succeeds();
        self.assert_gone();
    }

    /// Waits until neither processes nor files are left.
    #[track_caller]
    fn assert_gone(&self) {
        let left = process::wait_until_gone(Duration::from_secs(10), || self.sandbox.leftovers());
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(self.files(), [""; 0]);
    }

    /// The names of the files of all sessions.
    fn files(&self) -> Vec<String> {
        let dir = self.sandbox.path().join("run/mcpipe");
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The file that describes the only session.
    fn record(&self) -> std::path::PathBuf {
        let name = self.files().into_iter().find(|name| name.ends_with(".json")).unwrap();
        self.sandbox.path().join("run/mcpipe").join(name)
    }

    fn list(&self) -> Vec<serde_json::Value> {
        let run = self.run(&["session", "list", "--json"]);
        run.succeeds();
        run.json()["sessions"].as_array().unwrap().clone()
    }
}
