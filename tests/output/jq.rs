//! `--jq`: what it prints, what it rejects before anything is sent, and how it fails.

use serde_json::json;

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Sandbox, StdioServer};

#[test]
fn every_document_is_filtered() {
    let sandbox = Sandbox::new();
    let server = Mcp::modern().stdio();
    sandbox.config(&format!("[servers.s]\ncommand = '{}'\nargs = ['{}']\n", server.words()[0], server.words()[1]));
    let filtered = |words: &[&str], expected: &str| {
        sandbox.mcpipe(words).run().succeeds().prints(expected);
    };
    filtered(&["list", "s", "--jq", ".tools[].name"], "echo\nadd\nfail\nimage\nslow\n");
    filtered(&["list", "s", "echo", "--jq", "[.name, .annotations.readOnlyHint]"], "[\"echo\",true]\n");
    filtered(&["list", "s", "add", "--schema", "--jq", ".required"], "[\"a\",\"b\"]\n");
    filtered(&["list", "s", "--info", "--jq", ".serverInfo.name"], "fake\n");
    filtered(&["list", "--jq", ".servers[] | [.name, .state] | @tsv"], "s\tok\n");
    filtered(&["call", "s", "add", "a=2", "b=3", "--jq", ".structuredContent.total + 1"], "6\n");
    filtered(&["call", "s", "add", "a=2", "b=3", "--structured", "--jq", ".total"], "5\n");
    filtered(&["call", "s", "echo", "text=a\nb", "--jq", ".content[0].text"], "a\nb\n");
    filtered(&["call", "s", "echo", "text=x", "--dry-run", "--jq", ".params.arguments"], "{\"text\":\"x\"}\n");
    filtered(&["read", "s", "demo://hello", "--jq", ".contents[].uri"], "demo://hello\n");
    filtered(&["prompt", "s", "--jq", ".prompts | length > 0"], "true\n");
    filtered(&["config", "list", "--jq", ".servers[].name"], "s\n");
    filtered(&["list", "s", "--jq", "empty"], "");
    filtered(&["--jq", ".tools | length", "list", "s"], "5\n");
}

/// A server whose tools return this text as the result, digit by digit.
fn answering(result: impl std::fmt::Display + Send + Sync + 'static) -> StdioServer {
    Mcp::modern()
        .on("tools/call", move |call| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call.id());
            vec![crate::support::ServerAction::RawText(text)]
        })
        .stdio()
}

#[test]
fn tol_06_numbers_and_order_survive_the_filter() {
    let result = r#"{"content":[],"structuredContent":{"z":12345678901234567890123,"a":1.10,"e":1E400}}"#;
    let server = answering(result);
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--jq", ".structuredContent"]).run();
    run.exits(0).prints("{\"z\":12345678901234567890123,\"a\":1.10,\"e\":1E400}\n");
}

#[test]
fn a_filter_that_is_none_is_refused_before_anything_is_sent() {
    let sandbox = Sandbox::new();
    let server = Mcp::modern().http();
    for (filter, why) in [(".a |", "expected term at the end"), ("nope(.)", "there is no filter 'nope'"), ("$x", "$x")]
    {
        let run = sandbox.mcpipe(["call", &server.url("/"), "echo", "text=x", "--jq", filter]).run();
        run.exits(2).prints("").stderr_contains("mcpipe: error: --jq: ").stderr_contains(why);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_filter_that_fails_says_so_after_what_it_printed() {
    let sandbox = Sandbox::new();
    let server = Mcp::modern().stdio();
    let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--jq", "1, .content.a"]).run();
    run.exits(1).prints("1\n").stderr_contains("--jq: the filter failed on the result").stderr_contains("cannot index");
    let halt = sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--jq", "1, halt, 2"]).run();
    halt.succeeds().prints("1\n");
}

#[test]
fn a_failed_tool_is_filtered_too_and_failures_stay_text() {
    let sandbox = Sandbox::new();
    let server = Mcp::modern().stdio();
    let failed = sandbox.mcpipe(["call", &server.target(), "fail", "--jq", ".isError"]).run();
    failed.exits(1).prints("true\n");
    let unknown = sandbox.mcpipe(["call", &server.target(), "nope", "--jq", "."]).run();
    unknown.exits(1).prints("");
    assert!(unknown.stderr().starts_with("mcpipe: error: the server has no tool 'nope'\n"), "{unknown:?}");
    let json = sandbox.mcpipe(["call", &server.target(), "nope", "--json", "--jq", "."]).run();
    assert_eq!(json.exits(1).json_error()["class"], "failed");
    let wrong = sandbox.mcpipe(["call", "--jq"]).run();
    wrong.exits(2).stderr_contains("mcpipe: error: ");
}

#[test]
fn sec_05_raw_strings_are_harmless_at_a_terminal() {
    let sandbox = Sandbox::new();
    let server = Mcp::modern()
        .on("tools/call", |call| call.result(json!({"content": [{"type": "text", "text": "a\u{1b}[2Jb"}]})))
        .stdio();
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--jq", ".content[0].text"]);
    let seen = run.at_terminal(TerminalStreams::ALL).wait();
    assert!(seen.screen.contains("a\\x1b[2Jb"), "{:?}", seen.screen);
}

#[test]
fn what_a_filter_stumbled_over_is_told_in_brief() {
    let long = "x".repeat(100_000);
    let server = Mcp::modern()
        .on("tools/call", move |call| call.result(json!({"content": [{"type": "text", "text": long}]})))
        .stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "fail", "--json", "--jq", ".content.a"]).run();
    run.exits(1).prints("");
    let error = run.json_error();
    assert_eq!(error["message"], "--jq: the filter failed on the result");
    let cause = error["causes"][0].as_str().unwrap();
    assert!(cause.starts_with("cannot index") && cause.ends_with('…') && cause.chars().count() < 210, "{cause}");
}

#[test]
fn depth_and_a_negative_zero_survive_the_filter() {
    let deep = format!("{}{}", "[".repeat(1100), "]".repeat(1100));
    let result = format!(r#"{{"content":[],"structuredContent":{{"d":{deep},"z":[-0.0,0,-0e1]}}}}"#);
    let server = answering(result);
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--jq", ".structuredContent.d | tojson"]).run();
    run.exits(0).prints(&format!("{deep}\n"));
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--jq", ".structuredContent.z"]).run();
    run.exits(0).prints("[-0.0,0,-0e1]\n");
}

#[test]
fn the_last_output_decides_with_jq_exit() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let target = server.target();
    for (filter, code) in [
        (".tools | length > 0", 0),
        ("false, 0", 0),
        ("\"\"", 0),
        ("true, false", 9),
        (".nothing", 9),
        ("empty", 9),
        ("error(\"no\")", 1),
    ] {
        sandbox.mcpipe(["list", &target, "--jq", filter, "--jq-exit"]).run().exits(code);
    }
    let run = sandbox.mcpipe(["list", &target, "--jq", "false", "--jq-exit"]).run();
    run.exits(9).prints("false\n").stderr_is("");
    // The failure of the command itself comes first.
    sandbox.mcpipe(["call", &target, "fail", "--jq", "false", "--jq-exit"]).run().exits(1);
    sandbox.mcpipe(["list", &target, "--jq-exit"]).run().exits(2).stderr_contains("--jq-exit needs --jq");
}

#[test]
fn failures_stay_text_with_a_filter() {
    let run = Sandbox::new().mcpipe(["list", "nowhere", "--jq", "."]).run();
    run.exits(3).prints("").stderr_contains("mcpipe: error: ");
}

#[test]
#[cfg(unix)]
fn the_environment_may_have_a_variable_that_is_not_text() {
    use std::os::unix::ffi::OsStringExt;
    let server = Mcp::modern().stdio();
    let target = server.target();
    for option in ["--jq", "--expect"] {
        let run = Sandbox::new()
            .mcpipe(["call", &target, "echo", "text=x", option, "env == $ENV and env.WORD == \"w\""])
            .env("BYTES", std::ffi::OsString::from_vec(vec![0xff]))
            .env("WORD", "w")
            .run();
        run.exits(0).stderr_is("");
    }
}
