//! OpenCode: `mcp` of `opencode.json` and `opencode.jsonc`, in the formats of its first and second version.
//!
//! Documented at <https://opencode.ai/v1/docs/mcp-servers/> and <https://opencode.ai/v2/docs/mcp-servers/>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::Braces);
    let Some(mcp) = reading.root.get("mcp") else { return };
    // The second version has the servers one level deeper; in the first one, `servers` would be a server.
    let second = mcp.value.get("servers").filter(|servers| servers.value.get("type").is_none());
    let common = second.and_then(|_| mcp.value.get("timeout"));
    reading.read_servers(Some(second.unwrap_or(mcp)), &around, out, &mut |draft, _, entry| {
        if let Some(common) = common {
            read_timeout(draft, common);
        }
        read_server(draft, entry);
    });
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    let switch = |member: &ConfigMember| matches!(member.key.as_str(), "enabled" | "disabled" | "type");
    if entry.members().iter().all(switch) {
        draft.reject("it only switches a server that an organization provides");
    }
    for member in entry.members() {
        match member.key.as_str() {
            "environment" => draft.read_env(member),
            "timeout" => read_timeout(draft, member),
            _ => draft.common_key(member),
        }
    }
}

/// Milliseconds for everything, or separately for the start and for requests.
fn read_timeout(draft: &mut ServerDraft<'_>, member: &ConfigMember) {
    if !matches!(member.value.value, ConfigValue::Table(_)) {
        return draft.read_duration("timeout", member, 1.0);
    }
    for inner in member.value.members() {
        match inner.key.as_str() {
            "startup" => draft.read_duration("connect_timeout", inner, 1.0),
            "request" => draft.read_duration("timeout", inner, 1.0),
            other => draft.ignore_key(&format!("timeout.{other}")),
        }
    }
}
