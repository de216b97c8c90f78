//! A credential store that cannot be written: the old credentials survive, and the message names what to do.

use std::path::Path;
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::sandbox::Mcpipe;
use crate::support::{Mcp, Sandbox};

const STORE: &str = "home/.local/share/mcpipe";

/// Runs a command that cannot write more than that many blocks (of 512 or 1024 bytes) to a file.
fn run_with_size_limit(run: &Mcpipe, blocks: u8, input: &str) -> Output {
    let pipe = format!("ulimit -c 0; ulimit -f {blocks}; printf '%s' \"$INPUT\" | exec \"$@\"");
    run.command(&["sh", "-c", &pipe, "sh"]).env("INPUT", input).output().unwrap()
}

/// Configures the server as `srv`, with the credentials in a file.
fn configure(sandbox: &Sandbox, server: &ProtectedServer) {
    sandbox.config(&format!("[defaults]\ncredential_store = \"file\"\n[servers.srv]\nurl = {:?}\n", server.url()));
}

/// The names of the files in the directory of the store.
fn stored_files(sandbox: &Sandbox) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.path().join(STORE)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// Fails unless the message names the file, the cause and the next step.
#[track_caller]
fn says_what_to_do(run: &Output) {
    let stderr = String::from_utf8_lossy(&run.stderr);
    for part in [
        "cannot write ~/.local/share/mcpipe/credentials.json",
        "File too large",
        "raise the file size limit (ulimit -f)",
    ] {
        assert!(stderr.contains(part), "{part:?} is not in\n{stderr}");
    }
}

#[test]
fn an_import_beyond_the_file_size_limit_keeps_the_old_token() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let import = || sandbox.mcpipe(["auth", "import", "srv"]);
    let refused = run_with_size_limit(&import(), 0, r#"{"access_token": "new"}"#);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    says_what_to_do(&refused);
    assert_eq!(stored_files(&sandbox), [""; 0]);

    import().stdin(r#"{"access_token": "old"}"#).run().exits(0);
    let refused = run_with_size_limit(&import(), 0, r#"{"access_token": "new"}"#);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    says_what_to_do(&refused);
    assert_eq!(stored_files(&sandbox), ["credentials.json"]);
    sandbox.mcpipe(["auth", "token", "srv"]).run().prints("old\n").exits(0);
}

#[test]
fn a_refresh_beyond_the_file_size_limit_is_used_and_its_loss_is_reported() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    server.log_in_with_expired_token_by(&sandbox, || {
        _ = sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0)
    });
    let path = sandbox.path().join(STORE).join("credentials.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let list = run_with_size_limit(&sandbox.mcpipe(["list", "srv"]), 0, "");
    assert_eq!(list.status.code(), Some(0), "{list:?}");
    says_what_to_do(&list);
    assert_eq!(stored_files(&sandbox), ["credentials.json"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn after_a_refresh_that_could_not_be_stored_the_next_one_is_stored() {
    let mcp = Mcp::modern().http_script(LegacyHttpOptions::default());
    let server = ProtectedServer::in_front_of(move |request| {
        if request.rpc_method() == "tools/call" {
            std::thread::sleep(Duration::from_millis(600));
        }
        mcp(request)
    });
    let sandbox = Sandbox::new();
    configure(&sandbox, &server);
    server.log_in_with_expired_token_by(&sandbox, || {
        _ = sandbox.mcpipe(["auth", "login", "srv", "--scope", "call"]).with_browser().run().exits(0)
    });
    // A file takes the place of the directory while the first refresh is under way.
    let (store, aside) = (sandbox.path().join(STORE), sandbox.path().join("aside"));
    let (ledger, refreshes) = (server.ledger.clone(), AtomicUsize::new(0));
    ledger.token_lifetime_secs.store(1, Ordering::SeqCst);
    server.at_issuer(move |request| {
        if request.target == "/token" {
            if refreshes.fetch_add(1, Ordering::SeqCst) == 0 {
                std::fs::rename(&store, &aside).unwrap();
                std::fs::write(&store, "").unwrap();
            } else {
                std::fs::remove_file(&store).unwrap();
                std::fs::rename(&aside, &store).unwrap();
                ledger.token_lifetime_secs.store(3600, Ordering::SeqCst);
            }
        }
        None
    });
    let lines = "{\"tool\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}\n".repeat(4);
    let run = sandbox.mcpipe(["call", "srv", "--batch", "-", "--jobs", "1"]).stdin(lines).run();
    run.exits(0);
    assert_eq!(run.stderr().matches("could not store the refreshed login").count(), 1, "{run:?}");
    sandbox.mcpipe(["auth", "token", "srv"]).run().succeeds().prints("access-3-call\n");
    assert_eq!(server.requested_grants(), ["authorization_code", "refresh_token", "refresh_token"]);
}

/// The request that began the refresh has ended when the tokens come, and they are nowhere but in memory.
#[test]
fn a_refresh_that_outlives_its_request_is_used_although_it_cannot_be_stored() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let before = server.log_in_with_expired_token_by(&sandbox, || {
        _ = sandbox.mcpipe(["auth", "login", "srv", "--scope", "call"]).with_browser().run().exits(0)
    });
    std::fs::create_dir(sandbox.path().join(STORE).join("credentials.json.lock")).unwrap();
    server.ledger.token_delay_ms.store(2000, Ordering::SeqCst);
    let lines = "{\"tool\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}\n".repeat(4);
    let words = ["call", "srv", "--batch", "-", "--jobs", "1", "--timeout", "1s", "--no-validate"];
    let run = sandbox.mcpipe(words).stdin(lines).run();
    assert!(run.stdout().lines().last().is_some_and(|line| line.contains("\"total\":3")), "{run:?}");
    assert_eq!(server.requested_grants()[before..], ["refresh_token"]);
    // The next run has only the old refresh token. What it reports is that the login has ended.
    server.ledger.token_delay_ms.store(0, Ordering::SeqCst);
    sandbox.mcpipe(["list", "srv"]).run().exits(4).stderr_contains("mcpipe auth login srv");
}

#[test]
fn a_login_beyond_the_file_size_limit_fails() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let login = run_with_size_limit(&sandbox.mcpipe(["auth", "login", "srv"]).with_browser(), 0, "");
    assert_eq!(login.status.code(), Some(3), "{login:?}");
    says_what_to_do(&login);
    let stderr = String::from_utf8_lossy(&login.stderr);
    assert!(!stderr.contains("Logged in to"), "{stderr}");
    assert_eq!(stored_files(&sandbox), [""; 0]);
}

#[test]
fn a_file_where_a_directory_of_the_store_should_be_is_named() {
    for blocked in ["home/.local", "home/.local/share/mcpipe", "home/.local/state"] {
        let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
        configure(&sandbox, &server);
        let path = sandbox.path().join(blocked);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if Path::new(&path).is_dir() {
            std::fs::remove_dir_all(&path).unwrap();
        }
        std::fs::write(&path, "").unwrap();
        let import = sandbox.mcpipe(["auth", "import", &server.url()]).stdin(r#"{"access_token": "new"}"#).run();
        let hint = format!("hint: move {} away, since it is not a directory", blocked.replace("home", "~"));
        import.exits(3).stderr_contains(&hint);
    }
}

/// Runs a command with a full disk in place of this directory of the home directory. Returns `None` where the system
/// does not allow mounting one; its content afterwards is in `after`.
fn run_with_full_disk(run: &Mcpipe, dir: &str, input: &str) -> Option<Output> {
    let script = r#"
        mkdir -p "$DIR" "$AFTER" && cp -R "$DIR/." "$AFTER/" &&
        mount -t tmpfs -o size=32k,mode=0700 tmpfs "$DIR" && cp -R "$AFTER/." "$DIR/" && rm -rf "$AFTER" || exit 99
        cat /dev/zero 2>/dev/null > "$DIR/filler"
        printf '%s' "$INPUT" | "$@"
        code=$?
        rm "$DIR/filler"
        cp -R "$DIR" "$AFTER"
        exit $code"#;
    let home = run.sandbox().path();
    let mut command = run.command(&["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]);
    let output = command.env("INPUT", input).env("DIR", home.join(dir)).env("AFTER", home.join("after")).output();
    let output = output.ok()?;
    let was_mounted = output.status.code() != Some(99) && !output.stderr.starts_with(b"unshare: ");
    was_mounted.then_some(output)
}

/// The names and contents of the files on the disk that was full.
fn files_after(sandbox: &Sandbox) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(sandbox.path().join("after")).unwrap().flatten();
    let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
    files
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap()))
        .collect()
}

#[test]
fn a_login_on_a_full_disk_keeps_what_was_stored_and_says_what_to_do() {
    let (sandbox, server, other) = (Sandbox::new(), ProtectedServer::start(), ProtectedServer::start());
    configure(&sandbox, &server);
    sandbox.mcpipe(["auth", "import", "srv"]).stdin(r#"{"access_token": "old"}"#).run().exits(0);
    let path = sandbox.path().join(STORE).join("credentials.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let import = sandbox.mcpipe(["auth", "import", "srv"]);
    for (run, input) in [
        (import, r#"{"access_token": "new"}"#),
        (sandbox.mcpipe(["auth", "login", "srv"]).with_browser(), ""),
        (sandbox.mcpipe(["auth", "login", &other.url()]).with_browser(), ""),
    ] {
        let Some(output) = run_with_full_disk(&run, STORE, input) else { return };
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        for part in [
            "cannot write ~/.local/share/mcpipe/credentials.json",
            "No space left on device",
            "hint: free some space on the file system of ~/.local/share/mcpipe",
        ] {
            assert!(stderr.contains(part), "{part:?} is not in\n{stderr}");
        }
        assert!(!stderr.contains("Logged in to"), "{stderr}");
        assert_eq!(files_after(&sandbox), [("credentials.json".to_owned(), before.clone())]);
    }
}

#[test]
fn a_change_of_the_configuration_on_a_full_disk_keeps_the_old_file() {
    const CONFIG: &str = "home/.config/mcpipe";
    let text = "[servers.old]\nurl = \"https://old.example/mcp\"\n";
    let added = r#"{"mcpServers": {"new": {"command": "true"}}}"#;
    for words in [
        &["config", "add", "new", "https://new.example/mcp"][..],
        &["config", "rename", "old", "other"],
        &["config", "import", "other.json", "--yes"],
    ] {
        let sandbox = Sandbox::new();
        sandbox.config(text);
        sandbox.file("other.json", added);
        let Some(output) = run_with_full_disk(&sandbox.mcpipe(words.iter().copied()), CONFIG, "") else { return };
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{words:?} {output:?}");
        for part in [
            "cannot write ~/.config/mcpipe/config.toml",
            "No space left on device",
            "hint: free some space on the file system of ~/.config/mcpipe",
        ] {
            assert!(stderr.contains(part), "{words:?}: {part:?} is not in\n{stderr}");
        }
        assert_eq!(files_after(&sandbox), [("config.toml".to_owned(), text.to_owned())], "{words:?}");
    }
}

/// Whether the store fails at the last secret, or the configuration after all of them.
#[test]
fn an_import_that_cannot_be_stored_leaves_no_secrets_behind() {
    for (secret, comment, cause) in [
        (9000, 0, "cannot write ~/.local/share/mcpipe/credentials.json"),
        (9, 9000, "cannot write ~/.config/mcpipe/config.toml"),
    ] {
        let sandbox = Sandbox::new();
        let text = format!("# {}\n[defaults]\ncredential_store = \"file\"\n", "x".repeat(comment));
        sandbox.config(&text);
        let server = |name: &str, key: &str| {
            format!(r#""{name}": {{"url": "https://{name}/", "headers": {{"X-Api-Key": "{key}"}}}}"#)
        };
        let servers = [server("a", "k3y-of-a"), server("b", "k3y-of-b"), server("c", &"k3y".repeat(secret / 3))];
        sandbox.file("mcp.json", format!("{{\"mcpServers\": {{{}}}}}", servers.join(", ")));
        // The one that was there before stays.
        sandbox.mcpipe(["config", "secret", "set", "A_X_API_KEY"]).stdin("k3y-of-a").run().exits(0);
        let import = sandbox.mcpipe(["config", "import", "mcp.json", "--yes", "--secrets", "keychain"]);
        let output = run_with_size_limit(&import, 4, "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(3) && stderr.contains(cause), "{output:?}");
        let list = sandbox.mcpipe(["config", "secret", "list", "--jq", ".secrets[].name"]).run();
        list.exits(0).prints("A_X_API_KEY\n");
        assert_eq!(std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap(), text);
        import.run().exits(0);
        sandbox.mcpipe(["config", "secret", "list", "--jq", ".secrets | length"]).run().prints("3\n");
    }
}
