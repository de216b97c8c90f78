//! How sessions end, and what a session that does not end, or ends by itself, means for others.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::{Gate, Sessions};
use crate::support::mcp::play_actions;
use crate::support::{Mcp, ProcessEvent, StdioServer};

/// It ends more slowly than a command waits that starts another keeper.
#[test]
fn a_keeper_that_ends_keeps_the_files_of_the_one_that_has_replaced_it() {
    let (mcp, gate) = (Arc::new(Mcp::modern()), Gate::default());
    let shared = gate.clone();
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => {
            shared.wait();
            process.exit(0);
        }
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sessions = Sessions::new();
    sessions.start(&server.target());
    let (record, socket) = (sessions.record(), sessions.record().with_extension("sock"));
    let stop = sessions.sandbox.mcpipe(["session", "stop", "--all", "-q"]).allow_leftovers().start();
    server.wait_for("the end of the input", |seen| seen[0].eof);
    let other = UnixListener::bind(&socket).unwrap();
    gate.open();
    stop.wait().exits(0);
    assert!(record.exists() && socket.exists(), "{:?}", sessions.files());
    drop(other);
    std::fs::remove_file(socket).unwrap();
    sessions.run(&["session", "list"]).exits(0).stderr_is("no sessions\n");
    sessions.assert_gone();
}

#[test]
fn stopping_a_session_ends_an_attempt_to_connect() {
    let sessions = Sessions::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let start = || {
        let words = ["session", "start", &url, "--connect-timeout", "0"];
        let start = sessions.sandbox.mcpipe(words).allow_leftovers().timeout(Duration::from_secs(15)).start();
        (start, listener.accept().unwrap().0)
    };
    let (started, _connection) = start();
    sessions.run(&["session", "stop", "127.0.0.1"]).exits(0).stderr_is("stopped the session '127.0.0.1'\n");
    started.wait().exits(5).stderr_is("mcpipe: error: the session was stopped\n");
    sessions.assert_gone();
    let (interrupted, _connection) = start();
    interrupted.signal(Signal::INT);
    interrupted.wait().exits(130);
    sessions.assert_gone();
}

#[test]
fn commands_that_wait_for_the_same_connection_get_the_same_failure() {
    let sessions = Sessions::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    let start = sessions.sandbox.mcpipe(["session", "start", &url]).allow_leftovers().start();
    let connection = listener.accept().unwrap().0;
    let socket = sessions.record().with_extension("sock");
    let connect = |command: &str| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(format!("{{\"command\":\"{command}\"}}\n").as_bytes()).unwrap();
        stream
    };
    let mut waiting = connect("connect");
    // Answered after the line before.
    connect("status").read_to_end(&mut Vec::new()).unwrap();
    drop((connection, listener));
    let mut greeting = String::new();
    waiting.read_to_string(&mut greeting).unwrap();
    let run = start.wait();
    let failure = run.exits(5).stderr().lines().next().unwrap().trim_start_matches("mcpipe: error: ");
    let greeting: Value = serde_json::from_str(&greeting).unwrap();
    assert_eq!(greeting["failure"]["message"], failure, "{greeting}");
    sessions.assert_gone();
}
