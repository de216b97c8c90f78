//! Claude Desktop: `claude_desktop_config.json`, which knows commands only and expands nothing.
//!
//! Documented at <https://modelcontextprotocol.io/docs/develop/connect-local-servers>.

use super::variables::Style;
use super::{Imported, Reading};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let around = reading.around(Style::None);
    reading.servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| {
        entry.members().iter().for_each(|member| draft.usual(member));
    });
}
