//! Resolves host names.

use std::io;
use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::util::loopback::{ADDRESSES, is_localhost};

/// The addresses of a host, with port 0. `localhost` names are not looked up: their addresses are fixed.
///
/// # Errors
/// Those of the system's resolver.
pub(crate) async fn look_up(name: &str) -> io::Result<Vec<SocketAddr>> {
    if is_localhost(name) {
        return Ok(ADDRESSES.map(|address| SocketAddr::new(address, 0)).to_vec());
    }
    Ok(tokio::net::lookup_host((name, 0)).await?.collect())
}

/// The resolver of the HTTP client.
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { Ok(Box::new(look_up(name.as_str()).await?.into_iter()) as Addrs) })
    }
}
