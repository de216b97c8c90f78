//! Signals: the first is the wish to stop, the second ends everything at once.
//!
//! They are heard on the thread that does everything else. Where that one may be stuck, in a read of standard input,
//! a filter that never ends or a write that nobody takes, a thread of its own [stands in](stand_in) for it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::ErrorKind;
use crate::interrupt::{self, Interrupt};
use crate::output::Ui;
use crate::transport::process;

/// Who has not heard a signal for so long is stuck.
const SIGNAL_TIMEOUT: Duration = Duration::from_millis(300);

/// Turns the first signal into the wish to stop; the second ends everything at once.
pub async fn listen(interrupt: Interrupt) {
    loop {
        let class = next_signal().await;
        if interrupt.raised_failure().is_some() {
            exit_now(class);
        }
        interrupt.raise(class);
    }
}

/// From now on, signals are heard though this thread may be stuck wherever it says so beforehand
/// ([`interrupt::may_stall`]): what did not stop then is ended.
pub fn spawn_signal_thread(ui: &Arc<Ui>, interrupt: &Interrupt) {
    let (ui, interrupt, started) = (Arc::clone(ui), interrupt.clone(), OnceLock::new());
    interrupt::on_blocking(move || {
        started.get_or_init(|| {
            let (ui, interrupt) = (Arc::clone(&ui), interrupt.clone());
            std::thread::spawn(move || handle_signals(&ui, &interrupt))
        });
    });
}

fn handle_signals(ui: &Arc<Ui>, interrupt: &Interrupt) {
    // Without a runtime of our own nobody stands in: it is as if there were no stuck thread.
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
    loop {
        let raised = interrupt.raised_failure().is_some();
        let class = runtime.block_on(next_signal());
        std::thread::sleep(SIGNAL_TIMEOUT);
        if raised {
            exit_now(class);
        }
        if interrupt.raised_failure().is_none() {
            interrupt.raise(class);
            let (ui, interrupt) = (Arc::clone(ui), interrupt.clone());
            // Standard error may be what everything is stuck in.
            std::thread::spawn(move || {
                interrupt.raised_failure().iter().for_each(|failure| ui.report_failure(failure))
            });
            std::thread::sleep(SIGNAL_TIMEOUT);
            exit_now(class);
        }
    }
}

/// Ends this process and every child without waiting for anything.
fn exit_now(class: ErrorKind) -> ! {
    process::kill_all();
    #[expect(clippy::exit, reason = "nothing is awaited any more")]
    std::process::exit(i32::from(class.exit_code()));
}

#[cfg(unix)]
async fn next_signal() -> ErrorKind {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), signal(SignalKind::hangup()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ErrorKind::Interrupted,
        _ = terminate.recv() => ErrorKind::Terminated,
        _ = hangup.recv() => ErrorKind::Terminated,
    }
}

/// `^C`, `^Break`, and the end of the window or of the session.
#[cfg(windows)]
async fn next_signal() -> ErrorKind {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
    let (Ok(mut interrupt), Ok(mut pause), Ok(mut close), Ok(mut logoff), Ok(mut shutdown)) =
        (ctrl_c(), ctrl_break(), ctrl_close(), ctrl_logoff(), ctrl_shutdown())
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => Class::Interrupted,
        _ = pause.recv() => Class::Interrupted,
        _ = close.recv() => Class::Terminated,
        _ = logoff.recv() => Class::Terminated,
        _ = shutdown.recv() => Class::Terminated,
    }
}

#[cfg(not(any(unix, windows)))]
async fn next_signal() -> ErrorKind {
    match tokio::signal::ctrl_c().await {
        Ok(()) => ErrorKind::Interrupted,
        Err(_) => std::future::pending().await,
    }
}
