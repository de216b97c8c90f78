//! `list`: servers, tools and everything else a server offers.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

#[test]
fn tools_of_a_server() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target()]).run();
    expect![[r#"
        exit: 0
        --- stdout
        echo\tSays what it is told. Nothing else.\ttext
        add\tAdds two integers\ta: integer, b: integer
        fail\tAlways fails\t-
        image\tReturns a picture\t-
        slow\tReports progress\tsteps?: integer
    "#]]
    .assert_eq(&run.snapshot());
    assert_eq!(
        server.single_process().methods(),
        ["server/discover", "initialize", "notifications/initialized", "tools/list"]
    );
}

#[test]
fn a_tool_in_full() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "add"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        add

        Adds two integers

        Parameters
        a\tinteger\trequired\t-\t-\t-
        b\tinteger\trequired\t-\t-\t-

        Output
        { total: integer }

        Example
        mcpipe call 'SERVER' add a=1 b=1
    "#]]
    .assert_eq(&run.snapshot_with(&[(&server.target(), "SERVER")]));
}

#[test]
fn a_tool_described_at_length() {
    let tool = json!({
        "name": "create_issue",
        "title": "Create an issue",
        "description": "Creates an issue.\n\nThe second paragraph says more.",
        "annotations": {"destructiveHint": false, "idempotentHint": false, "readOnlyHint": false, "openWorldHint": true},
        "inputSchema": {"type": "object", "required": ["title"], "properties": {
            "title": {"type": "string", "description": "One line", "maxLength": 80},
            "priority": {"type": "integer", "enum": [1, 2, 3], "default": 2},
            "labels": {"type": "array", "items": {"type": "string"}},
            "due": {"type": ["string", "null"], "format": "date"},
            "place": {"type": "object", "properties": {"line": {"type": "number"}}},
        }},
        "outputSchema": {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]},
    });
    let server = Mcp::modern().tools(json!([tool])).stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["list", &server.target(), "create_issue"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        create_issue: Create an issue

        Creates an issue.

        The second paragraph says more.

        Annotations (claimed by the server, not verified)
        read-only: no, destructive: no, idempotent: no, open world: yes

        Parameters
        title\tstring\trequired\t-\tat most 80 characters\tOne line
        priority\tinteger\toptional\t2\t1, 2, 3\t-
        labels\tstring[]\toptional\t-\t-\t-
        due\tstring | null\toptional\t-\tformat date\t-
        place\tobject\toptional\t-\t-\t-
        place.line\tnumber\toptional\t-\t-\t-

        Output
        { id: integer }

        Example
        mcpipe call 'SERVER' create_issue title=text
    "#]]
    .assert_eq(&run.snapshot_with(&[(&server.target(), "SERVER")]));
    let schema = sandbox.mcpipe(["list", &server.target(), "create_issue", "--schema"]).run();
    assert_eq!(schema.succeeds().json(), tool["inputSchema"]);
}

#[test]
fn everything_else() {
    let server = Mcp::modern().http();
    let sandbox = Sandbox::new();
    let url = server.url("/mcp");
    let shown = |option: &str| sandbox.mcpipe(["list", &url, option]).run().snapshot();
    expect![[r#"
        exit: 0
        --- stdout
        demo://hello\thello\ttext/plain\t-\tA greeting
        demo://logo\tlogo\timage/png\t-\t-
    "#]]
    .assert_eq(&shown("--resources"));
    expect![[r#"
        exit: 0
        --- stdout
        demo://item/{id}\titem\t-\t-\tOne item
    "#]]
    .assert_eq(&shown("--templates"));
    expect![[r#"
        exit: 0
        --- stdout
        greet\tGreets someone\twho, tone?
    "#]]
    .assert_eq(&shown("--prompts"));
    expect![[r#"
        exit: 0
        --- stdout
        tools\techo\tSays what it is told. Nothing else.\ttext\t-\t-
        tools\tadd\tAdds two integers\ta: integer, b: integer\t-\t-
        tools\tfail\tAlways fails\t-\t-\t-
        tools\timage\tReturns a picture\t-\t-\t-
        tools\tslow\tReports progress\tsteps?: integer\t-\t-
        resources\tdemo://hello\thello\ttext/plain\t-\tA greeting
        resources\tdemo://logo\tlogo\timage/png\t-\t-
        resource templates\tdemo://item/{id}\titem\t-\t-\tOne item
        prompts\tgreet\tGreets someone\twho, tone?\t-\t-
    "#]]
    .assert_eq(&shown("--all"));
    expect![[r#"
        exit: 0
        --- stdout
        target\thttp://127.0.0.1:[PORT]/mcp
        name\tFake server (fake)
        version\t1.2.3
        protocol\t2026-07-28
        transport\thttp
        capabilities\ttools, resources, prompts

        Instructions
        Be kind to it.
    "#]]
    .assert_eq(&shown("--info"));
}

/// Real servers keep their resources elsewhere than their tools.
#[test]
fn a_list_that_fails_costs_no_other() {
    let script = Mcp::modern().http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "resources/list" => {
            let error = json!({"code": -32603, "message": "connect ECONNREFUSED"});
            Reply::json(&json!({"jsonrpc": "2.0", "id": request.id(), "error": error}))
        }
        _ => script(request),
    });
    let sandbox = Sandbox::new();
    let url = server.url("/mcp");
    expect![[r#"
        exit: 1
        --- stdout
        tools\techo\tSays what it is told. Nothing else.\ttext\t-\t-
        tools\tadd\tAdds two integers\ta: integer, b: integer\t-\t-
        tools\tfail\tAlways fails\t-\t-\t-
        tools\timage\tReturns a picture\t-\t-\t-
        tools\tslow\tReports progress\tsteps?: integer\t-\t-
        resource templates\tdemo://item/{id}\titem\t-\t-\tOne item
        prompts\tgreet\tGreets someone\twho, tone?\t-\t-
        --- stderr
        mcpipe: error: the server refused resources/list: connect ECONNREFUSED (code -32603)
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", &url, "--all"]).run().snapshot());
    let run = sandbox.mcpipe(["list", &url, "--all", "--json"]).run();
    let document: Value = serde_json::from_slice(&run.exits(1).stdout).unwrap();
    let members: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(members, ["tools", "resourceTemplates", "prompts"]);
    let failure: Value = serde_json::from_slice(&run.stderr).unwrap();
    assert_eq!((&failure["error"]["class"], &failure["error"]["server"]), (&json!("failed"), &json!(url)));
    sandbox.mcpipe(["list", &url, "--resources"]).run().exits(1).prints("");

    sandbox.config(&format!("[servers.half]\nurl = \"{url}\"\n"));
    let run = sandbox.mcpipe(["list", "--json"]).run();
    let document: Value = serde_json::from_slice(&run.exits(1).stdout).unwrap();
    let row = &document["servers"][0];
    assert_eq!((&row["revision"], &row["tools"], &row["prompts"]), (&json!("2026-07-28"), &json!(5), &json!(1)));
    assert_eq!((&row["resources"], &row["state"]), (&json!(null), &json!("failed")));
    assert_eq!(row["error"]["rpc"]["message"], "connect ECONNREFUSED");
    let found = sandbox.mcpipe(["list", "--grep", "says", "--all", "--json"]).run();
    let document: Value = serde_json::from_slice(&found.exits(1).stdout).unwrap();
    assert_eq!(document["servers"][0]["lists"]["tools"][0]["name"], "echo");
}

#[test]
fn json_is_what_the_server_sent() {
    // TOL-04: unknown members, key order and numbers of any size survive.
    let raw = r#"{"zeta":1e2,"name":"t","big":12345678901234567890123,"inputSchema":{"type":"object"},"execution":{"taskSupport":"optional"}}"#;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":ID,"result":{{"resultType":"complete","tools":[{raw}]}}}}"#);
    let server = Mcp::modern()
        .on("tools/list", move |call| {
            vec![crate::support::ServerAction::RawText(answer.replace("ID", &call.id().to_string()))]
        })
        .stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--json"]).run();
    run.succeeds().prints(&format!("{{\"tools\":[{raw}]}}\n"));
}

#[test]
fn all_pages_are_fetched_and_a_repeated_cursor_is_an_error() {
    let server = Mcp::legacy("2025-06-18").page_size(2).stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--json"]).run();
    let json = run.succeeds().json();
    let names: Vec<&str> =
        json["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["echo", "add", "fail", "image", "slow"]);

    for cursor in ["again", ""] {
        // Another tool each time: where the server is, nobody can tell.
        let server = Mcp::modern().on("tools/list", move |call| {
            let tool = json!({"name": format!("t{}", call.n), "inputSchema": {"type": "object"}});
            call.result(json!({"tools": [tool], "nextCursor": cursor}))
        });
        let server = server.stdio();
        let run = Sandbox::new().mcpipe(["list", &server.target()]).run();
        run.exits(7).stderr_contains("cursor");
        assert!(
            server.single_process().methods().len() < 6,
            "it gave up soon: {:?}",
            server.single_process().methods()
        );
    }
}

#[test]
fn what_a_server_does_not_offer_is_not_asked_for() {
    // ERA-18: in the legacy era a request for an undeclared capability must not be sent.
    let server = Mcp::legacy("2025-11-25").capabilities(json!({"tools": {}})).stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--prompts"]).run();
    expect![[r#"
        exit: 0
        --- stderr
        SERVER offers no prompts
    "#]]
    .assert_eq(&run.snapshot_with(&[(&server.target(), "SERVER")]));
    assert!(!server.single_process().methods().contains(&"prompts/list".to_owned()));
}

#[test]
fn an_unknown_tool_is_suggested_never_run() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "ecco"]).run();
    run.exits(1).stderr_contains("ecco").stderr_contains("echo");
}

#[test]
fn grep_looks_into_names_titles_and_descriptions() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--grep", "PICTURE", "--json"]).run();
    let tools = run.succeeds().json()["tools"].clone();
    assert_eq!(tools.as_array().map(Vec::len), Some(1), "{tools}");
    assert_eq!(tools[0]["name"], "image");
}

#[test]
fn every_configured_server_is_a_row() {
    let stdio = Mcp::legacy("2024-11-05").stdio();
    let http = Mcp::modern().http();
    let sandbox = Sandbox::new();
    let words = stdio.words();
    sandbox.config(&format!(
        "[servers.one]\ncommand = {:?}\nargs = [{:?}]\n[servers.two]\nurl = {:?}\n[servers.gone]\ncommand = \"/nowhere/server\"\n",
        words[0],
        words[1],
        http.url("/mcp")
    ));
    let run = sandbox.mcpipe(["list", "--json"]).run();
    // The first failure sets the exit code; the other lists are printed.
    let json = run.exits(5).json();
    let rows: Vec<(&Value, &Value, &Value)> =
        json["servers"].as_array().unwrap().iter().map(|row| (&row["name"], &row["revision"], &row["state"])).collect();
    assert_eq!(
        rows,
        [
            (&json!("gone"), &Value::Null, &json!("unreachable")),
            (&json!("one"), &json!("2024-11-05"), &json!("ok")),
            (&json!("two"), &json!("2026-07-28"), &json!("ok")),
        ]
    );

    let before = stdio.processes().len();
    let offline = sandbox.mcpipe(["list", "--offline"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        gone\tstdio\t-\t-\t-\t-\t-\t-
        one\tstdio\t-\t-\t-\t-\t-\t-
        two\thttp\t-\t-\t-\t-\t-\t-
    "#]]
    .assert_eq(&offline.snapshot_with(&[(&words.join(" "), "SERVER")]));
    assert_eq!(stdio.processes().len(), before, "--offline starts nothing");
}

#[test]
fn an_example_fits_where_what_is_required_hangs_on_a_choice() {
    let schema = json!({"type": "object",
        "properties": {"id": {"type": "integer"}, "name": {"type": "string"}, "always": {"type": "boolean"}},
        "required": ["always"], "oneOf": [{"required": ["id"]}, {"required": ["name"]}]});
    let own = json!({"type": "object", "anyOf": [
        {"properties": {"kind": {"const": "a"}}, "required": ["kind"]}, {"required": ["x", "y"]}]});
    let tools = json!([{"name": "one", "inputSchema": schema}, {"name": "two", "inputSchema": own}]);
    let server = Mcp::modern().tools(tools).on("tools/call", |call| call.text("ok")).stdio();
    let sandbox = Sandbox::new();
    for (tool, words) in [("one", "one always=true id=1"), ("two", "two kind=a")] {
        let run = sandbox.mcpipe(["list", &server.target(), tool]).run();
        let example = run.succeeds().stdout().lines().last().unwrap().to_owned();
        assert!(example.ends_with(words), "{example}");
        let run = sandbox.mcpipe(["call", &server.target()]).args(words.split(' ')).run();
        run.succeeds().prints("ok\n");
    }
}
