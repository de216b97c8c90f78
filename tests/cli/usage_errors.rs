//! Errors about invalid command lines; help and hints are true and can be pasted.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::support::{HttpServer, Mcp, Reply, Run, Sandbox};

fn refused(words: &[&str]) -> Run {
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(2).prints("").hides("-- -");
    run
}

#[test]
fn a_missing_subcommand_is_reported_as_json_with_json() {
    for (command, missing) in [
        ("task", "a subcommand"),
        ("session", "a subcommand"),
        ("config", "a subcommand"),
        ("config secret", "a subcommand"),
        ("auth", "a target or a subcommand"),
    ] {
        let run = Sandbox::new().mcpipe(["--json"].into_iter().chain(command.split(' '))).run();
        let message = format!("'mcpipe {command}' requires {missing}");
        assert_eq!(run.exits(2).json_error()["message"], *message);
    }
}

#[test]
fn options_for_arguments_are_explained() {
    refused(&["call", "./s", "echo", "--message", "hello"])
        .stderr_contains("hint: a tool's arguments have no dashes: mcpipe call ./s echo message=hello\n");
    refused(&["call", "./s", "echo", "--message=a b"]).stderr_contains("message='a b'");
    refused(&["call", "./s", "echo", "--message"]).stderr_contains("message=…");
    refused(&["prompt", "./s", "greet", "--who", "you"]).stderr_contains("who=you");
    refused(&["call", "./s", "echo", "--api-token", "s3cret"]).stderr_contains("api-token=…").hides("s3cret");
    refused(&["call", "./s", "echo", "-z"]).stderr_contains("name=value");
    refused(&["list", "./s", "--frobnicate"]).stderr_contains("mcpipe list --help");
    refused(&["call", "./s", "echo", "--args", "-z"]).stderr_contains("--option=VALUE");
}

#[test]
fn a_time_is_not_negative() {
    for option in ["--timeout", "--connect-timeout", "--wait"] {
        refused(&["list", "./s", option, "-1"]).stderr_contains("0 or a positive duration").stderr_contains(option);
    }
}

#[test]
fn the_last_of_several_values_counts() {
    let server = Mcp::modern().stdio();
    let words = ["call", &server.target(), "echo", "text=x", "--timeout", "1ms", "--timeout", "9s", "--json", "--json"];
    let run = Sandbox::new().mcpipe(words).args(["--color", "always", "--color", "never", "-y", "-y"]).run();
    assert_eq!(run.succeeds().json()["content"][0]["text"], "x");
    let run = Sandbox::new().mcpipe(["list", "http://127.0.0.1:1/", "-H", "A: 1", "-H", "no"]).run();
    run.exits(2).stderr_contains("-H number 2: the header has no colon").hides("'no'");
}

#[test]
fn what_is_wrong_is_named_and_never_shown() {
    refused(&["list", "./s", "-e", "A=1", "-e", "s3cret"]).stderr_contains("-e number 2").hides("s3cret");
    let bad = OsString::from_vec(b"s3cret\xff".to_vec());
    let words = [OsString::from("call"), "./s".into(), "echo".into(), bad];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(2).stderr_contains("argument 4 is not valid UTF-8").hides("s3cret");
    refused(&["call", "./s", "echo", "--elicit", "{x"]).stderr_contains("invalid JSON").hides("line 1 column");
    refused(&["call", "./s", "echo", "--elicit", "[1]"]).stderr_contains("or a JSON object").hides("line 1 column");
}

#[test]
fn options_that_mean_nothing_here_are_refused() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    let refused = |words: &[&str], why: &str| {
        sandbox.mcpipe(words).run().exits(2).prints("").stderr_contains(why);
    };
    for option in ["--prompts", "--resources", "--templates", "--skills", "--all", "--info"] {
        refused(&["list", &target, "echo", option], option);
    }
    refused(&["list", &target, "echo", "--search", "x"], "--search");
    for option in ["--info", "--resources", "--templates", "--prompts", "--skills", "--all", "--schema"] {
        refused(&["list", option], option);
    }
    refused(&["list", "--offline", "--search", "x"], "--offline");
    assert!(server.processes().is_empty(), "nobody is asked");
}

/// What `call` does with many calls, or without a result, has no use for these options.
#[test]
fn options_that_a_way_of_calling_would_ignore_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.file("lines", "");
    for (way, options) in [
        (
            &["--batch", "lines"][..],
            &[
                "--html=x",
                "--threshold=p95<1s",
                "--structured",
                "--save=d",
                "--output=o",
                "--max-bytes=1kB",
                "--detach",
                "--expect=.",
                "--args={}",
                "--tool-use=lines",
                "--repeat=2",
            ][..],
        ),
        (
            &["--tool-use", "lines"],
            &[
                "--html=x",
                "--threshold=p95<1s",
                "--rate=5/s",
                "--ordered",
                "--max-failures=2",
                "--skip-done=lines",
                "--structured",
                "--save=d",
                "--output=o",
                "--detach",
                "--expect=.",
                "--args={}",
            ],
        ),
        (
            &["echo", "--repeat", "2"],
            &[
                "--ordered",
                "--max-failures=2",
                "--skip-done=lines",
                "--structured",
                "--save=d",
                "--output=o",
                "--max-bytes=1kB",
                "--detach",
                "--dry-run",
            ],
        ),
        (
            &["echo", "--dry-run"],
            &["--structured", "--save=d", "--output=o", "--max-bytes=1kB", "--detach", "--expect=.", "--strict"],
        ),
        (
            &["echo", "--detach"],
            &["--structured", "--save=d", "--output=o", "--max-bytes=1kB", "--expect=.", "--strict"],
        ),
    ] {
        for option in options {
            let run = sandbox.mcpipe(["call", "./no-such-server"]).args(way).arg(*option).run();
            let name = option.split('=').next().unwrap();
            run.exits(2).prints("").stderr_contains("cannot be used with").stderr_contains(name);
        }
    }
}

#[test]
fn an_empty_configuration_says_how_to_fill_it() {
    let run = Sandbox::new().mcpipe(["list"]).run();
    run.exits(0)
        .prints("")
        .stderr_contains("no servers are configured")
        .stderr_contains("mcpipe config add NAME https://example.com/mcp\n")
        .stderr_contains("mcpipe config import\n");
}

#[test]
fn nothing_found_is_no_failure_and_is_said() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.s]\ncommand = '{}'\nargs = ['{}']\n", server.words()[0], server.words()[1]));
    sandbox.mcpipe(["list", "s", "--search", "nowhere"]).run().exits(0).prints("").stderr_contains("no matching tools");
    sandbox
        .mcpipe(["list", "--search", "nowhere"])
        .run()
        .exits(0)
        .prints("")
        .stderr_contains("no matches for 'nowhere'");
}

#[test]
fn quiet_does_not_hide_that_nothing_is_checked() {
    let run = Sandbox::new().mcpipe(["list", "https://127.0.0.1:1/", "--insecure", "-q"]).run();
    run.exits(5).stderr_contains("NOT verified");
}

#[test]
fn help_fits_a_terminal_and_holds_no_escapes() {
    let sandbox = Sandbox::new();
    let mut wrong = Vec::new();
    for words in [
        &[][..],
        &["list"],
        &["call"],
        &["read"],
        &["prompt"],
        &["task"],
        &["auth"],
        &["auth", "login"],
        &["auth", "logout"],
        &["auth", "status"],
        &["auth", "token"],
        &["auth", "import"],
        &["config"],
        &["config", "add"],
        &["config", "import"],
        &["completions"],
        &["man"],
    ] {
        let run = sandbox.mcpipe(words).arg("--help").run();
        let help = run.succeeds().stdout();
        wrong.extend(help.lines().filter(|line| line.contains("\\\"")).map(ToOwned::to_owned));
        // clap does not wrap the text after the options.
        let tail = help.split_once("\nExamples:").map_or("", |(_, tail)| tail);
        wrong.extend(tail.lines().filter(|line| line.chars().count() > 80).map(ToOwned::to_owned));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn options_after_help_are_ignored() {
    let sandbox = Sandbox::new();
    let help = sandbox.mcpipe(["list", "--help"]).run().succeeds().stdout().to_owned();
    for words in [&["help", "list"][..], &["help", "list", "--json"], &["help", "-q", "list", "--search"]] {
        assert_eq!(sandbox.mcpipe(words).run().succeeds().stdout(), help, "{words:?}");
    }
}

#[test]
fn help_for_a_tool_shows_the_tool() {
    let server = Mcp::modern().stdio();
    let (sandbox, target) = (Sandbox::new(), server.target());
    let shown = sandbox.mcpipe(["list", &target, "echo"]).run().succeeds().stdout().to_owned();
    for option in ["--help", "-h"] {
        sandbox.mcpipe(["call", &target, "echo", option]).run().succeeds().prints(&shown);
        sandbox.mcpipe(["call", &target, "echo", "text=x", option]).run().succeeds().prints(&shown);
    }
    let words = server.words();
    let shown = sandbox.mcpipe(["list", "echo", "--"]).args(&words).run().succeeds().stdout().to_owned();
    sandbox.mcpipe(["call", "echo", "--help", "--"]).args(&words).run().succeeds().prints(&shown);
    // Without a tool it is the help of the command.
    sandbox.mcpipe(["call", &target, "--help"]).run().succeeds().stdout_contains("Usage: mcpipe call");
}

#[test]
fn grep_is_an_old_name_of_search() {
    let server = Mcp::modern().stdio();
    let (sandbox, target) = (Sandbox::new(), server.target());
    let found = sandbox.mcpipe(["list", &target, "--search", "echo"]).run().succeeds().stdout().to_owned();
    assert!(found.starts_with("echo\t"), "{found}");
    sandbox.mcpipe(["list", &target, "--grep", "echo"]).run().succeeds().prints(&found);
    sandbox.mcpipe(["list", "--help"]).run().succeeds().stdout_contains("--search <WORD>").hides("--grep");
}

#[test]
fn the_help_that_is_named_is_that_of_the_whole_command() {
    refused(&["config", "add", "--frobnicate"]).stderr_contains("mcpipe config add --help");
    refused(&["config", "secret", "set", "--frobnicate"]).stderr_contains("mcpipe config secret set --help");
    refused(&["auth", "login", "x", "--frobnicate"]).stderr_contains("mcpipe auth login --help");
    refused(&["-q", "task", "wait", "--frobnicate"]).stderr_contains("mcpipe task wait --help");
    refused(&["config", "--frobnicate"]).stderr_contains("mcpipe config --help");
    refused(&["--frobnicate"]).stderr_contains("mcpipe --help");
    refused(&["call", "list", "--frobnicate=1", "-x"]).hides("mcpipe list");
}

#[test]
fn a_search_and_an_identity_exclude_each_other() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--info", "--search", "x"]).run();
    run.exits(2).prints("").stderr_contains("--info").stderr_contains("--search");
    assert!(server.processes().is_empty(), "nobody is asked");
    let run = Sandbox::new().mcpipe(["list", "f", "--offline"]).run();
    run.exits(2)
        .prints("")
        .stderr_contains("--offline")
        .stderr_contains("TARGET")
        .stderr_contains("hint: omit TARGET: mcpipe list --offline");
    assert!(!run.stderr().contains("usage: mcpipe list --offline <TARGET>"), "{run:?}");
}

#[test]
fn a_directory_is_no_program() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.work().join("w")).unwrap();
    let run = sandbox.mcpipe(["list", "./w"]).run();
    run.exits(5).prints("").stderr_contains("cannot start './w'\n  it is a directory\n").hides("chmod");
}

#[test]
fn what_goes_wrong_names_the_next_step() {
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["list", "https://127.0.0.1:1/", "--bearer-env", "NOPE"]).run();
    run.exits(3).stderr_contains("NOPE").stderr_contains("hint: set NOPE, or use another variable with --bearer-env\n");

    let modern = HttpServer::start(|_| Reply::status(405));
    let run = sandbox.mcpipe(["list", &modern.url("/mcp"), "--transport", "sse"]).run();
    run.exits(7)
        .stderr_contains("returned HTTP 405")
        .stderr_contains("hint: omit --transport: the server may support the newer transport\n");

    let starting = HttpServer::start(|_| Reply::status(503));
    let run = sandbox.mcpipe(["list", &starting.url("/mcp"), "--wait", "400ms"]).run();
    run.exits(5)
        .stderr_contains("it was not ready within 400 ms")
        .stderr_contains("hint: wait longer with --wait TIME\n");

    let other = HttpServer::start(|_| Reply::raw("SSH-2.0-server\r\n\r\n"));
    let run = sandbox.mcpipe(["list", &other.url("/"), "--retries", "0"]).run();
    run.exits(7).stderr_contains("is not an HTTP server").stderr_contains("hint: check the port\n");
}

/// A legacy server that gets a modern request, since nothing else is allowed.
#[test]
fn a_pinned_revision_that_the_server_lacks_is_no_failure_of_the_tool() {
    let body = r#"{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: Server not initialized"},"id":null}"#;
    let old = HttpServer::start(move |_| Reply::text("application/json", body).with_status(400));
    let run = Sandbox::new().mcpipe(["list", &old.url("/mcp"), "--protocol", "2026-07-28", "--retries", "0"]).run();
    run.exits(7).prints("").stderr_contains("Bad Request: Server not initialized (code -32000)");
    run.stderr_contains("it may not support 2026-07-28")
        .stderr_contains("hint: omit --protocol: mcpipe finds out which revision the server supports\n");
}

/// Options of curl, wget, HTTPie, mcporter and the MCP Inspector.
#[test]
fn options_of_similar_programs_get_a_hint_to_ours() {
    for (words, hint) in [
        (&["list", "./s", "--output", "json"][..], "use --json for JSON; redirect stdout for a file: > FILE"),
        (&["list", "./s", "-k"], "use --insecure, or trust a certificate authority with --cacert FILE"),
        (
            &["list", "./s", "-u", "me:pw"],
            "write the line 'Authorization: Basic BASE64' to a file that only you can read, and use -H @FILE",
        ),
        (&["list", "./s", "-x", "http://p:1"], "use --proxy URL"),
        (&["list", "./s", "--max-time", "5"], "use --timeout TIME, for example --timeout 30s"),
        (&["list", "./s", "-b", "a=1"], "use -H 'Cookie: NAME=VALUE'"),
        (
            &["call", "./s", "echo", "-d", "{}"],
            "write arguments as words, NAME=VALUE, or pass them all with --args JSON",
        ),
        (&["call", "./s", "echo", "--tool-arg", "a=1"], "use mcpipe call ./s echo a=1"),
        (&["call", "--server", "demo", "--tool", "add"], "use mcpipe call demo add"),
        (&["call", "demo", "--tool-name", "add"], "use mcpipe call demo add"),
        (
            &["call", "--server", "demo"],
            "name the server and the tool without options: mcpipe call SERVER TOOL NAME=VALUE",
        ),
        (&["list", "--server", "demo"], "use mcpipe list demo"),
        (&["list", "--server"], "name the server without an option: mcpipe list SERVER"),
        (&["list", "./s", "--jsn"], "did you mean --json?"),
        (&["list", "./s", "--color", "alway"], "did you mean always?"),
    ] {
        refused(words).stderr_contains(&format!("hint: {hint}\n"));
    }
    refused(&["list", "./s", "-L"]).stderr_contains("redirects to the same host are followed");
    refused(&["list", "./s", "-X", "POST"]).stderr_contains("omit it: MCP decides the HTTP method");
    refused(&["call", "--method"]).stderr_contains("call (tools/call)");
}

#[test]
fn a_target_without_a_command_gets_the_command() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.demo]\ncommand = 'true'\n");
    for (words, hint) in [
        (&["demo"][..], "mcpipe list demo"),
        (&["demo", "--json"], "mcpipe list demo"),
        (&["demo", "get-sum", "a=2", "b=x y", "token=s3cret"], "mcpipe call demo get-sum a=2 b='x y' token=…"),
        (&["demo.get-sum", "a=2"], "mcpipe call demo.get-sum a=2"),
        (&["https://h.example/mcp?a=1&b=2"], "mcpipe list 'https://h.example/mcp?a=1&b=2'"),
        (&["./server.py"], "mcpipe list ./server.py"),
        (&["dem"], "did you mean mcpipe list demo?"),
        (&["lst"], "did you mean list?"),
        (&["login", "demo"], "use mcpipe auth login demo"),
        (&["run", "demo", "get-sum", "a=2"], "use mcpipe call demo get-sum a=2"),
        (&["resources", "demo"], "use mcpipe list demo --resources"),
        (&["resources"], "use mcpipe list TARGET --resources"),
        (&["get-prompt", "demo", "hello"], "use mcpipe prompt demo hello"),
        (&["logs", "demo"], "use mcpipe session logs demo"),
        (&["serve", "demo"], "use mcpipe bridge demo"),
        (&["npx", "-y", "server"], "to start it as a server: mcpipe list -- npx -y server"),
        (&["sh", "-x"], "see mcpipe --help"),
        (&["frobnicate"], "see mcpipe --help"),
    ] {
        let run = sandbox.mcpipe(words).run();
        run.exits(2).prints("").hides("s3cret");
        match words.contains(&"--json") {
            true => run.stderr_contains(&format!("\"hint\":\"{hint}\"")),
            false => run.stderr_contains(&format!("hint: {hint}\n")),
        };
    }
}

#[test]
fn a_similar_server_is_suggested_instead_of_adding_one() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.demo]\ncommand = 'true'\n");
    let run = sandbox.mcpipe(["list", "dem"]).run();
    run.exits(3).prints("");
    assert_eq!(run.stderr(), "mcpipe: error: no server named 'dem' is configured\nhint: did you mean demo?\n");
}

#[test]
fn a_tool_before_its_server_gets_a_hint() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.demo]\ncommand = 'true'\n");
    for (words, hint) in [
        (&["call", "get-sum", "demo", "a=1", "b=x y"][..], "mcpipe call demo get-sum a=1 b='x y'"),
        (&["-q", "list", "get-sum", "demo"], "mcpipe -q list demo get-sum"),
        (&["prompt", "hello", "demo"], "mcpipe prompt demo hello"),
    ] {
        let run = sandbox.mcpipe(words).run();
        run.exits(3).prints("").stderr_contains("error: no server named '");
        run.stderr_contains(&format!("\nhint: use {hint}\n"));
    }
}

#[test]
fn what_only_a_shell_understands_gets_a_hint() {
    let sandbox = Sandbox::new();
    for (words, error, hint) in [
        (
            &["list", "FOO=1 server x"][..],
            "cannot start 'FOO=1'",
            "no shell is run; set variables with -e FOO=1, or replace the command with: -- env FOO=1 server x",
        ),
        (
            &["list", "--", "API_TOKEN=s3cret", "server"],
            "cannot start 'API_TOKEN=…'",
            "no shell is run; set variables with -e API_TOKEN=…, or replace the command with: -- env API_TOKEN=… server",
        ),
        (
            &["list", "cd x && server"],
            "cannot start 'cd'",
            "no shell is run; to use one, replace the command with: -- sh -c 'cd x && server'",
        ),
        (
            &["call", "demo", "get-sum", "--", "a=2", "b:=3"],
            "cannot start 'a=2'",
            "put arguments before --, and the server's command after --",
        ),
        (
            &["list", "--", "no-such-server"],
            "cannot start 'no-such-server'",
            "install no-such-server, or give its full path",
        ),
    ] {
        let run = sandbox.mcpipe(words).run();
        run.exits(5).prints("").hides("s3cret").stderr_contains(error).stderr_contains(&format!("hint: {hint}\n"));
    }
}

#[test]
fn a_group_of_commands_alone_prints_its_help() {
    let sandbox = Sandbox::new();
    for group in ["auth", "config", "session", "task"] {
        let run = sandbox.mcpipe([group]).run();
        run.exits(2).prints("").stderr_contains(&format!("\nUsage: mcpipe {group} ")).stderr_contains("\nCommands:\n");
    }
}
