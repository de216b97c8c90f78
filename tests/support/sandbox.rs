//! Runs the real binary in isolation: with an empty environment and its own home directory, leaving nothing behind.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::process;

/// The variable that marks every process that a test starts, directly or indirectly.
pub const PROCESS_MARK_VARIABLE: &str = "MCPIPE_TEST_MARK";

/// A home directory with everything below it, shared by the runs of one test.
#[derive(Clone)]
pub struct Sandbox {
    dir: Arc<TempDir>,
    mark: String,
}

impl Sandbox {
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let dir = tempfile::Builder::new().prefix("mcpipe-test-").tempdir().unwrap();
        for sub in ["home", "work", "tmp", "run"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        let mark = format!("{}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed), dir.path().display());
        Sandbox { dir: Arc::new(dir), mark }
    }

    /// The root directory; it contains `home`, `work` (the working directory), `tmp` and `run`.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    /// Writes a file below the working directory and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Writes an executable shell script below the working directory and returns its path.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = self.file(name, format!("#!/bin/sh\n{text}\n"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// Writes the user's configuration file.
    pub fn config(&self, toml: &str) -> PathBuf {
        let path = self.path().join("home/.config/mcpipe/config.toml");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, toml).unwrap();
        path
    }

    /// The binary with these arguments.
    pub fn mcpipe<I, S>(&self, args: I) -> Mcpipe
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        let home = self.path().join("home");
        let mut env = BTreeMap::new();
        for (name, value) in [
            ("HOME", home.clone()),
            ("XDG_CONFIG_HOME", home.join(".config")),
            ("XDG_CACHE_HOME", home.join(".cache")),
            ("XDG_DATA_HOME", home.join(".local/share")),
            ("XDG_STATE_HOME", home.join(".local/state")),
            ("XDG_RUNTIME_DIR", self.path().join("run")),
            ("TMPDIR", self.path().join("tmp")),
        ] {
            env.insert(OsString::from(name), value.into_os_string());
        }
        for (name, value) in [
            ("PATH", "/usr/bin:/bin"),
            ("LANG", "C.UTF-8"),
            ("COLUMNS", "80"),
            (PROCESS_MARK_VARIABLE, self.mark.as_str()),
        ] {
            env.insert(OsString::from(name), OsString::from(value));
        }
        Mcpipe {
            sandbox: self.clone(),
            args: args.into_iter().map(Into::into).collect(),
            env,
            stdin: Stdin::Nothing,
            cwd: self.work(),
            timeout: Duration::from_secs(30),
            leaves: false,
            wrapper: &[],
        }
    }

    /// The process ids that runs of this sandbox left behind.
    pub fn leftovers(&self) -> Vec<process::LeftoverProcess> {
        process::marked_processes(PROCESS_MARK_VARIABLE, &self.mark)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if Arc::strong_count(&self.dir) == 1 {
            process::kill_all(&self.leftovers());
        }
    }
}

/// The content of standard input.
enum Stdin {
    Nothing,
    Bytes(Vec<u8>),
    /// A pipe that stays open and silent: reading it blocks.
    Open,
}

/// One run of the binary that has not started yet.
pub struct Mcpipe {
    sandbox: Sandbox,
    args: Vec<OsString>,
    env: BTreeMap<OsString, OsString>,
    stdin: Stdin,
    cwd: PathBuf,
    timeout: Duration,
    leaves: bool,
    /// What starts the program, with its arguments.
    wrapper: &'static [&'static str],
}

impl Mcpipe {
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<OsString>,
    {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    pub fn env_remove(mut self, name: &str) -> Self {
        self.env.remove(&OsString::from(name));
        self
    }

    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Stdin::Bytes(bytes.into());
        self
    }

    /// Makes standard input a silent pipe.
    pub fn stdin_open(mut self) -> Self {
        self.stdin = Stdin::Open;
        self
    }

    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Self {
        self.cwd = dir.into();
        self
    }

    /// How long it may run before it is killed and the test fails.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Handles SIGHUP even if the tests run under `nohup`, which makes it ignored.
    pub fn with_default_hangup(mut self) -> Self {
        if cfg!(target_os = "linux") {
            self.wrapper = &["/usr/bin/env", "--default-signal=HUP"];
        }
        self
    }

    /// Does not check for leftover processes (for a run that is inspected while it continues).
    pub fn allow_leftovers(mut self) -> Self {
        self.leaves = true;
        self
    }

    /// The program and its arguments as a [`Command`] with environment and directory.
    pub fn command(&self, wrapper: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_mcpipe");
        let mut command = match wrapper {
            [] => Command::new(binary),
            [program, rest @ ..] => {
                let mut command = Command::new(program);
                command.args(rest).arg(binary);
                command
            }
        };
        command.args(&self.args).env_clear().envs(&self.env).current_dir(&self.cwd);
        command
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    pub fn limit(&self) -> Duration {
        self.timeout
    }

    /// Starts it, to be observed while it runs.
    pub fn start(self) -> Running {
        let mut command = self.command(self.wrapper);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        command.stdin(match self.stdin {
            Stdin::Nothing => Stdio::null(),
            _ => Stdio::piped(),
        });
        let started = Instant::now();
        let mut child = command.spawn().expect("mcpipe starts");
        let mut kept = None;
        let stdin = child.stdin.take();
        match (self.stdin, stdin) {
            (Stdin::Bytes(bytes), Some(mut pipe)) => {
                std::thread::spawn(move || {
                    let _ = pipe.write_all(&bytes);
                });
            }
            (_, pipe) => kept = pipe,
        }
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let command = self.args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ");
        Running {
            child,
            stdout,
            stderr,
            stdin: kept,
            started,
            timeout: self.timeout,
            sandbox: self.sandbox,
            leaves: self.leaves,
            command,
        }
    }

    /// Runs it until it exits.
    pub fn run(self) -> Run {
        self.start().wait()
    }
}

/// A growing buffer, filled by a thread until the end of the pipe.
pub struct CollectedOutput {
    bytes: Arc<std::sync::Mutex<Vec<u8>>>,
    thread: std::thread::JoinHandle<()>,
}

fn collect(mut pipe: impl Read + Send + 'static) -> CollectedOutput {
    let bytes = Arc::new(std::sync::Mutex::new(Vec::new()));
    let shared = Arc::clone(&bytes);
    let thread = std::thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = pipe.read(&mut buffer) {
            shared.lock().unwrap().extend_from_slice(&buffer[..count]);
        }
    });
    CollectedOutput { bytes, thread }
}

/// A run in progress.
pub struct Running {
    child: Child,
    stdout: CollectedOutput,
    stderr: CollectedOutput,
    stdin: Option<std::process::ChildStdin>,
    started: Instant,
    timeout: Duration,
    sandbox: Sandbox,
    leaves: bool,
    command: String,
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The output so far.
    pub fn stdout_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes.lock().unwrap()).into_owned()
    }

    pub fn stderr_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes.lock().unwrap()).into_owned()
    }

    /// Waits until exactly this was written to standard output.
    #[track_caller]
    pub fn wait_for_stdout(&self, expected: &str) {
        let end = Instant::now() + Duration::from_secs(10);
        while self.stdout_so_far() != expected {
            assert!(
                Instant::now() < end,
                "expected on stdout: {expected:?}, came: {:?}\n--- stderr\n{}",
                self.stdout_so_far(),
                self.stderr_so_far()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Writes to its standard input, which [`Mcpipe::stdin_open`] keeps open.
    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        stdin.write_all(text.as_bytes()).and_then(|()| stdin.flush()).unwrap();
    }

    /// Closes its standard input.
    pub fn end_stdin(&mut self) {
        self.stdin = None;
    }

    /// Sends a signal by name (`INT`, `TERM`, …).
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits until it exits. Also returns its peak memory in bytes.
    pub fn wait_measuring_memory(self) -> (Run, u64) {
        let pid = self.child.id();
        let watcher = std::thread::spawn(move || {
            let mut peak = 0;
            while let Some(now) = process::peak_memory(pid) {
                peak = now;
                std::thread::sleep(Duration::from_millis(1));
            }
            peak
        });
        (self.wait(), watcher.join().unwrap())
    }

    /// Waits until it exits; after the time limit it is killed and the test fails.
    pub fn wait(mut self) -> Run {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.started.elapsed() > self.timeout {
                self.give_up("it did not end");
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let elapsed = self.started.elapsed();
        drop(self.stdin.take());
        // A process that holds the streams open after the exit keeps `$(mcpipe …)` waiting: that is a failure too.
        let end = Instant::now() + Duration::from_secs(2);
        while !(self.stdout.thread.is_finished() && self.stderr.thread.is_finished()) {
            if Instant::now() > end {
                self.give_up("it ended, but another process still holds its output");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        if !self.leaves {
            let left = process::wait_until_gone(Duration::from_secs(1), || self.sandbox.leftovers());
            if !left.is_empty() {
                process::kill_all(&left);
                panic!("`mcpipe {}` left processes behind: {left:?}", self.command);
            }
        }
        let run = Run {
            status,
            stdout: std::mem::take(&mut *self.stdout.bytes.lock().unwrap()),
            stderr: std::mem::take(&mut *self.stderr.bytes.lock().unwrap()),
            elapsed,
            root: self.sandbox.path().display().to_string(),
            command: self.command,
        };
        assert!(!run.stderr().contains("panicked at"), "mcpipe panicked\n{run:?}");
        run
    }

    fn give_up(&mut self, why: &str) -> ! {
        let stack = process::describe(self.child.id());
        process::kill_all(&self.sandbox.leftovers());
        let _ = self.child.kill();
        panic!(
            "`mcpipe {}`: {why} within {:?}\n{stack}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.timeout,
            self.stdout_so_far(),
            self.stderr_so_far()
        );
    }
}

/// A finished run.
pub struct Run {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub elapsed: Duration,
    pub(super) root: String,
    pub(super) command: String,
}

impl Run {
    /// The exit code, or 128 + the signal as in a shell.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap_or(0))
    }

    /// Standard output as text; it must be UTF-8.
    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap_or_else(|error| panic!("stdout is not UTF-8: {error}\n{self:?}"))
    }

    pub fn stderr(&self) -> &str {
        std::str::from_utf8(&self.stderr).unwrap_or_else(|error| panic!("stderr is not UTF-8: {error}"))
    }

    /// Standard output as one JSON document.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("stdout is not JSON: {error}\n{self:?}"))
    }

    /// Fails unless it exited with this code.
    #[track_caller]
    pub fn exits(&self, code: i32) -> &Self {
        assert!(self.code() == code, "expected exit code {code}\n{self:?}");
        self
    }

    /// Fails unless it exited with 0 and wrote nothing to stderr.
    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        self.exits(0);
        assert!(self.stderr.is_empty(), "expected nothing on stderr\n{self:?}");
        self
    }

    /// Fails unless standard output is exactly this.
    #[track_caller]
    pub fn prints(&self, stdout: &str) -> &Self {
        assert!(self.stdout() == stdout, "expected on stdout: {stdout:?}\n{self:?}");
        self
    }

    /// Fails unless stderr contains this.
    #[track_caller]
    pub fn stderr_contains(&self, part: &str) -> &Self {
        assert!(self.stderr().contains(part), "expected on stderr: {part:?}\n{self:?}");
        self
    }

    /// Fails unless standard output contains this.
    #[track_caller]
    pub fn stderr_is(&self, text: &str) -> &Self {
        assert!(self.stderr() == text, "standard error is not {text:?}: {self:?}");
        self
    }

    #[track_caller]
    pub fn stdout_contains(&self, part: &str) -> &Self {
        assert!(self.stdout().contains(part), "expected on stdout: {part:?}\n{self:?}");
        self
    }

    /// Fails if stdout or stderr contains this (a secret, a control character).
    #[track_caller]
    pub fn hides(&self, part: &str) -> &Self {
        let both = [self.stdout.as_slice(), self.stderr.as_slice()].concat();
        let found = both.windows(part.len().max(1)).any(|window| window == part.as_bytes());
        assert!(!found, "must not be printed: {part:?}\n{self:?}");
        self
    }

    /// The JSON line of a failure under `--json`, without its wrapping `error`.
    #[track_caller]
    pub fn json_error(&self) -> serde_json::Value {
        let last = self.stderr().lines().last().unwrap_or_default();
        let value: serde_json::Value =
            serde_json::from_str(last).unwrap_or_else(|error| panic!("no JSON error line: {error}\n{self:?}"));
        value.get("error").cloned().unwrap_or_else(|| panic!("no error member\n{self:?}"))
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "mcpipe {}\nexit: {} after {:?}\n--- stdout\n{}--- stderr\n{}",
            self.command,
            self.code(),
            self.elapsed,
            String::from_utf8_lossy(&self.stdout),
            String::from_utf8_lossy(&self.stderr)
        )
    }
}
