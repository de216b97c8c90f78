//! `auth login` looks for an authorization server, whatever the MCP server answers to a request without a token.

use serde_json::json;

use crate::support::oauth::ProtectedServer;
use crate::support::{HttpServer, Reply, Run, Sandbox};

fn log_in(url: &str, sandbox: &Sandbox) -> Run {
    sandbox.mcpipe(["auth", "login", url, "--timeout", "20s"]).with_browser().run()
}

/// A protected server that answers like this while no token is sent.
fn server_that_answers(reply: impl Fn() -> Reply + Send + 'static) -> ProtectedServer {
    let server = ProtectedServer::start();
    server
        .at_server(move |request| (request.target == "/mcp" && request.header("authorization").is_none()).then(&reply));
    server
}

#[test]
fn any_challenge_leads_to_discovery() {
    let challenges = [
        None,
        Some("Basic realm=\"x\""),
        Some("ApiKey"),
        Some("OAuth realm=\"x\""),
        Some("https://example.com/login"),
        Some("Negotiate"),
        Some("\"\""),
    ];
    for challenge in challenges {
        let sandbox = Sandbox::new();
        let server = server_that_answers(move || {
            let reply = Reply::text("text/plain", "no").with_status(401);
            challenge.into_iter().fold(reply, |reply, value| reply.header("WWW-Authenticate", value))
        });
        let run = log_in(&server.url(), &sandbox);
        run.exits(0).prints("").stderr_contains("Logged in to");
        assert!(!run.stderr().contains("warning"), "{challenge:?}: {}", run.stderr());
        assert_eq!(sandbox.login_status()[0]["state"], "valid", "{challenge:?}");
        sandbox.mcpipe(["list", &server.url()]).run().exits(0).stdout_contains("echo");
    }
}

#[test]
fn any_status_leads_to_discovery() {
    for status in [400, 403, 404, 405, 422, 500, 503] {
        let sandbox = Sandbox::new();
        let server = server_that_answers(move || Reply::text("text/plain", "no").with_status(status));
        let run = log_in(&server.url(), &sandbox);
        run.exits(0).prints("").stderr_contains("Logged in to");
        assert!(!run.stderr().contains("warning"), "{status}: {}", run.stderr());
        sandbox.mcpipe(["list", &server.url()]).run().exits(0).stdout_contains("echo");
    }
    let login_page = || Reply::status(302).header("Location", "https://login.example.com/");
    let (sandbox, server) = (Sandbox::new(), server_that_answers(login_page));
    log_in(&server.url(), &sandbox).exits(0);
    let error = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32001, "message": "Unauthorized"}});
    let (sandbox, server) = (Sandbox::new(), server_that_answers(move || Reply::json(&error)));
    log_in(&server.url(), &sandbox).exits(0);
}

/// Metadata that only a challenge names is found behind any status and scheme.
#[test]
fn the_metadata_of_any_challenge_is_used() {
    for (status, scheme) in [(403, "Bearer"), (401, "OAuth"), (400, "Bearer"), (404, "Bearer"), (500, "Bearer")] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let issuer = server.issuer.url("");
        server.at_server(move |request| {
            let origin = format!("http://{}", request.header("host")?);
            match request.target.as_str() {
                "/mcp" if request.header("authorization").is_none() => {
                    let challenge = format!("{scheme} resource_metadata=\"{origin}/elsewhere\"");
                    Some(Reply::status(status).header("WWW-Authenticate", &challenge))
                }
                "/elsewhere" => Some(Reply::json(&json!({
                    "resource": format!("{origin}/mcp"), "authorization_servers": [&issuer],
                }))),
                "/mcp" => None,
                _ => Some(Reply::status(404)),
            }
        });
        log_in(&server.url(), &sandbox).exits(0);
    }
}

/// Without an authorization server, the answer of the server itself is shown.
#[test]
fn without_an_authorization_server_the_refusal_of_the_server_is_shown() {
    for (status, code, message) in [
        (401, 4, "the server requires authentication (HTTP 401)"),
        (403, 4, "the server refused access (HTTP 403)"),
        (404, 5, "no MCP server at"),
        (500, 5, "the server failed (HTTP 500)"),
    ] {
        let sandbox = Sandbox::new();
        let server = HttpServer::start(move |request| match request.target.as_str() {
            "/mcp" => Reply::text("text/plain", "no").with_status(status).header("WWW-Authenticate", "Basic"),
            _ => Reply::status(if status == 500 { 500 } else { 404 }),
        });
        log_in(&server.url("/mcp"), &sandbox).exits(code).prints("").stderr_contains(message);
    }
}

/// Other commands log in only where the server asks for it, and name the command that tries.
#[test]
fn a_refusal_names_the_command_that_looks_for_a_login() {
    for (status, challenge) in [(401, "Basic"), (403, "ApiKey")] {
        let sandbox = Sandbox::new();
        let server = server_that_answers(move || Reply::status(status).header("WWW-Authenticate", challenge));
        let run = sandbox.mcpipe(["list", &server.url(), "--login", "always"]).with_browser().run();
        run.exits(4).prints("").stderr_contains(&format!("mcpipe auth login {}\n", server.url()));
        assert!(server.issuer_requests().is_empty());
    }
}

/// A server that answers an expired token with another scheme gets a fresh one.
#[test]
fn a_refused_token_is_refreshed_whatever_the_challenge() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in(&sandbox);
    server.ledger.revoked.lock().unwrap().push("access-1".into());
    server.at_server(|request| {
        (request.header("authorization") == Some("Bearer access-1"))
            .then(|| Reply::status(401).header("WWW-Authenticate", "ApiKey"))
    });
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    assert_eq!(server.requested_grants(), ["authorization_code", "refresh_token"]);
}

/// An issuer that the user states is used even if the server's metadata cannot be fetched.
#[test]
fn a_stated_issuer_needs_no_resource_metadata() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_server(|request| {
        request.target.starts_with("/.well-known/oauth-protected-resource").then(|| Reply::status(500))
    });
    log_in(&server.url(), &sandbox).exits(5).stderr_contains("the metadata for the login cannot be fetched");
    let (url, issuer) = (server.url(), server.issuer.url(""));
    let words = ["auth", "login", &url, "--issuer", &issuer, "--timeout", "20s"];
    let run = sandbox.mcpipe(words).with_browser().run();
    run.exits(0).prints("").stderr_contains("Logged in to");
    run.stderr_contains("the scopes and the resource are those of the configuration");
    sandbox.mcpipe(["list", &url]).run().exits(0).stdout_contains("echo");
}
