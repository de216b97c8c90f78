//! `completions` and `man`: print what is shipped with the binary.

use super::{Context, Exit};
use crate::cli::{CompletionsArgs, ManArgs};
use crate::error::{Class, Failure, Result};
use crate::generate;
use crate::near::near;

/// Prints the completion script of a shell.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(context: &Context, args: &CompletionsArgs) -> Result<Exit> {
    shipped(context, generate::completion(args.shell))
}

/// Prints a manual page.
///
/// # Errors
/// When there is no such command, or standard output cannot be written.
pub fn man(context: &Context, args: &ManArgs) -> Result<Exit> {
    let name = args.command.join("-");
    let Some(page) = generate::page(&name) else {
        let names: Vec<&str> = generate::PAGES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        let failure = Failure::new(Class::Usage, format!("there is no command '{}'", args.command.join(" ")));
        let nearest = near(&name, names.iter().copied());
        return Err(match nearest.first() {
            Some(nearest) => failure.hint(format!("did you mean: mcpipe man {}", nearest.replace('-', " "))),
            None => failure.hint(format!("the commands are {}", names.join(", "))),
        });
    };
    shipped(context, page)
}

/// Prints a text that is shipped; with `--json` as a JSON string, so that a filter has something to go over.
fn shipped(context: &Context, text: &str) -> Result<Exit> {
    if context.ui.json() { context.ui.json_value(&text.into()) } else { context.ui.bytes(text.as_bytes()) }?;
    Ok(Exit::Done)
}
