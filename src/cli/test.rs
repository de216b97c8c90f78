//! The command line of `test`.

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;

/// Check servers
///
/// For each TARGET, mcpipe checks whether the server can be reached and keeps to the protocol: name resolution, TCP, TLS,
/// HTTP, authorization metadata, login, negotiation, identity, every list to its end, names, schemas, declared
/// capabilities, the answers to an unknown tool and an unknown method, clean standard output, and shutdown. No tool of
/// the server is called.
///
/// Each check is a line: ok, warn, FAIL or skip, the check, and what was seen. If the server cannot be reached, the checks
/// end at the first that failed, and the exit code is that of the failure (4, 5, 6 or 7). If other checks fail, it is 9.
/// -v shows more about each check.
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "\
mcpipe test [OPTIONS] <TARGET>...
       mcpipe test [OPTIONS] -- <COMMAND>...",
    after_help = short_help!("\
Examples:
  mcpipe test linear
  mcpipe test -- npx -y @modelcontextprotocol/server-everything"),
    after_long_help = long_help!("\
Examples:
  mcpipe test linear                       check a configured server
  mcpipe test https://mcp.example.com/mcp -v
  mcpipe test -- npx -y @modelcontextprotocol/server-everything
  mcpipe test linear docs --json | jq -r 'select(.outcome == \"fail\") | .check'"),
)]
pub struct TestArgs {
    /// Configured names, URLs or command lines
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Check up to N servers at once [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}
