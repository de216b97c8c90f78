//! Messages with half of a surrogate pair, which JavaScript writes when it cuts a string inside an emoji, and with
//! nesting deeper than a JSON parser allows: nothing that can be read is lost.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::{ClientMessage, Mcp, ProcessEvent, Sandbox, ServerAction, StdioServer};

/// A result in exactly this text.
fn raw_result(call: &ClientMessage, text: &str) -> Vec<ServerAction> {
    vec![ServerAction::RawText(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{text}}}"#, call.id()))]
}

/// This many nested objects.
fn nested(levels: usize) -> String {
    format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels))
}

/// The results of a server, with half of a surrogate pair in every text.
fn cut_texts(mcp: Mcp) -> Mcp {
    let extra = if mcp.modern { r#","resultType":"complete","ttlMs":0,"cacheScope":"private""# } else { "" };
    let result = move |call: &ClientMessage, text: &str| raw_result(call, &format!("{{{text}{extra}}}"));
    let tools = r#""tools":[{"name":"good","inputSchema":{"type":"object"}},{"name":"t","title":"T\ud83d",
        "description":"cut \ud83d","x-\ud83d":"\ud83d","inputSchema":{"type":"object","properties":{
        "q":{"type":"string","description":"q\ud83d","default":"d\ud83d"},"n":{"type":"integer"}}}}]"#;
    mcp.capabilities(json!({"tools": {}, "resources": {}, "prompts": {}, "logging": {}}))
        .on("tools/list", move |call| result(call, &tools.replace('\n', " ")))
        .on("resources/list", move |call| result(call, r#""resources":[{"uri":"a:1","name":"n\ude00"},{"uri":"a:2"}]"#))
        .on("prompts/list", move |call| result(call, r#""prompts":[{"name":"p","description":"cut \ud83d"}]"#))
        .on("prompts/get", move |call| {
            result(call, r#""messages":[{"role":"user","content":{"type":"text","text":"say \ud83d"}}]"#)
        })
        .on("resources/read", move |call| result(call, r#""contents":[{"uri":"a:1","text":"body \ud83d\n"}]"#))
        .on("tools/call", move |call| match call.tool() {
            "t" => {
                let text = call.params()["arguments"].to_string().replace('"', "\\\"");
                result(call, &format!(r#""content":[{{"type":"text","text":"\ud83d {text}"}}],"structuredContent":{{"k\ud83d":"v\ud83d"}}"#))
            }
            _ => vec![ServerAction::RawText(format!(
                r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-1,"message":"bad \ud83d","data":{{"d":"\ud83d"}}}}}}"#,
                call.id()
            ))],
        })
}

#[test]
fn half_a_surrogate_pair_loses_nothing_else() {
    let check = |target: &str, revision: &str| {
        let sandbox = Sandbox::new();
        let run = |words: &[&str]| {
            let mut all = vec![words[0], target, "--protocol", revision];
            all.extend(&words[1..]);
            sandbox.mcpipe(all).run()
        };
        run(&["list"]).succeeds().prints("good\t-\t-\nt\tcut \u{fffd}\tq?, n?: integer\n");
        run(&["list", "--resources"]).succeeds().prints("a:1\tn\u{fffd}\t-\t-\t-\na:2\t-\t-\t-\t-\n");
        run(&["list", "--prompts"]).succeeds().prints("p\tcut \u{fffd}\t-\n");
        run(&["list", "t"]).succeeds().stdout_contains("t: T\u{fffd}").stdout_contains("\"d\u{fffd}\"");
        // The raw document stays as it came; derived output is valid JSON.
        run(&["list", "--json"]).succeeds().stdout_contains(r#""x-\ud83d":"\ud83d""#);
        run(&["list", "--jq", ".tools[].name"]).succeeds().prints("good\nt\n");
        run(&["list", "--jq", ".tools[1].description"]).succeeds().prints("cut \u{fffd}\n");
        let shown = run(&["list", "--for", "anthropic"]);
        shown.succeeds().hides("ud83d");
        assert_eq!(shown.json()[1]["name"], "t");
        assert_eq!(shown.json()[1]["input_schema"]["properties"]["q"]["default"], "d\u{fffd}");
        run(&["call", "t", "n=5"]).succeeds().prints("\u{fffd} {\"n\":5}\n");
        run(&["call", "t", "--structured"]).succeeds().prints("{\"k\\ud83d\":\"v\\ud83d\"}\n");
        run(&["call", "t", "--jq", ".structuredContent"]).succeeds().prints("{\"k\u{fffd}\":\"v\u{fffd}\"}\n");
        run(&["call", "good"]).exits(1).stderr_contains("tools/call: bad \u{fffd} (code -1)");
        let failed = run(&["call", "good", "--json"]);
        failed.exits(1).stderr_contains(r#""rpc":{"code":-1,"message":"bad "#);
        run(&["prompt", "p"]).succeeds().prints("[user]\nsay \u{fffd}\n");
        run(&["read", "a:1"]).succeeds().prints("body \u{fffd}\n");
    };
    check(&cut_texts(Mcp::legacy("2025-11-25")).stdio().target(), "2025-11-25");
    check(&cut_texts(Mcp::legacy("2025-06-18")).http().url("/mcp"), "2025-06-18");
    check(&cut_texts(Mcp::modern()).http().url("/mcp"), "2026-07-28");
    check(&cut_texts(Mcp::legacy("2025-11-25")).websocket().url("/mcp"), "2025-11-25");
}

#[test]
fn half_a_surrogate_pair_in_initialize_and_notifications_loses_nothing_else() {
    let sandbox = Sandbox::new();
    let server = Mcp::legacy("2025-06-18")
        .on("initialize", |call| {
            raw_result(
                call,
                r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{},"logging":{}},"instructions":"use \ud83d",
                "serverInfo":{"name":"n\ud83d","version":"1"}}"#.replace('\n', " ").as_str(),
            )
        })
        .on("logging/setLevel", |call| call.result(json!({})))
        .on("tools/call", |call| {
            let log =
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"log \ud83d"}}"#;
            let mut all = vec![ServerAction::RawText(log.to_owned())];
            all.extend(call.text("done"));
            all
        })
        .stdio();
    let run = sandbox.mcpipe(["list", &server.target(), "--info"]).run();
    run.succeeds().stdout_contains("n\u{fffd}\n").stdout_contains("use \u{fffd}");
    run.stdout_contains("2025-06-18").stdout_contains("tools, logging");
    let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--log-level", "info"]).run();
    run.exits(0).prints("done\n").stderr_contains("log \u{fffd}");
}

/// A server that sends this text as a request during a call, and returns the client's answer.
fn asking(request: String) -> StdioServer {
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    let call = Mutex::new(Value::Null);
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            match message.get("method").and_then(Value::as_str) {
                Some("tools/call") => {
                    *call.lock().unwrap() = message["id"].clone();
                    process.write(format!("{request}\n"));
                }
                Some(_) => play_actions(&mcp, process, mcp.handle(&message)),
                None => {
                    let answer = message.get("result").or(message.get("error")).unwrap().to_string();
                    let result = json!({"content": [{"type": "text", "text": answer}]});
                    process.send(&json!({"jsonrpc": "2.0", "id": *call.lock().unwrap(), "result": result}));
                }
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    })
}

fn server_request(method: &str, params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":"q","method":"{method}","params":{params}}}"#)
}

fn answer_to(request: String, words: &[&str]) -> String {
    let server = asking(request);
    let target = server.target();
    let run = Sandbox::new().mcpipe(["call", &target, "echo", "text=x"]).args(words).run();
    run.succeeds().stdout().to_owned()
}

#[test]
fn requests_with_half_a_surrogate_pair_are_answered_in_full() {
    let form = r#"{"message":"who \ud83d?","requestedSchema":{"type":"object","properties":{"a":{"type":"string",
        "description":"\ud83d","default":"d\ud83d"},"n":{"type":"integer","default":3}}}}"#
        .replace('\n', " ");
    let answer = answer_to(server_request("elicitation/create", &form), &["--elicit", "accept"]);
    assert_eq!(answer, "{\"action\":\"accept\",\"content\":{\"a\":\"d\u{fffd}\",\"n\":3}}\n");
    let params = r#"{"messages":[{"role":"user","content":{"type":"text","text":"hi \ud83d"}}],"maxTokens":1}"#;
    let command = r#"sh -c 'read line; case "$line" in *"hi �"*) echo "{\"role\":\"assistant\",\"content\":{\"type\":\"text\",\"text\":\"ok\"},\"model\":\"m\"}";; esac'"#;
    let answer = answer_to(server_request("sampling/createMessage", params), &["--sampling-command", command]);
    assert!(answer.contains(r#""text":"ok""#), "{answer}");
}

/// SEC-07: a request that was not understood is not accepted.
#[test]
fn requests_that_are_nested_too_deeply_are_refused() {
    for levels in [300, 1_000_000] {
        let deep = nested(levels);
        let form = format!(r#"{{"message":"m","requestedSchema":{{"type":"object","properties":{{"a":{deep}}}}}}}"#);
        let answer = answer_to(server_request("elicitation/create", &form), &["--elicit", "accept"]);
        let refusal = |method: &str| {
            let why = "its params are nested more than 256 levels deep";
            format!("{{\"code\":-32602,\"message\":\"the server's {method} request is invalid: {why}\"}}\n")
        };
        assert_eq!(answer, refusal("elicitation/create"));
        let params = format!(r#"{{"messages":[],"maxTokens":1,"metadata":{deep}}}"#);
        let answer = answer_to(server_request("sampling/createMessage", &params), &["--sampling-command", "true"]);
        assert_eq!(answer, refusal("sampling/createMessage"));
        // Roots do not depend on the params.
        let answer = answer_to(server_request("roots/list", &deep), &["--root", "/"]);
        assert!(answer.contains("file:///"), "{answer}");
    }
}

#[test]
fn requests_without_readable_params_are_refused() {
    let refusal = |method: &str, why: &str| {
        format!("{{\"code\":-32602,\"message\":\"the server's {method} request is invalid: {why}\"}}\n")
    };
    for (method, option, value) in
        [("elicitation/create", "--elicit", "accept"), ("sampling/createMessage", "--sampling-command", "true")]
    {
        for params in ["null", "[1]", "7"] {
            let answer = answer_to(server_request(method, params), &[option, value]);
            assert_eq!(answer, refusal(method, "its params are not an object"), "{params}");
        }
    }
    let form = r#"{"message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"string"},"b":5}}}"#;
    let answer = answer_to(server_request("elicitation/create", form), &["--elicit", "accept"]);
    assert_eq!(answer, refusal("elicitation/create", "the schema of its field 'b' is not a schema"));
    let params = r#"{"messages":"hi","maxTokens":1}"#;
    let answer = answer_to(server_request("sampling/createMessage", params), &["--sampling-command", "true"]);
    assert_eq!(answer, refusal("sampling/createMessage", "messages is not a list"));
}

#[test]
fn modern_requests_for_input_that_are_nested_too_deeply_are_a_failure() {
    let server = Mcp::modern().on("tools/call", |call| {
        let form = format!(r#"{{"message":"m","requestedSchema":{}}}"#, nested(300));
        let requests = format!(r#"{{"who":{{"method":"elicitation/create","params":{form}}}}}"#);
        raw_result(call, &format!(r#"{{"resultType":"input_required","requestState":"s","inputRequests":{requests}}}"#))
    });
    let server = server.http();
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=x", "--elicit", "accept"]).run();
    run.exits(7).prints("").stderr_contains("the server's request for input is nested more than 256 levels deep");
}

/// A server whose tool `t` has a parameter `n`, and another tool that is deeply nested.
fn deep_tool(levels: usize) -> Mcp {
    Mcp::legacy("2025-11-25")
        .on("tools/list", move |call| {
            let deep = format!("{}true{}", r#"{"properties":{"a":"#.repeat(levels / 2), "}}".repeat(levels / 2));
            let schema = format!(r#"{{"type":"object","properties":{{"n":{{"type":"integer"}},"deep":{deep}}}}}"#);
            let tool = format!(r#"{{"name":"t","description":"Does","inputSchema":{schema}}}"#);
            raw_result(call, &format!(r#"{{"tools":[{tool},{{"name":"other","inputSchema":{{"type":"object"}}}},7]}}"#))
        })
        .on("tools/call", |call| call.text(&call.params()["arguments"].to_string()))
}

#[test]
fn tools_with_deep_schemas_are_listed_and_called() {
    for levels in [100, 200, 240] {
        let server = deep_tool(levels).stdio();
        let run = Sandbox::new().mcpipe(["list", &server.target()]).run();
        run.exits(0).stdout_contains("t\tDoes\tn?: integer, deep?: object\n").hides("in part");
        let run = Sandbox::new().mcpipe(["call", &server.target(), "t", "n=5"]).run();
        run.exits(0).prints("{\"n\":5}\n").hides("in part");
    }
    for levels in [260, 3000, 1_000_000] {
        let server = deep_tool(levels).stdio();
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["list", &server.target()]).run();
        let part = "the tool 't' is read only in part: inputSchema is nested more than 255 levels deep";
        run.exits(0)
            .prints("t\t(read in part) Does\tn?: integer, deep?: object\nother\t-\t-\n-\t(cannot be read)\t-\n");
        run.stderr_contains(part).stderr_contains("the server lists a tool that is a number, not an object");
        let run = sandbox.mcpipe(["list", &server.target(), "t"]).run();
        run.exits(0).stdout_contains("Does").stderr_contains(&format!("mcpipe: warning: {part}\n"));
        let run = sandbox.mcpipe(["call", &server.target(), "t", "n=5"]).run();
        run.exits(0).prints("{\"n\":5}\n").stderr_contains(&format!("mcpipe: warning: {part}\n"));
        sandbox.mcpipe(["call", &server.target(), "other"]).run().succeeds().prints("{}\n").hides("in part");
        let run = sandbox.mcpipe(["list", &server.target(), "--for", "anthropic"]).run();
        run.exits(0).stderr_contains(part).stdout_contains(r#"[{"name":"t","description":"Does""#);
        run.stdout_contains(r#"{"name":"other","input_schema":{"type":"object"}}]"#);
    }
}

#[test]
fn deep_results_errors_and_logs_are_shown() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| {
            let deep = nested(100_000);
            let log = format!(r#"{{"level":"error","data":{{"said":"hello","deep":{deep}}}}}"#);
            let log = format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{log}}}"#);
            let mut all = vec![ServerAction::RawText(log)];
            all.extend(match call.argument("text").as_str() {
                Some("error") => vec![ServerAction::RawText(format!(
                    r#"{{"jsonrpc":"2.0","id":{},"error":{{"code":-1,"message":"why","data":{deep}}}}}"#,
                    call.id()
                ))],
                _ => raw_result(
                    call,
                    &format!(r#"{{"content":[{{"type":"text","text":"hi","x":{deep}}}],"structuredContent":{deep}}}"#),
                ),
            });
            all
        })
        .stdio();
    let sandbox = Sandbox::new();
    let call =
        |words: &[&str]| sandbox.mcpipe(["call", &server.target(), "echo", "--log-level", "info"]).args(words).run();
    let run = call(&["text=x"]);
    run.exits(0).prints("hi\n").stderr_contains("hello");
    let run = call(&["text=x", "--structured"]);
    run.exits(0).prints(&format!("{}\n", nested(100_000)));
    let run = call(&["text=error"]);
    run.exits(1).prints("").stderr_contains("the server refused tools/call: why (code -1)");
}
