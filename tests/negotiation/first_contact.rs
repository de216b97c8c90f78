//! First contact over HTTP: a server that stays silent, fails, or answers without a mark of its era, and which refusal is
//! reported if nothing works.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp_http::{LegacyHttpOptions, to_reply};
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Request, Sandbox, StdioServer};

fn rpc_error(request: &Request, code: i64, message: &str) -> Reply {
    Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "error": {"code": code, "message": message}}))
}

/// ERA-12
#[test]
fn a_server_that_is_silent_before_the_handshake_gets_one() {
    for words in [&["list", "--json"][..], &["read", "demo://hello"], &["call", "echo", "text=hi"]] {
        let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.header("mcp-method") {
            Some(_) => Reply::never(),
            None => script(request),
        });
        let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
        let words = [&words[..1], &[url.as_str()], &words[1..]].concat();
        let run = || sandbox.mcpipe(&words).args(["--connect-timeout", "8s"]).run();
        run().succeeds();
        // The era is cached.
        let before = server.exchanges().len();
        run().succeeds();
        assert_eq!(server.exchanges()[before], "POST initialize", "{words:?}");
    }
}

#[test]
fn a_server_that_is_always_silent_times_out_within_the_connect_timeout() {
    let server = HttpServer::start(|_| Reply::never());
    let url = server.url("/mcp");
    for words in [&["read", &url, "demo://x"][..], &["session", "start", &url], &["request", &url, "server/discover"]] {
        let run = Sandbox::new().mcpipe(words).args(["--connect-timeout", "1s", "--retries", "0"]).run();
        run.exits(6)
            .prints("")
            .stderr_contains("error: the server did not respond within 1 s\n  no response to server/discover\n")
            .stderr_contains("hint: wait longer with --connect-timeout TIME");
        assert!(run.elapsed < Duration::from_secs(7), "{run:?}");
    }
}

#[test]
fn http_500_at_the_first_request_hints_at_the_handshake() {
    for words in [&["list"][..], &["read", "demo://hello"]] {
        let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.header("mcp-method") {
            Some(_) => Reply::text("text/plain", "KeyError: 'session'").with_status(500),
            None => script(request),
        });
        let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
        let words = [&words[..1], &[url.as_str()], &words[1..]].concat();
        let run = sandbox.mcpipe(&words).run();
        run.exits(5).prints("").stderr_contains("the server failed (HTTP 500)").stderr_contains("KeyError");
        run.stderr_contains("hint: see the server's log; if it is an older server, try --protocol legacy\n");
        sandbox.mcpipe(&words).args(["--protocol", "legacy"]).run().succeeds();
    }
}

/// A server of an older revision that answers requests before the handshake.
fn lenient() -> HttpServer {
    let mcp = Arc::new(Mcp::legacy("2025-06-18").page_size(2));
    HttpServer::start(move |request| match (request.method.as_str(), request.rpc_method().as_str()) {
        ("POST", "initialize") => to_reply(&mcp, &request.json(), false).header("Mcp-Session-Id", "s"),
        ("POST", "notifications/initialized") => Reply::accepted(),
        ("POST", _) => to_reply(&mcp, &request.json(), false),
        ("DELETE", _) => Reply::status(200),
        _ => Reply::status(405),
    })
}

#[test]
fn a_server_whose_answer_has_no_mark_of_its_era_is_asked_to_shake_hands() {
    let (sandbox, server) = (Sandbox::new(), lenient());
    let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--json", "--root", "."]).run();
    assert_eq!(run.succeeds().json()["tools"].as_array().unwrap().len(), 5);
    // The first page is not requested again, and the second one is requested in the session.
    assert_eq!(
        server.exchanges(),
        [
            "POST tools/list",
            "POST initialize",
            "POST notifications/initialized",
            "GET",
            "POST tools/list",
            "POST tools/list",
            "DELETE"
        ]
    );
    let requests = server.requests();
    assert!(requests[1].json()["params"]["capabilities"]["roots"].is_object(), "{:?}", requests[1]);
    assert_eq!(requests[4].header("mcp-session-id"), Some("s"));
    assert!(requests[4].json()["params"]["cursor"].is_string());
    // The era is cached.
    sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--no-validate"]).run().succeeds().prints("hi\n");
    assert_eq!(server.exchanges()[7], "POST initialize");
}

#[test]
fn a_server_without_marks_that_knows_no_handshake_is_modern() {
    for status in [200, 404] {
        let mcp = Arc::new(Mcp::legacy("2025-06-18"));
        let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
            "initialize" => rpc_error(request, -32601, "Method not found").with_status(status),
            _ => to_reply(&mcp, &request.json(), false),
        });
        let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
        sandbox.mcpipe(["call", &url, "echo", "text=hi"]).run().succeeds().prints("hi\n");
        assert_eq!(server.exchanges(), ["POST tools/list", "POST initialize", "POST tools/call"]);
        sandbox.mcpipe(["list", &url]).run().succeeds();
        assert_eq!(server.exchanges()[3..], ["POST tools/list"]);
    }
}

/// The server's first response is reported as the cause, not that it does not know the handshake that was tried next.
#[test]
fn the_first_refusal_is_reported_if_the_handshake_is_unknown() {
    type First = fn(&Request) -> Reply;
    let cases: &[(First, i32, &str)] = &[
        (
            |_| Reply::text("text/plain", "Blocked here").with_status(451),
            7,
            "refused tools/list (HTTP 451)\n  response: Blocked here\n",
        ),
        (
            |_| Reply::text("text/plain", "Too large").with_status(413),
            7,
            "refused tools/list (HTTP 413)\n  response: Too large\n",
        ),
        (|_| Reply::status(415), 7, "error: the server refused tools/list (HTTP 415)\n"),
        (
            |_| Reply::text("text/plain", "Locked").with_status(423),
            7,
            "refused tools/list (HTTP 423)\n  response: Locked\n",
        ),
        (|_| Reply::status(202), 7, "error: the server accepted tools/list but sent no response (HTTP 202)\n"),
        (|_| Reply::status(204), 7, "error: the server accepted tools/list but sent no response (HTTP 204)\n"),
        (
            |request| Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "result": null})),
            7,
            "error: the response to tools/list is not a valid result: null\n",
        ),
        (
            |request| rpc_error(request, -32099, "License expired"),
            1,
            "error: the server refused tools/list: License expired (code -32099)\n",
        ),
    ];
    for (first, code, message) in cases {
        for handshake in [200, 404] {
            let first = *first;
            let server =
                HttpServer::start(move |request| match (request.method.as_str(), request.rpc_method().as_str()) {
                    ("POST", "initialize") if handshake == 404 => Reply::status(404),
                    ("POST", "initialize") => rpc_error(request, -32601, "Method not found"),
                    ("POST", _) => first(request),
                    _ => Reply::status(405),
                });
            let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--retries", "0"]).run();
            run.exits(*code).prints("").stderr_contains(message).hides("refused initialize");
        }
    }
}

#[test]
fn words_of_a_process_that_ends_at_the_first_request_are_reported() {
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "server/discover" {
                process.write_stderr("FATAL: license expired\n");
                process.exit(3);
            } else {
                let error = json!({"code": -32601, "message": "Method not found"});
                process.send(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--retries", "0"]).run();
    run.exits(5)
        .prints("")
        .stderr_contains("error: the server process ended (exit status: 3)")
        .stderr_contains("FATAL: license expired")
        .hides("refused initialize");
}

/// A server behind a stream that ignores `server/discover`, or answers it only after this refusal of `initialize`.
fn silent_at_first(code: i64, message: &'static str, is_slow: bool) -> StdioServer {
    let mcp = Arc::new(Mcp::modern());
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let asked: Value = serde_json::from_str(&line).unwrap();
            match asked["method"].as_str() {
                Some("server/discover") => {}
                Some("initialize") => {
                    let error = json!({"code": code, "message": message});
                    process.send(&json!({"jsonrpc": "2.0", "id": asked["id"], "error": error}));
                    let seen = process.seen().messages();
                    if let Some(probe) =
                        seen.iter().find(|asked| asked["method"] == "server/discover").filter(|_| is_slow)
                    {
                        crate::support::mcp::play_actions(&mcp, process, mcp.handle(probe));
                    }
                }
                _ => crate::support::mcp::play_actions(&mcp, process, mcp.handle(&asked)),
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    })
}

#[test]
fn a_refused_handshake_is_reported_although_the_probe_is_unanswered() {
    let list = |server: &StdioServer, timeout: &str| {
        let args = ["list", &server.target(), "--connect-timeout", timeout, "--retries", "0"];
        Sandbox::new().mcpipe(args).run()
    };
    // It has another reason than the era, so nothing else is waited for.
    let run = list(&silent_at_first(-32000, "API key missing", false), "30s");
    run.exits(1).prints("").stderr_contains("error: the server refused initialize: API key missing (code -32000)\n");
    assert!(run.elapsed < Duration::from_secs(20), "{run:?}");
    let server = HttpServer::start(|request| match request.rpc_method().as_str() {
        "initialize" => rpc_error(request, -32000, "API key missing"),
        _ => Reply::never(),
    });
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "demo://hello", "--retries", "0"]).run();
    run.exits(1).prints("").stderr_contains(": the server refused initialize: API key missing (code -32000)\n");
    assert!(run.elapsed < Duration::from_secs(20), "{run:?}");
    // A server without a handshake may still answer.
    let run = list(&silent_at_first(-32601, "Method not found", false), "5s");
    run.exits(1).prints("").stderr_contains("error: the server refused initialize: Method not found (code -32601)\n");
    let run = list(&silent_at_first(-32601, "Method not found", true), "30s");
    run.succeeds().stdout_contains("echo\t");
}

/// A server that shakes hands, and never answers `initialized`.
fn silent_at_initialized() -> HttpServer {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    HttpServer::start(move |request| {
        if request.method == "POST" && request.rpc_method() == "notifications/initialized" {
            return Reply::never();
        }
        script(request)
    })
}

/// What a run waits for the answer at most, unless something shortens it.
const INITIALIZED_TIMEOUT: Duration = Duration::from_secs(5);

#[test]
fn the_answer_to_initialized_is_awaited_as_long_as_the_connection() {
    let server = silent_at_initialized();
    let call = |more: &[&str]| {
        let sandbox = Sandbox::new();
        sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi"]).args(more.to_vec()).run()
    };
    let run = call(&["--connect-timeout", "100ms"]);
    run.exits(0).prints("hi\n");
    assert!(run.elapsed < INITIALIZED_TIMEOUT, "{run:?}");
    let run = call(&[]);
    run.exits(0).prints("hi\n");
    assert!(run.elapsed >= INITIALIZED_TIMEOUT, "{run:?}");
}

#[test]
fn an_interrupt_ends_the_wait_for_the_answer_to_initialized() {
    let server = silent_at_initialized();
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=hi"]).start();
    server.wait_for("initialized", |request| {
        request.method == "POST" && request.rpc_method() == "notifications/initialized"
    });
    run.signal(rustix::process::Signal::INT);
    let run = run.wait();
    run.exits(130).prints("").stderr_is("mcpipe: error: interrupted\n");
    assert!(run.elapsed < INITIALIZED_TIMEOUT, "{run:?}");
    let called =
        server.requests().iter().any(|request| request.method == "POST" && request.rpc_method() == "tools/call");
    assert!(!called, "nothing follows");
}

/// mcp-atlassian, for example, says there which credentials it lacks.
#[test]
fn what_the_server_says_in_a_401_or_403_is_shown() {
    for status in [401, 403] {
        for (kind, body, said) in [
            ("text/plain", "X-Atlassian-Token is missing", "X-Atlassian-Token is missing"),
            ("application/json", r#"{"error":"the header X-Key is required"}"#, "the header X-Key is required"),
            ("application/json", r#"{"error":"forbidden","error_description":"no seat"}"#, "no seat"),
        ] {
            let server = HttpServer::start(move |_| Reply::text(kind, body).with_status(status));
            let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--login", "never"]).run();
            run.exits(4).prints("").stderr_contains(said);
        }
    }
    let challenge = "Bearer error=\"insufficient_scope\", error_description=\"the scope admin is missing\"";
    let server = HttpServer::start(move |_| Reply::status(403).header("WWW-Authenticate", challenge));
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--login", "never"]).run();
    run.exits(4).stderr_contains("the scope admin is missing");
}

/// A program such as `cat` repeats requests, which only clients send.
#[test]
fn a_program_that_sends_back_what_it_gets_is_reported_at_once() {
    let run = Sandbox::new().mcpipe(["list", "--", "cat"]).timeout(Duration::from_secs(10)).run();
    run.exits(7)
        .prints("")
        .stderr_contains("the server sends back the requests that it gets\n  it is not an MCP server\n");
}
