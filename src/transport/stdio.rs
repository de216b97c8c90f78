//! stdio: a child process, one JSON-RPC message a line (all revisions, basic/transports/stdio).
//!
//! The child leads its own process group, so that everything it starts ends with it. Its stderr is
//! always drained (`STD-03`) and its tail kept for errors.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
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

use super::trace::{Trace, TraceEvent};
use super::{
    BoxFuture, ConnectedTransport, InheritedEnv, OutgoingMessage, StdioEndpoint, Transport, TransportKind,
    TransportOptions, process,
};
use crate::env::{PATH, is_same_variable, programs};
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::message_reader::{InputLine, MessageReader, read_line};
use crate::transport::message_writer;
use crate::transport::message_writer::{LineFrameWriter, MessageWriter};
use crate::util::quoting::quote;

/// How many lines of stderr are kept, and how much of each.
const TAIL_LINES: usize = 12;
const TAIL_WIDTH: usize = 2000;
/// How the failure begins that tells of a child's end.
pub const PROCESS_ENDED: &str = "the server process ended";
/// How long an ending child may take to say its exit status and its last words.
const EXIT_REPORT_TIMEOUT: Duration = Duration::from_millis(300);

impl StdioEndpoint {
    /// Where the child's programs are looked up.
    #[must_use]
    pub fn search_path(&self) -> Option<OsString> {
        let is_path = |name: &&String| is_same_variable(name, PATH);
        let inherited = || match &self.inherited_env {
            InheritedEnv::Only(some) => {
                some.iter().find(|(name, _)| is_path(name)).map(|(_, path)| path.reveal().into())
            }
            InheritedEnv::AllBut(names) if names.iter().any(|name| is_path(&name)) => None,
            InheritedEnv::AllBut(_) => std::env::var_os(PATH),
        };
        let own = self.env.iter().find(|(name, _)| is_path(name)).map(|(_, path)| path.reveal().into());
        own.or_else(inherited)
    }

    /// What is started as the program.
    #[must_use]
    pub fn resolved_program(&self) -> PathBuf {
        // Where the system finds it by itself, nothing is looked up.
        let path = if cfg!(windows) { self.search_path() } else { None };
        programs::resolve_program(&self.program, self.cwd.as_deref(), path.as_deref())
    }
}

/// Starts the server.
///
/// # Errors
/// [`ErrorKind::Unreachable`] when the program cannot be started.
pub fn connect(endpoint: &StdioEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    let mut command = Command::new(endpoint.resolved_program());
    command.args(&endpoint.args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    match &endpoint.inherited_env {
        InheritedEnv::AllBut(names) => names.iter().for_each(|name| {
            command.env_remove(name);
        }),
        InheritedEnv::Only(some) => {
            command.env_clear().envs(some.iter().map(|(name, value)| (name, value.reveal())));
        }
    }
    command.envs(endpoint.env.iter().map(|(name, value)| (name, value.reveal())));
    if let Some(cwd) = &endpoint.cwd {
        command.current_dir(cwd);
    }
    command.kill_on_drop(true);
    let mut child = process::spawn(&mut command).map_err(|error| start_failure(endpoint, &error))?;
    let group = child.id().unwrap_or_default();
    process::register(group);

    let (sender, incoming) = mpsc::unbounded_channel();
    let inbox = MessageReader::new(options.trace.clone(), sender, "printed on stdout");
    let shared =
        Arc::new(StdioState { trace: options.trace.clone(), stderr_tail: Mutex::default(), message_reader: inbox });
    let outbox = child.stdin.take().map(|pipe| MessageWriter::spawn(LineFrameWriter(pipe), options.trace.clone()));
    let stderr = child.stderr.take().map(|pipe| tokio::spawn(drain_stderr(pipe, shared.clone())));
    let stdout = child.stdout.take();
    let child = Arc::new(tokio::sync::Mutex::new(child));
    let reader = tokio::spawn(read_stdout(stdout, stderr, child.clone(), shared.clone()));
    let transport = StdioTransport {
        message_writer: outbox,
        child,
        group,
        reader_task: reader,
        state: shared,
        was_killed: AtomicBool::new(false),
    };
    Ok(ConnectedTransport { transport: Arc::new(transport), incoming })
}

fn start_failure(endpoint: &StdioEndpoint, error: &std::io::Error) -> Failure {
    let program = &endpoint.program;
    if let Some(cwd) = endpoint.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        return Failure::new(ErrorKind::Unreachable, format!("cannot start '{program}'"))
            .cause(format!("its working directory {} does not exist", cwd.display()));
    }
    let failure = Failure::new(ErrorKind::Unreachable, format!("cannot start '{program}'")).cause(error.to_string());
    let place = endpoint.cwd.as_deref().unwrap_or(Path::new("")).join(program);
    if programs::is_path(program) && place.is_dir() {
        return Failure::new(ErrorKind::Unreachable, format!("cannot start '{program}'"))
            .cause("it is a directory")
            .hint("name the program in it that is the server");
    }
    match error.kind() {
        io::ErrorKind::NotFound if programs::is_path(program) => failure.hint(format!("check the path {program}")),
        io::ErrorKind::NotFound => failure.hint(format!("install {program}, or give its full path")),
        io::ErrorKind::PermissionDenied if cfg!(unix) => {
            failure.hint(format!("make it executable: chmod +x {}", quote(program)))
        }
        _ => failure,
    }
}

/// What the tasks and the transport share.
struct StdioState {
    trace: Trace,
    stderr_tail: Mutex<VecDeque<String>>,
    message_reader: MessageReader,
}

impl StdioState {
    fn stderr_tail(&self) -> Vec<String> {
        self.stderr_tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn record_stderr_line(&self, line: &str) {
        self.trace.record(TraceEvent::Stderr(line));
        let mut tail = self.stderr_tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.chars().take(TAIL_WIDTH).collect());
    }
}

async fn drain_stderr(pipe: ChildStderr, shared: Arc<StdioState>) {
    let mut reader = BufReader::new(pipe);
    let mut buffer = Vec::new();
    loop {
        match read_line(&mut reader, &mut buffer).await {
            InputLine::Text(line) => shared.record_stderr_line(line.trim_end_matches('\r')),
            InputLine::TooLong => {}
            InputLine::End => return,
        }
    }
}

/// Reads the child's stdout until it ends, then says how it ended.
async fn read_stdout(
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<()>>,
    child: Arc<tokio::sync::Mutex<Child>>,
    shared: Arc<StdioState>,
) {
    if let Some(stdout) = stdout {
        shared.message_reader.read_stream(stdout).await;
    }
    let status = timeout(EXIT_REPORT_TIMEOUT, async { child.lock().await.wait().await }).await;
    if let Some(stderr) = stderr {
        let _ = timeout(EXIT_REPORT_TIMEOUT, stderr).await;
    }
    let failure = match status {
        Ok(Ok(status)) => Failure::new(ErrorKind::Unreachable, format!("{PROCESS_ENDED} ({status})")),
        _ => Failure::new(ErrorKind::Unreachable, "the server closed its standard output"),
    };
    shared.message_reader.report_end(failure.stderr_tail(shared.stderr_tail()).retry_advice(RetryAdvice::default()));
}

struct StdioTransport {
    message_writer: Option<MessageWriter<std::io::Error>>,
    child: Arc<tokio::sync::Mutex<Child>>,
    group: u32,
    reader_task: JoinHandle<()>,
    state: Arc<StdioState>,
    /// Whether the child had to be terminated.
    was_killed: AtomicBool,
}

impl Transport for StdioTransport {
    fn kind(&self) -> TransportKind {
        TransportKind::Stdio
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let outbox = self.message_writer.as_ref().ok_or_else(message_writer::closed_failure)?;
            let Some(error) = outbox.send(message).await? else { return Ok(()) };
            // The child is going: how it ended says more than the broken pipe does.
            if !self.state.message_reader.ends_within(EXIT_REPORT_TIMEOUT * 3).await {
                return Err(Failure::new(ErrorKind::Unreachable, "the server does not read its standard input")
                    .cause(error.to_string())
                    .stderr_tail(self.state.stderr_tail()));
            }
            Ok(())
        })
    }

    fn abandon(&self, _id: u64) {}

    fn diagnostics(&self) -> (Vec<String>, Option<String>) {
        (self.state.stderr_tail(), self.state.message_reader.first_non_message())
    }

    fn close(&self, patient: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if let Some(outbox) = &self.message_writer {
                outbox.close().await;
            }
            // The reader goes on meanwhile: a child that flushes its last output must not block on it.
            let mut child = self.child.lock().await;
            if process::shut_down(&mut child, self.group, patient).await {
                self.was_killed.store(true, Ordering::Relaxed);
                self.state.trace.note("the server did not end when its input did, and was terminated");
            }
            self.reader_task.abort();
        })
    }

    fn was_killed(&self) -> bool {
        self.was_killed.load(Ordering::Relaxed)
    }
}
