//! The command line of `prompt`.

use clap::Args;

use crate::cli::model_formats::ApiFormat;
use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;

/// Get a prompt
///
/// Prints the messages of the prompt NAME, each under its role. The arguments are name=value and always strings;
/// name=@FILE takes the value from a file. Without NAME, mcpipe lists the server's prompts.
///
/// --for prints the messages in the form that a model API takes, ready to be part of a request.
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "\
mcpipe prompt [OPTIONS] <TARGET> [NAME [ARG]...]
       mcpipe prompt [OPTIONS] [NAME [ARG]...] -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe prompt demo                             list the prompts
  mcpipe prompt demo args-prompt city=Bern state=@state.txt"),
    after_long_help = long_help!("\
Examples:
  mcpipe config add demo -- npx -y @modelcontextprotocol/server-everything
  mcpipe prompt demo                             list the prompts
  mcpipe prompt demo args-prompt city=Bern state=@state.txt
  mcpipe prompt demo completable-prompt --complete department=E
  mcpipe prompt demo args-prompt city=Bern --for anthropic > messages.json"),
)]
pub struct PromptArgs {
    /// Configured name, URL or command line
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The prompt; if omitted, list the prompts
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The prompt's arguments: name=value, always strings
    #[arg(value_name = "ARG")]
    pub args: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Ask the server to complete this argument
    #[arg(long, value_name = "ARG=PREFIX")]
    pub complete: Option<String>,
    /// Print the messages as a model API takes them
    #[arg(long = "for", value_name = "FORM", conflicts_with = "complete")]
    pub form: Option<ApiFormat>,

    #[command(flatten)]
    pub target_options: TargetOptions,

    #[command(flatten)]
    pub global: GlobalOptions,
}
