//! The reports of `test` for other programs: JUnit against its schema, and the HTML page.

use std::path::Path;
use std::process::Command;

use expect_test::expect;
use serde_json::json;

use crate::support::{Mcp, Sandbox};

/// Asserts that a JUnit report follows the schema beside this file.
#[track_caller]
pub fn follows_the_junit_schema(path: &Path) {
    let (valid, errors) = validate(path);
    assert!(valid, "{errors}");
}

fn validate(path: &Path) -> (bool, String) {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/test/junit.xsd");
    let output = Command::new("xmllint").args(["--noout", "--nonet", "--schema"]).arg(schema).arg(path).output();
    let output = output.expect("xmllint runs: scripts/parts installs it");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A suite with every outcome, for a server whose texts contain markup, control characters and a secret.
fn write_suite(sandbox: &Sandbox, target: &str) {
    sandbox.file(
        "suite.toml",
        format!(
            "target = \"{target}\"\n\
             [[test]]\nname = \"fine\"\ncall = \"echo\"\nargs = {{ text = \"x\" }}\n\
             [[test]]\nname = \"<script>alert(1)</script>\"\ncall = \"echo\"\nargs = {{ text = \"x\" }}\ntext = \"${{API_TOKEN}}\"\n\
             [[test]]\nname = \"later\"\ncall = \"echo\"\nargs = {{ text = \"x\" }}\nrequires = \"effects\"\n\
             [[test]]\nname = \"gone\"\ncall = \"nope\"\n"
        ),
    );
}

fn hostile() -> Mcp {
    Mcp::legacy("2025-11-25").on("tools/call", |call| {
        call.text("<img src=x onerror=alert(2)> ]]> & \" ' \u{7} \u{202e}tfel \u{200b} secret-token-123")
    })
}

#[test]
fn a_report_is_not_written_to_standard_output() {
    for option in ["--junit", "--markdown", "--html"] {
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["test", "./server", option, "-"]).run();
        run.exits(2).prints("").stderr_is(&format!(
            "mcpipe: error: {option} needs a file: standard output is for the results\nhint: name a file: {option} FILE\n"
        ));
        assert!(!sandbox.work().join("-").exists());
    }
}

#[test]
fn junit_reports_follow_the_schema() {
    let server = hostile().stdio();
    let sandbox = Sandbox::new();
    write_suite(&sandbox, &server.target());
    let report = sandbox.work().join("r.xml");
    let test = |words: &[&str]| {
        sandbox
            .mcpipe(["test"])
            .args(words.iter().copied())
            .args(["--junit", "r.xml"])
            .env("API_TOKEN", "secret-token-123")
            .run()
    };
    test(&["suite.toml"]).exits(9);
    follows_the_junit_schema(&report);
    test(&[&server.target(), "./no-such-server", "suite.toml"]).exits(9);
    follows_the_junit_schema(&report);
    // A warning has a text of its own.
    let modern = Mcp::modern().tools(json!([{"name": "a b", "inputSchema": {"type": "object"}}])).stdio();
    test(&[&modern.target()]).exits(0);
    let text = std::fs::read_to_string(&report).unwrap();
    assert!(text.contains("<system-out>"), "{text}");
    follows_the_junit_schema(&report);
    // The schema refuses what Jenkins would.
    for (part, other) in [
        (" errors=\"0\"", ""),
        ("<testcase name=", "<testcase title="),
        ("<testsuite ", "<suite "),
        ("time=\"", "time=\"-"),
    ] {
        let broken = sandbox.file("broken.xml", text.replacen(part, other, 1));
        assert!(!validate(&broken).0, "accepted without {part}");
    }
}

/// What a server says changes neither the rows and columns of a report nor what they mean.
#[test]
fn text_of_a_server_is_text_in_every_report() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| {
        let message = "a\tb\r\u{1b}[31mred\n![x](https://example.com/x.png) __init__";
        call.error(-32603, message)
    });
    let (server, sandbox) = (server.stdio(), Sandbox::new());
    let target = server.target();
    sandbox.file(
        "suite.toml",
        format!("target = \"{target}\"\n[[test]]\nname = \"a\"\ncall = \"echo\"\nargs = {{ text = \"x\" }}\n"),
    );
    let fixed = |text: &str| text.replace(&target, "SERVER").replace('\r', "(CR)").replace('\u{1b}', "(ESC)");
    let run = sandbox.mcpipe(["test", "suite.toml", "--markdown", "r.md"]).run();
    expect![[r#"
        suite.toml	FAIL	a	-
              suite.toml:2: the server refused tools/call: a b(CR)(ESC)[31mred
              ![x](https://example.com/x.png) __init__ (code -32603)
              to repeat it: mcpipe call 'SERVER' echo --args '{"text":"x"}'
    "#]]
    .assert_eq(&fixed(run.exits(9).stdout()));
    let markdown = std::fs::read_to_string(sandbox.work().join("r.md")).unwrap();
    expect![[r####"
        ### mcpipe test

        | suite | ok | warn | failed | skipped |
        |---|---:|---:|---:|---:|
        | suite.toml | 0 | 0 | 1 | 0 |

        | failed | why |
        |---|---|
        | suite.toml: a | suite.toml:2: the server refused tools/call: a b\\x0d\\x1b\[31mred<br>\!\[x\](https://example.com/x.png) \_\_init\_\_ (code -32603)<br>to repeat it: mcpipe call 'SERVER' echo --args '{"text":"x"}' |

    "####]].assert_eq(&fixed(&markdown));
    let run = sandbox.mcpipe(["test", "suite.toml", "--tap"]).run();
    expect![[r#"
        TAP version 14
        1..1
        not ok 1 - a
          ---
          message: |
            suite.toml:2: the server refused tools/call: a	b\x0d\x1b[31mred
            ![x](https://example.com/x.png) __init__ (code -32603)
            to repeat it: mcpipe call 'SERVER' echo --args '{"text":"x"}'
          ...
    "#]]
    .assert_eq(&fixed(run.exits(9).stdout()));
}

#[test]
fn the_html_page_escapes_everything_and_loads_nothing() {
    let server = hostile().stdio();
    let sandbox = Sandbox::new();
    write_suite(&sandbox, &server.target());
    let run = sandbox
        .mcpipe(["test", "suite.toml", &server.target(), "--html", "r.html"])
        .env("API_TOKEN", "secret-token-123")
        .run();
    run.exits(9);
    let page = std::fs::read_to_string(sandbox.work().join("r.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>\n"), "{page}");
    for part in
        ["<script", "<img", "<link", "src=\"", "url(", "@import", "secret-token-123", "\u{7}", "\u{202e}", "\u{200b}"]
    {
        assert!(!page.contains(part), "the page contains {part:?}");
    }
    for part in [
        "prefers-color-scheme: dark",
        "&lt;script&gt;alert(1)&lt;/script&gt;",
        "&lt;img src=x onerror=alert(2)&gt;",
        "&lt;U+202E&gt;tfel",
        "<summary>messages</summary>",
        "tools/call",
        "[redacted]",
        "it changes something: add --effects",
    ] {
        assert!(page.contains(part), "the page lacks {part:?}: {page}");
    }
    assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'\""));
    // The messages of tests that passed are not kept.
    assert_eq!(page.matches("<summary>messages</summary>").count(), 3, "{page}");
}

#[test]
fn the_html_page_of_repeated_calls_has_a_plot() {
    let server = Mcp::modern()
        .on("tools/call", |call| if call.n == 7 { call.error(-32000, "<b>busy</b>") } else { call.text("x") });
    let server = server.stdio();
    let sandbox = Sandbox::new();
    let words = ["call", &server.target(), "echo", "text=x", "--repeat", "50", "--html", "r.html"];
    sandbox.mcpipe(words).run().exits(1);
    let page = std::fs::read_to_string(sandbox.work().join("r.html")).unwrap();
    assert!(page.contains("<svg ") && page.contains("<td>p99</td>") && !page.contains("<b>busy"), "{page}");
    let failed = page.split("class=\"failed\" d=\"").nth(1).unwrap();
    assert_eq!(failed.split('"').next().unwrap().matches('M').count(), 1, "{page}");
    sandbox.mcpipe(["call", &server.target(), "echo", "text=x", "--html", "r.html"]).run().exits(2);
}

#[test]
fn a_report_that_cannot_be_written_is_found_before_the_tests_run() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["test", &server.target(), "--html", "gone/r.html"]).run();
    run.exits(2).stderr_contains("the directory gone does not exist");
    assert!(server.processes().is_empty());
}

#[test]
fn what_was_found_before_an_interrupt_is_reported() {
    let server = Mcp::legacy("2025-11-25")
        .on("tools/call", |call| if call.n == 0 { call.text("x") } else { Vec::new() })
        .stdio();
    let other = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let test =
        |name: &str| format!("[[test]]\nname = \"{name}\"\ncall = \"echo\"\nargs = {{ text = \"x\" }}\ntext = \"y\"\n");
    sandbox.file("suite.toml", format!("target = \"{}\"\n{}{}", server.target(), test("first"), test("second")));
    let words = ["test", &other.target(), "suite.toml", "--jobs", "2", "--junit", "r.xml"];
    let running = sandbox.mcpipe(words).start();
    server.wait_for("the second call", |seen| {
        seen.iter().flat_map(|one| one.methods()).filter(|method| method == "tools/call").count() == 2
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    running.signal(rustix::process::Signal::INT);
    let run = running.wait();
    run.exits(130).stdout_contains("suite.toml\tFAIL\tfirst\t-\n").stderr_contains("mcpipe: error: interrupted\n");
    run.stdout_contains("\tok\tidentity\t").stderr_contains("1 failed");
    let report = std::fs::read_to_string(sandbox.work().join("r.xml")).unwrap();
    assert!(report.contains("<testcase name=\"first\"") && !report.contains("name=\"second\""), "{report}");
}

#[test]
fn a_report_that_cannot_be_written_does_not_hide_the_others() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let suite = |text: &str| {
        let test = format!("[[test]]\nread = \"demo://hello\"\ncontains = \"{text}\"\n");
        sandbox.file("suite.toml", format!("target = \"{}\"\n{test}", server.target()));
        sandbox.mcpipe(["test", "suite.toml"])
    };
    let gone = sandbox.work().join("gone/summary");
    let run = suite("hello").env("GITHUB_STEP_SUMMARY", gone.as_os_str()).run();
    run.exits(0).stderr_contains(&format!("warning: cannot write {}: ", gone.display()));
    suite("x").env("GITHUB_STEP_SUMMARY", gone.as_os_str()).run().exits(9).stderr_contains("1 test failed");
    suite("hello").args(["--junit", "."]).run().exits(2).stderr_contains("cannot write .\n  it is a directory\n");
    let run = suite("hello").args(["--junit", "/dev/full", "--html", "r.html"]).run();
    run.exits(74).stderr_contains("cannot write /dev/full");
    assert!(sandbox.work().join("r.html").exists());
}
