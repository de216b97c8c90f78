//! Cursor: `mcp.json` of the user and of the project.
//!
//! Documented at <https://cursor.com/docs/context/mcp>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::variables::VariableSyntax;

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::Editor);
    reading.read_servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| {
        for member in entry.members() {
            match member.key.as_str() {
                "envFile" => draft.note_env_file(member),
                "auth" => draft.read_oauth(member),
                _ => draft.common_key(member),
            }
        }
    });
}
