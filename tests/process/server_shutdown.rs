//! How a server process ends after its stdin is closed: at once, slowly, or not at all. This is cached, so that later
//! commands do not wait in vain.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::sandbox::Run;
use crate::support::{Mcp, ProcessEvent, Sandbox, StdioServer};

/// How long a server may take to exit.
const GRACE: Duration = Duration::from_secs(2);
const NOTE: &str = "note: the server did not exit after its standard input was closed; terminated it";

/// A server that exits this many milliseconds after its stdin is closed, or when it is terminated.
fn exiting(mcp: Mcp, after: Arc<AtomicU64>) -> StdioServer {
    let mcp = Arc::new(mcp);
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Started => process.trap_signals(),
        ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
        ProcessEvent::Eof => {
            let (process, after) = (process.clone(), after.load(Ordering::SeqCst));
            if after < NEVER {
                std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(after));
                    process.exit(0);
                });
            }
        }
        ProcessEvent::Signal(_) => process.exit(0),
    })
}

const NEVER: u64 = u64::MAX;

fn call(sandbox: &Sandbox, server: &StdioServer, more: &[&str]) -> Run {
    let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "-v"]).args(more.to_vec()).run();
    run.exits(0).prints("hi\n");
    run
}

/// The cache file of the only server, and its content.
fn cached_profile(sandbox: &Sandbox) -> Option<(std::path::PathBuf, Value)> {
    let files = std::fs::read_dir(sandbox.path().join("home/.cache/mcpipe/servers")).ok()?;
    let read = |path: std::path::PathBuf| {
        let value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        (path, value)
    };
    files.map(|file| read(file.unwrap().path())).find(|(_, value)| value.get("revision").is_some())
}

fn ignores_eof_since(sandbox: &Sandbox) -> Option<u64> {
    cached_profile(sandbox).expect("there is a cache file").1.get("ignores_eof").map(|when| when.as_u64().unwrap())
}

fn set_ignores_eof_since(sandbox: &Sandbox, when: u64) {
    let (path, mut value) = cached_profile(sandbox).expect("there is a cache file");
    value["ignores_eof"] = json!(when);
    std::fs::write(path, value.to_string()).unwrap();
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn last_signals(server: &StdioServer) -> Vec<String> {
    let seen = server.wait_until_all_ended();
    let last = seen.last().unwrap();
    assert!(last.eof, "stdin was closed first");
    last.signals.clone()
}

#[test]
fn a_server_that_ignores_eof_is_waited_for_once() {
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let sandbox = Sandbox::new();
        let after = Arc::new(AtomicU64::new(NEVER));
        let server = exiting(mcp, after.clone());
        let run = call(&sandbox, &server, &["--no-cache"]);
        run.stderr_contains(NOTE);
        assert!(run.elapsed >= GRACE, "{run:?}");
        assert!(cached_profile(&sandbox).is_none(), "--no-cache writes nothing");

        let begun = now();
        let run = call(&sandbox, &server, &[]);
        run.stderr_contains(NOTE);
        assert!(run.elapsed >= GRACE, "{run:?}");
        let when = ignores_eof_since(&sandbox).expect("the cache says that the server was terminated");
        assert!((begun..=now()).contains(&when), "{when}");

        let run = call(&sandbox, &server, &[]);
        run.stderr_contains(NOTE);
        assert!(run.elapsed < GRACE, "{run:?}");
        assert_eq!(last_signals(&server), ["TERM"]);
        assert_eq!(ignores_eof_since(&sandbox), Some(when), "a short wait proves nothing, so the time is unchanged");

        // Now it exits. On a busy machine it may be too late for the short wait once.
        after.store(0, Ordering::SeqCst);
        let exited = (0..5).find(|_| !call(&sandbox, &server, &[]).stderr().contains(NOTE));
        assert!(exited.is_some(), "it exits now");
        assert_eq!((ignores_eof_since(&sandbox), last_signals(&server)), (None, vec![]));
    }
}

#[test]
fn a_slow_server_gets_time_to_exit() {
    let sandbox = Sandbox::new();
    let after = Arc::new(AtomicU64::new(700));
    let server = exiting(Mcp::modern(), after.clone());
    for _ in 0..2 {
        let run = call(&sandbox, &server, &[]);
        run.hides(NOTE);
        assert!(run.elapsed >= Duration::from_millis(700), "{run:?}");
        assert_eq!((ignores_eof_since(&sandbox), last_signals(&server)), (None, vec![]));
    }
    // After a day, the cached value expires.
    set_ignores_eof_since(&sandbox, now() - 25 * 3600);
    call(&sandbox, &server, &[]).hides(NOTE);
    assert_eq!(last_signals(&server), [""; 0]);
    set_ignores_eof_since(&sandbox, now() - 23 * 3600);
    call(&sandbox, &server, &[]).stderr_contains(NOTE);
    assert_eq!(last_signals(&server), ["TERM"]);
}

/// After an interrupt the wait is short, which proves nothing about the server.
#[test]
fn an_interrupt_does_not_change_the_cached_value() {
    let sandbox = Sandbox::new();
    let server = exiting(Mcp::modern().on("tools/call", |_| vec![]), Arc::new(AtomicU64::new(NEVER)));
    let running = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "-v"]).start();
    server.wait_for("the call", |seen| seen.iter().any(|one| one.methods().contains(&"tools/call".to_owned())));
    running.signal(rustix::process::Signal::INT);
    running.wait().exits(130).stderr_contains(NOTE);
    assert_eq!((ignores_eof_since(&sandbox), last_signals(&server)), (None, vec!["TERM".to_owned()]));
}
