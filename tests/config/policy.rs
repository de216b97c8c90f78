//! What the configuration allows: hidden and rejected tools, calls that need confirmation, and what a server process
//! inherits.

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Sandbox, StdioServer};

fn with_rules(rules: &str) -> (Sandbox, StdioServer) {
    let server = Mcp::legacy("2025-11-25").stdio();
    let words = server.words();
    let sandbox = Sandbox::new();
    sandbox.config(&format!("[servers.s]\ncommand = {:?}\nargs = [{:?}]\n{rules}\n", words[0], words[1]));
    (sandbox, server)
}

fn calls(server: &StdioServer) -> usize {
    server.processes().iter().flat_map(|seen| seen.methods()).filter(|method| method == "tools/call").count()
}

#[test]
fn tools_that_are_not_allowed_are_hidden_and_refused() {
    let (sandbox, server) = with_rules("allow_tools = [\"ec*\", \"{add,fail}\"]\ndeny_tools = [\"f*\"]");
    let list = sandbox.mcpipe(["list", "s", "--json"]).run();
    let names: Vec<Value> =
        list.exits(0).json()["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, [json!("echo"), json!("add")]);
    expect![[r#"
        exit: 0
        --- stdout
        echo\tSays what it is told. Nothing else.\ttext
        add\tAdds two integers\ta: integer, b: integer
        --- stderr
        s: 3 tools are not allowed by the configuration (allow_tools, deny_tools)
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "s"]).run().snapshot());
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: the configuration does not allow the tool 'fail'
        hint: show allow_tools and deny_tools: mcpipe config get s
    "#]]
    .assert_eq(&sandbox.mcpipe(["call", "s", "fail"]).run().snapshot());
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: the configuration does not allow the tool 'image'
        hint: show allow_tools and deny_tools: mcpipe config get s
    "#]]
    .assert_eq(&sandbox.mcpipe(["list", "s", "image"]).run().snapshot());
    sandbox.mcpipe(["call", "s", "image", "--yes"]).run().exits(8);
    sandbox.mcpipe(["call", "s", "slow", "--no-validate"]).run().exits(8);
    assert_eq!(calls(&server), 0, "nothing was called that is not allowed");
    sandbox.mcpipe(["call", "s", "echo", "text=hi"]).run().exits(0).prints("hi\n");
}

#[test]
fn an_empty_list_allows_nothing() {
    let (sandbox, server) = with_rules("allow_tools = []");
    let run = sandbox.mcpipe(["call", "s", "echo(text: \"hi\")"]).run();
    run.exits(8).stderr_contains("the configuration does not allow the tool 'echo'");
    assert_eq!(server.processes().len(), 0, "no server is started for it");
    sandbox.mcpipe(["list", "s"]).run().exits(0).prints("");
    sandbox.mcpipe(["call", "s", "echo", "text=hi"]).run().exits(8);
    assert_eq!(calls(&server), 0);
}

#[test]
fn consent_is_asked_for_at_a_terminal_and_needs_yes_elsewhere() {
    let (sandbox, server) = with_rules("confirm = \"always\"");
    let call = || sandbox.mcpipe(["call", "s", "echo", "text=hi"]);
    expect![[r#"
        exit: 8
        --- stderr
        mcpipe: error: calling 'echo' needs confirmation
        hint: add --yes to skip the confirmation
    "#]]
    .assert_eq(&call().run().snapshot());
    assert_eq!(calls(&server), 0);
    call().arg("--yes").run().exits(0).prints("hi\n");
    for line in [
        json!({"tool": "echo", "arguments": {"text": "hi"}}),
        json!({"request": "tools/call", "params": {"name": "echo", "arguments": {"text": "hi"}}}),
    ] {
        sandbox.file("calls", line.to_string());
        let batch = sandbox.mcpipe(["call", "s", "--batch", "calls"]).at_terminal(TerminalStreams::ALL).wait();
        batch.exits(1);
        let shown = batch.final_screen();
        assert!(shown.contains(r#""hint":"add --yes to skip the confirmation""#), "{shown}");
    }
    assert_eq!(calls(&server), 1);
    for (answer, code) in [("n", 8), ("y", 0)] {
        let before = calls(&server);
        let mut terminal = call().at_terminal(TerminalStreams::ALL);
        terminal.wait_for("[y/N] ").type_keys(&format!("{answer}\r"));
        terminal.wait().exits(code);
        assert_eq!(calls(&server) - before, usize::from(code == 0));
    }
}

#[test]
fn destructive_asks_unless_the_tool_says_that_it_only_reads() {
    let (sandbox, _server) = with_rules("confirm = \"destructive\"");
    sandbox.mcpipe(["call", "s", "echo", "text=hi"]).run().exits(0).prints("hi\n");
    sandbox.mcpipe(["call", "s", "add", "a=1", "b=2"]).run().exits(8);
    sandbox.mcpipe(["call", "s", "add", "a=1", "b=2", "--yes"]).run().exits(0).prints("3\n");
    // The global default applies if the entry sets nothing.
    let text = std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap();
    sandbox.config(&format!("[defaults]\nconfirm = \"always\"\n{}", text.replace("confirm = \"destructive\"", "")));
    sandbox.mcpipe(["call", "s", "echo", "text=hi"]).run().exits(8);
}

#[test]
fn a_server_gets_its_own_environment_directory_and_protocol() {
    let (sandbox, server) = with_rules(
        "env = { OWN = \"${GIVEN}-x\", PATH = \"/bin\" }\ninherit_env = [\"KEPT\"]\ncwd = \"~\"\nprotocol = \"2025-11-25\"\nroots = [\".\"]",
    );
    let run = sandbox.mcpipe(["list", "s"]).env("GIVEN", "g").env("KEPT", "k").env("LOST", "l").run();
    run.exits(0);
    let seen = server.single_process();
    let variables: Vec<(&str, &str)> = ["OWN", "PATH", "KEPT", "LOST", "GIVEN", "HOME"]
        .iter()
        .filter_map(|name| seen.env.get_key_value(*name))
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(variables, [("OWN", "g-x"), ("PATH", "/bin"), ("KEPT", "k")]);
    assert_eq!(seen.cwd, sandbox.path().join("home"));
    assert_eq!(seen.methods()[0], "initialize", "a pin never probes");
}

#[test]
fn no_server_inherits_what_mcpipe_and_other_servers_need() {
    let (sandbox, server) = with_rules("");
    let text = std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap();
    sandbox.config(&format!(
        "{text}[servers.web]\nurl = \"https://web.example/\"\nbearer_env = \"WEB_TOKEN\"\n\
         [servers.app]\nurl = \"https://app.example/\"\nauth = {{ client_secret = \"${{APP_SECRET}}\" }}\n"
    ));
    let run = sandbox
        .mcpipe(["list", "s"])
        .env("WEB_TOKEN", "t")
        .env("APP_SECRET", "s")
        .env("MCPIPE_LOGIN", "never")
        .env("PLAIN", "p")
        .run();
    run.exits(0);
    let env = server.single_process().env;
    assert!(env.contains_key("PLAIN"));
    for name in ["WEB_TOKEN", "APP_SECRET", "MCPIPE_LOGIN"] {
        assert!(!env.contains_key(name), "{name}");
    }
}

#[test]
fn a_project_that_is_not_trusted_removes_no_variable() {
    let (sandbox, server) = with_rules("");
    let project = "[servers.web]\nurl = \"https://web.example/\"\nbearer_env = \"PATH\"\n\
        [servers.app]\nurl = \"https://app.example/\"\nauth = { client_secret = \"${KEPT}\" }\n";
    sandbox.file(".mcpipe.toml", project);
    let list = || sandbox.mcpipe(["list", "s"]).env("KEPT", "k").run();
    list().exits(0);
    let env = server.single_process().env;
    assert!(env.contains_key("PATH") && env.contains_key("KEPT"), "{env:?}");
    sandbox.file(".mcpipe.toml", project.replace("PATH", "TOKEN"));
    sandbox.mcpipe(["config", "trust", "--yes"]).run().exits(0);
    list().exits(0);
    assert!(!server.processes()[1].env.contains_key("KEPT"));
    // Nor does it return one that a server of the user's own needs.
    let own = std::fs::read_to_string(sandbox.path().join("home/.config/mcpipe/config.toml")).unwrap();
    sandbox.config(&format!("{own}[servers.web]\nurl = \"https://web.example/\"\nbearer_env = \"KEPT\"\n"));
    sandbox.file(".mcpipe.toml", "[servers.web]\nurl = \"https://web.example/\"\nbearer_env = \"OTHER\"\n");
    list().exits(0);
    assert!(!server.processes()[2].env.contains_key("KEPT"));
}

#[test]
fn what_is_hidden_is_said_of_its_server() {
    let (sandbox, _server) = with_rules("deny_tools = [\"fail\"]");
    sandbox
        .mcpipe(["list", "s"])
        .run()
        .exits(0)
        .stderr_contains("s: 1 tool is not allowed by the configuration (allow_tools, deny_tools)\n");
    sandbox
        .mcpipe(["list", "--grep", "echo"])
        .run()
        .exits(0)
        .stderr_contains("s: 1 tool is not allowed by the configuration (allow_tools, deny_tools)\n");
}
