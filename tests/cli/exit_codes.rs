//! Every row of the table of exit codes, triggered by a realistic error, with the JSON error. 70 is missing: no input is known
//! to cause a bug.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{Feed, HttpServer, Mcp, ProcessEvent, Reply, Run, Sandbox, ServerAction, StdioServer};

/// Runs it twice: without `--json` the message has the usual form, and with it error kind and code agree.
#[track_caller]
fn ends(sandbox: &Sandbox, words: &[&str], code: i32, class: &str) -> Run {
    let run = sandbox.mcpipe(words).run();
    run.exits(code);
    let first = run.stderr().lines().find(|line| !line.starts_with("mcpipe: warning: ")).unwrap_or_default();
    assert!(first.starts_with("mcpipe: error: "), "{run:?}");
    let mut with_json = vec![words[0], "--json"];
    with_json.extend_from_slice(&words[1..]);
    let as_json = sandbox.mcpipe(with_json).run();
    let error = as_json.exits(code).json_error();
    assert_eq!((&error["class"], &error["code"]), (&json!(class), &json!(code)), "{as_json:?}");
    assert!(!error["message"].as_str().unwrap_or_default().is_empty(), "{as_json:?}");
    run
}

#[test]
fn done_is_0() {
    let server = Mcp::modern().stdio();
    Sandbox::new().mcpipe(["call", &server.target(), "echo", "text=hi"]).run().succeeds().prints("hi\n");
    for words in [&["--help"][..], &["--version"], &["call", "--help"], &["help", "list"]] {
        let run = Sandbox::new().mcpipe(words).run();
        assert!(!run.succeeds().stdout().is_empty(), "help goes to stdout: {run:?}");
    }
}

#[test]
fn what_the_server_refuses_is_1() {
    let server = Mcp::modern().on("tools/call", |call| call.error(-32603, "no more paper")).stdio();
    let sandbox = Sandbox::new();
    ends(&sandbox, &["call", &server.target(), "fail"], 1, "failed").stderr_contains("no more paper");
    ends(&sandbox, &["call", &server.target(), "nothing"], 1, "failed");
    ends(&sandbox, &["read", &server.target(), "demo://nothing"], 1, "failed");
    ends(&sandbox, &["prompt", &server.target(), "nothing"], 1, "failed");
    let failing = Mcp::modern().stdio();
    sandbox
        .mcpipe(["call", &failing.target(), "fail"])
        .run()
        .exits(1)
        .prints("it is broken\n")
        .stderr_contains("mcpipe: error: the tool reported an error\n");
}

#[test]
fn a_wrong_command_line_is_2() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    for words in [
        &["call", &target, "add", "a=one", "b=2"][..],
        &["call", &target, "add", "a=1"],
        &["call", &target, "add", "a=1", "b=2", "c=3"],
        &["call", &target, "add", "--args", "{"],
        &["list", &target, "--frobnicate"],
        &["list", &target, "--timeout", "soon"],
        &["list", &target, "--protocol", "1999-01-01"],
        &["frobnicate"],
        &["call"],
        &["list", "http://example.com/mcp"],
    ] {
        ends(&sandbox, words, 2, "usage");
    }
    let bare = sandbox.mcpipe([""; 0]).run();
    bare.exits(2).prints("").stderr_contains("Usage: mcpipe");
    // Nothing of this reached a tool.
    assert!(server.wait_until_all_ended().iter().all(|seen| !seen.methods().contains(&"tools/call".to_owned())));
}

#[test]
fn a_wrong_configuration_is_3() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.linear]\nurl = \"https://mcp.linear.app/mcp\"\n");
    ends(&sandbox, &["list", "linaer"], 3, "config").stderr_contains("linear");
    sandbox.config("[servers.one]\nurl = \n");
    ends(&sandbox, &["list", "one"], 3, "config").stderr_contains("config.toml");
    sandbox.config("[servers.one]\nurl = \"http://127.0.0.1:1/mcp\"\nheaders = { X-Team = \"${TEAM_OF_NOBODY}\" }\n");
    ends(&sandbox, &["list", "one"], 3, "config").stderr_contains("TEAM_OF_NOBODY");
    let words = ["list", "http://127.0.0.1:1/mcp", "--bearer-env", "TOKEN_OF_NOBODY"];
    ends(&sandbox, &words, 3, "config").stderr_contains("TOKEN_OF_NOBODY");
    ends(&sandbox, &["list", "one", "--config", "/nowhere/config.toml"], 3, "config")
        .stderr_contains("/nowhere/config.toml");
}

#[test]
fn refused_credentials_are_4() {
    for status in [401, 403] {
        let server = HttpServer::start(move |_| {
            Reply::text("text/plain", "who are you")
                .with_status(status)
                .header("WWW-Authenticate", "Bearer error=\"x\"")
        });
        ends(&Sandbox::new(), &["list", &server.url("/mcp")], 4, "auth");
    }
}

#[test]
fn out_of_reach_is_5() {
    let sandbox = Sandbox::new();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/mcp?key=hunter2", listener.local_addr().unwrap())
    };
    ends(&sandbox, &["list", &closed], 5, "unreachable").stderr_contains("refused").hides("hunter2");
    ends(&sandbox, &["list", "https://nowhere.invalid/mcp"], 5, "unreachable").stderr_contains("nowhere.invalid");
    ends(&sandbox, &["list", "./no-such-server"], 5, "unreachable").stderr_contains("no-such-server");
    for status in [404, 429, 500, 502, 503] {
        let server = HttpServer::start(move |_| Reply::text("text/html", "<h1>no</h1>").with_status(status));
        ends(&sandbox, &["list", &server.url("/mcp")], 5, "unreachable").stderr_contains(&status.to_string());
    }
    let cut = HttpServer::start(|_| Reply::disconnect());
    ends(&sandbox, &["list", &cut.url("/mcp")], 5, "unreachable");

    let dies = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.write_stderr("cannot open the database\n");
            process.exit(3);
        }
    });
    let run = ends(&sandbox, &["list", &dies.target()], 5, "unreachable");
    run.stderr_contains("cannot open the database").stderr_contains("3");
}

#[test]
fn too_late_is_6() {
    let mute = HttpServer::start(|_| Reply::never());
    let words = ["list", &mute.url("/mcp"), "--timeout", "300ms", "--connect-timeout", "300ms"];
    ends(&Sandbox::new(), &words, 6, "timeout");
    let mute = StdioServer::start(|process, event| {
        if event == ProcessEvent::Eof {
            process.exit(0);
        }
    });
    let words = ["list", &mute.target(), "--timeout", "300ms", "--connect-timeout", "300ms"];
    ends(&Sandbox::new(), &words, 6, "timeout");
    let slow = Mcp::modern().on("tools/call", |_| vec![ServerAction::Pause(Duration::from_secs(30))]).stdio();
    let run = ends(&Sandbox::new(), &["call", &slow.target(), "fail", "--timeout", "300ms"], 6, "timeout");
    assert!(run.elapsed < Duration::from_secs(5), "{run:?}");
}

#[test]
fn a_broken_protocol_is_7() {
    let sandbox = Sandbox::new();
    let html = HttpServer::start(|_| Reply::text("text/html", "<h1>Welcome</h1>"));
    ends(&sandbox, &["list", &html.url("/mcp")], 7, "protocol").stderr_contains("text/html");
    let half =
        Mcp::modern().on("tools/list", |_| vec![ServerAction::RawText("{\"jsonrpc\":\"2.0\",".to_owned())]).http();
    ends(&sandbox, &["list", &half.url("/mcp"), "--timeout", "2s"], 7, "protocol");
    let future = Mcp::legacy("2031-01-01").stdio();
    ends(&sandbox, &["list", &future.target()], 7, "protocol").stderr_contains("2031-01-01");
    let newer = Mcp::modern().on("tools/list", |call| {
        let versions = json!({"supported": ["2031-01-01"], "requested": "2026-07-28"});
        call.error_with(-32022, "Unsupported protocol version", versions)
    });
    let newer = newer.stdio();
    ends(&sandbox, &["list", &newer.target(), "--protocol", "2026-07-28"], 7, "protocol").stderr_contains("2031-01-01");
}

#[test]
fn a_refusal_is_8() {
    let server = Mcp::modern().stdio();
    let words = server.words();
    let sandbox = Sandbox::new();
    let head = format!("[servers.s]\ncommand = {:?}\nargs = [{:?}]\n", words[0], words[1]);
    sandbox.config(&format!("{head}deny_tools = [\"ech*\"]\n"));
    ends(&sandbox, &["call", "s", "echo", "text=x"], 8, "refused");
    sandbox.config(&format!("{head}[defaults]\nconfirm = \"always\"\n"));
    ends(&sandbox, &["call", "s", "echo", "text=x"], 8, "refused").stderr_contains("--yes");
    sandbox.mcpipe(["call", "s", "echo", "text=x", "--yes"]).run().succeeds().prints("x\n");
    let calls =
        server.wait_until_all_ended().iter().filter(|seen| seen.methods().contains(&"tools/call".to_owned())).count();
    assert_eq!(calls, 1, "only the call that was agreed to was sent");
}

/// Starts a call that never ends, sends the signal once the server has it, and returns the run and the server's log.
fn interrupted(server: StdioServer, signal: Signal) -> (Run, Vec<serde_json::Value>) {
    let running = Sandbox::new().mcpipe(["call", &server.target(), "slow"]).with_default_hangup().start();
    server.wait_for("the call", |seen| {
        seen.iter().any(|one| !one.stdin.is_empty() && one.methods().contains(&"tools/call".to_owned()))
    });
    running.signal(signal);
    let run = running.wait();
    (run, server.wait_until_all_ended().pop().unwrap().messages())
}

#[test]
fn a_signal_is_128_and_its_number() {
    let endless = |server: Mcp| server.on("tools/call", |_| Vec::new()).stdio();
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
            let (run, messages) = interrupted(endless(server), signal);
            run.exits(code);
            let call = messages.iter().find(|message| message["method"] == "tools/call").unwrap();
            let last = messages.last().unwrap();
            assert_eq!(last["method"], "notifications/cancelled", "the server is told: {messages:?}");
            assert_eq!(last["params"]["requestId"], call["id"]);
        }
    }
}

#[test]
fn a_signal_that_nohup_ignores_stays_ignored() {
    let server = Mcp::modern().on("tools/call", |_| Vec::new()).stdio();
    let mcpipe = Sandbox::new().mcpipe(["call", &server.target(), "slow"]);
    let mut child = mcpipe
        .command(&["/usr/bin/nohup"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    server.wait_for("the call", |seen| seen.iter().any(|one| one.methods().contains(&"tools/call".to_owned())));
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::HUP).unwrap();
    // The next signal ends it, so the first one did not.
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

#[test]
fn an_interrupt_over_http_is_told_in_the_way_of_the_era() {
    // In the modern era closing the stream is the cancellation (HTM-09).
    let modern = HttpServer::start({
        let script = Mcp::modern().http_script(LegacyHttpOptions::default());
        move |request| {
            if request.rpc_method() == "tools/call" {
                Reply::sse().write(": working\n\n").then_stall()
            } else {
                script(request)
            }
        }
    });
    let running = Sandbox::new().mcpipe(["call", &modern.url("/mcp"), "slow"]).start();
    let call = modern.wait_for("the call", |request| request.rpc_method() == "tools/call");
    running.signal(Signal::INT);
    running.wait().exits(130);
    assert_eq!(modern.exchanges().last().map(String::as_str), Some("POST tools/call"), "no message tells it");
    let end = std::time::Instant::now() + Duration::from_secs(5);
    while modern.abandoned() != [call.n] {
        assert!(std::time::Instant::now() < end, "the stream is closed: {:?}", modern.abandoned());
        std::thread::sleep(Duration::from_millis(5));
    }

    // In the legacy era a notification, and the end of the session.
    let feed = Feed::default();
    let behave = LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() };
    let legacy = HttpServer::start({
        let (script, feed) = (Mcp::legacy("2025-11-25").http_script(behave), feed.clone());
        move |request| if request.rpc_method() == "tools/call" { Reply::sse().feed(&feed) } else { script(request) }
    });
    let running = Sandbox::new().mcpipe(["call", &legacy.url("/mcp"), "slow"]).start();
    let call = legacy.wait_for("the call", |request| request.rpc_method() == "tools/call");
    running.signal(Signal::TERM);
    running.wait().exits(143);
    let told = legacy.wait_for("the cancellation", |request| request.rpc_method() == "notifications/cancelled");
    assert_eq!(told.json()["params"]["requestId"], call.id());
    assert_eq!(legacy.exchanges().last().map(String::as_str), Some("DELETE"));
}

#[test]
fn a_low_limit_of_open_files_is_reported_as_that() {
    for limit in ["6", "8", "15"] {
        let sandbox = Sandbox::new();
        let script = format!("ulimit -n {limit} && exec \"$@\"");
        let command = sandbox.mcpipe(["list", "--", "true"]);
        let output = command.command(&["sh", "-c", &script, "sh"]).output().unwrap();
        let expected = format!(
            "mcpipe: error: too few files may be open at once\n  the limit of this shell is {limit}\nhint: raise it: ulimit -n 256\n"
        );
        assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(3), expected));
    }
}

#[test]
fn no_limit_of_open_files_leads_to_a_bug_in_mcpipe() {
    let (stdio, http) = (Mcp::modern().stdio(), Mcp::modern().http());
    for limit in 16..=24 {
        for target in [stdio.target(), http.url("/mcp")] {
            let sandbox = Sandbox::new();
            let script = format!("ulimit -n {limit} && exec \"$@\"");
            let command = sandbox.mcpipe(["call", &target, "echo", "text=hi"]);
            let output = command.command(&["sh", "-c", &script, "sh"]).output().unwrap();
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert!(matches!(output.status.code(), Some(0 | 5 | 7)), "{limit} {target}: {:?} {stderr}", output.status);
            assert!(!stderr.contains("panicked"), "{limit} {target}: {stderr}");
        }
    }
}
