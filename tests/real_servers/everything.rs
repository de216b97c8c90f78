//! Every tool, prompt and resource of the reference server, over each of its transports: no response is lost or
//! changed, and its requests are answered.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::pty::TerminalStreams;
use crate::support::real::{ListeningServer, everything_server, node_package_file, node_program, real_test_file};
use crate::support::{Run, Sandbox};

/// The expected exit code and output of a command; `…` stands for anything.
type CommandRow = (&'static [&'static str], i32, &'static str);

const ROWS: &[CommandRow] = &[
    (&["call", "echo", "message=a b"], 0, "Echo: a b\n"),
    (
        &["call", "get-annotated-message", "messageType=error", "includeImage=true"],
        0,
        "Error: Operation failed\n[image/png, 4.0 kB; --save DIR writes it]\n",
    ),
    (&["call", "get-env"], 0, "{\n…\n}\n"),
    (
        &["call", "get-resource-links", "count=2"],
        0,
        "Here are 2 resource links to resources available in this server:\n\
         […demo://resource/dynamic/blob/1, text/plain]\n[…demo://resource/dynamic/text/2, text/plain]\n",
    ),
    (
        &["call", "get-resource-reference", "resourceType=Text", "resourceId=2"],
        0,
        "Returning resource reference for Resource 2:\n…Resource 2: This is a plaintext resource…",
    ),
    (
        &["call", "get-resource-reference", "resourceType=Blob", "resourceId=2"],
        0,
        "Returning…\n[demo://resource/dynamic/blob/2, text/plain, … B; --save DIR writes it]\n…",
    ),
    (
        &["call", "get-structured-content", "location=Chicago", "--structured", "--strict"],
        0,
        "{\"temperature\":36,\"conditions\":\"Light rain / drizzle\",\"humidity\":82}\n",
    ),
    (&["call", "get-sum", "a=2", "b=40"], 0, "The sum of 2 and 40 is 42.\n"),
    (&["call", "get-tiny-image"], 0, "Here's the image you requested:\n[image/png, 4.0 kB; --save DIR writes it]\n…"),
    (
        &["call", "gzip-file-as-resource", "name=x.gz", "data=data:text/plain,hello", "outputType=resource"],
        0,
        "[demo://resource/session/x.gz, application/gzip, 25 B; --save DIR writes it]\n",
    ),
    (&["call", "toggle-simulated-logging", "--log-level", "debug"], 0, "Started simulated…"),
    (&["call", "toggle-subscriber-updates"], 0, "Started simulated resource updated…"),
    (
        &["call", "trigger-long-running-operation", "duration=3", "steps=12", "--timeout", "2s"],
        0,
        "Long running operation completed. Duration: 3 seconds, Steps: 12.\n",
    ),
    (&["call", "get-roots-list", "--root", "."], 0, "Current MCP Roots (1 total):\n…URI: file:///…"),
    (
        &["call", "trigger-elicitation-request", "--elicit", "{\"name\":\"Ada\",\"check\":true}"],
        0,
        "✅ User provided the requested information!\n…- Name: Ada\n- Agreed to terms: true\n- Favorite Integer: 42\n…",
    ),
    (&["call", "trigger-elicitation-request", "--elicit", "decline"], 8, "❌ User declined…"),
    (
        &["call", "trigger-sampling-request", "prompt=hi", "--sampling-command", "./sample"],
        0,
        "LLM sampling result: \n…\"text\": \"sampled\"…",
    ),
    (&["call", "simulate-research-query", "topic=rust"], 0, "# Research Report: rust\n…"),
    (
        &[
            "call",
            "simulate-research-query",
            "topic=python",
            "ambiguous=true",
            "--elicit",
            "{\"interpretation\":\"snake\"}",
        ],
        0,
        "# Research Report: python (snake)\n…",
    ),
    (&["call", "no-such-tool"], 1, ""),
    (&["call", "get-sum", "a=2"], 2, ""),
    (&["prompt", "simple-prompt"], 0, "[user]\nThis is a simple prompt without arguments.\n"),
    (&["prompt", "args-prompt", "city=Oslo", "state=N"], 0, "[user]\nWhat's weather in Oslo, N?\n"),
    (
        &["prompt", "completable-prompt", "department=Engineering", "name=Alice"],
        0,
        "[user]\nPlease promote Alice to the head of the Engineering team.\n",
    ),
    (&["prompt", "completable-prompt", "department=Engineering", "--complete", "name="], 0, "Alice\nBob\nCharlie\n"),
    (
        &["prompt", "resource-prompt", "resourceType=Text", "resourceId=1"],
        0,
        "[user]\nThis prompt includes the Text resource with id: 1.…[user]\nResource 1: This is a plaintext…",
    ),
    (&["read", "demo://resource/dynamic/text/7"], 0, "Resource 7: This is a plaintext resource…"),
    (&["read", "demo://resource/dynamic/text/{resourceId}", "resourceId=3"], 0, "Resource 3: This is a plaintext…"),
    (&["read", "demo://resource/dynamic/blob/7"], 0, "Resource 7: This is a base64 blob…"),
    (&["read", "demo://resource/static/document/features.md"], 0, "# Everything Server - Features\n…"),
    (&["read", "demo://resource/nowhere"], 1, ""),
];

/// Whether the text matches the pattern, in which `…` stands for anything.
fn fits(text: &str, pattern: &str) -> bool {
    let mut pieces = pattern.split('…');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else { return rest.is_empty() };
    for piece in pieces {
        match rest.split_once(piece) {
            Some((_, behind)) => rest = behind,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Runs every row, and checks that no tool, prompt or resource of the server is missing.
fn run_rows(sandbox: &Sandbox, run: impl Fn(&[&str]) -> Run) {
    let script = sandbox.file(
        "sample",
        "#!/bin/sh\ncat >/dev/null\n\
         echo '{\"model\":\"m\",\"role\":\"assistant\",\"content\":{\"type\":\"text\",\"text\":\"sampled\"}}'\n",
    );
    std::fs::set_permissions(script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (words, code, pattern) in ROWS {
        let done = run(words);
        assert!(
            done.code() == *code && fits(done.stdout(), pattern),
            "{words:?}: expected {code} {pattern:?}: {done:?}"
        );
    }
    let listed = run(&["list", "--all", "--elicit", "accept", "--sampling-command", "./sample", "--root", "."]);
    for line in listed.exits(0).stdout().lines() {
        let mut fields = line.split('\t');
        let (kind, name) = (fields.next().unwrap(), fields.next().unwrap());
        // One document stands for all documents, and one id for the templates.
        let known = match kind {
            "resources" | "resource templates" => ROWS.iter().any(|row| row.0[0] == "read" && alike(row.0[1], name)),
            // `list` declares everything; this tool can only be called at a terminal (see below).
            _ => name == "trigger-url-elicitation" || ROWS.iter().any(|row| row.0[1] == name),
        };
        assert!(known, "the server has a {kind} that no row uses: {name}");
    }
}

/// Whether two URIs are in the same directory.
fn alike(one: &str, other: &str) -> bool {
    one.rsplit_once('/').map(|(directory, _)| directory) == other.rsplit_once('/').map(|(directory, _)| directory)
}

fn listening(sandbox: &Sandbox, kind: &str) -> ListeningServer {
    let script = node_package_file("@modelcontextprotocol/server-everything/dist/index.js");
    let words = [node_program(), "--require".to_owned(), real_test_file("loopback.cjs"), script, kind.to_owned()];
    ListeningServer::start(sandbox, &words, &[("PORT", "PORT")])
}

fn over_the_network(kind: &str, path: &str, transport: &str) {
    let sandbox = Sandbox::new();
    let server = listening(&sandbox, kind);
    let url = server.url(path);
    run_rows(&sandbox, |words| {
        let words = [&words[..1], &[url.as_str(), "--transport", transport], &words[1..]].concat();
        sandbox.mcpipe(words).timeout(Duration::from_secs(60)).run()
    });
}

#[test]
fn over_stdio() {
    let sandbox = Sandbox::new();
    run_rows(&sandbox, |words| {
        sandbox.mcpipe(words).arg("--").args(everything_server()).timeout(Duration::from_secs(60)).run()
    });
}

#[test]
fn over_streamable_http() {
    over_the_network("streamableHttp", "/mcp", "http");
}

#[test]
fn over_http_sse() {
    over_the_network("sse", "/sse", "sse");
}

/// The tool that is offered only to clients that can visit pages: rejected until a page was visited (-32042,
/// `ELI-07`), the call is sent again and requires another page.
#[test]
fn pages_to_visit_at_a_terminal() {
    let sandbox = Sandbox::new();
    let words = ["call", "trigger-url-elicitation", "url=https://example.com/in", "errorPath=true", "--"];
    let mut terminal = sandbox
        .mcpipe(words)
        .args(everything_server())
        .env("NO_COLOR", "1")
        .env("BROWSER", "sh -c 'echo \"$1\" >> opened' x")
        .at_terminal(TerminalStreams::ALL);
    terminal.wait_for("https://modelcontextprotocol.io").wait_for("Open it?").type_keys("y\n");
    terminal.wait_for("Press Enter").type_keys("\n");
    terminal.wait_for("https://example.com/in").wait_for("Open it?").type_keys("y\n");
    let seen = terminal.wait();
    assert!(seen.exits(0).final_screen().contains("User completed the URL elicitation flow."), "{}", seen.screen);
    let opened = std::fs::read_to_string(sandbox.work().join("opened")).unwrap();
    assert_eq!(opened, "https://modelcontextprotocol.io/\nhttps://example.com/in\n");
}

/// The examples of the help for this server do exactly what they say.
#[test]
fn the_examples_of_the_help_work() {
    let sandbox = Sandbox::new();
    sandbox.file("state.txt", "Bern");
    let add = sandbox.mcpipe(["config", "add", "demo", "--"]).args(everything_server()).run();
    add.exits(0);
    let binary = Path::new(env!("CARGO_BIN_EXE_mcpipe")).parent().unwrap();
    let mut tried = 0;
    for words in [&[][..], &["read"], &["prompt"]] {
        let help = sandbox.mcpipe(words).arg("--help").run().stdout().replace("\\\n    ", "");
        for line in help.lines().map(str::trim).filter(|line| line.starts_with("mcpipe ") && line.contains(" demo")) {
            // Text after the columns is a comment.
            let line = line.split("   ").next().unwrap();
            if line.contains("config add") || line.contains("--watch") {
                continue;
            }
            let like = sandbox.mcpipe(["x"]);
            let like = like.command(&[]);
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", line]).env_clear().current_dir(sandbox.work());
            shell.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
            shell.env("PATH", format!("{}:/usr/bin:/bin", binary.display()));
            let output = shell.output().unwrap();
            assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
            let written = line.contains('>') || line.contains(" -o ");
            assert_eq!(output.stdout.is_empty(), written, "{line}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried}");
    for (file, part) in [("features.md", "# Everything Server"), ("x", "Resource 7: "), ("messages.json", "Bern")] {
        let text = std::fs::read_to_string(sandbox.work().join(file)).unwrap();
        assert!(text.contains(part), "{file}: {text}");
    }
}
