//! What runs that were killed leave behind is removed by later ones.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::support::{Mcp, Sandbox};

/// The names of the files in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Makes a file look as if it had been written two days ago.
fn make_old(path: &Path) {
    let then = SystemTime::now() - Duration::from_secs(2 * 24 * 3600);
    std::fs::File::open(path).unwrap().set_modified(then).unwrap();
}

#[test]
fn a_file_beyond_the_size_limit_is_an_error_and_leaves_nothing_behind() {
    let text = "x".repeat(100_000);
    let server = Mcp::modern()
        .on("resources/read", move |call| call.result(json!({"contents": [{"uri": "test://a", "text": text}]})))
        .stdio();
    let sandbox = Sandbox::new();
    let out = sandbox.work().join("out");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("file"), "old").unwrap();
    let read = || sandbox.mcpipe(["read", &server.target(), "test://a", "-o", "out/file"]);

    let limited = read().command(&["sh", "-c", "ulimit -c 0; ulimit -f 40; exec \"$@\"", "sh"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&limited.stderr);
    assert!(stderr.contains("out/file") && stderr.contains("File too large"), "{limited:?}");
    assert_eq!(limited.status.code(), Some(74), "{limited:?}");
    assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), "old");
    assert_eq!(names(&out), ["file"]);
}

#[test]
fn child_processes_start_with_the_default_action_for_the_file_size_signal() {
    let sandbox = Sandbox::new();
    let ignored = sandbox.work().join("ignored");
    let server = sandbox.script("server", "#!/bin/sh\ngrep SigIgn /proc/$$/status > ignored\n");
    sandbox.mcpipe(["list", server.to_str().unwrap()]).run();
    let text = std::fs::read_to_string(ignored).unwrap();
    let mask = u64::from_str_radix(text.trim().trim_start_matches("SigIgn:").trim(), 16).unwrap();
    assert_eq!(mask & (1 << (rustix::process::Signal::XFSZ.as_raw() - 1)), 0, "{text}");
}

#[test]
fn a_recent_temporary_file_is_kept_since_another_run_may_be_writing_it() {
    let server = Mcp::modern()
        .on("resources/read", |call| call.result(json!({"contents": [{"uri": "test://a", "text": "new"}]})))
        .stdio();
    let sandbox = Sandbox::new();
    let out = sandbox.work().join("out");
    std::fs::create_dir(&out).unwrap();
    let left = out.join(".mcpipe-a1B2c3.tmp");
    std::fs::write(&left, "half").unwrap();
    let read = || sandbox.mcpipe(["read", &server.target(), "test://a", "-o", "out/file"]).run();
    read().succeeds();
    assert_eq!(names(&out).len(), 2);
    make_old(&left);
    read().succeeds();
    assert_eq!(names(&out), ["file"]);
}

#[test]
fn old_temporary_files_are_removed_wherever_files_are_replaced() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let home = sandbox.path().join("home");
    let name = ".mcpipe-a1B2c3.tmp";
    for directory in [".cache/mcpipe/servers", ".config/mcpipe"] {
        std::fs::create_dir_all(home.join(directory)).unwrap();
        std::fs::write(home.join(directory).join(name), "").unwrap();
        make_old(&home.join(directory).join(name));
    }
    sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]).run().succeeds();
    sandbox.mcpipe(["config", "add", "x", "https://example.com/mcp"]).run().exits(0);
    for directory in [".cache/mcpipe/servers", ".config/mcpipe"] {
        let names = names(&home.join(directory));
        assert!(!names.is_empty() && !names.contains(&name.to_owned()), "{directory}: {names:?}");
    }
}
