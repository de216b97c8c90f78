//! One login for each configured entry, and for each URL: entries with the same URL are different accounts.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::support::Sandbox;
use crate::support::oauth::{ProtectedServer, oauth_error};

/// Two entries for one URL, and the token that the last request carried.
fn configure(sandbox: &Sandbox, server: &ProtectedServer) {
    let url = server.url();
    sandbox.config(&format!(
        "[servers.work]\nurl = \"{url}\"\n[servers.home]\nurl = \"{url}\"\nauth = {{ scopes = [\"call\"] }}\n"
    ));
}

fn token_sent_by(sandbox: &Sandbox, server: &ProtectedServer, target: &str) -> String {
    sandbox.mcpipe(["list", target]).run().exits(0);
    server.mcp.requests().pop().unwrap().header("authorization").unwrap().to_owned()
}

fn log_in(sandbox: &Sandbox, target: &str, words: &[&str]) {
    sandbox.mcpipe(["auth", "login", target]).args(words).with_browser().run().exits(0);
}

fn names(status: &Value) -> Vec<Value> {
    status.as_array().unwrap().iter().map(|login| login["server"].clone()).collect()
}

#[test]
fn two_entries_for_one_url_have_a_login_each() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    log_in(&sandbox, "work", &[]);
    sandbox.mcpipe(["list", "home"]).run().exits(4).stderr_contains("hint: mcpipe auth login home\n");
    sandbox.mcpipe(["auth", "status", "home"]).run().exits(4);
    log_in(&sandbox, "home", &[]);
    assert_eq!(token_sent_by(&sandbox, &server, "work"), "Bearer access-1");
    assert_eq!(token_sent_by(&sandbox, &server, "home"), "Bearer access-2-call");
    let mut both = names(&sandbox.login_status());
    both.sort_by_key(ToString::to_string);
    assert_eq!(both, [json!("home"), json!("work")]);
    let status = sandbox.mcpipe(["auth", "status", "home", "--json"]).run();
    assert_eq!(names(&status.exits(0).json()["credentials"]), [json!("home")]);
    // A URL is a third account.
    sandbox.mcpipe(["list", &server.url()]).run().exits(4);
    log_in(&sandbox, &server.url(), &[]);
    assert_eq!(token_sent_by(&sandbox, &server, "work"), "Bearer access-1");
    assert_eq!(token_sent_by(&sandbox, &server, &server.url()), "Bearer access-3");
    sandbox.mcpipe(["auth", "logout", "work"]).run().exits(0);
    sandbox.mcpipe(["list", "work"]).run().exits(4);
    assert_eq!(token_sent_by(&sandbox, &server, "home"), "Bearer access-2-call");
    sandbox.mcpipe(["auth", "logout", "--all"]).run().exits(0);
    assert_eq!(sandbox.stored_credentials(), json!([]));
}

/// The secret of a configured client is not stored with its login.
#[test]
fn a_logout_of_all_servers_revokes_with_the_configured_secret() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.config(&format!(
        "[servers.srv]\nurl = \"{}\"\nauth = {{ client_id = \"mine\", client_secret = \"${{SECRET}}\" }}\n",
        server.url()
    ));
    server.at_issuer(|request| {
        // mine:right
        let is_right = request.header("authorization") == Some("Basic bWluZTpyaWdodA==");
        (request.target == "/revoke" && !is_right).then(|| oauth_error(401, "invalid_client"))
    });
    let log_in = || _ = sandbox.mcpipe(["auth", "login", "srv"]).env("SECRET", "right").with_browser().run().exits(0);
    let log_out = || sandbox.mcpipe(["auth", "logout", "--all", "--json"]);
    log_in();
    assert_eq!(log_out().env("SECRET", "right").run().succeeds().json()["removed"][0]["revoked"], true);
    assert_eq!(*server.ledger.revoked.lock().unwrap(), ["refresh-1", "access-1"]);
    // Without the secret, the login is removed anyway.
    log_in();
    let run = log_out().run();
    run.exits(0).stderr_contains("the tokens of srv are removed here, but not revoked");
    run.stderr_contains("the settings of srv are not used to revoke its tokens: ").stderr_contains("SECRET");
    assert_eq!(sandbox.stored_credentials(), json!([]));
}

/// A refresh of one login does not touch the other.
#[test]
fn each_login_is_refreshed_by_itself() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.ledger.keeps_refresh_token.store(true, Ordering::SeqCst);
    configure(&sandbox, &server);
    server.log_in_with_expired_token_by(&sandbox, || {
        log_in(&sandbox, "work", &[]);
        log_in(&sandbox, "home", &[]);
    });
    assert_eq!(token_sent_by(&sandbox, &server, "work"), "Bearer access-3");
    assert_eq!(token_sent_by(&sandbox, &server, "home"), "Bearer access-4-call");
    assert_eq!(token_sent_by(&sandbox, &server, "work"), "Bearer access-3");
    let forms = server.token_forms();
    assert_eq!((&*forms[2]["refresh_token"], &*forms[3]["refresh_token"]), ("refresh-1", "refresh-2-call"));
}

/// A URL has a login for each client that is stated; commands use the newest.
#[test]
fn a_url_has_a_login_for_each_client() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let url = server.url();
    log_in(&sandbox, &url, &["--client-id", "one"]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    log_in(&sandbox, &url, &["--client-id", "two"]);
    let logins = sandbox.login_status();
    let mut clients: Vec<&str> =
        logins.as_array().unwrap().iter().map(|login| login["client_id"].as_str().unwrap()).collect();
    clients.sort_unstable();
    assert_eq!(clients, ["one", "two"]);
    let status = sandbox.mcpipe(["auth", "status"]).run();
    let mut rows: Vec<&str> = status.stdout().lines().filter_map(|row| row.split('\t').nth(1)).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["one", "two"], "the table names the client: {status:?}");
    assert_eq!(token_sent_by(&sandbox, &server, &url), "Bearer access-2");
    sandbox.config(&format!("[servers.third]\nurl = {url:?}\nauth = {{ client_id = \"three\" }}\n"));
    sandbox.mcpipe(["list", "third"]).run().exits(4);
    assert_eq!(server.mcp.requests().pop().unwrap().header("authorization"), None);
    sandbox.mcpipe(["auth", "logout", &url]).run().exits(0);
    assert_eq!(sandbox.stored_credentials(), json!([]));
}

/// The credentials as earlier versions stored them: one login for each URL, with the name of the last entry.
fn store_as_earlier_versions(sandbox: &Sandbox, name: Option<&str>) {
    let file = sandbox.path().join("home/.local/share/mcpipe/credentials.json");
    let mut stored: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let records = stored["records"].as_object_mut().unwrap();
    let (_, mut record) = std::mem::take(records).into_iter().next().unwrap();
    let mut inner: Value = serde_json::from_str(record["record"].as_str().unwrap()).unwrap();
    let key = format!("{} {}", inner["server"].as_str().unwrap(), inner["issuer"].as_str().unwrap());
    for member in ["owner", "logged_in_at"] {
        inner.as_object_mut().unwrap().remove(member).unwrap();
        record["about"].as_object_mut().unwrap().remove(member).unwrap();
    }
    record["about"]["key"] = key.clone().into();
    record["about"]["server"] = json!(name);
    record["record"] = inner.to_string().into();
    records.insert(key, record);
    std::fs::write(&file, stored.to_string()).unwrap();
}

#[test]
fn logins_that_earlier_versions_stored_are_used() {
    for (name, used_by) in [(Some("work"), &["work", "URL"][..]), (None, &["work", "home", "URL"])] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        configure(&sandbox, &server);
        log_in(&sandbox, "work", &[]);
        store_as_earlier_versions(&sandbox, name);
        for target in ["work", "home", "URL"] {
            let url = server.url();
            let word = if target == "URL" { &url } else { target };
            let code = if used_by.contains(&target) { 0 } else { 4 };
            sandbox.mcpipe(["list", word]).run().exits(code);
        }
        // A new login replaces the one that belongs to it.
        log_in(&sandbox, "work", &[]);
        let expected = if name.is_some() { 1 } else { 2 };
        assert_eq!(sandbox.login_status().as_array().unwrap().len(), expected, "{name:?}");
    }
}
