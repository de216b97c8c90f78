//! `call -o`: results in files.

use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox, StdioServer};

/// A server whose tool returns this result.
fn answering(result: Value) -> StdioServer {
    Mcp::modern().on("tools/call", move |call| call.result(result.clone())).stdio()
}

#[test]
fn a_result_is_written_to_a_file() {
    let content = json!([{"type": "text", "text": "one"}, {"type": "text", "text": "two\n"}]);
    let server = answering(json!({"content": content, "structuredContent": {"a": 15}}));
    let sandbox = Sandbox::new();
    let written = |words: &[&str]| {
        sandbox.mcpipe(["call", &server.target(), "fail", "-o", "out"]).args(words).run().succeeds().prints("");
        std::fs::read_to_string(sandbox.work().join("out")).unwrap()
    };
    assert_eq!(written(&[]), "one\ntwo\n");
    assert_eq!(written(&["--structured"]), "{\"a\":15}\n");
    assert_eq!(written(&["--jq", ".content[].text"]), "one\ntwo\n\n");
    assert_eq!(
        written(&["--json"]),
        format!("{{\"content\":{content},\"structuredContent\":{{\"a\":15}},\"resultType\":\"complete\"}}\n")
    );
    sandbox.mcpipe(["call", &server.target(), "fail", "-o", "-"]).run().succeeds().prints("one\ntwo\n");
    sandbox.mcpipe(["call", &server.target(), "fail", "-o", "none/out"]).run().exits(2);
}

/// Except for binary content, a file gets what standard output would.
#[test]
fn a_file_has_what_standard_output_has() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let structured = json!({"rows": 3});
    let link = json!({"type": "resource_link", "uri": "demo://a", "name": "a"});
    for (result, shown) in [
        (json!({"content": [text("")], "structuredContent": structured}), "{\n  \"rows\": 3\n}\n"),
        (json!({"content": [text(" \n")], "structuredContent": structured}), " \n{\n  \"rows\": 3\n}\n"),
        (json!({"content": [text("a")], "structuredContent": structured}), "a\n"),
        (json!({"content": [], "structuredContent": structured}), "{\n  \"rows\": 3\n}\n"),
        (json!({"structuredContent": structured}), "{\n  \"rows\": 3\n}\n"),
        (json!({"content": []}), ""),
        (json!({"content": [text("a"), text(""), text("b")]}), "a\nb\n"),
        (
            json!({"content": [text("a"), {"type": "video"}, link]}),
            "a\n[unknown content type 'video'; --json shows it]\n[link a demo://a]\n",
        ),
        (json!({"content": [text("a"), {"type": "text"}]}), "a\n"),
        (json!({"content": [7]}), ""),
    ] {
        let server = answering(result.clone());
        let sandbox = Sandbox::new();
        let printed = sandbox.mcpipe(["call", &server.target(), "fail"]).run();
        let written = sandbox.mcpipe(["call", &server.target(), "fail", "-o", "out"]).run();
        assert_eq!(printed.stdout(), shown, "{result}");
        assert_eq!(std::fs::read_to_string(sandbox.work().join("out")).unwrap(), shown, "{result}");
        assert_eq!(written.prints("").stderr(), printed.stderr(), "{result}");
    }
}

#[test]
fn an_image_is_written_as_its_bytes() {
    let image = json!([{"type": "image", "data": "AAEC", "mimeType": "image/png"}]);
    let sandbox = Sandbox::new();
    for result in [json!({"content": image}), json!({"content": image, "structuredContent": {"width": 1}})] {
        let server = answering(result);
        let run = sandbox.mcpipe(["call", &server.target(), "fail", "-o", "out.png"]).run();
        run.succeeds().prints("").stderr_is("");
        assert_eq!(std::fs::read(sandbox.work().join("out.png")).unwrap(), [0, 1, 2]);
    }
    let mixed = json!([{"type": "text", "text": "A:"}, {"type": "image", "data": "AAEC", "mimeType": "image/png"}]);
    let mixed = answering(json!({"content": mixed}));
    let run = sandbox.mcpipe(["call", &mixed.target(), "fail", "-o", "out.png"]).run();
    assert_eq!(
        run.exits(0).prints("").stderr(),
        "mcpipe: warning: out.png has all parts of the result, one after the other; --save DIR writes each image or other \
         binary content into a file of its own\n"
    );
    assert_eq!(std::fs::read(sandbox.work().join("out.png")).unwrap(), b"A:\n\0\x01\x02");
    let structured = answering(json!({"content": [], "structuredContent": {"a": 1}}));
    sandbox.mcpipe(["call", &structured.target(), "fail", "-o", "out.json"]).run().succeeds();
    assert_eq!(std::fs::read_to_string(sandbox.work().join("out.json")).unwrap(), "{\n  \"a\": 1\n}\n");
}

#[test]
fn a_failed_tool_is_written_and_fails() {
    let sandbox = Sandbox::new();
    let server = Mcp::modern().stdio();
    sandbox.mcpipe(["call", &server.target(), "fail", "-o", "out"]).run().exits(1).prints("");
    assert!(std::fs::read_to_string(sandbox.work().join("out")).unwrap().contains("broken"));
}
