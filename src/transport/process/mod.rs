//! Child processes and everything they start: one process group each (on Windows a job), ended as a whole.

#[cfg(windows)]
mod windows_job;
use std::sync::Mutex;
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// How long a server may take to end by itself once its standard input is closed (`STD-04`).
const EXIT_GRACE: Duration = Duration::from_secs(2);
/// The same, for a server that was told to stop (an interrupt), did not answer, or took no notice the last time.
const SHORT_EXIT_GRACE: Duration = Duration::from_millis(200);
/// How long after SIGTERM before SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long what the server started may outlive it before it is terminated.
const ORPHAN_GRACE: Duration = Duration::from_millis(100);
/// How often a group is looked at while it ends.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The groups that are running, for the paths on which nothing can be awaited any more.
static RUNNING_GROUPS: Mutex<Vec<u32>> = Mutex::new(Vec::new());

fn lock_running_groups() -> std::sync::MutexGuard<'static, Vec<u32>> {
    RUNNING_GROUPS.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts a program that leads a group of its own, so that everything it starts ends with it.
///
/// # Errors
/// Those of starting it.
pub fn spawn(command: &mut Command) -> std::io::Result<Child> {
    #[cfg(unix)]
    return command.process_group(0).spawn();
    #[cfg(windows)]
    return windows_job::spawn(command);
    #[cfg(not(any(unix, windows)))]
    command.spawn()
}

/// Remembers a group until [`shut_down`] has ended it.
pub fn register(group: u32) {
    lock_running_groups().push(group);
}

/// Kills every group that is still running: for a second interrupt, or a panic.
pub fn kill_all() {
    for group in lock_running_groups().drain(..) {
        signal(group, Signal::Kill);
    }
}

/// A group that is killed when this is dropped: for helpers whose end nobody awaits.
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
    lock_running_groups().retain(|other| *other != group);
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
fn alive(group: u32) -> bool {
    pid(group).is_some_and(|pid| rustix::process::test_kill_process_group(pid).is_ok())
}

#[cfg(unix)]
fn pid(group: u32) -> Option<rustix::process::Pid> {
    i32::try_from(group).ok().and_then(rustix::process::Pid::from_raw)
}

/// Nothing asks a whole job to end: it is ended.
#[cfg(windows)]
fn signal(group: u32, signal: Signal) -> bool {
    match signal {
        Signal::Term => false,
        Signal::Kill => windows_job::terminate(group),
    }
}

#[cfg(windows)]
fn alive(group: u32) -> bool {
    windows_job::is_alive(group)
}

// Elsewhere there are no groups: the child itself is ended by its handle.
#[cfg(not(any(unix, windows)))]
fn signal(_group: u32, _signal: Signal) -> bool {
    false
}

#[cfg(not(any(unix, windows)))]
fn alive(_group: u32) -> bool {
    false
}

/// Ends a child whose standard input is closed, and its whole group: waits, terminates, kills.
///
/// `group` is the id of the child, which leads its group. With `patient` false the child gets little time
/// to end by itself. Nothing of the group is left when this resolves, after about four seconds at most. Tells whether
/// the child had to be terminated.
pub async fn shut_down(child: &mut Child, group: u32, patient: bool) -> bool {
    let grace = if patient { EXIT_GRACE } else { SHORT_EXIT_GRACE };
    let forced = timeout(grace, child.wait()).await.is_err();
    if forced {
        // Who cannot be asked is not waited for either.
        let asked = signal(group, Signal::Term) || cfg!(unix);
        if !asked || timeout(TERM_GRACE, child.wait()).await.is_err() {
            signal(group, Signal::Kill);
            // On systems without groups this is what ends the child.
            let _ = child.start_kill();
            let _ = timeout(TERM_GRACE, child.wait()).await;
        }
    }
    // The leader is gone; what it started may not be (`npx` and the like).
    if alive(group) && !group_exits_within(group, ORPHAN_GRACE).await {
        let asked = signal(group, Signal::Term) || cfg!(unix);
        if !asked || !group_exits_within(group, TERM_GRACE).await {
            signal(group, Signal::Kill);
            group_exits_within(group, TERM_GRACE).await;
        }
    }
    unregister(group);
    forced
}

async fn group_exits_within(group: u32, time: Duration) -> bool {
    let until = Instant::now() + time;
    while alive(group) {
        if Instant::now() >= until {
            return false;
        }
        sleep(POLL_INTERVAL).await;
    }
    true
}
