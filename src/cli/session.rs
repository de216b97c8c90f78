//! The command line of `session`.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;
use crate::util::duration::parse_duration;

/// Keep servers running between commands
///
/// A session is a server process, an HTTP session or a WebSocket connection that stays open after a command. Later
/// commands use it and do not start the server again, so that they are fast and the server keeps its state: a browser
/// stays at its page, a database stays connected.
///
/// A session belongs to a target and to everything that identifies the user to it: command line, directory,
/// environment, headers, login, roots and protocol revision. A command for the same target uses it; a command that
/// differs in one of them does not. Several commands may use a session at once. With keep_alive = "10m" in the entry of
/// a server, the first command starts a session. --no-session does without one, and -v shows whether one is used.
///
/// A session ends when it was not used for its idle time, and when it is stopped. Sessions are not supported on Windows
/// yet.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  mcpipe session start browser
  mcpipe call browser browser_navigate url=https://example.com
  mcpipe session stop browser"),
    after_long_help = long_help!("\
Examples:
  mcpipe session start browser --idle 30m
  mcpipe call browser browser_navigate url=https://example.com
  mcpipe call browser browser_snapshot
  mcpipe session list
  mcpipe session logs browser
  mcpipe session stop browser
  mcpipe session start --name shop -- npx -y @playwright/mcp
  mcpipe session stop --all"),
)]
pub struct SessionArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SessionCommand,

    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The commands below `session`.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Start a session
    ///
    /// Starts the server, or connects to it, and keeps it. If the session is running, nothing
    /// changes; a name or idle time that differs from the session's is an error.
    Start(Box<SessionStartArgs>),
    /// List sessions
    ///
    /// Shows the process that keeps each session, how many commands are using it, its age, and after which time without
    /// use it ends. Ends what crashed sessions left.
    List(SessionListArgs),
    /// Stop sessions
    ///
    /// Ends the server with all processes that it started, and waits until they have ended. Calls in progress fail.
    Stop(SessionStopArgs),
    /// Print what the server of a session printed on stderr
    ///
    /// Only the newest part of a long log is kept: at least 512 KiB.
    Logs(SessionLogsArgs),
    /// Keep a session; started by mcpipe itself
    #[command(hide = true)]
    Keep,
}

/// The command line of `session start`.
#[derive(Debug, Args)]
#[command(
    override_usage = "mcpipe session start [OPTIONS] <TARGET>\n       mcpipe session start [OPTIONS] -- <COMMAND>...",
    after_help = short_help!(),
    after_long_help = long_help!("\
Examples:
  mcpipe session start browser
  mcpipe session start --name shop --idle 1h -- npx -y @playwright/mcp"),
)]
pub struct SessionStartArgs {
    /// Configured name, URL or command line
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// The name of the session [default: that of the server]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// End the session when it has not been used for TIME [default: keep_alive of the server, else 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_idle, allow_negative_numbers = true)]
    pub idle: Option<Duration>,

    #[command(flatten)]
    pub target_options: TargetOptions,
}

/// The command line of `session list`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!(),
    after_long_help = long_help!("Examples:\n  mcpipe session list\n  mcpipe session list --json"),
)]
pub struct SessionListArgs {}

/// The command line of `session stop`.
#[derive(Debug, Args)]
#[command(
    override_usage = "mcpipe session stop [OPTIONS] <NAME>\n       mcpipe session stop [OPTIONS] --all",
    after_help = short_help!(),
    after_long_help = long_help!("Examples:\n  mcpipe session stop browser\n  mcpipe session stop --all"),
)]
pub struct SessionStopArgs {
    /// The name of a session
    #[arg(value_name = "NAME", required_unless_present = "all")]
    pub name: Option<String>,
    /// Stop all sessions, and what crashed ones left
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
}

/// The command line of `session logs`.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!(),
    after_long_help = long_help!("Examples:\n  mcpipe session logs browser"),
)]
pub struct SessionLogsArgs {
    /// The name of a session
    #[arg(value_name = "NAME")]
    pub name: String,
}

/// A time after which an unused session ends: not 0, which for time limits means none.
fn parse_idle(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("expected a positive duration such as 30s, 10m or 24h".to_owned()),
        idle => Ok(idle),
    }
}
