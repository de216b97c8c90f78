//! How long to wait: the option, else the configuration, else these.

use std::time::Duration;

/// The limit for start and negotiation without `--connect-timeout`.
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// The limit for a response without `--timeout`.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a session is kept without being used, without `--idle` and `keep_alive`.
#[cfg(any(unix, test))]
pub const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// The option's time, else the configured one, else the default; `None` (written as 0) is no limit.
pub fn effective_timeout(
    option: Option<Duration>,
    configured: Option<Duration>,
    default: Duration,
) -> Option<Duration> {
    Some(option.or(configured).unwrap_or(default)).filter(|time| !time.is_zero())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli;
    use crate::commands::call::concurrent;
    use crate::commands::connect::DEFAULT_MAX_LIST_SIZE;
    use crate::commands::lists;
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
        assert_eq!(effective_timeout(Some(Duration::ZERO), Some(minute), default), None);
        assert_eq!(effective_timeout(None, Some(Duration::ZERO), default), None);
        assert_eq!(effective_timeout(None, Some(minute), default), Some(minute));
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
        let start = root.find_subcommand("session").and_then(|session| session.find_subcommand("start"));
        let idle = stated_default(start.unwrap(), "idle");
        assert_eq!(parse_duration(idle.rsplit_once("else ").unwrap().1), Ok(DEFAULT_IDLE));
    }
}
