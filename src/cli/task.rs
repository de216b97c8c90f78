//! The command line of `task`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;

/// Manage long-running calls (tasks)
///
/// `mcpipe call --detach` starts a call as a task and prints its ID. A task that mcpipe started is known by its ID
/// alone; for another one, put TARGET before the ID.
///
/// A task needs a server that keeps running: a server at a URL, or one that `mcpipe session start` keeps. A server that
/// mcpipe starts for one command exits with it, and its tasks with it.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  id=$(mcpipe call https://mcp.example.com/mcp research topic=rust --detach)
  mcpipe task wait $id --json"),
    after_long_help = long_help!("\
Examples:
  url=https://mcp.example.com/mcp
  id=$(mcpipe call $url simulate-research-query topic=rust --detach)
  mcpipe task get $id
  mcpipe task wait $id --json
  mcpipe task cancel $url $id
  mcpipe task list"),
)]
pub struct TaskArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TaskCommand,

    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The commands below `task`.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Show a task's status
    #[command(
        about = "Show a task's status",
        long_about = "Show a task's status\n\nPrints the task's status without waiting for its result.",
        override_usage = "mcpipe task get [OPTIONS] [TARGET] <ID>\n       mcpipe task get [OPTIONS] <ID> -- <COMMAND>...",
        after_help = short_help!(),
        after_long_help = long_help!("Examples:\n  mcpipe task get $id\n  mcpipe task get linear $id --json")
    )]
    Get(TaskIdArgs),
    /// Wait for a task and print its result
    #[command(
        about = "Wait for a task and print its result",
        long_about = "Wait for a task and print its result\n\nWaits until the task ends and prints its result as `mcpipe \
            call` would have done, with the same exit code.",
        override_usage = "mcpipe task wait [OPTIONS] [TARGET] <ID>\n       mcpipe task wait [OPTIONS] <ID> -- <COMMAND>..."
    )]
    Wait(TaskWaitArgs),
    /// Cancel a task
    #[command(
        about = "Cancel a task",
        long_about = "Cancel a task\n\nAsks the server to stop the task. A task that has already ended stays as it is.",
        override_usage = "mcpipe task cancel [OPTIONS] [TARGET] <ID>\n       mcpipe task cancel [OPTIONS] <ID> -- <COMMAND>...",
        after_help = short_help!(),
        after_long_help = long_help!("Examples:\n  mcpipe task cancel $id\n  mcpipe task cancel linear $id")
    )]
    Cancel(TaskIdArgs),
    /// List tasks
    ///
    /// Without TARGET, lists the tasks that mcpipe started with --detach and whose results have not been fetched. With
    /// TARGET, lists the tasks that the server reports.
    List(TaskListArgs),
}

/// One task.
#[derive(Debug, Args)]
pub struct TaskIdArgs {
    /// Task ID; put TARGET before it if mcpipe did not start the task
    ///
    /// An ID that looks like an option can be put after `--`.
    #[arg(value_name = "[TARGET] ID", required_unless_present = "command", num_args = 1..=2)]
    pub words: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    #[command(flatten)]
    pub target_options: TargetOptions,
}

/// Wait for a task and print its result.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!(),
    after_long_help = long_help!("Examples:\n  mcpipe task wait $id\n  mcpipe task wait $id --save out"),
)]
pub struct TaskWaitArgs {
    /// The task.
    #[command(flatten)]
    pub task: TaskIdArgs,

    /// Print only the structured content
    #[arg(long, conflicts_with = "save")]
    pub structured: bool,
    /// Write images, audio and other binary content to files in DIR
    ///
    /// The names of the files are printed (with --json: to stderr).
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
}

/// The command line of `task list`.
#[derive(Debug, Args)]
#[command(
    override_usage = "mcpipe task list [OPTIONS] [TARGET]\n       mcpipe task list [OPTIONS] -- <COMMAND>...",
    after_help = short_help!(),
    after_long_help = long_help!("Examples:\n  mcpipe task list\n  mcpipe task list linear --json"),
)]
pub struct TaskListArgs {
    /// Configured name, URL or command line; without it: tasks started by mcpipe
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    #[command(flatten)]
    pub target_options: TargetOptions,
}
