//! `--max-bytes`: output for readers with little room, kept whole in a file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::mcp::PIXEL;
use crate::support::{Mcp, Run, Sandbox, StdioServer};

/// A server whose tool returns this result.
fn returning(result: Value) -> StdioServer {
    Mcp::modern().on("tools/call", move |call| call.result(result.clone())).stdio()
}

/// Runs `call` with temporary files in the sandbox.
fn call(sandbox: &Sandbox, server: &StdioServer, words: &[&str]) -> Run {
    let directory = sandbox.work();
    sandbox.mcpipe(["call", &server.target(), "fail"]).args(words).env("TMPDIR", directory).run()
}

/// The file that a text names after ` in `.
fn kept_file(text: &str) -> PathBuf {
    let path = text.split(" in ").nth(1).unwrap().split([']', '\n', '"']).next().unwrap();
    Path::new(path).to_owned()
}

fn kept_text(text: &str) -> String {
    std::fs::read_to_string(kept_file(text)).unwrap()
}

#[test]
fn a_long_text_is_cut_in_the_middle_and_kept_whole() {
    let text = (0..1000).map(|n| format!("line {n}\n")).collect::<String>();
    let server = returning(json!({"content": [{"type": "text", "text": text}]}));
    let sandbox = Sandbox::new();
    let run = call(&sandbox, &server, &["--max-bytes", "400"]);
    let shown = run.succeeds().stdout();
    assert!(shown.len() <= 400 && shown.len() > 380, "{}", shown.len());
    assert!(shown.starts_with("line 0\n") && shown.ends_with("line 999\n"), "{shown}");
    assert_eq!(kept_text(shown), text);
    let path = kept_file(shown);
    assert_eq!(path.parent().unwrap(), sandbox.work());
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("mcpipe-") && name.ends_with("-fail.txt"), "{name}");
    let missing: usize = shown.split(" bytes omitted; ").next().unwrap().rsplit('[').next().unwrap().parse().unwrap();
    let mark = format!("[{missing} bytes omitted; the whole text is in {}]\n", path.display());
    assert_eq!(shown.matches(&mark).count(), 1, "{shown}");
    run.stderr_is("");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[test]
fn what_fits_is_not_changed_and_not_kept() {
    let server = returning(json!({"content": [{"type": "text", "text": "1234567\n"}]}));
    let sandbox = Sandbox::new();
    for limit in ["8", "1kB", "1GiB"] {
        call(&sandbox, &server, &["--max-bytes", limit]).succeeds().prints("1234567\n").stderr_is("");
    }
    assert_eq!(std::fs::read_dir(sandbox.work()).unwrap().count(), 0);
    call(&sandbox, &server, &["--max-bytes", "some"]).exits(2).stderr_contains("expected a size such as 500kB");
    call(&sandbox, &server, &["--max-bytes", "8", "-o", "x"]).exits(2).stderr_contains("cannot be used with");
}

#[test]
fn a_json_result_stays_json() {
    let rows: Vec<Value> = (0..500).map(|n| json!({"id": n, "title": format!("row {n}")})).collect();
    let server = returning(json!({"content": [], "structuredContent": {"rows": rows, "total": 500}}));
    let sandbox = Sandbox::new();
    for words in
        [&["--max-bytes", "600"][..], &["--max-bytes", "600", "--structured"], &["--max-bytes", "600", "--json"]]
    {
        let run = call(&sandbox, &server, words);
        let shown = run.exits(0).stdout();
        assert!(shown.len() <= 600 && shown.len() > 500, "{words:?}: {}", shown.len());
        let document: Value = serde_json::from_str(shown).unwrap();
        let content = document.get("structuredContent").unwrap_or(&document);
        assert_eq!(content["total"], 500, "{words:?}: {shown}");
        let shown_rows = content["rows"].as_array().unwrap();
        assert_eq!((&shown_rows[0], shown_rows.last().unwrap()), (&rows[0], &rows[499]), "{words:?}: {shown}");
        let whole: Value = serde_json::from_str(&kept_text(run.stderr())).unwrap();
        assert_eq!(whole.get("structuredContent").unwrap_or(&whole)["rows"].as_array().unwrap().len(), 500);
        assert!(kept_file(run.stderr()).to_str().unwrap().ends_with(".json"));
    }
    let run = call(&sandbox, &server, &["--max-bytes", "600"]);
    let (all, path) = (kept_text(run.stderr()).len(), kept_file(run.stderr()));
    let shown = run.stdout().len();
    let path = path.display();
    run.stderr_is(&format!(
        "mcpipe: warning: the output was cut from {all} to {shown} bytes; all of it is in {path}\n"
    ));
    // Text that is JSON is JSON.
    let server = returning(json!({"content": [{"type": "text", "text": json!(rows).to_string()}]}));
    let run = call(&sandbox, &server, &["--max-bytes", "300"]);
    assert!(serde_json::from_str::<Value>(run.exits(0).stdout()).unwrap().is_array());
    // Without --max-bytes, nothing is cut.
    let run = call(&sandbox, &server, &["--json"]);
    assert_eq!(run.succeeds().json()["content"][0]["text"], json!(rows).to_string());
}

#[test]
fn nothing_is_longer_than_a_small_limit() {
    let text = "0123456789é".repeat(50) + "\n";
    let rows: Vec<Value> = (0..50).map(|n| json!({"id": n})).collect();
    let returned = |text: String| returning(json!({"content": [{"type": "text", "text": text}]}));
    let (server, json_server) = (returned(text.clone()), returned(json!({"rows": rows}).to_string()));
    let sandbox = Sandbox::new();
    for limit in [0, 1, 11, 12, 40, 60] {
        let words = ["--max-bytes", &limit.to_string()];
        // The beginning, as of `head -c`, cut between characters.
        let run = call(&sandbox, &server, &words);
        let shown = run.exits(0).stdout();
        let size = text.floor_char_boundary(limit);
        assert_eq!(shown, &text[..size]);
        assert_eq!(kept_text(run.stderr()), text);
        run.stderr_contains(&format!(
            "mcpipe: warning: the output was cut from {} to {size} bytes; all of it",
            text.len()
        ));
        // JSON stays JSON: an empty object has two bytes and a line feed.
        let run = call(&sandbox, &json_server, &words);
        let shown = run.exits(0).stdout();
        assert!(shown.len() <= limit, "{limit}: {shown}");
        assert!(if limit < 3 { shown.is_empty() } else { serde_json::from_str::<Value>(shown).unwrap().is_object() });
        run.stderr_contains("mcpipe: warning: the output was cut from ");
    }
}

#[test]
fn a_failed_tool_is_cut_too() {
    let server = returning(json!({"content": [{"type": "text", "text": "x".repeat(5000)}], "isError": true}));
    let sandbox = Sandbox::new();
    let run = call(&sandbox, &server, &["--max-bytes", "300"]);
    assert!(run.exits(1).stdout().len() <= 300);
    run.stderr_contains("the tool reported an error");
    // Nothing is printed that cannot be kept.
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--max-bytes", "300"]).env("TMPDIR", "/none").run();
    run.exits(74).prints("").stderr_contains("cannot keep the whole output in a temporary file");
}

#[test]
fn a_resource_is_cut_and_kept_under_its_name() {
    let text = "0123456789".repeat(500);
    let contents = json!({"contents": [{"uri": "demo://a/table.csv", "text": text}]});
    let logo = json!({"contents": [{"uri": "demo://logo", "blob": "/4D/".repeat(200), "mimeType": "image/png"}]});
    let server = Mcp::modern()
        .on("resources/read", move |read| match read.params()["uri"].as_str().unwrap() {
            "demo://logo" => read.result(logo.clone()),
            _ => read.result(contents.clone()),
        })
        .stdio();
    let sandbox = Sandbox::new();
    let read = |words: &[&str]| {
        let directory = sandbox.work();
        sandbox.mcpipe(["read", &server.target()]).args(words).env("TMPDIR", directory).run()
    };
    let run = read(&["demo://a/table.csv", "--max-bytes", "300"]);
    let shown = run.succeeds().stdout();
    assert!(shown.len() <= 300 && shown.starts_with("0123") && shown.ends_with("6789"), "{shown}");
    assert_eq!(kept_text(shown), text);
    assert!(kept_file(shown).to_str().unwrap().ends_with("-table.csv"), "{shown}");
    let run = read(&["demo://logo", "--max-bytes", "300"]);
    let path = kept_file(run.succeeds().stdout());
    assert!(path.to_str().unwrap().ends_with("-logo.png"), "{}", path.display());
    let size = std::fs::read(&path).unwrap().len();
    run.prints(&format!("[{size} bytes of binary content, in {}]\n", path.display()));
    let run = read(&["demo://logo", "--max-bytes", "20"]);
    run.exits(0).prints("").stderr_contains(&format!("cut from {size} to 0 bytes; all of it is in "));
    let run = read(&["demo://a/table.csv", "demo://logo", "--max-bytes", "500", "--json"]);
    assert_eq!(run.exits(0).json()["results"][0]["uri"], "demo://a/table.csv");
    assert!(run.stdout().len() <= 500, "{}", run.stdout());
}

#[test]
fn a_model_gets_the_ends_of_a_long_text_and_whole_images() {
    let image = json!({"type": "image", "data": PIXEL, "mimeType": "image/png"});
    let blocks: Vec<Value> = (0..200).map(|n| json!({"type": "text", "text": format!("block {n} of 200\n")})).collect();
    let long = json!([{"type": "text", "text": "x".repeat(3000)}, image, {"type": "text", "text": "short"}]);
    let rows: Vec<Value> = (0..500).map(|n| json!({"id": n})).collect();
    let server = Mcp::modern()
        .on("tools/call", move |call| {
            let text = json!([{"type": "text", "text": json!(rows).to_string()}]);
            match call.argument("case").as_str().unwrap() {
                "long" => call.result(json!({"content": long})),
                "many" => call.result(json!({"content": blocks})),
                "json" => call.result(json!({"content": text})),
                "malformed" => call.result(json!({"content": "x".repeat(3000)})),
                "error" => call.error(-32000, &"x".repeat(3000)),
                _ => call.result(json!({"content": text, "structuredContent": {"rows": rows}})),
            }
        })
        .tools(json!([{"name": "t", "inputSchema": {"type": "object"}}]))
        .stdio();
    let sandbox = Sandbox::new();
    let run = |reply: Value| {
        let directory = sandbox.work();
        let words = ["call", &server.target(), "--tool-use", "-", "--max-bytes", "400"];
        sandbox.mcpipe(words).stdin(reply.to_string()).env("TMPDIR", directory).run()
    };
    let anthropic = |case: &str| {
        let done = run(json!({"content": [{"type": "tool_use", "id": "1", "name": "t", "input": {"case": case}}]}));
        done.exits(0).stderr_contains("warning: the result of t was cut to 400 bytes; all of it is in ");
        let content = done.json()[0]["content"][0]["content"].clone();
        content.as_array().unwrap().clone()
    };
    let content = anthropic("long");
    let text = content[0]["text"].as_str().unwrap();
    assert!(text.len() <= 400 && text.starts_with("xx"), "{text}");
    assert_eq!(content[1]["source"]["data"], PIXEL);
    assert_eq!(content[2]["text"], "short");
    assert!(kept_text(text).contains(&"x".repeat(3000)));
    let content = anthropic("many");
    let text: String = content.iter().map(|block| block["text"].as_str().unwrap()).collect();
    assert!(
        text.len() <= 400 && text.starts_with("block 0 of 200\n") && text.ends_with("block 199 of 200\n"),
        "{text}"
    );
    let content = anthropic("json");
    let [text, note] = [&content[0], &content[1]].map(|block| block["text"].as_str().unwrap());
    assert!(text.len() + note.len() <= 400, "{text}{note}");
    let shown: Value = serde_json::from_str(text).unwrap();
    assert_eq!((&shown[0]["id"], &shown.as_array().unwrap().last().unwrap()["id"]), (&json!(0), &json!(499)));
    assert!(kept_text(note).contains(r#"{\"id\":250}"#), "{note}");
    for case in ["malformed", "error"] {
        let used = json!({"content": [{"type": "tool_use", "id": "1", "name": "t", "input": {"case": case}}]});
        let done = run(used);
        let content = done.exits(1).json()[0]["content"][0]["content"].clone();
        let text = content.as_str().or(content[0]["text"].as_str()).unwrap();
        assert!(text.len() <= 400 && kept_text(text).contains(&"x".repeat(3000)), "{text}");
    }
    // The structured content, for the API that takes it.
    let call = json!({"functionCall": {"name": "t", "args": {"case": "structured"}}});
    let done = run(json!({"candidates": [{"content": {"role": "model", "parts": [call]}}]}));
    let output = &done.exits(0).json()[0]["parts"][0]["functionResponse"]["response"]["output"];
    assert!(output.to_string().len() <= 400 && output["rows"].as_array().unwrap().len() > 10, "{output}");
}
