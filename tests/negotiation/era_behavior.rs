//! How the client behaves in each era: what it answers, how long it waits, and how often it sends a request or starts
//! a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::mcp_http::{LegacyHttpOptions, to_reply};
use crate::support::{
    ClientMessage, HttpServer, Mcp, ProcessEvent, Reply, Request, Sandbox, ServerAction, StdioServer,
};

fn count(server: &HttpServer, method: &str) -> usize {
    server.requests().iter().filter(|request| request.rpc_method() == method).count()
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn asks(id: &str, method: &str) -> ServerAction {
    ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}}))
}

/// MSG-04: progress restarts the time limit; other messages do not.
#[test]
fn a_server_that_pings_gets_no_more_time() {
    for method in ["ping", "roots/list", "sampling/createMessage"] {
        let server = Mcp::legacy("2025-11-25").on("tools/call", move |call| {
            let ping = |n: usize| [asks(&format!("q{n}"), method), ServerAction::Pause(Duration::from_millis(200))];
            let mut outs: Vec<ServerAction> = (0..40).flat_map(ping).collect();
            outs.extend(call.text("late"));
            outs
        });
        let server = server.stdio();
        let words = ["call", &server.target(), "echo", "text=hi", "--timeout", "1s", "--root", "."];
        let run = Sandbox::new().mcpipe(words).run();
        run.exits(6).prints("").stderr_contains("error: no response to tools/call within 1 s");
        let answers = server.single_process().methods().into_iter().filter(|method| method == "answer").count();
        assert!(answers > 1, "{method}: it is answered all the same");
    }
}

/// MSG-04: progress extends the time limit only up to a maximum.
#[test]
fn a_server_that_reports_progress_for_ever_is_not_waited_for_as_long() {
    // On a busy machine progress or the list may be late, so this is tried again.
    for _ in 0..16 {
        let mcp = Arc::new(Mcp::legacy("2025-11-25"));
        let server = StdioServer::start(move |process, event| match event {
            ProcessEvent::Line(line) if line.contains("tools/call") => {
                let message: Value = serde_json::from_str(&line).unwrap();
                let token = message["params"]["_meta"]["progressToken"].clone();
                let process = process.clone();
                std::thread::spawn(move || {
                    // Repeated progress does not count.
                    for progress in 1.. {
                        if process.seen().has_ended {
                            return;
                        }
                        let params = json!({"progressToken": token, "progress": progress});
                        process.send(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
                        std::thread::sleep(Duration::from_millis(10));
                    }
                });
            }
            ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
            ProcessEvent::Eof => process.exit(0),
            _ => {}
        });
        let words = ["call", &server.target(), "echo", "text=hi", "--timeout", "150ms"];
        let run = Sandbox::new().mcpipe(words).run();
        run.exits(6).prints("");
        if run.stderr().contains("no response to tools/list") {
            continue;
        }
        run.stderr_contains("the tool may have run, or may still be running");
        run.stderr_contains("hint: wait longer with --timeout TIME");
        assert_eq!(server.single_process().methods().last().unwrap(), "notifications/cancelled");
        if run.stderr().contains("error: no response to tools/call within 9 s, despite its progress\n") {
            return;
        }
    }
    panic!("it never came to the end of all patience");
}

/// STD-02, HTM-01: in the modern era a server sends no requests, and the client never writes an answer.
#[test]
fn requests_of_a_modern_server_are_not_answered() {
    let mcp = || {
        Mcp::modern().on("tools/call", |call| {
            let mut outs = vec![asks("q1", "ping"), asks("q2", "elicitation/create"), asks("q3", "roots/list")];
            outs.push(ServerAction::Pause(Duration::from_millis(300)));
            outs.extend(call.text("done"));
            outs
        })
    };
    let sandbox = Sandbox::new();
    let call = |target: &str| {
        let words = ["call", target, "echo", "text=hi", "--elicit", "accept", "--root", ".", "-v"];
        let run = sandbox.mcpipe(words).run();
        run.exits(0)
            .prints("done\n")
            .stderr_contains("ignored the server's request ping: servers send no requests in this protocol revision");
    };
    let server = mcp().stdio();
    // The first run detects the era, the second one has it cached.
    for _ in 0..2 {
        call(&server.target());
    }
    for seen in server.wait_until_all_ended() {
        assert!(!seen.methods().contains(&"answer".to_owned()), "{:?}", seen.methods());
    }
    let server = mcp().http();
    for _ in 0..2 {
        call(&server.url("/mcp"));
    }
    assert!(!server.exchanges().contains(&"POST answer".to_owned()), "{:?}", server.exchanges());
}

/// A server that turns out to be legacy on the same pipe is answered.
#[test]
fn requests_of_a_legacy_server_are_answered_after_the_probe() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| {
        let done = call.response(json!({"content": [{"type": "text", "text": "done"}]}));
        let ping = json!({"jsonrpc": "2.0", "id": "p", "method": "ping"});
        vec![ServerAction::Request(
            ping,
            Box::new(move |answer| {
                assert_eq!(answer["result"], json!({}));
                vec![ServerAction::Send(done)]
            }),
        )]
    });
    let server = server.stdio();
    Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi"]).run().succeeds().prints("done\n");
}

/// A modern server that is replaced by another.
fn replaced(by: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> (HttpServer, Arc<AtomicBool>) {
    let list = |call: &ClientMessage| {
        let tools = crate::support::mcp::tools();
        call.result(json!({"tools": tools, "ttlMs": 600_000, "cacheScope": "private"}))
    };
    let modern = Mcp::modern().on("tools/list", list).http_script(LegacyHttpOptions::default());
    let other = Arc::new(AtomicBool::new(false));
    let is_other = other.clone();
    let script = move |request: &Request| if is_other.load(Ordering::SeqCst) { by(request) } else { modern(request) };
    (HttpServer::start(script), other)
}

/// A lenient legacy server carries out a modern call. Its response is no proof that it did not.
#[test]
fn a_lenient_server_of_another_era_gets_no_call_twice() {
    type Bad = fn(&Value) -> Reply;
    let cases: &[(&str, Bad, usize)] = &[
        ("-32000", |id| Reply::json(&error(id, -32000, "insufficient funds after partial transfer")), 1),
        ("-32602", |id| Reply::json(&error(id, -32602, "no such account, though the fee was taken")), 1),
        ("-32600", |id| Reply::json(&error(id, -32600, "Not initialized")), 2),
        ("-32601", |id| Reply::json(&error(id, -32601, "Method not found")), 2),
        ("400 -32000", |_| Reply::json(&error(&Value::Null, -32000, "Session required")).with_status(400), 2),
        ("404", |_| Reply::text("text/plain", "no session").with_status(404), 2),
        ("405", |_| Reply::status(405), 2),
    ];
    for (name, bad, calls) in cases {
        let (bad, legacy) = (*bad, Arc::new(Mcp::legacy("2025-11-25")));
        let (server, other) = replaced(move |request| match (request.method.as_str(), request.rpc_method().as_str()) {
            ("POST", "tools/call") if request.header("mcp-method").is_some() => bad(&request.id()),
            ("POST", "notifications/initialized") => Reply::accepted(),
            ("POST", _) => to_reply(&legacy, &request.json(), false),
            _ => Reply::status(405),
        });
        let sandbox = Sandbox::new();
        let call = || sandbox.mcpipe(["call", &server.url("/mcp"), "add", "a=1", "b=2"]).run();
        call().succeeds();
        other.store(true, Ordering::SeqCst);
        let run = call();
        assert_eq!(count(&server, "tools/call") - 1, *calls, "{name}: {:?} {run:?}", server.exchanges());
        if *calls == 1 {
            run.exits(1).prints("").stderr_contains("error: the server refused tools/call: ");
            run.stderr_contains("warning: the server now uses another kind of protocol revision; the call was not sent again, as it may have been carried out");
        } else {
            run.succeeds().prints("3\n");
        }
        // The era is cached now.
        let before = server.exchanges().len();
        call().succeeds().prints("3\n");
        assert_eq!(server.exchanges()[before], "POST initialize", "{name}");
    }
}

/// A process that exits at a modern call may have carried it out, unless it exits at any request before the handshake.
#[test]
fn a_process_that_ends_at_a_call_gets_it_again_only_where_it_cannot_have_read_it() {
    for (lenient, calls) in [(true, 1), (false, 2)] {
        let (modern, legacy) = (Arc::new(Mcp::modern()), Arc::new(Mcp::legacy("2025-11-25")));
        let server = StdioServer::start(move |process, event| match event {
            ProcessEvent::Line(line) => {
                let message: Value = serde_json::from_str(&line).unwrap();
                let mcp = if process.n == 0 { &modern } else { &legacy };
                let early = process.n > 0 && message["params"]["_meta"].to_string().contains("2026-07-28");
                match message["method"].as_str() {
                    Some("tools/call") if early => process.exit(3),
                    Some("server/discover") if early && !lenient => process.exit(3),
                    _ => play_actions(mcp, process, mcp.handle(&message)),
                }
            }
            ProcessEvent::Eof => process.exit(0),
            ProcessEvent::Started | ProcessEvent::Signal(_) => {}
        });
        let sandbox = Sandbox::new();
        sandbox.mcpipe(["list", &server.target()]).run().succeeds();
        let run =
            sandbox.mcpipe(["call", &server.target(), "add", "--args", "{\"a\":1,\"b\":2}", "--no-validate"]).run();
        let methods: Vec<String> = server.wait_until_all_ended().iter().flat_map(|seen| seen.methods()).collect();
        assert_eq!(methods.iter().filter(|name| *name == "tools/call").count(), calls, "{methods:?} {run:?}");
        if lenient {
            run.exits(5)
                .prints("")
                .stderr_contains("the server process ended")
                .stderr_contains("the tool may have run");
        } else {
            run.succeeds().prints("3\n");
        }
    }
}

/// A probe that was never answered no longer waits after the handshake: an error without an ID belongs to the only
/// pending request.
#[test]
fn an_error_without_an_id_is_that_of_the_only_request() {
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) if line.contains("server/discover") => {}
        ProcessEvent::Line(line) if line.contains("tools/call") => {
            process.send(&error(&Value::Null, -32603, "lost it"))
        }
        ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let words = ["call", &server.target(), "echo", "text=hi", "--timeout", "10s"];
    Sandbox::new()
        .mcpipe(words)
        .run()
        .exits(1)
        .prints("")
        .stderr_contains("the server refused tools/call: lost it (code -32603)");
}

/// A server that cannot start: the first start shows it, and a second one shows whether the probe was the cause.
#[test]
fn a_process_that_cannot_start_is_started_twice_at_most() {
    let broken = Arc::new(AtomicBool::new(true));
    let is_broken = broken.clone();
    let legacy = Arc::new(Mcp::legacy("2025-11-25"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Started if is_broken.load(Ordering::SeqCst) => {
            process.write_stderr("FATAL: no key\n");
            process.exit(1);
        }
        ProcessEvent::Line(line) => {
            play_actions(&legacy, process, legacy.handle(&serde_json::from_str(&line).unwrap()))
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sandbox = Sandbox::new();
    let starts = |words: &[&str], code: i32| {
        let before = server.processes().len();
        let run = sandbox.mcpipe(["list", &server.target(), "--retries", "0"]).args(words.to_vec()).run();
        run.exits(code);
        if code != 0 {
            run.stderr_contains("error: the server process ended (exit status: 1)").stderr_contains("FATAL: no key");
        }
        server.wait_until_all_ended().len() - before
    };
    assert_eq!(starts(&[], 5), 2, "nothing is known of it");
    assert_eq!(starts(&["--protocol", "legacy"], 5), 1, "there is nothing to find out");
    broken.store(false, Ordering::SeqCst);
    assert_eq!(starts(&[], 0), 1);
    broken.store(true, Ordering::SeqCst);
    assert_eq!(starts(&[], 5), 1, "it is known, and was not asked for anything that it would not know");
    // It may be another server now, so it is probed again.
    assert_eq!(starts(&[], 5), 2);
}

/// Starting and negotiating have one time limit, however often a process is started.
#[test]
fn all_starts_share_one_connect_timeout() {
    let server = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            std::thread::sleep(Duration::from_secs(2));
            process.write_stderr("FATAL: no key\n");
            process.exit(1);
        }
    });
    let words = ["list", &server.target(), "--connect-timeout", "3s", "--retries", "0"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(6)
        .prints("")
        .stderr_contains("error: the server did not respond within 3 s of its start\n  no response to initialize\n");
    run.stderr_contains("the server process ended");
    run.stderr_contains("FATAL: no key").stderr_contains("hint: wait longer with --connect-timeout TIME");
    assert!(run.elapsed < Duration::from_millis(5500), "{run:?}");
}

/// MSG-02: a `resultType` of null counts as absent.
#[test]
fn a_null_in_the_place_of_a_result_type_is_none() {
    let result = json!({"resultType": null, "content": [{"type": "text", "text": "hi"}]});
    let server = Mcp::modern().on("tools/call", move |call| call.result(result.clone()));
    let server = server.stdio();
    Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi"]).run().succeeds().prints("hi\n");
}

/// HTM-07: headers that do not match the tool are built again from a fresh list, once.
#[test]
fn mismatched_headers_are_rebuilt_once() {
    for (refusals, code, calls) in [(1, 0, 2), (99, 1, 2)] {
        let (good, seen) = (Mcp::modern().http_script(LegacyHttpOptions::default()), AtomicUsize::new(0));
        let server = HttpServer::start(move |request| {
            if request.rpc_method() == "tools/call" && seen.fetch_add(1, Ordering::SeqCst) < refusals {
                return Reply::json(&error(&request.id(), -32020, "Header mismatch")).with_status(400);
            }
            good(request)
        });
        let run = Sandbox::new().mcpipe(["call", &server.url("/"), "add", "a=1", "b=2", "--retries", "5"]).run();
        run.exits(code);
        let expected = ["POST tools/list", "POST tools/call", "POST tools/list", "POST tools/call"];
        assert_eq!(server.exchanges(), expected);
        assert_eq!(count(&server, "tools/call"), calls);
    }
}

/// ERA-09: a version that is rejected although it is listed is offered once more, but not again.
#[test]
fn another_version_is_offered_only_once() {
    let refusing = |times: usize, listed: &'static [&'static str]| {
        let (good, seen) = (Mcp::modern().http_script(LegacyHttpOptions::default()), AtomicUsize::new(0));
        HttpServer::start(move |request| {
            if seen.fetch_add(1, Ordering::SeqCst) >= times {
                return good(request);
            }
            let data = json!({"supported": listed, "requested": "2026-07-28"});
            let mut refusal = error(&request.id(), -32022, "Unsupported protocol version");
            refusal["error"]["data"] = data;
            Reply::json(&refusal).with_status(400)
        })
    };
    let list = |server: &HttpServer| Sandbox::new().mcpipe(["list", &server.url("/"), "--retries", "5"]).run();
    let once = refusing(1, &["2026-07-28"]);
    list(&once).succeeds();
    assert_eq!(once.exchanges(), ["POST tools/list", "POST tools/list"]);
    let ever = refusing(99, &["2026-07-28", "2027-01-01"]);
    list(&ever).exits(7).stderr_contains("error: the server refuses revision 2026-07-28, although it lists it");
    assert_eq!(ever.exchanges(), ["POST tools/list", "POST tools/list"]);
    let never = refusing(99, &["2027-01-01"]);
    list(&never)
        .exits(7)
        .stderr_contains("the server supports 2027-01-01")
        .stderr_contains("mcpipe supports 2024-11-05");
    assert_eq!(never.exchanges(), ["POST tools/list"]);
}
