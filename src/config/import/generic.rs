//! Any JSON file with `mcpServers` or `servers`, of an unknown client.

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use super::vscode;
use crate::config::file::client_forms::server_container;
use crate::config::file::tree::{ConfigMember, ConfigNode, ConfigValue};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let mut around = reading.variable_context(VariableSyntax::Any);
    around.inputs = vscode::read_inputs(reading.root);
    let container = server_container(reading.root);
    reading.read_servers(container.as_ref(), &around, out, &mut |draft, _, entry| read_server(draft, entry));
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    for member in entry.members() {
        match member.key.as_str() {
            "environment" => draft.read_env(member),
            "envFile" => draft.note_env_file(member),
            "headersHelper" => draft.note_headers_helper(member),
            "auth" if matches!(member.value.value, ConfigValue::Table(_)) => draft.read_oauth(member),
            "timeout" => read_timeout(draft, member),
            "includeTools" | "allowedTools" => draft.read_tool_list("allow_tools", member),
            "excludeTools" | "blockedTools" | "disabledTools" => draft.read_tool_list("deny_tools", member),
            "tools" if !allows_every_tool(&member.value) => draft.read_tool_list("allow_tools", member),
            "tools" => {}
            _ => draft.common_key(member),
        }
    }
}

/// `["*"]`, which some clients write into every entry.
fn allows_every_tool(node: &ConfigNode) -> bool {
    matches!(&node.value, ConfigValue::Array(items) if items.iter().any(|item| item.as_str() == Some("*")))
}

/// Seconds or milliseconds: time limits of more than a thousand seconds or less than one are not used in practice.
fn read_timeout(draft: &mut ServerDraft<'_>, member: &ConfigMember) {
    let millis = matches!(member.value.value, ConfigValue::Integer(number) if number >= 1000);
    let unit = if millis { "milliseconds" } else { "seconds" };
    draft.notes.push(format!("'timeout' is assumed to be {unit}"));
    draft.read_duration("timeout", member, if millis { 1.0 } else { 1000.0 });
}
