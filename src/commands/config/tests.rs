#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::auth::store::{self, StoreChoice, StorePaths};
use crate::cli::Command;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure};
use crate::interrupt::Interrupt;

/// A home directory with a project in it, for running `config`.
struct ConfigCommandFixture {
    root: tempfile::TempDir,
    answer: Option<bool>,
}

/// The output of a run: stdout, notes, failure, and the questions asked.
struct RunOutput {
    out: String,
    json: Value,
    notes: String,
    failure: Option<Failure>,
    asked: String,
}

impl ConfigCommandFixture {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("home/project")).unwrap();
        ConfigCommandFixture { root, answer: None }
    }

    fn path(&self, name: &str) -> PathBuf {
        // With the path separators of this system.
        self.root.path().join("home").join(name).components().collect()
    }

    fn with_file(self, name: &str, text: &str) -> Self {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
        self
    }

    fn with_user_config(self, text: &str) -> Self {
        self.with_file(".config/mcpipe/config.toml", text)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn try_run(&self, words: &[&str]) -> Result<RunOutput> {
        let words: Vec<std::ffi::OsString> = ["mcpipe", "config"].iter().chain(words).map(Into::into).collect();
        let mut cli = crate::cli::parse(&words).unwrap();
        let global = cli.take_global_options();
        let Command::Config(args) = cli.command else { panic!("no config") };
        let variables = crate::env::home_variables(&self.path("").display().to_string());
        let environment = Environment::new(variables, &self.path("project"));
        let mut asked = String::new();
        let mut ask = |text: &str| {
            asked.push_str(text);
            Ok(self.answer)
        };
        let places = StorePaths {
            data_dir: self.path(".local/share/mcpipe"),
            state_dir: self.path(".local/state/mcpipe"),
            credentials_file: None,
            is_interactive: false,
        };
        let mut context = ConfigContext {
            environment: &environment,
            config_file: global.config.as_deref(),
            timeouts: (global.timeout, global.connect_timeout),
            confirm: &mut ask,
            read_secret: &mut |_| Ok(String::new()),
            open_store: &|_| Ok(store::open(StoreChoice::File, &places, Arc::new(|_: &str| {}))),
            connect: &|_, name| Err(Failure::new(ErrorKind::Unreachable, format!("{name} is not there"))),
            fetch: &|url, _| Err(Failure::new(ErrorKind::Unreachable, format!("{url} is not there"))),
            interrupt: Interrupt::default(),
        };
        let report = run(&args.command, &mut context)?;
        let out = match &report.body {
            ReportBody::Text(text) => text.clone(),
            ReportBody::Table(_, rows) => rows.iter().map(|row| row.join("\t") + "\n").collect(),
        };
        Ok(RunOutput { out, json: report.json, notes: report.notes.join("\n"), failure: report.failure, asked })
    }

    fn run(&self, words: &[&str]) -> RunOutput {
        self.try_run(words).unwrap()
    }

    fn assert_fails(&self, words: &[&str], class: ErrorKind, part: &str) {
        let failure = match self.try_run(words) {
            Err(failure) => failure,
            Ok(said) => said.failure.unwrap(),
        };
        let text = format!("{failure} {}", failure.details().hint.clone().unwrap_or_default());
        assert_eq!(failure.kind(), class, "{text}");
        assert!(text.contains(part), "'{part}' is not in '{text}'");
    }
}

const USER: &str = "# mine\n[defaults]\ntimeout = \"5s\"\n\n[servers.api]\nurl = \"https://u:pw@api.example/?key=k3y\"\nbearer_env = \"T\"\n\
    [servers.api.headers]\nX-Team = \"${TEAM}\"\nX-Key = \"s3cret\"\n[servers.api.auth]\nclient_secret = \"s3cret\"\nscopes = [\"a\", \"b\"]\n\n\
    [servers.files]\ncommand = \"npx\"\nargs = [\"-y\", \"--token\", \"s3cret\", \"a b\", \"${HOME}\"]\ncwd = \"~/x\"\n";

#[test]
fn list_shows_every_server_with_its_source_and_state_and_no_secret() {
    let world = ConfigCommandFixture::new()
        .with_user_config(USER)
        .with_file("x/kept", "")
        .with_file(
            "project/.mcp.json",
            "{\"mcpServers\": {\"evil\": {\"command\": \"rm\"}, \"off\": {\"command\": \"x\", \"disabled\": true}}}",
        )
        .with_file("project/.mcpipe.toml", "[servers.bad]\nurl = 5\n");
    let said = world.run(&["list"]);
    // Quoted for the shells of this system.
    let list = said.out.replace("\"a b\"", "'a b'");
    assert_eq!(
        list,
        "api\thttp\thttps://[redacted]@api.example/?key=[redacted]\t~/.config/mcpipe/config.toml:5\tinvalid\n\
         bad\t\t\t~/project/.mcpipe.toml:1\tinvalid\n\
         evil\tstdio\trm\t~/project/.mcp.json:1\tuntrusted\n\
         files\tstdio\tnpx -y --token [redacted] 'a b' ${HOME}\t~/.config/mcpipe/config.toml:15\tinvalid\n\
         off\tstdio\tx\t~/project/.mcp.json:1\tdisabled\n"
    );
    assert_eq!(said.json["servers"][0]["origin"]["line"], 5);
    assert!(!said.json.to_string().contains("s3cret"));
}

#[test]
fn trust_shows_everything_in_full_and_asks() {
    let text = "{\"mcpServers\": {\"x\": {\"command\": \"sh\", \"args\": [\"-c\", \"rm -rf \\u202e~\"], \"env\": {\"A\": \"${HOME}\"}},\n\
        \"y\": {\"url\": \"https://y/\", \"headers\": {\"Authorization\": \"Bearer \\u001b[2Jx\"}}}}";
    let mut world = ConfigCommandFixture::new().with_file("project/.mcp.json", text);
    world.assert_fails(&["trust"], ErrorKind::Refused, "cannot prompt: not a terminal");
    world.answer = Some(false);
    world.assert_fails(&["trust"], ErrorKind::Refused, "~/project/.mcp.json is not trusted");
    assert!(world.run(&["list"]).out.contains("untrusted"));
    world.answer = Some(true);
    let said = world.run(&["trust"]);
    let quote = if cfg!(windows) { '"' } else { '\'' };
    for part in [
        &format!("runs  sh -c {quote}rm -rf \\u{{202e}}~{quote}"),
        "env.A = \"${HOME}\"",
        "url = \"https://y/\"",
        "headers.Authorization = \"Bearer \\u{1b}[2Jx\"",
        "(line 2)",
    ] {
        assert!(said.asked.contains(part), "'{part}' is not in\n{}", said.asked);
    }
    assert!(!world.run(&["list"]).out.contains("untrusted"));
    assert!(world.run(&["trust", "--revoke"]).notes.contains("no longer trusted"));
    assert!(world.run(&["list"]).out.contains("untrusted"));
    assert!(world.run(&["trust", "--yes", ".mcp.json"]).asked.is_empty());
    assert!(!world.run(&["list"]).out.contains("untrusted"));
    ConfigCommandFixture::new().assert_fails(&["trust"], ErrorKind::Config, "no project file to trust");
    world.assert_fails(&["trust", "nope.toml"], ErrorKind::Config, "nope.toml");
}

#[test]
fn add_appends_an_entry_that_can_be_used_at_once() {
    let world = ConfigCommandFixture::new().with_user_config("# mine\n[defaults]\njobs = 3 # few\n");
    let said = world.run(&[
        "add",
        "api",
        "https://api.example/mcp",
        "-H",
        "X-Key: ${K}",
        "--allow-tool",
        "get_*",
        "--timeout",
        "1500ms",
        "--client-id",
        "c",
        "--client-secret-env",
        "S",
        "--scope",
        "a",
        "--scope",
        "b",
        "--redirect-port",
        "8080",
        "--protocol",
        "legacy",
    ]);
    assert_eq!(said.out, "");
    assert!(said.notes.starts_with("added 'api' in ~/.config/mcpipe/config.toml:5"), "{}", said.notes);
    assert!(said.notes.contains("the variable K is not set"), "{}", said.notes);
    assert_eq!(
        world.read(".config/mcpipe/config.toml"),
        "# mine\n[defaults]\njobs = 3 # few\n\n[servers.api]\nurl = \"https://api.example/mcp\"\nheaders = { X-Key = \"${K}\" }\n\
         protocol = \"legacy\"\nallow_tools = [\"get_*\"]\ntimeout = \"1500ms\"\n\n[servers.api.auth]\nclient_id = \"c\"\n\
         client_secret = \"${S}\"\nscopes = [\"a\", \"b\"]\nredirect_port = 8080\n"
    );
    world.run(&["add", "files", "-e", "A=b c", "--inherit-env", "PATH,HOME", "--cwd", ".", "--", "./srv", "-x", "a b"]);
    let text = world.read(".config/mcpipe/config.toml");
    assert!(
        text.ends_with("\n[servers.files]\ncommand = \"~/project/srv\"\nargs = [\"-x\", \"a b\"]\nenv = { A = \"b c\" }\ncwd = \"~/project\"\ninherit_env = [\"PATH\", \"HOME\"]\n"),
        "{text}"
    );
    world.run(&["add", "line", "npx -y 'a b'"]);
    assert!(
        world
            .read(".config/mcpipe/config.toml")
            .ends_with("[servers.line]\ncommand = \"npx\"\nargs = [\"-y\", \"a b\"]\n")
    );
    world.assert_fails(&["add", "api", "https://other/"], ErrorKind::Config, "it already has a server 'api'");
    let said = world.run(&["add", "api", "--force", "https://other/"]);
    assert!(said.notes.starts_with("replaced 'api'"));
    let text = world.read(".config/mcpipe/config.toml");
    assert!(text.starts_with("# mine\n[defaults]\njobs = 3 # few\n") && !text.contains("api.example"), "{text}");
}

#[test]
fn remove_and_rename_take_names_in_full_and_say_what_counts_now() {
    let world = ConfigCommandFixture::new()
        .with_user_config(USER)
        .with_file("project/.mcpipe.toml", "[servers.files]\nurl = 'https://f/'\n");
    world.assert_fails(&["remove", "file"], ErrorKind::Config, "did you mean files?");
    assert_eq!(world.read(".config/mcpipe/config.toml"), USER);
    assert!(world.run(&["remove", "files"]).notes.contains("the entry at ~/.config/mcpipe/config.toml:15 applies now"));
    assert_eq!(world.read("project/.mcpipe.toml"), "");
    world.run(&["rename", "files", "my.files"]);
    assert_eq!(world.read(".config/mcpipe/config.toml"), USER.replace("[servers.files]", "[servers.\"my.files\"]"));
    world.assert_fails(&["rename", "my.files", "api"], ErrorKind::Config, "it already has a server 'api'");
    world.assert_fails(&["rename", "my.files", "a b"], ErrorKind::Usage, "use 'a-b'");
    let world = ConfigCommandFixture::new()
        .with_file("project/.mcp.json", "{\"mcpServers\": {\"x\": {\"url\": \"https://x/\"}}}");
    world.assert_fails(&["remove", "x"], ErrorKind::Config, "mcpipe changes only TOML files");
}
