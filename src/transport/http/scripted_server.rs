//! A small HTTP server for tests: it keeps what it was sent and answers from a script.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::transport::{HttpEndpoint, OutgoingKind, OutgoingMessage};

/// One thing the server does after it has read a request.
#[derive(Clone)]
pub(super) enum ScriptStep {
    /// Writes this.
    Write(Vec<u8>),
    /// Waits.
    Sleep(u64),
    /// Closes the connection.
    Close,
    /// Keeps the connection open, silent, until the client closes it; notes when that was.
    Hold,
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(super) struct ReceivedRequest {
    pub head: String,
    pub body: String,
    /// Which connection it came on, from 0.
    pub connection: usize,
}

impl ReceivedRequest {
    pub(super) fn request_line(&self) -> &str {
        self.head.lines().next().unwrap()
    }

    /// The value of a header that must occur once at most.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        let mut found = found.by_ref().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        let first = found.next();
        assert_eq!(found.next(), None, "{name} twice");
        first
    }
}

pub(super) struct ScriptedServer {
    pub port: u16,
    requests: Arc<Mutex<Vec<ReceivedRequest>>>,
    closed: Arc<Mutex<Vec<Instant>>>,
}

type ServerScript = dyn Fn(usize, &ReceivedRequest) -> Vec<ScriptStep> + Send + Sync;

impl ScriptedServer {
    /// Starts a server that does, for its n-th request, what the script says.
    pub(super) fn start(script: impl Fn(usize, &ReceivedRequest) -> Vec<ScriptStep> + Send + Sync + 'static) -> Self {
        Self::run(None, script)
    }

    /// The same over TLS.
    pub(super) fn start_tls(
        config: ServerConfig,
        script: impl Fn(usize, &ReceivedRequest) -> Vec<ScriptStep> + Send + Sync + 'static,
    ) -> Self {
        Self::run(Some(Arc::new(config)), script)
    }

    fn run(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(usize, &ReceivedRequest) -> Vec<ScriptStep> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = ScriptedServer {
            port: listener.local_addr().unwrap().port(),
            requests: Arc::default(),
            closed: Arc::default(),
        };
        let (seen, closed) = (server.requests.clone(), server.closed.clone());
        let script: Arc<ServerScript> = Arc::new(script);
        thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let (seen, closed, script) = (seen.clone(), closed.clone(), script.clone());
                let tls = tls.clone().map(|config| ServerConnection::new(config).unwrap());
                let stream = stream.unwrap();
                thread::spawn(move || match tls {
                    Some(tls) => serve(StreamOwned::new(tls, stream), connection, &seen, &closed, &*script),
                    None => serve(stream, connection, &seen, &closed, &*script),
                });
            }
        });
        server
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    pub(super) fn requests(&self) -> Vec<ReceivedRequest> {
        self.requests.lock().unwrap().clone()
    }

    /// Waits until this many held connections have been closed by the client.
    pub(super) async fn wait_closed(&self, count: usize) -> bool {
        let until = Instant::now() + Duration::from_secs(3);
        while self.closed.lock().unwrap().len() < count {
            if Instant::now() > until {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

fn serve(
    mut stream: impl Read + Write,
    connection: usize,
    seen: &Mutex<Vec<ReceivedRequest>>,
    closed: &Mutex<Vec<Instant>>,
    script: &ServerScript,
) {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut stream, &mut buffer, connection) {
        let number = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.len() - 1
        };
        for step in script(number, &request) {
            match step {
                ScriptStep::Write(bytes) => {
                    if stream.write_all(&bytes).is_err() {
                        return;
                    }
                }
                ScriptStep::Sleep(millis) => thread::sleep(Duration::from_millis(millis)),
                ScriptStep::Close => return,
                ScriptStep::Hold => {
                    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
                    closed.lock().unwrap().push(Instant::now());
                    return;
                }
            }
        }
    }
}

fn read_request(stream: &mut impl Read, buffer: &mut Vec<u8>, connection: usize) -> Option<ReceivedRequest> {
    let mut chunk = [0; 4096];
    let mut more = |buffer: &mut Vec<u8>| {
        let read = stream.read(&mut chunk).unwrap_or(0);
        buffer.extend_from_slice(&chunk[..read]);
        read > 0
    };
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if !more(buffer) {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    let mut seen = ReceivedRequest { head, body: String::new(), connection };
    let length: usize = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    while buffer.len() < end + 4 + length {
        if !more(buffer) {
            return None;
        }
    }
    seen.body = String::from_utf8_lossy(&buffer[end + 4..end + 4 + length]).into_owned();
    buffer.drain(..end + 4 + length);
    Some(seen)
}

/// A whole answer.
pub(super) fn http_response(status: &str, headers: &[&str], body: &str) -> Vec<ScriptStep> {
    let mut text = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    vec![ScriptStep::Write(format!("{text}\r\n{body}").into_bytes())]
}

/// A whole JSON answer.
pub(super) fn json_response(status: &str, body: &str) -> Vec<ScriptStep> {
    http_response(status, &["Content-Type: application/json"], body)
}

/// The head of an event stream, chunked.
pub(super) fn event_stream_head() -> ScriptStep {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n";
    ScriptStep::Write(head.as_bytes().to_vec())
}

/// One chunk of it.
pub(super) fn event_stream_chunk(text: &str) -> ScriptStep {
    ScriptStep::Write(format!("{:x}\r\n{text}\r\n", text.len()).into_bytes())
}

/// Its regular end.
pub(super) fn event_stream_end() -> ScriptStep {
    ScriptStep::Write(b"0\r\n\r\n".to_vec())
}

pub(super) fn endpoint(url: &str) -> HttpEndpoint {
    HttpEndpoint::new(url.parse().unwrap())
}

/// A request of this method.
pub(super) fn outgoing_request(id: u64, method: &'static str) -> OutgoingMessage {
    let body = crate::protocol::rpc::request(id, method, None);
    OutgoingMessage { kind: OutgoingKind::Request(id), method, body, headers: vec![] }
}

pub(super) fn outgoing_notification(method: &'static str) -> OutgoingMessage {
    let body = crate::protocol::rpc::notification(method, None);
    OutgoingMessage { kind: OutgoingKind::OneWay, method, body, headers: vec![] }
}
