//! The HTTP client of one endpoint: proxy, TLS, connection timeout, and the configured headers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, ClientBuilder};

use super::dns::Resolver;
use super::proxy::configured_proxy;
use super::tls::{self, HttpVersions};
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::connection::TransportOptions;
use crate::transport::endpoint::{HttpEndpoint, TlsOptions};
use crate::transport::trace::Trace;
use crate::util::loopback::is_loopback;

/// Sent unless the user configured a `User-Agent`.
const DEFAULT_USER_AGENT: &str = concat!("mcpipe/", env!("CARGO_PKG_VERSION"));

/// How long an idle connection is kept for the next request: less than the 5 s after which the servers of Node and
/// Uvicorn close one, so that no request goes out at that moment.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Headers that the protocol or HTTP itself sets; configured ones with these names are ignored.
const RESERVED_HEADERS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "last-event-id",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "transfer-encoding",
];

/// Builds the client. Touches neither the network nor the system's certificates.
///
/// # Errors
/// [`ErrorKind::Config`] if a PEM file or the proxy cannot be used.
pub(super) fn build(endpoint: &HttpEndpoint, options: &TransportOptions, versions: HttpVersions) -> Result<Client> {
    let timeout = options.connect_timeout;
    if let Some(path) = &endpoint.unix_socket {
        return build_for_unix_socket(path, &endpoint.tls, timeout, versions);
    }
    let loopback = is_loopback(&endpoint.url);
    build_client(client_builder(&endpoint.tls, endpoint.proxy.as_ref(), loopback, timeout, versions)?)
}

/// A client that connects to a Unix socket, whatever the URL says.
fn build_for_unix_socket(
    path: &Path,
    tls: &TlsOptions,
    connect_timeout: Option<Duration>,
    versions: HttpVersions,
) -> Result<Client> {
    // An empty proxy URL means: no proxy, not even one from the environment.
    let no_proxy = Secret::default();
    let builder = client_builder(tls, Some(&no_proxy), true, connect_timeout, versions)?;
    #[cfg(unix)]
    let builder = builder.unix_socket(path.to_owned());
    #[cfg(not(unix))]
    let _ = path;
    build_client(builder)
}

/// A client for requests to other hosts on behalf of an endpoint, such as its authorization server.
/// It has the endpoint's TLS options and proxy, and none of its headers.
pub(crate) struct AuxiliaryClient<'a> {
    /// Certificates to trust and to present.
    pub(crate) tls: &'a TlsOptions,
    /// The proxy; the usual variables if `None`.
    pub(crate) proxy: Option<&'a Secret>,
    /// Whether it is for a loopback host.
    pub(crate) is_loopback: bool,
    /// The time limit for name look-up, connecting and TLS.
    pub(crate) connect_timeout: Option<Duration>,
    /// The Unix socket to connect to, if the endpoint has one and this is for the endpoint's own origin.
    pub(crate) unix_socket: Option<&'a Path>,
    /// Resolves names, and rejects addresses that must not be connected to.
    pub(crate) resolver: Arc<dyn reqwest::dns::Resolve>,
}

impl AuxiliaryClient<'_> {
    /// Builds the client.
    ///
    /// # Errors
    /// As [`build`].
    pub(crate) fn build(self) -> Result<Client> {
        if let Some(path) = self.unix_socket {
            return build_for_unix_socket(path, self.tls, self.connect_timeout, HttpVersions::Any);
        }
        let builder = client_builder(self.tls, self.proxy, self.is_loopback, self.connect_timeout, HttpVersions::Any)?;
        build_client(builder.dns_resolver(self.resolver))
    }
}

fn client_builder(
    tls: &TlsOptions,
    configured: Option<&Secret>,
    loopback: bool,
    connect_timeout: Option<Duration>,
    versions: HttpVersions,
) -> Result<ClientBuilder> {
    let mut builder = Client::builder()
        .tls_backend_preconfigured(tls::client_config(tls, versions)?)
        .user_agent(DEFAULT_USER_AGENT)
        .dns_resolver(Arc::new(Resolver))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .tcp_nodelay(true);
    if let Some(limit) = connect_timeout {
        builder = builder.connect_timeout(limit);
    }
    if versions == HttpVersions::Http1Only {
        builder = builder.http1_only();
    }
    match configured {
        Some(url) if url.reveal().is_empty() => builder = builder.no_proxy(),
        Some(url) => builder = builder.proxy(configured_proxy(url)?),
        // A proxy elsewhere cannot reach this machine.
        None if loopback => builder = builder.no_proxy(),
        // reqwest reads `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in either case.
        None => {}
    }
    Ok(builder)
}

fn build_client(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| Failure::new(ErrorKind::Bug, "cannot set up the HTTP client").caused_by(&error))
}

/// The configured headers, validated, and all marked as sensitive.
///
/// # Errors
/// [`ErrorKind::Config`] if HTTP cannot carry one; its value is not shown.
pub(super) fn configured_headers(endpoint: &HttpEndpoint, trace: &Trace) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(endpoint.headers.len() + 8);
    for (name, value) in &endpoint.headers {
        let invalid = |why: &str| Failure::new(ErrorKind::Config, format!("invalid header '{name}'")).cause(why);
        let key = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| invalid("the name is not valid"))?;
        if RESERVED_HEADERS.contains(&key.as_str()) {
            trace.note(&format!("ignored the configured header '{key}': the protocol sets it"));
            continue;
        }
        headers
            .append(key, secret_header_value(value).ok_or_else(|| invalid("the value contains a control character"))?);
    }
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, HeaderValue::from_static(DEFAULT_USER_AGENT));
    }
    Ok(headers)
}

/// A header value that is neither shown nor stored in a compression table (RFC 7541 §7.1.3).
pub(super) fn secret_header_value(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(secret.reveal().trim().as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The same for credentials.
///
/// # Errors
/// [`ErrorKind::Auth`] if they contain a character that a header cannot have (RFC 9110 §5.5).
pub fn credentials_header_value(credentials: &Secret) -> Result<HeaderValue> {
    secret_header_value(credentials).ok_or_else(|| {
        let message = "the credentials contain a character that an HTTP header cannot have, such as a line break";
        Failure::new(ErrorKind::Auth, message)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::transport::http::scripted_server;

    #[test]
    fn configured_headers_are_checked() {
        let mut endpoint = scripted_server::endpoint("http://localhost/");
        endpoint.headers = vec![
            ("X-Key".into(), Secret::new(" grün ")),
            ("x-key".into(), Secret::new("two")),
            ("Content-Type".into(), Secret::new("text/plain")),
        ];
        let headers = configured_headers(&endpoint, &Trace::default()).unwrap();
        let values: Vec<&[u8]> = headers.get_all("x-key").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!(values, ["grün".as_bytes(), b"two"]);
        assert!(headers.get_all("x-key").iter().all(HeaderValue::is_sensitive));
        assert!(!headers.contains_key("content-type"));
        assert_eq!(headers.get(USER_AGENT).unwrap(), DEFAULT_USER_AGENT);
        for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\r\ny: hunter2")] {
            endpoint.headers = vec![(name.into(), Secret::new(value))];
            let failure = configured_headers(&endpoint, &Trace::default()).unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Config);
            assert!(!format!("{failure:?}").contains("hunter2"));
        }
    }
}
