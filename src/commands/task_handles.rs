//! Handles of tasks, stored between runs so that a task can be found by its ID.
//!
//! One file per task in the state directory, readable only by its owner: the ID, with the session if the server keeps
//! tasks per session, may be all that is needed to fetch the result. Headers and variables are not stored: they may be
//! secrets, and a configured server has its own.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use crate::commands::context::Context;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure, NO_HOME_DIRECTORY, Result};
use crate::protocol::revision::Revision;
use crate::secret::Secret;
use crate::session::Session;
use crate::session::era::legacy::DetachedSession;
use crate::session::tasks::Task;
use crate::target::{Target, TargetOptions};
use crate::transport::{Endpoint, HttpMode};
use crate::util::atomic_write::{replace_file, temporary_in};
use crate::util::hex::hex;
use crate::util::limit::Limit;
use crate::util::private_files::create_private_dir;
use crate::util::quoting::quote;

/// How long it is remembered that a task is over.
const FINISHED_RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long a handle is kept if the server keeps the task without or with an unknown limit.
const MAX_RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// The command that waits for a task, and prints its result. It names the target unless the ID is enough to find it:
/// the handle may not have been saved, and several servers may have a task with this ID.
#[must_use]
pub fn wait_command(context: &Context, target: &Target, id: &str) -> String {
    match TaskHandles::open(&context.env).find(id).as_slice() {
        [handle] if handle.name == target.name && id.starts_with('-') => {
            format!("{} -- {}", target.append_flags("mcpipe task wait"), quote(id))
        }
        [handle] if handle.name == target.name => target.append_flags(&format!("mcpipe task wait {}", quote(id))),
        _ => wait_command_with_target(target, id),
    }
}

/// The command that waits for a task of this target.
#[must_use]
pub fn wait_command_with_target(target: &Target, id: &str) -> String {
    match id.starts_with('-') && !target.needs_separator() {
        true => format!("{} -- {}", target.command_line("task wait", &[]), quote(id)),
        false => target.command_line("task wait", &[&quote(id)]),
    }
}

/// The arguments of a run, with the ID of a saved task that looks like an option after `--`: a server may choose such
/// an ID, and a script passes it as it was printed.
#[must_use]
pub fn separate_task_id(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let is_task =
        |pair: &[OsString]| pair[0] == "task" && ["get", "wait", "cancel"].iter().any(|word| pair[1] == *word);
    let looks_like_id = |word: &OsString| {
        word.to_str().is_some_and(|word| word.len() > 2 && word.starts_with('-') && !word.starts_with("--"))
    };
    let Some(command) = arguments.windows(2).position(is_task) else { return arguments };
    if arguments.iter().any(|word| word == "--") || !arguments[command..].iter().any(looks_like_id) {
        return arguments;
    }
    let handles = TaskHandles::open(&Environment::from_process()).read_all();
    let is_id = |word: &OsString| looks_like_id(word) && handles.iter().any(|handle| *word == *handle.id);
    if let Some(place) = arguments[command..].iter().position(is_id) {
        let id = arguments.remove(command + place);
        arguments.extend(["--".into(), id]);
    }
    arguments
}

/// Why a task is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskEnd {
    /// Its result was printed, and the server no longer has it.
    Printed,
    /// The server was asked to cancel it.
    Canceled,
}

impl TaskEnd {
    /// What happened to the task.
    #[must_use]
    pub fn description(self) -> &'static str {
        match self {
            TaskEnd::Printed => "its result was already printed",
            TaskEnd::Canceled => "it was canceled",
        }
    }
}

/// Where a task is.
#[derive(Clone, Serialize, Deserialize)]
pub struct TaskHandle {
    /// The task's id.
    pub id: String,
    /// The name of the target.
    pub name: String,
    /// The target as it was typed.
    pub target: Option<String>,
    /// The server's command line, instead of it.
    pub command: Vec<String>,
    /// The tool that was called.
    pub tool: String,
    /// Whether the server's process ended when mcpipe did.
    #[serde(default)]
    pub ended: bool,
    /// Why the task is over: then only that is remembered, for a while.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<TaskEnd>,
    /// When it was started, in seconds since 1970.
    started: u64,
    /// When the server may discard it, in seconds since 1970.
    expires: u64,
    /// The target options.
    cwd: Option<PathBuf>,
    bearer_env: Option<String>,
    sse: Option<bool>,
    protocol: Option<String>,
    /// Its session, and the session's revision.
    session: Option<(String, String)>,
    cacert: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    unix_socket: Option<PathBuf>,
}

impl TaskHandle {
    /// The handle of a new task.
    #[must_use]
    pub fn new(
        task: &Task,
        target: &Target,
        place: &TaskOrigin<'_>,
        cwd: Option<&Path>,
        left: Option<&DetachedSession>,
    ) -> Self {
        let reach = place.target_options;
        let absolute =
            |path: &Option<PathBuf>| path.as_ref().map(|path| cwd.map_or_else(|| path.clone(), |cwd| cwd.join(path)));
        let is_command = !target.is_configured && matches!(target.endpoint, Endpoint::Stdio(_));
        let word = if target.is_configured { Some(target.name.as_str()) } else { place.target };
        TaskHandle {
            id: task.id.clone(),
            name: target.name.clone(),
            target: word.filter(|_| place.command.is_empty()).map(ToOwned::to_owned),
            command: place.command.to_vec(),
            tool: place.tool.to_owned(),
            ended: matches!(target.endpoint, Endpoint::Stdio(_)),
            end: None,
            started: now(),
            expires: now() + task.ttl.unwrap_or(MAX_RETENTION).min(MAX_RETENTION).as_secs().max(1),
            // A command line may mean another program in another directory.
            cwd: absolute(&reach.cwd).or_else(|| cwd.filter(|_| is_command).map(Path::to_owned)),
            bearer_env: reach.bearer_env.clone(),
            sse: reach.transport.filter(|kind| *kind != HttpMode::Auto).map(|kind| kind == HttpMode::Sse),
            protocol: reach.protocol.clone(),
            session: left.map(|left| (left.session_id.reveal().to_owned(), left.revision.as_str().to_owned())),
            cacert: absolute(&reach.cacert),
            cert: absolute(&reach.cert),
            key: absolute(&reach.key),
            unix_socket: absolute(&reach.unix_socket),
        }
    }

    /// The target options to use; what is typed now takes precedence.
    #[must_use]
    pub fn target_options(&self, typed: TargetOptions) -> TargetOptions {
        let transport = self.sse.map(|sse| if sse { HttpMode::Sse } else { HttpMode::Streamable });
        TargetOptions {
            cwd: typed.cwd.or_else(|| self.cwd.clone()),
            bearer_env: typed.bearer_env.or_else(|| self.bearer_env.clone()),
            transport: typed.transport.or(transport),
            protocol: typed.protocol.or_else(|| self.protocol.clone()),
            cacert: typed.cacert.or_else(|| self.cacert.clone()),
            cert: typed.cert.or_else(|| self.cert.clone()),
            key: typed.key.or_else(|| self.key.clone()),
            unix_socket: typed.unix_socket.or_else(|| self.unix_socket.clone()),
            ..typed
        }
    }

    /// The session of the task.
    #[must_use]
    pub fn detached_session(&self) -> Option<DetachedSession> {
        let (session, revision) = self.session.as_ref()?;
        Some(DetachedSession { session_id: Secret::new(session), revision: Revision::parse(revision)? })
    }

    /// The handle as `--json` prints it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"taskId": self.id, "target": self.name, "tool": self.tool, "startedAt": self.started()})
    }

    /// When it was started, in UTC.
    #[must_use]
    pub fn started(&self) -> String {
        crate::output::time(UNIX_EPOCH + Duration::from_secs(self.started))
    }

    fn path(&self, dir: &Path) -> PathBuf {
        handle_path(dir, &self.id, &self.name)
    }
}

/// All handles.
pub struct TaskHandles {
    dir: Option<PathBuf>,
}

impl TaskHandles {
    /// Those of this user.
    #[must_use]
    pub fn open(env: &Environment) -> Self {
        TaskHandles { dir: env.state_dir().map(|dir| dir.join("tasks")) }
    }

    /// Saves a handle, and removes expired ones.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, handle: &TaskHandle) -> std::io::Result<()> {
        let _ = self.read_all();
        let (dir, mut file) = self.new_file()?;
        file.write_all(&serde_json::to_vec(handle)?)?;
        replace_file(file, &handle.path(dir))
    }

    /// The directory, and a file in it that is removed unless it gets a name.
    fn new_file(&self) -> std::io::Result<(&Path, NamedTempFile)> {
        let dir = self.dir.as_deref().ok_or_else(|| std::io::Error::other(NO_HOME_DIRECTORY))?;
        // The ID may be all that is needed to fetch the result.
        create_private_dir(dir)?;
        Ok((dir, temporary_in(dir).tempfile_in(dir)?))
    }

    /// All whose task is not over, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<TaskHandle> {
        self.read_all().into_iter().filter(|handle| handle.end.is_none()).collect()
    }

    /// All that have not expired, oldest first.
    fn read_all(&self) -> Vec<TaskHandle> {
        let Some(entries) = self.dir.as_ref().and_then(|dir| fs::read_dir(dir).ok()) else { return Vec::new() };
        let mut all = Vec::new();
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| is_handle_file(path)) {
            // It may belong to another user, or be readable again later.
            let Ok(text) = fs::read(&path) else { continue };
            let handle = serde_json::from_slice::<Value>(&text).unwrap_or_default();
            match handle["expires"].as_u64().is_some_and(|expires| expires > now()) {
                // A newer version may have written it differently.
                true => all.extend(serde_json::from_value::<TaskHandle>(handle)),
                false => drop(fs::remove_file(&path)),
            }
        }
        all.sort_by(|one, other| (one.started, &one.id).cmp(&(other.started, &other.id)));
        all
    }

    /// Those with this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Vec<TaskHandle> {
        self.all().into_iter().filter(|handle| handle.id == id).collect()
    }

    /// Why the task with this ID, on this target or any, is over, if it is.
    #[must_use]
    pub fn end_of(&self, id: &str, target: Option<&str>) -> Option<TaskEnd> {
        let is_meant = |handle: &TaskHandle| handle.id == id && target.is_none_or(|target| handle.name == target);
        self.read_all().into_iter().filter(is_meant).find_map(|handle| handle.end)
    }

    /// Replaces the handle of a task that is over by why it is.
    fn finish(&self, id: &str, target: &str, end: TaskEnd) {
        match self.find(id).into_iter().find(|handle| handle.name == target) {
            Some(handle) => {
                let expires = handle.expires.min(now() + FINISHED_RETENTION.as_secs());
                let finished = TaskHandle { end: Some(end), expires, session: None, ..handle };
                if self.save(&finished).is_err() {
                    self.remove(id, target);
                }
            }
            None => self.remove(id, target),
        }
    }

    /// Removes one.
    pub fn remove(&self, id: &str, target: &str) {
        if let Some(dir) = &self.dir {
            let _ = fs::remove_file(handle_path(dir, id, target));
        }
    }
}

fn handle_path(dir: &Path, id: &str, target: &str) -> PathBuf {
    let mut hash = Sha256::new();
    hash.update(target.len().to_le_bytes());
    hash.update(target);
    hash.update(id);
    let name = hex(&hash.finalize()[..16]);
    dir.join(format!("{name}.json"))
}

fn is_handle_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Where a call was made, as typed.
pub struct TaskOrigin<'a> {
    /// The target; `None` if a command line followed `--`.
    pub target: Option<&'a str>,
    /// The command line.
    pub command: &'a [String],
    /// The target options.
    pub target_options: &'a TargetOptions,
    /// The tool.
    pub tool: &'a str,
}

/// Checks that handles can be saved, before a call whose task is found only with the session ID in its handle.
///
/// # Errors
/// [`ErrorKind::Config`] if they cannot.
pub fn require_writable(context: &Context) -> Result<()> {
    TaskHandles::open(&context.env).new_file().map(drop).map_err(|error| {
        Failure::new(ErrorKind::Config, "cannot save the session of the task, which is needed to get its result")
            .caused_by(&error)
            .hint("omit --detach, or name a directory that can be written in the variable XDG_STATE_HOME")
    })
}

/// Saves a handle for a new task.
pub fn save_handle(
    context: &Context,
    session: &Session,
    task: &Task,
    place: &TaskOrigin<'_>,
    left: Option<&DetachedSession>,
) {
    let mut handle = TaskHandle::new(task, session.target(), place, context.env.cwd(), left);
    handle.ended &= !session.is_kept_by_keeper();
    if let Err(error) = TaskHandles::open(&context.env).save(&handle) {
        context.ui.warn(&format!("cannot save the handle of task '{}': {error}", task.id));
    }
}

/// Removes the handle of a task that was followed by the command that started it.
pub fn remove_handle(context: &Context, session: &Session, id: &str) {
    TaskHandles::open(&context.env).remove(id, &session.target().name);
}

/// Marks the task of a handle as ended: its result was printed.
pub fn mark_result_printed(context: &Context, session: &Session, id: &str) {
    TaskHandles::open(&context.env).finish(id, &session.target().name, TaskEnd::Printed);
}

/// Marks the task of a handle as ended: it was canceled.
pub fn mark_canceled(context: &Context, session: &Session, id: &str) {
    TaskHandles::open(&context.env).finish(id, &session.target().name, TaskEnd::Canceled);
}

/// A task in brief, for the progress line.
#[must_use]
pub fn progress_text(task: &Task) -> String {
    match &task.message {
        Some(message) => format!("{}: {message}", task.status),
        None => format!("the task is {}", task.status),
    }
}

/// How long to wait for a task without a sign of life: no limit without `--timeout`.
#[must_use]
pub fn task_timeout(context: &Context) -> Option<Duration> {
    context.global.timeout.and_then(Limit::get)
}
