//! `call --tool-use`: runs the tool calls in a model's response and prints messages with the results, for each API.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mcp::PIXEL;
use crate::support::{Mcp, ProcessEvent, Run, Sandbox, ServerAction, StdioServer};

fn entry(name: &str, server: &StdioServer) -> String {
    format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", server.words()[0], &server.words()[1..])
}

fn run(target: &str, reply: &Value) -> Run {
    Sandbox::new().mcpipe(["call", target, "--tool-use", "-"]).stdin(reply.to_string()).run()
}

/// The response of an API that calls these tools.
fn anthropic(calls: &[(&str, &str, Value)]) -> Value {
    let blocks =
        calls.iter().map(|(id, name, input)| json!({"type": "tool_use", "id": id, "name": name, "input": input}));
    let content: Vec<Value> = std::iter::once(json!({"type": "text", "text": "Let me see."})).chain(blocks).collect();
    json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content,
        "stop_reason": "tool_use", "usage": {"input_tokens": 1}})
}

fn chat(calls: &[(&str, &str, &str)]) -> Value {
    let calls: Vec<Value> = calls
        .iter()
        .map(|(id, name, text)| json!({"id": id, "type": "function", "function": {"name": name, "arguments": text}}))
        .collect();
    json!({"object": "chat.completion", "choices": [{"index": 0, "finish_reason": "tool_calls",
        "message": {"role": "assistant", "content": null, "tool_calls": calls}}]})
}

#[test]
fn a_malformed_result_is_an_error_with_its_good_blocks() {
    let content = json!([{"type": "text", "text": "42"}, {"type": "text", "text": null}]);
    let server = Mcp::modern().on("tools/call", move |call| call.result(json!({"content": content}))).stdio();
    let run = run(&server.target(), &anthropic(&[("toolu_1", "echo", json!({"text": "x"}))]));
    run.exits(1).stderr_contains("the server's response to tools/call is malformed");
    let result = &run.json()[0]["content"][0];
    assert_eq!(result["is_error"], true);
    let text = result["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("content[1].text is missing") && text.ends_with("\nthe tool ran\n42"), "{text}");
}

#[test]
fn each_api_gets_the_results_in_its_form() {
    for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = server.stdio();
        let target = server.target();
        let calls = [
            ("toolu_1", "add", json!({"a": 2, "b": 3})),
            ("toolu_2", "image", json!({})),
            ("toolu_3", "echo", json!({"text": "hi"})),
        ];
        let png = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}});
        let run_of = run(&target, &anthropic(&calls));
        assert_eq!(
            run_of.succeeds().json(),
            json!([{"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "5"}]},
                {"type": "tool_result", "tool_use_id": "toolu_2",
                    "content": [{"type": "text", "text": "a pixel"}, png]},
                {"type": "tool_result", "tool_use_id": "toolu_3", "content": [{"type": "text", "text": "hi"}]},
            ]}])
        );
        assert_eq!(server.single_process().methods().iter().filter(|method| *method == "tools/list").count(), 1);
    }

    let server = Mcp::modern().stdio();
    let target = server.target();
    let run_of =
        run(&target, &chat(&[("call_1", "add", r#"{"a": 2, "b": 3}"#), ("call_2", "echo", r#"{"text":"hi"}"#)]));
    run_of.succeeds().prints(concat!(
        r#"[{"role":"tool","tool_call_id":"call_1","content":"5"},"#,
        r#"{"role":"tool","tool_call_id":"call_2","content":"hi"}]"#,
        "\n"
    ));

    let responses = json!({"object": "response", "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "id": "fc_1", "call_id": "call_9", "name": "echo", "arguments": "{\"text\":\"hi\"}"},
    ]});
    run(&target, &responses)
        .succeeds()
        .prints("[{\"type\":\"function_call_output\",\"call_id\":\"call_9\",\"output\":\"hi\"}]\n");

    let gemini = json!({"candidates": [{"content": {"role": "model", "parts": [
        {"text": "Let me add."}, {"functionCall": {"name": "add", "args": {"a": 2, "b": 3}}}]}, "finishReason": "STOP"}]});
    run(&target, &gemini).succeeds().prints(concat!(
        r#"[{"role":"user","parts":[{"functionResponse":"#,
        r#"{"name":"add","response":{"output":{"total":5}}}}]}]"#,
        "\n"
    ));
}

#[test]
fn what_cannot_be_called_or_fails_is_told_to_the_model() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&(entry("demo", &server) + "deny_tools = [\"image\"]\n"));
    let reply = anthropic(&[
        ("1", "ech", json!({"text": "x"})),
        ("2", "echo", json!({"txt": 7})),
        ("3", "fail", json!({})),
        ("4", "image", json!({})),
        ("5", "echo", json!("not an object")),
        ("6", "echo", json!({"text": "fine"})),
    ]);
    let run = sandbox.mcpipe(["call", "demo", "--tool-use", "-"]).stdin(reply.to_string()).run();
    let all = run.exits(1).json();
    let told = |n: usize| {
        let result = &all[0]["content"][n];
        (result["is_error"] == true, result["content"][0]["text"].as_str().unwrap().to_owned())
    };
    assert_eq!(told(0), (true, "the server has no tool 'ech'\ndid you mean echo?".to_owned()));
    assert_eq!(
        told(1),
        (
            true,
            "echo: invalid arguments\ntxt: no such parameter; did you mean text?\n\
             text: required value is missing"
                .to_owned()
        )
    );
    assert_eq!(told(2), (true, "it is broken".to_owned()));
    assert_eq!(told(3), (true, "the configuration does not allow the tool 'image'".to_owned()));
    assert_eq!(told(4), (true, "echo: the arguments are not an object: \"not an object\"".to_owned()));
    assert_eq!(told(5), (false, "fine".to_owned()));
    run.stderr_contains("mcpipe: error: the server has no tool 'ech'");
    let called =
        server.single_process().messages().into_iter().filter(|message| message["method"] == "tools/call").count();
    assert_eq!(called, 2);

    let bad = chat(&[("call_1", "echo", "{\"text\": ")]);
    let run = sandbox.mcpipe(["call", "demo", "--tool-use", "-"]).stdin(bad.to_string()).run();
    let told = run.exits(1).json()[0]["content"].as_str().unwrap().to_owned();
    assert!(told.starts_with("Error: echo: the arguments are not a JSON object (EOF"), "{told}");
}

#[test]
fn without_a_target_the_names_choose_the_servers() {
    let (one, two) = (Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio());
    let odd = Mcp::modern()
        .tools(json!([{"name": "a.dotted/name", "inputSchema": {"type": "object"}}]))
        .on("tools/call", |call| call.text(call.tool()))
        .stdio();
    let never = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(
        &(entry("one", &one)
            + &entry("two", &two)
            + &entry("never", &never)
            + &entry("odd", &odd)
            + "[servers.broken]\nurl = \"https://127.0.0.1:1/${MISSING}\"\n"),
    );
    // The name that `list --for` prints is accepted.
    let listed = sandbox.mcpipe(["list", "odd", "--for", "anthropic"]).run();
    let plain = listed.succeeds().json()[0]["name"].as_str().unwrap().to_owned();
    let all = sandbox.mcpipe(["list", "--for", "anthropic"]).run();
    all.exits(3).stderr_contains("MISSING");
    let names: Vec<String> =
        all.json().as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect();
    let marked = names.iter().find(|name| name.starts_with("odd__")).unwrap();
    let started = never.processes().len();

    let reply = anthropic(&[
        ("1", "one__echo", json!({"text": "first"})),
        ("2", "two__add", json!({"a": 1, "b": 1})),
        ("3", marked, json!({})),
        ("4", "three__echo", json!({})),
        ("5", "echo", json!({})),
        ("6", "broken__echo", json!({})),
        ("7", "one__ech", json!({})),
    ]);
    let run = sandbox.mcpipe(["call", "--tool-use", "-"]).stdin(reply.to_string()).run();
    let all = run.exits(1).json();
    let texts: Vec<&str> =
        all[0]["content"].as_array().unwrap().iter().map(|one| one["content"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(
        texts[..5],
        ["first", "2", "a.dotted/name", "no server has a tool 'three__echo'", "no server has a tool 'echo'"]
    );
    assert!(texts[5].contains("MISSING"), "{}", texts[5]);
    assert_eq!(texts[6], "no server has a tool 'one__ech'\ndid you mean one__echo?");
    let find = "find the server that has the tool: mcpipe list --search echo; then name that server: mcpipe call SERVER --tool-use -";
    run.stderr_contains(&format!("no server has a tool 'echo'\nhint: {find}\n"));
    assert_eq!(never.processes().len(), started, "who is not meant is not asked");

    // With a target: its own names, and those of a list of several servers.
    let reply = anthropic(&[("1", &plain, json!({})), ("2", marked, json!({}))]);
    let run = sandbox.mcpipe(["call", "odd", "--tool-use", "-"]).stdin(reply.to_string()).run();
    let all = run.succeeds().json();
    for n in 0..2 {
        assert_eq!(all[0]["content"][n]["content"][0]["text"], "a.dotted/name");
    }
}

#[test]
fn a_reply_that_asks_for_nothing_connects_to_nobody() {
    let server = Mcp::modern().stdio();
    let reply = json!({"role": "assistant", "content": [{"type": "text", "text": "Done."}], "stop_reason": "end_turn"});
    let done = run(&server.target(), &reply);
    done.exits(0).prints("[]\n");
    assert_eq!(done.stderr(), "the response has no tool calls\n");
    let refused = run(&server.target(), &json!({"type": "error", "error": {"message": "overloaded"}}));
    refused
        .exits(2)
        .prints("")
        .stderr_contains("not a model response")
        .stderr_contains("it is an error response: overloaded");
    let sandbox = Sandbox::new();
    sandbox
        .mcpipe(["call", &server.target(), "--tool-use", "-"])
        .stdin("data: {}")
        .run()
        .exits(2)
        .stderr_contains("not JSON");
    sandbox
        .mcpipe(["call", &server.target(), "--tool-use", "none.json"])
        .run()
        .exits(2)
        .stderr_contains("cannot read none.json");
    sandbox
        .mcpipe(["call", &server.target(), "echo", "--tool-use", "-"])
        .run()
        .exits(2)
        .stderr_contains("the model names the tools");
    assert_eq!(server.processes().len(), 0);
}

#[test]
fn a_server_that_cannot_be_reached_is_told_too() {
    let reply = anthropic(&[("1", "echo", json!({"text": "x"}))]);
    let done = run("http://127.0.0.1:1/mcp", &reply);
    done.exits(1).stderr_contains("127.0.0.1:1");
    let result = &done.json()[0]["content"][0];
    assert_eq!((&result["is_error"], &result["tool_use_id"]), (&json!(true), &json!("1")));
}

#[test]
fn they_run_at_once_and_the_results_keep_their_order() {
    let server = Mcp::modern()
        .on("tools/call", |call| {
            let wait = if call.argument("text") == "slow" { 400 } else { 0 };
            let mut outs = vec![ServerAction::Pause(Duration::from_millis(wait))];
            outs.extend(call.text(call.argument("text").as_str().unwrap()));
            outs
        })
        .stdio();
    let slow: Vec<(&str, &str, Value)> = (0..4).map(|_| ("s", "echo", json!({"text": "slow"}))).collect();
    let mut calls = slow;
    calls.push(("f", "echo", json!({"text": "fast"})));
    let done = run(&server.target(), &anthropic(&calls));
    let results = done.succeeds().json()[0]["content"].clone();
    let ids: Vec<&str> = results.as_array().unwrap().iter().map(|one| one["tool_use_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["s", "s", "s", "s", "f"]);
    assert!(done.elapsed < Duration::from_millis(1200), "one after the other: {:?}", done.elapsed);
}

#[test]
fn a_dry_run_sends_nothing_and_consent_is_needed_beforehand() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&(entry("demo", &server) + "[defaults]\nconfirm = \"always\"\n"));
    let reply = anthropic(&[("1", "echo", json!({"text": "a"})), ("2", "echo", json!({"text": "b"}))]).to_string();
    let run = sandbox.mcpipe(["call", "demo", "--tool-use", "-", "--dry-run"]).stdin(&*reply).run();
    let ids: Vec<Value> = run
        .succeeds()
        .stdout()
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|request| json!([request["id"], request["params"]["arguments"]["text"]]))
        .collect();
    assert_eq!(ids, [json!([1, "a"]), json!([2, "b"])]);
    let run = sandbox.mcpipe(["call", "demo", "--tool-use", "-"]).stdin(&*reply).run();
    assert_eq!(run.exits(1).json()[0]["content"][0]["content"][0]["text"], "calling 'echo' needs confirmation");
    sandbox.mcpipe(["call", "demo", "--tool-use", "-", "--yes"]).stdin(reply).run().succeeds();
}

#[test]
fn a_signal_cancels_and_prints_no_half_answer() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |_| vec![]).stdio();
    let sandbox = Sandbox::new();
    let file = sandbox.file("reply.json", anthropic(&[("1", "fail", json!({}))]).to_string());
    let running = sandbox.mcpipe(["call", &server.target(), "--tool-use", file.to_str().unwrap()]).start();
    server.wait_for("the call", |seen| !seen.is_empty() && seen[0].methods().contains(&"tools/call".to_owned()));
    running.signal(rustix::process::Signal::INT);
    running.wait().exits(130).prints("").stderr_contains("interrupted");
    assert!(server.single_process().methods().contains(&"notifications/cancelled".to_owned()));
}

/// Each server exits only after all four were closed: closing one after another would require killing the first.
#[test]
fn several_servers_are_closed_at_once() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    let told = Arc::new(AtomicUsize::new(0));
    let servers: Vec<StdioServer> = (0..4)
        .map(|_| {
            let mcp = Arc::new(Mcp::modern());
            let told = Arc::clone(&told);
            StdioServer::start(move |process, event| match event {
                ProcessEvent::Started => process.trap_signals(),
                ProcessEvent::Line(line) => {
                    for action in mcp.handle(&serde_json::from_str(&line).unwrap()) {
                        if let ServerAction::Send(message) = action {
                            process.send(&message);
                        }
                    }
                }
                ProcessEvent::Eof => {
                    told.fetch_add(1, Ordering::SeqCst);
                    let end = Instant::now() + Duration::from_secs(10);
                    while told.load(Ordering::SeqCst) < 4 && Instant::now() < end {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    process.exit(0);
                }
                ProcessEvent::Signal(_) => {}
            })
        })
        .collect();
    let sandbox = Sandbox::new();
    let names = ["one", "two", "three", "four"];
    sandbox.config(&names.iter().zip(&servers).map(|(name, server)| entry(name, server)).collect::<String>());
    let tools: Vec<String> = names.iter().map(|name| format!("{name}__echo")).collect();
    let calls: Vec<(&str, &str, Value)> = tools.iter().map(|tool| ("1", tool.as_str(), json!({"text": "x"}))).collect();
    let reply = anthropic(&calls).to_string();
    sandbox.mcpipe(["call", "--tool-use", "-"]).stdin(reply).run().exits(0);
    for server in &servers {
        assert_eq!(server.single_process().signals, [""; 0], "it left by itself");
    }
}

/// The tools were given to the model without the name of their server.
#[test]
fn the_only_server_is_named_to_a_tool_without_one() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&entry("demo", &server));
    sandbox.file("reply.json", anthropic(&[("1", "echo", json!({"text": "x"}))]).to_string());
    let run = sandbox.mcpipe(["call", "--tool-use", "reply.json"]).run();
    run.exits(1).stderr_is(
        "mcpipe: error: no server has a tool 'echo'\n\
         hint: name the server: mcpipe call demo --tool-use reply.json\n",
    );
    sandbox.mcpipe(["call", "demo", "--tool-use", "reply.json"]).run().succeeds().stderr_is("");
    sandbox.file("other.json", anthropic(&[("1", "nothing", json!({}))]).to_string());
    let run = sandbox.mcpipe(["call", "demo", "--tool-use", "other.json"]).run();
    run.exits(1).stderr_contains("the server has no tool 'nothing'\nhint: list its tools: mcpipe list demo\n");
}
