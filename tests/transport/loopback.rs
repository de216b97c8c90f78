//! Loopback hosts, however they are written: plain HTTP works without `--allow-http`, and requests go to them directly,
//! not through a proxy from the environment.

use serde_json::json;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::sandbox::Mcpipe;
use crate::support::tls::CertificateAuthority;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

/// Hosts of a URL that lead to `127.0.0.1`.
const HOSTS: [&str; 12] = [
    "127.0.0.1",
    "127.1",
    "0x7f.1",
    "2130706433",
    "127%2e0.0.1",
    "localhost",
    "LOCALHOST",
    "l%6fcalhost",
    "localhost.",
    "a.localhost",
    "a.b.localhost.",
    "[::ffff:127.0.0.1]",
];

fn echo_script() -> impl Fn(&crate::support::Request) -> Reply + Send + Sync + 'static {
    Mcp::modern().http_script(LegacyHttpOptions::default())
}

/// A proxy that records its requests and refuses them.
fn proxy() -> HttpServer {
    HttpServer::start(|_| Reply::status(502))
}

trait WithProxy {
    /// Sets every variable that can name a proxy to this one.
    fn with_proxy(self, proxy: &HttpServer) -> Self;
}

impl WithProxy for Mcpipe {
    fn with_proxy(self, proxy: &HttpServer) -> Self {
        ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
            .into_iter()
            .fold(self, |run, name| run.env(name, proxy.url("")))
    }
}

/// Calls the server at `host`, without options and with one that only reqwest implements.
#[track_caller]
fn calls_directly(server: &HttpServer, host: &str) {
    let (sandbox, proxy) = (Sandbox::new(), proxy());
    let ca = CertificateAuthority::new().write(&sandbox.work());
    let url = format!("http://{host}:{}/mcp", server.address().port());
    for options in [vec![], vec!["--cacert".into(), ca.into_os_string()]] {
        let seen = server.requests().len();
        let words = ["call", &url, "echo", "text=hi", "--bearer-env", "TOKEN"];
        let run = sandbox.mcpipe(words).args(options).env("TOKEN", "t0ken").with_proxy(&proxy).run();
        run.succeeds().prints("hi\n");
        let requests = server.requests().split_off(seen);
        assert!(!requests.is_empty() && requests.iter().all(|one| one.header("authorization") == Some("Bearer t0ken")));
        assert_eq!((proxy.connections(), proxy.exchanges()), (0, vec![]), "{url}");
    }
}

#[test]
fn loopback_hosts_bypass_a_proxy_from_the_environment() {
    let server = HttpServer::start(echo_script());
    for host in HOSTS {
        calls_directly(&server, host);
    }
    let server = HttpServer::start_at("[::1]:0", echo_script());
    for host in ["[::1]", "[0:0:0:0:0:0:0:1]", "localhost.", "a.localhost"] {
        calls_directly(&server, host);
    }
}

#[test]
fn tls_websockets_and_event_streams_bypass_it_too() {
    let (sandbox, proxy) = (Sandbox::new(), proxy());
    let authority = CertificateAuthority::new();
    let ca = authority.write(&sandbox.work());
    let names = ["localhost", "a.localhost", "127.0.0.1"];
    let secure = HttpServer::tls(authority.tls_config(&authority.server_certificate(&names)), echo_script());
    for host in ["localhost", "localhost.", "a.localhost"] {
        let url = format!("https://{host}:{}/mcp", secure.address().port());
        let run = sandbox.mcpipe(["call", &url, "echo", "text=hi", "--cacert"]).arg(&ca).with_proxy(&proxy).run();
        run.succeeds().prints("hi\n");
    }

    let socket = Mcp::modern().websocket();
    for host in HOSTS {
        let url = format!("ws://{host}:{}/", socket.address().port());
        let run = sandbox.mcpipe(["call", &url, "echo", "text=hi", "--bearer-env", "TOKEN"]);
        run.env("TOKEN", "t0ken").with_proxy(&proxy).run().succeeds().prints("hi\n");
    }

    let events = Mcp::legacy("2024-11-05").sse();
    for host in ["localhost.", "a.localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/sse", events.address().port());
        let run = sandbox.mcpipe(["call", &url, "echo", "text=hi", "--transport", "sse"]).with_proxy(&proxy).run();
        run.succeeds().prints("hi\n");
    }
    assert_eq!((proxy.connections(), proxy.exchanges()), (0, vec![]));
}

#[test]
fn redirects_bypass_it_too() {
    let script = echo_script();
    let server = HttpServer::start(move |request| match request.target.as_str() {
        "/old" => Reply::status(308).header("Location", "/mcp"),
        _ => script(request),
    });
    let (sandbox, proxy) = (Sandbox::new(), proxy());
    for host in ["localhost.", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/old", server.address().port());
        sandbox.mcpipe(["call", &url, "echo", "text=hi"]).with_proxy(&proxy).run().succeeds().prints("hi\n");
    }
    assert_eq!((proxy.connections(), proxy.exchanges()), (0, vec![]));
}

#[test]
fn logins_bypass_it_too() {
    for host in ["localhost", "localhost.", "a.localhost", "127.1", "[::ffff:127.0.0.1]"] {
        let (sandbox, proxy, server) = (Sandbox::new(), proxy(), ProtectedServer::start());
        let at = |peer: &HttpServer| format!("http://{host}:{}", peer.address().port());
        // The test issuer derives its name from the Host header, which has the normalized host.
        let issuer = url::Url::parse(&at(&server.issuer)).unwrap();
        server.override_resource_metadata(json!({"authorization_servers": [issuer.as_str().trim_end_matches('/')]}));
        let url = format!("{}/mcp", at(&server.mcp));
        let words = ["--grant", "client-credentials", "--client-id", "ci", "--client-secret-env", "SECRET"];
        let login = sandbox.mcpipe(["auth", "login", &url, "--scope", "read", "--scope", "call"]).args(words);
        login.env("SECRET", "s3cr3t").with_proxy(&proxy).run().exits(0);
        let call = sandbox.mcpipe(["call", &url, "add", "a=1", "b=2"]).env("SECRET", "s3cr3t").with_proxy(&proxy);
        call.run().succeeds().prints("3\n");
        assert_eq!(server.requested_grants(), ["client_credentials"], "{host}");
        assert_eq!((proxy.connections(), proxy.exchanges()), (0, vec![]), "{host}");
    }
}

#[test]
fn a_url_in_a_file_follows_the_same_rule() {
    let server = HttpServer::start(echo_script());
    let (sandbox, proxy) = (Sandbox::new(), proxy());
    for host in ["localhost.", "a.localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/mcp", server.address().port());
        let document = json!({"mcpServers": {"srv": {"url": url, "headers": {"Authorization": "Bearer t0ken"}}}});
        let file = sandbox.file(".mcp.json", document.to_string());
        sandbox.mcpipe(["config", "trust", "--yes"]).arg(file).run().exits(0);
        sandbox.mcpipe(["call", "srv", "echo", "text=hi"]).with_proxy(&proxy).run().succeeds().prints("hi\n");
        assert_eq!(server.requests().last().unwrap().header("authorization"), Some("Bearer t0ken"));
    }
    assert_eq!((proxy.connections(), proxy.exchanges()), (0, vec![]));
}

#[test]
fn an_imported_url_follows_the_same_rule() {
    let sandbox = Sandbox::new();
    let import = |host: &str| {
        let document = json!({"mcpServers": {"srv": {"url": format!("http://{host}/mcp")}}});
        let file = sandbox.file("servers.json", document.to_string());
        let run = sandbox.mcpipe(["config", "import", "--dry-run"]).arg(file).run();
        run.exits(0);
        format!("{}{}", run.stdout(), run.stderr()).contains("allow_http = true")
    };
    // A URL that is complete only after expansion is not judged on import.
    for host in HOSTS.into_iter().chain(["[::1]:3000", "localhost:${PORT}"]) {
        assert!(!import(host), "{host}");
    }
    for host in ["0.0.0.0", "localhost.example.test", "[::ffff:10.0.0.1]"] {
        assert!(import(host), "{host}");
    }
}

/// `0.0.0.0` and `::` are not loopback addresses (RFC 1122 §3.2.1.3, RFC 4291 §2.5.2).
#[test]
fn other_hosts_need_allow_http_and_use_the_proxy() {
    let hosts = ["0.0.0.0", "[::]", "localhost.example.test", "localhost..", "127.0.0.1.example.test"];
    for host in hosts.into_iter().chain(["a.example", "10.0.0.1", "[::2]"]) {
        let (sandbox, proxy) = (Sandbox::new(), HttpServer::start(echo_script()));
        let url = format!("http://{host}:9/mcp");
        let words = ["call", &url, "echo", "text=hi"];
        sandbox.mcpipe(words).with_proxy(&proxy).run().exits(2).prints("").stderr_contains("--allow-http");
        assert_eq!((proxy.connections(), proxy.exchanges()), (0, vec![]), "{host}");
        sandbox.mcpipe(words).arg("--allow-http").with_proxy(&proxy).run().succeeds().prints("hi\n");
        assert!(proxy.requests().iter().all(|request| request.target == url), "{:?}", proxy.exchanges());
        let words = ["call", "far", "echo", "text=hi"];
        sandbox.config(&format!("[servers.far]\nurl = {url:?}\n"));
        let refused = sandbox.mcpipe(words).with_proxy(&proxy).run();
        refused.exits(3).stderr_contains(&format!("config.toml:2: {url} is unencrypted http"));
        sandbox.config(&format!("[servers.far]\nurl = {url:?}\nallow_http = true\n"));
        sandbox.mcpipe(words).with_proxy(&proxy).run().succeeds().prints("hi\n");
    }
}

#[test]
fn a_proxy_given_as_an_option_is_used() {
    for host in ["localhost.", "a.localhost", "127.0.0.1", "[::1]"] {
        let (sandbox, named, other) = (Sandbox::new(), HttpServer::start(echo_script()), proxy());
        let url = format!("http://{host}:9/mcp");
        let run = sandbox.mcpipe(["call", &url, "echo", "text=hi", "--proxy", &named.url("")]).with_proxy(&other).run();
        run.succeeds().prints("hi\n");
        assert!(named.requests().iter().all(|request| request.target == url), "{:?}", named.exchanges());
        assert_eq!(other.connections(), 0);
    }
}
