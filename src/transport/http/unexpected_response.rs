//! An HTTP response without a JSON-RPC message: what is kept of it, and the failure it means unless the session
//! knows more.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, Url};

use crate::error::{ErrorKind, Failure, RetryAdvice};
use crate::transport::message::UnexpectedResponse;
use crate::transport::url::{redacted_url, url_for_trace};
use crate::util::duration::format_duration;
use crate::util::http_date::parse_http_date;
use crate::util::page_title::{is_page, page_title};
use crate::util::shorten::shorten;

/// The nonce for the next DPoP proof (RFC 9449 §8).
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// The longest delay of `Retry-After` that is kept, in seconds. No request waits that long.
const MAX_RETRY_AFTER: u64 = u32::MAX as u64;
/// How much of a body is kept, in bytes.
const MAX_BODY_HEAD: usize = 4096;
/// How much of a body a message quotes, in characters.
const MAX_BODY_TEXT: usize = 300;
/// How long the body of an error response may take; what has arrived by then is kept.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(5);

impl UnexpectedResponse {
    /// What the body says: its first line, or the title if it is an HTML page.
    #[must_use]
    pub fn body_summary(&self) -> Option<String> {
        let line = if is_page(&self.body) {
            page_title(&self.body)?
        } else {
            self.body.lines().map(str::trim).find(|line| !line.is_empty())?.to_owned()
        };
        Some(shorten(&line, MAX_BODY_TEXT))
    }
}

/// A response without its body.
pub(super) fn from_head(response: &Response, url: &Url, in_session: bool) -> UnexpectedResponse {
    let text = |name: HeaderName| {
        response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    UnexpectedResponse {
        url: redacted_url(url),
        status: response.status().as_u16(),
        content_type: text(CONTENT_TYPE),
        challenges: challenges(response),
        retry_after: text(RETRY_AFTER).and_then(|value| parse_retry_after(&value, SystemTime::now())),
        location: text(LOCATION).map(|location| resolve_location(url, &location)),
        dpop_nonce: text(DPOP_NONCE),
        remote_ip: response.remote_addr().map(|address| address.ip()),
        body: String::new(),
        had_session_id: in_session,
    }
}

/// The lines of `WWW-Authenticate`.
pub(super) fn challenges(response: &Response) -> Vec<String> {
    let lines = response.headers().get_all(WWW_AUTHENTICATE).iter();
    lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned()).collect()
}

/// The target of a redirect, for messages: its query may repeat the secrets of the request.
fn resolve_location(url: &Url, location: &str) -> String {
    match url.join(location) {
        Ok(next) => url_for_trace(&next),
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

/// A response with the first part of its body, if that can be read.
pub(super) async fn from_response(mut response: Response, url: &Url, in_session: bool) -> UnexpectedResponse {
    let mut unexpected = from_head(&response, url, in_session);
    let mut head = Vec::new();
    let reading = async {
        while head.len() < MAX_BODY_HEAD {
            match response.chunk().await {
                Ok(Some(chunk)) => head.extend_from_slice(&chunk),
                Ok(None) | Err(_) => break,
            }
        }
    };
    let _ = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    unexpected.body = body_head(&head);
    unexpected
}

/// The first part of a body, as text.
pub(super) fn body_head(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_BODY_HEAD).unwrap_or(bytes)).trim().to_owned()
}

/// Parses `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u64>() {
        return Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER)));
    }
    let at = UNIX_EPOCH + Duration::from_secs(parse_http_date(value)?);
    Some(at.duration_since(now).unwrap_or_default())
}

impl UnexpectedResponse {
    /// Adds to a failure what the status says about a retry.
    #[must_use]
    pub fn with_retry_advice(&self, failure: Failure) -> Failure {
        let mut failure = failure.retry_advice(RetryAdvice::from_status(self.status, self.retry_after));
        // A proxy in front of a server that is still starting may not know its path yet.
        failure.details_mut().maybe_starting = self.status == 404;
        failure
    }

    /// The failure that it means, if nothing more is known about the server.
    #[must_use]
    pub(crate) fn to_failure(&self) -> Failure {
        let UnexpectedResponse { url, status, .. } = self;
        let message = match status {
            401 => format!("{url} requires authentication (HTTP 401)"),
            403 => format!("{url} refused access (HTTP 403)"),
            404 => format!("no MCP server at {url} (HTTP 404)"),
            407 => "the proxy requires authentication (HTTP 407)".to_owned(),
            429 => format!("{url} received too many requests (HTTP 429)"),
            300..=399 => format!("{url} redirects to another URL (HTTP {status})"),
            _ => format!("{url} returned HTTP {status}"),
        };
        let mut failure = self.with_retry_advice(Failure::new(ErrorKind::from_http_status(*status), message));
        if let Some(location) = &self.location {
            failure = failure.cause(format!("Location: {location}")).hint("if you trust that URL, use it instead");
        } else if let Some(text) = self.body_summary() {
            failure = failure.cause(text);
        }
        if let (429 | 503, Some(wait)) = (*status, self.retry_after) {
            failure = failure.hint(format!("try again in {}", format_duration(wait)));
        }
        failure
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn retry_delays_are_parsed() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(parse_retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("-1", now), None);
    }

    #[test]
    fn the_status_decides_the_error_kind() {
        let kind = |status| {
            let response = UnexpectedResponse {
                url: "http://h/".into(),
                status,
                content_type: None,
                challenges: vec![],
                retry_after: None,
                location: None,
                dpop_nonce: None,
                remote_ip: None,
                body: "\n no such page\nx".into(),
                had_session_id: false,
            };
            let failure = response.to_failure();
            assert_eq!(failure.details().causes, ["no such page"]);
            failure.kind()
        };
        assert_eq!([401, 403].map(kind), [ErrorKind::Auth; 2]);
        assert_eq!([302, 404, 407, 408, 425, 429, 500, 503, 599].map(kind), [ErrorKind::Unreachable; 9]);
        assert_eq!([200, 204, 400, 405, 415].map(kind), [ErrorKind::Protocol; 5]);
    }
}
