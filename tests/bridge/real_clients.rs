//! Clients of the official SDKs, of both generations, that start `mcpipe bridge` in place of the server.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::Sandbox;
use crate::support::real::{
    ListeningServer, copy_beside_packages, everything_server, node_program, python_program, real_test_file,
    typescript_server,
};

const KINDS: [&str; 4] = ["v1", "auto", "legacy", "2026-07-28"];

/// The clients of this kind: the program and its arguments before the command of the server.
fn clients(sandbox: &Sandbox, kind: &str) -> Vec<Vec<String>> {
    let typescript = vec![node_program(), copy_beside_packages(sandbox, "client.mjs"), kind.to_owned()];
    let python = vec![python_program("python"), real_test_file("client.py"), kind.to_owned()];
    if kind == "v1" { vec![typescript] } else { vec![typescript, python] }
}

/// Runs a client that starts this server; what it got.
#[track_caller]
fn run(sandbox: &Sandbox, client: &[String], server: &[String]) -> Value {
    // The environment of a sandboxed mcpipe.
    let command = sandbox.mcpipe(["--version"]).command(&[]);
    let mut real = Command::new(&client[0]);
    real.args(&client[1..]).args(server).current_dir(sandbox.work()).env_clear().stdin(Stdio::null());
    real.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = real.output().expect("the client starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{client:?} {server:?}\n{stdout}\n{stderr}");
    let left = crate::support::process::wait_until_gone(Duration::from_secs(5), || sandbox.leftovers());
    assert!(left.is_empty(), "{client:?} {server:?} left {left:?}");
    serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error}: {stdout}\n{stderr}"))
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
fn get_the_same(sandbox: &Sandbox, server: &[String]) {
    for client in KINDS.iter().flat_map(|kind| clients(sandbox, kind)) {
        let direct = run(sandbox, &client, server);
        assert_eq!(run(sandbox, &client, &bridge(&[], server)), direct, "{client:?} {server:?}");
    }
}

#[test]
fn a_bridge_to_a_typescript_server_is_the_same_for_every_client() {
    let sandbox = Sandbox::new();
    get_the_same(&sandbox, &[typescript_server(&sandbox), vec!["stdio".to_owned()]].concat());
}

#[test]
fn a_bridge_to_a_python_server_is_the_same_for_every_client() {
    let sandbox = Sandbox::new();
    get_the_same(&sandbox, &[python_program("python"), real_test_file("sdk.py"), "stdio".to_owned()]);
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

#[test]
fn mcpipe_accepts_a_bridge_as_a_server() {
    let sandbox = Sandbox::new();
    let server = bridge(&[], &everything_server());
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).arg("--").args(&server).run();
    run(&["call", "get-sum", "a=2", "b=40"]).exits(0).prints("The sum of 2 and 40 is 42.\n");
    run(&["test"]).exits(0);
}
