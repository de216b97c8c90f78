//! The parameter `resource` (RFC 8707): omitted or stated by the user, and refused by the authorization server.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::support::oauth::{ProtectedServer, oauth_error, parse_form};
use crate::support::{Run, Sandbox};

fn log_in(server: &ProtectedServer, sandbox: &Sandbox, words: &[&str]) -> Run {
    sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "20s"]).args(words).with_browser().run()
}

/// A provider that knows no resources.
fn server_that_refuses_resources(error: &'static str) -> ProtectedServer {
    let server = ProtectedServer::start();
    server.ledger.allows_missing_resource.store(true, Ordering::SeqCst);
    server.at_issuer(move |request| {
        let has_resource = request.method == "POST" && parse_form(request).contains_key("resource");
        (has_resource && request.target != "/register").then(|| oauth_error(400, error))
    });
    server
}

#[test]
fn the_resource_can_be_omitted() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.allows_missing_resource.store(true, Ordering::SeqCst);
    server.log_in_with_expired_token_by(&sandbox, || _ = log_in(&server, &sandbox, &["--no-resource"]).exits(0));
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    assert!(!server.authorization_requests()[0].contains_key("resource"));
    assert_eq!(server.requested_grants(), ["authorization_code", "refresh_token"]);
    assert!(server.token_forms().iter().all(|form| !form.contains_key("resource")));

    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.allows_missing_resource.store(true, Ordering::SeqCst);
    sandbox.config(&format!("[servers.srv]\nurl = \"{}\"\nauth = {{ resource = false }}\n", server.url()));
    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
    assert!(!server.token_forms()[0].contains_key("resource"));
    sandbox.mcpipe(["config", "get", "srv"]).run().exits(0).stdout_contains("auth.resource\tfalse\t");
}

#[test]
fn the_resource_can_be_stated() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in_with_expired_token_by(&sandbox, || {
        _ = log_in(&server, &sandbox, &["--resource", "api://mcp"]).exits(0)
    });
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    assert_eq!(server.authorization_requests()[0]["resource"], "api://mcp");
    assert_eq!(server.token_forms().len(), 2);
    assert!(server.token_forms().iter().all(|form| form["resource"] == "api://mcp"));
    let both = log_in(&server, &sandbox, &["--resource", "api://mcp", "--no-resource"]);
    both.exits(2).stderr_contains("cannot be used with");
}

/// Dataverse and others name the resource of their tokens instead of their own URL.
#[test]
fn metadata_for_another_resource_is_refused_with_the_option_that_states_it() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_resource_metadata(json!({"resource": "https://api.example.com/"}));
    let command = format!("mcpipe auth login {} --resource https://api.example.com/", server.url());
    let run = log_in(&server, &sandbox, &[]);
    run.exits(4)
        .prints("")
        .stderr_contains("  it is for https://api.example.com/\n")
        .stderr_contains(&format!("hint: if you trust the server with tokens for that resource: {command}\n"));
    log_in(&server, &sandbox, &["--resource", "https://api.example.com/"]).exits(0);
    assert_eq!(server.token_forms()[0]["resource"], "https://api.example.com/");
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
}

/// The code is bound to the resource of the authorization request, so the token request does not need it.
#[test]
fn a_token_request_is_sent_once_without_a_refused_resource() {
    for error in ["invalid_target", "invalid_request"] {
        let (sandbox, server) = (Sandbox::new(), server_that_refuses_resources(error));
        server.log_in_with_expired_token_by(&sandbox, || _ = log_in(&server, &sandbox, &[]).exits(0));
        let forms = server.token_forms();
        assert_eq!(forms.len(), 2);
        assert!(forms[0].contains_key("resource") && !forms[1].contains_key("resource"));
        // From then on it is omitted.
        sandbox.mcpipe(["list", &server.url()]).run().exits(0);
        assert_eq!(server.token_forms().len(), 3);
    }
}

/// Without the resource, a device code would be for any server; that is safe only at an issuer that the user states.
#[test]
fn a_first_request_is_sent_without_the_resource_only_to_a_stated_issuer() {
    let (sandbox, server) = (Sandbox::new(), server_that_refuses_resources("invalid_target"));
    let refused = log_in(&server, &sandbox, &["--device"]);
    refused.exits(4).prints("").stderr_contains("invalid_target").stderr_contains(
        "hint: if the authorization server does not support the parameter 'resource', log in with --no-resource",
    );
    log_in(&server, &sandbox, &["--device", "--issuer", &server.issuer.url("")]).exits(0);
    let sandbox = Sandbox::new();
    log_in(&server, &sandbox, &["--device", "--no-resource"]).exits(0);
}

/// The second attempt is accepted, although the user has not entered the code yet.
#[test]
fn a_device_login_goes_on_without_a_refused_resource() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.allows_missing_resource.store(true, Ordering::SeqCst);
    let pending = std::sync::Mutex::new(vec![oauth_error(400, "authorization_pending")]);
    server.at_issuer(move |request| match request.target.as_str() {
        "/token" if parse_form(request).contains_key("resource") => Some(oauth_error(400, "invalid_target")),
        "/token" => pending.lock().unwrap().pop(),
        _ => None,
    });
    log_in(&server, &sandbox, &["--device", "--issuer", &server.issuer.url("")]).exits(0);
    let forms = server.token_forms();
    let has_resource: Vec<bool> = forms.iter().map(|form| form.contains_key("resource")).collect();
    assert_eq!(has_resource, [true, false, false]);
    server.at_issuer(|request| (request.target == "/token").then(|| oauth_error(400, "access_denied")));
    let denied = log_in(&server, &Sandbox::new(), &["--device", "--issuer", &server.issuer.url("")]);
    denied.exits(4).stderr_contains("the login was refused");
}

#[test]
fn a_refresh_is_sent_once_without_a_refused_resource() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.allows_missing_resource.store(true, Ordering::SeqCst);
    let before = server.log_in_with_expired_token(&sandbox);
    server.at_issuer(|request| {
        let is_refused = request.target == "/token" && parse_form(request).contains_key("resource");
        is_refused.then(|| oauth_error(400, "invalid_request"))
    });
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    let forms = server.token_forms().split_off(before);
    let has_resource: Vec<bool> = forms.iter().map(|form| form.contains_key("resource")).collect();
    assert_eq!(has_resource, [true, false]);
    assert_eq!(forms[0]["refresh_token"], forms[1]["refresh_token"]);
}

#[test]
fn a_refused_authorization_request_names_the_option() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_redirect("code", None).override_redirect("error", Some("invalid_target"));
    log_in(&server, &sandbox, &[]).exits(4).stderr_contains("--no-resource");
    // Entra ID shows the error on its own page, and does not redirect.
    let late = sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "1s"]).env("BROWSER", "true").run();
    let command = format!("mcpipe auth login {} --no-resource\n", server.url());
    late.exits(6).stderr_contains(&command);
    assert!(late.elapsed > Duration::from_millis(900));
}
