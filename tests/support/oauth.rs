//! A protected MCP server and its authorization server, each on an origin of its own.
//!
//! They behave; a test bends what it is about ([`Protected::metadata`], [`Protected::at_issuer`], …). Whatever is
//! asked besides what a client should ask fails the test, and everything secret that ever went over the wire is
//! remembered, so that a test can look for it where it must not be.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::{HttpServer, Request};
use super::mcp::Mcp;
use super::mcp_http::Legacy;
use super::reply::Reply;
use super::sandbox::{Mcpipe, Run, Sandbox};

type Hook = Box<dyn Fn(&Request) -> Option<Reply> + Send>;

/// What the servers remember and how they behave.
#[derive(Default)]
pub struct Ledger {
    /// Access tokens issued; the number is in the name of the token.
    pub issued: AtomicUsize,
    /// How long tokens live, in seconds; where 0, the server does not say.
    pub life: AtomicUsize,
    /// How long the token endpoint thinks, in ms.
    pub thinks: AtomicUsize,
    /// Access tokens that are good no more.
    pub revoked: Mutex<Vec<String>>,
    /// A refresh is heard and never answered.
    pub mute: AtomicBool,
    /// No refresh token comes with a token, or no other one with a refresh.
    pub keeps: AtomicBool,
    /// Laid over the metadata of the authorization server.
    metadata: Mutex<Value>,
    /// Laid over the metadata of the resource.
    resource: Mutex<Value>,
    /// Laid over the parameters of the redirect; `None` leaves one out.
    redirect: Mutex<Vec<(String, Option<String>)>>,
    /// Answers in place of the usual ones.
    at_issuer: Mutex<Vec<Hook>>,
    at_server: Mutex<Vec<Hook>>,
    /// Everything that must never be seen.
    secrets: Mutex<BTreeSet<String>>,
}

impl Ledger {
    fn secret(&self, text: &str) -> String {
        self.secrets.lock().unwrap().insert(text.to_owned());
        text.to_owned()
    }

    /// Remembers what is secret about a request.
    fn hear(&self, request: &Request) {
        for name in ["authorization", "dpop"] {
            if let Some((_, token)) = request.header(name).map(|value| value.split_once(' ').unwrap_or(("", value))) {
                self.secret(token);
            }
        }
        if request.header("content-type") == Some("application/x-www-form-urlencoded") {
            for (name, value) in form(request) {
                let secret = ["code", "code_verifier", "client_secret", "client_assertion", "assertion", "token"];
                if secret.contains(&name.as_str()) || name.ends_with("_token") || name == "device_code" {
                    self.secret(&value);
                }
            }
        }
    }
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
        Self::before(Mcp::modern().http_script(Legacy::default()))
    }

    /// The same before another server.
    pub fn before(inner: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let ledger = Arc::new(Ledger::default());
        ledger.life.store(3600, Ordering::SeqCst);
        let books = ledger.clone();
        let issuer = HttpServer::start(move |request| {
            books.hear(request);
            let bent = books.at_issuer.lock().unwrap().iter().find_map(|hook| hook(request));
            bent.unwrap_or_else(|| authorization(&books, request))
        });
        let (named, books) = (issuer.url(""), ledger.clone());
        let mcp = HttpServer::start(move |request| {
            books.hear(request);
            let bent = books.at_server.lock().unwrap().iter().find_map(|hook| hook(request));
            bent.unwrap_or_else(|| resource(&books, &named, request, &inner))
        });
        Protected { mcp, issuer, ledger }
    }

    pub fn url(&self) -> String {
        self.mcp.url("/mcp")
    }

    /// Lays these members over the metadata of the authorization server; `null` takes one away.
    pub fn metadata(&self, over: Value) -> &Self {
        *self.ledger.metadata.lock().unwrap() = over;
        self
    }

    /// Lays these members over the metadata of the resource.
    pub fn resource(&self, over: Value) -> &Self {
        *self.ledger.resource.lock().unwrap() = over;
        self
    }

    /// Bends one parameter of the redirect.
    pub fn redirect(&self, name: &str, value: Option<&str>) -> &Self {
        self.ledger.redirect.lock().unwrap().push((name.to_owned(), value.map(ToOwned::to_owned)));
        self
    }

    /// Answers in place of the authorization server, where the hook does.
    pub fn at_issuer(&self, hook: impl Fn(&Request) -> Option<Reply> + Send + 'static) -> &Self {
        self.ledger.at_issuer.lock().unwrap().push(Box::new(hook));
        self
    }

    /// Answers in place of the MCP server, where the hook does.
    pub fn at_server(&self, hook: impl Fn(&Request) -> Option<Reply> + Send + 'static) -> &Self {
        self.ledger.at_server.lock().unwrap().push(Box::new(hook));
        self
    }

    /// The authorization server answers this endpoint so, in turn, before it does as usual.
    pub fn in_turn(&self, path: &'static str, answers: Vec<Reply>) -> &Self {
        let answers = Mutex::new(VecDeque::from(answers));
        self.at_issuer(move |request| match request.target == path {
            true => answers.lock().unwrap().pop_front(),
            false => None,
        })
    }

    /// The next token requests are refused with this error.
    pub fn denies(&self, status: u16, error: &str) -> &Self {
        self.in_turn("/token", vec![denial(status, error)])
    }

    /// What was asked at the authorization server, by method and path.
    pub fn asked(&self) -> Vec<String> {
        self.issuer.requests().iter().map(line).collect()
    }

    /// How often the authorization server was asked this.
    pub fn count(&self, line: &str) -> usize {
        self.asked().iter().filter(|asked| *asked == line).count()
    }

    /// The forms that came to the token endpoint, in order.
    pub fn forms(&self) -> Vec<HashMap<String, String>> {
        self.issuer.requests().iter().filter(|request| request.target == "/token").map(form).collect()
    }

    /// The grants asked for, in order.
    pub fn grants(&self) -> Vec<String> {
        self.forms().iter().map(|form| form["grant_type"].clone()).collect()
    }

    /// The parameters of the authorization requests, in order.
    pub fn authorized(&self) -> Vec<HashMap<String, String>> {
        let requests = self.issuer.requests();
        let queries = requests.iter().filter_map(|request| request.target.strip_prefix("/authorize?"));
        queries.map(|query| url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()).collect()
    }

    /// Logs in, with a browser that follows the page.
    pub fn log_in(&self, sandbox: &Sandbox) {
        sandbox.mcpipe(["auth", "login", &self.url()]).with_browser().run().exits(0);
    }

    /// Leaves a login behind whose token has expired; tells how many grants it took.
    pub fn log_in_for_a_moment(&self, sandbox: &Sandbox) -> usize {
        self.log_in_for_a_moment_by(|| self.log_in(sandbox))
    }

    /// The same, logging in so.
    pub fn log_in_for_a_moment_by(&self, log_in: impl FnOnce()) -> usize {
        let life = self.ledger.life.swap(1, Ordering::SeqCst);
        log_in();
        std::thread::sleep(Duration::from_millis(1100));
        self.ledger.life.store(life, Ordering::SeqCst);
        self.grants().len()
    }

    /// Fails if anything secret that ever went over the wire is in this text.
    #[track_caller]
    pub fn leaks_nothing(&self, text: &str) {
        let secrets = self.ledger.secrets.lock().unwrap();
        assert!(!secrets.is_empty(), "nothing secret happened");
        for secret in secrets.iter().filter(|secret| secret.len() > 2) {
            let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
            for form in [secret, &encoded] {
                assert!(!text.contains(form.as_str()), "the secret {form:?} is in\n{text}");
            }
        }
    }

    /// The same for everything that these runs wrote, the files of the sandbox but the credentials themselves
    /// among it, and for every address that was asked.
    #[track_caller]
    pub fn sweep(&self, sandbox: &Sandbox, runs: &[&Run]) {
        for run in runs {
            self.leaks_nothing(&format!("{run:?}"));
        }
        for request in self.issuer.requests().iter().chain(&self.mcp.requests()) {
            self.leaks_nothing(&request.target);
        }
        // What lies in `work` is the user's own.
        for (path, text) in ["home", "tmp", "run"].iter().flat_map(|dir| files(&sandbox.path().join(dir))) {
            if !path.ends_with("credentials.json") {
                self.leaks_nothing(&text);
            }
        }
    }
}

impl Mcpipe {
    /// `BROWSER` is a program that follows redirects.
    pub fn with_browser(self) -> Self {
        self.env("BROWSER", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/browser"))
    }
}

impl Sandbox {
    /// What `auth status` tells of every login.
    pub fn logins(&self) -> Value {
        self.mcpipe(["auth", "status", "--json"]).run().exits(0).json()["credentials"].clone()
    }

    /// Calls a tool that wants the scope `call`.
    pub fn adds(&self, url: &str, words: &[&str]) -> Run {
        self.mcpipe(["call", url, "add", "a=1", "b=2"]).args(words.iter().copied()).with_browser().run()
    }
}

pub fn form(request: &Request) -> HashMap<String, String> {
    url::form_urlencoded::parse(&request.body).into_owned().collect()
}

/// Method and path.
pub fn line(request: &Request) -> String {
    format!("{} {}", request.method, request.target.split('?').next().unwrap_or_default())
}

/// The refusal of an OAuth endpoint.
pub fn denial(status: u16, error: &str) -> Reply {
    Reply::json(&json!({"error": error, "error_description": format!("said {error}")})).with_status(status)
}

/// Every text below a directory.
fn files(dir: &std::path::Path) -> Vec<(std::path::PathBuf, String)> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => all.extend(files(&entry.path())),
            Ok(kind) if kind.is_file() => {
                let text = std::fs::read(entry.path()).unwrap();
                all.push((entry.path(), String::from_utf8_lossy(&text).into_owned()));
            }
            _ => {}
        }
    }
    all
}

/// Lays members over a document; `ISSUER` and `SERVER` in texts are the origins.
fn bend(mut document: Value, over: &Value, issuer: &str, server: &str) -> Value {
    for (name, value) in over.as_object().into_iter().flatten() {
        match value {
            Value::Null => _ = document.as_object_mut().unwrap().remove(name),
            value => {
                let text = value.to_string().replace("ISSUER", issuer).replace("SERVER", server);
                document[name] = serde_json::from_str(&text).unwrap();
            }
        }
    }
    document
}

fn resource(ledger: &Ledger, issuer: &str, request: &Request, inner: &impl Fn(&Request) -> Reply) -> Reply {
    let origin = format!("http://{}", request.header("host").expect("a Host"));
    if request.target == "/.well-known/oauth-protected-resource/mcp" {
        assert_eq!(request.header("authorization"), None, "metadata is public");
        let document = json!({"resource": format!("{origin}/mcp"), "authorization_servers": [issuer]});
        return Reply::json(&bend(document, &ledger.resource.lock().unwrap(), issuer, &origin));
    }
    assert_eq!(request.target, "/mcp", "nothing else is asked of the server");
    let metadata = format!("resource_metadata=\"{origin}/.well-known/oauth-protected-resource/mcp\"");
    let wants = |scope: &str, status: u16, error: &str| {
        let challenge = format!("Bearer {metadata}, scope=\"{scope}\"{error}");
        Reply::text("text/plain", "no").with_status(status).header("WWW-Authenticate", &challenge)
    };
    let authorization = request.header("authorization").unwrap_or_default();
    let token = match authorization.split_once(' ') {
        Some(("Bearer", token)) => token,
        Some(("DPoP", token)) if request.header("dpop").is_some() => token,
        _ => return wants("read", 401, ""),
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
    assert!(request.header("x-key").is_none(), "configured headers are for the server alone");
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    match (request.method.as_str(), path) {
        ("GET", "/.well-known/oauth-authorization-server") => {
            let document = json!({
                "issuer": issuer,
                "authorization_endpoint": format!("{issuer}/authorize"),
                "token_endpoint": format!("{issuer}/token"),
                "registration_endpoint": format!("{issuer}/register"),
                "revocation_endpoint": format!("{issuer}/revoke"),
                "device_authorization_endpoint": format!("{issuer}/device"),
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": true,
            });
            Reply::json(&bend(document, &ledger.metadata.lock().unwrap(), &issuer, ""))
        }
        ("POST", "/register") => {
            let method = request.json()["token_endpoint_auth_method"].clone();
            let mut client = json!({"client_id": "mcpipe-1", "token_endpoint_auth_method": method});
            if method != "none" {
                client["client_secret"] = ledger.secret("s3cret/of:mcpipe-1").into();
            }
            Reply::json(&client).with_status(201)
        }
        ("GET", "/authorize") => authorize(ledger, &issuer, query),
        ("POST", "/device") => Reply::json(&json!({
            "device_code": ledger.secret("dev1ce"),
            "user_code": "WDJB-MJHT",
            "verification_uri": format!("{issuer}/activate"),
            "interval": 1,
        })),
        ("POST", "/token") => token(ledger, request),
        ("POST", "/revoke") => {
            ledger.revoked.lock().unwrap().push(form(request)["token"].clone());
            Reply::status(200)
        }
        other => panic!("not asked by a client that follows the rules: {other:?}"),
    }
}

/// The person is quick and says yes.
fn authorize(ledger: &Ledger, issuer: &str, query: &str) -> Reply {
    let query: HashMap<String, String> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let calls = query.get("scope").is_some_and(|scope| scope.contains("call"));
    let code = ledger.secret(if calls { "c0de-call" } else { "c0de" });
    let mut back = vec![("code".to_owned(), code), ("state".to_owned(), query["state"].clone())];
    back.push(("iss".to_owned(), issuer.to_owned()));
    for (name, value) in ledger.redirect.lock().unwrap().iter() {
        back.retain(|(there, _)| there != name);
        back.extend(value.as_ref().map(|value| (name.clone(), value.clone())));
    }
    let back = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(back).finish();
    Reply::status(302).header("Location", &format!("{}?{back}", query["redirect_uri"]))
}

/// Refresh tokens rotate; an old one is refused.
fn token(ledger: &Ledger, request: &Request) -> Reply {
    let form = form(request);
    assert!(form.contains_key("resource"), "the resource goes with every token request: {form:?}");
    let number = ledger.issued.load(Ordering::SeqCst);
    let grant = form["grant_type"].rsplit(':').next().unwrap();
    if grant == "token-exchange" {
        return Reply::json(&json!({"access_token": ledger.secret("jag-1"), "token_type": "N_A"}));
    }
    if grant == "refresh_token" {
        if ledger.mute.load(Ordering::SeqCst) {
            return Reply::silence();
        }
        let keeps = ledger.keeps.load(Ordering::SeqCst);
        if !keeps && !form["refresh_token"].starts_with(&format!("refresh-{number}")) {
            return Reply::json(&json!({"error": "invalid_grant", "error_description": "reuse"})).with_status(400);
        }
    }
    let ends = |name: &str| form.get(name).is_some_and(|value| value.ends_with("-call"));
    let asks = form.get("scope").is_some_and(|scope| scope.contains("call"));
    let rights = if ends("code") || ends("refresh_token") || asks { "-call" } else { "" };
    let number = ledger.issued.fetch_add(1, Ordering::SeqCst) + 1;
    std::thread::sleep(Duration::from_millis(ledger.thinks.load(Ordering::SeqCst) as u64));
    let mut answer = json!({
        "access_token": ledger.secret(&format!("access-{number}{rights}")),
        "token_type": if request.header("dpop").is_some() { "DPoP" } else { "bearer" },
    });
    let person = matches!(grant, "authorization_code" | "device_code" | "refresh_token");
    if person && !(grant == "refresh_token" && ledger.keeps.load(Ordering::SeqCst)) {
        answer["refresh_token"] = ledger.secret(&format!("refresh-{number}{rights}")).into();
    }
    match ledger.life.load(Ordering::SeqCst) {
        0 => {}
        life => answer["expires_in"] = life.into(),
    }
    Reply::json(&answer)
}
