//! HTTP+SSE of 2024-11-05 (digest §2.4): one stream that carries every answer, and an address, named by
//! its first event, to which messages are posted.

use std::sync::Arc;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::mpsc;

use super::client::Versions;
use super::events::{self, Cursor, End, Events};
use super::exchange::{Answer, Ask, Core, same_origin};
use super::sink::{Sink, Tasks};
use super::{answer, one_way, post_headers, refusal};
use crate::error::{Again, Class, Failure, Result};
use crate::transport::{Boxed, Connection, Envelope, HttpEndpoint, MAX_MESSAGE, Options, Outgoing, Transport, Wire};

/// Opens the stream of an HTTP+SSE server and waits for the address of its messages.
///
/// # Errors
/// When the server refuses the stream ([`refusal::failure`]), names no address or one of another origin
/// ([`Class::Protocol`]), or takes longer than `connect_timeout` ([`Class::Timeout`]).
pub async fn connect(endpoint: &HttpEndpoint, options: &Options) -> Result<Connection> {
    let core = Core::new(endpoint, options, Versions::Any)?;
    let bounded = async {
        core.in_time(options.connect_timeout, Box::pin(open(&core))).await.unwrap_or_else(|| {
            let what = format!("no event stream from {} in time", refusal::shown(&core.url));
            Err(Failure::new(Class::Timeout, what))
        })
    };
    let (events, messages) = options.interrupt.guard(bounded).await??;
    let (sender, incoming) = mpsc::unbounded_channel();
    let sink = Sink { incoming: sender, trace: options.trace.clone(), limit: MAX_MESSAGE };
    let shared = Arc::new(Shared { core, sink, tasks: Tasks::default(), messages });
    let worker = shared.clone();
    shared.tasks.start_other(async move { worker.pump(events).await });
    Ok(Connection { transport: Arc::new(Sse(shared)), incoming })
}

/// Opens the stream and reads it up to the address.
async fn open(core: &Core) -> Result<(Events, Url)> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
    let ask = Ask { method: Method::GET, url: core.url.clone(), headers, body: None, insist: true };
    let (response, url) = match core.exchange(ask).await? {
        Answer::Head(response, url) => (response, url),
        Answer::Refused(refusal) => return Err(refusal::failure(&refusal)),
    };
    if !response.status().is_success() || answer::kind(&response) != "text/event-stream" {
        return Err(refusal::failure(&refusal::read(response, &url, false).await));
    }
    let mut events = Events::new(response, url.clone(), MAX_MESSAGE);
    while let Some(event) = events.next().await? {
        if event.name == "endpoint" {
            let messages = address(&url, event.data.trim())?;
            return Ok((events, messages));
        }
    }
    let what = format!("the event stream of {} ended without naming an address for messages", refusal::shown(&url));
    Err(Failure::new(Class::Protocol, what))
}

/// Where messages go: relative to the stream's URL, and on the same origin (`SSE-01`).
fn address(stream: &Url, data: &str) -> Result<Url> {
    let bad = |cause: String| {
        let what = format!("the address for messages that {} names cannot be used", refusal::shown(stream));
        Failure::new(Class::Protocol, what).cause(cause)
    };
    let url = stream.join(data).map_err(|error| bad(error.to_string()))?;
    if !same_origin(stream, &url) {
        return Err(bad(format!("it is on another origin: {}", url.origin().ascii_serialization())));
    }
    let mut url = url;
    let kept = url.set_username(stream.username()).and_then(|()| url.set_password(stream.password()));
    kept.map_err(|()| bad("it is no address of a host".to_owned()))?;
    Ok(url)
}

/// HTTP+SSE.
struct Sse(Arc<Shared>);

struct Shared {
    core: Core,
    sink: Sink,
    tasks: Tasks,
    /// Where messages are posted.
    messages: Url,
}

impl Shared {
    /// Passes on what the stream brings; its end is the end of the connection.
    async fn pump(&self, events: Events) {
        let mut cursor = Cursor::default();
        let why = match events::pump(&self.sink, events, None, &mut cursor).await {
            End::Unfit(failure) | End::Early(Some(failure)) => Some(failure),
            End::Answered | End::Early(None) => None,
        };
        let what = format!("the event stream of {} ended", refusal::shown(&self.core.url));
        let mut failure = Failure::new(why.as_ref().map_or(Class::Unreachable, Failure::class), what);
        if let Some(why) = why {
            failure.details_mut().causes.clone_from(&why.details().causes);
        }
        let may_pass = failure.class() == Class::Unreachable;
        self.sink.broken(None, failure.again(may_pass.then(Again::default)));
    }

    /// Posts a request. Its answer comes over the stream, unless it is refused.
    async fn request(&self, id: u64, ask: Ask) {
        match self.core.exchange(ask).await {
            Ok(Answer::Head(response, _)) if response.status().is_success() => super::drain(&self.tasks, response),
            Ok(Answer::Head(response, url)) => {
                // An error status, so that what comes back is never a stream.
                answer::read(&self.sink, id, false, response, url).await;
            }
            Ok(Answer::Refused(refusal)) => self.sink.refused(id, refusal),
            Err(failure) => self.sink.broken(Some(id), failure),
        }
    }
}

impl Transport for Sse {
    fn wire(&self) -> Wire {
        Wire::Sse
    }

    fn busy(&self) -> bool {
        self.0.core.busy()
    }

    fn send(&self, message: Envelope) -> Boxed<'_, Result<()>> {
        Box::pin(async move {
            let shared = &self.0;
            let what = message.what;
            let headers = post_headers(&message)?;
            let ask = Ask {
                method: Method::POST,
                url: shared.messages.clone(),
                headers,
                body: Some(message.body),
                insist: true,
            };
            match what {
                Outgoing::OneWay => one_way(&shared.core, &shared.tasks, ask).await,
                Outgoing::Request(id) => {
                    let worker = shared.clone();
                    shared.tasks.start(id, async move {
                        worker.request(id, ask).await;
                        worker.tasks.done(id);
                    })
                }
            }
        })
    }

    fn abandon(&self, id: u64) {
        self.0.tasks.abandon(id);
    }

    fn close(&self, _patient: bool) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.0.tasks.close();
            // Lets the ended tasks drop their connections.
            tokio::task::yield_now().await;
            self.0.core.settle().await;
        })
    }
}

impl Drop for Sse {
    fn drop(&mut self) {
        self.0.tasks.close();
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
        let resolve = |data: &str| address(&stream, data).map(String::from);
        assert_eq!(resolve("/messages?sessionId=5").unwrap(), "http://u:p@host:8080/messages?sessionId=5");
        assert_eq!(resolve("messages").unwrap(), "http://u:p@host:8080/a/messages");
        assert_eq!(resolve("http://host:8080/m?x=%2F").unwrap(), "http://u:p@host:8080/m?x=%2F");
        for foreign in ["http://evil/m", "//evil/m", "http://host:8081/m", "https://host:8080/m", "file:///etc/passwd"]
        {
            assert_eq!(resolve(foreign).unwrap_err().class(), Class::Protocol, "{foreign}");
        }
    }
}
