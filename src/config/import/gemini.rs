//! Gemini CLI: `mcpServers` of `settings.json`, and the lists in `mcp` that allow or exclude servers.
//!
//! Documented at <https://geminicli.com/docs/tools/mcp-server> and
//! <https://geminicli.com/docs/reference/configuration>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use crate::config::file::tree::{ConfigNode, ConfigValue};

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::ShellOrDollar);
    let lists = reading.root.get("mcp").map(|member| &member.value);
    let listed = |key: &str, name: &str| match lists?.get(key).map(|member| &member.value.value) {
        Some(ConfigValue::Array(names)) => Some(names.iter().any(|other| other.as_str() == Some(name))),
        _ => None,
    };
    reading.read_servers(reading.root.get("mcpServers"), &around, out, &mut |draft, name, entry| {
        read_server(draft, entry);
        draft.is_disabled |= listed("excluded", name) == Some(true) || listed("allowed", name) == Some(false);
    });
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    // The URL of Streamable HTTP is used if both are set.
    let both = entry.get("httpUrl").is_some() && entry.get("url").is_some();
    for member in entry.members() {
        match member.key.as_str() {
            "url" if both => draft.ignore_key("url"),
            "timeout" => draft.read_duration("timeout", member, 1.0),
            "includeTools" => draft.read_tool_list("allow_tools", member),
            "excludeTools" => draft.read_tool_list("deny_tools", member),
            "authProviderType" => {
                draft.ignore_key(&member.key);
                if member.value.as_str().is_some_and(|provider| provider != "dynamic_discovery") {
                    draft
                        .notes
                        .push("Gemini CLI logs in with Google credentials; set a header or bearer_env here".to_owned());
                }
            }
            "tcp" => draft.read_url(member, None),
            _ => draft.common_key(member),
        }
    }
}
