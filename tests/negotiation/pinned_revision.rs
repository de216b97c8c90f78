//! A pinned revision is never changed, but the right transport for it is still detected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{Feed, HttpServer, Mcp, Reply, Sandbox, ServerAction};

/// An HTTP+SSE server that answers a POST to the URL of its stream with this status; 0 makes it a Streamable HTTP
/// server.
fn server(revision: &'static str, status: &Arc<AtomicU16>) -> HttpServer {
    let (old, new) = (Arc::new(Mcp::legacy(revision)), Mcp::legacy(revision).http_script(LegacyHttpOptions::default()));
    let (feed, status) = (Feed::default(), Arc::clone(status));
    HttpServer::start(move |request| match (request.method.as_str(), status.load(Ordering::SeqCst)) {
        (_, 0) => new(request),
        ("GET", _) => Reply::sse().write("event: endpoint\ndata: /messages\n\n").feed(&feed),
        _ if request.target == "/messages" => {
            let (old, feed, message) = (Arc::clone(&old), feed.clone(), request.json());
            std::thread::spawn(move || to_feed(&old, &feed, &message));
            Reply::accepted()
        }
        (_, status) => Reply::text("text/plain", "Cannot POST /sse").with_status(status),
    })
}

fn to_feed(mcp: &Mcp, feed: &Feed, message: &serde_json::Value) {
    for out in mcp.handle(message) {
        match out {
            ServerAction::Send(message) => feed.event(&message),
            _ => panic!("an answer is one message"),
        }
    }
}

/// ERA-07, ERA-08: falling back from Streamable HTTP to HTTP+SSE stays within the era.
#[test]
fn http_sse_is_found_where_a_legacy_era_is_pinned() {
    for pin in ["legacy", "2024-11-05"] {
        for status in [404, 405, 400] {
            let spoken = Arc::new(AtomicU16::new(status));
            let (sandbox, server) = (Sandbox::new(), server("2024-11-05", &spoken));
            let call = || {
                let before = server.requests().len();
                let words = ["call", &server.url("/stream"), "echo", "text=hi", "--protocol", pin];
                sandbox.mcpipe(words).run().succeeds().prints("hi\n");
                server.exchanges().split_off(before)
            };
            let steps =
                ["GET", "POST initialize", "POST notifications/initialized", "POST tools/list", "POST tools/call"];
            // A 400 may be about the revision.
            let offers = if status == 400 && pin == "legacy" { 4 } else { 1 };
            let found: Vec<&str> = vec!["POST initialize"; offers].into_iter().chain(steps).collect();
            assert_eq!(call(), found, "{pin} {status}");
            // The transport is cached, and the list too.
            assert_eq!(call(), [&steps[..3], &steps[4..]].concat(), "{pin} {status}");
            let run = sandbox.mcpipe(["list", &server.url("/stream"), "--info", "--json", "--protocol", pin]).run();
            assert_eq!(run.exits(0).json()["transport"], "sse");
            // If there is no stream any more, the era is kept.
            spoken.store(0, Ordering::SeqCst);
            let run = sandbox.mcpipe(["list", &server.url("/stream"), "--info", "--json", "--protocol", pin]).run();
            assert_eq!(run.exits(0).json()["transport"], "http");
            assert!(!server.exchanges().contains(&"POST server/discover".to_owned()), "{:?}", server.exchanges());
            assert!(server.requests().iter().all(|request| request.header("mcp-method").is_none()));
        }
    }
}

#[test]
fn no_stream_is_asked_for_where_the_pin_or_the_transport_says_otherwise() {
    let spoken = Arc::new(AtomicU16::new(404));
    for words in [["--protocol", "2025-06-18"].as_slice(), &["--protocol", "legacy", "--transport", "http"]] {
        let server = server("2024-11-05", &spoken);
        let url = server.url("/sse");
        let run = Sandbox::new().mcpipe(["list", &url, "--retries", "0"]).args(words.iter().copied()).run();
        run.exits(5).prints("").stderr_contains("HTTP 404");
        assert_eq!(server.exchanges(), ["POST initialize"], "{words:?}");
    }
}

/// If both fail, the refusal of the POST is the reason.
#[test]
fn a_server_without_either_is_reported_by_its_refusal() {
    for (status, code) in [(404, 5), (405, 7), (400, 7)] {
        let server = HttpServer::start(move |request| match request.method.as_str() {
            "GET" => Reply::text("text/html", "<html>").with_status(200),
            _ => Reply::text("text/plain", "no post here").with_status(status),
        });
        let words = ["list", &server.url("/x"), "--protocol", "legacy", "--retries", "0"];
        let run = Sandbox::new().mcpipe(words).run();
        run.exits(code).prints("").stderr_contains(&format!("HTTP {status}")).stderr_contains("no post here");
        // A 400 may be about the revision.
        let offers = if status == 400 { 4 } else { 1 };
        assert_eq!(server.exchanges(), [vec!["POST initialize"; offers], vec!["GET"]].concat());
    }
}

/// A modern server rejects the revision; it gets no modern request, and no stream is requested.
#[test]
fn a_pinned_legacy_era_is_never_left_for_the_newer_one() {
    let server = Mcp::modern().http();
    let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--protocol", "legacy", "--retries", "0"]).run();
    run.exits(7).prints("").stderr_contains("2026-07-28");
    assert_eq!(server.exchanges(), ["POST initialize"]);
}
