//! Plays a recording: answers requests with what was recorded for them, in the recorded order.
//!
//! What was received is played when its request was sent again, or, for what belongs to no request, when the message
//! was sent again after which it came. Of what came between a request and its response, everything is played before the
//! response.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::matching;
use super::script::{Event, ReceivedItem, RecordedContent, Script, SentKind, SentMessage};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{member, members};
use crate::protocol::rpc::RawJson;
use crate::protocol::{code, meta, method};
use crate::util::lock::lock;
use crate::util::shorten::shorten;
use crate::util::suggest::nearest_name;

/// How long the client may be silent before a response is played although another one came before it in the recording.
const IDLE_TIME: Duration = Duration::from_millis(50);
/// How much of the parameters of a request an error shows, in characters.
const SHOWN_PARAMS: usize = 300;
/// The member of an error's data that says that the request is not in the recording.
pub(super) const NOT_RECORDED: &str = "notRecorded";

/// Something for the client.
pub(crate) struct Delivery {
    /// The request that it answers or on whose stream it comes, as the client named it; as JSON.
    pub request: Option<String>,
    /// Whether the request's own stream carries it.
    pub on_stream: bool,
    /// What it is.
    pub content: RecordedContent,
}

/// A recording that is being played.
#[derive(Debug)]
pub(super) struct Player {
    script: Script,
    state: Mutex<PlayerState>,
}

#[derive(Debug)]
struct PlayerState {
    /// Of each event that was sent: who sent it again.
    seen: Vec<Option<SeenMessage>>,
    /// Of each event that was received: whether it was played.
    played: Vec<bool>,
    /// All events before this one were played.
    first_open: usize,
    /// How many attempts to connect were made.
    attempts: usize,
    outlets: Vec<mpsc::UnboundedSender<Delivery>>,
    /// How many messages were sent.
    generation: u64,
}

/// A message that was sent again.
#[derive(Clone, Debug)]
struct SeenMessage {
    outlet: usize,
    /// The ID of a request, as the client chose it.
    id: Option<String>,
    progress_token: Option<String>,
}

/// Whether something can be played.
#[derive(PartialEq, Eq)]
enum Readiness {
    Ready,
    /// It can, but something came before it that may still be asked for.
    Early,
    NotYet,
}

impl Player {
    pub(super) fn new(script: Script) -> Self {
        let length = script.events.len();
        let state = PlayerState {
            seen: vec![None; length],
            played: vec![false; length],
            first_open: 0,
            attempts: 0,
            outlets: Vec::new(),
            generation: 0,
        };
        Player { script, state: Mutex::new(state) }
    }

    pub(super) fn script(&self) -> &Script {
        &self.script
    }

    fn lock(&self) -> MutexGuard<'_, PlayerState> {
        lock(&self.state)
    }

    /// Connects: the number of the connection, and what comes back over it.
    ///
    /// # Errors
    /// The failure of the recorded attempt.
    pub(super) fn connect(&self) -> Result<(usize, mpsc::UnboundedReceiver<Delivery>)> {
        let mut state = self.lock();
        let outcome = self.script.connections.get(state.attempts);
        state.attempts += 1;
        if let Some(Some(failure)) = outcome {
            return Err(failure.clone());
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        state.outlets.push(sender);
        self.play(&mut state, false);
        Ok((state.outlets.len() - 1, receiver))
    }

    /// Takes a message of the client. Returns a number for [`Player::play_early`] if something waits that can be played
    /// out of order.
    pub(super) fn take(&self, outlet: usize, message: &RawValue) -> Option<u64> {
        let mut state = self.lock();
        state.generation += 1;
        match matching::sent_kind(message)? {
            SentKind::Request { id, method, params, progress_token } => {
                let seen = SeenMessage { outlet, id: Some(id), progress_token };
                self.take_request(&mut state, seen, &method, &params);
            }
            SentKind::Notification { method } => {
                let is_same =
                    |kind: &SentKind| matches!(kind, SentKind::Notification { method: other } if *other == method);
                if let Some(at) = self.first_unseen(&state, is_same) {
                    mark_seen(&mut state, at, SeenMessage { outlet, id: None, progress_token: None });
                }
            }
            SentKind::Answer { id, outcome } => self.take_answer(&mut state, outlet, &id, &outcome),
        }
        let is_waiting = self.play(&mut state, false);
        is_waiting.then_some(state.generation)
    }

    /// Plays what waits for others that may not come, unless the client has sent something in the meantime.
    fn play_early(&self, generation: u64) {
        let mut state = self.lock();
        if state.generation == generation {
            self.play(&mut state, true);
        }
    }

    /// Plays everything that was asked for, whatever came before it in the recording.
    pub(super) fn play_all(&self) {
        self.play(&mut self.lock(), true);
    }

    fn first_unseen(&self, state: &PlayerState, fits: impl Fn(&SentKind) -> bool) -> Option<usize> {
        let mut places = self.script.events.iter().zip(&state.seen);
        places.position(|(event, seen)| matches!(event, Event::Sent(sent) if seen.is_none() && fits(&sent.kind)))
    }

    fn take_request(&self, state: &mut PlayerState, seen: SeenMessage, name: &str, params: &Value) {
        let is_same = |kind: &SentKind| {
            matches!(kind, SentKind::Request { method, params: recorded, .. }
                if method == name && matching::fits(recorded, params))
        };
        let outlet = seen.outlet;
        let id = seen.id.clone().unwrap_or_default();
        let no_response = || format!("the trace has no response to this request: {}", request_text(name, params));
        if let Some(at) = self.first_unseen(state, is_same) {
            mark_seen(state, at, seen);
            if !self.script.silence_is_recorded && self.response_to(at).is_none() {
                send_error(state, outlet, &id, code::INTERNAL_ERROR, &no_response());
            }
            return;
        }
        // More often than it was recorded: the last response once more.
        let last =
            self.script.events.iter().rposition(|event| matches!(event, Event::Sent(sent) if is_same(&sent.kind)));
        if let Some(item) = last.and_then(|at| self.response_to(at)) {
            let content = rewrite(&item.content, Some(&id), &|_| None);
            return deliver(state, outlet, Delivery { request: Some(id), on_stream: true, content });
        }
        if last.is_some() {
            if !self.script.silence_is_recorded {
                send_error(state, outlet, &id, code::INTERNAL_ERROR, &no_response());
            }
            return;
        }
        match (name, self.script.revision) {
            (method::INITIALIZE, None) => {
                let failure = Failure::new(ErrorKind::Config, "the recording ends before the response to initialize")
                    .hint("make a complete one: run the command with the server as the target, and add --record FILE");
                deliver(
                    state,
                    outlet,
                    Delivery { request: Some(id), on_stream: true, content: RecordedContent::Failed(failure) },
                );
            }
            (method::INITIALIZE, _) => send_error(state, outlet, &id, code::METHOD_NOT_FOUND, "Method not found"),
            (method::DISCOVER, Some(revision)) if revision.is_modern() => {
                let result = self.discover_result(revision.as_str());
                send_message(state, outlet, &id, &format!(r#""result":{result}"#));
            }
            (method::DISCOVER, _) => send_error(state, outlet, &id, code::METHOD_NOT_FOUND, "Method not found"),
            ("ping", _) => send_message(state, outlet, &id, r#""result":{}"#),
            _ => {
                let text = self.unknown_request(name, params);
                let error = json!({ "code": code::INTERNAL_ERROR, "message": text, "data": { NOT_RECORDED: true } });
                send_message(state, outlet, &id, &format!(r#""error":{error}"#));
            }
        }
    }

    /// The final item for the request at this place.
    fn response_to(&self, at: usize) -> Option<&ReceivedItem> {
        self.script.events.iter().skip(at).find_map(|event| match event {
            Event::Received(item) if item.request == Some(at) && item.is_final => Some(item),
            _ => None,
        })
    }

    /// What a server without a handshake says about itself, as far as the recording shows it.
    fn discover_result(&self, revision: &str) -> Value {
        let mut capabilities = Map::new();
        for event in &self.script.events {
            if let Event::Sent(SentMessage { kind: SentKind::Request { method, .. }, .. }) = event
                && let Some((name @ ("tools" | "resources" | "prompts"), _)) = method.split_once('/')
            {
                capabilities.insert(name.to_owned(), json!({}));
            }
        }
        let server = &self.script.server_info;
        let info = json!({
            "name": server.name.as_deref().unwrap_or("recording"),
            "version": server.version.as_deref().unwrap_or("unknown"),
        });
        json!({
            "resultType": "complete",
            "supportedVersions": [revision],
            "capabilities": capabilities,
            "_meta": { meta::SERVER_INFO: info },
        })
    }

    fn unknown_request(&self, name: &str, params: &Value) -> String {
        let requests = || {
            self.script.events.iter().filter_map(|event| match event {
                Event::Sent(SentMessage { kind: SentKind::Request { method, params, .. }, .. }) => {
                    Some((method.as_str(), params))
                }
                _ => None,
            })
        };
        let same_method = requests().filter(|(method, _)| *method == name);
        let nearest = same_method.max_by_key(|(_, recorded)| matching::similarity(recorded, params)).or_else(|| {
            let near = nearest_name(name, requests().map(|(method, _)| method))?;
            requests().find(|(method, _)| *method == near)
        });
        let text = format!("the recording does not have this request: {}", request_text(name, params));
        match nearest {
            Some((method, params)) => format!("{text}; the nearest one is {}", request_text(method, params)),
            None => {
                let mut methods: Vec<&str> = requests().map(|(method, _)| method).collect();
                methods.sort_unstable();
                methods.dedup();
                format!("{text}; it has {}", if methods.is_empty() { "no requests".into() } else { methods.join(", ") })
            }
        }
    }

    fn take_answer(&self, state: &mut PlayerState, outlet: usize, id: &str, outcome: &Value) {
        let is_same =
            |kind: &SentKind| matches!(kind, SentKind::Answer { id: other, .. } if matching::is_same_id(other, id));
        let Some(at) = self.first_unseen(state, is_same) else { return };
        mark_seen(state, at, SeenMessage { outlet, id: None, progress_token: None });
        let Some(Event::Sent(SentMessage { kind: SentKind::Answer { outcome: recorded, .. }, connection })) =
            self.script.events.get(at)
        else {
            return;
        };
        let asked = self.question(at, *connection, id);
        // What a model or a directory is called differs from run to run; a choice of the user decides what follows.
        if asked.as_deref() != Some(method::ELICITATION_CREATE) || matching::fits(recorded, outcome) {
            return;
        }
        let text =
            format!("the recording continues after another answer to {}: {recorded}", method::ELICITATION_CREATE);
        for (place, event) in self.script.events.iter().enumerate().skip(at) {
            let Event::Received(ReceivedItem { request: Some(request), is_final: true, connection: other, .. }) = event
            else {
                continue;
            };
            if other != connection {
                continue;
            }
            let Some(seen) = state.seen.get(*request).cloned().flatten().filter(|_| *request < at) else { continue };
            if state.played.get(place) == Some(&false) {
                set_played(state, place);
                send_error(state, seen.outlet, seen.id.as_deref().unwrap_or("null"), code::INTERNAL_ERROR, &text);
            }
        }
    }

    /// The method of the server's request that the answer at this place is for.
    fn question(&self, answer: usize, connection: u64, id: &str) -> Option<String> {
        let before = self.script.events.iter().take(answer).rev();
        before.into_iter().find_map(|event| match event {
            Event::Received(ReceivedItem {
                connection: other, content: RecordedContent::Message { raw, .. }, ..
            }) if *other == connection && member(raw, "id").is_some_and(|raw| matching::is_same_id(raw.get(), id)) => {
                member(raw, "method").map(|raw| raw.get().trim_matches('"').to_owned())
            }
            _ => None,
        })
    }

    /// Plays everything that can be played; with `early` also what waits for others. Returns whether something waits.
    fn play(&self, state: &mut PlayerState, early: bool) -> bool {
        let mut is_waiting = false;
        for at in state.first_open..self.script.events.len() {
            let Some(Event::Received(item)) = self.script.events.get(at) else { continue };
            if state.played.get(at) == Some(&true) {
                continue;
            }
            match self.readiness(state, at, item) {
                Readiness::Ready => self.play_item(state, at, item),
                Readiness::Early if early => self.play_item(state, at, item),
                Readiness::Early => is_waiting = true,
                Readiness::NotYet => {}
            }
        }
        let open = (state.first_open..self.script.events.len()).find(|at| {
            matches!(self.script.events.get(*at), Some(Event::Received(_))) && state.played.get(*at) == Some(&false)
        });
        state.first_open = open.unwrap_or(self.script.events.len());
        is_waiting
    }

    fn readiness(&self, state: &PlayerState, at: usize, item: &ReceivedItem) -> Readiness {
        let was_seen = |place: usize| state.seen.get(place).is_some_and(Option::is_some);
        let was_played = |place: usize| state.played.get(place) == Some(&true);
        let Some(request) = item.request else {
            let is_ready = item.after.is_none_or(|after| {
                // After the response, if that came first.
                let response = self.script.events.iter().enumerate().take(at).skip(after).find(|(_, event)| {
                    matches!(event, Event::Received(other) if other.request == Some(after) && other.is_final)
                });
                was_seen(after) && response.is_none_or(|(place, _)| was_played(place))
            });
            return if is_ready { Readiness::Ready } else { Readiness::NotYet };
        };
        if !was_seen(request) {
            return Readiness::NotYet;
        }
        let mut readiness = Readiness::Ready;
        for (place, event) in self.script.events.iter().enumerate().take(at).skip(request + 1) {
            match event {
                // The server's question was played: its answer comes first.
                Event::Sent(SentMessage { connection, kind: SentKind::Answer { id, .. } })
                    if *connection == item.connection
                        && !was_seen(place)
                        && self.was_asked(state, place, *connection, id) =>
                {
                    return Readiness::NotYet;
                }
                Event::Received(other)
                    if other.connection == item.connection && item.is_final && !was_played(place) =>
                {
                    readiness = Readiness::Early;
                }
                _ => {}
            }
        }
        readiness
    }

    /// Whether the server's request that is answered at `answer` was played.
    fn was_asked(&self, state: &PlayerState, answer: usize, connection: u64, id: &str) -> bool {
        self.script.events.iter().take(answer).zip(&state.played).any(|(event, played)| match event {
            Event::Received(ReceivedItem {
                connection: other, content: RecordedContent::Message { raw, .. }, ..
            }) => {
                *played
                    && *other == connection
                    && member(raw, "method").is_some()
                    && member(raw, "id").is_some_and(|raw| matching::is_same_id(raw.get(), id))
            }
            _ => false,
        })
    }

    fn play_item(&self, state: &mut PlayerState, at: usize, item: &ReceivedItem) {
        set_played(state, at);
        let seen = item.request.or(item.after).and_then(|place| state.seen.get(place).cloned().flatten());
        let outlet = seen.as_ref().map_or(state.outlets.len().saturating_sub(1), |seen| seen.outlet);
        let id = seen.filter(|_| item.request.is_some()).and_then(|seen| seen.id);
        let seen_request = |fits: &dyn Fn(&SentKind) -> bool| {
            self.script.events.iter().zip(&state.seen).find_map(|(event, seen)| match event {
                Event::Sent(sent) if sent.connection == item.connection && fits(&sent.kind) => seen.clone(),
                _ => None,
            })
        };
        // A result with another ID came on the stream of the request, but is not its result.
        let is_foreign_result = !item.is_final
            && matches!(&item.content, RecordedContent::Message { raw, .. } if member(raw, "result").is_some());
        let own_id = id.as_deref().filter(|_| !is_foreign_result);
        let content = rewrite(&item.content, own_id, &seen_request);
        deliver(state, outlet, Delivery { request: id, on_stream: item.on_stream, content });
    }
}

/// Plays what waits for other requests, if the client sends none.
pub(super) async fn play_when_idle(player: Arc<Player>, generation: u64) {
    tokio::time::sleep(IDLE_TIME).await;
    player.play_early(generation);
}

fn mark_seen(state: &mut PlayerState, at: usize, seen: SeenMessage) {
    if let Some(place) = state.seen.get_mut(at) {
        *place = Some(seen);
    }
}

fn set_played(state: &mut PlayerState, at: usize) {
    if let Some(place) = state.played.get_mut(at) {
        *place = true;
    }
}

fn deliver(state: &PlayerState, outlet: usize, delivery: Delivery) {
    if let Some(outlet) = state.outlets.get(outlet) {
        // The client may have closed the connection.
        let _ = outlet.send(delivery);
    }
}

/// Sends a response with this `result` or `error` member.
fn send_message(state: &PlayerState, outlet: usize, id: &str, outcome: &str) {
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},{outcome}}}"#);
    let Ok(raw) = RawValue::from_string(text) else { return };
    let content = RecordedContent::Message { raw, status: None, retry_after_ms: None, is_embedded: false };
    deliver(state, outlet, Delivery { request: Some(id.to_owned()), on_stream: true, content });
}

fn send_error(state: &PlayerState, outlet: usize, id: &str, code: i64, message: &str) {
    send_message(state, outlet, id, &format!(r#""error":{}"#, json!({ "code": code, "message": message })));
}

/// A request in an error message.
fn request_text(method: &str, params: &Value) -> String {
    if params.is_null() {
        return method.to_owned();
    }
    format!("{method} {}", shorten(&params.to_string(), SHOWN_PARAMS))
}

/// Finds who sent a recorded message again.
type FindSeen<'a> = &'a dyn Fn(&dyn Fn(&SentKind) -> bool) -> Option<SeenMessage>;

/// A recorded item with the IDs and tokens that the client chose.
fn rewrite(content: &RecordedContent, id: Option<&str>, find: FindSeen<'_>) -> RecordedContent {
    let RecordedContent::Message { raw, status, retry_after_ms, is_embedded } = content else {
        return match (content, id) {
            (RecordedContent::Broken(broken), Some(id)) => {
                let mut broken = broken.clone();
                broken.id = broken.id.and(id.parse().ok());
                RecordedContent::Broken(broken)
            }
            _ => content.clone(),
        };
    };
    let changed = if member(raw, "method").is_none() {
        id.and_then(|id| with_member(raw, "id", id))
    } else {
        rewrite_notification(raw, find)
    };
    let raw = changed.unwrap_or_else(|| raw.clone());
    RecordedContent::Message { raw, status: *status, retry_after_ms: *retry_after_ms, is_embedded: *is_embedded }
}

/// A notification about a request, with the token or ID that the client chose for the request.
fn rewrite_notification(raw: &RawJson, find: FindSeen<'_>) -> Option<RawJson> {
    let params = member(raw, "params")?;
    if let Some(token) = member(params, meta::PROGRESS_TOKEN) {
        let is_same = |kind: &SentKind| matches!(kind, SentKind::Request { progress_token: Some(recorded), .. } if recorded == token.get());
        let chosen = find(&is_same)?.progress_token?;
        return with_member(raw, "params", with_member(params, meta::PROGRESS_TOKEN, &chosen)?.get());
    }
    let all = member(params, "_meta")?;
    let subscription = member(all, meta::SUBSCRIPTION_ID)?;
    let is_same =
        |kind: &SentKind| matches!(kind, SentKind::Request { id, .. } if matching::is_same_id(id, subscription.get()));
    let chosen = find(&is_same)?.id?;
    let as_string = subscription.get().starts_with('"') && !chosen.starts_with('"');
    let chosen = if as_string { format!("\"{chosen}\"") } else { chosen };
    let all = with_member(all, meta::SUBSCRIPTION_ID, &chosen)?;
    with_member(raw, "params", with_member(params, "_meta", all.get())?.get())
}

/// The object with another value under this name; `None` if it has no such member.
fn with_member(object: &RawValue, name: &str, value: &str) -> Option<RawJson> {
    if member(object, name)?.get() == value {
        return Some(object.to_owned());
    }
    let members = members(object)?.into_iter().map(|(key, old)| {
        let value = if key == name { value } else { old.get() };
        format!("{}:{value}", json!(key))
    });
    RawValue::from_string(format!("{{{}}}", members.collect::<Vec<_>>().join(","))).ok()
}
