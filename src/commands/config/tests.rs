#![allow(clippy::unwrap_used)]

mod secrets;

use std::sync::Arc;

use serde_json::Value;

use super::*;
use crate::auth::store::CredentialStore;
use crate::auth::store::{self, CredentialSummary, StoreChoice, StorePaths};
use crate::cli::{Cli, Command};
use crate::env::Environment;
use crate::error::ErrorKind;
use crate::error::Failure;
use crate::interrupt::Interrupt;
use crate::secret::Secret;
use crate::transport::BoxFuture;
use crate::util::file_lock::FileLock;
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A home directory with a project in it, for running `config`.
struct ConfigCommandFixture {
    root: tempfile::TempDir,
    variables: Vec<(String, String)>,
    answer: Option<bool>,
    value: String,
    /// Called before each secret is stored, with the number of secrets stored before.
    before_put: Option<Arc<BeforePut>>,
}

type BeforePut = dyn Fn(usize) -> Result<()> + Send + Sync;

/// A store that calls a hook before it stores anything.
struct HookedStore {
    inner: Arc<dyn CredentialStore>,
    before_put: Arc<BeforePut>,
    puts: AtomicUsize,
}

impl CredentialStore for HookedStore {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Secret>>> {
        self.inner.get(key)
    }

    fn put<'a>(&'a self, key: &'a str, about: &'a CredentialSummary, record: &'a Secret) -> BoxFuture<'a, Result<()>> {
        match (self.before_put)(self.puts.fetch_add(1, Ordering::Relaxed)) {
            Ok(()) => self.inner.put(key, about, record),
            Err(failure) => Box::pin(async { Err(failure) }),
        }
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool>> {
        self.inner.delete(key)
    }

    fn list(&self) -> Result<Vec<CredentialSummary>> {
        self.inner.list()
    }

    fn location(&self) -> String {
        self.inner.location()
    }

    fn lock<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<FileLock>> {
        self.inner.lock(key)
    }
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
        let home = root.path().join("home");
        fs::create_dir_all(home.join("project")).unwrap();
        let variables = crate::env::home_variables(&home.display().to_string());
        ConfigCommandFixture { root, variables, answer: None, value: String::new(), before_put: None }
    }

    fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
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

    fn environment(&self) -> Environment {
        Environment::new(self.variables.clone(), &self.path("project"))
    }

    fn try_run(&self, words: &[&str]) -> Result<RunOutput> {
        let mut cli = parse(words).unwrap();
        let global = cli.take_global_options();
        let Command::Config(args) = cli.command else { panic!("no config") };
        let environment = self.environment();
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
        let store = |_: Option<&str>| -> Result<Arc<dyn CredentialStore>> {
            let inner = store::open(StoreChoice::File, &places, Arc::new(|_: &str| {}));
            Ok(match self.before_put.clone() {
                Some(before_put) => Arc::new(HookedStore { inner, before_put, puts: AtomicUsize::new(0) }),
                None => inner,
            })
        };
        let mut context = ConfigContext {
            environment: &environment,
            config_file: global.config.as_deref(),
            timeouts: (global.timeout, global.connect_timeout),
            confirm: &mut ask,
            read_secret: &mut |_| Ok(self.value.clone()),
            open_store: &store,
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

fn parse(words: &[&str]) -> std::result::Result<Cli, clap::Error> {
    let words: Vec<std::ffi::OsString> = ["mcpipe", "config"].iter().chain(words).map(Into::into).collect();
    crate::cli::parse(&words)
}

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
fn list_works_while_a_file_is_broken() {
    let world = ConfigCommandFixture::new().with_user_config(USER).with_file("project/.mcp.json", "{");
    let said = world.run(&["list"]);
    assert_eq!(said.out.lines().count(), 2);
    let failure = said.failure.unwrap();
    assert_eq!(failure.kind(), ErrorKind::Config);
    assert!(failure.to_string().contains(".mcp.json:1:"), "{failure}");
    assert!(ConfigCommandFixture::new().run(&["list"]).notes.contains("mcpipe config add"));
}

#[test]
fn get_shows_values_with_their_lines_and_no_secret() {
    let world =
        ConfigCommandFixture::new().with_user_config(USER).with_variable("TEAM", "core").with_variable("T", "t0ken");
    let said = world.run(&["get", "api"]);
    let file = "~/.config/mcpipe/config.toml";
    assert_eq!(
        said.out,
        format!(
            "url\thttps://[redacted]@api.example/?key=[redacted]\t{file}:6\nbearer_env\tT\t{file}:7\n\
             headers.X-Team\tcore\t{file}:9\nheaders.X-Key\t[redacted]\t{file}:10\nauth.client_secret\t[redacted]\t{file}:12\n\
             auth.scopes\ta b\t{file}:13\ntimeout\t5s\t{file}:3\n"
        )
    );
    assert_eq!(said.json["values"][5]["value"], json!(["a", "b"]));
    assert!(!said.json.to_string().contains("s3cret") && !said.json.to_string().contains("t0ken"));
    let said = world.run(&["get", "files"]);
    let words = ["-y", "--token", "[redacted]", "a b", &world.path("").display().to_string()].map(ToOwned::to_owned);
    assert!(said.out.contains(&format!("args\t{}\t", super::show::display_command_line(&words))), "{}", said.out);
    assert!(said.out.contains("cwd\t~/x\t"), "{}", said.out);
    world.assert_fails(&["get", "fils"], ErrorKind::Config, "did you mean files?");
}

#[test]
fn get_looks_nothing_up_for_an_untrusted_file() {
    let world = ConfigCommandFixture::new()
        .with_variable("SECRETISH", "value")
        .with_file("project/.mcpipe.toml", "[servers.x]\nurl = 'https://x/${SECRETISH}'\n");
    let said = world.run(&["get", "x"]);
    assert!(said.out.starts_with("url\thttps://x/${SECRETISH}\t"), "{}", said.out);
    assert!(said.notes.contains("mcpipe config trust ~/project/.mcpipe.toml"), "{}", said.notes);
}

#[test]
fn path_shows_which_files_are_read() {
    let world = ConfigCommandFixture::new().with_file("project/.mcp.json", "{}");
    let said = world.run(&["path"]);
    let (user, json) = (world.path(".config/mcpipe/config.toml"), world.path("project/.mcp.json"));
    assert_eq!(said.out, format!("{}\tuser\tmissing\n{}\tproject\tuntrusted\n", user.display(), json.display()));
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
fn check_finds_what_use_would_find() {
    let world = ConfigCommandFixture::new()
        .with_user_config(
            "[servers.a]\ncommand = 'no-such-program'\n[servers.b]\nurl = 'https://${NOPE}/'\n[servers.c]\nurl = 'ftp://x'\n\
             [servers.d]\nurl = 'https://d/'\ncacert = 'none.pem'\nauth = { private_key_file = '/none' }\n[servers.e]\nurl = 'http://far.example/'\n\
             [servers.'./f']\nurl = 'https://f/'\n[servers.h]\ncomand = 'x'\n[servers.i]\nurl = 'https://i/'\nbearer_env = 'NOPE'\n\
             [servers.j]\ncommand = 'gone'\ndisabled = true\n[servers.k]\nurl = 'https://k/'\nheaders = { 'A B' = 'c' }\n",
        )
        .with_file("project/.mcpipe.toml", "[servers.z]\ncommand = 'x'\n[servers.e]\nurl = 'https://e/'\n")
        .with_file("project/.mcp.json", "{\"mcpServers\": {}");
    let said = world.run(&["check"]);
    for part in [
        "error\t~/project/.mcp.json:1:1\tthis is not JSON: unterminated object",
        "error\t~/.config/mcpipe/config.toml:2\tprogram 'no-such-program' not found in PATH",
        "config.toml:4\tthe variable NOPE is not set",
        "config.toml:6\tunsupported URL scheme 'ftp'",
        "config.toml:9\t'cacert' refers to ~/.config/mcpipe/none.pem, which cannot be read: ",
        "config.toml:10\t'private_key_file' refers to ",
        "config.toml:13\tthe name './f' cannot be typed as a target; use 'f'",
        "config.toml:16\tunknown key 'comand'",
        "config.toml:19\tthe variable NOPE for the bearer token is not set",
        "warning\t~/.config/mcpipe/config.toml:20\t'j' is disabled",
        "config.toml:25\t'A B' is not a valid header name",
        "warning\t~/project/.mcpipe.toml:1\t'z' starts a process, and the file is not trusted",
        "warning\t~/project/.mcpipe.toml:3\t'e' overrides the entry at ~/.config/mcpipe/config.toml:11",
    ] {
        assert!(said.out.contains(part), "'{part}' is not in\n{}", said.out);
    }
    let failure = said.failure.unwrap();
    assert_eq!(
        (failure.kind(), failure.to_string().as_str()),
        (ErrorKind::Config, "10 errors in 3 files and 11 servers")
    );
    assert_eq!(said.json["ok"], false);
    let world =
        ConfigCommandFixture::new().with_user_config("[servers.a]\nurl = 'https://a/'\n[servers.b]\nurl = 'ftp://x'\n");
    assert!(world.run(&["check", "a"]).failure.is_none());
    world.assert_fails(&["check", "b"], ErrorKind::Config, "1 error in 1 file and 1 server");
    world.assert_fails(&["check", "c"], ErrorKind::Config, "no server named 'c'");
}

#[test]
fn add_appends_an_entry_that_can_be_used_at_once() {
    let world =
        ConfigCommandFixture::new().with_user_config("# mine\n[defaults]\njobs = 3 # few\n").with_variable("HOME2", "");
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
fn add_refuses_what_could_not_be_used_and_writes_nothing() {
    let world = ConfigCommandFixture::new();
    for (words, part) in [
        (&["add", "a b", "https://a/"][..], "use 'a-b'"),
        (&["add", "-x", "--", "y"], ""),
        (&["add", "x", "ftp://a"], "unsupported URL scheme"),
        (&["add", "x", "http://far.example/"], "--allow-http"),
        (&["add", "x", "https://a/", "-e", "A=b"], "--env applies only to a command"),
        (&["add", "x", "https://a/", "-H", "broken"], "-H number 1: the header has no colon"),
        (&["add", "x", "https://a/", "--protocol", "2020-01-01"], "unknown revision"),
        (&["add", "x", "https://a/", "--allow-tool", "a["], "an invalid pattern"),
        (&["add", "x", "nonsense"], "neither a URL nor a program in PATH"),
        (&["add", "x", "npx 'y"], "a quote that is not closed"),
        (&["add", "x", "https://a/", "--cacert", "c.pem", "--proxy", "ftp://p"], "unsupported proxy scheme 'ftp'"),
    ] {
        if part.is_empty() {
            assert!(parse(words).is_err());
            continue;
        }
        world.assert_fails(words, ErrorKind::Usage, part);
    }
    assert!(!world.path(".config").exists(), "nothing was written");
    let said = world.run(&["add", "x", "https://a/", "-H", "Authorization: Bearer s", "--dry-run"]);
    assert_eq!(said.out, "[servers.x]\nurl = \"https://a/\"\nheaders = { Authorization = \"Bearer s\" }\n");
    assert!(said.notes.contains("stored as plain text"), "{}", said.notes);
    assert!(!world.path(".config").exists());
}

#[test]
fn a_file_that_is_named_is_the_one_that_changes() {
    let world = ConfigCommandFixture::new().with_user_config(USER);
    world.run(&["add", "x", "https://a/", "--config", "new.toml"]);
    assert_eq!(world.read("project/new.toml"), "[servers.x]\nurl = \"https://a/\"\n");
    assert_eq!(world.read(".config/mcpipe/config.toml"), USER);
    let file = world.path("project/new.toml").display().to_string();
    let world = world.with_variable("MCPIPE_CONFIG", &file);
    world.run(&["rename", "x", "y"]);
    assert_eq!(world.read("project/new.toml"), "[servers.y]\nurl = \"https://a/\"\n");
}

#[test]
fn a_projects_file_is_made_and_stays_trusted() {
    let world = ConfigCommandFixture::new();
    world.run(&["add", "x", "--project", "--cwd", ".", "--", "./bin/srv"]);
    let text = world.read("project/.mcpipe.toml");
    assert!(text == "[servers.x]\ncommand = \"./bin/srv\"\ncwd = \".\"\n", "{text}");
    world.run(&["add", "y", "--project", "--", "npx"]);
    assert!(!world.run(&["list"]).out.contains("untrusted"));
    let world = ConfigCommandFixture::new().with_file("project/.mcpipe.toml", "[servers.theirs]\ncommand = 'x'\n");
    world.run(&["add", "mine", "--project", "--", "npx"]);
    assert_eq!(world.run(&["list"]).out.matches("untrusted").count(), 2, "adding is not trusting what was there");
    world.run(&["remove", "mine"]);
    assert_eq!(world.read("project/.mcpipe.toml"), "[servers.theirs]\ncommand = 'x'\n");
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

#[test]
fn adding_at_the_same_time_loses_nothing() {
    let world = ConfigCommandFixture::new().with_user_config("# mine\n");
    std::thread::scope(|scope| {
        for number in 0..12 {
            let world = &world;
            scope.spawn(move || world.run(&["add", &format!("s{number}"), "https://a/"]));
        }
    });
    assert_eq!(world.run(&["list"]).out.lines().count(), 12);
    assert!(world.read(".config/mcpipe/config.toml").starts_with("# mine\n"));
}

#[cfg(unix)]
#[test]
fn edit_opens_the_editor_and_checks_what_it_left() {
    use std::os::unix::fs::PermissionsExt as _;
    let script = |text: &str| {
        let world = ConfigCommandFixture::new().with_file("ed", &format!("#!/bin/sh\n{text}\n"));
        fs::set_permissions(world.path("ed"), fs::Permissions::from_mode(0o755)).unwrap();
        let editor = format!("'{}' --flag", world.path("ed").display());
        world.with_variable("EDITOR", &editor)
    };
    let world = script("[ \"$1\" = --flag ] && echo '[servers.x]' >> \"$2\" && echo \"url = 'https://x/'\" >> \"$2\"");
    let said = world.run(&["edit"]);
    assert!(said.notes.starts_with("saved ~/.config/mcpipe/config.toml") && said.failure.is_none(), "{}", said.notes);
    assert!(world.read(".config/mcpipe/config.toml").starts_with("# The configuration of mcpipe."));
    let world = script("echo '[servers.x]' >> \"$2\"");
    world.assert_fails(&["edit"], ErrorKind::Config, "1 error in 1 file");
    script("exit 3").assert_fails(&["edit"], ErrorKind::Config, "exit status: 3");
    ConfigCommandFixture::new().with_variable("VISUAL", "/no/such/editor").assert_fails(
        &["edit"],
        ErrorKind::Config,
        "set EDITOR",
    );
}

#[test]
fn schema_is_printed_as_json() {
    let said = ConfigCommandFixture::new().run(&["schema"]);
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap(), said.json);
}

const CURSOR: &str = r#"{"mcpServers": {
    "docs": {"command": "npx", "args": ["-y", "docs; rm\u001b[2K", "--token", "t0k"], "env": {"API_KEY": "s3cret"}},
    "mine": {"url": "https://theirs.example/mcp"},
    "odd": {"args": []}
}}"#;

#[test]
fn import_shows_all_and_writes_nothing_without_consent() {
    let mine = "[servers.mine]\nurl = \"https://mine.example/mcp\" # kept\n";
    let world = ConfigCommandFixture::new().with_user_config(mine).with_file(".cursor/mcp.json", CURSOR);
    let said = world.run(&["import", "cursor"]);
    assert_eq!(world.read(".config/mcpipe/config.toml"), mine);
    assert_eq!(said.json["written"], false);
    assert!(said.out.contains("runs  npx -y 'docs; rm\\u{1b}[2K' --token [redacted]"), "{}", said.out);
    assert!(said.out.contains("mine   skipped: another server has this name, at ~/.config/mcpipe/config.toml:1"));
    world.assert_fails(
        &["import", "cursor"],
        ErrorKind::Refused,
        "nothing was written to ~/.config/mcpipe/config.toml",
    );
    world.assert_fails(&["import", "cursor"], ErrorKind::Refused, "use --yes to write 1 server");
    let dry = world.run(&["import", "cursor", "--dry-run"]);
    assert!(
        dry.failure.is_none() && dry.notes.contains("nothing was written; use --yes to write 1 server"),
        "{}",
        dry.notes
    );
    assert!(said.notes.contains("'odd' cannot be imported: it has neither a URL nor a command"), "{}", said.notes);
    for text in [&said.out, &said.notes, &said.json.to_string()] {
        assert!(!text.contains("s3cret") && !text.contains("t0k") && !text.contains('\u{1b}'), "{text}");
    }

    let world = ConfigCommandFixture { answer: Some(false), ..world };
    world.assert_fails(&["import", "cursor"], ErrorKind::Refused, "nothing was imported");
    assert_eq!(world.read(".config/mcpipe/config.toml"), mine);
}

#[test]
fn import_writes_what_was_agreed_to_and_keeps_the_rest() {
    let mine = "[servers.mine]\nurl = \"https://mine.example/mcp\" # kept\n";
    let world = ConfigCommandFixture {
        answer: Some(true),
        ..ConfigCommandFixture::new().with_user_config(mine).with_file(".cursor/mcp.json", CURSOR)
    };
    let said = world.run(&["import"]);
    assert!(said.asked.ends_with("Write 1 server to ~/.config/mcpipe/config.toml?"), "{}", said.asked);
    assert!(said.out.is_empty(), "it was shown when it was asked: {}", said.out);
    let file = world.read(".config/mcpipe/config.toml");
    assert!(file.starts_with(mine), "{file}");
    assert!(file.contains("# Imported from Cursor, ~/.cursor/mcp.json\n[servers.docs]\n"), "{file}");
    // The second time there is nothing left to do.
    let said = world.run(&["import"]);
    assert!(said.notes.contains("nothing to write"), "{}", said.notes);
}

#[test]
fn import_can_leave_secrets_where_they_are_and_replace_and_choose() {
    let world = ConfigCommandFixture::new()
        .with_user_config("[servers.mine]\ncommand = \"x\"\n")
        .with_file(".cursor/mcp.json", CURSOR);
    let said = world.run(&["import", "cursor", "--only", "docs", "--secrets", "variables", "--yes"]);
    let file = world.read(".config/mcpipe/config.toml");
    assert!(file.contains("API_KEY = \"${API_KEY}\"") && file.contains("\"${DOCS_TOKEN}\""), "{file}");
    assert!(!file.contains("s3cret") && !file.contains("theirs"), "{file}");
    let expected = "set API_KEY: its value is env.API_KEY of 'docs' in Cursor, ~/.cursor/mcp.json";
    assert!(said.notes.contains(expected), "{}", said.notes);
    world.run(&["import", "cursor", "--only", "mine", "--force", "--yes"]);
    let file = world.read(".config/mcpipe/config.toml");
    assert!(file.contains("https://theirs.example/mcp") && !file.contains("command = \"x\""), "{file}");

    world.assert_fails(&["import", "curser"], ErrorKind::Usage, "did you mean 'cursor'?");
    world.assert_fails(&["import", "zed"], ErrorKind::Config, "Zed has no MCP configuration here");
}

#[test]
fn import_into_a_project_is_trusted_since_it_was_shown() {
    let world = ConfigCommandFixture::new().with_file("project/.cursor/mcp.json", CURSOR);
    world.run(&["import", "cursor", "--project", "--yes"]);
    let file = world.read("project/.mcpipe.toml");
    assert!(!file.contains("cwd"), "{file}");
    let said = world.run(&["list"]);
    assert!(said.out.contains("docs\tstdio") && said.out.contains("enabled"), "{}", said.out);
}
