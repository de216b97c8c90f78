//! Detects the era of servers that fail for another reason, and reports that reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::{HttpServer, Mcp, Reply, Request, Sandbox};

fn error(request: &Request, code: i64, text: &str) -> Reply {
    Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "error": {"code": code, "message": text}}))
}

/// -32602 may be about the parameters. A server without a handshake is not blamed for that.
#[test]
fn what_is_missing_on_a_modern_server_is_missing_and_not_the_handshake() {
    let handshakes: [fn(&Request) -> Reply; 2] = [
        |request| error(request, -32601, "Method not found").with_status(404),
        |request| error(request, -32602, "Missing _meta").with_status(400),
    ];
    for handshake in handshakes {
        let start = || {
            let script = Mcp::modern().http_script(LegacyHttpOptions::default());
            HttpServer::start(move |request| match request.rpc_method().as_str() {
                "initialize" => handshake(request),
                _ => script(request),
            })
        };
        let server = start();
        let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "demo://nothing"]).run();
        run.exits(1).prints("").stderr_contains("Resource not found (code -32602)").hides("initialize");
        assert_eq!(server.exchanges()[..2], ["POST server/discover", "POST resources/read"]);
        let server = start();
        let run = Sandbox::new().mcpipe(["prompt", &server.url("/mcp"), "nothing"]).run();
        run.exits(1).prints("").stderr_contains("Invalid prompt (code -32602)").hides("initialize");
    }
}

#[test]
fn an_old_server_that_refuses_a_read_so_is_still_found_out() {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let server = HttpServer::start(move |request| match request.header("mcp-method") {
        Some(_) => error(request, -32602, "Invalid request parameters"),
        None => script(request),
    });
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "demo://hello"]).run();
    run.succeeds().prints("hello\n");
}

/// ERA-08: any other rejection of a probe leads to the handshake, whatever its id. The HTTP layers of real servers use
/// ids of their own.
#[test]
fn an_error_with_an_id_of_the_servers_own_is_the_answer_to_what_was_asked() {
    let ids =
        [json!("server-error"), json!(""), json!("unknown"), json!(0), json!(-1), json!(999), json!(1.5), Value::Null];
    for (id, status) in ids.iter().flat_map(|id| [200, 400, 404, 406].map(|status| (id.clone(), status))) {
        let shown = format!("{status} {id}");
        let refusal = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32600, "message": "Missing session ID"}});
        let script = Mcp::legacy("2025-11-25")
            .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
        let server =
            HttpServer::start(move |request| match (request.header("mcp-method"), request.rpc_method().as_str()) {
                (Some(_), _) => Reply::json(&refusal).with_status(status),
                (_, "tools/call") => Reply::json(&refusal).with_status(400),
                _ => script(request),
            });
        let sandbox = Sandbox::new();
        let url = server.url("/mcp");
        let listed = sandbox.mcpipe(["list", &url, "--json"]).run();
        assert_eq!(listed.succeeds().json()["tools"][0]["name"], "echo", "{shown}");
        let called = sandbox.mcpipe(["call", &url, "echo", "text=x"]).run();
        called.exits(1).prints("").stderr_contains("the server refused tools/call: Missing session ID (code -32600)");
        let sent = server.exchanges().iter().filter(|one| *one == "POST tools/call").count();
        assert_eq!(sent, 1, "{shown}");
    }
}

/// ERA-11, in JSON and in plain text: none of these shows a legacy server.
#[test]
fn trouble_in_json_is_no_mark_of_an_old_server_either() {
    let statuses = [(401, 4), (403, 4), (407, 5), (408, 5), (425, 5), (429, 5), (500, 5), (502, 5), (503, 5), (504, 5)];
    for (status, code) in statuses {
        for json in [true, false] {
            let server = HttpServer::start(move |request| {
                let reply = if json {
                    error(request, -32000, "Invalid Host header")
                } else {
                    Reply::text("text/plain", "Invalid Host header")
                };
                reply.with_status(status)
            });
            for words in [&["list"][..], &["call"]] {
                let run = Sandbox::new().mcpipe([words[0], &server.url("/mcp"), "--retries", "0"]);
                let run = if words[0] == "call" { run.arg("echo").arg("text=x") } else { run }.run();
                run.exits(code).hides("initialize");
                // The user is only asked to log in.
                if status != 401 {
                    run.stderr_contains(&format!("HTTP {status}")).stderr_contains("Invalid Host header");
                }
            }
            let asked = server.exchanges();
            assert!(!asked.contains(&"POST initialize".to_owned()), "{status}, JSON {json}: {asked:?}");
        }
    }
}

/// ERA-13: HTTP+SSE is cached like any other transport.
#[test]
fn a_remembered_server_of_http_sse_is_not_probed() {
    let server = Mcp::legacy("2024-11-05").sse();
    let sandbox = Sandbox::new();
    let call = || {
        let before = server.exchanges().len();
        sandbox.mcpipe(["call", &server.url("/sse"), "echo", "text=hi"]).run().succeeds().prints("hi\n");
        server.exchanges()[before..].to_vec()
    };
    assert_eq!(call()[..2], ["GET", "POST initialize"]);
    let known = ["GET", "POST initialize", "POST notifications/initialized", "POST tools/call"];
    assert_eq!(call(), known);
    assert_eq!(call(), known);
}

#[test]
fn a_server_of_http_sse_that_was_replaced_is_found_out_anew() {
    let (old, new) = (Mcp::legacy("2025-11-25"), Mcp::modern().http_script(LegacyHttpOptions::default()));
    let old = Arc::new(old);
    let upgraded = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&upgraded);
    let feed = crate::support::Feed::default();
    let server = HttpServer::start(move |request| match (request.method.as_str(), request.target.as_str()) {
        ("GET", "/sse") if flag.load(Ordering::SeqCst) => Reply::status(405).header("Allow", "POST"),
        (_, "/sse") if flag.load(Ordering::SeqCst) => new(request),
        ("GET", "/sse") => Reply::sse().write("event: endpoint\ndata: /messages\n\n").feed(&feed),
        ("POST", "/messages") => {
            for out in old.handle(&request.json()) {
                if let crate::support::ServerAction::Send(message) = out {
                    feed.event(&message);
                }
            }
            Reply::accepted()
        }
        _ => Reply::status(404),
    });
    let sandbox = Sandbox::new();
    let transport = || {
        let run = sandbox.mcpipe(["list", &server.url("/sse"), "--info", "--json"]).run();
        run.succeeds().json()["transport"].as_str().unwrap().to_owned()
    };
    assert_eq!(transport(), "sse");
    assert_eq!(transport(), "sse");
    upgraded.store(true, Ordering::SeqCst);
    assert_eq!(transport(), "http");
    assert_eq!(transport(), "http");
    // A requested transport overrides the cached one.
    upgraded.store(false, Ordering::SeqCst);
    transport();
    sandbox.mcpipe(["list", &server.url("/sse"), "--transport", "http"]).run().exits(5).stderr_contains("HTTP 404");
}

/// ERA-09: one more attempt, and then an error that says which side violates the protocol.
#[test]
fn a_server_that_refuses_what_it_lists_is_told_so() {
    let refuses = |listed: &'static [&'static str]| {
        HttpServer::start(move |request| {
            let error = json!({"code": -32022, "message": "Unsupported protocol version",
                "data": {"supported": listed, "requested": "2026-07-28"}});
            Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "error": error})).with_status(400)
        })
    };
    let server = refuses(&["2026-07-28"]);
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
    run.exits(7).stderr_contains("error: the server refuses revision 2026-07-28, although it lists it");
    run.stderr_contains("Unsupported protocol version").hides("no protocol revision in common");
    assert_eq!(server.exchanges(), ["POST tools/list", "POST tools/list"]);

    let server = refuses(&["2025-06-18"]);
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
    run.exits(7).stderr_contains("error: the server refuses revision 2025-06-18, although it lists it");

    let server = refuses(&["2031-01-01"]);
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
    run.exits(7)
        .stderr_contains("no protocol revision in common")
        .stderr_contains("the server supports 2031-01-01")
        .stderr_contains("mcpipe supports 2024-11-05");

    // The pinned revision may be the reason.
    let server = refuses(&["2026-07-28"]);
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--protocol", "2025-06-18"]).run();
    run.exits(7)
        .stderr_contains("the server supports 2026-07-28")
        .stderr_contains("only 2025-06-18 is allowed")
        .stderr_contains("--protocol");
}

/// A time-out names the limit that was exceeded.
#[test]
fn a_login_that_nobody_makes_is_not_a_matter_of_the_connection() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let words = ["auth", "login", &server.url(), "--timeout", "1s"];
    let run = sandbox.mcpipe(words).env("BROWSER", "true").run();
    run.exits(6)
        .stderr_contains("the login was not finished within 1 s")
        .stderr_contains("mcpipe auth logout")
        .hides("--connect-timeout");
    assert!(run.elapsed < Duration::from_secs(8), "{run:?}");
    let json = sandbox.mcpipe(words).arg("--json").env("BROWSER", "true").run();
    assert_eq!(json.json_error()["class"], Value::from("timeout"));
}

/// `--connect-timeout` limits the probe, and `--timeout` the request: a slow request does not fail the connection.
#[test]
fn a_slow_request_has_its_own_time_out_on_first_contact() {
    let slow = |method: &'static str| {
        let script = Mcp::modern().http_script(LegacyHttpOptions::default());
        HttpServer::start(move |request| {
            if request.rpc_method() == method {
                std::thread::sleep(Duration::from_millis(2500));
            }
            script(request)
        })
    };
    let cases = [
        ("resources/read", &["read", "demo://hello"][..], &["POST server/discover", "POST resources/read"]),
        ("prompts/get", &["prompt", "greet", "who=Ann"], &["POST prompts/list", "POST prompts/get"]),
        ("tools/list", &["list"], &["POST tools/list", "POST server/discover"]),
    ];
    for (method, words, exchanges) in cases {
        let (sandbox, server) = (Sandbox::new(), slow(method));
        let url = server.url("/mcp");
        let words = [&words[..1], &[url.as_str()], &words[1..]].concat();
        for time in ["first", "second"] {
            let run = sandbox.mcpipe(&words).args(["--connect-timeout", "1s", "--timeout", "30s"]).run();
            assert_eq!(run.code(), 0, "{time} {method}: {run:?}");
        }
        assert_eq!(server.exchanges()[..2], exchanges[..], "{method}");
    }
}

/// A server may ignore a list that comes before the handshake, and still refuse `server/discover`.
#[test]
fn a_list_that_is_ignored_does_not_hide_an_older_server() {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.header("mcp-method") {
        Some("tools/list") => Reply::never(),
        _ => script(request),
    });
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--json", "--connect-timeout", "4s"]).run();
    assert_eq!(run.succeeds().json()["tools"][0]["name"], "echo");
}
