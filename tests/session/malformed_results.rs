//! Malformed results: the message names what is wrong; members that real servers omit are tolerated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Sandbox, ServerAction, StdioServer};

/// A legacy server that answers this method with this result.
fn answering(method: &str, result: Value) -> StdioServer {
    let tools = json!([{"name": "t", "inputSchema": {"type": "object"}}]);
    Mcp::legacy("2025-11-25").tools(tools).on(method, move |call| call.result(result.clone())).stdio()
}

#[test]
fn a_malformed_result_is_a_broken_protocol() {
    let sandbox = Sandbox::new();
    let text = |text: &str| json!({"type": "text", "text": text});
    for (result, wrong, printed) in [
        (json!("str"), "the result is a string, not an object", "str\n"),
        (json!([1]), "the result is a list, not an object", "[\n  1\n]\n"),
        (json!(null), "the result is null, not an object", ""),
        (json!({"content": "x"}), "content is a string, not a list", "x\n"),
        (json!({"content": text("x")}), "content is an object, not a list", "x\n"),
        (json!({"content": 5}), "content is a number, not a list", ""),
        (json!({"content": [text("x")], "isError": "true"}), "isError is a string, not a boolean", "x\n"),
        (json!({"content": [{"type": "text", "text": 5}]}), "content[0].text is a number, not a string", ""),
        (json!({"content": [text("x"), "y"]}), "content[1] is a string, not an object", "x\n"),
        (json!({"content": [{"type": "text", "text": null}, text("x")]}), "content[0].text is missing", "x\n"),
        (json!({"content": [text("x"), {"text": "y"}, text("z")]}), "content[1].type is missing", "x\nz\n"),
        (json!({"content": [text("x"), {"type": "image"}]}), "content[1].data is missing", "x\n"),
    ] {
        let server = answering("tools/call", result.clone());
        let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
        run.exits(7)
            .prints(printed)
            .stderr_contains("error: the server's response to tools/call is malformed")
            .stderr_contains(wrong)
            .stderr_contains("the tool ran");
        run.hides("hint:");
        let run = sandbox.mcpipe(["call", &server.target(), "t", "--json"]).run();
        run.exits(7).prints(&format!("{result}\n"));
        assert_eq!(run.json_error()["causes"][0], wrong);
        assert_eq!(run.json_error()["hint"], json!(null));
        let line = r#"{"tool":"t"}"#;
        let batch = sandbox.mcpipe(["call", &server.target(), "--batch", "-"]).stdin(line).run();
        batch.exits(1).stdout_contains(&format!(r#"{{"id":1,"tool":"t","result":{result},"error":{{"#));
        batch.stdout_contains(r#""class":"protocol","code":7"#);
    }
    // Content that cannot be shown as a block is shown with the failure: the tool is not run again for it.
    let server = answering("tools/call", json!({"content": [{"type": "text", "text": 5}]}));
    let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
    run.stderr_contains(r#"content[0] came as {"type":"text","text":5}"#);
    for (command, method, result, wrong) in [
        (&["read", "a:b"][..], "resources/read", json!({"contents": {}}), "contents is an object, not a list"),
        (
            &["read", "a:b"],
            "resources/read",
            json!({"contents": [{"uri": "a:b"}]}),
            "contents[0] has neither text nor blob",
        ),
        (&["prompt", "p"], "prompts/get", json!({}), "messages is missing"),
        (&["prompt", "p"], "prompts/get", json!({"messages": [{"content": "x"}]}), "messages[0].role is missing"),
    ] {
        let server = answering(method, result);
        let run = sandbox.mcpipe([command[0], &server.target(), command[1]]).run();
        run.exits(7)
            .prints("")
            .stderr_contains(&format!("the server's response to {method} is malformed"))
            .stderr_contains(wrong);
    }
}

#[test]
fn structured_content_of_a_failed_tool_is_printed() {
    let sandbox = Sandbox::new();
    let content = json!([{"type": "text", "text": "no"}]);
    for (result, code, printed) in [
        (json!({"content": content, "isError": true, "structuredContent": {"why": 1}}), 1, "{\"why\":1}\n"),
        (json!({"content": content, "isError": true}), 1, "no\n"),
        (json!({"content": content, "isError": true, "structuredContent": null}), 1, "no\n"),
        (json!({"content": "no", "structuredContent": {"why": 1}}), 7, "{\"why\":1}\n"),
        (json!({"content": "no"}), 7, "no\n"),
    ] {
        let server = answering("tools/call", result.clone());
        let run = sandbox.mcpipe(["call", &server.target(), "t", "--structured"]).run();
        run.exits(code).prints(printed);
    }
}

#[test]
fn a_malformed_answer_to_initialize_is_a_broken_protocol() {
    for (result, wrong) in [
        (json!(null), "the result is null, not an object"),
        (json!([1]), "the result is a list, not an object"),
        (json!({}), "protocolVersion, capabilities and serverInfo are missing"),
    ] {
        let check = |target: &str| {
            let run = Sandbox::new().mcpipe(["list", target]).run();
            run.exits(7).prints("").stderr_contains("error: the server's response to initialize is malformed");
            run.stderr_contains(wrong);
        };
        check(&answering("initialize", result.clone()).target());
        let result = result.clone();
        let server = Mcp::legacy("2025-03-26").on("initialize", move |call| call.result(result.clone()));
        check(&server.http().url("/mcp"));
    }
}

#[test]
fn errors_are_reported_as_they_came() {
    let sandbox = Sandbox::new();
    for (error, code, said, rpc) in [
        (json!("nope"), 7, "nope (the error is a string, not an object)", json!({"code": null, "message": "nope"})),
        (json!({"message": "no"}), 1, "no (the error has no code)", json!({"code": null, "message": "no"})),
        (
            json!({"code": "E_NO", "message": "no"}),
            1,
            "no (the error's code is not an integer: \"E_NO\")",
            json!({"code": null, "message": "no"}),
        ),
        (json!({"code": 0, "message": "no"}), 1, "no (code 0)", json!({"code": 0, "message": "no"})),
    ] {
        let body = error.clone();
        let server = Mcp::legacy("2025-06-18").on("tools/call", move |call| {
            vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": call.id(), "error": body}))]
        });
        let server = server.stdio();
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x"]).run();
        run.exits(code).prints("").stderr_contains(&format!("the server refused tools/call: {said}\n"));
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--json"]).run();
        run.exits(code);
        assert_eq!(run.json_error()["rpc"], rpc);
    }
    // Over HTTP, also without a mark of JSON-RPC.
    let server = HttpServer::start(|_| Reply::json(&json!({"error": "nope"})));
    let run = sandbox.mcpipe(["list", &server.url("/mcp")]).run();
    run.exits(7).prints("").stderr_contains("nope (the error is a string, not an object)").hides("code 0");
    // A result that names no request answers none.
    let script = Mcp::legacy("2025-06-18").http_script(LegacyHttpOptions::default());
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" => Reply::json(&json!({"jsonrpc": "2.0", "id": null, "result": {"content": []}})),
        _ => script(request),
    });
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "echo", "text=x"]).run();
    run.exits(7).prints("").stderr_contains("the server answered with a result without an id");
}

#[test]
fn omitted_result_fields_are_tolerated() {
    let sandbox = Sandbox::new();
    for (result, printed) in [
        (json!({"structuredContent": {"a": 1}}), "{\n  \"a\": 1\n}\n"),
        (json!({"content": null, "isError": null, "structuredContent": 1}), "1\n"),
        (json!({"content": [{"type": "hologram"}]}), "[unknown content type 'hologram'; --json shows it]\n"),
    ] {
        let server = answering("tools/call", result);
        sandbox.mcpipe(["call", &server.target(), "t"]).run().succeeds().prints(printed);
    }
}

#[test]
fn a_failed_tool_without_content_is_reported() {
    let sandbox = Sandbox::new();
    for result in
        [json!({"content": [], "isError": true}), json!({"content": [{"type": "text", "text": " "}], "isError": true})]
    {
        let server = answering("tools/call", result.clone());
        let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
        run.exits(1).stderr_contains("mcpipe: error: the tool failed without a message");
        let run = sandbox.mcpipe(["call", &server.target(), "t", "--json"]).run();
        run.exits(1);
        assert_eq!(run.json(), result);
        assert_eq!(run.json_error()["message"], "the tool failed without a message");
    }
    let server = answering("tools/call", json!({"content": [], "isError": true, "structuredContent": {"e": 1}}));
    let run = sandbox.mcpipe(["call", &server.target(), "t"]).run();
    run.exits(1).prints("{\n  \"e\": 1\n}\n");
    assert_eq!(run.stderr(), "mcpipe: error: the tool reported an error\n");
}

/// A server whose tool takes an integer, and a string after its `n`-th change.
fn edited() -> (StdioServer, Arc<AtomicBool>) {
    let edited = Arc::new(AtomicBool::new(false));
    let (now, later) = (edited.clone(), edited.clone());
    let server = Mcp::legacy("2025-11-25")
        .on("tools/list", move |call| {
            let kind = if now.load(Ordering::SeqCst) { "string" } else { "integer" };
            let schema = json!({"type": "object", "properties": {"a": {"type": kind}}});
            call.result(json!({"tools": [{"name": "t", "inputSchema": schema}]}))
        })
        .on("tools/call", move |call| match (later.load(Ordering::SeqCst), call.argument("a")) {
            (true, Value::Number(n)) if n.as_u64() == Some(6) => call.error(-32602, "a: not a string"),
            (true, Value::Number(_)) => {
                call.result(json!({"content": [{"type": "text", "text": "a: not a string"}], "isError": true}))
            }
            (_, a) => call.text(&a.to_string()),
        });
    (server.stdio(), edited)
}

#[test]
fn a_changed_server_is_listed_again() {
    let sandbox = Sandbox::new();
    let (server, edited) = edited();
    sandbox.file("server.py", "one");
    let target = format!("{} server.py", server.target());
    let call = || sandbox.mcpipe(["call", &target, "t", "a=5"]).run();
    call().succeeds().prints("5\n");
    call().succeeds().prints("5\n");
    let lists =
        || server.wait_until_all_ended().iter().flat_map(|one| one.methods()).filter(|one| one == "tools/list").count();
    assert_eq!(lists(), 1, "the second call needs no second list");
    edited.store(true, Ordering::SeqCst);
    std::fs::write(sandbox.work().join("server.py"), "other").unwrap();
    call().succeeds().prints("\"5\"\n");
    assert_eq!(lists(), 2);
}

#[test]
fn a_cached_list_is_dropped_after_a_failed_call() {
    for (value, code) in [("5", 1), ("6", 1)] {
        let sandbox = Sandbox::new();
        let (server, edited) = edited();
        let argument = format!("a={value}");
        let call = || sandbox.mcpipe(["call", &server.target(), "t", &argument]).run();
        call().succeeds();
        edited.store(true, Ordering::SeqCst);
        let run = call();
        run.exits(code).stderr_contains("the schema of 't' has changed since it was last listed; try again");
        call().succeeds().prints(&format!("\"{value}\"\n"));
        // A failure with another cause does not mention the change.
        edited.store(false, Ordering::SeqCst);
    }
    let sandbox = Sandbox::new();
    let fails = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| call.result(json!({"content": [{"type": "text", "text": "no"}], "isError": true})))
        .stdio();
    for _ in 0..2 {
        let run = sandbox.mcpipe(["call", &fails.target(), "echo", "text=a"]).run();
        run.exits(1).prints("no\n");
        assert_eq!(run.stderr(), "mcpipe: error: the tool reported an error\n");
    }
}

#[test]
fn the_pages_of_a_list_have_a_size_limit_that_can_be_set() {
    let server = || {
        let mcp = Mcp::legacy("2025-11-25").on("tools/list", |call| {
            let n: u64 = call.params()["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
            let tool = json!({"name": format!("t{n}"), "description": "x".repeat(1 << 20), "inputSchema": {}});
            let mut result = json!({"tools": [tool]});
            if n < 79 {
                result["nextCursor"] = (n + 1).to_string().into();
            }
            call.result(result)
        });
        mcp.stdio()
    };
    let list = |words: &[&str]| Sandbox::new().mcpipe(["list", &server().target()]).args(words).run();
    list(&[]).exits(7).prints("").stderr_contains(
        "mcpipe: error: the server's response to tools/list is larger than 64 MiB over all its pages\n\
         hint: accept more with --max-list-size SIZE\n",
    );
    list(&["--max-list-size", "2500kB"]).exits(7).stderr_contains("is larger than 2500000 bytes over all its pages");
    for size in ["81MiB", "0"] {
        let run = list(&["--max-list-size", size, "--json"]);
        assert_eq!(run.succeeds().json()["tools"].as_array().unwrap().len(), 80);
    }
    let run = list(&["--max-list-size", "1.5"]);
    run.exits(2).stderr_contains("expected a size such as 500kB, 64MiB or 1GiB");
}

/// MSG-08: an endless list ends with an error.
#[test]
fn pagination_is_bounded() {
    let sandbox = Sandbox::new();
    let endless = Mcp::legacy("2025-11-25").on("tools/list", |call| {
        let n: u64 = call.params()["cursor"].as_str().map_or(0, |cursor| cursor.parse().unwrap());
        call.result(json!({"tools": [], "nextCursor": (n + 1).to_string()}))
    });
    let run = sandbox.mcpipe(["list", &endless.stdio().target()]).run();
    run.exits(7).prints("").stderr_contains("the server's response to tools/list does not end after 1000 pages");
    // Each page differs, whatever the cursor is.
    let turning = || {
        Mcp::legacy("2025-11-25").on("tools/list", |call| {
            let tool = json!({"name": format!("t{}", call.n), "inputSchema": {"type": "object"}});
            call.result(json!({"tools": [tool], "nextCursor": "same"}))
        })
    };
    let wrong = answering("tools/list", json!({"tools": [], "nextCursor": 5}));
    for (server, what) in [
        (turning().stdio(), "repeats its cursor, so it never ends"),
        (wrong, "has a nextCursor that is not a string: 5"),
    ] {
        let run = sandbox.mcpipe(["list", &server.target()]).run();
        run.exits(7).prints("").stderr_contains(&format!("the server's response to tools/list {what}"));
    }
    let server = turning().stdio();
    sandbox.mcpipe(["call", &server.target(), "t0"]).run().exits(7).prints("").stderr_contains("repeats its cursor");
}

/// A server that ignores cursors and always returns one has one page, or ends with the page that it repeats: its tools
/// stay usable.
#[test]
fn a_repeated_page_ends_pagination() {
    const WARNING: &str = "the server repeats the last page of tools/list; it is used once";
    let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
    for cursor in ["", "same"] {
        let sandbox = Sandbox::new();
        let server = Mcp::legacy("2025-11-25").on("tools/list", move |call| {
            let tools = crate::support::mcp::tools();
            call.result(json!({"tools": tools, "nextCursor": cursor}))
        });
        let server = server.stdio();
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi"]).run();
        run.exits(0).prints("hi\n");
        assert_eq!(run.stderr(), "");
        let lists = server.single_process().methods().into_iter().filter(|method| method == "tools/list").count();
        assert_eq!(lists, 2);
        let run = sandbox.mcpipe(["list", &server.target()]).run();
        run.exits(0);
        assert_eq!(run.stderr(), format!("mcpipe: warning: {WARNING}\n"));
        let names: Vec<&str> = run.stdout().lines().filter_map(|line| line.split('\t').next()).collect();
        assert_eq!(names, ["echo", "add", "fail", "image", "slow"]);
        // The cached list works for the next call.
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=ho", "-v"]).run();
        run.exits(0).prints("ho\n").hides("tools/list");
        let forgetful = sandbox.mcpipe(["call", &server.target(), "echo", "text=ho", "-v", "--no-cache"]).run();
        forgetful.exits(0).prints("ho\n").stderr_contains(&format!("note: {WARNING}")).hides("warning:");
    }
    // Only the last page is repeated; a repetition of an earlier one would be a loop.
    for (again, code) in [("b", 0), ("a", 7)] {
        let server = Mcp::modern().on("tools/list", move |call| {
            let (name, next) = match call.params()["cursor"].as_str() {
                None => ("a", "1"),
                Some("1") => ("b", "2"),
                Some(_) if again == "a" => ("a", "1"),
                Some(_) => ("b", "2"),
            };
            call.result(json!({"tools": [tool(name)], "nextCursor": next, "ttlMs": 0, "cacheScope": "private"}))
        });
        let server = server.http();
        let run = Sandbox::new().mcpipe(["list", &server.url("/mcp")]).run();
        run.exits(code).prints(if code == 0 { "a\t-\t-\nb\t-\t-\n" } else { "" });
    }
}

#[test]
fn an_unfollowed_redirect_is_reported() {
    let sandbox = Sandbox::new();
    let redirecting = |status: u16, location: &'static str| {
        let script = Mcp::modern().http_script(LegacyHttpOptions::default());
        HttpServer::start(move |request| match request.target.as_str() {
            "/mcp" => script(request),
            _ => Reply::status(status).header("Location", location),
        })
    };
    for status in [301, 302, 303] {
        let server = redirecting(status, "mcp");
        let run = sandbox.mcpipe(["list", &server.url("/old")]).run();
        let there = server.url("/mcp");
        run.exits(5).stderr_contains(&format!("error: the server redirects to {there} (HTTP {status})"));
        run.stderr_contains("this kind of redirect drops the content of the request");
        run.stderr_contains(&format!("hint: use that URL as the target: {there}")).hides("another place");
        sandbox.mcpipe(["list", &there]).run().succeeds();
    }
    let server = redirecting(307, "/loop");
    let run = sandbox.mcpipe(["list", &server.url("/loop")]).run();
    run.exits(5)
        .stderr_contains(&format!("the server redirects too many times, last to {} (HTTP 307)", server.url("/loop")));
    run.hides("another place");
    let server = redirecting(308, "http://elsewhere.invalid/mcp?a=b");
    let run = sandbox.mcpipe(["list", &server.url("/old")]).run();
    run.exits(5).stderr_contains("requests and credentials do not follow a redirect to another host");
    run.stderr_contains("hint: if you trust it, use that URL as the target: http://elsewhere.invalid/mcp?a=[redacted]");
    let server = HttpServer::start(|_| Reply::status(302));
    sandbox
        .mcpipe(["list", &server.url("/")])
        .run()
        .exits(5)
        .stderr_contains("redirects without a location (HTTP 302)");
}

#[test]
fn what_is_in_the_way_is_blamed_and_not_the_server() {
    let sandbox = Sandbox::new();
    let url = "http://mcp.example.test/mcp";
    let list = |words: &[&str]| sandbox.mcpipe(["list", url, "--allow-http", "--retries", "0"]).args(words.to_vec());
    let run = list(&["--proxy", "http://u:hunter2@127.0.0.1:1"]).run();
    run.exits(5)
        .stderr_contains(&format!("error: cannot connect to {url} through the proxy http://127.0.0.1:1"))
        .hides("hunter2");
    run.stderr_contains("hint: check the proxy (--proxy, or 'proxy' in the configuration): http://127.0.0.1:1");
    let run = list(&["--proxy", "nope.invalid"]).run();
    run.exits(5).stderr_contains("through the proxy http://nope.invalid").hides("check the host name");
    let run = list(&[]).env("http_proxy", "http://u:hunter2@127.0.0.1:1").run();
    run.exits(5).stderr_contains("through the proxy http://127.0.0.1:1").hides("hunter2");
    run.stderr_contains("hint: check the proxy that http_proxy sets, or use none: --proxy ''");
    let run = list(&["--unix-socket", "/nosock"]).run();
    run.exits(5)
        .stderr_contains("error: cannot connect to the socket /nosock")
        .stderr_contains("hint: check the path of the socket");
}

#[test]
fn a_time_out_says_what_may_help_and_what_may_have_happened() {
    let sandbox = Sandbox::new();
    let mute = || Mcp::legacy("2025-11-25").on("tools/call", |_| vec![]).stdio();
    let run = sandbox.mcpipe(["call", &mute().target(), "echo", "text=x", "--timeout", "300ms"]).run();
    run.exits(6).stderr_contains("error: no response to tools/call within 300 ms");
    run.stderr_contains("the tool may have run, or may still be running")
        .stderr_contains("hint: wait longer with --timeout TIME");
    let silent = StdioServer::start(|_, _| {});
    let run = sandbox.mcpipe(["call", &silent.target(), "echo", "--connect-timeout", "300ms"]).run();
    run.exits(6).stderr_contains("hint: wait longer with --connect-timeout TIME").hides("may have run");
    run.stderr_contains(
        "error: the server did not respond within 300 ms of its start\n  no response to server/discover\n",
    );
    let silent = HttpServer::start(|_| Reply::never());
    let words = ["list", &silent.url("/"), "--connect-timeout", "300ms", "--retries", "0"];
    let run = sandbox.mcpipe(words).run();
    run.exits(6).stderr_contains("error: the server did not respond within 300 ms\n  no response to server/discover\n");

    let dies = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.exit(3)
        }
    });
    let run = sandbox.mcpipe(["list", &dies.target()]).run();
    run.exits(5).stderr_contains(&format!("hint: run it by itself to see why: {}", dies.target()));
    sandbox.config(&format!("[servers.dies]\ncommand = {:?}\nargs = [{:?}]\n", dies.words()[0], dies.words()[1]));
    sandbox
        .mcpipe(["list", "dies"])
        .run()
        .exits(5)
        .stderr_contains("hint: show how it is started: mcpipe config get dies");
    let broken = HttpServer::start(|_| Reply::status(500));
    sandbox.mcpipe(["list", &broken.url("/")]).run().exits(5).stderr_contains("hint: see the server's log");
}

#[test]
fn a_search_over_all_servers_says_which_one_failed() {
    let sandbox = Sandbox::new();
    let good = Mcp::modern().http();
    sandbox
        .config(&format!("[servers.bad]\nurl = \"http://127.0.0.1:1/\"\n[servers.good]\nurl = {:?}\n", good.url("/")));
    let run = sandbox.mcpipe(["list", "--grep", "echo", "--retries", "0"]).run();
    run.exits(5)
        .stderr_contains("mcpipe: error: bad: cannot connect to http://127.0.0.1:1/")
        .stdout_contains("good\techo\t");
}

#[test]
fn rows_do_not_wait_for_the_slowest_server() {
    let sandbox = Sandbox::new();
    let (good, mute) = (Mcp::modern().http(), HttpServer::start(|_| Reply::never()));
    let url = good.url("/");
    let mute = mute.url("/");
    sandbox
        .config(&format!("[servers.a]\nurl = {url:?}\n[servers.mute]\nurl = {mute:?}\n[servers.z]\nurl = {url:?}\n"));
    let running = sandbox.mcpipe(["list"]).start();
    let end = Instant::now() + Duration::from_secs(10);
    while !running.stdout_so_far().starts_with("a\t") {
        assert!(Instant::now() < end, "the first row never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(rustix::process::Signal::INT);
    let run = running.wait();
    run.exits(130);
    let names: Vec<&str> = run.stdout().lines().filter_map(|line| line.split('\t').next()).collect();
    assert!(names.first() == Some(&"a") && !names.contains(&"mute"), "{run:?}");
}
