//! Sloppy, broken and malicious servers over stdio: what can be understood works, and nothing hangs. The cases were
//! observed with real servers and clients.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::{ClientMessage, Mcp, ProcessEvent, Run, Sandbox, ServerAction, StdioServer};

/// A server whose lines are changed by this function before they are written.
fn server_with_distorted_output(mcp: Mcp, distort: impl Fn(String) -> Vec<u8> + Send + Sync + 'static) -> StdioServer {
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            for out in mcp.handle(&serde_json::from_str(&line).unwrap()) {
                if let ServerAction::Send(message) = out {
                    process.write(distort(message.to_string()));
                }
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    })
}

fn echo(server: &StdioServer) -> Run {
    Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi", "--timeout", "5s"]).run()
}

/// What a sloppy server writes and mcpipe still understands.
#[test]
fn sloppy_lines_are_understood() {
    type Distort = fn(String) -> Vec<u8>;
    let cases: &[(&str, Distort)] = &[
        ("log lines", |line| format!("INFO: starting\n{line}\nDEBUG {{not json\n").into_bytes()),
        ("JSON that is no message", |line| format!("[1]\n\"text\"\n{{}}\n42\n{line}\n").into_bytes()),
        ("a byte order mark", |line| format!("\u{feff}{line}\n").into_bytes()),
        ("CRLF", |line| format!("{line}\r\n").into_bytes()),
        ("empty lines", |line| format!("\n\n{line}\n\n").into_bytes()),
        ("blanks around", |line| format!("  {line}\t \n").into_bytes()),
        ("no version", |line| format!("{}\n", line.replace(r#""jsonrpc":"2.0","#, "")).into_bytes()),
        ("ids as strings", |line| {
            let mut message: Value = serde_json::from_str(&line).unwrap();
            message["id"] = message["id"].to_string().into();
            format!("{message}\n").into_bytes()
        }),
        ("ids as floats", |line| {
            let message: Value = serde_json::from_str(&line).unwrap();
            let id = message["id"].to_string();
            format!("{}\n", line.replace(&format!("\"id\":{id}"), &format!("\"id\":{id}.0"))).into_bytes()
        }),
        ("error: null beside the result", |line| {
            format!("{}\n", line.replacen('{', r#"{"error":null,"#, 1)).into_bytes()
        }),
        ("unknown notifications", |line| {
            format!("{}\n{line}\n", json!({"jsonrpc": "2.0", "method": "notifications/fashion", "params": []}))
                .into_bytes()
        }),
        ("bytes that are no UTF-8", |line| [b"\xff\xfe garbage\n", line.as_bytes(), b"\n"].concat()),
        ("a result with an unknown ID before it", |line| {
            format!("{}\n{line}\n", json!({"jsonrpc": "2.0", "id": 4711, "result": {}})).into_bytes()
        }),
        ("the answer twice", |line| format!("{line}\n{line}\n").into_bytes()),
    ];
    for (name, distort) in cases {
        for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
            let server = server_with_distorted_output(mcp, distort);
            let run = echo(&server);
            assert!(run.code() == 0 && run.stdout() == "hi\n", "{name}: {run:?}");
        }
    }
}

/// Only 2025-03-26 allowed JSON-RPC batches; receiving them must work there.
#[test]
fn a_batch_is_understood() {
    let server = server_with_distorted_output(Mcp::legacy("2025-03-26"), |line| {
        let log =
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}});
        format!("[{log},{line}]\n").into_bytes()
    });
    echo(&server).exits(0).prints("hi\n");
}

#[test]
fn a_message_in_single_bytes_and_a_long_one() {
    let server = StdioServer::start(|process, event| match event {
        ProcessEvent::Line(line) => {
            for out in Mcp::modern().handle(&serde_json::from_str(&line).unwrap()) {
                if let ServerAction::Send(message) = out {
                    for byte in format!("{message}\n").as_bytes() {
                        process.write([*byte]);
                    }
                }
            }
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    echo(&server).exits(0).prints("hi\n");

    let long = "ä".repeat(3_000_000);
    let text = long.clone();
    let server = Mcp::modern().on("tools/call", move |call| call.text(&text)).stdio();
    let run = echo(&server);
    assert!(run.exits(0).stdout().trim_end() == long, "{} bytes came", run.stdout.len());
}

#[test]
fn sloppy_handshakes_are_accepted() {
    for (name, result) in [
        ("no capabilities", json!({"protocolVersion": "2025-06-18", "serverInfo": {"name": "x", "version": "1"}})),
        ("no identity", json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}})),
        (
            "no version of its own",
            json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "x"}}),
        ),
        (
            "a flag as text",
            json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {"listChanged": "yes"}}, "serverInfo": {}}),
        ),
        (
            "numbers for names",
            json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": 1, "version": 2}}),
        ),
    ] {
        let server = Mcp::legacy("2025-06-18").on("initialize", move |call| call.result(result.clone())).stdio();
        let run = echo(&server);
        assert!(run.code() == 0 && run.stdout() == "hi\n", "{name}: {run:?}");
    }
}

#[test]
fn one_malformed_tool_does_not_hide_the_others() {
    for odd in [
        json!({"name": "odd", "description": 7, "inputSchema": {"type": "object"}}),
        json!({"name": "odd"}),
        json!({"name": "odd", "inputSchema": null}),
        json!({"name": "odd", "inputSchema": true}),
        json!({"name": "odd", "title": 3, "inputSchema": {"type": "object"}}),
        json!({"name": "odd", "annotations": {"readOnlyHint": "true"}, "inputSchema": {}}),
        json!({"name": 5}),
        json!("odd"),
        json!(null),
    ] {
        let mut tools = crate::support::mcp::tools();
        tools.insert(0, odd.clone());
        let tools = json!(tools);
        for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
            let server = mcp.tools(tools.clone()).stdio();
            let sandbox = Sandbox::new();
            let list = sandbox.mcpipe(["list", &server.target()]).run();
            assert!(list.exits(0).stdout().contains("\nadd\tAdds two integers"), "{odd}: {list:?}");
            let json = sandbox.mcpipe(["list", &server.target(), "--json"]).run();
            assert_eq!(json.exits(0).json()["tools"], tools, "--json keeps it: {odd}");
            echo(&server).exits(0).prints("hi\n");
        }
    }
}

#[test]
fn odd_results_are_kept() {
    for result in [
        json!({}),
        json!({"toolResult": 1}),
        json!({"content": [], "messages": [], "tools": []}),
        json!({"content": [{"type": "image", "data": "?not base64?", "mimeType": "image/png"}]}),
        json!({"structuredContent": 5}),
    ] {
        let given = result.clone();
        let server = Mcp::legacy("2025-11-25").on("tools/call", move |call| call.result(given.clone())).stdio();
        let sandbox = Sandbox::new();
        let words = ["call", &server.target(), "fail"];
        sandbox.mcpipe(words).run().exits(0);
        let json = sandbox.mcpipe(words).arg("--json").run();
        assert_eq!(json.exits(0).json(), result);
    }
    for (result, good) in [
        (json!(null), ""),
        (json!("words"), "words\n"),
        (json!([1]), "[\n  1\n]\n"),
        (json!({"content": "words"}), "words\n"),
        (json!({"content": {"type": "text", "text": "words"}}), "words\n"),
        (json!({"content": [{"type": "text", "text": 5}]}), ""),
        (json!({"content": [null, {"type": "text", "text": "words"}]}), "words\n"),
        (json!({"content": [{"text": "no type"}]}), ""),
    ] {
        let given = result.clone();
        let server = Mcp::legacy("2025-11-25").on("tools/call", move |call| call.result(given.clone())).stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "fail", "--timeout", "5s"]).run();
        run.exits(7).prints(good).stderr_contains("the server's response to tools/call is malformed");
    }
}

#[test]
fn odd_errors_are_failures_and_never_hang() {
    for (error, code) in [
        (json!({"code": "-32603", "message": "odd"}), 1),
        (json!({"code": -32603}), 1),
        (json!({"message": "odd"}), 1),
        (json!("odd"), 7),
        (json!({"code": 1e300, "message": "odd", "data": {"deep": [1, {"x": null}]}}), 1),
        (json!({}), 1),
    ] {
        for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
            let error = error.clone();
            let answer = move |call: &ClientMessage| {
                vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": call.id(), "error": error}))]
            };
            let server = mcp.on("tools/call", answer).stdio();
            let run = echo(&server);
            run.exits(code).stderr_contains("mcpipe: error:");
            assert!(run.elapsed < Duration::from_secs(4), "{run:?}");
        }
    }
    // An error that names no request belongs to the only pending one.
    let answer = |_: &ClientMessage| {
        vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "what?"}}))]
    };
    for mcp in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let run = echo(&mcp.on("tools/call", answer).stdio());
        assert!(run.elapsed < Duration::from_secs(4) && run.code() != 0, "{run:?}");
        run.stderr_contains("what?");
    }
}

/// All requests of a legacy server are answered, and nothing else is sent.
#[test]
fn the_servers_own_requests_are_answered() {
    let ask = |id: Value, method: &str| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": {}});
    let server = Mcp::legacy("2025-11-25").on("tools/call", move |call| {
        let mut outs = vec![
            ServerAction::Send(ask(json!("p-1"), "ping")),
            ServerAction::Send(ask(json!(1), "roots/list")),
            ServerAction::Send(ask(json!(1.5), "sampling/createMessage")),
            ServerAction::Send(ask(json!("u"), "fashion/advice")),
        ];
        outs.extend(call.text("asked"));
        outs
    });
    let server = server.stdio();
    echo(&server).exits(0).prints("asked\n");
    let answers: Vec<Value> =
        server.single_process().messages().into_iter().filter(|message| message.get("method").is_none()).collect();
    let to = |id: Value| {
        answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("no response to {id}: {answers:#?}"))
    };
    assert_eq!(to(json!("p-1"))["result"], json!({}));
    for id in [json!(1), json!(1.5), json!("u")] {
        assert_eq!(to(id)["error"]["code"], -32601);
    }
}

#[test]
fn roots_are_sent_if_they_were_offered() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| {
        let id = call.id();
        let then = move |answer: Value| {
            let text = answer["result"]["roots"][0]["uri"].as_str().unwrap_or_default().to_owned();
            vec![ServerAction::Send(
                json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": text}]}}),
            )]
        };
        vec![ServerAction::Request(json!({"jsonrpc": "2.0", "id": "r", "method": "roots/list"}), Box::new(then))]
    });
    let server = server.stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "fail", "--root", "."]).run();
    let work = sandbox.work().canonicalize().unwrap();
    run.exits(0).prints(&format!("file://{}\n", work.display()));
    assert!(
        server.single_process().messages().iter().any(|message| message["params"]["capabilities"]["roots"].is_object())
    );
}

/// Some servers exit at an unknown request: they are restarted, and get `initialize` first.
#[test]
fn a_server_that_dies_at_the_probe_is_started_again() {
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) if line.contains("server/discover") => {
            process.write_stderr("expected initialize\n");
            process.exit(1);
        }
        ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    let call = || sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]).run();
    call().succeeds().prints("hi\n");
    assert_eq!(server.wait_until_all_ended().len(), 2);
    call().succeeds().prints("hi\n");
    assert_eq!(server.wait_until_all_ended().len(), 3, "it is remembered: the probe is not sent again");
}

#[test]
fn a_server_that_drops_the_probe_waits_only_once() {
    let mcp = Arc::new(Mcp::legacy("2024-11-05"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) if line.contains("server/discover") => {}
        ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    let sandbox = Sandbox::new();
    let call = || sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]).run();
    let first = call();
    first.succeeds().prints("hi\n");
    assert!(first.elapsed < Duration::from_secs(6), "{first:?}");
    let second = call();
    second.succeeds().prints("hi\n");
    assert!(second.elapsed < Duration::from_secs(1), "the penalty comes once: {second:?}");
    assert_eq!(server.wait_until_all_ended().len(), 2, "on the same pipe");
}

#[test]
fn a_slow_start_is_not_an_old_server() {
    // ERA-12: a late answer to the probe wins over the handshake that was tried meanwhile.
    let mcp = Arc::new(Mcp::modern());
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Started => std::thread::sleep(Duration::from_millis(3500)),
        ProcessEvent::Line(line) => play_actions(&mcp, process, mcp.handle(&serde_json::from_str(&line).unwrap())),
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Signal(_) => {}
    });
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--info", "--json"]).run();
    assert_eq!(run.exits(0).json()["revision"], "2026-07-28");
}

#[test]
fn a_server_that_exits_is_unreachable_and_its_stderr_is_shown() {
    type Leave = fn(&crate::support::stdio::StdioProcess);
    let ways: &[(&str, Leave)] = &[
        ("exit", |process| {
            process.write_stderr("out of memory\n");
            process.exit(9);
        }),
        ("signal", |process| {
            process.write_stderr("out of memory\n");
            process.crash();
        }),
        ("half an answer", |process| {
            process.write_stderr("out of memory\n");
            process.write("{\"jsonrpc\":\"2.0\",\"id\":");
            process.exit(0);
        }),
        ("white space", |process| {
            process.write_stderr("out of memory\n");
            process.write(" \r");
            process.exit(1);
        }),
        ("stdout closed", |process| {
            process.write_stderr("out of memory\n");
            process.close_stdout();
        }),
    ];
    for (name, leave) in ways {
        let mcp = Mcp::modern();
        let server = StdioServer::start(move |process, event| match event {
            ProcessEvent::Line(line) if line.contains("tools/call") => leave(process),
            ProcessEvent::Line(line) => {
                for out in mcp.handle(&serde_json::from_str(&line).unwrap()) {
                    if let ServerAction::Send(message) = out {
                        process.send(&message);
                    }
                }
            }
            ProcessEvent::Eof => process.exit(0),
            _ => {}
        });
        let started = Instant::now();
        let run = echo(&server);
        assert!(run.code() == 5 || (*name == "half an answer" && run.code() == 7), "{name}: {run:?}");
        // A possible execution is reported too.
        run.stderr_contains("out of memory").stderr_contains("\n  the tool may have run\n");
        assert!(started.elapsed() < Duration::from_secs(4), "{name}: {run:?}");
        // A call is never sent twice silently.
        let calls: usize = server
            .wait_until_all_ended()
            .iter()
            .map(|seen| seen.methods().iter().filter(|name| *name == "tools/call").count())
            .sum();
        assert_eq!(calls, 1, "{name}");
    }
}

#[test]
fn a_server_that_reads_nothing_does_not_hang_it() {
    let server = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.never_read_stdin();
        }
    });
    let text = format!("text={}", "x".repeat(1 << 20));
    let words = ["call", &server.target(), "echo", &text[..100_000], "--timeout", "1s", "--connect-timeout", "1s"];
    let run = Sandbox::new().mcpipe(words).run();
    run.exits(6);
    assert!(run.elapsed < Duration::from_secs(15), "{run:?}");
}
