//! `--locked`: a tool is called only if it is as the lock file says.

use std::path::Path;
use std::rc::Rc;

use crate::commands::context::Context;
use crate::commands::lock::changes::item_changes;
use crate::commands::lock::file::LockFile;
use crate::commands::lock::{definition, not_locked, update_command};
use crate::commands::tools::{ToolCache, ToolList};
use crate::error::{ErrorKind, Failure, Result};
use crate::protocol::views::ListItem;
use crate::session::Session;
use crate::target::Target;

/// Compares a tool with the lock file. A remembered list that differs is checked against the current one.
///
/// # Errors
/// [`ErrorKind::Refused`] if the tool differs or is not in the file; [`ErrorKind::Config`] if the file cannot be used.
pub async fn check(
    context: &Context,
    session: &Session,
    tool_cache: &ToolCache,
    path: &Path,
    seen: &Rc<ToolList>,
    tool: &str,
) -> Result<()> {
    let lock = tool_cache.lock_file(path)?;
    match compare(session, &lock, path, seen, tool) {
        Ok(()) => Ok(()),
        Err(failure) => match tool_cache.refresh_if_stale(context, session, seen, false).await? {
            Some(fresh) => compare(session, &lock, path, &fresh, tool),
            None => Err(failure),
        },
    }
}

fn compare(session: &Session, lock: &LockFile, path: &Path, tools: &ToolList, tool: &str) -> Result<()> {
    compare_tool(session.target(), lock, path, tool, || {
        Ok(tools.find(tool).ok_or_else(|| tools.unavailable_tool(session, tool))?)
    })
}

/// Compares a tool of a server with the lock file.
///
/// # Errors
/// [`ErrorKind::Refused`] if the tool differs or is not in the file; those of `current`, which finds the tool.
pub fn compare_tool<'a>(
    target: &Target,
    lock: &LockFile,
    path: &Path,
    tool: &str,
    current: impl FnOnce() -> Result<&'a ListItem>,
) -> Result<()> {
    let shown = path.display();
    let update = update_command(path, &[target]);
    let Some(entry) = lock.servers.get(&target.name) else {
        return Err(not_locked(ErrorKind::Refused, path, target));
    };
    let Some(locked) = entry.get("tools").and_then(|tools| tools.get(tool)) else {
        let message = format!("the lock file '{shown}' does not have the tool '{tool}'");
        return Err(Failure::new(ErrorKind::Refused, message).hint(format!("to add it: {update}")));
    };
    let now = definition(current()?);
    if now == *locked {
        return Ok(());
    }
    let message = format!("the tool '{tool}' differs from the lock file '{shown}'");
    let mut failure = Failure::new(ErrorKind::Refused, message);
    for change in item_changes("tools", tool, locked, &now) {
        failure = failure.cause(format!("{}: {}", change.class.as_str(), change.line()));
        failure = change.text_lines().into_iter().fold(failure, Failure::cause);
    }
    Err(failure.hint(format!("to accept what changed: {update}")))
}
