//! `--complete`: completions for an argument of a prompt or a template.

use serde_json::json;

use crate::support::{Mcp, Sandbox};

fn completing(mcp: Mcp) -> Mcp {
    mcp.capabilities(json!({"prompts": {}, "resources": {}, "completions": {}})).on("completion/complete", |call| {
        call.result(json!({"completion": {"values": ["one", "two \u{1b}[2J"], "total": 7, "hasMore": true}}))
    })
}

/// The last message sent for this input.
fn sent(mcp: Mcp, words: &[&str]) -> serde_json::Value {
    let server = completing(mcp).stdio();
    let run = Sandbox::new().mcpipe([words[0], &server.target()]).args(words[1..].iter().copied()).run();
    run.exits(0).prints("one\ntwo \u{1b}[2J\n").stderr_contains("more completions exist");
    server.single_process().messages().pop().unwrap()["params"].clone()
}

#[test]
fn a_prompts_argument_with_those_already_given() {
    for mcp in [Mcp::legacy("2025-06-18"), Mcp::modern()] {
        let mut params = sent(mcp, &["prompt", "greet", "tone=kind", "who=x", "--complete", "who=A="]);
        params.as_object_mut().unwrap().remove("_meta");
        let expected = json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "A="},
            "context": {"arguments": {"tone": "kind"}}});
        assert_eq!(params, expected);
    }
}

#[test]
fn a_templates_argument() {
    let params = sent(Mcp::legacy("2025-11-25"), &["read", "demo://{a}/{b}", "a=1", "--complete", "b="]);
    let expected = json!({"ref": {"type": "ref/resource", "uri": "demo://{a}/{b}"}, "argument": {"name": "b", "value": ""},
        "context": {"arguments": {"a": "1"}}});
    assert_eq!(params, expected);
    // Older revisions have no context.
    let params = sent(Mcp::legacy("2025-03-26"), &["read", "demo://{a}/{b}", "a=1", "--complete", "b=x"]);
    assert_eq!(params.get("context"), None);
}

#[test]
fn json_is_the_servers_result() {
    let server = completing(Mcp::modern()).http();
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "demo://{a}", "--complete", "a=", "--json"]).run();
    assert_eq!(run.succeeds().json()["completion"]["total"], 7);
}

#[test]
fn what_cannot_be_completed_is_said_before_anything_is_sent() {
    let server = completing(Mcp::modern()).stdio();
    let run = |words: &[&str]| Sandbox::new().mcpipe(["read", &server.target()]).args(words.iter().copied()).run();
    run(&["demo://{item}", "--complete", "itme=1"])
        .exits(2)
        .stderr_contains("has no argument 'itme'")
        .stderr_contains("did you mean item?");
    run(&["demo://{item}", "--complete", "item"]).exits(2).stderr_contains("expected ARG=PREFIX");
    run(&["demo://{item}", "x", "--complete", "item="]).exits(2).stderr_contains("invalid template argument 'x'");
    run(&["--complete", "item="]).exits(2).stderr_contains("no resource given");
    assert!(server.processes().is_empty());
}

#[test]
fn a_server_that_does_not_complete() {
    // ERA-18: it did not declare it.
    let server = Mcp::legacy("2025-11-25").stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "--complete", "who="]).run();
    run.exits(1).stderr_contains("the server offers no completion");
    assert!(!server.single_process().methods().contains(&"completion/complete".to_owned()));
    let server = Mcp::modern().http();
    let run = Sandbox::new().mcpipe(["prompt", &server.url("/mcp"), "greet", "--complete", "who="]).run();
    run.exits(1).stderr_contains("the server offers no completion");
}
