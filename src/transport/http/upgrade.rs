//! Switches an HTTP connection to another protocol (RFC 9110 §7.8), with the TLS options, proxy, headers, credentials
//! and redirects of any request.

use reqwest::header::{CONNECTION, HeaderMap, HeaderValue, UPGRADE};
use reqwest::{Method, StatusCode, Upgraded, Url};

use super::error::request_failure;
use super::request::{EndpointClient, HttpRequest, SendOutcome};
use super::tls::HttpVersions;
use super::unexpected_response;
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::connection::TransportOptions;
use crate::transport::endpoint::HttpEndpoint;
use crate::transport::url::redacted_url;

/// The protocol to switch to.
pub(crate) struct UpgradeRequest {
    /// Its name in the `Upgrade` header.
    pub protocol: &'static str,
    /// The headers that it requires.
    pub headers: HeaderMap,
}

/// Requests the switch. Returns the connection and the headers of the response.
///
/// The endpoint's URL has the scheme `ws` or `wss`, which messages show too.
///
/// # Errors
/// If the server cannot be reached, returns an error status, does not support the
/// protocol ([`ErrorKind::Protocol`]), or does not respond in time ([`ErrorKind::Timeout`]).
pub(crate) async fn upgrade(
    endpoint: &HttpEndpoint,
    options: &TransportOptions,
    upgrade: UpgradeRequest,
) -> Result<(Upgraded, HeaderMap)> {
    let endpoint = endpoint.with_http_url()?;
    let url = &endpoint.url;
    let client = EndpointClient::new(&endpoint, options, HttpVersions::Http1Only)?;
    let upgrading = Box::pin(send_upgrade(&client, upgrade));
    let bounded = async {
        client.with_timeout(options.connect_timeout, upgrading).await.unwrap_or_else(|| {
            let message = format!("connecting to {} timed out", redacted_url(url));
            Err(Failure::new(ErrorKind::Timeout, message).wait_hint("wait longer with --connect-timeout TIME"))
        })
    };
    options.interrupt.run_until_interrupted(bounded).await?.map_err(|failure| restore_websocket_urls(url, failure))
}

async fn send_upgrade(client: &EndpointClient, upgrade: UpgradeRequest) -> Result<(Upgraded, HeaderMap)> {
    let UpgradeRequest { protocol, mut headers } = upgrade;
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static(protocol));
    let request = HttpRequest { method: Method::GET, url: client.url.clone(), headers, body: None, may_log_in: true };
    let (response, url) = match client.send(request).await? {
        SendOutcome::Response(response, url) => (response, url),
        SendOutcome::Unauthorized(unexpected) => return Err(unexpected.to_failure()),
    };
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let unexpected = unexpected_response::from_response(response, &url, false).await;
        return Err(match unexpected.status {
            // An HTTP server that ignored `Upgrade`.
            200..=299 | 400 | 405 | 406 | 426 => {
                let failure =
                    Failure::new(ErrorKind::Protocol, format!("{} does not support {protocol}", unexpected.url))
                        .cause(format!("it returned HTTP {}", unexpected.status));
                failure.hint("check the path; for Streamable HTTP use https:// or http://")
            }
            _ => unexpected.to_failure(),
        });
    }
    let headers = response.headers().clone();
    let has_agreed = headers.get(UPGRADE).is_some_and(|name| name.as_bytes().eq_ignore_ascii_case(protocol.as_bytes()));
    if !has_agreed {
        let message = format!("{} switched to a protocol other than {protocol}", redacted_url(&url));
        return Err(Failure::new(ErrorKind::Protocol, message));
    }
    let upgraded = response.upgrade().await.map_err(|error| request_failure(error, &url))?;
    Ok((upgraded, headers))
}

/// The failure with `ws` and `wss` URLs, as the user wrote them.
fn restore_websocket_urls(http_url: &Url, mut failure: Failure) -> Failure {
    let schemes = [("https://", "wss://"), ("http://", "ws://")];
    let authority = http_url.authority();
    let reword = |text: &mut String| {
        for (from, to) in schemes {
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
        let http_url = Url::parse("https://h:1/mcp").unwrap();
        let failure = Failure::new(ErrorKind::Unreachable, "cannot connect to https://h:1/mcp")
            .cause("https://other/ is unchanged")
            .hint("use http://h:1/mcp");
        let failure = restore_websocket_urls(&http_url, failure);
        assert_eq!(failure.to_string(), "cannot connect to wss://h:1/mcp: https://other/ is unchanged");
        assert_eq!(failure.details().hint.as_deref(), Some("use ws://h:1/mcp"));
    }
}
