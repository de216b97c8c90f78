//! The command line of `lock`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;

/// Lock what servers offer, or check servers against a lock file
///
/// Writes the identity, instructions, tools, prompts, resources and resource templates of each server to a lock file,
/// as JSON that a version control system can compare. Entries of other servers in the file stay as they are.
///
/// --check compares the servers with the file and prints what changed. A change is "breaking" if calls that worked may
/// fail or mean something else: a tool or an allowed value is gone, a parameter is newly required, a type is narrower.
/// It is "compatible" if everything that worked still works. Changed descriptions, titles and instructions are
/// "text": old and new are shown in full, with invisible characters made visible.
///
/// Breaking changes make the exit code 9; with --strict, all changes do.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
mcpipe lock [OPTIONS] <TARGET>...
       mcpipe lock --check [OPTIONS] [TARGET]...
       mcpipe lock --update [OPTIONS] [TARGET]...
       mcpipe lock [OPTIONS] -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe lock linear github
  mcpipe lock --check"),
    after_long_help = long_help!("\
Examples:
  mcpipe lock linear github
  mcpipe lock --check --strict
  mcpipe lock --check linear --markdown > changes.md
  mcpipe lock --update linear
  mcpipe call linear list_issues --locked"),
)]
pub struct LockArgs {
    /// Configured names, URLs or command lines [default with --check and --update: the servers in the file]
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// The lock file; `-` is standard output [default: mcp.lock]
    #[arg(short = 'o', long = "output", value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Compare the servers with the file and print what changed
    #[arg(long, conflicts_with = "update")]
    pub check: bool,
    /// Fail if anything changed, not only after breaking changes
    #[arg(long, requires = "check")]
    pub strict: bool,
    /// Print what changed, and write it to the file
    #[arg(long)]
    pub update: bool,
    /// Print the changes as Markdown
    #[arg(long, conflicts_with = "json", conflicts_with = "jq")]
    pub markdown: bool,

    #[command(flatten)]
    pub target_options: TargetOptions,

    #[command(flatten)]
    pub global: GlobalOptions,
}
