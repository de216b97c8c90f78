//! `call --expect` and `call --repeat`.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Sandbox, ServerAction};

#[test]
fn an_expectation_that_does_not_hold_exits_with_9() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let call = |options: &[&str]| sandbox.mcpipe(["call", &server.target(), "add", "a=2", "b=3"]).args(options).run();
    call(&["--expect", ".structuredContent.total == 5", "--expect", ".content[0].text | test(\"^5$\")"])
        .succeeds()
        .prints("5\n");
    let run = call(&["--expect", ".structuredContent.total == 6"]);
    run.exits(9).prints("5\n");
    run.stderr_is("mcpipe: error: not true: .structuredContent.total == 6\n   left: 5\n  right: 6\n");
    let run = call(&["--expect", "[.structuredContent.total, 1][] | . > 1"]);
    run.exits(9)
        .stderr_is("mcpipe: error: not true: [.structuredContent.total, 1][] | . > 1\n   left: 1\n  right: 1\n");
    let both = call(&["--expect", ".isError", "--expect", ".content | length > 1", "--json"]);
    assert_eq!(both.exits(9).json_error()["class"], "mismatch");
    both.stderr_contains("2 of 2 expectations failed");
    let started = server.wait_until_all_ended().len();
    call(&["--expect", ".a ["])
        .exits(2)
        .stderr_contains("--expect: '.a [' is not a valid jq expression")
        .stderr_contains("\nhint: expressions use jq syntax, for example '.content | length > 0'\n");
    assert_eq!(server.processes().len(), started, "nothing is started");
}

#[test]
fn repeated_calls_are_measured() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let call = |options: &[&str]| {
        sandbox.mcpipe(["call", &server.target(), "add", "a=2", "b=3", "--repeat", "20"]).args(options).run()
    };
    let run = call(&["--json", "--jobs", "4", "--expect", ".structuredContent.total == 5"]);
    let measured: Value = serde_json::from_slice(&run.succeeds().stdout).unwrap();
    assert_eq!((&measured["calls"], &measured["errors"]), (&json!(20), &json!({})));
    let latency = &measured["latency_ms"];
    let part = |name: &str| latency[name].as_f64().unwrap();
    assert!(part("p50") > 0.0 && part("p50") <= part("p90") && part("p99") <= part("max"), "{measured}");
    assert_eq!(server.single_process().methods().iter().filter(|method| *method == "tools/call").count(), 20);
    let text = call(&["--threshold", "errors<=0", "--threshold", "max<60s"]);
    let names: Vec<&str> = text.succeeds().stdout().lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(names, ["calls", "errors", "time", "rate", "mean", "p50", "p90", "p95", "p99", "max"]);
    let slow = call(&["--threshold", "p50<0ms"]);
    slow.exits(9).stderr_contains("1 threshold crossed").stderr_contains("p50<0ms: it is ");
    call(&["--threshold", "p50"]).exits(2).stderr_contains("--threshold 'p50' is not a limit");
    call(&["--expect", ".isError"]).exits(9).stderr_contains("20 of 20 calls failed");
    sandbox.mcpipe(["call", "x", "y", "--rate", "5/s"]).run().exits(2);
    for many in [["--repeat", "2"], ["--batch", "calls"]] {
        for rate in ["1e-300/s", "1e309/s", "1e-5/m"] {
            let run = sandbox.mcpipe(["call", "x", "--rate", rate]).args(many).run();
            run.exits(2).stderr_contains("'--rate <N/s>': it is out of range");
        }
    }
}

#[test]
fn a_rate_spaces_the_calls_and_errors_are_counted_by_class() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let run = sandbox
        .mcpipe(["call", &server.target(), "fail", "--repeat", "5", "--rate", "20/s", "--jobs", "2", "--json"])
        .run();
    let measured: Value = serde_json::from_slice(&run.exits(1).stdout).unwrap();
    assert_eq!(measured["errors"], json!({"failed": 5}));
    assert!(measured["seconds"].as_f64().unwrap() >= 0.2, "{measured}");
    let tolerated =
        sandbox.mcpipe(["call", &server.target(), "fail", "--repeat", "5", "--threshold", "errors<=100%"]).run();
    tolerated.exits(0);
}

#[test]
fn a_stall_counts_for_the_calls_that_were_due_during_it() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| {
        let pause = (call.n == 0).then(|| ServerAction::Pause(Duration::from_millis(300)));
        pause.into_iter().chain(call.text("x")).collect()
    });
    let server = server.stdio();
    let words = ["call", &server.target(), "echo", "text=x", "--repeat", "20", "--rate", "100/s", "--json"];
    let run = Sandbox::new().mcpipe(words).run();
    let measured: Value = serde_json::from_slice(&run.succeeds().stdout).unwrap();
    assert_eq!((&measured["calls"], &measured["errors"]), (&json!(20), &json!({})));
    // The last call was due after 190 ms, and could be sent after 300 ms.
    assert!(measured["latency_ms"]["p50"].as_f64().unwrap() >= 110.0, "{measured}");
}

#[test]
fn repeated_calls_differ_only_in_their_ids() {
    for server in [Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio()] {
        let words = ["call", &server.target(), "add", "a=2", "b=3", "--repeat", "5", "--jobs", "3", "--meta", "k=v"];
        Sandbox::new().mcpipe(words).run().succeeds();
        let messages = server.single_process().messages();
        let mut calls: Vec<Value> = messages.into_iter().filter(|message| message["method"] == "tools/call").collect();
        assert_eq!(calls.len(), 5);
        let mut ids = Vec::new();
        for call in &mut calls {
            let id = call["id"].take();
            assert_eq!(call["params"]["_meta"]["progressToken"].take(), id);
            assert!(!ids.contains(&id), "{id}");
            ids.push(id);
        }
        assert_eq!(calls[0]["params"]["arguments"], json!({"a": 2, "b": 3}));
        assert_eq!(calls[0]["params"]["_meta"]["k"], "v");
        assert!(calls.iter().all(|call| *call == calls[0]), "{calls:?}");
    }
}

#[test]
fn repeated_calls_that_are_invalid_are_not_sent_and_a_warning_comes_once() {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let tools = json!([{"name": "count", "inputSchema": schema, "outputSchema": schema}]);
    let server = Mcp::modern().tools(tools).on("tools/call", |call| {
        call.result(json!({"content": [{"type": "text", "text": "odd"}], "structuredContent": {"n": "x"}}))
    });
    let server = server.stdio();
    let sandbox = Sandbox::new();
    let call = |words: &[&str]| {
        sandbox.mcpipe(["call", &server.target(), "count", "--repeat", "5", "--json"]).args(words).run()
    };
    let run = call(&["n=x"]);
    assert_eq!(run.exits(2).prints("").json_error()["class"], "usage");
    assert!(!server.single_process().methods().contains(&"tools/call".to_owned()));
    let run = call(&["n=1"]);
    assert_eq!(run.exits(0).stderr().matches("does not match the output schema").count(), 1, "{run:?}");
    let run = call(&["n=1", "--strict"]);
    let measured: Value = serde_json::from_slice(&run.exits(1).stdout).unwrap();
    assert_eq!(measured["errors"], json!({"protocol": 5}));
}

#[test]
fn an_interruption_prints_what_was_measured_so_far() {
    let server =
        Mcp::legacy("2025-11-25").on("tools/call", |call| if call.n < 3 { call.text("x") } else { Vec::new() }).stdio();
    let words = ["call", &server.target(), "echo", "text=x", "--repeat", "1000", "--json"];
    let running = Sandbox::new().mcpipe(words).start();
    let calls = |methods: Vec<String>| methods.iter().filter(|method| *method == "tools/call").count();
    server.wait_for("the fourth call", |seen| seen.iter().any(|one| calls(one.methods()) == 4));
    running.signal(Signal::INT);
    let run = running.wait();
    let measured: Value = serde_json::from_slice(&run.exits(130).stdout).unwrap();
    assert_eq!((&measured["calls"], &measured["errors"]), (&json!(3), &json!({})));
    assert_eq!(run.json_error()["class"], "interrupted");
    server.wait_until_all_ended();
    assert_eq!(server.single_process().methods().last().unwrap(), "notifications/cancelled");
}

#[test]
fn a_terminal_shows_a_histogram_besides_the_same_result() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let call = || sandbox.mcpipe(["call", &server.target(), "add", "a=2", "b=3", "--repeat", "20"]);
    let run = call().at_terminal(TerminalStreams::PIPED).wait();
    run.exits(0);
    let rows: Vec<String> = run.final_screen().lines().map(ToOwned::to_owned).collect();
    assert!(
        (1..=9).contains(&rows.len()) && rows.iter().all(|row| row.starts_with("to ") && row.contains(" ms ")),
        "{rows:?}"
    );
    let names: Vec<String> =
        String::from_utf8(run.piped).unwrap().lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
    assert_eq!(names, ["calls", "errors", "time", "rate", "mean", "p50", "p90", "p95", "p99", "max"]);
    let quiet = call().arg("-q").at_terminal(TerminalStreams::PIPED).wait();
    assert_eq!(quiet.exits(0).final_screen(), "");
}
