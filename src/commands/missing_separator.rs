//! A server's command line that was typed without the `--` before it: what to type instead.

use crate::cli;
use crate::env::launchers::is_launcher_command;
use crate::env::missing_program::is_assignment;

/// The command line with `--` before the server's command. `words` is the whole command line without mcpipe itself,
/// `name` the command in it with its subcommands, each followed by a space, and `definition` is that of the last.
///
/// `None` if `--` was typed, or no server's command was, or if the line is not valid. Only the user knows where a
/// server's command ends if arguments of mcpipe follow it, so that this is a guess in that case.
#[must_use]
pub fn separated_command_line(
    words: &[&str],
    name: &str,
    definition: &clap::Command,
    starts_server: impl Fn(&str) -> bool,
) -> Option<String> {
    if words.contains(&"--") || !definition.get_arguments().any(clap::Arg::is_last_set) {
        return None;
    }
    let after_name = words.len() - after_command(words, name)?.len();
    let slot = usize::from(is_config_add(name));
    let at = *positionals(words, after_name, definition).get(slot)?;
    if !starts_server(words[at]) {
        return None;
    }
    let (mut command, options) = split_off_options(&words[at..], definition);
    let own = split_off_own_words(&mut command, name);
    if command.len() < 2 {
        return None;
    }
    cli::valid_line(&[&["mcpipe"], &words[..at], &own, &options, &["--"], &command].concat())
}

/// Whether this is the command that takes a name before the server.
pub(super) fn is_config_add(name: &str) -> bool {
    name.split_terminator(' ').eq(["config", "add"])
}

/// The words after the command and its subcommands.
pub(super) fn after_command<'a, 'w>(words: &'a [&'w str], name: &str) -> Option<&'a [&'w str]> {
    let mut rest = words;
    for part in name.split_terminator(' ') {
        let at = rest.iter().position(|word| *word == part)?;
        rest = &rest[at + 1..];
    }
    Some(rest)
}

/// The positions of the words that are neither options nor values of options.
pub(super) fn positionals(words: &[&str], from: usize, definition: &clap::Command) -> Vec<usize> {
    let mut found = Vec::new();
    let mut at = from;
    while at < words.len() {
        match option_with_value(words[at], definition) {
            Some(Some(true)) => at += 1,
            Some(_) => {}
            None => found.push(at),
        }
        at += 1;
    }
    found
}

/// Whether the next word is the value of this option; `Some(None)` if mcpipe has no such option, and `None` if it is
/// no option.
pub(super) fn option_with_value(word: &str, definition: &clap::Command) -> Option<Option<bool>> {
    if !word.starts_with('-') || word == "-" {
        return None;
    }
    let (name, is_attached) = word.split_once('=').map_or((word, false), |(name, _)| (name, true));
    let option = definition.get_arguments().find(|option| is_named(option, name));
    let takes_next = |option: &clap::Arg| option.get_action().takes_values() && !option.is_require_equals_set();
    Some(option.map(|option| takes_next(option) && !is_attached))
}

/// Whether the word is the option; `-vv` is `-v`.
fn is_named(option: &clap::Arg, word: &str) -> bool {
    if let Some(long) = word.strip_prefix("--") {
        return option.get_long() == Some(long);
    }
    let letters = word.strip_prefix('-').unwrap_or_default();
    let can_repeat = !option.get_action().takes_values();
    (letters.len() == 1 || (can_repeat && !letters.is_empty()))
        && option.get_short().is_some_and(|short| letters.chars().all(|letter| letter == short))
}

/// The words without the options of mcpipe at their end, and those options. Short options without a value are left
/// where they are: programs have their own.
fn split_off_options<'a>(words: &[&'a str], definition: &clap::Command) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut end = words.len();
    loop {
        match &words[..end] {
            [_, .., option, _] if option_with_value(option, definition) == Some(Some(true)) => end -= 2,
            [_, .., option]
                if option.starts_with("--") && matches!(option_with_value(option, definition), Some(Some(_))) =>
            {
                end -= 1;
            }
            _ => break,
        }
    }
    (words[..end].to_vec(), words[end..].to_vec())
}

/// Removes the words at the end of the server's command that are for mcpipe: a tool and its arguments, or URIs.
fn split_off_own_words<'a>(command: &mut Vec<&'a str>, name: &str) -> Vec<&'a str> {
    let is_own = |word: &&&str| match name {
        "call " | "prompt " => is_assignment(word),
        "read " => word.contains("://"),
        "request " => word.starts_with('{'),
        _ => false,
    };
    let mut end = command.len() - command.iter().rev().take_while(is_own).count();
    let has_arguments = end < command.len();
    // The launcher, its command and the package come first.
    let named = command[1..end].iter().filter(|word| !word.starts_with('-') && !is_launcher_command(word));
    let is_name = |word: &&str| !word.starts_with(['-', '.', '/', '~', '@']);
    let takes_name = match name {
        "call " | "request " => true,
        "prompt " => has_arguments,
        _ => false,
    };
    let has_name = takes_name && named.count() > 1 && command[..end].last().is_some_and(is_name);
    if has_name {
        end -= 1;
    }
    let mut own = command.split_off(end);
    if !has_name {
        match name {
            "call " => own.insert(0, "TOOL"),
            "request " => own.insert(0, "METHOD"),
            "prompt " if has_arguments => own.insert(0, "NAME"),
            _ => {}
        }
    }
    own
}
