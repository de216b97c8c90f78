//! `call`: one tool, its arguments typed and checked by its own schema, its result printed.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use super::calling::{Calling, Given, Got, Way};
use super::task;
use super::tools::Catalogue;
use super::{Context, Exit, batch, tool_use};
use crate::cli::CallArgs;
use crate::error::{Class, Failure, Result};
use crate::output::content;
use crate::output::save::into_directory;
use crate::protocol::rpc::parse_value;
use crate::protocol::views::member;
use crate::session::Session;
use crate::session::tasks::Task;
use crate::target::Resolved;

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
    let Resolved { target, rest: words } = context.target(words, &args.command, true, &args.reach).await?;
    let Some((tool, words)) = words.split_first() else {
        return Err(Failure::new(Class::Usage, "which tool?")
            .server(&target.name)
            .hint(format!("see its tools: {}", target.line("list", &[]))));
    };
    let given = Given::read(&target, tool, words, args.object.as_deref())?;
    if let Some(directory) = args.save.as_deref().filter(|_| !args.dry_run) {
        // A call that was made is not to fail for that: who reads exit code 2 would make it again.
        into_directory(directory)?;
    }
    let progress = context.progress(&format!("waiting for {}", target.name));
    let session = context.session(target, Some(progress.clone()))?;
    let catalogue = Catalogue::default();
    let operation = async |session: &Session| {
        let given = if given.is_in_doubt() {
            // Without validation nothing is asked about tools: the form it is.
            let tools =
                if args.no_validate { None } else { Some(progress.during(catalogue.get(context, session)).await?) };
            given.settled(|name| tools.as_ref().is_some_and(|tools| tools.find(name).is_some()))?
        } else {
            given
        };
        let told = |task: &Task| progress.message(&task::shown(task));
        let way = Way { context, session, catalogue: &catalogue, args: &args, target: args.target.as_deref() };
        let call = Calling::alone(way, &given, &told);
        match progress.during(call.result()).await? {
            Got::Request(text) => context.ui.json_text(&text).map(|()| Exit::Done),
            Got::Result(result, misfit) => {
                let shown = Shown { structured: args.structured, save: args.save.as_deref(), strict: args.strict };
                print(context, session, &result, &shown, misfit)
            }
            Got::Task(task) => task::print_handle(context, session, &task, &call.place()).await,
        }
    };
    context.with(session, operation).await
}

/// How a result is wanted.
pub struct Shown<'a> {
    /// The structured content alone.
    pub structured: bool,
    /// Binary content into files in this directory.
    pub save: Option<&'a Path>,
    /// Whether a promise that was not kept is a failure.
    pub strict: bool,
}

/// How long to wait for a task without any news of it: for ever, unless the user says otherwise.
#[must_use]
pub fn patience(context: &Context) -> Option<Duration> {
    context.global.timeout.filter(|time| !time.is_zero())
}

/// Prints the result of a tool; one with `isError` ends with exit code 1.
///
/// # Errors
/// When it cannot be printed, the person declined what the tool needed, or a promise was not kept.
pub fn print(
    context: &Context,
    session: &Session,
    result: &RawValue,
    shown: &Shown<'_>,
    misfit: Option<Failure>,
) -> Result<Exit> {
    let ui = &context.ui;
    let failed = member(result, "isError").and_then(|raw| parse_value(raw.get())) == Some(Value::Bool(true));
    if shown.structured && !failed {
        ui.structured(result)?;
    } else {
        ui.tool_result(result, shown.save)?;
    }
    // An answer that could not be given as told, a refusal, a promise that was not kept: whatever came of it.
    let declined = session.declined().filter(|_| failed);
    if let Some(reason) = session.unanswered().or(declined) {
        return Err(reason.server(&session.target().name));
    }
    match misfit {
        _ if failed && !ui.json() && content::says_nothing(result) => {
            Err(Failure::new(Class::Failed, "the tool failed and did not say why"))
        }
        _ if failed => Ok(Exit::Said(Class::Failed)),
        None => Ok(Exit::Done),
        Some(misfit) if shown.strict => Err(misfit),
        Some(misfit) => {
            ui.warn(&misfit.to_string());
            Ok(Exit::Done)
        }
    }
}
