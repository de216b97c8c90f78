//! Recordings that cannot be used: exit code 3, with file and line.

use crate::support::Sandbox;

const HEADER: &str = r#"{"format":"mcpipe recording","version":1}"#;
const OPENED: &str = r#"{"connection":1,"server":"s","transport":"stdio"}"#;

#[track_caller]
fn fails_with(content: &str, fault: &str) {
    let sandbox = Sandbox::new();
    sandbox.file("run.rec", content);
    for words in [["list", "replay:run.rec"], ["replay", "run.rec"]] {
        sandbox.mcpipe(words).run().exits(3).prints("").stderr_is(&format!(
            "mcpipe: error: the recording 'run.rec' cannot be used\n  run.rec:{fault}\nhint: make a recording: mcpipe call TARGET TOOL --record FILE\n"
        ));
    }
}

#[test]
fn files_that_are_not_recordings_are_refused() {
    fails_with("", "1: the file is empty");
    fails_with("hello\n", "1: invalid JSON at column 1: expected a JSON value");
    fails_with("{}\n", "1: it is neither a recording (--record) nor a trace (--trace) of mcpipe");
    fails_with(&format!("{HEADER}\n"), "1: it has no connection to a server");
}

#[test]
fn unknown_versions_are_refused() {
    fails_with(
        "{\"format\":\"mcpipe recording\",\"version\":2}\n",
        "1: it has format version 2; this mcpipe reads version 1",
    );
    fails_with("{\"format\":\"mcpipe recording\"}\n", "1: 'version' is missing");
}

#[test]
fn broken_lines_are_named() {
    let after = |line: &str| format!("{HEADER}\n{OPENED}\n{line}\n");
    fails_with(&after("{"), "3: invalid JSON at column 1: it ends too early");
    fails_with(&after(r#"{"connection":2,"dir":"sent"}"#), "3: connection 2 was not opened before");
    fails_with(&after(r#"{"connection":1,"dir":"up"}"#), "3: 'dir' is 'up', not 'sent' or 'received'");
    fails_with(&after(r#"{"connection":1,"dir":"sent"}"#), "3: 'message' is missing");
    fails_with(
        &after(r#"{"connection":1,"dir":"received"}"#),
        "3: a 'received' line has none of the members that say what came, such as 'message'",
    );
    fails_with(&after(r#"{"connection":"x"}"#), "3: invalid type: string \"x\", expected u64 (column 17)");
    fails_with(&after(r#"{"connection":1,"dir":"sent","message":{"x":1}}"#), "3: the sent message is not JSON-RPC");
}

#[test]
fn a_missing_file_is_named() {
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["list", "replay:gone.rec"]).run().exits(3).prints("").stderr_is(
        "mcpipe: error: cannot read the recording 'gone.rec'\n  No such file or directory (os error 2)\n\
             hint: record a command first: add --record FILE to it\n",
    );
}

#[test]
fn the_last_line_may_be_cut_off() {
    let sandbox = Sandbox::new();
    let exchange = r#"{"connection":1,"dir":"sent","message":{"jsonrpc":"2.0","id":1,"method":"ping"}}"#;
    sandbox.file("run.rec", format!("{HEADER}\n{OPENED}\n{exchange}\n{{\"connection\":1,\"di"));
    let run = || sandbox.mcpipe(["call", "replay:run.rec", "x", "--no-validate", "--protocol", "2026-07-28"]).run();
    run().exits(1);
    // Inside a character.
    let cut = [format!("{HEADER}\n{OPENED}\n{exchange}\n{{\"connection\":1,\"di").as_bytes(), &[0xc3]].concat();
    sandbox.file("run.rec", &cut);
    run().exits(1);
    sandbox.file("run.rec", [&cut, &b"\n"[..]].concat());
    run().exits(3).stderr_contains("run.rec:4: it is not valid UTF-8");
}

#[test]
fn a_recording_that_ends_before_the_handshake_is_named() {
    let server = crate::support::Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--record", "whole.rec"]).run().succeeds();
    let whole = std::fs::read_to_string(sandbox.work().join("whole.rec")).unwrap();
    let before = whole.find(r#""method":"initialize""#).unwrap();
    let lines: Vec<&str> = whole[..before].lines().collect();
    let kept = lines[..lines.len() - 1].join("\n");
    for content in [format!("{kept}\n"), format!("{kept}\n{{\"connection\":1,\"di")] {
        sandbox.file("cut.rec", content);
        sandbox.mcpipe(["call", "replay:cut.rec", "echo", "text=x"]).run().exits(3).prints("").stderr_is(
            "mcpipe: error: the recording ends before the response to initialize\n\
             hint: make a complete one: run the command with the server as the target, and add --record FILE\n",
        );
    }
}

#[test]
fn a_recording_that_cannot_be_written_stops_the_command() {
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["list", "true", "--record", "missing/run.rec"]).run().exits(3);
    sandbox
        .mcpipe(["list", "./true", "--record", "missing/run.rec"])
        .run()
        .exits(2)
        .stderr_contains("cannot write the recording to 'missing/run.rec'");
    sandbox
        .mcpipe(["list", "./true", "--record", "-"])
        .run()
        .exits(2)
        .stderr_contains("--record needs a file: standard output is for the result");
}
