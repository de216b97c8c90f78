//! Features that a server does not offer, or not to this client, are not requested, and the message says so.

use serde_json::{Value, json};

use crate::support::pty::TerminalStreams;
use crate::support::{Mcp, Request, Sandbox, StdioServer};

/// ERA-18: a legacy server is only asked for what it declared.
#[test]
fn what_an_old_server_did_not_declare_is_not_asked_for() {
    let cases: [(&[&str], &str, &str); 3] = [
        (&["read", "demo://hello"], "resources/read", "the server offers no resources"),
        (&["prompt", "greet", "who=you"], "prompts/get", "the server offers no prompts"),
        (&["call", "fail", "--no-validate"], "tools/call", "the server offers no tools"),
    ];
    for (words, method, said) in cases {
        let sandbox = Sandbox::new();
        let run = |target: &str| sandbox.mcpipe([words[0], target]).args(&words[1..]).run();
        let bare = || Mcp::legacy("2025-11-25").capabilities(json!({}));
        let server = bare().stdio();
        let target = server.target();
        let hint = format!("hint: list what it offers: mcpipe list '{target}' --all");
        run(&target)
            .exits(1)
            .prints("")
            .stderr_contains(&format!("error: {said}"))
            .stderr_contains(&hint)
            .hides("code -32");
        assert!(!server.single_process().methods().contains(&method.to_owned()));
        let server = bare().http();
        run(&server.url("/mcp")).exits(1).prints("").stderr_contains(said);
        // For a configured server, the command names where it is configured.
        let file = sandbox.file("my own.toml", format!("servers.srv.url = {:?}\n", server.url("/mcp")));
        let named = sandbox.mcpipe([words[0], "srv"]).args(&words[1..]).arg("--config").arg(&file).run();
        let hint = format!("list what it offers: mcpipe list srv --all --config '{}'", file.display());
        named.exits(1).prints("");
        assert_eq!(named.stderr(), format!("mcpipe: error: {said}\nhint: {hint}\n"));
        // The era probe is an exception: it is sent before anything is declared.
        let asked = |request: &Request| request.rpc_method() == method && request.header("mcp-method").is_none();
        assert!(!server.requests().iter().any(asked), "{:?}", server.exchanges());
    }
}

#[test]
fn a_line_of_a_batch_is_told_the_same() {
    let server = Mcp::legacy("2025-11-25").capabilities(json!({"resources": {}})).stdio();
    let words = ["call", &server.target(), "--batch", "-", "--no-validate", "--jq", ".error.message"];
    let run = Sandbox::new().mcpipe(words).stdin("{\"tool\":\"fail\"}\n{\"tool\":\"fail\"}\n").run();
    run.exits(1).prints("the server offers no tools\nthe server offers no tools\n");
    assert!(!server.single_process().methods().contains(&"tools/call".to_owned()));
}

/// A server that declares nothing may support anything.
#[test]
fn a_server_that_declares_nothing_at_all_is_asked() {
    let result = json!({"protocolVersion": "2025-06-18", "serverInfo": {"name": "x", "version": "1"}});
    let server = Mcp::legacy("2025-06-18").on("initialize", move |call| call.result(result.clone())).stdio();
    Sandbox::new().mcpipe(["read", &server.target(), "demo://hello"]).run().succeeds().prints("hello\n");
}

/// The modern era declares nothing beforehand: the rejection is reported with the same message and the server's own as
/// the cause.
#[test]
fn a_server_without_the_method_offers_no_such_thing() {
    let cases: [(&[&str], &str, &str); 2] = [
        (&["read", "demo://hello"], "resources/read", "the server offers no resources"),
        (&["prompt", "greet", "who=you"], "prompts/get", "the server offers no prompts"),
    ];
    for (words, method, said) in cases {
        let sandbox = Sandbox::new();
        for mcp in [Mcp::modern(), Mcp::legacy("2025-11-25")] {
            let server = mcp.on(method, |call| call.error(-32601, "Method not found")).stdio();
            let run = sandbox.mcpipe([words[0], &server.target()]).args(&words[1..]).run();
            run.exits(1)
                .prints("")
                .stderr_contains(said)
                .stderr_contains(&format!("{method}: Method not found (code -32601)"));
            let json = sandbox.mcpipe([words[0], &server.target(), "--json"]).args(&words[1..]).run();
            assert_eq!(json.json_error()["rpc"]["code"], -32601);
        }
        let server = Mcp::modern().on(method, |call| call.error(-32601, "Method not found")).http();
        let run = sandbox.mcpipe([words[0], &server.url("/mcp")]).args(&words[1..]).run();
        run.exits(1).stderr_contains(said).stderr_contains("Method not found (code -32601)");
    }
    // A missing item is something else, whatever its code.
    let server = Mcp::modern().on("prompts/get", |call| call.error(-32601, "Unknown prompt: greet")).stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "who=you"]).run();
    run.exits(1).stderr_contains("Unknown prompt: greet").hides("offers no prompts");
}

/// Some tools are listed only for a client that can answer their requests.
#[test]
fn a_missing_tool_error_names_undeclared_capabilities() {
    let server = Mcp::modern().stdio();
    let target = server.target();
    let sandbox = Sandbox::new();
    let call = |words: &[&str]| sandbox.mcpipe(["call", &target, "ask_me"]).args(words.to_vec());
    let some = "some servers list a tool only if an option is given";
    call(&[]).run().exits(1).stderr_contains(&format!("({some}: --elicit, --sampling-command, --root)\n"));
    call(&["--elicit", "accept"]).run().exits(1).stderr_contains(&format!("{some}: --sampling-command, --root)\n"));
    call(&["--sampling-command", "cat", "--root", "."]).run().exits(1).stderr_contains(&format!("{some}: --elicit)\n"));
    let all = ["--elicit", "accept", "--sampling-command", "cat", "--root", "."];
    call(&all).run().exits(1).stderr_contains("hint: list its tools: mcpipe list").hides("some servers");
    let seen = call(&["--root", ".", "--color", "never"]).at_terminal(TerminalStreams::ALL).wait();
    let screen = seen.exits(1).final_screen().replace("\r\n", "\n");
    assert!(screen.contains(&format!("{some}: --sampling-command")) && !screen.contains("--elicit"), "{screen}");
    // A similar name is the better hint.
    let slip = || sandbox.mcpipe(["call", &target, "ech", "--color", "never"]);
    slip().run().exits(1).stderr_contains("hint: did you mean echo?\n").hides("some servers");
    let seen = slip().at_terminal(TerminalStreams::ALL).wait();
    let screen = seen.exits(1).final_screen();
    assert!(screen.contains("did you mean echo?") && !screen.contains("some servers"), "{screen}");
}

/// Lists depend on the client's capabilities, so a list is cached for those only.
#[test]
fn a_cached_list_belongs_to_the_declared_capabilities() {
    let server = || {
        Mcp::legacy("2025-11-25")
            .on("tools/list", |call| {
                let tool = |name: &str| json!({"name": name, "inputSchema": {"type": "object"}});
                let all = if call.n % 2 == 0 { vec![tool("echo"), tool("form")] } else { vec![tool("echo")] };
                call.result(json!({"tools": all}))
            })
            .stdio()
    };
    let server = server();
    let sandbox = Sandbox::new();
    let target = server.target();
    // The first list is that of `list`, which declares everything; the second one is that of a call that can answer
    // nothing.
    sandbox.mcpipe(["list", &target]).run().succeeds().prints("echo\t-\t-\nform\t-\t-\n");
    sandbox.mcpipe(["call", &target, "echo", "text=x"]).run().exits(0);
    let lists = || -> usize {
        let methods = server.wait_until_all_ended().iter().flat_map(|one| one.methods()).collect::<Vec<_>>();
        methods.iter().filter(|method| *method == "tools/list").count()
    };
    assert_eq!(lists(), 2, "the list of another set of capabilities is not used");
    sandbox.mcpipe(["call", &target, "echo", "text=x"]).run().exits(0);
    assert_eq!(lists(), 2, "a list of the same set is");
    let run = sandbox.mcpipe(["call", &target, "zzz"]).run();
    run.exits(1).stderr_contains("the server has no tool 'zzz'\n").hides("any more");
}

/// A server that lists a tool for each capability that the client declares, and one that needs two.
fn server_that_lists_by_capability() -> StdioServer {
    let server = Mcp::modern().on("tools/list", |call| {
        let declared = &call.params()["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        let has = |name: &str| declared[name].is_object();
        let prompt = json!({"type": "object", "properties": {"prompt": {"type": "string"}}, "required": ["prompt"]});
        let tool = |name: &str| json!({"name": name, "inputSchema": prompt});
        let all = [
            ("echo", true),
            ("ask", has("elicitation")),
            ("sample", has("sampling")),
            ("roots", has("roots")),
            ("both", has("sampling") && has("roots")),
        ];
        let tools: Vec<Value> = all.iter().filter(|(_, listed)| *listed).map(|(name, _)| tool(name)).collect();
        call.result(json!({"tools": tools, "ttlMs": 60000, "cacheScope": "private"}))
    });
    server.stdio()
}

#[test]
fn a_tool_that_is_listed_only_for_other_capabilities_names_the_options() {
    let server = server_that_lists_by_capability();
    let target = server.target();
    let sandbox = Sandbox::new();
    sandbox.mcpipe(["list", &target, "--brief"]).run().succeeds();
    let hint = |tool: &str, words: &[&str], hint: &str| {
        let run = sandbox.mcpipe(["call", &target, tool]).args(words.to_vec()).run();
        assert_eq!(
            run.exits(1).stderr(),
            format!(
                "mcpipe: error: the server has no tool '{tool}'\n  \
                 it lists the tool only for clients that can answer its requests\nhint: {hint}\n"
            )
        );
    };
    hint("sample", &[], "add --sampling-command CMD");
    hint("roots", &["--elicit", "accept"], "add --root DIR");
    hint("ask", &[], "add --elicit HOW, or run it at a terminal");
    hint("both", &["--root", "."], "add --sampling-command CMD");
    hint("both", &["--elicit", "accept"], "add --sampling-command CMD and --root DIR");
    // At a terminal, where input can be given already.
    let seen = sandbox.mcpipe(["call", &target, "roots", "--color", "never"]).at_terminal(TerminalStreams::ALL).wait();
    let screen = seen.exits(1).final_screen();
    assert!(screen.contains("hint: add --root DIR") && !screen.contains("terminal"), "{screen}");
}

#[test]
fn the_example_call_of_a_tool_has_the_options_that_the_tool_needs() {
    let server = server_that_lists_by_capability();
    let target = server.target();
    let sandbox = Sandbox::new();
    let example = |tool: &str| {
        let run = sandbox.mcpipe(["list", &target, tool]).run();
        let stdout = run.succeeds().stderr_is("").stdout().to_owned();
        let example = stdout.split("\nExample\n").nth(1).unwrap();
        example.replace(&format!("mcpipe call '{target}' "), "").trim_end().to_owned()
    };
    assert_eq!(example("echo"), "echo prompt=text");
    assert_eq!(example("roots"), "roots prompt=text --root .");
    assert_eq!(
        example("sample"),
        "sample prompt=text --sampling-command CMD\n\
         (CMD reads the sampling request as JSON from standard input and prints the result as JSON)"
    );
    assert_eq!(example("ask"), "ask prompt=text\n(run it at a terminal, or add --elicit accept or --elicit JSON)");
    // A tool that needs several.
    assert!(example("both").contains("both prompt=text --sampling-command CMD --root .\n"), "{}", example("both"));
    sandbox.mcpipe(["list", &target, "roots", "--schema"]).run().succeeds();
    sandbox.mcpipe(["list", &target, "root"]).run().exits(1).stderr_contains("did you mean roots?");
}

#[test]
fn the_tools_for_a_model_are_those_that_the_same_options_can_call() {
    let server = server_that_lists_by_capability();
    let target = server.target();
    let sandbox = Sandbox::new();
    let names = |words: &[&str]| -> Vec<String> {
        let run = sandbox.mcpipe(["list", &target, "--for", "anthropic"]).args(words.to_vec()).run();
        run.succeeds().json().as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&[]), ["echo"]);
    assert_eq!(names(&["--elicit", "accept", "--root", "."]), ["echo", "ask", "roots"]);
    assert_eq!(names(&["--sampling-command", "cat", "--root", "."]), ["echo", "sample", "roots", "both"]);
    let use_tool = json!({"content": [{"type": "tool_use", "id": "1", "name": "roots", "input": {"prompt": "x"}}]});
    let run = sandbox.mcpipe(["call", &target, "--tool-use", "-", "--root", "."]).stdin(use_tool.to_string()).run();
    run.exits(1).stdout_contains("the server refused tools/call: Unknown tool: roots").hides("no server has a tool");
    sandbox.mcpipe(["list", &target, "--all"]).run().succeeds();
    let run = sandbox.mcpipe(["list", &target, "sample", "--for", "openai"]).run();
    run.exits(1).stderr_contains("hint: add --sampling-command CMD\n");
}
