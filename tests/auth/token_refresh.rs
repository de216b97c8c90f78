//! Expired tokens: refreshed before use and after a rejection, by one process for all, and removed only if the
//! authorization server itself rejects them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::oauth::ProtectedServer;
use crate::support::ws::{WebSocketEvent, WebSocketServer};
use crate::support::{Mcp, Reply, Run, Sandbox};

fn list(sandbox: &Sandbox, server: &ProtectedServer) -> Run {
    sandbox.mcpipe(["list", &server.url()]).run()
}

#[test]
fn aut_23_twenty_commands_with_one_expired_token_refresh_it_once() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let before = server.log_in_with_expired_token(&sandbox);
    server.ledger.token_delay_ms.store(300, Ordering::SeqCst);
    let runs: Vec<_> = (0..20).map(|_| sandbox.mcpipe(["list", &server.url()]).allow_leftovers().start()).collect();
    for run in runs {
        run.wait().exits(0);
    }
    assert_eq!(server.requested_grants()[before..], ["refresh_token"]);
}

#[test]
fn aut_23_a_killed_lock_holder_does_not_block_the_refresh() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let before = server.log_in_with_expired_token(&sandbox);
    server.ledger.ignores_refresh.store(true, Ordering::SeqCst);
    let mut runs: Vec<_> = (0..20).map(|_| sandbox.mcpipe(["list", &server.url()]).allow_leftovers().start()).collect();
    server.issuer.wait_for("the refresh", |request| request.text().contains("grant_type=refresh_token"));
    // The first process holds the lock, and the others wait for it.
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(server.requested_grants().len(), before + 1, "one refresh is under way, for all twenty");
    let holder = holder_of_the_lock(&sandbox);
    let winner = runs.remove(runs.iter().position(|run| run.pid() == holder).expect("one of ours"));
    server.ledger.ignores_refresh.store(false, Ordering::SeqCst);
    winner.signal(Signal::KILL);
    winner.wait().exits(137);
    for run in runs {
        run.wait().exits(0);
    }
    assert_eq!(
        server.requested_grants()[before..],
        ["refresh_token", "refresh_token"],
        "the one that was cut off, and one more"
    );
}

#[test]
fn aut_23_one_refusal_is_enough_for_twenty() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let before = server.log_in_with_expired_token(&sandbox);
    server.ledger.token_delay_ms.store(300, Ordering::SeqCst);
    server.deny_token_requests(400, "invalid_grant");
    let runs: Vec<_> = (0..20).map(|_| sandbox.mcpipe(["list", &server.url()]).allow_leftovers().start()).collect();
    for run in runs {
        run.wait().exits(4).stderr_contains("hint: mcpipe auth login");
    }
    assert_eq!(server.requested_grants().len(), before + 1, "a dead refresh token is not shown again and again");
}

/// The process that holds the lock of the credentials, according to the kernel.
fn holder_of_the_lock(sandbox: &Sandbox) -> u32 {
    use std::os::unix::fs::MetadataExt;
    let dir = sandbox.path().join("home/.local/state/mcpipe/locks");
    let inodes: Vec<u64> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().metadata().unwrap().ino()).collect();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let holders: Vec<u32> = locks
        .lines()
        .filter_map(|line| {
            // `1: FLOCK  ADVISORY  WRITE 4711 08:01:123 0 EOF`
            let words: Vec<&str> = line.split_whitespace().collect();
            let inode = words.get(5)?.rsplit(':').next()?.parse().ok()?;
            inodes.contains(&inode).then(|| words[4].parse().ok()).flatten()
        })
        .collect();
    assert_eq!(holders.len(), 1, "{locks}");
    holders[0]
}

/// The refresh may be sent while the connection is opened, over any transport.
#[test]
fn an_interrupted_or_late_command_lets_a_refresh_finish_so_that_the_login_is_not_lost() {
    let limits = ["--connect-timeout", "300ms", "--retries", "0"];
    for (scheme, words, code) in [
        ("http", &[][..], 130),
        ("ws", &[], 130),
        ("http", &["--transport", "sse"], 130),
        ("ws", &limits, 6),
        ("http", &[&["--transport", "sse"][..], &limits].concat(), 6),
    ] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let before = server.log_in_with_expired_token(&sandbox);
        server.ledger.token_delay_ms.store(1000, Ordering::SeqCst);
        let url = server.url().replace("http:", &format!("{scheme}:"));
        let run = sandbox.mcpipe(["list", &url]).args(words).start();
        while server.requested_grants().len() == before {
            std::thread::sleep(Duration::from_millis(2));
        }
        if code == 130 {
            run.signal(Signal::INT);
        }
        run.wait().exits(code);
        server.ledger.token_delay_ms.store(0, Ordering::SeqCst);
        list(&sandbox, &server).exits(0);
        assert_eq!(server.requested_grants().len(), before + 1, "{url} {words:?}: what was renewed was kept");
    }
}

/// The only request of a WebSocket is the one that opens it.
#[test]
fn a_login_that_has_ended_is_not_left_out_in_silence_over_a_websocket() {
    let mcp = Mcp::modern().ws_script();
    let server = WebSocketServer::start(move |peer, event| match event {
        WebSocketEvent::Handshake(head)
            if !head.contains("Sec-WebSocket-Key") && !head.contains("sec-websocket-key") =>
        {
            peer.answer_handshake("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            peer.disconnect();
        }
        event => mcp(peer, event),
    });
    let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
    let expired = r#"{"access_token":"a","expires_at":1}"#;
    sandbox.mcpipe(["auth", "import", &url]).stdin(expired).run().exits(0);
    sandbox.mcpipe(["call", &url, "add", "a=1", "b=2"]).run().exits(0).prints("3\n").stderr_is(&format!(
        "mcpipe: warning: the login to {url} has ended (the token has expired); sending requests without it. \
         To log in again: mcpipe auth login {url}\n"
    ));
}

#[test]
fn aut_23_a_refused_token_is_refreshed_once_and_the_request_repeated_once() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in(&sandbox);
    server.ledger.revoked.lock().unwrap().push("access-1".into());
    let before = server.mcp.requests().len();
    list(&sandbox, &server).succeeds();
    assert_eq!(server.requested_grants(), ["authorization_code", "refresh_token"]);
    assert_eq!(server.mcp.exchanges()[before..], ["POST tools/list", "POST tools/list"]);
    // A server that accepts requests without a token ends it.
    server.at_server(|request| {
        (request.target == "/mcp").then(|| Reply::status(401).header("WWW-Authenticate", "Bearer error=\"nope\""))
    });
    let refused = list(&sandbox, &server);
    refused.exits(4).stderr_contains("mcpipe auth login");
    assert_eq!(server.requested_grants()[2..], ["refresh_token"]);
    server.assert_no_secret_left(&sandbox, &[&refused]);
    sandbox.mcpipe(["list", &server.url(), "--login", "always"]).with_browser().run().exits(4);
    assert_eq!(server.requested_grants()[3..], ["refresh_token", "authorization_code"]);
}

/// Two requests carry the old token. One is refused, and is accepted with the new token before the other is refused.
#[test]
fn a_late_refusal_of_the_old_token_is_not_about_the_new_one() {
    for (status, challenge, login, grant) in [
        (401, "Bearer error=\"invalid_token\"", "never", "refresh_token"),
        (403, "Bearer error=\"insufficient_scope\", scope=\"more\"", "always", "authorization_code"),
    ] {
        let mcp = crate::support::Mcp::modern().http_script(crate::support::mcp_http::LegacyHttpOptions::default());
        let (old_requests, new_requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let wait_for = |count: &AtomicUsize, number: usize| {
            let end = Instant::now() + Duration::from_secs(10);
            while count.load(Ordering::SeqCst) < number && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
        };
        let server = ProtectedServer::in_front_of(move |request| {
            if request.rpc_method() != "tools/call" {
                return mcp(request);
            }
            if request.header("authorization") != Some("Bearer access-1-call") {
                let reply = mcp(request);
                new_requests.fetch_add(1, Ordering::SeqCst);
                return reply;
            }
            match old_requests.fetch_add(1, Ordering::SeqCst) {
                0 => wait_for(&old_requests, 2),
                _ => wait_for(&new_requests, 1),
            }
            Reply::status(status).header("WWW-Authenticate", challenge)
        });
        let sandbox = Sandbox::new();
        let (url, lines) = (server.url(), "{\"tool\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}\n".repeat(2));
        sandbox.mcpipe(["auth", "login", &url, "--scope", "call"]).with_browser().run().exits(0);
        let words = ["call", &url, "--batch", "-", "--jobs", "2", "--login", login];
        sandbox.mcpipe(words).with_browser().stdin(lines).run().exits(0);
        assert_eq!(server.requested_grants(), ["authorization_code", grant]);
    }
}

#[test]
fn aut_23_the_old_refresh_token_stands_where_no_other_comes() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.keeps_refresh_token.store(true, Ordering::SeqCst);
    server.log_in(&sandbox);
    for _ in 0..2 {
        sandbox.expire_stored_tokens();
        list(&sandbox, &server).succeeds();
    }
    let refreshes: Vec<_> =
        server.token_forms().into_iter().filter_map(|mut form| form.remove("refresh_token")).collect();
    assert_eq!(refreshes, ["refresh-1", "refresh-1"]);
}

#[test]
fn aut_23_invalid_grant_drops_the_tokens_and_keeps_the_registration() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let before = server.log_in_with_expired_token(&sandbox);
    server.deny_token_requests(400, "invalid_grant");
    let refused = list(&sandbox, &server);
    refused
        .exits(4)
        .prints("")
        .stderr_contains("has ended")
        .stderr_contains("said invalid_grant")
        .stderr_contains("mcpipe auth login");
    assert_eq!(server.requested_grants().len(), before + 1);
    list(&sandbox, &server).exits(4).stderr_contains("requires a login");
    assert_eq!(server.requested_grants().len(), before + 1, "a dead refresh token is not sent twice");
    server.log_in(&sandbox);
    server.registered_once_for_each_redirect();
    list(&sandbox, &server).succeeds();
}

#[test]
fn aut_23_invalid_client_drops_the_registration() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in_with_expired_token(&sandbox);
    server.deny_token_requests(401, "invalid_client");
    list(&sandbox, &server).exits(4).stderr_contains("said invalid_client").stderr_contains("mcpipe auth login");
    assert_eq!(sandbox.login_status(), json!([]));
    server.log_in(&sandbox);
    assert_eq!(server.count_issuer_requests("POST /register"), 2);
    list(&sandbox, &server).succeeds();
}

/// A secret that is wrong today may be right tomorrow; the refresh token stays valid.
#[test]
fn a_wrong_secret_does_not_cost_the_login() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.config(&format!(
        "[servers.srv]\nurl = \"{}\"\n[servers.srv.auth]\nclient_id = \"mine\"\nclient_secret = \"${{SECRET}}\"\n",
        server.url()
    ));
    server.at_issuer(|request| {
        let basic = request.header("authorization")?.strip_prefix("Basic ")?;
        // mine:right
        (basic != "bWluZTpyaWdodA==").then(|| crate::support::oauth::oauth_error(401, "invalid_client"))
    });
    let run =
        |words: &[&str], secret: &str| sandbox.mcpipe(words.iter().copied()).env("SECRET", secret).with_browser().run();
    run(&["auth", "login", "srv"], "right").exits(0);
    sandbox.expire_stored_tokens();
    let wrong = run(&["list", "srv"], "wrong");
    wrong.exits(4).stderr_contains("invalid_client").stderr_contains("hint: check client_id and its secret");
    run(&["list", "srv"], "right").exits(0);
    assert!(server.requested_grants().iter().filter(|grant| *grant == "authorization_code").count() == 1);
    server.assert_no_secret_left(&sandbox, &[&wrong]);
}

/// A gateway's error page, or a failing authorization server: the token was not declared invalid.
#[test]
fn only_the_authorization_server_ends_a_login() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in_with_expired_token(&sandbox);
    let page = |status| Reply::text("text/html", "<html>blocked</html>").with_status(status);
    server.queue_replies("/token", vec![page(403), page(404), page(503), page(200), Reply::disconnect()]);
    for code in [4, 4, 5, 4, 5] {
        sandbox.mcpipe(["list", &server.url(), "--retries", "0"]).run().exits(code).prints("");
    }
    list(&sandbox, &server).succeeds();
    assert_eq!(server.count_issuer_requests("GET /authorize"), 1);
}

#[test]
fn a_token_that_cannot_be_refreshed_ends_with_the_command_to_log_in() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let granted =
        |life: Value| Reply::json(&json!({"access_token": "access-9", "token_type": "BEARER", "expires_in": life}));
    server.queue_replies("/token", vec![granted(json!("3600"))]);
    server.log_in(&sandbox);
    assert_eq!(sandbox.login_status()[0]["refreshable"], false);
    sandbox.expire_stored_tokens();
    list(&sandbox, &server)
        .exits(4)
        .stderr_contains("the token has expired")
        .stderr_contains("hint: mcpipe auth login");
    sandbox.mcpipe(["auth", "status", &server.url()]).run().exits(4).stdout_contains("expired");
    assert_eq!(server.requested_grants(), ["authorization_code"]);
}

#[test]
fn auth_token_is_fresh_and_never_sent_to_another_server() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let before = server.log_in_with_expired_token(&sandbox);
    let token = sandbox.mcpipe(["auth", "token", &server.url()]).run();
    assert_eq!(token.succeeds().stdout(), format!("access-{}\n", before + 1));
    sandbox.mcpipe(["auth", "token", &server.url()]).run().succeeds().prints(token.stdout());
    assert_eq!(server.requested_grants().len(), before + 1);
    // The credentials apply to a server that redirects elsewhere, and are kept.
    let other = crate::support::HttpServer::start(|_| Reply::text("text/plain", "caught"));
    let location = other.url("/mcp");
    server.at_server(move |_| Some(Reply::status(307).header("Location", &location)));
    let run = list(&sandbox, &server);
    assert_ne!(run.code(), 0, "{run:?}");
    assert!(other.requests().is_empty(), "the redirect is not followed");
    server.assert_no_secret_left(&sandbox, &[&run]);
}

/// Only `invalid_grant` means that the refresh token is no longer valid (RFC 6749 §5.2).
#[test]
fn aut_23_another_refusal_does_not_cost_the_refresh_token() {
    for (status, error) in [
        (400, "invalid_request"),
        (400, "server_error"),
        (403, "access blocked by gateway policy"),
        (400, "invalid_dpop_proof"),
        (400, "invalid_target"),
        (400, "unauthorized_client"),
        (400, "invalid_scope"),
    ] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        server.log_in_with_expired_token(&sandbox);
        server.deny_token_requests(status, error);
        if ["invalid_request", "invalid_target"].contains(&error) {
            // Once more without the resource.
            server.deny_token_requests(status, error);
        }
        let refused = sandbox.mcpipe(["list", &server.url(), "--retries", "0"]).run();
        // A temporary error is not a rejection.
        refused.exits(if error == "server_error" { 5 } else { 4 });
        refused.prints("").stderr_contains("cannot refresh the login").stderr_contains(error);
        if error != "server_error" {
            refused.exits(4).stderr_contains(&format!("mcpipe auth login {}", server.url()));
        }
        list(&sandbox, &server).succeeds();
        assert_eq!(server.count_issuer_requests("GET /authorize"), 1, "{error}");
        server.assert_no_secret_left(&sandbox, &[&refused]);
    }
}

/// At a terminal a new login starts; a script gets the command to run.
#[test]
fn a_refused_refresh_leads_to_a_login_if_one_is_allowed() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.log_in_with_expired_token(&sandbox);
    server.deny_token_requests(400, "unauthorized_client");
    sandbox.mcpipe(["list", &server.url(), "--login", "always"]).with_browser().run().exits(0);
    assert_eq!(server.authorization_requests().len(), 2);
    list(&sandbox, &server).succeeds();
}

/// A server that accepts everyone, and shows more to users who are logged in.
#[test]
fn a_login_that_has_ended_is_not_left_out_in_silence() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let granted = json!({"access_token": "access-9", "token_type": "bearer", "expires_in": 5});
    server.queue_replies("/token", vec![Reply::json(&granted)]);
    server.log_in(&sandbox);
    std::thread::sleep(Duration::from_millis(5100));
    let open = crate::support::Mcp::modern().http_script(crate::support::mcp_http::LegacyHttpOptions::default());
    server.at_server(move |request| (request.target == "/mcp").then(|| open(request)));
    let run = sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2"]).run();
    run.exits(0)
        .prints("3\n")
        .stderr_contains("the login to")
        .stderr_contains("has ended")
        .stderr_contains("without it");
    run.stderr_contains(&format!("mcpipe auth login {}", server.url()));
    assert_eq!(run.stderr().matches("without it").count(), 1, "{run:?}");
    assert!(server.mcp.requests().last().unwrap().header("authorization").is_none());
    let quiet = sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2", "--quiet"]).run();
    quiet.succeeds().prints("3\n");
    let json = sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2", "--json"]).run();
    let warning: Value = serde_json::from_str(json.exits(0).stderr().trim()).unwrap();
    assert!(warning["warning"].as_str().unwrap().contains("has ended"), "{json:?}");
    // Without a login there is nothing to warn about.
    sandbox.mcpipe(["auth", "logout", &server.url()]).run().exits(0);
    sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2"]).run().succeeds();
}

#[cfg(unix)]
#[test]
fn a_login_that_could_not_be_stored_is_refreshed_anyway() {
    let sandbox = Sandbox::new();
    let lines = (0..7).map(|n| json!({"tool": "add", "arguments": {"a": n, "b": 1}}).to_string() + "\n");
    let mcp = crate::support::Mcp::modern().http_script(crate::support::mcp_http::LegacyHttpOptions::default());
    let slow = ProtectedServer::in_front_of(move |request| {
        if request.rpc_method() == "tools/call" {
            std::thread::sleep(Duration::from_millis(600));
        }
        mcp(request)
    });
    slow.ledger.token_lifetime_secs.store(1, Ordering::SeqCst);
    // There is no keychain here, and the file store is disabled.
    sandbox.config(&format!(
        "[defaults]\ncredential_store = \"keyring\"\n[servers.srv]\nurl = \"{}\"\n\
         auth = {{ scopes = [\"read\", \"call\"] }}\n",
        slow.url()
    ));
    let words = ["call", "srv", "--batch", "-", "--jobs", "1", "--login", "always"];
    let run = sandbox.mcpipe(words).with_browser().stdin(lines.collect::<String>()).run();
    run.exits(0).stderr_contains("mcpipe: warning: could not store the login, it is valid for this run only");
    let grants = slow.requested_grants();
    assert_eq!(grants.iter().filter(|grant| *grant == "authorization_code").count(), 1, "{grants:?}\n{run:?}");
    assert!(grants.iter().filter(|grant| *grant == "refresh_token").count() >= 2, "{grants:?}");
    assert_eq!(run.stderr().matches("could not store").count(), 1, "{run:?}");
}
