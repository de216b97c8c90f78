//! What runs that were killed leave behind is removed by later ones.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
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

/// The kernel kills a process that writes a file beyond its limit (SIGXFSZ).
#[test]
fn a_run_that_is_killed_while_it_writes_leaves_a_file_that_a_later_run_removes() {
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
    assert_eq!(limited.status.signal(), Some(sigxfsz()), "{limited:?}");
    assert_eq!(std::fs::read_to_string(out.join("file")).unwrap(), "old");
    let left: Vec<PathBuf> = names(&out).iter().filter(|name| *name != "file").map(|name| out.join(name)).collect();
    assert_eq!(left.len(), 1, "{left:?}");

    read().run().succeeds();
    assert_eq!(names(&out).len(), 2, "another run may still be writing it");
    make_old(&left[0]);
    read().run().succeeds();
    assert_eq!((names(&out), std::fs::metadata(out.join("file")).unwrap().len()), (vec!["file".to_owned()], 100_000));
}

fn sigxfsz() -> i32 {
    rustix::process::Signal::XFSZ.as_raw()
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
