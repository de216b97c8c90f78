//! The shape of the source, held: which part may import which, and how long a file and a function may be.
//!
//! The rules are those of `docs/architecture.md`: commands stand on everything below; session and auth on
//! transport; transport on protocol. A file's own unit tests are left out.

use std::path::{Path, PathBuf};

/// Each part and what it may import besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("protocol", &["error", "secret", "env"]),
    ("error", &["protocol"]),
    ("secret", &[]),
    ("env", &["secret"]),
    ("util", &[]),
    ("interrupt", &["error"]),
    ("browser", &["env", "error", "util"]),
    ("args", &["error", "protocol", "schema"]),
    ("schema", &["error", "protocol"]),
    // The words that an option takes are those that the configuration takes.
    ("cli", &["config"]),
    ("assets", &["cli"]),
    ("transport", &["env", "error", "interrupt", "protocol", "secret", "util"]),
    ("target", &["config", "env", "error", "protocol", "secret", "transport", "util"]),
    ("config", &["env", "error", "protocol", "secret", "target", "util"]),
    ("session", &["browser", "env", "error", "interrupt", "protocol", "schema", "secret", "target", "transport"]),
    ("auth", &["browser", "config", "env", "error", "interrupt", "protocol", "secret", "target", "transport", "util"]),
    ("models", &["error", "output", "protocol", "schema"]),
    ("output", &["error", "interrupt", "protocol", "schema", "secret", "transport"]),
];
/// These stand above everything: no rule but that nothing below imports them.
const UNRESTRICTED: &[&str] = &["commands", "complete", "lib", "main"];

/// Lines a file may have, its unit tests left out.
const MAX_FILE_LINES: usize = 420;
/// Lines a function may have.
const MAX_FUNCTION_LINES: usize = 90;

struct Source {
    /// Path below `src`.
    name: String,
    part: String,
    /// The text without the unit tests at its end.
    code: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 30, "the source was found");
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let part = name.split(['/', '.']).next().unwrap().to_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned();
        Source { name, part, code }
    };
    // `tests.rs` and `testing.rs` hold unit tests that a module keeps in a file of their own.
    let is_test = |path: &Path| matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("tests" | "testing"));
    files.into_iter().filter(|path| !is_test(path)).map(source).collect()
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every part that a source names: `crate::part::…` anywhere, and the members of `use crate::{…}`.
fn imports(code: &str) -> Vec<String> {
    let code: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(members(group)),
            None => found.push(first_word(rest)),
        }
    }
    found.retain(|name| !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    found
}

/// The first word of each member of a `use` group.
fn members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut all = vec![first_word(group.trim_start())];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => all.push(first_word(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    all
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
}

#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for source in sources() {
        if UNRESTRICTED.contains(&source.part.as_str()) {
            continue;
        }
        let rule = MAY_IMPORT.iter().find(|(part, _)| *part == source.part);
        let Some((_, allowed)) = rule else {
            wrong.push(format!("{}: the part '{}' has no rule in tests/layering.rs", source.name, source.part));
            continue;
        };
        for import in imports(&source.code) {
            if import != source.part && !allowed.contains(&import.as_str()) {
                wrong.push(format!("{}: {} must not import {import}", source.name, source.part));
            }
        }
    }
    wrong.dedup();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn only_the_command_line_knows_clap() {
    let parts = ["cli", "commands", "complete", "generate", "lib"];
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|source| !parts.contains(&source.part.as_str()))
        .filter(|source| source.code.contains("clap::") || source.code.contains("use clap"))
        .map(|source| source.name)
        .collect();
    assert!(wrong.is_empty(), "these files know clap: {wrong:?}");
}

#[test]
fn only_output_writes_to_the_streams() {
    let wrong: Vec<String> = sources()
        .into_iter()
        .filter(|source| source.part != "output")
        .filter(|source| ["io::stdout()", "io::stderr()"].iter().any(|call| source.code.contains(call)))
        .map(|source| source.name)
        .collect();
    assert!(wrong.is_empty(), "these files write past output: {wrong:?}");
}

#[test]
fn files_and_functions_stay_short() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.code.lines().collect();
        if lines.len() > MAX_FILE_LINES {
            wrong.push(format!("{}: {} lines", source.name, lines.len()));
        }
        for (at, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let head = line.trim_start();
            let is_function =
                head.contains("fn ") && !head.starts_with("//") && !head.ends_with(';') && !head.contains('"');
            if !is_function {
                continue;
            }
            // rustfmt puts the closing brace of a function below its first letter.
            let close = format!("{}}}", " ".repeat(indent));
            if let Some(length) =
                lines[at..].iter().position(|line| *line == close).filter(|length| *length > MAX_FUNCTION_LINES)
            {
                wrong.push(format!("{}:{}: {length} lines: {}", source.name, at + 1, head));
            }
        }
    }
    assert!(wrong.is_empty(), "too long to be read at once: {wrong:#?}");
}

#[test]
fn every_module_says_what_it_is_for() {
    let wrong: Vec<String> =
        sources().into_iter().filter(|source| !source.code.starts_with("//!")).map(|source| source.name).collect();
    assert!(wrong.is_empty(), "these files begin without a word about themselves: {wrong:?}");
}

#[test]
fn the_rules_are_read_from_the_code() {
    let code = "use crate::{error::Failure, protocol::{rpc::Message, views}, secret};\nlet x = crate::env::HOME;";
    assert_eq!(imports(code), ["error", "protocol", "secret", "env"]);
}
