//! Streams that outlive one response: an answer that is resumed after a break (`HTL-07`, `HTL-08`), and
//! the stream for what a legacy server says of its own accord (`HTL-06`).

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::oneshot;

use super::StreamableConnection;
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::http::event_stream;
use crate::transport::http::event_stream::{EventStream, StreamEnd, StreamPosition};
use crate::transport::http::request::{HttpRequest, HttpResponse, SESSION_ID_HEADER};
use crate::transport::http::response;
use crate::transport::http::unexpected_response;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How many attempts to reconnect may fail in a row.
const MAX_RECONNECTS: u32 = 5;

/// What a GET for a stream brought.
enum StreamOpening {
    Stream(Box<EventStream>),
    /// Not now; later perhaps.
    RetryLater(Failure),
    /// The server offers none, or the session is gone.
    Unavailable(Failure),
}

impl StreamableConnection {
    /// Passes on the answer to a request from its stream, and from those that continue it.
    pub(super) async fn forward_response(&self, id: u64, events: EventStream) {
        let mut cursor = StreamPosition::default();
        let mut end = event_stream::forward_messages(&self.message_sender, events, Some(id), &mut cursor).await;
        let url = &self.client.url;
        let (mut failed, mut fruitless) = (0, 0);
        loop {
            let why = match end {
                StreamEnd::Answered => return,
                StreamEnd::Unreadable(failure) => return self.message_sender.send_failure(Some(id), failure),
                StreamEnd::Incomplete(why) => why,
            };
            if cursor.last_event_id.is_none() || !self.may_resume() || failed >= MAX_RECONNECTS {
                return self
                    .message_sender
                    .send_failure(Some(id), event_stream::missing_answer_failure(url, why, &cursor));
            }
            tokio::time::sleep(cursor.reconnect_delay(fruitless)).await;
            end = match self.open_stream(&cursor).await {
                StreamOpening::Stream(events) => {
                    failed = 0;
                    let end =
                        event_stream::forward_messages(&self.message_sender, *events, Some(id), &mut cursor).await;
                    fruitless = if cursor.has_progressed { 0 } else { fruitless + 1 };
                    end
                }
                StreamOpening::RetryLater(failure) => {
                    failed += 1;
                    fruitless += 1;
                    StreamEnd::Incomplete(Some(failure))
                }
                // Not passed on as a refusal of the request: the server has long accepted that, and whoever
                // sees a refusal may send it again.
                StreamOpening::Unavailable(why) => {
                    let message = why.details().message.clone();
                    let failure = event_stream::missing_answer_failure(url, None, &cursor)
                        .cause(format!("cannot resume it: {message}"));
                    return self.message_sender.send_failure(Some(id), failure);
                }
            };
        }
    }

    /// Keeps the stream for the server's own messages open, for as long as the server offers one.
    pub(super) async fn keep_listening(&self, opened: oneshot::Sender<()>) {
        let mut opened = Some(opened);
        let mut cursor = StreamPosition::default();
        let (mut failed, mut fruitless) = (0, 0);
        while failed < MAX_RECONNECTS {
            match self.open_stream(&cursor).await {
                StreamOpening::Stream(events) => {
                    drop(opened.take());
                    failed = 0;
                    if let StreamEnd::Unreadable(failure) =
                        event_stream::forward_messages(&self.message_sender, *events, None, &mut cursor).await
                    {
                        self.message_sender.trace.note(&format!("stopped listening: {failure}"));
                        return;
                    }
                    fruitless = if cursor.has_progressed { 0 } else { fruitless + 1 };
                }
                StreamOpening::RetryLater(failure) => {
                    self.message_sender.trace.note(&format!("the server's own stream is not to be had now: {failure}"));
                    failed += 1;
                    fruitless += 1;
                }
                StreamOpening::Unavailable(failure) => {
                    self.message_sender.trace.note(&format!("the server offers no stream of its own: {failure}"));
                    return;
                }
            }
            tokio::time::sleep(cursor.reconnect_delay(fruitless)).await;
        }
    }

    /// Asks for a stream: a new one, or the rest of the one where `cursor` stands.
    async fn open_stream(&self, cursor: &StreamPosition) -> StreamOpening {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.add_legacy_headers(&mut headers);
        if let Some(id) = &cursor.last_event_id {
            match HeaderValue::from_str(id) {
                Ok(id) => drop(headers.insert(LAST_EVENT_ID, id)),
                // Cannot be said in a header, so there is no way to go on from there.
                Err(error) => return StreamOpening::Unavailable(Failure::new(ErrorKind::Protocol, error.to_string())),
            }
        }
        // Nobody is asked to log in for a stream that the server need not even offer.
        let insist = cursor.last_event_id.is_some();
        match self.request_stream(headers, insist).await {
            Ok(opened) => opened,
            Err(failure) if matches!(failure.kind(), ErrorKind::Unreachable | ErrorKind::Timeout) => {
                StreamOpening::RetryLater(failure)
            }
            Err(failure) => StreamOpening::Unavailable(failure),
        }
    }

    async fn request_stream(&self, headers: HeaderMap, insist: bool) -> Result<StreamOpening> {
        let in_session = headers.contains_key(SESSION_ID_HEADER);
        let ask =
            HttpRequest { method: Method::GET, url: self.client.url.clone(), headers, body: None, may_log_in: insist };
        let (response, url): (_, Url) = match self.client.send(ask).await? {
            HttpResponse::Head(response, url) => (response, url),
            HttpResponse::Unauthorized(refusal) => {
                return Ok(StreamOpening::Unavailable(unexpected_response::unexpected_response_failure(&refusal)));
            }
        };
        if response.status().is_success() && response::media_type(&response) == "text/event-stream" {
            return Ok(StreamOpening::Stream(Box::new(EventStream::new(
                response,
                url,
                self.message_sender.max_message_size,
            ))));
        }
        let refused = unexpected_response::from_response(response, &url, in_session).await;
        let failure = unexpected_response::unexpected_response_failure(&refused);
        Ok(if matches!(refused.status, 408 | 429 | 500..) {
            StreamOpening::RetryLater(failure)
        } else {
            StreamOpening::Unavailable(failure)
        })
    }
}
