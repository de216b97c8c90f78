//! An HTTP server inside the test: threads on a loopback port, with every request recorded exactly, and every response
//! scripted by a closure.
//!
//! A script that panics, an unexpected request, or an unused step of a sequence fails the test when the server is
//! dropped.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use serde_json::Value;

use super::http_peer::serve;
use super::reply::Reply;

/// One request, exactly as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its number over all connections, from 0.
    pub n: usize,
    /// The number of its connection, from 0.
    pub connection: usize,
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// Names in their case and order.
    pub headers: Vec<(String, String)>,
    /// Request line and headers, byte for byte.
    pub head: String,
    pub body: Vec<u8>,
    pub at: Instant,
}

impl Request {
    /// The value of a header, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The same request without a header.
    pub fn without_header(&self, name: &str) -> Self {
        let mut request = self.clone();
        request.headers.retain(|(given, _)| !given.eq_ignore_ascii_case(name));
        request
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is UTF-8")
    }

    /// The body as JSON; `Null` if there is none.
    pub fn json(&self) -> Value {
        if self.body.is_empty() {
            return Value::Null;
        }
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("the body is not JSON: {error}: {self:?}"))
    }

    /// The JSON-RPC method; empty if there is none.
    pub fn rpc_method(&self) -> String {
        self.json().get("method").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// The JSON-RPC id, as it arrived.
    pub fn id(&self) -> Value {
        self.json().get("id").cloned().unwrap_or(Value::Null)
    }

    /// `POST tools/call`, `GET`, `POST answer`: an entry in the list of exchanges.
    pub fn title(&self) -> String {
        match serde_json::from_slice::<Value>(&self.body) {
            Ok(Value::Object(message)) => match message.get("method").and_then(Value::as_str) {
                Some(method) => format!("{} {method}", self.method),
                None => format!("{} answer", self.method),
            },
            _ => self.method.clone(),
        }
    }
}

type HttpScript = dyn Fn(&Request) -> Reply + Send + Sync;

/// The state shared by the server and its connections.
pub(super) struct HttpServerState {
    pub(super) script: Box<HttpScript>,
    pub(super) log: Mutex<Vec<Request>>,
    /// Requests whose client closed the connection before the end of the response.
    pub(super) abandoned: Mutex<Vec<usize>>,
    pub(super) failures: Mutex<Vec<String>>,
    pub(super) next: AtomicUsize,
    pub(super) connections: AtomicUsize,
    pub(super) stop: AtomicBool,
    pub(super) tls: Option<Arc<ServerConfig>>,
}

/// A running server.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<HttpServerState>,
    steps: Option<Arc<Mutex<Vec<Option<ScriptedStep>>>>>,
    accepting: Option<JoinHandle<()>>,
}

/// One step of a sequence: responds to one request.
pub type ScriptedStep = Box<dyn FnOnce(&Request) -> Reply + Send>;

impl HttpServer {
    /// A server that responds to each request with the script.
    pub fn start(script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0", script)
    }

    /// The same at another address of this machine.
    pub fn start_at(address: &str, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with(address, None, Box::new(script), None)
    }

    /// The same behind TLS.
    pub fn tls(config: Arc<ServerConfig>, script: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_with("127.0.0.1:0", Some(config), Box::new(script), None)
    }

    /// A server that responds to the n-th request with the n-th step; a different number of requests fails the test.
    pub fn sequence(steps: Vec<ScriptedStep>) -> Self {
        let steps = Arc::new(Mutex::new(steps.into_iter().map(Some).collect::<Vec<_>>()));
        let shared = Arc::clone(&steps);
        let script = move |request: &Request| {
            let step = shared.lock().unwrap().get_mut(request.n).and_then(Option::take);
            match step {
                Some(step) => step(request),
                None => panic!("a request too many: {request:?}"),
            }
        };
        Self::start_with("127.0.0.1:0", None, Box::new(script), Some(steps))
    }

    fn start_with(
        address: &str,
        tls: Option<Arc<ServerConfig>>,
        script: Box<HttpScript>,
        steps: Option<Arc<Mutex<Vec<Option<ScriptedStep>>>>>,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(HttpServerState {
            script,
            log: Mutex::default(),
            abandoned: Mutex::default(),
            failures: Mutex::default(),
            next: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            tls,
        });
        let acceptor = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for socket in listener.incoming() {
                if acceptor.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(socket), shared) = (socket, Arc::clone(&acceptor)) else { continue };
                let connection = shared.connections.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || serve(socket, connection, &shared));
            }
        });
        HttpServer { address, shared, steps, accepting: Some(accepting) }
    }

    /// `http://127.0.0.1:PORT` with this path.
    pub fn url(&self, path: &str) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log.lock().unwrap().clone()
    }

    /// The exchanges so far: `POST initialize`, `GET`, …
    pub fn exchanges(&self) -> Vec<String> {
        self.requests().iter().map(Request::title).collect()
    }

    /// The number of TCP connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The numbers of the requests whose client closed the connection before the end of the response.
    pub fn abandoned(&self) -> Vec<usize> {
        self.shared.abandoned.lock().unwrap().clone()
    }

    /// Waits for a request that matches; fails the test if none arrives.
    #[track_caller]
    pub fn wait_for(&self, what: &str, fits: impl Fn(&Request) -> bool) -> Request {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(found) = self.requests().into_iter().find(|request| fits(request)) {
                return found;
            }
            assert!(Instant::now() < end, "no request came: {what}; came: {:?}", self.exchanges());
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accepting thread.
        let _ = TcpStream::connect(self.address);
        // When it has ended, connections are refused.
        let _ = self.accepting.take().map(JoinHandle::join);
        if std::thread::panicking() {
            return;
        }
        let failures = std::mem::take(&mut *self.shared.failures.lock().unwrap());
        assert!(failures.is_empty(), "the scripted server complains: {failures:#?}");
        if let Some(steps) = &self.steps {
            let unvisited = steps.lock().unwrap().iter().filter(|step| step.is_some()).count();
            assert!(unvisited == 0, "{unvisited} scripted steps were never asked for; came: {:?}", self.exchanges());
        }
    }
}
