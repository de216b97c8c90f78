//! Known secrets are removed from values before they are serialized: every line stays valid JSON with its own member
//! names.

use serde_json::{Value, json};

use crate::support::{ClientMessage, HttpServer, Mcp, Reply, Run, Sandbox, ServerAction, StdioServer};

/// Rejects every call; the data of the error contains the secret as a number, as a member name and inside strings.
fn refusing() -> StdioServer {
    Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "logging": {}}))
        .on("logging/setLevel", |call| call.result(json!({})))
        .on("tools/call", |call| {
            let log = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"message","data":{"pin":12345678,"message":"message"}}}"#;
            vec![ServerAction::RawText(log.to_owned()), ServerAction::RawText(refusal(call, DATA))]
        })
        .stdio()
}

/// With white space, number forms and escapes that are preserved.
const DATA: &str = r#"{"pin": 12345678,"n":1E2 ,"12345678":true,"message":"message \u0031\u0032345678","in":"{\"message\":12345678}","u":"\u00e9\/"}"#;

fn refusal(call: &ClientMessage, data: &str) -> String {
    let id = call.id();
    format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,"message":"no message 12345678","data":{data}}}}}"#)
}

fn call(server: &StdioServer, secret: &str, words: &[&str]) -> (Run, Sandbox) {
    let sandbox = Sandbox::new();
    let variable = format!("API_TOKEN={secret}");
    let run =
        sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "-e", &variable]).args(words.iter().copied());
    (run.run(), sandbox)
}

fn is_json(line: &str) -> bool {
    serde_json::from_str::<Value>(line).is_ok()
}

#[test]
fn an_error_line_stays_json_where_the_secret_is_a_number_or_a_member_name() {
    let server = refusing();
    for (secret, message, data) in [
        (
            "12345678",
            "no message [redacted]",
            r#"{"pin": "[redacted]","n":1E2 ,"[redacted]":true,"message":"message [redacted]","in":"{\"message\":\"[redacted]\"}","u":"\u00e9\/"}"#,
        ),
        (
            "message",
            "no [redacted] 12345678",
            r#"{"pin": 12345678,"n":1E2 ,"12345678":true,"message":"[redacted] 12345678","in":"{\"[redacted]\":12345678}","u":"\u00e9\/"}"#,
        ),
    ] {
        let (run, _) = call(&server, secret, &["--json"]);
        run.exits(1).prints("");
        let error: Value = serde_json::from_str(run.stderr()).unwrap_or_else(|error| panic!("{error}: {run:?}"));
        assert_eq!(error["error"]["rpc"]["message"], message, "{run:?}");
        run.stderr_contains(&format!(r#""rpc":{{"code":-32000,"message":"{message}","data":{data}}}}}}}"#));
    }
}

#[test]
fn traces_keep_messages_that_are_json() {
    let server = refusing();
    for (secret, error) in [
        (
            "12345678",
            r#""message":"no message [redacted]","data":{"pin": "[redacted]","n":1E2 ,"[redacted]":true,"message":"message [redacted]","in":"{\"message\":\"[redacted]\"}","u":"\u00e9\/"}}"#,
        ),
        (
            "message",
            r#""message":"no [redacted] 12345678","data":{"pin": 12345678,"n":1E2 ,"12345678":true,"message":"[redacted] 12345678","in":"{\"[redacted]\":12345678}","u":"\u00e9\/"}}"#,
        ),
    ] {
        let (run, sandbox) = call(&server, secret, &["-v", "--trace", "trace"]);
        run.exits(1).prints("");
        let trace = std::fs::read_to_string(sandbox.work().join("trace")).unwrap();
        for line in trace.lines() {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(event["message"].is_null() || event["message"]["jsonrpc"] == "2.0", "{line}");
        }
        let received = trace.lines().find(|line| line.contains(r#""code":-32000"#)).unwrap();
        let id = &serde_json::from_str::<Value>(received).unwrap()["message"]["id"];
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":-32000,{error}}}"#);
        assert!(received.ends_with(&format!(r#","dir":"received","message":{body}}}"#)), "{received}");
        run.stderr_contains(&format!("← {body}\n"));
        let shown = run.stderr().lines().filter_map(|line| line.strip_prefix("← ").or(line.strip_prefix("→ ")));
        assert_eq!(shown.filter(|line| !is_json(line)).collect::<Vec<_>>(), Vec::<&str>::new());
    }
}

#[test]
fn logs_are_redacted_value_by_value_and_events_stay_as_they_came() {
    let server = refusing();
    for (secret, log) in [
        ("12345678", r#"{"log":{"level":"info","logger":"message","data":{"pin":"[redacted]","message":"message"}}}"#),
        ("message", r#"{"log":{"level":"info","logger":"[redacted]","data":{"pin":12345678,"message":"[redacted]"}}}"#),
    ] {
        let (run, sandbox) = call(&server, secret, &["--json", "--log-level", "info", "--events", "events"]);
        run.exits(1).prints("");
        assert_eq!(run.stderr().lines().next(), Some(log), "{run:?}");
        assert!(run.stderr().lines().all(is_json), "{run:?}");
        assert_eq!(
            std::fs::read_to_string(sandbox.work().join("events")).unwrap(),
            concat!(
                r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","logger":"message","#,
                r#""data":{"pin":12345678,"message":"message"}}}"#,
                "\n"
            )
        );
    }
}

/// The failures of single servers and lines are part of the document on standard output.
#[test]
fn rows_and_batches_hold_failures_without_secrets() {
    let server = Mcp::legacy("2025-11-25")
        .on("initialize", |call| vec![ServerAction::RawText(refusal(call, DATA))])
        .on("server/discover", |call| call.error(-32601, "Method not found"))
        .stdio();
    let sandbox = Sandbox::new();
    let words: Vec<String> = server.words()[1..].iter().map(|word| format!("{word:?}")).collect();
    let command = &server.words()[0];
    sandbox.config(&format!(
        "[servers.srv]\ncommand = {command:?}\nargs = [{}]\nenv = {{ API_TOKEN = \"12345678\" }}\n",
        words.join(", ")
    ));
    let run = sandbox.mcpipe(["list", "--json", "--retries", "0"]).run();
    run.hides("12345678").stdout_contains(r#""data":{"pin": "[redacted]","n":1E2 ,"[redacted]":true,"#);
    assert!(is_json(run.stdout()) && !run.stdout().contains("12345678"), "{run:?}");

    let server = refusing();
    let batch = "{\"tool\":\"echo\",\"arguments\":{\"text\":\"hi\"}}\n";
    let run = sandbox.mcpipe(["call", &server.target(), "--batch", "-", "-e", "API_TOKEN=12345678"]).stdin(batch).run();
    assert!(is_json(run.stdout()) && !run.stdout().contains("12345678"), "{run:?}");
    run.stdout_contains(r#""data":{"pin": "[redacted]","n":1E2 ,"[redacted]":true,"#);
}

/// For secrets of any form.
#[test]
fn every_line_is_json_for_secrets_that_look_like_json() {
    for secret in [
        "false1",
        r#"","a":""#,
        r#"{"data":"#,
        r#"":{":{"#,
        r"\\\\\\",
        r"\u00e9",
        "[redacted]",
        "redacted",
        "jsonrpc",
        "pässwörd",
        "a/b/c/d",
        r#"quo"ted"#,
        "data:[",
    ] {
        let data = json!({"is": secret, secret: [secret, {secret: secret}], "text": json!({"a": secret}).to_string()});
        let ascii: String = data.to_string().chars().fold(String::new(), |out, c| match c {
            '/' => out + r"\/",
            c if c.is_ascii() => out + &c.to_string(),
            c => out + &format!("\\u{:04x}", c as u32),
        });
        let server = Mcp::legacy("2025-11-25")
            .on("tools/call", move |call| vec![ServerAction::RawText(refusal(call, &ascii))])
            .stdio();
        let (run, sandbox) = call(&server, secret, &["--json", "--trace", "trace", "--events", "events"]);
        run.exits(1).prints("");
        let trace = std::fs::read_to_string(sandbox.work().join("trace")).unwrap();
        let mut refused = 0;
        for line in run.stderr().lines().chain(trace.lines()) {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{secret}: {error}: {line}"));
            let error = line.get("error").map(|error| &error["rpc"]).unwrap_or(&line["message"]["error"]);
            if error["code"] == -32000 {
                assert_eq!(error["data"]["is"], "[redacted]", "{secret}: {line}");
                refused += 1;
            }
        }
        assert_eq!(refused, 2, "{secret}: in the error line and in the trace");
    }
}

/// A key in the path of a configured URL is not shown in errors, traces or `config`.
#[test]
fn keys_in_the_path_of_a_configured_url_are_redacted() {
    let sandbox = Sandbox::new();
    let server = HttpServer::start(|_| Reply::status(404));
    let (key, short) = ("NjU4OWY3ZGUtNWYxMC00YzE5LWFi", "hunter2hunter");
    sandbox.config(&format!(
        "[servers.z]\nurl = '{}'\n[servers.y]\nurl = '{}'\n",
        server.url(&format!("/api/s/{key}/mcp")),
        server.url("/s/${ZAP_TOKEN}/mcp")
    ));
    for words in [
        &["list", "z", "-vv"][..],
        &["list", "z", "--json"],
        &["list", "y", "-vv"],
        &["config", "get", "z"],
        &["config", "list"],
    ] {
        let run = sandbox.mcpipe(words).env("ZAP_TOKEN", short).run();
        run.hides(key).hides(short);
        assert!(format!("{}{}", run.stdout(), run.stderr()).contains("[redacted]"), "{run:?}");
    }
    let run = sandbox.mcpipe(["list", "z"]).run();
    run.exits(5).stderr_contains("/api/s/[redacted]/mcp (HTTP 404)");
    assert_eq!(server.requests()[0].target, format!("/api/s/{key}/mcp"));
}

/// What a server process prints of its variables is redacted, whatever their names; a result is not.
#[test]
fn values_of_the_environment_of_a_server_are_redacted_in_what_it_prints() {
    let sandbox = Sandbox::new();
    let script = "echo \"cannot connect: $DATABASE_URL as $WHO, level $LEVEL\" >&2; exit 1";
    let value = "postgres://app:pw@db/x";
    sandbox.config(&format!(
        "[servers.d]\ncommand = 'sh'\nargs = ['-c', '{script}']\nenv = {{ DATABASE_URL = '{value}', LEVEL = 'debug' }}\n"
    ));
    for words in
        [&["list", "d", "-e", "WHO=Alice Liddell 1865"][..], &["list", "d", "-e", "WHO=Alice Liddell 1865", "--json"]]
    {
        let run = sandbox.mcpipe(words).run();
        run.exits(5).hides(value).hides("Alice Liddell");
        run.stderr_contains("cannot connect: [redacted] as [redacted], level debug");
    }
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| call.text("postgres://app:pw@db/x")).stdio();
    let variable = format!("DATABASE_URL={value}");
    let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "-e", &variable]).run();
    run.succeeds().prints("postgres://app:pw@db/x\n");
}
