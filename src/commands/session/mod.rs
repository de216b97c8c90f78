//! `session`: servers that keep running between commands.

#[cfg(target_os = "linux")]
mod code_pages;
#[cfg(unix)]
mod connection;
#[cfg(any(target_os = "linux", target_os = "macos"))]
mod inherited_files;
#[cfg(unix)]
mod keeper;
#[cfg(unix)]
mod kept_connection;
#[cfg(unix)]
mod log;
#[cfg(unix)]
mod manage;
#[cfg(unix)]
mod resolution;
#[cfg(unix)]
mod router;
#[cfg(unix)]
mod shared_handshake;
#[cfg(unix)]
mod shared_settings;

use crate::cli::SessionArgs;
use crate::commands::context::{Context, Exit};
use crate::error::Result;

/// Runs a subcommand.
///
/// # Errors
/// Those of the subcommand.
#[cfg(unix)]
pub async fn run(context: &Context, args: SessionArgs) -> Result<Exit> {
    use crate::cli::SessionCommand;
    match args.command {
        SessionCommand::Start(args) => manage::start(context, *args).await,
        SessionCommand::List(_) => manage::list(context).await,
        SessionCommand::Stop(args) => manage::stop(context, args).await,
        SessionCommand::Logs(args) => manage::logs(context, &args).await,
        SessionCommand::Keep => keeper::run(context).await,
    }
}

/// Sessions need Unix sockets.
///
/// # Errors
/// Always.
#[cfg(not(unix))]
pub async fn run(_context: &Context, _args: SessionArgs) -> Result<Exit> {
    use crate::error::{ErrorKind, Failure};
    Err(Failure::new(ErrorKind::Usage, "sessions are not supported on this system yet")
        .cause("they need Unix sockets that identify the connecting user"))
}
