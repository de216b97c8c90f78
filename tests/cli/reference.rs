//! References of file formats, each as a page of `docs/` and as a manual page.

use std::fmt::Write;

use super::roff;
use super::roff::Page;

/// A part of a section.
pub enum Block {
    Text(&'static str),
    Example(&'static str),
    /// Terms and what they mean.
    Entries(&'static [(&'static str, &'static str)]),
}

/// Sections with their headings.
pub type Sections = [(&'static str, &'static [Block])];

/// A key as the reference shows it.
pub struct KeyEntry {
    pub name: &'static str,
    /// The type, the default and where the key applies.
    pub facts: String,
    pub description: String,
    /// How the key is written in TOML.
    pub example: String,
}

pub fn markdown_sections(text: &mut String, sections: &Sections) {
    for (heading, blocks) in sections {
        // The description follows the title of the page.
        if *heading != "Description" {
            write!(text, "\n## {heading}\n").unwrap();
        }
        for block in *blocks {
            match block {
                Block::Text(paragraph) => write!(text, "\n{paragraph}\n").unwrap(),
                Block::Example(lines) => write!(text, "\n```toml\n{lines}\n```\n").unwrap(),
                Block::Entries(entries) => markdown_entries(text, entries),
            }
        }
    }
}

pub fn markdown_keys(text: &mut String, keys: &[KeyEntry]) {
    for KeyEntry { name, facts, description, example } in keys {
        let (facts, description) = (facts.trim(), description.replace('*', "\\*"));
        write!(text, "\n### `{name}`\n\n{facts}\n\n{description}\n\n```toml\n{example}\n```\n").unwrap();
    }
}

pub fn markdown_files(text: &mut String, files: &[(&str, &str)]) {
    text.push_str("\n## Files\n");
    markdown_entries(text, files);
}

pub fn markdown_environment(text: &mut String, names: &[&str]) {
    text.push_str("\n## Environment\n\n");
    for (name, what) in environment(names) {
        writeln!(text, "* `{name}`: {what}").unwrap();
    }
}

fn markdown_entries(text: &mut String, entries: &[(&str, &str)]) {
    text.push('\n');
    for (term, what) in entries {
        writeln!(text, "* `{term}`: {what}").unwrap();
    }
}

pub fn manual_sections(page: &mut Page, sections: &Sections) {
    for (heading, blocks) in sections {
        page.section(&heading.to_uppercase());
        for block in *blocks {
            match block {
                Block::Text(paragraph) => page.paragraph(paragraph),
                Block::Example(lines) => page.verbatim(lines.lines()),
                Block::Entries(entries) => {
                    for (term, what) in *entries {
                        page.entry(&format!("\\fB{}\\fR", roff::entry_term(term)), &[(*what).to_owned()]);
                    }
                }
            }
        }
    }
}

pub fn manual_keys(page: &mut Page, keys: &[KeyEntry]) {
    for KeyEntry { name, facts, description, example } in keys {
        let term = format!("\\fB{}\\fR", roff::literal(name));
        page.entry(&term, &[facts.trim().to_owned(), description.clone()]);
        page.indented_verbatim(example);
    }
}

pub fn manual_files(page: &mut Page, files: &[(&str, &str)]) {
    page.section("FILES");
    for (term, what) in files {
        page.entry(&format!("\\fI{}\\fR", roff::entry_term(term)), &[(*what).to_owned()]);
    }
}

pub fn manual_environment(page: &mut Page, names: &[&str]) {
    page.section("ENVIRONMENT");
    for (name, what) in environment(names) {
        page.entry(&format!("\\fB{name}\\fR"), &[what.to_owned()]);
    }
}

fn environment(names: &[&str]) -> impl Iterator<Item = (&'static str, &'static str)> {
    let documented = mcpipe::env::DOCUMENTED.iter().filter(move |(name, _)| names.contains(name));
    documented.map(|(name, what)| (*name, what.trim()))
}

/// A type as a sentence of its own.
pub fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
