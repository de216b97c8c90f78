//! A client of one era in front of a server of the other: messages are translated.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{BridgeClient, call, modern, text_of};
use crate::support::mcp::play_actions;
use crate::support::stdio::ServerProcessLog;
use crate::support::{Mcp, ProcessEvent, Sandbox, ServerAction, StdioServer};

/// The `_meta` of requests to a modern server.
fn meta(message: &Value) -> &Value {
    &message["params"]["_meta"]
}

#[test]
fn a_client_with_a_handshake_reaches_a_modern_server() {
    let stdio = Mcp::modern().stdio();
    let http = Mcp::modern().http();
    for target in [stdio.target(), http.url("/mcp")] {
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&target]);
        let said = client.initialize(json!({"roots": {}}));
        assert_eq!(
            said,
            json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
            "serverInfo": {"name": "fake", "title": "Fake server", "version": "1.2.3"}, "instructions": "Be kind to it."})
        );
        assert_eq!(client.request(1, "ping", json!({})), json!({}));
        client.request(2, "logging/setLevel", json!({"level": "debug"}));
        client.send(&json!({"jsonrpc": "2.0", "id": 3, "method": "tools/list"}));
        assert_eq!(client.response(3)["result"]["tools"][0]["name"], "echo");
        let params = json!({"name": "slow", "arguments": {"steps": 1}, "_meta": {"progressToken": "t"}});
        client.ask(4, "tools/call", params);
        assert_eq!(
            client.next()["params"],
            json!({"progressToken": "t", "progress": 1, "total": 1, "message": "step 1"})
        );
        assert_eq!(text_of(&client.response(4)["result"]), "done");
        assert_eq!(
            client.request(5, "resources/read", json!({"uri": "demo://hello"}))["contents"][0]["text"],
            "hello\n"
        );
        assert_eq!(client.error(6, "vendor/unknown", json!({}))["code"], -32601);
        client.end();
    }
    let got = stdio.single_process().messages();
    let listed = got.iter().find(|message| message["method"] == "tools/list").unwrap();
    assert_eq!(meta(listed)["io.modelcontextprotocol/clientInfo"], json!({"name": "tester", "version": "9"}));
    assert_eq!(meta(listed)["io.modelcontextprotocol/clientCapabilities"], json!({"roots": {}}));
    assert_eq!(meta(listed)["io.modelcontextprotocol/logLevel"], "debug");
    let methods = stdio.single_process().methods();
    assert!(
        !methods
            .iter()
            .any(|method| ["notifications/initialized", "ping", "logging/setLevel"].contains(&method.as_str())),
        "{methods:?}"
    );
}

#[test]
fn the_input_that_a_modern_server_requires_is_asked_of_the_client() {
    let server = Mcp::modern()
        .on("tools/call", |call| match call.params().get("inputResponses") {
            None => call.result(json!({"resultType": "input_required", "requestState": "st\u{e4}te", "inputRequests": {
                "who": {"method": "elicitation/create", "params": {"message": "Who?", "requestedSchema": {"type": "object"}}},
                "where": {"method": "roots/list"},
            }})),
            Some(answers) => {
                let state = call.params()["requestState"].clone();
                call.result(json!({"content": [], "structuredContent": {"answers": answers, "state": state, "arguments": call.params()["arguments"]}}))
            }
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({"elicitation": {}, "roots": {}}));
    client.ask("c", "tools/call", call("ask", json!({"a": 1})));
    let (who, place) = (client.next(), client.next());
    assert_eq!((&who["method"], &who["params"]["message"]), (&json!("elicitation/create"), &json!("Who?")));
    assert_eq!((&place["method"], place.get("params")), (&json!("roots/list"), None));
    client.send(&json!({"jsonrpc": "2.0", "id": place["id"], "result": {"roots": []}}));
    client
        .send(&json!({"jsonrpc": "2.0", "id": who["id"], "result": {"action": "accept", "content": {"name": "Ada"}}}));
    let result = client.response("c")["result"]["structuredContent"].clone();
    assert_eq!(
        result,
        json!({"answers": {"who": {"action": "accept", "content": {"name": "Ada"}}, "where": {"roots": []}},
        "state": "st\u{e4}te", "arguments": {"a": 1}})
    );
    // A client that answers with an error ends the call with an error.
    client.ask(2, "tools/call", call("ask", json!({})));
    let (who, place) = (client.next(), client.next());
    client.send(&json!({"jsonrpc": "2.0", "id": who["id"], "error": {"code": -1, "message": "no one is here"}}));
    assert_eq!(
        client.next(),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": place["id"]}})
    );
    let error = client.response(2)["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("no one is here"), "{error}");
    // A client that cancels the call is not asked any more.
    client.ask(3, "tools/call", call("ask", json!({})));
    let (who, place) = (client.next(), client.next());
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 3}}));
    let cancelled = [client.next(), client.next()];
    assert_eq!(
        [&cancelled[0]["params"]["requestId"], &cancelled[1]["params"]["requestId"]],
        [&who["id"], &place["id"]]
    );
    client.end();
}

#[test]
fn the_client_is_asked_nothing_if_one_of_the_questions_is_not_allowed() {
    let server = Mcp::modern()
        .on("tools/call", |call| {
            call.result(json!({"resultType": "input_required", "inputRequests": {
                "a": {"method": "elicitation/create", "params": {"message": "Who?"}},
                "b": {"method": "tools/list"},
            }}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({"elicitation": {}}));
    client.ask(1, "tools/call", call("ask", json!({})));
    let error = client.next();
    assert_eq!(
        (&error["id"], error["error"]["message"].as_str().unwrap()),
        (&json!(1), "the server's request for input has the method tools/list, which is not allowed there")
    );
    client.end();
}

#[test]
fn a_canceled_call_is_not_repeated_with_the_state_of_a_modern_server() {
    let others = AtomicUsize::new(0);
    let server = Mcp::modern()
        .on("tools/call", move |call| {
            if call.tool() == "canceled" || others.fetch_add(1, Ordering::SeqCst) < 3 {
                return call.result(json!({"resultType": "input_required", "requestState": "busy"}));
            }
            call.text("done")
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("canceled", json!({})));
    server.wait_for("the call", |all| all[0].methods().contains(&"tools/call".to_owned()));
    // Its response has come before that of the next request.
    client.request(2, "tools/list", json!({}));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    assert_eq!(text_of(&client.request(3, "tools/call", call("other", json!({})))), "done");
    client.end();
    // The call of the other tool was repeated three times in the meantime.
    let called: Vec<Value> =
        server.single_process().messages().iter().map(|message| message["params"]["name"].clone()).collect();
    let other = called.iter().position(|tool| tool == "other").unwrap();
    assert!(!called[other..].contains(&json!("canceled")), "{called:?}");
}

#[test]
fn changes_of_a_modern_server_are_reported_to_a_client_with_a_handshake() {
    let server = StdioServer::start(move |process, event| {
        let ProcessEvent::Line(line) = event else {
            if event == ProcessEvent::Eof {
                process.exit(0);
            }
            return;
        };
        let message: Value = serde_json::from_str(&line).unwrap();
        let id = &message["id"];
        let notify = |method: &str, mut params: Value| {
            params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": id});
            process.send(&json!({"jsonrpc": "2.0", "method": method, "params": params}));
        };
        match message["method"].as_str().unwrap() {
            "initialize" => process.send(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "Method not found"}})),
            "server/discover" => process.send(&json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete",
                "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}, "resources": {}}}})),
            "subscriptions/listen" => {
                let filter = message["params"]["notifications"].clone();
                notify("notifications/subscriptions/acknowledged", json!({"notifications": filter}));
                notify("notifications/tools/list_changed", json!({}));
                if let Some(uri) = filter["resourceSubscriptions"].get(0) {
                    notify("notifications/resources/updated", json!({"uri": uri}));
                }
            }
            _ => {}
        }
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    assert_eq!(client.next()["method"], "notifications/tools/list_changed");
    client.request(1, "resources/subscribe", json!({"uri": "demo://a"}));
    assert_eq!(client.next()["method"], "notifications/tools/list_changed");
    let updated = client.next();
    assert_eq!(
        (&updated["method"], &updated["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!("demo://a"))
    );
    client.end();
    let methods = server.single_process().methods();
    assert_eq!(
        methods,
        ["initialize", "server/discover", "subscriptions/listen", "notifications/cancelled", "subscriptions/listen"]
    );
}

/// A legacy server whose tool `ask` asks twice.
fn asking() -> Mcp {
    Mcp::legacy("2025-11-25")
        .capabilities(
            json!({"tools": {"listChanged": true}, "logging": {}, "tasks": {}, "resources": {"subscribe": true}}),
        )
        .on("tools/call", |call| {
            if call.tool() != "ask" {
                return call.text("hi");
            }
            let first =
                json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {"message": "Who?"}});
            let response = call.response(json!({"content": []}));
            vec![ServerAction::Request(
                first,
                Box::new(move |answer| {
                    let mut response = response;
                    response["result"]["structuredContent"] = answer["result"].clone();
                    vec![ServerAction::Send(response)]
                }),
            )]
        })
}

#[test]
fn a_client_without_a_handshake_reaches_a_server_with_one() {
    let stdio = asking().stdio();
    let http = asking().http();
    for target in [stdio.target(), http.url("/mcp")] {
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&target]);
        let said = client.request(1, "server/discover", modern(json!({}), json!({"elicitation": {"form": {}}})));
        assert_eq!(
            said,
            json!({"resultType": "complete", "supportedVersions": ["2026-07-28"], "ttlMs": 0, "cacheScope": "private",
            "capabilities": {"tools": {"listChanged": true}, "logging": {}, "resources": {"subscribe": true}}, "instructions": "Be kind to it.",
            "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "fake", "title": "Fake server", "version": "1.2.3"}}})
        );
        let listed = client.request(2, "tools/list", modern(json!({}), json!({})));
        assert_eq!(
            (&listed["resultType"], &listed["ttlMs"], &listed["cacheScope"]),
            (&json!("complete"), &json!(0), &json!("private"))
        );
        let params = modern(json!({"name": "echo", "_meta": {"progressToken": 5}}), json!({}));
        assert_eq!(
            client.request(3, "tools/call", params),
            json!({"resultType": "complete", "content": [{"type": "text", "text": "hi"}]})
        );
        let asked = client.request(4, "tools/call", modern(call("ask", json!({})), json!({})));
        assert_eq!(
            (&asked["resultType"], &asked["inputRequests"]),
            (
                &json!("input_required"),
                &json!({"question": {"method": "elicitation/create", "params": {"message": "Who?"}}})
            )
        );
        let mut params = modern(call("ask", json!({})), json!({}));
        params["requestState"] = asked["requestState"].clone();
        params["inputResponses"] = json!({"question": {"action": "accept", "content": {"name": "Ada"}}});
        let result = client.request("5", "tools/call", params.clone());
        assert_eq!(result["structuredContent"], json!({"action": "accept", "content": {"name": "Ada"}}));
        assert_eq!(client.error(6, "tools/call", params)["code"], -32602);
        client.end();
    }
    let got = stdio.processes().into_iter().next_back().unwrap().messages();
    let opened = got.iter().find(|message| message["method"] == "initialize").unwrap();
    assert_eq!(
        opened["params"],
        json!({"protocolVersion": "2025-11-25", "capabilities": {"elicitation": {"form": {}}},
        "clientInfo": {"name": "tester", "version": "9"}})
    );
    let called = got.iter().find(|message| message["method"] == "tools/call").unwrap();
    assert_eq!(called["params"], json!({"name": "echo", "_meta": {"progressToken": 5}}));
}

#[test]
fn a_cancellation_by_a_server_with_a_handshake_is_about_its_own_requests() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| {
        // The ID is that of the call at the server, but no request of the server has it.
        let params = json!({"requestId": call.id()});
        let canceled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
        [vec![ServerAction::Send(canceled)], call.text("hi")].into_iter().flatten().collect()
    });
    let server = server.stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("echo", json!({})));
    let response = client.next();
    assert_eq!((&response["id"], text_of(&response["result"])), (&json!(1), "hi"));
    client.end();
}

/// A request of a server for input.
fn question(id: &str, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create", "params": {"message": message}})
}

/// The parameters with which a modern client continues a call of `ask`.
fn answer(asked: &Value, name: &str) -> Value {
    let mut params = modern(call("ask", json!({})), json!({}));
    params["requestState"] = asked["requestState"].clone();
    params["inputResponses"] = json!({"question": {"action": "accept", "content": {"name": name}}});
    params
}

#[test]
fn a_question_that_the_server_cancels_is_not_answered() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |_| {
            let cancel =
                |id: &str| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
            let sent = [question("a", "A?"), question("b", "B?"), question("c", "C?"), cancel("a"), cancel("b")];
            sent.into_iter().map(ServerAction::Send).collect()
        })
        .on("vendor/end", |call| {
            let response = json!({"jsonrpc": "2.0", "id": call.params()["call"], "result": {"content": []}});
            [vec![ServerAction::Send(response)], call.result(json!({}))].into_iter().flatten().collect()
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let first = client.request(1, "tools/call", modern(call("ask", json!({})), json!({"elicitation": {}})));
    assert_eq!(first["inputRequests"]["question"]["params"]["message"], "A?");
    // So that the cancellations have been read.
    client.request(2, "tools/list", modern(json!({}), json!({})));
    let third = client.request(3, "tools/call", answer(&first, "Ada"));
    assert_eq!(third["inputRequests"]["question"]["params"]["message"], "C?");
    client.ask(4, "tools/call", answer(&third, "Cy"));
    server
        .wait_for("the answer", |all| all.iter().any(|one| one.messages().iter().any(|message| message["id"] == "c")));
    let got = server.processes().into_iter().next_back().unwrap().messages();
    let id = got.iter().find(|message| message["method"] == "tools/call").unwrap()["id"].clone();
    client.ask(5, "vendor/end", modern(json!({"call": id}), json!({})));
    assert_eq!(client.response(4)["result"], json!({"resultType": "complete", "content": []}));
    client.response(5);
    client.end();
    let answered: Vec<Value> =
        got.iter().filter(|one| one.get("method").is_none()).map(|one| one["id"].clone()).collect();
    assert_eq!(answered, ["c"]);
}

#[test]
fn a_server_cannot_fill_the_memory_with_questions() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| match call.tool() {
            "many" => (0..70).map(|n| ServerAction::Send(question(&format!("q{n}"), "Who?"))).collect(),
            _ => (0..5).map(|n| ServerAction::Send(question(&format!("large{n}"), &"w".repeat(3 << 20)))).collect(),
        })
        .stdio();
    let many = "too many requests wait for the client's answer";
    let large = "the requests that wait for the client's answer are too large";
    for (tool, first, refused, message) in [("many", "Who?", 64..70, many), ("large", "www", 3..5, large)] {
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
        let asked = client.request(1, "tools/call", modern(call(tool, json!({})), json!({"elicitation": {}})));
        let asked = asked["inputRequests"]["question"]["params"]["message"].as_str().unwrap();
        assert!(asked.starts_with(first), "{}", asked.len());
        let errors = |all: &[ServerProcessLog]| {
            let got = all.last().unwrap().messages();
            got.iter().filter(|one| one.get("error").is_some()).cloned().collect::<Vec<_>>()
        };
        server.wait_for("the refusals", |all| errors(all).len() == refused.len());
        let id = |n| if tool == "many" { format!("q{n}") } else { format!("large{n}") };
        let expected: Vec<Value> = refused
            .map(|n| {
                let error = json!({"code": -32600, "message": message});
                json!({"jsonrpc": "2.0", "id": id(n), "error": error})
            })
            .collect();
        assert_eq!(errors(&server.processes()), expected);
        client.end();
    }
}

#[test]
fn one_large_question_is_passed_on() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |_| vec![ServerAction::Send(question("q", &"w".repeat(9 << 20)))])
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let asked = client.request(1, "tools/call", modern(call("ask", json!({})), json!({"elicitation": {}})));
    let asked = asked["inputRequests"]["question"]["params"]["message"].as_str().unwrap();
    assert_eq!(asked.len(), 9 << 20);
    client.end();
}

#[test]
fn a_result_that_comes_before_the_answer_is_kept_unless_it_is_too_large() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| {
            let text = "w".repeat(call.argument("size").as_u64().unwrap() as usize);
            let mut sent = vec![ServerAction::Send(question("q", "Who?"))];
            sent.extend(call.text(&text));
            sent
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    for (id, size) in [(1, 5), (3, 9 << 20)] {
        let params = modern(call("ask", json!({"size": size})), json!({"elicitation": {}}));
        let asked = client.request(id, "tools/call", params);
        // So that the result has been read.
        client.request(id + 10, "tools/list", modern(json!({}), json!({})));
        client.ask(id + 1, "tools/call", answer(&asked, "Ada"));
        let response = client.response(id + 1);
        if size == 5 {
            assert_eq!(text_of(&response["result"]), "wwwww");
        } else {
            let message =
                "the result came before the client had answered, and is too large to be kept: the tool may have run";
            assert_eq!(response["error"]["message"], message);
        }
    }
    client.end();
}

#[test]
fn a_question_that_comes_while_another_is_answered_is_asked_later() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| {
        let response = call.response(json!({"content": []}));
        let ask = |id: &str, then| ServerAction::Request(question(id, id), then);
        let last = ask("third", Box::new(|_| vec![ServerAction::Send(response)]));
        vec![ServerAction::Send(question("first", "first")), ask("second", Box::new(|_| vec![last]))]
    });
    let server = server.stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let mut asked = client.request(1, "tools/call", modern(call("ask", json!({})), json!({"elicitation": {}})));
    for (id, next) in [(2, "second"), (3, "third")] {
        asked = client.request(id, "tools/call", answer(&asked, "Ada"));
        assert_eq!(asked["inputRequests"]["question"]["params"]["message"], next);
    }
    let ended = client.request(4, "tools/call", answer(&asked, "Ada"));
    assert_eq!(ended, json!({"resultType": "complete", "content": []}));
    client.end();
}

#[test]
fn subscriptions_of_a_modern_client_are_served_by_a_server_with_a_handshake() {
    let server = asking()
        .on("resources/subscribe", |call| {
            let mut actions = call.result(json!({}));
            for (method, params) in [
                ("tools/list_changed", json!({})),
                ("prompts/list_changed", json!({})),
                ("resources/updated", json!({"uri": "demo://a"})),
            ] {
                actions.push(ServerAction::Send(
                    json!({"jsonrpc": "2.0", "method": format!("notifications/{method}"), "params": params}),
                ));
            }
            actions
        })
        .on("resources/unsubscribe", |call| call.result(json!({})))
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let filter = json!({"toolsListChanged": true, "resourceSubscriptions": ["demo://a"]});
    client.ask("L", "subscriptions/listen", modern(json!({"notifications": filter}), json!({})));
    let subscription = json!({"io.modelcontextprotocol/subscriptionId": "L"});
    let acknowledged = json!({"notifications": filter, "_meta": subscription});
    assert_eq!(
        client.next(),
        json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": acknowledged})
    );
    assert_eq!(
        client.next(),
        json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": subscription}})
    );
    assert_eq!(client.next()["params"], json!({"uri": "demo://a", "_meta": subscription}));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "L"}}));
    server.wait_for("the end", |all| all[0].methods().contains(&"resources/unsubscribe".to_owned()));
    client.end();
}

#[test]
fn the_log_level_of_a_modern_request_is_set_at_a_server_with_a_handshake() {
    let server = asking().on("logging/setLevel", |call| call.result(json!({}))).stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    for id in 1..=2 {
        let params = json!({"name": "echo", "_meta": {"io.modelcontextprotocol/logLevel": "info"}});
        client.request(id, "tools/call", modern(params, json!({})));
    }
    client.end();
    let got = server.processes().into_iter().next_back().unwrap().messages();
    let levels: Vec<&Value> = got
        .iter()
        .filter(|message| message["method"] == "logging/setLevel")
        .map(|message| &message["params"])
        .collect();
    assert_eq!(levels, [&json!({"level": "info"})]);
}

#[test]
fn a_server_that_exits_at_an_unknown_request_is_started_again() {
    let server = Mcp::legacy("2025-11-25").on("server/discover", |_| vec![ServerAction::RawText("bye".into())]);
    let mcp = std::sync::Arc::new(server);
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "server/discover" {
                process.exit(1);
            } else {
                crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let result = client.request(1, "tools/call", modern(call("echo", json!({"text": "hi"})), json!({})));
    assert_eq!(text_of(&result), "hi");
    client.end();
    assert_eq!(server.wait_until_all_ended().len(), 2);
}

#[test]
fn http_sse_is_found_as_by_other_commands() {
    for (path, status) in [("/mcp", 404), ("/mcp", 415), ("/mcp", 410), ("/mcp", 501), ("/sse", 403)] {
        let server = Mcp::legacy("2024-11-05").sse_refusing(path, status);
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&server.url(path)]);
        client.initialize(json!({}));
        assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "hi"})))), "hi", "{status}");
        client.end();
    }
}

#[test]
fn a_resource_that_a_modern_server_does_not_know_does_not_end_the_notifications_of_other_changes() {
    let server = Mcp::modern()
        .capabilities(json!({"tools": {"listChanged": true}, "resources": {}}))
        .on("subscriptions/listen", |call| match call.params()["notifications"].get("resourceSubscriptions") {
            Some(uris) if uris.as_array().unwrap().contains(&json!("demo://gone")) => {
                call.error(-32602, "Unknown resource")
            }
            _ => {
                let meta = json!({"io.modelcontextprotocol/subscriptionId": call.id()});
                let params = json!({"notifications": call.params()["notifications"], "_meta": meta});
                let method = "notifications/subscriptions/acknowledged";
                vec![ServerAction::Send(json!({"jsonrpc": "2.0", "method": method, "params": params}))]
            }
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    let lists = json!({"toolsListChanged": true});
    let with = |uris: &[&str]| json!({"toolsListChanged": true, "resourceSubscriptions": uris});
    let mut expected = vec![lists.clone()];
    let mut wait = |more: &[Value]| {
        expected.extend_from_slice(more);
        server.wait_for("the subscriptions", |all| {
            let messages = all.iter().flat_map(ServerProcessLog::messages);
            let listens = messages.filter(|message| message["method"] == "subscriptions/listen");
            listens.map(|message| message["params"]["notifications"].clone()).collect::<Vec<_>>() == expected
        });
    };
    wait(&[]);
    client.request(1, "resources/subscribe", json!({"uri": "demo://gone"}));
    wait(&[with(&["demo://gone"]), lists.clone()]);
    client.request(2, "resources/unsubscribe", json!({"uri": "demo://gone"}));
    wait(std::slice::from_ref(&lists));
    client.request(3, "resources/subscribe", json!({"uri": "demo://a"}));
    wait(&[with(&["demo://a"])]);
    // The acknowledgement has been read.
    client.request(4, "tools/list", json!({}));
    // Nor those of other resources.
    client.request(5, "resources/subscribe", json!({"uri": "demo://gone"}));
    wait(&[with(&["demo://a", "demo://gone"]), with(&["demo://a"])]);
    let warning = "mcpipe: warning: cannot subscribe to demo://gone: the server refused subscriptions/listen: Unknown resource (code -32602)\n";
    client.end().stderr_is(&warning.repeat(2));
}

/// A bridge without a limit for its connection, whose client is subscribed to a resource by the request `L`.
fn start_subscribed(sandbox: &Sandbox, target: &str) -> BridgeClient {
    let mut client = BridgeClient::start(sandbox, &["--connect-timeout", "0", target]);
    let filter = json!({"notifications": {"resourceSubscriptions": ["demo://a"]}});
    client.ask("L", "subscriptions/listen", modern(filter, json!({})));
    assert_eq!(client.next()["method"], "notifications/subscriptions/acknowledged");
    client
}

#[test]
fn requests_do_not_wait_for_the_end_of_a_subscription_at_a_server() {
    let server = Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "resources": {"subscribe": true}}))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |_| Vec::new())
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = start_subscribed(&sandbox, &server.target());
    let has = |method: &'static str| {
        server.wait_for(method, |all| all.iter().any(|one| one.methods().iter().any(|sent| sent == method)));
    };
    has("resources/subscribe");
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "L"}}));
    has("resources/unsubscribe");
    let echo = modern(call("echo", json!({"text": "hi"})), json!({}));
    assert_eq!(text_of(&client.request(1, "tools/call", echo)), "hi");
    client.end();
}

/// Over one stream a question shows no call, so it is asked for the newest one.
#[test]
fn an_answer_reaches_the_server_though_the_call_that_asked_for_it_has_ended() {
    let (mcp, asking) = (Arc::new(Mcp::legacy("2025-11-25")), Mutex::new(Value::Null));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            let respond = |id: &Value, answer: &Value| {
                let result = json!({"content": [], "structuredContent": {"answer": answer}});
                process.send(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
            };
            match message["params"]["name"].as_str() {
                Some("ask") => *asking.lock().unwrap() = message["id"].clone(),
                Some("quick") => {
                    process.send(&question("q", "Who?"));
                    process.send(&question("r", "Where?"));
                    respond(&message["id"], &Value::Null);
                }
                _ if message["id"] == "q" => respond(&asking.lock().unwrap(), &message["result"]["action"]),
                _ => play_actions(&mcp, process, mcp.handle(&message)),
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.ask(1, "tools/call", modern(call("ask", json!({})), json!({"elicitation": {}})));
    let asked = client.request(2, "tools/call", modern(call("quick", json!({})), json!({"elicitation": {}})));
    // So that the result has been read.
    client.request(10, "tools/list", modern(json!({}), json!({})));
    client.ask(3, "tools/call", answer(&asked, "Ada"));
    let mut responses = [client.next(), client.next()];
    responses.sort_by_key(|response| response["id"].as_u64());
    let answers = responses.map(|response| (response["id"].clone(), response["result"]["structuredContent"].clone()));
    assert_eq!(answers, [(json!(1), json!({"answer": "accept"})), (json!(3), json!({"answer": null}))]);
    client.end();
    let got = server.wait_until_all_ended().pop().unwrap().messages();
    let unanswered = got.iter().find(|message| message["id"] == "r").map(|message| &message["error"]["message"]);
    assert_eq!(unanswered, Some(&json!("the client did not answer")));
}

#[test]
fn requests_do_not_wait_long_for_a_server_that_does_not_answer_a_change_of_its_settings() {
    let server = Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "logging": {}, "resources": {"subscribe": true}}))
        .on("resources/subscribe", |_| Vec::new())
        .on("logging/setLevel", |_| Vec::new())
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = start_subscribed(&sandbox, &server.target());
    let mut params = call("echo", json!({"text": "hi"}));
    params["_meta"] = json!({"io.modelcontextprotocol/logLevel": "info"});
    assert_eq!(text_of(&client.request(1, "tools/call", modern(params, json!({})))), "hi");
    client.end();
    let methods = server.single_process().methods();
    let sent = ["resources/subscribe", "logging/setLevel", "tools/call"];
    assert_eq!(methods[methods.len() - sent.len()..], sent);
}
