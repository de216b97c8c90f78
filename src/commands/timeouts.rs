//! How long to wait: the option, else the configuration, else these.

use std::time::Duration;

use crate::util::limit::Limit;

/// The limit for start and negotiation without `--connect-timeout`.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The limit for a response without `--timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a session is kept without being used, without `--idle` and `keep_alive`.
#[cfg(any(unix, test))]
pub const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// The limit of the option, else the configured one, else the default.
pub fn effective_timeout(
    option: Option<Limit<Duration>>,
    configured: Option<Limit<Duration>>,
    default: Duration,
) -> Option<Duration> {
    option.or(configured).map_or(Some(default), Limit::get)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli;
    use crate::commands::call::concurrent;
    use crate::commands::connect::DEFAULT_MAX_LIST_SIZE;
    use crate::commands::lists;
    use crate::config::keys::{DEFAULTS_KEYS, find_key};
    use crate::util::duration::parse_duration;
    use crate::util::size::parse_size;

    /// The default that the help of an option states.
    fn stated_default(command: &clap::Command, option: &str) -> String {
        let argument = command.get_arguments().find(|argument| argument.get_long() == Some(option)).unwrap();
        let help = argument.get_help().unwrap().to_string();
        help.split_once("[default: ").unwrap().1.trim_end_matches(']').to_owned()
    }

    #[test]
    fn zero_is_no_limit() {
        let (minute, default) = (Duration::from_secs(60), Duration::from_secs(300));
        let limit = |time: Duration| Some(time.into());
        assert_eq!(effective_timeout(limit(Duration::ZERO), limit(minute), default), None);
        assert_eq!(effective_timeout(None, limit(Duration::ZERO), default), None);
        assert_eq!(effective_timeout(None, limit(minute), default), Some(minute));
        assert_eq!(effective_timeout(None, None, default), Some(default));
    }

    #[test]
    fn the_help_states_the_defaults() {
        let mut root = cli::command();
        root.build();
        assert_eq!(parse_duration(&stated_default(&root, "timeout")), Ok(DEFAULT_TIMEOUT));
        assert_eq!(parse_duration(&stated_default(&root, "connect-timeout")), Ok(DEFAULT_CONNECT_TIMEOUT));
        assert_eq!(parse_size(&stated_default(&root, "max-list-size")), Ok(DEFAULT_MAX_LIST_SIZE));
        for (command, jobs) in [("call", concurrent::DEFAULT_JOBS), ("list", lists::DEFAULT_LIST_JOBS)] {
            let stated = stated_default(root.find_subcommand(command).unwrap(), "jobs");
            assert_eq!(stated, jobs.to_string(), "mcpipe {command} --jobs");
        }
        let key = find_key(DEFAULTS_KEYS, "jobs").unwrap();
        assert_eq!(key.default, lists::DEFAULT_LIST_JOBS.to_string(), "[defaults] jobs");
        let start = root.find_subcommand("session").and_then(|session| session.find_subcommand("start"));
        let idle = stated_default(start.unwrap(), "idle");
        assert_eq!(parse_duration(idle.rsplit_once("else ").unwrap().1), Ok(DEFAULT_IDLE));
    }
}
