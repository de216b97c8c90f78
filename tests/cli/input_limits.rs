//! Files that users name are read with a limit, and `-` is never a file.

use crate::support::Sandbox;

#[test]
fn an_endless_file_is_refused() {
    let sandbox = Sandbox::new();
    for (words, code, message) in [
        (
            &["call", "https://h.invalid/", "--batch", "/dev/zero"][..],
            2,
            "cannot read /dev/zero\n  line 1 is longer than 256 MiB\n",
        ),
        (
            &["list", "https://h.invalid/", "--cacert", "/dev/zero"],
            3,
            "cannot read the certificate authorities in '/dev/zero'\n  it is longer than 64 MiB\n",
        ),
        (
            &["list", "https://h.invalid/", "-H", "@/dev/zero"],
            2,
            "cannot read the headers in '/dev/zero'\n  it is longer than 64 MiB\n",
        ),
        (
            &["config", "list", "--config", "/dev/zero"],
            3,
            "/dev/zero: cannot read the configuration file\n  it is longer than 64 MiB\n",
        ),
    ] {
        let run = sandbox.mcpipe(words).run();
        run.exits(code).prints("");
        assert_eq!(run.stderr(), format!("mcpipe: error: {message}"));
    }
    let run = sandbox.mcpipe(["call", "https://h.invalid/", "--batch", "-", "--skip-done", "/dev/zero"]).run();
    run.exits(2).prints("");
    let message = "cannot read /dev/zero\n  line 1 is longer than 256 MiB\n";
    let hint = "hint: FILE is the output of an earlier run of the batch\n";
    assert_eq!(run.stderr(), format!("mcpipe: error: {message}{hint}"));
}

#[test]
fn an_endless_list_of_trusted_files_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.file("../home/.local/state/mcpipe/trust.json", "");
    let list = sandbox.path().join("home/.local/state/mcpipe/trust.json");
    std::fs::remove_file(&list).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &list).unwrap();
    sandbox.file(".mcp.json", "{\"mcpServers\": {\"a\": {\"command\": \"x\"}}}");
    let run = sandbox.mcpipe(["list", "a"]).run();
    run.exits(3)
        .prints("")
        .stderr_contains("cannot read the list of trusted files")
        .stderr_contains("it is longer than 64 MiB");
}

#[test]
fn a_file_that_became_endless_in_the_editor_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.file(".mcpipe.toml", "[servers.a]\nurl = \"https://a.example/\"\n");
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    let editor = sandbox.script("editor", "ln -sf /dev/zero \"$1\"");
    let run = sandbox.mcpipe(["config", "edit", "--project"]).env("VISUAL", &editor).run();
    run.exits(3).prints("").stderr_contains(".mcpipe.toml\n  it is longer than 64 MiB\n");
}

#[test]
fn a_dash_is_not_a_file() {
    let sandbox = Sandbox::new();
    sandbox.file("-", "x = 1\n");
    let why = "standard input cannot be used here; to read a file of that name: ./-";
    for (words, code, message) in [
        (&["list", "https://h.invalid/", "-H", "@-"][..], 2, "cannot read the headers in '-'"),
        (&["config", "list", "--config", "-"], 3, "-: cannot read the configuration file"),
        (&["list", "replay:-"], 3, "cannot read the recording '-'"),
    ] {
        let run = sandbox.mcpipe(words).run();
        run.exits(code).prints("");
        assert_eq!(run.stderr(), format!("mcpipe: error: {message}\n  {why}\n"));
    }
    for words in [
        &["call", "./server", "tool", "--save", "-"][..],
        &["read", "./server", "a://b", "--save", "-"],
        &["call", "./server", "tool", "--repeat", "2", "--html", "-"],
    ] {
        let option = words[words.len() - 2];
        let (needs, value) = if option == "--save" { ("directory", "DIR") } else { ("file", "FILE") };
        sandbox.mcpipe(words).run().exits(2).prints("").stderr_is(&format!(
            "mcpipe: error: {option} needs a {needs}: standard output is for the results\n\
             hint: name a {needs}: {option} {value}\n"
        ));
    }
    sandbox
        .mcpipe(["config", "import", "-"])
        .run()
        .exits(2)
        .stderr_contains("'-' is neither a known client nor a file");
}
