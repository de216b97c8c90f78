//! Server requests at a terminal: forms, pages, and a way to cancel at every step.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use expect_test::{Expect, expect};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::call::server_requests::{form, legacy, modern, one_tool};
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::pty::{Terminal, TerminalStreams};
use crate::support::{HttpServer, Mcp, Reply, Sandbox, ServerAction, StdioServer};

fn at(sandbox: &Sandbox, server: &StdioServer, words: &[&str]) -> Terminal {
    sandbox.mcpipe(["call", &server.target(), "ask"]).args(words).env("NO_COLOR", "1").at_terminal(TerminalStreams::ALL)
}

/// Types each answer after its question was shown this many times.
fn dialogue(terminal: &mut Terminal, answers: &[(&str, &str)]) {
    let mut from = 0;
    for (question, keys) in answers {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let screen = terminal.screen();
            if let Some(found) = screen.get(from..).and_then(|rest| rest.find(question)) {
                from += found + question.len();
                break;
            }
            assert!(std::time::Instant::now() < end, "never shown: {question:?}\n--- terminal\n{screen}");
            std::thread::sleep(Duration::from_millis(2));
        }
        terminal.type_keys(keys);
    }
}

fn assert_dialogue(server: &StdioServer, answers: &[(&str, &str)], code: i32, expected: Expect) {
    let sandbox = Sandbox::new();
    let mut terminal = at(&sandbox, server, &[]);
    dialogue(&mut terminal, answers);
    let seen = terminal.wait();
    seen.exits(code);
    expected.assert_eq(&format!("{}\n", seen.final_screen().replace(&server.target(), "SERVER")));
}

fn modern_form(params: Value) -> StdioServer {
    modern(json!({"who": {"method": "elicitation/create", "params": params}})).stdio()
}

#[test]
fn a_form_is_filled_reviewed_edited_and_sent() {
    assert_dialogue(
        &legacy("2025-11-25", "elicitation/create", form()).stdio(),
        &[
            ("> ", "A\n"),
            ("at least 2", ""),
            ("> ", ":skip\n"),
            ("required", ""),
            ("> ", "Ada\n"),
            ("> ", "-3\n"),
            ("> ", ":back\n"),
            ("> ", "\n"),
            ("> ", "\n"),
            ("> ", "n\n"),
            ("> ", "red\n"),
            ("Send it?", "2\n"),
            ("> ", "7\n"),
            ("Send it?", "\n"),
        ],
        0,
        expect![[r##"
            SERVER asks for input:
              │ Who are you?
              (Enter accepts the [default]; :back, :skip, :decline, :cancel, :help)
              1/4 Your name (string, at least 2 characters, required)
              > A
              must have at least 2 characters, got 'A'
              > :skip
              required
              > Ada
              2/4 age (integer, >= 0, optional)
              [42] > -3
              must be at least 0, got -3
              [42] > :back
              1/4 Your name (string, at least 2 characters, required)
              [Ada] >
              2/4 age (integer, >= 0, optional)
              [42] >
              3/4 news (yes or no, optional)
              [yes] > n
              4/4 colour (one of 2, optional)
                1) Red (#F00)
                2) Green (#0F0)
              [Green] > red
              Ready to send:
                1) Your name  Ada
                2) age        42
                3) news       no
                4) colour     Red (#F00)
              Send it? [Y]es, a number to edit, [d]ecline, [c]ancel: 2
              2/4 age (integer, >= 0, optional)
              [42] > 7
              Ready to send:
                1) Your name  Ada
                2) age        7
                3) news       no
                4) colour     Red (#F00)
              Send it? [Y]es, a number to edit, [d]ecline, [c]ancel:
            {"action":"accept","content":{"name":"Ada","age":7,"news":false,"colour":"#F00"}}
        "##]],
    );
}

#[test]
fn the_answer_is_in_the_forms_order_whatever_was_edited() {
    let server = modern_form(form());
    let sandbox = Sandbox::new();
    let mut terminal = at(&sandbox, &server, &[]);
    let keys = [
        ("> ", "Ada\n"),
        ("> ", ":skip\n"),
        ("> ", "\n"),
        ("> ", "\n"),
        ("Send it?", "2\n"),
        ("> ", "9\n"),
        ("Send it?", "y\n"),
    ];
    dialogue(&mut terminal, &keys);
    terminal.wait().exits(0);
    let text = server.single_process().text().to_owned();
    let sent = r##""inputResponses":{"who":{"action":"accept","content":{"name":"Ada","age":9,"news":true,"colour":"#0F0"}}}"##;
    assert!(text.contains(sent), "{text}");
    assert!(text.contains(r#""elicitation":{"form":{},"url":{}}"#), "a person can visit pages too: {text}");
}

#[test]
fn every_way_out_of_a_form() {
    for (keys, action) in [
        (&[("> ", ":decline\n")][..], "decline"),
        (&[("> ", ":cancel\n")], "cancel"),
        (&[("> ", "\u{4}")], "cancel"),
        (&[("> ", "Ada\n"), ("> ", ":decline\n")], "decline"),
        (&[("> ", "Ada\n"), ("> ", "\n"), ("> ", "\n"), ("> ", "\n"), ("Send it?", "d\n")], "decline"),
        (&[("> ", "Ada\n"), ("> ", "\n"), ("> ", "\n"), ("> ", "\n"), ("Send it?", "c\n")], "cancel"),
        (&[("> ", "Ada\n"), ("> ", "\n"), ("> ", "\n"), ("> ", "\n"), ("Send it?", "\u{4}")], "cancel"),
    ] {
        let server = legacy("2025-06-18", "elicitation/create", form()).stdio();
        let sandbox = Sandbox::new();
        let mut terminal = at(&sandbox, &server, &[]);
        dialogue(&mut terminal, keys);
        let seen = terminal.wait();
        seen.exits(8);
        let answer = format!(r#"{{"jsonrpc":"2.0","id":"q","result":{{"action":"{action}"}}}}"#);
        assert!(server.single_process().text().contains(&answer), "{keys:?}\n{}", seen.screen);
    }
}

#[test]
fn a_form_without_fields_asks_for_consent_alone() {
    assert_dialogue(
        &modern_form(json!({"message": "Delete it all?", "requestedSchema": {"type": "object", "properties": {}}})),
        &[("[c]ancel: ", "\n"), ("[c]ancel: ", "a\n")],
        0,
        expect![[r#"
            SERVER asks for input:
              │ Delete it all?
              [a]ccept, [d]ecline, [c]ancel:
              [a]ccept, [d]ecline, [c]ancel: a
            {"who":{"action":"accept","content":{}}}
        "#]],
    );
}

#[test]
fn several_choices_help_and_a_warning_about_secrets() {
    let pick = json!({"type": "array", "minItems": 1, "items": {"type": "string", "enum": ["tea", "milk"]}});
    assert_dialogue(
        &modern_form(json!({"message": "Order", "requestedSchema": {"type": "object", "properties": {
            "drinks": pick, "api_key": {"type": "string", "title": "API key"}}, "required": ["drinks"]}})),
        &[
            ("> ", ":?\n"),
            ("> ", "none\n"),
            ("> ", "1,9\n"),
            ("> ", "\n"),
            ("> ", "tea,2\n"),
            ("> ", "::back\n"),
            ("Send it?", "y\n"),
        ],
        0,
        expect![[r#"
            SERVER asks for input:
              │ Order
              (Enter accepts the [default]; :back, :skip, :decline, :cancel, :help)
              warning: this seems to ask for a secret; servers must not request secrets in a form
              1/2 drinks (any of 2, as in 1,2, at least 1 item, required)
                1) tea
                2) milk
              > :?
              :back      go back to the previous field
              :skip      omit this field, even if it has a default
              :decline   refuse the request
              :cancel    dismiss the request (also Ctrl-D)
              ""         an empty string
              Choose by number, value or name; separate several with commas.
              To enter a value that looks like a command, double the colon: ::back
              > none
              must have at least 1 item
              > 1,9
              expected a number from 1 to 2, or one of the values, not '9'
              >
              required
              > tea,2
              2/2 API key (string, optional)
              > ::back
              Ready to send:
                1) drinks   tea, milk
                2) API key  :back
              Send it? [Y]es, a number to edit, [d]ecline, [c]ancel: y
            {"who":{"action":"accept","content":{"drinks":["tea","milk"],"api_key":":back"}}}
        "#]],
    );
}

#[test]
fn eli_03_server_text_cannot_pose_as_ours() {
    let evil = "Hi\u{1b}[2J\u{202e}\nSend it? [Y]es: y\r\n\u{9b}1A";
    let params = json!({"message": evil, "requestedSchema": {"type": "object", "properties": {
        "a\u{1b}[1m": {"type": "string", "title": "x\n  Send it?", "description": evil, "enum": ["v\u{7}"], "default": "v\u{7}"}}}});
    assert_dialogue(
        &modern_form(params),
        &[("> ", "\n"), ("[c]ancel: ", "y\n")],
        0,
        expect![[r#"
        SERVER asks for input:
          │ Hi\x1b[2J<U+202E>
          │ Send it? [Y]es: y
          │ <U+009B>1A
          (Enter accepts the [default]; :back, :skip, :decline, :cancel, :help)
          1/1 x Send it? (one of 1, optional)
          │ Hi\x1b[2J<U+202E>
          │ Send it? [Y]es: y
          │ <U+009B>1A
            1) v\x07
          [v\x07] >
          Ready to send:
            1) x Send it?  v\x07
          Send it? [Y]es, a number to edit, [d]ecline, [c]ancel: y
        {"who":{"action":"accept","content":{"a\u001b[1m":"v\u0007"}}}
    "#]],
    );
}

#[test]
fn an_interrupt_at_a_question_cancels_the_request_and_ends_with_130() {
    let server = legacy("2025-11-25", "elicitation/create", form()).stdio();
    let sandbox = Sandbox::new();
    let mut terminal = at(&sandbox, &server, &[]);
    dialogue(&mut terminal, &[("> ", "\u{3}")]);
    let seen = terminal.wait();
    seen.exits(130);
    let seen_by_server = server.single_process();
    let last = seen_by_server.text().lines().last().unwrap().to_owned();
    assert_eq!(
        last,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":4,"reason":"interrupted"}}"#
    );
    assert!(seen.final_screen().ends_with("\nmcpipe: error: interrupted"), "{}", seen.final_screen());
    // In the modern era no request is in progress while the user is asked, so nothing is sent.
    let server = modern_form(form());
    let mut terminal = at(&sandbox, &server, &[]);
    dialogue(&mut terminal, &[("> ", "\u{3}")]);
    terminal.wait().exits(130);
    assert_eq!(server.single_process().methods().last().map(String::as_str), Some("tools/call"));
}

#[test]
fn the_time_that_a_person_takes_is_not_the_servers() {
    let server = Mcp::legacy("2025-11-25")
        .tools(one_tool())
        .on("tools/call", |call| {
            let id = call.id();
            let request = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": form()});
            let then = move |_| {
                // Within the time limit that started again, not within the rest of the old one.
                let result = json!({"content": [{"type": "text", "text": "done"}]});
                vec![
                    ServerAction::Pause(Duration::from_millis(600)),
                    ServerAction::Send(json!({"jsonrpc": "2.0", "id": id, "result": result})),
                ]
            };
            vec![ServerAction::Request(request, Box::new(then))]
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut terminal = at(&sandbox, &server, &["--timeout", "2s"]);
    terminal.wait_for("> ");
    std::thread::sleep(Duration::from_millis(2700));
    dialogue(&mut terminal, &[("> ", ":decline\n")]);
    terminal.wait().exits(8);
}

#[test]
fn no_input_and_a_pipe_ask_nobody() {
    let server = legacy("2025-11-25", "elicitation/create", form()).stdio();
    let sandbox = Sandbox::new();
    at(&sandbox, &server, &["--no-input"]).wait().exits(1);
    sandbox.mcpipe(["call", &server.target(), "ask"]).stdin_open().run().exits(1);
    let processes = server.wait_until_all_ended();
    assert_eq!(processes.len(), 2);
    assert!(processes.iter().all(|seen| seen.text().contains(r#""capabilities":{}"#)));
}

/// A `BROWSER` that writes the URL to a file.
const BROWSER: &str = "sh -c 'echo \"$1\" >> opened' x";

fn page(url: &str) -> Value {
    json!({"mode": "url", "elicitationId": "e1", "url": url, "message": "Log in to Example"})
}

fn with_browser(sandbox: &Sandbox, server: &StdioServer) -> Terminal {
    let words = ["call", &server.target(), "ask"];
    sandbox.mcpipe(words).env("NO_COLOR", "1").env("BROWSER", BROWSER).at_terminal(TerminalStreams::ALL)
}

fn opened(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.work().join("opened")).unwrap_or_default()
}

#[test]
fn eli_06_a_page_is_shown_whole_and_opened_on_consent() {
    let url = "https://user@xn--pple-43d.com/in?a=$(id)&b=%20";
    let server = legacy("2025-11-25", "elicitation/create", page(url)).stdio();
    let sandbox = Sandbox::new();
    let mut terminal = with_browser(&sandbox, &server);
    terminal.wait_for("Open it?");
    assert_eq!(opened(&sandbox), "", "nothing is opened before the person agrees");
    dialogue(&mut terminal, &[("Open it?", "\n"), ("Open it?", "y\n")]);
    let seen = terminal.wait();
    expect![[r#"
        SERVER asks you to visit a page:
          │ Log in to Example
          https://user@xn--pple-43d.com/in?a=$(id)&b=%20
          the host is xn--pple-43d.com
          warning: the host has characters of another script (punycode) and may imitate another name
          warning: the part before the @ is not the host
          Open it? [y]es, [m]anually (do not start a browser), [d]ecline, [c]ancel:
          Open it? [y]es, [m]anually (do not start a browser), [d]ecline, [c]ancel: y
        {"action":"accept"}
    "#]]
    .assert_eq(&format!("{}\n", seen.exits(0).final_screen().replace(&server.target(), "SERVER")));
    assert_eq!(opened(&sandbox), format!("{url}\n"));
    assert!(server.single_process().text().contains(r#"{"jsonrpc":"2.0","id":"q","result":{"action":"accept"}}"#));
}

#[test]
fn eli_06_declined_cancelled_and_unfit_pages_are_not_opened() {
    let sandbox = Sandbox::new();
    for (keys, action) in [("d\n", "decline"), ("c\n", "cancel"), ("\u{4}", "cancel")] {
        let server = legacy("2025-11-25", "elicitation/create", page("https://example.com/")).stdio();
        let mut terminal = with_browser(&sandbox, &server);
        dialogue(&mut terminal, &[("Open it?", keys)]);
        terminal.wait().exits(8);
        assert!(server.single_process().text().contains(&format!(r#""result":{{"action":"{action}"}}"#)));
    }
    for url in ["file:///etc/passwd", "http://example.com/", "javascript:alert(1)", "-x"] {
        let server = legacy("2025-11-25", "elicitation/create", page(url)).stdio();
        with_browser(&sandbox, &server).wait().exits(1);
        assert!(server.single_process().text().contains(r#""id":"q","error":{"code":-32602"#), "{url}");
    }
    assert_eq!(opened(&sandbox), "");
}

#[test]
fn in_the_modern_era_the_person_says_when_they_are_done() {
    let params = json!({"mode": "url", "url": "http://localhost:1/in", "message": "Log in"});
    let server = modern_form(params);
    let sandbox = Sandbox::new();
    let mut terminal = with_browser(&sandbox, &server);
    dialogue(&mut terminal, &[("Open it?", "m\n"), ("Press Enter", "\n")]);
    terminal.wait().exits(0);
    assert_eq!(opened(&sandbox), "", "they open it themselves");
    assert!(server.single_process().text().contains(r#""inputResponses":{"who":{"action":"accept"}}"#));
}

#[test]
fn a_page_that_was_opened_can_still_be_declined_or_cancelled() {
    let params = json!({"mode": "url", "url": "http://localhost:1/in", "message": "Log in"});
    for (keys, code, action) in
        [("C\n", 8, "cancel"), ("No\n", 8, "cancel"), ("Decline\n", 8, "decline"), ("Done\n", 0, "accept")]
    {
        let server = modern_form(params.clone());
        let sandbox = Sandbox::new();
        let mut terminal = with_browser(&sandbox, &server);
        dialogue(&mut terminal, &[("Open it?", "m\n"), ("Press Enter", "what?\n"), ("Press Enter", keys)]);
        terminal.wait().exits(code);
        let answer = format!(r#""inputResponses":{{"who":{{"action":"{action}"}}}}"#);
        assert!(server.single_process().text().contains(&answer), "{keys}");
    }
}

/// MRT-04: requests that a person answers are not limited.
#[test]
fn mrt_04_a_person_may_answer_more_requests_than_an_option() {
    let asks = |n: usize| {
        let params = json!({"message": format!("Step {n}"), "requestedSchema": {"type": "object", "properties": {}}});
        json!({format!("q{n}"): {"method": "elicitation/create", "params": params}})
    };
    let rounds = Mcp::modern().tools(one_tool()).on("tools/call", move |call| match call.n {
        12 => call.text("all done"),
        n => call.result(json!({"resultType": "input_required", "inputRequests": asks(n)})),
    });
    let polls = Mcp::modern()
        .tools(one_tool())
        .on("tools/call", |call| {
            call.result(json!({"resultType": "task", "taskId": "t", "status": "working", "pollIntervalMs": 1}))
        })
        .on("tasks/update", |call| call.result(json!({})))
        .on("tasks/get", move |call| {
            let mut task =
                json!({"taskId": "t", "status": "input_required", "pollIntervalMs": 1, "inputRequests": asks(call.n)});
            if call.n == 12 {
                task["status"] = "completed".into();
                task["result"] = json!({"content": [{"type": "text", "text": "all done"}]});
            }
            call.result(task)
        });
    for server in [rounds.stdio(), polls.stdio()] {
        let sandbox = Sandbox::new();
        let mut terminal = at(&sandbox, &server, &[]);
        let steps: Vec<String> = (0..12).map(|n| format!("Step {n}")).collect();
        for step in &steps {
            dialogue_from(&mut terminal, step, "[c]ancel: ", "a\n");
        }
        let seen = terminal.wait();
        seen.exits(0);
        assert!(seen.final_screen().ends_with("all done"), "{}", seen.final_screen());
    }
}

/// Types the answer to the question that follows `title`.
fn dialogue_from(terminal: &mut Terminal, title: &str, question: &str, keys: &str) {
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !terminal.screen().rsplit_once(title).is_some_and(|(_, rest)| rest.contains(question)) {
        assert!(std::time::Instant::now() < end, "never shown: {title:?}\n--- terminal\n{}", terminal.screen());
        std::thread::sleep(Duration::from_millis(2));
    }
    terminal.type_keys(keys);
}

fn gated(complete: bool) -> StdioServer {
    Mcp::legacy("2025-11-25")
        .tools(one_tool())
        .on("tools/call", move |call| {
            if call.n > 0 {
                return call.text("in");
            }
            let data = json!({"elicitations": [page("https://example.com/in")]});
            let mut outs = call.error_with(-32042, "Log in first", data);
            if complete {
                for id in ["other", "e1"] {
                    outs.push(ServerAction::Pause(Duration::from_millis(400)));
                    let params = json!({"elicitationId": id});
                    outs.push(ServerAction::Send(
                        json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": params}),
                    ));
                }
            }
            outs
        })
        .stdio()
}

#[test]
fn eli_07_a_request_refused_until_a_page_was_visited_is_sent_again() {
    let sandbox = Sandbox::new();
    for complete in [false, true] {
        let server = gated(complete);
        let mut terminal = with_browser(&sandbox, &server);
        dialogue(&mut terminal, &[("Open it?", "y\n")]);
        if !complete {
            dialogue(&mut terminal, &[("Press Enter", "\n")]);
        }
        let seen = terminal.wait();
        seen.exits(0);
        assert!(seen.final_screen().ends_with("\nin"), "{}", seen.final_screen());
        assert_eq!(seen.screen.contains("the server reports that it is complete"), complete, "{}", seen.screen);
        let methods = server.single_process().methods();
        assert_eq!(methods.iter().filter(|method| *method == "tools/call").count(), 2, "{methods:?}");
    }
    let server = gated(false);
    let mut terminal = with_browser(&sandbox, &server);
    dialogue(&mut terminal, &[("Open it?", "d\n")]);
    terminal.wait().exits(8);
    assert_eq!(server.single_process().methods().iter().filter(|method| *method == "tools/call").count(), 1);
}

/// ELI-07, HTL-04: the visit takes so long that the server forgets the session.
#[test]
fn a_session_that_is_forgotten_during_the_visit_is_renewed() {
    let script = Mcp::legacy("2025-11-25")
        .tools(one_tool())
        .on("tools/call", |call| match call.n {
            0 => {
                let data = json!({"elicitations": [page("https://example.com/in")]});
                call.error_with(-32042, "Log in first", data)
            }
            _ => call.text("in"),
        })
        .http_script(LegacyHttpOptions { session_id: Some("s"), ..LegacyHttpOptions::default() });
    let calls = AtomicUsize::new(0);
    let server = HttpServer::start(move |request| match request.rpc_method().as_str() {
        "tools/call" if calls.fetch_add(1, Ordering::SeqCst) == 1 => Reply::status(404),
        _ => script(request),
    });
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["call", &server.url("/mcp"), "ask", "--protocol", "legacy"]);
    let mut terminal = run.env("NO_COLOR", "1").env("BROWSER", BROWSER).at_terminal(TerminalStreams::ALL);
    dialogue(&mut terminal, &[("Open it?", "y\n"), ("Press Enter", "\n")]);
    let seen = terminal.wait();
    seen.exits(0);
    assert!(seen.final_screen().ends_with("\nin"), "{}", seen.final_screen());
    let count = |title: &str| server.exchanges().iter().filter(|one| *one == title).count();
    assert_eq!((count("POST initialize"), count("POST tools/call")), (2, 3));
}

#[test]
fn a_sampling_command_dies_with_us() {
    let server = legacy("2025-11-25", "sampling/createMessage", json!({"messages": []})).stdio();
    let sandbox = Sandbox::new();
    let words = ["call", &server.target(), "ask", "--sampling-command", "sh -c 'touch running; sleep 100 | sleep 100'"];
    let running = sandbox.mcpipe(words).start();
    let end = std::time::Instant::now() + Duration::from_secs(10);
    while !sandbox.work().join("running").exists() {
        assert!(std::time::Instant::now() < end, "the command never ran");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::INT);
    // The sandbox checks that no process is left behind.
    running.wait().exits(130);
}

/// Commands that read what is typed say so, and show no progress line over it.
#[test]
fn what_is_read_from_a_terminal_is_named() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let target = server.target();
    let awaits = |words: &[&str], what: &str| {
        let mut terminal = sandbox.mcpipe(words).args(["--color", "never"]).at_terminal(TerminalStreams::ALL);
        terminal.wait_for(&format!("reading {what} from standard input; Ctrl-D ends it")).type_keys("\u{4}");
        let seen = terminal.wait();
        assert!(!seen.final_screen().contains("calling"), "{}", seen.final_screen());
    };
    awaits(&["call", &target, "--batch", "-"], "calls, one JSON object a line,");
    awaits(&["call", &target, "--tool-use", "-"], "a model's response");
    awaits(&["bridge", &target], "messages of an MCP client");
    awaits(&["call", &target, "echo", "--args", "-"], "the arguments as JSON");
    awaits(&["call", &target, "echo", "text=@-"], "the value of text");
    awaits(&["call", &target, "echo", "text=x", "--elicit", "@-"], "the values of --elicit as JSON");
    awaits(&["prompt", &target, "greet", "who=@-"], "the value of who");
    awaits(&["request", &target, "tools/list", "-"], "the parameters as JSON");
}
