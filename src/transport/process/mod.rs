//! Child processes and everything they start: each has a process group (on Windows a job) that is ended as a whole.

#[cfg(target_os = "linux")]
mod orphans;
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

/// Before the first server is started: what servers start stays in reach when it leaves their groups, on Linux.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    orphans::adopt();
}

/// Removes processes that servers left behind and that have ended, whenever a child ends.
pub async fn reap_orphans() {
    #[cfg(target_os = "linux")]
    if let Ok(mut child_ended) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::child()) {
        while child_ended.recv().await.is_some() {
            orphans::left_behind(&running_groups());
        }
    }
}

/// Ends neither this child, which is not a server, nor what it starts.
pub fn exclude_child(_child: Option<u32>) {
    #[cfg(target_os = "linux")]
    orphans::exclude_child(_child);
}

/// Kills every running group and what left them: after a second interrupt, or in a panic.
pub fn kill_all() {
    for group in running_groups() {
        signal(group, Signal::Kill);
    }
    #[cfg(target_os = "linux")]
    orphans::left_behind(&running_groups()).iter().for_each(|process| process.signal(Signal::Kill.into()));
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

/// The running groups, each with the time at which its leader was started, as far as the system shows it.
#[must_use]
pub fn started_groups() -> Vec<(u32, Option<u64>)> {
    running_groups().into_iter().map(|group| (group, start_time(group))).collect()
}

/// Whether there is a process with this ID that has not ended.
#[cfg(unix)]
#[must_use]
pub fn is_running(process: u32) -> bool {
    #[cfg(target_os = "linux")]
    if let Some(has_ended) = orphans::has_ended(process) {
        return !has_ended;
    }
    pid(process).is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok())
}

/// Ends a group that another mcpipe started and left behind, unless its ID belongs to another process by now.
#[cfg(unix)]
pub async fn end_foreign_group(group: u32, started: Option<u64>) {
    let now = start_time(group);
    if now.is_some() && now != started || !is_alive(group) {
        return;
    }
    // Its input has ended with the keeper, so it may exit by itself.
    for sent in [None, Some(Signal::Term), Some(Signal::Kill)] {
        sent.into_iter().for_each(|sent| {
            signal(group, sent);
        });
        let time = if sent.is_none() { SHORT_EXIT_GRACE } else { TERM_GRACE };
        if group_exits_within(group, time).await {
            return;
        }
    }
}

/// When a process was started, on Linux: with its ID, this is unique.
fn start_time(_process: u32) -> Option<u64> {
    #[cfg(target_os = "linux")]
    return orphans::start_time(_process);
    #[cfg(not(target_os = "linux"))]
    None
}

fn running_groups() -> Vec<u32> {
    lock(&RUNNING_GROUPS).clone()
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
impl From<Signal> for rustix::process::Signal {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Term => rustix::process::Signal::TERM,
            Signal::Kill => rustix::process::Signal::KILL,
        }
    }
}

#[cfg(unix)]
fn signal(group: u32, signal: Signal) -> bool {
    pid(group).is_some_and(|pid| rustix::process::kill_process_group(pid, signal.into()).is_ok())
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
    loop {
        #[cfg(target_os = "linux")]
        pid(group).into_iter().for_each(orphans::reap_group);
        if !is_alive(group) || Instant::now() >= deadline {
            return !is_alive(group);
        }
        sleep(POLL_INTERVAL).await;
    }
}

/// Ends what servers left behind outside their groups, in the same order as a group, unless a server is running.
///
/// Returns what could not be ended, for example because it belongs to another user.
pub async fn end_orphans() -> Vec<String> {
    #[cfg(target_os = "linux")]
    {
        let remaining = || {
            let groups = running_groups();
            if groups.iter().any(|group| is_alive(*group)) { Vec::new() } else { orphans::left_behind(&groups) }
        };
        let mut running = remaining();
        for (signal, time) in [(None, ORPHAN_GRACE), (Some(Signal::Term), TERM_GRACE), (Some(Signal::Kill), TERM_GRACE)]
        {
            let deadline = Instant::now() + time;
            let mut signaled = Vec::new();
            while !running.is_empty() && Instant::now() < deadline {
                for process in running.iter().filter(|process| !signaled.contains(&process.id())) {
                    signal.into_iter().for_each(|signal| process.signal(signal.into()));
                }
                signaled = running.iter().map(orphans::Process::id).collect();
                sleep(POLL_INTERVAL).await;
                running = remaining();
            }
        }
        running.iter().map(orphans::Process::description).collect()
    }
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}
