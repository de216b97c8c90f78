//! Golden files of every client, and what must hold for any entry.
//!
//! The files under `tests/fixtures/import` are made up from the documentation that each client's module names; what is
//! expected of them stands beside, and is written anew by `BLESS=1 cargo test import`.

#![allow(clippy::unwrap_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::expand::expand;
use crate::config::tree;

/// A machine with a home and a project, and nothing but the files of one test.
struct Machine {
    root: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let machine = Machine { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(machine.path("/home/ada")).unwrap();
        fs::create_dir_all(machine.path("/work/site/src")).unwrap();
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Puts a fixture where its client has it; `/work` and `/home` in it are those of this machine.
    fn put(&self, fixture: &str, at: &str) -> PathBuf {
        let text = fs::read_to_string(fixtures().join(fixture)).unwrap();
        let text = text.replace("\"/work/", &format!("\"{}/", self.path("/work").display()));
        self.write(at, &text)
    }

    fn write(&self, at: &str, text: &str) -> PathBuf {
        let path = self.path(at);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn environment(&self) -> Environment {
        Environment::new([("HOME", self.path("/home/ada").to_str().unwrap())], &self.path("/work/site/src"))
    }

    fn hide(&self, text: &str) -> String {
        text.replace(&self.root.path().display().to_string(), "")
    }

    fn import(&self, path: &Path) -> Imported {
        let found = places::on(&self.environment(), Platform::Linux, None);
        let found = found.into_iter().find(|found| found.path == path);
        let found = found.unwrap_or_else(|| recognize(&self.environment(), path).unwrap());
        read_on(&self.environment(), Platform::Linux, &found).unwrap()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import")
}

/// Everything that an import says, for comparing and for reading.
fn report(imported: &Imported) -> String {
    let mut out = format!("{} ({})\n", imported.shown, imported.found.client.title());
    for entry in &imported.entries {
        writeln!(out, "\n## {} at line {}: {}", entry.name, entry.line, entry.target()).unwrap();
        if let Some(project) = &entry.project {
            writeln!(out, "# for {}", project.display()).unwrap();
        }
        for setting in entry.settings() {
            writeln!(out, "# shown: {setting}").unwrap();
        }
        for note in &entry.notes {
            writeln!(out, "# note: {note}").unwrap();
        }
        for secret in &entry.secrets {
            writeln!(out, "# secret: {} as {}", secret.place, secret.variable).unwrap();
        }
        let from = format!("{}, {}", imported.found.client.title(), imported.shown);
        out.push_str(&render::insert("", [(entry, from.as_str())]).unwrap());
    }
    for problem in &imported.problems {
        writeln!(out, "\n! {problem}").unwrap();
    }
    out
}

fn golden(fixture: &str, at: &str) {
    let machine = Machine::new();
    if fixture == "claude-code-project.json" {
        machine.put("claude-code-settings.json", "/work/site/.claude/settings.local.json");
    }
    let path = machine.put(fixture, at);
    let said = machine.hide(&report(&machine.import(&path)));
    let expected = fixtures().join(format!("{fixture}.expected"));
    if std::env::var_os("BLESS").is_some() {
        fs::write(&expected, &said).unwrap();
    }
    assert_eq!(said, fs::read_to_string(&expected).unwrap_or_default(), "{fixture}");
}

#[test]
fn claude_code() {
    golden("claude-code.json", "/home/ada/.claude.json");
    golden("claude-code-project.json", "/work/site/.mcp.json");
}

#[test]
fn claude_desktop() {
    golden("claude-desktop.json", "/home/ada/.config/Claude/claude_desktop_config.json");
}

#[test]
fn cursor() {
    golden("cursor.json", "/home/ada/.cursor/mcp.json");
    golden("cursor-project.json", "/work/site/.cursor/mcp.json");
}

#[test]
fn vs_code() {
    golden("vscode.json", "/home/ada/.config/Code/User/mcp.json");
    golden("vscode-workspace.json", "/work/site/.vscode/mcp.json");
    golden("vscode-settings.json", "/home/ada/.config/Code/User/settings.json");
}

#[test]
fn codex() {
    golden("codex.toml", "/home/ada/.codex/config.toml");
}

#[test]
fn windsurf() {
    golden("windsurf.json", "/home/ada/.codeium/windsurf/mcp_config.json");
}

#[test]
fn gemini() {
    golden("gemini.json", "/work/site/.gemini/settings.json");
}

#[test]
fn opencode() {
    golden("opencode.jsonc", "/home/ada/.config/opencode/opencode.jsonc");
    golden("opencode-2.jsonc", "/work/site/.opencode/opencode.jsonc");
}

#[test]
fn zed() {
    golden("zed.json", "/home/ada/.config/zed/settings.json");
}

#[test]
fn mcporter() {
    golden("mcporter.jsonc", "/work/site/config/mcporter.jsonc");
}

#[test]
fn any_other_file() {
    golden("other.json", "/home/ada/servers.json");
}
