//! Starting, using, listing and ending sessions.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Sessions;
use crate::support::{Mcp, ProcessEvent, StdioServer};

#[test]
fn commands_use_the_server_of_a_session_in_both_eras() {
    for (mcp, handshake) in [
        (Mcp::modern(), vec!["server/discover"]),
        (Mcp::legacy("2025-11-25"), vec!["server/discover", "initialize", "notifications/initialized"]),
    ] {
        let (server, sessions) = (mcp.stdio(), Sessions::new());
        sessions.start(&server.target());
        sessions.run(&["call", &server.target(), "echo", "text=one"]).succeeds().prints("one\n");
        sessions.run(&["call", &server.target(), "echo", "text=two"]).succeeds().prints("two\n");
        sessions.run(&["read", &server.target(), "demo://hello"]).succeeds().prints("hello\n");
        sessions.stop_all();
        let seen = server.single_process();
        let mut methods = seen.methods();
        assert_eq!(methods.drain(..handshake.len()).collect::<Vec<_>>(), handshake);
        methods.retain(|method| method != "tools/list");
        assert_eq!(methods, ["tools/call", "tools/call", "resources/read"]);
        assert!(seen.eof, "the server was asked to end");
    }
}

#[test]
fn a_command_in_a_session_uses_the_handshake_that_was_completed() {
    let (server, sessions) = (Mcp::legacy("2025-11-25").stdio(), Sessions::new());
    sessions.start(&server.target());
    let sent = |options: &[&str]| {
        let run = sessions.run(&[&["call", &server.target(), "echo", "text=hi", "-v"], options].concat());
        run.exits(0).prints("hi\n");
        let lines = run.stderr().lines().filter_map(|line| line.strip_prefix("→ "));
        let messages = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        messages.map(|message| message["method"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sent(&[]), ["tools/list", "tools/call"]);
    assert_eq!(sent(&[]), ["tools/call"]);
    // A recording begins with the handshake. The keeper answers it from memory, as it does for a command that does not
    // read the result in the greeting.
    let file = sessions.sandbox.path().join("run.rec").display().to_string();
    let all = ["server/discover", "initialize", "notifications/initialized", "tools/list", "tools/call"];
    assert_eq!(sent(&["--record", &file]), all);
    sessions.run(&["call", &format!("replay:{file}"), "echo", "text=hi"]).succeeds().prints("hi\n");
    sessions.stop_all();
    let methods = server.single_process().methods();
    assert_eq!(methods.iter().filter(|method| *method == "initialize").count(), 1, "{methods:?}");
}

#[test]
fn a_session_of_a_server_with_a_handshake_declares_everything_that_commands_can_do() {
    let (server, sessions) = (Mcp::legacy("2025-11-25").stdio(), Sessions::new());
    sessions.start(&server.target());
    sessions.stop_all();
    let seen = server.single_process().messages();
    let initialize = seen.iter().find(|message| message["method"] == "initialize").unwrap();
    let declared = json!({"roots": {}, "sampling": {}, "elicitation": {"form": {}, "url": {}}});
    assert_eq!(initialize["params"]["capabilities"], declared);
}

#[test]
fn sessions_are_listed_with_their_processes() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    sessions.run(&["session", "list"]).exits(0).prints("").stderr_is("no sessions\n");
    let run = sessions.run(&["session", "start", &server.target(), "--name", "mine", "--idle", "5m", "--json"]);
    let started = run.succeeds().json();
    let listed = sessions.list();
    assert_eq!(listed.len(), 1);
    let session = &listed[0];
    assert_eq!(session["name"], "mine");
    assert_eq!(session["target"], "relay");
    assert_eq!((&session["transport"], &session["idle_ms"]), (&json!("stdio"), &json!(300_000)));
    assert_eq!(session["server_pids"], json!([server.processes()[0].pid]));
    assert_eq!((&session["commands"], &session["pid"]), (&json!(0), &started["pid"]));
    let table = sessions.run(&["session", "list"]);
    let pid = session["pid"].to_string();
    table.succeeds();
    assert!(table.stdout().starts_with(&format!("mine\trelay\tstdio\t{pid}\t0\t")), "{table:?}");
    assert!(table.stdout().ends_with(" s\t5 min\n"), "{table:?}");
    sessions
        .run(&["session", "stop", "other"])
        .exits(3)
        .stderr_is("mcpipe: error: there is no session 'other'\nhint: list the sessions: mcpipe session list\n");
    sessions.run(&["session", "stop", "mine"]).exits(0).stderr_is("stopped the session 'mine'\n");
    sessions.assert_gone();
}

#[test]
fn a_session_is_started_once() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let start = |words: &[&str]| sessions.run(&[&["session", "start"], words].concat());
    // The name is not a target, so the command that uses the session is shown.
    let listing = format!("mcpipe list -- {}", server.target());
    let usage = format!("to use it, name its target: {listing}\n");
    let started = |text: &str| format!("{text}\n{usage}");
    start(&[&server.target()]).exits(0).prints("").stderr_is(&started("started the session 'relay'"));
    start(&[&server.target()]).exits(0).prints("").stderr_is(&started("the session 'relay' is already running"));
    // Another identity needs another name.
    let target = server.target();
    start(&[&target, "-e", "A=1", "--name", "relay"])
        .exits(2)
        .stderr_contains("there is a session 'relay' for another");
    start(&[&target, "-e", "A=1"]).exits(0).stderr_contains("started the session 'relay-2'\n");
    // What the running session cannot change is not ignored.
    for (option, setting) in [(["--name", "other"], "name"), (["--idle", "1h"], "idle time")] {
        start(&[&[target.as_str()], &option[..]].concat()).exits(2).stderr_is(&format!(
            "mcpipe: error: the session 'relay' is already running with another {setting}\n\
            hint: stop it first: mcpipe session stop relay\n"
        ));
    }
    start(&[&target, "--name", "relay", "--idle", "10m"]).exits(0);
    assert_eq!(server.processes().len(), 2);
    sessions.stop_all();
}

#[test]
fn names_idle_times_and_targets_of_sessions_are_checked() {
    let sessions = Sessions::new();
    let start = |words: &[&str]| sessions.run(&[&["session", "start"], words].concat());
    start(&["--name", "x y/z", "--", "server"]).exits(2).stderr_is(
        "mcpipe: error: 'x y/z' is not a valid session name\n  \
        a name consists of letters, digits, '_', '-', '.' and '/', begins with a letter or digit, \
        and does not end with '.' or '/'\n\
        hint: use 'x-y/z'\n",
    );
    start(&["--idle", "0", "--", "server"]).exits(2).stderr_contains("expected a positive duration such as 30s");
    start(&["foo", "--", "server", "a b"]).exits(2).stderr_is(
        "mcpipe: error: 'foo' and a command after `--` are two targets\n\
        hint: to name the session: mcpipe session start --name foo -- server 'a b'\n",
    );
    sessions.assert_gone();
}

#[test]
fn what_the_server_prints_on_stderr_is_in_the_log() {
    let server = StdioServer::start({
        let mcp = std::sync::Arc::new(Mcp::modern());
        move |process, event| match event {
            ProcessEvent::Started => process.write_stderr("listening with s3cret-1, s3cret-2 and s3cret-3\n"),
            ProcessEvent::Line(line) => {
                let message = serde_json::from_str(&line).unwrap();
                crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
            }
            ProcessEvent::Eof => process.exit(0),
            ProcessEvent::Signal(_) => {}
        }
    });
    let sessions = Sessions::new();
    let json = r#"{"list": [{"apiKey": "s3cret-2"}]}"#;
    let words = [server.words(), vec!["--config".to_owned(), json.to_owned(), "A=b;Password=s3cret-3".to_owned()]];
    sessions.sandbox.config(&format!(
        "[servers.relay]\ncommand = {:?}\nargs = {:?}\nenv = {{ API_KEY = \"s3cret-1\" }}\n",
        words[0][0],
        &words.concat()[1..]
    ));
    sessions.start("relay");
    let end = Instant::now() + Duration::from_secs(10);
    let line = "listening with [redacted], [redacted] and [redacted]";
    while sessions.run(&["session", "logs", "relay"]).stdout() != format!("{line}\n") {
        assert!(Instant::now() < end, "{:?}", sessions.run(&["session", "logs", "relay"]));
    }
    let json = sessions.run(&["session", "logs", "relay", "--json"]).json();
    assert_eq!(json, json!({"name": "relay", "lines": [line]}));
    sessions.stop_all();
}

#[test]
fn an_idle_session_ends_with_its_server() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    sessions.run(&["session", "start", &server.target(), "--idle", "300ms", "-q"]).succeeds();
    sessions.assert_gone();
    assert!(server.single_process().eof);
    // A later command starts its own server.
    sessions.sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]).run().succeeds().prints("hi\n");
    assert_eq!(server.processes().len(), 2);
}

#[test]
fn a_session_does_not_become_idle_during_a_call() {
    let mcp = std::sync::Arc::new(Mcp::modern());
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: serde_json::Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "tools/call" {
                // Several times as long as the session may be idle.
                std::thread::sleep(Duration::from_millis(400));
            }
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let (words, sessions) = (server.words(), Sessions::new());
    sessions.sandbox.config(&format!(
        "[servers.demo]\ncommand = \"{}\"\nargs = [\"{}\"]\nkeep_alive = \"100ms\"\n",
        words[0], words[1]
    ));
    sessions
        .run(&["call", "demo", "echo", "text=slow", "-v"])
        .exits(0)
        .prints("slow\n")
        .stderr_contains("using the session");
    sessions.assert_gone();
    assert_eq!(server.single_process().methods().last().unwrap(), "tools/call");
}

#[test]
fn a_session_whose_server_cannot_be_started_leaves_nothing() {
    let sessions = Sessions::new();
    let run = sessions.run(&["session", "start", "--", "no-such-server"]);
    run.exits(5).stderr_contains("mcpipe: error: cannot start 'no-such-server'\n");
    sessions.assert_gone();
    let server = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.write_stderr("no license\n");
            process.exit(3);
        }
    });
    sessions.run(&["session", "start", &server.target()]).exits(5).stderr_contains("no license");
    sessions.assert_gone();
}

/// Two commands start the same session at once: the one that comes second connects only to find out whether a keeper is
/// running, and then again.
#[test]
fn a_keeper_that_cannot_start_says_why_to_every_command_that_waits_for_it() {
    let sessions = Sessions::new();
    let directory = sessions.sandbox.path().join("run/mcpipe");
    std::fs::create_dir_all(&directory).unwrap();
    let socket = directory.join("id.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    drop(UnixStream::connect(&socket).unwrap());
    let mut waiting = [(); 2].map(|()| UnixStream::connect(&socket).unwrap());
    waiting.iter_mut().for_each(|stream| stream.write_all(b"{\"command\":\"connect\"}\n").unwrap());
    let mut keeper = sessions
        .sandbox
        .mcpipe(["session", "keep"])
        .command(&[])
        .stdin(Stdio::piped())
        .stdout(OwnedFd::from(listener))
        .spawn()
        .unwrap();
    let resolution = json!({"words": ["mcpipe", "session", "start", "nope"], "secrets": []});
    let input = json!({"dir": directory, "id": "id", "name": "nope", "target": "nope", "idle_ms": 1000, "resolution": resolution});
    keeper.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
    for mut stream in waiting {
        let mut greeting = String::new();
        stream.read_to_string(&mut greeting).unwrap();
        assert!(greeting.contains("no server named 'nope' is configured"), "{greeting:?}");
    }
    assert_eq!(keeper.wait().unwrap().code(), Some(3));
    sessions.assert_gone();
}

#[test]
fn keep_alive_starts_a_session_at_the_first_use() {
    let (server, sessions) = (Mcp::legacy("2025-06-18").stdio(), Sessions::new());
    let words = server.words();
    let config =
        format!("[servers.demo]\ncommand = \"{}\"\nargs = [\"{}\"]\nkeep_alive = \"1m\"\n", words[0], words[1]);
    sessions.sandbox.config(&config);
    sessions.run(&["call", "demo", "echo", "text=one"]).succeeds().prints("one\n");
    let run = sessions.run(&["call", "demo", "echo", "text=two", "-v"]);
    let pid = sessions.list()[0]["pid"].to_string();
    run.exits(0).prints("two\n").stderr_contains(&format!("note: using the session demo (process {pid})\n"));
    assert_eq!(server.processes().len(), 1);
    sessions.run(&["call", "demo", "echo", "text=three", "--no-session"]).succeeds().prints("three\n");
    assert_eq!(server.processes().len(), 2);
    assert_eq!(sessions.list()[0]["idle_ms"], 60_000);
    // Another directory gets a session of its own, which the command that starts it says.
    let elsewhere = sessions.sandbox.path();
    let call = || sessions.sandbox.mcpipe(["call", "demo", "echo", "text=four"]).cwd(elsewhere).allow_leftovers().run();
    let note = "not using the session 'demo': this command differs in the working directory\n";
    call().exits(0).stderr_is(note);
    call().succeeds().stderr_is("");
    sessions.stop_all();
}

#[test]
fn commands_that_start_a_session_at_the_same_time_share_one() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    let config =
        format!("[servers.demo]\ncommand = \"{}\"\nargs = [\"{}\"]\nkeep_alive = \"1m\"\n", words[0], words[1]);
    sessions.sandbox.config(&config);
    let call = |text: &str| sessions.sandbox.mcpipe(["call", "demo", "echo", text]).allow_leftovers().start();
    let running: Vec<_> = ["text=a", "text=b", "text=c", "text=d", "text=e"].map(call).into();
    let printed: Vec<String> = running.into_iter().map(|run| run.wait().succeeds().stdout().to_owned()).collect();
    assert_eq!(printed, ["a\n", "b\n", "c\n", "d\n", "e\n"]);
    assert_eq!((server.processes().len(), sessions.list().len()), (1, 1));
    sessions.stop_all();
}

#[test]
fn listing_all_servers_starts_no_sessions() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    let config =
        format!("[servers.demo]\ncommand = \"{}\"\nargs = [\"{}\"]\nkeep_alive = \"1m\"\n", words[0], words[1]);
    sessions.sandbox.config(&config);
    sessions.sandbox.mcpipe(["lock", "demo", "--no-session"]).run().exits(0);
    for words in [&["list"][..], &["list", "--for", "anthropic"], &["lock", "--check"]] {
        sessions.sandbox.mcpipe(words.iter().copied()).run().exits(0);
        sessions.assert_gone();
    }
}

#[test]
fn a_session_holds_no_file_of_the_command_that_started_it() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let marker = sessions.sandbox.file("marker", "");
    let command = sessions.sandbox.mcpipe(["session", "start", &server.target(), "-q"]);
    let script = format!("exec 9>'{}'; exec \"$0\" \"$@\"", marker.display());
    let status = command.command(&["sh", "-c", &script]).status().unwrap();
    assert!(status.success());
    let keeper = sessions.list()[0]["pid"].to_string();
    let open = std::fs::read_dir(format!("/proc/{keeper}/fd")).unwrap().flatten();
    let open: Vec<_> = open.filter_map(|entry| std::fs::read_link(entry.path()).ok()).collect();
    assert!(!open.is_empty() && !open.contains(&marker), "{open:?}");
    sessions.stop_all();
}

#[test]
fn a_call_of_a_session_can_be_detached_and_its_task_stays() {
    let mcp = Mcp::modern().on("tools/call", |call| {
        call.result(json!({"resultType": "task", "taskId": "t1", "status": "working", "ttlMs": 60_000}))
    });
    let mcp = mcp.on("tasks/get", |call| {
        let result = json!({"content": [{"type": "text", "text": "done"}], "resultType": "complete"});
        call.result(json!({"taskId": "t1", "status": "completed", "ttlMs": 60_000, "result": result}))
    });
    let capabilities = json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    let (server, sessions) = (mcp.capabilities(capabilities).stdio(), Sessions::new());
    let call = || sessions.run(&["call", &server.target(), "echo", "text=hi", "--detach", "-q"]);
    call().exits(2).stderr_contains("--detach needs a server that keeps running");
    sessions.start(&server.target());
    call().succeeds().prints("t1\n");
    sessions.run(&["task", "wait", "t1"]).succeeds().prints("done\n");
    assert_eq!(server.processes().len(), 1);
    sessions.stop_all();
}

/// The size of the code of a process and what of it is in memory, in KiB (proc_pid_smaps(5)).
#[cfg(target_os = "linux")]
fn code_in_memory(pid: &serde_json::Value) -> (u64, u64) {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let is_code = |line: &str| line.contains(" r-xp ") && line.ends_with("/mcpipe");
    let mut code = maps.lines().skip_while(|line| !is_code(line)).skip(1);
    let mut number = |key| {
        let value = code.find_map(|line| line.strip_prefix(key)).unwrap();
        value.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (number("Size:"), number("Rss:"))
}

#[cfg(target_os = "linux")]
#[test]
fn an_idle_keeper_gives_the_memory_of_its_code_back() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    sessions.start(&server.target());
    let pid = &sessions.list()[0]["pid"];
    let deadline = Instant::now() + Duration::from_secs(60);
    for text in ["one", "two"] {
        let word = format!("text={text}");
        sessions.run(&["call", &server.target(), "echo", &word]).succeeds().prints(&format!("{text}\n"));
        loop {
            let (size, resident) = code_in_memory(pid);
            if resident < size / 3 {
                break;
            }
            assert!(Instant::now() < deadline, "{resident} of {size} KiB of code are still in memory");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    sessions.stop_all();
}

/// As in a container, or after `su`.
#[test]
fn a_session_is_started_though_the_runtime_directory_does_not_exist() {
    let (server, sessions) = (Mcp::modern().stdio(), Sessions::new());
    let words = server.words();
    sessions
        .sandbox
        .config(&format!("[servers.s]\ncommand = '{}'\nargs = ['{}']\nkeep_alive = '5m'\n", words[0], words[1]));
    let runtime = sessions.sandbox.work().join("none/runtime");
    let run = |words: &[&str]| {
        sessions.sandbox.mcpipe(words).env("XDG_RUNTIME_DIR", runtime.as_os_str()).allow_leftovers().run()
    };
    run(&["call", "s", "echo", "text=hi"]).exits(0).prints("hi\n").stderr_is("");
    run(&["session", "stop", "--all", "-q"]).exits(0);
    sessions.assert_gone();
    let unusable = sessions.sandbox.mcpipe(["call", "s", "echo", "text=hi"]).env("XDG_RUNTIME_DIR", "/proc/none").run();
    unusable.exits(3).stderr_contains("hint: use the server without a session: --no-session\n");
}
