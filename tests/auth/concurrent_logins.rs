//! Several logins to one server at once, logins that are killed, and the files that they leave.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Signal;

use crate::support::Sandbox;
use crate::support::oauth::ProtectedServer;

const STORE: &str = "home/.local/share/mcpipe";
const LOCKS: &str = "home/.local/state/mcpipe/locks";

/// Configures the server as `srv`, with the credentials in a file.
fn configure(sandbox: &Sandbox, server: &ProtectedServer) {
    sandbox.config(&format!("[defaults]\ncredential_store = \"file\"\n[servers.srv]\nurl = {:?}\n", server.url()));
}

/// The names of the files in a directory of the sandbox.
fn names(sandbox: &Sandbox, directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(sandbox.path().join(directory)).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// A program for `BROWSER` that leaves a file in the directory `opened`, and then runs these lines of shell.
fn browser(sandbox: &Sandbox, then: &str) -> PathBuf {
    let opened = sandbox.path().join("opened");
    std::fs::create_dir_all(&opened).unwrap();
    sandbox.script("browser", &format!("#!/bin/sh\ntouch {}/$$\n{then}\n", opened.display()))
}

/// Waits until the browser was opened this often.
fn wait_for_browsers(sandbox: &Sandbox, count: usize) {
    let end = Instant::now() + Duration::from_secs(30);
    while names(sandbox, "opened").len() < count {
        assert!(Instant::now() < end, "the browser was not opened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn two_logins_to_one_server_at_once_both_succeed() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let both = sandbox.path().join("both");
    let wait = format!(
        "while [ ! -e {} ]; do sleep 0.02; done\nexec curl --silent --location --output /dev/null --max-time 10 \"$1\"",
        both.display()
    );
    let browser = browser(&sandbox, &wait);
    let login =
        || sandbox.mcpipe(["auth", "login", "srv"]).env("BROWSER", browser.as_os_str()).allow_leftovers().start();
    let (first, second) = (login(), login());
    wait_for_browsers(&sandbox, 2);
    std::fs::write(both, "").unwrap();
    for login in [first, second] {
        login.wait().exits(0).stderr_contains("Logged in to srv");
    }
    let logins = sandbox.login_status();
    assert_eq!(logins.as_array().unwrap().len(), 1, "{logins}");
    assert_eq!(logins[0]["state"], "valid");
    let before = server.requested_grants().len();
    sandbox.mcpipe(["list", "srv"]).run().exits(0).stdout_contains("echo");
    assert_eq!(server.requested_grants().len(), before, "the stored token is accepted");
    assert_eq!((names(&sandbox, STORE), names(&sandbox, LOCKS)), (vec!["credentials.json".to_owned()], Vec::new()));
}

#[test]
fn after_a_killed_login_the_next_one_uses_its_client() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let browser = browser(&sandbox, "");
    let killed = sandbox.mcpipe(["auth", "login", "srv"]).env("BROWSER", browser.as_os_str()).allow_leftovers().start();
    wait_for_browsers(&sandbox, 1);
    killed.signal(Signal::KILL);
    killed.wait();
    assert_eq!((names(&sandbox, STORE), names(&sandbox, LOCKS)), (vec!["credentials.json".to_owned()], Vec::new()));

    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
    server.registered_once_for_each_redirect();
    assert_eq!(sandbox.login_status()[0]["state"], "valid");
    assert_eq!((names(&sandbox, STORE), names(&sandbox, LOCKS)), (vec!["credentials.json".to_owned()], Vec::new()));
}

#[test]
fn lock_files_of_killed_runs_are_removed_by_a_later_login() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    configure(&sandbox, &server);
    let old = |path: &str| {
        let path = sandbox.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        let then = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
        std::fs::File::open(&path).unwrap().set_modified(then).unwrap();
        path
    };
    old(&format!("{STORE}/credentials.json.lock"));
    old(&format!("{STORE}/.credentials.json.abcdef.new"));
    let foreign = old(&format!("{STORE}/.other.json.abcdef.new"));
    old(&format!("{LOCKS}/left.lock"));
    let held = old(&format!("{LOCKS}/held.lock"));
    let holder = std::fs::File::open(&held).unwrap();
    holder.lock().unwrap();
    std::fs::write(sandbox.path().join(LOCKS).join("recent.lock"), "").unwrap();

    sandbox.mcpipe(["auth", "login", "srv"]).with_browser().run().exits(0);
    std::fs::remove_file(foreign).unwrap();
    assert_eq!(names(&sandbox, STORE), ["credentials.json"]);
    let mut left = names(&sandbox, LOCKS);
    left.sort();
    assert_eq!(left, ["held.lock", "recent.lock"]);
    drop(holder);
    sandbox.mcpipe(["auth", "logout", "srv"]).run().exits(0);
    assert!(!Path::new(&held).exists());
}
