//! Messages pass through as they came, if client and server are of the same era.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{BridgeClient, call, gate, modern, text_of};
use crate::support::mcp::play_actions;
use crate::support::reply::Feed;
use crate::support::{HttpServer, LegacyHttpOptions, Mcp, ProcessEvent, Reply, Sandbox, ServerAction, StdioServer};

/// What the server got, in place of its IDs.
fn received(server: &StdioServer) -> Vec<Value> {
    server.processes()[0].messages()
}

#[test]
fn requests_and_results_are_unchanged_but_for_the_id() {
    let result = r#"{"x":1E2, "big":12345678901234567890123,"s":"\ud83d\u0041","n":null}"#;
    let server = Mcp::legacy("2025-11-25")
        .on("vendor/do", move |call| {
            vec![ServerAction::RawText(format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call.id()))]
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({"roots": {"listChanged": true}, "experimental": {"x": {}}}));
    for id in ["1", "\"text\"", "\"\\u00e9\"", "-7", "1.50", "99999999999999999999"] {
        client.send_text(&format!(r#"{{"jsonrpc":"2.0", "id":{id},"method":"vendor/do","params":{{"a": 1E2,"_meta":{{"progressToken":"p","k":[1]}}}},"extra":true}}"#));
        assert_eq!(client.next_text(), format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#));
    }
    client.end();
    let text = server.single_process().text().to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let sent: Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(
        sent["params"],
        json!({"protocolVersion": "2025-11-25", "capabilities": {"roots": {"listChanged": true},
        "experimental": {"x": {}}}, "clientInfo": {"name": "tester", "version": "9"}})
    );
    assert_eq!(lines[1], r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(
        lines[2],
        r#"{"jsonrpc":"2.0", "id":2,"method":"vendor/do","params":{"a": 1E2,"_meta":{"progressToken":"p","k":[1]}},"extra":true}"#
    );
    assert_eq!(lines.len(), 8);
}

#[test]
fn the_result_of_initialize_and_errors_are_the_servers() {
    let error = r#"{"code":-5,"message":"no","data":{"a": [1]},"more":1}"#;
    let server = Mcp::legacy("2025-06-18")
        .on("vendor/fail", move |call| {
            vec![ServerAction::RawText(format!(r#"{{"jsonrpc":"2.0","id":{},"error":{error}}}"#, call.id()))]
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let said = client.initialize(json!({}));
    assert_eq!(
        said,
        json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}, "resources": {}, "prompts": {}},
        "serverInfo": {"name": "fake", "title": "Fake server", "version": "1.2.3"}, "instructions": "Be kind to it."})
    );
    client.ask(1, "vendor/fail", json!({}));
    assert_eq!(client.next_text(), format!(r#"{{"jsonrpc":"2.0","id":1,"error":{error}}}"#));
    assert_eq!(client.error(2, "vendor/unknown", json!({}))["code"], -32601);
    client.end();
}

#[test]
fn a_server_that_refuses_the_client_is_reported_with_its_own_error() {
    let server = Mcp::legacy("2025-06-18")
        .on("initialize", |call| {
            call.error_with(-32602, "Unsupported protocol version", json!({"supported": ["2024-11-05"]}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let params =
        json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}});
    let error = client.error(1, "initialize", params);
    assert_eq!(
        error,
        json!({"code": -32602, "message": "Unsupported protocol version", "data": {"supported": ["2024-11-05"]}})
    );
    client.end();
}

#[test]
fn notifications_pass_in_both_directions() {
    let server = Mcp::legacy("2025-11-25")
        .on("vendor/start", |call| {
            let token = call.params()["_meta"]["progressToken"].clone();
            let mut actions: Vec<ServerAction> = [
                ("notifications/progress", json!({"progressToken": token, "progress": 1, "x": 2})),
                ("notifications/message", json!({"level": "info", "data": {"a": 1}})),
                ("notifications/tools/list_changed", json!({})),
                ("notifications/resources/updated", json!({"uri": "demo://hello"})),
                ("vendor/notice", json!({"deep": [{"er": null}]})),
            ]
            .into_iter()
            .map(|(method, params)| ServerAction::Send(json!({"jsonrpc": "2.0", "method": method, "params": params})))
            .collect();
            actions.extend(call.result(json!({"done": true})));
            actions
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}));
    client.send(&json!({"jsonrpc": "2.0", "method": "vendor/hint", "params": {"a": [1]}}));
    client.ask(5, "vendor/start", json!({"_meta": {"progressToken": "mine"}}));
    let notices: Vec<Value> = (0..5).map(|_| client.next()).collect();
    assert_eq!(notices[0]["params"], json!({"progressToken": "mine", "progress": 1, "x": 2}));
    assert_eq!(notices[1]["params"], json!({"level": "info", "data": {"a": 1}}));
    assert_eq!(notices[2], json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}}));
    assert_eq!(notices[3]["params"]["uri"], "demo://hello");
    assert_eq!(notices[4], json!({"jsonrpc": "2.0", "method": "vendor/notice", "params": {"deep": [{"er": null}]}}));
    assert_eq!(client.response(5)["result"], json!({"done": true}));
    client.end();
    let methods = server.single_process().methods();
    assert_eq!(methods[2..4], ["notifications/roots/list_changed", "vendor/hint"]);
}

#[test]
fn requests_of_the_server_are_answered_by_the_client() {
    for (id, method) in [
        (json!("s-1"), "elicitation/create"),
        (json!(0), "sampling/createMessage"),
        (json!(7), "roots/list"),
        (json!("x"), "vendor/ask"),
    ] {
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {"message": "?", "big": 1}});
        let server = Mcp::legacy("2025-11-25")
            .on("tools/call", move |call| {
                let response = call.response(json!({"content": []}));
                let echo = move |answer: Value| {
                    let mut response = response;
                    response["result"]["structuredContent"] = answer;
                    vec![ServerAction::Send(response)]
                };
                vec![ServerAction::Request(request.clone(), Box::new(echo))]
            })
            .stdio();
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
        client.initialize(json!({"elicitation": {}, "sampling": {}, "roots": {}}));
        client.ask("c", "tools/call", call("ask", json!({})));
        let question = client.next();
        assert_eq!((&question["method"], &question["params"]), (&json!(method), &json!({"message": "?", "big": 1})));
        client.send(
            &json!({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"n": 1}}}),
        );
        let answer = &client.response("c")["result"]["structuredContent"];
        assert_eq!(answer, &json!({"jsonrpc": "2.0", "id": id, "result": {"action": "accept", "content": {"n": 1}}}));
        client.end();
    }
}

#[test]
fn cancellations_pass_in_both_directions() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |_| Vec::new())
        .on("vendor/ask-and-cancel", |call| {
            let mut actions = vec![
                ServerAction::Send(json!({"jsonrpc": "2.0", "id": "q", "method": "roots/list"})),
                ServerAction::Send(
                    json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q"}}),
                ),
            ];
            actions.extend(call.result(json!({})));
            actions
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({"roots": {}}));
    client.ask("slow", "tools/call", call("echo", json!({})));
    server.wait_for("the call", |all| all[0].methods().contains(&"tools/call".to_owned()));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow", "reason": "changed my mind"}}));
    client.ask(1, "vendor/ask-and-cancel", json!({}));
    let question = client.next();
    assert_eq!(question["method"], "roots/list");
    assert_eq!(
        client.next(),
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": question["id"]}})
    );
    client.response(1);
    client.end();
    let got = server.single_process().messages();
    let called = got.iter().find(|message| message["method"] == "tools/call").unwrap();
    let cancelled = got.iter().find(|message| message["method"] == "notifications/cancelled").unwrap();
    assert_eq!(cancelled["params"], json!({"requestId": called["id"], "reason": "changed my mind"}));
    assert!(!got.iter().any(|message| message["id"] == "q"), "a canceled request gets no response: {got:?}");
}

/// A server that has started again may use an ID for another request.
#[test]
fn a_response_belongs_to_the_last_request_with_its_id() {
    let server = Mcp::legacy("2025-11-25")
        .on("vendor/ask-twice", |call| {
            let question = json!({"jsonrpc": "2.0", "id": "q", "method": "roots/list"});
            let mut actions = vec![ServerAction::Send(question.clone()), ServerAction::Send(question)];
            actions.extend(call.result(json!({})));
            actions
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({"roots": {}}));
    client.ask(1, "vendor/ask-twice", json!({}));
    let (first, second) = (client.next(), client.next());
    client.response(1);
    for (question, name) in [(first, "old"), (second, "new")] {
        let roots = json!({"roots": [{"uri": "file:///", "name": name}]});
        client.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": roots}));
    }
    server.wait_for("a response", |all| all[0].messages().iter().any(|message| message["id"] == "q"));
    client.end();
    let got = server.single_process().messages();
    let answers: Vec<_> = got.iter().filter(|message| message["id"] == "q").collect();
    assert_eq!(answers.len(), 1, "{got:?}");
    assert_eq!(answers[0]["result"]["roots"][0]["name"], "new");
}

#[test]
fn a_cancellation_reaches_an_http_server_in_the_form_of_its_era() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let is_modern = mcp.modern;
        let script = mcp.http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
            "tools/call" => Reply::sse().then_stall(),
            _ => script(request),
        });
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
        client.initialize(json!({}));
        client.ask("mine", "tools/call", call("echo", json!({"text": "hi"})));
        let called = server.wait_for("the call", |request| request.rpc_method() == "tools/call");
        let params = json!({"requestId": "mine", "reason": "not needed"});
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}));
        // 2026-07-28, basic/patterns/cancellation: closing the stream is the cancellation.
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while server.abandoned().is_empty() {
            assert!(std::time::Instant::now() < end, "the stream is still open");
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        if !is_modern {
            let cancels = |request: &crate::support::Request| request.rpc_method() == "notifications/cancelled";
            let sent = server.wait_for("the cancellation", cancels).json();
            assert_eq!(sent["params"], json!({"requestId": called.id(), "reason": "not needed"}));
        }
        client.request(2, "tools/list", json!({}));
        client.end();
    }
}

#[test]
fn requests_do_not_wait_for_a_server_that_does_not_accept_a_cancellation() {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "notifications/cancelled" => Reply::never(),
        "tools/call" if request.json()["params"]["name"] == "stuck" => Reply::never(),
        _ => script(request),
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("stuck", json!({})));
    server.wait_for("the call", |request| request.rpc_method() == "tools/call");
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    server.wait_for("the cancellation", |request| request.rpc_method() == "notifications/cancelled");
    assert_eq!(text_of(&client.request(2, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    client.end();
}

#[test]
fn the_end_of_the_input_cancels_what_is_under_way_and_ends_the_server() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |_| Vec::new()).stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("echo", json!({})));
    server.wait_for("the call", |all| all[0].methods().contains(&"tools/call".to_owned()));
    client.end().stderr_is("");
    let process = server.single_process();
    assert!(process.eof);
    let last = process.messages().pop().unwrap();
    assert_eq!((&last["method"], &last["params"]["requestId"]), (&json!("notifications/cancelled"), &json!(2)));
}

#[test]
fn without_a_message_no_server_is_started() {
    let server = Mcp::legacy("2025-11-25").stdio();
    BridgeClient::start(&Sandbox::new(), &[&server.target()]).end().succeeds();
    assert!(server.processes().is_empty());
}

#[test]
fn lines_that_are_not_messages_are_answered_and_batches_are_taken_apart() {
    let server = Mcp::legacy("2025-03-26").stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.send_text("hello");
    assert_eq!(
        client.next(),
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "Parse error"}})
    );
    client.send_text("{}");
    assert_eq!(
        client.next(),
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "Invalid Request"}})
    );
    client.send_text("");
    client.initialize(json!({}));
    client.send_text(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"},{"jsonrpc":"2.0","id":2,"method":"ping"}]"#);
    assert_eq!((client.response(1)["result"].clone(), client.response(2)["result"].clone()), (json!({}), json!({})));
    client.end();
}

#[test]
fn a_client_without_a_handshake_is_introduced() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    client.end();
    assert_eq!(received(&server)[0]["params"]["clientInfo"]["name"], "mcpipe");
}

#[test]
fn http_servers_with_sessions_send_on_their_own_stream() {
    let feed = Feed::default();
    let options =
        LegacyHttpOptions { session_id: Some("session-1"), get_stream: Some(feed.clone()), always_streams: true };
    let server = Mcp::legacy("2025-11-25").http_as(options);
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({"roots": {}}));
    server.wait_for("the stream", |request| request.method == "GET");
    assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    feed.event(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    assert_eq!(client.next(), json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    feed.event(&json!({"jsonrpc": "2.0", "id": 9, "method": "roots/list"}));
    let question = client.next();
    client.send(&json!({"jsonrpc": "2.0", "id": question["id"], "result": {"roots": []}}));
    let answer = server.wait_for("the answer", |request| request.text().contains("\"roots\":[]"));
    assert_eq!(answer.json(), json!({"jsonrpc": "2.0", "id": 9, "result": {"roots": []}}));
    client.end();
    server.wait_for("the end of the session", |request| request.method == "DELETE");
}

#[test]
fn a_modern_client_reaches_a_modern_server_as_it_is() {
    for server in [Some(Mcp::modern().stdio()), None] {
        let http = Mcp::modern().http();
        let target = server.as_ref().map_or_else(|| http.url("/mcp"), StdioServer::target);
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&target]);
        let said = client.request(1, "server/discover", modern(json!({}), json!({"elicitation": {}})));
        assert_eq!(
            (&said["supportedVersions"], &said["instructions"]),
            (&json!(["2026-07-28"]), &json!("Be kind to it."))
        );
        client.request(2, "server/discover", modern(json!({}), json!({})));
        assert_eq!(client.request(3, "tools/list", modern(json!({}), json!({})))["tools"][0]["name"], "echo");
        let result = client.request("4", "tools/call", modern(call("echo", json!({"text": "hi"})), json!({})));
        assert_eq!((text_of(&result), &result["resultType"]), ("hi", &json!("complete")));
        let result = client.request("5", "resources/read", modern(json!({"uri": "demo://hello"}), json!({})));
        assert_eq!(result["contents"][0]["text"], "hello\n");
        client.end();
    }
}

#[test]
fn http_with_sse_of_2024_is_found() {
    let server = Mcp::legacy("2024-11-05").sse();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/sse")]);
    assert_eq!(client.initialize(json!({}))["protocolVersion"], "2024-11-05");
    assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    client.end();
}

#[test]
fn servers_behind_websockets_and_unix_sockets_are_reached() {
    let sandbox = Sandbox::new();
    let reach = |target: &str| {
        let mut client = BridgeClient::start(&sandbox, &[target]);
        client.initialize(json!({}));
        assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
        let error = client.error(2, "tools/call", call("gone", json!({})));
        assert_eq!(error["message"], "Unknown tool: gone");
        client.end();
    };
    for (n, mcp) in [Mcp::modern, || Mcp::legacy("2025-11-25")].into_iter().enumerate() {
        let server = mcp().websocket();
        reach(&server.url("/ws"));
        assert_eq!(server.handshakes().len(), 1);
        let path = sandbox.path().join(format!("{n}.socket"));
        let _seen = mcp().unix(&path);
        reach(&format!("unix:{}", path.display()));
    }
}

#[test]
fn a_json_body_over_several_lines_becomes_one_line() {
    let server = crate::support::HttpServer::start(|request| {
        if request.json().get("id").is_none() {
            return crate::support::Reply::accepted();
        }
        let text =
            format!("{{\n \"jsonrpc\": \"2.0\",\r\n \"id\": {},\n \"result\": {{\n  \"a\": 1\n }}\n}}\n", request.id());
        crate::support::Reply::text("application/json", text)
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.ask(1, "initialize", json!({}));
    assert_eq!(client.next_text(), r#"{"jsonrpc":"2.0","id":1,"result":{   "a": 1  }}"#);
    client.end();
}

#[test]
fn requests_do_not_wait_for_a_server_that_does_not_accept_notifications() {
    let options = LegacyHttpOptions { get_stream: Some(Feed::default()), ..LegacyHttpOptions::default() };
    let script = Mcp::legacy("2025-11-25").http_script(options);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        method if method.starts_with("notifications/") => Reply::never(),
        _ => script(request),
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp"), "--connect-timeout", "2"]);
    client.initialize(json!({"roots": {"listChanged": true}}));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}));
    assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    server.wait_for("the stream", |request| request.method == "GET");
    client.end();
}

#[test]
fn a_call_that_is_canceled_while_its_server_is_looked_up_is_not_sent() {
    let (open, wait) = gate();
    let a = Mcp::legacy("2025-11-25")
        .on("tools/list", move |call| {
            wait();
            call.result(json!({"tools": []}))
        })
        .stdio();
    let b = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let (first, second) = (a.words(), b.words());
    sandbox.config(&format!(
        "[servers.a]\ncommand = '{}'\nargs = ['{}']\n[servers.b]\ncommand = '{}'\nargs = ['{}']\n",
        first[0], first[1], second[0], second[1]
    ));
    let mut client = BridgeClient::start(&sandbox, &["a", "b"]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("b__echo", json!({"text": "canceled"})));
    a.wait_for("the list", |all| all[0].methods().contains(&"tools/list".to_owned()));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    client.request(2, "ping", json!({}));
    open();
    assert_eq!(text_of(&client.request(3, "tools/call", call("b__echo", json!({"text": "hi"})))), "hi");
    client.end();
    assert_eq!(b.single_process().methods().iter().filter(|method| *method == "tools/call").count(), 1);
}

#[test]
fn a_call_that_is_canceled_while_its_session_is_opened_again_is_not_repeated() {
    let (open, wait) = gate();
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let sessions = std::sync::atomic::AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "initialize" => {
            let session = sessions.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            if session > 0 {
                wait();
            }
            script(request).header("Mcp-Session-Id", &format!("s{session}"))
        }
        "tools/call" if request.header("mcp-session-id") == Some("s0") => Reply::status(404),
        _ => script(&request.without_header("Mcp-Session-Id")),
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("echo", json!({"text": "canceled"})));
    let initializes = |request: &crate::support::Request| {
        request.rpc_method() == "initialize" && server.requests().iter().any(|one| one.rpc_method() == "tools/call")
    };
    server.wait_for("the new session", initializes);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while server.requests().iter().filter(|request| request.rpc_method() == "initialize").count() < 2 {
        assert!(std::time::Instant::now() < end, "no new session");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}));
    // Shows that the cancellation has been taken.
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}));
    server.wait_for("the notification", |request| request.rpc_method() == "notifications/roots/list_changed");
    open();
    assert_eq!(text_of(&client.request(2, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    client.end();
    let calls: Vec<Value> = server
        .requests()
        .iter()
        .filter(|request| request.rpc_method() == "tools/call")
        .map(|request| request.json()["params"]["arguments"]["text"].clone())
        .collect();
    assert_eq!(calls, ["canceled", "hi"]);
}

#[test]
fn a_subscription_that_is_canceled_while_the_server_starts_is_ended() {
    let (open, wait) = gate();
    let server = Mcp::legacy("2025-11-25")
        .capabilities(json!({"resources": {"subscribe": true}}))
        .on("initialize", move |call| {
            wait();
            let capabilities = json!({"resources": {"subscribe": true}});
            let info = json!({"name": "fake", "version": "1"});
            call.result(json!({"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info}))
        })
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |call| call.result(json!({})))
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let filter = json!({"resourceSubscriptions": ["demo://a"]});
    client.ask("L", "subscriptions/listen", modern(json!({"notifications": filter}), json!({})));
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "L"}}));
    client.request(1, "ping", json!({}));
    open();
    let filter = json!({"resourceSubscriptions": ["demo://b"]});
    client.ask("M", "subscriptions/listen", modern(json!({"notifications": filter}), json!({})));
    // The other one is acknowledged only if the bridge had it before the cancellation.
    while client.next()["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] != "M" {}
    // One that is canceled before the server is told of it need not be begun.
    server.wait_for("the other one only", |all| {
        let mut subscribed = BTreeSet::new();
        for message in all[0].messages() {
            let uri = message["params"]["uri"].as_str().unwrap_or_default().to_owned();
            match message["method"].as_str() {
                Some("resources/subscribe") => _ = subscribed.insert(uri),
                Some("resources/unsubscribe") => _ = subscribed.remove(&uri),
                _ => {}
            }
        }
        subscribed.into_iter().eq(["demo://b"])
    });
    client.end();
}

#[test]
fn a_call_that_is_canceled_while_it_waits_for_a_connection_is_not_sent() {
    let (open, wait) = gate();
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            match message["method"].as_str() {
                Some("tools/call") if message["params"]["name"] == "crash" => return process.exit(1),
                Some("initialize") if process.n > 0 => wait(),
                _ => {}
            }
            play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.error("crash", "tools/call", call("crash", json!({})));
    // As many as a server may have waiting.
    for id in 1..=64 {
        client.ask(id, "tools/call", call("echo", json!({"text": "canceled"})));
    }
    server.wait_for("another process", |all| all.get(1).is_some_and(|other| other.methods() == ["initialize"]));
    for id in 1..=64 {
        client.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
    }
    client.request("ping", "ping", json!({}));
    open();
    assert_eq!(text_of(&client.request(65, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    client.end();
    let methods = server.wait_until_all_ended()[1].methods();
    assert_eq!(methods.iter().filter(|method| *method == "tools/call").count(), 1, "{methods:?}");
}

#[test]
fn a_response_that_does_not_show_its_request_is_reported() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |_| vec![ServerAction::RawText(r#"{"jsonrpc":"2.0","result":NaN}"#.to_owned())])
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.ask(1, "tools/call", call("echo", json!({})));
    client.request(2, "tools/list", json!({}));
    client.end().stderr_contains("ignored what the server sent: the server's response is not valid JSON");
}

/// As a script does that writes all its messages at once.
#[test]
fn a_client_that_does_not_wait_for_the_handshake_completes_it_once() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    let initialize = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    client.ask(1, "initialize", initialize);
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    client.ask(2, "tools/list", json!({}));
    client.response(1);
    client.response(2);
    client.end();
    assert_eq!(server.single_process().methods(), ["initialize", "notifications/initialized", "tools/list"]);
}
