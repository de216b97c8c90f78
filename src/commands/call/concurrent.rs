//! One call among others over the same session: of a batch, or of a model's reply.

use std::sync::Arc;

use crate::commands::call::tool_call::{CallContext, CallOutcome, RawArguments, ToolCall};
use crate::error::{ErrorKind, Failure};
use crate::protocol::rpc::RawJson;
use crate::protocol::views::is_error_result;
use crate::session::server_requests::ServerRequestLog;

/// How many calls are under way at once without `--jobs`.
pub const DEFAULT_JOBS: u16 = 8;

/// The outcome of one of several concurrent calls.
pub struct FinishedCall {
    /// The server's result.
    pub result: Option<RawJson>,
    /// Why it failed, also if there is a result.
    pub failure: Option<Failure>,
    /// The request, in a dry run.
    pub request: Option<String>,
}

impl FinishedCall {
    /// A call without a result.
    #[must_use]
    pub fn from_failure(failure: Failure) -> Self {
        FinishedCall { result: None, failure: Some(failure), request: None }
    }

    /// Whether the call failed, or the tool reported an error.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.failure.is_some() || self.result.as_ref().is_some_and(|result| is_error_result(result))
    }
}

/// Runs one of several concurrent calls.
pub async fn run_concurrent_call(way: CallContext<'_>, given: &RawArguments, number: u64) -> FinishedCall {
    let CallContext { context, session, args, .. } = way;
    let questions = Arc::new(ServerRequestLog::default());
    let got = ToolCall::concurrent(way, given, &questions, number).run().await;
    if let Some(unclear) = session.take_unanswered().or_else(|| session.take_declined()) {
        context.ui.warn(&format!("{unclear}; the server did not say which of the running calls it was for"));
    }
    let (result, misfit) = match got {
        Ok(CallOutcome::Result(result, misfit)) => (result, misfit),
        Ok(CallOutcome::DryRun(request)) => {
            return FinishedCall { result: None, failure: None, request: Some(request) };
        }
        Ok(CallOutcome::Task(_)) => {
            return FinishedCall::from_failure(Failure::new(
                ErrorKind::Bug,
                "one of several concurrent calls was detached",
            ));
        }
        Err(failure) => return FinishedCall::from_failure(failure.server(&session.target().name)),
    };
    let failed = is_error_result(&result);
    let asked = questions.take_unanswered().or_else(|| questions.take_declined());
    let mut failure = asked.or_else(|| session.malformed_tool_result(&result));
    match misfit {
        Some(misfit) if !failed && args.strict => failure = failure.or(Some(misfit)),
        Some(misfit) if !failed => context.ui.warn(&misfit.to_string()),
        _ => {}
    }
    let failure = failure.map(|failure| failure.server(&session.target().name));
    FinishedCall { result: Some(result), failure, request: None }
}
