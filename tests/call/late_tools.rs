//! Tools that a server registers after it has started, with and without a notification.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{ClientMessage, Mcp, Sandbox, ServerAction};

fn tools(names: &[&str]) -> Value {
    let tool = |name: &&str| json!({"name": name, "inputSchema": {"type": "object"}});
    json!({"tools": names.iter().map(tool).collect::<Vec<_>>()})
}

/// A server that lists `late` from its n-th list on.
fn late_from(n: usize) -> Mcp {
    let listed = move |call: &ClientMessage| {
        let names: &[&str] = if call.n >= n { &["early", "late"] } else { &["early"] };
        call.result(tools(names))
    };
    Mcp::legacy("2025-06-18").on("tools/list", listed).on("tools/call", |call| call.text(call.tool()))
}

fn changed() -> ServerAction {
    ServerAction::Send(json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
}

#[test]
fn a_tool_that_appears_within_the_wait_is_called() {
    let server = late_from(1).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "late", "--wait", "30s"]).run();
    run.exits(0).prints("late\n").stderr_is("");
    let socket = late_from(2).websocket();
    let run = Sandbox::new().mcpipe(["call", &socket.url("/"), "late", "--wait", "30s"]).run();
    run.exits(0).prints("late\n").stderr_is("");
}

#[test]
fn an_announced_tool_is_called_at_once() {
    let listed = |call: &ClientMessage| {
        let names: &[&str] = if call.n > 0 { &["late"] } else { &[] };
        let mut actions = call.result(tools(names));
        if call.n == 0 {
            actions.extend([ServerAction::Pause(Duration::from_millis(300)), changed()]);
        }
        actions
    };
    let server = late_from(0).on("tools/list", listed).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "late", "--wait", "30s"]).run();
    run.exits(0).prints("late\n").stderr_is("");
}

#[test]
fn a_tool_that_does_not_appear_is_reported_when_the_wait_ends() {
    let server = late_from(usize::MAX).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "late", "--wait", "200ms"]).run();
    run.exits(1).prints("").stderr_contains("the server has no tool 'late'");
    // Without --wait, a list of this run is not fetched again.
    let server = late_from(1).stdio();
    Sandbox::new().mcpipe(["call", &server.target(), "late"]).run().exits(1);
    assert_eq!(server.single_process().methods().iter().filter(|method| *method == "tools/list").count(), 1);
}

#[test]
fn a_remembered_list_is_fetched_again_for_an_unknown_tool() {
    for words in [&["call", "srv", "late"][..], &["call", "srv", "--batch", "-"]] {
        let (sandbox, server) = (Sandbox::new(), late_from(1).stdio());
        sandbox.config(&format!(
            "[servers.srv]\ncommand = {:?}\nargs = [{:?}]\n",
            server.words()[0],
            server.words()[1]
        ));
        sandbox.mcpipe(["list", "srv"]).run().exits(0);
        let run = sandbox.mcpipe(words).stdin("{\"tool\":\"late\"}\n").run();
        run.exits(0).stdout_contains("late");
    }
}

#[test]
fn a_batch_finds_a_tool_that_was_announced_since() {
    let announce = |call: &ClientMessage| {
        let mut actions = vec![changed()];
        actions.extend(call.text(call.tool()));
        actions
    };
    let server = late_from(1).on("tools/call", announce).stdio();
    let lines = "{\"tool\":\"early\"}\n{\"tool\":\"late\"}\n";
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jobs", "1"]).stdin(lines).run();
    run.exits(0).stdout_contains("\"text\":\"late\"");
}

#[test]
fn a_batch_fetches_the_list_again_for_a_tool_that_it_does_not_know() {
    let lists = |server: &crate::support::StdioServer| {
        server.single_process().methods().iter().filter(|method| *method == "tools/list").count()
    };
    let batch = |server: &crate::support::StdioServer, tools: &[&str]| {
        let lines: String = tools.iter().map(|tool| format!("{{\"tool\":\"{tool}\"}}\n")).collect();
        Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jobs", "1"]).stdin(lines).run()
    };
    let server = late_from(1).stdio();
    batch(&server, &["early", "late", "late"]).exits(0).stdout_contains("\"text\":\"late\"");
    assert_eq!(lists(&server), 2);

    // A list that was fetched for this very call is current.
    let server = late_from(1).stdio();
    batch(&server, &["late"]).exits(1).stdout_contains("the server has no tool 'late'");
    assert_eq!(lists(&server), 1);
    let server = late_from(usize::MAX).stdio();
    batch(&server, &["early", "late", "early"]).exits(1).stdout_contains("the server has no tool 'late'");
    assert_eq!(lists(&server), 2);
}
