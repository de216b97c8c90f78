//! The runtime of a run: one thread, with signals turned into a request to stop.

use std::pin::Pin;

use crate::commands::signals;
use crate::error::{ErrorKind, Failure, Result};
use crate::interrupt::Interrupt;

/// Waits for something, on a runtime of one thread, with signals turned into the wish to stop.
///
/// # Errors
/// When there can be no runtime.
pub fn block_on<T>(interrupt: &Interrupt, mut future: Pin<&mut impl Future<Output = T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // A handful of descriptors at a time: the usual thousand would be room that every start pays for.
        .max_io_events_per_tick(64)
        .build()
        .map_err(|error| Failure::new(ErrorKind::Bug, "cannot start the runtime").caused_by(&error))?;
    let outcome = runtime.block_on(async {
        let signals = tokio::spawn(signals::listen(interrupt.clone()));
        // It listens before anything is changed that a signal would leave behind: a terminal that shows nothing, say.
        tokio::task::yield_now().await;
        let outcome = future.as_mut().await;
        signals.abort();
        outcome
    });
    // A name look-up or a read of standard input that hangs must not hold up the end, and the end of the process, which
    // is next, takes down the rest in one go.
    std::mem::forget(runtime);
    Ok(outcome)
}

/// Turns the end of standard output's reader into the wish to stop.
pub async fn interrupt_on_closed_stdout(interrupt: Interrupt) {
    crate::output::reader_gone().await;
    interrupt.raise(ErrorKind::ClosedPipe);
}
