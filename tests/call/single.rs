//! `call`: arguments typed by the tool's schema, and results for users and programs.

use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox, ServerAction, StdioServer};

/// A server with one tool with this schema that returns its arguments.
fn mirror(properties: Value, required: Value) -> StdioServer {
    let tool = json!({"name": "t", "inputSchema": {"type": "object", "properties": properties, "required": required}});
    let answer = |call: &crate::support::ClientMessage| call.text(&call.params()["arguments"].to_string());
    Mcp::modern().tools(json!([tool])).on("tools/call", answer).stdio()
}

#[test]
fn the_schema_decides_the_type() {
    let server = mirror(
        json!({
            "s": {"type": "string"}, "i": {"type": "integer"}, "n": {"type": "number"}, "b": {"type": "boolean"},
            "z": {"type": "null"}, "a": {"type": "array", "items": {"type": "string"}},
            "o": {"type": "object", "properties": {"k": {"type": "integer"}}}, "d": {"type": "string"}, "raw": {},
        }),
        json!([]),
    );
    let sandbox = Sandbox::new();
    let sent = |words: &[&str]| {
        let run = sandbox.mcpipe(["call", &server.target(), "t"]).args(words).run();
        run.succeeds().stdout().trim_end().to_owned()
    };
    assert_eq!(
        sent(&["s=007", "i=7", "n=1.50", "b=true", "z=null"]),
        r#"{"s":"007","i":7,"n":1.50,"b":true,"z":null}"#
    );
    assert_eq!(sent(&["s=true"]), r#"{"s":"true"}"#);
    assert_eq!(sent(&["a=x", "a=y"]), r#"{"a":["x","y"]}"#);
    assert_eq!(sent(&[r#"a=["p","q"]"#, r#"o={"k":1}"#]), r#"{"a":["p","q"],"o":{"k":1}}"#);
    assert_eq!(sent(&["o.k=1"]), r#"{"o":{"k":1}}"#);
    assert_eq!(sent(&[r#"raw:={"big":12345678901234567890123}"#]), r#"{"raw":{"big":12345678901234567890123}}"#);
    assert_eq!(sent(&["s=@@x"]), r#"{"s":"@x"}"#);
    assert_eq!(sent(&["s="]), r#"{"s":""}"#);
}

#[test]
fn files_and_standard_input_are_arguments() {
    let server = mirror(json!({"s": {"type": "string"}, "o": {"type": "object"}}), json!([]));
    let sandbox = Sandbox::new();
    sandbox.file("text.txt", "line one\nline two\n");
    sandbox.file("o.json", r#"{"k": [1, 2]}"#);
    let run = sandbox.mcpipe(["call", &server.target(), "t", "s=@text.txt", "o:=@o.json"]).run();
    run.succeeds();
    let sent: Value = serde_json::from_str(run.stdout()).unwrap();
    assert_eq!(sent, json!({"s": "line one\nline two\n", "o": {"k": [1, 2]}}));

    let run = sandbox.mcpipe(["call", &server.target(), "t", "s=@-"]).stdin("from outside").run();
    run.succeeds().prints("{\"s\":\"from outside\"}\n");

    let run =
        sandbox.mcpipe(["call", &server.target(), "t", "--args", "-", "s=over"]).stdin(r#"{"s":"under","o":{}}"#).run();
    assert_eq!(serde_json::from_str::<Value>(run.succeeds().stdout()).unwrap(), json!({"s": "over", "o": {}}));

    let missing = sandbox.mcpipe(["call", &server.target(), "t", "s=@nowhere.txt"]).run();
    missing.exits(2).stderr_contains("nowhere.txt");
}

#[test]
fn everything_wrong_is_said_at_once_and_nothing_is_sent() {
    let server = mirror(
        json!({"title": {"type": "string"}, "count": {"type": "integer"}, "kind": {"enum": ["bug", "task"]}}),
        json!(["title"]),
    );
    let words = ["call", &server.target(), "t", "titel=x", "count=many", "kind=bugg"];
    let run = Sandbox::new().mcpipe(words).run();
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: t: invalid arguments
          titel: no such parameter; did you mean title?
          count: expected integer, got 'many'
          title: required value is missing
          kind: expected one of "bug", "task", got 'bugg'; did you mean bug?
        hint: show its parameters: mcpipe list 'SERVER' t
    "#]]
    .assert_eq(&run.snapshot_with(&[(&server.target(), "SERVER")]));
    assert!(!server.single_process().methods().contains(&"tools/call".to_owned()), "nothing was sent");

    let run =
        Sandbox::new().mcpipe(["call", &server.target(), "t", "--no-validate", "--args", r#"{"count":"many"}"#]).run();
    run.succeeds().prints("{\"count\":\"many\"}\n");
    let methods = server.processes().pop().unwrap().methods();
    assert!(!methods.contains(&"tools/list".to_owned()), "an object is sent as it is: {methods:?}");
}

#[test]
fn the_call_form_is_one_word() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "add(a: 2, b: 40)"]).run();
    run.succeeds().prints("42\n");
}

#[test]
fn dry_run_prints_the_request_and_does_not_call() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "add", "a=1", "b=2", "--dry-run"]).run();
    let json = run.exits(0).json();
    assert_eq!(json["params"], json!({"name": "add", "arguments": {"a": 1, "b": 2}}), "{run:?}");
    let run =
        Sandbox::new().mcpipe(["call", &server.target(), "add", "a=1", "b=2", "--dry-run", "--meta", "x=y"]).run();
    assert_eq!(run.exits(0).json()["params"]["_meta"], json!({"x": "y"}), "{run:?}");
    assert!(server.processes().iter().all(|seen| !seen.methods().contains(&"tools/call".to_owned())));
}

#[test]
fn results_for_people() {
    let server = Mcp::modern()
        .on("tools/call", |call| {
            call.result(json!({"content": [
                {"type": "text", "text": "two\nlines"},
                {"type": "image", "mimeType": "image/png", "data": crate::support::mcp::PIXEL},
                {"type": "audio", "mimeType": "audio/wav", "data": "AAAA"},
                {"type": "resource_link", "uri": "demo://hello", "name": "hello"},
                {"type": "resource", "resource": {"uri": "demo://x", "text": "embedded"}},
                {"type": "hologram", "shape": "cube"},
            ]}))
        })
        .stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "fail"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        two
        lines
        [image/png, 70 B; --save DIR writes it]
        [audio/wav, 3 B; --save DIR writes it]
        [link hello demo://hello]
        embedded
        [unknown content type 'hologram'; --json shows it]
    "#]]
    .assert_eq(&run.snapshot());

    let server = Mcp::modern()
        .on("tools/call", |call| call.result(json!({"content": [], "structuredContent": {"b": [1, 2], "a": null}})))
        .stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "fail"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        {
          "b": [
            1,
            2
          ],
          "a": null
        }
    "#]]
    .assert_eq(&run.snapshot());
}

#[test]
fn results_for_programs_are_what_the_server_sent() {
    let raw = r#"{"resultType":"complete","content":[{"type":"text","text":"x","odd":1e400}],"structuredContent":[1,2],"zeta":null}"#;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":ID,"result":{raw}}}"#);
    let server = Mcp::modern()
        .on("tools/call", move |call| vec![ServerAction::RawText(answer.replace("ID", &call.id().to_string()))])
        .stdio();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.target(), "fail", "--json"]).run().succeeds().prints(&format!("{raw}\n"));
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--structured"]).run();
    assert_eq!(run.succeeds().json(), json!([1, 2]));
}

#[test]
fn structured_takes_json_text_or_is_a_failure() {
    let server = Mcp::modern().on("tools/call", |call| call.text(r#"{"answer":42}"#)).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "fail", "--structured"]).run();
    assert_eq!(run.succeeds().json(), json!({"answer": 42}));

    let server = Mcp::modern().on("tools/call", |call| call.text("just words")).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "fail", "--structured"]).run();
    run.exits(7).prints("");
}

#[test]
fn save_writes_what_is_binary() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "image", "--save", "pictures"]).run();
    let mut files = std::fs::read_dir(sandbox.work().join("pictures")).unwrap();
    let file = files.next().unwrap().unwrap().path();
    assert!(std::fs::read(&file).unwrap().starts_with(b"\x89PNG"));
    assert!(files.next().is_none());
    expect![[r#"
        exit: 0
        --- stdout
        a pixel
        pictures/image-1.png
    "#]]
    .assert_eq(&run.snapshot());
}

#[test]
fn a_failing_tool_prints_its_content_and_ends_with_1() {
    for server in [Mcp::legacy("2024-11-05"), Mcp::modern()] {
        let server = server.stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "fail"]).run();
        run.exits(1).prints("it is broken\n");
    }
}

#[test]
fn an_unknown_tool_is_suggested_never_run() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "ech", "text=x"]).run();
    run.exits(1).prints("").stderr_contains("ech").stderr_contains("echo");
    assert!(!server.single_process().methods().contains(&"tools/call".to_owned()));
}

#[test]
fn elicitation_is_answered_as_told() {
    let ask = |call: &crate::support::ClientMessage| {
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string", "default": "nobody"}, "age": {"type": "integer", "default": 30}}});
        let request = json!({"jsonrpc": "2.0", "id": "ask-1", "method": "elicitation/create",
            "params": {"message": "Who are you?", "requestedSchema": schema}});
        let id = call.id();
        let then = move |answer: Value| {
            let text = answer["result"].to_string();
            vec![ServerAction::Send(
                json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}),
            )]
        };
        vec![ServerAction::Request(request, Box::new(then))]
    };
    let said = |how: &str| {
        let server = Mcp::legacy("2025-11-25").on("tools/call", ask).stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "fail", "--elicit", how]).run();
        run.exits(if how == "decline" { 8 } else { 0 }).stdout().trim_end().to_owned()
    };
    assert_eq!(said("accept"), r#"{"action":"accept","content":{"name":"nobody","age":30}}"#);
    assert_eq!(said(r#"{"name":"Ada"}"#), r#"{"action":"accept","content":{"name":"Ada","age":30}}"#);
    assert_eq!(said("decline"), r#"{"action":"decline"}"#);
}

#[test]
fn input_required_is_answered_and_the_state_echoed() {
    // In the modern era the request is part of a result; the retry has a new id and the unchanged state.
    let server = Mcp::modern().on("tools/call", |call| match call.params().get("inputResponses") {
        None => call.result(json!({
            "resultType": "input_required", "requestState": "opaque \u{e4}\n\"state\"",
            "inputRequests": {"who": {"method": "elicitation/create", "params": {"message": "Who?",
                "requestedSchema": {"type": "object", "properties": {"name": {"type": "string", "default": "nobody"}}}}}},
        })),
        Some(responses) => {
            assert_eq!(call.params()["requestState"], "opaque \u{e4}\n\"state\"");
            call.text(&responses.to_string())
        }
    });
    let server = server.stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "fail", "--elicit", "accept"]).run();
    run.exits(0).prints("{\"who\":{\"action\":\"accept\",\"content\":{\"name\":\"nobody\"}}}\n");
    let calls: Vec<Value> =
        server.single_process().messages().into_iter().filter(|message| message["method"] == "tools/call").collect();
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0]["id"], calls[1]["id"]);
}

#[test]
fn progress_starts_the_clock_again() {
    let slow = |call: &crate::support::ClientMessage| {
        let mut outs = Vec::new();
        for step in 1..=6 {
            outs.extend(call.progress(step, 6, "on it"));
            outs.push(ServerAction::Pause(Duration::from_millis(400)));
        }
        outs.extend(call.text("done"));
        outs
    };
    for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = server.on("tools/call", slow).stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "fail", "--timeout", "1500ms"]).run();
        run.exits(0).prints("done\n");
    }
    let server = Mcp::modern().on("tools/call", slow).http();
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "fail", "--timeout", "1500ms"]).run();
    run.exits(0).prints("done\n");
}

/// Tools of FastMCP that ask as in older revisions fail in the newest one.
#[test]
fn a_tool_that_can_ask_only_in_an_older_revision_gets_the_option() {
    let text = "elicitation via server-initiated requests is unavailable on 2026-07-28 connections.";
    let result = json!({"isError": true, "content": [{"type": "text", "text": text}]});
    let server = Mcp::modern().on("tools/call", move |call| call.result(result.clone())).stdio();
    let sandbox = Sandbox::new();
    let call = |words: &[&str]| sandbox.mcpipe(["call", &server.target(), "echo", "text=x"]).args(words).run();
    let hint = "hint: the server can ask only in an older revision: add --protocol legacy\n";
    call(&[]).exits(1).stderr_contains(hint);
    call(&["--protocol", "2026-07-28"]).exits(1).hides("--protocol legacy");
}
