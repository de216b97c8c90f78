//! `auth`, and logins started by other commands, from the command line to the wire.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::{ProtectedServer, oauth_error};
use crate::support::pty::TerminalStreams;
use crate::support::tls::CertificateAuthority;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

#[test]
fn without_a_terminal_the_login_command_is_shown() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    for words in [&[][..], &["--login", "never"], &["--login", "auto"]] {
        let run = sandbox.call_add(&server.url(), words);
        run.exits(4).prints("").stderr_contains(&format!("hint: mcpipe auth login {}", server.url()));
    }
    let word = |word: &str| sandbox.mcpipe(["list", &server.url()]).env("MCPIPE_LOGIN", word).with_browser().run();
    word("never").exits(4);
    word("perhaps").exits(4).stderr_contains("invalid MCPIPE_LOGIN 'perhaps'; use auto, always or never");
    let json = sandbox.mcpipe(["list", &server.url(), "--json"]).run();
    json.exits(4).prints("");
    let error: Value = serde_json::from_str(json.stderr().lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["class"], "auth");
    assert!(
        server.issuer_requests().is_empty(),
        "nobody asked the authorization server: {:?}",
        server.issuer_requests()
    );
}

#[test]
fn a_login_on_the_spot_is_kept_stepped_up_and_used_without_further_ado() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let listed = sandbox.mcpipe(["list", &server.url(), "--login", "always"]).with_browser().run();
    listed.exits(0).stderr_contains("Opening a browser to log in");
    server.assert_no_secret_left(&sandbox, &[&listed]);
    let called = sandbox.call_add(&server.url(), &[]);
    called.exits(4).stderr_contains("scopes that the login does not have").stderr_contains("--scope 'read call'");
    let called =
        sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2"]).env("MCPIPE_LOGIN", "always").with_browser().run();
    called.exits(0).prints("3\n");
    let asked: Vec<String> = server.authorization_requests().iter().map(|query| query["scope"].clone()).collect();
    assert_eq!(asked, ["read", "read call"]);
    let before = (server.mcp.requests().len(), server.issuer.requests().len());
    sandbox.call_add(&server.url(), &[]).succeeds().prints("3\n");
    let exchange = server.mcp.exchanges();
    assert_eq!(exchange[before.0..], ["POST tools/list", "POST tools/call"], "each once: none is refused");
    assert_eq!(server.issuer.requests().len(), before.1);
}

#[test]
fn every_command_that_waits_for_one_server_logs_in_at_a_terminal() {
    for command in ["list", "prompt"] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let run = sandbox.mcpipe([command, &server.url()]).with_browser().at_terminal(TerminalStreams::ALL).wait();
        assert!(run.code == 0 && run.screen.contains("Opening a browser to log in"), "{command}: {}", run.screen);
    }
}

#[test]
fn a_session_of_the_legacy_era_is_logged_in_to_on_the_spot() {
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let sandbox = Sandbox::new();
        let behave = LegacyHttpOptions { session_id: Some("s-1"), ..LegacyHttpOptions::default() };
        let server = ProtectedServer::in_front_of(Mcp::legacy(revision).http_script(behave));
        let words = ["--login", "always", "--protocol", "legacy"];
        sandbox.call_add(&server.url(), &words).exits(0).prints("3\n");
        assert_eq!(
            server.requested_grants(),
            ["authorization_code", "authorization_code"],
            "{revision}: a login and a step-up"
        );
        let before = server.mcp.requests().len();
        sandbox.call_add(&server.url(), &[]).succeeds().prints("3\n");
        let later = server.mcp.requests().split_off(before);
        assert!(later.iter().all(|request| request.header("authorization") == Some("Bearer access-2-call")));
        assert_eq!(later.iter().filter(|request| request.rpc_method() == "tools/call").count(), 1, "{revision}");
    }
}

#[test]
fn an_authority_of_our_own_vouches_for_both_servers() {
    let (sandbox, authority) = (Sandbox::new(), CertificateAuthority::new());
    let server = ProtectedServer::tls(authority.tls_config(&authority.server_certificate(&["127.0.0.1"])));
    let ca = authority.write(&sandbox.work());
    let run = |words: &[&str]| {
        let run = sandbox.mcpipe(words.iter().copied()).with_browser();
        // Output for the browser.
        run.env("CURL_CA_BUNDLE", ca.as_os_str()).run()
    };
    let url = server.url();
    let unknown = run(&["auth", "login", &url]);
    unknown.exits(5).stderr_contains("certificate");
    assert!(server.issuer_requests().is_empty());
    run(&["auth", "login", &url, "--cacert", ca.to_str().unwrap()]).exits(0);
    server.ledger.revoked.lock().unwrap().push("access-1".into());
    run(&["list", &url, "--cacert", ca.to_str().unwrap()]).succeeds();
    assert_eq!(server.requested_grants(), ["authorization_code", "refresh_token"]);
    let out = run(&["auth", "logout", &url, "--cacert", ca.to_str().unwrap(), "--json"]);
    assert_eq!(out.exits(0).json()["removed"][0]["revoked"], true);
}

#[test]
fn auth_login_status_token_and_logout() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.config(&format!(
        "[servers.srv]\nurl = \"{}\"\nheaders = {{ X-Key = \"k\" }}\nauth = {{ scopes = [\"call\"] }}\n",
        server.url()
    ));
    let login = sandbox.mcpipe(["auth", "srv"]).with_browser().run();
    login.exits(0).prints("").stderr_contains("Logged in to srv").stderr_contains("then refreshed");
    server.assert_no_secret_in(login.stderr());
    let requests = server.mcp.requests().len() + server.issuer.requests().len();
    let status = sandbox.mcpipe(["auth", "status", "srv"]).run();
    status.exits(0).stdout_contains("valid").stdout_contains("srv");
    server.assert_no_secret_in(status.stdout());
    let known = &sandbox.login_status()[0];
    assert_eq!(
        (&known["server"], &known["state"], &known["refreshable"]),
        (&json!("srv"), &json!("valid"), &json!(true))
    );
    assert_eq!(known["issuer"], server.issuer.url(""));
    assert_eq!(server.mcp.requests().len() + server.issuer.requests().len(), requests, "status asks nobody");
    sandbox.mcpipe(["auth", "token", "srv"]).run().succeeds().prints("access-1-call\n");
    sandbox.mcpipe(["call", "srv", "add", "a=1", "b=2"]).run().succeeds().prints("3\n");
    // The server's text is printed unchanged, whatever it contains.
    let echo = ["call", "srv", "echo", "text=access-1-call"];
    sandbox.mcpipe(echo).run().succeeds().prints("access-1-call\n");
    sandbox.mcpipe(["auth", "status", "srv", "--check"]).run().exits(0);
    let gone = sandbox.mcpipe(["auth", "logout", "srv", "--json"]).run();
    assert_eq!(gone.exits(0).json()["removed"][0]["revoked"], true);
    assert_eq!(*server.ledger.revoked.lock().unwrap(), ["refresh-1-call", "access-1-call"]);
    sandbox.mcpipe(["call", "srv", "add", "a=1", "b=2"]).run().exits(4);
    sandbox.mcpipe(["auth", "status", "srv"]).run().exits(4).stderr_contains("mcpipe auth login srv");
    sandbox.mcpipe(["auth", "token", "srv"]).run().exits(4).prints("");
    sandbox.mcpipe(["auth", "logout", "srv"]).run().exits(0).stderr_contains("not logged in");
    assert_eq!(sandbox.login_status(), json!([]));
}

#[test]
fn a_login_whose_token_the_server_refuses_fails_and_is_kept() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_server(|request| {
        let challenge = "Bearer error=\"invalid_token\", error_description=\"unknown audience\"";
        (request.target == "/mcp").then(|| Reply::status(401).header("WWW-Authenticate", challenge))
    });
    let (login, url) = (sandbox.mcpipe(["auth", "login", &server.url()]).with_browser().run(), server.url());
    login.exits(4).prints("").stderr_contains(&format!("Logged in to {url} at")).stderr_contains(&format!(
        "mcpipe: error: {url} refuses the token of the new login\n  response: unknown audience\n"
    ));
    assert_eq!(server.requested_grants(), ["authorization_code"]);
    assert_eq!(sandbox.login_status()[0]["state"], "valid");
}

#[test]
fn an_interrupt_while_a_login_is_checked_keeps_the_login() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_server(|request| request.header("authorization").map(|_| Reply::never()));
    let login = sandbox.mcpipe(["auth", "login", &server.url()]).with_browser().start();
    server.mcp.wait_for("the check", |request| request.header("authorization").is_some());
    login.signal(rustix::process::Signal::INT);
    login.wait().exits(130).prints("").stderr_contains("Logged in to").hides("could not check the login");
    assert_eq!(sandbox.login_status()[0]["state"], "valid");
}

/// A pasted command reaches the same server.
#[test]
fn hints_repeat_the_configuration_that_was_named() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.file(
        "my own.toml",
        format!("[defaults]\ncredential_store = \"file\"\n[servers.srv]\nurl = {:?}\n", server.url()),
    );
    let named = ["--config", "my own.toml"];
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).args(named);
    let hint = |words: &[&str], code: i32| {
        let run = run(words).run();
        run.exits(code).prints("");
        run.stderr().split_once("hint: ").unwrap().1.to_owned()
    };
    let login = "mcpipe auth login srv --config 'my own.toml'\n";
    let check = "find out whether it needs a login: mcpipe auth status srv --check --config 'my own.toml'\n";
    assert_eq!(hint(&["auth", "status", "srv"], 4), check);
    assert_eq!(hint(&["auth", "token", "srv"], 4), login);
    for words in
        [["auth", "status", "srf"], ["auth", "token", "srf"], ["auth", "logout", "srf"], ["config", "get", "srf"]]
    {
        assert_eq!(hint(&words, 3), "did you mean srv?\n");
    }
    let list = "list the configured servers: mcpipe config list --config 'my own.toml'";
    let add = format!("{list}; or add it: mcpipe config add other URL --config 'my own.toml'\n");
    assert_eq!(hint(&["auth", "status", "other"], 3), add);
    assert_eq!(hint(&["config", "get", "other"], 3), format!("{list}\n"));
    let client = "mcpipe auth login srv --grant client-credentials --client-id ID --client-secret-env VAR --config 'my own.toml'\n";
    assert_eq!(hint(&["auth", "login", "srv", "--grant", "client-credentials"], 2), client);
    // A registration that is rejected, and one that the authorization page does not know.
    server.queue_replies("/token", vec![oauth_error(401, "invalid_client")]);
    let refused = run(&["auth", "login", "srv"]).with_browser().run();
    let anew = "mcpipe auth logout srv --config 'my own.toml' && mcpipe auth login srv --config 'my own.toml'\n";
    refused.exits(4).stderr_contains(
        "hint: try another method of client authentication: \
         mcpipe auth login srv --config 'my own.toml' --token-endpoint-auth-method METHOD\n",
    );
    let late = run(&["auth", "login", "srv", "--timeout", "1s"]).env("BROWSER", "true").run();
    late.exits(6).stderr_contains("remove the registration first: mcpipe auth logout srv --config 'my own.toml'\n");
    let nowhere = run(&["auth", "login", "srv"]).env("BROWSER", "false").run();
    nowhere.exits(4).stderr_contains("another machine: mcpipe auth login srv --config 'my own.toml' --no-browser\n");
    // Expired tokens.
    let tokens = r#"{"access_token":"access-1-call","expires_in":1}"#;
    run(&["auth", "import", "srv"]).stdin(tokens).run().exits(0);
    std::thread::sleep(Duration::from_millis(1100));
    let status = run(&["auth", "status", "srv"]).run();
    status.exits(4).stderr_contains(&format!("mcpipe: error: the login to srv has expired\nhint: {login}"));
    // Tokens that cannot be read.
    let file = sandbox.path().join("home/.local/share/mcpipe/credentials.json");
    let mut stored: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    stored["records"].as_object_mut().unwrap().values_mut().for_each(|record| record["record"] = json!("{"));
    std::fs::write(&file, stored.to_string()).unwrap();
    assert_eq!(hint(&["auth", "token", "srv"], 3), format!("remove them and log in again: {anew}"));
}

#[test]
fn tokens_from_elsewhere_are_stored_and_refreshed() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.issued.store(7, Ordering::SeqCst);
    let url = server.url();
    let import = |text: &str| sandbox.mcpipe(["auth", "import", &url]).stdin(text).run();
    import(r#"{"access_token":"access-7-call","refresh_token":"refresh-7-call","expires_in":1,"client_id":"other"}"#)
        .exits(0)
        .prints("");
    std::thread::sleep(Duration::from_millis(1100));
    sandbox.call_add(&url, &[]).succeeds().prints("3\n");
    assert_eq!(server.requested_grants(), ["refresh_token"]);
    sandbox.mcpipe(["auth", "token", &url]).run().succeeds().prints("access-8-call\n");
    let printed = sandbox.mcpipe(["auth", "token", &url, "--json"]).run();
    let other = Sandbox::new();
    other.mcpipe(["auth", "import", &url]).stdin(printed.exits(0).stdout().as_bytes()).run().exits(0);
    other.call_add(&url, &[]).succeeds().prints("3\n");
    for bad in [
        "",
        "access-1",
        r#"["access-1"]"#,
        r#"{"error":"access-1"}"#,
        r#"{"access_token":"access-1","refresh_token":"r"}"#,
        r#"{"access_token":"access-1","token_type":"DPoP"}"#,
    ] {
        let run = import(bad);
        run.exits(2).prints("");
        server.assert_no_secret_in(run.stderr());
    }
}

#[test]
fn at_a_terminal_somebody_is_asked_on_the_spot_but_not_by_the_overview() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.config(&format!("[servers.srv]\nurl = \"{}\"\n", server.url()));
    let overview = sandbox.mcpipe(["list"]).with_browser().at_terminal(TerminalStreams::ALL).wait();
    overview.exits(4);
    assert!(server.issuer_requests().is_empty());
    sandbox.mcpipe(["list", "srv", "--no-input"]).with_browser().at_terminal(TerminalStreams::ALL).wait().exits(4);
    let list = sandbox.mcpipe(["list", "srv"]).with_browser().at_terminal(TerminalStreams::ALL).wait();
    list.exits(0);
    assert_eq!(server.requested_grants(), ["authorization_code"]);
}

#[test]
fn a_login_takes_longer_than_an_answer_may() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.token_delay_ms.store(4000, Ordering::SeqCst);
    let words = ["--login", "always", "--timeout", "2s", "--connect-timeout", "2s"];
    let run = sandbox.mcpipe(["list", &server.url()]).args(words).with_browser().run();
    run.exits(0);
}

#[test]
fn what_takes_no_login_says_so() {
    let sandbox = Sandbox::new();
    sandbox
        .mcpipe(["auth", "login", "cat -"])
        .run()
        .exits(2)
        .stderr_contains("does not support logins")
        .stderr_contains("-e KEY=VALUE");
    let inner = Mcp::modern().http_script(LegacyHttpOptions::default());
    let open = HttpServer::start(move |request| match request.target.as_str() {
        "/mcp" => inner(request),
        _ => Reply::status(404),
    });
    sandbox
        .mcpipe(["auth", "login", &open.url("/mcp")])
        .with_browser()
        .run()
        .exits(2)
        .stderr_contains("does not require a login\n")
        .stderr_contains(&format!("\nhint: use it without a login: mcpipe list {}\n", open.url("/mcp")));
    let server = ProtectedServer::start();
    sandbox
        .mcpipe(["auth", "login", &server.url(), "--bearer-env", "TOKEN"])
        .env("TOKEN", "access-0")
        .run()
        .exits(2)
        .stderr_contains("Authorization");
    sandbox.mcpipe(["auth", "login", "nowhere"]).run().exits(3);
    sandbox.mcpipe(["auth", "login"]).run().exits(2);
}

#[test]
fn a_token_needs_a_login_and_the_server_is_not_asked() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.config(&format!("[servers.srv]\nurl = '{}'\n", server.url()));
    let token = || sandbox.mcpipe(["auth", "token", "srv"]).run();
    token().exits(4).stderr_is("mcpipe: error: not logged in to srv\nhint: mcpipe auth login srv\n");
    let import = sandbox.mcpipe(["auth", "import", &server.url()]).stdin(r#"{"access_token":"access-7"}"#).run();
    import.exits(0);
    token().exits(4).stderr_is(
        "mcpipe: error: not logged in to srv\n  \
         another login is stored for the same URL, but configured servers do not share logins\n\
         hint: mcpipe auth login srv\n",
    );
}

#[test]
fn a_server_that_wants_something_else_is_not_taken_for_one_that_knows_logins() {
    let sandbox = Sandbox::new();
    let server = HttpServer::start(|request| match request.target.as_str() {
        "/mcp" => Reply::text("text/plain", "key missing").with_status(401),
        _ => Reply::status(404),
    });
    let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--login", "always"]).with_browser().run();
    run.exits(4).stderr_contains("--bearer-env VAR");
    let basic = HttpServer::start(|_| Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    sandbox.mcpipe(["list", &basic.url("/mcp"), "--login", "always"]).with_browser().run().exits(4);
    assert_eq!(basic.requests().len(), 1);
}

/// `--insecure` is about the certificate of the MCP server.
#[test]
fn an_unverified_authorization_server_gets_no_secret() {
    let (sandbox, authority) = (Sandbox::new(), CertificateAuthority::new());
    let identity = authority.server_certificate(&["127.0.0.1"]);
    let issuer = HttpServer::tls(authority.tls_config(&identity), |_| Reply::status(404));
    let named = issuer.url("");
    let server = HttpServer::start(move |request| match request.target.as_str() {
        "/mcp" => Reply::status(401).header("WWW-Authenticate", "Bearer"),
        path if path.starts_with("/.well-known/oauth-protected-resource") => {
            let resource = format!("http://{}/mcp", request.header("host").unwrap());
            Reply::json(&json!({"resource": resource, "authorization_servers": [named]}))
        }
        _ => Reply::status(404),
    });
    let words = ["auth", "login", &server.url("/mcp"), "--insecure", "--grant", "client-credentials"];
    let run =
        sandbox.mcpipe(words).args(["--client-id", "ci", "--client-secret-env", "SECRET"]).env("SECRET", "s3cret");
    run.run().exits(5).prints("").stderr_contains("certificate").stderr_contains("--cacert FILE");
    assert!(issuer.requests().is_empty(), "{:?}", issuer.exchanges());
}

#[test]
fn auth_status_connects_with_check() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let check = || sandbox.mcpipe(["auth", "status", &server.url(), "--check"]).run();
    check().exits(4).prints("").stderr_contains("requires a login");
    let login = sandbox.mcpipe(["auth", "login", &server.url(), "--json"]).with_browser().run();
    let login = login.exits(0).json();
    assert_eq!((&login["url"], &login["state"]), (&json!(server.url()), &json!("valid")));
    assert_eq!(login, sandbox.login_status()[0], "the same record");
    check().exits(0).stdout_contains("valid");
    let open = Mcp::modern().http();
    let run = sandbox.mcpipe(["auth", "status", &open.url("/mcp"), "--check"]).run();
    run.exits(0).prints("").stderr_contains("accepts requests without a login").hides("auth login");
    let token = ["auth", "status", &server.url(), "--check", "--bearer-env", "TOKEN"];
    let token = sandbox.mcpipe(token).env("TOKEN", "access-1").run();
    token
        .exits(0)
        .stdout_contains("valid")
        .stderr_contains("accepts the credentials that are sent instead of a login\n");
    server.ledger.revoked.lock().unwrap().extend((1..9).map(|number| format!("access-{number}")));
    check().exits(4).stderr_contains("mcpipe auth login");
    let names = ["auth", "status", "elsewhere"];
    sandbox.mcpipe(names).run().exits(3).stderr_contains("elsewhere");
}

#[test]
fn logging_out_of_everything_revokes_what_can_be_revoked() {
    let (sandbox, one, other) = (Sandbox::new(), ProtectedServer::start(), ProtectedServer::start());
    one.log_in(&sandbox);
    other.log_in(&sandbox);
    other.at_issuer(|request| (request.target == "/revoke").then(Reply::disconnect));
    let out = sandbox.mcpipe(["auth", "logout", "--all", "--json"]).run();
    let removed = out.exits(0).json()["removed"].as_array().unwrap().clone();
    let revoked =
        |server: &ProtectedServer| removed.iter().find(|one| one["url"] == server.url()).unwrap()["revoked"].clone();
    assert_eq!((revoked(&one), revoked(&other)), (json!(true), json!(false)));
    out.stderr_contains("{\"warning\":\"the tokens of").stderr_contains("are removed here, but not revoked");
    one.assert_no_secret_left(&sandbox, &[&out]);
    assert_eq!(sandbox.login_status(), json!([]));
    sandbox.mcpipe(["auth", "logout", "--all"]).run().exits(0).stderr_contains("not logged in to any server");
    sandbox.mcpipe(["auth", "logout"]).run().exits(2);
}

/// A login belongs to the name of an entry, and can be removed after the name is gone.
#[test]
fn the_login_of_an_entry_that_was_renamed_or_removed_can_be_removed() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.config(&format!("[servers.old]\nurl = {:?}\n", server.url()));
    let run = |words: &[&str]| sandbox.mcpipe(words).run();
    let note = |name: &str| format!("the login of '{name}' is still stored; to remove it: mcpipe auth logout {name}\n");
    let tokens = r#"{"access_token":"access-1-call"}"#;
    for (change, name) in [(&["config", "rename", "old", "new"][..], "old"), (&["config", "remove", "new"], "new")] {
        sandbox.mcpipe(["auth", "import", name]).stdin(tokens).run().exits(0);
        run(change).exits(0).stderr_contains(&note(name));
        let gone = run(&["auth", "logout", name, "--json"]);
        assert_eq!(gone.exits(0).json()["removed"].as_array().unwrap().len(), 1);
        run(&["auth", "logout", name]).exits(3).stderr_contains(&format!("no server named '{name}' is configured"));
        assert!(!run(&["auth", "status"]).stdout().contains(name));
    }
    sandbox.config("[servers.other]\ncommand = \"sh\"\n");
    run(&["config", "remove", "other"]).exits(0).hides("login");
}
