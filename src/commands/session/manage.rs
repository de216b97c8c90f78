//! `session start`, `list`, `stop` and `logs`.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::time::timeout;
use url::Url;

use crate::cli::{SessionLogsArgs, SessionStartArgs, SessionStopArgs};
use crate::commands::config::check_name;
use crate::commands::context::{Context, Exit};
use crate::commands::session::connection::{can_be_kept, default_name, free_name, list_command, redact_url};
use crate::commands::timeouts::DEFAULT_IDLE;
use crate::error::{ErrorKind, Failure, Result};
use crate::output::{Cell, Column, Table};
use crate::session::Session;
use crate::transport::kept::files::{SessionFiles, session_dir};
use crate::transport::kept::{self, FirstLine, FrameReader, SessionStatus, end_dead_session};
use crate::util::duration::format_lifetime;
use crate::util::quoting;
use crate::util::suggest::did_you_mean;

/// How long a keeper may take to describe its session.
const STATUS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a keeper may take to end its server; it gives the server up to eight seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// A session whose keeper answers.
struct RunningSession {
    files: SessionFiles,
    status: SessionStatus,
}

/// Starts a session.
///
/// # Errors
/// If the server cannot be reached, or the name is taken.
pub(super) async fn start(context: &Context, args: SessionStartArgs) -> Result<Exit> {
    if let Some(word) = args.target.as_ref().filter(|_| !args.command.is_empty()) {
        let command: Vec<&str> = args.command.iter().map(String::as_str).collect();
        let command = quoting::quote_without_secrets(&command).join(" ");
        return Err(Failure::new(ErrorKind::Usage, format!("'{word}' and a command after `--` are two targets"))
            .hint(format!("to name the session: mcpipe session start --name {} -- {command}", quoting::quote(word))));
    }
    if let Some(name) = &args.name {
        check_name("session", name)?;
    }
    let (target, _) = context.resolve_target(&args.target, &args.command, false, &args.target_options).await?;
    if !can_be_kept(&target) {
        return Err(Failure::new(ErrorKind::Usage, "a recording needs no session"));
    }
    let mut options = context.direct_options(&target)?;
    let files = context.session_files(&target, &options)?;
    let usage = list_command(context, &target);
    let target_name = Some(target.name.clone()).filter(|_| target.is_configured);
    end_dead_session(&files).await;
    if let Ok(status) = status(&files).await {
        check_unchanged(&status, args.name.as_deref(), args.idle)?;
        context.ui.note(&format!("the session '{}' is already running", status.name));
        return print_started(context, &status, target_name.as_deref(), &usage);
    }
    let name = match args.name {
        None => free_name(&files, &default_name(&target)),
        Some(name) if free_name(&files, &name) == name => name,
        Some(name) => {
            return Err(Failure::new(ErrorKind::Usage, format!("there is a session '{name}' for another target"))
                .hint(format!("choose another name, or stop it: mcpipe session stop {name}")));
        }
    };
    let idle = args.idle.or(target.keep_alive).filter(|time| !time.is_zero()).unwrap_or(DEFAULT_IDLE);
    let progress = context.progress(&format!("starting {}", target.name));
    options.transport.kept = context.kept_session(&target, files.clone(), name, idle, true);
    let session = Session::new(target, options);
    let connect = async |session: &Session| session.session_info().await.map(|_| ());
    if let Err(failure) = progress.show_during(context.with_session(session, connect)).await {
        let _ = stop_session(&files).await;
        return Err(failure);
    }
    drop(progress);
    let status = status(&files).await.map_err(|error| {
        Failure::new(ErrorKind::Unreachable, "the session ended immediately after starting").caused_by(&error)
    })?;
    context.ui.note(&format!("started the session '{}'", status.name));
    print_started(context, &status, target_name.as_deref(), &usage)
}

/// Refuses a name or an idle time that a running session does not have: its process keeps what it was started with.
fn check_unchanged(status: &SessionStatus, name: Option<&str>, idle: Option<Duration>) -> Result<()> {
    let setting = if name.is_some_and(|name| name != status.name) {
        "name"
    } else if idle.is_some_and(|idle| idle.as_millis() != u128::from(status.idle_ms)) {
        "idle time"
    } else {
        return Ok(());
    };
    let message = format!("the session '{}' is already running with another {setting}", status.name);
    Err(Failure::new(ErrorKind::Usage, message)
        .hint(format!("stop it first: mcpipe session stop {}", quoting::quote(&status.name))))
}

/// Prints a session that runs. A name that is not also that of a configured server is no target, so the note says how
/// to use it.
fn print_started(context: &Context, status: &SessionStatus, server: Option<&str>, usage: &str) -> Result<Exit> {
    if server != Some(status.name.as_str()) {
        context.ui.note(&format!("to use it, name its target: {usage}"));
    }
    if context.ui.is_json() {
        context.ui.print_json_value(&json!(status))?;
    }
    Ok(Exit::Done)
}

/// Asks the keeper about its session.
async fn status(files: &SessionFiles) -> io::Result<SessionStatus> {
    let asking = async {
        let stream = kept::request(files, &FirstLine::new(kept::STATUS)).await?;
        let line = FrameReader::new(stream).next_line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_str(&line)?)
    };
    timeout(STATUS_TIMEOUT, asking).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// The sessions that are running, by name. What crashed ones left is removed.
async fn running_sessions(context: &Context) -> Vec<RunningSession> {
    let mut running = Vec::new();
    for files in SessionFiles::all(&session_dir(&context.env)) {
        match status(&files).await {
            Ok(status) => running.push(RunningSession { files, status }),
            Err(_) => {
                end_dead_session(&files).await;
            }
        }
    }
    running.sort_by(|one, other| one.status.name.cmp(&other.status.name));
    running
}

/// Lists the sessions.
///
/// # Errors
/// If the output cannot be written.
pub(super) async fn list(context: &Context) -> Result<Exit> {
    let running = running_sessions(context).await;
    if context.ui.is_json() {
        let all: Vec<&SessionStatus> = running.iter().map(|session| &session.status).collect();
        context.ui.print_json_value(&json!({ "sessions": all }))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new([
        Column::new("NAME").on_one_line(),
        Column::new("TARGET"),
        Column::new("TRANSPORT"),
        Column::new("PID"),
        Column::new("COMMANDS"),
        Column::new("AGE"),
        Column::new("IDLE LIMIT"),
    ]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for RunningSession { status, .. } in &running {
        let cells = [
            status.name.clone(),
            status.target.clone(),
            status.transport.clone(),
            status.pid.to_string(),
            status.commands.to_string(),
            format_lifetime(now.saturating_sub(status.started)),
            format_lifetime(status.idle_ms / 1000),
        ];
        table.add_row(cells.map(Cell::new));
    }
    context.ui.print_table(&table)?;
    if running.is_empty() {
        context.ui.note("no sessions");
    }
    Ok(Exit::Done)
}

/// Stops one session, or all.
///
/// # Errors
/// If there is no session of this name, or it does not end.
pub(super) async fn stop(context: &Context, args: SessionStopArgs) -> Result<Exit> {
    let running = running_sessions(context).await;
    let chosen: Vec<RunningSession> = match &args.name {
        Some(name) => vec![find(running, name)?],
        None => running,
    };
    let stopping = chosen.iter().map(|session| stop_session(&session.files));
    let outcomes = futures_util::future::join_all(stopping).await;
    let (mut stopped, mut failure) = (Vec::new(), None);
    for (RunningSession { status, .. }, outcome) in chosen.iter().zip(outcomes) {
        match outcome {
            Ok(()) => {
                context.ui.note(&format!("stopped the session '{}'", status.name));
                stopped.push(&status.name);
            }
            Err(error) => {
                let lasting =
                    Failure::new(ErrorKind::Unreachable, format!("the session '{}' does not end", status.name))
                        .caused_by(&error)
                        .hint(format!("end its process: kill -9 {}", status.pid));
                if let Some(earlier) = failure.replace(lasting) {
                    context.ui.warn_always(&earlier.with_hint());
                }
            }
        }
    }
    if context.ui.is_json() {
        context.ui.print_json_value(&json!({ "stopped": stopped }))?;
    } else if chosen.is_empty() {
        context.ui.note("no sessions");
    }
    failure.map_or(Ok(Exit::Done), Err)
}

/// Stops a session, and waits until its processes have ended.
async fn stop_session(files: &SessionFiles) -> io::Result<()> {
    let stopping = async {
        match kept::request(files, &FirstLine::new(kept::STOP)).await {
            // The keeper closes the connection when it exits; it writes nothing.
            Ok(mut stream) => drop(stream.read(&mut [0]).await),
            // It is ending by itself.
            Err(error) if kept::is_missing(&error) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    };
    let outcome = timeout(STOP_TIMEOUT, stopping).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    end_dead_session(files).await;
    outcome
}

/// The session with a name, or the only one with this configured name or URL as its target.
fn find(mut running: Vec<RunningSession>, name: &str) -> Result<RunningSession> {
    let url = Url::parse(name).ok().map(|url| redact_url(url.as_str()));
    let is_target = |session: &&RunningSession| session.status.target == url.as_deref().unwrap_or(name);
    let at = running.iter().position(|session| session.status.name == name);
    let only = || running.iter().position(|session| is_target(&session));
    match at.or_else(|| only().filter(|_| running.iter().filter(is_target).count() == 1)) {
        Some(at) => Ok(running.swap_remove(at)),
        None => {
            let failure = Failure::new(ErrorKind::Config, format!("there is no session '{name}'"));
            let names = running.iter().map(|session| session.status.name.as_str());
            Err(match did_you_mean(name, names) {
                Some(near) => failure.hint(near),
                None => failure.hint("list the sessions: mcpipe session list"),
            })
        }
    }
}

/// Prints the log of a session.
///
/// # Errors
/// If there is no session of this name, or its log cannot be read.
pub(super) async fn logs(context: &Context, args: &SessionLogsArgs) -> Result<Exit> {
    let session = find(running_sessions(context).await, &args.name)?;
    let bytes = std::fs::read(session.files.log()).map_err(|error| {
        Failure::new(ErrorKind::Config, format!("cannot read the log of the session '{}'", args.name)).caused_by(&error)
    })?;
    let text = String::from_utf8_lossy(&bytes);
    if context.ui.is_json() {
        context.ui.print_json_value(&json!({ "name": args.name, "lines": text.lines().collect::<Vec<_>>() }))?;
    } else {
        context.ui.print_text(&text)?;
    }
    Ok(Exit::Done)
}
