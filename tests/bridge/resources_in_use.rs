//! Memory, large messages and slow readers.

use serde_json::json;

use super::{BridgeClient, call, text_of};
use crate::support::process::peak_memory;
use crate::support::{Mcp, Sandbox, ServerAction};

const MEBIBYTE: u64 = 1 << 20;

#[test]
fn a_large_message_is_not_held_several_times() {
    let text = "x".repeat(64 << 20);
    let server = Mcp::legacy("2025-11-25").on("tools/call", move |call| call.text(&text)).stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    let before = peak_memory(client.running().pid()).unwrap();
    let result = client.request(1, "tools/call", call("large", json!({})));
    assert_eq!(text_of(&result).len(), 64 << 20);
    let peak = peak_memory(client.running().pid()).unwrap();
    assert!(peak - before < 64 * MEBIBYTE * 5 / 2, "{} MiB", (peak - before) / MEBIBYTE);
    client.end();
}

#[test]
fn a_client_that_does_not_read_slows_the_server_down() {
    // 20,000 notifications of 8 kB: 160 MB, which are neither dropped nor held.
    const COUNT: usize = 20_000;
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| {
            let data = "x".repeat(8000);
            let notice =
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": data}});
            let mut actions = vec![ServerAction::RawText(format!("{notice}\n").repeat(COUNT).trim_end().to_owned())];
            actions.extend(call.result(json!({"content": []})));
            actions
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut command = sandbox.mcpipe(["bridge", &server.target()]).command(&[]);
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::Write::write_all(
        &mut stdin,
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"x\"}}\n",
    )
    .unwrap();
    server.wait_for("the call", |all| all.first().is_some_and(|one| one.methods().contains(&"tools/call".to_owned())));
    std::thread::sleep(std::time::Duration::from_millis(500));
    let peak = peak_memory(child.id()).unwrap();
    assert!(peak < 64 * MEBIBYTE, "{} MiB", peak / MEBIBYTE);
    let mut count = 0;
    let mut line = String::new();
    while std::io::BufRead::read_line(&mut stdout, &mut line).unwrap() > 0 && line.contains("notifications/message") {
        count += 1;
        line.clear();
    }
    assert_eq!(count, COUNT);
    assert!(line.contains("\"id\":1"), "{line}");
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn many_requests_at_once_are_all_answered() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    let lines: Vec<String> = (0..2000)
        .map(|id| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": call("echo", json!({"text": id.to_string()}))}).to_string())
        .collect();
    client.send_text(&lines.join("\n"));
    for id in 0..2000 {
        assert_eq!(text_of(&client.response(id)["result"]), id.to_string());
    }
    client.end();
}

#[test]
fn a_server_that_sends_requests_and_reads_no_answers_is_not_read_further() {
    let sandbox = Sandbox::new();
    let said = r#"{"jsonrpc":"2.0","id":1,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}}"#;
    let request = r#"{"jsonrpc":"2.0","id":%.0f,"method":"roots/list"}"#;
    let server = sandbox.script(
        "server",
        &format!("read -r line\nprintf '%s\\n' '{said}'\nread -r line\nseq -f '{request}' 1 100000\nsleep 60"),
    );
    let mut client = BridgeClient::start(&sandbox, &[&server.display().to_string()]);
    client.initialize(json!({"roots": {}}));
    for _ in 0..1024 {
        assert_eq!(client.next()["method"], "roots/list");
    }
    // It goes on for as long as it is read.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(3);
    while std::time::Instant::now() < end {
        let peak = peak_memory(client.running().pid()).unwrap();
        assert!(peak < 48 * MEBIBYTE, "{} MiB", peak / MEBIBYTE);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    client.end();
}
