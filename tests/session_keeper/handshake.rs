//! The handshake of a session, which is carried out once for all commands, and how it can end.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use super::{Gate, Sessions};
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{ClientMessage, HttpServer, Mcp, Reply, ServerAction};

/// Waits until this many commands use the only session.
#[track_caller]
fn wait_for_commands(sessions: &Sessions, count: u64) {
    let end = Instant::now() + Duration::from_secs(10);
    while sessions.list().first().is_none_or(|session| session["commands"] != count) {
        assert!(Instant::now() < end, "{:?}", sessions.list());
    }
}

/// A line that is not JSON with what `initialize` returns.
fn spoiled(call: &ClientMessage<'_>, spoil: fn(String) -> String) -> Vec<ServerAction> {
    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "x"}});
    vec![ServerAction::RawText(spoil(call.response(result).to_string()))]
}

#[test]
fn text_before_the_response_to_initialize_does_not_hold_up_later_commands() {
    let mcp = Mcp::legacy("2025-11-25").on("initialize", |call| spoiled(call, |line| format!("Ready.{line}")));
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    for _ in 0..2 {
        sessions.run(&["call", &server.target(), "echo", "text=hi"]).succeeds().prints("hi\n");
    }
    let methods = server.processes()[0].methods();
    assert_eq!(methods.iter().filter(|method| *method == "initialize").count(), 1, "{methods:?}");
    sessions.stop_all();
}

/// A name, what becomes of the response to `initialize`, and the exit code and message of the command that sent it.
type FailedHandshake = (&'static str, fn(String) -> String, i32, &'static str);

/// How a server can answer `initialize` so that the command that sent it fails.
const FAILURES: [FailedHandshake; 4] = [
    ("certainly a response", |line| line.replace(":{\"", ":{,\""), 7, "is not valid JSON"),
    ("probably a response", |line| line.replace('"', "'"), 7, "is not valid JSON"),
    (
        "an error without an ID",
        |_| r#"{"jsonrpc":"2.0","id":null,"error":{"code":-1,"message":"not today"}}"#.to_owned(),
        1,
        "not today",
    ),
    ("a result with another ID", |_| r#"{"jsonrpc":"2.0","id":77,"result":{}}"#.to_owned(), 7, "was never sent"),
];

#[test]
fn after_a_handshake_that_failed_the_next_command_repeats_it() {
    for (how, spoil, code, message) in FAILURES {
        let mcp = Arc::new(Mcp::legacy("2025-11-25"));
        let good = mcp.clone();
        let mcp = Mcp::legacy("2025-11-25").on("initialize", move |call| match call.n {
            0 => spoiled(call, spoil),
            _ => good.handle(call.message),
        });
        let (server, sessions) = (mcp.stdio(), Sessions::new());
        let [program, socket] = server.words().try_into().unwrap();
        sessions
            .sandbox
            .config(&format!("[servers.demo]\ncommand = \"{program}\"\nargs = [\"{socket}\"]\nkeep_alive = \"1m\"\n"));
        let words = ["call", "demo", "echo", "text=hi", "--protocol", "2025-11-25"];
        let run = sessions.run(&words);
        assert_eq!((run.code(), run.stderr().contains(message)), (code, true), "{how}: {run:?}");
        let run = sessions.run(&words);
        assert_eq!((run.code(), run.stdout()), (0, "hi\n"), "{how}: {run:?}");
        sessions.stop_all();
    }
}

fn handshakes(server: &HttpServer) -> usize {
    server.requests().iter().filter(|request| request.rpc_method() == "initialize").count()
}

#[test]
fn after_a_handshake_over_http_that_was_interrupted_the_next_command_repeats_it() {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let count = Mutex::new(0);
    let server = HttpServer::start(move |request| {
        let is_first = request.rpc_method() == "initialize" && {
            let mut count = count.lock().unwrap();
            *count += 1;
            *count == 1
        };
        if is_first { Reply::never() } else { script(request) }
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.sandbox.config(&format!("[servers.demo]\nurl = \"{url}\"\nkeep_alive = \"1m\"\n"));
    let words = ["call", "demo", "echo", "text=hi", "--protocol", "legacy"];
    let first = sessions.sandbox.mcpipe(words).allow_leftovers().start();
    server.wait_for("the handshake", |request| request.rpc_method() == "initialize");
    first.signal(Signal::INT);
    first.wait().exits(130);
    sessions.run(&words).succeeds().prints("hi\n");
    assert_eq!(handshakes(&server), 2);
    sessions.stop_all();
}

#[test]
fn a_handshake_over_http_goes_on_while_a_command_waits_for_it() {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let gate = Gate::default();
    let shared = gate.clone();
    let server = HttpServer::start(move |request| {
        if request.rpc_method() == "initialize" {
            shared.wait();
        }
        script(request)
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.sandbox.config(&format!("[servers.demo]\nurl = \"{url}\"\nkeep_alive = \"1m\"\n"));
    let start = || {
        let words = ["call", "demo", "echo", "text=hi", "--protocol", "legacy"];
        sessions.sandbox.mcpipe(words).allow_leftovers().start()
    };
    let first = start();
    server.wait_for("the handshake", |request| request.rpc_method() == "initialize");
    let second = start();
    wait_for_commands(&sessions, 2);
    first.signal(Signal::INT);
    first.wait().exits(130);
    gate.open();
    second.wait().succeeds().prints("hi\n");
    sessions.stop_all();
}
