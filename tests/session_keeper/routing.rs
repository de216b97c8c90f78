//! Several commands at once over one server: each gets what belongs to it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Gate, Sessions};
use crate::support::mcp::play_actions;
use crate::support::process::peak_memory;
use crate::support::{Mcp, ProcessEvent, ServerAction, StdioServer};

/// A server that answers its calls only when `count` of them have arrived, in reverse order, each after a progress
/// notification.
fn gathering(mcp: Mcp, count: usize) -> StdioServer {
    let mcp = Arc::new(mcp);
    let calls = Mutex::new(Vec::<Value>::new());
    StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] != "tools/call" {
                return play_actions(&mcp, process, mcp.handle(&message));
            }
            let mut calls = calls.lock().unwrap();
            calls.push(message);
            if calls.len() == count {
                for call in calls.drain(..).rev() {
                    let text = call["params"]["arguments"]["text"].as_str().unwrap();
                    let token = &call["params"]["_meta"]["progressToken"];
                    let progress = json!({"progressToken": token, "progress": 1, "message": format!("doing {text}")});
                    process.send(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": progress}));
                    let result = json!({"content": [{"type": "text", "text": text}], "resultType": "complete"});
                    process.send(&json!({"jsonrpc": "2.0", "id": call["id"], "result": result}));
                }
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    })
}

/// In a session, a message is a line; a server may send it over several.
#[test]
fn messages_over_several_lines_are_passed_on() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let mcp = Arc::new(mcp.on("tools/call", |call| call.text("done")));
        let server = StdioServer::start(move |process, event| match event {
            ProcessEvent::Line(line) => {
                let actions =
                    mcp.handle(&serde_json::from_str(&line).unwrap()).into_iter().map(|action| match action {
                        ServerAction::Send(message) => ServerAction::RawText(format!("{message:#}")),
                        other => other,
                    });
                play_actions(&mcp, process, actions.collect());
            }
            ProcessEvent::Eof => process.exit(0),
            ProcessEvent::Started | ProcessEvent::Signal(_) => {}
        });
        let sessions = Sessions::new();
        sessions.start(&server.target());
        for _ in 0..2 {
            let words = ["call", &server.target(), "echo", "text=x"];
            sessions.sandbox.mcpipe(words).allow_leftovers().run().succeeds().prints("done\n");
        }
        sessions.stop_all();
        assert_eq!(server.processes().len(), 1);
    }
}

#[test]
fn calls_at_the_same_time_get_their_own_results_and_progress() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let (server, sessions) = (gathering(mcp, 4), Sessions::new());
        sessions.start(&server.target());
        let call = |name: &str| {
            let text = format!("text={name}");
            let words = ["call", &server.target(), "echo", &text, "--events", "-"].map(ToOwned::to_owned);
            sessions.sandbox.mcpipe(words).allow_leftovers().start()
        };
        let running: Vec<_> = ["a", "b", "c", "d"].map(|name| (name, call(name))).into();
        for (name, run) in running {
            let run = run.wait();
            run.succeeds();
            let lines: Vec<Value> = run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let progress: Vec<&Value> = lines.iter().filter_map(|line| line.pointer("/params/message")).collect();
            assert_eq!(progress, [&json!(format!("doing {name}"))], "{run:?}");
            assert_eq!(lines.last().unwrap()["content"][0]["text"], name, "{run:?}");
        }
        sessions.stop_all();
    }
}

/// A legacy server whose tool `echo` asks the user, and prints the answer.
fn asking() -> StdioServer {
    let ask = |call: &crate::support::ClientMessage<'_>| {
        let text = call.argument("text").as_str().unwrap_or_default().to_owned();
        let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
        let params = json!({"message": format!("who is {text}?"), "requestedSchema": schema});
        let request =
            json!({"jsonrpc": "2.0", "id": format!("ask-{text}"), "method": "elicitation/create", "params": params});
        let id = call.id();
        let then = move |answer: Value| {
            let told = answer.get("result").or(answer.get("error")).unwrap().to_string();
            let result = json!({"content": [{"type": "text", "text": told}]});
            vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result}))]
        };
        vec![ServerAction::Request(request, Box::new(then))]
    };
    Mcp::legacy("2025-11-25").on("tools/call", ask).stdio()
}

#[test]
fn a_question_of_the_server_goes_to_the_command_whose_call_is_in_progress() {
    let (server, sessions) = (asking(), Sessions::new());
    sessions.start(&server.target());
    let call = |words: &[&str]| sessions.run(&[&["call", &server.target(), "echo", "text=x"], words].concat());
    let run = call(&["--elicit", r#"{"name": "Ada"}"#]);
    run.succeeds().prints("{\"action\":\"accept\",\"content\":{\"name\":\"Ada\"}}\n");
    // Without the option the command refuses, although the session declared the capability.
    let run = call(&["--no-input"]);
    run.exits(0).prints("{\"code\":-32601,\"message\":\"elicitation/create is not supported\"}\n").stderr_is(
        "mcpipe: warning: the server needs input (elicitation/create), which mcpipe did not offer; \
        answer it: run at a terminal, or use --elicit accept or --elicit JSON\n",
    );
    sessions.stop_all();
}

#[test]
fn what_a_modern_server_requires_is_asked_of_the_command_whose_call_requires_it() {
    let mcp = Mcp::modern().on("tools/call", |call| match call.params().get("inputResponses") {
        Some(answers) => call.text(&answers["who"].to_string()),
        None => {
            let params = json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}});
            let requests = json!({"who": {"method": "elicitation/create", "params": params}});
            call.result(json!({"resultType": "input_required", "inputRequests": requests}))
        }
    });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    let start = |answer: &str| {
        let words = ["call", &server.target(), "echo", "text=x", "--elicit", answer].map(ToOwned::to_owned);
        sessions.sandbox.mcpipe(words).allow_leftovers().start()
    };
    // Unlike over a shared stream of an older server, several may be asked at the same time.
    let running: Vec<_> = [("accept", 0), ("decline", 8)].map(|(answer, code)| (answer, code, start(answer))).into();
    for (answer, code, run) in running {
        let run = run.wait();
        let shown = format!("{{\"action\":\"{answer}\"");
        assert!(run.exits(code).stdout().starts_with(&shown), "{run:?}");
    }
    assert_eq!(server.processes().len(), 1);
    sessions.stop_all();
}

#[test]
fn a_question_that_could_belong_to_several_commands_is_refused() {
    let gate = Arc::new((Mutex::new(0), Condvar::new()));
    let shared = gate.clone();
    let mcp = Mcp::legacy("2025-11-25").on("tools/call", move |call| {
        let (count, arrived) = &*shared;
        *count.lock().unwrap() += 1;
        arrived.notify_all();
        match call.argument("text").as_str() {
            Some("asks") => {
                let params = json!({"message": "who?", "requestedSchema": {"type": "object", "properties": {}}});
                let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
                let id = call.id();
                let then = move |answer: Value| {
                    let result = json!({"content": [{"type": "text", "text": answer["error"]["message"]}]});
                    vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result}))]
                };
                vec![ServerAction::Request(request, Box::new(then))]
            }
            _ => [vec![ServerAction::Pause(Duration::from_secs(2))], call.text("waited")].concat_actions(),
        }
    });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    let call = |text: &str| {
        let words = ["call", &server.target(), "echo", text, "--elicit", "accept"].map(ToOwned::to_owned);
        sessions.sandbox.mcpipe(words).allow_leftovers().start()
    };
    let waiting = call("text=waits");
    let (count, arrived) = &*gate;
    drop(arrived.wait_while(count.lock().unwrap(), |count| *count == 0).unwrap());
    let run = call("text=asks").wait();
    run.succeeds().prints("this request could belong to any of several commands that are running\n");
    waiting.wait().succeeds().prints("waited\n");
    sessions.stop_all();
}

/// Joins lists of actions, which cannot be cloned.
trait ConcatActions {
    fn concat_actions(self) -> Vec<ServerAction>;
}

impl ConcatActions for [Vec<ServerAction>; 2] {
    fn concat_actions(self) -> Vec<ServerAction> {
        self.into_iter().flatten().collect()
    }
}

#[test]
fn a_session_answers_requests_for_roots_itself() {
    let mcp = Mcp::legacy("2025-11-25").on("notifications/initialized", |_| {
        let request = json!({"jsonrpc": "2.0", "id": "r", "method": "roots/list"});
        vec![ServerAction::Request(request, Box::new(|_| Vec::new()))]
    });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    let dir = sessions.sandbox.work().canonicalize().unwrap();
    let root = dir.display().to_string();
    sessions.run(&["session", "start", &server.target(), "--root", &root, "-q"]).succeeds();
    server.wait_for("an answer", |seen| seen[0].messages().iter().any(|message| message["id"] == "r"));
    let answer = server.processes()[0].messages().into_iter().find(|message| message["id"] == "r").unwrap();
    assert_eq!(answer["result"], json!({"roots": [{"uri": format!("file://{root}"), "name": "work"}]}));
    sessions.stop_all();
}

#[test]
fn a_command_that_is_interrupted_or_killed_cancels_its_request_only() {
    let mcp = Mcp::legacy("2025-11-25").on("tools/call", |call| match call.argument("text").as_str() {
        Some("stuck") => Vec::new(),
        _ => call.text("fine"),
    });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    for (n, signal) in [rustix::process::Signal::INT, rustix::process::Signal::KILL].into_iter().enumerate() {
        let stuck = sessions.sandbox.mcpipe(["call", &server.target(), "echo", "text=stuck"]);
        let stuck = stuck.allow_leftovers().start();
        let calls = |method: &str| {
            let seen = server.processes();
            seen[0].messages().into_iter().filter(|message| message["method"] == method).collect::<Vec<_>>()
        };
        server.wait_for("the call", |_| calls("tools/call").len() == 2 * n + 1);
        stuck.signal(signal);
        stuck.wait();
        server.wait_for("the cancellation", |_| calls("notifications/cancelled").len() == n + 1);
        let cancelled = calls("notifications/cancelled").pop().unwrap();
        assert_eq!(cancelled["params"]["requestId"], calls("tools/call").last().unwrap()["id"]);
        sessions.run(&["call", &server.target(), "echo", "text=x"]).succeeds().prints("fine\n");
    }
    assert_eq!(server.processes().len(), 1);
    sessions.stop_all();
}

/// Its request was canceled, which the server may notice too late, and answer.
#[test]
fn what_a_server_sends_for_a_command_that_has_gone_ends_no_call_of_another() {
    let stuck_id = Mutex::new(Value::Null);
    let mcp = Mcp::legacy("2025-11-25").on("tools/call", move |call| {
        if call.argument("text") == "stuck" {
            *stuck_id.lock().unwrap() = call.id();
            return Vec::new();
        }
        let error = |id: &Value, message: &str| {
            ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32000, "message": message}}))
        };
        let late = vec![
            error(&stuck_id.lock().unwrap(), "Request cancelled"),
            error(&Value::Null, "Unknown notification"),
            // Longer than a request waits for its response after one that may be meant for it.
            ServerAction::Pause(Duration::from_millis(2500)),
        ];
        [late, call.text("fine")].concat_actions()
    });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    let stuck = sessions.sandbox.mcpipe(["call", &server.target(), "echo", "text=stuck"]).allow_leftovers().start();
    let has_sent = |method: &str| server.processes()[0].messages().iter().any(|message| message["method"] == method);
    server.wait_for("the call", |_| has_sent("tools/call"));
    stuck.signal(rustix::process::Signal::KILL);
    stuck.wait();
    server.wait_for("the cancellation", |_| has_sent("notifications/cancelled"));
    sessions.run(&["call", &server.target(), "echo", "text=x"]).succeeds().prints("fine\n");
    sessions.stop_all();
}

/// As without a session, its pipe fills instead.
#[test]
fn requests_that_a_session_answers_take_little_memory_if_the_server_does_not_read() {
    let mcp = Arc::new(Mcp::legacy("2025-11-25"));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] != "prompts/list" {
                return play_actions(&mcp, process, mcp.handle(&message));
            }
            let requests = ["ping", "roots/list", "sampling/createMessage"].map(|method| {
                let request = json!({"jsonrpc": "2.0", "id": "x".repeat(2000), "method": method});
                format!("{request}\n")
            });
            let many = requests.concat().repeat(300);
            while process.try_write(many.as_bytes()) {}
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sessions = Sessions::new();
    sessions.start(&server.target());
    let keeper = u32::try_from(sessions.list()[0]["pid"].as_u64().unwrap()).unwrap();
    sessions.run(&["list", &server.target(), "--prompts", "--timeout", "2s"]).exits(6);
    let peak = peak_memory(keeper).unwrap();
    assert!(peak < 64 << 20, "{} MiB", peak >> 20);
    sessions.stop_all();
}

#[test]
fn a_command_that_stops_watching_a_resource_does_not_stop_another() {
    let mcp = Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "resources": {"subscribe": true}}))
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/unsubscribe", |call| call.result(json!({})))
        .on("tools/call", |call| {
            let params = json!({"uri": "demo://hello"});
            let update = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": params});
            [vec![ServerAction::Send(update)], call.text("updated")].concat_actions()
        });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    let watch = || {
        let words = ["read", &server.target(), "demo://hello", "--watch"].map(ToOwned::to_owned);
        sessions.sandbox.mcpipe(words).allow_leftovers().start()
    };
    let count = |method: &str| {
        let seen = server.processes();
        seen[0].messages().into_iter().filter(|message| message["method"] == method).count()
    };
    let (first, second) = (watch(), watch());
    server.wait_for("both watch", |_| count("resources/subscribe") == 2);
    first.wait_for_stdout("hello\n");
    first.signal(rustix::process::Signal::INT);
    first.wait();
    assert_eq!(count("resources/unsubscribe"), 0);
    second.wait_for_stdout("hello\n");
    sessions.run(&["call", &server.target(), "echo", "text=x"]).succeeds().prints("updated\n");
    second.wait_for_stdout("hello\nhello\n");
    // One that is killed does not unsubscribe itself.
    second.signal(rustix::process::Signal::KILL);
    second.wait();
    server.wait_for("the end of the subscription", |_| count("resources/unsubscribe") == 1);
    sessions.stop_all();
}

#[test]
fn a_command_that_does_not_read_is_disconnected_and_its_request_is_canceled() {
    let gate = Gate::default();
    let shared = gate.clone();
    let mcp = Mcp::legacy("2025-11-25").on("tools/call", move |call| match call.argument("text").as_str() {
        Some("flood") => {
            shared.wait();
            let params = json!({"level": "info", "data": "x".repeat(1 << 20)});
            let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
            (0..12).map(|_| ServerAction::Send(log.clone())).collect()
        }
        _ => call.text("fine"),
    });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    let stuck = sessions.sandbox.mcpipe(["call", &server.target(), "echo", "text=flood"]).allow_leftovers().start();
    let sent = |method: &str| {
        let messages = server.processes()[0].messages();
        messages.into_iter().filter(|message| message["method"] == method).collect::<Vec<_>>()
    };
    server.wait_for("the call", |_| sent("tools/call").len() == 1);
    stuck.signal(rustix::process::Signal::STOP);
    gate.open();
    // What is for it holds up the others only for a while.
    sessions.run(&["call", &server.target(), "echo", "text=x"]).succeeds().prints("fine\n");
    server.wait_for("the cancellation", |_| sent("notifications/cancelled").len() == 1);
    assert_eq!(sent("notifications/cancelled")[0]["params"]["requestId"], sent("tools/call")[0]["id"]);
    stuck.signal(rustix::process::Signal::KILL);
    stuck.wait();
    sessions.stop_all();
}

#[test]
fn the_end_of_a_subscription_by_a_modern_server_is_passed_on() {
    let ended = Arc::new(Mutex::new(None));
    let listening = ended.clone();
    let mcp = Mcp::modern()
        .capabilities(json!({"resources": {"subscribe": true}}))
        .on("subscriptions/listen", move |call| {
            listening.lock().unwrap().get_or_insert(call.id());
            let meta = json!({"io.modelcontextprotocol/subscriptionId": call.id()});
            let params = json!({"notifications": call.params()["notifications"], "_meta": meta});
            let method = "notifications/subscriptions/acknowledged";
            vec![ServerAction::Send(json!({"jsonrpc": "2.0", "method": method, "params": params}))]
        })
        .on("resources/read", move |call| {
            let mut actions = call.result(json!({"contents": [{"uri": "demo://hello", "text": "hello"}]}));
            if call.n == 0 {
                let params = json!({"requestId": *ended.lock().unwrap()});
                let end = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
                actions.push(ServerAction::Send(end));
            }
            actions
        });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    let watch = sessions.sandbox.mcpipe(["read", &server.target(), "demo://hello", "--watch"]);
    let watch = watch.allow_leftovers().start();
    let sent = |method: &str| {
        let messages = server.processes()[0].messages();
        messages.into_iter().filter(|message| message["method"] == method).collect::<Vec<_>>()
    };
    server.wait_for("another subscription", |_| sent("subscriptions/listen").len() == 2);
    watch.signal(rustix::process::Signal::INT);
    watch.wait().exits(130).stderr_contains("the server ended the subscription; retrying in ");
    let canceled = || -> Vec<Value> {
        sent("notifications/cancelled").iter().map(|message| message["params"]["requestId"].clone()).collect()
    };
    let subscriptions: Vec<Value> = sent("subscriptions/listen").iter().map(|message| message["id"].clone()).collect();
    server.wait_for("a cancellation", |_| canceled().contains(&subscriptions[1]));
    // The one that the server ended is not canceled; a reading may have been under way.
    assert!(!canceled().contains(&subscriptions[0]), "{:?}", canceled());
    sessions.stop_all();
}

/// A server that sends no log messages and refuses the first of these levels.
fn logging(refused: &'static str) -> Mcp {
    Mcp::legacy("2025-11-25").capabilities(json!({"tools": {}, "logging": {}})).on("logging/setLevel", move |call| {
        match call.params()["level"].as_str() {
            Some(level) if level == refused && call.n == 0 => call.error(-32603, "not now"),
            _ => call.result(json!({})),
        }
    })
}

/// The levels that were set.
fn levels(server: &StdioServer) -> Vec<String> {
    let messages = server.processes()[0].messages().into_iter();
    let set = messages.filter(|message| message["method"] == "logging/setLevel");
    set.map(|message| message["params"]["level"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_log_level_that_the_server_refused_does_not_count_as_set() {
    let (server, sessions) = (logging("debug").stdio(), Sessions::new());
    sessions.start(&server.target());
    let call = || sessions.run(&["call", &server.target(), "echo", "text=hi", "--log-level", "debug"]);
    call().exits(0).prints("hi\n").stderr_contains("rejected the log level debug: not now");
    let second = call();
    second.succeeds().prints("hi\n").stderr_is("");
    call().succeeds();
    assert_eq!(levels(&server), ["debug", "debug"]);
    sessions.stop_all();
}

#[test]
fn the_server_gets_the_most_verbose_level_that_a_command_needs() {
    let mcp = logging("").on("tools/call", |call| match call.argument("text").as_str() {
        Some("stuck") => Vec::new(),
        _ => call.text("fine"),
    });
    let (server, sessions) = (mcp.stdio(), Sessions::new());
    sessions.start(&server.target());
    let count = |method: &str| {
        let seen = server.processes();
        seen[0].messages().into_iter().filter(|message| message["method"] == method).count()
    };
    let start = |level: &str, calls: usize| {
        let words = ["call", &server.target(), "echo", "text=stuck", "--log-level", level].map(ToOwned::to_owned);
        let run = sessions.sandbox.mcpipe(words).allow_leftovers().start();
        server.wait_for("the call", |_| count("tools/call") == calls);
        run
    };
    let (first, second) = (start("debug", 1), start("info", 2));
    first.signal(rustix::process::Signal::KILL);
    first.wait();
    server.wait_for("the cancellation", |_| count("notifications/cancelled") == 1);
    sessions.run(&["call", &server.target(), "echo", "text=x", "--log-level", "error"]).succeeds();
    assert_eq!(levels(&server), ["debug", "info"]);
    second.signal(rustix::process::Signal::KILL);
    second.wait();
    sessions.stop_all();
}

/// A server of 2026-07-28 sends no requests; what it sends anyway gets no response, from no command and not from the
/// keeper.
#[test]
fn requests_of_a_modern_server_are_not_answered() {
    let asks = |id: &str, method: &str| ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "method": method}));
    let server = Mcp::modern()
        .on("tools/call", move |call| {
            let mut actions = vec![asks("q1", "ping"), asks("q2", "roots/list"), asks("q3", "elicitation/create")];
            actions.extend(call.text("done"));
            actions
        })
        .stdio();
    let sessions = Sessions::new();
    sessions.start(&server.target());
    let run = sessions.run(&["call", &server.target(), "echo", "text=hi", "-v"]);
    run.exits(0).prints("done\n").stderr_contains("ignored the server's request ping");
    sessions.stop_all();
    for seen in server.wait_until_all_ended() {
        assert!(!seen.methods().contains(&"answer".to_owned()), "{:?}", seen.methods());
    }
}
