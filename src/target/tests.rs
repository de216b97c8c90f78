#![allow(clippy::unwrap_used)]

use super::*;
use std::path::Path;
use std::time::Duration;

use crate::protocol::revision::RevisionPin;
use crate::secret::Secret;
use crate::transport::{Endpoint, HttpEndpoint, HttpMode, InheritedEnv, StdioEndpoint, TransportKind};

/// An environment with a configuration file of this content. Its directory is removed with it.
struct ConfigFixture {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl ConfigFixture {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join(".config/mcpipe");
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("config.toml"), config).unwrap();
        let home = dir.path().display().to_string();
        ConfigFixture { dir, variables: crate::env::home_variables(&home) }
    }

    fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn resolve(
        &self,
        words: &[&str],
        command: &[&str],
        takes_tool: bool,
        options: &TargetOptions,
    ) -> Result<(Target, Vec<String>)> {
        let environment = Environment::new(self.variables.clone(), self.dir.path());
        let lookup = LazyConfig::new(&environment, None);
        let [words, command] =
            [words, command].map(|words| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let (name, rest) = TargetName::split_off(&words, &command, takes_tool, &lookup)?;
        Ok((name.resolve(options, &lookup, &Secrets::default())?, rest))
    }

    fn target(&self, word: &str, options: &TargetOptions) -> Result<Target> {
        self.resolve(&[word], &[], true, options).map(|(target, _)| target)
    }
}

fn no_flags() -> TargetOptions {
    TargetOptions::default()
}

fn http(target: &Target) -> &HttpEndpoint {
    match &target.endpoint {
        Endpoint::Http(endpoint) | Endpoint::WebSocket(endpoint) => endpoint,
        other => panic!("{other:?}"),
    }
}

fn stdio(target: &Target) -> &StdioEndpoint {
    match &target.endpoint {
        Endpoint::Stdio(endpoint) => endpoint,
        other => panic!("{other:?}"),
    }
}

fn headers(target: &Target) -> Vec<(&str, &str)> {
    http(target).headers.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect()
}

fn refused(result: Result<Target>, class: ErrorKind, part: &str) -> Failure {
    let failure = result.unwrap_err();
    assert_eq!(failure.kind(), class, "{failure}");
    let text = format!("{failure} {}", failure.details().hint.clone().unwrap_or_default());
    assert!(text.contains(part), "'{part}' is not in '{text}'");
    failure
}

const BROKEN: &str = "this is no TOML";

#[test]
fn a_url_and_a_command_line_never_open_a_configuration_file() {
    let world = ConfigFixture::new(BROKEN);
    let target = world.target("https://mcp.example.com/mcp", &no_flags()).unwrap();
    assert_eq!((target.name.as_str(), target.is_configured), ("https://mcp.example.com/mcp", false));
    for line in ["./server.py", "../x", "/bin/x", "~/x", "npx -y x", "\tnpx x"] {
        assert!(matches!(world.target(line, &no_flags()).unwrap().endpoint, Endpoint::Stdio(_)), "{line}");
    }
    assert!(world.resolve(&["tool"], &["npx"], true, &no_flags()).is_ok());
    refused(world.target("name", &no_flags()), ErrorKind::Config, "this is not TOML");
}

#[test]
fn only_a_file_that_was_named_gives_defaults_to_a_url() {
    let world = ConfigFixture::new("[defaults]\ntimeout = 7\n");
    assert_eq!(world.target("https://a/", &no_flags()).unwrap().timeout, None);
    let file = world.dir.path().join(".config/mcpipe/config.toml").display().to_string();
    let world = world.with_variable("MCPIPE_CONFIG", &file);
    assert_eq!(world.target("https://a/", &no_flags()).unwrap().timeout, Some(Duration::from_secs(7).into()));
}

#[test]
fn a_command_line_is_split_by_word_rules_and_the_tilde_expanded() {
    let world = ConfigFixture::new(BROKEN);
    let blank = if cfg!(windows) { "\"f g\"" } else { "f\\ g" };
    let line = format!("~/bin/srv 'a b' \"c\\\"d\" ~/e {blank} '' $HOME *");
    let target = world.target(&line, &no_flags()).unwrap();
    let home = world.dir.path().display().to_string();
    assert_eq!(stdio(&target).program, format!("{home}/bin/srv"));
    assert_eq!(stdio(&target).args, ["a b", "c\"d", &format!("{home}/e"), "f g", "", "$HOME", "*"]);
    refused(world.target("npx 'x", &no_flags()), ErrorKind::Usage, "a quote that is not closed");
    refused(world.target("'' x", &no_flags()), ErrorKind::Usage, "has no program");
    refused(world.target("", &no_flags()), ErrorKind::Usage, "the target is empty");
    refused(world.target(" ", &no_flags()), ErrorKind::Usage, "the target is empty");
}

#[test]
fn words_after_the_dashes_are_the_target_and_the_others_move_up() {
    let world = ConfigFixture::new(BROKEN);
    let (target, rest) = world.resolve(&["get-sum", "a=2", "b=3"], &["npx", "~/x", "a b"], true, &no_flags()).unwrap();
    assert_eq!(rest, ["get-sum", "a=2", "b=3"]);
    assert_eq!(stdio(&target).args, ["~/x", "a b"], "the shell has expanded what was to be expanded");
    let name = if cfg!(windows) { "npx \"~/x\" \"a b\"" } else { "npx '~/x' 'a b'" };
    assert_eq!(target.name, name);
    let (_, rest) = world.resolve(&[], &["npx"], true, &no_flags()).unwrap();
    assert!(rest.is_empty());
    refused(
        world.resolve(&[], &[], true, &no_flags()).map(|(target, _)| target),
        ErrorKind::Usage,
        "no target was given",
    );
}

#[test]
fn server_dot_tool_splits_after_the_longest_known_name() {
    let world = ConfigFixture::new(
        "[servers.a]\nurl = 'https://a/'\n[servers.'b.c']\nurl = 'https://bc/'\n[servers.b]\nurl = 'https://b/'\n",
    );
    for (words, name, expected) in [
        (&["a", "x.y"][..], "a", &["x.y"][..]),
        (&["a.x.y", "k=v"], "a", &["x.y", "k=v"]),
        (&["b.c", "t"], "b.c", &["t"]),
        (&["b.c.d"], "b.c", &["d"]),
        (&["b.x.d"], "b", &["x.d"]),
        (&["a.t(q: \"two words\", f: fn())"], "a", &["t(q: \"two words\", f: fn())"]),
        (&["a.t()"], "a", &["t()"]),
    ] {
        let (target, rest) = world.resolve(words, &[], true, &no_flags()).unwrap();
        assert_eq!((target.name.as_str(), rest), (name, expected.iter().map(|w| (*w).to_owned()).collect()));
    }
    refused(world.target("a.", &no_flags()), ErrorKind::Config, "no server named 'a.'");
    assert!(world.resolve(&["a.x"], &[], false, &no_flags()).is_err(), "read and prompt take no tool");
}

#[test]
fn an_unknown_name_gets_the_nearest_a_program_or_the_way_to_add_it() {
    let world = ConfigFixture::new("[servers.linear]\nurl = 'https://a/'\n");
    for (word, hint) in [
        ("linaer", "did you mean linear?"),
        ("linaer.list", "did you mean linear?"),
        ("linaer.com", "did you mean linear?"),
        ("other", "mcpipe config add other URL"),
        ("other.tool", "mcpipe config add other.tool URL"),
        ("mcp.example.com/mcp", "did you mean https://mcp.example.com/mcp ?"),
        ("mcp.example.com", "did you mean https://mcp.example.com ?"),
        ("example.dev", "did you mean https://example.dev ?"),
        ("127.0.0.1.example:3000", "did you mean https://127.0.0.1.example:3000 ?"),
    ] {
        refused(world.target(word, &no_flags()), ErrorKind::Config, hint);
    }
    for local in ["localhost:3000", "a.localhost:3000", "localhost.:3000", "127.0.0.1:3000", "127.1:3000"] {
        refused(world.target(local, &no_flags()), ErrorKind::Config, &format!("did you mean http://{local} ?"));
    }
    refused(ConfigFixture::new("").target("x", &no_flags()), ErrorKind::Config, "no servers are configured");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        for name in ["linea", "program"] {
            let program = world.dir.path().join(name);
            std::fs::write(&program, "").unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = world.dir.path().display().to_string();
        let world = world.with_variable("PATH", &path);
        refused(world.target("linea", &no_flags()), ErrorKind::Config, "did you mean linear?");
        refused(world.target("program", &no_flags()), ErrorKind::Config, "at the end of the line: -- program");
    }
}

#[test]
fn urls_lose_password_and_fragment_and_other_schemes_are_refused() {
    let world = ConfigFixture::new(BROKEN);
    let target = world.target("https://ada:p%40ss@a.example:8443/mcp?x=1&api_key=k3y#frag", &no_flags()).unwrap();
    assert_eq!(http(&target).url.as_str(), "https://a.example:8443/mcp?x=1&api_key=k3y");
    assert_eq!(target.name, "https://a.example:8443/mcp?x=1&api_key=[redacted]");
    assert_eq!(headers(&target), [("Authorization", "Basic YWRhOnBAc3M=")]);
    let own = TargetOptions { headers: vec!["authorization: mine".into()], ..no_flags() };
    assert_eq!(headers(&world.target("https://ada:pw@a/", &own).unwrap()), [("authorization", "mine")]);
    for word in ["ftp://a", "file:///x", "HTTPX://a", "wsx://a"] {
        refused(
            world.target(word, &no_flags()),
            ErrorKind::Usage,
            "use https, http, wss, ws, unix:PATH or replay:FILE",
        );
    }
    refused(world.target("http+unix://%2Frun%2Fx/mcp", &no_flags()), ErrorKind::Usage, "--unix-socket PATH http://");
    assert!(world.target("HTTPS://a/", &no_flags()).is_ok());
    let failure = refused(world.target("https://u:s3cret@", &no_flags()), ErrorKind::Usage, "invalid URL");
    assert!(!format!("{failure:?}").contains("s3cret"));
    let world = ConfigFixture::new("");
    for (word, kind, message) in [
        (
            "https://h:99999/mcp?api_key=s3cret",
            ErrorKind::Usage,
            "invalid URL 'https://h:99999/mcp?api_key=[redacted]': invalid port number",
        ),
        ("example.com/mcp?api_key=s3cret", ErrorKind::Config, "no server named 'example.com/mcp?api_key=…'"),
        ("example.com/mcp?api_key=s3cret", ErrorKind::Config, "did you mean https://example.com/mcp?api_key=… ?"),
        ("http:user:s3cret@h/mcp", ErrorKind::Config, "did you mean http://…@h/mcp ?"),
    ] {
        let failure = refused(world.target(word, &no_flags()), kind, message);
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
}

#[test]
fn flags_lie_over_the_entry() {
    let config = "[servers.a]\nurl = 'https://a/'\ntransport = 'sse'\nprotocol = 'legacy'\nbearer_env = 'TOKEN'\n\
        cert = 'c.pem'\nkey = 'k.pem'\nproxy = 'http://p'\n[servers.a.headers]\nX-A = '1'\nX-B = '2'\n";
    let world = ConfigFixture::new(config).with_variable("TOKEN", " t0ken\n").with_variable("OTHER", "t1");
    let target = world.target("a", &no_flags()).unwrap();
    assert_eq!(headers(&target), [("X-A", "1"), ("X-B", "2"), ("Authorization", "Bearer t0ken")]);
    assert_eq!((http(&target).mode, target.protocol), (HttpMode::Sse, RevisionPin::Legacy));
    assert_eq!(http(&target).tls.key, Some(world.dir.path().join(".config/mcpipe/k.pem")));
    let options = TargetOptions {
        headers: vec!["x-a: 9".into(), "X-C;".into()],
        bearer_env: Some("OTHER".into()),
        transport: Some(HttpMode::Auto),
        protocol: Some("2026-07-28".into()),
        cert: Some("mine.pem".into()),
        proxy: Some("socks5h://u:p@q:1".into()),
        ..no_flags()
    };
    let target = world.target("a", &options).unwrap();
    assert_eq!(headers(&target), [("X-B", "2"), ("x-a", "9"), ("X-C", ""), ("Authorization", "Bearer t1")]);
    assert_eq!(http(&target).mode, HttpMode::Auto);
    assert_eq!(target.protocol, RevisionPin::Exact(crate::protocol::revision::Revision::V2026_07_28));
    assert_eq!(
        (http(&target).tls.cert.as_deref(), http(&target).tls.key.as_deref()),
        (Some(Path::new("mine.pem")), None)
    );
    assert_eq!(http(&target).proxy.as_ref().map(Secret::reveal), Some("socks5h://u:p@q:1"));
}

#[test]
fn flags_that_do_not_fit_are_usage_errors() {
    let world = ConfigFixture::new("[servers.c]\ncommand = 'x'\n[servers.u]\nurl = 'https://u/'\n");
    let (commands, urls) = (&["c", "./x", "npx x"][..], &["u", "https://a/"][..]);
    for (words, options, message) in [
        (commands, TargetOptions { headers: vec!["A: b".into()], ..no_flags() }, "--header applies only to a URL"),
        (commands, TargetOptions { insecure: true, ..no_flags() }, "--insecure applies only to a URL"),
        (urls, TargetOptions { env: vec!["A=b".into()], ..no_flags() }, "--env applies only to a command"),
        (urls, TargetOptions { cwd: Some("/".into()), ..no_flags() }, "--cwd applies only to a command"),
        (
            urls,
            TargetOptions { protocol: Some("2020-01-01".into()), ..no_flags() },
            "--protocol: unknown revision '2020-01-01'",
        ),
        (commands, TargetOptions { cwd: Some("/nowhere".into()), ..no_flags() }, "--cwd: "),
        (urls, TargetOptions { proxy: Some("ftp://p".into()), ..no_flags() }, "unsupported proxy scheme 'ftp'"),
    ] {
        for word in words {
            refused(world.target(word, &options), ErrorKind::Usage, message);
        }
    }
}

#[test]
fn headers_are_read_as_curl_reads_them_and_never_shown() {
    let world = ConfigFixture::new(BROKEN);
    let with = |text: &str| world.target("https://a/", &TargetOptions { headers: vec![text.to_owned()], ..no_flags() });
    assert_eq!(headers(&with("A:b: c ").unwrap()), [("A", "b: c")]);
    assert_eq!(headers(&with("A;").unwrap()), [("A", "")]);
    assert_eq!(headers(&with("A: é").unwrap()), [("A", "é")]);
    for (text, part) in [
        ("A:", "the header 'A' has no value"),
        ("s3cret", "-H number 1: the header has no colon"),
        ("A b: s3cret", "'A b' is not a valid header name"),
        ("Authorization=Bearer s3cret:x", "'Authorization=…' is not a valid header name"),
        ("Authorization Bearer s3cret:", "the header 'Authorization …' has no value"),
        (": s3cret", "'' is not a valid header name"),
        ("A: s3cret\r\nB: c", "contains a line break"),
        ("@/nowhere", "cannot read the headers in '/nowhere'"),
    ] {
        let failure = refused(with(text), ErrorKind::Usage, part);
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
    let file = world.dir.path().join("h");
    std::fs::write(&file, "# mine\nA: 1\n\nB: 2\r\n").unwrap();
    assert_eq!(headers(&with(&format!("@{}", file.display())).unwrap()), [("A", "1"), ("B", "2")]);
    std::fs::write(&file, "# mine\nA: 1\n\ns3cret\n").unwrap();
    let failure = refused(with(&format!("@{}", file.display())), ErrorKind::Usage, "h:4: the header has no colon");
    assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    let bearer = |variable: &str| TargetOptions { bearer_env: Some(variable.into()), ..no_flags() };
    refused(world.target("https://a/", &bearer("NOPE")), ErrorKind::Config, "NOPE for the bearer token is not set");
}

#[test]
fn a_child_inherits_everything_but_our_secrets() {
    let config = "[servers.c]\ncommand = 'x'\nenv = { A = 'entry', B = 'entry' }\n\
        [servers.none]\ncommand = 'x'\ninherit_env = false\n[servers.some]\ncommand = 'x'\ninherit_env = ['A', 'MCPIPE_LOGIN', 'TOKEN']\n\
        [servers.u]\nurl = 'https://u/'\nbearer_env = 'TOKEN'\nauth = { client_secret = '${APP_SECRET}' }\n";
    let world = ["A", "B", "C", "TOKEN", "APP_SECRET", "MCPIPE_LOGIN", "MCPIPE_ANYTHING"]
        .iter()
        .fold(ConfigFixture::new(config), |world, name| world.with_variable(name, "ours"));
    let env = |word: &str, options: &TargetOptions| {
        let target = world.target(word, options).unwrap();
        let endpoint = stdio(&target);
        let mut all: std::collections::BTreeMap<&str, &str> = match &endpoint.inherited_env {
            InheritedEnv::AllBut(names) => {
                let left = world.variables.iter().filter(|(name, _)| !names.contains(name));
                left.map(|(name, value)| (name.as_str(), value.as_str())).collect()
            }
            InheritedEnv::Only(some) => some.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect(),
        };
        all.extend(endpoint.env.iter().map(|(name, value)| (name.as_str(), value.reveal())));
        all.retain(|name, _| *name != "HOME" && !name.starts_with("XDG_"));
        all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(env("./x", &no_flags()), "A=ours APP_SECRET=ours B=ours C=ours TOKEN=ours");
    assert_eq!(env("c", &no_flags()), "A=entry B=entry C=ours");
    assert_eq!(
        env("c", &TargetOptions { env: vec!["B=flag=x".into(), "D=".into()], ..no_flags() }),
        "A=entry B=flag=x C=ours D="
    );
    assert_eq!(env("none", &no_flags()), "");
    assert_eq!(env("some", &no_flags()), "A=ours TOKEN=ours");
    for text in ["=x", "A", ""] {
        let options = TargetOptions { env: vec![text.into()], ..no_flags() };
        refused(world.target("c", &options), ErrorKind::Usage, "--env KEY=VALUE");
    }
}

#[test]
fn web_sockets_have_what_urls_have() {
    let world =
        ConfigFixture::new("[servers.w]\nurl = 'wss://u:p@w.example/mcp'\nheaders = { A = 'b' }\nproxy = 'http://p'\n");
    let target = world.target("w", &no_flags()).unwrap();
    assert_eq!(target.endpoint.transport_kind(), TransportKind::WebSocket);
    assert_eq!(headers(&target), [("A", "b"), ("Authorization", "Basic dTpw")]);
    assert_eq!(http(&target).url.as_str(), "wss://w.example/mcp");
    assert!(http(&target).proxy.is_some());
    assert_eq!(world.target("ws://localhost:1/", &no_flags()).unwrap().name, "ws://localhost:1/");
    refused(world.target("ws://far.example/", &no_flags()), ErrorKind::Usage, "unencrypted ws to another host");
    assert!(world.target("ws://far.example/", &TargetOptions { allow_http: true, ..no_flags() }).is_ok());
    let sse = TargetOptions { transport: Some(HttpMode::Sse), ..no_flags() };
    refused(world.target("ws://localhost/", &sse), ErrorKind::Usage, "does not apply to a WebSocket");
    let loud = world.target("wss://w.example/", &TargetOptions { insecure: true, ..no_flags() }).unwrap();
    assert!(loud.warnings[0].contains("NOT verified"));
    let world = ConfigFixture::new("[servers.w]\nurl = 'wss://w/'\ntransport = 'sse'\n");
    refused(world.target("w", &no_flags()), ErrorKind::Config, "does not apply to a WebSocket");
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_named_by_its_path() {
    let world = ConfigFixture::new(
        "[servers.s]\nurl = 'unix:run/s.sock'\ntimeout = 3\n[servers.odd]\nurl = 'unix:/s'\nheaders = { A = 'b' }\n",
    );
    let path = |word: &str| match world.target(word, &no_flags()).unwrap().endpoint {
        Endpoint::Unix(endpoint) => endpoint.path,
        other => panic!("{other:?}"),
    };
    let home = world.dir.path();
    assert_eq!(path("unix:/run/s.sock"), Path::new("/run/s.sock"));
    assert_eq!(path("unix:///run/s.sock"), Path::new("/run/s.sock"));
    assert_eq!(path("unix:~/with blank"), home.join("with blank"));
    assert_eq!(path("unix:here"), home.join("here"), "below the working directory");
    assert_eq!(path("s"), home.join(".config/mcpipe/run/s.sock"), "below the file's directory");
    assert_eq!(world.target("unix:/run/s.sock", &no_flags()).unwrap().name, "unix:/run/s.sock");
    refused(world.target("unix:", &no_flags()), ErrorKind::Usage, "unix: has no path");
    refused(
        world.target("odd", &no_flags()),
        ErrorKind::Config,
        "'headers' in [servers.odd] does not apply to a Unix socket",
    );
    let header = TargetOptions { headers: vec!["A: b".into()], ..no_flags() };
    refused(world.target("unix:/s", &header), ErrorKind::Usage, "--header does not apply to a unix: target");
    let env = TargetOptions { env: vec!["A=b".into()], ..no_flags() };
    refused(world.target("unix:/s", &env), ErrorKind::Usage, "--env does not apply to a unix: target");
}

#[test]
fn http_over_a_unix_socket_needs_no_leave_for_plain_http() {
    let world = ConfigFixture::new(
        "[servers.s]\nurl = 'http://docker/mcp'\nunix_socket = 'd.sock'\n[servers.c]\ncommand = 'x'\nunix_socket = 'y'\n",
    );
    let socket = |word: &str, options: &TargetOptions| http(&world.target(word, options).unwrap()).unix_socket.clone();
    let flag = TargetOptions { unix_socket: Some("x.sock".into()), ..no_flags() };
    let home = world.dir.path();
    assert_eq!(socket("s", &no_flags()), Some(home.join(".config/mcpipe/d.sock")));
    assert_eq!(socket("s", &flag), Some(home.join("x.sock")));
    assert_eq!(socket("http://docker/mcp", &flag), Some(home.join("x.sock")));
    assert_eq!(socket("ws://docker/mcp", &flag), Some(home.join("x.sock")));
    refused(world.target("./x", &flag), ErrorKind::Usage, "--unix-socket applies only to a URL");
    refused(world.target("c", &no_flags()), ErrorKind::Config, "applies only to a URL, but the server is a command");
    let both = TargetOptions { proxy: Some("http://p".into()), ..flag };
    refused(world.target("http://docker/mcp", &both), ErrorKind::Usage, "--unix-socket cannot be used together");
}

#[test]
fn command_lines_repeat_what_led_to_the_target_but_no_secret() {
    let world = ConfigFixture::new("[servers.s]\nurl = 'https://s.invalid/mcp'\n");
    let all = TargetOptions {
        headers: ["Authorization: Bearer s3cret", "It's: s3cret", "@my headers", "X-Empty;"].map(Into::into).to_vec(),
        transport: Some(HttpMode::Sse),
        protocol: Some("legacy".into()),
        cacert: Some("my ca.pem".into()),
        proxy: Some("http://me:s3cret@proxy:3128".into()),
        insecure: true,
        no_cookies: true,
        ..no_flags()
    };
    let mut target = world.target("s", &no_flags()).unwrap();
    target.flags = TargetFlags::new(Some(Path::new("m.toml")), &all);
    let [header, file, empty, cacert, proxy] =
        ["Authorization: …", "@my headers", "X-Empty;", "my ca.pem", "http://…@proxy:3128"]
            .map(crate::util::quoting::quote);
    let options = format!(
        "-H {header} -H \"It's: …\" -H {file} -H {empty} --transport sse --protocol legacy --cacert {cacert} --proxy {proxy} --insecure --no-cookies"
    );
    assert_eq!(target.command_line("list", &["TOOL"]), format!("mcpipe list s TOOL --config m.toml {options}"));
    assert_eq!(target.config_command_line("get"), "mcpipe config get s --config m.toml");
    assert_eq!(target.append_flags("mcpipe task wait 1"), format!("mcpipe task wait 1 --config m.toml {options}"));

    let started = TargetOptions { env: vec!["KEY=s3cret".into()], ..no_flags() };
    let mut target = world.target("./a b", &started).unwrap();
    target.flags = TargetFlags::new(None, &started);
    assert_eq!(
        target.command_line("call", &["t"]),
        format!("mcpipe call {} t -e KEY=…", crate::util::quoting::quote("./a b"))
    );
    assert_eq!(target.shell_command(), "KEY=… ./a b");

    // After a blank, clap would take the value for an option.
    let dashed = TargetOptions { cwd: Some("-d".into()), headers: vec!["-X: s3cret".into()], ..no_flags() };
    target.flags = TargetFlags::new(None, &dashed);
    let header = crate::util::quoting::quote("-X: …");
    assert!(
        target.append_flags("x").ends_with(&format!("x --header={header} --cwd=-d")),
        "{}",
        target.append_flags("x")
    );
}
