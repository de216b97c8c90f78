//! Every fault at every request of every command, over each transport and in each era: how the command ends.
//!
//! `check_outcome` asserts what holds for all of them. What the user reads in each case is in the tables of
//! `docs/reliability.md`, which `UPDATE=1` rewrites.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::mcp::{ScriptedOutput, play_actions};
use crate::support::mcp_http::{LegacyHttpOptions, to_reply};
use crate::support::sockets::serve_lines;
use crate::support::{
    Feed, HttpServer, Mcp, ProcessEvent, Reply, Run, Sandbox, ServerAction, StdioServer, WebSocketEvent,
    WebSocketServer,
};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The connection or the process ends before the first byte of the response.
    Close,
    /// The same at the first such request; later ones are answered.
    CloseOnce,
    /// The connection is reset (TCP RST).
    Reset,
    /// Half of the response comes, then the connection ends.
    Cut,
    /// No response comes, and the connection stays open.
    Stall,
    /// A complete response comes that is not valid JSON.
    Corrupt,
}

impl Fault {
    fn title(self) -> &'static str {
        match self {
            Fault::Close => "closed",
            Fault::CloseOnce => "closed once",
            Fault::Reset => "reset",
            Fault::Cut => "cut in half",
            Fault::Stall => "silent",
            Fault::Corrupt => "not JSON",
        }
    }
}

/// A transport in one era.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    Stdio,
    Http,
    HttpStream,
    HttpSse,
    WebSocket,
    UnixSocket,
}

impl Carrier {
    fn title(self) -> &'static str {
        match self {
            Carrier::Stdio => "stdio",
            Carrier::Http => "Streamable HTTP, JSON responses",
            Carrier::HttpStream => "Streamable HTTP, event streams",
            Carrier::HttpSse => "HTTP+SSE",
            Carrier::WebSocket => "WebSocket",
            Carrier::UnixSocket => "Unix socket",
        }
    }

    /// The faults that can occur at a step. A pipe or a Unix socket cannot be reset, and a notification has no response
    /// that could be damaged.
    fn faults(self, step: &str) -> Vec<Fault> {
        let all = [Fault::Close, Fault::CloseOnce, Fault::Reset, Fault::Cut, Fault::Stall, Fault::Corrupt];
        let can_reset = matches!(self, Carrier::Http | Carrier::HttpStream);
        let has_response = step != INITIALIZED;
        let can_stall = has_response || can_reset;
        let occurs = |fault: &Fault| match fault {
            Fault::Close | Fault::CloseOnce => true,
            Fault::Reset => can_reset,
            Fault::Stall => can_stall,
            Fault::Cut | Fault::Corrupt => has_response,
        };
        all.into_iter().filter(occurs).collect()
    }

    /// A target of this transport that refuses the connection, or cannot be started.
    fn refusing_target(self, sandbox: &Sandbox) -> String {
        let missing = sandbox.path().join("missing").display().to_string();
        // Bound and closed again: nothing listens there.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        match self {
            Carrier::Stdio => missing,
            Carrier::Http | Carrier::HttpStream => format!("http://{closed}/mcp"),
            Carrier::HttpSse => format!("http://{closed}/sse"),
            Carrier::WebSocket => format!("ws://{closed}/mcp"),
            Carrier::UnixSocket => format!("unix:{missing}"),
        }
    }
}

/// A command, and the request that it is about.
const OPERATIONS: [(&str, &str, &[&str]); 4] = [
    ("list", "tools/list", &[]),
    ("call", "tools/call", &["echo", "text=hi"]),
    ("read", "resources/read", &["demo://hello"]),
    ("prompt", "prompts/get", &["greet", "who=you"]),
];

const INITIALIZED: &str = "notifications/initialized";

/// No case may use more; the binary of the tests itself takes up to 30 MiB of it.
const MEMORY_LIMIT: u64 = 64 << 20;

/// No case but a silent server may take longer, by far.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// What a silent server is given.
const PATIENCE: &str = "3s";

/// The messages at which a fault occurs. `request` is the request that the command is about.
fn steps(modern: bool) -> &'static [&'static str] {
    if modern {
        &["server/discover", "tools/list", "prompts/list", "request"]
    } else {
        &["initialize", INITIALIZED, "tools/list", "prompts/list", "request"]
    }
}

/// The script of a faulty server: which message meets which fault, and how many requests of the command arrived.
struct Script {
    mcp: Arc<Mcp>,
    fault: Fault,
    method: &'static str,
    faults: AtomicUsize,
    requests: AtomicUsize,
    operation: &'static str,
}

/// What the server does with one message.
enum Act {
    Play(Vec<ServerAction>),
    Fail(Fault, String),
}

impl Script {
    fn act(&self, message: &Value) -> Act {
        let method = message["method"].as_str().unwrap_or_default();
        if method == self.operation {
            self.requests.fetch_add(1, Ordering::SeqCst);
        }
        let is_faulty = method == self.method
            && (self.faults.fetch_add(1, Ordering::SeqCst) == 0 || self.fault != Fault::CloseOnce);
        if !is_faulty {
            return Act::Play(self.mcp.handle(message));
        }
        let response = self.mcp.handle(message).into_iter().find_map(|action| match action {
            ServerAction::Send(response) => Some(response.to_string()),
            _ => None,
        });
        Act::Fail(self.fault, response.unwrap_or_default())
    }
}

fn corrupted(response: &str) -> String {
    response.replacen("\"result\":", "\"result\";", 1).replacen("\"error\":", "\"error\";", 1)
}

fn half(text: &str) -> &str {
    &text[..text.len() / 2]
}

/// A server that keeps running until it is dropped.
enum Server {
    Stdio(StdioServer),
    Http(HttpServer, &'static str),
    WebSocket(WebSocketServer),
    UnixSocket(String),
}

impl Server {
    fn target(&self) -> String {
        match self {
            Server::Stdio(server) => server.target(),
            Server::Http(server, path) => server.url(path),
            Server::WebSocket(server) => server.url("/mcp"),
            Server::UnixSocket(target) => target.clone(),
        }
    }
}

fn start(carrier: Carrier, modern: bool, script: &Arc<Script>, sandbox: &Sandbox) -> Server {
    let script = Arc::clone(script);
    match carrier {
        Carrier::Stdio => Server::Stdio(StdioServer::start(move |process, event| match event {
            ProcessEvent::Line(line) => match script.act(&serde_json::from_str(&line).unwrap()) {
                Act::Play(actions) => play_actions(&script.mcp, process, actions),
                Act::Fail(Fault::Stall, _) => {}
                Act::Fail(Fault::Corrupt, response) => process.write(corrupted(&response) + "\n"),
                Act::Fail(fault, response) => {
                    if fault == Fault::Cut {
                        process.write(half(&response));
                    }
                    process.exit(1);
                }
            },
            ProcessEvent::Eof => process.exit(0),
            ProcessEvent::Started | ProcessEvent::Signal(_) => {}
        })),
        Carrier::Http | Carrier::HttpStream => {
            let streams = carrier == Carrier::HttpStream;
            let options =
                LegacyHttpOptions { session_id: Some("s"), always_streams: streams, ..LegacyHttpOptions::default() };
            let good = if modern { Mcp::modern() } else { Mcp::legacy("2025-11-25") }.http_script(options);
            Server::Http(
                HttpServer::start(move |request| {
                    let is_message = request.method == "POST" && (modern || request.header("mcp-method").is_none());
                    if !is_message {
                        return good(request);
                    }
                    match script.act(&request.json()) {
                        Act::Play(_) if modern && streams && request.rpc_method() != "initialize" => {
                            to_reply(&script.mcp, &request.json(), true)
                        }
                        Act::Play(_) => good(request),
                        Act::Fail(fault, response) => http_fault(fault, &response, streams),
                    }
                }),
                "/mcp",
            )
        }
        Carrier::HttpSse => Server::Http(sse_server(script), "/sse"),
        Carrier::WebSocket => Server::WebSocket(WebSocketServer::start(move |connection, event| {
            let WebSocketEvent::Text(text) = event else { return };
            match script.act(&serde_json::from_str(text).unwrap()) {
                Act::Play(actions) => play_actions(&script.mcp, connection, actions),
                Act::Fail(Fault::Stall, _) => {}
                Act::Fail(Fault::Corrupt, response) => connection.send_text(&corrupted(&response)),
                Act::Fail(fault, response) => {
                    if fault == Fault::Cut {
                        // Half of a frame.
                        let mut frame = vec![0x81, 126];
                        frame.extend_from_slice(&u16::try_from(response.len()).unwrap().to_be_bytes());
                        frame.extend_from_slice(half(&response).as_bytes());
                        connection.answer_handshake(frame);
                    }
                    connection.disconnect();
                }
            }
        })),
        Carrier::UnixSocket => {
            let path = sandbox.path().join("socket");
            serve_lines(&path, move |_, line, text| match script.act(&serde_json::from_str(text).unwrap()) {
                Act::Play(actions) => play_actions(&script.mcp, line, actions),
                Act::Fail(Fault::Stall, _) => {}
                Act::Fail(Fault::Corrupt, response) => line.send_raw_text(corrupted(&response)),
                Act::Fail(fault, response) => {
                    if fault == Fault::Cut {
                        line.write(half(&response).as_bytes());
                    }
                    line.hang_up();
                }
            });
            Server::UnixSocket(format!("unix:{}", path.display()))
        }
    }
}

fn http_fault(fault: Fault, response: &str, streams: bool) -> Reply {
    let (content_type, body, spoiled) = if streams {
        ("text/event-stream", format!("data: {response}\n\n"), format!("data: {}\n\n", corrupted(response)))
    } else {
        ("application/json", response.to_owned(), corrupted(response))
    };
    match fault {
        Fault::Close | Fault::CloseOnce => Reply::disconnect(),
        Fault::Reset => Reply::reset(),
        Fault::Stall => Reply::never(),
        Fault::Corrupt => Reply::text(content_type, spoiled),
        Fault::Cut => Reply::raw(format!(
            "HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{}",
            body.len(),
            half(&body)
        )),
    }
}

/// The stream that a GET opened last, over which every response goes.
fn sse_server(script: Arc<Script>) -> HttpServer {
    let stream: Arc<Mutex<Feed>> = Arc::default();
    HttpServer::start(move |request| match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/sse") => {
            let feed = Feed::default();
            *stream.lock().unwrap() = feed.clone();
            Reply::sse().write("event: endpoint\ndata: /messages\n\n").feed(&feed).then_disconnect()
        }
        ("POST", "/messages") => {
            let feed = stream.lock().unwrap().clone();
            match script.act(&request.json()) {
                Act::Play(actions) => {
                    for action in actions {
                        if let ServerAction::Send(message) = action {
                            feed.event(&message);
                        }
                    }
                }
                Act::Fail(Fault::Stall, _) => {}
                Act::Fail(Fault::Corrupt, response) => feed.send(format!("data: {}\n\n", corrupted(&response))),
                Act::Fail(fault, response) => {
                    if fault == Fault::Cut {
                        feed.send(format!("data: {}", half(&response)));
                    }
                    // Nothing is sent after the end, even if the connection is closed a moment later.
                    *stream.lock().unwrap() = Feed::default();
                    feed.end();
                }
            }
            Reply::accepted()
        }
        _ => Reply::status(404),
    })
}

/// How one command ended.
struct Outcome {
    code: i32,
    /// Its standard error.
    text: String,
    /// How many requests of the command arrived.
    requests: usize,
    /// Whether the fault occurred; some commands never send the message at which it does.
    met: bool,
}

fn run_cell(carrier: Carrier, modern: bool, step: &'static str, fault: Fault, operation: usize) -> Outcome {
    let (command, method, words) = OPERATIONS[operation];
    let script = Arc::new(Script {
        mcp: Arc::new(if modern { Mcp::modern() } else { Mcp::legacy(legacy_revision(carrier)) }),
        fault,
        method: if step == "request" { method } else { step },
        faults: AtomicUsize::new(0),
        requests: AtomicUsize::new(0),
        operation: method,
    });
    let sandbox = Sandbox::new();
    let server = start(carrier, modern, &script, &sandbox);
    let target = server.target();
    // Longer than the time limit: whatever waits for one of these clocks fails.
    let clock = if fault == Fault::Stall { PATIENCE } else { "60s" };
    let run =
        sandbox.mcpipe([command, &target]).args(words).args(["--timeout", clock, "--connect-timeout", clock]).start();
    let (run, memory) = run.wait_measuring_memory();
    let requests = script.requests.load(Ordering::SeqCst);
    let met = script.faults.load(Ordering::SeqCst) > 0;
    let place = format!("{carrier:?} modern={modern} {fault:?} at {step}, {command}: {run:?}");
    check_outcome(&run, &place);
    assert!(met || run.code() == 0, "it failed without a fault: {place}");
    assert!(command != "call" || requests <= 1, "the tool was called {requests} times: {place}");
    assert!(run.elapsed < TIME_LIMIT, "it waited {:?}: {place}", run.elapsed);
    assert!(memory < MEMORY_LIMIT, "{} MiB were used: {place}", memory >> 20);
    Outcome { code: run.code(), text: in_a_cell(run.stderr(), &target, &sandbox), requests, met }
}

/// Standard error as the text of a table's cell, with `TARGET` for what differs from run to run.
fn in_a_cell(stderr: &str, target: &str, sandbox: &Sandbox) -> String {
    let text = stderr.replace(target, "TARGET").replace(&sandbox.path().display().to_string(), "DIR");
    let text = text.replace('|', "\\|").replace('<', "\\<");
    let lines: Vec<&str> = text.lines().map(|line| line.trim().trim_start_matches("mcpipe: ")).collect();
    lines.join("<br>")
}

fn legacy_revision(carrier: Carrier) -> &'static str {
    if carrier == Carrier::HttpSse { "2024-11-05" } else { "2025-11-25" }
}

/// What holds for every command, whatever the fault.
fn check_outcome(run: &Run, place: &str) {
    let errors = run.stderr().lines().filter(|line| line.starts_with("mcpipe: error:")).count();
    match run.code() {
        0 => assert!(!run.stdout().is_empty() && errors == 0, "{place}"),
        5..=7 => assert!(run.stdout().is_empty() && errors == 1, "{place}"),
        _ => panic!("an exit code of another class: {place}"),
    }
    assert!(!run.stderr().contains("panicked"), "{place}");
}

/// All cells of one transport and era, as a section of the document.
fn section(carrier: Carrier, modern: bool) -> String {
    let cells: Vec<(&'static str, Fault)> = steps(modern)
        .iter()
        .flat_map(|step| carrier.faults(step).into_iter().map(move |fault| (*step, fault)))
        .collect();
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, String)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some((step, fault)) = cells.get(at) else { return };
                    let row = row(carrier, modern, step, *fault);
                    rows.lock().unwrap().push((at, row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort();
    let mut out = format!(
        "### {}, {}\n\n| at | fault | list | call | read | prompt | standard error |\n|---|---|---|---|---|---|---|\n",
        carrier.title(),
        if modern { "2026-07-28" } else { legacy_revision(carrier) }
    );
    out.push_str(&refused_row(carrier));
    for (_, row) in rows {
        out.push_str(&row);
    }
    out
}

/// The row of a server that cannot be reached at all.
fn refused_row(carrier: Carrier) -> String {
    let sandbox = Sandbox::new();
    let target = carrier.refusing_target(&sandbox);
    let outcomes = OPERATIONS.map(|(command, _, words)| {
        let run = sandbox.mcpipe([command, &target]).args(words).run();
        check_outcome(&run, &format!("{carrier:?} refused, {command}: {run:?}"));
        let text = in_a_cell(run.stderr(), &target, &sandbox);
        Outcome { code: run.code(), text, requests: 0, met: true }
    });
    to_row("connect", "refused", &outcomes)
}

fn row(carrier: Carrier, modern: bool, step: &'static str, fault: Fault) -> String {
    let outcomes: Vec<Outcome> =
        (0..OPERATIONS.len()).map(|operation| run_cell(carrier, modern, step, fault, operation)).collect();
    let step = if step == "request" { "the request" } else { step };
    to_row(step, fault.title(), &outcomes)
}

/// The texts are those of `call`, or of the first command after it that sends the message.
fn to_row(step: &str, fault: &str, outcomes: &[Outcome]) -> String {
    let mut row = format!("| {step} | {fault} |");
    for outcome in outcomes {
        let cell = if outcome.met { outcome.code.to_string() } else { "–".to_owned() };
        write!(row, " {cell} |").unwrap();
    }
    let shown = outcomes[1..].iter().find(|outcome| outcome.met);
    let text = shown.map_or("", |outcome| outcome.text.as_str());
    let sent = match (step, &outcomes[1]) {
        ("the request", call) if call.met => format!(" (sent {}×)", call.requests),
        _ => String::new(),
    };
    writeln!(row, " {text}{sent} |").unwrap();
    row
}

/// Compares a section of `docs/reliability.md` to what happens, or rewrites it with `UPDATE=1`.
fn compare_section(carrier: Carrier, modern: bool) {
    let section = section(carrier, modern);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reliability.md");
    let heading = section.lines().next().unwrap();
    // Tests run in parallel, in processes of their own: one writes at a time.
    let lock = std::fs::File::create(std::env::temp_dir().join("mcpipe-reliability.lock")).unwrap();
    lock.lock().unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    let (before, tables) = text.split_once("\n### ").unwrap_or((&text, ""));
    let mut tables: Vec<String> =
        tables.split("\n### ").filter(|table| !table.is_empty()).map(|table| format!("### {table}")).collect();
    let is_same = |table: &String| table.lines().next() == Some(heading);
    if std::env::var_os("UPDATE").is_some() {
        tables.retain(|table| !is_same(table));
        tables.push(section);
        tables.sort();
        let tables: Vec<&str> = tables.iter().map(|table| table.trim_end()).collect();
        std::fs::write(&file, format!("{}\n\n{}\n", before.trim_end(), tables.join("\n\n"))).unwrap();
        return;
    }
    let written = tables.iter().find(|table| is_same(table)).map_or("", |table| table.trim_end());
    assert_eq!(written, section.trim_end(), "run the test with UPDATE=1, and read the difference");
}

macro_rules! matrix {
    ($($name:ident: $carrier:ident, $modern:literal;)*) => {
        $(#[test]
        fn $name() {
            compare_section(Carrier::$carrier, $modern);
        })*
    };
}

matrix! {
    stdio_legacy: Stdio, false;
    stdio_modern: Stdio, true;
    http_json_legacy: Http, false;
    http_json_modern: Http, true;
    http_stream_legacy: HttpStream, false;
    http_stream_modern: HttpStream, true;
    http_sse: HttpSse, false;
    websocket_legacy: WebSocket, false;
    websocket_modern: WebSocket, true;
    unix_socket_legacy: UnixSocket, false;
    unix_socket_modern: UnixSocket, true;
}
