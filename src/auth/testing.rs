//! What tests of logins need: an HTTP server that responds by a function, and a scripted user.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::interaction::UserInteraction;
use super::store::{self, CredentialStore, StoreChoice, StorePaths};
use crate::auth::http_client::{OAuthHttpClient, ResponseLimits};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::trace::Trace;
use crate::transport::{BoxFuture, HttpEndpoint};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct AuthTestRequest {
    pub method: String,
    /// Path and query.
    pub path: String,
    pub body: String,
}

impl AuthTestRequest {
    /// The members of the form.
    pub fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }
}

/// An answer.
#[derive(Clone, Debug)]
pub struct AuthTestResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl AuthTestResponse {
    pub fn json(status: u16, body: &Value) -> Self {
        AuthTestResponse { status, headers: Vec::new(), body: body.to_string() }
    }

    pub fn status(status: u16) -> Self {
        AuthTestResponse { status, headers: Vec::new(), body: String::new() }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

type TestResponder = Arc<dyn Fn(&AuthTestRequest) -> AuthTestResponse + Send + Sync>;

/// The server; it ends with the test's runtime.
pub struct AuthTestServer {
    pub origin: String,
    requests: Arc<Mutex<Vec<AuthTestRequest>>>,
}

impl AuthTestServer {
    /// Answers every request by `answer`, which is given the server's own origin first.
    pub async fn start<F>(make: impl FnOnce(&str) -> F) -> Self
    where
        F: Fn(&AuthTestRequest) -> AuthTestResponse + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let answer: TestResponder = Arc::new(make(&origin));
        let seen: Arc<Mutex<Vec<AuthTestRequest>>> = Arc::default();
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve_connection(stream, answer.clone(), log.clone()));
            }
        });
        AuthTestServer { origin, requests: seen }
    }

    pub fn requests(&self) -> Vec<AuthTestRequest> {
        self.requests.lock().unwrap().clone()
    }

    pub fn url(&self, path: &str) -> Url {
        Url::parse(&format!("{}{path}", self.origin)).unwrap()
    }
}

async fn serve_connection(
    mut stream: TcpStream,
    answer: TestResponder,
    log: Arc<Mutex<Vec<AuthTestRequest>>>,
) -> Option<()> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|end| end == b"\r\n\r\n") {
            break at + 4;
        }
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let mut headers = lines.filter_map(|line| line.split_once(": "));
    let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let length: usize = length.and_then(|(_, text)| text.parse().ok()).unwrap_or(0);
    while bytes.len() < end + length {
        match stream.read(&mut chunk).await.ok()? {
            0 => return None,
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
    let body = String::from_utf8_lossy(&bytes[end..]).into_owned();
    let asked = AuthTestRequest { method, path, body };
    log.lock().unwrap().push(asked.clone());
    let told = answer(&asked);
    let mut head =
        format!("HTTP/1.1 {} X\r\ncontent-length: {}\r\nconnection: close\r\n", told.status, told.body.len());
    for (name, value) in &told.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n{}", told.body).as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

/// A client for requests on behalf of the server at this URL.
pub fn http_client(url: Url) -> OAuthHttpClient {
    OAuthHttpClient::new(&HttpEndpoint::new(url), None, ResponseLimits::default(), Trace::default())
}

/// A store in a file of its own.
pub fn file_store(dir: &std::path::Path) -> Arc<dyn CredentialStore> {
    let places = StorePaths {
        data_dir: dir.join("data"),
        state_dir: dir.join("state"),
        credentials_file: Some(dir.join("credentials")),
        is_interactive: false,
    };
    store::open(StoreChoice::File, &places, Arc::new(|_| {}))
}

/// What the person does with the URL of a login.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum UserAction {
    /// Follows it, as a browser does, to the end.
    #[default]
    LogIn,
    /// Nothing: the window stays open.
    Ignore,
}

/// A person.
#[derive(Default)]
pub struct TestUser {
    pub action: UserAction,
    pub messages: Mutex<Vec<String>>,
    pub opened_urls: Mutex<Vec<String>>,
    pub secrets: Mutex<Vec<String>>,
}

impl TestUser {
    pub fn new(does: UserAction) -> Arc<Self> {
        Arc::new(TestUser { action: does, ..TestUser::default() })
    }

    pub fn login_count(&self) -> usize {
        self.opened_urls.lock().unwrap().len()
    }
}

impl UserInteraction for TestUser {
    fn show(&self, text: &str) {
        self.messages.lock().unwrap().push(text.to_owned());
    }

    fn warn(&self, text: &str) {
        self.show(text);
    }

    fn warn_always(&self, text: &str) {
        self.show(text);
    }

    fn open_browser<'a>(&'a self, url: &'a Url) -> BoxFuture<'a, Result<()>> {
        self.opened_urls.lock().unwrap().push(url.to_string());
        if self.action == UserAction::LogIn {
            follow_redirects(url.to_string());
        }
        Box::pin(async { Ok(()) })
    }

    fn prompt_line<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<String>> {
        Box::pin(async { Err(Failure::new(ErrorKind::Auth, "the redirected URL was not pasted")) })
    }

    fn register_secret(&self, secret: &Secret) {
        self.secrets.lock().unwrap().push(secret.reveal().to_owned());
    }

    fn forget_secret(&self, secret: &Secret) {
        self.secrets.lock().unwrap().retain(|known| known != secret.reveal());
    }
}

/// Gets a URL and follows redirects, on a thread of its own: a browser in five lines.
fn follow_redirects(mut url: String) {
    use std::io::{Read, Write};
    std::thread::spawn(move || {
        for _ in 0..5 {
            let parsed = Url::parse(&url).ok()?;
            let address = (parsed.host_str()?.to_owned(), parsed.port()?);
            let mut stream = std::net::TcpStream::connect(address).ok()?;
            let path = &parsed[url::Position::BeforePath..];
            write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            url = answer.lines().find_map(|line| line.strip_prefix("location: "))?.to_owned();
        }
        Some(())
    });
}

/// The words of a text.
pub fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}
