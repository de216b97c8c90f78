//! The servers of `docs/recipes.md`, with the tools that the recipes call.

use serde_json::{Map, Value, json};

use crate::support::mcp::{ClientMessage, PIXEL, ServerAction};
use crate::support::mcp_http::LegacyHttpOptions;
use crate::support::oauth::ProtectedServer;
use crate::support::{HttpServer, Mcp, Reply, Sandbox, StdioServer};

/// The servers that one recipe can use.
pub struct RecipeServers {
    started: Vec<StdioServer>,
    tickets: Option<HttpServer>,
    crm: Option<ProtectedServer>,
}

impl RecipeServers {
    /// Starts the servers that these commands name, and configures them. `github`, `slack` and `notion` are always configured.
    pub fn start(sandbox: &Sandbox, commands: &str) -> Self {
        let optional = [
            ("staging", shop as fn() -> Mcp),
            ("production", larger_shop),
            ("deploy", deploy),
            ("charts", charts),
            ("docs", documents),
        ];
        let named = optional.into_iter().filter(|(name, _)| commands.contains(name));
        let always = [("github", github as fn() -> Mcp), ("slack", slack), ("notion", notion)];
        let (mut config, mut started) = (String::new(), Vec::new());
        for (name, server) in always.into_iter().chain(named) {
            let server = server().stdio();
            let words = server.words();
            config += &format!("[servers.{name}]\ncommand = {:?}\nargs = {:?}\n", words[0], &words[1..]);
            started.push(server);
        }
        let tickets = commands.contains("tickets").then(tickets);
        let crm = commands.contains("crm").then(crm);
        let urls = [
            ("tickets", tickets.as_ref().map(|server| server.url("/mcp"))),
            ("crm", crm.as_ref().map(ProtectedServer::url)),
        ];
        for (name, url) in urls {
            config += &url.map_or(String::new(), |url| format!("[servers.{name}]\nurl = \"{url}\"\n"));
        }
        sandbox.config(&config);
        if crm.is_some() {
            sandbox
                .mcpipe(["auth", "login", "crm", "--scope", "read", "--scope", "call"])
                .with_browser()
                .run()
                .exits(0);
        }
        RecipeServers { started, tickets, crm }
    }

    /// An address that accepts the login of `crm` and is no MCP server.
    pub fn crm_page(&self) -> String {
        self.crm.as_ref().map_or(String::new(), |crm| crm.mcp.url("/whoami"))
    }
}

/// A tool with these parameters, which are required unless their names end with `?`.
fn tool(name: &str, description: &str, parameters: &[(&str, Value)]) -> Value {
    let required: Vec<&str> = parameters.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('?')).collect();
    let properties: Map<String, Value> =
        parameters.iter().map(|(name, schema)| (name.trim_end_matches('?').to_owned(), schema.clone())).collect();
    let reads =
        ["get_", "list_", "search", "status", "describe", "notion-search"].iter().any(|start| name.starts_with(start));
    json!({"name": name, "description": description, "annotations": {"readOnlyHint": reads},
        "inputSchema": {"type": "object", "properties": properties, "required": required}})
}

fn string(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn server(tools: &[Value]) -> Mcp {
    Mcp::modern().tools(json!(tools))
}

/// A result with structured content, and the same as text.
fn data(call: &ClientMessage, data: Value) -> Vec<ServerAction> {
    call.result(json!({"content": [{"type": "text", "text": data.to_string()}], "structuredContent": data}))
}

fn github() -> Mcp {
    let repository = || vec![("owner", string("Account or organization")), ("repo", string("Repository"))];
    let with = |more: Vec<(&'static str, Value)>| repository().into_iter().chain(more).collect::<Vec<_>>();
    let labels = json!({"type": "array", "items": {"type": "string"}, "description": "Labels"});
    server(&[
        tool(
            "create_issue",
            "Create an issue",
            &with(vec![("title", string("Title")), ("body?", string("Text, in Markdown")), ("labels?", labels)]),
        ),
        tool("list_issues", "List issues", &with(vec![("after?", string("Cursor of the page before"))])),
        tool("get_me", "Get the user", &[]),
    ])
    .on("tools/call", |call| match call.tool() {
        "create_issue" => data(
            call,
            json!({"number": 43 + call.n, "title": call.argument("title"), "url": format!("https://github.com/acme/web/issues/{}", 43 + call.n),
                "labels": call.argument("labels"), "bytes": call.argument("body").as_str().map(str::len)}),
        ),
        "list_issues" if call.argument("after").is_null() => data(
            call,
            json!({"issues": [{"number": 41, "title": "Slow start"}, {"number": 42, "title": "Broken link"}],
                "pageInfo": {"endCursor": "c2"}}),
        ),
        "list_issues" => {
            data(call, json!({"issues": [{"number": 40, "title": "Typo"}], "pageInfo": {"endCursor": null}}))
        }
        _ => data(call, json!({"login": "octo"})),
    })
    .on("prompts/list", |call| {
        let arguments = json!([{"name": "issue", "description": "Number", "required": true}]);
        let prompts = json!([{"name": "triage", "description": "Triage an issue", "arguments": arguments}]);
        call.result(json!({"prompts": prompts, "ttlMs": 0, "cacheScope": "private"}))
    })
    .on("prompts/get", |call| {
        let text = format!("Decide how urgent issue {} is.", call.argument("issue").as_str().unwrap());
        call.result(json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}))
    })
}

fn slack() -> Mcp {
    server(&[
        tool("slack_list_channels", "List channels of the workspace", &[]),
        tool(
            "slack_post_message",
            "Post a message to a channel",
            &[("channel_id", string("ID of the channel")), ("text", string("Text"))],
        ),
    ])
    .on("tools/call", |call| {
        let words = |name| call.argument(name).as_str().unwrap().trim_end();
        call.text(&format!("posted to {}: {}", words("channel_id"), words("text")))
    })
}

fn notion() -> Mcp {
    let properties = json!({"type": "object", "properties": {"title": {"type": "string"}}});
    let page = json!({"type": "object", "properties": {"properties": properties, "content": {"type": "string"}}});
    server(&[
        tool("notion-search", "Search the workspace", &[("query", string("Words"))]),
        tool("notion-create-pages", "Create pages", &[("pages", json!({"type": "array", "items": page}))]),
    ])
    .on("tools/call", |call| match call.tool() {
        "notion-search" => data(call, json!({"results": [{"title": "Release plan"}]})),
        _ => call.text(&format!("created {}", call.argument("pages"))),
    })
}

fn shop() -> Mcp {
    server(&[
        tool("get_order", "Get an order", &[("id", json!({"type": "integer"}))]),
        tool("list_orders", "List orders", &[]),
    ])
}

fn larger_shop() -> Mcp {
    server(&[
        tool("get_order", "Get an order", &[("id", json!({"type": "string"}))]),
        tool("list_orders", "List orders", &[]),
        tool("refund", "Refund an order", &[("id", json!({"type": "string"}))]),
    ])
}

/// The job of `deploy` is done when its state is asked for the third time; its log has three states.
fn deploy() -> Mcp {
    let log = ["web: building", "web: starting", "web: failed, exit code 137"];
    Mcp::legacy("2025-11-25")
        .capabilities(json!({"tools": {}, "resources": {"subscribe": true}}))
        .tools(json!([
            tool("start", "Deploy a version", &[("version", string("Version"))]),
            tool("status", "State", &[])
        ]))
        .on("tools/call", |call| match (call.tool(), call.n) {
            ("start", _) => call.text("deploying 1.4.0"),
            (_, n @ 0..3) => data(call, json!({"state": "running", "percent": n * 40})),
            _ => data(call, json!({"state": "done", "percent": 100})),
        })
        .on("resources/subscribe", |call| call.result(json!({})))
        .on("resources/read", move |call| {
            let text = log[call.n.min(log.len() - 1)];
            let mut actions =
                call.result(json!({"contents": [{"uri": "deploy://web/log", "text": format!("{text}\n")}]}));
            let uri = json!({"uri": "deploy://web/log"});
            let update = json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": uri});
            actions.extend((call.n + 1 < log.len()).then_some(ServerAction::Send(update)));
            actions
        })
}

fn charts() -> Mcp {
    let values = json!({"type": "array", "items": {"type": "number"}});
    let image = || json!({"type": "string", "contentEncoding": "base64"});
    server(&[
        tool("render", "Draw a chart", &[("title", string("Title")), ("values", values)]),
        tool("describe", "Describe an image", &[("image", image())]),
        tool("compare", "Compare images", &[("before", string("In base64")), ("after", string("In base64"))]),
    ])
    .on("tools/call", |call| {
        let is_pixel = |name| call.argument(name) == PIXEL;
        match call.tool() {
            "render" => call.result(json!({"content": [{"type": "image", "mimeType": "image/png", "data": PIXEL}]})),
            "describe" => call.text(if is_pixel("image") { "one pixel" } else { "nothing" }),
            _ => call.text(if is_pixel("before") && is_pixel("after") { "no difference" } else { "different" }),
        }
    })
}

fn documents() -> Mcp {
    let pages = [
        ("docs://install.md", "# Install\nRun the installer.\n"),
        ("docs://errors.md", "# Errors\nAfter 429, retry later.\n"),
    ];
    let list: Vec<Value> =
        pages.iter().map(|(uri, _)| json!({"uri": uri, "name": uri, "mimeType": "text/markdown"})).collect();
    server(&[])
        .on("resources/list", move |call| call.result(json!({"resources": list, "ttlMs": 0, "cacheScope": "private"})))
        .on("resources/read", move |call| {
            let (uri, text) = pages.iter().find(|(uri, _)| call.params()["uri"] == *uri).unwrap();
            let contents = json!([{"uri": uri, "mimeType": "text/markdown", "text": text}]);
            call.result(json!({"contents": contents, "ttlMs": 0, "cacheScope": "private"}))
        })
}

/// A server that requires the token `secret-1`.
fn tickets() -> HttpServer {
    let script = Mcp::modern().http_script(LegacyHttpOptions::default());
    HttpServer::start(move |request| match request.header("authorization") {
        Some("Bearer secret-1") => script(request),
        _ => Reply::status(401),
    })
}

/// A server that requires a login, beside a page that accepts it.
fn crm() -> ProtectedServer {
    let tools = server(&[tool("list_leads", "List leads", &[])])
        .on("tools/call", |call| data(call, json!({"leads": [{"name": "Ada"}, {"name": "Grace"}]})));
    let crm = ProtectedServer::in_front_of(tools.http_script(LegacyHttpOptions::default()));
    crm.at_server(|request| {
        let is_page = request.target == "/whoami";
        let token = request.header("authorization").and_then(|header| header.strip_prefix("Bearer "));
        is_page.then(|| Reply::text("text/plain", if token.is_some() { "ada\n" } else { "nobody\n" }))
    });
    crm
}
