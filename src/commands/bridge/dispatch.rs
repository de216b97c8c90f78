//! From a server to the client: responses, notifications and requests.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::connection::{ClientRequest, Pending, ServerConnection, ServerRequest};
use super::upstream::Upstream;
use super::wire::{ParamsEdit, member_text};
use crate::error::{ErrorKind, Failure};
use crate::protocol::rpc::{self, RawJson, RpcMessage, RpcResponse};
use crate::protocol::{code, method};
use crate::session::failure::failure_from_outcome;
use crate::session::request::RequestOutcome;
use crate::session::request::may_have_run_note;
use crate::transport::{BoxFuture, Certainty, Incoming, IncomingItem, TransportKind};
use crate::util::lock::lock;

/// The memory that a request from a server takes in addition to its text. So small that a client that answers none does
/// not stop the server: those beyond the number that it may have to answer are refused.
const UNANSWERED_OVERHEAD: usize = 2 << 10;

impl Upstream {
    /// Reads what a server sends until the end of the connection. The next message is read when the client has room for
    /// this one.
    pub(super) fn read_messages(
        self: Arc<Self>,
        connection: Arc<ServerConnection>,
        mut incoming: mpsc::Receiver<Incoming>,
    ) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            while let Some(Incoming { request_id: on, item }) = incoming.recv().await {
                match item {
                    IncomingItem::Message(message, status) => {
                        self.take_message(&connection, on, message, status).await;
                    }
                    IncomingItem::EmbeddedResponse(message) => match &message {
                        RpcMessage::Response(RpcResponse { id: Some(id), .. }) if connection.is_pending(*id) => {
                            self.take_message(&connection, on, message, None).await;
                        }
                        _ => {}
                    },
                    IncomingItem::BrokenResponse(broken) => {
                        let text = format!("ignored what the server sent: {}", broken.failure);
                        match broken.id.or(on).filter(|_| broken.certainty != Certainty::Possible) {
                            Some(id) => self.complete(&connection, id, RequestOutcome::Failed(broken.failure)).await,
                            None if self.guard.is_new_warning(&text) => self.warn(&text),
                            None => {}
                        }
                    }
                    IncomingItem::Warning(text) => self.warn(&text),
                    IncomingItem::UnexpectedResponse(response) => {
                        if let Some(on) = on {
                            self.complete(&connection, on, RequestOutcome::UnexpectedResponse(response)).await;
                        }
                    }
                    IncomingItem::Failed(failure) => match on {
                        Some(on) => self.complete(&connection, on, RequestOutcome::Failed(failure)).await,
                        None => {
                            if connection.introduction().is_some() {
                                self.warn(&format!("lost the connection to the server: {failure}"));
                            }
                            self.fail_pending(&connection, &failure).await;
                        }
                    },
                }
            }
        })
    }

    async fn take_message(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        on: Option<u64>,
        message: RpcMessage,
        status: Option<u16>,
    ) {
        match message {
            RpcMessage::Response(response) => self.take_response(connection, on, response, status).await,
            RpcMessage::Notification { method, params } => self.take_notification(connection, &method, params).await,
            RpcMessage::Request { id, method, params } => {
                self.take_request(connection, on, &id, &method, params).await;
            }
        }
    }

    async fn take_response(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        on: Option<u64>,
        response: RpcResponse,
        status: Option<u16>,
    ) {
        let named = response.id.filter(|id| connection.is_pending(*id));
        let id = match (named, on) {
            (Some(id), _) => id,
            // The error of an HTTP layer belongs to the POST that it answers, whatever its ID.
            (None, Some(on)) if response.outcome.is_err() => on,
            (None, Some(on)) => {
                let failure = Failure::new(ErrorKind::Protocol, "the server responded with an unknown ID");
                return self.complete(connection, on, RequestOutcome::Failed(failure)).await;
            }
            (None, None) => match connection.only_pending() {
                Some(only) if response.outcome.is_err() && !response.has_id => only,
                _ => return self.options.trace.note("ignored a response that no request waits for"),
            },
        };
        let outcome = match response.outcome {
            Ok(result) => RequestOutcome::Result(result),
            Err(error) => RequestOutcome::Error(error, status),
        };
        self.complete(connection, id, outcome).await;
    }

    async fn complete(self: &Arc<Self>, connection: &Arc<ServerConnection>, id: u64, outcome: RequestOutcome) {
        match connection.take(id) {
            Some(Pending::Own(sender)) => drop(sender.send(outcome)),
            Some(Pending::Client(request)) => self.finish(connection, id, request, outcome).await,
            None => {}
        }
    }

    /// Answers a request of the client, or sends it again. `request_id` is its ID at the server.
    pub(super) async fn finish(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        request_id: u64,
        request: ClientRequest,
        outcome: RequestOutcome,
    ) {
        if request.client_id.is_empty() {
            return self.keep_outcome(request_id, request, outcome);
        }
        match outcome {
            RequestOutcome::Result(result) => Box::pin(self.finish_with_result(connection, request, result)).await,
            outcome if Self::is_repeatable(connection, &request, &outcome) => {
                self.keep_cancelable(&request.client_id);
                drop(tokio::spawn(self.clone().send_again(connection.clone(), request, outcome)));
            }
            RequestOutcome::Error(error, _) => match &error.raw {
                Some(raw) => self.client.send_error_object(&request.client_id, raw.get().to_owned()).await,
                None => {
                    let code = error.code.unwrap_or(code::INTERNAL_ERROR);
                    self.client.send_error(&request.client_id, code, &error.message).await;
                }
            },
            outcome => {
                let failure = self.request_failure(connection, &request.method, outcome);
                self.client.send_failure(&request.client_id, &failure).await;
            }
        }
    }

    /// The failure of a request without a response; of a call, with the note that it may have run.
    fn request_failure(&self, connection: &ServerConnection, name: &str, outcome: RequestOutcome) -> Failure {
        let failure = failure_from_outcome(outcome, name, &self.target);
        let details = failure.details();
        let is_open = matches!(details.kind, ErrorKind::Unreachable | ErrorKind::Protocol)
            && !details.is_unsent
            && details.connect_step.is_none()
            && !details.retry_advice.is_some_and(|advice| advice.is_unprocessed);
        if name != method::TOOLS_CALL || !is_open {
            return failure;
        }
        let has_ended = connection.transport().kind() == TransportKind::Stdio && connection.closed_reason().is_some();
        let note = may_have_run_note(details, has_ended);
        failure.cause(note)
    }

    async fn finish_with_result(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        request: ClientRequest,
        mut result: RawJson,
    ) {
        let is_client_modern = self.client_introduction.is_modern();
        if connection.is_modern() && !is_client_modern {
            match member_text(result.get(), "resultType") {
                None | Some("null" | r#""complete""#) => {}
                Some(r#""input_required""#) => {
                    drop(tokio::spawn(self.clone().answer_questions(request, result)));
                    return;
                }
                Some(other) => {
                    let message =
                        format!("the server answered with {other}, which the client's protocol revision does not have");
                    let failure = Failure::new(ErrorKind::Protocol, message);
                    return self.client.send_failure(&request.client_id, &failure).await;
                }
            }
        }
        if request.method == method::TOOLS_LIST {
            result = self.filtered_tools(connection, result);
        }
        if !is_client_modern || connection.is_modern() {
            return self.client.send_result(&request.client_id, result).await;
        }
        self.client.send_result_text(&request.client_id, modern_result(&request.method, result)).await;
    }

    /// The result of `tools/list` by the rules for tools.
    pub(super) fn filtered_tools(&self, connection: &ServerConnection, result: RawJson) -> RawJson {
        let has_headers = Self::has_headers(connection);
        if self.guard.needs_tool_definitions(false) {
            // Calls are checked by a list that is not older than what the client was shown.
            self.guard.forget_table();
        }
        if !self.guard.filters(has_headers) {
            return result;
        }
        let (result, failures) = self.guard.filter_list(result, has_headers);
        for failure in failures {
            if self.guard.is_new_warning(&failure.details().message) {
                self.warn(&format!("left out a tool: {failure}"));
            }
        }
        result
    }

    async fn take_notification(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        name: &str,
        params: Option<RawJson>,
    ) {
        let text = |params: &Option<RawJson>, member: &str| -> Option<String> {
            member_text(params.as_ref()?.get(), member).map(ToOwned::to_owned)
        };
        match name {
            method::CANCELLED => {
                let Some(id) = text(&params, "requestId") else { return };
                let asked = lock(&self.asked).remove(&id);
                if let Some(asked) = asked {
                    return self.client.cancel_asked(asked).await;
                }
                if !connection.is_modern() {
                    return self.cancel_held_question(connection, &id);
                }
                // A modern server ends a subscription so (2026-07-28, basic/patterns/cancellation).
                let Ok(request_id) = id.trim_matches('"').parse() else { return };
                match connection.take(request_id) {
                    Some(Pending::Client(request)) => {
                        let params = rpc::cancelled_params(request.client_id, None);
                        self.client.notify(name, RawValue::from_string(params).ok()).await;
                    }
                    Some(Pending::Own(sender)) => drop(sender),
                    None => {}
                }
            }
            method::TOOLS_CHANGED | method::RESOURCES_CHANGED | method::PROMPTS_CHANGED | method::RESOURCE_UPDATED => {
                if name == method::TOOLS_CHANGED {
                    self.guard.forget_table();
                }
                if self.passes_changes(connection) {
                    let params = params.map(|params| self.with_client_subscription(connection, params));
                    return self.client.notify(name, params).await;
                }
                self.report_change(name, params.as_deref()).await;
            }
            method::SUBSCRIPTIONS_ACKNOWLEDGED if !self.passes_changes(connection) => {
                self.take_acknowledgement(connection, params.as_deref()).await;
            }
            _ => {
                let params = params.map(|params| self.with_client_subscription(connection, params));
                self.client.notify(name, params).await;
            }
        }
    }

    async fn take_request(
        self: &Arc<Self>,
        connection: &Arc<ServerConnection>,
        on: Option<u64>,
        id: &RawValue,
        name: &str,
        params: Option<RawJson>,
    ) {
        if connection.is_modern() {
            self.options.trace.note("ignored a request from the server: servers send none in this protocol revision");
            return;
        }
        if self.client_introduction.is_modern() {
            let request = ServerRequest { id: id.get().to_owned(), method: name.to_owned(), params };
            return self.hold_question(connection, on, request).await;
        }
        let size = id.get().len() + name.len() + params.as_ref().map_or(0, |params| params.get().len());
        // After the end of the connection no answer can be sent.
        let Some(permit) = connection.unanswered.permit(size + UNANSWERED_OVERHEAD).await else { return };
        let asked = self.client.ask(name, params.as_deref()).await;
        lock(&self.asked).insert(id.get().to_owned(), asked.id);
        let (this, connection, id) = (self.clone(), connection.clone(), id.to_owned());
        drop(tokio::spawn(async move {
            let body = tokio::select! {
                answer = asked.answer => Some(match answer {
                    Ok(message) => message.into_body(Some(id.get()), &ParamsEdit::default()),
                    Err(_) => rpc::error_response(&id, code::INTERNAL_ERROR, "the client cannot be asked now"),
                }),
                _ = connection.wait_closed() => None,
            };
            {
                let mut open = lock(&this.asked);
                if open.get(id.get()) != Some(&asked.id) {
                    // The server has canceled it, and expects no response (basic/utilities/cancellation), or it has
                    // started again and uses the same ID for another request.
                    return;
                }
                open.remove(id.get());
            }
            match body {
                Some(body) => _ = connection.send_one_way(body).await,
                None => this.client.cancel_asked(asked.id).await,
            }
            drop(permit);
        }));
    }
}

/// A result of a legacy server with what results have in the modern era (2026-07-28, basic/index, "`resultType`", and
/// server/utilities/caching).
pub fn modern_result(name: &str, result: RawJson) -> Cow<'static, str> {
    let mut text = String::from(Box::<str>::from(result));
    if !text.starts_with('{') {
        return text.into();
    }
    let lacks = |member: &str| member_text(&text, member).is_none();
    let mut added = String::from("{");
    if lacks("resultType") {
        added += r#""resultType":"complete","#;
    }
    let is_cacheable = matches!(
        name,
        method::TOOLS_LIST
            | method::RESOURCES_LIST
            | method::TEMPLATES_LIST
            | method::PROMPTS_LIST
            | method::RESOURCES_READ
            | method::DISCOVER
    );
    if is_cacheable && lacks("ttlMs") {
        added += r#""ttlMs":0,"#;
    }
    if is_cacheable && lacks("cacheScope") {
        added += r#""cacheScope":"private","#;
    }
    if text[1..].trim_start().starts_with('}') {
        added.pop();
    }
    text.replace_range(..1, &added);
    text.into()
}
