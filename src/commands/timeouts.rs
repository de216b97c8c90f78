//! How long to wait: the option, else the configuration, else these.

use std::time::Duration;

/// The limit for start and negotiation without `--connect-timeout`.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The limit for a response without `--timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);

/// The option's time, else the configured one, else the default; `None` (written as 0) is no limit.
pub fn effective_timeout(
    option: Option<Duration>,
    configured: Option<Duration>,
    default: Duration,
) -> Option<Duration> {
    Some(option.or(configured).unwrap_or(default)).filter(|time| !time.is_zero())
}
