//! Windsurf: `mcp_config.json`, whose remote servers have a `serverUrl`.
//!
//! Documented at <https://docs.windsurf.com/windsurf/cascade/mcp>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::variables::VariableSyntax;

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::Editor);
    reading.read_servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| {
        for member in entry.members() {
            match member.key.as_str() {
                "disabledTools" => draft.read_tool_list("deny_tools", member),
                _ => draft.common_key(member),
            }
        }
    });
}
