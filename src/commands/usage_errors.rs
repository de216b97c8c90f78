//! What to say about a command line that cannot be parsed: what is wrong, and what to type instead.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapErrorKind};

use crate::cli::{self, foreign_options};
use crate::commands::foreign_command_line::{line_without_dashes, resource_or_prompt_line, translated_command_line};
use crate::commands::missing_separator::{after_command, option_with_value, positionals, separated_command_line};
use crate::config::Config;
use crate::env::Environment;
use crate::env::launchers::is_launcher;
use crate::error::{ErrorKind, Failure};
use crate::target::{TargetWord, classify_word, guess_url};
use crate::util::quoting::{self, HIDDEN, quote, quote_without_secrets, without_secret};
use crate::util::secret_words::hide_in_likely_url;
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
    let mut message = plain_message(error, arguments).unwrap_or_else(|| message.join(" "));
    for word in arguments.iter().filter_map(|word| word.to_str()) {
        message = message.replace(word, &hide_in_likely_url(word, HIDDEN));
        message = message.replace(&format!("'{word}'"), &format!("'{}'", without_secret(None, word)));
    }
    let mut failure = Failure::new(ErrorKind::Usage, message);
    if text.lines().any(|line| line.trim().starts_with("Usage: "))
        && let Some(usage) = command_usage(typed_command(arguments).0.split_whitespace())
    {
        failure = failure.cause(format!("usage: {usage}"));
    }
    let hint = hint(error, arguments);
    failure.hint(hint.unwrap_or_else(|| format!("see mcpipe {}--help", typed_command(arguments).0)))
}

/// The first line of the usage that the help of a command shows. The usage in an error of clap is another one: it has
/// only the options that were typed, and a similar one in place of an unknown option.
fn command_usage<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let mut root = cli::command();
    root.build();
    let mut command = &mut root;
    for name in names {
        command = command.find_subcommand_mut(name)?;
    }
    let usage = command.render_usage().to_string();
    usage.lines().next()?.strip_prefix("Usage: ").map(|line| line.trim().to_owned())
}

fn hint(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    specific_hint(error, arguments).map(|hint| with_options_before(hint, arguments))
}

/// The hint with the options that stand before the command in its command lines, unless it has them already.
fn with_options_before(hint: String, arguments: &[OsString]) -> String {
    let words: Vec<&str> = arguments.iter().skip(1).map_while(|word| word.to_str()).collect();
    let (mut end, root) = (0, cli::command());
    while let Some(takes_value) = words.get(end).and_then(|word| option_with_value(word, &root)?) {
        end += 1 + usize::from(takes_value);
    }
    let options = quote_without_secrets(words.get(..end).unwrap_or_default()).join(" ");
    if options.is_empty() || format!("{hint} ").contains(&format!(" {options} ")) {
        return hint;
    }
    // What precedes a command line in a hint.
    let hint = ["use ", "did you mean ", ": ", "&& "].iter().fold(format!(": {hint}"), |hint, before| {
        hint.replace(&format!("{before}mcpipe "), &format!("{before}mcpipe \0 "))
    });
    // The options may contain a command line too.
    hint.trim_start_matches(": ").replace('\0', &options)
}

fn specific_hint(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    match error.kind() {
        ClapErrorKind::UnknownArgument => suggest_option(text(ContextKind::InvalidArg)?, arguments),
        ClapErrorKind::InvalidSubcommand => suggest_command(text(ContextKind::InvalidSubcommand)?, arguments),
        ClapErrorKind::InvalidValue => {
            let Some(ContextValue::Strings(allowed)) = error.get(ContextKind::ValidValue) else { return None };
            let value = text(ContextKind::InvalidValue)?;
            let known = |name: &&str| allowed.iter().any(|allowed| allowed == name);
            match foreign_options::model_api(value).filter(known) {
                Some(name) => Some(format!("use {name}")),
                None => did_you_mean(value, allowed.iter().map(String::as_str)),
            }
        }
        ClapErrorKind::ArgumentConflict => suggest_command(unknown_auth_command(error, arguments)?, arguments),
        ClapErrorKind::MissingRequiredArgument => {
            option_without_its_base(error, arguments).map(|(option, base)| format!("omit {option}, or add {base}"))
        }
        _ => None,
    }
}

/// The message in plain words, for errors that clap explains in the terms of a parser.
fn plain_message(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    match error.kind() {
        ClapErrorKind::ArgumentConflict => {
            unknown_auth_command(error, arguments).map(|word| format!("unrecognized subcommand '{word}'"))
        }
        ClapErrorKind::MissingRequiredArgument => {
            option_without_its_base(error, arguments).map(|(option, base)| format!("{option} applies only with {base}"))
        }
        // The text of clap is the help.
        ClapErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let (name, command) = typed_command(arguments);
            let has_target = command.get_positionals().next().is_some();
            let missing = if has_target { "a target or a subcommand" } else { "a subcommand" };
            Some(format!("'{}' requires {missing}", format!("mcpipe {name}").trim_end()))
        }
        _ => None,
    }
}

/// The first of two words after `auth`: `mcpipe auth TARGET` takes one, so that it was meant as a subcommand.
fn unknown_auth_command<'a>(error: &clap::Error, arguments: &'a [OsString]) -> Option<&'a str> {
    error.get(ContextKind::InvalidSubcommand)?;
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let at = words.iter().position(|word| *word == "auth")?;
    let (_, command) = typed_command(arguments);
    positionals(&words, at + 1, &command).first().map(|at| words[*at])
}

/// The option that was typed without one that it needs, and those that it needs: `--rate` needs `--repeat` or
/// `--batch`.
///
/// clap does not say which option needs the missing ones. It is the one that needs them also if no other was typed.
fn option_without_its_base(error: &clap::Error, arguments: &[OsString]) -> Option<(String, String)> {
    needed_options(error)?;
    let words: Vec<&str> = arguments.iter().map_while(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let (name, _) = typed_command(arguments);
    let command: Vec<&str> = std::iter::once("mcpipe").chain(name.split_terminator(' ')).collect();
    let is_option = |at: &usize| words[*at].starts_with("--");
    (0..words.len()).filter(is_option).find_map(|at| {
        let option = words[at].split('=').next().unwrap_or_default();
        // With the next word, if it is the option's value, and without it.
        [at + 2, at + 1].into_iter().find_map(|end| {
            let typed = words.get(at..end).filter(|typed| !typed[1..].iter().any(|word| word.starts_with('-')))?;
            let alone = cli::command().try_get_matches_from(command.iter().chain(typed)).err()?;
            Some((option.to_owned(), one_of(&needed_options(&alone)?)))
        })
    })
}

/// The options that are missing, if no other argument is.
fn needed_options(error: &clap::Error) -> Option<Vec<String>> {
    let Some(ContextValue::Strings(missing)) = error.get(ContextKind::InvalidArg) else { return None };
    if error.kind() != ClapErrorKind::MissingRequiredArgument {
        return None;
    }
    // An option is `--repeat <N>`, a group of them `<--batch <FILE|->|--repeat <N>>`.
    let name = |part: &str| -> String {
        let end = part.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(part.len());
        format!("--{}", &part[..end])
    };
    let names: Vec<String> = missing
        .iter()
        .filter(|one| one.trim_start_matches('<').starts_with("--"))
        .flat_map(|one| one.split("--").skip(1).map(name))
        .collect();
    (!names.is_empty()).then_some(names)
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

/// The typed command with its subcommands (`config add `), each followed by a space, and the definition of the last.
fn typed_command(arguments: &[OsString]) -> (String, clap::Command) {
    let mut command = cli::command();
    command.build();
    let mut name = String::new();
    let root = cli::command();
    let mut may_be_value = false;
    for word in arguments.iter().skip(1).filter_map(|word| word.to_str()).filter(|word| *word != "help") {
        if let Some(inner) = command.find_subcommand(word) {
            name.push_str(&format!("{word} "));
            command = inner.clone();
        } else if !word.starts_with('-') && !may_be_value {
            break;
        }
        // What follows an unknown option may be its value.
        let definition = if name.is_empty() { &root } else { &command };
        may_be_value = option_with_value(word, definition).is_some_and(|takes_value| takes_value != Some(false));
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
    if let Some(line) = options_after_command(&name, &command, arguments) {
        return Some(format!("put {found} after the command: {line}"));
    }
    let is_typed = found.starts_with("--") || arguments.iter().any(|word| word == found);
    if is_typed && option_with_value(found, &command).flatten().is_some() {
        return Some(format!("put {found} after the command"));
    }
    let words: Option<Vec<&str>> = arguments.iter().skip(1).map(|word| word.to_str()).collect();
    if let Some(line) = words.and_then(|words| translated_command_line(found, &words, &name)) {
        return Some(format!("use {line}"));
    }
    if let Some(line) = with_separator(&name, &command, arguments, &load_config_for(arguments)) {
        return Some(command_last(&line));
    }
    if let Some(line) = command_of_option(found, &name, &command, arguments) {
        return Some(format!("use {line}"));
    }
    if name == "list " && !found.starts_with('-') {
        return shorter_line(found, arguments).map(|line| format!("name one tool, or none: {line}"));
    }
    let is_request_named = arguments_of.is_some() && names_request(found, &name, &command, arguments);
    let replacement = |option: &str| foreign_options::replacement(option, name.split(' ').next().unwrap_or_default());
    let long = long_option_with_one_dash(found, arguments);
    // What mcpipe has for the letter alone: it may be followed by its value, as in `-dtitle=x` of curl.
    let letter = long.as_deref().and_then(|_| Some((found, replacement(found)?.0)));
    let typed = found;
    let found = long.as_deref().unwrap_or(found);
    let as_argument = || {
        let words = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<Vec<_>>>();
        let line = words.filter(|_| is_request_named).and_then(|words| line_without_dashes(&words, &command));
        arguments_of.and_then(|whose| match line {
            Some(line) => Some(format!("{whose} arguments have no dashes: {line}")),
            None => argument_syntax(whose, found, arguments),
        })
    };
    if is_request_named && foreign_options::names_request(found) {
        return as_argument();
    }
    let replacement = replacement(found);
    if !(found.starts_with("--") && replacement.is_some())
        && let Some(way) = arguments_of.and_then(|_| suggest_dashed_tool(typed, arguments))
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
            let similar = match found.strip_prefix("--") {
                // It was typed with one dash.
                Some(_) if known.iter().any(|known| known == found) => Some(format!("did you mean {found}?")),
                Some(_) => did_you_mean(found, known.iter().map(String::as_str)),
                None => None,
            };
            let may_be = |letters: &[&str]| letter.filter(|(letter, _)| similar.is_none() && letters.contains(letter));
            let is_letter_with_value = may_be(&["-b", "-d"]).is_some();
            let attached =
                if arguments_of.is_none() { letter.filter(|_| similar.is_none()) } else { may_be(&["-b", "-d", "-k"]) };
            hints.extend(attached.map(|(_, advice)| advice.to_owned()));
            hints.extend(similar);
            if !is_letter_with_value {
                hints.extend(as_argument());
            }
        }
    }
    (!hints.is_empty()).then(|| hints.join("; "))
}

/// The command line for an option that names a command: `mcpipe list demo` for `mcpipe --list-tools demo` and for
/// `mcpipe call demo --list`, `mcpipe config list` for `mcpipe config --list`.
fn command_of_option(found: &str, name: &str, command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let own = found.strip_prefix("--").filter(|word| command.find_subcommand(word).is_some());
    let (word, option) = match own {
        Some(word) => (word, None),
        // A tool may have an argument of this name.
        None if name.is_empty() || (name == "call " && is_target_alone(found, command, arguments)) => {
            foreign_options::command_of_option(found)?
        }
        None => return None,
    };
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let mut line = vec!["mcpipe"];
    line.extend(name.split_terminator(' ').filter(|_| own.is_some()));
    line.push(word);
    line.extend(after_command(&words, name)?.iter().filter(|word| **word != found));
    line.extend(option);
    cli::valid_line(&line)
}

/// The command line with the options of the command after it, if they stand before it.
fn options_after_command(name: &str, command: &clap::Command, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let rest = after_command(&words, name)?;
    let names: Vec<&str> = name.split_terminator(' ').collect();
    let start = words.iter().position(|word| Some(word) == names.first())?;
    let (mut line, mut moved, root) = (vec!["mcpipe"], Vec::new(), cli::command());
    let mut before = words[1..start].iter().copied();
    while let Some(word) = before.next() {
        let takes_value = |definition| option_with_value(word, definition)?;
        let (place, takes_value) = match takes_value(&root) {
            Some(takes_value) => (&mut line, takes_value),
            None => (&mut moved, takes_value(command)?),
        };
        place.push(word);
        place.extend(before.by_ref().take(usize::from(takes_value)));
    }
    line.extend(names.iter().chain(&moved).chain(rest));
    cli::valid_line(&line).filter(|_| !moved.is_empty())
}

/// Whether the only word besides an option is the target.
fn is_target_alone(option: &str, command: &clap::Command, arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().skip(2).filter_map(|word| word.to_str()).collect();
    words.last() == Some(&option) && positionals(&words[..words.len() - 1], 0, command).len() == 1
}

/// Whether the words before an option name both a target and a tool or prompt.
fn names_request(option: &str, name: &str, command: &clap::Command, arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let typed = after_command(&words, name).unwrap_or_default();
    let is_option = |word: &&str| word.split('=').next() == option.split('=').next();
    let before = typed.iter().position(is_option).map_or(typed, |at| &typed[..at]);
    let follows_separator = typed.contains(&"--");
    let named = positionals(before, 0, command);
    let in_one_word = |at: &usize| names_server_and_tool(before[*at], &load_config_for(arguments));
    named.len() + usize::from(follows_separator || named.first().is_some_and(in_one_word)) >= 2
}

/// Whether a word is `SERVER.TOOL` of a configured server.
fn names_server_and_tool(word: &str, config: &Config) -> bool {
    let is_server = |server: &str| config.server(server).is_some_and(|server| server.disabled_at().is_none());
    !is_server(word) && word.match_indices('.').any(|(dot, _)| dot + 1 < word.len() && is_server(&word[..dot]))
}

/// The command line without a word, if it is valid.
fn shorter_line(word: &str, arguments: &[OsString]) -> Option<String> {
    let mut line: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    line.remove(line.iter().rposition(|other| *other == word)?);
    cli::valid_line(&line)
}

/// How to write an argument that was typed like an option: arguments of tools and prompts have no dashes.
///
/// `None` if its value is a JSON object: those are all arguments.
fn argument_syntax(whose: &str, found: &str, arguments: &[OsString]) -> Option<String> {
    let Some(name) = found.strip_prefix("--").map(|name| name.split('=').next().unwrap_or(name)) else {
        return Some(format!(
            "{whose} arguments are written as name=value, an option's value that begins with a dash as --option=VALUE"
        ));
    };
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let is_typed = |word: &&str| word.split('=').next().is_some_and(|word| word.trim_start_matches('-') == name);
    let at = words.iter().position(|word| word.starts_with('-') && is_typed(word));
    let value = at.and_then(|at| match words[at].split_once('=') {
        Some((_, value)) => Some(value),
        None => words.get(at + 1).copied().filter(|next| !next.starts_with('-') && !next.contains('=')),
    });
    let word = match value {
        Some(value) if value.starts_with('{') => return None,
        Some(value) => quote_without_secrets(&[&format!("{name}={value}")]).concat(),
        _ => format!("{name}=…"),
    };
    Some(format!("{whose} arguments have no dashes: {word}"))
}

/// `--message` for `-message`, of which clap reports only `-m`.
fn long_option_with_one_dash(found: &str, arguments: &[OsString]) -> Option<String> {
    let is_long = |word: &&str| {
        let name = word.split('=').next().unwrap_or_default();
        name.len() > 3 && name[1..].chars().all(|c| c.is_ascii_lowercase() || matches!(c, '-' | '_'))
    };
    // What follows `-p` or `-u` may be a password.
    let letter = found.strip_prefix('-').filter(|letter| !letter.starts_with(['-', 'p', 'u']))?;
    let typed = arguments.iter().filter_map(|word| word.to_str());
    let mut words = typed.filter(|word| word.starts_with('-') && !word.starts_with("--") && word.contains(letter));
    words.find(is_long).map(|word| format!("-{word}"))
}

/// The command line with `--` before the server's command, if it was typed without.
fn with_separator(name: &str, command: &clap::Command, arguments: &[OsString], config: &Config) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let env = Environment::from_process();
    let starts_server = |word: &str| {
        let is_name = matches!(classify_word(word), Ok(TargetWord::Name(_)));
        is_name && (is_launcher(word) || env.find_program(word).is_some()) && config.server(word).is_none()
    };
    separated_command_line(&words, name, command, starts_server)
}

/// The position of a word of a command line, whose first word is the program.
fn position_after_program(words: &[&str], word: &str) -> Option<usize> {
    words.iter().skip(1).position(|other| *other == word).map(|at| at + 1)
}

/// The command line with another target instead of `word`: that of `list_command`, `mcpipe list` with a target. `None` if
/// that is not a valid command line.
#[must_use]
pub fn line_with_target_of(list_command: &str, word: &str, arguments: &[OsString]) -> Option<String> {
    let mut target = quoting::split(list_command)?.split_off(2);
    let command = target.iter().position(|word| word == "--").map(|at| target.split_off(at)).unwrap_or_default();
    let mut line: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let at = position_after_program(&line, word)?;
    // Roots that were typed are those of the line.
    if line.iter().any(|word| *word == "--root" || word.starts_with("--root=")) {
        while let Some(root) = target.iter().position(|word| word == "--root") {
            target.drain(root..root + 2);
        }
    }
    line.splice(at..=at, target.iter().map(String::as_str));
    line.extend(command.iter().map(String::as_str));
    cli::valid_line(&line)
}

/// What to type instead of a command line whose target is not configured; `None` if it was not meant otherwise. If a
/// configured name `is_similar`, the target is that name with a typing error, not a program.
#[must_use]
pub fn unknown_target_hint(target: &str, is_similar: bool, arguments: &[OsString]) -> Option<String> {
    let (name, command) = typed_command(arguments);
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let at = position_after_program(&words, target)?;
    // `--locked FILE` instead of `--locked=FILE`.
    let optional = |option: &&clap::Arg| {
        option.is_require_equals_set() && option.get_long().is_some_and(|long| words[at - 1] == format!("--{long}"))
    };
    if let Some(option) = command.get_arguments().find(optional).and_then(clap::Arg::get_long) {
        return Some(format!("to name a file with --{option}: --{option}={}", quote(target)));
    }
    if name == "auth " {
        return suggest_command(target, arguments).map(|hint| with_options_before(hint, arguments));
    }
    if is_similar {
        return None;
    }
    with_separator(&name, &command, arguments, &load_config_for(arguments)).map(|line| command_last(&line))
}

/// The command line for `call resource:URI` and `call prompt:NAME` of mcptools; `word` is the first of these words.
#[must_use]
pub fn resource_or_prompt_hint(word: &str, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).map(|word| word.to_str()).collect::<Option<_>>()?;
    let line = resource_or_prompt_line(word, &words, &typed_command(arguments).0)?;
    Some(with_options_before(line, arguments))
}

/// The command line for `SERVER/TOOL`, `SERVER:TOOL` and `SERVER__TOOL` of other programs, if the server is configured.
#[must_use]
pub fn joined_tool_hint(word: &str, config: &Config, arguments: &[OsString]) -> Option<String> {
    let (name, _) = typed_command(arguments);
    if !matches!(name.as_str(), "call " | "list " | "read " | "prompt ") {
        return None;
    }
    let own = word.strip_prefix("mcp__").unwrap_or(word);
    let cuts = ["/", ":", "__"].into_iter().flat_map(|mark| own.match_indices(mark));
    let split = cuts.map(|(at, mark)| (&own[..at], &own[at + mark.len()..]));
    let known = split.filter(|(server, tool)| !tool.is_empty() && config.server(server).is_some());
    let (server, tool) = known.max_by_key(|(server, _)| server.len())?;
    let mut line: Vec<&str> = arguments.iter().map(|word| word.to_str()).collect::<Option<_>>()?;
    let at = position_after_program(&line, word)?;
    line.splice(at..=at, [server, tool]);
    cli::valid_line(&line)
}

/// The failure for `--locked FILE`, which is `--locked=FILE` since FILE may be omitted; `words` are the tool's
/// arguments.
#[must_use]
pub fn separate_lock_file_failure(words: &[String], mut arguments: impl Iterator<Item = OsString>) -> Option<Failure> {
    arguments.find(|word| word == "--locked")?;
    let file = arguments.next()?.into_string().ok().filter(|word| !word.contains('=') && words.contains(word))?;
    let failure = Failure::new(ErrorKind::Usage, format!("'{file}' is not an argument"));
    Some(failure.hint(format!("to name the lock file: --locked={}", quote(&file))))
}

fn command_last(line: &str) -> String {
    format!("put the server's command last, after --: {line}")
}

/// How to call a tool whose name begins with a dash, if one follows the target.
fn suggest_dashed_tool(found: &str, arguments: &[OsString]) -> Option<String> {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    // A server's command after `--` is the target, so the first word is the tool.
    let ["call", target, tool, ..] = words.as_slice() else { return None };
    if words.contains(&"--") {
        return None;
    }
    let own = if found.starts_with("--") { *tool == found } else { tool.contains(found.trim_start_matches('-')) };
    if !own || !tool.starts_with('-') || target.starts_with('-') {
        return None;
    }
    // The target names the tool too.
    if names_server_and_tool(target, &load_config_for(arguments)) {
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
    let mut rest: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let at = position_after_program(&rest, word)?;
    let session = without_session_sign(word);
    let word = session.unwrap_or(word);
    rest[at] = word;
    let names_session = rest.get(at + 2).is_some_and(|word| without_session_sign(word).is_some());
    // Further words may be `@FILE` of ours.
    let sessions = 1 + usize::from(word == "connect");
    for word in rest[at + 1..].iter_mut().take(sessions).take_while(|word| !word.starts_with('-')) {
        *word = without_session_sign(word).unwrap_or(word);
    }
    let more = &rest[at + 1..];
    let config = load_config_for(arguments);
    let foreign = || {
        match (word, more) {
            // `connect TARGET @SESSION` of mcpc: a session there is what a configured server is here.
            ("connect", [target, session, more @ ..]) if name.is_empty() && names_session => {
                let words = [&[*session, *target], more].concat();
                return Some(format!("use {}", fill_in("mcpipe config add NAME URL", &words, &config)));
            }
            ("daemon" | "sessions", [next, more @ ..]) if name.is_empty() => {
                if let Some(line) = foreign_options::command_for("session", next, 0) {
                    return Some(format!("use {}", fill_in(line, more, &config)));
                }
            }
            _ => {}
        }
        // A server's command line is one target.
        let count = match more.first() {
            Some(first) if is_launcher(first) => 1 + more.iter().filter(|word| word.contains("://")).count(),
            _ => more.iter().take_while(|word| !word.starts_with('-')).count(),
        };
        let line = foreign_options::command_for(name.trim_end(), word, count)?;
        Some(if line.starts_with("mcpipe ") {
            format!("use {}", fill_in(line, more, &config))
        } else {
            line.to_owned()
        })
    };
    if matches!(name.as_str(), "session " | "") && word == "restart" {
        return Some(restart_command(more));
    }
    if !name.is_empty() {
        let swapped = || Some(format!("use {}", command_first(&rest[1..], &name, &command)?));
        return foreign().or_else(swapped).or_else(|| did_you_mean(word, names.iter().copied()));
    }
    let servers: Vec<&str> = config.enabled_names().collect();
    let is_server = session.is_some() || servers.contains(&word) || names_server_and_tool(word, &config);
    if is_server || !matches!(classify_word(word), Ok(TargetWord::Name(_))) {
        // `SERVER tools-call TOOL` of mcpc.
        let line = more
            .split_first()
            .and_then(|(next, more)| Some((foreign_options::command_of_method(next)?, more)))
            .map(|(line, more)| fill_in(line, &[&[word], more].concat(), &config));
        // `URL --method tools/list` of the MCP Inspector.
        let translated = || {
            let mut options = more.iter().filter(|_| word.contains("://"));
            options.find_map(|option| translated_command_line(option, &rest[1..], &name))
        };
        let line = line.or_else(|| command_first(&rest[1..], "", &command)).or_else(translated);
        return Some(line.unwrap_or_else(|| with_command(word, more)));
    }
    if let Some(hint) = foreign().or_else(|| did_you_mean(word, names.iter().copied())) {
        return Some(hint);
    }
    if let Some(server) = config.suggest(word).first() {
        return Some(format!("did you mean {}?", with_command(server, more)));
    }
    // Most programs are not servers: the hint must not make anybody run `mcpipe list -- reboot`.
    let may_be_server = (is_launcher(word) && !more.is_empty()) || word.contains("mcp") || word.contains("server");
    Environment::from_process().find_program(word).filter(|_| may_be_server)?;
    Some(format!("to start it as a server: mcpipe list -- {}", quote_without_secrets(&rest[at..]).join(" ")))
}

/// The name in `@SESSION` of mcpc.
fn without_session_sign(word: &str) -> Option<&str> {
    let own = word.strip_prefix('@').filter(|own| !own.contains('/'))?;
    matches!(classify_word(own), Ok(TargetWord::Name(_))).then_some(own)
}

/// How to restart a session: one word can be both its name and its target.
fn restart_command(more: &[&str]) -> String {
    match more {
        [one] if !one.starts_with('-') && matches!(classify_word(one), Ok(TargetWord::Name(_))) => {
            let one = quote_without_secrets(&[one]).concat();
            format!("use mcpipe session stop {one} && mcpipe session start {one}")
        }
        _ => "stop it and start it again; to find its name: mcpipe session list".to_owned(),
    }
}

/// The command line with the subcommand first, if it was typed second: `config get linear` for `config linear get`.
/// `words` is the whole command line without mcpipe itself, and `name` the command in it.
fn command_first(words: &[&str], name: &str, command: &clap::Command) -> Option<String> {
    let typed = after_command(words, name)?;
    let own = typed.iter().position(|word| *word == "--").unwrap_or(typed.len());
    let at = *positionals(&typed[..own], 0, command).get(1)?;
    command.find_subcommand(typed[at])?;
    let mut line: Vec<&str> = std::iter::once("mcpipe").chain(name.split_terminator(' ')).chain([typed[at]]).collect();
    line.extend(typed.iter().enumerate().filter(|(place, _)| *place != at).map(|(_, word)| *word));
    cli::valid_line(&line)
}

/// The command line with the words that were typed in place of TARGET, TOOL and the like, and with the options and the
/// server's command that were typed.
///
/// Words that the command does not take are omitted, and with unknown options all words.
fn fill_in(line: &str, typed: &[&str], config: &Config) -> String {
    let template: Vec<&str> = line.split(' ').collect();
    // `add npx SERVER` has a server's command, and no name.
    let is_unnamed = template.ends_with(&["NAME", "URL"])
        && matches!(typed, [first, second, ..] if is_launcher(first) && !second.contains("://"));
    let typed = &[if is_unnamed { &["NAME"][..] } else { &[] }, typed].concat();
    let slots = template.iter().position(|word| is_placeholder(word)).unwrap_or(template.len());
    let to_arguments = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let literals: Vec<&str> = template[slots..].iter().copied().filter(|word| !is_placeholder(word)).collect();
    let whole = [&template[..slots], typed, &literals].concat();
    let (name, command) = typed_command(&to_arguments(&whole));
    let translated = || typed.iter().find_map(|word| translated_command_line(word, &whole[1..], &name));
    if let Some(line) = with_separator(&name, &command, &to_arguments(&whole), config).or_else(translated) {
        return line;
    }
    let (own, server) = typed.split_at(typed.iter().position(|word| *word == "--").unwrap_or(typed.len()));
    let places = positionals(own, 0, &command);
    let (words, options): (Vec<_>, Vec<_>) = own.iter().enumerate().partition(|(at, _)| places.contains(at));
    let options = options.into_iter().map(|(_, word)| *word);
    let mut words = words.into_iter().map(|(_, word)| *word).peekable();
    // A URL is not a name.
    let is_url = words.peek().is_some_and(|word| word.contains("://"));
    let is_server = |word: &str| matches!(word, "TARGET" | "URL") && !server.is_empty();
    let filled = template.iter().filter(|word| !is_server(word)).map(|slot| {
        let is_filled = is_placeholder(slot) && !(is_url && *slot == "NAME");
        let word = is_filled.then(|| words.next()).flatten().unwrap_or(slot);
        let url = matches!(*slot, "TARGET" | "URL").then(|| url_without_scheme(word, config)).flatten();
        url.unwrap_or_else(|| word.to_owned())
    });
    let filled: Vec<String> = filled.collect();
    let filled: Vec<&str> = filled.iter().map(String::as_str).collect();
    let rest: Vec<&str> = words.collect();
    let options: Vec<&str> = options.chain(server.iter().copied()).collect();
    let fallback = if options.is_empty() { &filled } else { &template };
    // `--all` in place of NAME.
    let bare = || template.iter().filter(|word| !is_placeholder(word)).copied().collect::<Vec<_>>();
    cli::valid_line(&[&filled[..], &rest, &options].concat())
        .or_else(|| cli::valid_line(&[&filled[..], &options].concat()))
        .or_else(|| cli::valid_line(&[bare(), options].concat()).filter(|_| places.is_empty()))
        .unwrap_or_else(|| quote_without_secrets(fallback).join(" "))
}

/// The URL that was meant by a word without a scheme, if it is not a name.
fn url_without_scheme(word: &str, config: &Config) -> Option<String> {
    let is_name = config.server(word).is_some() || names_server_and_tool(word, config);
    let may_be_url = !is_name && matches!(classify_word(word), Ok(TargetWord::Name(_)));
    may_be_url.then(|| guess_url(word, true)).flatten()
}

fn is_placeholder(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_uppercase())
}

/// The configuration that the command line names with `--config`, or else the user's.
fn load_config_for(arguments: &[OsString]) -> Config {
    let words: Vec<&str> = arguments.iter().map_while(|word| word.to_str()).take_while(|word| *word != "--").collect();
    let at = words.iter().rposition(|word| *word == "--config" || word.starts_with("--config="));
    let file = at.and_then(|at| words[at].strip_prefix("--config=").or_else(|| words.get(at + 1).copied()));
    Config::load_lenient(&Environment::from_process(), file.map(std::path::Path::new)).0
}

/// `mcpipe list TARGET`, or `mcpipe call` if a tool follows; without the values of what may be secrets.
fn with_command(target: &str, rest: &[&str]) -> String {
    if rest.is_empty() || rest.iter().any(|word| word.starts_with('-')) {
        return format!("mcpipe list {}", quote_without_secrets(&[target]).concat());
    }
    let line: Vec<&str> = std::iter::once(target).chain(rest.iter().copied()).collect();
    format!("mcpipe call {}", quote_without_secrets(&line).join(" "))
}
