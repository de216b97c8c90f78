//! The keeper of a session: a process of its own that holds the connection to a server and serves commands over a
//! socket.
//!
//! It waits for events only: connections, messages, the end of the idle time.

use std::io::{self, Read};
use std::os::unix::net::UnixListener as StdListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use rustix::stdio::{dup2_stdout, stdout};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncWriteExt, BufWriter};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use crate::commands::context::{Context, CredentialStores, Exit};
use crate::commands::session::connection::{KeeperOptions, list_command};
use crate::commands::session::kept_connection::KeptConnection;
use crate::commands::session::log::LogFile;
use crate::commands::session::resolution::Resolution;
use crate::commands::session::router::{AddedClient, QueuedLine, Router};
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::http::SseConnectError;
use crate::transport::kept::files::{SessionFiles, SessionRecord};
use crate::transport::kept::{self, FirstLine, FrameReader, Greeting, SessionStatus, check_peer};
use crate::transport::trace::Trace;
use crate::transport::{
    ConnectedTransport, Endpoint, Incoming, IncomingItem, TransportKind, TransportOptions, process,
};
use crate::util::file_lock::FileLock;
use crate::util::lock::lock;

/// How long a keeper waits for a command before the server has answered anything: detecting the era may take several
/// connections.
const START_LINGER: Duration = Duration::from_secs(2);
/// How long to wait after a connection could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a keeper is idle before it gives memory back: commands that follow each other should not pay for that.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// What the starting command writes to the keeper's standard input.
#[derive(Deserialize)]
struct KeeperInput {
    dir: PathBuf,
    id: String,
    name: String,
    target: String,
    idle_ms: u64,
    resolution: Value,
}

struct Keeper {
    files: SessionFiles,
    record: SessionRecord,
    endpoint: Endpoint,
    options: TransportOptions,
    router: Arc<Router>,
    /// The commands that wait for the connection to the server.
    connecting: AtomicUsize,
    /// The connection to the server; locked while it is opened or closed, and while a command is added to it.
    upstream: tokio::sync::Mutex<Option<Arc<KeptConnection>>>,
    /// Why the last attempt to connect failed, and whether it needed HTTP+SSE.
    failed: Mutex<Option<(bool, SseConnectError)>>,
    /// Notified when a command connects or disconnects.
    changed: tokio::sync::Notify,
    stop: tokio::sync::Notify,
    /// The connections of those who wait for the end.
    stopping: Mutex<Vec<UnixStream>>,
    started: std::time::SystemTime,
}

/// Runs the keeper until it is stopped, or was idle for long enough.
///
/// # Errors
/// If it was not started by `mcpipe session start` or a command.
pub async fn run(context: &Context) -> Result<Exit> {
    let misused = |why: String| {
        Failure::new(ErrorKind::Usage, "this command is only for mcpipe itself")
            .cause(why)
            .hint("start a session: mcpipe session start TARGET")
    };
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).map_err(|error| misused(error.to_string()))?;
    let input: KeeperInput = serde_json::from_str(&text).map_err(|error| misused(error.to_string()))?;
    let listener = take_listener().map_err(|error| misused(error.to_string()))?;
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    crate::commands::session::inherited_files::close_inherited_files();
    // Away from the terminal, whose signals are not for the keeper.
    let _ = rustix::process::setsid();
    let files = SessionFiles::new(&input.dir, &input.id);
    let log = LogFile::open(files.log(), context.ui.clone());
    let keeper = match Keeper::new(context, input, log).await {
        Ok(keeper) => Arc::new(keeper),
        Err(failure) => return refuse(&files, &listener, &failure).await,
    };
    keeper.write_record();
    keeper.serve(&listener).await;
    drop(listener);
    keeper.end().await;
    Ok(Exit::Done)
}

/// The socket that the starting command passed as standard output.
fn take_listener() -> io::Result<UnixListener> {
    let listener = StdListener::from(stdout().try_clone_to_owned()?);
    dup2_stdout(std::fs::File::options().write(true).open("/dev/null")?)?;
    listener.set_nonblocking(true)?;
    UnixListener::from_std(listener)
}

/// Reports a failure to the commands that wait for the keeper: the one that started it, and others that did so at the
/// same time.
async fn refuse(files: &SessionFiles, listener: &UnixListener, failure: &Failure) -> Result<Exit> {
    let greeting = Greeting { pid: std::process::id(), ..Greeting::default() }.with_failure(failure);
    let mut answers = FuturesUnordered::new();
    let mut is_told = false;
    let tell_all = async {
        while !is_told || !answers.is_empty() {
            tokio::select! {
                biased;
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => answers.push(tell(stream, &greeting)),
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                // A command that comes later starts another keeper.
                Some(was_told) = answers.next() => if was_told && !is_told {
                    is_told = true;
                    files.remove();
                },
            }
        }
    };
    let _ = tokio::time::timeout(START_LINGER, tell_all).await;
    if !is_told {
        files.remove();
    }
    Ok(Exit::Reported(failure.kind()))
}

/// Greets a command that asks to be connected. Returns whether it did: others find out only whether a keeper is running.
async fn tell(stream: UnixStream, greeting: &Greeting) -> bool {
    if check_peer(&stream).is_err() {
        return false;
    }
    let (read_half, mut write_half) = stream.into_split();
    let line = FrameReader::new(read_half).next_line().await;
    let first: Option<FirstLine> = line.ok().flatten().and_then(|line| serde_json::from_str(&line).ok());
    first.is_some_and(|first| first.command == kept::CONNECT) && write_json(&mut write_half, greeting).await.is_ok()
}

async fn write_json(
    stream: &mut (impl tokio::io::AsyncWrite + Unpin),
    value: &impl serde::Serialize,
) -> io::Result<()> {
    stream.write_all(kept::to_line(serde_json::to_string(value)?).as_bytes()).await
}

impl Keeper {
    async fn new(context: &Context, input: KeeperInput, log: LogFile) -> Result<Self> {
        let resolution = Resolution::from_json(&input.resolution)?;
        let trace = Trace::new(Arc::new(log));
        let own = Context {
            ui: context.ui.clone(),
            env: context.env.clone(),
            interrupt: context.interrupt.clone(),
            global: resolution.global,
            credential_stores: CredentialStores::default(),
            secret_cache: resolution.secrets,
            trace: OnceLock::from(trace),
            recording: OnceLock::new(),
            unused_session: std::sync::Once::new(),
        };
        let (target, _) =
            own.resolve_target(&resolution.target, &resolution.command, false, &resolution.options).await?;
        let KeeperOptions { id, identity, transport: options } = own.keeper_options(&target)?;
        if id != input.id {
            return Err(Failure::new(ErrorKind::Config, "the configuration changed while the session was started")
                .hint("try again"));
        }
        let roots = crate::commands::client_features::roots(&own, &target)?;
        let record = SessionRecord {
            name: input.name,
            target: input.target,
            list_command: list_command(&own, &target),
            identity,
            idle_ms: input.idle_ms,
            pid: std::process::id(),
            groups: Vec::new(),
        };
        Ok(Keeper {
            files: SessionFiles::new(&input.dir, &input.id),
            record,
            endpoint: target.endpoint,
            options,
            router: Arc::new(Router::new(roots)),
            connecting: AtomicUsize::new(0),
            upstream: tokio::sync::Mutex::new(None),
            failed: Mutex::default(),
            changed: tokio::sync::Notify::new(),
            stop: tokio::sync::Notify::new(),
            stopping: Mutex::default(),
            started: std::time::SystemTime::now(),
        })
    }

    /// Writes what is needed to clean up if this process is killed.
    fn write_record(&self) {
        let record = SessionRecord { groups: process::started_groups(), ..self.record.clone() };
        let _ = self.files.write_record(&record);
    }

    async fn serve(self: &Arc<Self>, listener: &UnixListener) {
        let mut idle_since = Instant::now();
        let mut is_settled = false;
        loop {
            let changed = self.changed.notified();
            let limit = if self.router.was_ready() { Duration::from_millis(self.record.idle_ms) } else { START_LINGER };
            let is_idle = self.router.client_count() == 0 && self.connecting.load(Ordering::Relaxed) == 0;
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => drop(tokio::spawn(Arc::clone(self).serve_connection(stream))),
                    // No file descriptor is free, say: it is tried again, but not at once.
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                () = changed => {
                    idle_since = Instant::now();
                    is_settled = false;
                }
                () = self.stop.notified() => return,
                _ = self.options.interrupt.interrupted() => return,
                () = sleep_until(idle_since + limit), if is_idle => return,
                () = sleep_until(idle_since + SETTLED_AFTER), if is_idle && !is_settled => {
                    is_settled = true;
                    #[cfg(target_os = "linux")]
                    crate::commands::session::code_pages::release();
                }
            }
        }
    }

    /// Ends the server with everything that it started, then removes the files.
    async fn end(&self) {
        // Before anything else: a new command starts another keeper, which waits for the end of this one.
        let _ = std::fs::remove_file(self.files.socket());
        // Ends an attempt to connect.
        self.options.interrupt.raise(ErrorKind::Terminated);
        if let Some(upstream) = self.upstream.lock().await.take() {
            self.router.fail_all(&stopped()).await;
            upstream.transport.close(true).await;
        }
        self.options.wait_for_refresh().await;
        // Who starts another keeper has the lock; that keeper, which has a socket, removes the files itself.
        if let Ok(Some(_lock)) = FileLock::try_acquire(&self.files.lock())
            && !self.files.socket().exists()
        {
            self.files.remove();
        }
    }

    async fn serve_connection(self: Arc<Self>, stream: UnixStream) {
        if check_peer(&stream).is_err() {
            return;
        }
        let (read_half, mut write_half) = stream.into_split();
        let mut reader = FrameReader::new(read_half);
        let Ok(Some(line)) = reader.next_line().await else { return };
        let first: FirstLine = serde_json::from_str(&line).unwrap_or_default();
        match first.command.as_str() {
            kept::CONNECT => {
                self.serve_client(&first, reader, write_half).await;
                self.changed.notify_one();
            }
            kept::STATUS => {
                let _ = write_json(&mut write_half, &self.status()).await;
            }
            kept::STOP => {
                if let Ok(stream) = reader.into_inner().reunite(write_half) {
                    lock(&self.stopping).push(stream);
                }
                self.stop.notify_one();
            }
            _ => {}
        }
    }

    fn status(&self) -> SessionStatus {
        // While a connection is being opened, the lock is held.
        let open = self.upstream.try_lock().ok().and_then(|open| Some(open.as_ref()?.transport.kind()));
        let transport = open.unwrap_or(self.endpoint.transport_kind());
        let since = self.started.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        SessionStatus {
            name: self.record.name.clone(),
            target: self.record.target.clone(),
            transport: transport.as_str().to_owned(),
            pid: self.record.pid,
            server_pids: process::started_groups().into_iter().map(|(group, _)| group).collect(),
            commands: self.router.client_count(),
            requests: self.router.request_count(),
            idle_ms: self.record.idle_ms,
            started: since.as_secs(),
        }
    }

    async fn serve_client(
        self: &Arc<Self>,
        first: &FirstLine,
        mut reader: FrameReader<tokio::net::unix::OwnedReadHalf>,
        mut write_half: OwnedWriteHalf,
    ) {
        self.connecting.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_one();
        let added = self.add_client(first).await;
        self.connecting.fetch_sub(1, Ordering::Relaxed);
        let mut greeting = Greeting { pid: self.record.pid, ..Greeting::default() };
        let (upstream, AddedClient { number, lines, stuck }) = match added {
            Ok(added) => added,
            Err(error) => {
                greeting.has_no_stream = matches!(error, SseConnectError::NoStream(_));
                let (SseConnectError::NoStream(failure) | SseConnectError::Failed(failure)) = error;
                let _ = write_json(&mut write_half, &greeting.with_failure(&failure)).await;
                return;
            }
        };
        greeting.first_id = Router::first_id(number);
        greeting.handshake = upstream.handshake_result();
        greeting.transport = upstream.transport.kind().as_str().to_owned();
        if write_json(&mut write_half, &greeting).await.is_ok() {
            let writer = tokio::spawn(write_lines(write_half, lines));
            // An unreadable line ends the connection like its end does.
            let reading = async {
                while let Ok(Some(line)) = reader.next_line().await {
                    self.router.handle_client_line(number, &upstream, line).await;
                }
            };
            tokio::select! {
                () = reading => {}
                () = stuck.notified() => {}
            }
            writer.abort();
        }
        self.router.remove_client(number, &upstream).await;
    }

    /// Adds a command to the connection to the server, which is opened if there is none.
    async fn add_client(
        self: &Arc<Self>,
        first: &FirstLine,
    ) -> Result<(Arc<KeptConnection>, AddedClient), SseConnectError> {
        let has_waited = self.upstream.try_lock().is_err();
        let mut open = self.upstream.lock().await;
        let upstream = match &*open {
            Some(upstream) if !first.needs_sse || upstream.transport.kind() == TransportKind::Sse => upstream.clone(),
            Some(_) if self.router.was_ready() => {
                let failure = Failure::new(ErrorKind::Protocol, "the session uses another transport than HTTP+SSE");
                return Err(SseConnectError::NoStream(failure));
            }
            // A command that finds out the transport has tried another one. Others that do so at the same time have no
            // response over that either, and follow.
            _ => {
                // The attempt that it waited for is not repeated for every command.
                if let (true, Some((needs_sse, error))) = (has_waited, lock(&self.failed).clone())
                    && needs_sse == first.needs_sse
                {
                    return Err(error);
                }
                let connected = self.connect(first).await;
                *lock(&self.failed) = connected.as_ref().err().map(|error| (first.needs_sse, error.clone()));
                let connected = connected?;
                let upstream = Arc::new(KeptConnection::new(connected.transport));
                self.write_record();
                tokio::spawn(Arc::clone(self).receive(Arc::downgrade(&upstream), connected.incoming));
                open.insert(upstream).clone()
            }
        };
        Ok((upstream, self.router.add_client()))
    }

    async fn connect(&self, first: &FirstLine) -> Result<ConnectedTransport, SseConnectError> {
        let is_ending = || self.options.interrupt.raised_failure().is_some();
        if is_ending() {
            return Err(stopped().into());
        }
        let connected = match &self.endpoint {
            Endpoint::Http(endpoint) if first.needs_sse => {
                let connect_timeout = first.connect_timeout_ms.map(Duration::from_millis);
                let options = TransportOptions { connect_timeout, ..self.options.clone() };
                crate::transport::connect_sse(endpoint, &options).await
            }
            endpoint => crate::transport::connect(endpoint, &self.options).await.map_err(SseConnectError::from),
        };
        connected.map_err(|error| if is_ending() { stopped().into() } else { error })
    }

    /// Passes on what comes back from the server, until the connection ends.
    async fn receive(self: Arc<Self>, upstream: Weak<KeptConnection>, mut incoming: mpsc::Receiver<Incoming>) {
        let failure = loop {
            // When another connection has replaced it, it ends with the last command that uses it.
            let arrived = incoming.recv().await;
            let Some(upstream) = upstream.upgrade() else { return };
            match arrived {
                Some(Incoming { request_id: None, item: IncomingItem::Failed(failure) }) => break failure,
                Some(arrived) => self.router.route(&upstream, arrived).await,
                None => break Failure::new(ErrorKind::Unreachable, "the connection to the server ended"),
            }
        };
        // The next command gets a new connection; those that are connected to this one must not continue on it.
        let mut open = self.upstream.lock().await;
        if let Some(upstream) = open.take_if(|open| std::ptr::eq(Arc::as_ptr(open), upstream.as_ptr())) {
            self.router.fail_all(&failure).await;
            upstream.transport.close(false).await;
            self.write_record();
        }
    }
}

fn stopped() -> Failure {
    Failure::new(ErrorKind::Unreachable, "the session was stopped")
}

/// Writes what the server sends to a command. When the queue is closed, the connection is closed too.
async fn write_lines(stream: OwnedWriteHalf, mut lines: mpsc::UnboundedReceiver<QueuedLine>) {
    let mut stream = BufWriter::new(stream);
    while let Some(QueuedLine { text, permit }) = lines.recv().await {
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
        drop(permit);
        if lines.is_empty() && stream.flush().await.is_err() {
            return;
        }
    }
    let _ = stream.flush().await;
}
