//! Windsurf: `mcp_config.json`, whose remote servers have a `serverUrl`.
//!
//! Documented at <https://docs.windsurf.com/windsurf/cascade/mcp>.

use super::variables::Style;
use super::{Imported, Reading};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let around = reading.around(Style::Editor);
    reading.servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| {
        for member in entry.members() {
            match member.key.as_str() {
                "disabledTools" => draft.tools("deny_tools", member),
                _ => draft.usual(member),
            }
        }
    });
}
