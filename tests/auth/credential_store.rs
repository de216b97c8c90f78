//! Where credentials are stored, what is shown about it, and that they are stored nowhere else.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::support::oauth::ProtectedServer;
use crate::support::sandbox::Mcpipe;
use crate::support::{Run, Sandbox};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// How many times this run reported that the keychain cannot be used.
fn complaints(run: &Run) -> usize {
    run.stderr().matches("cannot use the system keychain").count()
}

/// A configured server with this `credential_store`.
fn configure(sandbox: &Sandbox, server: &ProtectedServer, choice: &str) {
    let url = server.url();
    sandbox.config(&format!("[servers.srv]\nurl = \"{url}\"\n[defaults]\ncredential_store = \"{choice}\"\n"));
}

#[test]
fn sec_03_nothing_secret_is_shown_however_much_is_asked_for() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    server.override_metadata(json!({"token_endpoint_auth_methods_supported": ["client_secret_post"]}));
    let trace = |name: &str| sandbox.path().join("tmp").join(name).display().to_string();
    let url = server.url();
    let words = ["-vv", "--trace", &trace("login"), "--login", "always", "--json"];
    let called = sandbox.call_add(&url, &words);
    called.exits(0);
    assert!(std::fs::read_to_string(trace("login")).unwrap().contains("/.well-known/oauth-authorization-server"));
    let login = sandbox.mcpipe(["auth", "login", &url, "-vv", "--trace", &trace("again")]).with_browser().run();
    login.exits(0);
    let status = sandbox.mcpipe(["auth", "status", "--json", "-vv"]).run();
    // Refreshed, rejected and revoked.
    server.ledger.revoked.lock().unwrap().extend((1..5).map(|number| format!("access-{number}-call")));
    let refused = sandbox.call_add(&url, &["-vv", "--trace", &trace("refused")]);
    let failed = sandbox.call_add(&url, &["-vv", "--json"]);
    failed.exits(4);
    let logout = sandbox.mcpipe(["auth", "logout", &url, "-vv", "--trace", &trace("logout")]).run();
    logout.exits(0);
    server.assert_no_secret_left(&sandbox, &[&called, &login, &status, &refused, &failed, &logout]);
}

#[test]
fn without_a_keychain_a_private_file_holds_them_and_that_is_said_once() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server, "auto");
    let login =
        |words: &[&str]| sandbox.mcpipe(["auth", "login", "srv"]).args(words.iter().copied()).with_browser().run();
    let dir = sandbox.path().join("home/.local/share/mcpipe");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    let first = login(&[]);
    assert_eq!((first.exits(0).code(), complaints(&first)), (0, 1), "{first:?}");
    first.stderr_contains("which only you can read");
    let again = login(&[]);
    assert_eq!((again.exits(0).code(), complaints(&again)), (0, 0), "{again:?}");
    assert_eq!((mode(&dir), mode(&sandbox.path().join("home/.local/state/mcpipe/locks"))), (0o700, 0o700));
    for entry in std::fs::read_dir(&dir).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    let place = dir.join("credentials.json").display().to_string();
    let status = sandbox.mcpipe(["auth", "status"]).run();
    status.succeeds().stdout_contains("\t~/.local/share/mcpipe/credentials.json\n");
    assert_eq!(sandbox.login_status()[0]["stored_in"], place);
    sandbox.mcpipe(["list", "srv"]).run().succeeds();
    // The permissions of a file that others could read are corrected, with a warning.
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o644)).unwrap();
    sandbox.mcpipe(["list", "srv"]).run().exits(0).stderr_contains("was accessible to other users");
    assert_eq!(mode(Path::new(&place)), 0o600);
    sandbox.mcpipe(["list", "srv"]).run().succeeds();
}

#[test]
fn the_file_that_is_named_is_used_and_travels() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server, "keyring");
    let file = sandbox.path().join("secret/credentials");
    let run = |sandbox: &Sandbox, words: &[&str]| {
        sandbox.mcpipe(words.iter().copied()).env("MCPIPE_CREDENTIALS_FILE", file.as_os_str()).with_browser().run()
    };
    let login = run(&sandbox, &["auth", "login", "srv"]);
    assert_eq!(complaints(login.exits(0)), 0, "{login:?}");
    assert_eq!((mode(&file), mode(file.parent().unwrap())), (0o600, 0o700));
    assert_eq!(run(&sandbox, &["auth", "status", "--json"]).json()["store"], file.display().to_string());
    // Another machine with the same file is logged in.
    let other = Sandbox::new();
    configure(&other, &server, "keyring");
    run(&other, &["list", "srv"]).succeeds();
    other.mcpipe(["list", "srv"]).run().exits(4);
    run(&sandbox, &["auth", "logout", "srv"]).exits(0);
    run(&other, &["list", "srv"]).exits(4);
}

/// As in a container whose user may not write to the home directory.
#[test]
fn the_file_that_is_named_needs_no_home_directory() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let file = sandbox.path().join("secret/credentials");
    let run = |words: &[&str], tokens: &str| {
        let home = ["HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"];
        let run = home.into_iter().fold(sandbox.mcpipe(words.iter().copied()), |run, name| run.env(name, "/proc/home"));
        run.env("MCPIPE_CREDENTIALS_FILE", file.as_os_str()).stdin(tokens).run()
    };
    let tokens = r#"{"access_token": "old", "refresh_token": "refresh-0", "client_id": "c", "expires_at": 1}"#;
    run(&["auth", "import", &server.url()], tokens).exits(0);
    run(&["list", &server.url()], "").exits(0);
    assert_eq!(server.requested_grants(), ["refresh_token"]);
}

#[test]
fn nothing_stored_and_a_broken_store_are_two_answers() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let list =
        |file: &Path| sandbox.mcpipe(["list", &server.url()]).env("MCPIPE_CREDENTIALS_FILE", file.as_os_str()).run();
    list(&sandbox.work().join("none")).exits(4).stderr_contains("requires a login");
    list(&sandbox.file("empty", "")).exits(4).stderr_contains("requires a login");
    let broken = list(&sandbox.file("broken", "{ not json access-1"));
    broken
        .exits(3)
        .stderr_contains("broken is broken")
        .stderr_contains("hint: move it away and log in again")
        .hides("access-1");
    let later = list(&sandbox.file("later", "{\"version\": 99}"));
    later.exits(3).stderr_contains("a later version of mcpipe wrote it");
    list(&sandbox.work()).exits(3).stderr_contains("is not a regular file");
    let pipe = sandbox.work().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    list(&pipe).exits(3).stderr_contains("is not a regular file");
    assert_eq!(std::fs::read_to_string(sandbox.work().join("broken")).unwrap(), "{ not json access-1", "left alone");
    let record = "{\"version\":1,\"records\":{\"k\":{\"about\":{\"key\":\"k\",\"resource\":\"URL\",\"issuer\":\"i\"},\"record\":\"hunter2\"}}}";
    let damaged = list(&sandbox.file("damaged", record.replace("URL", &server.url())));
    damaged
        .exits(3)
        .stderr_contains("the stored credentials are damaged")
        .stderr_contains("mcpipe auth logout")
        .hides("hunter2");
    assert!(server.issuer_requests().is_empty());
    // A logout removes damaged credentials.
    let kept = sandbox.file("damaged-too", std::fs::read_to_string(sandbox.work().join("damaged")).unwrap());
    let logout = sandbox.mcpipe(["auth", "logout", "--all"]).env("MCPIPE_CREDENTIALS_FILE", kept.as_os_str()).run();
    logout.exits(0).stderr_contains("the credentials are removed but not revoked, since they were unreadable.");
    // A new login replaces them.
    let login = sandbox.mcpipe(["auth", "login", &server.url()]).with_browser();
    login.env("MCPIPE_CREDENTIALS_FILE", sandbox.work().join("damaged").as_os_str()).run().exits(0);
    list(&sandbox.work().join("damaged")).succeeds();
}

/// Session buses that fail in different ways: none, one that does not exist, one that accepts the call and never
/// answers.
#[test]
fn a_keychain_that_cannot_be_used_is_named_in_time() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let mute = sandbox.path().join("bus");
    let socket = UnixListener::bind(&mute).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in socket.incoming() {
            held.push(connection);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let nowhere = "unix:path=/nowhere/at/all".to_owned();
    for (bus, why) in [(nowhere, "No such file"), (format!("unix:path={}", mute.display()), "did not respond")] {
        let run = |words: &[&str]| {
            let run = sandbox.mcpipe(words.iter().copied()).env("DBUS_SESSION_BUS_ADDRESS", &bus);
            run.with_browser().run()
        };
        configure(&sandbox, &server, "keyring");
        let strict = run(&["auth", "login", "srv"]);
        strict
            .exits(3)
            .stderr_contains("cannot use the system keychain")
            .stderr_contains(why)
            .stderr_contains("MCPIPE_CREDENTIALS_FILE");
        assert!(strict.elapsed < Duration::from_secs(20), "{:?}", strict.elapsed);
        assert_eq!(sandbox.login_status(), json!([]), "nothing is half stored");
        // The login is still valid for this run.
        run(&["call", "srv", "add", "a=1", "b=2", "--login", "always"])
            .exits(0)
            .stderr_contains("valid for this run only");
        configure(&sandbox, &server, "auto");
        let auto = run(&["auth", "login", "srv"]);
        assert_eq!(complaints(auto.exits(0).stderr_contains(why)), 1, "{auto:?}");
        let before = asked.load(Ordering::SeqCst);
        run(&["list", "srv"]).succeeds();
        run(&["auth", "status"]).succeeds();
        run(&["auth", "logout", "srv"]).exits(0);
        assert_eq!(asked.load(Ordering::SeqCst), before, "what rests in the file needs no keychain");
        std::fs::remove_dir_all(sandbox.path().join("home/.local/share")).unwrap();
    }
}

/// A slow keychain is waited for as long as in `auth`, and then named in the error.
#[test]
fn the_keychain_is_waited_for_longer_than_a_server() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let mute = sandbox.path().join("bus");
    let socket = UnixListener::bind(&mute).unwrap();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for connection in socket.incoming() {
            held.push(connection);
        }
    });
    configure(&sandbox, &server, "keyring");
    let about = json!({"key": "k", "resource": server.url(), "issuer": server.issuer.url(""), "login": "l"});
    let index = json!({"version": 1, "entries": {"k": {"about": about, "written": 1}}});
    let dir = sandbox.path().join("home/.local/share/mcpipe");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("keychain.json"), index.to_string()).unwrap();
    let words = ["call", "srv", "add", "a=1", "b=2", "--connect-timeout", "1s", "--timeout", "1s"];
    let run = sandbox.mcpipe(words).env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", mute.display())).run();
    run.exits(3)
        .prints("")
        .stderr_contains("cannot use the system keychain")
        .stderr_contains("did not respond within 3 s");
    assert!(run.elapsed < Duration::from_secs(15), "{run:?}");
}

/// While another command refreshes the same login, the connect timeout does not expire.
#[test]
fn the_lock_of_a_login_is_waited_for_longer_than_a_server() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let before = server.log_in_with_expired_token(&sandbox);
    server.ledger.token_delay_ms.store(2500, Ordering::SeqCst);
    let words = ["list", &server.url(), "--connect-timeout", "10s"];
    let first = sandbox.mcpipe(words).start();
    server.issuer.wait_for("the refresh", |request| request.text().contains("grant_type=refresh_token"));
    let words = ["list", &server.url(), "--connect-timeout", "1s", "--timeout", "1s"];
    let second = sandbox.mcpipe(words).allow_leftovers().run();
    second.exits(0);
    first.wait().exits(0);
    assert_eq!(server.requested_grants().len(), before + 1, "one renewal for both");
}

/// `auth status` determines where a new login would be stored.
#[test]
fn the_keychain_is_claimed_only_where_there_is_one() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let file = sandbox.path().join("home/.local/share/mcpipe/credentials.json").display().to_string();
    let run = |words: &[&str]| {
        let run = sandbox.mcpipe(words.iter().copied());
        run.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/at/all").run()
    };
    run(&["auth", "status"]).exits(0).stderr_contains("no credentials in ~/.local/share/mcpipe/credentials.json\n");
    assert_eq!(run(&["auth", "status", "--json"]).exits(0).json()["store"], file);
    run(&["config", "secret", "list"])
        .exits(0)
        .stderr_contains("~/.local/share/mcpipe/credentials.json")
        .hides("keychain");
    configure(&sandbox, &server, "keyring");
    let strict = run(&["auth", "status", "srv"]);
    strict.exits(4).stderr_contains("no credentials in the system keychain").stderr_contains("which cannot be used");
}

/// Run by `tests/real/keyring.sh`, under a session bus with an unlocked keyring.
#[test]
#[ignore = "needs an unlocked keyring: tests/real/keyring.sh"]
fn in_a_real_keychain() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server, "auto");
    let bus = std::env::var("DBUS_SESSION_BUS_ADDRESS").expect("is run by tests/real/keyring.sh");
    let prepare = |run: Mcpipe| run.env("DBUS_SESSION_BUS_ADDRESS", &bus).with_browser().allow_leftovers();
    let run = |words: &[&str]| prepare(sandbox.mcpipe(words.iter().copied())).run();
    let place = |expected: &str| {
        let status = run(&["auth", "status", "--json"]).json();
        assert!(status["credentials"][0]["stored_in"].as_str().unwrap().contains(expected), "{status}");
    };
    let entries = || {
        let found = Command::new("secret-tool").args(["search", "--all", "service", "mcpipe"]).output().unwrap();
        String::from_utf8(found.stdout).unwrap().matches("label = mcpipe: srv").count()
    };

    server.ledger.token_lifetime_secs.store(1, Ordering::SeqCst);
    run(&["auth", "login", "srv"]).exits(0);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    server.ledger.token_lifetime_secs.store(3600, Ordering::SeqCst);
    let before = server.requested_grants().len();
    place("the system keychain");
    assert_eq!(entries(), 1);
    assert!(!sandbox.path().join("home/.local/share/mcpipe/credentials.json").exists());
    // Twenty processes find one expired token in the keychain.
    let runs: Vec<_> = (0..20).map(|_| prepare(sandbox.mcpipe(["list", "srv"])).start()).collect();
    for one in runs {
        one.wait().exits(0);
    }
    assert_eq!(server.requested_grants()[before..], ["refresh_token"]);

    let lock = ["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"];
    let collection = "array:objpath:/org/freedesktop/secrets/collection/login";
    let locking =
        Command::new("dbus-send").args(lock).args(["org.freedesktop.Secret.Service.Lock", collection]).output();
    assert!(locking.unwrap().status.success());
    let locked = run(&["list", "srv"]);
    locked
        .exits(3)
        .stderr_contains("the system keychain (Secret Service) is locked")
        .stderr_contains("hint: unlock it");
    run(&["auth", "status"]).exits(0).stdout_contains("srv");
    run(&["auth", "logout", "srv"]).exits(3).stderr_contains("is locked");
    // A server without a login is not affected.
    let other = ProtectedServer::start();
    run(&["list", &other.url()]).exits(4).stderr_contains("requires a login");
    // A new login is stored elsewhere, with a warning.
    let login = run(&["auth", "login", "srv"]);
    assert_eq!(complaints(login.exits(0).stderr_contains("it is locked")), 1, "{login:?}");
    place("credentials.json");
    run(&["list", "srv"]).succeeds();
    server.assert_no_secret_left(&sandbox, &[&locked, &login]);
}

/// All accesses to the store in one run share one runtime, so their number does not use up file descriptors.
#[test]
fn many_secrets_are_stored_with_few_file_descriptors() {
    let sandbox = Sandbox::new();
    let servers: serde_json::Map<String, serde_json::Value> = (0..80)
        .map(|n| {
            (format!("s{n}"), json!({"url": "https://h.example/", "headers": {"X-Api-Key": format!("s3cret-{n}")}}))
        })
        .collect();
    let file = sandbox.path().join("mcp.json");
    std::fs::write(&file, json!({"mcpServers": servers}).to_string()).unwrap();
    let limited = ["/bin/sh", "-c", "ulimit -n 64; exec \"$0\" \"$@\""];
    let imported = sandbox
        .mcpipe(["config", "import", file.to_str().unwrap(), "--yes", "--secrets", "keychain"])
        .command(&limited)
        .output()
        .unwrap();
    assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    let list = sandbox.mcpipe(["config", "secret", "list", "--json"]).run().json();
    assert_eq!(list["secrets"].as_array().unwrap().len(), 80);
}

#[test]
fn no_lock_file_remains_after_a_command() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server, "file");
    for words in [&["auth", "login", "srv"][..], &["auth", "token", "srv"], &["auth", "logout", "srv"]] {
        sandbox.mcpipe(words.iter().copied()).with_browser().run().exits(0);
        let found =
            Command::new("find").args([sandbox.path(), Path::new("-name"), Path::new("*.lock")]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{words:?}");
    }
}

/// The older login to the URL is in a keychain that can no longer be opened.
#[test]
fn a_login_to_a_url_in_the_file_replaces_one_in_the_keychain() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let (url, issuer) = (server.url(), server.issuer.url(""));
    sandbox.config("[defaults]\ncredential_store = \"file\"\n");
    let key = format!("{url} {issuer} url");
    let about = json!({"key": key, "resource": url, "issuer": issuer, "owner": "url", "login": "l"});
    let index = json!({"version": 1, "entries": {key: {"about": about, "written": 1}}});
    let dir = sandbox.path().join("home/.local/share/mcpipe");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("keychain.json"), index.to_string()).unwrap();
    let run = |words: &[&str]| {
        let run = sandbox.mcpipe(words.iter().copied()).with_browser();
        run.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/at/all").run()
    };
    run(&["list", &url]).exits(3).stderr_contains("cannot use the system keychain");
    run(&["auth", "login", &url]).exits(0).stderr_contains("credentials.json");
    run(&["list", &url]).succeeds();
    assert_eq!(sandbox.login_status().as_array().unwrap().len(), 1);
    run(&["auth", "logout", &url]).exits(0);
    assert_eq!(sandbox.login_status(), json!([]));
}

/// The login is stored, and its predecessor at another issuer cannot be removed from a keychain that does not open.
#[test]
fn a_login_is_kept_if_the_one_that_it_replaces_cannot_be_removed() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let url = server.url();
    sandbox.config("[defaults]\ncredential_store = \"file\"\n");
    let key = format!("{url} https://old.example url");
    let about = json!({"key": key, "resource": url, "issuer": "https://old.example", "owner": "url", "login": "l"});
    let index = json!({"version": 1, "entries": {key: {"about": about, "written": 1}}});
    let dir = sandbox.path().join("home/.local/share/mcpipe");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("keychain.json"), index.to_string()).unwrap();
    let login = sandbox.mcpipe(["auth", "login", &url]).with_browser();
    let login = login.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/at/all").run();
    login.exits(0).stderr_contains("warning: could not remove the login that the new one replaces: ");
    let token =
        sandbox.mcpipe(["auth", "token", &url]).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere/at/all").run();
    token.succeeds().prints("access-1\n");
}

/// Reading needs no configuration; where a login is stored is the user's choice for every server.
#[test]
fn a_login_to_a_url_is_stored_where_the_configuration_says() {
    for (choice, is_explicit) in [("file", false), ("file", true), ("keyring", false)] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        let config = sandbox.config(&format!("[defaults]\ncredential_store = \"{choice}\"\n"));
        let run = |words: &[&str]| {
            let run = sandbox.mcpipe(words.iter().copied()).with_browser();
            if is_explicit { run.env("MCPIPE_CONFIG", config.as_os_str()) } else { run }.run()
        };
        let login = run(&["auth", "login", &server.url()]);
        let dir = sandbox.path().join("home/.local/share/mcpipe");
        if choice == "keyring" {
            assert_eq!(complaints(login.exits(3)), 1, "{login:?}");
            assert!(!dir.join("credentials.json").exists());
            continue;
        }
        assert_eq!(complaints(login.exits(0)), 0, "{login:?}");
        let names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["credentials.json"], "nothing is written for a keychain that is not used");
        run(&["list", &server.url()]).succeeds();
        let status = run(&["auth", "status", "--json"]).json();
        let file = dir.join("credentials.json").display().to_string();
        assert_eq!((&status["store"], &status["credentials"][0]["stored_in"]), (&json!(file), &json!(file)));
        // A broken configuration prevents neither using it nor a logout.
        if !is_explicit {
            std::fs::write(&config, "[defaults").unwrap();
        }
        run(&["list", &server.url()]).succeeds();
        run(&["auth", "logout", &server.url()]).exits(0);
        assert_eq!(sandbox.stored_credentials(), json!([]));
    }
}
