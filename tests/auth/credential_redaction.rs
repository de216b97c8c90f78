//! Configured credentials are never displayed, even if a server repeats them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::oauth::ProtectedServer;
use crate::support::{HttpServer, Reply, Request, Run, Sandbox};

const TOKEN: &str = "tok-7f3a9c51e2d84b60";

/// A server that rejects requests, and repeats in body and challenge everything that it received.
fn parrot(status: u16) -> HttpServer {
    HttpServer::start(move |request| {
        let names = ["authorization", "x-api-key", "cookie", "proxy-authorization"];
        let shown: Vec<&str> = names.iter().filter_map(|name| request.header(name)).collect();
        let said = format!("bad {} at {}", shown.join(" and "), request.target);
        let challenge = format!("Basic realm=\"{}\"", said.replace('"', "'"));
        Reply::text("text/plain", said).with_status(status).header("WWW-Authenticate", &challenge)
    })
}

/// The server's message is shown without them.
#[track_caller]
fn shows_no_secret(run: &Run, secrets: &[&str]) {
    run.stderr_contains("response: bad ").stderr_contains("[redacted]");
    for secret in secrets {
        run.hides(secret);
    }
}

#[test]
fn a_credential_that_the_server_repeats_is_not_shown() {
    for status in [401, 403, 500] {
        let (sandbox, server) = (Sandbox::new(), parrot(status));
        let run = |words: &[&str]| {
            let run = sandbox.mcpipe(["list", &server.url("/mcp"), "--retries", "0"]).args(words.iter().copied());
            run.env("T", TOKEN).run()
        };
        for words in [&[][..], &["-v"], &["-vv"], &["--json"]] {
            shows_no_secret_with_options(&run(&[&["--bearer-env", "T"], words].concat()), words, &[TOKEN]);
        }
        shows_no_secret(
            &run(&["-H", &format!("X-Api-Key: {TOKEN}"), "-H", "Cookie: sid=c00kie-jar"]),
            &[TOKEN, "c00kie-jar"],
        );
        let basic = STANDARD.encode("ada:hunter22");
        shows_no_secret(&run(&["-H", &format!("Authorization: Basic {basic}")]), &[&basic]);
    }
}

/// With `--json` the server's message is in the causes.
#[track_caller]
fn shows_no_secret_with_options(run: &Run, words: &[&str], secrets: &[&str]) {
    if words == ["--json"] {
        run.stderr_contains("[redacted]");
        secrets.iter().for_each(|secret| _ = run.hides(secret));
    } else {
        shows_no_secret(run, secrets);
    }
}

#[test]
fn configured_headers_are_not_shown_in_rows_either() {
    let (sandbox, server) = (Sandbox::new(), parrot(500));
    sandbox.config(&format!(
        "[servers.srv]\nurl = \"{}\"\nheaders = {{ Authorization = \"Bearer ${{T}}\", X-Team = \"blue-team\" }}\n",
        server.url("/mcp")
    ));
    for words in [&["list"][..], &["list", "--json"], &["list", "srv"], &["config", "check", "--connect"]] {
        let run = sandbox.mcpipe(words.iter().copied()).args(["--retries", "0"]).env("T", TOKEN).run();
        run.hides(TOKEN);
        if words[0] == "list" {
            let all = format!("{}{}", run.stdout(), run.stderr());
            assert!(all.contains("bad Bearer [redacted] at /mcp"), "{run:?}");
        }
    }
    // Text that is not a credential is not removed from messages.
    let echo = HttpServer::start(|request| {
        let said = format!("no such team: {}", request.header("x-team").unwrap_or_default());
        Reply::text("text/plain", said).with_status(500)
    });
    let words = ["list", &echo.url("/mcp"), "-H", "X-Team: blue-team", "-H", "Authorization: Bearer no", "--retries=0"];
    sandbox.mcpipe(words).run().exits(5).stderr_contains("response: no such team: blue-team");
}

#[test]
fn what_is_secret_in_a_url_is_not_shown() {
    let (sandbox, server) = (Sandbox::new(), parrot(500));
    let url =
        server.url("/mcp").replace("http://", "http://ada:pass%20word-1@") + "?api_key=k3y-of-ada&page=first-page";
    let run = sandbox.mcpipe(["list", &url, "--retries", "0"]).run();
    let basic = STANDARD.encode("ada:pass word-1");
    shows_no_secret(&run, &[&basic, "pass%20word-1", "pass word-1", "k3y-of-ada"]);
    run.stderr_contains("page=first-page");
    // Credentials for a proxy.
    let proxy = parrot(407);
    let through = proxy.url("").replace("http://", "http://ada:pr0xy-word@");
    let words = ["list", "http://mcp.example.com/mcp", "--allow-http", "--proxy", &through, "--retries", "0"];
    let basic = STANDARD.encode("ada:pr0xy-word");
    shows_no_secret(&sandbox.mcpipe(words).run(), &[&basic, "pr0xy-word"]);
    let words = ["list", "http://mcp.example.com/mcp", "--allow-http", "--retries", "0"];
    shows_no_secret(&sandbox.mcpipe(words).env("http_proxy", &through).run(), &[&basic, "pr0xy-word"]);
}

#[test]
fn what_looks_secret_in_a_url_is_not_shown_either() {
    let (sandbox, server) = (Sandbox::new(), parrot(500));
    let url = server.url("/mcp?Key=k3y-of-ada&pw%64=pwd-of-ada-1&auth=auth-of-ada-1&keyword=weather&key=abcdef");
    let run = sandbox.mcpipe(["list", &url, "--retries", "0"]).run();
    shows_no_secret(&run, &["k3y-of-ada", "pwd-of-ada-1", "auth-of-ada-1", "abcdef"]);
    run.stderr_contains("keyword=weather");
}

#[test]
fn a_redirect_does_not_bring_the_key_of_the_url_into_the_message() {
    let sandbox = Sandbox::new();
    let server = HttpServer::start(|request: &Request| {
        let query = request.target.split('?').nth(1).unwrap_or_default();
        Reply::status(301).header("Location", &format!("https://elsewhere.example/mcp?{query}&next=n3xt-key"))
    });
    for key in ["api_key", "subscription"] {
        let url = server.url(&format!("/mcp?{key}={TOKEN}"));
        for words in [&[][..], &["--json"], &["-vv"]] {
            let run = sandbox.mcpipe(["list", &url]).args(words.iter().copied()).run();
            run.exits(5).hides("n3xt-key");
            // The target itself is shown as it was typed, except for known secrets.
            assert!(key == "subscription" && words == ["--json"] || !run.stderr().contains(TOKEN), "{run:?}");
            run.stderr_contains(&format!("https://elsewhere.example/mcp?{key}=[redacted]&next=[redacted]"));
        }
    }
}

#[test]
fn a_secret_that_is_cut_short_is_not_shown_in_part() {
    let sandbox = Sandbox::new();
    for before in [170, 190, 199] {
        let server = HttpServer::start(move |request| {
            let shown = request.header("authorization").unwrap_or_default().trim_start_matches("Bearer ");
            Reply::text("text/plain", format!("{} {shown} is bad", "x".repeat(before))).with_status(500)
        });
        let words = ["list", &server.url("/mcp"), "--bearer-env", "T", "--retries", "0"];
        let run = sandbox.mcpipe(words).env("T", TOKEN.repeat(4)).run();
        run.exits(5).stderr_contains("xxx").hides("tok-7");
    }
    // The same for the responses of an authorization server.
    let server = ProtectedServer::start();
    server.log_in_with_expired_token(&sandbox);
    server.at_issuer(|request| {
        let form = crate::support::oauth::parse_form(request);
        let token = form.get("refresh_token")?;
        let said = format!("{} {token}", "x".repeat(293));
        Some(Reply::json(&serde_json::json!({"error": "invalid_grant", "error_description": said})).with_status(400))
    });
    sandbox.mcpipe(["list", &server.url()]).run().exits(4).stderr_contains("xxx").hides("x refre");
}

#[test]
fn a_variable_that_a_process_says_when_it_dies_is_not_shown() {
    let sandbox = Sandbox::new();
    sandbox.script("srv", "echo \"bad key: $API_KEY of $TEAM\" >&2; exit 3");
    sandbox.config(&format!(
        "[servers.srv]\ncommand = \"{}\"\nenv = {{ API_KEY = \"${{T}}\", TEAM = \"blue-team\" }}\n",
        sandbox.work().join("srv").display()
    ));
    for words in [&["list", "srv"][..], &["list", "srv", "-vv"], &["list", "srv", "--json"], &["list", "--json"]] {
        let run = sandbox.mcpipe(words.iter().copied()).args(["--trace", "trace"]).env("T", TOKEN).run();
        let all = format!("{}{}", run.exits(5).stdout(), run.stderr());
        assert!(all.contains("bad key: [redacted] of blue-team"), "{run:?}");
        run.hides(TOKEN);
        let trace = std::fs::read_to_string(sandbox.work().join("trace")).unwrap();
        assert!(!trace.contains(TOKEN), "{trace}");
    }
}

#[test]
fn a_secret_of_several_lines_is_not_shown_line_by_line() {
    let line = "MIIEvQIBADANBgkqhkiG9w0BAQ";
    let key = format!("-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----\n");
    let sandbox = Sandbox::new();
    sandbox.script("srv", "printf 'bad key: %s\\n' \"$PRIVATE_KEY\" >&2; exit 3");
    let program = sandbox.work().join("srv").display().to_string();
    sandbox.config(&format!("[servers.srv]\ncommand = \"{program}\"\nenv = {{ PRIVATE_KEY = \"${{T}}\" }}\n"));
    for words in [&["list", "srv"][..], &["list", "srv", "-vv"], &["list", "srv", "--json"]] {
        let run = sandbox.mcpipe(words.iter().copied()).args(["--trace", "trace"]).env("T", &key).run();
        run.exits(5).stderr_contains("[redacted]").hides(line);
        let trace = std::fs::read_to_string(sandbox.work().join("trace")).unwrap();
        assert!(trace.contains("[redacted]") && !trace.contains(line), "{trace}");
    }
}

/// Some servers take secrets as arguments, and print their command line in errors.
#[test]
fn an_argument_that_a_process_says_when_it_dies_is_not_shown() {
    let sandbox = Sandbox::new();
    let server = sandbox.script("srv", "printf 'bad argument: %s\\n' \"$@\" >&2; exit 3");
    let spoken = |args: &[&str]| {
        let args: Vec<String> = args.iter().map(|arg| format!("{arg:?}")).collect();
        sandbox.config(&format!("[servers.srv]\ncommand = {:?}\nargs = [{}]\n", server, args.join(", ")));
        let run = sandbox.mcpipe(["list", "srv", "--trace", "trace"]).env("T", TOKEN).run();
        run.exits(5).prints("").hides(TOKEN);
        let trace = std::fs::read_to_string(sandbox.work().join("trace")).unwrap();
        assert!(!trace.contains(TOKEN), "{trace}");
        let lines = run.stderr().lines().filter_map(|line| line.strip_prefix("  | bad argument: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let said = spoken(&["--api-key", "${T}", "--token=${T}", "API_KEY=${T}", "--env=GH_TOKEN=tok-2-of-ada", "-y"]);
    assert_eq!(
        said,
        ["--api-key", "[redacted]", "--token=[redacted]", "API_KEY=[redacted]", "--env=GH_TOKEN=tok-2-of-ada", "-y"]
    );
    let said =
        spoken(&["--env=MY_API_KEY=key-2-of-ada", "-H", "Authorization: Bearer ${T}", "--header=X-Api-Key:${T}"]);
    assert_eq!(
        said,
        ["--env=MY_API_KEY=[redacted]", "-H", "Authorization: Bearer [redacted]", "--header=X-Api-Key:[redacted]"]
    );
    let said = spoken(&["postgres://ada:${T}@db.example/x", "--url=https://h.example/?api_key=${T}&page=first-page"]);
    assert_eq!(
        said,
        ["postgres://ada:[redacted]@db.example/x", "--url=https://h.example/?api_key=[redacted]&page=first-page"]
    );
    // Text that is not secret, or too short, is kept; so is a word after an option without a value.
    let plain = [
        "--token",
        "--verbose",
        "--mode",
        "production",
        "--password=short",
        "ssh://gitter@h.example/x",
        "--max-tokens",
        "100000",
        "a=b:c=d",
        "password is not set: production",
    ];
    assert_eq!(spoken(&plain), plain);
    // A command line as target is shown without them, also in the hint.
    let line = format!("{} --api-key {TOKEN}", server.display());
    for words in [&[][..], &["--json"], &["-vv"]] {
        let run = sandbox.mcpipe(["list", &line]).args(words.iter().copied()).run();
        run.exits(5).prints("").hides(TOKEN).stderr_contains("bad argument: [redacted]");
    }
}

/// The configuration contains the secret; a copy elsewhere would outlive it.
#[test]
fn a_configured_client_secret_is_not_copied_to_the_credentials() {
    let (sandbox, server) = (Sandbox::new(), ProtectedServer::start());
    let configured = |secret: &str| {
        sandbox.config(&format!(
            "[servers.srv]\nurl = \"{}\"\n[servers.srv.auth]\nclient_id = \"mine\"\nclient_secret = \"{secret}\"\n",
            server.url()
        ))
    };
    let run = |words: &[&str]| sandbox.mcpipe(words.iter().copied()).env("S", "s3cr3t-of-mine").with_browser().run();
    let stored = || std::fs::read_to_string(sandbox.path().join("home/.local/share/mcpipe/credentials.json")).unwrap();
    configured("${S}");
    run(&["auth", "login", "srv"]).exits(0);
    assert!(stored().contains("refresh-1") && !stored().contains("s3cr3t-of-mine"), "{}", stored());
    sandbox.expire_stored_tokens();
    run(&["list", "srv"]).succeeds();
    assert!(stored().contains("refresh-2") && !stored().contains("s3cr3t-of-mine"), "{}", stored());
    let basic = format!("Basic {}", STANDARD.encode("mine:s3cr3t-of-mine"));
    let tokens = server.issuer.requests().into_iter().filter(|request| request.target == "/token");
    let shown: Vec<_> = tokens.map(|request| request.header("authorization").map(ToOwned::to_owned)).collect();
    assert_eq!(shown, [Some(basic.clone()), Some(basic.clone())]);
    run(&["auth", "logout", "srv"]).exits(0);
    let revoked = server.issuer.requests().into_iter().rfind(|request| request.target == "/revoke").unwrap();
    assert_eq!(revoked.header("authorization"), Some(basic.as_str()));
    // Settings that were only given to a login are stored with it.
    let words = ["auth", "login", &server.url(), "--client-id", "mine", "--client-secret-env", "S"];
    run(&words).exits(0);
    assert!(stored().contains("s3cr3t-of-mine"));
}
