//! Which hosts are loopback: this machine itself, so that nothing sent there leaves it.
//!
//! Plain `http` to such a host does not need `--allow-http`, may be opened in a browser, and is never sent through a
//! proxy from the environment. A proxy that the user gives as an option is used.
//!
//! Names below `localhost` count too (RFC 6761 §6.3). Not every system resolver keeps them on this machine: glibc
//! without nss-myhostname looks `localhost.` and `a.localhost` up in DNS. So mcpipe does not look them up:
//! it connects to [`ADDRESSES`], as curl and Chromium do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

/// The addresses of every `localhost` name, in the order in which they are tried (RFC 6724 §2.1).
pub const ADDRESSES: [IpAddr; 2] = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];

/// Whether the host of this URL is loopback.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    url.host().is_some_and(|host| is_loopback_host(&host))
}

/// Whether this host is loopback: a `localhost` name, 127.0.0.0/8 (RFC 1122 §3.2.1.3), `::1` (RFC 4291 §2.5.3), or an
/// IPv4 loopback address mapped into IPv6 (RFC 4291 §2.5.5.2).
#[must_use]
pub fn is_loopback_host<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => is_localhost(name.as_ref()),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.to_canonical().is_loopback(),
    }
}

/// Whether this name is `localhost` or below it, with or without the dot of the root at its end.
#[must_use]
pub fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    !name.ends_with('.') && name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn loopback_hosts_are_known_however_they_are_written() {
        let loopback = "localhost LOCALHOST localhost. l%6fcalhost a.localhost a.b.LocalHost. \
            127.0.0.1 127.255.255.255 127.1 0x7f.1 0177.0.0.1 2130706433 127.0.0.1. 127%2e0%2e0%2e1 １２７.0.0.1 \
            [::1] [0:0::0:1] [::ffff:127.0.0.1] [::ffff:7f08:901]";
        let other = "localhost.. localhost.example notlocalhost localhosts example.com 127.0.0.1.example \
            0.0.0.0 0 126.255.255.255 128.0.0.1 10.0.0.1 1.0.0.127 \
            [::] [::2] [::127.0.0.1] [::ffff:0.0.0.0] [::ffff:10.0.0.1] [64:ff9b::127.0.0.1] [fe80::1]";
        for scheme in ["http", "https", "ws", "wss"] {
            let judged = |host: &str| is_loopback(&Url::parse(&format!("{scheme}://{host}:8/")).unwrap());
            assert_eq!(loopback.split_whitespace().find(|host| !judged(host)), None, "{scheme}");
            assert_eq!(other.split_whitespace().find(|host| judged(host)), None, "{scheme}");
        }
        for url in
            ["http://localhost@example.com/", "http://example.com/localhost", "unix:/localhost", "data:,127.0.0.1"]
        {
            assert!(!is_loopback(&Url::parse(url).unwrap()), "{url}");
        }
        for host in ["http://example.com@localhost/", "http://u:p@127.0.0.1:1/"] {
            assert!(is_loopback(&Url::parse(host).unwrap()), "{host}");
        }
    }

    #[test]
    fn the_addresses_of_localhost_are_loopback() {
        assert!(ADDRESSES.iter().all(IpAddr::is_loopback));
    }
}
