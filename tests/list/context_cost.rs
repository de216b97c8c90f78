//! `list --brief`, `--tokens` and `--budget`: the tools in few words, and what they cost in a model's context.

use expect_test::expect;
use serde_json::json;

use crate::support::{Mcp, Sandbox};

#[test]
fn a_tool_in_brief_is_its_signature() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--brief"]).run();
    run.succeeds().prints("echo(text)\nadd(a: integer, b: integer)\nfail()\nimage()\nslow(steps?: integer)\n");
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--brief", "--search", "adds", "--json"]).run();
    run.succeeds().prints("{\"tools\":[\"add(a: integer, b: integer)\"]}\n");
}

#[test]
fn tokens_are_estimated_for_each_tool_and_in_all() {
    let server = Mcp::modern()
        .tools(json!([{"name": "a", "inputSchema": {"type": "object"}}, {"name": "b", "description": "bé", "inputSchema": {}}]))
        .stdio();
    let sandbox = Sandbox::new();
    let bytes = |tool: serde_json::Value| tool.to_string().len();
    let a = bytes(json!({"name": "a", "description": "", "input_schema": {"type": "object"}}));
    let b = bytes(json!({"name": "b", "description": "bé", "input_schema": {}}));
    let (a4, b4) = (a.div_ceil(4), b.div_ceil(4));
    let run = sandbox.mcpipe(["list", &server.target(), "--tokens"]).run();
    run.succeeds().prints(&format!("a\t{a4}\t{a}\nb\t{b4}\t{b}\ntotal\t{}\t{}\n", a4 + b4, a + b));
    let run = sandbox.mcpipe(["list", &server.target(), "--tokens", "--json"]).run();
    let each = json!([{"name": "a", "bytes": a, "tokens": a4}, {"name": "b", "bytes": b, "tokens": b4}]);
    assert_eq!(run.succeeds().json(), json!({"tools": each, "bytes": a + b, "tokens": a4 + b4}));
}

#[test]
fn a_budget_that_is_exceeded_is_a_mismatch() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["list", &server.target(), "--budget", "10000"]).run().succeeds();
    let run = sandbox.mcpipe(["list", &server.target(), "--budget", "10", "--quiet"]).run();
    run.exits(9).stdout_contains("total").stderr_contains("tokens, more than 10");
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: --tokens needs a target
        hint: name a target; list the configured servers: mcpipe config list
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "--tokens"]).run().snapshot());
}
