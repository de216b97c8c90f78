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
    sandbox
        .mcpipe(["config", "import", "-"])
        .run()
        .exits(2)
        .stderr_contains("'-' is neither a known client nor a file");
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
