//! What to say about a command line that cannot be parsed: what is wrong, and what to type instead.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};

use crate::cli::{self, foreign_options};
use crate::config::Config;
use crate::env::Environment;
use crate::error::{ErrorKind, Failure};
use crate::target::{TargetWord, classify_word};
use crate::util::quoting::{quote, quote_without_secrets};
use crate::util::secret_names::looks_secret;
use crate::util::suggest::did_you_mean;

/// An argument that is not UTF-8, named by its position: its content may be a secret.
#[must_use]
pub fn invalid_utf8_failure(arguments: &[OsString]) -> Failure {
    let position = arguments.iter().position(|word| word.to_str().is_none()).unwrap_or_default();
    Failure::new(ErrorKind::Usage, format!("argument {position} is not valid UTF-8"))
        .hint("pass binary data in a file: name=@FILE")
}

/// The failure for an error of clap, whose text this is: its first paragraph is the message.
#[must_use]
pub fn usage_failure(error: &clap::Error, text: &str, arguments: &[OsString]) -> Failure {
    let before_usage = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    // The tips of clap suggest what only looks similar, or to put a value behind `--`, where a server's command is.
    let lines = before_usage.filter(|line| !line.is_empty() && !line.starts_with("tip: "));
    let message: Vec<&str> = lines
        .filter(|line| !line.starts_with("For more information"))
        .map(|line| line.trim_start_matches("error: "))
        .collect();
    let mut failure = Failure::new(ErrorKind::Usage, message.join(" "));
    if let Some(usage) = text.lines().find_map(|line| line.trim().strip_prefix("Usage: ")) {
        failure = failure.cause(format!("usage: {usage}"));
    }
    let hint = hint(error, arguments);
    failure.hint(hint.unwrap_or_else(|| format!("see mcpipe {}--help", typed_command(arguments).0)))
}

fn hint(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ClapErrorKind::UnknownArgument => suggest_option(text(ContextKind::InvalidArg)?, arguments),
        ClapErrorKind::InvalidSubcommand => suggest_command(text(ContextKind::InvalidSubcommand)?, arguments),
        ClapErrorKind::InvalidValue => {
            let Some(ContextValue::Strings(allowed)) = error.get(ContextKind::ValidValue) else { return None };
            did_you_mean(text(ContextKind::InvalidValue)?, allowed.iter().map(String::as_str))
        }
        _ => None,
    }
}

/// The typed command with its subcommands (`config add `), each followed by a space, and the definition of the last.
fn typed_command(arguments: &[OsString]) -> (String, clap::Command) {
    let mut command = cli::command();
    command.build();
    let mut name = String::new();
    let mut may_be_value = false;
    for word in arguments.iter().skip(1).filter_map(|word| word.to_str()).filter(|word| *word != "help") {
        if let Some(inner) = command.find_subcommand(word) {
            name.push_str(&format!("{word} "));
            command = inner.clone();
        } else if !word.starts_with('-') && !may_be_value {
            break;
        }
        may_be_value = word.starts_with('-');
    }
    (name, command)
}

/// What to type instead of an unknown option: what mcpipe has for it, a similar option, or an argument without dashes.
fn suggest_option(found: &str, arguments: &[OsString]) -> Option<String> {
    let (name, command) = typed_command(arguments);
    let arguments_of = match name.as_str() {
        "call " => Some("a tool's"),
        "prompt " => Some("a prompt's"),
        _ => None,
    };
    let as_argument = || arguments_of.map(|whose| argument_syntax(whose, found, arguments));
    let replacement = foreign_options::replacement(found, name.split(' ').next().unwrap_or_default());
    if !(found.starts_with("--") && replacement.is_some())
        && let Some(way) = arguments_of.and_then(|_| suggest_dashed_tool(found, arguments))
    {
        return Some(way);
    }
    let mut hints = Vec::new();
    match replacement {
        Some((advice, may_be_argument)) => {
            hints.push(advice.to_owned());
            hints.extend(may_be_argument.then(as_argument).flatten());
        }
        None => {
            let known: Vec<String> =
                command.get_arguments().filter_map(|arg| arg.get_long()).map(|long| format!("--{long}")).collect();
            let similar = found.strip_prefix("--").and(did_you_mean(found, known.iter().map(String::as_str)));
            hints.extend(similar);
            hints.extend(as_argument());
        }
    }
    (!hints.is_empty()).then(|| hints.join("; "))
}

/// How to write an argument that was typed like an option: arguments of tools and prompts have no dashes.
fn argument_syntax(whose: &str, found: &str, arguments: &[OsString]) -> String {
    let Some(name) = found.strip_prefix("--").map(|name| name.split('=').next().unwrap_or(name)) else {
        return format!(
            "{whose} arguments are written as name=value, an option's value that begins with a dash as --option=VALUE"
        );
    };
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let at = words.iter().position(|word| word.split('=').next() == Some(&format!("--{name}")));
    let value = at.and_then(|at| match words[at].split_once('=') {
        Some((_, value)) => Some(value),
        None => words.get(at + 1).copied().filter(|next| !next.starts_with('-') && !next.contains('=')),
    });
    let word = match value {
        Some(value) if !looks_secret(name) => format!("{}={}", quote(name), quote(value)),
        _ => format!("{name}=…"),
    };
    format!("{whose} arguments have no dashes: {word}")
}

/// How to call a tool whose name begins with a dash, if one follows the target.
fn suggest_dashed_tool(found: &str, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let ["call", target, tool, ..] = words.as_slice() else { return None };
    let own = if found.starts_with("--") { *tool == found } else { tool.contains(found.trim_start_matches('-')) };
    if !own || !tool.starts_with('-') || target.starts_with('-') {
        return None;
    }
    let name = target.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-'));
    let dotted = if name { format!("{target}.{}, or as ", quote(tool)) } else { String::new() };
    Some(format!("to call a tool of that name: {dotted}{}", quote(&format!(" {tool}()"))))
}

/// What to type instead of an unknown command: often it is a target, and `list` or `call` is missing.
fn suggest_command(word: &str, arguments: &[OsString]) -> Option<String> {
    let (name, command) = typed_command(arguments);
    let names: Vec<&str> = command.get_subcommands().map(clap::Command::get_name).collect();
    let similar = || did_you_mean(word, names.iter().copied());
    if !name.is_empty() {
        return similar();
    }
    let rest: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let at = rest.iter().position(|other| *other == word)?;
    let env = Environment::from_process();
    let (config, _) = Config::load_lenient(&env, config_file(&rest[..at]).map(std::path::Path::new));
    let servers: Vec<&str> = config.enabled_names().collect();
    let is_server = servers.contains(&word)
        || word.match_indices('.').any(|(dot, _)| dot + 1 < word.len() && servers.contains(&&word[..dot]));
    if is_server || !matches!(classify_word(word), Ok(TargetWord::Name(_))) {
        return Some(config.append_config_flag(&with_command(word, &rest[at + 1..])));
    }
    if let Some(line) = foreign_options::command_for(word) {
        return Some(format!("use {}", fill_in(line, &rest[at + 1..])));
    }
    if let Some(similar) = similar() {
        return Some(similar);
    }
    if let Some(server) = config.suggest(word).first() {
        let line = config.append_config_flag(&with_command(server, &rest[at + 1..]));
        return Some(format!("did you mean {line}?"));
    }
    env.find_program(word)?;
    Some(format!("to start it as a server: mcpipe list -- {}", quote_without_secrets(&rest[at..]).join(" ")))
}

/// The command line with the words that were typed in place of TARGET, TOOL and the like.
fn fill_in(line: &str, typed: &[&str]) -> String {
    if typed.iter().any(|word| word.starts_with('-')) {
        return line.to_owned();
    }
    let mut typed = quote_without_secrets(typed).into_iter();
    let is_placeholder = |word: &str| word.chars().all(|c| c.is_ascii_uppercase());
    let mut fill = |word: &str| match is_placeholder(word) {
        true => typed.next().unwrap_or_else(|| word.to_owned()),
        false => word.to_owned(),
    };
    let words: Vec<String> = line.split(' ').map(&mut fill).collect();
    words.into_iter().chain(typed).collect::<Vec<_>>().join(" ")
}

/// The value of `--config`.
fn config_file<'a>(words: &[&'a str]) -> Option<&'a str> {
    let at = words.iter().rposition(|word| *word == "--config" || word.starts_with("--config="))?;
    words[at].strip_prefix("--config=").or_else(|| words.get(at + 1).copied())
}

/// `mcpipe list TARGET`, or `mcpipe call` if a tool follows; without the values of what may be secrets.
fn with_command(target: &str, rest: &[&str]) -> String {
    if rest.is_empty() || rest.iter().any(|word| word.starts_with('-')) {
        return format!("mcpipe list {}", quote(target));
    }
    format!("mcpipe call {} {}", quote(target), quote_without_secrets(rest).join(" "))
}
