//! How sessions end, and what a session that does not end, or ends by itself, means for others.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

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

/// Pretends to be the keeper of a session that is then gone: answers one question about it when `end` has replaced its
/// socket.
fn pretend_keeper(directory: &Path, name: &str, end: impl FnOnce(&Path) + Send + 'static) {
    let socket = directory.join(format!("{name}.sock"));
    let listener = UnixListener::bind(&socket).unwrap();
    let status = json!({"name": name, "target": name, "transport": "stdio", "pid": 4_000_000, "server_pids": [],
        "commands": 0, "requests": 0, "idle_ms": 1, "started": 1});
    std::thread::spawn(move || {
        let mut stream = BufReader::new(listener.accept().unwrap().0);
        stream.read_line(&mut String::new()).unwrap();
        std::fs::remove_file(&socket).unwrap();
        end(&socket);
        stream.get_mut().write_all(format!("{status}\n").as_bytes()).unwrap();
    });
}

#[test]
fn a_session_that_does_not_end_does_not_hide_those_that_do() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let directory = sessions.sandbox.path().join("run/mcpipe");
    for json in [false, true] {
        sessions.start(&server.target());
        // A socket that nobody can connect to.
        pretend_keeper(&directory, "a", |socket| std::os::unix::fs::symlink(socket, socket).unwrap());
        pretend_keeper(&directory, "b", |_| {});
        let options: &[&str] = if json { &["--json"] } else { &[] };
        let run = sessions.run(&[&["session", "stop", "--all"], options].concat());
        run.exits(5);
        if json {
            assert_eq!(run.json(), json!({"stopped": ["b", "relay"]}));
        } else {
            run.prints("").stderr_is(
                "stopped the session 'b'\nstopped the session 'relay'\n\
                mcpipe: error: the session 'a' does not end\n  \
                Too many levels of symbolic links (os error 40)\n\
                hint: end its process: kill -9 4000000\n",
            );
        }
        std::fs::remove_file(directory.join("a.sock")).unwrap();
        sessions.assert_gone();
    }
}

#[test]
fn a_hint_quotes_the_name_of_a_session() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    sessions
        .sandbox
        .config(&format!("[servers.\"My Server\"]\ncommand = \"{}\"\nargs = [\"{}\"]\n", words[0], words[1]));
    sessions.start("My Server");
    sessions.run(&["session", "start", "My Server", "--idle", "1h"]).exits(2).stderr_is(
        "mcpipe: error: the session 'My Server' is already running with another idle time\n\
        hint: stop it first: mcpipe session stop 'My Server'\n",
    );
    sessions.stop_all();
}

/// A command that outlives its session connects by itself: `session stop` leaves no session behind.
#[test]
fn a_watch_goes_on_without_the_session_that_was_stopped() {
    let mcp = Mcp::legacy("2025-11-25")
        .capabilities(json!({"resources": {"subscribe": true}}))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |call| call.result(json!({})));
    let mcp = Arc::new(mcp);
    // It ends later than the watch connects again.
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => {
            std::thread::sleep(Duration::from_millis(if process.n == 0 { 1500 } else { 0 }));
            process.exit(0);
        }
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sessions = Sessions::new();
    sessions.start(&server.target());
    let watch =
        sessions.sandbox.mcpipe(["read", &server.target(), "demo://hello", "--watch"]).allow_leftovers().start();
    watch.wait_for_stdout("hello\n");
    sessions.run(&["session", "stop", "--all"]).exits(0);
    server.wait_for("another process", |all| {
        all.get(1).is_some_and(|other| other.methods().contains(&"resources/read".to_owned()))
    });
    assert_eq!(sessions.list(), Vec::<Value>::new());
    watch.signal(Signal::INT);
    watch.wait().exits(130);
    sessions.assert_gone();
    assert_eq!(server.wait_until_all_ended().len(), 2);
}
