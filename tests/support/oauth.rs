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
use super::oauth_peer::{authorization, resource};
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
    pub(super) https: bool,
    /// How long the token endpoint thinks, in ms.
    pub thinks: AtomicUsize,
    /// Access tokens that are good no more.
    pub revoked: Mutex<Vec<String>>,
    /// A refresh is heard and never answered.
    pub mute: AtomicBool,
    /// No refresh token comes with a token, or no other one with a refresh.
    pub keeps: AtomicBool,
    /// Laid over the metadata of the authorization server.
    pub(super) metadata: Mutex<Value>,
    /// Laid over the metadata of the resource.
    pub(super) resource: Mutex<Value>,
    /// Laid over the parameters of the redirect; `None` leaves one out.
    pub(super) redirect: Mutex<Vec<(String, Option<String>)>>,
    /// Answers in place of the usual ones.
    at_issuer: Mutex<Vec<Hook>>,
    at_server: Mutex<Vec<Hook>>,
    /// Everything that must never be seen.
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

impl Ledger {
    pub(super) fn origin(&self, request: &Request) -> String {
        format!("http{}://{}", if self.https { "s" } else { "" }, request.header("host").expect("a Host"))
    }

    pub(super) fn secret(&self, text: &str) -> String {
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
        Self::with(None, inner)
    }

    /// Both servers behind TLS.
    pub fn tls(config: Arc<rustls::ServerConfig>) -> Self {
        Self::with(Some(config), Mcp::modern().http_script(Legacy::default()))
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>, inner: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let ledger = Arc::new(Ledger { https: tls.is_some(), ..Ledger::default() });
        ledger.life.store(3600, Ordering::SeqCst);
        let books = ledger.clone();
        let issuer = listen(tls.clone(), move |request| {
            books.hear(request);
            let bent = books.at_issuer.lock().unwrap().iter().find_map(|hook| hook(request));
            bent.unwrap_or_else(|| authorization(&books, request))
        });
        let (named, books) = (issuer.url(""), ledger.clone());
        let mcp = listen(tls, move |request| {
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

    /// Fails unless there was one registration for each redirect: a port may be another's when it is wanted again.
    #[track_caller]
    pub fn registered_once_for_each_redirect(&self) {
        let redirects: BTreeSet<String> =
            self.authorized().into_iter().map(|query| query["redirect_uri"].clone()).collect();
        assert_eq!(self.count("POST /register"), redirects.len(), "{redirects:?}");
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
