//! Claude Code: `~/.claude.json` with the servers of each project, `.mcp.json`, and settings that disable servers.
//!
//! Documented at <https://code.claude.com/docs/en/mcp> and <https://code.claude.com/docs/en/settings>.

use std::path::{Path, PathBuf};

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use crate::config::file::client_forms::server_container;
use crate::config::file::jsonc;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};
use crate::config::import::clients::{ImportClient, discover_client_files};
use crate::util::bounded_read::{self, MAX_FILE};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let off = disabled_servers(reading);
    let user = reading.variable_context(VariableSyntax::Shell);
    let servers = server_container(reading.root);
    reading.read_servers(servers.as_ref(), &user, out, &mut |draft, name, entry| {
        read_server(draft, entry);
        draft.is_disabled |= off.iter().any(|other| other == name);
    });
    let projects = reading.root.get("projects").map(|member| member.value.members()).unwrap_or_default();
    for project in projects {
        let off = string_array(&project.value, "disabledMcpServers");
        let mut around = reading.variable_context(VariableSyntax::Shell);
        around.project = Some(PathBuf::from(&project.key));
        reading.read_servers(project.value.get("mcpServers"), &around, out, &mut |draft, name, entry| {
            read_server(draft, entry);
            draft.is_disabled |= off.iter().any(|other| other == name);
        });
    }
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    for member in entry.members() {
        match member.key.as_str() {
            "timeout" => draft.read_duration("timeout", member, 1.0),
            "headersHelper" => draft.note_headers_helper(member),
            _ => draft.common_key(member),
        }
    }
}

/// The strings of an array.
fn string_array(node: &ConfigNode, key: &str) -> Vec<String> {
    match node.get(key).map(|member| &member.value.value) {
        Some(ConfigValue::Array(items)) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// The servers of a project's `.mcp.json` that its settings, the user's settings or the user rejected.
///
/// Problems with those files are reported when they are read themselves.
fn disabled_servers(reading: &ClientFileReader<'_>) -> Vec<String> {
    let Some(project) = reading.file.project.as_deref().filter(|_| has_file_name(&reading.file.path, ".mcp.json"))
    else {
        return Vec::new();
    };
    let mut off = Vec::new();
    for found in discover_client_files(reading.environment, ImportClient::ClaudeCode) {
        if found.path == reading.file.path {
            continue;
        }
        let Some(root) =
            bounded_read::read_to_string(&found.path, MAX_FILE).ok().and_then(|text| jsonc::parse(&text).ok())
        else {
            continue;
        };
        off.extend(string_array(&root, "disabledMcpjsonServers"));
        let here = |member: &&ConfigMember| Path::new(&member.key) == project;
        let projects = root.get("projects").map(|member| member.value.members()).unwrap_or_default();
        if let Some(entry) = projects.iter().find(here) {
            off.extend(string_array(&entry.value, "disabledMcpjsonServers"));
        }
    }
    off
}

fn has_file_name(path: &Path, name: &str) -> bool {
    path.file_name().is_some_and(|file| file == name)
}
