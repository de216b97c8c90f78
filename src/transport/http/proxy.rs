//! Proxies: configured ones, those of the environment, and the part of a failed connection that is due to one.
//!
//! Requests to a loopback host (`util/loopback.rs`) never go through a proxy from the environment, only through
//! one that the user configured: a proxy elsewhere cannot reach this machine.

use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::{Proxy, Url};

use crate::error::{ErrorKind, Failure, Result};
use crate::secret::Secret;
use crate::transport::endpoint::HttpEndpoint;
use crate::transport::url::redacted_url;
use crate::util::loopback::is_loopback;

/// The proxy at a URL that `target/parse.rs` accepted.
///
/// # Errors
/// [`ErrorKind::Config`]; the text is not shown, since it may contain a password.
pub(super) fn configured_proxy(url: &Secret) -> Result<Proxy> {
    Proxy::all(url.reveal())
        .map_err(|error| Failure::new(ErrorKind::Config, "invalid proxy URL").cause(error.without_url().to_string()))
}

fn with_scheme(proxy: &str) -> String {
    if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") }
}

/// What mcpipe connects to instead of the URL's host.
pub(super) enum ProxyInUse {
    /// A Unix socket.
    UnixSocket(PathBuf),
    /// A proxy that is configured for this server.
    Configured(String),
    /// The proxy of an environment variable.
    Environment { name: &'static str, proxy: String },
}

impl ProxyInUse {
    /// The one that a connection to this endpoint uses.
    pub(super) fn for_endpoint(endpoint: &HttpEndpoint, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if let Some(path) = &endpoint.unix_socket {
            return Some(ProxyInUse::UnixSocket(path.clone()));
        }
        match &endpoint.proxy {
            Some(own) => Some(ProxyInUse::Configured(redact_proxy(own.reveal()))).filter(|_| !own.reveal().is_empty()),
            None => {
                let name = proxy_variable(&endpoint.url, &variable)?;
                Some(ProxyInUse::Environment { name, proxy: redact_proxy(&variable(name)?) })
            }
        }
    }

    /// A failure to connect, reworded to name what could not be connected to.
    pub(super) fn explain_failure(&self, mut failure: Failure, url: &Url) -> Failure {
        let url = redacted_url(url);
        let (message, hint) = match self {
            ProxyInUse::UnixSocket(path) => {
                let path = path.display();
                let hint = format!("check the path of the socket, and that a server is listening: {path}");
                (format!("cannot connect to the socket {path}"), hint)
            }
            ProxyInUse::Configured(proxy) => (
                format!("cannot connect to {url} through the proxy {proxy}"),
                format!("check the proxy (--proxy, or 'proxy' in the configuration): {proxy}"),
            ),
            ProxyInUse::Environment { name, proxy } => (
                format!("cannot connect to {url} through the proxy {proxy}"),
                format!("check the proxy that {name} sets, or use none: --proxy ''"),
            ),
        };
        let details = failure.details_mut();
        details.message = message;
        if let Some(advice) = &mut details.retry_advice {
            advice.is_proxy = !matches!(self, ProxyInUse::UnixSocket(_));
        }
        failure.hint(hint)
    }
}

/// A proxy's URL for messages.
fn redact_proxy(proxy: &str) -> String {
    match Url::parse(&with_scheme(proxy)) {
        Ok(url) => redacted_url(&url).trim_end_matches('/').to_owned(),
        Err(_) => "that is configured".to_owned(),
    }
}

/// Whether requests to this URL go through a proxy from the environment.
#[must_use]
pub(crate) fn is_proxied(url: &Url, variable: impl Fn(&str) -> Option<String>) -> bool {
    proxy_variable(url, variable).is_some()
}

/// The variable whose proxy is used for this URL, unless its host is exempt.
fn proxy_variable(url: &Url, variable: impl Fn(&str) -> Option<String>) -> Option<&'static str> {
    if is_loopback(url) {
        return None;
    }
    let names = if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let is_set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let name = names.into_iter().chain(["ALL_PROXY", "all_proxy"]).find(is_set)?;
    let exempt_hosts = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
    let exempt = url.host_str().is_some_and(|host| is_exempt(host, &exempt_hosts));
    (!exempt).then_some(name)
}

/// Whether this list (`NO_PROXY`, `no_proxy`) contains the host of a URL, by the rules of reqwest, which reads the
/// variables itself.
///
/// A name matches itself and its subdomains, with or without a leading dot; `*` matches every name; an address
/// matches itself, or with `/BITS` its network.
fn is_exempt(host: &str, list: &str) -> bool {
    let address: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| match address {
        Some(address) => matches_network(entry, address),
        None => entry == "*" || matches_domain(entry.trim_start_matches('.'), host),
    })
}

fn matches_domain(name: &str, host: &str) -> bool {
    let Some(at) = host.len().checked_sub(name.len()) else { return false };
    let ends = host.get(at..).is_some_and(|end| end.eq_ignore_ascii_case(name));
    ends && (at == 0 || host.as_bytes().get(at - 1) == Some(&b'.'))
}

fn matches_network(entry: &str, address: IpAddr) -> bool {
    let (network, bits) = entry.split_once('/').map_or((entry, None), |(network, bits)| (network, Some(bits)));
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    let Some(bits) = bits else { return network == address };
    let (one, other, width) = match (network, address) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()), u128::from(other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    match bits.parse::<u32>() {
        Ok(0) => true,
        Ok(bits) if bits <= width => (one ^ other) >> (width - bits) == 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::transport::http::scripted_server;

    #[test]
    fn finds_the_proxy_in_use() {
        let in_use = |url: &str, own: Option<&str>, set: &[&str]| {
            let endpoint = HttpEndpoint { proxy: own.map(Secret::new), ..scripted_server::endpoint(url) };
            let variable = |name: &str| set.contains(&name).then(|| "http://u:hunter2@p:1/".to_owned());
            match ProxyInUse::for_endpoint(&endpoint, variable) {
                None => "none".to_owned(),
                Some(ProxyInUse::UnixSocket(_)) => "socket".to_owned(),
                Some(ProxyInUse::Configured(proxy)) => proxy,
                Some(ProxyInUse::Environment { name, proxy }) => format!("{name} {proxy}"),
            }
        };
        assert_eq!(in_use("https://h/", None, &["https_proxy"]), "https_proxy http://p:1");
        assert_eq!(in_use("http://h/", None, &["ALL_PROXY", "no_proxy"]), "ALL_PROXY http://p:1");
        assert_eq!(in_use("http://h/", None, &["https_proxy"]), "none");
        assert_eq!(in_use("http://localhost/", None, &["http_proxy"]), "none");
        assert_eq!(in_use("http://localhost/", Some("u:hunter2@p:1"), &[]), "http://p:1");
        assert_eq!(in_use("http://h/", Some(""), &["http_proxy"]), "none");
    }

    #[test]
    fn no_proxy_matches_as_in_the_http_client() {
        let list = " vm , .corp.example,10.0.0.0/8, 192.168.1.7,fd00::/8";
        for host in ["vm", "VM", "a.vm", "corp.example", "x.corp.example", "10.200.3.4", "192.168.1.7", "[fd12::1]"] {
            assert!(is_exempt(host, list), "{host}");
        }
        for host in ["avm", "vm.example", "notcorp.example", "11.0.0.1", "192.168.1.8", "[fe80::1]", "example"] {
            assert!(!is_exempt(host, list), "{host}");
        }
        assert!(
            is_exempt("any.example", "*")
                && !is_exempt("10.0.0.1", "*")
                && !is_exempt("h", "")
                && !is_exempt("h", ", ,")
        );
        assert!(
            is_exempt("1.2.3.4", "0.0.0.0/0") && !is_exempt("1.2.3.4", "1.2.3.4/33") && !is_exempt("1.2.3.4", "::/0")
        );
    }

    #[test]
    fn an_exempt_host_is_not_proxied() {
        let environment = |name: &str| match name {
            "HTTPS_PROXY" => Some("http://proxy:3128".to_owned()),
            "no_proxy" => Some("vm,.internal".to_owned()),
            _ => None,
        };
        let proxied = |url: &str| is_proxied(&Url::parse(url).unwrap(), environment);
        assert!(proxied("https://mcp.example.com/") && !proxied("http://mcp.example.com/"));
        assert!(!proxied("https://vm/") && !proxied("https://as.internal/") && !proxied("https://localhost/"));
    }
}
