//! The result of a tool, printed: of a call, or of a task that was one.

use std::path::Path;

use serde_json::value::RawValue;

use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::content;
use crate::output::save::FileNaming;
use crate::protocol::json_cursor::find_member;
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
}

/// Prints the result of a tool.
///
/// # Errors
/// When it cannot be printed, the tool failed, the user declined the server's request for input, or, if that is strict,
/// the result does not match the output schema; or when the result is malformed, after what of it is good.
pub fn print_tool_result(
    context: &Context,
    session: &Session,
    result: &RawValue,
    shown: &ResultOptions<'_>,
    misfit: Option<Failure>,
) -> Result<Exit> {
    let ui = &context.ui;
    let failed = is_error_result(result);
    let malformed = session.malformed_tool_result(result);
    let has_structured = || find_member(result.get(), "structuredContent").is_some_and(|json| json != "null");
    let structured_only = shown.structured_only && (!(failed || malformed.is_some()) || has_structured());
    let naming = FileNaming { name: shown.limit.map(|limit| limit.1), ..FileNaming::default() };
    match shown.output {
        Some(file) => ui.write_tool_result_to(result, file, structured_only)?,
        None => ui.print_limited(shown.limit.map(|limit| limit.0), naming, || match structured_only {
            true => ui.print_structured(result),
            false => ui.print_tool_result(result, shown.save),
        })?,
    }
    if let Some(reason) = session.take_unanswered().or_else(|| session.take_declined()) {
        return Err(reason.server(&session.target().name));
    }
    if let Some(malformed) = malformed {
        return Err(malformed);
    }
    match misfit {
        _ if failed && content::is_empty_result(result) => {
            Err(Failure::new(ErrorKind::Failed, "the tool failed without a message"))
        }
        _ if failed => Err(Failure::new(ErrorKind::Failed, "the tool reported an error")),
        None => Ok(Exit::Done),
        Some(misfit) if shown.strict => Err(misfit),
        Some(misfit) => {
            ui.warn(&misfit.to_string());
            Ok(Exit::Done)
        }
    }
}
