//! Every command in a code block of the documents runs, against servers that have what it names.
//!
//! The commands of `docs/recipes.md` are compared with their output in `recipes.rs`. Those of `docs/cli.md` and
//! `docs/messages.md`, which are generated from the help and the messages, are only parsed (`documented_commands.rs`).

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::generated_docs::root;
use crate::config::bundles::archive;
use crate::support::mcp::{ClientMessage, PIXEL, ServerAction};
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::{Feed, HttpServer, Mcp, Reply, Sandbox, StdioServer};

/// The documents whose commands are tested elsewhere.
const TESTED_ELSEWHERE: &[&str] = &["docs/cli.md", "docs/messages.md", "docs/recipes.md"];

/// Commands for a terminal, and what a script writes instead.
const REPLACED: &[(&str, &str)] = &[
    ("read api api://status --watch", "read api api://status --watch | head -n 1"),
    ("config trust ./weather.mcpb", "config trust ./weather.mcpb --yes"),
    ("config secret set WEATHER_KEY", "config secret set WEATHER_KEY <<< 'k'"),
    ("mcpipe config import", "mcpipe config import --yes"),
];

/// Commands that do not run here, and why.
const NOT_RUN: &[(&str, &str)] = &[
    ("scripts/demo", "builds the program"),
    ("scripts/test", "runs all tests"),
    ("rustup target add x86_64-unknown-linux-musl", "installs a toolchain; a job of CI runs it"),
    ("apt-get install musl-tools", "needs root; a job of CI runs it"),
    ("cargo build --release --locked --target x86_64-unknown-linux-musl", "builds the program; a job of CI runs it"),
    ("sha256sum --check --ignore-missing SHA256SUMS", "needs a release; `packaging/test archive` does the same"),
    (
        "gh attestation verify mcpipe-VERSION-x86_64-unknown-linux-musl.tar.gz --repo OWNER/mcpipe",
        "needs a release at GitHub",
    ),
    ("brew tap-new local/mcpipe", "needs Homebrew"),
    ("cp mcpipe.rb \"$(brew --repository local/mcpipe)/Formula/\"", "needs Homebrew"),
    ("brew install local/mcpipe/mcpipe", "needs Homebrew"),
];

/// The documents that are run: each name and its text.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        names.push(format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    }
    names.retain(|name| name.ends_with(".md") && !TESTED_ELSEWHERE.contains(&name.as_str()));
    names.into_iter().map(|name| (name.clone(), std::fs::read_to_string(root().join(&name)).unwrap())).collect()
}

/// The commands of a document as they are pasted, without the explanation beside them: every line of a block for a shell, and the
/// lines of indented blocks that run mcpipe.
fn commands(text: &str) -> Vec<String> {
    let mut joined = String::new();
    for line in text.lines() {
        let line = if joined.ends_with(' ') { line.trim_start() } else { line };
        let begun = line.strip_suffix('\\').or_else(|| line.ends_with('|').then_some(line));
        match begun.filter(|_| !line.starts_with('|')) {
            Some(begun) => joined += &format!("{} ", begun.trim_end()),
            None => joined += &format!("{line}\n"),
        }
    }
    let mut block = None;
    let mut found = Vec::new();
    for line in joined.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            block = block.is_none().then(|| language.to_owned());
            continue;
        }
        let is_shell = match block.as_deref() {
            Some(language) => language == "sh",
            None => line.starts_with("    ") && runs_mcpipe(line.trim()),
        };
        let command = line.trim().split(" #").next().unwrap_or_default().trim_end();
        if is_shell && !command.is_empty() && !command.starts_with('#') {
            found.push(without_explanation(command).to_owned());
        }
    }
    found
}

fn runs_mcpipe(command: &str) -> bool {
    let begins = |at: usize| at == 0 || command[..at].trim_end().ends_with(['|', '&']);
    command.match_indices("mcpipe ").any(|(at, _)| begins(at)) && !command.contains("[OPTIONS]")
}

/// A command up to two blanks in a row, outside quotes: what follows explains it.
fn without_explanation(line: &str) -> &str {
    let mut quote = None;
    let mut blank = false;
    for (at, c) in line.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') if blank && !line[at..].trim_start().starts_with(['|', '>']) => return line[..at].trim_end(),
            _ => {}
        }
        blank = quote.is_none() && c == ' ';
    }
    line
}

/// A tool with these parameters, none of which is required.
fn tool(name: &str, properties: Value) -> Value {
    let reads = !["create_issue", "book", "edit", "note"].contains(&name);
    json!({"name": name, "description": format!("The tool '{name}'"), "annotations": {"readOnlyHint": reads},
        "inputSchema": {"type": "object", "properties": properties}})
}

fn with_tasks(mut tool: Value) -> Value {
    tool["execution"] = json!({"taskSupport": "optional"});
    tool
}

/// A server with every tool, resource and prompt that the documents name.
fn server() -> Mcp {
    let string = || json!({"type": "string"});
    let object = || json!({"type": "object"});
    let tools = json!([
        tool(
            "book",
            json!({"from": string(), "seats": {"type": "integer"}, "options": object(),
            "tags": {"type": "array", "items": string()}})
        ),
        tool("edit", json!({"edits": {"type": "array", "items": object()}})),
        tool("note", json!({"text": string(), "meta": object()})),
        tool("search", json!({"query": string()})),
        tool("whoami", json!({})),
        tool("list_issues", json!({"team": string()})),
        tool("get_issue", json!({"id": {"type": "integer"}})),
        tool("create_issue", json!({"title": string(), "description": string(), "priority": {"type": "integer"}})),
        tool("browser_navigate", json!({"url": string()})),
        tool("browser_snapshot", json!({})),
        with_tasks(tool("research", json!({"topic": string()}))),
        tool("summarize", json!({})),
        tool("render", json!({})),
        tool("forecast", json!({"city": string()})),
        tool("convert_time", json!({"source_timezone": string(), "time": string(), "target_timezone": string()})),
        tool("echo", json!({"message": string()})),
    ]);
    let names: Vec<String> =
        tools.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().into()).collect();
    Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "resources": {"subscribe": true}, "prompts": {},
            "tasks": {"requests": {"tools": {"call": {}}}}}))
        .tools(tools)
        .on("tools/call", move |call| match call.tool() {
            name if !names.iter().any(|known| known == name) => call.error(-32602, "Unknown tool"),
            "render" => call.result(json!({"content": [{"type": "image", "mimeType": "image/png", "data": PIXEL}]})),
            _ => answer(call),
        })
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/read", |call| {
            call.result(json!({"contents": [{"uri": call.params()["uri"], "text": "all is well\n"}]}))
        })
        .on("prompts/list", |call| call.result(json!({"prompts": [{"name": "triage", "arguments": [{"name": "id"}]}]})))
        .on("prompts/get", |call| {
            call.result(
                json!({"messages": [{"role": "user", "content": {"type": "text", "text": "How urgent is it?"}}]}),
            )
        })
}

fn answer(call: &ClientMessage) -> Vec<ServerAction> {
    let data = json!({"issues": [{"id": 7, "title": "Broken build"}], "hits": ["one"]});
    call.result(json!({"content": [{"type": "text", "text": data.to_string()}], "structuredContent": data}))
}

/// Runs the commands of a document one after the other, and returns the number of those that ran, and those that failed.
fn run(text: &str) -> (usize, Vec<String>) {
    let mut commands = commands(text);
    commands.retain(|command| NOT_RUN.iter().all(|(other, _)| other != command));
    if commands.is_empty() {
        return (0, Vec::new());
    }
    let sandbox = Sandbox::new();
    let stdio = server().stdio();
    let stream = LegacyHttpOptions { get_stream: Some(Feed::default()), ..LegacyHttpOptions::default() };
    let remote = server().http_as(stream);
    let protected = ProtectedServer::in_front_of(server().http_script(LegacyHttpOptions::default()));
    let registry = registry();
    prepare(&sandbox, &stdio, &remote.url("/mcp"), &commands);
    let like = sandbox
        .mcpipe(["x"])
        .with_browser()
        .env("MCPIPE_LOGIN", "always")
        .env("MCPIPE_REGISTRY", registry.url("/"))
        .env("WEATHER_KEY", "k")
        .command(&[]);
    let binaries = Path::new(env!("CARGO_BIN_EXE_mcpipe")).parent().unwrap();
    let programs = sandbox.work().join("programs");
    let path = format!("{}:{}:/usr/bin:/bin", programs.display(), binaries.display());
    let mut failed = Vec::new();
    for command in &commands {
        let replaced = REPLACED.iter().find(|(from, _)| command.ends_with(from));
        let mut line = replaced.map_or(command.clone(), |(from, to)| command.replace(from, to));
        for url in ["https://mcp.example.com/mcp", "https://mcp.linear.app/mcp"] {
            line = line.replace(url, &protected.url());
        }
        let mut bash = Command::new("bash");
        bash.args(["-uc", &format!("set -o pipefail; {line}")]).env_clear().stdin(Stdio::null());
        bash.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("PATH", &path);
        let output = bash.current_dir(sandbox.work()).output().unwrap();
        // How fast a server answers depends on the machine.
        let is_expected = output.status.success() || command.contains("--threshold") && output.status.code() == Some(9);
        if !is_expected {
            let (printed, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            failed.push(format!("{command}: {}\n{said}{printed}", output.status));
        }
    }
    sandbox.mcpipe(["session", "stop", "--all", "--quiet"]).run().exits(0);
    (commands.len(), failed)
}

/// Configures the servers and creates the files that the commands name.
fn prepare(sandbox: &Sandbox, stdio: &StdioServer, url: &str, commands: &[String]) {
    let words = stdio.words();
    let entry = format!("command = {:?}\nargs = {:?}\n", words[0], &words[1..]);
    let adds = |name: &str| commands.iter().any(|command| command.contains(&format!("config add {name} ")));
    let mut config = format!("[servers.api]\nurl = {url:?}\n");
    for name in ["linear", "github", "browser", "charts", "demo", "TARGET"] {
        if !adds(name) {
            config += &format!("[servers.{name}]\n{entry}");
        }
    }
    sandbox.config(&config);
    for program in ["npx", "uvx"] {
        sandbox.script(&format!("programs/{program}"), &format!("exec {}", words.join(" ")));
    }
    let program = format!("#!/bin/sh\nexec {}\n", words.join(" "));
    let manifest = json!({"manifest_version": "0.3", "name": "weather", "version": "1.0.0",
        "server": {"type": "binary", "entry_point": "run", "mcp_config": {"command": "${__dirname}/run", "args": []}},
        "user_config": {"api_key": {"type": "string", "title": "Key", "sensitive": true},
            "directories": {"type": "directory", "title": "Directories", "multiple": true}}});
    archive(sandbox, "weather.mcpb", &[("manifest.json", 0o644, manifest.to_string()), ("run", 0o755, program)]);
    sandbox.file("letter.txt", "Dear Ada");
    sandbox.file("meta.json", "{}");
    sandbox.file("notes.md", "# Notes\n");
    sandbox.file("calls.ndjson", "{\"tool\":\"whoami\"}\n");
    sandbox.file("reply.json", r#"{"content":[{"type":"tool_use","id":"t","name":"whoami","input":{}}]}"#);
    let cursor = json!({"mcpServers": {"imported": {"command": words[0], "args": words[1..]}}}).to_string();
    let home = sandbox.path().join("home/.cursor");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join("mcp.json"), cursor).unwrap();
    if commands.iter().any(|command| command.contains("all.rec")) {
        sandbox.mcpipe(["list", "--record", "all.rec"]).run().exits(0);
    }
}

/// A registry with one server.
fn registry() -> HttpServer {
    HttpServer::start(|_| {
        let remotes = json!([{"type": "streamable-http", "url": "https://maps.example/mcp"}]);
        let server =
            json!({"name": "io.github.example/maps", "description": "Maps", "version": "1.0.0", "remotes": remotes});
        Reply::json(&json!({"server": server, "_meta": {}}))
    })
}

#[test]
fn every_command_in_a_code_block_succeeds() {
    let documents = documents();
    let next = Mutex::new(documents.iter());
    let found = Mutex::new((0, Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some((name, text)) = next.lock().unwrap().next() else { return };
                    let (count, failed) = run(text);
                    let mut found = found.lock().unwrap();
                    found.0 += count;
                    found.1.extend(failed.into_iter().map(|failure| format!("{name}: {failure}")));
                }
            });
        }
    });
    let (count, failed) = found.into_inner().unwrap();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count > 90, "{count} commands were run");
}

#[test]
fn every_exception_is_in_a_document() {
    let commands: Vec<String> = documents().iter().flat_map(|(_, text)| commands(text)).collect();
    for (command, _) in NOT_RUN {
        assert!(commands.iter().any(|found| found == command), "no document has the command: {command}");
    }
    for (end, _) in REPLACED {
        assert!(commands.iter().any(|found| found.ends_with(end)), "no document has the command: {end}");
    }
}
