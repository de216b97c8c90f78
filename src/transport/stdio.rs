//! stdio: a child process, one JSON-RPC message per line (basic/transports, section stdio, in all revisions).
//!
//! The child leads its own process group, so that everything it starts is ended with it. Its stderr is
//! always read (`STD-03`), and the last lines are kept for errors.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::process;
use crate::env::missing_program::{is_assignment, missing_program_hint};
use crate::env::programs;
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::connection::{
    BoxFuture, CloseOutcome, ConnectedTransport, Diagnostics, Transport, TransportKind, TransportOptions,
};
use crate::transport::endpoint::{InheritedEnv, StdioEndpoint};
use crate::transport::message::OutgoingMessage;
use crate::transport::message_reader::{MessageReader, stream_channel};
use crate::transport::message_writer::{self, LineFrameWriter, MessageWriter};
use crate::transport::replay::may_be_recording;
use crate::transport::trace::{Trace, TraceEvent};
use crate::util::lock::lock;
use crate::util::quoting::{quote, without_secret};
use crate::util::shorten::shorten;

/// How many lines of stderr are kept, and how much of each.
const TAIL_LINES: usize = 12;
const TAIL_WIDTH: usize = 2000;
/// How much of the end of one line of stderr is read, in bytes.
const MAX_STDERR_LINE: usize = 64 << 10;
/// How long to wait for the exit status and the rest of stderr after stdout has ended.
const EXIT_REPORT_TIMEOUT: Duration = Duration::from_millis(300);

/// Starts the server.
///
/// # Errors
/// [`ErrorKind::Unreachable`] if the program cannot be started.
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
    process::adopt_orphans();
    let mut child = process::spawn(&mut command).map_err(|error| start_failure(endpoint, &error))?;
    let group = child.id().unwrap_or_default();
    process::register(group);

    let (sender, incoming) = stream_channel();
    let trace = &options.trace;
    let state = Arc::new(StdioState {
        trace: trace.clone(),
        stderr_tail: Mutex::default(),
        message_reader: MessageReader::new(trace.clone(), sender, "printed on stdout"),
    });
    let message_writer = child.stdin.take().map(|pipe| MessageWriter::spawn(LineFrameWriter::new(pipe), trace.clone()));
    let stderr = child.stderr.take().map(|pipe| tokio::spawn(read_stderr(pipe, state.clone())));
    let stdout = child.stdout.take();
    let child = Arc::new(tokio::sync::Mutex::new(child));
    let reader_task = tokio::spawn(read_stdout(stdout, stderr, child.clone(), state.clone()));
    let reaper_task = tokio::spawn(process::reap_orphans());
    let transport = StdioTransport { message_writer, child, group, reader_task, reaper_task, state };
    Ok(ConnectedTransport { transport: Arc::new(transport), incoming })
}

fn start_failure(endpoint: &StdioEndpoint, error: &std::io::Error) -> Failure {
    let program = &endpoint.program;
    let failure = Failure::new(ErrorKind::Unreachable, format!("cannot start '{}'", without_secret(None, program)));
    if let Some(cwd) = endpoint.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        return failure.cause(format!("the working directory {} does not exist", cwd.display()));
    }
    let path = endpoint.cwd.as_deref().unwrap_or(Path::new("")).join(program);
    if programs::is_path(program) && path.is_dir() {
        return failure.cause("it is a directory").hint("give the path of the server's program in that directory");
    }
    let failure = failure.cause(error.to_string());
    // A path is relative to the server's directory.
    let is_path = programs::is_path(program);
    let shown_path = if is_path { path.display().to_string() } else { program.clone() };
    let with_interpreter =
        || Some(format!("start it with its interpreter: -- {} {}", interpreter(program)?, quote(program)));
    #[cfg(unix)]
    if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) {
        return failure.hint("allow more open files: ulimit -n 256");
    }
    match error.kind() {
        io::ErrorKind::NotFound if is_path && path.is_file() => {
            let failure = failure.cause("a program that it needs does not exist; a script names it in its first line");
            failure.hint(
                with_interpreter().unwrap_or_else(|| format!("see its first line: head -n 1 {}", quote(&shown_path))),
            )
        }
        io::ErrorKind::NotFound if is_one_path(program) && !is_assignment(program) => {
            failure.hint(format!("check the path {shown_path}"))
        }
        io::ErrorKind::PermissionDenied if cfg!(unix) && is_path => failure.hint(match with_interpreter() {
            _ if may_be_recording(&path) => format!("if it is a recording: {}", quote(&format!("replay:{shown_path}"))),
            Some(hint) => hint,
            None => format!("make it executable: chmod +x {}", quote(&shown_path)),
        }),
        // Also if a directory of PATH cannot be searched.
        io::ErrorKind::PermissionDenied if is_path => failure,
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied => {
            failure.hint(missing_program_hint(program, &endpoint.args))
        }
        _ => failure,
    }
}

/// What runs a script, by its extension.
fn interpreter(program: &str) -> Option<&'static str> {
    match Path::new(program).extension()?.to_str()? {
        "py" => Some("python3"),
        "js" | "mjs" | "cjs" => Some("node"),
        _ => None,
    }
}

/// Whether this is a path and not a whole command line, whose words may contain slashes too.
fn is_one_path(program: &str) -> bool {
    let is_start = |word: &str| programs::is_path(word) && !Path::new(word).is_file();
    programs::is_path(program) && !program.contains(" -") && program.split(' ').next().is_some_and(is_start)
}

/// What the transport and its tasks share.
struct StdioState {
    trace: Trace,
    stderr_tail: Mutex<VecDeque<String>>,
    message_reader: MessageReader,
}

impl StdioState {
    fn stderr_tail(&self) -> Vec<String> {
        lock(&self.stderr_tail).iter().cloned().collect()
    }

    fn record_stderr_line(&self, line: &[u8]) {
        let end = line.get(line.len().saturating_sub(MAX_STDERR_LINE)..).unwrap_or(line);
        let text = String::from_utf8_lossy(end.strip_suffix(b"\r").unwrap_or(end));
        let line = if end.len() < line.len() { Cow::Owned(format!("…{text}")) } else { text };
        let line = &*line;
        self.trace.record(TraceEvent::Stderr(line));
        let mut tail = lock(&self.stderr_tail);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(shorten(line, TAIL_WIDTH));
    }
}

/// Records the lines of stderr; of a line beyond [`MAX_STDERR_LINE`], its end.
async fn read_stderr(mut pipe: ChildStderr, state: Arc<StdioState>) {
    let mut chunk = vec![0; 16 << 10];
    let mut line = Vec::new();
    loop {
        let length = match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(length) => length,
        };
        let mut rest = chunk.get(..length).unwrap_or_default();
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            line.extend_from_slice(&rest[..end]);
            state.record_stderr_line(&line);
            line.clear();
            rest = &rest[end + 1..];
        }
        line.extend_from_slice(rest);
        // Not at every chunk: moving the end costs its length.
        if line.len() > 2 * MAX_STDERR_LINE {
            line.drain(..line.len() - MAX_STDERR_LINE);
        }
    }
    if !line.is_empty() {
        state.record_stderr_line(&line);
    }
}

/// Reads the child's stdout until it ends, then reports how the child ended.
async fn read_stdout(
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<()>>,
    child: Arc<tokio::sync::Mutex<Child>>,
    state: Arc<StdioState>,
) {
    if let Some(stdout) = stdout
        && let Err(failure) = state.message_reader.read_stream(stdout).await
    {
        return state.message_reader.report_end(failure.stderr_tail(state.stderr_tail())).await;
    }
    let status = timeout(EXIT_REPORT_TIMEOUT, async { child.lock().await.wait().await }).await;
    if let Some(stderr) = stderr {
        let _ = timeout(EXIT_REPORT_TIMEOUT, stderr).await;
    }
    let failure = match status {
        Ok(Ok(status)) => {
            let mut failure = Failure::new(ErrorKind::Unreachable, format!("the server process ended ({status})"));
            failure.details_mut().is_process_end = true;
            failure
        }
        _ => Failure::new(ErrorKind::Unreachable, "the server closed its standard output"),
    };
    let failure = failure.stderr_tail(state.stderr_tail()).retry_advice(RetryAdvice::default());
    state.message_reader.report_end(failure).await;
}

struct StdioTransport {
    message_writer: Option<MessageWriter<std::io::Error>>,
    child: Arc<tokio::sync::Mutex<Child>>,
    group: u32,
    reader_task: JoinHandle<()>,
    reaper_task: JoinHandle<()>,
    state: Arc<StdioState>,
}

impl Drop for StdioTransport {
    fn drop(&mut self) {
        self.reaper_task.abort();
    }
}

impl Transport for StdioTransport {
    fn kind(&self) -> TransportKind {
        TransportKind::Stdio
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let writer = self.message_writer.as_ref().ok_or_else(message_writer::sent_after_close_failure)?;
            let Some(error) = writer.send(message).await? else { return Ok(()) };
            // The child is probably exiting: its exit status is more informative than the broken pipe.
            if !self.state.message_reader.ends_within(EXIT_REPORT_TIMEOUT * 3).await {
                return Err(Failure::new(ErrorKind::Unreachable, "the server does not read its standard input")
                    .cause(error.to_string())
                    .stderr_tail(self.state.stderr_tail()));
            }
            Ok(())
        })
    }

    fn diagnostics(&self) -> Diagnostics {
        Diagnostics {
            stderr_tail: self.state.stderr_tail(),
            first_non_message: self.state.message_reader.first_non_message(),
        }
    }

    fn close(&self, patient: bool) -> BoxFuture<'_, CloseOutcome> {
        Box::pin(async move {
            // From here on the end of the child is awaited, and what it leaves behind is looked for once.
            self.reaper_task.abort();
            if let Some(writer) = &self.message_writer {
                writer.close().await;
            }
            // The reader continues: a child that writes its last output must not block.
            let mut child = self.child.lock().await;
            let outcome = process::shut_down(&mut child, self.group, patient).await;
            if outcome == CloseOutcome::Killed {
                self.state.trace.note("the server did not exit after its standard input was closed; terminated it");
            }
            for orphan in process::end_orphans().await {
                self.state.message_reader.warn(format!("the server left a process running: {orphan}")).await;
            }
            self.reader_task.abort();
            outcome
        })
    }
}
