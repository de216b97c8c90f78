//! Published servers: the suite that `--init` writes passes, a lock of the same server holds, another version differs.

use std::time::Duration;

use crate::support::real::{
    ListeningServer, everything_server, node_package_file, node_program, old_python_program, parts_dir, python_program,
    real_test_file, typescript_server,
};
use crate::support::sockets::serve_processes;
use crate::support::{Run, Sandbox};

/// Asserts that the suite for a server over stdio passes, and that its lock holds.
#[track_caller]
fn passes(sandbox: &Sandbox, server: &[String]) {
    let words: Vec<&str> = std::iter::once("--").chain(server.iter().map(String::as_str)).collect();
    target_passes(sandbox, &words);
}

/// The same for a server that listens at a path of a port. `PORT` in its words and variables is replaced by the port.
#[track_caller]
fn listening_passes(words: &[String], env: &[(&str, &str)], path: &str) {
    let sandbox = Sandbox::new();
    let server = ListeningServer::start(&sandbox, words, env);
    let url = server.url(path);
    // Some examples accept only this name of the host.
    target_passes(&sandbox, &[&url.replace("127.0.0.1", "localhost")]);
}

#[track_caller]
fn target_passes(sandbox: &Sandbox, target: &[&str]) {
    let run = |words: &[&str]| -> Run {
        sandbox.mcpipe(words.iter().chain(target).copied()).timeout(Duration::from_secs(90)).run()
    };
    let suite = run(&["test", "--init"]);
    sandbox.file("suite.toml", suite.succeeds().stdout());
    let tested = sandbox.mcpipe(["test", "suite.toml"]).timeout(Duration::from_secs(90)).run();
    assert_eq!(tested.code(), 0, "{tested:?}\n{}", suite.stdout());
    assert!(tested.stdout().lines().count() > 0, "{suite:?}");
    run(&["lock", "-o", "s.lock"]).exits(0);
    run(&["lock", "--check", "--strict", "-o", "s.lock"]).exits(0).prints("");
    run(&["test", "--locked=s.lock"]).exits(0).stdout_contains("ok\tlock\tnothing changed\n");
}

#[test]
fn the_suites_and_locks_of_the_node_servers() {
    let sandbox = Sandbox::new();
    passes(&sandbox, &everything_server());
    let mut sdk = typescript_server(&sandbox);
    sdk.push("stdio".to_owned());
    passes(&sandbox, &sdk);
    let package =
        |name: &str| vec![node_program(), node_package_file(&format!("@modelcontextprotocol/{name}/dist/index.js"))];
    passes(&sandbox, &package("server-memory"));
    let mut files = package("server-filesystem");
    files.push(sandbox.work().canonicalize().unwrap().display().to_string());
    passes(&sandbox, &files);
}

#[test]
fn the_suites_and_locks_of_the_python_servers() {
    let sandbox = Sandbox::new();
    for script in ["sdk.py", "paged.py"] {
        passes(&sandbox, &[python_program("python"), real_test_file(script), "stdio".to_owned()]);
    }
    let time = [python_program("mcp-server-time"), "--local-timezone".to_owned(), "UTC".to_owned()];
    passes(&sandbox, &time);
    passes(&sandbox, &[python_program("mcp-server-git")]);
}

/// A script of a Node package that listens on loopback only.
fn listening_script(file: &str) -> Vec<String> {
    vec![node_program(), "--require".to_owned(), real_test_file("loopback.cjs"), node_package_file(file)]
}

#[test]
fn the_suites_and_locks_of_the_node_servers_over_http() {
    let everything = listening_script("@modelcontextprotocol/server-everything/dist/index.js");
    for (kind, path) in [("streamableHttp", "/mcp"), ("sse", "/sse")] {
        listening_passes(&[everything.clone(), vec![kind.to_owned()]].concat(), &[("PORT", "PORT")], path);
    }
    let sandbox = Sandbox::new();
    let sdk = [typescript_server(&sandbox), vec!["http".to_owned(), "PORT".to_owned()]].concat();
    listening_passes(&sdk, &[], "/mcp");
}

#[test]
fn the_suites_and_locks_of_the_examples_of_the_typescript_sdk() {
    for example in [
        "simpleStreamableHttp",
        "jsonResponseStreamableHttp",
        "simpleStatelessStreamableHttp",
        "simpleSseServer",
        "sseAndStreamableHttpCompatibleServer",
    ] {
        let script = format!("@modelcontextprotocol/sdk/dist/esm/examples/server/{example}.js");
        listening_passes(&listening_script(&script), &[("LISTEN_PORT", "PORT")], "/mcp");
    }
}

fn python_words(environment: &str, script: &str, words: &[&str]) -> Vec<String> {
    let program = parts_dir().join(environment).join("bin/python").display().to_string();
    [program, real_test_file(script)].into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
}

#[test]
fn the_suites_and_locks_of_the_python_servers_over_http() {
    for (script, kind, path) in
        [("sdk.py", "streamable-http", "/mcp"), ("sdk.py", "sse", "/sse"), ("paged.py", "http", "/mcp")]
    {
        listening_passes(&python_words("python", script, &[kind, "PORT"]), &[], path);
    }
}

#[test]
fn the_suites_and_locks_of_version_1_of_the_python_sdk() {
    for (words, path) in [
        (&["streamable-http", "PORT"][..], "/mcp"),
        (&["streamable-http", "PORT", "stateless", "json"], "/mcp"),
        (&["sse", "PORT"], "/sse"),
    ] {
        listening_passes(&python_words("python-websocket", "sdk1.py", words), &[], path);
    }
    let sandbox = Sandbox::new();
    let words = python_words("python-websocket", "websocket.py", &["PORT"]);
    let server = ListeningServer::start(&sandbox, &words, &[]);
    target_passes(&sandbox, &[&server.url("/ws").replace("http://", "ws://")]);
}

#[test]
fn the_suite_and_lock_of_a_server_on_a_unix_socket() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("s");
    serve_processes(&path, &everything_server());
    target_passes(&sandbox, &[&format!("unix:{}", path.display())]);
}

/// The same tools, built with versions 1 and 2 of the official Python SDK.
#[test]
fn two_versions_of_a_server_differ_where_they_do() {
    let sandbox = Sandbox::new();
    let start = |python: String, script: &str| {
        let words = [python, real_test_file(script), "streamable-http".to_owned(), "PORT".to_owned()];
        ListeningServer::start(&sandbox, &words, &[])
    };
    let configure = |server: &ListeningServer| {
        sandbox.config(&format!("[servers.demo]\nurl = \"{}\"\n", server.url("/mcp")));
    };
    let old = start(old_python_program(), "sdk1.py");
    configure(&old);
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    sandbox.mcpipe(["lock", "--check", "--strict"]).run().exits(0);
    let new = start(python_program("python"), "sdk.py");
    configure(&new);
    let changes = sandbox.mcpipe(["lock", "--check"]).run();
    changes.stdout_contains("compatible  tool 'count': it is new\n");
    let called = sandbox.mcpipe(["call", "demo", "add", "a=2", "b=3", "--locked"]).run();
    let differs = changes.stdout().contains("tool 'add'");
    assert_eq!(called.code(), if differs { 8 } else { 0 }, "{changes:?}\n{called:?}");
    sandbox.mcpipe(["lock", "--update", "demo"]).run().exits(0);
    sandbox.mcpipe(["lock", "--check", "--strict"]).run().exits(0);
    sandbox.mcpipe(["call", "demo", "add", "a=2", "b=3", "--locked"]).run().exits(0);
}

/// Two releases of one server.
#[test]
fn two_releases_of_a_server_differ_where_they_do() {
    let sandbox = Sandbox::new();
    let work = sandbox.work().canonicalize().unwrap().display().to_string();
    let configure = |package: &str| {
        let args = [node_package_file(&format!("{package}/dist/index.js")), work.clone()];
        sandbox.config(&format!("[servers.files]\ncommand = {:?}\nargs = {args:?}\n", node_program()));
    };
    let check = |options: &[&str]| {
        sandbox.mcpipe(["lock", "--check"]).args(options.to_vec()).timeout(Duration::from_secs(60)).run()
    };
    configure("server-filesystem-2026-01");
    sandbox.mcpipe(["lock", "files"]).run().exits(0);
    check(&["--strict"]).exits(0).prints("");
    configure("@modelcontextprotocol/server-filesystem");
    let changes = check(&[]);
    changes.exits(9);
    for line in [
        "files: 25 changes: 9 breaking, 15 compatible, 1 text\n",
        "  breaking    tool 'move_file' /annotations/destructiveHint: destructiveHint changed from false to true\n",
        "  breaking    tool 'read_media_file' /outputSchema/properties/content/items/required: 'data' is no longer required\n",
        "  compatible  tool 'write_file' /annotations/openWorldHint: openWorldHint is new\n",
        "    - Read an image or audio file. ",
    ] {
        changes.stdout_contains(line);
    }
    let called = sandbox.mcpipe(["call", "files", "move_file", "source=a", "destination=b", "--locked"]).run();
    called.exits(8).prints("").stderr_contains("destructiveHint changed from false to true");
    sandbox.mcpipe(["lock", "--update", "files"]).run().exits(0);
    check(&["--strict"]).exits(0).prints("");
}
