//! `list --for typescript`: `tsc --strict` compiles the types, and they accept and refuse values as the schemas say.

use std::process::Command;

use serde_json::{Map, Value, json};

use crate::support::real::{self, node_package_file, node_program};
use crate::support::{Mcp, Sandbox};

/// A schema with values that its type accepts and refuses.
struct TypeCase {
    tool: Value,
    /// The type, as an expression of the interface `Cases` and the name of the tool.
    type_text: fn(&str) -> String,
    accepted: Vec<Value>,
    refused: Vec<Value>,
}

fn arguments_type(tool: &str) -> String {
    format!("Parameters<Cases[{tool:?}]>[0]")
}

fn result_type(tool: &str) -> String {
    format!("Awaited<ReturnType<Cases[{tool:?}]>>")
}

/// A case for the arguments of a tool.
fn arguments(schema: Value, accepted: Value, refused: Value) -> TypeCase {
    let values = |values: Value| values.as_array().unwrap().clone();
    TypeCase {
        tool: json!({"inputSchema": schema}),
        type_text: arguments_type,
        accepted: values(accepted),
        refused: values(refused),
    }
}

/// A case for a parameter.
fn parameter(schema: Value, accepted: Value, refused: Value) -> TypeCase {
    let mut case =
        arguments(json!({"type": "object", "properties": {"p": schema}, "required": ["p"]}), accepted, refused);
    for value in case.accepted.iter_mut().chain(&mut case.refused) {
        *value = json!({"p": value.take()});
    }
    case
}

fn known_schemas() -> Vec<TypeCase> {
    let text = || json!({"type": "string"});
    let a = || json!({"type": "object", "properties": {"a": text()}, "required": ["a"]});
    let mut all = scalars_and_arrays(&text, &a);
    all.extend(objects(&text, &a));
    all.extend(combined_schemas(&text, &a));
    all
}

fn scalars_and_arrays(text: &dyn Fn() -> Value, a: &dyn Fn() -> Value) -> Vec<TypeCase> {
    vec![
        parameter(json!(true), json!([1, null, "x", {}]), json!([])),
        parameter(json!({"type": "integer"}), json!([1]), json!(["1", null, true])),
        parameter(json!({"type": ["string", "null"]}), json!(["x", null]), json!([1, [], {}])),
        parameter(json!({"enum": ["a", 1, null, "\"ü"]}), json!(["a", 1, null, "\"ü"]), json!(["b", 2, {}])),
        parameter(json!({"enum": []}), json!([]), json!(["a", null])),
        parameter(
            json!({"const": {"a": [1, "x"]}}),
            json!([{"a": [1, "x"]}]),
            json!([{"a": [1]}, {}, {"a": ["x", 1]}]),
        ),
        parameter(json!({"type": "array"}), json!([[], [1, "x"]]), json!([{}, "x", null])),
        parameter(
            json!({"type": "array", "items": {"type": ["string", "null"]}}),
            json!([[], ["x", null]]),
            json!([[1], "x", null]),
        ),
        parameter(json!({"type": "array", "items": {"enum": [1, 2]}}), json!([[1, 2, 1]]), json!([1, [3]])),
        parameter(
            json!({"type": "array", "items": {"anyOf": [a(), text()]}}),
            json!([[], [{"a": "x"}, "y"]]),
            json!(["y", {"a": "x"}, [1], [{}], [["y"]]]),
        ),
        parameter(
            json!({"type": "array", "items": {"oneOf": [a(), {"type": "array", "items": text()}]}}),
            json!([[{"a": "x"}], [["x"]], [["x"], {"a": "y"}]]),
            json!([["x"], {"a": "x"}, [[1]]]),
        ),
        parameter(
            json!({"type": ["array", "string"], "items": {"type": "number"}}),
            json!([[1], "x"]),
            json!([1, ["x"]]),
        ),
        parameter(
            json!({"type": "array", "prefixItems": [{"type": ["string", "null"]}], "minItems": 1, "items": false}),
            json!([["x"], [null]]),
            json!([[], [1], ["x", "y"]]),
        ),
        parameter(
            json!({"type": "array", "prefixItems": [text(), {"type": "number"}]}),
            json!([[], ["x"], ["x", 1], ["x", 1, true]]),
            json!([[1], ["x", "y"]]),
        ),
        parameter(
            json!({"type": "array", "prefixItems": [{"type": "number"}], "items": {"type": ["string", "null"]}}),
            json!([[1, "x", null]]),
            json!([["x"], [1, 1]]),
        ),
        parameter(
            json!({"type": "array", "items": [text()], "additionalItems": false}),
            json!([[], ["x"]]),
            json!([[1], ["x", "y"]]),
        ),
    ]
}

fn objects(text: &dyn Fn() -> Value, a: &dyn Fn() -> Value) -> Vec<TypeCase> {
    vec![
        parameter(json!({"type": "object"}), json!([{}, {"a": 1}]), json!([[], "x", null])),
        parameter(a(), json!([{"a": "x"}]), json!([{}, {"a": 1}, {"a": null}, []])),
        parameter(
            json!({"type": ["object", "null"], "properties": {"a": text()}}),
            json!([{}, null]),
            json!([{"a": 1}, "x"]),
        ),
        parameter(json!({"type": "object", "required": ["a"]}), json!([{"a": 1}, {"a": null}]), json!([{}, "x"])),
        parameter(json!({"type": "object", "properties": {"a": false}}), json!([{}]), json!([{"a": 1}])),
        parameter(
            json!({"type": "object", "additionalProperties": text()}),
            json!([{}, {"x": "y"}]),
            json!([{"x": 1}, [], "x"]),
        ),
        parameter(
            json!({"type": "object", "properties": {"a": text()}, "additionalProperties": {"type": "number"}}),
            json!([{}, {"a": "x"}, {"a": "x", "b": 1}]),
            json!([{"a": true}, {"b": true}, {"a": 1}]),
        ),
        arguments(
            json!({"type": "object", "additionalProperties": text()}),
            json!([{}, {"x": "y"}]),
            json!([{"x": 1}, "x"]),
        ),
        arguments(json!({"type": "object", "required": ["a"]}), json!([{"a": 1}]), json!([{}, "x"])),
        parameter(json!({"type": "object", "additionalProperties": false}), json!([{}]), json!([{"a": 1}, [], "x"])),
        parameter(
            json!({"type": "object", "properties": {"a": text()}, "additionalProperties": true}),
            json!([{}, {"a": "x"}, {"a": "x", "b": 1}, {"b": null}]),
            json!([{"a": 1}]),
        ),
        parameter(
            json!({"type": "object", "patternProperties": {"^x": text()}}),
            json!([{}, {"x": "y"}, {"z": 1}]),
            json!([[], "x"]),
        ),
        parameter(
            json!({"type": "object", "properties": {"a": {"type": "number"}}, "patternProperties": {"^x": text()},
                "additionalProperties": false}),
            json!([{}, {"a": 1}, {"a": 1, "x": "y"}]),
            json!([{"a": "x"}, {"a": 1, "x": true}]),
        ),
        parameter(
            json!({"type": "object", "patternProperties": {"^x": text()}, "additionalProperties": false}),
            json!([{}, {"x": "y"}]),
            json!([{"x": 1}]),
        ),
        parameter(
            json!({"type": "object", "properties": {"a": text()}, "additionalProperties": false}),
            json!([{}, {"a": "x"}]),
            json!([{"b": 1}]),
        ),
        parameter(
            json!({"type": "object", "properties": {"a-b": text(), "new": text(), "constructor": text(), "": text(), "0": text(), "ü": text()}}),
            json!([{"a-b": "x", "new": "x", "constructor": "x", "": "x", "0": "x", "ü": "x"}]),
            json!([{"a-b": 1}, {"new": 1}, {"constructor": 1}, {"": 1}, {"0": 1}, {"ü": 1}]),
        ),
        // Sending defaults is not necessary.
        parameter(
            json!({"type": "object", "properties": {"a": {"type": "string", "default": "x"}}, "required": ["a"]}),
            json!([{}, {"a": "y"}]),
            json!([{"a": 1}]),
        ),
        parameter(
            json!({"type": "object", "properties": {"a": {"type": "string", "description": "*/ } /* \n//"}}}),
            json!([{"a": "x"}]),
            json!([{"a": 1}]),
        ),
        // Invalid schemas still have a type.
        arguments(
            json!({"type": "object", "properties": {"a": {"type": "strng", "enum": "x"}}, "required": "a"}),
            json!([{}]),
            json!([]),
        ),
    ]
}

fn combined_schemas(text: &dyn Fn() -> Value, a: &dyn Fn() -> Value) -> Vec<TypeCase> {
    let b = || json!({"type": "object", "properties": {"b": text()}, "required": ["b"]});
    let both = || json!({"a": text(), "b": text()});
    let either = || json!([{"required": ["a"]}, {"required": ["b"]}]);
    let values = || json!([{"a": "x"}, {"b": "x"}, {"a": "x", "b": "y"}]);
    vec![
        parameter(json!({"anyOf": [text(), {"type": "null"}]}), json!(["x", null]), json!([1, {}])),
        parameter(
            json!({"type": "string", "anyOf": [{"format": "uri"}, {"format": "email"}]}),
            json!(["x"]),
            json!([1]),
        ),
        parameter(json!({"allOf": [{"type": "number"}, {"enum": [1, 2, "x"]}]}), json!([1, 2]), json!([3, "x"])),
        parameter(json!({"allOf": [a(), b()]}), json!([{"a": "x", "b": "y"}]), json!([{"a": "x"}, {"b": "y"}, {}])),
        parameter(
            json!({"properties": both(), "anyOf": either()}),
            values(),
            json!([{}, {"a": 1}, {"a": "x", "b": 1}]),
        ),
        arguments(
            json!({"type": "object", "properties": both(), "anyOf": either()}),
            values(),
            json!([{}, {"a": 1}, {"a": "x", "b": 1}]),
        ),
        arguments(json!({"type": "object", "anyOf": [a(), b()]}), values(), json!([{}, {"a": 1}])),
        arguments(
            json!({"type": "object", "properties": {"c": text()}, "required": ["c"], "allOf": [a()], "anyOf": [b(), {"required": ["d"]}]}),
            json!([{"a": "x", "b": "x", "c": "x"}, {"a": "x", "c": "x", "d": 1}]),
            json!([{"a": "x", "c": "x"}, {"a": "x", "b": "x"}, {"b": "x", "c": "x"}]),
        ),
        parameter(
            json!({"type": "object", "properties": {"a": text()}, "oneOf": [
                {"properties": {"kind": {"const": "x"}}, "required": ["kind"]},
                {"properties": {"kind": {"const": "y"}, "b": {"type": "number"}}, "required": ["kind", "b"]}]}),
            json!([{"kind": "x"}, {"kind": "y", "b": 1, "a": "x"}]),
            json!([{}, {"kind": "y"}, {"kind": "z"}, {"kind": "x", "a": 1}]),
        ),
        arguments(
            json!({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "required": ["name"], "properties": {
                "name": text(), "next": {"$ref": "#/$defs/node"}}}}}),
            json!([{"name": "x"}, {"name": "x", "next": {"name": "y", "next": {"name": "z"}}}]),
            json!([{}, {"name": 1}, {"name": "x", "next": {}}, {"name": "x", "next": {"name": "y", "next": {"name": 1}}}]),
        ),
    ]
}

/// What TypeScript can say of a schema.
fn relaxed(schema: &Value, is_input: bool) -> Value {
    let Value::Object(words) = schema else { return schema.clone() };
    let mut out = Map::new();
    for (word, value) in words {
        let value = match (word.as_str(), value) {
            ("format" | "pattern" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum", _)
            | ("minLength" | "maxLength" | "minItems" | "maxItems" | "uniqueItems" | "multipleOf", _)
            | ("minProperties" | "maxProperties" | "propertyNames" | "not" | "if" | "then" | "else", _) => continue,
            ("type", value) if value == "integer" => json!("number"),
            ("enum" | "const" | "default", value) => value.clone(),
            ("required", Value::Array(names)) => {
                let has_default = |name: &&Value| words["properties"][name.as_str().unwrap()].get("default").is_some();
                names.iter().filter(|name| !is_input || !has_default(name)).cloned().collect()
            }
            ("properties" | "$defs" | "definitions", Value::Object(all)) => {
                all.iter().map(|(name, schema)| (name.clone(), relaxed(schema, is_input))).collect()
            }
            (_, Value::Array(all)) => all.iter().map(|one| relaxed(one, is_input)).collect(),
            (_, value) => relaxed(value, is_input),
        };
        out.insert(word.clone(), value);
    }
    Value::Object(out)
}

/// A value for a schema.
fn sample(root: &Value, schema: &Value, depth: usize) -> Value {
    let first = |word: &str| schema[word].as_array().and_then(|all| all.first());
    if let Some(value) = schema.get("const").or_else(|| first("enum")) {
        return value.clone();
    }
    if let Some(target) =
        schema["$ref"].as_str().and_then(|to| root.pointer(to.strip_prefix('#')?)).filter(|_| depth < 5)
    {
        return sample(root, target, depth + 1);
    }
    if let Some(one) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return sample(root, one, depth + 1);
    }
    match schema["type"].as_str().or_else(|| first("type").and_then(Value::as_str)) {
        Some("string") => json!("x"),
        Some("number" | "integer") => json!(1),
        Some("boolean") => json!(true),
        Some("array") => json!([sample(root, &schema["items"], depth + 1)]),
        Some("object") => {
            let properties = schema["properties"].as_object().into_iter().flatten();
            properties.map(|(name, property)| (name.clone(), sample(root, property, depth + 1))).collect()
        }
        _ => Value::Null,
    }
}

/// All values that differ from this one in one place.
fn variants(value: &Value) -> Vec<Value> {
    let mut all = vec![json!(null), json!(true), json!(1), json!("y"), json!([]), json!({}), json!([[]])];
    match value {
        Value::Array(items) => {
            for (n, item) in items.iter().enumerate() {
                all.extend(variants(item).into_iter().map(|changed| {
                    let mut items = items.clone();
                    items[n] = changed;
                    Value::Array(items)
                }));
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let mut without = members.clone();
                without.remove(name);
                all.push(Value::Object(without));
                all.extend(variants(member).into_iter().map(|changed| {
                    let mut members = members.clone();
                    members.insert(name.clone(), changed);
                    Value::Object(members)
                }));
            }
        }
        _ => {}
    }
    all
}

/// The tools of the real servers, with values that a validator for JSON Schema accepts and refuses.
fn real_tools() -> Vec<TypeCase> {
    let mut cases = Vec::new();
    for tool in real::real_tools() {
        for (word, type_text) in [("inputSchema", arguments_type as fn(&str) -> String), ("outputSchema", result_type)]
        {
            let Some(schema) = tool.get(word).filter(|schema| schema["properties"] != json!({})) else { continue };
            let relaxed = relaxed(schema, word == "inputSchema");
            let validator = jsonschema::validator_for(&relaxed).unwrap();
            let good = sample(schema, schema, 0);
            assert!(validator.is_valid(&good), "{good} is no value of {relaxed}");
            let (accepted, refused) =
                variants(&good).into_iter().chain([good]).partition(|value| validator.is_valid(value));
            cases.push(TypeCase { tool: tool.clone(), type_text, accepted, refused });
        }
    }
    cases
}

#[test]
fn types_accept_and_refuse_values_as_the_schemas_say() {
    let sandbox = Sandbox::new();
    let known = known_schemas();
    let count = known.len();
    let mut cases = known;
    cases.extend(real_tools());
    assert!(cases.len() > count + 30, "the real servers have tools");

    let mut tools = Vec::new();
    let mut values = vec!["import type { Cases } from \"./tools\";".to_owned()];
    for (n, case) in cases.iter_mut().enumerate() {
        let name = format!("t{n}");
        case.tool["name"] = name.clone().into();
        tools.push(case.tool.clone());
        let line = |value: &Value| format!("{{ const v: {} = {value}; }}", (case.type_text)(&name));
        for value in &case.accepted {
            values.push(line(value));
        }
        for value in &case.refused {
            values.push(format!("// @ts-expect-error\n{}", line(value)));
        }
    }
    let server = Mcp::modern().tools(tools.into()).stdio();
    sandbox.config(&format!("[servers.cases]\ncommand = {:?}\nargs = {:?}\n", server.words()[0], &server.words()[1..]));
    let types = sandbox.mcpipe(["list", "cases", "--for", "typescript"]).run();
    sandbox.file("tools.ts", types.exits(0).stdout());
    let values = values.join("\n");
    sandbox.file("values.ts", &values);

    let output = Command::new(node_program())
        .arg(node_package_file("typescript/bin/tsc"))
        .args(["--strict", "--noEmit", "--pretty", "false", "--target", "es2022", "--module", "es2022", "values.ts"])
        .current_dir(sandbox.work())
        .output()
        .unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = values.lines().collect();
    let explained: Vec<String> = found
        .lines()
        .map(|line| {
            let number = line.strip_prefix("values.ts(").and_then(|rest| rest.split(',').next()?.parse::<usize>().ok());
            let around =
                number.map_or(String::new(), |number| lines[number - 1..lines.len().min(number + 1)].join("\n"));
            let tool = around.split("Cases[\"t").nth(1).and_then(|rest| rest.split('"').next()?.parse::<usize>().ok());
            format!("{line}\n{around}\n{}", tool.map_or(String::new(), |n| cases[n].tool.to_string()))
        })
        .collect();
    assert!(output.status.success() && found.is_empty(), "{}", explained.join("\n\n"));
}
