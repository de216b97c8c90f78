//! What to type instead of a program that does not exist.

use crate::util::quoting::{quote, quote_without_secrets, split};

/// Words that separate commands of a shell.
const SHELL_OPERATORS: [&str; 6] = ["&&", "||", "|", ";", ">", "<"];
/// Commands that only a shell knows.
const SHELL_COMMANDS: [&str; 7] = ["cd", "export", "source", "set", "alias", "exec", "eval"];

/// What to type instead of a program that does not exist: often a line for a shell, which mcpipe does not run.
#[must_use]
pub fn missing_program_hint(program: &str, args: &[String]) -> String {
    let words: Vec<&str> = std::iter::once(program).chain(args.iter().map(String::as_str)).collect();
    let assigned = words.iter().take_while(|word| is_assignment(word)).count();
    let mut shown = quote_without_secrets(&words);
    for (shown, word) in shown.iter_mut().zip(&words).filter(|(_, word)| SHELL_OPERATORS.contains(word)) {
        *shown = (*word).to_owned();
    }
    if args.is_empty() && program.contains(char::is_whitespace) {
        let words = split(program).unwrap_or_default();
        if let Some((first, rest)) = words.split_first().filter(|(first, _)| !first.contains(char::is_whitespace)) {
            let is_plain = !is_assignment(first) && !needs_shell(first, rest);
            return match is_plain {
                true => separate_words_hint(first, rest),
                false => missing_program_hint(first, rest),
            };
        }
    }
    let line = shown.join(" ");
    if assigned == words.len() {
        return "put arguments before --, and the server's command after --".to_owned();
    }
    if needs_shell(words[assigned], args) {
        return format!("no shell is run; to use one, replace the command with: -- sh -c {}", quote(&line));
    }
    if assigned > 0 {
        let options: Vec<String> = shown[..assigned].iter().map(|word| format!("-e {word}")).collect();
        return format!(
            "no shell is run; set variables with {}, or replace the command with: -- env {line}",
            options.join(" ")
        );
    }
    format!("install {program}, or give its full path")
}

/// How to write a command whose words are all in the name of the program.
fn separate_words_hint(program: &str, args: &[String]) -> String {
    let words: Vec<&str> = std::iter::once(program).chain(args.iter().map(String::as_str)).collect();
    let shown = quote_without_secrets(&words);
    let listed: Vec<String> = shown[1..].iter().map(|word| format!("{word:?}")).collect();
    format!(
        "write it without quotes: -- {}; in a configuration: command = {:?}, args = [{}]",
        shown.join(" "),
        program,
        listed.join(", ")
    )
}

/// Whether only a shell can run this line.
fn needs_shell(program: &str, args: &[String]) -> bool {
    SHELL_COMMANDS.contains(&program) || args.iter().any(|word| SHELL_OPERATORS.contains(&word.as_str()))
}

/// Whether a shell would take this word as a variable, or mcpipe as an argument of a tool.
#[must_use]
pub fn is_assignment(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default().trim_end_matches(':');
    word.contains('=')
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(line: &[&str]) -> String {
        let args: Vec<String> = line[1..].iter().map(|word| (*word).to_owned()).collect();
        missing_program_hint(line[0], &args)
    }

    #[test]
    fn a_line_for_a_shell_gets_a_command_without_one() {
        let quoted = if cfg!(windows) { "\"cd x && y\"" } else { "'cd x && y'" };
        let with_shell = format!("no shell is run; to use one, replace the command with: -- sh -c {quoted}");
        for (line, expected) in [
            (&["server"][..], "install server, or give its full path"),
            (
                &["npx -y @s/a"],
                "write it without quotes: -- npx -y @s/a; in a configuration: command = \"npx\", args = [\"-y\", \"@s/a\"]",
            ),
            (&["cd x && y"], &with_shell),
            (&["A=1 y"], "no shell is run; set variables with -e A=1, or replace the command with: -- env A=1 y"),
            (&["a=2", "b:=3"], "put arguments before --, and the server's command after --"),
        ] {
            assert_eq!(hint(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_secret_is_not_repeated() {
        for line in [
            &["cd", "x", "&&", "y", "--token", "s3cret"][..],
            &["A=1", "y", "--api-key=s3cret"],
            &["API_KEY=s3cret", "y"],
        ] {
            assert!(!hint(line).contains("s3cret"), "{}", hint(line));
        }
    }
}
