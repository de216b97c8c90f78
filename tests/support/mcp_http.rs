//! The servers of `mcp.rs` over HTTP: Streamable HTTP of both eras, and HTTP+SSE of 2024-11-05.
//!
//! They are strict: a missing header that the revision requires, or one that it forbids, fails the test.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{HttpServer, Request};
use super::mcp::{Mcp, ServerAction};
use super::reply::{Feed, Reply};

/// Choices that the specification leaves to a legacy Streamable HTTP server.
#[derive(Clone, Default)]
pub struct LegacyHttpOptions {
    /// The session id that it assigns.
    pub session_id: Option<&'static str>,
    /// The content of the GET stream if one is offered; otherwise 405.
    pub get_stream: Option<Feed>,
    /// Responds with an event stream even if one message is enough.
    pub always_streams: bool,
}

impl Mcp {
    /// This server over Streamable HTTP, for its era.
    pub fn http(self) -> HttpServer {
        let behave = LegacyHttpOptions { session_id: Some("session-1"), ..LegacyHttpOptions::default() };
        self.http_as(behave)
    }

    pub fn http_as(self, behave: LegacyHttpOptions) -> HttpServer {
        HttpServer::start(self.http_script(behave))
    }

    /// The script alone, for a server behind TLS or one that a test modifies further.
    pub fn http_script(self, behave: LegacyHttpOptions) -> impl Fn(&Request) -> Reply + Send + Sync + 'static {
        let mcp = Arc::new(self);
        move |request| match request.header("origin") {
            // As servers must: no request of a web page.
            Some(_) => Reply::text("text/plain", "Invalid Origin header").with_status(403),
            None if mcp.modern => modern_reply(&mcp, request),
            None => legacy_reply(&mcp, request, &behave),
        }
    }

    /// This server over HTTP+SSE: GET `/sse`, POST `/messages`.
    pub fn sse(self) -> HttpServer {
        self.sse_at("/sse")
    }

    /// The same with another path of the stream.
    pub fn sse_at(self, path: &'static str) -> HttpServer {
        self.sse_refusing(path, 404)
    }

    /// The same, which rejects other requests with this status.
    pub fn sse_refusing(self, path: &'static str, status: u16) -> HttpServer {
        let mcp = Arc::new(self);
        let feed = Feed::default();
        HttpServer::start(move |request| match (request.method.as_str(), request.target.as_str()) {
            ("GET", target) if target == path => {
                assert_eq!(request.header("accept"), Some("text/event-stream"), "the Accept of HTTP+SSE");
                Reply::sse().write("event: endpoint\ndata: /messages?session=7\n\n").feed(&feed)
            }
            ("POST", "/messages?session=7") => {
                let (mcp, feed, message) = (Arc::clone(&mcp), feed.clone(), request.json());
                std::thread::spawn(move || send_to_feed(&mcp, &feed, mcp.handle(&message)));
                Reply::text("text/plain", "Accepted").with_status(202)
            }
            _ => Reply::text("text/plain", "Cannot do that").with_status(status),
        })
    }
}

fn send_to_feed(mcp: &Mcp, feed: &Feed, outs: Vec<ServerAction>) {
    for out in outs {
        match out {
            ServerAction::Send(message) => feed.event(&message),
            ServerAction::RawText(text) => feed.send(format!("data: {text}\n\n")),
            ServerAction::Pause(time) => std::thread::sleep(time),
            ServerAction::Request(request, then) => {
                feed.event(&request);
                send_to_feed(mcp, feed, then(mcp.wait_for_answer(&request["id"])));
            }
        }
    }
}

/// Requirements of both eras for a POST.
fn check_post(request: &Request) {
    let accept = request.header("accept").unwrap_or_default();
    for one in ["application/json", "text/event-stream"] {
        assert!(accept.contains(one), "Accept must name {one}: {}", request.head);
    }
    let content_type = request.header("content-type").unwrap_or_default();
    assert!(content_type.starts_with("application/json"), "Content-Type must be JSON: {}", request.head);
}

fn legacy_reply(mcp: &Arc<Mcp>, request: &Request, behave: &LegacyHttpOptions) -> Reply {
    if request.method != "POST" {
        check_session(mcp, request, behave);
        return match (request.method.as_str(), &behave.get_stream) {
            ("GET", Some(feed)) => Reply::sse().write(": here\n\n").feed(feed),
            ("DELETE", _) if behave.session_id.is_some() => Reply::status(200),
            _ => Reply::status(405).header("Allow", "POST"),
        };
    }
    check_post(request);
    let message = request.json();
    let method = request.rpc_method();
    if method == "initialize" {
        assert_eq!(request.header("mcp-session-id"), None, "initialize carries no session id");
        assert_eq!(request.header("mcp-protocol-version"), None, "initialize negotiates the revision");
        let reply = to_reply(mcp, &message, behave.always_streams);
        return match behave.session_id {
            Some(session) => reply.header("Mcp-Session-Id", session),
            None => reply,
        };
    }
    if method == "server/discover" || request.header("mcp-method").is_some() {
        // The response of servers of the official TypeScript SDK before a session exists.
        let error = json!({"code": -32000, "message": "Bad Request: Server not initialized"});
        return Reply::json(&json!({"jsonrpc": "2.0", "error": error, "id": null})).with_status(400);
    }
    check_session(mcp, request, behave);
    if message.get("id").is_none() || message.get("method").is_none() {
        mcp.handle(&message);
        return Reply::accepted();
    }
    to_reply(mcp, &message, behave.always_streams)
}

fn check_session(mcp: &Mcp, request: &Request, behave: &LegacyHttpOptions) {
    assert_eq!(request.header("mcp-session-id"), behave.session_id, "the session id: {}", request.head);
    if mcp.revision >= "2025-06-18" {
        assert_eq!(request.header("mcp-protocol-version"), Some(mcp.revision), "the revision: {}", request.head);
    }
}

fn modern_reply(mcp: &Arc<Mcp>, request: &Request) -> Reply {
    assert_eq!(request.method, "POST", "the modern era knows only POST: {}", request.head);
    check_post(request);
    assert_eq!(request.header("mcp-session-id"), None, "the modern era knows no sessions: {}", request.head);
    let message = request.json();
    if request.rpc_method() == "initialize" {
        let error = json!({"code": -32022, "message": "Unsupported protocol version",
            "data": {"supported": ["2026-07-28"], "requested": message["params"]["protocolVersion"]}});
        return Reply::json(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error})).with_status(400);
    }
    assert!(message.get("id").is_some() && message.get("method").is_some(), "only requests: {}", request.text());
    let params = &message["params"];
    let name = match message["method"].as_str().unwrap_or_default() {
        "tools/call" | "prompts/get" => &params["name"],
        "resources/read" => &params["uri"],
        method if method.starts_with("tasks/") => &params["taskId"],
        _ => &Value::Null,
    };
    let expected = [
        ("mcp-protocol-version", params["_meta"]["io.modelcontextprotocol/protocolVersion"].as_str()),
        ("mcp-method", message["method"].as_str()),
        ("mcp-name", name.as_str()),
    ];
    for (name, value) in expected {
        assert_eq!(request.header(name), value, "{name} must mirror the body: {}\n{}", request.head, request.text());
    }
    to_reply(mcp, &message, false)
}

/// The response to one request: a JSON body if it is one message, otherwise an event stream.
pub fn to_reply(mcp: &Arc<Mcp>, message: &Value, always_stream: bool) -> Reply {
    let outs = mcp.handle(message);
    if let ([ServerAction::Send(only)], false) = (outs.as_slice(), always_stream) {
        let status = match (mcp.modern, only["error"]["code"].as_i64()) {
            (true, Some(-32601)) => 404,
            (true, Some(-32022..=-32020)) => 400,
            _ => 200,
        };
        return Reply::json(only).with_status(status);
    }
    let mut reply = Reply::sse();
    for out in outs {
        reply = match out {
            ServerAction::Send(message) => reply.event(&message),
            ServerAction::RawText(text) => reply.write(format!("data: {text}\n\n")),
            ServerAction::Pause(time) => reply.pause(time),
            ServerAction::Request(request, then) => {
                let (mcp, id) = (Arc::clone(mcp), request["id"].clone());
                reply.event(&request).later(move || {
                    let mut bytes = Vec::new();
                    append_events(&mcp, then(mcp.wait_for_answer(&id)), &mut bytes);
                    bytes
                })
            }
        };
    }
    reply
}

/// The end of a response that waited for the client's answer.
fn append_events(mcp: &Mcp, outs: Vec<ServerAction>, bytes: &mut Vec<u8>) {
    for out in outs {
        match out {
            ServerAction::Send(message) => bytes.extend_from_slice(format!("data: {message}\n\n").as_bytes()),
            ServerAction::RawText(text) => bytes.extend_from_slice(format!("data: {text}\n\n").as_bytes()),
            ServerAction::Pause(time) => std::thread::sleep(time.min(Duration::from_secs(1))),
            ServerAction::Request(request, _) => {
                panic!("only one question an answer is supported over HTTP: {request} after {:?}", mcp.revision)
            }
        }
    }
}
