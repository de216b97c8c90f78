//! The HTTP client of one endpoint: proxy, trust, time to connect, and the headers of every request.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use reqwest::{Client, ClientBuilder, Proxy, Url};

use super::names::Names;
use super::tls;
use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::trace::Trace;
use crate::transport::{HttpEndpoint, TlsOptions, TransportOptions};
use crate::util::loopback::is_loopback;

/// How mcpipe introduces itself, unless the user configured a `User-Agent`.
const DEFAULT_USER_AGENT: &str = concat!("mcpipe/", env!("CARGO_PKG_VERSION"));

/// Headers that the protocol or HTTP itself says; configured ones of these names are left out.
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

/// Which versions of HTTP may be spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersions {
    /// HTTP/2 where both sides can, else HTTP/1.1.
    Any,
    /// HTTP/1.1, which alone can be upgraded to another protocol.
    Http1Only,
}

/// Builds the client. Touches neither the network nor the system's certificates.
///
/// # Errors
/// [`ErrorKind::Config`] where a PEM file or the proxy cannot be used.
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
    // Who connects to a socket of this machine goes through no proxy.
    let direct = Secret::default();
    let builder = client_builder(tls, Some(&direct), true, connect_timeout, versions)?;
    #[cfg(unix)]
    let builder = builder.unix_socket(path.to_owned());
    #[cfg(not(unix))]
    let _ = path;
    build_client(builder)
}

/// A client for requests that a conversation with an endpoint calls for, but that do not go to it: OAuth.
/// It has the endpoint's trust and proxy, and none of its headers.
pub(crate) struct AuxiliaryClient<'a> {
    /// Trust, and who we are.
    pub(crate) tls: &'a TlsOptions,
    /// The proxy; the usual variables where `None`.
    pub(crate) proxy: Option<&'a Secret>,
    /// Whether it is for loopback hosts.
    pub(crate) is_loopback: bool,
    /// How long name look-up, connection and TLS may take.
    pub(crate) connect_timeout: Option<Duration>,
    /// The Unix socket to connect to, where the endpoint has one and it is the endpoint's own origin.
    pub(crate) unix_socket: Option<&'a Path>,
    /// Looks names up, and refuses what must not be connected to.
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
        .dns_resolver(Arc::new(Names))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true);
    if let Some(limit) = connect_timeout.filter(|limit| !limit.is_zero()) {
        builder = builder.connect_timeout(limit);
    }
    if versions == HttpVersions::Http1Only {
        builder = builder.http1_only();
    }
    match configured {
        Some(url) if url.reveal().is_empty() => builder = builder.no_proxy(),
        Some(url) => builder = builder.proxy(parse_proxy(url)?),
        // A proxy elsewhere cannot reach what only this machine can; whoever wants one here names it.
        None if loopback => builder = builder.no_proxy(),
        // `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy`, in either case, as reqwest reads them.
        None => {}
    }
    Ok(builder)
}

fn build_client(builder: ClientBuilder) -> Result<Client> {
    builder.build().map_err(|error| Failure::new(ErrorKind::Bug, "cannot set up the HTTP client").caused_by(&error))
}

/// The variable of the environment (`set`) that names a proxy for this scheme.
pub(super) fn proxy_variable(scheme: &str, set: impl Fn(&str) -> bool) -> Option<&'static str> {
    let names = if scheme == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    names.into_iter().chain(["ALL_PROXY", "all_proxy"]).find(|name| set(name))
}

fn parse_proxy(secret: &Secret) -> Result<Proxy> {
    const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];
    let text = secret.reveal();
    // Like curl, a bare `host:port` means an HTTP proxy. The text itself may hold a password: never shown.
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let bad = |cause: &str| {
        Failure::new(ErrorKind::Config, "the proxy cannot be used")
            .cause(cause)
            .hint("write it as http://HOST:PORT, https://HOST:PORT, socks5://HOST:PORT or socks5h://HOST:PORT")
    };
    let url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
    if !SCHEMES.contains(&url.scheme()) {
        return Err(bad(&format!("unknown kind of proxy '{}'", url.scheme())));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(bad("it names no host"));
    }
    Proxy::all(url).map_err(|error| bad(&error.without_url().to_string()))
}

/// The configured headers, checked, and all marked as secrets.
///
/// # Errors
/// [`ErrorKind::Config`] where HTTP cannot carry one; its value is not shown.
pub(super) fn configured_headers(endpoint: &HttpEndpoint, trace: &Trace) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(endpoint.headers.len() + 8);
    for (name, value) in &endpoint.headers {
        let bad = |why: &str| Failure::new(ErrorKind::Config, format!("the header '{name}' cannot be sent")).cause(why);
        let key = HeaderName::from_bytes(name.trim().as_bytes()).map_err(|_| bad("its name is not a valid one"))?;
        if RESERVED_HEADERS.contains(&key.as_str()) {
            trace.note(&format!("the configured header '{key}' is left out: the protocol sets it"));
            continue;
        }
        headers.append(key, secret_header_value(value).ok_or_else(|| bad("its value has a control character"))?);
    }
    if !headers.contains_key(USER_AGENT) {
        headers.insert(USER_AGENT, HeaderValue::from_static(DEFAULT_USER_AGENT));
    }
    Ok(headers)
}

/// A header value that is neither shown nor kept in a compression table.
pub(super) fn secret_header_value(secret: &Secret) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(secret.reveal().trim().as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::transport::http::scripted_server;

    #[test]
    fn invalid_proxies_are_rejected_and_never_shown() {
        for text in ["http://p:1", "p:3128", "socks5h://u:pw@p", "https://p"] {
            assert!(parse_proxy(&Secret::new(text)).is_ok(), "{text}");
        }
        for text in ["ftp://u:hunter2@p", "http://u:hunter2@", "http://u:hunter2@p:99999"] {
            let failure = parse_proxy(&Secret::new(text)).unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Config, "{text}");
            assert!(!format!("{failure:?}").contains("hunter2"), "{failure:?}");
        }
    }

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
