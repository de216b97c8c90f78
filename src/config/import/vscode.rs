//! VS Code: `mcp.json` of the user, of profiles and of the workspace, and the older `mcp` of `settings.json`.
//!
//! Documented at <https://code.visualstudio.com/docs/copilot/reference/mcp-configuration> and
//! <https://code.visualstudio.com/docs/reference/variables-reference>.

use std::collections::BTreeMap;

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::{EditorInput, VariableSyntax};
use crate::config::file::client_forms::server_container;
use crate::config::file::tree::{ConfigNode, ConfigValue};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let root = match reading.root.get("mcp") {
        Some(member) if reading.root.get("servers").is_none() => &member.value,
        _ => reading.root,
    };
    let mut around = reading.variable_context(VariableSyntax::Editor);
    around.inputs = read_inputs(root);
    let container = root.get("servers").cloned().or_else(|| server_container(root));
    reading.read_servers(container.as_ref(), &around, out, &mut |draft, _, entry| read_server(draft, entry));
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    for member in entry.members() {
        match (member.key.as_str(), member.value.as_str()) {
            // VS Code falls back to HTTP+SSE automatically, and so does mcpipe by default.
            ("type", Some("http")) => draft.declared_as_command = Some(false),
            ("envFile", _) => draft.note_env_file(member),
            ("sandbox" | "sandboxEnabled", _) => {
                draft.ignore_key(&member.key);
                if member.value.value == ConfigValue::Bool(true) {
                    draft.notes.push("VS Code runs it in a sandbox; mcpipe does not".to_owned());
                }
            }
            _ => draft.common_key(member),
        }
    }
}

/// The declarations in `inputs`, by identifier.
pub(crate) fn read_inputs(root: &ConfigNode) -> BTreeMap<String, EditorInput> {
    let Some(ConfigValue::Array(items)) = root.get("inputs").map(|member| &member.value.value) else {
        return BTreeMap::new();
    };
    let text = |item: &ConfigNode, key: &str| item.get(key).and_then(|member| member.value.as_str()).map(str::to_owned);
    let declared = items.iter().filter_map(|item| {
        let default = text(item, "default").filter(|default| !default.is_empty());
        Some((text(item, "id")?, EditorInput { default, description: text(item, "description") }))
    });
    declared.collect()
}
