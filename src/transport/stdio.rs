//! stdio: a child process, one JSON-RPC message a line (all revisions, basic/transports/stdio).
//!
//! The child leads its own process group, so that everything it starts ends with it. Its stderr is
//! always drained (`STD-03`) and its tail kept for errors; lines on stdout that are no messages are
//! skipped (`STD-09`) and the first of them remembered, because they often say what is wrong.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::trace::{Event, Trace};
use super::{
    Boxed, Connection, Envelope, Incoming, Inherited, Item, MAX_MESSAGE, Options, StdioEndpoint, Transport, Wire,
    process,
};
use crate::error::{Class, Failure, Result};
use crate::protocol::rpc;

/// How many lines of stderr are kept, and how much of each.
const TAIL_LINES: usize = 12;
const TAIL_WIDTH: usize = 2000;
/// How long an ending child may take to say its exit status and its last words.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Starts the server.
///
/// # Errors
/// [`Class::Unreachable`] when the program cannot be started.
pub fn connect(endpoint: &StdioEndpoint, options: &Options) -> Result<Connection> {
    let mut command = Command::new(&endpoint.program);
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
    #[cfg(unix)]
    command.process_group(0);
    command.kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| cannot_start(endpoint, &error))?;
    let group = child.id().unwrap_or_default();
    process::register(group);

    let (sender, incoming) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared { trace: options.trace.clone(), ..Shared::default() });
    let stdin = child.stdin.take();
    let stderr = child.stderr.take().map(|pipe| tokio::spawn(drain(pipe, shared.clone())));
    let stdout = child.stdout.take();
    let child = Arc::new(tokio::sync::Mutex::new(child));
    let reader = tokio::spawn(read(stdout, stderr, child.clone(), shared.clone(), sender));
    let transport = StdioTransport { stdin: tokio::sync::Mutex::new(stdin), child, group, reader, shared };
    Ok(Connection { transport: Arc::new(transport), incoming })
}

fn cannot_start(endpoint: &StdioEndpoint, error: &std::io::Error) -> Failure {
    let program = &endpoint.program;
    if let Some(cwd) = endpoint.cwd.as_ref().filter(|cwd| !cwd.is_dir()) {
        return Failure::new(Class::Unreachable, format!("cannot start '{program}'"))
            .cause(format!("its working directory {} does not exist", cwd.display()));
    }
    let failure = Failure::new(Class::Unreachable, format!("cannot start '{program}'")).cause(error.to_string());
    match error.kind() {
        ErrorKind::NotFound if program.contains('/') => failure.hint(format!("check the path {program}")),
        ErrorKind::NotFound => failure.hint(format!("install {program}, or give its full path")),
        ErrorKind::PermissionDenied => failure.hint(format!("make it executable: chmod +x {program}")),
        _ => failure,
    }
}

/// What the tasks and the transport share.
#[derive(Default)]
struct Shared {
    trace: Trace,
    tail: Mutex<VecDeque<String>>,
    noise: Mutex<Option<String>>,
    ended: AtomicBool,
    ended_notify: Notify,
}

impl Shared {
    fn tail(&self) -> Vec<String> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    fn noise(&self) -> Option<String> {
        self.noise.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn heard_stderr(&self, line: &str) {
        self.trace.record(Event::Stderr(line));
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.chars().take(TAIL_WIDTH).collect());
    }

    fn heard_noise(&self, line: &str) {
        let start: String = line.chars().take(200).collect();
        self.trace.note(&format!("skipped a line on the server's stdout that is no message: {start}"));
        self.noise.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(start);
    }
}

/// A line of at most [`MAX_MESSAGE`] bytes; what is longer is read and thrown away.
enum Line {
    Text(String),
    TooLong,
    End,
}

async fn next_line<R: AsyncRead + Unpin>(reader: &mut BufReader<R>, buffer: &mut Vec<u8>) -> Line {
    buffer.clear();
    let limit = MAX_MESSAGE as u64 + 1;
    match (&mut *reader).take(limit).read_until(b'\n', buffer).await {
        Ok(0) | Err(_) => return Line::End,
        Ok(_) => {}
    }
    if buffer.last() == Some(&b'\n') {
        buffer.pop();
    } else if buffer.len() > MAX_MESSAGE {
        loop {
            buffer.clear();
            match (&mut *reader).take(1 << 20).read_until(b'\n', buffer).await {
                Ok(0) | Err(_) => return Line::End,
                Ok(_) if buffer.last() == Some(&b'\n') => return Line::TooLong,
                Ok(_) => {}
            }
        }
    }
    Line::Text(match std::str::from_utf8(buffer) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(buffer).into_owned(),
    })
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
    sender: mpsc::UnboundedSender<Incoming>,
) {
    if let Some(stdout) = stdout {
        let mut reader = BufReader::with_capacity(16 * 1024, stdout);
        let mut buffer = Vec::new();
        loop {
            let line = match next_line(&mut reader, &mut buffer).await {
                Line::Text(line) => line,
                Line::TooLong => {
                    shared.heard_noise("(a line over the size limit)");
                    continue;
                }
                Line::End => break,
            };
            if line.trim().is_empty() {
                continue;
            }
            match rpc::parse(&line) {
                Ok(messages) => {
                    shared.trace.record(Event::Received(line.trim()));
                    for message in messages {
                        let _ = sender.send(Incoming { on: None, item: Item::Message(message, None) });
                    }
                }
                Err(_) => shared.heard_noise(line.trim()),
            }
        }
    }
    let status = timeout(LAST_WORDS, async { child.lock().await.wait().await }).await;
    if let Some(stderr) = stderr {
        let _ = timeout(LAST_WORDS, stderr).await;
    }
    let mut failure = match status {
        Ok(Ok(status)) => Failure::new(Class::Unreachable, format!("the server process ended ({status})")),
        _ => Failure::new(Class::Unreachable, "the server closed its standard output"),
    };
    if let Some(noise) = shared.noise() {
        failure = failure.cause(format!("it printed on stdout: {noise}"));
    }
    let _ = sender.send(Incoming { on: None, item: Item::Broken(failure.stderr_tail(shared.tail())) });
    shared.ended.store(true, Ordering::Release);
    shared.ended_notify.notify_waiters();
}

struct StdioTransport {
    stdin: tokio::sync::Mutex<Option<ChildStdin>>,
    child: Arc<tokio::sync::Mutex<Child>>,
    group: u32,
    reader: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl Transport for StdioTransport {
    fn wire(&self) -> Wire {
        Wire::Stdio
    }

    fn send(&self, message: Envelope) -> Boxed<'_, Result<()>> {
        Box::pin(async move {
            self.shared.trace.record(Event::Sent(&message.body));
            let mut line = message.body;
            line.push('\n');
            let mut stdin = self.stdin.lock().await;
            let Some(pipe) = stdin.as_mut() else {
                return Err(Failure::new(Class::Bug, "the connection is closed already"));
            };
            let written = async {
                pipe.write_all(line.as_bytes()).await?;
                pipe.flush().await
            };
            let Err(error) = written.await else { return Ok(()) };
            // The child is going: how it ended says more than the broken pipe does.
            let ended = self.shared.ended_notify.notified();
            if !self.shared.ended.load(Ordering::Acquire) && timeout(LAST_WORDS * 3, ended).await.is_err() {
                return Err(Failure::new(Class::Unreachable, "the server does not read its standard input")
                    .cause(error.to_string())
                    .stderr_tail(self.shared.tail()));
            }
            Ok(())
        })
    }

    fn abandon(&self, _id: u64) {}

    fn last_words(&self) -> (Vec<String>, Option<String>) {
        (self.shared.tail(), self.shared.noise())
    }

    fn close(&self, patient: bool) -> Boxed<'_, ()> {
        Box::pin(async move {
            // A writer stuck on a full pipe must not keep the input open.
            if let Ok(mut stdin) = timeout(Duration::from_millis(50), self.stdin.lock()).await {
                stdin.take();
            }
            // The reader goes on meanwhile: a child that flushes its last output must not block on it.
            let mut child = self.child.lock().await;
            process::end(&mut child, self.group, patient).await;
            self.reader.abort();
        })
    }
}
