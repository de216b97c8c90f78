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
fn the_index_lists_every_document() {
    let index = read("docs/README.md");
    let mut documents = Vec::new();
    files_below(&root().join("docs"), ".md", &mut documents);
    for document in documents {
        let name = document.strip_prefix(root().join("docs")).unwrap().display().to_string();
        assert!(name == "README.md" || index.contains(&format!("]({name})")), "docs/README.md does not list {name}");
    }
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
fn the_changelog_and_the_examples_have_the_version() {
    let version = version();
    let changelog = read("CHANGELOG.md");
    let (before, section) = changelog.split_once(&format!("\n## {version} - ")).unwrap();
    assert!(before.contains("\n## Unreleased\n"), "there is no section for what comes next");
    let date = section.lines().next().unwrap();
    let shape: String = date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    assert_eq!(shape, "0000-00-00", "the date of {version}");
    let action = format!("/.github/actions/setup-mcpipe@v{version}\n");
    let template = format!("/releases/download/v{version}/mcpipe.gitlab-ci.yml");
    let recording = format!("\"version\":1,\"mcpipe\":\"{version}\"");
    for (name, text) in [("docs/ci.md", action), ("docs/ci.md", template), ("docs/recording.md", recording)] {
        assert!(read(name).contains(&text), "{name} does not have {text}");
    }
}

#[test]
fn set_version_changes_every_file_that_states_the_version() {
    let copy = tempfile::tempdir().unwrap();
    for name in ["packaging/set-version", "Cargo.toml", "Cargo.lock", "CHANGELOG.md", "docs/ci.md", "docs/recording.md"]
    {
        let place = copy.path().join(name);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(root().join(name), place).unwrap();
    }
    let set = |version: &str| {
        let script = copy.path().join("packaging/set-version");
        Command::new("python3").arg(script).args([version, "--date", "2031-05-06"]).output().unwrap()
    };
    assert!(set("7.8.9").status.success());
    for (name, text) in [
        ("Cargo.toml", "name = \"mcpipe\"\nversion = \"7.8.9\"\n"),
        ("Cargo.lock", "name = \"mcpipe\"\nversion = \"7.8.9\"\n"),
        ("CHANGELOG.md", "\n## Unreleased\n\n## 7.8.9 - 2031-05-06\n"),
        ("docs/ci.md", "setup-mcpipe@v7.8.9\n"),
        ("docs/ci.md", "/releases/download/v7.8.9/"),
        ("docs/recording.md", "\"mcpipe\":\"7.8.9\""),
    ] {
        assert!(std::fs::read_to_string(copy.path().join(name)).unwrap().contains(text), "{name}: {text}");
    }
    // Packages cannot have the version of a pre-release.
    for version in ["next", "1.0", "01.0.0", "1.0.0-rc.1"] {
        assert_eq!(set(version).status.code(), Some(2), "{version}");
    }
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

/// Prose is wrapped, so that a diff shows the sentence that changed: tables, code and links have lines of any length.
#[test]
fn prose_in_documents_is_wrapped() {
    let generated = ["docs/cli.md", "docs/config.md", "docs/messages.md", "docs/source.md", "docs/suite.md"];
    let mut files = Vec::new();
    ["docs", "packaging"].iter().for_each(|name| files_below(&root().join(name), ".md", &mut files));
    files.extend(
        ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "RELEASING.md", "SECURITY.md"].map(|name| root().join(name)),
    );
    let mut long = Vec::new();
    for file in &files {
        let name = file.strip_prefix(root()).unwrap().to_str().unwrap();
        if generated.contains(&name) {
            continue;
        }
        let (mut is_code, text) = (false, read(name));
        for (line, number) in text.lines().zip(1..) {
            is_code ^= line.trim_start().starts_with("```");
            let is_prose = !is_code && !line.trim_start().starts_with('|') && !line.starts_with("description: ");
            if is_prose && line.chars().count() > 120 {
                long.push(format!("{name}:{number}"));
            }
        }
    }
    assert!(files.len() > 30 && long.is_empty(), "longer than 120 characters: {long:?}");
}
