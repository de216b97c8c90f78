//! What is named as the cause: a redirect, a proxy, a socket, a time-out.

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Sandbox, StdioServer};

#[test]
fn an_unfollowed_redirect_is_reported() {
    let sandbox = Sandbox::new();
    let redirecting = |status: u16, location: &'static str| {
        let script = Mcp::modern().http_script(LegacyHttpOptions::default());
        HttpServer::start(move |request| match request.target.as_str() {
            "/mcp" => script(request),
            _ => Reply::status(status).header("Location", location),
        })
    };
    for status in [301, 302, 303] {
        let server = redirecting(status, "mcp");
        let run = sandbox.mcpipe(["list", &server.url("/old")]).run();
        let there = server.url("/mcp");
        run.exits(5).stderr_contains(&format!("error: the server redirects to {there} (HTTP {status})"));
        run.stderr_contains("this kind of redirect drops the content of the request");
        run.stderr_contains(&format!("hint: use that URL as the target: {there}")).hides("another place");
        sandbox.mcpipe(["list", &there]).run().succeeds();
    }
    let server = redirecting(307, "/loop");
    let run = sandbox.mcpipe(["list", &server.url("/loop")]).run();
    run.exits(5)
        .stderr_contains(&format!("the server redirects too many times, last to {} (HTTP 307)", server.url("/loop")));
    run.hides("another place");
    assert_eq!(server.requests().len(), 6);
    let server = redirecting(308, "http://elsewhere.invalid/mcp?a=b");
    let run = sandbox.mcpipe(["list", &server.url("/old")]).run();
    run.exits(5).stderr_contains("requests and credentials do not follow a redirect to another host");
    run.stderr_contains(
        "hint: if you trust that host, use its URL as the target: http://elsewhere.invalid/mcp?a=[redacted]",
    );
    let server = HttpServer::start(|_| Reply::status(302));
    sandbox
        .mcpipe(["list", &server.url("/")])
        .run()
        .exits(5)
        .stderr_contains("redirects without a location (HTTP 302)");
}

#[test]
fn a_failing_proxy_or_socket_is_named() {
    let sandbox = Sandbox::new();
    let url = "http://mcp.example.test/mcp";
    let list = |words: &[&str]| sandbox.mcpipe(["list", url, "--allow-http", "--retries", "0"]).args(words.to_vec());
    let run = list(&["--proxy", "http://u:hunter2@127.0.0.1:1"]).run();
    run.exits(5)
        .stderr_contains(&format!("error: cannot connect to {url} through the proxy http://127.0.0.1:1"))
        .hides("hunter2");
    run.stderr_contains("hint: check the proxy (--proxy, or 'proxy' in the configuration): http://127.0.0.1:1");
    let run = list(&["--proxy", "nope.invalid"]).run();
    run.exits(5).stderr_contains("through the proxy http://nope.invalid").hides("check the host name");
    let run = list(&[]).env("http_proxy", "http://u:hunter2@127.0.0.1:1").run();
    run.exits(5).stderr_contains("through the proxy http://127.0.0.1:1").hides("hunter2");
    run.stderr_contains("hint: check the proxy that http_proxy sets, or use none: --proxy ''");
    // The hint works when it is pasted.
    let run = list(&["--proxy", ""]).env("http_proxy", "http://127.0.0.1:1").run();
    run.exits(5).stderr_contains(&format!("error: cannot connect to {url}\n")).hides("proxy");
    let run = list(&["--proxy", "socks4a://127.0.0.1:1"]).run();
    run.exits(5).stderr_contains("through the proxy socks4a://127.0.0.1:1");
    // What is tried again is the proxy.
    let run = sandbox.mcpipe(["list", url, "--allow-http", "--proxy", "127.0.0.1:1", "--retries", "1", "-v"]).run();
    run.exits(5).stderr_contains("the proxy could not be reached: trying tools/list again in ");
    let run = list(&["--unix-socket", "/nosock"]).run();
    run.exits(5)
        .stderr_contains("error: cannot connect to the socket /nosock")
        .stderr_contains("hint: check the path of the socket");
}

#[test]
fn a_time_out_says_what_may_help_and_what_may_have_happened() {
    let sandbox = Sandbox::new();
    let mute = || Mcp::legacy("2025-11-25").on("tools/call", |_| vec![]).stdio();
    let run = sandbox.mcpipe(["call", &mute().target(), "echo", "text=x", "--timeout", "300ms"]).run();
    run.exits(6).stderr_contains("error: no response to tools/call within 300 ms");
    run.stderr_contains("the tool may have run, or may still be running")
        .stderr_contains("hint: wait longer with --timeout TIME");
    let silent = StdioServer::start(|_, _| {});
    let run = sandbox.mcpipe(["call", &silent.target(), "echo", "--connect-timeout", "300ms"]).run();
    run.exits(6).stderr_contains("hint: wait longer with --connect-timeout TIME").hides("may have run");
    run.stderr_contains(
        "error: the server did not respond within 300 ms of its start\n  no response to server/discover\n",
    );
    // An explicit --timeout limits the start too, unless that has its own option.
    let run = sandbox.mcpipe(["list", &silent.target(), "--timeout", "300ms"]).run();
    assert_eq!(
        run.exits(6).stderr(),
        "mcpipe: error: the server did not respond within 300 ms of its start\n  no response to server/discover\n\
         hint: wait longer with --timeout TIME, or the start alone with --connect-timeout TIME\n"
    );
    let run = sandbox.mcpipe(["list", &silent.target(), "--timeout", "250ms", "--connect-timeout", "300ms"]).run();
    run.exits(6)
        .stderr_contains("within 300 ms of its start")
        .stderr_contains("wait longer with --connect-timeout TIME");
    let silent = HttpServer::start(|_| Reply::never());
    let words = ["list", &silent.url("/"), "--connect-timeout", "300ms", "--retries", "0"];
    let run = sandbox.mcpipe(words).run();
    run.exits(6).stderr_contains("error: the server did not respond within 300 ms\n  no response to server/discover\n");

    let dies = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.exit(3)
        }
    });
    let run = sandbox.mcpipe(["list", &dies.target()]).run();
    run.exits(5).stderr_contains(&format!("hint: run it by itself to see why: {}", dies.target()));
    sandbox.config(&format!("[servers.dies]\ncommand = {:?}\nargs = [{:?}]\n", dies.words()[0], dies.words()[1]));
    sandbox
        .mcpipe(["list", "dies"])
        .run()
        .exits(5)
        .stderr_contains("hint: show how it is started: mcpipe config get dies");
    let broken = HttpServer::start(|_| Reply::status(500));
    sandbox.mcpipe(["list", &broken.url("/")]).run().exits(5).stderr_contains("hint: see the server's log");
}
