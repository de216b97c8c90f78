//! A recording holds no credential.

use serde_json::json;

use crate::support::{HttpServer, Mcp, Reply, Sandbox};

const SECRETS: [&str; 7] = [
    "header-s3cret-1",
    "query-s3cret-2",
    "bearer-s3cret-3",
    "variable-s3cret-4",
    "inherited-s3cret-5",
    "member-s3cret-6",
    "a8Kd93jfLs02Xm47QpZr61tY",
];

/// Answers a call with every secret, as a server does that prints its settings.
fn telling(mcp: Mcp) -> Mcp {
    mcp.on("tools/call", |call| {
        let text = format!("{} {}", SECRETS.join(" "), call.params()["arguments"]);
        call.result(json!({"content": [{"type": "text", "text": text}], "structuredContent": {"access_token": "member-s3cret-6"}}))
    })
}

#[track_caller]
fn has_no_secret(sandbox: &Sandbox, but: &[&str]) {
    let text = std::fs::read_to_string(sandbox.work().join("run.rec")).unwrap();
    for secret in SECRETS.iter().filter(|secret| !but.contains(secret)) {
        assert!(!text.contains(secret), "{secret} is in the recording:\n{text}");
    }
    assert!(text.contains("tools/call"), "{text}");
}

#[test]
fn a_recording_of_http_requests_holds_no_credential() {
    for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
        let server = telling(mcp).http();
        let sandbox = Sandbox::new();
        let url = server.url("/mcp/a8Kd93jfLs02Xm47QpZr61tY?api_key=query-s3cret-2");
        let run = sandbox
            .mcpipe(["call", &url, "echo", "text=hi", "--record", "run.rec"])
            .args(["-H", "X-Api-Key: header-s3cret-1", "--bearer-env", "TOKEN"])
            .env("TOKEN", "bearer-s3cret-3")
            .run();
        run.succeeds();
        has_no_secret(&sandbox, &["variable-s3cret-4", "inherited-s3cret-5", "member-s3cret-6"]);
        let text = std::fs::read_to_string(sandbox.work().join("run.rec")).unwrap();
        assert!(text.contains(r#""access_token":"[redacted]""#), "{text}");
        assert!(!text.contains("session-1"), "{text}");
    }
}

#[test]
fn a_recording_over_sse_or_a_websocket_holds_no_credential() {
    let (sse, modern, legacy) = (
        telling(Mcp::legacy("2024-11-05")).sse(),
        telling(Mcp::modern()).websocket(),
        telling(Mcp::legacy("2025-03-26")).websocket(),
    );
    for url in [sse.url("/sse"), modern.url("/ws"), legacy.url("/ws")] {
        let sandbox = Sandbox::new();
        let run = sandbox
            .mcpipe(["call", &url, "echo", "text=hi", "--record", "run.rec"])
            .args(["-H", "X-Api-Key: header-s3cret-1", "--bearer-env", "TOKEN"])
            .env("TOKEN", "bearer-s3cret-3")
            .env("GITHUB_TOKEN", "inherited-s3cret-5")
            .run();
        run.succeeds();
        has_no_secret(
            &sandbox,
            &["query-s3cret-2", "variable-s3cret-4", "member-s3cret-6", "a8Kd93jfLs02Xm47QpZr61tY"],
        );
    }
}

#[test]
fn a_recording_over_a_unix_socket_holds_no_secret_of_the_environment() {
    let sandbox = Sandbox::new();
    let path = sandbox.path().join("s");
    let _seen = telling(Mcp::legacy("2025-11-25")).unix(&path);
    let target = format!("unix:{}", path.display());
    let run = sandbox.mcpipe(["call", &target, "echo", "text=hi", "--record", "run.rec"]);
    run.env("GITHUB_TOKEN", "inherited-s3cret-5").run().succeeds();
    let text = std::fs::read_to_string(sandbox.work().join("run.rec")).unwrap();
    assert!(!text.contains("inherited-s3cret-5"), "{text}");
}

#[test]
fn a_recording_of_a_process_holds_no_secret_of_its_environment() {
    let server = telling(Mcp::legacy("2025-11-25")).stdio();
    let sandbox = Sandbox::new();
    let run = sandbox
        .mcpipe(["call", &server.target(), "echo", "text=hi", "--record", "run.rec", "-e", "DB=variable-s3cret-4"])
        .env("GITHUB_TOKEN", "inherited-s3cret-5")
        .run();
    run.succeeds();
    let text = std::fs::read_to_string(sandbox.work().join("run.rec")).unwrap();
    for secret in ["variable-s3cret-4", "inherited-s3cret-5"] {
        assert!(!text.contains(secret), "{secret} is in the recording:\n{text}");
    }
}

#[test]
fn a_recording_keeps_words_that_are_the_kind_of_a_session() {
    let server = Mcp::modern().on("tools/call", |call| call.text("ubuntu wayland hunter session")).stdio();
    let sandbox = Sandbox::new();
    let run = sandbox
        .mcpipe(["call", &server.target(), "echo", "text=hi", "--record", "run.rec"])
        .env("DESKTOP_SESSION", "ubuntu")
        .env("GNOME_SHELL_SESSION_MODE", "ubuntu")
        .env("XDG_SESSION_TYPE", "wayland")
        .env("SESSION", "session")
        .env("SESSION_PASSWORD", "hunter");
    run.run().succeeds();
    sandbox
        .mcpipe(["call", "replay:run.rec", "echo", "text=hi"])
        .run()
        .succeeds()
        .prints("ubuntu wayland [redacted] [redacted]\n");
}

#[test]
fn a_recording_of_a_refused_login_holds_no_token() {
    let server = HttpServer::start(|_| {
        Reply::text("text/plain", "not with bearer-s3cret-3").with_status(401).header("WWW-Authenticate", "Bearer")
    });
    let sandbox = Sandbox::new();
    let run = sandbox
        .mcpipe(["list", &server.url("/mcp"), "--record", "run.rec", "--bearer-env", "TOKEN"])
        .env("TOKEN", "bearer-s3cret-3")
        .run();
    run.exits(4);
    let text = std::fs::read_to_string(sandbox.work().join("run.rec")).unwrap();
    assert!(!text.contains("bearer-s3cret-3"), "{text}");
}

#[test]
fn an_argument_that_was_redacted_matches_any_value() {
    let server = Mcp::modern()
        .tools(json!([{"name": "login", "inputSchema": {"type": "object", "properties": {"password": {"type": "string"}}}}]))
        .on("tools/call", |call| call.text("welcome"))
        .stdio();
    let sandbox = Sandbox::new();
    let call = |target: &str, more: &[&str]| {
        sandbox.mcpipe(["call", target, "login", "password=member-s3cret-6"]).args(more.iter().copied()).run()
    };
    call(&server.target(), &["--record", "run.rec"]).succeeds();
    let text = std::fs::read_to_string(sandbox.work().join("run.rec")).unwrap();
    assert!(!text.contains("member-s3cret-6"), "{text}");
    call("replay:run.rec", &[]).succeeds().prints("welcome\n");
}

/// A recording whose own members were hidden could not be read.
#[test]
fn a_secret_that_is_a_word_of_the_format_leaves_the_format_as_it_is() {
    let server = Mcp::legacy("2025-11-25").on("tools/call", |call| call.text("received by server-status")).stdio();
    for word in ["server", "received", "connection", "transport", "message", "status", "failure"] {
        let sandbox = Sandbox::new();
        let run = sandbox.mcpipe(["call", &server.target(), "echo", "text=hi", "--record", "run.rec"]);
        run.env("DB_PASSWORD", word).run().succeeds();
        let run = sandbox.mcpipe(["call", "replay:run.rec", "echo", "text=hi"]).run();
        run.succeeds().prints(&format!("{}\n", "received by server-status".replace(word, "[redacted]")));
        // What went wrong is redacted, too.
        let run = sandbox.mcpipe(["list", "./gone", "--record", "gone.rec"]).env("DB_PASSWORD", "No such file").run();
        run.exits(5);
        sandbox.mcpipe(["list", "replay:gone.rec"]).run().exits(5).stderr_contains("[redacted]");
    }
}

#[test]
fn a_schema_whose_password_depends_on_something_is_recorded_as_it_is() {
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}, "password": {"type": "string"}},
        "dependentRequired": {"password": ["text"]}, "dependencies": {"password": ["text"]}});
    let server = Mcp::modern()
        .tools(json!([{"name": "login", "inputSchema": schema}]))
        .on("tools/call", |call| call.text("welcome"))
        .stdio();
    let sandbox = Sandbox::new();
    let call = |target: &str, more: &[&str]| {
        let words = ["call", target, "login", "text=hi", "password=member-s3cret-6"];
        sandbox.mcpipe(words).args(more.iter().copied()).run()
    };
    call(&server.target(), &["--record", "run.rec"]).succeeds();
    call("replay:run.rec", &[]).succeeds().prints("welcome\n");
}

#[test]
fn a_secret_that_begins_with_a_slash_is_not_recorded() {
    let server = Mcp::modern().on("tools/call", |call| call.text("/bPxRfiCYEXAMPLEKEY /bin/sh")).stdio();
    let sandbox = Sandbox::new();
    sandbox
        .mcpipe(["call", &server.target(), "echo", "text=hi", "--record", "run.rec"])
        .env("AWS_SECRET_ACCESS_KEY", "/bPxRfiCYEXAMPLEKEY")
        .env("AUTH_HELPER", "/bin/sh")
        .run()
        .succeeds();
    let run = sandbox.mcpipe(["call", "replay:run.rec", "echo", "text=hi"]).run();
    run.succeeds().prints("[redacted] /bin/sh\n");
}
