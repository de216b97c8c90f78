//! The ways to a token: a local browser, a browser elsewhere, a device code, a key, an assertion.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustix::process::Signal;
use serde_json::json;

use crate::support::oauth::{ProtectedServer, oauth_error};
use crate::support::pty::{Terminal, TerminalStreams};
use crate::support::{Reply, Run, Sandbox};

/// The parameters of the authorization page.
fn page(said: &str) -> HashMap<String, String> {
    let query = said.split("/authorize?").nth(1).expect("a page is named").split_whitespace().next().unwrap();
    url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// The port that waits for the redirect.
fn port(page: &HashMap<String, String>) -> u16 {
    page["redirect_uri"].strip_prefix("http://127.0.0.1:").unwrap().split('/').next().unwrap().parse().unwrap()
}

#[test]
fn an_interrupt_ends_a_login_at_once_and_leaves_nothing() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let run = sandbox.mcpipe(["auth", "login", &server.url()]).env("BROWSER", "true").start();
    while !run.stderr_so_far().contains("/authorize?") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let port = port(&page(&run.stderr_so_far()));
    let asked = Instant::now();
    run.signal(Signal::INT);
    run.wait().exits(130).prints("");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(sandbox.login_status(), json!([]));
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is free again");
    assert!(server.requested_grants().is_empty());
}

#[test]
fn a_browser_that_never_comes_back_ends_in_time() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let run = sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "3s"]).env("BROWSER", "true").run();
    run.exits(6).prints("").stderr_contains("the login was not finished within 3 s");
    assert!(run.elapsed < Duration::from_secs(15));
    assert_eq!(sandbox.login_status(), json!([]));
}

/// Without a terminal the address of the page would not be seen, so the login fails at once.
#[test]
fn a_script_does_not_wait_for_a_browser_that_cannot_be_opened() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    for (browser, words, why) in [
        (Some("false"), &[][..], "false: exit status"),
        (Some("false:/no/such"), &[], "/no/such: "),
        (None, &[], "no display is available, and BROWSER is not set"),
        (None, &["--no-input"], "no display is available, and BROWSER is not set"),
    ] {
        let run = sandbox.mcpipe(["auth", "login", &server.url()]).args(words.iter().copied());
        let run = if let Some(browser) = browser { run.env("BROWSER", browser).run() } else { run.run() };
        run.exits(4)
            .prints("")
            .stderr_contains("/authorize?")
            .stderr_contains("cannot open a browser")
            .stderr_contains(why);
        run.stderr_contains(&format!(
            "hint: with a browser on another machine: mcpipe auth login {} --no-browser",
            server.url()
        ));
        assert!(run.elapsed < Duration::from_secs(15), "{run:?}");
    }
    let mut seen =
        sandbox.mcpipe(["list", &server.url(), "--no-input", "--login", "always"]).at_terminal(TerminalStreams::ALL);
    seen.wait_for("cannot open a browser");
    seen.wait().exits(4);
    assert!(server.requested_grants().is_empty());
}

#[test]
fn at_a_terminal_a_browser_that_cannot_be_opened_is_no_obstacle() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let run = sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "3s"]).env("BROWSER", "false");
    let mut terminal = run.at_terminal(TerminalStreams::ALL);
    terminal.wait_for("Could not open a browser").wait_for("--no-browser");
    terminal.wait().exits(6);
    // The next browser in the list is used.
    let browsers = format!("false:/no/such:{}/tests/conformance/browser", env!("CARGO_MANIFEST_DIR"));
    sandbox.mcpipe(["auth", "login", &server.url()]).env("BROWSER", browsers).run().exits(0);
}

#[test]
fn aut_18_a_port_that_is_taken_is_named() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let wanted = taken.local_addr().unwrap().port().to_string();
    let run = sandbox.mcpipe(["auth", "login", &server.url(), "--redirect-port", &wanted]).with_browser().run();
    run.exits(3).stderr_contains(&wanted).stderr_contains("--redirect-port");
    assert!(!server.issuer_requests().iter().any(|asked| asked == "POST /register"), "nothing is registered for it");
    // The port of an earlier registration is used again, unless it is taken.
    server.log_in(&sandbox);
    server.log_in(&sandbox);
    server.registered_once_for_each_redirect();
    let before = port(&server.authorization_requests()[1]);
    let _taken = TcpListener::bind(("127.0.0.1", before));
    server.log_in(&sandbox);
    server.registered_once_for_each_redirect();
    assert_ne!(port(&server.authorization_requests()[2]), before);
}

/// Sends one request to the port that waits for the redirect.
fn send_raw_request(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_page_that_the_browser_comes_back_to_is_plain_and_there_once() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let start = || {
        let login = sandbox.mcpipe(["auth", "login", &server.url()]).env("BROWSER", "true").start();
        while !login.stderr_so_far().contains("/authorize?") {
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = page(&login.stderr_so_far());
        (login, port(&asked), asked)
    };
    let (login, port, asked) = start();
    let answer = format!("code=c0de&state={}&iss={}", asked["state"], server.issuer.url(""));
    for (request, status) in [
        ("GET / HTTP/1.1".to_owned(), "404"),
        ("GET /favicon.ico HTTP/1.1".to_owned(), "404"),
        (format!("GET /callback/x?{answer} HTTP/1.1"), "404"),
        (format!("POST /callback?{answer} HTTP/1.1"), "405"),
        ("nonsense".to_owned(), "400"),
        (format!("GET /callback?{} HTTP/1.1", "a".repeat(16_384)), "431"),
        ("GET /<script>alert(1)</script> HTTP/1.1".to_owned(), "404"),
    ] {
        let page = send_raw_request(port, &format!("{request}\r\nHost: 127.0.0.1\r\n\r\n"));
        assert!(page.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {page}");
        assert!(!page.contains("script>") && !page.contains("c0de"), "{page}");
    }
    // It listens on the loopback address only.
    let silent = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let done = send_raw_request(port, &format!("GET /callback?{answer} HTTP/1.1\r\nHost: x\r\n\r\n"));
    assert!(done.starts_with("HTTP/1.1 200 ") && done.contains("You can close this page"), "{done}");
    for header in
        ["Content-Security-Policy: default-src 'none'", "Referrer-Policy: no-referrer", "Cache-Control: no-store"]
    {
        assert!(done.contains(header), "{done}");
    }
    assert!(!done.contains("c0de") && !done.contains(&asked["state"]) && !done.contains("http://"), "{done}");
    drop(silent);
    login.wait().exits(0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is closed");
    // A login that was refused has another page.
    let (login, port, asked) = start();
    let refused = format!("GET /callback?error=no&state={}&iss={} HTTP/1.1", asked["state"], server.issuer.url(""));
    let page = send_raw_request(port, &format!("{refused}\r\nHost: 127.0.0.1\r\n\r\n"));
    assert!(page.starts_with("HTTP/1.1 400 ") && !page.contains("You can close this page"), "{page}");
    login.wait().exits(4);
}

/// A login at a terminal with a browser elsewhere, up to the question.
fn start_no_browser_login(sandbox: &Sandbox, server: &ProtectedServer) -> (Terminal, HashMap<String, String>) {
    let login = sandbox.mcpipe(["auth", "login", &server.url(), "--no-browser"]).env("NO_COLOR", "1");
    let mut terminal = login.at_terminal(TerminalStreams::ALL);
    terminal.wait_for("Paste the URL").wait_for("> ");
    let asked = page(&terminal.screen());
    (terminal, asked)
}

#[test]
fn over_ssh_the_address_is_carried_back_by_hand() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let issuer = server.issuer.url("");
    let (mut terminal, asked) = start_no_browser_login(&sandbox, &server);
    let answer = format!("code=c0de&state={}&iss={issuer}", asked["state"]);
    terminal.type_keys(&format!("{}?{answer}\n", asked["redirect_uri"]));
    let seen = terminal.wait();
    seen.exits(0);
    assert!(seen.screen.contains("Logged in"), "{}", seen.screen);
    let sent = server.token_forms().remove(0);
    assert_eq!(sent["redirect_uri"], asked["redirect_uri"]);
    let hash = ring::digest::digest(&ring::digest::SHA256, sent["code_verifier"].as_bytes());
    assert_eq!(asked["code_challenge"], URL_SAFE_NO_PAD.encode(hash));

    let other = Sandbox::new();
    let (mut terminal, asked) = start_no_browser_login(&other, &server);
    let wrong = format!("http://127.0.0.1:1/callback?code=c0de&state=other&iss={issuer}\n");
    terminal.type_keys(&wrong);
    terminal.wait_for("not the response to this login").wait_for("Paste the URL").wait_for("> ");
    terminal.type_keys(&wrong);
    let seen = terminal.wait();
    seen.exits(4);
    assert!(seen.screen.contains("'state' differs") && !seen.screen.contains(&format!("{}.", asked["state"])));
    assert_eq!(server.requested_grants().len(), 1, "the code of another login is not used");
}

#[test]
fn an_interrupt_ends_the_question_too() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let (mut terminal, asked) = start_no_browser_login(&sandbox, &server);
    terminal.type_keys("\u{3}");
    terminal.wait().exits(130);
    assert!(TcpStream::connect(("127.0.0.1", port(&asked))).is_err(), "the port is closed");
    assert_eq!(sandbox.login_status(), json!([]));
}

#[test]
fn what_is_no_answer_is_not_taken_for_one() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let paste = |text: &str| {
        let run = sandbox.mcpipe(["auth", "login", &server.url(), "--no-browser"]).stdin(text).run();
        run.exits(4).prints("").stderr_contains("/authorize?");
        run
    };
    paste("").stderr_contains("standard input ended");
    for garbage in ["what?\n", "https://as.example.com/login\n", "\n", "\u{0}\u{1b}[2J\n"] {
        paste(garbage)
            .stderr_contains("not the URL to which the browser was redirected")
            .stderr_contains("hint: paste the whole URL");
    }
    paste("http://127.0.0.1:1/callback?code=secr3t&state=x\n").stderr_contains("'state' differs").hides("secr3t");
    paste("code=secr3t\n").stderr_contains("'state' is missing").hides("secr3t");
    let silent = sandbox.mcpipe(["auth", "login", &server.url(), "--no-browser", "--no-input"]).stdin_open().run();
    silent.exits(4).stderr_contains("--no-input");
    assert!(server.requested_grants().is_empty());
    assert_eq!(sandbox.login_status(), json!([]));
}

/// A login on another device; the first responses of the token endpoint.
fn device(server: &ProtectedServer, sandbox: &Sandbox, answers: Vec<Reply>, words: &[&str]) -> Run {
    server.queue_replies("/token", answers);
    sandbox.mcpipe(["auth", "login", &server.url(), "--device"]).args(words.iter().copied()).run()
}

#[test]
fn a_device_waits_and_slows_down_as_the_server_asks() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let answers = vec![oauth_error(400, "authorization_pending"), oauth_error(400, "slow_down")];
    let run = device(&server, &sandbox, answers, &[]);
    run.exits(0).prints("").stderr_contains("WDJB-MJHT").stderr_contains("/activate").stderr_contains("Logged in");
    server.assert_no_secret_left(&sandbox, &[&run]);
    let times: Vec<Instant> = server
        .issuer
        .requests()
        .iter()
        .filter(|request| request.target == "/token")
        .map(|request| request.at)
        .collect();
    let pause = |n: usize| times[n + 1] - times[n];
    assert_eq!(times.len(), 3);
    assert!(pause(0) >= Duration::from_secs(1) && pause(1) >= Duration::from_secs(6), "{:?}", (pause(0), pause(1)));
    assert!(
        server.token_forms().iter().all(|form| form["device_code"] == "dev1ce" && form["resource"] == server.url())
    );
    sandbox.mcpipe(["list", &server.url()]).run().succeeds();
}

#[test]
fn a_failed_device_login_names_the_reason() {
    for (error, code, says) in [
        ("access_denied", 4, "the login was refused"),
        ("expired_token", 6, "the code expired before"),
        ("invalid_grant", 4, "said invalid_grant"),
    ] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        device(&server, &sandbox, vec![oauth_error(400, error)], &[]).exits(code).prints("").stderr_contains(says);
        assert_eq!(sandbox.login_status(), json!([]));
    }
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let pending = (0..9).map(|_| oauth_error(400, "authorization_pending")).collect();
    let run = device(&server, &sandbox, pending, &["--timeout", "2s"]);
    run.exits(6).stderr_contains("the login was not finished within 2 s");
    server.override_metadata(json!({"device_authorization_endpoint": null}));
    device(&server, &sandbox, Vec::new(), &[])
        .exits(4)
        .stderr_contains("names no device")
        .stderr_contains("hint: log in with a browser");
}

#[test]
fn a_device_shows_neither_a_foreign_page_nor_a_servers_escape_sequences() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let offer = |uri: &str, code: &str| {
        Reply::json(&json!({"device_code": "dev1ce", "user_code": code, "verification_uri": uri, "interval": 1}))
    };
    server.queue_replies(
        "/device",
        vec![offer("javascript:alert(1)", "A"), offer("https://as.example.com/", "A\u{1b}[2J\u{202e}B")],
    );
    device(&server, &sandbox, Vec::new(), &[]).exits(4).stderr_contains("a page that must not be opened");
    let login = sandbox.mcpipe(["auth", "login", &server.url(), "--device"]).env("TERM", "xterm");
    let seen = login.at_terminal(TerminalStreams::ALL).wait();
    seen.exits(4);
    assert!(seen.screen.contains("a code that cannot be shown"), "{:?}", seen.screen);
    assert!(!seen.screen.contains("\u{1b}[2J") && !seen.screen.contains('\u{202e}'), "{:?}", seen.screen);
}
