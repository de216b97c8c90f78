//! Completion at run time: a shell calls mcpipe with `MCPIPE_COMPLETE` set and reads candidates.
//!
//! Names of servers come from the configuration; names of tools, prompts and resources come from cached lists.
//! Completion never connects, and errors (such as a broken configuration) produce no candidates and no message.

mod candidates;
mod command_line;
mod files;
mod shells;

use std::ffi::OsStr;
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use crate::cli;
use crate::complete::candidates::CandidateSource;
use crate::complete::command_line::PartialCommandLine;
use crate::env;

pub use shells::SHELLS;

/// Answers a shell's completion request; `None` if this is an ordinary run.
#[must_use]
pub fn run_if_requested() -> Option<u8> {
    let shell = std::env::var_os(env::COMPLETE).filter(|value| !value.is_empty())?;
    let arguments = std::env::args_os();
    let cwd = std::env::current_dir().ok();
    let typed = Arc::new(PartialCommandLine::from_process(&shell.to_string_lossy()));
    let factory = || command_with_completers(&typed);
    let done =
        CompleteEnv::with_factory(factory).var(env::COMPLETE).shells(SHELLS).try_complete(arguments, cwd.as_deref());
    Some(u8::from(!matches!(done, Ok(true))))
}

/// The kinds of values that can be completed.
#[derive(Clone, Copy)]
enum CandidateKind {
    Server,
    /// A server, or `SERVER.TOOL`.
    ServerOrTool,
    Tool,
    Argument,
    Resource,
    Prompt,
    PromptArgument,
    /// The id of a task that mcpipe started, or the server of another task.
    Task,
    /// A session.
    Session,
    /// A stored secret.
    Secret,
    /// A stored secret, or one that is referred to.
    ReferencedSecret,
    /// A client whose servers can be imported, or a file.
    Client,
    /// A method of the protocol.
    Method,
    /// A command with a manual page.
    ManPage,
    /// A server, or a suite.
    ServerOrFile,
    File,
    /// `@FILE`.
    AtFile,
    /// A word of a command line, after `--` only.
    CommandWord,
}

/// The kind of an argument, by its command (with its parent commands, without `mcpipe`) and its name.
fn candidate_kind(command: &str, arg: &str) -> Option<CandidateKind> {
    Some(match (command, arg) {
        ("call" | "list", "target") => CandidateKind::ServerOrTool,
        ("call" | "list", "tool") => CandidateKind::Tool,
        ("call", "args") => CandidateKind::Argument,
        ("call", "object") | (_, "elicit") => CandidateKind::AtFile,
        ("read", "uris") => CandidateKind::Resource,
        ("prompt", "name") => CandidateKind::Prompt,
        ("prompt", "args") => CandidateKind::PromptArgument,
        ("task get" | "task wait" | "task cancel", "words") => CandidateKind::Task,
        ("session stop" | "session logs", "name") => CandidateKind::Session,
        ("config secret remove", "name") => CandidateKind::Secret,
        ("config secret set", "name") => CandidateKind::ReferencedSecret,
        ("config import", "from") => CandidateKind::Client,
        ("test", "targets") => CandidateKind::ServerOrFile,
        ("replay", "file") => CandidateKind::File,
        ("request", "words") => CandidateKind::Method,
        ("man", "command") => CandidateKind::ManPage,
        // A new server has a new name.
        ("config add", "name" | "target" | "command") => CandidateKind::CommandWord,
        ("config add", _) => return None,
        (_, "target") | ("config get" | "config remove" | "config rename" | "config check", "name") => {
            CandidateKind::Server
        }
        (_, "command") => CandidateKind::CommandWord,
        _ => return None,
    })
}

/// The command line, with completers for each argument.
fn command_with_completers(typed: &Arc<PartialCommandLine>) -> Command {
    let mut command = cli::command();
    // The arguments of each command are known once it is built.
    command.build();
    add_completers(&mut command, "", typed);
    command
}

/// Adds completers to a command whose full name is `name`.
fn add_completers(command: &mut Command, name: &str, typed: &Arc<PartialCommandLine>) {
    let places: Vec<(String, CandidateKind)> = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_id().to_string(), candidate_kind(name, arg.get_id().as_str())?)))
        .collect();
    for (id, what) in places {
        let typed = typed.clone();
        let find = move |current: &OsStr| candidates(&typed, what, current);
        *command = std::mem::take(command).mut_arg(id, |arg| arg.add(ArgValueCompleter::new(find)));
    }
    if typed.current.is_empty() {
        // Options are offered if a dash was typed, or if there is nothing else.
        let hidden = |arg: Arg| if arg.is_positional() { arg } else { arg.hide(true) };
        *command = std::mem::take(command).mut_args(hidden);
    }
    for inner in command.get_subcommands_mut() {
        let name = format!("{name} {}", inner.get_name());
        add_completers(inner, name.trim_start(), typed);
    }
}

fn candidates(typed: &PartialCommandLine, what: CandidateKind, current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let found = match typed.words_of_command() {
        Some(0) => files::program_candidates(current),
        Some(_) => files::path_candidates("", current),
        None => known_candidates(typed, what, current),
    };
    let fits = |(value, help): (String, String)| {
        if !value.starts_with(current) || !typed.is_safe_candidate(&value) {
            return None;
        }
        Some(CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into())))
    };
    found.into_iter().filter_map(fits).collect()
}

fn known_candidates(typed: &PartialCommandLine, what: CandidateKind, current: &str) -> Vec<files::Candidate> {
    let known = CandidateSource::new(typed);
    match what {
        CandidateKind::Server => known.servers(),
        CandidateKind::ServerOrTool => match current.contains('.') {
            true => known.servers().into_iter().chain(known.server_tools(current)).collect(),
            false => known.servers(),
        },
        CandidateKind::Tool => known.tools(current),
        CandidateKind::Argument => known.arguments(current),
        CandidateKind::Resource => known.resources(),
        CandidateKind::Prompt => known.prompts(),
        CandidateKind::PromptArgument => known.prompt_arguments(),
        CandidateKind::Task => known.tasks(),
        CandidateKind::Session => known.sessions(),
        CandidateKind::Secret => known.secrets(false),
        CandidateKind::ReferencedSecret => known.secrets(true),
        CandidateKind::Client => known.clients(current),
        CandidateKind::Method => candidates::methods(),
        CandidateKind::ManPage => candidates::man_pages(typed, current),
        CandidateKind::ServerOrFile => known.servers().into_iter().chain(files::path_candidates("", current)).collect(),
        CandidateKind::File => files::path_candidates("", current),
        CandidateKind::AtFile => files::path_candidates("@", current),
        CandidateKind::CommandWord => Vec::new(),
    }
}
