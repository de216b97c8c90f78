//! The files beside the source agree with it: links, the tests that the documents name, licenses, versions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The files below a directory whose name ends in `ending`.
fn files_below(directory: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, ending, found);
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
}

/// The names of all functions in the source and the tests.
fn functions() -> BTreeSet<String> {
    let mut files = Vec::new();
    files_below(&root().join("src"), ".rs", &mut files);
    files_below(&root().join("tests"), ".rs", &mut files);
    let mut names = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        for rest in text.split("fn ").skip(1) {
            let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            names.insert(rest.chars().take_while(|c| is_part(*c)).collect());
        }
    }
    names
}

#[test]
fn links_between_documents_lead_somewhere() {
    let output = Command::new("python3").arg(root().join("scripts/check-links")).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn every_promise_of_security_md_names_tests_that_exist() {
    let text = read("docs/security.md");
    let functions = functions();
    let mut promises = 0;
    for row in text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise")) {
        let (_, tests) = row.trim_end_matches(" |").rsplit_once(" | ").unwrap();
        let names: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test is named: {row}");
        for name in names {
            assert!(functions.contains(name), "docs/security.md names the test {name}, which does not exist");
        }
        promises += 1;
    }
    assert!(promises > 30, "{promises} promises were found");
}

#[test]
fn every_message_of_troubleshooting_md_exists() {
    let messages = read("docs/messages.md");
    let text = read("docs/troubleshooting.md");
    let mut checked = 0;
    for line in text.lines().filter(|line| line.starts_with("**`")) {
        let bold = &line[..line.rfind("**").unwrap()];
        for message in bold.split('`').skip(1).step_by(2) {
            // Between what is filled in; a comma may join two messages.
            for piece in message.split(['…', ',']).flat_map(|part| part.split("'X'")) {
                let piece = piece.trim();
                assert!(piece.len() < 8 || messages.contains(piece), "no message has the text '{piece}': {message}");
                checked += 1;
            }
        }
    }
    assert!(checked > 40, "{checked} texts were checked");
}

/// A text of `[package]` in `Cargo.toml`.
fn manifest_value(key: &str) -> String {
    let manifest = read("Cargo.toml");
    let line = manifest.lines().find_map(|line| line.strip_prefix(&format!("{key} = "))).unwrap();
    line.trim_matches('"').to_owned()
}

/// The version in `Cargo.toml`.
fn version() -> String {
    manifest_value("version")
}

#[test]
fn only_cargo_toml_states_the_version_and_the_address() {
    let version = version();
    let address = manifest_value("repository");
    assert!(address.starts_with("https://") && !address.ends_with('/'), "{address}");
    let mut files = vec![root().join("flake.nix")];
    files_below(&root().join("packaging"), "", &mut files);
    files_below(&root().join(".github"), "", &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let name = file.strip_prefix(root()).unwrap().display().to_string();
        assert!(!text.contains(&format!("\"{version}\"")), "{name} states the version {version}");
        assert!(!text.contains(&address), "{name} states the address {address}");
    }
}

#[test]
fn packages_have_the_version_of_cargo_toml() {
    let script = "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, 'packaging'); \
                  import project; print(project.version())";
    let output = Command::new("python3").args(["-c", script]).current_dir(root()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), version());
}

#[test]
fn the_changelog_has_a_section_for_the_next_version() {
    let version = version();
    let changelog = read("CHANGELOG.md");
    let has_section = |title: &str| changelog.lines().any(|line| line.starts_with(&format!("## {title}")));
    assert!(has_section("Unreleased") || has_section(&version), "no section for {version}");
}

#[test]
fn the_readme_is_short_and_names_the_rust_version() {
    let readme = read("README.md");
    assert!(readme.lines().count() < 200, "README.md has {} lines", readme.lines().count());
    let rust = format!("Rust {}", manifest_value("rust-version"));
    for name in ["README.md", "CONTRIBUTING.md", "docs/install.md"] {
        assert!(read(name).contains(&rust), "{name} does not name {rust}");
    }
}

#[test]
fn both_licenses_are_there_in_full() {
    assert!(read("Cargo.toml").contains("license = \"MIT OR Apache-2.0\""));
    assert!(read("LICENSE-MIT").starts_with("MIT License\n\nCopyright (c) "));
    assert!(read("LICENSE-APACHE").contains("Apache License\n"));
    assert!(read("LICENSE-APACHE").contains("END OF TERMS AND CONDITIONS"));
}
