//! Tests of the arguments as a whole: words and a schema in, JSON or problems out.
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::io;

use serde_json::json;

use super::*;
use crate::schema::SchemaError;
use crate::schema::tests::block_on;

/// Files and standard input held in memory.
#[derive(Default)]
struct MemoryReader {
    files: HashMap<&'static str, &'static [u8]>,
    stdin: &'static [u8],
    stdin_reads: usize,
}

impl ArgumentReader for MemoryReader {
    fn read_file(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let bytes = self.files.get(path).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))?;
        Ok(bytes.to_vec())
    }

    fn read_stdin(&mut self, _: &str) -> io::Result<Vec<u8>> {
        self.stdin_reads += 1;
        Ok(self.stdin.to_vec())
    }
}

fn memory_reader() -> MemoryReader {
    let files: [(&str, &[u8]); 8] = [
        ("note.txt", b"first\nsecond\n"),
        ("n.txt", b"5\n"),
        ("bad.txt", b"\xff\xfe"),
        ("o.json", b"\xef\xbb\xbf{\"a\": 1}"),
        ("list.json", b"[1, 2]\n"),
        ("words.json", b"[\"YQ==\"]\n"),
        ("broken.json", b"{\"a\": "),
        ("empty.json", b" \n"),
    ];
    MemoryReader { files: files.into_iter().collect(), stdin: b"{\"from\": \"stdin\"}", stdin_reads: 0 }
}

fn build_arguments(
    input: &ArgumentInput,
    schema: Option<&Value>,
    reader: &mut dyn ArgumentReader,
) -> Result<BuiltArguments, Vec<ValueProblem>> {
    let validator = schema.map(SchemaValidator::new);
    block_on(assemble_arguments(input, validator.as_ref(), Validation::Required, reader).validate())
}

fn build_from(
    base: Option<&str>,
    form: &[CallFormArgument],
    words: &[&str],
    schema: Option<&Value>,
) -> Result<BuiltArguments, Vec<String>> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    let input = ArgumentInput {
        base_json: base.map(ToOwned::to_owned),
        call_form: form.to_vec(),
        words,
        ..ArgumentInput::default()
    };
    build_arguments(&input, schema, &mut memory_reader())
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn typed(words: &[&str], properties: Value) -> Result<Value, Vec<String>> {
    let schema = json!({"type": "object", "properties": properties});
    build_from(None, &[], words, Some(&schema)).map(|built| Value::Object(built.arguments))
}

fn untyped(words: &[&str]) -> Result<Value, Vec<String>> {
    build_from(None, &[], words, None).map(|built| Value::Object(built.arguments))
}

fn build_over_base(base: &str, words: &[&str], schema: Option<&Value>) -> Result<Value, Vec<String>> {
    build_from(Some(base), &[], words, schema).map(|built| Value::Object(built.arguments))
}

fn everything() -> Value {
    json!({
        "type": "object", "required": ["query"], "additionalProperties": false,
        "properties": {
            "query": {"type": "string"}, "limit": {"type": "integer", "minimum": 1, "maximum": 50},
            "on": {"type": "boolean"}, "tags": {"type": "array", "items": {"type": "string"}},
            "ids": {"type": "array", "items": {"type": "integer"}},
            "filters": {"type": "object", "properties": {"page": {"type": "integer"}, "since": {"type": "string"}},
                "additionalProperties": false},
            "state": {"enum": ["open", "closed"]}, "token": {"type": "string", "format": "password", "minLength": 40},
        },
    })
}

#[test]
fn the_schema_decides_the_type() {
    let schema = everything();
    let words = ["query=007", "limit=5", "on=true", "tags=a", "tags=b", "ids=[1,2]", "filters.page=2", "state=open"];
    assert_eq!(
        build_from(None, &[], &words, Some(&schema)).map(|built| Value::Object(built.arguments)),
        Ok(
            json!({"query": "007", "limit": 5, "on": true, "tags": ["a", "b"], "ids": [1, 2], "filters": {"page": 2}, "state": "open"})
        )
    );
}

#[test]
fn without_a_schema_every_word_is_a_string() {
    assert_eq!(
        untyped(&["a=5", "b=true", "c=", "d:=5", "e:=null"]),
        Ok(json!({"a": "5", "b": "true", "c": "", "d": 5, "e": null}))
    );
    assert_eq!(untyped(&["a=1", "a=2"]), Err(vec!["a: given twice, but only one value is allowed".to_owned()]));
    assert_eq!(untyped(&["a.b=1", "a.c:=2"]), Ok(json!({"a": {"b": "1", "c": 2}})));
    assert_eq!(typed(&["open=5"], json!({"open": {}})), Ok(json!({"open": "5"})));
}

#[test]
fn only_the_first_equals_sign_counts() {
    assert_eq!(
        untyped(&["a==x", "b=c=d", "x:y=1", "e:=\"a=b\"", "f::=1", "g=:=2", "url=http://h/?q=1:=2"]),
        Ok(json!({"a": "=x", "b": "c=d", "x:y": "1", "e": "a=b", "f:": 1, "g": ":=2", "url": "http://h/?q=1:=2"}))
    );
}

#[test]
fn a_name_may_be_anything_and_proto_is_a_member_like_any_other() {
    assert_eq!(
        untyped(&["__proto__=1", "constructor:=2", "a b=3"]),
        Ok(json!({"__proto__": "1", "constructor": 2, "a b": "3"}))
    );
    assert_eq!(untyped(&["__proto__.x=1"]), Ok(json!({"__proto__": {"x": "1"}})));
    // A dot without a name on one of its sides is part of the name.
    assert_eq!(untyped(&[".a=1", "b.=2", "c..d=3", ".=4"]), Ok(json!({".a": "1", "b.": "2", "c..d": "3", ".": "4"})));
}

#[test]
fn files_and_standard_input() {
    assert_eq!(
        untyped(&["a=@note.txt", "b:=@o.json", "c=@@x", "d=@@@x"]),
        Ok(json!({"a": "first\nsecond\n", "b": {"a": 1}, "c": "@x", "d": "@@x"}))
    );
    assert_eq!(untyped(&["a=@-"]), Ok(json!({"a": "{\"from\": \"stdin\"}"})));
    assert_eq!(untyped(&["a:=@-"]), Ok(json!({"a": {"from": "stdin"}})));
    let schema = json!({"n": {"type": "integer"}, "list": {"type": "array"}});
    assert_eq!(typed(&["n=@n.txt", "list=@list.json"], schema), Ok(json!({"n": 5, "list": [1, 2]})));
    assert_eq!(typed(&["n=@n.txt"], json!({"n": {"type": ["string", "integer"]}})), Ok(json!({"n": "5\n"})));
}

#[test]
fn unreadable_inputs_are_named() {
    assert_eq!(
        untyped(&["a=@none", "b=@bad.txt", "c:=@broken.json", "d:=@empty.json", "e=@", "f:=x", "g:=", "h:=@none"]),
        Err(vec![
            "a: cannot read none: no such file; to pass the text itself: a=@@none".to_owned(),
            "c: broken.json is not JSON: it ends too early, at column 6".to_owned(),
            "d: empty.json is empty, expected JSON".to_owned(),
            "e: the file name after @ is missing; to pass the text itself: e=@@".to_owned(),
            "f: the value is not JSON: expected a JSON value, at column 1, got 'x'; to pass a string: f=…".to_owned(),
            "g: the value is empty, expected JSON, got ''; to pass a string: g=…".to_owned(),
            "h: cannot read none: no such file".to_owned(),
            "b: bad.txt is not UTF-8 text; to send it as base64: b=@b64:bad.txt".to_owned(),
        ])
    );
}

#[test]
fn standard_input_can_be_used_once() {
    let words = ["a=@-".to_owned(), "b:=@-".to_owned()];
    let mut reader = memory_reader();
    let input = ArgumentInput { base_json: Some("-".to_owned()), words: words.into(), ..ArgumentInput::default() };
    let problems = build_arguments(&input, None, &mut reader).unwrap_err();
    assert_eq!(reader.stdin_reads, 1);
    assert_eq!(problems.len(), 2);
    assert_eq!(problems[0].to_string(), "a: standard input can only be used once; to pass the text itself: a=@@-");
    assert_eq!(problems[1].to_string(), "b: standard input can only be used once");
}

#[test]
fn the_whole_object_comes_first_and_words_lie_over_it() {
    assert_eq!(
        build_over_base(r#"{"a":{"x":1,"y":2},"b":3}"#, &["a.x:=9", "c=4"], None),
        Ok(json!({"a": {"x": 9, "y": 2}, "b": 3, "c": "4"}))
    );
    assert_eq!(build_over_base(r#"{"a":{"x":1}}"#, &["a:=5"], None), Ok(json!({"a": 5})));
    assert_eq!(build_over_base("@o.json", &[], None), Ok(json!({"a": 1})));
    assert_eq!(build_over_base("-", &[], None), Ok(json!({"from": "stdin"})));
    assert_eq!(build_over_base("@-", &["a=1"], None), Ok(json!({"from": "stdin", "a": "1"})));
    assert_eq!(
        build_over_base(r#"{"big": 123456789012345678901234567890}"#, &[], None).unwrap().to_string(),
        r#"{"big":123456789012345678901234567890}"#
    );
}

#[test]
fn a_bad_whole_object_is_a_problem() {
    assert_eq!(build_over_base("[1]", &[], None), Err(vec!["--args: expected a JSON object, got array".to_owned()]));
    assert!(build_over_base("{a:1}", &[], None).unwrap_err()[0].starts_with("--args is not JSON: "));
    assert_eq!(build_over_base("@none", &[], None), Err(vec!["--args: cannot read none: no such file".to_owned()]));
    assert!(
        build_over_base("@broken.json", &[], None).unwrap_err()[0].starts_with("--args: broken.json is not JSON: ")
    );
    assert_eq!(build_over_base("", &[], None), Err(vec!["--args is empty, expected JSON".to_owned()]));
    assert_eq!(build_over_base("@", &[], None), Err(vec!["--args: the file name after @ is missing".to_owned()]));
}

#[test]
fn conflicts_are_problems() {
    assert_eq!(untyped(&["a=1", "a.b=2"]), Err(vec!["a: given both as a value and by its member b".to_owned()]));
    assert_eq!(untyped(&["a.b=2", "a=1"]), Err(vec!["a: given both as a value and by its member b".to_owned()]));
    assert_eq!(untyped(&["a.b.c=2", "a.b=1"]), Err(vec!["a.b: given both as a value and by its member c".to_owned()]));
    assert_eq!(
        build_over_base(r#"{"a": 1}"#, &["a.b=2"], None),
        Err(vec!["a: given both as a value and by its member b".to_owned()])
    );
    // An object given whole and its members go together, in either order.
    assert_eq!(untyped(&["a.b=2", r#"a:={"x":1}"#]), Ok(json!({"a": {"x": 1, "b": "2"}})));
}

#[test]
fn a_property_of_that_very_name_wins_over_its_members() {
    let properties = json!({"a.b": {"type": "integer"}, "a": {"type": "object", "properties": {"b": {"type": "string"}, "c": {"type": "boolean"}}},
        "x.y": {"type": "object", "properties": {"z": {"type": "integer"}}}});
    assert_eq!(
        typed(&["a.b=1", "a.c=true", "x.y.z=2"], properties),
        Ok(json!({"a.b": 1, "a": {"c": true}, "x.y": {"z": 2}}))
    );
    let open =
        json!({"meta": {"type": "object"}, "map": {"type": "object", "additionalProperties": {"type": "integer"}}});
    assert_eq!(typed(&["meta.a.b=1", "map.x=1"], open), Ok(json!({"meta": {"a": {"b": "1"}}, "map": {"x": 1}})));
}

#[test]
fn members_of_a_scalar_and_unknown_members() {
    let schema = everything();
    let words = ["query=x", "limit.x=1", "filters.pge=1", "filters.zzz=1"];
    assert_eq!(
        build_from(None, &[], &words, Some(&schema)).unwrap_err(),
        [
            "limit: expected integer, which has no member x",
            "filters.pge: no such parameter; did you mean page?",
            "filters.zzz: no such parameter",
        ]
    );
}

#[test]
fn repeated_names() {
    let properties = json!({"n": {"type": "integer"}, "ids": {"type": "array", "items": {"type": "integer"}},
        "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
        "either": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}, "any": {}});
    assert_eq!(typed(&["ids=1", "ids=2"], properties.clone()), Ok(json!({"ids": [1, 2]})));
    assert_eq!(typed(&["pair=1", "pair=1"], properties.clone()), Ok(json!({"pair": ["1", 1]})));
    assert_eq!(typed(&["either=1"], properties.clone()), Ok(json!({"either": "1"})));
    assert_eq!(typed(&["either=1", "either=2"], properties.clone()), Ok(json!({"either": ["1", "2"]})));
    assert_eq!(
        typed(&["ids:=[9]", "ids=1"], properties.clone()).unwrap_err(),
        ["ids[0]: expected integer, got an array"]
    );
    assert_eq!(
        typed(&["n=1", "n=2", "n=3", "any=1", "any=2", "ids=1", "ids=x"], properties).unwrap_err(),
        [
            "n: given 3 times, but only one value is allowed",
            "any: given twice, but only one value is allowed",
            "ids: expected integer, got 'x'",
        ]
    );
}

#[test]
fn everything_wrong_is_said_at_once() {
    let schema = everything();
    let words = ["qeury=x", "limit=abc", "on=yes", "state=opne", "ids=x", "whatever=1", "tags=[a,b]"];
    assert_eq!(
        build_from(None, &[], &words, Some(&schema)).unwrap_err(),
        [
            "qeury: no such parameter; did you mean query?",
            "whatever: no such parameter",
            "limit: expected integer, got 'abc'",
            "on: expected boolean, got 'yes'; did you mean true?",
            "ids: expected integer[], got 'x'",
            "tags: expected string[], got '[a,b]'; not a JSON array: expected a JSON value, at column 2",
            "query: required value is missing",
            r#"state: expected one of "open", "closed", got 'opne'; did you mean open?"#,
        ]
    );
    let problems = build_from(None, &[], &["query=x", "limit=0"], Some(&schema)).unwrap_err();
    assert_eq!(problems, ["limit: must be at least 1, got 0"]);
}

#[test]
fn unknown_names_are_problems_unless_the_schema_invites_them() {
    let silent = json!({"type": "object", "properties": {"query": {"type": "string"}}});
    assert_eq!(
        build_from(None, &[], &["quer=1"], Some(&silent)).unwrap_err(),
        ["quer: no such parameter; did you mean query?"]
    );
    assert_eq!(
        build_over_base(r#"{"quer": 1}"#, &[], Some(&silent)).unwrap_err(),
        ["quer: no such parameter; did you mean query?"]
    );
    assert_eq!(build_from(None, &[], &["zzz.a=1"], Some(&silent)).unwrap_err(), ["zzz: no such parameter"]);
    for open in [
        json!({"type": "object"}),
        json!({"type": "object", "properties": {}, "additionalProperties": true}),
        json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
        json!(true),
    ] {
        assert!(build_from(None, &[], &["zzz=1"], Some(&open)).is_ok(), "{open}");
    }
    let numbers =
        json!({"type": "object", "patternProperties": {"^n": {"type": "integer"}}, "additionalProperties": false});
    assert_eq!(build_from(None, &[], &["n1=5"], Some(&numbers)).unwrap().arguments["n1"], json!(5));
    assert_eq!(build_from(None, &[], &["m1=5"], Some(&numbers)).unwrap_err(), ["m1: no such parameter"]);
}

#[test]
fn a_word_without_equals_gets_advice() {
    let schema = everything();
    let advice = |word: &str| build_from(None, &[], &["query=x", word], Some(&schema)).unwrap_err().remove(0);
    assert_eq!(advice("limit"), "'limit' is not an argument; did you mean limit=…?");
    assert_eq!(advice("limt"), "'limt' is not an argument; did you mean limit=…?");
    assert_eq!(advice("limit:5"), "'limit:5' is not an argument; did you mean limit=5?");
    assert_eq!(advice("limit: 5"), "'limit: 5' is not an argument; did you mean limit=5?");
    assert_eq!(advice(r#"{"a":1}"#), r#"'{"a":1}' is not an argument; to pass the whole object: --args '{"a":1}'"#);
    assert_eq!(advice("=5"), "'=5' is not an argument; the name before the = is missing");
    assert_eq!(advice(":=5"), "':=5' is not an argument; the name before the = is missing");
    assert_eq!(advice("hello world"), "'hello world' is not an argument; write NAME=VALUE");
    let free = build_from(None, &[], &["hello world"], Some(&schema)).unwrap_err();
    let quoted = crate::util::quoting::quote("hello world");
    let meant = format!("'hello world' is not an argument; did you mean query={quoted}?");
    assert_eq!(free, [meant], "what is suggested is not reported as missing");
    let sum = json!({"type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "number"}},
        "required": ["a", "b"]});
    let meant = |words: &[&str]| build_from(None, &[], words, Some(&sum)).unwrap_err();
    assert_eq!(
        meant(&["2", "3"]),
        ["'2' is not an argument; did you mean a=2?", "'3' is not an argument; did you mean b=3?"]
    );
    assert_eq!(meant(&["3", "a=2"]), ["'3' is not an argument; did you mean b=3?"]);
    assert_eq!(meant(&["2", "3", "4"])[2], "'4' is not an argument; write NAME=VALUE");
    assert_eq!(
        meant(&["-"])[0],
        "'-' is not an argument; for the text on standard input: a=@-; for all arguments as JSON: --args -"
    );
    assert_eq!(untyped(&["limit"]).unwrap_err(), ["'limit' is not an argument; write NAME=VALUE"]);
}

#[test]
fn secrets_are_not_repeated() {
    let schema = everything();
    // Typed, but the schema calls it a password; read from a file.
    let problems = build_from(None, &[], &["query=x", "token=hunter2", "limit=@note.txt"], Some(&schema)).unwrap_err();
    assert_eq!(problems, ["limit: expected integer", "token: must have at least 40 characters"]);
    let numeric = json!({"properties": {"pin": {"type": "integer", "writeOnly": true}}});
    assert_eq!(build_from(None, &[], &["pin=abc"], Some(&numeric)).unwrap_err(), ["pin: expected integer"]);
    let enumerated =
        json!({"properties": {"a": {"enum": ["x"]}, "from": {"type": "integer"}}, "additionalProperties": true});
    assert_eq!(build_from(None, &[], &["a=@note.txt"], Some(&enumerated)).unwrap_err(), [r#"a: expected "x""#]);
    assert_eq!(
        build_over_base("-", &["a=y"], Some(&enumerated)).unwrap_err(),
        ["from: expected integer", r#"a: expected "x", got 'y'"#]
    );
}

#[test]
fn a_schema_that_cannot_judge_is_no_mistake_of_the_user() {
    let schema =
        json!({"$schema": "https://example.com/mine", "properties": {"n": {"type": "integer"}}, "required": ["m"]});
    let built = build_from(None, &[], &["n=5"], Some(&schema)).unwrap();
    assert_eq!(Value::Object(built.arguments), json!({"n": 5}));
    assert_eq!(
        built.unchecked_parts,
        [UncheckedArguments {
            extent: UncheckedExtent::All,
            reason: SchemaError::UnknownDialect("https://example.com/mine".to_owned())
        }]
    );
    // Nothing to check: the schema is not even looked at.
    let harmless =
        json!({"$schema": "https://example.com/mine", "type": "object", "properties": {"n": {"type": "integer"}}});
    assert_eq!(build_from(None, &[], &[], Some(&harmless)).unwrap().unchecked_parts, []);
}

#[test]
fn one_file_for_an_array_of_base64_is_its_only_item() {
    let many = || json!({"many": {"type": "array", "items": {"type": "string", "contentEncoding": "base64"}}});
    assert_eq!(typed(&["many=@bad.txt", "many=@n.txt"], many()), Ok(json!({"many": ["//4=", "NQo="]})));
    assert_eq!(typed(&["many=@n.txt"], many()), Ok(json!({"many": ["NQo="]})));
    assert_eq!(typed(&["many=@bad.txt"], many()), Ok(json!({"many": ["//4="]})));
    assert_eq!(typed(&["many=@list.json"], many()), Ok(json!({"many": ["WzEsIDJdCg=="]})));
    assert_eq!(typed(&["many=@words.json"], many()), Ok(json!({"many": ["YQ=="]})));
    let texts = || json!({"many": {"type": "array", "items": {"type": "string"}}});
    assert_eq!(typed(&["many=@b64:bad.txt"], texts()), Ok(json!({"many": ["//4="]})));
    assert_eq!(typed(&["many=@n.txt"], texts()), Ok(json!({"many": ["5\n"]})));
    let either = json!({"e": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}});
    assert_eq!(typed(&["e=@b64:bad.txt"], either), Ok(json!({"e": "//4="})));
}

#[test]
fn a_choice_inside_of_a_choice_is_narrowed_by_its_own_branches() {
    let branch = |kind: &str, of: &str| json!({"type": "object", "properties": {"kind": {"const": kind}, "v": {"type": of}}, "required": ["kind", "v"]});
    let shape = json!({"anyOf": [{"oneOf": [branch("a", "integer"), branch("b", "string")]}, {"type": "null"}]});
    for (kind, v) in [("a", json!(5)), ("b", json!("5"))] {
        let words = [&*format!("shape.kind={kind}"), "shape.v=5"];
        assert_eq!(typed(&words, json!({"shape": shape})), Ok(json!({"shape": {"kind": kind, "v": v}})));
    }
}

#[test]
fn what_a_dependency_declares_or_requires_can_be_given() {
    let with = |dependency: Value| {
        json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object",
            "properties": {"card": {"type": "string"}}, "dependencies": {"card": dependency}})
    };
    for dependency in [json!(["zip"]), json!({"properties": {"zip": {"type": "string"}}, "required": ["zip"]})] {
        let build = |words: &[&str]| {
            build_from(None, &[], words, Some(&with(dependency.clone()))).map(|built| Value::Object(built.arguments))
        };
        assert_eq!(build(&["card=1", "zip=2"]), Ok(json!({"card": "1", "zip": "2"})));
        assert_eq!(build(&["card=1"]), Err(vec!["zip: required value is missing".to_owned()]));
        assert_eq!(build(&["card=1", "other=2"]).unwrap_err()[0], "other: no such parameter");
    }
}

#[test]
fn a_parameter_that_declares_all_types_is_typed() {
    let all = || json!({"v": {"type": ["string", "number", "boolean", "object", "array", "null"]}});
    assert_eq!(typed(&["v=5"], all()), Ok(json!({"v": 5})));
    assert_eq!(typed(&["v={\"a\": 1}"], all()), Ok(json!({"v": {"a": 1}})));
    assert_eq!(typed(&["v=a", "v=b"], all()), Ok(json!({"v": ["a", "b"]})));
    assert_eq!(typed(&["v=null"], all()), Ok(json!({"v": "null"})));
    // Not every branch declares a type.
    assert_eq!(typed(&["v=5"], json!({"v": {"anyOf": [{"type": "integer"}, {}]}})), Ok(json!({"v": "5"})));
}

#[test]
fn problems_do_not_show_what_may_be_a_secret() {
    let schema = || {
        let text = json!({"type": "string", "minLength": 9});
        json!({"type": "object", "required": ["password"],
            "properties": {"password": text, "pin": {"type": "integer"}, "login": {"properties": {"token": text}},
                "auth": {"properties": {"github": text, "id": {"type": "integer"}}}}})
    };
    for (words, problems) in [
        (&["password:s3cret"][..], &["'password:…' is not an argument; did you mean password=…?"][..]),
        (&["s3cret"], &["'…' is not an argument; did you mean password=…?"]),
        (
            &[r#"{"password":"s3cret"}"#, "password=long-enough"],
            &["'{…}' is not an argument; to pass the whole object: --args '{…}'"],
        ),
        (
            &["password=s3cret", "pin=s3cret", "login.token=s3cret"],
            &[
                "pin: expected integer",
                "password: must have at least 9 characters",
                "login.token: must have at least 9 characters",
            ],
        ),
        (&["auth.github=s3cret"], &["auth.github: must have at least 9 characters"]),
        (&["auth.id=s3cret"], &["auth.id: expected integer"]),
    ] {
        let found = build_from(None, &[], words, Some(&schema())).unwrap_err();
        let found: Vec<&String> =
            found.iter().filter(|problem| *problem != "password: required value is missing").collect();
        assert_eq!(found, problems);
    }
}

#[test]
fn call_forms_fill_the_arguments() {
    let schema = everything();
    let form = |word: &str| parse_call_form(word).unwrap().unwrap().arguments;
    let build = |word: &str, words: &[&str]| {
        build_from(None, &form(word), words, Some(&schema)).map(|built| Value::Object(built.arguments))
    };
    assert_eq!(build(r#"s(query: "x", limit: 5)"#, &["on=true"]), Ok(json!({"query": "x", "limit": 5, "on": true})));
    assert_eq!(build(r#"s("x", 5)"#, &[]), Ok(json!({"query": "x", "limit": 5})));
    assert_eq!(build(r#"s("x", on: true, 5)"#, &[]), Ok(json!({"query": "x", "on": true, "limit": 5})));
    assert_eq!(build(r#"s({query: "x"})"#, &[]), Ok(json!({"query": "x"})));
    assert_eq!(build(r#"s(query: "x", filters.page: 2)"#, &[]), Ok(json!({"query": "x", "filters": {"page": 2}})));
    assert_eq!(build(r#"s(query: 5)"#, &[]).unwrap_err(), ["query: expected string, got 5"]);
    for form in [r#"s(qeury: "x")"#, r#"s({qeury: "x"})"#] {
        assert_eq!(build(form, &["query=y"]).unwrap_err(), ["qeury: no such parameter; did you mean query?"]);
    }
    assert_eq!(
        build(r#"s(query: "x")"#, &["query=y"]).unwrap_err(),
        ["query: given twice, but only one value is allowed"]
    );
    assert_eq!(build("s({})", &["query=y"]), Ok(json!({"query": "y"})));
    let many =
        build_from(None, &form("s(1, 2)"), &[], Some(&json!({"properties": {"a": {"type": "integer"}}}))).unwrap_err();
    assert_eq!(many, ["the call form has more arguments than the tool has parameters (1)"]);
    let unknown = build_from(None, &form("s(1)"), &[], None).unwrap_err();
    assert_eq!(unknown, ["positional arguments need the tool's schema; write name: value"]);
}

#[test]
fn call_forms_parse() {
    let parse = |word: &str| {
        let form = parse_call_form(word).unwrap().unwrap();
        let arguments: Vec<Value> =
            form.arguments.into_iter().map(|argument| json!([argument.name, argument.value])).collect();
        (form.tool, Value::Array(arguments).to_string())
    };
    let of = |word: &str| parse(word).1;
    assert_eq!(parse("t()"), ("t".to_owned(), "[]".to_owned()));
    assert_eq!(parse("a.b-c/d_e:f ( )").0, "a.b-c/d_e:f");
    assert_eq!(
        of(r#"t(name: "value", n: 5, list: [1,2,], o: {a: 1, 'b-c': null, "d": [], },)"#),
        r#"[["name","value"],["n",5],["list",[1,2]],["o",{"a":1,"b-c":null,"d":[]}]]"#
    );
    assert_eq!(of(r#"t( 'it''s' )"#.replace("''", r"\'").as_str()), r#"[[null,"it's"]]"#);
    assert_eq!(of(r#"t(a="x", b = 'y');"#), r#"[["a","x"],["b","y"]]"#);
    assert_eq!(
        of("t(true, false, null, -1.5, +5, .5, 5., 0x1F, 1e400)"),
        "[[null,true],[null,false],[null,null],[null,-1.5],[null,5],[null,0.5],[null,5],[null,31],[null,1e+400]]"
    );
    assert_eq!(of("t(123456789012345678901234567890)"), "[[null,123456789012345678901234567890]]");
    assert_eq!(of(r#"t("\n\t\x41\u0041\u{1f600}\ud83d\ude00\q\\\"")"#), r#"[[null,"\n\tAA😀😀q\\\""]]"#);
    assert_eq!(of(r#"t("a b": 1, 'é': 2, true: 3, 1: 4)"#), r#"[["a b",1],["é",2],["true",3],["1",4]]"#);
    assert_eq!(of("t(\"a)b,c\")"), r#"[[null,"a)b,c"]]"#);
    assert_eq!(of("t(\n  a: 1,\n)\n"), r#"[["a",1]]"#);
    assert_eq!(of(r#"t(__proto__: {"__proto__": 1})"#), r#"[["__proto__",{"__proto__":1}]]"#);
}

#[test]
fn a_tool_name_is_no_call_form() {
    for word in ["tool", "a.b", "", "(x)", "q=f(x)", "a b(c)", "tool)", "'x'(1)"] {
        assert!(parse_call_form(word).is_none(), "{word}");
    }
}

#[test]
fn bad_call_forms_say_where() {
    let wrong = |word: &str| parse_call_form(word).unwrap().unwrap_err().to_string();
    assert_eq!(wrong("t(a: 1 b: 2)"), "invalid call form at character 8: expected , or ), got 'b'");
    assert_eq!(wrong("t(a: 1"), "invalid call form: it ends too early: expected , or )");
    assert_eq!(wrong("t(a:)"), "invalid call form at character 5: expected a value, got ')'");
    assert_eq!(
        wrong("t(a: foo)"),
        "invalid call form at character 6: expected a value, got 'f'; strings need quotes: \"foo\""
    );
    assert_eq!(wrong("t(a: \"x)"), "invalid call form at character 6: this string has no closing quote");
    assert_eq!(wrong("t(a: 1_000)"), "invalid call form at character 6: invalid number, got '1_000'");
    assert_eq!(wrong("t() x"), "invalid call form at character 5: unexpected text after ), got 'x'");
    assert_eq!(wrong("t(,)"), "invalid call form at character 3: expected a value, got ','");
    assert_eq!(wrong("t({a 1})"), "invalid call form at character 6: expected :, got '1'");
    assert_eq!(wrong("t([1 2])"), "invalid call form at character 6: expected , or ], got '2'");
    assert_eq!(wrong("t(\"\\u12\")"), "invalid call form at character 6: invalid character code, got '1'");
    assert_eq!(wrong("t(\"\\ud800\")"), "invalid call form at character 6: invalid character code, got 'd'");
    assert_eq!(wrong("é(ü: ?)"), "invalid call form at character 6: expected a value, got '?'");
    for bad in [
        "t(1, 0x)",
        "t(NaN)",
        "t(-)",
        "t(a: {b: 1)",
        "t(a: [1)",
        "t(\"\\",
        "t(a: b(c))",
        "t(0xfffffffffffffffffffffffffffffffff)",
    ] {
        assert!(parse_call_form(bad).unwrap().is_err(), "{bad}");
    }
    assert!(wrong(&format!("t({}", "[".repeat(100_000))).contains("nested too deeply"));
}

#[test]
fn examples_are_calls_that_fit() {
    let schemas = [
        everything(),
        json!({"type": "object", "required": ["a", "o", "l", "s", "u", "n"], "properties": {
            "a": {"type": "string", "examples": ["it's @ \"quoted\" $HOME `x`\n!"]},
            "o": {"type": "object", "required": ["p"], "properties": {"p": {"type": "integer", "minimum": 3}}},
            "l": {"type": "array", "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "boolean"}}}, "minItems": 2},
            "s": {"type": "string", "default": "@file"},
            "u": {"anyOf": [{"type": "string", "minLength": 50}, {"type": "integer", "minimum": 1000}]},
            "n": {"type": ["string", "integer"], "examples": ["5"]},
        }}),
        json!({"type": "object", "required": ["e", ""], "properties": {"e": {"type": "string", "maxLength": 0}, "": {"type": "integer"}}}),
    ];
    for schema in schemas {
        let line = block_on(schema::example_arguments(&SchemaValidator::new(&schema))).words.join(" ");
        let words = shlex::split(&line).unwrap();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        // A parameter without a name cannot be typed as a word at all.
        let (whole, words) = match words.as_slice() {
            ["--args", whole, words @ ..] => (Some(*whole), words),
            words => (None, words),
        };
        assert!(build_from(whole, &[], words, Some(&schema)).unwrap().unchecked_parts.is_empty(), "{line}");
    }
}

#[test]
fn all_problems_become_one_usage_failure() {
    let schema = everything();
    let words = ["limit=abc".to_owned(), "qeury=x".to_owned()];
    let problems = build_arguments(
        &ArgumentInput { words: words.into(), ..ArgumentInput::default() },
        Some(&schema),
        &mut memory_reader(),
    )
    .unwrap_err();
    let failure = schema::invalid_arguments_failure("mcpipe list 'npx server' search", "search", &problems);
    assert_eq!(failure.kind(), crate::error::ErrorKind::Usage);
    assert_eq!(failure.details().message, "search: invalid arguments");
    assert_eq!(failure.details().causes.len(), 3);
    assert_eq!(failure.details().hint.as_deref(), Some("mcpipe list 'npx server' search"));
}
