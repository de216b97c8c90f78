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
    "My Server!": {"command": ["npx", "-y"], "args": [1], "env": {"P": 1, "B": true, "D": "${NOPE:-d}"},
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
