//! `config add`, `remove`, `rename` and `edit`: what they write, and what they do not.

use expect_test::expect;
use serde_json::json;

use crate::support::pty::TerminalStreams;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

const MINE: &str = r#"# mine
[defaults]
timeout = "5s"

[servers.api]
url = "https://api.example/mcp"

[servers.files]
command = "sh"

[servers.off]
disabled = true
url = "https://off.example/mcp"
"#;

fn configured_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.config(MINE);
    sandbox
}

fn config(sandbox: &Sandbox, words: &[&str]) -> String {
    sandbox.mcpipe(["config"]).args(words.iter().copied()).run().snapshot()
}

#[test]
fn add_writes_what_was_meant_and_says_what_is_missing() {
    let sandbox = Sandbox::new();
    let add = |words: &[&str]| sandbox.mcpipe(["config", "add"]).args(words.iter().copied()).run().snapshot();
    expect![[r#"
        exit: 0
        --- stderr
        added 'api' in ~/.config/mcpipe/config.toml:1
        the variable API_KEY is not set; 'headers.X-Key' in [servers.api] refers to it; set API_KEY, or add a default: ${API_KEY:-…}
    "#]]
    .assert_eq(&add(&[
        "api",
        "https://api.example/mcp",
        "-H",
        "X-Key: ${API_KEY}",
        "--allow-tool",
        "get_*",
        "--timeout",
        "90s",
    ]));
    expect![[r#"
        exit: 0
        --- stderr
        added 'files' in ~/.config/mcpipe/config.toml:7
        next: mcpipe list files
    "#]]
    .assert_eq(&add(&["files", "-e", "DEBUG=1", "--cwd", ".", "--deny-tool", "rm", "--", "sh", "-c", "a b"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"name":"crm","file":"[ROOT]/home/.config/mcpipe/config.toml","line":14,"written":true,"replaced":false,"layer":"user","checked":null}
    "#]].assert_eq(&add(&[
        "crm",
        "https://crm.example/mcp",
        "--client-id",
        "cli",
        "--client-secret-env",
        "CRM",
        "--scope",
        "read",
        "--json",
    ]));
    expect![[r#"
        [servers.api]
        url = "https://api.example/mcp"
        headers = { X-Key = "${API_KEY}" }
        allow_tools = ["get_*"]
        timeout = "90s"

        [servers.files]
        command = "sh"
        args = ["-c", "a b"]
        env = { DEBUG = "1" }
        cwd = "[ROOT]/work"
        deny_tools = ["rm"]

        [servers.crm]
        url = "https://crm.example/mcp"

        [servers.crm.auth]
        client_id = "cli"
        client_secret = "${CRM}"
        scopes = ["read"]
    "#]]
    .assert_eq(
        &std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml"))
            .unwrap()
            .replace(sandbox.path().to_str().unwrap(), "[ROOT]"),
    );
    // Nothing of this is written.
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: cannot change ~/.config/mcpipe/config.toml
          it already has a server 'api'
        hint: replace it with --force, or choose another name
    "#]]
    .assert_eq(&add(&["api", "https://other.example/mcp"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: 'a b' is not a valid server name
          a name consists of letters, digits, '_', '-', '.' and '/', begins with a letter or digit, and does not end with '.' or '/'
        hint: use 'a-b'
    "#]]
    .assert_eq(&add(&["a b", "https://other.example/mcp"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: unsupported URL scheme 'ftp'; use https, http, wss, ws, unix:PATH or replay:FILE
    "#]]
    .assert_eq(&add(&["x", "ftp://other.example/mcp"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: 'nosuchword' is neither a URL nor a program in PATH
        hint: a URL begins with https://; a command goes after `--`: mcpipe config add x -- nosuchword
    "#]]
    .assert_eq(&add(&["x", "nosuchword"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: http://far.example/mcp is unencrypted http to another host
          anyone on the network path can read and change everything, including tokens
        hint: use https://, or add --allow-http
    "#]]
    .assert_eq(&add(&["x", "http://far.example/mcp"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: --env applies only to a command, but 'https://x.example/mcp' is a URL
        hint: to send a header with each request: --header 'Name: value'
    "#]]
    .assert_eq(&add(&["x", "https://x.example/mcp", "-e", "A=1"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: 'allow_tools' in [servers.x] has an invalid pattern: unclosed character class; missing ']'
    "#]]
    .assert_eq(&add(&["x", "https://x.example/mcp", "--allow-tool", "a["]));
    for (words, part) in [
        (&["-x", "--", "y"][..], "unexpected argument '-x'"),
        (&["x", "https://a/", "-H", "broken"], "-H number 1: the header has no colon"),
        (&["x", "https://a/", "--protocol", "2020-01-01"], "unknown revision '2020-01-01'"),
        (&["x", "npx 'y"], "a quote that is not closed"),
        (&["x", "https://a/", "--proxy", "ftp://p"], "unsupported proxy scheme 'ftp'"),
    ] {
        let said = add(words);
        assert!(said.starts_with("exit: 2\n") && said.contains(part), "{words:?}: {said}");
    }
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: the following required arguments were not provided: <TARGET>
          usage: mcpipe config add [OPTIONS] <NAME> <TARGET>
        hint: see mcpipe config add --help
    "#]]
    .assert_eq(&add(&["x"]));
    expect![[r#"
        exit: 0
        --- stdout
        [servers.x]
        url = "https://x.example/mcp"
        headers = { Authorization = "Bearer abc" }
        --- stderr
        dry run: nothing was written to ~/.config/mcpipe/config.toml
        the value of 'Authorization' is stored as plain text; to store a reference instead: -H 'NAME: ${VAR}'
    "#]]
    .assert_eq(&add(&["x", "https://x.example/mcp", "-H", "Authorization: Bearer abc", "--dry-run"]));
    let taken = add(&["api", "https://other.example/mcp"]);
    assert!(taken.contains("it already has a server 'api'"), "{taken}");
    assert_eq!(add(&["api", "https://other.example/mcp", "--dry-run"]), taken);
    assert_eq!(sandbox.mcpipe(["config", "list"]).run().stdout().lines().count(), 3);
    expect![[r#"
        exit: 0
        --- stderr
        replaced 'api' in ~/.config/mcpipe/config.toml:16
        next: mcpipe list api
    "#]]
    .assert_eq(&add(&["api", "https://other.example/mcp", "--force"]));
    expect![[r#"
        exit: 0
        --- stderr
        added 'api' in [ROOT]/work/.mcpipe.toml:1
        next: mcpipe list api
    "#]]
    .assert_eq(&add(&["api", "--project", "https://proj.example/mcp"]));
    expect![[r#"
        exit: 0
        --- stdout
        api\thttp\thttps://proj.example/mcp\t[ROOT]/work/.mcpipe.toml:1\tenabled
        crm\thttp\thttps://crm.example/mcp\t~/.config/mcpipe/config.toml:8\tinvalid
        files\tstdio\tsh -c 'a b'\t~/.config/mcpipe/config.toml:1\tenabled
    "#]]
    .assert_eq(&config(&sandbox, &["list"]));
    let said = add(&["key", "https://key.example/", "-H", "X-Key: ${keychain:K}"]);
    assert!(said.contains("there is no secret 'K'") && !said.contains("plain text"), "{said}");
}

/// In a file, a relative path starts in the directory of the file.
#[test]
fn add_writes_paths_that_mean_the_same_in_the_file() {
    let sandbox = Sandbox::new();
    let recording = sandbox.path().join("work/rec.jsonl");
    let server = Mcp::modern().http();
    let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--record", "rec.jsonl"]).run();
    run.exits(0);
    let shown = |words: &[&str], options: &[&str]| {
        let run = sandbox
            .mcpipe(["config", "add", "s", "--dry-run"])
            .args(options.iter().copied())
            .args(words.iter().copied());
        let run = run.run();
        run.exits(0).stdout().replace(sandbox.path().to_str().unwrap(), "[ROOT]")
    };
    for (words, project, user) in [
        (&["unix:run/s.sock"][..], "url = \"unix:./run/s.sock\"\n", "url = \"unix:[ROOT]/work/run/s.sock\"\n"),
        (&["unix:///run/s.sock"], "url = \"unix:/run/s.sock\"\n", "url = \"unix:/run/s.sock\"\n"),
        (&["unix:~/s.sock"], "url = \"unix:~/s.sock\"\n", "url = \"unix:~/s.sock\"\n"),
        (&["unix:${RUN}/s"], "url = \"unix:${RUN}/s\"\n", "url = \"unix:${RUN}/s\"\n"),
        (&["replay:rec.jsonl"], "url = \"replay:./rec.jsonl\"\n", "url = \"replay:[ROOT]/work/rec.jsonl\"\n"),
        (&["--", "bin/srv"], "command = \"./bin/srv\"\n", "command = \"[ROOT]/work/bin/srv\"\n"),
        (&["--", "${TOOLS}/srv"], "command = \"${TOOLS}/srv\"\n", "command = \"${TOOLS}/srv\"\n"),
        (&["--", "~/srv"], "command = \"~/srv\"\n", "command = \"~/srv\"\n"),
        (&["--cwd", ".", "--", "sh"], "command = \"sh\"\ncwd = \".\"\n", "command = \"sh\"\ncwd = \"[ROOT]/work\"\n"),
    ] {
        assert_eq!(shown(words, &["--project"]), format!("[servers.s]\n{project}"), "{words:?}");
        assert_eq!(shown(words, &[]), format!("[servers.s]\n{user}"), "{words:?}");
    }
    // It is used from anywhere.
    sandbox.mcpipe(["config", "add", "s", "replay:rec.jsonl"]).run().exits(0);
    sandbox.mcpipe(["list", "s"]).cwd("/").run().exits(0);
    assert!(recording.exists());
}

#[test]
fn a_name_that_is_proposed_is_accepted() {
    let sandbox = Sandbox::new();
    for (name, near) in
        [("_foo", Some("foo")), ("é-x", Some("x")), ("foo.é", Some("foo")), ("_/.a b/", Some("a-b")), ("é", None)]
    {
        let run = sandbox.mcpipe(["config", "add", name, "https://a.example/", "--dry-run"]).run();
        let hint = run.exits(2).stderr().lines().find_map(|line| line.strip_prefix("hint: ").map(str::to_owned));
        assert_eq!(hint, near.map(|near| format!("use '{near}'")), "{name}");
        if let Some(near) = near {
            sandbox.mcpipe(["config", "add", near, "https://a.example/", "--dry-run"]).run().exits(0);
        }
    }
}

#[test]
fn add_with_check_connects_first_and_adds_nothing_where_that_fails() {
    let good = Mcp::modern().http();
    let stdio = Mcp::legacy("2025-06-18").stdio();
    let login = HttpServer::start(|_| Reply::status(401).header("WWW-Authenticate", "Bearer"));
    let html = HttpServer::start(|_| Reply::text("text/html", "<html>hello</html>"));
    let silent = HttpServer::start(|_| Reply::never());
    let sandbox = Sandbox::new();
    sandbox.config("# mine\n");
    let add = |name: &str, words: &[&str]| {
        sandbox
            .mcpipe(["config", "add", name, "--check", "--connect-timeout", "500ms", "--timeout", "500ms"])
            .args(words.iter().copied())
            .run()
    };
    let (login, html, silent) = (login.url("/mcp"), html.url("/mcp"), silent.url("/mcp"));
    for (words, code) in [
        (vec!["http://127.0.0.1:1/mcp"], 5),
        (vec![login.as_str()], 4),
        (vec![html.as_str()], 7),
        (vec![silent.as_str()], 6),
        (vec!["--", "/nowhere/server"], 5),
        (vec!["--", "true"], 5),
        (vec![&html, "--bearer-env", "NOT_SET"], 3),
        (vec![&html, "-H", "A: ${keychain:NONE}"], 3),
    ] {
        let run = add("x", &words);
        run.exits(code).prints("").stderr_contains("  'x' was not added\n");
        assert_eq!(
            std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap(),
            "# mine\n",
            "{run:?}"
        );
    }
    // The next command can be run although the name does not exist.
    add("x", &[&login]).stderr_contains(&format!("if it supports OAuth: mcpipe auth login {login}\n"));
    let script = sandbox.script("the server", "echo \"bad $*\" >&2; exit 3");
    let run = add("x", &["--env", "LEVEL=high", "--", script.to_str().unwrap(), "--api-key", "k3y-of-ada", "a b"]);
    assert_eq!(
        run.exits(5).prints("").stderr().replace(script.to_str().unwrap(), "SERVER"),
        "mcpipe: error: the server process ended (exit status: 3)\n  'x' was not added\nlast lines of the server's stderr:\n  \
         | bad --api-key [redacted] a b\nhint: run it by itself to see why: LEVEL=… 'SERVER' --api-key [redacted] 'a b'\n"
    );
    expect![[r#"
        exit: 0
        --- stderr
        added 'one' in ~/.config/mcpipe/config.toml:3
        connected: the server speaks 2026-07-28, 5 tools, 2 resources, 1 prompt
        next: mcpipe list one
    "#]]
    .assert_eq(&add("one", &[&good.url("/mcp")]).snapshot());
    let before = good.requests().len();
    add("one", &[&good.url("/mcp")]).exits(3).stderr_contains("it already has a server 'one'");
    assert_eq!(good.requests().len(), before, "what cannot be added is not connected to");
    let words = stdio.words();
    let json = sandbox.mcpipe(["config", "add", "two", "--check", "--json", "--", &words[0], &words[1]]).run();
    assert_eq!(
        json.exits(0).json()["checked"],
        json!({"server": {"name": "fake", "version": "1.2.3"}, "revision": "2025-06-18", "transport": "stdio",
            "tools": 5, "resources": 2, "prompts": 1})
    );
    assert_eq!(sandbox.mcpipe(["config", "list"]).run().stdout().lines().count(), 2);
    sandbox.mcpipe(["list", "two"]).run().exits(0);
}

#[test]
fn remove_and_rename_take_full_names_only() {
    let sandbox = configured_sandbox();
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: no server named 'fil' is configured
        hint: did you mean files?
    "#]]
    .assert_eq(&config(&sandbox, &["remove", "fil"]));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: cannot change ~/.config/mcpipe/config.toml
          it already has a server 'api'
    "#]]
    .assert_eq(&config(&sandbox, &["rename", "files", "api"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: 'a b' is not a valid server name
          a name consists of letters, digits, '_', '-', '.' and '/', begins with a letter or digit, and does not end with '.' or '/'
        hint: use 'a-b'
    "#]]
    .assert_eq(&config(&sandbox, &["rename", "files", "a b"]));
    expect![[r#"
        exit: 0
        --- stderr
        renamed 'files' to 'docs' in ~/.config/mcpipe/config.toml
    "#]]
    .assert_eq(&config(&sandbox, &["rename", "files", "docs"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"name":"api","file":"[ROOT]/home/.config/mcpipe/config.toml","removed":true}
    "#]]
    .assert_eq(&config(&sandbox, &["remove", "api", "--json"]));
    let text = std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap();
    let (before, rest) = MINE.split_once("[servers.api]").unwrap();
    let after = rest.split_once("[servers.files]").unwrap().1;
    assert_eq!(text, format!("{before}[servers.docs]{after}"));
    sandbox.file(".mcp.json", "{\"mcpServers\": {\"web\": {\"url\": \"https://web.example/mcp\"}}}");
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: 'web' is defined in [ROOT]/work/.mcp.json:1
          it is JSON, which belongs to other clients; mcpipe changes only TOML files
        hint: change it there
    "#]]
    .assert_eq(&config(&sandbox, &["remove", "web"]));
}

#[test]
fn edit_opens_the_editor_at_the_terminal_and_checks_what_is_left() {
    let sandbox = configured_sandbox();
    let good =
        sandbox.script("good", "tty <&0 >/dev/null && echo '[servers.new]\nurl = \"https://new.example/\"' >> \"$1\"");
    let seen = sandbox
        .mcpipe(["config", "edit"])
        .env("EDITOR", &good)
        .env("TEAM", "t")
        .env("T", "t")
        .at_terminal(TerminalStreams::ALL)
        .wait();
    seen.exits(0);
    assert!(seen.final_screen().starts_with("saved ~/.config/mcpipe/config.toml"), "{}", seen.final_screen());
    let bad = sandbox.script("bad", "echo '[servers.new]' >> \"$1\"");
    let run = sandbox.mcpipe(["config", "edit"]).env("VISUAL", &bad).run();
    expect![[r#"
        exit: 3
        --- stdout
        error\t~/.config/mcpipe/config.toml:16:10\tthis is not TOML: duplicate key\t-
        --- stderr
        saved ~/.config/mcpipe/config.toml
        mcpipe: error: 1 error in 1 file and 0 servers
    "#]]
    .assert_eq(&run.snapshot());
    let run = sandbox.mcpipe(["config", "edit"]).env("EDITOR", "/nowhere/editor").run();
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: the editor '/nowhere/editor' failed
          No such file or directory (os error 2)
        hint: set EDITOR to your editor
    "#]]
    .assert_eq(&run.snapshot());
    // It may have options and a path in quotes. A new file is not empty.
    let sandbox = Sandbox::new();
    let editor = sandbox.script("the editor", "[ \"$1\" = --wait ] || exit 3; echo >> \"$2\"");
    sandbox.mcpipe(["config", "edit"]).env("EDITOR", format!("'{}' --wait", editor.display())).run().exits(0);
    let text = std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap();
    assert!(text.starts_with("# The configuration of mcpipe."), "{text}");
    let run = sandbox.mcpipe(["config", "edit"]).env("EDITOR", format!("'{}'", editor.display())).run();
    run.exits(3).stderr_contains("exit status: 3");
}

#[test]
fn an_entry_that_cannot_be_used_yet_is_named_when_it_is_added_or_imported_and_listed_as_invalid() {
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["config", "add", "y", "--", "nosuch-binary-xyz"]).run();
    run.exits(0).stderr_contains("program 'nosuch-binary-xyz' not found in PATH").hides("mcpipe list y");
    let state = |sandbox: &Sandbox, name: &str| {
        let list = sandbox.mcpipe(["config", "list", "--json"]).run().exits(0).json();
        let servers = list["servers"].as_array().unwrap().clone();
        servers.into_iter().find(|server| server["name"] == name).unwrap()["state"].clone()
    };
    assert_eq!(state(&sandbox, "y"), "invalid");
    sandbox.mcpipe(["config", "add", "closed", "http://127.0.0.1:9/mcp"]).run().exits(0);
    assert_eq!(state(&sandbox, "closed"), "enabled", "nothing is connected to");
    let sandbox = Sandbox::new();
    let file =
        sandbox.file("theirs.json", r#"{"mcpServers":{"api":{"url":"https://h/mcp","headers":{"X":"${MYTOK}"}}}}"#);
    let run = sandbox.mcpipe(["config", "import", &file.display().to_string(), "--yes"]).run();
    run.exits(0).stderr_contains("'api' cannot be used yet: the variable MYTOK is not set");
    assert_eq!(state(&sandbox, "api"), "invalid");
}

#[test]
fn relative_arguments_of_an_entry_are_noted_with_the_option_that_keeps_the_directory() {
    let sandbox = Sandbox::new();
    let add = |words: &[&str]| sandbox.mcpipe([&["config", "add"], words].concat()).run();
    let note = "'./files' is resolved in the directory where mcpipe runs; to always use this directory: --cwd ";
    add(&["a", "--", "sh", "./files"]).exits(0).stderr_contains(note);
    add(&["b", "--cwd", ".", "--", "sh", "./files"]).exits(0).hides("is resolved in");
    add(&["c", "--", "sh", "/files"]).exits(0).hides("is resolved in");
}

/// Values keep their line breaks in a file with those of Windows.
#[test]
fn add_keeps_the_line_breaks_of_values() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("d.toml", "# x\r\n");
    let add = sandbox.mcpipe(["config", "add", "n", "--config", "d.toml", "-e", "A=l1\nl2", "--", "sh", "a\nb\r\nc"]);
    add.run().exits(0);
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.starts_with("# x\r\n"), "{text:?}");
    let shown = sandbox.mcpipe(["config", "get", "n", "--config", "d.toml", "--json"]).run().json()["values"].clone();
    let args = shown.as_array().unwrap().iter().find(|value| value["key"] == "args").unwrap();
    assert_eq!(args["value"], json!(["a\nb\r\nc"]), "{shown}");
}

#[test]
fn add_takes_a_directory_with_a_variable_or_a_tilde() {
    let sandbox = Sandbox::new();
    std::fs::create_dir(sandbox.path().join("home/y")).unwrap();
    for (name, cwd) in [("a", "${X}/y"), ("b", "~/y")] {
        sandbox.mcpipe(["config", "add", name, "--cwd", cwd, "--", "sh"]).run().exits(0);
        sandbox.mcpipe(["config", "get", name]).run().exits(0).stdout_contains(cwd);
    }
    let run = sandbox.mcpipe(["config", "add", "c", "--inherit-env", "none,PATH", "--", "sh"]).run();
    run.exits(2).stderr_contains("--inherit-env is all, none, or names of variables");
    sandbox.mcpipe(["config", "add", "d", "--timeout", "0.0001", "--", "sh"]).run().exits(0);
    sandbox.mcpipe(["config", "get", "d"]).run().exits(0).stdout_contains("timeout\t0.0001s");
}

/// A file that was not trusted before is not trusted by a change.
#[test]
fn add_and_import_say_that_the_file_has_to_be_trusted() {
    let sandbox = Sandbox::new();
    sandbox.file(".mcpipe.toml", "[servers.z]\nurl = \"https://z.example/mcp\"\n");
    sandbox.file("mcp.json", json!({"mcpServers": {"bar": {"command": "sh"}}}).to_string());
    let file = sandbox.work().join(".mcpipe.toml").display().to_string();
    let run = sandbox.mcpipe(["config", "add", "foo", "--project", "--", "sh"]).run();
    run.exits(0).stderr_is(&format!(
        "added 'foo' in {file}:4\n'foo' cannot be used: {file} is not trusted\nnext: mcpipe config trust {file}\n"
    ));
    let run = sandbox.mcpipe(["config", "import", "--project", "--yes", "mcp.json"]).run();
    run.exits(0).stderr_contains(&format!("wrote 1 server to {file}\n")).stderr_contains(&format!(
        "{file} is not trusted, so they cannot all be used\nnext: mcpipe config trust {file}\n"
    ));
    sandbox.mcpipe(["config", "add", "web", "--project", "https://w.example/mcp"]).run().exits(0).hides("trust");
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    sandbox.mcpipe(["config", "add", "last", "--project", "--", "sh"]).run().exits(0).hides("trust");
}
