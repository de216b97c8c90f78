//! `examples/agent.sh`: the loop between a model and the tools of the configured servers, against scripted model APIs.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::{HttpServer, Mcp, Reply, Sandbox};

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
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Two configured servers; the models call `one__add`.
fn two_servers() -> (Sandbox, [crate::support::StdioServer; 2]) {
    let servers = [Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio()];
    let sandbox = Sandbox::new();
    let entry = |name: &str, words: Vec<String>| {
        format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..])
    };
    sandbox.config(&(entry("one", servers[0].words().to_vec()) + &entry("two", servers[1].words().to_vec())));
    (sandbox, servers)
}

/// The responses of an API: one that calls the tool, and one with the answer.
fn responses(api: &str) -> (Value, Value) {
    let input = json!({"a": 2, "b": 3});
    match api {
        "anthropic" => (
            json!({"content": [{"type": "tool_use", "id": "t1", "name": "one__add", "input": input}]}),
            json!({"content": [{"type": "text", "text": "It is 5."}]}),
        ),
        "openai" => (
            json!({"choices": [{"message": {"role": "assistant", "content": null, "tool_calls": [{"id": "t1",
                "type": "function", "function": {"name": "one__add", "arguments": input.to_string()}}]}}]}),
            json!({"choices": [{"message": {"role": "assistant", "content": "It is 5."}}]}),
        ),
        "openai-responses" => (
            json!({"output": [{"type": "function_call", "id": "f1", "call_id": "t1", "name": "one__add",
                "arguments": input.to_string()}]}),
            json!({"output": [{"type": "message", "role": "assistant",
                "content": [{"type": "output_text", "text": "It is 5."}]}]}),
        ),
        _ => (
            json!({"candidates": [{"content": {"role": "model",
                "parts": [{"functionCall": {"name": "one__add", "args": input}}]}}]}),
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
    }
    let called = |server: &crate::support::StdioServer| {
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
