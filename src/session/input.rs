//! A server's questions answered, whichever way an era asks them: roots, elicitation, sampling.
//!
//! What is asked is checked here; who answers is behind [`Inputs`] and
//! [`Sampler`]. Nothing is answered for ever.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Notify;

use super::peer::{Answer, Inputs, Page, Peer, Sampler, lock};
use super::questions::Questions;
use crate::browser;
use crate::busy::Busy;
use crate::error::{Class, Failure, Result};
use crate::protocol::rpc::RpcError;
use crate::protocol::{code, method};
use crate::transport::Boxed;

/// How often one request may lead to questions before it is given up (`MRT-04`).
pub const MAX_ROUNDS: usize = 10;

/// Why a question got no answer.
#[derive(Debug)]
pub enum Refusal {
    /// It was not offered, or it makes no sense: the protocol has an error for that.
    Unfit {
        /// The error's code.
        code: i64,
        /// The error's message.
        message: String,
        /// The same for the user.
        failure: Failure,
    },
    /// It cannot be answered as the user said, or the user stopped it.
    Unanswered(Failure),
    /// The server asks and asks.
    Endless(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Refusal::Unanswered(failure)
    }
}

impl Refusal {
    /// The failure for the user.
    #[must_use]
    pub fn failure(self) -> Failure {
        match self {
            Refusal::Unfit { failure, .. } | Refusal::Unanswered(failure) | Refusal::Endless(failure) => failure,
        }
    }
}

/// How the server says until when a person is away at a page.
enum Wait<'a> {
    /// It hears that they agreed and goes on by itself (`elicitation/create` in 2025-11-25).
    No,
    /// Until the person says so.
    Person,
    /// The same, or until the server reports it complete.
    Complete(&'a Notify),
}

/// A method that was not declared.
fn not_offered(name: &str) -> Refusal {
    let failure = Failure::new(Class::Refused, format!("the server needs input ({name}), which mcpipe did not offer"));
    let failure = match name {
        method::ELICIT => failure.hint("answer it: run at a terminal, or give --elicit accept or --elicit JSON"),
        method::SAMPLING => failure.hint("let a command answer it: --sampling-command CMD"),
        method::ROOTS_LIST => failure.hint("offer a directory: --root DIR"),
        _ => failure,
    };
    Refusal::Unfit { code: code::METHOD_NOT_FOUND, message: format!("{name} is not supported"), failure }
}

/// A question that is broken (`class` protocol), or in a mode that was not declared.
fn unfit(failure: Failure) -> Refusal {
    Refusal::Unfit { code: code::INVALID_PARAMS, message: failure.to_string(), failure }
}

fn broken(name: &str, what: impl Into<String>) -> Refusal {
    unfit(Failure::new(Class::Protocol, format!("the server's {name} request is invalid")).cause(what))
}

impl Peer {
    /// Fulfils one request for input, by either era's way: the bare result, or why not.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn fulfil(&self, name: &str, params: &Value, questions: &Questions) -> Result<Value, Refusal> {
        let abilities = &self.abilities;
        match name {
            method::ROOTS_LIST if !abilities.roots.is_empty() => Ok(self.roots()),
            method::ELICIT => match &abilities.inputs {
                Some(inputs) => self.elicit(&**inputs, params, questions).await.map(|answer| answer.result()),
                None => Err(not_offered(name)),
            },
            method::SAMPLING => match &abilities.sampler {
                Some(sampler) => self.sample(&**sampler, params, questions).await,
                None => Err(not_offered(name)),
            },
            other => Err(not_offered(other)),
        }
    }

    fn roots(&self) -> Value {
        let root = |root: &super::peer::Root| match &root.name {
            Some(name) => json!({"uri": root.uri, "name": name}),
            None => json!({"uri": root.uri}),
        };
        let roots: Vec<Value> = self.abilities.roots.iter().map(root).collect();
        json!({ "roots": roots })
    }

    async fn sample(&self, sampler: &dyn Sampler, params: &Value, questions: &Questions) -> Result<Value, Refusal> {
        if ["tools", "toolChoice"].iter().any(|name| params.get(name).is_some_and(|value| !value.is_null())) {
            // `sampling.tools` is not declared (2025-11-25, client/sampling).
            return Err(broken(method::SAMPLING, "tools for sampling were not offered"));
        }
        if questions.sample() {
            let failure = Failure::new(
                Class::Protocol,
                format!("the server asked for sampling more than {MAX_ROUNDS} times for one request"),
            );
            return Err(Refusal::Endless(failure));
        }
        let _busy = Busy::new(&self.busy);
        Ok(sampler.sample(params).await?)
    }

    async fn elicit(&self, inputs: &dyn Inputs, params: &Value, questions: &Questions) -> Result<Answer, Refusal> {
        let text = |key: &str| params.get(key).and_then(Value::as_str);
        // A missing mode means form (ELI-02).
        let mode = params.get("mode").filter(|mode| !mode.is_null()).map_or(Some("form"), Value::as_str);
        let message = text("message").unwrap_or_default();
        // A person sees what goes on and can end it; without one somebody must count.
        if questions.ask() && !inputs.person() {
            return Err(Refusal::Endless(questions.endless()));
        }
        let _busy = Busy::new(&self.busy);
        let answer = match mode {
            Some("form") => {
                let nothing = json!({"type": "object", "properties": {}});
                let schema = params.get("requestedSchema").unwrap_or(&nothing);
                let fields = schema.get("properties");
                if !schema.is_object() || fields.is_some_and(|fields| !fields.is_object()) {
                    return Err(broken(method::ELICIT, "requestedSchema is no schema of an object"));
                }
                inputs.form(message, schema).await?
            }
            Some("url") if inputs.person() => {
                // Without an id it is the modern era, in which the server waits for nobody.
                let wait = if text("elicitationId").is_some() { Wait::No } else { Wait::Person };
                self.visit(inputs, message, text("url").unwrap_or_default(), wait).await?
            }
            Some("url") => {
                let failure =
                    Failure::new(Class::Refused, "the server wants a page to be visited, which mcpipe did not offer")
                        .cause(format!("the page: {}", text("url").unwrap_or("none")))
                        .hint("run it at a terminal");
                return Err(unfit(failure));
            }
            other => {
                let mode = other.map_or_else(|| "?".to_owned(), ToOwned::to_owned);
                return Err(broken(method::ELICIT, format!("its mode '{mode}' is unknown")));
            }
        };
        match &answer {
            Answer::Decline => questions.set_declined("the server's request for input was declined"),
            Answer::Cancel => questions.set_declined("the server's request for input was cancelled"),
            Answer::Accept(_) | Answer::Agreed => {}
        }
        Ok(answer)
    }

    async fn visit(&self, inputs: &dyn Inputs, message: &str, url: &str, wait: Wait<'_>) -> Result<Answer, Refusal> {
        let url = browser::page(url)
            .map_err(|why| broken(method::ELICIT, format!("its page '{url}' is not opened: {why}")))?;
        let until: Option<Boxed<'_, ()>> = match wait {
            Wait::No => None,
            Wait::Person => Some(Box::pin(std::future::pending())),
            Wait::Complete(complete) => Some(Box::pin(complete.notified())),
        };
        Ok(inputs.page(Page { message, url, until }).await?)
    }

    /// Leads the person through the pages that an error -32042 asks for, so that the request can be sent
    /// again (2025-11-25, `ELI-07`).
    ///
    /// # Errors
    /// When nobody is there to visit them, or the person does not want to.
    pub async fn visit_all(&self, error: &RpcError) -> Result<()> {
        let data = error.data_value();
        let pages = data.get("elicitations").and_then(Value::as_array).cloned().unwrap_or_default();
        let text = |page: &Value, key: &str| page.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let required = |failure: Failure| failure.rpc(error.clone());
        if pages.is_empty() {
            let failure = Failure::new(Class::Protocol, "the server wants a page to be visited first, and names none");
            return Err(required(failure.cause(error.message.clone())));
        }
        let person = self.abilities.inputs.as_ref().filter(|inputs| inputs.person());
        let Some(inputs) = person else {
            let failure = Failure::new(Class::Refused, "the server wants a page to be visited first");
            let named = |failure: Failure, page: &Value| {
                failure.cause(format!("{}: {}", text(page, "message"), text(page, "url")))
            };
            return Err(required(
                pages.iter().fold(failure, named).hint("visit it, then try again; at a terminal mcpipe waits for that"),
            ));
        };
        // The server may report the second complete while the person is still at the first.
        let visits: Vec<Arc<Notify>> = pages.iter().map(|_| Arc::default()).collect();
        for (page, visit) in pages.iter().zip(&visits) {
            lock(&self.visits).insert(text(page, "elicitationId"), visit.clone());
        }
        let mut outcome = Ok(());
        for (page, visit) in pages.iter().zip(&visits) {
            let wait = Wait::Complete(visit);
            let refused = Failure::new(Class::Refused, "the page that the server needs visited was declined");
            outcome = match self.visit(&**inputs, &text(page, "message"), &text(page, "url"), wait).await {
                Ok(Answer::Accept(_) | Answer::Agreed) => continue,
                Ok(Answer::Decline | Answer::Cancel) => Err(required(refused)),
                Err(refusal) => Err(refusal.failure()),
            };
            break;
        }
        for page in &pages {
            lock(&self.visits).remove(&text(page, "elicitationId"));
        }
        outcome
    }
}

impl Questions {
    /// The failure of a server that asks again what was declined.
    #[must_use]
    pub fn insists(&self) -> Failure {
        let declined = || Failure::new(Class::Refused, "the server's request for input was declined");
        self.declined().unwrap_or_else(declined).cause("the server insists on it")
    }

    /// The failure of a server that asks and asks, whether or not it was declined.
    #[must_use]
    pub fn endless(&self) -> Failure {
        let asks = format!("the server asked for input more than {MAX_ROUNDS} times for one request");
        match self.declined() {
            Some(declined) => declined.cause(asks),
            None => Failure::new(Class::Protocol, asks).hint("decline what it asks for: --elicit decline"),
        }
    }
}
