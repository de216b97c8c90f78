//! `read`: resources to stdout, byte for byte.

use expect_test::expect;
use serde_json::json;

use crate::support::mcp::PIXEL;
use crate::support::{Mcp, Sandbox};

#[test]
fn text_comes_out_as_it_is() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let run = Sandbox::new().mcpipe(["read", &server.target(), "demo://hello"]).run();
    run.succeeds().prints("hello\n");

    let server = Mcp::modern()
        .on("resources/read", |call| call.result(json!({"contents": [{"uri": "x:y", "text": "no newline\u{1b}[2J"}]})))
        .stdio();
    let run = Sandbox::new().mcpipe(["read", &server.target(), "x:y"]).run();
    run.succeeds().prints("no newline\u{1b}[2J");
}

#[test]
fn a_blob_comes_out_as_bytes() {
    let server = Mcp::modern().http();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["read", &server.url("/mcp"), "demo://logo"]).run();
    run.succeeds();
    assert!(run.stdout.starts_with(b"\x89PNG\r\n\x1a\n"), "{run:?}");

    let file = sandbox.work().join("logo.png");
    let to_file = sandbox.mcpipe(["read", &server.url("/mcp"), "demo://logo", "-o", "logo.png"]).run();
    to_file.exits(0);
    assert_eq!(std::fs::read(&file).unwrap(), run.stdout);

    let json = sandbox.mcpipe(["read", &server.url("/mcp"), "demo://logo", "--json"]).run();
    assert_eq!(json.succeeds().json()["contents"][0]["blob"], PIXEL);
}

#[test]
fn several_come_in_order_over_one_connection() {
    let server = Mcp::legacy("2025-06-18").stdio();
    let words = ["read", &server.target(), "demo://item/1", "demo://hello", "demo://item/2"];
    let run = Sandbox::new().mcpipe(words).run();
    run.succeeds().prints("item 1hello\nitem 2");
    server.single_process();
}

#[test]
fn a_template_takes_arguments() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["read", &server.target(), "demo://item/{id}", "id=a b/ü"]).run();
    run.succeeds().prints("item a%20b%2F%C3%BC");
}

/// RFC 6570: missing variables expand to nothing, but a path without its parts is an error.
#[test]
fn parts_of_a_query_may_be_left_out_and_repeated() {
    let echo = Mcp::modern().on("resources/read", |call| {
        let uri = call.params()["uri"].clone();
        call.result(json!({"contents": [{"uri": uri, "text": uri}]}))
    });
    let server = echo.stdio();
    for (words, uri) in [
        (&["demo://x/{id}{?q,r*}", "id=5"][..], "demo://x/5"),
        (&["demo://x/{id}{?q,r*}", "id=5", "q=a b"], "demo://x/5?q=a%20b"),
        (&["demo://x/{id}{?q,r*}", "id=5", "r=1", "q=2", "r=3"], "demo://x/5?q=2&r=1&r=3"),
        (&["demo://x/{id}{?r}", "id=5", "r=1", "r=2"], "demo://x/5?r=1,2"),
        (&["demo://x{/part*}{#f}{;p}", "part=a", "part=b/c"], "demo://x/a/b%2Fc"),
        (&["demo://x{?a}{&b}", "b=2"], "demo://x&b=2"),
        (&["demo://x{#f}", "f=top"], "demo://x#top"),
        (&["demo://x/{id}{?q}", "id=", "q="], "demo://x/?q="),
        // Characters that servers write although the RFC does not allow them, or that templates may contain and URIs
        // may not.
        (&["demo://größe/my docs|{repo-name}", "repo-name=a/b"], "demo://gr%C3%B6%C3%9Fe/my%20docs%7Ca%2Fb"),
        (&["demo://x/{+repo-name}{?repo.id}", "repo-name=a/b", "repo.id=5"], "demo://x/a/b?repo.id=5"),
    ] {
        let run = Sandbox::new().mcpipe([&["read", &server.target()], words].concat()).run();
        run.succeeds().prints(uri);
    }
    for (template, name) in [
        ("demo://x/{id}{?q}", "id"),
        ("demo://x/{+path}", "path"),
        ("demo://x{/part*}", "part"),
        ("demo://x/{id:3}", "id"),
        ("demo://x{.ext}", "ext"),
    ] {
        let run = Sandbox::new().mcpipe(["read", &server.target(), template]).run();
        run.exits(2).prints("").stderr_is(&format!(
            "mcpipe: error: invalid arguments for the template {template}\n  {name}: missing\nhint: add {name}=VALUE\n"
        ));
    }
    let run = Sandbox::new().mcpipe(["read", &server.target(), "demo://x{?query}", "qery=1"]).run();
    run.exits(2).stderr_contains("qery: not in the template; did you mean query?");
}

#[test]
fn without_a_uri_it_lists() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["read", &server.target()]).run();
    expect![[r#"
        exit: 0
        --- stdout
        resources\tdemo://hello\thello\ttext/plain\t-\tA greeting
        resources\tdemo://logo\tlogo\timage/png\t-\t-
        resource templates\tdemo://item/{id}\titem\t-\t-\tOne item
    "#]]
    .assert_eq(&run.snapshot());
}

#[test]
fn what_is_not_there_is_a_failure_of_the_server() {
    for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = server.stdio();
        let run = Sandbox::new().mcpipe(["read", &server.target(), "demo://nothing"]).run();
        run.exits(1).prints("").stderr_contains("demo://nothing").stderr_contains("Resource not found");
    }
}

#[test]
fn save_writes_files_with_fitting_names() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["read", &server.target(), "demo://logo", "demo://hello", "--save", "out"]).run();
    run.exits(0);
    let mut names: Vec<String> = std::fs::read_dir(sandbox.work().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    expect![[r#"
        exit: 0
        --- stdout
        out/logo.png
        out/hello.txt
        ["hello.txt", "logo.png"]
    "#]]
    .assert_eq(&format!("{}{names:?}\n", run.snapshot()));
}

#[test]
fn a_connection_that_cannot_be_had_is_said_once() {
    let sandbox = Sandbox::new();
    for target in ["http://127.0.0.1:9/mcp", "./no-such-program", "'/bin/false'"] {
        let words = ["read", target.trim_matches('\''), "demo://a", "demo://b", "demo://c", "--retries", "0"];
        let run = sandbox.mcpipe(words).run();
        run.exits(5).prints("");
        assert_eq!(run.stderr().matches("mcpipe: error:").count(), 1, "{run:?}");
        let run = sandbox.mcpipe(words).arg("--json").run();
        run.exits(5).prints("");
        assert_eq!((run.stderr().lines().count(), &run.json_error()["class"]), (1, &json!("unreachable")), "{run:?}");
    }
    // A failure of one resource does not affect the others.
    let server = Mcp::legacy("2025-11-25").stdio();
    let run = sandbox.mcpipe(["read", &server.target(), "demo://none", "demo://hello", "--json"]).run();
    assert_eq!(run.exits(1).json()["results"].as_array().unwrap().len(), 2);
}

#[test]
fn the_name_of_a_resource_gets_a_hint_to_its_uri() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["read", &server.target(), "hello"]).run();
    run.exits(1).prints("").stderr_contains("\nhint: use its URI: mcpipe read ").stderr_contains(" demo://hello\n");
}
