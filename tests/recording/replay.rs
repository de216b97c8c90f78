//! What a recording answers beyond the recorded run.

use crate::support::{Mcp, Sandbox};

/// A sandbox with a recording of these words against a server.
fn recorded(mcp: Mcp, words: &[&str]) -> Sandbox {
    let sandbox = Sandbox::new();
    let server = mcp.stdio();
    let target = server.target();
    let words = words.iter().map(|word| if *word == "TARGET" { target.as_str() } else { word });
    sandbox.mcpipe(words.chain(["--record", "run.rec"])).run();
    sandbox
}

const CALL: [&str; 4] = ["call", "TARGET", "echo", "text=hi"];

#[test]
fn an_unknown_request_gets_an_error_with_the_nearest_recorded_one() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let sandbox = recorded(mcp, &CALL);
        let run = sandbox.mcpipe(["call", "replay:run.rec", "echo", "text=other"]).run();
        run.exits(1).prints("").stderr_is(concat!(
            r#"mcpipe: error: the recording does not have this request: tools/call {"name":"echo","arguments":{"text":"other"}}; the nearest one is tools/call {"name":"echo","arguments":{"text":"hi"}}"#,
            "\nhint: to record it, run the command with the server as the target, and add --record FILE\n"
        ));
        let run = sandbox.mcpipe(["read", "replay:run.rec", "demo://hello"]).run();
        run.exits(1).prints("").stderr_contains("the recording does not have this request: resources/read");
    }
}

#[test]
fn a_recording_of_a_call_also_answers_a_list() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let sandbox = recorded(mcp, &CALL);
        let run = sandbox.mcpipe(["list", "replay:run.rec"]).run();
        run.succeeds().stdout_contains("echo").stdout_contains("Adds two integers");
    }
}

#[test]
fn a_request_may_recur_more_often_than_recorded() {
    let sandbox = recorded(Mcp::modern(), &CALL);
    let line = r#"{"tool":"echo","arguments":{"text":"hi"}}"#;
    sandbox.file("calls", format!("{line}\n{line}\n"));
    let run = sandbox.mcpipe(["call", "replay:run.rec", "--batch", "calls", "--jq", ".result.content[0].text"]).run();
    run.succeeds().prints("hi\nhi\n");
}

#[test]
fn a_trace_can_be_replayed() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let sandbox = Sandbox::new();
        let server = mcp.stdio();
        sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "--trace", "run.trace"]).run().succeeds();
        let run = sandbox.mcpipe(["call", "replay:run.trace", "echo", "text=hi"]).run();
        run.succeeds().prints("hi\n").stderr_is("");
    }
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let sandbox = Sandbox::new();
        let server = mcp.http();
        sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--trace", "run.trace"]).run().succeeds();
        let run = sandbox.mcpipe(["call", "replay:run.trace", "echo", "text=hi"]).run();
        run.succeeds().prints("hi\n").stderr_is("");
    }
}

#[test]
fn any_client_can_use_the_server_over_stdio() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let sandbox = recorded(mcp, &CALL);
        let words = ["call", "echo", "text=hi", "--", env!("CARGO_BIN_EXE_mcpipe"), "replay", "run.rec"];
        sandbox.mcpipe(words).run().succeeds().prints("hi\n").stderr_is("");
    }
}

#[test]
fn the_server_over_stdio_takes_the_ids_of_its_client() {
    let sandbox = recorded(Mcp::legacy("2025-11-25"), &CALL);
    let lines = [
        r#"{"jsonrpc":"2.0","id":"a","method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{}}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"arguments":{"text":"hi"},"name":"echo"}}"#,
        r#"[{"jsonrpc":"2.0","id":8,"method":"ping"}]"#,
        r#"{"jsonrpc":"2.0","id":9,"method":"tools/cal","params":{}}"#,
        "nonsense",
    ];
    let run = sandbox.mcpipe(["replay", "run.rec"]).stdin(lines.join("\n") + "\n").run();
    run.succeeds().stderr_is("");
    let answers: Vec<&str> = run.stdout().lines().collect();
    assert_eq!(answers.len(), 5, "{run:?}");
    assert!(answers[0].starts_with(r#"{"jsonrpc":"2.0","id":"a","result":{"protocolVersion":"2025-11-25""#), "{run:?}");
    assert_eq!(answers[1], r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"hi"}]}}"#);
    assert_eq!(answers[2], r#"{"jsonrpc":"2.0","id":8,"result":{}}"#);
    assert_eq!(
        answers[3],
        r#"{"jsonrpc":"2.0","id":9,"error":{"code":-32603,"message":"the recording does not have this request: tools/cal; the nearest one is tools/call {\"name\":\"echo\",\"arguments\":{\"text\":\"hi\"}}","data":{"notRecorded":true}}}"#
    );
    assert_eq!(answers[4], r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#);
}

#[test]
fn one_of_several_servers_is_chosen_by_name() {
    let sandbox = Sandbox::new();
    let (one, two) = (Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio());
    let entry = |name: &str, words: &[String]| {
        format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..])
    };
    sandbox.config(&(entry("one", &one.words()) + &entry("two", &two.words())));
    sandbox.mcpipe(["list", "--record", "all.rec"]).run().succeeds();
    sandbox.mcpipe(["list", "replay:all.rec#two"]).run().succeeds().stdout_contains("echo");
    sandbox
        .mcpipe(["list", "replay:all.rec"])
        .run()
        .exits(3)
        .stderr_contains("the servers are one, two")
        .stderr_contains("hint: add # and its name to the file: 'all.rec#one'");
}

#[test]
fn target_options_do_not_apply_to_a_recording() {
    let sandbox = recorded(Mcp::modern(), &CALL);
    let run = sandbox.mcpipe(["list", "replay:run.rec", "-H", "X: y"]).run();
    run.exits(2).stderr_is("mcpipe: error: --header does not apply to a recording\n");
}

#[test]
fn only_its_owner_can_read_a_recording() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = recorded(Mcp::modern(), &CALL);
    let mode = std::fs::metadata(sandbox.work().join("run.rec")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}
