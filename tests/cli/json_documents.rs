//! The examples in `docs/json.md` have the members that the commands print.

use serde_json::{Value, json};

use super::generated_docs::root;
use crate::support::mcp::{ServerAction, play_actions};
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::{HttpServer, Mcp, ProcessEvent, Sandbox, StdioServer};

/// The example documents of `docs/json.md` under each heading.
pub fn examples() -> Vec<(String, Vec<Value>)> {
    let text = std::fs::read_to_string(root().join("docs/json.md")).unwrap();
    let mut found: Vec<(String, Vec<Value>)> = Vec::new();
    let mut in_block = false;
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            found.push((heading.replace('`', ""), Vec::new()));
        } else if line.starts_with("```") {
            in_block = line == "```json";
        } else if in_block {
            let document = serde_json::from_str(line).unwrap_or_else(|error| panic!("docs/json.md: {line}: {error}"));
            found.last_mut().unwrap().1.push(document);
        }
    }
    found.retain(|(_, documents)| !documents.is_empty());
    found
}

/// An example by its heading and its number under it.
fn example(heading: &str, number: usize) -> Value {
    let found = examples().into_iter().find(|(name, _)| name == heading).unwrap_or_else(|| panic!("no '{heading}'"));
    found.1[number].clone()
}

/// The places where two documents differ in their members or in the types of their values. `null` is of any type, and
/// what is passed on from elsewhere may have any members.
fn differences(example: &Value, real: &Value, place: &str, passed_on: &[&str], found: &mut Vec<String>) {
    if passed_on.iter().any(|name| place.ends_with(name)) {
        return;
    }
    match (example, real) {
        (Value::Null, _) | (_, Value::Null) => {}
        (Value::Object(wanted), Value::Object(members)) => {
            found.extend(
                wanted.keys().filter(|name| !members.contains_key(*name)).map(|name| format!("no {place}.{name}")),
            );
            for (name, member) in members {
                match wanted.get(name) {
                    Some(wanted) => differences(wanted, member, &format!("{place}.{name}"), passed_on, found),
                    None => found.push(format!("{place}.{name} is not described")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(items)) => {
            if let Some(wanted) = wanted.first() {
                items.iter().for_each(|item| differences(wanted, item, &format!("{place}[]"), passed_on, found));
            }
        }
        _ => {
            if std::mem::discriminant(example) != std::mem::discriminant(real) {
                found.push(format!("{place} is {real} and not like {example}"));
            }
        }
    }
}

#[track_caller]
fn assert_described(heading: &str, number: usize, real: &Value, passed_on: &[&str]) {
    let mut found = Vec::new();
    differences(&example(heading, number), real, "", passed_on, &mut found);
    assert!(found.is_empty(), "docs/json.md, {heading}: {found:?}\n{real}");
}

/// A sandbox with the configured server `demo`, and the server.
fn configured() -> (Sandbox, StdioServer) {
    configured_with(Mcp::modern())
}

fn configured_with(mcp: Mcp) -> (Sandbox, StdioServer) {
    let (sandbox, server) = (Sandbox::new(), mcp.stdio());
    let target = server.target();
    let words: Vec<&str> = std::iter::once("config").chain(["add", "demo", "--"]).collect();
    sandbox.mcpipe(words).args(target.split(' ')).run().exits(0);
    (sandbox, server)
}

#[test]
fn lists_and_calls_print_the_documents_described() {
    let (sandbox, _server) = configured();
    let json = |words: &[&str]| sandbox.mcpipe(words).arg("--json").run().json();
    assert_described("list TARGET", 0, &json(&["list", "demo"]), &[".tools[]"]);
    assert_described("list TARGET", 1, &json(&["list", "demo", "--brief"]), &[]);
    assert_described("list TARGET", 2, &json(&["list", "demo", "--tokens"]), &[]);
    assert_described("list TARGET --info", 0, &json(&["list", "demo", "--info"]), &[".serverInfo", ".capabilities"]);
    assert_described("list", 0, &json(&["list"]), &[]);
    assert_described("list", 1, &json(&["list", "--search", "echo"]), &[".lists.tools[]"]);
    assert_described("call --dry-run", 0, &json(&["call", "demo", "echo", "text=x", "--dry-run"]), &[".params"]);
    let several = json(&["read", "demo", "demo://hello", "demo://nothing"]);
    assert_described("call, read, prompt", 2, &json!({"results": [several["results"][0]]}), &[".result"]);
    let mut wanted = example("call, read, prompt", 2);
    let failed = wanted["results"][1].take();
    let mut found = Vec::new();
    differences(&failed, &several["results"][1], "", &[".rpc"], &mut found);
    assert!(found.is_empty(), "{found:?}");
    let batch = sandbox
        .mcpipe(["call", "demo", "--batch", "-", "--ordered"])
        .stdin("{\"id\":\"a\",\"tool\":\"echo\",\"arguments\":{\"text\":\"x\"}}\n{\"id\":\"b\",\"tool\":\"ecoh\"}\n")
        .run();
    let lines: Vec<Value> = batch.exits(1).stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_described("call --batch", 0, &lines[0], &[".result"]);
    assert_described("call --batch", 1, &json!({"id": 2, "tool": lines[1]["tool"], "error": lines[1]["error"]}), &[]);
    let tool_use = r#"{"content":[{"type":"tool_use","id":"t","name":"echo","input":{"text":"x"}}]}"#;
    let used = sandbox.mcpipe(["call", "demo", "--tool-use", "-"]).stdin(tool_use).run().json();
    assert_described("call --tool-use", 0, &used, &[]);
}

#[test]
fn failures_and_tests_print_the_documents_described() {
    let (sandbox, _server) = configured();
    let failed = sandbox.mcpipe(["call", "demo", "nothing", "--json"]).run();
    let mut described = example("Failures", 0);
    described["error"].as_object_mut().unwrap().remove("stderr");
    let mut found = Vec::new();
    differences(&described, &json!({"error": failed.exits(1).json_error()}), "", &[".rpc"], &mut found);
    assert!(found.is_empty(), "{found:?}");
    let tested = sandbox.mcpipe(["test", "demo", "--json"]).run();
    for line in tested.stdout().lines() {
        assert_described("Tests", 0, &serde_json::from_str(line).unwrap(), &[".error"]);
    }
    sandbox
        .file("demo.toml", "target = \"demo\"\n[[test]]\nname = \"adds\"\ncall = \"add\"\nargs = { a = 1, b = 2 }\n");
    let suite = sandbox.mcpipe(["test", "demo.toml", "--json"]).run();
    assert_described("Tests", 1, &serde_json::from_str(suite.stdout().trim()).unwrap(), &[]);
    let repeated = sandbox.mcpipe(["call", "demo", "echo", "text=x", "--repeat", "2", "--json"]).run();
    assert_described("Tests", 2, &repeated.json(), &[".errors"]);
}

#[test]
fn the_configuration_prints_the_documents_described() {
    let (sandbox, server) = configured();
    let json = |words: &[&str]| sandbox.mcpipe(words).arg("--json").run().json();
    assert_described("config list, config get", 0, &json(&["config", "list"]), &[]);
    assert_described("config list, config get", 1, &json(&["config", "get", "demo"]), &[".value"]);
    let added = json(&["config", "add", "near", &server.target(), "--check"]);
    assert_described("config add, config remove, config rename", 0, &added, &[]);
    let renamed = json(&["config", "rename", "near", "far"]);
    assert_described("config add, config remove, config rename", 2, &renamed, &[]);
    let removed = json(&["config", "remove", "far"]);
    assert_described("config add, config remove, config rename", 1, &removed, &[]);
    assert_described("config check", 0, &json(&["config", "check"]), &[]);
    assert_described("config path, config trust, config schema", 0, &json(&["config", "path"]), &[]);
    sandbox.file(".mcp.json", r#"{"mcpServers":{"site":{"command":"site"}}}"#);
    let trusted = json(&["config", "trust", "--yes"]);
    assert_described("config path, config trust, config schema", 1, &trusted, &[]);
    sandbox.file("cursor.json", r#"{"mcpServers":{"docs":{"command":"docs","env":{"API_KEY":"abc"}}}}"#);
    let imported = json(&["config", "import", "cursor.json", "--yes"]);
    assert_described("config import", 0, &imported, &[]);
    assert_described("auth status, auth login, auth import", 0, &json(&["auth", "status"]), &[]);
}

#[test]
fn locks_print_the_documents_described() {
    let (sandbox, _server) = configured();
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    let path = sandbox.work().join("mcp.lock");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("Adds two integers", "Adds")).unwrap();
    let checked = sandbox.mcpipe(["lock", "--check", "--json"]).run();
    let document: Value = serde_json::from_str(checked.stdout()).unwrap();
    assert_eq!(document["text"], 1);
    assert_described("lock --check, lock --update", 0, &document, &[".before", ".after"]);
}

/// Every example is compared in this file, by its heading and number.
#[test]
fn every_example_is_compared() {
    let compared = include_str!("json_documents.rs");
    for (heading, documents) in examples() {
        for number in 0..documents.len() {
            let place = format!("\"{heading}\", {number}");
            assert!(compared.contains(&place), "docs/json.md, {heading}: example {number} is not compared");
        }
    }
}

#[test]
fn results_are_printed_as_the_server_sent_them() {
    let called = example("call, read, prompt", 0);
    let requested = example("request", 0);
    let watched = example("--watch", 0);
    let (result, prompts, contents) = (called.clone(), requested.clone(), watched["result"].clone());
    let mcp = Mcp::legacy("2025-11-25")
        .on("tools/call", move |call| call.result(result.clone()))
        .on("prompts/list", move |call| call.result(prompts.clone()))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |call| call.result(json!({})))
        .on("resources/read", move |call| {
            let mut contents = contents.clone();
            contents["contents"][0]["uri"] = call.params()["uri"].clone();
            call.result(contents)
        })
        .capabilities(json!({"tools": {}, "prompts": {}, "resources": {"subscribe": true}}));
    let (sandbox, _server) = configured_with(mcp);
    let printed = |document: &Value| format!("{document}\n");
    sandbox.mcpipe(["call", "demo", "echo", "text=x", "--json"]).run().exits(0).prints(&printed(&called));
    sandbox.mcpipe(["request", "demo", "prompts/list"]).run().exits(0).prints(&printed(&requested));
    let uri = watched["uri"].as_str().unwrap();
    let watching = sandbox.mcpipe(["read", "demo", uri, "demo://hello", "--watch", "--json"]).start();
    let mut other = watched.clone();
    other["uri"] = "demo://hello".into();
    other["result"]["contents"][0]["uri"] = "demo://hello".into();
    watching.wait_for_stdout(&format!("{watched}\n{other}\n"));
    watching.signal(rustix::process::Signal::INT);
    watching.wait().exits(130);
}

#[test]
fn files_and_skills_that_are_saved_are_printed_as_described() {
    const SKILL: &str = "skill://pdf/SKILL.md";
    let skill = json!({"uri": SKILL, "frontmatter": {"name": "pdf", "description": "d"}, "resources": "dynamic"});
    let mcp = Mcp::modern()
        .capabilities(json!({"tools": {}, "resources": {}, "extensions": {"io.modelcontextprotocol/skills": {}}}))
        .on("skills/get", move |call| call.result(json!({"skill": skill, "ttlMs": 0, "cacheScope": "private"})))
        .on("resources/read", |call| {
            let content = json!({"uri": call.params()["uri"], "text": "---\nname: pdf\ndescription: d\n---\n"});
            call.result(json!({"contents": [content], "ttlMs": 0, "cacheScope": "private"}))
        });
    let (sandbox, _server) = configured_with(mcp);
    let run = |words: &[&str]| sandbox.mcpipe(words).arg("--json").run();
    let saved = run(&["read", "demo", "demo://a", "--save", "out"]);
    let line = saved.exits(0).stderr().lines().last().unwrap_or_default().to_owned();
    assert_described("call, read, prompt", 1, &serde_json::from_str(&line).unwrap(), &[]);
    let skill = run(&["read", "demo", SKILL, "--save", "skills"]);
    assert_described("call, read, prompt", 3, &skill.exits(0).json(), &[]);
    let several = run(&["read", "demo", SKILL, "demo://a", "--save", "both"]).exits(0).json();
    let mut found = Vec::new();
    for (n, described) in example("call, read, prompt", 4)["results"].as_array().unwrap().iter().enumerate() {
        differences(described, &several["results"][n], "", &[".result"], &mut found);
    }
    assert!(found.is_empty(), "{found:?}\n{several}");
}

#[test]
fn tools_and_prompts_for_a_model_are_printed_as_described() {
    let (sandbox, _server) = configured();
    let tools = sandbox.mcpipe(["list", "--for", "anthropic"]).run().exits(0).json();
    assert_described("list --for, prompt --for", 0, &tools, &[".input_schema"]);
    let messages = sandbox.mcpipe(["prompt", "demo", "greet", "who=Ada", "--for", "anthropic"]).run().exits(0).json();
    assert_described("list --for, prompt --for", 1, &messages, &[]);
    let page = sandbox.mcpipe(["man", "list", "--json"]).run().exits(0).json();
    assert_described("completions SHELL, man", 0, &page, &[]);
}

#[test]
fn warnings_logs_and_events_are_printed_as_described() {
    let mcp = Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "resources": {}, "logging": {},
            "extensions": {"io.modelcontextprotocol/skills": {}}}))
        .on("logging/setLevel", |call| call.result(json!({})))
        .on("skills/list", |call| call.result(json!({"skills": []})))
        .on("resources/read", |call| {
            call.result(json!({"contents": [{"uri": call.params()["uri"], "text": "---\nname: pdf\n---\n"}]}))
        })
        .on("tools/call", |call| {
            let log = json!({"jsonrpc": "2.0", "method": "notifications/message",
                "params": {"level": "info", "logger": "db", "data": "connected"}});
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": call.params()["_meta"]["progressToken"], "progress": 1, "total": 2}});
            [progress, log].into_iter().map(ServerAction::Send).chain(call.text("42")).collect()
        });
    let (sandbox, _server) = configured_with(mcp);
    let run = |words: &[&str]| sandbox.mcpipe(words).arg("--json").run();
    let lines = |text: &str| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
    let unknown = run(&["read", "demo", "skill://pdf/SKILL.md"]);
    assert_eq!(lines(unknown.exits(0).stderr()), [example("Failures", 1)]);
    let logged = run(&["call", "demo", "echo", "text=x", "--log-level", "info"]);
    assert_eq!(lines(logged.exits(0).stderr()), [example("Failures", 2)]);
    let events = lines(run(&["call", "demo", "echo", "text=x", "--events", "-"]).exits(0).stdout());
    assert_described("--events FILE|-", 0, &events[0], &[]);
    assert_described("--events FILE|-", 1, events.last().unwrap(), &[]);
}

#[test]
fn a_trace_has_the_lines_described() {
    // A server that writes to both streams before it answers, and one behind a URL.
    let mcp = std::sync::Arc::new(Mcp::modern());
    let noisy = StdioServer::start(move |process, event| match event {
        ProcessEvent::Started => {
            process.write("INFO ready\n");
            process.write_stderr("listening\n");
        }
        ProcessEvent::Line(line) => {
            if line.contains("tools/list") {
                process.write("INFO ready ");
            }
            play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap()));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Signal(_) => {}
    });
    let remote = HttpServer::start(Mcp::modern().http_script(LegacyHttpOptions::default()));
    let sandbox = Sandbox::new();
    let mut lines: Vec<Value> = Vec::new();
    for target in [noisy.target(), remote.url("/mcp")] {
        sandbox.mcpipe(["list", &target, "--trace", "trace.ndjson"]).run().exits(0);
        let text = std::fs::read_to_string(sandbox.work().join("trace.ndjson")).unwrap();
        lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        std::fs::remove_file(sandbox.work().join("trace.ndjson")).unwrap();
    }
    let is_like = |described: &Value, line: &Value| {
        let mut found = Vec::new();
        differences(described, line, "", &[".message"], &mut found);
        found.is_empty() && (line["message"].is_string() || !described["message"].is_string())
    };
    let described = [
        example("--trace FILE", 0),
        example("--trace FILE", 1),
        example("--trace FILE", 2),
        example("--trace FILE", 3),
        example("--trace FILE", 4),
        example("--trace FILE", 5),
    ];
    for one in &described {
        assert!(lines.iter().any(|line| is_like(one, line)), "no line is like {one}\n{lines:?}");
    }
    for line in &lines {
        assert!(described.iter().any(|one| is_like(one, line)), "not described: {line}");
    }
}

#[test]
fn tasks_are_printed_as_described() {
    let task = json!({"taskId": "786512e2", "status": "working"});
    let created = task.clone();
    let mcp = Mcp::modern()
        .capabilities(json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}))
        .on("tools/call", move |call| {
            let mut result = created.clone();
            result["resultType"] = "task".into();
            call.result(result)
        })
        .on("tasks/get", move |call| call.result(task.clone()));
    let (sandbox, server) = (Sandbox::new(), mcp.http());
    sandbox.config(&format!("[servers.demo]\nurl = \"{}\"\n", server.url("/mcp")));
    let json = |words: &[&str]| sandbox.mcpipe(words).arg("--json").run().exits(0).json();
    assert_described("call --detach", 0, &json(&["call", "demo", "echo", "text=x", "--detach"]), &[".task"]);
    assert_described("task", 0, &json(&["task", "list"]), &[]);
}

#[test]
fn logins_and_stored_secrets_are_printed_as_described() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    sandbox.config(&format!(
        "[servers.near]\nurl = \"{}\"\n[servers.other]\nurl = \"https://mcp.example\"\nheaders = {{ X-Key = \"${{keychain:KEY}}\" }}\n",
        server.url()
    ));
    let json = |words: &[&str]| sandbox.mcpipe(words).arg("--json").with_browser().run().exits(0).json();
    let mut described = example("auth status, auth login, auth import", 0);
    described["credentials"] = json!([described["credentials"][0]]);
    let login = json(&["auth", "login", "near"]);
    assert_described("auth status, auth login, auth import", 0, &json(&["auth", "status"]), &[]);
    let mut found = Vec::new();
    differences(&described["credentials"][0], &login, "", &[], &mut found);
    assert!(found.is_empty(), "{found:?}\n{login}");
    assert_described("auth token", 0, &json(&["auth", "token", "near"]), &[]);
    let removed = json(&["auth", "logout", "near"]);
    assert_eq!(removed["removed"].as_array().unwrap().len(), 1, "{removed}");
    assert_described("auth logout", 0, &removed, &[]);
    let stored = sandbox.mcpipe(["config", "secret", "set", "KEY", "--json"]).stdin("value").run().exits(0).json();
    assert_described("config secret", 0, &stored, &[]);
    let secrets = json(&["config", "secret", "list"]);
    assert_eq!(secrets["secrets"][0]["used_by"], json!(["other"]));
    assert_described("config secret", 2, &secrets, &[]);
    assert_described("config secret", 1, &json(&["config", "secret", "remove", "KEY"]), &[]);
}

#[test]
fn sessions_are_printed_as_described() {
    let mcp = std::sync::Arc::new(Mcp::modern());
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Started => process.write_stderr("listening\n"),
        ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Signal(_) => {}
    });
    let sandbox = Sandbox::new();
    let json = |words: &[&str]| sandbox.mcpipe(words).arg("--json").allow_leftovers().run().exits(0).json();
    let started = json(&["session", "start", &server.target(), "--name", "browser"]);
    assert_described("session", 0, &json!({"sessions": [started]}), &[]);
    assert_described("session", 0, &json(&["session", "list"]), &[]);
    assert_described("session", 2, &json(&["session", "logs", "browser"]), &[]);
    let stopped = sandbox.mcpipe(["session", "stop", "browser", "--json"]).run().exits(0).json();
    assert_eq!(stopped, example("session", 1));
}
