//! Receives the redirect of the browser on this machine (RFC 8252 §7.3).
//!
//! It listens on the loopback address only and accepts one response. Its pages show nothing of what was sent to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use url::Url;

use crate::auth::authorization_request::AuthorizationRequest;
use crate::config::oauth::RedirectUri;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;

/// The longest request head, in bytes.
const MAX_HEAD_BYTES: usize = 16 << 10;
/// The time limit for a request. Browsers open connections in advance and send nothing on them.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// The most connections that are accepted; a browser does not open more.
const MAX_CONNECTIONS: usize = 100;

const SUCCESS_TEXT: &str = "mcpipe has received the response. You can close this page and return to the terminal.";
const FAILURE_TEXT: &str = "The login failed. The terminal shows why; you can close this page.";
const UNRELATED_TEXT: &str = "This response does not belong to the current login.";
const NOT_FOUND_TEXT: &str = "Not found.";

/// A listener on a loopback port.
pub struct RedirectListener {
    listener: TcpListener,
    /// The same port of the other address family. A browser may try either for `localhost`.
    other_family: Option<TcpListener>,
    redirect: RedirectUri,
}

impl RedirectListener {
    /// Binds the host and the port of this redirect URI, or any port if it has none.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if the port is in use.
    pub async fn bind(wanted: &RedirectUri) -> Result<Self> {
        let host = wanted.host().trim_start_matches('[').trim_end_matches(']');
        let address = host.parse().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let bound = TcpListener::bind((address, wanted.port().unwrap_or(0))).await;
        let bound = bound.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
        let (port, listener) = bound.map_err(|error| {
            let what = match wanted.port() {
                Some(port) => format!("cannot listen on port {port} for the login"),
                None => "cannot listen for the login".to_owned(),
            };
            let failure = Failure::new(ErrorKind::Config, what).caused_by(&error);
            let another = match wanted == &RedirectUri::loopback(wanted.port()) {
                true => "port: --redirect-port PORT",
                false => "redirect URI: --redirect-uri URI",
            };
            match wanted.port() {
                Some(_) => {
                    failure.hint(format!("stop the program that uses the port, or choose another registered {another}"))
                }
                None => failure.hint("log in without a redirect to this machine: --no-browser"),
            }
        })?;
        let other_family = match host.parse::<IpAddr>() {
            Ok(_) => None,
            Err(_) => TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await.ok(),
        };
        Ok(RedirectListener { listener, other_family, redirect: wanted.with_port(port) })
    }

    /// Binds the given port, or any if it is in use.
    ///
    /// # Errors
    /// If no port can be bound.
    pub async fn bind_preferred(wanted: Option<u16>) -> Result<Self> {
        if wanted.is_some()
            && let Ok(bound) = RedirectListener::bind(&RedirectUri::loopback(wanted)).await
        {
            return Ok(bound);
        }
        RedirectListener::bind(&RedirectUri::loopback(None)).await
    }

    /// The redirect URI.
    #[must_use]
    pub fn redirect_uri(&self) -> String {
        self.redirect.uri().to_owned()
    }

    async fn accept(&self) -> std::io::Result<(TcpStream, SocketAddr)> {
        match &self.other_family {
            None => self.listener.accept().await,
            Some(other) => tokio::select! {
                accepted = self.listener.accept() => accepted,
                accepted = other.accept() => accepted,
            },
        }
    }

    /// Waits for the response to `request`, and verifies it. The first one with the request's `state` is used; those
    /// with another `state`, or none, are ignored (`AUT-17`), and `ignored` is called for the first of them.
    ///
    /// # Errors
    /// As [`AuthorizationRequest::verify_response`].
    pub async fn wait_for_code(self, request: &AuthorizationRequest, ignored: impl Fn(&Failure)) -> Result<Secret> {
        let mut talks = JoinSet::new();
        // Other senders are answered concurrently, so that they cannot delay the browser.
        let mut unrelated = JoinSet::new();
        let mut seen = 0;
        loop {
            tokio::select! {
                accepted = self.accept(), if seen < MAX_CONNECTIONS => {
                    seen += 1;
                    if let Ok((stream, _)) = accepted {
                        talks.spawn(tokio::time::timeout(REQUEST_TIMEOUT, read_callback(stream, self.redirect.path().to_owned())));
                    }
                }
                Some(talk) = talks.join_next() => {
                    let Ok(Ok(Some((query, stream)))) = talk else { continue };
                    if !request.matches_state(&query) {
                        if unrelated.is_empty() {
                            let _ = request.verify_response(&query).inspect_err(&ignored);
                        }
                        unrelated.spawn(async move { send_response(stream, &render_response(400, UNRELATED_TEXT)).await });
                        continue;
                    }
                    let judged = request.verify_response(&query);
                    let page = if judged.is_ok() { render_response(200, SUCCESS_TEXT) } else { render_response(400, FAILURE_TEXT) };
                    send_response(stream, &page).await;
                    return judged;
                }
                else => {
                    return Err(Failure::new(ErrorKind::Auth, "the login was not finished")
                        .cause("too many connections that are not from the browser"));
                }
            }
        }
    }
}

/// The port of a redirect URI of mcpipe.
#[must_use]
pub fn loopback_port(redirect_uri: &str) -> Option<u16> {
    Url::parse(redirect_uri).ok().filter(|url| url.host_str() == Some("127.0.0.1"))?.port()
}

/// Reads a request. Returns the query of a callback; any other request is answered here.
async fn read_callback(mut stream: TcpStream, path: String) -> Option<(String, TcpStream)> {
    let mut head = Vec::new();
    let mut chunk = [0; 2048];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&chunk[..read]);
        if head.len() > MAX_HEAD_BYTES {
            send_response(stream, &render_response(431, NOT_FOUND_TEXT)).await;
            return None;
        }
    }
    match callback_query(&head, &path) {
        Ok(query) => Some((query, stream)),
        Err(status) => {
            send_response(stream, &render_response(status, NOT_FOUND_TEXT)).await;
            None
        }
    }
}

/// The query of a callback request; else the status to answer with.
fn callback_query(head: &[u8], callback_path: &str) -> Result<String, u16> {
    let line =
        head.split(|byte| *byte == b'\r').next().and_then(|line| std::str::from_utf8(line).ok()).ok_or(400_u16)?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(400);
    };
    if !version.starts_with("HTTP/1.") {
        return Err(400);
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    match (method, path) {
        ("GET", path) if path == callback_path => Ok(query.to_owned()),
        (_, path) if path == callback_path => Err(405),
        _ => Err(404),
    }
}

fn render_response(status: u16, text: &str) -> String {
    let reason = match status {
        200 => "OK",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Bad Request",
    };
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>mcpipe</title>\n<body style=\"font: 1.2em system-ui, sans-serif; max-width: 32em; margin: 20vh auto; padding: 0 1em\">\n\
         <p>{text}</p>\n"
    );
    format!(
        "HTTP/1.1 {status} {reason}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Content-Type-Options: nosniff\r\n\
         Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a page; failures are ignored.
async fn send_response(mut stream: TcpStream, page: &str) {
    let sending = async {
        stream.write_all(page.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread data would reset the connection, and the browser would lose the page.
        let mut rest = [0; 1024];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), sending).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_ports_of_loopback_redirect_uris_are_reused() {
        assert_eq!(loopback_port("http://127.0.0.1:80/callback"), None);
        assert_eq!(loopback_port("http://example.com:8080/callback"), None);
        assert_eq!(loopback_port("http://127.0.0.1:8080/callback"), Some(8080));
    }
}
