//! The command line of `bridge`.

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;

/// Connect clients that support only stdio to any server
///
/// Connects a client that can only start a program to a server that needs more: a URL, a login, a proxy, or another
/// protocol revision. The client starts `mcpipe bridge TARGET` as it would start the server. Messages pass through as
/// they came, in both directions. Between 2026-07-28 and earlier revisions, messages are translated.
///
/// The allow_tools, deny_tools and locked rules of a configured server apply. Logins are renewed; log in first, with
/// `mcpipe auth login TARGET`. A connection that is lost is opened again with the next request.
///
/// With several servers, tools and prompts are named server__tool, and resources are found by their URI.
#[derive(Debug, Args)]
#[command(
    override_usage = "\
mcpipe bridge [OPTIONS] <TARGET>...
       mcpipe bridge [OPTIONS] -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe bridge linear
  mcpipe bridge linear github"),
    after_long_help = long_help!("\
In the configuration of a client:
  {\"mcpServers\": {\"linear\": {\"command\": \"mcpipe\", \"args\": [\"bridge\", \"linear\"]}}}

Examples:
  mcpipe bridge linear
  mcpipe bridge https://mcp.example.com/mcp -H @headers.txt
  mcpipe bridge linear github
  mcpipe list -- mcpipe bridge linear"),
)]
pub struct BridgeArgs {
    /// Configured names, URLs or command lines
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Skip the confirmation that the configuration requires
    #[arg(short = 'y', long)]
    pub yes: bool,

    #[command(flatten)]
    pub target_options: TargetOptions,

    #[command(flatten)]
    pub global: GlobalOptions,
}
