//! The settings of a login: those of the configuration over those that `auth login` stored, and which logins they fit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;

use crate::support::oauth::{ProtectedServer, oauth_error, parse_form};
use crate::support::real::free_port;
use crate::support::{Run, Sandbox};

/// A configured server; `auth` is a table without its braces.
fn configure(sandbox: &Sandbox, server: &ProtectedServer, auth: &str) {
    sandbox.config(&format!("[servers.srv]\nurl = \"{}\"\nauth = {{ {auth} }}\n", server.url()));
}

fn log_in(sandbox: &Sandbox, target: &str, words: &[&str]) -> Run {
    let command = sandbox.mcpipe(["auth", "login", target, "--timeout", "20s"]).args(words.iter().copied());
    command.env("SECRET", "s3cret").with_browser().run()
}

#[test]
fn options_of_a_login_are_kept_beside_configured_settings() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server, "scopes = [\"read\"]");
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = sandbox.file("key.pem", key.serialize_pem());
    let words = ["--device", "--client-id", "app", "--private-key", key.to_str().unwrap()];
    let machine = ["--grant", "client-credentials", "--client-id", "ci", "--client-secret-env", "SECRET"];
    for (words, grants) in [
        (&words[..], ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]),
        (&machine, ["client_credentials", "client_credentials"]),
    ] {
        let before = server.log_in_with_expired_token_by(&sandbox, || _ = log_in(&sandbox, "srv", words).exits(0)) - 1;
        sandbox.mcpipe(["auth", "status", "srv"]).run().exits(0).stdout_contains("refreshed when used");
        sandbox.mcpipe(["list", "srv"]).run().exits(0);
        assert_eq!(server.requested_grants()[before..], grants);
        assert!(
            server.token_forms()[before..].iter().all(|form| form.get("scope").is_none_or(|scope| scope == "read"))
        );
    }
}

#[test]
fn a_key_that_is_removed_from_the_configuration_no_longer_applies() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let asked = |auth: &str| {
        configure(&sandbox, &server, auth);
        log_in(&sandbox, "srv", &[]).exits(0);
        server.authorization_requests().pop().unwrap()["scope"].clone()
    };
    assert_eq!(asked("scopes = [\"call\"]"), "call");
    assert_eq!(asked("client_name = \"mine\""), "read");
    assert_eq!(asked("scopes = [\"call\"]"), "call");
    assert_eq!(asked(""), "read");
}

#[test]
fn what_is_stated_wins_over_what_is_stored() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let url = server.url();
    log_in(&sandbox, &url, &["--device", "--client-id", "app"]).exits(0);
    log_in(&sandbox, &url, &[]).exits(0);
    log_in(&sandbox, &url, &["--grant", "authorization-code"]).exits(0);
    let device = "urn:ietf:params:oauth:grant-type:device_code";
    assert_eq!(server.requested_grants(), [device, device, "authorization_code"]);
    assert_eq!(server.authorization_requests()[0]["client_id"], "app");
    log_in(&sandbox, &url, &["--grant", "authorization-code", "--client-id", "other"]).exits(0);
    assert_eq!(server.authorization_requests()[1]["client_id"], "other");
}

/// What a hint names works when it is pasted.
#[test]
fn hints_keep_the_options_that_the_login_needs() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"registration_endpoint": null}));
    let url = server.url();
    log_in(&sandbox, &url, &["--device", "--client-id", "app"]).exits(0);
    let call = sandbox.mcpipe(["call", &url, "add", "a=1", "b=2"]).run();
    call.exits(4).stderr_contains(&format!("hint: mcpipe auth login {url} --scope 'read call'\n"));
    log_in(&sandbox, &url, &["--scope", "read call"]).exits(0);
    let asked = server.issuer.requests().into_iter().rfind(|request| request.target == "/device").unwrap();
    let form = parse_form(&asked);
    assert_eq!((form["client_id"].as_str(), form["scope"].as_str()), ("app", "read call"));

    let port = free_port().to_string();
    let words = ["--client-id", "app", "--redirect-port", &port, "--grant", "authorization-code", "--timeout", "1s"];
    let late = sandbox.mcpipe(["auth", "login", &url]).args(words).env("BROWSER", "true").run();
    late.exits(6).stderr_contains(&format!(
        "omit it: mcpipe auth login {url} --client-id app --redirect-port {port} --no-resource\n"
    ));
}

#[test]
fn status_and_token_are_about_the_login_that_commands_use() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    for (before, after) in [("client_id = \"A\"", "client_id = \"B\""), ("", "issuer = \"https://other.example.com\"")]
    {
        configure(&sandbox, &server, before);
        log_in(&sandbox, "srv", &[]).exits(0);
        sandbox.mcpipe(["auth", "status", "srv"]).run().exits(0).stdout_contains("valid");
        configure(&sandbox, &server, after);
        for words in [["list", "srv"].as_slice(), &["auth", "status", "srv"], &["auth", "token", "srv"]] {
            sandbox.mcpipe(words).run().exits(4);
        }
        // It can be logged out of.
        sandbox.mcpipe(["auth", "logout", "srv"]).run().exits(0).stderr_contains("Logged out of srv");
    }
    // The token of the login that is printed: the newest has ended.
    let url = server.url();
    for client in ["one", "two"] {
        log_in(&sandbox, &url, &["--client-id", client]).exits(0);
        std::thread::sleep(Duration::from_millis(1100));
    }
    sandbox.expire_stored_tokens();
    server.queue_replies("/token", vec![oauth_error(400, "invalid_grant")]);
    sandbox.mcpipe(["auth", "token", &url]).run().exits(4);
    server.ledger.keeps_refresh_token.store(true, Ordering::SeqCst);
    let token = sandbox.mcpipe(["auth", "token", &url, "--json"]).run().exits(0).json();
    assert_eq!(token["client_id"], "one");
}

#[test]
fn a_login_that_no_command_would_use_is_refused() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server, &format!("client_id = \"A\", issuer = \"{}\"", server.issuer.url("")));
    log_in(&sandbox, "srv", &["--client-id", "A", "--issuer", &server.issuer.url("")]).exits(0);
    let before = server.mcp.requests().len() + server.issuer.requests().len();
    log_in(&sandbox, "srv", &["--client-id", "B"]).exits(2).prints("").stderr_is(
        "mcpipe: error: --client-id 'B' differs from client_id in the configuration of 'srv'\n  it is 'A'\n\
         hint: show where it is set: mcpipe config get srv\n",
    );
    log_in(&sandbox, "srv", &["--issuer", "https://other.example.com"]).exits(2).stderr_contains("--issuer");
    assert_eq!(server.mcp.requests().len() + server.issuer.requests().len(), before);
    sandbox.mcpipe(["list", "srv"]).run().exits(0);
}

#[test]
fn imported_tokens_that_no_command_would_use_are_refused() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let issuer = server.issuer.url("");
    configure(&sandbox, &server, &format!("client_id = \"A\", issuer = \"{issuer}\""));
    let import = |client_id: &str, issuer: &str| {
        let tokens = json!({"access_token": "t", "refresh_token": "r", "client_id": client_id, "issuer": issuer});
        sandbox.mcpipe(["auth", "import", "srv"]).stdin(tokens.to_string()).run()
    };
    import("B", &issuer).exits(2).prints("").stderr_is(
        "mcpipe: error: the imported client_id 'B' differs from client_id in the configuration of 'srv'\n  \
         it is 'A'\nhint: show where it is set: mcpipe config get srv\n",
    );
    import("A", "https://other.example.com").exits(2).prints("").stderr_contains(
        "mcpipe: error: the imported issuer 'https://other.example.com' differs from issuer in the configuration",
    );
    assert!(server.issuer.requests().is_empty());
    assert_eq!(sandbox.stored_credentials(), json!([]));
    import("A", &issuer).exits(0);
    assert_eq!(sandbox.stored_credentials()[0]["client_id"], "A");
}

#[test]
fn a_missing_setting_of_a_grant_says_where_it_belongs() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let url = server.url();
    let place = "in [servers.NAME.auth] (for a URL, first: mcpipe config add NAME URL)\n";
    for (grant, hint) in [
        ("enterprise", format!("hint: set idp_token_endpoint {place}")),
        (
            "jwt-bearer",
            format!(
                "hint: mcpipe auth login {url} --client-id q --grant jwt_bearer --assertion-file FILE; or set \
                 assertion_file {place}"
            ),
        ),
    ] {
        log_in(&sandbox, &url, &["--client-id", "q", "--grant", grant]).exits(3).stderr_contains(&hint);
    }
    configure(&sandbox, &server, "grant = \"enterprise\", client_id = \"q\"");
    log_in(&sandbox, "srv", &[]).exits(3).stderr_contains("hint: set idp_token_endpoint in [servers.srv.auth]\n");
}

#[test]
fn tokens_that_would_not_be_used_are_not_imported() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.srv]\nurl = \"https://mcp.example.com\"\nbearer_env = \"TOKEN\"\n");
    let import = sandbox.mcpipe(["auth", "import", "srv"]).env("TOKEN", "t").stdin(r#"{"access_token":"a"}"#).run();
    import.exits(2).prints("").stderr_contains("cannot store tokens for 'srv'");
}
