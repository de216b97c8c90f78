#![allow(clippy::unwrap_used)]

use super::*;
use crate::error::ErrorKind;
use crate::error::Failure;
use crate::transport::HttpMode;
use std::fs;

/// A home directory with a project in it, and an environment for both.
struct ConfigTestEnv {
    root: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl ConfigTestEnv {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("home/project/deep")).unwrap();
        let home = root.path().join("home").display().to_string();
        ConfigTestEnv { root, variables: crate::env::home_variables(&home) }
    }

    fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn with_user_config(self, text: &str) -> Self {
        self.with_file(".config/mcpipe/config.toml", text)
    }

    fn with_project_config(self, text: &str) -> Self {
        self.with_file("project/.mcpipe.toml", text)
    }

    fn with_mcp_json(self, text: &str) -> Self {
        self.with_file("project/.mcp.json", text)
    }

    fn with_file(self, name: &str, text: &str) -> Self {
        let path = self.home().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    fn environment(&self) -> Environment {
        Environment::new(self.variables.clone(), &self.home().join("project/deep"))
    }

    fn load(&self) -> Result<Config> {
        Config::load(&self.environment(), None)
    }

    fn settings(&self, name: &str) -> Result<settings::ServerSettings> {
        let config = self.load()?;
        let server = config.server(name).unwrap();
        server.check_usable()?;
        server.settings(&self.environment(), &config.defaults, &value::secrets::Secrets::default())
    }

    fn trust(&self, name: &str) {
        let path = self.home().join(name);
        trust::trust_file(&self.environment(), &path, &fs::read_to_string(&path).unwrap()).unwrap();
    }
}

fn message(failure: &Failure) -> String {
    assert_eq!(failure.kind(), ErrorKind::Config, "{failure}");
    failure.to_string()
}

#[test]
fn a_missing_file_is_an_error_only_if_it_was_named() {
    let world = ConfigTestEnv::new();
    assert!(world.load().unwrap().servers().is_empty());
    let nowhere = world.home().join("nowhere");
    let [flag, named] = ["c.toml", "d.toml"].map(|name| nowhere.join(name).display().to_string());
    let failure = Config::load(&world.environment(), Some(Path::new(&flag))).unwrap_err();
    assert!(message(&failure).contains("~/nowhere/c.toml"), "{failure}");
    let world = world.with_variable("MCPIPE_CONFIG", &named);
    assert!(message(&world.load().unwrap_err()).contains("~/nowhere/d.toml"));
}

#[test]
fn an_unknown_key_names_file_line_and_the_nearest_key() {
    let world = ConfigTestEnv::new().with_user_config("[servers.x]\n# a remark\ncomand = 'npx'\n");
    let failure = world.settings("x").unwrap_err();
    assert_eq!(
        message(&failure),
        "~/.config/mcpipe/config.toml:3: unknown key 'comand' in [servers.x]; did you mean 'command'?"
    );
}

#[test]
fn all_errors_of_an_entry_are_reported_at_once() {
    let world = ConfigTestEnv::new().with_user_config(
        "[servers.x]\nurl = 5\ntimeout = '3 years'\ntransport = 'htpt'\nprotocol = '2020-01-01'\n\
         args = ['a', 1]\nenv = { PORT = 3000 }\ninsecure = 'yes'\n[servers.x.auth]\nredirect_port = 70000\nscope = ['a']\n",
    );
    let failure = world.settings("x").unwrap_err();
    let text = message(&failure);
    for part in [
        "'x' has 9 errors",
        ":2: 'url' in [servers.x] must be a string, not a whole number",
        ":3: 'timeout' in [servers.x] is not a duration",
        ":4: 'transport' in [servers.x] must be one of auto, http, sse, not 'htpt'; did you mean 'http'?",
        ":5: 'protocol' in [servers.x] names an unknown revision '2020-01-01'",
        ":6: 'args' in [servers.x] must contain only strings, not a whole number",
        ":7: 'env' in [servers.x] must contain only strings, but 'PORT' is a whole number: put it in quotes",
        ":8: 'insecure' in [servers.x] must be true or false, not a string",
        ":10: 'redirect_port' in [servers.x.auth] must be from 1 to 65535, not 70000",
        ":11: unknown key 'scope' in [servers.x.auth]; did you mean 'scopes'?",
    ] {
        assert!(text.contains(part), "{part}\nis not in\n{text}");
    }
}

#[test]
fn conflicting_keys_are_errors() {
    for (entry, part) in [
        ("url = 'https://a'\ncommand = 'b'", ":3: [servers.x] has both 'url' and 'command'"),
        ("timeout = 5", ":1: [servers.x] has neither 'url' nor 'command'"),
        ("url = 'https://a'\ncwd = 'x'", ":3: 'cwd' in [servers.x] applies only to a command, but the server is a URL"),
        (
            "command = 'a'\nheaders = { A = '1' }",
            ":3: 'headers' in [servers.x] applies only to a URL, but the server is a command",
        ),
        (
            "url = 'https://a'\nauth = { redirect_port = 1, redirect_uri = 'http://localhost:1/x' }",
            "[servers.x.auth] has both 'redirect_port' and 'redirect_uri'",
        ),
        (
            "url = 'https://a'\nauth = { redirect_uri = 'https://a.example/x' }",
            "'redirect_uri' in [servers.x.auth] must be an http:// URL of this machine, not 'https://a.example/x'",
        ),
        ("url = 'https://a'\nkey = 'k.pem'", ":3: 'key' in [servers.x] needs 'cert'"),
        ("url = 'https://a'\nallow_tools = [\n'a',\n'b[']", ":5: 'allow_tools' in [servers.x] has an invalid pattern"),
        (
            "command = 'a'\nenv = { 'A=B' = '1' }",
            "'A=B' in [servers.x] is not a valid variable name: it is empty or contains '='",
        ),
        ("command = ''", "'command' in [servers.x] is empty"),
        ("command = 'a ${'", "'command' in [servers.x] is invalid: '${' has no closing"),
    ] {
        let world = ConfigTestEnv::new().with_user_config(&format!("[servers.x]\n{entry}\n"));
        let failure = world.settings("x").unwrap_err();
        assert!(message(&failure).contains(part), "{part}\nis not in\n{failure}");
    }
}

#[test]
fn a_broken_entry_does_not_affect_other_servers() {
    let world = ConfigTestEnv::new().with_user_config(
        "[servers.good]\nurl = 'https://a/'\n[servers.unset]\nurl = '${NOPE}'\n[servers.broken]\nurl = 5\nx = 1\n",
    );
    assert!(world.settings("good").is_ok());
    let failure = world.settings("unset").unwrap_err();
    assert_eq!(
        message(&failure),
        "~/.config/mcpipe/config.toml:4: the variable NOPE is not set; 'url' in [servers.unset] refers to it"
    );
    assert!(failure.details().hint.as_deref().unwrap().contains("NOPE"), "{failure:?}");
    assert!(world.settings("broken").is_err());
}

#[test]
fn a_missing_variable_inside_a_table_names_the_member() {
    let world = ConfigTestEnv::new()
        .with_user_config("[servers.x]\nurl = 'https://a'\n[servers.x.headers]\nA = '1'\nX-Team = 'a ${TEAM}'\n");
    let failure = world.settings("x").unwrap_err();
    assert!(message(&failure).contains(":5: the variable TEAM is not set; 'headers.X-Team' in [servers.x]"));
    let world = world.with_variable("TEAM", "core");
    let settings = world.settings("x").unwrap();
    assert_eq!(settings.headers[1].1.value.reveal(), "a core");
}

#[test]
fn a_toml_syntax_error_names_line_and_column() {
    let world = ConfigTestEnv::new().with_user_config("[servers.x]\nurl = = 1\n");
    let text = message(&world.load().unwrap_err());
    assert!(text.starts_with("~/.config/mcpipe/config.toml:2:7: this is not TOML"), "{text}");
    let world = ConfigTestEnv::new().with_mcp_json("{\n  \"mcpServers\": {,}\n}");
    let text = world.load().unwrap().skip_warnings().next().unwrap();
    assert!(text.starts_with("~/project/.mcp.json:2:18: this is not JSON"), "{text}");
    let world = ConfigTestEnv::new();
    fs::create_dir_all(world.home().join(".config/mcpipe")).unwrap();
    fs::write(world.home().join(".config/mcpipe/config.toml"), b"# ok\na = '\xff'\n").unwrap();
    assert!(message(&world.load().unwrap_err()).contains("config.toml:2: the file is not UTF-8"));
}

#[test]
fn the_top_level_and_the_defaults_are_checked_for_all() {
    let text = message(&ConfigTestEnv::new().with_user_config("[server.x]\nurl = 'https://a'\n").load().unwrap_err());
    assert!(text.contains(":1: unknown key 'server'; did you mean 'servers'?"), "{text}");
    let text = message(&ConfigTestEnv::new().with_user_config("[defaults]\nconfirm = 'alway'\n").load().unwrap_err());
    assert!(text.contains(":2: 'confirm' in [defaults] must be one of never, destructive, always"), "{text}");
    let text = message(&ConfigTestEnv::new().with_user_config("servers = []\n").load().unwrap_err());
    assert!(text.contains("'servers' must be a table, not an array"), "{text}");
}

#[test]
fn a_higher_layer_replaces_the_whole_server_and_defaults_merge_by_key() {
    let world = ConfigTestEnv::new()
        .with_user_config("[defaults]\ntimeout = '10s'\njobs = 3\n[servers.a]\nurl = 'https://user/'\ntransport = 'sse'\n[servers.b]\nurl = 'https://b/'\n")
        .with_mcp_json("{\"mcpServers\": {\"a\": {\"url\": \"https://json/\"}, \"c\": {\"url\": \"https://c/\"}}}")
        .with_project_config("[defaults]\ntimeout = 20\n[servers.a]\nurl = 'https://project/'\n");
    world.trust("project/.mcpipe.toml");
    let config = world.load().unwrap();
    assert_eq!(config.servers().iter().map(|s| s.name.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    let a = config.server("a").unwrap();
    let replaced: Vec<String> = a.overridden.iter().map(ToString::to_string).collect();
    assert_eq!(replaced, ["~/.config/mcpipe/config.toml:4", "~/project/.mcp.json:1"]);
    assert_eq!(a.origin().to_string(), "~/project/.mcpipe.toml:3");
    let settings = world.settings("a").unwrap();
    assert_eq!(settings.url.unwrap().value.reveal(), "https://project/");
    assert_eq!(settings.transport, None, "nothing of the replaced entry is left");
    assert_eq!(settings.timeout, Some(std::time::Duration::from_secs(20).into()));
    assert_eq!(config.defaults.jobs, Some(3));
    assert_eq!(config.defaults.origins["jobs"].to_string(), "~/.config/mcpipe/config.toml:3");
}

#[test]
fn a_chosen_file_is_read_alone_in_either_format() {
    let world = ConfigTestEnv::new()
        .with_user_config("this is broken")
        .with_mcp_json("{broken")
        .with_file("c.json", "{\"servers\": {\"j\": {\"command\": [\"npx\", \"-y\"], \"args\": [\"x\"]}}}")
        .with_file("noext", "[servers.t]\nurl = 'https://t/'\n");
    let environment = world.environment();
    let config = Config::load(&environment, Some(&world.home().join("c.json"))).unwrap();
    let settings = config
        .server("j")
        .unwrap()
        .settings(&environment, &config.defaults, &value::secrets::Secrets::default())
        .unwrap();
    assert_eq!((settings.command.unwrap().value.as_str(), settings.args), ("npx", vec!["-y".into(), "x".into()]));
    let config = Config::load(&environment, Some(Path::new("../../noext"))).unwrap();
    assert!(config.server("t").unwrap().check_usable().is_ok(), "a file that was named needs no trust");
}

#[test]
fn relative_paths_are_relative_to_the_file_and_projects_start_in_the_project() {
    let world = ConfigTestEnv::new()
        .with_user_config("[servers.u]\ncommand = './bin/x'\n[servers.v]\ncommand = '~/y'\nargs = ['~/z', './w']\ncwd = 'sub'\nroots = ['r', 'file:///s']\n")
        .with_project_config("[servers.p]\ncommand = 'npx'\n");
    world.trust("project/.mcpipe.toml");
    let home = world.home();
    // With the path separators of this system.
    let written = |path: &str| home.join(path).components().collect::<PathBuf>().display().to_string();
    let settings = world.settings("u").unwrap();
    assert_eq!(settings.command.unwrap().value, written(".config/mcpipe/bin/x"));
    assert_eq!(settings.cwd, None);
    let settings = world.settings("v").unwrap();
    assert_eq!(settings.command.unwrap().value, written("y"));
    assert_eq!(settings.args, ["~/z", "./w"], "arguments are the server's business");
    assert_eq!(settings.cwd, Some(home.join(".config/mcpipe/sub")));
    assert_eq!(settings.roots, [written(".config/mcpipe/r"), "file:///s".to_owned()]);
    assert_eq!(world.settings("p").unwrap().cwd, Some(home.join("project")));
}

#[test]
fn the_mcp_json_of_other_clients_is_read() {
    let world = ConfigTestEnv::new().with_variable("KEY", "k").with_mcp_json(
        r#"{
  "inputs": [],
  "mcpServers": {
    "remote": {"type": "streamable-http", "url": "https://r/", "headers": {"A": "${KEY}", "N": 5}, "env": {},
               "oauth": {"clientId": "c", "callbackPort": 8080, "scopes": "a b"}},
    "sse": {"type": "sse", "url": "https://s/", "disabled": false, "alwaysAllow": ["x"]},
    "gem": {"httpUrl": "https://g/"},
    "off": {"command": "x", "disabled": true},
    "off2": {"command": "x", "enabled": false},
    "My Server!": {"command": "npx", "args": ["-y", 1], "env": {"P": 1, "B": true, "D": "${NOPE:-d}"},
                   "cwd": null, "timeout": 5, "headers": {}},
    "bad": {"command": "x", "args": "y"},
    "odd": {"type": "grpc", "url": "https://w/"},
    "socket": {"type": "ws", "url": "wss://w/"}
  }
}"#,
    );
    world.trust("project/.mcp.json");
    let remote = world.settings("remote").unwrap();
    assert_eq!(remote.transport, Some(HttpMode::Streamable));
    let headers: Vec<_> = remote.headers.iter().map(|(n, set)| (n.as_str(), set.value.reveal())).collect();
    assert_eq!(headers, [("A", "k"), ("N", "5")]);
    assert_eq!(
        (remote.auth.client_id.as_deref(), remote.auth.redirect_uri.as_deref()),
        (Some("c"), Some("http://localhost:8080/callback"))
    );
    assert_eq!(remote.auth.scopes.unwrap(), ["a", "b"]);
    assert_eq!(world.settings("sse").unwrap().transport, Some(HttpMode::Sse));
    assert_eq!(world.settings("gem").unwrap().transport, Some(HttpMode::Streamable));
    assert_eq!(world.settings("socket").unwrap().transport, None);
    for name in ["off", "off2"] {
        let failure = world.settings(name).unwrap_err();
        assert!(message(&failure).contains("is disabled"), "{failure}");
    }
    let mine = world.settings("My Server!").unwrap();
    let env: Vec<_> = mine.env.iter().map(|(n, value)| (n.as_str(), value.reveal())).collect();
    assert_eq!(env, [("P", "1"), ("B", "true"), ("D", "d")]);
    assert_eq!(mine.args, ["-y", "1"]);
    assert_eq!(mine.timeout, None, "the unit of other clients is not ours");
    let failure = world.settings("bad").unwrap_err();
    assert!(message(&failure).contains(".mcp.json:12: 'args' in 'bad' must be an array of strings"), "{failure}");
    let notes: Vec<String> = world.load().unwrap().notes.iter().map(ToString::to_string).collect();
    assert_eq!(
        notes,
        [
            "~/project/.mcp.json:11: 'timeout' of 'My Server!' is ignored: mcpipe does not support it",
            "~/project/.mcp.json:13: 'type' of 'odd' is 'grpc', which mcpipe does not support"
        ]
    );
}

#[test]
fn a_json_file_without_servers_differs_from_an_empty_one() {
    assert!(ConfigTestEnv::new().with_mcp_json("{}").load().unwrap().servers().is_empty());
    let unread = |text: &str| ConfigTestEnv::new().with_mcp_json(text).load().unwrap().skip_warnings().next().unwrap();
    assert!(unread("{\"a\": 1}").contains("neither 'mcpServers' nor"));
    assert!(unread("[]").contains("expected an object"));
    assert!(
        ConfigTestEnv::new().with_mcp_json("\u{feff}{\"servers\": {}}").load().is_ok(),
        "a byte order mark is no fault"
    );
}

#[test]
fn json_of_other_clients_may_have_comments_and_trailing_commas() {
    let text =
        "// Shared by all clients.\n{\"mcpServers\": {\n  /* the docs */\n  \"a\": {\"url\": \"https://a/\"},\n},}\n";
    let world = ConfigTestEnv::new().with_mcp_json(text).with_file("c.jsonc", text).with_file("noext", text);
    assert_eq!(world.load().unwrap().server("a").unwrap().origin().to_string(), "~/project/.mcp.json:4");
    for name in ["c.jsonc", "noext"] {
        let config = Config::load(&world.environment(), Some(&world.home().join(name))).unwrap();
        assert_eq!(config.server("a").unwrap().origin().to_string(), format!("~/{name}:4"));
    }
}

#[test]
fn a_project_file_that_runs_or_sends_needs_trust_until_it_is_granted_and_again_after_a_change() {
    let world = ConfigTestEnv::new().with_mcp_json("{\"mcpServers\": {\"x\": {\"command\": \"evil\"}}}");
    let failure = world.settings("x").unwrap_err();
    assert!(message(&failure).contains("starts a process, and its file ~/project/.mcp.json is not trusted"));
    assert!(failure.details().hint.as_deref().unwrap().ends_with(": mcpipe config trust ~/project/.mcp.json"));
    world.trust("project/.mcp.json");
    assert!(world.settings("x").is_ok());
    let world = world.with_mcp_json("{\"mcpServers\": {\"x\": {\"command\": \"worse\"}}}");
    let failure = world.settings("x").unwrap_err();
    assert!(message(&failure).contains("has changed since it was trusted"), "{failure}");
    // Another file with the same content is another file.
    let world = ConfigTestEnv::new()
        .with_project_config("[servers.x]\ncommand = 'a'\n")
        .with_file(".mcpipe.toml", "[servers.x]\ncommand = 'a'\n");
    world.trust(".mcpipe.toml");
    assert!(world.settings("x").is_err());
}

#[test]
fn what_needs_trust_and_what_does_not() {
    let needs = |user: &str, entry: &str| {
        let world = ConfigTestEnv::new()
            .with_variable("V", "v")
            .with_user_config(user)
            .with_project_config(&format!("[servers.x]\n{entry}\n"));
        world.settings("x").is_err()
    };
    let url = "url = 'https://a/'\n";
    assert!(!needs("", url));
    assert!(!needs("", &format!("{url}deny_tools = ['a']\ntimeout = 5\nprotocol = 'legacy'")));
    for entry in [
        "command = 'a'",
        "url = 'https://${V}/'",
        "url = 'https://me:pw@a/'",
        "url = 'https://a/'\nheaders = { A = 'b' }",
        "url = 'https://a/'\nbearer_env = 'V'",
        "url = 'https://a/'\nauth = { client_id = 'a' }",
        "url = 'https://a/'\ninsecure = true",
        "url = 'https://a/'\nallow_http = true",
        "url = 'https://a/'\nproxy = 'http://p'",
        "url = 'https://a/'\ncacert = 'c.pem'",
        "url = 'https://a/'\nroots = ['/']",
        "url = 'https://a/'\nallow_tools = ['${V}']",
    ] {
        assert!(needs("", entry), "{entry}");
    }
    // Overriding the user's own server is a way to receive its requests.
    assert!(needs("[servers.x]\nurl = 'https://mine/'\n", url));
}

#[test]
fn an_untrusted_project_cannot_weaken_security_defaults() {
    let world = ConfigTestEnv::new()
        .with_user_config("[defaults]\nconfirm = 'always'\n[servers.a]\nurl = 'https://a/'\n")
        .with_project_config("[defaults]\nconfirm = 'never'\ncredential_store = 'file'\njobs = 2\n");
    let config = world.load().unwrap();
    assert_eq!(world.settings("a").unwrap().policy.confirm, policy::ConfirmPolicy::Always);
    assert_eq!((config.defaults.credential_store.as_deref(), config.defaults.jobs), (None, Some(2)));
    assert_eq!(config.warnings.len(), 2);
    assert!(config.warnings[0].contains("~/project/.mcpipe.toml:2"), "{:?}", config.warnings);
    world.trust("project/.mcpipe.toml");
    assert_eq!(world.settings("a").unwrap().policy.confirm, policy::ConfirmPolicy::Never);
}

#[test]
fn a_damaged_trust_store_is_an_error_only_with_project_files() {
    let world = ConfigTestEnv::new()
        .with_user_config("[servers.a]\nurl = 'https://a/'\n")
        .with_file(".local/state/mcpipe/trust.json", "rubbish");
    assert!(world.load().is_ok());
    let world = world.with_project_config("[servers.b]\nurl = 'https://b/'\n");
    let failure = world.load().unwrap_err();
    assert!(message(&failure).contains("trust.json"), "{failure}");
}

#[test]
fn similar_names_are_suggested() {
    let world = ConfigTestEnv::new()
        .with_user_config("[servers.linear]\nurl = 'https://a/'\n[servers.github]\nurl = 'https://a/'\n[servers.github-work]\nurl = 'https://a/'\n");
    let config = world.load().unwrap();
    assert_eq!(config.suggest("linaer"), ["linear"]);
    assert_eq!(config.suggest("Git"), ["github", "github-work"]);
    assert!(config.suggest("zzz").is_empty());
}
