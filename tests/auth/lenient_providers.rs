//! Authorization servers that deviate from the standards, as deployed providers do: what the user states wins, and the
//! provider's own words are shown.

use serde_json::json;

use crate::support::oauth::ProtectedServer;
use crate::support::{Reply, Run, Sandbox};

fn log_in(server: &ProtectedServer, sandbox: &Sandbox, words: &[&str]) -> Run {
    sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "20s"]).args(words).with_browser().run()
}

/// Entra names a template, other providers another slash, or no path.
#[test]
fn a_stated_issuer_is_used_although_its_metadata_names_another() {
    for declared in ["https://login.example.com/{tenantid}/v2.0", "ISSUER/", "https://old.example.com"] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.override_metadata(json!({"issuer": declared}));
        let stated = server.issuer.url("");
        log_in(&server, &sandbox, &["--issuer", &stated]).exits(0);
        assert_eq!(sandbox.login_status()[0]["state"], "valid", "{declared}");
        sandbox.mcpipe(["list", &server.url()]).run().exits(0).stdout_contains("echo");
    }
}

/// RFC 9207: the response may name the stated issuer, or the one of its metadata, and no other.
#[test]
fn iss_of_the_response_is_compared_with_the_stated_and_the_declared_issuer() {
    for (iss, code) in [("STATED", 0), ("https://own.example.com", 0), ("https://evil.example.com", 4)] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let stated = server.issuer.url("");
        server
            .override_metadata(json!({"issuer": "https://own.example.com"}))
            .override_redirect("iss", Some(&iss.replace("STATED", &stated)));
        let run = log_in(&server, &sandbox, &["--issuer", &stated]);
        run.exits(code);
        if code != 0 {
            run.stderr_contains("'iss' differs");
        }
    }
}

#[test]
fn a_stated_issuer_is_used_although_the_server_names_another() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_resource_metadata(json!({"authorization_servers": ["https://elsewhere.example.com"]}));
    let stated = server.issuer.url("");
    let run = log_in(&server, &sandbox, &["--issuer", &stated, "-v"]);
    run.exits(0).stderr_contains("the server names the issuer https://elsewhere.example.com");
    sandbox.mcpipe(["list", &server.url()]).run().exits(0).stdout_contains("echo");
    log_in(&server, &sandbox, &["--issuer", "https://elsewhere.example.com/?x"]).exits(4);
}

/// A refusal of the metadata names the option that gets past it.
#[test]
fn metadata_of_another_issuer_is_refused_with_the_option_that_states_it() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"issuer": "https://own.example.com"}));
    let hint = format!(
        "hint: if you are sure that the provider publishes a wrong issuer, name the right one: \
         mcpipe auth login {} --issuer {}\n",
        server.url(),
        server.issuer.url("")
    );
    log_in(&server, &sandbox, &[]).exits(4).prints("").stderr_contains(&hint);
}

/// Slack issues tokens of the type `user`.
#[test]
fn an_unknown_token_type_is_sent_as_bearer_with_a_warning() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let token = json!({"ok": true, "access_token": "access-1-call-read", "token_type": "user", "expires_in": 3600});
    server.queue_replies("/token", vec![Reply::json(&token)]);
    let warning = "mcpipe: warning: the token type 'user' is not known; the token is sent as a bearer token\n";
    log_in(&server, &sandbox, &[]).exits(0).stderr_contains(warning);
    sandbox.mcpipe(["list", &server.url(), "--login", "never"]).run();
    let request = server.mcp.requests().pop().unwrap();
    assert_eq!(request.header("authorization"), Some("Bearer access-1-call-read"));
}

#[test]
fn the_words_of_the_provider_are_shown_in_any_form() {
    let cases = [
        (200, r#"{"ok":false,"error":"invalid_code"}"#, "invalid_code (HTTP 200)"),
        (400, r#"{"error":{"message":"Invalid code","type":"OAuthException","code":100}}"#, "HTTP 400: Invalid code"),
        (400, r#"[{"error":"invalid_grant","error_description":"it is used up"}]"#, "HTTP 400: it is used up"),
        (403, "no seat in this workspace", "HTTP 403: no seat in this workspace"),
        (403, "<html><title>Access denied</title><body>x</body></html>", "HTTP 403: Access denied"),
    ];
    for (status, body, said) in cases {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.queue_replies("/token", vec![Reply::text("text/plain", body).with_status(status)]);
        let run = log_in(&server, &sandbox, &[]);
        run.exits(4).prints("").stderr_contains("did not issue a token").stderr_contains(said);
    }
}

/// A failing proxy in front of one well-known address must not hide the document at the next.
#[test]
fn a_server_error_at_one_address_does_not_end_discovery() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server
        .at_issuer(|request| (request.target == "/.well-known/oauth-authorization-server").then(|| Reply::status(502)));
    server.at_issuer(|request| {
        let origin = format!("http://{}", request.header("host")?);
        (request.target == "/.well-known/openid-configuration").then(|| {
            Reply::json(&json!({
                "issuer": origin,
                "authorization_endpoint": format!("{origin}/authorize"),
                "token_endpoint": format!("{origin}/token"),
                "registration_endpoint": format!("{origin}/register"),
                "code_challenge_methods_supported": ["S256"],
            }))
        })
    });
    log_in(&server, &sandbox, &[]).exits(0);
}

#[test]
fn a_failed_discovery_names_each_address_and_its_answer() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_issuer(|request| {
        let target = request.target.as_str();
        target.contains("oauth-authorization-server").then(|| Reply::status(503)).or_else(|| {
            target.contains("openid-configuration").then(|| Reply::text("text/html", "<html>").with_status(200))
        })
    });
    let issuer = server.issuer.url("");
    let run = log_in(&server, &sandbox, &[]);
    run.exits(5).prints("").stderr_contains(&format!(
        "mcpipe: error: the metadata for the login cannot be fetched\n  \
         {issuer}/.well-known/oauth-authorization-server: HTTP 503\n  \
         {issuer}/.well-known/openid-configuration: not a JSON object (HTTP 200)\n\
         hint: try again later\n"
    ));
    // An issuer without any metadata.
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_issuer(|request| request.target.contains("well-known").then(|| Reply::status(404)));
    log_in(&server, &sandbox, &[]).exits(4).prints("");
}

/// Servers know their document by its path; a query such as an API key is not part of it.
#[test]
fn resource_metadata_is_looked_for_with_the_query_and_without() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_server(|request| {
        if request.target.starts_with("/mcp") && request.header("authorization").is_none() {
            return Some(Reply::status(401).header("WWW-Authenticate", "Bearer"));
        }
        request.target.ends_with("?tenant=7").then(|| Reply::status(404))
    });
    let url = format!("{}?tenant=7", server.url());
    sandbox.mcpipe(["auth", "login", &url, "--timeout", "20s"]).with_browser().run().exits(0);
    let asked: Vec<String> = server
        .mcp
        .requests()
        .iter()
        .filter(|request| request.target.contains("well-known"))
        .map(|request| request.target.clone())
        .collect();
    assert_eq!(
        asked,
        ["/.well-known/oauth-protected-resource/mcp?tenant=7", "/.well-known/oauth-protected-resource/mcp"]
    );
}

/// GitLab, for example, grants what the application was registered with, and names it in the response.
#[test]
fn the_granted_scopes_are_shown_where_the_provider_grants_fewer() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_issuer(|request| {
        let granted = json!({
            "access_token": "access-1", "token_type": "Bearer", "expires_in": 7200,
            "refresh_token": "refresh-1", "scope": "read",
        });
        (request.target == "/token").then(|| Reply::json(&granted))
    });
    let login = || sandbox.mcpipe(["auth", "login", &server.url(), "--scope", "read call"]).with_browser().run();
    login().exits(0);
    assert_eq!(server.authorization_requests()[0]["scope"], "read call");
    assert_eq!(sandbox.login_status()[0]["scopes"], json!(["read"]));
    let status = sandbox.mcpipe(["auth", "status", &server.url()]).run();
    let row = status.exits(0).stdout().trim_end().split('\t').map(str::to_owned).collect::<Vec<_>>();
    assert!(row.contains(&"read".to_owned()) && row.contains(&"valid".to_owned()), "{row:?}");
    sandbox.mcpipe(["list", &server.url()]).run().succeeds();
    // Logging in again does not help, and is not tried endlessly.
    let call = |words: &[&str]| sandbox.call_add(&server.url(), words);
    call(&[]).exits(4).stderr_contains("requires scopes that the login does not have");
    call(&["--login", "always"]).exits(4).stderr_contains("still requires scopes that were already requested");
    assert_eq!(server.authorization_requests().len(), 2);
    assert_eq!(sandbox.login_status()[0]["scopes"], json!(["read"]), "the login that there was is kept");
}
