//! Several servers as one.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{BridgeClient, call, gate, modern, text_of};
use crate::support::mcp::play_actions;
use crate::support::stdio::ServerProcessLog;
use crate::support::{HttpServer, LegacyHttpOptions, Mcp, ProcessEvent, Sandbox, StdioServer};

fn resources(uri: &'static str, text: &'static str) -> Mcp {
    Mcp::legacy("2025-11-25")
        .tools(json!([{"name": "who", "title": "Who", "inputSchema": {"type": "object"}}]))
        .on("tools/call", move |call| call.text(&format!("{text} {}", call.tool())))
        .on("resources/list", move |call| call.result(json!({"resources": [{"uri": uri, "name": text}]})))
        .on("resources/templates/list", move |call| {
            call.result(json!({"resourceTemplates": [{"uriTemplate": format!("{uri}/{{id}}"), "name": text}]}))
        })
        .on("resources/read", move |call| {
            call.result(json!({"contents": [{"uri": call.params()["uri"], "text": text}]}))
        })
        .on("completion/complete", move |call| {
            call.result(json!({"completion": {"values": [text, call.params()["ref"].to_string()]}}))
        })
        .on("prompts/list", |call| call.result(json!({"prompts": [{"name": "greet"}]})))
        .on("prompts/get", move |call| {
            call.result(json!({"description": format!("{text} {}", call.tool()), "messages": []}))
        })
}

fn configure(sandbox: &Sandbox, servers: &[(&str, &StdioServer)], more: &str) {
    let mut text = String::new();
    for (name, server) in servers {
        let words = server.words();
        text += &format!("[servers.{name}]\ncommand = '{}'\nargs = ['{}']\n", words[0], words[1]);
    }
    sandbox.config(&(text + more));
}

#[test]
fn every_server_is_told_the_log_level_of_a_modern_request() {
    let server = || {
        resources("a://x", "first")
            .capabilities(json!({"tools": {}, "logging": {}}))
            .on("logging/setLevel", |call| call.result(json!({})))
            .stdio()
    };
    let (a, b) = (server(), server());
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a), ("two", &b)], "");
    let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
    for (id, tool) in [(1, "one__who"), (2, "two__who"), (3, "one__who")] {
        let params = json!({"name": tool, "_meta": {"io.modelcontextprotocol/logLevel": "debug"}});
        client.request(id, "tools/call", modern(params, json!({})));
    }
    client.end();
    for server in [&a, &b] {
        let methods = server.processes().into_iter().next_back().unwrap().methods();
        assert_eq!(methods.iter().filter(|method| *method == "logging/setLevel").count(), 1, "{methods:?}");
    }
}

#[test]
fn tools_prompts_and_resources_of_several_servers_are_joined() {
    let (a, b) = (resources("a://x", "first").stdio(), resources("b://x", "second").stdio());
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a), ("two", &b)], "deny_tools = ['secret']\n");
    for is_modern in [false, true] {
        let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
        let params = |params: Value| if is_modern { modern(params, json!({})) } else { params };
        let said = if is_modern {
            client.request(0, "server/discover", params(json!({})))
        } else {
            client.initialize(json!({}))
        };
        assert_eq!(said["capabilities"], json!({"tools": {}, "resources": {}, "prompts": {}}));
        assert_eq!(said["instructions"], "# one\n\nBe kind to it.\n\n# two\n\nBe kind to it.");
        let listed = client.request(1, "tools/list", params(json!({})));
        let names: Vec<&str> =
            listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["one__who", "two__who"]);
        assert_eq!(listed["tools"][0]["title"], "Who");
        assert_eq!(text_of(&client.request(2, "tools/call", params(call("two__who", json!({}))))), "second who");
        assert_eq!(text_of(&client.request(3, "tools/call", params(call("one__who", json!({}))))), "first who");
        assert_eq!(client.error(4, "tools/call", params(call("who", json!({}))))["message"], "Unknown tool: who");
        assert_eq!(
            client.request(5, "prompts/get", params(json!({"name": "two__greet"})))["description"],
            "second greet"
        );
        for (uri, text) in [("a://x", "first"), ("b://x", "second"), ("b://x/7", "second")] {
            assert_eq!(client.request(6, "resources/read", params(json!({"uri": uri})))["contents"][0]["text"], text);
        }
        let error = client.error(7, "resources/read", params(json!({"uri": "c://x"})));
        assert_eq!(error["message"], "no server lists the resource c://x");
        let complete = |reference: Value| json!({"ref": reference, "argument": {"name": "n", "value": ""}});
        let values = client.request(
            8,
            "completion/complete",
            params(complete(json!({"type": "ref/prompt", "name": "two__greet"}))),
        );
        assert_eq!(values["completion"]["values"][0], "second");
        assert!(values["completion"]["values"][1].as_str().unwrap().contains("\"greet\""));
        let values = client.request(
            9,
            "completion/complete",
            params(complete(json!({"type": "ref/resource", "uri": "b://x/{id}"}))),
        );
        assert_eq!(values["completion"]["values"][0], "second");
        assert_eq!(client.error(10, "vendor/x", params(json!({})))["code"], -32601);
        client.end();
    }
}

#[test]
fn ping_is_answered_by_the_bridge_in_front_of_one_server_and_of_several() {
    let sandbox = Sandbox::new();
    let (a, b) = (resources("a://x", "first").stdio(), Mcp::modern().stdio());
    configure(&sandbox, &[("one", &a), ("two", &b)], "[servers.gone]\ncommand = './gone'\n");
    for servers in [&["one"][..], &["two"], &["gone"], &["one", "two", "gone"]] {
        let mut client = BridgeClient::start(&sandbox, servers);
        assert_eq!(client.request(1, "ping", json!({})), json!({}), "{servers:?}");
        client.end();
    }
    assert_eq!((a.processes().len(), b.processes().len()), (0, 0));
}

#[test]
fn a_tool_can_be_called_before_it_was_listed() {
    let (a, b) = (resources("a://x", "first").stdio(), resources("b://x", "second").stdio());
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a), ("two", &b)], "");
    let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
    client.initialize(json!({}));
    assert_eq!(text_of(&client.request(1, "tools/call", call("two__who", json!({})))), "second who");
    assert_eq!(client.request(2, "resources/read", json!({"uri": "b://x"}))["contents"][0]["text"], "second");
    client.end();
}

#[test]
fn servers_of_both_eras_are_joined() {
    let (a, b) = (resources("a://x", "first").stdio(), Mcp::modern().stdio());
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a), ("two", &b)], "deny_tools = ['fail']\n");
    let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
    client.initialize(json!({}));
    let listed = client.request(1, "tools/list", json!({}));
    let names: Vec<&str> =
        listed["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["one__who", "two__echo", "two__add", "two__image", "two__slow"]);
    assert_eq!(text_of(&client.request(2, "tools/call", call("two__echo", json!({"text": "hi"})))), "hi");
    assert_eq!(client.error(3, "tools/call", call("two__fail", json!({})))["code"], -32602);
    client.end();
}

#[test]
fn a_server_that_is_missing_does_not_stop_the_others() {
    let a = resources("a://x", "first").stdio();
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a)], "[servers.two]\ncommand = './gone'\n");
    let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
    let said = client.initialize(json!({}));
    assert_eq!(said["capabilities"]["tools"], json!({"listChanged": true}));
    assert_eq!(client.request(1, "tools/list", json!({}))["tools"][0]["name"], "one__who");
    // What only that server can have is not unknown.
    for (id, method, params) in [
        (2, "tools/call", call("two__who", json!({}))),
        (3, "prompts/get", json!({"name": "two__greet"})),
        (4, "resources/read", json!({"uri": "c://x"})),
    ] {
        let error = client.error(id, method, params);
        assert_eq!((&error["code"], &error["data"]["server"]), (&json!(-32603), &json!("two")), "{error}");
        assert!(error["message"].as_str().unwrap().contains("cannot start '"), "{error}");
    }
    assert_eq!(client.error(5, "tools/call", call("one__gone", json!({})))["message"], "Unknown tool: one__gone");
    let run = client.end();
    run.stderr_contains("mcpipe: warning: two: cannot connect: cannot start '")
        .stderr_contains("two: left out of tools/list");
}

#[test]
fn a_server_without_templates_does_not_hide_that_a_resource_is_unknown() {
    let a = resources("a://x", "first")
        .on("resources/templates/list", |call| call.error(-32601, "Method not found"))
        .stdio();
    let b = resources("b://x", "second").stdio();
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a), ("two", &b)], "");
    let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
    client.initialize(json!({}));
    let error = client.error(1, "resources/read", json!({"uri": "c://x"}));
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!(-32002), &json!("no server lists the resource c://x")),
        "{error}"
    );
    client.end().stderr_is("");
}

#[test]
fn a_server_that_comes_back_is_joined_again() {
    let a = resources("a://x", "first").stdio();
    let start = |address: &str| {
        let script = Mcp::modern().http_script(LegacyHttpOptions::default());
        HttpServer::start_at(address, move |request| script(request).until_close())
    };
    let server = start("127.0.0.1:0");
    let address = server.address().to_string();
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a)], &format!("[servers.two]\nurl = 'http://{address}/mcp'\n"));
    drop(server);
    let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
    client.initialize(json!({}));
    assert_eq!(client.request(1, "tools/list", json!({}))["tools"].as_array().unwrap().len(), 1);
    let _server = start(&address);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let names = loop {
        client.ask("list", "tools/list", json!({}));
        // Meanwhile the lists may have changed.
        let listed = loop {
            let message = client.next();
            if message["id"] == "list" {
                break message;
            }
            assert_eq!(message["method"].as_str().unwrap().split('/').next_back(), Some("list_changed"), "{message}");
        };
        let names: Vec<String> = listed["result"]["tools"]
            .as_array()
            .unwrap()
            .iter()
            .map(|tool| tool["name"].as_str().unwrap().to_owned())
            .collect();
        if names.len() > 1 {
            break names;
        }
        assert!(std::time::Instant::now() < end, "the server is still left out");
        // A failed connection is not repeated at once.
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!(names[..2], ["one__who", "two__echo"]);
}

#[test]
fn two_servers_of_one_name_are_refused() {
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["bridge", "./same.py x", "./same.py y"]).run().exits(2).prints("").stderr_is(
        "mcpipe: error: two of the servers have the name 'same'\nhint: give them different names in the configuration: mcpipe config add NAME TARGET\n",
    );
}

#[test]
fn two_servers_of_one_launcher_are_named_after_their_packages() {
    let (a, b) = (resources("a://x", "first").stdio(), resources("b://x", "second").stdio());
    let sandbox = Sandbox::new();
    let line = |server: &StdioServer| server.words().join(" ");
    let npx = sandbox.script("npx", &format!("case $2 in @demo/one*) exec {};; esac\nexec {}\n", line(&a), line(&b)));
    let target = |package: &str| format!("{} -y {package}", npx.display());
    let (one, two) = (target("@demo/one@1.2"), target("@demo/two"));
    let mut client = BridgeClient::start(&sandbox, &[&one, &two]);
    client.initialize(json!({}));
    assert_eq!(text_of(&client.request(1, "tools/call", call("one__who", json!({})))), "first who");
    assert_eq!(text_of(&client.request(2, "tools/call", call("two__who", json!({})))), "second who");
}

#[test]
fn a_resource_is_subscribed_to_at_the_server_that_lists_it() {
    let subscribing = |uri: &'static str| {
        resources(uri, "text").capabilities(json!({"resources": {"subscribe": true}})).on(
            "resources/subscribe",
            move |call| match call.params()["uri"] == uri {
                true => call.result(json!({})),
                false => call.error(-32002, "Resource not found"),
            },
        )
    };
    let (a, b) = (subscribing("a://x").stdio(), subscribing("b://x").stdio());
    let c = Mcp::modern()
        .capabilities(json!({"tools": {"listChanged": true}, "resources": {}}))
        .on("subscriptions/listen", |_| Vec::new())
        .stdio();
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("a", &a), ("b", &b), ("c", &c)], "");
    let mut client = BridgeClient::start(&sandbox, &["a", "b", "c"]);
    let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["a://x", "gone://x"]});
    client.ask("L", "subscriptions/listen", modern(json!({"notifications": filter}), json!({})));
    assert_eq!(client.next()["method"], "notifications/subscriptions/acknowledged");
    let wanted = |server: &StdioServer, method: &str| -> Vec<Value> {
        let all = server.processes().into_iter().next_back();
        let messages = all.map(|process| process.messages()).unwrap_or_default();
        messages.into_iter().filter(|one| one["method"] == method).map(|one| one["params"].clone()).collect()
    };
    a.wait_for("the subscription", |_| !wanted(&a, "resources/subscribe").is_empty());
    c.wait_for("the subscription", |_| !wanted(&c, "subscriptions/listen").is_empty());
    client.end().stderr_is("mcpipe: warning: cannot subscribe to gone://x: no server lists it\n");
    assert_eq!(wanted(&a, "resources/subscribe"), [json!({"uri": "a://x"})]);
    assert_eq!(wanted(&b, "resources/subscribe"), Vec::<Value>::new());
    assert_eq!(wanted(&c, "subscriptions/listen")[0]["notifications"], json!({"toolsListChanged": true}));
}

/// Whatever the client has listed before.
#[test]
fn a_resource_is_read_from_the_server_that_lists_it_though_a_template_of_another_fits() {
    let a = resources("file:///a", "first")
        .on("resources/list", |call| match call.n {
            2 => call.error(-32603, "busy"),
            _ => call.result(json!({"resources": [{"uri": "file:///a", "name": "a"}]})),
        })
        .on("resources/templates/list", |call| call.result(json!({"resourceTemplates": []})))
        .stdio();
    let b = resources("file://", "second").stdio();
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("a", &a), ("b", &b)], "");
    for lists in [&["resources/templates/list"][..], &["resources/list", "resources/list", "resources/templates/list"]]
    {
        let mut client = BridgeClient::start(&sandbox, &["a", "b"]);
        client.initialize(json!({}));
        for list in lists {
            client.request("list", list, json!({}));
        }
        let read = client.request(1, "resources/read", json!({"uri": "file:///a"}));
        assert_eq!(read["contents"][0]["text"], "first", "{lists:?}");
        client.end();
    }
}

#[test]
fn templates_are_used_if_no_server_lists_its_resources() {
    let a = resources("a://x", "first").on("resources/list", |call| call.error(-32603, "too many")).stdio();
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("one", &a)], "[servers.two]\ncommand = './gone'\n");
    let mut client = BridgeClient::start(&sandbox, &["one", "two"]);
    client.initialize(json!({}));
    let read = client.request(1, "resources/read", json!({"uri": "a://x/7"}));
    assert_eq!(read["contents"][0]["text"], "first");
    client.end();
}

/// The level of the client is for the servers that have logs.
#[test]
fn a_server_without_logs_is_not_told_the_log_level_when_it_is_connected_to_again() {
    let a = resources("a://x", "first")
        .capabilities(json!({"tools": {}, "logging": {}}))
        .on("logging/setLevel", |call| call.result(json!({})))
        .stdio();
    let mcp = Arc::new(resources("b://x", "second").capabilities(json!({"tools": {}})));
    let b = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "logging/setLevel" || (process.n == 0 && message["method"] == "tools/call") {
                return process.exit(1);
            }
            play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("a", &a), ("b", &b)], "");
    let mut client = BridgeClient::start(&sandbox, &["a", "b"]);
    client.initialize(json!({}));
    client.request(1, "logging/setLevel", json!({"level": "debug"}));
    client.request(2, "tools/list", json!({}));
    client.error(3, "tools/call", call("b__who", json!({})));
    client.ask(4, "tools/call", call("b__who", json!({})));
    assert_eq!(client.next()["method"], "notifications/tools/list_changed");
    assert_eq!(text_of(&client.response(4)["result"]), "second who");
    client.end();
    assert_eq!(b.wait_until_all_ended().len(), 2);
}

#[test]
fn notifications_for_a_server_that_is_being_connected_do_not_stop_the_others() {
    let a = resources("a://x", "first").stdio();
    let mcp = Arc::new(resources("b://x", "second"));
    let b = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            match message["method"].as_str() {
                Some("initialize") if process.n > 0 => {}
                Some("tools/call") => process.exit(1),
                _ => play_actions(&mcp, process, mcp.handle(&message)),
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("a", &a), ("b", &b)], "");
    let mut client = BridgeClient::start(&sandbox, &["--connect-timeout", "0", "a", "b"]);
    client.initialize(json!({}));
    client.request(1, "tools/list", json!({}));
    client.error(2, "tools/call", call("b__who", json!({})));
    client.ask(3, "tools/call", call("b__who", json!({})));
    b.wait_for("another process", |all| all.get(1).is_some_and(|other| other.methods() == ["initialize"]));
    for id in 1000..1080 {
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    }
    assert_eq!(text_of(&client.request(4, "tools/call", call("a__who", json!({})))), "first who");
}

#[test]
fn a_second_initialize_ends_a_call_whose_server_is_looked_up() {
    let (open, wait) = gate();
    let a = resources("a://x", "first")
        .on("tools/list", move |call| {
            wait();
            call.result(json!({"tools": []}))
        })
        .stdio();
    let b = resources("b://x", "second").stdio();
    let sandbox = Sandbox::new();
    configure(&sandbox, &[("a", &a), ("b", &b)], "");
    let mut client = BridgeClient::start(&sandbox, &["b", "a"]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("b__who", json!({})));
    a.wait_for("the list", |all| all[0].methods().contains(&"tools/list".to_owned()));
    client.ask("init", "initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}}));
    assert_eq!(client.response(1)["error"]["message"], "the connection was closed");
    assert!(client.response("init")["result"].is_object());
    open();
    client.request(2, "tools/list", json!({}));
    client.end();
    let called = |process: &ServerProcessLog| process.methods().contains(&"tools/call".to_owned());
    assert!(!b.wait_until_all_ended().iter().any(called));
}
