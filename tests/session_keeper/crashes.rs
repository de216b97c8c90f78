//! Crashes of the server, the keeper and a command: calls in progress fail, nothing is sent twice, nothing is left.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::Sessions;
use crate::support::mcp::play_actions;
use crate::support::{Mcp, ProcessEvent, StdioServer};

/// A server that does not answer a call with the text `stuck`, and dies at one with the text `die`.
fn server() -> StdioServer {
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            match message["params"]["arguments"]["text"].as_str() {
                Some("stuck") => {}
                Some("die") => process.crash(),
                _ => play_actions(&mcp, process, mcp.handle(&message)),
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    })
}

fn kill(pid: u64) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = kill_process(pid, Signal::KILL);
}

/// How many calls with this text reached a server.
fn calls(server: &StdioServer, text: &str) -> usize {
    let called = |message: &Value| message["params"]["arguments"]["text"] == text;
    server.processes().iter().flat_map(|process| process.messages()).filter(called).count()
}

#[test]
fn a_call_whose_server_dies_fails_once_and_the_next_gets_another_server() {
    let (server, sessions) = (server(), Sessions::new());
    sessions.start(&server.target());
    let run = sessions.run(&["call", &server.target(), "echo", "text=die"]);
    run.exits(5).prints("").stderr_contains("the tool may have run");
    assert_eq!(calls(&server, "die"), 1);
    sessions.run(&["call", &server.target(), "echo", "text=hi"]).succeeds().prints("hi\n");
    assert_eq!((server.processes().len(), sessions.list().len()), (2, 1));
    sessions.stop_all();
}

#[test]
fn a_call_whose_keeper_dies_fails_once_and_the_next_starts_another_one() {
    let (server, sessions) = (server(), Sessions::new());
    sessions.start(&server.target());
    let keeper = sessions.list()[0]["pid"].as_u64().unwrap();
    let stuck = sessions.sandbox.mcpipe(["call", &server.target(), "echo", "text=stuck"]).allow_leftovers().start();
    server.wait_for("the call", |_| calls(&server, "stuck") == 1);
    kill(keeper);
    stuck.wait().exits(5).prints("").stderr_contains("the session ended").stderr_contains("the tool may have run");
    assert_eq!(calls(&server, "stuck"), 1);
    sessions.run(&["call", &server.target(), "echo", "text=hi"]).succeeds().prints("hi\n");
    assert_eq!((server.processes().len(), sessions.list().len()), (2, 1));
    sessions.stop_all();
}

#[test]
fn stop_ends_the_server_of_a_killed_keeper() {
    let server = StdioServer::start({
        let mcp = Arc::new(Mcp::modern());
        move |process, event| match event {
            ProcessEvent::Started => process.trap_signals(),
            ProcessEvent::Line(line) => {
                let message: Value = serde_json::from_str(&line).unwrap();
                play_actions(&mcp, process, mcp.handle(&message));
            }
            // It ignores the end of its input, and SIGTERM.
            ProcessEvent::Eof | ProcessEvent::Signal(_) => {}
        }
    });
    let sessions = Sessions::new();
    sessions.start(&server.target());
    kill(sessions.list()[0]["pid"].as_u64().unwrap());
    sessions.stop_all();
    assert!(server.single_process().eof);
}

#[test]
fn listing_sessions_ends_the_server_of_a_killed_keeper() {
    let (server, sessions) = (server(), Sessions::new());
    sessions.start(&server.target());
    kill(sessions.list()[0]["pid"].as_u64().unwrap());
    sessions.sandbox.mcpipe(["session", "list"]).run().exits(0).prints("").stderr_is("no sessions\n");
    sessions.assert_gone();
}

/// A sequence of numbers that looks random, and is the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: u64) -> u64 {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn kills_at_any_moment_leave_nothing_and_no_call_is_sent_twice() {
    let seed = std::env::var("MCPIPE_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x5eed);
    let rounds = std::env::var("MCPIPE_TEST_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(6);
    let mut numbers = Numbers(seed);
    for round in 0..rounds {
        let (server, sessions) = (server(), Sessions::new());
        sessions.start(&server.target());
        let keeper = sessions.list()[0]["pid"].as_u64().unwrap();
        let call = |n: u64| {
            let text = format!("text=call-{n}");
            sessions.sandbox.mcpipe(["call", &server.target(), "echo", &text]).allow_leftovers().start()
        };
        let running: Vec<_> = (0..4).map(|n| (n, call(n))).collect();
        std::thread::sleep(Duration::from_micros(numbers.below(30_000)));
        let (victim, killed) = match numbers.below(3) {
            0 => ("server", u64::from(server.processes().last().unwrap().pid)),
            1 => ("keeper", keeper),
            _ => ("command", u64::from(running[0].1.pid())),
        };
        kill(killed);
        for (n, run) in running {
            let run = run.wait();
            let context = format!("seed {seed}, round {round}: the {victim} was killed: {run:?}");
            match run.code() {
                0 => assert_eq!(run.stdout(), format!("call-{n}\n"), "{context}"),
                // Not all failures say that the call may have run: it may not have been sent yet.
                5 => assert_eq!(run.stdout(), "", "{context}"),
                code => assert!(code == 137 && n == 0, "{context}"),
            }
            assert!(calls(&server, &format!("call-{n}")) <= 1, "{context}");
        }
        sessions.stop_all();
    }
}
