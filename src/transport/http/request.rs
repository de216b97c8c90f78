//! One HTTP request and the head of its response: headers, credentials, redirects, and trace events.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use reqwest::header::{
    AUTHORIZATION, COOKIE, HeaderMap, HeaderName, HeaderValue, LOCATION, SET_COOKIE, WWW_AUTHENTICATE,
};
use reqwest::{Client, Method, Response, StatusCode, Url};

use super::client;
use super::error;
use super::proxy::ProxyInUse;
use super::tls::HttpVersions;
use super::unexpected_response;
use crate::error::{Failure, Result};
use crate::secret::{REDACTED, Secret};
use crate::transport::connection::{Authorize, TransportOptions};
use crate::transport::cookies::CookieJar;
use crate::transport::endpoint::HttpEndpoint;
use crate::transport::message::UnexpectedResponse;
use crate::transport::trace::{Trace, TraceEvent};
use crate::transport::url::url_for_trace;
use crate::util::lock::lock;
use crate::util::secret_names::is_secret_name;

/// The session ID of a legacy server (`HTL-03`).
pub(super) const SESSION_ID_HEADER: HeaderName = HeaderName::from_static("mcp-session-id");
/// The protocol revision (`HTL-02`, `HTM-02`).
pub(super) const PROTOCOL_VERSION_HEADER: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// A DPoP proof (RFC 9449 §4.1).
pub const DPOP_HEADER: HeaderName = HeaderName::from_static("dpop");

/// How many times one message is sent again with new credentials.
const MAX_LOGINS: usize = 3;
/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;

/// How long after a response the next request is sent at the earliest while a session is opened, when requests follow
/// each other at once: a server that closes its connections after each response has closed this one by then.
const SETTLE_TIME: Duration = Duration::from_millis(2);
/// How many requests open a session and make one call at most: a probe, `initialize`, `notifications/initialized`, a
/// list and the call. Later ones are not delayed, so that a batch of calls keeps its pace.
const OPENING_REQUESTS: u32 = 5;

/// What all requests to one endpoint share.
pub(super) struct EndpointClient {
    client: Client,
    pub(super) url: Url,
    configured_headers: HeaderMap,
    /// `None` if the user configured credentials: those are sent.
    authorize: Option<Arc<dyn Authorize>>,
    pub(super) trace: Trace,
    proxy_in_use: Option<ProxyInUse>,
    cookies: Option<CookieJar>,
    /// How many requests were sent.
    sent: AtomicU32,
    /// When the head of the last response arrived.
    last_response: Mutex<Option<Instant>>,
}

/// A request to send.
pub(super) struct HttpRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    /// The headers of this request only; they override configured ones.
    pub(super) headers: HeaderMap,
    pub(super) body: Option<String>,
    /// Whether to request new credentials if the server requires them, which may start a login.
    pub(super) may_log_in: bool,
}

/// What came of a request.
pub(super) enum SendOutcome {
    /// A response from this URL, with any status; its body has not been read yet.
    Response(Response, Url),
    /// 401, or 403 with a challenge, and there are no credentials for it.
    Unauthorized(UnexpectedResponse),
}

impl EndpointClient {
    pub(super) fn new(endpoint: &HttpEndpoint, options: &TransportOptions, versions: HttpVersions) -> Result<Self> {
        let configured = client::configured_headers(endpoint, &options.trace)?;
        let own = configured.contains_key(AUTHORIZATION);
        Ok(EndpointClient {
            client: client::build(endpoint, options, versions)?,
            url: endpoint.url.clone(),
            configured_headers: configured,
            authorize: options.authorize.clone().filter(|_| !own),
            trace: options.trace.clone(),
            proxy_in_use: ProxyInUse::for_endpoint(endpoint, |name| {
                std::env::var(name).ok().filter(|value| !value.is_empty())
            }),
            cookies: (!endpoint.no_cookies).then(|| options.cookies.clone()),
            sent: AtomicU32::new(0),
            last_response: Mutex::default(),
        })
    }

    /// Waits for `future`, but at most for `limit` (`None` if that has passed). The limit does not apply while the user
    /// is logging in.
    pub(super) async fn with_timeout<T>(&self, limit: Option<Duration>, future: impl Future<Output = T>) -> Option<T> {
        let Some(limit) = limit else { return Some(future.await) };
        tokio::pin!(future);
        loop {
            match tokio::time::timeout(limit, &mut future).await {
                Ok(output) => return Some(output),
                Err(_) if self.login_in_progress() => {}
                Err(_) => return None,
            }
        }
    }

    /// Whether the user is logging in.
    pub(super) fn login_in_progress(&self) -> bool {
        self.authorize.as_ref().is_some_and(|authorize| authorize.login_in_progress())
    }

    /// Sends a request, following redirects and supplying credentials as needed.
    ///
    /// # Errors
    /// If there is no response, or getting credentials failed.
    pub(super) async fn send(&self, request: HttpRequest) -> Result<SendOutcome> {
        let in_session = request.headers.contains_key(SESSION_ID_HEADER);
        let body = request.body.map(Bytes::from);
        let mut url = request.url;
        let (mut logins, mut redirects) = (0, 0);
        loop {
            let (response, authorization) =
                self.send_once(&request.method, &url, &request.headers, body.clone()).await?;
            if redirects < MAX_REDIRECTS
                && let Some(next) = redirect_target(&response, &url)
            {
                redirects += 1;
                url = next;
                continue;
            }
            if !requires_credentials(&response) {
                if let Some(authorize) = &self.authorize
                    && (response.status().is_client_error() || response.status().is_server_error())
                {
                    let challenges = unexpected_response::challenges(&response);
                    if !challenges.is_empty() {
                        authorize.store_challenges(&challenges).await;
                    }
                }
                return Ok(SendOutcome::Response(response, url));
            }
            let unexpected = unexpected_response::from_response(response, &url, in_session).await;
            match &self.authorize {
                Some(authorize)
                    if request.may_log_in
                        && logins < MAX_LOGINS
                        && authorize.handle_rejection(authorization.as_ref(), &unexpected).await? =>
                {
                    logins += 1
                }
                _ => return Ok(SendOutcome::Unauthorized(unexpected)),
            }
        }
    }

    /// Sends a request once. Also returns the `Authorization` header that a login or a token source supplied for it.
    ///
    /// # Errors
    /// If there is no response.
    pub(super) async fn send_once(
        &self,
        method: &Method,
        url: &Url,
        own_headers: &HeaderMap,
        body: Option<Bytes>,
    ) -> Result<(Response, Option<Secret>)> {
        let mut headers = self.configured_headers.clone();
        let mut hidden: Vec<HeaderName> = Vec::new();
        let mut authorization = None;
        if let Some(authorize) = &self.authorize {
            for (name, value) in authorize.headers(method.as_str(), url).await? {
                hidden.push(name.clone());
                headers.insert(name.clone(), client::credentials_header_value(&value)?);
                if name == AUTHORIZATION {
                    authorization = Some(value);
                }
            }
        }
        for (name, value) in own_headers {
            headers.insert(name.clone(), value.clone());
        }
        if let Some(cookies) = &self.cookies {
            let configured: Vec<_> =
                headers.get_all(COOKIE).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
            let configured = (!configured.is_empty()).then(|| configured.join("; "));
            let value = cookies.header_value(url, configured.as_deref(), SystemTime::now());
            if let Some(value) = value.as_ref().and_then(client::secret_header_value) {
                headers.insert(COOKIE, value);
            }
        }
        let mut request = self.client.request(method.clone(), url.clone()).headers(headers);
        if let Some(body) = &body {
            request = request.body(body.clone());
        }
        let request = request.build().map_err(|error| error::request_failure(error, url))?;
        self.trace_request(method, url, request.headers(), body.as_ref(), &hidden);
        self.settle_idle_connections().await;
        let response = self.client.execute(request).await.map_err(|error| self.send_failure(error, url))?;
        *lock(&self.last_response) = Some(Instant::now());
        if let Some(authorize) = &self.authorize
            && (hidden.contains(&DPOP_HEADER) || response.status() == StatusCode::UNAUTHORIZED)
            && let Some(nonce) =
                response.headers().get(unexpected_response::DPOP_NONCE).and_then(|value| value.to_str().ok())
        {
            authorize.store_nonce(url, nonce);
        }
        if let Some(cookies) = &self.cookies {
            for value in response.headers().get_all(SET_COOKIE) {
                if !cookies.store(url, &String::from_utf8_lossy(value.as_bytes()), SystemTime::now()) {
                    self.trace.note("ignored a cookie that is malformed, too long or for another host");
                }
            }
        }
        if self.trace.is_enabled() {
            let headers = self.traced_headers(response.headers(), &hidden);
            self.trace.record(TraceEvent::ResponseHead { status: response.status().as_u16(), headers: &headers });
        }
        Ok((response, authorization))
    }

    /// Lets the idle connections see what arrived since the last response: one that the server has closed must not
    /// carry a request, which would fail without a way to know whether it was carried out.
    async fn settle_idle_connections(&self) {
        let is_opening = self.sent.fetch_add(1, Ordering::Relaxed) < OPENING_REQUESTS;
        let since = lock(&self.last_response).map(|at| at.elapsed());
        match since.and_then(|since| SETTLE_TIME.checked_sub(since)).filter(|_| is_opening) {
            Some(rest) => tokio::time::sleep(rest).await,
            None => {
                // The runtime reads its events in the first pause, and the connections act on them in the second.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
        }
    }

    /// The failure of a request that got no response.
    fn send_failure(&self, error: reqwest::Error, url: &Url) -> Failure {
        let is_connect = error.is_connect();
        let failure = error::request_failure(error, url);
        match &self.proxy_in_use {
            // Not if it is permanent: a TLS error comes from the server, and a missing password has its own message.
            Some(proxy) if is_connect && failure.details().retry_advice.is_some() => {
                proxy.explain_failure(failure, url)
            }
            _ => failure,
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
            url: &url_for_trace(url),
            headers: &headers,
        });
        if let Some(text) = body.and_then(|bytes| std::str::from_utf8(bytes).ok()) {
            self.trace.record(TraceEvent::Sent(text));
        }
    }

    fn traced_headers(&self, headers: &HeaderMap, hidden: &[HeaderName]) -> Vec<(String, String)> {
        let show = |(name, value): (&HeaderName, &HeaderValue)| {
            let secret =
                value.is_sensitive() || hidden.contains(name) || name == DPOP_HEADER || is_secret_name(name.as_str());
            let text = match name {
                _ if secret => REDACTED.to_owned(),
                &LOCATION => match self.url.join(&String::from_utf8_lossy(value.as_bytes())) {
                    Ok(url) => url_for_trace(&url),
                    Err(_) => REDACTED.to_owned(),
                },
                _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.as_str().to_owned(), text)
        };
        headers.iter().map(show).collect()
    }
}

/// Where to send the same request again. Only 307 and 308 keep its method and body (RFC 9110 §15.4), and only the same
/// origin may get its headers and body (`SEC-04`).
fn redirect_target(response: &Response, url: &Url) -> Option<Url> {
    if !matches!(response.status().as_u16(), 307 | 308) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let mut next = url.join(location).ok().filter(|next| next.origin() == url.origin())?;
    // Keep the credentials of the configured URL, not those of `Location`.
    next.set_username(url.username()).ok()?;
    next.set_password(url.password()).ok()?;
    Some(next)
}

fn requires_credentials(response: &Response) -> bool {
    match response.status().as_u16() {
        401 => true,
        403 => response.headers().contains_key(WWW_AUTHENTICATE),
        _ => false,
    }
}
