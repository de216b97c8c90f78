//! `list` without a target: an overview of forty servers, many of which fail.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::pty::TerminalStreams;
use crate::support::tls::CertificateAuthority;
use crate::support::{HttpServer, Mcp, ProcessEvent, Reply, Sandbox, StdioServer};

/// Scripted servers of every kind, and the configuration that names them `<kind>-<n>`.
struct ServerFleet {
    sandbox: Sandbox,
    _http: Vec<HttpServer>,
    stdio: Vec<StdioServer>,
    _protected: ProtectedServer,
    /// The names, and the state that each row must show.
    wanted: Vec<(String, &'static str)>,
}

fn stdio_entry(server: &StdioServer) -> String {
    let words = server.words();
    format!("command = {:?}\nargs = [{:?}]\n", words[0], words[1])
}

fn fleet() -> ServerFleet {
    let fine = Mcp::modern().http();
    let old = Mcp::legacy("2025-03-26").http();
    let silent = HttpServer::start(|_| Reply::never());
    let html = HttpServer::start(|_| Reply::text("text/html", "<html><title>Welcome</title></html>"));
    let busy = HttpServer::start(|_| Reply::status(500));
    let process = Mcp::legacy("2025-11-25").stdio();
    let deaf = StdioServer::start(|process, event| {
        if event == ProcessEvent::Started {
            process.trap_signals();
            process.spawn_grandchild();
        }
    });
    let dying = StdioServer::start(|process, event| {
        if let ProcessEvent::Line(_) = event {
            process.write_stderr("out of memory\n");
            process.exit(3);
        }
    });
    let chatty = StdioServer::start(|process, event| {
        if let ProcessEvent::Line(_) = event {
            process.write("{\"jsonrpc\": \"2.0\", \"id\": 99, \"result\": {}}\nhello\n".repeat(3));
            process.exit(0);
        }
    });
    let protected = ProtectedServer::start();
    let url = |server: &HttpServer| format!("url = {:?}\n", server.url("/mcp"));
    let kinds: Vec<(&str, usize, String, &'static str)> = vec![
        ("chatty", 2, stdio_entry(&chatty), "protocol"),
        ("dying", 4, stdio_entry(&dying), "unreachable"),
        ("fine", 8, url(&fine), "ok"),
        ("gone", 2, "command = \"/nowhere/server\"\n".to_owned(), "unreachable"),
        ("hanging", 5, url(&silent), "timeout"),
        ("html", 3, url(&html), "protocol"),
        ("login", 3, format!("url = {:?}\n", protected.url()), "auth"),
        ("mute", 4, stdio_entry(&deaf), "timeout"),
        ("old", 3, url(&old), "ok"),
        ("process", 3, stdio_entry(&process), "ok"),
        ("refused", 1, "url = \"http://127.0.0.1:1/mcp\"\n".to_owned(), "unreachable"),
        ("sick", 1, url(&busy), "unreachable"),
        ("unset", 1, "url = \"https://${NOT_SET}/mcp\"\n".to_owned(), "config"),
    ];
    let sandbox = Sandbox::new();
    let (mut text, mut wanted) = (String::new(), Vec::new());
    for (kind, count, entry, state) in &kinds {
        for n in 0..*count {
            write!(text, "[servers.{kind}-{n}]\n{entry}").unwrap();
            wanted.push((format!("{kind}-{n}"), *state));
        }
    }
    assert_eq!(wanted.len(), 40);
    text.push_str("[servers.off]\ndisabled = true\ncommand = \"/nowhere/off\"\n");
    sandbox.config(&text);
    ServerFleet {
        sandbox,
        _http: vec![fine, old, silent, html, busy],
        stdio: vec![process, deaf, dying, chatty],
        _protected: protected,
        wanted,
    }
}

const LIMIT: [&str; 5] = ["list", "--connect-timeout", "2s", "--timeout", "2s"];

#[test]
fn forty_servers_are_forty_rows_whatever_becomes_of_them() {
    let fleet = fleet();
    let run = fleet.sandbox.mcpipe(LIMIT).args(["--retries", "0", "--json"]).run();
    // The first failure in the order of names sets the exit code.
    let document = run.exits(7).json();
    let rows = document["servers"].as_array().unwrap();
    let found: Vec<(String, &str)> =
        rows.iter().map(|row| (row["name"].as_str().unwrap().to_owned(), row["state"].as_str().unwrap())).collect();
    assert_eq!(found, fleet.wanted);
    for row in rows.iter().filter(|row| row["state"] == "ok") {
        assert_eq!((&row["tools"], &row["error"]), (&json!(5), &Value::Null), "{row}");
    }
    for row in rows.iter().filter(|row| row["state"] != "ok") {
        assert_eq!((&row["error"]["class"], &row["error"]["server"]), (&row["state"], &row["name"]), "{row}");
        assert!(row["error"]["message"].as_str().is_some_and(|message| !message.is_empty()), "{row}");
    }
    let dying = rows.iter().find(|row| row["name"] == "dying-0").unwrap();
    assert_eq!(dying["error"]["stderr"], json!(["out of memory"]));
    // Nine servers hang for two seconds each: concurrently, not one after another.
    assert!(run.elapsed < Duration::from_secs(11), "{:?}", run.elapsed);
    for server in &fleet.stdio {
        server.wait_until_all_ended();
    }
}

#[test]
fn the_table_is_the_same_rows() {
    let fleet = fleet();
    let run = fleet.sandbox.mcpipe(LIMIT).args(["--retries", "0"]).run();
    run.exits(7);
    assert_eq!(run.stderr(), "", "every failure is in its row");
    let rows: Vec<Vec<&str>> = run.stdout().lines().map(|line| line.split('\t').collect()).collect();
    let found: Vec<(String, &str)> =
        rows.iter().map(|row| (row[0].to_owned(), row[7].split(':').next().unwrap())).collect();
    assert_eq!(found, fleet.wanted);
    let row = |name: &str| rows.iter().find(|row| row[0] == name).unwrap().clone();
    assert_eq!(row("fine-3")[1..6], ["http", "2026-07-28", "5", "2", "1"]);
    assert_eq!(row("process-1")[1..6], ["stdio", "2025-11-25", "5", "2", "1"]);
    assert!(row("unset-0")[7].contains("config.toml:"), "{:?}", row("unset-0"));
}

#[test]
fn a_person_sees_how_far_it_is_and_can_stop_it() {
    let fleet = fleet();
    let mut terminal = fleet
        .sandbox
        .mcpipe(["list", "--connect-timeout", "20s", "--timeout", "20s"])
        .at_terminal(TerminalStreams::ALL);
    terminal.wait_for("querying 40 servers").type_keys("\u{3}");
    let seen = terminal.wait();
    seen.exits(130);
    assert!(!seen.final_screen().contains("querying"), "the line is taken away: {}", seen.final_screen());
    // Few at once, so that the last few do not end together.
    let options = ["--retries", "0", "--color", "never", "--jobs", "8"];
    let mut terminal = fleet.sandbox.mcpipe(LIMIT).args(options).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("waiting for ");
    let seen = terminal.wait();
    seen.exits(7);
    let screen = seen.final_screen();
    let heads = screen.lines().next().unwrap();
    assert!(heads.starts_with("NAME") && heads.contains("STATE"), "{screen}");
    for (name, _) in &fleet.wanted {
        assert!(screen.lines().any(|line| line.starts_with(name.as_str())), "{name} is missing:\n{screen}");
    }
}

#[test]
fn nothing_is_connected_to_offline() {
    let fleet = fleet();
    let run = fleet.sandbox.mcpipe(["list", "--offline", "--json"]).run();
    let document = run.exits(3).json();
    assert_eq!(document["servers"].as_array().unwrap().len(), 40);
    assert!(fleet.stdio.iter().all(|server| server.processes().is_empty()));
}

#[test]
fn so_many_are_asked_at_a_time_as_was_said() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (busy, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = Mcp::modern()
        .on("tools/list", move |call| {
            peak.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(60));
            busy.fetch_sub(1, Ordering::SeqCst);
            call.result(json!({"tools": [], "ttlMs": 0, "cacheScope": "private"}))
        })
        .http();
    let sandbox = Sandbox::new();
    let mut servers = String::new();
    for n in 0..9 {
        write!(servers, "[servers.s{n}]\nurl = {:?}\n", server.url("/mcp")).unwrap();
    }
    for (defaults, words, wanted) in [
        ("", &["--jobs", "1"][..], 1),
        ("[defaults]\njobs = 2\n", &[], 2),
        ("[defaults]\njobs = 2\n", &["--jobs", "3"], 3),
    ] {
        sandbox.config(&format!("{defaults}{servers}"));
        most.store(0, Ordering::SeqCst);
        sandbox.mcpipe(["list"]).args(words.iter().copied()).run().exits(0);
        assert_eq!(most.load(Ordering::SeqCst), wanted, "{defaults}{words:?}");
    }
    assert_eq!(now.load(Ordering::SeqCst), 0);
}

#[test]
fn secrets_are_fetched_beside_one_another_and_once() {
    let server = Mcp::modern().http();
    let sandbox = Sandbox::new();
    let slow = sandbox.script("slow", "echo x >> slow-log; sleep 300");
    let quick = sandbox.script("quick", "echo x >> quick-log; sleep 0.3; echo value");
    let mut text = String::new();
    for n in 0..8 {
        for (kind, tool) in [("slow", &slow), ("quick", &quick)] {
            let command = format!("${{command:{} {}}}", tool.display(), if kind == "slow" { n } else { 0 });
            write!(
                text,
                "[servers.{kind}-{n}]\nurl = {:?}\nheaders = {{ X-Key = \"{command}\" }}\n",
                server.url("/mcp")
            )
            .unwrap();
        }
    }
    sandbox.config(&text);
    let run = sandbox.mcpipe(["list", "--json", "--connect-timeout", "2s"]).run();
    let document = run.exits(3).json();
    let state = |kind: &str| -> Vec<&str> {
        let rows = document["servers"].as_array().unwrap().iter();
        rows.filter(|row| row["name"].as_str().unwrap().starts_with(kind))
            .map(|row| row["state"].as_str().unwrap())
            .collect()
    };
    assert_eq!((state("quick"), state("slow")), (vec!["ok"; 8], vec!["config"; 8]));
    assert!(run.elapsed < Duration::from_secs(7), "{:?}", run.elapsed);
    let lines = |name: &str| std::fs::read_to_string(sandbox.work().join(name)).unwrap().lines().count();
    assert_eq!((lines("quick-log"), lines("slow-log")), (1, 8));
}

/// Three servers that fail: one that explains why before it exits, one that is unreachable, one that cannot be
/// started.
fn failing() -> (Sandbox, StdioServer) {
    let dying = StdioServer::start(|process, event| {
        if let ProcessEvent::Line(_) = event {
            process.write_stderr("starting\nFATAL: API_KEY is not set\n");
            process.exit(3);
        }
    });
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.dying]\n{}[servers.gone]\nurl = \"http://127.0.0.1:1/mcp\"\n[servers.none]\ncommand = \"/nowhere/server\"\n",
        stdio_entry(&dying)
    ));
    (sandbox, dying)
}

/// A table without the column of times and its padding.
fn without_durations(text: &str) -> String {
    let word = |word: &str| !word.is_empty() && !word.ends_with(" ms") && !word.ends_with(" s") && word != "TIME";
    let line = |line: &str| match line.strip_prefix("    ") {
        Some(_) => line.to_owned(),
        None => line.split("  ").map(str::trim).filter(|part| word(part)).collect::<Vec<_>>().join("  "),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_row_says_why_a_server_failed() {
    let (sandbox, _dying) = failing();
    let run = sandbox.mcpipe(["list", "--retries", "0"]).run();
    let rows: Vec<Vec<&str>> = run.exits(5).stdout().lines().map(|line| line.split('\t').collect()).collect();
    let states: Vec<&str> = rows.iter().map(|row| *row.last().unwrap()).collect();
    expect![[r#"
        unreachable: the server process ended (exit status: 3): FATAL: API_KEY is not set
        unreachable: cannot connect to http://127.0.0.1:1/mcp: Connection refused (os error 111)
        unreachable: cannot start '/nowhere/server': No such file or directory (os error 2)"#]]
    .assert_eq(&states.join("\n"));
    for width in [80, 200] {
        let list = sandbox.mcpipe(["list", "--retries", "0", "--color", "never"]);
        let seen = list.at_terminal_with_columns(width, TerminalStreams::ALL).wait();
        let text = without_durations(&seen.exits(5).final_screen_within(usize::from(width)));
        match width {
            80 => expect![[r#"
                NAME  TRANSPORT  STATE
                dying  stdio  unreachable
                    the server process ended (exit status: 3): FATAL: API_KEY is not set
                gone  http  unreachable
                    cannot connect to http://127.0.0.1:1/mcp: Connection refused (os error 111)
                none  stdio  unreachable
                    cannot start '/nowhere/server': No such file or directory (os error 2)"#]]
            .assert_eq(&text),
            _ => expect![[r#"
                NAME  TRANSPORT  STATE
                dying  stdio  unreachable: the server process ended (exit status: 3): FATAL: API_KEY is not set
                gone  http  unreachable: cannot connect to http://127.0.0.1:1/mcp: Connection refused (os error 111)
                none  stdio  unreachable: cannot start '/nowhere/server': No such file or directory (os error 2)"#]]
            .assert_eq(&text),
        }
    }
}

#[test]
fn a_row_has_no_empty_cells_in_a_pipe() {
    let (sandbox, _dying) = failing();
    let run = sandbox.mcpipe(["list", "--retries", "0"]).run();
    for line in run.exits(5).stdout().lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        assert_eq!((cells.len(), &cells[2..6]), (8, &["-", "-", "-", "-"][..]), "{line}");
    }
    let run = sandbox.mcpipe(["list", "--offline"]).run();
    run.exits(0)
        .prints("dying\tstdio\t-\t-\t-\t-\t-\t-\ngone\thttp\t-\t-\t-\t-\t-\t-\nnone\tstdio\t-\t-\t-\t-\t-\t-\n");
}

#[test]
fn a_server_whose_certificate_is_not_checked_is_warned_of() {
    let authority = CertificateAuthority::new();
    let config = authority.tls_config(&authority.server_certificate(&["127.0.0.1"]));
    let server = HttpServer::tls(config, Mcp::modern().http_script(LegacyHttpOptions::default()));
    let fine = Mcp::modern().http();
    let sandbox = Sandbox::new();
    let entry = |name: &str| format!("[servers.{name}]\nurl = {:?}\ninsecure = true\n", server.url("/mcp"));
    sandbox.config(&format!("{}{}[servers.c]\nurl = {:?}\n", entry("a"), entry("b"), fine.url("/mcp")));
    let warning =
        "the certificate of 127.0.0.1 is NOT verified: anyone on the network path can read and change everything";
    for quiet in [None, Some("-q")] {
        let run = sandbox.mcpipe(["list"]).args(quiet).run();
        assert_eq!(run.exits(0).stderr(), format!("mcpipe: warning: a: {warning}\nmcpipe: warning: b: {warning}\n"));
    }
    // Nothing is sent and nothing is printed.
    assert_eq!(sandbox.mcpipe(["list", "--offline"]).run().exits(0).stderr(), "");
    let run = sandbox.mcpipe(["list", "--for", "openai"]).run();
    run.exits(0).stderr_contains(&format!("warning: a: {warning}"));
}

#[test]
fn a_search_or_export_over_all_servers_says_which_one_failed() {
    let sandbox = Sandbox::new();
    let good = Mcp::modern().http();
    sandbox
        .config(&format!("[servers.bad]\nurl = \"http://127.0.0.1:1/\"\n[servers.good]\nurl = {:?}\n", good.url("/")));
    let run = sandbox.mcpipe(["list", "--grep", "echo", "--retries", "0"]).run();
    run.exits(5)
        .stderr_contains("mcpipe: error: bad: cannot connect to http://127.0.0.1:1/")
        .stdout_contains("good\techo\t");
    let run = sandbox.mcpipe(["list", "--for", "openai", "--retries", "0"]).run();
    run.exits(5).stderr_contains("mcpipe: error: bad: cannot connect to http://127.0.0.1:1/");
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

/// `--jobs 1` holds however long a server takes.
#[test]
fn one_server_at_a_time_is_never_two() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (busy, peak) = (Arc::clone(&now), Arc::clone(&most));
    let server = Mcp::modern()
        .on("tools/list", move |call| {
            peak.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(150));
            busy.fetch_sub(1, Ordering::SeqCst);
            call.result(json!({"tools": [], "ttlMs": 0, "cacheScope": "private"}))
        })
        .http();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.a]\nurl = '{0}'\n[servers.b]\nurl = '{0}'\n", server.url("/mcp")));
    sandbox.mcpipe(["list", "--jobs", "1"]).run().exits(0);
    assert_eq!(most.load(Ordering::SeqCst), 1);
}
