//! Clients of the official SDKs, of both generations, and command-line clients that start `mcpipe bridge` in place of the
//! server.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::Sandbox;
use crate::support::real::{
    ListeningServer, copy_beside_packages, everything_server, node_program, old_python_program, parts_dir,
    python_program, real_test_file, typescript_server,
};

const KINDS: [&str; 4] = ["v1", "auto", "legacy", "2026-07-28"];

/// The clients of this kind: the program and its arguments before the command of the server.
fn clients(sandbox: &Sandbox, kind: &str) -> Vec<Vec<String>> {
    let typescript = vec![node_program(), copy_beside_packages(sandbox, "client.mjs"), kind.to_owned()];
    let python = match kind {
        "v1" => vec![old_python_program(), real_test_file("client1.py")],
        _ => vec![python_program("python"), real_test_file("client.py"), kind.to_owned()],
    };
    vec![typescript, python]
}

/// Runs a client that starts this server; what it got.
#[track_caller]
fn run(sandbox: &Sandbox, client: &[String], server: &[String]) -> Value {
    let (status, got) = run_command(sandbox, &[client, server].concat());
    assert_eq!(status, 0, "{client:?} {server:?}");
    got
}

/// Runs a program in the environment of a sandboxed mcpipe: its exit code, and the JSON that it printed.
#[track_caller]
fn run_command(sandbox: &Sandbox, words: &[String]) -> (i32, Value) {
    let command = sandbox.mcpipe(["--version"]).command(&[]);
    let mut real = Command::new(&words[0]);
    real.args(&words[1..]).current_dir(sandbox.work()).env_clear().stdin(Stdio::null());
    real.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = real.output().expect("the client starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let left = crate::support::process::wait_until_gone(Duration::from_secs(5), || sandbox.leftovers());
    assert!(left.is_empty(), "{words:?} left {left:?}");
    let json = serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {words:?}\n{stdout}\n{stderr}"));
    (output.status.code().unwrap_or(-1), json)
}

fn bridge(words: &[&str], server: &[String]) -> Vec<String> {
    let mut all = vec![env!("CARGO_BIN_EXE_mcpipe").to_owned(), "bridge".to_owned()];
    all.extend(words.iter().map(|word| (*word).to_owned()));
    if !server.is_empty() {
        all.push("--".to_owned());
        all.extend(server.iter().cloned());
    }
    all
}

/// Compares what clients get from a server with what they get from a bridge to it.
#[track_caller]
fn get_the_same(sandbox: &Sandbox, server: &[String], is_ours: impl Fn(&[String]) -> bool) {
    let all = KINDS.iter().flat_map(|kind| clients(sandbox, kind));
    for client in all.filter(|client| is_ours(client)) {
        let direct = run(sandbox, &client, server);
        assert_eq!(run(sandbox, &client, &bridge(&[], server)), direct, "{client:?} {server:?}");
    }
}

fn is_typescript(client: &[String]) -> bool {
    client[0] == node_program()
}

fn a_typescript_server(sandbox: &Sandbox) -> Vec<String> {
    [typescript_server(sandbox), vec!["stdio".to_owned()]].concat()
}

fn a_python_server() -> Vec<String> {
    vec![python_program("python"), real_test_file("sdk.py"), "stdio".to_owned()]
}

#[test]
fn a_bridge_to_a_typescript_server_is_the_same_for_typescript_clients() {
    let sandbox = Sandbox::new();
    get_the_same(&sandbox, &a_typescript_server(&sandbox), is_typescript);
}

#[test]
fn a_bridge_to_a_typescript_server_is_the_same_for_python_clients() {
    let sandbox = Sandbox::new();
    get_the_same(&sandbox, &a_typescript_server(&sandbox), |client| !is_typescript(client));
}

#[test]
fn a_bridge_to_a_python_server_is_the_same_for_typescript_clients() {
    get_the_same(&Sandbox::new(), &a_python_server(), is_typescript);
}

#[test]
fn a_bridge_to_a_python_server_is_the_same_for_python_clients() {
    get_the_same(&Sandbox::new(), &a_python_server(), |client| !is_typescript(client));
}

#[test]
fn clients_of_every_generation_reach_servers_of_the_other_era() {
    let sandbox = Sandbox::new();
    let server = [typescript_server(&sandbox), vec!["stdio".to_owned()]].concat();
    let expected = run(&sandbox, &clients(&sandbox, "legacy")[0], &server);
    assert_eq!(expected["asked"], "Hello Ada");
    for (kind, pin) in [("v1", "2026-07-28"), ("legacy", "2026-07-28"), ("2026-07-28", "legacy"), ("auto", "legacy")] {
        for client in clients(&sandbox, kind) {
            let mut got = run(&sandbox, &client, &bridge(&["--protocol", pin], &server));
            if got["server"].is_null() {
                got["server"] = expected["server"].clone();
            }
            assert_eq!(got, expected, "{client:?} {pin}");
        }
    }
}

/// Lets clients reach a server over HTTP; `total` is the member of the result of `add`.
#[track_caller]
fn reach(sandbox: &Sandbox, words: &[String], total: &str) {
    let server = ListeningServer::start(sandbox, words, &[]);
    for client in KINDS.iter().flat_map(|kind| clients(sandbox, kind)) {
        let got = run(sandbox, &client, &bridge(&[&server.url("/mcp")], &[]));
        assert_eq!((&got["add"][total], &got["broken"]), (&5.into(), &true.into()), "{got}");
        assert_eq!(got["resource"], "hello", "{got}");
    }
}

#[test]
fn every_client_reaches_a_typescript_server_over_http() {
    let sandbox = Sandbox::new();
    let words = [typescript_server(&sandbox), vec!["http".to_owned(), "PORT".to_owned()]].concat();
    reach(&sandbox, &words, "sum");
}

#[test]
fn every_client_reaches_a_python_server_over_http() {
    let words = [python_program("python"), real_test_file("sdk.py"), "streamable-http".to_owned(), "PORT".to_owned()];
    reach(&Sandbox::new(), &words, "total");
}

/// Lets mcporter and the Inspector reach a server over HTTP; `total` is the member of the result of `add`.
#[track_caller]
fn command_line_clients_reach(server: &[String], total: &str) {
    let sandbox = Sandbox::new();
    let server = ListeningServer::start(&sandbox, server, &[]);
    let bridge = bridge(&[&server.url("/mcp")], &[]);
    let client = |script: &str| {
        vec![node_program(), parts_dir().join("clients/node_modules").join(script).display().to_string()]
    };
    let names = |listed: &Value| -> Vec<String> {
        let tools = listed["tools"].as_array().unwrap_or_else(|| panic!("no tools: {listed}"));
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };

    let mcporter = |command: &str, words: &[&str]| {
        let words = words.iter().map(|word| (*word).to_owned());
        let mut all = client("mcporter/dist/cli.js");
        all.extend([command.to_owned(), "--stdio".to_owned(), bridge.join(" ")].into_iter().chain(words));
        run_command(&sandbox, &all)
    };
    let (status, listed) = mcporter("list", &["--json"]);
    assert_eq!((status, &listed["status"]), (0, &"ok".into()), "{listed}");
    assert_eq!(names(&listed)[..2], ["add", "break_down"]);
    let (status, added) = mcporter("call", &["add", "a=2", "b=3", "--output", "json"]);
    assert_eq!((status, &added[total]), (0, &5.into()), "{added}");

    let inspector = |words: &[&str]| {
        let script = "@modelcontextprotocol/inspector/clients/launcher/build/index.js";
        let words = words.iter().map(|word| (*word).to_owned());
        let all = [client(script), vec!["--cli".to_owned()], bridge.clone()].concat();
        run_command(&sandbox, &all.into_iter().chain(words).collect::<Vec<_>>())
    };
    let (status, listed) = inspector(&["--method", "tools/list"]);
    assert_eq!(status, 0, "{listed}");
    assert_eq!(names(&listed)[..2], ["add", "break_down"]);
    let call = ["--method", "tools/call", "--tool-name"];
    let (status, added) = inspector(&[&call[..], &["add", "--tool-arg", "a=2", "b=3"]].concat());
    assert_eq!((status, &added["structuredContent"][total]), (0, &5.into()), "{added}");
    // It reports a tool's error with an exit code of its own.
    let (_, broken) = inspector(&[&call[..], &["break_down"]].concat());
    assert_eq!(broken["isError"], true, "{broken}");
    let (_, read) = inspector(&["--method", "resources/read", "--uri", "demo://hello"]);
    assert_eq!(read["contents"][0]["text"], "hello", "{read}");
}

#[test]
fn command_line_clients_reach_a_modern_server_over_http() {
    let sandbox = Sandbox::new();
    command_line_clients_reach(
        &[typescript_server(&sandbox), vec!["http".to_owned(), "PORT".to_owned()]].concat(),
        "sum",
    );
}

#[test]
fn command_line_clients_reach_a_server_with_a_handshake_over_http() {
    let words = [old_python_program(), real_test_file("sdk1.py"), "streamable-http".to_owned(), "PORT".to_owned()];
    command_line_clients_reach(&words, "result");
}

#[test]
fn every_client_reaches_a_server_with_a_handshake_over_http() {
    let words = [old_python_program(), real_test_file("sdk1.py"), "streamable-http".to_owned(), "PORT".to_owned()];
    reach(&Sandbox::new(), &words, "result");
}

#[test]
fn mcpipe_accepts_a_bridge_as_a_server() {
    let sandbox = Sandbox::new();
    let server = bridge(&[], &everything_server());
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).arg("--").args(&server).run();
    run(&["call", "get-sum", "a=2", "b=40"]).exits(0).prints("The sum of 2 and 40 is 42.\n");
    run(&["test"]).exits(0);
}
