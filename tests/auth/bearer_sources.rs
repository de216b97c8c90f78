//! `bearer`: tokens from a file and from CI systems, each against a scripted issuer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::{HttpServer, Mcp, Reply, Request, Sandbox};

/// An MCP server that accepts one token at a time.
struct GuardedServer {
    server: HttpServer,
    accepted: Arc<Mutex<String>>,
}

impl GuardedServer {
    fn start(token: &str) -> Self {
        let accepted = Arc::new(Mutex::new(token.to_owned()));
        let wanted = Arc::clone(&accepted);
        let inner = Mcp::modern().http_script(LegacyHttpOptions::default());
        let server = HttpServer::start(move |request: &Request| {
            let token = format!("Bearer {}", wanted.lock().unwrap());
            match request.header("authorization") == Some(&token) {
                true => inner(request),
                false => Reply::status(401).header(
                    "WWW-Authenticate",
                    "Bearer error=\"invalid_token\", error_description=\"the token is too old\"",
                ),
            }
        });
        GuardedServer { server, accepted }
    }

    fn tokens(&self) -> Vec<String> {
        let requests = self.server.requests();
        let mut all: Vec<String> =
            requests.iter().map(|request| request.header("authorization").unwrap_or("-").to_owned()).collect();
        all.dedup();
        all
    }

    fn configure(&self, sandbox: &Sandbox, bearer: &str) {
        sandbox.config(&format!("[servers.x]\nurl = {:?}\nbearer = {bearer:?}\n", self.server.url("/mcp")));
    }
}

fn jwt(claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2lnbmF0dXJl", part(&json!({"alg": "RS256"})), part(claims))
}

#[test]
fn a_token_file_is_read_and_read_again_when_it_changes() {
    let guarded = GuardedServer::start("one");
    let sandbox = Sandbox::new();
    sandbox.file("token", "one\n");
    guarded.configure(&sandbox, &format!("file:{}/token", sandbox.work().display()));
    sandbox.mcpipe(["list", "x", "-vv"]).run().exits(0).hides("Bearer one");
    // In one run: the token is replaced between two calls.
    let mut batch = sandbox.mcpipe(["call", "x", "--batch", "-", "--jobs", "1"]).stdin_open().start();
    batch.write("{\"tool\":\"add\",\"arguments\":{\"a\":1,\"b\":2},\"id\":1}\n");
    let line = |id: u32| {
        format!(
            "{{\"id\":{id},\"tool\":\"add\",\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"3\"}}],\
             \"structuredContent\":{{\"total\":3}},\"resultType\":\"complete\"}}}}\n"
        )
    };
    batch.wait_for_stdout(&line(1));
    // Some write the whole value of the header, in any letter case.
    sandbox.file("token", "bearer second\n");
    *guarded.accepted.lock().unwrap() = "second".to_owned();
    batch.write("{\"tool\":\"add\",\"arguments\":{\"a\":1,\"b\":2},\"id\":2}\n");
    batch.wait_for_stdout(&format!("{}{}", line(1), line(2)));
    batch.end_stdin();
    batch.wait().exits(0);
    assert_eq!(guarded.tokens(), ["Bearer one", "Bearer second"]);
}

#[test]
fn a_path_in_bearer_is_relative_to_the_file_that_names_it() {
    let guarded = GuardedServer::start("one");
    let sandbox = Sandbox::new();
    guarded.configure(&sandbox, "file:${NAME:-token}");
    std::fs::write(sandbox.path().join("home/.config/mcpipe/token"), "Bearer one").unwrap();
    sandbox.mcpipe(["list", "x"]).run().exits(0);
    sandbox.mcpipe(["config", "check"]).run().exits(0);
    sandbox.mcpipe(["config", "check"]).env("NAME", "gone").run().exits(3).stdout_contains("'bearer' refers to");
}

#[test]
fn a_token_file_that_cannot_be_used_is_named() {
    let guarded = GuardedServer::start("one");
    let sandbox = Sandbox::new();
    let path = sandbox.work().join("token");
    guarded.configure(&sandbox, &format!("file:{}", path.display()));
    let list = || sandbox.mcpipe(["list", "x", "--retries", "0"]).run();
    list().exits(3).stderr_contains("cannot read the bearer token in").stderr_contains("No such file");
    for (text, why) in [("", "is empty"), (" \n", "is empty"), ("s3cret one", "contains spaces")] {
        sandbox.file("token", text);
        list().exits(3).hides("s3cret").stderr_contains(why);
    }
    assert!(guarded.tokens().is_empty(), "nothing was sent");
    sandbox.file("token", "other-token\n");
    list()
        .exits(4)
        .hides("other-token")
        .stderr_contains("x refuses the token of file:")
        .stderr_contains("hint: check the token: 'bearer' in the configuration takes it from file:")
        .stderr_contains("response: the token is too old");
    assert_eq!(guarded.tokens(), ["Bearer other-token"], "it is not sent again unchanged");
}

#[test]
fn github_actions_issues_a_token_for_the_audience() {
    let issued = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&issued);
    let token = |n: usize| jwt(&json!({"aud": "https://mcp.example", "n": n}));
    let issuer = HttpServer::start(move |request: &Request| {
        assert_eq!(request.header("authorization"), Some("Bearer request-token"));
        assert_eq!(request.target, "/token?api-version=2.0&audience=https%3A%2F%2Fmcp.example");
        let n = count.fetch_add(1, Ordering::SeqCst);
        Reply::json(&json!({"value": jwt(&json!({"aud": "https://mcp.example", "n": n}))}))
    });
    let guarded = GuardedServer::start(&token(0));
    let sandbox = Sandbox::new();
    guarded.configure(&sandbox, "github-oidc:https://mcp.example");
    let list = || {
        sandbox
            .mcpipe(["list", "x", "-vv"])
            .env("ACTIONS_ID_TOKEN_REQUEST_URL", issuer.url("/token?api-version=2.0"))
            .env("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "request-token")
            .run()
    };
    list().exits(0).hides(&token(0)).hides("request-token");
    assert_eq!(issued.load(Ordering::SeqCst), 1, "one token for all requests of a run");
    // One that is refused is replaced once.
    *guarded.accepted.lock().unwrap() = token(2);
    list().exits(0);
    assert_eq!(issued.load(Ordering::SeqCst), 3);
    *guarded.accepted.lock().unwrap() = "none".to_owned();
    list().exits(4).stderr_contains("x refuses the token of github-oidc:https://mcp.example");
}

#[test]
fn without_an_id_token_the_setting_of_the_job_is_named() {
    let guarded = GuardedServer::start("one");
    let sandbox = Sandbox::new();
    let list = |variables: &[(&str, String)]| {
        let run = sandbox.mcpipe(["list", "x", "--retries", "0"]);
        variables.iter().fold(run, |run, (name, value)| run.env(name, value.clone())).run()
    };
    guarded.configure(&sandbox, "github-oidc:a");
    list(&[]).exits(3).stderr_contains("cannot get an ID token of GitHub Actions").stderr_contains("id-token: write");
    let issuer = HttpServer::start(|_| Reply::json(&json!({"message": "no permission"})).with_status(403));
    let variables =
        [("ACTIONS_ID_TOKEN_REQUEST_URL", issuer.url("/t")), ("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "s3cret-r".to_owned())];
    list(&variables).exits(4).hides("s3cret-r").stderr_contains("HTTP 403 and no token: no permission");
    guarded.configure(&sandbox, "gitlab-oidc:a");
    list(&[]).exits(3).stderr_contains("this is not a GitLab job");
    list(&[("CI_SERVER_URL", "https://gitlab.example".to_owned())])
        .exits(3)
        .stderr_contains("id_tokens: { MCP_ID_TOKEN: { aud: a } }");
    assert!(guarded.tokens().is_empty());
}

#[test]
fn a_gitlab_job_uses_its_id_token_for_the_audience() {
    let issuer = "https://gitlab.example";
    let right = jwt(&json!({"iss": issuer, "aud": ["other", "mcp"]}));
    let guarded = GuardedServer::start(&right);
    let sandbox = Sandbox::new();
    guarded.configure(&sandbox, "gitlab-oidc:mcp");
    sandbox
        .mcpipe(["list", "x", "-vv"])
        .env("CI_SERVER_URL", issuer)
        .env("A_TOKEN", jwt(&json!({"iss": issuer, "aud": "vault"})))
        .env("B_TOKEN", jwt(&json!({"iss": "https://elsewhere.example", "aud": "mcp"})))
        .env("C_TOKEN", right.clone())
        .run()
        .exits(0)
        .hides(&right);
}

#[test]
fn another_source_of_the_token_is_a_contradiction_and_an_option_overrides_it() {
    let guarded = GuardedServer::start("one");
    let sandbox = Sandbox::new();
    let url = guarded.server.url("/mcp");
    for (more, part) in [
        ("bearer = 'file:t'\nbearer_env = 'T'", "has both 'bearer' and 'bearer_env'"),
        ("bearer = 'file:t'\nheaders = { authorization = 'x' }", "has both 'bearer' and a header 'Authorization'"),
        ("bearer = 's3cret'", "'bearer' in [servers.x] must be \"file:PATH\", \"github-oidc:AUDIENCE\""),
        ("bearer = 'github-oidc:'", "has nothing after 'github-oidc:'"),
    ] {
        sandbox.config(&format!("[servers.x]\nurl = {url:?}\n{more}\n"));
        sandbox.mcpipe(["list", "x"]).run().exits(3).hides("s3cret").stderr_contains(part);
    }
    guarded.configure(&sandbox, "file:/none");
    sandbox.mcpipe(["list", "x", "--bearer-env", "T"]).env("T", "one").run().exits(0);
    sandbox.mcpipe(["list", "x", "-H", "Authorization: Bearer one"]).run().exits(0);
}

#[test]
fn the_hints_about_the_token_name_bearer_only_if_its_token_is_sent() {
    let server = HttpServer::start(|_| Reply::status(403));
    let sandbox = Sandbox::new();
    sandbox.file("token", "one\n");
    let (url, path) = (server.url("/mcp"), sandbox.work().join("token"));
    sandbox.config(&format!("[servers.x]\nurl = {url:?}\nbearer = 'file:{}'\n", path.display()));
    let hint = "'bearer' in the configuration takes it from file:";
    sandbox.mcpipe(["list", "x"]).run().exits(4).stderr_contains(hint);
    sandbox.mcpipe(["list", "x", "-H", "Authorization: Bearer two"]).run().exits(4).hides(hint);
    for (command, what) in [("login", "log in to"), ("token", "print a stored token for")] {
        sandbox.mcpipe(["auth", command, "x"]).run().exits(2).prints("").stderr_is(&format!(
            "mcpipe: error: cannot {what} 'x'\n  credentials of its own are sent instead of a login\n\
             hint: remove bearer from the configuration\n"
        ));
    }
}
