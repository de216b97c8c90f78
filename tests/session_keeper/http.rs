//! Sessions over HTTP, WebSockets and Unix sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::json;

use super::Sessions;
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::tls::CertificateAuthority;
use crate::support::{Feed, HttpServer, Mcp, Reply, ServerAction, WebSocketEvent, WebSocketServer};

/// The methods of the requests to a server, with the HTTP method of those without a message.
fn methods(server: &HttpServer) -> Vec<String> {
    let title = |request: &crate::support::Request| match request.rpc_method() {
        name if name.is_empty() => request.method.clone(),
        name => name,
    };
    server.requests().iter().map(title).collect()
}

/// A server whose resources can be watched.
fn with_subscriptions() -> Mcp {
    Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "resources": {"subscribe": true}}))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |call| call.result(json!({})))
}

#[test]
fn commands_share_one_http_session() {
    let (server, sessions) = (Mcp::legacy("2025-11-25").http(), Sessions::new());
    let url = server.url("/mcp");
    sessions.start(&url);
    sessions.run(&["call", &url, "echo", "text=one"]).succeeds().prints("one\n");
    sessions.run(&["call", &url, "echo", "text=two"]).succeeds().prints("two\n");
    assert_eq!(sessions.list()[0]["transport"], "http");
    sessions.stop_all();
    let seen = methods(&server);
    let count = |method: &str| seen.iter().filter(|name| *name == method).count();
    assert_eq!((count("initialize"), count("notifications/initialized"), count("DELETE")), (1, 1, 1), "{seen:?}");
    assert_eq!(count("tools/call"), 2);
    for request in server.requests().iter().filter(|request| request.rpc_method() == "tools/call") {
        assert_eq!(request.header("mcp-session-id"), Some("session-1"));
        assert_eq!(request.header("mcp-protocol-version"), Some("2025-11-25"));
    }
}

#[test]
fn requests_to_a_modern_http_server_keep_their_headers() {
    let (server, sessions) = (Mcp::modern().http(), Sessions::new());
    let url = server.url("/mcp");
    sessions.start(&url);
    sessions.run(&["call", &url, "echo", "text=one"]).succeeds().prints("one\n");
    sessions.stop_all();
    let requests = server.requests();
    let call = requests.iter().find(|request| request.rpc_method() == "tools/call").unwrap();
    assert_eq!(call.header("mcp-method"), Some("tools/call"));
    assert_eq!(call.header("mcp-name"), Some("echo"));
    assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
}

/// The keeper answers the messages with which a command finds out the era of the server.
#[test]
fn headers_of_a_message_that_is_answered_from_memory_are_not_sent_with_the_next_one() {
    let (server, sessions) = (Mcp::legacy("2025-11-25").http(), Sessions::new());
    let url = server.url("/mcp");
    sessions.start(&url);
    let file = sessions.sandbox.path().join("run.rec").display().to_string();
    for options in [&["--no-cache"][..], &["--record", &file]] {
        sessions.run(&[&["read", &url, "demo://hello"], options].concat()).succeeds().prints("hello\n");
    }
    let requests = server.requests();
    let reads: Vec<_> = requests.iter().filter(|request| request.rpc_method() == "resources/read").collect();
    assert_eq!(reads.len(), 2);
    for read in reads {
        assert_eq!(read.header("mcp-session-id"), Some("session-1"));
        assert_eq!(read.header("mcp-method"), None);
    }
    sessions.stop_all();
}

#[test]
fn requests_wait_until_the_server_has_accepted_that_the_client_is_initialized() {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let is_ready = AtomicBool::new(false);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "notifications/initialized" => {
            std::thread::sleep(std::time::Duration::from_millis(300));
            is_ready.store(true, Ordering::SeqCst);
            script(request)
        }
        "tools/list" | "tools/call" if !is_ready.load(Ordering::SeqCst) => {
            Reply::text("text/plain", "Received request before initialization was complete").with_status(400)
        }
        _ => script(request),
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.sandbox.config(&format!("[servers.demo]\nurl = \"{url}\"\nkeep_alive = \"1m\"\n"));
    sessions.run(&["call", "demo", "echo", "text=hi", "--protocol", "legacy"]).succeeds().prints("hi\n");
    sessions.stop_all();
}

#[test]
fn another_header_does_not_get_into_a_session() {
    let (server, sessions) = (Mcp::legacy("2025-11-25").http(), Sessions::new());
    let url = server.url("/mcp");
    sessions.run(&["session", "start", &url, "-H", "X-Team: red", "-q"]).succeeds();
    let other = sessions.run(&["call", &url, "echo", "text=hi", "-H", "X-Team: blue"]);
    other.exits(0).stderr_is("not using the session '127.0.0.1': this command differs in the header X-Team\n");
    let other = sessions.run(&["call", &url, "echo", "text=hi", "-H", "X-Team: blue", "--json"]);
    let warning = "{\"warning\":\"not using the session '127.0.0.1': this command differs in the header X-Team\"}\n";
    other.exits(0).stderr_is(warning);
    sessions.run(&["call", &url, "echo", "text=hi", "-H", "X-Team: red"]).succeeds();
    sessions.stop_all();
    let teams = |name: &str| -> Vec<String> {
        let requests = server.requests();
        let of = requests.iter().filter(|request| request.rpc_method() == name);
        of.map(|request| request.header("x-team").unwrap().to_owned()).collect()
    };
    assert_eq!(teams("initialize"), ["red", "blue", "blue"]);
    assert_eq!(teams("tools/call"), ["blue", "blue", "red"]);
}

#[test]
fn a_renewed_client_certificate_is_named_as_the_difference() {
    let authority = CertificateAuthority::new();
    let tls = authority.mutual_tls_config(&authority.server_certificate(&["127.0.0.1"]));
    let server = HttpServer::tls(tls, Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default()));
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    let directory = sessions.sandbox.work();
    let ca = authority.write(&directory);
    let (cert, key) = authority.client_certificate("me").write(&directory, "me");
    let [ca, cert_file, key] = [&ca, &cert, &key].map(|path| path.to_str().unwrap());
    let options = ["--cacert", ca, "--cert", cert_file, "--key", key, "-q"];
    sessions.run(&[&["session", "start", &url], &options[..]].concat()).succeeds();
    let call = [&["call", &url, "echo", "text=hi"], &options[..6]].concat();
    sessions.run(&call).succeeds().stderr_is("");
    let file = std::fs::File::options().append(true).open(&cert).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let note = "not using the session '127.0.0.1': this command differs in the client certificate\n";
    sessions.run(&call).exits(0).stderr_is(note);
    sessions.stop_all();
}

#[test]
fn an_http_session_that_the_server_forgets_fails_the_call_and_the_next_opens_another() {
    let script = Mcp::legacy("2025-11-25")
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let forgets = Arc::new(AtomicBool::new(false));
    let shared = forgets.clone();
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "initialize" => {
            shared.store(false, Ordering::SeqCst);
            script(request)
        }
        "tools/call" if shared.load(Ordering::SeqCst) => {
            Reply::text("text/plain", "Session not found").with_status(404)
        }
        _ => script(request),
    });
    let sessions = Sessions::new();
    let url = server.url("/mcp");
    sessions.start(&url);
    sessions.run(&["call", &url, "echo", "text=one"]).succeeds().prints("one\n");
    forgets.store(true, Ordering::SeqCst);
    sessions
        .run(&["call", &url, "echo", "text=two"])
        .exits(5)
        .prints("")
        .stderr_contains("the server no longer knows its session");
    sessions.run(&["call", &url, "echo", "text=three"]).succeeds().prints("three\n");
    let seen = methods(&server);
    assert_eq!(seen.iter().filter(|name| *name == "initialize").count(), 2, "{seen:?}");
    sessions.stop_all();
}

#[test]
fn the_log_level_is_set_again_in_a_new_session_of_the_server() {
    let mcp = Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "logging": {}}))
        .on("logging/setLevel", |call| call.result(json!({})));
    let script = mcp.http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let forgets = Arc::new(AtomicBool::new(false));
    let shared = forgets.clone();
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" if shared.swap(false, Ordering::SeqCst) => {
            Reply::text("text/plain", "Session not found").with_status(404)
        }
        _ => script(request),
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.start(&url);
    let call = || sessions.run(&["call", &url, "echo", "text=hi", "--log-level", "debug"]);
    let set = || methods(&server).iter().filter(|name| *name == "logging/setLevel").count();
    call().succeeds();
    call().succeeds();
    assert_eq!(set(), 1);
    forgets.store(true, Ordering::SeqCst);
    call().exits(5);
    call().succeeds();
    assert_eq!(set(), 2);
    sessions.stop_all();
}

#[test]
fn a_command_that_watches_subscribes_again_in_a_new_session_of_the_server() {
    let mcp = with_subscriptions();
    let get_stream = Some(Feed::default());
    let script = mcp.http_script(LegacyHttpOptions { session_id: Some("s"), get_stream, ..Default::default() });
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" => Reply::text("text/plain", "Session not found").with_status(404),
        _ => script(request),
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.start(&url);
    let watch = sessions.sandbox.mcpipe(["read", &url, "demo://hello", "--watch"]).allow_leftovers().start();
    watch.wait_for_stdout("hello\n");
    sessions.run(&["call", &url, "echo", "text=hi"]).exits(5);
    let call = server.wait_for("the call", |request| request.rpc_method() == "tools/call");
    server.wait_for("another reading", |request| request.rpc_method() == "resources/read" && request.n > call.n);
    watch.signal(Signal::INT);
    watch.wait().exits(130).stderr_contains("the session has expired; retrying in ");
    server.wait_for("the end of the subscription", |request| request.rpc_method() == "resources/unsubscribe");
    let seen = methods(&server);
    let count = |method: &str| seen.iter().filter(|name| *name == method).count();
    assert_eq!((count("initialize"), count("resources/subscribe"), count("resources/unsubscribe")), (2, 2, 1));
    sessions.stop_all();
}

#[test]
fn a_command_that_watches_learns_that_there_is_no_stream_for_changes() {
    // A slow refusal comes after the subscription.
    for pause in [0, 600] {
        let mcp = with_subscriptions();
        let options = LegacyHttpOptions { session_id: Some("s"), get_stream: None, ..Default::default() };
        let script = mcp.http_script(options);
        let server = HttpServer::start(move |request| {
            if request.method == "GET" {
                std::thread::sleep(std::time::Duration::from_millis(pause));
            }
            script(request)
        });
        let (sessions, url) = (Sessions::new(), server.url("/mcp"));
        sessions.start(&url);
        for words in [&["--no-session"][..], &[]] {
            let watch = sessions.run(&[&["read", &url, "demo://hello", "--watch"], words].concat());
            watch.exits(1).stderr_contains("the server has no stream for notifications of changes");
        }
        sessions.stop_all();
    }
}

/// Directly and through a session.
#[test]
fn a_watch_connects_again_if_a_pending_stream_ends_with_the_session_of_the_server() {
    for words in [&["--no-session"][..], &[]] {
        let mcp = with_subscriptions();
        let get_stream = Some(Feed::default());
        let script = mcp.http_script(LegacyHttpOptions { session_id: Some("s"), get_stream, ..Default::default() });
        let is_first = AtomicBool::new(true);
        let is_subscribed = Arc::new(AtomicBool::new(false));
        let subscribed = is_subscribed.clone();
        let server = HttpServer::start(move |request| {
            if request.method == "GET" && is_first.swap(false, Ordering::SeqCst) {
                while !subscribed.load(Ordering::SeqCst) {
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
                return Reply::text("text/plain", "Session not found").with_status(404);
            }
            script(request)
        });
        let (sessions, url) = (Sessions::new(), server.url("/mcp"));
        if words.is_empty() {
            sessions.start(&url);
        }
        let words = [&["read", &url, "demo://hello", "--watch"], words].concat();
        let watch = sessions.sandbox.mcpipe(words).allow_leftovers().start();
        let is_subscription = |request: &crate::support::Request| request.rpc_method() == "resources/subscribe";
        let first = server.wait_for("a subscription", is_subscription);
        is_subscribed.store(true, Ordering::SeqCst);
        server.wait_for("another subscription", |request| is_subscription(request) && request.n > first.n);
        watch.signal(Signal::INT);
        watch.wait().exits(130).stderr_contains("the stream for notifications of changes was closed; retrying in ");
        sessions.stop_all();
    }
}

#[test]
fn a_command_that_watches_connects_again_when_the_stream_for_changes_ends_for_good() {
    let mcp = with_subscriptions();
    let feed = Feed::default();
    let get_stream = Some(feed.clone());
    let script = mcp.http_script(LegacyHttpOptions { session_id: Some("s"), get_stream, ..Default::default() });
    let streams = std::sync::atomic::AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.method.as_str() {
        "GET" if streams.fetch_add(1, Ordering::SeqCst) == 1 => Reply::text("text/plain", "none").with_status(405),
        _ => script(request),
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.start(&url);
    let watch = sessions.sandbox.mcpipe(["read", &url, "demo://hello", "--watch"]).allow_leftovers().start();
    watch.wait_for_stdout("hello\n");
    let subscription = server.wait_for("a subscription", |request| request.rpc_method() == "resources/subscribe");
    feed.end();
    server.wait_for("another subscription", |request| {
        request.rpc_method() == "resources/subscribe" && request.n > subscription.n
    });
    watch.signal(Signal::INT);
    watch.wait().exits(130).stderr_contains("the stream for notifications of changes was closed; retrying in ");
    sessions.stop_all();
}

/// Directly and through a session.
#[test]
fn a_watch_reads_again_what_may_have_changed_while_there_was_no_stream() {
    for words in [&["--no-session"][..], &[]] {
        let has_changed = Arc::new(AtomicBool::new(false));
        let changed = has_changed.clone();
        let mcp = with_subscriptions().on("resources/read", move |call| {
            let text = if changed.load(Ordering::SeqCst) { "two\n" } else { "one\n" };
            call.result(json!({"contents": [{"uri": "demo://hello", "text": text}]}))
        });
        let script = mcp.http_script(LegacyHttpOptions { session_id: Some("s"), ..Default::default() });
        let streams = [Feed::default(), Feed::default()];
        let feeds = streams.clone();
        let count = std::sync::atomic::AtomicUsize::new(0);
        let server = HttpServer::start(move |request| match request.method.as_str() {
            "GET" => {
                let n = count.fetch_add(1, Ordering::SeqCst);
                has_changed.store(n > 0, Ordering::SeqCst);
                feeds.get(n).map_or_else(|| Reply::status(405), |feed| Reply::sse().write("retry: 20\n\n").feed(feed))
            }
            _ => script(request),
        });
        let (sessions, url) = (Sessions::new(), server.url("/mcp"));
        if words.is_empty() {
            sessions.start(&url);
        }
        let words = [&["read", &url, "demo://hello", "--watch"], words].concat();
        let watch = sessions.sandbox.mcpipe(words).allow_leftovers().start();
        watch.wait_for_stdout("one\n");
        server.wait_for("a subscription", |request| request.rpc_method() == "resources/subscribe");
        streams[0].end();
        watch.wait_for_stdout("one\ntwo\n");
        watch.signal(Signal::INT);
        watch.wait().exits(130);
        streams[1].end();
        sessions.stop_all();
        assert_eq!(methods(&server).iter().filter(|name| *name == "initialize").count(), 1);
    }
}

/// The command that watches notices it itself; another one, which reads a batch, goes on with its next line.
#[test]
fn commands_go_on_after_a_server_has_forgotten_its_session() {
    let feed = Feed::default();
    let mcp = with_subscriptions();
    let get_stream = Some(feed.clone());
    let script = mcp.http_script(LegacyHttpOptions { session_id: Some("s"), get_stream, ..Default::default() });
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "resources/read" if reads.fetch_add(1, Ordering::SeqCst) == 1 => {
            Reply::text("text/plain", "Session not found").with_status(404)
        }
        _ => script(request),
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.start(&url);
    let line = "{\"tool\":\"echo\",\"arguments\":{\"text\":\"hi\"}}\n";
    let result =
        |n: u8| format!(r#"{{"id":{n},"tool":"echo","result":{{"content":[{{"type":"text","text":"hi"}}]}}}}"#) + "\n";
    let words = ["call", &url, "--batch", "-", "--jobs", "1"];
    let mut batch = sessions.sandbox.mcpipe(words).allow_leftovers().stdin_open().start();
    batch.write(line);
    batch.wait_for_stdout(&result(1));
    let watch = sessions.sandbox.mcpipe(["read", &url, "demo://hello", "--watch"]).allow_leftovers().start();
    watch.wait_for_stdout("hello\n");
    let updated = json!({"uri": "demo://hello"});
    feed.event(&json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": updated}));
    server.wait_for("a new session", |request| {
        request.rpc_method() == "resources/subscribe" && reads_before(&server, request.n) >= 2
    });
    batch.write(line);
    batch.wait_for_stdout(&(result(1) + &result(2)));
    batch.end_stdin();
    batch.wait().exits(0);
    watch.signal(Signal::INT);
    watch.wait().exits(130).stderr_contains("retrying in ");
    sessions.stop_all();
}

#[test]
fn a_late_response_about_a_forgotten_session_does_not_end_the_next_one() {
    let script =
        Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions { session_id: Some("s"), ..Default::default() });
    let has_gone_on = Arc::new(AtomicBool::new(false));
    let gone_on = has_gone_on.clone();
    let server = HttpServer::start(move |request| {
        let body = request.text();
        let forgotten = || Reply::text("text/plain", "Session not found").with_status(404);
        if body.contains("early") {
            return forgotten();
        }
        if body.contains("late") {
            while !gone_on.load(Ordering::SeqCst) {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            return forgotten();
        }
        script(request)
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.start(&url);
    let call = |text: &str| sessions.run(&["call", &url, "echo", &format!("text={text}")]);
    call("hi").succeeds();
    let late = sessions.sandbox.mcpipe(["call", &url, "echo", "text=late"]).allow_leftovers().start();
    server.wait_for("the late call", |request| request.text().contains("late"));
    call("early").exits(5);
    call("hi").succeeds();
    has_gone_on.store(true, Ordering::SeqCst);
    late.wait().exits(5);
    call("hi").succeeds();
    assert_eq!(methods(&server).iter().filter(|name| *name == "initialize").count(), 2);
    sessions.stop_all();
}

/// How many readings a server got before its request `n`.
fn reads_before(server: &HttpServer, n: usize) -> usize {
    server.requests().iter().filter(|request| request.rpc_method() == "resources/read" && request.n < n).count()
}

#[test]
fn a_question_over_http_goes_to_the_command_on_whose_stream_it_comes() {
    let ask = |call: &crate::support::ClientMessage<'_>| {
        let params = json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}});
        let request = json!({"jsonrpc": "2.0", "id": 7, "method": "elicitation/create", "params": params});
        let id = call.id();
        let then = move |answer: serde_json::Value| {
            let result = json!({"content": [{"type": "text", "text": answer["result"]["action"]}]});
            vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result}))]
        };
        vec![ServerAction::Request(request, Box::new(then))]
    };
    let (server, sessions) = (Mcp::legacy("2025-11-25").on("tools/call", ask).http(), Sessions::new());
    let url = server.url("/mcp");
    sessions.start(&url);
    sessions.run(&["call", &url, "echo", "text=x", "--elicit", "accept"]).succeeds().prints("accept\n");
    sessions.stop_all();
}

#[test]
fn a_failure_over_http_is_reported_as_without_a_session() {
    let script = Mcp::modern().http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" => Reply::text("text/plain", "out of order").with_status(500),
        _ => script(request),
    });
    let sessions = Sessions::new();
    let url = server.url("/mcp");
    let call = || sessions.run(&["call", &url, "echo", "text=x"]);
    let without = call();
    without.exits(5);
    sessions.start(&url);
    let with = call();
    with.exits(5).stderr_is(without.stderr());
    assert_eq!(sessions.list()[0]["requests"].as_u64().unwrap(), 3, "discover, list and call");
    sessions.stop_all();
}

#[test]
fn commands_share_one_websocket() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let (server, sessions) = (mcp.websocket(), Sessions::new());
        let url = server.url("/ws");
        sessions.start(&url);
        sessions.run(&["call", &url, "echo", "text=one"]).succeeds().prints("one\n");
        sessions.run(&["call", &url, "echo", "text=two"]).succeeds().prints("two\n");
        assert_eq!(server.handshakes().len(), 1);
        sessions.stop_all();
        let events = server.wait_until_all_disconnected();
        assert!(events.iter().any(|(_, event)| matches!(event, WebSocketEvent::Close(1000, _))));
    }
}

#[test]
fn commands_share_one_unix_socket() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let sessions = Sessions::new();
        let path = sessions.sandbox.path().join("server.socket");
        let first = if mcp.modern { "server/discover" } else { "initialize" };
        let seen = mcp.unix(&path);
        let target = format!("unix:{}", path.display());
        sessions.start(&target);
        sessions.run(&["call", &target, "echo", "text=one"]).succeeds().prints("one\n");
        sessions.run(&["call", &target, "echo", "text=two"]).succeeds().prints("two\n");
        assert_eq!(sessions.list()[0]["transport"], "unix");
        sessions.stop_all();
        let seen = seen.lock().unwrap();
        let count = |method: &str| seen.iter().filter(|message| message["method"] == method).count();
        assert_eq!((count(first), count("tools/call")), (1, 2), "{seen:?}");
    }
}

#[test]
fn commands_share_one_stream_of_http_with_sse() {
    // The transport is named, shown by the URL, or found out after a POST was refused.
    let named: &[&str] = &["--transport", "sse"];
    for (path, option) in [("/sse", named), ("/sse", &[]), ("/events", &[])] {
        let (server, sessions) = (Mcp::legacy("2024-11-05").sse_at(path), Sessions::new());
        let url = server.url(path);
        sessions.run(&[&["session", "start", &url, "-q"], option].concat()).succeeds();
        assert_eq!(sessions.list()[0]["transport"], "sse", "{path} {option:?}");
        for text in ["one", "two"] {
            let text_word = format!("text={text}");
            sessions
                .run(&[&["call", &url, "echo", &text_word], option].concat())
                .succeeds()
                .prints(&format!("{text}\n"));
        }
        // A command that knows nothing about the server.
        let words = [&["call", &url, "echo", "text=three"], option].concat();
        let other = sessions.sandbox.mcpipe(words).env("XDG_CACHE_HOME", sessions.sandbox.path().join("other"));
        other.allow_leftovers().run().succeeds().prints("three\n");
        sessions.stop_all();
        let seen = methods(&server);
        assert_eq!(seen.iter().filter(|name| *name == "GET").count(), 1, "{path} {option:?} {seen:?}");
        let requests = server.requests();
        let sent = requests.iter().filter(|request| request.target != path).map(|request| request.rpc_method());
        let sent: Vec<String> = sent.filter(|method| method != "tools/list").collect();
        let expected = ["initialize", "notifications/initialized", "tools/call", "tools/call", "tools/call"];
        assert_eq!(sent, expected, "{path} {option:?}");
    }
}

#[test]
fn commands_that_find_out_http_with_sse_at_the_same_time_share_one_stream() {
    let (server, sessions) = (Mcp::legacy("2024-11-05").sse_at("/events"), Sessions::new());
    let url = server.url("/events");
    sessions.sandbox.config(&format!("[servers.demo]\nurl = \"{url}\"\nkeep_alive = \"1m\"\n"));
    let call = |text: &str| sessions.sandbox.mcpipe(["call", "demo", "echo", text]).allow_leftovers().start();
    let running: Vec<_> = ["text=a", "text=b", "text=c", "text=d"].map(call).into();
    let printed: Vec<String> = running.into_iter().map(|run| run.wait().succeeds().stdout().to_owned()).collect();
    assert_eq!(printed, ["a\n", "b\n", "c\n", "d\n"]);
    sessions.stop_all();
    let seen = methods(&server);
    assert_eq!(seen.iter().filter(|name| *name == "GET").count(), 1, "{seen:?}");
}

#[test]
fn a_session_of_a_server_that_has_no_event_stream_fails_as_without_a_session() {
    let server = HttpServer::start(|_| Reply::text("text/plain", "not here").with_status(404));
    let sessions = Sessions::new();
    for path in ["/sse", "/mcp"] {
        let url = server.url(path);
        let without = sessions.run(&["list", &url]);
        let with = sessions.run(&["session", "start", &url]);
        with.exits(without.code()).stderr_is(without.stderr());
        sessions.assert_gone();
    }
}

#[test]
fn a_streamable_server_behind_a_url_of_http_with_sse_keeps_its_session() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let script = mcp.http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.method.as_str() {
            "GET" => Reply::status(405),
            _ => script(request),
        });
        let (sessions, url) = (Sessions::new(), server.url("/sse"));
        sessions.start(&url);
        sessions.run(&["call", &url, "echo", "text=one"]).succeeds().prints("one\n");
        assert_eq!(sessions.list()[0]["transport"], "http");
        let streams = methods(&server).iter().filter(|name| *name == "GET").count();
        let words = ["call", &url, "echo", "text=two"];
        let other = sessions.sandbox.mcpipe(words).env("XDG_CACHE_HOME", sessions.sandbox.path().join("other"));
        other.allow_leftovers().run().succeeds().prints("two\n");
        assert_eq!(methods(&server).iter().filter(|name| *name == "GET").count(), streams);
        sessions.stop_all();
    }
}

#[test]
fn a_call_whose_websocket_breaks_fails_once_and_the_next_gets_another_connection() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let script = mcp.ws_script();
        let server = WebSocketServer::start(move |peer, event| match event {
            WebSocketEvent::Text(text) if text.contains("\"die\"") => peer.disconnect(),
            _ => script(peer, event),
        });
        let (sessions, url) = (Sessions::new(), server.url("/ws"));
        sessions.start(&url);
        let run = sessions.run(&["call", &url, "echo", "text=die"]);
        run.exits(5).prints("").stderr_contains("the tool may have run");
        sessions.run(&["call", &url, "echo", "text=hi"]).succeeds().prints("hi\n");
        assert_eq!((server.handshakes().len(), sessions.list().len()), (2, 1));
        assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 2);
        sessions.stop_all();
    }
}

#[test]
fn other_options_for_the_same_url_need_another_session() {
    let (server, sessions) = (Mcp::legacy("2025-11-25").http(), Sessions::new());
    let url = server.url("/mcp");
    let call = |words: &[&str]| {
        let words = [&["call", &url, "echo", "text=hi"], words].concat();
        sessions.sandbox.mcpipe(words).env("TOKEN", "t").allow_leftovers().run().exits(0);
    };
    let count = || methods(&server).iter().filter(|name| *name == "initialize").count();
    sessions.start(&url);
    call(&[]);
    assert_eq!(count(), 1);
    let others: [&[&str]; 5] =
        [&["-H", "A: b"], &["--bearer-env", "TOKEN"], &["--no-cookies"], &["--protocol", "legacy"], &["--insecure"]];
    for (n, words) in others.iter().enumerate() {
        call(words);
        assert_eq!(count(), n + 2, "{words:?}");
    }
    sessions.stop_all();
}

#[test]
fn a_session_uses_the_login_of_the_user_and_renews_it() {
    let (server, sessions) = (ProtectedServer::start(), Sessions::new());
    let before = server.log_in_with_expired_token(&sessions.sandbox);
    sessions.start(&server.url());
    sessions.run(&["list", &server.url(), "echo"]).succeeds().stdout_contains("Says what it is told.");
    assert_eq!(server.requested_grants()[before..], ["refresh_token"]);
    // After the logout it is another identity.
    sessions.sandbox.mcpipe(["auth", "logout", &server.url()]).allow_leftovers().run().exits(0);
    sessions.run(&["list", &server.url()]).exits(4);
    sessions.stop_all();
}

#[test]
fn a_session_without_the_needed_login_names_the_command_for_it() {
    let (server, sessions) = (ProtectedServer::start(), Sessions::new());
    let run = sessions.run(&["session", "start", &server.url()]);
    run.exits(4).stderr_contains(&format!("mcpipe auth login {}", server.url()));
    sessions.assert_gone();
}

#[test]
fn nothing_is_sent_outside_of_a_session_while_a_request_of_the_forgotten_one_is_in_progress() {
    let current = std::sync::atomic::AtomicUsize::new(1);
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| {
        let session = format!("s{}", current.load(Ordering::SeqCst));
        let (name, is_current) = (request.rpc_method(), request.header("mcp-session-id") == Some(&session));
        match name.as_str() {
            "initialize" => script(request).header("Mcp-Session-Id", &session),
            "tools/call" if request.header("mcp-session-id").is_none() => Reply::status(400),
            "tools/call" if !is_current => Reply::text("text/plain", "Session not found").with_status(404),
            "tools/call" if request.text().contains("\"slow\"") => {
                current.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(std::time::Duration::from_millis(2500));
                script(&request.without_header("Mcp-Session-Id"))
            }
            _ => script(&request.without_header("Mcp-Session-Id")),
        }
    });
    let (sessions, url) = (Sessions::new(), server.url("/mcp"));
    sessions.start(&url);
    let lines =
        ["a", "slow", "b", "c", "d"].map(|text| json!({"tool": "echo", "arguments": {"text": text}}).to_string());
    // Only the call that the server refused fails, and one that times out; neither has those wait that come after it.
    for (more, failed) in [(&[][..], "1 of 5 calls failed"), (&["--timeout", "1500ms"], "2 of 5 calls failed")] {
        let batch = ["call", &url, "--batch", "-", "--jobs", "2", "--rate", "2/s"];
        let run = sessions.sandbox.mcpipe(batch).args(more).stdin(lines.join("\n")).allow_leftovers().run();
        let is_call = |request: &crate::support::Request| request.rpc_method() == "tools/call";
        let calls: Vec<_> = server.requests().into_iter().filter(is_call).collect();
        assert!(calls.iter().all(|call| call.header("mcp-session-id").is_some()), "{}", run.stdout());
        run.exits(1).stderr_contains(failed);
    }
    sessions.stop_all();
}
