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
    if args.skill {
        return print_asset(context, assets::SKILL);
    }
    let name = page_name(&args.command);
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

/// The name of the page that is meant: `config add`, `config-add`, `mcpipe-config-add` and `mcpipe-config-add.1` are
/// one page; `5 config`, `config.5` and `mcpipe-config.5` are another.
fn page_name(words: &[String]) -> String {
    let (section, words) = match words {
        [section, rest @ ..] if matches!(section.as_str(), "1" | "5") && !rest.is_empty() => (section.as_str(), rest),
        _ => ("", words),
    };
    let name = words.join("-");
    let name = match name.strip_prefix("mcpipe") {
        Some("" | ".1") => "",
        Some(rest) => rest.strip_prefix('-').unwrap_or(&name),
        None => &name,
    };
    let name = name.strip_suffix(".1").unwrap_or(name);
    if section == "5" && !name.ends_with(".5") { format!("{name}.5") } else { name.to_owned() }
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
