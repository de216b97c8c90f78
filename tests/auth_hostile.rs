//! Servers that mean harm: what they say becomes neither a command, nor a page to open, nor the end of a login.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::mcp_http::Legacy;
use crate::support::oauth::{Protected, denial};
use crate::support::{HttpServer, Mcp, Reply, Request, Sandbox};

/// The words of a command that a shell would run, from the hint of this text.
fn hinted(stderr: &str) -> Vec<String> {
    let hint = stderr.lines().find_map(|line| line.strip_prefix("hint: ")).expect("a hint");
    let command = &hint[hint.find("mcpipe ").expect("a command")..];
    let output = std::process::Command::new("sh")
        .args(["-c", &format!("mcpipe() {{ printf '%s\\n' \"$@\"; }}; {command}")])
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(ToOwned::to_owned).collect()
}

#[test]
fn a_scope_cannot_smuggle_a_command_into_a_hint() {
    let (sandbox, server) = (Sandbox::new(), Protected::start());
    server.log_in(&sandbox);
    let pwned = sandbox.work().join("pwned");
    let scope = format!("a';touch${{IFS}}{};' $(id) b\\\" \u{202e}c d", pwned.display());
    let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{}\"", scope.replace('"', "\\\""));
    server.at_server(move |request| {
        let called = request.target == "/mcp" && request.rpc() == "tools/call";
        called.then(|| Reply::status(403).header("WWW-Authenticate", &challenge))
    });
    let run = sandbox.mcpipe(["call", &server.url(), "add", "a=1", "b=2"]).run();
    run.exits(4).says("requires more rights").hides("\u{202e}");
    let words = hinted(run.stderr());
    let evil = format!("a';touch${{IFS}}{};'", pwned.display());
    assert_eq!(words[..4], ["auth", "login", &server.url(), "--scope"], "{run:?}");
    // What cannot be a scope (RFC 6749 §3.3) is none.
    assert_eq!(words[4], format!("read {evil} $(id) d"), "{run:?}");
    assert_eq!(words.len(), 5);
    assert!(!pwned.exists());
}
