//! Requests to authorization servers: a separate client, which sends none of the MCP server's headers, connects only to
//! addresses that metadata may point to, checks each redirect, and limits size and time of responses (`SEC-02`,
//! `SEC-04`, `SEC-07`).

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Request};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use url::{Host, Url};

use crate::auth::address_space::AddressSpace;
use crate::auth::dpop::DpopNonces;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::revision::Revision;
use crate::secret::Secret;
use crate::transport::http::{
    AuxiliaryClient, credentials_header_value, is_proxied, look_up, redacted_url, request_failure,
};
use crate::transport::trace::{Trace, TraceEvent};
use crate::transport::{HttpEndpoint, TlsOptions};
use crate::util::lock::lock;
use crate::util::loopback::is_loopback;
use crate::util::shorten::shorten;

/// The most redirects of a metadata request that are followed.
const MAX_REDIRECTS: usize = 3;

/// The limits of a response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseLimits {
    /// The longest body, in bytes.
    pub max_body_bytes: usize,
    /// The time limit of a request, from name look-up to the last byte.
    pub timeout: Duration,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        ResponseLimits { max_body_bytes: 512 << 10, timeout: Duration::from_secs(20) }
    }
}

/// Sends requests to the authorization servers of one MCP server.
pub struct OAuthHttpClient {
    server: Url,
    tls: TlsOptions,
    proxy: Option<Secret>,
    unix_socket: Option<PathBuf>,
    connect_timeout: Option<Duration>,
    limits: ResponseLimits,
    trace: Trace,
    resolver_rules: Arc<SharedResolverRules>,
    server_space: OnceCell<AddressSpace>,
    /// The nonces for the next DPoP proofs, of the MCP server and of its authorization servers.
    pub dpop_nonces: DpopNonces,
    clients: Mutex<HashMap<(bool, bool), Client>>,
}

/// A complete response.
#[derive(Debug)]
pub struct OAuthHttpResponse {
    /// The URL of the response, after redirects.
    pub url: Url,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl OAuthHttpResponse {
    /// The JSON object of a successful response.
    #[must_use]
    pub fn json_object(&self) -> Option<Map<String, Value>> {
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        (200..300).contains(&self.status).then(|| serde_json::from_slice(body).ok()).flatten()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl OAuthHttpClient {
    /// Creates a client. Neither the network nor the system's certificates are used yet.
    #[must_use]
    pub fn new(
        endpoint: &HttpEndpoint,
        connect_timeout: Option<Duration>,
        limits: ResponseLimits,
        trace: Trace,
    ) -> Self {
        OAuthHttpClient {
            server: endpoint.url.clone(),
            tls: endpoint.tls.clone(),
            proxy: endpoint.proxy.clone(),
            unix_socket: endpoint.unix_socket.clone(),
            connect_timeout,
            limits,
            trace,
            resolver_rules: Arc::default(),
            server_space: OnceCell::new(),
            dpop_nonces: DpopNonces::default(),
            clients: Mutex::default(),
        }
    }

    /// The MCP server.
    #[must_use]
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// The trace of this run.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Allows the host of a URL that the user configured, in any address space.
    pub fn allow_host(&self, url: &str) {
        if let Some(host) = Url::parse(url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned)) {
            lock(&self.resolver_rules.0).allowed_hosts.insert(host);
        }
    }

    /// Records the address of the MCP server. Only the first call has an effect.
    pub fn record_peer_address(&self, peer: Option<IpAddr>) {
        // Behind a proxy, the address is the proxy's and says nothing about the server.
        if let Some(peer) = peer.filter(|_| self.unix_socket.is_none() && !self.uses_proxy(&self.server)) {
            let _ = self
                .server_space
                .set(self.literal_address_space(&self.server).unwrap_or_else(|| AddressSpace::from_ip(peer)));
        }
    }

    /// Fetches metadata.
    ///
    /// # Errors
    /// If the URL is not allowed, or the response is missing, too long or too late.
    pub async fn get(&self, url: &str) -> Result<OAuthHttpResponse> {
        let mut url = parse_url(url)?;
        for _ in 0..=MAX_REDIRECTS {
            let mut headers = json_accept_headers();
            headers.insert("mcp-protocol-version", HeaderValue::from_static(Revision::LATEST_MODERN.as_str()));
            let answer = self.send_checked(Method::GET, &url, headers, None).await?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            url = answer.header(LOCATION.as_str()).and_then(|location| url.join(location).ok()).ok_or_else(|| {
                Failure::new(
                    ErrorKind::Unreachable,
                    format!("{} redirects without a valid location", redacted_url(&url)),
                )
            })?;
        }
        Err(Failure::new(
            ErrorKind::Unreachable,
            format!("{} redirects more than {MAX_REDIRECTS} times", redacted_url(&url)),
        ))
    }

    /// Posts a form or a document. Redirects are not followed, since the body is secret.
    ///
    /// # Errors
    /// As [`OAuthHttpClient::get`]; also if the response is a redirect.
    pub async fn post(
        &self,
        url: &str,
        content_type: &'static str,
        body: String,
        secret_headers: &[(&'static str, Secret)],
    ) -> Result<OAuthHttpResponse> {
        let url = parse_url(url)?;
        let mut headers = json_accept_headers();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in secret_headers {
            headers.insert(HeaderName::from_static(name), credentials_header_value(value)?);
        }
        let answer = self.send_checked(Method::POST, &url, headers, Some(body)).await?;
        if (300..400).contains(&answer.status) {
            let what = format!("{} redirects (HTTP {})", redacted_url(&url), answer.status);
            return Err(Failure::new(ErrorKind::Auth, what).cause("requests with credentials are not redirected"));
        }
        Ok(answer)
    }

    /// The status of a page that a browser is to be sent to. Redirects are not followed.
    ///
    /// # Errors
    /// As [`OAuthHttpClient::get`].
    pub async fn status_of_page(&self, url: &str) -> Result<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/html,*/*;q=0.8"));
        Ok(self.send_checked(Method::GET, &parse_url(url)?, headers, None).await?.status)
    }

    /// Gets what is at a URL, with a bearer token. Redirects are not followed, since the token is secret.
    ///
    /// # Errors
    /// As [`OAuthHttpClient::get`].
    pub async fn get_with_token(&self, url: &str, token: &Secret) -> Result<OAuthHttpResponse> {
        let mut headers = json_accept_headers();
        headers.insert(AUTHORIZATION, bearer_header_value(token)?);
        self.send_checked(Method::GET, &parse_url(url)?, headers, None).await
    }

    /// Deletes what is at a URL, with a bearer token. Returns the status.
    ///
    /// # Errors
    /// As [`OAuthHttpClient::get`].
    pub async fn delete(&self, url: &str, token: &Secret) -> Result<u16> {
        let mut headers = json_accept_headers();
        headers.insert(AUTHORIZATION, bearer_header_value(token)?);
        Ok(self.send_checked(Method::DELETE, &parse_url(url)?, headers, None).await?.status)
    }

    async fn send_checked(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        body: Option<String>,
    ) -> Result<OAuthHttpResponse> {
        self.check_url(url).await?;
        let client = self.client_for(url)?;
        let mut request = Request::new(method, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        let asking = self.execute(&client, url, request);
        match tokio::time::timeout(self.limits.timeout, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(ErrorKind::Timeout, format!("no response from {} in time", redacted_url(url)))
                .cause(format!("the limit is {} s", self.limits.timeout.as_secs_f32()))),
        }
    }

    async fn execute(&self, client: &Client, url: &Url, request: Request) -> Result<OAuthHttpResponse> {
        if self.trace.is_enabled() {
            let method = request.method().as_str();
            self.trace.record(TraceEvent::RequestHead { method, url: &redacted_url(url), headers: &[] });
        }
        let failed = |error: reqwest::Error| {
            let refused = find_forbidden_address(&error).map(|refused| forbidden_address_failure(url, refused.0));
            refused.unwrap_or_else(|| request_failure(error, url))
        };
        let mut response = client.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        self.trace.record(TraceEvent::ResponseHead { status, headers: &[] });
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.limits.max_body_bytes {
                return Err(Failure::new(
                    ErrorKind::Protocol,
                    format!("the response of {} is too long", redacted_url(url)),
                )
                .cause(format!("more than {} kB", self.limits.max_body_bytes / 1024)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(OAuthHttpResponse { url: url.clone(), status, headers: std::mem::take(response.headers_mut()), body })
    }

    /// The client for this URL. The client certificate is presented to the MCP server's origin only, and `insecure` is
    /// about no other certificate.
    fn client_for(&self, url: &Url) -> Result<Client> {
        let loopback = is_loopback(url);
        let home = url.origin() == self.server.origin();
        let own = home && (self.tls.cert.is_some() || self.tls.insecure || self.unix_socket.is_some());
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&(loopback, own)) {
            return Ok(client.clone());
        }
        let tls = match own {
            true => self.tls.clone(),
            false => TlsOptions { cert: None, key: None, insecure: false, ..self.tls.clone() },
        };
        let resolver: Arc<dyn Resolve> = Arc::new(FilteringResolver(self.resolver_rules.clone()));
        let (proxy, connect_timeout) = (self.proxy.as_ref(), self.connect_timeout);
        let socket = self.unix_socket.as_deref().filter(|_| home);
        let client =
            AuxiliaryClient { tls: &tls, proxy, is_loopback: loopback, connect_timeout, unix_socket: socket, resolver }
                .build()?;
        clients.insert((loopback, own), client.clone());
        Ok(client)
    }

    fn uses_proxy(&self, url: &Url) -> bool {
        match &self.proxy {
            Some(proxy) => !proxy.reveal().is_empty(),
            None => is_proxied(url, |name| std::env::var(name).ok()),
        }
    }

    /// The address space of a host that needs no look-up.
    fn literal_address_space(&self, url: &Url) -> Option<AddressSpace> {
        match url.host()? {
            Host::Ipv4(address) => Some(AddressSpace::from_ip(address.into())),
            Host::Ipv6(address) => Some(AddressSpace::from_ip(address.into())),
            Host::Domain(_) => is_loopback(url).then_some(AddressSpace::Loopback),
        }
    }

    /// The address space of the MCP server.
    async fn server_space(&self) -> AddressSpace {
        *self.server_space.get_or_init(|| self.resolve_server_space()).await
    }

    async fn resolve_server_space(&self) -> AddressSpace {
        if self.unix_socket.is_some() {
            return AddressSpace::Loopback;
        }
        if let Some(zone) = self.literal_address_space(&self.server) {
            return zone;
        }
        let (Some(host), false) = (self.server.host_str(), self.uses_proxy(&self.server)) else {
            return AddressSpace::Public;
        };
        let Ok(found) = look_up(host).await else { return AddressSpace::Public };
        let mut zones = found.into_iter().map(|address| AddressSpace::from_ip(address.ip()));
        let Some(first) = zones.next() else { return AddressSpace::Public };
        // A name with addresses in several address spaces may be an attacker's: the least trusted one applies.
        if zones.all(|zone| zone == first) { first } else { AddressSpace::Public }
    }

    /// Checks whether the user may be sent to this page. A host name is resolved on this machine; if that fails, the
    /// page is allowed.
    ///
    /// # Errors
    /// If its address space is one that the MCP server must not point to.
    pub async fn check_browser_url(&self, page: &Url) -> Result<()> {
        self.check_url(page).await?;
        let Some(Ok(name)) = page.domain().map(str::parse) else { return Ok(()) };
        if self.server_space().await == AddressSpace::Loopback || self.uses_proxy(page) {
            return Ok(());
        }
        let found =
            tokio::time::timeout(self.limits.timeout, FilteringResolver(self.resolver_rules.clone()).resolve(name))
                .await;
        let refused = found.ok().and_then(std::result::Result::err);
        match refused.as_ref().and_then(|error| error.downcast_ref::<ForbiddenAddress>()) {
            Some(refused) => Err(forbidden_address_failure(page, refused.0)),
            None => Ok(()),
        }
    }

    /// Checks whether requests to this URL are allowed.
    async fn check_url(&self, url: &Url) -> Result<()> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let home = self.server_space().await;
        let trusted = lock(&self.resolver_rules.0).allowed_hosts.contains(&host);
        let may = |zone: AddressSpace| trusted || home.may_point_to(zone) || self.server.host_str() == Some(&host);
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) && may(AddressSpace::Loopback) => {}
            // The user has allowed plain http to this host.
            "http" if self.server.scheme() == "http" && self.server.host_str() == Some(&host) => {}
            _ => {
                return Err(Failure::new(
                    ErrorKind::Auth,
                    format!("{} must not be used for a login", redacted_url(url)),
                )
                .cause("it is not an https URL"));
            }
        }
        if let Some(zone) = self.literal_address_space(url)
            && !may(zone)
        {
            return Err(forbidden_address_failure(url, zone));
        }
        let mut rules = lock(&self.resolver_rules.0);
        rules.server_space = Some(home);
        if trusted || self.server.host_str() == Some(&host) {
            rules.checked_hosts.remove(&host);
        } else {
            rules.checked_hosts.insert(host);
        }
        Ok(())
    }
}

fn parse_url(text: &str) -> Result<Url> {
    let bad = |why: &str| Failure::new(ErrorKind::Protocol, "invalid URL for the login").cause(why);
    let url = Url::parse(text).map_err(|error| bad(&format!("{error}: {}", shorten(text, 100))))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad(&format!("it has no host: {}", shorten(text, 100))));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it contains a user name"));
    }
    Ok(url)
}

fn bearer_header_value(token: &Secret) -> Result<HeaderValue> {
    credentials_header_value(&Secret::new(format!("Bearer {}", token.reveal())))
}

fn json_accept_headers() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers
}

fn forbidden_address_failure(url: &Url, zone: AddressSpace) -> Failure {
    Failure::new(ErrorKind::Auth, format!("{} must not be used for a login", redacted_url(url)))
        .cause(format!("it is {}, which the metadata of this server must not point to", zone.description()))
        .hint("if you trust this address, set the authorization server: 'issuer' in [servers.NAME.auth], or --issuer")
}

/// The rules of the name look-up.
#[derive(Default)]
struct ResolverRules {
    server_space: Option<AddressSpace>,
    /// Hosts of requests. Other names are those of proxies, which the user configured.
    checked_hosts: HashSet<String>,
    allowed_hosts: HashSet<String>,
}

#[derive(Default)]
struct SharedResolverRules(Mutex<ResolverRules>);

/// Looks up names and returns only allowed addresses. The addresses checked are those connected to, so a name cannot
/// resolve differently in between (DNS rebinding).
struct FilteringResolver(Arc<SharedResolverRules>);

#[derive(Debug)]
struct ForbiddenAddress(AddressSpace);

impl fmt::Display for ForbiddenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name belongs to {}", self.0.description())
    }
}

impl Error for ForbiddenAddress {}

impl Resolve for FilteringResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let watch = self.0.clone();
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            let home = {
                let rules = lock(&watch.0);
                rules.server_space.filter(|_| rules.checked_hosts.contains(name.as_str()))
            };
            let Some(home) = home else { return Ok(Box::new(found.into_iter()) as Addrs) };
            let (good, bad): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.into_iter().partition(|address| home.may_point_to(AddressSpace::from_ip(address.ip())));
            match bad.first() {
                Some(address) if good.is_empty() => {
                    Err(Box::new(ForbiddenAddress(AddressSpace::from_ip(address.ip()))) as _)
                }
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

fn find_forbidden_address(error: &reqwest::Error) -> Option<&ForbiddenAddress> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn sec_02_a_host_name_is_checked_by_the_addresses_it_resolves_to() {
        let watch = Arc::new(SharedResolverRules::default());
        let look = async |home: AddressSpace, asked: bool| {
            {
                let mut rules = lock(&watch.0);
                rules.server_space = Some(home);
                rules.checked_hosts = asked.then(|| "localhost".to_owned()).into_iter().collect();
            }
            FilteringResolver(watch.clone()).resolve("localhost".parse().unwrap()).await.map(Iterator::count)
        };
        let refused = look(AddressSpace::Public, true).await.unwrap_err();
        assert_eq!(refused.to_string(), "the name belongs to an address of this machine");
        assert!(look(AddressSpace::Private, true).await.is_err());
        assert!(look(AddressSpace::Loopback, true).await.unwrap() > 0);
        assert!(look(AddressSpace::Public, false).await.unwrap() > 0, "the name of a proxy, say, is the user's choice");
    }
}
