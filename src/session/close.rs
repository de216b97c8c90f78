//! Closing a session, and what the exit of the child shows about its server.

use std::sync::atomic::Ordering;

use crate::session::mcp_session::Session;
use crate::transport::{CloseOutcome, Diagnostics};

impl Session {
    /// Closes the session; no process is left running. Returns how the connection was closed, if one was open.
    pub async fn close(&self) -> Option<CloseOutcome> {
        let connection = self.connection.lock().await.take();
        let mut outcome = None;
        if let Some(connection) = connection {
            let interrupted = self.options.transport.interrupt.raised_failure().is_some();
            let in_order = !interrupted && !self.has_failed.load(Ordering::Relaxed);
            // A server that is known to ignore the end of its input does not get the full grace period each time.
            let ignores_eof = in_order && self.cache.profile().is_some_and(|verdict| verdict.ignores_eof.is_some());
            let gone = connection.rpc.closed_reason().is_some();
            let closed = connection.rpc.close(in_order && !ignores_eof).await;
            // A server that another process keeps does not end.
            let gone = gone || self.is_kept_by_keeper();
            match closed {
                CloseOutcome::Killed if in_order && !ignores_eof => self.cache.set_ignores_eof(true),
                // A server that had exited before shows nothing.
                CloseOutcome::Closed if ignores_eof && !gone => self.cache.set_ignores_eof(false),
                _ => {}
            }
            outcome = Some(closed);
        }
        self.cache.expire_lists(&self.client_handler.changed_lists());
        self.options.transport.wait_for_refresh().await;
        outcome
    }

    /// What the server of an open connection printed or sent outside the protocol.
    pub async fn diagnostics(&self) -> Option<Diagnostics> {
        self.connection.lock().await.as_ref().map(|connection| connection.rpc.transport().diagnostics())
    }

    /// Whether a connection was opened over which nothing can come back any more.
    pub async fn is_lost(&self) -> bool {
        self.connection.lock().await.as_ref().is_some_and(|connection| connection.rpc.closed_reason().is_some())
    }

    /// How many requests were sent over the open connection.
    pub async fn request_count(&self) -> u64 {
        self.connection.lock().await.as_ref().map_or(0, |connection| connection.rpc.request_count())
    }
}
