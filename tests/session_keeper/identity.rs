//! A session is used only by who it belongs to, and shows no secrets.

use std::os::unix::fs::PermissionsExt;

use super::Sessions;
use crate::support::Mcp;

#[test]
fn another_identity_does_not_get_into_a_session() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let target = server.target();
    sessions.run(&["session", "start", &target, "-e", "API_KEY=alice", "-q"]).succeeds();
    let call = |words: &[&str]| sessions.run(&[&["call", &target, "echo", "text=hi"], words].concat());
    call(&["-e", "API_KEY=alice"]).succeeds();
    assert_eq!(server.processes().len(), 1);
    let root = sessions.sandbox.path().display().to_string();
    let others: [&[&str]; 4] = [
        &[],
        &["-e", "API_KEY=bob"],
        &["-e", "API_KEY=alice", "--cwd", &root],
        &["-e", "API_KEY=alice", "--root", &root],
    ];
    for (n, words) in others.into_iter().enumerate() {
        call(words).succeeds();
        assert_eq!(server.processes().len(), n + 2, "{words:?}");
    }
    // What the server inherits counts like what is set for it, and so does the directory of the command.
    let inherits = sessions.sandbox.mcpipe(["call", &target, "echo", "text=hi", "-e", "API_KEY=alice"]);
    inherits.env("OTHER_KEY", "x").allow_leftovers().run().succeeds();
    let elsewhere = sessions.sandbox.mcpipe(["call", &target, "echo", "text=hi", "-e", "API_KEY=alice"]);
    elsewhere.cwd(&root).allow_leftovers().run().succeeds();
    assert_eq!(server.processes().len(), 7);
    let run = call(&["-e", "API_KEY=bob", "-v"]);
    run.exits(0).stderr_contains("note: not using a session: none is running for this exact target\n");
    sessions.stop_all();
}

#[test]
fn another_configuration_does_not_get_into_a_session() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    let entry = |key: &str| {
        format!("[servers.demo]\ncommand = '{}'\nargs = ['{}']\nenv = {{ API_KEY = '{key}' }}\n", words[0], words[1])
    };
    let call = |words: &[&str]| sessions.run(&[&["call", "demo", "echo", "text=hi"], words].concat());
    sessions.sandbox.config(&entry("alice"));
    sessions.start("demo");
    call(&[]).succeeds();
    assert_eq!(server.processes().len(), 1);
    // The same entry in another file is the same identity.
    let same = sessions.sandbox.file("same.toml", entry("alice")).display().to_string();
    call(&["--config", &same]).succeeds();
    assert_eq!(server.processes().len(), 1);
    let other = sessions.sandbox.file("other.toml", entry("bob")).display().to_string();
    call(&["--config", &other]).succeeds();
    assert_eq!(server.processes().len(), 2);
    sessions.sandbox.config(&entry("carol"));
    call(&[]).succeeds();
    assert_eq!(server.processes().len(), 3);
    sessions.stop_all();
}

#[test]
fn the_files_of_a_session_are_private_and_have_no_secrets() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let target = format!("{} --token hunter2secret", server.target());
    sessions.run(&["session", "start", &target, "-e", "API_KEY=sesame9secret", "-q"]).succeeds();
    let dir = sessions.sandbox.path().join("run/mcpipe");
    assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(sessions.files().len(), 3);
    for name in sessions.files() {
        let path = dir.join(&name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{name}");
        let content = std::fs::read(&path).unwrap_or_default();
        let text = format!("{name} {}", String::from_utf8_lossy(&content));
        assert!(!text.contains("hunter2secret") && !text.contains("sesame9secret"), "{text}");
    }
    let listed = sessions.run(&["session", "list", "--json"]);
    listed.succeeds().hides("hunter2secret").hides("sesame9secret");
    let keeper = listed.json()["sessions"][0]["pid"].to_string();
    let command_line = std::fs::read_to_string(format!("/proc/{keeper}/cmdline")).unwrap();
    assert!(!command_line.contains("secret"), "{command_line:?}");
    sessions.stop_all();
}

#[test]
fn a_directory_that_others_can_access_is_refused() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let dir = sessions.sandbox.path().join("run/mcpipe");
    std::fs::create_dir(&dir).unwrap();
    std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
    let run = sessions.run(&["session", "start", &server.target()]);
    run.exits(3).stderr_contains("it must be a directory that belongs to you and that others cannot access\n");
    assert!(server.processes().is_empty());
}
