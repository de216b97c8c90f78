//! What servers ask the client during a request, where the eras differ: a legacy server sends a request of its own, a
//! modern one answers with `input_required` (2026-07-28, basic/patterns/mrtr).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::client::Asked;
use super::connection::{ClientRequest, HeldRequest, ServerConnection, ServerRequest};
use super::forward::MAY_ASK;
use super::upstream::Upstream;
use super::wire::{ClientMessage, ParamsEdit, member_text, members_of, parse_line};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::{self, RawJson};
use crate::protocol::{code, method};
use crate::session::era::modern::STATE_RETRY_DELAY;
use crate::session::request::RequestOutcome;
use crate::transport::BoxFuture;
use crate::util::lock::lock;

/// How many times a server may ask for input during one request.
const MAX_ROUNDS: u32 = 32;
/// How long a client may take to answer with its next request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// How many questions may wait for that, and how many bytes of the server's may be kept meanwhile.
const MAX_HELD: (usize, usize) = (64, 8 << 20);
/// The key of the only question in an `input_required` result of ours.
const QUESTION: &str = "question";

impl Upstream {
    /// Asks the client what a modern server needs for `request`, and sends the request again with the answers.
    pub(super) fn answer_questions(self: Arc<Self>, request: ClientRequest, result: RawJson) -> BoxFuture<'static, ()> {
        let canceled = self.keep_cancelable(&request.client_id);
        Box::pin(async move {
            match self.collect_answers(&request, &result, &canceled).await {
                Ok(Some(message)) => {
                    let rounds = request.rounds + 1;
                    self.send_request(ClientRequest { rounds, attempts: 1, ..request }, message).await;
                }
                Err(failure) if self.take_unsent(&request.client_id) => {
                    self.client.send_failure(&request.client_id, &failure).await;
                }
                Ok(None) | Err(_) => {}
            }
        })
    }

    /// The request with the client's answers; `None` if the client canceled it.
    async fn collect_answers(
        &self,
        request: &ClientRequest,
        result: &RawJson,
        canceled: &Notify,
    ) -> Result<Option<ClientMessage>> {
        let broken = |what: &str| Failure::new(ErrorKind::Protocol, format!("the server's request for input {what}"));
        if request.rounds >= MAX_ROUNDS {
            return Err(broken(&format!("came {MAX_ROUNDS} times for one request")));
        }
        let Some(original) = request.kept.as_ref().filter(|_| MAY_ASK.contains(&request.method.as_str())) else {
            return Err(broken(&format!("came for {}, which does not allow such requests", request.method)));
        };
        let present = |text: &&str| *text != "null";
        let state = member_text(result.get(), "requestState").filter(present);
        let requests = member_text(result.get(), "inputRequests").filter(present).unwrap_or("{}");
        let requests_at = members_of(requests).ok_or_else(|| broken("has inputRequests that are not an object"))?;
        if requests_at.is_empty() {
            if state.is_none() {
                return Err(broken("has neither inputRequests nor requestState"));
            }
            tokio::select! {
                () = tokio::time::sleep(STATE_RETRY_DELAY) => {}
                () = canceled.notified() => return Ok(None),
            }
        }
        let mut questions: Vec<(String, String, Option<&RawValue>)> = Vec::new();
        for (key, range) in requests_at {
            let question = &requests[range];
            let name: Option<String> = member_text(question, "method").and_then(|name| serde_json::from_str(name).ok());
            let name = name.ok_or_else(|| broken("names no method"))?;
            if ![method::ELICITATION_CREATE, method::SAMPLING_CREATE_MESSAGE, method::ROOTS_LIST]
                .contains(&name.as_str())
            {
                return Err(broken(&format!("has the method {name}, which is not allowed there")));
            }
            let params: Option<&RawValue> =
                member_text(question, "params").and_then(|params| serde_json::from_str(params).ok());
            questions.push((key, name, params));
        }
        // Only now, so that the client is not asked in vain.
        let mut asked: Vec<(String, Asked)> = Vec::new();
        for (key, name, params) in questions {
            asked.push((key, self.client.ask(&name, params).await));
        }
        let mut responses = Vec::new();
        let mut asked = asked.into_iter();
        while let Some((key, one)) = asked.next() {
            let answer = tokio::select! {
                answer = one.answer => answer.ok(),
                () = canceled.notified() => {
                    self.client.cancel_asked(one.id).await;
                    for (_, other) in asked {
                        self.client.cancel_asked(other.id).await;
                    }
                    return Ok(None);
                }
            };
            let result = answer.as_ref().and_then(|message| message.member("result"));
            let Some(result) = result else {
                let reason = answer.as_ref().and_then(|message| message.member("error")).unwrap_or("no response");
                for (_, other) in asked {
                    self.client.cancel_asked(other.id).await;
                }
                return Err(Failure::new(ErrorKind::Refused, "the client did not answer what the server asked")
                    .cause(reason.to_owned()));
            };
            responses.push(format!("{}:{result}", Value::String(key)));
        }
        let mut edit = ParamsEdit::default();
        if !responses.is_empty() {
            edit.set.push(("inputResponses", format!("{{{}}}", responses.join(","))));
        }
        edit.set.extend(state.map(|state| ("requestState", state.to_owned())));
        let body = original.clone().into_body(None, &edit);
        let parsed = parse_line(body.into_bytes()).ok().and_then(|mut all| all.pop());
        parsed.map(Some).ok_or_else(|| Failure::new(ErrorKind::Bug, "a request with answers cannot be read"))
    }

    /// Lets a modern client answer a request of a legacy server: the client's request ends with `input_required`, and
    /// goes on with the next request that has its state.
    pub(super) async fn hold_question(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        on: Option<u64>,
        question: ServerRequest,
    ) {
        let id = RawValue::from_string(question.id.clone()).unwrap_or_else(|_| RawValue::NULL.to_owned());
        if question.method == method::PING {
            return self.tell(connection, rpc::response(&id, "{}")).await;
        }
        let request_id = match connection.newest_client_request(on, &MAY_ASK) {
            None => Err("the client can be asked only during tools/call, prompts/get and resources/read"),
            Some(request_id) => self.check_room(request_id, &question).map(|()| request_id),
        };
        let request_id = match request_id {
            Ok(request_id) => request_id,
            Err(message) => {
                let body = rpc::error_response(&id, code::INVALID_REQUEST, message);
                return self.tell(connection, body).await;
            }
        };
        if let Some(held) = lock(&self.held).values_mut().find(|held| held.request_id == request_id) {
            return held.further.push_back(question);
        }
        let Some(client_id) = connection.reassign(request_id, String::new()) else { return };
        let state = self.hold(HeldRequest {
            connection: connection.clone(),
            request_id,
            asked: Some(question.id),
            further: VecDeque::new(),
            ended: None,
            since: Instant::now(),
        });
        self.send_question(&client_id, state, &question.method, question.params.as_deref()).await;
    }

    /// Whether there is room for another question. The first one of a request is passed on at once, and not kept.
    fn check_room(&self, request_id: u64, question: &ServerRequest) -> Result<(), &'static str> {
        let (count, bytes) = self.held_size();
        let is_kept = lock(&self.held).values().any(|held| held.request_id == request_id);
        if count >= MAX_HELD.0 {
            Err("too many requests wait for the client's answer")
        } else if is_kept && bytes + question.size() > MAX_HELD.1 {
            Err("the requests that wait for the client's answer are too large")
        } else {
            Ok(())
        }
    }

    /// How many questions are held, and how many bytes of the server's are kept for them.
    fn held_size(&self) -> (usize, usize) {
        let held = lock(&self.held);
        held.values().map(HeldRequest::size).fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    }

    /// Holds a request until the client sends the state that is returned.
    fn hold(self: &Arc<Self>, request: HeldRequest) -> String {
        let state = format!("mcpipe-{}-{}", self.name, self.next_id());
        let mut held = lock(&self.held);
        held.insert(state.clone(), request);
        if !self.drops_held.swap(true, Ordering::Relaxed) {
            drop(tokio::spawn(self.clone().drop_old_questions()));
        }
        state
    }

    async fn send_question(&self, client_id: &str, state: String, name: &str, params: Option<&RawValue>) {
        let params = params.map(|params| format!(r#","params":{}"#, params.get())).unwrap_or_default();
        let result = format!(
            r#"{{"resultType":"input_required","inputRequests":{{"{QUESTION}":{{"method":{}{params}}}}},"requestState":{}}}"#,
            Value::from(name),
            Value::from(state)
        );
        self.client.send_result_text(client_id, result.into()).await;
    }

    /// Continues a request with the client's answer.
    pub(super) async fn resume_question(self: &Arc<Self>, message: &ClientMessage) {
        let state = message.string_param(&["requestState"]).unwrap_or_default();
        let held = lock(&self.held).remove(&state);
        let Some(mut held) = held else {
            let text = "the requestState is unknown: the request that it belongs to has ended";
            return self.client.send_error(message.id(), code::INVALID_PARAMS, text).await;
        };
        let (connection, request_id) = (held.connection.clone(), held.request_id);
        let given = message.param(&["inputResponses", QUESTION]);
        let asked = held.asked.take();
        if let Some((request, outcome)) = held.ended.take() {
            // Over one stream, another request may be what waits for the answers.
            asked.iter().for_each(|id| self.answer_server(&connection, id, given));
            held.further.iter().for_each(|question| self.answer_server(&connection, &question.id, None));
            let request = ClientRequest { client_id: message.id().to_owned(), ..request };
            return self.finish(&connection, request_id, request, outcome).await;
        }
        // Before the answer is sent, since the response or another question may follow at once.
        let next = match held.further.pop_front() {
            Some(next) => {
                let held = HeldRequest { asked: Some(next.id.clone()), since: Instant::now(), ..held };
                Some((self.hold(held), next))
            }
            None if connection.reassign(request_id, message.id().to_owned()).is_some() => None,
            None => {
                asked.iter().for_each(|id| self.answer_server(&connection, id, given));
                let text = "the request has ended meanwhile";
                return self.client.send_error(message.id(), code::INVALID_PARAMS, text).await;
            }
        };
        asked.iter().for_each(|id| self.answer_server(&connection, id, given));
        if let Some((state, next)) = next {
            self.send_question(message.id(), state, &next.method, next.params.as_deref()).await;
        }
    }

    /// Answers a question of the server in the background, with an error if there is no answer. `id` is JSON.
    fn answer_server(self: &Arc<Self>, connection: &Arc<ServerConnection>, id: &str, answer: Option<&str>) {
        let Ok(id) = RawValue::from_string(id.to_owned()) else { return };
        let body = match answer {
            Some(answer) => rpc::response(&id, answer),
            None => rpc::error_response(&id, code::INTERNAL_ERROR, "the client did not answer"),
        };
        let (this, connection) = (self.clone(), connection.clone());
        drop(tokio::spawn(async move {
            if let Err(failure) = connection.send_one_way(body).await {
                this.options.trace.note(&format!("the server did not accept an answer: {failure}"));
            }
        }));
    }

    /// Forgets a question that the server has canceled: it expects no response (basic/utilities/cancellation).
    pub(super) fn cancel_held_question(&self, connection: &Arc<ServerConnection>, id: &str) {
        for held in lock(&self.held).values_mut().filter(|held| Arc::ptr_eq(&held.connection, connection)) {
            held.further.retain(|question| question.id != id);
            held.asked.take_if(|asked| asked == id);
        }
    }

    /// Keeps the end of a request until the client asks for it.
    pub(super) fn keep_outcome(&self, request_id: u64, request: ClientRequest, mut outcome: RequestOutcome) {
        if let RequestOutcome::Result(result) = &outcome
            && self.held_size().1 + result.get().len() > MAX_HELD.1
        {
            let message = "the result came before the client had answered, and is too large to be kept";
            let mut failure = Failure::new(ErrorKind::Protocol, message);
            failure.details_mut().has_response = true;
            outcome = RequestOutcome::Failed(failure);
        }
        if let Some(held) = lock(&self.held).values_mut().find(|held| held.request_id == request_id) {
            held.ended = Some((request, outcome));
        }
    }

    /// Cancels requests whose questions the client has not answered in time, until none is held.
    async fn drop_old_questions(self: Arc<Self>) {
        loop {
            let oldest = {
                let held = lock(&self.held);
                let oldest = held.values().map(|held| held.since).min();
                self.drops_held.store(oldest.is_some(), Ordering::Relaxed);
                oldest
            };
            let Some(oldest) = oldest else { return };
            tokio::time::sleep_until((oldest + ANSWER_TIMEOUT).into()).await;
            let old: Vec<HeldRequest> = {
                let mut held = lock(&self.held);
                held.extract_if(|_, held| held.since.elapsed() >= ANSWER_TIMEOUT).map(|(_, held)| held).collect()
            };
            for held in old {
                for id in held.asked.iter().chain(held.further.iter().map(|question| &question.id)) {
                    self.answer_server(&held.connection, id, None);
                }
                if held.ended.is_some() {
                    continue;
                }
                drop(held.connection.take(held.request_id));
                let params = rpc::cancelled_params(held.request_id, Some("no answer to a question"));
                let body = rpc::notification(method::CANCELLED, Some(&params));
                held.connection.send_cancellation(held.request_id, body).await;
            }
        }
    }
}
