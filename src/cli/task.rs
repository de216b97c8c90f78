//! The words and options of `task`.

use clap::{Args, Subcommand};

use super::{GlobalOptions, TargetOptions};

/// Look after calls that go on without you
#[derive(Debug, Args)]
#[command(after_help = "\
A task that mcpipe started is known by its ID alone; for another one, TARGET
says where it is. A task needs a server that stays, at a URL: one that mcpipe
starts as a command ends with mcpipe, and its tasks with it.

Examples:
  url=https://mcp.example.com/mcp
  id=$(mcpipe call $url simulate-research-query topic=rust --detach)
  mcpipe task get $id
  mcpipe task wait $id --json
  mcpipe task cancel $url $id
  mcpipe task list")]
pub struct TaskArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: TaskCommand,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// What `task` can do.
#[derive(Debug, Subcommand)]
pub enum TaskCommand {
    /// Show how a task stands
    Get(TaskIdArgs),
    /// Wait for a task and print its result
    Wait(TaskWaitArgs),
    /// Stop a task
    Cancel(TaskIdArgs),
    /// List tasks: those of a server, or all that mcpipe started
    List(TaskListArgs),
}

/// One task
#[derive(Debug, Args)]
pub struct TaskIdArgs {
    /// The task's ID, after the TARGET where mcpipe does not know it
    #[arg(value_name = "[TARGET] ID", required = true, num_args = 1..=2)]
    pub words: Vec<String>,
    /// A server's command line, in place of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
}

/// Wait for a task and print its result
#[derive(Debug, Args)]
pub struct TaskWaitArgs {
    /// The task.
    #[command(flatten)]
    pub task: TaskIdArgs,

    /// Print the structured content alone
    #[arg(long, conflicts_with = "save")]
    pub structured: bool,
    /// Write images, audio and other binary content into files in DIR, whose names are printed (with --json on stderr)
    #[arg(long, value_name = "DIR")]
    pub save: Option<std::path::PathBuf>,
}

/// List tasks: those of a server, or all that mcpipe started
#[derive(Debug, Args)]
pub struct TaskListArgs {
    /// Configured name, URL or command line; all servers where it is left out
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// A server's command line, in place of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,
}
