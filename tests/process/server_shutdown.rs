//! How a started server ends: most end when their input does, some take their time for it, and some take no notice.
//! What a server did is remembered, so that nobody waits for nothing every time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::sandbox::Run;
use crate::support::{Mcp, ProcessEvent, Sandbox, StdioServer};

/// How long a server may take to end by itself.
const GRACE: Duration = Duration::from_secs(2);
const NOTE: &str = "note: the server did not end when its input did, and was terminated";

/// A server that ends so many milliseconds after its input, or else when it is terminated.
fn ending(mcp: Mcp, after: Arc<AtomicU64>) -> StdioServer {
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

/// The file in which it is kept what the only server is like, and what it holds.
fn memory(sandbox: &Sandbox) -> Option<(std::path::PathBuf, Value)> {
    let files = std::fs::read_dir(sandbox.path().join("home/.cache/mcpipe/servers")).ok()?;
    let read = |path: std::path::PathBuf| {
        let value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        (path, value)
    };
    files.map(|file| read(file.unwrap().path())).find(|(_, value)| value.get("revision").is_some())
}

fn mark(sandbox: &Sandbox) -> Option<u64> {
    memory(sandbox).expect("something is kept").1.get("stubborn").map(|when| when.as_u64().unwrap())
}

fn set_mark(sandbox: &Sandbox, when: u64) {
    let (path, mut value) = memory(sandbox).expect("something is kept");
    value["stubborn"] = json!(when);
    std::fs::write(path, value.to_string()).unwrap();
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn last_signals(server: &StdioServer) -> Vec<String> {
    let seen = server.wait_until_all_ended();
    let last = seen.last().unwrap();
    assert!(last.eof, "its input was closed first");
    last.signals.clone()
}

#[test]
fn a_server_that_ignores_eof_is_waited_for_once() {
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let sandbox = Sandbox::new();
        let after = Arc::new(AtomicU64::new(NEVER));
        let server = ending(mcp, after.clone());
        let run = call(&sandbox, &server, &["--no-cache"]);
        run.stderr_contains(NOTE);
        assert!(run.elapsed >= GRACE, "{run:?}");
        assert!(memory(&sandbox).is_none(), "nothing is to be kept");

        let begun = now();
        let run = call(&sandbox, &server, &[]);
        run.stderr_contains(NOTE);
        assert!(run.elapsed >= GRACE, "{run:?}");
        let when = mark(&sandbox).expect("it is kept that it had to be terminated");
        assert!((begun..=now()).contains(&when), "{when}");

        let run = call(&sandbox, &server, &[]);
        run.stderr_contains(NOTE);
        assert!(run.elapsed < GRACE, "{run:?}");
        assert_eq!(last_signals(&server), ["TERM"]);
        assert_eq!(mark(&sandbox), Some(when), "it has not shown anew that it needs to be terminated");

        // It was repaired. On a busy machine its end may come late once.
        after.store(0, Ordering::SeqCst);
        let willing = (0..5).find(|_| !call(&sandbox, &server, &[]).stderr().contains(NOTE));
        assert!(willing.is_some(), "it ends by itself now");
        assert_eq!((mark(&sandbox), last_signals(&server)), (None, vec![]));
    }
}

#[test]
fn a_slow_server_gets_time_to_end() {
    let sandbox = Sandbox::new();
    let after = Arc::new(AtomicU64::new(700));
    let server = ending(Mcp::modern(), after.clone());
    for _ in 0..2 {
        let run = call(&sandbox, &server, &[]);
        run.hides(NOTE);
        assert!(run.elapsed >= Duration::from_millis(700), "{run:?}");
        assert_eq!((mark(&sandbox), last_signals(&server)), (None, vec![]));
    }
    // What was seen a day ago may be another server's fault.
    set_mark(&sandbox, now() - 25 * 3600);
    call(&sandbox, &server, &[]).hides(NOTE);
    assert_eq!(last_signals(&server), [""; 0]);
    set_mark(&sandbox, now() - 23 * 3600);
    call(&sandbox, &server, &[]).stderr_contains(NOTE);
    assert_eq!(last_signals(&server), ["TERM"]);
}

/// What is not waited for as long as usual shows nothing of the server.
#[test]
fn a_server_that_is_given_up_is_not_judged_by_its_end() {
    let sandbox = Sandbox::new();
    let server = ending(Mcp::modern().on("tools/call", |_| vec![]), Arc::new(AtomicU64::new(NEVER)));
    let running = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "-v"]).start();
    server.wait_for("the call", |seen| seen.iter().any(|one| one.methods().contains(&"tools/call".to_owned())));
    running.signal(rustix::process::Signal::INT);
    running.wait().exits(130).stderr_contains(NOTE);
    assert_eq!((mark(&sandbox), last_signals(&server)), (None, vec!["TERM".to_owned()]));
}
