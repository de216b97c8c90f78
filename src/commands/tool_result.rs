//! The result of a tool, printed: of a call, or of a task that was one.

use std::path::Path;

use crate::commands::context::{Context, Exit};
use crate::commands::expect;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::document::JsonDocument;
use crate::output::save::FileNaming;
use crate::output::{Ui, content};
use crate::protocol::json_cursor::find_member;
use crate::protocol::revision::RevisionPin;
use crate::protocol::rpc::RawJson;
use crate::protocol::views::is_error_result;
use crate::session::Session;

/// How to print a result.
#[derive(Default)]
pub struct ResultOptions<'a> {
    /// The structured content alone.
    pub structured_only: bool,
    /// Binary content into files in this directory.
    pub save: Option<&'a Path>,
    /// Everything into this file.
    pub output: Option<&'a Path>,
    /// The maximum size in bytes, and the name of the tool for the file that keeps a longer result.
    pub limit: Option<(u64, &'a str)>,
    /// Whether a mismatch with the output schema is a failure.
    pub strict: bool,
    /// jq expressions that must be true of the result.
    pub expectations: &'a [String],
}

/// Prints the result of a tool, and checks whether the call succeeded and meets what was expected.
///
/// # Errors
/// When it cannot be printed, the tool failed, the user declined the server's request for input, or, if that is strict,
/// the result does not match the output schema; when an expectation is not met; or when the result is malformed, after
/// what of it is good.
pub fn print_and_check_tool_result(
    context: &Context,
    session: &Session,
    result: RawJson,
    shown: &ResultOptions<'_>,
    misfit: Option<Failure>,
) -> Result<Exit> {
    try_print_and_check_tool_result(context, session, result, shown, misfit)?
}

/// As [`print_and_check_tool_result`], but what the printed result means for the exit code is returned apart: the outer
/// failure is that it could not be printed.
///
/// # Errors
/// When it cannot be printed.
pub fn try_print_and_check_tool_result(
    context: &Context,
    session: &Session,
    result: RawJson,
    shown: &ResultOptions<'_>,
    misfit: Option<Failure>,
) -> Result<Result<Exit>> {
    let failure = result_failure(session, &result);
    let has_structured = || find_member(result.get(), "structuredContent").is_some_and(|json| json != "null");
    let structured_only = shown.structured_only && (failure.is_none() || has_structured());
    let expected = print_and_check_expectations(&context.ui, result, &ResultOptions { structured_only, ..*shown })?;
    let printed = check_printed_result(session, failure);
    Ok(printed.and_then(|()| match misfit {
        Some(misfit) if shown.strict => Err(misfit),
        misfit => {
            misfit.iter().for_each(|misfit| context.ui.warn(&misfit.to_string()));
            expected.map(|()| Exit::Done)
        }
    }))
}

/// Why a call with this result failed: it is malformed, or the tool reported an error.
#[must_use]
pub fn result_failure(session: &Session, result: &RawJson) -> Option<Failure> {
    let reported = || {
        let failure = reported_error(result)?;
        // FastMCP, for tools that ask as in older revisions.
        let asks = matches!(session.target().protocol, RevisionPin::Auto)
            && result.get().contains("server-initiated requests");
        let hint = "the server can ask only in an older revision: add --protocol legacy";
        Some(if asks { failure.hint(hint) } else { failure })
    };
    session.malformed_tool_result(result).or_else(reported)
}

/// The failure of a tool that reported an error.
#[must_use]
pub fn reported_error(result: &RawJson) -> Option<Failure> {
    let message = || match content::is_empty_result(result) {
        true => "the tool failed without a message",
        false => "the tool reported an error",
    };
    is_error_result(result).then(|| Failure::new(ErrorKind::Failed, message()))
}

/// What is reported after a result was printed: a request of the server that was not answered, or else the failure of
/// the call.
///
/// # Errors
/// When there is either.
pub fn check_printed_result(session: &Session, failure: Option<Failure>) -> Result<()> {
    let unanswered = session.server_requests().take_failure();
    match unanswered.map(|failure| failure.server(&session.target().name)).or(failure) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Prints a result, and checks what is expected of it. The result is held only once: the filter and the expectations
/// read the same value, in the memory of its text.
fn print_and_check_expectations(ui: &Ui, result: RawJson, shown: &ResultOptions<'_>) -> Result<Result<()>> {
    if shown.expectations.is_empty() {
        return print(ui, result.into(), shown).map(Ok);
    }
    if ui.has_filter() && !shown.structured_only && shown.save.is_none() {
        let mut document = JsonDocument::from(result);
        let expected = expect::check_options(shown.expectations, &mut document);
        return print(ui, document, shown).map(|()| expected);
    }
    print(ui, JsonDocument::from(&*result), shown)?;
    Ok(expect::check_options(shown.expectations, &mut result.into()))
}

fn print(ui: &Ui, result: JsonDocument<'_>, shown: &ResultOptions<'_>) -> Result<()> {
    let naming = FileNaming { name: shown.limit.map(|limit| limit.1), ..FileNaming::default() };
    match shown.output {
        Some(file) => ui.write_tool_result_to(result, file, shown.structured_only),
        None => ui.print_limited(shown.limit.map(|limit| limit.0), naming, || match shown.structured_only {
            true => ui.print_structured(result),
            false => ui.print_tool_result(result, shown.save),
        }),
    }
}
