//! HTTP+SSE (2024-11-05): when it is tried, and what is said if it fails.

use std::sync::Arc;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{Feed, HttpServer, Mcp, Reply, Sandbox, ServerAction};

/// A server of HTTP+SSE that answers a POST to its stream's URL with this status.
fn server(status: u16) -> HttpServer {
    let (mcp, feed) = (Arc::new(Mcp::legacy("2024-11-05")), Feed::default());
    HttpServer::start(move |request| match (request.method.as_str(), request.target.as_str()) {
        ("GET", _) => Reply::sse().write("event: endpoint\ndata: /messages\n\n").feed(&feed),
        ("POST", "/messages") => {
            for out in mcp.handle(&request.json()) {
                if let ServerAction::Send(message) = out {
                    feed.event(&message);
                }
            }
            Reply::accepted()
        }
        _ => Reply::text("text/plain", "no POST here").with_status(status),
    })
}

#[test]
fn any_refusal_of_the_post_leads_to_http_sse() {
    for status in [400, 402, 404, 405, 406, 409, 410, 411, 413, 415, 418, 422, 423, 426, 451, 501] {
        let server = server(status);
        let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--retries", "0"]).run();
        assert!(run.code() == 0 && run.stdout() == "hi\n", "{status}: {run:?}");
    }
}

#[test]
fn credentials_rates_and_outages_do_not() {
    for (status, code) in [(401, 4), (403, 4), (407, 5), (429, 5), (500, 5), (502, 5), (503, 5)] {
        let server = server(status);
        let run = Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--retries", "0"]).run();
        run.exits(code).prints("");
        assert!(!server.exchanges().contains(&"GET".to_owned()), "{status}: {:?}", server.exchanges());
    }
}

#[test]
fn a_url_that_ends_in_sse_is_tried_as_http_sse_first() {
    let server = server(404);
    for options in [&[][..], &["--protocol", "legacy"]] {
        let before = server.exchanges().len();
        let run =
            Sandbox::new().mcpipe(["call", &server.url("/a/sse"), "echo", "text=hi"]).args(options.to_vec()).run();
        run.succeeds().prints("hi\n");
        let all = server.exchanges().split_off(before);
        assert_eq!(all[..3], ["GET", "POST initialize", "POST notifications/initialized"], "{all:?}");
    }
    // A server of Streamable HTTP at such a URL is found as well, even if its own stream says nothing.
    for get in [|| Reply::status(405), || Reply::sse().write(": open\n\n").then_stall(), || Reply::sse()] {
        let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.method.as_str() {
            "GET" => get(),
            _ => script(request),
        });
        Sandbox::new().mcpipe(["call", &server.url("/sse"), "echo", "text=hi"]).run().succeeds().prints("hi\n");
    }
}

#[test]
fn why_the_stream_cannot_be_used_is_said_without_a_circle_of_hints() {
    let foreign = || {
        HttpServer::start(|request| match request.method.as_str() {
            "GET" => Reply::sse().write("event: endpoint\ndata: http://localhost:1/messages\n\n").then_stall(),
            _ => Reply::text("text/plain", "no POST here").with_status(405),
        })
    };
    for path in ["/mcp", "/sse"] {
        let server = foreign();
        let url = server.url(path);
        let run = Sandbox::new().mcpipe(["list", &url, "--retries", "0"]).run();
        run.exits(7).prints("").stderr_contains(&format!("error: invalid 'endpoint' event from {url}\n"));
        run.stderr_contains("  its URL is on another origin: http://localhost:1\n");
        run.stderr_contains("  over Streamable HTTP, the server refused initialize (HTTP 405)\n");
        run.stderr_contains("hint: set the public URL in the server's settings").hides("--transport");
        let pinned = Sandbox::new().mcpipe(["list", &url, "--transport", "sse", "--retries", "0"]).run();
        pinned.exits(7).stderr_contains("its URL is on another origin: http://localhost:1\n").hides("omit --transport");
    }
}
