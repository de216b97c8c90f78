//! Plain HTTP/1.1 to a server on this very machine: a socket and hyper's connection, with nothing between.
//!
//! No proxy, no TLS and no HTTP/2 can come into it, and what the general client (`client`) makes ready for those was
//! an eighth of the instructions and twenty of the pages of a call to such a server. On the wire, in the answers and
//! in the failures the two are the same.

use std::error::Error;
use std::fmt;
use std::future::{self, Ready};
use std::io::{self, ErrorKind, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HOST, HeaderMap, HeaderValue};
use reqwest::{Body, Method, Response, ResponseBuilderExt, Url};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tower_http::decompression::Decompression;
use tower_service::Service;
use url::{Host, Position};

use super::sink::lock;
use crate::transport::HttpEndpoint;
use crate::util::loopback::{ADDRESSES, is_loopback};

/// What is asked for of compression, in the words of the general client.
const ENCODINGS: HeaderValue = HeaderValue::from_static("zstd,gzip,br");
/// What is asked for of media types where the request does not say.
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");

/// The connections to one server on this machine.
pub(super) struct Direct {
    /// How long connecting may take; `None` waits for ever.
    timeout: Option<Duration>,
    /// Those that have been used, busy ones among them.
    known: Mutex<Vec<Line>>,
}

/// A connection that requests can be sent on, one after the other.
struct Line {
    sender: http1::SendRequest<Full<Bytes>>,
    peer: IpAddr,
}

/// The address that an answer came from, kept among its extensions.
#[derive(Clone)]
struct Peer(IpAddr);

/// The address that an answer came from, where it came over one of our own connections.
pub(super) fn peer(response: &Response) -> Option<IpAddr> {
    response.extensions().get().map(|Peer(address)| *address)
}

/// Why there is no answer. The texts are those that the general client has.
#[derive(Debug)]
pub(super) enum Fault {
    /// No connection.
    Connect(io::Error),
    /// No connection in time.
    Late,
    /// The request does not go into HTTP.
    Request(Box<dyn Error + Send + Sync>),
    /// The connection broke off, or what came over it is not HTTP.
    Broken(hyper::Error),
    /// The same on a new connection, before anything of the request was written.
    Unwritten(hyper::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Connect(_) => "tcp connect error",
            Fault::Late => "operation timed out",
            Fault::Request(_) => "builder error",
            Fault::Broken(_) | Fault::Unwritten(_) => "error sending request",
        })
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Fault::Connect(error) => Some(error),
            Fault::Late => None,
            Fault::Request(error) => Some(error.as_ref()),
            Fault::Broken(error) | Fault::Unwritten(error) => Some(error),
        }
    }
}

impl Direct {
    /// The way to this endpoint, where it is a plain one on this machine.
    pub(super) fn to(endpoint: &HttpEndpoint, connect_timeout: Option<Duration>) -> Option<Self> {
        let HttpEndpoint { url, tls, .. } = endpoint;
        let plain = url.scheme() == "http" && url.username().is_empty() && url.password().is_none();
        let here = endpoint.socket.is_none() && is_loopback(url);
        let proxy = endpoint.proxy.as_ref().is_some_and(|proxy| !proxy.reveal().is_empty());
        // A file that is named is looked at, needed or not.
        let files = tls.cacert.is_some() || tls.cert.is_some() || tls.key.is_some();
        let timeout = connect_timeout.filter(|limit| !limit.is_zero());
        (plain && here && !proxy && !files).then(|| Direct { timeout, known: Mutex::default() })
    }

    /// Sends a request to its URL, on a connection that is free or on a new one, and waits for the head of the answer.
    ///
    /// # Errors
    /// When no answer came.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Response, Fault> {
        let mut request = carried(method, url, headers, body).map_err(Fault::Request)?;
        loop {
            let (mut line, new) = match self.free() {
                Some(line) => (line, None),
                None => self.connect(url).await.map(|(line, task)| (line, Some(task)))?,
            };
            match line.sender.try_send_request(request).await {
                Ok(response) => {
                    let peer = Peer(line.peer);
                    lock(&self.known).push(line);
                    return handed_on(response, url.clone(), peer).await;
                }
                Err(mut error) => match (error.take_message(), new) {
                    // What was begun to be written may have been read.
                    (None, _) => return Err(Fault::Broken(error.into_error())),
                    // The server had closed the connection, and has seen nothing of the request.
                    (Some(unwritten), None) => request = unwritten,
                    (Some(_), Some(task)) => {
                        drop(line);
                        // Why it ended is told to whoever asked for something over it, or else here.
                        let why = task.await.ok().and_then(Result::err);
                        return Err(Fault::Unwritten(why.unwrap_or_else(|| error.into_error())));
                    }
                },
            }
        }
    }

    /// A connection that nothing is under way on.
    fn free(&self) -> Option<Line> {
        let mut known = lock(&self.known);
        known.retain(|line| !line.sender.is_closed());
        let at = known.iter().position(|line| line.sender.is_ready())?;
        Some(known.swap_remove(at))
    }

    /// A new connection, and the task that serves it.
    async fn connect(&self, url: &Url) -> Result<(Line, JoinHandle<hyper::Result<()>>), Fault> {
        let opened = match self.timeout {
            Some(limit) => tokio::time::timeout(limit, open(url)).await.map_err(|_| Fault::Late)?,
            None => open(url).await,
        };
        let stream = opened?;
        let peer = stream.peer_addr().map_err(Fault::Connect)?.ip();
        let (sender, connection) =
            http1::handshake(Socket { stream: TokioIo::new(stream), unheard: false }).await.map_err(Fault::Broken)?;
        Ok((Line { sender, peer }, tokio::spawn(connection)))
    }
}

/// A socket whose server may answer and hang up before it has read all of a request (413, say). That nobody reads the
/// rest is no failure by itself: what was said before can still be heard, and if it was nothing, its end is.
struct Socket {
    stream: TokioIo<TcpStream>,
    /// The server reads no more.
    unheard: bool,
}

impl Socket {
    /// What became of writing `all` bytes.
    fn written(&mut self, all: usize, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        match outcome {
            Poll::Ready(Err(error)) if matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) => {
                self.unheard = true;
                Poll::Ready(Ok(all))
            }
            outcome => outcome,
        }
    }
}

impl Read for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.unheard {
            return Poll::Ready(Ok(buf.len()));
        }
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(buf.len(), outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let all = bufs.iter().map(|buf| buf.len()).sum();
        if self.unheard {
            return Poll::Ready(Ok(all));
        }
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(all, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Opens a socket; one address after the other, as all of them are on this machine.
async fn open(url: &Url) -> Result<TcpStream, Fault> {
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = match url.host() {
        Some(Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
        Some(Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
        // A name is `localhost` here, whose addresses are known.
        _ => TcpStream::connect(ADDRESSES.map(|address| SocketAddr::new(address, port)).as_slice()).await,
    };
    let stream = stream.map_err(Fault::Connect)?;
    stream.set_nodelay(true).map_err(Fault::Connect)?;
    Ok(stream)
}

/// The request as HTTP/1.1 carries it (RFC 9112 §3.2.1), with the headers that any request has.
fn carried(
    method: &Method,
    url: &Url,
    mut headers: HeaderMap,
    body: Option<Bytes>,
) -> Result<hyper::Request<Full<Bytes>>, Box<dyn Error + Send + Sync>> {
    headers.entry(ACCEPT).or_insert(ANYTHING);
    headers.entry(ACCEPT_ENCODING).or_insert(ENCODINGS);
    headers.entry(HOST).or_insert(HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort])?);
    let mut request = hyper::Request::new(Full::new(body.unwrap_or_default()));
    *request.method_mut() = method.clone();
    *request.uri_mut() = url[Position::BeforePath..Position::AfterQuery].parse()?;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The answer as the general client gives it.
async fn handed_on(response: hyper::Response<Incoming>, url: Url, peer: Peer) -> Result<Response, Fault> {
    let mut response = match response.headers().contains_key(CONTENT_ENCODING) {
        true => Decompression::new(Arrived(Some(response))).call(hyper::Request::new(())).await?.map(Body::wrap),
        false => response.map(Body::wrap),
    };
    // Else a URL is made up, at the price of reading it.
    if let Ok(known) = hyper::Response::builder().url(url).body(()) {
        response.extensions_mut().extend(known.into_parts().0.extensions);
    }
    response.extensions_mut().insert(peer);
    Ok(response.into())
}

/// Stands for a server whose answer is here, below the layer that unpacks bodies.
struct Arrived(Option<hyper::Response<Incoming>>);

impl Service<hyper::Request<()>> for Arrived {
    type Response = hyper::Response<Incoming>;
    type Error = Fault;
    type Future = Ready<Result<Self::Response, Fault>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: hyper::Request<()>) -> Self::Future {
        future::ready(self.0.take().ok_or_else(|| Fault::Request("an answer is unpacked once".into())))
    }
}
