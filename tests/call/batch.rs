//! `call --batch`: one line in and one line out for each call, over one connection.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{ClientMessage, HttpServer, Mcp, ProcessEvent, Reply, Run, Sandbox, ServerAction, StdioServer};

fn lines(run: &Run) -> Vec<Value> {
    run.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// `id`, and the outcome: the first text of a result, or the kind of the error.
fn line_failures(run: &Run) -> Vec<(Value, String)> {
    let came = |line: &Value| match line.get("error") {
        Some(error) => error["class"].as_str().unwrap().to_owned(),
        None => line["result"]["content"][0]["text"].as_str().unwrap().to_owned(),
    };
    lines(run).iter().map(|line| (line["id"].clone(), came(line))).collect()
}

fn echo(text: &str) -> String {
    json!({"tool": "echo", "arguments": {"text": text}, "id": text}).to_string() + "\n"
}

/// A modern stdio server that answers calls once this many have arrived, the last one first, and records the maximum.
fn gathering(count: usize) -> (StdioServer, Arc<Mutex<usize>>) {
    let mcp = Arc::new(Mcp::modern());
    let waiting: Mutex<Vec<Value>> = Mutex::default();
    let most = Arc::new(Mutex::new(0));
    let seen = most.clone();
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["method"] != "tools/call" {
                return crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
            }
            let mut waiting = waiting.lock().unwrap();
            waiting.push(message);
            let mut most = seen.lock().unwrap();
            *most = (*most).max(waiting.len());
            if waiting.len() == count {
                for message in waiting.drain(..).rev() {
                    let text = message["params"]["arguments"]["text"].clone();
                    let result = json!({"resultType": "complete", "content": [{"type": "text", "text": text}]});
                    process.send(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
                }
            }
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    (server, most)
}

#[test]
fn every_line_is_answered_over_one_connection_in_both_eras() {
    let input = concat!(
        r#"{"tool":"echo","arguments":{"text":"one"},"id":"a"}"#,
        "\n\n  \r\n",
        r#"{"id":{"k": [1]},"tool":"add","arguments":{"a":1,"b":2}}"#,
        "\r\n",
        r#"{"tool":"fail"}"#,
    );
    for server in [Mcp::legacy("2024-11-05"), Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let extra = if server.modern { r#","resultType":"complete""# } else { "" };
        let server = server.stdio();
        let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--ordered"]).stdin(input).run();
        run.exits(1).prints(&format!(
            concat!(
                r#"{{"id":"a","tool":"echo","result":{{"content":[{{"type":"text","text":"one"}}]{extra}}}}}"#,
                "\n",
                r#"{{"id":{{"k": [1]}},"tool":"add","result":{{"content":[{{"type":"text","text":"3"}}],"structuredContent":{{"total":3}}{extra}}}}}"#,
                "\n",
                r#"{{"id":5,"tool":"fail","result":{{"content":[{{"type":"text","text":"it is broken"}}],"isError":true{extra}}}}}"#,
                "\n",
            ),
            extra = extra
        ));
        assert_eq!(run.stderr(), "1 of 3 calls failed\n");
        let methods = server.single_process().methods();
        assert_eq!(methods.iter().filter(|method| *method == "tools/list").count(), 1, "{methods:?}");
    }
    // For a legacy server over HTTP the first list is the era probe.
    for (server, lists) in [(Mcp::legacy("2025-11-25").http(), 2), (Mcp::modern().http(), 1)] {
        let target = server.url("/mcp");
        let all: String = (0..40).map(|n| echo(&n.to_string())).collect();
        let run = Sandbox::new().mcpipe(["call", &target, "--batch", "-"]).stdin(all).run();
        let mut ids: Vec<u64> =
            line_failures(&run).iter().map(|(id, _)| id.as_str().unwrap().parse().unwrap()).collect();
        ids.sort_unstable();
        assert_eq!(ids, (0..40).collect::<Vec<_>>());
        run.succeeds();
        let count = |method: &str| server.requests().iter().filter(|request| request.rpc_method() == method).count();
        assert_eq!((count("tools/list"), count("tools/call")), (lists, 40));
        assert!(count("initialize") <= 1);
    }
}

#[test]
fn results_are_what_the_server_sent() {
    let raw = r#"{"resultType":"complete","content":[],"odd":1e400,"odd":[1.0,12345678901234567890123]}"#;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":ID,"result":{raw}}}"#);
    let server = Mcp::modern()
        .on("tools/call", move |call| {
            assert_eq!(call.argument("big").to_string(), "98765432109876543210987");
            vec![ServerAction::RawText(answer.replace("ID", &call.id().to_string()))]
        })
        .stdio();
    let sandbox = Sandbox::new();
    let file = sandbox.file(
        "calls.ndjson",
        "\u{feff}{\"tool\":\"fail\",\"arguments\":{\"big\":98765432109876543210987},\"id\":1.50}",
    );
    let file = file.to_str().unwrap();
    let run = sandbox.mcpipe(["call", &server.target(), "--no-validate", "--batch", file]).run();
    run.succeeds().prints(&format!("{{\"id\":1.50,\"tool\":\"fail\",\"result\":{raw}}}\n"));
    let methods = server.single_process().methods();
    assert!(!methods.contains(&"tools/list".to_owned()), "nothing need be known of the tools: {methods:?}");
}

#[test]
fn a_bad_line_is_an_answer_and_not_the_end() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.demo]\ncommand = {:?}\nargs = {:?}\ndeny_tools = [\"add\"]\n",
        server.words()[0],
        &server.words()[1..]
    ));
    let mut input = Vec::new();
    for line in [
        "nonsense",
        "[1]",
        r#"{"arguments":{},"id":"no tool"}"#,
        r#"{"tool":7,"id":"odd tool"}"#,
        r#"{"tool":"echo","argument":{"text":"x"},"id":"slip"}"#,
        r#"{"tool":"echo","arguments":["x"],"id":"list"}"#,
        r#"{"tool":"echo","arguments":{"txt":1},"id":"misfit"}"#,
        r#"{"tool":"ech","arguments":{},"id":"unknown"}"#,
        r#"{"tool":"add","arguments":{"a":1,"b":2},"id":"denied"}"#,
        r#"{"tool":"echo","arguments":{"text":"fine"},"id":"good"}"#,
    ] {
        input.extend_from_slice(line.as_bytes());
        input.push(b'\n');
    }
    input.extend_from_slice(b"{\"tool\":\"\xff\"}\n");
    let run = sandbox.mcpipe(["call", "demo", "--batch", "-", "--ordered"]).stdin(input).run();
    run.exits(1);
    let all = line_failures(&run);
    let expected = [
        (json!(1), "usage"),
        (json!(2), "usage"),
        (json!("no tool"), "usage"),
        (json!("odd tool"), "usage"),
        (json!("slip"), "usage"),
        (json!("list"), "usage"),
        (json!("misfit"), "usage"),
        (json!("unknown"), "failed"),
        (json!("denied"), "refused"),
        (json!("good"), "fine"),
        (json!(11), "usage"),
    ];
    assert_eq!(all, expected.map(|(id, came)| (id, came.to_owned())));
    let lines = lines(&run);
    assert_eq!(lines[0]["error"]["message"], "line 1 is not JSON");
    assert_eq!(lines[0]["error"]["hint"], r#"a line is {"tool":"NAME","arguments":{…},"id":…}"#);
    assert_eq!(lines[0]["tool"], Value::Null);
    assert_eq!(lines[4]["error"]["hint"], "did you mean arguments?");
    assert_eq!(
        lines[6]["error"],
        json!({"class": "usage", "code": 2, "message": "echo: invalid arguments",
            "causes": ["txt: no such parameter; did you mean text?", "text: required value is missing"],
            "hint": "show its parameters: mcpipe list demo echo", "server": "demo", "rpc": null})
    );
    let hint = lines[7]["error"]["hint"].as_str().unwrap();
    assert_eq!(hint, "did you mean echo?");
    assert_eq!(run.stderr(), "10 of 11 calls failed\n");
    let called =
        server.single_process().messages().into_iter().filter(|message| message["method"] == "tools/call").count();
    assert_eq!(called, 1, "what cannot be called is not sent");
}

#[test]
fn lines_are_started_as_they_arrive() {
    for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = server.stdio();
        let mut running =
            Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jq", ".id"]).stdin_open().start();
        running.write(&echo("first"));
        running.wait_for_stdout("first\n");
        running.write(&echo("second")[..12]);
        std::thread::sleep(Duration::from_millis(50));
        running.write(&echo("second")[12..]);
        running.wait_for_stdout("first\nsecond\n");
        running.end_stdin();
        running.wait().succeeds();
        server.single_process();
    }
}

#[test]
fn calls_run_concurrently_and_each_is_printed_as_it_ends() {
    let all: String = ["1", "2", "3", "4", "5", "6"].into_iter().map(echo).collect();
    let sandbox = Sandbox::new();
    let (server, most) = gathering(3);
    let run =
        sandbox.mcpipe(["call", &server.target(), "--batch", "-", "--jobs", "3", "--jq", ".id"]).stdin(&*all).run();
    run.succeeds();
    assert_ne!(run.stdout(), "1\n2\n3\n4\n5\n6\n");
    assert_eq!(*most.lock().unwrap(), 3);

    let (server, _) = gathering(3);
    let run = sandbox
        .mcpipe(["call", &server.target(), "--batch", "-", "--jobs", "3", "--ordered", "--jq", ".id"])
        .stdin(&*all)
        .run();
    run.succeeds().prints("1\n2\n3\n4\n5\n6\n");

    // With `--jobs 2` the third call does not arrive.
    let (server, most) = gathering(3);
    let run = sandbox
        .mcpipe(["call", &server.target(), "--batch", "-", "--jobs", "2", "--timeout", "300ms", "--jq", ".error.class"])
        .stdin(all.lines().take(2).collect::<Vec<_>>().join("\n"))
        .run();
    run.exits(1).prints("timeout\ntimeout\n");
    assert_eq!(*most.lock().unwrap(), 2);

    let (server, most) = gathering(8);
    let eight: String = (0..8).map(|n| echo(&n.to_string())).collect();
    sandbox.mcpipe(["call", &server.target(), "--batch", "-"]).stdin(eight).run().succeeds();
    assert_eq!(*most.lock().unwrap(), 8, "eight unless told otherwise");
}

#[test]
fn a_server_that_dies_leaves_the_rest_unreachable() {
    let mcp = Arc::new(Mcp::modern());
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message["params"]["arguments"]["text"] == "die" {
                process.write_stderr("out of memory\n");
                return process.exit(3);
            }
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let all: String = ["1", "die", "3", "4"].into_iter().map(echo).collect();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jobs", "1"]).stdin(all).run();
    run.exits(1);
    let unreachable = || "unreachable".to_owned();
    assert_eq!(
        line_failures(&run),
        [
            (json!("1"), "1".to_owned()),
            (json!("die"), unreachable()),
            (json!("3"), unreachable()),
            (json!("4"), unreachable())
        ]
    );
    assert_eq!(lines(&run)[1]["error"]["stderr"], json!(["out of memory"]));
    assert_eq!(server.processes().len(), 1, "it is not started again");
}

#[test]
fn a_server_that_cannot_be_reached_is_tried_once() {
    let sandbox = Sandbox::new();
    let all: String = ["1", "2", "3"].into_iter().map(echo).collect();
    let mark = sandbox.work().join("started");
    let script = sandbox.file("dies.sh", format!("#!/bin/sh\necho x >> {mark:?}\nexit 1\n"));
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let starts = || {
        let count = std::fs::read_to_string(&mark).unwrap().lines().count();
        std::fs::remove_file(&mark).unwrap();
        count
    };
    sandbox.mcpipe(["list", "./dies.sh"]).run().exits(5);
    let once = starts();
    for option in ["--ordered", "--no-validate"] {
        let run = sandbox.mcpipe(["call", "./dies.sh", "--batch", "-", option]).stdin(&*all).run();
        run.exits(1);
        assert_eq!(line_failures(&run).iter().map(|(_, came)| came.as_str()).collect::<Vec<_>>(), ["unreachable"; 3]);
        assert_eq!(starts(), once, "{option}");
    }
}

#[test]
fn a_signal_cancels_what_is_under_way() {
    for (server, modern) in [(Mcp::legacy("2025-11-25"), false), (Mcp::modern(), true)] {
        let server =
            server.on("tools/call", |call| if call.tool() == "fail" { vec![] } else { call.text("done") }).stdio();
        let mut running = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-"]).stdin_open().start();
        running.write(&(echo("a") + "{\"tool\":\"fail\",\"id\":1}\n{\"tool\":\"fail\",\"id\":2}\n"));
        server.wait_for("three calls and a printed result", |seen| {
            let methods = seen.first().map(|seen| seen.methods()).unwrap_or_default();
            methods.iter().filter(|method| *method == "tools/call").count() == 3
                && running.stdout_so_far().ends_with('\n')
        });
        running.signal(rustix::process::Signal::INT);
        let run = running.wait();
        run.exits(130).stderr_contains("interrupted");
        let mut all = line_failures(&run);
        all.sort_by_key(|(id, _)| id.to_string());
        assert_eq!(
            all,
            [
                (json!("a"), "done".to_owned()),
                (json!(1), "interrupted".to_owned()),
                (json!(2), "interrupted".to_owned())
            ]
        );
        let messages = server.single_process().messages();
        let of = |method: &str| -> Vec<&Value> { messages.iter().filter(|one| one["method"] == method).collect() };
        let mut asked: Vec<String> = of("tools/call")[1..].iter().map(|one| one["id"].to_string()).collect();
        let mut cancelled: Vec<String> =
            of("notifications/cancelled").iter().map(|one| one["params"]["requestId"].to_string()).collect();
        asked.sort();
        cancelled.sort();
        assert_eq!(asked, cancelled, "modern: {modern}");
    }
}

#[test]
fn a_signal_cancels_over_http_in_each_eras_way() {
    let input = echo("hang") + &echo("hang");
    for modern in [false, true] {
        let mcp = if modern { Mcp::modern() } else { Mcp::legacy("2025-11-25") };
        let good = mcp.http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
        let server = HttpServer::start(move |request| {
            if request.rpc_method() == "tools/call" { Reply::sse().then_stall() } else { good(request) }
        });
        let sandbox = Sandbox::new();
        let running = sandbox.mcpipe(["call", &server.url("/"), "--batch", "-"]).stdin(&*input).start();
        let count = |method: &str| server.requests().iter().filter(|request| request.rpc_method() == method).count();
        let end = std::time::Instant::now() + Duration::from_secs(10);
        while count("tools/call") < 2 {
            assert!(std::time::Instant::now() < end, "two calls: {:?}", server.exchanges());
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(100));
        running.signal(rustix::process::Signal::INT);
        running.wait().exits(130);
        if modern {
            let end = std::time::Instant::now() + Duration::from_secs(5);
            while server.abandoned().len() < 2 {
                assert!(std::time::Instant::now() < end, "both streams are closed: {:?}", server.abandoned());
                std::thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(count("notifications/cancelled"), 0);
        } else {
            assert_eq!(count("notifications/cancelled"), 2);
        }
    }
}

#[test]
fn a_filter_goes_over_each_line_and_may_fail_on_one() {
    let server = Mcp::modern().stdio();
    let all: String = ["1", "2", "3"].into_iter().map(echo).collect();
    let filter = ".result.content[0].text | if . == \"2\" then error(\"no\") else . end";
    let run =
        Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--ordered", "--jq", filter]).stdin(all).run();
    run.exits(1).prints("1\n3\n").stderr_contains("--jq: the filter failed on the result");
}

#[test]
fn a_dry_run_prints_the_requests_and_calls_nothing() {
    let server = Mcp::modern().stdio();
    let input = echo("a") + "{\"tool\":\"echo\"}\n" + &echo("b") + "{\"prompt\":\"greet\"}\n";
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--dry-run"]).stdin(input).run();
    run.exits(1);
    let lines = lines(&run);
    let request = |id: u64, text: &str| {
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
            "params": {"name": "echo", "arguments": {"text": text}}})
    };
    assert_eq!((&lines[0], &lines[2]), (&request(1, "a"), &request(3, "b")));
    assert_eq!(lines[1]["error"]["causes"], json!(["text: required value is missing"]));
    assert_eq!(lines[3]["error"]["causes"], json!(["who: required value is missing"]));
    assert!(!server.single_process().methods().contains(&"tools/call".to_owned()));
}

#[test]
fn consent_is_needed_beforehand() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.demo]\ncommand = {:?}\nargs = {:?}\n[defaults]\nconfirm = \"destructive\"\n",
        server.words()[0],
        &server.words()[1..]
    ));
    let input = echo("harmless") + "{\"tool\":\"image\",\"id\":\"not known to be\"}\n";
    let run = sandbox.mcpipe(["call", "demo", "--batch", "-", "--ordered"]).stdin(&*input).run();
    run.exits(1);
    let lines = lines(&run);
    assert_eq!(lines[0]["result"]["content"][0]["text"], "harmless");
    assert_eq!((&lines[1]["error"]["class"], &lines[1]["error"]["code"]), (&json!("refused"), &json!(8)));
    assert_eq!(lines[1]["error"]["hint"], "add --yes to skip the confirmation");
    sandbox.mcpipe(["call", "demo", "--batch", "-", "--yes"]).stdin(input).run().succeeds();
}

#[test]
fn time_and_retries_are_those_of_each_call() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| if call.tool() == "fail" { vec![] } else { call.text("done") })
        .stdio();
    let input = format!("{{\"tool\":\"fail\",\"id\":\"mute\"}}\n{}", echo("a"));
    let run = Sandbox::new()
        .mcpipe(["call", &server.target(), "--batch", "-", "--timeout", "300ms", "--jq", "[.id, .error.class]"])
        .stdin(input)
        .run();
    run.exits(1).prints("[\"a\",null]\n[\"mute\",\"timeout\"]\n");

    // Rejected without being read: each call is sent again by itself.
    let good = Mcp::modern().http_script(LegacyHttpOptions::default());
    let turned = Mutex::new(std::collections::HashSet::new());
    let server = HttpServer::start(move |request| {
        if request.rpc_method() == "tools/call" {
            let text = request.json()["params"]["arguments"]["text"].to_string();
            if turned.lock().unwrap().insert(text) {
                return Reply::status(503).header("Retry-After", "0");
            }
        }
        good(request)
    });
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.url("/"), "--batch", "-", "-q"]).stdin(echo("a") + &echo("b")).run();
    run.succeeds();
    let run = sandbox
        .mcpipe(["call", &server.url("/"), "--batch", "-", "--retries", "0"])
        .stdin(echo("a") + &echo("c"))
        .run();
    let mut all = line_failures(run.exits(1));
    all.sort_by_key(|(id, _)| id.to_string());
    assert_eq!(all, [(json!("a"), "a".to_owned()), (json!("c"), "unreachable".to_owned())]);
}

/// A tool that asks for input if its text says so, and fails without it, in either era.
fn asking(call: &ClientMessage, modern: bool) -> Vec<ServerAction> {
    let asked = json!({"message": "Sure?", "requestedSchema": {"type": "object", "properties": {}}});
    let text = call.argument("text").as_str().unwrap_or_default().to_owned();
    // Both calls are in progress before anything is asked.
    let pause = || ServerAction::Pause(Duration::from_millis(150));
    if text != "ask" {
        let mut outs = vec![pause(), pause()];
        let failed = json!({"content": [{"type": "text", "text": "its own fault"}], "isError": true});
        outs.extend(call.result(failed));
        return outs;
    }
    if modern {
        return match call.params().get("inputResponses") {
            None => call.result(json!({"resultType": "input_required",
                "inputRequests": {"sure": {"method": "elicitation/create", "params": asked}}})),
            Some(answer) => {
                assert_eq!(answer["sure"]["action"], "decline");
                call.result(json!({"content": [{"type": "text", "text": "not sure"}], "isError": true}))
            }
        };
    }
    let failed = call.response(json!({"content": [{"type": "text", "text": "not sure"}], "isError": true}));
    let request = json!({"jsonrpc": "2.0", "id": "ask-1", "method": "elicitation/create", "params": asked});
    vec![pause(), ServerAction::Request(request, Box::new(move |_| vec![ServerAction::Send(failed)]))]
}

#[test]
fn a_declined_request_is_reported_for_its_call() {
    let input = echo("ask") + &echo("other");
    let class = |run: &Run| -> Vec<Value> {
        let mut all = lines(run);
        all.sort_by_key(|line| line["id"].to_string());
        all.iter().map(|line| line["error"]["class"].clone()).collect()
    };
    for server in [
        Mcp::modern().on("tools/call", |call| asking(call, true)).http(),
        Mcp::legacy("2025-11-25").on("tools/call", |call| asking(call, false)).http(),
    ] {
        let run = Sandbox::new()
            .mcpipe(["call", &server.url("/mcp"), "--batch", "-", "--elicit", "decline"])
            .stdin(&*input)
            .run();
        assert_eq!(class(run.exits(1)), [json!("refused"), Value::Null], "{run:?}");
        assert_eq!(lines(&run).iter().filter(|line| line["result"]["isError"] == true).count(), 2);
    }
    let server = Mcp::modern().on("tools/call", |call| asking(call, true)).stdio();
    let run =
        Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--elicit", "decline"]).stdin(&*input).run();
    assert_eq!(class(run.exits(1)), [json!("refused"), Value::Null]);

    // Over one pipe a legacy server does not say which call its request belongs to: no call is blamed, and the message
    // says so.
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| asking(call, false)).stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.target(), "--batch", "-", "--elicit", "decline"]).stdin(&*input).run();
    assert_eq!(class(run.exits(1)), [Value::Null, Value::Null]);
    run.stderr_contains("input was declined; the server did not say which of the running calls it was for");
    // With one call at a time there is no ambiguity.
    let run = sandbox
        .mcpipe(["call", &server.target(), "--batch", "-", "--elicit", "decline", "--jobs", "1"])
        .stdin(input)
        .run();
    assert_eq!(class(run.exits(1)), [json!("refused"), Value::Null]);
}

#[test]
fn questions_are_counted_for_each_call() {
    // Three requests per call and eight concurrent calls: several requests may ask, and none asks too often.
    let ask = |call: &ClientMessage| {
        let asked = json!({"message": "?", "requestedSchema": {"type": "object", "properties": {}}});
        let id = call.id();
        let n = call.n;
        let request = move |k: u32| json!({"jsonrpc": "2.0", "id": format!("ask-{n}-{k}"), "method": "elicitation/create", "params": asked});
        let done = call.response(json!({"content": [{"type": "text", "text": id.to_string()}]}));
        let (second, third) = (request(2), request(3));
        let third = move |_| vec![ServerAction::Request(third, Box::new(move |_| vec![ServerAction::Send(done)]))];
        let second = move |_| vec![ServerAction::Request(second, Box::new(third))];
        vec![ServerAction::Pause(Duration::from_millis(100)), ServerAction::Request(request(1), Box::new(second))]
    };
    let all: String = (0..8).map(|n| echo(&n.to_string())).collect();
    let server = Mcp::legacy("2025-11-25").on("tools/call", ask).stdio();
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--elicit", "accept"]).stdin(all).run();
    run.succeeds();
    assert_eq!(lines(&run).len(), 8);
}

#[test]
fn a_tool_that_is_new_is_found_by_looking_once_more() {
    let list = |call: &ClientMessage| {
        let mut tools = crate::support::mcp::tools();
        if call.n > 0 {
            tools.push(json!({"name": "fresh", "inputSchema": {"type": "object"}}));
        }
        call.result(json!({ "tools": tools }))
    };
    let server = Mcp::legacy("2025-11-25").on("tools/list", list).on("tools/call", |call| call.text("called")).http();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["list", &server.url("/mcp")]).run().succeeds();
    let input = "{\"tool\":\"fresh\"}\n{\"tool\":\"fresh\"}\n{\"tool\":\"never\"}\n{\"tool\":\"neither\"}\n";
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "--batch", "-", "--ordered"]).stdin(input).run();
    let came: Vec<String> = line_failures(run.exits(1)).into_iter().map(|(_, came)| came).collect();
    assert_eq!(came, ["called", "called", "failed", "failed"]);
    // The era probe, the cached list, and the fresh list.
    let lists = server.requests().iter().filter(|request| request.rpc_method() == "tools/list").count();
    assert_eq!(lists, 3);
}

#[test]
fn a_server_that_was_of_another_era_gets_each_call_once() {
    let list = |call: &ClientMessage| {
        let tools = crate::support::mcp::tools();
        call.result(json!({"tools": tools, "ttlMs": 60_000, "cacheScope": "private"}))
    };
    let (modern, legacy) = (Arc::new(Mcp::modern().on("tools/list", list)), Arc::new(Mcp::legacy("2025-11-25")));
    let begun: Mutex<std::collections::HashSet<usize>> = Mutex::default();
    // After the restart it requires a handshake before anything else.
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if process.n == 0 {
                return crate::support::mcp::play_actions(&modern, process, modern.handle(&message));
            }
            let mut begun = begun.lock().unwrap();
            if message["method"] == "initialize" {
                begun.insert(process.n);
            } else if message.get("id").is_some() && !begun.contains(&process.n) {
                let error = json!({"code": -32600, "message": "Not initialized"});
                return process.send(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
            }
            crate::support::mcp::play_actions(&legacy, process, legacy.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["list", &server.target()]).run().succeeds();
    let all: String = (0..20).map(|n| echo(&n.to_string())).collect();
    let run = sandbox.mcpipe(["call", &server.target(), "--batch", "-"]).stdin(all).run();
    run.succeeds();
    assert_eq!(lines(&run).len(), 20);
    let mut called: Vec<String> = Vec::new();
    for seen in &server.processes()[1..] {
        let methods = seen.methods();
        let shaken = methods.iter().skip_while(|method| *method != "initialize");
        assert!(!shaken.clone().any(|method| method == "server/discover"), "it has been answered: {methods:?}");
        let calls = seen.messages().into_iter().filter(|message| message["method"] == "tools/call");
        called.extend(calls.map(|message| message["params"]["arguments"]["text"].as_str().unwrap().to_owned()));
    }
    called.sort_by_key(|text| text.parse::<u32>().unwrap());
    assert_eq!(called, (0..20).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[test]
fn what_cannot_begin_is_a_failure_of_the_run() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let target = server.target();
    let run = sandbox.mcpipe(["call", &target, "--batch", "missing.ndjson"]).run();
    run.exits(2).prints("").stderr_contains("cannot read missing.ndjson").stderr_contains("No such file");
    let run = sandbox.mcpipe(["call", &target, "echo", "--batch", "-"]).run();
    run.exits(2).stderr_contains("unexpected argument 'echo': with --batch each line names its tool");
    sandbox.mcpipe(["call", "nobody", "--batch", "-"]).stdin(echo("a")).run().exits(3).prints("");
    sandbox.mcpipe(["call", &target, "--batch", "-", "--jobs", "0"]).run().exits(2);
    sandbox.mcpipe(["call", &target, "echo", "text=x", "--ordered"]).run().exits(2).stderr_contains("--batch");
    sandbox.mcpipe(["call", &target, "echo", "text=x", "--jobs", "2"]).run().exits(2).stderr_contains("--batch");
    sandbox
        .mcpipe(["call", &target, "--batch", "-", "--tool-use", "-"])
        .run()
        .exits(2)
        .stderr_contains("cannot be used with");
    let run = sandbox.mcpipe(["call", &target, "--batch", "."]).run();
    run.exits(2).stderr_contains("cannot read .");
    // An empty batch is not a failure and prompts no one.
    sandbox.mcpipe(["call", &target, "--batch", "-"]).stdin("\n\n").run().succeeds().prints("");
    assert_eq!(server.processes().len(), 0);
}

#[test]
fn a_reader_that_takes_its_time_costs_no_call_its_own() {
    let server = Mcp::modern()
        .on("tools/call", |call| {
            let text = call.argument("text").as_str().unwrap_or_default().to_owned();
            // More than a pipe holds; the other calls are answered while the output is not read.
            if text == "big" {
                return call.text(&"x".repeat(300_000));
            }
            let mut outs = vec![ServerAction::Pause(Duration::from_millis(300))];
            outs.extend(call.text(&text));
            outs
        })
        .stdio();
    let sandbox = Sandbox::new();
    sandbox.file("calls", echo("big") + &(0..4).map(|n| echo(&n.to_string())).collect::<String>());
    let mcpipe = sandbox.mcpipe(["call", &server.target(), "--batch", "calls", "--timeout", "800ms"]);
    let mut child = mcpipe.command(&[]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(2000));
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut out).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(out.lines().count(), 5);
    assert!(!out.contains("timeout"), "{}", &out[300_000..]);
}

#[test]
fn a_reader_that_goes_ends_the_run_quietly() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let all: String = (0..200).map(|n| echo(&n.to_string())).collect();
    sandbox.file("calls", all);
    let mcpipe = sandbox.mcpipe(["call", &server.target(), "--batch", "calls"]);
    let mut command = mcpipe.command(&["bash", "-c", "set -o pipefail; \"$@\" | head -n 1", "bash"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.starts_with("{\"id\":"), "{out}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn what_is_wrong_with_the_arguments_of_a_line_is_said_of_the_line() {
    let server = Mcp::modern().stdio();
    let lines = "{\"tool\":\"echo\",\"arguments\":{\"text\":\"\\ud800\"}}\n{\"tool\":\"echo\",\"arguments\":[]}\n";
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-"]).stdin(lines).run();
    run.exits(1).stdout_contains("line 1 has invalid JSON in arguments").hides("--args");
}
