//! Whether the environment puts a proxy before a URL, and which hosts `NO_PROXY` takes out: by the rules of the HTTP
//! client, which reads the variables itself for the connections.

use std::net::IpAddr;

use reqwest::Url;

use super::client::proxy_variable;
use crate::util::loopback::is_loopback;

/// Whether the environment names a proxy for this URL, and does not take its host out.
#[must_use]
pub(crate) fn is_proxied(url: &Url, variable: impl Fn(&str) -> Option<String>) -> bool {
    let set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let taken_out = || {
        let list = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
        url.host_str().is_some_and(|host| is_exempt(host, &list))
    };
    !is_loopback(url) && proxy_variable(url.scheme(), set).is_some() && !taken_out()
}

/// Whether this list (`NO_PROXY`, `no_proxy`) names the host, as it stands in a URL.
///
/// A name stands for itself and what is below it, with or without a dot before it; `*` for every name; an address for
/// itself, or with `/BITS` for its network.
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
    #![allow(clippy::unwrap_used)]
    use super::*;

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
        let proxied = |url: &str| super::is_proxied(&Url::parse(url).unwrap(), environment);
        assert!(proxied("https://mcp.example.com/") && !proxied("http://mcp.example.com/"));
        assert!(!proxied("https://vm/") && !proxied("https://as.internal/") && !proxied("https://localhost/"));
    }
}
