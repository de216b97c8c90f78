//! `completions` and `man`: print what is embedded in the binary.

use crate::assets;
use crate::cli::{CompletionsArgs, ManArgs};
use crate::commands::context::{Context, Exit};
use crate::error::{ErrorKind, Failure, Result};
use crate::util::suggest::nearest_names;

/// Prints the completion script of a shell.
///
/// # Errors
/// When standard output cannot be written.
pub fn completions(context: &Context, args: &CompletionsArgs) -> Result<Exit> {
    print_asset(context, assets::completion_script(args.shell))
}

/// Prints a manual page.
///
/// # Errors
/// When there is no such command, or standard output cannot be written.
pub fn man(context: &Context, args: &ManArgs) -> Result<Exit> {
    let name = args.command.join("-");
    let Some(page) = assets::man_page(&name) else {
        let names: Vec<&str> =
            assets::MAN_PAGES.iter().map(|(name, _)| *name).filter(|name| !name.is_empty()).collect();
        let failure = Failure::new(ErrorKind::Usage, format!("unknown command '{}'", args.command.join(" ")));
        let nearest = nearest_names(&name, names.iter().copied());
        return Err(match nearest.first() {
            Some(nearest) => failure.hint(format!("did you mean mcpipe man {}?", nearest.replace('-', " "))),
            None => failure.hint(format!("the commands are {}", names.join(", "))),
        });
    };
    print_asset(context, page)
}

/// Prints an embedded text; with `--json` as a JSON string, for `--jq`.
fn print_asset(context: &Context, text: &str) -> Result<Exit> {
    if context.ui.is_json() {
        context.ui.print_json_value(&text.into())
    } else {
        context.ui.print_bytes(text.as_bytes())
    }?;
    Ok(Exit::Done)
}
