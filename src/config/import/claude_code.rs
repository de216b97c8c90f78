//! Claude Code: `~/.claude.json` with the servers of each project, `.mcp.json`, and settings that switch servers off.
//!
//! Documented at <https://code.claude.com/docs/en/mcp> and <https://code.claude.com/docs/en/settings>.

use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::places::{Client, of};
use super::variables::Style;
use super::{Imported, Reading};
use crate::config::tree::{Member, Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let off = switched_off(reading);
    let user = reading.around(Style::Shell);
    reading.servers(reading.root.get("mcpServers"), &user, out, &mut |draft, name, entry| {
        server(draft, entry);
        draft.disabled |= off.iter().any(|other| other == name);
    });
    let projects = reading.root.get("projects").map(|member| member.value.members()).unwrap_or_default();
    for project in projects {
        let off = names(&project.value, "disabledMcpServers");
        let mut around = reading.around(Style::Shell);
        around.project = Some(PathBuf::from(&project.key));
        reading.servers(project.value.get("mcpServers"), &around, out, &mut |draft, name, entry| {
            server(draft, entry);
            draft.disabled |= off.iter().any(|other| other == name);
        });
    }
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    for member in entry.members() {
        match member.key.as_str() {
            "timeout" => draft.time("timeout", member, 1.0),
            "headersHelper" => {
                draft.leave_out(&member.key);
                draft
                    .notes
                    .push("its headers are made by a program in Claude Code; give them as headers here".to_owned());
            }
            _ => draft.usual(member),
        }
    }
}

/// The strings of an array.
fn names(node: &Node, key: &str) -> Vec<String> {
    match node.get(key).map(|member| &member.value.value) {
        Some(Value::List(items)) => items.iter().filter_map(|item| item.as_text().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// The servers of a project's `.mcp.json` that its settings, the user's settings or the user refused.
///
/// What cannot be read of those files is reported when they are read themselves.
fn switched_off(reading: &Reading<'_>) -> Vec<String> {
    let Some(project) = reading.found.project.as_deref().filter(|_| ends_with(&reading.found.path, ".mcp.json")) else {
        return Vec::new();
    };
    let mut off = Vec::new();
    for found in of(reading.environment, Client::ClaudeCode) {
        if found.path == reading.found.path {
            continue;
        }
        let Some(root) = std::fs::read_to_string(&found.path).ok().and_then(|text| super::jsonc::parse(&text).ok())
        else {
            continue;
        };
        off.extend(names(&root, "disabledMcpjsonServers"));
        let here = |member: &&Member| Path::new(&member.key) == project;
        let projects = root.get("projects").map(|member| member.value.members()).unwrap_or_default();
        if let Some(entry) = projects.iter().find(here) {
            off.extend(names(&entry.value, "disabledMcpjsonServers"));
        }
    }
    off
}

fn ends_with(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file| file == name)
}
