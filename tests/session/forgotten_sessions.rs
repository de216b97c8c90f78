//! Servers that answer `initialize` and then know nothing of the session that it opened.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

/// A server that responds to every request after the handshake with HTTP 404.
fn forgetful(session_id: Option<&'static str>) -> HttpServer {
    let script =
        Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions { session_id, ..LegacyHttpOptions::default() });
    HttpServer::start(move |request| match request.rpc_method().as_str() {
        "initialize" | "notifications/initialized" => script(request),
        _ if request.header("mcp-method").is_some() => script(request),
        _ => Reply::text("text/plain", "Session not found").with_status(404),
    })
}

#[test]
fn a_server_that_forgets_every_session_is_reported_as_that() {
    let server = forgetful(Some("s"));
    for words in [&["list"][..], &["call", "echo", "text=hi", "--no-validate"], &["read", "demo://hello"]] {
        let url = server.url("/mcp");
        let words = [&words[..1], &[url.as_str()], &words[1..]].concat();
        let run = Sandbox::new().mcpipe(words).run();
        run.exits(5).prints("").stderr_contains("error: the server no longer knows its session (HTTP 404 for ");
        run.stderr_contains("  it accepted initialize right before\n  response: Session not found\n");
        run.stderr_contains(
            "hint: if several instances serve this URL, route all requests of a session to the same one\n",
        );
        run.hides("check the path").hides("may have run");
    }
}

#[test]
fn a_404_without_a_session_is_not_blamed_on_the_path_either() {
    let server = forgetful(None);
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
    run.exits(5)
        .prints("")
        .stderr_contains("error: the server accepted initialize but not tools/list (HTTP 404)\n")
        .hides("check the path");
}

/// It answers the second and the third of three calls with HTTP 404, and the first attempt to open another session with
/// HTTP 503.
#[test]
fn a_session_that_cannot_be_renewed_at_first_is_renewed_by_the_next_request() {
    for (options, code, second) in [
        (
            &["--retries", "0"][..],
            1,
            "returned HTTP 503\",\"causes\":[\"out of order\",\
             \"the server no longer knows its session, and no other one could be opened\"]",
        ),
        (&[], 0, r#""text":"b""#),
    ] {
        let options_of_server = LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() };
        let script = Mcp::legacy("2025-11-25").http_script(options_of_server);
        let (calls, handshakes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
            "tools/call" if (1..=2).contains(&calls.fetch_add(1, Ordering::SeqCst)) => {
                assert_eq!(request.header("mcp-session-id"), Some("s"));
                Reply::text("text/plain", "Session not found").with_status(404)
            }
            "initialize" if handshakes.fetch_add(1, Ordering::SeqCst) == 1 => {
                Reply::text("text/plain", "out of order").with_status(503)
            }
            _ => script(request),
        });
        let batch: String = ["a", "b", "c"]
            .map(|text| format!("{{\"tool\":\"echo\",\"arguments\":{{\"text\":\"{text}\"}}}}\n"))
            .concat();
        let url = server.url("/mcp");
        let run = Sandbox::new().mcpipe(["call", &url, "--batch", "-", "--jobs", "1"]).args(options).stdin(batch).run();
        let lines: Vec<&str> = run.exits(code).stdout().lines().collect();
        assert_eq!(lines.len(), 3, "{run:?}");
        for (line, expected) in lines.iter().zip([r#""text":"a""#, second, r#""text":"c""#]) {
            assert!(line.contains(expected), "{run:?}");
        }
    }
}
