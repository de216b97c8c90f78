//! Completion at run time: the candidates that shells get, without a connection.

use std::process::Command;

use serde_json::json;

use crate::support::{Mcp, Run, Sandbox, StdioServer};

/// The candidates of a shell that asks like fish: a candidate and its description per line.
fn asked(sandbox: &Sandbox, words: &[&str]) -> Run {
    let all = ["--", "mcpipe"].iter().chain(words).copied();
    let run = sandbox.mcpipe(all).env("MCPIPE_COMPLETE", "fish").run();
    run.succeeds();
    run
}

fn candidates(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let run = asked(sandbox, words);
    let all = run.stdout().lines().map(|line| line.split('\t').next().unwrap().to_owned());
    all.filter(|word| !word.starts_with('-')).collect()
}

fn entry(name: &str, server: &StdioServer) -> String {
    format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", server.words()[0], &server.words()[1..])
}

/// A configured server with cached lists.
fn remembered(server: Mcp) -> (Sandbox, StdioServer) {
    let (sandbox, server) = (Sandbox::new(), server.stdio());
    sandbox.config(&entry("demo", &server));
    sandbox.mcpipe(["list", "demo", "--all"]).run().exits(0);
    (sandbox, server)
}

#[test]
fn names_of_servers_come_from_the_configuration() {
    let sandbox = Sandbox::new();
    sandbox.config(
        "[servers.linear]\nurl = \"https://mcp.linear.invalid/\"\n[servers.local]\ncommand = \"x\"\n\
         [servers.off]\ncommand = \"x\"\ndisabled = true\n[servers.incomplete]\nurl = \"https://a/${MISSING}\"\n",
    );
    assert_eq!(candidates(&sandbox, &["call", ""]), ["incomplete", "linear", "local"]);
    for command in [
        &["call"][..],
        &["list"],
        &["read"],
        &["prompt"],
        &["auth", "login"],
        &["auth", "logout"],
        &["auth", "status"],
        &["auth", "token"],
        &["config", "get"],
        &["config", "remove"],
        &["config", "rename"],
        &["config", "check"],
        &["task", "list"],
        &["task", "wait"],
        &["-q", "call", "--timeout", "3s"],
    ] {
        assert_eq!(candidates(&sandbox, &[command, &["li"]].concat()), ["linear"], "{command:?}");
    }
    assert_eq!(candidates(&sandbox, &["config", "add", "li"]), [""; 0]);
    let other = sandbox.file("other.toml", "[servers.elsewhere]\ncommand = \"x\"\n");
    let other = other.to_str().unwrap();
    assert_eq!(candidates(&sandbox, &["--config", other, "call", "e"]), ["elsewhere"]);
    assert_eq!(candidates(&sandbox, &["config", "get", "--config", other, "e"]), ["elsewhere"]);
    // After a hyphen options are offered, and without one they are not.
    assert!(asked(&sandbox, &["call", "--ba"]).stdout().starts_with("--batch\t"));
    assert!(!asked(&sandbox, &["call", ""]).stdout().contains("--batch"));
}

#[test]
fn projects_count_once_they_are_trusted_and_broken_files_say_nothing() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.mine]\ncommand = \"x\"\n");
    let project = sandbox.file(".mcpipe.toml", "[servers.theirs]\ncommand = \"./x\"\n");
    assert_eq!(candidates(&sandbox, &["call", ""]), ["mine"]);
    sandbox.mcpipe(["config", "trust", "--yes", project.to_str().unwrap()]).run().exits(0);
    assert_eq!(candidates(&sandbox, &["call", ""]), ["mine", "theirs"]);

    std::fs::write(&project, "this is = = no toml").unwrap();
    assert_eq!(candidates(&sandbox, &["call", ""]), ["mine"]);
    asked(&sandbox, &["call", "mine", ""]);
    sandbox.config("[servers\n\u{1b}[2J");
    assert_eq!(candidates(&sandbox, &["call", "m"]), [""; 0]);
    asked(&sandbox, &["call", "mine", "x", "a="]);
    asked(&sandbox, &["read", "${MISSING}", ""]);
    // An unknown shell gets nothing on standard output.
    sandbox.mcpipe(["--", "mcpipe", "call"]).env("MCPIPE_COMPLETE", "cobol").run().exits(1).prints("");
}

#[test]
fn tools_and_their_arguments_come_from_the_last_list() {
    for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let (sandbox, server) = remembered(server.tools(json!([
            {"name": "echo", "title": "Echo", "description": "\nSays what\tit is told.\nNothing else.",
                "inputSchema": {"type": "object", "required": ["text", "loud"], "properties": {
                    "text": {"type": "string", "description": "What to say"},
                    "tag": {"type": "array", "items": {"type": "string"}},
                    "tone": {"enum": ["warm", "cold"]},
                    "loud": {"type": "boolean", "default": false, "description": "Shout"},
                    "to": {"type": "object", "properties": {"name": {"type": "string"}}}}}},
            {"name": "exit", "inputSchema": {"type": "object"}},
        ])));
        let started = server.processes().len();
        assert_eq!(candidates(&sandbox, &["call", "demo", ""]), ["echo", "exit"]);
        assert_eq!(candidates(&sandbox, &["list", "demo", "ec"]), ["echo"]);
        assert_eq!(candidates(&sandbox, &["call", "demo.ec"]), ["demo.echo"]);
        assert!(asked(&sandbox, &["call", "demo", "ec"]).stdout().contains("echo\tSays what it is told.\n"));
        let arguments = |words: &[&str]| candidates(&sandbox, &[&["call", "demo", "echo"], words].concat());
        assert_eq!(arguments(&[""]), ["text=", "tag=", "tone=", "loud=", "to=", "to.name="]);
        assert_eq!(arguments(&["text=x", "tag=a", "tone:=null", "t"]), ["tag=", "to=", "to.name="]);
        assert_eq!(arguments(&["tone="]), ["tone=warm", "tone=cold"]);
        assert_eq!(arguments(&["tone=c"]), ["tone=cold"]);
        assert_eq!(arguments(&["loud="]), ["loud=true", "loud=false"]);
        assert_eq!(arguments(&["text="]), [""; 0]);
        assert_eq!(candidates(&sandbox, &["call", "demo.echo", "te"]), ["text="]);
        assert!(
            asked(&sandbox, &["call", "demo", "echo", "te"]).stdout().contains("text=\tstring, required, What to say")
        );
        // A parameter with a default may be omitted.
        assert!(asked(&sandbox, &["call", "demo", "echo", "lo"]).stdout().contains("loud=\tboolean, Shout"));
        // A target that is not a name has cached lists too.
        let target = server.target();
        assert_eq!(candidates(&sandbox, &["call", &target, "ex"]), ["exit"]);
        assert_eq!(server.processes().len(), started, "nobody was asked");
    }
}

#[test]
fn prompts_and_resources_come_from_the_last_lists() {
    for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let (sandbox, server) = remembered(server);
        let started = server.processes().len();
        assert_eq!(candidates(&sandbox, &["prompt", "demo", ""]), ["greet"]);
        assert_eq!(candidates(&sandbox, &["prompt", "demo", "greet", ""]), ["who=", "tone="]);
        assert_eq!(candidates(&sandbox, &["prompt", "demo", "greet", "who=Ada", ""]), ["tone="]);
        assert_eq!(candidates(&sandbox, &["read", "demo", ""]), ["demo://hello", "demo://logo", "demo://item/{id}"]);
        assert_eq!(candidates(&sandbox, &["read", "demo", "demo://hello", "demo://l"]), ["demo://logo"]);
        assert_eq!(server.processes().len(), started);
    }
}

#[test]
fn a_list_that_is_stale_serves_completion_and_nothing_else() {
    // The scripted modern server allows no caching (`ttlMs` 0).
    let (sandbox, server) = remembered(Mcp::modern());
    assert_eq!(candidates(&sandbox, &["call", "demo", "ad"]), ["add"]);
    sandbox.mcpipe(["call", "demo", "add", "a=1", "b=1"]).run().succeeds();
    let last = server.processes().pop().unwrap();
    assert!(last.methods().contains(&"tools/list".to_owned()), "{:?}", last.methods());
    // Uncached lists are unknown.
    let unkept = Sandbox::new();
    unkept.config(&entry("demo", &server));
    unkept.mcpipe(["list", "demo", "--no-cache"]).run().succeeds();
    assert_eq!(candidates(&unkept, &["call", "demo", "ad"]), [""; 0]);
}

#[test]
fn what_is_denied_or_would_act_is_not_offered() {
    let (sandbox, server) = remembered(Mcp::legacy("2025-11-25").tools(json!([
        {"name": "fine", "description": "a\u{1b}[31mred", "inputSchema": {"type": "object"}},
        {"name": "fine;rm -rf x", "inputSchema": {"type": "object"}},
        {"name": "two\nlines", "inputSchema": {"type": "object"}},
        {"name": "esc\u{1b}[2J", "inputSchema": {"type": "object"}},
        {"name": "--yes", "inputSchema": {"type": "object"}},
        {"name": "hidden", "inputSchema": {"type": "object"}},
    ])));
    sandbox.config(&(entry("demo", &server) + "deny_tools = [\"hid*\"]\n"));
    assert_eq!(candidates(&sandbox, &["call", "demo", ""]), ["fine", "fine;rm -rf x"]);
    let run = asked(&sandbox, &["call", "demo", "fi"]);
    run.hides("\u{1b}").stdout_contains("a\\x1b[31mred");
    // PowerShell inserts candidates without quoting them.
    let all = ["--", "mcpipe", "call", "demo", "fi"];
    sandbox.mcpipe(all).env("MCPIPE_COMPLETE", "powershell").run().succeeds().prints("fine\ta\\x1b[31mred\n");
}

#[test]
fn every_shell_gets_its_own_form() {
    let (sandbox, _server) = remembered(Mcp::legacy("2025-11-25"));
    let ask = |shell: &str, index: &str, words: &[&str]| {
        let all = ["--", "mcpipe"].iter().chain(words).copied();
        let run = sandbox
            .mcpipe(all)
            .env("MCPIPE_COMPLETE", shell)
            .env("_CLAP_COMPLETE_INDEX", index)
            .env("_CLAP_IFS", "|")
            .run();
        run.succeeds().stdout().to_owned()
    };
    assert_eq!(ask("bash", "3", &["call", "demo", "", "more"]), "echo|add|fail|image|slow");
    assert_eq!(ask("elvish", "3", &["call", "demo", "e"]), "echo");
    assert_eq!(ask("zsh", "3", &["call", "'demo'", "ec"]), "echo:Says what it is told.");
    assert_eq!(ask("zsh", "3", &["read", "demo", "demo://h"]), "demo\\://hello:A greeting");
    let found = r#"[{"value":"echo","description":"Says what it is told."}]"#;
    assert_eq!(ask("nushell", "", &["call", "demo", "ec"]), format!("{found}\n"));
    assert_eq!(ask("nushell", "", &["call", "demo", "nothing"]), "[]\n");
    assert_eq!(ask("powershell", "", &["call", "demo", "ad"]), "add\tAdds two integers\n");
}

#[test]
fn programs_and_files_are_offered_after_two_dashes() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.demo]\nurl = \"https://example.com/mcp\"\n");
    sandbox.script("bin/my-server", "exit 1");
    sandbox.file("bin/my-notes", "no program");
    sandbox.script("server.py", "exit 1");
    sandbox.file("data/a.txt", "");
    let path = sandbox.work().join("bin").display().to_string();
    let ask = |words: &[&str]| {
        let all = ["--", "mcpipe"].iter().chain(words).copied();
        let run = sandbox.mcpipe(all).env("MCPIPE_COMPLETE", "fish").env("PATH", &path).run();
        run.succeeds().stdout().lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    for before in [&["list"][..], &["call", "add", "a=1"], &["read"], &["prompt", "x"], &["config", "add", "x"]] {
        let words = |after: &[&'static str]| [before, &["--"], after].concat();
        assert_eq!(ask(&words(&["my-"])), ["my-server"], "{before:?}");
        assert_eq!(ask(&words(&["./se"])), ["./server.py"], "{before:?}");
        assert_eq!(ask(&words(&["my-server", "data/"])), ["data/a.txt"], "{before:?}");
        assert_eq!(ask(&words(&["my-server", "x", "da"])), ["data/"], "{before:?}");
    }
    assert_eq!(ask(&["config", "add", "my-"]), [""; 0]);
}

/// What a real bash does: the words as it splits them; the last one is being completed.
fn bash(sandbox: &Sandbox, line: &str, words: &[&str]) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_mcpipe")).parent().unwrap();
    let script = format!(
        "source {root}/completions/mcpipe.bash\nCOMP_LINE=$1 COMP_POINT=${{#1}}; shift\nCOMP_WORDS=(\"$@\")\n\
         COMP_CWORD=$(($# - 1))\nlast=${{!#}}; before=${{@: -2:1}}\n\
         if [[ $before == *@ ]]; then last=@$last; elif [[ $last == *@ ]]; then last=@\n\
         elif [[ $last == [=:]* && $last != //* ]]; then last=; fi\n\
         _mcpipe mcpipe \"$last\"\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    );
    let like = sandbox.mcpipe(["x"]);
    let mut command: Command = like.command(&["bash", "--norc", "-c", &script, "bash"]);
    // The script gets the binary as an argument: the words follow it.
    let mut own = Command::new("bash");
    own.args(["--norc", "-c", &script, "bash", line]).args(words).env_clear();
    own.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    own.env("PATH", format!("{}:/usr/bin:/bin", binary.display())).current_dir(sandbox.work());
    command = own;
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn bash_cuts_words_and_gets_its_pieces() {
    let (sandbox, _server) = remembered(Mcp::legacy("2025-11-25").tools(json!([
        {"name": "echo", "inputSchema": {"type": "object", "properties": {"tone": {"enum": ["warm", "c:d;e"]}}}},
        {"name": "odd $(touch x)", "inputSchema": {"type": "object"}},
    ])));
    let asked = |line: &str, words: &[&str]| bash(&sandbox, line, words);
    assert_eq!(asked("mcpipe call d", &["mcpipe", "call", "d"]), "demo\n");
    assert_eq!(asked("mcpipe call demo ", &["mcpipe", "call", "demo", ""]), "echo\nodd\\ \\$\\(touch\\ x\\)\n");
    assert_eq!(asked("mcpipe call demo echo ", &["mcpipe", "call", "demo", "echo", ""]), "tone=\n");
    let words = ["mcpipe", "call", "demo", "echo", "tone", "="];
    assert_eq!(asked("mcpipe call demo echo tone=", &words), "warm\nc:d\\;e\n");
    let words = ["mcpipe", "call", "demo", "echo", "tone", "=", "wa"];
    assert_eq!(asked("mcpipe call demo echo tone=wa", &words), "warm\n");
    assert_eq!(asked("mcpipe read demo demo://he", &["mcpipe", "read", "demo", "demo", ":", "//he"]), "//hello\n");
    // bash splits at an at sign too, but passes it on.
    sandbox.file("letter.txt", "");
    let words = ["mcpipe", "call", "demo", "echo", "text", "=@", "le"];
    assert_eq!(asked("mcpipe call demo echo text=@le", &words), "@letter.txt\n");
    let words = ["mcpipe", "call", "demo", "echo", "text", ":=@"];
    assert_eq!(asked("mcpipe call demo echo text:=@", &words), "@letter.txt\n");
    let words = ["mcpipe", "call", "demo", "echo", "--args", "@", "le"];
    assert_eq!(asked("mcpipe call demo echo --args @le", &words), "@letter.txt\n");
    // Words after a URL are completed for it, although bash splits it.
    let words = ["mcpipe", "call", "https", ":", "//a.invalid/mcp", "--b"];
    assert_eq!(asked("mcpipe call https://a.invalid/mcp --b", &words), "--batch\n--bearer-env\n");
    assert!(!sandbox.work().join("x").exists());
}

/// Candidates are inserted as they are.
#[test]
fn members_of_items_are_offered_as_they_are_typed() {
    let item = json!({"type": "object", "properties": {"k": {"enum": ["one", "two"]}}});
    let schema = json!({"type": "object", "properties": {"nested": {"type": "object", "properties": {
        "l": {"type": "array", "items": item}, "map": {"type": "object", "additionalProperties": {"type": "integer"}}}}}});
    let server = Mcp::modern().tools(json!([{"name": "do", "inputSchema": schema}]));
    let (sandbox, _server) =
        remembered(server.on("tools/call", |call| call.text(&call.params()["arguments"].to_string())));
    assert_eq!(
        candidates(&sandbox, &["call", "demo", "do", "nested."]),
        ["nested.l=", "nested.l[0].k=", "nested.map="]
    );
    assert_eq!(
        candidates(&sandbox, &["call", "demo", "do", "nested.l[0].k="]),
        ["nested.l[0].k=one", "nested.l[0].k=two"]
    );
    let call = |word: &str| sandbox.mcpipe(["call", "demo", "do", word]).run();
    call("nested.l[0].k=one").succeeds().prints("{\"nested\":{\"l\":[{\"k\":\"one\"}]}}\n");
    call("nested.l[].k=one").exits(2).prints("").stderr_contains("no such parameter; write nested.l[0].k=…");
    let run = call("nested.l.k=one");
    run.exits(2).prints("").stderr_contains("nested.l: expected array, which has no member k; write nested.l[0].k=…");
    let run = call("nested.l.zzz=one");
    run.exits(2).prints("");
    assert!(!run.stderr().contains("write"), "{run:?}");
}

#[test]
fn secrets_tasks_clients_pages_and_files_are_offered_where_they_belong() {
    let sandbox = Sandbox::new();
    sandbox.config(
        "[defaults]\ncredential_store = \"file\"\n[servers.linear]\nurl = \"https://l.invalid/\"\n\
         headers = { X-Key = \"${keychain:LINEAR_KEY}\" }\n",
    );
    sandbox.mcpipe(["config", "secret", "set", "CRM_KEY"]).stdin("s3cret").run().exits(0);
    // Stored secrets can be removed; missing ones that are referred to can be set.
    assert_eq!(candidates(&sandbox, &["config", "secret", "remove", ""]), ["CRM_KEY"]);
    assert_eq!(candidates(&sandbox, &["config", "secret", "set", "LIN"]), ["LINEAR_KEY"]);

    assert_eq!(candidates(&sandbox, &["man", "conf"]), ["config"]);
    assert_eq!(candidates(&sandbox, &["man", "config", "secret", "s"]), ["set"]);
    assert_eq!(candidates(&sandbox, &["man", "config-a"]), ["config-add"]);
    assert!(candidates(&sandbox, &["man", ""]).contains(&"call".to_owned()));

    sandbox.file("letter.txt", "");
    sandbox.file("deep/letter.txt", "");
    sandbox.file("my servers.json", "");
    assert_eq!(candidates(&sandbox, &["config", "import", "c"]), ["claude-code", "claude-desktop", "cursor", "codex"]);
    assert_eq!(candidates(&sandbox, &["config", "import", "./m"]), ["./my servers.json"]);
    assert_eq!(candidates(&sandbox, &["config", "import", "my"]), ["my servers.json"]);
    assert_eq!(candidates(&sandbox, &["test", "l"]), ["linear", "letter.txt"]);
    assert_eq!(candidates(&sandbox, &["replay", "deep/l"]), ["deep/letter.txt"]);
    for word in ["text=@", "text:=@", "@"] {
        let words = ["call", "https://a.invalid/mcp", "echo"];
        let word = |rest: &str| format!("{word}{rest}");
        let words: Vec<&str> = if word("") == "@" { vec!["call", "x", "y", "--args"] } else { words.to_vec() };
        let asked = |rest: &str| candidates(&sandbox, &[&words[..], &[&word(rest)]].concat());
        assert_eq!(asked("le"), [word("letter.txt")]);
        assert_eq!(asked("d"), [word("deep/")]);
        assert_eq!(asked("deep/"), [word("deep/letter.txt")]);
        assert_eq!(asked("nowhere/"), [""; 0]);
    }
    // Text that begins with an at sign is not a file.
    assert_eq!(candidates(&sandbox, &["call", "x", "y", "text=@@le"]), [""; 0]);
    sandbox.file("evil\u{1b}[2J", "");
    assert_eq!(candidates(&sandbox, &["call", "x", "y", "text=@ev"]), [""; 0]);
}

/// `=@` is a file, so a value that begins with an at sign needs another.
#[test]
fn values_that_begin_with_an_at_sign_are_text() {
    let tools = json!([{"name": "add", "inputSchema": {"type": "object", "properties": {
        "schedule": {"enum": ["@daily", "@hourly", "never"]}}}}]);
    let (sandbox, _server) = remembered(Mcp::modern().tools(tools));
    sandbox.file("diary.txt", "");
    let values = |word: &str| candidates(&sandbox, &["call", "demo", "add", word]);
    assert_eq!(values("schedule="), ["schedule=@@daily", "schedule=@@hourly", "schedule=never"]);
    assert_eq!(values("schedule=@@h"), ["schedule=@@hourly"]);
    assert_eq!(values("schedule=@d"), ["schedule=@diary.txt"]);
}

#[test]
fn the_ids_of_tasks_are_offered() {
    let task = json!({"taskId": "t-1", "status": "working", "createdAt": "2026-01-01T00:00:00Z",
        "lastUpdatedAt": "2026-01-01T00:00:00Z", "ttlMs": 60000, "pollIntervalMs": 50, "resultType": "task"});
    let server = Mcp::modern()
        .capabilities(json!({"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}))
        .on("tools/call", move |call| call.result(task.clone()))
        .http();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.demo]\nurl = {:?}\n[servers.other]\nurl = \"http://127.0.0.1:1/\"\n",
        server.url("/mcp")
    ));
    sandbox.mcpipe(["call", "demo", "echo", "text=x", "--detach"]).run().exits(0);
    for subcommand in ["get", "wait", "cancel"] {
        assert_eq!(candidates(&sandbox, &["task", subcommand, ""]), ["t-1", "demo", "other"]);
        assert_eq!(candidates(&sandbox, &["task", subcommand, "t"]), ["t-1"]);
        assert_eq!(candidates(&sandbox, &["task", subcommand, "demo", ""]), ["t-1"]);
        assert_eq!(candidates(&sandbox, &["task", subcommand, "other", ""]), [""; 0]);
    }
    assert!(asked(&sandbox, &["task", "get", "t"]).stdout().starts_with("t-1\techo, demo"));
    assert_eq!(candidates(&sandbox, &["task", "list", ""]), ["demo", "other"]);
}
