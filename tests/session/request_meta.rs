//! `--meta` and the trace context of the environment: members of `_meta` of every request.

use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox, StdioServer};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// `_meta` of every request that the server got, without what mcpipe sets itself.
fn metas(server: &StdioServer) -> Vec<(String, Value)> {
    let messages = server.wait_until_all_ended().into_iter().flat_map(|seen| seen.messages());
    messages
        .filter(|message| message.get("id").is_some())
        .map(|message| {
            let mut meta = message["params"]["_meta"].clone();
            if let Value::Object(meta) = &mut meta {
                meta.retain(|name, _| name != "progressToken" && !name.starts_with("io.modelcontextprotocol/"));
            }
            (message["method"].as_str().unwrap().to_owned(), meta)
        })
        .collect()
}

#[test]
fn every_request_has_the_members_in_both_eras() {
    for server in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let is_legacy = !server.modern;
        let server = server.stdio();
        let words =
            ["call", &server.target(), "echo", "text=x", "--meta", "x.com/team=a", "--meta", "n:={\"x\":[1.50]}"];
        Sandbox::new().mcpipe(words).run().succeeds();
        let metas = metas(&server);
        assert!(metas.len() >= 2, "{metas:?}");
        for (method, meta) in metas {
            // The first message of an unknown server finds out the era.
            if !(is_legacy && method == "server/discover") {
                assert_eq!(meta.to_string(), r#"{"x.com/team":"a","n":{"x":[1.50]}}"#, "{method}");
            }
        }
    }
}

#[test]
fn members_before_and_after_the_command_are_sent() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    for (before, after, sent) in [
        (&["--timeout", "20s", "--meta", "a=1", "--meta=b=2"][..], &["--meta", "b=3"][..], json!({"a": "1", "b": "3"})),
        (&["--quiet", "--meta", "a=1"], &[], json!({"a": "1"})),
        (&["--quiet"], &["--meta", "b=3"], json!({"b": "3"})),
        (&[], &["--meta", "a=1", "--meta", "b=2"], json!({"a": "1", "b": "2"})),
    ] {
        let call = ["call", &server.target(), "echo", "text=x", "--dry-run"];
        let run = sandbox.mcpipe(before).args(call).args(after).run();
        assert_eq!(run.exits(0).json()["params"]["_meta"], sent, "{run:?}");
    }
}

#[test]
fn the_trace_context_of_the_environment_is_sent() {
    let sent = |variables: &[(&str, &str)], words: &[&str]| {
        let server = Mcp::modern().stdio();
        let sandbox = Sandbox::new();
        let mut run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x"]).args(words);
        for (name, value) in variables {
            run = run.env(name, *value);
        }
        run.run().succeeds();
        metas(&server).pop().unwrap().1
    };
    let all = [("TRACEPARENT", PARENT), ("TRACESTATE", "a=1"), ("BAGGAGE", "user=7")];
    assert_eq!(sent(&all, &[]), json!({"traceparent": PARENT, "tracestate": "a=1", "baggage": "user=7"}));
    assert_eq!(sent(&all, &["--meta", "traceparent="]), json!({"baggage": "user=7"}));
    assert_eq!(sent(&all, &["--meta", "traceparent=", "--meta", "baggage="]), json!({}));
    assert_eq!(sent(&all[..1], &["--meta", "tracestate=b=2"]), json!({"traceparent": PARENT, "tracestate": "b=2"}));
    // A parent that is not valid is not passed on, nor is the state that belongs to it.
    assert_eq!(sent(&[("TRACEPARENT", "1"), ("TRACESTATE", "a=1")], &[]), json!({}));
}

#[test]
fn invalid_members_are_refused_before_anything_is_sent() {
    let (server, sandbox) = (Mcp::modern().http(), Sandbox::new());
    for (meta, why) in [
        ("x", "--meta: 'x' has no '='"),
        ("=x", "has no key"),
        ("x:={", "--meta x: the value is not JSON"),
        ("progressToken=1", "mcpipe sets this member itself"),
        ("io.modelcontextprotocol/protocolVersion=x", "use --protocol"),
    ] {
        sandbox.mcpipe(["list", &server.url("/"), "--meta", meta]).run().exits(2).stderr_contains(why);
    }
    assert_eq!(server.connections(), 0);
}

#[test]
fn lists_are_cached_for_the_same_members_and_for_any_trace() {
    let server = Mcp::modern()
        .on("tools/list", |call| {
            let tools = crate::support::mcp::tools();
            call.result(json!({"tools": tools, "ttlMs": 3_600_000, "cacheScope": "public"}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut listed = 0;
    for (meta, parent, is_listed) in [
        ("team=a", PARENT, true),
        ("team=a", "00-4bf92f3577b34da6a3ce929d0e0e4737-00f067aa0ba902b7-01", false),
        ("team=b", PARENT, true),
    ] {
        let call = sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--meta", meta]);
        call.env("TRACEPARENT", parent).run().succeeds();
        listed += usize::from(is_listed);
        let methods = server.wait_until_all_ended().into_iter().flat_map(|seen| seen.methods());
        assert_eq!(methods.filter(|method| method == "tools/list").count(), listed, "{meta} {parent}");
    }
}

#[test]
fn members_between_a_command_and_its_subcommand_are_sent() {
    let server = Mcp::modern().http();
    let url = server.url("/mcp");
    let meta = |words: &[&str]| {
        let before = server.requests().len();
        Sandbox::new().mcpipe(["task"]).args(words).run();
        let requests = server.requests();
        let meta = requests[before..].last().unwrap().json()["params"]["_meta"].clone();
        (meta["a"].clone(), meta["b"].clone())
    };
    let both = (json!("1"), json!("2"));
    assert_eq!(meta(&["--meta", "a=1", "get", &url, "7", "--meta", "b=2"]), both);
    assert_eq!(meta(&["--quiet", "--meta", "a=1", "--meta", "b=2", "get", &url, "7"]), both);
}
