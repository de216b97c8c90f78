//! Watches changes at a server: subscribes in the way of its era, and again whenever the connection is lost.
//!
//! In the legacy era a resource needs a request to subscribe and lists need none; notifications arrive on their own.
//! In the modern era one long request, `subscriptions/listen`, returns everything (2026-07-28,
//! basic/patterns/subscriptions).

use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::error::{ErrorKind, Failure};
use crate::protocol::views::ListKind;
use crate::protocol::{code, meta, method};
use crate::session::era::Era;
use crate::session::era::legacy::LegacyEra;
use crate::session::era::modern::ModernEra;
use crate::session::mcp_session::Session;
use crate::session::notifications::{Received, ServerNotification};
use crate::session::operation::Operation;
use crate::session::request::{CancelMode, OutgoingRequest, RequestOutcome};
use crate::session::rpc_client::RpcClient;
pub use crate::session::subscription::{Subscribe, SubscriptionEnd, WatchEvent, WatchFilter, WatchedChange};
use crate::transport::{BoxFuture, TransportKind, next_gap};
use crate::util::duration::format_duration;

/// How long to wait before the first attempt to reconnect.
const FIRST_RECONNECT_DELAY: Duration = Duration::from_millis(500);
/// The longest wait between attempts.
const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(30);
/// A subscription that lasted this long was stable: the next pause is short again.
const STABLE_AFTER: Duration = Duration::from_secs(10);
/// The maximum number of events that wait to be printed.
const EVENT_BACKLOG: usize = 64;

impl WatchFilter {
    /// The watched item that a notification is about.
    fn matching_change(&self, notice: &ServerNotification) -> Option<WatchedChange> {
        match notice.method.as_str() {
            method::RESOURCE_UPDATED => {
                let uri = notice.params.get("uri").and_then(Value::as_str)?;
                // It may be a part of the subscribed resource, or the same URI in another notation.
                let part = |watched: &&String| uri.starts_with(watched.as_str());
                let only = if let [only] = self.uris.as_slice() { Some(only) } else { None };
                let exact = self.uris.iter().find(|watched| *watched == uri);
                let found = exact.or_else(|| self.uris.iter().filter(part).max_by_key(|watched| watched.len()));
                found.or(only).cloned().map(WatchedChange::Resource)
            }
            other => {
                let changed = ListKind::changed_by(other);
                self.lists.iter().any(|kind| changed.contains(kind)).then_some(WatchedChange::Lists)
            }
        }
    }

    /// The failure if the server reports nothing that is watched; `None` if it reports something.
    fn nothing_supported(&self, unsupported: &[String]) -> Option<SubscriptionEnd> {
        (unsupported.len() >= self.uris.len() + self.lists.len()).then(|| {
            let what = format!("the server does not report changes of {}", unsupported.join(", "));
            SubscriptionEnd::Failed(
                Failure::new(ErrorKind::Failed, what).hint("run the command again from time to time, without --watch"),
            )
        })
    }
}

impl Subscribe for ModernEra {
    fn subscribe<'a>(
        &'a self,
        rpc: &'a RpcClient,
        interest: &'a WatchFilter,
        events: mpsc::Sender<WatchEvent>,
    ) -> BoxFuture<'a, SubscriptionEnd> {
        Box::pin(self.subscribe_modern(rpc, interest, events))
    }
}

impl ModernEra {
    async fn subscribe_modern(
        &self,
        rpc: &RpcClient,
        interest: &WatchFilter,
        events: mpsc::Sender<WatchEvent>,
    ) -> SubscriptionEnd {
        let mut notices = self.client_handler.notifications().subscribe();
        let mut params = Map::new();
        params.insert("notifications".into(), subscription_filter(interest));
        let call = Operation::read_only(method::SUBSCRIPTIONS_LISTEN, params);
        // It has no time limit, but the acknowledgement does.
        let ask = OutgoingRequest { timeout: None, ..self.encode_request(rpc, &call) };
        let (id, cancel) = (ask.id, ask.cancel_mode);
        let mut answer = std::pin::pin!(rpc.request(ask));
        let mut stands = false;
        let patience = self.request_timeout.map(|time| Instant::now() + time);
        loop {
            let late = async {
                match patience {
                    Some(patience) if !stands => tokio::time::sleep_until(patience).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                Some(received) = notices.recv(), if !events.is_closed() => {
                    let Received::Notification(notice) = received else {
                        let _ = events.send(WatchEvent::Missed).await;
                        continue;
                    };
                    if notice.method == method::CANCELLED && is_request_id(notice.params.get("requestId"), id) {
                        rpc.cancel(id, CancelMode::CloseStream, "").await;
                        return SubscriptionEnd::Failed(ended_by_server());
                    }
                    // It belongs to another subscription, maybe an older one (STD-07).
                    let named = notice.params.get("_meta").and_then(|meta| meta.get(meta::SUBSCRIPTION_ID));
                    if named.is_some() && !is_request_id(named, id) {
                        continue;
                    }
                    let change = interest.matching_change(&notice);
                    let acknowledged = notice.method == method::SUBSCRIPTIONS_ACKNOWLEDGED;
                    // A change before the acknowledgement also shows that the subscription is active.
                    if !stands && (acknowledged || change.is_some()) {
                        let unsupported = if acknowledged { unacknowledged(interest, &notice.params) } else { Vec::new() };
                        if let Some(end) = interest.nothing_supported(&unsupported) {
                            rpc.cancel(id, cancel, "nothing to listen to").await;
                            return end;
                        }
                        stands = true;
                        let _ = events.send(WatchEvent::Subscribed(unsupported)).await;
                    }
                    if let Some(change) = change {
                        let _ = events.send(WatchEvent::Changed(change)).await;
                    }
                }
                reply = &mut answer => return match reply {
                    RequestOutcome::Result(_) => SubscriptionEnd::Failed(ended_by_server()),
                    reply => SubscriptionEnd::Rejected(reply, method::SUBSCRIPTIONS_LISTEN),
                },
                () = late => {
                    rpc.cancel(id, cancel, "timed out").await;
                    let time = format_duration(self.request_timeout.unwrap_or_default());
                    let what = format!("no acknowledgement of {} within {time}", method::SUBSCRIPTIONS_LISTEN);
                    return SubscriptionEnd::Failed(Failure::new(ErrorKind::Timeout, what));
                }
            }
        }
    }
}

/// Whether a JSON value is this id; servers write it as a number or a string.
fn is_request_id(value: Option<&Value>, id: u64) -> bool {
    value.is_some_and(|value| value.as_u64() == Some(id) || value.as_str() == Some(id.to_string().as_str()))
}

fn ended_by_server() -> Failure {
    Failure::new(ErrorKind::Unreachable, "the server ended the subscription")
}

const LIST_FILTERS: [(&str, &[ListKind]); 3] = [
    ("toolsListChanged", &[ListKind::Tools]),
    ("promptsListChanged", &[ListKind::Prompts]),
    ("resourcesListChanged", &[ListKind::Resources, ListKind::Templates]),
];

/// The filter of `subscriptions/listen`: only what is watched.
fn subscription_filter(interest: &WatchFilter) -> Value {
    let mut all = Map::new();
    for (name, kinds) in LIST_FILTERS {
        if interest.lists.iter().any(|kind| kinds.contains(kind)) {
            all.insert(name.into(), true.into());
        }
    }
    if !interest.uris.is_empty() {
        all.insert("resourceSubscriptions".into(), interest.uris.clone().into());
    }
    Value::Object(all)
}

/// What an acknowledgement omits from the requested filter (`MSG-12`).
fn unacknowledged(interest: &WatchFilter, params: &Value) -> Vec<String> {
    let Some(honoured) = params.get("notifications").filter(|value| value.is_object()) else { return Vec::new() };
    let lists = interest.lists.iter().filter(|kind| {
        let filter = LIST_FILTERS.iter().find(|(_, kinds)| kinds.contains(kind));
        filter.is_some_and(|(name, _)| honoured.get(*name) != Some(&Value::Bool(true)))
    });
    let subscribed = honoured.get("resourceSubscriptions").and_then(Value::as_array);
    let has = |uri: &String| subscribed.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(uri)));
    let lists = lists.map(|kind| kind.plural_name().to_owned());
    lists.chain(interest.uris.iter().filter(|uri| !has(uri)).cloned()).collect()
}

impl Subscribe for LegacyEra {
    fn subscribe<'a>(
        &'a self,
        rpc: &'a RpcClient,
        interest: &'a WatchFilter,
        events: mpsc::Sender<WatchEvent>,
    ) -> BoxFuture<'a, SubscriptionEnd> {
        Box::pin(self.subscribe_legacy(rpc, interest, events))
    }
}

impl LegacyEra {
    async fn subscribe_legacy(
        &self,
        rpc: &RpcClient,
        interest: &WatchFilter,
        events: mpsc::Sender<WatchEvent>,
    ) -> SubscriptionEnd {
        let mut notices = self.handshake.client_handler.notifications().subscribe();
        let unsupported = self.undeclared_subscriptions(interest);
        if let Some(end) = interest.nothing_supported(&unsupported) {
            return end;
        }
        let http = rpc.transport().legacy_session();
        if let Some(http) = http {
            tokio::select! {
                () = http.listen() => {}
                failure = rpc.wait_interrupted() => return SubscriptionEnd::Failed(failure),
                failure = rpc.wait_closed() => return SubscriptionEnd::Failed(failure),
            }
        }
        if http.is_some_and(|http| !http.is_listening()) {
            return SubscriptionEnd::Failed(no_stream_failure());
        }
        let mut renewed = self.session_renewed.subscribe();
        let uris: Vec<&String> = interest.uris.iter().filter(|uri| !unsupported.contains(uri)).collect();
        for uri in &uris {
            match self.request(rpc, &subscription_operation(method::RESOURCES_SUBSCRIBE, uri)).await {
                RequestOutcome::Result(_) => {}
                reply => return SubscriptionEnd::Rejected(reply, method::RESOURCES_SUBSCRIBE),
            }
        }
        let mut gaps = http.and_then(|http| http.stream_gaps());
        let _ = events.send(WatchEvent::Subscribed(unsupported)).await;
        loop {
            tokio::select! {
                biased;
                Some(received) = notices.recv(), if !events.is_closed() => {
                    let event = match received {
                        Received::Notification(notice) => interest.matching_change(&notice).map(WatchEvent::Changed),
                        Received::Missed => Some(WatchEvent::Missed),
                    };
                    if let Some(event) = event {
                        let _ = events.send(event).await;
                    }
                }
                () = next_gap(&mut gaps) => {
                    let _ = events.send(WatchEvent::Missed).await;
                }
                failure = rpc.wait_interrupted() => {
                    let goodbyes = uris.iter().map(|uri| self.unsubscribe(rpc, uri));
                    futures_util::future::join_all(goodbyes).await;
                    return SubscriptionEnd::Failed(failure);
                }
                failure = rpc.wait_closed() => return SubscriptionEnd::Failed(failure),
                has_stream = listen_stream_closed(rpc) => {
                    let what = "the stream for notifications of changes was closed";
                    let closed = || Failure::new(ErrorKind::Unreachable, what);
                    return SubscriptionEnd::Failed(if has_stream { closed() } else { no_stream_failure() });
                }
                Ok(()) = renewed.changed() => {
                    return SubscriptionEnd::Failed(Failure::new(ErrorKind::Unreachable, "the session has expired"));
                }
            }
        }
    }

    /// What the server has not declared; nothing else may be subscribed to (`ERA-18`).
    fn undeclared_subscriptions(&self, interest: &WatchFilter) -> Vec<String> {
        let Some(capabilities) = self.server_info().capabilities else { return Vec::new() };
        let tells = |capability: &str, what: &str| {
            capabilities.get(capability).and_then(|one| one.get(what)).is_some_and(|value| *value != false)
        };
        let lists = interest.lists.iter().filter(|kind| !tells(kind.capability(), "listChanged"));
        let lists = lists.map(|kind| kind.plural_name().to_owned());
        let uris = if tells("resources", "subscribe") { Vec::new() } else { interest.uris.clone() };
        lists.chain(uris).collect()
    }

    async fn unsubscribe(&self, rpc: &RpcClient, uri: &str) {
        let params = subscription_operation(method::RESOURCES_UNSUBSCRIBE, uri).params;
        rpc.send_final_request(OutgoingRequest {
            id: rpc.next_id(),
            method: method::RESOURCES_UNSUBSCRIBE,
            params: Some(params.unclosed_object_text().to_owned() + "}"),
            headers: Vec::new(),
            timeout: None,
            cancel_mode: CancelMode::Never,
            server_requests: None,
        })
        .await;
    }
}

fn subscription_operation(method: &'static str, uri: &str) -> Operation {
    let mut params = Map::new();
    params.insert("uri".into(), json!(uri));
    Operation::read_only(method, params)
}

/// The pauses between attempts to reconnect: doubled each time, with a random part.
struct ReconnectBackoff(u32);

impl ReconnectBackoff {
    fn next_delay(&mut self) -> Duration {
        let pause = (FIRST_RECONNECT_DELAY * 2_u32.saturating_pow(self.0.min(16))).min(MAX_RECONNECT_DELAY);
        self.0 += 1;
        // Many watchers of one server must not all come back at the same moment.
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        pause.mul_f64(0.75 + f64::from(now.subsec_micros() % 1000) / 4000.0)
    }
}

impl Session {
    /// Watches until something ends it, and returns the reason. A connection that is lost after the subscription was
    /// active is opened again as long as the user wants.
    pub async fn watch(
        &self,
        interest: &WatchFilter,
        mut on: impl AsyncFnMut(WatchEvent) -> crate::error::Result<()>,
    ) -> Failure {
        let mut pace = ReconnectBackoff(0);
        let mut stood = false;
        loop {
            let begun = Instant::now();
            let failure = match self.watch_once(interest, &mut stood, &mut on).await {
                Err(failure) => return failure,
                Ok(failure) if is_permanent(&failure, stood) => return failure,
                Ok(failure) => failure,
            };
            if begun.elapsed() > STABLE_AFTER {
                pace = ReconnectBackoff(0);
            }
            let pause = pace.next_delay();
            if let Err(failure) = on(WatchEvent::Disconnected(failure, pause)).await {
                return failure;
            }
            if let Err(failure) =
                self.options.transport.interrupt.run_until_interrupted(tokio::time::sleep(pause)).await
            {
                return failure;
            }
            self.drop_connection().await;
        }
    }

    /// One subscription: why it ended, or (an error) why there must be no other.
    async fn watch_once(
        &self,
        interest: &WatchFilter,
        stood: &mut bool,
        on: &mut impl AsyncFnMut(WatchEvent) -> crate::error::Result<()>,
    ) -> crate::error::Result<Failure> {
        // A subscription lasts, so the era must be certain.
        if let Err(failure) = self.session_info().await {
            return Ok(failure);
        }
        let Some(connection) = self.connection.lock().await.clone() else {
            return Ok(Failure::new(ErrorKind::Unreachable, "the connection was closed"));
        };
        let (sender, mut events) = mpsc::channel(EVENT_BACKLOG);
        let mut subscription = connection.era.subscribe(&connection.rpc, interest, sender);
        let mut end = None;
        loop {
            let heard = tokio::select! {
                biased;
                heard = events.recv() => heard,
                ended = &mut subscription, if end.is_none() => {
                    end = Some(ended);
                    // What it reported last is still received.
                    events.close();
                    continue;
                }
            };
            let Some(heard) = heard else {
                let end = match end {
                    Some(end) => end,
                    None => subscription.await,
                };
                return Ok(self.subscription_failure(end, connection.rpc.transport_kind()));
            };
            *stood |= matches!(heard, WatchEvent::Subscribed(_));
            if let Err(failure) = on(heard).await {
                if end.is_none() && self.options.transport.interrupt.raised_failure().is_some() {
                    // Informs the server, which does not take long. Changes are not taken any more.
                    drop(events);
                    subscription.await;
                }
                return Err(failure);
            }
        }
    }

    fn subscription_failure(&self, end: SubscriptionEnd, transport: TransportKind) -> Failure {
        let failure = match end {
            SubscriptionEnd::Failed(failure) => failure,
            SubscriptionEnd::Rejected(RequestOutcome::Error(error, _), asked)
                if error.code == Some(code::METHOD_NOT_FOUND) =>
            {
                let what = format!("the server does not report changes over {}", transport.as_str());
                Failure::new(ErrorKind::Failed, what).cause(format!("it does not support {asked}")).rpc(error)
            }
            SubscriptionEnd::Rejected(reply, asked) => self.failure_from(reply, asked),
        };
        failure.server(&self.target.name)
    }

    /// Closes the connection, so that the next request opens a new one.
    async fn drop_connection(&self) {
        let connection = self.connection.lock().await.take();
        if let Some(connection) = connection {
            connection.rpc.close(connection.rpc.closed_reason().is_none()).await;
        }
    }
}

/// Whether another attempt is pointless: it never worked, or the problem is permanent.
fn is_permanent(failure: &Failure, stood: bool) -> bool {
    !stood || !matches!(failure.kind(), ErrorKind::Unreachable | ErrorKind::Timeout)
}

fn no_stream_failure() -> Failure {
    Failure::new(ErrorKind::Failed, "the server has no stream for notifications of changes")
        .hint("run the command again from time to time, without --watch")
}

/// Waits until the stream for the server's messages is closed, and returns whether the server has one. Never returns
/// over a transport without such streams.
async fn listen_stream_closed(rpc: &RpcClient) -> bool {
    match rpc.transport().legacy_session() {
        Some(http) => http.listen_stream_closed().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(method: &str, params: Value) -> ServerNotification {
        ServerNotification { method: method.to_owned(), params }
    }

    fn interest(uris: &[&str], lists: &[ListKind]) -> WatchFilter {
        WatchFilter { uris: uris.iter().map(|uri| (*uri).to_owned()).collect(), lists: lists.to_vec() }
    }

    #[test]
    fn only_watched_changes_are_reported() {
        let two = interest(&["demo://a", "demo://a/b"], &[ListKind::Templates]);
        let change = |uri: &str| two.matching_change(&notice(method::RESOURCE_UPDATED, json!({ "uri": uri })));
        assert_eq!(change("demo://a"), Some(WatchedChange::Resource("demo://a".into())));
        assert_eq!(change("demo://a/b/c"), Some(WatchedChange::Resource("demo://a/b".into())));
        assert_eq!(change("demo://x"), None);
        assert_eq!(two.matching_change(&notice(method::RESOURCES_CHANGED, Value::Null)), Some(WatchedChange::Lists));
        assert_eq!(two.matching_change(&notice(method::TOOLS_CHANGED, Value::Null)), None);
        assert_eq!(two.matching_change(&notice(method::RESOURCE_UPDATED, Value::Null)), None);
        // A server that writes the URI in another notation means the same resource.
        let one = interest(&["file:///a b"], &[]);
        let change = one.matching_change(&notice(method::RESOURCE_UPDATED, json!({"uri": "file:///a%20b"})));
        assert_eq!(change, Some(WatchedChange::Resource("file:///a b".into())));
    }

    #[test]
    fn msg_12_the_acknowledged_filter_is_compared() {
        let asked = interest(&["a", "b"], &[ListKind::Tools, ListKind::Resources]);
        assert_eq!(
            subscription_filter(&asked),
            json!({"toolsListChanged": true, "resourcesListChanged": true, "resourceSubscriptions": ["a", "b"]})
        );
        let unsupported = |honoured: Value| unacknowledged(&asked, &json!({ "notifications": honoured }));
        assert!(unsupported(subscription_filter(&asked)).is_empty());
        assert_eq!(unsupported(json!({"toolsListChanged": true, "resourceSubscriptions": ["b"]})), ["resources", "a"]);
        assert_eq!(unsupported(json!({"toolsListChanged": false})).len(), 4);
        assert!(asked.nothing_supported(&unsupported(json!({}))).is_some());
        // The server named nothing, so nothing is missing.
        assert!(unacknowledged(&asked, &Value::Null).is_empty());
    }

    #[test]
    fn reconnect_delays_grow_up_to_a_limit() {
        let mut pace = ReconnectBackoff(0);
        let pauses: Vec<Duration> = (0..40).map(|_| pace.next_delay()).collect();
        assert!(pauses[0] >= FIRST_RECONNECT_DELAY.mul_f64(0.75) && pauses[0] <= FIRST_RECONNECT_DELAY);
        assert!(pauses[2] > pauses[0] && pauses.iter().all(|pause| *pause <= MAX_RECONNECT_DELAY));
        assert!(pauses[39] >= MAX_RECONNECT_DELAY.mul_f64(0.75));
    }
}
