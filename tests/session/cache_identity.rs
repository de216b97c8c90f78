//! Cached data belongs to one identity and expires.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::mcp_http::{LegacyHttpOptions, to_reply};
use crate::support::{HttpServer, Mcp, ProcessEvent, Run, Sandbox, StdioServer};

/// A list for this identity only: its tool is named after it.
fn own_list(message: &Value, whose: &str) -> Value {
    let tool = json!({"name": format!("of_{whose}"), "inputSchema": {"type": "object"}});
    let result = json!({"tools": [tool], "resultType": "complete", "ttlMs": 600_000, "cacheScope": "private"});
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result})
}

/// A variable determines whose list it is.
fn by_variable(mcp: Mcp) -> StdioServer {
    let mcp = Arc::new(mcp.on("tools/call", |call| call.text("done")));
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "tools/list" {
                process.send(&own_list(&message, &process.seen().env["API_KEY"]));
            } else {
                play_actions(&mcp, process, mcp.handle(&message));
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    })
}

/// MSG-10: the variables of a child process are part of the identity, configured or inherited.
#[test]
fn a_list_does_not_cross_to_who_has_another_key_in_the_environment() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let (sandbox, server) = (Sandbox::new(), by_variable(mcp));
        let call = |key: &str, tool: &str, more: &[(&str, &str)]| -> (Run, Vec<String>) {
            let run = sandbox.mcpipe(["call", &server.target(), tool]).env("API_KEY", key);
            let run = more.iter().fold(run, |run, (name, value)| run.env(name, *value)).run();
            (run, server.wait_until_all_ended().pop().unwrap().methods())
        };
        let asks = |methods: &[String]| methods.iter().any(|method| method == "tools/list");
        let (run, methods) = call("alice", "of_alice", &[]);
        run.succeeds();
        assert!(asks(&methods));
        // Another terminal or another directory does not change the identity.
        let elsewhere = [("TERM", "xterm"), ("COLUMNS", "200"), ("OLDPWD", "/"), ("SHLVL", "7"), ("WINDOWID", "4")];
        let more = [("TMUX_PANE", "%3"), ("SSH_TTY", "/dev/pts/9"), ("MCPIPE_LOGIN", "never")];
        let (run, methods) = call("alice", "of_alice", &[elsewhere.as_slice(), &more].concat());
        run.succeeds();
        assert!(!asks(&methods), "remembered: {methods:?}");
        let (run, methods) = call("bob", "of_alice", &[]);
        run.exits(1).prints("").stderr_contains("no tool 'of_alice'").hides("done");
        assert!(asks(&methods) && !methods.contains(&"tools/call".to_owned()), "{methods:?}");
        // A request by one identity does not change the other's list.
        let (run, methods) = call("alice", "of_alice", &[]);
        run.succeeds();
        assert!(!asks(&methods), "{methods:?}");
    }
}

/// A key that was set for one command only is not set when the next one is typed.
#[test]
fn completion_knows_the_lists_that_are_nobodys_own() {
    let names = |mcp: Mcp, scope: &str| {
        let scope = json!(scope);
        let mcp = mcp.on("tools/list", move |call| {
            let tools = crate::support::mcp::tools();
            call.result(json!({"tools": tools, "ttlMs": 600_000, "cacheScope": scope}))
        });
        let (sandbox, server) = (Sandbox::new(), mcp.stdio());
        let words = server.words();
        sandbox.config(&format!("[servers.demo]\ncommand = {:?}\nargs = [{:?}]\n", words[0], words[1]));
        sandbox.mcpipe(["list", "demo"]).env("API_KEY", "alice").run().succeeds();
        let asked = ["--", "mcpipe", "call", "demo", "ec"];
        let complete = |key: &str| {
            sandbox
                .mcpipe(asked)
                .env("MCPIPE_COMPLETE", "fish")
                .env("API_KEY", key)
                .run()
                .succeeds()
                .stdout()
                .to_owned()
        };
        assert_eq!(complete("alice"), "echo\tSays what it is told.\n");
        complete("nobody")
    };
    assert_eq!(names(Mcp::modern(), "private"), "");
    assert_eq!(names(Mcp::modern(), "public"), "echo\tSays what it is told.\n");
    assert_eq!(names(Mcp::legacy("2025-11-25"), "private"), "echo\tSays what it is told.\n");
}

#[test]
fn what_a_child_does_not_inherit_is_not_who_we_are() {
    let (sandbox, server) = (Sandbox::new(), by_variable(Mcp::modern()));
    let words = server.words();
    sandbox.config(&format!(
        "[servers.s]\ncommand = {:?}\nargs = [{:?}]\ninherit_env = [\"API_KEY\"]\n",
        words[0], words[1]
    ));
    for (other, listed) in [("1", true), ("2", false)] {
        let run = sandbox.mcpipe(["call", "s", "of_alice"]).env("API_KEY", "alice").env("OTHER", other).run();
        run.succeeds();
        let methods = server.wait_until_all_ended().pop().unwrap().methods();
        assert_eq!(methods.contains(&"tools/list".to_owned()), listed, "{methods:?}");
    }
    let run = sandbox.mcpipe(["call", "s", "of_alice"]).env("API_KEY", "bob").run();
    run.exits(1).stderr_contains("no tool 'of_alice'");
}

/// MSG-10 over HTTP, where a token or a header is the identity.
#[test]
fn a_list_does_not_cross_to_who_has_another_token() {
    let mcp = Arc::new(Mcp::modern().on("tools/call", |call| call.text("done")));
    let server = HttpServer::start(move |request| {
        let message = request.json();
        let whose = request.header("authorization").or(request.header("x-key")).unwrap_or_default();
        let whose = whose.trim_start_matches("Bearer ");
        if request.rpc_method() == "tools/list" {
            return crate::support::Reply::json(&own_list(&message, whose));
        }
        to_reply(&mcp, &message, false)
    });
    let sandbox = Sandbox::new();
    let lists = || server.exchanges().iter().filter(|title| *title == "POST tools/list").count();
    for words in [&["--bearer-env", "T"][..], &["-H", "X-Key: ${T}"]] {
        let call = |key: &str, tool: &str| {
            let words = words.iter().map(|word| word.replace("${T}", key));
            sandbox.mcpipe(["call", &server.url("/mcp"), tool]).args(words).env("T", key).run()
        };
        let before = lists();
        call("alice", "of_alice").succeeds();
        call("alice", "of_alice").succeeds();
        assert_eq!(lists() - before, 1);
        call("bob", "of_alice").exits(1).stderr_contains("no tool 'of_alice'");
        assert_eq!(lists() - before, 2);
        call("alice", "of_alice").succeeds();
        assert_eq!(lists() - before, 2);
    }
}

/// ERA-14: an upgraded server would otherwise be addressed in the old era forever.
#[test]
fn a_cached_legacy_era_expires_after_a_day() {
    let server =
        Mcp::legacy("2025-11-25").http_as(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let sandbox = Sandbox::new();
    let probes = || {
        sandbox.mcpipe(["list", &server.url("/mcp")]).run().succeeds();
        let all = server.requests();
        all.iter().filter(|request| request.header("mcp-method").is_some()).count()
    };
    let learned = |hours: u64| {
        let dir = sandbox.path().join("home/.cache/mcpipe/servers");
        let mut aged = 0;
        for file in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let mut value: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            if value.get("learned").is_some() {
                let then = SystemTime::now() - Duration::from_secs(hours * 3600);
                value["learned"] = then.duration_since(UNIX_EPOCH).unwrap().as_secs().into();
                std::fs::write(&file, value.to_string()).unwrap();
                aged += 1;
            }
        }
        assert_eq!(aged, 1);
    };
    assert_eq!(probes(), 1);
    assert_eq!(probes(), 1, "it is remembered");
    learned(23);
    assert_eq!(probes(), 1);
    learned(25);
    assert_eq!(probes(), 2, "it is asked anew");
    assert_eq!(probes(), 2, "and remembered anew");
}
