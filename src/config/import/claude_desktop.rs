//! Claude Desktop: `claude_desktop_config.json`, which contains only commands and expands no variables.
//!
//! Documented at <https://modelcontextprotocol.io/docs/develop/connect-local-servers>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::variables::VariableSyntax;

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::Unsupported);
    reading.read_servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| {
        entry.members().iter().for_each(|member| draft.common_key(member));
    });
}
