//! The command line of `replay`.

use clap::Args;

use crate::cli::options::GlobalOptions;

/// Serve a recording over stdio
///
/// Answers the requests of an MCP client with the responses in FILE, which --record wrote, in place of the server. The
/// client starts `mcpipe replay FILE` as it would start the server. A request is matched by its method and parameters;
/// one that recurs gets the recorded responses in order, and a request that is not in the recording gets an error that
/// shows the nearest one.
///
/// In mcpipe, use the target replay:FILE instead.
#[derive(Debug, Args)]
#[command(
    override_usage = "mcpipe replay [OPTIONS] <FILE>[#SERVER]",
    after_help = short_help!("\
Examples:
  mcpipe call linear list_issues --record linear.rec
  mcpipe replay linear.rec
  mcpipe call replay:linear.rec list_issues"),
    after_long_help = long_help!("\
Examples:
  mcpipe call linear list_issues --record linear.rec
  mcpipe replay linear.rec
  mcpipe call replay:linear.rec list_issues
  mcpipe list -- mcpipe replay linear.rec"),
)]
pub struct ReplayArgs {
    /// The recording; FILE#SERVER if the recording has several servers
    #[arg(value_name = "FILE")]
    pub file: String,

    #[command(flatten)]
    pub global: GlobalOptions,
}
