//! Malformed results: the message names what is wrong; members that real servers omit are tolerated.

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Sandbox, ServerAction, StdioServer};

/// A legacy server that answers this method with this result.
pub(super) fn answering(method: &str, result: Value) -> StdioServer {
    let tools = json!([{"name": "t", "inputSchema": {"type": "object"}}]);
    Mcp::legacy("2025-11-25").tools(tools).on(method, move |call| call.result(result.clone())).stdio()
}

#[test]
fn a_malformed_result_is_a_broken_protocol() {
    let sandbox = Sandbox::new();
    let text = |text: &str| json!({"type": "text", "text": text});
    for (result, wrong, printed) in [
        (json!("str"), "the result is a string, not an object", "str\n"),
        (json!([1]), "the result is a list, not an object", "[\n  1\n]\n"),
        (json!(null), "the result is null, not an object", ""),
        (json!({"content": "x"}), "content is a string, not a list", "x\n"),
        (json!({"content": text("x")}), "content is an object, not a list", "x\n"),
        (json!({"content": 5}), "content is a number, not a list", ""),
        (json!({"content": [text("x")], "isError": "true"}), "isError is a string, not a boolean", "x\n"),
        (json!({"content": [{"type": "text", "text": 5}]}), "content[0].text is a number, not a string", ""),
        (json!({"content": [text("x"), "y"]}), "content[1] is a string, not an object", "x\n"),
        (json!({"content": [{"type": "text", "text": null}, text("x")]}), "content[0].text is missing", "x\n"),
        (json!({"content": [text("x"), {"text": "y"}, text("z")]}), "content[1].type is missing", "x\nz\n"),
        (json!({"content": [text("x"), {"type": "image"}]}), "content[1].data is missing", "x\n"),
    ] {
        let server = answering("tools/call", result.clone());
        let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
        run.exits(7)
            .prints(printed)
            .stderr_contains("error: the server's response to tools/call is malformed")
            .stderr_contains(wrong)
            .stderr_contains("the tool ran");
        run.hides("hint:");
        let run = sandbox.mcpipe(["call", &server.target(), "t", "--json"]).run();
        run.exits(7).prints(&format!("{result}\n"));
        assert_eq!(run.json_error()["causes"][0], wrong);
        assert_eq!(run.json_error()["hint"], json!(null));
        let line = r#"{"tool":"t"}"#;
        let batch = sandbox.mcpipe(["call", &server.target(), "--batch", "-"]).stdin(line).run();
        batch.exits(1).stdout_contains(&format!(r#"{{"id":1,"tool":"t","result":{result},"error":{{"#));
        batch.stdout_contains(r#""class":"protocol","code":7"#);
    }
    // Content that cannot be shown as a block is shown with the failure: the tool is not run again for it.
    let server = answering("tools/call", json!({"content": [{"type": "text", "text": 5}]}));
    let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
    run.stderr_contains(r#"content[0] came as {"type":"text","text":5}"#);
    for (command, method, result, wrong) in [
        (&["read", "a:b"][..], "resources/read", json!({"contents": {}}), "contents is an object, not a list"),
        (
            &["read", "a:b"],
            "resources/read",
            json!({"contents": [{"uri": "a:b"}]}),
            "contents[0] has neither text nor blob",
        ),
        (&["prompt", "p"], "prompts/get", json!({}), "messages is missing"),
        (&["prompt", "p"], "prompts/get", json!({"messages": [{"content": "x"}]}), "messages[0].role is missing"),
    ] {
        let server = answering(method, result);
        let run = sandbox.mcpipe([command[0], &server.target(), command[1]]).run();
        run.exits(7)
            .prints("")
            .stderr_contains(&format!("the server's response to {method} is malformed"))
            .stderr_contains(wrong);
    }
}

#[test]
fn structured_content_of_a_failed_tool_is_printed() {
    let sandbox = Sandbox::new();
    let content = json!([{"type": "text", "text": "no"}]);
    for (result, code, printed) in [
        (json!({"content": content, "isError": true, "structuredContent": {"why": 1}}), 1, "{\"why\":1}\n"),
        (json!({"content": content, "isError": true}), 1, "no\n"),
        (json!({"content": content, "isError": true, "structuredContent": null}), 1, "no\n"),
        (json!({"content": "no", "structuredContent": {"why": 1}}), 7, "{\"why\":1}\n"),
        (json!({"content": "no"}), 7, "no\n"),
    ] {
        let server = answering("tools/call", result.clone());
        let run = sandbox.mcpipe(["call", &server.target(), "t", "--structured"]).run();
        run.exits(code).prints(printed);
    }
}

#[test]
fn a_malformed_answer_to_initialize_is_a_broken_protocol() {
    for (result, wrong) in [
        (json!(null), "the result is null, not an object"),
        (json!([1]), "the result is a list, not an object"),
        (json!({}), "protocolVersion, capabilities and serverInfo are missing"),
    ] {
        let check = |target: &str| {
            let run = Sandbox::new().mcpipe(["list", target]).run();
            run.exits(7).prints("").stderr_contains("error: the server's response to initialize is malformed");
            run.stderr_contains(wrong);
        };
        check(&answering("initialize", result.clone()).target());
        let result = result.clone();
        let server = Mcp::legacy("2025-03-26").on("initialize", move |call| call.result(result.clone()));
        check(&server.http().url("/mcp"));
    }
}

#[test]
fn errors_are_reported_as_they_came() {
    let sandbox = Sandbox::new();
    for (error, code, said, rpc) in [
        (json!("nope"), 7, "nope (the error is a string, not an object)", json!({"code": null, "message": "nope"})),
        (json!({"message": "no"}), 1, "no (the error has no code)", json!({"code": null, "message": "no"})),
        (
            json!({"code": "E_NO", "message": "no"}),
            1,
            "no (the error's code is not an integer: \"E_NO\")",
            json!({"code": null, "message": "no"}),
        ),
        (json!({"code": 0, "message": "no"}), 1, "no (code 0)", json!({"code": 0, "message": "no"})),
    ] {
        let body = error.clone();
        let server = Mcp::legacy("2025-06-18").on("tools/call", move |call| {
            vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": call.id(), "error": body}))]
        });
        let server = server.stdio();
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x"]).run();
        run.exits(code).prints("").stderr_contains(&format!("the server refused tools/call: {said}\n"));
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--json"]).run();
        run.exits(code);
        assert_eq!(run.json_error()["rpc"], rpc);
    }
    // Over HTTP, also without a mark of JSON-RPC.
    let server = HttpServer::start(|_| Reply::json(&json!({"error": "nope"})));
    let run = sandbox.mcpipe(["list", &server.url("/mcp")]).run();
    run.exits(7).prints("").stderr_contains("nope (the error is a string, not an object)").hides("code 0");
    // A result that names no request answers none.
    let script = Mcp::legacy("2025-06-18").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" => Reply::json(&json!({"jsonrpc": "2.0", "id": null, "result": {"content": []}})),
        _ => script(request),
    });
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=x"]).run();
    run.exits(7).prints("").stderr_contains("the server answered with a result without an ID");
}

#[test]
fn omitted_result_fields_are_tolerated() {
    let sandbox = Sandbox::new();
    for (result, printed) in [
        (json!({"structuredContent": {"a": 1}}), "{\n  \"a\": 1\n}\n"),
        (json!({"content": null, "isError": null, "structuredContent": 1}), "1\n"),
        (json!({"content": [{"type": "hologram"}]}), "[unknown content type 'hologram'; --json shows it]\n"),
    ] {
        let server = answering("tools/call", result);
        sandbox.mcpipe(["call", &server.target(), "t"]).run().succeeds().prints(printed);
    }
}

#[test]
fn a_failed_tool_without_content_is_reported() {
    let sandbox = Sandbox::new();
    for result in
        [json!({"content": [], "isError": true}), json!({"content": [{"type": "text", "text": " "}], "isError": true})]
    {
        let server = answering("tools/call", result.clone());
        let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
        run.exits(1).stderr_contains("mcpipe: error: the tool failed without a message");
        let run = sandbox.mcpipe(["call", &server.target(), "t", "--json"]).run();
        run.exits(1);
        assert_eq!(run.json(), result);
        assert_eq!(run.json_error()["message"], "the tool failed without a message");
    }
    let server = answering("tools/call", json!({"content": [], "isError": true, "structuredContent": {"e": 1}}));
    let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
    run.exits(1).prints("{\n  \"e\": 1\n}\n");
    assert_eq!(run.stderr(), "mcpipe: error: the tool reported an error\n");
}
