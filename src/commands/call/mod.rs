//! `call`: one tool, its arguments typed and checked by its own schema, its result printed.

pub mod batch;
pub mod input_stream;
pub mod output_schema;
pub mod tool_call;
pub mod tool_use;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::task;
use super::tools::ToolCache;
use super::{Context, Exit};
use crate::cli::CallArgs;
use crate::commands::call::tool_call::{CallContext, CallOutcome, RawArguments, ToolCall};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::content;
use crate::output::save::ensure_directory_writable;
use crate::protocol::rpc::parse_value;
use crate::protocol::views::member;
use crate::session::Session;
use crate::session::tasks::Task;
use crate::target::ResolvedTarget;

/// Calls a tool.
///
/// # Errors
/// When it cannot be called; a result with `isError` is printed and ends with exit code 1.
pub async fn run(context: &Context, args: CallArgs) -> Result<Exit> {
    if let Some(source) = &args.batch {
        return batch::run(context, &args, source).await;
    }
    if let Some(source) = &args.tool_use {
        return tool_use::run(context, &args, source).await;
    }
    let words = args.target.iter().chain(&args.tool).chain(&args.args).cloned().collect();
    let ResolvedTarget { target, rest: words } =
        context.resolve_target(words, &args.command, true, &args.target_options).await?;
    let Some((tool, words)) = words.split_first() else {
        return Err(Failure::new(ErrorKind::Usage, "which tool?")
            .server(&target.name)
            .hint(format!("see its tools: {}", target.command_line("list", &[]))));
    };
    let given = RawArguments::parse(&target, tool, words, args.object.as_deref())?;
    if let Some(directory) = args.save.as_deref().filter(|_| !args.dry_run) {
        // A call that was made is not to fail for that: who reads exit code 2 would make it again.
        ensure_directory_writable(directory)?;
    }
    let progress = context.progress(&format!("waiting for {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let catalogue = ToolCache::default();
    let operation = async |session: &Session| {
        let given = if given.is_ambiguous() {
            // Without validation nothing is asked about tools: the form it is.
            let tools = if args.no_validate {
                None
            } else {
                Some(progress.show_during(catalogue.get(context, session)).await?)
            };
            given.resolve(|name| tools.as_ref().is_some_and(|tools| tools.find(name).is_some()))?
        } else {
            given
        };
        let told = |task: &Task| progress.set_message(&task::progress_text(task));
        let way = CallContext { context, session, catalogue: &catalogue, args: &args, target: args.target.as_deref() };
        let call = ToolCall::single(way, &given, &told);
        match progress.show_during(call.run()).await? {
            CallOutcome::DryRun(text) => context.ui.print_json_text(&text).map(|()| Exit::Done),
            CallOutcome::Result(result, misfit) => {
                let shown =
                    ResultOptions { structured_only: args.structured, save: args.save.as_deref(), strict: args.strict };
                print_tool_result(context, session, &result, &shown, misfit)
            }
            CallOutcome::Task(task) => task::print_handle(context, session, &task, &call.task_origin()).await,
        }
    };
    context.with_session(session, operation).await
}

/// How a result is wanted.
pub struct ResultOptions<'a> {
    /// The structured content alone.
    pub structured_only: bool,
    /// Binary content into files in this directory.
    pub save: Option<&'a Path>,
    /// Whether a promise that was not kept is a failure.
    pub strict: bool,
}

/// How long to wait for a task without any news of it: for ever, unless the user says otherwise.
#[must_use]
pub fn task_timeout(context: &Context) -> Option<Duration> {
    context.global.timeout.filter(|time| !time.is_zero())
}

/// Prints the result of a tool; one with `isError` ends with exit code 1.
///
/// # Errors
/// When it cannot be printed, the person declined what the tool needed, or a promise was not kept.
pub fn print_tool_result(
    context: &Context,
    session: &Session,
    result: &RawValue,
    shown: &ResultOptions<'_>,
    misfit: Option<Failure>,
) -> Result<Exit> {
    let ui = &context.ui;
    let failed = member(result, "isError").and_then(|raw| parse_value(raw.get())) == Some(Value::Bool(true));
    if shown.structured_only && !failed {
        ui.print_structured(result)?;
    } else {
        ui.print_tool_result(result, shown.save)?;
    }
    // An answer that could not be given as told, a refusal, a promise that was not kept: whatever came of it.
    let declined = session.take_declined().filter(|_| failed);
    if let Some(reason) = session.take_unanswered().or(declined) {
        return Err(reason.server(&session.target().name));
    }
    match misfit {
        _ if failed && !ui.is_json() && content::is_empty_result(result) => {
            Err(Failure::new(ErrorKind::Failed, "the tool failed and did not say why"))
        }
        _ if failed => Ok(Exit::Reported(ErrorKind::Failed)),
        None => Ok(Exit::Done),
        Some(misfit) if shown.strict => Err(misfit),
        Some(misfit) => {
            ui.warn(&misfit.to_string());
            Ok(Exit::Done)
        }
    }
}
