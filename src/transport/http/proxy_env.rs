//! What stands between us and the URL, so that a connection that fails is laid at the right door.

use std::path::PathBuf;

use reqwest::Url;

use super::client::proxy_variable;
use crate::error::Failure;
use crate::transport::HttpEndpoint;
use crate::transport::http::unexpected_response;
use crate::util::loopback::is_loopback;

/// What is connected to in place of the URL's host.
pub(super) enum ProxyInUse {
    /// A Unix socket.
    UnixSocket(PathBuf),
    /// A proxy that was named for this server.
    Configured(String),
    /// The proxy of a variable. `doubtful`: another variable may take this very host out.
    Environment { name: &'static str, proxy: String, may_be_exempt: bool },
}

impl ProxyInUse {
    /// That of an endpoint, as far as it and the environment tell.
    pub(super) fn for_endpoint(endpoint: &HttpEndpoint, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if let Some(path) = &endpoint.unix_socket {
            return Some(ProxyInUse::UnixSocket(path.clone()));
        }
        match &endpoint.proxy {
            Some(own) => Some(ProxyInUse::Configured(redact_proxy(own.reveal()))).filter(|_| !own.reveal().is_empty()),
            None if is_loopback(&endpoint.url) => None,
            None => {
                let name = proxy_variable(endpoint.url.scheme(), |name| variable(name).is_some())?;
                let doubtful = ["no_proxy", "NO_PROXY"].into_iter().any(|name| variable(name).is_some());
                Some(ProxyInUse::Environment { name, proxy: redact_proxy(&variable(name)?), may_be_exempt: doubtful })
            }
        }
    }

    /// A failure to connect that is not the server's own, in words that name who it may be.
    pub(super) fn explain_failure(&self, mut failure: Failure, url: &Url) -> Failure {
        let url = unexpected_response::redacted_url(url);
        let (what, hint) = match self {
            ProxyInUse::UnixSocket(path) => {
                let path = path.display();
                let hint = format!("check the path of the socket, and that a server listens on it: {path}");
                (format!("cannot connect to the socket {path}"), hint)
            }
            ProxyInUse::Configured(proxy) => (
                format!("cannot connect to {url} through the proxy {proxy}"),
                format!("check the proxy (--proxy, or 'proxy' in the configuration): {proxy}"),
            ),
            ProxyInUse::Environment { name, may_be_exempt: true, .. } => {
                return failure.cause(format!("{name} may set a proxy for this URL"));
            }
            ProxyInUse::Environment { name, proxy, .. } => (
                format!("cannot connect to {url} through the proxy {proxy}"),
                format!("check the proxy that {name} sets, or go without it: --proxy ''"),
            ),
        };
        failure.details_mut().message = what;
        failure.hint(hint)
    }
}

/// A proxy's URL without what it may hold of secrets.
fn redact_proxy(proxy: &str) -> String {
    let full = if proxy.contains("://") { proxy.to_owned() } else { format!("http://{proxy}") };
    match Url::parse(&full) {
        Ok(url) => unexpected_response::redacted_url(&url).trim_end_matches('/').to_owned(),
        Err(_) => "that is configured".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use crate::secret::Secret;
    use crate::transport::http::scripted_server;

    #[test]
    fn finds_the_proxy_in_use() {
        let detour = |url: &str, own: Option<&str>, set: &[&str]| {
            let endpoint = HttpEndpoint { proxy: own.map(Secret::new), ..scripted_server::endpoint(url) };
            let variable = |name: &str| set.contains(&name).then(|| "http://u:hunter2@p:1/".to_owned());
            match ProxyInUse::for_endpoint(&endpoint, variable) {
                None => "none".to_owned(),
                Some(ProxyInUse::UnixSocket(_)) => "socket".to_owned(),
                Some(ProxyInUse::Configured(proxy)) => proxy,
                Some(ProxyInUse::Environment { name, proxy, may_be_exempt: doubtful }) => {
                    format!("{name} {proxy} {doubtful}")
                }
            }
        };
        assert_eq!(detour("https://h/", None, &["https_proxy"]), "https_proxy http://p:1 false");
        assert_eq!(detour("http://h/", None, &["ALL_PROXY", "no_proxy"]), "ALL_PROXY http://p:1 true");
        assert_eq!(detour("http://h/", None, &["https_proxy"]), "none");
        assert_eq!(detour("http://localhost/", None, &["http_proxy"]), "none");
        assert_eq!(detour("http://localhost/", Some("u:hunter2@p:1"), &[]), "http://p:1");
        assert_eq!(detour("http://h/", Some(""), &["http_proxy"]), "none");
    }
}
