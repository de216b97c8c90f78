//! Answers the requests from a server in both eras: roots, elicitation, sampling.
//!
//! Requests are checked here; the answers come from [`ElicitationResponder`] and [`SamplingHandler`]. The number of
//! requests is limited.

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::browser;
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::json::{MAX_DEPTH, parse_value};
use crate::protocol::rpc::{self, RpcError};
use crate::protocol::{code, method};
use crate::session::client_handler::{
    ClientCapability, ClientHandler, ElicitationAnswer, ElicitationResponder, SamplingHandler, UrlElicitation,
};
use crate::session::server_requests::{MAX_INPUT_ROUNDS, ServerRequestLog};
use crate::transport::BoxFuture;
use crate::util::busy_guard::BusyGuard;
use crate::util::lock::lock;

/// Why a server request was not answered.
#[derive(Debug)]
pub enum InputError {
    /// The capability was not declared or the request is malformed; the protocol defines an error for it.
    Rejected {
        /// The error's code.
        code: i64,
        /// The error's message.
        message: String,
        /// The failure for the user.
        failure: Failure,
    },
    /// It cannot be answered in the way the user chose, or the user interrupted it.
    Unanswered(Failure),
    /// The server sent too many requests.
    TooManyRequests(Failure),
}

impl From<Failure> for InputError {
    fn from(failure: Failure) -> Self {
        InputError::Unanswered(failure)
    }
}

impl InputError {
    /// The failure for the user.
    #[must_use]
    pub fn into_failure(self) -> Failure {
        match self {
            InputError::Rejected { failure, .. }
            | InputError::Unanswered(failure)
            | InputError::TooManyRequests(failure) => failure,
        }
    }
}

/// The rounds of input requests that one request of ours, or its task, has led to in the modern era.
#[derive(Default)]
pub(super) struct InputRounds(usize);

impl InputRounds {
    /// Counts a round with these requests, unless a person answers one of them.
    ///
    /// # Errors
    /// If it exceeds the limit (`MRT-04`).
    pub(super) fn count<'a>(
        &mut self,
        mut requests: impl Iterator<Item = &'a Value>,
        handler: &ClientHandler,
        questions: &ServerRequestLog,
    ) -> Result<()> {
        if requests.any(|request| request["method"].as_str().is_some_and(|name| handler.asks_person(name))) {
            return Ok(());
        }
        self.0 += 1;
        if self.0 > MAX_INPUT_ROUNDS { Err(questions.too_many_requests()) } else { Ok(()) }
    }
}

/// When the wait for a visited page ends.
enum VisitWait<'a> {
    /// At once: the server is informed that the user agreed and continues (`elicitation/create` in 2025-11-25).
    NotNeeded,
    /// When the user confirms.
    UntilConfirmed,
    /// When the user confirms, or the server reports it complete.
    UntilNotified(&'a Notify),
}

/// A method that was not declared.
fn undeclared_method(name: &str) -> InputError {
    let failure =
        Failure::new(ErrorKind::Refused, format!("the server needs input ({name}), which mcpipe did not offer"));
    let failure = match name {
        method::ELICITATION_CREATE => {
            failure.hint("answer it: run at a terminal, or use --elicit accept or --elicit JSON")
        }
        method::SAMPLING_CREATE_MESSAGE => failure.hint("let a command answer it: --sampling-command CMD"),
        method::ROOTS_LIST => failure.hint("offer a directory: --root DIR"),
        _ => failure,
    };
    InputError::Rejected { code: code::METHOD_NOT_FOUND, message: format!("{name} is not supported"), failure }
}

/// Sampling that was declared only for a list (2026-07-28, client/sampling: a rejection by the user).
fn declined_sampling() -> InputError {
    const REJECTED_BY_USER: i64 = -1;
    let message = "sampling was rejected";
    InputError::Rejected {
        code: REJECTED_BY_USER,
        message: message.to_owned(),
        failure: Failure::new(ErrorKind::Refused, message),
    }
}

/// A malformed request (error kind protocol), or a mode that was not declared.
fn invalid_params(failure: Failure) -> InputError {
    InputError::Rejected { code: code::INVALID_PARAMS, message: failure.to_string(), failure }
}

fn invalid_request(name: &str, what: impl Into<String>) -> InputError {
    invalid_params(Failure::new(ErrorKind::Protocol, format!("the server's {name} request is invalid")).cause(what))
}

/// A request whose parameters could not be read is never accepted.
fn unreadable_params(name: &str) -> InputError {
    invalid_request(name, format!("its params are nested more than {MAX_DEPTH} levels deep"))
}

impl ClientHandler {
    /// Answers one request in either era: the result, or why there is none.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn handle_server_request(
        &self,
        name: &str,
        params: &Value,
        questions: &ServerRequestLog,
    ) -> Result<Value, InputError> {
        let abilities = &self.capabilities;
        if self.waits_for_input(name) && !params.is_object() {
            return Err(invalid_request(name, "its params are not an object"));
        }
        match name {
            method::ROOTS_LIST if abilities.declares(ClientCapability::Roots) => Ok(self.roots_result()),
            method::ELICITATION_CREATE => match &abilities.elicitation {
                Some(inputs) => self.elicit(&**inputs, params, questions).await.map(|answer| answer.to_result()),
                None if abilities.declares(ClientCapability::Elicitation) => Ok(ElicitationAnswer::Cancel.to_result()),
                None => Err(undeclared_method(name)),
            },
            method::SAMPLING_CREATE_MESSAGE => match &abilities.sampling {
                Some(sampler) => self.sample(&**sampler, params, questions).await,
                None if abilities.declares(ClientCapability::Sampling) => Err(declined_sampling()),
                None => Err(undeclared_method(name)),
            },
            other => Err(undeclared_method(other)),
        }
    }

    /// The complete response to a request of a legacy server; `None` if the user interrupted it, since the request
    /// that it belongs to is canceled then. With a failure, no more input is expected. `questions` is the log of our
    /// request that it belongs to.
    pub async fn answer_request(
        &self,
        id: &RawValue,
        name: &str,
        params: Option<&RawValue>,
        questions: &ServerRequestLog,
    ) -> (Option<String>, Option<Failure>) {
        if name == method::PING {
            return (Some(rpc::response(id, "{}")), None);
        }
        let params = match params.map(|raw| parse_value(raw.get())) {
            None => Ok(Value::Null),
            Some(None) if name != method::ROOTS_LIST => Err(unreadable_params(name)),
            Some(params) => Ok(params.unwrap_or_default()),
        };
        let failed = |failure: &Failure| match name {
            method::ELICITATION_CREATE => rpc::response(id, &ElicitationAnswer::Cancel.to_result().to_string()),
            _ => rpc::error_response(id, code::INTERNAL_ERROR, &failure.details().message),
        };
        let answer = match params {
            Ok(_) if self.exceeds_limit(name, questions) => {
                Err(InputError::TooManyRequests(questions.too_many_requests()))
            }
            Ok(params) => self.handle_server_request(name, &params, questions).await,
            Err(rejection) => Err(rejection),
        };
        match answer {
            Ok(result) => (Some(rpc::response(id, &result.to_string())), None),
            Err(InputError::Rejected { code: number, message, failure }) => {
                // The request that needs the input may fail, and only the server would say why.
                let asks = matches!(name, method::ELICITATION_CREATE | method::SAMPLING_CREATE_MESSAGE);
                if asks && number == code::METHOD_NOT_FOUND {
                    self.warn(&failure.with_hint());
                }
                (Some(rpc::error_response(id, number, &message)), None)
            }
            Err(InputError::Unanswered(failure)) => {
                if failure.kind().is_interrupt() {
                    return (None, None);
                }
                let answer = failed(&failure);
                questions.set_unanswered(failure);
                (Some(answer), None)
            }
            Err(InputError::TooManyRequests(failure)) => (Some(failed(&failure)), Some(failure)),
        }
    }

    /// Whether a person answers this request: they see what happens and can stop it.
    pub(super) fn asks_person(&self, name: &str) -> bool {
        name == method::ELICITATION_CREATE
            && self.capabilities.elicitation.as_ref().is_some_and(|inputs| inputs.is_interactive())
    }

    /// Counts an elicitation of a legacy server. In the modern era the rounds are counted.
    fn exceeds_limit(&self, name: &str, questions: &ServerRequestLog) -> bool {
        name == method::ELICITATION_CREATE
            && self.capabilities.elicitation.is_some()
            && questions.count_elicitation()
            && !self.asks_person(name)
    }

    fn roots_result(&self) -> Value {
        let root = |root: &crate::session::client_handler::Root| match &root.name {
            Some(name) => json!({"uri": root.uri, "name": name}),
            None => json!({"uri": root.uri}),
        };
        let roots: Vec<Value> = self.capabilities.roots.iter().map(root).collect();
        json!({ "roots": roots })
    }

    async fn sample(
        &self,
        sampler: &dyn SamplingHandler,
        params: &Value,
        questions: &ServerRequestLog,
    ) -> Result<Value, InputError> {
        if ["tools", "toolChoice"].iter().any(|name| params.get(name).is_some_and(|value| !value.is_null())) {
            // `sampling.tools` is not declared (2025-11-25, client/sampling).
            return Err(invalid_request(method::SAMPLING_CREATE_MESSAGE, "tools for sampling were not offered"));
        }
        if params.get("messages").is_some_and(|messages| !messages.is_array()) {
            return Err(invalid_request(method::SAMPLING_CREATE_MESSAGE, "messages is not a list"));
        }
        if questions.count_sampling() {
            let failure = Failure::new(
                ErrorKind::Protocol,
                format!("the server asked for sampling more than {MAX_INPUT_ROUNDS} times for one request"),
            );
            return Err(InputError::TooManyRequests(failure));
        }
        let _busy = BusyGuard::new(&self.active_inputs);
        Ok(sampler.sample(params).await?)
    }

    async fn elicit(
        &self,
        inputs: &dyn ElicitationResponder,
        params: &Value,
        questions: &ServerRequestLog,
    ) -> Result<ElicitationAnswer, InputError> {
        let text = |key: &str| params.get(key).and_then(Value::as_str);
        // A missing mode means form (ELI-02).
        let mode = params.get("mode").filter(|mode| !mode.is_null()).map_or(Some("form"), Value::as_str);
        let message = text("message").unwrap_or_default();
        let _busy = BusyGuard::new(&self.active_inputs);
        let answer = match mode {
            Some("form") => {
                let nothing = json!({"type": "object", "properties": {}});
                let schema = params.get("requestedSchema").unwrap_or(&nothing);
                let fields = schema.get("properties");
                if !schema.is_object() || fields.is_some_and(|fields| !fields.is_object()) {
                    return Err(invalid_request(
                        method::ELICITATION_CREATE,
                        "requestedSchema is not the schema of an object",
                    ));
                }
                let mut fields = fields.and_then(Value::as_object).into_iter().flatten();
                if let Some((name, _)) = fields.find(|(_, field)| !field.is_object() && !field.is_boolean()) {
                    let why = format!("the schema of its field '{name}' is not a schema");
                    return Err(invalid_request(method::ELICITATION_CREATE, why));
                }
                inputs.answer_form(message, schema).await?
            }
            Some("url") if inputs.is_interactive() => {
                // Without an ID it is the modern era, where the server does not wait.
                let wait =
                    if text("elicitationId").is_some() { VisitWait::NotNeeded } else { VisitWait::UntilConfirmed };
                self.visit_page(inputs, message, text("url").unwrap_or_default(), wait).await?
            }
            Some("url") if self.capabilities.declares_pages() => ElicitationAnswer::Cancel,
            Some("url") => {
                let failure =
                    Failure::new(ErrorKind::Refused, "the server asks you to visit a page, which mcpipe did not offer")
                        .cause(format!("the page: {}", text("url").unwrap_or("none")))
                        .hint("run it at a terminal");
                return Err(invalid_params(failure));
            }
            other => {
                let mode = other.map_or_else(|| "?".to_owned(), ToOwned::to_owned);
                return Err(invalid_request(method::ELICITATION_CREATE, format!("its mode '{mode}' is unknown")));
            }
        };
        match &answer {
            ElicitationAnswer::Decline => questions.set_declined("the server's request for input was declined"),
            ElicitationAnswer::Cancel => questions.set_declined("the server's request for input was canceled"),
            ElicitationAnswer::Accept(_) | ElicitationAnswer::AcceptUrl => {}
        }
        Ok(answer)
    }

    async fn visit_page(
        &self,
        inputs: &dyn ElicitationResponder,
        message: &str,
        url: &str,
        wait: VisitWait<'_>,
    ) -> Result<ElicitationAnswer, InputError> {
        let url = browser::parse_page_url(url).map_err(|why| {
            invalid_request(method::ELICITATION_CREATE, format!("its page '{url}' is not opened: {why}"))
        })?;
        let until: Option<BoxFuture<'_, ()>> = match wait {
            VisitWait::NotNeeded => None,
            VisitWait::UntilConfirmed => Some(Box::pin(std::future::pending())),
            VisitWait::UntilNotified(complete) => Some(Box::pin(complete.notified())),
        };
        Ok(inputs.visit_page(UrlElicitation { message, url, completion: until }).await?)
    }

    /// Shows the user the pages that an error -32042 requires, so that the request can be repeated (2025-11-25,
    /// `ELI-07`).
    ///
    /// # Errors
    /// When no user is available, or the user declines.
    pub async fn visit_required_pages(&self, error: &RpcError) -> Result<()> {
        let data = error.data_value();
        let pages = data.get("elicitations").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |page: &Value, key: &str| page.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let required = |failure: Failure| failure.rpc(error.clone());
        if pages.is_empty() {
            let failure =
                Failure::new(ErrorKind::Protocol, "the server requires you to visit a page first, but names none");
            return Err(required(failure.cause(error.message.clone())));
        }
        let person = self.capabilities.elicitation.as_ref().filter(|inputs| inputs.is_interactive());
        let Some(inputs) = person else {
            let failure = Failure::new(ErrorKind::Refused, "the server requires you to visit a page first");
            let named = |failure: Failure, page: &Value| {
                failure.cause(format!("{}: {}", text(page, "message"), text(page, "url")))
            };
            return Err(required(
                pages.iter().fold(failure, named).hint("visit it, then try again; at a terminal mcpipe waits for that"),
            ));
        };
        // The server may report the second page complete while the user is still at the first.
        let visits: Vec<Arc<Notify>> = pages.iter().map(|_| Arc::default()).collect();
        for (page, visit) in pages.iter().zip(&visits) {
            lock(&self.page_visits).insert(text(page, "elicitationId"), visit.clone());
        }
        let mut outcome = Ok(());
        for (page, visit) in pages.iter().zip(&visits) {
            let wait = VisitWait::UntilNotified(visit);
            let refused =
                Failure::new(ErrorKind::Refused, "the visit to the page that the server requires was declined");
            outcome = match self.visit_page(&**inputs, &text(page, "message"), &text(page, "url"), wait).await {
                Ok(ElicitationAnswer::Accept(_) | ElicitationAnswer::AcceptUrl) => continue,
                Ok(ElicitationAnswer::Decline | ElicitationAnswer::Cancel) => Err(required(refused)),
                Err(refusal) => Err(refusal.into_failure()),
            };
            break;
        }
        for page in &pages {
            lock(&self.page_visits).remove(&text(page, "elicitationId"));
        }
        outcome
    }
}

impl ServerRequestLog {
    /// The failure for a server that repeats a declined request.
    #[must_use]
    pub fn asked_again_failure(&self) -> Failure {
        let declined = || Failure::new(ErrorKind::Refused, "the server's request for input was declined");
        self.take_declined().unwrap_or_else(declined).cause("the server asked again after it was declined")
    }

    /// The failure for a server that sends too many requests.
    #[must_use]
    pub fn too_many_requests(&self) -> Failure {
        let asks = format!("the server asked for input more than {MAX_INPUT_ROUNDS} times for one request");
        match self.take_declined() {
            Some(declined) => declined.cause(asks),
            None => Failure::new(ErrorKind::Protocol, asks).hint("decline its requests: --elicit decline"),
        }
    }
}
