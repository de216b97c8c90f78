//! Real servers of several projects: the official SDKs of both languages, and the reference servers.

use serde_json::{Value, json};

use crate::support::real::{
    ListeningServer, everything_server, node_package_file, node_program, old_python_program, python_program,
    real_test_file, typescript_server,
};
use crate::support::{Run, Sandbox};

fn run(sandbox: &Sandbox, words: &[&str], server: &[String]) -> Run {
    sandbox.mcpipe(words.iter().copied()).arg("--").args(server).timeout(std::time::Duration::from_secs(60)).run()
}

fn names(run: &Run, member: &str) -> Vec<String> {
    let json = run.exits(0).json();
    let all = json[member].as_array().unwrap_or_else(|| panic!("no {member}: {json}")).clone();
    all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn everything_over_stdio() {
    let sandbox = Sandbox::new();
    let server = everything_server();
    let listed = run(&sandbox, &["list", "--all", "--json"], &server);
    assert!(names(&listed, "tools").contains(&"get-sum".to_owned()), "{listed:?}");
    assert!(names(&listed, "prompts").contains(&"simple-prompt".to_owned()), "{listed:?}");
    assert_eq!(listed.json()["resourceTemplates"].as_array().map(Vec::len), Some(2));
    run(&sandbox, &["call", "get-sum", "a=2", "b=40"], &server).exits(0).prints("The sum of 2 and 40 is 42.\n");
    run(&sandbox, &["call", "echo", "message=a b"], &server).exits(0).prints("Echo: a b\n");
    let image = run(&sandbox, &["call", "get-tiny-image", "--save", "out"], &server);
    image.exits(0);
    let saved = std::fs::read_dir(sandbox.work().join("out")).unwrap().next().unwrap().unwrap().path();
    assert!(std::fs::read(&saved).unwrap().starts_with(b"\x89PNG"), "{image:?}");
    let prompt = run(&sandbox, &["prompt", "args-prompt", "city=Oslo"], &server);
    prompt.exits(0).stdout_contains("Oslo");
    let resource = listed.json()["resources"][0]["uri"].as_str().unwrap().to_owned();
    assert!(!run(&sandbox, &["read", &resource], &server).exits(0).stdout.is_empty());
    // Each step is reported after 250 ms, and a report extends the time.
    let long = ["call", "trigger-long-running-operation", "duration=3", "steps=12"];
    let slow = run(&sandbox, &[&long[..], &["--timeout", "2s", "--connect-timeout", "30s"]].concat(), &server);
    slow.exits(0).stdout_contains("completed");
}

#[test]
fn everything_for_models_and_in_batches() {
    let sandbox = Sandbox::new();
    let server = everything_server();
    let calls: String = (0..200)
        .map(|n| format!("{{\"tool\":\"get-sum\",\"arguments\":{{\"a\":{n},\"b\":1}},\"id\":{n}}}\n"))
        .collect();
    sandbox.file("calls.ndjson", calls);
    let batch =
        run(&sandbox, &["call", "--batch", "calls.ndjson", "--ordered", "--jq", ".result.content[0].text"], &server);
    let expected: String = (0..200).map(|n| format!("The sum of {n} and 1 is {}.\n", n + 1)).collect();
    batch.exits(0).prints(&expected);

    let tools = run(&sandbox, &["list", "--for", "openai"], &server);
    let named: Vec<Value> =
        tools.exits(0).json().as_array().unwrap().iter().map(|one| one["function"]["name"].clone()).collect();
    assert!(named.contains(&json!("get-tiny-image")), "{named:?}");
    let reply = json!({"content": [
        {"type": "tool_use", "id": "a", "name": "get-tiny-image", "input": {}},
        {"type": "tool_use", "id": "b", "name": "get-sum", "input": {"a": "x", "b": 1}}]});
    sandbox.file("reply.json", reply.to_string());
    let results = run(&sandbox, &["call", "--tool-use", "reply.json"], &server);
    let content = results.exits(1).json()[0]["content"].clone();
    assert_eq!(content[0]["content"][1]["source"]["media_type"], "image/png");
    assert_eq!(content[1]["is_error"], true);
}

#[test]
fn everything_over_http_and_sse() {
    let sandbox = Sandbox::new();
    let script = node_package_file("@modelcontextprotocol/server-everything/dist/index.js");
    let shim = real_test_file("loopback.cjs");
    for (kind, path, transport) in [("streamableHttp", "/mcp", "http"), ("sse", "/sse", "sse")] {
        let words = [node_program(), "--require".to_owned(), shim.clone(), script.clone(), kind.to_owned()];
        let server = ListeningServer::start(&sandbox, &words, &[("PORT", "PORT")]);
        let url = server.url(path);
        let call = sandbox.mcpipe(["call", &url, "get-sum", "a=1", "b=2"]).run();
        call.exits(0).prints("The sum of 1 and 2 is 3.\n");
        let info = sandbox.mcpipe(["list", &url, "--info", "--json"]).run();
        assert_eq!(info.exits(0).json()["transport"], transport);
    }
}

#[test]
fn the_file_system() {
    let sandbox = Sandbox::new();
    let root = sandbox.work().canonicalize().unwrap();
    sandbox.file("notes.txt", "first line\nsecond line\n");
    let server = vec![
        node_program(),
        node_package_file("@modelcontextprotocol/server-filesystem/dist/index.js"),
        root.display().to_string(),
    ];
    let path = format!("path={}/notes.txt", root.display());
    run(&sandbox, &["call", "read_text_file", &path, "head=1"], &server).exits(0).prints("first line\n");
    let written = format!("path={}/made.txt", root.display());
    run(&sandbox, &["call", "write_file", &written, "content=@notes.txt"], &server).exits(0);
    assert_eq!(std::fs::read_to_string(root.join("made.txt")).unwrap(), "first line\nsecond line\n");
    run(&sandbox, &["call", "read_text_file", "path=/etc/passwd"], &server).exits(1);
    // It offers no prompts, so none are requested.
    run(&sandbox, &["list", "--prompts", "--json"], &server).exits(0);
}

#[test]
fn the_memory() {
    let sandbox = Sandbox::new();
    let server = vec![node_program(), node_package_file("@modelcontextprotocol/server-memory/dist/index.js")];
    let memory = format!("MEMORY_FILE_PATH={}/memory.jsonl", sandbox.work().display());
    let entities = r#"entities=[{"name":"Ada","entityType":"person","observations":["wrote programs"]}]"#;
    run(&sandbox, &["call", "create_entities", entities, "-e", &memory], &server).exits(0);
    let graph = run(&sandbox, &["call", "read_graph", "--structured", "-e", &memory], &server);
    assert_eq!(graph.exits(0).json()["entities"][0]["name"], "Ada");
}

#[test]
fn the_official_python_sdk_in_both_eras() {
    let sandbox = Sandbox::new();
    let server = vec![python_program("python"), real_test_file("sdk.py"), "stdio".to_owned()];
    for protocol in ["auto", "2025-11-25", "2025-06-18"] {
        let call = run(&sandbox, &["call", "add", "a=2", "b=3", "--json", "--protocol", protocol], &server);
        assert_eq!(call.exits(0).json()["structuredContent"], json!({"total": 5}), "{protocol}");
    }
    let info = run(&sandbox, &["list", "--info", "--json"], &server).json();
    assert_eq!(info["revision"], "2026-07-28");
    run(&sandbox, &["call", "break_down"], &server).exits(1).prints("Error executing tool break_down\n");
    run(&sandbox, &["call", "count", "steps=4"], &server).exits(0).prints("counted to 4\n");
    run(&sandbox, &["read", "demo://hello"], &server).exits(0).prints("hello");
    run(&sandbox, &["read", "demo://item/{id}", "id=7"], &server).exits(0).prints("item 7");
    run(&sandbox, &["prompt", "greet", "who=Ada"], &server).exits(0).prints("[user]\nSay hello to Ada\n");
    let asked = run(&sandbox, &["call", "ask", "--elicit", r#"{"name":"Ada"}"#, "--protocol", "2025-11-25"], &server);
    asked.exits(0).prints("accept Ada\n");
    run(&sandbox, &["prompt", "greet"], &server).exits(2).stderr_contains("who: required value is missing");
}

#[test]
fn the_official_python_sdk_over_http_and_sse() {
    let sandbox = Sandbox::new();
    for (kind, path) in [("streamable-http", "/mcp"), ("sse", "/sse")] {
        let words = [python_program("python"), real_test_file("sdk.py"), kind.to_owned(), "PORT".to_owned()];
        let server = ListeningServer::start(&sandbox, &words, &[]);
        let call = sandbox.mcpipe(["call", &server.url(path), "add", "a=2", "b=3", "--structured"]).run();
        assert_eq!(call.exits(0).json(), json!({"total": 5}), "{kind}");
    }
}

/// It answers the modern probe with HTTP 400 and an error whose id is "server-error".
#[test]
fn version_1_of_the_official_python_sdk_over_http() {
    let sandbox = Sandbox::new();
    let old = old_python_program();
    for (path, manner) in [
        ("/mcp", "streamable-http"),
        ("/mcp", "streamable-http json"),
        ("/mcp", "streamable-http stateless"),
        ("/mcp", "streamable-http stateless json"),
        ("/sse", "sse"),
    ] {
        let mut words = vec![old.clone(), real_test_file("sdk1.py")];
        words.extend(manner.split(' ').map(ToOwned::to_owned));
        words.insert(3, "PORT".to_owned());
        let server = ListeningServer::start(&sandbox, &words, &[]);
        let url = server.url(path);
        // What each command detects, and the next one has cached.
        for memory in [&["--no-cache"][..], &[]] {
            let run = |words: &[&str]| sandbox.mcpipe(words.iter().chain(memory).copied()).run();
            assert_eq!(names(&run(&["list", &url, "--json"]), "tools"), ["add", "break_down"], "{manner}");
            run(&["call", &url, "add", "a=2", "b=3"]).succeeds().prints("5\n");
            run(&["call", &url, "break_down"]).exits(1).prints("Error executing tool break_down: out of order\n");
            run(&["read", &url, "demo://hello"]).succeeds().prints("hello");
            run(&["prompt", &url, "greet", "who=Ada"]).succeeds().prints("[user]\nSay hello to Ada\n");
        }
        assert_eq!(sandbox.mcpipe(["list", &url, "--info", "--json"]).run().json()["revision"], "2025-11-25");
    }
}

#[test]
fn the_official_python_sdk_over_a_web_socket() {
    let sandbox = Sandbox::new();
    let words = [old_python_program(), real_test_file("websocket.py"), "PORT".to_owned()];
    let server = ListeningServer::start(&sandbox, &words, &[]);
    let url = server.url("/ws").replace("http://", "ws://");
    sandbox.mcpipe(["call", &url, "add", "a=2", "b=3"]).run().succeeds().prints("5\n");
    sandbox.mcpipe(["read", &url, "demo://hello"]).run().succeeds().prints("hello");
    let info = sandbox.mcpipe(["list", &url, "--info", "--json"]).run();
    assert_eq!(info.exits(0).json()["transport"], "websocket");
    assert_eq!(info.json()["revision"], "2025-11-25");
    let page = sandbox.mcpipe(["list", &url.replace("/ws", "/")]).run();
    page.exits(4).stderr_contains("HTTP 403");
}

#[test]
fn the_official_typescript_sdk_in_both_eras() {
    let sandbox = Sandbox::new();
    let mut server = typescript_server(&sandbox);
    server.push("stdio".to_owned());
    for protocol in ["auto", "2025-11-25"] {
        let call = run(&sandbox, &["call", "add", "a=2", "b=3.5", "--json", "--protocol", protocol], &server);
        assert_eq!(call.exits(0).json()["structuredContent"], json!({"sum": 5.5}), "{protocol}");
    }
    run(&sandbox, &["call", "break_down"], &server).exits(1).prints("out of order\n");
    let asked = run(&sandbox, &["call", "ask", "--elicit", r#"{"name":"Ada"}"#], &server);
    asked.exits(0).prints("Hello Ada\n");
    run(&sandbox, &["call", "ask", "--elicit", "accept"], &server).exits(0).prints("Hello nobody\n");
    run(&sandbox, &["read", "demo://hello"], &server).exits(0).prints("hello");
    run(&sandbox, &["prompt", "greet", "who=Ada"], &server).exits(0).prints("[user]\nSay hello to Ada\n");
}

#[test]
fn the_official_typescript_sdk_over_http() {
    let sandbox = Sandbox::new();
    let mut words = typescript_server(&sandbox);
    words.extend(["http".to_owned(), "PORT".to_owned()]);
    let server = ListeningServer::start(&sandbox, &words, &[]);
    for protocol in ["auto", "2026-07-28", "2025-06-18"] {
        let words = ["call", &server.url("/mcp"), "add", "a=2", "b=3", "--structured", "--protocol", protocol];
        assert_eq!(sandbox.mcpipe(words).run().exits(0).json(), json!({"sum": 5}), "{protocol}");
    }
    let asked = sandbox.mcpipe(["call", &server.url("/mcp"), "ask", "--elicit", r#"{"name":"Ada"}"#]).run();
    asked.exits(0).prints("Hello Ada\n");
}

#[test]
fn fastmcp_lists_in_pages() {
    let sandbox = Sandbox::new();
    let server = vec![python_program("python"), real_test_file("paged.py"), "stdio".to_owned()];
    for protocol in ["auto", "legacy"] {
        let listed = names(&run(&sandbox, &["list", "--json", "--protocol", protocol], &server), "tools");
        let expected: Vec<String> = (0..25).map(|n| format!("tool_{n:02}")).collect();
        assert_eq!(listed, expected, "{protocol}");
    }
    run(&sandbox, &["call", "tool_24"], &server).exits(0).prints("24\n");
}

#[test]
fn the_time_and_git_servers() {
    let sandbox = Sandbox::new();
    let time = vec![python_program("mcp-server-time"), "--local-timezone".to_owned(), "UTC".to_owned()];
    let words =
        ["call", "convert_time", "source_timezone=UTC", "time=12:00", "target_timezone=Asia/Tokyo", "--structured"];
    let converted: Value = run(&sandbox, &words, &time).exits(0).json();
    assert!(converted["target"]["datetime"].as_str().unwrap().contains("T21:00"), "{converted}");

    let repository = sandbox.work().join("repository");
    let git = |words: &[&str]| {
        let status =
            std::process::Command::new("git").args(words).current_dir(&repository).env("HOME", sandbox.path()).status();
        assert!(status.unwrap().success(), "git {words:?}");
    };
    std::fs::create_dir(&repository).unwrap();
    git(&["init", "-q"]);
    sandbox.file("repository/new.txt", "x");
    let server = vec![python_program("mcp-server-git")];
    let path = format!("repo_path={}", repository.display());
    run(&sandbox, &["call", "git_status", &path], &server).exits(0).stdout_contains("new.txt");
    run(&sandbox, &["call", "git_stauts", &path], &server).exits(1).stderr_contains("git_status");
}
