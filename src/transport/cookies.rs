//! The cookies of one server, kept in memory while a session with it lasts (RFC 6265). Load balancers set them so that
//! all requests of a session reach the same instance.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::Url;

use crate::secret::Secret;
use crate::util::http_date::parse_http_date;
use crate::util::lock::lock;
use crate::util::loopback::is_loopback;

/// How many cookies are kept (RFC 6265 §6.1 asks for at least 50 a domain); the oldest make room.
const MAX_COOKIES: usize = 50;
/// The longest cookie that is kept, in bytes, with its name and attributes (RFC 6265 §6.1).
const MAX_COOKIE_LENGTH: usize = 4096;

/// The cookies that one server set. They are sent to the origin that set them and to no other, whatever their `Domain`
/// says. Clones share them.
#[derive(Clone, Default)]
pub struct CookieJar(Arc<Mutex<Vec<Cookie>>>);

struct Cookie {
    name: String,
    value: Secret,
    origin: url::Origin,
    path: String,
    is_secure: bool,
    /// Never, if `None`: then it ends with the session.
    expires_at: Option<SystemTime>,
}

impl CookieJar {
    /// Stores the cookie of a `Set-Cookie` header of a response from `url`, or removes it if it has expired (RFC 6265
    /// §5.2, §5.3). Returns whether the header could be used.
    pub(crate) fn store(&self, url: &Url, header: &str, now: SystemTime) -> bool {
        let Some(cookie) = parse_cookie(url, header, now) else { return false };
        let mut cookies = lock(&self.0);
        cookies.retain(|old| !(old.name == cookie.name && old.origin == cookie.origin && old.path == cookie.path));
        if cookie.expires_at.is_none_or(|at| at > now) {
            if cookies.len() >= MAX_COOKIES {
                cookies.remove(0);
            }
            cookies.push(cookie);
        }
        true
    }

    /// The value of the `Cookie` header of a request to `url` (RFC 6265 §5.4): `configured`, which the user set, and
    /// the cookies of the server with other names. `None` if there is neither.
    pub(crate) fn header_value(&self, url: &Url, configured: Option<&str>, now: SystemTime) -> Option<Secret> {
        let mut cookies = lock(&self.0);
        cookies.retain(|cookie| cookie.expires_at.is_none_or(|at| at > now));
        let is_configured = |name: &str| {
            let pairs = configured.unwrap_or_default().split(';');
            pairs.filter_map(|pair| pair.split_once('=')).any(|(given, _)| given.trim() == name)
        };
        let origin = url.origin();
        let mut fitting: Vec<&Cookie> = cookies
            .iter()
            .filter(|cookie| cookie.origin == origin && path_matches(url.path(), &cookie.path))
            .filter(|cookie| !cookie.is_secure || is_secure(url))
            .filter(|cookie| !is_configured(&cookie.name))
            .collect();
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let pairs = fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value.reveal()));
        let all: Vec<String> = configured.map(|value| value.trim().to_owned()).into_iter().chain(pairs).collect();
        (!all.is_empty()).then(|| Secret::new(all.join("; ")))
    }
}

/// The cookie of a `Set-Cookie` header; `None` if it is malformed, too long or not for this host.
fn parse_cookie(url: &Url, header: &str, now: SystemTime) -> Option<Cookie> {
    if header.len() > MAX_COOKIE_LENGTH || header.chars().any(|c| c.is_control() && c != '\t') {
        return None;
    }
    let mut parts = header.split(';');
    let (name, value) = parts.next()?.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    if name.is_empty() {
        return None;
    }
    let (mut path, mut is_secure_only, mut max_age, mut expires) = (None, false, None, None);
    for attribute in parts {
        let (key, value) = attribute.split_once('=').unwrap_or((attribute, ""));
        let value = value.trim();
        match key.trim().to_ascii_lowercase().as_str() {
            "path" => path = value.starts_with('/').then(|| value.to_owned()),
            "secure" => is_secure_only = true,
            "max-age" => max_age = parse_max_age(value, now).or(max_age),
            // Older servers write the date with dashes.
            "expires" => expires = parse_http_date(&value.replace('-', " ")).or(expires),
            "domain" if !domain_matches(url, value) => return None,
            _ => {}
        }
    }
    if is_secure_only && !is_secure(url) {
        return None;
    }
    Some(Cookie {
        name: name.to_owned(),
        value: Secret::new(value),
        origin: url.origin(),
        path: path.unwrap_or_else(|| default_path(url)),
        is_secure: is_secure_only,
        // `Max-Age` counts where there are both.
        expires_at: max_age.or_else(|| expires.map(|seconds| UNIX_EPOCH + Duration::from_secs(seconds))),
    })
}

/// When a cookie with this `Max-Age` expires; `None` if it is not a number.
fn parse_max_age(value: &str, now: SystemTime) -> Option<SystemTime> {
    let digits = value.strip_prefix('-').unwrap_or(value);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds: u64 = if digits.len() < value.len() { 0 } else { digits.parse().unwrap_or(u64::MAX) };
    // A year is longer than any session.
    Some(if seconds == 0 { UNIX_EPOCH } else { now + Duration::from_secs(seconds.min(365 * 24 * 3600)) })
}

/// Whether a cookie may be sent to this URL if it is for secure connections only.
fn is_secure(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

/// Whether the URL's host is `domain` or below it (RFC 6265 §5.1.3).
fn domain_matches(url: &Url, domain: &str) -> bool {
    let domain = domain.strip_prefix('.').unwrap_or(domain).to_ascii_lowercase();
    match url.host() {
        _ if domain.is_empty() => true,
        Some(url::Host::Domain(host)) => {
            host == domain || host.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.'))
        }
        Some(address) => address.to_string() == domain,
        None => false,
    }
}

/// RFC 6265 §5.1.4.
fn default_path(url: &Url) -> String {
    match url.path().rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(last) => url.path()[..last].to_owned(),
    }
}

/// RFC 6265 §5.1.4.
fn path_matches(path: &str, cookie_path: &str) -> bool {
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(784_111_770)
    }

    /// What is sent to `to` after `from` set these cookies.
    fn sent(from: &str, set: &[&str], to: &str) -> Option<String> {
        let jar = CookieJar::default();
        for header in set {
            jar.store(&url(from), header, now());
        }
        jar.header_value(&url(to), None, now()).map(|value| value.reveal().to_owned())
    }

    #[test]
    fn a_cookie_is_sent_to_its_origin_and_path_only() {
        let set = ["AWSALB=a/b+c==; Expires=Sun, 13 Nov 1994 08:49:37 GMT; Path=/", "x=\"1\"; HttpOnly; SameSite=Lax"];
        let here = "https://h.example/api/mcp";
        assert_eq!(sent(here, &set, here).as_deref(), Some("x=\"1\"; AWSALB=a/b+c=="));
        assert_eq!(sent(here, &set, "https://h.example/api/messages?id=1").as_deref(), Some("x=\"1\"; AWSALB=a/b+c=="));
        assert_eq!(sent(here, &set, "https://h.example/apis").as_deref(), Some("AWSALB=a/b+c=="));
        for other in ["https://a.h.example/api/mcp", "http://h.example/api/mcp", "https://h.example:8443/api/mcp"] {
            assert_eq!(sent(here, &set, other), None, "{other}");
        }
        assert_eq!(sent(here, &["a=1; Path=/api/"], "https://h.example/api/x").as_deref(), Some("a=1"));
        assert_eq!(sent(here, &["a=1; Path=/ap"], "https://h.example/api/x"), None);
        // Without a path that begins with a slash, that of the request counts.
        assert_eq!(sent(here, &["a=1; Path=x"], "https://h.example/other"), None);
        assert_eq!(sent("https://h.example/mcp", &["a=1"], "https://h.example/other").as_deref(), Some("a=1"));
    }

    #[test]
    fn a_cookie_of_another_domain_is_ignored() {
        let here = "https://mcp.h.example/";
        for (domain, kept) in [
            ("mcp.h.example", true),
            (".h.example", true),
            ("H.EXAMPLE", true),
            ("", true),
            ("other.example", false),
            ("p.h.example", false),
        ] {
            assert_eq!(sent(here, &[&format!("a=1; Domain={domain}")], here).is_some(), kept, "{domain}");
        }
        assert_eq!(sent("https://127.0.0.1/", &["a=1; Domain=0.0.1"], "https://127.0.0.1/"), None);
        assert!(sent("https://127.0.0.1/", &["a=1; Domain=127.0.0.1"], "https://127.0.0.1/").is_some());
    }

    #[test]
    fn a_secure_cookie_needs_tls_or_loopback() {
        assert_eq!(sent("http://h.example/", &["a=1; Secure"], "http://h.example/"), None);
        assert_eq!(sent("https://h.example/", &["a=1; secure"], "https://h.example/").as_deref(), Some("a=1"));
        assert_eq!(sent("http://localhost/", &["a=1; Secure"], "http://localhost/").as_deref(), Some("a=1"));
    }

    #[test]
    fn cookies_are_replaced_and_expire() {
        let here = "https://h.example/";
        assert_eq!(sent(here, &["a=1", "b=2", "a=3"], here).as_deref(), Some("b=2; a=3"));
        for end in [
            "a=; Max-Age=0",
            "a=x; Max-Age=-1",
            "a=x; Expires=Thu, 01-Jan-1970 00:00:00 GMT",
            "a=x; expires=Sun, 06 Nov 1994 08:49:29 GMT",
            "a=x; Max-Age=0; Expires=Sun, 13 Nov 1994 08:49:37 GMT",
        ] {
            assert_eq!(sent(here, &["a=1", end], here), None, "{end}");
        }
        assert_eq!(
            sent(here, &["a=1; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT"], here).as_deref(),
            Some("a=1")
        );
        assert_eq!(sent(here, &["a=1; Max-Age=99999999999999999999"], here).as_deref(), Some("a=1"));
        assert_eq!(sent(here, &["a=1; Max-Age=soon; Expires=later"], here).as_deref(), Some("a=1"));
        let jar = CookieJar::default();
        jar.store(&url(here), "a=1; Max-Age=60", now());
        assert!(jar.header_value(&url(here), None, now() + Duration::from_secs(59)).is_some());
        assert!(jar.header_value(&url(here), None, now() + Duration::from_secs(60)).is_none());
    }

    #[test]
    fn malformed_and_excessive_cookies_are_not_kept() {
        let here = "https://h.example/";
        for bad in ["", "a", "=1", " =1; Path=/", "a=1\u{1}", &format!("a={}", "x".repeat(4096))] {
            assert_eq!(sent(here, &[bad], here), None, "{bad}");
        }
        let many: Vec<String> = (0..60).map(|n| format!("c{n}={n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let all = sent(here, &many, here).unwrap();
        assert_eq!(all.split("; ").count(), MAX_COOKIES);
        assert!(all.starts_with("c10=10; ") && all.ends_with("c59=59"));
    }

    #[test]
    fn configured_cookies_take_precedence() {
        let (jar, here) = (CookieJar::default(), url("https://h.example/"));
        jar.store(&here, "a=1", now());
        jar.store(&here, "b=2", now());
        let value = jar.header_value(&here, Some("b=mine; c=3"), now()).unwrap();
        assert_eq!(value.reveal(), "b=mine; c=3; a=1");
        assert_eq!(CookieJar::default().header_value(&here, Some("c=3"), now()).unwrap().reveal(), "c=3");
    }
}
