//! One HTTP request and the head of its answer: headers, credentials, redirects, and what the trace sees.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::client::{self, HttpVersions};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::REDACTED;
use crate::transport::http::proxy_env::ProxyInUse;
use crate::transport::http::{error, unexpected_response};
use crate::transport::trace::{Trace, TraceEvent};
use crate::transport::{Authorize, HttpEndpoint, TransportOptions, UnexpectedResponse};

/// The header that carries the session of a legacy server.
pub(super) const SESSION_ID_HEADER: HeaderName = HeaderName::from_static("mcp-session-id");
/// The header that says the revision.
pub(super) const PROTOCOL_VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// The header that carries a proof.
const DPOP_HEADER: HeaderName = HeaderName::from_static("dpop");

/// Headers whose values the trace never sees, beside the configured ones.
const HIDDEN_HEADERS: [&str; 6] =
    ["authorization", "cookie", "dpop", "mcp-session-id", "proxy-authorization", "set-cookie"];
/// How often one message is sent again with new credentials.
const MAX_LOGINS: usize = 3;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// What all requests to one endpoint share.
pub(super) struct EndpointClient {
    client: Client,
    /// The endpoint.
    pub(super) url: Url,
    configured_headers: HeaderMap,
    /// `None` also where the user configured credentials: those are what is to be sent.
    authorize: Option<Arc<dyn Authorize>>,
    pub(super) trace: Trace,
    proxy_in_use: Option<ProxyInUse>,
}

/// A request to be sent.
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The headers of this request alone; they win over configured ones.
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
    /// Whether it is worth asking for new credentials, which may mean to ask a person.
    pub(super) may_log_in: bool,
}

/// The head of the answer.
pub(super) enum HttpResponse {
    /// It came, from this URL; its body is still to be read. Any status.
    Head(Response, Url),
    /// 401, or 403 with a challenge, and no credentials to answer it with.
    Unauthorized(UnexpectedResponse),
}

impl EndpointClient {
    pub(super) fn new(endpoint: &HttpEndpoint, options: &TransportOptions, versions: HttpVersions) -> Result<Self> {
        let configured = client::configured_headers(endpoint, &options.trace)?;
        let own = configured.contains_key(AUTHORIZATION) || !endpoint.url.username().is_empty();
        Ok(EndpointClient {
            client: client::build(endpoint, options, versions)?,
            url: endpoint.url.clone(),
            configured_headers: configured,
            authorize: options.authorize.clone().filter(|_| !own),
            trace: options.trace.clone(),
            proxy_in_use: ProxyInUse::for_endpoint(endpoint, |name| {
                std::env::var(name).ok().filter(|value| !value.is_empty())
            }),
        })
    }

    /// Waits for an opening, but no longer than `limit`; a person who logs in meanwhile takes the time they
    /// need. `None` where time ran out.
    pub(super) async fn with_timeout<T>(&self, limit: Option<Duration>, opening: impl Future<Output = T>) -> Option<T> {
        let Some(limit) = limit.filter(|limit| !limit.is_zero()) else { return Some(opening.await) };
        tokio::pin!(opening);
        loop {
            match tokio::time::timeout(limit, &mut opening).await {
                Ok(opened) => return Some(opened),
                Err(_) if self.login_in_progress() => {}
                Err(_) => return None,
            }
        }
    }

    /// Waits until no token is being renewed.
    pub(super) async fn wait_for_refresh(&self) {
        if let Some(authorize) = &self.authorize {
            authorize.wait_for_refresh().await;
        }
    }

    /// Whether a person is logging in.
    pub(super) fn login_in_progress(&self) -> bool {
        self.authorize.as_ref().is_some_and(|authorize| authorize.login_in_progress())
    }

    /// Sends a request until it has an answer that is neither a demand for credentials that can be met nor
    /// a redirect that may be followed.
    ///
    /// # Errors
    /// When no answer came, or no credentials could be had.
    pub(super) async fn send(&self, ask: HttpRequest) -> Result<HttpResponse> {
        let in_session = ask.headers.contains_key(SESSION_ID_HEADER);
        let body = ask.body.map(Bytes::from);
        let mut url = ask.url;
        let (mut logins, mut hops) = (0, 0);
        loop {
            let response = self.send_once(&ask.method, &url, &ask.headers, body.clone()).await?;
            if hops < MAX_REDIRECTS
                && let Some(next) = redirect_target(&response, &url)
            {
                hops += 1;
                url = next;
                continue;
            }
            if !demands_credentials(&response) {
                return Ok(HttpResponse::Head(response, url));
            }
            let refusal = unexpected_response::from_response(response, &url, in_session).await;
            match &self.authorize {
                Some(authorize)
                    if ask.may_log_in && logins < MAX_LOGINS && authorize.handle_unauthorized(&refusal).await? =>
                {
                    logins += 1
                }
                _ => return Ok(HttpResponse::Unauthorized(refusal)),
            }
        }
    }

    /// Sends a request once.
    ///
    /// # Errors
    /// When no answer came.
    pub(super) async fn send_once(
        &self,
        method: &Method,
        url: &Url,
        own: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<Response> {
        let mut headers = self.configured_headers.clone();
        let mut hidden: Vec<HeaderName> = Vec::new();
        if let Some(authorize) = &self.authorize {
            for (name, value) in authorize.headers(method.as_str(), url).await? {
                let name = HeaderName::from_bytes(name.as_bytes());
                let (Ok(name), Some(value)) = (name, client::secret_header_value(&value)) else {
                    return Err(Failure::new(ErrorKind::Auth, "the credentials cannot be sent in a header"));
                };
                hidden.push(name.clone());
                headers.insert(name, value);
            }
        }
        for (name, value) in own {
            headers.insert(name.clone(), value.clone());
        }
        let mut request = self.client.request(method.clone(), url.clone()).headers(headers);
        if let Some(body) = &body {
            request = request.body(body.clone());
        }
        let request = request.build().map_err(|error| error::request_failure(error, url))?;
        self.trace_request(method, url, request.headers(), body.as_ref(), &hidden);
        let response = self.client.execute(request).await.map_err(|error| self.send_failure(error, url))?;
        if let Some(authorize) = &self.authorize
            && (hidden.contains(&DPOP_HEADER) || response.status() == StatusCode::UNAUTHORIZED)
            && let Some(nonce) =
                response.headers().get(unexpected_response::DPOP_NONCE).and_then(|value| value.to_str().ok())
        {
            authorize.store_nonce(url, nonce);
        }
        if self.trace.is_enabled() {
            let headers = self.traced_headers(response.headers(), &hidden);
            self.trace.record(TraceEvent::ResponseHead { status: response.status().as_u16(), headers: &headers });
        }
        Ok(response)
    }

    /// The failure of a request that got no response.
    fn send_failure(&self, error: reqwest::Error, url: &Url) -> Failure {
        // What TLS says, the server says.
        let blamed = self.proxy_in_use.as_ref().filter(|_| error.is_connect() && !error::is_tls_error(&error));
        let failure = error::request_failure(error, url);
        match blamed {
            Some(detour) => detour.explain_failure(failure, url),
            None => failure,
        }
    }

    fn trace_request(
        &self,
        method: &Method,
        url: &Url,
        headers: &HeaderMap,
        body: Option<&Bytes>,
        hidden: &[HeaderName],
    ) {
        if !self.trace.is_enabled() {
            return;
        }
        let headers = self.traced_headers(headers, hidden);
        self.trace.record(TraceEvent::RequestHead {
            method: method.as_str(),
            url: &unexpected_response::url_for_trace(url),
            headers: &headers,
        });
        if let Some(text) = body.and_then(|bytes| std::str::from_utf8(bytes).ok()) {
            self.trace.record(TraceEvent::Sent(text));
        }
    }

    fn traced_headers(&self, headers: &HeaderMap, hidden: &[HeaderName]) -> Vec<(String, String)> {
        let show = |(name, value): (&HeaderName, &HeaderValue)| {
            let secret = value.is_sensitive() || hidden.contains(name) || HIDDEN_HEADERS.contains(&name.as_str());
            let text = match name {
                _ if secret => REDACTED.to_owned(),
                &LOCATION => match self.url.join(&String::from_utf8_lossy(value.as_bytes())) {
                    Ok(url) => unexpected_response::url_for_trace(&url),
                    Err(_) => REDACTED.to_owned(),
                },
                _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.as_str().to_owned(), text)
        };
        headers.iter().map(show).collect()
    }
}

/// A header value made of text that is known to be fit for one.
///
/// # Errors
/// [`ErrorKind::Protocol`] where it is not: a name or value that came from a server.
pub(super) fn parse_header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue)> {
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => Ok((name, value)),
        _ => Err(Failure::new(ErrorKind::Protocol, format!("the header '{name}' cannot be sent over HTTP"))),
    }
}

/// Whether two URLs have scheme, host and port in common.
pub(super) fn is_same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Where to send the same request again: only 307 and 308 keep it as it is, and only within the origin is
/// it safe to repeat headers and message (`SEC-04`).
fn redirect_target(response: &Response, url: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut next = url.join(location).ok().filter(|next| is_same_origin(url, next))?;
    // What was to be shown to the server at the first place is to be shown here, and nothing else.
    next.set_username(url.username()).ok()?;
    next.set_password(url.password()).ok()?;
    Some(next)
}

fn demands_credentials(response: &Response) -> bool {
    match response.status().as_u16() {
        401 => true,
        403 => response.headers().contains_key(WWW_AUTHENTICATE),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_trace_shows_no_query_values() {
        let url = Url::parse("http://u:p@h/m?sessionId=abc&tok").unwrap();
        assert_eq!(unexpected_response::url_for_trace(&url), "http://h/m?sessionId=[redacted]&[redacted]");
        assert_eq!(unexpected_response::url_for_trace(&Url::parse("http://h/m").unwrap()), "http://h/m");
    }

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        let same = |one: &str, other: &str| is_same_origin(&Url::parse(one).unwrap(), &Url::parse(other).unwrap());
        assert!(same("http://h/a", "http://H:80/b?c"));
        assert!(!same("http://h/", "https://h/"));
        assert!(!same("http://h/", "http://h:81/"));
        assert!(!same("http://h/", "http://h.evil/"));
    }
}
