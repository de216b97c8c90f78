//! How mcpipe authenticates as a client: registered by the user, by a metadata document, or by dynamic registration;
//! with a secret, a key or an assertion; and with key-bound tokens.

use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::{ProtectedServer, oauth_error, parse_form};
use crate::support::{Mcp, Reply, Request, Run, Sandbox};

fn log_in(sandbox: &Sandbox, server: &ProtectedServer, words: &[&str]) -> Run {
    sandbox.mcpipe(["auth", "login", &server.url()]).args(words.iter().copied()).with_browser().run()
}

/// A configured server with these login settings.
fn configure(sandbox: &Sandbox, server: &ProtectedServer, auth: &str) {
    sandbox.config(&format!("[servers.srv]\nurl = \"{}\"\n[servers.srv.auth]\n{auth}\n", server.url()));
}

/// The first request to the token endpoint.
fn asked(server: &ProtectedServer) -> Request {
    server.issuer.requests().into_iter().find(|request| request.target == "/token").expect("a token request")
}

/// Header and claims of a signed token.
fn opened(token: &str) -> (Value, Value) {
    let part = |n: usize| {
        let bytes = URL_SAFE_NO_PAD.decode(token.split('.').nth(n).unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    (part(0), part(1))
}

#[test]
fn aut_10_a_client_that_is_named_is_used_before_any_other() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"client_id_metadata_document_supported": true}));
    let port = crate::support::real::free_port();
    let document = "https://example.com/client.json";
    configure(
        &sandbox,
        &server,
        &format!("client_id = \"mine\"\nredirect_port = {port}\nclient_metadata_url = \"{document}\""),
    );
    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
    let authorized = server.authorization_requests().remove(0);
    assert_eq!(authorized["client_id"], "mine");
    assert_eq!(authorized["redirect_uri"], format!("http://127.0.0.1:{port}/callback"));
    assert_eq!(server.count_issuer_requests("POST /register"), 0);
    assert_eq!(server.token_forms()[0]["client_id"], "mine");

    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"client_id_metadata_document_supported": true}));
    log_in(&sandbox, &server, &["--client-metadata-url", document]).exits(0);
    assert_eq!(server.authorization_requests()[0]["client_id"], document);
    assert_eq!(server.count_issuer_requests("POST /register"), 0);
    // If the server does not support client metadata documents, mcpipe registers itself.
    server.override_metadata(json!({}));
    log_in(&Sandbox::new(), &server, &["--client-metadata-url", document]).exits(0);
    assert_eq!(server.authorization_requests()[1]["client_id"], "mcpipe-1");
}

#[test]
fn aut_11_a_registration_names_the_redirect_that_is_used() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"token_endpoint_auth_methods_supported": ["client_secret_basic"]}));
    let run = log_in(&sandbox, &server, &[]);
    run.exits(0);
    let requests = server.issuer.requests();
    let body = requests.iter().find(|request| request.target == "/register").unwrap().json();
    let used = server.authorization_requests()[0]["redirect_uri"].clone();
    assert_eq!((&body["redirect_uris"], &body["application_type"]), (&json!([used]), &json!("native")));
    assert_eq!(body["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!((&body["response_types"], &body["scope"]), (&json!(["code"]), &json!("read")));
    // The secret from the registration is sent with the agreed method, each part encoded.
    let basic = asked(&server).header("authorization").unwrap().to_owned();
    let pair = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(&basic[6..]).unwrap()).unwrap();
    assert_eq!(pair, "mcpipe-1:s3cret%2Fof%3Amcpipe-1");
    server.assert_no_secret_left(&sandbox, &[&run]);
}

#[test]
fn aut_10_without_any_way_to_a_client_one_is_asked_for() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"registration_endpoint": null}));
    let run = log_in(&sandbox, &server, &[]);
    run.exits(4)
        .stderr_contains("mcpipe is not registered with the authorization server")
        .stderr_contains("--client-id ID");
    // It is sent once with each method that the server supports.
    let refusals = (0..3).map(|_| oauth_error(400, "invalid_client_metadata")).collect();
    server.override_metadata(json!({})).queue_replies("/register", refusals);
    log_in(&sandbox, &server, &[])
        .exits(4)
        .stderr_contains("said invalid_client_metadata")
        .stderr_contains("--client-id ID");
    assert!(server.authorization_requests().is_empty());
}

#[test]
fn aut_13_a_client_does_not_follow_the_server_to_another_issuer() {
    let (sandbox, server, other) = (Sandbox::new(), ProtectedServer::start(), ProtectedServer::start());
    log_in(&sandbox, &server, &[]).exits(0);
    // From now on the server accepts the tokens of another issuer.
    let there = other.issuer.url("");
    server.override_resource_metadata(json!({"authorization_servers": [there]}));
    server.ledger.revoked.lock().unwrap().extend((1..9).map(|number| format!("access-{number}")));
    other.ledger.issued.store(20, Ordering::SeqCst);
    let moved = sandbox.mcpipe(["list", &server.url(), "--login", "always"]).with_browser().run();
    moved.exits(0);
    assert_eq!(other.count_issuer_requests("POST /register"), 1, "no client id goes there");
    assert!(other.token_forms().iter().all(|form| form["grant_type"] == "authorization_code"), "nor a refresh token");
    let logins = sandbox.login_status();
    assert_eq!((logins.as_array().unwrap().len(), &logins[0]["issuer"]), (1, &json!(there)));

    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server, "client_id = \"mine\"");
    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
    server.override_resource_metadata(json!({"authorization_servers": [there]}));
    let refused = sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run();
    refused
        .exits(4)
        .stderr_contains(&format!("now accepts tokens of {there}"))
        .stderr_contains("hint: register a client")
        .stderr_contains(&format!("issuer = \"{there}\""));
    assert_eq!(other.requested_grants().len(), 1);
    configure(&sandbox, &server, &format!("client_id = \"mine\"\nissuer = \"{there}\""));
    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
}

#[test]
fn a_machine_shows_its_secret_as_the_server_wants_it() {
    for (methods, stated, method) in [
        (json!(null), "", "basic"),
        (json!(["client_secret_post"]), "", "post"),
        (json!(["client_secret_post"]), "token_endpoint_auth_method = \"client_secret_basic\"", "basic"),
        (json!(null), "token_endpoint_auth_method = \"none\"", "none"),
    ] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.override_metadata(json!({"token_endpoint_auth_methods_supported": methods}));
        configure(
            &sandbox,
            &server,
            &format!(
                "grant = \"client_credentials\"\nclient_id = \"ci\"\nclient_secret = \"${{SECRET}}\"\nscopes = [\"read\", \"call\"]\n{stated}"
            ),
        );
        let call = || sandbox.mcpipe(["call", "srv", "add", "a=1", "b=2"]).env("SECRET", "s3cr3t").run();
        let run = call();
        run.exits(0).prints("3\n");
        let (request, sent) = (asked(&server), server.token_forms().remove(0));
        assert_eq!((sent["grant_type"].as_str(), sent["scope"].as_str()), ("client_credentials", "read call"));
        match method {
            "basic" => assert_eq!(request.header("authorization"), Some("Basic Y2k6czNjcjN0")),
            "none" => assert!(request.header("authorization").is_none() && !sent.contains_key("client_secret")),
            _ => assert_eq!((sent["client_id"].as_str(), sent["client_secret"].as_str()), ("ci", "s3cr3t")),
        }
        call().succeeds().prints("3\n");
        assert_eq!(server.requested_grants().len(), 1, "the token is kept");
        run.hides("s3cr3t");
        server.assert_no_secret_left(&sandbox, &[&run]);
    }
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let words = ["--grant", "client-credentials", "--client-id", "ci", "--client-secret-env", "SECRET"];
    let login = |secret: Option<&str>| {
        let run = sandbox.mcpipe(["auth", "login", &server.url()]).args(words);
        secret.into_iter().fold(run, |run, secret| run.env("SECRET", secret)).run()
    };
    login(None).exits(3).stderr_contains("the variable SECRET is not set");
    login(Some("s3cr3t")).exits(0);
    // Later commands without settings use those of the login.
    server.ledger.revoked.lock().unwrap().push("access-1".into());
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    assert_eq!(server.requested_grants(), ["client_credentials", "client_credentials"]);
    let bare = log_in(&sandbox, &server, &["--grant", "client-credentials"]);
    bare.exits(2).stderr_contains("needs a client ID").stderr_contains("--client-secret-env");
    let run = sandbox.mcpipe(["auth", "login", &server.url(), "--client-secret-env", "SECRET"]).env("SECRET", "s");
    run.run().exits(2).stderr_contains("a secret or a key needs a client ID").stderr_contains("--client-id");
    // The client may be configured and the secret given as an option.
    configure(&sandbox, &server, "grant = \"client-credentials\"\nclient_id = \"ci\"");
    sandbox.mcpipe(["auth", "login", "srv"]).run().exits(3).stderr_contains("grant");
    configure(&sandbox, &server, "grant = \"client_credentials\"\nclient_id = \"ci\"");
    let run = sandbox.mcpipe(["auth", "login", "srv", "--client-secret-env", "SECRET"]).env("SECRET", "s3cr3t");
    run.run().exits(0);
    assert!(asked(&server).header("authorization").is_some());
    // If the server gives a refresh token and then refuses it, the client logs in again.
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let token = json!({"access_token": "access-9", "refresh_token": "refresh-9", "token_type": "bearer"});
    server.queue_replies("/token", vec![Reply::json(&token), oauth_error(400, "invalid_grant")]);
    sandbox.mcpipe(["auth", "login", &server.url()]).args(words).env("SECRET", "s3cr3t").run().exits(0);
    server.ledger.revoked.lock().unwrap().push("access-9".into());
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
    assert_eq!(server.requested_grants(), ["client_credentials", "refresh_token", "client_credentials"]);
}

/// Servers of the Python SDK look for the id in the form, whatever the header contains; others reject it there.
#[test]
fn an_id_is_repeated_in_the_form_only_where_it_is_missed() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_issuer(|request| {
        let misses = request.target == "/token" && !parse_form(request).contains_key("client_id");
        misses.then(|| {
            let error = json!({"error": "invalid_client", "error_description": "Missing client_id"});
            Reply::json(&error).with_status(401)
        })
    });
    configure(&sandbox, &server, "grant = \"client_credentials\"\nclient_id = \"ci\"\nclient_secret = \"s3cr3t\"");
    sandbox.mcpipe(["list", "srv"]).run().exits(0);
    let forms = server.token_forms();
    assert_eq!((forms.len(), forms[0].get("client_id"), forms[1]["client_id"].as_str()), (2, None, "ci"));
    assert!(forms.iter().all(|form| !form.contains_key("client_secret")));
}

#[test]
fn a_key_signs_who_we_are() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let file = sandbox.file("key.pem", key.serialize_pem());
    let words = ["--grant", "client-credentials", "--client-id", "ci", "--private-key", file.to_str().unwrap()];
    let run = log_in(&sandbox, &server, &words);
    run.exits(0);
    let sent = server.token_forms().remove(0);
    assert_eq!(sent["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let (header, claims) = opened(&sent["client_assertion"]);
    assert_eq!(header["alg"], "ES256");
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&json!("ci"), &json!("ci"), &json!(server.issuer.url("")))
    );
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert!(life <= 300 && claims["jti"].as_str().unwrap().len() > 20, "{claims}");
    server.assert_no_secret_left(&sandbox, &[&run]);
    run.hides("PRIVATE KEY");
    let wrong = log_in(&sandbox, &server, &[&words[..], &["--signing-algorithm", "RS256"]].concat());
    wrong.exits(3).stderr_contains("key.pem").stderr_contains("does not support the algorithm RS256");
    std::fs::remove_file(&file).unwrap();
    log_in(&sandbox, &server, &words).exits(3).stderr_contains("key.pem");
}

#[test]
fn aut_25_others_vouch_for_a_machine() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let assertion = sandbox.file("assertion", "eyJ.platform.jwt\n");
    let words = ["--grant", "jwt-bearer", "--client-id", "w", "--assertion-file", assertion.to_str().unwrap()];
    let run = log_in(&sandbox, &server, &words);
    run.exits(0);
    let sent = server.token_forms().remove(0);
    assert_eq!(sent["grant_type"], "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!((sent["assertion"].as_str(), &sent["resource"]), ("eyJ.platform.jwt", &server.url()));
    server.assert_no_secret_left(&sandbox, &[&run]);
    server.deny_token_requests(400, "invalid_grant");
    log_in(&sandbox, &server, &words).exits(4).stderr_contains("said invalid_grant");
    assert_eq!(server.requested_grants().len(), 2, "no other grant is tried");
    sandbox.file("assertion", "two words");
    log_in(&sandbox, &server, &words).exits(3).hides("two words");

    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.file("id-token", "eyJ.id.token");
    let idp = server.issuer.url("/token");
    configure(
        &sandbox,
        &server,
        &format!(
            "grant = \"enterprise\"\nclient_id = \"cli\"\nclient_secret = \"s3cr3t\"\nidp_token_endpoint = \"{idp}\"\n\
             idp_client_id = \"at-idp\"\nid_token_file = \"{}\"",
            sandbox.work().join("id-token").display()
        ),
    );
    let run = sandbox.mcpipe(["list", "srv", "-vv"]).run();
    run.exits(0);
    let forms = server.token_forms();
    assert_eq!(forms[0]["requested_token_type"], "urn:ietf:params:oauth:token-type:id-jag");
    assert_eq!(
        (forms[0]["audience"].as_str(), forms[0]["resource"].as_str()),
        (server.issuer.url("").as_str(), server.url().as_str())
    );
    assert_eq!((forms[0]["client_id"].as_str(), forms[0]["subject_token"].as_str()), ("at-idp", "eyJ.id.token"));
    assert_eq!(
        (forms[1]["grant_type"].as_str(), forms[1]["assertion"].as_str()),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer", "jag-1")
    );
    run.hides("s3cr3t");
    server.assert_no_secret_left(&sandbox, &[&run]);
}

/// RFC 9449: a proof for each request, with a nonce if the server requires one.
#[test]
fn dpop_proofs_are_new_for_every_request_and_every_nonce() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let nonce = |request: &Request| opened(request.header("dpop")?).1.get("nonce").cloned();
    server.at_issuer(move |request| {
        let wanted = request.target == "/token" && nonce(request) != Some(json!("n-issuer"));
        wanted.then(|| oauth_error(400, "use_dpop_nonce").header("DPoP-Nonce", "n-issuer"))
    });
    server.at_server(move |request| {
        let token = request.header("authorization")?.starts_with("DPoP ");
        assert!(token, "a token that is bound to a key is not shown as a bearer's: {}", request.head);
        (nonce(request) != Some(json!("n-server"))).then(|| {
            let refusal = Reply::status(401).header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"");
            refusal.header("DPoP-Nonce", "n-server")
        })
    });
    let run = log_in(&sandbox, &server, &["--dpop"]);
    run.exits(0);
    sandbox.expire_stored_tokens();
    let listed = sandbox.mcpipe(["list", &server.url(), "-vv"]).run();
    listed.exits(0);
    server.assert_no_secret_left(&sandbox, &[&run, &listed]);
    let proof = |request: &Request| request.header("dpop").map(opened);
    let tokens = server.issuer.requests().into_iter().filter(|request| request.target == "/token");
    let (mut keys, mut ids) = (Vec::new(), Vec::new());
    for request in tokens.collect::<Vec<_>>() {
        let (header, claims) = proof(&request).unwrap();
        assert_eq!((&header["typ"], &header["alg"]), (&json!("dpop+jwt"), &json!("ES256")));
        assert_eq!((&claims["htm"], &claims["htu"]), (&json!("POST"), &json!(server.issuer.url("/token"))));
        keys.push(header["jwk"].clone());
        ids.push(claims["jti"].clone());
        assert_eq!(parse_form(&request)["resource"], server.url());
    }
    for request in server.mcp.requests().iter().filter(|request| request.header("dpop").is_some()) {
        let (header, claims) = proof(request).unwrap();
        let token = request.header("authorization").unwrap().strip_prefix("DPoP ").unwrap();
        let hash = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        assert_eq!(claims["ath"], URL_SAFE_NO_PAD.encode(hash));
        assert_eq!((&claims["htm"], &claims["htu"]), (&json!("POST"), &json!(server.url())));
        keys.push(header["jwk"].clone());
        ids.push(claims["jti"].clone());
    }
    assert!(ids.len() >= 7, "{ids:?}");
    assert!(keys.iter().all(|key| *key == keys[0] && key.get("d").is_none()), "one key, its public half");
    let count = ids.len();
    ids.sort_by_key(Value::to_string);
    ids.dedup();
    assert_eq!(ids.len(), count, "no proof is used twice");
    // A refusal without a nonce is about the token.
    server.at_server(|_| Some(Reply::status(401).header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"")));
    let run = sandbox.mcpipe(["list", &server.url()]).run();
    run.exits(4).stderr_contains("the server refuses the token");
    assert_eq!(server.requested_grants().last().unwrap(), "refresh_token");
    // A token that is not bound to the key, or bound although nobody asked for it.
    for (words, kind) in [(&["--dpop"][..], "Bearer"), (&[], "DPoP")] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.queue_replies("/token", vec![Reply::json(&json!({"access_token": "access-1", "token_type": kind}))]);
        log_in(&sandbox, &server, words).exits(4).stderr_contains("DPoP");
    }
}

#[test]
fn configuration_errors_are_reported_before_any_request() {
    for (lines, says) in [
        ("client_secret = \"${NOT_THERE}\"\nclient_id = \"ci\"", "NOT_THERE"),
        ("grant = \"password\"", "password"),
        ("signing_algorithm = \"none\"", "none"),
        ("token_endpoint_auth_method = \"tls_client_auth\"", "tls_client_auth"),
        ("redirect_port = 0", "redirect_port"),
        ("client_metadata_url = \"http://example.com/c\"\nallow_unadvertised_pkce = 1", "allow_unadvertised_pkce"),
    ] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        configure(&sandbox, &server, lines);
        sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(3).prints("").stderr_contains(says);
        assert!(server.issuer_requests().is_empty() && server.mcp.requests().is_empty(), "{lines}");
    }
    // Errors that are only found when the key is needed.
    for (lines, says) in [
        ("client_metadata_url = \"http://example.com/c\"", "must be an https URL with a path"),
        ("grant = \"jwt_bearer\"\nclient_id = \"ci\"", "needs a file with the assertion"),
        ("grant = \"enterprise\"\nclient_id = \"ci\"", "needs 'idp_token_endpoint'"),
        (
            "grant = \"enterprise\"\nclient_id = \"ci\"\nidp_token_endpoint = \"https://idp.example/\"",
            "needs 'idp_client_id'",
        ),
        ("client_id = \"ci\"\ntoken_endpoint_auth_method = \"client_secret_basic\"", "has no secret"),
    ] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.override_metadata(json!({"client_id_metadata_document_supported": true}));
        configure(&sandbox, &server, lines);
        let run = sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run();
        run.exits(3).prints("").stderr_contains(says).stderr_contains("hint: ");
        assert!(server.requested_grants().is_empty() && sandbox.login_status() == json!([]), "{lines}");
    }
}

/// Nonces change while requests are in progress: requests with an old nonce are repeated.
#[test]
fn a_nonce_that_changes_under_calls_at_once_costs_none_of_them() {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    let nonce = |request: &Request| opened(request.header("dpop")?).1.get("nonce").cloned();
    let mcp = Mcp::modern().http_script(LegacyHttpOptions::default());
    let late = Arc::new(AtomicUsize::new(0));
    let came = late.clone();
    let server = ProtectedServer::in_front_of(move |request| {
        let wanted = if request.rpc_method() == "tools/call" { "n-2" } else { "n-1" };
        if nonce(request) == Some(json!(wanted)) {
            return mcp(request);
        }
        if wanted == "n-2" && nonce(request) == Some(json!("n-1")) {
            // All four are rejected, and only then accepted.
            came.fetch_add(1, Ordering::SeqCst);
            for _ in 0..1000 {
                if came.load(Ordering::SeqCst) >= 4 {
                    break;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        let refusal = Reply::status(401).header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"");
        refusal.header("DPoP-Nonce", wanted)
    });
    let sandbox = Sandbox::new();
    log_in(&sandbox, &server, &["--dpop", "--scope", "call"]).exits(0);
    let lines: String =
        (0..4).map(|n| json!({"tool": "add", "arguments": {"a": n, "b": 1}}).to_string() + "\n").collect();
    let run = sandbox.mcpipe(["call", &server.url(), "--batch", "-", "--jobs", "4"]).stdin(lines).run();
    run.exits(0);
    assert_eq!(run.stdout().lines().count(), 4, "{run:?}");
    assert_eq!(late.load(Ordering::SeqCst), 4, "all of them were too late");
    assert_eq!(server.requested_grants(), ["authorization_code"]);
    // The number of retries is limited if the server always requires another nonce.
    let stubborn = ProtectedServer::in_front_of(|_| {
        let refusal = Reply::status(401).header("WWW-Authenticate", "DPoP error=\"use_dpop_nonce\"");
        refusal.header("DPoP-Nonce", "n-0")
    });
    let run = log_in(&sandbox, &stubborn, &["--dpop"]);
    assert!(stubborn.mcp.requests().len() < 20, "{run:?}");
}

/// PKCE protects the redirect of a browser. A flow without one does not need it.
#[test]
fn aut_09_a_machine_does_not_ask_for_pkce() {
    for methods in [json!([]), json!(["plain"])] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.override_metadata(json!({"code_challenge_methods_supported": methods}));
        let settings = "grant = \"client_credentials\"\nclient_id = \"cli\"\nclient_secret = \"s3cr3t\"";
        configure(&sandbox, &server, settings);
        sandbox.mcpipe(["list", "srv"]).run().exits(0);
        assert_eq!(server.requested_grants(), ["client_credentials"]);
        sandbox.mcpipe(["auth", "login", &server.url(), "--device"]).run().exits(0);
        // If PKCE is needed, metadata that excludes S256 cannot be overridden.
        let (sandbox, code) = (Sandbox::new(), ProtectedServer::start());
        code.override_metadata(json!({"code_challenge_methods_supported": methods}));
        configure(&sandbox, &code, "allow_unadvertised_pkce = true");
        let run = sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run();
        run.exits(4).stderr_contains("does not support PKCE with S256");
    }
}
