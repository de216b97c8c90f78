//! URLs of servers: how messages and traces show them, and how they are compared.

use reqwest::Url;

use crate::error::{ErrorKind, Failure, Result};
use crate::secret::REDACTED;

/// A URL for messages: without a password, and without a query, which often contains a key.
pub(crate) fn redacted_url(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for http and https.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// A URL for the trace, and one named by a server: without a password, and with only the names of the query's
/// parameters, since their values may be keys.
pub(super) fn url_for_trace(url: &Url) -> String {
    let mut text = redacted_url(url);
    for (at, pair) in url.query().into_iter().flat_map(|query| query.split('&')).enumerate() {
        text.push(if at == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => text.extend([name, "=", REDACTED]),
            None => text.push_str(REDACTED),
        }
    }
    text
}

/// The URL of the HTTP request that opens a WebSocket connection (RFC 6455 §4.1).
///
/// # Errors
/// [`ErrorKind::Usage`] if the URL cannot have the scheme `http` or `https`.
pub(super) fn http_url_of(url: &Url) -> Result<Url> {
    let mut http_url = url.clone();
    let scheme = if url.scheme() == "wss" { "https" } else { "http" };
    match http_url.set_scheme(scheme) {
        Ok(()) => Ok(http_url),
        Err(()) => Err(Failure::new(ErrorKind::Usage, format!("{} is not a WebSocket URL", redacted_url(url)))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn messages_show_no_secret_of_a_url() {
        assert_eq!(redacted_url(&url("https://me:pw@host:8443/mcp?api_key=hunter2#x")), "https://host:8443/mcp");
    }

    #[test]
    fn the_trace_shows_no_query_values() {
        assert_eq!(
            url_for_trace(&url("http://u:p@h/m?sessionId=abc&tok")),
            "http://h/m?sessionId=[redacted]&[redacted]"
        );
        assert_eq!(url_for_trace(&url("http://h/m")), "http://h/m");
    }

    #[test]
    fn a_websocket_url_has_an_http_url() {
        assert_eq!(http_url_of(&url("wss://h:1/mcp")).unwrap().as_str(), "https://h:1/mcp");
        assert_eq!(http_url_of(&url("ws://h/")).unwrap().as_str(), "http://h/");
    }
}
