//! The command line of `test`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::options::GlobalOptions;
use crate::target::TargetOptions;
use crate::util::whole_number::parse_whole_number;

/// Test servers
///
/// For each TARGET, mcpipe checks whether the server can be reached and keeps to the protocol: name resolution, TCP,
/// TLS, HTTP, authorization metadata, login, negotiation, identity, all pages of every list, names, schemas, declared
/// capabilities, the answers to an unknown tool and an unknown method, clean standard output, and shutdown. No tool of
/// the server is called. If the server cannot be reached, the remaining checks are skipped, and the exit code is that
/// of the failure (4, 5, 6 or 7). If other checks fail, it is 9. -v shows more about each check.
///
/// A suite is a TOML file with calls, and what their results must be; a directory stands for every suite in it. Suites
/// are checked before connecting. If a test fails, the exit code is 9. --init prints a suite for TARGET; `mcpipe man
/// suite.5` describes every key.
///
/// Each check or test is a line: ok, warn, FAIL or skip, its name, and what was seen; if the output is not a terminal,
/// the server or suite comes first. Under GitHub Actions, failed tests are also annotations, and a summary is added to
/// the step.
#[derive(Debug, Default, Args)]
#[command(
    override_usage = "\
mcpipe test [OPTIONS] <TARGET|FILE.toml|DIR>...
       mcpipe test [OPTIONS] -- <COMMAND>...
       mcpipe test --init <TARGET>
       mcpipe test --schema",
    after_help = short_help!("\
Examples:
  mcpipe test linear                       check a configured server
  mcpipe test --init linear > linear.toml  write a suite
  mcpipe test linear.toml                  run it"),
    after_long_help = long_help!("\
Examples:
  mcpipe test linear                       check a configured server
  mcpipe test -v -- npx -y @modelcontextprotocol/server-everything
  mcpipe test linear docs --json | jq -r 'select(.outcome == \"fail\") | .check'
  mcpipe test --init linear > linear.toml  write a suite that passes
  mcpipe test linear.toml                  run it
  mcpipe test tests/ --junit report.xml    run every suite in a directory
  mcpipe test tests/ --target http://localhost:8000/mcp --effects"),
)]
pub struct TestArgs {
    /// Names, URLs or command lines; or suites: FILE.toml or DIR
    #[arg(value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The server's command line, instead of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Run the suites against this server
    #[arg(long, value_name = "TARGET", help_heading = "Suites")]
    pub target: Option<String>,
    /// Run only tests whose name contains WORD
    #[arg(long, value_name = "WORD", help_heading = "Suites")]
    pub filter: Option<String>,
    /// Also run tests with requires = "effects"
    #[arg(long, help_heading = "Suites")]
    pub effects: bool,
    /// Write the snapshots of tests, instead of comparing them
    #[arg(long, help_heading = "Suites")]
    pub update: bool,
    /// Skip the other tests after the first failure
    #[arg(long, help_heading = "Suites")]
    pub fail_fast: bool,
    /// Print a suite that TARGET passes now
    ///
    /// The suite checks the server's lists and calls each tool that declares itself read-only. Writing it calls those
    /// tools.
    #[arg(long, help_heading = "Suites",
        conflicts_with_all = ["target", "filter", "effects", "update", "fail_fast", "junit", "tap", "markdown", "html", "locked", "jobs", "schema"])]
    pub init: bool,
    /// Print the JSON Schema of suites, for editors
    #[arg(long, help_heading = "Suites", exclusive = true, hide_short_help = true)]
    pub schema: bool,
    /// Also write the outcomes to FILE as JUnit XML
    #[arg(long, value_name = "FILE", help_heading = "Reports")]
    pub junit: Option<PathBuf>,
    /// Print the outcomes in the Test Anything Protocol (TAP)
    #[arg(long, help_heading = "Reports", conflicts_with = "json", hide_short_help = true)]
    pub tap: bool,
    /// Also write a summary to FILE as Markdown
    #[arg(long, value_name = "FILE", help_heading = "Reports", hide_short_help = true)]
    pub markdown: Option<PathBuf>,
    /// Also write the outcomes to FILE as an HTML page
    ///
    /// The page needs no other file. It has the messages that were exchanged during each failed check or test.
    #[arg(long, value_name = "FILE", help_heading = "Reports", hide_short_help = true)]
    pub html: Option<PathBuf>,
    /// Compare servers with the lock file [default FILE: mcp.lock]
    ///
    /// It is another check of a server. In suites, a tool that differs is not called, and its test fails.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "mcp.lock")]
    pub locked: Option<PathBuf>,
    /// Test up to N servers and suites at once [default: 8]
    #[arg(long, value_name = "N", value_parser = parse_whole_number::<u16, 1>)]
    pub jobs: Option<u16>,

    #[command(flatten)]
    pub target_options: TargetOptions,

    #[command(flatten)]
    pub global: GlobalOptions,
}
