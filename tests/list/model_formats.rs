//! `list --for` and `prompt --for`: tools and prompts in the formats of model APIs.

use std::time::{Duration, Instant};

use expect_test::expect;
use serde_json::{Value, json};

use crate::support::{HttpServer, Mcp, Reply, Sandbox, StdioServer};

fn entry(name: &str, server: &StdioServer) -> String {
    format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", server.words()[0], &server.words()[1..])
}

fn names(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_api_gets_all_pages_in_its_form() {
    for server in [Mcp::legacy("2025-11-25").page_size(2), Mcp::modern().page_size(1)] {
        let server = server.stdio();
        let sandbox = Sandbox::new();
        let list = |form: &str| sandbox.mcpipe(["list", &server.target(), "--for", form]).run().succeeds().json();
        let anthropic = list("anthropic");
        assert_eq!(names(&anthropic), ["echo", "add", "fail", "image", "slow"]);
        assert_eq!(
            anthropic[0],
            json!({"name": "echo", "description": "Says what it is told.\nNothing else.",
                "input_schema": {"type": "object", "properties": {
                    "text": {"type": "string", "description": "What to say"}}, "required": ["text"]}})
        );
        assert_eq!(
            list("openai")[2],
            json!({"type": "function", "function": {"name": "fail", "description": "Always fails",
                "parameters": {"type": "object", "properties": {}}}})
        );
        assert_eq!(
            list("openai-responses")[1],
            json!({"type": "function", "name": "add", "description": "Adds two integers", "strict": false,
                "parameters": {"type": "object", "required": ["a", "b"],
                    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}}})
        );
        let gemini = list("gemini");
        assert_eq!(names(&gemini[0]["functionDeclarations"]).len(), 5);
        assert_eq!(
            gemini[0]["functionDeclarations"][2],
            json!({"name": "fail", "description": "Always fails", "parametersJsonSchema": {"type": "object"}})
        );
    }
}

#[test]
fn typescript_is_text() {
    let server = Mcp::modern().stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&entry("my-demo", &server));
    let run = sandbox.mcpipe(["list", "my-demo", "--for", "typescript"]).run();
    expect![[r#"
        /** The tools of my-demo. */
        export interface MyDemo {
          /**
           * Echo
           *
           * Says what it is told.
           * Nothing else.
           */
          echo(args: {
            /** What to say */
            text: string;
          }): Promise<unknown>;

          /** Adds two integers */
          add(args: {
            a: number;
            b: number;
          }): Promise<{
            total: number;
          }>;

          /** Always fails */
          fail(): Promise<unknown>;

          /** Returns a picture */
          image(): Promise<unknown>;

          /** Reports progress */
          slow(args?: {
            /** @default 3 */
            steps?: number;
          }): Promise<unknown>;
        }
    "#]]
    .assert_eq(run.succeeds().stdout());
    let as_json = sandbox.mcpipe(["list", "my-demo", "--for", "typescript", "--json"]).run();
    assert_eq!(as_json.succeeds().json().as_str().unwrap(), run.stdout());
}

#[test]
fn what_may_not_be_used_is_absent_and_one_tool_may_be_chosen() {
    let mut tools = crate::support::mcp::tools();
    tools.push(json!({"name": "for-app", "inputSchema": {"type": "object"}, "_meta": {"ui": {"visibility": ["app"]}}}));
    tools.push(json!({"name": "echo", "inputSchema": {"type": "object"}}));
    let server = Mcp::modern().tools(json!(tools)).stdio();
    let sandbox = Sandbox::new();
    sandbox.config(&(entry("demo", &server) + "deny_tools = [\"a*\", \"slow\"]\n"));
    let run = sandbox.mcpipe(["list", "demo", "--for", "anthropic"]).run();
    assert_eq!(names(&run.exits(0).json()), ["echo", "fail", "image"]);
    run.stderr_contains("demo lists the tool 'echo' twice; the first is used");
    let run = sandbox.mcpipe(["list", "demo", "--for", "anthropic", "--hidden", "--grep", "app", "-q"]).run();
    assert_eq!(names(&run.succeeds().json()), ["for-app"]);
    let run = sandbox.mcpipe(["list", "demo", "fail", "--for", "openai", "--jq", ".[].function.name", "-q"]).run();
    run.succeeds().prints("fail\n");
    sandbox
        .mcpipe(["list", "demo", "add", "--for", "openai"])
        .run()
        .exits(8)
        .prints("")
        .stderr_contains("does not allow the tool 'add'");
    let run = sandbox.mcpipe(["list", "demo", "fial", "--for", "openai"]).run();
    run.exits(1).prints("").stderr_contains("no tool 'fial'").stderr_contains("hint: did you mean fail?\n");
    sandbox.mcpipe(["list", "demo", "--for", "openai", "--prompts"]).run().exits(2);
    sandbox.mcpipe(["list", "demo", "--for", "cobol"]).run().exits(2).stderr_contains("possible values");
}

#[test]
fn several_servers_have_names_of_their_own() {
    let (one, two) = (Mcp::modern().stdio(), Mcp::legacy("2025-11-25").stdio());
    let odd = Mcp::modern()
        .tools(json!([{"name": "a.b", "inputSchema": {"type": "object"}}, {"name": "x".repeat(70), "inputSchema": {}}]))
        .stdio();
    let sandbox = Sandbox::new();
    sandbox.config(
        &(entry("one", &one)
            + &entry("On-e", &odd)
            + &entry("two", &two)
            + "[servers.gone]\nurl = \"http://127.0.0.1:1/\"\n"),
    );
    let run = sandbox.mcpipe(["list", "--for", "openai", "--jq", ".[].function.name"]).run();
    run.exits(5).stderr_contains("127.0.0.1:1");
    let all: Vec<&str> = run.stdout().lines().collect();
    assert_eq!(all.len(), 12, "the others are still printed: {all:?}");
    for name in ["one__echo", "two__echo", "one__slow", "two__slow"] {
        assert!(all.contains(&name), "{all:?}");
    }
    let fits =
        |name: &&str| name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    assert!(all.iter().all(fits), "{all:?}");
    let mut distinct = all.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), all.len());

    let run = sandbox.mcpipe(["list", "--for", "typescript"]).run();
    run.exits(5);
    let interfaces: Vec<&str> =
        run.stdout().lines().filter_map(|line| line.strip_prefix("export interface ")).collect();
    assert_eq!(interfaces, ["OnE {", "One {", "Two {"]);
}

#[test]
fn schemas_that_an_api_would_refuse_are_changed_with_a_warning() {
    let long = "x".repeat(2000);
    let server = Mcp::modern()
        .tools(json!([{"name": "t", "description": long, "inputSchema": {"type": "object",
            "properties": {"a": {"type": "strng"}, "list": {"type": "array"}}, "oneOf": [{"required": ["a"]}]}}]))
        .stdio();
    let sandbox = Sandbox::new();
    let list = |form: &str, more: &[&str]| sandbox.mcpipe(["list", &server.target(), "--for", form]).args(more).run();
    let run = list("openai", &[]);
    run.exits(0);
    assert_eq!(
        run.stderr(),
        "mcpipe: warning: the schema of 't' was changed for OpenAI: 'oneOf' at the top level was merged into its \
         properties; a: the unknown type \"strng\" was replaced by 'string'; list: 'items' was added\n"
    );
    assert_eq!(
        run.json()[0]["function"],
        json!({"name": "t", "description": long, "parameters": {"type": "object", "required": ["a"],
            "properties": {"a": {"type": "string"}, "list": {"type": "array", "items": {}}}}})
    );
    let run = list("gemini", &["--max-description", "1024"]);
    run.exits(0).stderr_contains("the description of 't' was cut to 1024 characters");
    let description = run.json()[0]["functionDeclarations"][0]["description"].as_str().unwrap().to_owned();
    assert_eq!(description.chars().count(), 1024);
    sandbox.mcpipe(["list", &server.target(), "--max-description", "9"]).run().exits(2).stderr_contains("--for");
}

#[test]
fn parameter_names_that_a_model_cannot_take_are_restored_in_its_calls() {
    let server = Mcp::modern()
        .tools(json!([{"name": "t", "inputSchema": {"type": "object", "properties": {"$top": {"type": "integer"}}}}]))
        .on("tools/call", |call| {
            let text = call.params()["arguments"].to_string();
            call.result(json!({"content": [{"type": "text", "text": text}]}))
        })
        .stdio();
    let sandbox = Sandbox::new();
    let run = sandbox.mcpipe(["list", &server.target(), "--for", "anthropic"]).run();
    run.exits(0).stderr_contains("the parameter '$top' was renamed to '_top_");
    let tools = run.json();
    let name = tools[0]["input_schema"]["properties"].as_object().unwrap().keys().next().unwrap();
    let reply = json!({"content": [{"type": "tool_use", "id": "1", "name": "t", "input": {name: 5}}]}).to_string();
    let run = sandbox.mcpipe(["call", &server.target(), "--tool-use", "-"]).stdin(reply.as_str()).run();
    assert_eq!(run.succeeds().json()[0]["content"][0]["content"][0]["text"], r#"{"$top":5}"#);
}

/// Declarations do not show where a server is installed.
#[test]
fn an_interface_is_named_after_the_server_not_its_path() {
    let server = Mcp::modern().stdio();
    let run = Sandbox::new().mcpipe(["list", &server.target(), "--for", "typescript"]).run();
    run.succeeds();
    let mut lines = run.stdout().lines();
    assert_eq!(lines.next(), Some("/** The tools of relay. */"));
    assert_eq!(lines.next(), Some("export interface Relay {"));
}

#[test]
fn a_prompt_becomes_messages() {
    for server in [Mcp::legacy("2025-11-25"), Mcp::modern()] {
        let server = server.stdio();
        let sandbox = Sandbox::new();
        let prompt = |form: &str| sandbox.mcpipe(["prompt", &server.target(), "greet", "who=Ada", "--for", form]).run();
        prompt("anthropic").succeeds().prints(concat!(
            r#"[{"role":"user","content":[{"type":"text","text":"Say hello to Ada"}]},"#,
            r#"{"role":"assistant","content":[{"type":"text","text":"Hello Ada"}]}]"#,
            "\n"
        ));
        assert_eq!(prompt("openai").json(), prompt("anthropic").json());
        assert_eq!(prompt("openai-responses").json()[1]["content"], "Hello Ada");
        prompt("gemini").succeeds().prints(concat!(
            r#"[{"role":"user","parts":[{"text":"Say hello to Ada"}]},"#,
            r#"{"role":"model","parts":[{"text":"Hello Ada"}]}]"#,
            "\n"
        ));
        sandbox
            .mcpipe(["prompt", &server.target(), "--for", "gemini"])
            .run()
            .exits(2)
            .stderr_contains("--for needs a prompt");
        sandbox.mcpipe(["prompt", &server.target(), "greet", "--for", "typescript"]).run().exits(2);
    }
    let server = Mcp::modern().on("prompts/get", |call| call.result(json!({"description": "none"}))).stdio();
    let run = Sandbox::new().mcpipe(["prompt", &server.target(), "greet", "who=Ada", "--for", "openai"]).run();
    run.exits(7).prints("").stderr_contains("messages is missing");
}

/// Doubling the number of values doubles the time; with the square of it, 200,000 values take minutes.
#[test]
fn a_tool_with_200_000_enum_values_is_listed_in_every_form() {
    let values: Vec<String> = (0..200_000).map(|n| format!("v{n}")).collect();
    let schema = json!({"type": "object", "required": ["v"], "properties": {"v": {"type": "string", "enum": values},
        "w": {"type": "array", "uniqueItems": true, "minItems": 2, "items": {"enum": values}},
        "x": {"anyOf": values.iter().map(|value| json!({"const": value})).collect::<Vec<_>>()}}});
    let server = Mcp::with_tool_schema(schema);
    let sandbox = Sandbox::new();
    let mut all = vec![vec!["do"]];
    all.extend(["typescript", "anthropic", "openai", "gemini"].map(|form| vec!["--for", form]));
    for words in all {
        let run = sandbox.mcpipe(["list", &server.target()]).args(&words).timeout(Duration::from_secs(60)).run();
        assert!(run.code() == 0 && run.stdout().len() > 10, "{words:?}: {} {}", run.code(), run.stderr());
    }
}

/// As in the table of all servers, one that hangs does not hold up the rest.
#[test]
fn servers_that_hang_do_not_use_up_the_jobs() {
    let sandbox = Sandbox::new();
    let (good, mute) = (Mcp::modern().http(), HttpServer::start(|_| Reply::never()));
    let (url, mute) = (good.url("/mcp"), mute.url("/"));
    let entries = [("a", &mute), ("b", &mute), ("c", &mute), ("z", &url)];
    sandbox.config(&entries.map(|(name, url)| format!("[servers.{name}]\nurl = {url:?}\n")).concat());
    let running = sandbox
        .mcpipe(["list", "--for", "anthropic", "--jobs", "2", "--connect-timeout", "0", "--timeout", "0"])
        .start();
    let end = Instant::now() + Duration::from_secs(60);
    while good.requests().is_empty() {
        assert!(Instant::now() < end, "the last server was never queried");
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal(rustix::process::Signal::INT);
    running.wait().exits(130).prints("");
}
