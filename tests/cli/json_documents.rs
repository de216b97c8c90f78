//! The examples in `docs/json.md` have the members that the commands print.

use serde_json::{Value, json};

use super::generated_docs::root;
use crate::support::{Mcp, Sandbox};

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
fn configured() -> (Sandbox, crate::support::StdioServer) {
    let (sandbox, server) = (Sandbox::new(), Mcp::modern().stdio());
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
