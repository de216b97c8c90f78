//! What the documents refer to exists: commands and their options, files, links.

use std::ffi::OsString;
use std::path::Path;

use clap::error::ErrorKind;

use super::generated_docs::root;

/// The documents that people read, with their text.
fn documents() -> Vec<(String, String)> {
    let mut names = vec!["README.md".to_owned(), "CHANGELOG.md".to_owned()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        names.push(format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    }
    names.sort();
    names.into_iter().map(|name| (name.clone(), std::fs::read_to_string(root().join(&name)).unwrap())).collect()
}

/// The words of a shell command up to the first operator or comment: `mcpipe list --json | jq .` without the filter.
/// `None` if the text is not a command, such as a usage line.
fn words(text: &str) -> Option<Vec<String>> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') | (None, '\\') => word.extend(chars.next()),
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => (quote, begun) = (Some(c), true),
            (None, '|' | '>' | '<' | ';' | '&' | ')') => break,
            (None, '#') if word.is_empty() => break,
            (None, c) if c.is_whitespace() => {
                // Examples are explained in a column of their own.
                if chars.peek().is_some_and(|next| next.is_whitespace()) && !words.is_empty() {
                    break;
                }
                if !word.is_empty() || begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            (None, c) => word.push(c),
        }
    }
    if !word.is_empty() || begun {
        words.push(word);
    }
    let usage = |word: &String| word.starts_with('[') || word.contains('…') || word == "...";
    let has_placeholder = text.contains(" <") && !text.contains(" < ");
    (quote.is_none() && !has_placeholder && !words.iter().any(usage)).then_some(words)
}

/// The commands in a document, each with whether it is complete. Those in code blocks are; one in the text may be only the
/// name of a command.
fn commands(text: &str) -> Vec<(String, bool)> {
    let mut found = Vec::new();
    let mut in_block = false;
    let joined = text.replace("\\\n", " ");
    for line in joined.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if in_block || line.starts_with("    ") {
            for (at, _) in line.match_indices("mcpipe ") {
                let before = line[..at].trim_end();
                let begins = before.is_empty() || before.ends_with(['$', '|', '(']) || before.ends_with("&&");
                if begins && !line.contains("[OPTIONS]") {
                    found.push((line[at..].to_owned(), true));
                }
            }
        }
    }
    let prose: String = joined.split("```").step_by(2).collect();
    let prose = prose.replace('\n', " ");
    for span in prose.split('`').skip(1).step_by(2) {
        if span.starts_with("mcpipe ") {
            found.push((span.to_owned(), false));
        }
    }
    found
}

#[test]
fn every_command_in_the_documents_is_accepted() {
    let mut checked = 0;
    for (name, text) in documents() {
        // The messages have placeholders.
        if name == "docs/messages.md" {
            continue;
        }
        for (command, is_complete) in commands(&text) {
            let Some(words) = words(&command) else { continue };
            let arguments: Vec<OsString> = words.iter().map(OsString::from).collect();
            checked += 1;
            let Err(error) = mcpipe::cli::parse(&arguments) else { continue };
            let is_accepted = match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => true,
                ErrorKind::MissingRequiredArgument
                | ErrorKind::MissingSubcommand
                | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => !is_complete,
                // A placeholder such as SHELL.
                ErrorKind::InvalidValue => words.iter().any(|word| word.chars().all(|c| c.is_ascii_uppercase())),
                _ => false,
            };
            assert!(is_accepted, "{name}: {command}\n{words:?}\n{error}");
        }
    }
    assert!(checked > 150, "{checked} commands were checked");
}

#[test]
fn the_instructions_for_agents_are_printed_and_short() {
    let text = std::fs::read_to_string(root().join("docs/SKILL.md")).unwrap();
    crate::support::Sandbox::new().mcpipe(["man", "--skill"]).run().succeeds().prints(&text);
    assert!(text.len() < 3000, "{} bytes", text.len());
    assert!(text.starts_with("---\nname: mcpipe\ndescription: "));
}

#[test]
fn every_file_that_the_documents_name_exists() {
    for (name, text) in documents() {
        let directory = root().join(&name).parent().unwrap().to_owned();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let file = link.split('#').next().unwrap_or_default();
            let is_local = !link.contains("://") && !file.is_empty();
            assert!(!is_local || directory.join(file).exists(), "{name} links to {link}");
        }
        for span in text.split('`').skip(1).step_by(2) {
            let top = ["src/", "tests/", "docs/", "scripts/", "benches/", "man/", "completions/"];
            let is_path = top.iter().any(|top| span.starts_with(top)) && !span.contains([' ', '*', '{', '…']);
            // A directory of the repository of the specification.
            let is_path = is_path && !span.starts_with("docs/specification") && !span.starts_with("docs/docs");
            let file = span.split([':', '#']).next().unwrap();
            assert!(!is_path || Path::new(root()).join(file).exists(), "{name} names {span}");
        }
    }
}
