//! Names that are hard to type: tools like call forms and options, servers with dots, unknown names.

use serde_json::json;

use crate::support::{Mcp, Run, Sandbox, StdioServer};

fn server() -> StdioServer {
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    Mcp::modern()
        .tools(json!([tool("echo"), tool("f(x)"), tool("g(1)"), tool("--help"), tool("-x"), tool("a.b")]))
        .on("tools/call", |call| {
            let params = call.params();
            call.text(&format!("{} {}", params["name"].as_str().unwrap_or_default(), params["arguments"]))
        })
        .stdio()
}

fn configured(name: &str) -> (Sandbox, StdioServer) {
    let (sandbox, server) = (Sandbox::new(), server());
    let words: Vec<String> = server.target().split(' ').map(|word| format!("{word:?}")).collect();
    let (program, args) = words.split_first().unwrap();
    sandbox.config(&format!("[servers.\"{name}\"]\ncommand = {program}\nargs = [{}]\n", args.join(", ")));
    (sandbox, server)
}

fn run(sandbox: &Sandbox, words: &[&str]) -> Run {
    sandbox.mcpipe(words.to_vec()).run()
}

#[test]
fn a_tool_of_the_very_name_wins_over_a_call_form() {
    let (sandbox, server) = (Sandbox::new(), server());
    let target = server.target();
    run(&sandbox, &["call", &target, "f(x)", "a=1"]).succeeds().prints("f(x) {\"a\":\"1\"}\n");
    run(&sandbox, &["call", &target, "g(1)"]).succeeds().prints("g(1) {}\n");
    run(&sandbox, &["call", &target, "echo(a: 1)"]).succeeds().prints("echo {\"a\":1}\n");
    run(&sandbox, &["call", &target, "echo(x)"]).exits(2).prints("").stderr_contains("expected a value");
    // The hint contains the name, not the invalid form.
    let broken = run(&sandbox, &["call", "odd target", "echo(a: 1"]);
    broken.exits(2).prints("").stderr_contains("hint: show its parameters: mcpipe list 'odd target' echo\n");
    run(&sandbox, &["call", &target, "echo(x)"]).exits(2).stderr_contains(" echo\n");
}

#[test]
fn a_server_with_dots_and_tools_like_options_are_reached_by_one_word() {
    let (sandbox, _server) = configured("my.files");
    run(&sandbox, &["call", "my.files.echo", "a=1"]).succeeds().prints("echo {\"a\":\"1\"}\n");
    run(&sandbox, &["call", "my.files.a.b"]).succeeds().prints("a.b {}\n");
    run(&sandbox, &["call", "my.files.--help"]).succeeds().prints("--help {}\n");
    run(&sandbox, &["call", "my.files.-x"]).succeeds().prints("-x {}\n");
    run(&sandbox, &["call", "my.files.echo(a: 1.5)"]).succeeds().prints("echo {\"a\":1.5}\n");
    run(&sandbox, &["call", "my.files.echo", "--args", "{\"-dash\":1}"]).succeeds().prints("echo {\"-dash\":1}\n");
}

#[test]
fn a_name_that_is_not_configured() {
    let (sandbox, _server) = configured("odd");
    let program = run(&sandbox, &["call", "od", "echo"]);
    program.exits(3).prints("").stderr_contains("hint: did you mean odd?\n").hides("config add");
    for words in [&["config", "get", "od"][..], &["config", "remove", "od"], &["config", "rename", "od", "other"]] {
        let run = run(&sandbox, words);
        run.exits(3).prints("").stderr_contains("hint: did you mean odd?\n");
        assert!(!run.stderr().contains("-- od"), "{run:?}");
    }
    let run = run(&sandbox, &["config", "get", "nosuch"]);
    run.exits(3)
        .stderr_contains("no server named 'nosuch' is configured")
        .stderr_contains("hint: list the configured servers: mcpipe config list");
    assert!(!run.stderr().contains("config add"), "{run:?}");
    let both = Sandbox::new();
    both.config("[servers.github]\nurl = 'https://a/'\n[servers.github-work]\nurl = 'https://b/'\n");
    both.mcpipe(["config", "get", "Git"]).run().exits(3).stderr_contains("did you mean github or github-work?");
}

/// No editor is started without a terminal.
#[test]
fn without_a_terminal_no_editor_is_guessed() {
    let run = Sandbox::new().mcpipe(["config", "edit"]).run();
    run.exits(2).prints("").stderr_contains("config edit needs a terminal").stderr_contains("config.toml directly");
}

/// A command line in a hint reaches the same server: it has the options of the target, without their secrets.
#[test]
fn examples_and_hints_repeat_how_the_server_was_reached() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let words = server.words();
    let file =
        sandbox.file("my servers.toml", format!("[servers.a]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..]));
    let example = |words: &[&str]| {
        let run = run(&sandbox, words);
        let text = run.exits(0).stdout().to_owned();
        text.lines().last().unwrap().replace(&server.target(), "SERVER")
    };
    let config = ["--config", "my servers.toml"];
    assert_eq!(
        example(&[&["list", "a", "echo"], &config[..]].concat()),
        "mcpipe call a echo text=text --config 'my servers.toml'"
    );
    // It works after the value is filled in.
    let pasted = sandbox.mcpipe(["call", "a", "echo", "text=hi", "--config"]).arg(&file).run();
    pasted.exits(0).prints("hi\n");
    assert_eq!(
        example(&["list", &server.target(), "echo", "-e", "API_KEY=s3cret", "--cwd", ".", "--protocol", "2026-07-28"]),
        "mcpipe call 'SERVER' echo text=text -e API_KEY=… --cwd . --protocol 2026-07-28"
    );
    let http = Mcp::modern().http();
    let url = http.url("/mcp");
    let run = sandbox
        .mcpipe([
            "list",
            &url,
            "echo",
            "-H",
            "X-Team: s3cret",
            "-H",
            "B: s3cret",
            "--transport",
            "http",
            "--bearer-env",
            "T",
        ])
        .env("T", "s3cret")
        .run();
    run.exits(0).hides("s3cret");
    assert_eq!(
        run.stdout().lines().last().unwrap(),
        format!("mcpipe call {url} echo text=text -H 'X-Team: …' -H 'B: …' --bearer-env T --transport http")
    );

    let says = |words: &[&str], hint: &str| {
        let run = sandbox.mcpipe(words).run();
        let said = run.stderr().replace(&server.target(), "SERVER");
        assert!(said.ends_with(&format!("{hint}\n")), "{hint}\n{run:?}");
    };
    let with = |words: &[&'static str]| -> Vec<&'static str> { [words, &config[..]].concat() };
    let option = "--config 'my servers.toml'";
    let shown = "(some servers list a tool only if an option is given: --elicit, --sampling-command, --root)";
    says(&with(&["call", "a", "zzzzzz"]), &format!("list its tools: mcpipe list a {option} {shown}"));
    says(&with(&["call", "a"]), &format!("list its tools: mcpipe list a {option}"));
    says(&with(&["call", "a", "add", "a=x"]), &format!("hint: show its parameters: mcpipe list a add {option}"));
    says(&with(&["prompt", "a", "zzzzzz"]), &format!("mcpipe prompt a {option}"));
    says(&with(&["read", "a", "-o", "x"]), &format!("mcpipe read a {option}"));
    says(&with(&["list", "a", "echo", "--all"]), &format!("mcpipe list a --all {option}"));
}

#[test]
fn a_server_that_ends_is_shown_as_it_was_started() {
    let sandbox = Sandbox::new();
    let script = sandbox.script("s", "exit 1");
    let file = sandbox.file("m.toml", format!("[servers.exits]\ncommand = {script:?}\n"));
    let run = sandbox.mcpipe(["list", "exits", "--config"]).arg(&file).run();
    run.exits(5);
    assert_eq!(
        run.stderr().lines().last().unwrap(),
        format!("hint: show how it is started: mcpipe config get exits --config {}", file.display())
    );
    let run = sandbox.mcpipe(["list", "./s x", "--cwd", ".", "-e", "API_KEY=s3cret"]).run();
    run.exits(5).hides("s3cret");
    assert_eq!(
        run.stderr().lines().last().unwrap(),
        format!("hint: run it by itself to see why: cd {} && API_KEY=… ./s x", sandbox.work().display())
    );
    // A program named by one word is a server only after `--`.
    let run = sandbox.mcpipe(["list", "x", "y", "--", "true"]).run();
    run.exits(2);
    let server = Mcp::modern().stdio();
    sandbox.script("one-word", &format!("exec {}", server.target()));
    let path = format!("{}:/usr/bin:/bin", sandbox.work().display());
    let run = sandbox.mcpipe(["list", "echo", "--", "one-word"]).env("PATH", path).run();
    assert_eq!(run.exits(0).stdout().lines().last().unwrap(), "mcpipe call echo text=text -- one-word");
}

/// A name of one letter is part of every word and similar to none.
#[test]
fn short_names_are_near_to_nothing_but_slips() {
    let (sandbox, _server) = configured("x");
    for word in ["xyzzy", "linux"] {
        let run = run(&sandbox, &["call", word, "e"]);
        run.exits(3).stderr_contains(&format!("no server named '{word}' is configured"));
        assert!(!run.stderr().contains("did you mean"), "{run:?}");
    }
    run(&sandbox, &["call", "X", "e"]).exits(3).stderr_contains("did you mean x?");
}

#[test]
fn tools_like_options_are_reached_where_a_hint_says_so() {
    let (sandbox, server) = configured("odd");
    let refused = run(&sandbox, &["call", "odd", "-x", "a=1"]);
    refused.exits(2).prints("").stderr_contains("hint: to call a tool of that name: odd.-x, or as ' -x()'");
    run(&sandbox, &["call", "odd.-x", "a=1"]).succeeds().prints("-x {\"a\":\"1\"}\n");
    let target = server.target();
    let refused = run(&sandbox, &["call", &target, "--nothing"]);
    refused.exits(2).stderr_contains("to call a tool of that name: ' --nothing()'").hides(".--nothing");
    run(&sandbox, &["call", &target, " -x()"]).succeeds().prints("-x {}\n");
    let listed = run(&sandbox, &["list", "odd", " -x()"]);
    assert_eq!(listed.succeeds().stdout().lines().last(), Some("mcpipe call odd ' -x()'"));
    run(&sandbox, &["list", "odd", "f(x)"]).succeeds().stdout_contains("mcpipe call odd 'f(x)'\n");
    // After the tool's name it is an argument as usual.
    run(&sandbox, &["call", "odd", "echo", "-z"]).exits(2).stderr_contains("written as name=value").hides(" -z()");
}
