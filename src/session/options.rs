//! The options of a session.

use std::path::PathBuf;
use std::time::Duration;

use crate::session::client_handler::ClientCapabilities;
use crate::session::retry::RetryPolicy;
use crate::transport;

/// What every session of one run shares.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// How the way to the server is opened; its connect time-out covers negotiation too.
    pub transport: transport::TransportOptions,
    /// How long to wait for an answer; progress starts the clock again, within limits. `None` waits for ever.
    pub timeout: Option<Duration>,
    /// How many bytes the pages of a list may have in total. `None` for no limit.
    pub max_list_size: Option<u64>,
    /// What we can do for the server.
    pub capabilities: ClientCapabilities,
    /// When to ask once more.
    pub retry: RetryPolicy,
    /// Where to keep what is learned; nowhere if `None`.
    pub cache_dir: Option<PathBuf>,
    /// Whose credentials are used, so that nothing cached crosses identities (`MSG-10`).
    pub identity: Option<String>,
}
