//! Requests that are answered without the server, and notifications of changes, where the eras differ.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::client::SubscribedItems;
use super::client_introduction::ClientIntroduction;
use super::connection::ServerConnection;
use super::dispatch::modern_result;
use super::upstream::{Upstream, is_session_lost};
use super::wire::{ClientMessage, member_text, members_of};
use crate::error::Failure;
use crate::protocol::rpc::{self, RawJson};
use crate::protocol::{code, extension, meta, method};
use crate::session::failure::failure_from_outcome;
use crate::session::request::RequestOutcome;
use crate::util::lock::lock;

/// How long to wait before a subscription or a stream that ended is requested again, at first and at most.
pub const REOPEN_DELAYS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How long requests wait for a change of a setting at the server.
const SETTING_TIMEOUT: Duration = Duration::from_secs(2);

/// How many subscriptions to resources are changed at once.
const MAX_SUBSCRIBING: usize = 64;

/// The members of the filter of `subscriptions/listen`, with the capability and the notification of each.
const CHANGE_FILTERS: [(&str, &str, &str); 3] = [
    ("toolsListChanged", "tools", method::TOOLS_CHANGED),
    ("resourcesListChanged", "resources", method::RESOURCES_CHANGED),
    ("promptsListChanged", "prompts", method::PROMPTS_CHANGED),
];

/// The member of that filter with the resources.
const RESOURCES_FILTER: &str = "resourceSubscriptions";

impl Upstream {
    /// Whether notifications of changes pass through as they come.
    pub(super) fn passes_changes(&self, connection: &ServerConnection) -> bool {
        !self.is_joined && self.client_introduction.is_modern() == connection.is_modern()
    }

    /// Answers a request that the server's era does not have. Returns whether it did.
    pub(super) async fn answer_locally(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        message: &ClientMessage,
    ) -> bool {
        match (self.client_introduction.is_modern(), connection.is_modern()) {
            (false, true) => self.answer_for_modern_server(message).await,
            (true, false) => self.answer_for_legacy_server(connection, message).await,
            _ => false,
        }
    }

    async fn answer_for_modern_server(&self, message: &ClientMessage) -> bool {
        match message.method() {
            method::LOGGING_SET_LEVEL => {
                if let Some(level) = message.param(&["level"]) {
                    self.client_introduction.set_log_level(level);
                }
            }
            method::RESOURCES_SUBSCRIBE | method::RESOURCES_UNSUBSCRIBE => {
                let Some(uri) = message.string_param(&["uri"]) else { return false };
                let uris = &mut lock(&self.subscribed).uris;
                if message.method() == method::RESOURCES_SUBSCRIBE {
                    uris.insert(uri)
                } else {
                    uris.remove(&uri)
                };
                self.wanted_changed.notify_one();
            }
            _ => return false,
        }
        self.client.send_result_text(message.id(), "{}".into()).await;
        true
    }

    async fn answer_for_legacy_server(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        message: &ClientMessage,
    ) -> bool {
        match message.method() {
            method::DISCOVER => {
                let result = self.discover_result_for_client(connection);
                self.client.send_result_text(message.id(), result.to_string().into()).await;
            }
            method::SUBSCRIPTIONS_LISTEN => self.listen_for_client(message).await,
            _ if message.param(&["requestState"]).is_some() => self.resume_question(message).await,
            _ => return false,
        }
        true
    }

    /// The result of `server/discover` for a server with a handshake.
    fn discover_result_for_client(&self, connection: &ServerConnection) -> Value {
        let said = self.introduction(connection);
        let mut capabilities = said.get("capabilities").cloned().unwrap_or_else(|| json!({}));
        if let Some(members) = capabilities.as_object_mut() {
            // Tasks are another feature there.
            members.remove("tasks");
        }
        ClientIntroduction::discover_result(capabilities, Self::server_info(&said), said.get("instructions").cloned())
    }

    /// The result of `initialize` for a server without a handshake.
    fn initialize_result_for_client(&self, connection: &ServerConnection) -> Value {
        let said = self.introduction(connection);
        let mut capabilities = said.get("capabilities").cloned().unwrap_or_else(|| json!({}));
        if let Some(extensions) = capabilities.get_mut("extensions").and_then(Value::as_object_mut) {
            extensions.remove(extension::TASKS);
        }
        let mut info = Self::server_info(&said);
        if !info.is_object() {
            info = json!({"name": self.name, "version": ""});
        }
        self.client_introduction.initialize_result(capabilities, info, said.get("instructions").cloned())
    }

    /// Acknowledges a subscription of a modern client, which stays open until it is canceled.
    async fn listen_for_client(self: &Arc<Self>, message: &ClientMessage) {
        let subscribed = subscribed_items(message);
        self.client.acknowledge(message.id(), &subscribed).await;
        // The next request may change what is subscribed.
        let this = self.clone();
        wait_for_setting(async move { this.tell_wanted().await }).await;
    }

    /// Tells the server what the client's subscriptions want together, when one has ended. Requests do not wait for that.
    pub fn update_wanted(self: &Arc<Self>) {
        let this = self.clone();
        drop(tokio::spawn(async move { this.tell_wanted().await }));
    }

    async fn tell_wanted(self: &Arc<Self>) {
        let _turn = self.wanted_turn.lock().await;
        self.set_wanted(self.client.wanted()).await;
    }

    /// Tells the server what the client wants of it.
    pub async fn set_wanted(self: &Arc<Self>, all: SubscribedItems) {
        let before = std::mem::replace(&mut *lock(&self.subscribed), all.clone());
        self.wanted_changed.notify_one();
        let Some(connection) = self.connected().await.filter(|connection| !connection.is_modern()) else { return };
        let changes = [
            (method::RESOURCES_SUBSCRIBE, all.uris.difference(&before.uris)),
            (method::RESOURCES_UNSUBSCRIBE, before.uris.difference(&all.uris)),
        ];
        for (name, uris) in changes {
            self.change_subscriptions(&connection, name, uris.cloned(), true).await;
        }
    }

    /// Subscribes a legacy server to these resources, or ends that; a server that is slow at one may be fast at others.
    /// For `renews` see [`Upstream::change_setting`].
    pub(super) async fn change_subscriptions(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        name: &'static str,
        uris: impl IntoIterator<Item = String>,
        renews: bool,
    ) {
        let change = |uri: String| async move {
            let params = json!({ "uri": uri }).to_string();
            if let Some(failure) = self.change_setting(connection, name, &params, renews).await {
                let verb = if name == method::RESOURCES_SUBSCRIBE { "subscribe to" } else { "unsubscribe from" };
                self.warn(&format!("cannot {verb} {uri}: {failure}"));
            }
        };
        futures_util::stream::iter(uris).for_each_concurrent(MAX_SUBSCRIBING, change).await;
    }

    /// Sends a request that changes what a legacy server does. Returns why that failed, unless the connection was lost:
    /// then it is sent again on the next one. With `renews` it opens a new session if the server has forgotten its own.
    pub(super) async fn change_setting(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        name: &'static str,
        params: &str,
        renews: bool,
    ) -> Option<Failure> {
        let limit = self.options.connect_timeout;
        let session = *connection.session_number.lock().await;
        let outcome = connection.own_request(self.next_id(), name, Some(params), Vec::new(), limit).await;
        if connection.closed_reason().is_some() || matches!(outcome, RequestOutcome::Result(_)) {
            return None;
        }
        if renews && is_session_lost(&outcome) {
            match self.renew_session(connection, session).await {
                // The new session has it from the start.
                Ok(true) => return None,
                Ok(false) => {}
                Err(failure) => return Some(failure),
            }
        }
        Some(failure_from_outcome(outcome, name, &self.target))
    }

    /// Reports a change to the client in the form of its era.
    pub(super) async fn report_change(&self, name: &str, params: Option<&RawValue>) {
        if !self.client_introduction.is_modern() {
            return self.client.notify(name, params.map(ToOwned::to_owned)).await;
        }
        let uri = params.and_then(|params| member_text(params.get(), "uri"));
        let uri = uri.and_then(crate::protocol::json::parse_string);
        let filter =
            CHANGE_FILTERS.iter().find(|(_, _, notification)| *notification == name).map(|(filter, _, _)| *filter);
        let fits = |subscribed: &SubscribedItems| match (filter, &uri) {
            (Some(filter), _) => subscribed.lists.contains(filter),
            (None, Some(uri)) => subscribed.uris.iter().any(|prefix| uri.starts_with(prefix.as_str())),
            (None, None) => false,
        };
        let subscriptions: Vec<String> = lock(&self.client.subscriptions)
            .iter()
            .filter(|(_, subscribed)| fits(subscribed))
            .map(|(id, _)| id.clone())
            .collect();
        for id in subscriptions {
            let params = with_subscription(params.map_or("{}", RawValue::get), &id);
            self.client.notify(name, RawValue::from_string(params).ok()).await;
        }
    }

    /// The parameters of a notification with the client's ID of the subscription in place of ours.
    pub(super) fn with_client_subscription(&self, connection: &ServerConnection, params: RawJson) -> RawJson {
        let ours = member_text(params.get(), "_meta").and_then(|all| member_text(all, meta::SUBSCRIPTION_ID));
        let Some(ours) = ours.and_then(|id| id.trim_matches('"').parse().ok()) else { return params };
        let Some(theirs) = connection.client_id(ours) else { return params };
        RawValue::from_string(with_subscription(params.get(), &theirs)).unwrap_or(params)
    }

    /// Subscribes to the changes of a modern server, for as long as the connection is open.
    pub(super) fn start_listening(self: &Arc<Self>, connection: &Arc<ServerConnection>) {
        let (this, connection) = (self.clone(), connection.clone());
        drop(tokio::spawn(async move {
            tokio::select! {
                () = this.keep_listening(&connection) => {}
                _ = connection.wait_closed() => {}
            }
        }));
    }

    async fn keep_listening(&self, connection: &ServerConnection) {
        let (first, most) = REOPEN_DELAYS;
        let mut delay = first;
        // The resources that the server refuses.
        let mut refused = BTreeSet::new();
        loop {
            let filter = self.filter(connection, &mut refused);
            if filter.is_empty() {
                self.wanted_changed.notified().await;
                continue;
            }
            let params = self.own_params(true, &format!(r#""notifications":{}"#, Value::from(filter.clone())));
            let headers = self.headers(connection, method::SUBSCRIPTIONS_LISTEN, None);
            let request_id = self.next_id();
            let started = std::time::Instant::now();
            let outcome = tokio::select! {
                outcome = connection.own_request(request_id, method::SUBSCRIPTIONS_LISTEN, params.as_deref(), headers, None) => outcome,
                () = self.wanted_changed.notified() => {
                    if !connection.is_http() {
                        let params = rpc::cancelled_params(request_id, None);
                        let _ = connection.send_one_way(rpc::notification(method::CANCELLED, Some(&params))).await;
                    }
                    continue;
                }
            };
            match &outcome {
                RequestOutcome::Error(error, _) if error.code == Some(code::METHOD_NOT_FOUND) => {
                    return self.options.trace.note("the server does not support subscriptions");
                }
                RequestOutcome::Error(error, _) if error.code == Some(code::INVALID_PARAMS) => {
                    match filter.get(RESOURCES_FILTER).and_then(Value::as_array) {
                        Some(uris) => {
                            let uris = uris.iter().filter_map(Value::as_str);
                            let suspects = self.take_suspects(uris.map(ToOwned::to_owned).collect());
                            let failure = failure_from_outcome(outcome, method::SUBSCRIPTIONS_LISTEN, &self.target);
                            let names: Vec<&str> = suspects.iter().map(String::as_str).collect();
                            self.warn(&format!("cannot subscribe to {}: {failure}", names.join(", ")));
                            refused.extend(suspects);
                        }
                        None => self.wanted_changed.notified().await,
                    }
                    continue;
                }
                _ => {}
            }
            connection.may_have_missed_changes.store(true, Ordering::Relaxed);
            // A proxy, say, ends streams after a while.
            let was_stable = started.elapsed() > delay;
            if was_stable {
                delay = first;
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => {}
                () = self.wanted_changed.notified() => {}
            }
            if !was_stable {
                delay = (delay * 2).min(most);
            }
        }
    }

    /// Which of the resources of a subscription that the server refused may be the reason: those that it has not
    /// accepted before.
    fn take_suspects(&self, uris: BTreeSet<String>) -> BTreeSet<String> {
        let mut accepted = lock(&self.accepted);
        let suspects = &uris - &accepted;
        if suspects.is_empty() {
            accepted.clear();
            return uris;
        }
        suspects
    }

    /// The server has accepted a subscription. After one that ended, lists and resources may have changed in between.
    pub(super) async fn take_acknowledgement(&self, connection: &ServerConnection, params: Option<&RawValue>) {
        let filter = params.and_then(|params| member_text(params.get(), "notifications"));
        let uris = filter.and_then(|filter| serde_json::from_str(member_text(filter, RESOURCES_FILTER)?).ok());
        *lock(&self.accepted) = uris.unwrap_or_default();
        if connection.may_have_missed_changes.swap(false, Ordering::Relaxed) {
            self.guard.forget_table();
            self.report_possible_changes(connection).await;
        }
    }

    /// Lets the client fetch the lists and the resources again that it is notified of, which may have changed.
    pub(super) async fn report_possible_changes(&self, connection: &ServerConnection) {
        let capabilities = self.introduction(connection)["capabilities"].clone();
        for (_, capability, notification) in CHANGE_FILTERS {
            if capabilities[capability]["listChanged"] == true
                || (self.is_joined && capabilities[capability].is_object())
            {
                self.report_change(notification, None).await;
            }
        }
        let uris = lock(&self.subscribed).uris.clone();
        for uri in uris {
            let params = RawValue::from_string(json!({ "uri": uri }).to_string()).ok();
            self.report_change(method::RESOURCE_UPDATED, params.as_deref()).await;
        }
    }

    /// The filter of the subscription at a modern server, without resources that it refuses as long as the client wants
    /// them.
    fn filter(&self, connection: &ServerConnection, refused: &mut BTreeSet<String>) -> Map<String, Value> {
        let capabilities = self.introduction(connection)["capabilities"].clone();
        let mut subscribed = lock(&self.subscribed).clone();
        refused.retain(|uri| subscribed.uris.contains(uri));
        subscribed.uris.retain(|uri| !refused.contains(uri));
        let is_client_modern = self.client_introduction.is_modern();
        let mut all = Map::new();
        for (filter, capability, _) in CHANGE_FILTERS {
            let is_subscribed = !is_client_modern || subscribed.lists.contains(filter);
            if is_subscribed && capabilities[capability]["listChanged"] == true {
                all.insert(filter.to_owned(), true.into());
            }
        }
        if !subscribed.uris.is_empty() && capabilities["resources"].is_object() {
            all.insert(RESOURCES_FILTER.to_owned(), json!(subscribed.uris));
        }
        all
    }

    /// The introduction of the server as a text in the form of the client's era.
    pub fn introduction_for_client(&self, connection: &ServerConnection) -> std::borrow::Cow<'static, str> {
        use super::connection::ServerIntroduction;
        match (self.client_introduction.is_modern(), connection.introduction()) {
            (false, Some(ServerIntroduction::Legacy(result))) => result.get().to_owned().into(),
            (true, Some(ServerIntroduction::Modern(result))) => modern_result(method::DISCOVER, result.clone()),
            (false, _) => self.initialize_result_for_client(connection).to_string().into(),
            (true, _) => self.discover_result_for_client(connection).to_string().into(),
        }
    }
}

/// Waits until a server has carried out a change, but not for long: the client's requests wait for that.
pub(super) async fn wait_for_setting(change: impl Future<Output = ()> + Send + 'static) {
    let _ = tokio::time::timeout(SETTING_TIMEOUT, tokio::spawn(change)).await;
}

/// What a `subscriptions/listen` request wants.
#[must_use]
pub fn subscribed_items(message: &ClientMessage) -> SubscribedItems {
    let filter = message.param(&["notifications"]).and_then(|text| serde_json::from_str::<Value>(text).ok());
    let filter = filter.unwrap_or_default();
    let lists =
        CHANGE_FILTERS.iter().filter(|(name, _, _)| filter[name] == true).map(|(name, _, _)| (*name).to_owned());
    let uris = filter[RESOURCES_FILTER].as_array().into_iter().flatten();
    let uris: BTreeSet<String> = uris.filter_map(Value::as_str).map(ToOwned::to_owned).collect();
    SubscribedItems { lists: lists.collect(), uris }
}

/// The parameters of a notification with this ID of the subscription, which is JSON.
fn with_subscription(params: &str, id: &str) -> String {
    let key = meta::SUBSCRIPTION_ID;
    let members = members_of(params).unwrap_or_default();
    let mut all: Vec<String> = Vec::new();
    let mut inside: Vec<String> = vec![format!("\"{key}\":{id}")];
    for (name, range) in members {
        let text = &params[range];
        if name == "_meta" {
            let others = members_of(text).unwrap_or_default().into_iter().filter(|(member, _)| member != key);
            inside.extend(others.map(|(member, range)| format!("{}:{}", Value::String(member), &text[range])));
        } else {
            all.push(format!("{}:{text}", Value::String(name)));
        }
    }
    all.push(format!("\"_meta\":{{{}}}", inside.join(",")));
    format!("{{{}}}", all.join(","))
}
