//! When the lines of a batch are sent: they are read and prepared ahead, but sent when it is their turn.

use std::io::Read;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::mcp::play_actions;
use crate::support::{ClientMessage, Mcp, ProcessEvent, Run, Sandbox, StdioServer};

fn echo(text: &str) -> String {
    json!({"tool": "echo", "arguments": {"text": text}, "id": text}).to_string() + "\n"
}

/// `id`, and the outcome: the kind of the error, or `result`.
fn outcomes(run: &Run) -> Vec<(String, String)> {
    let outcome = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let class = line["error"]["class"].as_str().unwrap_or("result");
        (line["id"].as_str().unwrap().to_owned(), class.to_owned())
    };
    run.stdout().lines().map(outcome).collect()
}

fn called(server: &StdioServer) -> Vec<String> {
    let calls = server.single_process().messages().into_iter().filter(|message| message["method"] == "tools/call");
    calls.map(|call| call["params"]["arguments"]["text"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A server that takes a moment for each request, and the most requests that it has had at once.
fn counting(mcp: Mcp) -> (StdioServer, Arc<AtomicUsize>) {
    let mcp = Arc::new(mcp);
    let (current, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            if message.get("id").is_none() {
                return play_actions(&mcp, process, mcp.handle(&message));
            }
            seen.fetch_max(current.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let (mcp, process, current) = (mcp.clone(), process.clone(), current.clone());
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(10));
                current.fetch_sub(1, Ordering::SeqCst);
                play_actions(&mcp, &process, mcp.handle(&message));
            });
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    (server, most)
}

#[test]
fn a_server_has_no_more_requests_at_once_than_jobs() {
    let calls: String = (0..40).map(|n| echo(&n.to_string())).collect();
    let other = concat!(
        "{\"read\":\"file:///a.txt\",\"id\":\"read\"}\n",
        "{\"prompt\":\"none\",\"id\":\"prompt\"}\n",
        "{\"request\":\"tools/list\",\"id\":\"request\"}\n",
        // The tools are listed again.
        "{\"tool\":\"none\",\"id\":\"none\"}\n",
    );
    for jobs in [1, 3, 8] {
        for (input, count) in [(calls.clone(), 40), ((echo("a") + other).repeat(5), 25)] {
            for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
                let (server, most) = counting(mcp);
                let words = ["call", &server.target(), "--batch", "-", "--jobs", &jobs.to_string()];
                let run = Sandbox::new().mcpipe(words).stdin(&*input).run();
                assert_eq!(outcomes(&run).len(), count, "{run:?}");
                let most = most.load(Ordering::SeqCst);
                assert!(most <= jobs && (jobs == 1 || most > 1), "{most} with --jobs {jobs}");
            }
        }
    }
}

#[test]
fn an_interrupt_leaves_out_the_lines_that_were_not_sent() {
    for count in [4, 20] {
        let server = Mcp::modern().on("tools/call", |_| vec![]).stdio();
        let sandbox = Sandbox::new();
        let input = (0..count).map(|n| echo(&n.to_string())).collect::<String>() + "not JSON\n";
        let words = ["call", &server.target(), "--batch", "-", "--jobs", "2"];
        let running = sandbox.mcpipe(words).stdin(input).start();
        server.wait_for("two calls", |seen| {
            seen.first().is_some_and(|one| one.methods().iter().filter(|method| *method == "tools/call").count() == 2)
        });
        std::thread::sleep(Duration::from_millis(50));
        running.signal(rustix::process::Signal::INT);
        let run = running.wait();
        run.exits(130).stderr_contains("interrupted");
        let mut all = outcomes(&run);
        all.sort();
        let interrupted = |id: &str| (id.to_owned(), "interrupted".to_owned());
        assert_eq!(all, [interrupted("0"), interrupted("1")]);
        assert_eq!(called(&server), ["0", "1"]);
    }
}

#[test]
fn each_line_is_reported_once_if_the_server_dies() {
    let mcp = Arc::new(Mcp::modern());
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) if line.contains("\"20\"") => process.exit(3),
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => process.exit(0),
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let input: String = (0..40).map(|n| echo(&n.to_string())).collect();
    let words = ["call", &server.target(), "--batch", "-", "--jobs", "3", "--ordered"];
    let run = Sandbox::new().mcpipe(words).stdin(input).run();
    let all = outcomes(run.exits(1));
    assert_eq!(
        all.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>(),
        (0..40).map(|n| n.to_string()).collect::<Vec<_>>()
    );
    let unreachable = |(_, outcome): &(String, String)| outcome == "unreachable";
    assert!(all[20..].iter().all(unreachable) && !all[..18].iter().any(unreachable), "{all:?}");
}

/// A call that was prepared ahead is checked again if the list of tools has been fetched since.
#[test]
fn a_call_is_checked_against_the_list_that_is_known_when_it_is_sent() {
    let listed = |call: &ClientMessage| {
        let schema = |kind: &str| json!({"type": "object", "properties": {"text": {"type": kind}}});
        let mut tools =
            vec![json!({"name": "echo", "inputSchema": schema(if call.n == 0 { "string" } else { "integer" })})];
        if call.n > 0 {
            tools.push(json!({"name": "late", "inputSchema": {"type": "object"}}));
        }
        call.result(json!({"tools": tools}))
    };
    let server =
        Mcp::legacy("2025-11-25").on("tools/list", listed).on("tools/call", |call| call.text(call.tool())).stdio();
    let input = echo("first") + "{\"tool\":\"late\",\"id\":\"late\"}\n" + &echo("last");
    let run = Sandbox::new().mcpipe(["call", &server.target(), "--batch", "-", "--jobs", "1"]).stdin(input).run();
    let outcome = |id: &str, outcome: &str| (id.to_owned(), outcome.to_owned());
    assert_eq!(
        outcomes(run.exits(1)),
        [outcome("first", "result"), outcome("late", "result"), outcome("last", "usage")]
    );
    assert_eq!(called(&server), ["first", ""]);
}

#[test]
fn calls_wait_for_a_reader_that_takes_its_time() {
    let server = Mcp::modern().on("tools/call", |call| call.text(&"x".repeat(40_000))).stdio();
    let sandbox = Sandbox::new();
    sandbox.file("calls", (0..60).map(|n| echo(&n.to_string())).collect::<String>());
    let mcpipe = sandbox.mcpipe(["call", &server.target(), "--batch", "calls", "--jobs", "2"]);
    let mut child = mcpipe.command(&[]).stdout(Stdio::piped()).spawn().unwrap();
    let calls = |seen: &[String]| seen.iter().filter(|method| *method == "tools/call").count();
    server.wait_for("three calls", |seen| seen.first().is_some_and(|one| calls(&one.methods()) >= 3));
    std::thread::sleep(Duration::from_millis(200));
    // Those in the pipe, those that are being printed, and those that wait to be.
    let count = calls(&server.processes()[0].methods());
    assert!(count <= 8, "{count} calls");
    let mut out = String::new();
    child.stdout.as_mut().unwrap().read_to_string(&mut out).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(out.lines().count(), 60);
}
