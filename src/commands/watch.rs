//! What the two forms of `--watch` share: of lists and of resources.

use std::time::Duration;

use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::util::duration::format_duration;

/// Says at a terminal how a watch ends.
pub fn note_watching(context: &Context) {
    if context.ui.terminal().stdout_is_tty {
        context.ui.note("watching; press Ctrl-C to stop");
    }
}

/// Names what the server sends no changes for.
pub fn warn_unwatched(context: &Context, mute: &[String]) {
    if !mute.is_empty() {
        context.ui.warn(&format!("the server does not report changes of {}", mute.join(", ")));
    }
}

/// Says that the connection is lost, and when it is opened again.
pub fn note_connection_lost(context: &Context, failure: &Failure, pause: Duration) -> Result<()> {
    context.ui.note(&format!("{failure}; retrying in {}", format_duration(pause)));
    Ok(())
}

/// Whether a later read may succeed.
pub fn is_transient(failure: &Failure) -> bool {
    matches!(failure.kind(), ErrorKind::Failed | ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Protocol)
}

/// An interrupt is how a watch ends; it is not reported.
pub fn finish(ended: Failure) -> Result<Exit> {
    match ended.kind() {
        kind if kind.is_interrupt() => Ok(Exit::Reported(kind)),
        _ => Err(ended),
    }
}
