//! `task`: manages long-running calls.

use serde_json::{Value, json};

use crate::cli::{TaskArgs, TaskCommand, TaskIdArgs, TaskListArgs, TaskWaitArgs};
use crate::commands::context::{Context, Exit};
use crate::commands::task_handles::{
    TaskHandle, TaskHandles, mark_canceled, mark_result_printed, progress_text, task_timeout, wait_command,
    wait_command_with_target,
};
use crate::commands::tool_result::{ResultOptions, try_print_and_check_tool_result};
use crate::error::{ErrorKind, Failure, Result};
use crate::output::save::ensure_directory_writable;
use crate::output::{Cell, Column, Table};
use crate::protocol::code;
use crate::protocol::rpc::RawJson;
use crate::session::Session;
use crate::session::era::legacy::DetachedSession;
use crate::session::tasks::Task;
use crate::target::Target;
use crate::util::quoting::quote;

/// Runs `task`.
///
/// # Errors
/// When the task is unknown, or the server cannot be queried.
pub async fn run(context: &Context, args: TaskArgs) -> Result<Exit> {
    match args.command {
        TaskCommand::Get(one) => get(context, one).await,
        TaskCommand::Wait(args) => wait(context, args).await,
        TaskCommand::Cancel(one) => cancel(context, one).await,
        TaskCommand::List(args) => list(context, args).await,
    }
}

/// The target and the ID: both as typed, or the target that was saved with the ID; and the session of the task.
async fn resolve_task(
    context: &Context,
    subcommand: &str,
    one: &TaskIdArgs,
) -> Result<(Target, String, Option<DetachedSession>)> {
    let (mut words, mut command) = (one.words.clone(), one.command.clone());
    // No program has such a name.
    if let [id] = &*command
        && id.starts_with('-')
    {
        words.append(&mut command);
    }
    let Some(id) = words.pop() else { return Err(Failure::new(ErrorKind::Usage, "no task ID given")) };
    let mut reach = one.target_options.clone();
    let handles = TaskHandles::open(&context.env);
    let known = handles.find(&id);
    if words.is_empty() && command.is_empty() {
        let unknown = |what: String| {
            Failure::new(ErrorKind::Failed, what)
                .hint(format!("pass the target: mcpipe task {subcommand} TARGET {}", quote(&id)))
        };
        let handle = match known.as_slice() {
            [handle] => handle,
            [] => match handles.end_of(&id, None) {
                Some(end) => {
                    return Err(Failure::new(ErrorKind::Failed, format!("the task '{id}' is over"))
                        .cause(end.description())
                        .hint("list the tasks that can be waited for: mcpipe task list"));
                }
                None => return Err(unknown(format!("unknown task '{id}'"))),
            },
            several => {
                let targets: Vec<&str> = several.iter().map(|handle| handle.name.as_str()).collect();
                return Err(unknown(format!("task '{id}' exists on {}", targets.join(" and "))));
            }
        };
        words.extend(handle.target.clone());
        command.clone_from(&handle.command);
        reach = handle.target_options(reach);
    }
    let (target, rest) = context.resolve_target(&words, &command, false, &reach).await?;
    if let Some(extra) = rest.first() {
        return Err(Failure::new(ErrorKind::Usage, format!("unexpected argument '{extra}' before the task ID")));
    }
    let left = known.iter().find(|handle| handle.name == target.name).and_then(TaskHandle::detached_session);
    Ok((target, id, left))
}

async fn get(context: &Context, one: TaskIdArgs) -> Result<Exit> {
    let (target, id, left) = resolve_task(context, "get", &one).await?;
    let progress = context.progress(&format!("querying {}", target.name));
    let session = context.session(target, Some(progress.clone()))?.resume(left);
    let operation = async |session: &Session| {
        let task = match session.get_task(&id).await {
            Ok(task) => task,
            Err(failure) => return Err(forget_if_unknown(context, session, &id, failure).await),
        };
        session.detach().await;
        if context.ui.is_json() {
            context.ui.print_raw_json(&task.raw)?
        } else {
            context.ui.print_table(&task_table([task_row(&task)]))?
        }
        Ok(Exit::Done)
    };
    progress.show_during(context.with_session(session, operation)).await
}

async fn wait(context: &Context, args: TaskWaitArgs) -> Result<Exit> {
    let (target, id, left) = resolve_task(context, "wait", &args.task).await?;
    // Checked before: the result can be fetched only once.
    args.save.as_deref().map_or(Ok(()), ensure_directory_writable)?;
    let progress = context.show_waiting_for(&target.name);
    let session = context.session(target, Some(progress.clone()))?.resume(left.clone());
    let operation = async |session: &Session| {
        let report = |task: &Task| progress.set_message(&progress_text(task));
        // The first request shows whether the task exists, and how often to poll.
        let result = match session.get_task(&id).await {
            Ok(task) => {
                let result = session.await_task(&id, Some(task), task_timeout(context), &report, None).await;
                if result.is_err() {
                    // The task continues.
                    session.detach().await;
                }
                result
            }
            Err(failure) => Err(forget_if_unknown(context, session, &id, failure).await),
        };
        let result = result.map_err(|failure| with_wait_hint(session, &id, failure))?;
        let options =
            ResultOptions { structured_only: args.structured, save: args.save.as_deref(), ..ResultOptions::default() };
        let printed = try_print_and_check_tool_result(context, session, result, &options, None);
        if printed.is_err() {
            // The result can be fetched again, as long as the session of the task exists.
            session.detach().await;
        } else if left.is_some() {
            // Its session ends now, and with it the task.
            mark_result_printed(context, session, &id);
        }
        printed?
    };
    progress.show_during(context.with_session(session, operation)).await
}

/// The failure, with how to continue to wait after a time-out.
fn with_wait_hint(session: &Session, id: &str, failure: Failure) -> Failure {
    if failure.kind() != ErrorKind::Timeout || failure.details().hint.is_some() {
        return failure;
    }
    let line = wait_command_with_target(session.target(), id);
    failure.hint(format!("the task may still be running; wait again: {line}"))
}

async fn cancel(context: &Context, one: TaskIdArgs) -> Result<Exit> {
    let (target, id, left) = resolve_task(context, "cancel", &one).await?;
    let progress = context.progress(&format!("querying {}", target.name));
    let session = context.session(target, Some(progress.clone()))?.resume(left);
    let operation = async |session: &Session| {
        let answer = match session.cancel_task(&id).await {
            Ok(answer) => answer,
            Err(failure) => return Err(explain_refusal(context, session, &id, failure).await),
        };
        let task = Task::parse(&answer);
        let ended = task.as_ref().filter(|task| task.is_finished() && task.status != "cancelled");
        match ended {
            // Its result is still there.
            Some(_) => drop(session.detach().await),
            None => mark_canceled(context, session, &id),
        }
        if context.ui.is_json() {
            context.ui.print_document(answer.into())?;
        } else if let Some(task) = ended {
            let wait = wait_command(context, session.target(), &id);
            context.ui.note(&format!("{}; to get its result: {wait}", progress_text(task)));
        } else if task.is_some_and(|task| task.status == "cancelled") {
            context.ui.note("the task was canceled");
        } else {
            // The tasks extension does not promise more.
            context.ui.note("the server was asked to stop the task");
        }
        Ok(Exit::Done)
    };
    progress.show_during(context.with_session(session, operation)).await
}

/// Why a task was not canceled. Servers refuse it with the same code if the task is over and if they do not know it.
async fn explain_refusal(context: &Context, session: &Session, id: &str, failure: Failure) -> Failure {
    let task = match failure.has_rpc_code(code::INVALID_PARAMS) {
        true => Some(session.get_task(id).await),
        false => None,
    };
    let task = match task {
        Some(Err(unknown)) if unknown.has_rpc_code(code::INVALID_PARAMS) => {
            return forget_if_unknown(context, session, id, unknown).await;
        }
        other => other,
    };
    // The task and its result may still be there.
    session.detach().await;
    match task {
        Some(Ok(task)) => {
            let failure = failure.cause(progress_text(&task));
            match task.status.as_str() {
                "cancelled" => failure,
                _ => failure.hint(format!("to get its result: {}", wait_command(context, session.target(), id))),
            }
        }
        Some(Err(interrupt)) if interrupt.kind().is_interrupt() => interrupt,
        _ => failure,
    }
}

async fn list(context: &Context, args: TaskListArgs) -> Result<Exit> {
    let handles = TaskHandles::open(&context.env);
    if args.target.is_none() && args.command.is_empty() {
        return print_handles(context, &handles.all());
    }
    let (target, _) = context.resolve_target(&args.target, &args.command, false, &args.target_options).await?;
    let name = target.name.clone();
    let progress = context.progress(&format!("querying {name}"));
    let session = context.session(target, Some(progress.clone()))?;
    let operation = async |session: &Session| match session.list_tasks().await? {
        Some(tasks) => print_tasks(context, &tasks),
        // The server has no list; the tasks that mcpipe started there are known.
        None => {
            print_handles(context, &handles.all().into_iter().filter(|handle| handle.name == name).collect::<Vec<_>>())
        }
    };
    progress.show_during(context.with_session(session, operation)).await
}

fn print_tasks(context: &Context, tasks: &[RawJson]) -> Result<Exit> {
    if context.ui.is_json() {
        let all: Vec<&str> = tasks.iter().map(|task| task.get()).collect();
        context.ui.print_json_text(format!(r#"{{"tasks":[{}]}}"#, all.join(",")))?;
        return Ok(Exit::Done);
    }
    if tasks.is_empty() {
        context.ui.note("no tasks");
    }
    let read = |raw: &RawJson| Task::parse(raw).map(|task| task_row(&task));
    context.ui.print_table(&task_table(tasks.iter().filter_map(read)))?;
    Ok(Exit::Done)
}

fn print_handles(context: &Context, handles: &[TaskHandle]) -> Result<Exit> {
    if context.ui.is_json() {
        let all: Vec<Value> = handles.iter().map(TaskHandle::json).collect();
        context.ui.print_json_value(&json!({ "tasks": all }))?;
        return Ok(Exit::Done);
    }
    if handles.is_empty() {
        context.ui.note("no tasks (mcpipe remembers tasks started with --detach until they are fetched)");
    }
    let mut table = Table::new([
        Column::new("ID").on_one_line(),
        Column::new("TARGET"),
        Column::new("TOOL"),
        Column::new("STARTED"),
    ]);
    for handle in handles {
        table.add_row([
            Cell::new(&*handle.id),
            Cell::new(&*handle.name),
            Cell::new(&*handle.tool),
            Cell::new(handle.started()),
        ]);
    }
    context.ui.print_table(&table)?;
    Ok(Exit::Done)
}

fn task_row(task: &Task) -> [Cell; 3] {
    [Cell::new(&*task.id), Cell::new(&*task.status), Cell::new(task.message.clone().unwrap_or_default())]
}

fn task_table(rows: impl IntoIterator<Item = [Cell; 3]>) -> Table {
    let mut table = Table::new([Column::new("ID").on_one_line(), Column::state("STATUS"), Column::new("MESSAGE")]);
    for cells in rows {
        table.add_row(cells);
    }
    table
}

/// Removes the handle of a task that the server no longer knows. If its process ended with mcpipe, that is the cause.
/// After another failure, the session is left open for the task.
async fn forget_if_unknown(context: &Context, session: &Session, id: &str, failure: Failure) -> Failure {
    if !failure.has_rpc_code(code::INVALID_PARAMS) {
        session.detach().await;
        return failure;
    }
    let (handles, name) = (TaskHandles::open(&context.env), &session.target().name);
    let end = handles.end_of(id, Some(name));
    let failure = end.into_iter().fold(failure, |failure, end| failure.cause(end.description()));
    let ended = handles.find(id).iter().any(|handle| handle.name == *name && handle.ended);
    handles.remove(id, name);
    if ended {
        let start = session.target().command_line("session start", &[]);
        failure
            .cause("the server process has exited, and the task with it")
            .hint(format!("keep the server running before calling it: {start}"))
    } else {
        failure
    }
}
