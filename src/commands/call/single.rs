//! One call: from the words of the command line to the printed result.

use serde_json::value::RawValue;

use crate::cli::CallArgs;
use crate::commands::call::repeat;
use crate::commands::call::tool_call::{CallContext, CallOutcome, RawArguments, ToolCall};
use crate::commands::context::{Context, Exit};
use crate::commands::expect;
use crate::commands::task_handles::{self, TaskHandle, TaskOrigin};
use crate::commands::tool_result::{ResultOptions, print_and_check_tool_result};
use crate::commands::tools::{ToolCache, is_read_only};
use crate::commands::usage_errors::separate_lock_file_failure;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::content;
use crate::output::save::{ensure_directory_writable, ensure_file_writable, format_name_warning, refuse_dash};
use crate::session::Session;
use crate::session::tasks::Task;
use crate::transport::Endpoint;
use crate::util::quoting::quote_without_secrets;

/// Calls one tool.
///
/// # Errors
/// When it cannot be called; a result with `isError` is printed and ends with exit code 1.
pub async fn run(context: &Context, args: &CallArgs) -> Result<Exit> {
    args.expect.iter().try_for_each(|expression| expect::check_option(expression))?;
    context.redact_variables_of(args.expect.iter().map(String::as_str));
    let words = args.target.iter().chain(&args.tool).chain(&args.args);
    let (target, words) = context.resolve_target(words, &args.command, true, &args.target_options).await?;
    // To be shown with another option, at a terminal only.
    let typed = context.ui.terminal().stdout_is_tty.then(|| words.clone());
    let mut words = words.into_iter();
    let Some(tool) = words.next() else {
        return Err(Failure::new(ErrorKind::Usage, "no tool given")
            .server(&target.name)
            .hint(format!("list its tools: {}", target.command_line("list", &[]))));
    };
    let words: Vec<String> = words.collect();
    if let Some(failure) = args.locked.as_ref().and_then(|_| separate_lock_file_failure(&words, std::env::args_os())) {
        return Err(failure);
    }
    let raw_arguments = RawArguments::parse(&target, tool, words, args.object.clone())?;
    args.html.as_deref().map_or(Ok(()), |path| refuse_dash(path, "file", "--html FILE"))?;
    if let Some(directory) = args.save.as_deref().filter(|_| !args.dry_run) {
        // Checked before the call: a usage error after it would make scripts call again.
        ensure_directory_writable(directory)?;
    }
    let progress = context.show_waiting_for(&target.name);
    let session = match args.repeat {
        Some(_) => context.session_for_concurrent_calls(target, false)?,
        None => context.session(target, Some(progress.clone()))?,
    };
    args.output_file().map_or(Ok(()), ensure_file_writable)?;
    args.output_file().and_then(format_name_warning).iter().for_each(|warning| context.ui.warn(warning));
    if args.detach && matches!(session.target().endpoint, Endpoint::Stdio(_)) && !session.is_kept_by_keeper() {
        let name = &session.target().name;
        let start = session.target().command_line("session start", &[]);
        return Err(Failure::new(ErrorKind::Usage, "--detach needs a server that keeps running")
            .server(name)
            .cause(format!("mcpipe starts '{name}' for this command and stops it at the end, and the task with it"))
            .hint(format!("omit --detach, or keep the server running: {start}")));
    }
    let tool_cache = ToolCache::default();
    raw_arguments.require_allowed_name(session.target())?;
    let operation = async |session: &Session| {
        let raw_arguments = if raw_arguments.is_ambiguous() {
            // Without validation tools are not listed: it is taken as a call form.
            let tools = if args.no_validate {
                None
            } else {
                Some(progress.show_during(tool_cache.get(context, session)).await?)
            };
            raw_arguments.resolve(|name| tools.as_ref().is_some_and(|tools| tools.find(name).is_some()))?
        } else {
            raw_arguments
        };
        if let Some(count) = args.repeat {
            let on_progress = |done: usize| progress.update(done as f64, Some(f64::from(count)), None);
            let repeated = Box::pin(repeat::run(context, args, session, &raw_arguments, on_progress));
            return progress.show_during(repeated).await;
        }
        let on_update = |task: &Task| progress.set_message(&task_handles::progress_text(task));
        let call_context =
            CallContext { context, session, tool_cache: &tool_cache, args, target: args.target.as_deref() };
        let call = ToolCall::single(call_context, &raw_arguments, &on_update);
        match progress.show_during(call.run(None)).await? {
            CallOutcome::DryRun(text) => context.ui.print_json_text(&text).map(|()| Exit::Done),
            CallOutcome::Result(result, _, misfit) => {
                let shown = ResultOptions {
                    structured_only: args.structured,
                    save: args.save.as_deref(),
                    output: args.output_file(),
                    limit: args.max_bytes.map(|limit| (limit, raw_arguments.tool.as_str())),
                    strict: args.strict,
                    expectations: &args.expect,
                };
                let typed = typed.as_deref().filter(|_| content::has_binary(&result)).unwrap_or_default();
                let printed = print_and_check_tool_result(context, session, result, &shown, misfit);
                suggest_saving(call_context, &raw_arguments.tool, typed).await;
                printed
            }
            CallOutcome::Task(task) => print_handle(context, session, &task, &call.task_origin()).await,
        }
    };
    Box::pin(context.with_session(session, operation)).await
}

/// The command that also saves the binary content, of which a terminal shows only a line. It calls the tool again, so
/// only a tool that declares itself read-only gets it.
async fn suggest_saving(call_context: CallContext<'_>, tool: &str, typed: &[String]) {
    let CallContext { context, session, tool_cache, args, .. } = call_context;
    let is_shown = !(context.ui.is_json() || args.structured || args.save.is_some() || args.output.is_some());
    // What was read from standard input is gone.
    let is_repeatable = args.object.as_deref() != Some("-") && !typed.iter().any(|word| word.ends_with("=@-"));
    if typed.is_empty() || !is_shown || !is_repeatable || !tool_cache.is_loaded() {
        return;
    }
    let tools = tool_cache.get(context, session).await;
    if !tools.is_ok_and(|tools| tools.find(tool).is_some_and(|tool| is_read_only(tool))) {
        return;
    }
    let object = args.object.as_deref().map(|object| ["--args", object]);
    let words: Vec<&str> =
        typed.iter().map(String::as_str).chain(object.into_iter().flatten()).chain(["--save", "."]).collect();
    let words = quote_without_secrets(&words);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    context.ui.suggest_next(&session.target().command_line("call", &words));
}

/// Prints the handle of a call that continues as a task.
async fn print_handle(context: &Context, session: &Session, task: &Task, place: &TaskOrigin<'_>) -> Result<Exit> {
    let handle = TaskHandle::new(task, session.target(), place, context.env.cwd(), None);
    if session.ends_with_connection().await {
        context.ui.warn("the task may end with the connection, which is closed now");
    }
    if context.ui.is_json() {
        let task: &RawValue = &task.raw;
        let mut text = handle.json().to_string();
        text.truncate(text.len() - 1);
        context.ui.print_json_text(format!(r#"{text},"task":{}}}"#, task.get()))?;
    } else {
        context.ui.print_line(&task.id)?;
        let wait = task_handles::wait_command(context, session.target(), &task.id);
        context.ui.note(&format!("to get its result: {wait}"));
    }
    Ok(Exit::Done)
}
