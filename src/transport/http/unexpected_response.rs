//! An HTTP answer that is not what was asked for: what is kept of it, and what it means where nobody
//! above can say it better.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::header::{CONTENT_TYPE, HeaderName, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Response, Url};

use crate::error::{ErrorKind, Failure, RetryAdvice};
use crate::secret::REDACTED;
use crate::transport::UnexpectedResponse;

/// Hands out the nonce that the next proof must hold.
pub(super) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");
/// How much of a body is kept, in bytes.
const MAX_BODY_HEAD: usize = 4096;
/// How long a refusal's body may take; what has come by then is kept.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// What the head of an answer says, without its body.
pub(super) fn from_head(response: &Response, url: &Url, in_session: bool) -> UnexpectedResponse {
    let text = |name: HeaderName| {
        response.headers().get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let challenges = response.headers().get_all(WWW_AUTHENTICATE).iter();
    UnexpectedResponse {
        url: redacted_url(url),
        status: response.status().as_u16(),
        content_type: text(CONTENT_TYPE),
        challenges: challenges.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect(),
        retry_after: text(RETRY_AFTER).and_then(|value| parse_retry_after(&value, SystemTime::now())),
        location: text(LOCATION).map(|location| resolve_location(url, &location)),
        dpop_nonce: text(DPOP_NONCE),
        remote_ip: response.remote_addr().map(|address| address.ip()),
        body: String::new(),
        had_session_id: in_session,
    }
}

/// Where a redirect leads, as it may be shown: servers hand on the query that they were asked with.
fn resolve_location(url: &Url, location: &str) -> String {
    match url.join(location) {
        Ok(next) => url_for_trace(&next),
        Err(_) => location.split(['?', '#']).next().unwrap_or_default().to_owned(),
    }
}

/// The same with the first part of the body; a body that cannot be read is left out.
pub(super) async fn from_response(mut response: Response, url: &Url, in_session: bool) -> UnexpectedResponse {
    let mut refusal = from_head(&response, url, in_session);
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
    refusal.body = body_head(&head);
    refusal
}

/// The first part of a body, as text.
pub(super) fn body_head(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..MAX_BODY_HEAD).unwrap_or(bytes)).trim().to_owned()
}

/// A URL as messages show it: without a password, and without a query, which often holds a key.
pub(crate) fn redacted_url(url: &Url) -> String {
    let mut url = url.clone();
    // Neither can fail for http and https.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.set_fragment(None);
    url.into()
}

/// A URL as the trace shows it, and one that a server names: no password, and of the query the names only, as the
/// values may be keys.
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

/// Reads `Retry-After`: seconds, or a date (RFC 9110 §10.2.3).
fn parse_retry_after(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = UNIX_EPOCH + Duration::from_secs(parse_http_date(value)?);
    Some(at.duration_since(now).unwrap_or_default())
}

/// Seconds since 1970 of a date in the form that RFC 9110 §5.6.7 prefers: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn parse_http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split([' ', ':']);
    let mut next = || words.next();
    let day: u64 = next()?.parse().ok()?;
    let name = next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = next()?.parse().ok().filter(|year| (1970..10_000).contains(year))?;
    let hour: u64 = next()?.parse().ok()?;
    let minute: u64 = next()?.parse().ok()?;
    let second: u64 = next()?.parse().ok()?;
    if !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days of the Gregorian calendar, with years that begin in March so that leap days come last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    Some(((days - 719_468) * 24 + hour) * 3600 + minute * 60 + second)
}

/// The failure that a refusal means by itself, where there is no more to be known about it.
///
/// 401 and 403 are [`ErrorKind::Auth`]; 404, 408, 429, 5xx and redirects are [`ErrorKind::Unreachable`];
/// everything else is [`ErrorKind::Protocol`].
#[must_use]
pub fn unexpected_response_failure(refusal: &UnexpectedResponse) -> Failure {
    let UnexpectedResponse { url, status, .. } = refusal;
    let (class, what) = match status {
        401 => (ErrorKind::Auth, format!("{url} requires authentication (HTTP 401)")),
        403 => (ErrorKind::Auth, format!("{url} refused access (HTTP 403)")),
        404 => (ErrorKind::Unreachable, format!("there is nothing at {url} (HTTP 404)")),
        429 => (ErrorKind::Unreachable, format!("{url} is asked too often (HTTP 429)")),
        300..=399 => (ErrorKind::Unreachable, format!("{url} redirects elsewhere (HTTP {status})")),
        408 | 500.. => (ErrorKind::Unreachable, format!("{url} answered HTTP {status}")),
        _ => (ErrorKind::Protocol, format!("{url} answered HTTP {status}")),
    };
    let mut failure = Failure::new(class, what).retry_advice(RetryAdvice::from_status(*status, refusal.retry_after));
    if *status == 404 {
        failure = failure.maybe_starting();
    }
    if let Some(location) = &refusal.location {
        failure = failure.cause(format!("Location: {location}")).hint("use that URL, if you trust it");
    } else if let Some(first) = refusal.body.lines().map(str::trim).find(|line| !line.is_empty()) {
        let short: String = first.chars().take(300).collect();
        failure = failure.cause(if short.len() < first.len() { format!("{short}…") } else { short });
    }
    if let (429 | 503, Some(wait)) = (*status, refusal.retry_after) {
        failure = failure.hint(format!("try again in {} s", wait.as_secs().max(1)));
    }
    failure
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn reads_dates() {
        assert_eq!(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(parse_http_date("Thu, 29 Feb 2024 23:59:59 GMT"), Some(1_709_251_199));
        assert_eq!(parse_http_date("Fri, 01 Mar 2024 00:00:00 GMT"), Some(1_709_251_200));
        for bad in ["", "soon", "Sun, 06 Nov 1969 08:49:37 GMT", "Sun, 6", "Sun, 06 Nox 1994 08:49:37 GMT"] {
            assert_eq!(parse_http_date(bad), None, "{bad}");
        }
    }

    #[test]
    fn reads_delays() {
        let now = UNIX_EPOCH + Duration::from_secs(784_111_770);
        assert_eq!(parse_retry_after(" 120 ", now), Some(Duration::from_secs(120)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("-1", now), None);
    }

    #[test]
    fn shows_no_secret_of_a_url() {
        let url = Url::parse("https://me:pw@host:8443/mcp?api_key=hunter2#x").unwrap();
        assert_eq!(redacted_url(&url), "https://host:8443/mcp");
    }

    #[test]
    fn the_status_decides_the_class() {
        let class = |status| {
            let refusal = UnexpectedResponse {
                url: "http://h/".into(),
                status,
                content_type: None,
                challenges: vec![],
                retry_after: None,
                location: None,
                dpop_nonce: None,
                remote_ip: None,
                body: "\n <b>no</b>".into(),
                had_session_id: false,
            };
            let failure = unexpected_response_failure(&refusal);
            assert_eq!(failure.details().causes, ["<b>no</b>"]);
            failure.kind()
        };
        assert_eq!([401, 403].map(class), [ErrorKind::Auth; 2]);
        assert_eq!([302, 404, 408, 429, 500, 503, 599].map(class), [ErrorKind::Unreachable; 7]);
        assert_eq!([200, 204, 400, 405, 415].map(class), [ErrorKind::Protocol; 5]);
    }
}
