//! Configuration files: which are read, which take precedence, how they are changed, and what works while one is
//! broken.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;

use expect_test::expect;
use serde_json::json;

use crate::support::pty::TerminalStreams;
use crate::support::{HttpServer, Mcp, Reply, Sandbox};

fn user_file(sandbox: &Sandbox) -> PathBuf {
    sandbox.path().join("home/.config/mcpipe/config.toml")
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The URL of the server `x`, and its origin.
fn x(sandbox: &Sandbox, words: &[&str], variables: &[(&str, &str)]) -> String {
    let run = sandbox.mcpipe(["config", "get", "x"]).args(words.iter().copied());
    let run = variables.iter().fold(run, |run, (name, value)| run.env(name, *value)).run();
    run.exits(0).stdout().lines().next().unwrap().replace(sandbox.path().to_str().unwrap(), "[ROOT]").replace('\t', " ")
}

#[test]
fn later_layers_lie_over_earlier_ones() {
    let sandbox = Sandbox::new();
    let user = "\n[servers.x]\nurl = \"https://user.example/\"\ntransport = \"sse\"\n";
    sandbox.config(user);
    assert_eq!(x(&sandbox, &[], &[]), "url https://user.example/ ~/.config/mcpipe/config.toml:3");
    sandbox.file(".mcp.json", "{\"mcpServers\": {\"x\":\n{\"url\": \"https://json.example/\"}}}");
    assert_eq!(x(&sandbox, &[], &[]), "url https://json.example/ [ROOT]/work/.mcp.json:2");
    sandbox.file(".mcpipe.toml", "servers.x.url = \"https://project.example/\"\n");
    assert_eq!(x(&sandbox, &[], &[]), "url https://project.example/ [ROOT]/work/.mcpipe.toml:1");
    // Nothing is left of the entries that it replaces.
    let replaced = sandbox.mcpipe(["config", "get", "x", "--jq", ".replaces[], .values[].key"]).run();
    let lines = format!("{}:2\n{}/.mcp.json:1\nurl\n", user_file(&sandbox).display(), sandbox.work().display());
    replaced.exits(0).prints(&lines);
    // A file given by option or variable replaces all others; the option takes precedence.
    sandbox.file("one.toml", "servers.x.url = \"https://one.example/\"\n");
    sandbox.file("two.toml", "servers.x.url = \"https://two.example/\"\n");
    let variable = [("MCPIPE_CONFIG", "one.toml")];
    assert_eq!(x(&sandbox, &[], &variable), "url https://one.example/ [ROOT]/work/one.toml:1");
    assert_eq!(x(&sandbox, &["--config", "two.toml"], &variable), "url https://two.example/ [ROOT]/work/two.toml:1");
    let paths = sandbox.mcpipe(["config", "path"]).env("MCPIPE_CONFIG", "one.toml").run();
    paths.prints(&format!("{}/one.toml\texplicit\tread\n", sandbox.work().display()));
    let paths = sandbox.mcpipe(["config", "path"]).env("MCPIPE_CONFIG", "~/c.toml").run();
    paths.prints(&format!("{}/home/c.toml\texplicit\tmissing\n", sandbox.path().display()));
    let list = sandbox.mcpipe(["config", "list"]);
    for run in [
        list.env("MCPIPE_CONFIG", "gone.toml").run(),
        sandbox.mcpipe(["config", "list", "--config", "gone.toml"]).run(),
    ] {
        run.exits(3).stderr_contains("gone.toml: cannot read the configuration file");
    }
    // It is the one that is changed.
    let add = ["config", "add", "x", "https://new.example/", "--config", "new.toml"];
    sandbox.mcpipe(add).run().exits(0);
    sandbox.mcpipe(["config", "rename", "x", "y"]).env("MCPIPE_CONFIG", "new.toml").run().exits(0);
    assert_eq!(read(&sandbox.work().join("new.toml")), "[servers.y]\nurl = \"https://new.example/\"\n");
    assert_eq!(read(&user_file(&sandbox)), user);
    // It is used although the other files are broken, and needs no trust.
    sandbox.config("broken");
    sandbox.file(".mcp.json", "{broken");
    sandbox.file("noext", "[servers.t]\ncommand = \"true\"\n");
    sandbox.mcpipe(["list", "t", "--config", "noext"]).run().exits(5).stderr_contains("the server process ended");
}

#[test]
fn xdg_directories_are_honored() {
    let sandbox = Sandbox::new();
    let path = |name: &str, value: Option<&str>| {
        let run = sandbox.mcpipe(["config", "path"]);
        let run = match value {
            Some(value) => run.env(name, value),
            None => run.env_remove(name),
        };
        run.run().exits(0).stdout().split('\t').next().unwrap().replace(sandbox.path().to_str().unwrap(), "[ROOT]")
    };
    assert_eq!(path("XDG_CONFIG_HOME", Some("/elsewhere")), "/elsewhere/mcpipe/config.toml");
    for other in [None, Some(""), Some("relative/path")] {
        assert_eq!(path("XDG_CONFIG_HOME", other), "[ROOT]/home/.config/mcpipe/config.toml");
    }
    // Without HOME, the system provides the home directory.
    let homeless = sandbox.mcpipe(["config", "path"]).env_remove("HOME").env_remove("XDG_CONFIG_HOME").run();
    homeless.exits(0).stdout_contains("/.config/mcpipe/config.toml\tuser\t");
}

#[test]
fn times_come_from_the_flag_the_entry_or_the_defaults() {
    let silent = HttpServer::start(|_| Reply::never());
    let sandbox = Sandbox::new();
    let url = silent.url("/mcp");
    sandbox.config(&format!(
        "[defaults]\ntimeout = \"300ms\"\nconnect_timeout = \"300ms\"\n[servers.x]\nurl = {url:?}\n\
         [servers.y]\nurl = {url:?}\ntimeout = \"${{TIME:-350ms}}\"\nconnect_timeout = 0.35\n"
    ));
    let list = |words: &[&str]| sandbox.mcpipe(["list", "--retries", "0"]).args(words.iter().copied()).run();
    list(&["x"]).exits(6).stderr_contains("300 ms");
    list(&["y"]).exits(6).stderr_contains("350 ms");
    list(&["y", "--timeout", "250ms", "--connect-timeout", "250ms"]).exits(6).stderr_contains("250 ms");
    let wrong = sandbox.mcpipe(["list", "y"]).env("TIME", "soon").run();
    wrong.exits(3).stderr_contains("config.toml:8: 'timeout' in [servers.y] is not a duration");
}

#[test]
fn colors_at_a_terminal_are_as_configured() {
    let sandbox = Sandbox::new();
    let colored = |color: &str, words: &[&str]| {
        sandbox.config(&format!("{color}\n[servers.x]\nurl = \"https://x.example/\"\n"));
        let run = sandbox.mcpipe(["config", "get", "x"]).args(words.iter().copied());
        run.at_terminal(TerminalStreams::ALL).wait().exits(0).screen.contains("\u{1b}[1m")
    };
    assert!(colored("", &[]));
    assert!(!colored("[defaults]\ncolor = \"never\"", &[]));
    assert!(colored("[defaults]\ncolor = \"never\"", &["--color", "always"]));
    assert!(!colored("[defaults]\ncolor = \"always\"", &["--color", "never"]));
}

#[test]
fn twenty_processes_add_at_once_and_nothing_is_lost() {
    let sandbox = Sandbox::new();
    sandbox.config("# mine\n[servers.first]\nurl = 'https://first.example/' # kept\n");
    let running: Vec<_> = (0..20)
        .map(|n| {
            let words = ["config", "add", &format!("s{n:02}"), &format!("https://s{n}.example/mcp")].map(str::to_owned);
            sandbox.mcpipe(words).allow_leftovers().start()
        })
        .collect();
    for one in running {
        one.wait().exits(0);
    }
    let text = read(&user_file(&sandbox));
    assert!(text.starts_with("# mine\n[servers.first]\nurl = 'https://first.example/' # kept\n"), "{text}");
    let list = sandbox.mcpipe(["config", "list"]).run();
    let names: Vec<&str> = list.succeeds().stdout().lines().filter_map(|line| line.split('\t').next()).collect();
    let wanted: Vec<String> = std::iter::once("first".to_owned()).chain((0..20).map(|n| format!("s{n:02}"))).collect();
    assert_eq!(names, wanted);
    let left: Vec<_> = std::fs::read_dir(user_file(&sandbox).parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn the_first_adds_of_many_processes_make_the_file_once() {
    let sandbox = Sandbox::new();
    let running: Vec<_> = (0..20)
        .map(|n| {
            let words = ["config", "add", &format!("s{n:02}"), "https://a.example/mcp"].map(str::to_owned);
            sandbox.mcpipe(words).allow_leftovers().start()
        })
        .collect();
    for one in running {
        one.wait().exits(0);
    }
    assert_eq!(sandbox.mcpipe(["config", "list"]).run().stdout().lines().count(), 20);
    let mode = std::fs::metadata(user_file(&sandbox)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it may come to hold secrets");
}

#[test]
fn changes_keep_links_permissions_comments_and_line_ends() {
    let text = "# top\r\n\r\n[servers.a]  # about a\r\nurl='https://a.example/'\r\n\r\n# about b\r\n[ servers . b ]\r\ncommand = 'sh'\r\nargs = [\r\n  '-c', # why\r\n]\r\n";
    let sandbox = Sandbox::new();
    let dotfiles = sandbox.path().join("home/dotfiles/mcpipe.toml");
    std::fs::create_dir_all(dotfiles.parent().unwrap()).unwrap();
    std::fs::create_dir_all(user_file(&sandbox).parent().unwrap()).unwrap();
    std::fs::write(&dotfiles, text).unwrap();
    std::fs::set_permissions(&dotfiles, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("../../dotfiles/mcpipe.toml", user_file(&sandbox)).unwrap();
    let run = |words: &[&str]| {
        sandbox.mcpipe(["config"]).args(words.iter().copied()).run().exits(0);
    };
    run(&["add", "new", "https://new.example/mcp"]);
    assert_eq!(read(&dotfiles), format!("{text}\r\n[servers.new]\r\nurl = \"https://new.example/mcp\"\r\n"));
    run(&["rename", "b", "c"]);
    run(&["remove", "new"]);
    assert_eq!(read(&dotfiles), text.replace(" . b ]", " . c ]"));
    run(&["remove", "a"]);
    let rest = text.split_once("# about b").unwrap().1.replace(" . b ]", " . c ]");
    assert_eq!(read(&dotfiles), format!("# top\r\n\r\n# about b{rest}"));
    assert!(std::fs::symlink_metadata(user_file(&sandbox)).unwrap().is_symlink());
    assert_eq!(std::fs::metadata(&dotfiles).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_file_that_cannot_be_written_stays_as_it_was() {
    let sandbox = Sandbox::new();
    // A directory in place of the file: even root cannot write it.
    std::fs::create_dir_all(user_file(&sandbox)).unwrap();
    sandbox
        .mcpipe(["config", "add", "x", "https://x.example/mcp"])
        .run()
        .exits(3)
        .stderr_contains("cannot change ~/.config/mcpipe/config.toml");
    std::fs::remove_dir(user_file(&sandbox)).unwrap();
    let broken = "[servers.a]\nurl = \n";
    sandbox.config(broken);
    for words in [&["add", "x", "https://x.example/mcp"][..], &["remove", "a", "--project"], &["import", "--yes"]] {
        let run = sandbox.mcpipe(["config"]).args(words.iter().copied()).run();
        run.exits(3);
        assert_eq!(read(&user_file(&sandbox)), broken, "{run:?}");
    }
}

/// Replacing a file needs only write permission for its directory, but a read-only file is respected.
#[test]
fn a_file_that_its_owner_made_read_only_is_refused_and_left_untouched() {
    let text = "[servers.a]\nurl = \"https://a.example/mcp\"\n";
    let sandbox = Sandbox::new();
    let file = sandbox.config(text);
    let state = |file: &PathBuf| {
        let meta = std::fs::metadata(file).unwrap();
        (read(file), meta.ino(), meta.permissions().mode() & 0o777)
    };
    let set_mode = |file: &PathBuf, mode| std::fs::set_permissions(file, PermissionsExt::from_mode(mode)).unwrap();
    set_mode(&file, 0o444);
    let before = state(&file);
    sandbox.file("other.json", "{\"mcpServers\": {\"b\": {\"url\": \"https://b.example/mcp\"}}}");
    let editor = sandbox.script("editor", "touch edited");
    let refused = |words: &[&str]| {
        let run = sandbox.mcpipe(["config"]).args(words.iter().copied()).env("EDITOR", editor.as_os_str()).run();
        run.exits(3).prints("");
        run.stderr().to_owned()
    };
    let changes = [
        &["add", "b", "https://b.example/mcp"][..],
        &["add", "a", "https://b.example/mcp", "--force"],
        // The server is not contacted, since it could not be added.
        &["add", "b", "http://127.0.0.1:1/mcp", "--check"],
        &["remove", "a"],
        &["rename", "a", "b"],
        &["import", "other.json", "--yes"],
        &["edit"],
    ];
    for words in changes {
        assert_eq!(
            refused(words),
            "mcpipe: error: cannot change ~/.config/mcpipe/config.toml\n  it is read-only\n\
             hint: make it writable: chmod u+w ~/.config/mcpipe/config.toml\n",
            "{words:?}"
        );
        assert_eq!(state(&file), before, "{words:?}");
    }
    assert!(!sandbox.work().join("edited").exists());
    // Commands that change nothing still work.
    sandbox.mcpipe(["config", "check"]).run().exits(0);
    sandbox.mcpipe(["config", "add", "b", "https://b.example/mcp", "--dry-run"]).run().exits(0);
    sandbox.mcpipe(["config", "import", "other.json", "--dry-run"]).run().exits(0);
    // Behind a link the permissions of the file count.
    let real = sandbox.path().join("home/dot files.toml");
    std::fs::rename(&file, &real).unwrap();
    symlink("../../dot files.toml", &file).unwrap();
    assert_eq!(
        refused(&["remove", "a"]),
        "mcpipe: error: cannot change ~/.config/mcpipe/config.toml\n  it is a link to ~/dot files.toml, which is read-only\n\
         hint: make it writable: chmod u+w ~/'dot files.toml'\n"
    );
    assert_eq!(state(&real), before);
    set_mode(&real, 0o644);
    sandbox.mcpipe(["config", "remove", "a"]).run().exits(0);
    assert_eq!((read(&real).as_str(), std::fs::symlink_metadata(&file).unwrap().is_symlink()), ("", true));
}

#[test]
fn what_is_trusted_is_not_changed_while_it_is_read_only() {
    let sandbox = Sandbox::new();
    let project = sandbox.file(".mcpipe.toml", "[servers.a]\ncommand = \"sh\"\n");
    let editor = sandbox.script("editor", "echo >> \"$1\"");
    let run =
        |words: &[&str]| sandbox.mcpipe(["config"]).args(words.iter().copied()).env("EDITOR", editor.as_os_str()).run();
    // Trusting does not write the project's own file.
    std::fs::set_permissions(&project, PermissionsExt::from_mode(0o400)).unwrap();
    run(&["trust", "--yes"]).exits(0);
    std::fs::set_permissions(&project, PermissionsExt::from_mode(0o600)).unwrap();
    let store = sandbox.path().join("home/.local/state/mcpipe/trust.json");
    std::fs::set_permissions(&store, PermissionsExt::from_mode(0o400)).unwrap();
    let before = (read(&project), read(&store));
    sandbox.file("sub/.mcp.json", "{\"mcpServers\": {}}");
    for words in [
        &["trust", "--revoke"][..],
        &["trust", "--yes", "sub/.mcp.json"],
        // It is trusted, and the change would end that.
        &["add", "b", "https://b.example/mcp", "--project"],
        &["edit", "--project"],
    ] {
        let refused = run(words);
        assert_eq!(
            refused.exits(3).prints("").stderr(),
            "mcpipe: error: cannot change ~/.local/state/mcpipe/trust.json\n  it is read-only\n\
             hint: make it writable: chmod u+w ~/.local/state/mcpipe/trust.json\n",
            "{words:?}"
        );
        assert_eq!((read(&project), read(&store)), before, "{words:?}");
    }
}

#[test]
fn help_version_and_config_work_while_a_file_is_broken() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.a]\nurl = \"https://a.example/\"\n\n[servers.b\n");
    for words in [
        &["--help"][..],
        &["--version"],
        &["config", "--help"],
        &["list", "--help"],
        &["completions", "bash"],
        &["man"],
        &["config", "schema"],
    ] {
        sandbox.mcpipe(words.iter().copied()).run().succeeds();
    }
    let shown = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).run().snapshot();
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: ~/.config/mcpipe/config.toml:4:11: this is not TOML
          unclosed table, expected `]`
    "#]]
    .assert_eq(&shown(&["config", "list"]));
    expect![[r#"
        exit: 0
        --- stdout
        [ROOT]/home/.config/mcpipe/config.toml\tuser\tinvalid
    "#]]
    .assert_eq(&shown(&["config", "path"]));
    expect![[r#"
        exit: 3
        --- stdout
        error\t~/.config/mcpipe/config.toml:4:11\tthis is not TOML: unclosed table, expected `]`\t-
        --- stderr
        mcpipe: error: 1 error in 1 file and 0 servers
    "#]]
    .assert_eq(&shown(&["config", "check"]));
    expect![[r#"
        exit: 3
        --- stderr
        mcpipe: error: ~/.config/mcpipe/config.toml:4:11: this is not TOML
          unclosed table, expected `]`
    "#]]
    .assert_eq(&shown(&["config", "get", "a"]));
    expect![[r#"
        exit: 3
        --- stderr
        {"error":{"class":"config","code":3,"message":"~/.config/mcpipe/config.toml:4:11: this is not TOML","causes":["unclosed table, expected `]`"],"hint":null,"server":null,"rpc":null}}
    "#]].assert_eq(&shown(&["list", "a", "--json"]));
    // Commands that need no configuration do not read it.
    let server = Mcp::modern().http();
    sandbox.mcpipe(["list", &server.url("/mcp")]).run().exits(0);
    sandbox.mcpipe(["config", "secret", "list"]).run().exits(0);
    // An invalid project file does not hide the user's own servers in `config`.
    sandbox.config("[servers.a]\nurl = \"https://a.example/\"\n");
    sandbox.file(".mcp.json", b"\xff\xfe{");
    let list = sandbox.mcpipe(["config", "list", "--json"]).run();
    assert_eq!(list.exits(3).json()["servers"][0]["name"], json!("a"));
    list.stderr_contains(".mcp.json:1: the file is not UTF-8 text");
    std::fs::write(user_file(&sandbox), b"# ok\na = '\xff'\n").unwrap();
    sandbox.mcpipe(["config", "list"]).run().exits(3).stderr_contains("config.toml:2: the file is not UTF-8 text");
}

#[test]
fn a_broken_file_of_a_strange_project_disables_nobody_elses_servers() {
    let server = Mcp::modern().http();
    for (name, text, fault) in [
        (".mcp.json", "{\"mcpServers\": {,}}", ".mcp.json:1:17: this is not JSON"),
        (".mcp.json", "[]", ".mcp.json:1: expected an object"),
        (".mcpipe.toml", "[servers\n", ".mcpipe.toml:1:9: this is not TOML"),
        (".mcpipe.toml", "serverz = 1\n", ".mcpipe.toml:1: unknown key 'serverz'"),
        (".mcpipe.toml", "servers = []\n", ".mcpipe.toml:1: 'servers' must be a table, not an array"),
        (
            ".mcpipe.toml",
            "[defaults]\nconfirm = 'a'\n",
            ".mcpipe.toml:2: 'confirm' in [defaults] must be one of never, ",
        ),
    ] {
        let sandbox = Sandbox::new();
        sandbox.config(&format!("[servers.mine]\nurl = \"{}\"\n", server.url("/mcp")));
        sandbox.file(name, text);
        let run = sandbox.mcpipe(["call", "mine", "echo", "text=hi"]).run();
        assert_eq!(run.exits(0).stdout(), "hi\n");
        run.stderr_contains("mcpipe: warning: ").stderr_contains(fault).stderr_contains("the file is ignored");
        let run = sandbox.mcpipe(["list"]).run();
        assert!(run.exits(0).stdout().starts_with("mine\t"), "{run:?}");
        run.stderr_contains(fault);
        // Its possible content is shown with the problem.
        let run = sandbox.mcpipe(["call", "theirs", "echo"]).run();
        run.exits(3).stderr_contains("no server named 'theirs' is configured").stderr_contains(fault);
        sandbox.mcpipe(["config", "check"]).run().exits(3);
    }
}

#[test]
fn a_file_that_is_ignored_changes_no_default() {
    let sandbox = Sandbox::new();
    sandbox.config("[defaults]\nconnect_timeout = \"9s\"\n[servers.mine]\nurl = \"https://a.example/\"\n");
    for text in
        ["[defaults]\ntimeout = \"1ms\"\nconfirm = \"never\"\n[oops]\n", "[defaults]\nconnect_timeout = \"${UNSET}\"\n"]
    {
        sandbox.file(".mcpipe.toml", text);
        let run = sandbox.mcpipe(["config", "get", "mine"]).run();
        run.exits(0).prints(
            "url\thttps://a.example/\t~/.config/mcpipe/config.toml:4\n\
             connect_timeout\t9s\t~/.config/mcpipe/config.toml:2\n",
        );
    }
}

#[test]
fn wrong_keys_types_and_values_name_file_line_and_what_was_meant() {
    let sandbox = Sandbox::new();
    let fault = |entry: &str| {
        sandbox.config(&format!("# one\n[servers.a]\n{entry}\n"));
        let run = sandbox.mcpipe(["list", "a"]).run();
        let error = run.exits(3).stderr().lines().next().unwrap().to_owned();
        error.replacen("mcpipe: error: ~/.config/mcpipe/config.toml:", "", 1)
    };
    expect!["3: unknown key 'ulr' in [servers.a]; did you mean 'url'?"].assert_eq(&fault("ulr = 'https://a/'"));
    expect!["3: 'url' in [servers.a] must be a string, not a whole number"].assert_eq(&fault("url = 5"));
    expect!["3: 'url' in [servers.a] is empty"].assert_eq(&fault("url = ''"));
    expect!["4: 'insecure' in [servers.a] must be true or false, not a string"]
        .assert_eq(&fault("url = 'https://a/'\ninsecure = 'yes'"));
    expect!["4: 'transport' in [servers.a] must be one of auto, http, sse, not 'htpp'; did you mean 'http'?"]
        .assert_eq(&fault("url = 'https://a/'\ntransport = 'htpp'"));
    expect!["4: 'headers' in [servers.a] must contain only strings, but 'A' is a whole number: put it in quotes"]
        .assert_eq(&fault("url = 'https://a/'\nheaders = { A = 1 }"));
    expect!["4: 'args' in [servers.a] must be an array of strings, not a string"]
        .assert_eq(&fault("command = 'sh'\nargs = 'x'"));
    expect!["4: 'args' in [servers.a] must contain only strings, not a whole number"]
        .assert_eq(&fault("command = 'sh'\nargs = ['x', 1]"));
    expect!["4: 'headers' in [servers.a] applies only to a URL, but the server is a command"]
        .assert_eq(&fault("command = 'sh'\nheaders = { A = 'b' }"));
    expect!["4: unknown key 'client_idd' in [servers.a.auth]; did you mean 'client_id'?"]
        .assert_eq(&fault("url = 'https://a/'\nauth = { client_idd = 'x' }"));
    expect!["4: 'redirect_port' in [servers.a.auth] must be from 1 to 65535, not 70000"]
        .assert_eq(&fault("url = 'https://a/'\nauth = { redirect_port = 70000 }"));
    expect!["3: 'url' in [servers.a] is invalid: '${' has no closing '}'"].assert_eq(&fault("url = 'https://a/${'"));
    expect!["3: 'url' in [servers.a] is invalid: '${env:A}' is not a reference; use ${VAR}, ${VAR:-default}, ${keychain:NAME} or ${command:LINE}"].assert_eq(&fault("url = 'https://a/${env:A}'"));
    expect!["3: the variable A is not set; 'url' in [servers.a] refers to it"]
        .assert_eq(&fault("url = 'https://a/${A}'"));
    expect!["3: 'timeout' in [servers.a] is not a duration: unknown unit 'fortnights'; use ms, s, m or h"]
        .assert_eq(&fault("timeout = '3 fortnights'\nurl = 'https://a/'"));
    expect!["3: 'confirm' in [servers.a] must be one of never, destructive, always, not 'yes'"]
        .assert_eq(&fault("confirm = 'yes'\nurl = 'https://a/'"));
    expect!["2: [servers.a] has neither 'url' nor 'command'"].assert_eq(&fault("timeout = 5"));
    expect!["4: 'cwd' in [servers.a] applies only to a command, but the server is a URL"]
        .assert_eq(&fault("url = 'https://a/'\ncwd = 'x'"));
    expect!["4: [servers.a.auth] has both 'redirect_port' and 'redirect_uri'"]
        .assert_eq(&fault("url = 'https://a/'\nauth = { redirect_port = 1, redirect_uri = 'http://localhost:1/x' }"));
    expect!["4: 'key' in [servers.a] needs 'cert'"].assert_eq(&fault("url = 'https://a/'\nkey = 'k.pem'"));
    expect!["6: 'allow_tools' in [servers.a] has an invalid pattern: unclosed character class; missing ']'"]
        .assert_eq(&fault("url = 'https://a/'\nallow_tools = [\n'a',\n'b[']"));
    expect!["4: 'A=B' in [servers.a] is not a valid variable name: it is empty or contains '='"]
        .assert_eq(&fault("command = 'sh'\nenv = { 'A=B' = '1' }"));
    expect!["3: 'command' in [servers.a] is empty"].assert_eq(&fault("command = ''"));
    expect!["mcpipe: error: 'a' has 2 errors"].assert_eq(&fault("url = 5\ntimeout = '3 years'"));
    expect!["3: 'timeout' in [servers.a] cannot be a secret"]
        .assert_eq(&fault("timeout = '${command:x}'\nurl = 'https://a/'"));
    expect!["5: 'confirm' in [defaults] cannot be a secret"]
        .assert_eq(&fault("url = 'https://a/'\n[defaults]\nconfirm = '${keychain:x}'"));
}

#[test]
fn the_provider_settings_in_the_documentation_are_valid() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/auth.md")).unwrap();
    let (_, block) = text.split_once("\n```toml\n").expect("a configuration");
    let (block, _) = block.split_once("```").unwrap();
    let sandbox = Sandbox::new();
    sandbox.config(block);
    let servers = block.lines().filter(|line| line.starts_with("[servers.") && !line.ends_with(".auth]")).count();
    let secrets = ["SLACK_CLIENT_SECRET", "GOOGLE_CLIENT_SECRET", "GITHUB_CLIENT_SECRET"];
    let check = secrets.iter().fold(sandbox.mcpipe(["config", "check"]), |run, name| run.env(name, "secret"));
    let run = check.run();
    run.exits(0).stderr_is(&format!("checked 1 file and {servers} servers: no errors\n"));
}

/// A pipe can be read only once, and at a terminal the configuration also says whether to use colors.
#[test]
#[cfg(unix)]
fn a_pipe_is_a_configuration_file_at_a_terminal_too() {
    let sandbox = Sandbox::new();
    let pipe = sandbox.work().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let write = std::thread::spawn(move || std::fs::write(pipe, "[servers.q]\nurl = \"https://q.example/mcp\"\n"));
    let seen = sandbox.mcpipe(["config", "list", "--config", "pipe"]).at_terminal(TerminalStreams::ALL).wait();
    seen.exits(0);
    assert!(seen.final_screen().contains("https://q.example/mcp"), "{}", seen.final_screen());
    write.join().unwrap().unwrap();
}

/// As in a shell, PWD is the working directory, whatever the variable was.
#[test]
fn pwd_is_the_working_directory() {
    let sandbox = Sandbox::new();
    sandbox.config("[servers.x]\ncommand = \"${PWD:-.}/run\"\n");
    sandbox.script("run", "echo \"$0\" > ran; exit 1");
    let link = sandbox.path().join("link");
    symlink(sandbox.work(), &link).unwrap();
    let (work, link) = (sandbox.work().canonicalize().unwrap().display().to_string(), link.display().to_string());
    for (pwd, directory) in [(None, &work), (Some("/"), &work), (Some("."), &work), (Some(&*link), &link)] {
        let list = sandbox.mcpipe(["list", "x"]).env_remove("PWD");
        let list = pwd.into_iter().fold(list, |list, pwd| list.env("PWD", pwd));
        list.run().exits(5);
        assert_eq!(read(&sandbox.work().join("ran")), format!("{directory}/run\n"), "{pwd:?}");
    }
}

#[test]
fn a_time_of_the_defaults_is_shown_as_it_can_be_written() {
    let sandbox = Sandbox::new();
    sandbox
        .config("[defaults]\ntimeout = 0\n[servers.x]\ncommand = 'sh'\n[servers.y]\ncommand = 'sh'\ntimeout = 1e300\n");
    sandbox.mcpipe(["config", "get", "x"]).run().exits(0).stdout_contains("timeout\t0s\t");
    let check = sandbox.mcpipe(["config", "check"]).run();
    check.exits(3).stdout_contains("'timeout' in [servers.y] is too long");
}

#[test]
fn an_option_replaces_a_bearer_variable_that_is_not_set() {
    let server = Mcp::modern().http();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.x]\nurl = {:?}\nbearer_env = 'UNSET'\n", server.url("/mcp")));
    sandbox.mcpipe(["list", "x"]).run().exits(3);
    sandbox.mcpipe(["list", "x", "-H", "authorization: Bearer s3cret"]).run().exits(0);
    assert!(server.requests().iter().all(|request| request.header("authorization") == Some("Bearer s3cret")));
}
