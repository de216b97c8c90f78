//! Cursor: `mcp.json` of the user and of the project.
//!
//! Documented at <https://cursor.com/docs/context/mcp>.

use super::variables::Style;
use super::{Imported, Reading};

/// Cursor's names of OAuth settings.
const AUTH: &[(&str, &str)] = &[
    ("CLIENT_ID", "client_id"),
    ("CLIENT_SECRET", "client_secret"),
    ("scopes", "scopes"),
    ("redirectUri", "redirect_port"),
];

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let around = reading.around(Style::Editor);
    reading.servers(reading.root.get("mcpServers"), &around, out, &mut |draft, _, entry| {
        for member in entry.members() {
            match member.key.as_str() {
                "envFile" => draft.env_file(member),
                "auth" => draft.oauth(member, AUTH),
                _ => draft.usual(member),
            }
        }
    });
}
