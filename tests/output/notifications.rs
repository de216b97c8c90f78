//! What a server reports during a request: logs, progress, and every notification as an event; and annotations of its
//! tools.

use std::time::Duration;

use expect_test::expect;
use serde_json::{Value, json};

use crate::call::server_requests::one_tool;
use crate::support::pty::TerminalStreams;
use crate::support::{ClientMessage, Mcp, Run, Sandbox, ServerAction, StdioServer};

fn log(level: &str, data: Value) -> ServerAction {
    let params = json!({"level": level, "logger": "db", "data": data});
    ServerAction::Send(json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params}))
}

/// Reports progress before it answers.
fn chatty(call: &ClientMessage) -> Vec<ServerAction> {
    let mut outs = vec![log("debug", json!("opening")), log("warning", json!({"slow": 1.50}))];
    outs.extend(call.progress(1, 2, "half"));
    outs.push(ServerAction::Send(json!({"jsonrpc": "2.0", "method": "notifications/odd"})));
    outs.extend(call.text("done"));
    outs
}

fn legacy(capabilities: Value) -> Mcp {
    Mcp::legacy("2025-11-25").capabilities(capabilities).tools(one_tool()).on("tools/call", chatty)
}

fn run(server: &StdioServer, words: &[&str]) -> Run {
    Sandbox::new().mcpipe(["call", &server.target(), "ask"]).args(words).run()
}

#[test]
fn the_log_level_is_set_where_logging_is_declared() {
    let server =
        legacy(json!({"tools": {}, "logging": {}})).on("logging/setLevel", |call| call.result(json!({}))).stdio();
    let said = run(&server, &["--log-level", "info"]);
    said.exits(0).prints("done\n");
    assert_eq!(said.stderr(), "warning db: {\"slow\":1.5}\n");
    let text = server.single_process().text().to_owned();
    let methods = server.single_process().methods();
    assert!(text.contains(r#""method":"logging/setLevel","params":{"level":"info"}"#), "{text}");
    let at = |method: &str| methods.iter().position(|one| one == method).unwrap();
    assert!(at("notifications/initialized") < at("logging/setLevel") && at("logging/setLevel") < at("tools/call"));
    // Without the option nothing is requested, and nothing is written to a pipe.
    run(&server, &[]).succeeds();
    assert!(!server.wait_until_all_ended()[1].text().contains("setLevel"));
}

#[test]
fn a_server_without_logging_is_not_asked_and_one_that_refuses_is_no_failure() {
    let server = legacy(json!({"tools": {}})).stdio();
    run(&server, &["--log-level", "debug"]).exits(0).stderr_contains("warning: the server does not support logging");
    assert!(!server.single_process().text().contains("setLevel"));
    let server =
        legacy(json!({"tools": {}, "logging": {}})).on("logging/setLevel", |call| call.error(-32602, "no")).stdio();
    run(&server, &["--log-level", "debug"]).exits(0).stderr_contains("rejected the log level debug: no");
}

#[test]
fn msg_14_the_modern_era_names_the_level_with_each_request() {
    let server = Mcp::modern().tools(one_tool()).on("tools/call", chatty).stdio();
    run(&server, &["--log-level", "error"]).exits(0).prints("done\n").hides("opening").hides("slow");
    for message in server.single_process().messages().iter().filter(|message| message["method"] == "tools/call") {
        assert_eq!(message["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "error");
    }
    let json = run(&server, &["--log-level", "debug", "--json"]);
    json.exits(0);
    expect![[r#"
        {"log":{"level":"debug","logger":"db","data":"opening"}}
        {"log":{"level":"warning","logger":"db","data":{"slow":1.5}}}
    "#]]
    .assert_eq(json.stderr());
    run(&server, &["--log-level", "debug", "--quiet"]).succeeds();
    run(&server, &[]).succeeds();
    assert!(!server.wait_until_all_ended().last().unwrap().text().contains("logLevel"));
}

#[test]
fn events_on_stdout_come_in_order_with_the_answer() {
    for server in [Mcp::modern(), Mcp::legacy("2025-06-18")] {
        let server = server.tools(one_tool()).on("tools/call", chatty).stdio();
        let text = run(&server, &["--events", "-"]).succeeds().stdout().to_owned();
        let text = text.replace("\"resultType\":\"complete\"", "").replace(",}", "}");
        let text = text.replace("\"progressToken\":4", "\"progressToken\":3");
        expect![[r#"
            {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"debug","logger":"db","data":"opening"}}
            {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"warning","logger":"db","data":{"slow":1.5}}}
            {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":3,"progress":1,"total":2,"message":"half"}}
            {"jsonrpc":"2.0","method":"notifications/odd"}
            {"content":[{"type":"text","text":"done"}]}
        "#]]
        .assert_eq(&text);
    }
}

#[test]
fn events_in_a_file_leave_the_result_as_it_is() {
    let server = Mcp::modern().tools(one_tool()).on("tools/call", chatty).http();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["call", &server.url("/mcp"), "ask", "--events", "e.ndjson"]).run().succeeds().prints("done\n");
    let events = std::fs::read_to_string(sandbox.work().join("e.ndjson")).unwrap();
    let methods: Vec<Value> =
        events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["method"].clone()).collect();
    assert_eq!(
        methods,
        ["notifications/message", "notifications/message", "notifications/progress", "notifications/odd"]
    );
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "ask", "--events", "no/such/file"]).run();
    run.exits(2).stderr_contains("cannot write the events to 'no/such/file'");
}

#[test]
fn a_terminal_shows_a_bar_and_warnings_and_nothing_stays_of_the_bar() {
    let server = Mcp::modern()
        .tools(one_tool())
        .on("tools/call", |call| {
            let mut outs = vec![log("info", json!("quiet")), log("error", json!("bad\u{1b}[2Jthing"))];
            for step in 1..=8 {
                outs.extend(call.progress(step, 8, "copying"));
                outs.push(ServerAction::Pause(Duration::from_millis(100)));
            }
            outs.extend(call.text("done"));
            outs
        })
        .stdio();
    let sandbox = Sandbox::new();
    let words = ["call", &server.target(), "ask"];
    let seen = sandbox.mcpipe(words).env("NO_COLOR", "1").at_terminal(TerminalStreams::ALL).wait();
    seen.exits(0);
    assert!(seen.screen.contains("[====") && seen.screen.contains("% copying"), "{}", seen.screen);
    assert_eq!(seen.final_screen(), "error db: bad\\x1b[2Jthing\ndone");
}

fn promising(result: Value) -> StdioServer {
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let tool = json!([{"name": "ask", "inputSchema": {"type": "object"}, "outputSchema": schema}]);
    Mcp::modern().tools(tool).on("tools/call", move |call| call.result(result.clone())).stdio()
}

#[test]
fn tol_02_a_result_that_breaks_its_schema_is_a_warning_and_strictly_an_error() {
    let content = json!([{"type": "text", "text": "five"}]);
    let server = promising(json!({"content": content, "structuredContent": {"n": "five"}}));
    let words = |words: &[&str]| run(&server, words).snapshot_with(&[(&server.target(), "SERVER")]);
    expect![[r#"
        exit: 0
        --- stdout
        five
        --- stderr
        mcpipe: warning: the result does not match the output schema of 'ask': n: expected integer, got 'five'
    "#]]
    .assert_eq(&words(&[]));
    expect![[r#"
        exit: 7
        --- stdout
        five
        --- stderr
        mcpipe: error: the result does not match the output schema of 'ask'
          n: expected integer, got 'five'
        hint: show the schema: mcpipe list SERVER ask --json
    "#]]
    .assert_eq(&words(&["--strict"]).replace("'SERVER'", "SERVER"));
    run(&server, &["--no-validate"]).succeeds();
    run(&server, &["--no-validate", "--strict"]).exits(2);
    let server = promising(json!({"content": content}));
    run(&server, &["--strict"]).exits(7).stderr_contains("structuredContent is missing");
    let server = promising(json!({"content": content, "isError": true}));
    run(&server, &["--strict"]).exits(1);
    let server = promising(json!({"content": content, "structuredContent": {"n": 5}}));
    run(&server, &["--strict"]).succeeds();
}

#[test]
fn tools_for_the_app_alone_are_listed_on_request_and_can_be_called() {
    let tool = |name: &str, visibility: Value| json!({"name": name, "inputSchema": {"type": "object"}, "_meta": {"ui": {"visibility": visibility}}});
    let tools = json!([
        tool("both", json!(["model", "app"])),
        tool("refresh", json!(["app"])),
        tool("model", json!(["model"])),
        {"name": "plain", "inputSchema": {"type": "object"}},
    ]);
    let server = Mcp::modern().tools(tools).on("tools/call", |call| call.text("called")).stdio();
    let sandbox = Sandbox::new();
    let names = |words: &[&str]| {
        let run = sandbox.mcpipe(["list", &server.target(), "--json"]).args(words).run();
        let all = run.exits(0).json()["tools"].as_array().unwrap().clone();
        all.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&[]), ["both", "model", "plain"]);
    assert_eq!(names(&["--hidden"]), ["both", "refresh", "model", "plain"]);
    let said = sandbox.mcpipe(["list", &server.target()]).run();
    said.exits(0).stderr_contains("1 more tool is meant only for its app UI; add --hidden to list them");
    sandbox.mcpipe(["call", &server.target(), "refresh"]).run().succeeds().prints("called\n");
    sandbox.mcpipe(["list", &server.target(), "refresh"]).run().exits(0);
}
