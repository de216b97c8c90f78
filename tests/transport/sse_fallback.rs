//! HTTP+SSE (2024-11-05): when it is tried, and what is said if it fails.

use std::io::{Read, Write, copy};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::tls::CertificateAuthority;
use crate::support::{Feed, HttpServer, Mcp, Reply, Request, Sandbox, ServerAction};

/// A server of HTTP+SSE that answers a POST to its stream's URL with this status.
fn server(status: u16) -> HttpServer {
    HttpServer::start(script(status))
}

fn script(status: u16) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
    let (mcp, feed) = (Arc::new(Mcp::legacy("2024-11-05")), Feed::default());
    move |request| match (request.method.as_str(), request.target.as_str()) {
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
    }
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
    let replies: [(fn() -> Reply, i32); 4] = [
        (|| Reply::sse().write("data: hello\n\n"), 7),
        (|| Reply::sse().write(": hello\n\n").then_disconnect(), 5),
        (|| Reply::json(&json!({})), 7),
        (|| Reply::status(401), 4),
    ];
    for (reply, code) in replies {
        let server = HttpServer::start(move |_| reply());
        let words = ["list", &server.url("/sse"), "--transport", "sse", "--retries", "0"];
        Sandbox::new().mcpipe(words).run().exits(code).prints("");
    }
}

/// A proxy whose tunnels take 2.5 seconds to open while `is_slow`.
fn tunnel_proxy(is_slow: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let open = move |mut client: TcpStream, is_slow: bool| {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte)?;
            head.extend(byte);
        }
        if is_slow {
            thread::sleep(Duration::from_millis(2500));
        }
        let address = String::from_utf8(head).unwrap().split(' ').nth(1).unwrap().to_owned();
        let mut server = TcpStream::connect(address)?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let (mut from, mut to) = (client.try_clone()?, server.try_clone()?);
        thread::spawn(move || copy(&mut from, &mut to));
        copy(&mut server, &mut client)
    };
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let is_slow = is_slow.load(Ordering::SeqCst);
            thread::spawn(move || open(client, is_slow));
        }
    });
    url
}

/// Only to open the stream at a URL that ends in `/sse` is there less time than `--connect-timeout`.
#[test]
fn a_post_may_take_as_long_to_connect_as_the_user_allows() {
    let is_slow = Arc::new(AtomicBool::new(false));
    let (authority, script, slow) = (CertificateAuthority::new(), script(405), is_slow.clone());
    let identity = authority.server_certificate(&["127.0.0.1"]);
    let server = HttpServer::tls(authority.tls_config(&identity), move |request| {
        slow.fetch_or(request.rpc_method() == "notifications/initialized", Ordering::SeqCst);
        let reply = script(request);
        // Each POST has its own connection.
        if request.method == "POST" { reply.header("Connection", "close") } else { reply }
    });
    let sandbox = Sandbox::new();
    let (authority, proxy) = (authority.write(&sandbox.work()), tunnel_proxy(is_slow));
    let words = ["call", &server.url("/sse"), "echo", "text=hi", "--proxy", &proxy, "--retries", "0", "--cacert"];
    sandbox.mcpipe(words).arg(authority).run().succeeds().prints("hi\n");
}
