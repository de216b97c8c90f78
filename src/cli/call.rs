//! The command line of `call`.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;
use crate::util::size::parse_size;
use crate::util::whole_number::parse_whole_number;

/// Call a tool
///
/// Each ARG is name=value. The tool's input schema decides the type of each value, and all arguments are checked
/// before the call is sent: missing, unknown and mistyped ones are reported together. Required arguments that have a
/// default may be omitted; the default is sent (except with --no-validate).
///
/// The text of the result goes to stdout as it is; images, audio and other binary content appear as one line each,
/// and --save writes them to files. If the result has no text, its structured content is printed. If the tool reports
/// an error, its content is printed all the same and the exit code is 1.
///
/// A call is carried out at most once, unless --retries allows more.
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
                   and objects are parsed; a value whose type the schema does
                   not declare is a string
  name:=JSON       raw JSON, whatever the schema says
  name=@FILE       the file's text; @- is standard input; @@x is the literal text @x
  name:=@FILE      JSON from the file
  name=@b64:FILE   the file's bytes in base64; name=@FILE is the same if the
                   schema says contentEncoding: base64 or format: byte
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

Expectations (exit code 9):
  mcpipe call linear get_issue id=7 --expect '.structuredContent.state == \"open\"'
  mcpipe call linear whoami --repeat 100 --rate 5/s --threshold 'p95<200ms'

Many calls (NDJSON in, NDJSON out):
  echo '{\"tool\":\"whoami\",\"arguments\":{}}' | mcpipe call linear --batch -
  mcpipe call linear --batch calls.ndjson --jobs 4 --ordered --jq 'select(.error) | .id'
  mcpipe call --batch all.ndjson --rate 5/s --max-failures 3     \"server\" in lines
  mcpipe call linear --batch calls.ndjson --skip-done done.ndjson >> done.ndjson

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

    /// A JSON object of arguments, which ARGs add to or change
    #[arg(long = "args", value_name = "JSON|@FILE|-")]
    pub object: Option<String>,
    /// Run the calls in FILE (NDJSON; - for standard input)
    ///
    /// Each line of FILE is {"tool":…,"arguments":…,"id":…}. One result line is printed as each call finishes. In place
    /// of "tool", a line may read a resource ("read":URI), get a prompt ("prompt":…,"arguments":…) or send any request
    /// ("request":METHOD,"params":…). With "server":NAME, a line is for a configured server; without TARGET, every line
    /// needs that. There is one connection to each server.
    #[arg(long, value_name = "FILE|-", help_heading = "Many calls", groups = ["many", "rated"],
        conflicts_with_all = ["object", "structured", "save", "detach", "tool_use"])]
    pub batch: Option<PathBuf>,
    /// Run the tool calls in FILE (a model API response; - for standard input)
    ///
    /// Prints the tool-result messages to send back to the model.
    #[arg(long, value_name = "FILE|-", help_heading = "Many calls", group = "many",
        conflicts_with_all = ["object", "structured", "save", "detach", "ordered"])]
    pub tool_use: Option<PathBuf>,
    /// Call N times, and print the times
    ///
    /// Prints the number of errors, the rate, and percentiles of the times, instead of the results.
    #[arg(long, value_name = "N", help_heading = "Many calls", groups = ["many", "rated"],
        value_parser = parse_whole_number::<u32, 1>,
        conflicts_with_all = ["structured", "save", "detach", "dry_run", "ordered"])]
    pub repeat: Option<u32>,
    /// Start the calls of --repeat or --batch at this rate, for example 5/s
    ///
    /// With --repeat, a call is timed from its scheduled start. Without --rate, each call starts when another ends. N/m
    /// is per minute.
    #[arg(long, value_name = "N/s", help_heading = "Many calls", requires = "rated", conflicts_with = "tool_use",
        hide_short_help = true, value_parser = parse_rate)]
    pub rate: Option<f64>,
    /// Exit with code 9 unless --repeat stays within LIMIT; may be repeated
    ///
    /// LIMIT is METRIC, then <, <=, > or >=, then a value: p95<200ms, errors<1%, rate>100. The metrics are p0 to p100,
    /// max and mean (times), errors (a count or %) and rate (calls/s).
    #[arg(long, value_name = "LIMIT", help_heading = "Many calls", requires = "repeat", hide_short_help = true,
        conflicts_with_all = ["batch", "tool_use"])]
    pub threshold: Vec<String>,
    /// Also write the times of --repeat to FILE as an HTML page
    ///
    /// The page has a plot of all calls, and needs no other file.
    #[arg(long, value_name = "FILE", help_heading = "Many calls", requires = "repeat", hide_short_help = true,
        conflicts_with_all = ["batch", "tool_use"])]
    pub html: Option<PathBuf>,
    /// Run up to N calls at once [default: 8]
    ///
    /// With --repeat the default is 1.
    #[arg(long, value_name = "N", help_heading = "Many calls", requires = "many",
        value_parser = parse_whole_number::<u16, 1>)]
    pub jobs: Option<u16>,
    /// Print --batch results in input order
    #[arg(long, help_heading = "Many calls", requires = "batch", hide_short_help = true)]
    pub ordered: bool,
    /// With --batch: after N failures in a row of a server, do not send its other lines
    ///
    /// They fail at once (class unreachable) until one that is tried after a pause succeeds. The pause is 1 s at first,
    /// and doubles up to 30 s. Errors that a tool or the server reports do not count.
    #[arg(long, value_name = "N", help_heading = "Many calls", requires = "batch", hide_short_help = true,
        conflicts_with_all = ["tool_use", "repeat"], value_parser = parse_whole_number::<u32, 1>)]
    pub max_failures: Option<u32>,
    /// With --batch: skip the lines whose IDs have a result in FILE, the output of an earlier run
    ///
    /// A line that failed, or whose tool reported an error, runs again. FILE may be the file that the output is
    /// appended to.
    #[arg(long, value_name = "FILE", help_heading = "Many calls", requires = "batch", hide_short_help = true,
        conflicts_with_all = ["tool_use", "repeat"])]
    pub skip_done: Option<PathBuf>,
    /// Send the arguments even if they are invalid
    ///
    /// The schema still decides the type of each value; a value that does not fit is sent as a string. No
    /// defaults are filled in.
    #[arg(long)]
    pub no_validate: bool,
    /// Print the request instead of sending it
    #[arg(long, conflicts_with_all = ["structured", "save", "strict"])]
    pub dry_run: bool,
    /// Print only the structured content
    #[arg(long, conflicts_with = "save")]
    pub structured: bool,
    /// Write binary content to files in DIR
    ///
    /// Binary content is images, audio and blobs. The names of the files are printed (with --json: to stderr).
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// Write the result to FILE (- for stdout)
    ///
    /// In a file, binary content is written as bytes.
    #[arg(short = 'o', long, value_name = "FILE|-", hide_short_help = true,
        conflicts_with_all = ["save", "batch", "tool_use", "repeat", "detach", "dry_run"])]
    pub output: Option<PathBuf>,
    /// Print N bytes of the result at most: a longer one is cut in the middle
    ///
    /// JSON stays JSON. The whole result is kept in a temporary file. Its name is printed in the place of what is
    /// missing, or in a warning if the result is JSON or N is too small for it. With --tool-use, N is for the text of
    /// each result. Units such as 8kB are accepted.
    #[arg(long, value_name = "N", value_parser = parse_size, hide_short_help = true,
        conflicts_with_all = ["output", "batch", "repeat", "detach", "dry_run"])]
    pub max_bytes: Option<u64>,
    /// Start the call as a task, print its ID and exit
    #[arg(long, conflicts_with_all = ["structured", "save", "dry_run", "strict"])]
    pub detach: bool,
    /// Fail if the result does not match the output schema
    ///
    /// Without it, a mismatch is a warning.
    #[arg(long, conflicts_with = "no_validate", hide_short_help = true)]
    pub strict: bool,
    /// Exit with code 9 unless EXPR (jq) is true for the result
    ///
    /// The expression is evaluated over the result, which is printed all the same. The option may be repeated. If the
    /// expression compares two values, both are shown.
    #[arg(long, value_name = "EXPR", conflicts_with_all = ["batch", "tool_use", "detach", "dry_run"])]
    pub expect: Vec<String>,
    /// Call the tool only if it matches the lock file [default FILE: mcp.lock]
    ///
    /// A tool that differs, or that the file does not have, is not called: the exit code is 8. `mcpipe lock` writes the
    /// file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "mcp.lock")]
    pub locked: Option<PathBuf>,
    /// Skip the confirmation that the configuration requires
    #[arg(short = 'y', long)]
    pub yes: bool,

    #[command(flatten)]
    pub target_options: TargetOptions,

    #[command(flatten)]
    pub global: GlobalOptions,
}

impl CallArgs {
    /// The file to write to; `None` for standard output.
    #[must_use]
    pub fn output_file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// The lowest rate, in calls per second: the times of all calls have to fit into a clock.
const MIN_RATE: f64 = 1e-6;

/// Calls per second.
fn parse_rate(text: &str) -> Result<f64, String> {
    let (number, seconds) = match text.split_once('/') {
        None | Some((_, "s")) => (text.trim_end_matches("/s"), 1.0),
        Some((number, "m")) => (number, 60.0),
        Some(_) => return Err("write it as 5/s or 300/m".to_owned()),
    };
    match number.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && number / seconds >= MIN_RATE => Ok(number / seconds),
        Ok(number) if number > 0.0 => Err("it is out of range; write it as 5/s or 300/m".to_owned()),
        _ => Err("write it as 5/s or 300/m".to_owned()),
    }
}
