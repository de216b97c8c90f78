//! `prompt`: messages for users and for programs, and completions.

use std::collections::VecDeque;
use std::sync::Mutex;

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{ClientMessage, Mcp, Sandbox, StdioServer};

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
    let sent = server.single_process().messages().pop().unwrap();
    assert_eq!(sent["params"]["arguments"], json!({"who": "007"}));
}

/// Servers of the TypeScript SDK refuse a request without this member for a prompt whose schema is an object.
#[test]
fn arguments_are_sent_even_if_there_are_none() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let list = |call: &ClientMessage| call.result(json!({"prompts": [{"name": "greet"}]}));
        let server =
            mcp.on("prompts/list", list).on("prompts/get", |call| call.result(json!({"messages": []}))).stdio();
        Sandbox::new().mcpipe(["prompt", &server.target(), "greet"]).run().succeeds();
        let sent = server.single_process().messages().pop().unwrap();
        assert_eq!(sent["params"]["arguments"], json!({}));
    }
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
    Sandbox::new().mcpipe(["prompt", &server.target(), "great", "who=Ada"]).run().exits(1).stderr_contains("great");
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
    run.exits(2)
        .prints("")
        .stderr_contains("mcpipe: error: --complete needs a prompt\n")
        .stderr_contains(&format!("\nhint: name one of its prompts: mcpipe prompt '{}'\n", server.target()));
    assert!(server.processes().is_empty(), "nothing is started");
}

/// A server whose prompt has other arguments each time it is listed; the list is cached.
fn changing(arguments: &[Value]) -> StdioServer {
    let lists = Mutex::new(VecDeque::from(arguments.to_vec()));
    let list = move |call: &ClientMessage| {
        let mut lists = lists.lock().unwrap();
        let prompt = json!({"name": "greet", "arguments": lists.pop_front().expect("one more list than was foreseen")});
        call.result(json!({"prompts": [prompt], "ttlMs": 600_000, "cacheScope": "private"}))
    };
    let get = |call: &ClientMessage| {
        let text = call.params()["arguments"].to_string();
        call.result(json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}))
    };
    Mcp::modern().on("prompts/list", list).on("prompts/get", get).stdio()
}

fn asked(server: &StdioServer, method: &str) -> usize {
    server.processes().iter().flat_map(|seen| seen.methods()).filter(|one| one == method).count()
}

#[test]
fn required_arguments_are_checked_before_anything_is_requested() {
    let server = changing(&[json!([{"name": "who", "required": true}, {"name": "tone"}])]);
    let (sandbox, target) = (Sandbox::new(), server.target());
    let run = sandbox.mcpipe(["prompt", &target, "greet", "tune=kind"]).run();
    run.exits(2).prints("");
    assert_eq!(
        run.stderr(),
        format!(
            "mcpipe: error: greet: invalid arguments\n  who: required value is missing\n  \
             tune: no such parameter; did you mean tone?\nhint: show its arguments: mcpipe list '{target}' --prompts\n"
        )
    );
    assert_eq!((asked(&server, "prompts/list"), asked(&server, "prompts/get")), (1, 0));
}

#[test]
fn all_words_that_are_wrong_are_reported_together() {
    let arguments = json!([{"name": "who", "required": true}, {"name": "tone", "required": true}]);
    let server = changing(&[arguments]);
    let (sandbox, target) = (Sandbox::new(), server.target());
    sandbox.file("latin.txt", [0xe9]);
    let words =
        ["prompt", &target, "greet", "a=@none.txt", "b=@latin.txt", "c:=5", "password:=5", "d=1", "d=2", "Ada", "more"];
    let run = sandbox.mcpipe(words).run();
    run.exits(2).prints("");
    assert_eq!(
        run.stderr(),
        format!(
            "mcpipe: error: greet: invalid arguments\n  \
             a: cannot read none.txt: No such file or directory (os error 2); to pass the text itself: 'a=@@none.txt'\n  \
             b: latin.txt is not UTF-8 text\n  \
             c: a prompt's arguments are strings, not JSON; write it as c=5\n  \
             password: a prompt's arguments are strings, not JSON; write it as password=…\n  \
             d: given twice\n  \
             'Ada' is not an argument; did you mean who=Ada?\n  \
             'more' is not an argument; did you mean tone=more?\n  \
             a: no such parameter\n  b: no such parameter\n  c: no such parameter\n  \
             password: no such parameter\n  d: no such parameter\n\
             hint: show its arguments: mcpipe list '{target}' --prompts\n"
        )
    );
    assert_eq!((asked(&server, "prompts/list"), asked(&server, "prompts/get")), (1, 0));
}

#[test]
fn undeclared_arguments_are_sent_with_a_warning() {
    let server = changing(&[json!([{"name": "who", "required": true}, {"name": "tone"}])]);
    let (sandbox, target) = (Sandbox::new(), server.target());
    let run = sandbox.mcpipe(["prompt", &target, "greet", "who=Ada", "tune=kind"]).run();
    run.exits(0).prints("[user]\n{\"who\":\"Ada\",\"tune\":\"kind\"}\n");
    assert_eq!(
        run.stderr(),
        "mcpipe: warning: greet: tune: no such parameter; did you mean tone? (it is sent all the same)\n"
    );
    let run = sandbox.mcpipe(["prompt", &target, "greet", "who=Ada", "tone=x"]).run();
    run.succeeds().prints("[user]\n{\"who\":\"Ada\",\"tone\":\"x\"}\n");
    assert_eq!((run.stderr(), asked(&server, "prompts/list")), ("", 1), "the list is cached");
}

#[test]
fn if_the_cached_list_rejects_the_arguments_the_current_one_decides() {
    let (before, now) = (json!([{"name": "who", "required": true}]), json!([{"name": "who"}]));
    let server = changing(&[before, now]);
    let (sandbox, target) = (Sandbox::new(), server.target());
    sandbox.mcpipe(["prompt", &target]).run().succeeds();
    sandbox.mcpipe(["prompt", &target, "greet"]).run().succeeds().prints("[user]\n{}\n");
    assert_eq!(asked(&server, "prompts/list"), 2);
}

#[test]
fn a_prompt_without_declared_arguments_or_without_a_list_is_requested() {
    let server = changing(&[Value::Null]);
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "any=1"]).run();
    run.succeeds().prints("[user]\n{\"any\":\"1\"}\n");
    let server = Mcp::modern().on("prompts/list", |call| call.error(-32603, "broken")).stdio();
    Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "who=Ada"]).run().succeeds();
}
