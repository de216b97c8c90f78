//! WebSockets, Unix sockets, and HTTP over a Unix socket.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::sockets::{forward_to_port, serve_lines};
use crate::support::tls::CertificateAuthority;
use crate::support::ws::handshake_response;
use crate::support::{HttpServer, Mcp, Reply, Run, Sandbox, ServerAction, WebSocketEvent, WebSocketServer};

fn echo(sandbox: &Sandbox, target: &str, words: &[&str]) -> Run {
    sandbox.mcpipe(["call", target, "echo", "text=hi"]).args(words).run()
}

/// What was heard of one connection, requests for it left out.
fn events_of_connection(server: &WebSocketServer, n: usize) -> Vec<WebSocketEvent> {
    let heard = server
        .wait_until_all_disconnected()
        .into_iter()
        .filter(|(of, heard)| *of == n && !matches!(heard, WebSocketEvent::Handshake(_)));
    heard.map(|(_, heard)| heard).collect()
}

#[test]
fn a_websocket_works_in_both_eras_and_is_closed_properly() {
    for (mcp, first, second) in [
        (Mcp::modern(), vec!["server/discover", "tools/list", "tools/call"], vec!["tools/call"]),
        (
            Mcp::legacy("2025-11-25"),
            vec!["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"],
            vec!["initialize", "notifications/initialized", "tools/call"],
        ),
    ] {
        let server = mcp.websocket();
        let sandbox = Sandbox::new();
        let url = server.url("/ws");
        echo(&sandbox, &url, &[]).succeeds().prints("hi\n");
        assert_eq!(server.methods(), first);
        let farewell = events_of_connection(&server, 0).split_off(first.len());
        assert_eq!(farewell, [WebSocketEvent::Close(1000, String::new()), WebSocketEvent::Disconnected]);
        // What was learned is used: the era, and the list of tools while it is fresh.
        echo(&sandbox, &url, &[]).succeeds().prints("hi\n");
        let mut all: Vec<&str> = first.clone();
        if first.contains(&"initialize") {
            all.extend(&second)
        } else {
            all.extend(["tools/list", "tools/call"])
        }
        assert_eq!(server.methods(), all);
    }
}

#[test]
fn the_websocket_handshake_follows_the_rfc() {
    let server = Mcp::modern().websocket();
    let sandbox = Sandbox::new();
    let url = server.url("/mcp?x=1");
    let run =
        sandbox.mcpipe(["list", &url, "-H", "X-Team: a", "--bearer-env", "TOKEN", "-vv"]).env("TOKEN", "t0ken").run();
    run.exits(0).hides("t0ken").stderr_contains("101");
    let head = server.handshakes().remove(0);
    let mut lines = head.split("\r\n");
    assert_eq!(lines.next(), Some("GET /mcp?x=1 HTTP/1.1"));
    let headers: Vec<(String, &str)> =
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value)).collect();
    let header = |name: &str| {
        let found: Vec<&str> = headers.iter().filter(|(given, _)| given == name).map(|(_, value)| *value).collect();
        assert_eq!(found.len(), 1, "{name} stands once: {head}");
        found[0]
    };
    assert_eq!(header("host"), server.address().to_string());
    assert_eq!((header("connection"), header("upgrade")), ("Upgrade", "websocket"));
    assert_eq!((header("sec-websocket-version"), header("sec-websocket-protocol")), ("13", "mcp"));
    assert_eq!(header("sec-websocket-key").len(), 24);
    assert_eq!((header("x-team"), header("authorization")), ("a", "Bearer t0ken"));
    assert!(header("user-agent").starts_with("mcpipe/"));
}

#[test]
fn pings_pieces_and_binary_frames_are_understood() {
    let mcp = Mcp::modern();
    let server = WebSocketServer::start({
        let script = mcp.ws_script();
        move |peer, heard| match heard {
            WebSocketEvent::Text(text) if text.contains("tools/call") => {
                peer.send_ping(b"there?");
                peer.send_text("");
                peer.send_text("INFO this is no message");
                let id = serde_json::from_str::<Value>(text).unwrap()["id"].clone();
                let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"resultType": "complete",
                    "content": [{"type": "text", "text": "é in pieces"}]}})
                .to_string();
                // A text frame, a ping between, and two continuations that split a character.
                let cut = answer.find('é').unwrap() + 1;
                peer.send_frame(0x01, &answer.as_bytes()[..cut]);
                peer.send_ping(b"still?");
                peer.send_frame(0x00, &answer.as_bytes()[cut..cut + 1]);
                peer.send_frame(0x80, &answer.as_bytes()[cut + 1..]);
            }
            WebSocketEvent::Text(text) if text.contains("tools/list") => {
                let message: Value = serde_json::from_str(text).unwrap();
                for out in Mcp::modern().handle(&message) {
                    if let ServerAction::Send(answer) = out {
                        peer.send_frame(0x82, answer.to_string().as_bytes());
                    }
                }
            }
            heard => script(peer, heard),
        }
    });
    let sandbox = Sandbox::new();
    let run = echo(&sandbox, &server.url("/"), &["-v"]);
    run.exits(0).prints("é in pieces\n").stderr_contains("INFO this is no message");
    let pongs: Vec<WebSocketEvent> =
        events_of_connection(&server, 0).into_iter().filter(|heard| matches!(heard, WebSocketEvent::Pong(_))).collect();
    assert_eq!(pongs, [WebSocketEvent::Pong(b"there?".to_vec()), WebSocketEvent::Pong(b"still?".to_vec())]);
}

#[test]
fn server_requests_work_over_a_websocket() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| {
            let params = json!({"message": "Who?", "requestedSchema": {"type": "object",
                "properties": {"name": {"type": "string", "default": "ada"}}}});
            let ask = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
            let response = |text: &str| call.response(json!({"content": [{"type": "text", "text": text}]}));
            let template = response("NAME").to_string();
            vec![ServerAction::Request(
                ask,
                Box::new(move |answer| {
                    vec![ServerAction::RawText(
                        template.replace("NAME", answer["result"]["content"]["name"].as_str().unwrap()),
                    )]
                }),
            )]
        })
        .websocket();
    let sandbox = Sandbox::new();
    echo(&sandbox, &server.url("/"), &["--elicit", "accept"]).succeeds().prints("ada\n");
}

#[test]
fn the_close_code_of_a_websocket_is_reported() {
    let ending = |end: fn(&crate::support::ws::WebSocketConnection)| {
        let script = Mcp::modern().ws_script();
        WebSocketServer::start(move |peer, heard| match heard {
            WebSocketEvent::Text(text) if text.contains("tools/call") => end(peer),
            heard => script(peer, heard),
        })
    };
    let sandbox = Sandbox::new();
    for (end, code, said) in [
        (
            (|peer| peer.send_close(1011, "out of order")) as fn(&crate::support::ws::WebSocketConnection),
            5,
            "1011 (internal error)",
        ),
        (|peer| peer.send_close(3000, "log in"), 4, "3000 (unauthorized)"),
        (|peer| peer.send_frame(0x88, &[]), 5, "the server closed the connection"),
        (|peer| peer.disconnect(), 5, "the connection was lost"),
        // A reserved bit, a frame that is masked, a message that never began, text that is none.
        (|peer| peer.send_frame(0xc1, b"{}"), 7, "violated the WebSocket protocol"),
        (|peer| peer.answer_handshake([0x81, 0x82, 0, 0, 0, 0, b'{', b'}']), 7, "violated the WebSocket protocol"),
        (|peer| peer.send_frame(0x80, b"{}"), 7, "violated the WebSocket protocol"),
        (|peer| peer.send_frame(0x81, b"\"\xff\""), 7, "violated the WebSocket protocol"),
        // A frame that announces 2^40 bytes is refused before any of them is waited for.
        (|peer| peer.answer_handshake([0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]), 7, "a message that is too long"),
    ] {
        let server = ending(end);
        let run = echo(&sandbox, &server.url("/"), &[]);
        run.exits(code).stderr_contains(said);
        assert!(run.elapsed < Duration::from_secs(5), "{run:?}");
        assert_eq!(server.methods().iter().filter(|method| *method == "tools/call").count(), 1, "never sent twice");
    }
}

#[test]
fn a_server_that_disconnects_at_an_unknown_request_gets_initialize_on_a_new_connection() {
    let ways: [fn(&crate::support::ws::WebSocketConnection); 2] =
        [|peer| peer.send_close(1002, "what?"), |peer| peer.disconnect()];
    for hang_up in ways {
        let script = Mcp::legacy("2025-06-18").ws_script();
        let server = WebSocketServer::start(move |peer, heard| match heard {
            WebSocketEvent::Text(text) if text.contains("server/discover") => hang_up(peer),
            heard => script(peer, heard),
        });
        let sandbox = Sandbox::new();
        echo(&sandbox, &server.url("/"), &[]).succeeds().prints("hi\n");
        assert_eq!(server.handshakes().len(), 2);
    }
}

#[test]
fn servers_without_websocket_are_reported() {
    let sandbox = Sandbox::new();
    let answer = |reply: fn() -> Reply| {
        let server = HttpServer::start(move |_| reply());
        let run = sandbox.mcpipe(["list", &server.url("/mcp").replace("http", "ws")]).run();
        assert!(server.requests().len() == 1, "asked once: {:?}", server.exchanges());
        (run, server.address().to_string())
    };
    let (run, address) = answer(|| Reply::text("text/html", "<html>"));
    run.exits(7).stderr_contains(&format!("ws://{address}/mcp does not support websocket")).stderr_contains("HTTP 200");
    answer(|| Reply::status(404)).0.exits(5).stderr_contains("HTTP 404");
    answer(|| Reply::status(401)).0.exits(4).stderr_contains("requires a login").stderr_contains("--bearer-env");
    answer(|| Reply::status(426)).0.exits(7).stderr_contains("HTTP 426");

    let wrong = |bend: fn(String) -> String| {
        let server = WebSocketServer::start(move |peer, heard| {
            if let WebSocketEvent::Handshake(head) = heard {
                peer.answer_handshake(bend(handshake_response(head)));
            }
        });
        sandbox.mcpipe(["list", &server.url("/")]).run()
    };
    wrong(|head| head.replace("Accept: ", "Accept: x")).exits(7).stderr_contains("does not match");
    wrong(|head| head.replace("Protocol: mcp", "Protocol: chat")).exits(7).stderr_contains("was not offered");
    wrong(|head| head.replace("Upgrade: websocket", "Upgrade: h2c")).exits(7);

    let refused = sandbox.mcpipe(["list", "ws://127.0.0.1:1/mcp"]).run();
    refused.exits(5).stderr_contains("cannot connect to ws://127.0.0.1:1/mcp").stderr_contains("refused");
    let silent = HttpServer::start(|_| Reply::never());
    let late = sandbox.mcpipe(["list", &silent.url("/").replace("http", "ws"), "--connect-timeout", "200ms"]).run();
    late.exits(6).stderr_contains("connecting to ws://");
}

#[test]
fn a_secure_websocket_trusts_the_same_certificates_as_https() {
    let authority = CertificateAuthority::new();
    let config = authority.tls_config(&authority.server_certificate(&["127.0.0.1"]));
    let server = WebSocketServer::start_with(Some(config), Mcp::modern().ws_script());
    let sandbox = Sandbox::new();
    let ca = authority.write(&sandbox.work());
    echo(&sandbox, &server.url("/"), &["--cacert", ca.to_str().unwrap()]).succeeds().prints("hi\n");
    echo(&sandbox, &server.url("/"), &[])
        .exits(5)
        .stderr_contains("UnknownIssuer")
        .stderr_contains("wss://")
        .stderr_contains("--cacert");
    echo(&sandbox, &server.url("/"), &["--insecure"]).exits(0).stderr_contains("NOT verified");
}

#[test]
fn a_call_is_cancelled_over_a_websocket() {
    let server = Mcp::modern().on("tools/call", |_| Vec::new()).websocket();
    let sandbox = Sandbox::new();
    echo(&sandbox, &server.url("/"), &["--timeout", "300ms"]).exits(6);
    assert_eq!(server.methods(), ["server/discover", "tools/list", "tools/call", "notifications/cancelled"]);
}

#[test]
fn websockets_and_unix_sockets_can_be_configured_as_servers() {
    let sandbox = Sandbox::new();
    let (web, http) = (Mcp::modern().websocket(), Mcp::legacy("2025-11-25").http());
    let run = sandbox.path().join("run");
    Mcp::modern().unix(&run.join("s.sock"));
    forward_to_port(&run.join("h.sock"), http.address());
    sandbox.config(&format!(
        "[servers.a]\nurl = '{}'\n[servers.b]\nurl = 'unix:{run}/s.sock'\n\
         [servers.c]\nurl = 'http://far.example/mcp'\nunix_socket = '{run}/h.sock'\n",
        web.url("/"),
        run = run.display()
    ));
    let listed = sandbox.mcpipe(["list", "--json", "--jobs", "1"]).run();
    let rows = listed.succeeds().json();
    let row = |n: usize| {
        let row = &rows["servers"][n];
        ["name", "transport", "revision", "state"].map(|key| row[key].as_str().unwrap().to_owned())
    };
    assert_eq!(row(0), ["a", "websocket", "2026-07-28", "ok"]);
    assert_eq!(row(1), ["b", "unix", "2026-07-28", "ok"]);
    assert_eq!(row(2), ["c", "http", "2025-11-25", "ok"]);
    assert_eq!(http.requests()[0].header("host"), Some("far.example"));
}

#[test]
fn a_unix_socket_works_in_both_eras() {
    for (n, (mcp, first)) in [
        (Mcp::modern(), vec!["server/discover", "tools/list", "tools/call"]),
        (
            Mcp::legacy("2025-11-25"),
            vec!["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let sandbox = Sandbox::new();
        let path = sandbox.work().join(format!("s{n}"));
        let seen = mcp.unix(&path);
        echo(&sandbox, &format!("unix:s{n}"), &[]).succeeds().prints("hi\n");
        let methods = || seen.lock().unwrap().iter().map(|message| message["method"].clone()).collect::<Vec<_>>();
        assert_eq!(methods(), first);
        echo(&sandbox, &format!("unix://{}", path.display()), &[]).succeeds().prints("hi\n");
        assert!(
            !methods()[first.len()..].contains(&json!("server/discover")),
            "the era is remembered: {:?}",
            methods()
        );
    }
}

#[test]
fn a_unix_socket_that_fails_is_explained() {
    let sandbox = Sandbox::new();
    let work = sandbox.work();
    let list = |word: &str| sandbox.mcpipe(["list", word]).run();
    list("unix:none")
        .exits(5)
        .stderr_contains("cannot connect to")
        .stderr_contains("No such file")
        .stderr_contains("hint: check the path");
    std::os::unix::net::UnixListener::bind(work.join("dead")).unwrap();
    list("unix:dead").exits(5).stderr_contains("refused").stderr_contains("check that the server is running");
    serve_lines(&work.join("noise"), |_, line, _| {
        crate::support::mcp::ScriptedOutput::send_raw_text(line, "Listening!".to_owned());
        line.hang_up();
    });
    list("unix:noise").exits(5).stderr_contains("closed the connection").stderr_contains("Listening!");
    // One that hangs up at the unknown first request is asked again on a new connection, in the old way.
    let old = std::sync::Arc::new(Mcp::legacy("2024-11-05"));
    serve_lines(&work.join("old"), move |n, line, text| {
        let message: Value = serde_json::from_str(text).unwrap();
        if n == 0 {
            line.hang_up();
        } else {
            crate::support::mcp::play_actions(&old, line, old.handle(&message));
        }
    });
    echo(&sandbox, "unix:old", &[]).succeeds().prints("hi\n");
}

#[test]
fn http_over_a_unix_socket_uses_no_proxy() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let sandbox = Sandbox::new();
        let server = mcp.http();
        forward_to_port(&sandbox.work().join("s"), server.address());
        let run = sandbox
            .mcpipe(["call", "http://docker/mcp", "echo", "text=hi", "--unix-socket", "s"])
            .env("http_proxy", "http://127.0.0.1:1")
            .run();
        run.succeeds().prints("hi\n");
        assert!(server.requests().iter().all(|request| request.header("host") == Some("docker")));
        let other = sandbox.mcpipe(["list", "http://docker/mcp", "--unix-socket", "none"]).run();
        other.exits(5).stderr_contains("cannot connect to the socket").stderr_contains("No such file");
    }
    let sandbox = Sandbox::new();
    let server = Mcp::modern().websocket();
    forward_to_port(&sandbox.work().join("s"), server.address());
    echo(&sandbox, "ws://docker/", &["--unix-socket", "s"]).succeeds().prints("hi\n");
}

#[test]
fn the_profile_of_one_socket_is_not_used_for_another() {
    let sandbox = Sandbox::new();
    let (new, old) = (Mcp::modern().http(), Mcp::legacy("2025-11-25").http());
    forward_to_port(&sandbox.work().join("new"), new.address());
    forward_to_port(&sandbox.work().join("old"), old.address());
    for _ in 0..2 {
        for socket in ["new", "old"] {
            echo(&sandbox, "http://docker/mcp", &["--unix-socket", socket]).succeeds().prints("hi\n");
        }
    }
    let handshakes = |server: &HttpServer| server.exchanges().iter().filter(|one| *one == "POST initialize").count();
    assert_eq!((handshakes(&new), handshakes(&old)), (0, 2));
    // The second time the old server is known to be old.
    let probes = old.requests().iter().filter(|request| request.header("mcp-method").is_some()).count();
    assert_eq!(probes, 1, "{:?}", old.exchanges());
}

#[test]
fn plain_connections_to_other_hosts_and_unsupported_schemes_are_rejected() {
    let sandbox = Sandbox::new();
    let list = |word: &str, more: &[&str]| sandbox.mcpipe(["list", word]).args(more).run();
    list("ws://far.example/", &[])
        .exits(2)
        .stderr_contains("unencrypted ws to another host")
        .stderr_contains("wss://")
        .stderr_contains("--allow-http");
    list("grpc://far.example/", &[]).exits(2).stderr_contains("use https, http, wss, ws, unix:PATH or replay:FILE");
    list("unix:", &[]).exits(2).stderr_contains("unix:/run/server.sock");
    list("unix:s", &["-H", "A: b"]).exits(2).stderr_contains("--header does not apply to a unix: target");
    list("./x", &["--unix-socket", "s"]).exits(2).stderr_contains("--unix-socket applies only to a URL");
}
