//! `examples/agent.sh`: the loop between a model and the tools of the configured servers, against scripted model APIs.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::mcp::PIXEL;
use crate::support::real::{python_program, real_test_file, real_tools};
use crate::support::{HttpServer, Mcp, Reply, Sandbox, StdioServer};

/// The exit code, standard output and standard error of a run with this input.
fn run_agent(sandbox: &Sandbox, api: &str, url: &str, rounds: &str, input: &str) -> (i32, String, String) {
    let root = env!("CARGO_MANIFEST_DIR");
    let binaries = std::path::Path::new(env!("CARGO_BIN_EXE_mcpipe")).parent().unwrap();
    let like = sandbox.mcpipe(["x"]).command(&[]);
    let mut command = Command::new("bash");
    command.args([&format!("{root}/examples/agent.sh"), "What is 2 + 3?"]).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.env("PATH", format!("{}:/usr/bin:/bin", binaries.display())).current_dir(sandbox.work());
    command.envs([("API", api), ("URL", url), ("MODEL", "m-1"), ("KEY", "k-secret"), ("ROUNDS", rounds)]);
    command.env("HISTORY", "chat.json");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn entry(name: &str, server: &StdioServer) -> String {
    format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", server.words()[0], &server.words()[1..])
}

/// Two configured servers; the models call `one__add`.
fn two_servers() -> (Sandbox, [StdioServer; 2]) {
    let servers = [Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio()];
    let sandbox = Sandbox::new();
    sandbox.config(&(entry("one", &servers[0]) + &entry("two", &servers[1])));
    (sandbox, servers)
}

/// The responses of an API: one that calls the tool, and one with the answer.
fn responses(api: &str) -> (Value, Value) {
    responses_with_calls(api, &[("one__add", json!({"a": 2, "b": 3}))])
}

/// The same with several calls.
fn responses_with_calls(api: &str, calls: &[(&str, Value)]) -> (Value, Value) {
    let each = |form: &dyn Fn(String, &str, &Value) -> Value| -> Vec<Value> {
        calls.iter().zip(1..).map(|((name, input), n)| form(format!("t{n}"), name, input)).collect()
    };
    match api {
        "anthropic" => (
            json!({"content": each(&|id, name, input| {
                json!({"type": "tool_use", "id": id, "name": name, "input": input})
            })}),
            json!({"content": [{"type": "text", "text": "It is 5."}]}),
        ),
        "openai" => (
            json!({"choices": [{"message": {"role": "assistant", "content": null, "tool_calls":
                each(&|id, name, input| json!({"id": id, "type": "function",
                    "function": {"name": name, "arguments": input.to_string()}}))}}]}),
            json!({"choices": [{"message": {"role": "assistant", "content": "It is 5."}}]}),
        ),
        "openai-responses" => (
            json!({"output": each(&|id, name, input| {
                json!({"type": "function_call", "id": format!("f{id}"), "call_id": id, "name": name,
                    "arguments": input.to_string()})
            })}),
            json!({"output": [{"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": "It is 5."}]}]}),
        ),
        _ => (
            json!({"candidates": [{"content": {"role": "model", "parts":
                each(&|_, name, input| json!({"functionCall": {"name": name, "args": input}}))}}]}),
            json!({"candidates": [{"content": {"role": "model", "parts": [{"text": "It is 5."}]}}]}),
        ),
    }
}

#[test]
fn each_api_gets_the_tools_of_all_servers_and_the_results_of_its_calls() {
    for (api, list) in
        [("anthropic", "messages"), ("openai", "messages"), ("openai-responses", "input"), ("gemini", "contents")]
    {
        let (sandbox, _servers) = two_servers();
        let (call, answer) = responses(api);
        let model = HttpServer::start(move |request| Reply::json(if request.n == 0 { &call } else { &answer }));
        let (code, stdout, stderr) = run_agent(&sandbox, api, &model.url("/"), "5", "y\n");
        assert_eq!((code, stdout.trim()), (0, "It is 5."), "{api}: {stderr}");
        let requests = model.requests();
        assert_eq!(requests.len(), 2, "{api}");
        let keys = ["x-api-key", "authorization", "x-goog-api-key"];
        assert!(keys.iter().any(|name| requests[0].header(name).is_some_and(|key| key.ends_with("k-secret"))));
        let (first, second) = (requests[0].json(), requests[1].json());
        let tools = first["tools"].to_string();
        assert!(tools.contains(r#""one__add""#) && tools.contains(r#""two__echo""#), "{api}: {tools}");
        assert_eq!(first["tools"], second["tools"]);
        assert_eq!(first[list].as_array().unwrap().len(), 1);
        let history = second[list].as_array().unwrap();
        assert_eq!(history.len(), 3, "{api}: the question, the call and its result: {second}");
        assert!(history[1].to_string().contains("one__add"), "{api}: {second}");
        assert!(history[2].to_string().contains('5'), "{api}: {second}");
        assert_eq!(first["model"], if api == "gemini" { Value::Null } else { "m-1".into() });
        // The next question goes on with the conversation.
        let (code, _, stderr) = run_agent(&sandbox, api, &model.url("/"), "5", "");
        assert_eq!(code, 0, "{api}: {stderr}");
        let third = model.requests()[2].json();
        let chat = third[list].as_array().unwrap();
        assert_eq!((&chat[..3], chat.len()), (&history[..], 5), "{api}: {third}");
        assert!(chat[3].to_string().contains("It is 5.") && chat[4] == chat[0], "{api}: {third}");
    }
}

#[test]
fn without_consent_no_tool_is_called() {
    let (sandbox, servers) = two_servers();
    let (call, _) = responses("anthropic");
    let model = HttpServer::start(move |_| Reply::json(&call));
    for input in ["n\n", ""] {
        let (code, _, stderr) = run_agent(&sandbox, "anthropic", &model.url("/"), "5", input);
        assert_eq!(code, 8, "{stderr}");
        assert!(stderr.contains(r#"{"name":"one__add","input":{"a":2,"b":3}}"#), "{stderr}");
        assert!(!sandbox.work().join("chat.json").exists(), "half a conversation was kept");
    }
    let called = |server: &StdioServer| {
        server.processes().iter().flat_map(|seen| seen.methods()).any(|method| method == "tools/call")
    };
    assert!(!servers.iter().any(called));
}

#[test]
fn the_rounds_are_limited_and_errors_of_the_api_are_shown() {
    let (sandbox, _servers) = two_servers();
    let (call, _) = responses("openai");
    let model = HttpServer::start(move |_| Reply::json(&call));
    let (code, _, stderr) = run_agent(&sandbox, "openai", &model.url("/"), "2", "y\ny\ny\n");
    assert_eq!((code, model.requests().len()), (1, 2), "{stderr}");
    assert!(stderr.ends_with("agent.sh: no answer after 2 requests\n"), "{stderr}");
    let broken = HttpServer::start(|_| Reply::json(&json!({"error": {"message": "no such model"}})).with_status(404));
    let (code, stdout, stderr) = run_agent(&sandbox, "openai", &broken.url("/"), "2", "");
    assert_eq!((code, stdout.as_str()), (5, ""), "{stderr}");
    assert!(stderr.contains("no such model"), "{stderr}");
}

#[test]
fn a_long_result_is_cut_for_the_model() {
    let server = Mcp::modern()
        .on("tools/call", |call| call.text(&"x".repeat(90_000)))
        .tools(json!([{"name": "add", "inputSchema": {"type": "object"}}]))
        .stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.one]\ncommand = {:?}\nargs = {:?}\n", server.words()[0], &server.words()[1..]));
    let (call, answer) = responses("anthropic");
    let model = HttpServer::start(move |request| Reply::json(if request.n == 0 { &call } else { &answer }));
    let (code, _, stderr) = run_agent(&sandbox, "anthropic", &model.url("/"), "5", "y\n");
    assert_eq!(code, 0, "{stderr}");
    let second = model.requests()[1].json();
    let text = second["messages"][2]["content"][0]["content"][0]["text"].as_str().unwrap().to_owned();
    assert!(text.len() <= 20_000 && text.contains("bytes omitted; the whole text is in "), "{}", text.len());
    let kept = text.split(" is in ").nth(1).unwrap().split(']').next().unwrap();
    std::fs::remove_file(kept).unwrap();
}

/// Lists tools with names and schemas that no API accepts as they are, and returns content of each kind.
fn odd_server() -> StdioServer {
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    let tool = |name: &str, schema: Value| json!({"name": name, "inputSchema": schema});
    let content = json!([
        {"type": "text", "text": "5", "annotations": {"audience": ["user"]}},
        {"type": "image", "mimeType": "image/png", "data": PIXEL},
        {"type": "image", "mimeType": "image/tiff", "data": "AAAA"},
        {"type": "audio", "mimeType": "audio/wav", "data": "AAAA"},
        {"type": "resource_link", "uri": "demo://hello", "name": "hello"},
        {"type": "resource", "resource": {"uri": "demo://a", "mimeType": "text/plain", "text": "A"}},
        {"type": "resource", "resource": {"uri": "demo://b", "mimeType": "application/pdf", "blob": "AAAA"}},
        {"type": "resource", "resource": {"uri": "demo://c", "mimeType": "image/png", "blob": PIXEL}},
    ]);
    let of = |role: &str, content: &Value| json!({"role": role, "content": content});
    let content_list = content.as_array().unwrap();
    let messages: Vec<Value> = ["user", "assistant", "user"]
        .iter()
        .flat_map(|role| content_list.iter().map(|content| of(role, content)))
        .collect();
    let failed = json!({"isError": true, "content": content});
    Mcp::modern()
        .tools(json!([
            tool("kinds", json!({"type": "object"})),
            tool("failed", json!({"type": "object"})),
            tool("a.dotted/name with spaces", object(json!({}))),
            tool(&"long".repeat(40), json!({})),
            tool("7", json!({"properties": {"a": {"type": "string"}}})),
            tool("arrays", object(json!({"a": {"type": "array"}, "b": {"type": ["array", "null"]},
                "c": {"anyOf": [{"type": "array"}, {"type": "null"}]}, "d": {"type": "array", "items": {"type": "array"}},
                "e": {"type": "array", "prefixItems": [{"type": "array"}]}, "f": {"type": "array", "items": []}}))),
            tool("names", object(json!({"$top": {"type": "integer"}, "a b": {"type": "string"}, "": {},
                "in": {"type": "object", "properties": {"@type": {"type": "string"}}}}))),
            tool("unknown", object(json!({"a": {"type": "strng"}, "b": {"type": ["int", "null"]}}))),
            tool("misplaced", object(json!({"a": {"type": "string"}, "required": ["a"]}))),
            tool("broken", object(json!({"a": {"type": "string", "enum": "x"}, "c": "string",
                "d": {"$ref": "#/$defs/none"}, "e": {"type": "string", "required": true}, "f": {"items": 5}}))),
            tool("choice", json!({"type": "object", "anyOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": {"type": "array"}}, "required": ["b"]}]})),
            tool("all", json!({"type": "object", "allOf": [{"$ref": "#/$defs/a"}], "not": {"required": ["z"]},
                "$defs": {"a": {"type": "object", "properties": {"a": {"type": "array"}}}}})),
            tool("recursive", json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object",
                "properties": {"next": {"$ref": "#/$defs/node"}, "all": {"type": "array", "items": {"$ref": "#/$defs/node"}}}}}})),
            tool("old", json!({"$schema": "http://json-schema.org/draft-04/schema#", "type": "object", "properties":
                {"a": {"type": "number", "minimum": 0, "exclusiveMinimum": true}}, "id": "urn:x"})),
            tool("values", object(json!({"a": {"enum": ["x", null]}, "b": {"const": {"type": "array"}},
                "c": {"type": "object", "default": {"type": "strng"}, "additionalProperties": {"type": "array"}}}))),
        ]))
        .on("tools/call", move |call| {
            call.result(if call.tool() == "failed" { failed.clone() } else { json!({"content": content}) })
        })
        .on("prompts/get", move |call| call.result(json!({"messages": messages})))
        .stdio()
}

#[test]
fn requests_have_the_types_of_the_vendors_packages() {
    let (one, odd) = (Mcp::legacy("2025-11-25").stdio(), odd_server());
    // Lists the tools of all real servers, which start once instead of once for each API.
    let real = Mcp::modern().tools(real_tools().into()).stdio();
    let config = entry("one", &one) + &entry("odd", &odd) + &entry("real", &real);
    let calls = [
        ("one__add", json!({"a": 2, "b": 3})),
        ("one__image", json!({})),
        ("one__fail", json!({})),
        ("one__add", json!({"a": "wrong"})),
        ("odd__kinds", json!({})),
        ("odd__failed", json!({})),
        ("none", json!({})),
    ];
    let requests_of = |api: &'static str| {
        let sandbox = Sandbox::new();
        sandbox.config(&config);
        let (call, answer) = responses_with_calls(api, &calls);
        let model = HttpServer::start(move |request| Reply::json(if request.n == 0 { &call } else { &answer }));
        let (code, _, stderr) = run_agent(&sandbox, api, &model.url("/"), "5", "y\n");
        assert_eq!(code, 0, "{api}: {stderr}");
        let mut bodies: Vec<Value> = model.requests().iter().map(|request| request.json()).collect();
        assert_eq!(bodies.len(), 2, "{api}");
        let prompt = sandbox.mcpipe(["prompt", "odd", "greet", "who=Ada", "--for", api]).run();
        let list = ["messages", "input", "contents"].into_iter().find(|list| bodies[0].get(list).is_some()).unwrap();
        let mut body = bodies[0].clone();
        body[list] = prompt.exits(0).json();
        bodies.push(body);
        // Proves that the check refuses something.
        let mut wrong = bodies[1].clone();
        let last = wrong[list].as_array_mut().unwrap().last_mut().unwrap().as_object_mut().unwrap();
        last.insert("surprise".to_owned(), json!(1));
        bodies.push(wrong);
        bodies.into_iter().map(move |body| json!({"api": api, "body": body})).collect::<Vec<Value>>()
    };
    let apis = ["anthropic", "openai", "openai-responses", "gemini"];
    let cases: Vec<Value> = std::thread::scope(|scope| {
        let all: Vec<_> = apis.iter().map(|api| scope.spawn(|| requests_of(api))).collect();
        all.into_iter().flat_map(|one| one.join().unwrap()).collect()
    });

    let sandbox = Sandbox::new();
    let file = sandbox.file("requests.json", json!(cases).to_string());
    let output = Command::new(python_program("python"))
        .arg(real_test_file("model_requests.py"))
        .stdin(std::fs::File::open(file).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let errors: Vec<Option<String>> = serde_json::from_slice(&output.stdout).unwrap();
    for (n, (case, error)) in cases.iter().zip(&errors).enumerate() {
        let kind = ["the question", "the results", "a prompt", "a wrong request"][n % 4];
        assert_eq!(error.is_some(), n % 4 == 3, "{}, {kind}: {error:?}", case["api"]);
    }
}
