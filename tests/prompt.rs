//! `prompt`: messages for people and for programs, and completions.

use expect_test::expect;
use serde_json::json;

use crate::support::{Mcp, Sandbox};

#[test]
fn messages_with_their_roles() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "who=Ada"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        [user]
        Say hello to Ada

        [assistant]
        Hello Ada
    "#]]
    .assert_eq(&run.snapshot());
}

#[test]
fn arguments_are_always_strings() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "who=007", "--json"]).run();
    assert_eq!(run.succeeds().json()["messages"][1]["content"]["text"], "Hello 007");
    let sent = server.only().messages().pop().unwrap();
    assert_eq!(sent["params"]["arguments"], json!({"who": "007"}));
}

#[test]
fn without_a_name_it_lists() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target()]).run();
    expect![[r#"
        exit: 0
        --- stdout
        greet\tGreets someone\twho, tone?
    "#]]
    .assert_eq(&run.snapshot());
}

#[test]
fn an_unknown_prompt_fails_whoever_notices() {
    let server = Mcp::modern().stdio();
    Sandbox::new().mcpipe(["prompt", &server.target(), "great", "who=Ada"]).run().exits(1).says("great");
}

#[test]
fn completions_come_from_the_server() {
    let capabilities = json!({"prompts": {}, "completions": {}});
    let server = Mcp::legacy("2025-06-18").capabilities(capabilities).on("completion/complete", |call| {
        assert_eq!(call.params()["ref"], json!({"type": "ref/prompt", "name": "greet"}));
        assert_eq!(call.params()["argument"], json!({"name": "who", "value": "A"}));
        call.result(json!({"completion": {"values": ["Ada", "Alan"], "total": 2, "hasMore": false}}))
    });
    let server = server.stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "--complete", "who=A"]).run();
    run.succeeds().prints("Ada\nAlan\n");
}

#[test]
fn completion_needs_a_prompt() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "--complete", "who=A"]).run();
    run.exits(2).prints("").says("mcpipe: error: --complete needs a prompt\n").says("NAME --complete");
    assert!(server.seen().is_empty(), "nobody is asked");
}
