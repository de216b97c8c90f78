//! HTTP+SSE (2024-11-05, basic/transports): one stream that carries every response, and a URL for messages, which
//! its first event names.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, Url};

use super::event_stream::{self, EventStream, StreamEnd, StreamPosition};
use super::incoming::{ConnectionTasks, MessageSender};
use super::post::{drain_body, post_headers, send_one_way};
use super::request::{EndpointClient, HttpRequest, SendOutcome};
use super::response;
use super::tls::HttpVersions;
use super::unexpected_response;
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::connection::{
    BoxFuture, CloseOutcome, ConnectedTransport, Transport, TransportKind, TransportOptions,
};
use crate::transport::endpoint::HttpEndpoint;
use crate::transport::message::{MAX_MESSAGE, OutgoingKind, OutgoingMessage, UnexpectedResponse, incoming_channel};
use crate::transport::url::redacted_url;

/// Why the stream of an HTTP+SSE server could not be opened.
#[derive(Clone, Debug)]
pub enum SseConnectError {
    /// There is no event stream at the URL.
    NoStream(Failure),
    /// There is one that cannot be used, or no response.
    Failed(Failure),
}

impl From<Failure> for SseConnectError {
    fn from(failure: Failure) -> Self {
        SseConnectError::Failed(failure)
    }
}

/// Opens the stream of an HTTP+SSE server and waits for the URL for messages.
///
/// # Errors
/// If the server returns no event stream, names no URL or one of another origin
/// ([`ErrorKind::Protocol`]), or takes longer than `connect_timeout` ([`ErrorKind::Timeout`]).
pub async fn connect(
    endpoint: &HttpEndpoint,
    options: &TransportOptions,
) -> Result<ConnectedTransport, SseConnectError> {
    let for_posts = TransportOptions { connect_timeout: options.post_connect_timeout, ..options.clone() };
    let client = EndpointClient::new(endpoint, &for_posts, HttpVersions::Any)?;
    let bounded = async {
        client.with_timeout(options.connect_timeout, Box::pin(open_stream(&client))).await.unwrap_or_else(|| {
            let message = format!("opening the event stream from {} timed out", redacted_url(&client.url));
            Err(Failure::new(ErrorKind::Timeout, message).into())
        })
    };
    let (events, post_url) = options.interrupt.run_until_interrupted(bounded).await??;
    let (sender, incoming) = incoming_channel();
    let trace = options.trace.clone();
    let connection = Arc::new(SseConnection {
        client,
        message_sender: MessageSender {
            incoming: sender,
            trace,
            max_message_size: MAX_MESSAGE,
            has_warned_of_encoding: AtomicBool::new(false),
        },
        tasks: ConnectionTasks::default(),
        post_url,
    });
    let shared = connection.clone();
    let _ = connection.tasks.spawn_background(async move { shared.forward_stream(events).await });
    Ok(ConnectedTransport { transport: Arc::new(SseTransport(connection)), incoming })
}

/// Opens the stream and reads it up to the URL for messages.
async fn open_stream(client: &EndpointClient) -> Result<(EventStream, Url), SseConnectError> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let request = HttpRequest { method: Method::GET, url: client.url.clone(), headers, body: None, may_log_in: true };
    let (response, url) = match client.send(request).await? {
        SendOutcome::Response(response, url) => (response, url),
        SendOutcome::Unauthorized(unexpected) => return Err(no_stream(&unexpected)),
    };
    if !response.status().is_success() || response::media_type(&response) != "text/event-stream" {
        let unexpected = unexpected_response::from_response(response, &url, false).await;
        return Err(no_stream(&unexpected));
    }
    let mut events = EventStream::new(response, url.clone(), MAX_MESSAGE);
    while let Some(event) = events.next_event().await? {
        if event.event_type == "endpoint" {
            let post_url = resolve_post_url(&url, event.data.trim())?;
            return Ok((events, post_url));
        }
    }
    let message = format!("the event stream from {} ended without an 'endpoint' event", redacted_url(&url));
    Err(Failure::new(ErrorKind::Protocol, message).into())
}

fn no_stream(response: &UnexpectedResponse) -> SseConnectError {
    SseConnectError::NoStream(response.to_failure())
}

/// The URL for messages: relative to the stream's URL, and of the same origin (`SSE-01`).
fn resolve_post_url(stream: &Url, data: &str) -> Result<Url> {
    let invalid = |cause: String| {
        let message = format!("invalid 'endpoint' event from {}", redacted_url(stream));
        Failure::new(ErrorKind::Protocol, message).cause(cause)
    };
    let mut url = stream.join(data).map_err(|error| invalid(error.to_string()))?;
    if stream.origin() != url.origin() {
        let origin = url.origin().ascii_serialization();
        return Err(invalid(format!("its URL is on another origin: {origin}"))
            .hint("set the public URL in the server's settings, so that the event names the origin of its stream"));
    }
    let with_credentials = url.set_username(stream.username()).and_then(|()| url.set_password(stream.password()));
    with_credentials.map_err(|()| invalid("its URL has no host".to_owned()))?;
    Ok(url)
}

/// HTTP+SSE.
struct SseTransport(Arc<SseConnection>);

struct SseConnection {
    client: EndpointClient,
    message_sender: MessageSender,
    tasks: ConnectionTasks,
    /// Where messages are posted.
    post_url: Url,
}

impl SseConnection {
    /// Forwards the messages of the stream. The connection ends with it.
    async fn forward_stream(&self, events: EventStream) {
        let mut position = StreamPosition::default();
        let why = match event_stream::forward_messages(&self.message_sender, events, None, &mut position).await {
            StreamEnd::Unreadable(failure) | StreamEnd::Incomplete(Some(failure)) => Some(failure),
            StreamEnd::Answered | StreamEnd::Incomplete(None) => None,
        };
        let message = format!("the event stream from {} ended", redacted_url(&self.client.url));
        let kind = match (&why, &position.first_non_message) {
            (Some(why), _) => why.kind(),
            (None, Some(_)) => ErrorKind::Protocol,
            (None, None) => ErrorKind::Unreachable,
        };
        let mut failure = Failure::new(kind, message);
        if let Some(why) = why {
            failure.details_mut().causes.clone_from(&why.details().causes);
        }
        failure.details_mut().causes.extend(position.first_non_message);
        let is_transient = failure.kind() == ErrorKind::Unreachable;
        self.message_sender.send_failure(None, failure.retry_advice(is_transient.then(RetryAdvice::default))).await;
    }

    /// Posts a request. Its response comes over the stream, unless the status is an error.
    async fn post_request(&self, id: u64, request: HttpRequest) {
        match self.client.send(request).await {
            Ok(SendOutcome::Response(response, _)) if response.status().is_success() => {
                drain_body(&self.tasks, response)
            }
            Ok(SendOutcome::Response(response, url)) => {
                // The status is an error, so that this never returns a stream.
                response::read_response(&self.message_sender, id, false, response, url).await;
            }
            Ok(SendOutcome::Unauthorized(unexpected)) => {
                self.message_sender.send_unexpected_response(id, unexpected).await
            }
            Err(failure) => self.message_sender.send_failure(Some(id), failure).await,
        }
    }
}

impl Transport for SseTransport {
    fn kind(&self) -> TransportKind {
        TransportKind::Sse
    }

    fn login_in_progress(&self) -> bool {
        self.0.client.login_in_progress()
    }

    fn send(&self, message: OutgoingMessage) -> BoxFuture<'_, Result<()>> {
        Box::pin(async move {
            let connection = &self.0;
            let request = HttpRequest {
                method: Method::POST,
                url: connection.post_url.clone(),
                headers: post_headers(&message)?,
                body: Some(message.body),
                may_log_in: true,
            };
            match message.kind {
                OutgoingKind::OneWay => send_one_way(&connection.client, &connection.tasks, request).await,
                OutgoingKind::Request(id) => {
                    let shared = connection.clone();
                    connection.tasks.spawn_for_request(id, async move {
                        shared.post_request(id, request).await;
                        shared.tasks.finished(id);
                    })
                }
            }
        })
    }

    fn abandon(&self, id: u64) {
        self.0.tasks.abort(id);
    }

    fn close(&self, _patient: bool) -> BoxFuture<'_, CloseOutcome> {
        Box::pin(async move {
            self.0.tasks.abort_all();
            // Lets the aborted tasks drop their connections.
            tokio::task::yield_now().await;
            CloseOutcome::Closed
        })
    }
}

impl Drop for SseTransport {
    fn drop(&mut self) {
        self.0.tasks.abort_all();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_url_for_messages_is_resolved_and_keeps_its_query() {
        // SSE-01
        let stream = Url::parse("http://u:p@host:8080/a/sse?key=1").unwrap();
        let resolve = |data: &str| resolve_post_url(&stream, data).map(String::from);
        assert_eq!(resolve("/messages?sessionId=5").unwrap(), "http://u:p@host:8080/messages?sessionId=5");
        assert_eq!(resolve("messages").unwrap(), "http://u:p@host:8080/a/messages");
        assert_eq!(resolve("http://host:8080/m?x=%2F").unwrap(), "http://u:p@host:8080/m?x=%2F");
        for foreign in ["http://evil/m", "//evil/m", "http://host:8081/m", "https://host:8080/m", "file:///etc/passwd"]
        {
            assert_eq!(resolve(foreign).unwrap_err().kind(), ErrorKind::Protocol, "{foreign}");
        }
    }
}
