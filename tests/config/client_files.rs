//! Configuration files as other clients document them, used directly or imported, with servers behind them.

use std::path::PathBuf;

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{Mcp, Sandbox};

fn put(sandbox: &Sandbox, path: &str, text: &str) -> PathBuf {
    let path = sandbox.path().join("home").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

fn user_config(sandbox: &Sandbox) -> String {
    std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap()
}

/// The project's own file, trusted.
fn project_file(text: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.file(".mcp.json", text);
    sandbox.mcpipe(["config", "trust", ".mcp.json", "--yes"]).run().exits(0);
    sandbox
}

/// The clients, where each keeps its file, and a file with a program `local`, a bridge `bridge` that gets a header from
/// its own `env`, and a URL `remote` that gets one from a variable, in the words of its documentation.
///
/// `RUN` is the program, `SOCKET` its first argument, `URL` the server.
const DOCUMENTED: &[(&str, &str, &str)] = &[
    (
        "claude-code",
        ".claude.json",
        r#"{"mcpServers": {
            "local": {"type": "stdio", "command": "RUN", "args": ["SOCKET"], "env": {"LEVEL": "${LEVEL:-low}"}},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "env": {"AUTH_HEADER": "Bearer own"}},
            "remote": {"type": "http", "url": "URL", "headers": {"X-Key": "${REMOTE_KEY}"}}}}"#,
    ),
    (
        "claude-desktop",
        ".config/Claude/claude_desktop_config.json",
        r#"{"mcpServers": {
            "local": {"command": "RUN", "args": ["SOCKET"], "env": {"LEVEL": "low"}},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "env": {"AUTH_HEADER": "Bearer own"}}}}"#,
    ),
    (
        "cursor",
        ".cursor/mcp.json",
        r#"{"mcpServers": {
            "local": {"command": "RUN", "args": ["SOCKET"], "env": {"LEVEL": "low"}},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "env": {"AUTH_HEADER": "Bearer own"}},
            "remote": {"url": "URL", "headers": {"X-Key": "${env:REMOTE_KEY}"}}}}"#,
    ),
    (
        "vscode",
        ".config/Code/User/mcp.json",
        r#"{"inputs": [{"type": "promptString", "id": "remote-key", "description": "Key", "password": true}],
            "servers": {
            "local": {"type": "stdio", "command": "RUN", "args": ["SOCKET"], "env": {"LEVEL": "low"}},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "env": {"AUTH_HEADER": "Bearer own"}},
            "remote": {"type": "http", "url": "URL", "headers": {"X-Key": "${input:remote-key}"}}}}"#,
    ),
    (
        "codex",
        ".codex/config.toml",
        r#"
            [mcp_servers.local]
            command = "RUN"
            args = ["SOCKET"]
            env = { LEVEL = "low" }
            [mcp_servers.bridge]
            command = "RUN"
            args = ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"]
            env = { AUTH_HEADER = "Bearer own" }
            [mcp_servers.remote]
            url = "URL"
            env_http_headers = { X-Key = "REMOTE_KEY" }"#,
    ),
    (
        "windsurf",
        ".codeium/windsurf/mcp_config.json",
        r#"{"mcpServers": {
            "local": {"command": "RUN", "args": ["SOCKET"], "env": {"LEVEL": "low"}},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "env": {"AUTH_HEADER": "Bearer own"}},
            "remote": {"serverUrl": "URL", "headers": {"X-Key": "${env:REMOTE_KEY}"}}}}"#,
    ),
    (
        "gemini",
        ".gemini/settings.json",
        r#"{"mcpServers": {
            "local": {"command": "RUN", "args": ["SOCKET"], "env": {"LEVEL": "low"}, "trust": false},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:$AUTH_HEADER"],
                       "env": {"AUTH_HEADER": "Bearer own"}},
            "remote": {"httpUrl": "URL", "headers": {"X-Key": "$REMOTE_KEY"}}}}"#,
    ),
    (
        "opencode",
        ".config/opencode/opencode.json",
        r#"{"mcp": {
            "local": {"type": "local", "command": ["RUN", "SOCKET"], "environment": {"LEVEL": "low"}},
            "bridge": {"type": "local", "command": ["RUN", "SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "environment": {"AUTH_HEADER": "Bearer own"}, "enabled": true},
            "remote": {"type": "remote", "url": "URL", "headers": {"X-Key": "{env:REMOTE_KEY}"}, "oauth": false}}}"#,
    ),
    (
        "zed",
        ".config/zed/settings.json",
        r#"{"context_servers": {
            "local": {"source": "custom", "command": "RUN", "args": ["SOCKET"], "env": {"LEVEL": "low"}},
            "bridge": {"command": {"path": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                                   "env": {"AUTH_HEADER": "Bearer own"}}}}}"#,
    ),
    (
        "mcporter",
        ".mcporter/mcporter.json",
        r#"{"mcpServers": {
            "local": {"command": "RUN SOCKET", "env": {"LEVEL": "low"}},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "env": {"AUTH_HEADER": "Bearer own"}},
            "remote": {"baseUrl": "URL", "headers": {"X-Key": "$env:REMOTE_KEY"}}}}"#,
    ),
    (
        "./servers.json",
        "../work/servers.json",
        r#"{"mcpServers": {
            "local": {"command": "RUN SOCKET", "env": {"LEVEL": "low"}},
            "bridge": {"command": "RUN", "args": ["SOCKET", "--header", "Authorization:${AUTH_HEADER}"],
                       "env": {"AUTH_HEADER": "Bearer own"}},
            "remote": {"type": "streamableHttp", "url": "URL", "headers": {"X-Key": "${env:REMOTE_KEY}"}}}}"#,
    ),
];

#[test]
fn imported_servers_of_every_client_connect() {
    for (client, path, text) in DOCUMENTED {
        let (program, remote) = (Mcp::modern().stdio(), Mcp::modern().http());
        let words = program.words();
        let [run, socket] = words.as_slice() else { panic!("{words:?}") };
        let sandbox = Sandbox::new();
        let text = text.replace("RUN", run).replace("SOCKET", socket).replace("URL", &remote.url("/mcp"));
        put(&sandbox, path, &text);
        sandbox.mcpipe(["config", "import", client, "--yes"]).run().exits(0);
        let list = |name: &str| sandbox.mcpipe(["list", name]).env("REMOTE_KEY", "k1").run();
        list("local").exits(0);
        list("bridge").exits(0);
        let processes = program.wait_until_all_ended();
        assert_eq!(processes[0].env["LEVEL"], "low", "{client}");
        let bridge = processes.iter().find(|process| !process.args.is_empty()).expect(client);
        assert_eq!(bridge.args, ["--header", "Authorization:Bearer own"], "{client}");
        if text.contains("\"remote\"") || text.contains("mcp_servers.remote") {
            list("remote").exits(0);
            let keys: Vec<_> = remote.requests().iter().map(|one| one.header("x-key").map(str::to_owned)).collect();
            assert!(!keys.is_empty() && keys.iter().all(|key| key.as_deref() == Some("k1")), "{client}: {keys:?}");
        }
    }
}

#[test]
fn references_in_an_entry_see_its_own_env_first() {
    let (program, remote) = (Mcp::modern().stdio(), Mcp::modern().http());
    let words = program.words();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.local]\ncommand = {:?}\nargs = [{:?}, '${{TEAM}}', '${{OUTER}}', '${{EMPTY:-none}}']\n\
         env = {{ TEAM = 'own ${{OUTER}}', EMPTY = '' }}\n\
         [servers.remote]\nurl = '${{BASE}}/mcp'\nheaders = {{ X-Team = '${{TEAM}}' }}\n\
         env = {{ BASE = {:?}, TEAM = 'own' }}\n\
         [servers.unset]\ncommand = 'true'\nargs = ['${{A}}']\nenv = {{ A = '${{UNSET}}' }}\n",
        words[0],
        words[1],
        remote.url("")
    ));
    let list = |name: &str| sandbox.mcpipe(["list", name]).env("TEAM", "outer").env("OUTER", "outer").run();
    list("local").exits(0);
    assert_eq!(program.wait_until_all_ended()[0].args, ["own outer", "outer", "none"]);
    list("remote").exits(0);
    assert_eq!(remote.requests()[0].header("x-team"), Some("own"));
    // What is missing is reported where it is missing, and only there.
    let run = list("unset");
    run.exits(3).stderr_contains("the variable UNSET is not set; 'env.A' in [servers.unset] refers to it");
    assert_eq!(run.stderr().matches("is not set").count(), 1, "{}", run.stderr());
    // The value has a row of its own, so the reference stays a reference.
    let get = sandbox.mcpipe(["config", "get", "remote"]).env("TEAM", "outer").run();
    get.exits(0).stdout_contains("headers.X-Team\t${TEAM}\t");
}

#[test]
fn secrets_in_env_reach_the_references_to_them() {
    let remote = Mcp::modern().http();
    let sandbox = Sandbox::new();
    sandbox.config(&format!(
        "[servers.remote]\nurl = {:?}\nheaders = {{ Authorization = 'Bearer ${{TOKEN}}' }}\n\
         env = {{ TOKEN = '${{command:echo s3cret-value}}' }}\n",
        remote.url("/mcp")
    ));
    sandbox.mcpipe(["list", "remote", "-vv"]).run().exits(0).hides("s3cret-value");
    assert_eq!(remote.requests()[0].header("authorization"), Some("Bearer s3cret-value"));
}

#[test]
fn servers_at_the_top_level_of_a_file_are_read() {
    let (program, remote) = (Mcp::modern().stdio(), Mcp::modern().http());
    let words = program.words();
    let flat = json!({
        "$schema": "https://example.com/schema.json",
        "local": {"command": words[0], "args": [words[1], "${CLAUDE_PLUGIN_ROOT}/data", "${CLAUDE_PROJECT_DIR}", "${DB}"],
            "env": {"DB": "${CLAUDE_PLUGIN_ROOT}/db"}},
        "remote": {"type": "http", "url": remote.url("/mcp")},
    });
    let direct = project_file(&flat.to_string());
    let work = direct.work().canonicalize().unwrap().display().to_string();
    direct.mcpipe(["list", "local"]).run().exits(0);
    direct.mcpipe(["list", "remote"]).run().exits(0);
    let started = program.wait_until_all_ended();
    let database = format!("{work}/db");
    assert_eq!(started[0].args, [format!("{work}/data"), work, database.clone()]);
    assert_eq!(started[0].env["DB"], database);

    // The same by import, from any place.
    for path in ["../work/.mcp.json", "../work/plugin/.mcp.json", "../work/servers.json"] {
        let sandbox = Sandbox::new();
        let mut flat = flat.clone();
        if path.ends_with("servers.json") {
            flat["local"] = json!({"command": words[0], "args": [words[1]]});
        }
        let file = put(&sandbox, path, &flat.to_string());
        sandbox.mcpipe(["config", "import", file.to_str().unwrap(), "--yes"]).cwd("/").run().exits(0);
        sandbox.mcpipe(["list", "local"]).cwd("/").run().exits(0);
        sandbox.mcpipe(["list", "remote"]).cwd("/").run().exits(0);
    }
    // Settings that are something else are not taken for servers.
    let other = Sandbox::new();
    other.file(".mcp.json", r#"{"editor.fontSize": 12, "tool": {"command": "x"}}"#);
    other.mcpipe(["config", "check"]).run().exits(3).stdout_contains("neither 'mcpServers' nor 'servers'");
    // A byte order mark is no error.
    other.file(".mcp.json", "\u{feff}{\"servers\": {}}");
    other.mcpipe(["config", "check"]).run().exits(0);
}

#[test]
fn a_websocket_is_used_directly_and_imported() {
    let server = Mcp::modern().websocket();
    let entry = |kind: &str| json!({"mcpServers": {"socket": {"type": kind, "url": server.url("/ws")}}}).to_string();
    for kind in ["ws", "websocket"] {
        project_file(&entry(kind)).mcpipe(["list", "socket"]).run().exits(0);
        let sandbox = Sandbox::new();
        put(&sandbox, ".claude.json", &entry(kind));
        sandbox.mcpipe(["config", "import", "claude-code", "--yes"]).run().exits(0);
        sandbox.mcpipe(["list", "socket"]).run().exits(0);
    }
    let sandbox = Sandbox::new();
    let tcp = json!({"mcpServers": {"socket": {"tcp": server.url("/ws")}}});
    put(&sandbox, ".gemini/settings.json", &tcp.to_string());
    sandbox.mcpipe(["config", "import", "gemini", "--yes"]).run().exits(0);
    sandbox.mcpipe(["list", "socket"]).run().exits(0);
}

#[test]
fn a_command_that_is_a_command_line_is_split_and_this_is_said() {
    let program = Mcp::modern().stdio();
    let words = program.words();
    let line = json!({"mcpServers": {"x": {"command": words.join(" "), "args": ["--more", "a b"]}}}).to_string();
    let direct = project_file(&line);
    direct.mcpipe(["list", "x"]).run().exits(0);
    let check = direct.mcpipe(["config", "check"]).run();
    check.exits(0).stdout_contains("'command' of 'x' is a command line: it is split into the program and arguments");
    for client in [".claude.json", ".cursor/mcp.json", ".config/Claude/claude_desktop_config.json"] {
        let sandbox = Sandbox::new();
        put(&sandbox, client, &line);
        let run = sandbox.mcpipe(["config", "import", "--yes"]).run();
        run.exits(0).stdout_contains("note: 'command' is a command line: it was split into the program and arguments");
        sandbox.mcpipe(["list", "x"]).run().exits(0);
    }
    for process in program.wait_until_all_ended() {
        assert_eq!(process.args, ["--more", "a b"]);
    }
    // The path of a program may contain spaces.
    let sandbox = Sandbox::new();
    let script = sandbox.script("my server", &format!("exec {} {}\n", words[0], words[1]));
    put(&sandbox, ".cursor/mcp.json", &json!({"mcpServers": {"x": {"command": script}}}).to_string());
    sandbox.mcpipe(["config", "import", "--yes"]).run().exits(0);
    sandbox.mcpipe(["list", "x"]).run().exits(0);
}

#[test]
fn a_file_of_which_nothing_can_be_read_is_a_failure() {
    for text in [
        r#"{"mcpServers": [{"name": "a", "command": "x"}]}"#,
        r#"{"mcpServers": "x"}"#,
        r#"{"mcpServers": {"a": "npx x"}}"#,
        r#"{"mcpServers": {"a": {"args": ["x"]}}}"#,
    ] {
        let sandbox = Sandbox::new();
        put(&sandbox, ".cursor/mcp.json", text);
        for words in
            [&["config", "import", "cursor"][..], &["config", "import"], &["config", "import", "cursor", "--yes"]]
        {
            let run = sandbox.mcpipe(words.iter().copied()).run();
            run.exits(3)
                .stderr_contains("no server of ~/.cursor/mcp.json can be imported")
                .stderr_contains("mcp.json:1");
        }
        sandbox.file("named.json", text);
        sandbox.mcpipe(["config", "import", "named.json"]).run().exits(3).prints("");
        // Another client's servers are imported nevertheless.
        put(&sandbox, ".gemini/settings.json", r#"{"mcpServers": {"x": {"command": "x"}}}"#);
        sandbox.mcpipe(["config", "import", "--yes"]).run().exits(3).stderr_contains("wrote 1 server");
    }
    let sandbox = Sandbox::new();
    put(&sandbox, ".cursor/mcp.json", r#"{"mcpServers": [{"name": "a", "command": "x"}]}"#);
    expect![[r#"
        exit: 3
        --- stderr
        nothing to write
        mcpipe: error: no server of ~/.cursor/mcp.json can be imported
          ~/.cursor/mcp.json:1: 'mcpServers' must be an object, not an array
    "#]]
    .assert_eq(&sandbox.mcpipe(["config", "import", "cursor"]).run().snapshot());
    let direct = Sandbox::new();
    direct.file(".mcp.json", r#"{"mcpServers": []}"#);
    direct.mcpipe(["config", "check"]).run().exits(3).stdout_contains("'mcpServers' must be an object, not an array");
    // An empty file is not broken.
    put(&sandbox, ".cursor/mcp.json", r#"{"mcpServers": {}}"#);
    sandbox
        .mcpipe(["config", "import", "cursor"])
        .run()
        .exits(3)
        .stderr_contains("Cursor has no MCP configuration here");
}

/// `auth` of the only server of a file, by import.
fn imported_auth(path: &str, text: &str) -> (Value, Vec<String>) {
    let sandbox = Sandbox::new();
    put(&sandbox, path, text);
    let document = sandbox.mcpipe(["config", "import", "--yes", "--json"]).run().exits(0).json();
    let notes = document["servers"][0]["notes"].as_array().unwrap().iter();
    let notes = notes.map(|note| note.as_str().unwrap().to_owned()).collect();
    let config: toml_edit::DocumentMut = user_config(&sandbox).parse().unwrap();
    let auth =
        config["servers"]["x"].get("auth").map(|auth| auth.to_string().trim().replace(" = ", "=").replace('\n', " "));
    sandbox.mcpipe(["config", "check"]).env("S", "s").run().exits(0);
    (auth.map_or(Value::Null, Value::String), notes)
}

#[test]
fn oauth_settings_of_other_clients_are_imported_or_named() {
    let server = |inner: &str| format!(r#"{{"mcpServers": {{"x": {{"url": "https://x.example/mcp", {inner}}}}}}}"#);
    let none: &[&str] = &[];
    for (path, text, auth, notes) in [
        (
            ".claude.json",
            server(r#""oauth": {"clientId": "a", "callbackPort": 8080, "scopes": "read write"}"#),
            json!("client_id=\"a\" redirect_uri=\"http://localhost:8080/callback\" scopes=[\"read\", \"write\"]"),
            none,
        ),
        (
            ".claude.json",
            server(r#""oauth": {"authServerMetadataUrl": "https://as.example/t/.well-known/openid-configuration"}"#),
            json!("issuer=\"https://as.example/t\""),
            none,
        ),
        (
            ".claude.json",
            server(r#""oauth": {"authServerMetadataUrl": "https://as.example/meta.json", "xaa": true}, "headersHelper": "h""#),
            Value::Null,
            &["'authServerMetadataUrl' 'https://as.example/meta.json' is ignored", "oauth.xaa", "headersHelper"],
        ),
        (
            ".cursor/mcp.json",
            server(r#""auth": {"CLIENT_ID": "a", "CLIENT_SECRET": "${env:S}", "scopes": ["r"]}"#),
            json!("client_id=\"a\" client_secret=\"${S}\" scopes=[\"r\"]"),
            none,
        ),
        (
            ".cursor/mcp.json",
            server(r#""auth": {"CLIENT_ID": "a", "redirectUri": "cursor://anysphere/callback"}"#),
            json!("client_id=\"a\""),
            &["'redirectUri' 'cursor://anysphere/callback' is ignored"],
        ),
        (
            ".gemini/settings.json",
            server(r#""oauth": {"enabled": true, "clientId": "a", "redirectUri": "http://localhost:7777/oauth/callback", "audiences": ["b"]}"#),
            json!("client_id=\"a\" redirect_uri=\"http://localhost:7777/oauth/callback\""),
            &["oauth.audiences"],
        ),
        (
            ".config/opencode/opencode.json",
            r#"{"mcp": {"x": {"type": "remote", "url": "https://x.example/mcp", "oauth": {"clientId": "a", "scope": "r", "callbackPort": 19877}}}}"#.to_owned(),
            json!("client_id=\"a\" scopes=[\"r\"] redirect_uri=\"http://127.0.0.1:19877/mcp/oauth/callback\""),
            none,
        ),
        (
            ".config/opencode/opencode.json",
            r#"{"mcp": {"x": {"type": "remote", "url": "https://x.example/mcp", "oauth": false}}}"#.to_owned(),
            Value::Null,
            &["login is disabled in the client"],
        ),
        (
            ".mcporter/mcporter.json",
            server(r#""auth": "oauth", "oauthClientId": "a", "oauthRedirectUrl": "http://127.0.0.1:3030/cb""#),
            json!("client_id=\"a\" redirect_uri=\"http://127.0.0.1:3030/cb\""),
            none,
        ),
        (
            ".codex/config.toml",
            "mcp_oauth_callback_port = 5555\n[mcp_servers.x]\nurl = \"https://x.example/mcp\"\nscopes = [\"r\"]\n".to_owned(),
            json!("redirect_uri=\"http://127.0.0.1:5555/callback\" scopes=[\"r\"]"),
            none,
        ),
        (
            ".codex/config.toml",
            "mcp_oauth_callback_port = 5555\n[mcp_servers.x]\nurl = \"https://x.example/mcp\"\n\
             [mcp_servers.x.oauth]\nclient_id = \"a\"\ncallback_port = 6666\n"
                .to_owned(),
            json!("redirect_uri=\"http://127.0.0.1:6666/callback\" client_id=\"a\""),
            none,
        ),
    ] {
        let (imported, said) = imported_auth(path, &text);
        assert_eq!(imported, auth, "{path} {text}");
        let all = said.join("\n");
        assert!(notes.iter().all(|note| all.contains(note)), "{path} {text}\n{all}");
        assert_eq!(said.is_empty(), notes.is_empty(), "{path} {text}\n{all}");
    }
}

#[test]
fn oauth_settings_in_a_project_file_are_used_or_named() {
    let sandbox = project_file(
        r#"{"mcpServers": {
  "a": {"url": "https://a.example/", "oauth": false},
  "b": {"url": "https://b.example/", "auth": {"CLIENT_ID": "i", "CLIENT_SECRET": "s", "scopes": "r w"}},
  "c": {"url": "https://c.example/", "oauth": {"callbackPort": 3118, "authServerMetadataUrl": "https://as.example/.well-known/oauth-authorization-server/t"}},
  "d": {"url": "https://d.example/", "headersHelper": "/opt/headers.sh", "auth": "oauth"},
  "e": {"url": "https://e.example/", "auth": {"redirectUri": "cursor://x/y", "other": 1, "clientId": null}}
}}"#,
    );
    let check = sandbox.mcpipe(["config", "check"]).run();
    check.exits(0);
    let said: Vec<&str> = check.stdout().lines().filter_map(|line| line.split('\t').nth(2)).collect();
    expect![[r#"
        'headersHelper' of 'd' is ignored: mcpipe does not support it
        'auth.redirectUri' of 'e' is ignored: mcpipe does not support it
        'auth.other' of 'e' is ignored: mcpipe does not support it"#]]
    .assert_eq(&said.join("\n"));
    let get = |name: &str| {
        let run = sandbox.mcpipe(["config", "get", name, "--json"]).run().exits(0).json();
        let values =
            run["values"].as_array().unwrap().iter().filter(|one| one["key"].as_str().unwrap().starts_with("auth."));
        values.map(|one| format!("{} {}", one["key"].as_str().unwrap(), one["value"])).collect::<Vec<_>>()
    };
    assert_eq!(get("a"), Vec::<String>::new());
    assert_eq!(get("b"), ["auth.client_id \"i\"", "auth.client_secret \"[redacted]\"", "auth.scopes [\"r\",\"w\"]"]);
    assert_eq!(
        get("c"),
        ["auth.redirect_uri \"http://localhost:3118/callback\"", "auth.issuer \"https://as.example/t\""]
    );
}

#[test]
fn servers_are_found_by_the_names_of_their_files() {
    let server = Mcp::modern().http();
    let names = ["github.com/x/y", "My Server", "@scope/tool", "io.github.user/server", "a b.c d", "été", "x:y"];
    let servers: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), json!({"url": server.url("/mcp")}))).collect();
    let json = project_file(&json!({"mcpServers": servers}).to_string());
    let toml = Sandbox::new();
    let tables = names.iter().map(|name| format!("[servers.\"{name}\"]\nurl = \"{}\"\n", server.url("/mcp")));
    toml.config(&tables.collect::<String>());
    for sandbox in [json, toml] {
        for name in names {
            sandbox.mcpipe(["list", name]).run().exits(0);
            sandbox.mcpipe(["config", "get", name]).run().exits(0);
            sandbox.mcpipe(["call", name, "add", "a=1", "b=2"]).run().exits(0).prints("3\n");
            sandbox.mcpipe(["call", &format!("{name}.add"), "a=1", "b=2"]).run().exits(0).prints("3\n");
            sandbox.mcpipe(["call", &format!("{name}.add(a: 1, b: 2)")]).run().exits(0).prints("3\n");
        }
        sandbox.mcpipe(["config", "check"]).run().exits(0);
    }
    // Imported, each has a name that needs no quotes.
    let sandbox = Sandbox::new();
    put(&sandbox, ".cursor/mcp.json", &json!({"mcpServers": servers}).to_string());
    let document = sandbox.mcpipe(["config", "import", "--yes", "--json"]).run().exits(0).json();
    let imported: Vec<&str> =
        document["servers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(imported[..2], ["github.com/x/y", "My-Server"]);
    for name in imported {
        sandbox.mcpipe(["list", name]).run().exits(0);
    }
}

#[test]
fn a_name_with_spaces_comes_before_a_command_line_of_the_same_words() {
    let (program, server) = (Mcp::modern().stdio(), Mcp::modern().http());
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.\"My Server\"]\nurl = {:?}\n", server.url("/mcp")));
    sandbox.mcpipe(["list", "My Server"]).run().exits(0);
    assert!(!server.requests().is_empty());
    // Everything else is a command line, as before.
    sandbox.mcpipe(["list", &program.target()]).run().exits(0);
    sandbox.mcpipe(["list", "my server"]).run().exits(5);
    sandbox.config("this is not TOML");
    sandbox.mcpipe(["list", &program.target()]).run().exits(0);
}

#[test]
fn names_with_slashes_can_be_added_renamed_and_removed() {
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["config", "add", "github.com/x/y", "https://y.example/mcp"]).run().exits(0);
    sandbox.mcpipe(["config", "rename", "github.com/x/y", "github.com/x/z"]).run().exits(0);
    assert_eq!(user_config(&sandbox), "[servers.\"github.com/x/z\"]\nurl = \"https://y.example/mcp\"\n");
    sandbox.mcpipe(["config", "remove", "github.com/x/z"]).run().exits(0);
    for name in ["/x", "x/", "./x", "https://x/y"] {
        sandbox.mcpipe(["config", "add", name, "https://y.example/mcp"]).run().exits(2);
    }
}

/// The time limit of Claude Code is in milliseconds, and of two URLs Gemini CLI uses `httpUrl`.
#[test]
fn a_file_of_another_client_has_its_time_limit_and_its_url() {
    let sandbox = Sandbox::new();
    let servers = json!({
        "a": {"command": "sh", "timeout": 600_000},
        "b": {"command": "sh", "timeout": 500},
        "c": {"url": "https://c.example/sse", "httpUrl": "https://c.example/mcp"},
        "d": {"httpUrl": "https://d.example/mcp", "url": "https://d.example/sse"},
    });
    sandbox.file("mcp.json", json!({"mcpServers": servers}).to_string());
    let get = |name: &str| sandbox.mcpipe(["config", "get", name, "--config", "mcp.json"]).run();
    get("a").exits(0).stdout_contains("timeout\t600s\t");
    assert!(!get("b").exits(0).stdout().contains("timeout\t"));
    for name in ["c", "d"] {
        get(name).exits(0).stdout_contains(&format!("url\thttps://{name}.example/mcp\t")).hides("/sse");
    }
    let check = sandbox.mcpipe(["config", "check", "--config", "mcp.json"]).run();
    check.exits(0).stdout_contains("'timeout' of 'b' is ignored").hides("'timeout' of 'a'");
}
