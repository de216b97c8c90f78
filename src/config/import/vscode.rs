//! VS Code: `mcp.json` of the user, of profiles and of the workspace, and the older `mcp` of `settings.json`.
//!
//! Documented at <https://code.visualstudio.com/docs/copilot/reference/mcp-configuration> and
//! <https://code.visualstudio.com/docs/reference/variables-reference>.

use std::collections::BTreeMap;

use super::draft::Draft;
use super::variables::{Input, Style};
use super::{Imported, Reading};
use crate::config::tree::{Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let root = match reading.root.get("mcp") {
        Some(member) if reading.root.get("servers").is_none() => &member.value,
        _ => reading.root,
    };
    let mut around = reading.around(Style::Editor);
    around.inputs = inputs(root);
    let container = root.get("servers").or_else(|| root.get("mcpServers"));
    reading.servers(container, &around, out, &mut |draft, _, entry| server(draft, entry));
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    for member in entry.members() {
        match (member.key.as_str(), member.value.as_text()) {
            // VS Code falls back to HTTP+SSE by itself, as we do where nothing is said.
            ("type", Some("http")) => draft.is_command = Some(false),
            ("envFile", _) => draft.env_file(member),
            ("sandbox" | "sandboxEnabled", _) => {
                draft.leave_out(&member.key);
                if member.value.value == Value::Flag(true) {
                    draft.notes.push("VS Code runs it in a sandbox, and mcpipe does not".to_owned());
                }
            }
            _ => draft.usual(member),
        }
    }
}

/// What `inputs` declares, by identifier.
pub(super) fn inputs(root: &Node) -> BTreeMap<String, Input> {
    let Some(Value::List(items)) = root.get("inputs").map(|member| &member.value.value) else { return BTreeMap::new() };
    let text = |item: &Node, key: &str| item.get(key).and_then(|member| member.value.as_text()).map(str::to_owned);
    let declared = items.iter().filter_map(|item| {
        let default = text(item, "default").filter(|default| !default.is_empty());
        Some((text(item, "id")?, Input { default, description: text(item, "description") }))
    });
    declared.collect()
}
