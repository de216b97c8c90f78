//! HTTP+SSE of 2024-11-05 (digest §2.4): one stream that carries every answer, and an address, named by
//! its first event, to which messages are posted.

use std::sync::Arc;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::mpsc;

use super::client::HttpVersions;
use super::{post_headers, send_one_way};
use crate::error::{ErrorKind, Failure, Result, RetryAdvice};
use crate::transport::http::event_stream;
use crate::transport::http::event_stream::{EventStream, StreamEnd, StreamPosition};
use crate::transport::http::incoming::{ConnectionTasks, MessageSender};
use crate::transport::http::request::{EndpointClient, HttpRequest, HttpResponse, is_same_origin};
use crate::transport::http::{response, unexpected_response};
use crate::transport::{
    BoxFuture, ConnectedTransport, HttpEndpoint, MAX_MESSAGE, OutgoingKind, OutgoingMessage, Transport, TransportKind,
    TransportOptions,
};

/// Opens the stream of an HTTP+SSE server and waits for the address of its messages.
///
/// # Errors
/// When the server refuses the stream ([`unexpected_response::failure`]), names no address or one of another origin
/// ([`ErrorKind::Protocol`]), or takes longer than `connect_timeout` ([`ErrorKind::Timeout`]).
pub async fn connect(endpoint: &HttpEndpoint, options: &TransportOptions) -> Result<ConnectedTransport> {
    let core = EndpointClient::new(endpoint, options, HttpVersions::Any)?;
    let bounded = async {
        core.with_timeout(options.connect_timeout, Box::pin(open_stream(&core))).await.unwrap_or_else(|| {
            let what = format!("no event stream from {} in time", unexpected_response::redacted_url(&core.url));
            Err(Failure::new(ErrorKind::Timeout, what))
        })
    };
    let (events, messages) = options.interrupt.run_until_interrupted(bounded).await??;
    let (sender, incoming) = mpsc::unbounded_channel();
    let sink = MessageSender { incoming: sender, trace: options.trace.clone(), max_message_size: MAX_MESSAGE };
    let shared = Arc::new(SseConnection {
        client: core,
        message_sender: sink,
        tasks: ConnectionTasks::default(),
        post_url: messages,
    });
    let worker = shared.clone();
    shared.tasks.spawn_background(async move { worker.forward_stream(events).await });
    Ok(ConnectedTransport { transport: Arc::new(SseTransport(shared)), incoming })
}

/// Opens the stream and reads it up to the address.
async fn open_stream(core: &EndpointClient) -> Result<(EventStream, Url)> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let ask = HttpRequest { method: Method::GET, url: core.url.clone(), headers, body: None, may_log_in: true };
    let (response, url) = match core.send(ask).await? {
        HttpResponse::Head(response, url) => (response, url),
        HttpResponse::Unauthorized(refusal) => return Err(unexpected_response::unexpected_response_failure(&refusal)),
    };
    if !response.status().is_success() || response::media_type(&response) != "text/event-stream" {
        return Err(unexpected_response::unexpected_response_failure(
            &unexpected_response::from_response(response, &url, false).await,
        ));
    }
    let mut events = EventStream::new(response, url.clone(), MAX_MESSAGE);
    while let Some(event) = events.next_event().await? {
        if event.event_type == "endpoint" {
            let messages = resolve_post_url(&url, event.data.trim())?;
            return Ok((events, messages));
        }
    }
    let what = format!(
        "the event stream of {} ended without naming an address for messages",
        unexpected_response::redacted_url(&url)
    );
    Err(Failure::new(ErrorKind::Protocol, what))
}

/// Where messages go: relative to the stream's URL, and on the same origin (`SSE-01`).
fn resolve_post_url(stream: &Url, data: &str) -> Result<Url> {
    let bad = |cause: String| {
        let what =
            format!("the address for messages that {} names cannot be used", unexpected_response::redacted_url(stream));
        Failure::new(ErrorKind::Protocol, what).cause(cause)
    };
    let url = stream.join(data).map_err(|error| bad(error.to_string()))?;
    if !is_same_origin(stream, &url) {
        return Err(bad(format!("it is on another origin: {}", url.origin().ascii_serialization())));
    }
    let mut url = url;
    let kept = url.set_username(stream.username()).and_then(|()| url.set_password(stream.password()));
    kept.map_err(|()| bad("it is no address of a host".to_owned()))?;
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
    /// Passes on what the stream brings; its end is the end of the connection.
    async fn forward_stream(&self, events: EventStream) {
        let mut cursor = StreamPosition::default();
        let why = match event_stream::forward_messages(&self.message_sender, events, None, &mut cursor).await {
            StreamEnd::Unreadable(failure) | StreamEnd::Incomplete(Some(failure)) => Some(failure),
            StreamEnd::Answered | StreamEnd::Incomplete(None) => None,
        };
        let what = format!("the event stream of {} ended", unexpected_response::redacted_url(&self.client.url));
        let mut failure = Failure::new(why.as_ref().map_or(ErrorKind::Unreachable, Failure::kind), what);
        if let Some(why) = why {
            failure.details_mut().causes.clone_from(&why.details().causes);
        }
        let may_pass = failure.kind() == ErrorKind::Unreachable;
        self.message_sender.send_failure(None, failure.retry_advice(may_pass.then(RetryAdvice::default)));
    }

    /// Posts a request. Its answer comes over the stream, unless it is refused.
    async fn post_request(&self, id: u64, ask: HttpRequest) {
        match self.client.send(ask).await {
            Ok(HttpResponse::Head(response, _)) if response.status().is_success() => {
                super::drain_body(&self.tasks, response)
            }
            Ok(HttpResponse::Head(response, url)) => {
                // An error status, so that what comes back is never a stream.
                response::read_response(&self.message_sender, id, false, response, url).await;
            }
            Ok(HttpResponse::Unauthorized(refusal)) => self.message_sender.send_unexpected_response(id, refusal),
            Err(failure) => self.message_sender.send_failure(Some(id), failure),
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
            let shared = &self.0;
            let what = message.kind;
            let headers = post_headers(&message)?;
            let ask = HttpRequest {
                method: Method::POST,
                url: shared.post_url.clone(),
                headers,
                body: Some(message.body),
                may_log_in: true,
            };
            match what {
                OutgoingKind::OneWay => send_one_way(&shared.client, &shared.tasks, ask).await,
                OutgoingKind::Request(id) => {
                    let worker = shared.clone();
                    shared.tasks.spawn_for_request(id, async move {
                        worker.post_request(id, ask).await;
                        worker.tasks.finished(id);
                    })
                }
            }
        })
    }

    fn abandon(&self, id: u64) {
        self.0.tasks.abort(id);
    }

    fn close(&self, _patient: bool) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.0.tasks.abort_all();
            // Lets the ended tasks drop their connections.
            tokio::task::yield_now().await;
            self.0.client.wait_for_refresh().await;
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
    fn the_address_is_resolved_and_keeps_its_query() {
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
