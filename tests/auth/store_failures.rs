//! A credential store that cannot be written: the old credentials survive, and the message names what to do.

use std::path::Path;
use std::process::Output;

use crate::support::Sandbox;
use crate::support::oauth::ProtectedServer;
use crate::support::sandbox::Mcpipe;

const STORE: &str = "home/.local/share/mcpipe";

/// Runs a command that cannot write any file.
fn run_with_size_limit(run: &Mcpipe, input: &str) -> Output {
    let pipe = "ulimit -c 0; ulimit -f 0; printf '%s' \"$INPUT\" | exec \"$@\"";
    run.command(&["sh", "-c", pipe, "sh"]).env("INPUT", input).output().unwrap()
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
fn says_what_to_do(sandbox: &Sandbox, run: &Output) {
    let stderr = String::from_utf8_lossy(&run.stderr);
    let file = sandbox.path().join(STORE).join("credentials.json");
    for part in [&format!("cannot write {}", file.display()), "File too large", "raise the file size limit (ulimit -f)"]
    {
        assert!(stderr.contains(part), "{part:?} is not in\n{stderr}");
    }
}

#[test]
fn an_import_beyond_the_file_size_limit_keeps_the_old_token() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let import = || sandbox.mcpipe(["auth", "import", "srv"]);
    let refused = run_with_size_limit(&import(), r#"{"access_token": "new"}"#);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    says_what_to_do(&sandbox, &refused);
    assert_eq!(stored_files(&sandbox), [""; 0]);

    import().stdin(r#"{"access_token": "old"}"#).run().exits(0);
    let refused = run_with_size_limit(&import(), r#"{"access_token": "new"}"#);
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    says_what_to_do(&sandbox, &refused);
    assert_eq!(stored_files(&sandbox), ["credentials.json"]);
    sandbox.mcpipe(["auth", "token", "srv"]).run().prints("old\n").exits(0);
}

#[test]
fn a_refresh_beyond_the_file_size_limit_is_used_and_its_loss_is_reported() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    server.log_in_with_expired_token_by(|| _ = sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0));
    let path = sandbox.path().join(STORE).join("credentials.json");
    let before = std::fs::read_to_string(&path).unwrap();
    let list = run_with_size_limit(&sandbox.mcpipe(["list", "srv"]), "");
    assert_eq!(list.status.code(), Some(0), "{list:?}");
    says_what_to_do(&sandbox, &list);
    assert_eq!(stored_files(&sandbox), ["credentials.json"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), before);
}

#[test]
fn a_login_beyond_the_file_size_limit_fails() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let login = run_with_size_limit(&sandbox.mcpipe(["auth", "login", "srv"]).with_browser(), "");
    assert_eq!(login.status.code(), Some(3), "{login:?}");
    says_what_to_do(&sandbox, &login);
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
        let hint = format!("hint: move {} away, since it is not a directory", path.display());
        import.exits(3).stderr_contains(&hint);
    }
}
