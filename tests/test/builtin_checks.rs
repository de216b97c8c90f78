//! `test TARGET`: a healthy server passes every check, and each check has a server that fails just it.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::stdio::{ProcessEvent, StdioServer};
use crate::support::tls::{CertificateAndKey, CertificateAuthority};
use crate::support::{HttpServer, Mcp, Reply, Run, Sandbox};

fn check(target: &str) -> Run {
    Sandbox::new().mcpipe(["test", target]).run()
}

/// The checks of a run and their outcomes, without those that are `ok` or `skip`.
fn not_ok(run: &Run) -> Vec<(String, String)> {
    let rows = run.stdout().lines().map(|line| line.split('\t').collect::<Vec<_>>());
    let rows = rows.filter(|row| !matches!(row[1], "ok" | "skip"));
    rows.map(|row| (row[1].to_owned(), row[2].to_owned())).collect()
}

/// Asserts that a server fails exactly one check with this outcome and exit code.
#[track_caller]
fn fails_only(run: &Run, outcome: &str, name: &str, code: i32) {
    run.exits(code);
    assert_eq!(not_ok(run), [(outcome.to_owned(), name.to_owned())], "{}", run.snapshot());
}

#[test]
fn credentials_that_a_server_repeats_are_not_shown() {
    let server = Mcp::legacy("2025-11-25").on("initialize", |call| {
        let info = json!({"name": "token is secret-token-123", "version": "1"});
        call.result(json!({"protocolVersion": "2025-11-25", "capabilities": {}, "serverInfo": info}))
    });
    let server = server.http();
    let words = ["test", &server.url("/mcp"), "-H", "Authorization: Bearer secret-token-123"];
    for option in ["-v", "--json"] {
        let run = Sandbox::new().mcpipe(words).args([option]).run();
        run.hides("secret-token-123").stdout_contains("token is [redacted]");
    }
}

#[test]
fn a_healthy_server_passes_every_check() {
    let server = Mcp::legacy("2025-11-25").page_size(2).stdio();
    let run = check(&server.target());
    expect![[r#"
        exit: 0
        --- stdout
        SERVER\tok\tstart\tstarted
        SERVER\tok\tnegotiation\t2025-11-25 (initialize), 2 round trips
        SERVER\tok\tidentity\tfake 1.2.3
        SERVER\tok\ttools\t5
        SERVER\tok\tresources\t2
        SERVER\tok\tresource templates\t1
        SERVER\tok\tprompts\t1
        SERVER\tok\tnames\t9 names
        SERVER\tok\tdescriptions\tall tools and 1 of 4 parameters
        SERVER\tok\tschemas\t6 schemas, JSON Schema 2020-12
        SERVER\tok\tportability\tnothing that clients are known to refuse
        SERVER\tok\tcapabilities\ttools, resources, prompts
        SERVER\tok\tunknown tool\trefused: Unknown tool: mcpipe-no-such-tool (code -32602)
        SERVER\tok\tunknown method\trefused: Method not found (code -32601)
        SERVER\tok\tping\tanswered
        SERVER\tok\tclean stdout\tonly messages
        SERVER\tok\tshutdown\tit exited after its standard input was closed
        --- stderr
        17 ok
    "#]]
    .assert_eq(&run.snapshot_with(&[(&server.target(), "SERVER")]));
    let methods = server.single_process().methods();
    assert!(!methods.iter().any(|method| method == "resources/read" || method == "prompts/get"), "{methods:?}");
    let modern = Mcp::modern().http();
    let run = check(&modern.url("/mcp"));
    expect![[r#"
        exit: 0
        --- stdout
        http://127.0.0.1:[PORT]/mcp\tskip\tname resolution\tthe URL has an address
        http://127.0.0.1:[PORT]/mcp\tok\ttcp\tconnected
        http://127.0.0.1:[PORT]/mcp\tskip\ttls\tthe URL is not https
        http://127.0.0.1:[PORT]/mcp\tok\thttp\tStreamable HTTP
        http://127.0.0.1:[PORT]/mcp\tskip\tauthorization metadata\tthe server does not require a login
        http://127.0.0.1:[PORT]/mcp\tskip\tlogin\tthe server does not require a login
        http://127.0.0.1:[PORT]/mcp\tok\tnegotiation\t2026-07-28 (no handshake), 1 round trip
        http://127.0.0.1:[PORT]/mcp\tok\tidentity\tfake 1.2.3
        http://127.0.0.1:[PORT]/mcp\tok\ttools\t5
        http://127.0.0.1:[PORT]/mcp\tok\tresources\t2
        http://127.0.0.1:[PORT]/mcp\tok\tresource templates\t1
        http://127.0.0.1:[PORT]/mcp\tok\tprompts\t1
        http://127.0.0.1:[PORT]/mcp\tok\tnames\t9 names
        http://127.0.0.1:[PORT]/mcp\tok\tdescriptions\tall tools and 1 of 4 parameters
        http://127.0.0.1:[PORT]/mcp\tok\tschemas\t6 schemas, JSON Schema 2020-12
        http://127.0.0.1:[PORT]/mcp\tok\tportability\tnothing that clients are known to refuse
        http://127.0.0.1:[PORT]/mcp\tok\tcapabilities\ttools, resources, prompts
        http://127.0.0.1:[PORT]/mcp\tok\tcache hints\tttlMs and cacheScope
        http://127.0.0.1:[PORT]/mcp\tok\tlist order\tthe same twice
        http://127.0.0.1:[PORT]/mcp\tok\tunknown tool\trefused: Unknown tool: mcpipe-no-such-tool (code -32602)
        http://127.0.0.1:[PORT]/mcp\tok\tunknown method\trefused: Method not found (code -32601)
        http://127.0.0.1:[PORT]/mcp\tok\tweb pages\trefused
        --- stderr
        18 ok, 4 skipped
    "#]]
    .assert_eq(&run.snapshot());
}

#[test]
fn checking_sends_few_requests_besides_the_lists() {
    for server in [Mcp::legacy("2025-11-25").stdio(), Mcp::modern().stdio()] {
        check(&server.target()).exits(0);
        let mut requests = server.single_process().methods();
        requests.retain(|method| !method.starts_with("notifications/"));
        let others = requests.iter().filter(|method| !method.ends_with("/list")).count();
        assert!(others <= 5 && requests.len() <= 10, "{requests:?}");
    }
}

#[test]
fn a_json_line_is_printed_for_each_check() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["test", &server.target(), "--json"]).run();
    let lines: Vec<Value> = run.succeeds().stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let checks: Vec<&str> = lines.iter().map(|line| line["check"].as_str().unwrap()).collect();
    assert_eq!(
        checks,
        [
            "start",
            "negotiation",
            "identity",
            "tools",
            "resources",
            "resource_templates",
            "prompts",
            "names",
            "descriptions",
            "schemas",
            "portability",
            "capabilities",
            "cache_hints",
            "list_order",
            "unknown_tool",
            "unknown_method",
            "clean_stdout",
            "shutdown"
        ]
    );
    let tools = &lines[3];
    assert_eq!((&tools["target"], &tools["outcome"]), (&json!(server.target()), &json!("ok")));
    assert_eq!((&tools["detail"], &tools["seen"]), (&json!("5"), &json!(["echo", "add", "fail", "image", "slow"])));
    assert!(tools["seconds"].is_number() && tools.get("error").is_none());
}

#[test]
fn several_targets_are_checked_in_order() {
    let (one, two) = (Mcp::modern().stdio(), Mcp::legacy("2025-06-18").stdio());
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["test", &one.target(), &two.target(), "-q"]).run();
    let targets: Vec<&str> = run.succeeds().stdout().lines().map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(targets.len(), 35);
    assert!(
        targets[..18].iter().all(|name| *name == one.target())
            && targets[18..].iter().all(|name| *name == two.target())
    );
    let run = sandbox.mcpipe(["test", &one.target(), "./none"]).run();
    run.exits(5).stderr_contains("mcpipe: error: ./none: start: cannot start './none'\n");
    let mixed = sandbox.mcpipe(["test", "x", "--", "server"]).run();
    mixed.exits(2).stderr_contains("'x' and a command after `--` are two targets");
    sandbox.mcpipe(["test"]).run().exits(2).stderr_contains("no target was given");
}

#[test]
fn a_server_that_cannot_be_reached_fails_at_one_step() {
    let run = check("./no-such-server");
    expect![[r#"
        exit: 5
        --- stdout
        ./no-such-server\tFAIL\tstart\tcannot start './no-such-server': No such file or directory (os error 2)
        --- stderr
        1 failed
        mcpipe: error: start: cannot start './no-such-server'
          No such file or directory (os error 2)
        hint: check the path ./no-such-server
    "#]]
    .assert_eq(&run.snapshot());
    for target in ["./no-such-server", "http://127.0.0.1:9/mcp"] {
        let sandbox = Sandbox::new();
        sandbox.mcpipe(["test", target, "--record", "run.rec"]).run().exits(5);
        fails_only(&sandbox.mcpipe(["test", "replay:run.rec"]).run(), "FAIL", "negotiation", 5);
    }
    let exits = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.write_stderr("no license\n");
            process.exit(3);
        }
    });
    let run = check(&exits.target());
    fails_only(&run, "FAIL", "negotiation", 5);
    run.stderr_contains("no license");
    let run = check("http://no-such-host.invalid/mcp");
    fails_only(
        &Sandbox::new().mcpipe(["test", "https://no-such-host.invalid/mcp"]).run(),
        "FAIL",
        "name resolution",
        5,
    );
    run.exits(2).stderr_contains("--allow-http");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    fails_only(&check(&format!("http://127.0.0.1:{port}/mcp")), "FAIL", "tcp", 5);
    let identity = CertificateAndKey::self_signed(&["127.0.0.1"]);
    let config = CertificateAuthority::new().tls_config(&identity);
    let secure = HttpServer::tls(config, Mcp::modern().http_script(LegacyHttpOptions::default()));
    fails_only(&check(&secure.url("/mcp")), "FAIL", "tls", 5);
    let missing = HttpServer::start(|_| Reply::text("text/html", "<h1>Not here</h1>").with_status(404));
    let run = check(&missing.url("/"));
    expect![[r#"
        exit: 5
        --- stdout
        http://127.0.0.1:[PORT]/\tskip\tname resolution\tthe URL has an address
        http://127.0.0.1:[PORT]/\tok\ttcp\tconnected
        http://127.0.0.1:[PORT]/\tskip\ttls\tthe URL is not https
        http://127.0.0.1:[PORT]/\tFAIL\thttp\tno MCP server at http://127.0.0.1:[PORT]/ (HTTP 404)
        --- stderr
        1 ok, 1 failed, 2 skipped
        mcpipe: error: http: no MCP server at http://127.0.0.1:[PORT]/ (HTTP 404)
        hint: check the path of the URL; servers often listen at /mcp or /sse
    "#]]
    .assert_eq(&run.snapshot());
    let chat = HttpServer::start(|_| Reply::raw("220 mail.example.com ESMTP\r\n"));
    fails_only(&check(&chat.url("/")), "FAIL", "http", 7);
    let html = HttpServer::start(|_| Reply::text("text/html", "<h1>Welcome</h1>"));
    fails_only(&check(&html.url("/")), "FAIL", "negotiation", 7);
    let silent = Mcp::modern().on("server/discover", |_| Vec::new()).on("initialize", |_| Vec::new()).stdio();
    let run = Sandbox::new().mcpipe(["test", &silent.target(), "--connect-timeout", "3s"]).run();
    fails_only(&run, "FAIL", "negotiation", 6);
}

#[test]
fn a_login_that_is_required_is_a_step_of_its_own() {
    let closed = HttpServer::start(|request| match request.method.as_str() {
        "POST" => Reply::status(401).header("WWW-Authenticate", "Bearer"),
        _ => Reply::status(404),
    });
    let run = check(&closed.url("/mcp"));
    expect![[r#"
        exit: 4
        --- stdout
        http://127.0.0.1:[PORT]/mcp\tskip\tname resolution\tthe URL has an address
        http://127.0.0.1:[PORT]/mcp\tok\ttcp\tconnected
        http://127.0.0.1:[PORT]/mcp\tskip\ttls\tthe URL is not https
        http://127.0.0.1:[PORT]/mcp\tok\thttp\tconnected
        http://127.0.0.1:[PORT]/mcp\tskip\tauthorization metadata\tthe server names no authorization server
        http://127.0.0.1:[PORT]/mcp\tFAIL\tlogin\thttp://127.0.0.1:[PORT]/mcp requires a login
        --- stderr
        2 ok, 1 failed, 3 skipped
        mcpipe: error: login: http://127.0.0.1:[PORT]/mcp requires a login
        hint: pass its credentials with -H 'Authorization: …' or --bearer-env VAR; if it supports OAuth: mcpipe auth login http://127.0.0.1:[PORT]/mcp
    "#]].assert_eq(&run.snapshot());
}

#[test]
fn broken_metadata_of_a_server_that_requires_a_login_is_a_rung_of_its_own() {
    type Bend = fn(&ProtectedServer);
    let broken: [(Bend, &str); 3] = [
        (|server| _ = server.override_metadata(json!({"issuer": "https://evil.example.com"})), "it names the issuer"),
        (|server| _ = server.override_metadata(json!({"token_endpoint": null})), "names no token endpoint"),
        (
            |server| _ = server.override_resource_metadata(json!({"resource": "https://evil.example.com/mcp"})),
            "is not for",
        ),
    ];
    for (bend, why) in broken {
        let server = ProtectedServer::start();
        bend(&server);
        let run = check(&server.url());
        let failed = not_ok(&run);
        assert_eq!(failed, [("FAIL".to_owned(), "authorization metadata".to_owned())], "{why}: {}", run.snapshot());
        run.exits(4).stderr_contains(why);
    }
}

/// The server accepts the stored login, so the other checks say something about it.
#[test]
fn a_server_is_checked_although_its_authorization_server_is_broken() {
    for is_down in [false, true] {
        let (server, sandbox) = (ProtectedServer::start(), Sandbox::new());
        server.log_in(&sandbox);
        sandbox.mcpipe(["lock", &server.url()]).run().exits(0);
        match is_down {
            true => _ = server.at_issuer(|_| Some(Reply::status(503))),
            false => _ = server.override_metadata(json!({"issuer": "https://evil.example.com"})),
        }
        let run = sandbox.mcpipe(["test", &server.url(), "--locked"]).run();
        let failed = not_ok(&run);
        assert_eq!(failed[0], ("FAIL".to_owned(), "authorization metadata".to_owned()), "{run:?}");
        run.stdout_contains("\tok\tlock\tnothing changed\n").stdout_contains("\tunknown method\t");
    }
}

#[test]
fn a_server_without_identity_fails_the_identity_check() {
    let nameless = Mcp::legacy("2025-11-25").on("initialize", |call| {
        call.result(json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "", "version": "1"}}))
    });
    fails_only(&check(&nameless.stdio().target()), "FAIL", "identity", 9);
    let modern = Mcp::modern().on("server/discover", |call| {
        call.result(json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}))
    });
    fails_only(&check(&modern.stdio().target()), "warn", "identity", 0);
}

#[test]
fn a_list_that_fails_is_a_failed_check() {
    let broken = Mcp::modern().on("prompts/list", |call| call.error(-32603, "database is locked"));
    let run = check(&broken.stdio().target());
    fails_only(&run, "FAIL", "prompts", 9);
    run.stderr_contains("prompts: the server refused prompts/list: database is locked");
    let endless = Mcp::modern().on("resources/list", |call| {
        call.result(json!({"resources": [{"uri": format!("a://{}", call.n), "name": "a"}], "nextCursor": "same"}))
    });
    fails_only(&check(&endless.stdio().target()), "FAIL", "resources", 7);
}

/// Checks a server with these tools, which get a description.
fn with_tools(mut tools: Value) -> Run {
    for tool in tools.as_array_mut().unwrap() {
        tool["description"] = json!("Does something");
    }
    let server = Mcp::modern().tools(tools).stdio();
    check(&server.target())
}

#[test]
fn names_are_checked() {
    let schema = json!({"type": "object"});
    let run = with_tools(json!([{"name": "a", "inputSchema": schema}, {"name": "a", "inputSchema": schema}]));
    fails_only(&run, "FAIL", "names", 9);
    run.stderr_contains("tool 'a' is listed twice");
    fails_only(&with_tools(json!([{"name": "a b", "inputSchema": schema}])), "warn", "names", 0);
    let bad_uri = Mcp::modern().on("resources/list", |call| {
        call.result(json!({"resources": [{"uri": "x y", "name": "n"}], "ttlMs": 0, "cacheScope": "private"}))
    });
    fails_only(&check(&bad_uri.stdio().target()), "FAIL", "names", 9);
}

#[test]
fn schemas_are_compiled() {
    let schema =
        |properties: Value| json!([{"name": "t", "inputSchema": {"type": "object", "properties": properties}}]);
    for (properties, why) in [
        (json!({"deep": {"type": "array", "items": {"type": "strin"}}}), "the schema is invalid"),
        (json!({"re": {"type": "string", "pattern": "("}}), "the schema is invalid"),
        (json!({"a": {"$ref": "#/$defs/gone"}}), "refers to #/$defs/gone"),
        (json!({"a": {"$ref": "https://example.com/schema.json"}}), "which mcpipe does not fetch"),
    ] {
        let run = with_tools(schema(properties));
        fails_only(&run, "FAIL", "schemas", 9);
        run.stderr_contains(why);
    }
    with_tools(json!([{"name": "t", "inputSchema": {"type": "array"}}]))
        .exits(9)
        .stderr_contains("its type is not \"object\"");
    with_tools(json!([{"name": "t"}])).exits(9).stderr_contains("it has no inputSchema");
    let old =
        json!([{"name": "t", "inputSchema": {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}}]);
    with_tools(old).exits(0).stdout_contains("1 schema, JSON Schema draft-07");
}

#[test]
fn tools_need_descriptions() {
    let server = Mcp::modern().tools(json!([
        {"name": "a", "description": "Does something", "inputSchema": {"type": "object"}},
        {"name": "b", "inputSchema": {"type": "object"}},
        {"name": "c", "description": " ", "inputSchema": {"type": "object"}},
    ]));
    let run = check(&server.stdio().target());
    fails_only(&run, "warn", "descriptions", 0);
    run.stdout_contains("tools without a description: b, c\n");
}

#[test]
fn schemas_that_clients_refuse_are_reported() {
    let schema =
        |properties: Value| json!([{"name": "t", "inputSchema": {"type": "object", "properties": properties}}]);
    for (properties, what) in [
        (json!({"a": true}), "t inputSchema/properties/a is true instead of an object"),
        (json!({"a": {"type": ["string", "null"]}}), "t inputSchema/properties/a has a list of types instead of one"),
        (
            json!({"a": {"type": "object", "dependencies": {"b": {"type": ["string", "null"]}, "c": ["b"]}}}),
            "t inputSchema/properties/a/dependencies/b has a list of types instead of one",
        ),
        (json!({"a": {"description": "anything"}}), "t inputSchema/properties/a accepts any value"),
        (json!({"a": {"type": "array", "items": {}}}), "t inputSchema/properties/a/items accepts any value"),
    ] {
        let run = with_tools(schema(properties));
        fails_only(&run, "warn", "portability", 0);
        run.stdout_contains(&format!("some clients refuse 1 schema: {what}\n"));
    }
    let portable = json!({
        "a": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        "b": {"type": "object", "additionalProperties": true, "not": {}},
        "c": {"enum": [1, 2]},
        "d": {"$ref": "#/$defs/d"},
    });
    let tool = json!([{"name": "t", "inputSchema": {
        "type": "object", "properties": portable, "$defs": {"d": {"type": "string"}}, "additionalProperties": false}}]);
    assert!(not_ok(&with_tools(tool)).is_empty());
}

#[test]
fn lists_of_modern_servers_say_how_long_they_are_valid() {
    let server = Mcp::modern().on("prompts/list", |call| call.result(json!({"prompts": [], "ttlMs": 0})));
    let run = check(&server.stdio().target());
    fails_only(&run, "warn", "cache hints", 0);
    run.stdout_contains("no ttlMs or no cacheScope: prompts\n");
}

#[test]
fn lists_of_modern_servers_keep_their_order() {
    let server = Mcp::modern().on("tools/list", |call| {
        let tool = |name: &str| json!({"name": name, "description": "x", "inputSchema": {"type": "object"}});
        let tools = if call.n == 0 { [tool("a"), tool("b")] } else { [tool("b"), tool("a")] };
        call.result(json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"}))
    });
    fails_only(&check(&server.stdio().target()), "warn", "list order", 0);
}

#[test]
fn servers_with_a_handshake_answer_ping() {
    let server = Mcp::legacy("2025-11-25").on("ping", |call| call.error(-32601, "Method not found"));
    let run = check(&server.stdio().target());
    fails_only(&run, "FAIL", "ping", 9);
    run.stderr_contains("answer ping with an empty result");
}

#[test]
fn a_server_on_this_machine_refuses_requests_of_web_pages() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let script = mcp.http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request| {
            let mut request = request.clone();
            request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("origin"));
            script(&request)
        });
        let run = check(&server.url("/mcp"));
        fails_only(&run, "warn", "web pages", 0);
        run.stdout_contains("a web page can use the server: Origin: http://web-page.invalid is accepted\n");
    }
}

#[test]
fn declared_capabilities_must_be_kept() {
    let server = Mcp::legacy("2025-11-25").on("prompts/list", |call| call.error(-32601, "Method not found"));
    let run = check(&server.stdio().target());
    fails_only(&run, "FAIL", "capabilities", 9);
    run.stderr_contains("'prompts' is declared, but the server does not know prompts/list");
}

#[test]
fn unknown_tools_and_methods_must_be_refused() {
    let obliging = Mcp::modern().on("tools/call", |call| call.text("done"));
    fails_only(&check(&obliging.stdio().target()), "FAIL", "unknown tool", 9);
    let lenient = Mcp::modern().on("mcpipe/no-such-method", |call| call.result(json!({})));
    fails_only(&check(&lenient.stdio().target()), "FAIL", "unknown method", 9);
    let odd = Mcp::modern().on("mcpipe/no-such-method", |call| call.error(-32603, "oops"));
    fails_only(&check(&odd.stdio().target()), "warn", "unknown method", 0);
    let deaf = Mcp::modern().on("mcpipe/no-such-method", |_| Vec::new()).stdio();
    let run = Sandbox::new().mcpipe(["test", &deaf.target(), "--timeout", "1s"]).run();
    fails_only(&run, "FAIL", "unknown method", 6);
}

#[test]
fn stdout_and_shutdown_of_a_process_are_checked() {
    let noisy = Mcp::legacy("2025-11-25").on("tools/list", |call| {
        let mut out = vec![crate::support::ServerAction::RawText("listing tools".to_owned())];
        out.extend(call.result(json!({"tools": []})));
        out
    });
    let run = check(&noisy.stdio().target());
    fails_only(&run, "FAIL", "clean stdout", 9);
    run.stderr_contains("listing tools");
    let mcp = std::sync::Arc::new(Mcp::legacy("2025-11-25"));
    let stubborn = StdioServer::start(move |process, event| {
        if let ProcessEvent::Line(line) = event {
            let message: Value = serde_json::from_str(&line).unwrap();
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
        }
    });
    fails_only(&check(&stubborn.target()), "warn", "shutdown", 0);
}
