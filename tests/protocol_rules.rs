//! `docs/protocol.md`: every rule that the source refers to is listed, and every test that it names exists.

use std::collections::BTreeSet;
use std::path::Path;

fn read_all(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            read_all(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Words such as `ERA-13`.
fn rule_ids(text: &str) -> BTreeSet<String> {
    let is_id = |word: &&str| {
        let (letters, digits) = word.split_once('-').unwrap_or_default();
        letters.len() == 3
            && letters.chars().all(|c| c.is_ascii_uppercase())
            && digits.len() == 2
            && digits.chars().all(|c| c.is_ascii_digit())
    };
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    // The name of a character encoding in the tests of MIME types, and the like.
    words.filter(is_id).filter(|word| !matches!(*word, "UTF-16" | "UTF-32" | "SHA-25")).map(ToOwned::to_owned).collect()
}

#[test]
fn rules_and_tests_that_are_named_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let document = std::fs::read_to_string(root.join("docs/protocol.md")).unwrap();
    let mut source = String::new();
    for dir in ["src", "tests"] {
        read_all(&root.join(dir), &mut source);
    }
    let listed = rule_ids(&document);
    let missing: Vec<String> =
        rule_ids(&source.replace("such as `ERA-13`", "")).into_iter().filter(|id| !listed.contains(id)).collect();
    assert!(missing.is_empty(), "docs/protocol.md does not list {missing:?}");
    let mut rows = 0;
    for line in document.lines().filter(|line| line.starts_with("| ") && rule_ids(line).len() == 1) {
        rows += 1;
        let tests = line.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for test in tests.split(", ").map(|test| test.trim_matches('`')) {
            assert!(
                source.contains(&format!("fn {test}(")),
                "docs/protocol.md names a test that does not exist: {line}"
            );
        }
    }
    assert!(rows > 100, "{rows} rows were read");
}
