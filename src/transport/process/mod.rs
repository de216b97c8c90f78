//! Child processes and everything they start: each has a process group (on Windows a job) that is ended as a whole.

#[cfg(windows)]
mod windows_job;

use std::sync::Mutex;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::transport::connection::CloseOutcome;
use crate::util::lock::lock;

/// How long a server may take to exit after its standard input is closed (`STD-04`).
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The same after an interrupt, and for a server that did not respond or did not exit in time the last time.
const SHORT_EXIT_GRACE: Duration = Duration::from_millis(200);
/// How long to wait between SIGTERM and SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long processes that the server started may outlive it before they are terminated.
const ORPHAN_GRACE: Duration = Duration::from_millis(100);
/// How often to check whether a group has ended.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The running groups, for [`kill_all`].
static RUNNING_GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Starts a program that leads its own group.
///
/// # Errors
/// If it cannot be started.
pub fn spawn(command: &mut Command) -> std::io::Result<Child> {
    #[cfg(unix)]
    return command.process_group(0).spawn();
    #[cfg(windows)]
    return windows_job::spawn(command);
    #[cfg(not(any(unix, windows)))]
    command.spawn()
}

/// Registers a group until [`shut_down`] has ended it.
pub fn register(group: u32) {
    lock(&RUNNING_GROUPS).push(group);
}

/// Kills every running group: after a second interrupt, or in a panic.
pub fn kill_all() {
    for group in lock(&RUNNING_GROUPS).drain(..) {
        signal(group, Signal::Kill);
    }
}

/// A group that is killed when this is dropped: for helpers that are not waited for.
pub struct ProcessGroup(u32);

impl ProcessGroup {
    /// The group that this process leads.
    #[must_use]
    pub fn led_by(leader: u32) -> Self {
        register(leader);
        ProcessGroup(leader)
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        signal(self.0, Signal::Kill);
        unregister(self.0);
    }
}

fn unregister(group: u32) {
    lock(&RUNNING_GROUPS).retain(|other| *other != group);
    #[cfg(windows)]
    windows_job::forget(group);
}

#[derive(Clone, Copy)]
enum Signal {
    Term,
    Kill,
}

#[cfg(unix)]
fn signal(group: u32, signal: Signal) -> bool {
    let signal = match signal {
        Signal::Term => rustix::process::Signal::TERM,
        Signal::Kill => rustix::process::Signal::KILL,
    };
    pid(group).is_some_and(|pid| rustix::process::kill_process_group(pid, signal).is_ok())
}

#[cfg(unix)]
fn is_alive(group: u32) -> bool {
    pid(group).is_some_and(|pid| rustix::process::test_kill_process_group(pid).is_ok())
}

#[cfg(unix)]
fn pid(group: u32) -> Option<rustix::process::Pid> {
    i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw)
}

/// A job cannot be asked to end, only terminated.
#[cfg(windows)]
fn signal(group: u32, signal: Signal) -> bool {
    match signal {
        Signal::Term => false,
        Signal::Kill => windows_job::terminate(group),
    }
}

#[cfg(windows)]
fn is_alive(group: u32) -> bool {
    windows_job::is_alive(group)
}

// Other systems have no groups: only the child itself is ended, with its handle.
#[cfg(not(any(unix, windows)))]
fn signal(_group: u32, _signal: Signal) -> bool {
    false
}

#[cfg(not(any(unix, windows)))]
fn is_alive(_group: u32) -> bool {
    false
}

/// Ends a child whose standard input is closed, and its whole group: waits, terminates, kills.
///
/// `group` is the ID of the child, which leads its group. If `patient` is false, the child gets little time
/// to exit. Nothing of the group is left when this resolves.
pub async fn shut_down(child: &mut Child, group: u32, patient: bool) -> CloseOutcome {
    let grace = if patient { EXIT_GRACE } else { SHORT_EXIT_GRACE };
    let is_running = timeout(grace, child.wait()).await.is_err();
    if is_running {
        // On Windows there is nothing to wait for: a job cannot be asked to end.
        let may_exit = signal(group, Signal::Term) || cfg!(unix);
        if !may_exit || timeout(TERM_GRACE, child.wait()).await.is_err() {
            signal(group, Signal::Kill);
            // This ends the child on systems without groups.
            let _ = child.start_kill();
            let _ = timeout(TERM_GRACE, child.wait()).await;
        }
    }
    // The leader has exited; processes that it started (as `npx` does) may still run.
    if is_alive(group) && !group_exits_within(group, ORPHAN_GRACE).await {
        let may_exit = signal(group, Signal::Term) || cfg!(unix);
        if !may_exit || !group_exits_within(group, TERM_GRACE).await {
            signal(group, Signal::Kill);
            group_exits_within(group, TERM_GRACE).await;
        }
    }
    unregister(group);
    if is_running { CloseOutcome::Killed } else { CloseOutcome::Closed }
}

async fn group_exits_within(group: u32, time: Duration) -> bool {
    let deadline = Instant::now() + time;
    while is_alive(group) {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(POLL_INTERVAL).await;
    }
    true
}
