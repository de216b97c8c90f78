//! Registering a client (RFC 7591), using it again, and deleting it (RFC 7592).

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::oauth::{ProtectedServer, oauth_error, parse_form};
use crate::support::{Reply, Request, Run, Sandbox};

fn log_in(server: &ProtectedServer, sandbox: &Sandbox, words: &[&str]) -> Run {
    sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "20s"]).args(words).with_browser().run()
}

/// The authorization server answers a registration with this.
fn register_as(server: &ProtectedServer, reply: impl Fn(&Value) -> Reply + Send + 'static) {
    server.at_issuer(move |request| (request.target == "/register").then(|| reply(&request.json())));
}

/// The bodies of the registrations, in order.
fn registrations(server: &ProtectedServer) -> Vec<Value> {
    server.issuer.requests().iter().filter(|request| request.target == "/register").map(Request::json).collect()
}

fn token_requests(server: &ProtectedServer) -> Vec<Request> {
    server.issuer.requests().into_iter().filter(|request| request.target == "/token").collect()
}

/// RFC 8414 §2: metadata without the member means `client_secret_basic`.
#[test]
fn metadata_without_methods_means_basic_and_then_a_public_client() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"token_endpoint_auth_methods_supported": null}));
    log_in(&server, &sandbox, &[]).exits(0);
    assert_eq!(registrations(&server)[0]["token_endpoint_auth_method"], "client_secret_basic");
    assert!(token_requests(&server)[0].header("authorization").unwrap().starts_with("Basic "));

    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"token_endpoint_auth_methods_supported": null}));
    register_as(&server, |body| match body["token_endpoint_auth_method"] == "none" {
        true => Reply::json(&json!({"client_id": "public"})).with_status(201),
        false => oauth_error(400, "invalid_client_metadata"),
    });
    log_in(&server, &sandbox, &[]).exits(0);
    assert_eq!(server.token_forms()[0]["client_id"], "public");
    assert_eq!(token_requests(&server)[0].header("authorization"), None);
}

#[test]
fn a_secret_that_is_returned_is_used_whatever_method_is_echoed() {
    for echoed in [json!("none"), Value::Null, json!("private_key_jwt"), json!("other")] {
        for (offered, header) in [("client_secret_basic", true), ("client_secret_post", false)] {
            let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
            server.override_metadata(json!({"token_endpoint_auth_methods_supported": ["none", offered]}));
            let echoed = echoed.clone();
            register_as(&server, move |_| {
                let client = json!({"client_id": "c", "client_secret": "s", "token_endpoint_auth_method": echoed});
                Reply::json(&client).with_status(201)
            });
            log_in(&server, &sandbox, &[]).exits(0);
            let request = token_requests(&server).remove(0);
            match header {
                true => assert_eq!(request.header("authorization"), Some("Basic Yzpz")),
                false => assert_eq!(parse_form(&request)["client_secret"], "s"),
            }
        }
    }
}

/// The server is strict about the method that it echoed: canaille 0.3.6 does this.
#[test]
fn a_secret_that_is_refused_is_omitted_if_public_clients_are_allowed() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"token_endpoint_auth_methods_supported": ["client_secret_basic", "none"]}));
    server.at_issuer(|request| match request.target.as_str() {
        "/register" => {
            let client = json!({"client_id": "c", "client_secret": "s", "token_endpoint_auth_method": "none"});
            Some(Reply::json(&client).with_status(201))
        }
        "/token" if request.header("authorization").is_some() => Some(oauth_error(401, "invalid_client")),
        _ => None,
    });
    server.log_in_with_expired_token_by(&sandbox, || _ = log_in(&server, &sandbox, &[]).exits(0));
    let requests = token_requests(&server);
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[1].header("authorization"), None);
    assert_eq!(parse_form(&requests[1])["client_id"], "c");
    assert!(!parse_form(&requests[1]).contains_key("client_secret"));
    // What is stored is what was accepted: a renewal needs one request.
    sandbox.mcpipe(["auth", "token", &server.url()]).run().exits(0);
    assert_eq!(token_requests(&server).len(), 3);
    // On a device: the second attempt is accepted before the user has entered the code.
    for endpoint in ["/token", "/device"] {
        let is_first = AtomicBool::new(true);
        server.at_issuer(move |request| match request.header("authorization") {
            Some(_) if request.target == endpoint => Some(oauth_error(401, "invalid_client")),
            None if request.target == "/token" && is_first.swap(false, Ordering::SeqCst) => {
                Some(oauth_error(400, "authorization_pending"))
            }
            _ => None,
        });
        log_in(&server, &Sandbox::new(), &["--device"]).exits(0);
    }
    assert_eq!(token_requests(&server).len(), 3 + 3 + 2);

    // A stated method is obeyed, and a server without public clients is not asked again.
    for (offered, words) in [
        (json!(["client_secret_basic", "none"]), &["--token-endpoint-auth-method", "client_secret_basic"][..]),
        (json!(["client_secret_basic"]), &[]),
    ] {
        let sandbox = Sandbox::new();
        server.override_metadata(json!({"token_endpoint_auth_methods_supported": offered}));
        let before = token_requests(&server).len();
        log_in(&server, &sandbox, words).exits(4).stderr_contains("invalid_client");
        assert_eq!(token_requests(&server).len(), before + 1);
    }
}

#[test]
fn a_stated_method_is_registered_and_used() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    log_in(&server, &sandbox, &["--token-endpoint-auth-method", "client_secret_post"]).exits(0);
    assert_eq!(registrations(&server)[0]["token_endpoint_auth_method"], "client_secret_post");
    assert!(server.token_forms()[0].contains_key("client_secret"));
    // The registration is for that method only.
    log_in(&server, &sandbox, &["--token-endpoint-auth-method", "client_secret_basic"]).exits(0);
    assert_eq!(registrations(&server)[1]["token_endpoint_auth_method"], "client_secret_basic");
    assert!(token_requests(&server)[1].header("authorization").is_some());

    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    register_as(&server, |_| Reply::json(&json!({"client_id": "c"})).with_status(201));
    let run = log_in(&server, &sandbox, &["--token-endpoint-auth-method", "client_secret_post"]);
    run.exits(4)
        .prints("")
        .stderr_contains("registered mcpipe without credentials")
        .stderr_contains("hint: omit --token");
    assert!(server.authorization_requests().is_empty());
}

#[test]
fn the_name_of_the_client_can_be_set() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    register_as(&server, |body| match body["client_name"] == "Known client" {
        true => Reply::json(&json!({"client_id": "c", "token_endpoint_auth_method": "none"})).with_status(201),
        false => Reply::text("application/json", r#"{"err":"client_name is not on the list"}"#).with_status(403),
    });
    let run = log_in(&server, &sandbox, &[]);
    run.exits(4)
        .prints("")
        .stderr_contains(r#"HTTP 403: {"err":"client_name is not on the list"}"#)
        .stderr_contains("to register under another name: --client-name NAME\n");
    log_in(&server, &sandbox, &["--client-name", "Known client"]).exits(0);
    sandbox
        .config(&format!("[servers.srv]\nurl = \"{}\"\nauth = {{ client_name = \"Known client\" }}\n", server.url()));
    sandbox.mcpipe(["auth", "logout", "srv"]).run().exits(0);
    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
}

#[test]
fn a_client_with_another_name_is_registered_again() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let port = crate::support::real::free_port().to_string();
    let names = || -> Vec<Value> { registrations(&server).iter().map(|body| body["client_name"].clone()).collect() };
    for (words, expected) in [
        (&[][..], &["mcpipe"][..]),
        (&["--client-name", "Editor"], &["mcpipe", "Editor"]),
        (&["--client-name", "Editor"], &["mcpipe", "Editor"]),
        // Without a name, the client that there is.
        (&[], &["mcpipe", "Editor"]),
        (&["--client-name", "mcpipe"], &["mcpipe", "Editor", "mcpipe"]),
    ] {
        log_in(&server, &sandbox, &[&["--redirect-port", &port], words].concat()).exits(0);
        assert_eq!(names(), expected, "{words:?}");
    }
}

#[test]
fn the_body_of_a_refused_registration_is_shown() {
    let bodies = [
        ("text/plain", "Forbidden by policy", "HTTP 403: Forbidden by policy"),
        ("application/json", r#"{"status":403,"error":true,"message":"not you"}"#, "HTTP 403: not you"),
        ("text/html", "<html><head><title>Blocked</title></head></html>", "HTTP 403: Blocked"),
        ("application/json", r#"["x"]"#, r#"HTTP 403: ["x"]"#),
        ("text/plain", "", "HTTP 403"),
    ];
    for (kind, body, said) in bodies {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        register_as(&server, move |_| Reply::text(kind, body).with_status(403));
        let run = log_in(&server, &sandbox, &[]);
        run.exits(4).prints("").stderr_contains("did not register mcpipe\n").stderr_contains(&format!("  {said}\n"));
    }
}

/// A server whose second registration is another client, and that has forgotten the first.
fn forgetful(server: &ProtectedServer, refuse: impl Fn(&Request) -> Option<Reply> + Send + 'static) {
    let count = std::sync::atomic::AtomicUsize::new(2);
    register_as(server, move |_| {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Reply::json(&json!({"client_id": format!("mcpipe-{number}"), "token_endpoint_auth_method": "none"}))
    });
    server.at_issuer(refuse);
}

fn refuses_the_first_client(request: &Request) -> Option<Reply> {
    let form = (request.method == "POST").then(|| parse_form(request))?;
    (form.get("client_id")? == "mcpipe-1").then(|| oauth_error(401, "invalid_client"))
}

#[test]
fn a_forgotten_client_is_registered_again_once() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in(&sandbox);
    forgetful(&server, refuses_the_first_client);
    let run = log_in(&server, &sandbox, &[]);
    run.exits(0).stderr_contains("does not accept the earlier registration of mcpipe; registering again");
    assert_eq!(server.token_forms().last().unwrap()["client_id"], "mcpipe-2");
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    // A new client that is refused is not registered once more.
    server.at_issuer(|request| (request.target == "/token").then(|| oauth_error(401, "invalid_client")));
    let before = registrations(&server).len();
    let run = log_in(&server, &sandbox, &[]);
    run.exits(4).stderr_contains("hint: try another method of client authentication: mcpipe auth login");
    assert_eq!(registrations(&server).len(), before + 1);
}

#[test]
fn a_client_that_the_login_page_does_not_know_is_registered_again() {
    for status in [400, 401] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.log_in(&sandbox);
        forgetful(&server, move |request| {
            let is_first = request.target.starts_with("/authorize") && request.target.contains("client_id=mcpipe-1&");
            is_first.then(|| Reply::text("text/html", "<p>Unknown client").with_status(status))
        });
        log_in(&server, &sandbox, &[]).exits(0).stderr_contains("registering again");
        assert_eq!(server.token_forms().last().unwrap()["client_id"], "mcpipe-2");
    }
}

#[test]
fn a_client_that_was_registered_for_a_browser_is_registered_again_for_a_device() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in(&sandbox);
    forgetful(&server, |request| {
        let is_first = request.method == "POST" && parse_form(request).get("client_id")? == "mcpipe-1";
        is_first.then(|| oauth_error(400, "unauthorized_client"))
    });
    log_in(&server, &sandbox, &["--device"]).exits(0).stderr_contains("registering again");
    assert_eq!(server.token_forms().last().unwrap()["client_id"], "mcpipe-2");
    // A client that was registered for a device is not registered once more.
    server.at_issuer(|request| (request.target == "/token").then(|| oauth_error(400, "unauthorized_client")));
    let before = registrations(&server).len();
    sandbox.mcpipe(["auth", "logout", &server.url()]).run().exits(0);
    log_in(&server, &sandbox, &["--device"]).exits(4).stderr_contains("said unauthorized_client");
    assert_eq!(registrations(&server).len(), before + 1);
}

#[test]
fn a_success_without_a_client_is_not_shown() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    register_as(&server, |_| Reply::json(&json!({"clientId": "x", "client_secret": "s3cret"})).with_status(201));
    let run = log_in(&server, &sandbox, &[]);
    run.exits(4).stderr_contains("its response has no 'client_id'").hides("s3cret");
}

#[test]
fn a_forgotten_client_is_registered_again_for_a_device() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    log_in(&server, &sandbox, &["--device"]).exits(0);
    forgetful(&server, refuses_the_first_client);
    log_in(&server, &sandbox, &["--device"]).exits(0).stderr_contains("registering again");
    assert_eq!(server.token_forms().last().unwrap()["client_id"], "mcpipe-2");
}

#[test]
fn a_client_registered_for_a_denied_login_is_used_for_the_next() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.queue_replies("/token", vec![oauth_error(400, "invalid_grant")]);
    log_in(&server, &sandbox, &[]).exits(4);
    assert_eq!(sandbox.stored_credentials()[0]["state"], "registered");
    let status = sandbox.mcpipe(["auth", "status", &server.url()]).run();
    status.exits(4).stdout_contains("\t-\tnot logged in\t").hides("registered").stderr_contains("not logged in to");
    sandbox.mcpipe(["list", &server.url()]).run().exits(4).stderr_contains("requires a login");
    log_in(&server, &sandbox, &[]).exits(0);
    server.registered_once_for_each_redirect();
    assert_eq!(sandbox.login_status()[0]["state"], "valid");
}

/// A login with other scopes registers another client; if it is denied, the tokens that there are remain.
#[test]
fn a_denied_login_keeps_the_login_that_there_is() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in(&sandbox);
    server.queue_replies("/token", vec![oauth_error(400, "invalid_grant")]);
    log_in(&server, &sandbox, &["--scope", "call"]).exits(4);
    assert_eq!(registrations(&server).len(), 2);
    assert_eq!(sandbox.login_status()[0]["state"], "valid");
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    log_in(&server, &sandbox, &["--scope", "call"]).exits(0);
    sandbox.call_add(&server.url(), &[]).exits(0).prints("3\n");
}

/// RFC 7592 §2.3.
#[test]
fn logging_out_deletes_the_registration_where_the_server_allows_it() {
    for (status, is_deleted) in [(204, true), (405, false), (401, false)] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let origin = server.issuer.url("");
        register_as(&server, move |_| {
            Reply::json(&json!({
                "client_id": "c", "token_endpoint_auth_method": "none",
                "registration_client_uri": format!("{origin}/register/c"), "registration_access_token": "reg-t0ken",
            }))
        });
        server.at_issuer(move |request| {
            (request.method == "DELETE" && request.target == "/register/c").then(|| Reply::status(status))
        });
        let login = log_in(&server, &sandbox, &["-vv"]);
        login.exits(0);
        let logout = sandbox.mcpipe(["auth", "logout", &server.url(), "--json", "-vv"]).run();
        let removed = logout.exits(0).json()["removed"][0].clone();
        assert_eq!((&removed["revoked"], &removed["client_deleted"]), (&json!(true), &json!(is_deleted)));
        let requests = server.issuer.requests();
        let request = requests.iter().find(|request| request.method == "DELETE").unwrap();
        assert_eq!(request.header("authorization"), Some("Bearer reg-t0ken"));
        login.hides("reg-t0ken");
        logout.hides("reg-t0ken");
        assert_eq!(sandbox.stored_credentials(), json!([]));
    }
}

#[test]
fn revocation_uses_a_method_that_its_endpoint_supports() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "revocation_endpoint_auth_methods_supported": ["client_secret_post"],
    }));
    log_in(&server, &sandbox, &[]).exits(0);
    sandbox.mcpipe(["auth", "logout", &server.url()]).run().exits(0).stderr_contains("removed and revoked");
    let requests = server.issuer.requests();
    let revocation = requests.iter().find(|request| request.target == "/revoke").unwrap();
    assert_eq!(revocation.header("authorization"), None);
    assert_eq!(parse_form(revocation)["client_secret"], "s3cret/of:mcpipe-1");
}

#[test]
fn the_hint_names_the_metadata_document_if_the_server_supports_it() {
    for supported in [true, false] {
        let sandbox = Sandbox::new();
        let start = |metadata: Value| {
            let server = ProtectedServer::start();
            server.override_metadata(metadata);
            server
        };
        // Without registration, and with one that is refused.
        let without = start(json!({"registration_endpoint": null, "client_id_metadata_document_supported": supported}));
        let refusing = start(json!({"client_id_metadata_document_supported": supported}));
        register_as(&refusing, |_| oauth_error(403, "access_denied"));
        for server in [without, refusing] {
            let run = log_in(&server, &sandbox, &[]);
            run.exits(4).stderr_contains("set its ID with --client-id ID, or client_id in [servers.NAME.auth]");
            let hint = "publish a client ID metadata document, and name it with --client-metadata-url URL";
            assert_eq!(run.stderr().contains(hint), supported, "{}", run.stderr());
        }
    }
}
