//! The standard streams: only results on stdout, pipes, terminals, and processes left behind.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use expect_test::expect;
use serde_json::json;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::pty::TerminalStreams;
use crate::support::{HttpServer, Mcp, ProcessEvent, Sandbox, StdioServer};

#[test]
fn a_closed_pipe_ends_it_quietly_with_0() {
    let many: Vec<_> =
        (0..20_000).map(|n| json!({"name": format!("tool_{n}"), "inputSchema": {"type": "object"}})).collect();
    let server = Mcp::modern().tools(json!(many)).stdio();
    let sandbox = Sandbox::new();
    for words in [vec!["list"], vec!["list", "--json"]] {
        let run = sandbox.mcpipe([words[0], &server.target()]).args(&words[1..]);
        let mut child =
            run.command(&[]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = [0; 10];
        child.stdout.take().unwrap().read_exact(&mut first).unwrap();
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(0), ""));
    }
}

#[test]
fn a_stream_that_the_caller_has_closed_is_no_file_of_ours() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--trace", "trace"]);
    for (closed, code, stdout) in [("<&- >&- 2>&-", 74, ""), ("<&- 2>&-", 0, "x\n")] {
        let script = format!("exec \"$0\" \"$@\" {closed}");
        let output = run.command(&["sh", "-c", &script]).output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(code), stdout.as_bytes()), "{closed}");
        // Output for a closed stream must not go into the trace file, which may have the same descriptor.
        let trace = std::fs::read_to_string(sandbox.work().join("trace")).unwrap();
        assert!(trace.lines().count() > 2 && trace.lines().all(|line| line.starts_with('{')), "{trace}");
    }
}

#[test]
fn a_closed_standard_output_is_a_failure_to_write() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    for words in [&["call", &server.target(), "echo", "text=x"][..], &["list", &server.target()], &["--help"]] {
        let run = sandbox.mcpipe(words);
        let output = run.command(&["sh", "-c", "exec \"$0\" \"$@\" >&-"]).output().unwrap();
        assert_eq!(output.status.code(), Some(74), "{words:?}");
        let expected = "mcpipe: error: cannot write to standard output\n  it is closed\n";
        assert_eq!(String::from_utf8_lossy(&output.stderr), expected, "{words:?}");
    }
    // A closed stream cannot fail, and `/dev/null` is a valid destination.
    for redirection in [">/dev/null", "1<>/dev/null"] {
        let script = format!("exec \"$0\" \"$@\" {redirection}");
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x"]);
        let output = run.command(&["sh", "-c", &script]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{redirection}: {output:?}");
    }
}

#[test]
fn a_full_disk_is_not_success() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=x"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = run.command(&[]).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_ne!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"), "{output:?}");
}

#[test]
fn output_is_styled_at_a_terminal() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let seen = sandbox.mcpipe(["list", &server.target()]).at_terminal(TerminalStreams::ALL).wait();
    expect![[r#"
        NAME   DESCRIPTION                          PARAMETERS
        echo   Says what it is told. Nothing else.  text
        add    Adds two integers                    a: integer, b: integer
        fail   Always fails
        image  Returns a picture
        slow   Reports progress                     steps?: integer
    "#]]
    .assert_eq(&format!("{}\n", seen.exits(0).final_screen()));
    let plain =
        sandbox.mcpipe(["list", &server.target()]).env("NO_COLOR", "1").at_terminal(TerminalStreams::ALL).wait();
    assert!(plain.exits(0).screen.contains("echo") && !plain.screen.contains("\u{1b}[3"), "{}", plain.screen);
    let piped = sandbox.mcpipe(["list", &server.target()]).at_terminal(TerminalStreams::PIPED).wait();
    assert!(piped.piped.starts_with(b"echo\tSays what it is told. Nothing else.\t"), "{:?}", piped.piped);
}

#[test]
fn json_at_a_terminal_is_the_same_document() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let words = ["call", &server.target(), "add", "a=1", "b=2", "--json", "--color", "never"];
    let seen = sandbox.mcpipe(words).at_terminal(TerminalStreams::ALL).wait();
    let piped = sandbox.mcpipe(words).run();
    let at_terminal: serde_json::Value = serde_json::from_str(&seen.exits(0).final_screen()).unwrap();
    assert_eq!(at_terminal, piped.succeeds().json());
}

#[test]
fn server_text_cannot_play_with_a_terminal() {
    let evil = "safe\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}txt.exe\u{9b}31m\u{200b}end";
    let tool = json!({"name": "t", "description": evil, "inputSchema": {"type": "object"}});
    let server = Mcp::modern().tools(json!([tool])).on("tools/call", move |call| call.text(evil)).stdio();
    let sandbox = Sandbox::new();
    for words in [&["call", &server.target(), "t"][..], &["list", &server.target()], &["list", &server.target(), "t"]] {
        let seen = sandbox.mcpipe(words).env("NO_COLOR", "1").at_terminal(TerminalStreams::ALL).wait();
        for bad in ["\u{1b}]", "\u{1b}[2J", "\u{7}", "\u{202e}", "\u{9b}"] {
            assert!(seen.screen.contains("safe\\x1b") && !seen.screen.contains(bad), "{bad:?}: {:?}", seen.screen);
        }
        assert!(seen.screen.contains("safe") && seen.screen.contains("end"), "{:?}", seen.screen);
    }
    // A pipe gets what the server sent.
    sandbox.mcpipe(["call", &server.target(), "t"]).run().prints(&format!("{evil}\n"));
    let server = Mcp::modern().on("tools/call", move |call| call.error(-32603, evil)).stdio();
    let seen = sandbox
        .mcpipe(["call", &server.target(), "fail"])
        .env("NO_COLOR", "1")
        .at_terminal(TerminalStreams::ALL)
        .wait();
    for bad in ["\u{1b}]", "\u{1b}[2J", "\u{7}", "\u{202e}", "\u{9b}"] {
        assert!(!seen.exits(1).screen.contains(bad), "{bad:?} reaches the terminal: {:?}", seen.screen);
    }
}

#[test]
fn progress_is_seen_at_a_terminal_and_gone_at_the_end() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let mut terminal = sandbox.mcpipe(["call", &server.target(), "slow", "steps=20"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("step");
    let seen = terminal.wait();
    assert_eq!(seen.exits(0).final_screen().trim(), "done");
    let run = sandbox.mcpipe(["call", &server.target(), "slow"]).run();
    run.succeeds().prints("done\n");
}

#[test]
fn a_script_never_hangs_on_a_question() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let words = server.words();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.s]\ncommand = {:?}\nargs = [{:?}]\n[defaults]\nconfirm = \"always\"\n",
        words[0], words[1]
    ));
    let run = sandbox.mcpipe(["call", "s", "echo", "text=x"]).stdin_open().timeout(Duration::from_secs(10)).run();
    run.exits(8);
}

#[test]
fn consent_is_asked_at_a_terminal() {
    let server = Mcp::modern().stdio();
    let words = server.words();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.s]\ncommand = {:?}\nargs = [{:?}]\n[defaults]\nconfirm = \"always\"\n",
        words[0], words[1]
    ));
    let mut terminal = sandbox.mcpipe(["call", "s", "echo", "text=agreed"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("echo").type_keys("y\n");
    let seen = terminal.wait();
    assert!(seen.exits(0).final_screen().ends_with("agreed"), "{}", seen.screen);
    let mut terminal = sandbox.mcpipe(["call", "s", "echo", "text=agreed"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("echo").type_keys("n\n");
    terminal.wait().exits(8);
}

#[test]
fn ctrl_c_at_a_terminal_ends_everything() {
    let server = Mcp::modern().on("tools/call", |_| Vec::new()).stdio();
    let mut terminal = Sandbox::new().mcpipe(["call", &server.target(), "fail"]).at_terminal(TerminalStreams::ALL);
    server.wait_for("the call", |seen| seen.iter().any(|one| one.methods().contains(&"tools/call".to_owned())));
    terminal.type_keys("\u{3}");
    terminal.wait().exits(130);
    assert_eq!(server.single_process().methods().last().map(String::as_str), Some("notifications/cancelled"));
}

#[test]
fn nothing_is_left_behind_by_a_stubborn_server() {
    // It ignores the end of its input and SIGTERM, and has a child that keeps sleeping.
    let server = StdioServer::start(|process, event| match event {
        ProcessEvent::Started => {
            process.trap_signals();
            process.spawn_grandchild();
        }
        ProcessEvent::Line(line) => {
            let message: serde_json::Value = serde_json::from_str(&line).unwrap();
            for out in Mcp::modern().handle(&message) {
                if let crate::support::ServerAction::Send(message) = out {
                    process.send(&message);
                }
            }
        }
        _ => {}
    });
    let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi"]).run();
    run.exits(0).prints("hi\n");
    assert!(run.elapsed < Duration::from_secs(10), "it did not wait forever: {run:?}");
    let seen = server.single_process();
    assert!(seen.eof, "its input was closed first");
    assert!(seen.signals.contains(&"TERM".to_owned()), "it was asked before it was killed: {:?}", seen.signals);
}

#[test]
fn a_quick_server_costs_no_waiting() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi"]).run();
    run.succeeds();
    assert!(run.elapsed < Duration::from_millis(1500), "{run:?}");
}

#[test]
fn the_servers_own_stderr_is_drained_and_shown_where_it_matters() {
    let noise = "x".repeat(200_000) + "\nlast words\n";
    let server = {
        let noise = noise.clone();
        let mcp = Mcp::modern();
        StdioServer::start(move |process, event| match event {
            ProcessEvent::Started => process.write_stderr(&noise),
            ProcessEvent::Line(line) => {
                for out in mcp.handle(&serde_json::from_str(&line).unwrap()) {
                    if let crate::support::ServerAction::Send(message) = out {
                        process.send(&message);
                    }
                }
            }
            ProcessEvent::Eof => process.exit(0),
            ProcessEvent::Signal(_) => {}
        })
    };
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]).run().succeeds().prints("hi\n");
    sandbox
        .mcpipe(["call", &server.target(), "echo", "text=hi", "-vv"])
        .run()
        .exits(0)
        .prints("hi\n")
        .stderr_contains("last words");
}

#[test]
fn verbose_shows_the_exchange_without_secrets() {
    let server = Mcp::modern().http();
    let sandbox = Sandbox::new();
    let words =
        ["call", &server.url("/mcp"), "echo", "text=hi", "-vv", "--bearer-env", "T", "-H", "X-Api-Key: key-123"];
    let run = sandbox.mcpipe(words).arg("--trace").arg("trace.ndjson").env("T", "token-456").run();
    run.exits(0).prints("hi\n").stderr_contains("tools/call").hides("token-456").hides("key-123");
    let last = server.requests().pop().unwrap();
    assert_eq!((last.header("authorization"), last.header("x-api-key")), (Some("Bearer token-456"), Some("key-123")));
    let trace = std::fs::read_to_string(sandbox.work().join("trace.ndjson")).unwrap();
    assert!(!trace.contains("token-456") && !trace.contains("key-123"), "{trace}");
    for line in trace.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["time"].is_string(), "{line}");
    }
    assert!(trace.contains("\"tools/call\""), "{trace}");
    // Nor what is secret in a URL or in the headers of a response.
    let behave = LegacyHttpOptions { session_id: Some("session-1"), ..LegacyHttpOptions::default() };
    let script = Mcp::legacy("2025-11-25").http_script(behave);
    let server = HttpServer::start(move |request| script(request).header("Set-Cookie", "a=cookie-2"));
    let url = server.url("/mcp").replace("http://", "http://me:pass-3@") + "?key=key-4";
    let run = sandbox.mcpipe(["list", &url, "-vv", "--trace", "trace.ndjson"]).run();
    run.exits(0);
    let trace = std::fs::read_to_string(sandbox.work().join("trace.ndjson")).unwrap();
    for secret in ["session-1", "cookie-2", "pass-3", "key-4"] {
        assert!(!run.hides(secret).stdout().is_empty() && !trace.contains(secret), "{secret}: {trace}");
    }
    assert_eq!(server.requests()[0].header("authorization"), Some("Basic bWU6cGFzcy0z"));
}

#[test]
fn one_trace_holds_every_server_of_a_run() {
    let sandbox = Sandbox::new();
    let (one, two) = (Mcp::modern().http(), Mcp::modern().http());
    let urls = [one.url("/mcp"), two.url("/mcp")];
    sandbox.config(&format!("[servers.one]\nurl = {:?}\n[servers.two]\nurl = {:?}\n", urls[0], urls[1]));
    sandbox.mcpipe(["list", "--trace", "trace.ndjson"]).run().succeeds();
    let trace = std::fs::read_to_string(sandbox.work().join("trace.ndjson")).unwrap();
    let asked = trace.lines().filter(|line| line.contains(r#""method":"tools/list""#)).count();
    assert_eq!(asked, 2, "{trace}");
}

#[test]
fn scripts_and_pages_are_texts_in_json() {
    let sandbox = Sandbox::new();
    for words in [&["completions", "bash"][..], &["man", "call"]] {
        let plain = sandbox.mcpipe(words.to_vec()).run();
        let json = sandbox.mcpipe(words.to_vec()).arg("--json").run();
        assert_eq!(json.succeeds().json(), plain.succeeds().stdout());
        let filtered = sandbox.mcpipe(words.to_vec()).args(["--jq", "split(\"\\n\")[0]"]).run();
        filtered.succeeds().prints(&format!("{}\n", plain.stdout().lines().next().unwrap()));
    }
}
