//! Requests to authorization servers: a client of its own, which has none of the endpoint's headers, goes
//! only where metadata may point to, checks every redirect, and reads only so much for only so long
//! (`SEC-02`, `SEC-04`, `SEC-07`).

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Client, Method, Request};
use serde_json::{Map, Value};
use tokio::sync::OnceCell;
use url::{Host, Url};

use super::dpop::Nonces;
use super::zone::Zone;
use crate::error::{Class, Failure, Result};
use crate::protocol::revision::Revision;
use crate::secret::Secret;
use crate::transport::http::{Beside, fault, look_up, proxied, shown};
use crate::transport::trace::{Event, Trace};
use crate::transport::{HttpEndpoint, Tls};
use crate::util::loopback::is_loopback;

/// How many redirects of a metadata request are followed.
const MAX_HOPS: usize = 3;

/// How much, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The longest body, in bytes.
    pub size: usize,
    /// The longest time for one request, from name look-up to the last byte.
    pub time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { size: 512 * 1024, time: Duration::from_secs(20) }
    }
}

/// Asks authorization servers on behalf of one endpoint.
pub struct Http {
    server: Url,
    tls: Tls,
    proxy: Option<Secret>,
    socket: Option<PathBuf>,
    connect_timeout: Option<Duration>,
    limits: Limits,
    trace: Trace,
    watch: Arc<Watch>,
    home: OnceCell<Zone>,
    /// What the endpoint, and those that are asked on its behalf, want to see in the next proof.
    pub nonces: Nonces,
    clients: Mutex<HashMap<(bool, bool), Client>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    /// The URL that gave it, after redirects.
    pub url: Url,
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The JSON object of a successful answer.
    #[must_use]
    pub fn document(&self) -> Option<Map<String, Value>> {
        let body = self.body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.body);
        (200..300).contains(&self.status).then(|| serde_json::from_slice(body).ok()).flatten()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Http {
    /// Touches neither the network nor the system's certificates.
    #[must_use]
    pub fn new(endpoint: &HttpEndpoint, connect_timeout: Option<Duration>, limits: Limits, trace: Trace) -> Self {
        Http {
            server: endpoint.url.clone(),
            tls: endpoint.tls.clone(),
            proxy: endpoint.proxy.clone(),
            socket: endpoint.socket.clone(),
            connect_timeout,
            limits,
            trace,
            watch: Arc::default(),
            home: OnceCell::new(),
            nonces: Nonces::default(),
            clients: Mutex::default(),
        }
    }

    /// The server on whose behalf requests are made.
    #[must_use]
    pub fn server(&self) -> &Url {
        &self.server
    }

    /// Where something tolerated, or worth knowing, is noted.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// The user named this URL themselves: its host may lie anywhere.
    pub fn trust(&self, url: &str) {
        if let Some(host) = Url::parse(url).ok().and_then(|url| url.host_str().map(ToOwned::to_owned)) {
            lock(&self.watch.0).trusted.insert(host);
        }
    }

    /// The server answered from this address. The first that is told counts.
    pub fn answered_from(&self, peer: Option<IpAddr>) {
        // Behind a proxy, the address is the proxy's and says nothing about the server.
        if let Some(peer) = peer.filter(|_| self.socket.is_none() && !self.proxied(&self.server)) {
            let _ = self.home.set(self.literal(&self.server).unwrap_or_else(|| Zone::of(peer)));
        }
    }

    /// Fetches metadata.
    ///
    /// # Errors
    /// When the URL may not be asked, no answer came, or too much or too late.
    pub async fn get(&self, url: &str) -> Result<Answer> {
        let mut url = parse(url)?;
        for _ in 0..=MAX_HOPS {
            let mut headers = accept_json();
            headers.insert("mcp-protocol-version", HeaderValue::from_static(Revision::LATEST_MODERN.as_str()));
            let answer = self.once(Method::GET, &url, headers, None).await?;
            if !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            url = answer
                .header(LOCATION.as_str())
                .and_then(|location| url.join(location).ok())
                .ok_or_else(|| Failure::new(Class::Unreachable, format!("{} redirects to nowhere", shown(&url))))?;
        }
        Err(Failure::new(Class::Unreachable, format!("{} redirects too often", shown(&url))))
    }

    /// Posts a form or a document. Redirects are not followed: what is sent is secret.
    ///
    /// # Errors
    /// As [`Http::get`]; also where the answer is a redirect.
    pub async fn post(
        &self,
        url: &str,
        content_type: &'static str,
        body: String,
        secret_headers: &[(&'static str, Secret)],
    ) -> Result<Answer> {
        let url = parse(url)?;
        let mut headers = accept_json();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        for (name, value) in secret_headers {
            let value = HeaderValue::from_str(value.reveal()).map(|mut value| {
                value.set_sensitive(true);
                value
            });
            let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), value) else {
                return Err(Failure::new(Class::Auth, "the credentials cannot be sent in a header"));
            };
            headers.insert(name, value);
        }
        let answer = self.once(Method::POST, &url, headers, Some(body)).await?;
        if (300..400).contains(&answer.status) {
            let what = format!("{} redirects elsewhere (HTTP {})", shown(&url), answer.status);
            return Err(Failure::new(Class::Auth, what).cause("credentials do not follow a redirect"));
        }
        Ok(answer)
    }

    async fn once(&self, method: Method, url: &Url, headers: HeaderMap, body: Option<String>) -> Result<Answer> {
        self.check(url).await?;
        let client = self.client(url)?;
        let mut request = Request::new(method, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = body.map(Into::into);
        let asking = self.exchange(&client, url, request);
        match tokio::time::timeout(self.limits.time, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(Class::Timeout, format!("no answer from {} in time", shown(url)))
                .cause(format!("it had {} s", self.limits.time.as_secs_f32()))),
        }
    }

    async fn exchange(&self, client: &Client, url: &Url, request: Request) -> Result<Answer> {
        if self.trace.on() {
            let method = request.method().as_str();
            self.trace.record(Event::RequestHead { method, url: &shown(url), headers: &[] });
        }
        let failed = |error: reqwest::Error| {
            let refused = refusal(&error).map(|refused| forbidden(url, refused.0));
            refused.unwrap_or_else(|| fault(error, url))
        };
        let mut response = client.execute(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        self.trace.record(Event::ResponseHead { status, headers: &[] });
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > self.limits.size {
                return Err(Failure::new(Class::Protocol, format!("the answer of {} is too long", shown(url)))
                    .cause(format!("more than {} kB", self.limits.size / 1024)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { url: url.clone(), status, headers: std::mem::take(response.headers_mut()), body })
    }

    /// The client for this URL. Our certificate is shown to the endpoint's own origin only.
    fn client(&self, url: &Url) -> Result<Client> {
        let loopback = is_loopback(url);
        let home = url.origin() == self.server.origin();
        let own = home && (self.tls.cert.is_some() || self.socket.is_some());
        let mut clients = lock(&self.clients);
        if let Some(client) = clients.get(&(loopback, own)) {
            return Ok(client.clone());
        }
        let tls = if own { self.tls.clone() } else { Tls { cert: None, key: None, ..self.tls.clone() } };
        let resolver: Arc<dyn Resolve> = Arc::new(Checked(self.watch.clone()));
        let (proxy, connect_timeout) = (self.proxy.as_ref(), self.connect_timeout);
        let socket = self.socket.as_deref().filter(|_| home);
        let client = Beside { tls: &tls, proxy, loopback, connect_timeout, socket, resolver }.build()?;
        clients.insert((loopback, own), client.clone());
        Ok(client)
    }

    fn proxied(&self, url: &Url) -> bool {
        match &self.proxy {
            Some(proxy) => !proxy.reveal().is_empty(),
            None => proxied(url, |name| std::env::var(name).ok()),
        }
    }

    /// The zone of a host that is no name to be looked up.
    fn literal(&self, url: &Url) -> Option<Zone> {
        match url.host()? {
            Host::Ipv4(address) => Some(Zone::of(address.into())),
            Host::Ipv6(address) => Some(Zone::of(address.into())),
            Host::Domain(_) => is_loopback(url).then_some(Zone::Loopback),
        }
    }

    /// The zone of the server itself.
    async fn home(&self) -> Zone {
        *self.home.get_or_init(|| self.find_home()).await
    }

    async fn find_home(&self) -> Zone {
        if self.socket.is_some() {
            return Zone::Loopback;
        }
        if let Some(zone) = self.literal(&self.server) {
            return zone;
        }
        let (Some(host), false) = (self.server.host_str(), self.proxied(&self.server)) else { return Zone::Public };
        let Ok(found) = look_up(host).await else { return Zone::Public };
        let mut zones = found.into_iter().map(|address| Zone::of(address.ip()));
        let Some(first) = zones.next() else { return Zone::Public };
        // A name that is at home in two places may be an attacker's: it counts for the outermost.
        if zones.all(|zone| zone == first) { first } else { Zone::Public }
    }

    /// Whether a person may be sent to this page. A name counts for what it stands for here; one that nobody knows
    /// is the browser's affair.
    ///
    /// # Errors
    /// Where it lies in a place that the server must not name.
    pub async fn check_page(&self, page: &Url) -> Result<()> {
        self.check(page).await?;
        let Some(Ok(name)) = page.domain().map(str::parse) else { return Ok(()) };
        if self.home().await == Zone::Loopback || self.proxied(page) {
            return Ok(());
        }
        let found = tokio::time::timeout(self.limits.time, Checked(self.watch.clone()).resolve(name)).await;
        let refused = found.ok().and_then(std::result::Result::err);
        match refused.as_ref().and_then(|error| error.downcast_ref::<Refused>()) {
            Some(refused) => Err(forbidden(page, refused.0)),
            None => Ok(()),
        }
    }

    /// Whether this URL may be asked.
    async fn check(&self, url: &Url) -> Result<()> {
        let host = url.host_str().unwrap_or_default().to_owned();
        let home = self.home().await;
        let trusted = lock(&self.watch.0).trusted.contains(&host);
        let may = |zone: Zone| trusted || home.may_name(zone) || self.server.host_str() == Some(&host);
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(url) && may(Zone::Loopback) => {}
            // The user allowed plain http to this host already.
            "http" if self.server.scheme() == "http" && self.server.host_str() == Some(&host) => {}
            _ => {
                return Err(Failure::new(Class::Auth, format!("{} may not be asked for a login", shown(url)))
                    .cause("it is not an https URL"));
            }
        }
        if let Some(zone) = self.literal(url)
            && !may(zone)
        {
            return Err(forbidden(url, zone));
        }
        let mut rules = lock(&self.watch.0);
        rules.home = Some(home);
        if trusted || self.server.host_str() == Some(&host) {
            rules.wary.remove(&host);
        } else {
            rules.wary.insert(host);
        }
        Ok(())
    }
}

fn parse(text: &str) -> Result<Url> {
    let bad = |why: &str| Failure::new(Class::Protocol, "a URL for the login cannot be used").cause(why);
    let url = Url::parse(text).map_err(|error| bad(&format!("{error}: {}", super::callback::short(text, 100))))?;
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad(&format!("it names no host: {}", super::callback::short(text, 100))));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(bad("it holds a user name"));
    }
    Ok(url)
}

fn accept_json() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    headers
}

fn forbidden(url: &Url, zone: Zone) -> Failure {
    Failure::new(Class::Auth, format!("{} may not be asked for a login", shown(url)))
        .cause(format!("it is {}, which a server elsewhere must not point to", zone.name()))
        .hint("if you trust it, name the authorization server yourself: 'issuer' in [servers.NAME.auth], or --issuer")
}

/// What the look-up of names must know.
#[derive(Default)]
struct Rules {
    home: Option<Zone>,
    /// Hosts that are being asked. Other names are those of proxies, which the user chose.
    wary: HashSet<String>,
    trusted: HashSet<String>,
}

#[derive(Default)]
struct Watch(Mutex<Rules>);

/// Looks names up and passes on only addresses that may be connected to: what is checked is what is
/// connected to, so a name cannot change its mind in between.
struct Checked(Arc<Watch>);

#[derive(Debug)]
struct Refused(Zone);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name belongs to {}", self.0.name())
    }
}

impl Error for Refused {}

impl Resolve for Checked {
    fn resolve(&self, name: Name) -> Resolving {
        let watch = self.0.clone();
        Box::pin(async move {
            let found = look_up(name.as_str()).await?;
            let home = {
                let rules = lock(&watch.0);
                rules.home.filter(|_| rules.wary.contains(name.as_str()))
            };
            let Some(home) = home else { return Ok(Box::new(found.into_iter()) as Addrs) };
            let (good, bad): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.into_iter().partition(|address| home.may_name(Zone::of(address.ip())));
            match bad.first() {
                Some(address) if good.is_empty() => Err(Box::new(Refused(Zone::of(address.ip()))) as _),
                _ => Ok(Box::new(good.into_iter()) as Addrs),
            }
        })
    }
}

fn refusal(error: &reqwest::Error) -> Option<&Refused> {
    let mut next: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn sec_02_a_name_is_judged_by_the_addresses_that_are_connected_to() {
        let watch = Arc::new(Watch::default());
        let look = async |home: Zone, asked: bool| {
            {
                let mut rules = lock(&watch.0);
                rules.home = Some(home);
                rules.wary = asked.then(|| "localhost".to_owned()).into_iter().collect();
            }
            Checked(watch.clone()).resolve("localhost".parse().unwrap()).await.map(Iterator::count)
        };
        let refused = look(Zone::Public, true).await.unwrap_err();
        assert_eq!(refused.to_string(), "the name belongs to an address of this machine");
        assert!(look(Zone::Private, true).await.is_err());
        assert!(look(Zone::Loopback, true).await.unwrap() > 0);
        assert!(look(Zone::Public, false).await.unwrap() > 0, "the name of a proxy, say, is the user's choice");
    }
}
