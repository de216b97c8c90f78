//! Concurrent requests in one session: a call is sent once, a session is replaced once for all, and no request waits
//! for a connection that is given up.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::mcp_http::{LegacyHttpOptions, to_reply};
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Request, Sandbox, StdioServer};

fn count(server: &HttpServer, method: &str) -> usize {
    server.requests().iter().filter(|request| request.rpc_method() == method).count()
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn session() -> LegacyHttpOptions {
    LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() }
}

/// A counter that several requests wait for.
#[derive(Default)]
struct PassCounter(Mutex<usize>, Condvar);

impl PassCounter {
    fn pass(&self) {
        *self.0.lock().unwrap() += 1;
        self.1.notify_all();
    }

    /// Whether this many have passed in time.
    fn passed(&self, count: usize) -> bool {
        let passed = self.0.lock().unwrap();
        let (passed, _) = self.1.wait_timeout_while(passed, Duration::from_secs(5), |passed| *passed < count).unwrap();
        *passed >= count
    }
}

/// A modern server whose tools are cached.
fn remembered() -> Mcp {
    Mcp::modern().on("tools/list", |call| {
        let tools = crate::support::mcp::tools();
        call.result(json!({"tools": tools, "ttlMs": 600_000, "cacheScope": "private"}))
    })
}

/// A modern server that is replaced by a legacy one, over HTTP.
fn replaced(legacy: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (HttpServer, Arc<AtomicBool>) {
    let modern = remembered().http_script(LegacyHttpOptions::default());
    let old = Arc::new(AtomicBool::new(false));
    let is_old = old.clone();
    let server =
        HttpServer::start(move |request| if is_old.load(Ordering::SeqCst) { legacy(request) } else { modern(request) });
    (server, old)
}

/// ERA-13: one request detects that the server is of another era; the others on the same connection get their own
/// responses, and rejected ones are sent again.
#[test]
fn requests_in_flight_survive_a_wrong_cached_era() {
    let (good, read) = (Mcp::legacy("2025-11-25").http_script(session()), Arc::new(PassCounter::default()));
    let (server, old) = replaced(move |request| {
        let uri = request.json()["params"]["uri"].as_str().unwrap_or_default().to_owned();
        if request.header("mcp-method").is_some() {
            // The last one is rejected only after the first one was read in the other era.
            assert!(uri != "demo://item/2" || read.passed(1), "the first is read without waiting for the others");
            return Reply::json(&error(&Value::Null, -32000, "Server not initialized")).with_status(400);
        }
        if uri == "demo://item/1" {
            read.pass();
        }
        good(request)
    });
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["read", &server.url("/mcp"), "demo://hello"]).run().succeeds();
    old.store(true, Ordering::SeqCst);
    let words = ["read", &server.url("/mcp"), "demo://item/1", "demo://item/2", "--timeout", "8s", "--retries", "0"];
    sandbox.mcpipe(words).run().succeeds().prints("item 1item 2");
    assert_eq!(count(&server, "initialize"), 1, "{:?}", server.exchanges());
}

/// The same for a single stream: it ends with the process, and all waiting requests fail at once.
#[test]
fn requests_waiting_on_an_abandoned_process_fail() {
    let (modern, legacy) = (Arc::new(Mcp::modern()), Arc::new(Mcp::legacy("2025-11-25")));
    let shaken: Mutex<std::collections::HashSet<usize>> = Mutex::default();
    let held: Mutex<Option<Value>> = Mutex::default();
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if process.n == 0 {
                return play_actions(&modern, process, modern.handle(&message));
            }
            let text = message["params"].to_string();
            if message["method"] == "initialize" {
                shaken.lock().unwrap().insert(process.n);
            } else if message.get("id").is_some() && !shaken.lock().unwrap().contains(&process.n) {
                // The second request is ignored; the first one is rejected when both have arrived.
                if text.contains("item/2") {
                    if let Some(id) = held.lock().unwrap().replace(Value::Null) {
                        process.send(&error(&id, -32600, "Not initialized"));
                    }
                } else if text.contains("item/1") {
                    if held.lock().unwrap().replace(message["id"].clone()).is_some() {
                        process.send(&error(&message["id"], -32600, "Not initialized"));
                    }
                } else {
                    process.send(&error(&message["id"], -32600, "Not initialized"));
                }
                return;
            }
            play_actions(&legacy, process, legacy.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["read", &server.target(), "demo://hello"]).run().succeeds();
    let words = ["read", &server.target(), "demo://item/1", "demo://item/2", "--timeout", "20s", "--retries", "0"];
    let run = sandbox.mcpipe(words).run();
    run.succeeds().prints("item 1item 2");
    assert!(run.elapsed < Duration::from_secs(15), "{run:?}");
}

/// HTL-04: all requests of a batch find the session gone, one of them late. It is replaced once, for all.
#[test]
fn a_session_that_is_gone_is_opened_anew_once_for_all() {
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    let (begun, valid) = (AtomicUsize::new(0), Mutex::new(String::new()));
    let (refused, called) = (PassCounter::default(), PassCounter::default());
    let server = HttpServer::start(move |request| {
        if request.header("mcp-method").is_some() {
            return Reply::json(&error(&Value::Null, -32000, "Server not initialized")).with_status(400);
        }
        let method = request.rpc_method();
        if method == "initialize" {
            let id = format!("s{}", begun.fetch_add(1, Ordering::SeqCst) + 1);
            *valid.lock().unwrap() = id.clone();
            return to_reply(&mcp, &request.json(), false).header("Mcp-Session-Id", &id);
        }
        let session = request.header("mcp-session-id").unwrap_or_default().to_owned();
        let known = session == *valid.lock().unwrap();
        match method.as_str() {
            "tools/list" => *valid.lock().unwrap() = String::new(),
            "tools/call" if known => called.pass(),
            "tools/call" => {
                refused.pass();
                assert!(refused.passed(6), "all six are under way");
                // The last one is notified after the session was replaced.
                let late = request.json()["params"]["arguments"]["text"] == "5";
                assert!(!late || called.passed(1), "the others do not wait for the last");
            }
            _ => {}
        }
        match request.method.as_str() {
            "DELETE" => Reply::status(200),
            _ if !known => Reply::json(&error(&Value::Null, -32001, "Session not found")).with_status(404),
            _ if request.id().is_null() => Reply::accepted(),
            _ => to_reply(&mcp, &request.json(), false),
        }
    });
    let lines: String = (0..6).map(|n| format!("{{\"tool\":\"echo\",\"arguments\":{{\"text\":\"{n}\"}}}}\n")).collect();
    let words = ["call", &server.url("/mcp"), "--batch", "-", "--ordered", "--jobs", "6"];
    let run = Sandbox::new().mcpipe(words).stdin(lines).run();
    run.succeeds();
    let told = run.stdout().lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let texts: Vec<Value> = told.map(|line| line["result"]["content"][0]["text"].clone()).collect();
    assert_eq!(texts, ["0", "1", "2", "3", "4", "5"]);
    assert_eq!((count(&server, "initialize"), count(&server, "tools/call")), (2, 12), "{:?}", server.exchanges());
}

/// The calls of a batch go out together.
#[test]
fn the_first_call_of_a_batch_does_not_hold_up_the_others() {
    let (good, calls) = (Mcp::legacy("2025-11-25").http_script(session()), PassCounter::default());
    let batch = Arc::new(AtomicBool::new(false));
    let several = batch.clone();
    let server = HttpServer::start(move |request| {
        if request.rpc_method() == "tools/call" && several.load(Ordering::SeqCst) {
            calls.pass();
            assert!(calls.passed(3), "the first is answered when the others have come");
        }
        good(request)
    });
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi"]).run().succeeds();
    batch.store(true, Ordering::SeqCst);
    let lines = "{\"tool\":\"echo\",\"arguments\":{\"text\":\"x\"}}\n".repeat(3);
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "--batch", "-"]).stdin(lines).run();
    run.succeeds();
    assert_eq!(run.stdout().lines().count(), 3);
    assert_eq!((count(&server, "initialize"), count(&server, "notifications/initialized")), (2, 2));
}
