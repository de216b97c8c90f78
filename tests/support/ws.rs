//! A WebSocket server inside the test, at the level of frames: it records what the client sends, and can send anything,
//! including wrong handshakes and broken frames.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::mcp::{Mcp, ScriptedOutput, play_actions};

/// An event of one connection.
#[derive(Clone, Debug, PartialEq)]
pub enum WebSocketEvent {
    /// The opening request, its head byte for byte. There is no response before the script returns.
    Handshake(String),
    Text(String),
    Pong(Vec<u8>),
    /// The code, 1005 if there is none, and the reason.
    Close(u16, String),
    /// The connection has ended.
    Disconnected,
}

trait WebSocketStream: Read + Write + Send {}
impl<T: Read + Write + Send> WebSocketStream for T {}

/// The script's side of one connection.
#[derive(Clone)]
pub struct WebSocketConnection {
    /// The number of the connection, from 0.
    pub n: usize,
    stream: Arc<Mutex<Box<dyn WebSocketStream>>>,
    socket: Arc<TcpStream>,
    answered: Arc<AtomicBool>,
}

impl WebSocketConnection {
    /// Responds to the handshake with these bytes instead of the correct response.
    pub fn answer_handshake(&self, bytes: impl AsRef<[u8]>) {
        self.answered.store(true, Ordering::SeqCst);
        // A client that has closed the connection receives nothing.
        self.write(bytes);
    }

    /// Whether these bytes could be written.
    pub fn write(&self, bytes: impl AsRef<[u8]>) -> bool {
        let mut stream = self.stream.lock().unwrap();
        stream.write_all(bytes.as_ref()).and_then(|()| stream.flush()).is_ok()
    }

    /// One frame: its first byte (FIN and opcode) and its payload.
    pub fn send_frame(&self, first: u8, payload: &[u8]) {
        self.answer_handshake(frame(first, payload));
    }

    pub fn send_text(&self, text: &str) {
        self.send_frame(0x81, text.as_bytes());
    }

    pub fn send_ping(&self, payload: &[u8]) {
        self.send_frame(0x89, payload);
    }

    pub fn send_close(&self, code: u16, reason: &str) {
        self.send_frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// Closes the TCP connection without a close frame.
    pub fn disconnect(&self) {
        self.answered.store(true, Ordering::SeqCst);
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl ScriptedOutput for WebSocketConnection {
    fn send(&self, message: &Value) {
        self.send_text(&message.to_string());
    }

    fn send_raw_text(&self, text: String) {
        self.send_text(&text);
    }
}

/// The bytes of one frame sent by a server.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).unwrap()),
        length @ 126..=65535 => {
            frame.push(126);
            frame.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

type WebSocketScript = dyn Fn(&WebSocketConnection, &WebSocketEvent) + Send + Sync;

/// A running server.
pub struct WebSocketServer {
    address: SocketAddr,
    tls: bool,
    log: Arc<Mutex<Vec<(usize, WebSocketEvent)>>>,
    stop: Arc<AtomicBool>,
}

impl WebSocketServer {
    pub fn start(script: impl Fn(&WebSocketConnection, &WebSocketEvent) + Send + Sync + 'static) -> Self {
        Self::start_with(None, script)
    }

    /// The same behind TLS.
    pub fn start_with(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&WebSocketConnection, &WebSocketEvent) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (log, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, over, config) = (Arc::clone(&log), Arc::clone(&stop), tls.clone());
        let script: Arc<WebSocketScript> = Arc::new(script);
        std::thread::spawn(move || {
            for (n, socket) in listener.incoming().enumerate() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(socket), script, log, config) = (socket, script.clone(), all.clone(), config.clone()) else {
                    continue;
                };
                std::thread::spawn(move || serve_connection(n, socket, config, &script, &log));
            }
        });
        WebSocketServer { address, tls: tls.is_some(), log, stop }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "wss" } else { "ws" }, self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All events so far, with the number of their connection.
    pub fn events(&self) -> Vec<(usize, WebSocketEvent)> {
        self.log.lock().unwrap().clone()
    }

    /// The heads of the opening requests.
    pub fn handshakes(&self) -> Vec<String> {
        let of = |(_, heard)| if let WebSocketEvent::Handshake(head) = heard { Some(head) } else { None };
        self.events().into_iter().filter_map(of).collect()
    }

    /// The methods of the received messages; `answer` for responses.
    pub fn methods(&self) -> Vec<String> {
        let title = |text: &str| {
            let message: Value = serde_json::from_str(text).expect("the client writes JSON");
            message.get("method").and_then(Value::as_str).unwrap_or("answer").to_owned()
        };
        self.events()
            .iter()
            .filter_map(|(_, heard)| if let WebSocketEvent::Text(text) = heard { Some(title(text)) } else { None })
            .collect()
    }

    /// Waits until every connection has ended.
    #[track_caller]
    pub fn wait_until_all_disconnected(&self) -> Vec<(usize, WebSocketEvent)> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let heard = self.events();
            let count = |wanted: fn(&WebSocketEvent) -> bool| heard.iter().filter(|(_, heard)| wanted(heard)).count();
            if count(|heard| matches!(heard, WebSocketEvent::Handshake(_)))
                == count(|heard| *heard == WebSocketEvent::Disconnected)
            {
                return heard;
            }
            assert!(Instant::now() < end, "a connection stays: {heard:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for WebSocketServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Mcp {
    /// This server over a WebSocket.
    pub fn websocket(self) -> WebSocketServer {
        WebSocketServer::start(self.ws_script())
    }

    /// The script alone.
    pub fn ws_script(self) -> impl Fn(&WebSocketConnection, &WebSocketEvent) + Send + Sync + 'static {
        let mcp = Arc::new(self);
        move |peer, heard| {
            if let WebSocketEvent::Text(text) = heard {
                let message: Value = serde_json::from_str(text).expect("the client writes JSON");
                play_actions(&mcp, peer, mcp.handle(&message));
            }
        }
    }
}

/// The correct response to a handshake.
pub fn handshake_response(head: &str) -> String {
    let header = |name: &str| {
        head.lines().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
    };
    let key = header("sec-websocket-key").expect("a key").1.trim();
    let digest = ring::digest::digest(
        &ring::digest::SHA1_FOR_LEGACY_USE_ONLY,
        format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes(),
    );
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mcp\r\n\r\n",
        STANDARD.encode(digest)
    )
}

fn serve_connection(
    n: usize,
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    script: &Arc<WebSocketScript>,
    log: &Mutex<Vec<(usize, WebSocketEvent)>>,
) {
    let _ = socket.set_nodelay(true);
    let _ = socket.set_read_timeout(Some(Duration::from_millis(5)));
    let kept = Arc::new(socket.try_clone().unwrap());
    let stream: Box<dyn WebSocketStream> = match tls {
        None => Box::new(socket),
        Some(config) => Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), socket)),
    };
    let answered = Arc::new(AtomicBool::new(false));
    let peer = WebSocketConnection { n, stream: Arc::new(Mutex::new(stream)), socket: kept, answered };
    let tell = |heard: WebSocketEvent| {
        log.lock().unwrap().push((n, heard.clone()));
        script(&peer, &heard);
    };
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if !read_more(&peer, &mut bytes) {
            return;
        }
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
    tell(WebSocketEvent::Handshake(head.clone()));
    if !peer.answered.load(Ordering::SeqCst) {
        peer.answer_handshake(handshake_response(&head));
    }
    loop {
        while let Some((first, payload)) = take_frame(&mut bytes) {
            assert_eq!(first & 0x80, 0x80, "the client sends whole messages");
            tell(match first & 0x0f {
                1 => WebSocketEvent::Text(String::from_utf8(payload).unwrap()),
                8 if payload.is_empty() => WebSocketEvent::Close(1005, String::new()),
                8 => WebSocketEvent::Close(
                    u16::from_be_bytes([payload[0], payload[1]]),
                    String::from_utf8(payload[2..].to_vec()).unwrap(),
                ),
                10 => WebSocketEvent::Pong(payload),
                other => panic!("the client sent a frame of kind {other}"),
            });
            if first & 0x0f == 8 {
                peer.send_frame(0x88, &[]);
                peer.disconnect();
            }
        }
        if !read_more(&peer, &mut bytes) {
            return tell(WebSocketEvent::Disconnected);
        }
    }
}

/// Reads some more; `false` at the end.
fn read_more(peer: &WebSocketConnection, bytes: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 65536];
    loop {
        let read = peer.stream.lock().unwrap().read(&mut buffer);
        match read {
            Ok(0) => return false,
            Ok(count) => {
                bytes.extend_from_slice(&buffer[..count]);
                return true;
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) => return false,
        }
    }
}

/// Takes one complete client frame from the front: its first byte and its payload, unmasked.
fn take_frame(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let [first, second, ..] = **bytes else { return None };
    assert_eq!(second & 0x80, 0x80, "the client masks its frames");
    let (length, at) = match second & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap())), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()), 10),
        short => (u64::from(short), 2),
    };
    let end = at + 4 + usize::try_from(length).unwrap();
    if bytes.len() < end {
        return None;
    }
    let frame: Vec<u8> = bytes.drain(..end).collect();
    let mask = &frame[at..at + 4];
    Some((first, frame[at + 4..].iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect()))
}
