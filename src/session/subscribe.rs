//! Changes as a server tells of them: subscribed to in its era's way, and again whenever the connection is lost.
//!
//! In the legacy era a resource is subscribed to by a request and lists need none; what the server says
//! arrives unasked. In the modern era one long request, `subscriptions/listen`, brings it all (digest §3.1).

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Session;
use super::era::{Call, Era};
use super::legacy::Legacy;
use super::link::{Ask, Cancel, Link, Reply, human};
use super::modern::Modern;
use super::notices::Notice;
use crate::error::{Class, Failure};
use crate::protocol::views::Kind;
use crate::protocol::{code, meta, method};
use crate::transport::{Boxed, Wire};

/// How long to wait before the first attempt to reconnect.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest wait between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A subscription that stood this long was a good one: the next pause is short again.
const GOOD: Duration = Duration::from_secs(10);
/// How much news may wait for whoever prints it.
const BACKLOG: usize = 64;

/// What is to be watched.
#[derive(Clone, Debug, Default)]
pub struct Interest {
    /// Resources, by their URIs.
    pub uris: Vec<String>,
    /// Lists.
    pub lists: Vec<Kind>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The resource of this URI, which is one of those watched.
    Resource(String),
    /// A list that is watched.
    Lists,
}

/// What a watcher is told.
#[derive(Debug)]
pub enum News {
    /// The subscription stands: what is looked at from now on misses nothing. Of what is named here the
    /// server tells nothing (`MSG-12`).
    Standing(Vec<String>),
    /// Something changed.
    Changed(Change),
    /// The connection was lost; it is opened again after this time.
    Lost(Failure, Duration),
}

/// Why a subscription ended.
pub enum End {
    /// What it was asked with had no result.
    Refused(Reply, &'static str),
    /// It broke, was ended by the server or by the user.
    Failed(Failure),
}

/// How an era subscribes.
pub trait Subscribe {
    /// Subscribes, passes on the news, and says why it ended; ended by the user, the server has been told.
    fn subscribe<'a>(&'a self, link: &'a Link, interest: &'a Interest, news: mpsc::Sender<News>) -> Boxed<'a, End>;
}

impl Interest {
    /// Which change a notification means for what is watched.
    fn change(&self, notice: &Notice) -> Option<Change> {
        let list = |kinds: &[Kind]| self.lists.iter().any(|kind| kinds.contains(kind)).then_some(Change::Lists);
        match notice.method.as_str() {
            method::TOOLS_CHANGED => list(&[Kind::Tools]),
            method::RESOURCES_CHANGED => list(&[Kind::Resources, Kind::Templates]),
            method::PROMPTS_CHANGED => list(&[Kind::Prompts]),
            method::RESOURCE_UPDATED => {
                let uri = notice.params.get("uri").and_then(Value::as_str)?;
                // It may be a part of the one subscribed to, or the same one written otherwise.
                let part = |watched: &&String| uri.starts_with(watched.as_str());
                let only = if let [only] = self.uris.as_slice() { Some(only) } else { None };
                let exact = self.uris.iter().find(|watched| *watched == uri);
                let found = exact.or_else(|| self.uris.iter().filter(part).max_by_key(|watched| watched.len()));
                found.or(only).cloned().map(Change::Resource)
            }
            _ => None,
        }
    }

    /// The failure where the server tells nothing at all of what is watched; `None` where it tells something.
    fn all_mute(&self, mute: &[String]) -> Option<End> {
        (mute.len() >= self.uris.len() + self.lists.len()).then(|| {
            let what = format!("the server does not tell of changes to {}", mute.join(", "));
            End::Failed(Failure::new(Class::Failed, what).hint("ask again from time to time, without --watch"))
        })
    }
}

impl Subscribe for Modern {
    fn subscribe<'a>(&'a self, link: &'a Link, interest: &'a Interest, news: mpsc::Sender<News>) -> Boxed<'a, End> {
        Box::pin(self.listen(link, interest, news))
    }
}

impl Modern {
    async fn listen(&self, link: &Link, interest: &Interest, news: mpsc::Sender<News>) -> End {
        let mut notices = self.peer.notices().listen();
        let mut params = Map::new();
        params.insert("notifications".into(), filter(interest));
        let call = Call::read_only(method::LISTEN, params);
        // It ends when somebody ends it, not by the clock; that it stands is to be said soon.
        let ask = Ask { timeout: None, ..self.worded(link, &call) };
        let (id, cancel) = (ask.id, ask.cancel);
        let mut answer = std::pin::pin!(link.ask(ask));
        let mut stands = false;
        let patience = self.timeout.map(|time| Instant::now() + time);
        loop {
            let late = async {
                match patience {
                    Some(patience) if !stands => tokio::time::sleep_until(patience).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(notice) = notices.recv() => {
                    if notice.method == method::CANCELLED && is(notice.params.get("requestId"), id) {
                        link.cancel(id, Cancel::Close, "").await;
                        return End::Failed(ended_by_server());
                    }
                    // Of another subscription, an older one maybe (STD-07).
                    let named = notice.params.get("_meta").and_then(|meta| meta.get(meta::SUBSCRIPTION_ID));
                    if named.is_some() && !is(named, id) {
                        continue;
                    }
                    let change = interest.change(&notice);
                    let acknowledged = notice.method == method::ACKNOWLEDGED;
                    // A change before the acknowledgement shows as well that it stands.
                    if !stands && (acknowledged || change.is_some()) {
                        let mute = if acknowledged { not_honoured(interest, &notice.params) } else { Vec::new() };
                        if let Some(end) = interest.all_mute(&mute) {
                            link.cancel(id, cancel, "nothing to listen to").await;
                            return end;
                        }
                        stands = true;
                        let _ = news.send(News::Standing(mute)).await;
                    }
                    if let Some(change) = change {
                        let _ = news.send(News::Changed(change)).await;
                    }
                }
                reply = &mut answer => return match reply {
                    Reply::Result(_) => End::Failed(ended_by_server()),
                    reply => End::Refused(reply, method::LISTEN),
                },
                () = late => {
                    link.cancel(id, cancel, "timed out").await;
                    let time = human(self.timeout.unwrap_or_default());
                    let what = format!("no acknowledgement of {} within {time}", method::LISTEN);
                    return End::Failed(Failure::new(Class::Timeout, what));
                }
            }
        }
    }
}

/// Whether a JSON value is this id; servers write it as a number or a string.
fn is(value: Option<&Value>, id: u64) -> bool {
    value.is_some_and(|value| value.as_u64() == Some(id) || value.as_str() == Some(id.to_string().as_str()))
}

fn ended_by_server() -> Failure {
    Failure::new(Class::Unreachable, "the server ended the subscription")
}

const FILTERS: [(&str, &[Kind]); 3] = [
    ("toolsListChanged", &[Kind::Tools]),
    ("promptsListChanged", &[Kind::Prompts]),
    ("resourcesListChanged", &[Kind::Resources, Kind::Templates]),
];

/// The filter of `subscriptions/listen`: only what is wanted.
fn filter(interest: &Interest) -> Value {
    let mut all = Map::new();
    for (name, kinds) in FILTERS {
        if interest.lists.iter().any(|kind| kinds.contains(kind)) {
            all.insert(name.into(), true.into());
        }
    }
    if !interest.uris.is_empty() {
        all.insert("resourceSubscriptions".into(), interest.uris.clone().into());
    }
    Value::Object(all)
}

/// What an acknowledgement leaves out of what was asked for (`MSG-12`).
fn not_honoured(interest: &Interest, params: &Value) -> Vec<String> {
    let Some(honoured) = params.get("notifications").filter(|value| value.is_object()) else { return Vec::new() };
    let lists = interest.lists.iter().filter(|kind| {
        let filter = FILTERS.iter().find(|(_, kinds)| kinds.contains(kind));
        filter.is_some_and(|(name, _)| honoured.get(*name) != Some(&Value::Bool(true)))
    });
    let subscribed = honoured.get("resourceSubscriptions").and_then(Value::as_array);
    let has = |uri: &String| subscribed.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(uri)));
    let lists = lists.map(|kind| kind.plural().to_owned());
    lists.chain(interest.uris.iter().filter(|uri| !has(uri)).cloned()).collect()
}

impl Subscribe for Legacy {
    fn subscribe<'a>(&'a self, link: &'a Link, interest: &'a Interest, news: mpsc::Sender<News>) -> Boxed<'a, End> {
        Box::pin(self.heed(link, interest, news))
    }
}

impl Legacy {
    async fn heed(&self, link: &Link, interest: &Interest, news: mpsc::Sender<News>) -> End {
        let mut notices = self.handshake.peer.notices().listen();
        let mute = self.undeclared(interest);
        if let Some(end) = interest.all_mute(&mute) {
            return end;
        }
        self.settle(link).await;
        link.transport().listen().await;
        if !link.transport().hears() {
            let what = "the server offers no stream on which it could tell of changes";
            return End::Failed(Failure::new(Class::Failed, what).hint("ask again from time to time, without --watch"));
        }
        let uris: Vec<&String> = interest.uris.iter().filter(|uri| !mute.contains(uri)).collect();
        for uri in &uris {
            match self.request(link, &about(method::SUBSCRIBE, uri)).await {
                Reply::Result(_) => {}
                reply => return End::Refused(reply, method::SUBSCRIBE),
            }
        }
        let _ = news.send(News::Standing(mute)).await;
        loop {
            let renewed = self.renewed.notified();
            tokio::select! {
                biased;
                Some(notice) = notices.recv() => {
                    if let Some(change) = interest.change(&notice) {
                        let _ = news.send(News::Changed(change)).await;
                    }
                }
                failure = link.interrupted() => {
                    let goodbyes = uris.iter().map(|uri| self.unsubscribe(link, uri));
                    futures_util::future::join_all(goodbyes).await;
                    return End::Failed(failure);
                }
                failure = link.ended() => return End::Failed(failure),
                () = link.transport().deaf() => {
                    let what = "the stream on which the server tells of changes is gone";
                    return End::Failed(Failure::new(Class::Unreachable, what));
                }
                () = renewed => {
                    return End::Failed(Failure::new(Class::Unreachable, "the server has forgotten the session"));
                }
            }
        }
    }

    /// What the server has not declared to tell of; nothing else may be subscribed to (`ERA-18`).
    fn undeclared(&self, interest: &Interest) -> Vec<String> {
        let Some(capabilities) = self.server().capabilities else { return Vec::new() };
        let tells = |capability: &str, what: &str| {
            capabilities.get(capability).and_then(|one| one.get(what)).is_some_and(|value| *value != false)
        };
        let lists = interest.lists.iter().filter(|kind| !tells(kind.capability(), "listChanged"));
        let lists = lists.map(|kind| kind.plural().to_owned());
        let uris = if tells("resources", "subscribe") { Vec::new() } else { interest.uris.clone() };
        lists.chain(uris).collect()
    }

    async fn unsubscribe(&self, link: &Link, uri: &str) {
        let params = about(method::UNSUBSCRIBE, uri).params;
        link.farewell(Ask {
            id: link.next_id(),
            method: method::UNSUBSCRIBE,
            params: Some(Value::Object(params).to_string()),
            headers: Vec::new(),
            timeout: None,
            cancel: Cancel::Never,
            questions: None,
        })
        .await;
    }
}

fn about(method: &'static str, uri: &str) -> Call {
    let mut params = Map::new();
    params.insert("uri".into(), json!(uri));
    Call::read_only(method, params)
}

/// The pauses between attempts to reconnect: twice as long each time, and never quite the same.
struct Pace(u32);

impl Pace {
    fn next(&mut self) -> Duration {
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.0.min(16))).min(LONGEST_PAUSE);
        self.0 += 1;
        // Many watchers of one server must not all come back in the same moment.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        pause.mul_f64(0.75 + f64::from(now.subsec_micros() % 1000) / 4000.0)
    }
}

impl Session {
    /// Watches until something ends it, and says what; a connection that is lost after the subscription
    /// stood once is opened again, for as long as the user wants.
    pub async fn watch(
        &self,
        interest: &Interest,
        mut on: impl AsyncFnMut(News) -> crate::error::Result<()>,
    ) -> Failure {
        let mut pace = Pace(0);
        let mut stood = false;
        loop {
            let begun = Instant::now();
            let failure = match self.watch_once(interest, &mut stood, &mut on).await {
                Err(failure) => return failure,
                Ok(failure) if is_final(&failure, stood) => return failure,
                Ok(failure) => failure,
            };
            if begun.elapsed() > GOOD {
                pace = Pace(0);
            }
            let pause = pace.next();
            if let Err(failure) = on(News::Lost(failure, pause)).await {
                return failure;
            }
            if let Err(failure) = self.options.transport.interrupt.guard(tokio::time::sleep(pause)).await {
                return failure;
            }
            self.reopen().await;
        }
    }

    /// One subscription: why it ended, or (an error) why there must be no other.
    async fn watch_once(
        &self,
        interest: &Interest,
        stood: &mut bool,
        on: &mut impl AsyncFnMut(News) -> crate::error::Result<()>,
    ) -> crate::error::Result<Failure> {
        // A subscription has effects for as long as it stands, so the era is to be sure.
        if let Err(failure) = self.about().await {
            return Ok(failure);
        }
        let Some(live) = self.open.lock().await.clone() else {
            return Ok(Failure::new(Class::Unreachable, "the connection is gone"));
        };
        let (sender, mut news) = mpsc::channel(BACKLOG);
        let mut subscription = live.era.subscribe(&live.link, interest, sender);
        loop {
            let (end, heard) = tokio::select! {
                biased;
                Some(heard) = news.recv() => (None, Some(heard)),
                end = &mut subscription => (Some(end), None),
            };
            if let Some(heard) = heard {
                *stood |= matches!(heard, News::Standing(_));
                if let Err(failure) = on(heard).await {
                    if self.options.transport.interrupt.raised().is_some() {
                        // Tells the server, which does not take long.
                        subscription.await;
                    }
                    return Err(failure);
                }
            }
            if let Some(end) = end {
                return Ok(self.why(end, live.link.wire()));
            }
        }
    }

    fn why(&self, end: End, wire: Wire) -> Failure {
        let failure = match end {
            End::Failed(failure) => failure,
            End::Refused(Reply::Error(error, _), asked) if error.code == code::METHOD_NOT_FOUND => {
                let what = format!("the server does not tell of changes over {}", wire.as_str());
                Failure::new(Class::Failed, what).cause(format!("it does not know {asked}")).rpc(error)
            }
            End::Refused(reply, asked) => self.failure(reply, asked),
        };
        failure.server(&self.target.name)
    }

    /// Ends the connection, so that the next request opens a new one.
    async fn reopen(&self) {
        let live = self.open.lock().await.take();
        if let Some(live) = live {
            live.link.close(live.link.gone().is_none()).await;
        }
    }
}

/// Whether there is no point in trying again: it never worked, or what is in the way will not pass by itself.
fn is_final(failure: &Failure, stood: bool) -> bool {
    !stood || !matches!(failure.class(), Class::Unreachable | Class::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(method: &str, params: Value) -> Notice {
        Notice { method: method.to_owned(), params }
    }

    fn interest(uris: &[&str], lists: &[Kind]) -> Interest {
        Interest { uris: uris.iter().map(|uri| (*uri).to_owned()).collect(), lists: lists.to_vec() }
    }

    #[test]
    fn only_what_is_watched_changes() {
        let two = interest(&["demo://a", "demo://a/b"], &[Kind::Templates]);
        let change = |uri: &str| two.change(&notice(method::RESOURCE_UPDATED, json!({ "uri": uri })));
        assert_eq!(change("demo://a"), Some(Change::Resource("demo://a".into())));
        assert_eq!(change("demo://a/b/c"), Some(Change::Resource("demo://a/b".into())));
        assert_eq!(change("demo://x"), None);
        assert_eq!(two.change(&notice(method::RESOURCES_CHANGED, Value::Null)), Some(Change::Lists));
        assert_eq!(two.change(&notice(method::TOOLS_CHANGED, Value::Null)), None);
        assert_eq!(two.change(&notice(method::RESOURCE_UPDATED, Value::Null)), None);
        // A server that writes the one URI otherwise means that one.
        let one = interest(&["file:///a b"], &[]);
        let change = one.change(&notice(method::RESOURCE_UPDATED, json!({"uri": "file:///a%20b"})));
        assert_eq!(change, Some(Change::Resource("file:///a b".into())));
    }

    #[test]
    fn msg_12_the_acknowledged_filter_is_compared() {
        let asked = interest(&["a", "b"], &[Kind::Tools, Kind::Resources]);
        assert_eq!(
            filter(&asked),
            json!({"toolsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": ["a", "b"]})
        );
        let mute = |honoured: Value| not_honoured(&asked, &json!({ "notifications": honoured }));
        assert!(mute(filter(&asked)).is_empty());
        assert_eq!(mute(json!({"toolsListChanged": true, "resourceSubscriptions": ["b"]})), ["resources", "a"]);
        assert_eq!(mute(json!({"toolsListChanged": false})).len(), 4);
        assert!(asked.all_mute(&mute(json!({}))).is_some());
        // Said nothing about it: nothing is held against it.
        assert!(not_honoured(&asked, &Value::Null).is_empty());
    }

    #[test]
    fn pauses_grow_up_to_a_limit() {
        let mut pace = Pace(0);
        let pauses: Vec<Duration> = (0..40).map(|_| pace.next()).collect();
        assert!(pauses[0] >= FIRST_PAUSE.mul_f64(0.75) && pauses[0] <= FIRST_PAUSE);
        assert!(pauses[2] > pauses[0] && pauses.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!(pauses[39] >= LONGEST_PAUSE.mul_f64(0.75));
    }
}
