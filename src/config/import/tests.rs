//! Golden files of every client, and properties that hold for every entry.
//!
//! The files under `tests/fixtures/import` follow the documentation that each client's module names; the expected
//! results are next to them and are rewritten by `UPDATE=1 cargo test import`.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::file::client_forms::split_command;
use crate::config::file::tree::ConfigValue;
use crate::config::file::{rewrite, tree};
use crate::config::value::expand::{VariableScope, expand};
use plan::{ImportAction, ImportOptions, ImportPlan, ImportSource, plan_import};

/// A machine with a home directory, a project, and only the files of one test.
struct ImportTestEnv {
    root: tempfile::TempDir,
}

impl ImportTestEnv {
    fn new() -> Self {
        let machine = ImportTestEnv { root: tempfile::tempdir().unwrap() };
        fs::create_dir_all(machine.path("/home/ada")).unwrap();
        fs::create_dir_all(machine.path("/work/site/src")).unwrap();
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    /// Writes a fixture to its client's location; `/work` and `/home` in it become those of this machine.
    fn put_fixture(&self, fixture: &str, at: &str) -> PathBuf {
        let text = fs::read_to_string(fixtures().join(fixture)).unwrap();
        let work = self.path("/work").display().to_string().replace('\\', "/");
        let text = text.replace("\"/work/", &format!("\"{work}/"));
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

    fn strip_root(&self, text: &str) -> String {
        text.replace(&self.root.path().display().to_string(), "")
    }

    fn import(&self, path: &Path) -> ImportedFile {
        let found = clients::discover_on(&self.environment(), Platform::Linux, None);
        let found = found.into_iter().find(|found| found.path == path);
        let found = found.unwrap_or_else(|| recognize_file(&self.environment(), path).unwrap());
        read_client_file_on(&self.environment(), Platform::Linux, &found).unwrap()
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/import")
}

/// The complete report of an import, for comparison.
fn render_report(imported: &ImportedFile) -> String {
    let mut out = format!("{} ({})\n", imported.display_path, imported.file.client.title());
    for entry in &imported.servers {
        writeln!(out, "\n## {} at line {}: {}", entry.name, entry.line, entry.target_text()).unwrap();
        if let Some(project) = &entry.project {
            writeln!(out, "# for {}", project.display()).unwrap();
        }
        for setting in entry.setting_lines() {
            writeln!(out, "# shown: {setting}").unwrap();
        }
        for note in &entry.notes {
            writeln!(out, "# note: {note}").unwrap();
        }
        for secret in &entry.secrets {
            writeln!(out, "# secret: {} as {}", secret.location, secret.variable).unwrap();
        }
        let from = format!("{}, {}", imported.file.client.title(), imported.display_path);
        out.push_str(&render::toml_block(entry, &from));
    }
    for problem in &imported.diagnostics {
        writeln!(out, "\n! {problem}").unwrap();
    }
    out
}

#[test]
fn the_format_of_every_client_is_read() {
    for (fixture, at) in [
        ("claude-code.json", "/home/ada/.claude.json"),
        ("claude-code-project.json", "/work/site/.mcp.json"),
        ("claude-desktop.json", "/home/ada/.config/Claude/claude_desktop_config.json"),
        ("cursor.json", "/home/ada/.cursor/mcp.json"),
        ("cursor-project.json", "/work/site/.cursor/mcp.json"),
        ("vscode.json", "/home/ada/.config/Code/User/mcp.json"),
        ("vscode-workspace.json", "/work/site/.vscode/mcp.json"),
        ("vscode-settings.json", "/home/ada/.config/Code/User/settings.json"),
        ("codex.toml", "/home/ada/.codex/config.toml"),
        ("windsurf.json", "/home/ada/.codeium/windsurf/mcp_config.json"),
        ("gemini.json", "/work/site/.gemini/settings.json"),
        ("opencode.jsonc", "/home/ada/.config/opencode/opencode.jsonc"),
        ("opencode-2.jsonc", "/work/site/.opencode/opencode.jsonc"),
        ("zed.json", "/home/ada/.config/zed/settings.json"),
        ("mcporter.jsonc", "/work/site/config/mcporter.jsonc"),
        ("other.json", "/home/ada/servers.json"),
    ] {
        let machine = ImportTestEnv::new();
        if fixture == "claude-code-project.json" {
            machine.put_fixture("claude-code-settings.json", "/work/site/.claude/settings.local.json");
        }
        let path = machine.put_fixture(fixture, at);
        let said = machine.strip_root(&render_report(&machine.import(&path)));
        let expected = fixtures().join(format!("{fixture}.expected"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&expected, &said).unwrap();
        }
        assert_eq!(said, fs::read_to_string(&expected).unwrap_or_default(), "{fixture}");
    }
}

/// Pseudo-random numbers that are the same in every run.
struct ImportTestRng(u64);

impl ImportTestRng {
    fn below(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    /// A string of characters that are hard to quote.
    fn text(&mut self) -> String {
        const PARTS: &[&str] = &[
            "a", "Z9", " ", "\"", "'", "\\", "\n", "\t", "$", "{", "}", "${", "$${", "${A}", "${A:-b}", "{env:A}", "é",
            "日", "#", "=", ",", "]", "%", "~/", "--x", "\u{7f}", "\u{202e}", ":-", "'''", "\"\"\"", "\r\n", "\u{0}",
        ];
        (0..self.below(6)).map(|_| PARTS[self.below(PARTS.len())]).collect()
    }
}

#[test]
fn an_imported_entry_survives_a_round_trip() {
    let machine = ImportTestEnv::new();
    let environment = machine.environment();
    let mut dice = ImportTestRng(0x9e37_79b9_7f4a_7c15);
    let ours = "# mine\n[defaults]\ntimeout = \"5s\" # soon\n";
    for round in 0..400 {
        let args: Vec<String> = (0..dice.below(5)).map(|_| dice.text()).collect();
        let env: BTreeMap<String, String> = (0..dice.below(4)).map(|n| (format!("V{n}"), dice.text())).collect();
        let program = format!("run{}", dice.text());
        let server = serde_json::json!({ "command": program, "args": args, "env": env });
        let json = serde_json::json!({ "mcpServers": { format!("s{round}"): server } });
        let path = machine.write("/home/ada/.config/Claude/claude_desktop_config.json", &json.to_string());
        let imported = machine.import(&path);
        let entry = imported.servers.first().unwrap_or_else(|| panic!("{json}: {:?}", imported.diagnostics));

        let file = rewrite::add(ours, &entry.name, &render::toml_block(entry, "a\nb")).unwrap();
        assert!(file.starts_with(ours), "all else is kept: {file}");
        let root = tree::parse_toml(&file).unwrap();
        let read = &root.get("servers").unwrap().value.get(&entry.name).unwrap().value;
        assert!(read.is_equivalent(&entry.config), "{json}\n{file}");

        // Claude Desktop expands nothing, so the command is exactly the same here.
        let ran = |node: &ConfigNode| {
            let scope = VariableScope::environment_only(&environment);
            expand(node.as_str().unwrap(), scope, &mut |secret| panic!("{secret:?}")).unwrap()
        };
        let words = split_command(&program, Path::new("/")).unwrap_or_else(|| vec![program.clone()]);
        if !words[0].contains('/') {
            assert_eq!(ran(&read.get("command").unwrap().value), words[0]);
        }
        let args: Vec<String> = words.into_iter().skip(1).chain(args).collect();
        let items = match read.get("args").map(|member| &member.value.value) {
            Some(ConfigValue::Array(items)) => items.clone(),
            _ => Vec::new(),
        };
        assert_eq!(items.iter().map(ran).collect::<Vec<_>>(), args);
        let vars = read.get("env").map(|member| member.value.members().to_vec()).unwrap_or_default();
        let vars: BTreeMap<String, String> = vars.iter().map(|var| (var.key.clone(), ran(&var.value))).collect();
        assert_eq!(vars, env);
    }
}

#[test]
fn every_ignored_member_is_noted() {
    let machine = ImportTestEnv::new();
    for (at, container) in [
        ("/home/ada/.claude.json", "mcpServers"),
        ("/home/ada/.config/Claude/claude_desktop_config.json", "mcpServers"),
        ("/home/ada/.cursor/mcp.json", "mcpServers"),
        ("/home/ada/.config/Code/User/mcp.json", "servers"),
        ("/home/ada/.codeium/windsurf/mcp_config.json", "mcpServers"),
        ("/home/ada/.gemini/settings.json", "mcpServers"),
        ("/home/ada/.config/opencode/opencode.json", "mcp"),
        ("/home/ada/.config/zed/settings.json", "context_servers"),
        ("/home/ada/.mcporter/mcporter.json", "mcpServers"),
        ("/home/ada/any.json", "servers"),
    ] {
        let server = serde_json::json!({
            "command": "run", "comand": "typo", "args": "no array", "env": ["no", "table"], "headers": { "A": "b" },
            "cwd": 7, "disabled": "perhaps", "weird": { "deep": [1] }
        });
        let path = machine.write(at, &serde_json::json!({ container: { "x": server } }).to_string());
        let imported = machine.import(&path);
        let said = imported.servers[0].notes.join("\n");
        for key in ["comand", "args", "env", "headers", "cwd", "disabled", "weird"] {
            assert!(said.contains(key), "{at}: {key} is not in\n{said}");
        }
        fs::remove_file(path).unwrap();
    }
}

fn plan_with_config(machine: &ImportTestEnv, ours: &str, wish: &ImportOptions) -> Result<ImportPlan> {
    machine.write("/home/ada/.config/mcpipe/config.toml", ours);
    let environment = machine.environment();
    let config = crate::config::Config::load(&environment, None).unwrap();
    let mut plan = plan_import(&environment, &config, wish)?;
    plan.assign_variable_names();
    Ok(plan)
}

fn step_summaries(plan: &ImportPlan) -> Vec<String> {
    plan.steps.iter().map(|step| format!("{} {}", step.server.name, step.action.as_str())).collect()
}

#[test]
fn a_plan_says_what_is_added_and_what_is_not() {
    let machine = ImportTestEnv::new();
    machine.put_fixture("claude-code.json", "/home/ada/.claude.json");
    machine.write(
        "/home/ada/.cursor/mcp.json",
        r#"{"mcpServers": {
            "old": {"type": "sse", "url": "https://old.example/sse"},
            "github": {"command": "gh-mcp", "env": {"CACHE_KEY": "other"}},
            "kept": {"command": "kept"}, "mine": {"command": "theirs"}
        }}"#,
    );
    machine.write("/work/site/.mcp.json", r#"{"mcpServers": {"here": {"command": "here"}}}"#);
    let ours = "[servers.kept]\ncommand = 'kept'\n[servers.mine]\ncommand = 'mine'\n";
    let config = machine.path("/home/ada/.config/mcpipe/config.toml");
    let plan =
        plan_with_config(&machine, ours, &ImportOptions { target_file: config.clone(), ..ImportOptions::default() })
            .unwrap();
    // 'github-site' belongs to the current project; another 'github' already exists.
    let expected = "github add, local-files add, old add, login add, github-site add, paused add, here skip, \
                    old skip, github-cursor add, kept unchanged, mine conflict";
    assert_eq!(step_summaries(&plan).join(", "), expected);
    let mine = plan.steps.iter().find(|step| step.server.name == "mine").unwrap();
    assert_eq!(mine.action, ImportAction::Conflict("~/.config/mcpipe/config.toml:3".into()));
    assert!(plan.diagnostics.iter().any(|problem| problem.message.contains("'sdk'")));

    // Two secrets with one name get two variables.
    let variables: Vec<&str> =
        plan.steps.iter().flat_map(|step| &step.server.secrets).map(|finding| finding.variable.as_str()).collect();
    assert_eq!(variables, ["GITHUB_TOKEN", "CACHE_KEY", "GITHUB_CURSOR_CACHE_KEY"]);

    let replacing = ImportOptions { target_file: config, replace_existing: true, ..ImportOptions::default() };
    let plan = plan_with_config(&machine, ours, &replacing).unwrap();
    assert!(step_summaries(&plan).contains(&"mine replace".to_owned()));
    let text = plan.apply(ours).unwrap();
    let root = tree::parse_toml(&text).unwrap();
    let servers = &root.get("servers").unwrap().value;
    let command = servers.get("mine").unwrap().value.get("command").unwrap();
    assert_eq!(command.value.as_str(), Some("theirs"));
    assert!(text.starts_with("[servers.kept]\ncommand = 'kept'\n"), "{text}");
    // An entry that was added in the meantime is not replaced.
    let (problem, name) = plan.apply(&format!("{ours}[servers.old]\ncommand = 'x'\n")).unwrap_err();
    assert_eq!((problem, name), (crate::config::file::rewrite::RewriteError::ServerExists, "old"));
}

#[test]
fn entries_of_other_projects_are_taken_only_when_asked_for() {
    let machine = ImportTestEnv::new();
    let projects = serde_json::json!({ "projects": {
        "/elsewhere": { "mcpServers": { "far": { "command": "far" } } },
        machine.path("/work/site").to_str().unwrap(): { "mcpServers": { "near": { "command": "near" } } },
    }});
    machine.write("/home/ada/.claude.json", &projects.to_string());
    let what = ImportSource::Client(ImportClient::ClaudeCode);
    let plan =
        plan_with_config(&machine, "", &ImportOptions { source: what.clone(), ..ImportOptions::default() }).unwrap();
    assert_eq!(step_summaries(&plan), ["far skip", "near add"]);
    let plan =
        plan_with_config(&machine, "", &ImportOptions { source: what, all_projects: true, ..ImportOptions::default() })
            .unwrap();
    assert_eq!(step_summaries(&plan), ["far add", "near add"]);
}

#[test]
fn a_projects_own_file_needs_no_directory() {
    let machine = ImportTestEnv::new();
    machine.write("/work/site/.cursor/mcp.json", r#"{"mcpServers": {"x": {"command": "x"}}}"#);
    let project = machine.path("/work/site");
    let plan =
        plan_with_config(&machine, "", &ImportOptions { project: Some(project), ..ImportOptions::default() }).unwrap();
    assert_eq!(plan.apply("").unwrap().lines().skip(1).collect::<Vec<_>>(), ["[servers.x]", "command = \"x\""]);
}

#[test]
fn files_are_recognized_by_what_they_hold() {
    let machine = ImportTestEnv::new();
    for (fixture, at, client) in [
        ("codex.toml", "/x/a.toml", ImportClient::Codex),
        ("zed.json", "/x/b.json", ImportClient::Zed),
        ("opencode.jsonc", "/x/opencode.jsonc", ImportClient::OpenCode),
        ("opencode-2.jsonc", "/x/c.json", ImportClient::OpenCode),
        ("vscode.json", "/x/d.json", ImportClient::VsCode),
        ("vscode-settings.json", "/x/.vscode/settings.json", ImportClient::VsCode),
        ("gemini.json", "/x/.gemini/settings.json", ImportClient::Gemini),
        ("cursor.json", "/x/.cursor/mcp.json", ImportClient::Cursor),
        ("windsurf.json", "/x/mcp_config.json", ImportClient::Windsurf),
        ("mcporter.jsonc", "/x/mcporter.jsonc", ImportClient::Mcporter),
        ("claude-code.json", "/x/.claude.json", ImportClient::ClaudeCode),
        ("claude-code-project.json", "/x/.mcp.json", ImportClient::ClaudeCode),
        ("claude-desktop.json", "/x/claude_desktop_config.json", ImportClient::ClaudeDesktop),
        ("other.json", "/x/e.json", ImportClient::Other),
    ] {
        let path = machine.put_fixture(fixture, at);
        assert_eq!(recognize_file(&machine.environment(), &path).unwrap().client, client, "{at}");
    }
}
