//! The command line of `call`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;

/// Call a tool
///
/// Each ARG is name=value. The tool's input schema decides the type of each value, and all arguments are checked
/// before anything is sent: missing, unknown and mistyped ones are reported together. Required arguments that have a
/// default may be omitted; the default is sent (except with --no-validate).
///
/// The text of the result goes to stdout as it is; images, audio and other binary content appear as one line each,
/// and --save writes them to files. If the result has no text, its structured content is printed. If the tool reports
/// an error, its content is printed all the same and the exit code is 1.
///
/// A call reaches the server at most once, unless --retries asks for more.
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "\
mcpipe call [OPTIONS] <TARGET> <TOOL> [ARG]...
       mcpipe call [OPTIONS] <TOOL> [ARG]... -- <COMMAND>...
       mcpipe call [OPTIONS] --batch <FILE|-> [TARGET | -- <COMMAND>...]
       mcpipe call [OPTIONS] --tool-use <FILE|-> [TARGET | -- <COMMAND>...]",
    after_help = short_help!("\
Arguments: name=value, typed by the tool's schema; name:=JSON; name=@FILE

Examples:
  mcpipe call linear create_issue title='Broken build' labels=ci labels=urgent
  mcpipe call get-sum a=2 b=3 -- npx -y @modelcontextprotocol/server-everything"),
    after_long_help = long_help!("\
Arguments, typed by the tool's schema:
  name=value       a string stays a string (\"007\"); numbers, booleans, arrays
                   and objects are parsed; with --no-validate every value is a
                   string
  name:=JSON       raw JSON, whatever the schema says
  name=@FILE       the file's text; @- is stdin; @@x is the literal text @x
  name:=@FILE      JSON from the file
  a.b=1            a member of an object
  a[0].b=1         a member of an array item; if the schema says array, a.0.b=1
                   is the same
  tag=a tag=b      an array, if the schema says array

Examples:
  mcpipe call linear create_issue title='Broken build' labels=ci labels=urgent
  mcpipe call 'npx -y @modelcontextprotocol/server-everything' get-sum a=2 b=3
  mcpipe call files write_file path=out.txt content=@report.md
  mcpipe call linear 'create_issue(title: \"Broken build\", priority: 2)'
  echo '{\"query\":\"rust\"}' | mcpipe call linear search --args - --json
  mcpipe call linear create_issue --help       shows that tool, like `list`

Many calls over one connection (NDJSON in, NDJSON out):
  echo '{\"tool\":\"whoami\",\"arguments\":{}}' | mcpipe call linear --batch -
  mcpipe call linear --batch calls.ndjson --jobs 4 --ordered --jq 'select(.error) | .id'

The calls in a model API response:
  mcpipe call linear --tool-use reply.json > results.json
  curl -s … | mcpipe call --tool-use -    SERVER__TOOL of configured servers"),
)]
pub struct CallArgs {
    /// Configured name, URL or command line; also SERVER.TOOL
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The tool, or a call form: 'tool(name: "value", n: 5)'
    #[arg(value_name = "TOOL")]
    pub tool: Option<String>,
    /// The tool's arguments
    #[arg(value_name = "ARG")]
    pub args: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// All arguments as one JSON object
    #[arg(long = "args", value_name = "JSON|@FILE|-")]
    pub object: Option<String>,
    /// Run the calls in FILE (NDJSON; - for stdin) over one connection
    ///
    /// Each line of FILE is {"tool":…,"arguments":…,"id":…}. One result line is printed as each call finishes.
    #[arg(long, value_name = "FILE|-", help_heading = "Many calls", group = "many",
        conflicts_with_all = ["object", "structured", "save", "detach", "tool_use"])]
    pub batch: Option<PathBuf>,
    /// Run the tool calls in FILE (a model API response; - for stdin)
    ///
    /// Prints the tool-result messages to send back to the model.
    #[arg(long, value_name = "FILE|-", help_heading = "Many calls", group = "many",
        conflicts_with_all = ["object", "structured", "save", "detach", "ordered"])]
    pub tool_use: Option<PathBuf>,
    /// Run up to N calls at once [default: 8]
    #[arg(long, value_name = "N", help_heading = "Many calls", requires = "many",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Print --batch results in input order
    #[arg(long, help_heading = "Many calls", requires = "batch")]
    pub ordered: bool,
    /// Send the arguments as typed, without checking them
    #[arg(long)]
    pub no_validate: bool,
    /// Print the request and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print only the structured content
    #[arg(long, conflicts_with = "save")]
    pub structured: bool,
    /// Write binary content to files in DIR
    ///
    /// Binary content is images, audio and blobs. The names of the files are printed (with --json: to stderr).
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Start the call as a task, print its ID and exit
    #[arg(long, conflicts_with_all = ["structured", "save", "dry_run"])]
    pub detach: bool,
    /// Fail if the result does not match the output schema
    ///
    /// Without it, a mismatch is a warning.
    #[arg(long, conflicts_with = "no_validate")]
    pub strict: bool,
    /// Skip the confirmation that is configured
    #[arg(short = 'y', long)]
    pub yes: bool,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}
