//! A WebSocket server inside the test, written to the frame: what the client sent is kept, and what is
//! answered may be anything, wrong handshakes and broken frames too.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use super::mcp::{Mcp, Voice, play};

/// What happens on one connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// The request for the WebSocket, its head byte for byte. Before the script returns, nothing is answered.
    Asked(String),
    Text(String),
    Pong(Vec<u8>),
    /// The code, 1005 where there is none, and the reason.
    Close(u16, String),
    /// The connection is gone.
    Gone,
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One connection, from the script's side.
#[derive(Clone)]
pub struct Peer {
    /// The how many-th it is, from 0.
    pub n: usize,
    stream: Arc<Mutex<Box<dyn Stream>>>,
    socket: Arc<TcpStream>,
    answered: Arc<AtomicBool>,
}

impl Peer {
    /// Answers the handshake with these bytes; otherwise it is answered as it should be.
    pub fn raw(&self, bytes: impl AsRef<[u8]>) {
        self.answered.store(true, Ordering::SeqCst);
        // A client that is gone hears nothing.
        let mut stream = self.stream.lock().unwrap();
        let _ = stream.write_all(bytes.as_ref()).and_then(|()| stream.flush());
    }

    /// One frame: its first byte (FIN and opcode), its payload.
    pub fn frame(&self, first: u8, payload: &[u8]) {
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
        self.raw(frame);
    }

    pub fn say(&self, text: &str) {
        self.frame(0x81, text.as_bytes());
    }

    pub fn ping(&self, payload: &[u8]) {
        self.frame(0x89, payload);
    }

    pub fn close(&self, code: u16, reason: &str) {
        self.frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat());
    }

    /// Ends the TCP connection without a word.
    pub fn cut(&self) {
        self.answered.store(true, Ordering::SeqCst);
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl Voice for Peer {
    fn send(&self, message: &Value) {
        self.say(&message.to_string());
    }

    fn text(&self, text: String) {
        self.say(&text);
    }
}

type Script = dyn Fn(&Peer, &Heard) + Send + Sync;

/// A running server.
pub struct WsServer {
    address: SocketAddr,
    tls: bool,
    log: Arc<Mutex<Vec<(usize, Heard)>>>,
    stop: Arc<AtomicBool>,
}

impl WsServer {
    pub fn start(script: impl Fn(&Peer, &Heard) + Send + Sync + 'static) -> Self {
        Self::with(None, script)
    }

    /// The same behind TLS.
    pub fn with(tls: Option<Arc<ServerConfig>>, script: impl Fn(&Peer, &Heard) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (log, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (all, over, config) = (Arc::clone(&log), Arc::clone(&stop), tls.clone());
        let script: Arc<Script> = Arc::new(script);
        std::thread::spawn(move || {
            for (n, socket) in listener.incoming().enumerate() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(socket), script, log, config) = (socket, script.clone(), all.clone(), config.clone()) else {
                    continue;
                };
                std::thread::spawn(move || serve(n, socket, config, &script, &log));
            }
        });
        WsServer { address, tls: tls.is_some(), log, stop }
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", if self.tls { "wss" } else { "ws" }, self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything heard so far, with the number of its connection.
    pub fn heard(&self) -> Vec<(usize, Heard)> {
        self.log.lock().unwrap().clone()
    }

    /// The heads of the requests for a WebSocket.
    pub fn asked(&self) -> Vec<String> {
        let of = |(_, heard)| if let Heard::Asked(head) = heard { Some(head) } else { None };
        self.heard().into_iter().filter_map(of).collect()
    }

    /// The methods of the messages that came; `answer` where the client answered.
    pub fn methods(&self) -> Vec<String> {
        let title = |text: &str| {
            let message: Value = serde_json::from_str(text).expect("the client writes JSON");
            message.get("method").and_then(Value::as_str).unwrap_or("answer").to_owned()
        };
        self.heard()
            .iter()
            .filter_map(|(_, heard)| if let Heard::Text(text) = heard { Some(title(text)) } else { None })
            .collect()
    }

    /// Waits until every connection is gone.
    #[track_caller]
    pub fn settled(&self) -> Vec<(usize, Heard)> {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let heard = self.heard();
            let count = |wanted: fn(&Heard) -> bool| heard.iter().filter(|(_, heard)| wanted(heard)).count();
            if count(|heard| matches!(heard, Heard::Asked(_))) == count(|heard| *heard == Heard::Gone) {
                return heard;
            }
            assert!(Instant::now() < end, "a connection stays: {heard:#?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for WsServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

impl Mcp {
    /// This server over a WebSocket.
    pub fn websocket(self) -> WsServer {
        WsServer::start(self.ws_script())
    }

    /// The script alone.
    pub fn ws_script(self) -> impl Fn(&Peer, &Heard) + Send + Sync + 'static {
        let mcp = Arc::new(self);
        move |peer, heard| {
            if let Heard::Text(text) = heard {
                let message: Value = serde_json::from_str(text).expect("the client writes JSON");
                play(&mcp, peer, mcp.handle(&message));
            }
        }
    }
}

/// The answer to a handshake as it should be.
pub fn welcome(head: &str) -> String {
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

fn serve(
    n: usize,
    socket: TcpStream,
    tls: Option<Arc<ServerConfig>>,
    script: &Arc<Script>,
    log: &Mutex<Vec<(usize, Heard)>>,
) {
    let _ = socket.set_nodelay(true);
    let _ = socket.set_read_timeout(Some(Duration::from_millis(5)));
    let kept = Arc::new(socket.try_clone().unwrap());
    let stream: Box<dyn Stream> = match tls {
        None => Box::new(socket),
        Some(config) => Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), socket)),
    };
    let answered = Arc::new(AtomicBool::new(false));
    let peer = Peer { n, stream: Arc::new(Mutex::new(stream)), socket: kept, answered };
    let tell = |heard: Heard| {
        log.lock().unwrap().push((n, heard.clone()));
        script(&peer, &heard);
    };
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break at + 4;
        }
        if !more(&peer, &mut bytes) {
            return;
        }
    };
    let head = String::from_utf8(bytes.drain(..end).collect()).unwrap();
    tell(Heard::Asked(head.clone()));
    if !peer.answered.load(Ordering::SeqCst) {
        peer.raw(welcome(&head));
    }
    loop {
        while let Some((first, payload)) = unframe(&mut bytes) {
            assert_eq!(first & 0x80, 0x80, "the client sends whole messages");
            tell(match first & 0x0f {
                1 => Heard::Text(String::from_utf8(payload).unwrap()),
                8 if payload.is_empty() => Heard::Close(1005, String::new()),
                8 => Heard::Close(
                    u16::from_be_bytes([payload[0], payload[1]]),
                    String::from_utf8(payload[2..].to_vec()).unwrap(),
                ),
                10 => Heard::Pong(payload),
                other => panic!("the client sent a frame of kind {other}"),
            });
            if first & 0x0f == 8 {
                peer.frame(0x88, &[]);
                peer.cut();
            }
        }
        if !more(&peer, &mut bytes) {
            return tell(Heard::Gone);
        }
    }
}

/// Reads some more; `false` at the end.
fn more(peer: &Peer, bytes: &mut Vec<u8>) -> bool {
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

/// Takes one whole frame of the client off the front: its first byte and its payload, unmasked.
fn unframe(bytes: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
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
