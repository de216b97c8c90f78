//! Checks of metadata and redirects: each is triggered by an invalid value.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::oauth::{ProtectedServer, request_line};
use crate::support::pty::TerminalStreams;
use crate::support::{HttpServer, Mcp, Reply, Request, Run, Sandbox};

fn log_in(server: &ProtectedServer, sandbox: &Sandbox) -> Run {
    sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "20s"]).with_browser().run()
}

/// A login that must fail before a token is requested, and its error.
#[track_caller]
fn assert_login_fails(bend: impl FnOnce(&ProtectedServer), code: i32, says: &[&str]) -> ProtectedServer {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    bend(&server);
    let run = log_in(&server, &sandbox);
    run.exits(code).prints("");
    for part in says {
        run.stderr_contains(part);
    }
    assert!(server.requested_grants().is_empty(), "no token is asked for: {:?}", server.issuer_requests());
    assert_eq!(sandbox.login_status(), json!([]), "nothing is half stored");
    server
}

const METADATA: &str = "GET /.well-known/oauth-authorization-server";

#[test]
fn aut_03_aut_05_the_well_known_addresses_are_asked_in_order_and_no_others() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    // The challenge names no address; the document of the resource is at the root, and its issuer has a path.
    let issuer = format!("{}/tenant/1", server.issuer.url(""));
    let named = issuer.clone();
    server.at_server(move |request| {
        let root = request.target == "/.well-known/oauth-protected-resource";
        let origin = format!("http://{}", request.header("host")?);
        match (root, request.target.as_str()) {
            (true, _) => Some(Reply::json(&json!({"resource": origin, "authorization_servers": [named, "x"]}))),
            (_, "/mcp") if request.header("authorization").is_none() => {
                Some(Reply::status(401).header("WWW-Authenticate", "Bearer"))
            }
            (_, "/mcp") => None,
            _ => Some(Reply::status(404)),
        }
    });
    server.at_issuer(|request| {
        if !request.target.contains("/.well-known/") {
            return None;
        }
        if request.target != "/tenant/1/.well-known/openid-configuration" {
            return Some(Reply::status(404));
        }
        let origin = format!("http://{}", request.header("host")?);
        Some(Reply::json(&json!({
            "issuer": format!("{origin}/tenant/1"),
            "authorization_endpoint": format!("{origin}/authorize"),
            "token_endpoint": format!("{origin}/token"),
            "registration_endpoint": format!("{origin}/register"),
            "code_challenge_methods_supported": ["plain", "S256"],
        })))
    });
    server.override_redirect("iss", Some(&issuer));
    log_in(&server, &sandbox).exits(0);
    let asked: Vec<String> =
        server.mcp.requests().iter().map(request_line).filter(|line| line.contains("well-known")).collect();
    let prm = "GET /.well-known/oauth-protected-resource";
    assert_eq!(asked, [format!("{prm}/mcp"), prm.to_owned()]);
    assert_eq!(
        server.issuer_requests(),
        [
            "GET /.well-known/oauth-authorization-server/tenant/1",
            "GET /.well-known/openid-configuration/tenant/1",
            "GET /tenant/1/.well-known/openid-configuration",
            "POST /register",
            "GET /authorize",
            "POST /token"
        ]
    );
    let origin = server.mcp.url("");
    assert_eq!(
        (&server.authorization_requests()[0]["resource"], &server.token_forms()[0]["resource"]),
        (&origin, &origin)
    );
    assert_eq!(sandbox.login_status()[0]["issuer"], issuer);
}

#[test]
fn aut_02_one_header_may_hold_several_challenges() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.at_server(|request| {
        let origin = format!("http://{}", request.header("host")?);
        let challenge = format!(
            "Basic realm=\"a, Bearer resource_metadata=\\\"x\\\"\", Negotiate YII=, BEARER scope=read, \
             resource_metadata=\"{origin}/elsewhere\""
        );
        match request.target.as_str() {
            "/mcp" if request.header("authorization").is_none() => {
                Some(Reply::status(401).header("WWW-Authenticate", &challenge))
            }
            "/elsewhere" => Some(Reply::status(307).header("Location", "/moved")),
            "/moved" => Some(Reply::json(&json!({
                "resource": format!("{origin}/mcp"),
                // The other address is never requested, since the challenge names this one.
                "authorization_servers": [],
            }))),
            _ => None,
        }
    });
    let issuer = server.issuer.url("");
    let words = ["auth", "login", &server.url(), "--issuer", &issuer];
    sandbox.mcpipe(words).with_browser().run().exits(0);
    assert_eq!(server.authorization_requests()[0]["scope"], "read");
    assert!(server.mcp.requests().iter().any(|request| request.target == "/moved"));
    // An address that is right only behind the proxy of the server: the well-known one is used.
    for inside in ["http://10.0.0.1/metadata", "SERVER/gone", "nonsense"] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.at_server(move |request| {
            let inside = inside.replace("SERVER", &format!("http://{}", request.header("host")?));
            let challenge = format!("Bearer resource_metadata=\"{inside}\"");
            match request.target.as_str() {
                "/mcp" if request.header("authorization").is_none() => {
                    Some(Reply::status(401).header("WWW-Authenticate", &challenge))
                }
                "/gone" => Some(Reply::status(404)),
                _ => None,
            }
        });
        log_in(&server, &sandbox).exits(0);
    }
}

#[test]
fn aut_04_a_foreign_resource_ends_it_before_anybody_is_asked() {
    for resource in [json!("https://evil.example.com/mcp"), json!("SERVER/other"), json!("SERVER/mc"), Value::Null] {
        let server = assert_login_fails(
            |server| _ = server.override_resource_metadata(json!({"resource": resource})),
            4,
            &["is not for", "/.well-known/oauth-protected-resource/mcp"],
        );
        assert!(server.issuer_requests().is_empty(), "{resource}: {:?}", server.issuer_requests());
    }
}

#[test]
fn aut_06_metadata_must_be_that_of_the_issuer() {
    for issuer in ["https://evil.example.com", "ISSUER/tenant", "ISSUER//"] {
        assert_login_fails(
            |server| _ = server.override_metadata(json!({"issuer": issuer})),
            4,
            &["does not belong to", "it names the issuer"],
        );
    }
    // The slash of an empty path may be present or absent; with another path it is another issuer.
    for (named, calls_itself) in [("ISSUER/", "ISSUER"), ("ISSUER", "ISSUER/")] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server
            .override_resource_metadata(json!({"authorization_servers": [named]}))
            .override_metadata(json!({"issuer": calls_itself}));
        let own = calls_itself.replace("ISSUER", &server.issuer.url(""));
        // From here on the issuer is compared exactly.
        server.override_redirect("iss", Some(&own));
        log_in(&server, &sandbox).exits(0);
        assert_eq!(sandbox.login_status()[0]["issuer"], own);
        let other = named.replace("ISSUER", &server.issuer.url(""));
        server.override_redirect("iss", Some(&other));
        log_in(&server, &sandbox).exits(4).stderr_contains("'iss' differs");
    }
    let tenant = |server: &ProtectedServer| {
        server.override_resource_metadata(json!({"authorization_servers": ["ISSUER/tenant"]}));
        server.at_issuer(|request| {
            let issuer = format!("http://{}/tenant/", request.header("host")?);
            Some(Reply::json(&json!({"issuer": issuer, "code_challenge_methods_supported": ["S256"]})))
        });
    };
    assert_login_fails(tenant, 4, &["does not belong to"]);
}

#[test]
fn aut_09_without_pkce_there_is_no_login() {
    for methods in [json!(["plain"]), json!([])] {
        let server = assert_login_fails(
            |server| _ = server.override_metadata(json!({"code_challenge_methods_supported": methods})),
            4,
            &["is not safe", "PKCE with S256"],
        );
        assert_eq!(server.issuer_requests(), [METADATA], "nobody is registered or sent there");
    }
    // If it is missing, the other address is checked; the check can be disabled for one server.
    let silent = |server: &ProtectedServer| {
        server.override_metadata(json!({"code_challenge_methods_supported": null}));
        server.at_issuer(|request| request.target.ends_with("openid-configuration").then(|| Reply::status(404)));
    };
    let server = assert_login_fails(
        silent,
        4,
        &["does not advertise PKCE", "hint: log in without", " --device; or", "allow_unadvertised_pkce = true"],
    );
    assert_eq!(server.issuer_requests(), [METADATA, "GET /.well-known/openid-configuration"]);
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    silent(&server);
    let url = server.url();
    sandbox.config(&format!("[servers.srv]\nurl = \"{url}\"\nauth = {{ allow_unadvertised_pkce = true }}\n"));
    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
    assert_eq!(server.authorization_requests()[0]["code_challenge_method"], "S256", "it is used all the same");
    assert!(server.token_forms()[0].contains_key("code_verifier"));
    // The other document may advertise it.
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"code_challenge_methods_supported": null}));
    server.at_issuer(|request| {
        let origin = format!("http://{}", request.header("host")?);
        let endpoint = |name: &str| format!("{origin}/{name}");
        let document = json!({"issuer": origin, "authorization_endpoint": endpoint("authorize"), "token_endpoint": endpoint("token"),
            "registration_endpoint": endpoint("register"), "code_challenge_methods_supported": ["S256"]});
        request.target.ends_with("openid-configuration").then(|| Reply::json(&document))
    });
    log_in(&server, &sandbox).exits(0);
}

#[test]
fn aut_16_aut_17_the_redirect_is_judged_before_its_code_is_used() {
    let cases: [(&str, Option<&str>, &str); 5] = [
        ("iss", Some("https://evil.example.com"), "'iss' differs"),
        ("iss", Some("ISSUER/"), "'iss' differs"),
        ("iss", None, "has no 'iss' (issuer)"),
        ("code", None, "neither a code nor an error"),
        ("code", Some(""), "neither a code nor an error"),
    ];
    for (name, value, says) in cases {
        let bend = |server: &ProtectedServer| {
            let value = value.map(|value| value.replace("ISSUER", &server.issuer.url("")));
            server.override_redirect(name, value.as_deref());
        };
        assert_login_fails(bend, 4, &["the login was not accepted", says]);
    }
    // A response to another login is ignored, and this one continues until its timeout.
    for (value, says) in [(None, "'state' is missing"), (Some("other"), "'state' differs")] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.override_redirect("state", value);
        let run = sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "2s"]).with_browser().run();
        run.exits(6)
            .stderr_contains("does not belong to this login: the login was not accepted")
            .stderr_contains(says)
            .stderr_contains("the login was not finished within 2 s");
        assert!(server.requested_grants().is_empty(), "no token is asked for: {:?}", server.issuer_requests());
    }
    // A server that never promised an `iss` need not send it, but must not send another one.
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server
        .override_metadata(json!({"authorization_response_iss_parameter_supported": null}))
        .override_redirect("iss", None);
    log_in(&server, &sandbox).exits(0);
    server.override_redirect("iss", Some("https://evil.example.com"));
    log_in(&server, &sandbox).exits(4).stderr_contains("'iss' differs");
}

#[test]
fn aut_16_an_error_is_shown_only_if_its_issuer_is_verified() {
    let error = |server: &ProtectedServer| {
        server.override_redirect("code", None).override_redirect("error", Some("server_error"));
        server.override_redirect("error_description", Some("out of \u{1b}[31morder"));
    };
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    error(&server);
    log_in(&server, &sandbox)
        .exits(4)
        .stderr_contains("the authorization server refused the login")
        .stderr_contains("server_error: out of ");
    let seen = sandbox.mcpipe(["auth", "login", &server.url()]).with_browser().at_terminal(TerminalStreams::ALL).wait();
    seen.exits(4);
    assert!(seen.screen.contains("server_error: out of ") && !seen.screen.contains("\u{1b}[31m"), "{:?}", seen.screen);
    server.override_redirect("iss", Some("https://evil.example.com"));
    log_in(&server, &sandbox).exits(4).stderr_contains("'iss' differs").hides("server_error");
    let denied = |server: &ProtectedServer| {
        server.override_redirect("code", None).override_redirect("error", Some("access_denied"));
    };
    assert_login_fails(denied, 4, &["the login was refused", "hint: log in again"]);
}

#[test]
fn aut_07_a_server_of_2025_03_26_has_its_endpoints_at_its_origin() {
    for (other, advertised) in [
        (Reply::status as fn(u16) -> Reply, false),
        (|_| Reply::text("text/html", "<!doctype html>"), false),
        (Reply::status, true),
    ] {
        let sandbox = Sandbox::new();
        let inner = Mcp::legacy("2025-03-26").http_script(Default::default());
        let server = HttpServer::start(move |request| {
            let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
            match (request.method.as_str(), path) {
                (_, "/v1/mcp") if request.header("authorization") == Some("Bearer access-1") => inner(request),
                (_, "/v1/mcp") => Reply::status(401),
                ("POST", "/register") => Reply::json(&json!({"client_id": "old"})).with_status(201),
                ("GET", "/authorize") => {
                    let query: std::collections::HashMap<String, String> =
                        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
                    let back = format!("{}?code=c0de&state={}", query["redirect_uri"], query["state"]);
                    Reply::status(302).header("Location", &back)
                }
                ("GET", "/.well-known/oauth-authorization-server") if advertised => {
                    let origin = format!("http://{}", request.header("host").unwrap());
                    let endpoint = |name: &str| format!("{origin}/{name}");
                    Reply::json(
                        &json!({"issuer": origin, "authorization_endpoint": endpoint("authorize"), "token_endpoint": endpoint("issued"),
                    "registration_endpoint": endpoint("register"), "code_challenge_methods_supported": ["S256"]}),
                    )
                }
                ("POST", "/token" | "/issued") => {
                    Reply::json(&json!({"access_token": "access-1", "token_type": "Bearer"}))
                }
                _ => other(404),
            }
        });
        sandbox.mcpipe(["auth", "login", &server.url("/v1/mcp")]).with_browser().run().exits(0);
        let asked: Vec<String> =
            server.requests().iter().map(request_line).filter(|line| !line.ends_with(" /v1/mcp")).collect();
        let mut expected = vec![
            "GET /.well-known/oauth-protected-resource/v1/mcp",
            "GET /.well-known/oauth-protected-resource",
            METADATA,
            "GET /.well-known/openid-configuration",
            "POST /register",
            "GET /authorize",
            "POST /token",
        ];
        if advertised {
            expected.remove(3);
            expected[5] = "POST /issued";
        }
        assert_eq!(asked, expected);
        sandbox.mcpipe(["call", &server.url("/v1/mcp"), "echo", "text=hi"]).run().succeeds().prints("hi\n");
    }
}

#[test]
fn sec_07_huge_metadata_is_not_read_to_its_end() {
    let huge = || Reply::text("application/json", vec![b' '; 2_000_000]);
    assert_login_fails(
        |server| _ = server.queue_replies("/.well-known/oauth-authorization-server", vec![huge()]),
        7,
        &["too long"],
    );
    let server = assert_login_fails(
        |server| {
            server.at_issuer(move |request| (request.target == "/register").then(huge));
        },
        7,
        &["too long", "/register"],
    );
    assert_eq!(server.count_issuer_requests("GET /authorize"), 0);
}

#[test]
fn sec_07_slow_metadata_is_not_waited_for() {
    let drips = || (0..60).fold(Reply::text("application/json", "{"), |reply, _| reply.pause(DRIP).write(" "));
    for slow in [Reply::never, || Reply::text("application/json", "{").then_stall(), drips] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.queue_replies("/.well-known/oauth-authorization-server", vec![slow()]);
        let words = ["auth", "login", &server.url(), "--timeout", "2s"];
        let run = sandbox.mcpipe(words).with_browser().run();
        run.exits(6).prints("").stderr_contains("no response from").stderr_contains("in time");
        assert!(run.elapsed < Duration::from_secs(15), "{:?}", run.elapsed);
        assert_eq!(server.issuer_requests(), [METADATA]);
    }
}

const DRIP: Duration = Duration::from_millis(500);

#[test]
fn sec_02_metadata_leads_neither_in_circles_nor_to_places_it_must_not_name() {
    let moves = |location: &'static str| {
        move |server: &ProtectedServer| {
            server.at_issuer(move |request: &Request| {
                request.target.contains("well-known").then(|| Reply::status(302).header("Location", location))
            });
        }
    };
    let nowhere = |server: &ProtectedServer| _ = server.at_issuer(|_| Some(Reply::status(302)));
    assert_login_fails(nowhere, 5, &["redirects without a valid location"]);
    let circles = assert_login_fails(moves("/.well-known/again"), 5, &["redirects more than"]);
    assert!(circles.issuer_requests().len() < 6, "{:?}", circles.issuer_requests());
    for location in
        ["http://169.254.169.254/latest", "https://169.254.169.254/latest", "https://[fe80::1]/", "file:///x"]
    {
        assert_login_fails(moves(location), 4, &["must not be used for a login"]);
    }
    for issuer in ["http://169.254.169.254", "http://example.com", "https://[::ffff:169.254.169.254]"] {
        let resource = json!({"authorization_servers": [issuer]});
        assert_login_fails(
            |server| _ = server.override_resource_metadata(resource),
            4,
            &["must not be used for a login"],
        );
    }
    for endpoint in ["http://169.254.169.254/token", "https://169.254.169.254/token"] {
        assert_login_fails(
            |server| _ = server.override_metadata(json!({"token_endpoint": endpoint})),
            4,
            &["must not be used for a login"],
        );
        assert_login_fails(
            |server| _ = server.override_metadata(json!({"registration_endpoint": endpoint})),
            4,
            &["must not be used for a login"],
        );
    }
}

#[test]
fn sec_02_what_is_secret_follows_no_redirect() {
    let other = HttpServer::start(|_| Reply::status(200));
    for location in [other.url("/token"), "/elsewhere".to_owned()] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.queue_replies("/token", vec![Reply::status(307).header("Location", &location)]);
        let run = log_in(&server, &sandbox);
        run.exits(4).stderr_contains("requests with credentials are not redirected");
        assert!(!server.issuer.requests().iter().any(|request| request.target == "/elsewhere"));
        server.assert_no_secret_left(&sandbox, &[&run]);
    }
    assert!(other.requests().is_empty());
}

#[test]
fn sec_01_only_web_pages_are_opened() {
    for page in ["javascript:alert(1)", "file:///etc/passwd", "http://example.com/a", "--help", "https://h/a b\\u001b"]
    {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.override_metadata(json!({"authorization_endpoint": page}));
        let opened = sandbox.work().join("opened");
        let browser = format!("touch {}", opened.display());
        let run = sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "5s"]).env("BROWSER", browser).run();
        run.exits(4).stderr_contains("a page that must not be opened");
        assert!(!opened.exists(), "{page}");
    }
}

#[test]
fn sec_04_headers_of_the_server_and_the_login_stay_with_it() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let words = ["auth", "login", &server.url(), "-H", "X-Key: k3y", "-H", "Cookie: c00kie"];
    sandbox.mcpipe(words).with_browser().run().exits(0);
    sandbox.expire_stored_tokens();
    sandbox.mcpipe(["list", &server.url(), "-H", "X-Key: k3y"]).run().exits(0);
    sandbox.mcpipe(["auth", "logout", &server.url(), "-H", "X-Key: k3y"]).run().exits(0);
    let metadata = |request: &&Request| request.target.contains("well-known");
    let away = server.issuer.requests();
    for request in away.iter().chain(server.mcp.requests().iter().filter(metadata)) {
        assert!(!request.head.contains("k3y") && !request.head.contains("c00kie"), "{}", request.head);
        assert!(!request.head.contains("access-") && !request.head.contains("Bearer"), "{}", request.head);
        assert!(!metadata(&request) || request.header("accept") == Some("application/json"), "{}", request.head);
        assert!(!metadata(&request) || request.header("mcp-protocol-version").is_some(), "{}", request.head);
    }
    let mut calls = server.mcp.requests();
    calls.retain(|request| request.target == "/mcp");
    assert!(!calls.is_empty() && calls.iter().all(|request| request.header("x-key") == Some("k3y")));
}
