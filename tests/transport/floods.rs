//! Servers that send endlessly: the memory stays bounded, and `--timeout` ends the call.

use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::process::peak_memory;
use crate::support::sockets::serve_lines;
use crate::support::stdio::StdioProcess;
use crate::support::ws::frame;
use crate::support::{
    HttpServer, Mcp, ProcessEvent, Reply, Run, Sandbox, StdioServer, WebSocketEvent, WebSocketServer,
};

/// The memory limit of a run. The debug binary itself takes up to 30 MiB of it.
const MEMORY_LIMIT: u64 = 64 << 20;
const MANY: usize = 1000;

/// What the server sends endlessly.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    /// The same progress value.
    Progress,
    /// Increasing progress values.
    RisingProgress,
    Log,
    Ping,
    /// Requests for capabilities that the client did not declare.
    Roots,
    /// Results that answer no request.
    Results,
}

const ALL: [Flood; 6] = [Flood::Progress, Flood::RisingProgress, Flood::Log, Flood::Ping, Flood::Roots, Flood::Results];

impl Flood {
    /// Many messages, in response to this request.
    fn messages(self, request: &Value) -> Vec<String> {
        let filler = "x".repeat(1000);
        let token = &request["params"]["_meta"]["progressToken"];
        let message = |n: usize| match self {
            Flood::Progress | Flood::RisingProgress => {
                let progress = if self == Flood::Progress { 1 } else { n };
                let params = json!({"progressToken": token, "progress": progress, "message": filler});
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})
            }
            Flood::Log => {
                let params = json!({"level": "info", "data": filler});
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
            }
            Flood::Ping => json!({"jsonrpc": "2.0", "id": n, "method": "ping"}),
            Flood::Roots => json!({"jsonrpc": "2.0", "id": n, "method": "roots/list"}),
            Flood::Results => json!({"jsonrpc": "2.0", "result": {"filler": filler}}),
        };
        (0..MANY).map(|n| message(n).to_string()).collect()
    }

    fn lines(self, request: &Value) -> Vec<u8> {
        self.messages(request).iter().flat_map(|message| format!("{message}\n").into_bytes()).collect()
    }

    fn events(self, request: &Value) -> Vec<u8> {
        self.messages(request).iter().flat_map(|message| format!("data: {message}\n\n").into_bytes()).collect()
    }
}

fn is_call(message: &Value) -> bool {
    message["method"] == "tools/call"
}

fn mcp() -> Mcp {
    Mcp::legacy("2025-11-25")
}

/// A stdio server that answers a call with a flood; `reads` is whether it keeps reading meanwhile.
fn stdio_server(flood: Flood, reads: bool) -> StdioServer {
    let mcp = Arc::new(mcp());
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if is_call(&message) {
                let (process, lines) = (process.clone(), flood.lines(&message));
                let send = move || send_until_gone(&process, &lines);
                if reads { drop(std::thread::spawn(send)) } else { send() }
            } else {
                play_actions(&mcp, process, mcp.handle(&message));
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    })
}

fn send_until_gone(process: &StdioProcess, lines: &[u8]) {
    while process.try_write(lines) {}
}

/// Calls a tool of a server that sends a flood, and checks the memory limit.
fn call(target: &str, what: &str) -> Run {
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", target, "echo", "text=hi", "--timeout", "2s"]).timeout(Duration::from_secs(60));
    let (run, peak) = run.start().wait_measuring_memory();
    assert!(peak < MEMORY_LIMIT, "{what}: {} MiB were used: {run:?}", peak >> 20);
    run
}

/// The call ends after `--timeout`, whatever the server sends.
#[track_caller]
fn times_out(run: &Run, flood: Flood) {
    let mut expected = String::from("mcpipe: error: no response to tools/call within 2 s\n");
    if matches!(flood, Flood::Progress | Flood::RisingProgress) {
        expected += "  it sends progress too fast to count: more than 1,000 notifications a second, or the same one \
                     again within 100 ms\n";
    }
    expected += "  the tool may have run, or may still be running\nhint: wait longer with --timeout TIME\n";
    match flood {
        Flood::Results => {
            run.exits(7).stderr_contains("the server answered with a result without an ID");
        }
        _ => {
            run.exits(6);
            assert_eq!(run.stderr(), expected, "{flood:?}");
        }
    }
    assert_eq!(run.stdout(), "");
}

#[test]
fn a_flood_over_stdio_takes_little_memory_and_is_ended_by_the_timeout() {
    for flood in ALL {
        for reads in [true, false] {
            let server = stdio_server(flood, reads);
            let run = call(&server.target(), &format!("{flood:?}, reads: {reads}"));
            times_out(&run, flood);
        }
    }
}

#[test]
fn a_flood_over_a_unix_socket_takes_little_memory_and_is_ended_by_the_timeout() {
    for flood in [Flood::Progress, Flood::Ping] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let mcp = Arc::new(mcp());
        serve_lines(&path, move |_, connection, line| {
            let message: Value = serde_json::from_str(line).unwrap();
            if is_call(&message) {
                let lines = flood.lines(&message);
                while connection.write(&lines) {}
            } else {
                play_actions(&mcp, connection, mcp.handle(&message));
            }
        });
        times_out(&call(&format!("unix:{}", path.display()), &format!("{flood:?}")), flood);
    }
}

#[test]
fn a_flood_over_a_websocket_takes_little_memory_and_is_ended_by_the_timeout() {
    for flood in [Flood::Progress, Flood::Log, Flood::Ping] {
        let (mcp, reply) = (mcp(), move |message: &Value| {
            flood.messages(message).iter().flat_map(|text| frame(0x81, text.as_bytes())).collect::<Vec<u8>>()
        });
        let server = websocket_server(mcp, reply);
        times_out(&call(&server.url("/ws"), &format!("{flood:?}")), flood);
    }
}

/// WebSocket pings, which are answered below the messages.
#[test]
fn a_flood_of_websocket_pings_takes_little_memory() {
    let pings = |_: &Value| (0..10_000).flat_map(|_| frame(0x89, &[b'x'; 125])).collect::<Vec<u8>>();
    let server = websocket_server(mcp(), pings);
    times_out(&call(&server.url("/ws"), "pings"), Flood::Ping);
}

/// A server that answers a call with these bytes again and again, and reads nothing meanwhile.
fn websocket_server(mcp: Mcp, reply: impl Fn(&Value) -> Vec<u8> + Send + Sync + 'static) -> WebSocketServer {
    let script = mcp.ws_script();
    WebSocketServer::start(move |connection, event| {
        if let WebSocketEvent::Text(text) = event {
            let message: Value = serde_json::from_str(text).unwrap();
            if is_call(&message) {
                let bytes = reply(&message);
                while connection.write(&bytes) {}
                return;
            }
        }
        script(connection, event);
    })
}

#[test]
fn a_flood_in_the_response_to_a_post_takes_little_memory_and_is_ended_by_the_timeout() {
    for flood in [Flood::Progress, Flood::Log, Flood::Ping] {
        let script = mcp().http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| {
            if request.method == "POST" && request.rpc_method() == "tools/call" {
                return {
                    let message = request.json();
                    Reply::sse().then_repeat(move || flood.events(&message))
                };
            }
            script(request)
        });
        times_out(&call(&server.url("/mcp"), &format!("{flood:?}")), flood);
    }
}

#[test]
fn a_flood_over_http_sse_takes_little_memory_and_is_ended_by_the_timeout() {
    for flood in [Flood::Progress, Flood::Ping] {
        let mcp = Arc::new(mcp());
        let feed = crate::support::Feed::default();
        let request: Arc<std::sync::Mutex<Value>> = Arc::default();
        let server = HttpServer::start(move |http| match (http.method.as_str(), http.target.as_str()) {
            ("GET", "/sse") => {
                let request = request.clone();
                Reply::sse()
                    .write("event: endpoint\ndata: /messages\n\n")
                    .feed(&feed)
                    .then_repeat(move || flood.events(&request.lock().unwrap()))
            }
            ("POST", "/messages") => {
                let message = http.json();
                if is_call(&message) {
                    *request.lock().unwrap() = message;
                    feed.end();
                } else {
                    for action in mcp.handle(&message) {
                        if let crate::support::ServerAction::Send(answer) = action {
                            feed.event(&answer);
                        }
                    }
                }
                Reply::accepted()
            }
            _ => Reply::status(404),
        });
        times_out(&call(&server.url("/sse"), &format!("{flood:?}")), flood);
    }
}

/// With `-v` every message is written to stderr; a slow reader of it slows the server down.
#[test]
fn a_flood_takes_little_memory_while_the_reader_of_stderr_is_slow() {
    for flood in [Flood::Progress, Flood::Ping] {
        let server = stdio_server(flood, true);
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "-v", "--timeout", "2s"]);
        let mut child = run.command(&[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (mut buffer, mut peak) = ([0; 4096], 0);
        // 4 kB every millisecond, until its end.
        while let Ok(1..) = stderr.read(&mut buffer) {
            peak = peak_memory(child.id()).unwrap_or(peak);
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(child.wait().unwrap().code(), Some(6));
        assert!(peak < MEMORY_LIMIT, "{flood:?}: {} MiB were used", peak >> 20);
    }
}
