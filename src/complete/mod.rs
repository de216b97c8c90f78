//! Completion as it happens: a shell calls mcpipe with `MCPIPE_COMPLETE` set and gets candidates back.
//!
//! Names of servers come from the configuration, names of tools, prompts and resources from the remembered
//! lists. Nothing here ever connects, and whatever is wrong (a broken configuration, say) is passed over in
//! silence: nobody asked for it.

mod files;
mod known;
mod shells;
mod typed;

use std::ffi::OsStr;
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;

use crate::cli;
use crate::env;
use known::Known;
use typed::Typed;

pub use shells::SHELLS;

/// The completion request of a shell, answered; `None` on an ordinary run.
#[must_use]
pub fn requested() -> Option<u8> {
    let shell = std::env::var_os(env::COMPLETE).filter(|value| !value.is_empty())?;
    let arguments = std::env::args_os();
    let cwd = std::env::current_dir().ok();
    let typed = Arc::new(Typed::of_process(&shell.to_string_lossy()));
    let factory = || wired(&typed);
    let done =
        CompleteEnv::with_factory(factory).var(env::COMPLETE).shells(SHELLS).try_complete(arguments, cwd.as_deref());
    Some(u8::from(!matches!(done, Ok(true))))
}

/// What can stand in a place.
#[derive(Clone, Copy)]
enum What {
    Server,
    /// A server, or `SERVER.TOOL`.
    ServerOrTool,
    Tool,
    Argument,
    Resource,
    Prompt,
    PromptArgument,
    /// The id of a task that mcpipe started, or the server of another one.
    Task,
    /// A secret that is stored.
    Secret,
    /// A secret that is stored, or referred to.
    WantedSecret,
    /// A client whose servers can be imported, or a file.
    Client,
    /// A command with a manual page.
    Page,
    /// `@FILE`.
    AtFile,
}

/// The place of an argument, by its command (with those above it, but for mcpipe itself) and its own name.
fn what(command: &str, arg: &str) -> Option<What> {
    Some(match (command, arg) {
        ("call" | "list", "target") => What::ServerOrTool,
        ("call" | "list", "tool") => What::Tool,
        ("call", "args") => What::Argument,
        ("call", "object") | (_, "elicit") => What::AtFile,
        ("read", "uris") => What::Resource,
        ("prompt", "name") => What::Prompt,
        ("prompt", "args") => What::PromptArgument,
        ("task get" | "task wait" | "task cancel", "words") => What::Task,
        ("config secret remove", "name") => What::Secret,
        ("config secret set", "name") => What::WantedSecret,
        ("config import", "from") => What::Client,
        ("man", "command") => What::Page,
        // A new server has a new name.
        ("config add", _) => return None,
        (_, "target") | ("config get" | "config remove" | "config rename" | "config check", "name") => What::Server,
        _ => return None,
    })
}

/// The command line, with what is known about each place.
fn wired(typed: &Arc<Typed>) -> Command {
    let mut command = cli::command();
    // What each command takes is known once it is built.
    command.build();
    wire(&mut command, "", typed);
    command
}

/// Wires a command whose name, with those above it, is `name`.
fn wire(command: &mut Command, name: &str, typed: &Arc<Typed>) {
    let places: Vec<(String, What)> = command
        .get_arguments()
        .filter_map(|arg| Some((arg.get_id().to_string(), what(name, arg.get_id().as_str())?)))
        .collect();
    for (id, what) in places {
        let typed = typed.clone();
        let find = move |current: &OsStr| candidates(&typed, what, current);
        *command = std::mem::take(command).mut_arg(id, |arg| arg.add(ArgValueCompleter::new(find)));
    }
    if typed.current.is_empty() {
        // Options are offered to who begins one, and where there is nothing else.
        let hidden = |arg: Arg| if arg.is_positional() { arg } else { arg.hide(true) };
        *command = std::mem::take(command).mut_args(hidden);
    }
    for inner in command.get_subcommands_mut() {
        let name = format!("{name} {}", inner.get_name());
        wire(inner, name.trim_start(), typed);
    }
}

fn candidates(typed: &Typed, what: What, current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let known = Known::of(typed);
    let all = match what {
        What::Server => known.servers(),
        What::ServerOrTool => match current.contains('.') {
            true => known.servers().into_iter().chain(known.dotted(current)).collect(),
            false => known.servers(),
        },
        What::Tool => known.tools(current),
        What::Argument => known.arguments(current),
        What::Resource => known.resources(),
        What::Prompt => known.prompts(),
        What::PromptArgument => known.prompt_arguments(),
        What::Task => known.tasks(),
        What::Secret => known.secrets(false),
        What::WantedSecret => known.secrets(true),
        What::Client => known.clients(current),
        What::Page => known::pages(typed, current),
        What::AtFile => files::behind("@", current),
    };
    let fits = |(value, help): (String, String)| {
        if !value.starts_with(current) || !typed.takes(&value) {
            return None;
        }
        Some(CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into())))
    };
    all.into_iter().filter_map(fits).collect()
}
