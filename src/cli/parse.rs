//! Parsing the command line.

use std::ffi::OsString;
use std::mem::ManuallyDrop;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use crate::cli::fast_path;
use crate::cli::list::ListArgs;
use crate::cli::options::GlobalOptions;
use crate::cli::root::{Cli, Command, command, command_without_global_options};

/// Parses a command line.
///
/// # Errors
/// When it is wrong, or asks for help or the version.
pub fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    match fast_path::parse(arguments) {
        Some(cli) => Ok(cli),
        None => parse_with_help(arguments),
    }
}

#[cold] // Its frame would be part of every start.
fn parse_with_help(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    if arguments.get(1).is_some_and(|word| word == "help") {
        // `mcpipe help list --json` asks for the help of `list`.
        let words = |word: &&OsString| !word.to_str().is_some_and(|word| word.starts_with('-'));
        return parse_with_clap(&arguments.iter().filter(words).cloned().collect::<Vec<_>>());
    }
    parse_with_clap(arguments).or_else(|error| help_of_tool(arguments, &error).ok_or(error))
}

fn parse_with_clap(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let first = arguments.get(1).and_then(|word| word.to_str());
    let bare = first.is_some_and(<Command as clap::Subcommand>::has_subcommand);
    // Never freed: dropping the definitions would cost a tenth of the start.
    let mut command = ManuallyDrop::new(if bare { command_without_global_options() } else { command() });
    let mut matches = ManuallyDrop::new(command.try_get_matches_from_mut(arguments)?);
    let group =
        matches.subcommand().filter(|(_, own)| own.subcommand_name().is_some()).map(|(name, _)| name.to_owned());
    if bare {
        let mut global = GlobalOptions::default();
        // What stands between a command and its subcommand.
        if let Some(group) = group.and_then(|name| command.find_subcommand(name)) {
            global.restore_repeated(&arguments[1..], group);
        }
        Command::from_arg_matches_mut(&mut matches).map(|command| Cli { command, global })
    } else {
        Cli::from_arg_matches_mut(&mut matches).map(|mut cli| {
            cli.global.restore_repeated(arguments, &command);
            cli
        })
    }
    .map_err(|error| error.format(&mut command))
}

/// `call TARGET TOOL --help` shows that tool, as `list TARGET TOOL` does.
fn help_of_tool(arguments: &[OsString], error: &clap::Error) -> Option<Cli> {
    if error.kind() != ErrorKind::DisplayHelp {
        return None;
    }
    let mut command_follows = false;
    let asks_for_help = |word: &&OsString| {
        command_follows |= *word == "--";
        command_follows || !(*word == "--help" || *word == "-h")
    };
    let words: Vec<OsString> = arguments.iter().filter(asks_for_help).cloned().collect();
    let Cli { command: Command::Call(call), global } = parse_with_clap(&words).ok()? else { return None };
    let (target, tool) = match call.command.is_empty() {
        true => (call.target, call.tool),
        false => (None, call.target),
    };
    let command = if tool.is_some() { call.command } else { return None };
    let list = ListArgs {
        target,
        tool,
        command,
        target_options: call.target_options,
        global: call.global,
        ..ListArgs::default()
    };
    Some(Cli { command: Command::List(list), global })
}
