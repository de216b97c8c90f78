//! Retries: what is repeated, what never is, and when.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mcp_http::{LegacyHttpOptions, to_reply};
use crate::support::sockets::forward_to_port;
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Sandbox, StdioServer};

/// A modern server whose first answers to this method are made by `bad`, as often as said.
fn faulty(method: &'static str, times: usize, bad: impl Fn(&Value) -> Reply + Send + Sync + 'static) -> HttpServer {
    let (good, count) = (Mcp::modern().http_script(LegacyHttpOptions::default()), AtomicUsize::new(0));
    HttpServer::start(move |request| {
        if request.rpc_method() == method && count.fetch_add(1, Ordering::SeqCst) < times {
            return bad(&request.json());
        }
        good(request)
    })
}

fn count(server: &HttpServer, method: &str) -> usize {
    server.requests().iter().filter(|request| request.rpc_method() == method).count()
}

fn busy(_: &Value) -> Reply {
    Reply::status(503)
}

#[test]
fn what_changes_nothing_is_tried_three_times() {
    let sandbox = Sandbox::new();
    let server = faulty("tools/list", 2, busy);
    let run = sandbox.mcpipe(["list", &server.url("/"), "--json"]).run();
    assert_eq!(run.succeeds().json()["tools"].as_array().unwrap().len(), 5);
    assert_eq!(count(&server, "tools/list"), 3);

    let server = faulty("resources/read", 1, |_| Reply::disconnect());
    let read = sandbox.mcpipe(["read", &server.url("/"), "demo://hello", "-v"]).run();
    read.exits(0)
        .prints("hello\n")
        .stderr_contains("the connection was lost: trying resources/read again in 0.")
        .stderr_contains("(1 of 2)");

    let server = faulty("tools/list", 3, busy);
    let run = sandbox.mcpipe(["list", &server.url("/"), "--json"]).run();
    run.exits(5);
    assert_eq!((count(&server, "tools/list"), run.json_error()["class"].as_str()), (3, Some("unreachable")));
    let (least, most) = (Duration::from_millis(450), Duration::from_secs(5));
    assert!(run.elapsed > least && run.elapsed < most, "{run:?}");

    let refused = sandbox.mcpipe(["list", "http://127.0.0.1:1/", "-v"]).run();
    refused
        .exits(5)
        .stderr_contains("the server could not be reached: trying tools/list again in")
        .stderr_contains("(2 of 2)");
}

#[test]
fn retries_says_how_often() {
    let sandbox = Sandbox::new();
    for (retries, requests) in [("0", 1), ("1", 2), ("3", 4)] {
        let server = faulty("tools/list", 9, busy);
        sandbox.mcpipe(["list", &server.url("/"), "--retries", retries]).run().exits(5);
        assert_eq!(count(&server, "tools/list"), requests, "--retries {retries}");
    }
    // A permanent failure is not retried.
    for status in [401, 403, 404, 500, 501] {
        let server = faulty("tools/list", 9, move |_| Reply::status(status));
        let run = sandbox.mcpipe(["list", &server.url("/"), "--retries", "3", "--protocol", "2026-07-28"]).run();
        assert_ne!(run.code(), 0);
        assert_eq!(count(&server, "tools/list"), 1, "HTTP {status}");
    }
}

#[test]
fn a_call_that_was_turned_away_unread_is_sent_again_and_said() {
    let sandbox = Sandbox::new();
    for status in [429, 503] {
        let server = faulty("tools/call", 1, move |_| Reply::status(status).header("Retry-After", "1"));
        let run = sandbox.mcpipe(["call", &server.url("/"), "add", "a=1", "b=2"]).run();
        run.exits(0).prints("3\n");
        run.stderr_contains("mcpipe: warning: the server asked to retry later: trying tools/call again in 1.")
            .stderr_contains("(1 of 2)");
        assert!(run.elapsed >= Duration::from_secs(1), "Retry-After is honoured: {run:?}");
        assert_eq!(count(&server, "tools/call"), 2);
    }
    let server = faulty("tools/call", 1, |_| Reply::status(429));
    let run = sandbox.mcpipe(["call", &server.url("/"), "add", "a=1", "b=2", "--json"]).run();
    run.exits(0);
    let warning: Value = serde_json::from_str(run.stderr().lines().next().unwrap()).unwrap();
    let said = warning["warning"].as_str().unwrap();
    assert!(said.starts_with("the server could not accept the request: trying tools/call again in"), "{warning}");
}

/// What a call or the update of a task contains for the server's request for input.
fn input_of(server: &HttpServer, method: &str) -> Vec<Value> {
    let requests = server.requests().into_iter().filter(|request| request.rpc_method() == method);
    requests
        .map(|request| {
            let params = &request.json()["params"];
            json!([params["inputResponses"]["who"]["action"], params["requestState"]])
        })
        .collect()
}

/// Only the request with the answers is sent again: those before it were processed, and nobody is asked twice.
#[test]
fn an_answer_that_was_turned_away_unread_is_sent_again() {
    let form = json!({"mode": "form", "message": "Pay?", "requestedSchema": {"type": "object", "properties": {}}});
    let asked = json!({"who": {"method": "elicitation/create", "params": form}});
    let requests = asked.clone();
    let script = Mcp::modern()
        .on("tools/call", move |call| match call.params().get("inputResponses") {
            None => {
                let state = format!("s{}", call.n);
                call.result(json!({"resultType": "input_required", "inputRequests": requests, "requestState": state}))
            }
            Some(_) => call.text("paid"),
        })
        .http_script(LegacyHttpOptions::default());
    let answers = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| {
        let is_answer = request.rpc_method() == "tools/call" && request.text().contains("inputResponses");
        if is_answer && answers.fetch_add(1, Ordering::SeqCst) == 0 { Reply::status(429) } else { script(request) }
    });
    let words = ["call", &server.url("/"), "add", "a=1", "b=2", "--elicit", "accept"];
    Sandbox::new().mcpipe(words).run().exits(0).prints("paid\n");
    let answer = json!(["accept", "s0"]);
    assert_eq!(input_of(&server, "tools/call"), [json!([null, null]), answer.clone(), answer]);

    // The same for a task.
    let task = |status: &str| json!({"taskId": "t", "status": status, "pollIntervalMs": 20, "resultType": "task"});
    let script = Mcp::modern()
        .capabilities(json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}))
        .on("tools/call", move |call| call.result(task("working")))
        .on("tasks/get", move |call| match call.n {
            0 => {
                let mut waits = task("input_required");
                waits["inputRequests"] = asked.clone();
                call.result(waits)
            }
            _ => {
                let mut done = task("completed");
                done["result"] = json!({"content": [{"type": "text", "text": "paid"}]});
                call.result(done)
            }
        })
        .on("tasks/update", |call| call.result(json!({})))
        .http_script(LegacyHttpOptions::default());
    let updates = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tasks/update" if updates.fetch_add(1, Ordering::SeqCst) == 0 => Reply::status(429),
        _ => script(request),
    });
    let words = ["call", &server.url("/"), "add", "a=1", "b=2", "--elicit", "accept"];
    Sandbox::new().mcpipe(words).run().exits(0).prints("paid\n");
    assert_eq!(input_of(&server, "tasks/update"), [json!(["accept", null]), json!(["accept", null])]);
}

#[test]
fn a_call_that_may_have_arrived_is_never_sent_twice() {
    let sandbox = Sandbox::new();
    let half =
        |_: &Value| Reply::raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{");
    let answered = |message: &Value| {
        let error = json!({"code": -32000, "message": "in trouble"});
        let body = json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
        Reply::json(&body).with_status(503).header("Retry-After", "0")
    };
    type Fault = fn(&Value) -> Reply;
    let faults: [(Fault, i32); 6] = [
        (|_| Reply::disconnect(), 5),
        (half, 5),
        (|_| Reply::status(502), 5),
        // A server that does not say when to come back may have failed in the middle of the call.
        (|_| Reply::status(503), 5),
        (|_| Reply::status(504), 5),
        (answered, 5),
    ];
    for (n, (bad, code)) in faults.into_iter().enumerate() {
        for words in [&[][..], &["--retries", "3"], &["--wait", "2s"]] {
            let server = faulty("tools/call", 1, bad);
            let run = sandbox.mcpipe(["call", &server.url("/"), "add", "a=1", "b=2"]).args(words).run();
            run.exits(code);
            assert_eq!(count(&server, "tools/call"), 1, "fault {n}, {words:?}: {run:?}");
            if n < 5 {
                run.stderr_contains("\n  the tool may have run, or may still be running\n");
            } else {
                run.hides("may have run");
            }
        }
    }
}

#[test]
fn a_call_that_never_arrived_cannot_have_run() {
    let sandbox = Sandbox::new();
    let server = faulty("tools/call", 9, |_| Reply::status(429));
    let call = |url: &str| sandbox.mcpipe(["call", url, "add", "a=1", "b=2", "--retries", "0"]).run();
    call(&server.url("/")).exits(5).stderr_contains("too many requests").hides("may have run");
    // The list is cached, and the server is gone.
    let list = |call: &crate::support::ClientMessage| {
        let tools = crate::support::mcp::tools();
        call.result(json!({"tools": tools, "ttlMs": 600_000, "cacheScope": "private"}))
    };
    let server = Mcp::modern().on("tools/list", list).http();
    let url = server.url("/");
    call(&url).succeeds();
    drop(server);
    call(&url).exits(5).stderr_contains("cannot connect to").hides("may have run");
}

#[test]
fn a_tool_that_says_so_is_repeated_where_the_user_asks_for_it() {
    let sandbox = Sandbox::new();
    // `echo` declares that it only reads, `put` that it is idempotent, `add` nothing.
    let tools = |hints: Value| json!([{"name": "t", "inputSchema": {"type": "object"}, "annotations": hints}]);
    for (hints, words, calls) in [
        (json!({"readOnlyHint": true}), &["--retries", "1"][..], 2),
        (json!({"idempotentHint": true}), &["--retries", "1"], 2),
        (json!({"idempotentHint": true}), &[], 1),
        (json!({"idempotentHint": false}), &["--retries", "1"], 1),
        (json!({"readOnlyHint": true}), &["--retries", "1", "--no-validate"], 1),
    ] {
        let mcp = Mcp::modern().tools(tools(hints.clone())).on("tools/call", |call| call.text("done"));
        let (good, first) = (mcp.http_script(LegacyHttpOptions::default()), AtomicUsize::new(0));
        let server = HttpServer::start(move |request| {
            let fails = request.rpc_method() == "tools/call" && first.fetch_add(1, Ordering::SeqCst) == 0;
            if fails { Reply::disconnect() } else { good(request) }
        });
        let run = sandbox.mcpipe(["call", &server.url("/"), "t"]).args(words).run();
        run.exits(if calls == 2 { 0 } else { 5 });
        assert_eq!(count(&server, "tools/call"), calls, "{hints} {words:?}");
        if calls == 2 {
            run.stderr_contains("warning: the connection was lost: trying tools/call again in");
        }
    }
}

#[test]
fn a_server_that_asks_for_more_time_than_anybody_has_is_believed() {
    let sandbox = Sandbox::new();
    let server = faulty("tools/list", 9, |_| Reply::status(503).header("Retry-After", "3600"));
    let run = sandbox.mcpipe(["list", &server.url("/")]).run();
    run.exits(5).stderr_contains("hint: try again in 3600 s");
    assert_eq!(count(&server, "tools/list"), 1);
    let body = |message: &Value| {
        let error = json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32000, "message": "slow down"}});
        Reply::json(&error).with_status(429).header("Retry-After", "90")
    };
    let server = faulty("tools/list", 9, body);
    let run = sandbox.mcpipe(["list", &server.url("/")]).run();
    run.exits(5).stderr_contains("slow down").stderr_contains("hint: try again in 90 s");
    assert_eq!(count(&server, "tools/list"), 1);
}

#[test]
fn no_server_makes_anybody_wait_longer_than_they_said() {
    let sandbox = Sandbox::new();
    let server = faulty("tools/list", 9, |_| Reply::status(429).header("Retry-After", "3"));
    let run = sandbox.mcpipe(["list", &server.url("/"), "--timeout", "2"]).run();
    run.exits(5).stderr_contains("hint: try again in 3 s");
    assert_eq!(count(&server, "tools/list"), 1);
}

#[test]
fn wait_tries_until_the_server_listens() {
    for target in ["http://docker/mcp", "unix:s"] {
        let sandbox = Sandbox::new();
        let path = sandbox.work().join("s");
        let server = Mcp::modern().http();
        let mut command = sandbox.mcpipe(["call", target, "echo", "text=hi", "--wait", "20s"]);
        if target.starts_with("http") {
            command = command.args(["--unix-socket", "s"]);
        }
        let running = command.start();
        std::thread::sleep(Duration::from_millis(700));
        if target.starts_with("http") {
            forward_to_port(&path, server.address())
        } else {
            drop(Mcp::modern().unix(&path))
        }
        let run = running.wait();
        run.succeeds().prints("hi\n");
        assert!(run.elapsed >= Duration::from_millis(700));
    }
}

#[test]
fn wait_tries_again_while_a_socket_refuses_connections() {
    let sandbox = Sandbox::new();
    let path = sandbox.work().join("s");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let running = sandbox.mcpipe(["call", "unix:s", "echo", "text=hi", "--wait", "20s", "-v"]).start();
    let end = Instant::now() + Duration::from_secs(10);
    while !running.stderr_so_far().contains("refused") && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
    }
    std::fs::remove_file(&path).unwrap();
    drop(Mcp::modern().unix(&path));
    running.wait().exits(0).prints("hi\n");
}

#[test]
fn wait_starts_a_server_again_that_is_not_up_yet_and_calls_once() {
    let (mcp, starts) = (Arc::new(Mcp::modern()), AtomicUsize::new(0));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Started if starts.fetch_add(1, Ordering::SeqCst) < 5 => {
            process.write_stderr("the database is not there yet\n");
            process.exit(1);
        }
        ProcessEvent::Line(line) => {
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap()));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.target(), "add", "a=1", "b=2", "--wait", "20s"]).run().succeeds().prints("3\n");
    let calls = server
        .wait_until_all_ended()
        .iter()
        .flat_map(|seen| seen.methods())
        .filter(|method| method == "tools/call")
        .count();
    assert_eq!(calls, 1);
}

#[test]
fn a_process_that_ends_is_not_started_again_unasked() {
    let start = || {
        StdioServer::start(|process, event| {
            if event == ProcessEvent::Started {
                process.exit(3)
            }
        })
    };
    let sandbox = Sandbox::new();
    let starts = |words: &[&str]| {
        let server = start();
        sandbox
            .mcpipe(["list", &server.target()])
            .args(words)
            .run()
            .exits(5)
            .stderr_contains("the server process ended");
        server.wait_until_all_ended().len()
    };
    let usual = starts(&[]);
    assert_eq!(starts(&["--retries", "1"]), usual * 2);
}

#[test]
fn wait_has_an_end_and_can_be_interrupted() {
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["list", "unix:none", "--wait", "700ms", "--retries", "0"]).run();
    run.exits(5).stderr_contains("it was not ready within 700 ms");
    assert!(run.elapsed >= Duration::from_millis(700) && run.elapsed < Duration::from_secs(4), "{run:?}");
    for words in [["--wait", "60s"], ["--retries", "9"]] {
        let running = sandbox.mcpipe(["list", "unix:none"]).args(words).start();
        std::thread::sleep(Duration::from_millis(600));
        running.signal(rustix::process::Signal::INT);
        let run = running.wait();
        run.exits(130);
        assert!(run.elapsed < Duration::from_secs(3), "{run:?}");
    }
}

/// A server that answers its first requests with `bad`.
fn booting(mcp: Mcp, times: usize, bad: impl Fn() -> Reply + Send + Sync + 'static) -> HttpServer {
    let (good, count) = (mcp.http_script(LegacyHttpOptions::default()), AtomicUsize::new(0));
    HttpServer::start(move |request| match request.method.as_str() {
        "POST" if count.fetch_add(1, Ordering::SeqCst) < times => bad(),
        // The attempt to use HTTP+SSE after a 404.
        "GET" => Reply::status(405),
        _ => good(request),
    })
}

#[test]
fn wait_tolerates_a_proxy_before_a_starting_server() {
    for status in [404, 429, 502, 503, 504] {
        for mcp in [Mcp::modern, || Mcp::legacy("2025-11-25")] {
            let sandbox = Sandbox::new();
            let server = booting(mcp(), 5, move || Reply::status(status));
            let run = sandbox.mcpipe(["call", &server.url("/"), "add", "a=1", "b=2", "--wait", "20s"]).run();
            run.succeeds().prints("3\n");
            assert_eq!(count(&server, "tools/call"), 1, "HTTP {status}");
            let server = booting(mcp(), 5, move || Reply::status(status));
            let about = sandbox.mcpipe(["list", &server.url("/"), "--info", "--wait", "20s"]).run();
            about.succeeds();
        }
    }
    // A permanent failure is reported at once.
    for (status, code) in [(401, 4), (403, 4), (500, 5), (301, 5)] {
        let server = booting(Mcp::modern(), 99, move || Reply::status(status).header("Location", "http://h.invalid/"));
        let run = Sandbox::new().mcpipe(["list", &server.url("/"), "--wait", "30s"]).run();
        run.exits(code);
        assert!(run.elapsed < Duration::from_secs(5), "{run:?}");
    }
}

#[test]
fn wait_asks_a_known_server_for_something_harmless_before_it_calls() {
    let sandbox = Sandbox::new();
    let (good, bad) = (Mcp::modern().http_script(LegacyHttpOptions::default()), AtomicUsize::new(0));
    let bad = Arc::new(bad);
    let left = bad.clone();
    let server = HttpServer::start(move |request| {
        let starting = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        if starting { Reply::status(503) } else { good(request) }
    });
    let call = ["call", &server.url("/"), "echo", "text=hi"];
    sandbox.mcpipe(call).run().succeeds();
    bad.store(4, Ordering::SeqCst);
    let run = sandbox.mcpipe(call).args(["--wait", "20s"]).run();
    run.succeeds().prints("hi\n");
    assert_eq!(count(&server, "tools/call"), 2, "one a run");
}

#[test]
fn wait_outlasts_a_server_that_is_mute() {
    let sandbox = Sandbox::new();
    let server = booting(Mcp::modern(), 2, Reply::never);
    let words = ["call", &server.url("/"), "add", "a=1", "b=2", "--wait", "30s", "--connect-timeout", "300ms"];
    sandbox.mcpipe(words).run().succeeds().prints("3\n");

    let mute = StdioServer::start(|_, _| {});
    let run = sandbox.mcpipe(["call", &mute.target(), "x", "--wait", "2s", "--connect-timeout", "300ms"]).run();
    run.exits(6)
        .stderr_contains("error: the server did not respond within ")
        .stderr_contains(" of its start\n  no response to server/discover\n");
    run.stderr_contains("it was not ready within 2 s");
    assert!(run.elapsed > Duration::from_millis(1700) && run.elapsed < Duration::from_secs(6), "{run:?}");
    assert!(mute.wait_until_all_ended().len() > 1, "it was started again");

    let silent = HttpServer::start(|_| Reply::never());
    for target in [silent.url("/"), StdioServer::start(|_, _| {}).target()] {
        let run = sandbox.mcpipe(["call", &target, "x", "--wait", "1s", "--connect-timeout", "30s"]).run();
        run.exits(6).stderr_contains("it was not ready within 1 s");
        assert!(run.elapsed < Duration::from_secs(5), "no attempt outlasts the wait: {run:?}");
    }
}

#[test]
fn a_refusal_is_not_retried() {
    let sandbox = Sandbox::new();
    let mcp = Arc::new(Mcp::modern().on("tools/list", |call| call.error(-32603, "broken")));
    let server = HttpServer::start(move |request| to_reply(&mcp, &request.json(), false));
    sandbox
        .mcpipe(["list", &server.url("/"), "--retries", "5", "--wait", "5s", "--protocol", "2026-07-28"])
        .run()
        .exits(1)
        .stderr_contains("broken");
    assert_eq!(count(&server, "tools/list"), 1, "{:?}", server.exchanges());
}
