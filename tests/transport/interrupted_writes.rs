//! Requests that are cancelled while they are being written: the messages after them arrive intact.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::sockets::serve_lines;
use crate::support::{Mcp, Run, Sandbox, ServerAction};

/// Answers calls one by one; the first one takes longer than the time limits.
const BUSY: &str = r#"
first=yes
while IFS= read -r line; do
    printf '%s\n' "$line" >> got
    id=${line#*\"id\":}
    id=${id%%,*}
    case $line in
    *server/discover*) result='{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}' ;;
    *notifications/cancelled*) continue ;;
    *)
        [ $first ] && sleep 4.5
        first=
        result='{"resultType":"complete","content":[{"type":"text","text":"done"}]}'
        ;;
    esac
    printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$result"
done
"#;

/// Five calls, three at a time: the first one keeps the server busy, the second one is too long for the pipe, the
/// third one waits behind it, and the others begin after those three were given up.
fn batch(sandbox: &Sandbox, target: &str, long: usize) -> Run {
    let line = |id: &str, text: &str| format!("{}\n", json!({"id": id, "tool": "t", "arguments": {"text": text}}));
    let long = "x".repeat(long);
    let all = [line("a", "a"), line("b", &long), line("c", "never"), line("d", "d"), line("e", "e")].concat();
    let words = ["call", target, "--batch", "-", "--jobs", "3", "--timeout", "3s", "--protocol", "2026-07-28"];
    sandbox.mcpipe(words).args(["--no-validate", "--ordered"]).stdin(all).run()
}

fn assert_all_messages_whole(run: &Run, messages: &[Value]) {
    let came = run.exits(1).stdout().lines().map(|line| serde_json::from_str(line).unwrap());
    let came: Vec<String> = came
        .map(|line: Value| match line["error"]["class"].as_str() {
            Some(class) => class.to_owned(),
            None => line["result"]["content"][0]["text"].as_str().unwrap().to_owned(),
        })
        .collect();
    assert_eq!(came, ["timeout", "timeout", "timeout", "done", "done"], "{run:?}");
    let text = |message: &Value| message["params"]["arguments"]["text"].as_str().unwrap().chars().next().unwrap();
    let calls: Vec<&Value> = messages.iter().filter(|message| message["method"] == "tools/call").collect();
    let texts: String = calls.iter().map(|call| text(call)).collect();
    assert_eq!(texts, "axde", "what was given up before a byte of it was written is not sent");
    // STD-05: sent as soon as possible.
    for call in &calls[..2] {
        let cancels = |message: &&Value| {
            message["method"] == "notifications/cancelled" && message["params"]["requestId"] == call["id"]
        };
        assert_eq!(messages.iter().filter(cancels).count(), 1, "{} is cancelled", call["id"]);
    }
}

#[test]
fn a_cancelled_long_line_does_not_corrupt_the_next_over_stdio() {
    let sandbox = Sandbox::new();
    sandbox.script("busy.sh", BUSY);
    let run = batch(&sandbox, "./busy.sh", 200_000);
    let got = std::fs::read_to_string(sandbox.work().join("got")).unwrap();
    let messages: Vec<Value> =
        got.lines().map(|line| serde_json::from_str(line).expect("every line is a message")).collect();
    assert_all_messages_whole(&run, &messages);
}

#[test]
fn a_cancelled_long_line_does_not_corrupt_the_next_over_a_socket() {
    let sandbox = Sandbox::new();
    let (mcp, got) = (Arc::new(Mcp::modern().on("tools/call", |call| call.text("done"))), Arc::new(Mutex::new(vec![])));
    let log = Arc::clone(&got);
    serve_lines(&sandbox.work().join("s"), move |_, line, text| {
        let message: Value = serde_json::from_str(text).expect("every line is a message");
        let first = message["method"] == "tools/call" && message["params"]["arguments"]["text"] == "a";
        log.lock().unwrap().push(message.clone());
        if first {
            std::thread::sleep(Duration::from_millis(4500));
        }
        for out in mcp.handle(&message) {
            if let ServerAction::Send(message) = out {
                crate::support::mcp::ScriptedOutput::send(line, &message);
            }
        }
    });
    let run = batch(&sandbox, "unix:s", 2_000_000);
    assert_all_messages_whole(&run, &got.lock().unwrap());
}

/// Refuses the call after the first part of it, and reads no more.
const EARLY: &str = r#"
read -r discover
echo '{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}}'
head -c 1000 > /dev/null
echo '{"jsonrpc":"2.0","id":2,"error":{"code":-32000,"message":"too large"}}'
exec sleep 60
"#;

#[test]
fn a_response_to_a_request_that_is_still_being_written_is_the_outcome() {
    let sandbox = Sandbox::new();
    sandbox.script("early.sh", EARLY);
    sandbox.file("long", "x".repeat(1_000_000));
    let words =
        ["call", "./early.sh", "t", "text=@long", "--no-validate", "--timeout", "0", "--protocol", "2026-07-28"];
    sandbox.mcpipe(words).run().exits(1).stderr_contains("too large");
}
