//! Codex: `mcp_servers` of `config.toml`.
//!
//! Documented at <https://developers.openai.com/codex/mcp> and
//! <https://developers.openai.com/codex/config-reference>.

use super::client_file::{ClientFileReader, ImportedFile};
use super::draft::ServerDraft;
use super::variables::VariableSyntax;
use crate::config::file::tree::{ConfigNode, ConfigValue};
use crate::config::value::expand::is_variable_name;

pub(crate) fn read(reading: &ClientFileReader<'_>, out: &mut ImportedFile) {
    let around = reading.variable_context(VariableSyntax::Unsupported);
    reading
        .read_servers(reading.root.get("mcp_servers"), &around, out, &mut |draft, _, entry| read_server(draft, entry));
}

fn read_server(draft: &mut ServerDraft<'_>, entry: &ConfigNode) {
    for member in entry.members() {
        match member.key.as_str() {
            "http_headers" => draft.read_headers(member),
            "env_http_headers" => draft.read_headers_from_variables(member),
            "bearer_token_env_var" => {
                if let Some(name) = draft.string(member).filter(|name| is_variable_name(name)) {
                    draft.set_key("bearer_env", ConfigValue::String(name));
                }
            }
            "bearer_token" => {
                if let Some(token) = draft.string(member) {
                    draft.add_header("Authorization", format!("Bearer {token}"));
                }
            }
            "startup_timeout_sec" => draft.read_duration("connect_timeout", member, 1000.0),
            // The older name counts only where the newer one is not there.
            "startup_timeout_ms" if entry.get("startup_timeout_sec").is_some() => draft.ignore_key(&member.key),
            "startup_timeout_ms" => draft.read_duration("connect_timeout", member, 1.0),
            "tool_timeout_sec" => draft.read_duration("timeout", member, 1000.0),
            "enabled_tools" => draft.read_tool_list("allow_tools", member),
            "disabled_tools" => draft.read_tool_list("deny_tools", member),
            "default_tools_approval_mode" if member.value.as_str() == Some("prompt") => {
                draft.set_key("confirm", ConfigValue::String("always".to_owned()));
            }
            "scopes" => draft.read_oauth_key("scopes", member),
            "oauth" => draft.read_oauth(member, super::draft::OAUTH_KEYS),
            "env_vars" => {
                draft.notes.push("'env_vars' is not needed: servers inherit the whole environment".to_owned())
            }
            _ => draft.common_key(member),
        }
    }
}
