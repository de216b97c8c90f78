//! Server requests answered by options: the exact bytes in both eras, and every refusal.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::support::{Mcp, Run, Sandbox, ServerAction, StdioServer};

/// Tools that need no arguments.
pub fn one_tool() -> Value {
    json!([{"name": "ask", "inputSchema": {"type": "object"}}])
}

/// A form with every kind of field with a default, and one field without.
pub fn form() -> Value {
    json!({"mode": "form", "message": "Who are you?", "requestedSchema": {"type": "object",
        "properties": {
            "name": {"type": "string", "title": "Your name", "minLength": 2},
            "age": {"type": "integer", "minimum": 0, "default": 42},
            "news": {"type": "boolean", "default": true},
            "colour": {"type": "string", "oneOf": [{"const": "#F00", "title": "Red"}, {"const": "#0F0", "title": "Green"}], "default": "#0F0"},
        },
        "required": ["name"]}})
}

/// A legacy server that sends this request during a call, and returns the answer.
pub fn legacy(revision: &'static str, method: &'static str, params: Value) -> Mcp {
    Mcp::legacy(revision).tools(one_tool()).on("tools/call", move |call| {
        let id = call.id();
        let request = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params});
        let show = move |answer: Value| {
            let answer = answer.get("result").or_else(|| answer.get("error")).cloned().unwrap_or_default();
            let failed = answer.get("action").is_some_and(|action| action != "accept") || answer.get("code").is_some();
            let result = json!({"content": [{"type": "text", "text": answer.to_string()}], "isError": failed});
            vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result}))]
        };
        vec![ServerAction::Request(request, Box::new(show))]
    })
}

/// A modern server that sends this request before it answers a call, and returns what the second request contains.
pub fn modern(requests: Value) -> Mcp {
    Mcp::modern().tools(one_tool()).on("tools/call", move |call| match call.params().get("inputResponses") {
        None => call.result(json!({"resultType": "input_required", "inputRequests": requests,
            "requestState": "s/é \"1\""})),
        Some(answers) => call.text(&answers.to_string()),
    })
}

fn elicitation(params: &Value) -> Value {
    json!({"who": {"method": "elicitation/create", "params": params}})
}

fn call(server: &StdioServer, words: &[&str]) -> Run {
    Sandbox::new().mcpipe(["call", &server.target(), "ask"]).args(words).run()
}

fn snapshot(run: &Run, server: &StdioServer, expected: Expect) {
    expected.assert_eq(&run.snapshot_with(&[(&server.target(), "SERVER")]));
}

/// The declared capabilities, in the handshake or in the last request.
fn declared(server: &StdioServer) -> Value {
    let messages = server.single_process().messages();
    let hello = messages.iter().find(|message| message["method"] == "initialize");
    match hello {
        Some(hello) => hello["params"]["capabilities"].clone(),
        None => messages.last().unwrap()["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"].clone(),
    }
}

/// The line with the client's answer.
fn answer(server: &StdioServer) -> String {
    let text = server.single_process().text().to_owned();
    text.lines().find(|line| line.contains("\"id\":\"q\"")).expect("the client answered").to_owned()
}

#[test]
fn eli_01_capabilities_are_declared_as_each_revision_names_them() {
    let all = ["--elicit", "accept", "--root", ".", "--sampling-command", "true"];
    for (revision, elicitation) in [
        ("2024-11-05", None),
        ("2025-03-26", None),
        ("2025-06-18", Some(json!({}))),
        ("2025-11-25", Some(json!({"form": {}}))),
        ("2026-07-28", Some(json!({"form": {}}))),
    ] {
        let server = || match revision {
            "2026-07-28" => Mcp::modern().stdio(),
            revision => Mcp::legacy(revision).stdio(),
        };
        let given = server();
        let call = |server: &StdioServer| {
            ["call".to_owned(), server.target(), "image".into(), "--protocol".into(), revision.into()]
        };
        Sandbox::new().mcpipe(call(&given)).args(all).run().exits(0);
        let mut expected = json!({"roots": {}, "sampling": {}});
        if let Some(elicitation) = &elicitation {
            expected["elicitation"] = elicitation.clone();
        }
        if revision == "2026-07-28" {
            expected["extensions"] = json!({"io.modelcontextprotocol/tasks": {}});
        }
        assert_eq!(declared(&given), expected, "{revision}");
        // Without a terminal and options nothing can be answered, so nothing is declared.
        let plain = server();
        Sandbox::new().mcpipe(call(&plain)).run().exits(0);
        let mut nothing = declared(&plain);
        nothing.as_object_mut().unwrap().remove("extensions");
        assert_eq!(nothing, json!({}), "{revision}");
        // Lists do not depend on what can be answered: everything is declared.
        let listed = server();
        Sandbox::new().mcpipe(["list", &listed.target(), "--protocol", revision]).run().exits(0);
        let mut everything = json!({"roots": {}, "sampling": {}});
        if let Some(mut elicitation) = elicitation {
            if elicitation.get("form").is_some() {
                elicitation["url"] = json!({});
            }
            everything["elicitation"] = elicitation;
        }
        assert_eq!(declared(&listed), everything, "{revision}");
    }
}

#[test]
fn eli_05_accept_sends_the_defaults_and_values_lie_over_them() {
    let server = legacy("2025-11-25", "elicitation/create", form()).stdio();
    let run = call(&server, &["--elicit", r#"{"age": 7, "name": "Ada"}"#]);
    run.succeeds();
    expect![[r##"{"jsonrpc":"2.0","id":"q","result":{"action":"accept","content":{"age":7,"news":true,"colour":"#0F0","name":"Ada"}}}"##]]
        .assert_eq(&answer(&server));
}

#[test]
fn values_come_from_a_file_or_standard_input() {
    let server = || legacy("2025-06-18", "elicitation/create", form()).stdio();
    let (from_file, from_stdin) = (server(), server());
    let sandbox = Sandbox::new();
    sandbox.file("answers.json", r#"{"name": "Ada"}"#);
    let words = |server: &StdioServer, how: &str| {
        ["call".to_owned(), server.target(), "ask".into(), "--elicit".into(), how.into()]
    };
    sandbox.mcpipe(words(&from_file, "@answers.json")).run().succeeds();
    sandbox.mcpipe(words(&from_stdin, "@-")).stdin(r#"{"name": "Ada"}"#).run().succeeds();
    assert_eq!(answer(&from_file), answer(&from_stdin));
    assert!(answer(&from_file).contains(r#""name":"Ada""#));
    sandbox.file("bad.json", "[1]");
    let run = sandbox.mcpipe(words(&from_file, "@bad.json")).run();
    run.exits(2).stderr_contains("--elicit @bad.json cannot be used").stderr_contains("not a JSON object");
    sandbox.mcpipe(words(&from_file, "@none.json")).run().exits(2).stderr_contains("No such file");
    assert_eq!(from_file.processes().len(), 1, "nothing was started for answers that cannot be used");
}

#[test]
fn what_was_declined_is_why_it_failed() {
    let server = legacy("2025-11-25", "elicitation/create", form()).stdio();
    let run = call(&server, &["--elicit", "decline"]);
    snapshot(
        &run,
        &server,
        expect![[r#"
            exit: 8
            --- stdout
            {"action":"decline"}
            --- stderr
            mcpipe: error: the server's request for input was declined
        "#]],
    );
}

#[test]
fn an_answer_that_does_not_fit_the_form_is_not_sent() {
    let server = legacy("2025-11-25", "elicitation/create", form()).stdio();
    let run = call(&server, &["--elicit", r#"{"age": -1, "nam": "Ada"}"#]);
    snapshot(
        &run,
        &server,
        expect![[r#"
            exit: 8
            --- stdout
            {"action":"cancel"}
            --- stderr
            mcpipe: warning: --elicit: SERVER does not ask for 'nam'; did you mean name?
            mcpipe: error: cannot answer the server's request for input with --elicit
              SERVER asked: Who are you?
              name: required value is missing
              age: must be at least 0, got -1
            hint: correct the values: --elicit '{"age":0,"name":"…"}'
        "#]],
    );
    // The values that were right are in the hint as well, except for what may be a secret; an unknown one may be for
    // another form.
    call(&server, &["--elicit", r#"{"name": "Ada", "age": -1, "pin": 1234, "x": true}"#])
        .exits(8)
        .stderr_contains(r#"hint: correct the values: --elicit '{"name":"Ada","age":0,"pin":"…","x":true}'"#);
    // What is in a file is not shown.
    let sandbox = Sandbox::new();
    sandbox.file("answers.json", r#"{"name": "Ada", "age": -1}"#);
    let run = sandbox.mcpipe(["call", &server.target(), "ask", "--elicit", "@answers.json"]).run();
    run.exits(8).stderr_contains("hint: correct these values in 'answers.json': {\"age\":0}\n");
    run.stderr_contains("  age: must be at least 0\n");
    // Nor the value of what may be a secret.
    let pin = json!({"message": "PIN?", "requestedSchema":
        {"type": "object", "properties": {"pin": {"type": "string", "minLength": 4}}}});
    let server = modern(elicitation(&pin)).stdio();
    let run = call(&server, &["--elicit", r#"{"pin": "s3c"}"#]);
    run.exits(8).stderr_contains("  pin: must have at least 4 characters\n").hides("s3c");
    // In the modern era there is nothing to send.
    let server = modern(elicitation(&form())).stdio();
    call(&server, &["--elicit", "accept"]).exits(8).stderr_contains("name: required");
    assert_eq!(server.single_process().methods().iter().filter(|method| *method == "tools/call").count(), 1);
}

#[test]
fn eli_02_undeclared_requests_are_refused_in_the_protocols_way() {
    for (method, params, words, expected) in [
        ("elicitation/create", form(), &[][..], r#"{"code":-32601,"message":"elicitation/create is not supported"}"#),
        (
            "sampling/createMessage",
            json!({}),
            &[],
            r#"{"code":-32601,"message":"sampling/createMessage is not supported"}"#,
        ),
        ("roots/list", json!({}), &[], r#"{"code":-32601,"message":"roots/list is not supported"}"#),
        ("new/thing", json!({}), &[], r#"{"code":-32601,"message":"new/thing is not supported"}"#),
        (
            "elicitation/create",
            json!({"mode": "url", "url": "https://example.com/x", "elicitationId": "1", "message": "Log in"}),
            &["--elicit", "accept"],
            r#"{"code":-32602,"message":"the server asks you to visit a page, which mcpipe did not offer: the page: https://example.com/x"}"#,
        ),
        (
            "elicitation/create",
            json!({"mode": "hologram", "message": "x"}),
            &["--elicit", "accept"],
            r#"{"code":-32602,"message":"the server's elicitation/create request is invalid: its mode 'hologram' is unknown"}"#,
        ),
        (
            "elicitation/create",
            json!({"message": "x", "requestedSchema": {"type": "object", "properties": [1]}}),
            &["--elicit", "accept"],
            r#"{"code":-32602,"message":"the server's elicitation/create request is invalid: requestedSchema is not the schema of an object"}"#,
        ),
    ] {
        let server = legacy("2025-11-25", method, params).stdio();
        let run = call(&server, words);
        run.exits(1);
        assert_eq!(answer(&server), format!(r#"{{"jsonrpc":"2.0","id":"q","error":{expected}}}"#));
        // Else only the server would say why its tool fails.
        let says =
            run.stderr().contains(&format!("warning: the server needs input ({method}), which mcpipe did not offer"));
        let needs_input =
            expected.contains("-32601") && matches!(method, "elicitation/create" | "sampling/createMessage");
        assert_eq!(says, needs_input, "{method}: {run:?}");
    }
}

#[test]
fn a_ping_is_answered_while_a_call_waits() {
    let server = legacy("2025-11-25", "ping", json!({})).stdio();
    call(&server, &[]).succeeds();
    assert_eq!(answer(&server), r#"{"jsonrpc":"2.0","id":"q","result":{}}"#);
}

#[test]
fn roots_are_directories_of_options_or_configuration() {
    let server = || legacy("2025-11-25", "roots/list", json!({})).stdio();
    let sandbox = Sandbox::new();
    sandbox.file("a b/x", "");
    let given = server();
    let words = ["call", &given.target(), "ask", "--root", "a b", "--root", "file:///srv/data"];
    sandbox.mcpipe(words).run().succeeds();
    let root = sandbox.path().canonicalize().unwrap().display().to_string();
    assert_eq!(
        answer(&given).replace(&root, "[ROOT]"),
        r#"{"jsonrpc":"2.0","id":"q","result":{"roots":[{"uri":"file://[ROOT]/work/a%20b","name":"a b"},{"uri":"file:///srv/data"}]}}"#
    );
    let configured = server();
    let [program, socket] = configured.words().try_into().unwrap();
    sandbox.config(&format!("[servers.demo]\ncommand = '{program}'\nargs = ['{socket}']\nroots = ['~']\n"));
    sandbox.mcpipe(["call", "demo", "ask"]).run().succeeds();
    assert!(answer(&configured).contains("/home\",\"name\":\"home\"}"), "{}", answer(&configured));
    sandbox.file("file", "");
    for (root, why) in [("nowhere", "No such file or directory (os error 2)"), ("file", "not a directory")] {
        let run = sandbox.mcpipe(["call", "demo", "ask", "--root", root]).run();
        run.exits(2).stderr_is(&format!(
            "mcpipe: error: cannot offer --root {root}\n  {why}\nhint: name a directory that exists, or a file:// URI\n"
        ));
    }
}

/// A command that saves its request in `request.json` and answers.
const MODEL: &str = r#"sh -c 'cat > request.json; echo "{\"role\":\"assistant\",\"content\":{\"type\":\"text\",\"text\":\"hi\"},\"model\":\"m\"}"'"#;

#[test]
fn sampling_is_one_process_a_request() {
    let params = json!({"messages": [{"role": "user", "content": {"type": "text", "text": "é"}}], "maxTokens": 10});
    let result = r#"{"role":"assistant","content":{"type":"text","text":"hi"},"model":"m"}"#;
    let sandbox = Sandbox::new();
    let server = legacy("2024-11-05", "sampling/createMessage", params.clone()).stdio();
    sandbox.mcpipe(["call", &server.target(), "ask", "--sampling-command", MODEL]).run().succeeds();
    assert_eq!(answer(&server), format!(r#"{{"jsonrpc":"2.0","id":"q","result":{result}}}"#));
    let request = std::fs::read_to_string(sandbox.work().join("request.json")).unwrap();
    assert_eq!(request, format!("{params}\n"));
    let server = modern(json!({"m": {"method": "sampling/createMessage", "params": params}})).stdio();
    sandbox.mcpipe(["call", &server.target(), "ask", "--sampling-command", MODEL]).run().succeeds();
    assert!(server.single_process().text().contains(&format!(r#""inputResponses":{{"m":{result}}}"#)));
}

#[test]
fn a_sampling_command_that_fails_is_told_and_leaves_nothing_behind() {
    for (command, code, why) in [
        ("false", 1, "false: exit status: 1"),
        ("echo hi", 1, "it did not print JSON: expected a JSON value, at column 1"),
        ("echo {}", 1, "the result it printed has no 'role'"),
        ("sh -c 'sleep 100 & sleep 100'", 6, "the sampling command took longer than 300 ms"),
    ] {
        let server = legacy("2025-11-25", "sampling/createMessage", json!({"messages": []})).stdio();
        call(&server, &["--sampling-command", command, "--timeout", "300ms"]).exits(code).stderr_contains(why);
        assert!(answer(&server).contains(r#""error":{"code":-32603"#), "{}", answer(&server));
        let server = modern(json!({"m": {"method": "sampling/createMessage", "params": {}}})).stdio();
        call(&server, &["--sampling-command", command, "--timeout", "300ms"]).exits(code).stderr_contains(why);
    }
    // What it prints is limited, and not cut: what is left could be read as a shorter result.
    let server = legacy("2025-11-25", "sampling/createMessage", json!({"messages": []})).stdio();
    call(&server, &["--sampling-command", "head -c 67108865 /dev/zero"])
        .exits(1)
        .stderr_contains("the sampling command failed\n  it printed more than 64 MiB\n");
    let server = legacy("2025-11-25", "sampling/createMessage", json!({})).stdio();
    call(&server, &["--sampling-command", "no-such-model -x"])
        .exits(2)
        .stderr_contains("program 'no-such-model' not found");
    call(&server, &["--sampling-command", "'open"]).exits(2).stderr_contains("cannot split");
    assert!(server.processes().is_empty(), "nothing was started");
    // Only declared capabilities are used: no tools.
    let server =
        legacy("2025-11-25", "sampling/createMessage", json!({"messages": [], "tools": [{"name": "x"}]})).stdio();
    call(&server, &["--sampling-command", MODEL]).exits(1);
    assert!(answer(&server).contains("-32602"), "{}", answer(&server));
}

#[test]
fn mrt_01_the_retry_is_the_same_request_with_answers_and_state() {
    let requests = json!({
        "who": {"method": "elicitation/create", "params": form()},
        "where": {"method": "roots/list"},
    });
    let server = modern(requests).stdio();
    let run = call(&server, &["--elicit", r#"{"name":"Ada"}"#, "--root", "file:///x"]);
    run.exits(0);
    let text = server.single_process().text().replace(&format!("\"{}\"", env!("CARGO_PKG_VERSION")), "\"VERSION\"");
    let calls: Vec<&str> = text.lines().filter(|line| line.contains("tools/call")).collect();
    expect![[r##"
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"ask","arguments":{},"_meta":{"progressToken":3,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{"roots":{},"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}
        {"jsonrpc":"2.0","id":4,"method":"tools/call","params":{"name":"ask","arguments":{},"inputResponses":{"who":{"action":"accept","content":{"age":42,"news":true,"colour":"#0F0","name":"Ada"}},"where":{"roots":[{"uri":"file:///x"}]}},"requestState":"s/é \"1\"","_meta":{"progressToken":4,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{"roots":{},"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}
    "##]]
    .assert_eq(&format!("{}\n", calls.join("\n")));
}

#[test]
fn mrt_01_over_http_the_headers_stay() {
    let server = modern(elicitation(&form())).http();
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "ask", "--elicit", r#"{"name":"Ada"}"#]).run();
    run.succeeds();
    let calls: Vec<_> = server.requests().into_iter().filter(|request| request.rpc_method() == "tools/call").collect();
    // The scripted server checks that the headers mirror each body.
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].id(), calls[1].id());
    assert_eq!(calls[1].json()["params"]["requestState"], "s/é \"1\"");
}

#[test]
fn over_legacy_http_the_question_comes_on_the_stream_of_the_call() {
    let server = legacy("2025-11-25", "elicitation/create", form()).http();
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "ask", "--elicit", r#"{"name":"Ada"}"#]).run();
    run.succeeds();
    assert!(run.stdout().contains(r#""name":"Ada""#), "{run:?}");
    assert!(server.exchanges().contains(&"POST answer".to_owned()), "{:?}", server.exchanges());
}

#[test]
fn mrt_04_a_state_alone_is_sent_back_and_nothing_at_all_is_broken() {
    let server = Mcp::modern()
        .tools(one_tool())
        .on("tools/call", |call| match call.params().get("requestState") {
            None => {
                call.result(json!({"resultType": "input_required", "requestState": "later", "inputRequests": null}))
            }
            Some(state) => call.text(&format!("{state} {}", call.params().get("inputResponses").is_none())),
        })
        .stdio();
    call(&server, &[]).succeeds().prints("\"later\" true\n");
    for (result, why) in [
        (json!({}), "neither inputRequests nor requestState"),
        (json!({"inputRequests": {}}), "neither inputRequests nor requestState"),
        (json!({"inputRequests": [1]}), "inputRequests that are not an object"),
    ] {
        let server = Mcp::modern()
            .tools(one_tool())
            .on("tools/call", move |call| {
                let mut result = result.clone();
                result["resultType"] = "input_required".into();
                call.result(result)
            })
            .stdio();
        call(&server, &[]).exits(7).stderr_contains(why);
    }
    let server = Mcp::modern()
        .on("tools/list", |call| call.result(json!({"resultType": "input_required", "requestState": "x"})))
        .stdio();
    Sandbox::new()
        .mcpipe(["list", &server.target()])
        .run()
        .exits(7)
        .stderr_contains("tools/list, which does not allow");
}

#[test]
fn mrt_04_a_server_that_asks_for_ever_is_given_up() {
    let small = json!({"message": "again", "requestedSchema": {"type": "object", "properties": {}}});
    let asks = small.clone();
    let server = Mcp::modern()
        .tools(one_tool())
        .on("tools/call", move |call| {
            let key = format!("q{}", call.n);
            let requests = json!({key: {"method": "elicitation/create", "params": asks}});
            call.result(json!({"resultType": "input_required", "inputRequests": requests}))
        })
        .stdio();
    call(&server, &["--elicit", "accept"]).exits(7).stderr_contains("asked for input more than 10 times");
    assert_eq!(server.single_process().methods().iter().filter(|method| *method == "tools/call").count(), 11);

    fn again(params: Value) -> Vec<ServerAction> {
        let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
        vec![ServerAction::Request(request, Box::new(move |_| again(params)))]
    }
    let endless = |params: Value| {
        Mcp::legacy("2025-11-25").tools(one_tool()).on("tools/call", move |_| again(params.clone())).stdio()
    };
    let server = endless(small.clone());
    call(&server, &["--elicit", "accept"]).exits(7).stderr_contains("asked for input more than 10 times");
    let answers = server.processes()[0].text().lines().filter(|line| line.contains(r#""action":"accept""#)).count();
    assert_eq!(answers, 10);
    assert!(server.single_process().methods().contains(&"notifications/cancelled".to_owned()));
    let server = endless(small);
    call(&server, &["--elicit", "decline"])
        .exits(8)
        .stderr_contains("was declined")
        .stderr_contains("more than 10 times");
}

#[test]
fn mrt_04_who_declined_is_not_asked_the_same_again() {
    let server = Mcp::modern()
        .tools(one_tool())
        .on("tools/call", |call| {
            call.result(json!({"resultType": "input_required", "inputRequests": elicitation(&form())}))
        })
        .stdio();
    let run = call(&server, &["--elicit", "decline"]);
    run.exits(8)
        .stderr_contains("the server's request for input was declined\n  the server asked again after it was declined");
    assert_eq!(server.single_process().methods().iter().filter(|method| *method == "tools/call").count(), 2);
}

#[test]
fn input_that_was_not_offered_is_explained() {
    for (request, hint) in [
        (elicitation(&form()), "--elicit accept"),
        (json!({"m": {"method": "sampling/createMessage", "params": {}}}), "--sampling-command CMD"),
        (json!({"m": {"method": "roots/list"}}), "--root DIR"),
    ] {
        let server = modern(request).stdio();
        call(&server, &[]).exits(8).stderr_contains("the server needs input").stderr_contains(hint);
    }
    let server = Mcp::modern()
        .tools(one_tool())
        .on("tools/call", |call| {
            let needed = json!({"requiredCapabilities": {"elicitation": {"form": {}}, "roots": {}, "extensions": {}}});
            call.error_with(-32021, "Missing capability", needed)
        })
        .stdio();
    snapshot(
        &call(&server, &[]),
        &server,
        expect![[r#"
            exit: 1
            --- stderr
            mcpipe: error: the server needs a capability that was not offered: Missing capability
              elicitation: the server asks for your input
              roots: the server asks for your directories
              extensions: mcpipe does not support it
              data: {"requiredCapabilities":{"elicitation":{"form":{}},"roots":{},"extensions":{}}}
            hint: offer it: run it at a terminal, or use --elicit accept or --elicit JSON; --root DIR
        "#]],
    );
}

#[test]
fn eli_07_pages_to_be_visited_first_are_named_where_nobody_can_visit_them() {
    let server = Mcp::legacy("2025-11-25")
        .tools(one_tool())
        .on("tools/call", |call| {
            let page =
                json!({"mode": "url", "elicitationId": "e1", "url": "https://example.com/in", "message": "Log in"});
            call.error_with(-32042, "Log in first", json!({"elicitations": [page]}))
        })
        .stdio();
    snapshot(
        &call(&server, &[]),
        &server,
        expect![[r#"
            exit: 8
            --- stderr
            mcpipe: error: the server requires you to visit a page first
              Log in: https://example.com/in
              data: {"elicitations":[{"mode":"url","elicitationId":"e1","url":"https://example.com/in","message":"Log in"}]}
            hint: visit it, then try again; at a terminal mcpipe waits for that
        "#]],
    );
    let error = call(&server, &["--json"]).json_error();
    assert_eq!((&error["class"], &error["rpc"]["code"]), (&json!("refused"), &json!(-32042)));
}

#[test]
fn prompts_and_resources_ask_too() {
    let ask = |call: &crate::support::ClientMessage| {
        call.result(json!({"resultType": "input_required", "inputRequests": elicitation(&form())}))
    };
    let server = Mcp::modern()
        .on("prompts/get", move |call| match call.params().get("inputResponses") {
            None => ask(call),
            Some(_) => call.result(json!({"messages": [{"role": "user", "content": {"type": "text", "text": "ok"}}]})),
        })
        .on("resources/read", move |call| match call.params().get("inputResponses") {
            None => ask(call),
            Some(_) => call.result(json!({"contents": [{"uri": "demo://x", "text": "ok"}]})),
        })
        .stdio();
    let sandbox = Sandbox::new();
    let with = |words: &[&str], how: &str| sandbox.mcpipe(words.iter().copied()).args(["--elicit", how]).run();
    let (prompt, read) = (["prompt", &server.target(), "greet", "who=Ada"], ["read", &server.target(), "demo://x"]);
    with(&prompt, r#"{"name":"Ada"}"#).exits(0).prints("[user]\nok\n");
    with(&read, r#"{"name":"Ada"}"#).exits(0).prints("ok");
    with(&prompt, "accept").exits(8).stderr_contains("with --elicit");
    with(&read, "accept").exits(8).stderr_contains("with --elicit");
}

/// `list` declares capabilities that it does not answer: a request during the list is rejected, and the user is not
/// prompted.
#[test]
fn a_server_that_asks_while_it_lists_is_put_off() {
    for (method, params, answer) in [
        ("elicitation/create", form(), r#""result":{"action":"cancel"}"#),
        (
            "elicitation/create",
            json!({"mode": "url", "url": "https://example.com/x", "elicitationId": "1", "message": "Log in"}),
            r#""result":{"action":"cancel"}"#,
        ),
        ("sampling/createMessage", json!({}), r#""error":{"code":-1,"message":"sampling was rejected"}"#),
        ("roots/list", json!({}), r#""result":{"roots":[]}"#),
    ] {
        let server = Mcp::legacy("2025-11-25")
            .on("tools/list", move |call| {
                let id = call.id();
                let request = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params});
                let list = move |_: Value| {
                    vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": {"tools": one_tool()}}))]
                };
                vec![ServerAction::Request(request, Box::new(list))]
            })
            .stdio();
        Sandbox::new().mcpipe(["list", &server.target()]).run().succeeds().prints("ask\t-\t-\n");
        assert_eq!(self::answer(&server), format!(r#"{{"jsonrpc":"2.0","id":"q",{answer}}}"#));
    }
}

/// A declined request sets the exit code, whatever the server does then.
#[test]
fn declined_input_exits_8_even_if_the_tool_succeeds() {
    let server = Mcp::legacy("2025-11-25")
        .tools(one_tool())
        .on("tools/call", |call| {
            let id = call.id();
            let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": form()});
            let result = json!({"content": [{"type": "text", "text": "then not"}]});
            let done = move |_: Value| vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result}))];
            vec![ServerAction::Request(request, Box::new(done))]
        })
        .stdio();
    let run = call(&server, &["--elicit", "decline"]);
    run.exits(8).prints("then not\n");
    assert_eq!(run.stderr(), "mcpipe: error: the server's request for input was declined\n");
    let batch = Sandbox::new()
        .mcpipe(["call", &server.target(), "--batch", "-", "--elicit", "decline", "--jobs", "1"])
        .stdin(r#"{"tool":"ask"}"#)
        .run();
    assert_eq!(batch.exits(1).json()["error"]["class"], "refused");
}

/// Each of several resources has its own outcome: a declined request is not the reason why another cannot be read.
#[test]
fn a_declined_request_counts_for_the_resource_that_it_was_about() {
    let server = Mcp::modern()
        .on("resources/read", |call| match (call.params()["uri"].as_str(), call.params().get("inputResponses")) {
            (Some("demo://a"), None) => {
                call.result(json!({"resultType": "input_required", "inputRequests": elicitation(&form())}))
            }
            (Some("demo://a"), Some(_)) => {
                call.result(json!({"contents": [{"uri": "demo://a", "text": "then not\n"}]}))
            }
            _ => call.error(-32602, "Resource not found"),
        })
        .stdio();
    let read = |words: &[&str]| {
        Sandbox::new().mcpipe(["read", &server.target(), "demo://a"]).args(words).args(["--elicit", "decline"]).run()
    };
    let run = read(&["demo://b"]);
    run.exits(8).prints("then not\n").stderr_contains("resources/read: Resource not found (code -32602)\n");
    assert_eq!(run.stderr().matches("the server's request for input was declined\n").count(), 1, "{}", run.stderr());
    let run = read(&["demo://b", "--json"]);
    let document: Value = serde_json::from_str(run.exits(8).stdout()).unwrap();
    assert_eq!(document["results"][0]["result"]["contents"][0]["text"], "then not\n");
    assert_eq!(document["results"][1]["error"]["rpc"]["code"], -32602);
    let batch = Sandbox::new()
        .mcpipe(["call", &server.target(), "--batch", "-", "--elicit", "decline"])
        .stdin("{\"read\":\"demo://a\"}\n{\"read\":\"demo://b\"}\n")
        .run();
    let lines: Vec<Value> = batch.exits(1).stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let class = |id: u64| lines.iter().find(|line| line["id"] == id).unwrap()["error"]["class"].clone();
    assert_eq!((class(1), class(2)), (json!("refused"), json!("failed")));
    read(&[]).exits(8).prints("then not\n").stderr_is("mcpipe: error: the server's request for input was declined\n");
}

/// Over a shared stream a legacy server does not say which request it asks for.
#[test]
fn an_answer_that_does_not_fit_takes_no_result_from_another_request() {
    let first = std::sync::Arc::new(std::sync::Mutex::new(Value::Null));
    let server = Mcp::legacy("2025-11-25")
        .on("resources/read", move |call| {
            if call.n == 0 {
                *first.lock().unwrap() = call.id();
                return Vec::new();
            }
            let (one, other) = (call.id(), first.lock().unwrap().clone());
            let contents = |id: Value, text: &str| {
                let result = json!({"contents": [{"uri": "demo://x", "text": text}]});
                ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result}))
            };
            let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": form()});
            let done = move |_: Value| vec![contents(one, "b\n"), contents(other, "a\n")];
            vec![ServerAction::Request(request, Box::new(done))]
        })
        .stdio();
    let args = ["read", &server.target(), "demo://a", "demo://b", "--protocol", "legacy", "--elicit", "accept"];
    let run = Sandbox::new().mcpipe(args).run();
    run.exits(8).prints("a\nb\n").stderr_contains("with --elicit");
    assert_eq!(run.stderr().matches("mcpipe: error: ").count(), 1, "{}", run.stderr());
}

/// MRT-04: in the modern era the rounds are limited, not what one of them asks for.
#[test]
fn mrt_04_one_round_may_ask_for_many_things() {
    let small = json!({"message": "again", "requestedSchema": {"type": "object", "properties": {}}});
    let requests: serde_json::Map<String, Value> =
        (0..11).map(|n| (format!("q{n:02}"), json!({"method": "elicitation/create", "params": small}))).collect();
    let run = call(&modern(Value::Object(requests)).stdio(), &["--elicit", "accept", "--json"]);
    assert_eq!(run.succeeds().stdout().matches("accept").count(), 11, "{}", run.stdout());
}

/// MRT-04: requests for sampling of different rounds are not added up.
#[test]
fn mrt_04_two_rounds_may_ask_for_sampling_many_times() {
    let params = json!({"messages": [], "maxTokens": 1});
    let server = Mcp::modern()
        .tools(one_tool())
        .on("tools/call", move |call| {
            if call.n > 1 {
                return call.text("done");
            }
            let request = json!({"method": "sampling/createMessage", "params": params});
            let requests: serde_json::Map<String, Value> =
                (0..6).map(|n| (format!("q{}-{n}", call.n), request.clone())).collect();
            call.result(json!({"resultType": "input_required", "inputRequests": requests}))
        })
        .stdio();
    call(&server, &["--sampling-command", MODEL]).succeeds().prints("done\n");
}

#[test]
fn elicit_ask_without_a_terminal_is_a_usage_error() {
    let server = legacy("2025-11-25", "elicitation/create", form()).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "ask", "--elicit", "ask"]).stdin_open().run();
    run.exits(2).prints("");
    assert_eq!(
        run.stderr(),
        "mcpipe: error: --elicit ask: cannot prompt: not at a terminal\n\
         hint: use --elicit accept, decline, a JSON object or @FILE\n"
    );
    assert_eq!(server.processes().len(), 0, "nothing was started");
}
