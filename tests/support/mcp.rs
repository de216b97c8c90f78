//! MCP servers of both eras: their responses, without a transport.
//!
//! [`Mcp::legacy`] and [`Mcp::modern`] are correct servers; a test changes the part that it is about with [`Mcp::on`]. The same
//! server works over stdio ([`Mcp::stdio`]) and HTTP (`mcp_http.rs`).

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::stdio::{ProcessEvent, StdioProcess, StdioServer};

/// One thing that a server does in response to a message.
pub enum ServerAction {
    Send(Value),
    /// A line (stdio) or the data of an event (HTTP), exactly as given.
    RawText(String),
    Pause(Duration),
    /// Sends a request from the server, waits for the client's answer, and continues with it.
    Request(Value, Box<dyn FnOnce(Value) -> Vec<ServerAction> + Send>),
}

/// One request or notification of the client.
pub struct ClientMessage<'a> {
    pub message: &'a Value,
    /// How many messages with this method came before.
    pub n: usize,
    modern: bool,
}

impl ClientMessage<'_> {
    pub fn id(&self) -> Value {
        self.message["id"].clone()
    }

    pub fn params(&self) -> &Value {
        &self.message["params"]
    }

    pub fn argument(&self, name: &str) -> &Value {
        &self.params()["arguments"][name]
    }

    pub fn tool(&self) -> &str {
        self.params()["name"].as_str().unwrap_or_default()
    }

    /// A response with this result; in the modern era with a `resultType` unless it has one.
    pub fn result(&self, result: Value) -> Vec<ServerAction> {
        vec![ServerAction::Send(self.response(result))]
    }

    pub fn response(&self, mut result: Value) -> Value {
        if let (true, Value::Object(result)) = (self.modern, &mut result) {
            result.entry("resultType").or_insert_with(|| "complete".into());
        }
        json!({"jsonrpc": "2.0", "id": self.id(), "result": result})
    }

    pub fn text(&self, text: &str) -> Vec<ServerAction> {
        self.result(json!({"content": [{"type": "text", "text": text}]}))
    }

    pub fn error(&self, code: i64, message: &str) -> Vec<ServerAction> {
        vec![ServerAction::Send(
            json!({"jsonrpc": "2.0", "id": self.id(), "error": {"code": code, "message": message}}),
        )]
    }

    pub fn error_with(&self, code: i64, message: &str, data: Value) -> Vec<ServerAction> {
        let error = json!({"code": code, "message": message, "data": data});
        vec![ServerAction::Send(json!({"jsonrpc": "2.0", "id": self.id(), "error": error}))]
    }

    /// A progress notification, if the client asked for progress.
    pub fn progress(&self, progress: u64, total: u64, message: &str) -> Option<ServerAction> {
        let token = self.params().get("_meta")?.get("progressToken")?;
        let params = json!({"progressToken": token, "progress": progress, "total": total, "message": message});
        Some(ServerAction::Send(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})))
    }
}

type Handler = Box<dyn Fn(&ClientMessage) -> Vec<ServerAction> + Send + Sync>;

/// A server.
pub struct Mcp {
    pub modern: bool,
    pub revision: &'static str,
    tools: Vec<Value>,
    page_size: usize,
    capabilities: Value,
    handlers: BTreeMap<String, Handler>,
    counts: Mutex<BTreeMap<String, usize>>,
    answers: (Mutex<BTreeMap<String, Value>>, Condvar),
}

impl Mcp {
    /// A correct server of this dated revision with a handshake.
    pub fn legacy(revision: &'static str) -> Self {
        Self::new(false, revision)
    }

    /// A correct server of 2026-07-28.
    pub fn modern() -> Self {
        Self::new(true, "2026-07-28")
    }

    fn new(modern: bool, revision: &'static str) -> Self {
        Mcp {
            modern,
            revision,
            tools: tools(),
            page_size: usize::MAX,
            capabilities: json!({"tools": {}, "resources": {}, "prompts": {}}),
            handlers: BTreeMap::new(),
            counts: Mutex::default(),
            answers: (Mutex::default(), Condvar::new()),
        }
    }

    /// Replaces the response to this method.
    pub fn on(
        mut self,
        method: &str,
        handler: impl Fn(&ClientMessage) -> Vec<ServerAction> + Send + Sync + 'static,
    ) -> Self {
        self.handlers.insert(method.to_owned(), Box::new(handler));
        self
    }

    pub fn tools(mut self, tools: Value) -> Self {
        self.tools = tools.as_array().unwrap().clone();
        self
    }

    /// With one tool, `do`, that has these parameters and returns its arguments.
    pub fn with_tool_schema(schema: Value) -> StdioServer {
        Mcp::modern()
            .tools(json!([{"name": "do", "inputSchema": schema}]))
            .on("tools/call", |call| call.text(&call.params()["arguments"].to_string()))
            .stdio()
    }

    /// Lists this many tools per page.
    pub fn page_size(mut self, size: usize) -> Self {
        self.page_size = size;
        self
    }

    pub fn capabilities(mut self, capabilities: Value) -> Self {
        self.capabilities = capabilities;
        self
    }

    /// What it does in response to one message of the client.
    pub fn handle(&self, message: &Value) -> Vec<ServerAction> {
        let Some(method) = message.get("method").and_then(Value::as_str) else {
            let id = message["id"].to_string();
            self.answers.0.lock().unwrap().insert(id, message.clone());
            self.answers.1.notify_all();
            return Vec::new();
        };
        let mut counts = self.counts.lock().unwrap();
        let count = counts.entry(method.to_owned()).or_default();
        let call = ClientMessage { message, n: *count, modern: self.modern };
        *count += 1;
        drop(counts);
        if let Some(handler) = self.handlers.get(method) {
            return handler(&call);
        }
        if message.get("id").is_none() {
            return Vec::new();
        }
        if self.modern
            && let Some(refusal) = reject_invalid_meta(&call)
        {
            return refusal;
        }
        self.standard_reply(method, &call)
    }

    /// The client's answer to a request from the server.
    pub fn wait_for_answer(&self, id: &Value) -> Value {
        let answers = self.answers.0.lock().unwrap();
        let waited = self
            .answers
            .1
            .wait_timeout_while(answers, Duration::from_secs(10), |all| !all.contains_key(&id.to_string()));
        waited.unwrap().0.remove(&id.to_string()).unwrap_or_else(|| panic!("the client never answered request {id}"))
    }

    fn standard_reply(&self, method: &str, call: &ClientMessage) -> Vec<ServerAction> {
        match method {
            "initialize" if !self.modern => call.result(json!({
                "protocolVersion": self.revision,
                "capabilities": self.capabilities,
                "serverInfo": {"name": "fake", "title": "Fake server", "version": "1.2.3"},
                "instructions": "Be kind to it.",
            })),
            "ping" if !self.modern => call.result(json!({})),
            "server/discover" if self.modern => call.result(json!({
                "supportedVersions": [self.revision],
                "capabilities": self.capabilities,
                "instructions": "Be kind to it.",
                "ttlMs": 0,
                "cacheScope": "private",
                "_meta": {"io.modelcontextprotocol/serverInfo":
                    {"name": "fake", "title": "Fake server", "version": "1.2.3"}},
            })),
            "tools/list" => self.list_tools_page(call),
            "resources/list" => self.list_result(
                call,
                "resources",
                json!([
                    {"uri": "demo://hello", "name": "hello", "description": "A greeting", "mimeType": "text/plain"},
                    {"uri": "demo://logo", "name": "logo", "mimeType": "image/png"},
                ]),
            ),
            "resources/templates/list" => self.list_result(
                call,
                "resourceTemplates",
                json!([
                    {"uriTemplate": "demo://item/{id}", "name": "item", "description": "One item"},
                ]),
            ),
            "prompts/list" => self.list_result(
                call,
                "prompts",
                json!([
                    {"name": "greet", "description": "Greets someone", "arguments": [
                        {"name": "who", "description": "Whom to greet", "required": true},
                        {"name": "tone"}]},
                ]),
            ),
            "tools/call" => self.call_tool(call),
            "resources/read" => self.read_resource(call),
            "prompts/get" => match call.params()["arguments"]["who"].as_str() {
                Some(who) if call.tool() == "greet" => {
                    call.result(json!({"description": "Greets someone", "messages": [
                        {"role": "user", "content": {"type": "text", "text": format!("Say hello to {who}")}},
                        {"role": "assistant", "content": {"type": "text", "text": format!("Hello {who}")}},
                    ]}))
                }
                _ => call.error(-32602, "Invalid prompt"),
            },
            _ => call.error(-32601, "Method not found"),
        }
    }

    fn list_result(&self, call: &ClientMessage, member: &str, items: Value) -> Vec<ServerAction> {
        let mut result = Map::new();
        result.insert(member.to_owned(), items);
        self.add_cache_fields(&mut result);
        call.result(Value::Object(result))
    }

    fn add_cache_fields(&self, result: &mut Map<String, Value>) {
        if self.modern {
            result.insert("ttlMs".to_owned(), 0.into());
            result.insert("cacheScope".to_owned(), "private".into());
        }
    }

    fn list_tools_page(&self, call: &ClientMessage) -> Vec<ServerAction> {
        let start: usize =
            call.params()["cursor"].as_str().map_or(0, |cursor| cursor.strip_prefix("from ").unwrap().parse().unwrap());
        let end = start.saturating_add(self.page_size).min(self.tools.len());
        let mut result = Map::new();
        result.insert("tools".to_owned(), self.tools[start..end].into());
        if end < self.tools.len() {
            result.insert("nextCursor".to_owned(), format!("from {end}").into());
        }
        self.add_cache_fields(&mut result);
        call.result(Value::Object(result))
    }

    fn call_tool(&self, call: &ClientMessage) -> Vec<ServerAction> {
        match call.tool() {
            "echo" => call.text(call.argument("text").as_str().unwrap_or_default()),
            "add" => {
                let total = call.argument("a").as_i64().unwrap_or(0) + call.argument("b").as_i64().unwrap_or(0);
                call.result(json!({
                    "content": [{"type": "text", "text": total.to_string()}],
                    "structuredContent": {"total": total},
                }))
            }
            "fail" => call.result(json!({"content": [{"type": "text", "text": "it is broken"}], "isError": true})),
            "image" => call.result(json!({"content": [
                {"type": "text", "text": "a pixel"},
                {"type": "image", "mimeType": "image/png", "data": PIXEL},
            ]})),
            "slow" => {
                let steps = call.argument("steps").as_u64().unwrap_or(3);
                let mut outs = Vec::new();
                for step in 1..=steps {
                    outs.extend(call.progress(step, steps, &format!("step {step}")));
                    outs.push(ServerAction::Pause(Duration::from_millis(30)));
                }
                outs.extend(call.text("done"));
                outs
            }
            name => call.error(-32602, &format!("Unknown tool: {name}")),
        }
    }

    fn read_resource(&self, call: &ClientMessage) -> Vec<ServerAction> {
        let uri = call.params()["uri"].as_str().unwrap_or_default();
        let content = match uri {
            "demo://hello" => json!({"uri": uri, "mimeType": "text/plain", "text": "hello\n"}),
            "demo://logo" => json!({"uri": uri, "mimeType": "image/png", "blob": PIXEL}),
            _ => match uri.strip_prefix("demo://item/") {
                Some(id) => json!({"uri": uri, "text": format!("item {id}")}),
                None => return call.error(if self.modern { -32602 } else { -32002 }, "Resource not found"),
            },
        };
        let mut result = Map::new();
        result.insert("contents".to_owned(), json!([content]));
        self.add_cache_fields(&mut result);
        call.result(Value::Object(result))
    }

    /// This server over stdio.
    pub fn stdio(self) -> StdioServer {
        let mcp = Arc::new(self);
        StdioServer::start(move |process, event| match event {
            ProcessEvent::Line(line) => {
                let message: Value = serde_json::from_str(&line).expect("the client writes JSON lines");
                play_actions(&mcp, process, mcp.handle(&message));
            }
            ProcessEvent::Eof => process.exit(0),
            ProcessEvent::Started | ProcessEvent::Signal(_) => {}
        })
    }
}

/// The connection from a scripted server to its client over one stream.
pub trait ScriptedOutput: Clone + Send + 'static {
    fn send(&self, message: &Value);
    /// One message, or text in place of one.
    fn send_raw_text(&self, text: String);
}

impl ScriptedOutput for StdioProcess {
    fn send(&self, message: &Value) {
        StdioProcess::send(self, message);
    }

    fn send_raw_text(&self, text: String) {
        self.write(text + "\n");
    }
}

/// Plays the actions of a server over one stream; slow ones continue during the next messages.
pub fn play_actions<V: ScriptedOutput>(mcp: &Arc<Mcp>, process: &V, outs: Vec<ServerAction>) {
    let mut outs = outs.into_iter();
    while let Some(out) = outs.next() {
        match out {
            ServerAction::Send(message) => process.send(&message),
            ServerAction::RawText(text) => process.send_raw_text(text),
            slow => {
                let (mcp, process) = (Arc::clone(mcp), process.clone());
                let rest: Vec<ServerAction> = outs.collect();
                std::thread::spawn(move || {
                    match slow {
                        ServerAction::Pause(time) => std::thread::sleep(time),
                        ServerAction::Request(request, then) => {
                            process.send(&request);
                            let answer = mcp.wait_for_answer(&request["id"]);
                            play_actions(&mcp, &process, then(answer));
                        }
                        ServerAction::Send(_) | ServerAction::RawText(_) => unreachable!("played above"),
                    }
                    play_actions(&mcp, &process, rest);
                });
                return;
            }
        }
    }
}

/// The response of a strict modern server to a request without the required fields.
fn reject_invalid_meta(call: &ClientMessage) -> Option<Vec<ServerAction>> {
    let meta = &call.params()["_meta"];
    match meta["io.modelcontextprotocol/protocolVersion"].as_str() {
        Some("2026-07-28") if meta["io.modelcontextprotocol/clientCapabilities"].is_object() => None,
        Some("2026-07-28") | None => Some(call.error(-32602, "Missing _meta")),
        Some(other) => Some(call.error_with(
            -32022,
            "Unsupported protocol version",
            json!({"supported": ["2026-07-28"], "requested": other}),
        )),
    }
}

/// A PNG of one transparent pixel.
pub const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";

/// The tools of the predefined servers.
pub fn tools() -> Vec<Value> {
    let tools = json!([
        {
            "name": "echo", "title": "Echo", "description": "Says what it is told.\nNothing else.",
            "inputSchema": {"type": "object", "properties": {
                "text": {"type": "string", "description": "What to say"}}, "required": ["text"]},
            "annotations": {"readOnlyHint": true},
        },
        {
            "name": "add", "description": "Adds two integers",
            "inputSchema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"]},
            "outputSchema": {"type": "object", "properties": {"total": {"type": "integer"}}, "required": ["total"]},
        },
        {"name": "fail", "description": "Always fails", "inputSchema": {"type": "object"}},
        {"name": "image", "description": "Returns a picture", "inputSchema": {"type": "object"}},
        {
            "name": "slow", "description": "Reports progress",
            "inputSchema": {"type": "object", "properties": {"steps": {"type": "integer", "default": 3}}},
        },
    ]);
    tools.as_array().unwrap().clone()
}
