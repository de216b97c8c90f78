//! Tasks: followed by `call`, detached with `--detach`, managed with `task`, in both eras.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use expect_test::expect;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::mcp::ServerAction;
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Sandbox, StdioServer, real};

/// A tool with this task support.
fn tool(support: &str) -> Value {
    json!([{"name": "work", "inputSchema": {"type": "object"}, "execution": {"taskSupport": support}}])
}

fn state(id: &str, status: &str) -> Value {
    json!({"taskId": id, "status": status, "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z",
        "ttl": 60000, "pollInterval": 50, "ttlMs": 60000, "pollIntervalMs": 50})
}

/// A server of 2025-11-25 that creates the task `t-1` for each call that requests one.
fn legacy(support: &str) -> Mcp {
    Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}))
        .tools(tool(support))
        .on("tools/call", |call| match call.params().get("task") {
            Some(_) => call.result(json!({"task": state("t-1", "working")})),
            None => call.text("at once"),
        })
        .on("tasks/get", |call| match call.params()["taskId"].as_str() {
            Some("t-1") => call.result(state("t-1", "working")),
            _ => call.error(-32602, "Task not found"),
        })
        .on("tasks/result", |call| {
            let mut outs = vec![ServerAction::Pause(Duration::from_millis(180))];
            outs.extend(call.text("later"));
            outs
        })
        .on("tasks/cancel", |call| call.result(state("t-1", "cancelled")))
}

/// A server of 2026-07-28 that creates a task for each call, and answers `tasks/get` with these states in turn.
fn modern(states: Vec<Value>) -> Mcp {
    Mcp::modern()
        .capabilities(json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}))
        .tools(tool("forbidden"))
        .on("tools/call", |call| {
            let declared = &call.params()["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"];
            assert_eq!(declared["io.modelcontextprotocol/tasks"], json!({}), "the extension is declared");
            let mut task = state("t-1", "working");
            task["resultType"] = "task".into();
            call.result(task)
        })
        .on("tasks/get", move |call| {
            if call.params()["taskId"] != "t-1" {
                return call.error(-32602, "Task not found");
            }
            call.result(states[call.n.min(states.len() - 1)].clone())
        })
        .on("tasks/update", |call| call.result(json!({})))
        .on("tasks/cancel", |call| call.result(json!({})))
}

fn completed() -> Value {
    let mut task = state("t-1", "completed");
    task["result"] = json!({"content": [{"type": "text", "text": "later"}], "isError": false});
    task
}

fn with(mut task: Value, name: &str, value: Value) -> Value {
    task[name] = value;
    task
}

fn call(target: &str) -> crate::support::Run {
    Sandbox::new().mcpipe(["call", target, "work"]).run()
}

/// What was sent, without the version.
fn text(server: &StdioServer) -> String {
    server.single_process().text().replace(env!("CARGO_PKG_VERSION"), "VERSION")
}

#[test]
fn a_legacy_task_is_asked_for_and_followed() {
    let server = legacy("required").stdio();
    let args = ["call", &server.target(), "work", "--protocol", "legacy"];
    Sandbox::new().mcpipe(args).run().succeeds().prints("later\n");
    let text = text(&server);
    // The number of polls depends on timing.
    let once: Vec<&str> = text.lines().filter(|line| !line.contains("tasks/get")).collect();
    assert!(text.lines().count() - once.len() >= 2, "{text}");
    expect![[r#"
        {"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"mcpipe","version":"VERSION"}}}
        {"jsonrpc":"2.0","method":"notifications/initialized"}
        {"jsonrpc":"2.0","id":2,"method":"tools/list"}
        {"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"work","arguments":{},"task":{},"_meta":{"progressToken":3}}}
        {"jsonrpc":"2.0","id":4,"method":"tasks/result","params":{"taskId":"t-1"}}"#]]
    .assert_eq(&once.join("\n"));
    assert!(text.contains(r#"{"jsonrpc":"2.0","id":5,"method":"tasks/get","params":{"taskId":"t-1"}}"#), "{text}");
}

#[test]
fn tol_10_no_task_is_asked_for_where_that_is_not_allowed() {
    let sends_task = |mcp: Mcp, more: &[&str]| {
        let server = mcp.http();
        let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "work"]).args(more.iter().copied()).run();
        let call = server.requests().into_iter().find(|request| request.rpc_method() == "tools/call");
        (run.code(), call.map(|call| call.json()["params"].get("task").is_some()))
    };
    let never = |mcp: Mcp| mcp.capabilities(json!({"tools": {}, "tasks": {"list": {}}}));
    assert_eq!(sends_task(legacy("optional"), &[]), (0, Some(false)));
    assert_eq!(sends_task(legacy("forbidden"), &[]), (0, Some(false)));
    assert_eq!(sends_task(never(legacy("required")), &[]), (0, Some(false)));
    assert_eq!(sends_task(legacy("optional"), &["--detach"]), (0, Some(true)));
    assert_eq!(sends_task(legacy("required"), &["--detach"]), (0, Some(true)));
    // The tool's definition was not read, but the user wants a task.
    assert_eq!(sends_task(legacy("optional"), &["--detach", "--no-validate"]), (0, Some(true)));
    // Nothing is sent if there is nothing to detach.
    assert_eq!(sends_task(legacy("forbidden"), &["--detach"]), (1, None));
    assert_eq!(sends_task(never(legacy("required")), &["--detach"]), (1, None));
}

#[test]
fn a_task_asks_for_input_while_its_result_is_awaited() {
    let server = legacy("required")
        .on("tasks/get", |call| call.result(state("t-1", "input_required")))
        .on("tasks/result", |call| {
            let response = call.response(json!({"content": [{"type": "text", "text": "asked"}]}));
            let params = json!({"message": "Who?", "requestedSchema": {"type": "object", "properties":
                {"name": {"type": "string", "default": "Ada"}}}, "_meta": {"io.modelcontextprotocol/related-task": {"taskId": "t-1"}}});
            let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
            vec![ServerAction::Request(request, Box::new(move |answer| {
                assert_eq!(answer["result"], json!({"action": "accept", "content": {"name": "Ada"}}));
                vec![ServerAction::Send(response)]
            }))]
        })
        .stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "work", "--elicit", "accept"]).run();
    run.succeeds().prints("asked\n");
}

#[test]
fn a_modern_task_is_polled_and_given_what_it_needs() {
    let ask = |key: &str| {
        json!({key: {"method": "elicitation/create", "params": {"mode": "form", "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string", "default": "Ada"}}}}}})
    };
    let states = vec![
        with(state("t-1", "working"), "statusMessage", json!("half way")),
        with(state("t-1", "input_required"), "inputRequests", ask("k1")),
        // The server has not processed the answer yet: a repeated key is not answered again.
        with(state("t-1", "input_required"), "inputRequests", ask("k1")),
        completed(),
    ];
    let server = modern(states).stdio();
    let args = ["call", &server.target(), "work", "--elicit", "accept", "--json", "--protocol", "2026-07-28"];
    let run = Sandbox::new().mcpipe(args).run();
    run.succeeds().prints("{\"content\":[{\"type\":\"text\",\"text\":\"later\"}],\"isError\":false}\n");
    let seen = server.single_process();
    assert_eq!(
        seen.methods(),
        ["tools/list", "tools/call", "tasks/get", "tasks/get", "tasks/update", "tasks/get", "tasks/get"]
    );
    let text = text(&server);
    let lines: Vec<&str> = text.lines().collect();
    let meta = concat!(
        r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"mcpipe","version":"VERSION"},"#,
        r#""io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}},"extensions":{"io.modelcontextprotocol/tasks":{}}}}}}"#
    );
    let get = format!(r#"{{"jsonrpc":"2.0","id":3,"method":"tasks/get","params":{{"taskId":"t-1",{meta}"#);
    let update = format!(
        r#"{{"jsonrpc":"2.0","id":5,"method":"tasks/update","params":{{"taskId":"t-1","inputResponses":{{"k1":{{"action":"accept","content":{{"name":"Ada"}}}}}},{meta}"#
    );
    assert_eq!((lines[2], lines[4]), (get.as_str(), update.as_str()));
}

/// EXT-03: `Mcp-Name` is the id of the task; the server fails otherwise.
#[test]
fn a_modern_task_over_http() {
    let server = modern(vec![state("t-1", "working"), completed()]).http();
    call(&server.url("/mcp")).succeeds().prints("later\n");
    let get = server.requests().into_iter().find(|request| request.rpc_method() == "tasks/get").unwrap();
    assert_eq!((get.header("mcp-name"), get.header("mcp-method")), (Some("t-1"), Some("tasks/get")));
}

#[test]
fn a_task_that_comes_to_nothing() {
    let failed = with(state("t-1", "failed"), "error", json!({"code": -32603, "message": "out of paper"}));
    let run = call(&modern(vec![failed]).stdio().target());
    run.exits(1).prints("").stderr_contains("out of paper (code -32603)");
    let cancelled = with(state("t-1", "cancelled"), "statusMessage", json!("by its owner"));
    call(&modern(vec![cancelled]).stdio().target()).exits(1).stderr_contains("the task was canceled\n  by its owner\n");
    // A failed tool still has a result.
    let broken = with(
        state("t-1", "completed"),
        "result",
        json!({"content": [{"type": "text", "text": "no"}], "isError": true}),
    );
    call(&modern(vec![broken]).stdio().target()).exits(1).prints("no\n");
    call(&modern(vec![state("t-1", "completed")]).stdio().target()).exits(7).stderr_contains("has no result");
    call(&modern(vec![json!({"x": 1})]).stdio().target())
        .exits(7)
        .stderr_contains("the server's response to tasks/get is not a task");
    let server = legacy("required")
        .on("tasks/get", |call| call.result(state("t-1", "failed")))
        .on("tasks/result", |call| call.error(-32603, "out of paper"))
        .stdio();
    call(&server.target()).exits(1).stderr_contains("out of paper (code -32603)");
    // It expired before it was polled.
    let server = modern(vec![]).on("tasks/get", |call| call.error(-32602, "Task has expired")).stdio();
    call(&server.target()).exits(1).stderr_contains("Task has expired");
    // EXT-02: a task may be returned only to a call that declares the extension.
    let server = Mcp::modern()
        .on("resources/read", |call| call.result(with(state("t", "working"), "resultType", json!("task"))));
    let run = Sandbox::new().mcpipe(["read", &server.stdio().target(), "demo://a"]).run();
    run.exits(7).stderr_contains("answered resources/read with a task, although");
}

#[test]
fn input_that_a_task_of_a_batch_was_refused_counts_for_its_line() {
    let asks = json!({"k": {"method": "elicitation/create", "params": {"mode": "form", "message": "Who?",
        "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}}});
    let server = modern(vec![with(state("t-1", "input_required"), "inputRequests", asks), completed()]).stdio();
    let run = Sandbox::new()
        .mcpipe(["call", &server.target(), "--batch", "-", "--elicit", "decline", "--jobs", "1"])
        .stdin(r#"{"tool":"work"}"#)
        .run();
    assert_eq!(run.exits(1).json()["error"]["class"], "refused");
    assert!(!run.stderr().contains("which of the running calls"), "{}", run.stderr());
}

/// The state of a legacy task is queried while its result is awaited, so there are two requests that the server may mean.
#[test]
fn input_that_a_legacy_task_of_a_batch_was_refused_counts_for_its_line() {
    let server = legacy("required")
        .on("tasks/get", |_| Vec::new())
        .on("tasks/result", |call| {
            let id = call.id();
            let params =
                json!({"mode": "form", "message": "Who?", "requestedSchema": {"type": "object", "properties": {}}});
            let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": params});
            let result = json!({"content": [{"type": "text", "text": "later"}]});
            let done = move |_: Value| vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result}))];
            vec![
                ServerAction::Pause(std::time::Duration::from_millis(200)),
                ServerAction::Request(request, Box::new(done)),
            ]
        })
        .stdio();
    let args = ["call", &server.target(), "--batch", "-", "--elicit", "decline", "--jobs", "1", "--protocol", "legacy"];
    let run = Sandbox::new().mcpipe(args).stdin(r#"{"tool":"work"}"#).run();
    assert_eq!(run.exits(1).json()["error"]["class"], "refused");
    assert!(!run.stderr().contains("which of the running calls"), "{}", run.stderr());
}

#[test]
fn input_that_nobody_gives_leaves_the_task_alone() {
    let asks = json!({"k": {"method": "elicitation/create", "params": {"message": "Who?"}}});
    let server = modern(vec![with(state("t-1", "input_required"), "inputRequests", asks)]).stdio();
    let run = call(&server.target());
    run.exits(8)
        .stderr_contains("the server needs input")
        .stderr_contains("the task continues; to get its result: mcpipe task wait t-1");
    assert!(!server.single_process().methods().contains(&"tasks/cancel".to_owned()));
}

#[test]
fn the_command_that_waits_for_a_task_has_the_options_of_the_call() {
    let asks = json!({"k": {"method": "elicitation/create", "params": {"message": "Who?"}}});
    let server = modern(vec![with(state("t-1", "input_required"), "inputRequests", asks)]).stdio();
    let (sandbox, words) = (Sandbox::new(), server.words());
    sandbox.file("c.toml", format!("[servers.s]\ncommand = '{}'\nargs = ['{}']\n", words[0], words[1]));
    let run = sandbox.mcpipe(["call", "s", "work", "--config", "c.toml"]).run();
    run.exits(8).stderr_contains("to get its result: mcpipe task wait t-1 --config c.toml\n");
}

/// An interrupt cancels the task with the method for tasks, not the one for requests (EXT-03).
#[test]
fn an_interrupt_stops_the_task() {
    for mcp in [modern(vec![state("t-1", "working")]), legacy("required").on("tasks/result", |_| Vec::new())] {
        let server = mcp.stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "work"]).start();
        server.wait_for("it is followed", |all| {
            all.first().is_some_and(|seen| seen.methods().iter().filter(|method| *method == "tasks/get").count() > 1)
        });
        run.signal(Signal::INT);
        run.wait().exits(130).prints("").stderr_contains("mcpipe: error: interrupted\n");
        let messages = server.single_process().messages();
        let ids =
            |method: &'static str| messages.iter().filter(move |one| one["method"] == method).map(|one| &one["id"]);
        assert_eq!(ids("tasks/cancel").count(), 1, "{messages:?}");
        // The interrupt may come while the server answers a poll; only that poll may be canceled as a request.
        let mut cancelled = messages.iter().filter(|one| one["method"] == "notifications/cancelled");
        assert!(
            cancelled.all(|one| ids("tasks/get").any(|id| *id == one["params"]["requestId"])),
            "the call and the wait for its result are not canceled as requests: {messages:?}"
        );
    }
}

/// A state with a poll interval of an hour: until then only notifications show that the task is alive.
fn rarely_polled(status: &str) -> Value {
    with(with(state("t-1", status), "pollInterval", json!(3_600_000)), "pollIntervalMs", json!(3_600_000))
}

#[test]
fn a_task_without_a_sign_of_life_is_waited_for_as_long_as_the_user_says() {
    let created = |mcp: Mcp, task: Value| mcp.on("tools/call", move |call| call.result(task.clone()));
    for mcp in [
        created(modern(vec![]), with(rarely_polled("working"), "resultType", json!("task"))),
        created(legacy("required"), json!({"task": rarely_polled("working")})).on("tasks/result", |_| Vec::new()),
    ] {
        let server = mcp.stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "work", "--timeout", "400ms"]).run();
        run.exits(6).stderr_contains("no update of the task within 400 ms");
        assert_eq!(server.single_process().methods().last().unwrap(), "tasks/cancel");
    }
    // Each response about the task is a sign of life, even if its state is unchanged.
    let states = (0..5).map(|_| with(state("t-1", "working"), "pollIntervalMs", json!(200)));
    let states: Vec<Value> = states.chain([completed()]).collect();
    let run = Sandbox::new().mcpipe(["call", &modern(states).stdio().target(), "work", "--timeout", "600ms"]).run();
    run.succeeds().prints("later\n");
    // So is a notification about its state; one about another task is not.
    for (task, code) in [("t-1", 0), ("t-2", 6)] {
        let server = created(legacy("required"), json!({"task": rarely_polled("working")}))
            .on("tasks/result", move |call| {
                let status = with(state(task, "working"), "statusMessage", json!("step"));
                let notice = json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": status});
                let step = || [ServerAction::Pause(Duration::from_millis(300)), ServerAction::Send(notice.clone())];
                let mut all: Vec<ServerAction> = (0..4).flat_map(|_| step()).collect();
                all.extend(call.text("later"));
                all
            })
            .stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "work", "--timeout", "900ms"]).run();
        run.exits(code).prints(if code == 0 { "later\n" } else { "" });
    }
    // A server that no longer responds.
    let server = modern(vec![]).on("tasks/get", |_| Vec::new()).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "work", "--timeout", "300ms"]).run();
    run.exits(6);
}

#[test]
fn a_result_that_is_refused_while_the_task_works_is_asked_for_again() {
    let server = legacy("required")
        .on("tasks/get", |call| call.result(state("t-1", if call.n < 3 { "working" } else { "completed" })))
        .on("tasks/result", |call| match call.n {
            0 => call.error(-32602, "Task is not completed"),
            _ => call.text("later"),
        })
        .stdio();
    call(&server.target()).succeeds().prints("later\n");
    let methods = server.single_process().methods();
    assert_eq!(methods.iter().filter(|method| *method == "tasks/result").count(), 2, "{methods:?}");
    // Rejected permanently.
    for status in ["completed", "cancelled", "failed"] {
        let server = legacy("required")
            .on("tasks/get", move |call| call.result(state("t-1", status)))
            .on("tasks/result", |call| call.error(-32603, "out of paper"))
            .stdio();
        call(&server.target()).exits(1).prints("").stderr_contains("out of paper (code -32603)");
    }
    let server = legacy("required")
        .on("tasks/get", |call| call.error(-32602, "unknown task"))
        .on("tasks/result", |call| call.error(-32603, "out of paper"))
        .stdio();
    call(&server.target()).exits(1).stderr_contains("out of paper (code -32603)");
}

#[test]
fn answers_that_get_lost_are_asked_for_again() {
    let results = AtomicUsize::new(0);
    let script =
        legacy("required").http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tasks/result" => match results.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::sse().write(": wait\n\n").then_disconnect(),
            1 => Reply::text("text/plain", "gateway").with_status(504),
            _ => script(request),
        },
        _ => script(request),
    });
    call(&server.url("/mcp")).succeeds().prints("later\n");

    let script = modern(vec![state("t-1", "working"), completed()]).http_script(LegacyHttpOptions::default());
    let gets = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tasks/get" if gets.fetch_add(1, Ordering::SeqCst) == 0 => Reply::disconnect(),
        _ => script(request),
    });
    call(&server.url("/mcp")).succeeds().prints("later\n");
    assert_eq!(server.exchanges().iter().filter(|title| *title == "POST tools/call").count(), 1);
}

#[test]
fn a_server_that_dies_takes_the_task_along() {
    let mcp = std::sync::Arc::new(modern(vec![state("t-1", "working")]));
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] == "tasks/get" {
                process.exit(9);
            }
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        _ => {}
    });
    call(&server.target()).exits(5);
}

#[test]
fn the_hint_names_the_target_of_a_task_that_is_found_only_with_it() {
    let server = modern(vec![completed()]).http();
    let sandbox = Sandbox::new();
    let file = sandbox.file("file", "");
    let url = server.url("/mcp");
    let run = sandbox.mcpipe(["call", &url, "work", "--detach"]).env("XDG_STATE_HOME", file).run();
    run.exits(0).prints("t-1\n").stderr_contains("cannot save the handle of task 't-1'");
    run.stderr_contains(&format!("\nto get its result: mcpipe task wait {url} t-1\n"));
    sandbox.mcpipe(["task", "wait", &url, "t-1"]).run().succeeds().prints("later\n");
}

/// A legacy server may know the task only in the HTTP session of the call.
#[test]
fn a_task_whose_session_cannot_be_saved_is_not_started() {
    let server = legacy("required").http();
    let sandbox = Sandbox::new();
    let file = sandbox.file("file", "");
    let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
    let run = sandbox.mcpipe(call).env("XDG_STATE_HOME", file).run();
    run.exits(3).prints("").stderr_is(
        "mcpipe: error: cannot save the session of the task, which is needed to get its result\n  \
         Not a directory (os error 20)\n\
         hint: omit --detach, or name a directory that can be written in the variable XDG_STATE_HOME\n",
    );
    let exchanges = server.exchanges();
    assert!(!exchanges.contains(&"POST tools/call".to_owned()), "{exchanges:?}");
    assert_eq!(exchanges.last().map(String::as_str), Some("DELETE"), "{exchanges:?}");
}

#[test]
fn detached_and_found_again_by_its_id() {
    let server = modern(vec![state("t-1", "working"), state("t-1", "working"), completed()]).http();
    let sandbox = Sandbox::new();
    let url = server.url("/mcp");
    let run = sandbox.mcpipe(["call", &url, "work", "--detach"]).run();
    run.exits(0).prints("t-1\n");
    assert_eq!(run.stderr(), "to get its result: mcpipe task wait t-1\n");
    let run = sandbox.mcpipe(["task", "list"]).run();
    let line = run.succeeds().stdout();
    assert!(line.starts_with(&format!("t-1\t{url}\twork\t20")), "{line}");
    sandbox.mcpipe(["task", "get", "t-1"]).run().succeeds().prints("t-1\tworking\t-\n");
    let run = sandbox.mcpipe(["task", "get", &url, "t-1", "--json"]).run();
    assert_eq!(run.succeeds().json()["pollIntervalMs"], 50);
    sandbox.mcpipe(["task", "wait", "t-1"]).run().succeeds().prints("later\n");
    // The server keeps the task, and mcpipe keeps its handle.
    sandbox.mcpipe(["task", "wait", "t-1", "--json"]).run().succeeds();
    let run = sandbox.mcpipe(["task", "cancel", "t-1"]).run();
    run.exits(0).prints("");
    assert_eq!(run.stderr(), "the server was asked to stop the task\n");
    let over = |why: &str| {
        format!(
            "mcpipe: error: the task 't-1' is over\n  {why}\n\
             hint: list the tasks that can be waited for: mcpipe task list\n"
        )
    };
    sandbox.mcpipe(["task", "get", "t-1"]).run().exits(1).stderr_is(&over("it was canceled"));
    sandbox
        .mcpipe(["task", "wait", "t-2"])
        .run()
        .exits(1)
        .stderr_contains("unknown task 't-2'\nhint: pass the target: ");
    let run = sandbox.mcpipe(["task", "list", "--json"]).run();
    run.succeeds().prints("{\"tasks\":[]}\n");
}

#[test]
fn a_handle_as_json() {
    let server = modern(vec![state("t-1", "working")]).http();
    let sandbox = Sandbox::new();
    sandbox
        .config(&format!("[servers.demo]\nurl = \"{}\"\nheaders = {{ X-Key = \"hunter22\" }}\n", server.url("/mcp")));
    let run = sandbox.mcpipe(["call", "demo.work", "--detach", "--json"]).run();
    let handle = run.succeeds().json();
    assert_eq!(handle["taskId"], "t-1");
    assert_eq!((&handle["target"], &handle["tool"]), (&json!("demo"), &json!("work")));
    assert_eq!(handle["task"]["status"], "working");
    let members: Vec<&String> = handle.as_object().unwrap().keys().collect();
    assert_eq!(members, ["taskId", "target", "tool", "startedAt", "task"]);
    sandbox.mcpipe(["task", "get", "t-1"]).run().succeeds();
    // Only the user can read it, and it contains no secret.
    let dir = sandbox.path().join("home/.local/state/mcpipe/tasks");
    let file = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"demo\"") && !text.contains("hunter22"), "{text}");
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&dir), mode(&file)), (0o700, 0o600));
}

/// A task of 2025-11-25 may belong to the session in which it was created.
#[test]
fn a_detached_task_is_asked_after_in_its_session() {
    let server = legacy("required").http();
    let sandbox = Sandbox::new();
    sandbox
        .mcpipe(["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"])
        .run()
        .exits(0)
        .prints("t-1\n");
    let begun = server.exchanges().len();
    assert!(!server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
    sandbox.mcpipe(["task", "get", "t-1"]).run().succeeds().prints("t-1\tworking\t-\n");
    assert_eq!(server.exchanges()[begun..], ["POST tasks/get"]);
    sandbox.mcpipe(["task", "wait", "t-1"]).run().succeeds().prints("later\n");
    // The last poll of the task may arrive after it.
    assert!(server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
    let run = sandbox.mcpipe(["task", "wait", "t-1"]).run();
    run.exits(1).stderr_contains("the task 't-1' is over\n  its result was already printed\n");
}

/// The session of the task and its record are removed only after the result was printed.
#[test]
fn a_result_that_cannot_be_printed_can_be_fetched_again() {
    let server = legacy("required").http();
    let sandbox = Sandbox::new();
    let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
    sandbox.mcpipe(call).run().exits(0).prints("t-1\n");
    let run = sandbox.mcpipe(["task", "wait", "t-1", "--jq", ".content|.x"]).run();
    run.exits(1).prints("").stderr_contains("--jq: the filter failed on the result");
    sandbox.mcpipe(["task", "wait", "t-1", "--structured"]).run().exits(7).prints("");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let run = sandbox.mcpipe(["task", "wait", "t-1"]);
    let output = run.command(&[]).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(74), "{output:?}");
    assert!(!server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
    sandbox.mcpipe(["task", "wait", "t-1", "--json"]).run().succeeds();
    assert!(server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
    sandbox.mcpipe(["task", "list"]).run().exits(0).prints("");
}

/// A result that says that the tool failed was printed.
#[test]
fn the_session_of_a_task_ends_after_a_failed_result_was_printed() {
    let server = legacy("required")
        .on("tasks/result", |call| call.result(json!({"content": [{"type": "text", "text": "no"}], "isError": true})))
        .http();
    let sandbox = Sandbox::new();
    let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
    sandbox.mcpipe(call).run().exits(0).prints("t-1\n");
    sandbox.mcpipe(["task", "wait", "t-1"]).run().exits(1).prints("no\n");
    assert!(server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
}

/// A server refuses to cancel a task that has ended with the code of a task that it does not know.
#[test]
fn a_finished_task_that_cannot_be_canceled_keeps_its_result() {
    for (status, wait) in [("completed", true), ("failed", true), ("cancelled", false)] {
        let server = legacy("required")
            .on("tasks/cancel", move |call| call.error(-32602, &format!("already in terminal status '{status}'")))
            .on("tasks/get", move |call| call.result(state("t-1", status)))
            .http();
        let sandbox = Sandbox::new();
        let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
        sandbox.mcpipe(call).run().exits(0).prints("t-1\n");
        let run = sandbox.mcpipe(["task", "cancel", "t-1"]).run();
        let hint = if wait { "hint: to get its result: mcpipe task wait t-1 --protocol legacy\n" } else { "" };
        run.exits(1).prints("").stderr_is(&format!(
            "mcpipe: error: the server refused the task 't-1': already in terminal status '{status}' (code -32602)\n  the task is {status}\n{hint}"
        ));
        assert!(!server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
        sandbox.mcpipe(["task", "get", "t-1"]).run().succeeds().prints(&format!("t-1\t{status}\t-\n"));
    }
}

#[test]
fn a_task_that_may_not_have_been_canceled_keeps_its_session() {
    let server = legacy("required").on("tasks/cancel", |_| Vec::new()).http();
    let sandbox = Sandbox::new();
    let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
    sandbox.mcpipe(call).run().exits(0).prints("t-1\n");
    let run = sandbox.mcpipe(["task", "cancel", "t-1"]).run();
    run.exits(5).prints("").stderr_contains("ended before the response");
    assert!(!server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
    sandbox.mcpipe(["task", "wait", "t-1"]).run().succeeds().prints("later\n");
}

/// The handle is removed, and nothing else could continue the session.
#[test]
fn the_session_of_a_task_that_the_server_does_not_know_is_closed() {
    for subcommand in ["get", "wait", "cancel"] {
        let server = legacy("required")
            .on("tasks/get", |call| call.error(-32602, "Task not found"))
            .on("tasks/cancel", |call| call.error(-32602, "Task not found"))
            .http();
        let sandbox = Sandbox::new();
        let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
        sandbox.mcpipe(call).run().exits(0).prints("t-1\n");
        sandbox.mcpipe(["task", subcommand, "t-1"]).run().exits(1).stderr_contains("Task not found");
        assert!(server.exchanges().contains(&"DELETE".to_owned()), "{subcommand}: {:?}", server.exchanges());
    }
}

#[test]
fn the_refusal_to_cancel_is_shown_if_the_state_of_the_task_is_not_known() {
    let server = legacy("required")
        .on("tasks/cancel", |call| call.error(-32602, "not now"))
        .on("tasks/get", |call| call.error(-32603, "out of order"))
        .http();
    let sandbox = Sandbox::new();
    let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
    sandbox.mcpipe(call).run().exits(0).prints("t-1\n");
    let run = sandbox.mcpipe(["task", "cancel", "t-1"]).run();
    run.exits(1).stderr_is("mcpipe: error: the server refused the task 't-1': not now (code -32602)\n");
    assert!(!server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
}

#[test]
fn the_end_of_a_task_is_no_cause_for_that_of_another_server() {
    let (server, sandbox) = (legacy("required").http(), Sandbox::new());
    let other = legacy("required").on("tasks/get", |call| call.error(-32602, "Task not found")).http();
    let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
    sandbox.mcpipe(call).run().exits(0).prints("t-1\n");
    sandbox.mcpipe(["task", "wait", "t-1"]).run().succeeds().prints("later\n");
    let run = sandbox.mcpipe(["task", "get", &other.url("/mcp"), "t-1"]).run();
    run.exits(1).stderr_contains("Task not found").hides("already printed");
}

#[test]
fn detach_is_refused_for_a_server_that_mcpipe_starts() {
    let server = legacy("required").stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "work", "--detach"]).run();
    run.exits(2).prints("");
    assert_eq!(
        run.stderr().replace(&server.target(), "SERVER"),
        "mcpipe: error: --detach needs a server that keeps running\n  \
         mcpipe starts 'SERVER' for this command and stops it at the end, and the task with it\n\
         hint: omit --detach, or keep the server running: mcpipe session start 'SERVER'\n"
    );
    assert_eq!(server.processes().len(), 0, "nothing was started");
}

/// The task ended with its process: every command that looks for it says so.
#[test]
fn a_task_whose_process_has_ended_is_told_so() {
    // The call stops at a request for input that is not answered, and the task continues.
    let gone = || {
        let asks = json!({"k": {"method": "elicitation/create", "params": {"message": "Who?"}}});
        modern(Vec::new())
            .on("tasks/get", move |call| match call.n {
                0 => call.result(with(state("t-1", "input_required"), "inputRequests", asks.clone())),
                _ => call.error(-32602, "Task not found"),
            })
            .on("tasks/cancel", |call| call.error(-32602, "Task not found"))
            .stdio()
    };
    for subcommand in ["get", "wait", "cancel"] {
        let server = gone();
        let sandbox = Sandbox::new();
        sandbox.mcpipe(["call", &server.target(), "work"]).run().exits(8);
        let run = sandbox.mcpipe(["task", subcommand, "t-1"]).run();
        run.exits(1)
            .prints("")
            .stderr_contains("Task not found")
            .stderr_contains("\n  the server process has exited, and the task with it\n");
        let directory = sandbox.path().join("work");
        let start = format!("mcpipe session start '{}' --cwd {}", server.target(), directory.display());
        let hint = format!("\nhint: keep the server running before calling it: {start}\n");
        assert!(run.stderr().ends_with(&hint), "{run:?}");
        // It no longer exists anywhere; the message names the command that was typed.
        let run = sandbox.mcpipe(["task", subcommand, "t-1"]).run();
        assert_eq!(
            run.exits(1).stderr(),
            format!("mcpipe: error: unknown task 't-1'\nhint: pass the target: mcpipe task {subcommand} TARGET t-1\n")
        );
    }
    // A server at a URL keeps running and is queried. Options that were only recorded have to be given again.
    let server =
        modern(vec![state("t-1", "working")]).on("tasks/get", |call| call.error(-32602, "Task not found")).http();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "work", "--detach", "-H", "X-Team: s3cret"]).run();
    assert_eq!(run.exits(0).stderr(), "to get its result: mcpipe task wait t-1 -H 'X-Team: …'\n");
    sandbox.mcpipe(["task", "get", "t-1"]).run().exits(1).hides("process has ended");
}

#[test]
fn a_call_that_is_answered_at_once_needs_no_task() {
    let server = Mcp::modern().http();
    let run = Sandbox::new().mcpipe(["call", &server.url("/mcp"), "echo", "text=hi", "--detach"]).run();
    run.succeeds().prints("hi\n");
}

#[test]
fn tasks_that_are_not_known() {
    for server in [legacy("required").http(), modern(vec![completed()]).http()] {
        let sandbox = Sandbox::new();
        for command in ["get", "wait"] {
            let run = sandbox.mcpipe(["task", command, &server.url("/mcp"), "nosuch"]).run();
            run.exits(1).prints("").stderr_contains("Task not found (code -32602)");
        }
    }
    // A server without tasks.
    let server = Mcp::modern().http();
    let run = Sandbox::new().mcpipe(["task", "get", &server.url("/mcp"), "x"]).run();
    run.exits(1).stderr_contains("the server does not support tasks");
    let server = Mcp::legacy("2025-06-18").http();
    let run = Sandbox::new().mcpipe(["task", "cancel", &server.url("/mcp"), "x"]).run();
    run.exits(1).stderr_contains("the server does not support tasks");
    Sandbox::new().mcpipe(["task", "get"]).run().exits(2);
    Sandbox::new().mcpipe(["task", "get", "a", "b", "c"]).run().exits(2);
    Sandbox::new()
        .mcpipe(["task", "get", "a", "b", "--", "true"])
        .run()
        .exits(2)
        .stderr_contains("unexpected argument 'a'");
}

/// A server may choose an ID that looks like an option.
#[test]
fn an_id_that_begins_with_a_hyphen() {
    for id in ["-Xy9", "-Hab", "-qa", "--json"] {
        let server = legacy("required")
            .on("tools/call", move |call| call.result(json!({"task": state(id, "working")})))
            .on("tasks/get", move |call| call.result(state(id, "working")))
            .http();
        let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
        let call = || {
            let run = sandbox.mcpipe(["call", &url, "work", "--detach"]).run();
            let hint = format!("to get its result: mcpipe task wait -- {id}\n");
            run.exits(0).prints(&format!("{id}\n")).stderr_is(&hint);
        };
        call();
        sandbox.mcpipe(["task", "get", "--", id]).run().exits(0).prints(&format!("{id}\tworking\t-\n"));
        sandbox.mcpipe(["task", "get", &url, "--", id]).run().exits(0);
        sandbox.mcpipe(["task", "wait", "--", id]).run().exits(0).prints("later\n");
        if id != "--json" {
            call();
            sandbox.mcpipe(["task", "get", id, "--json"]).run().exits(0).stdout_contains("\"working\"");
            sandbox.mcpipe(["task", "get", &url, id, "-q"]).run().exits(0);
            sandbox.mcpipe(["task", "wait", id]).run().exits(0).prints("later\n");
        }
        sandbox.mcpipe(["task", "wait", "--nosuch"]).run().exits(2);
        sandbox.mcpipe(["task", "wait", "--", "server"]).run().exits(2).stderr_contains("no task ID given");
    }
}

/// A handle of another user, or one that cannot be read just now.
#[test]
fn a_handle_that_cannot_be_read_is_kept() {
    let server = modern(vec![state("t-1", "working")]).http();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.url("/mcp"), "work", "--detach"]).run().exits(0);
    let dir = sandbox.path().join("home/.local/state/mcpipe/tasks");
    let file = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap().path();
    let elsewhere = dir.join("elsewhere");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    sandbox.mcpipe(["task", "list"]).run().exits(0).prints("");
    std::fs::write(&elsewhere, &text).unwrap();
    sandbox.mcpipe(["task", "get", "t-1"]).run().exits(0);
    // One of a newer version.
    let newer = text.replacen('{', "{\"end\":\"paused\",", 1);
    std::fs::write(&elsewhere, newer).unwrap();
    sandbox.mcpipe(["task", "list"]).run().exits(0).prints("");
    assert!(file.exists());
}

#[test]
fn a_task_that_was_completed_before_it_was_canceled_keeps_its_result() {
    let server = legacy("required").on("tasks/cancel", |call| call.result(state("t-1", "completed"))).http();
    let sandbox = Sandbox::new();
    let call = ["call", &server.url("/mcp"), "work", "--detach", "--protocol", "legacy"];
    sandbox.mcpipe(call).run().exits(0);
    sandbox.mcpipe(["task", "cancel", "t-1", "--json"]).run().exits(0).stdout_contains("\"completed\"");
    sandbox
        .mcpipe(["task", "cancel", "t-1"])
        .run()
        .exits(0)
        .prints("")
        .stderr_is("the task is completed; to get its result: mcpipe task wait t-1 --protocol legacy\n");
    assert!(!server.exchanges().contains(&"DELETE".to_owned()), "{:?}", server.exchanges());
    sandbox.mcpipe(["task", "wait", "t-1"]).run().succeeds().prints("later\n");
}

/// Two servers may use the same id: then the target is required.
#[test]
fn an_id_that_two_servers_gave() {
    let servers = [modern(vec![completed()]).http(), modern(vec![completed()]).http()];
    let sandbox = Sandbox::new();
    for server in &servers {
        sandbox.mcpipe(["call", &server.url("/mcp"), "work", "--detach"]).run().exits(0);
    }
    sandbox.mcpipe(["task", "wait", "t-1"]).run().exits(1).stderr_contains("task 't-1' exists on http://127.0.0.1:");
    sandbox.mcpipe(["task", "wait", &servers[1].url("/mcp"), "t-1"]).run().succeeds().prints("later\n");
}

#[test]
fn a_servers_own_list() {
    let server = legacy("required")
        .on("tasks/list", |call| match call.params().get("cursor") {
            None => call.result(json!({"tasks": [state("t-1", "working")], "nextCursor": "2"})),
            Some(_) => {
                call.result(json!({"tasks": [with(state("t-2", "failed"), "statusMessage", json!("no paper"))]}))
            }
        })
        .stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["task", "list", &server.target()]).run();
    run.succeeds().prints("t-1\tworking\t-\nt-2\tfailed\tno paper\n");
    let run = sandbox.mcpipe(["task", "list", "--json", "--"]).args(server.words()).run();
    assert_eq!(run.succeeds().json()["tasks"][1]["taskId"], "t-2");
    // In the newer revision a server has no list: the tasks that mcpipe started there are listed.
    let server = modern(vec![completed()]).http();
    sandbox.mcpipe(["call", &server.url("/mcp"), "work", "--detach"]).run().exits(0);
    let run = sandbox.mcpipe(["task", "list", &server.url("/mcp"), "--json"]).run();
    assert_eq!(run.succeeds().json()["tasks"][0]["taskId"], "t-1");
    let other = modern(vec![completed()]).http();
    let run = sandbox.mcpipe(["task", "list", &other.url("/mcp")]).run();
    run.exits(0)
        .prints("")
        .stderr_contains("no tasks (mcpipe remembers tasks started with --detach until they are fetched)");
}

#[test]
fn a_real_server_runs_a_task_that_asks() {
    let sandbox = Sandbox::new();
    let script = "@modelcontextprotocol/sdk/dist/esm/examples/server/simpleTaskInteractive.js";
    let words = [real::node_program(), real::node_package_file(script)];
    let server = real::ListeningServer::start(&sandbox, &words, &[("PORT", "PORT")]);
    let url = server.url("/mcp").replace("127.0.0.1", "localhost");
    let run = |args: &[&str]| sandbox.mcpipe(args.iter().copied()).allow_leftovers().run();
    let call = ["call", &url, "confirm_delete", "filename=a.txt", "--elicit", r#"{"confirm":true}"#];
    run(&call).succeeds().prints("Deleted 'a.txt'\n");
    let detached = run(&[&call[..], &["--detach"]].concat());
    let id = detached.exits(0).stdout().trim_end();
    run(&["task", "get", id]).exits(0);
    run(&["task", "wait", id, "--elicit", "decline"]).exits(8).prints("Deletion cancelled\n");
    run(&["task", "get", &url, "nosuch"]).exits(1);
}

#[test]
fn the_reference_server_needs_a_task() {
    let sandbox = Sandbox::new();
    let args = ["call", "simulate-research-query", "topic=rust", "--"];
    let run = sandbox.mcpipe(args).args(real::everything_server()).run();
    assert!(run.exits(0).stdout().starts_with("# Research Report: rust\n"), "{run:?}");
}

/// The task is not over, so the failure says how to go on.
#[test]
fn a_wait_that_takes_too_long_can_be_repeated() {
    let server = modern(vec![rarely_polled("working"), rarely_polled("working")]).http();
    let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
    sandbox.mcpipe(["call", &url, "work", "--detach"]).run().exits(0).prints("t-1\n");
    let run = sandbox.mcpipe(["task", "wait", "t-1", "--timeout", "400ms"]).run();
    run.exits(6).stderr_is(&format!(
        "mcpipe: error: no update of the task within 400 ms\n\
         hint: the task may still be running; wait again: mcpipe task wait {url} t-1\n"
    ));
}
