//! Writing a lock file, and checking servers against it.

use serde_json::{Value, json};

use crate::support::{Mcp, Run, Sandbox, StdioServer};

/// A sandbox in which the configured server `demo` is this one.
fn sandbox_with(server: &StdioServer) -> Sandbox {
    let sandbox = Sandbox::new();
    configure(&sandbox, server);
    sandbox
}

fn configure(sandbox: &Sandbox, server: &StdioServer) {
    let words = server.words();
    sandbox.config(&format!("[servers.demo]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..]));
}

fn tool(name: &str, properties: Value, required: Value) -> Value {
    json!({"name": name, "description": "Does it.", "inputSchema": {"type": "object", "properties": properties, "required": required}})
}

fn with_tools(tools: Value) -> StdioServer {
    Mcp::legacy("2025-11-25").capabilities(json!({"tools": {}})).tools(tools).stdio()
}

/// The check of a lock that was written with `before`, at a server with `after`.
fn check(before: Value, after: Value, options: &[&str]) -> (Run, Sandbox, StdioServer) {
    let first = with_tools(before);
    let sandbox = sandbox_with(&first);
    sandbox.mcpipe(["lock", "demo"]).run().exits(0).prints("").stderr_is("wrote mcp.lock\n");
    let second = with_tools(after);
    configure(&sandbox, &second);
    let run = sandbox.mcpipe(["lock", "--check"]).args(options.iter().copied()).run();
    (run, sandbox, second)
}

#[test]
#[cfg(unix)]
fn what_is_not_a_file_is_written_and_not_read() {
    let server = with_tools(json!([tool("add", json!({}), json!([]))]));
    let sandbox = sandbox_with(&server);
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    let text = std::fs::read_to_string(sandbox.work().join("mcp.lock")).unwrap();
    // Standard output is a pipe here: whoever reads from it waits forever.
    sandbox.mcpipe(["lock", "demo", "-o", "/dev/stdout"]).run().exits(0).prints(&text).stderr_is("wrote /dev/stdout\n");
    sandbox.mcpipe(["lock", "demo", "-o", "-"]).run().exits(0).prints(&text).stderr_is("");
    assert!(!sandbox.work().join("-").exists());
    let full = "mcpipe: error: cannot write the file '/dev/full'\n  No space left on device (os error 28)\n\
                hint: choose another file: -o FILE\n";
    if cfg!(target_os = "linux") {
        sandbox.mcpipe(["lock", "demo", "-o", "/dev/full"]).run().exits(74).prints("").stderr_is(full);
    }
    if cfg!(target_os = "linux") {
        let file = format!("/dev/shm/mcpipe-test-{}.lock", std::process::id());
        for target in ["demo", &server.target()] {
            sandbox.mcpipe(["lock", target, "-o", &file]).run().exits(0);
        }
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert!(text.contains("\"demo\": {"), "{text}");
    }
    for option in ["--check", "--update"] {
        sandbox.mcpipe(["lock", "demo", option, "-o", "-"]).run().exits(2).prints("").stderr_is(
            "mcpipe: error: --check and --update need a lock file, not standard output\nhint: name a file: -o FILE\n",
        );
    }
}

#[test]
#[cfg(unix)]
fn a_link_to_a_lock_file_stays_one() {
    let server = with_tools(json!([tool("add", json!({}), json!([]))]));
    let sandbox = sandbox_with(&server);
    let link = sandbox.work().join("mcp.lock");
    std::os::unix::fs::symlink("shared.lock", &link).unwrap();
    std::fs::write(sandbox.work().join("shared.lock"), r#"{"version": 1, "servers": {}}"#).unwrap();
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    assert_eq!(std::fs::read_link(&link).unwrap(), std::path::Path::new("shared.lock"));
    sandbox.mcpipe(["lock", "--check"]).run().exits(0).prints("").stderr_is("demo: nothing changed\n");
}

#[test]
fn the_file_is_canonical() {
    let server = with_tools(
        json!([tool("b", json!({"z": {"type": "string"}, "a": {}}), json!(["z"])), {"name": "a", "inputSchema": {}}]),
    );
    let sandbox = sandbox_with(&server);
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    let text = std::fs::read_to_string(sandbox.work().join("mcp.lock")).unwrap();
    let tools = r#"      "tools": {
        "a": {
          "inputSchema": {},
          "name": "a"
        },
        "b": {
          "description": "Does it.",
          "inputSchema": {
            "properties": {
              "a": {},
              "z": {
                "type": "string"
              }
            },
            "required": [
              "z"
            ],
            "type": "object"
          },
          "name": "b"
        }
      }"#;
    assert!(text.contains(tools), "{text}");
    assert!(text.starts_with("{\n  \"servers\": {\n    \"demo\": {\n      \"capabilities\""), "{text}");
    assert!(text.ends_with("  },\n  \"version\": 1\n}\n"), "{text}");
    // Written again, it is the same.
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    assert_eq!(std::fs::read_to_string(sandbox.work().join("mcp.lock")).unwrap(), text);
}

#[test]
fn resources_templates_and_prompts_are_locked_too() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let server = mcp.stdio();
        let sandbox = sandbox_with(&server);
        sandbox.mcpipe(["lock", "demo", "-o", "other.lock"]).run().exits(0);
        let text = std::fs::read_to_string(sandbox.work().join("other.lock")).unwrap();
        let lock: Value = serde_json::from_str(&text).unwrap();
        let server = &lock["servers"]["demo"];
        assert!(server["tools"]["echo"].is_object(), "{text}");
        assert!(server["resources"]["demo://hello"].is_object(), "{text}");
        assert!(server["resourceTemplates"]["demo://item/{id}"].is_object(), "{text}");
        assert!(server["prompts"]["greet"].is_object(), "{text}");
        assert!(server["protocolVersion"].is_string(), "{text}");
    }
}

#[test]
fn an_unchanged_server_passes() {
    let tools = json!([tool("a", json!({}), json!([]))]);
    let (run, ..) = check(tools.clone(), tools, &["--strict"]);
    run.exits(0).prints("").stderr_is("demo: nothing changed\n");
}

#[test]
fn a_breaking_change_fails() {
    let before =
        json!([tool("a", json!({"x": {"type": ["string", "null"]}}), json!([])), tool("gone", json!({}), json!([]))]);
    let after = json!([tool("a", json!({"x": {"type": "string"}, "y": {}}), json!(["y"]))]);
    let (run, ..) = check(before, after, &[]);
    run.exits(9)
        .prints(
            "demo: 4 changes: 3 breaking, 1 compatible\n  \
             breaking    tool 'a' /inputSchema/required: 'y' is required now\n  \
             breaking    tool 'a' /inputSchema/properties/x/type: the type changed from [\"string\",\"null\"] to \"string\"\n  \
             breaking    tool 'gone': it is gone\n  \
             compatible  tool 'a' /inputSchema/properties/y: 'y' is new\n",
        )
        .stderr_is(
            "mcpipe: error: 3 breaking changes since mcp.lock was written\n\
             hint: to accept what changed: mcpipe lock --update demo\n",
        );
}

#[test]
fn a_change_behind_a_reference_in_an_alternative_is_breaking() {
    let with = |colors: Value| {
        json!([{"name": "paint", "inputSchema": {
            "type": "object",
            "properties": {"color": {"anyOf": [{"$ref": "#/$defs/Color"}, {"type": "null"}]}},
            "$defs": {"Color": {"enum": colors}}}}])
    };
    let (run, sandbox, _server) = check(with(json!(["red", "blue"])), with(json!(["blue"])), &[]);
    let line = "tool 'paint' /inputSchema/properties/color/anyOf/0/enum: \"red\" is no longer accepted\n";
    run.exits(9).prints(&format!("demo: 1 change: 1 breaking\n  breaking    {line}"));
    let run = sandbox.mcpipe(["call", "demo", "paint", "--locked"]).run();
    run.exits(8).prints("").stderr_is(&format!(
        "mcpipe: error: the tool 'paint' differs from the lock file 'mcp.lock'\n  breaking: {line}\
         hint: to accept what changed: mcpipe lock --update demo\n"
    ));
}

/// A sandbox in which this server is started by the program `one-word`.
fn install(sandbox: &Sandbox, server: &StdioServer) -> String {
    sandbox.script("one-word", &format!("exec {}", server.target()));
    format!("{}:/usr/bin:/bin", sandbox.work().display())
}

#[test]
#[cfg(unix)]
fn hints_repeat_what_led_to_the_target() {
    let sandbox = Sandbox::new();
    let [before, after] = [json!([]), json!(["x"])].map(|required| with_tools(json!([tool("a", json!({}), required)])));
    let words = before.words();
    sandbox.file("m.toml", format!("[servers.demo]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..]));
    sandbox.mcpipe(["lock", "demo", "--config", "m.toml"]).run().exits(0);
    let words = after.words();
    sandbox.file("m.toml", format!("[servers.demo]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..]));
    let options = ["--config", "m.toml", "-e", "KEY=s3cret"];
    let run = sandbox.mcpipe(["lock", "--check"]).args(options).run();
    run.exits(9).hides("s3cret").stderr_is(
        "mcpipe: error: 1 breaking change since mcp.lock was written\n\
         hint: to accept what changed: mcpipe lock --update demo --config m.toml -e KEY=…\n",
    );
    for command in [vec!["call", "demo", "a", "x=1", "--locked"], vec!["test", "demo", "--locked"]] {
        let run = sandbox.mcpipe(command).args(["--config", "m.toml"]).run();
        run.stderr_contains("mcpipe lock --update demo --config m.toml\n");
    }
    sandbox.file("other.lock", "{\"version\": 1, \"servers\": {}}");
    let run = sandbox.mcpipe(["lock", "--check", "demo", "-o", "other.lock", "--config", "m.toml"]).run();
    run.exits(3).stderr_contains("hint: add it: mcpipe lock demo -o other.lock --config m.toml\n");
}

#[test]
#[cfg(unix)]
fn a_program_of_one_word_is_checked_and_updated_like_others() {
    let (server, other) = (with_tools(json!([tool("a", json!({}), json!([]))])), with_tools(json!([])));
    let sandbox = sandbox_with(&other);
    let path = install(&sandbox, &server);
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).env("PATH", &path).run();
    run(&["lock", "demo", "--", "one-word"]).exits(0);
    run(&["lock", "--check"]).exits(0).prints("").stderr_is("demo: nothing changed\none-word: nothing changed\n");
    let after = with_tools(json!([tool("a", json!({}), json!(["x"]))]));
    install(&sandbox, &after);
    configure(&sandbox, &after);
    for (words, hint) in [
        (vec!["lock", "--check", "--strict"], "mcpipe lock --update demo -- one-word"),
        (vec!["lock", "--check", "--", "one-word"], "mcpipe lock --update -- one-word"),
    ] {
        run(&words).exits(9).stderr_contains(&format!("hint: to accept what changed: {hint}\n"));
    }
    let hint = "hint: to accept what changed: mcpipe lock --update -- one-word\n";
    run(&["call", "a", "x=1", "--locked", "--", "one-word"]).exits(8).stderr_contains(hint);
    run(&["lock", "--update", "demo", "--", "one-word"]).exits(0);
    run(&["lock", "--check", "--strict"]).exits(0);
    // What is neither configured nor a program is reported as before.
    let text = std::fs::read_to_string(sandbox.work().join("mcp.lock")).unwrap();
    sandbox.file("mcp.lock", text.replace("one-word", "gone"));
    run(&["lock", "--check"]).exits(3).stderr_contains("no server named 'gone' is configured");
}

#[test]
fn a_compatible_change_fails_only_when_strict() {
    let before = json!([tool("a", json!({}), json!([]))]);
    let after = json!([tool("a", json!({}), json!([])), tool("new", json!({}), json!([]))]);
    let (run, sandbox, _server) = check(before, after, &[]);
    run.exits(0).prints("demo: 1 change: 1 compatible\n  compatible  tool 'new': it is new\n").stderr_is("");
    let run = sandbox.mcpipe(["lock", "--check", "--strict"]).run();
    run.exits(9).stderr_contains("mcpipe: error: 1 change since mcp.lock was written\n");
}

#[test]
fn a_changed_text_is_shown_in_full_with_invisible_characters() {
    let described = |text: &str| json!([{"name": "a", "description": text, "inputSchema": {"type": "object"}}]);
    let long = "word ".repeat(100);
    let (run, ..) =
        check(described("Adds.\nTwo lines."), described(&format!("Adds.\u{200b}{long}\u{e0041}end")), &["--strict"]);
    run.exits(9).prints(&format!(
        "demo: 1 change: 1 text\n  text        tool 'a' /description: description changed\n    \
         - Adds.\n    - Two lines.\n    + Adds.<U+200B>{long}<U+E0041>end\n"
    ));
}

#[test]
fn changes_are_printed_as_json() {
    let (run, ..) = check(json!([tool("a", json!({}), json!([]))]), json!([]), &["--json"]);
    run.exits(9);
    assert_eq!(
        run.json(),
        json!({"breaking": 1, "compatible": 0, "text": 0, "servers": [{"server": "demo", "changes": [{
            "class": "breaking", "what": "tool 'a'", "path": "", "message": "it is gone",
            "before": {"description": "Does it.", "inputSchema": {"properties": {}, "required": [], "type": "object"}, "name": "a"},
            "after": null,
        }]}]})
    );
    assert_eq!(run.json_error()["class"], "mismatch");
    assert_eq!(run.json_error()["code"], 9);
}

#[test]
fn changes_are_printed_as_markdown() {
    let described = |text: &str| json!([{"name": "a_b", "description": text, "inputSchema": {"type": "object"}}]);
    let (run, ..) = check(described("Old"), described("New <b>`x`</b> ```"), &["--markdown"]);
    run.exits(0).prints(
        "### demo\n\n1 change: 1 text\n\n| Class | Where | Change |\n|---|---|---|\n\
         | text | tool 'a\\_b' /description | description changed |\n\n\
         tool 'a\\_b' /description\n\n````diff\n- Old\n+ New <b>`x`</b> ```\n````\n\n",
    );
}

#[test]
fn update_prints_the_changes_and_accepts_them() {
    let (run, sandbox, _server) = check(json!([tool("a", json!({}), json!([]))]), json!([]), &[]);
    run.exits(9);
    let run = sandbox.mcpipe(["lock", "--update"]).run();
    run.exits(0)
        .prints("demo: 1 change: 1 breaking\n  breaking    tool 'a': it is gone\n")
        .stderr_is("wrote mcp.lock\n");
    sandbox.mcpipe(["lock", "--check", "--strict"]).run().exits(0);
}

#[test]
fn other_servers_in_the_file_stay() {
    let (server, target) = (with_tools(json!([])), with_tools(json!([])));
    let sandbox = sandbox_with(&server);
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    sandbox.mcpipe(["lock", &target.target()]).run().exits(0);
    let text = std::fs::read_to_string(sandbox.work().join("mcp.lock")).unwrap();
    let lock: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(lock["servers"].as_object().unwrap().len(), 2, "{text}");
    sandbox.mcpipe(["lock", "--check"]).run().exits(0);
}

#[test]
fn files_that_cannot_be_used_are_refused_with_their_line() {
    let server = with_tools(json!([]));
    let sandbox = sandbox_with(&server);
    let run = sandbox.mcpipe(["lock", "--check"]).run();
    run.exits(3)
        .stderr_is("mcpipe: error: the lock file 'mcp.lock' does not exist\nhint: write it: mcpipe lock TARGET\n");
    for (content, fault) in [
        ("{\n\"version\": 1,\n}", "3: invalid JSON at column 1: trailing comma"),
        ("{}", "1: it is not a lock file: 'version' is missing"),
        ("{\n\"version\": 7}", "2: it has format version 7; this mcpipe reads version 1"),
        ("{\"version\": 1}", "1: 'servers' is missing or not an object"),
        ("{\"version\": 1,\n\"servers\": {\"demo\": []}}", "2: the entry of 'demo' is not that of a server"),
    ] {
        sandbox.file("mcp.lock", content);
        for words in [vec!["lock", "--check"], vec!["lock", "demo"]] {
            sandbox.mcpipe(words).run().exits(3).prints("").stderr_is(&format!(
                "mcpipe: error: the lock file 'mcp.lock' cannot be used\n  mcp.lock:{fault}\n\
                 hint: restore it, or delete it and run: mcpipe lock TARGET\n"
            ));
        }
    }
    sandbox.file("mcp.lock", "{\"version\": 1, \"servers\": {}}");
    let run = sandbox.mcpipe(["lock", "--check", "demo"]).run();
    run.exits(3)
        .stderr_is("mcpipe: error: the lock file 'mcp.lock' has no server 'demo'\nhint: add it: mcpipe lock demo\n");
}

#[test]
fn one_of_several_servers_that_fails_is_named() {
    let (good, bad) = (Mcp::modern().stdio(), "http://127.0.0.1:1/");
    let sandbox = sandbox_with(&good);
    let lock = |words: &[&str]| sandbox.mcpipe(["lock", "--retries", "0"]).args(words.iter().copied()).run();
    let failed = "cannot connect to http://127.0.0.1:1/\n";
    lock(&["demo", bad]).exits(5).stderr_contains(&format!("mcpipe: error: {bad}: {failed}"));
    lock(&[bad]).exits(5).stderr_contains(&format!("mcpipe: error: {failed}"));
    let run = lock(&["demo", bad, "--json"]);
    run.exits(5);
    let error = run.json_error();
    assert_eq!((&error["server"], &error["message"]), (&json!(bad), &json!(failed.trim_end())));
    assert!(!sandbox.work().join("mcp.lock").exists());
}

#[test]
fn what_was_compared_before_a_server_failed_is_shown() {
    let (mut tools, server) = (json!([tool("add", json!({}), json!([]))]), with_tools(json!([])));
    let sandbox = sandbox_with(&server);
    tools[0]["description"] = json!("new");
    let (one, other) = (with_tools(tools), with_tools(json!([])));
    for server in [&server, &other] {
        sandbox.mcpipe(["lock", &server.target()]).run().exits(0);
    }
    sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    configure(&sandbox, &one);
    for gone in ["./gone", &one.target()] {
        let run = sandbox.mcpipe(["lock", "--check", "demo", &server.target(), gone, &other.target()]).run();
        run.stdout_contains("demo: 1 change: 1 compatible\n");
        assert!(!matches!(run.code(), 0 | 9), "{run:?}");
    }
}

/// Objects that are nested in each other as properties: each takes two levels.
fn nested_tool(levels: usize) -> Value {
    let schema = |inner: Value, _| json!({"type": "object", "properties": {"a": inner}});
    json!([{"name": "deep", "inputSchema": (0..levels).fold(json!({"type": "string"}), schema)}])
}

#[test]
fn a_deep_schema_is_locked_and_checked() {
    for levels in [63, 100, 120] {
        let (run, sandbox, _server) = check(nested_tool(levels), nested_tool(levels), &[]);
        run.exits(0).prints("");
        sandbox.mcpipe(["lock", "demo"]).run().exits(0);
    }
    let server = with_tools(nested_tool(300));
    let sandbox = sandbox_with(&server);
    let run = sandbox.mcpipe(["lock", "demo"]).run();
    run.exits(7).prints("").stderr_contains("the tool 'deep' is read only in part: inputSchema is nested more than ");
    assert!(!sandbox.work().join("mcp.lock").exists());
}

#[test]
fn lock_needs_a_target() {
    let run = Sandbox::new().mcpipe(["lock"]).run();
    run.exits(2).stderr_contains("mcpipe: error: no target was given");
}

/// The file belongs into version control, but the name has to be the same each time.
#[test]
fn a_secret_in_a_command_line_is_written_with_a_warning() {
    let server = with_tools(json!([tool("add", json!({}), json!([]))]));
    let sandbox = Sandbox::new();
    let target = format!("{} --token s3cret", server.target());
    let missing = sandbox.mcpipe(["lock", "--check", &target]).run();
    missing.exits(3).hides("s3cret");
    let run = sandbox.mcpipe(["lock", &target]).run();
    run.exits(0).hides("s3cret").stderr_contains(&format!(
        "warning: the lock file has what may be a secret, in the name '{} --token [redacted]': use a configured server\n",
        server.target()
    ));
    sandbox.mcpipe(["lock", "--check"]).run().exits(0);
    sandbox.mcpipe(["call", &target, "add", "--locked"]).run().exits(0);
}
