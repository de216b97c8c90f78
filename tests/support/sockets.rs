//! Servers on Unix sockets: one message per line, and HTTP forwarded to a server on a port.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::mcp::{Mcp, ScriptedOutput, play_actions};

/// The server's side of one connection.
#[derive(Clone)]
pub struct SocketConnection(Arc<Mutex<UnixStream>>);

impl ScriptedOutput for SocketConnection {
    fn send(&self, message: &Value) {
        self.send_raw_text(message.to_string());
    }

    fn send_raw_text(&self, text: String) {
        // A client that has closed the connection receives nothing.
        self.write((text + "\n").as_bytes());
    }
}

impl SocketConnection {
    /// Whether these bytes could be written.
    pub fn write(&self, bytes: &[u8]) -> bool {
        self.0.lock().unwrap().write_all(bytes).is_ok()
    }

    pub fn hang_up(&self) {
        let _ = self.0.lock().unwrap().shutdown(std::net::Shutdown::Both);
    }
}

/// Listens on `path`; each line of each connection (counted from 0) goes to the script.
pub fn serve_lines(path: &Path, script: impl Fn(usize, &SocketConnection, &str) + Send + Sync + 'static) {
    let listener = UnixListener::bind(path).unwrap();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for (n, socket) in listener.incoming().enumerate() {
            let (Ok(socket), script) = (socket, Arc::clone(&script)) else { return };
            std::thread::spawn(move || {
                let line = SocketConnection(Arc::new(Mutex::new(socket.try_clone().unwrap())));
                for text in BufReader::new(socket).lines().map_while(Result::ok) {
                    script(n, &line, &text);
                }
            });
        }
    });
}

/// Forwards every connection to `path` to a port.
pub fn forward_to_port(path: &Path, to: SocketAddr) {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let (Ok(near), Ok(far)) = (socket, TcpStream::connect(to)) else { return };
            let (mut from_near, mut to_far) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_near, &mut to_far);
                let _ = to_far.shutdown(std::net::Shutdown::Both);
            });
            let (mut from_far, mut to_near) = (far, near);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_far, &mut to_near);
                let _ = to_near.shutdown(std::net::Shutdown::Both);
            });
        }
    });
}

impl Mcp {
    /// This server over a Unix socket; what the client sent is recorded.
    pub fn unix(self, path: &Path) -> Arc<Mutex<Vec<Value>>> {
        let (mcp, log) = (Arc::new(self), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&log);
        serve_lines(path, move |_, line, text| {
            let message: Value = serde_json::from_str(text).expect("the client writes JSON lines");
            seen.lock().unwrap().push(message.clone());
            play_actions(&mcp, line, mcp.handle(&message));
        });
        log
    }
}

/// Starts these words for each connection to `path`, with the connection as standard input and output, as inetd does.
pub fn serve_processes(path: &Path, words: &[String]) {
    use std::os::fd::OwnedFd;
    let listener = UnixListener::bind(path).unwrap();
    let words = words.to_vec();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let output = OwnedFd::from(socket.try_clone().unwrap());
            let mut command = std::process::Command::new(&words[0]);
            command.args(&words[1..]).stdin(OwnedFd::from(socket)).stdout(output).stderr(std::process::Stdio::null());
            let mut child = command.spawn().unwrap();
            // The command holds the other copies of the connection.
            drop(command);
            std::thread::spawn(move || child.wait());
        }
    });
}
