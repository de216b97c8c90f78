//! Old, unusual and malicious schemas: arguments are checked by their meaning, within limits, and nothing is fetched
//! for them.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{HttpServer, Mcp, Reply, Run, Sandbox, ServerAction, StdioServer};

fn server(schema: Value) -> StdioServer {
    Mcp::with_tool_schema(schema)
}

fn call(server: &StdioServer, words: &[&str]) -> Run {
    Sandbox::new().mcpipe([&["call", &server.target(), "do"], words].concat()).run()
}

/// `definitions`, `$id` and `items` as tuples have the meaning of draft-07 where that is declared, not that of
/// 2020-12.
#[test]
fn draft_07_means_draft_07() {
    let server = server(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "definitions": {"level": {"type": "integer", "minimum": 1}},
        "properties": {
            "level": {"$ref": "#/definitions/level"},
            "pair": {"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "additionalItems": false}
        },
        "required": ["level"],
        "additionalProperties": false
    }));
    call(&server, &["level=3", "pair:=[\"a\",1]"]).succeeds().prints("{\"level\":3,\"pair\":[\"a\",1]}\n");
    call(&server, &["level=0"]).exits(2).prints("").stderr_contains("level");
    call(&server, &["level=3", "pair:=[1,\"a\"]"]).exits(2).prints("").stderr_contains("pair");
    call(&server, &["level=3", "pair:=[\"a\",1,2]"]).exits(2).prints("").stderr_contains("pair");
}

#[test]
fn the_2020_12_dialect_is_what_a_schema_without_a_name_means() {
    let server = server(json!({
        "type": "object",
        "$defs": {"name": {"type": "string", "minLength": 2}},
        "properties": {
            "who": {"$ref": "#/$defs/name"},
            "pair": {"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "integer"}}
        },
        "dependentRequired": {"pair": ["who"]}
    }));
    call(&server, &["who=Ada", "pair:=[\"a\",1,2]"]).succeeds().prints("{\"who\":\"Ada\",\"pair\":[\"a\",1,2]}\n");
    call(&server, &["who=A"]).exits(2).stderr_contains("who");
    call(&server, &["pair:=[\"a\"]"]).exits(2).stderr_contains("who");
    call(&server, &["who=Ada", "pair:=[\"a\",\"b\"]"]).exits(2).stderr_contains("pair");
}

/// External references are never fetched; a warning names what is not checked because of them, and the rest is
/// checked.
#[test]
fn a_reference_to_elsewhere_is_not_fetched() {
    let elsewhere = HttpServer::start(|_| Reply::json(&json!({"type": "integer"})));
    let schema = json!({
        "type": "object",
        "properties": {"a": {"$ref": elsewhere.url("/schema.json")}, "b": {"type": "integer", "maximum": 9}},
        "required": ["b"],
        "additionalProperties": false
    });
    let server = server(schema);
    let run = call(&server, &["a=text", "b=1"]);
    run.exits(0).prints("{\"a\":\"text\",\"b\":1}\n");
    assert_eq!(
        run.stderr(),
        format!(
            "mcpipe: warning: 'a' is not fully checked: the schema refers to {}, which mcpipe does not fetch\n",
            elsewhere.url("/schema.json")
        )
    );
    let run = call(&server, &["b=1"]);
    run.succeeds();
    assert_eq!(run.stderr(), "", "nothing that was given is in doubt");
    call(&server, &["a=text"]).exits(2).prints("").stderr_contains("b: required value is missing");
    call(&server, &["a=text", "b=10"]).exits(2).prints("").stderr_contains("b: must be at most 9, got 10");
    call(&server, &["a=text", "b=1", "c=1"]).exits(2).stderr_contains("c: no such parameter");
    call(&server, &["b=x"]).exits(2).stderr_contains("b");
    assert!(elsewhere.requests().is_empty(), "nothing was asked of it");
}

/// What cannot be checked must not be rejected by the combinators around it.
#[test]
fn a_bad_spot_is_taken_for_fulfilled_wherever_it_stands() {
    let elsewhere = "https://example.com/x.json";
    let server = server(json!({
        "type": "object",
        "$defs": {"far": {"$ref": elsewhere}, "unused": {"$ref": "#/nowhere"}},
        "properties": {
            "not": {"not": {"$ref": "#/$defs/far"}},
            "one": {"oneOf": [{"type": "integer"}, {"$ref": "#/$defs/far"}]},
            "list": {"type": "array", "items": {"$ref": elsewhere}, "minItems": 2},
            "if": {"if": {"$ref": elsewhere}, "then": {"type": "integer"}, "else": {"type": "null"}},
            "name": {"type": "string", "pattern": "[", "minLength": 2},
            "map": {"type": "object", "patternProperties": {"[": {"type": "integer"}}, "additionalProperties": false},
            "odd": {"type": "objekt", "maximum": 3},
            "gone": {"$ref": "#/$defs/none"},
            "n": {"type": "integer"}
        },
        "required": ["n"]
    }));
    for word in ["not=1", "one=5", "one=x", "list:=[1,2]", "if=x", "name=ab", "map:={\"a\":1}", "odd:=1", "gone=1"] {
        let run = call(&server, &[word, "n=1"]);
        run.exits(0);
        let name = word.split(['=', ':']).next().unwrap();
        let lines: Vec<&str> = run.stderr().lines().collect();
        let beginning = format!("mcpipe: warning: '{name}' is not fully checked: the schema ");
        assert!(matches!(lines.as_slice(), [line] if line.starts_with(&beginning)), "{word}: {run:?}");
        call(&server, &[word]).exits(2).prints("").stderr_contains("n: required value is missing");
    }
    call(&server, &["list:=[1]", "n=1"]).exits(2).stderr_contains("list: must have at least 2 items");
    call(&server, &["name=a", "n=1"]).exits(2).stderr_contains("name: must have at least 2 characters");
    call(&server, &["odd:=5", "n=1"]).exits(2).stderr_contains("odd: must be at most 3");
    let run = call(&server, &["name=ab", "n=1"]);
    run.stderr_contains("properties.name.pattern: '[' is not a regular expression that mcpipe supports");
    // In draft-07, members beside a reference have no meaning.
    let old = json!({
        "$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
        "properties": {"a": {"$ref": elsewhere, "type": "integer"}, "b": {}}, "required": ["b"]
    });
    let server = self::server(old);
    call(&server, &["a:=\"x\"", "b=1"]).exits(0).stderr_contains("'a' is not fully checked");
    call(&server, &["a:=\"x\""]).exits(2).stderr_contains("b: required value is missing");
}

/// Schemas that refer to themselves, are deeply nested, or contain an expression with exponential run time.
#[test]
fn a_schema_cannot_make_it_hang() {
    let own = json!({"type": "object", "properties": {"node": {"$ref": "#"}}, "additionalProperties": false});
    call(&server(own.clone()), &["node:={\"node\":{\"node\":{}}}"]).succeeds();
    call(&server(own), &["node:={\"node\":{\"knot\":{}}}"]).exits(2).stderr_contains("knot");

    let around = json!({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}});
    let run = call(&server(around), &["x=1"]);
    assert!(run.elapsed < std::time::Duration::from_secs(5), "{run:?}");
    run.exits(0);

    let mut deep = json!({"type": "integer"});
    for _ in 0..60 {
        deep = json!({"type": "object", "properties": {"a": deep}});
    }
    call(&server(deep), &["a.a.a:={}"]).succeeds().prints("{\"a\":{\"a\":{\"a\":{}}}}\n");

    let slow = json!({"type": "object", "properties": {"s": {"type": "string", "pattern": "^(a+)+$"}}});
    let text = format!("s={}b", "a".repeat(5000));
    let run = call(&server(slow), &[&text]);
    assert!(run.elapsed < std::time::Duration::from_secs(5), "{run:?}");
    run.exits(2).stderr_contains("s");
}

/// An invalid schema does not prevent a call by a user who knows the arguments.
#[test]
fn a_schema_that_is_none() {
    for schema in
        [json!({"type": "objekt"}), json!({"type": "object", "properties": {"s": {"pattern": "("}}}), json!({})]
    {
        let server = server(schema.clone());
        let run = call(&server, &["s=x"]);
        assert_eq!((run.code(), run.stdout()), (0, "{\"s\":\"x\"}\n"), "{schema}: {run:?}");
    }
}

/// A required parameter can be given even if it is not described.
#[test]
fn a_name_that_is_only_required_is_a_parameter() {
    let server = server(json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["ghost"]}));
    call(&server, &["ghost=1"]).succeeds().prints("{\"ghost\":\"1\"}\n");
    call(&server, &["ghost:={\"b\":1}", "a=x"]).succeeds().prints("{\"ghost\":{\"b\":1},\"a\":\"x\"}\n");
    call(&server, &[]).exits(2).prints("").stderr_contains("  ghost: required value is missing\n");
    call(&server, &["ghost=1", "gost=1"]).exits(2).stderr_contains("gost: no such parameter; did you mean ghost?");
    let shown = Sandbox::new().mcpipe(["list", &server.target(), "do"]).run();
    shown.succeeds().stdout_contains("ghost\tany\trequired").stdout_contains(" do ghost=text\n");
    // If additional properties are forbidden, the schema contradicts itself and is applied as it is.
    let closed = self::server(json!({"type": "object", "additionalProperties": false, "required": ["ghost"]}));
    call(&closed, &["ghost=1"]).exits(2).prints("").stderr_contains("ghost: no such parameter");
    // If other schemas describe it, they give its type.
    let pattern = self::server(json!({
        "type": "object", "properties": {"a": {}}, "required": ["x1"], "additionalProperties": false,
        "patternProperties": {"^x": {"type": "integer"}}
    }));
    call(&pattern, &["x1=5"]).succeeds().prints("{\"x1\":5}\n");
}

/// A schema with 2^40 paths: both validators give up on it.
fn costly_schema() -> Value {
    let mut parts = serde_json::Map::new();
    for level in 0..40 {
        let next = format!("#/$defs/l{}", level + 1);
        parts.insert(format!("l{level}"), json!({"anyOf": [{"$ref": next}, {"$ref": next}]}));
    }
    parts.insert("l40".to_owned(), json!({"type": "string"}));
    json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/l0"}}, "$defs": parts})
}

/// A server with one tool for each schema, and `quick`, which answers after `pause`.
fn server_with_tools(tools: &[(&str, Value)], pause: Duration) -> StdioServer {
    let quick = ("quick", json!({"type": "object"}));
    let tools: Vec<Value> =
        tools.iter().chain([&quick]).map(|(name, schema)| json!({"name": name, "inputSchema": schema})).collect();
    Mcp::modern()
        .tools(Value::Array(tools))
        .on("tools/call", move |call| {
            let pause = if call.tool() == "quick" { pause } else { Duration::ZERO };
            delayed(pause, call.text(call.tool()))
        })
        .stdio()
}

fn delayed(pause: Duration, reply: Vec<ServerAction>) -> Vec<ServerAction> {
    std::iter::once(ServerAction::Pause(pause)).chain(reply).collect()
}

const TOO_COSTLY: &str = "the schema is too costly to check: it took more than two seconds";

#[test]
fn a_costly_schema_does_not_delay_other_calls() {
    let server = server_with_tools(&[("costly", costly_schema())], Duration::ZERO);
    let lines = "{\"tool\":\"costly\",\"arguments\":{\"x\":1}}\n{\"tool\":\"quick\"}\n";
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jq", ".tool"]).stdin(lines).run();
    run.exits(0).prints("quick\ncostly\n");
    assert_eq!(run.stderr(), format!("mcpipe: warning: the arguments are not checked: {TOO_COSTLY}\n"));
}

/// Five calls of a tool whose schema takes two seconds to give up on finish before a call that takes seven.
#[test]
fn a_schema_is_given_up_once_for_all_calls_of_its_tool() {
    let server = server_with_tools(&[("costly", costly_schema())], Duration::from_secs(7));
    let lines = format!("{{\"tool\":\"quick\"}}\n{}", "{\"tool\":\"costly\",\"arguments\":{\"x\":1}}\n".repeat(5));
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jq", ".tool"]).stdin(lines).run();
    run.exits(0).prints(&format!("{}quick\n", "costly\n".repeat(5)));
    assert_eq!(run.stderr().matches(TOO_COSTLY).count(), 5, "each call says what was not checked: {run:?}");
}

#[test]
fn an_interrupt_ends_validation() {
    let tools: Vec<(String, Value)> = (0..6).map(|n| (format!("costly{n}"), costly_schema())).collect();
    let tools: Vec<(&str, Value)> = tools.iter().map(|(name, schema)| (name.as_str(), schema.clone())).collect();
    let server = server_with_tools(&tools, Duration::ZERO);
    let call = |tool: &str| json!({"tool": tool, "arguments": {"x": 1}}).to_string() + "\n";
    let lines: String = tools.iter().map(|(name, _)| call(name)).collect();
    let running =
        Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jq", ".tool"]).stdin(lines).start();
    server.wait_for("the list", |seen| seen.iter().any(|one| one.methods().contains(&"tools/list".to_owned())));
    std::thread::sleep(Duration::from_millis(500));
    let asked = Instant::now();
    running.signal(Signal::INT);
    let run = running.wait();
    run.exits(130);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

/// Validating a tool's result does not delay other calls either.
#[test]
fn a_costly_output_schema_does_not_delay_other_calls() {
    let server = Mcp::modern()
        .tools(json!([
            {"name": "costly", "inputSchema": {"type": "object"}, "outputSchema": costly_schema()},
            {"name": "quick", "inputSchema": {"type": "object"}},
        ]))
        .on("tools/call", |call| {
            let pause = if call.tool() == "quick" { Duration::from_millis(300) } else { Duration::ZERO };
            delayed(pause, call.result(json!({"content": [], "structuredContent": {"x": 1}})))
        })
        .stdio();
    let lines = "{\"tool\":\"costly\"}\n{\"tool\":\"quick\"}\n";
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jq", ".tool"]).stdin(lines).run();
    run.exits(0).prints("quick\ncostly\n");
    run.stderr_contains(TOO_COSTLY);
}
