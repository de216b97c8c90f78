//! Logins at a real authorization server, through its real pages in a real browser.

use std::time::Duration;

use rustix::process::Signal;

use crate::support::real::{Listening, beside_packages, file, node};
use crate::support::sandbox::Mcpipe;
use crate::support::{Run, Sandbox};

fn server(sandbox: &Sandbox, env: &[(&str, &str)]) -> Listening {
    let words = [node(), beside_packages(sandbox, "oauth.mjs")];
    let env: Vec<(&str, &str)> = [("RS_PORT", "PORT")].into_iter().chain(env.iter().copied()).collect();
    Listening::start(sandbox, &words, &env)
}

/// With a browser that a person uses; it may take a moment longer to close than the command to end.
fn with_person(mcpipe: Mcpipe) -> Run {
    let browser = format!("{} {}", node(), file("browser.mjs"));
    mcpipe.env("BROWSER", browser).timeout(Duration::from_secs(60)).may_leave().run()
}

#[test]
fn log_in_call_renew_step_up_and_log_out() {
    let sandbox = Sandbox::new();
    let server = server(&sandbox, &[("AT_TTL", "4")]);
    let url = server.url("/mcp");
    sandbox.config(&format!("[servers.real]\nurl = \"{url}\"\n"));
    sandbox.mcpipe(["call", "real", "whoami"]).run().exits(4).says("mcpipe auth login real");

    let login = with_person(sandbox.mcpipe(["auth", "login", "real"]));
    login.exits(0).says("Logged in to real");
    sandbox.mcpipe(["list", "real"]).run().exits(0).says_on_stdout("whoami");
    sandbox.mcpipe(["call", "real", "whoami"]).run().exits(4).says("mcp:call");
    let stepped = with_person(sandbox.mcpipe(["call", "real", "whoami", "--login", "always"]));
    stepped.exits(0).prints("alice\n");

    // Refresh tokens rotate: twice is more than once.
    for _ in 0..2 {
        std::thread::sleep(Duration::from_millis(4100));
        sandbox.mcpipe(["call", "real", "whoami"]).run().succeeds().prints("alice\n");
    }
    std::thread::sleep(Duration::from_millis(4100));
    let together: Vec<_> = (0..8).map(|_| sandbox.mcpipe(["call", "real", "whoami"]).may_leave().start()).collect();
    for run in together {
        run.wait().exits(0).prints("alice\n");
    }

    let token = sandbox.mcpipe(["auth", "token", "real"]).run();
    let token = token.succeeds().stdout().trim().to_owned();
    let shown = |token: &str| sandbox.mcpipe(["list", &url, "--bearer-env", "TOKEN"]).env("TOKEN", token).run();
    shown(&token).exits(0);
    let out = sandbox.mcpipe(["auth", "logout", "real", "--json"]).run();
    assert_eq!(out.exits(0).json()["removed"][0]["revoked"], true);
    shown(&token).exits(4);
    sandbox.mcpipe(["call", "real", "whoami"]).run().exits(4).says("mcpipe auth login real");
}

#[test]
fn a_person_who_refuses_is_believed() {
    let sandbox = Sandbox::new();
    let server = server(&sandbox, &[]);
    let login = with_person(sandbox.mcpipe(["auth", "login", &server.url("/mcp")]).env("DENY", "1"));
    login.exits(4).says("the login was refused");
    assert_eq!(
        sandbox.mcpipe(["auth", "status", "--json"]).run().exits(0).json()["credentials"],
        serde_json::json!([])
    );
}

#[test]
fn a_machine_logs_in_by_itself_whenever_it_must() {
    let sandbox = Sandbox::new();
    let server = server(&sandbox, &[("AT_TTL", "3"), ("NO_DCR", "1")]);
    sandbox.config(&format!(
        "[servers.real]\nurl = \"{}\"\n[servers.real.auth]\ngrant = \"client_credentials\"\n\
         client_id = \"machine\"\nclient_secret = \"${{SECRET}}\"\nscopes = [\"mcp:read\", \"mcp:call\"]\n",
        server.url("/mcp")
    ));
    let call = || sandbox.mcpipe(["call", "real", "whoami"]).env("SECRET", "machine-secret").run();
    call().exits(0).prints("machine\n");
    std::thread::sleep(Duration::from_millis(3100));
    call().succeeds().prints("machine\n");
    let wrong = Sandbox::new();
    wrong.config(&std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap());
    let refused = wrong.mcpipe(["call", "real", "whoami"]).env("SECRET", "guess").run();
    refused.exits(4).says("invalid_client");
    let person = Sandbox::new().mcpipe(["auth", "login", &server.url("/mcp")]).run();
    person.exits(4).says("--client-id");
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
    let person = std::process::Command::new(node()).arg(file("browser.mjs")).arg(page).status().unwrap();
    assert!(person.success(), "the person logs in: {said}");
    login.wait().exits(0).says("Logged in");
    sandbox.mcpipe(["list", &server.url("/mcp")]).run().exits(0).says_on_stdout("whoami");
    let given_up = sandbox.mcpipe(["auth", "login", &server.url("/mcp"), "--device"]).start();
    while !given_up.stderr_so_far().contains("enter the code") {
        std::thread::sleep(Duration::from_millis(10));
    }
    given_up.signal(Signal::INT);
    given_up.wait().exits(130);
}
