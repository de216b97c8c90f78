//! Tables, a progress line that leaves nothing behind, and readers that close the pipe.

use std::io::Read;
use std::process::Stdio;
use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, ProcessEvent, Sandbox, ServerAction, StdioServer};

fn words(count: usize) -> String {
    (0..count).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ")
}

/// A tool with many parameters that have long descriptions.
fn server_with_long_descriptions() -> StdioServer {
    let property = |n: usize| (format!("parameter_{n}"), json!({"type": "string", "description": words(80)}));
    let properties: serde_json::Map<String, Value> = (0..40).map(property).collect();
    let tool = json!({"name": "wordy", "description": words(200),
        "inputSchema": {"type": "object", "properties": properties}});
    Mcp::modern().tools(json!([tool])).stdio()
}

#[test]
fn a_tool_in_full_is_cut_nowhere() {
    let server = server_with_long_descriptions();
    let sandbox = Sandbox::new();
    for columns in [80, 40] {
        let run = sandbox.mcpipe(["list", &server.target(), "wordy"]);
        let seen = run.at_terminal_with_columns(columns, TerminalStreams::ALL).wait();
        let text = seen.exits(0).final_screen();
        assert!(!text.contains('…'), "{text}");
        assert_eq!(text.matches("word79").count(), 41, "{text}");
    }
}

#[test]
fn an_overview_has_one_line_for_each_tool() {
    let server = server_with_long_descriptions();
    for columns in [60, 80, 200] {
        let run = Sandbox::new().mcpipe(["list", &server.target()]).env("NO_COLOR", "1");
        let seen = run.at_terminal_with_columns(columns, TerminalStreams::ALL).wait();
        let text = seen.exits(0).final_screen_within(usize::from(columns));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("NAME   DESCRIPTION"), "{text}");
        assert!(lines[1].starts_with("wordy  word0 word1 ") && lines[1].ends_with('…'), "{text}");
        assert!(lines[1].contains("  parameter_0?") && lines[1].chars().count() <= usize::from(columns), "{text}");
        let words: Vec<&str> = lines[1].split([' ', '…', ',', '?']).collect();
        assert!(!words.contains(&"wor") && !words.contains(&"parameter"), "cut between words: {text}");
    }
}

#[test]
fn messages_are_wrapped_between_words_but_not_in_a_command() {
    let run = Sandbox::new().mcpipe(["list", "cd a-directory && ./server --log-level debug"]).env("NO_COLOR", "1");
    let seen = run.at_terminal_with_columns(60, TerminalStreams::ALL).wait();
    assert_eq!(
        seen.exits(5).final_screen_within(60).lines().collect::<Vec<_>>(),
        [
            "mcpipe: error: cannot start 'cd'",
            "  No such file or directory (os error 2)",
            "hint: no shell is run; to use one, replace the command with:",
            "  -- sh -c 'cd a-directory && ./server --log-level debug'",
        ]
    );
}

#[test]
fn a_description_is_wrapped_between_words() {
    let server = server_with_long_descriptions();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "wordy"]).env("NO_COLOR", "1");
    let seen = run.at_terminal_with_columns(60, TerminalStreams::ALL).wait();
    let text = seen.exits(0).final_screen_within(60);
    for word in (0..20).map(|number| format!("word{number}")) {
        assert!(text.split_whitespace().any(|found| found == word), "{word} in {text}");
    }
}

#[test]
fn an_address_is_never_broken() {
    let uri = format!("demo://{}", "a/long/path/".repeat(8));
    let listed = json!({"resources": [{"uri": uri, "name": "a resource", "mimeType": "text/plain"}],
        "ttlMs": 0, "cacheScope": "private"});
    let server = Mcp::modern().on("resources/list", move |call| call.result(listed.clone())).stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--resources"]).env("NO_COLOR", "1");
    let seen = run.at_terminal_with_columns(60, TerminalStreams::ALL).wait();
    assert!(seen.exits(0).screen.contains(&format!("URI   {uri}\r\n")), "{:?}", seen.screen);
}

#[test]
fn a_narrow_terminal_gets_records() {
    let server = Mcp::modern().stdio();
    let seen = Sandbox::new()
        .mcpipe(["list", &server.target(), "--resources"])
        .at_terminal_with_columns(36, TerminalStreams::ALL)
        .wait();
    let expected = "URI          demo://hello\nNAME         hello\nTYPE         text/plain\nDESCRIPTION  A greeting\n\n\
                    URI          demo://logo\nNAME         logo\nTYPE         image/png";
    assert_eq!(seen.exits(0).final_screen(), expected);
}

/// At a narrow terminal, no word and no address is broken, and only what another command shows in full is cut.
#[test]
fn a_narrow_terminal_breaks_no_word() {
    let url = "https://example.com/some/path/that/is/long/to/README.md";
    let property = json!({"type": "string", "default": url, "description": words(12)});
    let tool = json!({"name": "fetch", "description": words(12),
        "inputSchema": {"type": "object", "properties": {"location": property}},
        "annotations": {"readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": true}});
    let uri = "demo://resource/static/document/architecture/overview.md";
    let server = Mcp::modern()
        .tools(json!([tool]))
        .on("resources/list", move |call| {
            let resource = json!({"uri": uri, "name": words(9), "mimeType": "text/markdown", "description": words(12)});
            call.result(json!({"resources": [resource], "ttlMs": 0, "cacheScope": "private"}))
        })
        .on("prompts/list", |call| {
            let prompt = json!({"name": "explain", "description": words(20), "arguments": [{"name": "subject"}]});
            call.result(json!({"prompts": [prompt], "ttlMs": 0, "cacheScope": "private"}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.a]\nurl = \"{url}\"\n[servers.b]\nurl = \"http://localhost:1/\"\n"));
    let shown = |words: &[&str]| {
        let run = sandbox.mcpipe(words).env("NO_COLOR", "1");
        let screen = run.at_terminal_with_columns(60, TerminalStreams::ALL).wait().exits(0).final_screen();
        // The command of the example is not broken.
        let screen = screen.split("\nExample\n").next().unwrap().to_owned();
        assert!(screen.lines().all(|line| line.chars().count() <= 60), "{screen}");
        screen
    };
    let target = server.target();
    expect![[r#"
        NAME       a
        TRANSPORT  http
        TARGET
          https://example.com/some/path/that/is/long/to/README.md
        SOURCE     ~/.config/mcpipe/config.toml:1
        STATE      enabled

        NAME       b
        TRANSPORT  http
        TARGET     http://localhost:1/
        SOURCE     ~/.config/mcpipe/config.toml:3
        STATE      enabled"#]]
    .assert_eq(&shown(&["config", "list"]));
    expect![[r#"
        URI
          demo://resource/static/document/architecture/overview.md
        NAME         word0 word1 word2 word3 word4 word5 word6 word7
                     word8
        TYPE         text/markdown
        DESCRIPTION  word0 word1 word2 word3 word4 word5 word6 word7
                     word8 word9 word10 word11"#]]
    .assert_eq(&shown(&["list", &target, "--resources"]));
    expect![[r#"
        NAME     DESCRIPTION                               ARGUMENTS
        explain  word0 word1 word2 word3 word4 word5       subject?
                 word6 word7 word8 word9 word10 word11
                 word12 word13 word14 word15 word16
                 word17 word18 word19"#]]
    .assert_eq(&shown(&["list", &target, "--prompts"]));
    expect![[r#"
        fetch

        word0 word1 word2 word3 word4 word5 word6 word7 word8 word9
        word10 word11

        Annotations (claimed by the server, not verified)
        read-only: yes, destructive: no, idempotent: yes, open
        world: yes

        Parameters
        NAME         location
        TYPE         string
        REQUIRED     optional
        DEFAULT
          "https://example.com/some/path/that/is/long/to/README.md"
        DESCRIPTION  word0 word1 word2 word3 word4 word5 word6 word7
                     word8 word9 word10 word11
    "#]]
    .assert_eq(&shown(&["list", &target, "fetch"]));
}

#[test]
fn an_interrupt_leaves_no_progress_behind() {
    let server = Mcp::modern().on("tools/call", |_| vec![ServerAction::Pause(Duration::from_secs(30))]).stdio();
    let mut terminal = Sandbox::new().mcpipe(["call", &server.target(), "fail"]).at_terminal(TerminalStreams::ALL);
    terminal.wait_for("waiting for").type_keys("\u{3}");
    let seen = terminal.wait();
    let text = seen.exits(130).final_screen_within(80);
    assert!(!text.contains("waiting"), "{text:?}\n{:?}", seen.screen);
    assert!(text.contains("mcpipe: error: interrupted"), "{text:?}");
}

#[test]
fn the_progress_line_is_gone_before_a_reader_behind_a_pipe_prints() {
    // The server is slow to exit too: nothing is drawn after the result.
    let mcp = Mcp::modern().on("tools/list", |call| {
        let tools = json!([{"name": "late", "inputSchema": {"type": "object"}}]);
        let answer = call.result(json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"}));
        std::iter::once(ServerAction::Pause(Duration::from_millis(900))).chain(answer).collect()
    });
    let mcp = std::sync::Arc::new(mcp);
    let server = StdioServer::start(move |process, event| match event {
        ProcessEvent::Line(line) => {
            let message: Value = serde_json::from_str(&line).unwrap();
            crate::support::mcp::play_actions(&mcp, process, mcp.handle(&message));
        }
        ProcessEvent::Eof => {
            std::thread::sleep(Duration::from_millis(700));
            process.exit(0);
        }
        ProcessEvent::Started | ProcessEvent::Signal(_) => {}
    });
    let seen = Sandbox::new().mcpipe(["list", &server.target(), "late"]).at_terminal(TerminalStreams::PIPED).wait();
    assert!(seen.exits(0).piped.starts_with(b"late\n"), "{:?}", seen.piped);
    // Drawn once, removed once, and not drawn again.
    let (_, behind) = seen.screen.rsplit_once("querying").expect("it takes long enough to be seen");
    assert_eq!(behind.matches("\u{1b}[2K").count(), 1, "{:?}", seen.screen);
    assert_eq!(seen.final_screen(), "");
}

#[test]
fn a_watch_ends_when_nobody_reads_any_more() {
    let quiet = || {
        Mcp::legacy("2025-11-25")
            .capabilities(json!({"resources": {"subscribe": true}, "tools": {"listChanged": true}}))
            .on("resources/subscribe", |call| call.result(json!({})))
            .on("tools/call", |_| vec![ServerAction::Pause(Duration::from_secs(30))])
            .stdio()
    };
    let sandbox = Sandbox::new();
    for words in [&["read", "demo://hello", "--watch"][..], &["list", "--watch"], &["call", "fail", "--events", "-"]] {
        let server = quiet();
        let run = sandbox.mcpipe([words[0], &server.target()]).args(&words[1..]);
        let mut command = run.command(&[]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = child.stdout.take().unwrap();
        if words.contains(&"--watch") {
            stdout.read_exact(&mut [0; 4]).unwrap();
        }
        drop(stdout);
        let start = Instant::now();
        let mut complaint = String::new();
        child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
        assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(0), ""), "{words:?}");
        assert!(start.elapsed() < Duration::from_secs(10), "{words:?}");
    }
}

/// Several lists at a terminal each have a heading; nothing comes before the first.
#[test]
fn all_lists_begin_with_their_first_heading() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--all"]).env("NO_COLOR", "1");
    let screen = run.at_terminal(TerminalStreams::ALL).wait().exits(0).final_screen().replace("\r\n", "\n");
    assert!(screen.trim_start_matches('\n').starts_with("tools\nNAME"), "{screen}");
    assert!(!screen.starts_with('\n') && screen.contains("\n\nresources\n"), "{screen}");
}

/// A watch at a terminal says how to end it, and separates the versions.
#[test]
fn a_watch_at_a_terminal_separates_versions() {
    let server = Mcp::legacy("2025-11-25")
        .capabilities(json!({"resources": {"subscribe": true}}))
        .on("resources/subscribe", |call| {
            let update = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
                "params": {"uri": call.params()["uri"]}});
            let mut actions = call.result(json!({}));
            actions.extend([ServerAction::Pause(Duration::from_millis(300)), ServerAction::Send(update)]);
            actions
        })
        .on("resources/read", |call| {
            call.result(json!({"contents": [{"uri": "demo://a", "text": format!("version {}", call.n)}]}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    let mut terminal = sandbox
        .mcpipe(["read", &server.target(), "demo://a", "--watch"])
        .env("NO_COLOR", "1")
        .at_terminal(TerminalStreams::ALL);
    terminal.wait_for("version 1");
    terminal.type_keys("\u{3}");
    let screen = terminal.wait().exits(130).final_screen().replace("\r\n", "\n");
    assert!(screen.starts_with("version 0\nwatching; press Ctrl-C to stop\n\ndemo://a\nversion 1\n"), "{screen}");
}
