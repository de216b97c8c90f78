//! `config`: every subcommand as a user sees it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::Sandbox;

const MINE: &str = r#"# mine
[defaults]
timeout = "5s"

[servers.api]
url = "https://u:pw@api.example/mcp?key=k3y&team=${TEAM}"
bearer_env = "T"
allow_tools = ["get_*"]
[servers.api.headers]
X-Team = "${TEAM}"
X-Key = "s3cret"
[servers.api.auth]
client_id = "cli"
client_secret = "s3cret"

[servers.files]
command = "sh"
args = ["-c", "cat", "--token", "s3cret", "a b"]
cwd = "~"

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
    let run = sandbox.mcpipe(["config"]).args(words.iter().copied()).env("TEAM", "core").env("T", "t0ken").run();
    run.hides("s3cret").hides("k3y").hides("pw@").hides("t0ken");
    run.snapshot()
}

#[test]
fn list_says_what_is_configured_and_where() {
    let sandbox = configured_sandbox();
    sandbox.file(
        ".mcp.json",
        "{\"mcpServers\": {\n \"web\": {\"url\": \"https://web.example/mcp\"},\n \"run\": {\"command\": \"sh\"}}}",
    );
    sandbox.file(".mcpipe.toml", "[servers.api]\nurl = \"https://theirs.example/mcp\"\n[servers.bad]\nurll = \"x\"\n");
    expect![[r#"
        exit: 0
        --- stdout
        api\thttp\thttps://theirs.example/mcp\t[ROOT]/work/.mcpipe.toml:1\tuntrusted
        bad\t-\t-\t[ROOT]/work/.mcpipe.toml:3\tinvalid
        files\tstdio\tsh -c cat --token [redacted] 'a b'\t~/.config/mcpipe/config.toml:16\tenabled
        off\thttp\thttps://off.example/mcp\t~/.config/mcpipe/config.toml:21\tdisabled
        run\tstdio\tsh\t[ROOT]/work/.mcp.json:3\tuntrusted
        web\thttp\thttps://web.example/mcp\t[ROOT]/work/.mcp.json:2\tenabled
    "#]]
    .assert_eq(&config(&sandbox, &["list"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"servers":[{"name":"api","transport":"http","target":"https://theirs.example/mcp","origin":{"file":"[ROOT]/work/.mcpipe.toml","line":1},"layer":"project","state":"untrusted","replaces":["[ROOT]/home/.config/mcpipe/config.toml:5"],"errors":[]},{"name":"bad","transport":null,"target":null,"origin":{"file":"[ROOT]/work/.mcpipe.toml","line":3},"layer":"project","state":"invalid","replaces":[],"errors":[{"file":"[ROOT]/work/.mcpipe.toml","line":4,"column":null,"message":"unknown key 'urll' in [servers.bad]; did you mean 'url'?","cause":null,"hint":null}]},{"name":"files","transport":"stdio","target":"sh -c cat --token [redacted] 'a b'","origin":{"file":"[ROOT]/home/.config/mcpipe/config.toml","line":16},"layer":"user","state":"enabled","replaces":[],"errors":[]},{"name":"off","transport":"http","target":"https://off.example/mcp","origin":{"file":"[ROOT]/home/.config/mcpipe/config.toml","line":21},"layer":"user","state":"disabled","replaces":[],"errors":[]},{"name":"run","transport":"stdio","target":"sh","origin":{"file":"[ROOT]/work/.mcp.json","line":3},"layer":"project","state":"untrusted","replaces":[],"errors":[]},{"name":"web","transport":"http","target":"https://web.example/mcp","origin":{"file":"[ROOT]/work/.mcp.json","line":2},"layer":"project","state":"enabled","replaces":[],"errors":[]}],"errors":[]}
    "#]].assert_eq(&config(&sandbox, &["list", "--json"]));
    expect![[r#"
        exit: 0
        --- stderr
        no servers are configured; to add one: mcpipe config add NAME URL
    "#]]
    .assert_eq(&config(&Sandbox::new(), &["list"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"servers":[],"errors":[]}
    "#]]
    .assert_eq(&config(&Sandbox::new(), &["list", "--json"]));
}

#[test]
fn get_tells_every_value_with_its_origin() {
    let sandbox = configured_sandbox();
    expect![[r#"
        exit: 0
        --- stdout
        url\thttps://[redacted]@api.example/mcp?key=[redacted]&team=core\t~/.config/mcpipe/config.toml:6
        bearer_env\tT\t~/.config/mcpipe/config.toml:7
        allow_tools\t'get_*'\t~/.config/mcpipe/config.toml:8
        headers.X-Team\tcore\t~/.config/mcpipe/config.toml:10
        headers.X-Key\t[redacted]\t~/.config/mcpipe/config.toml:11
        auth.client_id\tcli\t~/.config/mcpipe/config.toml:13
        auth.client_secret\t[redacted]\t~/.config/mcpipe/config.toml:14
        timeout\t5s\t~/.config/mcpipe/config.toml:3
    "#]]
    .assert_eq(&config(&sandbox, &["get", "api"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"name":"files","transport":"stdio","target":"sh -c cat --token [redacted] 'a b'","origin":{"file":"[ROOT]/home/.config/mcpipe/config.toml","line":16},"layer":"user","state":"enabled","replaces":[],"errors":[],"values":[{"key":"command","value":"sh","redacted":false,"origin":{"file":"[ROOT]/home/.config/mcpipe/config.toml","line":17}},{"key":"args","value":["-c","cat","--token","[redacted]","a b"],"redacted":true,"origin":{"file":"[ROOT]/home/.config/mcpipe/config.toml","line":18}},{"key":"cwd","value":"~","redacted":false,"origin":{"file":"[ROOT]/home/.config/mcpipe/config.toml","line":19}},{"key":"timeout","value":"5s","redacted":false,"origin":{"file":"[ROOT]/home/.config/mcpipe/config.toml","line":3}}]}
    "#]].assert_eq(&config(&sandbox, &["get", "files", "--json"]));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: no server named 'apo' is configured
        hint: did you mean api?
    "#]]
    .assert_eq(&config(&sandbox, &["get", "apo"]));
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: the following required arguments were not provided: <NAME>
          usage: mcpipe config get [OPTIONS] <NAME>
        hint: see mcpipe config get --help
    "#]]
    .assert_eq(&config(&sandbox, &["get"]));
    let jq = sandbox.mcpipe(["config", "get", "files", "--jq", ".values[] | select(.key == \"cwd\").value"]).run();
    jq.succeeds().prints("~\n");
}

#[test]
fn path_lists_the_files_in_their_order() {
    let sandbox = configured_sandbox();
    sandbox.file(".mcp.json", "{}");
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/home/.config/mcpipe/config.toml\tuser\tread
        [ROOT]/work/.mcp.json\tproject\tuntrusted
    "#]]
    .assert_eq(&config(&sandbox, &["path"]));
    sandbox.file("alone.toml", "");
    expect![[r#"
        exit: 0
        --- stdout
        {"files":[{"path":"[ROOT]/work/alone.toml","layer":"explicit","format":"toml","state":"read","cause":null}]}
    "#]]
    .assert_eq(&config(&sandbox, &["path", "--config", "alone.toml", "--json"]));
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/work/gone.toml\texplicit\tmissing
        --- stderr
        only this file is read, because of --config or MCPIPE_CONFIG
    "#]]
    .assert_eq(&config(&sandbox, &["path", "--config", "gone.toml"]));
}

/// A missing file and an unreadable one are reported differently.
#[test]
fn path_says_why_a_file_cannot_be_read() {
    let sandbox = Sandbox::new();
    sandbox.file("plain", "");
    symlink("loop.toml", sandbox.work().join("loop.toml")).unwrap();
    let home = sandbox.path().join("home/.config");
    std::fs::create_dir_all(home.join("mcpipe")).unwrap();
    symlink("config.toml", home.join("mcpipe/config.toml")).unwrap();
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/work/plain/c.toml\texplicit\tunreadable
        --- stderr
        cannot read [ROOT]/work/plain/c.toml: Not a directory (os error 20)
        only this file is read, because of --config or MCPIPE_CONFIG
    "#]]
    .assert_eq(&config(&sandbox, &["path", "--config", "plain/c.toml"]));
    expect![[r#"
        exit: 0
        --- stdout
        {"files":[{"path":"[ROOT]/work/loop.toml","layer":"explicit","format":"toml","state":"unreadable","cause":"Too many levels of symbolic links (os error 40)"}]}
    "#]]
    .assert_eq(&config(&sandbox, &["path", "--config", "loop.toml", "--json"]));
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/home/.config/mcpipe/config.toml\tuser\tunreadable
        --- stderr
        cannot read ~/.config/mcpipe/config.toml: Too many levels of symbolic links (os error 40)
    "#]]
    .assert_eq(&config(&sandbox, &["path"]));
    // A file whose trust cannot be determined is not read.
    let store = sandbox.path().join("home/.local/state/mcpipe");
    std::fs::create_dir_all(&store).unwrap();
    std::fs::write(store.join("trust.json"), "{").unwrap();
    sandbox.file(".mcp.json", "{}");
    std::fs::remove_file(home.join("mcpipe/config.toml")).unwrap();
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/home/.config/mcpipe/config.toml\tuser\tmissing
        [ROOT]/work/.mcp.json\tproject\tunreadable
        --- stderr
        cannot read [ROOT]/work/.mcp.json: the list of trusted files cannot be read
    "#]]
    .assert_eq(&config(&sandbox, &["path"]));
    std::fs::remove_file(sandbox.work().join(".mcp.json")).unwrap();
    // If a directory of the path is a file, there is nothing below it.
    std::fs::remove_dir_all(home.join("mcpipe")).unwrap();
    std::fs::write(home.join("mcpipe"), "").unwrap();
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/home/.config/mcpipe/config.toml\tuser\tmissing
    "#]]
    .assert_eq(&config(&sandbox, &["path"]));
}

/// A path may contain bytes that are not UTF-8, and JSON may not.
#[test]
fn a_path_that_is_no_text_is_told_as_far_as_it_is() {
    let sandbox = Sandbox::new();
    let odd = sandbox.work().join(OsStr::from_bytes(b"odd-\xff"));
    std::fs::create_dir(&odd).unwrap();
    std::fs::write(odd.join(".mcpipe.toml"), "[servers.a]\nurl = \"https://a.example/mcp\"\n").unwrap();
    let file = sandbox.work().join("odd-\u{fffd}/.mcpipe.toml");
    let run = |words: &[&str]| {
        let run = sandbox.mcpipe(["config"]).args(words.iter().copied()).args(["--json"]).cwd(&odd).run();
        run.exits(0).json()
    };
    assert_eq!(run(&["path"])["files"][1]["path"], json!(file));
    assert_eq!(run(&["check"])["files"], json!([file]));
    assert_eq!(run(&["list"])["servers"][0]["origin"]["file"], json!(file));
    assert_eq!(run(&["trust", "--yes"])["files"][0]["file"], json!(file));
    assert_eq!(run(&["trust", "--revoke"])["files"][0]["file"], json!(file));
    for words in [
        &["add", "b", "https://b.example/mcp", "--project", "--dry-run"][..],
        &["add", "b", "https://b.example/mcp", "--project"],
        &["rename", "b", "c", "--project"],
        &["remove", "c", "--project"],
        &["import", ".mcpipe-import.json", "--project", "--yes"],
    ] {
        std::fs::write(odd.join(".mcpipe-import.json"), "{\"mcpServers\": {\"d\": {\"url\": \"https://d/\"}}}")
            .unwrap();
        assert_eq!(run(words)["file"], json!(file), "{words:?}");
    }
}

/// What a variable holds may be any secret, a plain word too: where a process is given it, the reference stands.
#[test]
fn get_shows_references_of_what_a_process_is_given() {
    let sandbox = Sandbox::new();
    sandbox.config(
        "[servers.s]\ncommand = \"sh\"\nargs = [\"-c\", \"true\", \"${WORD}\", \"--as=${WORD:-none}\"]\ncwd = \"~/${DIR}\"\n\
         env = { DB = \"${WORD}\", LEVEL = \"debug\", AT = \"in ${WORD}\", DATA = \"${HOME}/data\" }\n",
    );
    std::fs::create_dir(sandbox.path().join("home/core")).unwrap();
    let run = |words: &[&str]| {
        let run = sandbox.mcpipe(["config", "get", "s"]).args(words.iter().copied());
        run.env("WORD", "swordfish").env("DIR", "core").run()
    };
    expect![[r#"
        exit: 0
        --- stdout
        command\tsh\t~/.config/mcpipe/config.toml:2
        args\t-c true ${WORD} --as=${WORD:-none}\t~/.config/mcpipe/config.toml:3
        cwd\t~/core\t~/.config/mcpipe/config.toml:4
        env.DB\t${WORD}\t~/.config/mcpipe/config.toml:5
        env.LEVEL\tdebug\t~/.config/mcpipe/config.toml:5
        env.AT\t[redacted]${WORD}\t~/.config/mcpipe/config.toml:5
        env.DATA\t[ROOT]/home/data\t~/.config/mcpipe/config.toml:5
    "#]]
    .assert_eq(&run(&[]).hides("swordfish").snapshot());
    let values = run(&["--json"]).hides("swordfish").json()["values"].clone();
    assert_eq!(values[1]["value"], json!(["-c", "true", "${WORD}", "--as=${WORD:-none}"]));
    assert_eq!((&values[3]["value"], &values[3]["redacted"]), (&json!("${WORD}"), &json!(false)));
}

#[test]
fn check_finds_everything_at_once() {
    let sandbox = Sandbox::new();
    sandbox.config(
        "[defaults]\ncredential_store = \"file\"\n\
         [servers.a]\nurl = \"https://a/\"\nheaderz = { }\n\
         [servers.b]\ncommand = \"no-such-program\"\ntimeout = \"soon\"\n\
         [servers.c]\ncommand = \"no-such-program\"\nenv = { A = \"${NOT_SET}\" }\n\
         [servers.d]\nurl = \"https://d/\"\ncacert = \"gone.pem\"\nheaders = { A = \"${keychain:GONE}\" }\n\
         [servers.e]\nurl = \"https://e/\"\ncommand = \"sh\"\n\
         [servers.f]\ncommand = \"no-such-program\"\n\
         [servers.\"./a\"]\nurl = \"https://g/\"\n\
         [servers.h]\nurl = \"https://h/\"\nprotocol = \"2024-01-01\"\nallow_tools = [\"a[\"]\nconfirm = \"sometimes\"\n",
    );
    sandbox.file(".mcp.json", "{\"mcpServers\": {\"./a b\": {\"url\": \"https://x/\"}, \"a-b\": {\"url\": \"https://y/\"}, \"f\": {\"command\": \"sh\"}}}");
    expect![[r#"
        exit: 3
        --- stdout
        error\t~/.config/mcpipe/config.toml:21\tthe name './a' cannot be typed as a target; use 'a'\t-
        error\t~/.config/mcpipe/config.toml:5\tunknown key 'headerz' in [servers.a]; did you mean 'headers'?\t-
        error\t~/.config/mcpipe/config.toml:8\t'timeout' in [servers.b] is not a duration: expected a duration such as 500ms, 30s or 2m\t-
        error\t~/.config/mcpipe/config.toml:11\tthe variable NOT_SET is not set; 'env.A' in [servers.c] refers to it\tset NOT_SET, or add a default: ${NOT_SET:-…}
        error\t~/.config/mcpipe/config.toml:15\tthere is no secret 'GONE' in ~/.local/share/mcpipe/credentials.json; 'headers.A' in [servers.d] refers to it\tstore it: mcpipe config secret set GONE
        error\t~/.config/mcpipe/config.toml:18\t[servers.e] has both 'url' and 'command'\t-
        warning\t[ROOT]/work/.mcp.json:1\t'f' overrides the entry at ~/.config/mcpipe/config.toml:19\t-
        warning\t[ROOT]/work/.mcp.json:1\t'f' starts a process, and the file is not trusted\treview and trust it: mcpipe config trust [ROOT]/work/.mcp.json
        error\t~/.config/mcpipe/config.toml:25\t'protocol' in [servers.h] names an unknown revision '2024-01-01': use auto, legacy, 2024-11-05, 2025-03-26, 2025-06-18, 2025-11-25, 2026-07-28\t-
        error\t~/.config/mcpipe/config.toml:27\t'confirm' in [servers.h] must be one of never, destructive, always, not 'sometimes'\t-
        warning\t[ROOT]/work/.mcp.json:1\t'a-b' is ignored: another entry already has the name 'a-b'\t-
        --- stderr
        mcpipe: error: 8 errors in 2 files and 9 servers
    "#]].assert_eq(&config(&sandbox, &["check"]));
    let json = sandbox.mcpipe(["config", "check", "--json"]).run();
    let first = &json.exits(3).json()["findings"][1];
    let file = sandbox.path().join("home/.config/mcpipe/config.toml");
    assert_eq!(json.json()["files"], json!([file, sandbox.work().join(".mcp.json")]));
    let wanted = json!({"file": file, "line": 5, "column": null, "cause": null, "hint": null, "severity": "error",
        "server": "a", "message": "unknown key 'headerz' in [servers.a]; did you mean 'headers'?"});
    assert_eq!(*first, wanted);
    for finding in json.json()["findings"].as_array().unwrap() {
        assert!(json.json()["files"].as_array().unwrap().contains(&finding["file"]), "{finding}");
    }
    expect![[r#"
        exit: 3
        --- stdout
        error\t~/.config/mcpipe/config.toml:15\tthere is no secret 'GONE' in ~/.local/share/mcpipe/credentials.json; 'headers.A' in [servers.d] refers to it\tstore it: mcpipe config secret set GONE
        --- stderr
        mcpipe: error: 1 error in 2 files and 1 server
    "#]].assert_eq(&config(&sandbox, &["check", "d"]));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: no server named 'zz' is configured
        hint: list the configured servers: mcpipe config list
    "#]]
    .assert_eq(&config(&sandbox, &["check", "zz"]));
    expect![[r#"
        exit: 0
        --- stdout
        warning\t~/.config/mcpipe/config.toml:21\t'off' is disabled\t-
        --- stderr
        checked 1 file and 3 servers: no errors
    "#]]
    .assert_eq(&config(&configured_sandbox(), &["check"]));
    // Only `${VAR}` is expanded.
    let shell = "[servers.a]\nurl = \"https://a/\"\nheaders = { A = \"$TOKEN\", B = \"Bearer $TOKEN\", C = \"a $TOKEN\" }\n\
        [servers.b]\ncommand = \"sh\"\nargs = [\"-c\", \"echo $HOME\", \"$1\", \"$HOME\"]\nenv = { A = \"$A.b\", B = \"${HOME}\" }\n";
    sandbox.file("shell.toml", shell);
    expect![[r#"
        exit: 0
        --- stdout
        warning\t[ROOT]/work/shell.toml:3\t'$TOKEN' is not expanded, only '${TOKEN}' is\twrite ${TOKEN}
        warning\t[ROOT]/work/shell.toml:6\t'$HOME' is not expanded, only '${HOME}' is\twrite ${HOME}
        --- stderr
        checked 1 file and 2 servers: no errors
    "#]]
    .assert_eq(&config(&sandbox, &["check", "--config", "shell.toml"]));
    // JSON allows values that TOML does not; none is skipped.
    let twice = "{\"mcpServers\": {\n\"a\": {\"url\": \"https://a/\"},\n\"a\": {\"url\": \"https://b/\", \"headers\": {\"A\": \"1\",\n\"A\": \"2\"}}}}";
    sandbox.file("twice.json", twice);
    expect![[r#"
        exit: 3
        --- stdout
        error\t[ROOT]/work/twice.json:3\tduplicate key 'a': only the last one is used\t-
        error\t[ROOT]/work/twice.json:4\tduplicate key 'A': only the last one is used\t-
        --- stderr
        mcpipe: error: 2 errors in 1 file and 1 server
    "#]]
    .assert_eq(&config(&sandbox, &["check", "--config", "twice.json"]));
    // A duplicate key is invalid TOML, and the error has its position.
    sandbox.config("[servers.a]\nurl = \"https://a/\"\n[servers.a]\nurl = \"https://b/\"\n");
    expect![[r#"
        exit: 3
        --- stdout
        error\t~/.config/mcpipe/config.toml:3:10\tthis is not TOML: duplicate key\t-
        warning\t[ROOT]/work/.mcp.json:1\t'f' starts a process, and the file is not trusted\treview and trust it: mcpipe config trust [ROOT]/work/.mcp.json
        warning\t[ROOT]/work/.mcp.json:1\t'a-b' is ignored: another entry already has the name 'a-b'\t-
        --- stderr
        mcpipe: error: 1 error in 2 files and 2 servers
    "#]]
    .assert_eq(&config(&sandbox, &["check"]));
}

#[test]
fn schema_describes_every_key_and_agrees_with_check() {
    let run = Sandbox::new().mcpipe(["config", "schema"]).run();
    let schema = run.succeeds().json();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let server = &schema["properties"]["servers"]["additionalProperties"]["properties"];
    assert_eq!(server["url"]["type"], "string");
    for (document, fits) in [
        (json!({"servers": {"a": {"url": "https://a/", "timeout": "5s", "allow_tools": ["x*"]}}}), true),
        (json!({"servers": {"a": {"command": "x", "args": ["b"], "env": {"A": "${B}"}}}}), true),
        (json!({"servers": {"a": {"url": "https://a/", "command": "x"}}}), false),
        (json!({"servers": {"a": {"urll": "https://a/"}}}), false),
        (json!({"servers": {"a": {"url": "https://a/", "timeout": true}}}), false),
        (json!({"defaults": {"confirm": "sometimes"}}), false),
    ] {
        assert_eq!(validator.is_valid(&document), fits, "{document}");
        let sandbox = Sandbox::new();
        let members = document.as_object().unwrap().iter();
        sandbox.config(&members.map(|(key, value)| format!("{key} = {}\n", toml(value))).collect::<String>());
        let run = sandbox.mcpipe(["config", "check"]).env("B", "b").run();
        let known = run.stdout().lines().filter(|line| !line.contains("not found in PATH")).count() == 0;
        assert_eq!(known, fits, "{run:?}");
    }
}

/// A JSON value as TOML on one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members: Vec<String> = members.iter().map(|(key, value)| format!("{key} = {}", toml(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

#[test]
fn what_cannot_be_used_is_not_called_ready() {
    let sandbox = Sandbox::new();
    sandbox.config(
        "[servers.a]\nurl = \"https://a.invalid/mcp\"\nbearer_env = \"API_TOKEN\"\n\
         [servers.b]\nurl = \"http://b.invalid/mcp\"\n[servers.c]\ncommand = \"sh\"\ncwd = \"/nowhere\"\n",
    );
    expect![[r#"
        exit: 0
        --- stdout
        a\thttp\thttps://a.invalid/mcp\t~/.config/mcpipe/config.toml:1\tinvalid
        b\thttp\thttp://b.invalid/mcp\t~/.config/mcpipe/config.toml:4\tinvalid
        c\tstdio\tsh\t~/.config/mcpipe/config.toml:6\tinvalid
    "#]]
    .assert_eq(&config(&sandbox, &["list"]));
    let document = sandbox.mcpipe(["config", "list", "--json"]).run().json();
    expect![[r#"
        [
          {
            "file": "[ROOT]/home/.config/mcpipe/config.toml",
            "line": 3,
            "column": null,
            "message": "the variable API_TOKEN for the bearer token is not set ('a')",
            "cause": null,
            "hint": "set API_TOKEN, or use another variable with --bearer-env"
          }
        ]
    "#]]
    .assert_eq(
        &format!("{:#}\n", document["servers"][0]["errors"]).replace(sandbox.path().to_str().unwrap(), "[ROOT]"),
    );
    let set = sandbox.mcpipe(["config", "list", "--json"]).env("API_TOKEN", "x").run().json();
    assert_eq!((&set["servers"][0]["state"], &set["servers"][1]["state"]), (&json!("enabled"), &json!("invalid")));
    assert_eq!(sandbox.mcpipe(["config", "get", "a", "--json"]).run().json()["state"], "invalid");
    sandbox
        .mcpipe(["config", "get", "a"])
        .run()
        .exits(0)
        .stderr_contains("the variable API_TOKEN for the bearer token");
}

#[test]
fn every_item_of_a_list_and_every_server_of_a_broken_file_is_checked() {
    let sandbox = Sandbox::new();
    let file = "[servers.a]\ncommand = \"sh\"\nargs = [1, \"x\",\n 2]\nenv = { A = 1, B = \"b\", C = true }\n";
    sandbox.config(&format!("colour = 1\n{file}"));
    expect![[r#"
        exit: 3
        --- stdout
        error\t~/.config/mcpipe/config.toml:1\tunknown key 'colour'\tthe keys are servers, defaults
        error\t~/.config/mcpipe/config.toml:4\t'args' in [servers.a] must contain only strings, not a whole number\t-
        error\t~/.config/mcpipe/config.toml:5\t'args' in [servers.a] must contain only strings, not a whole number\t-
        error\t~/.config/mcpipe/config.toml:6\t'env' in [servers.a] must contain only strings, but 'A' is a whole number: put it in quotes\t-
        error\t~/.config/mcpipe/config.toml:6\t'env' in [servers.a] must contain only strings, but 'C' is a boolean: put it in quotes\t-
        --- stderr
        mcpipe: error: 5 errors in 1 file and 1 server
    "#]].assert_eq(&config(&sandbox, &["check"]));
    // A file of a stranger is passed over as a whole.
    sandbox.config("");
    sandbox.file(".mcpipe.toml", format!("colour = 1\n{file}"));
    sandbox.mcpipe(["config", "list"]).run().hides("\tsh");
}

#[test]
fn every_fault_has_its_hint() {
    let sandbox = Sandbox::new();
    sandbox.config(
        "[servers.a]\ncommand = \"no-such-program\"\n[servers.b]\ncommand = \"neither-this\"\n\
         [servers.c]\nurl = \"https://c.invalid/${UNSET}\"\n[servers.d]\nurl = \"ftp://d.invalid\"\n\
         [servers.e]\nurl = \"https://e.invalid/\"\ncacert = \"none.pem\"\nauth = { private_key_file = \"/none\" }\n\
         [servers.f]\nurl = \"https://f.invalid/\"\nheaders = { \"A B\" = \"c\" }\n",
    );
    expect![[r#"
        exit: 3
        --- stdout
        error\t~/.config/mcpipe/config.toml:2\tprogram 'no-such-program' not found in PATH\tinstall no-such-program, or give its full path
        error\t~/.config/mcpipe/config.toml:4\tprogram 'neither-this' not found in PATH\tinstall neither-this, or give its full path
        error\t~/.config/mcpipe/config.toml:6\tthe variable UNSET is not set; 'url' in [servers.c] refers to it\tset UNSET, or add a default: ${UNSET:-…}
        error\t~/.config/mcpipe/config.toml:8\tunsupported URL scheme 'ftp'; use https, http, wss, ws, unix:PATH or replay:FILE ('d')\t-
        error\t~/.config/mcpipe/config.toml:11\t'cacert' refers to ~/.config/mcpipe/none.pem, which cannot be read: No such file or directory (os error 2)\t-
        error\t~/.config/mcpipe/config.toml:12\t'private_key_file' refers to /none, which cannot be read: No such file or directory (os error 2)\t-
        error\t~/.config/mcpipe/config.toml:15\t'A B' is not a valid header name ('f')\t-
        --- stderr
        mcpipe: error: 7 errors in 1 file and 6 servers
    "#]]
    .assert_eq(&config(&sandbox, &["check"]));
}

/// A secret that the entry has in a form that is used as well, or in a wrong place, is not shown.
#[test]
fn a_secret_in_another_notation_is_not_shown() {
    let sandbox = Sandbox::new();
    sandbox.config(
        r#"[servers.arguments]
command = "true"
args = ["--config", '{"apiKey":"s3cret"}', "Server=h;User Id=u;Password=s3cret;", '{"apiKey":"${KEY}"}']
[servers.keys]
url = "https:/u:s3cret@h.example/mcp"
proxy = "u:s3cret@p:1"
bearer = "s3cret"
bearer_token = "s3cret"
tokens = ["s3cret"]
headers = { Authorization = "Bearer ${MY-TOKEN:-s3cret}" }
auth.client_secrets = "s3cret"
[servers.line]
command = "npx -y srv --api-key s3cret"
[servers.slash]
url = "https://u:s3c/ret@h/"
"#,
    );
    for server in ["arguments", "keys", "line", "slash"] {
        sandbox.mcpipe(["config", "get", server]).run().exits(0).hides("s3c");
    }
    for words in [&["config", "list"][..], &["config", "check"], &["list"]] {
        sandbox.mcpipe(words.iter().copied()).run().hides("s3c");
    }
    expect![[r#"
        exit: 0
        --- stdout
        url\thttps:/[redacted]@h.example/mcp\t~/.config/mcpipe/config.toml:5
        proxy\t[redacted]@p:1\t~/.config/mcpipe/config.toml:6
        bearer\t[redacted]\t~/.config/mcpipe/config.toml:7
        bearer_token\t[redacted]\t~/.config/mcpipe/config.toml:8
        tokens\t[redacted]\t~/.config/mcpipe/config.toml:9
        headers.Authorization\t[redacted]\t~/.config/mcpipe/config.toml:10
        auth.client_secrets\t[redacted]\t~/.config/mcpipe/config.toml:11
        --- stderr
        ~/.config/mcpipe/config.toml:7: 'bearer' in [servers.keys] must be "file:PATH", "github-oidc:AUDIENCE" or "gitlab-oidc:AUDIENCE"
        ~/.config/mcpipe/config.toml:8: unknown key 'bearer_token' in [servers.keys]; did you mean 'bearer'?
        ~/.config/mcpipe/config.toml:9: unknown key 'tokens' in [servers.keys]
        ~/.config/mcpipe/config.toml:10: 'headers' in [servers.keys] is invalid: '${MY-TOKEN:-…}' is not a reference; use ${VAR}, ${VAR:-default}, ${keychain:NAME} or ${command:LINE}
        ~/.config/mcpipe/config.toml:11: unknown key 'client_secrets' in [servers.keys.auth]; did you mean 'client_secret'?
    "#]].assert_eq(&sandbox.mcpipe(["config", "get", "keys"]).run().snapshot());
    expect![[r#"
        exit: 0
        --- stdout
        command\ttrue\t~/.config/mcpipe/config.toml:2
        args\t--config [redacted] 'Server=h;User Id=u;Password=[redacted]' '{"apiKey":"${KEY}"}'\t~/.config/mcpipe/config.toml:3
        --- stderr
        ~/.config/mcpipe/config.toml:3: the variable KEY is not set; 'args' in [servers.arguments] refers to it
    "#]].assert_eq(&sandbox.mcpipe(["config", "get", "arguments"]).run().snapshot());
    expect![[r#"
        exit: 0
        --- stdout
        command\tnpx -y srv --api-key [redacted]\t~/.config/mcpipe/config.toml:13
        --- stderr
        ~/.config/mcpipe/config.toml:13: program 'npx -y srv --api-key …' not found in PATH
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "get", "line"]).run().snapshot());
    expect![[r#"
        exit: 5
        --- stderr
        mcpipe: error: cannot start 'npx -y srv --api-key …'
          No such file or directory (os error 2)
        hint: write it without quotes: -- npx -y srv --api-key …; in a configuration: command = "npx", args = ["-y", "srv", "--api-key", "…"]
    "#]].assert_eq(&sandbox.mcpipe(["list", "line"]).run().snapshot());
}
