//! stdio: a child process, one JSON-RPC message a line (all revisions, basic/transports/stdio).
//!
//! The child leads its own process group, so that everything it starts ends with it. Its stderr is
//! always drained (`STD-03`) and its tail kept for errors.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::BufReader;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::lines::{Inbox, Line, next_line};
use super::outbox::{self, Lines, Outbox};
use super::trace::{Event, Trace};
use super::{Boxed, Connection, Envelope, Inherited, Options, StdioEndpoint, Transport, Wire, process};
use crate::env::{PATH, is_same_name, programs};
use crate::error::{Again, Class, Failure, Result};
use crate::shell::quoted;

/// How many lines of stderr are kept, and how much of each.
const TAIL_LINES: usize = 12;
const TAIL_WIDTH: usize = 2000;
/// How the failure begins that tells of a child's end.
pub const ENDED: &str = "the server process ended";
/// How long an ending child may take to say its exit status and its last words.
const LAST_WORDS: Duration = Duration::from_millis(300);

impl StdioEndpoint {
    /// Where the child's programs are looked up.
    #[must_use]
    pub fn path(&self) -> Option<OsString> {
        let is_path = |name: &&String| is_same_name(name, PATH);
        let inherited = || match &self.inherited {
            Inherited::Only(some) => some.iter().find(|(name, _)| is_path(name)).map(|(_, path)| path.reveal().into()),
            Inherited::AllBut(names) if names.iter().any(|name| is_path(&name)) => None,
            Inherited::AllBut(_) => std::env::var_os(PATH),
        };
        let own = self.env.iter().find(|(name, _)| is_path(name)).map(|(_, path)| path.reveal().into());
        own.or_else(inherited)
    }

    /// What is started as the program.
    #[must_use]
    pub fn started(&self) -> PathBuf {
        // Where the system finds it by itself, nothing is looked up.
        let path = if cfg!(windows) { self.path() } else { None };
        programs::started(&self.program, self.cwd.as_deref(), path.as_deref())
    }
}

/// Starts the server.
///
/// # Errors
/// [`Class::Unreachable`] when the program cannot be started.
pub fn connect(endpoint: &StdioEndpoint, options: &Options) -> Result<Connection> {
    let mut command = Command::new(endpoint.started());
    command.args(&endpoint.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match &endpoint.inherited {
        Inherited::AllBut(names) => names.iter().for_each(|name| {
            command.env_remove(name);
        }),
        Inherited::Only(some) => {
            command.env_clear().envs(some.iter().map(|(name, value)| (name, value.reveal())));
        }
    }
    command.envs(endpoint.env.iter().map(|(name, value)| (name, value.reveal())));
    if let Some(cwd) = &endpoint.cwd {
        command.current_dir(cwd);
    }
    command.kill_on_drop(true);
    let mut child = process::spawn(&mut command).map_err(|error| cannot_start(endpoint, &error))?;
    let group = child.id().unwrap_or_default();
    process::register(group);

    let (sender, incoming) = mpsc::unbounded_channel();
    let inbox = Inbox::new(options.trace.clone(), sender, "printed on stdout");
    let shared = Arc::new(Shared { trace: options.trace.clone(), tail: Mutex::default(), inbox });
    let outbox = child.stdin.take().map(|pipe| Outbox::with(Lines(pipe), options.trace.clone()));
    let stderr = child.stderr.take().map(|pipe| tokio::spawn(drain(pipe, shared.clone())));
    let stdout = child.stdout.take();
    let child = Arc::new(tokio::sync::Mutex::new(child));
    let reader = tokio::spawn(read(stdout, stderr, child.clone(), shared.clone()));
    let transport = StdioTransport { outbox, child, group, reader, shared, forced: AtomicBool::new(false) };
    Ok(Connection { transport: Arc::new(transport), incoming })
}

fn cannot_start(endpoint: &StdioEndpoint, error: &std::io::Error) -> Failure {
    let program = &endpoint.program;
    if let Some(cwd) = endpoint.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        return Failure::new(Class::Unreachable, format!("cannot start '{program}'"))
            .cause(format!("its working directory {} does not exist", cwd.display()));
    }
    let failure = Failure::new(Class::Unreachable, format!("cannot start '{program}'")).cause(error.to_string());
    let place = endpoint.cwd.as_deref().unwrap_or(Path::new("")).join(program);
    if programs::is_path(program) && place.is_dir() {
        return Failure::new(Class::Unreachable, format!("cannot start '{program}'"))
            .cause("it is a directory")
            .hint("name the program in it that is the server");
    }
    match error.kind() {
        ErrorKind::NotFound if programs::is_path(program) => failure.hint(format!("check the path {program}")),
        ErrorKind::NotFound => failure.hint(format!("install {program}, or give its full path")),
        ErrorKind::PermissionDenied if cfg!(unix) => {
            failure.hint(format!("make it executable: chmod +x {}", quoted(program)))
        }
        _ => failure,
    }
}

/// What the tasks and the transport share.
struct Shared {
    trace: Trace,
    tail: Mutex<VecDeque<String>>,
    inbox: Inbox,
}

impl Shared {
    fn tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn heard_stderr(&self, line: &str) {
        self.trace.record(Event::Stderr(line));
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.chars().take(TAIL_WIDTH).collect());
    }
}

async fn drain(pipe: ChildStderr, shared: Arc<Shared>) {
    let mut reader = BufReader::new(pipe);
    let mut buffer = Vec::new();
    loop {
        match next_line(&mut reader, &mut buffer).await {
            Line::Text(line) => shared.heard_stderr(line.trim_end_matches('\r')),
            Line::TooLong => {}
            Line::End => return,
        }
    }
}

/// Reads the child's stdout until it ends, then says how it ended.
async fn read(
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<()>>,
    child: Arc<tokio::sync::Mutex<Child>>,
    shared: Arc<Shared>,
) {
    if let Some(stdout) = stdout {
        shared.inbox.read(stdout).await;
    }
    let status = timeout(LAST_WORDS, async { child.lock().await.wait().await }).await;
    if let Some(stderr) = stderr {
        let _ = timeout(LAST_WORDS, stderr).await;
    }
    let failure = match status {
        Ok(Ok(status)) => Failure::new(Class::Unreachable, format!("{ENDED} ({status})")),
        _ => Failure::new(Class::Unreachable, "the server closed its standard output"),
    };
    shared.inbox.end(failure.stderr_tail(shared.tail()).again(Again::default()));
}

struct StdioTransport {
    outbox: Option<Outbox<std::io::Error>>,
    child: Arc<tokio::sync::Mutex<Child>>,
    group: u32,
    reader: JoinHandle<()>,
    shared: Arc<Shared>,
    /// Whether the child had to be terminated.
    forced: AtomicBool,
}

impl Transport for StdioTransport {
    fn wire(&self) -> Wire {
        Wire::Stdio
    }

    fn send(&self, message: Envelope) -> Boxed<'_, Result<()>> {
        Box::pin(async move {
            let outbox = self.outbox.as_ref().ok_or_else(outbox::closed)?;
            let Some(error) = outbox.send(message).await? else { return Ok(()) };
            // The child is going: how it ended says more than the broken pipe does.
            if !self.shared.inbox.ends_within(LAST_WORDS * 3).await {
                return Err(Failure::new(Class::Unreachable, "the server does not read its standard input")
                    .cause(error.to_string())
                    .stderr_tail(self.shared.tail()));
            }
            Ok(())
        })
    }

    fn abandon(&self, _id: u64) {}

    fn last_words(&self) -> (Vec<String>, Option<String>) {
        (self.shared.tail(), self.shared.inbox.noise())
    }

    fn close(&self, patient: bool) -> Boxed<'_, ()> {
        Box::pin(async move {
            if let Some(outbox) = &self.outbox {
                outbox.close().await;
            }
            // The reader goes on meanwhile: a child that flushes its last output must not block on it.
            let mut child = self.child.lock().await;
            if process::end(&mut child, self.group, patient).await {
                self.forced.store(true, Ordering::Relaxed);
                self.shared.trace.note("the server did not end when its input did, and was terminated");
            }
            self.reader.abort();
        })
    }

    fn was_forced(&self) -> bool {
        self.forced.load(Ordering::Relaxed)
    }
}
