//! The redirect URI that the user chose, as a registered client needs it.

use std::net::TcpListener;

use crate::support::Sandbox;
use crate::support::oauth::ProtectedServer;

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn host_port_and_path_of_the_redirect_uri_are_those_that_were_chosen() {
    let port = free_port();
    for uri in [
        format!("http://localhost:{port}/callback"),
        format!("http://127.0.0.1:{port}/oauth/callback"),
        format!("http://localhost:{port}"),
    ] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let words = ["auth", "login", &server.url(), "--client-id", "c", "--redirect-uri", &uri];
        sandbox.mcpipe(words).with_browser().run().exits(0);
        assert_eq!(server.authorization_requests()[0]["redirect_uri"], uri);
        assert_eq!(server.token_forms()[0]["redirect_uri"], uri, "the token request repeats it");

        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        sandbox.config(&format!(
            "[servers.x]\nurl = {:?}\nauth = {{ client_id = 'c', redirect_uri = '{uri}' }}\n",
            server.url()
        ));
        sandbox.mcpipe(["list", "x", "--login", "always"]).with_browser().run().exits(0);
        assert_eq!(server.authorization_requests()[0]["redirect_uri"], uri);
    }
}

#[test]
fn a_redirect_uri_without_port_gets_a_free_one_and_is_registered() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let words = ["auth", "login", &server.url(), "--redirect-uri", "http://localhost/back"];
    sandbox.mcpipe(words).with_browser().run().exits(0);
    let used = server.authorization_requests()[0]["redirect_uri"].clone();
    let port = used.strip_prefix("http://localhost:").and_then(|rest| rest.strip_suffix("/back"));
    assert!(port.is_some_and(|port| port.parse::<u16>().is_ok()), "{used}");
    let registered: Vec<serde_json::Value> = server
        .issuer
        .requests()
        .iter()
        .filter(|request| request.target == "/register")
        .map(|request| request.json()["redirect_uris"].clone())
        .collect();
    assert_eq!(registered, [serde_json::json!([used])]);
}

#[test]
fn a_redirect_uri_that_cannot_be_listened_on_is_refused_before_the_login() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let login = |uri: &str| sandbox.mcpipe(["auth", "login", &server.url(), "--redirect-uri", uri]).run();
    login("https://example.com/callback").exits(2).stderr_is(
        "mcpipe: error: --redirect-uri must be an http:// URL of this machine, not 'https://example.com/callback'; an \
         example is http://localhost:3118/callback\n",
    );
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let run = login(&format!("http://localhost:{port}/callback"));
    run.exits(3).stderr_contains(&format!("cannot listen on port {port}")).stderr_contains("--redirect-uri");
    sandbox
        .mcpipe(["auth", "login", &server.url(), "--redirect-uri", "http://localhost:1/x", "--redirect-port", "2"])
        .run()
        .exits(2);
    assert!(server.authorization_requests().is_empty());
    // `config add` writes it, and checks it as well.
    let add = |uri: &str| sandbox.mcpipe(["config", "add", "x", &server.url(), "--redirect-uri", uri]).run();
    add("http://localhost:3118/callback").exits(0);
    let get = sandbox.mcpipe(["config", "get", "x"]).run();
    get.exits(0).stdout_contains("auth.redirect_uri\thttp://localhost:3118/callback\t");
    sandbox.mcpipe(["config", "remove", "x"]).run().exits(0);
    add("ftp://localhost/x").exits(2).stderr_contains("'redirect_uri' in [servers.x.auth] must be an http:// URL");
}
