//! Sessions: servers that keep running between commands.

mod crashes;
mod handshake;
mod http;
mod identity;
mod lifecycle;
mod routing;
mod stopping;

use crate::support::{Run, Sandbox, process};
use std::sync::{Arc, Condvar, Mutex};
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

/// Opened once.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let waited = self.0.1.wait_timeout_while(self.0.0.lock().unwrap(), Duration::from_secs(30), |open| !*open);
        assert!(!waited.unwrap().1.timed_out());
    }
}
