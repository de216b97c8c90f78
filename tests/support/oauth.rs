//! A protected MCP server and its authorization server, each on its own origin.
//!
//! They are correct; a test changes the part that it is about ([`ProtectedServer::override_metadata`], [`ProtectedServer::at_issuer`], …). A request
//! that a client should not send fails the test, and every secret that was sent is recorded, so that a test can check that
//! it is not shown.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::http::{HttpServer, Request};
use super::mcp::Mcp;
use super::mcp_http::LegacyHttpOptions;
use super::oauth_peer::{authorization_server_reply, resource_reply};
use super::reply::Reply;
use super::sandbox::{Mcpipe, Run, Sandbox};

type ReplyHook = Box<dyn Fn(&Request) -> Option<Reply> + Send>;

/// The state and the settings of both servers.
#[derive(Default)]
pub struct OAuthState {
    /// Access tokens issued; the number is in the name of the token.
    pub issued: AtomicUsize,
    /// The lifetime of tokens in seconds; if 0, the server does not state it.
    pub token_lifetime_secs: AtomicUsize,
    pub(super) https: bool,
    /// The delay of the token endpoint, in ms.
    pub token_delay_ms: AtomicUsize,
    /// Access tokens that are no longer valid.
    pub revoked: Mutex<Vec<String>>,
    /// Refresh requests are received and never answered.
    pub ignores_refresh: AtomicBool,
    /// Token requests need no resource.
    pub allows_missing_resource: AtomicBool,
    /// Whether token responses contain a refresh token, and refresh responses a new one.
    pub keeps_refresh_token: AtomicBool,
    /// Overrides members of the authorization server's metadata.
    pub(super) metadata: Mutex<Value>,
    /// Overrides members of the resource's metadata.
    pub(super) resource: Mutex<Value>,
    /// Overrides parameters of the redirect; `None` removes one.
    pub(super) redirect: Mutex<Vec<(String, Option<String>)>>,
    /// Responses that replace the usual ones.
    at_issuer: Mutex<Vec<ReplyHook>>,
    at_server: Mutex<Vec<ReplyHook>>,
    /// Everything that must never be displayed.
    secrets: Mutex<BTreeSet<String>>,
}

fn listen(
    tls: Option<Arc<rustls::ServerConfig>>,
    script: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> HttpServer {
    match tls {
        Some(config) => HttpServer::tls(config, script),
        None => HttpServer::start(script),
    }
}

impl OAuthState {
    pub(super) fn origin(&self, request: &Request) -> String {
        format!("http{}://{}", if self.https { "s" } else { "" }, request.header("host").expect("a Host"))
    }

    pub(super) fn remember_secret(&self, text: &str) -> String {
        self.secrets.lock().unwrap().insert(text.to_owned());
        text.to_owned()
    }

    /// Records the secrets in a request.
    fn remember_request_secrets(&self, request: &Request) {
        for name in ["authorization", "dpop"] {
            if let Some((_, token)) = request.header(name).map(|value| value.split_once(' ').unwrap_or(("", value))) {
                self.remember_secret(token);
            }
        }
        if request.header("content-type") == Some("application/x-www-form-urlencoded") {
            for (name, value) in parse_form(request) {
                let secret = ["code", "code_verifier", "client_secret", "client_assertion", "assertion", "token"];
                if secret.contains(&name.as_str()) || name.ends_with("_token") || name == "device_code" {
                    self.remember_secret(&value);
                }
            }
        }
    }
}

/// The two servers.
pub struct ProtectedServer {
    pub mcp: HttpServer,
    pub issuer: HttpServer,
    pub ledger: Arc<OAuthState>,
}

impl ProtectedServer {
    /// A modern server with the usual tools; `tools/call` requires the scope `call`, other requests `read`.
    pub fn start() -> Self {
        Self::in_front_of(Mcp::modern().http_script(LegacyHttpOptions::default()))
    }

    /// The same in front of another server.
    pub fn in_front_of(inner: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::with(None, inner)
    }

    /// Both servers behind TLS.
    pub fn tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::with(Some(config), Mcp::modern().http_script(LegacyHttpOptions::default()))
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>, inner: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let ledger = Arc::new(OAuthState { https: tls.is_some(), ..OAuthState::default() });
        ledger.token_lifetime_secs.store(3600, Ordering::SeqCst);
        let books = ledger.clone();
        let issuer = listen(tls.clone(), move |request| {
            books.remember_request_secrets(request);
            let bent = books.at_issuer.lock().unwrap().iter().find_map(|hook| hook(request));
            bent.unwrap_or_else(|| authorization_server_reply(&books, request))
        });
        let (named, books) = (issuer.url(""), ledger.clone());
        let mcp = listen(tls, move |request| {
            books.remember_request_secrets(request);
            let bent = books.at_server.lock().unwrap().iter().find_map(|hook| hook(request));
            bent.unwrap_or_else(|| resource_reply(&books, &named, request, &inner))
        });
        ProtectedServer { mcp, issuer, ledger }
    }

    pub fn url(&self) -> String {
        self.mcp.url("/mcp")
    }

    /// Overrides these members of the authorization server's metadata; `null` removes one.
    pub fn override_metadata(&self, over: Value) -> &Self {
        *self.ledger.metadata.lock().unwrap() = over;
        self
    }

    /// Overrides these members of the resource's metadata.
    pub fn override_resource_metadata(&self, over: Value) -> &Self {
        *self.ledger.resource.lock().unwrap() = over;
        self
    }

    /// Overrides one parameter of the redirect.
    pub fn override_redirect(&self, name: &str, value: Option<&str>) -> &Self {
        self.ledger.redirect.lock().unwrap().push((name.to_owned(), value.map(ToOwned::to_owned)));
        self
    }

    /// Responds in place of the authorization server if the hook does.
    pub fn at_issuer(&self, hook: impl Fn(&Request) -> Option<Reply> + Send + 'static) -> &Self {
        self.ledger.at_issuer.lock().unwrap().push(Box::new(hook));
        self
    }

    /// Responds in place of the MCP server if the hook does.
    pub fn at_server(&self, hook: impl Fn(&Request) -> Option<Reply> + Send + 'static) -> &Self {
        self.ledger.at_server.lock().unwrap().push(Box::new(hook));
        self
    }

    /// The authorization server returns these responses for this endpoint first, in order.
    pub fn queue_replies(&self, path: &'static str, answers: Vec<Reply>) -> &Self {
        let answers = Mutex::new(VecDeque::from(answers));
        self.at_issuer(move |request| match request.target == path {
            true => answers.lock().unwrap().pop_front(),
            false => None,
        })
    }

    /// The next token requests are rejected with this error.
    pub fn deny_token_requests(&self, status: u16, error: &str) -> &Self {
        self.queue_replies("/token", vec![oauth_error(status, error)])
    }

    /// The requests to the authorization server, by method and path.
    pub fn issuer_requests(&self) -> Vec<String> {
        self.issuer.requests().iter().map(request_line).collect()
    }

    /// How many of them the authorization server received.
    pub fn count_issuer_requests(&self, line: &str) -> usize {
        self.issuer_requests().iter().filter(|asked| *asked == line).count()
    }

    /// The forms that the token endpoint received, in order.
    pub fn token_forms(&self) -> Vec<HashMap<String, String>> {
        self.issuer.requests().iter().filter(|request| request.target == "/token").map(parse_form).collect()
    }

    /// The requested grants, in order.
    pub fn requested_grants(&self) -> Vec<String> {
        self.token_forms().iter().map(|form| form["grant_type"].clone()).collect()
    }

    /// The parameters of the browser's authorization requests, in order. mcpipe itself fetches the page to find out
    /// whether an earlier registration is still known.
    pub fn authorization_requests(&self) -> Vec<HashMap<String, String>> {
        let requests = self.issuer.requests();
        let of_browser = requests.iter().filter(|request| request.header("accept") != Some("text/html,*/*;q=0.8"));
        let queries = of_browser.filter_map(|request| request.target.strip_prefix("/authorize?"));
        queries.map(|query| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()).collect()
    }

    /// Fails unless there was one registration for each redirect: a port may be in use when it is needed again.
    #[track_caller]
    pub fn registered_once_for_each_redirect(&self) {
        let redirects: BTreeSet<String> =
            self.authorization_requests().into_iter().map(|query| query["redirect_uri"].clone()).collect();
        assert_eq!(self.count_issuer_requests("POST /register"), redirects.len(), "{redirects:?}");
    }

    /// Logs in with a browser that follows the redirects.
    pub fn log_in(&self, sandbox: &Sandbox) {
        sandbox.mcpipe(["auth", "login", &self.url()]).with_browser().run().exits(0);
    }

    /// Creates a login whose token has expired; returns how many grants it took.
    pub fn log_in_with_expired_token(&self, sandbox: &Sandbox) -> usize {
        self.log_in_with_expired_token_by(sandbox, || self.log_in(sandbox))
    }

    /// The same with this way to log in.
    pub fn log_in_with_expired_token_by(&self, sandbox: &Sandbox, log_in: impl FnOnce()) -> usize {
        log_in();
        sandbox.expire_stored_tokens();
        self.requested_grants().len()
    }

    /// Fails if this text contains any secret that was ever sent.
    #[track_caller]
    pub fn assert_no_secret_in(&self, text: &str) {
        let secrets = self.ledger.secrets.lock().unwrap();
        assert!(!secrets.is_empty(), "nothing secret happened");
        for secret in secrets.iter().filter(|secret| secret.len() > 2) {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [secret, &encoded] {
                assert!(!text.contains(form.as_str()), "the secret {form:?} is in\n{text}");
            }
        }
    }

    /// The same for everything that these runs wrote, including the files of the sandbox except the credential store,
    /// and for every requested address.
    #[track_caller]
    pub fn assert_no_secret_left(&self, sandbox: &Sandbox, runs: &[&Run]) {
        for run in runs {
            self.assert_no_secret_in(&format!("{run:?}"));
        }
        for request in self.issuer.requests().iter().chain(&self.mcp.requests()) {
            self.assert_no_secret_in(&request.target);
        }
        // Files in `work` belong to the user.
        for (path, text) in ["home", "tmp", "run"].iter().flat_map(|dir| files_below(&sandbox.path().join(dir))) {
            if !path.ends_with("credentials.json") {
                self.assert_no_secret_in(&text);
            }
        }
    }
}

impl Mcpipe {
    /// A program for `BROWSER` that follows redirects.
    pub fn with_browser(self) -> Self {
        self.env("BROWSER", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/browser"))
    }
}

impl Sandbox {
    /// What `auth status` shows about every login, without clients that are registered for an unfinished one.
    pub fn login_status(&self) -> Value {
        let all = self.stored_credentials();
        all.as_array().unwrap().iter().filter(|stored| stored["state"] != "registered").cloned().collect()
    }

    /// The output of `auth status`.
    pub fn stored_credentials(&self) -> Value {
        self.mcpipe(["auth", "status", "--json"]).run().exits(0).json()["credentials"].clone()
    }

    /// Lets every token in the file of credentials expire, without waiting and without a short lifetime that could end
    /// during the login itself.
    pub fn expire_stored_tokens(&self) {
        let path = self.path().join("home/.local/share/mcpipe/credentials.json");
        let mut stored: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        for stored in stored["records"].as_object_mut().unwrap().values_mut() {
            let mut record: Value = serde_json::from_str(stored["record"].as_str().unwrap()).unwrap();
            let Some(tokens) = record.get_mut("tokens").filter(|tokens| tokens.is_object()) else { continue };
            tokens["expires_at"] = tokens["obtained_at"].clone();
            stored["about"]["expires_at"] = tokens["obtained_at"].clone();
            stored["record"] = record.to_string().into();
        }
        std::fs::write(&path, stored.to_string()).unwrap();
    }

    /// Calls a tool that requires the scope `call`.
    pub fn call_add(&self, url: &str, words: &[&str]) -> Run {
        self.mcpipe(["call", url, "add", "a=1", "b=2"]).args(words.iter().copied()).with_browser().run()
    }
}

pub fn parse_form(request: &Request) -> HashMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

/// Method and path.
pub fn request_line(request: &Request) -> String {
    format!("{} {}", request.method, request.target.split('?').next().unwrap_or_default())
}

/// An error response of an OAuth endpoint.
pub fn oauth_error(status: u16, error: &str) -> Reply {
    Reply::json(&json!({"error": error, "error_description": format!("said {error}")})).with_status(status)
}

/// The content of every file below a directory.
fn files_below(dir: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(files_below(&entry.path())),
            Ok(kind) if kind.is_file() => {
                let text = std::fs::read(entry.path()).unwrap();
                all.push((entry.path(), String::from_utf8_lossy(&text).into_owned()));
            }
            _ => {}
        }
    }
    all
}
