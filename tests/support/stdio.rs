//! A stdio server inside the test: the client starts the program `relay`, which forwards everything to this code.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// An event of a started server.
#[derive(Clone, Debug, PartialEq)]
pub enum ProcessEvent {
    /// It was started; standard input is not read before the script has returned from this.
    Started,
    /// A line arrived on standard input, without its line feed.
    Line(String),
    /// Standard input ended.
    Eof,
    /// A signal arrived; only after [`StdioProcess::trap_signals`].
    Signal(String),
}

/// What is known about one started server.
#[derive(Clone, Debug, Default)]
pub struct ServerProcessLog {
    pub pid: u32,
    /// The arguments after the socket.
    pub args: Vec<String>,
    pub cwd: PathBuf,
    pub env: BTreeMap<String, String>,
    /// Every byte of standard input.
    pub stdin: Vec<u8>,
    /// Whether standard input ended.
    pub eof: bool,
    pub signals: Vec<String>,
    /// Whether the process has ended.
    pub has_ended: bool,
}

impl ServerProcessLog {
    /// The lines that the client wrote, as JSON.
    pub fn messages(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("the client writes JSON lines")).collect()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdin).expect("the client writes UTF-8")
    }

    /// The methods of the messages that the client wrote; `answer` for responses.
    pub fn methods(&self) -> Vec<String> {
        let title = |message: &Value| message.get("method").and_then(Value::as_str).unwrap_or("answer").to_owned();
        self.messages().iter().map(title).collect()
    }
}

/// The script's side of one started server.
#[derive(Clone)]
pub struct StdioProcess {
    /// The number of the start, from 0.
    pub n: usize,
    socket: Arc<Mutex<UnixStream>>,
    log: Arc<Mutex<Vec<ServerProcessLog>>>,
    deaf: Arc<AtomicBool>,
    grandchildren: Arc<Mutex<mpsc::Receiver<u32>>>,
}

impl StdioProcess {
    pub fn seen(&self) -> ServerProcessLog {
        self.log.lock().unwrap()[self.n].clone()
    }

    /// Writes a message and a line feed.
    pub fn send(&self, message: &Value) {
        self.write(format!("{message}\n"));
    }

    /// Writes these bytes to standard output.
    pub fn write(&self, bytes: impl AsRef<[u8]>) {
        self.send_frame(b'O', bytes.as_ref());
    }

    /// Writes these bytes to standard output, and returns whether the process still exists.
    pub fn try_write(&self, bytes: &[u8]) -> bool {
        self.send_frame(b'O', bytes)
    }

    /// Writes to standard error.
    pub fn write_stderr(&self, bytes: impl AsRef<[u8]>) {
        self.send_frame(b'R', bytes.as_ref());
    }

    pub fn exit(&self, code: i32) {
        self.send_frame(b'X', code.to_string().as_bytes());
    }

    /// Dies by a signal.
    pub fn crash(&self) {
        self.send_frame(b'K', b"");
    }

    pub fn close_stdout(&self) {
        self.send_frame(b'C', b"");
    }

    /// Survives TERM, INT and HUP, and reports them.
    pub fn trap_signals(&self) {
        self.send_frame(b'T', b"");
    }

    /// Never reads standard input; for [`ProcessEvent::Started`].
    pub fn never_read_stdin(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    /// Starts a process that holds the standard streams and sleeps for five minutes.
    pub fn spawn_grandchild(&self) -> u32 {
        self.send_frame(b'G', b"");
        self.grandchildren.lock().unwrap().recv_timeout(Duration::from_secs(5)).expect("the grandchild starts")
    }

    fn send_frame(&self, kind: u8, payload: &[u8]) -> bool {
        let mut frame = vec![kind];
        frame.extend_from_slice(&u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(payload);
        // A process that has ended accepts no commands.
        self.socket.lock().unwrap().write_all(&frame).is_ok()
    }
}

type StdioScript = dyn Fn(&StdioProcess, ProcessEvent) + Send + Sync;

/// A scripted server that the client starts.
pub struct StdioServer {
    dir: TempDir,
    log: Arc<Mutex<Vec<ServerProcessLog>>>,
    failures: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
}

impl StdioServer {
    pub fn start(script: impl Fn(&StdioProcess, ProcessEvent) + Send + Sync + 'static) -> Self {
        let dir = tempfile::Builder::new().prefix("relay-").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let failures = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let script: Arc<StdioScript> = Arc::new(script);
        let (all, complaints, over) = (Arc::clone(&log), Arc::clone(&failures), Arc::clone(&stop));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(socket) = socket else { continue };
                let (script, log, failures) = (Arc::clone(&script), Arc::clone(&all), Arc::clone(&complaints));
                let n = log.lock().unwrap().len();
                log.lock().unwrap().push(ServerProcessLog::default());
                std::thread::spawn(move || serve_process(n, socket, &log, &failures, &script));
            }
        });
        StdioServer { dir, log, failures, stop }
    }

    /// The command line as separate words.
    pub fn words(&self) -> Vec<String> {
        vec![relay().display().to_string(), self.dir.path().join("s").display().to_string()]
    }

    /// The command line as one word, for TARGET.
    pub fn target(&self) -> String {
        self.words().join(" ")
    }

    /// What is known about every started process.
    pub fn processes(&self) -> Vec<ServerProcessLog> {
        self.log.lock().unwrap().clone()
    }

    /// The only process that was started, after its end.
    #[track_caller]
    pub fn single_process(&self) -> ServerProcessLog {
        let seen = self.wait_until_all_ended();
        assert!(seen.len() == 1, "one start was expected, not {}: {seen:#?}", seen.len());
        seen.into_iter().next().unwrap()
    }

    /// What is known after every started process has ended.
    #[track_caller]
    pub fn wait_until_all_ended(&self) -> Vec<ServerProcessLog> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let seen = self.processes();
            if seen.iter().all(|one| one.has_ended) {
                return seen;
            }
            assert!(Instant::now() < end, "a server did not end: {seen:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the known state matches.
    #[track_caller]
    pub fn wait_for(&self, what: &str, fits: impl Fn(&[ServerProcessLog]) -> bool) {
        let end = Instant::now() + Duration::from_secs(10);
        while !fits(&self.processes()) {
            assert!(Instant::now() < end, "never happened: {what}: {:#?}", self.processes());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for StdioServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = UnixStream::connect(self.dir.path().join("s"));
        if !std::thread::panicking() {
            let failures = std::mem::take(&mut *self.failures.lock().unwrap());
            assert!(failures.is_empty(), "the scripted server complains: {failures:#?}");
        }
    }
}

/// The relay program, which `cargo test` builds as an example.
pub fn relay() -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_mcpipe"));
    let relay = binary.parent().unwrap().join("examples/relay");
    assert!(relay.exists(), "{} is missing: run `cargo build --example relay` (`cargo test` does)", relay.display());
    relay
}

/// Reads the frames of one process and runs the script, until the process has ended.
fn serve_process(
    n: usize,
    socket: UnixStream,
    log: &Arc<Mutex<Vec<ServerProcessLog>>>,
    failures: &Arc<Mutex<Vec<String>>>,
    script: &Arc<StdioScript>,
) {
    let (children, grandchildren) = mpsc::channel();
    let (events, inbox) = mpsc::channel();
    let process = StdioProcess {
        n,
        socket: Arc::new(Mutex::new(socket.try_clone().unwrap())),
        log: Arc::clone(log),
        deaf: Arc::default(),
        grandchildren: Arc::new(Mutex::new(grandchildren)),
    };
    let (script, complaints) = (Arc::clone(script), Arc::clone(failures));
    let actor = std::thread::spawn(move || {
        for event in inbox {
            let started = event == ProcessEvent::Started;
            let acted = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| script(&process, event)));
            if let Err(panic) = acted {
                let text = panic.downcast_ref::<String>().cloned();
                complaints.lock().unwrap().push(text.unwrap_or_else(|| "the script panicked".to_owned()));
                process.exit(98);
                return;
            }
            if started && !process.deaf.load(Ordering::SeqCst) {
                process.send_frame(b'B', b"");
            }
        }
    });
    let mut frames = FrameReader { socket, n, log, events, children, line: Vec::new() };
    while frames.next().is_some() {}
    drop(frames);
    let _ = actor.join();
    log.lock().unwrap()[n].has_ended = true;
}

struct FrameReader<'a> {
    socket: UnixStream,
    n: usize,
    log: &'a Mutex<Vec<ServerProcessLog>>,
    events: mpsc::Sender<ProcessEvent>,
    children: mpsc::Sender<u32>,
    line: Vec<u8>,
}

impl FrameReader<'_> {
    fn next(&mut self) -> Option<()> {
        let mut head = [0; 5];
        self.socket.read_exact(&mut head).ok()?;
        let mut payload = vec![0; u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize];
        self.socket.read_exact(&mut payload).ok()?;
        let text = || String::from_utf8_lossy(&payload).into_owned();
        let mut log = self.log.lock().unwrap();
        let seen = &mut log[self.n];
        match head[0] {
            b'P' => seen.pid = text().parse().unwrap(),
            b'A' => seen.args.push(text()),
            b'D' => seen.cwd = PathBuf::from(text()),
            b'V' => {
                let text = text();
                let (name, value) = text.split_once('=').unwrap();
                seen.env.insert(name.to_owned(), value.to_owned());
            }
            b'H' => self.send_event(ProcessEvent::Started),
            b'I' => {
                seen.stdin.extend_from_slice(&payload);
                drop(log);
                for byte in payload {
                    if byte == b'\n' {
                        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
                        self.send_event(ProcessEvent::Line(line));
                    } else {
                        self.line.push(byte);
                    }
                }
            }
            b'E' => {
                seen.eof = true;
                self.send_event(ProcessEvent::Eof);
            }
            b'S' => {
                seen.signals.push(text());
                self.send_event(ProcessEvent::Signal(text()));
            }
            b'g' => self.children.send(text().parse().unwrap()).unwrap(),
            b'w' => {}
            other => panic!("unknown frame {other}"),
        }
        Some(())
    }

    fn send_event(&self, event: ProcessEvent) {
        // A failed script receives nothing more.
        let _ = self.events.send(event);
    }
}
