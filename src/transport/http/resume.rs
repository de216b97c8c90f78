//! Streams that outlive one response: an answer that is resumed after a break (`HTL-07`, `HTL-08`), and
//! the stream for what a legacy server says of its own accord (`HTL-06`).

use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::oneshot;

use super::Shared;
use super::answer;
use super::events::{self, Cursor, End, Events};
use super::exchange::{Answer, Ask, SESSION};
use super::refusal;
use crate::error::{Class, Failure, Result};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// How many attempts to reconnect may fail in a row.
const ATTEMPTS: u32 = 5;

/// What a GET for a stream brought.
enum Opened {
    Stream(Box<Events>),
    /// Not now; later perhaps.
    Later(Failure),
    /// The server offers none, or the session is gone.
    Never(Failure),
}

impl Shared {
    /// Passes on the answer to a request from its stream, and from those that continue it.
    pub(super) async fn follow(&self, id: u64, events: Events) {
        let mut cursor = Cursor::default();
        let mut end = events::pump(&self.sink, events, Some(id), &mut cursor).await;
        let url = &self.core.url;
        let (mut failed, mut fruitless) = (0, 0);
        loop {
            let why = match end {
                End::Answered => return,
                End::Unfit(failure) => return self.sink.broken(Some(id), failure),
                End::Early(why) => why,
            };
            if cursor.last_id.is_none() || !self.may_resume() || failed >= ATTEMPTS {
                return self.sink.broken(Some(id), events::unanswered(url, why, &cursor));
            }
            tokio::time::sleep(cursor.delay(fruitless)).await;
            end = match self.open(&cursor).await {
                Opened::Stream(events) => {
                    failed = 0;
                    let end = events::pump(&self.sink, *events, Some(id), &mut cursor).await;
                    fruitless = if cursor.fruitful { 0 } else { fruitless + 1 };
                    end
                }
                Opened::Later(failure) => {
                    failed += 1;
                    fruitless += 1;
                    End::Early(Some(failure))
                }
                // Not passed on as a refusal of the request: the server has long accepted that, and whoever
                // sees a refusal may send it again.
                Opened::Never(why) => {
                    let message = why.details().message.clone();
                    let failure = events::unanswered(url, None, &cursor).cause(format!("cannot resume it: {message}"));
                    return self.sink.broken(Some(id), failure);
                }
            };
        }
    }

    /// Keeps the stream for the server's own messages open, for as long as the server offers one.
    pub(super) async fn listen(&self, opened: oneshot::Sender<()>) {
        let mut opened = Some(opened);
        let mut cursor = Cursor::default();
        let (mut failed, mut fruitless) = (0, 0);
        while failed < ATTEMPTS {
            match self.open(&cursor).await {
                Opened::Stream(events) => {
                    drop(opened.take());
                    failed = 0;
                    if let End::Unfit(failure) = events::pump(&self.sink, *events, None, &mut cursor).await {
                        self.sink.trace.note(&format!("stopped listening: {failure}"));
                        return;
                    }
                    fruitless = if cursor.fruitful { 0 } else { fruitless + 1 };
                }
                Opened::Later(failure) => {
                    self.sink.trace.note(&format!("the server's own stream is not to be had now: {failure}"));
                    failed += 1;
                    fruitless += 1;
                }
                Opened::Never(failure) => {
                    self.sink.trace.note(&format!("the server offers no stream of its own: {failure}"));
                    return;
                }
            }
            tokio::time::sleep(cursor.delay(fruitless)).await;
        }
    }

    /// Asks for a stream: a new one, or the rest of the one where `cursor` stands.
    async fn open(&self, cursor: &Cursor) -> Opened {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        self.legacy_headers(&mut headers);
        if let Some(id) = &cursor.last_id {
            match HeaderValue::from_str(id) {
                Ok(id) => drop(headers.insert(LAST_EVENT_ID, id)),
                // Cannot be said in a header, so there is no way to go on from there.
                Err(error) => return Opened::Never(Failure::new(Class::Protocol, error.to_string())),
            }
        }
        // Nobody is asked to log in for a stream that the server need not even offer.
        let insist = cursor.last_id.is_some();
        match self.opened(headers, insist).await {
            Ok(opened) => opened,
            Err(failure) if matches!(failure.class(), Class::Unreachable | Class::Timeout) => Opened::Later(failure),
            Err(failure) => Opened::Never(failure),
        }
    }

    async fn opened(&self, headers: HeaderMap, insist: bool) -> Result<Opened> {
        let in_session = headers.contains_key(SESSION);
        let ask = Ask { method: Method::GET, url: self.core.url.clone(), headers, body: None, insist };
        let (response, url): (_, Url) = match self.core.exchange(ask).await? {
            Answer::Head(response, url) => (response, url),
            Answer::Refused(refusal) => return Ok(Opened::Never(refusal::failure(&refusal))),
        };
        if response.status().is_success() && answer::kind(&response) == "text/event-stream" {
            return Ok(Opened::Stream(Box::new(Events::new(response, url, self.sink.limit))));
        }
        let refused = refusal::read(response, &url, in_session).await;
        let failure = refusal::failure(&refused);
        Ok(if matches!(refused.status, 408 | 429 | 500..) { Opened::Later(failure) } else { Opened::Never(failure) })
    }
}
