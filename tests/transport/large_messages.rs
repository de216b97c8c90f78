//! A large message is held once: neither its parts nor what is only printed is copied.

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

const SIZE: usize = 16 << 20;
/// What a run takes with a small message: the binary of the tests, and the filters that it compiles.
const BASE: u64 = 36 << 20;

/// A server whose tool and resource are a text with escapes.
fn server() -> Mcp {
    let line = "a line with \"quotes\" of a long text that a server sends at once ....................\n";
    let text = line.repeat(SIZE / (line.len() + 3));
    let resource = text.clone();
    Mcp::legacy("2025-11-25")
        .on("tools/call", move |call| call.text(&text))
        .on("resources/read", move |call| call.result(json!({"contents": [{"uri": "test://a", "text": resource}]})))
}

/// Runs this and checks how much memory it takes: at most one and a half times the message.
#[track_caller]
fn runs_in_bounds(target: &str, words: &[&str]) {
    let sandbox = Sandbox::new();
    runs_in_bounds_in(&sandbox, &[&[words[0], target], &words[1..]].concat(), "");
}

/// The same in a directory with files, for other commands, and with this input.
#[track_caller]
fn runs_in_bounds_in(sandbox: &Sandbox, words: &[&str], input: &str) {
    let run = sandbox.mcpipe(words.to_vec()).stdin(input).timeout(std::time::Duration::from_secs(60));
    let (run, peak) = run.start().wait_measuring_memory();
    run.exits(0);
    let message = (SIZE as u64).max(run.stdout.len() as u64);
    let limit = BASE + message + message / 2;
    assert!(peak < limit, "{words:?}: {} MiB of at most {} were used", peak >> 20, limit >> 20);
}

#[test]
fn a_large_result_over_stdio_takes_one_and_a_half_times_its_size() {
    let server = server().stdio();
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi"]);
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi", "--json"]);
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi", "-v"]);
}

#[test]
fn a_large_resource_over_stdio_takes_one_and_a_half_times_its_size() {
    let server = server().stdio();
    runs_in_bounds(&server.target(), &["read", "test://a"]);
    runs_in_bounds(&server.target(), &["read", "test://a", "-o", "file"]);
    runs_in_bounds(&server.target(), &["read", "test://a", "--save", "files"]);
}

#[test]
fn a_large_blob_takes_one_and_a_half_times_its_size() {
    let blob = "QUJD".repeat(SIZE / 4);
    let image = json!({"content": [{"type": "image", "mimeType": "image/png", "data": blob}]});
    let contents = json!({"contents": [{"uri": "test://a", "mimeType": "image/png", "blob": blob}]});
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", move |call| call.result(image.clone()))
        .on("resources/read", move |call| call.result(contents.clone()))
        .stdio();
    for words in [
        &["call", "echo", "text=hi"][..],
        &["call", "echo", "text=hi", "--save", "files"],
        &["call", "echo", "text=hi", "-o", "file"],
        &["read", "test://a", "-o", "file"],
        &["read", "test://a", "--save", "files"],
        &["read", "test://a"],
    ] {
        runs_in_bounds(&server.target(), words);
    }
}

#[test]
fn a_filtered_result_takes_one_and_a_half_times_its_size() {
    let server = server().stdio();
    let text = ".content[0].text";
    for words in [
        &["call", "echo", "text=hi", "--jq", text][..],
        &["call", "echo", "text=hi", "--jq", ".content"],
        &["call", "echo", "text=hi", "--jq", ".content[0].text | length"],
        &["call", "echo", "text=hi", "--jq", ".content", "-o", "file"],
        &["call", "echo", "text=hi", "--jq", text, "-o", "file"],
        &["read", "test://a", "--jq", ".contents[].text"],
        &["read", "test://a", "--jq", ".contents", "-o", "file"],
        &["request", "tools/call", r#"{"name":"echo","arguments":{"text":"hi"}}"#, "--jq", text],
    ] {
        runs_in_bounds(&server.target(), words);
    }
}

#[test]
fn an_expectation_of_a_large_result_takes_one_and_a_half_times_its_size() {
    let server = server().stdio();
    let expectation = r#".content[0].text | startswith("a line with")"#;
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi", "--expect", expectation]);
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi", "--expect", expectation, "--jq", ".content"]);
    runs_in_bounds(&server.target(), &["call", "echo", "text=hi", "--repeat", "1", "--expect", expectation]);
    let sandbox = Sandbox::new();
    let suite = format!("target = \"{}\"\n[[test]]\ncall = \"echo\"\nargs = {{ text = \"hi\" }}\n", server.target());
    let sandbox_suite = format!("{suite}expect = '{expectation}'\ncapture = {{ type = \".content[0].type\" }}\n");
    sandbox.file("suite.toml", sandbox_suite);
    runs_in_bounds_in(&sandbox, &["test", "suite.toml"], "");
}

#[test]
fn a_large_result_of_a_batch_takes_one_and_a_half_times_its_size() {
    let server = server().stdio();
    let (sandbox, line) = (Sandbox::new(), r#"{"tool":"echo","arguments":{"text":"hi"}}"#);
    let command = ["call", &server.target(), "--batch", "-"];
    runs_in_bounds_in(&sandbox, &command, line);
    runs_in_bounds_in(&sandbox, &[&command[..], &["--jq", ".result.content[0].text"]].concat(), line);
    runs_in_bounds_in(&sandbox, &[&command[..], &["--jq", ".result"]].concat(), line);
}

#[test]
fn large_structured_content_takes_one_and_a_half_times_its_size() {
    let line = "a line with \"quotes\" of a long text that a server sends at once ....................\n";
    let content = json!({"text": line.repeat(SIZE / (line.len() + 3))});
    let text = json!({"content": [{"type": "text", "text": content.to_string()}]});
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", move |call| match call.argument("text").as_str() {
            Some("text") => call.result(text.clone()),
            _ => call.result(json!({"content": [], "structuredContent": content})),
        })
        .stdio();
    for argument in ["text=hi", "text=text"] {
        for words in [
            &["call", "echo", argument, "--structured"][..],
            &["call", "echo", argument, "--structured", "--jq", ".text"],
            &["call", "echo", argument, "--structured", "--jq", ".", "-o", "file"],
        ] {
            runs_in_bounds(&server.target(), words);
        }
    }
}

#[test]
fn a_large_message_over_a_websocket_takes_one_and_a_half_times_its_size() {
    let blob = "QUJD".repeat(SIZE / 4);
    let mcp = server().on("resources/read", move |call| {
        call.result(json!({"contents": [{"uri": "test://a", "mimeType": "image/png", "blob": blob}]}))
    });
    let server = mcp.websocket();
    runs_in_bounds(&server.url("/mcp"), &["call", "echo", "text=hi"]);
    runs_in_bounds(&server.url("/mcp"), &["read", "test://a"]);
}

#[test]
fn a_large_result_over_http_takes_one_and_a_half_times_its_size() {
    let json = HttpServer::start(server().http_script(LegacyHttpOptions::default()));
    runs_in_bounds(&json.url("/mcp"), &["call", "echo", "text=hi"]);
    let script = server().http_script(LegacyHttpOptions::default());
    let mcp = server();
    let events = HttpServer::start(move |request| {
        if request.method == "POST" && request.rpc_method() == "tools/call" {
            let answers = mcp.handle(&request.json());
            let send = |reply: Reply, answer| match answer {
                crate::support::ServerAction::Send(message) => reply.event(&message),
                _ => reply,
            };
            return answers.into_iter().fold(Reply::sse(), send);
        }
        script(request)
    });
    runs_in_bounds(&events.url("/mcp"), &["call", "echo", "text=hi"]);
}

#[test]
fn little_is_read_of_an_error_response() {
    let body = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32603, "message": "x".repeat(64 << 20)}});
    let (body, script) = (body.to_string(), server().http_script(LegacyHttpOptions::default()));
    let server = HttpServer::start(move |request| {
        let is_call = request.method == "POST" && request.rpc_method() == "tools/call";
        if is_call { Reply::text("application/json", body.clone()).with_status(500) } else { script(request) }
    });
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--json"]).start();
    let (run, peak) = run.wait_measuring_memory();
    let error: Value = run.json_error();
    assert_eq!(error["message"], "the server failed (HTTP 500)", "{error}");
    assert!(error["causes"][0].as_str().unwrap().starts_with("response: {\"jsonrpc\""), "{error}");
    assert!(peak < BASE + (8 << 20), "{} MiB were used", peak >> 20);
}
