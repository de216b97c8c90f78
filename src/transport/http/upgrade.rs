//! From HTTP to another protocol: the request that asks for it, with everything that any request has
//! (trust, proxy, headers, credentials, redirects), and the connection that comes of it.

use reqwest::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded, Url};

use super::client::HttpVersions;
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::http::request::{EndpointClient, HttpRequest, HttpResponse};
use crate::transport::http::{error, unexpected_response};
use crate::transport::{HttpEndpoint, TransportOptions};

/// What is asked of the server.
pub(in crate::transport) struct UpgradeRequest {
    /// The protocol, as the `Upgrade` header names it.
    pub protocol: &'static str,
    /// The headers that the protocol needs.
    pub headers: HeaderMap,
}

/// Asks for another protocol; the connection, and the headers of the answer that agreed.
///
/// The endpoint's URL has the scheme `ws` or `wss`, and messages show it so.
///
/// # Errors
/// When the server cannot be reached, refuses ([`unexpected_response::failure`]), does not know the protocol
/// ([`ErrorKind::Protocol`]), or does not answer in time ([`ErrorKind::Timeout`]).
pub(in crate::transport) async fn upgrade(
    endpoint: &HttpEndpoint,
    options: &TransportOptions,
    asked: UpgradeRequest,
) -> Result<(Upgraded, HeaderMap)> {
    let url = http_url_of(&endpoint.url)?;
    let core =
        EndpointClient::new(&HttpEndpoint { url: url.clone(), ..endpoint.clone() }, options, HttpVersions::Http1Only)?;
    let opening = Box::pin(send_upgrade(&core, asked));
    let bounded = async {
        core.with_timeout(options.connect_timeout, opening).await.unwrap_or_else(|| {
            let what = format!("no connection to {} in time", unexpected_response::redacted_url(&url));
            Err(Failure::new(ErrorKind::Timeout, what).hint("wait longer with --connect-timeout TIME"))
        })
    };
    options.interrupt.run_until_interrupted(bounded).await?.map_err(|failure| restore_websocket_urls(&url, failure))
}

/// The URL of the HTTP request that asks for the upgrade.
pub(in crate::transport) fn http_url_of(url: &Url) -> Result<Url> {
    let mut carrier = url.clone();
    let scheme = if url.scheme() == "wss" { "https" } else { "http" };
    match carrier.set_scheme(scheme) {
        Ok(()) => Ok(carrier),
        Err(()) => Err(Failure::new(
            ErrorKind::Usage,
            format!("{} cannot be asked over HTTP", unexpected_response::redacted_url(url)),
        )),
    }
}

async fn send_upgrade(core: &EndpointClient, asked: UpgradeRequest) -> Result<(Upgraded, HeaderMap)> {
    let UpgradeRequest { protocol, mut headers } = asked;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
    let ask = HttpRequest { method: Method::GET, url: core.url.clone(), headers, body: None, may_log_in: true };
    let (response, url) = match core.send(ask).await? {
        HttpResponse::Head(response, url) => (response, url),
        HttpResponse::Unauthorized(refusal) => return Err(unexpected_response::unexpected_response_failure(&refusal)),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let refusal = unexpected_response::from_response(response, &url, false).await;
        return Err(match refusal.status {
            // It answered, but as if it had been asked for a page.
            200..=299 | 400 | 405 | 406 | 426 => {
                let failure = Failure::new(ErrorKind::Protocol, format!("{} speaks no {protocol}", refusal.url))
                    .cause(format!("it answered HTTP {}", refusal.status));
                failure.hint("check the path; a server of Streamable HTTP has an https:// or http:// URL")
            }
            _ => unexpected_response::unexpected_response_failure(&refusal),
        });
    }
    let said = response.headers().clone();
    let agreed = said.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
    if !agreed {
        let what = format!("{} switches to another protocol than {protocol}", unexpected_response::redacted_url(&url));
        return Err(Failure::new(ErrorKind::Protocol, what));
    }
    let upgraded = response.upgrade().await.map_err(|error| error::request_failure(error, &url))?;
    Ok((upgraded, said))
}

/// The failure with URLs as the user wrote them.
fn restore_websocket_urls(carrier: &Url, mut failure: Failure) -> Failure {
    let places = [("https://", "wss://"), ("http://", "ws://")];
    let authority = carrier.authority();
    let reword = |text: &mut String| {
        for (from, to) in places {
            *text = text.replace(&format!("{from}{authority}"), &format!("{to}{authority}"));
        }
    };
    let details = failure.details_mut();
    reword(&mut details.message);
    details.causes.iter_mut().for_each(reword);
    details.hint.iter_mut().for_each(reword);
    failure
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn failures_name_the_url_that_was_asked_for() {
        let url = Url::parse("wss://h:1/mcp").unwrap();
        let carrier = http_url_of(&url).unwrap();
        assert_eq!(carrier.as_str(), "https://h:1/mcp");
        assert_eq!(super::http_url_of(&Url::parse("ws://h/").unwrap()).unwrap().as_str(), "http://h/");
        let failure = Failure::new(ErrorKind::Unreachable, "cannot connect to https://h:1/mcp")
            .cause("https://other/ is left alone")
            .hint("use http://h:1/mcp");
        let failure = restore_websocket_urls(&carrier, failure);
        assert_eq!(failure.to_string(), "cannot connect to wss://h:1/mcp: https://other/ is left alone");
        assert_eq!(failure.details().hint.as_deref(), Some("use ws://h:1/mcp"));
    }
}
