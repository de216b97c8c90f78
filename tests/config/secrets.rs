//! Secrets by reference: `${keychain:NAME}` and `${command:LINE}`, from the configuration to the wire, and nowhere else.

use std::time::{Duration, Instant};

use expect_test::expect;
use rustix::process::Signal;
use serde_json::json;

use crate::support::{HttpServer, Mcp, Run, Sandbox};

const SECRET: &str = "s3cret-of-the-day";

/// A sandbox whose secrets are stored in the file, with this configuration.
fn sandbox(servers: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[defaults]\ncredential_store = \"file\"\n\n{servers}"));
    sandbox
}

fn set(sandbox: &Sandbox, name: &str, value: &str) -> Run {
    sandbox.mcpipe(["config", "secret", "set", name]).stdin(value).run()
}

fn authorization(server: &HttpServer) -> Vec<Option<String>> {
    server.requests().iter().map(|request| request.header("authorization").map(str::to_owned)).collect()
}

#[test]
fn a_stored_secret_is_sent_and_never_shown() {
    let server = Mcp::modern().http();
    let sandbox = sandbox(&format!(
        "[servers.api]\nurl = {:?}\nheaders = {{ Authorization = \"Bearer ${{keychain:API}}\", X-Team = \"t-${{keychain:API}}\" }}\n",
        server.url("/mcp")
    ));
    let stored = set(&sandbox, "API", &format!("{SECRET}\n"));
    expect![[r#"
        exit: 0
        --- stderr
        stored 'API' in ~/.local/share/mcpipe/credentials.json
    "#]]
    .assert_eq(&stored.snapshot());
    let trace = sandbox.work().join("trace");
    let run = sandbox.mcpipe(["call", "api", "echo", "text=hi", "-vv", "--trace"]).arg(&trace).run();
    run.exits(0)
        .prints("hi\n")
        .hides(SECRET)
        .stderr_contains("> authorization: [redacted]")
        .stderr_contains("> x-team: ");
    assert!(!std::fs::read_to_string(&trace).unwrap().contains(SECRET));
    let bearer = Some(format!("Bearer {SECRET}"));
    assert!(authorization(&server).iter().all(|sent| *sent == bearer), "{:?}", authorization(&server));
    for words in [&["get", "api"][..], &["list"], &["check"], &["secret", "list"]] {
        for json in [None, Some("--json")] {
            sandbox.mcpipe(["config"]).args(words.iter().copied()).args(json).run().exits(0).hides(SECRET);
        }
    }
    let file = sandbox.path().join("home/.local/share/mcpipe/credentials.json");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_server_that_echoes_a_secret_does_not_make_it_seen_in_traces() {
    let server = Mcp::legacy("2025-11-25").stdio();
    let words = server.words();
    let sandbox = sandbox(&format!(
        "[servers.api]\ncommand = {:?}\nargs = [{:?}]\nenv = {{ API_KEY = \"${{keychain:API}}\" }}\n",
        words[0], words[1]
    ));
    set(&sandbox, "API", SECRET);
    // A result is printed as it came; logs are redacted.
    let run = sandbox.mcpipe(["call", "api", "echo", &format!("text={SECRET}"), "-v"]).run();
    run.exits(0).prints(&format!("{SECRET}\n"));
    assert!(!run.stderr().contains(SECRET) && run.stderr().contains("[redacted]"), "{}", run.stderr());
    assert_eq!(server.single_process().env["API_KEY"], SECRET);
}

#[test]
fn a_secret_in_a_url_is_hidden_in_the_form_it_has_there() {
    let server = Mcp::modern().http();
    let sandbox = sandbox(&format!(
        "[servers.good]\nurl = \"{}?who=${{keychain:API}}\"\n[servers.gone]\nurl = \"http://127.0.0.1:1/${{keychain:API}}/mcp?who=${{keychain:API}}\"\n",
        server.url("/mcp")
    ));
    let secret = "s3cret/of the<day>";
    set(&sandbox, "API", secret);
    let forms = [secret, "s3cret/of%20the%3Cday%3E", "s3cret"];
    for words in [
        &["list", "good", "-vv"][..],
        &["list", "gone", "-vv"],
        &["list", "gone", "--json"],
        &["list"],
        &["list", "--json"],
        &["list", "--grep", "echo"],
        &["config", "get", "gone"],
        &["config", "check"],
    ] {
        let run = sandbox.mcpipe(words.iter().copied()).run();
        for form in forms {
            run.hides(form);
        }
    }
    assert_eq!(server.requests()[0].target, "/mcp?who=s3cret/of%20the%3Cday%3E");
    // Nothing that is stored between runs contains it, except the store itself.
    let mut files = vec![sandbox.path().to_owned()];
    while let Some(file) = files.pop() {
        if file.is_dir() {
            files.extend(std::fs::read_dir(&file).unwrap().map(|entry| entry.unwrap().path()));
        } else if file.file_name().is_some_and(|name| name != "credentials.json") {
            let bytes = std::fs::read(&file).unwrap_or_default();
            let found = bytes.windows(6).any(|window| window == b"s3cret");
            assert!(!found, "{} holds the secret", file.display());
        }
    }
}

#[test]
fn a_command_is_run_once_a_run_without_a_shell_and_only_where_it_is_used() {
    let (one, two) = (Mcp::modern().http(), Mcp::modern().http());
    let sandbox = sandbox("");
    let log = sandbox.work().join("log");
    let tool = sandbox.script("tool", &format!("echo \"$# $1 $2\" >> '{}'; printf '{SECRET}\\r\\n\\n'", log.display()));
    let command = format!("${{command:{} 'a b' $HOME;}}", tool.display());
    sandbox.config(&format!(
        "[servers.one]\nurl = {:?}\nheaders = {{ Authorization = \"Bearer {command}\", X-Again = \"{command}\" }}\n\
         [servers.two]\nurl = {:?}\nheaders = {{ Authorization = \"Bearer {command}\" }}\n\
         [servers.other]\nurl = {:?}\n",
        one.url("/mcp"),
        two.url("/mcp"),
        two.url("/mcp")
    ));
    for words in [
        &["config", "list"][..],
        &["config", "get", "one"],
        &["config", "check"],
        &["config", "path"],
        &["list", "--offline"],
        &["list", "other"],
        &["list", &two.url("/mcp")],
    ] {
        sandbox.mcpipe(words.iter().copied()).run().exits(0).hides(SECRET);
    }
    assert!(!log.exists(), "nothing that was used refers to it");
    sandbox.mcpipe(["list"]).run().exits(0).hides(SECRET);
    assert_eq!(std::fs::read_to_string(&log).unwrap(), "2 a b $HOME;\n", "three references, one run, no shell");
    let bearer = Some(format!("Bearer {SECRET}"));
    assert!(authorization(&one).iter().all(|sent| *sent == bearer), "{:?}", authorization(&one));
    assert!(authorization(&two).contains(&bearer), "{:?}", authorization(&two));
    sandbox.mcpipe(["list", "one"]).run().exits(0);
    assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 2, "the next run asks again");
    let shown = sandbox.mcpipe(["config", "get", "one", "--json"]).run();
    assert_eq!(shown.json()["values"][1]["value"], json!(format!("Bearer {command}")));
}

#[test]
fn a_default_is_fetched_only_where_the_variable_is_missing() {
    let server = Mcp::modern().http();
    let sandbox = sandbox("");
    let tool = sandbox.script("tool", "touch used; echo fetched");
    sandbox.config(&format!(
        "[servers.a]\nurl = {:?}\nheaders = {{ Authorization = \"${{TOKEN:-${{command:{}}}}}\" }}\n",
        server.url("/mcp"),
        tool.display()
    ));
    sandbox.mcpipe(["list", "a"]).env("TOKEN", "given").run().exits(0);
    assert!(!sandbox.work().join("used").exists());
    sandbox.mcpipe(["list", "a"]).run().exits(0);
    let sent = authorization(&server);
    assert_eq!((sent.first().unwrap().as_deref(), sent.last().unwrap().as_deref()), (Some("given"), Some("fetched")));
}

#[test]
fn what_cannot_be_had_names_server_key_file_and_line() {
    let sandbox = sandbox("");
    let fails = |reference: &str| {
        sandbox.config(&format!(
            "[defaults]\ncredential_store = \"file\"\n[servers.api]\nurl = \"http://127.0.0.1:9/mcp\"\n[servers.api.headers]\n\
             X-Key = \"{reference}\"\n"
        ));
        let run = sandbox.mcpipe(["list", "api"]).run();
        run.exits(3).prints("").hides(SECRET);
        let json = sandbox.mcpipe(["list", "api", "--json"]).run();
        let error = json.exits(3).hides(SECRET).json_error();
        assert_eq!((&error["server"], &error["class"]), (&json!("api"), &json!("config")));
        run.snapshot().replace("exit: 3\n--- stderr\n", "")
    };
    sandbox.script("fail", &format!("echo {SECRET}; echo 'not logged in' >&2; exit 4"));
    sandbox.script("chatty", &format!("set -x; echo {SECRET}; exit 1"));
    sandbox.script("binary", "printf 'a\\377b'");
    sandbox.script("long", "yes");
    sandbox.script("signal", "kill -9 $$");
    sandbox.file("plain", "no program");
    let command =
        |line: &str| fails(&format!("${{command:{line}}}").replace("./", &format!("{}/", sandbox.work().display())));
    set(&sandbox, "CRM_KEY", "x");
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: there is no secret 'CRM-KEY' in ~/.local/share/mcpipe/credentials.json; 'headers.X-Key' in [servers.api] refers to it
          did you mean CRM_KEY?
        hint: store it: mcpipe config secret set CRM-KEY
    "#]].assert_eq(&fails("${keychain:CRM-KEY}"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: the command '[ROOT]/work/fail' failed; 'headers.X-Key' in [servers.api] refers to it
          exit status: 4: not logged in
    "#]].assert_eq(&command("./fail"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: the command '[ROOT]/work/chatty' failed; 'headers.X-Key' in [servers.api] refers to it
          exit status: 1: + exit 1
    "#]].assert_eq(&command("./chatty"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: the command '[ROOT]/work/binary' failed; 'headers.X-Key' in [servers.api] refers to it
          its output is not text
    "#]].assert_eq(&command("./binary"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: the command '[ROOT]/work/long' failed; 'headers.X-Key' in [servers.api] refers to it
          it printed more than 65536 bytes
    "#]].assert_eq(&command("./long"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: the command '[ROOT]/work/signal' failed; 'headers.X-Key' in [servers.api] refers to it
          signal: 9 (SIGKILL)
    "#]].assert_eq(&command("./signal"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: the command 'true' failed; 'headers.X-Key' in [servers.api] refers to it
          it printed nothing
    "#]].assert_eq(&command("true"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: '[ROOT]/work/plain' is not executable; 'headers.X-Key' in [servers.api] refers to it
    "#]].assert_eq(&command("./plain"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: program 'no-such-tool' not found in PATH; 'headers.X-Key' in [servers.api] refers to it
        hint: install no-such-tool, or give its full path
    "#]].assert_eq(&command("no-such-tool --key"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: 'headers' in [servers.api] is invalid: '${command:…}' has no valid command line: the program is missing, or a quote is not closed
    "#]].assert_eq(&fails("${command:'unclosed}"));
    expect![[r#"
        mcpipe: error: ~/.config/mcpipe/config.toml:6: 'headers' in [servers.api] is invalid: 'a b' is not a valid secret name: use up to 100 letters, digits, '_' and '-', beginning with a letter or digit
    "#]].assert_eq(&fails("${keychain:a b}"));
    let check = |servers: &str| {
        sandbox
            .config(&format!("[defaults]\ncredential_store = \"file\"\n[servers.a]\nurl = \"https://a/\"\n{servers}"));
        sandbox.mcpipe(["config", "check"]).run()
    };
    check("headers = { A = \"${command:no-such-tool x}\" }")
        .exits(3)
        .stdout_contains("program 'no-such-tool' not found in PATH; 'headers.A'");
    // A store that cannot be read is a finding of `check`, whether a server needs it or not.
    std::fs::write(sandbox.path().join("home/.local/share/mcpipe/credentials.json"), "rubbish").unwrap();
    check("headers = { A = \"${keychain:CRM_KEY}\" }").exits(3).stdout_contains("cannot look up the secret 'CRM_KEY'");
    check("").exits(3).stdout_contains("error\tcredentials\t");
}

#[test]
fn a_value_that_no_header_can_hold_is_not_shown() {
    let sandbox = sandbox("");
    let tool = sandbox.script("tool", &format!("printf '{SECRET}\\nmore\\n'"));
    sandbox.config(&format!(
        "[servers.api]\nurl = \"http://127.0.0.1:9/mcp\"\nheaders = {{ X-Key = \"${{command:{}}}\" }}\n",
        tool.display()
    ));
    let run = sandbox.mcpipe(["list", "api"]).run();
    run.exits(3).hides(SECRET).stderr_contains("config.toml:3: the value of the header 'X-Key' contains a line break");
}

#[test]
fn a_command_that_hangs_is_bounded_and_leaves_nothing_behind() {
    let sandbox = sandbox("");
    // A process that the command started hangs too.
    let tool = sandbox.script("tool", "sleep 300 & sleep 300");
    sandbox.config(&format!(
        "[servers.api]\nurl = \"http://127.0.0.1:9/mcp\"\nheaders = {{ X-Key = \"${{command:{}}}\" }}\n",
        tool.display()
    ));
    let run = sandbox.mcpipe(["list", "api", "--connect-timeout", "300ms"]).run();
    run.exits(3)
        .stderr_contains("did not exit within 300 ms")
        .stderr_contains("hint: allow more time: --connect-timeout 2m");
    assert!(run.elapsed < Duration::from_secs(5), "{run:?}");
    let text = std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap();
    sandbox.config(&format!("[defaults]\nconnect_timeout = \"400ms\"\n{text}"));
    sandbox.mcpipe(["list", "api"]).run().exits(3).stderr_contains("did not exit within 400 ms");

    let running = sandbox.mcpipe(["list", "api", "--connect-timeout", "20"]).start();
    let started = Instant::now();
    while sandbox.leftovers().len() < 4 {
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", sandbox.leftovers());
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(Signal::INT);
    let run = running.wait();
    run.exits(130);
    assert!(run.elapsed < Duration::from_secs(10));
}

#[test]
fn a_helper_that_leaves_a_daemon_behind_holds_up_nobody() {
    let server = Mcp::modern().http();
    let sandbox = sandbox("");
    let tool = sandbox.script("tool", "sleep 300 & echo value");
    sandbox.config(&format!(
        "[servers.api]\nurl = {:?}\nheaders = {{ X-Key = \"${{command:{}}}\" }}\n",
        server.url("/mcp"),
        tool.display()
    ));
    let run = sandbox.mcpipe(["list", "api"]).run();
    run.exits(0);
    assert!(run.elapsed < Duration::from_secs(5), "{run:?}");
}

#[test]
fn secrets_are_managed_by_name() {
    let sandbox = sandbox("[servers.crm]\nurl = \"https://crm.example/mcp\"\nbearer_env = \"${keychain:CRM}\"\n");
    let list = || sandbox.mcpipe(["config", "secret", "list"]).run().snapshot();
    expect![[r#"
        exit: 0
        --- stderr
        no secrets in ~/.local/share/mcpipe/credentials.json; `mcpipe config secret set NAME` stores one
    "#]]
    .assert_eq(&list());
    assert_eq!(set(&sandbox, "CRM", "one\n").code(), 0);
    expect![[r#"
        exit: 0
        --- stderr
        stored 'OTHER' in ~/.local/share/mcpipe/credentials.json; refer to it as ${keychain:OTHER}
    "#]]
    .assert_eq(&set(&sandbox, "OTHER", "two").snapshot());
    let replaced = sandbox.mcpipe(["config", "secret", "set", "OTHER", "--json"]).stdin("three").run();
    expect![[r#"
        exit: 0
        --- stdout
        {"name":"OTHER","stored_in":"[ROOT]/home/.local/share/mcpipe/credentials.json","replaced":true}
    "#]]
    .assert_eq(&replaced.snapshot());
    expect![[r#"
        exit: 0
        --- stdout
        CRM\tcrm\t~/.local/share/mcpipe/credentials.json
        OTHER\t-\t~/.local/share/mcpipe/credentials.json
        --- stderr
        no server configured here uses OTHER
        to delete a secret: mcpipe config secret remove OTHER
    "#]]
    .assert_eq(&list());
    let json = sandbox.mcpipe(["config", "secret", "list", "--json"]).run();
    expect![[r#"
        exit: 0
        --- stdout
        {"store":"[ROOT]/home/.local/share/mcpipe/credentials.json","secrets":[{"name":"CRM","stored_in":"[ROOT]/home/.local/share/mcpipe/credentials.json","used_by":["crm"]},{"name":"OTHER","stored_in":"[ROOT]/home/.local/share/mcpipe/credentials.json","used_by":[]}]}
    "#]].assert_eq(&json.snapshot());
    let remove = |name: &str| sandbox.mcpipe(["config", "secret", "remove", name]).run().snapshot();
    expect![[r#"
        exit: 0
        --- stderr
        removed 'CRM' from ~/.local/share/mcpipe/credentials.json
        still used by crm
    "#]]
    .assert_eq(&remove("CRM"));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: there is no secret 'OTHR' in ~/.local/share/mcpipe/credentials.json
        hint: did you mean OTHER?
    "#]]
    .assert_eq(&remove("OTHR"));
    // Neither an empty value nor one on the command line, where others could see it.
    expect![[r#"
        exit: 2
        --- stderr
        mcpipe: error: the value of 'NEW' is empty; nothing was stored
        hint: pipe it in: printf %s "$VALUE" | mcpipe config secret set NEW
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "secret", "set", "NEW"]).run().snapshot());
    let argument = sandbox.mcpipe(["config", "secret", "set", "NEW", "value"]).run();
    argument.exits(2).stderr_contains("unexpected argument 'value'");
    for name in ["", "a b", "../x", "-x", "a.b", "other"] {
        let run = sandbox.mcpipe(["config", "secret", "set", "--", name]).stdin("v").run();
        run.exits(2).stderr_contains(if name == "other" { "a secret 'OTHER' already exists" } else { "" });
    }
    sandbox
        .mcpipe(["config", "secret", "set", "BIG"])
        .stdin("x".repeat(70_000))
        .run()
        .exits(2)
        .stderr_contains("longer than 65536");
    sandbox
        .mcpipe(["config", "secret", "set", "BIN"])
        .stdin(b"a\xff".to_vec())
        .run()
        .exits(2)
        .stderr_contains("not UTF-8");
    assert_eq!(
        sandbox.mcpipe(["config", "secret", "list", "--json"]).run().json()["secrets"].as_array().unwrap().len(),
        1
    );
}

#[test]
fn secrets_are_no_logins() {
    let sandbox = sandbox("");
    set(&sandbox, "CRM", "value");
    let status = sandbox.mcpipe(["auth", "status", "--json"]).run();
    assert_eq!(status.exits(0).json()["credentials"], json!([]));
    sandbox.mcpipe(["auth", "logout", "--all"]).run().exits(0).stderr_contains("not logged in to any server");
    let list = sandbox.mcpipe(["config", "secret", "list", "--json"]).run();
    assert_eq!(list.json()["secrets"][0]["name"], "CRM");
}

#[test]
fn many_processes_store_secrets_at_once_and_none_is_lost() {
    let sandbox = sandbox("");
    let running: Vec<_> = (0..12)
        .map(|n| {
            sandbox
                .mcpipe(["config", "secret", "set", &format!("S{n:02}")])
                .stdin(format!("v{n}"))
                .allow_leftovers()
                .start()
        })
        .collect();
    for one in running {
        one.wait().exits(0);
    }
    let list = sandbox.mcpipe(["config", "secret", "list"]).run();
    let names: Vec<&str> = list.stdout().lines().filter_map(|line| line.split('\t').next()).collect();
    let wanted: Vec<String> = (0..12).map(|n| format!("S{n:02}")).collect();
    assert_eq!(names, wanted);
}
