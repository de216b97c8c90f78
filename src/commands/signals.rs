//! Signals: the first requests a stop, the second ends everything at once.
//!
//! They are handled on the thread that does everything else. While that one may block (a read of standard input, a
//! filter that never ends, a write that is never taken), [another thread](spawn_signal_thread) handles them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::error::ErrorKind;
use crate::interrupt::{self, Interrupt};
use crate::output::Ui;
use crate::transport::process;
use crate::util::bounded_read;

/// A thread that has not handled a signal within this time is blocked.
const SIGNAL_TIMEOUT: Duration = Duration::from_millis(300);

/// From now on, a write beyond the file size limit (`ulimit -f`) fails with `EFBIG`; otherwise SIGXFSZ ends the process
/// (setrlimit(2)).
///
/// The signal gets a handler and is not ignored: what is ignored stays ignored in child processes (execve(2)).
#[cfg(unix)]
pub fn catch_file_size_signal() {
    let exceeded = Arc::<std::sync::atomic::AtomicBool>::default();
    let _ = signal_hook::flag::register(rustix::process::Signal::XFSZ.as_raw(), exceeded);
}

/// Other systems have no such signal.
#[cfg(not(unix))]
pub fn catch_file_size_signal() {}

/// Turns the first signal into a request to stop; the second ends everything at once.
pub async fn listen(interrupt: Interrupt) {
    loop {
        let class = next_signal().await;
        if interrupt.raised_failure().is_some() {
            exit_now(class);
        }
        interrupt.raise(class);
    }
}

/// From now on, signals are also handled while this thread is blocked, if it announces that with
/// [`interrupt::enter_blocking`]: if it does not stop in time, the process ends.
pub fn spawn_signal_thread(ui: &Arc<Ui>, interrupt: &Interrupt) {
    let (ui, interrupt, started) = (Arc::clone(ui), interrupt.clone(), OnceLock::new());
    bounded_read::on_special_file(interrupt::enter_blocking);
    interrupt::on_blocking(move || {
        started.get_or_init(|| {
            let (ui, interrupt) = (Arc::clone(&ui), interrupt.clone());
            std::thread::spawn(move || handle_signals(&ui, &interrupt))
        });
    });
}

fn handle_signals(ui: &Arc<Ui>, interrupt: &Interrupt) {
    // Without a runtime this thread cannot help.
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
            // The write to standard error may be what blocks.
            std::thread::spawn(move || {
                interrupt.raised_failure().iter().for_each(|failure| ui.report_failure(failure))
            });
            std::thread::sleep(SIGNAL_TIMEOUT);
            exit_now(class);
        }
    }
}

/// Ends this process and every child without waiting.
fn exit_now(class: ErrorKind) -> ! {
    process::kill_all();
    #[expect(clippy::exit, reason = "the second signal ends everything at once")]
    std::process::exit(i32::from(class.exit_code()));
}

/// Whether SIGHUP was ignored when mcpipe started, as by `nohup`: it stays ignored, and child processes inherit that.
#[cfg(any(target_os = "linux", target_os = "macos"))]
fn ignores_hangup() -> bool {
    static IGNORED: OnceLock<bool> = OnceLock::new();
    *IGNORED.get_or_init(|| {
        let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
        #[expect(unsafe_code, reason = "no other interface reads the action of a signal")]
        // SAFETY: without a new action, `sigaction` only writes the current one to `action`; zeros are a valid value.
        unsafe {
            libc::sigaction(libc::SIGHUP, std::ptr::null(), action.as_mut_ptr()) == 0
                && action.assume_init().sa_sigaction == libc::SIG_IGN
        }
    })
}

#[cfg(all(unix, not(any(target_os = "linux", target_os = "macos"))))]
fn ignores_hangup() -> bool {
    false
}

#[cfg(unix)]
async fn next_signal() -> ErrorKind {
    use tokio::signal::unix::{SignalKind, signal};
    let hangup = async || match ignores_hangup() {
        true => None,
        false => signal(SignalKind::hangup()).ok()?.recv().await,
    };
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ErrorKind::Interrupted,
        _ = terminate.recv() => ErrorKind::Terminated,
        Some(()) = hangup() => ErrorKind::Hangup,
    }
}

/// Ctrl-C, Ctrl-Break, and the end of the window or of the session.
#[cfg(windows)]
async fn next_signal() -> ErrorKind {
    use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown};
    let (Ok(mut interrupt), Ok(mut pause), Ok(mut close), Ok(mut logoff), Ok(mut shutdown)) =
        (ctrl_c(), ctrl_break(), ctrl_close(), ctrl_logoff(), ctrl_shutdown())
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => ErrorKind::Interrupted,
        _ = pause.recv() => ErrorKind::Interrupted,
        _ = close.recv() => ErrorKind::Terminated,
        _ = logoff.recv() => ErrorKind::Terminated,
        _ = shutdown.recv() => ErrorKind::Terminated,
    }
}

#[cfg(not(any(unix, windows)))]
async fn next_signal() -> ErrorKind {
    match tokio::signal::ctrl_c().await {
        Ok(()) => ErrorKind::Interrupted,
        Err(_) => std::future::pending().await,
    }
}
