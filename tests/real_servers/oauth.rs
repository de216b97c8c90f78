//! Logins at a real authorization server, with its real pages in a real browser.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::real::{
    ListeningServer, copy_beside_packages, free_port, node_package_file, node_program, python_program, real_test_file,
};
use crate::support::sandbox::Mcpipe;
use crate::support::{Run, Sandbox};

fn server(sandbox: &Sandbox, env: &[(&str, &str)]) -> ListeningServer {
    let words = [node_program(), copy_beside_packages(sandbox, "oauth.mjs")];
    let env: Vec<(&str, &str)> = [("RS_PORT", "PORT")].into_iter().chain(env.iter().copied()).collect();
    ListeningServer::start(sandbox, &words, &env)
}

/// With an interactive browser; it may close a moment after the command exits.
fn with_person(mcpipe: Mcpipe) -> Run {
    let browser = format!("{} {}", node_program(), real_test_file("browser.mjs"));
    mcpipe.env("BROWSER", browser).timeout(Duration::from_secs(60)).allow_leftovers().run()
}

/// Requests the test endpoints of `oauth.mjs`.
fn ask(server: &ListeningServer, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n\r\n", server.port).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn log_in_call_refresh_step_up_and_log_out() {
    let sandbox = Sandbox::new();
    let server = server(&sandbox, &[]);
    let url = server.url("/mcp");
    sandbox.config(&format!("[servers.real]\nurl = \"{url}\"\n"));
    let call = || sandbox.mcpipe(["call", "real", "whoami"]);
    call().run().exits(4).stderr_contains("mcpipe auth login real");

    let login = with_person(sandbox.mcpipe(["auth", "login", "real"]));
    login.exits(0).stderr_contains("Logged in to real");
    sandbox.mcpipe(["list", "real"]).run().exits(0).stdout_contains("whoami");
    call().run().exits(4).stderr_contains("mcp:call");
    ask(&server, "POST", "/life/3");
    let stepped = with_person(call().args(["--login", "always"]));
    stepped.exits(0).prints("alice\n");

    // Refresh tokens rotate, so there are two refreshes.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(3100));
        call().run().succeeds().prints("alice\n");
    }
    std::thread::sleep(Duration::from_millis(3100));
    ask(&server, "POST", "/life/3600");
    let before: usize = ask(&server, "GET", "/refreshes").parse().unwrap();
    assert!(before >= 2, "{before}");
    for run in (0..20).map(|_| call().allow_leftovers().start()).collect::<Vec<_>>() {
        run.wait().exits(0).prints("alice\n");
    }
    assert_eq!(ask(&server, "GET", "/refreshes"), (before + 1).to_string(), "once for all twenty");

    let token = sandbox.mcpipe(["auth", "token", "real"]).run();
    let token = token.succeeds().stdout().trim().to_owned();
    let shown = |token: &str| sandbox.mcpipe(["list", &url, "--bearer-env", "TOKEN"]).env("TOKEN", token).run();
    shown(&token).exits(0);
    let out = sandbox.mcpipe(["auth", "logout", "real", "--json"]).run();
    assert_eq!(out.exits(0).json()["removed"][0]["revoked"], true);
    shown(&token).exits(4);
    call().run().exits(4).stderr_contains("mcpipe auth login real");
}

#[test]
fn a_person_who_refuses_is_believed() {
    let sandbox = Sandbox::new();
    let server = server(&sandbox, &[]);
    let login = with_person(sandbox.mcpipe(["auth", "login", &server.url("/mcp")]).env("DENY", "1"));
    login.exits(4).stderr_contains("the login was refused");
    assert_eq!(sandbox.login_status(), json!([]));
}

#[test]
fn a_machine_logs_in_by_itself_whenever_it_must() {
    let sandbox = Sandbox::new();
    let server = server(&sandbox, &[("NO_DCR", "1"), ("KEYS", sandbox.work().to_str().unwrap())]);
    let configure = |sandbox: &Sandbox, lines: &str| {
        sandbox.config(&format!(
            "[servers.real]\nurl = \"{}\"\n[servers.real.auth]\ngrant = \"client_credentials\"\n\
             scopes = [\"mcp:read\", \"mcp:call\"]\n{lines}\n",
            server.url("/mcp")
        ));
    };
    let call = |sandbox: &Sandbox, secret: &str| sandbox.mcpipe(["call", "real", "whoami"]).env("SECRET", secret).run();
    let secret = "client_id = \"machine\"\nclient_secret = \"${SECRET}\"";
    ask(&server, "POST", "/life/3");
    configure(&sandbox, secret);
    call(&sandbox, "machine-secret").exits(0).prints("machine\n");
    std::thread::sleep(Duration::from_millis(3100));
    ask(&server, "POST", "/life/3600");
    call(&sandbox, "machine-secret").succeeds().prints("machine\n");
    call(&sandbox, "guess").succeeds().prints("machine\n");
    let wrong = Sandbox::new();
    configure(&wrong, secret);
    call(&wrong, "guess").exits(4).stderr_contains("invalid_client");

    // Three kinds of keys, each made and checked by another implementation.
    for algorithm in ["ES256", "RS256", "EdDSA"] {
        let key = sandbox.work().join(format!("{algorithm}.pem"));
        let lines = format!("client_id = \"key-{algorithm}\"\nprivate_key_file = \"{}\"", key.display());
        let fresh = Sandbox::new();
        configure(&fresh, &lines);
        call(&fresh, "").exits(0).prints(&format!("key-{algorithm}\n"));
        configure(&fresh, &lines.replace(algorithm, "ES256").replace("key-ES256", "key-RS256"));
        fresh.mcpipe(["auth", "login", "real"]).run().exits(4).stderr_contains("invalid_client");
    }
    // Bound to a key: the token alone is useless.
    let bound = Sandbox::new();
    configure(&bound, &format!("{secret}\ndpop = true"));
    call(&bound, "machine-secret").exits(0).prints("machine\n");
    call(&bound, "machine-secret").succeeds().prints("machine\n");
    let token = bound.mcpipe(["auth", "token", "real"]).env("SECRET", "machine-secret").run();
    let token = token.exits(0).stderr_contains("bound to a key").stdout().trim().to_owned();
    let stolen =
        Sandbox::new().mcpipe(["list", &server.url("/mcp"), "--bearer-env", "TOKEN"]).env("TOKEN", token).run();
    stolen.exits(4);
    let person = Sandbox::new().mcpipe(["auth", "login", &server.url("/mcp")]).run();
    person.exits(4).stderr_contains("--client-id");
}

#[test]
fn a_device_shows_a_code_and_waits() {
    let sandbox = Sandbox::new();
    let server = server(&sandbox, &[]);
    let login = sandbox.mcpipe(["auth", "login", &server.url("/mcp"), "--device"]).start();
    while !login.stderr_so_far().contains("enter the code") {
        std::thread::sleep(Duration::from_millis(10));
    }
    let said = login.stderr_so_far();
    let page = said.split_whitespace().find(|word| word.contains("/device?user_code=")).expect("a page with the code");
    let person =
        std::process::Command::new(node_program()).arg(real_test_file("browser.mjs")).arg(page).status().unwrap();
    assert!(person.success(), "the person logs in: {said}");
    login.wait().exits(0).stderr_contains("Logged in");
    sandbox.mcpipe(["list", &server.url("/mcp")]).run().exits(0).stdout_contains("whoami");
    let given_up = sandbox.mcpipe(["auth", "login", &server.url("/mcp"), "--device"]).start();
    while !given_up.stderr_so_far().contains("enter the code") {
        std::thread::sleep(Duration::from_millis(10));
    }
    given_up.signal(Signal::INT);
    given_up.wait().exits(130);
}

/// The authorization server of the example in the TypeScript SDK: its issuer ends with a slash, tokens have the type
/// "bearer", none can be refreshed, and the redirect must be the registered one including the port.
#[test]
fn the_example_of_the_typescript_sdk_lets_us_in() {
    let sandbox = Sandbox::new();
    let shim = real_test_file("loopback.cjs");
    let example = node_package_file("@modelcontextprotocol/sdk/dist/esm/examples/server/simpleStreamableHttp.js");
    let words =
        [node_program(), "--require".to_owned(), shim, example, "--oauth".to_owned(), "--oauth-strict".to_owned()];
    let other = free_port().to_string();
    let server = ListeningServer::start(&sandbox, &words, &[("MCP_PORT", "PORT"), ("MCP_AUTH_PORT", &other)]);
    // It uses this name; its issuer is on the same host.
    let url = format!("http://localhost:{}/mcp", server.port);
    sandbox.mcpipe(["list", &url]).run().exits(4);
    for _ in 0..2 {
        sandbox.mcpipe(["auth", "login", &url]).with_browser().run().exits(0).stderr_contains("Logged in");
    }
    sandbox.mcpipe(["call", &url, "greet", "name=Ada"]).run().succeeds().prints("Hello, Ada!\n");
    let login = &sandbox.login_status()[0];
    assert_eq!(
        (&login["issuer"], &login["refreshable"]),
        (&json!(format!("http://localhost:{other}/")), &json!(false))
    );
    let out = sandbox.mcpipe(["auth", "logout", &url, "--json"]).run();
    assert_eq!(out.exits(0).json()["removed"][0]["revoked"], false, "it takes no revocations");
    sandbox.mcpipe(["list", &url]).run().exits(4);
}

/// FastMCP's authorization server, at the server's origin: only registered scopes are accepted, and refresh tokens rotate.
#[test]
fn fastmcp_login_refresh_and_logout() {
    let sandbox = Sandbox::new();
    let server = ListeningServer::start(
        &sandbox,
        &[python_program("python"), real_test_file("fast_oauth.py"), "PORT".to_owned()],
        &[],
    );
    let url = server.url("/mcp");
    let call = |words: &[&str]| sandbox.mcpipe([&["call", &url], words].concat());
    sandbox.mcpipe(["list", &url]).run().exits(4);
    sandbox.mcpipe(["auth", "login", &url]).with_browser().run().exits(0).stderr_contains("Logged in");
    std::thread::sleep(Duration::from_millis(5100));
    call(&["add", "a=1", "b=2"]).run().succeeds().prints("3\n");
    std::thread::sleep(Duration::from_millis(5100));
    let before: usize = call(&["lifetime", "seconds=3600"]).run().succeeds().stdout().trim().parse().unwrap();
    std::thread::sleep(Duration::from_millis(5100));
    for run in (0..20).map(|_| call(&["add", "a=1", "b=2"]).allow_leftovers().start()).collect::<Vec<_>>() {
        run.wait().exits(0).prints("3\n");
    }
    let after = call(&["lifetime", "seconds=3600"]).run();
    after.succeeds().prints(&format!("{}\n", before + 1));

    let token = sandbox.mcpipe(["auth", "token", &url]).run().succeeds().stdout().trim().to_owned();
    let shown = || sandbox.mcpipe(["list", &url, "--bearer-env", "TOKEN"]).env("TOKEN", token.clone()).run();
    shown().exits(0);
    let out = sandbox.mcpipe(["auth", "logout", &url, "--json"]).run();
    assert_eq!(out.exits(0).json()["removed"][0]["revoked"], true);
    shown().exits(4);
    sandbox.mcpipe(["list", &url]).run().exits(4);
}
