//! The options of a session.

use std::path::PathBuf;
use std::time::Duration;

use crate::session::client_handler::ClientCapabilities;
use crate::session::retry::RetryPolicy;
use crate::transport;

/// What all sessions of one run share.
#[derive(Clone, Default)]
pub struct SessionOptions {
    /// How the connection is opened; its connect time-out includes negotiation.
    pub transport: transport::TransportOptions,
    /// The options that set the connect time-out, for hints.
    pub connect_timeout_options: &'static str,
    /// The time limit of a request; progress extends it up to a limit. `None` waits without limit.
    pub timeout: Option<Duration>,
    /// The maximum size in bytes of the pages of a list together. `None` for no limit.
    pub max_list_size: Option<u64>,
    /// The capabilities of the client.
    pub capabilities: ClientCapabilities,
    /// When to retry.
    pub retry: RetryPolicy,
    /// The cache directory; `None` for no cache.
    pub cache_dir: Option<PathBuf>,
    /// The identity of the credentials in use, so that cached data never crosses identities (`MSG-10`).
    pub identity: Option<String>,
}
