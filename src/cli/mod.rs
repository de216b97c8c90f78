//! The command line: clap types and their help, nothing else.
//!
//! Help lives here once. The man pages, the completions, `docs/cli.md` and the README's usage are
//! generated from these definitions (`src/generate.rs`) and held equal by a test.

mod auth;
mod config;
mod fast_path;
mod help;
mod model_formats;
mod options;
mod read;
mod task;

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

pub use crate::cli::model_formats::{ApiFormat, ToolFormat};
pub use crate::target::TargetOptions;
pub use auth::*;
pub use config::*;
pub use options::{ColorWhen, ElicitMode, GlobalOptions, LogLevel, LoginWhen};
pub use read::ReadArgs;
pub use task::{TaskArgs, TaskCommand, TaskIdArgs, TaskListArgs, TaskWaitArgs};

/// Help is not set wider than this, in columns.
const HELP_WIDTH: usize = 100;

/// Talk to MCP servers from the command line
#[derive(Debug, Parser)]
#[command(
    name = "mcpipe",
    version,
    about = "Talk to MCP servers from the command line",
    long_about = "Talk to Model Context Protocol servers from scripts, CI jobs and the terminal.\n\n\
        TARGET is a configured name, an http(s) URL, or a command line in one word \
        ('npx -y @scope/server'); after `--` a command line needs no quotes and TARGET is left out.",
    after_help = help::SHORT,
    after_long_help = help::LONG,
    disable_help_subcommand = false,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = HELP_WIDTH
)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The whole command line.
///
/// The general options may stand before the command and behind it. clap's own way to that copies them into
/// every command, invoked or not; here each command has its own, and [`Cli::global`] lays them over each other.
#[must_use]
pub fn command() -> clap::Command {
    // Given twice, the last one counts: an alias or a script may hold the first.
    Cli::command().mut_args(|arg| arg.global(false)).args_override_self(true)
}

/// The same where nothing stands before the command's name: no options but the command's own need be known then,
/// which halves what it costs to read a command line.
fn command_without_global_options() -> clap::Command {
    let command = clap::Command::new("mcpipe").version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    Command::augment_subcommands(command)
        .disable_help_subcommand(true)
        .max_term_width(HELP_WIDTH)
        .args_override_self(true)
}

impl Cli {
    /// Reads a command line.
    ///
    /// # Errors
    /// When it is wrong, or asks for help or the version.
    pub fn from_arguments(arguments: &[OsString]) -> Result<Self, clap::Error> {
        match fast_path::parse(arguments) {
            Some(cli) => Ok(cli),
            None => Cli::parse_with_clap(arguments),
        }
    }

    #[cold] // Its frame would be part of every start.
    fn parse_with_clap(arguments: &[OsString]) -> Result<Self, clap::Error> {
        let first = arguments.get(1).and_then(|word| word.to_str());
        let bare = first.is_some_and(Command::has_subcommand);
        // Never freed: taking the tree of definitions down again would cost a tenth of the start.
        let mut command = ManuallyDrop::new(if bare { command_without_global_options() } else { command() });
        let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(arguments)?);
        if bare {
            Command::from_arg_matches_mut(&mut matches).map(|command| Cli { command, global: GlobalOptions::default() })
        } else {
            Cli::from_arg_matches_mut(&mut matches)
        }
        .map_err(|error| error.format(&mut command))
    }

    /// The general options, wherever they stood; behind the command they win.
    #[must_use]
    pub fn take_global_options(&mut self) -> GlobalOptions {
        let inner = match &mut self.command {
            Command::List(args) => &mut args.global,
            Command::Call(args) => &mut args.global,
            Command::Read(args) => &mut args.global,
            Command::Prompt(args) => &mut args.global,
            Command::Task(args) => &mut args.global,
            Command::Auth(args) => args.global_mut(),
            Command::Config(args) => &mut args.global,
            Command::Completions(args) => &mut args.global,
            Command::Man(args) => &mut args.global,
        };
        std::mem::take(inner).with_fallback(std::mem::take(&mut self.global))
    }
}

/// The commands. Only the one that is invoked is built: that keeps the start fast.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// List servers, or what one of them offers
    List(ListArgs),
    /// Call a tool
    Call(CallArgs),
    /// Read resources
    Read(ReadArgs),
    /// Get a prompt
    Prompt(PromptArgs),
    /// Look after calls that go on without you
    Task(TaskArgs),
    /// Log in, log out, and see where credentials rest
    Auth(Box<AuthArgs>),
    /// Show, check and change the configuration
    Config(ConfigArgs),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Print a manual page
    Man(ManArgs),
}

/// List servers, or what one of them offers
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  mcpipe list                                    every configured server, asked at once
  mcpipe list linear                             its tools
  mcpipe list linear create_issue                one tool in full
  mcpipe list --all -- npx -y @modelcontextprotocol/server-everything
  mcpipe list linear --for anthropic > t.json    the `tools` of a request to a model
  mcpipe list --for typescript > tools.d.ts      the tools of all configured servers
  mcpipe list linear --json | jq -r '.tools[].name'")]
pub struct ListArgs {
    /// Configured name, URL or command line; every configured server where it is left out
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// Show this tool in full
    #[arg(value_name = "TOOL")]
    pub tool: Option<String>,
    /// A server's command line, in place of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// List the resources
    #[arg(long, help_heading = "What to list")]
    pub resources: bool,
    /// List the resource templates
    #[arg(long, help_heading = "What to list")]
    pub templates: bool,
    /// List the prompts
    #[arg(long, help_heading = "What to list")]
    pub prompts: bool,
    /// List the skills
    #[arg(long, help_heading = "What to list")]
    pub skills: bool,
    /// List everything that the server offers
    #[arg(long, help_heading = "What to list", conflicts_with_all = ["resources", "templates", "prompts", "skills"])]
    pub all: bool,
    /// Show identity, revision, capabilities and instructions
    #[arg(long, help_heading = "What to list", conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "grep"])]
    pub info: bool,
    /// Print the raw JSON Schema of the tool's input
    #[arg(long, help_heading = "What to list", conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "info"])]
    pub schema: bool,
    /// List the tools too that are meant for the server's own app only
    #[arg(long, help_heading = "What to list")]
    pub hidden: bool,
    /// Keep what holds WORD in its name, title or description; to find nothing is no failure
    #[arg(long, value_name = "WORD", help_heading = "What to list")]
    pub grep: Option<String>,
    /// Print the tools in the form that a model's API takes, or as TypeScript declarations; several servers' tools
    /// are named SERVER__TOOL
    #[arg(long = "for", value_name = "FORM", help_heading = "What to list",
        conflicts_with_all = ["resources", "templates", "prompts", "skills", "all", "info", "schema", "watch", "offline"])]
    pub form: Option<ToolFormat>,
    /// Print the list again whenever the server says that it changed, until interrupted
    #[arg(long, conflicts_with_all = ["tool", "info", "schema", "skills", "offline"])]
    pub watch: bool,
    /// Without TARGET: print the configured servers and connect to none
    #[arg(long, conflicts_with = "grep")]
    pub offline: bool,
    /// Without TARGET: ask this many servers at a time [default: 8]; one that takes long makes room for the next
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// Call a tool
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Arguments, typed by the tool's own schema:
  name=value       a string stays a string (\"007\"); numbers, booleans, arrays
                   and objects are parsed; without a schema (--no-validate)
                   every value is a string
  name:=JSON       raw JSON, whatever the schema says
  name=@FILE       the file's text; @- is standard input; @@x is the literal text @x
  name:=@FILE      JSON from the file
  a.b=1            a member of an object
  a[0].b=1         a member of an item of an array; where the schema says
                   array, a.0.b=1 is the same
  tag=a tag=b      an array, where the schema says array
What is required and has a default may be left out: the default is sent
(not with --no-validate).

Examples:
  mcpipe call linear create_issue title='Broken build' labels=ci labels=urgent
  mcpipe call 'npx -y @modelcontextprotocol/server-everything' get-sum a=2 b=3
  mcpipe call files write_file path=out.txt content=@report.md
  mcpipe call linear 'create_issue(title: \"Broken build\", priority: 2)'
  echo '{\"query\":\"rust\"}' | mcpipe call linear search --args - --json

Many calls over one connection, a line of JSON in and a line out for each:
  echo '{\"tool\":\"whoami\",\"arguments\":{}}' | mcpipe call linear --batch -
  mcpipe call linear --batch calls.ndjson --jobs 4 --ordered --jq 'select(.error) | .id'

What a model asks for (the body of the API's answer), and the messages to go on:
  mcpipe call linear --tool-use reply.json > results.json
  curl -s … | mcpipe call --tool-use -    SERVER__TOOL, of the configured servers")]
pub struct CallArgs {
    /// Configured name, URL or command line; SERVER.TOOL for configured names
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The tool, or a call form: 'tool(name: "value", n: 5)'
    #[arg(value_name = "TOOL")]
    pub tool: Option<String>,
    /// The tool's arguments
    #[arg(value_name = "ARG")]
    pub args: Vec<String>,
    /// A server's command line, in place of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// The whole arguments object: JSON, @FILE, or - for standard input
    #[arg(long = "args", value_name = "JSON|@FILE|-")]
    pub object: Option<String>,
    /// Make the calls that FILE (or - for standard input) holds, each a line {"tool":…,"arguments":…,"id":…},
    /// over one connection, and answer each with a line as it ends
    #[arg(long, value_name = "FILE|-", help_heading = "Many calls", group = "many",
        conflicts_with_all = ["object", "structured", "save", "detach", "tool_use"])]
    pub batch: Option<std::path::PathBuf>,
    /// Make the calls that a model asks for in FILE (or - for standard input), the answer of its API, and print the
    /// messages that bring it the results
    #[arg(long, value_name = "FILE|-", help_heading = "Many calls", group = "many",
        conflicts_with_all = ["object", "structured", "save", "detach", "ordered"])]
    pub tool_use: Option<std::path::PathBuf>,
    /// Have so many calls under way at once [default: 8]
    #[arg(long, value_name = "N", help_heading = "Many calls", requires = "many",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub jobs: Option<u16>,
    /// Answer the lines of --batch in their order
    #[arg(long, help_heading = "Many calls", requires = "batch")]
    pub ordered: bool,
    /// Send the arguments as typed, without checking them against the tool's schema
    #[arg(long)]
    pub no_validate: bool,
    /// Print the request and send nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Print the structured content alone
    #[arg(long, conflicts_with = "save")]
    pub structured: bool,
    /// Write images, audio and other binary content into files in DIR, whose names are printed (with --json on stderr)
    #[arg(long, value_name = "DIR")]
    pub save: Option<std::path::PathBuf>,
    /// Do not wait: print the id of the task that the call has become
    #[arg(long, conflicts_with_all = ["structured", "save", "dry_run"])]
    pub detach: bool,
    /// Fail where the result does not fit the tool's output schema, in place of a warning
    #[arg(long, conflicts_with = "no_validate")]
    pub strict: bool,
    /// Agree beforehand, where the configuration asks for consent
    #[arg(short = 'y', long)]
    pub yes: bool,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// Get a prompt
#[derive(Debug, Default, Args)]
#[command(after_help = "\
Examples:
  mcpipe config add demo -- npx -y @modelcontextprotocol/server-everything
  mcpipe prompt demo                             the prompts
  mcpipe prompt demo args-prompt city=Bern state=@state.txt
  mcpipe prompt demo completable-prompt --complete department=E
  mcpipe prompt demo args-prompt city=Bern --for anthropic > messages.json")]
pub struct PromptArgs {
    /// Configured name, URL or command line
    #[arg(value_name = "TARGET")]
    pub target: Option<String>,
    /// The prompt; the list of prompts where it is left out
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// The prompt's arguments: name=value, always strings
    #[arg(value_name = "ARG")]
    pub args: Vec<String>,
    /// A server's command line, in place of TARGET
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    /// Ask the server how this argument may go on
    #[arg(long, value_name = "ARG=PREFIX")]
    pub complete: Option<String>,
    /// Print the messages in the form that a model's API takes
    #[arg(long = "for", value_name = "FORM", conflicts_with = "complete")]
    pub form: Option<ApiFormat>,

    /// How to reach the server.
    #[command(flatten)]
    pub target_options: TargetOptions,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// Print the completion script of a shell
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  mcpipe completions bash > ~/.local/share/bash-completion/completions/mcpipe
  mcpipe completions fish > ~/.config/fish/completions/mcpipe.fish
  mcpipe completions zsh > \"${fpath[1]}/_mcpipe\"")]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}

/// A shell with completions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "each variant is the shell it names")]
pub enum Shell {
    Bash,
    Elvish,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

/// Print a manual page
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  mcpipe man | man -l -\n  mcpipe man config add | man -l -\n  mcpipe man call > mcpipe-call.1"
)]
pub struct ManArgs {
    /// The command; mcpipe itself where it is left out
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,

    /// The options of every command.
    #[command(flatten)]
    pub global: GlobalOptions,
}
