//! Finds the processes that a test started, by an environment variable, so that a test fails if one outlives it.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A process that is still running.
pub struct LeftoverProcess {
    pub pid: u32,
    pub command: String,
}

impl std::fmt::Debug for LeftoverProcess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.pid, self.command)
    }
}

/// Every running process whose environment contains `name=value`, except this one.
pub fn marked_processes(name: &str, value: &str) -> Vec<LeftoverProcess> {
    let wanted = format!("{name}={value}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A zombie has an empty environment, so it is not counted; it holds no resources.
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else { continue };
        if pid != std::process::id() && environment.split(|byte| *byte == 0).any(|one| one == wanted.as_bytes()) {
            found.push(LeftoverProcess { pid, command: command_line(pid) });
        }
    }
    found
}

/// Polls until no process is left or the time is over; returns the remaining ones.
///
/// A process that executes another program has no environment for a moment, so the result must be empty twice.
pub fn wait_until_gone(limit: Duration, left: impl Fn() -> Vec<LeftoverProcess>) -> Vec<LeftoverProcess> {
    let end = Instant::now() + limit;
    let mut gone = 0;
    loop {
        let now = left();
        gone = if now.is_empty() { gone + 1 } else { 0 };
        if gone == 2 || Instant::now() > end {
            return now;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether this process exists and is not a zombie.
pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// Kills all of them.
pub fn kill_all(left: &[LeftoverProcess]) {
    for one in left {
        if let Some(pid) = i32::try_from(one.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// What a process is doing, for the message about a hang.
pub fn describe(pid: u32) -> String {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    format!("state {:?}, waits in {}", state(pid), read("wchan"))
}

fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

fn command_line(pid: u32) -> String {
    let raw = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&raw).replace('\0', " ").trim_end().to_owned()
}

/// The peak memory of a process so far, in bytes; `None` after it has ended.
pub fn peak_memory(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(kilobytes.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024)
}
