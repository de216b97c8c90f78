//! A signal ends operations that block the thread: reading stdin, an endless filter, writing to a stuck reader.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Mcp, Sandbox};

/// Long enough for mcpipe to block.
const UNTIL_STUCK: Duration = Duration::from_millis(300);

#[test]
fn reading_silent_stdin_is_interrupted() {
    for (words, signal, code) in [
        (&["m=@-"][..], Signal::INT, 130),
        (&["--args", "-"], Signal::TERM, 143),
        (&["m=@fifo"], Signal::INT, 130),
        (&["--elicit", "@fifo"], Signal::HUP, 129),
    ] {
        let server = Mcp::modern().stdio();
        let sandbox = Sandbox::new();
        let fifo = sandbox.work().join("fifo");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let running =
            sandbox.mcpipe(["call", &server.target(), "echo"]).args(words).stdin_open().with_default_hangup().start();
        std::thread::sleep(UNTIL_STUCK);
        running.signal(signal);
        let message = match code {
            129 => "terminated (SIGHUP)",
            130 => "interrupted",
            _ => "terminated",
        };
        assert_eq!(running.wait().exits(code).stderr(), format!("mcpipe: error: {message}\n"));
    }
}

#[test]
fn an_endless_filter_is_interrupted() {
    for (filter, signal, code) in [("def f: f; f", Signal::TERM, 143), ("range(1e12)|select(. < 0)", Signal::INT, 130)]
    {
        let server = Mcp::modern().stdio();
        let running = Sandbox::new().mcpipe(["list", &server.target(), "--jq", filter]).start();
        server.wait_for("the list", |seen| seen.iter().any(|one| one.methods().contains(&"tools/list".to_owned())));
        std::thread::sleep(UNTIL_STUCK);
        running.signal(signal);
        let run = running.wait();
        let word = if code == 130 { "interrupted" } else { "terminated" };
        assert_eq!(run.exits(code).stderr(), format!("mcpipe: error: {word}\n"));
    }
}

#[test]
fn an_endless_expectation_is_interrupted() {
    let server = Mcp::modern().stdio();
    let words = ["call", &server.target(), "echo", "text=hi", "--expect", "last(repeat(1))"];
    let running = Sandbox::new().mcpipe(words).start();
    server.wait_for("the call", |seen| seen.iter().any(|one| one.methods().contains(&"tools/call".to_owned())));
    std::thread::sleep(UNTIL_STUCK);
    running.signal(Signal::INT);
    running.wait().exits(130).stderr_contains("mcpipe: error: interrupted\n");
}

#[test]
fn writing_to_a_stuck_reader_is_interrupted() {
    let text = "x".repeat(2_500_000);
    let server = Mcp::modern().on("tools/call", move |call| call.text(&text)).stdio();
    let mcpipe = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi"]);
    let (unread, stdout) = std::io::pipe().unwrap();
    let mut child = mcpipe.command(&[]).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
    server.wait_for("the call", |seen| seen.iter().any(|one| one.methods().contains(&"tools/call".to_owned())));
    std::thread::sleep(UNTIL_STUCK);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let deadline = Instant::now() + mcpipe.limit();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("mcpipe is still writing");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    drop(unread);
    assert_eq!(status.code(), Some(143));
}

#[test]
fn a_named_pipe_that_nobody_uses_is_interrupted() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let read = ["read", &target, "demo://hello"];
    for words in [
        &["test", "fifo.toml"][..],
        &["lock", &target, "--check", "-o", "fifo.toml"],
        &["lock", &target, "-o", "fifo.toml"],
        &["list", "replay:fifo.toml"],
        &["config", "list", "--config", "fifo.toml"],
        &[&read[..], &["-o", "fifo.toml"]].concat(),
        &[&read[..], &["--trace", "fifo.toml"]].concat(),
        &[&read[..], &["--record", "fifo.toml"]].concat(),
        &[&read[..], &["--events", "fifo.toml"]].concat(),
        &["test", &target, "--junit", "fifo.toml"],
    ] {
        let sandbox = Sandbox::new();
        let fifo = sandbox.work().join("fifo.toml");
        assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let running = sandbox.mcpipe(words).start();
        // Some connect before they write.
        std::thread::sleep(if words[0] == "test" { 5 * UNTIL_STUCK } else { 2 * UNTIL_STUCK });
        running.signal(Signal::INT);
        running.wait().exits(130);
    }
}
