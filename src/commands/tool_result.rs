//! The result of a tool, printed: of a call, or of a task that was one.

use std::path::Path;

use crate::commands::context::{Context, Exit};
use crate::commands::expect;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::document::JsonDocument;
use crate::output::save::FileNaming;
use crate::output::{Ui, content};
use crate::protocol::json_cursor::find_member;
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

/// Prints the result of a tool.
///
/// # Errors
/// When it cannot be printed, the tool failed, the user declined the server's request for input, or, if that is strict,
/// the result does not match the output schema; when an expectation is not met; or when the result is malformed, after
/// what of it is good.
pub fn print_tool_result(
    context: &Context,
    session: &Session,
    result: RawJson,
    shown: &ResultOptions<'_>,
    misfit: Option<Failure>,
) -> Result<Exit> {
    let failed = is_error_result(&result);
    let is_empty = failed && content::is_empty_result(&result);
    let malformed = session.malformed_tool_result(&result);
    let has_structured = || find_member(result.get(), "structuredContent").is_some_and(|json| json != "null");
    let structured_only = shown.structured_only && (!(failed || malformed.is_some()) || has_structured());
    let expected = print_and_check(&context.ui, result, &ResultOptions { structured_only, ..*shown })?;
    if let Some(reason) = session.take_unanswered().or_else(|| session.take_declined()) {
        return Err(reason.server(&session.target().name));
    }
    if let Some(malformed) = malformed {
        return Err(malformed);
    }
    match misfit {
        _ if is_empty => Err(Failure::new(ErrorKind::Failed, "the tool failed without a message")),
        _ if failed => Err(Failure::new(ErrorKind::Failed, "the tool reported an error")),
        Some(misfit) if shown.strict => Err(misfit),
        misfit => {
            misfit.iter().for_each(|misfit| context.ui.warn(&misfit.to_string()));
            expected.map(|()| Exit::Done)
        }
    }
}

/// Prints a result, and checks what is expected of it. The result is held only once: the filter and the expectations read
/// the same value, in the memory of its text.
fn print_and_check(ui: &Ui, result: RawJson, shown: &ResultOptions<'_>) -> Result<Result<()>> {
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
