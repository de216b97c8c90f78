//! The command lines of `completions` and `man`.

use clap::{Args, ValueEnum};

use crate::cli::options::GlobalOptions;

/// Print a shell completion script
///
/// Prints the script that makes SHELL complete mcpipe's commands and options, the configured servers, and the tools,
/// arguments, prompts and resources from the last time each was listed. Completing never connects to a server.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  mcpipe completions bash > ~/.local/share/bash-completion/completions/mcpipe
  mcpipe completions fish > ~/.config/fish/completions/mcpipe.fish
  mcpipe completions nushell > ~/.config/nushell/autoload/mcpipe.nu
  mcpipe completions zsh > \"${fpath[1]}/_mcpipe\""),
    after_long_help = long_help!("\
Examples:
  mcpipe completions bash > ~/.local/share/bash-completion/completions/mcpipe
  mcpipe completions fish > ~/.config/fish/completions/mcpipe.fish
  mcpipe completions nushell > ~/.config/nushell/autoload/mcpipe.nu
  mcpipe completions zsh > \"${fpath[1]}/_mcpipe\""),
)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,

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
    Nushell,
    #[value(name = "powershell")]
    PowerShell,
    Zsh,
}

/// Print a manual page
///
/// Prints the manual page of COMMAND, or of mcpipe itself, in roff: pipe it to man, or write it to a directory of
/// man pages. The page config.5 describes the configuration file, suite.5 describes test suites. With --skill it prints
/// SKILL.md: how an agent with a shell uses mcpipe.
#[derive(Debug, Args)]
#[command(
    after_help = short_help!("\
Examples:
  mcpipe man | man -l -
  mcpipe man config add | man -l -
  mcpipe man --skill > SKILL.md"),
    after_long_help = long_help!("\
Examples:
  mcpipe man | man -l -
  mcpipe man config add | man -l -
  mcpipe man config.5 | man -l -
  mcpipe man call > mcpipe-call.1
  mcpipe man --skill > .claude/skills/mcpipe/SKILL.md"),
)]
pub struct ManArgs {
    /// The command, config.5 or suite.5 [default: mcpipe itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Print instructions for agents, in Markdown
    #[arg(long, conflicts_with = "command")]
    pub skill: bool,

    #[command(flatten)]
    pub global: GlobalOptions,
}
