//! The shape of the source: which part may import which, no circles between files, no two types of one name, and how
//! long a file and a function may be.
//!
//! `MAY_IMPORT` is the only list of what each part may import. Unit tests are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Each part and the parts that it may import besides itself. An entry that is not used fails the test.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("allocator", &[]),
    ("protocol", &["util"]),
    ("error", &["protocol"]),
    ("secret", &[]),
    ("env", &["util"]),
    ("util", &[]),
    ("interrupt", &["error"]),
    ("browser", &["env", "error", "transport", "util"]),
    ("args", &["schema", "util"]),
    ("schema", &["error", "protocol", "util"]),
    ("cli", &["config", "target", "util"]),
    ("assets", &["cli"]),
    ("transport", &["env", "error", "interrupt", "protocol", "secret", "util"]),
    ("target", &["config", "env", "error", "protocol", "secret", "transport", "util"]),
    ("config", &["env", "error", "protocol", "secret", "transport", "util"]),
    ("session", &["browser", "env", "error", "interrupt", "protocol", "secret", "target", "transport", "util"]),
    ("auth", &["browser", "config", "error", "protocol", "secret", "transport", "util"]),
    ("models", &["error", "output", "protocol", "schema", "util"]),
    ("output", &["error", "interrupt", "protocol", "secret", "transport", "util"]),
];
/// These stand above everything: they may import every part, and no part below imports them.
const UNRESTRICTED: &[&str] = &["commands", "complete", "lib", "main"];

/// Lines of a file, without its unit tests. A longer one gives the reason in its `//!` ("One file because …").
const MAX_FILE_LINES: usize = 800;
/// Lines of a function.
const MAX_FUNCTION_LINES: usize = 90;

/// A path below `crate`, and whether it is re-exported there.
type NamedPath = (bool, Vec<String>);

struct Source {
    /// Path below `src`.
    name: String,
    /// The first folder or file name of the path.
    part: String,
    /// The module, as the segments of its path.
    module: Vec<String>,
    /// The text without comments and without the unit tests at its end.
    code: String,
    /// The text without the unit tests.
    text: String,
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() > 30, "the source was not found");
    let source = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let part = name.split(['/', '.']).next().unwrap().to_owned();
        let mut module: Vec<String> = name.trim_end_matches(".rs").split('/').map(ToOwned::to_owned).collect();
        if module.last().is_some_and(|last| matches!(last.as_str(), "mod" | "lib")) {
            module.pop();
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let text = without_unit_tests(&text).to_owned();
        let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        Source { name, part, module, code: code.join("\n"), text }
    };
    let mut sources: Vec<Source> = files.into_iter().map(source).collect();
    let tests = test_modules(&sources);
    sources.retain(|source| !(1..=source.module.len()).any(|length| tests.contains(&source.module[..length])));
    sources
}

/// The text before the unit tests at the end of a file.
fn without_unit_tests(text: &str) -> &str {
    let tests = ["", "pub(super) ", "pub(crate) "].map(|visibility| format!("#[cfg(test)]\n{visibility}mod tests {{"));
    let end = tests.iter().filter_map(|tests| text.find(tests)).min();
    &text[..end.unwrap_or(text.len())]
}

/// The modules that only tests compile: those declared under `#[cfg(test)]`.
fn test_modules(sources: &[Source]) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for source in sources {
        let mut in_test = false;
        for line in source.code.lines().map(str::trim) {
            let declared = line.strip_suffix(';').and_then(|line| line.rsplit_once("mod ")).map(|(_, name)| name);
            if let Some(name) = declared.filter(|_| in_test) {
                found.insert([source.module.as_slice(), &[name.to_owned()]].concat());
            }
            in_test = match line.strip_prefix("#[") {
                Some(attribute) => {
                    in_test || attribute.starts_with("cfg(test)") || attribute.starts_with("cfg(all(test")
                }
                None => false,
            };
        }
    }
    found
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

/// Every path below `crate` that the code of `module` names: in `use` trees and in expressions.
fn paths(module: &[String], code: &str) -> Vec<NamedPath> {
    let mut found = Vec::new();
    let mut rest = code;
    let mut expressions = String::new();
    // `use` trees, flattened.
    while let Some(at) = find_use(rest) {
        let exported =
            rest[..at].trim_end().rsplit('\n').next().is_some_and(|line| line.trim_start().starts_with("pub"));
        let after = &rest[at + "use ".len()..];
        let end = after.find(';').unwrap_or(after.len());
        expressions.push_str(&rest[..at]);
        flatten(&after[..end], &[], &mut |path| {
            if let Some(path) = absolute(module, &path) {
                found.push((exported, path));
            }
        });
        rest = &after[end..];
    }
    expressions.push_str(rest);
    let code = expressions;
    for start in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let word: String =
                code[at..].chars().take_while(|c| c.is_alphanumeric() || matches!(c, '_' | ':')).collect();
            let path: Vec<String> = word.split("::").filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
            found.extend(absolute(module, &path).map(|path| (false, path)));
        }
    }
    found
}

/// Where the next `use` begins: at the start of a line, or after a visibility.
fn find_use(code: &str) -> Option<usize> {
    code.match_indices("use ").map(|(at, _)| at).find(|at| {
        let line = code[..*at].rsplit('\n').next().unwrap_or_default().trim();
        line.is_empty() || (line.starts_with("pub") && !line.contains(' '))
    })
}

/// Every path of a `use` tree.
fn flatten(tree: &str, prefix: &[String], each: &mut dyn FnMut(Vec<String>)) {
    let tree = tree.trim();
    let (head, group) = match tree.split_once('{') {
        Some((head, group)) => (head, Some(group.trim_end().trim_end_matches('}'))),
        None => (tree, None),
    };
    let head = head.split(" as ").next().unwrap_or_default();
    let segments = head.split("::").map(str::trim).filter(|segment| !segment.is_empty()).map(ToOwned::to_owned);
    let path: Vec<String> = prefix.iter().cloned().chain(segments).collect();
    let Some(group) = group else { return each(path) };
    let (mut depth, mut start) = (0, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                flatten(&group[start..at], &path, each);
                start = at + 1;
            }
            _ => {}
        }
    }
    if !group[start..].trim().is_empty() {
        flatten(&group[start..], &path, each);
    }
}

/// A path as it reads from the root of the crate; `None` for other crates.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let mut base: Vec<String> = match path.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => module.to_vec(),
        _ => return None,
    };
    for segment in path {
        match segment.as_str() {
            "crate" | "self" => {}
            "super" => _ = base.pop(),
            name => base.push(name.to_owned()),
        }
    }
    Some(base)
}

/// Which file each file uses. A name that a `mod.rs` only re-exports belongs to the file that defines it.
fn uses(sources: &[Source]) -> BTreeMap<&str, BTreeSet<&str>> {
    let files: BTreeMap<&[String], &Source> = sources.iter().map(|source| (source.module.as_slice(), source)).collect();
    let mut exports: BTreeMap<(&[String], String), Vec<String>> = BTreeMap::new();
    let all: Vec<(&Source, Vec<NamedPath>)> =
        sources.iter().map(|source| (source, paths(&source.module, &with_children(source, &files)))).collect();
    for (source, paths) in &all {
        for (_, path) in paths.iter().filter(|(exported, _)| *exported) {
            let Some(name) = path.last() else { continue };
            exports.insert((source.module.as_slice(), name.clone()), path.clone());
        }
    }
    let resolve = |path: &[String]| -> Option<&str> {
        let mut path = path.to_vec();
        for _ in 0..8 {
            let length = (0..=path.len()).rev().find(|length| files.contains_key(&path[..*length]))?;
            let module = &path[..length];
            let followed =
                path.get(length).and_then(|name| exports.get(&(files[module].module.as_slice(), name.clone())));
            match followed {
                Some(target) if *target != path => path = [target.as_slice(), &path[length + 1..]].concat(),
                _ => return Some(files[module].name.as_str()),
            }
        }
        None
    };
    let mut edges: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (source, paths) in &all {
        for (exported, path) in paths {
            // A re-export is a signpost, not a use.
            let target = if *exported { None } else { resolve(path) };
            if let Some(target) = target.filter(|target| *target != source.name && *target != "lib.rs") {
                edges.entry(source.name.as_str()).or_default().insert(target);
            }
        }
    }
    edges
}

/// The code, with paths that begin with a child module made absolute.
fn with_children(source: &Source, files: &BTreeMap<&[String], &Source>) -> String {
    let mut code = source.code.clone();
    let children = files.keys().filter(|module| module.len() == source.module.len() + 1);
    for child in children.filter(|module| module.starts_with(&source.module)) {
        let name = child.last().unwrap();
        for before in [" ", "(", "&", "\n", "<", "!", "[", "*", "|", "{"] {
            code = code.replace(&format!("{before}{name}::"), &format!("{before}self::{name}::"));
        }
    }
    code
}

/// Groups of files that import each other, directly or through others.
fn circles<'a>(edges: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<Vec<&'a str>> {
    let reach = |from: &'a str| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(at) = next.pop() {
            next.extend(edges.get(at).into_iter().flatten().copied().filter(|to| seen.insert(*to)));
        }
        seen
    };
    let reached: BTreeMap<&str, BTreeSet<&str>> = edges.keys().map(|file| (*file, reach(file))).collect();
    let mut found: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (file, all) in reached.iter().filter(|(file, all)| all.contains(*file)) {
        found
            .insert(all.iter().copied().filter(|to| reached.get(to).is_some_and(|back| back.contains(file))).collect());
    }
    found.into_iter().collect()
}

#[test]
fn imports_point_one_way() {
    let mut wrong = BTreeSet::new();
    let mut unused: BTreeSet<(&str, &str)> =
        MAY_IMPORT.iter().flat_map(|(part, allowed)| allowed.iter().map(|other| (*part, *other))).collect();
    for source in sources() {
        if UNRESTRICTED.contains(&source.part.as_str()) {
            continue;
        }
        let Some((part, allowed)) = MAY_IMPORT.iter().find(|(part, _)| *part == source.part) else {
            wrong.insert(format!("{}: the part '{}' has no rule in tests/layering.rs", source.name, source.part));
            continue;
        };
        for (_, path) in paths(&source.module, &source.code) {
            let Some(import) = path.first().filter(|import| **import != source.part) else { continue };
            match allowed.iter().find(|other| *other == import) {
                Some(other) => _ = unused.remove(&(*part, *other)),
                None => _ = wrong.insert(format!("{}: {part} must not import {import}", source.name)),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(unused.is_empty(), "these allowances of tests/layering.rs are not used: {unused:#?}");
}

#[test]
fn files_do_not_import_each_other_in_circles() {
    let sources = sources();
    let edges = uses(&sources);
    let found = circles(&edges);
    let shown: Vec<String> = found
        .iter()
        .map(|circle| {
            let ties = circle.iter().flat_map(|from| {
                let to = edges[from].iter().filter(|to| circle.contains(to));
                to.map(move |to| format!("  {from} -> {to}"))
            });
            format!("{} files:\n{}", circle.len(), ties.collect::<Vec<_>>().join("\n"))
        })
        .collect();
    assert!(found.is_empty(), "{} circles:\n{}", found.len(), shown.join("\n"));
}

#[test]
fn only_the_command_line_knows_clap() {
    let parts = ["cli", "commands", "complete", "lib"];
    let wrong: Vec<String> = sources()
        .into_iter()
        // The target options are one struct from the command line to the transport.
        .filter(|source| !parts.contains(&source.part.as_str()) && source.name != "target/options.rs")
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
fn files_and_functions_have_a_length_limit() {
    let mut wrong = Vec::new();
    for source in sources() {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > MAX_FILE_LINES && !source.text.contains("//! One file because") {
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
    assert!(wrong.is_empty(), "too long: {wrong:#?}");
}

/// A name stands for one type. Types inside a function or an inline module, such as one for each system, are left out.
#[test]
fn type_names_are_unique() {
    let sources = sources();
    let mut types: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in &sources {
        for line in source.code.lines() {
            let line = line.strip_prefix("pub").map_or(line, |rest| {
                let rest = rest.split_once(") ").filter(|_| rest.starts_with('(')).map_or(rest, |(_, rest)| rest);
                rest.trim_start()
            });
            let rest =
                ["struct ", "enum ", "trait ", "type ", "union "].iter().find_map(|word| line.strip_prefix(word));
            if let Some(name) = rest.and_then(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()) {
                types.entry(name).or_default().insert(&source.name);
            }
        }
    }
    assert!(types.len() > 500, "the types were not found");
    types.retain(|_, files| files.len() > 1);
    assert_eq!(types, BTreeMap::new(), "rename all but one");
}

#[test]
fn every_module_has_a_description() {
    let wrong: Vec<String> =
        sources().into_iter().filter(|source| !source.text.starts_with("//!")).map(|source| source.name).collect();
    assert!(wrong.is_empty(), "these files do not begin with a description: {wrong:?}");
}

#[test]
fn paths_are_read_from_the_code() {
    let code =
        "use crate::{error::Failure, protocol::{rpc::Message, views}};\npub use self::x::Y;\nlet x = super::env::HOME;";
    let module = ["a".to_owned(), "b".to_owned()];
    let found: Vec<(bool, String)> =
        paths(&module, code).into_iter().map(|(exported, path)| (exported, path.join("::"))).collect();
    let expected = [
        (false, "error::Failure"),
        (false, "protocol::rpc::Message"),
        (false, "protocol::views"),
        (true, "a::b::x::Y"),
        (false, "a::env::HOME"),
    ];
    for (exported, path) in expected {
        assert!(found.contains(&(exported, path.to_owned())), "{path} in {found:?}");
    }
}

#[test]
fn circles_are_found() {
    let edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("d", "e")];
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in edges {
        graph.entry(from).or_default().insert(to);
    }
    assert_eq!(circles(&graph), [vec!["a", "b", "c"]]);
}
