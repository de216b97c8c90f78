//! Processes that left the process group of the server that started them (`setsid`, a daemon that forks twice).
//!
//! Linux passes a process whose parent has ended to the nearest ancestor that is a "child subreaper" (prctl(2),
//! `PR_SET_CHILD_SUBREAPER`). mcpipe becomes one when it starts its first server, so whatever a server starts stays
//! among its descendants and is ended with the last server.

use std::fs;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, getpid, kill_process, set_child_subreaper, waitid, waitpgid,
    waitpid,
};

/// Whether mcpipe is the subreaper of its descendants.
static ADOPTS: OnceLock<bool> = OnceLock::new();

/// The start of the first process that may leave others behind on purpose; see [`exclude_child`].
static SPARED_SINCE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Keeps what servers start from now on among the descendants of mcpipe.
pub fn adopt() {
    // A shell that replaced itself with mcpipe (`exec`) may have had other children: they and what they start are not
    // to be confused with a server's.
    ADOPTS.get_or_init(|| !has_children() && set_child_subreaper(Some(getpid())).is_ok());
}

/// Excludes this child, such as a browser, and every process that started later: some of them may be its own.
pub fn exclude_child(child: Option<u32>) {
    if ADOPTS.get().is_some()
        && let Some(process) = child.and_then(|id| Process::read(&id.to_string()))
    {
        SPARED_SINCE.fetch_min(process.started, Ordering::Relaxed);
    }
}

/// Removes processes of this group that have ended. Its leader must have been waited for.
pub fn reap_group(group: Pid) {
    if ADOPTS.get() == Some(&true) {
        while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
    }
}

/// The running descendants of mcpipe that are in none of these groups: servers left them behind. Those that have ended
/// are removed, so that they do not pile up during a long run.
pub fn left_behind(groups: &[u32]) -> Vec<Process> {
    // Usually there is no child, and one system call shows it.
    if ADOPTS.get() != Some(&true) || !has_children() {
        return Vec::new();
    }
    let is_left = |process: &Process| !groups.contains(&process.group) && !process.reap_if_ended();
    descendants().into_iter().filter(is_left).collect()
}

/// When a process was started, in clock ticks since the system started.
pub fn start_time(process: u32) -> Option<u64> {
    Process::read(&process.to_string()).map(|process| process.started)
}

/// Whether a process has ended and only its entry is left; `None` if there is none.
pub fn has_ended(process: u32) -> Option<bool> {
    Process::read(&process.to_string()).map(|process| process.has_ended)
}

fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::All, options).err() != Some(rustix::io::Errno::CHILD)
}

/// The children of mcpipe and theirs, without those that are [excluded](exclude_child).
fn descendants() -> Vec<Process> {
    let mut others: Vec<Process> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| Process::read(entry.ok()?.file_name().to_str()?))
        .collect();
    let spared_since = SPARED_SINCE.load(Ordering::Relaxed);
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![std::process::id()];
    while let Some(parent) = parents.pop() {
        let children = others.extract_if(.., |process| process.parent == parent && process.started < spared_since);
        for child in children {
            parents.push(child.pid);
            found.push(child);
        }
    }
    found
}

/// A line of `/proc/PID/stat`, as far as it is needed.
#[derive(Debug)]
pub struct Process {
    pid: u32,
    name: String,
    has_ended: bool,
    parent: u32,
    group: u32,
    /// In clock ticks since the system started.
    started: u64,
}

impl Process {
    fn read(pid: &str) -> Option<Self> {
        let pid: u32 = pid.parse().ok()?;
        Self::parse(pid, &String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?))
    }

    /// The format is that of proc_pid_stat(5). The name may contain anything, even `) `.
    fn parse(pid: u32, stat: &str) -> Option<Self> {
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        Some(Process {
            pid,
            name: name.to_owned(),
            has_ended: matches!(*fields.first()?, "Z" | "X"),
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
        })
    }

    /// What distinguishes it from every other process, even one with the same ID later.
    pub fn id(&self) -> (u32, u64) {
        (self.pid, self.started)
    }

    /// Its name and ID, for messages.
    pub fn description(&self) -> String {
        format!("{} (process {})", self.name, self.pid)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.raw_pid() {
            let _ = kill_process(pid, signal);
        }
    }

    fn raw_pid(&self) -> Option<Pid> {
        Pid::from_raw(i32::try_from(self.pid).ok()?)
    }

    /// Whether it has ended; then nothing of it is left.
    fn reap_if_ended(&self) -> bool {
        if self.has_ended && self.parent == std::process::id() {
            let _ = waitpid(self.raw_pid(), WaitOptions::NOHANG);
        }
        self.has_ended
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn any_name_of_a_process_is_read() {
        let numbers = "S 7 8 8 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 2";
        let process = Process::parse(12, &format!("12 (a) b (c) {numbers}\n")).unwrap();
        assert_eq!((process.parent, process.group, process.started), (7, 8, 4711));
        assert_eq!((process.description().as_str(), process.has_ended), ("a) b (c (process 12)", false));
        assert!(Process::parse(12, &format!("12 (a) {}", numbers.replace('S', "Z"))).unwrap().has_ended);
        assert!(Process::parse(12, "12 (a) S 1").is_none());
    }
}
