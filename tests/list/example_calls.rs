//! The example call of `list TARGET TOOL` works when pasted, for any schema.

use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox, StdioServer};

/// The example call as displayed, and the text next to it.
fn example(server: &StdioServer) -> (String, String) {
    let run = Sandbox::new().mcpipe(["list", &server.target(), "do"]).run();
    let shown = run.succeeds().stdout().split("\nExample\n").nth(1).unwrap().to_owned();
    let (line, beside) = shown.split_once('\n').unwrap();
    (line.to_owned(), beside.to_owned())
}

/// Runs the example of a tool with this schema; returns the arguments that arrive.
#[track_caller]
fn pasted(schema: Value) -> Value {
    let server = Mcp::with_tool_schema(schema.clone());
    let (line, beside) = example(&server);
    assert_eq!(beside, "", "{schema}: {line}");
    let mut words = shlex::split(&line).unwrap();
    assert_eq!(words.remove(0), "mcpipe");
    let run = Sandbox::new().mcpipe(words).run();
    assert_eq!(run.code(), 0, "{schema}: {line}\n{run:?}");
    run.json()
}

fn one(part: Value) -> Value {
    pasted(json!({"type": "object", "properties": {"x": part}, "required": ["x"]}))["x"].clone()
}

#[test]
fn what_may_be_a_secret_in_the_servers_command_is_not_shown() {
    let server = Mcp::with_tool_schema(json!({"type": "object"}));
    let run = Sandbox::new().mcpipe(["list", "do", "--"]).args(server.words()).args(["--api-key", "s3cret"]).run();
    let line = format!("\nExample\nmcpipe call '{} --api-key …' do\n", server.target());
    assert!(run.succeeds().stdout().ends_with(&line), "{run:?}");
    for command in ["test", "list --info"] {
        let words = command.split(' ').chain(["--"]);
        let run = Sandbox::new().mcpipe(words).args(server.words()).args(["--api-key", "s3cret"]).run();
        let shown = format!("{} --api-key [redacted]", server.target());
        assert!(run.stdout().contains(&shown) && !run.stdout().contains("s3cret"), "{run:?}");
    }
}

#[test]
fn numbers_lie_between_their_bounds() {
    assert_eq!(one(json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})), 0.5);
    assert_eq!(one(json!({"type": "number", "minimum": 0.1, "maximum": 0.9})), 0.5);
    assert_eq!(one(json!({"type": "number", "minimum": 0.251, "maximum": 0.259})), 0.255);
    assert_eq!(one(json!({"type": "number", "minimum": 0.1, "maximum": 0.9, "multipleOf": 0.3})), 0.3);
    assert_eq!(one(json!({"type": "number", "minimum": 0.1, "maximum": 0.9, "multipleOf": 0.25})), 0.5);
    assert_eq!(one(json!({"type": "number", "exclusiveMaximum": 0.5})), 0);
    assert_eq!(one(json!({"type": "number", "minimum": 2.5})), 3);
}

#[test]
fn items_differ_where_they_must() {
    let list = |more: Value, item: Value| {
        let mut list = json!({"type": "array", "uniqueItems": true, "minItems": 2, "items": item});
        list.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one(list)
    };
    assert_eq!(list(json!({}), json!({"type": "integer"})), json!([1, 2]));
    assert_eq!(list(json!({"minItems": 3}), json!({"type": "integer", "minimum": 4, "maximum": 6})), json!([4, 5, 6]));
    assert_eq!(list(json!({}), json!({"type": "string"})), json!(["text", "text2"]));
    assert_eq!(list(json!({}), json!({"enum": ["a", "b", "c"]})), json!(["a", "b"]));
    assert_eq!(list(json!({}), json!({"type": "boolean"})), json!([true, false]));
    let found = list(json!({}), json!({"type": "object", "properties": {"n": {"type": "string"}}, "required": ["n"]}));
    assert_eq!(found, json!([{"n": "text"}, {"n": "text2"}]));
    assert_eq!(one(json!({"type": "array", "contains": {"const": 5}, "minItems": 1})), json!([5]));
    assert_eq!(one(json!({"type": "array", "contains": {"type": "integer"}})), json!([1]));
}

#[test]
fn objects_have_as_many_members_as_they_must() {
    let open = json!({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1});
    assert_eq!(one(open), json!({"name": 1}));
    assert_eq!(one(json!({"type": "object", "minProperties": 2})), json!({"name": "text", "name2": "text"}));
    let declared = json!({"type": "object", "minProperties": 1, "properties": {"a": {"type": "integer"}}});
    assert_eq!(one(declared), json!({"a": 1}));
    let whole = json!({"type": "object", "minProperties": 1, "properties": {"a": {"type": "integer"}}});
    assert_eq!(pasted(whole), json!({"a": 1}));
}

#[test]
fn a_schema_that_holds_itself_ends() {
    let node = json!({"type": "object", "properties": {"v": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}}, "required": ["v", "next"]});
    let schema = json!({"type": "object", "properties": {"list": {"$ref": "#/$defs/node"}}, "required": ["list"],
        "$defs": {"node": node}});
    let mut here = &pasted(schema)["list"];
    while !here.is_null() {
        assert_eq!(here["v"], 1);
        here = &here["next"];
    }
}

#[test]
fn what_hangs_on_other_arguments_is_there() {
    let properties = json!({"a": {"type": "integer"}, "b": {"type": "string"}, "k": {"enum": ["x", "y"]}});
    let with = |more: Value| {
        let mut schema = json!({"type": "object", "properties": properties, "required": ["a"]});
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        pasted(schema)
    };
    assert_eq!(with(json!({"dependentRequired": {"a": ["b"]}})), json!({"a": 1, "b": "text"}));
    let then = json!({"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}});
    assert_eq!(with(then), json!({"a": 1, "b": "text"}));
    let otherwise = json!({"if": {"properties": {"a": {"const": 2}}}, "else": {"required": ["k"]}});
    assert_eq!(with(otherwise), json!({"a": 1, "k": "x"}));
    let among = json!({"allOf": [{"if": {"properties": {"a": {"const": 1}}}, "then": {"required": ["b"]}}]});
    assert_eq!(with(among), json!({"a": 1, "b": "text"}));
}

#[test]
fn names_that_no_word_can_hold_go_after_args() {
    let text = json!({"type": "string"});
    let schema = json!({"type": "object", "properties": {"-g": text, "a=b": text, "c": text, "d:": text},
        "required": ["-g", "a=b", "c", "d:"]});
    let server = Mcp::with_tool_schema(schema.clone());
    let (line, _) = example(&server);
    assert!(line.ends_with(r#" do --args '{"-g":"text","a=b":"text","d:":"text"}' c=text"#), "{line}");
    assert_eq!(pasted(schema), json!({"-g": "text", "a=b": "text", "d:": "text", "c": "text"}));
}

#[test]
fn where_no_example_can_be_made_that_is_said() {
    let pattern = json!({"type": "string", "pattern": "^[A-Z]{3}-[0-9]+$"});
    let server = Mcp::with_tool_schema(json!({"type": "object", "properties": {"key": pattern}, "required": ["key"]}));
    let (line, beside) = example(&server);
    assert!(line.ends_with(" do key=text"), "{line}");
    assert_eq!(
        beside,
        "(placeholders: replace the values, the schema has constraints that the example does not meet)\n"
    );
}
