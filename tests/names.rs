//! Names that are hard to type: tools like call forms and options, servers with dots, names that are not there.

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
    run(&sandbox, &["call", &target, "echo(x)"]).exits(2).prints("").says("expected a value");
    // The hint has the name, not the broken form.
    let broken = run(&sandbox, &["call", "odd target", "echo(a: 1"]);
    broken.exits(2).prints("").says("hint: mcpipe list 'odd target' echo\n");
    run(&sandbox, &["call", &target, "echo(x)"]).exits(2).says(" echo\n");
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
    program.exits(3).prints("").says("did you mean 'odd'?").says("-- od");
    for words in [&["config", "get", "od"][..], &["config", "remove", "od"], &["config", "rename", "od", "other"]] {
        let run = run(&sandbox, words);
        run.exits(3).prints("").says("did you mean 'odd'?").says("hint: see the names: mcpipe config list");
        assert!(!run.stderr().contains("-- od"), "{run:?}");
    }
    let run = run(&sandbox, &["config", "get", "nosuch"]);
    run.exits(3).says("no server named 'nosuch' is configured").says("hint: see the names: mcpipe config list");
    assert!(!run.stderr().contains("config add"), "{run:?}");
}

/// Nobody is put before an editor who has no terminal.
#[test]
fn without_a_terminal_no_editor_is_guessed() {
    let run = Sandbox::new().mcpipe(["config", "edit"]).run();
    run.exits(2).prints("").says("there is no terminal to edit the configuration at").says("config.toml another way");
}

/// A name of one letter is in every word, and near to none.
#[test]
fn short_names_are_near_to_nothing_but_slips() {
    let (sandbox, _server) = configured("x");
    for word in ["xyzzy", "linux"] {
        let run = run(&sandbox, &["call", word, "e"]);
        run.exits(3).says(&format!("no server named '{word}' is configured"));
        assert!(!run.stderr().contains("did you mean"), "{run:?}");
    }
    run(&sandbox, &["call", "X", "e"]).exits(3).says("did you mean 'x'?");
}

#[test]
fn tools_like_options_are_reached_where_a_hint_says_so() {
    let (sandbox, server) = configured("odd");
    let refused = run(&sandbox, &["call", "odd", "-x", "a=1"]);
    refused.exits(2).prints("").says("hint: a tool of that name is called as odd.-x, or as ' -x()'");
    run(&sandbox, &["call", "odd.-x", "a=1"]).succeeds().prints("-x {\"a\":\"1\"}\n");
    let target = server.target();
    let refused = run(&sandbox, &["call", &target, "--nothing"]);
    refused.exits(2).says("a tool of that name is called as ' --nothing()'").hides(".--nothing");
    run(&sandbox, &["call", &target, " -x()"]).succeeds().prints("-x {}\n");
    // Behind the tool's name it is an argument, as ever.
    run(&sandbox, &["call", "odd", "echo", "-x"]).exits(2).says("written as name=value").hides(" -x()");
}
