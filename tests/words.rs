//! Words of a call meet schemas that are not plain: what is sent is what the schema means.

use serde_json::{Value, json};

use crate::support::{Mcp, Run, Sandbox, StdioServer};

fn server(schema: Value) -> StdioServer {
    Mcp::modern()
        .tools(json!([{"name": "do", "inputSchema": schema}]))
        .on("tools/call", |call| call.text(&call.params()["arguments"].to_string()))
        .stdio()
}

fn call(server: &StdioServer, words: &[&str]) -> Run {
    Sandbox::new().mcpipe([&["call", &server.target(), "do"], words].concat()).run()
}

/// The members of a list of values are matched by their text, null among them.
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
    call(&server, &["e=1"]).exits(2).prints("").says("e: expected one of \"a\", null, got '1'");
    call(&server, &["e=b"]).exits(2).prints("").says("e: expected one of \"a\", null, got 'b'");
}

/// `1e3` and `1.0` are whole; what is sent is what strict servers take for whole. JSON stays as it is typed.
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
    call(&server, &["n=1.5"]).exits(2).prints("").says("n: expected integer, got '1.5'");
}
