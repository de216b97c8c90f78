//! The runtime of a run: one thread, with signals turned into a request to stop.

use std::pin::Pin;
use std::sync::OnceLock;

use tokio::runtime::Runtime;

use crate::commands::signals;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt::Interrupt;

/// The runtime of this process, of one thread. It is never dropped: a pending name lookup or read of standard input
/// must not delay the exit.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    #[cfg(unix)]
    check_open_file_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A few descriptors at a time: allocating the default of 1024 would slow down every start.
        .max_io_events_per_tick(64)
        .build()
        .map_err(|error| Failure::new(ErrorKind::Bug, "cannot start the runtime").caused_by(&error))?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// The runtime needs about ten open files, and panics when it cannot open those for signals.
///
/// # Errors
/// [`ErrorKind::Config`] if the limit (`RLIMIT_NOFILE`) is lower than what every run needs.
#[cfg(unix)]
fn check_open_file_limit() -> Result<()> {
    const NEEDED: u64 = 16;
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    match limit.filter(|limit| *limit < NEEDED) {
        Some(limit) => Err(Failure::new(ErrorKind::Config, "too few files may be open at once")
            .cause(format!("the limit of this shell is {limit}"))
            .hint("raise it: ulimit -n 256")),
        None => Ok(()),
    }
}

/// Runs a future to completion on the runtime of the process; signals become a request to stop.
///
/// # Errors
/// If the runtime cannot be created.
pub fn block_on<T>(interrupt: &Interrupt, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T> {
    Ok(runtime()?.block_on(async {
        let signals = tokio::spawn(signals::listen(interrupt.clone()));
        // It must listen before anything changes that a signal would leave behind, such as a terminal without echo.
        tokio::task::yield_now().await;
        let outcome = future.as_mut().await;
        signals.abort();
        outcome
    }))
}

/// Requests a stop when the reader of standard output is gone.
pub async fn interrupt_on_closed_stdout(interrupt: Interrupt) {
    crate::output::reader_gone().await;
    interrupt.raise(ErrorKind::ClosedPipe);
}
