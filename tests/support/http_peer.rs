//! One connection of the scripted HTTP server: reads requests exactly and writes responses at defined times.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustls::{ServerConnection, StreamOwned};

use super::http::{HttpServerState, Request};
use super::reply::{Framing, Reply, ReplyStep};

/// A byte stream whose reads have a time limit.
trait TimedStream: Read + Write + Send {
    fn limit_reads(&self, time: Duration);

    /// Makes the end of the connection a reset instead of an orderly close.
    fn reset_on_close(&self);
}

impl TimedStream for TcpStream {
    fn limit_reads(&self, time: Duration) {
        let _ = self.set_read_timeout(Some(time));
    }

    fn reset_on_close(&self) {
        set_socket_linger(self, Some(Duration::ZERO)).unwrap();
    }
}

impl TimedStream for StreamOwned<ServerConnection, TcpStream> {
    fn limit_reads(&self, time: Duration) {
        let _ = self.sock.set_read_timeout(Some(time));
    }

    fn reset_on_close(&self) {
        self.sock.reset_on_close();
    }
}

/// A connection, and the bytes that were read ahead.
struct HttpConnection<'a> {
    link: Box<dyn TimedStream>,
    read_ahead: Vec<u8>,
    shared: &'a HttpServerState,
}

/// Serves one connection to its end.
pub(super) fn serve(socket: TcpStream, connection: usize, shared: &HttpServerState) {
    let _ = socket.set_nodelay(true);
    let link: Box<dyn TimedStream> = match &shared.tls {
        None => Box::new(socket),
        Some(config) => {
            let session = ServerConnection::new(Arc::clone(config)).unwrap();
            Box::new(StreamOwned::new(session, socket))
        }
    };
    let mut peer = HttpConnection { link, read_ahead: Vec::new(), shared };
    while let Some(mut request) = peer.read_request(connection) {
        // Counted and logged under one lock, so that the number and the position in the log agree.
        {
            let mut log = shared.log.lock().unwrap();
            request.n = shared.next.fetch_add(1, Ordering::SeqCst);
            log.push(request.clone());
        }
        let reply = catch_unwind(AssertUnwindSafe(|| (shared.script)(&request))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            shared.failures.lock().unwrap().push(text.unwrap_or_else(|| "the script panicked".to_owned()));
            Reply::text("text/plain", "the script of the test failed").with_status(500).header("Connection", "close")
        });
        if !peer.send_reply(reply, request.n) {
            return;
        }
    }
}

impl HttpConnection<'_> {
    /// Reads more; `false` at the end of the connection or of the test.
    fn read_more(&mut self) -> bool {
        let mut buffer = [0; 16384];
        self.link.limit_reads(Duration::from_millis(20));
        loop {
            match self.link.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => {
                    self.read_ahead.extend_from_slice(&buffer[..count]);
                    return true;
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if self.shared.stop.load(Ordering::SeqCst) {
                        return false;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
    }

    fn read_request(&mut self, connection: usize) -> Option<Request> {
        let end = loop {
            if let Some(at) = self.read_ahead.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.read_more() {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.read_ahead[..end]).into_owned();
        self.read_ahead.drain(..end);
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut request =
            Request { n: 0, connection, method, target, headers, head, body: Vec::new(), at: Instant::now() };
        if request.header("expect").is_some() {
            let _ = self.link.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        request.body = self.read_body(&request)?;
        Some(request)
    }

    fn read_body(&mut self, request: &Request) -> Option<Vec<u8>> {
        if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let line = self.read_line()?;
                let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
                let chunk = self.read_exactly(size + 2)?;
                body.extend_from_slice(&chunk[..size]);
                if size == 0 {
                    return Some(body);
                }
            }
        }
        let length = request.header("content-length").map_or(0, |value| value.parse().expect("a length"));
        self.read_exactly(length)
    }

    fn read_line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.read_ahead.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.read_ahead.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if !self.read_more() {
                return None;
            }
        }
    }

    fn read_exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.read_ahead.len() < count {
            if !self.read_more() {
                return None;
            }
        }
        Some(self.read_ahead.drain(..count).collect())
    }

    /// Plays a response; `true` if the connection can take another request.
    fn send_reply(&mut self, reply: Reply, n: usize) -> bool {
        let length =
            reply.steps.iter().map(|step| if let ReplyStep::Body(bytes) = step { bytes.len() } else { 0 }).sum();
        let (head, framing, close) = (reply.head(length), reply.framing, reply.closes_connection());
        // A whole response is sent in one piece, as servers do.
        let mut pending = head;
        for step in reply.steps {
            let bytes = match step {
                ReplyStep::Body(bytes) => self.framed(bytes, framing),
                ReplyStep::Raw(bytes) => bytes,
                ReplyStep::Later(make) => {
                    if !self.write(&std::mem::take(&mut pending), n) {
                        return false;
                    }
                    self.framed(make(), framing)
                }
                ReplyStep::Pause(time) => {
                    if !self.write(&std::mem::take(&mut pending), n) || !self.wait_while_connected(Some(time), n) {
                        return false;
                    }
                    continue;
                }
                ReplyStep::Feed(feed) => {
                    if !self.write(&std::mem::take(&mut pending), n) {
                        return false;
                    }
                    loop {
                        match feed.next(Duration::from_millis(5)) {
                            Ok(bytes) => {
                                let framed = self.framed(bytes, framing);
                                if !self.write(&framed, n) {
                                    return false;
                                }
                            }
                            Err(true) => break,
                            Err(false) if self.wait_while_connected(Some(Duration::ZERO), n) => {}
                            Err(false) => return false,
                        }
                    }
                    continue;
                }
                ReplyStep::Repeat(make) => {
                    if self.write(&std::mem::take(&mut pending), n) {
                        let framed = self.framed(make(), framing);
                        while self.write(&framed, n) {}
                    }
                    return false;
                }
                ReplyStep::Stall => {
                    if self.write(&std::mem::take(&mut pending), n) {
                        self.wait_while_connected(None, n);
                    }
                    return false;
                }
                ReplyStep::Disconnect => {
                    self.write(&pending, n);
                    return false;
                }
                ReplyStep::Reset => {
                    self.link.reset_on_close();
                    return false;
                }
            };
            pending.extend_from_slice(&bytes);
            // Separate pieces are sent separately.
            if framing == Framing::Chunked && !self.write(&std::mem::take(&mut pending), n) {
                return false;
            }
        }
        if framing == Framing::Chunked {
            pending.extend_from_slice(b"0\r\n\r\n");
        }
        self.write(&pending, n) && matches!(framing, Framing::Length | Framing::Chunked) && !close
    }

    fn framed(&self, bytes: Vec<u8>, framing: Framing) -> Vec<u8> {
        match framing {
            Framing::Chunked if bytes.is_empty() => bytes,
            Framing::Chunked => [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat(),
            _ => bytes,
        }
    }

    fn write(&mut self, bytes: &[u8], n: usize) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let done = self.link.write_all(bytes).and_then(|()| self.link.flush()).is_ok();
        if !done {
            self.shared.abandoned.lock().unwrap().push(n);
        }
        done
    }

    /// Waits, and watches whether the client closes the connection; `false` if it did or the test is over.
    fn wait_while_connected(&mut self, time: Option<Duration>, n: usize) -> bool {
        let end = time.map(|time| Instant::now() + time);
        let mut buffer = [0; 4096];
        loop {
            self.link.limit_reads(Duration::from_millis(2));
            match self.link.read(&mut buffer) {
                Ok(count @ 1..) => self.read_ahead.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Ok(_) | Err(_) => {
                    self.shared.abandoned.lock().unwrap().push(n);
                    return false;
                }
            }
            if self.shared.stop.load(Ordering::SeqCst) {
                return false;
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                return true;
            }
        }
    }
}
