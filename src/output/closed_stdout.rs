//! Whether somebody still reads standard output, for commands that wait long between two lines.

use std::time::Duration;

/// How often it is looked at.
#[cfg(unix)]
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Waits until the reader of standard output has gone away; for ever where that cannot happen.
#[cfg(unix)]
pub async fn reader_gone() {
    while !gone() {
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Waits for ever: nobody can tell.
#[cfg(not(unix))]
pub async fn reader_gone() {
    let _: Duration = std::future::pending().await;
}

/// A pipe without a reader is in error, a socket whose peer is gone is hung up; files and terminals never are.
#[cfg(unix)]
fn gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut ends = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let told = poll(&mut ends, Some(&at_once)).is_ok_and(|count| count > 0);
    told && ends[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}
