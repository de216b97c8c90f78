//! `--watch`: prints the current state and every change, in both eras, until interrupted; reconnects if necessary.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use expect_test::expect;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::mcp::ServerAction;
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{Feed, HttpServer, Mcp, ProcessEvent, Reply, Sandbox, StdioServer, real};

/// A server whose resource reads `v0`, `v1`, … each time it is read.
fn counting(mcp: Mcp) -> Mcp {
    let mcp = mcp.capabilities(json!({"resources": {"subscribe": true, "listChanged": true},
        "tools": {"listChanged": true}, "prompts": {"listChanged": true}}));
    mcp.on("resources/read", |call| {
        let contents = json!([{"uri": call.params()["uri"], "text": format!("v{}", call.n)}]);
        call.result(json!({ "contents": contents }))
    })
}

fn updated(uri: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})
}

/// The same for subscriptions.
fn on_subscription(id: &Value, mut notification: Value) -> Value {
    notification["params"]["_meta"] = json!({"io.modelcontextprotocol/subscriptionId": id});
    notification
}

fn acknowledged(id: &Value, notifications: Value) -> Value {
    let method = "notifications/subscriptions/acknowledged";
    on_subscription(id, json!({"jsonrpc": "2.0", "method": method, "params": {"notifications": notifications}}))
}

/// A modern server over HTTP whose subscriptions are played by `listen`, which gets their number.
fn listening(mcp: Mcp, listen: impl Fn(usize, &Value) -> Reply + Send + Sync + 'static) -> HttpServer {
    let script = mcp.http_script(LegacyHttpOptions::default());
    let count = AtomicUsize::new(0);
    HttpServer::start(move |request| {
        if request.rpc_method() == "subscriptions/listen" {
            return listen(count.fetch_add(1, Ordering::SeqCst), &request.json());
        }
        script(request)
    })
}

#[test]
fn a_resource_over_modern_http() {
    let feed = Feed::default();
    let stream = feed.clone();
    let server = listening(counting(Mcp::modern()), move |_, message| {
        let ack = acknowledged(&message["id"], message["params"]["notifications"].clone());
        Reply::sse().event(&ack).feed(&stream)
    });
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "demo://a", "--watch"]).start();
    run.wait_for_stdout("v0\n");
    let listen = server.wait_for("a subscription", |request| request.rpc_method() == "subscriptions/listen");
    // STD-07: events of another subscription are ignored; a comment keeps the stream alive.
    feed.send(": still here\n\n");
    feed.event(&on_subscription(&json!(77), updated("demo://a")));
    feed.event(&on_subscription(&listen.id(), updated("demo://a")));
    run.wait_for_stdout("v0\nv1\n");
    feed.event(&on_subscription(&json!(listen.id().to_string()), updated("demo://a")));
    run.wait_for_stdout("v0\nv1\nv2\n");
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130).prints("v0\nv1\nv2\n");
    assert_eq!(run.stderr(), "");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(
        listen.text().replace(version, "VERSION"),
        concat!(
            r#"{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen","params":{"notifications":{"resourceSubscriptions":["demo://a"]},"#,
            r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#
        )
    );
    // HTM-09: closing the stream ends the subscription.
    assert!(!server.exchanges().iter().any(|title| title.contains("cancelled")), "{:?}", server.exchanges());
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while server.abandoned() != [listen.n] {
        feed.send(": anybody there?\n\n");
        assert!(std::time::Instant::now() < end, "the stream was not closed: {:?}", server.abandoned());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_resource_over_modern_stdio() {
    let server = counting(Mcp::modern())
        .on("subscriptions/listen", |call| {
            let id = call.id();
            vec![
                ServerAction::Send(acknowledged(&id, call.params()["notifications"].clone())),
                ServerAction::Pause(Duration::from_millis(100)),
                ServerAction::Send(on_subscription(&json!(1000), updated("demo://a"))),
                ServerAction::Send(on_subscription(&id, updated("demo://a"))),
            ]
        })
        .stdio();
    let run = Sandbox::new().mcpipe(["read", &server.target(), "demo://a", "--watch", "--json"]).start();
    let document = |n| format!(r#"{{"contents":[{{"text":"v{n}","uri":"demo://a"}}],"resultType":"complete"}}"#);
    let line = |n| {
        // The order of members is that of the scripted server.
        let text = document(n);
        let value: Value = serde_json::from_str(&text).unwrap();
        value
    };
    server.wait_for("the second reading", |all| {
        all.first().is_some_and(|seen| seen.methods().iter().filter(|method| *method == "resources/read").count() == 2)
    });
    std::thread::sleep(Duration::from_millis(100));
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130);
    assert_eq!(run.stderr(), "");
    let documents: Vec<Value> = run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents, [line(0), line(1)]);
    let seen = server.single_process();
    // STD-05: over stdio a notification ends it.
    assert_eq!(
        seen.methods(),
        ["server/discover", "subscriptions/listen", "resources/read", "resources/read", "notifications/cancelled"]
    );
    let last = seen.text().lines().last().unwrap().to_owned();
    assert_eq!(
        last,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":2,"reason":"interrupted"}}"#
    );
}

#[test]
fn a_resource_over_legacy_stdio() {
    let server = counting(Mcp::legacy("2025-06-18"))
        .on("resources/subscribe", |call| {
            let mut outs = call.result(json!({}));
            if call.n > 0 {
                return outs;
            }
            outs.push(ServerAction::Pause(Duration::from_millis(100)));
            // Another resource, and a part of the watched one.
            outs.push(ServerAction::Send(updated("demo://b")));
            outs.push(ServerAction::Send(updated("demo://a/part")));
            outs
        })
        .on("resources/unsubscribe", |call| call.result(json!({})))
        .stdio();
    let sandbox = Sandbox::new();
    let args = ["read", &server.target(), "demo://a", "demo://c", "--watch", "--json", "--protocol", "2025-06-18"];
    let run = sandbox.mcpipe(args).start();
    server.wait_for("the third reading", |all| {
        all.first().is_some_and(|seen| seen.methods().iter().filter(|method| *method == "resources/read").count() == 3)
    });
    std::thread::sleep(Duration::from_millis(100));
    run.signal(Signal::TERM);
    let run = run.wait();
    run.exits(143).prints(concat!(
        r#"{"uri":"demo://a","result":{"contents":[{"uri":"demo://a","text":"v0"}]}}"#,
        "\n",
        r#"{"uri":"demo://c","result":{"contents":[{"uri":"demo://c","text":"v1"}]}}"#,
        "\n",
        r#"{"uri":"demo://a","result":{"contents":[{"uri":"demo://a","text":"v2"}]}}"#,
        "\n",
    ));
    assert_eq!(run.stderr(), "");
    let text = server.single_process().text().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}
        {"jsonrpc":"2.0","method":"notifications/initialized"}
        {"jsonrpc":"2.0","id":2,"method":"resources/subscribe","params":{"uri":"demo://a"}}
        {"jsonrpc":"2.0","id":3,"method":"resources/subscribe","params":{"uri":"demo://c"}}
        {"jsonrpc":"2.0","id":4,"method":"resources/read","params":{"uri":"demo://a","_meta":{"progressToken":4}}}
        {"jsonrpc":"2.0","id":5,"method":"resources/read","params":{"uri":"demo://c","_meta":{"progressToken":5}}}
        {"jsonrpc":"2.0","id":6,"method":"resources/read","params":{"uri":"demo://a","_meta":{"progressToken":6}}}
        {"jsonrpc":"2.0","id":7,"method":"resources/unsubscribe","params":{"uri":"demo://a"}}
        {"jsonrpc":"2.0","id":8,"method":"resources/unsubscribe","params":{"uri":"demo://c"}}
    "#]]
    .assert_eq(&text);
}

#[test]
fn a_resource_over_legacy_http() {
    let feed = Feed::default();
    let behave = LegacyHttpOptions { session_id: Some("s"), get_stream: Some(feed.clone()), always_streams: false };
    let server = counting(Mcp::legacy("2025-11-25"))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |call| call.result(json!({})))
        .http_as(behave);
    let args = ["read", &server.url("/mcp"), "demo://a", "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).start();
    run.wait_for_stdout("v0\n");
    feed.event(&updated("demo://a"));
    run.wait_for_stdout("v0\nv1\n");
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130).prints("v0\nv1\n");
    assert_eq!(run.stderr(), "");
    assert_eq!(
        server.exchanges(),
        [
            "POST initialize",
            "POST notifications/initialized",
            "GET",
            "POST resources/subscribe",
            "POST resources/read",
            "POST resources/read",
            "POST resources/unsubscribe",
            "DELETE"
        ]
    );
}

/// MSG-12: a stream that ends by a result, a cancelled notification, its end or a broken connection is opened again;
/// changes meanwhile are printed, and unchanged resources are not.
#[test]
fn a_stream_may_end_in_every_way() {
    let texts = Arc::new(AtomicUsize::new(0));
    let text = texts.clone();
    let mcp = counting(Mcp::modern()).on("resources/read", move |call| {
        let contents = json!([{"uri": "demo://a", "text": format!("t{}\n", text.load(Ordering::SeqCst))}]);
        call.result(json!({ "contents": contents }))
    });
    let changes = texts.clone();
    let server = listening(mcp, move |n, message| {
        let id = &message["id"];
        let ack = acknowledged(id, message["params"]["notifications"].clone());
        let begin = Reply::sse().event(&ack).pause(Duration::from_millis(50));
        let result = json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete"}});
        let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}});
        if n == 2 {
            changes.store(1, Ordering::SeqCst);
        }
        match n {
            0 => begin.event(&result),
            1 => begin.event(&cancelled).then_stall(),
            2 => begin,
            _ => begin.then_stall(),
        }
    });
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "demo://a", "--watch"]).start();
    run.wait_for_stdout("t0\nt1\n");
    let listens =
        |server: &HttpServer| server.exchanges().iter().filter(|title| *title == "POST subscriptions/listen").count();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while listens(&server) < 4 {
        assert!(std::time::Instant::now() < end, "no fourth subscription: {}", run.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130).prints("t0\nt1\n");
    assert_eq!(run.stderr().matches("the server ended the subscription; retrying in ").count(), 2, "{run:?}");
    assert_eq!(run.stderr().matches("ended before the response; retrying in ").count(), 1, "{run:?}");
}

#[test]
fn a_server_that_dies_is_started_again() {
    let mcp = Arc::new(counting(Mcp::legacy("2025-11-25")).on("resources/subscribe", |call| call.result(json!({}))));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
            if process.n == 0 && message["method"] == "resources/read" {
                process.exit(3);
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let args = ["read", &server.target(), "demo://a", "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).start();
    run.wait_for_stdout("v0\nv1\n");
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130).stderr_contains("retrying in ");
    let all = server.wait_until_all_ended();
    assert_eq!(all.len(), 2);
    assert_eq!(
        all[1].methods(),
        ["initialize", "notifications/initialized", "resources/subscribe", "resources/read", "resources/unsubscribe"]
    );
}

#[test]
fn a_forgotten_session_is_begun_anew() {
    let feed = Feed::default();
    let script = counting(Mcp::legacy("2025-11-25")).on("resources/subscribe", |call| call.result(json!({})));
    let script = script.http_script(LegacyHttpOptions {
        session_id: Some("s"),
        get_stream: Some(feed.clone()),
        always_streams: false,
    });
    let gets = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.method.as_str() {
        // The first stream breaks, and the session ends with it.
        "GET" => match gets.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::sse().write("id: g1\nretry: 10\n\n").pause(Duration::from_millis(100)).then_disconnect(),
            1 => Reply::status(404),
            _ => script(request),
        },
        _ => script(request),
    });
    let args = ["read", &server.url("/mcp"), "demo://a", "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).start();
    run.wait_for_stdout("v0\nv1\n");
    feed.event(&updated("demo://a"));
    run.wait_for_stdout("v0\nv1\nv2\n");
    run.signal(Signal::INT);
    run.wait().exits(130).stderr_contains("the stream for notifications of changes was closed; retrying in ");
    let subscriptions = server.exchanges().into_iter().filter(|title| title == "POST resources/subscribe").count();
    assert_eq!(subscriptions, 2);
    let requests = server.requests();
    let second = requests.iter().filter(|request| request.method == "GET").nth(1).unwrap();
    assert_eq!(second.header("last-event-id"), Some("g1"));
}

/// The session is lost between two subscriptions, and its stream is opened again at once because roots are offered.
#[test]
fn a_session_that_is_renewed_while_subscribing_loses_no_subscription() {
    let script = counting(Mcp::legacy("2025-11-25")).on("resources/subscribe", |call| call.result(json!({})));
    let script = script.http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let subscriptions = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        _ if request.method == "GET" => Reply::sse().write(": here\n\n").then_stall(),
        "resources/subscribe" if subscriptions.fetch_add(1, Ordering::SeqCst) == 1 => Reply::status(404),
        _ => script(request),
    });
    let url = server.url("/mcp");
    let args = ["read", &url, "demo://a", "demo://b", "--watch", "--protocol", "legacy", "--root", "."];
    let run = Sandbox::new().mcpipe(args).start();
    run.wait_for_stdout("v0\nv1\nv2\nv3\n");
    run.signal(Signal::INT);
    run.wait().exits(130).stderr_contains("the session has expired; retrying in ");
    let subscribed = server.requests().into_iter().filter(|request| request.rpc_method() == "resources/subscribe");
    let uris: Vec<Value> = subscribed.map(|request| request.json()["params"]["uri"].clone()).collect();
    assert_eq!(uris, ["demo://a", "demo://b", "demo://b", "demo://a", "demo://b"]);
}

/// The session is lost at a read, and cannot be opened again at once.
#[test]
fn a_watch_goes_on_after_a_session_that_could_not_be_opened_again() {
    let feed = Feed::default();
    let script = counting(Mcp::legacy("2025-11-25")).on("resources/subscribe", |call| call.result(json!({})));
    let script = script.http_script(LegacyHttpOptions {
        session_id: Some("s"),
        get_stream: Some(feed.clone()),
        always_streams: false,
    });
    let (reads, initializes) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "resources/read" if reads.fetch_add(1, Ordering::SeqCst) == 1 => Reply::status(404),
        "initialize" if initializes.fetch_add(1, Ordering::SeqCst) == 1 => Reply::status(503),
        _ => script(request),
    });
    let args = ["read", &server.url("/mcp"), "demo://a", "--watch", "--protocol", "legacy", "--retries", "0"];
    let run = Sandbox::new().mcpipe(args).start();
    run.wait_for_stdout("v0\n");
    feed.event(&updated("demo://a"));
    run.wait_for_stdout("v0\nv1\n");
    run.signal(Signal::INT);
    run.wait().exits(130).stderr_contains("retrying in ");
}

#[test]
fn a_version_that_the_filter_refuses_does_not_end_the_watch() {
    let feed = Feed::default();
    let stream = feed.clone();
    let mcp = counting(Mcp::modern()).on("resources/read", |call| {
        let text = if call.n == 1 { "{".to_owned() } else { format!("{{\"n\":{}}}", call.n) };
        call.result(json!({"contents": [{"uri": call.params()["uri"], "text": text}]}))
    });
    let server = listening(mcp, move |_, message| {
        let ack = acknowledged(&message["id"], message["params"]["notifications"].clone());
        Reply::sse().event(&ack).feed(&stream)
    });
    let words = ["read", &server.url("/mcp"), "demo://a", "--watch", "--jq", ".contents[0].text | fromjson | .n"];
    let run = Sandbox::new().mcpipe(words).start();
    run.wait_for_stdout("0\n");
    let listen = server.wait_for("a subscription", |request| request.rpc_method() == "subscriptions/listen");
    for _ in 0..2 {
        feed.event(&on_subscription(&listen.id(), updated("demo://a")));
        std::thread::sleep(Duration::from_millis(300));
    }
    run.wait_for_stdout("0\n2\n");
    run.signal(Signal::INT);
    run.wait().exits(130).stderr_contains("--jq: the filter failed on the result");
}

#[test]
fn a_resource_that_goes_and_comes_back() {
    let server = counting(Mcp::legacy("2025-11-25"))
        .on("resources/subscribe", |call| {
            let mut outs = call.result(json!({}));
            for _ in 0..2 {
                outs.push(ServerAction::Pause(Duration::from_millis(100)));
                outs.push(ServerAction::Send(updated("demo://a")));
            }
            outs
        })
        .on("resources/read", |call| match call.n {
            1 => call.error(-32002, "Resource not found"),
            n => call.result(json!({"contents": [{"uri": "demo://a", "text": format!("v{n}\n")}]})),
        })
        .stdio();
    let args = ["read", &server.target(), "demo://a", "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).start();
    run.wait_for_stdout("v0\nv2\n");
    run.signal(Signal::INT);
    run.wait().exits(130).stderr_contains("the server refused resources/read: Resource not found (code -32002)");
}

#[test]
fn a_resource_that_is_not_there_ends_it() {
    let server = counting(Mcp::legacy("2025-11-25"))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/read", |call| call.error(-32002, "Resource not found"))
        .stdio();
    let args = ["read", &server.target(), "demo://x", "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).run();
    run.exits(1).prints("").stderr_contains("Resource not found (code -32002)");
}

/// A watch that cannot be notified fails at once.
#[test]
fn a_server_that_tells_nothing_is_no_use() {
    let watch = |target: &str, more: &[&str]| {
        Sandbox::new().mcpipe(["read", target, "demo://a", "--watch"]).args(more.iter().copied()).run()
    };
    // It does not support subscriptions.
    let server = Mcp::modern().http();
    watch(&server.url("/mcp"), &[]).exits(1).stderr_contains("it does not support subscriptions/listen");
    // ERA-18: it did not declare them.
    let server = Mcp::legacy("2025-11-25").stdio();
    let run = watch(&server.target(), &["--protocol", "legacy"]);
    run.exits(1).stderr_contains("mcpipe: error: the server does not report changes of demo://a\nhint: ");
    assert_eq!(server.single_process().methods(), ["initialize", "notifications/initialized"]);
    // It has no stream for them.
    let server = counting(Mcp::legacy("2025-11-25")).http();
    let run = watch(&server.url("/mcp"), &["--protocol", "legacy"]);
    run.exits(1).stderr_contains("the server has no stream for notifications of changes");
    // As Python's http.server, which has no method for GET, and as a server that answers it with a document.
    let replies: [fn() -> Reply; 2] = [|| Reply::status(501), || Reply::json(&json!({}))];
    for reply in replies {
        let script = counting(Mcp::legacy("2025-11-25")).http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| if request.method == "GET" { reply() } else { script(request) });
        let run = watch(&server.url("/mcp"), &["--protocol", "legacy"]);
        run.exits(1).stderr_contains("the server has no stream for notifications of changes");
    }
    // MSG-12: it acknowledges less than was requested.
    let ack = |message: &Value, what: Value| Reply::sse().event(&acknowledged(&message["id"], what)).then_stall();
    let server = listening(counting(Mcp::modern()), move |_, message| ack(message, json!({})));
    watch(&server.url("/mcp"), &[])
        .exits(1)
        .prints("")
        .stderr_contains("the server does not report changes of demo://a");
    // It ends the subscription before acknowledging it.
    let server = listening(counting(Mcp::modern()), |_, message| {
        Reply::json(&json!({"jsonrpc": "2.0", "id": message["id"], "result": {"resultType": "complete"}}))
    });
    watch(&server.url("/mcp"), &[]).exits(5).stderr_contains("the server ended the subscription");
    // It never acknowledges the subscription.
    let server = listening(counting(Mcp::modern()), |_, _| Reply::sse().write(": wait\n\n").then_stall());
    let run = watch(&server.url("/mcp"), &["--timeout", "300ms"]);
    run.exits(6).stderr_contains("no acknowledgement of subscriptions/listen within 300 ms");
}

#[test]
fn a_part_that_is_not_watched_is_named() {
    let server = listening(counting(Mcp::modern()), |_, message| {
        let ack = acknowledged(&message["id"], json!({"resourceSubscriptions": ["demo://a"]}));
        Reply::sse().event(&ack).then_stall()
    });
    let run = Sandbox::new().mcpipe(["read", &server.url("/mcp"), "demo://a", "demo://b", "--watch"]).start();
    run.wait_for_stdout("v0\nv1\n");
    run.signal(Signal::INT);
    run.wait().exits(130).stderr_contains("mcpipe: warning: the server does not report changes of demo://b\n");
}

#[test]
fn lists_are_printed_when_they_are_different() {
    let changed = |kind: &str| json!({"jsonrpc": "2.0", "method": format!("notifications/{kind}/list_changed")});
    let tools = |names: &[&str]| -> Value {
        names.iter().map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect()
    };
    let server = |mcp: Mcp| {
        counting(mcp)
            .on("tools/list", move |call| {
                let tools = if call.n < 2 { tools(&["a"]) } else { tools(&["a", "b"]) };
                let mut result = json!({ "tools": tools });
                if call.n > 0 {
                    result["_meta"] = json!({"io.modelcontextprotocol/serverInfo": {"name": "x", "version": "1"}});
                }
                let mut outs = call.result(result);
                outs.push(ServerAction::Pause(Duration::from_millis(50)));
                // The list of prompts is not watched; the list of tools is unchanged at first, and then changes.
                outs.push(ServerAction::Send(changed("prompts")));
                if call.n < 2 {
                    outs.push(ServerAction::Send(changed("tools")));
                }
                outs
            })
            .stdio()
    };
    let plain = server(Mcp::legacy("2025-11-25"));
    let args = ["list", &plain.target(), "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).start();
    run.wait_for_stdout("a\t-\t-\n\na\t-\t-\nb\t-\t-\n");
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130);
    assert_eq!(run.stderr(), "");
    let methods = plain.single_process().methods();
    assert_eq!(methods, ["initialize", "notifications/initialized", "tools/list", "tools/list", "tools/list"]);

    let modern = server(Mcp::modern().on("subscriptions/listen", |call| {
        vec![ServerAction::Send(acknowledged(&call.id(), call.params()["notifications"].clone()))]
    }));
    let run =
        Sandbox::new().mcpipe(["list", &modern.target(), "--watch", "--json", "--prompts", "--grep", "GREET"]).start();
    let prompt = concat!(
        r#"{"prompts":[{"name":"greet","description":"Greets someone","arguments":[{"name":"who","description":"Whom to greet","#,
        r#""required":true},{"name":"tone"}]}]}"#,
        "\n"
    );
    run.wait_for_stdout(prompt);
    run.signal(Signal::INT);
    run.wait().exits(130);
    let seen = modern.single_process();
    let listen = seen.messages().into_iter().find(|message| message["method"] == "subscriptions/listen").unwrap();
    assert_eq!(listen["params"]["notifications"], json!({"promptsListChanged": true}));
}

/// Many changes arrive during a read that is never answered.
#[test]
fn an_interrupt_ends_a_watch_whose_changes_come_faster_than_they_are_read() {
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let last = if mcp.modern { "notifications/cancelled" } else { "resources/unsubscribe" };
        let server = counting(mcp)
            .on("resources/subscribe", |call| call.result(json!({})))
            .on("resources/unsubscribe", |call| call.result(json!({})))
            .on("subscriptions/listen", |call| {
                vec![ServerAction::Send(acknowledged(&call.id(), call.params()["notifications"].clone()))]
            })
            .on("resources/read", |_| {
                let params = json!({"level": "error", "data": "all sent"});
                let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
                let changes = (0..200).map(|_| updated("demo://a"));
                changes.chain([log]).map(ServerAction::Send).collect()
            })
            .stdio();
        for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
            let args = ["read", &server.target(), "demo://a", "--watch", "--log-level", "error"];
            let run = Sandbox::new().mcpipe(args).start();
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while !run.stderr_so_far().contains("all sent") {
                assert!(std::time::Instant::now() < end, "the changes did not arrive: {}", run.stderr_so_far());
                std::thread::sleep(Duration::from_millis(2));
            }
            run.signal(signal);
            run.wait().exits(code).prints("");
        }
        for seen in server.wait_until_all_ended() {
            let methods = seen.methods();
            assert!(methods.iter().rev().take(2).any(|method| method == last), "{methods:?}");
        }
    }
}

/// More changes of one resource arrive during a read than are kept, and then the only one of another.
#[test]
fn a_change_is_not_lost_among_many_of_another_resource() {
    let server = counting(Mcp::legacy("2025-11-25"))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |call| call.result(json!({})))
        .on("resources/read", |call| {
            let uri = call.params()["uri"].as_str().unwrap();
            let text = match (uri, call.n) {
                ("demo://a", _) => "a\n",
                (_, 1) => "old b\n",
                _ => "new b\n",
            };
            let mut outs = Vec::new();
            if call.n == 2 {
                outs.extend((0..1200).map(|_| ServerAction::Send(updated("demo://a"))));
                outs.push(ServerAction::Send(updated("demo://b")));
            }
            outs.extend(call.result(json!({"contents": [{"uri": uri, "text": text}]})));
            if call.n == 1 {
                outs.push(ServerAction::Send(updated("demo://a")));
            }
            outs
        })
        .stdio();
    let args = ["read", &server.target(), "demo://a", "demo://b", "--watch", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).start();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while !run.stdout_so_far().contains("new b\n") {
        assert!(std::time::Instant::now() < end, "the change was lost: {}", run.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130);
    assert!(run.stdout().starts_with("a\nold b\na\n"), "{}", run.stdout());
    assert_eq!(run.stdout().matches("new b").count(), 1);
}

#[test]
fn a_file_is_written_anew() {
    let server = counting(Mcp::legacy("2025-11-25"))
        .on("resources/subscribe", |call| {
            let mut outs = call.result(json!({}));
            outs.push(ServerAction::Pause(Duration::from_millis(50)));
            outs.push(ServerAction::Send(updated("demo://a")));
            outs
        })
        .stdio();
    let sandbox = Sandbox::new();
    let args = ["read", &server.target(), "demo://a", "--watch", "--protocol", "legacy", "-o", "out.txt"];
    let run = sandbox.mcpipe(args).start();
    let file = sandbox.work().join("out.txt");
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while std::fs::read_to_string(&file).unwrap_or_default() != "v1" {
        assert!(std::time::Instant::now() < end, "{}", run.stderr_so_far());
        std::thread::sleep(Duration::from_millis(5));
    }
    run.signal(Signal::INT);
    run.wait().exits(130).prints("");
}

#[test]
fn what_cannot_be_watched_is_a_usage_error() {
    let sandbox = Sandbox::new();
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).run();
    run(&["list", "--watch"]).exits(2).stderr_contains("--watch needs a target");
    run(&["read", "true x", "--watch"]).exits(2).stderr_contains("no resource given");
    run(&["read", "true x", "a:b", "--watch", "--save", "x"]).exits(2);
    run(&["read", "true x", "a:b", "a:c", "--watch", "-o", "x"])
        .exits(2)
        .stderr_contains("-o takes one resource, not several");
    run(&["list", "true x", "--watch", "--skills"]).exits(2);
}

#[test]
fn a_real_modern_server_tells_of_changes() {
    let sandbox = Sandbox::new();
    let words = [
        real::python_program("python"),
        real::real_test_file("sdk.py"),
        "streamable-http".to_owned(),
        "PORT".to_owned(),
    ];
    let server = real::ListeningServer::start(&sandbox, &words, &[]);
    let run = sandbox.mcpipe(["read", &server.url("/mcp"), "demo://touched", "--watch"]).start();
    run.wait_for_stdout("touched 0\n");
    sandbox.mcpipe(["call", &server.url("/mcp"), "touch"]).allow_leftovers().run().succeeds().prints("done\n");
    run.wait_for_stdout("touched 0\ntouched 1\n");
    run.signal(Signal::INT);
    run.wait().exits(130).prints("touched 0\ntouched 1\n");
}

#[test]
fn a_real_legacy_server_is_subscribed_to() {
    let sandbox = Sandbox::new();
    let words = real::everything_server();
    let args = ["read", "demo://resource/dynamic/text/1", "--watch", "-v", "--"];
    let run = sandbox.mcpipe(args).args(words).start();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while run.stdout_so_far().is_empty() {
        assert!(std::time::Instant::now() < end, "{}", run.stderr_so_far());
        std::thread::sleep(Duration::from_millis(10));
    }
    run.signal(Signal::INT);
    let run = run.wait();
    run.exits(130)
        .stderr_contains(r#""method":"resources/subscribe""#)
        .stderr_contains(r#""method":"resources/unsubscribe""#);
    assert_eq!(run.stdout().lines().count(), 1);
}
