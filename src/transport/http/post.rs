//! Posting messages: what Streamable HTTP and HTTP+SSE have in common.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::incoming::ConnectionTasks;
use super::request::{EndpointClient, HttpRequest, SESSION_ID_HEADER, SendOutcome};
use super::unexpected_response;
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::message::OutgoingMessage;

/// How long, and how much, of the body of a response to a one-way message is read so that its connection
/// can be reused.
const DRAIN_LIMITS: (Duration, usize) = (Duration::from_millis(100), 64 << 10);

/// The headers of a message: the transport's own, and those that mirror the message.
///
/// # Errors
/// [`ErrorKind::Protocol`] if HTTP cannot carry a name or value, which a server's schema may have caused.
pub(super) fn post_headers(message: &OutgoingMessage) -> Result<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(message.headers.len() + 4);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in &message.headers {
        let (Ok(key), Ok(value)) = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) else {
            return Err(Failure::new(ErrorKind::Protocol, format!("the header '{name}' cannot be sent over HTTP")));
        };
        headers.insert(key, value);
    }
    Ok(headers)
}

/// Sends a one-way message and waits until it is accepted.
///
/// # Errors
/// If the response is not 2xx.
pub(super) async fn send_one_way(client: &EndpointClient, tasks: &ConnectionTasks, request: HttpRequest) -> Result<()> {
    let in_session = request.headers.contains_key(SESSION_ID_HEADER);
    let unexpected = match client.send(request).await? {
        SendOutcome::Response(response, _) if response.status().is_success() => {
            drain_body(tasks, response);
            return Ok(());
        }
        SendOutcome::Response(response, url) => unexpected_response::from_response(response, &url, in_session).await,
        SendOutcome::Unauthorized(unexpected) => unexpected,
    };
    Err(unexpected.to_failure())
}

/// Reads a body that nothing depends on, in the background and up to [`DRAIN_LIMITS`].
pub(super) fn drain_body(tasks: &ConnectionTasks, mut response: Response) {
    if response.content_length() == Some(0) {
        return;
    }
    let _ = tasks.spawn_background(async move {
        let (time, size) = DRAIN_LIMITS;
        let rest = async {
            let mut read = 0;
            while let Ok(Some(chunk)) = response.chunk().await {
                read += chunk.len();
                if read > size {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(time, rest).await;
    });
}
