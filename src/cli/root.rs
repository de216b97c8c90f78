//! The root of the command line: mcpipe itself and its commands.

use clap::{CommandFactory, Parser, Subcommand};

use crate::cli::assets::{CompletionsArgs, ManArgs};
use crate::cli::auth::{AuthArgs, AuthCommand};
use crate::cli::bridge::BridgeArgs;
use crate::cli::call::CallArgs;
use crate::cli::config::ConfigArgs;
use crate::cli::help;
use crate::cli::list::ListArgs;
use crate::cli::lock::LockArgs;
use crate::cli::options::GlobalOptions;
use crate::cli::prompt::PromptArgs;
use crate::cli::read::ReadArgs;
use crate::cli::replay::ReplayArgs;
use crate::cli::request::RequestArgs;
use crate::cli::session::SessionArgs;
use crate::cli::task::TaskArgs;
use crate::cli::test::TestArgs;
use crate::util::quoting::quote_without_secrets;

/// The maximum width of help texts, in columns.
const HELP_WIDTH: usize = 100;
/// The general options that `mcpipe -h` shows; `mcpipe --help` shows all.
const IN_SHORT_HELP: [&str; 6] = ["json", "jq", "quiet", "verbose", "config", "timeout"];

/// Talk to MCP servers from the command line
///
/// mcpipe lists and calls the tools of Model Context Protocol servers, reads their resources and gets their prompts:
/// from scripts, CI jobs and the terminal.
///
/// Most commands connect to the server that TARGET names. TARGET is one word: the name of a configured server, a URL
/// (https, http, wss, ws or unix:PATH), a recording (replay:FILE), a bundle (./FILE.mcpb), or a command line
/// ('npx -y @scope/server'), which mcpipe starts and talks to over stdio. After `--`, a command line needs no quotes
/// and TARGET is omitted. No shell is run.
///
/// The result goes to stdout and everything else to stderr. With --json the result is the JSON that the server sent.
#[derive(Debug, Parser)]
#[command(
    name = "mcpipe",
    version,
    after_help = help::ROOT_SHORT,
    after_long_help = help::ROOT_LONG,
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

    #[command(flatten)]
    pub global: GlobalOptions,
}

/// The whole command line.
///
/// The general options are accepted before the command and after it. clap's `global` would copy them into every
/// command, used or not; instead each command has its own, and [`Cli::take_global_options`] merges the two.
#[must_use]
pub fn command() -> clap::Command {
    let shown = |arg: clap::Arg| {
        let general = arg.is_hide_long_help_set();
        let short = IN_SHORT_HELP.contains(&arg.get_id().as_str());
        arg.global(false).hide_long_help(false).hide_short_help(general && !short)
    };
    // The last occurrence of an option counts, since an alias or a script may contain an earlier one.
    Cli::command().mut_args(shown).args_override_self(true)
}

/// A command line for a hint, quoted and without secrets; `None` if it is not a valid one. Its first word is the program
/// and is shown as `mcpipe`.
#[must_use]
pub fn valid_line(line: &[&str]) -> Option<String> {
    let line = [&["mcpipe"], line.get(1..)?].concat();
    let is_valid = command().try_get_matches_from(&line).is_ok();
    is_valid.then(|| quote_without_secrets(&line).join(" "))
}

/// The command line for use when the first word is a command. mcpipe's own options need not be defined then, which
/// halves the cost of parsing.
pub(super) fn command_without_global_options() -> clap::Command {
    let command = clap::Command::new("mcpipe").version(env!("CARGO_PKG_VERSION")).propagate_version(true);
    Command::augment_subcommands(command)
        .disable_help_subcommand(true)
        .max_term_width(HELP_WIDTH)
        .args_override_self(true)
}

impl Cli {
    /// The general options; those after the command take precedence over those before it.
    #[must_use]
    pub fn take_global_options(&mut self) -> GlobalOptions {
        let inner = match &mut self.command {
            Command::List(args) => &mut args.global,
            Command::Call(args) => &mut args.global,
            Command::Read(args) => &mut args.global,
            Command::Prompt(args) => &mut args.global,
            Command::Request(args) => &mut args.global,
            Command::Task(args) => &mut args.global,
            Command::Test(args) => &mut args.global,
            Command::Lock(args) => &mut args.global,
            Command::Bridge(args) => &mut args.global,
            Command::Replay(args) => &mut args.global,
            Command::Session(args) => &mut args.global,
            Command::Auth(args) => auth_options(args),
            Command::Config(args) => &mut args.global,
            Command::Completions(args) => &mut args.global,
            Command::Man(args) => &mut args.global,
        };
        std::mem::take(inner).with_fallback(std::mem::take(&mut self.global))
    }
}

fn auth_options(args: &mut AuthArgs) -> &mut GlobalOptions {
    match &mut args.command {
        Some(AuthCommand::Login(args)) => &mut args.global,
        Some(AuthCommand::Logout(args)) => &mut args.global,
        Some(AuthCommand::Status(args)) => &mut args.global,
        Some(AuthCommand::Token(args)) => &mut args.global,
        Some(AuthCommand::Import(args)) => &mut args.global,
        None => &mut args.login.global,
    }
}

/// The commands. Only the definition of the one that is used is built, which keeps the start fast.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// List servers, or the tools, resources and prompts of one
    List(ListArgs),
    /// Call a tool
    Call(Box<CallArgs>),
    /// Read resources
    Read(ReadArgs),
    /// Get a prompt
    Prompt(PromptArgs),
    /// Send any request
    Request(RequestArgs),
    /// Manage long-running calls (tasks)
    Task(TaskArgs),
    /// Test servers
    Test(TestArgs),
    /// Lock what servers offer, or check servers against a lock file
    Lock(LockArgs),
    /// Connect clients that support only stdio to any server
    Bridge(BridgeArgs),
    /// Serve a recording over stdio
    Replay(ReplayArgs),
    /// Keep servers running between commands
    Session(SessionArgs),
    /// Log in, log out, and show the stored logins
    Auth(Box<AuthArgs>),
    /// Show, check and change the configuration
    Config(ConfigArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print a manual page
    Man(ManArgs),
}
