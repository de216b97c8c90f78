//! The command line of `request`.

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;

/// Send any request
///
/// Sends a request with METHOD and PARAMS, and prints the result as the server sent it. PARAMS is a JSON object, @FILE
/// that contains one, or - for standard input; mcpipe adds only what the protocol revision requires in _meta, and
/// PARAMS take precedence. A request for input from the server is answered as for other commands.
///
/// The rules for tools (allow_tools, deny_tools, read_only, locked, confirm) apply to tools/call here too, but the
/// arguments are not checked.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
mcpipe request [OPTIONS] <TARGET> <METHOD> [PARAMS]
       mcpipe request [OPTIONS] <METHOD> [PARAMS] -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe request linear ping
  mcpipe request linear prompts/get '{\"name\": \"triage\"}'"),
    after_long_help = long_help!("\
Examples:
  mcpipe request linear ping
  mcpipe request linear prompts/get '{\"name\": \"triage\"}'
  mcpipe request linear tools/list --jq '.tools[].name'
  mcpipe request linear tools/call @call.json
  mcpipe request linear notifications/roots/list_changed --notify
  mcpipe request tools/list -- npx -y @modelcontextprotocol/server-everything"),
)]
pub struct RequestArgs {
    /// Configured name, URL or command line
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The method, and its parameters: a JSON object, @FILE or -
    #[arg(value_name = "METHOD [PARAMS]")]
    pub words: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Send a notification, which has no response
    #[arg(long)]
    pub notify: bool,
    /// Skip the confirmation that the configuration requires
    #[arg(short = 'y', long)]
    pub yes: bool,

    #[command(flatten)]
    pub target_options: TargetOptions,

    #[command(flatten)]
    pub global: GlobalOptions,
}
