//! `config add NAME registry:WHICH`: servers from a registry, a URL or a file.

use serde_json::{Value, json};

use crate::support::{HttpServer, Mcp, Reply, Sandbox};

/// A registry with one server, whose description has these remotes and packages.
fn registry(details: Value) -> HttpServer {
    HttpServer::start(move |request| match request.target.as_str() {
        "/v0.1/servers/io.example%2Fdemo/versions/latest" | "/v0.1/servers/io.example%2Fdemo/versions/1.0.0" => {
            let mut server = details.clone();
            server["name"] = json!("io.example/demo");
            server["version"] = json!("1.0.0");
            Reply::json(&json!({"server": server, "_meta": {}}))
        }
        "/broken" => Reply::text("text/html", "<html>"),
        "/failing" => Reply::status(500),
        _ => Reply::json(&json!({"error": "not found"})).with_status(404),
    })
}

fn npm_package() -> Value {
    json!({"packages": [{"registryType": "npm", "identifier": "@example/demo", "version": "1.0.0",
        "transport": {"type": "stdio"},
        "environmentVariables": [{"name": "DEMO_KEY", "description": "Key of the \u{1b}[31mAPI", "isRequired": true},
            {"name": "DEMO_LEVEL", "description": "What to log", "default": "info"}]}]})
}

/// The user's configuration.
fn config(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap_or_default()
}

#[test]
fn a_package_of_the_registry_becomes_a_command_and_its_variables_are_named() {
    let registry = registry(npm_package());
    let sandbox = Sandbox::new();
    let add = |which: &str| sandbox.mcpipe(["config", "add", "demo", which]).env("MCPIPE_REGISTRY", registry.url("/"));
    let run = add("registry:io.example/demo").run();
    let entry = "[servers.demo]\ncommand = \"npx\"\nargs = [\"-y\", \"@example/demo@1.0.0\"]\n\
        env = { DEMO_KEY = \"${DEMO_KEY}\", DEMO_LEVEL = \"${DEMO_LEVEL:-info}\" }\n";
    run.exits(0).prints(entry).stderr_is(
        "added 'demo' in ~/.config/mcpipe/config.toml:1\nio.example/demo 1.0.0:\n  set DEMO_KEY: Key of the \\u{1b}[31mAPI\n  \
        you may set DEMO_LEVEL: What to log\nthe variable DEMO_KEY is not set; 'env.DEMO_KEY' in [servers.demo] refers to it; \
        set DEMO_KEY, or add a default: ${DEMO_KEY:-…}\n",
    );
    assert_eq!(config(&sandbox), entry);
    // Another version, and settings of the user beside those of the registry; nothing is started.
    let run = add("registry:io.example/demo@1.0.0").args(["--force", "--dry-run", "-e", "DEMO_LEVEL=debug"]).run();
    run.exits(0).prints(&entry.replace("${DEMO_LEVEL:-info}", "debug"));
    let asked: Vec<String> = registry.requests().iter().map(|request| request.target.clone()).collect();
    assert_eq!(asked.len(), 2, "{asked:?}");
}

#[test]
fn a_remote_server_is_usable_at_once() {
    let server = Mcp::modern().http();
    let registry = registry(json!({"remotes": [{"type": "streamable-http", "url": server.url("/mcp"),
        "headers": [{"name": "X-Team", "value": "{team}", "variables": {"team": {"isRequired": true}}}]}]}));
    let sandbox = Sandbox::new();
    let url = registry.url("/v0.1/servers/io.example%2Fdemo/versions/latest");
    let run = sandbox.mcpipe(["config", "add", "my-demo", &format!("registry:{url}"), "-H", "X-Secret: s"]).run();
    run.exits(0).stdout_contains(r#"headers = { X-Team = "${MY_DEMO_TEAM}", X-Secret = "s" }"#);
    sandbox.mcpipe(["call", "my-demo", "add", "a=1", "b=2"]).env("MY_DEMO_TEAM", "x").run().exits(0).prints("3\n");
    assert!(server.requests().iter().all(|request| request.header("x-team") == Some("x")));
    // The registry does not get the headers of the server.
    assert!(registry.requests().iter().all(|request| request.header("x-secret").is_none()));
}

#[test]
fn a_description_can_be_a_file() {
    let sandbox = Sandbox::new();
    let mut document = npm_package();
    document["name"] = json!("io.example/demo");
    sandbox.file("server.json", document.to_string());
    let run = sandbox.mcpipe(["config", "add", "demo", "registry:./server.json", "--json"]).run();
    assert_eq!(run.exits(0).json()["written"], true);
    assert!(config(&sandbox).contains(r#"args = ["-y", "@example/demo@1.0.0"]"#), "{}", config(&sandbox));
}

/// A word without a scheme would be a command line, which `--check` starts.
#[test]
fn a_remote_server_without_an_http_url_is_never_started() {
    let sandbox = Sandbox::new();
    let marker = sandbox.work().join("ran");
    for url in [
        format!("sh -c 'touch {}'", marker.display()),
        format!("touch {}", marker.display()),
        "./server".to_owned(),
        "unix:/run/x.sock".to_owned(),
        "replay:x.jsonl".to_owned(),
        "ws://127.0.0.1:1/".to_owned(),
        "{scheme}://127.0.0.1:1/".to_owned(),
    ] {
        let remotes = json!([{"type": "sse", "url": url}, {"type": "streamable-http", "url": url,
            "variables": {"scheme": {"default": "unix"}}}]);
        sandbox.file("server.json", json!({"name": "x", "remotes": remotes}).to_string());
        let run = sandbox.mcpipe(["config", "add", "demo", "registry:./server.json", "--check"]).run();
        run.exits(3).prints("").stderr_is(
            "mcpipe: error: './server.json' cannot be used by mcpipe\n  it offers sse, streamable-http; mcpipe uses \
             streamable-http and sse servers with an http or https URL, and packages of npm, pypi, nuget and oci\n",
        );
    }
    assert!(!marker.exists());
    // Another one that can be used is.
    let remotes = json!([{"type": "streamable-http", "url": "sh"}, {"type": "sse", "url": "https://a.example/sse"}]);
    sandbox.file("server.json", json!({"name": "x", "remotes": remotes}).to_string());
    let entry = "[servers.demo]\nurl = \"https://a.example/sse\"\ntransport = \"sse\"\n";
    sandbox.mcpipe(["config", "add", "demo", "registry:./server.json"]).run().exits(0).prints(entry);
}

#[test]
fn an_option_overrides_a_described_header_whatever_its_case() {
    let sandbox = Sandbox::new();
    let headers = json!([{"name": "Authorization", "isRequired": true}, {"name": "X-A", "value": "1"}]);
    let remotes = json!([{"type": "streamable-http", "url": "https://a.example/", "headers": headers}]);
    sandbox.file("server.json", json!({"name": "x", "remotes": remotes}).to_string());
    let run = sandbox.mcpipe(["config", "add", "demo", "registry:./server.json"]);
    let run = run.args(["-H", "authorization: Bearer ${T}", "-H", "X-A: 2"]).run();
    run.exits(0).stdout_contains("headers = { X-A = \"2\", authorization = \"Bearer ${T}\" }\n");
}

#[test]
fn what_cannot_be_used_adds_nothing() {
    let registry = registry(json!({"packages": [{"registryType": "cargo", "identifier": "x"}]}));
    let sandbox = Sandbox::new();
    sandbox.file("list.json", "[]");
    let url = registry.url("");
    for (which, code, error) in [
        ("io.example/demo".to_owned(), 3, "'io.example/demo' cannot be used by mcpipe\n  it offers cargo; ".to_owned()),
        (
            "io.example/other".to_owned(),
            3,
            format!(
                "no server was found at {url}/v0.1/servers/io.example%2Fother/versions/latest\n  \
                 it answered with HTTP 404\n\
                 hint: check the name, the version or the URL: registry:NAME, registry:NAME@VERSION or registry:URL\n"
            ),
        ),
        (format!("{url}/broken"), 3, format!("the server description from {url}/broken is not JSON\n")),
        (format!("{url}/failing"), 5, format!("{url}/failing answered with HTTP 500\nhint: try again later\n")),
        ("./list.json".to_owned(), 3, "'./list.json' does not describe a server\n".to_owned()),
        ("./absent.json".to_owned(), 3, "cannot read ./absent.json\n".to_owned()),
        ("http://192.0.2.1/server.json".to_owned(), 2, String::new()),
    ] {
        let target = format!("registry:{which}");
        let run = sandbox.mcpipe(["config", "add", "demo", &target]).env("MCPIPE_REGISTRY", &url).run();
        run.exits(code).prints("").stderr_contains(&format!("mcpipe: error: {error}"));
    }
    assert_eq!(config(&sandbox), "");
}

#[test]
fn the_configuration_file_may_not_exist_yet() {
    let registry = registry(npm_package());
    let sandbox = Sandbox::new();
    let add = sandbox.mcpipe(["config", "add", "demo", "registry:io.example/demo"]);
    add.env("MCPIPE_REGISTRY", registry.url("/")).env("MCPIPE_CONFIG", "new.toml").run().exits(0);
    assert!(sandbox.work().join("new.toml").exists());
}
