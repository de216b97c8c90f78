//! Cookies of a server: kept while mcpipe runs, and sent to that server only.

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Request, Sandbox};

/// Two instances behind a load balancer that uses a cookie to find the instance of a session: without it, the other
/// instance answers.
fn balanced() -> HttpServer {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    HttpServer::start(move |request| match request.rpc_method().as_str() {
        "initialize" => script(request)
            .header("Set-Cookie", "AWSALB=secret-instance-a; Expires=Sun, 06 Nov 2094 08:49:37 GMT; Path=/")
            .header("Set-Cookie", "AWSALBCORS=secret-instance-a; Path=/; SameSite=None; Secure"),
        _ if request.header("mcp-method").is_some() => script(request),
        _ if !sent(request).contains("AWSALB=secret-instance-a") => {
            Reply::text("text/plain", "Session not found").with_status(404)
        }
        _ => script(request),
    })
}

fn sent(request: &Request) -> String {
    request.header("cookie").unwrap_or_default().to_owned()
}

#[test]
fn a_cookie_is_sent_back_in_the_same_run_and_to_the_end() {
    let (sandbox, server) = (Sandbox::new(), balanced());
    let call = || {
        let words = ["call", &server.url("/mcp"), "echo", "text=hi", "-H", "Cookie: mine=1", "-vv"];
        let run = sandbox.mcpipe(words).run();
        run.exits(0).prints("hi\n").hides("secret-instance");
    };
    call();
    let both = "mine=1; AWSALB=secret-instance-a; AWSALBCORS=secret-instance-a";
    let requests = server.requests();
    let initialize = requests.iter().position(|request| request.rpc_method() == "initialize").unwrap();
    assert!(requests[..=initialize].iter().all(|request| sent(request) == "mine=1"));
    assert!(requests[initialize + 1..].iter().all(|request| sent(request) == both), "{requests:?}");
    assert_eq!(requests.last().unwrap().method, "DELETE");
    // The next run starts without cookies.
    let before = requests.len();
    call();
    assert_eq!(sent(&server.requests()[before]), "mine=1");
}

#[test]
fn all_configured_cookies_are_sent() {
    let server = balanced();
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "-H", "Cookie: mine=1", "-H", "Cookie: csrf=2"];
    Sandbox::new().mcpipe(words).run().exits(0).prints("hi\n");
    let requests = server.requests();
    assert_eq!(sent(&requests[0]), "mine=1; csrf=2");
    let last = "mine=1; csrf=2; AWSALB=secret-instance-a; AWSALBCORS=secret-instance-a";
    assert_eq!(sent(requests.last().unwrap()), last);
}

#[test]
fn no_cookies_are_sent_back_where_that_is_turned_off() {
    let server = balanced();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.b]\nurl = '{}'\nno_cookies = true\n", server.url("/mcp")));
    for words in [&["list", &server.url("/mcp"), "--no-cookies"][..], &["list", "b"]] {
        sandbox.mcpipe(words).run().exits(5);
    }
    let requests = server.requests();
    assert!(requests.len() >= 4 && requests.iter().all(|request| sent(request).is_empty()), "{requests:?}");
    sandbox
        .mcpipe(["list", "--no-cookies", "--", "cat"])
        .run()
        .exits(2)
        .stderr_contains("--no-cookies applies only to a URL");
}

#[test]
fn a_server_does_not_get_the_cookies_of_another() {
    let set = |name: &'static str| {
        let script = Mcp::modern().http_script(LegacyHttpOptions::default());
        HttpServer::start(move |request| script(request).header("Set-Cookie", &format!("{name}=1; Domain=127.0.0.1")))
    };
    let (one, other) = (set("one"), set("other"));
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.a]\nurl = '{}'\n[servers.b]\nurl = '{}'\n", one.url("/mcp"), other.url("/mcp")));
    sandbox.mcpipe(["list", "--all"]).run();
    for name in ["a", "b"] {
        sandbox.mcpipe(["list", name, "--all", "--no-cache"]).run().succeeds();
    }
    for (server, own) in [(&one, "one=1"), (&other, "other=1")] {
        let requests = server.requests();
        assert!(requests.iter().all(|request| ["", own].contains(&sent(request).as_str())), "{requests:?}");
        assert!(requests.iter().any(|request| sent(request) == own), "{requests:?}");
    }
}
