//! Starts the keeper of a session, once, and cleans up after one that was killed.

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::net::UnixStream;

use super::files::{KeptSession, SessionFiles};
use crate::error::{ErrorKind, Failure, Result};
use crate::transport::process;
use crate::util::file_lock::FileLock;

/// How long another process may take to start the same session, or to end it.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// How a command that cannot use a session can do without.
pub(super) const WITHOUT_SESSION: &str = "use the server without a session: --no-session";

/// Starts the keeper, unless another process did so in the meantime. When this returns, its socket accepts connections.
/// Returns false if the session that this command used was stopped: it is not to be started again.
pub(super) async fn launch(session: &KeptSession) -> Result<bool> {
    let files = &session.files;
    let failed = |error: &io::Error| {
        let what = format!("cannot start the session '{}'", session.spec.name);
        Failure::new(ErrorKind::Unreachable, what).caused_by(error).hint(WITHOUT_SESSION)
    };
    files.create_dir().map_err(|failure| match failure.details().hint {
        Some(_) => failure,
        None => failure.hint(WITHOUT_SESSION),
    })?;
    let lock = FileLock::acquire(&files.lock(), LOCK_TIMEOUT).await.map_err(|error| failed(&error))?;
    let Some(_lock) = lock else { return Err(failed(&io::Error::from(io::ErrorKind::TimedOut))) };
    if UnixStream::connect(files.socket()).await.is_ok() {
        return Ok(true);
    }
    // A crash leaves the socket.
    let was_used = session.was_used.load(Ordering::Relaxed);
    let was_stopped = was_used && !session.spec.keeps_alive && !files.socket().exists();
    end_recorded_server(files).await;
    files.remove();
    if was_stopped {
        return Ok(false);
    }
    spawn_keeper(session).map(|()| true).map_err(|error| failed(&error))
}

fn spawn_keeper(session: &KeptSession) -> io::Result<()> {
    let KeptSession { files, spec, .. } = session;
    let listener = UnixListener::bind(files.socket())?;
    std::fs::set_permissions(files.socket(), PermissionsExt::from_mode(0o700))?;
    let log = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(files.log())?;
    let mut keeper = Command::new(std::env::current_exe()?)
        .args(["session", "keep"])
        .stdin(Stdio::piped())
        // The socket is passed on as a descriptor, so that connections are accepted from now on.
        .stdout(OwnedFd::from(listener))
        .stderr(log)
        .spawn()?;
    process::exclude_child(Some(keeper.id()));
    let text = json!({
        "dir": files.dir(),
        "id": files.id(),
        "name": spec.name,
        "target": spec.target,
        "idle_ms": u64::try_from(spec.idle.as_millis()).unwrap_or(u64::MAX),
        "resolution": spec.resolution,
    });
    match keeper.stdin.take() {
        Some(mut stdin) => stdin.write_all(text.to_string().as_bytes()),
        None => Ok(()),
    }
}

/// Ends what a killed keeper left behind. Returns whether there was anything, and false if the keeper is running.
pub async fn end_dead_session(files: &SessionFiles) -> bool {
    let Ok(Some(_lock)) = FileLock::acquire(&files.lock(), LOCK_TIMEOUT).await else { return false };
    if !files.has_session() || UnixStream::connect(files.socket()).await.is_ok() {
        return false;
    }
    end_recorded_server(files).await;
    files.remove();
    true
}

/// Ends the keeper and the server of a session whose socket does not answer.
async fn end_recorded_server(files: &SessionFiles) {
    let Some(record) = files.record() else { return };
    // A keeper without a socket is shutting its server down.
    for _ in 0..500 {
        if !process::is_running(record.pid) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        if !files.record_path().exists() {
            return;
        }
    }
    for (group, started) in &record.groups {
        process::end_foreign_group(*group, *started).await;
    }
}
