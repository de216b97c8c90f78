//! `--read-only` and `read_only`: a tool that does not declare itself read-only is not called, whatever calls it.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox, StdioServer};

fn calls(server: &StdioServer) -> usize {
    server.processes().iter().flat_map(|seen| seen.methods()).filter(|method| method == "tools/call").count()
}

fn configured(server: &StdioServer, sandbox: &Sandbox, more: &str) {
    let words = server.words();
    sandbox.config(&format!("[servers.s]\ncommand = '{}'\nargs = ['{}']\n{more}\n", words[0], words[1]));
}

#[test]
fn only_tools_that_declare_themselves_read_only_are_called() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    configured(&server, &sandbox, "");
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: 'add' was not called
          the tool does not declare itself read-only (readOnlyHint)
        hint: omit --read-only
    "#]]
    .assert_eq(&sandbox.mcpipe(["call", "s", "add", "a=1", "b=2", "--read-only"]).run().snapshot());
    sandbox.mcpipe(["call", "s", "add", "--no-validate", "--read-only"]).run().exits(8);
    sandbox.mcpipe(["call", "s", "unknown", "--no-validate", "--read-only"]).run().exits(8);
    sandbox.mcpipe(["call", "s", "add", "a=1", "b=2", "--read-only", "--dry-run"]).run().exits(8);
    sandbox.mcpipe(["call", "s", "add", "a=1", "b=2", "--read-only", "--repeat", "2"]).run().exits(8);
    assert_eq!(calls(&server), 0);
    sandbox.mcpipe(["call", "s", "echo", "text=hi", "--read-only"]).run().succeeds().prints("hi\n");
}

#[test]
fn the_rule_of_the_configuration_holds_for_everything_that_calls_tools() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    configured(&server, &sandbox, "read_only = true");
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: 'fail' was not called
          the tool does not declare itself read-only (readOnlyHint)
        hint: show read_only: mcpipe config get s
    "#]]
    .assert_eq(&sandbox.mcpipe(["call", "s", "fail"]).run().snapshot());
    let batch = sandbox.mcpipe(["call", "s", "--batch", "-"]).stdin(r#"{"tool":"fail"}"#).run();
    let line: Value = serde_json::from_str(batch.exits(1).stdout()).unwrap();
    assert_eq!(line["error"]["class"], "refused");
    let reply = json!({"content": [{"type": "tool_use", "id": "1", "name": "fail", "input": {}}]});
    sandbox.mcpipe(["call", "s", "--tool-use", "-"]).stdin(reply.to_string()).run().exits(1);
    sandbox.mcpipe(["request", "s", "tools/call", r#"{"name":"fail"}"#]).run().exits(8);
    let suite = [
        "target = 's'",
        "[[test]]\ncall = 'fail'\nfails = 'refused'",
        "[[test]]\nrequest = 'tools/call'\nargs = { name = 'fail' }\nfails = 'refused'",
    ];
    sandbox.file("t.toml", suite.join("\n"));
    sandbox.mcpipe(["test", "t.toml", "--effects"]).run().exits(0).stderr_is("2 ok\n");
    assert_eq!(calls(&server), 0);
}

#[test]
fn a_tool_that_became_read_only_is_called() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/list", |call| {
            let hints = json!({"readOnlyHint": call.n > 0});
            call.result(json!({"tools": [{"name": "t", "inputSchema": {"type": "object"}, "annotations": hints}]}))
        })
        .on("tools/call", |call| call.text("done"))
        .stdio();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.target(), "t", "--read-only"]).run().exits(8);
    sandbox.mcpipe(["call", &server.target(), "t", "--read-only"]).run().succeeds().prints("done\n");
}
