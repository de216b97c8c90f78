//! A protected MCP server and its authorization server, each on an origin of its own.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{HttpServer, Request};
use super::mcp::Mcp;
use super::mcp_http::Legacy;
use super::reply::Reply;
use super::sandbox::{Mcpipe, Sandbox};

/// What the authorization server remembers and how it behaves.
#[derive(Default)]
pub struct Ledger {
    /// Access tokens issued; the number is in the name of the token.
    pub issued: AtomicUsize,
    /// How long tokens live, in seconds.
    pub life: AtomicUsize,
    /// How long the token endpoint thinks, in ms.
    pub thinks: AtomicUsize,
    /// Access tokens that are good no more.
    pub revoked: Mutex<Vec<String>>,
    /// A refresh is heard and never answered.
    pub mute: AtomicBool,
}

/// The two servers.
pub struct Protected {
    pub mcp: HttpServer,
    pub issuer: HttpServer,
    pub ledger: Arc<Ledger>,
}

impl Protected {
    /// A modern server with the usual tools; `tools/call` wants the scope `call`, the rest `read`.
    pub fn start() -> Self {
        let ledger = Arc::new(Ledger::default());
        ledger.life.store(3600, Ordering::SeqCst);
        let books = ledger.clone();
        let issuer = HttpServer::start(move |request| authorization(&books, request));
        let (named, books) = (issuer.url(""), ledger.clone());
        let inner = Mcp::modern().http_script(Legacy::default());
        let mcp = HttpServer::start(move |request| resource(&books, &named, request, &inner));
        Protected { mcp, issuer, ledger }
    }

    pub fn url(&self) -> String {
        self.mcp.url("/mcp")
    }

    /// What was asked at the authorization server, by method and path.
    pub fn asked(&self) -> Vec<String> {
        let line = |request: &Request| {
            let path = request.target.split('?').next().unwrap_or_default();
            format!("{} {path}", request.method)
        };
        self.issuer.requests().iter().map(line).collect()
    }

    /// The grants asked for, in order.
    pub fn grants(&self) -> Vec<String> {
        let tokens = self.issuer.requests().into_iter().filter(|request| request.target == "/token");
        tokens.map(|request| form(&request)["grant_type"].clone()).collect()
    }

    /// Logs in, with a browser that follows the page.
    pub fn log_in(&self, sandbox: &Sandbox) {
        sandbox.mcpipe(["auth", "login", &self.url()]).with_browser().run().exits(0);
    }
}

impl Mcpipe {
    /// `BROWSER` is a program that follows redirects.
    pub fn with_browser(self) -> Self {
        self.env("BROWSER", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/browser"))
    }
}

pub fn form(request: &Request) -> HashMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

fn resource(ledger: &Ledger, issuer: &str, request: &Request, inner: &impl Fn(&Request) -> Reply) -> Reply {
    let origin = format!("http://{}", request.header("host").expect("a Host"));
    if request.target == "/.well-known/oauth-protected-resource/mcp" {
        return Reply::json(&json!({"resource": format!("{origin}/mcp"), "authorization_servers": [issuer]}));
    }
    assert_eq!(request.target, "/mcp", "nothing else is asked of the server");
    let metadata = format!("resource_metadata=\"{origin}/.well-known/oauth-protected-resource/mcp\"");
    let wants = |scope: &str, status: u16, error: &str| {
        let challenge = format!("Bearer {metadata}, scope=\"{scope}\"{error}");
        Reply::text("text/plain", "no").with_status(status).header("WWW-Authenticate", &challenge)
    };
    let Some(token) = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) else {
        return wants("read", 401, "");
    };
    let good = token.starts_with("access-") && !ledger.revoked.lock().unwrap().iter().any(|one| one == token);
    if !good {
        return wants("read", 401, ", error=\"invalid_token\"");
    }
    if request.rpc() == "tools/call" && !token.ends_with("-call") {
        return wants("call", 403, ", error=\"insufficient_scope\"");
    }
    inner(request)
}

fn authorization(ledger: &Ledger, request: &Request) -> Reply {
    let issuer = format!("http://{}", request.header("host").expect("a Host"));
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match (request.method.as_str(), path) {
        ("GET", "/.well-known/oauth-authorization-server") => Reply::json(&json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "registration_endpoint": format!("{issuer}/register"),
            "revocation_endpoint": format!("{issuer}/revoke"),
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": true,
        })),
        ("POST", "/register") => Reply::json(&json!({"client_id": "mcpipe-1"})).with_status(201),
        ("GET", "/authorize") => {
            let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
            let code =
                if query.get("scope").is_some_and(|scope| scope.contains("call")) { "c0de-call" } else { "c0de" };
            let back = url::form_urlencoded::Serializer::new(format!("{}?", query["redirect_uri"]))
                .append_pair("code", code)
                .append_pair("state", &query["state"])
                .append_pair("iss", &issuer)
                .finish();
            Reply::status(302).header("Location", &back.replacen("?&", "?", 1))
        }
        ("POST", "/token") => token(ledger, request),
        ("POST", "/revoke") => {
            ledger.revoked.lock().unwrap().push(form(request)["token"].clone());
            Reply::status(200)
        }
        other => panic!("not asked by a client that follows the rules: {other:?}"),
    }
}

/// Refresh tokens rotate; an old one is refused.
fn token(ledger: &Ledger, request: &Request) -> Reply {
    let form = form(request);
    assert!(form.contains_key("resource"), "the resource goes with every token request: {form:?}");
    assert!(request.header("x-key").is_none(), "configured headers are for the server alone");
    let number = ledger.issued.load(Ordering::SeqCst);
    let mut rights = "";
    if form["grant_type"] == "refresh_token" {
        if ledger.mute.load(Ordering::SeqCst) {
            return Reply::silence();
        }
        if !form["refresh_token"].starts_with(&format!("refresh-{number}")) {
            return Reply::json(&json!({"error": "invalid_grant", "error_description": "reuse"})).with_status(400);
        }
    }
    if form.get("code").is_some_and(|code| code.ends_with("-call"))
        || form.get("refresh_token").is_some_and(|token| token.ends_with("-call"))
    {
        rights = "-call";
    }
    let number = ledger.issued.fetch_add(1, Ordering::SeqCst) + 1;
    std::thread::sleep(Duration::from_millis(ledger.thinks.load(Ordering::SeqCst) as u64));
    let answer: Value = json!({
        "access_token": format!("access-{number}{rights}"),
        "refresh_token": format!("refresh-{number}{rights}"),
        "token_type": "Bearer",
        "expires_in": ledger.life.load(Ordering::SeqCst),
    });
    Reply::json(&answer)
}
