//! Servers that end, are not there or forget their session: a clear error, and on with the next request.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BridgeClient, call, modern, text_of};
use crate::support::http::Request;
use crate::support::stdio::ServerProcessLog;
use crate::support::{
    Feed, HttpServer, LegacyHttpOptions, Mcp, ProcessEvent, Reply, Sandbox, ServerAction, StdioServer, WebSocketEvent,
    WebSocketServer,
};

/// A legacy server over stdio that exits at `vendor/exit` and at a call of `crash`.
fn exiting() -> StdioServer {
    let mcp = Arc::new(Mcp::legacy("2025-11-25").capabilities(
        json!({"tools": {"listChanged": true}, "prompts": {}, "logging": {}, "resources": {"subscribe": true}}),
    ));
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "vendor/exit"
                || message["params"]["name"] == "crash"
                || (process.n == 0 && message["method"] == "prompts/list")
            {
                process.write_stderr("out of memory\n");
                process.exit(3);
            } else if matches!(message["method"].as_str(), Some("resources/subscribe" | "logging/setLevel")) {
                process.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": {}}));
            } else {
                crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    })
}

#[test]
fn a_call_during_which_the_server_exits_is_not_repeated() {
    let server = exiting();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.request("level", "logging/setLevel", json!({"level": "debug"}));
    client.request("subscribe", "resources/subscribe", json!({"uri": "demo://hello"}));
    let error = client.error(1, "tools/call", call("crash", json!({})));
    assert_eq!(error["code"], -32603);
    assert_eq!(error["message"], "the server process ended (exit status: 3): the tool may have run");
    assert_eq!(error["data"]["class"], "unreachable");
    assert_eq!(error["data"]["stderr"], json!(["out of memory"]));
    // The next request starts it again, and restores the session.
    client.ask(2, "tools/call", call("echo", json!({"text": "hi"})));
    assert_eq!(client.next(), json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
    let updated =
        json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "demo://hello"}});
    assert_eq!(client.next(), updated);
    assert_eq!(text_of(&client.response(2)["result"]), "hi");
    let run = client.end();
    run.stderr_is(
        "mcpipe: warning: lost the connection to the server: the server process ended (exit status: 3)\nmcpipe: warning: connected to the server again\n",
    );
    let processes = server.wait_until_all_ended();
    assert_eq!(processes.len(), 2);
    let expected = ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe", "tools/call"];
    assert_eq!(processes[1].methods()[1..], expected[1..]);
    let (first, second) = (processes[0].messages(), processes[1].messages());
    assert_eq!(
        (&first[0]["params"], first[2]["params"]["level"].as_str()),
        (&second[0]["params"], second[2]["params"]["level"].as_str())
    );
}

#[test]
fn subscriptions_are_restored_at_once_and_failures_are_reported() {
    let capabilities = json!({"logging": {}, "resources": {"subscribe": true}});
    let mcp = Arc::new(Mcp::legacy("2025-11-25").capabilities(capabilities));
    let waiting = Mutex::new(Vec::new());
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            let id = &message["id"];
            let done = |id: &Value| json!({"jsonrpc": "2.0", "id": id, "result": {}});
            let gone = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32002, "message": "Resource not found"}});
            match (message["method"].as_str().unwrap_or_default(), message["params"]["uri"].as_str()) {
                ("vendor/exit", _) => process.exit(0),
                ("resources/subscribe", Some("demo://gone")) if process.n > 0 => process.send(&gone),
                ("logging/setLevel", _) if process.n > 0 => process.send(&gone),
                ("resources/subscribe", _) if process.n > 0 => {
                    // The first one is answered after the second one has come.
                    let mut waiting = waiting.lock().unwrap();
                    waiting.push(id.clone());
                    if waiting.len() == 2 {
                        waiting.iter().for_each(|id| process.send(&done(id)));
                    }
                }
                ("resources/subscribe" | "logging/setLevel", _) => process.send(&done(id)),
                _ => crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message)),
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.request("level", "logging/setLevel", json!({"level": "debug"}));
    for uri in ["demo://a", "demo://b", "demo://gone"] {
        client.request(uri, "resources/subscribe", json!({"uri": uri}));
    }
    client.error(1, "vendor/exit", json!({}));
    client.ask(2, "resources/list", json!({}));
    for uri in ["demo://a", "demo://b", "demo://gone"] {
        assert_eq!(client.next()["params"]["uri"], uri);
    }
    client.response(2);
    client.end().stderr_is(
        "mcpipe: warning: lost the connection to the server: the server process ended (exit status: 0)\n\
         mcpipe: warning: connected to the server again\n\
         mcpipe: warning: cannot set the log level: the server refused logging/setLevel: Resource not found (code -32002)\n\
         mcpipe: warning: cannot subscribe to demo://gone: the server refused resources/subscribe: Resource not found \
         (code -32002)\n",
    );
}

#[test]
fn a_request_without_effects_is_repeated_once() {
    let server = exiting();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.ask(1, "prompts/list", json!({}));
    assert_eq!(client.next()["method"], "notifications/tools/list_changed");
    assert_eq!(client.response(1)["result"]["prompts"][0]["name"], "greet");
    let error = client.error(2, "vendor/exit", json!({}));
    assert_eq!(error["message"], "the server process ended (exit status: 3)");
    client.end();
    assert_eq!(server.wait_until_all_ended().len(), 2);
}

#[test]
fn a_server_that_cannot_be_started_is_named_in_each_error() {
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &["./gone"]);
    for id in 1..=2 {
        let error = client.error(
            id,
            "initialize",
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}),
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.starts_with("cannot start './gone'"), "{message}");
    }
    client.end();
}

/// An HTTP server that can be stopped and started at the same address.
fn echo_at(address: &str, mcp: Mcp) -> HttpServer {
    let script = mcp.http_script(LegacyHttpOptions::default());
    // Connections that are open already would be served on.
    HttpServer::start_at(address, move |request| script(request).until_close())
}

#[test]
fn a_server_that_is_back_is_used_again() {
    for mcp in [Mcp::modern, || Mcp::legacy("2025-11-25")] {
        let server = echo_at("127.0.0.1:0", mcp());
        let (address, url) = (server.address(), server.url("/mcp"));
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&url]);
        client.initialize(json!({}));
        assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "a"})))), "a");
        drop(server);
        for id in 2..=3 {
            let error = client.error(id, "tools/call", call("echo", json!({"text": "b"})));
            assert_eq!((&error["code"], &error["data"]["class"]), (&json!(-32603), &json!("unreachable")));
            let message = error["message"].as_str().unwrap();
            assert!(message.starts_with(&format!("cannot connect to {url}: Connection refused")), "{message}");
        }
        let server = echo_at(&address.to_string(), mcp());
        assert_eq!(text_of(&client.request(4, "tools/call", call("echo", json!({"text": "c"})))), "c");
        client.end();
        let called = |request: &&Request| request.rpc_method() == "tools/call";
        assert_eq!(server.requests().iter().filter(called).count(), 1);
    }
}

#[test]
fn a_call_during_which_an_http_connection_breaks_is_not_repeated() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let script = mcp.http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
            "tools/call" if request.text().contains("\"cut\"") => Reply::disconnect(),
            _ => script(request),
        });
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
        client.initialize(json!({}));
        let error = client.error(1, "tools/call", call("echo", json!({"text": "cut"})));
        assert_eq!((&error["code"], &error["data"]["class"]), (&json!(-32603), &json!("unreachable")));
        assert!(error["message"].as_str().unwrap().contains("the tool may have run"), "{error}");
        assert_eq!(text_of(&client.request(2, "tools/call", call("echo", json!({"text": "b"})))), "b");
        client.end();
        let cut = |request: &&Request| request.text().contains("\"cut\"");
        assert_eq!(server.requests().iter().filter(cut).count(), 1);
    }
}

#[test]
fn a_websocket_that_broke_is_opened_again() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let script = mcp.ws_script();
        let server = WebSocketServer::start(move |peer, event| match event {
            WebSocketEvent::Text(text) if text.contains("\"cut\"") => peer.disconnect(),
            _ => script(peer, event),
        });
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&server.url("/ws")]);
        client.initialize(json!({}));
        let error = client.error(1, "tools/call", call("echo", json!({"text": "cut"})));
        assert_eq!((&error["code"], &error["data"]["class"]), (&json!(-32603), &json!("unreachable")));
        assert!(error["message"].as_str().unwrap().contains("the tool may have run"), "{error}");
        assert_eq!(text_of(&client.request(2, "tools/call", call("echo", json!({"text": "b"})))), "b");
        client.end().stderr_contains("mcpipe: warning: connected to the server again\n");
        assert_eq!(server.handshakes().len(), 2);
        assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 2);
    }
}

#[test]
fn a_subscription_to_changes_that_ended_is_requested_again_and_changes_in_between_are_reported() {
    let subscriptions = AtomicUsize::new(0);
    let feed = Feed::default();
    let mcp = Mcp::modern().capabilities(json!({"tools": {"listChanged": true}, "resources": {}}));
    let script = mcp.http_script(LegacyHttpOptions::default());
    let opened = feed.clone();
    let server = HttpServer::start(move |request| {
        if request.rpc_method() != "subscriptions/listen" {
            return script(request);
        }
        let notification = |method: &str, mut params: Value| {
            params["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": request.id()});
            json!({"jsonrpc": "2.0", "method": method, "params": params})
        };
        let filter = request.json()["params"]["notifications"].clone();
        let accepted = notification("notifications/subscriptions/acknowledged", json!({"notifications": filter}));
        let stream = Reply::sse().event(&accepted);
        let changed = notification("notifications/tools/list_changed", json!({}));
        match subscriptions.fetch_add(1, Ordering::SeqCst) {
            0 => stream.then_stall(),
            1 => stream.event(&changed).feed(&opened),
            // As behind a proxy that ends streams, but sooner.
            2..5 => stream.pause(Duration::from_millis(1200)),
            _ => stream.then_stall(),
        }
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    server.wait_for("the subscription", |request| request.rpc_method() == "subscriptions/listen");
    client.request(1, "resources/subscribe", json!({"uri": "demo://a"}));
    assert_eq!(client.next()["method"], "notifications/tools/list_changed");
    // Longer than the first pause, so that the next one is not longer.
    std::thread::sleep(Duration::from_millis(1100));
    feed.end();
    let ended = Instant::now();
    for _ in 0..4 {
        assert_eq!(client.next(), json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
        let updated =
            json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "demo://a"}});
        assert_eq!(client.next(), updated);
    }
    // Three streams and four pauses of a second.
    assert!(ended.elapsed() < Duration::from_secs(11), "{:?}", ended.elapsed());
    client.end();
    let listens = |request: &&Request| request.rpc_method() == "subscriptions/listen";
    assert_eq!(server.requests().iter().filter(listens).count(), 6);
}

/// A legacy server whose session has the number that the test sets, and the bridge in front of it.
fn forgetful() -> (HttpServer, Arc<AtomicUsize>) {
    let sessions = Arc::new(AtomicUsize::new(1));
    let counted = sessions.clone();
    let mcp = Mcp::legacy("2025-11-25").on("resources/subscribe", |call| call.result(json!({})));
    let script = mcp.http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| {
        let current = format!("s{}", counted.load(Ordering::SeqCst));
        if request.method == "POST" && request.rpc_method() == "initialize" {
            return script(request).header("Mcp-Session-Id", &current);
        }
        if request.header("mcp-session-id") != Some(&current) {
            return Reply::text("text/plain", "no such session").with_status(404);
        }
        script(&request.without_header("Mcp-Session-Id"))
    });
    (server, sessions)
}

#[test]
fn a_forgotten_session_is_opened_again_and_the_refused_call_repeated() {
    let (server, sessions) = forgetful();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    client.request(1, "tools/call", call("echo", json!({"text": "a"})));
    sessions.store(2, Ordering::SeqCst);
    assert_eq!(text_of(&client.request(2, "tools/call", call("echo", json!({"text": "b"})))), "b");
    // A message that is too large to be kept is not repeated, but the next one is sent in a new session.
    sessions.store(3, Ordering::SeqCst);
    let large = call("echo", json!({"text": "x".repeat(70_000)}));
    let error = client.error(3, "tools/call", large.clone());
    assert_eq!(
        error["message"],
        "the server no longer knows its session (HTTP 404 for tools/call): another one was opened, but the request is \
         too large to be kept and sent again (hint: send it again)"
    );
    assert_eq!(text_of(&client.request(4, "tools/call", large)).len(), 70_000);
    client.end();
}

#[test]
fn a_subscription_is_made_in_a_new_session_if_the_server_has_forgotten_its_session() {
    let (server, sessions) = forgetful();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.request(1, "tools/call", modern(call("echo", json!({"text": "a"})), json!({})));
    sessions.store(2, Ordering::SeqCst);
    let filter = json!({"notifications": {"resourceSubscriptions": ["demo://a"]}});
    client.ask("L", "subscriptions/listen", modern(filter, json!({})));
    assert_eq!(client.next()["method"], "notifications/subscriptions/acknowledged");
    // What may have changed in between.
    assert_eq!(client.next()["method"], "notifications/resources/updated");
    client.end().stderr_is("mcpipe: warning: connected to the server again\n");
    let subscribes = |request: &Request| request.rpc_method() == "resources/subscribe";
    server.wait_for("a subscription", |request| subscribes(request) && request.header("mcp-session-id") == Some("s2"));
}

#[test]
fn a_session_that_cannot_be_opened_again_at_once_is_opened_by_a_later_request() {
    let options = LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() };
    let script = Mcp::legacy("2025-11-25").http_script(options);
    let (forgets, is_busy) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let both = std::sync::Barrier::new(2);
    let server = HttpServer::start({
        let (forgets, is_busy) = (forgets.clone(), is_busy.clone());
        move |request| {
            if request.rpc_method() == "tools/call" && forgets.load(Ordering::SeqCst) {
                is_busy.store(true, Ordering::SeqCst);
                both.wait();
                return Reply::text("text/plain", "no such session").with_status(404);
            }
            if is_busy.load(Ordering::SeqCst) {
                // The other call has been refused too.
                std::thread::sleep(Duration::from_millis(500));
                return Reply::text("text/plain", "restarting").with_status(503);
            }
            script(request)
        }
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    client.request(1, "tools/call", call("echo", json!({"text": "a"})));
    forgets.store(true, Ordering::SeqCst);
    client.ask(2, "tools/call", call("echo", json!({"text": "b"})));
    client.ask("other", "tools/call", call("echo", json!({"text": "b"})));
    for _ in 0..2 {
        let error = client.next()["error"].clone();
        assert_eq!(
            error["message"].as_str().unwrap().split(" (hint").next(),
            Some(
                "the server failed (HTTP 503): response: restarting: the server no longer knows its session, and no \
                 other one could be opened"
            )
        );
    }
    forgets.store(false, Ordering::SeqCst);
    is_busy.store(false, Ordering::SeqCst);
    assert_eq!(text_of(&client.request(3, "tools/call", call("echo", json!({"text": "c"})))), "c");
    client.end();
}

/// A server need not accept a request before `notifications/initialized`.
#[test]
fn requests_wait_until_a_session_is_open_again() {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    // The number of the session, and whether it is open.
    let state = Arc::new(Mutex::new((0, false)));
    let server = HttpServer::start({
        let state = state.clone();
        move |request| {
            let (session, is_open) = *state.lock().unwrap();
            match request.rpc_method().as_str() {
                "initialize" => script(request).header("Mcp-Session-Id", &format!("s{session}")),
                "notifications/initialized" => {
                    std::thread::sleep(Duration::from_millis(100));
                    state.lock().unwrap().1 = true;
                    script(&request.without_header("Mcp-Session-Id"))
                }
                "tools/call" if request.header("mcp-session-id") != Some(&format!("s{session}")) => {
                    Reply::text("text/plain", "no such session").with_status(404)
                }
                "tools/call" if !is_open => Reply::status(400),
                _ => script(&request.without_header("Mcp-Session-Id")),
            }
        }
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    client.request(0, "tools/call", call("echo", json!({"text": "x"})));
    *state.lock().unwrap() = (1, false);
    for id in 1..=10 {
        client.ask(id, "tools/call", call("echo", json!({"text": "x"})));
    }
    for _ in 1..=10 {
        assert_eq!(text_of(&client.next()["result"]), "x");
    }
    client.end();
}

#[test]
fn calls_at_the_same_time_survive_a_forgotten_session() {
    let (server, sessions) = forgetful();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    for round in 0..4 {
        sessions.fetch_add(1, Ordering::SeqCst);
        for n in 0..30 {
            client.ask(n, "tools/call", call("echo", json!({"text": format!("{round} {n}")})));
        }
        for _ in 0..30 {
            let message = client.next();
            assert_eq!(text_of(&message["result"]), format!("{round} {}", message["id"]), "{message}");
        }
    }
    client.end();
    assert_eq!(server.requests().iter().filter(|request| request.rpc_method() == "initialize").count(), 5);
}

#[test]
fn a_stream_for_the_messages_of_the_server_that_was_refused_for_a_while_is_opened_again() {
    let (first, feed, streams) = (Feed::default(), Feed::default(), AtomicUsize::new(0));
    let mcp = Mcp::legacy("2025-11-25").capabilities(json!({"tools": {"listChanged": true}}));
    let options = LegacyHttpOptions { get_stream: Some(feed.clone()), ..LegacyHttpOptions::default() };
    let script = mcp.http_script(options);
    let opened = first.clone();
    let server = HttpServer::start(move |request| match request.method.as_str() {
        "GET" => match streams.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::sse().write("retry: 1\n\n").feed(&opened),
            1 => Reply::status(401),
            _ => script(request),
        },
        _ => script(request),
    });
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
    client.initialize(json!({}));
    // After the stream has been opened.
    client.request(1, "tools/list", json!({}));
    first.end();
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    // What was missed.
    assert_eq!(client.next(), changed);
    feed.event(&changed);
    assert_eq!(client.next(), changed);
    client.end();
}

#[test]
fn changes_are_reported_when_the_stream_for_the_messages_of_the_server_is_open_again_and_not_before() {
    // As many that the task that opens it gives up, and another one begins.
    for refusals in [0, 7] {
        let (first, second, streams) = (Feed::default(), Feed::default(), Arc::new(AtomicUsize::new(0)));
        let is_down = Arc::new(AtomicBool::new(refusals > 0));
        let mcp = Mcp::legacy("2025-11-25").capabilities(json!({"tools": {"listChanged": true}}));
        let script = mcp.http_script(LegacyHttpOptions::default());
        let server = HttpServer::start({
            let (first, streams, is_down) = (first.clone(), streams.clone(), is_down.clone());
            move |request| match request.method.as_str() {
                "GET" => match streams.fetch_add(1, Ordering::SeqCst) {
                    0 => Reply::sse().write("retry: 1\n\n").feed(&first),
                    _ if is_down.load(Ordering::SeqCst) => Reply::status(503),
                    _ => Reply::sse().write(": open\n\n").feed(&second),
                },
                _ => script(request),
            }
        });
        let sandbox = Sandbox::new();
        let mut client = BridgeClient::start(&sandbox, &[&server.url("/mcp")]);
        client.initialize(json!({}));
        client.request(1, "tools/list", json!({}));
        first.end();
        if refusals > 0 {
            let end = Instant::now() + Duration::from_secs(60);
            while streams.load(Ordering::SeqCst) <= refusals {
                assert!(Instant::now() < end, "the stream is not requested again");
                std::thread::sleep(Duration::from_millis(10));
            }
            // `listen` waits as long as this for the stream.
            std::thread::sleep(Duration::from_millis(500));
            client.request(2, "tools/list", json!({}));
            is_down.store(false, Ordering::SeqCst);
        }
        assert_eq!(client.next(), json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
        client.end();
    }
}

#[test]
fn a_second_initialize_does_not_repeat_a_request_that_only_reads() {
    let server = Mcp::legacy("2025-11-25").on("tools/list", |_| Vec::new()).stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({}));
    client.ask(1, "tools/list", json!({}));
    let listed = |all: &[ServerProcessLog]| {
        all.iter().flat_map(ServerProcessLog::methods).filter(|method| *method == "tools/list").count()
    };
    server.wait_for("the request", |all| listed(all) == 1);
    client.ask("init", "initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}}));
    assert_eq!(client.response(1)["error"]["message"], "the connection was closed");
    assert!(client.response("init")["result"].is_object());
    client.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    assert_eq!(text_of(&client.request(1, "tools/call", call("echo", json!({"text": "hi"})))), "hi");
    client.end();
    assert_eq!(listed(&server.wait_until_all_ended()), 1);
}

/// As from a program that passes on what several clients send.
#[test]
fn a_second_initialize_ends_what_is_under_way() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |_| vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": "q", "method": "roots/list"}))])
        .stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    client.initialize(json!({"roots": {}}));
    client.ask(1, "tools/call", call("echo", json!({})));
    let question = client.next();
    client.ask("init", "initialize", json!({"protocolVersion": "2025-11-25", "capabilities": {}}));
    let mut got = [client.next(), client.next(), client.next()];
    got.sort_by_key(|message| message["id"].to_string());
    let error = &got[1]["error"];
    assert_eq!(
        (&got[0]["id"], &got[1]["id"], &got[2]["params"]["requestId"]),
        (&json!("init"), &json!(1), &question["id"]),
        "{got:?}"
    );
    assert_eq!(error["message"], "the connection was closed: the tool may have run");
    client.end();
}

#[test]
fn a_subscription_after_a_second_initialize_reaches_a_modern_server() {
    let capabilities = json!({"tools": {"listChanged": true}, "resources": {}});
    let server = Mcp::modern().capabilities(capabilities).on("subscriptions/listen", |_| Vec::new()).stdio();
    let sandbox = Sandbox::new();
    let mut client = BridgeClient::start(&sandbox, &[&server.target()]);
    for n in 1..=2 {
        client.initialize(json!({}));
        server.wait_for("a subscription", |all| {
            let methods = all.iter().flat_map(ServerProcessLog::methods);
            methods.filter(|method| *method == "subscriptions/listen").count() == n
        });
    }
    client.request(1, "resources/subscribe", json!({"uri": "demo://a"}));
    server.wait_for("the resource", |all| {
        all.iter()
            .flat_map(ServerProcessLog::messages)
            .any(|message| message["params"]["notifications"]["resourceSubscriptions"] == json!(["demo://a"]))
    });
    client.end();
}
