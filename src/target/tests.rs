#![allow(clippy::unwrap_used)]

use super::*;
use std::path::Path;

use crate::secret::Secret;
use crate::transport::{HttpEndpoint, Inherited, StdioEndpoint, Wire};

/// An environment whose configuration is a file of this text, and whose directory is gone with it.
struct World {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl World {
    fn new(config: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join(".config/mcpipe");
        std::fs::create_dir_all(&at).unwrap();
        std::fs::write(at.join("config.toml"), config).unwrap();
        let home = dir.path().display().to_string();
        World { dir, variables: crate::env::at_home(&home) }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    fn run(&self, words: Words, overrides: &Overrides) -> Result<Resolved> {
        let environment = Environment::new(self.variables.clone(), self.dir.path());
        resolve(words, overrides, &Lookup::new(&environment, None), &crate::config::secrets::Secrets::default())
    }

    fn target(&self, word: &str, overrides: &Overrides) -> Result<Target> {
        self.run(call(&[word], &[]), overrides).map(|resolved| resolved.target)
    }
}

fn call(words: &[&str], command: &[&str]) -> Words {
    let mut words = words.iter().map(|word| (*word).to_owned());
    let command = command.iter().map(|word| (*word).to_owned()).collect();
    Words { target: words.next(), rest: words.collect(), command, splits: true }
}

fn flags() -> Overrides {
    Overrides::default()
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

fn refused(result: Result<Target>, class: Class, part: &str) -> Failure {
    let failure = result.unwrap_err();
    assert_eq!(failure.class(), class, "{failure}");
    let text = format!("{failure} {}", failure.details().hint.clone().unwrap_or_default());
    assert!(text.contains(part), "'{part}' is not in '{text}'");
    failure
}

const BROKEN: &str = "this is no TOML";

#[test]
fn a_url_and_a_command_line_never_open_a_configuration_file() {
    let world = World::new(BROKEN);
    let target = world.target("https://mcp.example.com/mcp", &flags()).unwrap();
    assert_eq!((target.name.as_str(), target.configured), ("https://mcp.example.com/mcp", false));
    for line in ["./server.py", "../x", "/bin/x", "~/x", "npx -y x", "\tnpx x"] {
        assert!(matches!(world.target(line, &flags()).unwrap().endpoint, Endpoint::Stdio(_)), "{line}");
    }
    assert!(world.run(call(&["tool"], &["npx"]), &flags()).is_ok());
    refused(world.target("name", &flags()), Class::Config, "this is not TOML");
}

#[test]
fn only_a_file_that_was_named_gives_defaults_to_a_url() {
    let world = World::new("[defaults]\ntimeout = 7\n");
    assert_eq!(world.target("https://a/", &flags()).unwrap().timeout, None);
    let file = world.dir.path().join(".config/mcpipe/config.toml").display().to_string();
    let world = world.set("MCPIPE_CONFIG", &file);
    assert_eq!(world.target("https://a/", &flags()).unwrap().timeout, Some(Duration::from_secs(7)));
}

#[test]
fn a_command_line_is_split_by_word_rules_and_the_tilde_expanded() {
    let world = World::new(BROKEN);
    let blank = if cfg!(windows) { "\"f g\"" } else { "f\\ g" };
    let line = format!("~/bin/srv 'a b' \"c\\\"d\" ~/e {blank} '' $HOME *");
    let target = world.target(&line, &flags()).unwrap();
    let home = world.dir.path().display().to_string();
    assert_eq!(stdio(&target).program, format!("{home}/bin/srv"));
    assert_eq!(stdio(&target).args, ["a b", "c\"d", &format!("{home}/e"), "f g", "", "$HOME", "*"]);
    refused(world.target("npx 'x", &flags()), Class::Usage, "a quote is opened and never closed");
    refused(world.target("'' x", &flags()), Class::Usage, "names no program");
    refused(world.target("", &flags()), Class::Usage, "the target is empty");
    refused(world.target(" ", &flags()), Class::Usage, "the target is empty");
}

#[test]
fn words_after_the_dashes_are_the_target_and_the_others_move_up() {
    let world = World::new(BROKEN);
    let resolved = world.run(call(&["get-sum", "a=2", "b=3"], &["npx", "~/x", "a b"]), &flags()).unwrap();
    assert_eq!(resolved.rest, ["get-sum", "a=2", "b=3"]);
    assert_eq!(stdio(&resolved.target).args, ["~/x", "a b"], "the shell has expanded what was to be expanded");
    let name = if cfg!(windows) { "npx \"~/x\" \"a b\"" } else { "npx '~/x' 'a b'" };
    assert_eq!(resolved.target.name, name);
    let resolved = world.run(call(&[], &["npx"]), &flags()).unwrap();
    assert!(resolved.rest.is_empty());
    refused(world.run(call(&[], &[]), &flags()).map(|r| r.target), Class::Usage, "no target was given");
}

#[test]
fn server_dot_tool_splits_after_the_longest_known_name() {
    let world = World::new(
        "[servers.a]\nurl = 'https://a/'\n[servers.'b.c']\nurl = 'https://bc/'\n[servers.b]\nurl = 'https://b/'\n",
    );
    for (words, name, rest) in [
        (&["a", "x.y"][..], "a", &["x.y"][..]),
        (&["a.x.y", "k=v"], "a", &["x.y", "k=v"]),
        (&["b.c", "t"], "b.c", &["t"]),
        (&["b.c.d"], "b.c", &["d"]),
        (&["b.x.d"], "b", &["x.d"]),
        (&["a.t(q: \"two words\", f: fn())"], "a", &["t(q: \"two words\", f: fn())"]),
        (&["a.t()"], "a", &["t()"]),
    ] {
        let resolved = world.run(call(words, &[]), &flags()).unwrap();
        assert_eq!(
            (resolved.target.name.as_str(), resolved.rest),
            (name, rest.iter().map(|w| (*w).to_owned()).collect())
        );
    }
    refused(world.target("a.", &flags()), Class::Config, "no server named 'a.'");
    let words = Words { splits: false, ..call(&["a.x"], &[]) };
    assert!(world.run(words, &flags()).is_err(), "read and prompt take no tool");
}

#[test]
fn an_unknown_name_gets_the_nearest_a_program_or_the_way_to_add_it() {
    let world = World::new("[servers.linear]\nurl = 'https://a/'\n");
    refused(world.target("linaer", &flags()), Class::Config, "did you mean 'linear'?");
    refused(world.target("linaer.list", &flags()), Class::Config, "did you mean 'linear'?");
    refused(world.target("other", &flags()), Class::Config, "mcpipe config add other URL");
    refused(world.target("mcp.example.com/mcp", &flags()), Class::Config, "did you mean https://mcp.example.com/mcp ?");
    refused(world.target("mcp.example.com", &flags()), Class::Config, "did you mean https://mcp.example.com ?");
    refused(world.target("example.dev", &flags()), Class::Config, "did you mean https://example.dev ?");
    refused(world.target("other.tool", &flags()), Class::Config, "mcpipe config add other.tool URL");
    refused(world.target("linaer.com", &flags()), Class::Config, "did you mean 'linear'?");
    for local in ["localhost:3000", "a.localhost:3000", "localhost.:3000", "127.0.0.1:3000", "127.1:3000"] {
        refused(world.target(local, &flags()), Class::Config, &format!("did you mean http://{local} ?"));
    }
    let remote = "did you mean https://127.0.0.1.example:3000 ?";
    refused(world.target("127.0.0.1.example:3000", &flags()), Class::Config, remote);
    refused(World::new("").target("x", &flags()), Class::Config, "no server is configured at all");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let program = world.dir.path().join("linea");
        std::fs::write(&program, "").unwrap();
        let path = world.dir.path().display().to_string();
        let world = world.set("PATH", &path);
        refused(world.target("linea", &flags()), Class::Config, "did you mean 'linear'?");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let failure = refused(world.target("linea", &flags()), Class::Config, "ending with: -- linea");
        assert!(format!("{failure:?}").contains("did you mean 'linear'?"), "{failure:?}");
    }
}

#[test]
fn urls_lose_password_and_fragment_and_other_schemes_are_refused() {
    let world = World::new(BROKEN);
    let target = world.target("https://ada:p%40ss@a.example:8443/mcp?x=1&api_key=k3y#frag", &flags()).unwrap();
    assert_eq!(http(&target).url.as_str(), "https://a.example:8443/mcp?x=1&api_key=k3y");
    assert_eq!(target.name, "https://a.example:8443/mcp?x=1&api_key=[redacted]");
    assert_eq!(headers(&target), [("Authorization", "Basic YWRhOnBAc3M=")]);
    let own = Overrides { headers: vec!["authorization: mine".into()], ..flags() };
    assert_eq!(headers(&world.target("https://ada:pw@a/", &own).unwrap()), [("authorization", "mine")]);
    for word in ["ftp://a", "file:///x", "HTTPX://a", "wsx://a"] {
        refused(
            world.target(word, &flags()),
            Class::Usage,
            "is no scheme that mcpipe speaks; https, http, wss, ws and unix:PATH are",
        );
    }
    refused(world.target("http+unix://%2Frun%2Fx/mcp", &flags()), Class::Usage, "--unix-socket PATH http://");
    assert!(world.target("HTTPS://a/", &flags()).is_ok());
    let failure = refused(world.target("https://u:s3cret@", &flags()), Class::Usage, "cannot be read");
    assert!(!format!("{failure:?}").contains("s3cret"));
}

#[test]
fn plain_http_is_for_loopback_unless_it_is_allowed() {
    let world = World::new(
        "[servers.far]\nurl = 'http://far.example/'\n[servers.ok]\nurl = 'http://far.example/'\nallow_http = true\n",
    );
    for near in ["localhost:80", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::ffff:127.0.0.1]"]
    {
        assert!(world.target(&format!("http://{near}/"), &flags()).is_ok(), "{near}");
    }
    for far in ["a.example", "localhost.example", "10.0.0.1", "[::2]", "0.0.0.0", "127.0.0.1.example"] {
        refused(world.target(&format!("http://{far}/"), &flags()), Class::Usage, "--allow-http");
    }
    let allow = Overrides { allow_http: true, ..flags() };
    assert!(world.target("http://far.example/", &allow).is_ok());
    refused(world.target("far", &flags()), Class::Config, "config.toml:2: http://far.example/ is plain http");
    assert!(world.target("far", &allow).is_ok() && world.target("ok", &flags()).is_ok());
}

#[test]
fn flags_lie_over_the_entry() {
    let config = "[servers.a]\nurl = 'https://a/'\ntransport = 'sse'\nprotocol = 'legacy'\nbearer_env = 'TOKEN'\n\
        cert = 'c.pem'\nkey = 'k.pem'\nproxy = 'http://p'\n[servers.a.headers]\nX-A = '1'\nX-B = '2'\n";
    let world = World::new(config).set("TOKEN", " t0ken\n").set("OTHER", "t1");
    let target = world.target("a", &flags()).unwrap();
    assert_eq!(headers(&target), [("X-A", "1"), ("X-B", "2"), ("Authorization", "Bearer t0ken")]);
    assert_eq!((http(&target).mode, target.protocol), (HttpMode::Sse, Pin::Legacy));
    assert_eq!(http(&target).tls.key, Some(world.dir.path().join(".config/mcpipe/k.pem")));
    let overrides = Overrides {
        headers: vec!["x-a: 9".into(), "X-C;".into()],
        bearer_env: Some("OTHER".into()),
        transport: Some(HttpMode::Auto),
        protocol: Some("2026-07-28".into()),
        cert: Some("mine.pem".into()),
        proxy: Some("socks5h://u:p@q:1".into()),
        ..flags()
    };
    let target = world.target("a", &overrides).unwrap();
    assert_eq!(headers(&target), [("X-B", "2"), ("x-a", "9"), ("X-C", ""), ("Authorization", "Bearer t1")]);
    assert_eq!(http(&target).mode, HttpMode::Auto);
    assert_eq!(target.protocol, Pin::Exact(crate::protocol::revision::Revision::V2026_07_28));
    assert_eq!(
        (http(&target).tls.cert.as_deref(), http(&target).tls.key.as_deref()),
        (Some(Path::new("mine.pem")), None)
    );
    assert_eq!(http(&target).proxy.as_ref().map(Secret::reveal), Some("socks5h://u:p@q:1"));
}

#[test]
fn flags_that_do_not_fit_are_usage_errors() {
    let world = World::new("[servers.c]\ncommand = 'x'\n[servers.u]\nurl = 'https://u/'\n");
    let header = Overrides { headers: vec!["A: b".into()], ..flags() };
    for word in ["c", "./x", "npx x"] {
        refused(world.target(word, &header), Class::Usage, "--header is for a URL");
        refused(world.target(word, &Overrides { insecure: true, ..flags() }), Class::Usage, "--insecure is for a URL");
    }
    for word in ["u", "https://a/"] {
        refused(world.target(word, &Overrides { env: vec!["A=b".into()], ..flags() }), Class::Usage, "--env is for");
        refused(world.target(word, &Overrides { cwd: Some("/".into()), ..flags() }), Class::Usage, "--cwd is for");
    }
    let protocol = Overrides { protocol: Some("2020-01-01".into()), ..flags() };
    refused(world.target("u", &protocol), Class::Usage, "--protocol: unknown revision '2020-01-01'");
    refused(world.target("c", &Overrides { cwd: Some("/nowhere".into()), ..flags() }), Class::Usage, "--cwd: ");
    refused(
        world.target("u", &Overrides { proxy: Some("ftp://p".into()), ..flags() }),
        Class::Usage,
        "'ftp' is no kind",
    );
}

#[test]
fn headers_are_read_as_curl_reads_them_and_never_shown() {
    let world = World::new(BROKEN);
    let with = |text: &str| world.target("https://a/", &Overrides { headers: vec![text.to_owned()], ..flags() });
    assert_eq!(headers(&with("A:b: c ").unwrap()), [("A", "b: c")]);
    assert_eq!(headers(&with("A;").unwrap()), [("A", "")]);
    assert_eq!(headers(&with("A: é").unwrap()), [("A", "é")]);
    for (text, part) in [
        ("A:", "the header 'A' has no value"),
        ("s3cret", "number 1 has no colon"),
        ("A b: s3cret", "'A b' cannot be the name"),
        (": s3cret", "'' cannot be the name"),
        ("A: s3cret\r\nB: c", "holds a line break"),
        ("@/nowhere", "cannot read the headers in '/nowhere'"),
    ] {
        let failure = refused(with(text), Class::Usage, part);
        assert!(!format!("{failure:?}").contains("s3cret"), "{failure:?}");
    }
    let file = world.dir.path().join("h");
    std::fs::write(&file, "# mine\nA: 1\n\nB: 2\r\n").unwrap();
    assert_eq!(headers(&with(&format!("@{}", file.display())).unwrap()), [("A", "1"), ("B", "2")]);
    let bearer = |variable: &str| Overrides { bearer_env: Some(variable.into()), ..flags() };
    refused(
        world.target("https://a/", &bearer("NOPE")),
        Class::Config,
        "NOPE, which should hold the bearer token, is not set",
    );
}

#[test]
fn a_child_inherits_everything_but_our_secrets() {
    let config = "[servers.c]\ncommand = 'x'\nenv = { A = 'entry', B = 'entry' }\n\
        [servers.none]\ncommand = 'x'\ninherit_env = false\n[servers.some]\ncommand = 'x'\ninherit_env = ['A', 'MCPIPE_LOGIN', 'TOKEN']\n\
        [servers.u]\nurl = 'https://u/'\nbearer_env = 'TOKEN'\nauth = { client_secret = '${APP_SECRET}' }\n";
    let world = ["A", "B", "C", "TOKEN", "APP_SECRET", "MCPIPE_LOGIN", "MCPIPE_ANYTHING"]
        .iter()
        .fold(World::new(config), |world, name| world.set(name, "ours"));
    let env = |word: &str, overrides: &Overrides| {
        let target = world.target(word, overrides).unwrap();
        let endpoint = stdio(&target);
        let mut all: std::collections::BTreeMap<&str, &str> = match &endpoint.inherited {
            Inherited::AllBut(names) => {
                let left = world.variables.iter().filter(|(name, _)| !names.contains(name));
                left.map(|(name, value)| (name.as_str(), value.as_str())).collect()
            }
            Inherited::Only(some) => some.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect(),
        };
        all.extend(endpoint.env.iter().map(|(name, value)| (name.as_str(), value.reveal())));
        all.retain(|name, _| *name != "HOME" && !name.starts_with("XDG_"));
        all.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(env("./x", &flags()), "A=ours APP_SECRET=ours B=ours C=ours TOKEN=ours");
    assert_eq!(env("c", &flags()), "A=entry B=entry C=ours");
    assert_eq!(
        env("c", &Overrides { env: vec!["B=flag=x".into(), "D=".into()], ..flags() }),
        "A=entry B=flag=x C=ours D="
    );
    assert_eq!(env("none", &flags()), "");
    assert_eq!(env("some", &flags()), "A=ours TOKEN=ours");
    for text in ["=x", "A", ""] {
        let overrides = Overrides { env: vec![text.into()], ..flags() };
        refused(world.target("c", &overrides), Class::Usage, "--env KEY=VALUE");
    }
}

#[test]
fn nothing_checked_is_told_loudly() {
    let world = World::new("[servers.u]\nurl = 'https://u/'\ninsecure = true\n");
    assert!(world.target("https://a/", &flags()).unwrap().warnings.is_empty());
    let target = world.target("https://a/", &Overrides { insecure: true, ..flags() }).unwrap();
    assert!(target.warnings[0].contains("a is NOT checked") && http(&target).tls.insecure);
    assert_eq!(world.target("u", &flags()).unwrap().warnings.len(), 1);
}

#[test]
fn web_sockets_have_what_urls_have() {
    let world = World::new("[servers.w]\nurl = 'wss://u:p@w.example/mcp'\nheaders = { A = 'b' }\nproxy = 'http://p'\n");
    let target = world.target("w", &flags()).unwrap();
    assert_eq!(target.endpoint.wire(), Wire::WebSocket);
    assert_eq!(headers(&target), [("A", "b"), ("Authorization", "Basic dTpw")]);
    assert_eq!(http(&target).url.as_str(), "wss://w.example/mcp");
    assert!(http(&target).proxy.is_some());
    assert_eq!(world.target("ws://localhost:1/", &flags()).unwrap().name, "ws://localhost:1/");
    refused(world.target("ws://far.example/", &flags()), Class::Usage, "plain ws to another host");
    assert!(world.target("ws://far.example/", &Overrides { allow_http: true, ..flags() }).is_ok());
    let sse = Overrides { transport: Some(HttpMode::Sse), ..flags() };
    refused(world.target("ws://localhost/", &sse), Class::Usage, "this is a WebSocket");
    let loud = world.target("wss://w.example/", &Overrides { insecure: true, ..flags() }).unwrap();
    assert!(loud.warnings[0].contains("NOT checked"));
    let world = World::new("[servers.w]\nurl = 'wss://w/'\ntransport = 'sse'\n");
    refused(world.target("w", &flags()), Class::Config, "has no meaning for a WebSocket");
}

#[cfg(unix)]
#[test]
fn a_unix_socket_is_named_by_its_path() {
    let world = World::new(
        "[servers.s]\nurl = 'unix:run/s.sock'\ntimeout = 3\n[servers.odd]\nurl = 'unix:/s'\nheaders = { A = 'b' }\n",
    );
    let path = |word: &str| match world.target(word, &flags()).unwrap().endpoint {
        Endpoint::Unix(endpoint) => endpoint.path,
        other => panic!("{other:?}"),
    };
    let home = world.dir.path();
    assert_eq!(path("unix:/run/s.sock"), Path::new("/run/s.sock"));
    assert_eq!(path("unix:///run/s.sock"), Path::new("/run/s.sock"));
    assert_eq!(path("unix:~/with blank"), home.join("with blank"));
    assert_eq!(path("unix:here"), home.join("here"), "below the working directory");
    assert_eq!(path("s"), home.join(".config/mcpipe/run/s.sock"), "below the file's directory");
    assert_eq!(world.target("unix:/run/s.sock", &flags()).unwrap().name, "unix:/run/s.sock");
    refused(world.target("unix:", &flags()), Class::Usage, "names no socket");
    refused(
        world.target("odd", &flags()),
        Class::Config,
        "'headers' in [servers.odd] has no meaning for a Unix socket",
    );
    let header = Overrides { headers: vec!["A: b".into()], ..flags() };
    refused(world.target("unix:/s", &header), Class::Usage, "--header has no meaning for a Unix socket");
    let env = Overrides { env: vec!["A=b".into()], ..flags() };
    refused(world.target("unix:/s", &env), Class::Usage, "--env has no meaning for a Unix socket");
}

#[test]
fn http_over_a_unix_socket_needs_no_leave_for_plain_http() {
    let world = World::new(
        "[servers.s]\nurl = 'http://docker/mcp'\nunix_socket = 'd.sock'\n[servers.c]\ncommand = 'x'\nunix_socket = 'y'\n",
    );
    let socket = |word: &str, overrides: &Overrides| http(&world.target(word, overrides).unwrap()).socket.clone();
    let flag = Overrides { unix_socket: Some("x.sock".into()), ..flags() };
    let home = world.dir.path();
    assert_eq!(socket("s", &flags()), Some(home.join(".config/mcpipe/d.sock")));
    assert_eq!(socket("s", &flag), Some(home.join("x.sock")));
    assert_eq!(socket("http://docker/mcp", &flag), Some(home.join("x.sock")));
    assert_eq!(socket("ws://docker/mcp", &flag), Some(home.join("x.sock")));
    refused(world.target("./x", &flag), Class::Usage, "--unix-socket is for a URL");
    refused(world.target("c", &flags()), Class::Config, "is for a URL, and this is a command");
    let both = Overrides { proxy: Some("http://p".into()), ..flag };
    refused(world.target("http://docker/mcp", &both), Class::Usage, "--unix-socket exclude each other");
}

#[test]
fn command_lines_repeat_what_led_to_the_target_but_no_secret() {
    let world = World::new("[servers.s]\nurl = 'https://s.invalid/mcp'\n");
    let all = Overrides {
        headers: vec!["Authorization: Bearer s3cret".into(), "It's: s3cret".into()],
        transport: Some(HttpMode::Sse),
        protocol: Some("legacy".into()),
        cacert: Some("my ca.pem".into()),
        proxy: Some("http://me:s3cret@proxy:3128".into()),
        insecure: true,
        ..flags()
    };
    let mut target = world.target("s", &all).unwrap();
    target.typed = Typed::new(Some(Path::new("m.toml")), &all);
    let [header, cacert, proxy] = ["Authorization: …", "my ca.pem", "http://…@proxy:3128"].map(crate::shell::quoted);
    let options = format!(
        "-H {header} -H \"It's: …\" --transport sse --protocol legacy --cacert {cacert} --proxy {proxy} --insecure"
    );
    assert_eq!(target.line("list", &["TOOL"]), format!("mcpipe list s TOOL --config m.toml {options}"));
    assert_eq!(target.config_line("get"), "mcpipe config get s --config m.toml");
    assert_eq!(target.followed("mcpipe task wait 1"), format!("mcpipe task wait 1 --config m.toml {options}"));

    let started = Overrides { env: vec!["KEY=s3cret".into()], ..flags() };
    let mut target = world.target("./a b", &started).unwrap();
    target.typed = Typed::new(None, &started);
    assert_eq!(target.line("call", &["t"]), format!("mcpipe call {} t -e KEY=…", crate::shell::quoted("./a b")));
    assert_eq!(target.by_itself(), "KEY=… ./a b");
}
