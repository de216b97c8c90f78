//! `docs/messages.md`: every text in the source that a user can see, so that the wording can be read in one go.
//!
//! A message is a string literal of product code with at least two words. Comments, attributes, tests, byte strings and
//! texts of many lines (scripts) are left out; so are the texts that another generated document shows.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::generated_docs::{assert_committed, root};

/// Shown by `docs/cli.md`, or by which errors of libraries are recognized.
const ELSEWHERE: [&str; 3] = ["src/cli", "src/target/options.rs", "src/transport/http/library_errors.rs"];

/// The pieces of Rust source that matter here.
#[derive(Debug, PartialEq)]
enum Token {
    Text(String),
    Word(String),
    Symbol(char),
}

/// Splits Rust source; comments, byte strings and characters are skipped.
fn tokens(source: &str) -> Vec<Token> {
    let chars: Vec<char> = source.chars().collect();
    let mut at = 0;
    let mut found = Vec::new();
    let next = |at: usize| chars.get(at + 1).copied().unwrap_or_default();
    while at < chars.len() {
        match chars[at] {
            '/' if next(at) == '/' => at = end_of(&chars, at, "\n"),
            '/' if next(at) == '*' => at = end_of(&chars, at, "*/"),
            'b' if next(at) == '"' => at = text(&chars, at + 2).1,
            'r' if next(at) == '"' || (next(at) == '#' && matches!(chars.get(at + 2), Some('"' | '#'))) => {
                let hashes = chars[at + 1..].iter().take_while(|c| **c == '#').count();
                let start = at + 2 + hashes;
                let end = end_of(&chars, start, &format!("\"{}", "#".repeat(hashes)));
                let literal: String = chars[start..end - 1 - hashes].iter().collect();
                found.push(Token::Text(literal.replace('\n', "⏎")));
                at = end;
            }
            '"' => {
                let (literal, end) = text(&chars, at + 1);
                found.push(Token::Text(literal));
                at = end;
            }
            // A character, unless it is a lifetime.
            '\'' if next(at) == '\\' => at = end_of(&chars, at + 3, "'"),
            '\'' if chars.get(at + 2) == Some(&'\'') => at += 3,
            c if c.is_alphanumeric() || c == '_' => {
                let length = chars[at..].iter().take_while(|c| c.is_alphanumeric() || **c == '_').count();
                found.push(Token::Word(chars[at..at + length].iter().collect()));
                at += length;
            }
            c => {
                if !c.is_whitespace() {
                    found.push(Token::Symbol(c));
                }
                at += 1;
            }
        }
    }
    found
}

/// The position after the next occurrence of `mark`.
fn end_of(chars: &[char], from: usize, mark: &str) -> usize {
    let mark: Vec<char> = mark.chars().collect();
    (from..chars.len()).find(|at| chars[*at..].starts_with(&mark)).map_or(chars.len(), |at| at + mark.len())
}

/// The content of a string literal that begins at `at`, and the position after it.
fn text(chars: &[char], mut at: usize) -> (String, usize) {
    let mut out = String::new();
    while at < chars.len() && chars[at] != '"' {
        if chars[at] != '\\' {
            out.push(if chars[at] == '\n' { '⏎' } else { chars[at] });
            at += 1;
            continue;
        }
        match chars.get(at + 1) {
            Some('n') => out.push('⏎'),
            Some('"') => out.push('"'),
            Some('\\') => out.push('\\'),
            Some('\n') => {
                at += 2;
                while chars.get(at).is_some_and(|c| c.is_whitespace()) {
                    at += 1;
                }
                continue;
            }
            Some(other) => write!(out, "\\{other}").unwrap(),
            None => {}
        }
        at += 2;
    }
    (out, at + 1)
}

/// The messages of a file, and the modules that it declares for tests only.
fn messages(source: &str) -> (Vec<String>, Vec<String>) {
    let tokens = tokens(source);
    let (mut found, mut test_modules) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            Token::Symbol('#') => {
                let end = group_end(&tokens, at);
                let word = |word: &str| tokens[at..end].contains(&Token::Word(word.to_owned()));
                let for_tests = word("cfg") && word("test") && !word("not");
                at = if for_tests { item_end(&tokens, end, &mut test_modules) } else { end };
            }
            Token::Text(text) => {
                if is_message(text) && !found.contains(text) {
                    found.push(text.clone());
                }
                at += 1;
            }
            _ => at += 1,
        }
    }
    (found, test_modules)
}

/// The position after the group in brackets that follows.
fn group_end(tokens: &[Token], from: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        match token {
            Token::Symbol('[' | '{' | '(') => depth += 1,
            Token::Symbol(']' | '}' | ')') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// The position after an item; a module without a body is noted.
fn item_end(tokens: &[Token], from: usize, modules: &mut Vec<String>) -> usize {
    let mut at = from;
    while at < tokens.len() {
        match (&tokens[at], tokens.get(at + 1)) {
            (Token::Symbol('#' | '('), _) => at = group_end(tokens, at),
            (Token::Symbol('{'), _) => return group_end(tokens, at),
            (Token::Symbol(';'), _) => return at + 1,
            (Token::Word(word), Some(Token::Word(name))) if word == "mod" => {
                if tokens.get(at + 2) == Some(&Token::Symbol(';')) {
                    modules.push(name.clone());
                }
                at += 2;
            }
            _ => at += 1,
        }
    }
    at
}

/// Whether a text has at least two words; what is between braces does not count.
fn is_message(text: &str) -> bool {
    let is_word = |word: &&str| !word.contains('{') && word.chars().filter(|c| c.is_ascii_lowercase()).count() > 1;
    text.matches('⏎').count() < 10 && text.split_whitespace().filter(is_word).count() >= 2
}

/// All files below a directory, in order.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    entries
        .into_iter()
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

#[test]
fn the_list_of_messages_matches_the_source_and_is_generated() {
    let root = root();
    let mut all = Vec::new();
    let mut test_files = BTreeSet::new();
    for path in files(&root.join("src")) {
        let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
        let (messages, test_modules) = messages(&std::fs::read_to_string(&path).unwrap());
        let is_root = matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("mod" | "lib" | "main"));
        let modules = if is_root { path.parent().unwrap().to_owned() } else { path.with_extension("") };
        test_files.extend(test_modules.iter().map(|module| modules.join(module)));
        all.push((path, name, messages));
    }
    let for_tests = |path: &Path| {
        path.ancestors().any(|part| test_files.contains(&part.with_extension("")) || test_files.contains(part))
    };
    let mut text = String::from(
        "# Messages\n\nEvery text in the source that a user can see: errors, causes, hints, warnings, notes, prompts and \
         progress lines, by file. Help texts are in `cli.md`, the keys of the configuration in `config.md`, those of suites in `suite.md`. Text between \
         braces is filled in; `⏎` is a line break. Generated by `tests/cli/messages.rs`; do not edit.\n",
    );
    let keys = [super::config_reference::texts(), super::suite_reference::texts()].concat();
    for (path, name, mut messages) in all {
        // Shown by `docs/config.md` and `docs/suite.md`.
        messages.retain(|message| !keys.contains(&message.as_str()));
        let elsewhere = ELSEWHERE.iter().any(|prefix| name.starts_with(prefix));
        if elsewhere || messages.is_empty() || for_tests(&path) {
            continue;
        }
        // A format string has two braces for one.
        let messages = messages.join("\n").replace("{{", "{").replace("}}", "}");
        write!(text, "\n## {name}\n\n```text\n{messages}\n```\n").unwrap();
    }
    assert_committed(&root.join("docs/messages.md"), &text);
}

/// Every subcommand and option that a message names exists. The words that are filled in are not checked.
#[test]
fn every_command_and_option_in_a_message_exists() {
    let mut command = mcpipe::cli::command();
    command.build();
    let mut options = BTreeSet::new();
    collect_options(&command, &mut options);
    let committed = std::fs::read_to_string(root().join("docs/messages.md")).unwrap();
    let mut checked = 0;
    for line in committed.lines() {
        for (at, _) in line.match_indices("mcpipe ") {
            let mut found = &command;
            for word in line[at..].split([' ', '`', '\'', ',', ';', '?']).skip(1) {
                match found.find_subcommand(word) {
                    Some(inner) => found = inner,
                    None => break,
                }
                checked += 1;
            }
            let next = line[at + "mcpipe ".len()..].split(' ').next().unwrap_or_default();
            let is_command = ["list", "call", "auth", "config"].contains(&next);
            let stopped = is_command && found.has_subcommands();
            assert!(!stopped || line.contains('{'), "an unknown command in: {line}");
        }
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        for (at, _) in line.match_indices("--").filter(|(at, _)| !line[..*at].ends_with(is_word)) {
            let name: String = line[at + 2..].chars().take_while(|c| is_word(*c)).collect();
            // Two dashes alone begin the command of a server.
            if name.starts_with(|c: char| c.is_ascii_lowercase()) && !line.contains("--option=VALUE") {
                checked += 1;
                assert!(options.contains(&name), "an unknown option --{name} in: {line}");
            }
        }
    }
    assert!(checked > 100, "{checked} words were checked");
}

fn collect_options(command: &clap::Command, options: &mut BTreeSet<String>) {
    for argument in command.get_arguments() {
        options.extend(argument.get_long().map(str::to_owned));
        options.extend(argument.get_all_aliases().into_iter().flatten().map(str::to_owned));
    }
    command.get_subcommands().for_each(|inner| collect_options(inner, options));
}

#[test]
fn messages_are_found_in_product_code_only() {
    let source = r##"
        //! "not in a comment"
        #[doc = "not in an attribute"]
        fn one<'a>(c: char) -> Failure {
            if c == '"' || c == '\'' { return new(format!("cannot read {name}: \
                it's \"broken\"\n")) }
            new(r#"a raw "text" here"#).hint("word").bytes(b"not in bytes")
        }
        #[cfg(all(test, unix))]
        mod fakes;
        #[cfg(test)]
        mod tests { fn x() { f("not in a test { }") } }
        const LAST: &str = "after the tests";
    "##;
    let (found, modules) = messages(source);
    assert_eq!(found, ["cannot read {name}: it's \"broken\"⏎", "a raw \"text\" here", "after the tests"]);
    assert_eq!(modules, ["fakes"]);
}
