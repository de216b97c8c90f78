//! `request`: any request, and the result as it came.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{HttpServer, LegacyHttpOptions, Mcp, Reply, Sandbox};

#[test]
fn the_result_is_printed_as_it_came() {
    let result = r#"{"resultType":"complete","z":1.10,"a":12345678901234567890123,"unknown":{"x":[]}}"#;
    let server = Mcp::modern()
        .on("vendor/search", move |call| {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, call.id());
            vec![crate::support::ServerAction::RawText(text)]
        })
        .stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["request", &server.target(), "vendor/search", r#"{"n":1.50,"_meta":{"k":1}}"#]).run();
    run.succeeds().prints(&format!("{result}\n"));
    let sent = server.single_process().messages().pop().unwrap();
    assert_eq!(sent["method"], "vendor/search");
    assert_eq!(sent["params"]["n"].to_string(), "1.50");
    assert_eq!(sent["params"]["_meta"]["k"], 1);
    assert_eq!(sent["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
}

#[test]
fn parameters_come_from_the_command_line_a_file_or_stdin() {
    let server =
        Mcp::legacy("2025-11-25").on("x/mirror", |call| call.result(json!({"got": call.params()["v"]}))).stdio();
    let sandbox = Sandbox::new();
    sandbox.file("p.json", r#"{"v":"file"}"#);
    let target = server.target();
    for (params, stdin, got) in
        [(r#"{"v":"word"}"#, "", "word"), ("@p.json", "", "file"), ("-", r#"{"v":"stdin"}"#, "stdin")]
    {
        let run = sandbox.mcpipe(["request", &target, "x/mirror", params, "--jq", ".got"]).stdin(stdin).run();
        run.succeeds().prints(&format!("{got}\n"));
    }
    for (params, why) in
        [("[1]", "PARAMS is not a JSON object"), ("{", "PARAMS is not JSON"), ("@none", "cannot read none")]
    {
        sandbox.mcpipe(["request", &target, "x/mirror", params]).run().exits(2).stderr_contains(why);
    }
    sandbox.mcpipe(["request", &target]).run().exits(2).stderr_contains("no method given");
    sandbox.mcpipe(["request", &target, "a", "{}", "b"]).run().exits(2).stderr_contains("unexpected argument 'b'");
}

#[test]
fn an_error_of_the_server_is_reported_as_for_other_commands() {
    let server = Mcp::modern().on("x/no", |call| call.error_with(-32099, "not today", json!({"why": 1}))).stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["request", &server.target(), "x/no", "--json"]).run();
    let error = run.exits(1).prints("").json_error();
    assert_eq!(error["class"], "failed");
    assert_eq!((&error["rpc"]["code"], &error["rpc"]["data"]), (&json!(-32099), &json!({"why": 1})));
}

#[test]
fn a_request_is_sent_although_the_server_declares_no_such_capability() {
    let server = Mcp::legacy("2025-11-25")
        .capabilities(json!({}))
        .on("prompts/get", |call| call.result(json!({"messages": []})))
        .stdio();
    let run = Sandbox::new().mcpipe(["request", &server.target(), "prompts/get", r#"{"name":"p"}"#]).run();
    run.succeeds().prints("{\"messages\":[]}\n");
}

#[test]
fn the_rules_for_tools_apply_to_a_requested_call() {
    let (server, sandbox) = (Mcp::modern().stdio(), Sandbox::new());
    let words = server.words();
    sandbox.config(&format!(
        "[servers.s]\ncommand = '{}'\nargs = ['{}']\ndeny_tools = ['add']\nconfirm = 'destructive'\n",
        words[0], words[1]
    ));
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: the configuration does not allow the tool 'add'
        hint: show allow_tools and deny_tools: mcpipe config get s
    "#]]
    .assert_eq(&sandbox.mcpipe(["request", "s", "tools/call", r#"{"name":"add"}"#]).run().snapshot());
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: calling 'fail' needs confirmation
        hint: add --yes to skip the confirmation
    "#]]
    .assert_eq(&sandbox.mcpipe(["request", "s", "tools/call", r#"{"name":"fail"}"#]).run().snapshot());
    for name in ["add", "fail"] {
        let params = json!({"name": name}).to_string();
        sandbox.mcpipe(["request", "s", "tools/call", &params, "--notify"]).run().exits(8);
    }
    let processes = server.wait_until_all_ended();
    assert!(processes.iter().all(|seen| !seen.methods().contains(&"tools/call".to_owned())));
    let failed = sandbox.mcpipe(["request", "s", "tools/call", r#"{"name":"fail"}"#, "--yes"]).run();
    failed.exits(1).stdout_contains("isError").stderr_contains("the tool reported an error");
    let echo = r#"{"name":"echo","arguments":{"text":"hi"}}"#;
    let run = sandbox.mcpipe(["request", "s", "tools/call", echo, "--jq", ".content[0].text"]).run();
    run.succeeds().prints("hi\n");
}

#[test]
fn a_requested_call_over_http_has_the_headers_of_the_protocol() {
    let schema = json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}});
    let server = Mcp::modern()
        .tools(json!([{"name": "t", "inputSchema": schema}]))
        .on("tools/call", |call| call.text("done"))
        .http();
    let params = r#"{"name":"t","arguments":{"region":"eu"}}"#;
    Sandbox::new().mcpipe(["request", &server.url("/mcp"), "tools/call", params]).run().succeeds();
    let requests = server.requests();
    let call = requests.iter().find(|request| request.header("mcp-method") == Some("tools/call")).unwrap();
    assert_eq!((call.header("mcp-name"), call.header("mcp-param-region")), (Some("t"), Some("eu")));
}

/// As `call --no-validate` does. The rules for tools still need the list.
#[test]
fn a_requested_call_over_http_does_not_need_the_list_of_tools() {
    let server = Mcp::modern().on("tools/list", |call| call.error(-32603, "no list today")).http();
    let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
    let params = r#"{"name":"echo","arguments":{"text":"hi"}}"#;
    let run = sandbox.mcpipe(["request", &url, "tools/call", params, "--jq", ".content[0].text"]).run();
    run.succeeds().prints("hi\n");
    sandbox.mcpipe(["request", &url, "tools/call", params, "--read-only"]).run().exits(1).prints("");
}

#[test]
fn the_headers_of_a_requested_call_are_those_of_the_current_list() {
    let server = Mcp::modern()
        .on("tools/list", |call| {
            let header = if call.n == 0 { "Old" } else { "Region" };
            let schema = json!({"type": "object", "properties": {"r": {"type": "string", "x-mcp-header": header}}});
            call.result(
                json!({"tools": [{"name": "t", "inputSchema": schema}], "ttlMs": 60_000, "cacheScope": "private"}),
            )
        })
        .on("tools/call", |call| match call.n % 2 {
            0 => call.error(-32020, "Header mismatch"),
            _ => call.text("done"),
        })
        .http();
    let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
    let params = json!({"name": "t", "arguments": {"r": "eu"}});
    sandbox.mcpipe(["request", &url, "tools/call", &params.to_string()]).run().succeeds();
    let line = json!({"request": "tools/call", "params": params}).to_string();
    sandbox.mcpipe(["call", &url, "--batch", "-"]).stdin(line).run().succeeds();
    sandbox.file(
        "t.toml",
        format!(
            "target = '{url}'\n[[test]]\nrequest = 'tools/call'\nargs = {{ name = 't', arguments = {{ r = 'eu' }} }}\n"
        ),
    );
    sandbox.mcpipe(["test", "t.toml", "--effects"]).run().exits(0).stderr_is("1 ok\n");
    let requests = server.requests();
    let calls: Vec<_> = requests.iter().filter(|request| request.header("mcp-method") == Some("tools/call")).collect();
    let headers = |name: &str| calls.iter().map(|call| call.header(name).is_some()).collect::<Vec<_>>();
    assert_eq!(headers("mcp-param-old"), [true, false, false, false, false, false]);
    assert_eq!(headers("mcp-param-region"), [false, true, true, true, true, true]);
}

#[test]
fn a_status_has_the_same_exit_code_for_a_request_and_a_notification() {
    for (status, code) in [(401, 4), (403, 4), (404, 5), (407, 5), (425, 5), (429, 5), (503, 5), (415, 7), (400, 7)] {
        let behave = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| match request.rpc_method() == "x/y" {
            true => Reply::text("text/plain", if status == 400 { "what?" } else { "" }).with_status(status),
            false => behave(request),
        });
        for notify in [None, Some("--notify")] {
            let words = ["request", &server.url("/mcp"), "x/y", "--retries", "0"];
            let run = Sandbox::new().mcpipe(words).args(notify).run();
            run.exits(code).prints("").stderr_contains(if status == 400 { "what?" } else { "" });
        }
    }
}

#[test]
fn a_notification_has_no_id_and_no_result() {
    for server in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let server = server.stdio();
        let words = ["request", &server.target(), "notifications/x", r#"{"a":1}"#, "--notify", "--meta", "k=v"];
        Sandbox::new().mcpipe(words).run().succeeds().prints("").stderr_is("");
        let seen = server.wait_until_all_ended();
        let sent = seen[0].messages().into_iter().find(|message| message["method"] == "notifications/x").unwrap();
        assert_eq!(sent.get("id"), None);
        assert_eq!((&sent["params"]["a"], &sent["params"]["_meta"]["k"]), (&Value::from(1), &Value::from("v")));
    }
}

#[test]
fn a_notification_that_the_server_does_not_accept_is_given_up() {
    let script = Mcp::legacy("2025-11-25").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "notifications/x" => Reply::never(),
        _ => script(request),
    });
    let (sandbox, url) = (Sandbox::new(), server.url("/mcp"));
    let words = ["request", &url, "notifications/x", "--notify"];
    sandbox.mcpipe(words).args(["--timeout", "300ms"]).run().exits(6).prints("").stderr_is(
        "mcpipe: error: the server did not accept notifications/x within 300 ms\n\
        hint: wait longer with --timeout TIME\n",
    );
    let interrupted = sandbox.mcpipe(words).start();
    server.wait_for("the second notification", |request| {
        let is_same = |other: &&crate::support::Request| other.rpc_method() == "notifications/x" && other.n < request.n;
        request.rpc_method() == "notifications/x" && server.requests().iter().filter(is_same).count() == 1
    });
    interrupted.signal(rustix::process::Signal::INT);
    interrupted.wait().exits(130).prints("");
}

/// `call` and `request` judge a result in the same way.
#[test]
fn the_result_of_a_requested_call_is_judged_as_that_of_a_call() {
    for (result, code, reason) in [
        (json!({"content": "nonsense"}), 7, "the server's response to tools/call is malformed"),
        (json!({"content": [], "isError": true}), 1, "the tool failed without a message"),
        (json!({"content": [{"type": "text", "text": "no"}], "isError": true}), 1, "the tool reported an error"),
    ] {
        let text = result.to_string();
        let server = Mcp::legacy("2025-11-25").on("tools/call", move |call| call.result(result.clone())).stdio();
        let (sandbox, target) = (Sandbox::new(), server.target());
        let called = sandbox.mcpipe(["call", &target, "echo", "text=hi"]).run();
        called.exits(code).stderr_contains(reason);
        let params = r#"{"name":"echo","arguments":{"text":"hi"}}"#;
        let requested = sandbox.mcpipe(["request", &target, "tools/call", params]).run();
        requested.exits(code).prints(&format!("{text}\n")).stderr_is(called.stderr());
        let line = json!({"request": "tools/call", "params": {"name": "echo", "arguments": {"text": "hi"}}});
        sandbox.mcpipe(["call", &target, "--batch", "-"]).stdin(line.to_string()).run().exits(1);
    }
}

#[test]
fn parameters_that_are_empty_are_named() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox
        .mcpipe(["request", &server.target(), "x/y", "-"])
        .run()
        .exits(2)
        .stderr_is("mcpipe: error: standard input is empty, expected JSON\n");
    sandbox
        .mcpipe(["request", &server.target(), "x/y", "{"])
        .run()
        .exits(2)
        .stderr_is("mcpipe: error: PARAMS is not JSON: it ends too early, at column 1\n");
}

/// On first contact mcpipe sends the same method to find out the era; that request does not replace one with parameters.
#[test]
fn the_parameters_of_a_discovery_are_sent_on_first_contact() {
    let discoveries = |sent: &[Value]| -> Vec<Value> {
        let all = sent.iter().filter(|message| message["method"] == "server/discover");
        all.map(|message| json!([message["params"]["x"], message["params"]["_meta"]["k"]])).collect()
    };
    for (given, sent) in [
        (None, json!([[null, null]])),
        (Some(r#"{"x":1}"#), json!([[null, null], [1, null]])),
        (Some(r#"{"_meta":{"k":1}}"#), json!([[null, null], [null, 1]])),
    ] {
        let server = Mcp::modern().stdio();
        let run = Sandbox::new().mcpipe(["request", &server.target(), "server/discover"]).args(given).run();
        assert_eq!(run.succeeds().json()["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!(json!(discoveries(&server.single_process().messages())), sent);
        let server = Mcp::modern().http();
        Sandbox::new().mcpipe(["request", &server.url("/mcp"), "server/discover"]).args(given).run().succeeds();
        let requests: Vec<Value> = server.requests().iter().map(|request| request.json()).collect();
        assert_eq!(json!(discoveries(&requests)), sent);
    }
}
