//! The stateless era (2026-07-28): every request identifies the client, in `_meta` and in headers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{ErrorKind, Failure};
use crate::protocol::json::{JsonText, MAX_DEPTH, members, parse_value};
use crate::protocol::json_cursor::find_member;
use crate::protocol::json_string::encode_value;
use crate::protocol::revision::{Revision, supported_revisions};
use crate::protocol::rpc::{RawJson, RpcError};
use crate::protocol::views::ServerInfo;
use crate::protocol::{code, extension, headers, meta, method};
use crate::session::client_handler::ClientHandler;
use crate::session::era::{Era, client_info, request_meta};
use crate::session::failure::retry_advice;
use crate::session::input_requests::{InputError, InputRounds};
use crate::session::operation::{InputRound, Operation, push_member, push_name};
use crate::session::request::{CancelMode, OutgoingRequest, RequestOutcome};
use crate::session::rpc_client::RpcClient;
use crate::transport::BoxFuture;
use crate::util::lock::lock;

/// The pause before a retry that contains nothing but the server's own state (`MRT-04`).
pub(crate) const STATE_RETRY_DELAY: Duration = Duration::from_millis(250);

/// The state of a modern connection.
pub struct ModernEra {
    pub(crate) client_handler: Arc<ClientHandler>,
    pub(crate) request_timeout: Option<Duration>,
    server_info: Mutex<ServerInfo>,
    /// The members of `_meta` that identify the client, as JSON, for the extensions that a request declares.
    identity: Mutex<Vec<(&'static [&'static str], Arc<str>)>>,
}

/// The members of `_meta` that identify the client (`ERA-01`, `MSG-14`).
const IDENTITY_MEMBERS: [&str; 4] =
    [meta::PROTOCOL_VERSION, meta::CLIENT_INFO, meta::CLIENT_CAPABILITIES, meta::LOG_LEVEL];

/// The kind of a result, by its `resultType` (`MSG-02`).
enum ResultType {
    Complete,
    InputRequired,
    /// A task (ext-tasks).
    Task,
    Unknown(String),
}

fn result_type(result: &RawJson) -> ResultType {
    let kind = find_member(result.get(), "resultType").filter(|kind| *kind != "null");
    match kind.map(|kind| JsonText::new(kind).map(JsonText::decode).unwrap_or_default()).as_deref() {
        None | Some("complete") => ResultType::Complete,
        Some("input_required") => ResultType::InputRequired,
        Some("task") => ResultType::Task,
        Some(other) => ResultType::Unknown(other.to_owned()),
    }
}

impl ModernEra {
    /// The state of a new connection.
    #[must_use]
    pub fn new(client_handler: Arc<ClientHandler>, timeout: Option<Duration>, server: ServerInfo) -> Self {
        ModernEra {
            client_handler,
            request_timeout: timeout,
            server_info: Mutex::new(server),
            identity: Mutex::default(),
        }
    }

    /// `params` of one request: those of the call, the answers to input requests, `_meta` (`ERA-01`, `ERA-02`).
    fn encode_params(&self, id: u64, operation: &Operation, round: &InputRound) -> String {
        let members = operation.params.unclosed_object_text();
        let mut text = String::with_capacity(members.len() + 320);
        text.push_str(members);
        if let Some(responses) = &round.input_responses {
            push_member(&mut text, "inputResponses", &Value::Object(responses.clone()).to_string());
        }
        if let Some(state) = &round.request_state {
            // Returned exactly as the server sent it (MRT-02).
            push_member(&mut text, "requestState", state.get());
        }
        push_name(&mut text, "_meta");
        self.push_meta(&mut text, id, operation);
        text.push('}');
        text
    }

    /// Adds the value of `_meta` of one request.
    fn push_meta(&self, text: &mut String, id: u64, operation: &Operation) {
        text.push('{');
        if self.client_handler.request_meta().is_empty() && operation.params.meta().is_none() {
            // The usual case: no members but those of every request.
            if operation.wants_progress {
                push_member(text, meta::PROGRESS_TOKEN, &id.to_string());
            }
        } else {
            let mut all = request_meta(&self.client_handler, id, operation);
            let is_identified = IDENTITY_MEMBERS.iter().any(|name| all.contains_key(*name));
            if is_identified {
                // What the request itself says, in `mcpipe request`, takes precedence.
                for (name, value) in self.identity_members(operation) {
                    all.entry(name).or_insert(value);
                }
            }
            all.iter().for_each(|(name, value)| push_member(text, name, &encode_value(value)));
            if is_identified {
                return text.push('}');
            }
        }
        if !text.ends_with('{') {
            text.push(',');
        }
        text.push_str(&self.identity_text(operation));
        text.push('}');
    }

    /// The members of `_meta` that identify the client.
    fn identity_members(&self, operation: &Operation) -> Map<String, Value> {
        let values = [
            Some(self.revision().as_str().into()),
            Some(client_info()),
            Some(self.declared_capabilities(operation)),
            // Without it a server sends no logs (MSG-14).
            self.client_handler.log_level().map(Value::from),
        ];
        IDENTITY_MEMBERS.into_iter().zip(values).filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// The same as JSON, without braces. All requests that declare the same extensions share it.
    fn identity_text(&self, operation: &Operation) -> Arc<str> {
        let mut known = lock(&self.identity);
        if let Some((_, text)) = known.iter().find(|(extensions, _)| *extensions == operation.extensions) {
            return text.clone();
        }
        let object = Value::Object(self.identity_members(operation)).to_string();
        let text: Arc<str> = object[1..object.len() - 1].into();
        known.push((operation.extensions, text.clone()));
        text
    }

    /// The client's capabilities, and the extensions that this request supports (`EXT-01`).
    fn declared_capabilities(&self, operation: &Operation) -> Value {
        let mut all = self.client_handler.declared_capabilities(self.revision());
        if let (Value::Object(all), false) = (&mut all, operation.extensions.is_empty()) {
            let extensions = operation.extensions.iter().map(|name| ((*name).to_owned(), Value::Object(Map::new())));
            all.insert("extensions".into(), Value::Object(extensions.collect()));
        }
        all
    }

    fn request_headers(&self, operation: &Operation) -> Vec<(String, String)> {
        let mut all = vec![
            ("MCP-Protocol-Version".to_owned(), self.revision().as_str().to_owned()),
            ("Mcp-Method".to_owned(), operation.method.to_owned()),
        ];
        if let Some(name) = &operation.mcp_name {
            all.push(("Mcp-Name".to_owned(), headers::encode_value(name)));
        }
        all.extend(operation.param_headers.iter().cloned());
        all
    }

    fn encode_round(&self, rpc: &RpcClient, operation: &Operation, round: &InputRound) -> OutgoingRequest {
        let id = rpc.next_id();
        let http = rpc.transport_kind().is_http();
        OutgoingRequest {
            id,
            method: operation.method,
            params: Some(self.encode_params(id, operation, round)),
            headers: if http { self.request_headers(operation) } else { Vec::new() },
            timeout: self.request_timeout,
            cancel_mode: if http { CancelMode::CloseStream } else { CancelMode::SendNotification },
            server_requests: operation.server_requests.clone(),
        }
    }

    async fn run_rounds(&self, rpc: &RpcClient, operation: &Operation) -> RequestOutcome {
        let mut round = operation.refused_round.take();
        let mut rounds = InputRounds::default();
        let mut renegotiated = false;
        loop {
            let reply = rpc.request(self.encode_round(rpc, operation, &round)).await;
            let result = match reply {
                // The version is sent again even if it was refused: the server may have been restarted (ERA-09).
                RequestOutcome::Error(error, _) if offers_modern_revision(&error) && !renegotiated => {
                    renegotiated = true;
                    continue;
                }
                RequestOutcome::Result(result) => result,
                other => {
                    // Another attempt sends only this round again: the server has processed those before it.
                    if retry_advice(&other).is_some_and(|advice| advice.is_unprocessed) {
                        operation.refused_round.keep(round);
                    }
                    return other;
                }
            };
            match result_type(&result) {
                ResultType::Complete => return RequestOutcome::Result(result),
                // Only if the request declared that it supports tasks (EXT-02).
                ResultType::Task if operation.extensions.contains(&extension::TASKS) => {
                    return RequestOutcome::Result(result);
                }
                ResultType::Task => {
                    let what = format!(
                        "the server answered {} with a task, although mcpipe did not offer that",
                        operation.method
                    );
                    return RequestOutcome::Failed(Failure::new(ErrorKind::Protocol, what));
                }
                ResultType::Unknown(kind) => {
                    return RequestOutcome::Failed(Failure::new(
                        ErrorKind::Protocol,
                        format!("the server answered {} with an unknown resultType '{kind}'", operation.method),
                    ));
                }
                ResultType::InputRequired => {
                    match self.answer_input_requests(rpc, operation, &round, &mut rounds, &result).await {
                        Ok(next) => round = next,
                        Err(failure) => return RequestOutcome::Failed(failure),
                    }
                }
            }
        }
    }

    /// Answers all requests of an `input_required` result (`MRT-01`).
    async fn answer_input_requests(
        &self,
        rpc: &RpcClient,
        operation: &Operation,
        before: &InputRound,
        rounds: &mut InputRounds,
        result: &RawJson,
    ) -> Result<InputRound, Failure> {
        let broken = |what: &str| Failure::new(ErrorKind::Protocol, format!("the server's request for input {what}"));
        if ![method::TOOLS_CALL, method::PROMPTS_GET, method::RESOURCES_READ].contains(&operation.method) {
            return Err(broken(&format!("came for {}, which does not allow such requests", operation.method)));
        }
        let members = members(result).unwrap_or_default();
        let find =
            |name: &str| members.iter().find(|(key, raw)| key == name && raw.get() != "null").map(|(_, raw)| *raw);
        let state = find("requestState").map(ToOwned::to_owned);
        let requests = match find("inputRequests").map(|raw| parse_value(raw.get())) {
            None => Map::new(),
            Some(Some(Value::Object(requests))) => requests,
            Some(Some(_)) => return Err(broken("has inputRequests that are not an object")),
            Some(None) => return Err(broken(&format!("is nested more than {MAX_DEPTH} levels deep"))),
        };
        if requests.is_empty() && state.is_none() {
            return Err(broken("has neither inputRequests nor requestState"));
        }
        let questions = self.client_handler.request_log(operation.server_requests.as_ref());
        rounds.count(requests.values(), &self.client_handler, questions)?;
        // Over several rounds, only these are limited.
        questions.reset_sampling();
        if requests.is_empty() {
            rpc.sleep(STATE_RETRY_DELAY).await?;
            return Ok(InputRound { input_responses: None, request_state: state });
        }
        let mut responses = Map::new();
        for (key, request) in requests {
            // A declined request is not shown again.
            if was_declined(before, &key) {
                return Err(questions.asked_again_failure());
            }
            let name = request.get("method").and_then(Value::as_str).unwrap_or_default();
            let params = request.get("params").unwrap_or(&Value::Null);
            let answer = self
                .client_handler
                .handle_server_request(name, params, questions)
                .await
                .map_err(InputError::into_failure)?;
            responses.insert(key, answer);
        }
        Ok(InputRound { input_responses: Some(responses), request_state: state })
    }
}

/// Whether the request with this key was declined in a round.
fn was_declined(round: &InputRound, key: &str) -> bool {
    let answer = round.input_responses.as_ref().and_then(|responses| responses.get(key)?.get("action")?.as_str());
    matches!(answer, Some("decline" | "cancel"))
}

/// Whether an unsupported-version error lists a modern revision that mcpipe speaks.
pub(crate) fn offers_modern_revision(error: &RpcError) -> bool {
    error.code == Some(code::UNSUPPORTED_VERSION)
        && supported_revisions(&error.data_value()).iter().any(|revision| revision.is_modern())
}

impl Era for ModernEra {
    fn revision(&self) -> Revision {
        Revision::LATEST_MODERN
    }

    fn server_info(&self) -> ServerInfo {
        lock(&self.server_info).clone()
    }

    fn encode_request(&self, rpc: &RpcClient, operation: &Operation) -> OutgoingRequest {
        self.encode_round(rpc, operation, &InputRound::default())
    }

    fn request<'a>(&'a self, rpc: &'a RpcClient, call: &'a Operation) -> BoxFuture<'a, RequestOutcome> {
        Box::pin(async move {
            let reply = self.run_rounds(rpc, call).await;
            self.client_handler.reset_sampling(call.server_requests.as_ref());
            reply
        })
    }
}
