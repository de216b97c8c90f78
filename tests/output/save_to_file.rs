//! Results in files: `--save` and `-o`, alone and with `--json` and `--jq`; no option is silently ignored.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::mcp::PIXEL;
use crate::support::{Mcp, Sandbox, StdioServer};

/// The names of the files in a directory, sorted.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()))
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What a server sent, as `--json` alone prints it.
fn document(sandbox: &Sandbox, words: &[&str]) -> String {
    sandbox.mcpipe(words).arg("--json").run().succeeds().stdout().to_owned()
}

#[test]
fn a_call_saves_beside_its_json_document() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    let plain = document(&sandbox, &["call", &target, "image"]);
    let run = sandbox.mcpipe(["call", &target, "image", "--save", "out", "--json"]).run();
    run.exits(0).prints(&plain);
    assert_eq!(run.stderr(), "{\"saved\":\"out/image-1.png\"}\n");
    assert!(std::fs::read(sandbox.work().join("out/image-1.png")).unwrap().starts_with(b"\x89PNG"));

    let run = sandbox.mcpipe(["call", &target, "image", "--save", "two", "--jq", ".content[].type"]).run();
    run.exits(0).prints("text\nimage\n");
    assert_eq!(names(&sandbox.work().join("two")), ["image-1.png"]);
    let quiet = sandbox.mcpipe(["call", &target, "image", "--save", "two", "--json", "-q"]).run();
    quiet.exits(0).prints(&plain);
    assert_eq!((quiet.stderr(), names(&sandbox.work().join("two")).len()), ("", 2));
}

/// The directory existed when the call was sent, and then a file replaced it: the tool has run, so this is not a usage
/// error, after which a script would call again.
#[test]
fn a_result_is_printed_although_it_cannot_be_saved() {
    let sandbox = Sandbox::new();
    let place = sandbox.work().join("out");
    let taken = place.clone();
    let server = Mcp::modern().on("tools/call", move |call| {
        std::fs::remove_dir(&taken).unwrap();
        std::fs::write(&taken, "a file").unwrap();
        let image = json!({"type": "image", "mimeType": "image/png", "data": PIXEL});
        call.result(json!({"content": [{"type": "text", "text": "a pixel"}, image]}))
    });
    let server = server.stdio();
    let run = sandbox.mcpipe(["call", &server.target(), "image", "--save", "out"]).run();
    run.exits(74).stderr_contains("cannot create the directory 'out'");
    run.prints("a pixel\n[image/png, 70 B; --save DIR writes it]\n");
    std::fs::remove_file(&place).unwrap();
    let run = sandbox.mcpipe(["call", &server.target(), "image", "--save", "out", "--json"]).run();
    assert_eq!(run.exits(74).json()["content"][1]["data"], PIXEL);
    assert_eq!(run.json_error()["class"], "output");
}

#[test]
fn a_reading_saves_beside_its_json_document() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    let one = document(&sandbox, &["read", &target, "demo://hello"]);
    let run = sandbox.mcpipe(["read", &target, "demo://hello", "--save", "out", "--json"]).run();
    run.exits(0).prints(&one);
    assert_eq!(run.stderr(), "{\"saved\":\"out/hello.txt\"}\n");
    let both = document(&sandbox, &["read", &target, "demo://hello", "demo://logo"]);
    let run = sandbox.mcpipe(["read", &target, "demo://hello", "demo://logo", "--save", "both", "--json"]).run();
    run.exits(0).prints(&both);
    assert_eq!(names(&sandbox.work().join("both")), ["hello.txt", "logo.png"]);
}

#[test]
fn the_document_goes_into_the_file_where_one_is_named() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    let plain = document(&sandbox, &["read", &target, "demo://hello"]);
    let content = |words: &[&str]| {
        let run = sandbox.mcpipe(["read", &target, "demo://hello", "-o", "f"]).args(words).run();
        run.exits(0).prints("");
        std::fs::read_to_string(sandbox.work().join("f")).unwrap()
    };
    assert_eq!(content(&[]), "hello\n");
    assert_eq!(content(&["--json"]), plain);
    assert_eq!(content(&["--jq", ".contents[].uri, 1"]), "demo://hello\n1\n");
}

/// The file size limit stands in for a full disk: both fail in the middle of writing.
#[test]
fn a_file_that_cannot_be_written_completely_keeps_its_old_content() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    let read = |file: &str, wrapper: &[&str]| {
        let run = sandbox.mcpipe(["read", &target, "demo://hello", "-o", file]);
        run.command(wrapper).stdin(Stdio::null()).output().unwrap()
    };
    let old = sandbox.file("f", "old\n");
    let output = read("f", &["sh", "-c", "trap '' XFSZ; ulimit -f 0; exec \"$0\" \"$@\" --no-cache"]);
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "old\n");
    let left = || std::fs::read_dir(sandbox.work()).unwrap().count();
    assert_eq!(left(), 1, "no other file is left");
    // Otherwise it is replaced, keeping its permissions, also through a link.
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("f", sandbox.work().join("link")).unwrap();
    assert_eq!(read("link", &[]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "hello\n");
    assert_eq!(old.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert!(sandbox.work().join("link").is_symlink());
    assert_eq!(left(), 2);
    // A link whose target does not exist makes that target.
    symlink("made", sandbox.work().join("dangling")).unwrap();
    assert_eq!(read("dangling", &[]).status.code(), Some(0));
    assert_eq!(std::fs::read_to_string(sandbox.work().join("made")).unwrap(), "hello\n");
    assert!(sandbox.work().join("dangling").is_symlink());
    // A new file has the permissions of any new file.
    assert_eq!(read("new", &["sh", "-c", "umask 027; exec \"$0\" \"$@\""]).status.code(), Some(0));
    assert_eq!(sandbox.work().join("new").metadata().unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn what_is_not_a_regular_file_is_written_directly() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["read", &target, "demo://hello", "-o", "/dev/stdout"]).run().succeeds().prints("hello\n");
    let fifo = sandbox.work().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let reader = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::read_to_string(fifo).unwrap()
    });
    sandbox.mcpipe(["read", &target, "demo://hello", "-o", "fifo"]).run().succeeds().prints("");
    assert_eq!(reader.join().unwrap(), "hello\n");
    // Standard output may be a file that the shell has open: later output stays in the same file.
    let script = "exec >out; \"$0\" \"$@\"; echo after";
    let run = sandbox.mcpipe(["read", &target, "demo://hello", "-o", "/dev/stdout"]);
    assert_eq!(run.command(&["sh", "-c", script]).status().unwrap().code(), Some(0));
    let out = std::fs::read_to_string(sandbox.work().join("out")).unwrap();
    assert!(out.ends_with("after\n"), "{out}");
}

#[test]
fn a_dash_is_standard_output_and_never_a_file() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["read", &server.target(), "demo://hello", "-o", "-"]).run();
    run.succeeds().prints("hello\n");
    let several = sandbox.mcpipe(["read", &server.target(), "demo://hello", "demo://item/1", "-o", "-"]).run();
    several.succeeds().prints("hello\nitem 1");
    let trace = sandbox.mcpipe(["list", &server.target(), "--trace", "-"]).run();
    trace.exits(2).prints("").stderr_contains("--trace").stderr_contains("-v");
    assert!(!sandbox.work().join("-").exists());
}

#[test]
fn what_does_not_go_into_a_file_is_refused_at_once_and_said_once() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["read", &target, "demo://hello", "demo://logo", "-o", "f"]).run();
    run.exits(2).prints("");
    assert_eq!(run.stderr().matches("mcpipe: error:").count(), 1, "{run:?}");
    for words in [["-o", "f"], ["--save", "f"]] {
        let run = sandbox.mcpipe(["read", &target]).args(words).run();
        run.exits(2).prints("").stderr_contains("no resource given");
    }
    assert!(!sandbox.work().join("f").exists());
    assert_eq!(server.processes().len(), 0, "nobody is asked");
}

#[test]
fn structured_content_may_have_its_failures_as_json() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "add", "a=1", "b=2", "--structured", "--json"]).run();
    run.succeeds().prints("{\"total\":3}\n");
    let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=no", "--structured", "--json"]).run();
    assert_eq!(run.exits(7).json_error()["class"], "protocol");
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--structured", "--json"]).run();
    assert_eq!(run.exits(1).json()["isError"], true);
}

/// Runs it with standard output on a full disk.
fn on_a_full_disk(sandbox: &Sandbox, words: &[&str]) -> (Option<i32>, String) {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = sandbox.mcpipe(words);
    let output = run.command(&[]).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn what_cannot_be_written_here_is_not_laid_at_the_servers_door() {
    let server: StdioServer = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    for words in [&["call", &target, "echo", "text=x"][..], &["--help"], &["list", "--help"], &["man"]] {
        let (code, complaint) = on_a_full_disk(&sandbox, words);
        assert_eq!(code, Some(74), "{words:?}: {complaint}");
        assert!(complaint.starts_with("mcpipe: error: cannot write to standard output\n"), "{complaint}");
        assert!(complaint.contains("No space left"), "{complaint}");
    }
    let run = sandbox.mcpipe(["read", &target, "demo://hello", "-o", "/dev/full", "--json"]).run();
    let error = run.exits(74).json_error();
    assert_eq!((&error["class"], &error["code"]), (&json!("output"), &json!(74)));
    // A name that cannot be a file is a usage error.
    let run = sandbox.mcpipe(["read", &target, "demo://hello", "-o", "/nowhere/f", "--json"]).run();
    assert_eq!(run.exits(2).json_error()["class"], Value::from("usage"));
}

/// A script that gets exit code 2 calls again: then nothing may have been called.
#[test]
fn where_nothing_can_be_saved_nothing_is_asked() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    sandbox.file("taken", "a file");
    for words in [
        &["call", &target, "image", "--save", "/proc/nope"][..],
        &["call", &target, "echo", "text=x", "--save", "taken"],
        &["call", &target, "echo", "text=x", "--save", "taken/below", "--json"],
        &["read", &target, "demo://hello", "--save", "taken"],
        &["read", &target, "demo://hello", "demo://logo", "--save", "/proc/nope", "--json"],
        &["read", &target, "demo://hello", "-o", "nowhere/f"],
        &["read", &target, "demo://hello", "-o", "."],
    ] {
        let run = sandbox.mcpipe(words.to_vec()).run();
        run.exits(2).prints("").stderr_contains("hint").stderr_contains("choose a");
        assert_eq!(run.stderr().matches("cannot create").count(), 1, "{run:?}");
    }
    // Root may write to every file.
    if !rustix::process::geteuid().is_root() {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(sandbox.file("protected", ""), std::fs::Permissions::from_mode(0o444)).unwrap();
        let run = sandbox.mcpipe(["call", &target, "echo", "text=x", "-o", "protected"]).run();
        run.exits(2).prints("").stderr_contains("cannot create the file 'protected'");
    }
    assert_eq!(server.processes().len(), 0, "nobody is asked");
    // An existing file is unchanged until there is new content for it.
    sandbox.file("kept", "as it was");
    sandbox.mcpipe(["read", "./no-such-server", "demo://hello", "-o", "kept"]).run().exits(5);
    assert_eq!(std::fs::read_to_string(sandbox.work().join("kept")).unwrap(), "as it was");
}
