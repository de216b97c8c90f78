//! Logins, from the command line to the wire: on the spot and beforehand, renewed, revoked, interrupted.

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::mcp_http::Legacy;
use crate::support::oauth::{Protected, form};
use crate::support::pty::Streams;
use crate::support::{HttpServer, Mcp, Reply, Run, Sandbox};

/// Everything that must never be seen.
const SECRETS: [&str; 4] = ["access-", "refresh-", "c0de", "Bearer a"];

fn leaks_nothing(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret:?} is in\n{text}");
    }
}

fn call(sandbox: &Sandbox, url: &str, words: &[&str]) -> Run {
    sandbox.mcpipe(["call", url, "add", "a=1", "b=2"]).args(words.iter().copied()).with_browser().run()
}

/// Leaves a token behind that has just expired.
fn log_in_for_a_moment(server: &Protected, sandbox: &Sandbox) {
    // Long enough for the login itself.
    server.ledger.life.store(3, Ordering::SeqCst);
    server.log_in(sandbox);
    assert_eq!(server.grants(), ["authorization_code"]);
    std::thread::sleep(Duration::from_millis(3000));
}

fn stored(sandbox: &Sandbox) -> Value {
    sandbox.mcpipe(["auth", "status", "--json"]).run().exits(0).json()["credentials"].clone()
}

#[test]
fn without_a_person_the_command_to_log_in_is_told() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    for words in [&[][..], &["--login", "never"], &["--login", "auto"]] {
        let run = call(&sandbox, &server.url(), words);
        run.exits(4).prints("").says(&format!("hint: mcpipe auth login {}", server.url()));
    }
    let json = sandbox.mcpipe(["list", &server.url(), "--json"]).run();
    json.exits(4).prints("");
    let error: Value = serde_json::from_str(json.stderr().lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["class"], "auth");
    assert!(server.asked().is_empty(), "nobody asked the authorization server: {:?}", server.asked());
}

#[test]
fn a_login_on_the_spot_is_kept_stepped_up_and_used_without_further_ado() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let listed = sandbox.mcpipe(["list", &server.url(), "--login", "always"]).with_browser().run();
    listed.exits(0).says("Opening a browser to log in");
    leaks_nothing(&format!("{}{}", listed.stdout(), listed.stderr()));
    let called = call(&sandbox, &server.url(), &[]);
    called.exits(4).says("more rights").says("--scope 'read call'");
    let called =
        sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2"]).env("MCPIPE_LOGIN", "always").with_browser().run();
    called.exits(0).prints("3\n");
    let authorized: Vec<String> = server
        .issuer
        .requests()
        .iter()
        .filter(|r| r.method == "GET" && r.target.starts_with("/authorize"))
        .map(|r| r.target.clone())
        .collect();
    assert!(authorized[0].contains("&scope=read") && authorized[1].contains("&scope=read+call"), "{authorized:?}");
    let before = (server.mcp.requests().len(), server.issuer.requests().len());
    call(&sandbox, &server.url(), &[]).succeeds().prints("3\n");
    let exchange = server.mcp.exchange();
    assert_eq!(exchange[before.0..], ["POST tools/list", "POST tools/call"], "each once: none is refused");
    assert_eq!(server.issuer.requests().len(), before.1);
}

#[test]
fn auth_login_status_token_and_logout() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    sandbox.config(&format!(
        "[servers.srv]\nurl = \"{}\"\nheaders = {{ X-Key = \"k\" }}\nauth = {{ scopes = [\"call\"] }}\n",
        server.url()
    ));
    let login = sandbox.mcpipe(["auth", "srv"]).with_browser().run();
    login.exits(0).prints("").says("Logged in to srv").says("then renewed");
    leaks_nothing(login.stderr());
    let requests = server.mcp.requests().len() + server.issuer.requests().len();
    let status = sandbox.mcpipe(["auth", "status", "srv"]).run();
    status.exits(0).says_on_stdout("valid").says_on_stdout("srv");
    leaks_nothing(status.stdout());
    let known = &stored(&sandbox)[0];
    assert_eq!(
        (&known["server"], &known["state"], &known["renewable"]),
        (&json!("srv"), &json!("valid"), &json!(true))
    );
    assert_eq!(known["issuer"], server.issuer.url(""));
    assert_eq!(server.mcp.requests().len() + server.issuer.requests().len(), requests, "status asks nobody");
    sandbox.mcpipe(["auth", "token", "srv"]).run().succeeds().prints("access-1-call\n");
    sandbox.mcpipe(["call", "srv", "add", "a=1", "b=2"]).run().succeeds().prints("3\n");
    sandbox.mcpipe(["auth", "status", "srv", "--check"]).run().exits(0);
    let gone = sandbox.mcpipe(["auth", "logout", "srv", "--json"]).run();
    assert_eq!(gone.exits(0).json()["removed"][0]["revoked"], true);
    assert_eq!(*server.ledger.revoked.lock().unwrap(), ["refresh-1-call", "access-1-call"]);
    sandbox.mcpipe(["call", "srv", "add", "a=1", "b=2"]).run().exits(4);
    sandbox.mcpipe(["auth", "status", "srv"]).run().exits(4).says("mcpipe auth login srv");
    sandbox.mcpipe(["auth", "token", "srv"]).run().exits(4).prints("");
    sandbox.mcpipe(["auth", "logout", "srv"]).run().exits(0).says("nobody is logged in");
    assert_eq!(stored(&sandbox), json!([]));
}

#[test]
fn tokens_from_elsewhere_are_kept_and_renewed() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    server.ledger.issued.store(7, Ordering::SeqCst);
    let url = server.url();
    let import = |text: &str| sandbox.mcpipe(["auth", "import", &url]).stdin(text).run();
    import(r#"{"access_token":"access-7-call","refresh_token":"refresh-7-call","expires_in":1,"client_id":"other"}"#)
        .exits(0)
        .prints("");
    std::thread::sleep(Duration::from_millis(1100));
    call(&sandbox, &url, &[]).succeeds().prints("3\n");
    assert_eq!(server.grants(), ["refresh_token"]);
    sandbox.mcpipe(["auth", "token", &url]).run().succeeds().prints("access-8-call\n");
    let printed = sandbox.mcpipe(["auth", "token", &url, "--json"]).run();
    let other = Sandbox::new();
    other.mcpipe(["auth", "import", &url]).stdin(printed.exits(0).stdout().as_bytes()).run().exits(0);
    call(&other, &url, &[]).succeeds().prints("3\n");
    for bad in ["", "access-1", r#"{"error":"access-1"}"#, r#"{"access_token":"access-1","refresh_token":"r"}"#] {
        let run = import(bad);
        run.exits(2).prints("");
        leaks_nothing(run.stderr());
    }
}

#[test]
fn sec_03_nothing_secret_is_shown_however_much_is_asked_for() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let trace = sandbox.work().join("trace");
    let words = ["-vv", "--trace", trace.to_str().unwrap(), "--login", "always", "--json"];
    let run = call(&sandbox, &server.url(), &words);
    run.exits(0);
    let seen = format!("{}{}{}", run.stdout(), run.stderr(), std::fs::read_to_string(trace).unwrap());
    leaks_nothing(&seen);
    let verifier =
        server.issuer.requests().iter().filter(|r| r.target == "/token").find_map(|r| form(r).remove("code_verifier"));
    assert!(!seen.contains(&verifier.unwrap()));
    assert!(seen.contains("/.well-known/oauth-authorization-server"), "the way of the login is shown");
    server.ledger.revoked.lock().unwrap().push("access-2-call".into());
    server.ledger.issued.store(40, Ordering::SeqCst);
    let refused = call(&sandbox, &server.url(), &["-vv"]);
    refused.exits(4).says("reuse");
    leaks_nothing(refused.stderr());
    let files = [sandbox.path().join("home/.local/share/mcpipe"), sandbox.path().join("home/.cache")];
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files[0]), 0o700);
    assert!(std::fs::read_dir(&files[0]).unwrap().all(|file| mode(&file.unwrap().path()) == 0o600));
}

#[test]
fn aut_23_twenty_commands_with_one_expired_token_renew_it_once() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    log_in_for_a_moment(&server, &sandbox);
    server.ledger.life.store(3600, Ordering::SeqCst);
    server.ledger.thinks.store(300, Ordering::SeqCst);
    let runs: Vec<_> = (0..20).map(|_| sandbox.mcpipe(["list", &server.url()]).may_leave().start()).collect();
    for run in runs {
        run.wait().exits(0);
    }
    assert_eq!(server.grants(), ["authorization_code", "refresh_token"]);
}

#[test]
fn aut_23_a_winner_that_is_killed_keeps_nobody_from_renewing() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    log_in_for_a_moment(&server, &sandbox);
    server.ledger.life.store(3600, Ordering::SeqCst);
    server.ledger.mute.store(true, Ordering::SeqCst);
    let winner = sandbox.mcpipe(["list", &server.url()]).may_leave().start();
    server.issuer.wait_for("the refresh", |request| request.text().contains("refresh_token=refresh-1"));
    let others: Vec<_> = (0..5).map(|_| sandbox.mcpipe(["list", &server.url()]).may_leave().start()).collect();
    std::thread::sleep(Duration::from_millis(200));
    server.ledger.mute.store(false, Ordering::SeqCst);
    winner.signal(Signal::KILL);
    winner.wait().exits(137);
    for other in others {
        other.wait().exits(0);
    }
    assert_eq!(server.grants(), ["authorization_code", "refresh_token", "refresh_token"]);
}

#[test]
fn an_interrupt_ends_a_login_at_once_and_leaves_nothing() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let run = sandbox.mcpipe(["auth", "login", &server.url()]).env("BROWSER", "true").start();
    while !run.stderr_so_far().contains("/authorize?") {
        std::thread::sleep(Duration::from_millis(5));
    }
    let said = run.stderr_so_far();
    let port: u16 = said.split("127.0.0.1%3A").nth(1).unwrap().split("%2F").next().unwrap().parse().unwrap();
    let asked = Instant::now();
    run.signal(Signal::INT);
    run.wait().exits(130).prints("");
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert_eq!(stored(&sandbox), json!([]));
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is free again");
    assert!(server.grants().is_empty());
}

#[test]
fn an_interrupt_lets_a_renewal_end_so_that_the_login_is_not_lost() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    log_in_for_a_moment(&server, &sandbox);
    server.ledger.thinks.store(700, Ordering::SeqCst);
    let run = sandbox.mcpipe(["list", &server.url()]).start();
    server.issuer.wait_for("the refresh", |request| request.text().contains("refresh_token=refresh-1"));
    run.signal(Signal::INT);
    run.wait().exits(130);
    server.ledger.thinks.store(0, Ordering::SeqCst);
    sandbox.mcpipe(["list", &server.url()]).run().exits(0);
}

#[test]
fn a_browser_that_never_comes_back_ends_in_time() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let run = sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "700ms"]).env("BROWSER", "true").run();
    run.exits(6).prints("").says("nobody logged in");
    assert!(run.elapsed < Duration::from_secs(5));
    assert_eq!(stored(&sandbox), json!([]));
}

#[test]
fn a_browser_that_cannot_be_opened_is_no_obstacle() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let run = sandbox.mcpipe(["auth", "login", &server.url(), "--timeout", "700ms"]).env("BROWSER", "false").run();
    run.exits(6).says("could not be opened").says("/authorize?");
}

#[test]
fn aut_18_a_port_that_is_taken_is_named() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let run = sandbox.mcpipe(["auth", "login", &server.url(), "--redirect-port", &port]).with_browser().run();
    run.exits(3).says(&port).says("--redirect-port");
    assert!(!server.asked().iter().any(|asked| asked == "POST /register"), "nothing is registered for it");
}

#[test]
fn over_ssh_the_address_is_carried_back_by_hand() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let login = sandbox.mcpipe(["auth", "login", &server.url(), "--no-browser"]).env("NO_COLOR", "1");
    let mut terminal = login.at_terminal(Streams::ALL);
    terminal.shows("Paste the address").shows("> ");
    let screen = terminal.screen();
    let state = screen.split("&state=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let issuer = server.issuer.url("");
    terminal.types(&format!("http://127.0.0.1:1/callback?code=c0de&state={state}&iss={issuer}\n"));
    let seen = terminal.ends();
    seen.exits(0);
    assert!(seen.screen.contains("Logged in"), "{}", seen.screen);
    let script = sandbox.mcpipe(["auth", "login", &server.url(), "--no-browser"]).run();
    script.exits(4).says("standard input ended");
    let silent = sandbox.mcpipe(["auth", "login", &server.url(), "--no-browser", "--no-input"]).stdin_open().run();
    silent.exits(4).says("--no-input");
}

#[test]
fn at_a_terminal_somebody_is_asked_on_the_spot_but_not_by_the_overview() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    sandbox.config(&format!("[servers.srv]\nurl = \"{}\"\n", server.url()));
    let overview = sandbox.mcpipe(["list"]).with_browser().at_terminal(Streams::ALL).ends();
    overview.exits(4);
    assert!(server.asked().is_empty());
    sandbox.mcpipe(["list", "srv", "--no-input"]).with_browser().at_terminal(Streams::ALL).ends().exits(4);
    let list = sandbox.mcpipe(["list", "srv"]).with_browser().at_terminal(Streams::ALL).ends();
    list.exits(0);
    assert_eq!(server.grants(), ["authorization_code"]);
}

#[test]
fn a_login_takes_longer_than_an_answer_may() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    server.ledger.thinks.store(1500, Ordering::SeqCst);
    let words = ["--login", "always", "--timeout", "500ms", "--connect-timeout", "500ms"];
    let run = sandbox.mcpipe(["list", &server.url()]).args(words).with_browser().run();
    run.exits(0);
}

#[test]
fn what_takes_no_login_says_so() {
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["auth", "login", "cat -"]).run().exits(2).says("takes no login").says("-e KEY=VALUE");
    let inner = Mcp::modern().http_script(Legacy::default());
    let open = HttpServer::start(move |request| match request.target.as_str() {
        "/mcp" => inner(request),
        _ => Reply::status(404),
    });
    sandbox.mcpipe(["auth", "login", &open.url("/mcp")]).with_browser().run().exits(4).says("asks for no login");
    let server = Protected::start();
    sandbox
        .mcpipe(["auth", "login", &server.url(), "--bearer-env", "TOKEN"])
        .env("TOKEN", "access-0")
        .run()
        .exits(2)
        .says("Authorization");
    sandbox.mcpipe(["auth", "login", "nowhere"]).run().exits(3);
    sandbox.mcpipe(["auth", "login"]).run().exits(2);
}

#[test]
fn a_server_that_wants_something_else_is_not_taken_for_one_that_knows_logins() {
    let sandbox = Sandbox::new();
    let server = HttpServer::start(|request| match request.target.as_str() {
        "/mcp" => Reply::text("text/plain", "key missing").with_status(401),
        _ => Reply::status(404),
    });
    let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--login", "always"]).with_browser().run();
    run.exits(4).says("--bearer-env VAR");
    let basic = HttpServer::start(|_| Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""));
    sandbox.mcpipe(["list", &basic.url("/mcp"), "--login", "always"]).with_browser().run().exits(4);
    assert_eq!(basic.requests().len(), 1);
}

#[test]
fn a_broken_store_is_told_from_an_empty_one() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    let file = sandbox.file("credentials", "{ not json access-1");
    let run = sandbox.mcpipe(["list", &server.url()]).env("MCPIPE_CREDENTIALS_FILE", file.as_os_str()).run();
    run.exits(3);
    leaks_nothing(run.stderr());
}
