//! Proxies: real ones (tinyproxy, microsocks), the usual variables, and errors of a proxy.

use std::process::{Command, Stdio};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::real::ListeningServer;
use crate::support::tls::CertificateAuthority;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

fn echo_server() -> HttpServer {
    HttpServer::start(Mcp::modern().http_script(LegacyHttpOptions::default()))
}

fn installed(program: &str) -> String {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program}")]).stderr(Stdio::null()).output().unwrap();
    assert!(found.status.success(), "{program} is not installed: run scripts/parts");
    String::from_utf8(found.stdout).unwrap().trim().to_owned()
}

/// An HTTP proxy that wants a user and a password.
fn tinyproxy(sandbox: &Sandbox) -> ListeningServer {
    let port = crate::support::real::free_port();
    let config = format!("Port {port}\nListen 127.0.0.1\nTimeout 20\nAllow 127.0.0.1\nBasicAuth user secretword\n");
    let config = sandbox.file("tinyproxy.conf", config);
    ListeningServer::start_at(
        sandbox,
        port,
        &[installed("tinyproxy"), "-d".into(), "-c".into(), config.display().to_string()],
        &[],
    )
}

/// A SOCKS proxy that wants a user and a password.
fn microsocks(sandbox: &Sandbox) -> ListeningServer {
    let words = ["-i", "127.0.0.1", "-p", "PORT", "-u", "user", "-P", "secret-word"].map(str::to_owned);
    ListeningServer::start(sandbox, &[vec![installed("microsocks")], words.to_vec()].concat(), &[])
}

#[test]
fn an_http_proxy_is_used_for_http_and_https() {
    let sandbox = Sandbox::new();
    let proxy = tinyproxy(&sandbox);
    let through = format!("http://user:secretword@127.0.0.1:{}", proxy.port);
    let server = echo_server();
    let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--proxy", &through];
    sandbox.mcpipe(words).run().succeeds().prints("hi\n");
    let via = server.requests().iter().filter(|request| request.header("via").is_some()).count();
    assert_eq!(via, server.requests().len(), "every request went through the proxy");

    let authority = CertificateAuthority::new();
    let ca = authority.write(&sandbox.work());
    let secure = HttpServer::tls(
        authority.tls_config(&authority.server_certificate(&["127.0.0.1"])),
        Mcp::modern().http_script(LegacyHttpOptions::default()),
    );
    let words = ["call", &secure.url("/mcp"), "echo", "text=hi", "--proxy", &through, "--cacert"];
    sandbox.mcpipe(words).arg(ca).run().succeeds().prints("hi\n");
    assert!(secure.requests().iter().all(|request| request.header("proxy-authorization").is_none()));
}

#[test]
fn a_failing_proxy_is_named_without_its_password() {
    let sandbox = Sandbox::new();
    let proxy = tinyproxy(&sandbox);
    let server = echo_server();
    let bare = format!("http://127.0.0.1:{}", proxy.port);
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--proxy", &bare]).run();
    run.exits(5).prints("").stderr_contains("407").stderr_contains("proxy");
    // Of a tunnel to a server behind TLS all that is known is that the proxy opened none.
    let through = format!("http://user:wrong-word@127.0.0.1:{}", proxy.port);
    let words = ["call", "https://127.0.0.1:9/mcp", "echo", "text=hi", "--proxy", &through];
    sandbox.mcpipe(words).run().exits(5).prints("").stderr_contains("proxy").hides("wrong-word");
    assert!(server.requests().is_empty());

    let nobody = format!("http://user:secret-word@127.0.0.1:{}", crate::support::real::free_port());
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--proxy", &nobody]).run();
    run.exits(5).prints("").stderr_contains("efused").hides("secret-word");
}

/// For servers behind TLS too, where the proxy refuses the tunnel.
#[test]
fn a_proxy_that_wants_a_password_is_reported_as_that() {
    let proxy = HttpServer::start(|_| Reply::status(407).header("Proxy-Authenticate", "Basic realm=\"x\""));
    let url = "https://mcp.example.test/mcp";
    let sandbox = Sandbox::new();
    for run in [
        sandbox.mcpipe(["list", url, "--proxy", &proxy.url("")]),
        sandbox.mcpipe(["list", url]).env("HTTPS_PROXY", proxy.url("")),
    ] {
        run.run().exits(5).prints("").stderr_is(
            "mcpipe: error: the proxy requires authentication (HTTP 407)\n\
             hint: put the credentials into the proxy's URL: --proxy http://USER:PASSWORD@HOST:PORT\n",
        );
    }
    assert_eq!(proxy.requests().len(), 2, "{:?}", proxy.exchanges());
}

#[test]
fn a_socks_proxy_is_used() {
    let sandbox = Sandbox::new();
    let proxy = microsocks(&sandbox);
    let server = echo_server();
    for scheme in ["socks5", "socks5h"] {
        let through = format!("{scheme}://user:secret-word@127.0.0.1:{}", proxy.port);
        let words = ["call", &server.url("/mcp"), "echo", "text=hi", "--proxy", &through];
        sandbox.mcpipe(words).run().succeeds().prints("hi\n");
    }
    let seen = server.requests().len();
    let through = format!("socks5h://user:wrong-word@127.0.0.1:{}", proxy.port);
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--proxy", &through]).run();
    run.exits(5).prints("").hides("wrong-word");
    assert_eq!(server.requests().len(), seen);
}

/// As curl: `http_proxy`, `no_proxy` and their kin, in either case.
#[test]
fn the_proxy_variables_are_used() {
    let url = "http://mcp.example.test/mcp";
    for variable in ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"] {
        let proxy = echo_server();
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["call", url, "echo", "text=hi", "--allow-http"]).env(variable, proxy.url("")).run();
        assert_eq!(run.succeeds().stdout(), "hi\n", "{variable}");
        assert!(proxy.requests().iter().all(|request| request.target == url), "{:?}", proxy.exchanges());
        assert!(proxy.requests().iter().all(|request| request.header("host") == Some("mcp.example.test")));
    }
    for (variable, value) in [("no_proxy", "example.test"), ("NO_PROXY", "*")] {
        let proxy = HttpServer::start(|_| Reply::status(502));
        let run = Sandbox::new()
            .mcpipe(["list", url, "--allow-http", "--retries", "0"])
            .env("http_proxy", proxy.url(""))
            .env(variable, value)
            .run();
        // The name resolves nowhere: it was looked for without the proxy.
        run.exits(5).prints("");
        assert!(proxy.requests().is_empty(), "{variable}");
    }
}
