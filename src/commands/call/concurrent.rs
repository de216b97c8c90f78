//! One call among others over the same session: of a batch, or of a model's reply.

use std::sync::Arc;

use crate::commands::call::tool_call::{CallContext, CallOutcome, RawArguments, ReadyCall, ToolCall};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::is_error_result;
use crate::session::server_requests::ServerRequestLog;

/// How many calls are under way at once without `--jobs`.
pub const DEFAULT_JOBS: u16 = 8;

/// The outcome of one of several concurrent calls.
pub struct FinishedCall {
    /// The server's result.
    pub result: Option<RawJson>,
    /// Whether the tool reported an error in it.
    pub is_error: bool,
    /// Why it failed, also if there is a result.
    pub failure: Option<Failure>,
    /// The request, in a dry run.
    pub request: Option<String>,
}

impl FinishedCall {
    /// A call without a result.
    #[must_use]
    pub fn from_failure(failure: Failure) -> Self {
        FinishedCall { result: None, is_error: false, failure: Some(failure), request: None }
    }

    /// The result of something that was not checked.
    #[must_use]
    pub fn from_result(result: RawJson) -> Self {
        FinishedCall { is_error: is_error_result(&result), result: Some(result), failure: None, request: None }
    }

    /// The request of a dry run.
    #[must_use]
    pub fn from_request(request: String) -> Self {
        FinishedCall { result: None, is_error: false, failure: None, request: Some(request) }
    }

    /// Whether the call failed, or the tool reported an error.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.failure.is_some() || self.is_error
    }
}

/// Runs one of several concurrent calls.
pub async fn run_concurrent_call(way: CallContext<'_>, given: &RawArguments, number: u64) -> FinishedCall {
    run_prepared_call(way, given, None, number).await
}

/// As [`run_concurrent_call`], for a call that may have been prepared ahead.
pub async fn run_prepared_call(
    way: CallContext<'_>,
    given: &RawArguments,
    prepared: Option<Box<ReadyCall>>,
    number: u64,
) -> FinishedCall {
    let questions = Arc::new(ServerRequestLog::default());
    let prepared = prepared.map(|ready| ready.with_server_request_log(&questions));
    let got = ToolCall::concurrent(way, given, &questions, number).run(prepared).await;
    let (finished, misfit) = finish(way, take_failed_question(way, &questions), got);
    misfit.iter().for_each(|misfit| way.context.ui.warn(&misfit.to_string()));
    finished
}

/// The outcome of one of many calls with the same arguments.
pub enum RepeatedCall {
    /// The result is the same as one that was checked before, and has no fault.
    Known,
    /// The outcome, and how the result violates the tool's output schema: with `--strict` that is the failure instead.
    Finished(FinishedCall, Option<Failure>),
}

/// Sends a call that was prepared, as one of several concurrent calls. A result that is equal to `known` is not
/// checked.
pub async fn repeat_call(
    way: CallContext<'_>,
    given: &RawArguments,
    ready: &ReadyCall,
    known: impl Fn(&RawJson) -> bool,
) -> RepeatedCall {
    let questions = Arc::new(ServerRequestLog::default());
    let (call, ready) =
        (ToolCall::concurrent(way, given, &questions, 1), ready.clone().with_server_request_log(&questions));
    let sent = call.send(&ready).await;
    let failed_question = take_failed_question(way, &questions);
    if failed_question.is_none() && sent.as_ref().is_ok_and(known) {
        return RepeatedCall::Known;
    }
    let got = call.complete(&ready, sent).await;
    let (finished, misfit) = finish(way, failed_question.or_else(|| take_failed_question(way, &questions)), got);
    RepeatedCall::Finished(finished, misfit)
}

/// Why a request from the server during a call, or another request, was not answered as configured, if one was not.
pub fn take_failed_question(way: CallContext<'_>, questions: &ServerRequestLog) -> Option<Failure> {
    if let Some(unclear) = way.session.server_requests().take_failure() {
        let unclear = format!("{unclear}; the server did not say which of the running calls it was for");
        way.context.ui.warn(&unclear);
    }
    questions.take_failure()
}

/// The outcome of a call, and how its result violates the tool's output schema: with `--strict` that is the failure
/// instead.
fn finish(
    way: CallContext<'_>,
    failed_question: Option<Failure>,
    got: Result<CallOutcome>,
) -> (FinishedCall, Option<Failure>) {
    let CallContext { session, args, .. } = way;
    let failed = |failure: Failure| (FinishedCall::from_failure(failure), None);
    let (result, shape, misfit) = match got {
        Ok(CallOutcome::Result(result, shape, misfit)) => (result, shape, misfit),
        Ok(CallOutcome::DryRun(request)) => return (FinishedCall::from_request(request), None),
        Ok(CallOutcome::Task(_)) => {
            return failed(Failure::new(ErrorKind::Bug, "one of several concurrent calls was detached"));
        }
        Err(failure) => return failed(failure.server(&session.target().name)),
    };
    let is_error = shape.is_error;
    let failure = failed_question.or_else(|| session.tool_result_failure(shape));
    let (failure, misfit) = if args.strict { (failure.or(misfit), None) } else { (failure, misfit) };
    let failure = failure.map(|failure| failure.server(&session.target().name));
    (FinishedCall { result: Some(result), is_error, failure, request: None }, misfit)
}
