//! The stateless era (2026-07-28): every request says who asks, in `_meta` and in headers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};

use super::era::{Call, Era, client_info, meta_with_progress};
use super::input::{MAX_ROUNDS, Refusal};
use super::link::{Ask, Cancel, Link, Reply};
use super::peer::Peer;
use crate::error::{Class, Failure};
use crate::protocol::revision::Revision;
use crate::protocol::rpc::{Raw, RpcError, parse_value};
use crate::protocol::views::{ServerInfo, member, members};
use crate::protocol::{code, extension, headers, meta, method};
use crate::transport::Boxed;

/// The pause before a retry that carries nothing but the server's own state (`MRT-04`).
const STATE_PAUSE: Duration = Duration::from_millis(250);

/// The modern side of a connection.
pub struct Modern {
    pub(super) peer: Arc<Peer>,
    pub(super) timeout: Option<Duration>,
    server: Mutex<ServerInfo>,
}

/// What a result is, by its `resultType` (`MSG-02`).
enum Outcome {
    Complete,
    InputRequired,
    /// A task (ext-tasks).
    Task,
    Unknown(String),
}

fn outcome(result: &Raw) -> Outcome {
    let kind = member(result, "resultType").and_then(|raw| parse_value(raw.get()));
    match kind.as_ref().filter(|kind| !kind.is_null()).map(|value| value.as_str().unwrap_or_default()) {
        None | Some("complete") => Outcome::Complete,
        Some("input_required") => Outcome::InputRequired,
        Some("task") => Outcome::Task,
        Some(other) => Outcome::Unknown(other.to_owned()),
    }
}

impl Modern {
    /// A connection on which nothing was said yet.
    #[must_use]
    pub fn new(peer: Arc<Peer>, timeout: Option<Duration>, server: ServerInfo) -> Self {
        Modern { peer, timeout, server: Mutex::new(server) }
    }

    /// Takes note of what `server/discover` said.
    pub fn discovered(&self, server: ServerInfo) {
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = server;
    }

    /// `params` of one request: the call's own, the answers to input requests, `_meta` (`ERA-01`, `ERA-02`).
    fn params(&self, id: u64, call: &Call, round: &Round) -> String {
        let revision = self.revision();
        let mut all = meta_with_progress(id, call);
        all.insert(meta::PROTOCOL_VERSION.into(), revision.as_str().into());
        all.insert(meta::CLIENT_INFO.into(), client_info());
        all.insert(meta::CLIENT_CAPABILITIES.into(), self.capabilities(call));
        if let Some(level) = self.peer.log_level() {
            // Without it a server sends no logs (MSG-14).
            all.insert(meta::LOG_LEVEL.into(), level.into());
        }
        let mut text = String::from("{");
        for (name, value) in &call.params {
            push_member(&mut text, name, &value.to_string());
        }
        if let Some(responses) = &round.responses {
            push_member(&mut text, "inputResponses", &Value::Object(responses.clone()).to_string());
        }
        if let Some(state) = &round.state {
            // Echoed as the server wrote it (MRT-02).
            push_member(&mut text, "requestState", state.get());
        }
        push_member(&mut text, "_meta", &Value::Object(all).to_string());
        text.push('}');
        text
    }

    /// What we can do for the server, and the extensions that this request may be answered with (`EXT-01`).
    fn capabilities(&self, call: &Call) -> Value {
        let mut all = self.peer.capabilities(self.revision());
        if let (Value::Object(all), false) = (&mut all, call.extensions.is_empty()) {
            let extensions = call.extensions.iter().map(|name| ((*name).to_owned(), Value::Object(Map::new())));
            all.insert("extensions".into(), Value::Object(extensions.collect()));
        }
        all
    }

    fn headers(&self, call: &Call) -> Vec<(String, String)> {
        let mut all = vec![
            ("MCP-Protocol-Version".to_owned(), self.revision().as_str().to_owned()),
            ("Mcp-Method".to_owned(), call.method.to_owned()),
        ];
        if let Some(name) = &call.name {
            all.push(("Mcp-Name".to_owned(), headers::encode(name)));
        }
        all.extend(call.mirrored.iter().cloned());
        all
    }

    fn in_round(&self, link: &Link, call: &Call, round: &Round) -> Ask {
        let id = link.next_id();
        let http = link.wire().is_http();
        Ask {
            id,
            method: call.method,
            params: Some(self.params(id, call, round)),
            headers: if http { self.headers(call) } else { Vec::new() },
            timeout: self.timeout,
            cancel: if http { Cancel::Close } else { Cancel::Notify },
            questions: call.questions.clone(),
        }
    }

    async fn follow(&self, link: &Link, call: &Call) -> Reply {
        let mut round = Round::default();
        let mut renegotiated = false;
        for _ in 0..=MAX_ROUNDS {
            let reply = link.ask(self.in_round(link, call, &round)).await;
            let result = match reply {
                // The version is offered once more, whatever it was: a server may have restarted (ERA-09).
                Reply::Error(error, _) if is_mutual(&error) && !renegotiated => {
                    renegotiated = true;
                    continue;
                }
                Reply::Result(result) => result,
                other => return other,
            };
            match outcome(&result) {
                Outcome::Complete => return Reply::Result(result),
                // Only where it was declared that it can be followed (EXT-02).
                Outcome::Task if call.extensions.contains(&extension::TASKS) => return Reply::Result(result),
                Outcome::Task => {
                    let what = format!("the server answered {} with a task, which nobody offered", call.method);
                    return Reply::Failed(Failure::new(Class::Protocol, what));
                }
                Outcome::Unknown(kind) => {
                    return Reply::Failed(Failure::new(
                        Class::Protocol,
                        format!("the server answered {} with an unknown resultType '{kind}'", call.method),
                    ));
                }
                Outcome::InputRequired => match self.answer_inputs(link, call, &round, &result).await {
                    Ok(next) => round = next,
                    Err(failure) => return Reply::Failed(failure),
                },
            }
        }
        Reply::Failed(self.peer.questions(call.questions.as_ref()).endless())
    }

    /// Collects the answers to everything an `input_required` result asks for (`MRT-01`).
    async fn answer_inputs(&self, link: &Link, call: &Call, before: &Round, result: &Raw) -> Result<Round, Failure> {
        let broken = |what: &str| Failure::new(Class::Protocol, format!("the server's request for input {what}"));
        if ![method::TOOLS_CALL, method::PROMPTS_GET, method::RESOURCES_READ].contains(&call.method) {
            return Err(broken(&format!("came for {}, which may not ask for any", call.method)));
        }
        let members = members(result).unwrap_or_default();
        let find =
            |name: &str| members.iter().find(|(key, raw)| key == name && raw.get() != "null").map(|(_, raw)| *raw);
        let state = find("requestState").map(ToOwned::to_owned);
        let requests = match find("inputRequests").map(|raw| parse_value(raw.get())) {
            None => Map::new(),
            Some(Some(Value::Object(requests))) => requests,
            Some(_) => return Err(broken("has inputRequests that are no object")),
        };
        if requests.is_empty() {
            if state.is_none() {
                return Err(broken("has neither inputRequests nor requestState"));
            }
            link.sleep(STATE_PAUSE).await?;
            return Ok(Round { responses: None, state });
        }
        let questions = self.peer.questions(call.questions.as_ref());
        let mut responses = Map::new();
        for (key, request) in requests {
            // One who said no is not asked the same again.
            if before.declined(&key) {
                return Err(questions.insists());
            }
            let name = request.get("method").and_then(Value::as_str).unwrap_or_default();
            let params = request.get("params").unwrap_or(&Value::Null);
            let answer = self.peer.fulfil(name, params, questions).await.map_err(Refusal::failure)?;
            responses.insert(key, answer);
        }
        Ok(Round { responses: Some(responses), state })
    }
}

/// What a retry carries beyond the request itself.
#[derive(Default)]
struct Round {
    responses: Option<Map<String, Value>>,
    state: Option<Raw>,
}

impl Round {
    /// Whether the question of this key was answered by a no.
    fn declined(&self, key: &str) -> bool {
        let answer = self.responses.as_ref().and_then(|responses| responses.get(key)?.get("action")?.as_str());
        matches!(answer, Some("decline" | "cancel"))
    }
}

fn push_member(text: &mut String, name: &str, value: &str) {
    if text.len() > 1 {
        text.push(',');
    }
    text.push_str(&Value::String(name.to_owned()).to_string());
    text.push(':');
    text.push_str(value);
}

/// Whether an unsupported-version error lists a modern revision that mcpipe speaks.
pub(super) fn is_mutual(error: &RpcError) -> bool {
    error.code == code::UNSUPPORTED_VERSION
        && supported(&error.data_value()).iter().any(|revision| revision.is_modern())
}

/// The revisions named in `data.supported` of an error, or `supportedVersions` of a `DiscoverResult`.
#[must_use]
pub fn supported(data: &Value) -> Vec<Revision> {
    let list = data.get("supported").or_else(|| data.get("supportedVersions")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|name| Revision::parse(name.as_str()?)).collect()
}

impl Era for Modern {
    fn revision(&self) -> Revision {
        Revision::LATEST_MODERN
    }

    fn server(&self) -> ServerInfo {
        self.server.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn worded(&self, link: &Link, call: &Call) -> Ask {
        self.in_round(link, call, &Round::default())
    }

    fn request<'a>(&'a self, link: &'a Link, call: &'a Call) -> Boxed<'a, Reply> {
        Box::pin(async move {
            let reply = self.follow(link, call).await;
            self.peer.finished(call.questions.as_ref());
            reply
        })
    }
}
