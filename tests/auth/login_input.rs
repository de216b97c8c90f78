//! What the user gives: parameters, pasted codes, configured tokens; and what `auth status` says about an ended login.

use serde_json::json;

use crate::support::oauth::{ProtectedServer, oauth_error};
use crate::support::{Reply, Run, Sandbox};

fn log_in(server: &ProtectedServer, sandbox: &Sandbox, words: &[&str]) -> Run {
    sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "20s"]).args(words).with_browser().run()
}

/// Google needs `access_type`, Auth0 `audience`; Entra ID refuses `prompt=consent` where an administrator has consented.
#[test]
fn parameters_are_added_to_the_authorization_request() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"scopes_supported": ["offline_access"]}));
    log_in(&server, &sandbox, &["--auth-param", "access_type=offline", "--auth-param", "audience=https://api?a=b"])
        .exits(0);
    let request = server.authorization_requests().remove(0);
    assert_eq!((request["access_type"].as_str(), request["audience"].as_str()), ("offline", "https://api?a=b"));
    assert_eq!(request["prompt"], "consent");

    let params = "{ access_type = \"offline\", prompt = \"\" }";
    sandbox.config(&format!("[servers.srv]\nurl = \"{}\"\nauth = {{ params = {params} }}\n", server.url()));
    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
    let request = server.authorization_requests().pop().unwrap();
    assert_eq!(request["access_type"], "offline");
    assert!(!request.contains_key("prompt"), "an empty value removes it");
    sandbox.mcpipe(["config", "get", "srv"]).run().exits(0).stdout_contains("auth.params.access_type\toffline\t");
}

#[test]
fn parameters_that_secure_the_login_cannot_be_set() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    for name in ["state", "redirect_uri", "code_challenge", "code_challenge_method", "client_id", "response_type"] {
        let run = log_in(&server, &sandbox, &["--auth-param", &format!("{name}=x")]);
        run.exits(2).prints("").stderr_contains(&format!("'{name}' is set by mcpipe"));
        sandbox.config(&format!(
            "[servers.srv]\nurl = \"{}\"\nauth = {{ params = {{ {name} = \"x\" }} }}\n",
            server.url()
        ));
        let run = sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run();
        run.exits(3).stderr_contains(&format!("'params' in [servers.srv.auth] is invalid: '{name}' is set by mcpipe"));
    }
    log_in(&server, &sandbox, &["--auth-param", "x"]).exits(2).stderr_contains("use NAME=VALUE");
    log_in(&server, &sandbox, &["--auth-param", "resource=x"]).exits(2).stderr_contains("a setting of its own");
    assert!(server.issuer_requests().is_empty());
}

/// Pages of some providers show the code, and redirect nowhere.
#[test]
fn a_code_can_be_pasted_alone() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"authorization_response_iss_parameter_supported": null}));
    let paste = |text: &str| {
        sandbox.mcpipe(["auth", "login", &server.url(), "--no-browser", "--timeout", "20s"]).stdin(text).run()
    };
    let run = paste("c0de\n");
    run.exits(0).prints("");
    assert_eq!(server.token_forms()[0]["code"], "c0de");
    // One wrong paste asks again.
    let run = paste("https://as.example.com/login\nc0de\n");
    run.exits(0).stderr_contains("warning: this is not the response to this login: ");
    paste("what?\nwhat?\nc0de\n").exits(4);
    server.override_metadata(json!({}));
    paste("c0de\n")
        .exits(4)
        .stderr_contains("the code alone cannot be verified")
        .stderr_contains("paste the whole URL");
    server.assert_no_secret_in(run.stderr());
}

#[test]
fn a_refused_configured_token_is_named() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_server(|request| {
        let challenge = "Bearer error=\"invalid_token\", error_description=\"The token has expired\"";
        (request.header("authorization") == Some("Bearer t0ken"))
            .then(|| Reply::status(401).header("WWW-Authenticate", challenge))
    });
    let refused = "mcpipe: error: the server refused the credentials that are configured (HTTP 401)\n  \
                   response: The token has expired\n\
                   hint: check the token: --bearer-env or -H Authorization, or bearer_env or headers in the configuration\n";
    let list = |words: &[&str]| sandbox.mcpipe(["list", &server.url()]).args(words).env("TOKEN", "t0ken").run();
    list(&["--bearer-env", "TOKEN"]).exits(4).prints("").stderr_is(refused);
    list(&["-H", "Authorization: Bearer t0ken"]).exits(4).prints("").stderr_is(refused);
    sandbox.config(&format!("[servers.srv]\nurl = \"{}\"\nbearer_env = \"TOKEN\"\n", server.url()));
    let run = sandbox.mcpipe(["list", "srv"]).env("TOKEN", "t0ken").run();
    run.exits(4).prints("").stderr_is(refused);
    assert!(server.issuer_requests().is_empty());
}

#[test]
fn the_scheme_in_a_variable_is_not_doubled() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    for value in ["access-1", "Bearer access-1", "bearer  access-1\n", "BEARER access-1"] {
        sandbox.mcpipe(["list", &server.url(), "--bearer-env", "TOKEN"]).env("TOKEN", value).run().exits(0);
        let request = server.mcp.requests().pop().unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer access-1"), "{value:?}");
    }
}

#[test]
fn auth_status_says_that_a_login_has_ended() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in_with_expired_token(&sandbox);
    server.deny_token_requests(400, "invalid_grant");
    sandbox.mcpipe(["auth", "token", &server.url()]).run().exits(4);
    assert_eq!(sandbox.login_status()[0]["state"], "ended");
    let status = sandbox.mcpipe(["auth", "status", &server.url()]).run();
    status.exits(4).stdout_contains("ended").stderr_contains(&format!(
        "has ended: the authorization server refused to renew it\nhint: mcpipe auth login {}\n",
        server.url()
    ));
    sandbox.mcpipe(["auth", "token", &server.url()]).run().exits(4).prints("");
    // The client is still registered.
    server.log_in(&sandbox);
    server.registered_once_for_each_redirect();
    assert_eq!(sandbox.login_status()[0]["state"], "valid");
}

#[test]
fn an_error_that_may_pass_does_not_end_a_login() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in_with_expired_token(&sandbox);
    server.queue_replies("/token", vec![oauth_error(400, "unauthorized_client")]);
    sandbox.mcpipe(["auth", "token", &server.url()]).run().exits(4);
    assert_eq!(sandbox.login_status()[0]["state"], "refreshable");
}

/// RFC 9728 §2 and RFC 9449 §7.1.
#[test]
fn a_server_that_requires_dpop_gets_bound_tokens() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_resource_metadata(json!({"dpop_bound_access_tokens_required": true}));
    log_in(&server, &sandbox, &[]).exits(0);
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    assert!(server.mcp.requests().pop().unwrap().header("authorization").unwrap().starts_with("DPoP "));

    for (challenges, scheme) in
        [(&["DPoP algs=\"ES256\""][..], "DPoP "), (&["DPoP algs=\"ES256\"", "Bearer"], "Bearer ")]
    {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.at_server(move |request| {
            (request.target == "/mcp" && request.header("authorization").is_none()).then(|| {
                let reply = Reply::status(401);
                challenges.iter().fold(reply, |reply, value| reply.header("WWW-Authenticate", value))
            })
        });
        log_in(&server, &sandbox, &[]).exits(0);
        sandbox.mcpipe(["list", &server.url()]).run().exits(0);
        let request = server.mcp.requests().pop().unwrap();
        assert!(request.header("authorization").unwrap().starts_with(scheme), "{challenges:?}");
    }
}
