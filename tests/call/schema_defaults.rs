//! A required parameter with a default may be omitted: the default of the schema is sent.
//!
//! zod and other libraries list parameters with a default as required. Some servers fill in the default themselves,
//! others fail.

use serde_json::{Value, json};

use crate::support::{Mcp, Run, Sandbox, StdioServer};

/// As zod writes `z.object({…}).default(…)`, with numbers that a float cannot represent.
const SCHEMA: &str = r##"{
    "type": "object",
    "properties": {
        "text": {"type": "string"},
        "scale": {"type": "string", "enum": ["css", "device"], "default": "css"},
        "tail": {"type": "integer", "default": 12345678901234567890123},
        "ratio": {"$ref": "#/$defs/ratio"},
        "note": {"type": ["string", "null"], "default": "optional"},
        "clip": {"$ref": "#/$defs/clip"},
        "more": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/clip"}}, {"type": "null"}]}
    },
    "required": ["text", "scale", "tail", "ratio"],
    "additionalProperties": false,
    "$defs": {
        "ratio": {"type": "number", "default": 1.50},
        "clip": {"type": "object", "properties": {"x": {"type": "integer"}, "unit": {"type": "string", "default": "px"},
            "skip": {"type": "boolean", "default": true}}, "required": ["x", "unit"], "additionalProperties": false}
    }
}"##;

/// What is filled in at the top level.
const FILLED: &str = r#""scale":"css","tail":12345678901234567890123,"ratio":1.50"#;

fn server() -> StdioServer {
    Mcp::with_tool_schema(serde_json::from_str(SCHEMA).unwrap())
}

fn call(server: &StdioServer, words: &[&str]) -> Run {
    Sandbox::new().mcpipe([&["call", &server.target()], words].concat()).run()
}

/// The arguments of the calls, as they were sent.
fn sent(server: &StdioServer) -> Vec<String> {
    let seen = server.processes();
    let lines = seen.iter().flat_map(|seen| seen.text().lines());
    let call = |line: &str| {
        let message: Value = serde_json::from_str(line).unwrap();
        let arguments = (message["method"] == "tools/call").then(|| message["params"]["arguments"].to_string())?;
        assert!(line.contains(&arguments), "{line}");
        Some(arguments)
    };
    lines.filter_map(call).collect()
}

#[test]
fn a_default_is_sent_however_the_arguments_are_given() {
    let all = format!("{{\"text\":\"a\",{FILLED}}}");
    for words in [
        &["do", "text=a"][..],
        &["do", "--args", "{\"text\":\"a\"}"],
        &["do(text: 'a')"],
        &["do('a')"],
        &["do({text: 'a'})"],
    ] {
        let server = server();
        call(&server, words).succeeds().prints(&format!("{all}\n"));
        assert_eq!(sent(&server), [all.as_str()], "{words:?}");
    }
    let server = server();
    let run = call(&server, &["do", "text=a", "--dry-run"]);
    assert_eq!(run.succeeds().json()["params"]["arguments"].to_string(), all);
    assert_eq!(sent(&server).len(), 0);
}

#[test]
fn a_default_is_sent_for_batch_and_tool_use() {
    let all = format!("{{\"text\":\"a\",{FILLED}}}");
    let line = json!({"tool": "do", "arguments": {"text": "a"}}).to_string();
    let batched = server();
    let run = Sandbox::new().mcpipe(["call", &batched.target(), "--batch", "-"]).stdin(line).run();
    run.succeeds();
    assert_eq!(sent(&batched), [all.as_str()]);

    let reply = json!({"role": "assistant", "content": [
        {"type": "tool_use", "id": "1", "name": "do", "input": {"text": "a"}}]});
    let used = server();
    let run = Sandbox::new().mcpipe(["call", &used.target(), "--tool-use", "-"]).stdin(reply.to_string()).run();
    run.succeeds();
    assert_eq!(sent(&used), [all.as_str()]);
}

#[test]
fn what_is_given_stays_and_only_objects_that_are_given_are_filled() {
    for (words, arguments) in [
        (
            &["text=a", "scale=device", "ratio=2", "tail=1"][..],
            r#"{"text":"a","scale":"device","ratio":2,"tail":1}"#.to_owned(),
        ),
        (&["text=a", "clip.x=1"], format!(r#"{{"text":"a","clip":{{"x":1,"unit":"px"}},{FILLED}}}"#)),
        (
            &["text=a", "more[0].x=1", "more[1].x=2", "more[1].unit=em"],
            format!(r#"{{"text":"a","more":[{{"x":1,"unit":"px"}},{{"x":2,"unit":"em"}}],{FILLED}}}"#),
        ),
        (&["text=a", "more=null"], format!(r#"{{"text":"a","more":null,{FILLED}}}"#)),
    ] {
        let server = server();
        call(&server, &[&["do"], words].concat()).succeeds();
        assert_eq!(sent(&server), [arguments]);
    }
}

/// A default does not hide another mistake, and a default that violates the schema is not used.
#[test]
fn what_has_no_usable_default_is_still_asked_for() {
    let server = server();
    let hint = format!("mcpipe list {} do", server.target());
    let run = call(&server, &["do"]);
    run.exits(2).prints("").stderr_contains("text: required value is missing");
    assert!(!run.stderr().contains("scale"), "{}", run.stderr());
    assert!(run.stderr().contains("mcpipe list"), "{hint}: {}", run.stderr());
    call(&server, &["do", "text=a", "scale=x"]).exits(2).prints("").stderr_contains("scale: expected one of");
    call(&server, &["do", "text=a", "clip.unit=em"])
        .exits(2)
        .prints("")
        .stderr_contains("clip.x: required value is missing");
    call(&server, &["do", "text=a", "--args", "{\"scale\":null}"])
        .exits(2)
        .prints("")
        .stderr_contains("scale: expected string");
    assert_eq!(sent(&server).len(), 0);
    let odd = Mcp::with_tool_schema(json!({"type": "object", "required": ["n"],
        "properties": {"n": {"type": "integer", "default": null}}}));
    call(&odd, &["do"]).exits(2).prints("").stderr_contains("n: required value is missing");
    assert_eq!(sent(&odd).len(), 0);
}

#[test]
fn without_validation_nothing_is_filled_in() {
    let server = server();
    call(&server, &["do", "text=a", "--no-validate"]).succeeds();
    assert_eq!(sent(&server), [r#"{"text":"a"}"#]);
}

/// A cached list provides the defaults too.
#[test]
fn a_remembered_list_gives_the_defaults() {
    let server = server();
    let sandbox = Sandbox::new();
    for _ in 0..2 {
        sandbox.mcpipe(["call", &server.target(), "do", "text=a"]).run().succeeds();
    }
    let all = format!("{{\"text\":\"a\",{FILLED}}}");
    assert_eq!(sent(&server), [all.as_str(), all.as_str()]);
}

#[test]
fn a_parameter_with_a_default_is_shown_as_optional() {
    let properties = json!({
        "text": {"type": "string"}, "scale": {"enum": ["css", "device"], "default": "css"},
        "odd": {"type": "integer", "default": "x"},
        "o": {"type": "object", "required": ["p", "q"], "properties": {"p": {"type": "integer"}, "q": {"default": 5}}}});
    let tool = json!({"name": "shot", "description": "Takes a picture",
        "inputSchema": {"type": "object", "properties": properties, "required": ["text", "scale", "odd", "o"]},
        "outputSchema": {"type": "object", "properties": {"at": {"type": "string", "default": "now"}},
            "required": ["at"]}});
    let server = Mcp::modern().tools(json!([tool])).stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.s]\ncommand = {:?}\nargs = {:?}\n", server.words()[0], &server.words()[1..]));
    let run = sandbox.mcpipe(["list", "s"]).run();
    assert!(
        run.succeeds().stdout().contains("text, scale?: \"css\" | \"device\", odd: integer, o: object"),
        "{}",
        run.stdout()
    );

    let run = sandbox.mcpipe(["list", "s", "shot"]).run();
    let rows: Vec<Vec<&str>> = run.succeeds().stdout().lines().map(|line| line.split('\t').collect()).collect();
    let need = |name: &str| {
        let row = rows.iter().find(|row| row[0].trim() == name).unwrap_or_else(|| panic!("{}", run.stdout()));
        (row[2], row[3])
    };
    assert_eq!(need("text"), ("required", "-"));
    assert_eq!(need("scale"), ("optional", "\"css\""));
    assert_eq!(need("odd"), ("required", "\"x\""));
    assert_eq!(need("o.p"), ("required", "-"));
    assert_eq!(need("o.q"), ("optional", "5"));
    // A result always contains it.
    assert!(run.stdout().contains("{ at: string }"), "{}", run.stdout());
    let example = run.stdout().lines().last().unwrap();
    assert!(example.ends_with("mcpipe call s shot text=text odd=1 o:='{\"p\":1}'"), "{example}");

    let run = sandbox.mcpipe(["list", "s", "--for", "typescript"]).run();
    let declared = run.succeeds().stdout();
    for line in [
        "    text: string;",
        "    scale?: \"css\" | \"device\";",
        "    odd: number;",
        "      q?: unknown;",
        "      p: number;",
        "    at: string;",
    ] {
        assert!(declared.lines().any(|one| one == line), "{line}: {declared}");
    }
}

/// If every required parameter has a default, no argument is needed.
#[test]
fn a_tool_may_need_nothing() {
    let schema = json!({"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "default": 5}}});
    let server = Mcp::with_tool_schema(schema);
    call(&server, &["do"]).succeeds().prints("{\"n\":5}\n");
    call(&server, &["do()"]).succeeds().prints("{\"n\":5}\n");
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--for", "typescript"]).run();
    assert!(run.succeeds().stdout().contains("  do(args?: {\n"), "{}", run.stdout());
    assert_eq!(sent(&server), ["{\"n\":5}", "{\"n\":5}"]);
}
