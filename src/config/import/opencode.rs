//! OpenCode: `mcp` of `opencode.json` and `opencode.jsonc`, in the form of its first and of its second version.
//!
//! Documented at <https://opencode.ai/v1/docs/mcp-servers/> and <https://opencode.ai/v2/docs/mcp-servers/>.

use super::draft::Draft;
use super::variables::Style;
use super::{Imported, Reading};
use crate::config::tree::{Member, Node, Value};

pub(super) fn read(reading: &Reading<'_>, out: &mut Imported) {
    let around = reading.around(Style::Braces);
    let Some(mcp) = reading.root.get("mcp") else { return };
    // The second version has the servers one level deeper; in the first, `servers` would be a server.
    let second = mcp.value.get("servers").filter(|servers| servers.value.get("type").is_none());
    let common = second.and_then(|_| mcp.value.get("timeout"));
    reading.servers(Some(second.unwrap_or(mcp)), &around, out, &mut |draft, _, entry| {
        if let Some(common) = common {
            timeout(draft, common);
        }
        server(draft, entry);
    });
}

fn server(draft: &mut Draft<'_>, entry: &Node) {
    let switch = |member: &Member| matches!(member.key.as_str(), "enabled" | "disabled" | "type");
    if entry.members().iter().all(switch) {
        draft.refuse("it only switches a server that an organization provides");
    }
    for member in entry.members() {
        match member.key.as_str() {
            "environment" => draft.env(member),
            "timeout" => timeout(draft, member),
            _ => draft.usual(member),
        }
    }
}

/// Milliseconds for everything, or apart for the start and for requests.
fn timeout(draft: &mut Draft<'_>, member: &Member) {
    if !matches!(member.value.value, Value::Table(_)) {
        return draft.time("timeout", member, 1.0);
    }
    for inner in member.value.members() {
        match inner.key.as_str() {
            "startup" => draft.time("connect_timeout", inner, 1.0),
            "request" => draft.time("timeout", inner, 1.0),
            other => draft.leave_out(&format!("timeout.{other}")),
        }
    }
}
