//! Processes that a server starts in sessions of their own: they are ended with it, on Linux.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::mcp::{ClientMessage, play_actions};
use crate::support::process::{is_alive, kill_all};
use crate::support::{Mcp, ProcessEvent, Sandbox, ServerAction, StdioServer};

/// A shell script that starts this one in a session of its own, as a child of process 1, and then becomes the server.
fn starting(daemon: &str, server: &StdioServer) -> Vec<String> {
    let script = format!("(setsid sh -c '{daemon}' </dev/null >/dev/null 2>&1 &); exec \"$@\"");
    ["sh", "-c", &script, "sh"].into_iter().map(str::to_owned).chain(server.words()).collect()
}

#[track_caller]
fn wait_until(what: &str, is_true: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// A server that answers a call when this file has this many lines.
fn waiting_for(file: &Path, count: usize) -> StdioServer {
    let file = file.to_owned();
    let echo = move |call: &ClientMessage<'_>| {
        wait_until("the daemon runs", || lines(&file) == count);
        call.text("hi")
    };
    Mcp::modern().on("tools/call", echo).stdio()
}

#[test]
fn a_daemon_that_a_server_started_is_terminated_after_the_server() {
    let sandbox = Sandbox::new();
    let log = sandbox.work().join("log");
    let server = waiting_for(&log, 1);
    let daemon = "trap \"echo TERM >> log; exit\" TERM; echo run > log; while :; do sleep 0.01; done";
    let words = starting(daemon, &server);
    sandbox.mcpipe(["call", "echo", "text=hi", "--"]).args(words).run().succeeds().prints("hi\n");
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "run\nTERM\n");
    assert!(server.single_process().eof, "the server itself was asked to end first");
}

#[test]
fn a_daemon_that_ignores_sigterm_is_killed() {
    let sandbox = Sandbox::new();
    let server = waiting_for(&sandbox.work().join("log"), 1);
    let daemon = "trap \"\" TERM; echo run > log; while :; do sleep 0.01; done";
    let run = sandbox.mcpipe(["call", "echo", "text=hi", "--"]).args(starting(daemon, &server)).run();
    run.succeeds().prints("hi\n");
    assert!(run.elapsed >= Duration::from_secs(2), "it had time to end: {run:?}");
}

#[test]
fn a_server_that_daemonizes_is_ended_like_any_other() {
    for ends_by_itself in [true, false] {
        let mcp = std::sync::Arc::new(Mcp::modern());
        let server = StdioServer::start(move |process, event| match event {
            ProcessEvent::Started => process.trap_signals(),
            ProcessEvent::Line(line) => {
                let message = serde_json::from_str(&line).unwrap();
                play_actions(&mcp, process, mcp.handle(&message));
            }
            ProcessEvent::Eof if ends_by_itself => process.exit(0),
            ProcessEvent::Signal(_) => process.exit(0),
            ProcessEvent::Eof => {}
        });
        let script = "exec 3<&0; setsid \"$@\" <&3 & exit 0";
        let words = ["sh", "-c", script, "sh"].into_iter().map(str::to_owned).chain(server.words());
        Sandbox::new().mcpipe(["call", "echo", "text=hi", "--"]).args(words).run().succeeds().prints("hi\n");
        let ended = server.single_process();
        assert!(ended.eof);
        assert_eq!(ended.signals.is_empty(), ends_by_itself, "{:?}", ended.signals);
    }
}

#[test]
fn a_second_interrupt_kills_daemons_too() {
    let sandbox = Sandbox::new();
    let log = sandbox.work().join("log");
    let server = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.trap_signals();
        }
    });
    let daemon = "trap \"\" TERM; echo run > log; while :; do sleep 0.01; done";
    let running = sandbox.mcpipe(["call", "echo", "text=hi", "--"]).args(starting(daemon, &server)).start();
    wait_until("the daemon runs", || lines(&log) == 1);
    server.wait_for("the first request", |seen| seen.iter().any(|one| !one.stdin.is_empty()));
    running.signal(Signal::INT);
    server.wait_for("SIGTERM", |seen| seen.iter().any(|one| one.eof));
    running.signal(Signal::INT);
    running.wait().exits(130);
}

#[test]
fn daemons_that_end_do_not_remain_as_zombies() {
    let sandbox = Sandbox::new();
    let log = sandbox.work().join("log");
    let server = Mcp::modern().on("tools/call", |_| Vec::new()).stdio();
    let script = "for n in 1 2 3 4 5 6 7 8; do (setsid sh -c 'sleep 0.05; echo run >> log' &); done; exec \"$@\"";
    let words = ["sh", "-c", script, "sh"].into_iter().map(str::to_owned).chain(server.words());
    let running = sandbox.mcpipe(["call", "echo", "text=hi", "--"]).args(words).start();
    let ended_children = || {
        let stat = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("stat")).ok();
        let is_ended = |stat: String| stat.rsplit_once(") Z ").map(|(_, rest)| rest.to_owned());
        let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| is_ended(stat(entry.ok()?)?));
        children.filter(|rest| rest.split(' ').next() == Some(&running.pid().to_string())).count()
    };
    wait_until("all have run", || lines(&log) == 8);
    wait_until("none remains", || ended_children() == 0);
    running.signal(Signal::INT);
    running.wait().exits(130);
}

#[test]
fn processes_that_the_server_did_not_start_are_spared() {
    // A shell that replaces itself with mcpipe leaves its children to mcpipe.
    let sandbox = Sandbox::new();
    let server = Mcp::modern().stdio();
    let mcpipe = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]);
    let script = "sleep 300 </dev/null >/dev/null 2>&1 & exec \"$@\"";
    let output = mcpipe.command(&["sh", "-c", script, "sh"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hi\n");
    let left = sandbox.leftovers();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(is_alive(left[0].pid));
    kill_all(&left);

    // A process that a sampling command starts does not belong to the server.
    let request = json!({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage", "params": {
        "messages": [{"role": "user", "content": {"type": "text", "text": "hi"}}], "maxTokens": 10,
    }});
    let ask = move |call: &ClientMessage<'_>| {
        let result = call.text("hi");
        vec![ServerAction::Request(request.clone(), Box::new(move |_| result))]
    };
    let server = Mcp::legacy("2025-11-25").on("tools/call", ask).stdio();
    let answer = r#"{"role":"assistant","content":{"type":"text","text":"x"},"model":"m"}"#;
    let command = sandbox.script(
        "sample",
        &format!(
            "cat >/dev/null; (setsid sh -c 'echo $$ > agent; exec sleep 300' </dev/null >/dev/null 2>&1 &)
             until [ -s agent ]; do sleep 0.01; done; echo '{answer}'"
        ),
    );
    let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "--sampling-command"]);
    run.arg(command.display().to_string()).run().exits(0).prints("hi\n");
    let pid: u32 = std::fs::read_to_string(sandbox.work().join("agent")).unwrap().trim().parse().unwrap();
    assert!(is_alive(pid));
    kill_process(Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL).unwrap();
}
