//! Arguments for unusual schemas: what is sent is what the schema means.

use serde_json::{Value, json};

use crate::support::{Mcp, Run, Sandbox, StdioServer};

fn server(schema: Value) -> StdioServer {
    Mcp::with_tool_schema(schema)
}

fn call(server: &StdioServer, words: &[&str]) -> Run {
    Sandbox::new().mcpipe([&["call", &server.target(), "do"], words].concat()).run()
}

/// Listed values are matched by their text, including null.
#[test]
fn listed_values_of_several_types() {
    let server = server(json!({
        "type": "object",
        "properties": {"e": {"enum": ["a", null]}, "m": {"enum": ["a", 1, null, true]}},
        "required": ["e"]
    }));
    call(&server, &["e=null"]).succeeds().prints("{\"e\":null}\n");
    call(&server, &["e=a", "m=1"]).succeeds().prints("{\"e\":\"a\",\"m\":1}\n");
    call(&server, &["e=a", "m=true"]).succeeds().prints("{\"e\":\"a\",\"m\":true}\n");
    call(&server, &["e=1"]).exits(2).prints("").stderr_contains("e: expected one of \"a\", null, got '1'");
    call(&server, &["e=b"]).exits(2).prints("").stderr_contains("e: expected one of \"a\", null, got 'b'");
}

/// `1e3` and `1.0` are integers, sent in the form that strict servers accept. JSON is sent as it was typed.
#[test]
fn whole_numbers_are_sent_in_plain_digits() {
    let server = server(json!({
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "x": {"type": "number"},
            "list": {"type": "array", "items": {"type": "integer"}}
        }
    }));
    call(&server, &["n=1e3", "x=1e3"]).succeeds().prints("{\"n\":1000,\"x\":1e+3}\n");
    call(&server, &["n=1.0", "x=1.0"]).succeeds().prints("{\"n\":1,\"x\":1.0}\n");
    call(&server, &["list=2.0", "list=3e0"]).succeeds().prints("{\"list\":[2,3]}\n");
    call(&server, &["n:=1.0"]).succeeds().prints("{\"n\":1.0}\n");
    call(&server, &["n=9007199254740993.0"]).succeeds().prints("{\"n\":9007199254740993}\n");
    call(&server, &["n=1.5"]).exits(2).prints("").stderr_contains("n: expected integer, got '1.5'");
}

/// A member with listed values selects the variant that types the other members.
#[test]
fn one_member_chooses_the_form_of_the_others() {
    let form = |kind: &str, of: &str| json!({"type": "object", "properties": {"k": {"const": kind}, "v": {"type": of}}, "required": ["k", "v"]});
    let server = server(json!({
        "type": "object",
        "properties": {
            "oo": {"oneOf": [form("A", "integer"), form("B", "string")]},
            "list": {"type": "array", "items": {"anyOf": [form("A", "integer"), form("B", "string")]}}
        }
    }));
    call(&server, &["oo.k=B", "oo.v=5"]).succeeds().prints("{\"oo\":{\"k\":\"B\",\"v\":\"5\"}}\n");
    call(&server, &["oo.v=5", "oo.k=B"]).succeeds().prints("{\"oo\":{\"v\":\"5\",\"k\":\"B\"}}\n");
    call(&server, &["oo.k=A", "oo.v=5"]).succeeds().prints("{\"oo\":{\"k\":\"A\",\"v\":5}}\n");
    call(&server, &["oo:={\"k\":\"B\"}", "oo.v=5"]).succeeds().prints("{\"oo\":{\"k\":\"B\",\"v\":\"5\"}}\n");
    call(&server, &["oo.k=A", "oo.v=x"]).exits(2).prints("").stderr_contains("oo.v: expected integer, got 'x'");
    call(&server, &["list[0].k=B", "list[0].v=5", "list[1].k=A", "list[1].v=5"])
        .succeeds()
        .prints("{\"list\":[{\"k\":\"B\",\"v\":\"5\"},{\"k\":\"A\",\"v\":5}]}\n");
    call(&server, &["oo:={\"k\":\"B\",\"v\":5}"]).exits(2).stderr_contains("  oo.v: expected string, got 5\n");
    call(&server, &["oo:={\"k\":\"C\",\"v\":5}"]).exits(2).stderr_contains(
        "oo: matches none of the alternatives, got an object; for the closest one: oo.k: expected \"A\"\n",
    );
}

fn editor() -> StdioServer {
    server(json!({
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "edits": {
                "type": "array", "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {"oldText": {"type": "string"}, "line": {"type": "integer"},
                        "tags": {"type": "array", "items": {"type": "string"}}},
                    "required": ["oldText"], "additionalProperties": false
                }
            },
            "where": {"type": "object", "properties": {"deep": {"type": "object", "properties": {
                "deeper": {"type": "object", "properties": {"n": {"type": "integer"}}}}}}},
            "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]},
            "map": {"type": "object", "additionalProperties": {"type": "integer"}},
            "a[0]": {"type": "integer"}
        },
        "required": ["edits"], "additionalProperties": false
    }))
}

#[test]
fn items_of_arrays_are_given_by_their_position() {
    let server = editor();
    let both = "{\"edits\":[{\"oldText\":\"7\",\"line\":1},{\"oldText\":\"b\"}]}\n";
    call(&server, &["edits[0].oldText=7", "edits[0].line=1", "edits[1].oldText=b"]).succeeds().prints(both);
    call(&server, &["edits.0.oldText=7", "edits.0.line=1", "edits.1.oldText=b"]).succeeds().prints(both);
    call(&server, &["edits[1].oldText=b", "edits[0].oldText=7", "edits[0].line=1"]).succeeds().prints(both);
    call(&server, &["edits:=[{\"oldText\":\"a\"}]", "edits[0].oldText=7", "edits[0].line=1", "edits[1].oldText=b"])
        .succeeds()
        .prints(both);
    call(&server, &["--args", "{\"edits\":[{\"oldText\":\"7\",\"line\":1}]}", "edits[1].oldText=b"])
        .succeeds()
        .prints(both);
    call(&server, &["edits[0].oldText=7", "edits[0].tags=a", "edits[0].tags=b", "edits[0].tags[2]=c"])
        .succeeds()
        .prints("{\"edits\":[{\"oldText\":\"7\",\"tags\":[\"a\",\"b\",\"c\"]}]}\n");
    call(&server, &["edits[0].oldText=x", "edits[0].tags=a", "edits[0].tags=b"])
        .succeeds()
        .prints("{\"edits\":[{\"oldText\":\"x\",\"tags\":[\"a\",\"b\"]}]}\n");
    call(&server, &["edits[0].oldText=x", "pair[1]=5", "pair[0]=5", "a[0]=1"])
        .succeeds()
        .prints("{\"edits\":[{\"oldText\":\"x\"}],\"pair\":[5,\"5\"],\"a[0]\":1}\n");
    call(&server, &["edits[0].line=x"]).exits(2).prints("").stderr_contains("edits[0].line: expected integer, got 'x'");
    call(&server, &["edits[0].line=1"])
        .exits(2)
        .prints("")
        .stderr_contains("edits[0].oldText: required value is missing");
    call(&server, &["edits[0].oldTxt=a"])
        .exits(2)
        .stderr_contains("edits[0].oldTxt: no such parameter; did you mean oldText?");
    call(&server, &["edits[0].oldText=a", "edits[2].oldText=b"])
        .exits(2)
        .prints("")
        .stderr_contains("edits[2]: the items before it are missing; positions start at 0 and must not have gaps");
    // Two members of one item have one problem, and it is that of the array with the gap.
    for words in [&["edits[2].oldText=b", "edits[2].newText=c"][..], &["edits[2].tags[0]=b", "edits[2].tags[1]=c"]] {
        let run = call(&server, words);
        let stderr = run.exits(2).stderr();
        assert_eq!(stderr.matches("edits[2]: the items before it are missing").count(), 1, "{stderr}");
    }
    call(&server, &["edits[x].oldText=a"]).exits(2).stderr_contains("edits[x]");
    for (name, why) in [
        ("edits[100000].oldText", "100000 is not a position in an array: the largest one is 99999"),
        ("edits.99999999.oldText", "99999999 is not a position in an array: the largest one is 99999"),
        ("edits[99999999999999999999].oldText", "99999999999999999999 is not a position in an array: the largest"),
        ("edits[01].oldText", "01 is not a position in an array: it begins with 0"),
    ] {
        call(&server, &[&format!("{name}=a")]).exits(2).prints("").stderr_contains(&format!("\n  edits: {why}"));
    }
}

/// An invalid word does not hide the mistakes beside it: one run shows everything that has to be changed.
#[test]
fn all_mistakes_are_reported_together() {
    let server = server(json!({
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "edits": {"type": "array", "items": {
                "type": "object", "required": ["oldText", "newText"], "additionalProperties": false,
                "properties": {"oldText": {"type": "string"}, "newText": {"type": "string"}, "line": {"type": "integer"}}
            }},
            "range": {"type": "object", "required": ["from", "to"], "additionalProperties": false,
                "properties": {"from": {"type": "integer"}, "to": {"type": "integer"}}}
        },
        "required": ["path", "edits", "range"]
    }));
    let problems = |words: &[&str], lines: &[&str]| {
        let run = call(&server, words);
        run.exits(2).prints("").stderr_contains("mcpipe: error: do: invalid arguments\n");
        let shown: Vec<&str> = run.stderr().lines().filter_map(|line| line.strip_prefix("  ")).collect();
        assert_eq!(shown, lines);
    };
    let unreadable = "cannot read nofile: No such file or directory (os error 2); to pass the text itself: ";
    problems(
        &["path=a", "edits[0].oldTxt=x", "range.from=x"],
        &[
            "edits[0].oldTxt: no such parameter; did you mean oldText?",
            "range.from: expected integer, got 'x'",
            "edits[0].oldText: required value is missing",
            "edits[0].newText: required value is missing",
            "range.to: required value is missing",
        ],
    );
    problems(
        &["path=a", "edits[0].line:=x", "edits[1].oldText=@nofile", "range=1"],
        &[
            "edits[0].line: the value is not JSON: expected a JSON value, at column 1, got 'x'; to pass a string: edits[0].line=…",
            &format!("edits[1].oldText: {unreadable}edits[1].oldText=@@nofile"),
            "range: expected object, got '1'; write its members: range.from=…",
            "edits[0].oldText: required value is missing",
            "edits[0].newText: required value is missing",
            "edits[1].newText: required value is missing",
        ],
    );
    // A name that does not exist and a file that does not exist in one word.
    problems(
        &["path=a", "edits:=[]", "range.from=1", "range.till=@nofile"],
        &[
            &format!("range.till: {unreadable}range.till=@@nofile"),
            "range.till: no such parameter",
            "range.to: required value is missing",
        ],
    );
    // A part of a value and a mistake about the whole.
    problems(
        &["path=a", "edits.first=1", "edits[0].oldText=a", "range.from=1", "range.to=2"],
        &["edits: expected array, which has no member first"],
    );
    // The whole object is unknown, so nothing is called missing.
    problems(
        &["--args", "@nofile", "edits[0].line=x"],
        &[
            "--args: cannot read nofile: No such file or directory (os error 2)",
            "edits[0].line: expected integer, got 'x'",
        ],
    );
    problems(&["--args", "[1]", "path=a"], &["--args: expected a JSON object, got array"]);
}

#[test]
fn members_of_arrays_of_objects_and_of_any_name_are_shown() {
    let server = editor();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "do"]).run();
    run.succeeds();
    for row in [
        "edits[].oldText\tstring\trequired",
        "edits[].tags\tstring[]\toptional",
        "where.deep.deeper.n\tinteger\toptional",
        "map.*\tinteger\toptional\t-\t-\tmembers with any other name",
    ] {
        assert!(run.stdout().contains(row), "{row}: {run:?}");
    }
    let open = self::server(json!({"type": "object", "additionalProperties": {"type": "integer"}}));
    let run = Sandbox::new().mcpipe(["list", &open.target(), "do"]).run();
    assert!(run.stdout().contains("Parameters\n*\tinteger\toptional\t-\t-\tmembers with any other name\n"), "{run:?}");
}

/// `[0]` is a position if an array is possible; a dot before digits only if an array is required.
#[test]
fn a_position_in_brackets_makes_an_array() {
    let open = server(json!({
        "type": "object",
        "properties": {"any": {}, "o": {"type": "object"}, "s": {"type": "string"}, "l[0]": {"type": "integer"},
            "either": {"type": ["array", "object"]}}
    }));
    call(&open, &["any[0]=1", "any[1]=x"]).succeeds().prints("{\"any\":[\"1\",\"x\"]}\n");
    call(&open, &["any[0][0].a=x"]).succeeds().prints("{\"any\":[[{\"a\":\"x\"}]]}\n");
    call(&open, &["any.0=x"]).succeeds().prints("{\"any\":{\"0\":\"x\"}}\n");
    call(&open, &["o.l[0].name=x"]).succeeds().prints("{\"o\":{\"l\":[{\"name\":\"x\"}]}}\n");
    call(&open, &["either[0].b=1"]).succeeds().prints("{\"either\":[{\"b\":\"1\"}]}\n");
    call(&open, &["l[0]=5"]).succeeds().prints("{\"l[0]\":5}\n");
    call(&open, &["s[0]=x"]).exits(2).prints("").stderr_contains("s: expected string, which has no item 0");
    call(&open, &["o[0]=x"]).exits(2).prints("").stderr_contains("o: expected object, which has no item 0");
    call(&open, &["any[1]=x"]).exits(2).prints("").stderr_contains("any[1]: the items before it are missing");
    let bare = server(json!({"type": "object"}));
    call(&bare, &["l[0].name=x", "l[1].name=y"]).succeeds().prints("{\"l\":[{\"name\":\"x\"},{\"name\":\"y\"}]}\n");
    call(&bare, &["l[100000].name=x"]).exits(2).stderr_contains("l: 100000 is not a position in an array: the largest");
    call(&open, &["either.100000=x"]).succeeds().prints("{\"either\":{\"100000\":\"x\"}}\n");
    call(&bare, &["l[x]=1", "[0]=2"]).succeeds().prints("{\"l[x]\":\"1\",\"[0]\":\"2\"}\n");
    call(&editor(), &["l[0].name=x", "--no-validate"]).succeeds().prints("{\"l\":[{\"name\":\"x\"}]}\n");
    call(&editor(), &["edit[0].oldText=x"]).exits(2).stderr_contains("edit: no such parameter; did you mean edits?");
}

/// The later of two words for the same argument is not hidden by the earlier one.
#[test]
fn a_member_and_its_whole_do_not_silently_disagree() {
    let server = server(json!({
        "type": "object",
        "properties": {"nested": {"type": "object"}, "list": {"type": "array", "items": {"type": "integer"}}}
    }));
    let run = call(&server, &["nested.x=1", "nested={\"x\":2}"]);
    run.exits(2).prints("").stderr_contains("nested.x: given twice, separately and as part of nested");
    call(&server, &["list[0]=1", "list:=[2]"])
        .exits(2)
        .stderr_contains("list[0]: given twice, separately and as part of list");
    // Members that the whole value lacks are added, and a later member overrides an earlier whole value.
    call(&server, &["nested.y:=1", "nested={\"x\":2}"]).succeeds().prints("{\"nested\":{\"x\":2,\"y\":1}}\n");
    call(&server, &["nested={\"x\":2}", "nested.x:=1"]).succeeds().prints("{\"nested\":{\"x\":1}}\n");
    call(&server, &["--args", "{\"nested\":{\"x\":2}}", "nested.x:=1"]).succeeds().prints("{\"nested\":{\"x\":1}}\n");
}

/// `--no-validate` skips the refusal, not the types.
#[test]
fn without_validation_the_schema_still_decides_types() {
    let server = server(json!({
        "type": "object",
        "properties": {"n": {"type": "integer"}, "b": {"type": "boolean"}, "s": {"type": "string"},
            "list": {"type": "array", "items": {"type": "string"}}, "a.b": {"type": "number"}},
        "required": ["s"], "additionalProperties": false
    }));
    let send = |words: &[&str]| call(&server, &[words, &["--no-validate"]].concat());
    send(&["n=5", "b=true", "s=007", "list=x", "a.b=1"])
        .succeeds()
        .prints("{\"n\":5,\"b\":true,\"s\":\"007\",\"list\":[\"x\"],\"a.b\":1}\n")
        .stderr_is("");
    send(&["list=x", "list=y"]).succeeds().prints("{\"list\":[\"x\",\"y\"]}\n");
    // What the schema does not accept is sent too.
    send(&["n=many", "b=yes", "other=x", "more.of=it", "s[0]=x"])
        .succeeds()
        .prints("{\"n\":\"many\",\"b\":\"yes\",\"other\":\"x\",\"more\":{\"of\":\"it\"},\"s\":[\"x\"]}\n");
    let form = ["call", &server.target(), "do(5, false)", "--no-validate"];
    Sandbox::new().mcpipe(form).run().succeeds().prints("{\"n\":5,\"b\":false}\n");
}

#[test]
fn without_validation_a_tool_that_is_not_listed_gets_strings() {
    for server in [
        Mcp::modern().tools(json!([])),
        Mcp::modern().on("tools/list", |list| list.error(-32603, "broken")),
        Mcp::modern().on("tools/list", |list| list.result(json!({"tools": "none"}))),
    ] {
        let server = server.on("tools/call", |call| call.text(&call.params()["arguments"].to_string())).stdio();
        call(&server, &["n=x", "--no-validate"]).succeeds().prints("{\"n\":\"x\"}\n").stderr_is("");
    }
}

/// A cached list without the tool is not the last word about its types.
#[test]
fn without_validation_a_new_tool_is_listed_again() {
    let tool = |name: &str| json!({"name": name, "inputSchema": {"properties": {"n": {"type": "integer"}}}});
    let sandbox = Sandbox::new();
    let list = sandbox.work().join("tools.json");
    std::fs::write(&list, json!([tool("old")]).to_string()).unwrap();
    let server = Mcp::modern()
        .on("tools/list", move |ask| {
            let tools: Value = serde_json::from_str(&std::fs::read_to_string(&list).unwrap()).unwrap();
            ask.result(json!({"tools": tools, "ttlMs": 3_600_000, "cacheScope": "private"}))
        })
        .on("tools/call", |call| call.text(&call.params()["arguments"].to_string()))
        .stdio();
    sandbox.mcpipe(["list", &server.target()]).run().succeeds();
    std::fs::write(sandbox.work().join("tools.json"), json!([tool("old"), tool("do")]).to_string()).unwrap();
    let words = ["call", &server.target(), "do", "n=5", "--no-validate"];
    sandbox.mcpipe(words).run().succeeds().prints("{\"n\":5}\n");
}

#[test]
fn json_that_is_sent_as_a_string_is_pointed_out() {
    let server = server(json!({
        "type": "object",
        "properties": {"any": {}, "list": {"type": "array"}, "s": {"type": "string"}, "e": {"enum": ["1", "2"]}}
    }));
    let note = |name: &str| {
        format!("'{name}' is sent as a string because its type is not declared; to send JSON, write {name}:=…\n")
    };
    for text in ["{\"a\":1}", " [1]", "{}"] {
        call(&server, &[&format!("any={text}")]).exits(0).stderr_is(&note("any"));
    }
    call(&server, &["any.a[0].b=[2]"]).exits(0).stderr_is(&note("any.a[0].b"));
    let undeclared = self::server(json!({"type": "object"}));
    call(&undeclared, &["a=[1]", "b={}"])
        .exits(0)
        .prints("{\"a\":\"[1]\",\"b\":\"{}\"}\n")
        .stderr_is(&(note("a") + &note("b")));
    call(&server, &["list={}"]).exits(0).prints("{\"list\":[\"{}\"]}\n").stderr_is(&note("list"));
    call(&server, &["list=x", "list=[2]"]).exits(0).stderr_is(&note("list"));
    call(&server, &["any=[1]", "--no-validate"]).exits(0).stderr_is(&note("any"));
    call(&server, &["any=[1]", "--repeat", "3"]).exits(0).stderr_is(&note("any"));
    for words in [
        &["any=text"][..],
        &["any={a}"],
        &["any=\"x\""],
        &["any=7"],
        &["any=true"],
        &["any="],
        &["any:=[1]"],
        &["list=[1]"],
        &["s=[1]", "e=2"],
        &["any=[1]", "--quiet"],
        &["any=[1]", "--json"],
    ] {
        call(&server, words).succeeds().stderr_is("");
    }
}

/// A schema that refers to itself has no end.
#[test]
fn an_array_of_itself_takes_a_word() {
    let server = server(json!({"type": "object",
        "properties": {"a": {"type": "array", "items": {"$ref": "#/properties/a"}}}}));
    call(&server, &["a=[]"]).succeeds().prints("{\"a\":[]}\n");
    call(&server, &["a=x"]).exits(2).prints("").stderr_contains("a: expected ");
}

#[test]
fn a_file_is_sent_as_base64_where_the_schema_says_so() {
    let properties = json!({
        "image": {"type": "string", "contentEncoding": "base64"},
        "data": {"type": ["string", "null"], "format": "byte"},
        "many": {"type": "array", "items": {"type": "string", "contentEncoding": "BASE64"}},
        "text": {"type": "string"},
    });
    let tool = json!({"name": "t", "inputSchema": {"type": "object", "properties": properties}});
    let answer = |call: &crate::support::ClientMessage| call.text(&call.params()["arguments"].to_string());
    let server = Mcp::modern().tools(json!([tool])).on("tools/call", answer).stdio();
    let sandbox = Sandbox::new();
    sandbox.file("b", [0u8, 255, 1]);
    sandbox.file("t", "hi");
    let sent = |words: &[&str]| {
        let run = sandbox.mcpipe(["call", &server.target(), "t"]).args(words).run();
        run.succeeds().stdout().trim_end().to_owned()
    };
    assert_eq!(sent(&["image=@b", "data=@t"]), r#"{"image":"AP8B","data":"aGk="}"#);
    assert_eq!(sent(&["many=@b", "many=@t"]), r#"{"many":["AP8B","aGk="]}"#);
    // What was typed is not a file.
    assert_eq!(sent(&["image=AP8B", "text=@t"]), r#"{"image":"AP8B","text":"hi"}"#);
    assert_eq!(sent(&["text=@b64:b", "image=@b64:t"]), r#"{"text":"AP8B","image":"aGk="}"#);
    assert_eq!(sent(&["--no-validate", "text=@b64:b"]), r#"{"text":"AP8B"}"#);
    let stdin = sandbox.mcpipe(["call", &server.target(), "t", "image=@-"]).stdin([0u8, 255, 1]).run();
    stdin.succeeds().prints("{\"image\":\"AP8B\"}\n");
    let run = sandbox.mcpipe(["call", &server.target(), "t", "text=@b"]).run();
    run.exits(2).stderr_contains("text: b is not UTF-8 text; to send it as base64: text=@b64:b");
    let run = sandbox.mcpipe(["call", &server.target(), "t", "text=@-"]).stdin([0u8, 255, 1]).run();
    run.exits(2).stderr_contains("text: standard input is not UTF-8 text; to send it as base64: text=@b64:-");
    sandbox
        .mcpipe(["call", &server.target(), "t", "text=@b64:none"])
        .run()
        .exits(2)
        .stderr_contains("cannot read none");
}
