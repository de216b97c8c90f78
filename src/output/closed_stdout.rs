//! Whether standard output is open, and whether it still has a reader, for commands that wait between two lines.

use std::io::{self, Write};
use std::time::Duration;

/// How often the reader is checked for.
#[cfg(unix)]
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Waits until the reader of standard output has gone away; without end if that cannot happen.
#[cfg(unix)]
pub async fn reader_gone() {
    while !has_no_reader() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits without end, since this system does not report it.
#[cfg(not(unix))]
pub async fn reader_gone() {
    let _: Duration = std::future::pending().await;
}

/// A pipe that is writable takes this many bytes at once (POSIX, `PIPE_BUF`: 512 or more).
pub(super) const PIPE_BUF: usize = if cfg!(target_os = "linux") { 4096 } else { 512 };

/// Whether this many bytes can be written to standard output without waiting for its reader.
#[cfg(unix)]
pub(super) fn is_ready_for(length: usize) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut ends = [PollFd::new(&stdout, PollFlags::OUT)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    length <= PIPE_BUF && poll(&mut ends, Some(&at_once)).is_ok_and(|count| count > 0)
}

/// This system does not report it.
#[cfg(not(unix))]
pub(super) fn is_ready_for(_: usize) -> bool {
    false
}

/// `poll` reports an error for a pipe without a reader and a hang-up for a socket without a peer; neither for files
/// and terminals.
#[cfg(unix)]
fn has_no_reader() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let has_event = poll(&mut ends, Some(&at_once)).is_ok_and(|count| count > 0);
    has_event && ends[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

/// Whether the caller closed standard output (`>&-`).
///
/// Before `main` the standard library opens `/dev/null` in place of a closed stream, and output would seem to succeed.
pub(super) fn was_closed_at_start() -> bool {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    return at_start::WAS_CLOSED.load(std::sync::atomic::Ordering::Relaxed);
    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    false
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
mod at_start {
    #![expect(unsafe_code, reason = "nothing else of ours runs before the standard library opens the closed streams")]

    use std::sync::atomic::{AtomicBool, Ordering};

    pub(super) static WAS_CLOSED: AtomicBool = AtomicBool::new(false);

    // SAFETY: the section holds pointers to functions that the loader calls once, before `main`.
    #[used]
    #[cfg_attr(target_os = "linux", unsafe(link_section = ".init_array"))]
    #[cfg_attr(target_os = "macos", unsafe(link_section = "__DATA,__mod_init_func"))]
    static CHECK: extern "C" fn() = check;

    extern "C" fn check() {
        let is_closed = rustix::io::fcntl_getfd(rustix::stdio::stdout()) == Err(rustix::io::Errno::BADF);
        WAS_CLOSED.store(is_closed, Ordering::Relaxed);
    }
}

/// Standard output that the caller has closed.
pub(super) struct ClosedStdout;

impl Write for ClosedStdout {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("it is closed"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
