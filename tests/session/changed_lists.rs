//! Lists that changed since they were cached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox, StdioServer};

/// A server whose tool takes an integer, and a string after its `n`-th change.
fn edited() -> (StdioServer, Arc<AtomicBool>) {
    let edited = Arc::new(AtomicBool::new(false));
    let (now, later) = (edited.clone(), edited.clone());
    let server = Mcp::legacy("2025-11-25")
        .on("tools/list", move |call| {
            let kind = if now.load(Ordering::SeqCst) { "string" } else { "integer" };
            let schema = json!({"type": "object", "properties": {"a": {"type": kind}}});
            call.result(json!({"tools": [{"name": "t", "inputSchema": schema}]}))
        })
        .on("tools/call", move |call| match (later.load(Ordering::SeqCst), call.argument("a")) {
            (true, Value::Number(n)) if n.as_u64() == Some(6) => call.error(-32602, "a: not a string"),
            (true, Value::Number(_)) => {
                call.result(json!({"content": [{"type": "text", "text": "a: not a string"}], "isError": true}))
            }
            (_, a) => call.text(&a.to_string()),
        });
    (server.stdio(), edited)
}

#[test]
fn a_changed_server_is_listed_again() {
    let sandbox = Sandbox::new();
    let (server, edited) = edited();
    sandbox.file("server.py", "one");
    let target = format!("{} server.py", server.target());
    let call = || sandbox.mcpipe(["call", &target, "t", "a=5"]).run();
    call().succeeds().prints("5\n");
    call().succeeds().prints("5\n");
    let lists =
        || server.wait_until_all_ended().iter().flat_map(|one| one.methods()).filter(|one| one == "tools/list").count();
    assert_eq!(lists(), 1, "the second call needs no second list");
    edited.store(true, Ordering::SeqCst);
    std::fs::write(sandbox.work().join("server.py"), "other").unwrap();
    call().succeeds().prints("\"5\"\n");
    assert_eq!(lists(), 2);
}

/// What a cached list rejects is built again by the current one.
#[test]
fn a_pipe_that_an_argument_names_is_read_once() {
    let sandbox = Sandbox::new();
    let (server, edited) = edited();
    let call = |argument| sandbox.mcpipe(["call", &server.target(), "t", argument]);
    call("a=5").run().succeeds();
    edited.store(true, Ordering::SeqCst);
    call("a=@/dev/stdin").stdin("six").run().succeeds().prints("\"six\"\n");
}

#[test]
fn a_cached_list_is_dropped_after_a_failed_call() {
    for (value, code) in [("5", 1), ("6", 1)] {
        let sandbox = Sandbox::new();
        let (server, edited) = edited();
        let argument = format!("a={value}");
        let call = || sandbox.mcpipe(["call", &server.target(), "t", &argument]).run();
        call().succeeds();
        edited.store(true, Ordering::SeqCst);
        let run = call();
        run.exits(code).stderr_contains("the schema of 't' has changed since it was last listed; try again");
        call().succeeds().prints(&format!("\"{value}\"\n"));
        // A failure with another cause does not mention the change.
        edited.store(false, Ordering::SeqCst);
    }
    let sandbox = Sandbox::new();
    let fails = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| call.result(json!({"content": [{"type": "text", "text": "no"}], "isError": true})))
        .stdio();
    for _ in 0..2 {
        let run = sandbox.mcpipe(["call", &fails.target(), "echo", "text=a"]).run();
        run.exits(1).prints("no\n");
        assert_eq!(run.stderr(), "mcpipe: error: the tool reported an error\n");
    }
}

/// MSG-11: the server announces one change before each of its lists is fetched.
#[test]
fn a_change_of_one_list_is_remembered_while_another_is_fetched() {
    for (kind, fetched) in [("tools", 2), ("prompts", 1)] {
        let server = Mcp::legacy("2025-11-25")
            .on("resources/list", move |call| {
                let changed = json!({"jsonrpc": "2.0", "method": format!("notifications/{kind}/list_changed")});
                let mut outs = vec![crate::support::ServerAction::Send(changed)];
                outs.extend(call.result(json!({"resources": []})));
                outs
            })
            .stdio();
        let sandbox = Sandbox::new();
        let count = || {
            let all = server.wait_until_all_ended();
            all.iter().flat_map(|one| one.methods()).filter(|method| method == "tools/list").count()
        };
        let call = || sandbox.mcpipe(["call", &server.target(), "echo", "text=a"]).run();
        call().succeeds();
        assert_eq!(count(), 1);
        // The templates are fetched after the resources.
        sandbox.mcpipe(["read", &server.target()]).run().succeeds();
        call().succeeds();
        assert_eq!(count(), fetched, "{kind}");
    }
}
